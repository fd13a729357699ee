//! What a server's death, restart, neighbours and failing store may do: nothing to a registered client or an acknowledged
//! token, and never a wrong answer (rows R-04, I-17, V-07 and E-06 of docs/protocol-cases.md).

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use grantwell::core::access_token::opaque;
use rusqlite::Connection as Registry;
use serde_json::Value;

use crate::support::cli::{Registered, Store, basic};
#[cfg(target_os = "linux")]
use crate::support::disk::WatchedDisk;
use crate::support::http::{Answer, Connection, Request};
use crate::support::jwt::parts;
use crate::support::server::{Server, Start};
use crate::support::shared::{STATELESS_JWT, STORED_JWT};
use crate::support::{NOTICED_WITHIN, poll};

const GRANT: &str = "grant_type=client_credentials";
const CLIENT: [&str; 4] = ["--scope", "a", "--default-scope", "a"];
const THREADS: usize = 4;

fn grant(client: &Registered) -> Request {
    Request::form("/oauth2/access_token", GRANT).by(client)
}

/// Asks for tokens from several threads, kills the server once `enough` are acknowledged, and gives all that were.
fn tokens_until_killed(server: &mut Server, client: &Registered, enough: usize) -> Vec<String> {
    let acknowledged = AtomicUsize::new(0);
    let given_up = AtomicBool::new(false);
    let stream = |server: &Server| {
        let mut tokens = Vec::new();
        while !given_up.load(Ordering::Relaxed)
            && let Ok(answer) = grant(client).try_send(server)
        {
            tokens.push(answer.assert_token("a"));
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        tokens
    };
    thread::scope(|scope| {
        let streams: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| stream(server))).collect();
        let deadline = Instant::now() + Duration::from_mins(1);
        while acknowledged.load(Ordering::Relaxed) < enough && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        // A panic in here would wait for the streams for ever, so they are ended first.
        let killed = server.try_signal("KILL");
        given_up.store(!killed, Ordering::Relaxed);
        assert!(
            killed && acknowledged.load(Ordering::Relaxed) >= enough,
            "tokens are acknowledged, and the server killed"
        );
        streams.into_iter().flat_map(|stream| stream.join().expect("no answer is wrong")).collect()
    })
}

fn assert_all_active(server: &Server, client: &Registered, tokens: &[String]) {
    thread::scope(|scope| {
        for part in tokens.chunks(tokens.len().div_ceil(THREADS)) {
            scope.spawn(move || part.iter().for_each(|token| drop(server.introspect(client, token).assert_active())));
        }
    });
}

#[test]
fn kill_9_at_any_moment_loses_no_client_and_no_acknowledged_token() {
    let store = Store::new();
    let client = store.register("root", "first", &CLIENT);
    let mut clients = vec![client.clone()];
    let mut tokens = Vec::<String>::new();
    let mut revoked = Vec::<String>::new();
    for (round, enough) in [1, 40, 150, 400].into_iter().enumerate() {
        let mut server = Start::on(&store.argument()).spawn();
        // Everything of the rounds before is still there.
        for client in &clients {
            server.token(client, "a");
        }
        if !tokens.is_empty() {
            assert_all_active(&server, &client, &tokens);
        }
        for token in &revoked {
            server.introspect(&client, token).assert_inactive();
        }

        // Registered and revoked just before the end.
        let token = server.token(&client, "a");
        clients.push(store.register("root", &format!("registered-{round}"), &CLIENT));
        assert_eq!(server.revoke(&client, &token).status, 200);
        revoked.push(token);
        let acknowledged = tokens_until_killed(&mut server, &client, enough);
        assert!(acknowledged.len() >= enough);
        tokens.extend(acknowledged);
        server.wait();
    }
    let server = Start::on(&store.argument()).spawn();
    assert_all_active(&server, &client, &tokens);
    for token in &revoked {
        server.introspect(&client, token).assert_inactive();
    }
    for client in &clients {
        server.token(client, "a");
    }
    let listed: Value = serde_json::from_str(&store.run(&["client", "list", "--output", "json"])).expect("JSON");
    assert_eq!(listed["clients"].as_array().map(Vec::len), Some(clients.len()), "{listed}");
}

#[test]
fn kill_9_loses_no_acknowledged_jwt_and_brings_no_revoked_one_back() {
    let store = Store::new();
    let clients = [STORED_JWT, STATELESS_JWT]
        .map(|form| store.register("root", &format!("jwt-{}", form[3]), &[&CLIENT[..], &form].concat()));
    let (mut kept, mut revoked, mut kids) = (Vec::new(), Vec::new(), HashSet::new());
    for _ in 0..3 {
        let mut server = Start::on(&store.argument()).spawn();
        let stop = AtomicBool::new(false);
        let acknowledged = AtomicUsize::new(0);
        // Issues two tokens, revokes the second, until the server is gone; gives what was acknowledged.
        let stream = |client: &Registered| {
            let (mut kept, mut revoked) = (Vec::new(), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let Ok(answer) = grant(client).try_send(&server) else { break };
                kept.push((client.clone(), answer.assert_granted("a")));
                let Ok(answer) = grant(client).try_send(&server) else { break };
                let token = answer.assert_granted("a");
                let revoke = Request::form("/oauth2/token/revoke", format!("token={token}")).by(client);
                let Ok(answer) = revoke.try_send(&server) else { break };
                assert_eq!(answer.status, 200);
                revoked.push((client.clone(), token));
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            (kept, revoked)
        };
        thread::scope(|scope| {
            let streams: Vec<_> = clients.iter().cycle().take(THREADS).map(|c| scope.spawn(|| stream(c))).collect();
            let deadline = Instant::now() + Duration::from_mins(1);
            while acknowledged.load(Ordering::Relaxed) < 60 && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            let killed = server.try_signal("KILL");
            stop.store(true, Ordering::Relaxed);
            assert!(killed && acknowledged.load(Ordering::Relaxed) >= 60, "revocations are acknowledged");
            for stream in streams {
                let (more_kept, more_revoked) = stream.join().expect("no answer is wrong");
                kept.extend(more_kept);
                revoked.extend(more_revoked);
            }
        });
        server.wait();
    }
    let server = Start::on(&store.argument()).spawn();
    for (client, token) in &kept {
        server.introspect(client, token).assert_active();
        kids.insert(parts(token).0["kid"].to_string());
    }
    for (client, token) in &revoked {
        server.introspect(client, token).assert_inactive();
    }
    assert_eq!(kids.len(), 1, "one key signed them all, whatever died: {kids:?}");
}

/// The last that a client was told of its token before the server died.
#[derive(Clone, Copy, Debug)]
enum Told {
    Issued,
    Revoked,
    /// It asked for the token's end and had no answer: the token may have ended or not.
    Nothing,
}

/// A token, and what its client knows of it.
struct Held<'a> {
    client: &'a Registered,
    token: String,
    told: Told,
}

impl Held<'_> {
    fn request(&self, endpoint: &str) -> Request {
        Request::form(&format!("/oauth2/{endpoint}"), format!("token={}", self.token)).by(self.client)
    }

    fn check(&self, introspected: &Answer) {
        match self.told {
            Told::Issued => drop(introspected.assert_active()),
            Told::Revoked => introspected.assert_inactive(),
            Told::Nothing => assert_eq!(introspected.status, 200, "{introspected:?}"),
        }
    }

    /// After a restart. A client that had no answer asks again, and then it counts.
    fn check_on(&mut self, server: &Server) {
        self.check(&self.request("introspect").send(server));
        if matches!(self.told, Told::Nothing) {
            assert_eq!(self.request("token/revoke").send(server).status, 200);
            self.told = Told::Revoked;
            self.check(&self.request("introspect").send(server));
        }
    }
}

/// Issues tokens, revokes every other one and looks at others meanwhile, until the server is gone or `stop` is set.
fn live<'a>(
    server: &Server,
    client: &'a Registered,
    earlier: &[Held<'_>],
    answered: &AtomicUsize,
    stop: &AtomicBool,
) -> Vec<Held<'a>> {
    let mut held: Vec<Held<'a>> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok(answer) = grant(client).try_send(server) else { break };
        let mut new = Held { client, token: answer.assert_granted("a"), told: Told::Issued };
        let is_revoked = held.len() % 2 == 1;
        let ended = is_revoked.then(|| {
            new.told = Told::Nothing;
            new.request("token/revoke").try_send(server)
        });
        if let Some(Ok(answer)) = &ended {
            assert_eq!(answer.status, 200, "{answer:?}");
            new.told = Told::Revoked;
        }
        held.push(new);
        if matches!(ended, Some(Err(_))) {
            break;
        }
        answered.fetch_add(1, Ordering::Relaxed);
        let looked_at = [held.get(held.len() / 2), earlier.get(held.len() % earlier.len().max(1))];
        let looks_on = looked_at.into_iter().flatten().all(|other| {
            let answer = other.request("introspect").try_send(server);
            answer.is_ok_and(|answer| {
                other.check(&answer);
                true
            })
        });
        if !looks_on {
            break;
        }
    }
    held
}

#[test]
fn kill_9_under_load_loses_nothing_that_was_acknowledged_and_brings_nothing_back_that_was_revoked() {
    let store = Store::new();
    let clients = [("opaque", &[][..]), ("stored", &STORED_JWT[..]), ("stateless", &STATELESS_JWT[..])]
        .map(|(name, form)| store.register("root", name, &[&CLIENT[..], form].concat()));
    let mut held: Vec<Held<'_>> = Vec::new();
    // From a server that has hardly begun to one that is writing its journal for a while.
    for enough in [1, 60, 250, 5, 400, 120, 30, 600] {
        let mut server = Start::on(&store.argument()).spawn();
        let (answered, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let new: Vec<_> = thread::scope(|scope| {
            let (server, held, answered, stop) = (&server, &held, &answered, &stop);
            let lives: Vec<_> = clients
                .iter()
                .chain(&clients)
                .map(|client| scope.spawn(move || live(server, client, held, answered, stop)))
                .collect();
            let deadline = Instant::now() + Duration::from_mins(1);
            while answered.load(Ordering::Relaxed) < enough && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            // A panic in here would wait for the others for ever, so they are ended first.
            let killed = server.try_signal("KILL");
            stop.store(!killed, Ordering::Relaxed);
            assert!(killed && answered.load(Ordering::Relaxed) >= enough, "the server answers, and is killed");
            lives.into_iter().flat_map(|life| life.join().expect("no answer is wrong")).collect()
        });
        server.wait();
        drop(server);

        let begun = held.len();
        held.extend(new);
        let server = Start::on(&store.argument()).spawn();
        for each in held.iter_mut().skip(begun) {
            each.check_on(&server);
        }
    }
    let server = Start::on(&store.argument()).spawn();
    for each in &mut held {
        each.check_on(&server);
    }
    let revoked = held.iter().filter(|each| matches!(each.told, Told::Revoked)).count();
    assert!(revoked > 300 && held.len() - revoked > 300, "{revoked} of {} were revoked", held.len());
}

#[test]
fn sigterm_and_sigint_answer_what_is_in_flight_and_exit_0() {
    for signal in ["TERM", "INT"] {
        let store = Store::new();
        let client = store.register("root", "slow", &CLIENT);
        let mut server = Start::on(&store.argument()).spawn();
        let before = server.token(&client, "a");

        // In flight for certain: the handler has asked for the body.
        let mut connection = Connection::open(&server);
        let wire = grant(&client).header("Expect", "100-continue").to_bytes(&server);
        let (head, body) = wire.split_at(wire.len() - GRANT.len());
        connection.send(head);
        assert_eq!(connection.interim(), 100);

        // Connections without a request must not hold the server.
        let _never_used = Connection::open(&server);
        let mut idle = Connection::open(&server);
        idle.send(b"GET /oauth2/.well-known/oauth-authorization-server HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(idle.answer(true).status, 200);

        server.signal(signal);
        server.wait_until_closed();
        let (first, second) = body.split_at(7);
        connection.send(first);
        connection.send(second);
        let answered = connection.answer(true).assert_token("a");
        let asked = Instant::now();
        assert_eq!(server.wait().code(), Some(0), "SIG{signal}");
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "SIG{signal}: idle connections held it {:?}",
            asked.elapsed()
        );

        let server = Start::on(&store.argument()).spawn();
        for token in [before, answered] {
            server.introspect(&client, &token).assert_active();
        }
    }
}

#[test]
fn a_request_that_never_ends_does_not_hold_a_stopping_server_for_ever() {
    let store = Store::new();
    let client = store.register("root", "endless", &CLIENT);
    let mut server = Start::on(&store.argument()).spawn();
    let mut connection = Connection::open(&server);
    let wire = grant(&client).header("Expect", "100-continue").to_bytes(&server);
    connection.send(&wire[..wire.len() - GRANT.len()]);
    assert_eq!(connection.interim(), 100);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let store = Store::new();
    let client = store.register("root", "only", &CLIENT);
    let server = Start::on(&store.argument()).spawn();
    let refused = Start::on(&store.argument()).expect_refusal();
    assert_sentence(&refused, &[&store.directory().display().to_string()]);
    server.token(&client, "a");
    drop(server);
    // A dead server's lock is nobody's.
    Start::on(&store.argument()).spawn().token(&client, "a");
}

#[test]
fn an_address_beyond_this_machine_needs_a_tls_proxy() {
    for listen in ["0.0.0.0:0", "192.0.2.1:8080", "[::]:0"] {
        let refused = Start::on("memory").arguments(&["--listen", listen]).expect_refusal();
        assert_sentence(&refused, &["loopback", "--behind-tls-proxy"]);
    }
    let server = Start::on("memory").arguments(&["--listen", "0.0.0.0:0", "--behind-tls-proxy"]).spawn();
    Request::form("/oauth2/access_token", GRANT).send(&server).assert_401("root");
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let store = Store::new();
    let refused = Start::on(&store.argument()).arguments(&["--listen", &address]).expect_refusal();
    assert_sentence(&refused, &[&address, "--listen"]);
}

#[test]
fn a_directory_that_others_can_read_is_refused() {
    let store = Store::new();
    store.register("root", "any", &CLIENT);
    let mode = || fs::metadata(store.directory()).expect("it exists").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o700);
    fs::set_permissions(store.directory(), Permissions::from_mode(0o755)).expect("ours");
    let refused = Start::on(&store.argument()).expect_refusal();
    assert_sentence(&refused, &[&store.directory().display().to_string()]);
    assert_eq!(mode(), 0o755, "and left as it is");
}

#[test]
fn the_first_start_with_demo_prints_curl_lines_that_work_and_the_second_none() {
    let store = Store::new();
    let demo = || Start::on(&store.argument()).arguments(&["--demo"]).spawn();
    let mut server = demo();
    assert_eq!(
        fs::metadata(store.directory()).expect("it exists").permissions().mode() & 0o777,
        0o700,
        "the data directory is its owner's"
    );
    assert_curl_lines_work(&server);
    let secrets: Vec<String> = secrets_in(&server.stdout());
    assert!(secrets.len() >= 2, "{}", server.stdout());
    assert!(!secrets.iter().any(|secret| server.stderr().contains(secret)), "the log holds no secret");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));

    let mut server = demo();
    let url = server.url();
    wait_for_log(
        &server,
        "--demo registered no clients, because the registry is not empty; make a new secret for the demo client",
    );
    wait_for_log(
        &server,
        &format!(
            "`grantwell client rotate-secret demo-client --replace-current --realm alpha --store '{}'`",
            store.argument()
        ),
    );
    server.kill();
    let (stdout, _) = server.into_output();
    assert_eq!(stdout, format!("listening on {url}\n"));

    // A registry of somebody's own has no demo client whose secret could be made anew.
    let store = Store::new();
    store.register("root", "own", &["--scope", "a"]);
    let mut server = Start::on(&store.argument()).arguments(&["--demo"]).spawn();
    wait_for_log(&server, "--demo registered no clients, because the registry is not empty");
    server.kill();
    assert!(!server.into_output().1.contains("rotate-secret"));
}

#[test]
fn without_demo_nobody_is_registered_and_who_started_it_is_told_once_how_to() {
    let store = Store::new();
    let mut server = Start::on(&store.argument()).spawn();
    let url = server.url();
    wait_for_log(&server, "no client is registered");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let (stdout, stderr) = server.into_output();
    assert_eq!(stdout, format!("listening on {url}\n"));
    let told: Vec<&str> = stderr.lines().filter(|line| line.contains("no client is registered")).collect();
    assert_eq!(told.len(), 1, "{stderr}");
    // What it says works as it stands.
    let (_, command) = told[0].split_once("grantwell client create ").expect("a command");
    let command = format!("\"$0\" client create {command}");
    let output = Command::new("sh").args(["-c", &command, env!("CARGO_BIN_EXE_grantwell")]).output().expect("sh runs");
    assert!(output.status.success(), "{command}: {output:?}");
    assert!(store.run(&["client", "list"]).contains("myClient"));
    let mut server = Start::on(&store.argument()).spawn();
    server.signal("TERM");
    server.wait();
    assert!(!server.into_output().1.contains("no client is registered"));
}

#[test]
fn demo_is_refused_where_others_reach_the_server() {
    for proxy in ["--behind-tls-proxy", "--trust-forwarded-for"] {
        let store = Store::new();
        let refused = Start::on(&store.argument()).arguments(&["--demo", proxy]).expect_refusal();
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "{stderr}");
        assert!(stderr.contains("--demo") && stderr.contains(proxy), "{stderr}");
        assert!(!store.directory().exists());
    }
    // A public address means a proxy.
    let store = Store::new();
    for url in
        ["https://auth.example.com", "http://192.0.2.1:8080", "http://127.0.0.1.example.com", "http://[2001:db8::1]"]
    {
        let by_option = Start::on(&store.argument()).arguments(&["--demo", "--issuer-base", url]).expect_refusal();
        let by_environment = Start::on(&store.argument())
            .arguments(&["--demo"])
            .environment("GRANTWELL_PUBLIC_URL", url)
            .expect_refusal();
        for refused in [by_option, by_environment] {
            let stderr = String::from_utf8_lossy(&refused.stderr);
            assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{stderr}");
            assert!(stderr.starts_with("error: --demo ") && stderr.contains(url), "{stderr}");
        }
        assert!(!store.directory().exists());
    }
    for url in ["http://localhost:9", "http://127.0.0.2:9", "https://[::1]/here"] {
        drop(Start::on("memory").arguments(&["--demo", "--issuer-base", url]).spawn());
    }
    // Those of an earlier start are still there.
    let store = Store::new();
    drop(Start::on(&store.argument()).arguments(&["--demo"]).spawn());
    let server = Start::on(&store.argument()).arguments(&["--behind-tls-proxy"]).spawn();
    for client_id in ["demo-client", "demo-resource-server"] {
        wait_for_log(
            &server,
            &format!("grantwell client delete {client_id} --realm alpha --store '{}'", store.argument()),
        );
        store.run(&["client", "delete", client_id, "--realm", "alpha"]);
    }
    drop(server);
    let mut server = Start::on(&store.argument()).arguments(&["--behind-tls-proxy"]).spawn();
    server.signal("TERM");
    server.wait();
    assert!(!server.into_output().1.contains("demo client"));
}

#[test]
fn the_memory_stores_curl_lines_work_too() {
    assert_curl_lines_work(&Start::on("memory").arguments(&["--demo"]).spawn());
    wait_for_log(&Start::on("memory").spawn(), "pass --demo");
}

#[test]
fn r_04_i_17_v_07_a_registry_that_cannot_be_asked_is_503_everywhere_and_never_an_inactive_token() {
    let store = Store::new();
    let client = store.register("root", "known", &CLIENT);
    let server = Start::on(&store.argument()).spawn();
    let token = server.token(&client, "a");

    sql(&store, "ALTER TABLE clients RENAME TO clients_gone");
    let refused = |answer: Answer| {
        answer.assert_refused(503, "temporarily_unavailable");
        let seconds = answer.header("retry-after").and_then(|text| text.parse::<u64>().ok());
        assert!(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), "{answer:?}");
    };
    refused(wait_for_status(503, || server.token_request(&client, "")));
    refused(server.introspect(&client, &token));
    refused(server.revoke(&client, &token));
    // Nor does an outage tell who exists.
    let stranger = Request::form("/oauth2/access_token", GRANT);
    refused(stranger.clone().by(&client.with_secret("wrong")).send(&server));
    refused(stranger.header("Authorization", basic("unknown", "wrong")).send(&server));
    wait_for_log(&server, "request failed");

    sql(&store, "ALTER TABLE clients_gone RENAME TO clients");
    // An outage is not remembered.
    server.introspect(&client, &token).assert_active();
    server.token(&client, "a");
}

#[test]
fn e_06_a_corrupt_record_is_500_and_never_a_guess() {
    let store = Store::new();
    let client = store.register("root", "corrupt", &CLIENT);
    let bystander = store.register("root", "bystander", &CLIENT);
    let server = Start::on(&store.argument()).spawn();
    let token = server.token(&client, "a");
    sql(&store, r#"UPDATE clients SET registration = '{"canary":1}' WHERE client_id = 'corrupt'"#);
    wait_for_status(500, || server.token_request(&client, "")).assert_refused(500, "server_error");
    server.introspect(&client, &token).assert_refused(500, "server_error");
    server.introspect(&bystander, &token).assert_inactive();
    server.token(&bystander, "a");
    wait_for_log(&server, "request failed");
    assert!(!server.stderr().contains("canary"), "a log names the fault, not the data:\n{}", server.stderr());
}

/// What its absence would mean, tokens and a secret that never end, is not taken for what somebody decided.
#[test]
fn a_record_that_has_lost_what_ends_tokens_or_a_secret_opens_nothing() {
    let store = Store::new();
    store.set_realm("alpha", &[]);
    let client = store.register("alpha", "lost", &CLIENT);
    let server = Start::on(&store.argument()).spawn();
    let token = server.token(&client, "a");
    for (table, column, member) in [
        ("clients", "registration", "tokens_valid_after"),
        ("clients", "registration", "client_secret_expires_at"),
        ("realms", "settings", "tokens_valid_after"),
    ] {
        let path = format!("'$.{member}'");
        sql(&store, &format!("UPDATE {table} SET {column} = json_remove({column}, {path})"));
        wait_for_status(500, || server.token_request(&client, "")).assert_refused(500, "server_error");
        server.introspect(&client, &token).assert_refused(500, "server_error");
        sql(&store, &format!("UPDATE {table} SET {column} = json_set({column}, {path}, 0)"));
        wait_for_status(200, || server.token_request(&client, "")).assert_token("a");
    }
    server.introspect(&client, &token).assert_active();
}

/// The log is read by another thread, which may be behind the answer.
fn wait_for_log(server: &Server, text: &str) {
    poll("the operator is told", Duration::from_secs(20), || server.stderr().contains(text).then_some(()));
}

fn sql(store: &Store, statement: &str) {
    let registry = Registry::open(store.directory().join("registry.db")).expect("the registry");
    registry.execute_batch(statement).expect("a statement");
}

fn wait_for_status(status: u16, ask: impl Fn() -> Answer) -> Answer {
    poll("the store's fault shows", NOTICED_WITHIN, || Some(ask()).filter(|answer| answer.status == status))
}

/// Runs every printed curl line as a visitor would, through the shell.
fn assert_curl_lines_work(server: &Server) {
    // The lines follow the announcement at once, but perhaps not in the same read.
    let printed = poll("curl lines are printed", Duration::from_secs(10), || {
        Some(server.stdout()).filter(|text| text.contains("/access_token\n") && text.contains("/introspect\n"))
    });
    assert!(printed.starts_with(&format!("listening on {}\n", server.url())), "{printed}");
    let (mut granted, mut active) = (0, 0);
    for line in printed.lines().filter(|line| line.starts_with("curl ")) {
        let output = Command::new("sh").args(["-c", line]).output().expect("sh runs");
        let answer: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {line}: {output:?}"));
        assert!(output.status.success(), "{line}: {output:?}");
        granted += usize::from(answer["access_token"].is_string() && answer["token_type"] == "Bearer");
        active += usize::from(answer["active"] == true);
    }
    assert_eq!((granted, active), (1, 1), "{printed}");
}

fn secrets_in(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    text.split(|c| !is_part(c)).filter(|word| word.starts_with("gws_")).map(str::to_owned).collect()
}

/// Asserts a refusal as the command line makes it: nothing on stdout, one sentence on stderr, a status that is not 0.
#[track_caller]
fn assert_sentence(refused: &Output, parts: &[&str]) {
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code().is_some_and(|code| code != 0), "{refused:?}");
    assert!(refused.stdout.is_empty(), "{refused:?}");
    let sentence = stderr.lines().last().unwrap_or_default();
    assert!(sentence.starts_with("error: ") && sentence.split(' ').count() > 6, "{stderr}");
    assert!(parts.iter().all(|part| stderr.contains(part)), "{parts:?} in {stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("RUST_BACKTRACE"), "{stderr}");
}

#[test]
fn i_16_the_data_directory_holds_the_digest_of_a_token_and_never_the_token() {
    let store = Store::new();
    let client = store.register("root", "known", &["--scope", "a"]);
    let mut server = Start::on(&store.argument()).spawn();
    let token = server.token(&client, "a");
    server.signal("TERM");
    server.wait();

    let digest = opaque::digest_of_presented(&token).expect("a token of this server");
    let holds = |needle: &[u8]| {
        files_below(store.directory())
            .iter()
            .any(|path| fs::read(path).expect("readable").windows(needle.len()).any(|window| window == needle))
    };
    // Its first eight bytes are the number of its row.
    assert!(holds(&digest.as_bytes()[8..]), "the search finds what is there");
    assert!(!holds(token.as_bytes()) && !holds(&token.as_bytes()[4..]), "the token is on the disk");
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn a_damaged_digest_is_500_and_lets_nobody_in() {
    let store = Store::new();
    let client = store.register("root", "damaged", &CLIENT);
    let server = Start::on(&store.argument()).spawn();
    sql(&store, "UPDATE client_secrets SET current_sha256 = x'00'");
    server.token_request(&client, "").assert_refused(500, "server_error");
    wait_for_log(&server, "ERROR");
}

#[test]
fn a_token_that_would_be_dead_at_birth_is_503() {
    let store = Store::new();
    let client = store.register("root", "early", &CLIENT);
    let server = Start::on(&store.argument()).spawn();
    // As an operator whose clock is an hour ahead would have it.
    let ahead = "CAST(unixepoch() + 3600 AS INTEGER)";
    sql(&store, &format!("UPDATE clients SET registration = json_set(registration, '$.tokens_valid_after', {ahead})"));
    server.token_request(&client, "").assert_refused(503, "temporarily_unavailable");
    wait_for_log(&server, "ahead of this server's clock");
}

#[cfg(target_os = "linux")]
#[test]
fn with_sync_always_the_disk_confirms_each_token_and_each_revocation_before_it_is_acknowledged() {
    let store = Store::new();
    let client = store.register("root", "careful", &CLIENT);
    let stateless = store.register("root", "stateless", &[&CLIENT[..], &STATELESS_JWT].concat());
    for (sync, confirmed) in [("always", true), ("os", false)] {
        let disk = WatchedDisk::new();
        let server = disk.under(Start::on(&store.argument()).arguments(&["--sync", sync])).spawn();
        // The first JWT makes a key, and the registry's disk confirms that.
        let jwt = grant(&stateless).send(&server).assert_granted("a");
        for _ in 0..5 {
            let before = disk.confirmations();
            let token = server.token(&client, "a");
            let issued = disk.confirmations();
            assert_eq!(issued > before, confirmed, "{sync}: a token");
            assert_eq!(server.revoke(&client, &token).status, 200);
            assert_eq!(disk.confirmations() > issued, confirmed, "{sync}: its end");
        }
        let before = disk.confirmations();
        assert_eq!(server.revoke(&stateless, &jwt).status, 200);
        assert_eq!(disk.confirmations() > before, confirmed, "{sync}: the end of a JWT without a record");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn with_sync_always_a_token_that_the_disk_does_not_confirm_is_503() {
    let store = Store::new();
    let client = store.register("root", "careful", &CLIENT);
    let disk = WatchedDisk::new();
    let server = disk.under(Start::on(&store.argument()).arguments(&["--sync", "always"])).spawn();
    let token = server.token(&client, "a");
    disk.begin("fails");
    server.token_request(&client, "").assert_refused(503, "temporarily_unavailable");
    server.revoke(&client, &token).assert_refused(503, "temporarily_unavailable");
    wait_for_log(&server, "request failed");
}

#[test]
fn the_memory_store_has_no_disk_to_wait_for() {
    let refused = Start::on("memory").arguments(&["--sync", "always"]).expect_refusal();
    assert_sentence(&refused, &["--sync always", "--store file:DIR"]);
}
