//! Files of trust rules, and the lines that show rules.

use std::path::Path;

use serde_json::{Map, Value};

use grantwell::core::trust::limits;
use grantwell::core::trust::rule::{InvalidTrust, TrustRules};

use crate::document::{self, Fault};

/// Why there are no rules in a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnreadableTrust {
    #[error(transparent)]
    File(#[from] Fault),
    #[error(
        "it has no trust rule: write one rule, a list of rules, or an object with the list as its member \"trust\""
    )]
    NoRules,
    #[error(transparent)]
    Invalid(#[from] InvalidTrust),
}

/// Reads the rules of a file, or of standard input where it is called `-`.
pub(crate) fn read(path: &str) -> Result<TrustRules, UnreadableTrust> {
    let text = document::read(Path::new(path), MOST_BYTES)?;
    parse(&text)
}

/// One rule a line, or more than one where it is long: what it demands, in the order of the format.
pub(crate) fn lines(rules: &Value) -> String {
    let rules = rules.as_array().into_iter().flatten().filter_map(Value::as_object);
    rules.map(line).collect::<Vec<_>>().join("\n")
}

fn parse(text: &str) -> Result<TrustRules, UnreadableTrust> {
    let written = match document::parse(text)? {
        Value::Array(rules) => rules,
        Value::Object(mut members) if members.len() == 1 && members.contains_key("trust") => {
            match members.remove("trust") {
                Some(Value::Array(rules)) => rules,
                _ => return Err(UnreadableTrust::NoRules),
            }
        }
        rule @ Value::Object(_) => vec![rule],
        _ => return Err(UnreadableTrust::NoRules),
    };
    if written.is_empty() {
        return Err(UnreadableTrust::NoRules);
    }
    Ok(TrustRules::parse(written)?)
}

fn line(rule: &Map<String, Value>) -> String {
    let text = |name: &str| rule.get(name).and_then(Value::as_str);
    let mut parts = Vec::new();
    if let Some(aws) = rule.get("aws").and_then(Value::as_object) {
        let member = |name: &'static str| aws.get(name).and_then(Value::as_str).map(|value| (name, value));
        let named = ["partition", "account", "organization", "organization_path", "role", "role_id"];
        let named = named.into_iter().filter_map(member);
        parts.extend(named.map(|(name, value)| format!("{} {value}", name.replace('_', " "))));
        let tags = aws.get("tags").and_then(Value::as_object);
        parts.extend(tags.into_iter().flatten().map(|(key, value)| format!("tag {key}={}", plain(value))));
    }
    parts.extend(text("issuer").map(str::to_owned));
    parts.extend(rule.get("claims").and_then(Value::as_array).into_iter().flatten().map(claim));
    parts.extend(rule.get("max_age").map(|seconds| format!("at most {seconds} s old")));
    if rule.get("single_use") == Some(&Value::Bool(true)) {
        parts.push("each token once".to_owned());
    }
    let observed = if text("mode") == Some("observe") { " (only observed)" } else { "" };
    format!("{}{observed}: {}", text("name").unwrap_or_default(), parts.join(", "))
}

fn claim(test: &Value) -> String {
    let path: Vec<&str> = test["path"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let path = path.join(".");
    if let Some(values) = test["in"].as_array() {
        format!("{path} = {}", values.iter().map(plain).collect::<Vec<_>>().join(" or "))
    } else if let Some(glob) = test["glob"].as_str() {
        format!("{path} like {glob}")
    } else if let Some(present) = test["present"].as_bool() {
        format!("{path} is {}", if present { "there" } else { "not there" })
    } else {
        format!("{path} = {}", plain(&test["equals"]))
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Of a file; comments and indentation included.
const MOST_BYTES: usize = 4 * limits::BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        let rules = parse(text).map_err(|error| error.to_string())?;
        Ok(lines(&serde_json::to_value(&rules).expect("JSON")))
    }

    const ORDERS: &str = "orders: account 111122223333, role Orders";

    #[test]
    fn rules_are_read_from_json_and_from_yaml() {
        for text in [
            r#"{"name": "orders", "aws": {"account": "111122223333", "role": "Orders"}}"#,
            r#"[{"name": "orders", "aws": {"account": "111122223333", "role": "Orders"}}]"#,
            r#" {"trust": [{"name": "orders", "aws": {"account": "111122223333", "role": "Orders"}}]}"#,
            "name: orders\naws:\n  account: \"111122223333\"\n  role: Orders\n",
            "# who\n- name: orders\n  aws: {account: '111122223333', role: Orders}\n",
            "trust:\n  - name: orders\n    aws:\n      account: '111122223333'\n      role: Orders\n",
        ] {
            assert_eq!(shown(text).as_deref(), Ok(ORDERS), "{text}");
        }
    }

    #[test]
    fn numbers_of_yaml_lose_nothing_in_silence() {
        let account = |account: &str| shown(&format!("name: orders\naws:\n  account: {account}\n"));
        assert_eq!(
            account("111122223333"),
            Err("rule 'orders': aws.account: has to be text: write it in quotes".to_owned())
        );
        assert!(
            account("012345678901")
                .is_err_and(|error| error.starts_with("line 3, column 12: a number with a leading zero"))
        );
        let claim = |value: &str| {
            let issuer = "https://login.example.com";
            shown(&format!("name: a\nissuer: {issuer}\nclaims:\n  - path: [id]\n    equals: {value}\n"))
                .map(|line| line.replace("a: https://login.example.com, id = ", ""))
        };
        assert_eq!(claim("123456"), Ok("123456".to_owned()));
        assert_eq!(claim("'0123'"), Ok("0123".to_owned()));
        assert_eq!(claim("true"), Ok("true".to_owned()));
        // Words that older versions of YAML take for true and false.
        assert_eq!(claim("on"), Ok("on".to_owned()));
        assert!(claim("1.0").is_err());
    }

    #[test]
    fn what_is_not_rules_is_named() {
        let no_rules =
            "it has no trust rule: write one rule, a list of rules, or an object with the list as its member \"trust\"";
        for text in ["[]", "7", "\"x\"", "{\"trust\": 7}", "", "# nothing\n"] {
            assert_eq!(shown(text), Err(no_rules.to_owned()), "{text}");
        }
        for text in
            ["{\"name\": ", "[", "{\"name\": \"a\", \"name\": \"b\"}", "name: a\nname: b\n", "a: [", "- a\nb: c"]
        {
            let error = shown(text).expect_err(text);
            assert!(error.starts_with("line ") && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn a_rule_is_shown_in_words() {
        let text = r#"[
            {"name": "billing", "aws": {"organization": "o-a1b2c3d4e5", "organization_path": "o-a1b2c3d4e5/r-ab12/", "role": "svc-*",
                "tags": {"team": "billing"}}, "mode": "observe"},
            {"name": "deploy", "issuer": "https://login.example.com", "max_age": 60, "single_use": true, "claims": [
                {"path": ["id"], "in": ["1", "2"]}, {"path": ["a", "b"], "glob": "x*"}, {"path": ["c"], "present": false}]}
        ]"#;
        let expected = "billing (only observed): organization o-a1b2c3d4e5, organization path o-a1b2c3d4e5/r-ab12/, role svc-*, tag team=billing
deploy: https://login.example.com, id = 1 or 2, a.b like x*, c is not there, at most 60 s old, each token once";
        assert_eq!(shown(text).as_deref(), Ok(expected));
    }
}
