//! A key pair that is made for a client: the public half for its registration, the private one for the client alone.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::jwk::SigningKeyPair;
use super::jwk_set::JwkSet;
use super::{KeyError, SigningAlgorithm};
use crate::core::encoding::base64url;

/// A new key pair. Without `Debug`.
pub struct ClientKeyPair {
    pair: SigningKeyPair,
    kid: String,
    public: JwkSet,
}

/// How a private key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateKeyFormat {
    /// As a JWK (RFC 7517), which says its `kid` and `alg`.
    Jwk,
    /// As PKCS#8 in PEM (RFC 7468 §10).
    Pem,
}

/// The text names no format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a private key is written as jwk or as pem")]
pub struct UnknownPrivateKeyFormat;

/// Why a private key was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    /// The library gives out no numbers of RSA.
    #[error("an RSA key cannot be written as a JWK")]
    RsaAsJwk,
    /// The library refused.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl ClientKeyPair {
    /// A new pair, named by its thumbprint.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn generate(alg: SigningAlgorithm) -> Result<Self, KeyError> {
        let pair = SigningKeyPair::generate(alg)?;
        let public = pair.public_jwk()?;
        let text = serde_json::to_vec(&public).map_err(|_| KeyError::Malformed)?;
        let kid = public.kid.as_str().to_owned();
        Ok(Self { pair, kid, public: JwkSet::parse(&text).map_err(|_| KeyError::Malformed)? })
    }

    /// Its name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half.
    pub fn public_keys(&self) -> &JwkSet {
        &self.public
    }

    /// The private half.
    ///
    /// # Errors
    /// [`PrivateKeyError`].
    pub fn private_key(&self, format: PrivateKeyFormat) -> Result<Zeroizing<String>, PrivateKeyError> {
        match format {
            PrivateKeyFormat::Pem => Ok(pem(self.pair.to_pkcs8()?.as_der())),
            PrivateKeyFormat::Jwk => {
                let d = self.pair.private_number()?.ok_or(PrivateKeyError::RsaAsJwk)?;
                let public = serde_json::to_value(self.pair.public_jwk()?).map_err(|_| KeyError::Malformed)?;
                let Value::Object(mut jwk) = public else { return Err(KeyError::Malformed.into()) };
                jwk.insert("d".to_owned(), json!(base64url(&d)));
                Ok(Zeroizing::new(format!("{:#}\n", Value::Object(jwk))))
            }
        }
    }
}

impl PrivateKeyFormat {
    /// What is usual for keys of this algorithm.
    pub fn usual_for(alg: SigningAlgorithm) -> Self {
        match alg {
            SigningAlgorithm::Es256 | SigningAlgorithm::EdDsa => Self::Jwk,
            SigningAlgorithm::Ps256 | SigningAlgorithm::Rs256 => Self::Pem,
        }
    }

    /// Its name, which is the ending of a file, too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jwk => "jwk",
            Self::Pem => "pem",
        }
    }
}

impl FromStr for PrivateKeyFormat {
    type Err = UnknownPrivateKeyFormat;

    fn from_str(text: &str) -> Result<Self, UnknownPrivateKeyFormat> {
        [Self::Jwk, Self::Pem].into_iter().find(|format| format.as_str() == text).ok_or(UnknownPrivateKeyFormat)
    }
}

/// RFC 7468 §3: lines of 64 characters.
fn pem(der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(base64.len() * 2));
    text.push_str("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    text
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{Algorithm, EncodingKey};

    use super::*;
    use crate::core::keys::jwk_set::KeyChoice;
    use crate::core::time::UnixSeconds;

    #[test]
    fn what_another_library_signs_with_the_private_half_the_public_half_verifies() {
        for alg in SigningAlgorithm::ALL {
            let pair = ClientKeyPair::generate(alg).expect("a pair");
            let pem = pair.private_key(PrivateKeyFormat::Pem).expect("PEM");
            assert!(pem.lines().all(|line| line.len() <= 64));
            let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            let der = STANDARD.decode(body).expect("base64");
            let (key, algorithm) = match alg {
                SigningAlgorithm::Es256 => (EncodingKey::from_ec_der(&der), Algorithm::ES256),
                SigningAlgorithm::EdDsa => (EncodingKey::from_ed_der(&der), Algorithm::EdDSA),
                SigningAlgorithm::Ps256 => (EncodingKey::from_rsa_der(&der[26..]), Algorithm::PS256),
                SigningAlgorithm::Rs256 => (EncodingKey::from_rsa_der(&der[26..]), Algorithm::RS256),
            };
            let signature = jsonwebtoken::crypto::sign(b"message", &key, algorithm).expect("signed");
            let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
            let alg = alg.as_str().parse().expect("known");
            let KeyChoice::One(public) = pair.public_keys().choose(alg, Some(pair.kid()), UnixSeconds(0)) else {
                panic!("no key for {alg}");
            };
            assert!(public.verifies(b"message", &signature), "{alg}");
        }
    }

    #[test]
    fn a_private_jwk_is_the_public_one_and_d() {
        for alg in [SigningAlgorithm::Es256, SigningAlgorithm::EdDsa] {
            let pair = ClientKeyPair::generate(alg).expect("a pair");
            let text = pair.private_key(PrivateKeyFormat::Jwk).expect("a JWK");
            let mut jwk: Value = serde_json::from_str(&text).expect("JSON");
            let d = jwk.as_object_mut().expect("an object").remove("d").expect("private");
            assert_eq!(URL_SAFE_NO_PAD.decode(d.as_str().expect("text")).expect("base64").len(), 32);
            assert_eq!(JwkSet::parse(jwk.to_string().as_bytes()).as_ref(), Ok(pair.public_keys()));
            assert_eq!((&jwk["kid"], &jwk["alg"]), (&json!(pair.kid()), &json!(alg.as_str())));
        }
        let rsa = ClientKeyPair::generate(SigningAlgorithm::Rs256).expect("a pair");
        assert_eq!(rsa.private_key(PrivateKeyFormat::Jwk), Err(PrivateKeyError::RsaAsJwk));
    }
}
