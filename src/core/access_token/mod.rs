//! Access tokens: what the client carries ([`AccessToken`], of the form [`opaque`] or [`jwt`]), what the server keeps of it
//! ([`record`]), what an operator decides about it ([`settings`]) and adds to it ([`claims`]), whether a presented one counts
//! ([`validation`], [`inactive`]), and what a protected resource is told of it ([`facts`]).

pub mod claims;
pub mod facts;
pub mod inactive;
pub mod jwt;
pub mod opaque;
pub mod record;
pub mod settings;
pub mod validation;

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::encoding::base64url;
use super::time::UnixSeconds;

/// An access token as the client gets it. Redacted in `Debug`, wiped on drop.
pub struct AccessToken(Zeroizing<String>);

/// SHA-256 of a token: the only form in which a store ever sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

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
