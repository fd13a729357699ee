//! Grant types by their registered names (RFC 7591 §2).

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::core::conversions::text_conversions;

/// A grant type's registered name (RFC 7591 §2), such as `client_credentials`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GrantType(String);

/// The text is no name that RFC 7591 knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a grant type; name client_credentials, another of RFC 7591 section 2, or none")]
pub struct UnknownGrantType(String);

impl GrantType {
    /// The grant that clients are registered for (RFC 6749 §4.4).
    pub const CLIENT_CREDENTIALS: &str = "client_credentials";

    /// The grant whose assertion is all that its client authenticates with (RFC 7523 §2.1).
    pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

    /// The grant that clients are registered for.
    pub fn client_credentials() -> Self {
        Self(Self::CLIENT_CREDENTIALS.to_owned())
    }

    /// The grant whose assertion is all that its client authenticates with.
    pub fn jwt_bearer() -> Self {
        Self(Self::JWT_BEARER.to_owned())
    }

    /// Whether a client can get a token by it.
    pub fn is_implemented(&self) -> bool {
        matches!(self.as_str(), Self::CLIENT_CREDENTIALS | Self::JWT_BEARER)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GrantType {
    type Err = UnknownGrantType;

    fn from_str(text: &str) -> Result<Self, UnknownGrantType> {
        let registered = ["authorization_code", "implicit", "password", Self::CLIENT_CREDENTIALS, "refresh_token"]
            .contains(&text)
            || text.strip_prefix("urn:ietf:params:oauth:grant-type:").is_some_and(|rest| {
                !rest.is_empty() && rest.len() <= 64 && rest.bytes().all(|byte| byte.is_ascii_graphic())
            });
        if registered {
            Ok(Self(text.to_owned()))
        } else {
            Err(UnknownGrantType(text.escape_default().take(64).collect()))
        }
    }
}

text_conversions!(GrantType);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_type_has_a_name_of_rfc_7591_or_one_that_an_extension_has_registered() {
        let extension = |rest: &str| format!("urn:ietf:params:oauth:grant-type:{rest}");
        let registered = ["authorization_code", "implicit", "password", "client_credentials", "refresh_token"];
        let extensions = [extension("jwt-bearer"), extension("!"), extension(&"x".repeat(64))];
        for name in registered.into_iter().chain(extensions.iter().map(String::as_str)) {
            assert_eq!(name.parse::<GrantType>().map(String::from), Ok(name.to_owned()));
        }
        for text in [
            "",
            "jwt-bearer",
            "Client_Credentials",
            "client_credentials ",
            "urn:example:jwt-bearer",
            &extension(""),
            &extension("jwt bearer"),
            &extension("jwt\u{e9}"),
            &extension(&"x".repeat(65)),
        ] {
            assert!(text.parse::<GrantType>().is_err(), "{text:?}");
        }
    }
}
