//! `grantwell owner` and `grantwell log`: who owns what, and who has changed it.

use serde_json::{Value, json};

use super::operator::Operator;

#[test]
fn the_log_says_who_has_changed_what_the_newest_first() {
    let operator = Operator::with_client();
    operator.json(&["client", "update", "myClient", "--scope", "read", "--output", "json"]);
    operator.json(&["client", "rotate-secret", "myClient"]);
    operator.run(&["client", "delete", "myClient"]);
    let log = operator.json(&["log", "--output", "json"]);
    let lines = log["lines"].as_array().expect("a list");
    let told = |line: &Value| (line["action"].as_str().map(str::to_owned), line["outcome"].as_str().map(str::to_owned));
    let expected = ["client.delete", "client.rotate_secret", "client.update", "client.create"];
    let expected = expected.map(|action| (Some(action.to_owned()), Some("done".to_owned())));
    assert_eq!(lines.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!((&log["next_page_token"], &log["unreadable"]), (&Value::Null, &json!([])));

    let update = &lines[2];
    assert_eq!(update["members"], json!([{"name": "scope", "before": "", "after": "read"}]));
    assert_eq!(
        (&update["client_id"], &update["realm"], &update["revision"]),
        (&json!("myClient"), &json!("root"), &json!(2))
    );
    assert_eq!((&update["face"], &update["actor"]["kind"]), (&json!("command_line"), &json!("os_user")));
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(update["actor"]["uid"], uid);
    if uid == 0 {
        assert_eq!(update["actor"]["name"], "root");
    }
    assert!(update["id"].as_str().expect("text").starts_with(update["time"].as_str().expect("text")), "{update}");
}

#[test]
fn the_end_of_a_realm_leaves_a_line_for_each_thing_that_goes_with_it() {
    let operator = Operator::new();
    operator.json(&["realm", "set", "alpha", "--access-token-format", "jwt"]);
    operator.json(&["client", "create", "--realm", "alpha", "--id", "a"]);
    operator.json(&["realm", "delete", "alpha", "--with-clients", "--yes", "--output", "json"]);
    let log = operator.json(&["log", "--realm", "alpha", "--output", "json"]);
    let told: Vec<_> = log["lines"].as_array().expect("a list").iter().map(|line| line["action"].clone()).collect();
    let ended = ["realm.delete", "keys.delete", "client.delete", "client.disable"];
    assert_eq!(told[..4], ended, "{told:?}");
    // A realm that is made anew has nothing to lose.
    operator.json(&["realm", "set", "alpha"]);
    let log = operator.json(&["log", "--realm", "alpha", "--output", "json"]);
    assert_eq!(log["lines"].as_array().expect("a list").len(), told.len() + 1);
}

#[test]
fn what_became_of_an_issuer_is_said_by_its_name() {
    let operator = Operator::new();
    operator.json(&["realm", "set", "alpha"]);
    operator.json(&["issuer", "add", "github", "--realm", "alpha", "--preset", "github"]);
    operator.json(&["issuer", "update", "github", "--realm", "alpha", "--max-age", "60"]);
    operator.json(&["issuer", "remove", "github", "--realm", "alpha"]);
    let log = operator.json(&["log", "--realm", "alpha", "--output", "json"]);
    let told: Vec<_> = log["lines"].as_array().expect("a list").iter().map(|line| line["action"].clone()).collect();
    assert_eq!(told, ["realm.update_issuers", "realm.update_issuers", "realm.update_issuers", "realm.create"]);
    let table = operator.run(&["log", "--realm", "alpha", "--output", "table"]).stdout;
    for said in ["added github", "changed github", "removed github"] {
        assert!(table.contains(&format!("trusted_issuers: {said}")), "{table}");
    }
}

#[test]
fn what_sudo_says_is_a_word_beside_what_the_system_says() {
    let operator = Operator::new();
    let create = |id: &str, sudo_user: &str| {
        operator.run_with(|command| {
            command
                .args(["owner", "create", id, "--output", "json"])
                .env("SUDO_USER", sudo_user)
                .env("USER", "mallory");
        })
    };
    create("a", "alice").json();
    create("b", "alice\u{1b}[31m\nroot").json();
    let log = operator.json(&["log", "--output", "json"]);
    let actor = |position: usize| &log["lines"][position]["actor"];
    assert_eq!((&actor(1)["sudo_user"], &actor(0)["sudo_user"]), (&json!("alice"), &Value::Null));
    assert_eq!(actor(0)["uid"], rustix::process::geteuid().as_raw());
    assert_ne!(actor(0)["name"], "mallory");
    let table = operator.run(&["log", "--output", "table"]).stdout;
    assert!(table.contains("(sudo says: by alice)"), "{table}");
}

#[test]
fn the_log_goes_on_where_it_stopped_and_keeps_to_its_filters() {
    let operator = Operator::with_clients(&["a", "b", "c"]);
    operator.json(&["client", "create", "--id", "d", "--realm", "root"]);
    let first = operator.json(&["log", "--max-items", "3", "--output", "json"]);
    let cursor = first["next_page_token"].as_str().expect("there are more");
    let rest = operator.json(&["log", "--cursor", cursor, "--output", "json"]);
    let ids = |log: &Value| -> Vec<String> {
        let lines = log["lines"].as_array().expect("a list").iter();
        lines.map(|line| line["client_id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!((ids(&first), ids(&rest)), (vec!["d".into(), "c".into(), "b".into()], vec!["a".to_owned()]));
    let table = operator.run(&["log", "--max-items", "3", "--output", "table"]).stdout;
    assert!(table.ends_with(&format!("There are more; continue with: --cursor {cursor}\n")), "{table}");

    assert_eq!(ids(&operator.json(&["log", "--client", "b", "--since", "1h", "--output", "json"])), ["b"]);
    assert!(ids(&operator.json(&["log", "--realm", "alpha", "--output", "json"])).is_empty());
    operator.refused(&["log", "--cursor", "b"], 2, "a line of the log has a name such as");
    operator.refused(&["log", "--since", "soon"], 2, "a duration is a whole number of seconds");
    Operator::new().refused(&["log"], 1, "there is no data directory");
}

#[test]
fn a_line_that_cannot_be_read_hides_no_other_and_one_that_is_over_goes() {
    let operator = Operator::with_client();
    let registry = rusqlite::Connection::open(operator.data().join("registry.db")).expect("opened");
    let insert = |id: &str, expires_at: i64| {
        let values = rusqlite::params![id, r#"{"of": "a later version"}"#, expires_at];
        registry.execute("INSERT INTO admin_log (id, line, expires_at) VALUES (?1, ?2, ?3)", values).expect("inserted");
    };
    insert("2026-11-23T06:37:00.345Z-later", 99_999_999_999);
    for number in 0..30 {
        insert(&format!("2020-01-01T00:00:00.000Z-{number}"), 1_577_836_800);
    }
    let listed = operator.run(&["log", "--output", "json"]);
    assert!(listed.stderr.contains("the line 2026-11-23T06:37:00.345Z-later cannot be read"), "{}", listed.stderr);
    let log = listed.json();
    assert_eq!(log["unreadable"], json!(["2026-11-23T06:37:00.345Z-later"]));
    assert_eq!(log["lines"].as_array().map(Vec::len), Some(1));

    // A few with each line: a clock that runs ahead for a moment does not cost the log.
    let left =
        || registry.query_row("SELECT count(*) FROM admin_log", [], |row| row.get::<_, i64>(0)).expect("a count");
    assert_eq!(left(), 32);
    for expected in [32 - 20 + 1, 32 - 30 + 2] {
        operator.json(&["client", "rotate-secret", "myClient"]);
        assert_eq!(left(), expected);
    }
}

#[test]
fn an_owner_is_made_changed_listed_and_deleted() {
    let operator = Operator::new();
    let arn = "arn:aws:sts::111122223333:assumed-role/Orders/somebody";
    let created = operator.json(&[
        "owner",
        "create",
        "orders",
        "--name",
        "Orders team",
        "--email",
        "o@example.com",
        "--aws-principal",
        arn,
        "--output",
        "json",
    ]);
    let role = "arn:aws:iam::111122223333:role/Orders";
    let members =
        |owner: &Value| [&owner["owner"], &owner["name"], &owner["email"], &owner["status"]].map(Value::clone);
    assert_eq!(members(&created), ["orders", "Orders team", "o@example.com", "active"].map(Value::from));
    assert_eq!(created["aws_principals"], json!([role]), "a session is its role");
    operator.refused(&["owner", "create", "orders"], 1, "owner 'orders' exists already and stays as it is");
    operator.refused(
        &["owner", "create", "o", "--aws-principal", "arn:aws:iam::111122223333:root"],
        2,
        "an AWS principal is",
    );
    operator.refused(&["owner", "update", "orders"], 2, "owner update was told nothing to change of owner 'orders'");
    operator.refused(&["owner", "show", "nobody"], 1, "there is no owner 'nobody'");

    let changed =
        operator.json(&["owner", "update", "orders", "--name", "", "--status", "disabled", "--output", "json"]);
    assert_eq!(members(&changed), [json!("orders"), Value::Null, json!("o@example.com"), json!("disabled")]);
    assert_eq!(operator.json(&["owner", "show", "orders", "--output", "json"]), changed);
    operator.json(&["owner", "update", "orders", "--status", "active", "--output", "json"]);
    let owners = operator.json(&["owner", "list", "--output", "json"]);
    assert_eq!(owners["owners"].as_array().map(Vec::len), Some(1));

    operator.json(&["client", "create", "--id", "a", "--owner", "orders", "--contact", "o@example.com"]);
    operator.json(&["client", "create", "--id", "b"]);
    let of_orders = operator.json(&["client", "list", "--owner", "orders", "--output", "json"]);
    let clients = of_orders["clients"].as_array().expect("a list");
    assert_eq!((clients.len(), &clients[0]["client_id"]), (1, &json!("a")));
    assert_eq!((&clients[0]["owners"], &clients[0]["contacts"]), (&json!(["orders"]), &json!(["o@example.com"])));
    operator.refused(
        &["client", "create", "--id", "c", "--owner", "a@example.com"],
        1,
        "there is no owner 'a@example.com'",
    );
    operator.refused(
        &["owner", "delete", "orders"],
        1,
        "owner 'orders' still owns 1 client and was not deleted: 'a' in realm 'root'",
    );

    operator.json(&["client", "update", "a", "--owner", "", "--output", "json"]);
    let deleted = operator.run(&["owner", "delete", "orders"]);
    assert_eq!((deleted.status, deleted.stderr.as_str()), (Some(0), "note: owner 'orders' was deleted\n"));
    let log = operator.json(&["log", "--owner", "orders", "--output", "json"]);
    let told: Vec<&str> =
        log["lines"].as_array().expect("a list").iter().filter_map(|line| line["action"].as_str()).collect();
    let expected = [
        "owner.delete",
        "owner.update",
        "client.update",
        "client.create",
        "owner.update",
        "owner.update",
        "owner.create",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_first_change_that_fails_leaves_no_store_behind_for_its_line() {
    let operator = Operator::new();
    operator.refused(&["client", "create", "--id", "c", "--realm", "nowhere"], 1, "there is no realm 'nowhere'");
    assert!(!operator.data().exists());
}
