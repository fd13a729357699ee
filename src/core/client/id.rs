//! What names a client, and what names one registration of it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::core::conversions::text_conversions;
use crate::core::port_error::PortError;
use crate::core::random::{Random, random_name};

/// A client identifier (RFC 6749 §2.2): 1 to 128 characters of `[A-Za-z0-9._@-]`, compared byte for byte.
///
/// The alphabet is what Basic carries unchanged whether or not a client form-encodes it, and what a Secrets Manager name
/// may contain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

/// The client id is outside its alphabet or length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a client id has 1 to 128 characters of A-Z, a-z, 0-9, '.', '_', '@' and '-', and begins neither with '-' nor with \
     signing-keys"
)]
pub struct MalformedClientId;

/// 128 random bits that name one registration for ever. No secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RegistrationId(String);

impl ClientId {
    /// A random identifier of 128 bits, less those that would start with a hyphen.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where the random source fails.
    pub fn generate(random: &dyn Random) -> Result<Self, PortError> {
        loop {
            let name = random_name(random)?;
            if !name.starts_with('-') {
                return Ok(Self(name));
            }
        }
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = MalformedClientId;

    fn from_str(text: &str) -> Result<Self, MalformedClientId> {
        // A leading hyphen would make the id an option on the command line.
        let well_formed = (1..=128).contains(&text.len())
            && !text.starts_with('-')
            // IAM's `*` spans slashes: the pattern of the realms' signing keys would take in such a client's secret.
            && !text.starts_with("signing-keys")
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'-'));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(MalformedClientId) }
    }
}

text_conversions!(ClientId);

impl RegistrationId {
    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identifier that a token of this server names.
    pub(crate) fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// A new identifier.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where the random source fails.
    pub fn generate(random: &dyn Random) -> Result<Self, PortError> {
        random_name(random).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_basic_or_secrets_manager_would_change_are_refused() {
        for id in [
            "",
            "-a",
            "a b",
            "a+b",
            "a%b",
            "a:b",
            "a/b",
            "é",
            "signing-keys",
            "signing-keys-1",
            "arn:aws:secretsmanager:x",
            &"a".repeat(129),
        ] {
            assert_eq!(id.parse::<ClientId>(), Err(MalformedClientId), "{id}");
        }
        assert!("6f1c.My_client@host-1".parse::<ClientId>().is_ok());
    }
}
