//! `grantwell client update`, `disable`, `enable` and `delete`: what is not named stays, and what two do at once is not lost.

use std::thread;

use serde_json::{Value, json};

use super::operator::{CREATE, Operator, now};

#[test]
fn update_changes_what_is_named_and_nothing_else() {
    let operator = Operator::new();
    operator.json(
        &[
            &CREATE[..],
            &["--name", "n", "--owner", "o", "--scope", "read write", "--default-scope", "write"],
            &["--redirect-uri", "https://a.example/", "--token-lifetime", "900"],
        ]
        .concat(),
    );
    let mut expected = operator.json(&["client", "show", "myClient"]);
    for (arguments, member, value) in [
        (&["--name", "m"][..], "client_name", json!("m")),
        (&["--name", ""], "client_name", Value::Null),
        (&["--owner", "p", "--owner", "q"], "contacts", json!(["p", "q"])),
        (&["--owner", ""], "contacts", json!([])),
        (&["--scope", "write", "--scope", "admin"], "scope", json!("admin write")),
        (&["--default-scope", "admin write"], "default_scope", json!("admin write")),
        (&["--default-scope", ""], "default_scope", Value::Null),
        (&["--scope", ""], "scope", json!("")),
        (&["--redirect-uri", "https://b.example/"], "redirect_uris", json!(["https://b.example/"])),
        (&["--redirect-uri", ""], "redirect_uris", json!([])),
        (&["--grant-type", "none"], "grant_types", json!([])),
        (&["--grant-type", "client_credentials"], "grant_types", json!(["client_credentials"])),
        (&["--token-lifetime", "60"], "access_token_lifetime", json!(60)),
        (&["--inherit-token-lifetime"], "access_token_lifetime", Value::Null),
        (&["--auth-method", "client_secret_post"], "token_endpoint_auth_method", json!("client_secret_post")),
        (&["--secret-lifetime", "0"], "client_secret_expires_at", json!(0)),
        (&["--secret-rotation-days", "365"], "client_secret_rotation_days", json!(365)),
        (&["--secret-rotation-days", ""], "client_secret_rotation_days", Value::Null),
        (&["--secret-rotation-days", "1"], "client_secret_rotation_days", json!(1)),
        (&["--secret-rotation-days", "0"], "client_secret_rotation_days", Value::Null),
        (&["--access-token-format", "jwt"], "access_token_format", json!("jwt")),
        (&["--access-token-format", "opaque"], "access_token_format", json!("opaque")),
        (&["--access-token-format", ""], "access_token_format", Value::Null),
        (&["--access-token-persistence", "stateless"], "access_token_persistence", json!("stateless")),
        (&["--access-token-persistence", "stored"], "access_token_persistence", json!("stored")),
        (&["--access-token-persistence", ""], "access_token_persistence", Value::Null),
        (&["--signing-alg", "ES256"], "access_token_signing_alg", json!("ES256")),
        (&["--signing-alg", "EdDSA"], "access_token_signing_alg", json!("EdDSA")),
        (&["--signing-alg", "PS256"], "access_token_signing_alg", json!("PS256")),
        (&["--signing-alg", "RS256"], "access_token_signing_alg", json!("RS256")),
        (&["--signing-alg", ""], "access_token_signing_alg", Value::Null),
        (&["--token-quota", "1000/hour"], "token_quota", json!("1000/hour")),
        (&["--token-quota-mode", "observe"], "token_quota_mode", json!("observe")),
        (&["--token-quota-mode", "enforce"], "token_quota_mode", json!("enforce")),
        (&["--token-quota", "1000000000/day"], "token_quota", json!("1000000000/day")),
        (&["--token-quota-mode", ""], "token_quota_mode", Value::Null),
        (&["--token-quota", "none"], "token_quota", json!("none")),
        (&["--token-quota", ""], "token_quota", Value::Null),
        (
            &["--resource", "urn:b", "--resource", "https://a.example"],
            "resources",
            json!(["urn:b", "https://a.example"]),
        ),
        (&["--resource", "https://c.example/"], "resources", json!(["https://c.example/"])),
        (&["--resource", ""], "resources", json!([])),
        (&["--claims", r#"{"tier":"gold"}"#], "access_token_claims", json!({ "tier": "gold" })),
        (&["--claims", r#"{"a":[1,null]}"#], "access_token_claims", json!({ "a": [1, null] })),
        (&["--claims", ""], "access_token_claims", json!({})),
    ] {
        expected[member] = value;
        assert_eq!(operator.json(&[&["client", "update", "myClient"], arguments].concat()), expected, "{arguments:?}");
        assert_eq!(operator.json(&["client", "show", "myClient"]), expected, "{arguments:?}");
    }
}

#[test]
fn update_refuses_what_create_refuses_and_a_change_of_nothing() {
    let operator = Operator::new();
    operator.json(&[&CREATE[..], &["--scope", "write", "--default-scope", "write"]].concat());
    let before = operator.json(&["client", "show", "myClient"]);
    for (arguments, status, sentence) in [
        (&[][..], 2, "the following required arguments were not provided"),
        (&["--inherit-token-lifetime", "--token-lifetime", "1"], 2, "cannot be used with"),
        (&["--token-lifetime", "0"], 2, "a token lifetime is 1 to 2592000 seconds"),
        (&["--secret-rotation-days", "366"], 2, "a secret is rotated by schedule every 1 to 365 days"),
        (&["--secret-rotation-days", "-1"], 2, "'-1'"),
        (&["--secret-rotation-days", "monthly"], 2, "a secret is rotated by schedule every 1 to 365 days"),
        (&["--status", "disabled"], 2, "unexpected argument '--status'"),
        (&["--scope", "read"], 1, "the default scope 'write' is not among the client's scopes"),
    ] {
        operator.refused(&[&["client", "update", "myClient"], arguments].concat(), status, sentence);
    }
    assert_eq!(operator.json(&["client", "show", "myClient"]), before);
}

#[test]
fn a_realm_that_narrowed_its_scopes_stops_changes_but_no_emergency() {
    let operator = Operator::new();
    operator.json(&[&CREATE[..], &["--scope", "write"]].concat());
    operator.json(&["realm", "set", "root", "--allowed-scope", "read"]);
    operator.refused(
        &["client", "update", "myClient", "--name", "n"],
        1,
        "realm root does not allow the scope 'write'",
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
    let before = operator.json(&["client", "show", "myClient"]);
    let outcomes = thread::scope(|scope| {
        let (name, owner) = (["--name", "n"], ["--owner", "o"]);
        let update = |setting: [&'static str; 2]| {
            let operator = &operator;
            scope.spawn(move || operator.run(&[&["client", "update", "myClient"][..], &setting].concat()))
        };
        [update(name), update(owner)].map(|thread| thread.join().expect("no panic"))
    });
    let mut expected = before;
    for (outcome, (member, value)) in outcomes.iter().zip([("client_name", json!("n")), ("contacts", json!(["o"]))]) {
        if outcome.status == Some(0) {
            expected[member] = value;
        } else {
            outcome.is_refusal(
                1,
                "client 'myClient' was changed by somebody else meanwhile, and nothing was written; look at it with \
                 `grantwell client show myClient` and repeat the command",
            );
        }
    }
    assert_eq!(operator.json(&["client", "show", "myClient"]), expected);
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
