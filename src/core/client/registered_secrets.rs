//! The secrets that a registration keeps itself, as digests ([`SecretStorage::Digest`]): whoever reads the registration has
//! them, and they are never older or newer than what it says.
//!
//! [`SecretStorage::Digest`]: super::secret_storage::SecretStorage::Digest

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq as _;

use super::secret::{Beside, ClientSecrets, NewSecret, PreviousSecretDates, SecretDates, SecretDigest};
use crate::core::time::UnixSeconds;

/// Digests of the current secret and of the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredSecrets {
    current: RegisteredSecret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<PreviousSecret>,
}

/// One of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegisteredSecret {
    /// What is compared.
    #[serde(serialize_with = "write_digest", deserialize_with = "read_digest")]
    pub sha256: SecretDigest,
    /// When it was made, where that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<UnixSeconds>,
}

/// The one before the current one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// The secret.
    #[serde(flatten)]
    pub secret: RegisteredSecret,
    /// From when on it is not accepted any more; 0 where it has no end of its own, which a record has to say.
    pub expires_at: UnixSeconds,
}

impl RegisteredSecrets {
    /// Those of a client that has one secret.
    pub fn first(digest: SecretDigest, made_at: UnixSeconds) -> Self {
        Self { current: RegisteredSecret { sha256: digest, made_at: Some(made_at) }, previous: None }
    }

    /// Those that another store has kept until now.
    pub fn taken_along(current: RegisteredSecret, previous: Option<PreviousSecret>) -> Self {
        Self { current, previous }
    }

    /// What becomes of `before`, where there was any, with a new secret.
    pub fn rotated(before: Option<Self>, new: &NewSecret<'_>) -> Self {
        let first = Self::first(new.secret.digest(), new.made_at);
        let Some(Self { current, previous }) = before else { return first };
        let previous = match new.beside {
            Beside::Current(expires_at) => Some(PreviousSecret { secret: current, expires_at }),
            Beside::Previous(None) => previous,
            Beside::Previous(Some(expires_at)) => previous.map(|previous| PreviousSecret { expires_at, ..previous }),
        };
        Self { previous, ..first }
    }

    /// The same without the previous secret.
    #[must_use]
    pub fn without_previous(self) -> Self {
        Self { previous: None, ..self }
    }

    /// The current secret.
    pub fn current(&self) -> &RegisteredSecret {
        &self.current
    }

    /// Whether this is one of them.
    pub fn include(&self, digest: &SecretDigest) -> bool {
        let is_it = |kept: &RegisteredSecret| bool::from(kept.sha256.as_bytes().ct_eq(digest.as_bytes()));
        is_it(&self.current) || self.previous.as_ref().is_some_and(|previous| is_it(&previous.secret))
    }

    /// What the client may authenticate with. Not newer than the registration that they were read with.
    pub fn accepted(&self) -> ClientSecrets {
        let previous = self.previous.as_ref();
        ClientSecrets {
            current: self.current.sha256.clone(),
            previous: previous.map(|previous| previous.secret.sha256.clone()),
            previous_expires_at: previous.map_or(UnixSeconds(0), |previous| previous.expires_at),
            may_be_newer: false,
        }
    }

    /// What is known of them without looking at them.
    pub fn dates(&self) -> SecretDates {
        let previous = self
            .previous
            .as_ref()
            .map(|previous| PreviousSecretDates { made_at: previous.secret.made_at, expires_at: previous.expires_at });
        SecretDates { made_at: self.current.made_at, previous }
    }
}

/// Whether a registration has changed, which its digests are part of. In constant time, as digests are compared everywhere.
impl PartialEq for RegisteredSecret {
    fn eq(&self, other: &Self) -> bool {
        self.made_at == other.made_at && bool::from(self.sha256.as_bytes().ct_eq(other.sha256.as_bytes()))
    }
}

impl Eq for RegisteredSecret {}

fn write_digest<S: Serializer>(digest: &SecretDigest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&digest.to_text())
}

/// The error does not repeat what is stored.
fn read_digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretDigest, D::Error> {
    let text = String::deserialize(deserializer)?;
    SecretDigest::from_text(&text).ok_or_else(|| D::Error::custom("not a SHA-256 digest in base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::client::secret::ClientSecret;

    fn secret(text: &str) -> ClientSecret {
        ClientSecret::given(text, true).expect("printable")
    }

    fn rotated(before: Option<RegisteredSecrets>, text: &str, made_at: u64, beside: Beside) -> RegisteredSecrets {
        let secret = secret(text);
        RegisteredSecrets::rotated(before, &NewSecret { secret: &secret, made_at: UnixSeconds(made_at), beside })
    }

    /// The current secret, the previous one and its end, found by their texts.
    fn kept(secrets: &RegisteredSecrets) -> (String, Option<(String, u64)>) {
        let text = |found: &RegisteredSecret| {
            let is_it = |text: &&str| secret(text).digest().as_bytes() == found.sha256.as_bytes();
            ["one", "two", "three"].into_iter().find(is_it).unwrap_or("none of them").to_owned()
        };
        let previous = secrets.previous.as_ref();
        (text(&secrets.current), previous.map(|previous| (text(&previous.secret), previous.expires_at.0)))
    }

    #[test]
    fn a_rotation_keeps_the_secret_that_it_says() {
        let one = rotated(None, "one", 1, Beside::Current(UnixSeconds(0)));
        assert_eq!(kept(&one), ("one".into(), None));
        let two = rotated(Some(one), "two", 2, Beside::Current(UnixSeconds(70)));
        assert_eq!(kept(&two), ("two".into(), Some(("one".into(), 70))));
        for (beside, expected) in [
            (Beside::Current(UnixSeconds(0)), ("two".to_owned(), 0)),
            (Beside::Previous(None), ("one".to_owned(), 70)),
            (Beside::Previous(Some(UnixSeconds(90))), ("one".to_owned(), 90)),
        ] {
            let three = rotated(Some(two.clone()), "three", 3, beside);
            assert_eq!(kept(&three), ("three".into(), Some(expected)), "{beside:?}");
            assert_eq!(three.dates().made_at, Some(UnixSeconds(3)));
        }
        assert_eq!(kept(&two.without_previous()), ("two".into(), None));
    }

    #[test]
    fn a_previous_secret_is_accepted_until_its_end() {
        let secrets = rotated(None, "one", 1, Beside::Current(UnixSeconds(0)));
        let accepted = rotated(Some(secrets), "two", 2, Beside::Current(UnixSeconds(70))).accepted();
        assert!(
            accepted.valid_previous(UnixSeconds(69)).is_some() && accepted.valid_previous(UnixSeconds(70)).is_none()
        );
        assert!(!accepted.may_be_newer);
    }

    #[test]
    fn they_survive_storage_and_show_in_no_debug_output() {
        let secrets = rotated(None, "one", 1, Beside::Current(UnixSeconds(0)));
        let secrets = rotated(Some(secrets), "two", 2, Beside::Current(UnixSeconds(70)));
        let stored = serde_json::to_value(&secrets).expect("serializes");
        assert_eq!(serde_json::from_value::<RegisteredSecrets>(stored.clone()).expect("reads back"), secrets);
        let digest = stored["current"]["sha256"].as_str().expect("text");
        assert_eq!(digest, secret("two").digest().to_text());
        assert!(!format!("{secrets:?}").contains(digest));
    }

    #[test]
    fn what_is_no_digest_is_not_read_and_not_repeated() {
        for text in ["", "canary", "A", &"A".repeat(42), &"A".repeat(44), &format!("{}=", "A".repeat(43))] {
            let stored = serde_json::json!({ "current": { "sha256": text } });
            let error = serde_json::from_value::<RegisteredSecrets>(stored).expect_err(text).to_string();
            assert!(text.is_empty() || !error.contains(text) || text == "A", "{error}");
        }
    }
}
