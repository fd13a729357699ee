//! The secrets of clients: in the clear while they are handed over, and as the digests that are kept of them.
//!
//! A generated secret is 256 random bits, so its SHA-256 can be stored and compared as it is: there is no dictionary to
//! slow down.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

use crate::core::encoding::{base64url, decode_base64url, is_vschar};
use crate::core::port_error::PortError;
use crate::core::random::{Random, random_text};
use crate::core::time::UnixSeconds;

/// A client secret in the clear, on its way from the generator or the operator to a store.
pub struct ClientSecret(SecretString);

/// SHA-256 of a client secret. No `PartialEq`: it is compared by client authentication only.
#[derive(Clone)]
pub struct SecretDigest([u8; 32]);

/// What a client may authenticate with: its current secret, and during a rotation the previous one.
#[derive(Clone, Debug)]
pub struct ClientSecrets {
    /// The newest secret.
    pub current: SecretDigest,
    /// The secret before it, until the next rotation or until it is revoked.
    pub previous: Option<SecretDigest>,
    /// From when on the previous one is not accepted any more; 0 where it has no end of its own.
    pub previous_expires_at: UnixSeconds,
    /// Whether one of them may be newer than the registration that they were asked for. A right may have been withdrawn from
    /// it before that secret was made, so they open it only once it has been read again.
    pub may_be_newer: bool,
}

/// A secret that becomes a client's current one.
#[derive(Debug)]
pub struct NewSecret<'a> {
    /// The secret.
    pub secret: &'a ClientSecret,
    /// When it was made.
    pub made_at: UnixSeconds,
    /// Which of the secrets that there are stays valid beside it.
    pub beside: Beside,
}

/// Which secret stays valid beside a new one, as the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// The one that was current, until this time; 0 where it has no end of its own.
    Current(UnixSeconds),
    /// The one that was previous already, and the one that was current ends. Where none was, none is. Until this time, in place of the end
    /// that it had, where there is one.
    Previous(Option<UnixSeconds>),
}

/// What is known of a client's secrets without looking at them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretDates {
    /// When the current one was made, where that was noted.
    pub made_at: Option<UnixSeconds>,
    /// The one before it.
    pub previous: Option<PreviousSecretDates>,
}

/// The same of the secret before the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousSecretDates {
    /// When it was made, where that was noted.
    pub made_at: Option<UnixSeconds>,
    /// From when on it is not accepted any more; 0 where it has no end of its own.
    pub expires_at: UnixSeconds,
}

/// Why a secret brought along was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// Fewer than [`ClientSecret::MIN_LENGTH`] characters.
    #[error("the secret has fewer than {min} characters", min = ClientSecret::MIN_LENGTH)]
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

    /// Whether this server has made it, by its form: it has 256 bits, and nobody has thought them up. Of any other secret nobody can
    /// say how many guesses it takes.
    pub fn is_generated(&self) -> bool {
        let random = self.0.expose_secret().strip_prefix(Self::PREFIX);
        random.and_then(decode_base64url).is_some_and(|bytes| Zeroizing::new(bytes).len() == 32)
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

    /// A digest as text, which is 256 bits in base64url; `None` for anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        decode_base64url(text).and_then(|bytes| bytes.try_into().ok()).map(Self)
    }

    /// As [`Self::from_text`] reads it, for storage.
    pub fn to_text(&self) -> String {
        base64url(&self.0)
    }

    /// The digest's bytes, for storage.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl ClientSecrets {
    /// As a store has just read them.
    pub fn read(current: SecretDigest, previous: Option<SecretDigest>) -> Self {
        Self { current, previous, previous_expires_at: UnixSeconds(0), may_be_newer: true }
    }

    /// The same where the previous one has an end of its own.
    #[must_use]
    pub fn with_previous_until(self, previous_expires_at: UnixSeconds) -> Self {
        Self { previous_expires_at, ..self }
    }

    /// The previous secret, unless its own end has come.
    pub fn valid_previous(&self, now: UnixSeconds) -> Option<&SecretDigest> {
        self.previous.as_ref().filter(|_| !has_passed(self.previous_expires_at, now))
    }

    /// Whether the current one has this digest.
    pub fn current_is(&self, digest: &SecretDigest) -> bool {
        self.current.0.ct_eq(&digest.0).into()
    }

    /// Whether the previous one has this digest, ended or not.
    pub fn previous_is(&self, digest: &SecretDigest) -> bool {
        self.previous.as_ref().is_some_and(|previous| previous.0.ct_eq(&digest.0).into())
    }

    /// Whether each of them is one of `others`.
    pub fn are_among(&self, others: &Self) -> bool {
        let is_among = |digest: &SecretDigest| {
            let is_previous = others.previous.as_ref().map_or(Choice::from(0), |previous| digest.0.ct_eq(&previous.0));
            bool::from(digest.0.ct_eq(&others.current.0) | is_previous)
        };
        is_among(&self.current) && self.previous.as_ref().is_none_or(is_among)
    }
}

impl SecretDates {
    /// The previous secret, unless its own end has come.
    pub fn valid_previous(&self, now: UnixSeconds) -> Option<&PreviousSecretDates> {
        self.previous.as_ref().filter(|previous| !has_passed(previous.expires_at, now))
    }

    /// Until when the previous secret is valid, where all of the client's secrets end at `all_expire_at`: `None` where it is not, 0 where
    /// it has no end.
    pub fn previous_valid_until(&self, all_expire_at: UnixSeconds, now: UnixSeconds) -> Option<UnixSeconds> {
        let previous = self.valid_previous(now).filter(|_| !has_passed(all_expire_at, now))?;
        Some(earlier_end(previous.expires_at, all_expire_at))
    }
}

/// The first of two ends, where 0 is never.
pub fn earlier_end(one: UnixSeconds, other: UnixSeconds) -> UnixSeconds {
    [one, other].into_iter().filter(|end| *end != UnixSeconds(0)).min().unwrap_or(UnixSeconds(0))
}

fn has_passed(end: UnixSeconds, now: UnixSeconds) -> bool {
    end != UnixSeconds(0) && now >= end
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretDigest([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn only_what_has_the_form_of_256_random_bits_is_generated() {
        let is_generated = |text: &str| ClientSecret::given(text, false).expect("long enough").is_generated();
        let generated = format!("gws_{}", "Aa0_-bcdefg".repeat(4).get(..42).expect("enough").to_owned() + "A");
        assert!(is_generated(&generated), "{generated}");
        for supplied in [
            "correct horse battery staple correct horse battery staple",
            generated.trim_start_matches("gws_"),
            generated.trim_end_matches('A'),
            &format!("{generated}A"),
            &generated.replace("gws_", "GWS_"),
            &generated.replace('-', "+"),
        ] {
            assert!(!is_generated(supplied), "{supplied}");
        }
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
    fn secrets_do_not_show_in_debug_output() {
        let secret = ClientSecret::given("canary-canary-canary", false).expect("long enough");
        let shown = format!("{secret:?} {:?}", ClientSecrets::read(secret.digest(), None));
        assert!(!shown.contains("canary"), "{shown}");
    }
}
