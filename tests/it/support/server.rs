//! A real local server in a process of its own.

use std::io::{self, BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::cli::{grantwell, grantwell_after};
use super::poll;

const LISTENING: &str = "listening on http://";
const STARTS_WITHIN: Duration = Duration::from_mins(1);

/// How a server is started.
pub(crate) struct Start {
    store: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// A line of shell before the server takes the shell's place.
    first: String,
    remove_afterwards: String,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
}

/// A running server, killed on drop.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    stdout: Captured,
    stderr: Captured,
    /// Kills the server when this process ends without dropping it, as it does with a server in a static.
    watchdog: Child,
}

/// What a process has written so far.
struct Captured {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Start {
    /// `grantwell serve --listen 127.0.0.1:0 --store STORE`.
    pub(crate) fn on(store: &str) -> Self {
        Self {
            store: store.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            first: String::new(),
            remove_afterwards: String::new(),
            stdout: None,
            stderr: None,
        }
    }

    /// With further arguments.
    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// With a variable in its environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// After a line of shell in the same process, such as `ulimit -n 256`.
    pub(crate) fn after(mut self, shell: &str) -> Self {
        shell.clone_into(&mut self.first);
        self
    }

    /// Removes this directory when the test process has ended.
    pub(crate) fn remove_afterwards(mut self, directory: &Path) -> Self {
        self.remove_afterwards = directory.display().to_string();
        self
    }

    /// Writes its log there, and not where it is read.
    pub(crate) fn stderr_to(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = Some(stderr.into());
        self
    }

    /// Starts it on this address, with a stdout that is not read.
    pub(crate) fn spawn_with_stdout_to(mut self, stdout: impl Into<Stdio>, address: SocketAddr) -> Server {
        self.stdout = Some(stdout.into());
        self.arguments.extend(["--listen".to_owned(), address.to_string()]);
        let mut child = self.command().spawn().expect("grantwell starts");
        let watchdog = watch(&child, &self.remove_afterwards);
        let (stdout, _) = capture(io::empty());
        let (stderr, _) = capture_some(child.stderr.take());
        poll("the server listens", STARTS_WITHIN, || TcpStream::connect(address).ok());
        Server { child, address, stdout, stderr, watchdog }
    }

    /// Starts it and waits until it accepts connections.
    pub(crate) fn spawn(mut self) -> Server {
        let mut child = self.command().spawn().expect("grantwell starts");
        let watchdog = watch(&child, &self.remove_afterwards);
        let (stdout, listening) = capture(child.stdout.take().expect("piped"));
        let (stderr, _) = capture_some(child.stderr.take());
        let announced = listening.recv_timeout(STARTS_WITHIN).ok();
        let Some(address) = announced.and_then(|address| address.parse().ok()) else {
            let _ = child.kill();
            let (stdout, stderr) = (stdout.all(), stderr.all());
            panic!("the server announced no address\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        };
        Server { child, address, stdout, stderr, watchdog }
    }

    /// Runs a server that is expected to end by itself.
    pub(crate) fn expect_refusal(mut self) -> Output {
        let mut child = self.command().spawn().expect("grantwell starts");
        poll("the server refuses to start", STARTS_WITHIN, || child.try_wait().expect("a child").map(|_| ()));
        child.wait_with_output().expect("its output")
    }

    fn command(&mut self) -> Command {
        let mut command = if self.first.is_empty() { grantwell() } else { grantwell_after(&self.first) };
        command.arg("serve");
        if !self.arguments.iter().any(|argument| argument == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command
            .args(["--store", &self.store])
            .args(&self.arguments)
            // All tests have one address, and fail on purpose. Those about the limit say another.
            .env("GRANTWELL_FAILED_AUTH_LIMIT", "0")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(self.stdout.take().unwrap_or_else(Stdio::piped))
            .stderr(self.stderr.take().unwrap_or_else(Stdio::piped));
        command
    }
}

impl Server {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has written to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// What it has written to stderr so far. It logs on a thread of its own, which may be behind the answers: whatever follows within
    /// a tenth of a second counts.
    pub(crate) fn stderr(&self) -> String {
        let mut before = self.stderr.so_far();
        loop {
            thread::sleep(Duration::from_millis(100));
            let now = self.stderr.so_far();
            if now.len() == before.len() {
                return now;
            }
            before = now;
        }
    }

    /// Its process id.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory in KiB, as Linux says.
    #[cfg(target_os = "linux")]
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running process");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its resident memory");
        resident.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many descriptors it has open, as Linux says.
    #[cfg(target_os = "linux")]
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("a running process").count()
    }

    /// How many threads it has, as Linux says.
    #[cfg(target_os = "linux")]
    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("a running process").count()
    }

    /// Sends it a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        assert!(self.try_signal(name), "kill -{name}");
    }

    /// Sends it a signal, such as `KILL`; whether that was possible. By the shell's own `kill`, which needs no package.
    pub(crate) fn try_signal(&self, name: &str) -> bool {
        let sent = Command::new("sh").args(["-c", "kill -\"$0\" \"$1\"", name, &self.child.id().to_string()]).status();
        sent.is_ok_and(|status| status.success())
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the server was running");
        self.child.wait().expect("the server ends");
    }

    /// Waits until it refuses connections.
    pub(crate) fn wait_until_closed(&self) {
        poll("the listener closes", Duration::from_secs(20), || TcpStream::connect(self.address).err());
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        poll("the server ends", Duration::from_secs(30), || self.child.try_wait().expect("a child"))
    }

    /// Everything it wrote to stdout and to stderr; for a server that has ended.
    pub(crate) fn into_output(mut self) -> (String, String) {
        (self.stdout.join(), self.stderr.join())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The watchdog first: afterwards the process id may be another process's.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Captured {
    fn so_far(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn join(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.so_far()
    }

    fn all(mut self) -> String {
        self.join()
    }
}

/// Ends with its stdin, which this process holds; then kills the server.
fn watch(server: &Child, remove_afterwards: &str) -> Child {
    Command::new("sh")
        .args(["-c", r#"cat >/dev/null; kill -9 "$0" 2>/dev/null; [ -z "$1" ] || rm -rf -- "$1""#])
        .args([&server.id().to_string(), remove_afterwards])
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh starts")
}

fn capture_some(stream: Option<impl Read + Send + 'static>) -> (Captured, Receiver<String>) {
    stream.map_or_else(|| capture(io::empty()), capture)
}

/// Reads a stream to its end in the background; the receiver gets the address of the first `listening on` line.
fn capture(stream: impl Read + Send + 'static) -> (Captured, Receiver<String>) {
    let text = Arc::new(Mutex::new(Vec::new()));
    let (sender, receiver) = mpsc::channel();
    let written = Arc::clone(&text);
    let reader = thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let address = String::from_utf8_lossy(&line).strip_prefix(LISTENING).map(|rest| rest.trim_end().to_owned());
            written.lock().unwrap_or_else(PoisonError::into_inner).append(&mut line);
            if let Some(address) = address {
                let _ = sender.send(address);
            }
        }
    });
    (Captured { text, reader: Some(reader) }, receiver)
}
