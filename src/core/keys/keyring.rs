//! The keys of every realm in a store: made on first use exactly once, replaced in time, taken back when one has leaked.

use std::sync::Arc;

use async_trait::async_trait;

use super::jwk::KeyId;
use super::retention::Retention;
use super::set::{KeySet, RotationRefused, Signers};
use super::{SERVICE, SigningAlgorithm};
use crate::core::port_error::PortError;
use crate::core::ports::{Clock, KeyStore, KeyStoreError, Registrar, RegistrarError, SigningKeySource};
use crate::core::realm::{Realm, RealmName};
use crate::core::time::UnixSeconds;

/// Makes and replaces the keys in a store, and gives out those that sign.
pub struct Keyring {
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
}

/// Why the keys of a realm were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyChangeError {
    /// The set does not allow the change.
    #[error(transparent)]
    Refused(#[from] RotationRefused),
    /// Somebody else changed the keys between reading and writing.
    #[error("somebody else changed the keys in the meantime; look at them and repeat the change")]
    Conflict,
    /// The store could not do its work.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Why the keys that sign no more were left as they are.
#[derive(Debug, thiserror::Error)]
enum RetirementError {
    #[error(transparent)]
    Keys(#[from] KeyChangeError),
    #[error(transparent)]
    Registry(#[from] RegistrarError),
    #[error(transparent)]
    Store(#[from] PortError),
}

impl Keyring {
    /// Keeps the keys in `store`.
    pub fn new(store: Arc<dyn KeyStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// The realm's keys, if it has any yet.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn read(&self, realm: &RealmName) -> Result<Option<KeySet>, PortError> {
        self.store.read_keys(realm).await
    }

    /// The realm's keys, of `algs` where there were none. Of callers that come at once, one makes them and all get the same.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn read_or_create(&self, realm: &RealmName, algs: &[SigningAlgorithm]) -> Result<KeySet, PortError> {
        if let Some(keys) = self.store.read_keys(realm).await? {
            return Ok(keys);
        }
        let keys = KeySet::create(algs, self.clock.now())?;
        match self.store.create_keys(realm, &keys).await {
            Ok(()) => {
                tracing::info!(%realm, "signing keys created");
                Ok(keys)
            }
            Err(KeyStoreError::Conflict) => self.store.read_keys(realm).await?.ok_or_else(lost),
            Err(KeyStoreError::Port(error)) => Err(error),
        }
    }

    /// Gives the realm keys of `algs` too, so that they are published before a token is signed with them. The first keys of a
    /// realm are made at one time: none of its algorithms then has to wait for another's.
    ///
    /// # Errors
    /// [`KeyChangeError`].
    pub async fn add_algorithms(&self, realm: &RealmName, algs: &[SigningAlgorithm]) -> Result<KeySet, KeyChangeError> {
        let keys = self.read_or_create(realm, algs).await?;
        if let Some(more) = keys.with_algorithms(algs, self.clock.now()).map_err(RotationRefused::Key)? {
            return self.replace(realm, more).await;
        }
        self.store.ensure_published(realm, &keys).await?;
        Ok(keys)
    }

    /// The next keys sign from now on.
    ///
    /// # Errors
    /// [`KeyChangeError`].
    pub async fn rotate(&self, realm: &RealmName, alg: SigningAlgorithm) -> Result<KeySet, KeyChangeError> {
        let keys = self.read_or_create(realm, &[alg]).await?;
        self.replace(realm, keys.rotated(self.clock.now())?).await
    }

    /// [`Keyring::rotate`], if the realm has keys and one of them has been signing for `interval` seconds. Of processes that
    /// find it due at once, one rotates.
    ///
    /// # Errors
    /// [`KeyChangeError`].
    pub async fn rotate_if_due(&self, realm: &RealmName, interval: u64) -> Result<Option<KeySet>, KeyChangeError> {
        let now = self.clock.now();
        let Some(keys) = self.store.read_keys(realm).await?.filter(|keys| keys.is_due(interval, now)) else {
            return Ok(None);
        };
        match self.replace(realm, keys.rotated(now)?).await {
            Err(KeyChangeError::Conflict) => Ok(None),
            other => other.map(Some),
        }
    }

    /// [`Keyring::rotate_if_due`] for every realm of `registrar`, and for the root realm, which needs no record. A realm whose
    /// keys cannot be rotated is logged and keeps no other from its rotation.
    ///
    /// # Errors
    /// [`RegistrarError`] where the realms cannot be listed.
    pub async fn rotate_all_due(&self, registrar: &dyn Registrar, interval: u64) -> Result<(), RegistrarError> {
        let mut realms: Vec<RealmName> = registrar.list_realms().await?.into_iter().map(|realm| realm.name).collect();
        if !realms.iter().any(RealmName::is_root) {
            realms.push(RealmName::root());
        }
        for realm in realms {
            if let Err(error) = self.rotate_if_due(&realm, interval).await {
                tracing::warn!(%realm, %error, "signing keys could not be rotated");
            }
            if let Err(error) = self.retire_by(registrar, &realm).await {
                tracing::warn!(%realm, %error, "signing keys verify for longer than they need to");
            }
        }
        Ok(())
    }

    async fn retire_by(&self, registrar: &dyn Registrar, realm: &RealmName) -> Result<(), RetirementError> {
        let Some(keys) = self.store.read_keys(realm).await?.filter(KeySet::has_previous) else { return Ok(()) };
        let now = self.clock.now();
        let record = registrar.read_realm(realm).await?.unwrap_or_else(|| Realm::new(realm.clone()));
        let (mut retention, mut after) = (Retention::of_realm(&record), None);
        loop {
            let page = registrar.list(realm, after.as_ref(), PAGE).await?;
            retention = page.clients.iter().fold(retention, Retention::and);
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        Ok(self.retire(realm, &keys, retention, now).await?)
    }

    /// Has those of `keys` that sign no more verify for only as long as `retention` asks. `now` is a time after `keys` were read, which
    /// are in use then, and before `retention` was, which knows every lifetime until then.
    ///
    /// # Errors
    /// [`KeyChangeError`]; a conflict is none, since whoever was quicker has changed what is to be looked at.
    pub async fn retire(
        &self,
        realm: &RealmName,
        keys: &KeySet,
        retention: Retention,
        now: UnixSeconds,
    ) -> Result<(), KeyChangeError> {
        let Some(keys) = keys.with_retirements(retention, now) else { return Ok(()) };
        match self.replace(realm, keys).await {
            Err(KeyChangeError::Conflict) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Takes a leaked key out of the set.
    ///
    /// # Errors
    /// [`KeyChangeError`].
    pub async fn revoke(&self, realm: &RealmName, kid: &KeyId) -> Result<KeySet, KeyChangeError> {
        let keys = self.store.read_keys(realm).await?.ok_or(RotationRefused::UnknownKey)?;
        self.replace(realm, keys.without(kid, self.clock.now())?).await
    }

    /// Removes all keys of a realm that is deleted; whether there were any.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn delete(&self, realm: &RealmName) -> Result<bool, PortError> {
        let were_there = self.store.delete_keys(realm).await?;
        if were_there {
            tracing::info!(%realm, "signing keys deleted");
        }
        Ok(were_there)
    }

    async fn replace(&self, realm: &RealmName, keys: KeySet) -> Result<KeySet, KeyChangeError> {
        match self.store.replace_keys(realm, &keys).await {
            Ok(()) => {
                tracing::info!(%realm, revision = keys.revision, "signing keys changed");
                Ok(keys)
            }
            Err(KeyStoreError::Conflict) => Err(KeyChangeError::Conflict),
            Err(KeyStoreError::Port(error)) => Err(error.into()),
        }
    }
}

#[async_trait]
impl SigningKeySource for Keyring {
    async fn signers(&self, realm: &RealmName, alg: SigningAlgorithm) -> Result<Arc<Signers>, PortError> {
        let keys = self.read_or_create(realm, &[alg]).await?;
        self.store.ensure_published(realm, &keys).await?;
        Ok(Arc::new(keys.signers()?))
    }
}

/// The keys were there, said the store, and then they were not.
fn lost() -> PortError {
    PortError::Unavailable { service: SERVICE, detail: "they were deleted while they were made".to_owned() }
}

/// Registrations that are read at once.
const PAGE: usize = 100;
