//! `grantwell client list` and `show`: pages, tables for people and JSON for scripts.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::operator::{CREATE, Operator, closed_pipe, ids, now, text, utc, wait_until};

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
        &["client", "show", &id][..],
        &["client", "update", "small", "--name", "x"],
        &["client", "disable", "small"],
        &["client", "enable", "small"],
        &["client", "delete", "small"],
        &["realm", "list"],
        &["realm", "show", "alpha"],
        &["realm", "set", "alpha", "--token-lifetime", "7"],
        &["key", "list"],
    ] {
        let table = operator.run(&[arguments, &["--output", "table"]].concat());
        assert_eq!((table.status, table.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(table.stdout.lines().all(|line| line.chars().count() <= 80), "{}", table.stdout);
        assert!(serde_json::from_str::<Value>(&table.stdout).is_err(), "{}", table.stdout);
        operator.refused(&[arguments, &["--output", "yaml"]].concat(), 2, "[possible values: table, json]");
    }
    let table = operator.run(&["client", "list", "--output", "table"]).stdout;
    for heading in ["client_id", "name", "owners", "status", "scope", "lifetime"] {
        assert!(table.contains(heading), "{table}");
    }
    assert!(table.contains(&id) && table.contains(&name), "nothing is cut: {table}");
}

/// Five clients in two realms.
fn filtered() -> Operator {
    let operator = Operator::new();
    operator.json(&["realm", "set", "alpha"]);
    for (realm, id, options) in [
        ("root", "a", &["--name", "Billing API", "--contact", "Alice@example.com", "--scope", "read write"][..]),
        ("root", "b", &["--name", "billing worker", "--contact", "bob@example.com", "--scope", "read"]),
        ("root", "c", &["--contact", "bob@example.com", "--contact", "alice@example.com", "--secret-lifetime", "20d"]),
        (
            "alpha",
            "b",
            &["--name", "Reports", "--contact", "alice@example.com", "--scope", "write", "--secret-lifetime", "40d"],
        ),
        ("alpha", "d", &["--scope", "read", "--secret-lifetime", "1"]),
    ] {
        operator.json(&[&["client", "create", "--realm", realm, "--id", id], options].concat());
    }
    operator.json(&["client", "disable", "b"]);
    operator
}

#[test]
fn filters_let_through_what_all_of_them_let_through() {
    let operator = filtered();
    for (filters, expected) in [
        (&[][..], &["a", "b", "c"][..]),
        (&["--contact", "alice@example.com"], &["a", "c"]),
        (&["--contact", "BOB"], &["b", "c"]),
        (&["--name", "billing"], &["a", "b"]),
        (&["--scope", "read"], &["a", "b"]),
        (&["--scope", "read", "--scope", "write"], &["a"]),
        (&["--scope", "read write"], &["a"]),
        (&["--scope", "rea"], &[]),
        (&["--status", "disabled"], &["b"]),
        (&["--status", "active", "--scope", "read"], &["a"]),
        (&["--expiring", "30d"], &["c"]),
        (&["--expiring", "10d"], &[]),
        (&["--expiring", "1728000"], &["c"]),
    ] {
        for page_size in ["1", "100"] {
            let list = operator.json(&[&["client", "list", "--page-size", page_size], filters].concat());
            assert_eq!(
                (ids(&list), &list["next_page_token"]),
                (expected.iter().map(|id| (*id).to_owned()).collect(), &Value::Null),
                "{filters:?}"
            );
        }
    }
    for (arguments, sentence) in [
        (["--status", "expired"], "[possible values: active, disabled]"),
        (["--expiring", "soon"], "a duration is a whole number of seconds"),
        (["--scope", "a\"b"], "--scope"),
    ] {
        operator.refused(&[&["client", "list"], &arguments[..]].concat(), 2, sentence);
    }
    let none = operator.run(&["client", "list", "--name", "x", "--output", "table"]).stdout;
    assert_eq!(none, "realm root has no such clients\n");
}

#[test]
fn all_realms_are_listed_and_paged_through_with_filters() {
    let operator = filtered();
    let all = |arguments: &[&str]| operator.json(&[&["client", "list", "--realm", "*"], arguments].concat());
    let named = |list: &Value| {
        let clients = list["clients"].as_array().expect("a list").iter();
        clients.map(|client| format!("{}/{}", text(&client["realm"]), text(&client["client_id"]))).collect::<Vec<_>>()
    };
    assert_eq!(named(&all(&[])), ["root/a", "root/b", "root/c", "alpha/b", "alpha/d"]);
    assert_eq!(named(&all(&["--scope", "read"])), ["root/a", "root/b", "alpha/d"]);

    for filters in [&[][..], &["--scope", "read"], &["--contact", "example"], &["--expiring", "50d"]] {
        let (expected, mut seen, mut cursor) = (named(&all(filters)), Vec::new(), None::<String>);
        loop {
            let mut arguments = [filters, &["--max-items", "1", "--page-size", "1"]].concat();
            if let Some(cursor) = &cursor {
                arguments.extend(["--cursor", cursor]);
            }
            let list = all(&arguments);
            assert_eq!(named(&list).len(), 1, "no page is empty: {filters:?}");
            seen.extend(named(&list));
            let Some(next) = list["next_page_token"].as_str() else { break };
            assert_eq!(Some(next), seen.last().map(String::as_str));
            cursor = Some(next.to_owned());
        }
        assert_eq!(seen, expected, "{filters:?}");
    }

    let table = operator.run(&["client", "list", "--realm", "*", "--output", "table", "--max-items", "4"]).stdout;
    assert!(table.starts_with("client_id  realm"), "{table}");
    assert!(table.ends_with("There are more; continue with: --cursor alpha/b\n"), "{table}");
    operator.refused(&["client", "list", "--realm", "*", "--cursor", "b"], 1, "of the form REALM/ID");
    operator.refused(&["client", "list", "--cursor", "alpha/b"], 1, "the cursor belongs to realm 'alpha'");
    operator.refused(&["client", "list", "--realm", "*", "--cursor", "beta/b"], 1, "there is no realm 'beta'");
    operator.refused(&["client", "show", "a", "--realm", "*"], 1, "only client list goes through all realms");
    operator.refused(&["client", "list", "--realm", "?"], 2, "--realm");
}

#[test]
fn a_list_of_what_expires_says_when_and_what_is_over() {
    let operator = filtered();
    wait_until(now() + 2);
    let table = operator.run(&["client", "list", "--realm", "*", "--expiring", "30d", "--output", "table"]).stdout;
    assert!(table.lines().next().is_some_and(|header| header.contains("secret ends")), "{table}");
    let line = |id: &str| table.lines().find(|line| line.starts_with(id)).unwrap_or_else(|| panic!("{table}"));
    assert!(line("d ").contains(" (over)"), "{table}");
    let day = &utc(now() + 20 * 86_400)[..10];
    assert!(line("c ").contains(day) && !line("c ").contains("over"), "{table}");
    assert!(!table.contains("Reports"), "{table}");
}

#[test]
fn a_list_is_printed_while_it_is_read() {
    let operator = Operator::new();
    operator.json(&CREATE);
    operator.fill(4_000);
    for (format, least) in [("json", 48_000_000), ("table", 48_000_000)] {
        let mut command = operator.bare_command();
        command.env("GRANTWELL_STORE", "file:data").args(["client", "list", "--output", format]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("grantwell starts");
        let (mut stdout, mut text) = (child.stdout.take().expect("piped"), vec![0; least]);
        stdout.read_exact(&mut text).expect("most of the list");
        // The command waits for its reader, so that its memory can be looked at.
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it still runs");
        stdout.read_to_end(&mut text).expect("the rest");
        assert!(child.wait().expect("it ends").success());
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("what it had at most");
        let kilobytes: usize = most.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(kilobytes < least / 1_000, "{format}: {kilobytes} KB for a list of {} bytes", text.len());
        if format == "json" {
            assert_eq!(ids(&serde_json::from_slice(&text).expect("JSON")).len(), 4_001);
        }
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
