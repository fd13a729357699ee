//! `grantwell client update`, `disable`, `enable` and `delete`: what is not named stays, and what two do at once is not lost.

use std::thread;

use serde_json::json;

use super::operator::{CREATE, Operator, ids, now};
use crate::support::registration::{members_of_local_clients, show};

#[test]
fn update_changes_what_is_named_and_nothing_else() {
    let operator = Operator::with_owners();
    let options: Vec<String> = members_of_local_clients().flat_map(|member| member.create).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    operator.json(&[&CREATE[..], &options].concat());
    let mut expected = operator.registered(&["client", "show", "myClient"]);
    for member in members_of_local_clients() {
        for (options, value) in member.changes {
            show(&mut expected, &member.name, &value);
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let changed = operator.json(&[&["client", "update", "myClient"], &options[..]].concat());
            assert_eq!(changed, expected, "{options:?}");
            assert_eq!(operator.registered(&["client", "show", "myClient"]), expected, "{options:?}");
        }
    }
}

#[test]
fn update_refuses_what_create_refuses_and_a_change_of_nothing() {
    let operator = Operator::new();
    operator.json(&[&CREATE[..], &["--scope", "write", "--default-scope", "write"]].concat());
    let before = operator.json(&["client", "show", "myClient"]);
    for (arguments, status, sentence) in [
        (&[][..], 2, "error: client update was told nothing to change of client 'myClient'; name a setting, such as"),
        (&["--output", "json"], 2, "was told nothing to change"),
        (&["--inherit-token-lifetime", "--token-lifetime", "1"], 2, "cannot be used with"),
        (&["--token-lifetime", "0"], 2, "a token lifetime is 1 to 2592000 seconds"),
        (&["--secret-rotation-days", "366"], 2, "secrets are rotated on a schedule every 1 to 365 days"),
        (&["--secret-rotation-days", "-1"], 2, "'-1'"),
        (&["--secret-rotation-days", "monthly"], 2, "secrets are rotated on a schedule every 1 to 365 days"),
        (&["--status", "disabled"], 2, "unexpected argument '--status'"),
        (&["--scope", "read"], 1, "the default scope 'write' is not among the client's scopes"),
    ] {
        operator.refused(&[&["client", "update", "myClient"], arguments].concat(), status, sentence);
    }
    let ended = operator.run(&["client", "update", "myClient"]);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(operator.json(&["client", "show", "myClient"]), before);
}

#[test]
fn a_change_to_what_is_there_already_says_so() {
    let operator = Operator::with_client();
    operator.json(&["realm", "set", "alpha"]);
    for (arguments, note) in [
        (
            &["client", "update", "myClient", "--name", "n"][..],
            "note: nothing was changed: client 'myClient' already has the values",
        ),
        (
            &["realm", "set", "alpha", "--token-lifetime", "60"],
            "note: nothing was changed: realm 'alpha' already has the values",
        ),
    ] {
        let (first, second) = (operator.run(arguments), operator.run(arguments));
        assert_eq!(first.stderr, "", "{arguments:?}");
        assert!(second.stderr.starts_with(note), "{}", second.stderr);
        assert_eq!(second.json(), first.json(), "{arguments:?}");
    }
}

#[test]
fn a_realm_that_narrowed_its_scopes_stops_no_other_change() {
    let operator = Operator::new();
    operator.json(&[&CREATE[..], &["--scope", "write"]].concat());
    operator.json(&["realm", "set", "root", "--allowed-scope", "read"]);
    assert_eq!(operator.json(&["client", "update", "myClient", "--name", "n"])["client_name"], "n");
    // Nor may it become the default, with which no request that names no scope would get a token.
    operator.refused(
        &["client", "update", "myClient", "--default-scope", "write"],
        1,
        "realm root does not allow the scope 'write'; its allowed scopes are 'read'",
    );
    operator.refused(
        &["client", "update", "myClient", "--scope", "write admin"],
        1,
        "realm root does not allow the scope 'admin'",
    );
    operator.json(&["client", "update", "myClient", "--revoke-tokens"]);
    assert_eq!(operator.json(&["client", "disable", "myClient"])["status"], "disabled");
}

#[test]
fn revoking_tokens_ends_those_of_this_second_too_and_returns_when_new_ones_live() {
    let operator = Operator::with_client();
    for arguments in [&["client", "update", "myClient"][..], &["realm", "set", "root"]] {
        let before = now();
        let changed = operator.json(&[arguments, &["--revoke-tokens"]].concat());
        let returned = now();
        let valid_after = changed["tokens_valid_after"].as_u64().expect("seconds");
        assert!(
            valid_after > before,
            "a token issued just before is dated {before}, valid are those from {valid_after}"
        );
        assert!(returned >= valid_after, "a token issued at once is dated {returned}");
    }
}

#[test]
fn changes_made_at_once_never_undo_each_other() {
    let operator = Operator::with_client();
    let before = operator.registered(&["client", "show", "myClient"]);
    let outcomes = thread::scope(|scope| {
        let (name, owner) = (["--name", "n"], ["--contact", "o"]);
        let update = |setting: [&'static str; 2]| {
            let operator = &operator;
            scope.spawn(move || operator.run(&[&["client", "update", "myClient"][..], &setting].concat()))
        };
        [update(name), update(owner)].map(|thread| thread.join().expect("no panic"))
    });
    let mut expected = before;
    for (outcome, (member, value)) in outcomes.iter().zip([("client_name", json!("n")), ("contacts", json!(["o"]))]) {
        // Whoever was second made the change again on what the first had stored.
        assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""));
        expected[member] = value;
    }
    assert_eq!(operator.registered(&["client", "show", "myClient"]), expected);
}

#[test]
fn durations_and_counts_may_have_units() {
    let operator = Operator::with_client();
    for (options, member, value) in [
        (["--token-lifetime", "1h"], "access_token_lifetime", json!(3_600)),
        (["--token-lifetime", "15m"], "access_token_lifetime", json!(900)),
        (["--token-quota", "10k/hour"], "token_quota", json!("10000/hour")),
        (["--token-quota", "1.5M/day"], "token_quota", json!("1500000/day")),
    ] {
        assert_eq!(
            operator.json(&[&["client", "update", "myClient"], &options[..]].concat())[member],
            value,
            "{options:?}"
        );
    }
    let before = now();
    let ends = operator.json(&["client", "update", "myClient", "--secret-lifetime", "90d"])["client_secret_expires_at"]
        .as_u64();
    let left = ends.expect("seconds") - before;
    assert!((7_776_000..7_776_100).contains(&left), "{left}");
    assert_eq!(operator.json(&["realm", "set", "alpha", "--token-lifetime", "1d"])["access_token_lifetime"], 86_400);
    for options in [
        ["--token-lifetime", "1.5s"],
        ["--token-lifetime", "1y"],
        ["--token-quota", "1x/hour"],
        ["--token-quota", "k/hour"],
    ] {
        operator.refused(&[&["client", "update", "myClient"], &options[..]].concat(), 2, options[0]);
    }
    assert_eq!(ids(&operator.json(&["client", "list", "--page-size", "1k", "--max-items", "1M"])), ["myClient"]);
}

#[test]
fn disable_and_enable_are_idempotent() {
    let operator = Operator::with_client();
    for (command, status) in
        [("disable", "disabled"), ("disable", "disabled"), ("enable", "active"), ("enable", "active")]
    {
        assert_eq!(operator.json(&["client", command, "myClient"])["status"], status);
        assert_eq!(operator.json(&["client", "show", "myClient"])["status"], status);
    }
}

#[test]
fn delete_says_what_it_removed_and_is_an_error_the_second_time() {
    let operator = Operator::with_clients(&["a", "b"]);
    assert_eq!(
        operator.json(&["client", "delete", "a"]),
        json!({ "client_id": "a", "realm": "root", "deleted": true })
    );
    operator.refused(&["client", "delete", "a"], 1, "realm 'root' has no client 'a'");
    let ended = operator.run(&["client", "delete", "b", "--output", "table"]);
    assert_eq!(ended.stdout, "deleted client b of realm root and its secrets\n");
    assert_eq!(operator.json(&["client", "list"])["clients"], json!([]));
    let table = operator.run(&["client", "list", "--output", "table"]).stdout;
    assert_eq!(table, "realm root has no clients here; register one with: grantwell client create\n");
}
