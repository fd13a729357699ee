//! `grantwell client list` and `show`: pages, tables for people and JSON for scripts.

use serde_json::{Value, json};

use super::operator::{CREATE, Operator, closed_pipe, ids};

#[test]
fn a_listing_has_every_client_in_the_order_of_ids_whatever_the_page_size() {
    let operator = Operator::with_clients(&["c", "a", "e", "B", "d"]);
    for page_size in ["1", "2", "5", "1000"] {
        let list = operator.json(&["client", "list", "--page-size", page_size]);
        assert_eq!(ids(&list), ["B", "a", "c", "d", "e"], "{page_size}");
        assert_eq!(list["next_page_token"], Value::Null);
    }
}

#[test]
fn a_listing_that_stops_says_how_to_go_on() {
    let operator = Operator::with_clients(&["a", "b", "c", "d", "e"]);
    let mut seen = Vec::new();
    let mut arguments: Vec<String> =
        ["client", "list", "--max-items", "2", "--page-size", "1"].map(str::to_owned).into();
    loop {
        let list = operator.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        seen.extend(ids(&list));
        let Some(cursor) = list["next_page_token"].as_str() else { break };
        arguments.truncate(6);
        arguments.extend(["--cursor".to_owned(), cursor.to_owned()]);
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);

    let exact = operator.json(&["client", "list", "--max-items", "5"]);
    assert_eq!((ids(&exact).len(), &exact["next_page_token"]), (5, &Value::Null));
    let table = operator.run(&["client", "list", "--max-items", "2", "--output", "table"]).stdout;
    assert!(table.ends_with("There are more; continue with: --cursor b\n"), "{table}");
}

#[test]
fn a_listing_refuses_sizes_and_cursors_that_mean_nothing() {
    let operator = Operator::with_client();
    for arguments in [["--page-size", "0"], ["--page-size", "1001"], ["--max-items", "0"], ["--cursor", "/"]] {
        operator.refused(&[&["client", "list"][..], &arguments].concat(), 2, arguments[0]);
    }
}

#[test]
fn show_tells_a_clients_own_lifetime_from_the_realms() {
    let operator = Operator::new();
    operator.json(&["realm", "set", "root", "--token-lifetime", "7"]);
    operator.json(&[&CREATE[..], &["--scope", "write"]].concat());
    assert_eq!(
        operator.json(&["client", "show", "myClient"])["effective"]["access_token_lifetime"],
        json!({ "value": 7, "from": "realm" })
    );
    let shown = operator.registered(&["client", "show", "myClient"]);
    assert_eq!(shown["access_token_lifetime"], Value::Null);
    assert_eq!(shown["tokens_valid_after"], json!(0), "no tokens have been revoked");
    assert!(!shown.as_object().expect("an object").contains_key("client_secret"), "{shown}");
    assert_eq!(operator.json(&["client", "list"])["clients"], json!([shown]));
}

#[test]
fn a_client_is_named_by_position_or_by_id_and_not_by_both() {
    let operator = Operator::with_client();
    for command in [
        &["client", "show"][..],
        &["client", "update", "--name", "n"],
        &["client", "disable"],
        &["client", "enable"],
        &["client", "rotate-secret"],
        &["client", "delete"],
    ] {
        operator.refused(command, 2, "the following required arguments were not provided");
        operator.refused(&[command, &["myClient", "--id", "myClient"]].concat(), 2, "cannot be used with");
        assert_eq!(operator.json(&[command, &["--id", "myClient"]].concat())["client_id"], "myClient", "{command:?}");
    }
}

#[test]
fn a_client_that_does_not_exist_is_an_error_of_every_command() {
    let operator = Operator::with_client();
    for command in [
        &["client", "show", "nobody"][..],
        &["client", "update", "nobody", "--name", "n"],
        &["client", "update", "nobody", "--revoke-tokens"],
        &["client", "disable", "nobody"],
        &["client", "enable", "nobody"],
        &["client", "rotate-secret", "nobody"],
        &["client", "rotate-secret", "nobody", "--revoke-previous"],
        &["client", "delete", "nobody"],
    ] {
        operator.refused(
            command,
            1,
            "realm 'root' has no client 'nobody'; list its clients with: grantwell client list",
        );
    }
}

#[test]
fn tables_fit_a_narrow_terminal_and_json_is_what_scripts_get() {
    let operator = Operator::new();
    let scope = (0..40).map(|n| format!("scope:number:{n}")).collect::<Vec<_>>().join(" ");
    let (id, name) = ("i".repeat(128), "n".repeat(256));
    operator.json(&["client", "create", "--id", &id, "--name", &name, "--scope", &scope]);
    operator.json(&["client", "create", "--id", "small"]);
    operator.json(&["realm", "set", "alpha", "--allowed-scope", &scope]);
    operator.json(&["client", "update", "small", "--resource", &format!("urn:{}", "r".repeat(500))]);
    operator.json(&["client", "update", "small", "--claims", &format!(r#"{{"c":"{}"}}"#, "c".repeat(500))]);
    operator.json(&["key", "rotate"]);
    for arguments in [
        &["client", "list"][..],
        &["client", "show", &id],
        &["client", "update", "small", "--name", "x"],
        &["client", "disable", "small"],
        &["client", "enable", "small"],
        &["client", "delete", "small"],
        &["realm", "list"],
        &["realm", "show", "alpha"],
        &["realm", "set", "alpha"],
        &["key", "list"],
    ] {
        let table = operator.run(&[arguments, &["--output", "table"]].concat());
        assert_eq!((table.status, table.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(table.stdout.lines().all(|line| line.chars().count() <= 80), "{}", table.stdout);
        assert!(serde_json::from_str::<Value>(&table.stdout).is_err(), "{}", table.stdout);
        operator.refused(&[arguments, &["--output", "yaml"]].concat(), 2, "[possible values: table, json]");
    }
    let table = operator.run(&["client", "list", "--output", "table"]).stdout;
    for heading in ["client_id", "name", "status", "scope", "lifetime"] {
        assert!(table.contains(heading), "{table}");
    }
}

#[test]
fn a_reader_that_stops_reading_ends_a_listing_quietly() {
    let operator = Operator::with_client();
    let ended = operator.run_with(|command| {
        command.args(["client", "list"]).stdout(closed_pipe());
    });
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
    let ended = operator.run_with(|command| {
        command.args(["client", "show", "nobody"]).stdout(closed_pipe()).stderr(closed_pipe());
    });
    assert_eq!(ended.status, Some(1), "and a closed stderr changes no exit status");
}
