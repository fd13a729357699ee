//! Opaque access tokens: `gwt_` and 256 random bits. Nothing about the client is in them; the prefix lets secret scanners
//! find a leak.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroize as _;

use super::{AccessToken, TokenDigest};
use crate::core::encoding::prefixed_base64url;

/// What every opaque access token starts with.
pub const PREFIX: &str = "gwt_";

/// The token of these 256 random bits.
pub fn of_random_bits(bits: &[[u8; 16]; 2]) -> AccessToken {
    AccessToken(prefixed_base64url(PREFIX, bits.as_flattened()))
}

/// The digest of a presented token, or `None` where the text cannot be an opaque token of this server, which spares the
/// store a look-up that is billed.
pub fn digest_of_presented(unverified_token: &str) -> Option<TokenDigest> {
    let encoded = unverified_token.strip_prefix(PREFIX)?;
    let mut bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    let length = bytes.len();
    bytes.zeroize();
    (length == 32).then(|| TokenDigest::of(unverified_token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_prefix_and_43_characters() {
        let bits = [0, 16].map(|from| std::array::from_fn(|index| from + u8::try_from(index).expect("small")));
        let token = of_random_bits(&bits);
        assert_eq!(token.expose_token(), "gwt_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        assert_eq!(digest_of_presented(token.expose_token()), Some(token.digest()));
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
            assert_eq!(digest_of_presented(presented), None, "{presented}");
        }
        // The last character carries two unused bits; a token with those set is another text and no token of ours.
        assert_eq!(digest_of_presented("gwt_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9"), None);
    }
}
