//! `client_secret_basic` and `client_secret_post` (RFC 6749 §2.3.1), and the secrets they carry.
//!
//! A generated secret is 256 random bits, so its SHA-256 can be stored and compared as it is: there is no dictionary to
//! slow down. Comparison is over digests of fixed length and in constant time.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::{Zeroize as _, Zeroizing};

use super::Credentials;
use crate::core::access_token::opaque::random_text;
use crate::core::client::AuthMethod;
use crate::core::error::{ClientAuthFailure, OAuthError};
use crate::core::params::{decode, is_vschar};
use crate::core::ports::{PortError, Random};

/// A client secret in the clear, on its way from the generator or the operator to a store.
pub struct ClientSecret(SecretString);

/// SHA-256 of a client secret. No `PartialEq`: it is compared by [`ClientSecrets::verify`] only.
#[derive(Clone)]
pub struct SecretDigest([u8; 32]);

/// What a client may authenticate with: its current secret, and during a rotation the previous one.
#[derive(Clone, Debug)]
pub struct ClientSecrets {
    /// The newest secret.
    pub current: SecretDigest,
    /// The secret before it, until the next rotation or until it is revoked.
    pub previous: Option<SecretDigest>,
    /// Whether one of them may be newer than the registration that they were asked for. A right may have been withdrawn from
    /// it before that secret was made, so they open it only once it has been read again.
    pub may_be_newer: bool,
}

/// The digest of the secret that a request presents.
pub(super) struct PresentedSecret(SecretDigest);

/// Why a secret brought along was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// Fewer than [`ClientSecret::MIN_LENGTH`] characters.
    #[error(
        "the secret has fewer than {min} characters; let one be generated, or pass --allow-weak-secret",
        min = ClientSecret::MIN_LENGTH
    )]
    TooShort,
    /// Empty, longer than [`ClientSecret::MAX_LENGTH`], or with characters that no request can carry.
    #[error(
        "a secret has 1 to {max} printable ASCII characters (RFC 6749 Appendix A.2)",
        max = ClientSecret::MAX_LENGTH
    )]
    NotVschar,
}

impl ClientSecret {
    /// What every generated secret starts with, so that secret scanners find a leak.
    pub const PREFIX: &str = "gws_";
    /// The fewest characters of a secret brought along.
    pub const MIN_LENGTH: usize = 16;
    /// The most characters of a secret brought along.
    pub const MAX_LENGTH: usize = 512;

    /// A new secret of 256 random bits.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where the random source fails.
    pub fn generate(random: &dyn Random) -> Result<Self, PortError> {
        let text = random_text(Self::PREFIX, random)?;
        Ok(Self(SecretString::from(text.as_str())))
    }

    /// A secret that somebody brought along.
    ///
    /// # Errors
    /// [`WeakSecret`]; a short one is accepted with `allow_weak`.
    pub fn given(text: &str, allow_weak: bool) -> Result<Self, WeakSecret> {
        if text.len() > Self::MAX_LENGTH || !is_vschar(text) {
            return Err(WeakSecret::NotVschar);
        }
        if text.len() < Self::MIN_LENGTH && !allow_weak {
            return Err(WeakSecret::TooShort);
        }
        Ok(Self(SecretString::from(text)))
    }

    /// Whether Basic carries the secret unchanged whether or not the client form-encodes it (RFC 6749 Appendix B).
    pub fn survives_form_encoding(&self) -> bool {
        self.0.expose_secret().bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    }

    /// The digest to store and compare.
    pub fn digest(&self) -> SecretDigest {
        SecretDigest::of(self.0.expose_secret())
    }

    /// The secret itself: for the operator who registers the client, and for Secrets Manager.
    pub fn expose_client_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientSecret([REDACTED])")
    }
}

impl SecretDigest {
    /// The digest of a secret.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// A digest that was stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest's bytes, for storage.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretDigest([REDACTED])")
    }
}

impl ClientSecrets {
    /// As a store has just read them.
    pub fn read(current: SecretDigest, previous: Option<SecretDigest>) -> Self {
        Self { current, previous, may_be_newer: true }
    }

    /// Whether each of them is one of `others`.
    pub fn are_among(&self, others: &Self) -> bool {
        let is_among = |digest: &SecretDigest| {
            let is_previous = others.previous.as_ref().map_or(Choice::from(0), |previous| digest.0.ct_eq(&previous.0));
            bool::from(digest.0.ct_eq(&others.current.0) | is_previous)
        };
        is_among(&self.current) && self.previous.as_ref().is_none_or(is_among)
    }

    /// Whether the presented secret is the current or the previous one. Always compares twice, so that an unknown
    /// client, a client without a previous secret and one with both cost the same.
    pub(super) fn verify(secrets: Option<&Self>, presented: &PresentedSecret) -> bool {
        let current = compare(secrets.map(|secrets| &secrets.current), presented);
        let previous = compare(secrets.and_then(|secrets| secrets.previous.as_ref()), presented);
        (current | previous).into()
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
pub(super) fn decode_basic(value: &[u8]) -> Result<Credentials, OAuthError> {
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
    let (id, secret) = (decode(id).ok_or(MALFORMED)?, decode(secret).ok_or(MALFORMED)?);
    Credentials::new(AuthMethod::ClientSecretBasic, &id, &secret)
}

fn compare(stored: Option<&SecretDigest>, presented: &PresentedSecret) -> Choice {
    let mut reference = stored.map_or([0; 32], |digest| digest.0);
    let equal = reference.ct_eq(&presented.0.0) & Choice::from(u8::from(stored.is_some()));
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
    fn secrets_are_among_others_where_none_of_them_is_new() {
        let secrets = |current: &str, previous: Option<&str>| {
            ClientSecrets::read(SecretDigest::of(current), previous.map(SecretDigest::of))
        };
        let others = secrets("b", Some("a"));
        for (current, previous) in [("b", Some("a")), ("b", None), ("a", None), ("a", Some("b")), ("b", Some("b"))] {
            assert!(secrets(current, previous).are_among(&others), "{current} {previous:?}");
        }
        for (current, previous) in [("c", Some("b")), ("c", None), ("b", Some("c"))] {
            assert!(!secrets(current, previous).are_among(&others), "{current} {previous:?}");
        }
        assert!(!secrets("b", Some("a")).are_among(&secrets("b", None)));
    }

    #[test]
    fn an_absent_secret_equals_nothing_not_even_its_placeholder() {
        assert!(compare(None, &PresentedSecret(SecretDigest([0; 32]))).unwrap_u8() == 0);
    }

    #[test]
    fn short_and_unprintable_secrets_are_refused() {
        assert_eq!(ClientSecret::given("123456789012345", false).err(), Some(WeakSecret::TooShort));
        assert!(ClientSecret::given("123456789012345", true).is_ok());
        assert!(ClientSecret::given("1234567890123456", false).is_ok());
        for text in ["", "sixteen chars \u{e9}\u{e9}\u{e9}", "line\nline line line"] {
            assert_eq!(ClientSecret::given(text, true).err(), Some(WeakSecret::NotVschar), "{text:?}");
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let secret = ClientSecret::given("canary-canary-canary", false).expect("long enough");
        let shown = format!("{secret:?} {:?}", ClientSecrets::read(secret.digest(), None));
        assert!(!shown.contains("canary"), "{shown}");
    }
}
