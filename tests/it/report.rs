//! `grantwell report tokens` on lines that a real server has written.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::cli::{Store, grantwell};
use crate::support::server::Start;
use crate::support::shared::STATELESS_JWT;

const SCOPE: [&str; 4] = ["--scope", "a b", "--default-scope", "a"];

fn report(arguments: &[&str], stdin: &str) -> Output {
    let mut child = grantwell()
        .args(["report", "tokens"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("grantwell starts");
    // Where it reads files it does not read this.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    child.wait_with_output().expect("grantwell ends")
}

fn succeeded(arguments: &[&str], stdin: &str) -> String {
    let output = report(arguments, stdin);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json_of(arguments: &[&str], stdin: &str) -> Value {
    serde_json::from_str(&succeeded(arguments, stdin)).expect("JSON")
}

/// What a server writes while three clients fetch 1, 12 and 5 tokens.
fn served(format: &str) -> String {
    let store = Store::new();
    store.set_realm("alpha", &[]);
    let sparing = store.register("root", "sparing", &SCOPE);
    let wasteful = store.register("root", "wasteful", &SCOPE);
    let signed = store.register("alpha", "signed", &[&SCOPE[..], &STATELESS_JWT].concat());
    let resource_server = store.register("root", "rs", &["--scope", "am-introspect-all-tokens"]);
    let mut server = Start::on(&store.argument()).arguments(&["--log-format", format]).spawn();

    let token = server.token(&sparing, "a");
    for _ in 0..3 {
        server.introspect(&resource_server, &token).assert_active();
    }
    let tokens: Vec<_> = (0..10).map(|_| server.token(&wasteful, "a")).collect();
    for _ in 0..2 {
        server.token(&wasteful, "b");
    }
    server.introspect(&resource_server, &tokens[0]).assert_active();
    server.introspect(&wasteful, &tokens[9]).assert_active();
    server.introspect(&resource_server, "gwt_unknown").assert_inactive();
    server.token_request(&wasteful.with_secret("wrong"), "").assert_401("root");
    // Each is given back before the next is fetched.
    for _ in 0..5 {
        let token = server.jwt(&signed, "a", "");
        assert_eq!(server.revoke(&signed, &token).status, 200);
    }
    server.signal("TERM");
    server.wait();
    let (_, log) = server.into_output();
    log
}

#[test]
fn clients_that_fetch_more_than_they_need_are_listed_worst_first_from_a_servers_own_log() {
    let log = served("json");
    let answer = json_of(&["--output", "json"], &log);
    // 10 of one scope and 2 of another: 2 would have done. The JWTs were given back.
    let expected = json!([
        { "realm": "root", "client_id": "wasteful", "issued": 12, "used": 2, "early": 10, "ratio": 6.0 },
        { "realm": "alpha", "client_id": "signed", "issued": 5, "used": 0, "early": 0, "ratio": 1.0 },
        { "realm": "root", "client_id": "sparing", "issued": 1, "used": 1, "early": 0, "ratio": 1.0 },
    ]);
    assert_eq!(answer["clients"], expected, "{log}");
    let lines = log.lines().count() as u64;
    // 18 tokens, 5 introspections that found them active, 5 revocations.
    assert_eq!(answer["lines"], json!({ "read": lines, "skipped": lines - 28 }));
    let (first, last) = (answer["first_issued_at"].as_u64(), answer["last_issued_at"].as_u64());
    assert!(first.is_some_and(|first| first > 1_700_000_000) && first <= last, "{answer}");

    // Twelve lines that nobody could read count for nobody, and the report says so.
    let dropped =
        r#"{"level":"ERROR","dropped":12,"message":"12 log lines were dropped because nobody read stderr, or it"}"#;
    let answer = json_of(&["--output", "json"], &format!("{log}{dropped}\n"));
    assert_eq!(answer["lines"], json!({ "read": lines + 1, "skipped": lines - 27, "dropped": 12 }));
    assert_eq!(answer["clients"], expected);
    let table = succeeded(&["--output", "table"], &format!("{log}{dropped}\n"));
    assert!(table.contains("; the server had dropped 12 more, and what they said is not counted"), "{table}");

    let worst = json_of(&["--min-ratio", "2", "--output", "json"], &log);
    assert_eq!(worst["clients"], json!([expected[0]]));
}

#[test]
fn lines_are_found_in_files_with_anything_around_them_and_count_once() {
    let log = served("json");
    let expected = json_of(&["--output", "json"], &log);
    let directory = TempDir::with_prefix("grantwell-it-").expect("a temporary directory");
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    // As `aws logs tail` and `aws logs filter-log-events --output text` have them; each is read twice, and the later first.
    let mut tailed: Vec<_> = log.lines().map(|line| format!("2026-11-25T02:39:37 {line}\n")).collect();
    tailed.reverse();
    let filtered = log.lines().map(|line| format!("EVENTS\t38\t17954\t2026/11/25/[$LATEST]0a1b\t{line}\t17954\n"));
    let files = [write("tailed", tailed.concat()), write("filtered", filtered.collect()), "-".to_owned()];
    let long = "x".repeat(5 * 1024 * 1024);
    let answer = json_of(&[&files[0], &files[1], &files[2], "--output", "json"], &format!("{long}\nno end"));
    assert_eq!(answer["clients"], expected["clients"]);
    let (read, skipped) = (expected["lines"]["read"].as_u64(), expected["lines"]["skipped"].as_u64());
    let (read, skipped) = (read.expect("a number"), skipped.expect("a number"));
    assert_eq!(answer["lines"], json!({ "read": 2 * read + 2, "skipped": 2 * skipped + 2 }));
}

#[test]
fn people_get_a_table_that_says_what_it_cannot_know() {
    let log = served("json");
    let table = succeeded(&["--output", "table"], &log);
    let (rows, notes) = table.split_once("\n\n").expect("notes");
    assert!(rows.lines().all(|line| line.chars().count() <= 80), "{table}");
    let cells = |line: &str| line.split_whitespace().filter(|cell| *cell != "│").map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<_> = rows.lines().map(cells).collect();
    assert_eq!(rows[1], ["client_id", "realm", "issued", "used", "early", "ratio"], "{table}");
    assert_eq!(rows[3], ["wasteful", "root", "12", "2", "10", "6.00"], "{table}");
    assert!(notes.contains("are about no token and were skipped"), "{table}");
    assert!(notes.contains("so not seen is not unused"), "{table}");
}

#[test]
fn a_log_that_is_no_json_has_nothing_to_report() {
    let log = served("text");
    let answer = json_of(&["--output", "json"], &log);
    assert_eq!((&answer["clients"], &answer["first_issued_at"]), (&json!([]), &Value::Null));
    let table = succeeded(&["--output", "table"], &log);
    assert!(
        table.starts_with("no line says that a token was issued; the log must be JSON and of level info"),
        "{table}"
    );
    let advice =
        "in the form for people, which cannot be counted: start the server with `grantwell serve --log-format json`";
    assert!(table.contains(advice), "{table}");
    let (skipped, text) = (answer["lines"]["skipped"].as_u64(), answer["lines"]["text"].as_u64());
    let others = skipped.zip(text).map(|(skipped, text)| skipped - text).expect("counted");
    let of_which = format!(
        "of which {others} are about no token, and {} are in the form for people and were",
        text.expect("counted")
    );
    assert!(table.contains(&of_which), "{table}");
    assert!(answer["notes"].to_string().contains(advice), "{answer}");
    assert!(answer["lines"]["text"].as_u64() >= Some(18), "as many as there were tokens: {answer}");
    // A log of both, as after a change of the option, is counted and says so.
    let both = json_of(&["--output", "json"], &format!("{log}{}", served("json")));
    assert_eq!(both["clients"].as_array().map(Vec::len), Some(3));
    assert!(both["notes"].to_string().contains(advice), "{both}");

    let empty = succeeded(&["--output", "table"], "nothing\n");
    assert!(empty.contains("unless GRANTWELL_LOG_LEVEL is warn or error"), "{empty}");
    assert!(!json_of(&["--output", "json"], "nothing\n")["notes"].to_string().contains(advice));
}

#[test]
fn collectors_put_braces_of_their_own_around_a_line() {
    let log = served("json");
    let expected = json_of(&["--output", "json"], &log)["clients"].clone();
    let inside =
        |member: &str, line: &str| json!({ "labels": { "app": "x" }, member: format!("{line}\n"), "time": "2026" });
    for (collector, wrapped) in [
        (
            "logcli",
            (&|line: &str| format!(r#"2026-11-25T02:39:37Z {{app="grantwell", pod="x-{{0}}"}} {line}"#))
                as &dyn Fn(&str) -> String,
        ),
        ("docker compose logs", &|line| format!("grantwell-1  | {line}")),
        ("kubectl logs --prefix", &|line| format!("[pod/grantwell-0/server] {line}")),
        ("journalctl", &|line| format!("Nov 25 02:39:37 host grantwell[17]: {line}")),
        ("Docker's files", &|line| inside("log", line).to_string()),
        ("logcli -o jsonl", &|line| inside("line", line).to_string()),
        ("journalctl -o json", &|line| inside("MESSAGE", line).to_string()),
        ("Google Cloud", &|line| format!(r#"{{"severity":"INFO","jsonPayload":{line},"labels":{{}}}}"#)),
    ] {
        let lines: String = log.lines().map(|line| wrapped(line) + "\n").collect();
        assert_eq!(json_of(&["--output", "json"], &lines)["clients"], expected, "{collector}");
    }
}

#[test]
fn what_cannot_be_read_or_means_nothing_is_refused() {
    for (arguments, status, sentence) in [
        (&["/nonexistent/server.log"][..], 1, "error: /nonexistent/server.log cannot be read"),
        (&["/"], 1, "error: / cannot be read"),
        (&["--min-ratio", "0.5"], 2, "a ratio is a number of 1 or more"),
        (&["--min-ratio", "nan"], 2, "a ratio is a number of 1 or more"),
        (&["--min-ratio", "inf"], 2, "a ratio is a number of 1 or more"),
        (&["--output", "yaml"], 2, "[possible values: table, json]"),
    ] {
        let output = report(arguments, "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(status), 0), "{arguments:?}: {stderr}");
        assert!(stderr.contains(sentence), "{arguments:?}: {stderr}");
    }
}
