//! Opaque access tokens: `gwt_` and 256 random bits. Nothing about the client is in them; the prefix lets secret scanners
//! find a leak.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::core::ports::{PortError, Random};

/// An access token as the client gets it. Redacted in `Debug`, wiped on drop.
pub struct OpaqueToken(Zeroizing<String>);

/// SHA-256 of a token: the only form in which a store ever sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl OpaqueToken {
    /// What every opaque access token starts with.
    pub const PREFIX: &str = "gwt_";

    /// A new token of 256 random bits.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where the random source fails.
    pub fn generate(random: &dyn Random) -> Result<Self, PortError> {
        Ok(Self(random_text(Self::PREFIX, random)?))
    }

    /// The digest under which the token is stored.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.0)
    }

    /// The token itself, for the one answer that carries it.
    pub fn expose_token(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OpaqueToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OpaqueToken([REDACTED])")
    }
}

impl TokenDigest {
    /// The digest of a presented token, or `None` where the text cannot be a token of this server, which spares the
    /// store a look-up that is billed.
    pub fn of_presented(unverified_token: &str) -> Option<Self> {
        let encoded = unverified_token.strip_prefix(OpaqueToken::PREFIX)?;
        let mut bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let length = bytes.len();
        bytes.zeroize();
        (length == 32).then(|| Self::of(unverified_token))
    }

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

/// `prefix` and 256 random bits in base64url.
pub(crate) fn random_text(prefix: &str, random: &dyn Random) -> Result<Zeroizing<String>, PortError> {
    let mut bytes = Zeroizing::new([0; 32]);
    random.fill(&mut *bytes)?;
    // Sized in advance: a string that grows leaves copies of itself behind.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 43));
    text.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
    Ok(text)
}

/// Base64url without padding (RFC 7515 §2).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting;

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), PortError> {
            bytes.iter_mut().zip(0..).for_each(|(byte, value)| *byte = value);
            Ok(())
        }
    }

    #[test]
    fn a_token_is_its_prefix_and_43_characters() {
        let token = OpaqueToken::generate(&Counting).expect("random bytes");
        assert_eq!(token.expose_token(), "gwt_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        assert_eq!(TokenDigest::of_presented(token.expose_token()), Some(token.digest()));
        assert!(!format!("{token:?} {:?}", token.digest()).contains("AAEC"));
    }

    #[test]
    fn what_cannot_be_a_token_is_not_looked_up() {
        let token = "gwt_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        for presented in [
            "",
            "gwt_",
            "abc",
            &token[..46],
            &format!("{token}A"),
            &token.replace("gwt_", "gws_"),
            &format!("{token}="),
        ] {
            assert_eq!(TokenDigest::of_presented(presented), None, "{presented}");
        }
        // The last character carries two unused bits; a token with those set is another text and no token of ours.
        assert_eq!(TokenDigest::of_presented("gwt_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9"), None);
    }
}
