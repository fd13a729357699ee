//! Whether a server lives and can do its work: for who sends it callers (`/health/ready`), who restarts it (`/health/live`, systemd), and
//! who reads its log.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::support::cli::{Registered, Store};
use crate::support::http::{Answer, Request};
use crate::support::poll;
use crate::support::server::{Server, Start};
use crate::support::shared::shared;

const CLIENT: [&str; 4] = ["--scope", "a", "--default-scope", "a"];

fn ask(server: &Server, path: &str) -> Answer {
    let answer = Request::new("GET", path).send(server);
    answer.assert_common();
    answer
}

fn wait_until_ready(server: &Server) {
    poll("it is ready", Duration::from_secs(10), || (ask(server, "/health/ready").status == 200).then_some(()));
}

/// Waits until it is not, and asserts the whole answer.
fn wait_until_not_ready(server: &Server, causes: &serde_json::Value) {
    let answer = poll("it is not ready", Duration::from_secs(10), || {
        Some(ask(server, "/health/ready")).filter(|answer| answer.status != 200)
    });
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
    assert_eq!(answer.json(), json!({"status": "not_ready", "causes": causes}));
}

#[test]
fn a_server_that_works_is_live_and_ready_whatever_its_store() {
    let memory = Start::on("memory").spawn();
    for server in [&shared().server, &memory] {
        for (path, status) in [("/health/live", "live"), ("/health/ready", "ready")] {
            let answer = ask(server, path);
            assert_eq!((answer.status, answer.json()), (200, json!({ "status": status })));
            let head = Request::new("HEAD", path).send_raw(server);
            assert_eq!((head.status, head.body.len()), (200, 0));
            head.assert_common();
            for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
                let refused = Request::new(method, path).send_raw(server);
                refused.assert_refused(405, "invalid_request");
                assert_eq!(refused.header("allow"), Some("GET, HEAD"));
            }
        }
        for path in ["/health", "/health/", "/health/live/", "/health/ready/x", "/oauth2/health/live", "/Health/live"] {
            Request::new("GET", path).send_raw(server).assert_refused(404, "not_found");
        }
    }
}

#[test]
fn a_registry_that_nobody_can_write_is_not_ready_until_it_can_be_written() {
    let store = Store::new();
    let client = store.register("root", "while-busy", &CLIENT);
    let mut server = Start::on(&store.argument()).spawn();
    wait_until_ready(&server);
    server.token(&client, "a");
    let other = rusqlite::Connection::open(store.directory().join("registry.db")).expect("the registry");
    other.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
    wait_until_not_ready(&server, &json!([{"store": "registry", "cause": "busy"}]));
    assert_eq!(ask(&server, "/health/live").status, 200);
    server.token(&client, "a");
    other.execute_batch("ROLLBACK").expect("begun above");
    wait_until_ready(&server);
    server.signal("TERM");
    server.wait();
    let (_, log) = server.into_output();
    assert_eq!(log.lines().filter(|line| line.contains(" not ready: another process holds it")).count(), 1, "{log}");
    assert_eq!(log.lines().filter(|line| line.contains("ready again")).count(), 1, "{log}");
}

#[test]
fn the_stores_are_looked_at_once_a_second_at_most_whoever_asks() {
    let store = Store::new();
    let server = Start::on(&store.argument()).spawn();
    let journal = store.directory().join("registry.db-wal");
    let written = || std::fs::metadata(&journal).expect("a journal").len();
    wait_until_ready(&server);
    let (before, began) = (written(), Instant::now());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| assert_eq!(ask(&server, "/health/ready").status, 200)));
        }
    });
    // The server empties the journal now and then.
    let looks = written().saturating_sub(before) / 4096;
    assert!(looks <= began.elapsed().as_secs() + 1, "{looks} in {:?}", began.elapsed());
}

/// A disk of its own for the server, where this machine lets a test have one.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_not_ready_and_free_space_is() {
    let can_mount = Command::new("unshare").args(["-r", "-m", "true"]).stderr(Stdio::null()).status();
    if !can_mount.is_ok_and(|status| status.success()) {
        eprintln!("skipped: nobody may mount here");
        return;
    }
    let directory = TempDir::with_prefix("grantwell-it-").expect("a temporary directory");
    let data = directory.path().join("data");
    // The shell is run anew as the superuser of a namespace of its own, and becomes the server there.
    let mount = format!(
        r#"[ -n "$MOUNTED" ] || MOUNTED=1 exec unshare -r -m sh -c 'mount -t tmpfs -o size=24m,mode=0700 none {0} && exec "$0" "$@"' "$0" "$@""#,
        directory.path().display()
    );
    let server = Start::on(&format!("file:{}", data.display())).after(&mount).spawn();
    wait_until_ready(&server);
    let inside = format!("/proc/{}/root{}/filler", server.id(), directory.path().display());
    let fill = Command::new("sh").args(["-c", "head -c 64m /dev/zero >\"$0\"", &inside]).stderr(Stdio::null()).status();
    assert!(!fill.expect("sh runs").success(), "there is room for more than there should be");
    let answer = poll("it is not ready", Duration::from_secs(10), || {
        Some(ask(&server, "/health/ready")).filter(|answer| answer.status == 503)
    });
    let causes = answer.json()["causes"].clone();
    assert!(
        causes.as_array().expect("a list").contains(&json!({"store": "data_directory", "cause": "disk_full"})),
        "{causes}"
    );
    assert!(!answer.text().contains('/'), "{}", answer.text());
    assert_eq!(ask(&server, "/health/live").status, 200);
    std::fs::remove_file(&inside).expect("the filler");
    wait_until_ready(&server);
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_starts_on_a_full_disk_and_says_what_is_in_it() {
    let can_mount = Command::new("unshare").args(["-r", "-m", "true"]).stderr(Stdio::null()).status();
    if !can_mount.is_ok_and(|status| status.success()) {
        eprintln!("skipped: nobody may mount here");
        return;
    }
    let directory = TempDir::with_prefix("grantwell-it-").expect("a temporary directory");
    let store = format!("file:{}/data", directory.path().display());
    // On a disk of its own: a server that ends as it should, then something else that takes all the space, and then the server.
    let prepare = format!(
        r#"mount -t tmpfs -o size=8m,mode=0700 none {0}
           "$0" client create --id known --scope a --default-scope a --store {store} >/dev/null
           "$0" serve --listen 127.0.0.1:0 --store {store} >/dev/null 2>&1 & first=$!
           sleep 3; kill $first; wait $first; cat /dev/zero >{0}/filler
           exec "$0" "$@""#,
        directory.path().display()
    );
    let script = directory.path().with_extension("sh");
    std::fs::write(&script, prepare).expect("written");
    let enter =
        format!(r#"[ -n "$MOUNTED" ] || MOUNTED=1 exec unshare -r -m sh -c '. {}' "$0" "$@""#, script.display());
    let server = Start::on(&store).after(&enter).spawn();
    assert_eq!(ask(&server, "/health/live").status, 200);
    let causes = ask(&server, "/health/ready").json()["causes"].clone();
    let full = json!({"store": "data_directory", "cause": "disk_full"});
    assert!(causes.as_array().expect("a list").contains(&full), "{causes}");
    poll("what happened is in the log", Duration::from_secs(10), || {
        server.stderr().contains("the reserve in the data directory is given up").then_some(())
    });
    // The registry is read: without it nobody could be refused.
    let client = Registered { realm: "root".into(), client_id: "known".into(), client_secret: "wrong".into() };
    server.token_request(&client, "").assert_401("root");
    // And when there is space again, everything works.
    let filler = format!("/proc/{}/root{}/filler", server.id(), directory.path().display());
    std::fs::remove_file(filler).expect("the filler");
    wait_until_ready(&server);
    std::fs::remove_file(&script).expect("ours");
}

#[test]
fn systemd_is_told_when_it_listens_that_it_lives_and_when_it_stops() {
    let directory = TempDir::with_prefix("grantwell-it-").expect("a temporary directory");
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
    let next = || {
        let mut text = [0; 256];
        let length = socket.recv(&mut text).expect("a message in time");
        String::from_utf8(text[..length].to_vec()).expect("text")
    };
    let store = Store::new();
    let mut server = Start::on(&store.argument())
        .environment("NOTIFY_SOCKET", path.to_str().expect("UTF-8"))
        .environment("WATCHDOG_USEC", "400000")
        .spawn();
    assert_eq!(next(), "READY=1\n");
    assert_eq!(ask(&server, "/health/live").status, 200);
    for _ in 0..2 {
        next();
    }
    let began = Instant::now();
    for _ in 0..5 {
        assert_eq!(next(), "WATCHDOG=1\n");
    }
    assert!((Duration::from_millis(700)..Duration::from_secs(4)).contains(&began.elapsed()), "{:?}", began.elapsed());
    server.signal("TERM");
    poll("it says that it stops", Duration::from_secs(10), || (next() == "STOPPING=1\n").then_some(()));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_first_line_of_the_log_says_what_was_started() {
    let store = Store::new();
    let mut server = Start::on(&store.argument())
        .arguments(&["--issuer-base", "https://auth.example.com", "--log-format", "json"])
        .environment("GRANTWELL_FAILED_AUTH_LIMIT", "7")
        .after("ulimit -n 300")
        .spawn();
    let address = server.address().to_string();
    poll("a line", Duration::from_secs(5), || server.stderr().contains('\n').then_some(()));
    server.kill();
    let (stdout, log) = server.into_output();
    assert_eq!(stdout, format!("listening on http://{address}\n"));
    let line: serde_json::Value = serde_json::from_str(log.lines().next().expect("a line")).expect("JSON");
    for (member, value) in [
        ("level", json!("INFO")),
        ("message", json!("started")),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("address", json!(address)),
        ("issuer_base", json!("https://auth.example.com")),
        ("store", json!(format!("file:{}", store.directory().canonicalize().expect("it exists").display()))),
        ("descriptors", json!(300)),
        ("failed_auth_limit", json!(7)),
    ] {
        assert_eq!(line[member], value, "{member}");
    }
    assert!(line["connections"].as_u64().is_some_and(|connections| connections < 300), "{line}");
}
