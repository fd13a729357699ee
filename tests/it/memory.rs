//! What strangers send takes memory once and not for ever: random client ids, forged sources, huge heads and bodies.
//!
//! Linux only, where a process's resident memory can be read. It is compared with itself after as much of the same, when
//! every cache has been full once: what grows then, grows for ever.
#![cfg(target_os = "linux")]

use std::thread;

use crate::support::cli::{Store, basic};
use crate::support::http::{Connection, FORM, Request};
use crate::support::server::{Server, Start};

const TOKEN: &str = "/oauth2/access_token";
/// Twice the capacity of every cache.
const IDS: usize = 20_000;
const CONNECTIONS: usize = 4;
/// An id has 128 characters: 20,000 that were kept would take 2.5 MB for the ids alone. Every size below is in KiB.
const GROWTH_OF_IDS: u64 = 1024;
const GROWTH_OF_HUGE_INPUTS: u64 = 8 * 1024;
/// Of an unoptimized server with full caches.
const RESIDENT: u64 = 64 * 1024;

#[test]
fn random_client_ids_from_random_sources_take_no_more_memory_the_second_time() {
    let store = Store::new();
    let server = Start::on(&store.argument())
        .arguments(&["--trust-forwarded-for"])
        .environment("GRANTWELL_FAILED_AUTH_LIMIT", "")
        .environment("GRANTWELL_LOG_LEVEL", "error")
        .spawn();
    let mut before = 0;
    for flood in 0..2 {
        thread::scope(|scope| {
            for part in 0..CONNECTIONS {
                let server = &server;
                scope.spawn(move || {
                    let ids = (flood * IDS..(flood + 1) * IDS).skip(part).step_by(CONNECTIONS);
                    guess(server, ids);
                });
            }
        });
        let after = server.resident_kib();
        eprintln!("after flood {flood}: {after} KiB resident");
        assert!(after < RESIDENT, "{after} KiB");
        if flood == 1 {
            assert!(after < before + GROWTH_OF_IDS, "from {before} to {after} KiB");
        }
        before = after;
    }
}

#[test]
fn huge_heads_and_bodies_are_refused_before_they_are_kept() {
    let store = Store::new();
    let server = Start::on(&store.argument()).environment("GRANTWELL_LOG_LEVEL", "error").spawn();
    let inputs = huge_inputs(&server);
    let send_all = || {
        for (expected, wire) in &inputs {
            thread::scope(|scope| {
                for _ in 0..CONNECTIONS {
                    scope.spawn(|| {
                        let mut connection = Connection::open(&server);
                        connection.send(wire);
                        assert_eq!(connection.status(), *expected);
                    });
                }
            });
        }
    };
    send_all();
    let before = server.resident_kib();
    for _ in 0..25 {
        send_all();
    }
    let after = server.resident_kib();
    eprintln!("from {before} to {after} KiB");
    assert!(after < RESIDENT && after < before + GROWTH_OF_HUGE_INPUTS, "from {before} to {after} KiB");
}

/// Each fails to authenticate, on one connection.
fn guess(server: &Server, ids: impl Iterator<Item = usize>) {
    let mut connection = Connection::open(server);
    for number in ids {
        let form = "grant_type=client_credentials";
        let authorization = basic(&format!("random-{number:0>121}"), "canary");
        let source = number * 2_654_435_761 % (1 << 32);
        let address = format!("{}.{}.{}.{}", source >> 24, source >> 16 & 255, source >> 8 & 255, source & 255);
        connection.send(
            format!(
                "POST {TOKEN} HTTP/1.1\r\nHost: a\r\nContent-Type: {FORM}\r\nContent-Length: {}\r\nAuthorization: \
                 {authorization}\r\nX-Forwarded-For: {address}\r\n\r\n{form}",
                form.len()
            )
            .as_bytes(),
        );
        assert_eq!(connection.answer(true).status, 401);
    }
}

/// The status of each, and what is sent.
fn huge_inputs(server: &Server) -> Vec<(u16, Vec<u8>)> {
    let form = |body: Vec<u8>| Request::form(TOKEN, body).to_bytes(server);
    let secret = "s".repeat(60_000);
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x1_0000)).repeat(32);
    vec![
        (413, form(vec![b'a'; 2 << 20])),
        (
            413,
            [&Request::form(TOKEN, "").header("Transfer-Encoding", "chunked").to_bytes(server)[..], chunk.as_bytes()]
                .concat(),
        ),
        (401, form(format!("client_id={secret}&client_secret=a").into_bytes())),
        (401, form(format!("client_id=a&client_secret={secret}").into_bytes())),
        (400, form("a=1&".repeat(16_000).into_bytes())),
        (431, Request::form(TOKEN, "a=1").header("Authorization", vec![b'a'; 1 << 20]).to_bytes(server)),
        (431, (0..20_000).fold(Request::form(TOKEN, "a=1"), |request, _| request.header("X-A", "a")).to_bytes(server)),
        (431, Request::form(&format!("{TOKEN}?{}", "a".repeat(1 << 20)), "a=1").to_bytes(server)),
    ]
}
