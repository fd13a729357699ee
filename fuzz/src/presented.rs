//! The endpoints that are asked about a token: introspection and revocation.

use std::sync::{Arc, LazyLock};

use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use grantwell::app::App;
use grantwell::aws::lambda::gateway;
use grantwell::core::access_token::jwt::{self, UnverifiedJwt};
use grantwell::core::access_token::opaque;
use grantwell::core::access_token::record::{AccessTokenRecord, StoredToken};
use grantwell::core::client::Client;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::id::RegistrationId;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::endpoint::Endpoint;
use grantwell::core::introspection::IntrospectionEndpoint;
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::keyring::Keyring;
use grantwell::core::ports::{Clock as _, Denylist as _, Registrar as _, SigningKeySource as _, TokenStore as _};
use grantwell::core::realm::{PublicUrl, Realm, RealmName};
use grantwell::core::revocation::RevocationEndpoint;
use grantwell::core::time::UnixSeconds;
use grantwell::embedded::adapters::EmbeddedAdapters;
use grantwell::embedded::store::memory::MemoryTokens;
use grantwell::embedded::store::quotas::MemoryQuotas;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::http::routes;
use grantwell::system::{SystemClock, SystemRandom};

use crate::{CLIENT, TIME_LEFT, settings};

/// A request to introspection: the lines of Authorization and Accept, then the form. Nobody learns anything who does not know the
/// secret, and who does learns of its own tokens.
pub fn introspection(input: &[u8]) {
    for (world, is_known) in [(&*WORLD, true), (&*STRANGERS, false)] {
        let Some(answer) = world.ask(IntrospectionEndpoint::ENDPOINT, input) else { return };
        let status = answer["statusCode"].as_u64().expect("a status");
        assert!([200, 400, 401, 404, 413, 415, 429].contains(&status), "{answer}");
        if status != 200 {
            continue;
        }
        assert!(is_known, "a guess: {answer}");
        let body = answer["body"].as_str().expect("a body");
        let facts = if answer["headers"]["content-type"] == "application/token-introspection+jwt" {
            assert!(UnverifiedJwt::parse(body).is_none(), "an answer that is a token: {answer}");
            let claims = URL_SAFE_NO_PAD.decode(body.split('.').nth(1).expect("claims")).expect("base64url");
            serde_json::from_slice::<Value>(&claims).expect("JSON")["token_introspection"].clone()
        } else {
            serde_json::from_str(body).expect("JSON")
        };
        if facts["active"] == true {
            assert_eq!((&facts["client_id"], &facts["scope"]), (&json!(CLIENT.0), &json!("read")), "{facts}");
        } else {
            assert_eq!(facts, json!({ "active": false }));
        }
    }
}

/// The same for revocation: nobody ends a token of another.
pub fn revocation(input: &[u8]) {
    for (world, is_known) in [(&*WORLD, true), (&*STRANGERS, false)] {
        let Some(answer) = world.ask(RevocationEndpoint::ENDPOINT, input) else { return };
        let status = answer["statusCode"].as_u64().expect("a status");
        assert!([200, 400, 401, 404, 413, 415, 429].contains(&status), "{answer}");
        assert!(is_known || status != 200, "a guess: {answer}");
        assert!(status != 200 || answer["body"] == "", "{answer}");
        world.runtime.block_on(world.assert_others_tokens_live());
    }
}

/// Where a token of these stands in an input, the real one is put.
const PLACEHOLDERS: [&str; 4] = ["OWN-OPAQUE", "OWN-JWT", "OTHERS-OPAQUE", "OTHERS-JWT"];

static WORLD: LazyLock<World> =
    LazyLock::new(|| World::new(&ClientSecret::given(CLIENT.1, false).expect("long enough")));
/// Has the same clients with a secret that nobody was told.
static STRANGERS: LazyLock<World> =
    LazyLock::new(|| World::new(&ClientSecret::generate(&SystemRandom).expect("random bytes")));

/// Two clients, each with a token that is stored and one that is not.
struct World {
    runtime: Runtime,
    router: Router,
    tokens: Arc<MemoryTokens>,
    /// In the order of [`PLACEHOLDERS`].
    issued: [String; 4],
    records: [AccessTokenRecord; 4],
}

impl World {
    fn new(secret: &ClientSecret) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let registry = Arc::new(SqliteRegistry::in_memory().expect("a registry"));
        let tokens = Arc::new(MemoryTokens::new(Arc::new(SystemClock)));
        let (issued, records) = runtime.block_on(issue(&registry, &tokens, secret));

        let adapters = EmbeddedAdapters::over(registry, tokens.clone(), Arc::new(MemoryQuotas::default()));
        let app = App::new(adapters, settings(None));
        let Ok(routes) = app.every_route();
        Self { router: routes::finish(routes), tokens, issued, records, runtime }
    }

    /// The answer to a request with this Authorization, Accept and form.
    fn ask(&self, endpoint: Endpoint, input: &[u8]) -> Option<Value> {
        let text = std::str::from_utf8(input).ok()?;
        let (authorization, rest) = text.split_once('\n')?;
        let (accept, form) = rest.split_once('\n')?;
        let named = PLACEHOLDERS.iter().zip(&self.issued);
        let form = named.fold(form.to_owned(), |form, (name, token)| form.replace(name, token));
        let mut headers = json!({ "content-type": "application/x-www-form-urlencoded", "host": "auth.example.com" });
        for (name, value) in [("authorization", authorization), ("accept", accept)] {
            if !value.is_empty() {
                headers[name] = json!(value);
            }
        }
        let path = format!("/oauth2/{}", endpoint.path);
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": headers,
            "requestContext": {
                "accountId": "123456789012", "apiId": "api", "domainName": "auth.example.com", "domainPrefix": "auth",
                "http": { "method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "" },
                "requestId": "id", "routeKey": "$default", "stage": "$default", "time": "", "timeEpoch": 0,
            },
            "body": STANDARD.encode(form), "isBase64Encoded": true,
        });
        Some(self.runtime.block_on(gateway::answer(self.router.clone(), &event.to_string(), TIME_LEFT)))
    }

    /// What was this client's own is put back for the next input; of a JWT that is stored nowhere the end stays.
    async fn assert_others_tokens_live(&self) {
        let [own, _, others, others_jwt] = &self.records;
        let digest = |index: usize| opaque::digest_of_presented(&self.issued[index]).expect("a token");
        self.tokens.put(&digest(0), own).await.expect("stored");
        assert_eq!(self.tokens.get(&digest(2)).await.expect("read"), StoredToken::Live(Box::new(others.clone())));
        assert!(!self.tokens.is_denied(&others_jwt.jti).await.expect("read"));
    }
}

/// Registers the clients and gives them their tokens.
async fn issue(
    registry: &Arc<SqliteRegistry>,
    tokens: &MemoryTokens,
    secret: &ClientSecret,
) -> ([String; 4], [AccessTokenRecord; 4]) {
    let (realm, now) = (Realm::new(RealmName::root()), SystemClock.now());
    let keyring = Keyring::new(registry.clone(), Arc::new(SystemClock));
    let signers = keyring.signers(&realm.name, SigningAlgorithm::Es256).await.expect("keys");
    let signer = signers.choose(SigningAlgorithm::Es256, now).expect("a key");
    let (mut issued, mut records) = (Vec::new(), Vec::new());
    for (number, id) in [CLIENT.0, "other"].into_iter().enumerate() {
        let metadata = ClientMetadata {
            scope: "read write".parse().expect("a scope"),
            token_endpoint_auth_methods: [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost].into(),
            ..ClientMetadata::new()
        };
        let registration_id = RegistrationId::generate(&SystemRandom).expect("random bytes");
        let client =
            Client::register(id.parse().expect("an id"), &realm, metadata, registration_id, now).expect("valid");
        registry.register(&client, Some(secret)).await.expect("registered");

        let stored = record(&client, "stored".to_owned(), now);
        let token = format!("gwt_{}", URL_SAFE_NO_PAD.encode([u8::try_from(number).expect("small"); 32]));
        tokens.put(&opaque::digest_of_presented(&token).expect("a token"), &stored).await.expect("stored");
        let stateless = record(&client, format!("stateless.{}.{id}", client.registration_id.as_str()), now);
        let claims = json!({
            "iss": stateless.iss, "sub": id, "aud": stateless.iss, "client_id": id, "iat": stateless.iat, "scope": "read",
            "exp": stateless.expires_at, "jti": stateless.jti, "realm": realm.name.path(), "auditTrackingId": "fuzz",
        });
        issued.extend([token, jwt::sign_claims(signer, &claims).expect("signed")]);
        records.extend([stored, stateless]);
    }
    (issued.try_into().expect("four"), records.try_into().expect("four"))
}

fn record(client: &Client, jti: String, now: UnixSeconds) -> AccessTokenRecord {
    let public: PublicUrl = "https://auth.example.com".parse().expect("a URL");
    AccessTokenRecord {
        realm: client.realm.clone(),
        client_id: client.client_id.clone(),
        registration_id: client.registration_id.clone(),
        scope: "read".parse().expect("a scope"),
        iss: public.issuer("/oauth2"),
        aud: Default::default(),
        // A store may not answer for what it may have lost in its first second.
        iat: now.plus(2),
        expires_at: now.plus(30 * 86_400),
        jti,
        audit_tracking_id: "fuzz".to_owned(),
        claims: Default::default(),
        trust_rule: None,
    }
}
