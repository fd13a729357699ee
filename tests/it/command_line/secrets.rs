//! Secrets of clients: given, generated, rotated, and never shown again.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::operator::{CREATE, Operator, closed_pipe, files, now, text, utc, wait_until};
use crate::support::cli::basic;
use crate::support::http::Request;
use crate::support::poll;
use crate::support::server::Server;

#[test]
fn a_secret_from_standard_input_is_its_first_line() {
    let operator = Operator::with_client();
    for (id, input, expected) in [
        ("lf", "0123456789abcdef\n", "0123456789abcdef"),
        ("crlf", "0123456789abcdef\r\n", "0123456789abcdef"),
        ("bare", "0123456789abcdef", "0123456789abcdef"),
        ("spaces", " 23456789abcdef \n", " 23456789abcdef "),
        ("more", "0123456789abcdef\nsecond line", "0123456789abcdef"),
        ("longest", &"x".repeat(512), &"x".repeat(512)),
    ] {
        let ended = operator.fed(&["client", "create", "--id", id, "--scope", "a", "--secret-stdin"], input);
        assert_eq!(ended.json()["client_secret"], expected, "{id}");
        assert_eq!(ended.stderr.starts_with("warning: "), id == "spaces", "{id}: {}", ended.stderr);
    }
}

#[test]
fn a_secret_that_form_encoding_changes_is_accepted_with_a_warning_that_does_not_repeat_it() {
    let operator = Operator::with_clients(&["another"]);
    let ended = operator.fed(&[&CREATE[..], &["--scope", "a", "--secret-stdin"]].concat(), "canary+canary/canary=\n");
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
            "previous_secret_expires_at": 0,
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
fn a_rotation_to_the_secret_that_is_current_changes_nothing_and_says_so() {
    let operator = Operator::new();
    let first =
        text(&operator.json(&[&CREATE[..], &["--scope", "a", "--default-scope", "a"]].concat())["client_secret"])
            .to_owned();
    let server = operator.server(|start| start);
    let opens = |secret: &str| {
        let request = Request::form("/oauth2/access_token", "grant_type=client_credentials");
        request.header("Authorization", basic("myClient", secret)).send(&server).status == 200
    };
    let given = "0123456789abcdef";
    let rotate = ["client", "rotate-secret", "myClient", "--secret-stdin"];
    assert_eq!(operator.fed(&rotate, given).json()["previous_secret_valid"], true);
    let before = operator.json(&["client", "show", "myClient"]);

    // A script that is run again, by somebody who did not see the first answer.
    for _ in 0..2 {
        let again = operator.fed(&rotate, given);
        let expected = json!({
            "client_id": "myClient",
            "client_secret": given,
            "client_secret_expires_at": 0,
            "realm": "root",
            "previous_secret_valid": true,
            "previous_secret_expires_at": 0,
        });
        assert_eq!(again.json(), expected);
        assert_eq!(
            again.stderr,
            "note: NOTHING WAS CHANGED: the secret that was given is already the current one of client 'myClient', and the previous one stays as it \
             is; to replace the current one, give another secret\n"
        );
        assert_eq!(operator.json(&["client", "show", "myClient"]), before);
    }
    let within = Duration::from_secs(30);
    poll("the true previous secret works", within, || (opens(&first) && opens(given)).then_some(()));

    // Nor is anything done by halves where more is asked for, and the previous one does not become both.
    let current = "the secret that was given is already the current one of client 'myClient', so nothing was changed";
    for more in [&["--secret-lifetime", "1d"][..], &["--previous-lifetime", "1h"], &["--replace-current"]] {
        operator.fed(&[&rotate[..], more].concat(), given).is_refusal(1, current);
    }
    let previous = "the secret that was given is the previous one of client 'myClient', so nothing was changed";
    operator.fed(&[&rotate[..], &["--replace-current"]].concat(), &first).is_refusal(1, previous);
    assert_eq!(operator.json(&["client", "show", "myClient"]), before);

    // Back to the previous one is a rotation: both stay valid.
    assert_eq!(operator.fed(&rotate, &first).json()["previous_secret_valid"], true);
    poll("both work", within, || (opens(&first) && opens(given)).then_some(()));

    // One that has expired does not come back to life.
    operator.json(&["client", "update", "myClient", "--secret-lifetime", "1"]);
    poll("it has expired", within, || (!opens(&first)).then_some(()));
    operator.fed(&[&rotate[..], &["--secret-lifetime", "1d"]].concat(), &first).is_refusal(1, current);
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
fn a_rotation_by_schedule_is_refused_where_nothing_rotates() {
    let refusal = |id: &str| {
        format!(
            "only a deployed stack rotates secrets on a schedule, and this store is a local one; leave out --secret-rotation-days, and \
             rotate the secret when it is time with `grantwell client rotate-secret {id}`"
        )
    };
    let operator = Operator::new();
    operator.refused(&[&CREATE[..], &["--secret-rotation-days", "30"]].concat(), 1, &refusal("myClient"));
    assert!(!operator.data().exists(), "nothing was made for it");
    operator.json(&CREATE);
    operator.refused(&["client", "update", "myClient", "--secret-rotation-days", "90d"], 1, &refusal("myClient"));
    for never in ["0", ""] {
        operator.json(&["client", "update", "myClient", "--secret-rotation-days", never]);
    }
    let shown = operator.json(&["client", "show", "myClient"]);
    assert_eq!(shown["client_secret_rotation_days"], Value::Null);
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
        "client 'myClient' has a new secret, but it could not be shown to you: standard output was closed; make another one, which keeps \
         the previous one valid, with `grantwell client rotate-secret myClient --replace-current`",
    );
    let full = operator.run_with(|command| {
        let full = File::options().write(true).open("/dev/full").expect("a device that is always full");
        command.args(["client", "rotate-secret", "myClient"]).stdout(full);
    });
    full.is_refusal(
        1,
        "client 'myClient' has a new secret, but it could not be shown to you: the answer could not be written",
    );

    // Closed by the shell, not by whoever reads it.
    for arguments in ["rotate-secret myClient", "create --id another"] {
        let shut = operator.run_with(|command| {
            let line = format!("exec \"$0\" client {arguments} >&-");
            let program = command.get_program().to_owned();
            let mut shell = Command::new("sh");
            shell
                .arg("-c")
                .arg(line)
                .arg(program)
                .current_dir(operator.home.path())
                .env("GRANTWELL_STORE", "file:data");
            shell.stdout(Stdio::piped()).stderr(Stdio::piped());
            *command = shell;
        });
        shut.is_refusal(
            1,
            "has a new secret, but it could not be shown to you: standard output was closed; make another",
        );
    }
    let thrown_away = operator.run_with(|command| {
        command.args(["client", "rotate-secret", "myClient"]).stdout(Stdio::null());
    });
    assert_eq!(thrown_away.status, Some(0), "somebody wants it so: {}", thrown_away.stderr);

    // The whole command: where the options named another place, it names it too.
    operator.json(&["realm", "set", "alpha"]);
    let elsewhere = operator.run_with(|command| {
        let create = ["client", "create", "--id", "c", "--realm", "alpha", "--store", "file:another place"];
        command.args(["realm", "set", "alpha", "--store", "file:another place"]);
        let mut then = operator.bare_command();
        assert!(command.output().expect("runs").status.success());
        then.args(create).stdout(closed_pipe()).stderr(Stdio::piped());
        *command = then;
    });
    elsewhere.is_refusal(
        1,
        "with `grantwell client rotate-secret c --replace-current --realm alpha --store 'file:another place'`",
    );
}

/// Whether the server answers with a token.
fn is_accepted(server: &Server, id: &str, secret: &Value) -> bool {
    let request = Request::form("/oauth2/access_token", "grant_type=client_credentials&scope=read");
    request.header("Authorization", basic(id, text(secret))).send(server).status == 200
}

#[test]
fn a_lost_secret_is_replaced_and_the_applications_own_stays_valid() {
    let operator = Operator::new();
    let scope = ["--scope", "read", "--access-token-format", "opaque"];
    let first = operator.json(&[&CREATE[..], &scope].concat())["client_secret"].clone();
    let lost = operator.json(&["client", "rotate-secret", "myClient"])["client_secret"].clone();
    let replaced = operator.run(&["client", "rotate-secret", "myClient", "--replace-current"]);
    assert_eq!(replaced.stderr, "", "nothing to warn of");
    let replaced = replaced.json();
    assert_eq!(
        (&replaced["previous_secret_valid"], &replaced["previous_secret_expires_at"]),
        (&json!(true), &json!(0))
    );
    let server = operator.server(|start| start);
    for (secret, expected) in [(&first, true), (&lost, false), (&replaced["client_secret"], true)] {
        assert_eq!(is_accepted(&server, "myClient", secret), expected);
    }

    let twice = operator.run(&["client", "rotate-secret", "myClient"]);
    assert!(twice.json()["client_secret"].is_string());
    for part in [
        "warning: the last rotation was only ",
        "and the secret before it, which the application may still use, no longer works",
        "replace it with `grantwell client rotate-secret myClient --replace-current`, which keeps the previous one valid",
    ] {
        assert!(twice.stderr.contains(part), "{}", twice.stderr);
    }
    let only = Operator::with_client();
    let kept = only.run(&["client", "rotate-secret", "myClient", "--replace-current"]);
    assert_eq!(kept.json()["previous_secret_valid"], true);
    assert_eq!(
        kept.stderr,
        "note: client 'myClient' had no valid secret besides the current one, so that one stays valid beside the new one; end it with \
         `grantwell client rotate-secret myClient --revoke-previous`\n"
    );
    for other in [&["--replace-current"][..], &["--previous-lifetime", "24h"]] {
        let arguments = [&["client", "rotate-secret", "myClient", "--revoke-previous"], other].concat();
        operator.refused(&arguments, 2, "cannot be used with");
    }
}

#[test]
fn the_previous_secret_has_an_end_of_its_own_which_show_says() {
    let operator = Operator::new();
    let created_at = now();
    let scope = ["--scope", "read", "--access-token-format", "opaque"];
    let first = operator.json(&[&CREATE[..], &scope].concat())["client_secret"].clone();
    let show = || operator.json(&["client", "show", "myClient"]);
    let seconds = |value: &Value| value.as_u64().expect("seconds");
    let shown = show();
    assert!((created_at..=now()).contains(&seconds(&shown["client_secret_issued_at"])), "{shown}");
    assert_eq!((&shown["previous_secret_valid"], &shown["previous_secret_expires_at"]), (&json!(false), &Value::Null));

    let rotated_at = now();
    let rotated = operator.json(&["client", "rotate-secret", "myClient", "--previous-lifetime", "24h"]);
    let ends_at = seconds(&rotated["previous_secret_expires_at"]);
    assert!((rotated_at + 86_400..=now() + 86_400).contains(&ends_at), "{rotated}");
    assert_eq!(rotated["client_secret_expires_at"], 0, "the new one has no end");
    let shown = show();
    assert_eq!(
        (&shown["previous_secret_valid"], seconds(&shown["previous_secret_expires_at"])),
        (&json!(true), ends_at)
    );
    assert!((created_at..=rotated_at).contains(&seconds(&shown["previous_secret_issued_at"])), "{shown}");
    let table = operator.run(&["client", "show", "myClient", "--output", "table"]).stdout;
    let said = format!("yes, until {}", utc(ends_at));
    assert!(table.contains(&said) && table.contains(&utc(seconds(&shown["client_secret_issued_at"]))), "{table}");

    // A second of its own, and then it is over; the end of all of them comes before that of one.
    operator.json(&["client", "rotate-secret", "myClient", "--replace-current", "--previous-lifetime", "2"]);
    let server = operator.server(|start| start);
    let end = seconds(&show()["previous_secret_expires_at"]);
    wait_until(end);
    assert!(!is_accepted(&server, "myClient", &first));
    assert_eq!(show()["previous_secret_valid"], false);
    let both = ["client", "rotate-secret", "myClient", "--previous-lifetime", "2h", "--secret-lifetime", "1h"];
    let both = operator.json(&both);
    assert_eq!(both["previous_secret_expires_at"], both["client_secret_expires_at"]);

    for (lifetime, sentence) in [
        ("0", "a previous secret stays valid for 1 second to 100 years; to end it at once, use --revoke-previous"),
        ("3154000000", "a previous secret stays valid for 1 second to 100 years"),
        ("soon", "a duration is a whole number of seconds, or a number with a unit such as 45m, 24h or 90d"),
    ] {
        operator.refused(&["client", "rotate-secret", "myClient", "--previous-lifetime", lifetime], 2, sentence);
    }
}
