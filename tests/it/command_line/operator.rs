//! An operator at a terminal of his own: what he types, and what a command leaves behind.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::set::KeySet;
use grantwell::core::ports::KeyStore as _;
use grantwell::core::realm::RealmName;
use grantwell::core::time::UnixSeconds;
use grantwell::embedded::store::data_dir::DataDir;
use grantwell::embedded::store::registry::SqliteRegistry;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::cli::grantwell;
use crate::support::server::{Server as LocalServer, Start};

/// A working directory of its own; the store is `data` in it and does not exist before the first write.
pub(crate) struct Operator {
    pub(crate) home: TempDir,
}

/// What a command left behind.
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A server, killed on drop.
pub(crate) struct Server(Child);

pub(crate) const CREATE: [&str; 4] = ["client", "create", "--id", "myClient"];

impl Operator {
    pub(crate) fn new() -> Self {
        Self { home: TempDir::new().expect("a temporary directory") }
    }

    /// One who has the owners that `registration.json` names.
    pub(crate) fn with_owners() -> Self {
        let operator = Self::new();
        for id in ["one", "two"] {
            operator.json(&["owner", "create", id, "--output", "json"]);
        }
        operator
    }

    pub(crate) fn with_client() -> Self {
        Self::with_clients(&["myClient"])
    }

    pub(crate) fn with_clients(ids: &[&str]) -> Self {
        let operator = Self::new();
        for id in ids {
            operator.json(&["client", "create", "--id", id]);
        }
        operator
    }

    /// The directory of the store.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// `grantwell` in this operator's directory, without the developer's own settings.
    pub(crate) fn bare_command(&self) -> Command {
        let mut command = grantwell();
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run_with(&self, change: impl FnOnce(&mut Command)) -> Ended {
        let mut command = self.bare_command();
        command.env("GRANTWELL_STORE", "file:data");
        // Output that is piped before `change` can be sent elsewhere by it.
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        change(&mut command);
        Ended::of(&command.spawn().and_then(Child::wait_with_output).expect("grantwell runs"))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(|command| {
            command.args(arguments);
        })
    }

    pub(crate) fn fed(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = self.bare_command();
        command.env("GRANTWELL_STORE", "file:data").args(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("grantwell starts");
        // A command that has read enough closes its input.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        Ended::of(&child.wait_with_output().expect("grantwell ends"))
    }

    /// What a command that must succeed prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.run(arguments).json()
    }

    /// What `show` prints of what is registered, without what it says besides.
    pub(crate) fn registered(&self, arguments: &[&str]) -> Value {
        let mut shown = self.json(arguments);
        let members = shown.as_object_mut().expect("an object");
        assert!(members.contains_key("effective"), "{members:?}");
        members.retain(|name, _| {
            name != "effective"
                && name != "last_used_on"
                && name != "client_secret_issued_at"
                && !name.starts_with("previous_secret_")
        });
        shown
    }

    pub(crate) fn refused(&self, arguments: &[&str], status: i32, sentence: &str) {
        let ended = self.run(arguments);
        eprintln!("{arguments:?}");
        ended.is_refusal(status, sentence);
    }

    /// Moves the realm's keys back in time, as if they had been made `seconds` earlier.
    pub(crate) fn age_keys(&self, realm: &str, seconds: u64) {
        self.store_keys(realm, |store, realm| async move {
            let keys = store.read_keys(&realm).await.expect("readable").expect("the realm has keys");
            let mut aged: Value = serde_json::from_str(&keys.to_json().expect("JSON")).expect("JSON");
            for key in aged["keys"].as_array_mut().expect("a list") {
                for member in ["published_at", "current_since", "expires_at"] {
                    if let Some(time) = key[member].as_u64() {
                        key[member] = json!(time - seconds);
                    }
                }
            }
            aged["revision"] = json!(keys.revision + 1);
            store.replace_keys(&realm, &KeySet::from_json(&aged.to_string()).expect("keys")).await.expect("stored");
        });
    }

    /// A realm with keys of a revision that has no successor: they sign and cannot be replaced.
    pub(crate) fn store_last_keys(&self, realm: &str, made_at: u64) {
        self.json(&["realm", "set", realm]);
        self.store_keys(realm, |store, realm| async move {
            let mut keys = KeySet::create(&[SigningAlgorithm::Es256], UnixSeconds(made_at)).expect("keys");
            keys.revision = i64::MAX.unsigned_abs();
            store.create_keys(&realm, &keys).await.expect("stored");
        });
    }

    pub(crate) fn stored_keys(&self, realm: &str) -> KeySet {
        self.store_keys(realm, |store, realm| async move {
            store.read_keys(&realm).await.expect("readable").expect("the realm has keys")
        })
    }

    pub(crate) fn store_keys<T, F: Future<Output = T>>(
        &self,
        realm: &str,
        change: impl FnOnce(SqliteRegistry, RealmName) -> F,
    ) -> T {
        let path = DataDir::open(&self.data()).expect("opened").registry_path();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(change(SqliteRegistry::open(&path).expect("opened"), realm.parse().expect("a name")))
    }

    /// Copies `myClient` so many times, with a name of 10,000 characters that no command would take.
    pub(crate) fn fill(&self, copies: u32) {
        let path = DataDir::open(&self.data()).expect("opened").registry_path();
        let database = rusqlite::Connection::open(path).expect("opened");
        let name = "n".repeat(12_000);
        let copied = database.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
             INSERT INTO clients (realm, client_id, registration, revision)
             SELECT realm, 'c' || n, json_set(registration, '$.client_id', 'c' || n, '$.client_name', ?2), revision
             FROM clients, numbers WHERE client_id = 'myClient'",
            rusqlite::params![copies, name],
        );
        assert_eq!(copied.expect("copied"), copies as usize);
    }

    /// A server of this operator's store, with its log.
    pub(crate) fn server(&self, change: impl FnOnce(Start) -> Start) -> LocalServer {
        change(Start::on(&format!("file:{}", self.data().display()))).spawn()
    }

    pub(crate) fn serve(&self) -> Server {
        let mut command = self.bare_command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", "file:data"]).stderr(Stdio::null());
        let mut server = Server(command.stdout(Stdio::piped()).spawn().expect("grantwell starts"));
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        assert!(line.starts_with("listening on http://127.0.0.1:"), "{line}");
        server
    }
}

impl Ended {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout.clone()).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr.clone()).expect("UTF-8"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, Some(0), "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Nothing on stdout, the sentence on stderr.
    pub(crate) fn is_refusal(&self, status: i32, sentence: &str) {
        assert_eq!((self.status, self.stdout.as_str()), (Some(status), ""), "{}", self.stderr);
        assert!(self.stderr.contains(sentence), "{}", self.stderr);
        if status == 1 {
            let last = self.stderr.lines().last().unwrap_or_default();
            assert!(last.starts_with("error: ") && !last.ends_with('.'), "{}", self.stderr);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn ids(list: &Value) -> Vec<String> {
    let clients = list["clients"].as_array().expect("a list");
    clients.iter().map(|client| text(&client["client_id"]).to_owned()).collect()
}

pub(crate) fn keys(list: &Value) -> &[Value] {
    list["keys"].as_array().expect("a list")
}

/// Algorithm and status of each key.
pub(crate) fn roles(list: &Value) -> Vec<String> {
    keys(list).iter().map(|key| format!("{} {}", text(&key["alg"]), text(&key["status"]))).collect()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

pub(crate) fn is_base64url(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The writing end of a pipe that nobody reads.
pub(crate) fn closed_pipe() -> Stdio {
    let (_reader, writer) = io::pipe().expect("a pipe");
    writer.into()
}

#[expect(clippy::disallowed_methods, reason = "the test compares with the system's clock")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The time as the command line writes it, by the system's own arithmetic.
pub(crate) fn utc(second: u64) -> String {
    let date = Command::new("date").args(["-u", "-d", &format!("@{second}"), "+%Y-%m-%d %H:%M:%SZ"]).output();
    String::from_utf8(date.expect("date runs").stdout).expect("text").trim_end().to_owned()
}

pub(crate) fn wait_until(second: u64) {
    while now() < second {
        thread::sleep(std::time::Duration::from_millis(20));
    }
}
