//! Tokens of other issuers, and the rules that they are held against.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use grantwell::app::App;
use grantwell::core::client::Client;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::id::RegistrationId;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client_auth::{AuthenticatedClient, ClientAuthenticator, ClientRequest, Credentials};
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::jwk::SigningKeyPair;
use grantwell::core::keys::jwk_set::JwkSet;
use grantwell::core::params::Params;
use grantwell::core::ports::{Clock as _, Registrar as _};
use grantwell::core::realm::{Issuer, PublicUrl, Realm, RealmName};
use grantwell::core::trust::issuer::{IssuerKeys, IssuerKind, TrustedIssuer};
use grantwell::embedded::adapters::EmbeddedAdapters;
use grantwell::system::{SystemClock, SystemRandom};

use crate::{CLIENT, settings};

/// A text as it is: nobody gets in without the issuer's key. And what an issuer claims of a caller, signed by it: who gets in is what a
/// rule demands, as anybody would read it, is meant for us, and says no more of itself than the registration has it say.
pub fn identity(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    assert!(WORLD.authenticate(text).is_none(), "a forgery");
    let claims = text.replace("IN-A-MINUTE", &SystemClock.now().plus(60).to_string());
    let claims = claims.replace("NOW", &SystemClock.now().to_string());
    let claims = claims.replace("A-NEW-NAME", &NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
    let token = WORLD.sign(&claims);
    let Some(client) = WORLD.authenticate(&token) else { return };

    let claims: Value = serde_json::from_str(&claims).expect("JSON");
    let admission = client.admission.expect("by a rule");
    let audience = if claims["aud"].is_array() { &claims["aud"][0] } else { &claims["aud"] };
    let audience = audience.as_str().expect("a text");
    assert_eq!(audience.strip_suffix('/').unwrap_or(audience), WORLD.issuer.as_str());
    match admission.rule.as_str() {
        "role" => {
            let said = &claims[AWS];
            assert!(claims["iss"] == STS && said["aws_account"] == ACCOUNT, "{claims}");
            let role = claims["sub"].as_str().expect("a text");
            let of_role = role.starts_with(&format!("arn:aws:iam::{ACCOUNT}:role/")) && role.ends_with("/svc-orders");
            let of_session = role.strip_prefix(&format!("arn:aws:sts::{ACCOUNT}:assumed-role/svc-orders/"));
            assert!(of_role || of_session.is_some_and(|session| !session.contains(['/', ':'])), "{claims}");
            assert!(said["principal_id"].is_null() || said["principal_id"] == claims["sub"], "{claims}");
            assert!(said["principal_tags"]["team"] == "billing", "{claims}");
        }
        "service" => {
            assert!(claims["iss"] == OIDC && claims["sub"] == "service-1", "{claims}");
            assert!(claims["level"] == 3 || claims["level"] == "3", "{claims}");
            let name = claims["a.b"]["c/d"].as_str().expect("a text");
            let rest = name.strip_prefix("x-").expect("the glob");
            assert!(!rest.contains(['/', ':']), "{claims}");
        }
        rule => panic!("no rule of this name: {rule}"),
    }
    for (name, fact) in &admission.claims {
        assert!(name == "team" && !fact.is_array() && !fact.is_object() && fact.to_string().len() <= 4096, "{fact}");
    }
}

/// Of tokens.
static NUMBER: AtomicU64 = AtomicU64::new(0);
static WORLD: LazyLock<World> = LazyLock::new(World::new);

const STS: &str = "https://8c0a1b2c-1111-4222-8333-444455556666.tokens.sts.global.api.aws";
const OIDC: &str = "https://idp.example.com";
const AWS: &str = "https://sts.amazonaws.com/";
const ACCOUNT: &str = "111122223333";

/// A client with rules, and two issuers of one key.
struct World {
    runtime: Runtime,
    realm: Realm,
    issuer: Issuer,
    clients: ClientAuthenticator,
    pair: SigningKeyPair,
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let mut realm = Realm::new(RealmName::root());
        let pair = SigningKeyPair::generate(SigningAlgorithm::Es256).expect("a key");
        let public = serde_json::to_vec(&pair.public_jwk().expect("a JWK")).expect("JSON");
        for (name, url, kind) in [("sts", STS, IssuerKind::Aws), ("idp", OIDC, IssuerKind::Oidc)] {
            let keys = IssuerKeys::Jwks(JwkSet::parse(&public).expect("a key"));
            let (name, url) = (name.parse().expect("a name"), url.parse().expect("an issuer"));
            let mut issuer = TrustedIssuer::new(name, url, kind, keys);
            issuer.algs.clear();
            realm.settings.trusted_issuers.push(issuer);
        }
        let trust = json!([
            { "name": "role", "aws": { "account": ACCOUNT, "role": "svc-orders", "tags": { "team": "billing" } } },
            { "name": "service", "issuer": OIDC, "claims": [
                { "path": ["sub"], "equals": "service-1" },
                { "path": ["level"], "equals": "3" },
                { "path": ["a.b", "c/d"], "glob": "x-*" },
            ] },
        ]);
        let metadata = ClientMetadata {
            token_endpoint_auth_methods: [AuthMethod::WorkloadIdentity].into(),
            trust: serde_json::from_value(trust).expect("rules"),
            access_token_claims: r#"{"team":{"from":["team"]}}"#.parse().expect("claims"),
            ..ClientMetadata::new()
        };
        let registration_id = RegistrationId::generate(&SystemRandom).expect("random bytes");
        let id = CLIENT.0.parse().expect("an id");
        let client = Client::register(id, &realm, metadata, registration_id, SystemClock.now()).expect("valid");
        let adapters = EmbeddedAdapters::in_memory().expect("a registry");
        let registry = Arc::clone(adapters.sqlite_registry());
        runtime.block_on(registry.register(&client, None)).expect("registered");
        let Ok(clients) = App::new(adapters, settings(None)).authenticator();
        let issuer = "https://auth.example.com".parse::<PublicUrl>().expect("a URL").issuer("/oauth2");
        Self { runtime, realm, issuer, clients, pair }
    }

    fn sign(&self, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","typ":"JWT"}"#), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(message.as_bytes()).expect("signed");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn authenticate(&self, token: &str) -> Option<AuthenticatedClient> {
        let encoded: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let form = format!("client_id={}&assertion={encoded}", CLIENT.0);
        let params = Params::parse(form.as_bytes()).ok()?;
        let request = ClientRequest::new(&self.realm.name, &self.issuer, &params);
        let credentials = Credentials::from_grant(&request).ok()?;
        self.runtime.block_on(self.clients.authenticate(&self.realm, &credentials)).ok()
    }
}
