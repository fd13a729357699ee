//! The public halves of a realm's keys: as they are stored and shown, ready to verify, and as the JWKS.

use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};

use super::jwk::{KeyId, PublicJwk};
use super::{KeyError, SigningAlgorithm};
use crate::core::time::UnixSeconds;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// Published, and signs nothing yet.
    Next,
    /// Signs.
    Current,
    /// Signs nothing any more, and verifies.
    Previous,
}

/// A key's public half and its place in time: what verifiers are told, and what an operator is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedKey {
    /// The key.
    #[serde(flatten)]
    pub jwk: PublicJwk,
    /// What it is for.
    pub status: KeyStatus,
    /// Since when it is in the JWKS.
    pub published_at: UnixSeconds,
    /// Since when it signs; absent while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_since: Option<UnixSeconds>,
    /// When it stops verifying; absent while it signs or is about to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixSeconds>,
}

/// The public halves of a set, as they are stored for those who verify.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedKeys {
    /// The revision of the set that they are the public halves of.
    pub revision: u64,
    /// In the order of the set.
    pub keys: Vec<PublishedKey>,
}

/// The keys of a realm that verify, ready to use, and the document that tells others of them.
pub struct VerificationKeys {
    verifiers: Vec<Verifier>,
    jwks: Jwks,
}

/// A key that verifies.
pub struct Verifier {
    kid: KeyId,
    /// The only algorithm it verifies, whatever a token's header says.
    pub(crate) alg: SigningAlgorithm,
    expires_at: Option<UnixSeconds>,
    pub(crate) key: DecodingKey,
}

/// A JWK Set (RFC 7517 §5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Jwks {
    keys: Vec<PublicJwk>,
}

impl PublishedKeys {
    /// The keys in the form that verifies.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn verification_keys(&self) -> Result<VerificationKeys, KeyError> {
        let verifier = |key: &PublishedKey| {
            Ok(Verifier {
                kid: key.jwk.kid.clone(),
                alg: key.jwk.alg,
                expires_at: key.expires_at,
                key: key.jwk.decoding_key()?,
            })
        };
        Ok(VerificationKeys {
            verifiers: self.keys.iter().map(verifier).collect::<Result<_, KeyError>>()?,
            jwks: Jwks { keys: self.keys.iter().map(|key| key.jwk.clone()).collect() },
        })
    }
}

impl VerificationKeys {
    /// The key of this name, if it verifies at `now`.
    pub fn find(&self, kid: &str, now: UnixSeconds) -> Option<&Verifier> {
        let verifier = self.verifiers.iter().find(|verifier| verifier.kid.as_str() == kid)?;
        verifier.expires_at.is_none_or(|expires_at| expires_at > now).then_some(verifier)
    }

    /// Whether a key of this name is among them.
    pub fn know(&self, kid: &str) -> bool {
        self.verifiers.iter().any(|verifier| verifier.kid.as_str() == kid)
    }

    /// The document that tells resource servers of them.
    pub fn jwks(&self) -> &Jwks {
        &self.jwks
    }
}

impl Jwks {
    /// Whether there is no key in it.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
