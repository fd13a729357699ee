//! Clients that publish their keys at an address of their own, on the real server: what they are let do, and what they are not while
//! nobody can fetch their keys.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantwell::core::ports::Clock as _;
use grantwell::system::SystemClock;
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};

use crate::support::cli::{Store, percent_encode_all};
use crate::support::http::{Answer, Request};
use crate::support::https::{Authority, HttpsServer, Sent, ok};
use crate::support::server::{Server, Start};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_authenticates_with_a_key_that_it_publishes() {
    let site = Site::start().await;
    let (store, server) = opened();
    site.register(&store, "fetched", &["--allow-private-network", "--ca", &site.ca_file(&store)]);
    let [answer, again] = [(); 2].map(|()| token(&server, "fetched", "one", &site.key));
    answer.assert_granted("write");
    again.assert_granted("write");
    // Once by the command, and once by the server.
    assert_eq!(site.server.heads().len(), 2);

    // Names of keys that nobody has published, and a signature by another key, are refused and have nobody asked again.
    for _ in 0..20 {
        token(&server, "fetched", "nobody-s", &site.key).assert_refused(401, "invalid_client");
        token(&server, "fetched", "one", &KeyPair::generate().expect("a key")).assert_refused(401, "invalid_client");
    }
    token(&server, "fetched", "one", &site.key);
    assert_eq!(site.server.heads().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn j_42_while_its_keys_cannot_be_fetched_a_client_is_told_to_come_back_and_never_let_in() {
    let site = Site::start().await;
    let (store, server) = opened();
    let ca = site.ca_file(&store);
    let allowed = ["--allow-private-network", "--ca", ca.as_str()];
    for (id, settings, answer) in [
        ("broken", &allowed[..], Some(vec![Sent::Bytes(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".into())])),
        ("moved", &allowed, Some(moved_to(&site.server.url("127.0.0.1", "/elsewhere")))),
        ("html", &allowed, Some(ok("content-type: text/html\r\n", &site.jwks(&["one"])))),
        ("no-set", &allowed, Some(ok("content-type: application/json\r\n", "{}"))),
        ("private-network", &allowed[1..], None),
        ("other-authority", &allowed[..1], None),
    ] {
        if let Some(answer) = answer {
            site.answer(id, answer);
        }
        let warned = site.register(&store, id, settings);
        assert!(warned.contains("warning: no keys could be fetched from https://127.0.0.1:"), "{id}: {warned}");
        let begun = site.server.heads().len();
        for _ in 0..5 {
            token(&server, id, "one", &site.key).assert_refused(503, "temporarily_unavailable");
        }
        assert!(site.server.heads().len() <= begun + 1, "{id}: asked again and again");
    }
    assert!(!site.server.heads().iter().any(|head| head.contains("/elsewhere")), "followed a redirect");
    assert!(!server.stderr().contains("eyJ"), "an assertion in the log");
    let log = format!("{}{}", server.stdout(), server.stderr());
    for why in [
        "the answer has status 500",
        "redirects are not followed",
        "Content-Type",
        "is not a JWK Set",
        "not a public address",
        "UnknownIssuer",
    ] {
        assert!(log.contains(why), "{why}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_withdrawn_before_they_are_fetched_let_nobody_in() {
    let site = Site::start().await;
    let (store, server) = opened();
    let ca = site.ca_file(&store);
    for (id, keys) in [("empty", "{\"keys\":[]}"), ("symmetric", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}")] {
        site.answer(id, ok("content-type: application/json\r\n", keys));
        site.register(&store, id, &["--allow-private-network", "--ca", &ca]);
        token(&server, id, "one", &site.key).assert_refused(401, "invalid_client");
    }
}

#[test]
fn an_address_or_an_authority_that_is_none_is_refused_by_the_command() {
    let store = Store::new();
    let no_ca = store.directory().with_extension("pem");
    fs::write(&no_ca, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("written");
    let no_ca = no_ca.display().to_string();
    let create = ["client", "create", "--id", "a", "--auth-method", "private_key_jwt"];
    let https = ["--jwks-uri", "https://127.0.0.1:1/"];
    for (settings, said) in [
        (&["--jwks-uri", "http://app.example/"][..], "https URL"),
        (&["--jwks-uri", "https://user@app.example/"], "https URL"),
        (&["--jwks-uri", "https://app.example/#a"], "https URL"),
        (&["--allow-private-network"], "--jwks-uri"),
        (&[https[0], https[1], "--jwks", "x.json"], "--jwks"),
        (&[https[0], https[1], "--ca", "no-such-file.pem"], "cannot be read"),
        (&[https[0], https[1], "--ca", &no_ca], "certificate that cannot be read"),
    ] {
        let output = store.run_with_input(&[&create[..], settings].concat(), "");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && stderr.contains(said), "{settings:?}: {stderr}");
    }
    assert!(!store.directory().join("registry.db").exists(), "nothing was registered");
}

#[test]
fn where_the_keys_are_is_shown_and_can_be_taken_back() {
    let store = Store::new();
    // Nobody listens there, which is said and is no reason to refuse.
    let create =
        ["client", "create", "--id", "a", "--auth-method", "private_key_jwt", "--jwks-uri", "https://127.0.0.1:1/k"];
    let output = store.run_with_input(&create, "");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && stderr.contains("not a public address"), "{stderr}");
    let shown = store.run(&["client", "show", "a"]);
    assert!(shown.contains("https://127.0.0.1:1/k"), "{shown}");
    let allowed = store.run(&[
        "client",
        "update",
        "a",
        "--jwks-uri",
        "https://127.0.0.1:1/k",
        "--allow-private-network",
        "--output",
        "json",
    ]);
    let allowed: Value = serde_json::from_str(&allowed).expect("JSON");
    assert_eq!(
        (&allowed["jwks_uri"], &allowed["jwks_uri_allow_private_network"]),
        (&json!("https://127.0.0.1:1/k"), &json!(true))
    );
    let method = ["--auth-method", "client_secret_basic"];
    let removed = store.run(&[&["client", "update", "a", "--jwks-uri", "", "--output", "json"], &method[..]].concat());
    assert_eq!(serde_json::from_str::<Value>(&removed).expect("JSON")["jwks_uri"], Value::Null);
}

/// A server of keys: for each path what a test says, else the keys.
struct Site {
    server: HttpsServer,
    ca: String,
    key: KeyPair,
    answers: Arc<Mutex<Vec<Given>>>,
}

/// What a path answers.
struct Given {
    path: String,
    answer: Vec<Sent>,
}

impl Site {
    async fn start() -> Self {
        let authority = Authority::new();
        let key = KeyPair::generate().expect("a key");
        let answers: Arc<Mutex<Vec<Given>>> = Arc::default();
        let keys = ok("content-type: application/jwk-set+json\r\n", &jwks(&key, &["one"]));
        let given = Arc::clone(&answers);
        let server = HttpsServer::start_by_path(authority.server(&["127.0.0.1"]), move |path| {
            let given = given.lock().expect("no panic");
            given.iter().find(|given| given.path == path).map_or_else(|| keys.clone(), |given| given.answer.clone())
        });
        Self { server: server.await, ca: authority.pem(), key, answers }
    }

    fn answer(&self, id: &str, answer: Vec<Sent>) {
        self.answers.lock().expect("no panic").push(Given { path: format!("/{id}"), answer });
    }

    fn jwks(&self, kids: &[&str]) -> String {
        jwks(&self.key, kids)
    }

    fn ca_file(&self, store: &Store) -> String {
        let path = store.directory().with_extension("ca.pem");
        fs::write(&path, &self.ca).expect("written");
        path.display().to_string()
    }

    /// Registers a client whose keys are here, and gives what the command says besides.
    fn register(&self, store: &Store, id: &str, settings: &[&str]) -> String {
        let url = self.server.url("127.0.0.1", &format!("/{id}"));
        let create =
            ["client", "create", "--realm", "alpha", "--id", id, "--scope", "write", "--default-scope", "write"];
        let keys = ["--auth-method", "private_key_jwt", "--jwks-uri", &url];
        let output = store.run_with_input(&[&create[..], &keys, settings].concat(), "");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        stderr
    }
}

fn opened() -> (Store, Server) {
    let store = Store::new();
    store.set_realm("alpha", &[]);
    let server = Start::on(&store.argument()).spawn();
    (store, server)
}

/// A token request with an assertion that `key` signs under the name `kid`.
fn token(server: &Server, client_id: &str, kid: &str, key: &KeyPair) -> Answer {
    static JTI: AtomicU64 = AtomicU64::new(0);
    let now = SystemClock.now().0;
    let base = "/oauth2/realms/root/realms/alpha";
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": kid });
    let claims = json!({
        "iss": client_id, "sub": client_id, "aud": format!("{}{base}", server.url()), "iat": now, "exp": now + 60,
        "jti": format!("{}-{}", std::process::id(), JTI.fetch_add(1, Ordering::SeqCst)),
    });
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let pair = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &key.serialize_der(),
    )
    .expect("a key");
    let signature = pair.sign(&aws_lc_rs::rand::SystemRandom::new(), message.as_bytes()).expect("signed");
    let assertion = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    let assertion_type = percent_encode_all("urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let form =
        format!("grant_type=client_credentials&client_assertion_type={assertion_type}&client_assertion={assertion}");
    Request::form(&format!("{base}/access_token"), form).send(server)
}

fn jwks(key: &KeyPair, kids: &[&str]) -> String {
    let point = key.der_bytes();
    let (x, y) = point[1..].split_at(32);
    let jwk = |kid: &&str| json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y), "kid": kid });
    json!({ "keys": kids.iter().map(jwk).collect::<Vec<_>>() }).to_string()
}

fn moved_to(url: &str) -> Vec<Sent> {
    vec![Sent::Bytes(format!("HTTP/1.1 302 Found\r\nlocation: {url}\r\ncontent-length: 0\r\n\r\n").into())]
}
