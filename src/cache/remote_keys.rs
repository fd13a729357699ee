//! Keys of clients' `jwks_uri`, remembered for as long as their issuers let them be.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::future::Cache;

use super::bridged::{Bridged, Reload};
use super::intervals::Intervals;
use super::settings::CacheSettings;
use crate::core::keys::copy::CopyId;
use crate::core::keys::jwk_set::JwkSet;
use crate::core::keys::remote::JwksUri;
use crate::core::port_error::PortError;
use crate::core::ports::{Clock, RemoteKeys};
use crate::core::time::{Moment, UnixSeconds};
use crate::observe::Observer;
use crate::observe::event::Remembered;
use crate::remote::keys::{KeysInUse, SharedKeys, is_of_issuer};

/// [`RemoteKeys`] that are remembered. One load at a time for each address, and none for a while after one that failed, so that an
/// issuer that is down costs a wait once in a while and not one a request.
pub struct CachedRemoteKeys {
    source: SharedKeys,
    clock: Arc<dyn Clock>,
    keys: Bridged<CopyId, KeysInUse>,
    unknown: Intervals<CopyId>,
    failures: Cache<CopyId, (Moment, PortError)>,
}

impl CachedRemoteKeys {
    /// Remembers what `source` says as `settings` allow.
    pub fn new(source: SharedKeys, clock: Arc<dyn Clock>, settings: CacheSettings) -> Self {
        let settings = CacheSettings { capacity: settings.capacity.min(ADDRESSES), ..settings };
        let believed_for = |_: &CacheSettings, keys: &KeysInUse| keys.believed_for;
        Self {
            source,
            keys: Bridged::new(Remembered::RemoteKeys, Arc::clone(&clock), settings, believed_for),
            unknown: Intervals::new(Arc::clone(&clock), settings.capacity, settings.unknown_key_interval),
            failures: Cache::builder().max_capacity(settings.capacity).time_to_live(FAILURE_REMEMBERED).build(),
            clock,
        }
    }

    /// Tells `observer` of its hits and its misses.
    #[must_use]
    pub fn observed_by(self, observer: Arc<Observer>) -> Self {
        Self { keys: self.keys.observed_by(Arc::clone(&observer)), source: self.source.observed_by(observer), ..self }
    }

    /// What `load` brings, unless it has just failed.
    async fn unless_just_failed(
        &self,
        id: CopyId,
        load: impl Future<Output = Result<KeysInUse, PortError>>,
    ) -> Result<KeysInUse, PortError> {
        if let Some(error) = self.just_failed(&id).await {
            return Err(error);
        }
        let loaded = load.await;
        if let Err(error) = &loaded
            && is_of_issuer(error)
        {
            self.failures.insert(id, (self.clock.moment(), error.clone())).await;
        }
        loaded
    }

    async fn just_failed(&self, id: &CopyId) -> Option<PortError> {
        let (failed_at, error) = self.failures.get(id).await?;
        (self.clock.moment().since(failed_at) < FAILURE_REMEMBERED).then_some(error)
    }

    /// Its time is measured again here: keys that were old when they were remembered are not used for as long again.
    fn still_usable(&self, keys: KeysInUse) -> Result<Arc<JwkSet>, PortError> {
        if self.clock.now() < keys.usable_until {
            return Ok(keys.keys);
        }
        let detail = "its keys could not be fetched for too long".to_owned();
        Err(PortError::Unavailable { service: Remembered::RemoteKeys.as_str(), detail })
    }
}

#[async_trait]
impl RemoteKeys for CachedRemoteKeys {
    async fn remote_keys(&self, address: &JwksUri) -> Result<Arc<JwkSet>, PortError> {
        let id = CopyId::of(address);
        let load = |_| self.unless_just_failed(id, self.source.keys(address));
        self.still_usable(self.keys.get(id, Reload::IfStale, load).await?)
    }

    async fn remote_keys_after_mismatch(&self, address: &JwksUri) -> Result<Option<Arc<JwkSet>>, PortError> {
        let id = CopyId::of(address);
        // A read of the copy once in a while: inventing names of keys must not cost calls.
        if !self.unknown.begin(id).await {
            // While the issuer could not be asked nobody has said that the key is none of the client's.
            return self.just_failed(&id).await.map_or(Ok(None), Err);
        }
        let load = |held: Option<KeysInUse>| {
            let held = held.map_or(UnixSeconds(0), |held| held.fetched_at);
            self.unless_just_failed(id, self.source.keys_after(address, held))
        };
        let reloaded = self.keys.get(id, Reload::ForNewer, load).await?;
        self.still_usable(reloaded).map(Some)
    }
}

/// The most addresses whose keys are remembered. A set of keys has up to 64 KiB.
const ADDRESSES: u64 = 1_000;
/// How long an issuer is left alone that could not be asked and has nothing here that could be used meanwhile.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(10);
