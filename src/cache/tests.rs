use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::strangers::too_many_strangers;
use super::*;
use crate::app::{FUNCTION_CACHES, LOCAL_CACHES};
use crate::core::client::Client;
use crate::core::client::id::{ClientId, RegistrationId};
use crate::core::client::metadata::ClientMetadata;
use crate::core::client::registered_secrets::RegisteredSecrets;
use crate::core::client::secret::{ClientSecrets, SecretDigest};
use crate::core::client::secret_storage::SecretStorage;
use crate::core::keys::SigningAlgorithm;
use crate::core::keys::published::VerificationKeys;
use crate::core::keys::retention::SIGNERS_MAX_AGE;
use crate::core::keys::set::{KeySet, Signers};
use crate::core::port_error::PortError;
use crate::core::ports::{
    ClientBeside, ClientRegistry, Clock, RealmAndClient, SecretSource, SigningKeySource, VerificationKeySource,
};
use crate::core::realm::{Realm, RealmName};
use crate::core::time::{Moment, UnixSeconds};
use crate::observe::Observer;
use crate::observe::metrics::Metrics;
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
    CachedSecrets::new(Arc::clone(source) as _, Arc::clone(&source.clock) as _, FUNCTION_CACHES)
}

fn down() -> PortError {
    PortError::Unavailable { service: "test", detail: "down".into() }
}

/// A registration of the client `c`; another one each time.
fn registered() -> Client {
    let metadata = ClientMetadata::new();
    let registration_id = RegistrationId::generate(&SystemRandom).expect("random bytes");
    Client::register(id("c"), &Realm::new(RealmName::root()), metadata, registration_id, UnixSeconds(0)).expect("valid")
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
async fn secrets_of_a_registration_that_keeps_them_are_as_new_as_it_and_asked_of_nobody() {
    let source = Arc::new(Source::default());
    source.answers(Err(down()));
    let cache = cached(&source);
    let keeps = |client: &Client, text: &str| {
        let secret_digests = Some(RegisteredSecrets::first(SecretDigest::of(text), UnixSeconds(0)));
        let mut keeps = Client { secret_digests, revision: client.revision + 1, ..client.clone() };
        keeps.metadata.client_secret_storage = Some(SecretStorage::Digest);
        keeps
    };
    let client = keeps(&registered(), "one");
    assert!(is(cache.secrets(&client).await.expect("nobody is asked"), "one"));
    // Another look is one at the registration.
    assert!(cache.admits_another_look(&client).await && !cache.admits_another_look(&client).await);
    let rotated = keeps(&client, "two");
    for secrets in [cache.secrets_anew(&rotated).await, cache.secrets(&rotated).await] {
        let secrets = secrets.expect("nobody is asked");
        assert!(secrets.as_ref().is_some_and(|secrets| !secrets.may_be_newer) && is(secrets, "two"));
    }
    assert_eq!(source.calls(), 0);

    // Digests that are left on a registration whose secrets are elsewhere open nothing: nobody could end them.
    let mut elsewhere = client.clone();
    elsewhere.metadata.client_secret_storage = Some(SecretStorage::SecretsManager);
    assert!(cache.secrets(&elsewhere).await.is_err() && source.calls() == 1);
}

#[tokio::test]
async fn a_cache_tells_of_its_hits_and_of_its_loads() {
    let observer = Arc::new(Observer::counting(Metrics::in_tests()));
    let told = |name: &str| {
        let line = observer.metrics_line();
        ["Hits", "Misses"].map(|outcome| line[format!("{name}Cache{outcome}")].as_u64().unwrap_or_default())
    };

    // 1. Secrets: a load is one however it ends, and nobody's look counts as none.
    let source = Arc::new(Source::default());
    source.answers(Ok(Some("one")));
    let (cache, client) = (cached(&source).observed_by(Arc::clone(&observer)), registered());
    for _ in 0..3 {
        cache.secrets(&client).await.expect("answers");
    }
    assert_eq!(told("Secret"), [2, 1]);
    cache.secrets_anew(&client).await.expect("answers");
    assert_eq!(told("Secret"), [0, 1]);
    cache.no_secrets().await;
    assert_eq!(told("Secret"), [0, 0]);
    source.answers(Err(down()));
    source.advance(301);
    for _ in 0..2 {
        cache.secrets(&client).await.expect("bridged");
    }
    assert_eq!(told("Secret"), [1, 1]);

    // What was denied to an earlier revision does not suffice for this one.
    source.answers(Ok(None));
    source.advance(3600);
    cache.secrets(&client).await.expect("answers");
    assert_eq!(told("Secret"), [0, 1]);
    let newer = Client { revision: client.revision + 1, ..client.clone() };
    for _ in 0..2 {
        cache.secrets(&newer).await.expect("answers");
    }
    assert_eq!(told("Secret"), [1, 1]);

    // 2. Registrations and realms.
    let settings = FUNCTION_CACHES;
    let registry = CachedRegistry::new(Arc::clone(&source) as _, Arc::clone(&source.clock) as _, settings)
        .observed_by(Arc::clone(&observer));
    for _ in 0..3 {
        registry.client(&root(), &client.client_id).await.expect("answers");
        registry.realm(&root()).await.expect("answers");
    }
    let line = observer.metrics_line();
    for (name, expected) in
        [("ClientCacheHits", 2), ("ClientCacheMisses", 1), ("RealmCacheHits", 2), ("RealmCacheMisses", 1)]
    {
        assert_eq!(line[name], expected, "{name}");
    }
    registry.client_anew(&root(), &client.client_id).await.expect("answers");
    assert_eq!(told("Client"), [0, 1]);

    // 3. Keys.
    let keys = Arc::new(KeySource::default());
    keys.answers(Ok(key_set()));
    let public = verification_keys(&keys).observed_by(Arc::clone(&observer));
    let private = signing_keys(&keys).observed_by(Arc::clone(&observer));
    for _ in 0..3 {
        public.verification_keys(&root()).await.expect("answers");
    }
    assert_eq!(told("VerificationKey"), [2, 1]);
    public.verification_keys_after_mismatch(&root()).await.expect("answers").expect("looked");
    assert_eq!(told("VerificationKey"), [0, 1]);
    for _ in 0..3 {
        private.signers(&root(), SigningAlgorithm::Es256).await.expect("answers");
    }
    assert_eq!(told("SigningKey"), [2, 1]);
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
    let settings = FUNCTION_CACHES;
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
    let settings = FUNCTION_CACHES;
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
    let settings = CacheSettings { capacity: 100, ..FUNCTION_CACHES };
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
    let cache = Arc::new(CachedRegistry::new(source.clone(), clock.clone(), LOCAL_CACHES));
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

/// A registry that has a realm and a client of it in one answer, and counts its answers.
struct Together {
    realms: Vec<&'static str>,
    says_clients: bool,
    reads: Mutex<Vec<String>>,
}

impl Together {
    fn of(realms: &[&'static str], says_clients: bool) -> (Arc<Self>, CachedRegistry, Arc<TestClock>) {
        let source = Arc::new(Self { realms: realms.to_vec(), says_clients, reads: Mutex::default() });
        let clock = Arc::new(TestClock::default());
        (source.clone(), CachedRegistry::new(source, clock.clone(), FUNCTION_CACHES), clock)
    }

    fn note(&self, read: impl Into<String>) {
        self.reads.lock().expect("not poisoned").push(read.into());
    }

    /// What has been read since the last look.
    fn reads(&self) -> Vec<String> {
        std::mem::take(&mut *self.reads.lock().expect("not poisoned"))
    }

    fn found(&self, name: &RealmName) -> Option<Arc<Realm>> {
        self.realms.contains(&name.as_str()).then(|| Arc::new(Realm::new(name.clone())))
    }
}

#[async_trait]
impl ClientRegistry for Together {
    async fn client(&self, _: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        self.note("client");
        Ok((client_id.as_str() == "c").then(|| Arc::new(registered())))
    }

    async fn realm(&self, name: &RealmName) -> Result<Option<Arc<Realm>>, PortError> {
        self.note("realm");
        Ok(self.found(name))
    }

    async fn realm_and_client(&self, name: &RealmName, client_id: &ClientId) -> Result<RealmAndClient, PortError> {
        self.note("both");
        let client = (client_id.as_str() == "c").then(|| Arc::new(registered()));
        let client = if self.says_clients { ClientBeside::Said(client) } else { ClientBeside::NotSaid };
        Ok(RealmAndClient { realm: self.found(name), client })
    }
}

#[tokio::test]
async fn a_realm_and_a_client_are_one_read_where_neither_is_remembered_and_none_where_both_are() {
    let (source, cache, clock) = Together::of(&["root"], true);
    for (id, is_known) in [(id("c"), true), (id("nobody"), false)] {
        for reads in [&["both"][..], &[]] {
            assert!(cache.realm_and_client(&root(), &id).await.expect("answers").realm.is_some());
            assert_eq!(cache.client(&root(), &id).await.expect("answers").is_some(), is_known);
            assert_eq!(source.reads(), reads, "{id}");
        }
        // The realm is remembered for longer than that there is no client, which then is read alone.
        clock.advance(21);
        cache.realm_and_client(&root(), &id).await.expect("answers");
        assert_eq!(source.reads(), [""; 0]);
        cache.client(&root(), &id).await.expect("answers");
        assert_eq!(source.reads(), if is_known { &[][..] } else { &["client"] });
        clock.advance(60);
    }

    // A client that is remembered is not read with its realm.
    cache.client(&root(), &id("c")).await.expect("answers");
    source.reads();
    cache.realm_and_client(&root(), &id("c")).await.expect("answers");
    assert_eq!(source.reads(), ["realm"]);
}

#[tokio::test]
async fn what_is_said_beside_a_realm_is_believed_no_longer_and_for_no_other_than_what_is_read_alone() {
    // Where the store does not say, nothing is remembered.
    let (source, cache, _) = Together::of(&["root"], false);
    cache.realm_and_client(&root(), &id("c")).await.expect("answers");
    assert!(cache.client(&root(), &id("c")).await.expect("answers").is_some());
    assert_eq!(source.reads(), ["both", "client"]);

    // Nor of a realm that does not exist. Root does, with or without a record.
    for (name, reads) in [("alpha", &["both", "client"][..]), ("root", &["both"])] {
        let (source, cache, _) = Together::of(&[], true);
        let name: RealmName = name.parse().expect("a name");
        assert!(cache.realm_and_client(&name, &id("c")).await.expect("answers").realm.is_none());
        cache.client(&name, &id("c")).await.expect("answers");
        assert_eq!(source.reads(), reads, "{name}");
    }

    // From the moment of the question, as each load.
    let (source, cache, clock) = Together::of(&["root"], true);
    cache.realm_and_client(&root(), &id("c")).await.expect("answers");
    clock.advance(59);
    cache.client(&root(), &id("c")).await.expect("answers");
    assert_eq!(source.reads(), ["both"]);
    clock.advance(1);
    cache.client(&root(), &id("c")).await.expect("answers");
    assert_eq!(source.reads(), ["client"]);
}

#[tokio::test]
async fn a_thousand_who_ask_for_a_realm_and_a_client_at_once_are_one_read() {
    let (source, cache, _) = Together::of(&["root"], true);
    let cache = Arc::new(cache);
    let ask = |_| {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move {
            cache.realm_and_client(&root(), &id("c")).await.expect("answers");
            cache.client(&root(), &id("c")).await.expect("answers")
        })
    };
    for asked in (0..1000).map(ask).collect::<Vec<_>>() {
        assert!(asked.await.expect("no panic").is_some());
    }
    assert_eq!(source.reads(), ["both"]);
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
    CachedVerificationKeys::new(Arc::clone(source) as _, Arc::clone(&source.clock) as _, FUNCTION_CACHES)
}

fn signing_keys(source: &Arc<KeySource>) -> CachedSigningKeys {
    CachedSigningKeys::new(Arc::clone(source) as _, Arc::clone(&source.clock) as _, FUNCTION_CACHES)
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
    assert!(cache.verification_keys(&root()).await.expect("answers").know(&first_kid(&new)), "and keeps what it saw");
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
