//! What one request costs the protocol: issue, introspect and verify, each through the endpoint that the server has, in this
//! process. No network, no HTTP; caches as the local server has them. `docs/performance.md` has figures.
#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has no figures to give")]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use grantwell::app::{App, LOCAL_CACHES, Settings};
use grantwell::core::access_token::jwt::UnverifiedJwt;
use grantwell::core::access_token::settings::TokenLifetime;
use grantwell::core::access_token::settings::{AccessTokenFormat, AccessTokenPersistence};
use grantwell::core::client::Client;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::id::RegistrationId;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::client_auth::attempts::{AttemptLimits, FailedAttempts};
use grantwell::core::client_auth::{ClientAuthenticator, ClientRequest, Credentials};
use grantwell::core::introspection::IntrospectionEndpoint;
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::jwk::SigningKeyPair;
use grantwell::core::keys::jwk_set::JwkSet;
use grantwell::core::keys::keyring::Keyring;
use grantwell::core::params::Params;
use grantwell::core::ports::{
    Clock as _, Denylist, Registrar as _, SigningKeySource as _, TokenStore, VerificationKeySource,
};
use grantwell::core::realm::{Issuer, PublicUrl, Realm, RealmName};
use grantwell::core::realms::RealmDefaults;
use grantwell::core::source::ClientSource;
use grantwell::core::token::TokenEndpoint;
use grantwell::embedded::adapters::EmbeddedAdapters;
use grantwell::embedded::store::memory::MemoryTokens;
use grantwell::embedded::store::quotas::MemoryQuotas;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::embedded::store::tokens::{Durability, SqliteTokens};
use grantwell::observe::log::LogLevel;
use grantwell::observe::metrics::{Counter as _, Label, Metric, Metrics};
use grantwell::observe::request::InvocationIds;
use grantwell::system::{SystemClock, SystemRandom};

/// A client for each way to make a token, by the name that its figures have.
const CLIENTS: [(&str, AccessTokenFormat, AccessTokenPersistence); 3] = [
    ("opaque", AccessTokenFormat::Opaque, AccessTokenPersistence::Stored),
    ("es256-stored", AccessTokenFormat::Jwt, AccessTokenPersistence::Stored),
    ("es256-stateless", AccessTokenFormat::Jwt, AccessTokenPersistence::Stateless),
];
const KEY_CLIENT: &str = "by-key";
const SECRET: &str = "a-secret-of-the-benchmark-0123456789";

/// One authorization server over one store of tokens.
struct Server {
    runtime: Runtime,
    realm: RealmName,
    issuer: Issuer,
    token: TokenEndpoint,
    introspection: IntrospectionEndpoint,
    public_keys: Arc<dyn VerificationKeySource>,
}

impl Server {
    /// `lifetime` is that of its tokens.
    fn over<A: TokenStore + Denylist + 'static>(issued: A, lifetime: TokenLifetime) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let registry = Arc::new(SqliteRegistry::in_memory().expect("a registry"));
        runtime.block_on(register_clients(&registry));
        let adapters = EmbeddedAdapters::over(registry, Arc::new(issued), Arc::new(MemoryQuotas::default()));
        let app = App::new(adapters, settings(lifetime, Some(AttemptLimits::DEFAULT)));
        let public_url: PublicUrl = "https://auth.example.com".parse().expect("a URL");
        let (Ok(token), Ok(introspection)) = (app.token_endpoint(), app.introspection_endpoint());
        let Ok(public_keys) = app.verification_keys();
        let (realm, issuer) = (RealmName::root(), public_url.issuer("/oauth2"));
        Self { runtime, realm, issuer, token, introspection, public_keys }
    }

    /// A token answer's token, from the bytes of a form on.
    async fn issue(&self, client: &str) -> String {
        let params =
            Params::parse(form(client, "grant_type=client_credentials&scope=read").as_bytes()).expect("a form");
        let source = Some(ClientSource::of(Ipv4Addr::LOCALHOST.into()));
        let request = ClientRequest { source, ..ClientRequest::new(&self.realm, &self.issuer, &params) };
        let answer = self.token.issue(&request).await.expect("granted");
        answer.access_token.expose_token().to_owned()
    }

    /// Introspection by the token's own client.
    async fn introspect(&self, client: &str, token: &str) {
        let params = Params::parse(form(client, &format!("token={token}")).as_bytes()).expect("a form");
        let source = Some(ClientSource::of(Ipv4Addr::LOCALHOST.into()));
        let request = ClientRequest { source, ..ClientRequest::new(&self.realm, &self.issuer, &params) };
        let answer = self.introspection.introspect(&request).await.expect("answered");
        assert!(black_box(answer).is_active());
    }
}

/// Those of the local server.
fn settings(access_token_lifetime: TokenLifetime, attempt_limits: Option<AttemptLimits>) -> Settings {
    let realm_defaults = RealmDefaults { root_default_scope: None, access_token_lifetime };
    Settings { realm_defaults, attempt_limits, caches: LOCAL_CACHES }
}

async fn register_clients(registry: &SqliteRegistry) {
    let realm = Realm::new(RealmName::root());
    let secret = ClientSecret::given(SECRET, false).expect("long enough");
    for (id, format, persistence) in CLIENTS {
        let metadata = ClientMetadata {
            scope: "read write".parse().expect("well formed"),
            token_endpoint_auth_methods: [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost].into(),
            access_token_format: Some(format),
            access_token_persistence: Some(persistence),
            ..ClientMetadata::new()
        };
        let registration_id = RegistrationId::generate(&SystemRandom).expect("random bytes");
        let client = Client::register(id.parse().expect("an id"), &realm, metadata, registration_id, SystemClock.now());
        registry.register(&client.expect("valid"), Some(&secret)).await.expect("registered");
    }
}

fn form(client: &str, parameters: &str) -> String {
    format!("client_id={client}&client_secret={SECRET}&{parameters}")
}

/// Tokens of a second: a store that kept every one of some hundred thousand a second would measure the machine's memory.
fn issue<A: TokenStore + Denylist + 'static>(criterion: &mut Criterion, store: &str, issued: A) {
    let server = Server::over(issued, TokenLifetime::new(1).expect("in range"));
    let mut group = group(criterion, &format!("issue, {store}"));
    for (client, ..) in CLIENTS {
        group.bench_function(client, |bencher| {
            bencher.iter(|| server.runtime.block_on(server.issue(client)));
        });
    }
    group.finish();
}

fn introspect<A: TokenStore + Denylist + 'static>(criterion: &mut Criterion, store: &str, issued: A) {
    let server = Server::over(issued, TokenLifetime::DEFAULT);
    let mut group = group(criterion, &format!("introspect, {store}"));
    for (client, ..) in CLIENTS {
        let token = server.runtime.block_on(server.issue(client));
        group.bench_function(client, |bencher| {
            bencher.iter(|| server.runtime.block_on(server.introspect(client, &token)));
        });
    }
    group.finish();
}

fn on_memory(criterion: &mut Criterion) {
    issue(criterion, "memory", MemoryTokens::new(Arc::new(SystemClock)));
    introspect(criterion, "memory", MemoryTokens::new(Arc::new(SystemClock)));
}

fn on_disk(criterion: &mut Criterion) {
    let open = |directory: &TempDir| {
        let path = directory.path().join("tokens.db");
        SqliteTokens::open(&path, Durability::OperatingSystem, Arc::new(SystemClock)).expect("opened")
    };
    let directories = [(); 2].map(|()| TempDir::with_prefix("grantwell-bench-").expect("a temporary directory"));
    issue(criterion, "disk", open(&directories[0]));
    introspect(criterion, "disk", open(&directories[1]));
}

/// What a resource server does with a JWT that asks nobody: header, signature, claims.
fn verify(criterion: &mut Criterion) {
    let server = Server::over(MemoryTokens::new(Arc::new(SystemClock)), TokenLifetime::DEFAULT);
    let token = server.runtime.block_on(server.issue("es256-stateless"));
    let keys = server.runtime.block_on(server.public_keys.verification_keys(&server.realm)).expect("keys");
    let mut group = group(criterion, "verify");
    group.bench_function(SigningAlgorithm::Es256.as_str(), |bencher| {
        bencher.iter(|| {
            let verified = UnverifiedJwt::parse(black_box(&token))
                .and_then(|jwt| jwt.verify(&server.realm, &keys, SystemClock.now()).ok())
                .is_some();
            assert!(verified);
        });
    });
    group.finish();
}

/// What a sandbox does before its first signature: a realm's keys, read from the store and made ready to sign.
fn read_keys(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let registry = Arc::new(SqliteRegistry::in_memory().expect("a registry"));
    let keyring = Keyring::new(registry, Arc::new(SystemClock));
    let mut group = group(criterion, "read keys");
    for alg in SigningAlgorithm::ALL {
        let realm: RealmName = alg.as_str().parse().expect("a name");
        runtime.block_on(keyring.read_or_create(&realm, &[alg])).expect("keys");
        group.bench_function(alg.as_str(), |bencher| {
            bencher.iter(|| runtime.block_on(keyring.signers(&realm, alg)).expect("keys that sign"));
        });
    }
    group.finish();
}

/// Authenticating a client whose secret is right: without a limit on failed attempts, with one while nobody fails, and while
/// others do, as many as are remembered.
fn authenticate(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let adapters = EmbeddedAdapters::in_memory().expect("a registry");
    runtime.block_on(register_clients(adapters.sqlite_registry()));
    let clients = |limits| {
        let app = App::new(adapters.clone(), settings(TokenLifetime::DEFAULT, limits));
        let Ok(authenticator) = app.authenticator();
        authenticator
    };
    let limited = || clients(Some(AttemptLimits::DEFAULT));
    let attacked = limited();
    let issuer = "https://auth.example.com".parse::<PublicUrl>().expect("a URL").issuer("/oauth2");
    for source in 0..u32::try_from(FailedAttempts::CAPACITY).expect("small") {
        let guess = form("opaque", "").replace(SECRET, "a-guess");
        assert!(!runtime.block_on(authenticates(&attacked, &issuer, &guess, Ipv4Addr::from_bits(source))));
    }

    let right = form("opaque", "");
    let mut group = group(criterion, "authenticate");
    for (name, clients) in
        [("no limit", clients(None)), ("limited, nobody fails", limited()), ("limited, others fail", attacked)]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert!(runtime.block_on(authenticates(&clients, &issuer, &right, Ipv4Addr::LOCALHOST))));
        });
    }
    group.finish();
}

/// Authenticating a client by an assertion, and beside it what the library takes for the signature alone. Each assertion is used once,
/// so that they are signed in advance, and the time of that does not count.
fn authenticate_by_key(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let issuer = "https://auth.example.com".parse::<PublicUrl>().expect("a URL").issuer("/oauth2");
    let mut group = group(criterion, "authenticate by key");
    for alg in [SigningAlgorithm::Es256, SigningAlgorithm::EdDsa] {
        let pair = SigningKeyPair::generate(alg).expect("a key");
        let public = pair.public_jwk().expect("a JWK");
        let adapters = EmbeddedAdapters::in_memory().expect("a registry");
        let jwks = JwkSet::parse(&serde_json::to_vec(&public).expect("JSON")).expect("a key");
        runtime.block_on(register_key(adapters.sqlite_registry(), jwks));
        let app = App::new(adapters, settings(TokenLifetime::DEFAULT, Some(AttemptLimits::DEFAULT)));
        let Ok(clients) = app.authenticator();

        let mut number = 0_u64;
        let mut assertion = || {
            number += 1;
            let header = format!(r#"{{"alg":"{alg}","kid":"{}"}}"#, public.kid);
            let exp = SystemClock.now().plus(60);
            let claims = format!(
                r#"{{"iss":"{KEY_CLIENT}","sub":"{KEY_CLIENT}","aud":"{issuer}","exp":{exp},"jti":"a-name-of-a-usual-length-{number}"}}"#
            );
            let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
            let signature = pair.sign(message.as_bytes()).expect("signed");
            (message, signature)
        };
        let jwk = serde_json::to_value(&public).expect("JSON");
        let text = |name: &str| jwk.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
        let octets = |name: &str| URL_SAFE_NO_PAD.decode(text(name)).expect("base64");
        let key = if alg == SigningAlgorithm::Es256 {
            // A point that is written in full.
            [vec![4], octets("x"), octets("y")].concat()
        } else {
            octets("x")
        };
        let library: &'static dyn VerificationAlgorithm =
            if alg == SigningAlgorithm::Es256 { &ECDSA_P256_SHA256_FIXED } else { &ED25519 };
        let key = ParsedPublicKey::new(library, key).expect("a key");
        let (message, signature) = assertion();
        group.bench_function(format!("{alg}, the signature alone"), |bencher| {
            bencher.iter(|| key.verify_sig(black_box(message.as_bytes()), black_box(&signature)).expect("verified"));
        });
        group.bench_function(alg.as_str(), |bencher| {
            bencher.iter_batched(
                || {
                    let (message, signature) = assertion();
                    format!(
                        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                         &client_assertion={message}.{}",
                        URL_SAFE_NO_PAD.encode(signature)
                    )
                },
                |form| assert!(runtime.block_on(authenticates(&clients, &issuer, &form, Ipv4Addr::LOCALHOST))),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

async fn register_key(registry: &SqliteRegistry, jwks: JwkSet) {
    let metadata = ClientMetadata {
        token_endpoint_auth_methods: [AuthMethod::PrivateKeyJwt].into(),
        jwks: Some(jwks),
        ..ClientMetadata::new()
    };
    let registration_id = RegistrationId::generate(&SystemRandom).expect("random bytes");
    let (id, realm) = (KEY_CLIENT.parse().expect("an id"), Realm::new(RealmName::root()));
    let client = Client::register(id, &realm, metadata, registration_id, SystemClock.now()).expect("valid");
    registry.register(&client, None).await.expect("registered");
}

async fn authenticates(clients: &ClientAuthenticator, issuer: &Issuer, form: &str, source: Ipv4Addr) -> bool {
    let realm = Realm::new(RealmName::root());
    let params = Params::parse(form.as_bytes()).expect("a form");
    let source = Some(ClientSource::of(source.into()));
    let request = ClientRequest { source, ..ClientRequest::new(&realm.name, issuer, &params) };
    let credentials = Credentials::from_request(&request).expect("credentials");
    clients.authenticate(&realm, &credentials).await.is_ok()
}

/// The metrics of one warm token request of a function, up to the line for the log.
fn metrics(criterion: &mut Criterion) {
    let written = Metrics::of_function("stack-TokenFunction".to_owned(), LogLevel::Info, Arc::new(SystemClock));
    let trace_id = Some("1-5759e988-bd862e3fe1be46a994272793".to_owned());
    let ids = InvocationIds { request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(), trace_id };
    let mut group = group(criterion, "metrics");
    group.bench_function("one request", |bencher| {
        bencher.iter(|| {
            for metric in [
                Metric::ClientCacheHits,
                Metric::RealmCacheHits,
                Metric::SecretCacheHits,
                Metric::DynamoDbCalls,
                Metric::TokensIssued,
            ] {
                written.add(metric, 1, Label::Nothing);
            }
            written.take_line(black_box(&ids), Duration::from_micros(4321)).expect("a line")
        });
    });
    group.finish();
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .throughput(Throughput::Elements(1))
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4));
    group
}

criterion_group!(benches, on_memory, on_disk, authenticate, authenticate_by_key, verify, read_keys, metrics);
criterion_main!(benches);
