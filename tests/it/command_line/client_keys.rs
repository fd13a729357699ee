//! Keys of clients: `--jwks`, `--assertion-alg` and `client key generate`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::operator::{Operator, text};

const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

/// A file beside the operator's store.
fn file(operator: &Operator, name: &str, content: &str) -> String {
    let path = operator.data().join(name);
    let _made = operator.json(&["realm", "set", "root"]);
    fs::write(&path, content).expect("written");
    path.display().to_string()
}

#[test]
fn a_client_with_a_key_alone_has_no_secret_and_its_keys_are_shown_by_their_names() {
    let operator = Operator::new();
    let jwks = file(&operator, "public.json", KEY);
    let create = ["client", "create", "--id", "batch", "--auth-method", "private_key_jwt", "--jwks", &jwks];
    let created = operator.run(&create);
    assert_eq!(created.status, Some(0), "{}", created.stderr);
    assert!(created.stderr.contains("note: client 'batch' has no client secret"), "{}", created.stderr);
    let registered: Value = serde_json::from_str(&created.stdout).expect("JSON");
    assert_eq!(registered.get("client_secret"), None);
    assert_eq!(registered["token_endpoint_auth_method"], "private_key_jwt");
    assert_eq!(registered["jwks"]["keys"], json!([serde_json::from_str::<Value>(KEY).expect("JSON")]));
    // In eighty columns the name is in one piece, to be copied. There is nothing to say of secrets.
    let shown = || operator.run(&["client", "show", "batch", "--output", "table"]).stdout;
    assert!(shown().contains(THUMBPRINT) && shown().contains(" EdDSA"), "{}", shown());
    assert!(!shown().contains("_secret_"), "{}", shown());
    operator.refused(&["client", "rotate-secret", "batch"], 1, "client 'batch' has no secret");

    // From standard input, one key as well as a set.
    let set = format!(r#"{{"keys":[{KEY}]}}"#);
    let update = ["client", "update", "batch", "--jwks", "-"];
    let changed = operator.fed(&update, &set.replace(r#""kty""#, r#""kid":"mine","kty""#));
    assert_eq!(changed.status, Some(0), "{}", changed.stderr);
    assert!(shown().contains("mine: EdDSA, thumbprint") && shown().contains(THUMBPRINT), "{}", shown());
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_what_to_do() {
    let operator = Operator::with_client();
    let private = file(&operator, "private.json", &KEY.replacen('{', r#"{"d":"AQAB","#, 1));
    let secret = file(&operator, "secret.json", r#"{"kty":"oct","k":"AAAA"}"#);
    let pem = file(&operator, "key.pem", "-----BEGIN PUBLIC KEY-----");
    let good = file(&operator, "good.json", KEY);
    let before = operator.json(&["client", "show", "myClient"]);
    for (arguments, status, sentence) in [
        (&["--jwks", &private][..], 2, "key 1 of the JWK Set is a private key; give the public half only"),
        (&["--jwks", &secret], 2, "key 1 of the JWK Set is a symmetric key"),
        (&["--jwks", &pem], 2, "it is PEM; give the public keys as a JWK Set"),
        (&["--allow-private-network"], 2, "belong to an address"),
        (&["--jwks", "/nowhere/at/all"], 2, "it cannot be read"),
        (&["--assertion-alg", "HS256"], 2, "a signature is ES256, ES384, PS256, EdDSA"),
        (&["--jwks", &good, "--assertion-alg", "ES256"], 1, "none of the client's keys can be used with ES256"),
    ] {
        operator.refused(&[&["client", "update", "myClient"], arguments].concat(), status, sentence);
    }
    assert_eq!(operator.json(&["client", "show", "myClient"]), before);
    let warned =
        operator.run(&["client", "create", "--id", "later", "--scope", "a", "--auth-method", "private_key_jwt"]);
    assert_eq!(warned.status, Some(0), "{}", warned.stderr);
    assert!(
        warned.stderr.contains("it has no key; make one with `grantwell client key generate later"),
        "{}",
        warned.stderr
    );
    let warned = operator.run(&["client", "update", "later", "--jwks", &good]);
    assert!(!warned.stderr.contains("no key"), "{}", warned.stderr);
    let warned = operator.run(&["client", "update", "myClient", "--jwks", &good]);
    let advice = "--auth-method client_secret_basic --auth-method client_secret_post --auth-method private_key_jwt";
    assert!(warned.stderr.contains(advice), "a client must not lose its secret by it: {}", warned.stderr);
    let update = |method: &str| operator.run(&["client", "update", "myClient", "--auth-method", method]).stderr;
    assert!(update("private_key_jwt").contains("the secret of client 'myClient' no longer works"));
    assert!(update("client_secret_basic").contains("a secret that client 'myClient' had before works again"));
    assert!(warned.stderr.contains("has keys but cannot authenticate with them"), "{}", warned.stderr);
}

#[test]
fn a_key_pair_is_made_beside_the_keys_that_are_there_and_its_private_half_is_written_once() {
    let operator = Operator::with_client();
    let out = |name: &str| operator.data().join(name).display().to_string();
    let generate = |more: &[&str]| operator.run(&[&["client", "key", "generate", "myClient"], more].concat());
    let first = out("first.jwk");
    let made = generate(&["--out", &first, "--output", "json"]);
    assert_eq!(made.status, Some(0), "{}", made.stderr);
    let made: Value = serde_json::from_str(&made.stdout).expect("JSON");
    assert_eq!((&made["alg"], &made["private_key_file"]), (&json!("ES256"), &json!(first)));
    assert!(made.get("d").is_none(), "{made}");
    let mode = fs::metadata(&first).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let private: Value = serde_json::from_str(&fs::read_to_string(&first).expect("read")).expect("JSON");
    assert_eq!((&private["kid"], private["d"].as_str().map(str::len)), (&made["kid"], Some(43)));
    let keys = |operator: &Operator| operator.json(&["client", "show", "myClient"])["jwks"]["keys"].clone();
    assert_eq!(keys(&operator)[0]["kid"], made["kid"]);
    assert!(keys(&operator)[0].get("d").is_none());

    // Never over what is there, and then nothing is registered.
    let refused = generate(&["--out", &first]);
    assert_eq!(refused.status, Some(1));
    assert!(refused.stderr.contains("exists and is left as it is, so no key was made"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&first).expect("read"), serde_json::to_string_pretty(&private).expect("JSON") + "\n");
    assert_eq!(keys(&operator).as_array().map(Vec::len), Some(1));

    // Another algorithm and form, and what cannot be written.
    let second = out("second.pem");
    assert_eq!(generate(&["--alg", "RS256", "--out", &second]).status, Some(0));
    assert!(fs::read_to_string(&second).expect("read").starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert_eq!(keys(&operator).as_array().map(Vec::len), Some(2));
    let nowhere = out("nowhere/third.jwk");
    assert!(generate(&["--out", &nowhere]).stderr.contains("so no key was registered"));
    let third = out("third.jwk");
    assert!(generate(&["--alg", "PS256", "--format", "jwk", "--out", &third]).stderr.contains("--format pem"));
    operator.refused(
        &["client", "key", "generate", "nobody", "--out", &third],
        1,
        "realm 'root' has no client 'nobody'",
    );
    assert!(!fs::exists(&third).expect("looked"), "no file without a key");

    // A file whose key nobody trusts does not stay.
    for number in 2..16 {
        let made = generate(&["--out", &out(&format!("{number}.jwk"))]);
        assert_eq!(made.status, Some(0), "{}", made.stderr);
    }
    assert!(generate(&["--out", &third]).stderr.contains("a client has at most 16 keys"));
    assert!(!fs::exists(&third).expect("looked"));
    assert_eq!(text(&made["kid"]).len(), 43);
}

/// As one thumbprint in 64 does.
#[test]
fn a_kid_that_begins_with_a_dash_is_not_an_option() {
    let operator = Operator::new();
    let named = |kid: &str| KEY.replace(r#""kty""#, &format!(r#""kid":"{kid}","kty""#));
    for (kid, rest) in
        [("-hCp", &[][..]), ("--realm", &[]), ("-oX", &["--realm", "root"]), ("-", &["--output", "json"])]
    {
        let jwks = file(&operator, "public.json", &named(kid));
        let create = ["client", "create", "--id", "dashed", "--auth-method", "private_key_jwt", "--jwks", &jwks];
        operator.json(&create);
        let mut remove = vec!["client", "key", "remove", "dashed"];
        // What is an option's name stands after the dashes, as ever.
        remove.extend(if kid == "--realm" { vec!["--", kid] } else { vec![kid] });
        remove.extend(rest);
        assert_eq!(operator.json(&remove), json!([]), "{kid}");
        operator.json(&["client", "delete", "dashed", "--output", "json"]);
    }
}

#[test]
fn keys_are_listed_and_removed_by_their_kid() {
    let operator = Operator::with_client();
    let generate = |name: &str| {
        let out = operator.data().join(name).display().to_string();
        operator.json(&["client", "key", "generate", "myClient", "--out", &out])["kid"]
            .as_str()
            .expect("a kid")
            .to_owned()
    };
    let (old, new) = (generate("old.jwk"), generate("new.jwk"));
    let listed = operator.json(&["client", "key", "list", "myClient"]);
    let kids: Vec<_> = listed.as_array().expect("a list").iter().map(|key| key["kid"].clone()).collect();
    assert_eq!(kids, [json!(old), json!(new)]);
    let table = operator.run(&["client", "key", "list", "myClient", "--output", "table"]).stdout;
    assert!(table.contains(&old) && table.contains("ES256"), "{table}");

    operator.run(&["client", "update", "myClient", "--auth-method", "private_key_jwt"]);
    let left = operator.json(&["client", "key", "remove", "myClient", &old]);
    assert_eq!(left.as_array().map(Vec::len), Some(1));
    operator.refused(&["client", "key", "remove", "myClient", &old], 1, "has no key of this kid; list its keys with");
    let last = operator.run(&["client", "key", "remove", "myClient", &new]);
    assert!(last.stderr.contains("it has no key; make one with"), "{}", last.stderr);
    assert_eq!(operator.json(&["client", "show", "myClient"])["jwks"], Value::Null);
    operator.refused(
        &["client", "rotate-secret", "myClient", "--revoke-previous"],
        1,
        "client 'myClient' has no secret",
    );
}
