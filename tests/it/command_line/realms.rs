//! `grantwell realm`: what a realm says itself, and what it leaves to the server.

use serde_json::{Value, json};

use super::operator::{Operator, text};

#[test]
fn the_root_realm_is_there_without_a_record() {
    let operator = Operator::with_client();
    let root = json!({
        "realm": "root",
        "default_scope": null,
        "allowed_scope": null,
        "access_token_lifetime": null,
        "grant_types": null,
        "access_token_format": null,
        "access_token_persistence": null,
        "access_token_signing_alg": null,
        "token_quota": null,
        "token_quota_mode": null,
        "assertion_audience": null,
        "assertion_max_lifetime": null,
        "client_secret_storage": null,
        "trusted_issuers": null,
        "client_use_recorded_since": null,
        "managed_by": null,
        "tokens_valid_after": 0,
    });
    assert_eq!(operator.registered(&["realm", "show", "root"]), root);
    assert_eq!(operator.json(&["realm", "list"]), json!({ "realms": [root] }));
}

#[test]
fn realm_set_creates_and_then_changes_what_is_named() {
    let operator = Operator::new();
    let mut expected = operator.json(&[
        "realm",
        "set",
        "alpha",
        "--default-scope",
        "write",
        "--allowed-scope",
        "read",
        "--allowed-scope",
        "write admin",
        "--token-lifetime",
        "900",
        "--grant-type",
        "client_credentials",
        "--access-token-format",
        "jwt",
        "--access-token-persistence",
        "stateless",
        "--signing-alg",
        "PS256",
        "--token-quota",
        "5/day",
        "--token-quota-mode",
        "enforce",
        "--assertion-audience",
        "compatible",
        "--assertion-max-lifetime",
        "1h",
        "--secret-storage",
        "digest",
    ]);
    assert_eq!(
        expected,
        json!({
            "realm": "alpha",
            "default_scope": "write",
            "allowed_scope": "admin read write",
            "access_token_lifetime": 900,
            "grant_types": ["client_credentials"],
            "access_token_format": "jwt",
            "access_token_persistence": "stateless",
            "access_token_signing_alg": "PS256",
            "token_quota": "5/day",
            "token_quota_mode": "enforce",
            "assertion_audience": "compatible",
            "assertion_max_lifetime": 3600,
            "client_secret_storage": "digest",
            "trusted_issuers": null,
            "client_use_recorded_since": null,
            "managed_by": null,
            "tokens_valid_after": 0,
        })
    );
    for (arguments, member, value) in [
        (&["--default-scope", "read write"][..], "default_scope", json!("read write")),
        (&["--default-scope", ""], "default_scope", Value::Null),
        (&["--allowed-scope", "write"], "allowed_scope", json!("write")),
        (&["--allowed-scope", ""], "allowed_scope", Value::Null),
        (&["--token-lifetime", "60"], "access_token_lifetime", json!(60)),
        (&["--inherit-token-lifetime"], "access_token_lifetime", Value::Null),
        (&["--grant-type", "none"], "grant_types", json!([])),
        (&["--grant-type", ""], "grant_types", Value::Null),
        (&["--access-token-format", "opaque"], "access_token_format", json!("opaque")),
        (&["--access-token-format", ""], "access_token_format", Value::Null),
        (&["--access-token-persistence", "stored"], "access_token_persistence", json!("stored")),
        (&["--access-token-persistence", ""], "access_token_persistence", Value::Null),
        (&["--signing-alg", "ES256"], "access_token_signing_alg", json!("ES256")),
        (&["--signing-alg", ""], "access_token_signing_alg", Value::Null),
        (&["--token-quota", "6/hour"], "token_quota", json!("6/hour")),
        (&["--token-quota-mode", "observe"], "token_quota_mode", json!("observe")),
        (&["--token-quota", ""], "token_quota", Value::Null),
        (&["--token-quota-mode", ""], "token_quota_mode", Value::Null),
        (&["--assertion-audience", "strict"], "assertion_audience", json!("strict")),
        (&["--assertion-audience", ""], "assertion_audience", Value::Null),
        (&["--assertion-max-lifetime", "60"], "assertion_max_lifetime", json!(60)),
        (&["--assertion-max-lifetime", ""], "assertion_max_lifetime", Value::Null),
        (&["--secret-storage", "secrets-manager"], "client_secret_storage", json!("secrets-manager")),
        (&["--secret-storage", ""], "client_secret_storage", Value::Null),
        (&[], "realm", json!("alpha")),
    ] {
        expected[member] = value;
        assert_eq!(operator.json(&[&["realm", "set", "alpha"], arguments].concat()), expected, "{arguments:?}");
        assert_eq!(operator.registered(&["realm", "show", "alpha"]), expected, "{arguments:?}");
    }
    operator.json(&["realm", "set", "zeta"]);
    operator.json(&["realm", "set", "root", "--token-lifetime", "60"]);
    let list = operator.json(&["realm", "list"]);
    let names: Vec<&str> =
        list["realms"].as_array().expect("a list").iter().map(|realm| text(&realm["realm"])).collect();
    assert_eq!(names, ["root", "alpha", "zeta"]);

    // By `--realm`, as `grantwell client` takes it; root where none is named.
    let zeta = operator.json(&["realm", "set", "--realm", "zeta", "--token-lifetime", "61"]);
    assert_eq!(operator.registered(&["realm", "show", "--realm", "zeta"]), zeta);
    assert_eq!(operator.json(&["realm", "list", "--realm", "zeta"])["realms"], json!([zeta]));
    assert_eq!(operator.json(&["realm", "show"])["access_token_lifetime"], 60);
}

#[test]
fn realm_commands_refuse_what_they_cannot_do() {
    let operator = Operator::with_client();
    for (arguments, status, sentence) in [
        (
            &["show", "beta"][..],
            1,
            "there is no realm 'beta'; see the realms with `grantwell realm list`, or make it with `grantwell realm set beta`",
        ),
        (
            &["set", "beta", "--default-scope", "write", "--allowed-scope", "read"],
            1,
            "the default scope 'write' is not among the realm's allowed scopes 'read'; add it with --allowed-scope, or \
             leave it out",
        ),
        (&["set", "a/b"], 2, "a realm name has 1 to 64 characters"),
        (&["set", "beta", "--realm", "beta"], 2, "cannot be used with"),
        (&["set", "beta", "--token-lifetime", "0"], 2, "a token lifetime is 1 to 2592000 seconds"),
        (&["set", "beta", "--token-lifetime", "1", "--inherit-token-lifetime"], 2, "cannot be used with"),
        (&["set", "beta", "--default-scope", "\\"], 2, "a scope is one or more tokens"),
        (&["set", "beta", "--grant-type", "magic"], 2, "'magic' is not a grant type"),
        (&["set", "beta", "--access-token-format", "xml"], 2, "a format is opaque or jwt; '' removes the setting"),
        (&["set", "beta", "--access-token-persistence", "no"], 2, "a persistence is stored or stateless; ''"),
        (&["set", "beta", "--signing-alg", "es256"], 2, "a signing algorithm is ES256, EdDSA, PS256 or RS256; ''"),
        (
            &["set", "beta", "--token-quota", "1.5/day"],
            2,
            "a token quota is NUMBER/hour or NUMBER/day, NUMBER from 1 to",
        ),
        (&["set", "beta", "--token-quota-mode", "off"], 2, "a token quota's mode is enforce or observe; ''"),
        (&["set", "beta", "--assertion-audience", "any"], 2, "the audience of assertions is strict or compatible; ''"),
        (&["set", "beta", "--assertion-max-lifetime", "0"], 2, "an assertion is valid for at most 1 to 3600 seconds"),
        (&["set", "beta", "--assertion-max-lifetime", "2h"], 2, "an assertion is valid for at most 1 to 3600 seconds"),
        (&["set", "beta", "--resource", "urn:a"], 2, "unexpected argument '--resource'"),
        (
            &["set", "beta", "--grant-type", "", "--grant-type", "client_credentials"],
            1,
            "cannot be combined with other grant types",
        ),
    ] {
        operator.refused(&[&["realm"], arguments].concat(), status, sentence);
    }
    operator.refused(&["realm", "show", "beta"], 1, "there is no realm 'beta'");
}
