//! Secrets of clients: given, generated, rotated, and never shown again.

use std::fs::{self, File};

use serde_json::json;

use super::operator::{CREATE, Operator, closed_pipe, files, now, text, wait_until};

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
                .starts_with("note: NO NEW SECRET WAS MADE: the current secret of client 'myClient' stays valid"),
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
            "warning: only a deployed stack rotates secrets on a schedule; the number of days is recorded, but the secret stays the same \
             until you run: grantwell client rotate-secret {id} --realm alpha\n"
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
    let unchanged = "note: nothing was changed: client 'myClient' already has the values that were given\n";
    for (change, note) in
        [(["--name", "n"], ""), (["--secret-rotation-days", "0"], ""), (["--secret-rotation-days", ""], unchanged)]
    {
        let updated = alpha(&[&["update", "myClient"][..], &change].concat());
        assert_eq!((updated.status, updated.stderr.as_str()), (Some(0), note), "{change:?}");
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
        "client 'myClient' has a new secret, but it could not be shown to you: standard output was closed; make another one with: grantwell \
         client rotate-secret myClient",
    );
    let full = operator.run_with(|command| {
        let full = File::options().write(true).open("/dev/full").expect("a device that is always full");
        command.args(["client", "rotate-secret", "myClient"]).stdout(full);
    });
    full.is_refusal(
        1,
        "client 'myClient' has a new secret, but it could not be shown to you: the answer could not be written",
    );
}
