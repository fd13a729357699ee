//! Keys of trusted issuers: where they are found, whose they are, and how often issuers are looked up that nobody has registered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use grantwell::app::FUNCTION_CACHES;
use grantwell::cache::CachedRemoteKeys;
use grantwell::core::keys::jwk_set::JwkSet;
use grantwell::core::keys::remote::JwksUri;
use grantwell::core::port_error::PortError;
use grantwell::core::ports::{Clock, KeyCopies, RemoteKeys as _};
use grantwell::core::source::ClientSource;
use grantwell::core::time::UnixSeconds;
use grantwell::core::trust::issuer::{IssuerKeys, IssuerKind, IssuerUrl, TrustedIssuer};
use grantwell::embedded::store::remote_keys::MemoryKeyCopies;
use grantwell::remote::fetcher::{FetchError, Fetched, Fetcher};
use grantwell::remote::keys::{Fetch, SharedKeys};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::https::{Authority, HttpsServer, Sent, json as json_answer};

#[tokio::test]
async fn ti_01_the_metadata_document_says_where_the_keys_are_and_both_are_one_look_and_one_copy() {
    let world = World::new();
    let issuer = discovered("https://accounts.example");
    world.publish("https://accounts.example", "https://keys.example/jwks", &["a"]);
    let (one, two) = (world.process(), world.process());
    for process in [&one, &two, &one, &world.process()] {
        assert_eq!(kids(process, &issuer).await, ["a"]);
    }
    let look = ["https://accounts.example/.well-known/openid-configuration", "https://keys.example/jwks"];
    assert_eq!(world.fetched(), look);
    // Their time is over. The keys have moved to another host, which the document says.
    world.publish("https://accounts.example", "https://elsewhere.example/jwks", &["b"]);
    world.pass(600);
    for process in [&one, &two] {
        assert_eq!(kids(process, &issuer).await, ["b"]);
    }
    assert_eq!(world.fetched(), [look[0], "https://elsewhere.example/jwks"]);
}

#[tokio::test]
async fn ti_02_an_unknown_key_of_an_issuer_is_looked_up_once_a_minute_by_all_processes_together() {
    an_unknown_key_of_an_issuer_is_one_look_a_minute(Arc::new(MemoryKeyCopies::default())).await;
}

/// Of any store of copies.
pub(crate) async fn an_unknown_key_of_an_issuer_is_one_look_a_minute(copies: Arc<dyn KeyCopies>) {
    let world = World::over(copies);
    let issuer = discovered("https://accounts.example");
    world.publish("https://accounts.example", "https://keys.example/jwks", &["a"]);
    let processes = [world.process(), world.process()];
    for process in &processes {
        assert_eq!(kids(process, &issuer).await, ["a"]);
    }
    world.pass(60);
    world.forget_fetched();
    for _ in 0..150 {
        for process in &processes {
            let _known = process.issuer_keys_after_mismatch(&issuer).await;
        }
        world.pass(2);
    }
    let looks = world.fetched().len() / 2;
    assert_eq!(looks, 5, "two documents each");
}

#[tokio::test]
async fn ti_03_keys_are_an_issuers_own_and_one_name_may_be_two_keys() {
    let world = World::new();
    let (one, other) = (sts(1), sts(2));
    for (issuer, key) in [(&one, P_256), (&other, P_384)] {
        let url = issuer.issuer.as_str();
        world.serve(
            &format!("{url}/.well-known/openid-configuration"),
            &metadata(url, &format!("{url}/.well-known/jwks.json")),
        );
        world.serve(&format!("{url}/.well-known/jwks.json"), &json!({ "keys": [key_named("same", key)] }).to_string());
    }
    let process = world.process();
    let algorithms =
        |keys: Arc<JwkSet>| keys.keys().flat_map(|key| key.algorithms().collect::<Vec<_>>()).collect::<Vec<_>>();
    for _ in 0..2 {
        let (ones, others) = (process.issuer_keys(&one).await, process.issuer_keys(&other).await);
        let (ones, others) = (algorithms(ones.expect("keys")), algorithms(others.expect("keys")));
        assert_eq!(ones.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ES256"]);
        assert_eq!(others.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ES384"]);
    }
}

#[tokio::test]
async fn ti_04_a_metadata_document_of_another_issuer_or_without_an_address_is_not_believed() {
    for (document, why) in [
        (metadata("https://accounts.example/", "https://keys.example/jwks"), "of another issuer"),
        (metadata("https://ACCOUNTS.example", "https://keys.example/jwks"), "of another issuer"),
        (metadata("https://accounts.example:443", "https://keys.example/jwks"), "of another issuer"),
        (metadata("https://accounts.example", "http://keys.example/jwks"), "no jwks_uri that is an https URL"),
        (json!({ "issuer": "https://accounts.example" }).to_string(), "no jwks_uri that is an https URL"),
        ("[]".to_owned(), "not a JSON object"),
        (String::new(), "not a JSON object"),
    ] {
        let world = World::new();
        world.serve("https://accounts.example/.well-known/openid-configuration", &document);
        world.serve("https://keys.example/jwks", &set(&["a"]));
        let error = refusal(&world.process(), &discovered("https://accounts.example")).await;
        assert!(error.contains(why) && error.contains("accounts.example"), "{document}: {error}");
        assert_eq!(world.fetched().len(), 1, "{document}");
    }
}

#[tokio::test]
async fn ti_05_keys_of_aws_are_fetched_from_the_host_of_their_issuer() {
    for registered in [true, false] {
        let world = World::new();
        let mut issuer = sts(1);
        if registered {
            issuer.keys = IssuerKeys::Discovery { allow_private_network: false, ca: None };
        }
        world.publish(issuer.issuer.as_str(), "https://keys.example/jwks", &["a"]);
        let error = refusal(&world.process(), &issuer).await;
        assert!(error.contains("is on another host"), "{error}");
        assert_eq!(world.fetched().len(), 1);
    }
}

#[tokio::test]
async fn ti_06_pinned_keys_are_fetched_from_nobody() {
    let world = World::new();
    let pinned = JwkSet::parse_fetched(set(&["pinned"]).as_bytes()).expect("a set");
    let issuer = trusted("https://kubernetes.default.svc", IssuerKeys::Jwks(pinned));
    let process = world.process();
    assert_eq!(kids(&process, &issuer).await, ["pinned"]);
    assert_eq!(process.issuer_keys_after_mismatch(&issuer).await, Ok(None));
    assert_eq!(world.fetched(), [""; 0]);
}

#[tokio::test]
async fn ti_07_a_trust_domain_has_the_keys_of_its_bundle_for_tokens() {
    let world = World::new();
    let address = JwksUri::public("https://bundle.example/".parse().expect("a URL"));
    let mut for_certificates = key_named("x509", P_256);
    for_certificates["use"] = json!("x509-svid");
    let mut for_tokens = key_named("svid", P_384);
    for_tokens["use"] = json!("jwt-svid");
    let bundle = json!({ "keys": [for_certificates, for_tokens], "spiffe_sequence": 7, "spiffe_refresh_hint": 300 });
    world.serve("https://bundle.example/", &bundle.to_string());
    let (trust_domain, other) = (
        trusted("spiffe://example.org", IssuerKeys::JwksUri(address.clone())),
        trusted("https://a.example", IssuerKeys::JwksUri(address)),
    );
    let process = world.process();
    assert_eq!(kids(&process, &trust_domain).await, ["svid"]);
    // The same address has no key for an issuer of another kind, and neither takes the other's copy.
    assert_eq!(kids(&process, &other).await, [""; 0]);
    assert_eq!(kids(&world.process(), &trust_domain).await, ["svid"]);
    assert_eq!(world.fetched().len(), 2);
}

#[tokio::test]
async fn ti_08_old_keys_of_an_issuer_are_used_while_it_is_away() {
    let world = World::new();
    let issuer = discovered("https://accounts.example");
    world.publish("https://accounts.example", "https://keys.example/jwks", &["a"]);
    let process = world.process();
    assert_eq!(kids(&process, &issuer).await, ["a"]);
    // Either of the two documents.
    for url in ["https://keys.example/jwks", "https://accounts.example/.well-known/openid-configuration"] {
        world.answer(url, Err(FetchError::TimedOut));
        world.pass(3_600);
        assert_eq!(kids(&process, &issuer).await, ["a"]);
        assert_eq!(kids(&world.process(), &issuer).await, ["a"]);
    }
    world.pass(25 * 3_600);
    let error = refusal(&world.process(), &issuer).await;
    assert!(error.contains("no complete answer within two seconds"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ti_09_neither_document_is_large_slow_somewhere_else_or_private() {
    let big = format!(r#"{{"keys":[],"x":"{}"}}"#, "a".repeat(5 * 1024 * 1024));
    let moved = "HTTP/1.1 302 Found\r\nlocation: https://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
    let cases: [(&str, Vec<Sent>, &str); 4] = [
        ("large", json_answer("", &big), "larger than 64 KiB"),
        ("moved", vec![Sent::Bytes(moved.into())], "redirects are not followed"),
        ("slow", vec![Sent::Pause(Duration::from_secs(30))], "no complete answer within two seconds"),
        ("dripping", vec![Sent::Endless(b"HTTP".to_vec())], "the answer is not HTTP"),
    ];
    for (name, answer, why) in cases {
        for is_of_metadata in [true, false] {
            let site = Site::start(answer.clone(), is_of_metadata).await;
            let error = refusal(&Site::process(), &site.issuer(true)).await;
            assert!(error.contains(why), "{name} {is_of_metadata}: {error}");
        }
    }
    // It is there, and is let alone: nothing is sent to a private address that nobody has allowed.
    let site = Site::start(json_answer("", &set(&["a"])), false).await;
    let error = refusal(&Site::process(), &site.issuer(false)).await;
    assert!(error.contains("is not a public address; nothing was sent"), "{error}");
    assert_eq!(site.server.connections(), 0);
    assert_eq!(kids(&Site::process(), &site.issuer(true)).await, ["a"]);
}

#[tokio::test]
async fn ti_10_of_issuers_that_nobody_registered_ten_are_looked_up_a_minute() {
    ten_new_issuers_are_looked_up_a_minute(Arc::new(MemoryKeyCopies::default())).await;
}

/// Of any store of copies: several processes, and somebody who invents issuers from many places.
pub(crate) async fn ten_new_issuers_are_looked_up_a_minute(copies: Arc<dyn KeyCopies>) {
    let world = World::over(copies);
    let processes = [world.process(), world.process(), world.process()];
    let mut answers = Vec::new();
    for number in 0..40 {
        let issuer = sts(number).asked_from(Some(source(&format!("192.0.2.{number}"))));
        world.answer(&format!("{}/.well-known/openid-configuration", issuer.issuer), Err(FetchError::Status(404)));
        answers.push(processes[number % 3].issuer_keys(&issuer).await.map(|keys| keys.keys().count()));
        world.pass(1);
    }
    // There is no such issuer: it has no key. And of the others nobody knows.
    let (looked_up, refused) = answers.split_at(10);
    assert!(looked_up.iter().all(|answer| *answer == Ok(0)), "{looked_up:?}");
    for answer in refused {
        let error = answer.as_ref().expect_err("too many").to_string();
        assert!(
            error.contains("10 issuers that nobody has registered were looked up within the last minute"),
            "{error}"
        );
    }
    assert_eq!(world.fetched().len(), 10);
    // Whoever was refused may come again, as the first ten become a minute old: one a second.
    world.pass(20);
    for (number, process) in (40..45).zip(processes.iter().cycle()) {
        world.answer(&format!("{}/.well-known/openid-configuration", sts(number).issuer), Err(FetchError::Status(404)));
        assert_eq!(process.issuer_keys(&sts(number)).await.map(|keys| keys.keys().count()), Ok(0));
        world.pass(1);
    }
    assert_eq!(world.fetched().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn ti_10_of_those_who_ask_at_once_ten_are_looked_up() {
    let world = World::new();
    let mut asking = JoinSet::new();
    for number in 0..40 {
        let (process, issuer) = (world.process(), sts(number));
        world.answer(&format!("{}/.well-known/openid-configuration", issuer.issuer), Err(FetchError::Status(404)));
        asking.spawn(async move { process.issuer_keys(&issuer).await.is_ok() });
    }
    let answered = asking.join_all().await.into_iter().filter(|answered| *answered).count();
    assert!((1..=10).contains(&answered), "{answered}");
    assert_eq!(world.fetched().len(), answered);
}

#[tokio::test]
async fn ti_11_one_source_gets_half_of_the_look_ups() {
    let world = World::new();
    let process = world.process();
    let mut answered = 0;
    for number in 0..20 {
        world.answer(&format!("{}/.well-known/openid-configuration", sts(number).issuer), Err(FetchError::Status(404)));
        let issuer = sts(number).asked_from(Some(source("192.0.2.1")));
        match process.issuer_keys(&issuer).await {
            Ok(_none) => answered += 1,
            Err(error) => assert!(error.to_string().contains("for the same source"), "{error}"),
        }
    }
    assert_eq!(answered, 5);
    // Another is heard.
    world.publish(sts(99).issuer.as_str(), &format!("{}/k", sts(99).issuer), &["a"]);
    assert_eq!(kids(&process, &sts(99).asked_from(Some(source("198.51.100.1")))).await, ["a"]);
}

#[tokio::test]
async fn ti_12_that_there_is_no_such_issuer_is_remembered_by_all() {
    let world = World::new();
    let issuer = sts(1);
    let document = format!("{}/.well-known/openid-configuration", issuer.issuer);
    for (status, has_answer) in [(404, true), (403, true), (410, true), (500, false), (503, false), (429, false)] {
        let world = World::new();
        world.answer(&document, Err(FetchError::Status(status)));
        assert_eq!(world.process().issuer_keys(&issuer).await.is_ok(), has_answer, "{status}");
    }
    world.answer(&document, Err(FetchError::Status(404)));
    let (one, two) = (world.process(), world.process());
    for _ in 0..29 {
        for process in [&one, &two] {
            assert_eq!(kids(process, &issuer).await, [""; 0]);
            assert_eq!(process.issuer_keys_after_mismatch(&issuer).await, Ok(None));
        }
        world.pass(10);
    }
    assert_eq!(world.fetched().len(), 1);
    // It has come to be meanwhile.
    world.publish(issuer.issuer.as_str(), &format!("{}/k", issuer.issuer), &["a"]);
    world.pass(10);
    assert_eq!(kids(&two, &issuer).await, ["a"]);
    // One that an operator has registered is not told that it is nobody's: that is the server's trouble.
    let registered = discovered("https://accounts.example");
    let error = refusal(&one, &registered).await;
    assert!(error.contains("status 404"), "{error}");
}

#[tokio::test]
async fn ti_12_that_there_is_no_such_issuer_is_believed_for_its_time_and_found_out_again() {
    let world = World::new();
    let issuer = sts(1);
    world.answer(&format!("{}/.well-known/openid-configuration", issuer.issuer), Err(FetchError::Status(404)));
    let process = world.process();
    for _ in 0..90 {
        assert_eq!(kids(&process, &issuer).await, [""; 0]);
        world.pass(10);
    }
    assert_eq!(world.fetched().len(), 3, "fifteen minutes");
}

#[tokio::test]
async fn ti_12_one_that_cannot_be_asked_is_asked_once_a_minute_and_takes_one_look_up() {
    let world = World::new();
    let issuer = sts(1);
    world.answer(&format!("{}/.well-known/openid-configuration", issuer.issuer), Err(FetchError::TimedOut));
    tokio::time::pause();
    let (one, two) = (world.process(), world.process());
    for _ in 0..60 {
        for process in [&one, &two] {
            assert!(process.issuer_keys(&issuer).await.is_err());
        }
        world.pass(5);
    }
    assert_eq!(world.fetched().len(), 5, "five minutes");
}

#[tokio::test]
async fn ti_13_an_issuer_that_has_admitted_a_client_keeps_its_place() {
    confirmed_issuers_keep_their_place(Arc::new(MemoryKeyCopies::default())).await;
}

/// Of any store of copies: the issuer of an account of the organization, and a flood of others.
pub(crate) async fn confirmed_issuers_keep_their_place(copies: Arc<dyn KeyCopies>) {
    let world = World::over(copies);
    let (ours, another_of_ours) = (sts(1_000), sts(1_001));
    for issuer in [&ours, &another_of_ours] {
        world.publish(issuer.issuer.as_str(), &format!("{}/k", issuer.issuer), &["a"]);
    }
    let process = world.process();
    assert_eq!(kids(&process, &ours).await, ["a"]);
    process.confirm_issuer(&ours).await;
    assert_eq!(kids(&process, &another_of_ours).await, ["a"]);
    // An hour of strangers, who have every look-up and have pushed out whatever they could.
    for number in 0..600 {
        world.answer(&format!("{}/.well-known/openid-configuration", sts(number).issuer), Err(FetchError::Status(404)));
        assert!(process.issuer_keys(&sts(number)).await.is_ok() || number < 10, "{number}");
        world.pass(6);
    }
    world.forget_fetched();
    let flood = || async {
        for number in 2_000..2_010 {
            world.answer(
                &format!("{}/.well-known/openid-configuration", sts(number).issuer),
                Err(FetchError::Status(404)),
            );
            let _some = world.process().issuer_keys(&sts(number)).await;
        }
    };
    flood().await;
    world.forget_fetched();
    // In this process and in one that starts now, with its keys too old, though no look-up is left.
    let newcomer = world.process();
    assert!(refusal(&newcomer, &sts(3_000)).await.contains("within the last minute"));
    assert_eq!(kids(&process, &ours).await, ["a"]);
    assert_eq!(kids(&newcomer, &ours).await, ["a"]);
    assert_eq!(world.fetched().len(), 2, "it was fetched anew, once");
    // One that has admitted nobody waits, with the keys that it has.
    assert_eq!(kids(&newcomer, &another_of_ours).await, ["a"]);
    assert_eq!(world.fetched(), [""; 0]);
}

#[tokio::test]
async fn ti_14_a_registered_issuer_of_aws_is_no_stranger() {
    let world = World::new();
    let mut issuer = sts(1);
    issuer.keys = IssuerKeys::Discovery { allow_private_network: false, ca: None };
    world.publish(issuer.issuer.as_str(), &format!("{}/k", issuer.issuer), &["a"]);
    let process = world.process();
    for number in 100..120 {
        world.answer(&format!("{}/.well-known/openid-configuration", sts(number).issuer), Err(FetchError::Status(404)));
        let _some = process.issuer_keys(&sts(number)).await;
    }
    assert_eq!(kids(&process, &issuer).await, ["a"]);
}

/// Issuers, a clock and a store of copies, which processes share.
#[derive(Clone)]
struct World {
    clock: Time,
    issuers: Arc<Issuers>,
    copies: Arc<dyn KeyCopies>,
}

/// Documents by their addresses, and those that were asked for.
#[derive(Default)]
struct Issuers {
    documents: Mutex<HashMap<String, Result<String, FetchError>>>,
    fetched: Mutex<Vec<String>>,
}

/// Goes on as a test says.
#[derive(Clone)]
struct Time(Arc<AtomicU64>);

/// An issuer on a server of ours, one of whose documents is as a test wants.
struct Site {
    server: HttpsServer,
    authority: Authority,
    issuer: String,
}

impl World {
    fn new() -> Self {
        Self::over(Arc::new(MemoryKeyCopies::default()))
    }

    fn over(copies: Arc<dyn KeyCopies>) -> Self {
        Self { clock: Time(Arc::new(AtomicU64::new(1_795_415_820))), issuers: Arc::default(), copies }
    }

    fn process(&self) -> CachedRemoteKeys {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let shared = SharedKeys::new(Arc::clone(&self.copies), Arc::clone(&self.issuers) as _, Arc::clone(&clock));
        CachedRemoteKeys::new(shared, clock, FUNCTION_CACHES)
    }

    /// An issuer whose keys of these names are at this address.
    fn publish(&self, issuer: &str, jwks_uri: &str, kids: &[&str]) {
        self.serve(&format!("{issuer}/.well-known/openid-configuration"), &metadata(issuer, jwks_uri));
        self.serve(jwks_uri, &set(kids));
    }

    fn serve(&self, url: &str, document: &str) {
        self.answer(url, Ok(document.to_owned()));
    }

    fn answer(&self, url: &str, answer: Result<String, FetchError>) {
        self.issuers.documents.lock().expect("no panic").insert(url.to_owned(), answer);
    }

    /// What was asked for since this was last called.
    fn fetched(&self) -> Vec<String> {
        std::mem::take(&mut *self.issuers.fetched.lock().expect("no panic"))
    }

    fn forget_fetched(&self) {
        drop(self.fetched());
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
impl Fetch for Issuers {
    async fn fetch_from(&self, address: &JwksUri, _now: UnixSeconds) -> Result<Fetched, FetchError> {
        let url = address.uri.as_str().to_owned();
        let answer = self.documents.lock().expect("no panic").get(&url).cloned();
        self.fetched.lock().expect("no panic").push(url);
        let text = answer.unwrap_or(Err(FetchError::Status(404)))?;
        Ok(Fetched { text, believed_for: Duration::from_mins(10) })
    }
}

impl Site {
    async fn start(answer: Vec<Sent>, is_of_metadata: bool) -> Self {
        let authority = Authority::new();
        let issuer = Arc::new(Mutex::new(String::new()));
        let known = Arc::clone(&issuer);
        let server = HttpsServer::start_by_path(authority.server(&["127.0.0.1"]), move |path| {
            let issuer = known.lock().expect("no panic").clone();
            match (path.ends_with("/openid-configuration"), is_of_metadata) {
                (true, false) => json_answer("", &metadata(&issuer, &format!("{issuer}/jwks"))),
                _ => answer.clone(),
            }
        })
        .await;
        let url = server.url("127.0.0.1", "");
        issuer.lock().expect("no panic").clone_from(&url);
        Self { server, authority, issuer: url }
    }

    fn issuer(&self, allow_private_network: bool) -> TrustedIssuer {
        let ca = Some(self.authority.pem().parse().expect("certificates"));
        trusted(&self.issuer, IssuerKeys::Discovery { allow_private_network, ca })
    }

    fn process() -> CachedRemoteKeys {
        let clock: Arc<dyn Clock> = Arc::new(Time(Arc::new(AtomicU64::new(1_795_415_820))));
        let copies = Arc::new(MemoryKeyCopies::default());
        let shared = SharedKeys::new(copies, Arc::new(Fetcher::default()), Arc::clone(&clock));
        CachedRemoteKeys::new(shared, clock, FUNCTION_CACHES)
    }
}

fn trusted(issuer: &str, keys: IssuerKeys) -> TrustedIssuer {
    let issuer: IssuerUrl = issuer.parse().expect("an issuer");
    let kind = issuer.known_kind().unwrap_or(IssuerKind::Oidc);
    TrustedIssuer::new("trusted".parse().expect("a name"), issuer, kind, keys)
}

fn discovered(issuer: &str) -> TrustedIssuer {
    trusted(issuer, IssuerKeys::Discovery { allow_private_network: false, ca: None })
}

/// The issuer of an account of AWS that nobody has registered.
fn sts(number: usize) -> TrustedIssuer {
    let issuer = format!("https://a1d2b0fd-1177-4468-9351-{number:012x}.tokens.sts.global.api.aws");
    TrustedIssuer::of_sts(issuer.parse().expect("an issuer")).expect("of AWS")
}

fn source(address: &str) -> ClientSource {
    ClientSource::of(address.parse().expect("an address"))
}

async fn kids(process: &CachedRemoteKeys, issuer: &TrustedIssuer) -> Vec<String> {
    let keys = process.issuer_keys(issuer).await.expect("keys");
    keys.keys().map(|key| key.name().to_owned()).collect()
}

async fn refusal(process: &CachedRemoteKeys, issuer: &TrustedIssuer) -> String {
    let error = process.issuer_keys(issuer).await.map(drop).expect_err("no keys");
    assert!(matches!(error, PortError::Unavailable { .. }), "{error}");
    error.to_string()
}

fn metadata(issuer: &str, jwks_uri: &str) -> String {
    json!({ "issuer": issuer, "jwks_uri": jwks_uri, "id_token_signing_alg_values_supported": ["RS256"] }).to_string()
}

fn set(kids: &[&str]) -> String {
    json!({ "keys": kids.iter().map(|kid| key_named(kid, P_256)).collect::<Vec<_>>() }).to_string()
}

fn key_named(kid: &str, (crv, x, y): (&str, &str, &str)) -> serde_json::Value {
    json!({ "kty": "EC", "crv": crv, "kid": kid, "x": x, "y": y })
}

/// RFC 7517 Appendix A.1.
const P_256: (&str, &str, &str) =
    ("P-256", "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM");
const P_384: (&str, &str, &str) = (
    "P-384",
    "PETaP1i9TIM4iUIVO7bQ85H1GUZf04tqWJl3b9SqE2QxEoiSfmTNUI_xwXZbkrLZ",
    "R9jh7KFZoIjIp5bG1Jpz4ZvSgCk_ukhKG2LNZEc_3Hq7za3DM6Ci1scC28WCVdua",
);
