//! The variables that stand for options of the command, and those of the server.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use serde_json::Value;

use super::operator::{Ended, Operator};

/// `arguments` with one variable more.
fn with(operator: &Operator, variable: (&str, &str), arguments: &[&str]) -> Ended {
    operator.run_with(|command| {
        command.args(arguments).env(variable.0, variable.1);
    })
}

#[test]
fn the_realm_of_the_variable_is_the_realm_of_every_command_that_has_one() {
    let operator = Operator::new();
    let in_alpha = |arguments: &[&str]| with(&operator, ("GRANTWELL_REALM", "alpha"), arguments).json();
    assert_eq!(in_alpha(&["realm", "set", "--token-lifetime", "900"])["realm"], "alpha");
    assert_eq!(in_alpha(&["realm", "set", "--revoke-tokens"])["realm"], "alpha");
    assert_eq!(in_alpha(&["realm", "show"])["access_token_lifetime"], 900);
    assert_eq!(in_alpha(&["client", "create", "--id", "myClient"])["realm"], "alpha");
    assert_eq!(in_alpha(&["client", "show", "myClient"])["realm"], "alpha");
    assert_eq!(in_alpha(&["key", "list"])["realm"], "alpha");

    // What is named on the command line is what is meant.
    assert_eq!(in_alpha(&["realm", "show", "root"])["realm"], "root");
    assert_eq!(in_alpha(&["realm", "show", "--realm", "root"])["realm"], "root");
    let root = operator.json(&["realm", "show", "root"]);
    assert_eq!((&root["access_token_lifetime"], &root["tokens_valid_after"]), (&Value::Null, &Value::from(0)));
    assert_eq!(in_alpha(&["realm", "list"])["realms"].as_array().map(Vec::len), Some(2), "all of them");
}

#[test]
fn an_empty_variable_is_one_that_is_not_set() {
    let operator = Operator::with_client();
    for arguments in [&["client", "show", "myClient"][..], &["realm", "show"], &["realm", "set"], &["key", "list"]] {
        assert_eq!(with(&operator, ("GRANTWELL_REALM", ""), arguments).json()["realm"], "root", "{arguments:?}");
    }
    let elsewhere = Operator::new();
    for arguments in [&["client", "create", "--id", "x"][..], &["client", "show", "x"], &["realm", "show"]] {
        with(&elsewhere, ("GRANTWELL_STORE", ""), arguments).json();
    }
    assert!(elsewhere.home.path().join("grantwell-data").is_dir(), "the default of the option");
}

#[test]
fn what_is_wrong_with_a_variable_is_said_with_its_name() {
    let operator = Operator::with_client();
    let realm = "GRANTWELL_REALM cannot be read: a realm name has 1 to 64 characters";
    let store = "GRANTWELL_STORE cannot be read: a store is file:DIR, memory or aws";
    for arguments in [&["client", "list"][..], &["realm", "show"], &["realm", "set"], &["key", "list"]] {
        with(&operator, ("GRANTWELL_REALM", "a/b"), arguments).is_refusal(1, realm);
        with(&operator, ("GRANTWELL_STORE", "data"), arguments).is_refusal(1, store);
    }
    for arguments in [&["realm", "list"][..], &["secrets", "bind"], &["serve", "--listen", "127.0.0.1:0"]] {
        with(&operator, ("GRANTWELL_STORE", "data"), arguments).is_refusal(1, store);
    }
    for (name, value, problem) in [
        ("GRANTWELL_LOG_LEVEL", "loud", "a log level is error, warn, info, debug or trace"),
        ("GRANTWELL_ACCESS_TOKEN_LIFETIME", "soon", "a token lifetime is 1 to 2592000 seconds"),
        ("GRANTWELL_PUBLIC_URL", "example.com", "a public URL is http(s)://HOST[:PORT][/PATH]"),
    ] {
        let ended = with(&operator, (name, value), &["serve", "--listen", "127.0.0.1:0"]);
        ended.is_refusal(1, &format!("{name} cannot be read: {problem}"));
    }
    for (value, problem) in [
        ("9464", "GRANTWELL_METRICS_LISTEN 9464 is not HOST:PORT"),
        ("0.0.0.0:0", "GRANTWELL_METRICS_LISTEN 0.0.0.0:0 is not a loopback address"),
        ("192.0.2.1:1", "GRANTWELL_METRICS_LISTEN 192.0.2.1:1 is not a loopback address"),
    ] {
        let ended = with(&operator, ("GRANTWELL_METRICS_LISTEN", value), &["serve", "--listen", "127.0.0.1:0"]);
        ended.is_refusal(1, problem);
    }
    let all_realms = with(&operator, ("GRANTWELL_REALM", "*"), &["client", "show", "a"]);
    all_realms.is_refusal(1, "GRANTWELL_REALM is '*', and only client list goes through all realms; name the realm");
    for name in ["GRANTWELL_REALM", "GRANTWELL_STORE"] {
        let ended = operator.run_with(|command| {
            command.args(["client", "list"]).env(name, OsStr::from_bytes(b"\xff"));
        });
        ended.is_refusal(1, &format!("{name} cannot be read: it is not UTF-8"));
    }
    // A value on the command line is a value of the option, and the variable is not looked at.
    with(&operator, ("GRANTWELL_REALM", "a/b"), &["client", "list", "--realm", "root"]).json();
}
