//! Signing keys of a realm: their form ([`jwk`]), what is kept of them and when each of them signs and verifies ([`set`]),
//! and their making on first use and replacement in time ([`keyring`]), and how long they verify afterwards ([`retention`]).
//! Beside them, the public keys of others ([`jwk_set`]) and where those are fetched ([`remote`]).
//!
//! A key is published before it signs and verifies until the last token it signed has expired, so that a resource server
//! that keeps the JWKS for as long as it is told to never meets a key it does not know.

pub mod client_key;
pub mod copy;
pub mod jwk;
pub mod jwk_set;
pub mod jws_algorithm;
pub mod keyring;
mod older;
pub mod published;
pub mod remote;
pub mod retention;
pub mod set;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::port_error::PortError;

/// A digital signature algorithm for JWS (RFC 7518 §3.1, RFC 8037 §3.1). Asymmetric ones only: a resource server must be
/// able to verify without being able to sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSASSA-PSS with SHA-256, 2048 bits.
    #[serde(rename = "PS256")]
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits: for resource servers that know nothing else.
    #[serde(rename = "RS256")]
    Rs256,
}

/// The text names no algorithm that this server signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing algorithm is ES256, EdDSA, PS256 or RS256")]
pub struct UnknownSigningAlgorithm;

/// Why a key could not be made, read or used. Never says anything about the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The cryptographic library could not make a key.
    #[error("a signing key could not be made")]
    Generation,
    /// What was read is no key of its algorithm, or its private half is not that of its public half.
    #[error("a signing key is malformed")]
    Malformed,
    /// The keys are stored in a form of a later version.
    #[error("the signing keys were written by a later version of grantwell; use that one")]
    UnknownForm,
    /// The set has so many keys that a secret has no room for them.
    #[error("a secret has no room for more of the realm's keys: change them again once an earlier one has expired")]
    TooManyKeys,
    /// The library refused to sign.
    #[error("a signature could not be made")]
    Signing,
    /// The set has no key that may sign.
    #[error("no signing key is current")]
    NoCurrentKey,
}

impl SigningAlgorithm {
    /// Every algorithm this server signs with.
    pub const ALL: [Self; 4] = [Self::Es256, Self::EdDsa, Self::Ps256, Self::Rs256];

    /// The registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }

    pub(crate) fn for_jws(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }
}

impl FromStr for SigningAlgorithm {
    type Err = UnknownSigningAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownSigningAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text).ok_or(UnknownSigningAlgorithm)
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl From<KeyError> for PortError {
    fn from(error: KeyError) -> Self {
        let detail = error.to_string();
        match error {
            KeyError::Generation | KeyError::TooManyKeys | KeyError::Signing => {
                Self::Unavailable { service: SERVICE, detail }
            }
            KeyError::Malformed | KeyError::UnknownForm | KeyError::NoCurrentKey => {
                Self::Corrupt { service: SERVICE, detail }
            }
        }
    }
}

const SERVICE: &str = "the realm's signing keys";
