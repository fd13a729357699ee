//! Signing keys as the world sees them: rows K-* of docs/protocol-cases.md (RFC 7517, RFC 7638).

use std::collections::HashSet;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantwell::core::ports::Clock as _;
use grantwell::system::SystemClock;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::cli::{Registered, Store};
use crate::support::http::Request;
use crate::support::jwt::{parts, verify};
use crate::support::server::Start;
use crate::support::shared::{STATELESS_JWT, shared};
use crate::support::{NOTICED_WITHIN, each_row, poll};

const SCOPE: [&str; 4] = ["--scope", "a", "--default-scope", "a"];

/// A client of a realm of its own, which has no keys yet where `alg` is none.
fn client_of_realm(realm: &str, alg: Option<&str>) -> Registered {
    let store = &shared().store;
    let settings: Vec<&str> = alg.into_iter().flat_map(|alg| ["--signing-alg", alg]).collect();
    store.set_realm(realm, &settings);
    store.register(realm, &format!("{realm}-client"), &[&SCOPE[..], &STATELESS_JWT].concat())
}

fn keys(jwks: &Value) -> &Vec<Value> {
    assert_eq!(jwks.as_object().map(|members| members.keys().collect::<Vec<_>>()), Some(vec![&"keys".to_owned()]));
    jwks["keys"].as_array().expect("a list")
}

fn kids(jwks: &Value) -> Vec<&str> {
    keys(jwks).iter().map(|key| key["kid"].as_str().expect("text")).collect()
}

#[test]
fn k_01_k_04_k_06_the_published_keys_are_public_named_by_their_thumbprint_and_large_enough() {
    let server = &shared().server;
    each_row(
        [
            ("ES256", ("k-es256", "ES256", json!({"kty": "EC", "crv": "P-256"}), ["x", "y"].as_slice())),
            ("EdDSA", ("k-eddsa", "EdDSA", json!({"kty": "OKP", "crv": "Ed25519"}), &["x"])),
            ("PS256", ("k-ps256", "PS256", json!({"kty": "RSA", "e": "AQAB"}), &["n"])),
            ("RS256", ("k-rs256", "RS256", json!({"kty": "RSA", "e": "AQAB"}), &["n"])),
        ],
        |(realm, alg, fixed, numbers): (&str, &str, Value, &[&str])| {
            let client = client_of_realm(realm, Some(alg));
            let jwks = server.jwks(&client.base());
            assert_eq!(keys(&jwks).len(), 2, "one that signs and one that will: {jwks}");
            assert_eq!(kids(&jwks).iter().collect::<HashSet<_>>().len(), 2, "K-01: {jwks}");
            for key in keys(&jwks) {
                let mut expected = fixed.clone();
                for number in numbers {
                    expected[number] = key[number].clone();
                    let bytes = URL_SAFE_NO_PAD.decode(key[number].as_str().expect("text")).expect("base64url");
                    assert_eq!(bytes.len(), if *number == "n" { 256 } else { 32 }, "K-06: {key}");
                    assert!(bytes[0] >= 0x80 || *number != "n", "K-06: of 2048 bits: {key}");
                }
                // RFC 7638 §3: the members so far, in this order and without white space.
                let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(sorted(&expected)));
                expected["use"] = json!("sig");
                expected["alg"] = json!(alg);
                expected["kid"] = json!(thumbprint);
                assert_eq!(*key, expected, "K-01: these members and none that is private; K-04");
            }
            let token = server.jwt(&client, "a", "");
            let signature = URL_SAFE_NO_PAD.decode(token.rsplit('.').next().expect("a part")).expect("base64url");
            assert_eq!(signature.len(), if numbers == ["n"] { 256 } else { 64 }, "K-06");
        },
    );
}

fn sorted(object: &Value) -> String {
    let members: std::collections::BTreeMap<_, _> = object.as_object().expect("an object").iter().collect();
    serde_json::to_string(&members).expect("JSON")
}

#[test]
fn a_realm_has_no_keys_until_its_first_jwt_and_nobody_may_keep_that() {
    let server = &shared().server;
    let client = client_of_realm("k-first", None);
    shared().store.forget_keys("k-first");
    // The first key signs at once: an answer without it must not be kept by anybody.
    for _ in 0..2 {
        let before = server.jwks_answer(&client.base());
        assert_eq!((before.status, before.text().as_str()), (200, r#"{"keys":[]}"#));
        before.assert_common();
    }
    let token = server.jwt(&client, "a", "");
    let issuer = client.issuer(server);
    let after = server.jwks_answer(&client.base());
    verify(&token, &after.json(), &issuer, &issuer);
    assert_eq!(after.status, 200);
    assert_eq!(after.header("content-type"), Some("application/json"));
    assert_eq!(after.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(after.header("pragma"), None);
    let later = server.jwt(&client, "a", "");
    verify(&later, &after.json(), &issuer, &issuer);
    assert_eq!(parts(&token).0["kid"], after.json()["keys"][0]["kid"]);
}

#[test]
fn k_01_the_keys_are_the_same_under_every_name_of_the_realm() {
    let server = &shared().server;
    let client = client_of_realm("k-names", Some("ES256"));
    let base = client.base();
    let document = Request::new("GET", &format!("{base}/.well-known/oauth-authorization-server")).send(server).json();
    let uri = document["jwks_uri"].as_str().expect("a URL");
    assert_eq!(uri, format!("{}/connect/jwk_uri", client.issuer(server)));
    let path = uri.strip_prefix(&server.url()).expect("on this server");
    let jwks = server.jwks(&base);
    for request in [
        Request::new("GET", path),
        Request::new("GET", &format!("/am{path}")),
        Request::new("GET", &format!("{path}?kid=canary")),
        Request::new("GET", path).header("Authorization", "Bearer canary"),
        Request::new("GET", path).header("Accept", "application/jwk-set+json"),
        Request::new("GET", path).header("Host", "evil.example"),
    ] {
        let answer = request.send_raw(server);
        assert_eq!((answer.status, answer.json()), (200, jwks.clone()), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    }
    assert_ne!(kids(&jwks), kids(&server.jwks(&client_of_realm("k-other", Some("ES256")).base())));
}

#[test]
fn k_01_the_jwks_endpoint_is_read_and_nothing_else() {
    let server = &shared().server;
    let client = client_of_realm("k-methods", Some("ES256"));
    let path = format!("{}/connect/jwk_uri", client.base());
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = Request::new(method, &path).send_raw(server);
        answer.assert_refused(405, "invalid_request");
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
    let head = Request::new("HEAD", &path).send_raw(server);
    assert_eq!((head.status, head.body.len()), (200, 0), "{head:?}");
    assert_eq!(head.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(head.header("content-type"), Some("application/json"));
    let nowhere = Request::new("GET", "/oauth2/realms/root/realms/k-nowhere/connect/jwk_uri").send(server);
    nowhere.assert_refused(404, "not_found");
}

#[test]
fn keys_are_made_once_when_many_ask_for_the_first_token_at_once() {
    let server = &shared().server;
    let client = client_of_realm("k-at-once", None);
    let tokens: Vec<String> = thread::scope(|scope| {
        let asking: Vec<_> = (0..16).map(|_| scope.spawn(|| server.jwt(&client, "a", ""))).collect();
        asking.into_iter().map(|asking| asking.join().expect("a token")).collect()
    });
    let (jwks, issuer) = (server.jwks(&client.base()), client.issuer(server));
    assert_eq!(keys(&jwks).len(), 2, "{jwks}");
    for token in &tokens {
        assert_eq!(parts(token).0["kid"], jwks["keys"][0]["kid"]);
        verify(token, &jwks, &issuer, &issuer);
        server.introspect(&client, token).assert_active();
    }
}

#[test]
fn k_04_keys_survive_a_restart() {
    let store = Store::new();
    let client = store.register("root", "restarted", &[&SCOPE[..], &STATELESS_JWT].concat());
    let mut server = Start::on(&store.argument()).spawn();
    let (token, jwks) = (server.jwt(&client, "a", ""), server.jwks("/oauth2"));
    server.kill();
    let server = Start::on(&store.argument()).spawn();
    assert_eq!(server.jwks("/oauth2"), jwks);
    server.introspect(&client, &token).assert_active();
    assert_eq!(parts(&server.jwt(&client, "a", "")).0, parts(&token).0);
}

#[test]
fn another_algorithm_signs_once_its_key_has_been_published_and_not_before() {
    let shared = shared();
    let client = client_of_realm("k-changed", Some("ES256"));
    let before = shared.server.jwt(&client, "a", "");
    shared.store.set_realm("k-changed", &["--signing-alg", "EdDSA"]);
    let (published, issuer) = (
        poll("the new keys are published", NOTICED_WITHIN, || {
            Some(shared.server.jwks(&client.base())).filter(|jwks| keys(jwks).len() == 4)
        }),
        client.issuer(&shared.server),
    );
    let algorithms: Vec<_> = keys(&published).iter().map(|key| key["alg"].as_str().expect("text")).collect();
    assert_eq!(algorithms, ["ES256", "ES256", "EdDSA", "EdDSA"]);
    // A JWKS that a resource server has kept does not have the new key yet, so the old one goes on.
    let after = shared.server.jwt(&client, "a", "");
    assert_eq!(parts(&after).0, parts(&before).0);
    verify(&after, &published, &issuer, &issuer);
    shared.server.introspect(&client, &before).assert_active();
}

#[test]
fn a_lifetime_that_is_made_shorter_is_remembered_for_the_keys_that_signed_before() {
    let store = Store::new();
    store.set_realm("alpha", &["--token-lifetime", "7200"]);
    let client = store.register("alpha", "remembered", &[&SCOPE[..], &["--token-lifetime", "86400"]].concat());
    let until = |query: &str| {
        let registry = rusqlite::Connection::open(store.directory().join("registry.db")).expect("the registry");
        let until = registry.query_row(query, [], |row| row.get::<_, Option<u32>>(0)).expect("one row");
        until.map(u64::from)
    };
    let of_realm = || until("SELECT settings ->> 'longer_tokens_until' FROM realms WHERE name = 'alpha'");
    let of_client = || until("SELECT registration ->> 'longer_tokens_until' FROM clients");
    assert_eq!((of_realm(), of_client()), (None, None), "none was longer");

    // 65 minutes besides: a process may not know of the change before.
    let began = SystemClock.now().0;
    store.set_realm("alpha", &["--token-lifetime", "60"]);
    store.client("update", &client, &["--inherit-token-lifetime"]);
    let ended = SystemClock.now().0;
    for (until, lifetime) in [(of_realm(), 7200), (of_client(), 86_400)] {
        let until = until.expect("remembered") - lifetime - 3900;
        assert!((began..=ended).contains(&until), "{began} {until} {ended}");
    }

    // What becomes longer, or only shorter than what is remembered, takes nothing of it.
    let remembered = (of_realm(), of_client());
    store.set_realm("alpha", &["--token-lifetime", "120"]);
    store.client("update", &client, &["--token-lifetime", "300"]);
    store.client("update", &client, &["--token-lifetime", "200"]);
    store.set_realm("alpha", &["--token-lifetime", "60"]);
    assert_eq!((of_realm(), of_client()), remembered);
}
