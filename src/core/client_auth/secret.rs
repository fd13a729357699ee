//! `client_secret_basic` and `client_secret_post` (RFC 6749 §2.3.1): how they carry a secret, and how it is compared.
//! Comparison is over digests of fixed length and in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::{Zeroize as _, Zeroizing};

use crate::core::client::secret::{ClientSecrets, SecretDigest};
use crate::core::encoding::{decode_form, is_vschar};
use crate::core::error::{ClientAuthFailure, OAuthError};

/// The id and the secret that a request presents, decoded and not verified.
pub(super) struct IdAndSecret {
    /// Not yet known to be well formed: a registered id is, so anything else is an unknown client.
    pub(super) unverified_client_id: Zeroizing<String>,
    pub(super) secret: PresentedSecret,
}

/// The digest of the secret that a request presents.
pub(super) struct PresentedSecret(SecretDigest);

impl ClientSecrets {
    /// Whether the presented secret is the current or the previous one. Always compares twice, so that an unknown
    /// client, a client without a previous secret and one with both cost the same.
    pub(super) fn verify(secrets: Option<&Self>, presented: &PresentedSecret) -> bool {
        let current = compare(secrets.map(|secrets| &secrets.current), presented);
        let previous = compare(secrets.and_then(|secrets| secrets.previous.as_ref()), presented);
        (current | previous).into()
    }
}

impl IdAndSecret {
    /// # Errors
    /// [`OAuthError::InvalidClient`] for an id or a secret that is empty or not VSCHAR (RFC 6749 Appendix A.1, A.2).
    pub(super) fn new(client_id: &str, secret: &str) -> Result<Self, OAuthError> {
        if !is_vschar(client_id) || !is_vschar(secret) {
            return Err(OAuthError::InvalidClient(ClientAuthFailure::Malformed));
        }
        let unverified_client_id = Zeroizing::new(client_id.to_owned());
        Ok(Self { unverified_client_id, secret: PresentedSecret::new(secret) })
    }
}

impl PresentedSecret {
    pub(super) fn new(secret: &str) -> Self {
        Self(SecretDigest::of(secret))
    }
}

/// Decodes the value of an Authorization header as Basic credentials (RFC 7617, with the id and the secret form-encoded
/// as RFC 6749 §2.3.1 demands).
///
/// # Errors
/// [`OAuthError::InvalidClient`] for another scheme and for whatever does not decode exactly.
pub(super) fn decode_basic(value: &[u8]) -> Result<IdAndSecret, OAuthError> {
    const MALFORMED: OAuthError = OAuthError::InvalidClient(ClientAuthFailure::Malformed);

    let mut halves = value.splitn(2, |byte| *byte == b' ');
    let (scheme, encoded) = (halves.next().unwrap_or_default(), halves.next().ok_or(MALFORMED)?);
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        return Err(OAuthError::InvalidClient(ClientAuthFailure::MethodNotSupported));
    }
    // The engine is strict: no white space, canonical padding, no stray bits at the end.
    let pair = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| MALFORMED)?);
    let colon = pair.iter().position(|byte| *byte == b':').ok_or(MALFORMED)?;
    let (id, secret) = pair.split_at(colon);
    // A colon was found, so the second half starts with it.
    let secret = secret.get(1..).ok_or(MALFORMED)?;
    let (id, secret) = (decode_form(id).ok_or(MALFORMED)?, decode_form(secret).ok_or(MALFORMED)?);
    IdAndSecret::new(&id, &secret)
}

fn compare(stored: Option<&SecretDigest>, presented: &PresentedSecret) -> Choice {
    let mut reference = stored.map_or([0; 32], |digest| *digest.as_bytes());
    let equal = reference.ct_eq(presented.0.as_bytes()) & Choice::from(u8::from(stored.is_some()));
    reference.zeroize();
    equal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(pair: &[u8]) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(pair)).into_bytes()
    }

    fn is_malformed(value: &[u8]) -> bool {
        matches!(decode_basic(value), Err(OAuthError::InvalidClient(ClientAuthFailure::Malformed)))
    }

    #[test]
    fn an_encoded_and_a_plain_credential_are_the_same() {
        for (scheme, pair) in [("Basic", "my-client:s_1"), ("bAsIc", "my%2Dclient:s%5F1")] {
            let value = format!("{scheme} {}", STANDARD.encode(pair));
            let credentials = decode_basic(value.as_bytes()).unwrap_or_else(|_| panic!("{value}"));
            assert_eq!(credentials.unverified_client_id.as_str(), "my-client");
            assert!(compare(Some(&SecretDigest::of("s_1")), &credentials.secret).unwrap_u8() == 1);
        }
    }

    #[test]
    fn everything_after_the_first_colon_is_the_secret() {
        let credentials = decode_basic(&basic(b"id:a%3Ab+%26:c")).unwrap_or_else(|_| panic!("decodes"));
        assert!(compare(Some(&SecretDigest::of("a:b &:c")), &credentials.secret).unwrap_u8() == 1);
    }

    #[test]
    fn whatever_does_not_decode_exactly_is_malformed() {
        let cases: [&[u8]; 12] = [
            b"Basic",
            b"Basic ",
            b"Basic  Zm9vOmJhcg==",
            b"Basic Zm9vOmJhcg== x",
            b"Basic !!!",
            b"Basic Zm9vOmJhcg==!",
            b"Basic Zm9vOmJhcg",
            b"Basic Zm9vOmJhch==",
            b"Basic Zm9v",
            b"Basic Zm9vOmJhcg==, Basic Zm9vOmJhcg==",
            b"Basic \xff",
            b"Basic Zm9vOm-_-_",
        ];
        for value in cases {
            assert!(is_malformed(value), "{}", String::from_utf8_lossy(value));
        }
        for pair in [&b":secret"[..], b"id:", b"foo%zz:bar", b"id:\xff\xfe", b"id:a%00", "id:é".as_bytes(), b"i\td:x"]
        {
            assert!(is_malformed(&basic(pair)), "{}", String::from_utf8_lossy(pair));
        }
    }

    #[test]
    fn both_secrets_of_a_rotation_verify_and_nothing_else() {
        let secrets = ClientSecrets::read(SecretDigest::of("new"), Some(SecretDigest::of("old")));
        for (text, expected) in [("new", true), ("old", true), ("older", false), ("", false), ("ne", false)] {
            assert_eq!(ClientSecrets::verify(Some(&secrets), &PresentedSecret::new(text)), expected, "{text}");
        }
        assert!(!ClientSecrets::verify(None, &PresentedSecret::new("new")));
    }

    #[test]
    fn an_absent_secret_equals_nothing_not_even_its_placeholder() {
        assert!(compare(None, &PresentedSecret(SecretDigest::from_bytes([0; 32]))).unwrap_u8() == 0);
    }
}
