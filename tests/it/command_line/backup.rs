//! `grantwell backup`, `restore` and `check`: what they write, what they refuse, and what they leave where they are stopped.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::operator::{Operator, ids, text};
use crate::support::cli::Store;
use crate::support::server::Start;

#[test]
fn a_backup_is_made_while_the_server_runs_and_says_what_is_in_it() {
    let operator = Operator::with_clients(&["one", "two"]);
    operator.json(&["realm", "set", "alpha", "--access-token-format", "jwt"]);
    operator.json(&["client", "disable", "two"]);
    let _server = operator.serve();
    let made = operator.json(&["backup", "--to", "saved.db"]);
    for (member, expected) in [
        ("realms", json!(1)),
        ("clients", json!(2)),
        ("disabled_clients", json!(1)),
        ("signing_keys", json!(2)),
        ("unreadable_records", json!([])),
        ("left_out", json!(["tokens", "revocations", "quota_counts"])),
    ] {
        assert_eq!(made[member], expected, "{member}: {made}");
    }
    let file = operator.home.path().join("saved.db");
    let found = fs::metadata(&file).expect("written");
    assert_eq!((found.mode() & 0o777, json!(found.len())), (0o600, made["bytes"].clone()));
    assert_eq!(text(&made["file"]), fs::canonicalize(&file).expect("there").display().to_string());
    // One file, which needs nothing beside it.
    let database = Connection::open_with_flags(&file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).expect("opened");
    let mode: String = database.query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("a mode");
    assert_eq!(mode, "delete");
    assert_eq!(names(operator.home.path()), ["data", "saved.db"]);

    // Into a directory it gets a name by the time.
    let directory = operator.home.path().join("saved");
    fs::create_dir(&directory).expect("made");
    let made = operator.json(&["backup", "--to", "saved"]);
    let name = names(&directory);
    assert_eq!(name.len(), 1);
    assert!(name[0].starts_with("grantwell-registry-2") && name[0].ends_with("Z.db"), "{name:?}");
    assert!(text(&made["file"]).ends_with(&name[0]), "{made}");
    let checked = operator.json(&["check", "--backup", &format!("saved/{}", name[0])]);
    assert_eq!(checked["status"], "ok", "{checked}");
}

#[test]
fn a_backup_replaces_nothing_unless_told_and_never_the_registry() {
    let operator = Operator::with_client();
    fs::write(operator.home.path().join("mine"), "mine").expect("written");
    operator.refused(&["backup", "--to", "mine"], 1, "mine exists and is left as it is");
    assert_eq!(fs::read(operator.home.path().join("mine")).expect("there"), b"mine");
    symlink("mine", operator.home.path().join("link")).expect("linked");
    operator.refused(&["backup", "--to", "link"], 1, "exists");
    operator.refused(&["backup", "--to", "link", "--overwrite"], 1, "not a regular file");
    let registry = fs::read(operator.data().join("registry.db")).expect("there");
    for inside in ["data/registry.db", "data/saved.db", "data/../data/registry.db", "data"] {
        operator.refused(&["backup", "--to", inside, "--overwrite"], 1, "is in the data directory itself");
    }
    symlink("data", operator.home.path().join("alias")).expect("linked");
    operator.refused(&["backup", "--to", "alias/registry.db", "--overwrite"], 1, "is in the data directory itself");
    assert!(fs::read(operator.data().join("registry.db")).expect("there") == registry);
    operator.refused(&["backup", "--to", "nowhere/saved.db"], 1, "could not be written");
    operator.refused(&["backup", "--to", "-"], 2, "cannot go to standard output");
    operator.refused(&["backup", "--store", "memory"], 1, "memory store has none");
    operator.refused(&["backup", "--store", "file:elsewhere"], 1, "there is no data directory elsewhere");

    operator.json(&["backup", "--to", "mine", "--overwrite"]);
    assert_eq!(operator.json(&["check", "--backup", "mine"])["status"], "ok");
    assert_eq!(names(operator.home.path()), ["alias", "data", "link", "mine"]);
}

#[test]
fn a_damaged_registry_is_not_backed_up_and_the_backup_before_stays() {
    let operator = Operator::with_client();
    operator.fill(50);
    operator.json(&["backup", "--to", "saved.db"]);
    let saved = fs::read(operator.home.path().join("saved.db")).expect("there");
    damage(&operator.data().join("registry.db"));
    operator.refused(&["backup", "--to", "saved.db", "--overwrite"], 1, "damaged");
    assert!(fs::read(operator.home.path().join("saved.db")).expect("there") == saved);
    assert_eq!(names(operator.home.path()), ["data", "saved.db"]);
    let checked = operator.run(&["check", "--output", "json"]);
    assert_eq!(checked.status, Some(1), "{}", checked.stdout);
}

#[test]
fn a_restore_brings_the_registry_back_and_no_token() {
    let store = Store::new();
    let (kept, stopped) = (store.register("root", "kept", &SCOPE), store.register("root", "stopped", &SCOPE));
    let saved = store.directory().with_file_name("saved.db");
    let saved = saved.display().to_string();
    let server = Start::on(&store.argument()).spawn();
    let tokens = [server.token(&kept, "a"), server.token(&stopped, "a")];
    store.run(&["owner", "create", "alice"]);
    store.run(&["backup", "--to", &saved]);
    store.client("disable", &stopped, &[]);
    let rotated = store.rotate_secret(&kept, &[]);
    store.register("root", "later", &SCOPE);
    store.set_realm("beta", &[]);
    store.client("delete", &stopped, &[]);
    store.run(&["owner", "delete", "alice"]);

    // While a server runs nothing is touched.
    let refused = store.run_with_input(&["restore", &saved, "--yes"], "");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("a server is running on") && said.contains("stop it"), "{said}");
    server.introspect(&rotated, &tokens[0]).assert_active();
    drop(server);

    // Nor without a yes.
    let refused = store.run_with_input(&["restore", &saved], "yes\n");
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    store.run(&["client", "show", "later"]);

    let restored: Value = serde_json::from_str(&store.run(&["restore", &saved, "--yes"])).expect("JSON");
    assert_eq!(
        restored["undone"],
        json!([
            {"change": "secret_changed", "realm": "root", "client_id": "kept"},
            {"change": "deleted", "realm": "root", "client_id": "stopped"},
            {"change": "deleted", "owner": "alice"},
            {"change": "made", "realm": "root", "client_id": "later"},
            {"change": "made", "realm": "beta"},
        ]),
    );
    assert_eq!((&restored["clients"], &restored["tokens"]), (&json!(2), &json!("ended")));
    let list: Value = serde_json::from_str(&store.run(&["client", "list"])).expect("JSON");
    assert_eq!(ids(&list), ["kept", "stopped"]);
    // Who has changed what stays written down, though the change is undone.
    let log: Value = serde_json::from_str(&store.run(&["log", "--output", "json"])).expect("JSON");
    let actions = log["lines"].as_array().expect("a list").iter().map(|line| line["action"].clone());
    let expected = [
        "registry.restore",
        "owner.delete",
        "owner.update",
        "client.delete",
        "realm.create",
        "client.create",
        "client.rotate_secret",
        "client.disable",
        "owner.create",
        "client.create",
        "client.create",
    ];
    assert_eq!(actions.collect::<Vec<_>>(), expected);
    assert!(
        names(store.directory()).iter().all(|name| !name.starts_with("tokens.db")),
        "{:?}",
        names(store.directory())
    );
    let server = Start::on(&store.argument()).spawn();
    for (client, token) in [(&kept, &tokens[0]), (&stopped, &tokens[1])] {
        server.introspect(client, token).assert_inactive();
        server.introspect(client, &server.token(client, "a")).assert_active();
    }
    drop(server);

    // What was there before can be brought back in the same way.
    let kept_beside = text(&restored["kept"]).to_owned();
    assert_eq!(fs::metadata(&kept_beside).expect("kept").mode() & 0o777, 0o600);
    store.run(&["restore", &kept_beside, "--yes"]);
    store.run(&["client", "show", "later"]);
}

#[test]
fn what_was_disabled_since_is_named_with_the_command_that_does_it_again() {
    let operator = Operator::with_clients(&["one", "two", "three"]);
    operator.json(&["client", "disable", "three"]);
    operator.json(&["backup", "--to", "saved.db"]);
    operator.json(&["client", "disable", "one"]);
    operator.json(&["client", "enable", "three"]);
    let restored = operator.run(&["restore", "saved.db", "--yes"]);
    assert_eq!(
        restored.json()["undone"],
        json!([
            {"change": "disabled", "realm": "root", "client_id": "one"},
            {"change": "changed", "realm": "root", "client_id": "three"},
        ])
    );
    let line = restored.stderr.lines().find(|line| line.contains("'one'")).expect("a line");
    assert!(line.ends_with("disable it then with: grantwell client disable one"), "{line}");
}

#[test]
fn a_restore_on_a_new_machine_makes_the_directory_or_leaves_nothing() {
    let operator = Operator::with_client();
    operator.json(&["backup", "--to", "saved.db"]);
    fs::write(operator.home.path().join("rubbish"), "rubbish").expect("written");
    operator.refused(&["restore", "rubbish", "--yes", "--store", "file:new/data"], 1, "it is not an SQLite database");
    assert!(!operator.home.path().join("new").exists());
    let restored = operator.json(&["restore", "saved.db", "--yes", "--store", "file:new/data"]);
    assert_eq!((&restored["kept"], &restored["undone"]), (&Value::Null, &json!([])));
    assert_eq!(fs::metadata(operator.home.path().join("new/data")).expect("made").mode() & 0o777, 0o700);
    assert_eq!(names(&operator.home.path().join("new/data")), ["registry.db"]);
    operator.json(&["client", "show", "myClient", "--store", "file:new/data"]);
}

#[test]
fn what_is_not_a_whole_backup_is_refused_and_nothing_is_lost() {
    let operator = Operator::with_client();
    operator.fill(50);
    operator.json(&["backup", "--to", "whole.db"]);
    let mut server = operator.server(|start| start);
    server.signal("TERM");
    server.wait();
    let home = operator.home.path();
    let whole = fs::read(home.join("whole.db")).expect("there");
    let written = |name: &str, bytes: &[u8]| fs::write(home.join(name), bytes).expect("written");
    let changed = |name: &str, change: &str| {
        written(name, &whole);
        Connection::open(home.join(name)).expect("opened").execute_batch(change).expect("changed");
    };
    written("empty", b"");
    written("text", b"a text of some length, which is not a database");
    written("cut", &whole[..whole.len() / 2]);
    written("damaged", &whole);
    damage(&home.join("damaged"));
    fs::copy(operator.data().join("tokens.db"), home.join("tokens")).expect("copied");
    let foreign = Connection::open(home.join("foreign")).expect("opened");
    foreign.execute_batch("CREATE TABLE pets (name TEXT)").expect("made");
    drop(foreign);
    changed("newer", "PRAGMA user_version = 99");
    changed("column", "ALTER TABLE clients ADD COLUMN owner TEXT");
    changed("trigger", "CREATE TRIGGER t AFTER UPDATE ON clients BEGIN DELETE FROM client_secrets; END");
    changed("view", "CREATE VIEW v AS SELECT * FROM clients");
    changed("nothing", "DELETE FROM client_secrets; DELETE FROM clients; DELETE FROM realms");
    changed("unreadable", "UPDATE clients SET registration = '{}' WHERE client_id = 'c7'");
    changed("other", "UPDATE clients SET realm = 'beta' WHERE client_id = 'c7'");
    fs::create_dir(home.join("directory")).expect("made");
    symlink("data/registry.db", home.join("itself")).expect("linked");

    let before = (fs::read(operator.data().join("registry.db")).expect("there"), names(&operator.data()));
    for (name, why) in [
        ("empty", "it is an empty file"),
        ("text", "it is not an SQLite database"),
        ("cut", "it is damaged"),
        ("damaged", "it is damaged"),
        ("tokens", "it is a token database"),
        ("foreign", "it is a database of another program"),
        ("newer", "it was written by a later version of grantwell"),
        ("column", "it is a database of another program"),
        ("trigger", "it is a database of another program"),
        ("view", "it is a database of another program"),
        ("nothing", "has no realm and no client"),
        ("unreadable", "these records cannot be read: client 'c7' of realm 'root'"),
        ("other", "these records cannot be read: client 'c7' of realm 'beta'"),
        ("directory", "is not a file"),
        ("itself", "is the registry itself"),
        ("missing", "cannot be read"),
    ] {
        operator.refused(&["restore", name, "--yes"], 1, why);
        let after = (fs::read(operator.data().join("registry.db")).expect("there"), names(&operator.data()));
        assert!(after == before, "{name}: {:?}", after.1);
        let checked = operator.run(&["check", "--backup", name, "--output", "json"]);
        if name != "itself" {
            assert_eq!(checked.status, Some(1), "{name}: {}", checked.stdout);
        }
    }
}

#[test]
fn a_backup_of_an_earlier_build_is_brought_to_this_ones_form() {
    let operator = Operator::with_client();
    operator.json(&["backup", "--to", "saved.db"]);
    // As version 4 was.
    let older = Connection::open(operator.home.path().join("saved.db")).expect("opened");
    older
        .execute_batch(
            "ALTER TABLE client_secrets DROP COLUMN current_made_at;
             ALTER TABLE client_secrets DROP COLUMN previous_made_at;
             ALTER TABLE client_secrets DROP COLUMN previous_expires_at;
             DROP TABLE owners;
             DROP TABLE admin_log;
             PRAGMA user_version = 4;",
        )
        .expect("changed");
    drop(older);
    assert_eq!(operator.json(&["check", "--backup", "saved.db"])["status"], "ok");
    operator.json(&["restore", "saved.db", "--yes"]);
    operator.json(&["client", "rotate-secret", "myClient"]);
}

#[test]
fn a_copy_of_a_directory_is_restored_with_what_is_in_its_log() {
    let operator = Operator::with_client();
    let holder = Connection::open(operator.data().join("registry.db")).expect("opened");
    // Somebody who reads keeps the log from being emptied.
    holder.execute_batch("BEGIN; SELECT * FROM clients").expect("read");
    operator.json(&["client", "create", "--id", "inTheLog"]);
    for suffix in ["", "-wal"] {
        let copy = operator.home.path().join(format!("copy.db{suffix}"));
        fs::copy(operator.data().join(format!("registry.db{suffix}")), copy).expect("copied");
    }
    drop(holder);
    operator.json(&["restore", "copy.db", "--yes", "--store", "file:new"]);
    operator.json(&["client", "show", "inTheLog", "--store", "file:new"]);
}

#[test]
fn a_registry_that_is_damaged_is_replaced_and_kept() {
    let operator = Operator::with_client();
    operator.fill(50);
    operator.json(&["backup", "--to", "saved.db"]);
    damage(&operator.data().join("registry.db"));
    let damaged = fs::read(operator.data().join("registry.db")).expect("there");
    let restored = operator.run(&["restore", "saved.db", "--yes"]);
    assert!(restored.stderr.contains("what was changed after the backup was made is not known"), "{}", restored.stderr);
    let restored = restored.json();
    assert_eq!(restored["undone"], Value::Null);
    // But for the header, which says whether there is a log.
    assert!(fs::read(text(&restored["kept"])).expect("kept")[100..] == damaged[100..]);
    // It only warns of clients that have no scope.
    assert_eq!(operator.run(&["check"]).status, Some(3));
}

#[test]
fn a_restore_waits_for_nobody_who_uses_the_registry() {
    let operator = Operator::with_client();
    operator.json(&["backup", "--to", "saved.db"]);
    let holder = Connection::open(operator.data().join("registry.db")).expect("opened");
    holder.execute_batch("BEGIN; SELECT * FROM clients").expect("read");
    operator.refused(&["restore", "saved.db", "--yes"], 1, "another process is using");
    drop(holder);
    operator.json(&["restore", "saved.db", "--yes"]);
}

#[test]
fn a_restore_that_is_killed_leaves_a_whole_registry() {
    let operator = Operator::with_clients(&["myClient", "saved"]);
    operator.fill(200);
    operator.json(&["backup", "--to", "saved.db"]);
    operator.json(&["client", "delete", "saved"]);
    operator.json(&["backup", "--to", "without.db"]);
    let mut seen = [false; 2];
    for round in 0..40_u64 {
        // From each to the other, so that it can be seen which there is.
        let from = if round % 2 == 0 { "saved.db" } else { "without.db" };
        let mut command = operator.bare_command();
        command.env("GRANTWELL_STORE", "file:data").args(["restore", from, "--yes"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        thread::sleep(Duration::from_millis(round * 3));
        child.kill().expect("killed");
        child.wait().expect("ended");
        let checked = operator.run(&["check", "--output", "json"]);
        // It only warns of clients that have no scope.
        assert_eq!(checked.status, Some(3), "round {round}: {}", checked.stdout);
        let is_there = operator.run(&["client", "show", "saved"]).status == Some(0);
        seen[usize::from(is_there)] = true;
        assert_eq!(operator.run(&["client", "show", "c200"]).status, Some(0), "round {round}");
    }
    operator.json(&["restore", "saved.db", "--yes"]);
    operator.json(&["client", "show", "saved"]);
    assert!(seen.contains(&true));
    let left: Vec<_> = names(&operator.data()).into_iter().filter(|name| name.contains("restoring")).collect();
    assert_eq!(left, Vec::<String>::new(), "what a killed one has left goes with the next");
}

#[test]
fn a_check_says_what_is_wrong_by_its_status_and_changes_nothing() {
    let operator = Operator::with_client();
    operator.json(&["client", "update", "myClient", "--scope", "a"]);
    let report = |status: i32| {
        let ended = operator.run(&["check", "--output", "json"]);
        assert_eq!(ended.status, Some(status), "{}{}", ended.stdout, ended.stderr);
        serde_json::from_str::<Value>(&ended.stdout).expect("JSON")
    };
    let finding = |report: &Value, check: &str| {
        let findings = report["findings"].as_array().expect("a list").clone();
        findings.into_iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("{check}: {report}"))
    };
    assert_eq!(finding(&report(0), "server")["detail"], "it is not running");
    let server = operator.serve();
    assert_eq!(finding(&report(0), "server")["detail"], "it is running");
    drop(server);

    // A client that nobody can use is a warning, one that is disabled is meant so.
    operator.json(&["client", "create", "--id", "noScope"]);
    let warned = report(3);
    assert_eq!(warned["status"], "warning");
    let clients = finding(&warned, "clients");
    assert!(text(&clients["detail"]).contains("'noScope' cannot get a token"), "{clients}");
    operator.json(&["client", "disable", "noScope"]);
    report(0);

    // Keys that no server has replaced.
    operator.json(&["key", "rotate"]);
    operator.age_keys("root", 36 * 24 * 3600);
    report(0);
    operator.age_keys("root", 5 * 24 * 3600);
    assert_eq!(finding(&report(3), "signing_keys")["status"], "warning");

    // Files that others can read, and that are not files.
    let registry = operator.data().join("registry.db");
    fs::set_permissions(&registry, Permissions::from_mode(0o640)).expect("ours");
    let failed = report(1);
    let files = finding(&failed, "files");
    assert!(text(&files["detail"]).contains("registry.db is open to other users (mode 0640)"), "{failed}");
    assert!(text(&files["detail"]).ends_with(&format!("chmod go= {}", registry.display())), "{failed}");
    assert_eq!(fs::metadata(&registry).expect("there").mode() & 0o777, 0o640, "nothing is changed");
    fs::set_permissions(&registry, Permissions::from_mode(0o600)).expect("ours");

    // A record that is not what was written.
    let database = Connection::open(&registry).expect("opened");
    database.execute("UPDATE clients SET registration = '[]' WHERE client_id = 'noScope'", []).expect("changed");
    drop(database);
    let failed = report(1);
    assert!(text(&finding(&failed, "records")["detail"]).contains("client 'noScope' of realm 'root'"), "{failed}");

    // Tokens.
    let tokens = operator.data().join("tokens.db");
    fs::write(&tokens, "not a database, and longer than the header of one is".repeat(100)).expect("written");
    assert_eq!(finding(&report(1), "tokens")["status"], "failed");
    fs::remove_file(&tokens).expect("removed");
    fs::remove_file(&registry).expect("removed");
    assert!(text(&finding(&report(1), "registry")["detail"]).contains("there is no registry.db"));
    operator.refused(&["check", "--store", "file:nowhere"], 1, "nowhere cannot be looked at");
    operator.refused(&["check", "--store", "memory"], 1, "memory store has none");
}

#[test]
fn the_commands_of_the_page_on_one_machine_do_what_it_says() {
    let page = include_str!("../../../docs/one-machine.md");
    let (_, section) = page.split_once("## Backup and restore\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("another one");
    let operator = Operator::with_client();
    fs::create_dir(operator.home.path().join("backups")).expect("made");
    let lines: Vec<&str> = section.lines().filter(|line| line.starts_with("gw ")).collect();
    assert!(lines.len() >= 3, "{section}");
    for line in lines {
        let (line, _comment) = line.split_once(" #").unwrap_or((line, ""));
        let line = line.replace("/var/backups/grantwell", "backups");
        let newest = names(&operator.home.path().join("backups")).pop().unwrap_or_default();
        let words = line.split_whitespace().skip(1).map(|word| word.replace("FILE", &newest));
        let words: Vec<String> = words.collect();
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        if arguments[0] == "restore" {
            arguments.push("--yes");
        }
        assert_eq!(operator.run(&arguments).status, Some(0), "{line}");
    }
    // The unit of the timer is what systemd runs.
    let unit =
        section.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/grantwell ")).expect("a unit");
    let unit = unit.replace("file:/var/lib/grantwell", "file:data").replace("/var/backups/grantwell", "backups");
    let ended = operator.run(&unit.split_whitespace().collect::<Vec<_>>());
    assert!(ended.status == Some(0) || ended.stderr.contains("exists"), "{}", ended.stderr);
}

/// Writes over the middle of a database.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("readable");
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 4096 * 4] {
        *byte = !*byte;
    }
    fs::write(path, bytes).expect("written");
}

/// What is in a directory, in the order of names.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("readable");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

const SCOPE: [&str; 4] = ["--scope", "a", "--default-scope", "a"];
