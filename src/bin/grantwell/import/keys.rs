//! The public keys by which a client proves who it is.

use std::collections::BTreeSet;

use grantwell::core::json::Unambiguous;
use grantwell::core::keys::jwk_set::{InvalidJwks, JwkSet, VerifyingKey};
use grantwell::core::keys::jws_algorithm::JwsAlgorithm;
use grantwell::core::keys::remote::JwksUrl;
use serde_json::{Value, json};

use super::client::Client;
use super::source::Taken;

/// Where an export has the keys of a client, and what it signs with.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// A JWK Set, or one key.
    pub(super) jwks: Option<Taken<Value>>,
    /// Where they are fetched.
    pub(super) jwks_uri: Option<Taken<String>>,
    /// The algorithm of its assertions.
    pub(super) alg: Option<Taken<String>>,
}

/// A JWK Set that an export has as text. What is not one is said to have no key.
pub(super) fn set_of(text: &str) -> Value {
    serde_json::from_str(text).map(|Unambiguous(set)| set).unwrap_or_default()
}

impl Client {
    /// The keys of a client that authenticates by one.
    pub(super) fn keys(&mut self, Keys { jwks, jwks_uri, alg }: Keys) {
        let set = jwks.and_then(|jwks| self.jwks(&jwks));
        if let Some(uri) = jwks_uri {
            self.jwks_uri(&uri, set.is_some());
        }
        if let Some(alg) = alg {
            self.assertion_algorithm(&alg, set.as_ref());
        }
    }

    /// Says of keys that the client authenticates otherwise.
    pub(super) fn unused_keys(&mut self, Keys { jwks, jwks_uri, alg }: Keys) {
        const WHY: &str = "the client does not authenticate by a key";
        if let Some(jwks) = jwks {
            self.not_taken(&jwks, WHY);
        }
        for text in [jwks_uri, alg].into_iter().flatten() {
            self.not_taken(&text, WHY);
        }
    }

    /// Those of the keys that can be used: a set may have others for other readers (RFC 7517 §5).
    fn jwks(&mut self, taken: &Taken<Value>) -> Option<JwkSet> {
        let keys: Vec<Value> = match taken.value.get("keys") {
            Some(Value::Array(keys)) => keys.clone(),
            _ => vec![taken.value.clone()],
        };
        let mut set: Option<JwkSet> = None;
        let mut problems = BTreeSet::new();
        let mut refused = 0_usize;
        for key in &keys {
            let parsed = JwkSet::parse(key.to_string().as_bytes());
            let joined = parsed.and_then(|key| set.as_ref().map_or_else(|| Ok(key.clone()), |set| set.with(&key)));
            match joined {
                Ok(joined) => set = Some(joined),
                // The same key twice is one key.
                Err(InvalidJwks::SameKey) => {}
                Err(error) => {
                    refused += 1;
                    problems.insert(problem(&error));
                }
            }
        }
        let why = problems.into_iter().collect::<Vec<_>>().join("; ");
        match &set {
            None if keys.is_empty() => {
                self.not_taken(taken, "it has no key; the client cannot authenticate until the file has one (jwks)");
            }
            None => {
                self.not_taken(taken, format!("{why}; the client cannot authenticate until the file has a key (jwks)"));
            }
            Some(_) if refused > 0 => {
                self.changed(taken, format!("jwks, without {refused} of {} keys: {why}", keys.len()));
            }
            Some(_) => self.taken(taken, "jwks"),
        }
        if let Some(set) = &set {
            self.set("jwks", json!(set));
        }
        set
    }

    fn jwks_uri(&mut self, uri: &Taken<String>, has_keys: bool) {
        match uri.value.parse::<JwksUrl>() {
            _ if has_keys => self.not_taken(uri, "a client has its keys in one place, and this one has them in jwks"),
            Ok(url) => {
                self.set("jwks_uri", json!(url));
                self.taken(uri, "jwks_uri");
            }
            Err(refused) => {
                self.not_taken(uri, format!("{refused}; the client cannot authenticate until the file has its keys"));
            }
        }
    }

    fn assertion_algorithm(&mut self, alg: &Taken<String>, set: Option<&JwkSet>) {
        let fits = |known: JwsAlgorithm| {
            set.is_none_or(|set| set.keys().flat_map(VerifyingKey::algorithms).any(|algorithm| algorithm == known))
        };
        match alg.value.parse::<JwsAlgorithm>() {
            Ok(known) if fits(known) => {
                self.set("token_endpoint_auth_signing_algs", json!([known]));
                self.taken(alg, "token_endpoint_auth_signing_algs");
            }
            Ok(_) => self.not_taken(alg, "none of its keys can be used with it; the client may sign as its keys allow"),
            Err(refused) => self.not_taken(alg, format!("{refused}; the client may sign as its keys allow")),
        }
    }
}

/// Why a key was refused, without its number: each is read by itself.
fn problem(error: &InvalidJwks) -> String {
    match error {
        InvalidJwks::Key { problem, .. } => format!("a key {problem}"),
        InvalidJwks::NotASet => "something in it is not a public key in JSON (RFC 7517)".to_owned(),
        other => other.to_string(),
    }
}
