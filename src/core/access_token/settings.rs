//! What an operator decides about access tokens: their form, what is kept of them, what signs them, and how long they live.

use serde::{Deserialize, Serialize};

use crate::core::conversions::number_conversions;
use crate::core::keys::SigningAlgorithm;

/// How the access tokens of a client are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessTokenSettings {
    /// What the client gets.
    pub format: AccessTokenFormat,
    /// What is kept of a JWT.
    pub persistence: AccessTokenPersistence,
    /// What a JWT is signed with.
    pub signing_alg: SigningAlgorithm,
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

/// Seconds an access token lives: 1 to [`TokenLifetime::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct TokenLifetime(u64);

/// The lifetime is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token lifetime is 1 to {max} seconds", max = TokenLifetime::MAX)]
pub struct InvalidTokenLifetime;

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

impl TokenLifetime {
    /// Thirty days. A machine can ask again; a token that outlives its reason cannot be taken back by forgetting it.
    pub const MAX: u64 = 30 * 24 * 3600;
    /// An hour.
    pub const DEFAULT: Self = Self(3600);

    /// A lifetime of `seconds`.
    ///
    /// # Errors
    /// [`InvalidTokenLifetime`] outside 1 to [`Self::MAX`].
    pub fn new(seconds: u64) -> Result<Self, InvalidTokenLifetime> {
        if (1..=Self::MAX).contains(&seconds) { Ok(Self(seconds)) } else { Err(InvalidTokenLifetime) }
    }

    /// The lifetime in seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }
}

number_conversions!(TokenLifetime: InvalidTokenLifetime);
