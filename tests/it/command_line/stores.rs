//! `--store`: where the registry is, and whose.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::json;

use super::operator::{Ended, Operator, files, ids};

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
        ended.is_refusal(
            1,
            "the memory store exists only inside the server's process, so this command cannot manage it;",
        );
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

#[test]
fn a_suggested_command_works_on_the_same_store_and_realm() {
    let operator = Operator::with_client();
    let refused = |arguments: &[&str]| operator.run(&[arguments, &["--store", "file:my data"]].concat());
    let (there, here) = ("--store 'file:my data'", |sentence: &str| format!("{sentence} --store 'file:my data'"));
    refused(&["client", "list"]).is_refusal(1, &here("register a first client with: grantwell client create"));
    refused(&["client", "create", "--realm", "alpha"])
        .is_refusal(1, &here("or make it with `grantwell realm set alpha"));
    let created = refused(&["client", "create", "--id", "c"]);
    assert!(
        created.stderr.contains(&format!("`grantwell client update c --scope SCOPE {there}`")),
        "{}",
        created.stderr
    );
    refused(&["client", "create", "--id", "c"]).is_refusal(1, &format!("`grantwell client update c {there}`"));
    refused(&["client", "show", "d"]).is_refusal(1, &here("list its clients with: grantwell client list"));
    refused(&["realm", "show", "beta"]).is_refusal(1, &here("or make it with `grantwell realm set beta"));
    refused(&["key", "revoke", "k"]).is_refusal(1, &here("list its keys with: grantwell key list"));
    let quota = refused(&["realm", "set", "--token-quota-mode", "observe"]);
    let suggestion = format!("`grantwell realm set root --token-quota NUMBER/hour {there}`");
    assert!(quota.stderr.contains(&suggestion), "{}", quota.stderr);

    // The variable names another realm, so a suggestion for root has to name root.
    let of_root = operator.run_with(|command| {
        command.args(["client", "show", "d", "--realm", "root"]).env("GRANTWELL_REALM", "beta");
    });
    of_root.is_refusal(1, "list its clients with: grantwell client list --realm root");
}
