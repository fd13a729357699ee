//! What each fuzz target does with an input, and what must hold of every input besides that nothing panics.

mod assertion;
mod identity;
mod issuer;
mod presented;
mod records;
mod report;
mod trust;

pub use assertion::assertion;
pub use identity::identity;
pub use issuer::issuer;
pub use presented::{introspection, revocation};
pub use records::records;
pub use report::report;
pub use trust::trust;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lambda_http::Context;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use grantwell::app::{App, LOCAL_CACHES, Settings};
use grantwell::aws::lambda::authorizer::{self, Authorizer, ResponseForm};
use grantwell::aws::lambda::{gateway, rotation};
use grantwell::core::access_token::facts::TokenFacts;
use grantwell::core::access_token::jwt::{self, UnverifiedJwt};
use grantwell::core::access_token::settings::TokenLifetime;
use grantwell::core::bearer::TokenIntrospection;
use grantwell::core::client::Client;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::id::RegistrationId;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::client_auth::attempts::AttemptLimits;
use grantwell::core::client_auth::{ClientAuthenticator, ClientRequest, Credentials};
use grantwell::core::error::OAuthError;
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::published::VerificationKeys;
use grantwell::core::keys::set::{KeySet, Signers};
use grantwell::core::params::{MAX_PARAMETERS, Params};
use grantwell::core::ports::{Clock as _, Registrar as _};
use grantwell::core::random::Random as _;
use grantwell::core::realm::{Issuer, PublicUrl, Realm, RealmName};
use grantwell::core::realms::RealmDefaults;
use grantwell::core::reason::Reason;
use grantwell::core::scope::Scope;
use grantwell::core::time::UnixSeconds;
use grantwell::core::trust::aws::AwsCaller;
use grantwell::core::trust::caller::CallerByAws;
use grantwell::embedded::adapters::EmbeddedAdapters;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::http::routes;
use grantwell::system::{SystemClock, SystemRandom};

/// The client that seeds of the corpora authenticate as, and its secret.
const CLIENT: (&str, &str) = ("myClient", "a-secret-of-the-fuzz-targets-0123");

/// The token that seeds of the authorizer's corpus carry.
const READER: &str = "reader";

/// The form decoder: a parameter is single or an error, what `single` gives is all that `all` gives, and no value is empty.
pub fn form(input: &[u8]) {
    let Ok(params) = Params::parse(input) else { return };
    for name in ["grant_type", "scope", "client_id", "client_secret", "token", "resource", "audience"] {
        let all: Vec<_> = params.all(name).collect();
        assert!(all.len() <= MAX_PARAMETERS && all.iter().all(|value| !value.is_empty()));
        assert_eq!(params.contains(name), !all.is_empty());
        match params.single(name) {
            Ok(Some(value)) => assert_eq!(all, [value]),
            Ok(None) => assert!(all.is_empty()),
            Err(error) => assert!(matches!(error, OAuthError::InvalidRequest(_)) && all.len() > 1),
        }
    }
}

/// Basic credentials, as a header and as what is inside of its base64: nobody gets in who does not know the secret.
pub fn basic(input: &[u8]) {
    let header = format!("Basic {}", STANDARD.encode(input));
    for value in [input, header.as_bytes()] {
        let _ = SERVER.authenticates(value);
        assert!(!STRANGERS.authenticates(value), "a guess");
    }
}

/// A JWT: no text is a token that no key has signed, and no claims that a key has signed make a panic.
pub fn jwt(input: &[u8]) {
    let (realm, now) = (RealmName::root(), UnixSeconds(1_800_000_000));
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(jwt) = UnverifiedJwt::parse(text) {
        let _ = jwt.unverified_realm();
        assert!(jwt.verify(&realm, &KEYS.public, now).is_err(), "a forgery");
    }
    // Claims, signed.
    let Ok(claims) = serde_json::from_str::<Value>(text) else { return };
    let Ok(signer) = KEYS.private.choose(SigningAlgorithm::Es256, now) else { return };
    let Some(signed) = jwt::sign_claims(signer, &claims) else { return };
    if let Some(jwt) = UnverifiedJwt::parse(&signed) {
        let _ = jwt.unverified_realm();
        let other: RealmName = "other".parse().expect("a name");
        let is_of_root = jwt.verify(&realm, &KEYS.public, now).is_ok();
        let is_of_other = jwt.verify(&other, &KEYS.public, now).is_ok();
        assert!(!(is_of_root && is_of_other), "a token of two realms");
    }
}

/// A scope: what is read can be written, and means the same.
pub fn scope(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(first) = first.parse::<Scope>() else { return };
    let written: Scope = first.to_string().parse().expect("a scope that was written");
    assert_eq!(written, first);
    assert!(first.is_subset(&first));
    if let Ok(second) = second.parse::<Scope>() {
        let both = first.intersection(&second);
        assert!(both.is_subset(&first) && both.is_subset(&second));
    }
}

/// An event of API Gateway, answered by the token endpoint: always an answer, and a token only for who has the secret.
pub fn gateway(input: &[u8]) {
    let Ok(event) = std::str::from_utf8(input) else { return };
    for (server, is_known) in [(&*SERVER, true), (&*STRANGERS, false)] {
        let answer = server.runtime.block_on(gateway::answer(server.router.clone(), event, TIME_LEFT));
        let status = answer["statusCode"].as_u64().expect("a status");
        assert!([200, 400, 401, 404, 405, 413, 415, 429].contains(&status), "{answer}");
        assert!(is_known || status != 200, "a guess: {answer}");
    }
}

/// What AWS says of a caller, in both payloads: whoever is a role is one to the letter, of whom everything in the event agrees.
pub fn caller(input: &[u8]) {
    let Ok(event) = std::str::from_utf8(input) else { return };
    for CallerByAws(caller) in gateway::callers(event) {
        let Ok(AwsCaller { partition, account, role, role_id, organization }) = caller else { continue };
        let said: Value = serde_json::from_str(event).expect("JSON");
        let context = &said["requestContext"];
        let (iam, identity) = (&context["authorizer"]["iam"], &context["identity"]);
        let session_of = format!("arn:{partition}:sts::{account}:assumed-role/{role}/");
        let is_said = |facts: &Value, id: &str| {
            let arn = facts["userArn"].as_str().and_then(|arn| arn.strip_prefix(&session_of));
            let id = facts[id].as_str().and_then(|id| id.split_once(':'));
            facts["accountId"] == account.as_str() && arn.is_some() && id == role_id.as_deref().zip(arn)
        };
        assert!(is_said(iam, "userId") || is_said(identity, "user"), "{event}");
        assert!(!role.contains(['/', ':', '*', '?']) && account.len() == 12, "{event}");
        assert!(organization.is_none_or(|id| id.starts_with("o-")), "{event}");
    }
}

/// An event for the authorizer, in both forms: only the one active token lets anything pass.
pub fn authorizer(input: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Value>(input) else { return };
    for (authorizers, is_known) in [(&*AUTHORIZERS, true), (&*STRICT_AUTHORIZERS, false)] {
        for authorizer in authorizers {
            let answer = SERVER.runtime.block_on(authorizer::answer(authorizer, event.clone(), context()));
            let Ok(answer) = answer else { continue };
            let allows = answer["isAuthorized"] == true || answer.to_string().contains(r#""Effect":"Allow""#);
            assert!(is_known || !allows, "a guess: {answer}");
        }
    }
}

/// An event for the rotation: a secret is of this stack by its whole name, and not by its prefix.
pub fn rotation(input: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Value>(input) else { return };
    if let Some((secret_id, _)) = rotation::secret_of(&event, "grantwell") {
        let rest = secret_id.strip_prefix("grantwell/").expect("this stack's");
        let parts: Vec<_> = rest.split('/').collect();
        assert!(matches!(*parts, [_, "clients", _] | [_, "signing-keys"]), "{secret_id}");
        assert!(parts.iter().all(|part| !part.is_empty()), "{secret_id}");
    }
}

/// Knows the secret of the corpora.
static SERVER: LazyLock<Server> =
    LazyLock::new(|| Server::new(&ClientSecret::given(CLIENT.1, false).expect("long enough")));
/// Has the same client with a secret that nobody was told, so that whatever gets in has got past the check: what an input says
/// in any encoding does not have to be recognized.
static STRANGERS: LazyLock<Server> =
    LazyLock::new(|| Server::new(&ClientSecret::generate(&SystemRandom).expect("random bytes")));
static KEYS: LazyLock<Keys> = LazyLock::new(Keys::new);
static AUTHORIZERS: LazyLock<[Authorizer; 2]> = LazyLock::new(|| authorizers(READER));
/// Know a token that no corpus has: 24 random bytes, fresh in each process.
static STRICT_AUTHORIZERS: LazyLock<[Authorizer; 2]> = LazyLock::new(|| {
    let mut token = [0; 24];
    SystemRandom.fill(&mut token).expect("random bytes");
    authorizers(&URL_SAFE_NO_PAD.encode(token))
});

/// A token endpoint on stores in memory.
struct Server {
    runtime: Runtime,
    realm: Realm,
    issuer: Issuer,
    clients: ClientAuthenticator,
    router: Router,
}

impl Server {
    fn new(secret: &ClientSecret) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let adapters = EmbeddedAdapters::in_memory().expect("a registry");
        let realm = Realm::new(RealmName::root());
        runtime.block_on(register(adapters.sqlite_registry(), &realm, secret));

        // Failed attempts are counted, and none is one too many: whoever was refused for those would never be compared.
        let attempts = AttemptLimits { failures: u32::MAX, ..AttemptLimits::DEFAULT };
        let app = App::new(adapters, settings(Some(attempts)));
        let (Ok(clients), Ok(routes)) = (app.authenticator(), app.token_routes());
        let issuer = "https://auth.example.com".parse::<PublicUrl>().expect("a URL").issuer("/oauth2");
        Self { clients, realm, issuer, router: routes::finish(routes), runtime }
    }

    fn authenticates(&self, authorization: &[u8]) -> bool {
        let params = Params::parse(b"").expect("nothing");
        let request = ClientRequest {
            authorization: &[authorization],
            ..ClientRequest::new(&self.realm.name, &self.issuer, &params)
        };
        let Ok(credentials) = Credentials::from_request(&request) else { return false };
        self.runtime.block_on(self.clients.authenticate(&self.realm, &credentials)).is_ok()
    }
}

/// Those of the local server, with these limits.
fn settings(attempt_limits: Option<AttemptLimits>) -> Settings {
    let realm_defaults = RealmDefaults { root_default_scope: None, access_token_lifetime: TokenLifetime::DEFAULT };
    Settings { realm_defaults, attempt_limits, caches: LOCAL_CACHES }
}

async fn register(registry: &SqliteRegistry, realm: &Realm, secret: &ClientSecret) {
    let metadata = ClientMetadata {
        scope: "read write".parse().expect("a scope"),
        default_scope: Some("read".parse().expect("a scope")),
        token_endpoint_auth_methods: [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost].into(),
        ..ClientMetadata::new()
    };
    let registration_id = RegistrationId::generate(&SystemRandom).expect("random bytes");
    let id = CLIENT.0.parse().expect("an id");
    let client = Client::register(id, realm, metadata, registration_id, SystemClock.now()).expect("valid");
    registry.register(&client, Some(secret)).await.expect("registered");
}

/// A realm's keys.
struct Keys {
    private: Signers,
    public: VerificationKeys,
}

impl Keys {
    fn new() -> Self {
        let keys = KeySet::create(&[SigningAlgorithm::Es256], UnixSeconds(0)).expect("keys");
        Self {
            private: keys.signers().expect("keys that sign"),
            public: keys.published().verification_keys().expect("keys that verify"),
        }
    }
}

/// Knows one token, and cannot say for another.
struct OneToken(String);

#[async_trait]
impl TokenIntrospection for OneToken {
    async fn introspect(&self, unverified_token: &str) -> Result<Result<TokenFacts, Reason>, OAuthError> {
        match unverified_token {
            token if token == self.0 => Ok(Ok(TokenFacts {
                client_id: "myClient".to_owned(),
                sub: "myClient".to_owned(),
                scope: "orders:read".parse().expect("a scope"),
                audit_tracking_id: None,
            })),
            "away" => Err(OAuthError::Unavailable("a store".to_owned())),
            _ => Ok(Err(Reason::UnknownToken)),
        }
    }
}

fn authorizers(token: &str) -> [Authorizer; 2] {
    let scopes =
        r#"{"GET /orders":"orders:read","GET /orders/{id}":"orders:read","ANY /files/{path+}":"","$default":""}"#;
    [ResponseForm::Simple, ResponseForm::Policy].map(|response| Authorizer {
        tokens: Box::new(OneToken(token.to_owned())),
        scopes: scopes.parse().expect("routes"),
        response,
        observer: Arc::default(),
    })
}

/// No target waits for anything.
const TIME_LEFT: Duration = Duration::from_secs(3600);

/// With time left until the year 2100.
fn context() -> Context {
    let mut context = Context::default();
    context.deadline = 4_102_444_800_000;
    context
}
