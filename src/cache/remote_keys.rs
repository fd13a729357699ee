//! Keys of others that are fetched, remembered for as long as their issuers let them be.

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
use crate::core::trust::issuer::{IssuerKeys, TrustedIssuer};
use crate::core::trust::key_address::KeyAddress;
use crate::observe::Observer;
use crate::observe::event::Remembered;
use crate::remote::keys::{Asker, KeysInUse, SharedKeys, is_of_issuer};

/// [`RemoteKeys`] that are remembered. One load at a time for each address, and none for a while after one that failed, so that an
/// issuer that is down costs a wait once in a while and not one a request.
pub struct CachedRemoteKeys {
    source: SharedKeys,
    clock: Arc<dyn Clock>,
    /// Of addresses that operators have set, and of issuers that have admitted a client.
    keys: Bridged<CopyId, KeysInUse>,
    /// Of issuers that callers have named and nobody has registered. They have room of their own, so that however many are invented
    /// they push out none of the others.
    strangers: Bridged<CopyId, KeysInUse>,
    /// Issuers that nobody has registered and that have admitted a client.
    confirmed: Cache<CopyId, ()>,
    unknown: Intervals<CopyId>,
    failures: Cache<CopyId, (Moment, PortError)>,
}

/// Keys that are asked for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    address: KeyAddress<'a>,
    id: CopyId,
    asker: Asker,
}

impl CachedRemoteKeys {
    /// Remembers what `source` says as `settings` allow.
    pub fn new(source: SharedKeys, clock: Arc<dyn Clock>, settings: CacheSettings) -> Self {
        let settings = CacheSettings { capacity: settings.capacity.min(ADDRESSES), ..settings };
        let of_strangers = CacheSettings { capacity: settings.capacity.min(STRANGERS), ..settings };
        let believed_for = |_: &CacheSettings, keys: &KeysInUse| keys.believed_for;
        let remembered = |settings| Bridged::new(Remembered::RemoteKeys, Arc::clone(&clock), settings, believed_for);
        Self {
            source,
            keys: remembered(settings),
            strangers: remembered(of_strangers),
            confirmed: Cache::builder().max_capacity(settings.capacity).time_to_live(CONFIRMED_FOR).build(),
            unknown: Intervals::new(Arc::clone(&clock), settings.capacity, settings.unknown_key_interval),
            failures: Cache::builder().max_capacity(settings.capacity).time_to_live(FAILURE_REMEMBERED).build(),
            clock,
        }
    }

    /// Tells `observer` of its hits and its misses.
    #[must_use]
    pub fn observed_by(self, observer: Arc<Observer>) -> Self {
        Self {
            keys: self.keys.observed_by(Arc::clone(&observer)),
            strangers: self.strangers.observed_by(Arc::clone(&observer)),
            source: self.source.observed_by(observer),
            ..self
        }
    }

    async fn keys_of(&self, wanted: Wanted<'_>) -> Result<Arc<JwkSet>, PortError> {
        let Wanted { address, id, asker } = wanted;
        let load = |_| self.unless_just_failed(id, self.source.keys(address, asker));
        let keys = self.room_of(wanted).get(id, Reload::IfStale, load).await?;
        self.note(wanted, &keys).await;
        self.still_usable(keys)
    }

    async fn keys_after_mismatch(&self, wanted: Wanted<'_>) -> Result<Option<Arc<JwkSet>>, PortError> {
        let Wanted { address, id, asker } = wanted;
        // A read of the copy once in a while: inventing names of keys must not cost calls.
        if !self.unknown.begin(id).await {
            // While the issuer could not be asked nobody has said that the key is none of the client's.
            return self.just_failed(&id).await.map_or(Ok(None), Err);
        }
        let load = |held: Option<KeysInUse>| {
            let held = held.map_or(UnixSeconds(0), |held| held.fetched_at);
            self.unless_just_failed(id, self.source.keys_after(address, asker, held))
        };
        let reloaded = self.room_of(wanted).get(id, Reload::ForNewer, load).await?;
        self.note(wanted, &reloaded).await;
        self.still_usable(reloaded).map(Some)
    }

    fn room_of(&self, wanted: Wanted<'_>) -> &Bridged<CopyId, KeysInUse> {
        if self.is_stranger(wanted) { &self.strangers } else { &self.keys }
    }

    fn is_stranger(&self, wanted: Wanted<'_>) -> bool {
        matches!(wanted.asker, Asker::Stranger(_)) && !self.confirmed.contains_key(&wanted.id)
    }

    /// What another process has confirmed needs no confirmation here.
    async fn note(&self, wanted: Wanted<'_>, keys: &KeysInUse) {
        if keys.is_confirmed && matches!(wanted.asker, Asker::Stranger(_)) {
            self.confirmed.entry(wanted.id).or_insert(()).await;
        }
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
        self.keys_of(Wanted::of_address(address)).await
    }

    async fn remote_keys_after_mismatch(&self, address: &JwksUri) -> Result<Option<Arc<JwkSet>>, PortError> {
        self.keys_after_mismatch(Wanted::of_address(address)).await
    }

    async fn issuer_keys(&self, issuer: &TrustedIssuer) -> Result<Arc<JwkSet>, PortError> {
        match (&issuer.keys, Wanted::of_issuer(issuer)) {
            (_, Some(wanted)) => self.keys_of(wanted).await,
            (IssuerKeys::Jwks(pinned), None) => Ok(Arc::new(pinned.clone())),
            (_, None) => Ok(Arc::new(JwkSet::empty())),
        }
    }

    async fn issuer_keys_after_mismatch(&self, issuer: &TrustedIssuer) -> Result<Option<Arc<JwkSet>>, PortError> {
        let Some(wanted) = Wanted::of_issuer(issuer) else { return Ok(None) };
        // Of a name that is nobody's there are no newer keys while that is believed.
        if self.is_stranger(wanted) && self.issuer_keys(issuer).await?.keys().next().is_none() {
            return Ok(None);
        }
        self.keys_after_mismatch(wanted).await
    }

    async fn confirm_issuer(&self, issuer: &TrustedIssuer) {
        let Some(wanted) = Wanted::of_issuer(issuer) else { return };
        if self.is_stranger(wanted) {
            self.confirmed.insert(wanted.id, ()).await;
            self.source.confirm(wanted.address).await;
        }
    }
}

impl<'a> Wanted<'a> {
    fn of_address(address: &'a JwksUri) -> Self {
        Self::at(address.into(), Asker::Operator)
    }

    fn of_issuer(issuer: &'a TrustedIssuer) -> Option<Self> {
        let asker = match issuer.keys {
            IssuerKeys::Unregistered { asked_from } => Asker::Stranger(asked_from),
            IssuerKeys::Jwks(_) | IssuerKeys::JwksUri(_) | IssuerKeys::Discovery { .. } => Asker::Operator,
        };
        Some(Self::at(KeyAddress::of_issuer(issuer)?, asker))
    }

    fn at(address: KeyAddress<'a>, asker: Asker) -> Self {
        Self { address, id: CopyId::of(address), asker }
    }
}

/// The most addresses whose keys are remembered. A set of keys has up to 64 KiB.
const ADDRESSES: u64 = 1_000;
/// The same of issuers that callers have named and nobody has registered. There are at most ten new ones a minute.
const STRANGERS: u64 = 100;
/// How long it is remembered that an issuer has admitted a client that nobody has registered. Then the copy says so.
const CONFIRMED_FOR: Duration = Duration::from_hours(1);
/// How long an issuer is left alone that could not be asked and has nothing here that could be used meanwhile.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(10);
