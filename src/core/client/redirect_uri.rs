//! Sign-in URLs of clients (RFC 6749 §3.1.2).

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::core::conversions::text_conversions;

/// An absolute URI without a fragment (RFC 6749 §3.1.2), kept as it was written: comparison is by character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(String);

/// The redirect URI is not absolute or has a fragment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a sign-in URL; give an absolute http(s) URL, or one with an application's own scheme such as \
     com.example.app:/callback, without a fragment (RFC 6749 section 3.1.2, RFC 8252 section 7.1)"
)]
pub struct InvalidRedirectUri(String);

impl FromStr for RedirectUri {
    type Err = InvalidRedirectUri;

    fn from_str(text: &str) -> Result<Self, InvalidRedirectUri> {
        let refused = || InvalidRedirectUri(text.escape_default().take(256).collect());
        if text.len() > 2048 || text.contains('#') || text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(refused());
        }
        let url = Url::parse(text).map_err(|_| refused())?;
        // An application's own scheme is a domain name in reverse (RFC 8252 §7.1), which javascript: and data: are not.
        let fit = matches!(url.scheme(), "http" | "https") || url.scheme().contains('.');
        if fit { Ok(Self(text.to_owned())) } else { Err(refused()) }
    }
}

impl RedirectUri {
    /// The URI as it was registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_conversions!(RedirectUri);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_uri_is_absolute_and_has_no_fragment() {
        for uri in
            ["javascript:alert(1)", "data:text/html,x", "callback", "/callback", "https://a/#f", "https://a/\n", ""]
        {
            assert!(uri.parse::<RedirectUri>().is_err(), "{uri:?}");
        }
    }
}
