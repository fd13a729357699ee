//! Access tokens: what the client carries ([`AccessToken`], of the form [`opaque`] or [`jwt`]), what the server keeps of it
//! ([`record`]), what an operator adds to it ([`claims`]), and whether a presented one counts ([`validation`]).

pub mod claims;
pub mod jwt;
pub mod opaque;
pub mod record;
pub mod validation;

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::encoding::base64url;
use record::AccessTokenRecord;

use super::time::UnixSeconds;

/// An access token as the client gets it. Redacted in `Debug`, wiped on drop.
pub struct AccessToken(Zeroizing<String>);

/// SHA-256 of a token: the only form in which a store ever sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

/// A presented text that has the form of a token of this server and, where it is a JWT, the signature: where its facts are.
#[derive(Debug)]
pub enum PresentedToken {
    /// In the record of this digest. Where there is none, it has ended or never was.
    Stored(TokenDigest),
    /// In the token itself: the server has no record.
    Stateless(Box<AccessTokenRecord>),
}

/// What a client carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessTokenFormat {
    /// A random reference, which says nothing.
    #[default]
    Opaque,
    /// A signed JWT (RFC 9068), which a resource server can validate by itself.
    Jwt,
}

/// What the server keeps of a JWT. Of an opaque token it always keeps a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessTokenPersistence {
    /// A record until it expires: a token that the server has no record of is inactive, whoever signed it.
    #[default]
    Stored,
    /// Nothing: issuing it writes nothing, and only its revocation is remembered.
    Stateless,
}

/// A time from which on tokens are to count that has not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tokens_valid_after is {seconds} s ahead of the clock")]
pub struct ValidAfterIsAhead {
    /// By how much.
    pub seconds: u64,
}

/// `wanted` as the `tokens_valid_after` of a client or a realm. A token is dated by the clock of its server: one far ahead of it
/// would be dead at birth, and so none is issued before.
///
/// # Errors
/// [`ValidAfterIsAhead`] for a time further ahead than clocks of one service usually are apart.
pub fn tokens_valid_after(wanted: UnixSeconds, now: UnixSeconds) -> Result<UnixSeconds, ValidAfterIsAhead> {
    let seconds = wanted.since(now);
    if seconds > CLOCKS_APART { Err(ValidAfterIsAhead { seconds }) } else { Ok(wanted) }
}

/// Seconds.
const CLOCKS_APART: u64 = 60;

impl AccessTokenFormat {
    /// Every form.
    pub const ALL: [Self; 2] = [Self::Opaque, Self::Jwt];

    /// The name as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "opaque",
            Self::Jwt => "jwt",
        }
    }
}

impl AccessTokenPersistence {
    /// Both ways.
    pub const ALL: [Self; 2] = [Self::Stored, Self::Stateless];

    /// The name as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Stateless => "stateless",
        }
    }
}

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
