//! Access tokens: what the client carries ([`AccessToken`], of the form [`opaque`]) and what the server keeps of it
//! ([`record`]).

pub mod opaque;
pub mod record;

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use opaque::base64url;

/// An access token as the client gets it. Redacted in `Debug`, wiped on drop.
pub struct AccessToken(Zeroizing<String>);

/// SHA-256 of a token: the only form in which a store ever sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl AccessToken {
    /// The digest under which the token is stored.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.0)
    }

    /// The token itself, for the one answer that carries it.
    pub fn expose_token(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AccessToken([REDACTED])")
    }
}

impl TokenDigest {
    /// The digest in base64url without padding.
    pub fn to_base64url(self) -> String {
        base64url(&self.0)
    }

    /// The digest's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenDigest([REDACTED])")
    }
}
