//! Values of members in one line each: what is long is shortened, since JSON has it whole.

use std::fmt::Write as _;

use serde_json::Value;

use crate::output;

/// A value.
pub(super) fn text(member: &str, value: &Value) -> String {
    shortened(&whole(member, value))
}

/// What becomes of a value. Where both look the same after they were shortened, it says so.
pub(super) fn change(member: &str, before: &Value, after: &Value) -> String {
    let (old, new) = (text(member, before), text(member, after));
    if old != new {
        return format!("{old} -> {new}");
    }
    format!("{old} -> another that looks the same here (--output json has both)")
}

fn whole(member: &str, value: &Value) -> String {
    match (member, value) {
        (_, Value::Null) => "not set".to_owned(),
        // A line each, of which people know keys, rules and authorities.
        ("jwks" | "jwks_uri_ca" | "trust" | "trusted_issuers", _) => {
            let lines = output::member_text(member, value, "not set").replace("thumbprint\n", "thumbprint ");
            let mut parts = lines.lines().map(str::trim).collect::<Vec<_>>().join("; ");
            if parts.is_empty() {
                parts = value.to_string();
            }
            parts
        }
        _ => value.to_string(),
    }
}

/// The text, or its beginning; nothing in it moves a terminal's cursor or turns its text around.
fn shortened(text: &str) -> String {
    let plain = plain(text);
    let count = plain.chars().count();
    if count <= LONG {
        return plain;
    }
    let beginning: String = plain.chars().take(SHORT).collect();
    format!("{beginning}... ({count} characters)")
}

fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, character| {
        let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns {
            write!(plain, "\\u{:04x}", u32::from(character)).unwrap_or_default();
        } else {
            plain.push(character);
        }
        plain
    })
}

/// More than this is not read.
const LONG: usize = 200;
const SHORT: usize = 160;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_long_is_shortened_and_says_so() {
        let long = json!({ "tenants": (0..200).map(|number| format!("tenant-{number}")).collect::<Vec<_>>() });
        let shown = text("access_token_claims", &long);
        assert!(shown.starts_with(r#"{"tenants":["tenant-0","#) && shown.ends_with(" characters)"), "{shown}");
        assert!(shown.chars().count() < LONG, "{shown}");
        assert_eq!(text("scope", &json!("read write")), r#""read write""#);
        assert_eq!(text("scope", &Value::Null), "not set");
        let mut other = long.clone();
        other["tenants"][199] = json!("tenant-abc");
        assert!(
            change("access_token_claims", &long, &other)
                .ends_with("-> another that looks the same here (--output json has both)")
        );
    }

    #[test]
    fn rules_and_keys_are_what_people_know_of_them() {
        let rules = json!([
            { "name": "deploy", "issuer": "https://issuer.example", "claims": [{ "path": ["sub"], "equals": "a" }] },
            { "name": "test", "issuer": "https://issuer.example", "claims": [{ "path": ["sub"], "glob": "b*" }] },
        ]);
        assert_eq!(
            text("trust", &rules),
            "deploy: https://issuer.example, sub = a; test: https://issuer.example, sub like b*"
        );
        let jwks = json!({ "keys": [
            { "kid": "one", "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }
        ] });
        let shown = text("jwks", &jwks);
        assert!(shown.starts_with("one: ") && !shown.contains("11qYAY"), "{shown}");
    }

    #[test]
    fn nothing_moves_the_cursor_or_turns_text_around() {
        let shown = text("client_name", &json!("a\u{9b}2J\u{202e}b\u{1b}[1m"));
        assert_eq!(shown, "\"a\\u009b2J\\u202eb\\u001b[1m\"");
    }
}
