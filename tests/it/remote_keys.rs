//! Keys at a client's address: how often an issuer is asked by all processes together, and what is used while it cannot be.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use grantwell::app::FUNCTION_CACHES;
use grantwell::cache::CachedRemoteKeys;
use grantwell::core::keys::copy::{KeptKeys, KeyCopy};
use grantwell::core::keys::jwk_set::JwkSet;
use grantwell::core::keys::remote::JwksUri;
use grantwell::core::port_error::PortError;
use grantwell::core::ports::{Clock, KeyCopies, RemoteKeys as _};
use grantwell::core::time::UnixSeconds;
use grantwell::core::trust::key_address::KeyAddress;
use grantwell::core::trust::lookups::Lookups;
use grantwell::embedded::store::remote_keys::MemoryKeyCopies;
use grantwell::remote::fetcher::{FetchError, Fetched, Fetcher};
use grantwell::remote::keys::{Fetch, SharedKeys};
use tokio::task::JoinSet;

use crate::support::https::{Authority, HttpsServer, json};

#[tokio::test]
async fn keys_are_fetched_once_for_all_processes_and_again_when_their_time_is_over() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    for _ in 0..3 {
        assert_eq!(world.kids(&one).await, ["a"]);
        assert_eq!(world.kids(&two).await, ["a"]);
    }
    assert_eq!(world.fetches(), 1);
    world.publish(&["b"]);
    world.pass(599);
    assert_eq!((world.kids(&one).await, world.kids(&two).await), (vec!["a".to_owned()], vec!["a".to_owned()]));
    world.pass(1);
    assert_eq!((world.kids(&one).await, world.kids(&two).await), (vec!["b".to_owned()], vec!["b".to_owned()]));
    assert_eq!(world.fetches(), 2);
    // A process that starts now asks nobody.
    assert_eq!(world.kids(&world.process()).await, ["b"]);
    assert_eq!(world.fetches(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_who_start_at_once_one_fetches_and_the_others_wait_for_it() {
    let world = World::new();
    world.answer_after(Duration::from_millis(300));
    let mut starts = JoinSet::new();
    for _ in 0..20 {
        let (world, process) = (world.clone(), world.process());
        starts.spawn(async move { world.kids(&process).await });
    }
    for kids in starts.join_all().await {
        assert_eq!(kids, ["a"]);
    }
    assert_eq!(world.fetches(), 1);
}

#[tokio::test]
async fn an_unknown_name_is_looked_up_once_a_minute_by_all_processes_together() {
    an_unknown_name_costs_one_fetch_a_minute(Arc::new(MemoryKeyCopies::default())).await;
}

/// Of any store of copies: two processes, and somebody who invents names of keys.
pub(crate) async fn an_unknown_name_costs_one_fetch_a_minute(copies: Arc<dyn KeyCopies>) {
    let world = World::over(copies);
    let (one, two) = (world.process(), world.process());
    assert_eq!((world.kids(&one).await, world.kids(&two).await), (vec!["a".to_owned()], vec!["a".to_owned()]));
    assert_eq!(world.fetches(), 1);
    // Within the first minute nobody looks again.
    for _ in 0..20 {
        world.pass(2);
        let _known = (world.after_mismatch(&one).await, world.after_mismatch(&two).await);
    }
    assert_eq!(world.fetches(), 1);
    // In five minutes of that there are five looks.
    world.pass(20);
    for _ in 0..150 {
        let _known = (world.after_mismatch(&one).await, world.after_mismatch(&two).await);
        world.pass(2);
    }
    assert_eq!(world.fetches(), 1 + 5);
    // A new key is found by one process, and by the other without a look of its own.
    world.publish(&["a", "b"]);
    world.pass(60);
    assert_eq!(world.after_mismatch(&one).await, Ok(Some(vec!["a".to_owned(), "b".to_owned()])));
    assert_eq!(world.after_mismatch(&two).await, Ok(Some(vec!["a".to_owned(), "b".to_owned()])));
    assert_eq!(world.fetches(), 1 + 6);
    assert_eq!(
        (world.kids(&one).await, world.kids(&two).await),
        (vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned(), "b".to_owned()])
    );
}

#[tokio::test]
async fn old_keys_are_used_while_their_issuer_is_away_and_no_longer_than_a_day() {
    let world = World::new();
    let (one, two) = (world.process(), world.process());
    assert_eq!(world.kids(&one).await, ["a"]);
    world.break_down();
    for hour in 0..24 {
        assert_eq!(
            (world.kids(&one).await, world.kids(&two).await),
            (vec!["a".to_owned()], vec!["a".to_owned()]),
            "{hour} h"
        );
        world.pass(3_600);
    }
    world.pass(600);
    for process in [&one, &two, &world.process()] {
        let error = process.remote_keys(&world.address).await.map(drop).expect_err("too old");
        assert!(matches!(error, PortError::Unavailable { .. }), "{error}");
    }
    world.publish(&["b"]);
    world.pass(60);
    assert_eq!((world.kids(&one).await, world.kids(&two).await), (vec!["b".to_owned()], vec!["b".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_away_is_asked_once_in_a_while_however_many_ask() {
    let world = World::new();
    world.break_down();
    let (one, two) = (world.process(), world.process());
    for _ in 0..50 {
        for process in [&one, &two] {
            let error = process.remote_keys(&world.address).await.map(drop).expect_err("nobody knows the keys");
            assert!(matches!(&error, PortError::Unavailable { .. }), "{error}");
            assert!(error.to_string().contains("keys.example"), "{error}");
            assert!(!error.to_string().contains("path-is-nobodys-business"), "{error}");
        }
        world.pass(5);
    }
    // 250 seconds, a look in ten of them.
    assert!((20..=25).contains(&world.fetches()), "{}", world.fetches());

    // With old keys at hand it is asked once a minute.
    world.publish(&["a"]);
    world.pass(10);
    assert_eq!(world.kids(&one).await, ["a"]);
    let before = world.fetches();
    world.break_down();
    world.pass(600);
    for _ in 0..60 {
        assert_eq!((world.kids(&one).await, world.kids(&two).await), (vec!["a".to_owned()], vec!["a".to_owned()]));
        world.pass(10);
    }
    assert!((9..=11).contains(&(world.fetches() - before)), "{}", world.fetches() - before);
}

#[tokio::test]
async fn a_name_that_could_not_be_looked_up_is_not_said_to_be_unknown() {
    let world = World::new();
    let process = world.process();
    assert_eq!(world.kids(&process).await, ["a"]);
    world.break_down();
    world.pass(60);
    for _ in 0..3 {
        let error = world.after_mismatch(&process).await.expect_err("nobody has said so");
        assert!(matches!(error, PortError::Unavailable { .. }), "{error}");
        world.pass(1);
    }
    // And the keys that are known serve on.
    assert_eq!(world.kids(&process).await, ["a"]);
}

#[tokio::test]
async fn keys_that_their_issuer_has_withdrawn_are_not_used_as_old_ones() {
    for withdrawn in [
        r#"{"keys":[]}"#.to_owned(),
        r#"{"keys":[{"kty":"new"}]}"#.to_owned(),
        r#"{"keys":[{"kty":"oct","k":"c2VjcmV0LXRoYXQtZXZlcnlib2R5LWNhbi1yZWFk"}]}"#.to_owned(),
    ] {
        let world = World::new();
        let (one, two) = (world.process(), world.process());
        assert_eq!(world.kids(&one).await, ["a"]);
        world.answer(Ok(withdrawn.clone()));
        world.pass(600);
        for process in [&one, &two, &world.process()] {
            assert_eq!(world.kids(process).await, Vec::<String>::new(), "{withdrawn}");
        }
        world.break_down();
        world.pass(3_600);
        assert_eq!(world.kids(&one).await, Vec::<String>::new(), "{withdrawn}");
        // What everybody can read and sign with is kept nowhere.
        let kept = world.copies.kept_keys((&world.address).into()).await.expect("read").copy.expect("a copy");
        assert_eq!(kept.jwks, r#"{"keys":[]}"#);
    }
}

#[tokio::test]
async fn what_is_no_set_of_keys_is_a_failure_and_replaces_nothing() {
    for text in ["", "[]", "{}", r#"{"error":"down for maintenance"}"#, r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
        let world = World::new();
        let process = world.process();
        assert_eq!(world.kids(&process).await, ["a"]);
        world.answer(Ok(text.to_owned()));
        world.pass(600);
        assert_eq!(world.kids(&process).await, ["a"], "{text}");
        assert_eq!(world.kids(&world.process()).await, ["a"], "{text}");
    }
}

#[tokio::test]
async fn without_a_copy_and_without_its_issuer_nothing_is_believed() {
    let world = World::new();
    assert_eq!(world.kids(&world.process()).await, ["a"]);
    world.break_down();
    // The table was emptied.
    let emptied = World { copies: Arc::new(MemoryKeyCopies::default()), ..world.clone() };
    let error = emptied.process().remote_keys(&world.address).await.map(drop).expect_err("no keys");
    assert!(matches!(error, PortError::Unavailable { .. }), "{error}");
    // The table cannot be asked: nobody says who may look, so nobody does.
    let before = world.fetches();
    let out_of_reach = World { copies: Arc::new(NoStore), ..world.clone() };
    world.publish(&["a"]);
    let error = out_of_reach.process().remote_keys(&world.address).await.map(drop).expect_err("no keys");
    assert!(matches!(error, PortError::Unavailable { service: "the table", .. }), "{error}");
    assert_eq!(world.fetches(), before);
}

#[tokio::test]
async fn keys_from_a_private_network_are_none_of_a_client_that_may_not_go_there() {
    let world = World::new();
    let lax = World { address: JwksUri { allow_private_network: true, ..world.address.clone() }, ..world.clone() };
    assert_eq!(lax.kids(&lax.process()).await, ["a"]);
    world.break_down();
    let error = world.process().remote_keys(&world.address).await.map(drop).expect_err("not its copy");
    assert!(matches!(error, PortError::Unavailable { .. }), "{error}");
    assert_eq!(world.fetches(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_a_server_that_a_registered_authority_vouches_for() {
    let authority = Authority::new();
    let jwks = set(&["a"]);
    let server = HttpsServer::start(authority.server(&["127.0.0.1"]), move || json("", &jwks)).await;
    let address = JwksUri {
        uri: server.url("127.0.0.1", "/jwks").parse().expect("a URL"),
        allow_private_network: true,
        ca: Some(authority.pem().parse().expect("certificates")),
    };
    let fetch = Arc::new(Fetcher::default());
    let world = World { fetch: Arc::clone(&fetch) as _, address: address.clone(), ..World::new() };
    assert_eq!(world.kids(&world.process()).await, ["a"]);
    // Without leave nothing is sent, not even a greeting.
    for strict in [JwksUri { allow_private_network: false, ..address.clone() }, JwksUri { ca: None, ..address.clone() }]
    {
        let world = World { address: strict, ..world.clone() };
        let error = world.process().remote_keys(&world.address).await.map(drop).expect_err("no leave");
        assert!(matches!(error, PortError::Unavailable { .. }), "{error}");
    }
    assert_eq!(server.heads().len(), 1);
}

/// An issuer, a clock and a store of copies, which processes share.
#[derive(Clone)]
struct World {
    clock: Time,
    issuer: Arc<Issuer>,
    fetch: Arc<dyn Fetch>,
    copies: Arc<dyn KeyCopies>,
    address: JwksUri,
}

struct Issuer {
    answer: Mutex<Result<String, FetchError>>,
    takes: Mutex<Duration>,
    fetches: AtomicUsize,
}

/// Goes on as a test says.
#[derive(Clone)]
struct Time(Arc<AtomicU64>);

/// A store that cannot be asked.
struct NoStore;

impl World {
    fn new() -> Self {
        Self::over(Arc::new(MemoryKeyCopies::default()))
    }

    fn over(copies: Arc<dyn KeyCopies>) -> Self {
        let issuer = Arc::new(Issuer {
            answer: Mutex::new(Ok(set(&["a"]))),
            takes: Mutex::default(),
            fetches: AtomicUsize::new(0),
        });
        let clock = Time(Arc::new(AtomicU64::new(1_795_415_820)));
        let address = "https://keys.example/path-is-nobodys-business?k=v".parse().expect("a URL");
        Self { clock, fetch: Arc::clone(&issuer) as _, issuer, copies, address: JwksUri::public(address) }
    }

    fn process(&self) -> CachedRemoteKeys {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let shared = SharedKeys::new(Arc::clone(&self.copies), Arc::clone(&self.fetch), Arc::clone(&clock));
        CachedRemoteKeys::new(shared, clock, FUNCTION_CACHES)
    }

    async fn kids(&self, process: &CachedRemoteKeys) -> Vec<String> {
        names(&process.remote_keys(&self.address).await.expect("keys"))
    }

    async fn after_mismatch(&self, process: &CachedRemoteKeys) -> Result<Option<Vec<String>>, PortError> {
        Ok(process.remote_keys_after_mismatch(&self.address).await?.map(|keys| names(&keys)))
    }

    fn publish(&self, kids: &[&str]) {
        self.answer(Ok(set(kids)));
    }

    fn break_down(&self) {
        self.answer(Err(FetchError::TimedOut));
    }

    fn answer(&self, answer: Result<String, FetchError>) {
        *self.issuer.answer.lock().expect("no panic") = answer;
    }

    fn answer_after(&self, takes: Duration) {
        *self.issuer.takes.lock().expect("no panic") = takes;
    }

    fn fetches(&self) -> usize {
        self.issuer.fetches.load(Ordering::SeqCst)
    }

    fn pass(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Time {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.0.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Fetch for Issuer {
    async fn fetch_from(&self, _address: &JwksUri, _now: UnixSeconds) -> Result<Fetched, FetchError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let takes = *self.takes.lock().expect("no panic");
        tokio::time::sleep(takes).await;
        let text = self.answer.lock().expect("no panic").clone()?;
        Ok(Fetched { text, believed_for: Duration::from_mins(10) })
    }
}

#[async_trait]
impl KeyCopies for NoStore {
    async fn kept_keys(&self, _address: KeyAddress<'_>) -> Result<KeptKeys, PortError> {
        Err(PortError::Unavailable { service: "the table", detail: "away".to_owned() })
    }

    async fn begin_look(&self, _address: KeyAddress<'_>, _now: UnixSeconds, _interval: u64) -> Result<bool, PortError> {
        Err(PortError::Unavailable { service: "the table", detail: "away".to_owned() })
    }

    async fn keep(&self, _address: KeyAddress<'_>, _copy: &KeyCopy) -> Result<(), PortError> {
        Err(PortError::Unavailable { service: "the table", detail: "away".to_owned() })
    }

    async fn confirm(&self, _address: KeyAddress<'_>) -> Result<(), PortError> {
        Err(PortError::Unavailable { service: "the table", detail: "away".to_owned() })
    }

    async fn lookups(&self) -> Result<Lookups, PortError> {
        Err(PortError::Unavailable { service: "the table", detail: "away".to_owned() })
    }

    async fn replace_lookups(&self, _lookups: &Lookups, _now: UnixSeconds) -> Result<bool, PortError> {
        Err(PortError::Unavailable { service: "the table", detail: "away".to_owned() })
    }
}

fn names(keys: &JwkSet) -> Vec<String> {
    keys.keys().map(|key| key.name().to_owned()).collect()
}

/// The key of RFC 7517 Appendix A.1 under each of these names.
fn set(kids: &[&str]) -> String {
    let key = |kid: &&str| {
        serde_json::json!({
            "kty": "EC", "crv": "P-256", "kid": kid,
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        })
    };
    serde_json::json!({ "keys": kids.iter().map(key).collect::<Vec<_>>() }).to_string()
}
