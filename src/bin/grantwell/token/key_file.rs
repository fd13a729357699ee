//! A private key in a file: as a JWK (RFC 7517), or as PEM in one of the three forms that tools write (PKCS#8, SEC 1, PKCS#1).

use std::fs;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use zeroize::Zeroizing;

use grantwell::core::keys::jws_algorithm::JwsAlgorithm;

use crate::failure::Failure;

/// A private key, ready to sign. Without `Debug`; the library wipes what is private.
pub(super) struct KeyFile {
    /// What it signs with.
    pub(super) alg: JwsAlgorithm,
    /// Its name, where the file says it.
    pub(super) kid: Option<String>,
    key: PrivateKey,
}

enum PrivateKey {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// The members of RFC 7518 §6 and RFC 8037 §2 that a private key may have. Its numbers are wiped on drop.
#[derive(Deserialize)]
struct PrivateJwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    d: Option<Number>,
    x: Option<Number>,
    y: Option<Number>,
    n: Option<Number>,
    e: Option<Number>,
    p: Option<Number>,
    q: Option<Number>,
    dp: Option<Number>,
    dq: Option<Number>,
    qi: Option<Number>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Number(Zeroizing<Vec<u8>>);

impl KeyFile {
    /// The key in a file; `alg` in place of what the file says.
    ///
    /// # Errors
    /// A [`Failure`] that says what the file lacks. Nothing of it is repeated.
    pub(super) fn read(path: &Path, alg: Option<JwsAlgorithm>) -> Result<Self, Failure> {
        let in_file = |what: String| Failure::new(format!("--key {}: {what}", path.display()));
        let text = Zeroizing::new(fs::read(path).map_err(|error| in_file(error.to_string()))?);
        let is_json = text.trim_ascii_start().starts_with(b"{");
        let (key, kid, own_alg) = if is_json { of_jwk(&text) } else { of_pem(&text).map(|key| (key, None, None)) }
            .map_err(|what| in_file(what.to_owned()))?;
        let own_alg = own_alg.map(|name| name.parse()).transpose();
        let alg = match alg {
            Some(alg) => alg,
            None => own_alg.map_err(|error| in_file(format!("{error}")))?.unwrap_or(key.usual_alg()),
        };
        if !key.signs_with(alg) {
            return Err(in_file(format!("this is a key for {}, which cannot sign with {alg}", key.algs())));
        }
        Ok(Self { alg, kid, key })
    }

    /// The signature of `message` in the form of a JWS.
    ///
    /// # Errors
    /// A [`Failure`] where the library refuses.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        // The library asks for a random source and does not use it: it has its own.
        let random = SystemRandom::new();
        let signature = match &self.key {
            PrivateKey::P256(pair) | PrivateKey::P384(pair) => {
                pair.sign(&random, message).map(|signature| signature.as_ref().to_vec())
            }
            PrivateKey::Ed25519(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()),
            PrivateKey::Rsa(pair) => {
                let encoding = if self.alg == JwsAlgorithm::Ps256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).map(|()| signature)
            }
        };
        signature.map_err(|_| Failure::new("the key could not sign; make another one"))
    }
}

impl PrivateKey {
    fn usual_alg(&self) -> JwsAlgorithm {
        match self {
            Self::P256(_) => JwsAlgorithm::Es256,
            Self::P384(_) => JwsAlgorithm::Es384,
            Self::Ed25519(_) => JwsAlgorithm::EdDsa,
            Self::Rsa(_) => JwsAlgorithm::Ps256,
        }
    }

    fn signs_with(&self, alg: JwsAlgorithm) -> bool {
        alg == self.usual_alg() || matches!((self, alg), (Self::Rsa(_), JwsAlgorithm::Rs256))
    }

    fn algs(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::P384(_) => "ES384",
            Self::Ed25519(_) => "EdDSA",
            Self::Rsa(_) => "PS256 or RS256",
        }
    }
}

impl TryFrom<String> for Number {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let text = Zeroizing::new(text);
        URL_SAFE_NO_PAD.decode(text.as_bytes()).map(|bytes| Self(Zeroizing::new(bytes))).map_err(|_| "not base64url")
    }
}

impl AsRef<[u8]> for Number {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn of_jwk(text: &[u8]) -> Result<(PrivateKey, Option<String>, Option<String>), &'static str> {
    // serde's own message could quote the key.
    let mut jwk: PrivateJwk = serde_json::from_slice(text).map_err(|_| NOT_A_KEY)?;
    let (kid, alg) = (jwk.kid.take(), jwk.alg.take());
    let d = jwk.d.take().ok_or(if jwk.kty == "oct" { SYMMETRIC } else { PUBLIC })?;
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("EC", Some("P-256")) => ec(&ECDSA_P256_SHA256_FIXED_SIGNING, &d, &jwk).map(PrivateKey::P256),
        ("EC", Some("P-384")) => ec(&ECDSA_P384_SHA384_FIXED_SIGNING, &d, &jwk).map(PrivateKey::P384),
        ("OKP", Some("Ed25519")) => {
            let public = jwk.x.as_ref();
            public.and_then(|x| Ed25519KeyPair::from_seed_and_public_key(&d.0, &x.0).ok()).map(PrivateKey::Ed25519)
        }
        ("RSA", _) => rsa(d, jwk).map(PrivateKey::Rsa),
        _ => return Err(OTHER_KEY),
    };
    Ok((key.ok_or(BROKEN)?, kid, alg))
}

fn ec(alg: &'static EcdsaSigningAlgorithm, d: &Number, jwk: &PrivateJwk) -> Option<EcdsaKeyPair> {
    // A point that is not compressed (SEC 1 §2.3.3).
    let point = [&[4], jwk.x.as_ref()?.as_ref(), jwk.y.as_ref()?.as_ref()].concat();
    EcdsaKeyPair::from_private_key_and_public_key(alg, &d.0, &point).ok()
}

fn rsa(d: Number, jwk: PrivateJwk) -> Option<RsaKeyPair> {
    RsaKeyPair::from_components(&KeyPairComponents {
        public_key: PublicKeyComponents { n: jwk.n?, e: jwk.e? },
        d,
        p: jwk.p?,
        q: jwk.q?,
        dP: jwk.dp?,
        dQ: jwk.dq?,
        qInv: jwk.qi?,
    })
    .ok()
}

fn of_pem(text: &[u8]) -> Result<PrivateKey, &'static str> {
    let is_encrypted = text.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
    let key = PrivateKeyDer::from_pem_slice(text).map_err(|_| if is_encrypted { LOCKED } else { NOT_A_KEY })?;
    let der = key.secret_der();
    // Which type of key it is, only the library can tell; it refuses those of another.
    let ec = |alg| EcdsaKeyPair::from_private_key_der(alg, der).ok();
    ec(&ECDSA_P256_SHA256_FIXED_SIGNING)
        .map(PrivateKey::P256)
        .or_else(|| ec(&ECDSA_P384_SHA384_FIXED_SIGNING).map(PrivateKey::P384))
        .or_else(|| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(PrivateKey::Ed25519))
        .or_else(|| RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok().map(PrivateKey::Rsa))
        .ok_or(OTHER_KEY)
}

const ENCRYPTED: &[u8] = b"ENCRYPTED";
const NOT_A_KEY: &str =
    "this is not a private key; give a JWK in JSON, or PEM that begins with -----BEGIN PRIVATE KEY-----";
const LOCKED: &str = "this key is encrypted; decrypt it into a file of mode 0600, such as by openssl pkcs8";
const PUBLIC: &str = "this is a public key; give the private one, whose public half the client is registered with";
const SYMMETRIC: &str = "this is a symmetric key; give a private key of type EC, OKP or RSA";
const OTHER_KEY: &str =
    "keys of this type do not sign here; give one of P-256, P-384 or Ed25519, or of RSA with 2048 bits or more";
const BROKEN: &str = "the numbers of this key are missing or do not belong together; take the file as it was made";
