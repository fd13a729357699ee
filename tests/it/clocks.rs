//! A server whose clock is set: what it remembers, it remembers for its time and no longer.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::cli::Store;
use crate::support::jwt::parts;
use crate::support::server::{Server, Start};
use crate::support::shared::STATELESS_JWT;
use crate::support::{NOTICED_WITHIN, poll};

const SCOPE: [&str; 4] = ["--scope", "a", "--default-scope", "a"];

/// The clock of a server, as somebody sets it who has its machine.
struct WallClock(TempDir);

impl WallClock {
    fn new() -> Self {
        let directory = TempDir::with_prefix("grantwell-clock-").expect("a temporary directory");
        let source = directory.path().join("shifted_clock.c");
        fs::write(&source, include_str!("../aws/shifted_clock.c")).expect("written");
        // The C compiler that the crate's own dependencies need.
        let library = directory.path().join("shifted_clock.so");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
        assert!(compiled.expect("a C compiler").success());
        let clock = Self(directory);
        clock.set(0);
        clock
    }

    /// So many seconds from what it would be.
    fn set(&self, seconds: i64) {
        let (new, file) = (self.0.path().join("new"), self.0.path().join("shift"));
        fs::write(&new, seconds.to_string()).and_then(|()| fs::rename(&new, &file)).expect("written");
    }

    fn serve(&self, store: &Store, settings: &[(&str, &str)]) -> Server {
        settings.iter().fold(self.start(store), |start, (name, value)| start.environment(name, value)).spawn()
    }

    fn start(&self, store: &Store) -> Start {
        let path = |name| self.0.path().join(name).display().to_string();
        Start::on(&store.argument())
            .environment("LD_PRELOAD", &path("shifted_clock.so"))
            .environment("SHIFTED_CLOCK", &path("shift"))
    }
}

#[test]
fn a_secret_that_was_taken_back_gets_no_token_though_the_clock_is_set_back() {
    let (store, clock) = (Store::new(), WallClock::new());
    let server = clock.serve(&store, &[]);
    for (name, set_back) in [("half-a-minute", 30), ("two-minutes", 120), ("ten-minutes", 600)] {
        clock.set(0);
        let before = store.register("root", name, &SCOPE);
        server.token(&before, "a");
        clock.set(-set_back);
        server.token(&before, "a");
        let after = store.rotate_secret(&before, &[]);
        store.client("rotate-secret", &after, &["--revoke-previous"]);
        server.wait_until_refused(name, &before);
        server.wait_until_granted(name, &after, "").assert_token("a");
    }
}

#[test]
fn a_client_that_was_disabled_gets_no_token_though_the_clock_is_set_back() {
    let (store, clock) = (Store::new(), WallClock::new());
    let server = clock.serve(&store, &[]);
    let client = store.register("root", "disabled", &SCOPE);
    server.token(&client, "a");
    clock.set(-600);
    server.token(&client, "a");
    store.client("disable", &client, &[]);
    server.wait_until_refused("a disabled client", &client);
}

#[test]
fn a_key_that_was_taken_back_neither_signs_nor_verifies_though_the_clock_is_set_back() {
    let (store, clock) = (Store::new(), WallClock::new());
    let client = store.register("root", "signed", &[&SCOPE[..], &STATELESS_JWT].concat());
    let server = clock.serve(&store, &[]);
    for set_back in [30, 120, 600] {
        clock.set(0);
        server.wait_until_granted("the keys sign", &client, "");
        let token = server.jwt(&client, "a", "");
        server.introspect(&client, &token).assert_active();
        clock.set(-set_back);
        let kid = parts(&token).0["kid"].as_str().expect("text").to_owned();
        store.run(&["key", "revoke", &kid, "--realm", "root"]);
        poll("another key signs", NOTICED_WITHIN, || {
            (parts(&server.jwt(&client, "a", "")).0["kid"] != kid.as_str()).then_some(())
        });
        server.wait_until_inactive("what the leaked key has signed", &client, &token);
        assert!(!server.jwks("/oauth2").to_string().contains(&kid));
    }
}

#[test]
fn a_jwks_that_was_empty_is_asked_for_again_though_the_clock_is_set_back() {
    let (store, clock) = (Store::new(), WallClock::new());
    let server = clock.serve(&store, &[]);
    for (realm, set_back) in [("half-a-minute", 30), ("two-minutes", 120), ("ten-minutes", 600)] {
        clock.set(0);
        store.set_realm(realm, &[]);
        let client = store.register(realm, "first", &[&SCOPE[..], &STATELESS_JWT].concat());
        store.forget_keys(realm);
        let keys = || server.jwks(&client.base())["keys"].as_array().map(Vec::len);
        assert_eq!(keys(), Some(0));
        clock.set(-set_back);
        let token = server.jwt(&client, "a", "");
        assert_eq!(keys(), Some(2), "at once");
        server.introspect(&client, &token).assert_active();
    }
}

#[test]
fn failed_attempts_are_forgotten_after_their_window_though_the_clock_is_set_back() {
    let (store, clock) = (Store::new(), WallClock::new());
    let client = store.register("root", "guessed", &SCOPE);
    let settings = [("GRANTWELL_FAILED_AUTH_LIMIT", "3"), ("GRANTWELL_FAILED_AUTH_WINDOW", "5")];
    let server = clock.serve(&store, &settings);
    poll("a guesser is refused", NOTICED_WITHIN, || {
        (server.token_request(&client.with_secret("wrong"), "").status == 429).then_some(())
    });
    clock.set(-3600);
    let seconds = server.token_request(&client, "");
    if seconds.status == 429 {
        assert!((1..=5).contains(&seconds.assert_429()), "{seconds:?}");
    }
    poll("the window ends", Duration::from_secs(20), || {
        (server.token_request(&client, "").status == 200).then_some(())
    });
}

/// No answer can carry such a date.
#[test]
fn a_clock_beyond_the_year_9999_is_refused_at_the_start_and_a_server_answers_again_when_it_is_set_right() {
    const AHEAD: i64 = 31_000 * 365 * 86_400;
    let (store, clock) = (Store::new(), WallClock::new());
    let client = store.register("root", "dated", &SCOPE);
    let mut server = clock.serve(&store, &[]);
    let token = server.token(&client, "a");

    clock.set(AHEAD);
    let mut ended = TcpStream::connect(server.address()).expect("it listens");
    ended.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    ended.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket option");
    let mut answer = Vec::new();
    // Reset or closed: nobody is kept waiting.
    let _ended = ended.read_to_end(&mut answer).map_err(|error| assert_ne!(error.kind(), ErrorKind::WouldBlock));
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    let sentence = "this machine's clock is before the year 1970 or after 9999; set it right";
    poll("the log says why", Duration::from_secs(20), || server.stderr().contains(sentence).then_some(()));
    let refused = clock.start(&Store::new()).expect_refusal();
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{refused:?}");
    assert_eq!(String::from_utf8_lossy(&refused.stderr), format!("error: {sentence}\n"));

    clock.set(0);
    server.introspect(&client, &token).assert_active();
    assert!(!server.stderr().contains("panic"), "{}", server.stderr());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}
