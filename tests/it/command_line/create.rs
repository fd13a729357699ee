//! `grantwell client create`: what it prints, and what it refuses.

use serde_json::json;

use super::operator::{CREATE, Operator, is_base64url, now, text};

#[test]
fn create_prints_one_json_object_with_every_setting() {
    let operator = Operator::new();
    let before = now();
    let client = operator.json(&[
        "client",
        "create",
        "--id",
        "myClient",
        "--name",
        "My client",
        "--owner",
        "alice@example.com",
        "--owner",
        "bob@example.com",
        "--scope",
        "write read",
        "--scope",
        "admin",
        "--default-scope",
        "write",
        "--redirect-uri",
        "https://www.example.com:443/callback",
        "--redirect-uri",
        "https://www.example.com/other",
        "--grant-type",
        "client_credentials",
        "--token-lifetime",
        "900",
        "--auth-method",
        "client_secret_post",
        "--auth-method",
        "client_secret_basic",
        "--secret-lifetime",
        "60",
        "--access-token-format",
        "jwt",
        "--access-token-persistence",
        "stateless",
        "--signing-alg",
        "EdDSA",
        "--token-quota",
        "1000/hour",
        "--token-quota-mode",
        "observe",
        "--resource",
        "https://api.example.com/orders",
        "--resource",
        "urn:example:invoices",
        "--claims",
        r#"{"tier": "gold", "limits": {"rate": 1.5}}"#,
    ]);
    let issued_at = client["client_id_issued_at"].as_u64().expect("seconds");
    assert!((before..=now()).contains(&issued_at), "{client}");
    assert_eq!(
        client,
        json!({
            "client_id": "myClient",
            "client_secret": client["client_secret"],
            "client_secret_expires_at": issued_at + 60,
            "client_secret_rotation_days": null,
            "client_name": "My client",
            "contacts": ["alice@example.com", "bob@example.com"],
            "scope": "admin read write",
            "default_scope": "write",
            "grant_types": ["client_credentials"],
            "token_endpoint_auth_method": "client_secret_basic",
            "token_endpoint_auth_methods": ["client_secret_basic", "client_secret_post"],
            "redirect_uris": ["https://www.example.com:443/callback", "https://www.example.com/other"],
            "access_token_lifetime": 900,
            "access_token_format": "jwt",
            "access_token_persistence": "stateless",
            "access_token_signing_alg": "EdDSA",
            "token_quota": "1000/hour",
            "token_quota_mode": "observe",
            "resources": ["https://api.example.com/orders", "urn:example:invoices"],
            "access_token_claims": { "tier": "gold", "limits": { "rate": 1.5 } },
            "realm": "root",
            "status": "active",
            "client_id_issued_at": issued_at,
        })
    );
}

#[test]
fn create_without_options_gives_a_client_of_the_root_realm_that_may_only_authenticate() {
    let operator = Operator::new();
    let client = operator.json(&["client", "create"]);
    let expected = json!({
        "client_id": client["client_id"],
        "client_secret": client["client_secret"],
        "client_secret_expires_at": 0,
        "client_secret_rotation_days": null,
        "client_name": null,
        "contacts": [],
        "scope": "",
        "default_scope": null,
        "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "client_secret_basic",
        "redirect_uris": [],
        "access_token_lifetime": null,
        "access_token_format": null,
        "access_token_persistence": null,
        "access_token_signing_alg": null,
        "token_quota": null,
        "token_quota_mode": null,
        "resources": [],
        "access_token_claims": {},
        "realm": "root",
        "status": "active",
        "client_id_issued_at": client["client_id_issued_at"],
    });
    assert_eq!(client, expected);
    let id = text(&client["client_id"]);
    assert!(id.len() == 22 && is_base64url(id) && !id.starts_with('-'), "{id}");
    assert_eq!(operator.json(&["client", "show", id])["client_id"], id);
}

#[test]
fn a_generated_secret_is_gws_and_43_random_characters() {
    let operator = Operator::new();
    let secrets = ["a", "b"].map(|id| {
        let client = operator.json(&["client", "create", "--id", id]);
        text(&client["client_secret"]).to_owned()
    });
    for secret in &secrets {
        let random = secret.strip_prefix("gws_").expect("the prefix that scanners know");
        assert!(random.len() == 43 && is_base64url(random), "{secret}");
    }
    assert_ne!(secrets[0], secrets[1]);
}

#[test]
fn create_prints_json_where_a_script_asks_for_it_and_refuses_a_table() {
    let operator = Operator::new();
    operator.json(&[&CREATE[..], &["--output", "json"]].concat());
    operator.refused(&["client", "create", "--output", "table"], 2, "invalid value 'table' for '--output <FORMAT>'");
}

#[test]
fn a_second_create_is_refused_and_leaves_the_first_client_as_it_was() {
    let operator = Operator::new();
    operator.json(&[&CREATE[..], &["--name", "First"]].concat());
    let before = operator.json(&["client", "show", "myClient"]);
    operator.refused(
        &[&CREATE[..], &["--name", "Second"]].concat(),
        1,
        "realm 'root' has a client 'myClient' already, which stays as it is; change that with `grantwell client update \
         myClient`, or choose another --id",
    );
    assert_eq!(operator.json(&["client", "show", "myClient"]), before);
}

#[test]
fn the_same_id_in_another_realm_is_another_client() {
    let operator = Operator::new();
    operator.json(&[&CREATE[..], &["--name", "In root"]].concat());
    operator.json(&["realm", "set", "alpha"]);
    let client = operator.json(&[&CREATE[..], &["--name", "In alpha", "--realm", "alpha"]].concat());
    assert_eq!(client["realm"], "alpha");
    assert_eq!(operator.json(&["client", "show", "myClient"])["client_name"], "In root");
    assert_eq!(operator.json(&["client", "show", "myClient", "--realm", "alpha"])["client_name"], "In alpha");
    let ended = operator.run_with(|command| {
        command.args(["client", "show", "myClient"]).env("GRANTWELL_REALM", "alpha");
    });
    assert_eq!(ended.json()["client_name"], "In alpha");
    operator.refused(
        &["client", "show", "nobody", "--realm", "alpha"],
        1,
        "realm 'alpha' has no client 'nobody'; see those it has with: grantwell client list --realm alpha",
    );
}

#[test]
fn a_realm_that_does_not_exist_is_refused_with_the_command_that_creates_it() {
    let operator = Operator::with_client();
    for command in [
        &["client", "create", "--id", "x"][..],
        &["client", "list"],
        &["client", "show", "x"],
        &["client", "update", "x", "--name", "n"],
        &["client", "rotate-secret", "x"],
        &["client", "rotate-secret", "x", "--revoke-previous"],
        &["client", "disable", "x"],
        &["client", "enable", "x"],
        &["client", "delete", "x"],
        &["key", "list"],
        &["key", "rotate"],
        &["key", "revoke", "x"],
    ] {
        operator.refused(
            &[command, &["--realm", "beta"]].concat(),
            1,
            "there is no realm 'beta'; create it with: grantwell realm set beta",
        );
    }
}

#[test]
fn a_client_without_grants_and_one_with_grants_of_other_servers_can_be_registered() {
    let operator = Operator::new();
    let none = operator.run(&["client", "create", "--id", "none", "--grant-type", "none"]);
    assert_eq!((none.json()["grant_types"].clone(), none.stderr.as_str()), (json!([]), ""));

    let both = ["--grant-type", "client_credentials", "--grant-type", "refresh_token"];
    let other = operator.run(&[&["client", "create", "--id", "other"][..], &both].concat());
    assert_eq!(other.status, Some(0));
    assert_eq!(other.json()["grant_types"], json!(["client_credentials", "refresh_token"]));
    assert_eq!(
        other.stderr,
        "warning: this server only implements client_credentials; 'refresh_token' is recorded and gets nobody a token\n"
    );
}

#[test]
fn settings_that_contradict_each_other_or_the_realm_are_refused() {
    let operator = Operator::new();
    operator.json(&["realm", "set", "narrow", "--allowed-scope", "read"]);
    for (arguments, sentence) in [
        (
            &["--scope", "read", "--default-scope", "write"][..],
            "the default scope 'write' is not among the client's scopes; add it with --scope or drop it",
        ),
        (
            &["--scope", "read write", "--realm", "narrow"],
            "realm narrow does not allow the scope 'write'; its allowed scopes are 'read'",
        ),
        (
            &["--grant-type", "none", "--grant-type", "client_credentials"],
            "--grant-type none and '' stand alone; drop them, or the grant types beside them",
        ),
        (&["--name", "a\u{1b}[2J"], "the name is empty, longer than 256 characters, or has control characters"),
        (&["--owner", "a", "--owner", ""], "the owner is empty, longer than 256 characters, or has control characters"),
    ] {
        operator.refused(&[&["client", "create"], arguments].concat(), 1, sentence);
    }
    assert_eq!(operator.json(&["client", "list"])["clients"], json!([]));
}

#[test]
fn values_outside_their_grammar_are_usage_errors() {
    let operator = Operator::new();
    for (arguments, sentence) in [
        (&["--id", "a b"][..], "invalid value 'a b' for '--id <ID>': a client id has 1 to 128 characters of"),
        (&["--id", ""], "for '--id"),
        (&["--scope", "a  b"], "invalid value 'a  b' for '--scope <SCOPE>': a scope is one or more tokens"),
        (&["--default-scope", "\""], "for '--default-scope <SCOPE>': a scope is one or more tokens"),
        (&["--redirect-uri", "/callback"], "'/callback' is not a sign-in URL; give an absolute http(s) URL"),
        (&["--grant-type", "magic"], "'magic' is not a grant type; name client_credentials,"),
        (&["--token-lifetime", "0"], "a token lifetime is 1 to 2592000 seconds"),
        (&["--token-lifetime", "2592001"], "a token lifetime is 1 to 2592000 seconds"),
        (&["--token-lifetime", "1h"], "a token lifetime is 1 to 2592000 seconds"),
        (&["--auth-method", "none"], "[possible values: client_secret_basic, client_secret_post]"),
        (&["--secret-lifetime", "3153600001"], "3153600001 is not in 0..=3153600000"),
        (&["--access-token-format", "JWT"], "a format is opaque or jwt; '' takes the setting back"),
        (&["--access-token-persistence", "forever"], "a persistence is stored or stateless; '' takes the setting back"),
        (&["--signing-alg", "HS256"], "a signing algorithm is ES256, EdDSA, PS256 or RS256; '' takes the setting back"),
        (&["--signing-alg", "none"], "a signing algorithm is ES256, EdDSA, PS256 or RS256; '' takes the setting back"),
        (
            &["--token-quota", "0/hour"],
            "a token quota is NUMBER/hour or NUMBER/day, NUMBER from 1 to 1000000000, or none",
        ),
        (
            &["--token-quota", "1000"],
            "a token quota is NUMBER/hour or NUMBER/day, NUMBER from 1 to 1000000000, or none",
        ),
        (
            &["--token-quota", "1/week"],
            "a token quota is NUMBER/hour or NUMBER/day, NUMBER from 1 to 1000000000, or none",
        ),
        (&["--token-quota-mode", "log"], "a token quota's mode is enforce or observe; '' takes the setting back"),
        (&["--resource", "/orders"], "a resource is an absolute URI of at most 512 characters without a fragment"),
        (&["--resource", "https://a.example/#f"], "a resource is an absolute URI of at most 512 characters"),
        (&["--claims", "tier=gold"], r#"claims are one JSON object, such as '{"tier":"gold"}'"#),
        (&["--claims", "[]"], r#"claims are one JSON object, such as '{"tier":"gold"}'"#),
        (&["--claims", r#"{"tier":"gold","tier":"free"}"#], "a claim occurs twice"),
        (&["--claims", r#"{"scope":"admin"}"#], "the claim 'scope' is reserved: the server sets it itself, or"),
        (&["--claims", r#"{"a\n":1}"#], "a claim's name has 1 to 64 printable characters"),
        (&["--realm", "a/b"], "a realm name has 1 to 64 characters of A-Z, a-z, 0-9, _ and -"),
        (&["--store", "s3"], "a store is file:DIR, memory or aws"),
        (&["--store", "file:"], "file: needs a directory, such as file:grantwell-data"),
        (&["--store", "file:~/data"], "write file:$HOME/..."),
        (&["--bogus"], "unexpected argument '--bogus'"),
    ] {
        operator.refused(&[&["client", "create"], arguments].concat(), 2, sentence);
    }
    operator.refused(&["client"], 2, "Usage: grantwell client");
    operator.refused(&["bogus"], 2, "unrecognized subcommand 'bogus'");
    assert!(!operator.data().exists(), "a refused command line leaves nothing behind");
}
