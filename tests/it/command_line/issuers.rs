//! `grantwell issuer`: what a realm trusts, and what the command says of it.

use std::fs;

use serde_json::{Value, json};

use super::operator::Operator;
use crate::support::https::{Authority, HttpsServer, json as json_answer};

#[test]
fn a_preset_says_what_is_known_of_an_issuer() {
    let operator = Operator::with_client();
    let discovery = || json!({ "discovery": {} });
    for (name, options, issuer, kind, max_age, single_use) in [
        (
            "github",
            &["--preset", "github"][..],
            "https://token.actions.githubusercontent.com",
            "github",
            Some(600),
            true,
        ),
        ("gitlab", &["--preset", "gitlab"], "https://gitlab.com", "gitlab", None, false),
        ("eks", &["--preset", "eks", "--issuer", EKS], EKS, "eks", None, false),
        ("k8s", &["--preset", "kubernetes", "--issuer", CLUSTER], CLUSTER, "kubernetes", None, false),
        ("aws", &["--preset", "aws", "--issuer", STS], STS, "aws", Some(600), true),
        ("any", &["--issuer", "https://idp.example"], "https://idp.example", "oidc", Some(600), true),
    ] {
        let mut expected = json!({
            "realm": "root", "name": name, "issuer": issuer, "kind": kind, "keys": discovery(), "single_use": single_use,
        });
        if let Some(max_age) = max_age {
            expected["max_age"] = json!(max_age);
        }
        if kind == "aws" {
            expected["algs"] = json!(["ES384", "RS256"]);
        }
        let added = operator.run(&[&["issuer", "add", name], options].concat());
        assert_eq!(added.json(), expected, "{name}");
        assert_eq!(operator.json(&["issuer", "show", name]), expected);
    }
    // By its URL alone it is the same.
    let by_hand = Operator::new();
    by_hand.run(&["issuer", "add", "a", "--issuer", STS]);
    assert_eq!(by_hand.json(&["issuer", "show", "a"])["kind"], "aws");
    let listed = operator.json(&["issuer", "list"]);
    let names: Vec<&str> =
        listed["issuers"].as_array().expect("a list").iter().filter_map(|i| i["name"].as_str()).collect();
    assert_eq!((&listed["realm"], names), (&json!("root"), vec!["any", "aws", "eks", "github", "gitlab", "k8s"]));
    assert_eq!(operator.json(&["realm", "show"])["trusted_issuers"], listed["issuers"]);
    let shown = operator.run(&["realm", "show", "--output", "table"]).stdout;
    assert!(shown.contains("github:") && shown.contains(" https://token.actions.githubusercontent.com "), "{shown}");
    let shown = Operator::with_client().run(&["realm", "show", "--output", "table"]).stdout;
    let row = shown.lines().find(|line| line.contains("trusted_issuers")).expect("a row");
    assert!(row.contains("none"), "{row}");
}

#[test]
fn what_an_issuer_cannot_be_is_said_with_what_to_do() {
    let operator = Operator::with_client();
    for (options, status, sentence) in [
        (
            &["add", "a"][..],
            2,
            "name the issuer with --issuer URL, exactly as its tokens have it in iss, or a --preset that knows it",
        ),
        (&["add", "a", "--preset", "eks"], 2, "aws eks describe-cluster"),
        (&["add", "a", "--preset", "aws"], 2, "aws iam get-outbound-web-identity-federation-info"),
        (&["add", "a", "--preset", "spiffe"], 2, "name the trust domain with --issuer, such as spiffe://example.org"),
        (
            &["add", "a", "--preset", "oidc", "--issuer", "https://a.example"],
            2,
            "a preset is github, gitlab, eks, kubernetes, aws or spiffe",
        ),
        (&["add", "a", "--issuer", "https://A.example"], 2, "the host in lower case"),
        (&["add", "a", "--issuer", "https://a.example:443"], 2, "the port 443"),
        (&["add", "a b", "--preset", "github"], 2, "an issuer's name has 1 to 64 characters"),
        (
            &["add", "a", "--preset", "aws", "--issuer", "https://sts.amazonaws.com"],
            1,
            "to the letter, with a UUID in lower case",
        ),
        (
            &["add", "a", "--preset", "kubernetes", "--issuer", STS],
            1,
            "is an issuer of kind aws, and not of kind kubernetes",
        ),
        (
            &["add", "a", "--preset", "spiffe", "--issuer", "spiffe://example.org"],
            1,
            "the keys of a trust domain of SPIFFE are in its bundle",
        ),
        (&["add", "a", "--preset", "github", "--max-age", "0"], 2, "the age of a token is 1 to 86400 seconds"),
        (&["add", "a", "--preset", "github", "--max-age", "2d"], 2, "the age of a token is 1 to 86400 seconds"),
        (&["add", "a", "--preset", "github", "--alg", "HS256"], 2, "ES256, ES384, PS256, EdDSA"),
        (&["add", "a", "--preset", "github", "--single-use", "--reusable"], 2, "cannot be used with"),
        (
            &["add", "a", "--preset", "github", "--jwks", "none.json"],
            1,
            "there are no keys in the file of --jwks, 'none.json': it cannot be read",
        ),
        (&["show", "a"], 1, "realm 'root' trusts no issuer 'a'; list its issuers with: grantwell issuer list"),
        (&["remove", "a"], 1, "realm 'root' trusts no issuer 'a'"),
        (&["update", "a", "--max-age", "60"], 1, "realm 'root' trusts no issuer 'a'"),
        (&["update", "a"], 2, "required"),
        (&["add", "a", "--preset", "github", "--realm", "nowhere"], 1, "there is no realm 'nowhere'"),
    ] {
        let ended = operator.run(&[&["issuer"], options].concat());
        assert_eq!(ended.status, Some(status), "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.replace('\n', " ").contains(sentence), "{options:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{options:?}");
    }
    assert_eq!(operator.json(&["issuer", "list"]), json!({ "realm": "root", "issuers": [] }));
}

#[test]
fn keys_are_pinned_from_a_file_or_standard_input() {
    let operator = Operator::with_client();
    let set = json!({ "keys": [key("one"), key("two"), { "kty": "EC", "crv": "P-521", "kid": "unread" }] }).to_string();
    fs::write(operator.home.path().join("jwks.json"), &set).expect("written");
    let added =
        operator.run(&["issuer", "add", "k8s", "--preset", "kubernetes", "--issuer", CLUSTER, "--jwks", "jwks.json"]);
    let kids = |shown: &Value| {
        let keys = shown["keys"]["jwks"]["keys"].as_array().cloned().unwrap_or_default();
        keys.iter().map(|key| key["kid"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kids(&added.json()), ["one", "two"]);
    assert_eq!(
        added.stderr,
        "note: issuer 'k8s' is pinned to 2 keys that tokens can be verified with; nothing is fetched, so update it here before they \
         change\n"
    );
    let updated =
        operator.fed(&["issuer", "update", "k8s", "--jwks", "-"], &json!({ "keys": [key("three")] }).to_string());
    assert_eq!(kids(&updated.json()), ["three"]);
    let mut private = key("four");
    private["d"] = json!("AAAA");
    for (input, sentence) in [
        (json!({ "keys": [private] }).to_string(), "the JWK Set has a private or a symmetric key"),
        (json!({ "keys": [] }).to_string(), "the JWK Set has no key that this server can verify with"),
        ("-----BEGIN PUBLIC KEY-----\n".to_owned(), "it is PEM; give the public keys as a JWK Set"),
        ("{}".to_owned(), "the document is not a JWK Set"),
        (format!("{{\"keys\":[],\"x\":\"{}\"}}", "a".repeat(40_000)), "it has more than 32768 bytes"),
    ] {
        let ended = operator.fed(&["issuer", "update", "k8s", "--jwks", "-"], &input);
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(sentence), "{}", ended.stderr);
    }
    operator.refused(
        &["issuer", "update", "k8s", "--allow-private-network"],
        2,
        "--allow-private-network and --ca belong to an address",
    );
    assert_eq!(kids(&operator.json(&["issuer", "show", "k8s"])), ["three"]);
    let table = operator.run(&["issuer", "show", "k8s", "--output", "table"]).stdout;
    assert!(table.contains("pinned, nothing is fetched:") && table.contains("three: ES256"), "{table}");
    // A bundle has its keys for tokens.
    let mut svid = key("svid");
    svid["use"] = json!("jwt-svid");
    let bundle = json!({ "keys": [svid], "spiffe_sequence": 1 }).to_string();
    let mesh = operator.fed(&["issuer", "add", "mesh", "--issuer", "spiffe://example.org", "--jwks", "-"], &bundle);
    assert_eq!((kids(&mesh.json()), &mesh.json()["kind"]), (vec!["svid".to_owned()], &json!("spiffe")));
}

#[test]
fn settings_are_changed_one_by_one_and_removed_by_an_empty_value() {
    let operator = Operator::with_client();
    operator.json(&["issuer", "add", "github", "--preset", "github"]);
    let shown = |operator: &Operator| operator.json(&["issuer", "show", "github"]);
    let before = shown(&operator);
    operator.json(&["issuer", "update", "github", "--max-age", "5m", "--alg", "RS256", "--alg", "ES256", "--reusable"]);
    let mut expected = before.clone();
    expected["max_age"] = json!(300);
    expected["algs"] = json!(["ES256", "RS256"]);
    expected["single_use"] = json!(false);
    assert_eq!(shown(&operator), expected);
    operator.json(&["issuer", "update", "github", "--max-age", "", "--alg", "", "--single-use"]);
    let mut expected = before.clone();
    expected.as_object_mut().expect("an object").remove("max_age");
    assert_eq!(shown(&operator), expected);
    operator.json(&[
        "issuer",
        "update",
        "github",
        "--jwks-uri",
        "https://keys.invalid/jwks",
        "--allow-private-network",
        "--force",
    ]);
    assert_eq!(
        shown(&operator)["keys"],
        json!({ "jwks_uri": { "uri": "https://keys.invalid/jwks", "allow_private_network": true } })
    );
    // What is allowed of an address stays with it, and goes with it.
    operator.json(&["issuer", "update", "github", "--jwks-uri", "https://keys.invalid/jwks", "--force"]);
    assert_eq!(shown(&operator)["keys"]["jwks_uri"]["allow_private_network"], true);
    operator.json(&["issuer", "update", "github", "--jwks-uri", "https://others.invalid/jwks", "--force"]);
    assert_eq!(shown(&operator)["keys"], json!({ "jwks_uri": { "uri": "https://others.invalid/jwks" } }));
    operator.json(&["issuer", "update", "github", "--discover", "--force"]);
    assert_eq!(shown(&operator), expected);
    let same = operator.run(&["issuer", "update", "github", "--reusable", "--max-age", ""]);
    let same = (same.status, operator.run(&["issuer", "update", "github", "--reusable"]).stderr);
    assert_eq!(
        same,
        (Some(0), "note: nothing was changed: issuer 'github' already has the values that were given\n".to_owned())
    );
    operator.refused(
        &["issuer", "add", "github", "--preset", "gitlab"],
        1,
        "realm 'root' already trusts an issuer 'github', which stays as it is",
    );
    assert_eq!(operator.json(&["issuer", "remove", "github"])["name"], "github");
    assert_eq!(operator.json(&["issuer", "list"])["issuers"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_are_tried_once_and_counted_or_it_is_said_why_not() {
    let authority = Authority::new();
    let url = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let known = std::sync::Arc::clone(&url);
    let server = HttpsServer::start_by_path(authority.server(&["127.0.0.1"]), move |path| {
        let issuer = known.lock().expect("no panic").clone();
        let document = match path {
            "/.well-known/openid-configuration" => json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks") }),
            _ => json!({ "keys": [key("one"), key("two")] }),
        };
        json_answer("", &document.to_string())
    })
    .await;
    let issuer = server.url("127.0.0.1", "");
    url.lock().expect("no panic").clone_from(&issuer);
    let operator = Operator::with_client();
    fs::write(operator.home.path().join("ca.pem"), authority.pem()).expect("written");
    let ended = operator.run(&["issuer", "add", "idp", "--issuer", &issuer]);
    assert_eq!(ended.status, Some(0));
    let warned = "warning: no keys of issuer 'idp' could be fetched: the server is at 127.0.0.1, which is not a public address; nothing was \
                  sent; allow it with --allow-private-network. It is registered, and its tokens count once the server can fetch a key; try \
                  again with `grantwell issuer update idp --discover`\n";
    assert_eq!(ended.stderr.replace("--store file:data ", ""), warned);
    let ended = operator.run(&["issuer", "update", "idp", "--allow-private-network"]);
    assert!(
        ended.stderr.contains("TLS: ") && ended.stderr.contains("; name a private authority with --ca."),
        "{}",
        ended.stderr
    );
    let ended = operator.run(&["issuer", "update", "idp", "--ca", "ca.pem"]);
    assert_eq!(ended.stderr, "note: issuer 'idp' has 2 keys that tokens can be verified with\n");
    assert_eq!(server.heads().len(), 2);
    // Somebody else's document.
    "https://other.example".clone_into(&mut url.lock().expect("no panic"));
    let ended = operator.run(&["issuer", "update", "idp", "--allow-private-network"]);
    assert!(ended.stderr.contains("the issuer's metadata document is of another issuer"), "{}", ended.stderr);
}

fn key(kid: &str) -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": kid,
        "x": if kid == "two" { "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU" } else { "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4" },
        "y": if kid == "two" { "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" } else { "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" },
    })
}

const EKS: &str = "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE";
const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const STS: &str = "https://a1d2b0fd-1177-4468-9351-2f0a9b7c7230.tokens.sts.global.api.aws";
