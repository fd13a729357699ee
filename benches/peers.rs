//! The same load on Grantwell's local server, on the floor under it and on other servers, in one run: `make bench-peers`.
//!
//! Each answer is checked before its load counts. The servers take turns, several times over, so that a neighbour who is busy for
//! a while is busy for all of them; the median turn counts. CPU is what the server's own processes used, read from the scheduler
//! in nanoseconds, a request: it is steadier than the clock.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark that cannot be set up has no figures to give"
)]
#![expect(clippy::disallowed_methods, reason = "the settings of a benchmark are no setting of the server")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

const CONNECTIONS: u32 = 16;
const SECRET: &str = "a-secret-of-the-benchmark-0123456789";
const RESOURCE: &str = "https://api.example.com";
const GRANT: &str = "grant_type=client_credentials&scope=read";
/// Where `make bench-peers` installs the peers.
const INSTALLED: &str = ".bench-peers";

/// What is asked of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Opaque,
    Es256,
    Es256Stored,
    Introspect,
}

/// One request, sent again and again.
#[derive(Clone)]
struct Request {
    url: String,
    client: &'static str,
    body: String,
}

/// A server of the comparison, killed on drop with all its processes.
struct Server {
    name: &'static str,
    process: Child,
    base: String,
}

/// What `wrk` saw in one turn, and what the server paid.
struct Turn {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    cpu: Duration,
}

fn main() {
    let seconds = setting("GRANTWELL_BENCH_SECONDS", 5);
    let turns = setting("GRANTWELL_BENCH_TURNS", 3);
    let binaries = PathBuf::from(std::env::var_os("GRANTWELL_BENCH_BIN_DIR").expect("GRANTWELL_BENCH_BIN_DIR"));
    if Command::new("wrk").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("bench-peers: wrk makes the load, and is not installed; on Debian and Ubuntu: apt install wrk");
        std::process::exit(1);
    }
    let scratch = TempDir::with_prefix("grantwell-bench-").expect("a temporary directory");

    let grantwell = grantwell(&binaries, scratch.path());
    let floors = [FLOOR, FLOOR_OF_GRANTWELL].map(|name| floor(name, &binaries, &grantwell));
    let mut servers = Vec::from(floors);
    servers.push(grantwell);
    servers.extend(oidc_provider());
    servers.extend(authlib());

    println!("\n{CONNECTIONS} connections, loopback, {turns} turns of {seconds} s each, the median of them\n");
    println!("| | | requests/s | p50 ms | p99 ms | CPU a request, us | CPU, x floor | rate, x oidc-provider |");
    println!("|---|---|---|---|---|---|---|---|");
    for load in [Load::Opaque, Load::Introspect, Load::Es256, Load::Es256Stored] {
        compare(load, &servers, turns, seconds, scratch.path());
    }
    println!("\n| | resident, MB, at the end |\n|---|---|");
    for server in &servers {
        println!("| {} | {:.0} |", server.name, resident_megabytes(server.process.id()));
    }
}

fn compare(load: Load, servers: &[Server], turns: usize, seconds: u64, scratch: &Path) {
    let mut rows: Vec<(&Server, Vec<Turn>)> =
        servers.iter().filter(|server| server.has(load)).map(|server| (server, Vec::new())).collect();
    for _ in 0..turns {
        for (server, measured) in &mut rows {
            let request = server.checked_request(load);
            measured.push(turn(server, &request, seconds, scratch));
            server.assert_still_right(load, &request);
        }
    }
    let rows: Vec<(&str, Turn)> = rows.into_iter().map(|(server, measured)| (server.name, median(measured))).collect();
    let of = |name| rows.iter().find(|(other, _)| *other == name).map(|(_, turn)| turn);
    for (name, turn) in &rows {
        let cpu = turn.cpu.as_secs_f64();
        let floors = of(FLOOR).map_or(String::new(), |floor| format!("{:.2}", cpu / floor.cpu.as_secs_f64()));
        let peers = of(OIDC_PROVIDER).map_or(String::new(), |peer| format!("{:.1}", turn.per_second / peer.per_second));
        println!(
            "| {} | {name} | {:.0} | {:.2} | {:.2} | {:.1} | {floors} | {peers} |",
            load.name(),
            turn.per_second,
            turn.p50.as_secs_f64() * 1e3,
            turn.p99.as_secs_f64() * 1e3,
            cpu * 1e6,
        );
    }
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Opaque => "issue, opaque",
            Self::Es256 => "issue, ES256 JWT, stored nowhere",
            Self::Es256Stored => "issue, ES256 JWT, stored",
            Self::Introspect => "introspect, opaque",
        }
    }
}

impl Server {
    fn has(&self, load: Load) -> bool {
        match load {
            Load::Opaque | Load::Introspect => true,
            Load::Es256 => self.name != AUTHLIB,
            Load::Es256Stored => self.name == GRANTWELL,
        }
    }

    /// The request of a load, answered rightly once.
    fn checked_request(&self, load: Load) -> Request {
        let (client, body) = match load {
            Load::Es256 if self.name == OIDC_PROVIDER => ("bench", format!("{GRANT}&resource={RESOURCE}")),
            Load::Es256 if self.name == GRANTWELL => ("bench-jwt", GRANT.to_owned()),
            Load::Es256Stored => ("bench-jwt-stored", GRANT.to_owned()),
            Load::Opaque | Load::Es256 => ("bench", GRANT.to_owned()),
            Load::Introspect => {
                // A fresh token: the adapter of a peer forgets old ones.
                let issued = self.checked_request(Load::Opaque).send();
                ("bench", format!("token={}", issued["access_token"].as_str().expect("a token")))
            }
        };
        let request = Request { url: self.url(load), client, body };
        self.assert_still_right(load, &request);
        request
    }

    fn url(&self, load: Load) -> String {
        let path = match (self.name, load) {
            (FLOOR | FLOOR_OF_GRANTWELL, Load::Opaque) => FLOOR_OPAQUE,
            (FLOOR | FLOOR_OF_GRANTWELL, Load::Es256 | Load::Es256Stored) => FLOOR_JWT,
            (FLOOR | FLOOR_OF_GRANTWELL, Load::Introspect) => FLOOR_INTROSPECT,
            (GRANTWELL, Load::Introspect) => "/oauth2/introspect",
            (GRANTWELL, _) => "/oauth2/access_token",
            (OIDC_PROVIDER, Load::Introspect) => "/token/introspection",
            (_, Load::Introspect) => "/introspect",
            _ => "/token",
        };
        format!("{}{path}", self.base)
    }

    fn assert_still_right(&self, load: Load, request: &Request) {
        let answer = request.send();
        if load == Load::Introspect {
            assert_eq!(answer["active"], true, "{}: {answer}", self.name);
            return;
        }
        let token = answer["access_token"].as_str().expect("a token");
        assert_eq!(token.split('.').count(), if load == Load::Opaque { 1 } else { 3 }, "{}: {answer}", self.name);
        // The floor gives the same token to everybody, which is what makes it the floor.
        if ![FLOOR, FLOOR_OF_GRANTWELL].contains(&self.name) {
            assert_ne!(answer["access_token"], request.send()["access_token"], "{}: a token is new", self.name);
        }
    }
}

impl Request {
    fn authorization(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{SECRET}", self.client)))
    }

    fn send(&self) -> Value {
        let sent = ureq::post(&self.url)
            .header("Authorization", self.authorization())
            .header("Content-Type", FORM)
            .send(&self.body);
        let text = sent.and_then(|mut answer| answer.body_mut().read_to_string()).expect("an answer with status 200");
        serde_json::from_str(&text).expect("JSON")
    }
}

fn turn(server: &Server, request: &Request, seconds: u64, scratch: &Path) -> Turn {
    let script = scratch.join("load.lua");
    fs::write(&script, wrk_script(request)).expect("a script");
    let before = cpu(server.process.id());
    let output = Command::new("wrk")
        .args(["--threads", "1", "--connections", &CONNECTIONS.to_string(), "--duration", &format!("{seconds}s")])
        // An answer that is late is not wrong.
        .args(["--timeout", "30s"])
        .arg("--script")
        .args([script.as_path(), Path::new(&request.url)])
        .output()
        .expect("wrk runs");
    let used = cpu(server.process.id()).saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("measured ")).expect("the script's own line");
    let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
    let [requests, microseconds, p50, p99, failed] = numbers[..] else { panic!("five numbers: {line}") };
    assert!(requests > 0 && failed == 0, "{}: {failed} of {requests} requests failed", server.name);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Turn {
        per_second: requests as f64 * 1e6 / microseconds as f64,
        p50: Duration::from_micros(p50),
        p99: Duration::from_micros(p99),
        cpu: used.div_f64(requests as f64),
    }
}

fn wrk_script(request: &Request) -> String {
    format!(
        r#"wrk.method = "POST"
wrk.body = "{}"
wrk.headers["Authorization"] = "{}"
wrk.headers["Content-Type"] = "{FORM}"
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("measured %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"#,
        request.body,
        request.authorization(),
    )
}

/// By CPU, the figure that is compared.
fn median(mut turns: Vec<Turn>) -> Turn {
    turns.sort_by_key(|turn| turn.cpu);
    let middle = turns.len() / 2;
    turns.swap_remove(middle)
}

fn grantwell(binaries: &Path, scratch: &Path) -> Server {
    let binary = binaries.join("grantwell");
    let store = format!("file:{}", scratch.join("data").display());
    let jwt = ["--access-token-format", "jwt", "--access-token-persistence"];
    let kinds: [(&str, &[&str]); 3] = [
        ("bench", &[]),
        ("bench-jwt", &[jwt[0], jwt[1], jwt[2], "stateless"]),
        ("bench-jwt-stored", &[jwt[0], jwt[1], jwt[2], "stored"]),
    ];
    for (id, settings) in kinds {
        let mut child = Command::new(&binary)
            .args(["client", "create", "--store", &store, "--id", id, "--name", "Benchmark", "--scope", "read write"])
            .args(["--secret-stdin"])
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("grantwell starts");
        child.stdin.take().expect("piped").write_all(format!("{SECRET}\n").as_bytes()).expect("read");
        assert!(child.wait().expect("it ends").success(), "grantwell client create {id}");
    }
    let port = free_port();
    let mut command = Command::new(binary);
    command.args(["serve", "--store", &store, "--listen", &format!("127.0.0.1:{port}")]);
    if let Ok(further) = std::env::var("GRANTWELL_BENCH_SERVE_ARGUMENTS") {
        command.args(further.split_whitespace());
    }
    start(GRANTWELL, &mut command, port).expect("grantwell serves")
}

/// Answers what `grantwell` answers.
fn floor(name: &'static str, binaries: &Path, grantwell: &Server) -> Server {
    let port = free_port();
    let mut command = Command::new(binaries.join("examples/floor"));
    command.arg(if name == FLOOR { "axum" } else { "grantwell" }).arg(format!("127.0.0.1:{port}"));
    for (path, load) in [(FLOOR_OPAQUE, Load::Opaque), (FLOOR_JWT, Load::Es256), (FLOOR_INTROSPECT, Load::Introspect)] {
        command.arg(format!("{path}={}", grantwell.checked_request(load).send()));
    }
    start(name, &mut command, port).expect("the floor serves")
}

fn oidc_provider() -> Option<Server> {
    let directory = installed("node");
    if !directory.join("node_modules").is_dir() {
        println!("skipped: node oidc-provider, for which node and npm are needed (see above)");
        return None;
    }
    let port = free_port();
    let mut command = Command::new("node");
    // Node looks for packages beside the script.
    command
        .arg(directory.join("oidc-provider.js"))
        .args([&port.to_string(), SECRET, RESOURCE])
        .env("NODE_ENV", "production");
    let server = start(OIDC_PROVIDER, &mut command, port);
    if server.is_none() {
        println!(
            "skipped: node oidc-provider, which did not start; try: node {INSTALLED}/node/oidc-provider.js 8080 s r"
        );
    }
    server
}

fn authlib() -> Option<Server> {
    let gunicorn = installed("python/bin/gunicorn");
    if !gunicorn.is_file() {
        println!("skipped: Authlib, for which Python 3.11 and its venv module are needed (see above)");
        return None;
    }
    let port = free_port();
    let mut command = Command::new(gunicorn);
    command
        .args(["--workers", "1", "--threads", "4", "--no-control-socket", "--log-level", "error", "--chdir"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers"))
        .args(["--bind", &format!("127.0.0.1:{port}"), "authlib_server:app"])
        .env("BENCH_CLIENT_SECRET", SECRET)
        .env("AUTHLIB_INSECURE_TRANSPORT", "1");
    let server = start(AUTHLIB, &mut command, port);
    if server.is_none() {
        println!("skipped: Authlib, which did not start");
    }
    server
}

fn installed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(INSTALLED).join(path)
}

/// Starts a server and waits until it accepts connections; `None` where it does not. What it logs is formatted and written, and
/// kept by nobody.
fn start(name: &'static str, command: &mut Command, port: u16) -> Option<Server> {
    let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let mut server = Server { name, process, base: format!("http://127.0.0.1:{port}") };
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline && server.process.try_wait().is_ok_and(|ended| ended.is_none()) {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(server);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut kill = String::from("kill -9");
        for pid in with_descendants(self.process.id()) {
            let _ = write!(kill, " {pid}");
        }
        let _ = Command::new("sh").args(["-c", &kill]).status();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Time on a CPU of all threads that live, of the process and of those it started.
fn cpu(pid: u32) -> Duration {
    let threads = with_descendants(pid).into_iter().flat_map(threads);
    let nanoseconds = threads.filter_map(|thread| {
        let schedstat = fs::read_to_string(thread.join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn resident_megabytes(pid: u32) -> f64 {
    let kilobytes = with_descendants(pid).into_iter().filter_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse::<f64>().ok()
    });
    kilobytes.sum::<f64>() / 1024.0
}

fn with_descendants(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        next += 1;
        for thread in threads(pid) {
            let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    all
}

fn threads(pid: u32) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks.map(|tasks| tasks.flatten().map(|task| task.path()).collect()).unwrap_or_default()
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A bare axum server.
const FLOOR: &str = "floor";
/// The same in the server loop of Grantwell, so that it shows what the loop is worth.
const FLOOR_OF_GRANTWELL: &str = "floor, in Grantwell's loop";
const GRANTWELL: &str = "grantwell";
const OIDC_PROVIDER: &str = "oidc-provider 9";
const AUTHLIB: &str = "Authlib";
const FLOOR_OPAQUE: &str = "/opaque";
const FLOOR_JWT: &str = "/jwt";
const FLOOR_INTROSPECT: &str = "/introspect";
const FORM: &str = "application/x-www-form-urlencoded";
