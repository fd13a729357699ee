//! `realm set --record-use` and `client list --unused`: who was used is known, and who was not is known only as far back as somebody looked.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::operator::{ids, now, wait_until};
use crate::support::cli::{Registered, Store};
use crate::support::poll;
use crate::support::server::Start;

#[test]
fn clients_that_are_used_are_marked_and_the_others_are_listed() {
    let store = Store::new();
    store.set_realm("root", &["--record-use", "on"]);
    let [used, asks, idle] = ["used", "asks", "idle"].map(|id| store.register("root", id, &SCOPE));
    let server = Start::on(&store.argument()).spawn();
    let token = server.token(&used, "a");
    // A resource server fetches no token, and is used all the same.
    server.introspect(&asks, &token);
    // Whoever does not prove who it is is not the client.
    assert_eq!(server.token_request(&idle.with_secret("wrong-secret-0123456789"), "").status, 401);
    let today = now() - now() % DAY;
    for client in [&used, &asks] {
        poll("a mark", Duration::from_mins(1), || (show(&store, client)["last_used_on"] == json!(today)).then_some(()));
    }
    assert_eq!(show(&store, &idle)["last_used_on"], Value::Null);
    let table = store.run(&["client", "show", "idle", "--output", "table"]);
    assert!(table.contains("last_used_on") && table.contains("never (recorded since 2"), "{table}");

    wait_until(now() + 2);
    assert_eq!(unused(&store, &["--unused", "1"]), ["idle"]);
    let too_early = store.run_with_input(&["client", "list", "--unused", "1h"], "");
    let said = String::from_utf8_lossy(&too_early.stderr).into_owned();
    assert_eq!(
        ids(&serde_json::from_slice(&too_early.stdout).expect("JSON")),
        [""; 0],
        "nobody has looked for so long"
    );
    assert!(said.contains("note: realm 'root': use is recorded since 2"), "{said}");
    assert!(said.contains("so nothing can be said of 1 hour yet; ask again after 2"), "{said}");
    let listed: Value = serde_json::from_str(&store.run(&["client", "list", "--unused", "1"])).expect("JSON");
    assert_eq!(listed["clients"][0]["last_used_on"], Value::Null, "{listed}");
    let table = store.run(&["client", "list", "--unused", "1", "--realm", "*", "--output", "table"]);
    assert!(table.contains("last used") && table.contains("never (recorded since 2"), "{table}");

    // A restart brings no mark down, and a lost file is no proof.
    drop(server);
    assert_eq!(unused(&store, &["--unused", "1"]), ["idle"]);
    for suffix in ["", "-wal", "-shm", "-ends"] {
        let _absent = fs::remove_file(store.directory().join(format!("tokens.db{suffix}")));
    }
    assert_eq!(unused(&store, &["--unused", "1"]), [""; 0]);
}

#[test]
fn a_realm_that_does_not_want_it_has_nothing_recorded() {
    let store = Store::new();
    store.set_realm("alpha", &["--record-use", "on"]);
    let [quiet, loud] = ["root", "alpha"].map(|realm| store.register(realm, "client", &SCOPE));
    let server = Start::on(&store.argument()).spawn();
    server.token(&quiet, "a");
    server.token(&loud, "a");
    poll("a mark", Duration::from_mins(1), || show(&store, &loud)["last_used_on"].is_number().then_some(()));
    assert_eq!(show(&store, &quiet)["last_used_on"], Value::Null);
    let database = rusqlite::Connection::open(store.directory().join("tokens.db")).expect("opened");
    let marks: i64 = database.query_row("SELECT count(*) FROM client_uses", [], |row| row.get(0)).expect("counted");
    assert_eq!(marks, 1);

    let ended = store.run_with_input(&["client", "list", "--unused", "1", "--realm", "*"], "");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("warning: realm 'root' does not record when its clients are used"), "{said}");
    assert!(said.contains("realm set root --record-use on"), "{said}");

    // Saying it again does not begin anew; off and on does.
    let since = |settings: &[&str]| {
        store.set_realm("alpha", settings);
        let shown: Value = serde_json::from_str(&store.run(&["realm", "show", "alpha"])).expect("JSON");
        shown["client_use_recorded_since"].clone()
    };
    let first = since(&[]);
    wait_until(now() + 1);
    assert_eq!(since(&["--record-use", "on"]), first);
    assert_eq!(since(&["--record-use", "off"]), Value::Null);
    assert!(since(&["--record-use", "on"]).as_u64() > first.as_u64());
}

fn show(store: &Store, client: &Registered) -> Value {
    serde_json::from_str(&store.client("show", client, &[])).expect("JSON")
}

fn unused(store: &Store, filter: &[&str]) -> Vec<String> {
    ids(&serde_json::from_str(&store.run(&[&["client", "list"], filter].concat())).expect("JSON"))
}

const SCOPE: [&str; 4] = ["--scope", "a", "--default-scope", "a"];
const DAY: u64 = 24 * 60 * 60;
