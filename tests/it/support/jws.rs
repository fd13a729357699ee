//! JWTs as others make them: of any header and any claims, by any key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand::SystemRandom as LibraryRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantwell::core::ports::Clock;
use grantwell::core::time::UnixSeconds;
use serde_json::{Value, json};

/// A key of a client.
pub(crate) enum Signer {
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rsa(Arc<RsaKeyPair>, &'static str),
}

impl Signer {
    pub(crate) fn new(alg: &'static str) -> Self {
        match alg {
            "ES256" => Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")),
            "ES384" => Self::Es384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key")),
            "EdDSA" => Self::EdDsa(Ed25519KeyPair::generate().expect("a key")),
            _ => Self::Rsa(Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")), alg),
        }
    }

    pub(crate) fn alg(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Es384(_) => "ES384",
            Self::EdDsa(_) => "EdDSA",
            Self::Rsa(_, alg) => alg,
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = LibraryRandom::new();
        match self {
            Self::Es256(pair) | Self::Es384(pair) => pair.sign(&random, message).expect("signed").as_ref().to_vec(),
            Self::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rsa(pair, alg) => {
                let padding = if *alg == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).expect("signed");
                signature
            }
        }
    }

    /// Without a kid and without an alg.
    pub(crate) fn jwk(&self) -> Value {
        let text = |octets: &[u8]| json!(URL_SAFE_NO_PAD.encode(octets));
        match self {
            Self::Es256(pair) | Self::Es384(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                json!({ "kty": "EC", "crv": if x.len() == 32 { "P-256" } else { "P-384" }, "x": text(x), "y": text(y) })
            }
            Self::EdDsa(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) }),
            Self::Rsa(pair, _) => {
                let key = jsonwebtoken::DecodingKey::from_rsa_der(pair.public_key().as_ref());
                serde_json::to_value(jsonwebtoken::jwk::Jwk::from_decoding_key(&key, None).expect("a JWK"))
                    .expect("JSON")
            }
        }
    }

    pub(crate) fn named(&self, kid: &str) -> Value {
        with(self.jwk(), "kid", json!(kid))
    }

    /// An assertion of any header and any claims.
    pub(crate) fn jws(&self, header: &Value, claims: &Value) -> String {
        self.jws_of_texts(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn jws_of_texts(&self, header: &str, claims: &str) -> String {
        let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    pub(crate) fn assertion(&self, claims: &Value) -> String {
        self.jws(&json!({ "alg": self.alg() }), claims)
    }
}

/// A clock that a test sets.
pub(crate) struct ClockAt(AtomicU64);

impl ClockAt {
    pub(crate) fn new(now: u64) -> Self {
        Self(AtomicU64::new(now))
    }

    pub(crate) fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }
}

impl Clock for ClockAt {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.0.load(Ordering::Relaxed))
    }
}

pub(crate) fn with(mut object: Value, member: &str, value: Value) -> Value {
    object[member] = value;
    object
}

pub(crate) fn without(mut object: Value, member: &str) -> Value {
    object.as_object_mut().expect("an object").remove(member);
    object
}
