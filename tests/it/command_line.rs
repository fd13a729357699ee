//! `grantwell client`, `grantwell realm` and `grantwell key` from outside: what they print, what they refuse, what they leave
//! on disk; and the rotation of keys by `grantwell serve` itself.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy.toml allows them in test functions, not in what those call"
)]

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::set::KeySet;
use grantwell::core::ports::KeyStore;
use grantwell::core::realm::RealmName;
use grantwell::core::time::UnixSeconds;
use grantwell::embedded::store::data_dir::DataDir;
use grantwell::embedded::store::registry::SqliteRegistry;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::cli::{basic, grantwell};
use crate::support::http::Request;
use crate::support::poll;
use crate::support::server::{Server as LocalServer, Start};

/// A working directory of its own; the store is `data` in it and does not exist before the first write.
struct Operator {
    home: TempDir,
}

/// What a command left behind.
struct Ended {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A server, killed on drop.
struct Server(Child);

const CREATE: [&str; 4] = ["client", "create", "--id", "myClient"];

// --- create ---

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
        (&["--redirect-uri", "/callback"], "'/callback' is no sign-in URL; give an absolute http(s) URL"),
        (&["--grant-type", "magic"], "'magic' is no grant type; name client_credentials,"),
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
        (&["--claims", r#"{"tier":"gold","tier":"free"}"#], "a claim is there twice"),
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

// --- secrets ---

#[test]
fn a_secret_from_standard_input_is_its_first_line() {
    let operator = Operator::new();
    for (id, input, expected) in [
        ("lf", "0123456789abcdef\n", "0123456789abcdef"),
        ("crlf", "0123456789abcdef\r\n", "0123456789abcdef"),
        ("bare", "0123456789abcdef", "0123456789abcdef"),
        ("spaces", " 23456789abcdef \n", " 23456789abcdef "),
        ("more", "0123456789abcdef\nsecond line", "0123456789abcdef"),
        ("longest", &"x".repeat(512), &"x".repeat(512)),
    ] {
        let ended = operator.fed(&["client", "create", "--id", id, "--secret-stdin"], input);
        assert_eq!(ended.json()["client_secret"], expected, "{id}");
        assert_eq!(ended.stderr.starts_with("warning: "), id == "spaces", "{id}: {}", ended.stderr);
    }
}

#[test]
fn a_secret_that_form_encoding_changes_is_accepted_with_a_warning_that_does_not_repeat_it() {
    let operator = Operator::new();
    let ended = operator.fed(&[&CREATE[..], &["--secret-stdin"]].concat(), "canary+canary/canary=\n");
    assert_eq!((ended.status, &ended.json()["client_secret"]), (Some(0), &json!("canary+canary/canary=")));
    assert!(ended.stderr.starts_with("warning: the secret has characters other than"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

#[test]
fn weak_and_unprintable_secrets_are_refused_without_being_repeated() {
    let operator = Operator::new();
    let short = "the secret has fewer than 16 characters; let one be generated, or pass --allow-weak-secret";
    let unprintable = "a secret has 1 to 512 printable ASCII characters (RFC 6749 Appendix A.2)";
    let (too_long, far_too_long) = ("canary".repeat(86), "canary".repeat(100_000));
    for (options, input, sentence) in [
        (&[][..], "canary789012345\n", short),
        (&[], "", unprintable),
        (&["--allow-weak-secret"], "\n", unprintable),
        (&[], "canary-canary-canary-\u{e9}\n", unprintable),
        (&[], "canary\tcanary\tcanary\n", unprintable),
        (&["--allow-weak-secret"], &too_long, unprintable),
        (&[], &far_too_long, unprintable),
    ] {
        let arguments = [&CREATE[..], &["--secret-stdin"], options].concat();
        let ended = operator.fed(&arguments, input);
        ended.is_refusal(1, sentence);
        assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
    }
    assert!(!operator.data().exists(), "the secret is checked before anything is created");

    let ended = operator.fed(&[&CREATE[..], &["--secret-stdin", "--allow-weak-secret"]].concat(), "password\n");
    assert_eq!(ended.json()["client_secret"], "password");
}

#[test]
fn no_secret_is_stored_in_clear_or_ever_shown_again() {
    let operator = Operator::new();
    let given = "canary-of-the-operator";
    operator.fed(&[&CREATE[..], &["--secret-stdin"]].concat(), given).json();
    let rotated = text(&operator.json(&["client", "rotate-secret", "myClient"])["client_secret"]).to_owned();
    let generated = text(&operator.json(&["client", "create", "--id", "other"])["client_secret"]).to_owned();
    let secrets = [given, &rotated, &generated];

    for path in files(&operator.data()) {
        let bytes = fs::read(&path).expect("readable");
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds a secret", path.display());
        }
    }
    for arguments in [
        &["client", "list"][..],
        &["client", "list", "--output", "table"],
        &["client", "show", "myClient"],
        &["client", "show", "myClient", "--output", "table"],
        &["client", "update", "myClient", "--name", "n"],
        &["client", "disable", "myClient"],
        &["client", "enable", "myClient"],
        &["client", "rotate-secret", "myClient", "--revoke-previous"],
        &["client", "delete", "myClient"],
    ] {
        let ended = operator.run(arguments);
        assert_eq!(ended.status, Some(0), "{}", ended.stderr);
        for secret in secrets {
            assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret), "{arguments:?}");
        }
        assert!(!ended.stdout.contains("client_secret\""), "{}", ended.stdout);
    }
}

#[test]
fn rotation_prints_a_new_secret_and_keeps_the_old_one() {
    let operator = Operator::new();
    let first = operator.json(&CREATE);
    let second = operator.json(&["client", "rotate-secret", "myClient"]);
    assert_ne!(first["client_secret"], second["client_secret"]);
    assert_eq!(
        second,
        json!({
            "client_id": "myClient",
            "client_secret": second["client_secret"],
            "client_secret_expires_at": 0,
            "realm": "root",
            "previous_secret_valid": true,
        })
    );
    let given = operator.fed(&["client", "rotate-secret", "--id", "myClient", "--secret-stdin"], "0123456789abcdef\n");
    assert_eq!(given.json()["client_secret"], "0123456789abcdef");
    let weak = ["client", "rotate-secret", "myClient", "--secret-stdin"];
    operator.fed(&weak, "short").is_refusal(1, "the secret has fewer than 16 characters");
    let weak = [&weak[..], &["--allow-weak-secret", "--output", "json"]].concat();
    assert_eq!(operator.fed(&weak, "short").json()["client_secret"], "short");
}

#[test]
fn revoking_the_previous_secret_makes_no_new_one_and_says_so() {
    let operator = Operator::with_client();
    operator.json(&["client", "rotate-secret", "myClient"]);
    // Twice: the second time there is nothing left to end, and that is what was asked for.
    for _ in 0..2 {
        let ended = operator.run(&["client", "rotate-secret", "myClient", "--revoke-previous"]);
        assert_eq!(ended.json(), json!({ "client_id": "myClient", "realm": "root", "previous_secret_valid": false }));
        assert!(
            ended
                .stderr
                .starts_with("note: NO NEW SECRET WAS MADE: the current secret of client 'myClient' stays as it is"),
            "{}",
            ended.stderr
        );
    }
    for other in [&["--secret-stdin"][..], &["--allow-weak-secret"], &["--secret-lifetime", "1"]] {
        let arguments = [&["client", "rotate-secret", "myClient", "--revoke-previous"], other].concat();
        operator.refused(&arguments, 2, "cannot be used with");
    }
}

#[test]
fn a_rotation_by_schedule_is_recorded_with_the_warning_that_a_file_has_none() {
    let warning = |id: &str| {
        format!(
            "warning: only a deployed stack rotates secrets by schedule; the days are recorded, and the secret stays until \
             you run: grantwell client rotate-secret {id} --realm alpha\n"
        )
    };
    let operator = Operator::new();
    operator.json(&["realm", "set", "alpha"]);
    let alpha = |arguments: &[&str]| operator.run(&[&["client"][..], arguments, &["--realm", "alpha"]].concat());
    let created = alpha(&["create", "--id", "myClient", "--secret-rotation-days", "30"]);
    assert_eq!((created.status, created.stderr.as_str()), (Some(0), warning("myClient").as_str()));
    assert_eq!(created.json()["client_secret_rotation_days"], 30);
    let table = alpha(&["show", "myClient", "--output", "table"]).stdout;
    let row = |table: &str| {
        let mut values = table.lines().filter_map(|line| line.split_once("client_secret_rotation_days"));
        values.next().expect("a row").1.trim_matches(['│', ' ']).to_owned()
    };
    assert_eq!(row(&table), "30 days");

    let updated = alpha(&["update", "myClient", "--secret-rotation-days", "60"]);
    assert_eq!((updated.status, updated.stderr.as_str()), (Some(0), warning("myClient").as_str()));
    // Nothing to warn of where nothing is to be rotated, or where something else is changed.
    for change in [["--name", "n"], ["--secret-rotation-days", "0"], ["--secret-rotation-days", ""]] {
        let updated = alpha(&[&["update", "myClient"][..], &change].concat());
        assert_eq!((updated.status, updated.stderr.as_str()), (Some(0), ""), "{change:?}");
    }
    assert_eq!(row(&alpha(&["show", "myClient", "--output", "table"]).stdout), "never");
}

#[test]
fn rotation_cares_for_the_lifetime_of_secrets() {
    let operator = Operator::new();
    let client = operator.json(&[&CREATE[..], &["--secret-lifetime", "1000"]].concat());
    let expires_at = client["client_secret_expires_at"].clone();

    let kept = operator.run(&["client", "rotate-secret", "myClient"]);
    assert_eq!(kept.json()["client_secret_expires_at"], expires_at);
    assert!(kept.stderr.starts_with("warning: the new secret stops working at "), "{}", kept.stderr);

    let before = now();
    let extended = operator.json(&["client", "rotate-secret", "myClient", "--secret-lifetime", "5000"]);
    let expires_at = extended["client_secret_expires_at"].as_u64().expect("seconds");
    assert!((before + 5000..=now() + 5000).contains(&expires_at), "{extended}");
    assert_eq!(operator.json(&["client", "show", "myClient"])["client_secret_expires_at"], expires_at);

    operator.json(&["client", "update", "myClient", "--secret-lifetime", "1"]);
    wait_until(now() + 2);
    operator.refused(
        &["client", "rotate-secret", "myClient"],
        1,
        "and a new one would not work either; give it a lifetime with --secret-lifetime SECONDS (0 for never)",
    );
    let renewed = operator.json(&["client", "rotate-secret", "myClient", "--secret-lifetime", "0"]);
    assert_eq!(renewed["client_secret_expires_at"], 0);
    assert_eq!(renewed["previous_secret_valid"], false, "an expired secret does not come back to life");
}

#[test]
fn a_secret_that_could_not_be_printed_is_reported() {
    let operator = Operator::new();
    let closed = operator.run_with(|command| {
        command.args(CREATE).stdout(closed_pipe());
    });
    closed.is_refusal(
        1,
        "client 'myClient' has its secret, but you do not: standard output was closed; make a new one with: grantwell \
         client rotate-secret myClient",
    );
    let full = operator.run_with(|command| {
        let full = File::options().write(true).open("/dev/full").expect("a device that is always full");
        command.args(["client", "rotate-secret", "myClient"]).stdout(full);
    });
    full.is_refusal(1, "client 'myClient' has its secret, but you do not: the answer could not be written");
}

// --- list and show ---

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
        let Some(token) = list["next_page_token"].as_str() else { break };
        arguments.truncate(6);
        arguments.extend(["--starting-token".to_owned(), token.to_owned()]);
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);

    let exact = operator.json(&["client", "list", "--max-items", "5"]);
    assert_eq!((ids(&exact).len(), &exact["next_page_token"]), (5, &Value::Null));
    let table = operator.run(&["client", "list", "--max-items", "2", "--output", "table"]).stdout;
    assert!(table.ends_with("There are more; go on with: --starting-token b\n"), "{table}");
}

#[test]
fn a_listing_refuses_sizes_and_tokens_that_mean_nothing() {
    let operator = Operator::with_client();
    for arguments in [["--page-size", "0"], ["--page-size", "1001"], ["--max-items", "0"], ["--starting-token", "/"]] {
        operator.refused(&[&["client", "list"][..], &arguments].concat(), 2, arguments[0]);
    }
}

#[test]
fn show_tells_a_clients_own_lifetime_from_the_realms() {
    let operator = Operator::new();
    operator.json(&["realm", "set", "root", "--token-lifetime", "7"]);
    operator.json(&[&CREATE[..], &["--scope", "write"]].concat());
    let shown = operator.json(&["client", "show", "myClient"]);
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
            "realm 'root' has no client 'nobody'; see those it has with: grantwell client list",
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

// --- update, disable, enable, delete ---

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

// --- realms ---

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
        "tokens_valid_after": 0,
    });
    assert_eq!(operator.json(&["realm", "show", "root"]), root);
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
        (&[], "realm", json!("alpha")),
    ] {
        expected[member] = value;
        assert_eq!(operator.json(&[&["realm", "set", "alpha"], arguments].concat()), expected, "{arguments:?}");
        assert_eq!(operator.json(&["realm", "show", "alpha"]), expected, "{arguments:?}");
    }
    operator.json(&["realm", "set", "zeta"]);
    operator.json(&["realm", "set", "root", "--token-lifetime", "60"]);
    let list = operator.json(&["realm", "list"]);
    let names: Vec<&str> =
        list["realms"].as_array().expect("a list").iter().map(|realm| text(&realm["realm"])).collect();
    assert_eq!(names, ["root", "alpha", "zeta"]);

    // By `--realm`, as `grantwell client` takes it; root where none is named.
    let zeta = operator.json(&["realm", "set", "--realm", "zeta", "--token-lifetime", "61"]);
    assert_eq!(operator.json(&["realm", "show", "--realm", "zeta"]), zeta);
    assert_eq!(operator.json(&["realm", "list", "--realm", "zeta"])["realms"], json!([zeta]));
    assert_eq!(operator.json(&["realm", "show"])["access_token_lifetime"], 60);
}

#[test]
fn realm_commands_refuse_what_they_cannot_do() {
    let operator = Operator::with_client();
    for (arguments, status, sentence) in [
        (&["show", "beta"][..], 1, "there is no realm 'beta'; create it with: grantwell realm set beta"),
        (
            &["set", "beta", "--default-scope", "write", "--allowed-scope", "read"],
            1,
            "the default scope 'write' is not among the realm's allowed scopes 'read'; add it with --allowed-scope or drop \
             it",
        ),
        (&["set", "a/b"], 2, "a realm name has 1 to 64 characters"),
        (&["set", "beta", "--realm", "beta"], 2, "cannot be used with"),
        (&["set", "beta", "--token-lifetime", "0"], 2, "a token lifetime is 1 to 2592000 seconds"),
        (&["set", "beta", "--token-lifetime", "1", "--inherit-token-lifetime"], 2, "cannot be used with"),
        (&["set", "beta", "--default-scope", "\\"], 2, "a scope is one or more tokens"),
        (&["set", "beta", "--grant-type", "magic"], 2, "'magic' is no grant type"),
        (&["set", "beta", "--access-token-format", "xml"], 2, "a format is opaque or jwt; '' takes the setting back"),
        (&["set", "beta", "--access-token-persistence", "no"], 2, "a persistence is stored or stateless; ''"),
        (&["set", "beta", "--signing-alg", "es256"], 2, "a signing algorithm is ES256, EdDSA, PS256 or RS256; ''"),
        (
            &["set", "beta", "--token-quota", "1.5/day"],
            2,
            "a token quota is NUMBER/hour or NUMBER/day, NUMBER from 1 to",
        ),
        (&["set", "beta", "--token-quota-mode", "off"], 2, "a token quota's mode is enforce or observe; ''"),
        (&["set", "beta", "--resource", "urn:a"], 2, "unexpected argument '--resource'"),
        (&["set", "beta", "--grant-type", "", "--grant-type", "client_credentials"], 1, "stand alone"),
    ] {
        operator.refused(&[&["realm"], arguments].concat(), status, sentence);
    }
    operator.refused(&["realm", "show", "beta"], 1, "there is no realm 'beta'");
}

// --- keys ---

#[test]
fn a_realm_that_has_signed_nothing_has_no_keys_and_says_so() {
    let operator = Operator::with_client();
    assert_eq!(operator.json(&["key", "list"]), json!({ "realm": "root", "keys": [] }));
    let table = operator.run(&["key", "list", "--output", "table"]).stdout;
    assert_eq!(table, "realm root has no keys yet; they are made when it signs for the first time\n");

    let ended = operator.run(&["key", "rotate"]);
    assert_eq!(roles(&ended.json()), ["ES256 current", "ES256 next"]);
    assert_eq!(
        ended.stderr,
        "note: realm 'root' had no keys, so there was nothing to rotate; it has its first ones now\n"
    );
}

#[test]
fn a_listing_of_keys_has_their_place_in_time_and_nothing_private() {
    let operator = Operator::new();
    operator.json(&["realm", "set", "alpha", "--signing-alg", "PS256"]);
    operator.json(&["realm", "set", "alpha", "--signing-alg", "EdDSA"]);
    operator.age_keys("alpha", 1000);
    let rotated = operator.run(&["key", "rotate", "--realm", "alpha"]);
    let listed = operator.run_with(|command| {
        command.args(["key", "list"]).env("GRANTWELL_REALM", "alpha");
    });
    assert_eq!(listed.json(), rotated.json());
    assert_eq!(
        roles(&listed.json()),
        ["PS256 previous", "PS256 current", "EdDSA previous", "EdDSA current", "PS256 next", "EdDSA next"]
    );
    let mut members = ["kid", "alg", "status", "published_at", "current_since", "expires_at"].to_vec();
    members.sort_unstable();
    for key in keys(&listed.json()) {
        let mut shown: Vec<&str> = key.as_object().expect("an object").keys().map(String::as_str).collect();
        shown.sort_unstable();
        assert_eq!(shown, members);
    }

    let kid = text(&keys(&listed.json())[1]["kid"]).to_owned();
    let table = operator.run(&["key", "list", "--realm", "alpha", "--output", "table"]);
    let revoked = operator.run(&["key", "revoke", &kid, "--realm", "alpha"]);
    let stored = operator.stored_keys("alpha").to_json().expect("JSON");
    let stored: Value = serde_json::from_str(&stored).expect("JSON");
    let private: Vec<&str> = keys(&stored).iter().filter_map(|key| key["pkcs8"].as_str()).collect();
    assert_eq!(private.len(), 4, "every key that signs, or will, has a private half");
    for ended in [rotated, listed, table, revoked] {
        assert_eq!(ended.status, Some(0), "{}", ended.stderr);
        for value in &private {
            assert!(!ended.stdout.contains(value) && !ended.stderr.contains(value));
        }
    }
}

#[test]
fn an_algorithm_is_published_from_when_it_is_set() {
    const NOTE: &str = "once its key has been published for 15 minutes, so that every resource server knows it; until then the \
                        key before it signs\n";
    let operator = Operator::new();
    // The first keys sign at once, so there is nothing to say.
    let first = operator.run(&["realm", "set", "root", "--signing-alg", "ES256"]);
    assert_eq!((first.status, first.stderr.as_str()), (Some(0), ""));
    assert_eq!(roles(&operator.json(&["key", "list"])), ["ES256 current", "ES256 next"]);

    let create = operator.run(&[&CREATE[..], &["--signing-alg", "EdDSA"]].concat());
    assert_eq!(create.json()["access_token_signing_alg"], "EdDSA");
    assert_eq!(create.stderr, format!("note: tokens are signed with EdDSA {NOTE}"));
    let both = ["ES256 current", "ES256 next", "EdDSA current", "EdDSA next"];
    assert_eq!(roles(&operator.json(&["key", "list"])), both);

    // Known algorithms change nothing, and a setting taken back is the realm's.
    for alg in ["EdDSA", "ES256", ""] {
        let ended = operator.run(&["client", "update", "myClient", "--signing-alg", alg]);
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{alg}");
    }
    operator.json(&["realm", "set", "root", "--signing-alg", ""]);
    assert_eq!(roles(&operator.json(&["key", "list"])), both);

    let update = operator.run(&["client", "update", "myClient", "--signing-alg", "RS256"]);
    assert_eq!((update.status, update.stderr), (Some(0), format!("note: tokens are signed with RS256 {NOTE}")));
    let realm = operator.run(&["realm", "set", "--signing-alg", "PS256"]);
    assert_eq!((realm.status, realm.stderr), (Some(0), format!("note: tokens are signed with PS256 {NOTE}")));
    let more = ["RS256 current", "RS256 next", "PS256 current", "PS256 next"];
    assert_eq!(roles(&operator.json(&["key", "list"])), [&both[..], &more].concat());
}

#[test]
fn the_first_client_with_an_algorithm_of_its_own_does_not_decide_for_the_realm() {
    let operator = Operator::new();
    let create = operator.run(&[&CREATE[..], &["--signing-alg", "EdDSA"]].concat());
    assert_eq!((create.status, create.stderr.as_str()), (Some(0), ""));
    let listed = operator.json(&["key", "list"]);
    assert_eq!(roles(&listed), ["ES256 current", "ES256 next", "EdDSA current", "EdDSA next"]);
    // Made at one time: neither has to wait until the other is known.
    assert!(keys(&listed).iter().all(|key| key["published_at"] == keys(&listed)[0]["published_at"]), "{listed}");
}

#[test]
fn a_setting_whose_keys_could_not_be_made_is_reported_after_the_secret() {
    let operator = Operator::new();
    operator.store_last_keys("alpha", now());
    let created = operator.run(&[&CREATE[..], &["--realm", "alpha", "--signing-alg", "EdDSA"]].concat());
    assert_eq!(created.status, Some(1));
    let shown: Value = serde_json::from_str(&created.stdout).expect("the one answer that has the secret");
    assert!(text(&shown["client_secret"]).starts_with("gws_"));
    for (ended, repeat) in [
        (created, "grantwell client update myClient --signing-alg EdDSA --realm alpha\n"),
        (
            operator.run(&["realm", "set", "alpha", "--signing-alg", "PS256"]),
            "grantwell realm set alpha --signing-alg PS256\n",
        ),
    ] {
        let sentence = "error: the setting is stored, but realm 'alpha' has no key of that algorithm yet: ";
        assert!(ended.stderr.starts_with(sentence) && ended.stderr.ends_with(repeat), "{}", ended.stderr);
    }
    let client = operator.json(&["client", "show", "myClient", "--realm", "alpha"]);
    assert_eq!(client["access_token_signing_alg"], "EdDSA");
    assert_eq!(operator.json(&["realm", "show", "alpha"])["access_token_signing_alg"], "PS256");
}

#[test]
fn rotation_waits_until_the_next_key_is_known_everywhere() {
    let operator = Operator::new();
    operator.json(&["realm", "set", "alpha"]);
    let first = operator.json(&["key", "rotate", "--realm", "alpha"]);
    let ready_at = keys(&first)[1]["published_at"].as_u64().expect("seconds") + 900;
    let ready_at = format!("rotate from {} on;", utc(ready_at));
    let too_soon = operator.run(&["key", "rotate", "--realm", "alpha"]);
    too_soon.is_refusal(
        1,
        "the next key of realm 'alpha' has not been published for 15 minutes yet, and a resource server",
    );
    too_soon.is_refusal(1, &ready_at);
    too_soon.is_refusal(1, "is taken out at once with: grantwell key revoke KID --realm alpha");
    assert_eq!(operator.json(&["key", "list", "--realm", "alpha"]), first);

    operator.age_keys("alpha", 900);
    let before = now();
    let rotated = operator.run(&["key", "rotate", "--realm", "alpha"]);
    let (after, was) = (rotated.json(), keys(&first));
    assert_eq!(rotated.stderr, "");
    let rotated_at = keys(&after)[1]["current_since"].as_u64().expect("seconds");
    assert!((before..=now()).contains(&rotated_at), "{after}");
    let expires_at = rotated_at + 2_592_000 + 3900;
    let aged = |key: &Value| key["published_at"].as_u64().expect("seconds") - 900;
    assert_eq!(
        after,
        json!({
            "realm": "alpha",
            "keys": [
                {
                    "kid": was[0]["kid"],
                    "alg": "ES256",
                    "status": "previous",
                    "published_at": aged(&was[0]),
                    "current_since": aged(&was[0]),
                    "expires_at": expires_at,
                },
                {
                    "kid": was[1]["kid"],
                    "alg": "ES256",
                    "status": "current",
                    "published_at": aged(&was[1]),
                    "current_since": rotated_at,
                    "expires_at": null,
                },
                {
                    "kid": keys(&after)[2]["kid"],
                    "alg": "ES256",
                    "status": "next",
                    "published_at": rotated_at,
                    "current_since": null,
                    "expires_at": null,
                },
            ],
        })
    );
    operator.refused(&["key", "rotate", "--realm", "alpha"], 1, "has not been published for 15 minutes yet");
}

#[test]
fn rotations_at_once_rotate_once() {
    let operator = Operator::with_client();
    operator.json(&["key", "rotate"]);
    operator.age_keys("root", 900);
    let outcomes = thread::scope(|scope| {
        let rotations = [(); 4].map(|()| scope.spawn(|| operator.run(&["key", "rotate"])));
        rotations.map(|rotation| rotation.join().expect("no panic"))
    });
    assert_eq!(outcomes.iter().filter(|ended| ended.status == Some(0)).count(), 1);
    for ended in outcomes.iter().filter(|ended| ended.status != Some(0)) {
        let conflict = "the keys of realm 'root' were changed by somebody else meanwhile, and nothing was written; look at them \
                        with `grantwell key list` and repeat the command";
        assert!(ended.stderr.contains(conflict) || ended.stderr.contains("for 15 minutes yet"), "{}", ended.stderr);
    }
    assert_eq!(roles(&operator.json(&["key", "list"])), ["ES256 previous", "ES256 current", "ES256 next"]);
}

#[test]
fn a_leaked_key_is_out_at_once_and_the_next_one_signs() {
    let operator = Operator::with_client();
    let before = operator.json(&["key", "rotate"]);
    let (leaked, next) = (text(&keys(&before)[0]["kid"]), &keys(&before)[1]["kid"]);
    let revoked = operator.run(&["key", "revoke", leaked]);
    assert_eq!(
        revoked.stderr,
        "warning: tokens signed with this key are inactive from now on at introspection (a local server follows within \
         seconds, a deployed stack within 5 minutes, and signs with it for as long, so that some clients have to ask again); \
         resource servers that validate by themselves follow when they fetch the JWKS again, within 10 minutes. If the whole \
         set has leaked and not one key of it, revoke the next key too\n"
    );
    let after = revoked.json();
    assert_eq!((roles(&after), &keys(&after)[0]["kid"]), (vec!["ES256 current".into(), "ES256 next".into()], next));
    assert!(!revoked.stdout.contains(leaked), "{after}");
    assert_eq!(operator.json(&["key", "list"]), after);

    // A kid may begin with a hyphen, and with what would otherwise be an option.
    for unknown in [leaked, "-unknown", "-hV", "--", "bogus\u{1b}[2J"] {
        operator.refused(
            &["key", "revoke", "--output", "json", "--", unknown],
            1,
            "realm 'root' has no key of this kid; see those it has with: grantwell key list",
        );
    }
    operator.refused(&["key", "revoke", "-unknown"], 1, "realm 'root' has no key of this kid");
    operator.refused(&["key", "revoke", "-hV"], 1, "realm 'root' has no key of this kid");
    operator.json(&["realm", "set", "alpha"]);
    operator.refused(&["key", "revoke", leaked, "--realm", "alpha"], 1, "with: grantwell key list --realm alpha");
    operator.refused(&["key", "revoke"], 2, "the following required arguments were not provided");
    assert_eq!(operator.json(&["key", "list"]), after);
}

#[test]
fn a_running_server_follows_when_a_key_is_revoked() {
    let operator = Operator::new();
    let client = operator.json(&[&CREATE[..], &["--scope", "write", "--access-token-format", "jwt"]].concat());
    let resource_server = operator.json(&["client", "create", "--scope", "am-introspect-all-tokens"]);
    let [client, resource_server] =
        [&client, &resource_server].map(|shown| basic(text(&shown["client_id"]), text(&shown["client_secret"])));
    let server = operator.server(|start| start);
    let ask =
        |path: &str, form: &str, by: &str| Request::form(path, form).header("Authorization", by).send(&server).json();
    let issue = || {
        let answer = ask("/oauth2/access_token", "grant_type=client_credentials&scope=write", &client);
        text(&answer["access_token"]).to_owned()
    };
    let introspect = |token: &str| ask("/oauth2/introspect", &format!("token={token}"), &resource_server);

    let token = issue();
    assert_eq!(introspect(&token)["active"], true);
    let listed = operator.json(&["key", "list"]);
    operator.json(&["key", "revoke", text(&keys(&listed)[0]["kid"])]);
    poll("the token ends", Duration::from_secs(30), || {
        (introspect(&token) == json!({ "active": false })).then_some(())
    });
    poll("the next key signs", Duration::from_secs(30), || (introspect(&issue())["active"] == true).then_some(()));
}

#[test]
fn a_server_rotates_the_keys_of_every_realm_that_are_due() {
    const DAY: u64 = 24 * 3600;
    let operator = Operator::with_client();
    for realm in ["root", "alpha", "young"] {
        operator.json(&["realm", "set", realm]);
        operator.json(&["key", "rotate", "--realm", realm]);
    }
    for (realm, days) in [("root", 3), ("alpha", 2), ("young", 1)] {
        operator.age_keys(realm, days * DAY);
    }
    operator.store_last_keys("zz-full", now() - 9 * DAY);
    operator.json(&["realm", "set", "zeta"]);

    let server = operator.server(|start| start.environment("GRANTWELL_SIGNING_KEY_ROTATION_DAYS", "2"));
    for realm in ["root", "alpha"] {
        poll("the server rotates", Duration::from_secs(30), || {
            let listed = operator.json(&["key", "list", "--realm", realm]);
            (roles(&listed) == ["ES256 previous", "ES256 current", "ES256 next"]).then_some(())
        });
    }
    // Realms are looked at in the order of their names: the last warning comes after young was passed over.
    poll("the server warns", Duration::from_secs(30), || server.stderr().contains("realm=zz-full").then_some(()));
    let warning = server.stderr();
    let warning = warning.lines().find(|line| line.contains("realm=zz-full")).expect("a line");
    assert!(warning.contains(" WARN ") && warning.contains("signing keys could not be rotated"), "{warning}");
    assert_eq!(roles(&operator.json(&["key", "list", "--realm", "young"])), ["ES256 current", "ES256 next"]);
    assert_eq!(operator.json(&["key", "list", "--realm", "zeta"])["keys"], json!([]), "keys are made by signing");
}

#[test]
fn a_server_refuses_a_rotation_that_is_no_number_of_days() {
    let operator = Operator::new();
    for value in ["0", "366", "monthly", "-1", "1.5"] {
        let refused = Start::on("memory").environment("GRANTWELL_SIGNING_KEY_ROTATION_DAYS", value).expect_refusal();
        assert_eq!(refused.status.code(), Some(1), "{value}");
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            stderr.ends_with(
                "error: GRANTWELL_SIGNING_KEY_ROTATION_DAYS cannot be read: it is a number of days from 1 to 365\n"
            ),
            "{stderr}"
        );
    }
    assert!(!operator.data().exists());
}

// --- stores ---

#[test]
fn the_data_directory_is_its_owners_alone() {
    let operator = Operator::with_client();
    let mode = fs::metadata(operator.data()).expect("created").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    fs::set_permissions(operator.data(), fs::Permissions::from_mode(0o755)).expect("ours");
    operator.refused(&["client", "list"], 1, "is open to other users; run: chmod 700 ");
}

#[test]
fn commands_that_read_do_not_create_a_store() {
    let operator = Operator::new();
    for arguments in [
        &["client", "list"][..],
        &["client", "show", "x"],
        &["client", "update", "x", "--name", "n"],
        &["client", "disable", "x"],
        &["client", "enable", "x"],
        &["client", "rotate-secret", "x"],
        &["client", "delete", "x"],
        &["realm", "show", "root"],
        &["realm", "list"],
        &["key", "list"],
        &["key", "rotate"],
        &["key", "revoke", "x"],
    ] {
        operator.refused(
            arguments,
            1,
            "there is no data directory data; name the directory of your server with --store",
        );
    }
    assert!(!operator.data().exists());

    fs::create_dir(operator.data()).expect("ours");
    fs::set_permissions(operator.data(), fs::Permissions::from_mode(0o700)).expect("ours");
    operator.refused(&["client", "list"], 1, "there is no registry in data; name the directory of your server");
    assert_eq!(files(&operator.data()), Vec::<PathBuf>::new());
}

#[test]
fn realm_set_creates_a_store_as_client_create_does() {
    let operator = Operator::new();
    operator.json(&["realm", "set", "alpha"]);
    assert_eq!(operator.json(&["client", "list", "--realm", "alpha"])["clients"], json!([]));
}

#[test]
fn the_store_is_an_option_before_a_variable_before_the_servers_own_default() {
    let operator = Operator::new();
    let run = |arguments: &[&str], variable: Option<&str>| {
        let mut command = operator.bare_command();
        command.args(arguments).envs(variable.map(|value| ("GRANTWELL_STORE", value)));
        Ended::of(&command.output().expect("grantwell starts"))
    };
    run(&["client", "create", "--id", "in-default"], None).json();
    run(&["client", "create", "--id", "in-variable"], Some("file:variable")).json();
    run(&["client", "--store", "file:option", "create", "--id", "in-option"], Some("file:variable")).json();
    for (directory, id) in [("grantwell-data", "in-default"), ("variable", "in-variable"), ("option", "in-option")] {
        assert!(operator.home.path().join(directory).is_dir(), "{directory}");
        let list = run(&["client", "list", "--store", &format!("file:{directory}")], None).json();
        assert_eq!(ids(&list), [id]);
    }
}

#[test]
fn the_memory_store_has_nothing_to_manage() {
    let operator = Operator::new();
    for arguments in [&["client", "list"][..], &["client", "create"], &["realm", "set", "alpha"], &["key", "list"]] {
        let mut command = operator.bare_command();
        let ended = Ended::of(&command.args(arguments).args(["--store", "memory"]).output().expect("grantwell starts"));
        ended.is_refusal(1, "the memory store ends with the process that has it, so there is nothing to manage in it;");
    }
}

#[test]
fn the_aws_store_says_what_it_needs() {
    let operator = Operator::new();
    for arguments in [&["client", "list"][..], &["client", "create"], &["realm", "set", "alpha"], &["key", "list"]] {
        let mut command = operator.bare_command();
        let ended = Ended::of(&command.args(arguments).args(["--store", "aws"]).output().expect("grantwell starts"));
        if cfg!(feature = "aws") {
            ended.is_refusal(
                1,
                "GRANTWELL_REGISTRY_TABLE is not set; the stack's ExportBlock output has it ready to paste",
            );
        } else {
            ended.is_refusal(1, "install the full one with `cargo install --path . --bin grantwell`");
        }
    }
}

#[test]
fn the_registry_can_be_managed_while_its_server_runs() {
    let operator = Operator::with_client();
    let _server = operator.serve();
    operator.json(&["client", "create", "--id", "second"]);
    operator.json(&["client", "update", "second", "--name", "n"]);
    operator.json(&["realm", "set", "alpha"]);
    assert_eq!(ids(&operator.json(&["client", "list"])), ["myClient", "second"]);
}

// --- help ---

#[test]
fn every_command_explains_itself_with_an_example() {
    let operator = Operator::new();
    let client = ["create", "list", "show", "update", "rotate-secret", "disable", "enable", "delete"];
    let clients = client.map(|command| vec!["client", command]);
    let realms = ["set", "show", "list"].map(|command| vec!["realm", command]);
    let keys = ["list", "rotate", "revoke"].map(|command| vec!["key", command]);
    let groups = [vec!["client"], vec!["realm"], vec!["key"], vec!["serve"]];
    for command in clients.into_iter().chain(realms).chain(keys).chain(groups) {
        let ended = operator.run_with(|process| {
            process.args(&command).arg("--help");
        });
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{command:?}");
        let example = format!("grantwell {}", command.join(" "));
        let (_, examples) = ended.stdout.split_once("\nExample").unwrap_or_else(|| panic!("{}", ended.stdout));
        assert!(examples.contains(&example), "{}", ended.stdout);
    }
    let ended = operator.run_with(|process| {
        process.arg("--version");
    });
    assert_eq!(ended.stdout, format!("grantwell {}\n", env!("CARGO_PKG_VERSION")));
}

impl Operator {
    fn new() -> Self {
        Self { home: TempDir::new().expect("a temporary directory") }
    }

    fn with_client() -> Self {
        Self::with_clients(&["myClient"])
    }

    fn with_clients(ids: &[&str]) -> Self {
        let operator = Self::new();
        for id in ids {
            operator.json(&["client", "create", "--id", id]);
        }
        operator
    }

    /// The directory of the store.
    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// `grantwell` in this operator's directory, without the developer's own settings.
    fn bare_command(&self) -> Command {
        let mut command = grantwell();
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    fn run_with(&self, change: impl FnOnce(&mut Command)) -> Ended {
        let mut command = self.bare_command();
        command.env("GRANTWELL_STORE", "file:data");
        // Output that is piped before `change` can be sent elsewhere by it.
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        change(&mut command);
        Ended::of(&command.spawn().and_then(Child::wait_with_output).expect("grantwell runs"))
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(|command| {
            command.args(arguments);
        })
    }

    fn fed(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = self.bare_command();
        command.env("GRANTWELL_STORE", "file:data").args(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("grantwell starts");
        // A command that has read enough closes its input.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        Ended::of(&child.wait_with_output().expect("grantwell ends"))
    }

    /// What a command that must succeed prints.
    fn json(&self, arguments: &[&str]) -> Value {
        self.run(arguments).json()
    }

    fn refused(&self, arguments: &[&str], status: i32, sentence: &str) {
        let ended = self.run(arguments);
        eprintln!("{arguments:?}");
        ended.is_refusal(status, sentence);
    }

    /// Moves the realm's keys back in time, as if they had been made `seconds` earlier.
    fn age_keys(&self, realm: &str, seconds: u64) {
        self.store_keys(realm, |store, realm| async move {
            let keys = store.read_keys(&realm).await.expect("readable").expect("the realm has keys");
            let mut aged: Value = serde_json::from_str(&keys.to_json().expect("JSON")).expect("JSON");
            for key in aged["keys"].as_array_mut().expect("a list") {
                for member in ["published_at", "current_since", "expires_at"] {
                    if let Some(time) = key[member].as_u64() {
                        key[member] = json!(time - seconds);
                    }
                }
            }
            aged["revision"] = json!(keys.revision + 1);
            store.replace_keys(&realm, &KeySet::from_json(&aged.to_string()).expect("keys")).await.expect("stored");
        });
    }

    /// A realm with keys of a revision that has no successor: they sign and cannot be replaced.
    fn store_last_keys(&self, realm: &str, made_at: u64) {
        self.json(&["realm", "set", realm]);
        self.store_keys(realm, |store, realm| async move {
            let mut keys = KeySet::create(&[SigningAlgorithm::Es256], UnixSeconds(made_at)).expect("keys");
            keys.revision = i64::MAX.unsigned_abs();
            store.create_keys(&realm, &keys).await.expect("stored");
        });
    }

    fn stored_keys(&self, realm: &str) -> KeySet {
        self.store_keys(realm, |store, realm| async move {
            store.read_keys(&realm).await.expect("readable").expect("the realm has keys")
        })
    }

    fn store_keys<T, F: Future<Output = T>>(
        &self,
        realm: &str,
        change: impl FnOnce(SqliteRegistry, RealmName) -> F,
    ) -> T {
        let path = DataDir::open(&self.data()).expect("opened").registry_path();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(change(SqliteRegistry::open(&path).expect("opened"), realm.parse().expect("a name")))
    }

    /// A server of this operator's store, with its log.
    fn server(&self, change: impl FnOnce(Start) -> Start) -> LocalServer {
        change(Start::on(&format!("file:{}", self.data().display()))).spawn()
    }

    fn serve(&self) -> Server {
        let mut command = self.bare_command();
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", "file:data"]).stderr(Stdio::null());
        let mut server = Server(command.stdout(Stdio::piped()).spawn().expect("grantwell starts"));
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        assert!(line.starts_with("listening on http://127.0.0.1:"), "{line}");
        server
    }
}

impl Ended {
    fn of(output: &Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout.clone()).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr.clone()).expect("UTF-8"),
        }
    }

    fn json(&self) -> Value {
        assert_eq!(self.status, Some(0), "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Nothing on stdout, the sentence on stderr.
    fn is_refusal(&self, status: i32, sentence: &str) {
        assert_eq!((self.status, self.stdout.as_str()), (Some(status), ""), "{}", self.stderr);
        assert!(self.stderr.contains(sentence), "{}", self.stderr);
        if status == 1 {
            let last = self.stderr.lines().last().unwrap_or_default();
            assert!(last.starts_with("error: ") && !last.ends_with('.'), "{}", self.stderr);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ids(list: &Value) -> Vec<String> {
    let clients = list["clients"].as_array().expect("a list");
    clients.iter().map(|client| text(&client["client_id"]).to_owned()).collect()
}

fn keys(list: &Value) -> &[Value] {
    list["keys"].as_array().expect("a list")
}

/// Algorithm and status of each key.
fn roles(list: &Value) -> Vec<String> {
    keys(list).iter().map(|key| format!("{} {}", text(&key["alg"]), text(&key["status"]))).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn is_base64url(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The writing end of a pipe that nobody reads.
fn closed_pipe() -> Stdio {
    let (_reader, writer) = io::pipe().expect("a pipe");
    writer.into()
}

#[expect(clippy::disallowed_methods, reason = "the test compares with the system's clock")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The time as the command line writes it, by the system's own arithmetic.
fn utc(second: u64) -> String {
    let date = Command::new("date").args(["-u", "-d", &format!("@{second}"), "+%Y-%m-%d %H:%M:%SZ"]).output();
    String::from_utf8(date.expect("date runs").stdout).expect("text").trim_end().to_owned()
}

fn wait_until(second: u64) {
    while now() < second {
        thread::sleep(std::time::Duration::from_millis(20));
    }
}
