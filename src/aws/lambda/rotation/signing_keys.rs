//! The four steps for the signing keys of one realm. The pending version is the set of keys one revision later: its current key
//! was published as the next one long ago, and its next key is published in setSecret, before anything reads the version.

use std::sync::Arc;

use serde_json::json;

use super::error::RotationError;
use super::versions::{CurrentVersion, Versions};
use crate::aws::store::described::Secret;
use crate::aws::store::keys::{DynamoPublishedKeys, key_set_text, read_key_set};
use crate::aws::store::registry_id::RegistryIdentity;
use crate::core::admin_log::Action;
use crate::core::jose::{self, UnverifiedJws};
use crate::core::keys::published::{KeyStatus, PublishedKey, PublishedKeys};
use crate::core::keys::set::{JWKS_MAX_AGE, KeySet, PUBLISHED_BEFORE_SIGNING, RotationRefused};
use crate::core::management::{ChangeToLog, Logbook};
use crate::core::port_error::PortError;
use crate::core::ports::Clock;
use crate::core::realm::RealmName;
use crate::core::time::UnixSeconds;

/// Rotates the signing keys of realms.
pub(super) struct SigningKeyRotation {
    pub(super) versions: Versions,
    pub(super) published: DynamoPublishedKeys,
    pub(super) identity: Arc<RegistryIdentity>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) book: Arc<Logbook>,
}

/// The keys in use and those that are to take their place.
struct Succession {
    current: CurrentVersion,
    current_keys: KeySet,
    pending_keys: KeySet,
}

impl SigningKeyRotation {
    /// Whether the keys in use have been signing for `interval` seconds and may be replaced.
    ///
    /// Keys that were published by a rotation which did not come to its end are due at once: the key that still signs is
    /// published as one that will expire.
    pub(super) async fn are_due(
        &self,
        secret: &Secret,
        realm: &RealmName,
        interval: u64,
    ) -> Result<bool, RotationError> {
        let keys = self.read(&self.versions.current(secret).await?.text).await?;
        let is_overtaken = self.require_signers_published(realm, &keys).await? > keys.revision;
        Ok(keys.is_due(if is_overtaken { 0 } else { interval }, self.clock.now()))
    }

    /// The revision that is published. A key that signs and is not among the published ones is being taken back, and a rotation
    /// would publish it again.
    async fn require_signers_published(&self, realm: &RealmName, keys: &KeySet) -> Result<u64, RotationError> {
        let published = self.published.read(realm).await?;
        if published.revision > keys.revision && !published.include_signers_of(keys) {
            return Err(RotationError::WithdrawnKeys);
        }
        Ok(published.revision)
    }

    /// Makes the keys of the pending version, unless it has them.
    pub(super) async fn create(&self, secret: &Secret, realm: &RealmName, version: &str) -> Result<(), RotationError> {
        match self.succession(secret, version).await {
            Err(RotationError::NoValue) => {}
            other => return other.map(drop),
        }
        let current = self.versions.current(secret).await?;
        let keys = self.read(&current.text).await?;
        self.require_signers_published(realm, &keys).await?;
        let rotated = keys.rotated(self.clock.now())?;
        let text = key_set_text(&rotated, &self.identity.require().await?)?;
        self.versions.discard_others(secret, version).await?;
        Ok(self.versions.put_pending(secret, version, &text).await?)
    }

    /// What a version of this registry's keys holds.
    async fn read(&self, text: &str) -> Result<KeySet, PortError> {
        read_key_set(text, &self.identity.require().await?)
    }

    /// Publishes the public halves of the pending keys.
    pub(super) async fn set(&self, secret: &Secret, realm: &RealmName, version: &str) -> Result<(), RotationError> {
        // 1. What is to be published, and whether it is already.
        let Succession { current, pending_keys, .. } = self.succession(secret, version).await?;
        if self.is_published(secret, realm, version, &pending_keys).await? {
            return Ok(());
        }

        // 2. Nothing reads the version yet.
        self.published.publish(realm, &pending_keys).await?;

        // 3. Whoever else replaced the keys meanwhile has published others, and these must not hide them.
        let now = self.versions.current(secret).await?;
        if now.id != current.id && now.id != version {
            self.published.ensure(realm, &self.read(&now.text).await?).await?;
            return Err(RotationError::Conflict);
        }
        Ok(())
    }

    /// Whether a version that an earlier run has left pending can be completed. What cannot be is discarded.
    pub(super) async fn can_be_completed(
        &self,
        secret: &Secret,
        realm: &RealmName,
        version: &str,
    ) -> Result<(), RotationError> {
        let Succession { pending_keys, .. } = self.succession(secret, version).await?;
        self.is_published(secret, realm, version, &pending_keys).await.map(drop)
    }

    /// Signs with every pending key and verifies with what the registry has published.
    pub(super) async fn test(&self, secret: &Secret, realm: &RealmName, version: &str) -> Result<(), RotationError> {
        let succession = self.succession(secret, version).await?;
        self.test_published(&succession, realm).await
    }

    /// Makes the pending keys the current ones. Only after the test, whoever calls the steps in whatever order.
    pub(super) async fn finish(&self, secret: &Secret, realm: &RealmName, version: &str) -> Result<(), RotationError> {
        let succession = self.succession(secret, version).await?;
        self.test_published(&succession, realm).await?;
        let (before, after) = (succession.current_keys.published(), succession.pending_keys.published());
        let change = ChangeToLog::of_keys(Action::ROTATE_KEYS, realm, Some(&before), Some(&after));
        let current = &succession.current.id;
        self.book.carry_out(change, Box::pin(self.versions.make_current(secret, version, current))).await?;
        // A change that lost against this one may have published its own keys after the test.
        Ok(self.published.ensure(realm, &succession.pending_keys).await?)
    }

    /// What takes the place of what. A pending version that was made from other keys than those in use now is discarded: it
    /// would bring back a key that has been taken out, or take one out that has come since.
    async fn succession(&self, secret: &Secret, version: &str) -> Result<Succession, RotationError> {
        let pending = self.versions.pending(secret, version).await?.ok_or(RotationError::NoValue)?;
        let pending_keys = self.read(&pending.text).await?;
        let current = self.versions.current(secret).await?;
        let current_keys = self.read(&current.text).await?;
        if current_keys.revision.checked_add(1) != Some(pending_keys.revision) {
            self.versions.discard_pending(secret, version).await?;
            return Err(RotationError::OutdatedKeys);
        }
        Ok(Succession { current, current_keys, pending_keys })
    }

    /// Whether the pending keys are published. Those that are not, and were made too long ago, are discarded: a key counts as
    /// published from when it was made, and that has to stay true.
    async fn is_published(
        &self,
        secret: &Secret,
        realm: &RealmName,
        version: &str,
        pending_keys: &KeySet,
    ) -> Result<bool, RotationError> {
        if self.published.read(realm).await? == pending_keys.published() {
            return Ok(true);
        }
        if is_late(&pending_keys.published(), self.clock.now()) {
            self.versions.discard_pending(secret, version).await?;
            return Err(RotationError::LateKeys);
        }
        Ok(false)
    }

    async fn test_published(&self, succession: &Succession, realm: &RealmName) -> Result<(), RotationError> {
        let Succession { current_keys, pending_keys, .. } = succession;
        let now = self.clock.now();

        // 1. What verifiers are told is what is about to sign.
        let published = self.published.read(realm).await?;
        if published != pending_keys.published() {
            return Err(RotationError::UnpublishedKeys);
        }

        // 2. Every key that begins to sign has been published for long enough.
        let current = current_keys.published();
        let signs_already =
            |key: &PublishedKey| current.keys.iter().any(|old| old.status == KeyStatus::Current && old.jwk == key.jwk);
        let begins = |key: &&PublishedKey| key.status == KeyStatus::Current && !signs_already(key);
        let ready_at = |key: &PublishedKey| key.published_at.plus(PUBLISHED_BEFORE_SIGNING);
        if let Some(ready_at) = published.keys.iter().filter(begins).map(ready_at).max().filter(|ready| *ready > now) {
            return Err(RotationRefused::TooSoon { ready_at }.into());
        }

        // 3. Every key that signs, or will, is verified by what is published.
        let verifiers = published.verification_keys()?;
        let has_expired = |kid: &str| {
            let key = published.keys.iter().find(|key| key.jwk.kid.as_str() == kid);
            key.and_then(|key| key.expires_at).is_some_and(|expires_at| expires_at <= now)
        };
        for signer in pending_keys.present_and_future_signers()? {
            let probe = jose::sign(&signer, PROBE, &json!({ "kid": signer.kid }))?;
            let verified = UnverifiedJws::parse(&probe, PROBE).and_then(|jws| jws.verify(&verifiers, now));
            if verified.is_none() && !has_expired(signer.kid.as_str()) {
                return Err(RotationError::UnverifiedKeys);
            }
        }
        Ok(())
    }
}

/// Whether keys that are not published yet were made too long ago. What lies between the making of a key and its publication
/// is missing from [`PUBLISHED_BEFORE_SIGNING`], where a JWKS and this server's own caches need their part.
fn is_late(keys: &PublishedKeys, now: UnixSeconds) -> bool {
    let next = keys.keys.iter().filter(|key| key.status == KeyStatus::Next);
    next.map(|key| key.published_at).max().is_some_and(|made_at| now.since(made_at) > LATEST_PUBLICATION)
}

/// The media type of what a test signs: no endpoint takes it for a token.
const PROBE: &str = "grantwell-probe+jwt";
/// Seconds: two thirds of the time before a key signs are left for the caches, each of which keeps keys for
/// [`JWKS_MAX_AGE`].
const LATEST_PUBLICATION: u64 = PUBLISHED_BEFORE_SIGNING - 2 * JWKS_MAX_AGE;
