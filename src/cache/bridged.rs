//! What every cache here is made of.

use std::sync::Arc;
use std::time::Duration;

use moka::Entry;
use moka::future::Cache;
use moka::ops::compute::{CompResult, Op};

use super::settings::CacheSettings;
use crate::core::port_error::PortError;
use crate::core::ports::Clock;
use crate::core::time::Moment;
use crate::observe::event::Remembered;
use crate::observe::{Event, Observer};

/// A cache that asks its source again when what it remembers is stale, and serves that for a bounded time while the source
/// cannot be asked.
pub(super) struct Bridged<K, V> {
    what: Remembered,
    clock: Arc<dyn Clock>,
    observer: Arc<Observer>,
    pub(super) settings: CacheSettings,
    /// How long a value is believed. One of no time at all is not served while the source is away either.
    ttl: fn(&CacheSettings, &V) -> Duration,
    /// How long it is served while the source is away.
    stale_limit: Duration,
    pub(super) entries: Cache<K, BridgedEntry<V>>,
}

/// When a [`Bridged`] asks its source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reload {
    /// Where what is remembered is stale.
    IfStale,
    /// Each time.
    Now,
    /// Each time, unless another's load has just brought something newer. What is remembered is no answer, even while the
    /// source cannot be asked.
    ForNewer,
}

#[derive(Clone)]
pub(super) struct BridgedEntry<V> {
    value: V,
    /// Before the source was asked: what changed while it answered may not be in the value.
    loaded_at: Moment,
    /// Since when and for how long the source need not be asked.
    believed_since: Moment,
    believed_for: Duration,
}

impl<V> BridgedEntry<V> {
    fn loaded(value: V, loaded_at: Moment, ttl: Duration) -> Self {
        Self { value, loaded_at, believed_since: loaded_at, believed_for: ttl }
    }

    fn is_believed(&self, now: Moment) -> bool {
        now.since(self.believed_since) < self.believed_for
    }
}

impl<K, V> Bridged<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(
        what: Remembered,
        clock: Arc<dyn Clock>,
        settings: CacheSettings,
        ttl: fn(&CacheSettings, &V) -> Duration,
    ) -> Self {
        let stale_limit = settings.secret_stale_limit;
        let entries = Cache::builder()
            .max_capacity(settings.capacity)
            .time_to_live(stale_limit + settings.secret_retry_interval)
            .build();
        Self { what, clock, observer: Arc::default(), settings, ttl, stale_limit, entries }
    }

    /// Tells `observer` of its hits and its misses.
    pub(super) fn observed_by(self, observer: Arc<Observer>) -> Self {
        Self { observer, ..self }
    }

    /// What is stale is not served, whether or not the source can be asked.
    pub(super) fn without_bridge(self) -> Self {
        let CacheSettings { capacity, registration_ttl, absence_ttl, .. } = self.settings;
        let kept_for = registration_ttl.max(absence_ttl);
        let entries = Cache::builder().max_capacity(capacity).time_to_live(kept_for).build();
        Self { stale_limit: Duration::ZERO, entries, ..self }
    }

    /// [`Bridged::get_if`], whatever the value.
    pub(super) async fn get<F>(
        &self,
        key: K,
        reload: Reload,
        load: impl FnOnce(Option<V>) -> F + Send,
    ) -> Result<V, PortError>
    where
        F: Future<Output = Result<V, PortError>> + Send,
    {
        self.get_if(key, reload, |_| true, load).await
    }

    /// What is remembered, or what `load` brings where there is nothing, it is stale, it does not suffice, or `reload` says so.
    /// One load at a time for each key; it is told what was remembered before.
    pub(super) async fn get_if<F>(
        &self,
        key: K,
        reload: Reload,
        suffices: impl Fn(&V) -> bool + Send + Sync,
        load: impl FnOnce(Option<V>) -> F + Send,
    ) -> Result<V, PortError>
    where
        F: Future<Output = Result<V, PortError>> + Send,
    {
        // The look that nearly every request takes, without the lock of the one below.
        if reload == Reload::IfStale
            && let Some(entry) = self.entries.get(&key).await
            && entry.is_believed(self.clock.moment())
            && suffices(&entry.value)
        {
            self.observer.tell(Event::CacheHit(self.what));
            return Ok(entry.value);
        }
        let asked_at = self.clock.moment();
        let entry = self.entries.entry(key).and_try_compute_with(async |remembered| {
            let remembered = remembered.map(Entry::into_value);
            let now = self.clock.moment();
            // Whoever waited for another's load takes what that brought.
            let does = |entry: &BridgedEntry<V>| match reload {
                Reload::IfStale => entry.is_believed(now) && suffices(&entry.value),
                Reload::Now => false,
                Reload::ForNewer => entry.is_believed(now) && entry.loaded_at.is_after(asked_at),
            };
            if remembered.as_ref().is_some_and(does) {
                return Ok(Op::Nop);
            }
            self.observer.tell(Event::CacheMiss(self.what));
            match (load(remembered.as_ref().map(|entry| entry.value.clone())).await, remembered) {
                (Ok(value), _) => {
                    let ttl = (self.ttl)(&self.settings, &value);
                    Ok(Op::Put(BridgedEntry::loaded(value, now, ttl)))
                }
                (Err(error @ PortError::Unavailable { .. }), Some(entry))
                    if reload != Reload::ForNewer && !(self.ttl)(&self.settings, &entry.value).is_zero() =>
                {
                    self.bridge(entry, error).map(Op::Put)
                }
                (Err(error), _) => Err(error),
            }
        });
        match entry.await? {
            CompResult::Inserted(entry) | CompResult::ReplacedWith(entry) => Ok(entry.into_value().value),
            CompResult::Unchanged(entry) => {
                if reload == Reload::IfStale {
                    self.observer.tell(Event::CacheHit(self.what));
                }
                Ok(entry.into_value().value)
            }
            // Nothing above removes an entry or leaves one out.
            CompResult::StillNone(_) | CompResult::Removed(_) => {
                Err(PortError::Unavailable { service: self.what.as_str(), detail: "no entry".to_owned() })
            }
        }
    }

    /// Remembers what `amended` makes of what is remembered, for no longer than that. Nothing happens where it says `None`, or
    /// nothing is remembered.
    pub(super) async fn amend(&self, key: K, amended: impl FnOnce(&V) -> Option<V> + Send) {
        let amend = async |remembered: Option<Entry<K, BridgedEntry<V>>>| {
            let remembered = remembered.map(Entry::into_value);
            match remembered.and_then(|entry| amended(&entry.value).map(|value| BridgedEntry { value, ..entry })) {
                Some(entry) => Op::Put(entry),
                None => Op::Nop,
            }
        };
        self.entries.entry(key).and_compute_with(amend).await;
    }

    /// The moment of a load that begins now.
    pub(super) fn now(&self) -> Moment {
        self.clock.moment()
    }

    /// Whether what is remembered need not be loaded.
    pub(super) async fn is_believed(&self, key: &K) -> bool {
        self.entries.get(key).await.is_some_and(|entry| entry.is_believed(self.now()))
    }

    /// Remembers what the source said beside something else that it was asked at `asked_at`, where nothing fresh is remembered. It
    /// is a miss like a load of its own.
    pub(super) async fn keep_loaded(&self, key: K, value: V, asked_at: Moment) {
        self.observer.tell(Event::CacheMiss(self.what));
        let ttl = (self.ttl)(&self.settings, &value);
        let keep = async |remembered: Option<Entry<K, BridgedEntry<V>>>| {
            if remembered.is_some_and(|entry| entry.into_value().is_believed(self.now())) {
                return Op::Nop;
            }
            Op::Put(BridgedEntry::loaded(value, asked_at, ttl))
        };
        self.entries.entry(key).and_compute_with(keep).await;
    }

    /// Remembers `value` as if it had been loaded, where nothing fresh is remembered.
    pub(super) async fn keep_fresh(&self, key: &K, value: &V, ttl: Duration)
    where
        K: Clone,
    {
        let now = self.clock.moment();
        // By a copy of the key, as a look for a client's has one.
        let entry = self.entries.get(&key.clone()).await;
        if entry.is_none_or(|entry| !entry.is_believed(now)) {
            self.entries.insert(key.clone(), BridgedEntry::loaded(value.clone(), now, ttl)).await;
        }
    }

    /// What is remembered, while the source cannot be asked and the stale limit allows.
    fn bridge(&self, entry: BridgedEntry<V>, error: PortError) -> Result<BridgedEntry<V>, PortError> {
        let now = self.clock.moment();
        let age = now.since(entry.loaded_at);
        if age > self.stale_limit {
            return Err(error);
        }
        self.observer.tell(Event::ServedStale { what: self.what, age, error: &error });
        Ok(BridgedEntry { believed_since: now, believed_for: self.settings.secret_retry_interval, ..entry })
    }
}
