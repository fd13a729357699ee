//! Keys of realms, remembered for minutes: the public ones, and those that sign.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::bridged::{Bridged, Reload};
use super::intervals::Intervals;
use super::settings::CacheSettings;
use crate::core::keys::SigningAlgorithm;
use crate::core::keys::published::VerificationKeys;
use crate::core::keys::set::Signers;
use crate::core::port_error::PortError;
use crate::core::ports::{Clock, SigningKeySource, VerificationKeySource};
use crate::core::realm::RealmName;
use crate::observe::Observer;
use crate::observe::event::Remembered;

/// A [`VerificationKeySource`] that remembers, and looks again when a token names a key that it does not know.
pub struct CachedVerificationKeys {
    source: Arc<dyn VerificationKeySource>,
    keys: Bridged<RealmName, Arc<VerificationKeys>>,
    unknown: Intervals<RealmName>,
}

/// A [`SigningKeySource`] that remembers.
pub struct CachedSigningKeys {
    source: Arc<dyn SigningKeySource>,
    signers: Bridged<(RealmName, SigningAlgorithm), Arc<Signers>>,
}

impl CachedVerificationKeys {
    /// Remembers what `source` says as `settings` allow.
    pub fn new(source: Arc<dyn VerificationKeySource>, clock: Arc<dyn Clock>, settings: CacheSettings) -> Self {
        Self {
            source,
            // Before its first key a realm has none, and that key signs as soon as it is there.
            keys: Bridged::new(
                Remembered::VerificationKeys,
                Arc::clone(&clock),
                settings,
                |settings, keys: &Arc<VerificationKeys>| {
                    if keys.jwks().is_empty() { Duration::ZERO } else { settings.key_ttl }
                },
            ),
            unknown: Intervals::new(clock, settings.capacity, settings.unknown_key_interval),
        }
    }

    /// Tells `observer` of its hits and its misses.
    #[must_use]
    pub fn observed_by(self, observer: Arc<Observer>) -> Self {
        Self { keys: self.keys.observed_by(observer), ..self }
    }
}

#[async_trait]
impl VerificationKeySource for CachedVerificationKeys {
    async fn verification_keys(&self, realm: &RealmName) -> Result<Arc<VerificationKeys>, PortError> {
        self.keys.get(realm.clone(), Reload::IfStale, |_| self.source.verification_keys(realm)).await
    }

    async fn verification_keys_after_mismatch(
        &self,
        realm: &RealmName,
    ) -> Result<Option<Arc<VerificationKeys>>, PortError> {
        // One reload for each realm and interval: inventing names of keys must not cost calls.
        if !self.unknown.begin(realm.clone()).await {
            return Ok(None);
        }
        let reloaded = self.keys.get(realm.clone(), Reload::ForNewer, |_| self.source.verification_keys(realm)).await;
        if reloaded.is_err() {
            // The next token asks again: nobody has said yet that its key is none of the realm's.
            self.unknown.forget(realm).await;
        }
        reloaded.map(Some)
    }
}

impl CachedSigningKeys {
    /// Remembers what `source` says as `settings` allow.
    pub fn new(source: Arc<dyn SigningKeySource>, clock: Arc<dyn Clock>, settings: CacheSettings) -> Self {
        Self { source, signers: Bridged::new(Remembered::SigningKeys, clock, settings, |settings, _| settings.key_ttl) }
    }

    /// Tells `observer` of its hits and its misses.
    #[must_use]
    pub fn observed_by(self, observer: Arc<Observer>) -> Self {
        Self { signers: self.signers.observed_by(observer), ..self }
    }
}

#[async_trait]
impl SigningKeySource for CachedSigningKeys {
    async fn signers(&self, realm: &RealmName, alg: SigningAlgorithm) -> Result<Arc<Signers>, PortError> {
        self.signers.get((realm.clone(), alg), Reload::IfStale, |_| self.source.signers(realm, alg)).await
    }
}
