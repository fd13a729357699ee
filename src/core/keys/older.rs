//! A realm's keys as they were kept before their form had a version: as private JWKs (RFC 7517, RFC 7518 §6). They are read, and
//! written in the present form with the next change.
//!
//! Neither library reads a private JWK: jsonwebtoken knows public ones only, aws-lc-rs the numbers of a key. So this takes the
//! numbers out of the text, and lets the libraries make a key of them and check that its halves belong together.

use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKeyKind;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::jwk::{PrivateKey, SigningKeyPair};
use super::published::PublishedKey;
use super::{KeyError, SigningAlgorithm};

/// The private JWKs of a realm.
#[derive(Deserialize)]
pub(super) struct PrivateJwks<'a> {
    pub(super) revision: u64,
    #[serde(borrow)]
    pub(super) keys: Vec<PrivateJwk<'a>>,
}

/// What is private of a key is as it stands in the text: there is no copy of it to wipe.
#[derive(Deserialize)]
pub(super) struct PrivateJwk<'a> {
    #[serde(flatten)]
    pub(super) public: PublishedKey,
    /// Absent of a key that signs no more.
    d: Option<&'a str>,
    p: Option<&'a str>,
    q: Option<&'a str>,
    dp: Option<&'a str>,
    dq: Option<&'a str>,
    qi: Option<&'a str>,
}

impl PrivateJwk<'_> {
    /// The key in the form that signs.
    ///
    /// # Errors
    /// [`KeyError::Malformed`], also where its private and its public half do not belong together.
    pub(super) fn key_pair(&self) -> Result<Option<SigningKeyPair>, KeyError> {
        let Some(d) = self.d else { return Ok(None) };
        let (d, jwk) = (number(Some(d))?, &self.public.jwk);
        let key = match (jwk.decoding_key()?.kind(), jwk.alg) {
            (DecodingKeyKind::SecretOrDer(point), SigningAlgorithm::Es256) => {
                EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &d, point)
                    .map(PrivateKey::Ecdsa)
            }
            (DecodingKeyKind::SecretOrDer(point), SigningAlgorithm::EdDsa) => {
                Ed25519KeyPair::from_seed_and_public_key(&d, point).map(PrivateKey::Ed25519)
            }
            (DecodingKeyKind::RsaModulusExponent { n, e }, _) => RsaKeyPair::from_components(&KeyPairComponents {
                public_key: PublicKeyComponents { n, e },
                d: &*d,
                p: &*number(self.p)?,
                q: &*number(self.q)?,
                dP: &*number(self.dp)?,
                dQ: &*number(self.dq)?,
                qInv: &*number(self.qi)?,
            })
            .map(PrivateKey::Rsa),
            _ => return Err(KeyError::Malformed),
        };
        SigningKeyPair::of(jwk.alg, key).map(Some)
    }
}

fn number(text: Option<&str>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let text = text.ok_or(KeyError::Malformed)?;
    URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| KeyError::Malformed)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::set::KeySet;
    use super::*;

    /// Keys of every algorithm, and one that has retired.
    const OLDER: &str = include_str!("../../../tests/it/support/older-keys.json");

    #[test]
    fn private_jwks_become_the_keys_that_they_were() {
        let older: Value = serde_json::from_str(OLDER).expect("JSON");
        let keys = KeySet::from_json(OLDER).expect("read");
        assert_eq!(keys.revision, 4);
        let (published, signers) = (keys.published(), keys.present_and_future_signers().expect("signers"));
        assert_eq!((published.keys.len(), signers.len()), (6, 5), "the one that has retired signs nothing");
        for (key, older) in published.keys.iter().zip(older["keys"].as_array().expect("a list")) {
            assert_eq!(
                (key.jwk.kid.as_str(), key.published_at.0),
                (older["kid"].as_str().expect("text"), older["published_at"].as_u64().expect("seconds"))
            );
        }
        let verifiers = published.verification_keys().expect("keys");
        for signer in &signers {
            let signature = URL_SAFE_NO_PAD.encode(signer.key.sign(b"message").expect("a signature"));
            let verifier = verifiers.find(signer.kid.as_str(), published.keys[1].published_at).expect("published");
            let verified = jsonwebtoken::crypto::verify(&signature, b"message", &verifier.key, signer.alg.for_jws());
            assert!(verified.expect("decodes"), "{}", signer.alg);
        }

        // Written, they have the present form, and are the same.
        let text = keys.to_json().expect("JSON");
        assert!(text.contains("pkcs8") && !text.contains(r#""d":"#));
        let again = KeySet::from_json(&text).expect("read");
        assert_eq!(again.published(), published);
        assert_eq!(again.present_and_future_signers().expect("signers").len(), 5);
    }

    #[test]
    fn a_private_jwk_of_which_a_number_is_another_is_malformed() {
        let older: Value = serde_json::from_str(OLDER).expect("JSON");
        for (index, members) in
            [(1, ["d", "x", "y"].as_slice()), (3, &["d", "x"]), (5, &["d", "p", "q", "dp", "dq", "qi", "n", "e"])]
        {
            for member in members {
                for other in [json!("AQAB"), json!("!"), json!(""), Value::Null] {
                    let mut changed = older.clone();
                    changed["keys"][index][member] = other.clone();
                    // A number that is not there at all makes a key that signs no more.
                    if *member == "d" && other.is_null() {
                        continue;
                    }
                    if *member == "e" && other == json!("AQAB") {
                        continue;
                    }
                    let read = KeySet::from_json(&changed.to_string());
                    assert_eq!(read.err(), Some(KeyError::Malformed), "{index} {member} {other}");
                }
            }
        }
    }
}
