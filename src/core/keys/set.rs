//! The keys of a realm over time. For each algorithm one key is `current` and signs, one is `next` and is published in
//! advance, and those that were current before are `previous` and verify until the last token they signed has expired.
//!
//! Nothing here reads a clock or a store: every change is a new set, one revision later, of the set before it.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::jwk::{KeyId, Pkcs8, PublicJwk, SigningKeyPair};
use super::older::{PrivateJwk, PrivateJwks};
use super::published::{KeyStatus, PublishedKey, PublishedKeys};
use super::retention::{Retention, SIGNERS_MAX_AGE};
use super::{KeyError, SigningAlgorithm};
use crate::core::access_token::settings::TokenLifetime;
use crate::core::time::UnixSeconds;

/// Seconds for which anybody may keep a JWKS (its `Cache-Control: max-age`).
pub const JWKS_MAX_AGE: u64 = 300;
/// Seconds for which a key is published before it signs: [`JWKS_MAX_AGE`], and time for this server's own caches.
pub const PUBLISHED_BEFORE_SIGNING: u64 = 900;
/// Seconds for which a key verifies after another has taken its place, unless [`KeySet::with_retirements`] finds that its tokens ask less:
/// the longest life of any token, and the time in which a process that remembers the old set may still sign with it.
pub const VERIFIES_AFTER_SIGNING: u64 = TokenLifetime::MAX + SIGNERS_MAX_AGE;
/// The private keys of a realm. Redacted in `Debug`, wiped on drop.
#[derive(Clone, Debug)]
pub struct KeySet {
    /// Counts the changes; a write that names an older one is refused.
    pub revision: u64,
    /// When a look that was to retire keys found these in use; absent of a set that nobody has found so.
    found_at: Option<UnixSeconds>,
    /// Keys from before this time are an older build's, which did not keep the lifetimes that were longer.
    older_before: Option<UnixSeconds>,
    keys: Vec<SigningKey>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SigningKey {
    jwk: PublicJwk,
    /// Absent of a key that signs no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pkcs8: Option<Pkcs8>,
    status: KeyStatus,
    published_at: UnixSeconds,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current_since: Option<UnixSeconds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<UnixSeconds>,
}

/// A set as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored<Keys> {
    version: u64,
    revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found_at: Option<UnixSeconds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    older_before: Option<UnixSeconds>,
    keys: Keys,
}

/// What tells the forms of a stored set apart.
#[derive(Deserialize)]
struct Form {
    /// Absent before there were versions.
    version: Option<u64>,
}

/// Why a set was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationRefused {
    /// The next key has not been published for long enough: a resource server may not know it yet.
    #[error("the next key has not been published for {PUBLISHED_BEFORE_SIGNING} s yet")]
    TooSoon {
        /// When it has.
        ready_at: UnixSeconds,
    },
    /// The set has no key of this name.
    #[error("no key has this kid")]
    UnknownKey,
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The keys of a realm that sign, ready to use.
pub struct Signers(Vec<Signer>);

/// A key that signs.
pub struct Signer {
    /// Goes into the token's header.
    pub kid: KeyId,
    /// Its algorithm.
    pub alg: SigningAlgorithm,
    published_at: UnixSeconds,
    /// The key itself, read once: to read it for each signature would cost about as much as the signature.
    pub(crate) key: SigningKeyPair,
}

impl KeySet {
    /// The first keys of a realm: of each algorithm one that signs at once, because a JWKS without keys is kept by nobody, and
    /// the next.
    ///
    /// # Errors
    /// [`KeyError::Generation`].
    pub fn create(algs: &[SigningAlgorithm], now: UnixSeconds) -> Result<Self, KeyError> {
        let empty = Self { revision: 0, found_at: None, older_before: None, keys: Vec::new() };
        empty.with_algorithms(algs, now)?.ok_or(KeyError::NoCurrentKey)
    }

    /// The set with keys of `algs` too; `None` where it has them. They sign once they have been published for long enough
    /// ([`Signers::choose`]).
    ///
    /// # Errors
    /// [`KeyError::Generation`]; [`KeyError::TooManyKeys`].
    pub fn with_algorithms(&self, algs: &[SigningAlgorithm], now: UnixSeconds) -> Result<Option<Self>, KeyError> {
        let mut keys = self.keys.clone();
        for alg in algs {
            if !keys.iter().any(|key| key.alg() == *alg && key.status != KeyStatus::Previous) {
                keys.extend([SigningKey::current(*alg, now)?, SigningKey::next(*alg, now)?]);
            }
        }
        if keys.len() == self.keys.len() { Ok(None) } else { self.grown(keys).map(Some) }
    }

    /// The set after a rotation: of each algorithm whose next key has been published for long enough, that key signs, the
    /// one before it only verifies, and a new one is published. Keys that verify no more are dropped.
    ///
    /// # Errors
    /// [`RotationRefused::TooSoon`] where that is true of no algorithm; [`RotationRefused::Key`], also where a key that is about
    /// to sign is malformed: the one before it goes on.
    pub fn rotated(&self, now: UnixSeconds) -> Result<Self, RotationRefused> {
        let next = || self.keys.iter().filter(|key| key.status == KeyStatus::Next);
        let ready: Vec<SigningAlgorithm> = next().filter(|key| key.ready_at() <= now).map(SigningKey::alg).collect();
        if ready.is_empty() {
            let ready_at = next().map(SigningKey::ready_at).min().ok_or(KeyError::NoCurrentKey)?;
            return Err(RotationRefused::TooSoon { ready_at });
        }
        next().filter(|key| key.ready_at() <= now).try_for_each(|key| key.signer().map(drop))?;
        let mut keys = Vec::with_capacity(self.keys.len() + ready.len());
        for key in self.keys.iter().filter(|key| !key.has_expired(now)) {
            keys.push(if ready.contains(&key.alg()) { key.moved_on(now) } else { key.clone() });
        }
        for alg in ready {
            keys.push(SigningKey::next(alg, now)?);
        }
        Ok(self.grown(keys)?)
    }

    /// The set with other keys, which nobody has found yet.
    fn changed(&self, keys: Vec<SigningKey>) -> Self {
        Self { revision: self.revision.saturating_add(1), found_at: None, older_before: self.older_before, keys }
    }

    /// The same, if they fit into what holds them.
    fn grown(&self, keys: Vec<SigningKey>) -> Result<Self, KeyError> {
        let set = self.changed(keys);
        if set.to_json()?.len() <= MOST_BYTES { Ok(set) } else { Err(KeyError::TooManyKeys) }
    }

    /// The set in which the keys that sign no more verify for only as long as the tokens of their realm may live; `None` where there
    /// is nothing to change. What a key says of when it stopped is when its successor was made, and it may have signed until that
    /// one was in use. So a first look only notes when it found the set, and a later one that finds it unchanged, when no process
    /// can remember another, counts from there. What has expired is dropped.
    pub fn with_retirements(&self, retention: Retention, now: UnixSeconds) -> Option<Self> {
        let mut keys: Vec<SigningKey> = self.keys.iter().filter(|key| !key.has_expired(now)).cloned().collect();
        let mut is_changed = keys.len() < self.keys.len();
        let mut found_at = self.found_at;
        if let Some(found_at) = found_at {
            let last_signature = found_at.plus(SIGNERS_MAX_AGE);
            let ends_at = retention.ends_at(last_signature);
            let is_known = |key: &&mut SigningKey| key.published_at >= self.older_before.unwrap_or_default();
            let previous = keys.iter_mut().filter(|key| key.status == KeyStatus::Previous).filter(is_known);
            for key in previous.filter(|_| last_signature <= now) {
                if key.expires_at.is_some_and(|expires_at| ends_at < expires_at) {
                    (key.expires_at, is_changed) = (Some(ends_at), true);
                }
            }
        } else if self.has_previous() {
            (found_at, is_changed) = (Some(now), true);
        }
        keys.retain(|key| !key.has_expired(now));
        is_changed.then(|| Self { revision: self.revision.saturating_add(1), found_at, keys, ..*self })
    }

    /// Whether there is a key that signs no more.
    pub fn has_previous(&self) -> bool {
        self.keys.iter().any(|key| key.status == KeyStatus::Previous)
    }

    /// The set without one key, for a key that has leaked: what it signed verifies no more. The next key takes the place of a
    /// current one at once. Where it has not been published for long enough, a key of another algorithm that has signs until
    /// then, if there is one ([`Signers::choose`]).
    ///
    /// # Errors
    /// [`RotationRefused::UnknownKey`]; [`RotationRefused::Key`].
    pub fn without(&self, kid: &KeyId, now: UnixSeconds) -> Result<Self, RotationRefused> {
        let leaked = self.keys.iter().find(|key| key.jwk.kid == *kid).ok_or(RotationRefused::UnknownKey)?;
        let (alg, status) = (leaked.alg(), leaked.status);
        let mut keys: Vec<SigningKey> = self.keys.iter().filter(|key| key.jwk.kid != *kid).cloned().collect();
        if status == KeyStatus::Current {
            for key in keys.iter_mut().filter(|key| key.alg() == alg && key.status == KeyStatus::Next) {
                *key = key.moved_on(now);
            }
        }
        if status != KeyStatus::Previous {
            keys.push(SigningKey::next(alg, now)?);
        }
        Ok(self.changed(keys))
    }

    /// Whether a key has been signing for `interval` seconds or longer, and its successor may take its place.
    pub fn is_due(&self, interval: u64, now: UnixSeconds) -> bool {
        let is_old = |key: &&SigningKey| {
            key.status == KeyStatus::Current && key.current_since.is_none_or(|since| now.since(since) >= interval)
        };
        let has_successor = |alg| {
            self.keys.iter().any(|key| key.alg() == alg && key.status == KeyStatus::Next && key.ready_at() <= now)
        };
        self.keys.iter().filter(is_old).any(|key| has_successor(key.alg()))
    }

    /// The public halves.
    pub fn published(&self) -> PublishedKeys {
        PublishedKeys { revision: self.revision, keys: self.keys.iter().map(SigningKey::published).collect() }
    }

    /// The keys that sign.
    ///
    /// # Errors
    /// [`KeyError::Malformed`]; [`KeyError::NoCurrentKey`].
    pub fn signers(&self) -> Result<Signers, KeyError> {
        let current = self.keys.iter().filter(|key| key.status == KeyStatus::Current);
        let signers: Vec<Signer> = current.map(SigningKey::signer).collect::<Result<_, _>>()?;
        if signers.is_empty() { Err(KeyError::NoCurrentKey) } else { Ok(Signers(signers)) }
    }

    /// The keys that sign and those that will, for a test of the whole set.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn present_and_future_signers(&self) -> Result<Vec<Signer>, KeyError> {
        self.keys.iter().filter(|key| key.status != KeyStatus::Previous).map(SigningKey::signer).collect()
    }

    /// The set as JSON text, as it is stored. In a buffer that does not grow: one that grows leaves copies of itself behind.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn to_json(&self) -> Result<Zeroizing<String>, KeyError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES));
        let Self { revision, found_at, older_before, keys } = self;
        let stored =
            Stored { version: VERSION, revision: *revision, found_at: *found_at, older_before: *older_before, keys };
        serde_json::to_writer(&mut *bytes, &stored).map_err(|_| KeyError::Malformed)?;
        let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|_| KeyError::Malformed)?;
        Ok(Zeroizing::new(text))
    }

    /// What a stored text says, in the present form or in the one before there were versions.
    ///
    /// # Errors
    /// [`KeyError::Malformed`]; [`KeyError::UnknownForm`].
    pub fn from_json(text: &str) -> Result<Self, KeyError> {
        let Form { version } = parse(text)?;
        match version {
            None => {
                let PrivateJwks { revision, keys } = parse(text)?;
                let keys = keys.into_iter().map(SigningKey::of_older).collect::<Result<Vec<_>, _>>()?;
                let older_before = keys.iter().map(|key| key.published_at.plus(1)).max();
                Ok(Self { revision, found_at: None, older_before, keys })
            }
            Some(VERSION) => {
                let Stored { revision, found_at, older_before, keys, .. } = parse(text)?;
                Ok(Self { revision, found_at, older_before, keys })
            }
            Some(_) => Err(KeyError::UnknownForm),
        }
    }
}

impl SigningKey {
    fn current(alg: SigningAlgorithm, now: UnixSeconds) -> Result<Self, KeyError> {
        Ok(Self { status: KeyStatus::Current, current_since: Some(now), ..Self::next(alg, now)? })
    }

    fn next(alg: SigningAlgorithm, now: UnixSeconds) -> Result<Self, KeyError> {
        let pair = SigningKeyPair::generate(alg)?;
        let (jwk, pkcs8) = (pair.public_jwk()?, Some(pair.to_pkcs8()?));
        Ok(Self { jwk, pkcs8, status: KeyStatus::Next, published_at: now, current_since: None, expires_at: None })
    }

    fn of_older(key: PrivateJwk<'_>) -> Result<Self, KeyError> {
        let pkcs8 = key.key_pair()?.map(|pair| pair.to_pkcs8()).transpose()?;
        let PublishedKey { jwk, status, published_at, current_since, expires_at } = key.public;
        Ok(Self { jwk, pkcs8, status, published_at, current_since, expires_at })
    }

    /// The key one step later in its life.
    fn moved_on(&self, now: UnixSeconds) -> Self {
        match self.status {
            KeyStatus::Next => Self { status: KeyStatus::Current, current_since: Some(now), ..self.clone() },
            KeyStatus::Current => {
                let expires_at = Some(now.plus(VERIFIES_AFTER_SIGNING));
                // It signs nothing any more, so nothing private is kept of it: there is less to leak, and a secret has room
                // for 64 KB.
                Self { pkcs8: None, status: KeyStatus::Previous, expires_at, ..self.clone() }
            }
            KeyStatus::Previous => self.clone(),
        }
    }

    fn alg(&self) -> SigningAlgorithm {
        self.jwk.alg
    }

    fn ready_at(&self) -> UnixSeconds {
        self.published_at.plus(PUBLISHED_BEFORE_SIGNING)
    }

    fn has_expired(&self, now: UnixSeconds) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    fn published(&self) -> PublishedKey {
        let Self { jwk, status, published_at, current_since, expires_at, .. } = self;
        PublishedKey {
            jwk: jwk.clone(),
            status: *status,
            published_at: *published_at,
            current_since: *current_since,
            expires_at: *expires_at,
        }
    }

    /// The key ready to sign, if its private half is the one of its public half: whoever signs with another key makes tokens
    /// that nobody can verify.
    fn signer(&self) -> Result<Signer, KeyError> {
        let pkcs8 = self.pkcs8.as_ref().ok_or(KeyError::Malformed)?;
        let key = SigningKeyPair::from_pkcs8(self.alg(), pkcs8)?;
        if key.public_jwk()? != self.jwk {
            return Err(KeyError::Malformed);
        }
        Ok(Signer { kid: self.jwk.kid.clone(), alg: self.alg(), published_at: self.published_at, key })
    }
}

impl Signers {
    /// The key that signs with `alg`. While that one has not been published for long enough, because the realm's or the
    /// client's algorithm has just been changed, the key that has been published longest signs in its place.
    ///
    /// # Errors
    /// [`KeyError::NoCurrentKey`].
    pub fn choose(&self, alg: SigningAlgorithm, now: UnixSeconds) -> Result<&Signer, KeyError> {
        let oldest = self.0.iter().min_by_key(|signer| signer.published_at).ok_or(KeyError::NoCurrentKey)?;
        let is_known = |signer: &&Signer| {
            signer.published_at == oldest.published_at || signer.published_at.plus(PUBLISHED_BEFORE_SIGNING) <= now
        };
        Ok(self.0.iter().filter(|signer| signer.alg == alg).find(is_known).unwrap_or(oldest))
    }
}

impl PublishedKeys {
    /// Whether every key that signs in `set` is among them.
    pub fn include_signers_of(&self, set: &KeySet) -> bool {
        let mut current = set.keys.iter().filter(|key| key.status == KeyStatus::Current);
        current.all(|signer| self.keys.iter().any(|key| key.jwk.kid == signer.jwk.kid))
    }
}

/// serde's message may repeat a part of a key.
fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, KeyError> {
    serde_json::from_str(text).map_err(|_| KeyError::Malformed)
}

/// Of the form in which a set is stored.
const VERSION: u64 = 1;
/// What Secrets Manager takes for one secret, less what the store says in it besides.
const MOST_BYTES: usize = 64 * 1024 - 128;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::core::realm::Realm;

    const START: UnixSeconds = UnixSeconds(1_795_415_820);

    fn of(set: &KeySet, status: KeyStatus) -> Vec<KeyId> {
        let keys = set.published().keys;
        keys.into_iter().filter(|key| key.status == status).map(|key| key.jwk.kid).collect()
    }

    fn signs(set: &KeySet, alg: SigningAlgorithm, now: UnixSeconds) -> KeyId {
        set.signers().expect("signers").choose(alg, now).expect("a signer").kid.clone()
    }

    #[test]
    fn a_set_begins_with_a_key_that_signs_and_one_that_will() {
        let set = KeySet::create(&[SigningAlgorithm::Es256], START).expect("keys");
        assert_eq!((set.revision, of(&set, KeyStatus::Current).len(), of(&set, KeyStatus::Next).len()), (1, 1, 1));
        assert_eq!(vec![signs(&set, SigningAlgorithm::Es256, START)], of(&set, KeyStatus::Current));
        let read = KeySet::from_json(&set.to_json().expect("JSON")).expect("reads back");
        assert_eq!(read.published(), set.published());
        assert!(read.signers().is_ok());
    }

    #[test]
    fn a_stored_set_that_is_not_what_it_says_is_refused() {
        let set = KeySet::create(&SigningAlgorithm::ALL, START).expect("keys");
        let stored: Value = serde_json::from_str(&set.to_json().expect("JSON")).expect("JSON");
        let read = |stored: &Value| KeySet::from_json(&stored.to_string()).and_then(|set| set.signers());
        assert!(read(&stored).is_ok(), "the rows below differ in one thing");

        // A private key beside the public half of another one, of its own algorithm and of each other one.
        for (one, other) in (0..8).flat_map(|one| (0..8).map(move |other| (one, other))).filter(|(one, _)| one % 2 == 0)
        {
            let mut changed = stored.clone();
            changed["keys"][one]["pkcs8"] = stored["keys"][other]["pkcs8"].clone();
            assert_eq!(read(&changed).err(), (one != other).then_some(KeyError::Malformed), "{one} {other}");
        }
        for (member, other) in [
            ("pkcs8", json!("")),
            ("pkcs8", json!("canary")),
            ("pkcs8", json!(1)),
            ("pkcs8", Value::Null),
            ("jwk", stored["keys"][1]["jwk"].clone()),
            ("jwk", json!({})),
            ("status", json!("canary")),
            ("published_at", json!(-1)),
        ] {
            let mut changed = stored.clone();
            changed["keys"][0][member] = other;
            let error = read(&changed).err().expect(member);
            assert_eq!((error, error.to_string().as_str()), (KeyError::Malformed, "a signing key is malformed"));
        }
        for (version, error) in [
            (json!(2), KeyError::UnknownForm),
            (json!(0), KeyError::UnknownForm),
            (json!("1"), KeyError::Malformed),
            // Without a version it is a set of private JWKs.
            (Value::Null, KeyError::Malformed),
        ] {
            let mut changed = stored.clone();
            changed["version"] = version;
            assert_eq!(read(&changed).err(), Some(error), "{}", changed["version"]);
        }
        for text in ["", "null", "[]", "{}", r#"{"version":1}"#, r#"{"version":1,"version":1,"revision":1,"keys":[]}"#]
        {
            assert_eq!(KeySet::from_json(text).err(), Some(KeyError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_malformed_key_does_not_begin_to_sign() {
        let set = KeySet::create(&[SigningAlgorithm::Es256], START).expect("keys");
        let mut broken = set.clone();
        broken.keys[1].pkcs8 = set.keys[0].pkcs8.clone();
        let ready_at = START.plus(PUBLISHED_BEFORE_SIGNING);
        assert_eq!(broken.rotated(ready_at).err(), Some(RotationRefused::Key(KeyError::Malformed)));
        assert_eq!(signs(&broken, SigningAlgorithm::Es256, ready_at), of(&set, KeyStatus::Current)[0]);
        // The way out: another one is published in its place.
        let mended = broken.without(&of(&set, KeyStatus::Next)[0], START).expect("changed");
        assert!(mended.rotated(ready_at).is_ok());
    }

    /// The schedule rotates once a day at most.
    #[test]
    fn keys_of_every_algorithm_that_rotate_daily_fit_into_a_secret_and_more_are_refused() {
        let mut set = KeySet::create(&SigningAlgorithm::ALL, START).expect("keys");
        let retired: Vec<_> = set.keys.iter().step_by(2).map(|key| key.moved_on(START)).collect();
        let days = usize::try_from(VERIFIES_AFTER_SIGNING.div_ceil(86_400)).expect("small");
        for _ in 0..days {
            set.keys.extend(retired.iter().cloned());
        }
        let ready_at = START.plus(PUBLISHED_BEFORE_SIGNING);
        assert!(set.to_json().expect("JSON").len() <= MOST_BYTES);
        set.keys.extend(retired.iter().cloned());
        assert_eq!(set.rotated(ready_at).err(), Some(RotationRefused::Key(KeyError::TooManyKeys)));
        assert!(set.without(&of(&set, KeyStatus::Current)[0], ready_at).is_ok(), "a leaked key leaves all the same");
    }

    #[test]
    fn a_rotation_moves_each_key_one_step_on() {
        let first = KeySet::create(&[SigningAlgorithm::EdDsa], START).expect("keys");
        let later = START.plus(PUBLISHED_BEFORE_SIGNING);
        let second = first.rotated(later).expect("rotated");
        assert_eq!(second.revision, 2);
        assert_eq!(of(&second, KeyStatus::Current), of(&first, KeyStatus::Next));
        assert_eq!(of(&second, KeyStatus::Previous), of(&first, KeyStatus::Current));
        assert_eq!(of(&second, KeyStatus::Next).len(), 1);
        let previous = &second.published().keys[0];
        assert_eq!(previous.expires_at, Some(later.plus(VERIFIES_AFTER_SIGNING)));
        let stored: Value = serde_json::from_str(&second.to_json().expect("JSON")).expect("JSON");
        let private: Vec<bool> =
            stored["keys"].as_array().expect("a list").iter().map(|key| key.get("pkcs8").is_some()).collect();
        assert_eq!(private, [false, true, true], "of a key that signs no more nothing private is kept");
        assert_eq!(second.present_and_future_signers().expect("signers").len(), 2);
    }

    #[test]
    fn a_key_that_signs_no_more_verifies_for_as_long_as_its_tokens_may_live() {
        let hour = {
            let mut realm = Realm { revision: 1, ..Realm::new("alpha".parse().expect("a name")) };
            realm.settings.access_token_lifetime = Some(TokenLifetime::new(3600).expect("in range"));
            Retention::of_realm(&realm)
        };
        let first = KeySet::create(&[SigningAlgorithm::Es256], START).expect("keys");
        let rotated_at = START.plus(PUBLISHED_BEFORE_SIGNING);
        let rotated = first.rotated(rotated_at).expect("rotated");
        let [kid] = of(&rotated, KeyStatus::Previous).try_into().expect("one");
        let expires_at = |set: &KeySet| set.keys.iter().find(|key| key.jwk.kid == kid).map(|key| key.expires_at);
        assert!(first.with_retirements(hour, START).is_none(), "nothing has stopped");

        // A look that finds it stopped, and those in the time in which somebody may sign with it still.
        let seen_at = rotated_at.plus(86_400);
        let seen = rotated.with_retirements(hour, seen_at).expect("remembered");
        assert_eq!((seen.revision, expires_at(&seen)), (rotated.revision + 1, expires_at(&rotated)));
        assert!(seen.with_retirements(hour, seen_at.plus(SIGNERS_MAX_AGE - 1)).is_none());

        // A rotation in between, and the next look is the first again.
        let again = seen.rotated(seen_at).expect("rotated");
        assert!(
            again
                .with_retirements(hour, seen_at.plus(SIGNERS_MAX_AGE))
                .is_some_and(|set| expires_at(&set) == expires_at(&seen))
        );

        // Counted from then on. What lives longer meanwhile is none of its tokens.
        let looked_at = seen_at.plus(SIGNERS_MAX_AGE);
        let ends_at = looked_at.plus(3600);
        let retired = seen.with_retirements(hour, looked_at).expect("shortened");
        assert_eq!(expires_at(&retired), Some(Some(ends_at)));
        assert!(retired.with_retirements(hour, looked_at).is_none(), "once");
        let longest = Retention::of_realm(&Realm::new("alpha".parse().expect("a name")));
        assert!(retired.with_retirements(longest, looked_at).is_none(), "never longer");
        assert!(seen.with_retirements(longest, looked_at).is_none(), "nor later than it was");
        let verifies =
            |set: &KeySet, now| set.published().verification_keys().expect("keys").find(kid.as_str(), now).is_some();
        assert!(verifies(&retired, UnixSeconds(ends_at.0 - 1)) && !verifies(&retired, ends_at));
        let dropped = retired.with_retirements(hour, ends_at).expect("dropped");
        assert_eq!(of(&dropped, KeyStatus::Previous), []);
        assert_eq!(
            signs(&dropped, SigningAlgorithm::Es256, ends_at),
            signs(&rotated, SigningAlgorithm::Es256, ends_at)
        );
        let stored = KeySet::from_json(&seen.to_json().expect("JSON")).expect("read");
        assert_eq!(expires_at(&stored.with_retirements(hour, looked_at).expect("shortened")), Some(Some(ends_at)));
    }

    #[test]
    fn a_key_of_an_older_build_keeps_its_time() {
        let mut set = KeySet::create(&[SigningAlgorithm::Es256], START)
            .expect("keys")
            .rotated(START.plus(PUBLISHED_BEFORE_SIGNING))
            .expect("rotated");
        set.older_before = Some(START.plus(1));
        let mut realm = Realm { revision: 1, ..Realm::new("alpha".parse().expect("a name")) };
        realm.settings.access_token_lifetime = Some(TokenLifetime::new(60).expect("in range"));
        let late = START.plus(PUBLISHED_BEFORE_SIGNING + VERIFIES_AFTER_SIGNING - 1);
        let found = set.with_retirements(Retention::of_realm(&realm), START.plus(86_400)).expect("found");
        assert!(found.with_retirements(Retention::of_realm(&realm), late).is_none());
        assert!(found.with_retirements(Retention::of_realm(&realm), late.plus(1)).is_some(), "then it is dropped");
    }

    #[test]
    fn a_key_that_may_be_unknown_to_others_does_not_sign() {
        let first = KeySet::create(&[SigningAlgorithm::Es256], START).expect("keys");
        let ready_at = START.plus(PUBLISHED_BEFORE_SIGNING);
        for now in [START, UnixSeconds(ready_at.0 - 1)] {
            assert_eq!(first.rotated(now).err(), Some(RotationRefused::TooSoon { ready_at }));
            assert!(!first.is_due(0, now));
        }
        assert!(first.is_due(0, ready_at) && !first.is_due(PUBLISHED_BEFORE_SIGNING + 1, ready_at));
        assert!(first.rotated(ready_at).is_ok());
    }

    #[test]
    fn another_algorithm_signs_once_its_key_is_known_to_others() {
        let set = KeySet::create(&[SigningAlgorithm::Es256], START).expect("keys");
        let changed_at = START.plus(86_400);
        let both = set.with_algorithms(&[SigningAlgorithm::EdDsa], changed_at).expect("keys").expect("a change");
        assert!(both.with_algorithms(&[SigningAlgorithm::EdDsa], changed_at).expect("keys").is_none());
        let (es256, eddsa) = (of(&set, KeyStatus::Current)[0].clone(), of(&both, KeyStatus::Current)[1].clone());
        assert_eq!(signs(&both, SigningAlgorithm::EdDsa, changed_at), es256);
        assert_eq!(signs(&both, SigningAlgorithm::EdDsa, changed_at.plus(PUBLISHED_BEFORE_SIGNING)), eddsa);
        assert_eq!(signs(&both, SigningAlgorithm::Es256, changed_at.plus(PUBLISHED_BEFORE_SIGNING)), es256);
        // Each algorithm rotates when its own next key is ready.
        let rotated = both.rotated(changed_at).expect("rotated");
        assert_eq!(of(&rotated, KeyStatus::Current)[1], eddsa);
        assert_ne!(of(&rotated, KeyStatus::Current)[0], es256);
    }

    #[test]
    fn a_leaked_key_is_gone_at_once() {
        let first = KeySet::create(&[SigningAlgorithm::Es256], START).expect("keys");
        let (current, next) = (of(&first, KeyStatus::Current)[0].clone(), of(&first, KeyStatus::Next)[0].clone());
        let set = first.without(&current, START).expect("changed");
        assert_eq!(of(&set, KeyStatus::Current), std::slice::from_ref(&next));
        assert_eq!((of(&set, KeyStatus::Next).len(), of(&set, KeyStatus::Previous).len()), (1, 0));
        let set = first.without(&next, START).expect("changed");
        assert_eq!(of(&set, KeyStatus::Current), std::slice::from_ref(&current));
        assert!(of(&set, KeyStatus::Next).len() == 1 && of(&set, KeyStatus::Next) != [next]);
        assert_eq!(set.without(&KeyId::from("none"), START).err(), Some(RotationRefused::UnknownKey));
        let keys = first.published().verification_keys().expect("keys");
        assert!(keys.find(current.as_str(), START).is_some());
    }

    proptest::proptest! {
        /// K-03 and K-05: over any timeline of rotations, whoever verifies with a JWKS that is no older than it may be knows
        /// the key of every token, for as long as the token lives.
        #[test]
        fn every_token_can_be_verified_with_any_jwks_young_enough(
            pauses in proptest::collection::vec(1_u64..3 * 24 * 3600, 1..24),
            age in 0..=2 * JWKS_MAX_AGE,
            remembered in 0..=SIGNERS_MAX_AGE,
            lifetime in 1..=TokenLifetime::MAX,
        ) {
            let mut history = vec![(START, KeySet::create(&[SigningAlgorithm::EdDsa], START).expect("keys"))];
            let mut now = START;
            for pause in pauses {
                now = now.plus(pause);
                let (_, last) = history.last().expect("never empty");
                if let Ok(rotated) = last.rotated(now) {
                    history.push((now, rotated));
                }
            }
            let at = |time: UnixSeconds| {
                let known = history.iter().rev().find(|(since, _)| *since <= time);
                &known.unwrap_or(&history[0]).1
            };
            for (since, _) in &history {
                for issued in [*since, since.plus(remembered), since.plus(86_400)] {
                    // Signed by a process that remembers an older set, read by one that remembers an older JWKS.
                    let signer = signs(at(UnixSeconds(issued.0.saturating_sub(remembered)).max(START)), SigningAlgorithm::EdDsa, issued);
                    for checked in [issued, issued.plus(lifetime - 1)] {
                        let jwks = at(UnixSeconds(checked.0.saturating_sub(age)).max(START)).published();
                        let keys = jwks.verification_keys().expect("keys");
                        proptest::prop_assert!(keys.find(signer.as_str(), checked).is_some());
                    }
                }
            }
        }
    }
}
