//! A store of signing keys whose changes are logged.

use std::sync::Arc;

use async_trait::async_trait;

use super::book::{ChangeToLog, Logbook};
use crate::core::admin_log::Action;
use crate::core::keys::published::{KeyStatus, PublishedKeys};
use crate::core::keys::set::KeySet;
use crate::core::port_error::PortError;
use crate::core::ports::{KeyStore, KeyStoreError};
use crate::core::realm::RealmName;
use crate::core::time::UnixSeconds;

/// [`KeyStore`] with a line ahead of each change.
struct LoggedKeyStore {
    keys: Arc<dyn KeyStore>,
    book: Arc<Logbook>,
}

impl Logbook {
    /// `keys`, with a line ahead of each change.
    pub fn key_store(self: &Arc<Self>, keys: Arc<dyn KeyStore>) -> Arc<dyn KeyStore> {
        Arc::new(LoggedKeyStore { keys, book: Arc::clone(self) })
    }
}

#[async_trait]
impl KeyStore for LoggedKeyStore {
    async fn read_keys(&self, realm: &RealmName) -> Result<Option<KeySet>, PortError> {
        self.keys.read_keys(realm).await
    }

    async fn ensure_published(&self, realm: &RealmName, keys: &KeySet) -> Result<(), PortError> {
        self.keys.ensure_published(realm, keys).await
    }

    async fn create_keys(&self, realm: &RealmName, keys: &KeySet) -> Result<(), KeyStoreError> {
        let change = ChangeToLog::of_keys(Action::CREATE_KEYS, realm, None, Some(&keys.published()));
        self.book.carry_out(change, self.keys.create_keys(realm, keys)).await
    }

    async fn replace_keys(&self, realm: &RealmName, keys: &KeySet) -> Result<(), KeyStoreError> {
        let before = self.keys.read_keys(realm).await?.ok_or(KeyStoreError::Conflict)?.published();
        let after = keys.published();
        if before.revision.checked_add(1) != Some(after.revision) {
            return Err(KeyStoreError::Conflict);
        }
        let action = action_on(&before, &after, self.book.clock.now());
        let change = ChangeToLog::of_keys(action, realm, Some(&before), Some(&after));
        self.book.carry_out(change, self.keys.replace_keys(realm, keys)).await
    }

    /// Where no key signs any more there is at most a rest of a deletion, which has its line.
    async fn delete_keys(&self, realm: &RealmName) -> Result<bool, PortError> {
        let Some(before) = self.keys.read_keys(realm).await? else { return self.keys.delete_keys(realm).await };
        let change = ChangeToLog::of_keys(Action::DELETE_KEYS, realm, Some(&before.published()), None);
        self.book.carry_out(change, self.keys.delete_keys(realm)).await
    }
}

/// What a change of keys is called. A leaked key that is taken out may be the one that signs: then another signs in its place, which
/// is not what the change is about.
fn action_on(before: &PublishedKeys, after: &PublishedKeys, now: UnixSeconds) -> Action {
    let has = |keys: &PublishedKeys, kid: &_| keys.keys.iter().any(|key| key.jwk.kid == *kid);
    let current = |keys: &PublishedKeys| -> Vec<_> {
        let current = keys.keys.iter().filter(|key| key.status == KeyStatus::Current);
        current.map(|key| key.jwk.kid.clone()).collect()
    };
    let is_taken_out = before.keys.iter().any(|key| {
        let has_expired = key.expires_at.is_some_and(|expires_at| expires_at <= now);
        !has_expired && !has(after, &key.jwk.kid)
    });
    let signs_anew = current(after).iter().any(|kid| has(before, kid) && !current(before).contains(kid));
    if is_taken_out {
        Action::REVOKE_KEY
    } else if signs_anew {
        Action::ROTATE_KEYS
    } else if after.keys.iter().any(|key| !has(before, &key.jwk.kid)) {
        Action::ADD_KEYS
    } else {
        Action::UPDATE_KEYS
    }
}
