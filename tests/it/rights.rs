//! Rights follow the registration as it is now: whoever has a new secret gets nothing that went before it, and what is withdrawn
//! from a client or its realm is withdrawn from its tokens.

use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};

use grantwell::app::FUNCTION_CACHES;
use grantwell::cache::{CacheSettings, CachedRegistry, CachedSecrets};
use grantwell::core::access_token::claims::CustomClaims;
use grantwell::core::access_token::opaque;
use grantwell::core::access_token::record::AccessTokenRecord;
use grantwell::core::access_token::settings::TokenLifetime;
use grantwell::core::access_token::validation::AccessTokenValidator;
use grantwell::core::bearer::{Decision, RealmTokens, decide};
use grantwell::core::client::Client;
use grantwell::core::client::id::{ClientId, RegistrationId};
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client::secret::{ClientSecret, ClientSecrets};
use grantwell::core::client_auth::{ClientAuthenticator, ClientRequest, Credentials};
use grantwell::core::error::{ClientAuthFailure, OAuthError};
use grantwell::core::params::Params;
use grantwell::core::port_error::PortError;
use grantwell::core::ports::{ClientRegistry, Clock as _, Registrar as _, SecretSource, TokenStore as _};
use grantwell::core::realm::{PublicUrl, Realm, RealmName};
use grantwell::core::realms::{RealmDefaults, Realms};
use grantwell::core::resource::{Audience, ResourceUri};
use grantwell::core::time::UnixSeconds;
use grantwell::embedded::store::memory::MemoryTokens;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::system::{SystemClock, SystemRandom};

use crate::support::cli::{Registered, Store};
use crate::support::http::Request;
use crate::support::server::Start;
use crate::support::shared::{STATELESS_JWT, STORED_JWT, shared};
use crate::support::{NOTICED_WITHIN, beside_current, jwt};

const ORDERS: &str = "https://api.example/orders";
const BILLING: &str = "https://api.example/billing";

/// What the registration that went before allowed.
const WIDE: [&str; 12] = [
    "--scope",
    "read write",
    "--default-scope",
    "write",
    "--resource",
    "https://api.example/wide",
    "--claims",
    r#"{"tier":"gold"}"#,
    "--token-lifetime",
    "3600",
    "--token-quota",
    "1000/day",
];

/// What there is now.
const NARROW: [&str; 10] = [
    "--scope",
    "read",
    "--default-scope",
    "read",
    "--resource",
    "https://api.example/narrow",
    "--token-lifetime",
    "60",
    "--token-quota",
    "2/day",
];

// --- a new secret gets nothing that went before it ---

#[test]
fn a_client_registered_again_gets_nothing_of_its_predecessors_from_its_first_token_on() {
    let store = Store::new();
    let server = Start::on(&store.argument()).spawn();
    for (id, format) in [("reborn-opaque", &[][..]), ("reborn-jwt", &STATELESS_JWT[..])] {
        let client = store.register("root", id, &[&WIDE[..], format].concat());
        // The server remembers it from here on, for some seconds.
        server.token_request(&client, "").assert_granted("write");
        store.client("delete", &client, &[]);
        let successor = store.register("root", id, &[&NARROW[..], format].concat());

        let token = server.token_request(&successor, "").assert_granted("read");
        let facts = server.introspect(&successor, &token).assert_active();
        assert_is_narrow(&facts);
        if format == STATELESS_JWT {
            assert_is_narrow(&jwt::parts(&token).1);
        }
        server.token_request(&successor, "scope=write").assert_400("invalid_scope");
        server.token_request(&successor, "").assert_granted("read");
        server.token_request(&successor, "").assert_429();
        server.token_request(&client, "").assert_401("root");
    }
}

#[test]
fn a_secret_made_after_a_right_was_withdrawn_never_gets_it() {
    let store = Store::new();
    let server = Start::on(&store.argument()).spawn();
    for (id, format) in [("narrowed-opaque", &[][..]), ("narrowed-jwt", &STATELESS_JWT[..])] {
        let client = store.register("root", id, &[&WIDE[..], format].concat());
        server.token_request(&client, "").assert_granted("write");
        store.client("update", &client, &[&NARROW[..], &["--claims", "{}"]].concat());
        let rotated = store.rotate_secret(&client, &[]);

        let token = server.token_request(&rotated, "").assert_granted("read");
        assert_is_narrow(&server.introspect(&rotated, &token).assert_active());
        if format == STATELESS_JWT {
            assert_is_narrow(&jwt::parts(&token).1);
        }
        server.token_request(&rotated, "scope=write").assert_400("invalid_scope");
        // The secret before it works beside it, for no more than that, and what it was issued counts for the same quota.
        server.token_request(&client, "scope=write").assert_400("invalid_scope");
        server.token_request(&client, "").assert_429();
    }
}

#[test]
fn a_resource_server_registered_again_introspects_nothing_that_its_predecessor_could() {
    let store = Store::new();
    let server = Start::on(&store.argument()).spawn();
    let client = store.register("root", "watched", &WIDE);
    let token = server.token(&client, "write");
    let watcher = store.register("root", "watcher", &["--scope", "am-introspect-all-tokens"]);
    server.introspect(&watcher, &token).assert_active();

    store.client("delete", &watcher, &[]);
    let successor = store.register("root", "watcher", &["--scope", "read"]);
    server.introspect(&successor, &token).assert_inactive();
    server.introspect(&watcher, &token).assert_401("root");
}

#[track_caller]
fn assert_is_narrow(facts: &Value) {
    let lifetime = facts["exp"].as_u64().zip(facts["iat"].as_u64()).map(|(exp, iat)| exp - iat);
    let said = json!([facts["scope"], facts["aud"], lifetime, facts.get("tier")]);
    assert_eq!(said, json!(["read", "https://api.example/narrow", 60, null]), "{facts}");
}

/// What changed between the secret that the server remembers and the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Deleted and registered again.
    Replaced,
    /// A scope withdrawn, and the secret rotated.
    Narrowed,
}

/// Whether the secrets of a store say which revision of the registration they were made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secrets {
    /// As on one machine.
    KnowTheRevision,
    /// As in Secrets Manager, where they only know the registration.
    KnowNoRevision,
}

/// What a [`Memory`] asks, and how often.
struct Source {
    store: Arc<SqliteRegistry>,
    secrets: Secrets,
    registrations_read: AtomicU64,
    secrets_read: AtomicU64,
    /// Whether the registry cannot be asked.
    registry_is_away: AtomicBool,
    /// The registration as a backup brings it back.
    restored: Mutex<Option<Client>>,
}

#[async_trait]
impl ClientRegistry for Source {
    async fn client(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        self.registrations_read.fetch_add(1, Ordering::SeqCst);
        // Others come in between, as they do while a network is asked.
        tokio::task::yield_now().await;
        if self.registry_is_away.load(Ordering::SeqCst) {
            return Err(PortError::Unavailable { service: "test", detail: "down".to_owned() });
        }
        let restored = self.restored.lock().expect("not poisoned").clone();
        match restored {
            Some(client) => Ok(Some(Arc::new(client))),
            None => self.store.client(realm, client_id).await,
        }
    }

    async fn realm(&self, name: &RealmName) -> Result<Option<Arc<Realm>>, PortError> {
        self.store.realm(name).await
    }
}

#[async_trait]
impl SecretSource for Source {
    async fn secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        self.secrets_read.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        match self.secrets {
            Secrets::KnowTheRevision => self.store.secrets(client).await,
            Secrets::KnowNoRevision => {
                // Later than any that a secret was made for.
                let latest = Client { revision: u64::from(u32::MAX), ..client.clone() };
                self.store.secrets(&latest).await
            }
        }
    }
}

/// A server's memory of one client, which lasts for an hour but for what `settings` say.
struct Memory {
    store: Arc<SqliteRegistry>,
    source: Arc<Source>,
    registry: Arc<dyn ClientRegistry>,
    clients: ClientAuthenticator,
    realm: Realm,
}

impl Memory {
    fn new(secrets: Secrets, secret_ttl: Duration) -> Self {
        let settings = CacheSettings {
            registration_ttl: Duration::from_hours(1),
            absence_ttl: Duration::from_hours(1),
            secret_ttl,
            mismatch_interval: Duration::from_hours(1),
            ..FUNCTION_CACHES
        };
        let store = Arc::new(SqliteRegistry::in_memory().expect("opened"));
        let source = Arc::new(Source {
            store: Arc::clone(&store),
            secrets,
            registrations_read: AtomicU64::new(0),
            secrets_read: AtomicU64::new(0),
            registry_is_away: AtomicBool::new(false),
            restored: Mutex::new(None),
        });
        let registry: Arc<dyn ClientRegistry> =
            Arc::new(CachedRegistry::new(source.clone(), Arc::new(SystemClock), settings));
        let secrets = Arc::new(CachedSecrets::new(source.clone(), Arc::new(SystemClock), settings));
        let clients = ClientAuthenticator::new(Arc::clone(&registry), secrets, Arc::new(SystemClock));
        Self { store, source, registry, clients, realm: Realm::new(RealmName::root()) }
    }

    /// How often the registry and the store of the secrets have been asked so far.
    fn reads(&self) -> (u64, u64) {
        let Source { registrations_read, secrets_read, .. } = self.source.as_ref();
        (registrations_read.load(Ordering::SeqCst), secrets_read.load(Ordering::SeqCst))
    }

    async fn register(&self, scope: &str) -> (Client, ClientSecret) {
        let metadata = ClientMetadata { scope: scope.parse().expect("well formed"), ..ClientMetadata::new() };
        let (id, registration) = ("known".parse().expect("an id"), RegistrationId::generate(&SystemRandom));
        let client = Client::register(id, &self.realm, metadata, registration.expect("random bytes"), UnixSeconds(1));
        let (client, secret) = (client.expect("valid"), generated());
        self.store.register(&client, Some(&secret)).await.expect("registered");
        (client, secret)
    }

    /// The scope of the registration that this secret opens; `None` where it opens none.
    async fn scope_opened_by(&self, secret: &str) -> Option<String> {
        match self.opened_by(secret).await {
            Ok(client) => Some(client.metadata.scope.to_string()),
            Err(OAuthError::InvalidClient(ClientAuthFailure::WrongSecret)) => None,
            Err(other) => panic!("{other:?}"),
        }
    }

    async fn opened_by(&self, secret: &str) -> Result<Arc<Client>, OAuthError> {
        let basic = crate::support::cli::basic("known", secret);
        let (authorization, params) = ([basic.as_bytes()], Params::parse(b"").expect("a form"));
        let issuer = "https://auth.example.com".parse::<PublicUrl>().expect("a URL").issuer("/oauth2");
        let request =
            ClientRequest { authorization: &authorization, ..ClientRequest::new(&self.realm.name, &issuer, &params) };
        let credentials = Credentials::from_request(&request).expect("credentials");
        let authenticated = self.clients.authenticate(&self.realm, &credentials).await;
        authenticated.map(|authenticated| authenticated.client).map_err(|refused| refused.error)
    }

    async fn make(&self, change: Change, client: &Client) -> ClientSecret {
        let (realm, id) = (&client.realm, &client.client_id);
        if change == Change::Replaced {
            self.store.delete(realm, id).await.expect("deleted");
            return self.register("read").await.1;
        }
        let mut narrowed = client.clone();
        narrowed.metadata.scope = "read".parse().expect("well formed");
        narrowed.revision += 1;
        self.store.replace(&narrowed).await.expect("changed");
        let secret = generated();
        self.store.rotate_secret(realm, id, &beside_current(&secret)).await.expect("rotated");
        secret
    }
}

fn generated() -> ClientSecret {
    ClientSecret::generate(&SystemRandom).expect("random bytes")
}

#[tokio::test]
async fn in_no_order_of_what_is_remembered_and_what_is_read_does_a_new_secret_open_what_went_before_it() {
    for secrets in [Secrets::KnowTheRevision, Secrets::KnowNoRevision] {
        for change in [Change::Replaced, Change::Narrowed] {
            // A secret that is believed for no time is read for each request: whatever is remembered of the client is older.
            for secret_ttl in [Duration::from_hours(1), Duration::ZERO] {
                for somebody_guesses in [false, true] {
                    assert_opens_what_there_is_now(secrets, change, secret_ttl, somebody_guesses).await;
                }
            }
        }
    }
}

async fn assert_opens_what_there_is_now(
    secrets: Secrets,
    change: Change,
    secret_ttl: Duration,
    somebody_guesses: bool,
) {
    let memory = Memory::new(secrets, secret_ttl);
    let (client, old) = memory.register("read write").await;
    let opened_by = async |secret: &ClientSecret| memory.scope_opened_by(secret.expose_client_secret()).await;
    assert_eq!(opened_by(&old).await.as_deref(), Some("read write"));
    if somebody_guesses {
        assert_eq!(memory.scope_opened_by("a-wrong-secret-0123456789").await, None);
    }
    let new = memory.make(change, &client).await;
    let case = format!("{secrets:?} {change:?} {secret_ttl:?} {somebody_guesses}");
    // Secrets that are read and know no revision are there for everybody who holds the same registration.
    let is_seen_anyway = (secrets, change) == (Secrets::KnowNoRevision, Change::Narrowed) && secret_ttl.is_zero();
    for _ in 0..3 {
        let opened = opened_by(&new).await;
        // Whoever guesses may hold the newest secret up for as long as the memory lasts, and gets it no more.
        let expected = if somebody_guesses && !is_seen_anyway { None } else { Some("read") };
        assert_eq!(opened.as_deref(), expected, "{case}");
    }
    let opened = opened_by(&old).await;
    match change {
        Change::Replaced if somebody_guesses => assert_ne!(opened.as_deref(), Some("read"), "{case}"),
        Change::Replaced => assert_eq!(opened, None, "{case}"),
        // The previous secret works beside the new one, with either registration, but is never refused.
        Change::Narrowed => assert!(opened.is_some(), "{case}"),
    }
}

/// Introspection has brought the registration into memory, and nobody has asked for its secrets yet.
#[tokio::test]
async fn a_secret_that_is_read_for_the_first_time_does_not_open_a_registration_that_was_remembered_before() {
    for secrets in [Secrets::KnowTheRevision, Secrets::KnowNoRevision] {
        for change in [Change::Replaced, Change::Narrowed] {
            let memory = Memory::new(secrets, Duration::from_hours(1));
            let (client, _old) = memory.register("read write").await;
            let remembered = memory.registry.client(&client.realm, &client.client_id).await.expect("answers");
            let scope = remembered.map(|client| client.metadata.scope.to_string());
            assert_eq!(scope.as_deref(), Some("read write"));
            let new = memory.make(change, &client).await;
            let opened = memory.scope_opened_by(new.expose_client_secret()).await;
            assert_eq!(opened.as_deref(), Some("read"), "{secrets:?} {change:?}");
        }
    }
}

#[tokio::test]
async fn of_those_who_come_together_with_a_new_secret_none_opens_what_went_before_it() {
    for secret_ttl in [Duration::from_hours(1), Duration::ZERO] {
        let memory = Arc::new(Memory::new(Secrets::KnowNoRevision, secret_ttl));
        let (client, _old) = memory.register("read write").await;
        memory.registry.client(&client.realm, &client.client_id).await.expect("answers");
        let new = memory.make(Change::Narrowed, &client).await;
        let together: Vec<_> = (0..50)
            .map(|_| {
                let (memory, secret) = (Arc::clone(&memory), new.expose_client_secret().to_owned());
                tokio::spawn(async move { memory.scope_opened_by(&secret).await })
            })
            .collect();
        for one in together {
            assert_eq!(one.await.expect("no panic").as_deref(), Some("read"));
        }
    }
}

#[tokio::test]
async fn a_secret_that_is_new_costs_one_more_read_of_the_registration_and_nothing_once_it_is_known() {
    for secrets in [Secrets::KnowTheRevision, Secrets::KnowNoRevision] {
        let memory = Arc::new(Memory::new(secrets, Duration::from_hours(1)));
        let (_client, secret) = memory.register("read").await;
        let opened_by = async |secret: &str| memory.scope_opened_by(secret).await;
        let secret = secret.expose_client_secret();
        assert_eq!(opened_by(secret).await.as_deref(), Some("read"));
        assert_eq!(memory.reads(), (2, 1), "{secrets:?}: the registration before its secret, and after it");
        for _ in 0..10 {
            assert_eq!(opened_by(secret).await.as_deref(), Some("read"));
        }
        assert_eq!(memory.reads(), (2, 1), "{secrets:?}: known");

        // Guessing costs what it did: one look at both in an interval.
        for _ in 0..10 {
            assert_eq!(opened_by("a-wrong-secret-0123456789").await, None);
        }
        assert_eq!(memory.reads(), (3, 2), "{secrets:?}: guesses");
        assert_eq!(opened_by(secret).await.as_deref(), Some("read"));
        assert_eq!(memory.reads(), (3, 2), "{secrets:?}: what another look has seen again is known");
    }
    // Read again and again, the same secret is no news.
    let memory = Memory::new(Secrets::KnowNoRevision, Duration::ZERO);
    let (_client, secret) = memory.register("read").await;
    for loads in 1..=5 {
        memory.scope_opened_by(secret.expose_client_secret()).await.expect("the secret is right");
        assert_eq!(memory.reads(), (2, loads));
    }
}

#[tokio::test]
async fn a_new_secret_opens_nothing_while_nobody_can_say_what_its_registration_is_now() {
    let memory = Memory::new(Secrets::KnowNoRevision, Duration::ZERO);
    let (client, old) = memory.register("read write").await;
    let opened_by = async |secret: &ClientSecret| {
        let opened = memory.opened_by(secret.expose_client_secret()).await;
        opened.map(|client| client.metadata.scope.to_string())
    };
    assert_eq!(opened_by(&old).await.expect("the first secret"), "read write");
    let new = memory.make(Change::Narrowed, &client).await;
    memory.source.registry_is_away.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let refused = opened_by(&new).await;
        assert!(matches!(refused, Err(OAuthError::Unavailable(_))), "{refused:?}");
    }
    memory.source.registry_is_away.store(false, Ordering::SeqCst);
    assert_eq!(opened_by(&new).await.expect("the registry is back"), "read");
}

#[tokio::test]
async fn a_registry_that_a_backup_brought_back_locks_nobody_out() {
    for secret_ttl in [Duration::from_hours(1), Duration::ZERO] {
        for somebody_guesses in [false, true] {
            let memory = Memory::new(Secrets::KnowNoRevision, secret_ttl);
            let (client, _old) = memory.register("read write").await;
            let new = memory.make(Change::Narrowed, &client).await;
            let opened_by = async |secret: &str| memory.scope_opened_by(secret).await;
            assert_eq!(opened_by(new.expose_client_secret()).await.as_deref(), Some("read"));

            // The registration is an earlier one again; its secrets, which nobody restored, are not.
            *memory.source.restored.lock().expect("not poisoned") = Some(client.clone());
            if somebody_guesses {
                assert_eq!(opened_by("a-wrong-secret-0123456789").await, None);
            } else {
                memory.registry.client_anew(&client.realm, &client.client_id).await.expect("answers");
            }
            let (registrations_read, _) = memory.reads();
            for _ in 0..3 {
                let opened = opened_by(new.expose_client_secret()).await;
                assert_eq!(opened.as_deref(), Some("read write"), "{secret_ttl:?} {somebody_guesses}");
            }
            assert!(memory.reads().0 <= registrations_read + 1, "it is looked at once more at most");
        }
    }
}

// --- what is withdrawn is withdrawn from what was issued ---

/// The three ways in which a token may be kept.
const KINDS: [(&str, &[&str]); 3] = [("opaque", &[]), ("stored-jwt", &STORED_JWT), ("stateless-jwt", &STATELESS_JWT)];

/// A client with everything that can be withdrawn, a resource server of its realm, and a token.
struct Issued {
    client: Registered,
    resource_server: Registered,
    token: String,
}

impl Issued {
    fn new(name: &str, format: &[&str]) -> Self {
        let shared = shared();
        shared.store.set_realm(name, &[]);
        let settings = [
            "--scope",
            "read write admin",
            "--resource",
            ORDERS,
            "--resource",
            BILLING,
            "--claims",
            r#"{"roles":["admin"],"tier":"gold"}"#,
        ];
        let client = shared.store.register(name, "issued", &[&settings[..], format].concat());
        let resource_server = shared.store.register(name, "rs", &["--scope", "am-introspect-all-tokens"]);
        let asked = format!("scope=read+write&resource={ORDERS}&resource={BILLING}");
        let token = shared.server.token_request(&client, &asked).assert_granted("read write");
        Self { client, resource_server, token }
    }

    fn update(&self, settings: &[&str]) {
        shared().store.client("update", &self.client, settings);
    }

    /// What introspection says once it says `expected` of `members`, plain and signed, to both who may ask; `None` for inactive.
    #[track_caller]
    fn assert_becomes(&self, members: &[&str], expected: Option<&Value>) {
        let shared = shared();
        let said = |facts: &Value| {
            (facts["active"] == true).then(|| members.iter().map(|member| facts[member].clone()).collect::<Value>())
        };
        for caller in [&self.client, &self.resource_server] {
            let plain = || said(&shared.server.introspect(caller, &self.token).json());
            let became = poll_until(NOTICED_WITHIN, || Some(plain()).filter(|said| said.as_ref() == expected));
            assert_eq!(became.unwrap_or_else(plain).as_ref(), expected);
            let answer = Request::form(&format!("{}/introspect", caller.base()), format!("token={}", self.token))
                .header("Accept", "application/token-introspection+jwt")
                .by(caller)
                .send(&shared.server);
            assert_eq!(answer.status, 200, "{answer:?}");
            let signed = jwt::parts(&answer.text()).1;
            assert_eq!(said(&signed["token_introspection"]).as_ref(), expected, "signed: {signed}");
        }
    }
}

fn poll_until<T>(deadline: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    while begun.elapsed() < deadline {
        if let Some(value) = attempt() {
            return Some(value);
        }
        thread::sleep(Duration::from_millis(100));
    }
    None
}

#[test]
fn a_scope_that_a_client_loses_is_no_scope_of_its_tokens_and_without_any_they_are_inactive() {
    for (kind, format) in KINDS {
        let issued = Issued::new(&format!("lost-scope-{kind}"), format);
        issued.assert_becomes(&["scope"], Some(&json!(["read write"])));
        issued.update(&["--scope", "read admin"]);
        issued.assert_becomes(&["scope"], Some(&json!(["read"])));
        // A scope that it did not have when the token was issued does not come to it.
        issued.update(&["--scope", "admin"]);
        issued.assert_becomes(&["scope"], None);
        issued.update(&["--scope", "write admin"]);
        issued.assert_becomes(&["scope"], Some(&json!(["write"])));
    }
}

#[test]
fn a_scope_that_a_realm_forbids_is_no_scope_of_its_tokens() {
    for (kind, format) in KINDS {
        let name = format!("forbidden-scope-{kind}");
        let issued = Issued::new(&name, format);
        // The resource server's own right stays allowed.
        shared().store.set_realm(&name, &["--allowed-scope", "write other am-introspect-all-tokens"]);
        issued.assert_becomes(&["scope"], Some(&json!(["write"])));
        shared().store.set_realm(&name, &["--allowed-scope", "other am-introspect-all-tokens"]);
        issued.assert_becomes(&["scope"], None);
    }
}

#[test]
fn a_resource_that_a_client_loses_is_no_audience_of_its_tokens_and_without_any_they_are_inactive() {
    for (kind, format) in KINDS {
        let issued = Issued::new(&format!("lost-resource-{kind}"), format);
        issued.assert_becomes(&["aud"], Some(&json!([[ORDERS, BILLING]])));
        issued.update(&["--resource", BILLING, "--resource", "https://api.example/new"]);
        issued.assert_becomes(&["aud"], Some(&json!([BILLING])));
        issued.update(&["--resource", "https://api.example/new"]);
        issued.assert_becomes(&["aud"], None);
        // Not even for the issuer, whom nothing was ever asked for.
        issued.update(&["--resource", ""]);
        issued.assert_becomes(&["aud"], None);
    }
}

#[test]
fn a_claim_that_a_client_loses_is_said_of_no_token_of_its_any_more() {
    for (kind, format) in KINDS {
        let issued = Issued::new(&format!("lost-claim-{kind}"), format);
        issued.assert_becomes(&["roles", "tier", "new"], Some(&json!([["admin"], "gold", null])));
        issued.update(&["--claims", r#"{"roles":["reader"],"tier":"gold","new":1}"#]);
        issued.assert_becomes(&["roles", "tier", "new"], Some(&json!([null, "gold", null])));
    }
}

#[test]
fn a_token_for_the_issuer_stays_so_whatever_resources_its_client_gets() {
    let shared = shared();
    for (kind, format) in KINDS {
        let id = format!("issuers-own-{kind}");
        let client =
            shared.store.register("alpha", &id, &[&["--scope", "read", "--default-scope", "read"], format].concat());
        let token = shared.server.token_request(&client, "").assert_granted("read");
        let before = shared.server.introspect(&client, &token).assert_active();
        shared.store.client("update", &client, &["--resource", ORDERS]);
        // Noticed once a token is for the resource.
        poll_until(NOTICED_WITHIN, || {
            let token = shared.server.token_request(&client, "").assert_granted("read");
            (shared.server.introspect(&client, &token).assert_active()["aud"] == ORDERS).then_some(())
        })
        .expect("the change is noticed");
        let after = shared.server.introspect(&client, &token).assert_active();
        assert_eq!((&after["aud"], &after["scope"]), (&before["aud"], &before["scope"]), "{kind}");
    }
}

/// What the authorizer of API Gateway and the demo's resource server ask, on stores without a cache.
#[tokio::test]
async fn a_protected_api_lets_nothing_pass_that_was_withdrawn_since_the_token_was_issued() {
    let registry = Arc::new(SqliteRegistry::in_memory().expect("opened"));
    let tokens = Arc::new(MemoryTokens::new(Arc::new(SystemClock)));
    let issuer = "https://auth.example.com".parse::<PublicUrl>().expect("a URL").issuer("/oauth2");
    let resources: Vec<ResourceUri> = [ORDERS, BILLING].map(|uri| uri.parse().expect("absolute")).into();
    let metadata = ClientMetadata {
        scope: "read write".parse().expect("well formed"),
        resources: resources.clone(),
        ..ClientMetadata::new()
    };
    let registration = RegistrationId::generate(&SystemRandom).expect("random bytes");
    let (id, root) = ("known".parse().expect("an id"), Realm::new(RealmName::root()));
    let mut client = Client::register(id, &root, metadata, registration, UnixSeconds(1)).expect("valid");
    registry.register(&client, Some(&generated())).await.expect("registered");

    let now = SystemClock.now();
    let record = AccessTokenRecord {
        realm: RealmName::root(),
        client_id: client.client_id.clone(),
        registration_id: client.registration_id.clone(),
        scope: client.metadata.scope.clone(),
        iss: issuer.clone(),
        aud: Audience::of(&resources),
        iat: now,
        expires_at: now.plus(3600),
        jti: "AAECAwQFBgcICQoLDA0ODw".to_owned(),
        audit_tracking_id: "00010203-0405-4607-8809-0a0b0c0d0e0f".to_owned(),
        claims: CustomClaims::default(),
        trust_rule: None,
    };
    let token = format!("gwt_{}", "A".repeat(43));
    tokens.put(&opaque::digest_of_presented(&token).expect("a token"), &record).await.expect("stored");
    let defaults = RealmDefaults { root_default_scope: None, access_token_lifetime: TokenLifetime::DEFAULT };
    let api = |audience: &str| RealmTokens {
        tokens: AccessTokenValidator {
            realms: Realms::new(registry.clone(), defaults.clone()),
            registry: registry.clone(),
            tokens: tokens.clone(),
            denylist: tokens.clone(),
            keys: registry.clone(),
        },
        clock: Arc::new(SystemClock),
        realm: RealmName::root(),
        issuers: vec![issuer.clone()],
        audiences: vec![audience.to_owned()],
    };
    let header = format!("Bearer {token}");
    let decision = async |audience: &str, required: &str| {
        let required = required.parse().expect("well formed");
        match decide(&[header.as_bytes()], &required, &api(audience)).await.expect("every store answers") {
            Decision::Allow(facts) => facts.scope.to_string(),
            Decision::Deny(denial) => denial.reason().to_string(),
        }
    };
    assert_eq!(decision(ORDERS, "write").await, "read write");
    assert_eq!(decision(BILLING, "write").await, "read write");

    client.metadata.scope = "read".parse().expect("well formed");
    client.metadata.resources = vec![resources[1].clone()];
    client.revision += 1;
    registry.replace(&client).await.expect("changed");
    assert_eq!(decision(BILLING, "read").await, "read");
    assert_eq!(decision(BILLING, "write").await, "insufficient_scope");
    assert_eq!(decision(ORDERS, "read").await, "invalid_token");

    let mut realm = Realm { revision: 1, ..root };
    realm.settings.allowed_scope = Some("write".parse().expect("well formed"));
    registry.put_realm(&realm).await.expect("changed");
    assert_eq!(decision(BILLING, "read").await, "invalid_token", "nothing of what it was granted is left");
}

// --- from when on tokens count ---

#[test]
fn a_time_far_ahead_of_the_clock_is_refused_when_it_is_set_and_what_a_wrong_clock_has_set_can_be_lowered() {
    let store = Store::new();
    let client = store.register("root", "early", &["--scope", "a", "--default-scope", "a"]);
    store.set_realm("root", &[]);
    let server = Start::on(&store.argument()).spawn();
    let token = server.token(&client, "a");
    let set = |command: &[&str], seconds: u64| {
        store.run_with_input(&[command, &["--tokens-valid-after", &seconds.to_string()]].concat(), "")
    };
    let now = || SystemClock.now().0;

    for (command, table, whose) in [
        (&["client", "update", "early"][..], "clients SET registration = json_set(registration", "client 'early'"),
        (&["realm", "set", "root"], "realms SET settings = json_set(settings", "realm 'root'"),
    ] {
        // 1. Nobody sets it ahead.
        for ahead in [120, 3600, u64::from(u32::MAX)] {
            let refused = set(command, now() + ahead);
            assert_is_sentence(&refused, &["s ahead of this machine's clock; give a time that has passed, such as "]);
        }
        server.introspect(&client, &token).assert_active();

        // 2. An operator whose clock was wrong did: no token is issued, and revoking all of them once more would leave it so.
        let ahead = "CAST(unixepoch() + 3600 AS INTEGER)";
        let registry = rusqlite::Connection::open(store.directory().join("registry.db")).expect("the registry");
        registry.execute_batch(&format!("UPDATE {table}, '$.tokens_valid_after', {ahead})")).expect("changed");
        poll_until(NOTICED_WITHIN, || Some(server.token_request(&client, "")).filter(|answer| answer.status == 503))
            .expect("noticed")
            .assert_refused(503, "temporarily_unavailable");
        let refused = store.run_with_input(&[command, &["--revoke-tokens"]].concat(), "");
        let way_out = format!("grantwell {} --tokens-valid-after ", command.join(" "));
        assert_is_sentence(&refused, &[&format!("tokens_valid_after of {whose} is "), &way_out]);

        // 3. It is lowered, to before the token that there was.
        let lowered = set(command, 1_000_000_000);
        let stderr = String::from_utf8_lossy(&lowered.stderr);
        assert!(lowered.status.success(), "{stderr}");
        let warning = format!("warning: tokens of {whose} issued at 2001-09-09 01:46:40Z or later are valid again");
        assert!(stderr.contains(&warning), "{stderr}");
        let taken_back = set(command, 0);
        let stderr = String::from_utf8_lossy(&taken_back.stderr);
        assert!(stderr.contains(&format!("warning: all tokens of {whose} are valid again, unless")), "{stderr}");
        poll_until(NOTICED_WITHIN, || Some(server.token_request(&client, "")).filter(|answer| answer.status == 200))
            .expect("tokens are issued again");
        server.introspect(&client, &token).assert_active();
    }

    // 4. A time that has come ends what is older.
    thread::sleep(Duration::from_secs(1));
    assert!(set(&["client", "update", "early"], now()).status.success());
    server.wait_until_inactive("an older token", &client, &token);
    let both = ["client", "update", "early", "--revoke-tokens", "--tokens-valid-after", "1"];
    assert_eq!(store.run_with_input(&both, "").status.code(), Some(2));
}

#[track_caller]
fn assert_is_sentence(refused: &Output, parts: &[&str]) {
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!((refused.status.code(), refused.stdout.is_empty()), (Some(1), true), "{refused:?}");
    assert!(stderr.starts_with("error: ") && parts.iter().all(|part| stderr.contains(part)), "{parts:?} in {stderr}");
}
