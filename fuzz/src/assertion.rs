//! Assertions by which clients authenticate, and the keys that they are verified with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use grantwell::app::App;
use grantwell::core::client::Client;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::id::RegistrationId;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client_auth::{ClientAuthenticator, ClientRequest, Credentials};
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::jwk::SigningKeyPair;
use grantwell::core::keys::jwk_set::JwkSet;
use grantwell::core::params::Params;
use grantwell::core::ports::{Clock as _, Registrar as _};
use grantwell::core::realm::{Issuer, PublicUrl, Realm, RealmName};
use grantwell::embedded::adapters::EmbeddedAdapters;
use grantwell::system::{SystemClock, SystemRandom};

use crate::{CLIENT, settings};

/// An assertion as it is: nobody gets in without the key. A line of a header and one of claims, signed: who gets in has claimed to be the
/// client, for us, and gets in once. And the same bytes as a set of keys: what is accepted survives storage.
pub fn assertion(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    assert!(!WORLD.authenticates(text), "a forgery");
    if let Some((header, claims)) = text.split_once('\n') {
        let claims = claims.replace("IN-A-MINUTE", &SystemClock.now().plus(60).to_string());
        let claims = claims.replace("A-NEW-NAME", &NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
        let signed = WORLD.sign(header, &claims);
        if WORLD.authenticates(&signed) {
            let claims: Value = serde_json::from_str(&claims).expect("JSON");
            assert!(claims["iss"] == CLIENT.0 && claims["sub"] == CLIENT.0, "{claims}");
            let audience = if claims["aud"].is_array() { &claims["aud"][0] } else { &claims["aud"] };
            let audience = audience.as_str().expect("a text");
            assert_eq!(audience.strip_suffix('/').unwrap_or(audience), WORLD.issuer.as_str());
            assert!(!WORLD.authenticates(&signed), "twice");
        }
    }

    let _fetched = JwkSet::parse_fetched(input);
    if let Ok(keys) = JwkSet::parse(input) {
        let stored = serde_json::to_value(&keys).expect("JSON");
        assert_eq!(serde_json::from_value::<JwkSet>(stored).expect("reads back"), keys);
    }
}

/// Of assertions.
static NUMBER: AtomicU64 = AtomicU64::new(0);
static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// A client with a key.
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
        let realm = Realm::new(RealmName::root());
        let pair = SigningKeyPair::generate(SigningAlgorithm::EdDsa).expect("a key");
        let public = serde_json::to_vec(&pair.public_jwk().expect("a JWK")).expect("JSON");
        let metadata = ClientMetadata {
            token_endpoint_auth_methods: [AuthMethod::PrivateKeyJwt].into(),
            jwks: Some(JwkSet::parse(&public).expect("a key")),
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

    fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(message.as_bytes()).expect("signed");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn authenticates(&self, assertion: &str) -> bool {
        let encoded: String = assertion.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        let form = format!("client_assertion_type={kind}&client_assertion={encoded}");
        let Ok(params) = Params::parse(form.as_bytes()) else { return false };
        let request = ClientRequest::new(&self.realm.name, &self.issuer, &params);
        let Ok(credentials) = Credentials::from_request(&request) else { return false };
        self.runtime.block_on(self.clients.authenticate(&self.realm, &credentials)).is_ok()
    }
}
