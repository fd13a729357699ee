//! `grantwell describe`: the tables that it writes are those of the server.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::cli::grantwell;
use crate::support::http::Request;
use crate::support::shared::shared;

fn described() -> Value {
    let output = grantwell().arg("describe").output().expect("grantwell runs");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn rows<'a>(tables: &'a Value, name: &str) -> &'a Vec<Value> {
    tables[name].as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[test]
fn every_path_answers_to_its_method_alone() {
    let tables = described();
    let refused = rows(&tables, "errors").iter().find(|row| row["status"] == 405).expect("a row for 405");
    let mut paths = BTreeSet::new();
    for route in rows(&tables, "routes") {
        for path in rows(route, "paths") {
            let path = text(path).replace("{realm}", "alpha");
            let answer = Request::new("PUT", &path).send(&shared().server);
            assert_eq!(answer.status, 405, "{path}: {answer:?}");
            let allowed = if route["method"] == "GET" { "GET, HEAD" } else { text(&route["method"]) };
            assert_eq!(answer.header("allow"), Some(allowed), "{path}");
            assert_eq!(answer.json()["error_description"], refused["description"]);
            assert!(paths.insert(path.clone()), "{path} is there twice");
        }
    }
    assert!(paths.len() >= 42, "the table is not whole");
}

#[test]
fn every_metric_reason_and_error_is_there_once() {
    let tables = described();
    let reasons: BTreeSet<_> = rows(&tables, "reasons").iter().map(|row| text(&row["name"])).collect();
    // `invalid_client` is in the table by its reasons alone.
    assert!(
        reasons.contains("wrong_secret") && reasons.contains("server_error") && !reasons.contains("invalid_client")
    );
    assert_eq!(reasons.len(), rows(&tables, "reasons").len());
    let metrics: BTreeSet<_> = rows(&tables, "metrics").iter().map(|row| text(&row["name"])).collect();
    assert!(metrics.contains("TokensIssued"));
    assert_eq!(metrics.len(), rows(&tables, "metrics").len());
    let errors: BTreeSet<_> = rows(&tables, "errors").iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), rows(&tables, "errors").len());
    assert!(errors.iter().any(|row| row.contains("server_error") && row.contains("500")), "{errors:?}");
}

#[test]
fn nobody_is_told_of_it() {
    let output = grantwell().arg("--help").output().expect("grantwell runs");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("describe"));
}
