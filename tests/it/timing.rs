//! Unknown client, disabled client and wrong secret take equal time (SECURITY.md), and so do an unknown client and a wrong signature
//! of the same algorithm, measured where nothing but the
//! authentication is in the way: in this process, on stores in memory, warm.
//!
//! What is compared is by how much they differ, as a share of the time of a refusal, and not whether a difference is
//! significant, which with enough samples every difference is. Samples come in pairs, one of each kind right after the
//! other in a random order, and of their differences the median counts: a machine that is busy is busy for both, and an
//! interruption is one pair. Equal kinds have several rounds to look equal once; the difference that has to be found is
//! there in every round, and so it is asked for in all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::runtime::Runtime;

use grantwell::app::FUNCTION_CACHES;
use grantwell::cache::{CacheSettings, CachedRegistry, CachedSecrets};
use grantwell::core::assertion::AssertionProblem;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::id::{ClientId, RegistrationId};
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client::secret::{ClientSecret, ClientSecrets, SecretDigest};
use grantwell::core::client::{Client, ClientStatus};
use grantwell::core::client_auth::attempts::{AttemptLimits, FailedAttempts};
use grantwell::core::client_auth::{ClientAuthenticator, ClientRequest, Credentials};
use grantwell::core::error::{ClientAuthFailure, OAuthError, Refused};
use grantwell::core::keys::jwk_set::JwkSet;
use grantwell::core::params::Params;
use grantwell::core::port_error::PortError;
use grantwell::core::ports::{ClientRegistry, Clock as _, Registrar as _, SecretSource};
use grantwell::core::realm::{Issuer, PublicUrl, Realm, RealmName};
use grantwell::core::source::ClientSource;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::embedded::store::replay_guard::MemoryReplayGuard;
use grantwell::observe::Observer;
use grantwell::observe::log::LogLevel;
use grantwell::observe::metrics::Metrics;
use grantwell::system::{SystemClock, SystemRandom};

use crate::private_key_jwt::{ASSERTION_TYPE, fresh};
use crate::support::jws::Signer;

const SECRET: &str = "a-secret-of-the-timing-test-01234567";
/// Attempts of each kind in one round.
const SAMPLES: usize = 2000;
const ROUNDS: usize = 9;
/// The same where each has a signature to verify.
const ASSERTIONS: usize = 150;
/// Counted, and never refused: a refusal is another answer.
const NO_LIMIT: AttemptLimits = AttemptLimits { failures: 100_000_000, window_seconds: 3600 };
/// Half the times of a kind differ by less than this share of one refusal's own time: nobody can tell them apart through a
/// network.
const ALIKE: f64 = 0.08;
/// They differ by more than this: the look at the remembered secrets, or more than it.
const DIFFERENT: f64 = 0.15;

/// What an attempt presents. All ids have the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    WrongSecret,
    Unknown,
    Disabled,
    OtherMethod,
    WithoutSecret,
}

/// Whom an assertion names that is signed by nobody's key. All ids have the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asserts {
    WrongSignature,
    Unknown,
    Disabled,
    /// Its key is of another algorithm.
    OtherAlgorithm,
    /// It has a secret.
    WithoutKey,
}

/// [`Subject`] for clients with keys of one algorithm.
struct Asserted {
    runtime: Runtime,
    realm: Realm,
    registry: Arc<dyn ClientRegistry>,
    clients: ClientAuthenticator,
    signer: Signer,
    answers_early: bool,
}

/// Authentication as the server does it, or as it must not do it.
struct Subject {
    runtime: Runtime,
    realm: Realm,
    issuer: Issuer,
    registry: Arc<dyn ClientRegistry>,
    clients: ClientAuthenticator,
    answers_early: bool,
}

/// What stands before the secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secrets {
    /// The cache, as in a server and in a function without metrics.
    Cached,
    /// The same where its hits are counted, as in a function with metrics.
    Counted,
    /// The same without the work for nobody.
    Hasty,
}

/// Secrets for whose absence nobody waits: what an unknown client would save.
struct Hasty(CachedSecrets);

#[async_trait]
impl SecretSource for Hasty {
    async fn secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        self.0.secrets(client).await
    }

    async fn admits_another_look(&self, client: &Client) -> bool {
        self.0.admits_another_look(client).await
    }

    async fn secrets_anew(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        self.0.secrets_anew(client).await
    }

    async fn confirm(&self, client: &Client, secrets: &ClientSecrets) {
        self.0.confirm(client, secrets).await;
    }
}

/// The secret of whoever is asked for and has one.
struct OneSecret;

#[async_trait]
impl SecretSource for OneSecret {
    async fn secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        let has_one = client.client_id != Kind::WithoutSecret.client_id();
        Ok(has_one.then(|| ClientSecrets::read(SecretDigest::of(SECRET), None)))
    }
}

impl Subject {
    fn new(secrets: Secrets, answers_early: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let registry = Arc::new(SqliteRegistry::in_memory().expect("a registry"));
        let realm = Realm::new(RealmName::root());
        runtime.block_on(async {
            let secret = ClientSecret::given(SECRET, false).expect("long enough");
            for kind in [Kind::WrongSecret, Kind::Disabled, Kind::OtherMethod, Kind::WithoutSecret] {
                let methods = match kind {
                    Kind::OtherMethod => [AuthMethod::ClientSecretBasic].into(),
                    _ => [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost].into(),
                };
                let metadata = ClientMetadata {
                    scope: "read".parse().expect("well formed"),
                    token_endpoint_auth_methods: methods,
                    ..ClientMetadata::new()
                };
                let registration_id = RegistrationId::generate(&SystemRandom).expect("random bytes");
                let mut client =
                    Client::register(kind.client_id(), &realm, metadata, registration_id, SystemClock.now())
                        .expect("valid");
                if kind == Kind::Disabled {
                    client.status = ClientStatus::Disabled;
                }
                registry
                    .register(&client, Some(&secret).filter(|_| kind != Kind::WithoutSecret))
                    .await
                    .expect("registered");
            }
        });
        let settings = remembering();
        let cached = CachedSecrets::new(Arc::new(OneSecret), Arc::new(SystemClock), settings);
        let secrets: Arc<dyn SecretSource> = match secrets {
            Secrets::Cached => Arc::new(cached),
            Secrets::Counted => {
                let metrics = Metrics::of_function("timing".into(), LogLevel::Info, Arc::new(SystemClock));
                Arc::new(cached.observed_by(Arc::new(Observer::counting(metrics))))
            }
            Secrets::Hasty => Arc::new(Hasty(cached)),
        };
        let registry: Arc<dyn ClientRegistry> =
            Arc::new(CachedRegistry::new(registry, Arc::new(SystemClock), settings));
        let clients = ClientAuthenticator::new(Arc::clone(&registry), secrets, Arc::new(SystemClock))
            .limited_by(Some(Arc::new(FailedAttempts::new(NO_LIMIT))));
        Self { runtime, realm, issuer: issuer(), registry, clients, answers_early }
    }

    /// Seconds from a form to its refusal.
    fn time(&self, kind: Kind) -> f64 {
        let form = format!("client_id={}&client_secret=a-wrong-secret-0123456789-0123456789", kind.client_id());
        let started = Instant::now();
        let refused = self.runtime.block_on(self.refuse(kind, &form));
        let elapsed = started.elapsed();
        assert!(
            matches!(
                (kind, &refused),
                (Kind::WrongSecret | Kind::OtherMethod | Kind::WithoutSecret, ClientAuthFailure::WrongSecret)
            ) || matches!((kind, &refused), (Kind::Unknown, ClientAuthFailure::UnknownClient))
                || matches!((kind, &refused), (Kind::Disabled, ClientAuthFailure::Disabled))
        );
        elapsed.as_secs_f64()
    }

    async fn refuse(&self, kind: Kind, form: &str) -> ClientAuthFailure {
        let params = Params::parse(form.as_bytes()).expect("a form");
        let source = Some(ClientSource::of([192, 0, 2, 1].into()));
        let request = ClientRequest { source, ..ClientRequest::new(&self.realm.name, &self.issuer, &params) };
        let credentials = Credentials::from_request(&request).expect("credentials");
        if self.answers_early {
            let client = self.registry.client(&self.realm.name, &kind.client_id()).await.expect("answers");
            if client.is_none() {
                return ClientAuthFailure::UnknownClient;
            }
        }
        match self.clients.authenticate(&self.realm, &credentials).await {
            Err(Refused { error: OAuthError::InvalidClient(failure), .. }) => failure,
            other => panic!("{kind:?}: {other:?}"),
        }
    }

    fn rounds(&self, other: Kind) -> Vec<f64> {
        rounds(SAMPLES, || self.time(Kind::WrongSecret), || self.time(other))
    }
}

impl Asserted {
    fn new(alg: &'static str, answers_early: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let registry = Arc::new(SqliteRegistry::in_memory().expect("a registry"));
        let realm = Realm::new(RealmName::root());
        runtime.block_on(async {
            for kind in [Asserts::WrongSignature, Asserts::Disabled, Asserts::OtherAlgorithm, Asserts::WithoutKey] {
                let key = match kind {
                    Asserts::OtherAlgorithm if alg == "ES256" => Some(Signer::new("EdDSA")),
                    Asserts::OtherAlgorithm => Some(Signer::new("ES256")),
                    Asserts::WithoutKey => None,
                    _ => Some(Signer::new(alg)),
                };
                let jwks = key.map(|key| JwkSet::parse(key.jwk().to_string().as_bytes()).expect("a key"));
                let methods = match &jwks {
                    Some(_) => [AuthMethod::PrivateKeyJwt].into(),
                    None => [AuthMethod::ClientSecretBasic].into(),
                };
                let metadata = ClientMetadata { jwks, token_endpoint_auth_methods: methods, ..ClientMetadata::new() };
                let registration_id = RegistrationId::generate(&SystemRandom).expect("random bytes");
                let mut client =
                    Client::register(kind.client_id(), &realm, metadata, registration_id, SystemClock.now())
                        .expect("valid");
                if kind == Asserts::Disabled {
                    client.status = ClientStatus::Disabled;
                }
                let secret = ClientSecret::given(SECRET, false).expect("long enough");
                let secret = Some(&secret).filter(|_| kind == Asserts::WithoutKey);
                registry.register(&client, secret).await.expect("registered");
            }
        });
        let secrets = Arc::new(CachedSecrets::new(Arc::new(OneSecret), Arc::new(SystemClock), remembering()));
        let registry: Arc<dyn ClientRegistry> =
            Arc::new(CachedRegistry::new(registry, Arc::new(SystemClock), remembering()));
        let clients = ClientAuthenticator::new(Arc::clone(&registry), secrets, Arc::new(SystemClock))
            .guarded_by(Arc::new(MemoryReplayGuard::default()))
            .limited_by(Some(Arc::new(FailedAttempts::new(NO_LIMIT))));
        // Nobody's: each assertion is well formed, for us, of now, and signed by a key that no client has.
        Self { runtime, realm, registry, clients, signer: Signer::new(alg), answers_early }
    }

    fn form(&self, kind: Asserts) -> String {
        let id = kind.client_id();
        let assertion = self.signer.assertion(&fresh(id.as_str(), issuer().as_str()));
        format!("client_assertion_type={ASSERTION_TYPE}&client_assertion={assertion}")
    }

    /// Seconds from a form to its refusal.
    fn time(&self, kind: Asserts, form: &str) -> f64 {
        let started = Instant::now();
        let refused = self.runtime.block_on(self.refuse(kind, form));
        let elapsed = started.elapsed();
        let expected = match kind {
            Asserts::WrongSignature => ClientAuthFailure::Assertion(AssertionProblem::Signature),
            Asserts::Unknown => ClientAuthFailure::UnknownClient,
            Asserts::Disabled => ClientAuthFailure::Disabled,
            Asserts::OtherAlgorithm | Asserts::WithoutKey => ClientAuthFailure::Assertion(AssertionProblem::UnknownKey),
        };
        assert_eq!(refused, expected, "{kind:?}");
        elapsed.as_secs_f64()
    }

    async fn refuse(&self, kind: Asserts, form: &str) -> ClientAuthFailure {
        let params = Params::parse(form.as_bytes()).expect("a form");
        let (source, issuer) = (Some(ClientSource::of([192, 0, 2, 1].into())), issuer());
        let request = ClientRequest { source, ..ClientRequest::new(&self.realm.name, &issuer, &params) };
        let credentials = Credentials::from_request(&request).expect("credentials");
        if self.answers_early {
            let client = self.registry.client(&self.realm.name, &kind.client_id()).await.expect("answers");
            if client.is_none() {
                return ClientAuthFailure::UnknownClient;
            }
        }
        match self.clients.authenticate(&self.realm, &credentials).await {
            Err(Refused { error: OAuthError::InvalidClient(failure), .. }) => failure,
            other => panic!("{kind:?}: {other:?}"),
        }
    }

    fn rounds(&self, other: Asserts) -> Vec<f64> {
        let forms = [Asserts::WrongSignature, other].map(|kind| self.form(kind));
        let [wrong, compared] = &forms;
        rounds(ASSERTIONS, || self.time(Asserts::WrongSignature, wrong), || self.time(other, compared))
    }
}

/// By how much of its own time what is compared is slower or faster than what is wrong, in each round, the least first.
fn rounds(samples: usize, wrong: impl Fn() -> f64, compared: impl Fn() -> f64) -> Vec<f64> {
    let mut order = Order(0x9e37_79b9_7f4a_7c15);
    for _ in 0..samples / 4 {
        wrong();
        compared();
    }
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| difference(samples, &wrong, &compared, &mut order)).collect();
    rounds.sort_by(f64::total_cmp);
    rounds
}

fn difference(samples: usize, wrong: impl Fn() -> f64, compared: impl Fn() -> f64, order: &mut Order) -> f64 {
    let (mut times, mut differences) = (Vec::with_capacity(samples), Vec::with_capacity(samples));
    for _ in 0..samples {
        // One right after the other, so that a machine that becomes busy is busy for both.
        let (a, b) = if order.flip() {
            let a = wrong();
            (a, compared())
        } else {
            let b = compared();
            (wrong(), b)
        };
        times.push(a);
        differences.push(b - a);
    }
    median(differences).abs() / median(times)
}

fn issuer() -> Issuer {
    "https://auth.example.com".parse::<PublicUrl>().expect("a URL").issuer("/oauth2")
}

/// Warm: nothing is loaded anew during the measurement.
fn remembering() -> CacheSettings {
    CacheSettings {
        registration_ttl: Duration::from_hours(1),
        absence_ttl: Duration::from_hours(1),
        secret_ttl: Duration::from_hours(1),
        mismatch_interval: Duration::from_hours(1),
        ..FUNCTION_CACHES
    }
}

impl Asserts {
    fn client_id(self) -> ClientId {
        let id = match self {
            Self::WrongSignature => "asserts-by-somebodies-key",
            Self::Unknown => "asserts-unknown-to-anybody",
            Self::Disabled => "asserts-disabled-by-anyone",
            Self::OtherAlgorithm => "asserts-by-key-of-another",
            Self::WithoutKey => "asserts-though-it-has-none",
        };
        id.get(..25).and_then(|id| id.parse().ok()).expect("an id")
    }
}

impl Kind {
    fn client_id(self) -> ClientId {
        let id = match self {
            Self::WrongSecret => "timing-known-wrong-secret",
            Self::Unknown => "timing-unknown-to-anybody",
            Self::Disabled => "timing-disabled-by-someone",
            Self::OtherMethod => "timing-not-by-that-method",
            Self::WithoutSecret => "timing-one-without-secret",
        };
        id.get(..25).and_then(|id| id.parse().ok()).expect("an id")
    }
}

/// Who comes first in each pair, so that neither always finds the caches of the processor warm: xorshift.
struct Order(u64);

impl Order {
    fn flip(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 & 1 == 0
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn an_unknown_client_a_disabled_one_another_method_no_secret_and_a_wrong_one_take_equal_time() {
    for secrets in [Secrets::Cached, Secrets::Counted] {
        let server = Subject::new(secrets, false);
        let others = [Kind::Unknown, Kind::Disabled, Kind::OtherMethod, Kind::WithoutSecret];
        let measured = others.map(|other| (other, server.rounds(other)));
        eprintln!("{secrets:?}: {measured:.3?}");
        for (other, rounds) in measured {
            assert!(rounds[0] < ALIKE, "{secrets:?}: {other:?} can be told from a wrong secret: {rounds:?}");
        }
    }
}

#[test]
fn an_unknown_client_that_is_answered_early_or_without_a_look_at_the_secrets_would_be_noticed() {
    for (what, secrets, answers_early) in [("early", Secrets::Cached, true), ("without a look", Secrets::Hasty, false)]
    {
        let rounds = Subject::new(secrets, answers_early).rounds(Kind::Unknown);
        eprintln!("{what}: {rounds:.3?}");
        assert!(rounds[0] >= ALIKE, "{what}: the test above would not fail: {rounds:?}");
        assert!(rounds[ROUNDS / 2] > DIFFERENT, "{what}: the test above would hardly fail: {rounds:?}");
    }
}

#[test]
fn an_assertion_of_an_unknown_client_and_a_wrong_signature_of_the_same_algorithm_take_equal_time() {
    // What else may be wrong is looked for before the algorithm matters.
    let others = [Asserts::Unknown, Asserts::Disabled, Asserts::OtherAlgorithm, Asserts::WithoutKey];
    for (alg, compared) in [
        ("ES256", &others[..]),
        ("ES384", &others[..1]),
        ("EdDSA", &others[..1]),
        ("RS256", &others[..1]),
        ("PS256", &others[..1]),
    ] {
        let server = Asserted::new(alg, false);
        for &other in compared {
            let rounds = server.rounds(other);
            eprintln!("{alg} {other:?}: {rounds:.3?}");
            assert!(rounds[0] < ALIKE, "{alg}: {other:?} can be told from a wrong signature: {rounds:?}");
        }
    }
}

#[test]
fn an_assertion_of_an_unknown_client_that_is_answered_without_a_verification_would_be_noticed() {
    for alg in ["ES256", "EdDSA", "RS256"] {
        let rounds = Asserted::new(alg, true).rounds(Asserts::Unknown);
        eprintln!("{alg}: {rounds:.3?}");
        assert!(rounds[0] > DIFFERENT, "{alg}: the test above would not fail: {rounds:?}");
    }
}
