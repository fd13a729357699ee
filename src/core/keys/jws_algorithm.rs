//! The algorithms by which others sign what this server verifies.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaParameters, VerificationAlgorithm,
};
use serde::{Deserialize, Serialize};

/// A digital signature algorithm for JWS (RFC 7518 §3.1, RFC 8037 §3.1) that clients and issuers may sign with. None with a shared
/// secret, and none that is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum JwsAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// Ed25519, under either of its names: that of RFC 8037, or `Ed25519` as RFC 9864 has it.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

/// The text names no algorithm that this server verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signature is ES256, ES384, PS256, EdDSA (or Ed25519, which is the same) or RS256")]
pub struct UnknownJwsAlgorithm;

impl JwsAlgorithm {
    /// Every one of them.
    pub const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::Ps256, Self::EdDsa, Self::Rs256];

    /// The registered names of all of them, as metadata documents list them.
    pub const NAMES: [&str; 6] = ["ES256", "ES384", "PS256", "EdDSA", ED25519_NAME, "RS256"];

    /// The registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// How many bytes every signature has, where that is the algorithm's to say and not the key's.
    pub(crate) fn signature_len(self) -> Option<usize> {
        match self {
            Self::Es256 | Self::EdDsa => Some(64),
            Self::Es384 => Some(96),
            Self::Ps256 | Self::Rs256 => None,
        }
    }

    /// As the library knows it.
    pub(super) fn for_library(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Es256 => &ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &ECDSA_P384_SHA384_FIXED,
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Self::EdDsa => &ED25519,
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        }
    }

    /// As the library knows it, where it is one of RSA.
    pub(super) fn for_rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
            Self::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
            Self::Es256 | Self::Es384 | Self::EdDsa => None,
        }
    }
}

impl FromStr for JwsAlgorithm {
    type Err = UnknownJwsAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownJwsAlgorithm> {
        if text == ED25519_NAME {
            return Ok(Self::EdDsa);
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text).ok_or(UnknownJwsAlgorithm)
    }
}

impl TryFrom<String> for JwsAlgorithm {
    type Error = UnknownJwsAlgorithm;

    fn try_from(text: String) -> Result<Self, UnknownJwsAlgorithm> {
        text.parse()
    }
}

impl From<JwsAlgorithm> for String {
    fn from(algorithm: JwsAlgorithm) -> Self {
        algorithm.as_str().to_owned()
    }
}

impl fmt::Display for JwsAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

const ED25519_NAME: &str = "Ed25519";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_an_algorithm_and_none_is_without_a_signature_or_with_a_shared_secret() {
        for name in JwsAlgorithm::NAMES {
            let algorithm: JwsAlgorithm = name.parse().expect("known");
            assert!(algorithm.as_str() == name || name == "Ed25519");
        }
        for algorithm in JwsAlgorithm::ALL {
            assert_eq!(serde_json::to_value(algorithm).expect("JSON"), algorithm.as_str());
            assert!(JwsAlgorithm::NAMES.contains(&algorithm.as_str()));
        }
        for name in ["none", "None", "NONE", "", "HS256", "es256", "ES256 ", "ES512", "RS384", "ES256K", "Ed448"] {
            assert_eq!(name.parse::<JwsAlgorithm>(), Err(UnknownJwsAlgorithm), "{name}");
        }
    }
}
