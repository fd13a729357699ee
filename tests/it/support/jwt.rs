//! JWTs as a resource server reads them, by the JWKS over HTTP and a library; and as nobody but the server could make them,
//! with keys out of its store.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantwell::core::keys::jwk::{Pkcs8, SigningKeyPair};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;

use super::cli::{Registered, Store};
use super::http::{Answer, Request};
use super::server::Server;

/// The header and the claims of a JWT, whoever signed it.
#[track_caller]
pub(crate) fn parts(jwt: &str) -> (Value, Value) {
    let parts: Vec<&str> = jwt.split('.').collect();
    assert_eq!(parts.len(), 3, "{jwt}");
    let part = |text: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_else(|error| panic!("{error}: {jwt}"));
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {jwt}"))
    };
    (part(parts[0]), part(parts[1]))
}

/// Asserts that `jwt` is signed by the key of `jwks` that its header names, with that key's algorithm, and says `iss` and `aud`;
/// gives the claims.
#[track_caller]
pub(crate) fn verify(jwt: &str, jwks: &Value, iss: &str, aud: &str) -> Value {
    let header = jsonwebtoken::decode_header(jwt).expect("a header");
    let kid = header.kid.as_deref().expect("a kid");
    let keys: JwkSet = serde_json::from_value(jwks.clone()).unwrap_or_else(|error| panic!("{error}: {jwks}"));
    let key: &Jwk = keys.find(kid).unwrap_or_else(|| panic!("{kid} is in {jwks}"));
    assert_eq!(key.common.key_algorithm.map(|alg| alg.to_string()), Some(format!("{:?}", header.alg)));
    let mut validation = Validation::new(header.alg);
    validation.leeway = 0;
    validation.set_issuer(&[iss]);
    validation.set_audience(&[aud]);
    validation.set_required_spec_claims(&["iss", "aud"]);
    let key = DecodingKey::from_jwk(key).expect("a key that verifies");
    let verified = jsonwebtoken::decode::<Value>(jwt, &key, &validation);
    verified.unwrap_or_else(|error| panic!("{error}: {jwt}")).claims
}

/// A key that signs in a realm of a server.
pub(crate) struct SigningKey {
    pub(crate) alg: String,
    pub(crate) kid: String,
    pair: SigningKeyPair,
}

impl SigningKey {
    /// A JWS of any header and any payload.
    pub(crate) fn sign(&self, header: &str, payload: &str) -> String {
        let message = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = self.pair.sign(message.as_bytes()).expect("signed");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl Store {
    /// The key that signs with `alg` in `realm`, out of the registry.
    pub(crate) fn signing_key(&self, realm: &str, alg: &str) -> SigningKey {
        let registry = rusqlite::Connection::open(self.directory().join("registry.db")).expect("the registry");
        let stored: String = registry
            .query_row("SELECT private_keys FROM signing_keys WHERE realm = ?1", [realm], |row| row.get(0))
            .expect("the realm's keys");
        let stored: Value = serde_json::from_str(&stored).expect("JSON");
        let is_asked_for = |key: &&Value| key["jwk"]["alg"] == alg && key["status"] == "current";
        let key = stored["keys"].as_array().and_then(|keys| keys.iter().find(is_asked_for)).expect("a current key");
        let pkcs8: Pkcs8 = serde_json::from_value(key["pkcs8"].clone()).expect("base64");
        SigningKey {
            alg: alg.to_owned(),
            kid: key["jwk"]["kid"].as_str().expect("text").to_owned(),
            pair: SigningKeyPair::from_pkcs8(alg.parse().expect("an algorithm"), &pkcs8).expect("a key"),
        }
    }
}

impl Registered {
    /// The issuer of the client's tokens where it asks under its own base.
    pub(crate) fn issuer(&self, server: &Server) -> String {
        format!("{}{}", server.url(), self.base())
    }
}

impl Server {
    /// A token in JWT form that must be granted; `parameters` are added to the grant type.
    #[track_caller]
    pub(crate) fn jwt(&self, client: &Registered, scope: &str, parameters: &str) -> String {
        let parameters = format!("scope={}&{parameters}", scope.replace(' ', "+"));
        let token = self.token_request(client, &parameters).assert_granted(scope);
        assert!(token.starts_with("eyJ"), "{token}");
        token
    }

    /// The answer of a base's JWKS endpoint.
    pub(crate) fn jwks_answer(&self, base: &str) -> Answer {
        Request::new("GET", &format!("{base}/connect/jwk_uri")).send(self)
    }

    /// A realm's JWKS.
    #[track_caller]
    pub(crate) fn jwks(&self, base: &str) -> Value {
        let answer = self.jwks_answer(base);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}
