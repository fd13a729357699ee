//! Bounded caches around any adapter: registrations and realms for seconds, digests of secrets and keys for minutes.
//!
//! Every cache has a capacity, so that a flood of random client ids costs memory once and not for ever, and remembers
//! absence too, so that it costs one registry read each at most.
//!
//! How long something is believed is measured by the Clock port's moments. moka's own times only let go of what nobody asks
//! for any more: its clock is monotonic alone, and may stand still while a sandbox is frozen.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::Entry;
use moka::future::Cache;
use moka::ops::compute::{CompResult, Op};
use tokio::sync::Semaphore;

use crate::core::client::Client;
use crate::core::client::id::{ClientId, RegistrationId};
use crate::core::client::secret::ClientSecrets;
use crate::core::keys::SigningAlgorithm;
use crate::core::keys::published::VerificationKeys;
use crate::core::keys::set::Signers;
use crate::core::port_error::PortError;
use crate::core::ports::{ClientRegistry, Clock, SecretSource, SigningKeySource, VerificationKeySource};
use crate::core::realm::{Realm, RealmName};
use crate::core::time::Moment;

/// How long and how much a process remembers.
#[derive(Clone, Copy, Debug)]
pub struct CacheSettings {
    /// The most entries of each cache.
    pub capacity: u64,
    /// How long a registration or a realm is believed. A change by an operator is seen after this time.
    pub registration_ttl: Duration,
    /// How long the absence of a client, a realm or a secret is believed. A new client works after this time.
    pub absence_ttl: Duration,
    /// How long a secret is believed before the source is asked again.
    pub secret_ttl: Duration,
    /// How long a secret is believed while the source cannot be asked.
    pub secret_stale_limit: Duration,
    /// How long to leave a source alone that could not be asked.
    pub secret_retry_interval: Duration,
    /// The shortest time between two reloads of a client and its secret because a presented one did not match.
    pub mismatch_interval: Duration,
    /// How long the keys of a realm are believed before the source is asked again: the public ones, and those that sign.
    pub key_ttl: Duration,
    /// The shortest time between two reloads of a realm's public keys because a token named another.
    pub unknown_key_interval: Duration,
}

/// A [`ClientRegistry`] that remembers. Names that it has not seen registered are asked for a few at a time, so that a flood of
/// invented ones holds up nobody who is registered.
pub struct CachedRegistry {
    source: Arc<dyn ClientRegistry>,
    clients: Bridged<(RealmName, ClientId), Option<Arc<Client>>>,
    realms: Bridged<RealmName, Option<Arc<Realm>>>,
    strangers: Strangers,
}

/// A [`SecretSource`] that remembers digests, serves them for a bounded time while its source is away, and lets look again
/// when a secret does not match, so that a rotation is seen at once.
pub struct CachedSecrets {
    source: Arc<dyn SecretSource>,
    secrets: Bridged<ClientKey, RememberedSecrets>,
    mismatches: Intervals<ClientKey>,
    nobody: Option<ClientKey>,
}

impl CacheSettings {
    /// For a function: every miss is billed and takes milliseconds.
    pub const FUNCTION: Self = Self {
        capacity: 10_000,
        registration_ttl: Duration::from_mins(1),
        absence_ttl: Duration::from_secs(20),
        secret_ttl: Duration::from_mins(5),
        secret_stale_limit: Duration::from_hours(1),
        secret_retry_interval: Duration::from_secs(30),
        mismatch_interval: Duration::from_secs(30),
        key_ttl: Duration::from_mins(5),
        unknown_key_interval: Duration::from_secs(5),
    };

    /// For the local server: a miss is a read of a local file.
    pub const LOCAL: Self = Self {
        registration_ttl: Duration::from_secs(5),
        absence_ttl: Duration::from_secs(5),
        secret_ttl: Duration::from_secs(5),
        secret_retry_interval: Duration::from_secs(5),
        key_ttl: Duration::from_secs(5),
        unknown_key_interval: Duration::from_secs(1),
        ..Self::FUNCTION
    };
}

impl CachedRegistry {
    /// Remembers what `source` says as `settings` allow.
    pub fn new(source: Arc<dyn ClientRegistry>, clock: Arc<dyn Clock>, settings: CacheSettings) -> Self {
        Self {
            source,
            clients: Bridged::new("a remembered registration", Arc::clone(&clock), settings, ttl_of_registration)
                .without_bridge(),
            realms: Bridged::new("a remembered realm", clock, settings, ttl_of_registration).without_bridge(),
            strangers: Strangers::new(settings.capacity),
        }
    }
}

#[async_trait]
impl ClientRegistry for CachedRegistry {
    async fn client(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        let key = (realm.clone(), client_id.clone());
        let load = |_| self.strangers.in_turn(realm, Some(client_id), self.source.client(realm, client_id));
        self.clients.get(key, Reload::IfStale, load).await
    }

    async fn realm(&self, name: &RealmName) -> Result<Option<Arc<Realm>>, PortError> {
        let load = |_| self.strangers.in_turn(name, None, self.source.realm(name));
        self.realms.get(name.clone(), Reload::IfStale, load).await
    }

    async fn client_anew(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        let key = (realm.clone(), client_id.clone());
        self.clients.get(key, Reload::ForNewer, |_| self.source.client_anew(realm, client_id)).await
    }
}

impl CachedSecrets {
    /// Remembers what `source` says as `settings` allow.
    pub fn new(source: Arc<dyn SecretSource>, clock: Arc<dyn Clock>, settings: CacheSettings) -> Self {
        Self {
            source,
            secrets: Bridged::new(
                "a remembered client secret",
                Arc::clone(&clock),
                settings,
                |settings, remembered: &RememberedSecrets| {
                    if remembered.secrets.is_some() { settings.secret_ttl } else { settings.absence_ttl }
                },
            ),
            mismatches: Intervals::new(clock, settings.capacity, settings.mismatch_interval),
            nobody: ClientKey::of_nobody(),
        }
    }

    async fn remembered(&self, client: &Client, reload: Reload) -> Result<RememberedSecrets, PortError> {
        let load = |before: Option<RememberedSecrets>| async {
            let secrets = self.source.secrets(client).await?;
            Ok(RememberedSecrets { secrets, revision: client.revision }.known_from(before))
        };
        self.secrets.get(ClientKey::of(client), reload, load).await
    }
}

#[async_trait]
impl SecretSource for CachedSecrets {
    async fn secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        let mut remembered = self.remembered(client, Reload::IfStale).await?;
        // To an earlier revision the source may have denied what it says to this one.
        if remembered.secrets.is_none() && remembered.revision < client.revision {
            remembered = self.remembered(client, Reload::Now).await?;
        }
        Ok(remembered.of(client))
    }

    async fn admits_another_look(&self, client: &Client) -> bool {
        // One for each registration and interval: guessing secrets must not cost calls. What has just been loaded is no
        // exception, or the new secret of a rotation that ends at this moment would be refused.
        self.mismatches.begin(ClientKey::of(client)).await
    }

    async fn secrets_anew(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        Ok(self.remembered(client, Reload::Now).await?.of(client))
    }

    async fn confirm(&self, client: &Client, secrets: &ClientSecrets) {
        let confirmed = |remembered: &RememberedSecrets| remembered.confirmed(client, secrets);
        self.secrets.amend(ClientKey::of(client), confirmed).await;
    }

    async fn no_secrets(&self) {
        // The same two looks, at entries that are always there.
        let Some(nobody) = &self.nobody else { return };
        let nothing = RememberedSecrets { secrets: None, revision: 0 };
        self.secrets.keep_fresh(nobody, &nothing, self.secrets.settings.secret_ttl).await;
        self.mismatches.begin(nobody.clone()).await;
    }
}

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
                "a realm's remembered public keys",
                Arc::clone(&clock),
                settings,
                |settings, keys: &Arc<VerificationKeys>| {
                    if keys.jwks().is_empty() { Duration::ZERO } else { settings.key_ttl }
                },
            ),
            unknown: Intervals::new(clock, settings.capacity, settings.unknown_key_interval),
        }
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
        Self {
            source,
            signers: Bridged::new("a realm's remembered signing keys", clock, settings, |settings, _| settings.key_ttl),
        }
    }
}

#[async_trait]
impl SigningKeySource for CachedSigningKeys {
    async fn signers(&self, realm: &RealmName, alg: SigningAlgorithm) -> Result<Arc<Signers>, PortError> {
        self.signers.get((realm.clone(), alg), Reload::IfStale, |_| self.source.signers(realm, alg)).await
    }
}

/// A cache that asks its source again when what it remembers is stale, and serves that for a bounded time while the source
/// cannot be asked.
struct Bridged<K, V> {
    what: &'static str,
    clock: Arc<dyn Clock>,
    settings: CacheSettings,
    /// How long a value is believed. One of no time at all is not served while the source is away either.
    ttl: fn(&CacheSettings, &V) -> Duration,
    /// How long it is served while the source is away.
    stale_limit: Duration,
    entries: Cache<K, BridgedEntry<V>>,
}

/// When a [`Bridged`] asks its source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reload {
    /// Where what is remembered is stale.
    IfStale,
    /// Each time.
    Now,
    /// Each time, unless another's load has just brought something newer. What is remembered is no answer, even while the
    /// source cannot be asked.
    ForNewer,
}

#[derive(Clone)]
struct BridgedEntry<V> {
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
    fn new(
        what: &'static str,
        clock: Arc<dyn Clock>,
        settings: CacheSettings,
        ttl: fn(&CacheSettings, &V) -> Duration,
    ) -> Self {
        let stale_limit = settings.secret_stale_limit;
        let entries = Cache::builder()
            .max_capacity(settings.capacity)
            .time_to_live(stale_limit + settings.secret_retry_interval)
            .build();
        Self { what, clock, settings, ttl, stale_limit, entries }
    }

    /// What is stale is not served, whether or not the source can be asked.
    fn without_bridge(self) -> Self {
        let CacheSettings { capacity, registration_ttl, absence_ttl, .. } = self.settings;
        let kept_for = registration_ttl.max(absence_ttl);
        let entries = Cache::builder().max_capacity(capacity).time_to_live(kept_for).build();
        Self { stale_limit: Duration::ZERO, entries, ..self }
    }

    /// What is remembered, or what `load` brings where there is nothing, it is stale, or `reload` says so. One load at a time
    /// for each key; it is told what was remembered before.
    async fn get<F>(&self, key: K, reload: Reload, load: impl FnOnce(Option<V>) -> F + Send) -> Result<V, PortError>
    where
        F: Future<Output = Result<V, PortError>> + Send,
    {
        // The look that nearly every request takes, without the lock of the one below.
        if reload == Reload::IfStale
            && let Some(entry) = self.entries.get(&key).await
            && entry.is_believed(self.clock.moment())
        {
            return Ok(entry.value);
        }
        let asked_at = self.clock.moment();
        let entry = self.entries.entry(key).and_try_compute_with(async |remembered| {
            let remembered = remembered.map(Entry::into_value);
            let now = self.clock.moment();
            // Whoever waited for another's load takes what that brought.
            let does = |entry: &BridgedEntry<V>| match reload {
                Reload::IfStale => entry.is_believed(now),
                Reload::Now => false,
                Reload::ForNewer => entry.is_believed(now) && entry.loaded_at.is_after(asked_at),
            };
            if remembered.as_ref().is_some_and(does) {
                return Ok(Op::Nop);
            }
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
            CompResult::Inserted(entry) | CompResult::ReplacedWith(entry) | CompResult::Unchanged(entry) => {
                Ok(entry.into_value().value)
            }
            // Nothing above removes an entry or leaves one out.
            CompResult::StillNone(_) | CompResult::Removed(_) => {
                Err(PortError::Unavailable { service: self.what, detail: "no entry".to_owned() })
            }
        }
    }

    /// Remembers what `amended` makes of what is remembered, for no longer than that. Nothing happens where it says `None`, or
    /// nothing is remembered.
    async fn amend(&self, key: K, amended: impl FnOnce(&V) -> Option<V> + Send) {
        let amend = async |remembered: Option<Entry<K, BridgedEntry<V>>>| {
            let remembered = remembered.map(Entry::into_value);
            match remembered.and_then(|entry| amended(&entry.value).map(|value| BridgedEntry { value, ..entry })) {
                Some(entry) => Op::Put(entry),
                None => Op::Nop,
            }
        };
        self.entries.entry(key).and_compute_with(amend).await;
    }

    /// Remembers `value` as if it had been loaded, where nothing fresh is remembered.
    async fn keep_fresh(&self, key: &K, value: &V, ttl: Duration)
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
        let age_seconds = age.as_secs();
        tracing::warn!(age_seconds, %error, "serving {} because its source cannot be asked", self.what);
        Ok(BridgedEntry { believed_since: now, believed_for: self.settings.secret_retry_interval, ..entry })
    }
}

/// Names that are asked for and that nobody is known to have registered.
struct Strangers {
    /// Names that were registered when they were last asked for, a realm's without a client: no strangers.
    known: Cache<(RealmName, Option<ClientId>), ()>,
    /// Those that wait or are asked for.
    places: Semaphore,
    /// Those that are asked for.
    turns: Semaphore,
}

impl Strangers {
    fn new(capacity: u64) -> Self {
        let known = Cache::builder().max_capacity(capacity).time_to_live(KNOWN_FOR).build();
        Self { known, places: Semaphore::new(STRANGERS_WAITING), turns: Semaphore::new(STRANGERS_AT_ONCE) }
    }

    /// What `load` brings of this name, when it is its turn: at once where it is known.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where too many others wait; `load`'s.
    async fn in_turn<T>(
        &self,
        realm: &RealmName,
        client_id: Option<&ClientId>,
        load: impl Future<Output = Result<Option<T>, PortError>>,
    ) -> Result<Option<T>, PortError> {
        let name = (realm.clone(), client_id.cloned());
        let _place_and_turn = if self.known.contains_key(&name) {
            None
        } else {
            let place = self.places.try_acquire().map_err(|_full| too_many_strangers())?;
            Some((place, self.turns.acquire().await.map_err(|_closed| too_many_strangers())?))
        };
        let found = load.await?;
        match found {
            Some(_) => self.known.insert(name, ()).await,
            None => self.known.invalidate(&name).await,
        }
        Ok(found)
    }
}

fn too_many_strangers() -> PortError {
    let detail = "too many names that nobody has registered are asked for at once".to_owned();
    PortError::Unavailable { service: "the registry", detail }
}

/// When something was last done for each key, so that it is done once in a while and no more often.
struct Intervals<K> {
    clock: Arc<dyn Clock>,
    interval: Duration,
    begun: Cache<K, Moment>,
}

impl<K> Intervals<K>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
{
    fn new(clock: Arc<dyn Clock>, capacity: u64, interval: Duration) -> Self {
        Self { clock, interval, begun: Cache::builder().max_capacity(capacity).time_to_live(interval).build() }
    }

    /// Whether no interval of this key has begun that has not ended. If so, one begins.
    async fn begin(&self, key: K) -> bool {
        let now = self.clock.moment();
        let has_ended = |begun: &Moment| now.since(*begun) >= self.interval;
        self.begun.entry(key).or_insert_with_if(async { now }, has_ended).await.is_fresh()
    }

    /// Ends the interval of this key.
    async fn forget(&self, key: &K) {
        self.begun.invalidate(key).await;
    }
}

/// What the source said of a registration's secrets.
#[derive(Clone)]
struct RememberedSecrets {
    secrets: Option<ClientSecrets>,
    /// The revision of the registration that it was asked for, or that was read after the secrets had first been there.
    revision: u64,
}

impl RememberedSecrets {
    /// Just loaded, after `before` was. A secret that was not there may be newer than any registration that somebody remembers,
    /// until one that has been read since is confirmed.
    fn known_from(self, before: Option<Self>) -> Self {
        let Self { secrets: Some(secrets), revision } = self else { return self };
        let confirmed = before.as_ref().and_then(|before| Some((before.secrets.as_ref()?, before.revision)));
        let (may_be_newer, revision) = match confirmed {
            Some((known, confirmed)) if !known.may_be_newer && secrets.are_among(known) => (false, confirmed),
            _ => (true, revision),
        };
        Self { secrets: Some(ClientSecrets { may_be_newer, ..secrets }), revision }
    }

    /// With a registration that was read after `secrets` were loaded; `None` where others have been loaded meanwhile. The
    /// revision may be an earlier one than that which they were asked for, where a backup of the registry was restored.
    fn confirmed(&self, client: &Client, secrets: &ClientSecrets) -> Option<Self> {
        let remembered = self.secrets.as_ref().filter(|remembered| remembered.are_among(secrets))?;
        let secrets = ClientSecrets { may_be_newer: false, ..remembered.clone() };
        Some(Self { secrets: Some(secrets), revision: client.revision })
    }

    /// For a registration as somebody remembers it. A right may have been withdrawn between an earlier revision and one of
    /// these secrets.
    fn of(self, client: &Client) -> Option<ClientSecrets> {
        let is_earlier = client.revision < self.revision;
        self.secrets.map(|secrets| ClientSecrets { may_be_newer: secrets.may_be_newer || is_earlier, ..secrets })
    }
}

/// A registration, not only its id: what is remembered of a deleted client must not serve its successor.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    realm: RealmName,
    client_id: ClientId,
    registration_id: RegistrationId,
}

impl ClientKey {
    fn of(client: &Client) -> Self {
        Self {
            realm: client.realm.clone(),
            client_id: client.client_id.clone(),
            registration_id: client.registration_id.clone(),
        }
    }

    /// No client's: a registration's identifier is random.
    fn of_nobody() -> Option<Self> {
        let client_id = "nobody".parse().ok()?;
        Some(Self { realm: RealmName::root(), client_id, registration_id: RegistrationId::from_text("nobody") })
    }
}

/// What is there and what is not are believed for different times.
#[expect(clippy::ref_option, reason = "what is remembered is an option")]
fn ttl_of_registration<V>(settings: &CacheSettings, found: &Option<V>) -> Duration {
    if found.is_some() { settings.registration_ttl } else { settings.absence_ttl }
}

/// How long a name that is not asked for is remembered as one that is registered.
const KNOWN_FOR: Duration = Duration::from_hours(1);
/// Few enough that who is known waits behind none of them for long.
const STRANGERS_AT_ONCE: usize = 8;
const STRANGERS_WAITING: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;
    use crate::core::client::metadata::ClientMetadata;
    use crate::core::client::secret::SecretDigest;
    use crate::core::keys::retention::SIGNERS_MAX_AGE;
    use crate::core::keys::set::KeySet;
    use crate::core::time::UnixSeconds;
    use crate::system::SystemRandom;

    /// The two clocks of a machine, in seconds.
    struct TestClock {
        wall: AtomicU64,
        monotonic: AtomicU64,
    }

    impl Default for TestClock {
        fn default() -> Self {
            Self { wall: AtomicU64::new(1_000_000), monotonic: AtomicU64::new(0) }
        }
    }

    impl TestClock {
        fn advance(&self, seconds: u64) {
            self.wall.fetch_add(seconds, Ordering::SeqCst);
            self.monotonic.fetch_add(seconds, Ordering::SeqCst);
        }

        fn set_back(&self, seconds: u64) {
            self.wall.fetch_sub(seconds, Ordering::SeqCst);
        }

        /// As a sandbox is whose clock does not run meanwhile.
        fn freeze(&self, seconds: u64) {
            self.wall.fetch_add(seconds, Ordering::SeqCst);
        }
    }

    impl Clock for TestClock {
        fn now(&self) -> UnixSeconds {
            UnixSeconds(self.wall.load(Ordering::SeqCst))
        }

        fn moment(&self) -> Moment {
            let seconds = |clock: &AtomicU64| Duration::from_secs(clock.load(Ordering::SeqCst));
            Moment::new(seconds(&self.wall), seconds(&self.monotonic))
        }
    }

    #[derive(Default)]
    struct Source {
        answer: Mutex<Option<Result<Option<ClientSecrets>, PortError>>>,
        calls: AtomicU64,
        clock: Arc<TestClock>,
    }

    impl Source {
        fn answers(&self, answer: Result<Option<&str>, PortError>) {
            let answer = answer.map(|secret| secret.map(|text| ClientSecrets::read(SecretDigest::of(text), None)));
            *self.answer.lock().expect("not poisoned") = Some(answer);
        }

        fn calls(&self) -> u64 {
            self.calls.load(Ordering::SeqCst)
        }

        fn advance(&self, seconds: u64) {
            self.clock.advance(seconds);
        }
    }

    #[async_trait]
    impl SecretSource for Source {
        async fn secrets(&self, _: &Client) -> Result<Option<ClientSecrets>, PortError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            self.answer.lock().expect("not poisoned").clone().expect("an answer is set")
        }
    }

    #[async_trait]
    impl ClientRegistry for Source {
        async fn client(&self, _: &RealmName, _: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            match self.answer.lock().expect("not poisoned").clone() {
                Some(Err(error)) => Err(error),
                _ => Ok(None),
            }
        }

        async fn realm(&self, _: &RealmName) -> Result<Option<Arc<Realm>>, PortError> {
            Ok(None)
        }
    }

    fn cached(source: &Arc<Source>) -> CachedSecrets {
        CachedSecrets::new(Arc::clone(source) as _, Arc::clone(&source.clock) as _, CacheSettings::FUNCTION)
    }

    fn down() -> PortError {
        PortError::Unavailable { service: "test", detail: "down".into() }
    }

    /// A registration of the client `c`; another one each time.
    fn registered() -> Client {
        let metadata = ClientMetadata::new();
        let registration_id = RegistrationId::generate(&SystemRandom).expect("random bytes");
        Client::register(id("c"), &Realm::new(RealmName::root()), metadata, registration_id, UnixSeconds(0))
            .expect("valid")
    }

    fn id(text: &str) -> ClientId {
        text.parse().expect("a client id")
    }

    fn is(secrets: Option<ClientSecrets>, text: &str) -> bool {
        secrets.is_some_and(|secrets| secrets.current.as_bytes() == SecretDigest::of(text).as_bytes())
    }

    #[tokio::test]
    async fn a_warm_secret_costs_no_call() {
        let source = Arc::new(Source::default());
        source.answers(Ok(Some("one")));
        let (cache, client) = (cached(&source), registered());
        for _ in 0..10 {
            assert!(is(cache.secrets(&client).await.expect("answers"), "one"));
        }
        assert_eq!(source.calls(), 1);
    }

    #[tokio::test]
    async fn a_source_that_is_away_is_bridged_for_an_hour_and_no_longer() {
        let source = Arc::new(Source::default());
        source.answers(Ok(Some("one")));
        let (cache, client) = (cached(&source), registered());
        let ask = async || cache.secrets(&client).await;
        ask().await.expect("answers");

        source.answers(Err(down()));
        source.advance(301);
        assert!(is(ask().await.expect("bridged"), "one"));
        assert!(is(ask().await.expect("bridged"), "one"));
        assert_eq!(source.calls(), 2, "a source that is away is left alone for a while");

        source.advance(3300);
        assert!(ask().await.is_err(), "past the limit the failure shows");

        source.answers(Ok(Some("two")));
        assert!(is(ask().await.expect("back"), "two"));
    }

    #[tokio::test]
    async fn guessing_reloads_a_secret_once_per_interval() {
        let source = Arc::new(Source::default());
        source.answers(Ok(Some("one")));
        let (cache, client) = (cached(&source), registered());
        cache.secrets(&client).await.expect("answers");

        // In the very second: a rotation may have ended since.
        source.answers(Ok(Some("two")));
        assert!(cache.admits_another_look(&client).await);
        assert!(is(cache.secrets_anew(&client).await.expect("answers"), "two"));
        for _ in 0..100 {
            assert!(!cache.admits_another_look(&client).await);
        }
        assert_eq!(source.calls(), 2);
        assert!(is(cache.secrets(&client).await.expect("answers"), "two"), "and keeps what it saw");
    }

    #[tokio::test]
    async fn a_new_registration_does_not_inherit_the_secret_of_a_deleted_one() {
        let source = Arc::new(Source::default());
        source.answers(Ok(Some("one")));
        let cache = cached(&source);
        cache.secrets(&registered()).await.expect("answers");
        source.answers(Ok(Some("two")));
        assert!(is(cache.secrets(&registered()).await.expect("answers"), "two"));
    }

    #[tokio::test]
    async fn a_corrupt_secret_is_not_bridged() {
        let source = Arc::new(Source::default());
        source.answers(Ok(Some("one")));
        let (cache, client) = (cached(&source), registered());
        cache.secrets(&client).await.expect("answers");
        source.answers(Err(PortError::Corrupt { service: "test", detail: "mangled".into() }));
        source.advance(301);
        assert!(matches!(cache.secrets(&client).await, Err(PortError::Corrupt { .. })));
    }

    #[tokio::test]
    async fn requests_that_come_together_share_one_load_cold_and_stale() {
        let source = Arc::new(Source::default());
        source.answers(Ok(Some("one")));
        let (cache, client) = (Arc::new(cached(&source)), Arc::new(registered()));
        for calls in [1, 2] {
            let together: Vec<_> = (0..50)
                .map(|_| {
                    let (cache, client) = (Arc::clone(&cache), Arc::clone(&client));
                    tokio::spawn(async move { cache.secrets(&client).await.map(drop) })
                })
                .collect();
            for request in together {
                assert_eq!(request.await.expect("no panic"), Ok(()));
            }
            assert_eq!(source.calls(), calls);
            source.advance(301);
        }
    }

    /// What becomes of the clocks while some seconds pass.
    struct Step {
        what: &'static str,
        set_back: u64,
        is_frozen: bool,
    }

    impl Step {
        const ALL: [Self; 5] = [
            Self { what: "nobody sets the clock", set_back: 0, is_frozen: false },
            Self { what: "back by half a minute", set_back: 30, is_frozen: false },
            Self { what: "back by two minutes", set_back: 120, is_frozen: false },
            Self { what: "back by ten minutes", set_back: 600, is_frozen: false },
            Self { what: "the sandbox is frozen", set_back: 0, is_frozen: true },
        ];

        fn pass(&self, clock: &TestClock, seconds: u64) {
            clock.set_back(self.set_back);
            if self.is_frozen {
                clock.freeze(seconds);
            } else {
                clock.advance(seconds);
            }
        }
    }

    #[tokio::test]
    async fn what_is_remembered_is_believed_for_its_time_and_no_longer_whatever_becomes_of_the_clock() {
        let (source, keys) = (Arc::new(Source::default()), Arc::new(KeySource::default()));
        let settings = CacheSettings::FUNCTION;
        let registry = CachedRegistry::new(Arc::clone(&source) as _, Arc::clone(&source.clock) as _, settings);
        let (secrets, client) = (cached(&source), registered());
        let (public, private) = (verification_keys(&keys), signing_keys(&keys));
        source.answers(Ok(Some("one")));
        keys.answers(Ok(key_set()));

        for step in Step::ALL {
            let what = step.what;
            for (name, ttl) in [("registration", settings.absence_ttl), ("secret", settings.secret_ttl)] {
                let ask = async || match name {
                    "registration" => registry.client(&root(), &client.client_id).await.map(drop),
                    _ => secrets.secrets(&client).await.map(drop),
                };
                source.advance(3600);
                ask().await.expect("answers");
                let calls = source.calls();
                step.pass(&source.clock, ttl.as_secs() - 1);
                ask().await.expect("answers");
                assert_eq!(source.calls(), calls, "{what}: a {name} is believed");
                source.advance(1);
                ask().await.expect("answers");
                assert_eq!(source.calls(), calls + 1, "{what}: a {name} is asked for again");
            }
        }
        for step in Step::ALL {
            let what = step.what;
            for name in ["public", "private"] {
                let ask = async || match name {
                    "public" => public.verification_keys(&root()).await.map(drop),
                    _ => private.signers(&root(), SigningAlgorithm::Es256).await.map(drop),
                };
                keys.advance(3600);
                ask().await.expect("answers");
                let calls = keys.calls();
                step.pass(&keys.clock, settings.key_ttl.as_secs() - 1);
                ask().await.expect("answers");
                assert_eq!(keys.calls(), calls, "{what}: {name} keys are believed");
                keys.advance(1);
                ask().await.expect("answers");
                assert_eq!(keys.calls(), calls + 1, "{what}: {name} keys are asked for again");
            }
        }
    }

    #[tokio::test]
    async fn a_source_that_is_away_is_not_bridged_for_longer_because_the_clock_was_set_back() {
        let source = Arc::new(Source::default());
        for step in Step::ALL {
            let what = step.what;
            source.answers(Ok(Some("one")));
            let (cache, client) = (cached(&source), registered());
            cache.secrets(&client).await.expect("answers");
            source.answers(Err(down()));
            step.pass(&source.clock, 3600);
            assert!(is(cache.secrets(&client).await.expect("to the hour"), "one"), "{what}");
            source.advance(30);
            assert_eq!(cache.secrets(&client).await.err(), Some(down()), "{what}: past it the failure shows");
        }
    }

    #[tokio::test]
    async fn guesses_are_no_more_and_no_less_often_a_reason_to_reload_when_the_clock_is_set_back() {
        let source = Arc::new(Source::default());
        source.answers(Ok(Some("one")));
        for step in Step::ALL {
            let what = step.what;
            let (cache, client) = (cached(&source), registered());
            assert!(cache.admits_another_look(&client).await);
            step.pass(&source.clock, 29);
            assert!(!cache.admits_another_look(&client).await, "{what}");
            source.advance(1);
            assert!(cache.admits_another_look(&client).await, "{what}");
        }
    }

    #[tokio::test]
    async fn a_registry_that_is_away_is_not_bridged_at_all() {
        let source = Arc::new(Source::default());
        let settings = CacheSettings::FUNCTION;
        let cache = CachedRegistry::new(Arc::clone(&source) as _, Arc::clone(&source.clock) as _, settings);
        let ask = async || cache.client(&root(), &id("c")).await;
        assert!(ask().await.expect("answers").is_none());
        source.answers(Err(down()));
        source.advance(19);
        assert!(ask().await.expect("still believed").is_none());
        source.advance(1);
        assert_eq!(ask().await.err(), Some(down()));
    }

    #[tokio::test]
    async fn an_unknown_client_costs_one_read_and_a_flood_stays_bounded() {
        let source = Arc::new(Source::default());
        let settings = CacheSettings { capacity: 100, ..CacheSettings::FUNCTION };
        let cache = CachedRegistry::new(Arc::clone(&source) as _, Arc::clone(&source.clock) as _, settings);
        for _ in 0..10 {
            assert!(cache.client(&RealmName::root(), &id("nobody")).await.expect("answers").is_none());
        }
        assert_eq!(source.calls(), 1);

        for number in 0..10_000 {
            cache.client(&RealmName::root(), &id(&format!("random-{number}"))).await.expect("answers");
        }
        cache.clients.entries.run_pending_tasks().await;
        let remembered = cache.clients.entries.entry_count();
        assert!(remembered <= 100, "{remembered}");
    }

    /// A registry that answers for nobody as long as it is held, and counts who asks meanwhile.
    #[derive(Default)]
    struct Held {
        closed: AtomicBool,
        asking: AtomicU64,
        most_asking: AtomicU64,
    }

    #[async_trait]
    impl ClientRegistry for Held {
        async fn client(&self, _: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
            let is_known = client_id.as_str() == "known";
            let asking = 1 + self.asking.fetch_add(1, Ordering::SeqCst);
            self.most_asking.fetch_max(asking, Ordering::SeqCst);
            while !is_known && self.closed.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
            self.asking.fetch_sub(1, Ordering::SeqCst);
            Ok(is_known.then(|| Arc::new(registered())))
        }

        async fn realm(&self, _: &RealmName) -> Result<Option<Arc<Realm>>, PortError> {
            Ok(None)
        }
    }

    #[tokio::test]
    async fn a_flood_of_strangers_is_a_few_reads_at_once_and_holds_up_nobody_who_is_known() {
        let (source, clock) = (Arc::new(Held::default()), Arc::new(TestClock::default()));
        let cache = Arc::new(CachedRegistry::new(source.clone(), clock.clone(), CacheSettings::LOCAL));
        let ask = |id: ClientId| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move { cache.client(&root(), &id).await })
        };
        ask(id("known")).await.expect("no panic").expect("answers").expect("registered");
        clock.advance(6);

        source.closed.store(true, Ordering::SeqCst);
        let flood: Vec<_> = (0..1000).map(|number| ask(id(&format!("stranger-{number}")))).collect();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        // It has to be read again, and is.
        let known = tokio::time::timeout(Duration::from_secs(5), ask(id("known"))).await.expect("nobody holds it up");
        assert!(known.expect("no panic").expect("answers").is_some());
        assert_eq!(source.most_asking.load(Ordering::SeqCst), 9, "eight strangers and the one who is known");

        source.closed.store(false, Ordering::SeqCst);
        let (mut unknown, mut refused) = (0, 0);
        for stranger in flood {
            match stranger.await.expect("no panic") {
                Ok(None) => unknown += 1,
                Err(error) if error == too_many_strangers() => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((unknown, refused), (256, 744));
        assert!(ask(id("stranger-999")).await.expect("no panic").expect("its turn").is_none());
    }

    /// A store of one realm's keys that answers as it is told.
    #[derive(Default)]
    struct KeySource {
        answer: Mutex<Option<Result<KeySet, PortError>>>,
        calls: AtomicU64,
        clock: Arc<TestClock>,
    }

    impl KeySource {
        fn answers(&self, answer: Result<KeySet, PortError>) {
            *self.answer.lock().expect("not poisoned") = Some(answer);
        }

        fn calls(&self) -> u64 {
            self.calls.load(Ordering::SeqCst)
        }

        fn advance(&self, seconds: u64) {
            self.clock.advance(seconds);
        }

        /// `None` where the realm has no keys yet.
        fn ask(&self) -> Result<Option<KeySet>, PortError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            self.answer.lock().expect("not poisoned").clone().transpose()
        }
    }

    #[async_trait]
    impl VerificationKeySource for KeySource {
        async fn verification_keys(&self, _: &RealmName) -> Result<Arc<VerificationKeys>, PortError> {
            let published = self.ask()?.map(|keys| keys.published()).unwrap_or_default();
            Ok(Arc::new(published.verification_keys()?))
        }
    }

    #[async_trait]
    impl SigningKeySource for KeySource {
        async fn signers(&self, _: &RealmName, _: SigningAlgorithm) -> Result<Arc<Signers>, PortError> {
            Ok(Arc::new(self.ask()?.expect("keys are made on first use").signers()?))
        }
    }

    fn key_set() -> KeySet {
        KeySet::create(&[SigningAlgorithm::Es256], UnixSeconds(0)).expect("keys")
    }

    fn first_kid(keys: &KeySet) -> String {
        keys.published().keys[0].jwk.kid.to_string()
    }

    fn root() -> RealmName {
        RealmName::root()
    }

    fn verification_keys(source: &Arc<KeySource>) -> CachedVerificationKeys {
        CachedVerificationKeys::new(Arc::clone(source) as _, Arc::clone(&source.clock) as _, CacheSettings::FUNCTION)
    }

    fn signing_keys(source: &Arc<KeySource>) -> CachedSigningKeys {
        CachedSigningKeys::new(Arc::clone(source) as _, Arc::clone(&source.clock) as _, CacheSettings::FUNCTION)
    }

    #[tokio::test]
    async fn keys_that_are_asked_for_together_share_one_load_cold_and_stale() {
        let source = Arc::new(KeySource::default());
        source.answers(Ok(key_set()));
        let (public, private) = (Arc::new(verification_keys(&source)), Arc::new(signing_keys(&source)));
        for calls in [2, 4] {
            let together: Vec<_> = (0..50)
                .map(|_| {
                    let (public, private) = (Arc::clone(&public), Arc::clone(&private));
                    tokio::spawn(async move {
                        let public = public.verification_keys(&root()).await.map(drop);
                        public.and(private.signers(&root(), SigningAlgorithm::Es256).await.map(drop))
                    })
                })
                .collect();
            for request in together {
                assert_eq!(request.await.expect("no panic"), Ok(()));
            }
            assert_eq!(source.calls(), calls);
            source.advance(301);
        }
    }

    #[tokio::test]
    async fn a_realm_without_keys_is_asked_for_each_time_because_its_first_key_signs_at_once() {
        let source = Arc::new(KeySource::default());
        let cache = verification_keys(&source);
        for calls in 1..=3 {
            assert!(cache.verification_keys(&root()).await.expect("answers").jwks().is_empty());
            assert_eq!(source.calls(), calls);
            source.clock.set_back(600);
        }
        let keys = key_set();
        source.answers(Ok(keys.clone()));
        assert!(cache.verification_keys(&root()).await.expect("answers").know(&first_kid(&keys)));
        cache.verification_keys(&root()).await.expect("answers");
        assert_eq!(source.calls(), 4, "and is remembered from then on");
    }

    #[tokio::test]
    async fn that_a_realm_had_no_keys_is_no_answer_while_its_source_is_away() {
        let source = Arc::new(KeySource::default());
        let cache = verification_keys(&source);
        assert!(cache.verification_keys(&root()).await.expect("answers").jwks().is_empty());
        // The first token may have been signed since: nobody can say that it is none.
        source.answers(Err(down()));
        assert_eq!(cache.verification_keys(&root()).await.err(), Some(down()));
    }

    #[tokio::test]
    async fn inventing_keys_reloads_once_per_interval() {
        let source = Arc::new(KeySource::default());
        let (old, new) = (key_set(), key_set());
        source.answers(Ok(old));
        let cache = verification_keys(&source);
        cache.verification_keys(&root()).await.expect("answers");
        source.advance(1);

        source.answers(Ok(new.clone()));
        let newer = cache.verification_keys_after_mismatch(&root()).await.expect("answers").expect("newer keys");
        assert!(newer.know(&first_kid(&new)));
        for _ in 0..100 {
            assert!(cache.verification_keys_after_mismatch(&root()).await.expect("answers").is_none());
        }
        assert_eq!(source.calls(), 2);
        assert!(
            cache.verification_keys(&root()).await.expect("answers").know(&first_kid(&new)),
            "and keeps what it saw"
        );
        assert_eq!(source.calls(), 2);
        // Another realm has an interval of its own.
        let alpha = "alpha".parse().expect("a name");
        assert!(cache.verification_keys_after_mismatch(&alpha).await.expect("answers").is_some());
        // It ends, though the clock is set back in it.
        source.clock.set_back(3600);
        source.advance(4);
        assert!(cache.verification_keys_after_mismatch(&root()).await.expect("answers").is_none());
        source.advance(1);
        assert!(cache.verification_keys_after_mismatch(&root()).await.expect("answers").is_some());
    }

    #[tokio::test]
    async fn of_a_key_that_nobody_can_ask_about_nothing_is_said() {
        let source = Arc::new(KeySource::default());
        let (old, new) = (key_set(), key_set());
        source.answers(Ok(old.clone()));
        let cache = verification_keys(&source);
        cache.verification_keys(&root()).await.expect("answers");
        source.answers(Err(down()));
        for calls in 2..5 {
            assert_eq!(cache.verification_keys_after_mismatch(&root()).await.err(), Some(down()), "not: no such key");
            assert_eq!(source.calls(), calls, "and the next token asks again");
        }
        assert!(cache.verification_keys(&root()).await.expect("remembered").know(&first_kid(&old)));
        source.answers(Ok(new.clone()));
        let newer = cache.verification_keys_after_mismatch(&root()).await.expect("answers").expect("newer keys");
        assert!(newer.know(&first_kid(&new)));
    }

    #[tokio::test]
    async fn keys_whose_source_is_away_are_bridged_for_an_hour_and_no_longer() {
        let source = Arc::new(KeySource::default());
        let keys = key_set();
        source.answers(Ok(keys.clone()));
        let (public, private) = (verification_keys(&source), signing_keys(&source));
        let verifies = async || Ok(public.verification_keys(&root()).await?.know(&first_kid(&keys)));
        let signs = async || private.signers(&root(), SigningAlgorithm::Es256).await.map(drop);
        assert_eq!((verifies().await, signs().await), (Ok(true), Ok(())));

        source.answers(Err(down()));
        source.advance(301);
        for _ in 0..2 {
            assert_eq!((verifies().await, signs().await), (Ok(true), Ok(())));
        }
        assert_eq!(source.calls(), 4, "a source that is away is left alone for a while");

        source.advance(3299);
        assert_eq!((verifies().await, signs().await), (Ok(true), Ok(())), "to the hour");
        source.advance(30);
        assert_eq!((verifies().await, signs().await), (Err(down()), Err(down())), "past it the failure shows");
        source.answers(Ok(keys.clone()));
        assert_eq!((verifies().await, signs().await), (Ok(true), Ok(())));
    }

    #[tokio::test]
    async fn a_process_never_signs_with_keys_older_than_verifiers_allow_for() {
        let source = Arc::new(KeySource::default());
        source.answers(Ok(key_set()));
        let private = signing_keys(&source);
        private.signers(&root(), SigningAlgorithm::Es256).await.expect("answers");
        source.answers(Err(down()));
        let mut age = 0;
        while private.signers(&root(), SigningAlgorithm::Es256).await.is_ok() {
            source.advance(1);
            age += 1;
            assert!(age <= SIGNERS_MAX_AGE, "a previous key would no longer verify what this one signs");
        }
        assert!(age > 3600, "{age}");
    }

    #[tokio::test]
    async fn corrupt_keys_are_not_bridged() {
        let source = Arc::new(KeySource::default());
        source.answers(Ok(key_set()));
        let (public, private) = (verification_keys(&source), signing_keys(&source));
        public.verification_keys(&root()).await.expect("answers");
        private.signers(&root(), SigningAlgorithm::Es256).await.expect("answers");
        let mangled = PortError::Corrupt { service: "test", detail: "mangled".into() };
        source.answers(Err(mangled.clone()));
        source.advance(301);
        assert_eq!(public.verification_keys(&root()).await.err(), Some(mangled.clone()));
        assert_eq!(private.signers(&root(), SigningAlgorithm::Es256).await.err(), Some(mangled));
    }
}
