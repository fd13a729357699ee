//! `grantwell token inspect`: a JWT is read here, and nothing of what is not one is repeated.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::operator::Operator;

#[test]
fn a_jwt_is_read_from_standard_input_or_a_file_and_sent_nowhere() {
    let operator = Operator::new();
    let (header, claims) =
        (json!({"alg": "ES256", "kid": "k"}), json!({"iss": "https://auth.example.com", "exp": 1_000}));
    let token = jwt(&header, &claims);
    let answer = json!({"access_token": token, "token_type": "Bearer"}).to_string();
    std::fs::write(operator.home.path().join("token"), &token).expect("written");
    // A proxy that is nowhere: who asked anybody would fail.
    for ended in [
        operator.fed(&["token", "inspect"], &token),
        operator.fed(&["token", "inspect", "-"], &format!("{token}\n")),
        operator.fed(&["token", "inspect"], &format!("Bearer {token}\n")),
        operator.fed(&["token", "inspect"], &answer),
        operator.run(&["token", "inspect", "token"]),
    ] {
        let shown = ended.json();
        assert_eq!((&shown["header"], &shown["claims"]), (&header, &claims));
        assert_eq!((&shown["expired"], &shown["signature_verified"]), (&json!(true), &json!(false)));
        assert!(ended.stderr.contains("sent to nobody; its signature was not verified"), "{}", ended.stderr);
    }
    let table = operator.fed(&["token", "inspect", "--output", "table"], &token).stdout;
    assert!(table.contains("1000 (1970-01-01 00:16:40Z, ") && table.contains("https://auth.example.com"), "{table}");
    let endless = operator.fed(&["token", "inspect"], &jwt(&header, &json!({}))).json();
    assert_eq!(endless["expired"], Value::Null);
}

#[test]
fn what_is_not_a_jwt_is_refused_and_not_repeated() {
    let operator = Operator::new();
    let marked = "c2VjcmV0LXRleHQ";
    for (input, why) in [
        (String::new(), "there is no token"),
        (marked.to_owned(), "the token is not a JWT: an opaque token says nothing by itself"),
        (format!("{marked}.{marked}.{marked}"), "what was given is not a JWT"),
        (format!("{marked}.{marked}"), "what was given is not a JWT"),
        (format!("{marked}.{marked}.{marked}.{marked}.{marked}"), "encrypted JWT"),
        (format!(r#"{{"token": "{marked}"}}"#), "there is no token"),
        (r#"{"error": "invalid_client"}"#.to_owned(), "there is no token"),
        (format!("{marked} {marked}"), "give the token and nothing else"),
        (marked.repeat(5_000), "longer than 64 KiB"),
    ] {
        let ended = operator.fed(&["token", "inspect"], &input);
        ended.is_refusal(1, why);
        assert!(!ended.stderr.contains(marked), "{}", ended.stderr);
    }
    // Typed where everybody on the machine can read it.
    let token = jwt(&json!({"alg": "ES256", "kid": "a kid of some length"}), &json!({"sub": "someone"}));
    let ended = operator.run(&["token", "inspect", &token]);
    ended.is_refusal(1, "if it is the token itself, give it on standard input");
    assert!(!ended.stderr.contains(&token), "{}", ended.stderr);
}

#[test]
fn what_a_token_says_cannot_write_to_the_terminal() {
    let operator = Operator::new();
    let token = jwt(&json!({"alg": "none"}), &json!({"sub": "a\u{1b}[31mred\u{7}"}));
    let table = operator.fed(&["token", "inspect", "--output", "table"], &token).stdout;
    assert!(!table.contains(['\u{1b}', '\u{7}']), "{table:?}");
    // Nor turn it round.
    let token = jwt(&json!({"alg": "none"}), &json!({"sub": "evil\u{202e}txt", "na\u{2066}me": 1}));
    let table = operator.fed(&["token", "inspect", "--output", "table"], &token).stdout;
    assert!(table.contains("evil\\u{202e}txt") && table.contains("na\\u{2066}me"), "{table:?}");
}

fn jwt(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode("signature"))
}
