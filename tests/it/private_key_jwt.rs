//! Assertions by which clients authenticate: rows J-* of docs/protocol-cases.md (RFC 7521, RFC 7523, RFC 8725).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, thread};

use async_trait::async_trait;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantwell::core::client::Client;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::id::RegistrationId;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client_auth::attempts::{AttemptLimits, FailedAttempts};
use grantwell::core::client_auth::{ClientAuthenticator, ClientRequest, Credentials};
use grantwell::core::error::OAuthError;
use grantwell::core::keys::jwk_set::JwkSet;
use grantwell::core::keys::remote::JwksUri;
use grantwell::core::params::Params;
use grantwell::core::port_error::PortError;
use grantwell::core::ports::{Clock, Registrar as _, RemoteKeys, ReplayGuard};
use grantwell::core::realm::{AssertionAudience, AssertionLifetime, PublicUrl, Realm};
use grantwell::core::replay::ReplayKey;
use grantwell::core::source::ClientSource;
use grantwell::core::time::UnixSeconds;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::embedded::store::replay_guard::MemoryReplayGuard;
use grantwell::system::{SystemClock, SystemRandom};
use serde_json::{Value, json};

use crate::support::cli::{Registered, Store};
use crate::support::http::{GRANT, Request, form_endpoints};
use crate::support::jws::{ClockAt, Signer, with, without};
use crate::support::server::{Server, Start};
use crate::support::shared::{ALPHA, issuer, shared};
use crate::support::{NOTICED_WITHIN, poll};

pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const NOW: u64 = 1_795_415_820;
const ISSUER: &str = "https://auth.example.com/oauth2/realms/root/realms/alpha";

/// Authentication as the endpoints do it, at a time that a test sets.
struct World {
    registry: Arc<SqliteRegistry>,
    realm: Realm,
    authenticator: ClientAuthenticator,
    clock: Arc<ClockAt>,
}

impl World {
    fn new() -> Self {
        Self::guarded_by(Arc::new(MemoryReplayGuard::default()))
    }

    fn guarded_by(guard: Arc<dyn ReplayGuard>) -> Self {
        let registry = Arc::new(SqliteRegistry::in_memory().expect("opened"));
        let clock = Arc::new(ClockAt::new(NOW));
        let authenticator =
            ClientAuthenticator::new(Arc::clone(&registry) as _, Arc::clone(&registry) as _, Arc::clone(&clock) as _);
        let realm = Realm::new("alpha".parse().expect("a name"));
        Self { registry, realm, authenticator: authenticator.guarded_by(guard), clock }
    }

    /// With a client that has these keys.
    async fn with_client(id: &str, keys: &[Value]) -> Self {
        let world = Self::new();
        world.register(id, keys, &[]).await;
        world
    }

    async fn register(&self, id: &str, keys: &[Value], algs: &[&str]) {
        let jwks = JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("keys");
        self.register_with(
            id,
            ClientMetadata {
                jwks: Some(jwks),
                token_endpoint_auth_signing_algs: algs.iter().map(|alg| alg.parse().expect("known")).collect(),
                ..ClientMetadata::new()
            },
        )
        .await;
    }

    async fn register_with(&self, id: &str, metadata: ClientMetadata) {
        let metadata = ClientMetadata { token_endpoint_auth_methods: [AuthMethod::PrivateKeyJwt].into(), ..metadata };
        let registration = RegistrationId::generate(&SystemRandom).expect("random bytes");
        let id = id.parse().expect("an id");
        let client = Client::register(id, &self.realm, metadata, registration, self.clock.now()).expect("valid");
        self.registry.register(&client, None).await.expect("registered");
    }

    fn set_time(&self, now: u64) {
        self.clock.set(now);
    }

    /// `ok` and the client, or the status and the private reason of the refusal.
    async fn authenticate(&self, assertion: &str) -> String {
        self.authenticate_with(assertion, &[]).await
    }

    async fn authenticate_with(&self, assertion: &str, beside: &[(&str, &str)]) -> String {
        let own = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)];
        self.send(&own.iter().chain(beside).copied().collect::<Vec<_>>()).await
    }

    async fn send(&self, parameters: &[(&str, &str)]) -> String {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let params = Params::parse(form.as_bytes()).expect("a form");
        let issuer = "https://auth.example.com".parse::<PublicUrl>().expect("a URL");
        let issuer = issuer.issuer("/oauth2/realms/root/realms/alpha");
        let request = ClientRequest {
            source: Some(ClientSource::of([192, 0, 2, 1].into())),
            ..ClientRequest::new(&self.realm.name, &issuer, &params)
        };
        let refused = |error: &OAuthError| format!("{} {}", error.status(), error.reason());
        match Credentials::from_request(&request) {
            Err(error) => refused(&error),
            Ok(credentials) => match self.authenticator.authenticate(&self.realm, &credentials).await {
                Ok(authenticated) => format!("ok {}", authenticated.client.client_id),
                Err(error) => refused(&error.error),
            },
        }
    }
}

/// What a client claims that does everything right, with a `jti` of its own each time.
fn claims(id: &str) -> Value {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    json!({ "iss": id, "sub": id, "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": format!("jti-{number}") })
}

#[tokio::test]
async fn j_01_j_02_j_29_an_assertion_of_each_algorithm_authenticates_its_client_with_and_without_client_id() {
    for alg in ["ES256", "ES384", "PS256", "EdDSA", "RS256"] {
        let signer = Signer::new(alg);
        let world = World::with_client("app", &[signer.jwk()]).await;
        assert_eq!(world.authenticate(&signer.assertion(&claims("app"))).await, "ok app", "{alg}");
        let assertion = signer.assertion(&claims("app"));
        assert_eq!(world.authenticate_with(&assertion, &[("client_id", "app")]).await, "ok app", "{alg}");
    }
    // Under the name that RFC 9864 has for EdDSA as well.
    let signer = Signer::new("EdDSA");
    let world = World::with_client("app", &[signer.jwk()]).await;
    assert_eq!(world.authenticate(&signer.jws(&json!({ "alg": "Ed25519" }), &claims("app"))).await, "ok app");
}

#[tokio::test]
async fn j_03_j_04_j_05_j_45_parameters_that_do_not_fit_are_invalid_requests() {
    let signer = Signer::new("ES256");
    let world = World::with_client("app", &[signer.jwk()]).await;
    let assertion = || signer.assertion(&claims("app"));
    let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    let (kind, proof) = ("client_assertion_type", "client_assertion");
    for (parameters, expected) in [
        (vec![(kind, ASSERTION_TYPE), (proof, assertion().as_str()), ("client_id", "other")], "400 invalid_request"),
        (vec![(proof, assertion().as_str())], "400 invalid_request"),
        (vec![(kind, ""), (proof, assertion().as_str())], "400 invalid_request"),
        (vec![(kind, saml), (proof, assertion().as_str())], "400 invalid_request"),
        (vec![(kind, &ASSERTION_TYPE.to_uppercase()), (proof, assertion().as_str())], "400 invalid_request"),
        (vec![(kind, ASSERTION_TYPE), (kind, ASSERTION_TYPE), (proof, assertion().as_str())], "400 invalid_request"),
        (vec![(kind, ASSERTION_TYPE), (proof, &assertion()), (proof, &assertion())], "400 invalid_request"),
        (vec![(kind, ASSERTION_TYPE)], "400 invalid_request"),
        (vec![(kind, ASSERTION_TYPE), (proof, "")], "400 invalid_request"),
        (vec![(kind, ASSERTION_TYPE), (proof, &assertion()), ("client_secret", "s")], "400 invalid_request"),
        (vec![("client_id", "app")], "401 no_credentials"),
        (vec![(kind, ASSERTION_TYPE), (proof, assertion().as_str())], "ok app"),
    ] {
        assert_eq!(world.send(&parameters).await, expected, "{parameters:?}");
    }
}

#[tokio::test]
async fn j_06_j_46_no_claim_that_counts_may_be_missing() {
    let signer = Signer::new("ES256");
    let world = World::with_client("app", &[signer.jwk()]).await;
    for claim in ["iss", "sub", "aud", "exp", "jti"] {
        let assertion = signer.assertion(&without(claims("app"), claim));
        assert_eq!(world.authenticate(&assertion).await, "401 assertion_claims_malformed", "{claim}");
    }
    assert_eq!(world.authenticate(&signer.assertion(&without(claims("app"), "iat"))).await, "ok app");
    let other = with(claims("app"), "iss", json!("other"));
    assert_eq!(world.authenticate(&signer.assertion(&other)).await, "401 assertion_issuer_mismatch");
    let other = with(claims("app"), "sub", json!("other"));
    assert_eq!(world.authenticate(&signer.assertion(&other)).await, "401 unknown_client", "the client that sub names");
}

#[tokio::test]
async fn j_07_j_08_a_claim_of_another_type_is_refused() {
    let signer = Signer::new("ES256");
    let world = World::with_client("app", &[signer.jwk()]).await;
    let values = [json!(1), json!("text"), json!({}), json!(null), json!([]), json!(true), json!(-1), json!(1.5)];
    for claim in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"] {
        let is_text = ["iss", "sub", "aud", "jti"].contains(&claim);
        for value in values.iter().filter(|value| !(is_text && value.is_string())) {
            // 1 is a time, if one long ago.
            if !is_text && value.is_u64() {
                continue;
            }
            let assertion = signer.assertion(&with(claims("app"), claim, value.clone()));
            assert_eq!(world.authenticate(&assertion).await, "401 assertion_claims_malformed", "{claim} {value}");
        }
    }
    for (claim, value) in [
        ("iss", json!(["other", "app"])),
        ("sub", json!(["app"])),
        ("jti", json!("")),
        ("jti", json!("j".repeat(513))),
        ("aud", json!([[ISSUER]])),
        ("aud", json!([1])),
    ] {
        let assertion = signer.assertion(&with(claims("app"), claim, value));
        assert_eq!(world.authenticate(&assertion).await, "401 assertion_claims_malformed", "{claim}");
    }
}

#[tokio::test]
async fn j_09_j_10_j_12_j_13_the_audience_is_the_issuer_that_the_request_addressed() {
    let signer = Signer::new("ES256");
    let mut world = World::with_client("app", &[signer.jwk()]).await;
    let of = |audience: Value| signer.assertion(&with(claims("app"), "aud", audience));
    let token_endpoint = format!("{ISSUER}/access_token");
    for accepted in [json!(ISSUER), json!([ISSUER]), json!(format!("{ISSUER}/")), json!([format!("{ISSUER}/")])] {
        assert_eq!(world.authenticate(&of(accepted.clone())).await, "ok app", "{accepted}");
    }
    let wrong = [
        json!(format!("{ISSUER}//")),
        json!(format!("{token_endpoint}/")),
        json!(format!("{ISSUER}/introspect")),
        json!(format!("{ISSUER}/x")),
        json!(ISSUER.replace("alpha", "Alpha")),
        json!(ISSUER.replace("https://auth", "https://AUTH")),
        json!(ISSUER.replace("https", "http")),
        json!(ISSUER.replace("/oauth2", "/am/oauth2")),
        json!(ISSUER.replace("alpha", "alph")),
        json!("https://auth.example.com/oauth2"),
        json!("https://auth.example.com"),
        json!("https://auth.example.org/oauth2/realms/root/realms/alpha"),
        json!(format!("{ISSUER}?")),
        json!(format!("{ISSUER} ")),
        json!([ISSUER, "https://other.example.com"]),
        json!([ISSUER, ISSUER]),
        json!("alpha"),
        json!(""),
    ];
    for audience in &wrong {
        assert_eq!(world.authenticate(&of(audience.clone())).await, "401 assertion_audience_mismatch", "{audience}");
    }
    assert_eq!(world.authenticate(&of(json!(token_endpoint))).await, "401 assertion_audience_mismatch");

    // Only where the realm says so, and nothing else with it.
    world.realm.settings.assertion_audience = Some(AssertionAudience::Compatible);
    for accepted in [json!(ISSUER), json!(token_endpoint), json!([token_endpoint])] {
        assert_eq!(world.authenticate(&of(accepted.clone())).await, "ok app", "{accepted}");
    }
    for audience in &wrong {
        assert_eq!(world.authenticate(&of(audience.clone())).await, "401 assertion_audience_mismatch", "{audience}");
    }
}

#[tokio::test]
async fn j_14_j_15_j_16_j_17_j_18_an_assertion_is_good_for_minutes_by_clocks_that_differ_by_ten_seconds() {
    let signer = Signer::new("ES256");
    let mut world = World::with_client("app", &[signer.jwk()]).await;
    let of = |claim: &str, value: u64| signer.assertion(&with(claims("app"), claim, json!(value)));
    for (claim, time, expected) in [
        ("exp", NOW - 9, "ok app"),
        ("exp", NOW - 10, "401 assertion_expired"),
        ("exp", NOW - 30, "401 assertion_expired"),
        ("exp", NOW - 300, "401 assertion_expired"),
        ("exp", 0, "401 assertion_expired"),
        ("exp", NOW + 300, "ok app"),
        ("exp", NOW + 311, "401 assertion_lifetime_too_long"),
        ("exp", NOW + 3600, "401 assertion_lifetime_too_long"),
        ("exp", u64::MAX, "401 assertion_lifetime_too_long"),
        ("iat", NOW + 8, "ok app"),
        ("nbf", NOW + 8, "ok app"),
        ("iat", NOW + 10, "ok app"),
        ("iat", NOW + 11, "401 assertion_not_yet_valid"),
        ("nbf", NOW + 11, "401 assertion_not_yet_valid"),
        ("iat", NOW + 61, "401 assertion_not_yet_valid"),
        ("nbf", NOW + 61, "401 assertion_not_yet_valid"),
        ("nbf", u64::MAX, "401 assertion_not_yet_valid"),
        ("iat", NOW - 300, "ok app"),
        ("iat", NOW - 311, "401 assertion_lifetime_too_long"),
        ("iat", 0, "401 assertion_lifetime_too_long"),
        ("nbf", 0, "ok app"),
    ] {
        assert_eq!(world.authenticate(&of(claim, time)).await, expected, "{claim} {time}");
    }
    for (text, value) in [("1e300", 1e300), ("-1.0", -1.0)] {
        let claims = claims("app").to_string().replace(&(NOW + 60).to_string(), text);
        let assertion = signer.jws_of_texts(r#"{"alg":"ES256"}"#, &claims);
        assert_eq!(world.authenticate(&assertion).await, "401 assertion_claims_malformed", "{value}");
    }

    // As the realm allows.
    world.realm.settings.assertion_max_lifetime = AssertionLifetime::new(3600).ok();
    assert_eq!(world.authenticate(&of("exp", NOW + 3600)).await, "ok app");
    assert_eq!(world.authenticate(&of("exp", NOW + 3611)).await, "401 assertion_lifetime_too_long");
    world.realm.settings.assertion_max_lifetime = AssertionLifetime::new(30).ok();
    assert_eq!(world.authenticate(&of("exp", NOW + 41)).await, "401 assertion_lifetime_too_long");
    assert_eq!(world.authenticate(&of("exp", NOW + 30)).await, "ok app");
}

#[tokio::test]
async fn j_19_j_21_j_25_j_26_an_assertion_is_used_once_until_its_time_is_over_for_everybody() {
    let (one, two) = (Signer::new("ES256"), Signer::new("EdDSA"));
    let world = World::with_client("one", &[one.jwk()]).await;
    world.register("two", &[two.jwk()], &[]).await;
    let named = |id, exp: u64| with(with(claims(id), "jti", json!("the same")), "exp", json!(exp));
    let first = one.assertion(&named("one", NOW + 60));
    assert_eq!(world.authenticate(&first).await, "ok one");
    assert_eq!(world.authenticate(&first).await, "401 assertion_replayed");
    // Not by another text either, nor by another algorithm's signature over the same.
    assert_eq!(world.authenticate(&one.assertion(&named("one", NOW + 200))).await, "401 assertion_replayed");
    assert_eq!(world.authenticate(&two.assertion(&named("two", NOW + 60))).await, "ok two", "another client's");
    // Within the difference of clocks.
    world.set_time(NOW + 69);
    assert_eq!(world.authenticate(&first).await, "401 assertion_replayed");
    world.set_time(NOW + 70);
    assert_eq!(world.authenticate(&first).await, "401 assertion_expired");
    assert_eq!(world.authenticate(&one.assertion(&named("one", NOW + 120))).await, "ok one", "its time is over");
}

#[tokio::test]
async fn a_jti_is_not_spent_by_who_has_no_key() {
    let (signer, stranger) = (Signer::new("ES256"), Signer::new("ES256"));
    let world = World::with_client("app", &[signer.jwk()]).await;
    let claims = claims("app");
    assert_eq!(world.authenticate(&stranger.assertion(&claims)).await, "401 assertion_signature_invalid");
    assert_eq!(world.authenticate(&signer.assertion(&claims)).await, "ok app");
}

#[tokio::test(flavor = "multi_thread")]
async fn j_20_of_fifty_that_come_at_once_one_is_let_in() {
    let signer = Signer::new("ES256");
    let world = Arc::new(World::with_client("app", &[signer.jwk()]).await);
    let assertion = Arc::new(signer.assertion(&claims("app")));
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (world, assertion) = (Arc::clone(&world), Arc::clone(&assertion));
        requests.spawn(async move { world.authenticate(&assertion).await });
    }
    let mut answers = requests.join_all().await;
    answers.sort_unstable();
    assert_eq!(answers.iter().filter(|answer| *answer == "ok app").count(), 1);
    assert_eq!(answers.iter().filter(|answer| *answer == "401 assertion_replayed").count(), 49);
}

#[tokio::test]
async fn j_27_j_28_nobody_signs_with_nothing_or_with_what_everybody_knows() {
    let signer = Signer::new("RS256");
    let world = World::with_client("app", &[signer.jwk()]).await;
    let claims = claims("app");
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for alg in ["none", "None", "NONE", "nOnE", "HS256", "HS384", "HS512", "", "RS256 ", "rs256", "ES256K", "dir"] {
        let message = format!("{}.{}", part(&json!({ "alg": alg })), part(&claims));
        for signature in [String::new(), URL_SAFE_NO_PAD.encode([0; 32]), URL_SAFE_NO_PAD.encode([0; 256])] {
            let answer = world.authenticate(&format!("{message}.{signature}")).await;
            assert_eq!(answer, "401 assertion_algorithm_not_allowed", "{alg} {signature}");
        }
    }
    let message = format!("{}.{}", part(&json!({ "alg": "RS256" })), part(&claims));
    assert_eq!(world.authenticate(&format!("{message}.")).await, "401 assertion_signature_invalid");
    let modulus = signer.jwk()["n"].to_string();
    let public = [modulus.as_bytes().to_vec(), signer.jwk().to_string().into_bytes()];
    for key in public {
        let message = format!("{}.{}", part(&json!({ "alg": "HS256" })), part(&claims));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
        let tag = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes()));
        let answer = world.authenticate(&format!("{message}.{tag}")).await;
        assert_eq!(answer, "401 assertion_algorithm_not_allowed");
    }
}

#[tokio::test]
async fn j_30_j_31_an_algorithm_is_the_registrations_and_the_keys_and_never_the_headers_alone() {
    let (rsa, p_256, p_384, ed) =
        (Signer::new("RS256"), Signer::new("ES256"), Signer::new("ES384"), Signer::new("EdDSA"));
    let world = World::with_client("any", &[rsa.jwk(), p_384.named("p384")]).await;
    world.register("ps256", &[rsa.jwk()], &["PS256"]).await;
    world.register("own", &[with(rsa.jwk(), "alg", json!("PS256"))], &[]).await;
    let Signer::Rsa(pair, _) = rsa else { unreachable!() };
    let (rs256, ps256) = (Signer::Rsa(pair.clone(), "RS256"), Signer::Rsa(pair, "PS256"));
    for id in ["any", "ps256", "own"] {
        assert_eq!(world.authenticate(&ps256.assertion(&claims(id))).await, format!("ok {id}"));
    }
    assert_eq!(world.authenticate(&rs256.assertion(&claims("any"))).await, "ok any");
    assert_eq!(world.authenticate(&rs256.assertion(&claims("ps256"))).await, "401 assertion_algorithm_not_allowed");
    assert_eq!(world.authenticate(&rs256.assertion(&claims("own"))).await, "401 assertion_key_unknown");
    for (signer, header) in [
        (&p_256, json!({ "alg": "ES256" })),
        (&ed, json!({ "alg": "EdDSA" })),
        (&p_256, json!({ "alg": "ES256", "kid": "p384" })),
        (&rs256, json!({ "alg": "RS256", "kid": "p384" })),
    ] {
        let answer = world.authenticate(&signer.jws(&header, &claims("any"))).await;
        let expected = ["401 assertion_key_unknown", "401 assertion_algorithm_not_allowed"];
        assert!(expected.contains(&answer.as_str()), "{header}: {answer}");
    }
    // One padding for the other.
    let mixed = ps256.jws(&json!({ "alg": "RS256" }), &claims("any"));
    assert_eq!(world.authenticate(&mixed).await, "401 assertion_signature_invalid");
}

#[tokio::test]
async fn j_32_a_key_is_found_by_its_kid_or_is_the_only_one_of_its_algorithm() {
    let (old, new, ed) = (Signer::new("ES256"), Signer::new("ES256"), Signer::new("EdDSA"));
    let world = World::with_client("app", &[old.named("old"), new.named("new"), ed.jwk()]).await;
    let by = |signer: &Signer, kid: &str| signer.jws(&json!({ "alg": signer.alg(), "kid": kid }), &claims("app"));
    assert_eq!(world.authenticate(&by(&old, "old")).await, "ok app");
    assert_eq!(world.authenticate(&by(&new, "new")).await, "ok app", "keys overlap while one replaces the other");
    assert_eq!(world.authenticate(&by(&new, "old")).await, "401 assertion_signature_invalid");
    assert_eq!(world.authenticate(&by(&new, "newer")).await, "401 assertion_key_unknown");
    assert_eq!(world.authenticate(&by(&new, "")).await, "401 assertion_key_unknown");
    assert_eq!(world.authenticate(&ed.assertion(&claims("app"))).await, "ok app", "the only one of its algorithm");
    assert_eq!(world.authenticate(&new.assertion(&claims("app"))).await, "401 assertion_key_not_named");
}

#[tokio::test]
async fn j_34_j_35_a_header_that_brings_a_key_or_asks_for_anything_is_refused_and_others_are_passed_over() {
    let (signer, stranger) = (Signer::new("ES256"), Signer::new("ES256"));
    let world = World::with_client("app", &[signer.jwk()]).await;
    let header = json!({ "alg": "ES256" });
    for (member, value) in [
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("jwk", stranger.jwk()),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["b64"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!("exp")),
        ("crit", json!(null)),
        ("b64", json!(false)),
        ("cty", json!("JWT")),
        ("enc", json!("A256GCM")),
        ("zip", json!("DEF")),
        ("typ", json!(1)),
        ("kid", json!(1)),
        ("alg", json!(null)),
        ("alg", json!(["ES256"])),
    ] {
        for signer in [&signer, &stranger] {
            let assertion = signer.jws(&with(header.clone(), member, value.clone()), &claims("app"));
            assert_eq!(world.authenticate(&assertion).await, "401 malformed_assertion", "{member} {value}");
        }
    }
    for (member, value) in [("x5t", json!("abc")), ("x5t#S256", json!("abc")), ("iss", json!("app")), ("x", json!({}))]
    {
        let answer = world.authenticate(&signer.jws(&with(header.clone(), member, value), &claims("app"))).await;
        assert_eq!(answer, "ok app", "{member}");
    }
}

#[tokio::test]
async fn j_36_j_37_other_jwts_are_no_assertions() {
    let signer = Signer::new("ES256");
    let world = World::with_client("app", &[signer.jwk()]).await;
    let of = |typ: &str| signer.jws(&json!({ "alg": "ES256", "typ": typ }), &claims("app"));
    for typ in [
        "JWT",
        "jwt",
        "client-authentication+jwt",
        "Client-Authentication+JWT",
        "application/client-authentication+jwt",
        "application/jwt",
    ] {
        assert_eq!(world.authenticate(&of(typ)).await, "ok app", "{typ}");
    }
    for typ in ["at+jwt", "dpop+jwt", "logout+jwt", "token-introspection+jwt", "JOSE", "", "text/jwt", "JWT "] {
        assert_eq!(world.authenticate(&of(typ)).await, "401 malformed_assertion", "{typ}");
    }
    let token = shared().server.jwt(&shared().stateless_app, "write", "");
    assert_eq!(world.authenticate(&token).await, "401 malformed_assertion", "our own access token");
}

#[tokio::test]
async fn j_38_j_39_j_40_a_text_that_is_not_one_short_jws_of_one_reading_is_refused() {
    let signer = Signer::new("ES256");
    let world = World::with_client("app", &[signer.jwk()]).await;
    let good = signer.assertion(&claims("app"));
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let json_form = json!({ "payload": payload, "protected": header, "signature": signature }).to_string();
    // Other characters of the same bytes: the last one has four bits that say nothing.
    let next = |last: char| char::from_u32(u32::from(last) + 1).expect("a character");
    let uncanonical = format!("{}{}", &good[..good.len() - 1], next(good.chars().last().expect("the last one")));
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(1500), "]".repeat(1500));
    let twice = claims("app").to_string().replacen('{', r#"{"sub":"app","#, 1);
    let nested_twice = claims("app").to_string().replacen('{', r#"{"x":[{"a":1,"a":1}],"#, 1);
    let long = with(claims("app"), "x", json!("x".repeat(8 * 1024)));
    let texts = [
        String::from("a"),
        format!("{header}.{payload}"),
        format!("{good}.{signature}"),
        format!("{good}.{signature}.{signature}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("{good}="),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}\0"),
        good.replace('.', ". "),
        ".".repeat(8000),
        ".".repeat(60_000),
        json_form,
        signer.jws_of_texts(r#"{"alg":"ES256"}"#, &deep),
        signer.jws_of_texts(&deep, &claims("app").to_string()),
        signer.jws_of_texts(r#"{"alg":"ES256","alg":"ES256"}"#, &claims("app").to_string()),
        signer.jws_of_texts(r#"{"alg":"ES256"}"#, &twice),
        signer.jws_of_texts(r#"{"alg":"ES256"}"#, &nested_twice),
        signer.jws_of_texts(r#"{"alg":"ES256"}"#, "[]"),
        signer.jws_of_texts(r#"{"alg":"ES256"}"#, &good),
        signer.jws_of_texts(r#"["ES256"]"#, &claims("app").to_string()),
        signer.jws_of_texts("{\"alg\":\"ES256\"}x", &claims("app").to_string()),
        signer.assertion(&long),
    ];
    for text in &texts {
        assert_eq!(world.authenticate(text).await, "401 malformed_assertion", "{text:.200}");
    }
    assert_eq!(world.authenticate(&uncanonical).await, "401 malformed_assertion");
    assert_eq!(world.authenticate(&good).await, "ok app");
}

#[tokio::test]
async fn j_41_a_key_ends_when_its_owner_or_the_registration_says_so() {
    let signer = Signer::new("ES256");
    let world = World::with_client("app", &[with(signer.jwk(), "exp", json!(NOW + 30))]).await;
    let of = |now: u64| signer.assertion(&with(with(claims("app"), "exp", json!(now + 60)), "iat", json!(now)));
    assert_eq!(world.authenticate(&of(NOW)).await, "ok app");
    world.set_time(NOW + 30);
    assert_eq!(world.authenticate(&of(NOW + 30)).await, "401 assertion_key_unknown");
}

#[tokio::test]
async fn j_44_j_47_signatures_of_nobody_are_refused() {
    for alg in ["ES256", "ES384", "EdDSA", "PS256", "RS256"] {
        let signer = Signer::new(alg);
        let world = World::with_client("app", &[signer.jwk()]).await;
        let good = signer.assertion(&claims("app"));
        let (message, signature) = good.rsplit_once('.').expect("a signature");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        let half = signature.len() / 2;
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut forged = signature.clone();
            change(&mut forged);
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(forged))
        };
        let forgeries = [
            changed(&|forged| forged.fill(0)),
            changed(&|forged| forged.fill(0xff)),
            changed(&|forged| forged[..half].fill(0)),
            changed(&|forged| forged[half..].fill(0)),
            changed(&|forged| forged[half..].fill(0xff)),
            changed(&|forged| forged[0] ^= 1),
            changed(&|forged| *forged.last_mut().expect("bytes") ^= 1),
            changed(&|forged| forged.push(0)),
            changed(&|forged| forged.truncate(half)),
            changed(&|forged| forged.insert(0, 0)),
            changed(&Vec::clear),
            format!("{}.{}", Signer::new(alg).assertion(&claims("app")).rsplit_once('.').expect("one").0, "AAAA"),
        ];
        for forged in &forgeries {
            assert_eq!(world.authenticate(forged).await, "401 assertion_signature_invalid", "{alg} {forged}");
        }
        assert_eq!(world.authenticate(&good).await, "ok app");
    }

    // As X.509 has it, not as JWS.
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
    let signer = Signer::Es256(pair);
    let world = World::with_client("app", &[signer.jwk()]).await;
    assert_eq!(world.authenticate(&signer.assertion(&claims("app"))).await, "401 assertion_signature_invalid");

    // S plus the order of the group: the same signature for who does not look (RFC 8032 §5.1.7).
    let signer = Signer::new("EdDSA");
    let world = World::with_client("app", &[signer.jwk()]).await;
    let good = signer.assertion(&claims("app"));
    let (message, signature) = good.rsplit_once('.').expect("a signature");
    let mut signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let mut order = [0_u8; 32];
    order[..16].copy_from_slice(&[
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    ]);
    order[31] = 0x10;
    let mut carry = 0;
    for (byte, more) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    let malleable = format!("{message}.{}", URL_SAFE_NO_PAD.encode(&signature));
    assert_eq!(world.authenticate(&malleable).await, "401 assertion_signature_invalid");
    assert_eq!(world.authenticate(&good).await, "ok app");
}

#[tokio::test]
async fn a_client_without_keys_a_client_of_nobody_and_a_wrong_key_are_refused_alike_in_public() {
    let signer = Signer::new("ES256");
    let world = World::with_client("app", &[Signer::new("ES256").jwk()]).await;
    for (id, reason) in
        [("app", "assertion_signature_invalid"), ("nobody", "unknown_client"), ("no client id", "unknown_client")]
    {
        assert_eq!(world.authenticate(&signer.assertion(&claims(id))).await, format!("401 {reason}"), "{id}");
    }
}

/// A guard that nobody reaches.
struct Down;

#[async_trait]
impl ReplayGuard for Down {
    async fn first_use(&self, _: &ReplayKey, _: UnixSeconds, _: UnixSeconds) -> Result<bool, PortError> {
        Err(PortError::Unavailable { service: "DynamoDB", detail: "down".to_owned() })
    }
}

#[tokio::test]
async fn while_nobody_remembers_what_was_used_nothing_is_accepted() {
    let (signer, stranger) = (Signer::new("ES256"), Signer::new("ES256"));
    let world = World::guarded_by(Arc::new(Down));
    world.register("app", &[signer.jwk()], &[]).await;
    assert_eq!(world.authenticate(&signer.assertion(&claims("app"))).await, "503 temporarily_unavailable");
    assert_eq!(world.authenticate(&stranger.assertion(&claims("app"))).await, "401 assertion_signature_invalid");
    let unguarded = {
        let (registry, clock) = (Arc::clone(&world.registry), Arc::clone(&world.clock));
        let authenticator =
            ClientAuthenticator::new(Arc::clone(&registry) as _, Arc::clone(&registry) as _, Arc::clone(&clock) as _);
        World { registry, realm: world.realm.clone(), authenticator, clock }
    };
    assert_eq!(unguarded.authenticate(&signer.assertion(&claims("app"))).await, "503 temporarily_unavailable");
}

#[tokio::test]
async fn failed_assertions_count_as_failed_attempts_and_one_that_is_repeated_does_not() {
    let (signer, stranger) = (Signer::new("ES256"), Signer::new("ES256"));
    let mut world = World::with_client("app", &[signer.jwk()]).await;
    let limits = AttemptLimits { failures: 3, window_seconds: 60 };
    world.authenticator = {
        let registry = Arc::clone(&world.registry);
        ClientAuthenticator::new(Arc::clone(&registry) as _, registry as _, Arc::clone(&world.clock) as _)
            .guarded_by(Arc::new(MemoryReplayGuard::default()))
            .limited_by(Some(Arc::new(FailedAttempts::new(limits))))
    };
    let seen = signer.assertion(&claims("app"));
    assert_eq!(world.authenticate(&seen).await, "ok app");
    for _ in 0..10 {
        assert_eq!(world.authenticate(&seen).await, "401 assertion_replayed");
    }
    assert_eq!(world.authenticate(&signer.assertion(&claims("app"))).await, "ok app");
    for _ in 0..3 {
        let forged = stranger.assertion(&claims("app"));
        assert_eq!(world.authenticate(&forged).await, "401 assertion_signature_invalid");
    }
    assert_eq!(world.authenticate(&signer.assertion(&claims("app"))).await, "429 too_many_failed_attempts");
}

/// Keys at an address: those that are remembered, and those that another look finds.
struct Address {
    remembered: JwkSet,
    newer: Option<JwkSet>,
}

#[async_trait]
impl RemoteKeys for Address {
    async fn remote_keys(&self, _: &JwksUri) -> Result<Arc<JwkSet>, PortError> {
        Ok(Arc::new(self.remembered.clone()))
    }

    async fn remote_keys_after_mismatch(&self, _: &JwksUri) -> Result<Option<Arc<JwkSet>>, PortError> {
        Ok(self.newer.clone().map(Arc::new))
    }
}

#[tokio::test]
async fn j_42_keys_at_an_address_are_those_of_the_registration_and_without_who_fetches_them_nobody_is_let_in() {
    let signer = Signer::new("ES256");
    let mut world = World::new();
    let address = JwksUri::public("https://app.example.com/jwks.json".parse().expect("a URL"));
    world.register_with("app", ClientMetadata { jwks_uri: Some(address), ..ClientMetadata::new() }).await;
    assert_eq!(world.authenticate(&signer.assertion(&claims("app"))).await, "503 temporarily_unavailable");
    let remembered = JwkSet::parse(signer.jwk().to_string().as_bytes()).expect("a key");
    world.authenticator = world.authenticator.fetching(Arc::new(Address { remembered, newer: None }));
    assert_eq!(world.authenticate(&signer.assertion(&claims("app"))).await, "ok app");
}

/// The type and the assertion of a client of realm alpha that is registered for this.
pub(crate) fn assertion_of_a_client(name: &str) -> (&'static str, String) {
    let (signer, id) = (Signer::new("ES256"), format!("asserting-{name}"));
    registered(&shared().store, &id, &[signer.jwk()]);
    (ASSERTION_TYPE, signer.assertion(&fresh(&id, &issuer(ALPHA))))
}

/// Registers a client of realm alpha that has the key of `signer`.
fn registered(store: &Store, id: &str, keys: &[Value]) -> Registered {
    let file = store.directory().join(format!("{id}.json"));
    fs::write(&file, json!({ "keys": keys }).to_string()).expect("written");
    let file = file.display().to_string();
    let settings = ["--scope", "a", "--default-scope", "a", "--auth-method", "private_key_jwt", "--jwks", &file];
    store.register("alpha", id, &settings)
}

fn now() -> u64 {
    SystemClock.now().0
}

pub(crate) fn fresh(id: &str, audience: &str) -> Value {
    let now = now();
    let claims = with(with(claims(id), "exp", json!(now + 60)), "iat", json!(now));
    with(claims, "aud", json!(audience))
}

fn with_assertion(path: &str, form: &str, assertion: &str) -> Request {
    Request::form(path, format!("{form}&client_assertion_type={ASSERTION_TYPE}&client_assertion={assertion}"))
}

#[test]
fn j_23_an_assertion_works_at_each_endpoint_and_at_one_of_them() {
    let signer = Signer::new("ES256");
    let client = registered(&shared().store, "j-23", &[signer.jwk()]);
    assert_eq!(client.client_secret, "", "nobody makes a secret that no method uses");
    for (endpoint, form) in form_endpoints() {
        let assertion = signer.assertion(&fresh("j-23", &issuer(ALPHA)));
        let used = with_assertion(&format!("{ALPHA}/{endpoint}"), form, &assertion).send(&shared().server);
        assert_eq!(used.status, 200, "{used:?}");
        for (endpoint, form) in form_endpoints() {
            let answer = with_assertion(&format!("{ALPHA}/{endpoint}"), form, &assertion).send(&shared().server);
            answer.assert_401("alpha");
        }
    }
}

#[test]
fn an_assertion_for_another_base_path_of_the_realm_is_for_another_issuer() {
    let signer = Signer::new("EdDSA");
    registered(&shared().store, "j-12", &[signer.jwk()]);
    let am = format!("/am{ALPHA}");
    for (base, audience, is_accepted) in
        [(ALPHA, ALPHA, true), (ALPHA, &am, false), (&am, &am, true), (&am, ALPHA, false), (ALPHA, "/oauth2", false)]
    {
        let assertion = signer.assertion(&fresh("j-12", &issuer(audience)));
        let answer = with_assertion(&format!("{base}/access_token"), GRANT, &assertion).send(&shared().server);
        assert_eq!(answer.status == 200, is_accepted, "{audience} at {base}: {answer:?}");
    }
}

#[test]
fn a_removed_key_ends_and_a_new_one_works_while_the_server_runs_and_nothing_of_an_assertion_is_logged() {
    let (old, new) = (Signer::new("ES256"), Signer::new("ES256"));
    let store = Store::new();
    store.set_realm("alpha", &[]);
    let client = registered(&store, "rotated", &[old.named("old")]);
    let mut server = Start::on(&store.argument()).spawn();
    let issuer = format!("{}{ALPHA}", server.url());
    let ask = |signer: &Signer, kid: &str| {
        let header = json!({ "alg": "ES256", "kid": kid });
        let assertion = signer.jws(&header, &fresh("rotated", &issuer));
        (with_assertion(&format!("{ALPHA}/access_token"), GRANT, &assertion).send(&server), assertion)
    };
    let (answer, used) = ask(&old, "old");
    answer.assert_token("a");
    with_assertion(&format!("{ALPHA}/access_token"), GRANT, &used).send(&server).assert_401("alpha");

    // Both, and the new one is known at once.
    registered_keys(&store, &client, &[old.named("old"), new.named("new")]);
    ask(&new, "new").0.assert_token("a");
    ask(&old, "old").0.assert_token("a");

    registered_keys(&store, &client, &[new.named("new")]);
    poll("the removed key ends", NOTICED_WITHIN, || {
        thread::sleep(std::time::Duration::from_secs(1));
        (ask(&old, "old").0.status == 401).then_some(())
    });
    ask(&new, "new").0.assert_token("a");

    server.signal("TERM");
    assert!(server.wait().success());
    let (stdout, stderr) = server.into_output();
    let log = format!("{stdout}{stderr}");
    assert!(log.contains("assertion_replayed") && log.contains("assertion_key_unknown"), "{log}");
    for part in used.split('.') {
        assert!(!log.contains(part), "{log}");
    }
}

fn registered_keys(store: &Store, client: &Registered, keys: &[Value]) {
    let file = store.directory().join("keys.json");
    fs::write(&file, json!({ "keys": keys }).to_string()).expect("written");
    store.client("update", client, &["--jwks", &file.display().to_string()]);
}

#[test]
fn what_was_used_is_remembered_by_the_next_server_on_the_same_directory() {
    let signer = Signer::new("ES256");
    let store = Store::new();
    store.set_realm("alpha", &[]);
    registered(&store, "restarted", &[signer.jwk()]);
    let base = "https://auth.example.com";
    let start = || Start::on(&store.argument()).arguments(&["--issuer-base", base]).spawn();
    let assertion = signer.assertion(&fresh("restarted", &format!("{base}{ALPHA}")));
    let request = with_assertion(&format!("{ALPHA}/access_token"), GRANT, &assertion);
    let ask = |server: &Server| request.send(server);
    let mut server = start();
    ask(&server).assert_token("a");
    server.kill();
    drop(server);
    ask(&start()).assert_401("alpha");
}
