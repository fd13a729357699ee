//! `grantwell client create`: what it prints, and what it refuses.

use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::members::names_of;
use serde_json::{Value, json};

use super::operator::{CREATE, Operator, is_base64url, now, text};
use crate::support::registration::{Member, members, members_of_local_clients, show};

#[test]
fn create_prints_one_json_object_with_every_setting() {
    let operator = Operator::with_owners();
    let before = now();
    let options: Vec<String> = members_of_local_clients().flat_map(|member| member.create).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let client = operator.json(&[&CREATE[..], &options].concat());
    let issued_at = client["client_id_issued_at"].as_u64().expect("seconds");
    assert!((before..=now()).contains(&issued_at), "{client}");
    let mut expected = registered(&client, |member| &member.stored);
    expected["client_secret_expires_at"] = json!(issued_at + 60);
    expected["client_secret_rotation_days"] = Value::Null;
    assert_eq!(client, expected);
}

#[test]
fn create_without_options_gives_a_client_of_the_root_realm_that_may_only_authenticate() {
    let operator = Operator::new();
    let client = operator.json(&["client", "create"]);
    assert_eq!(client, registered(&client, |member| &member.unset));
    let id = text(&client["client_id"]);
    assert!(id.len() == 22 && is_base64url(id) && !id.starts_with('-'), "{id}");
    assert_eq!(operator.json(&["client", "show", id])["client_id"], id);
}

/// What `client create` prints of a client: these values of its members, and what the registry says of it.
fn registered(client: &Value, value: impl Fn(&Member) -> &Value) -> Value {
    let mut expected = json!({
        "client_id": client["client_id"],
        "client_secret": client["client_secret"],
        "client_id_issued_at": client["client_id_issued_at"],
        "realm": "root",
        "status": "active",
    });
    for member in members() {
        show(&mut expected, &member.name, value(&member));
    }
    expected
}

#[test]
fn a_registration_is_printed_in_the_order_in_which_it_is_read() {
    let operator = Operator::new();
    let printed = operator.run(&CREATE).stdout;
    let names = printed.lines().filter_map(|line| line.trim_start().strip_prefix('"')?.split_once("\":"));
    let names: Vec<&str> = names.map(|(name, _)| name).collect();
    assert_eq!(names[..3], ["client_id", "client_secret", "client_secret_expires_at"], "{printed}");
    assert_eq!(names[names.len() - 3..], ["realm", "status", "client_id_issued_at"], "{printed}");
}

#[test]
fn the_members_that_tests_know_are_those_of_the_registration_and_each_has_an_option_that_names_it() {
    let mut known: Vec<String> = members().into_iter().map(|member| member.name).collect();
    known.sort_unstable();
    let mut names = names_of::<ClientMetadata>().to_vec();
    names.sort_unstable();
    assert_eq!(known, names);
    let operator = Operator::new();
    for command in ["create", "update"] {
        let help = operator.run(&["client", command, "--help"]).stdout;
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for name in &names {
            assert!(help.contains(&format!("({name})")), "no option of client {command} says that it sets {name}");
        }
    }
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
        "realm 'root' already has a client 'myClient', which stays as it is; change it with `grantwell client update \
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
        "realm 'alpha' has no client 'nobody'; list its clients with: grantwell client list --realm alpha",
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
            "there is no realm 'beta'; see the realms with `grantwell realm list`, or make it with `grantwell realm set beta`",
        );
    }
}

#[test]
fn a_client_without_grants_and_one_with_grants_of_other_servers_can_be_registered() {
    let operator = Operator::with_client();
    let none = operator.run(&["client", "create", "--id", "none", "--scope", "read", "--grant-type", "none"]);
    assert_eq!(none.json()["grant_types"], json!([]));
    assert_eq!(
        none.stderr,
        "warning: client 'none' cannot get a token: client_credentials is not among its grant types; add it with `grantwell client \
         update none --grant-type client_credentials`\n"
    );

    let both = ["--grant-type", "client_credentials", "--grant-type", "refresh_token"];
    let other = operator.run(&[&["client", "create", "--id", "other", "--scope", "read"][..], &both].concat());
    assert_eq!(other.status, Some(0));
    assert_eq!(other.json()["grant_types"], json!(["client_credentials", "refresh_token"]));
    assert_eq!(
        other.stderr,
        "warning: this server implements only client_credentials; 'refresh_token' is recorded, but no client can get a token with it\n"
    );
}

#[test]
fn settings_that_contradict_each_other_or_the_realm_are_refused() {
    let operator = Operator::new();
    operator.json(&["realm", "set", "narrow", "--allowed-scope", "read"]);
    for (arguments, sentence) in [
        (
            &["--scope", "read", "--default-scope", "write"][..],
            "the default scope 'write' is not among the client's scopes; add it with --scope, or leave it out",
        ),
        (
            &["--scope", "read write", "--realm", "narrow"],
            "realm narrow does not allow the scope 'write'; its allowed scopes are 'read'",
        ),
        (
            &["--grant-type", "none", "--grant-type", "client_credentials"],
            "--grant-type none and --grant-type '' cannot be combined with other grant types; leave out one or the other",
        ),
        (&["--name", "a\u{1b}[2J"], "the name is empty, longer than 256 characters, or has control characters"),
        (
            &["--contact", "a", "--contact", ""],
            "the contact is empty, longer than 256 characters, or has control characters",
        ),
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
        (&["--token-lifetime", "1 hr 1"], "a token lifetime is 1 to 2592000 seconds"),
        (
            &["--token-lifetime", "-5"],
            "'-5' for '--token-lifetime <DURATION>': a token lifetime is 1 to 2592000 seconds",
        ),
        (&["--secret-lifetime", "-1h"], "'-1h' for '--secret-lifetime <DURATION>': a duration is"),
        (&["--token-quota", "-1/hour"], "a token quota is NUMBER/hour or NUMBER/day"),
        (&["--token-quota", "--scope"], "invalid value '--scope'"),
        (&["--name", "--scope", "a"], "a value is required for '--name <NAME>'"),
        (&["--token-lifetime", "1H"], "also with a unit in lower case, such as 15m, 24h or 30d"),
        (&["--auth-method", "none"], "[possible values: client_secret_basic, client_secret_post"),
        (&["--secret-lifetime", "3153600001"], "a secret lives 100 years at most; 0 is for ever"),
        (&["--access-token-format", "JWT"], "a format is opaque or jwt; '' removes the setting"),
        (&["--access-token-persistence", "forever"], "a persistence is stored or stateless; '' removes the setting"),
        (&["--signing-alg", "HS256"], "a signing algorithm is ES256, EdDSA, PS256 or RS256; '' removes the setting"),
        (&["--signing-alg", "none"], "a signing algorithm is ES256, EdDSA, PS256 or RS256; '' removes the setting"),
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
        (&["--token-quota-mode", "log"], "a token quota's mode is enforce or observe; '' removes the setting"),
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

#[test]
fn what_only_jwts_have_is_said_to_have_no_effect_on_opaque_tokens() {
    let operator = Operator::new();
    let persistence = |command: &str| {
        format!(
            "the tokens of client 'c' are opaque and always stored, so --access-token-persistence has no effect; if they should be JWTs, use \
             `{command} --access-token-format jwt`"
        )
    };
    let alg = "the tokens of client 'c' are opaque, so --signing-alg applies only to signed introspection answers for this client; if they should be JWTs, use";
    let update = "grantwell client update c";
    let run = |arguments: &[&str]| {
        let ended = operator.run(arguments);
        assert_eq!(ended.status, Some(0), "{}", ended.stderr);
        ended.stderr
    };
    let create = ["client", "create", "--id", "c", "--scope", "a"];
    let said = run(&[&create[..], &["--access-token-persistence", "stateless", "--signing-alg", "EdDSA"]].concat());
    assert!(said.contains(&persistence(update)) && said.contains(alg), "{said}");
    // Once: what is so already is not said with each change.
    let said = run(&["client", "update", "c", "--name", "n"]);
    assert!(!said.contains("opaque"), "{said}");
    for setting in ["--access-token-persistence", "--signing-alg"] {
        run(&["client", "update", "c", setting, ""]);
    }
    let said = run(&["client", "update", "c", "--access-token-persistence", "stored"]);
    assert!(said.contains(&persistence(update)) && !said.contains(alg), "{said}");
    let said = run(&["client", "update", "c", "--signing-alg", "RS256"]);
    assert!(said.contains(alg) && !said.contains("persistence"), "{said}");

    // Of JWTs nothing, by whose word they are ones; and again when they become opaque.
    for jwt in [&["--access-token-format", "jwt"][..], &["--access-token-format", "jwt", "--signing-alg", "ES256"]] {
        let said = run(&[&["client", "update", "c"], jwt].concat());
        assert!(!said.contains("opaque"), "{said}");
    }
    let said = run(&["client", "update", "c", "--access-token-format", "opaque"]);
    assert!(said.contains(&persistence(update)) && said.contains(alg), "{said}");
    run(&["realm", "set", "beta", "--access-token-format", "jwt"]);
    let create =
        ["client", "create", "--realm", "beta", "--id", "d", "--scope", "a", "--access-token-persistence", "stateless"];
    assert!(!run(&create).contains("opaque"));

    // Of a realm, whose clients may have a format of their own.
    let said = run(&["realm", "set", "gamma", "--access-token-persistence", "stateless"]);
    let of_realm = "the tokens of realm 'gamma' are opaque and always stored, so --access-token-persistence applies only to clients that have JWTs of their own";
    assert!(
        said.contains(of_realm) && said.contains("`grantwell realm set gamma --access-token-format jwt`"),
        "{said}"
    );
    let said = run(&["realm", "set", "gamma", "--access-token-format", "jwt"]);
    assert!(!said.contains("opaque"), "{said}");
}
