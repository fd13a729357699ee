//! Roles of AWS as clients: rows AW-* of docs/protocol-cases.md. How AWS says who has called is read in `src/aws`; here is what comes of it.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use grantwell::app::{App, LOCAL_CACHES, Settings};
use grantwell::core::access_token::settings::TokenLifetime;
use grantwell::core::client::Client;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::id::RegistrationId;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::client_auth::attempts::AttemptLimits;
use grantwell::core::ports::{Clock as _, Registrar as _};
use grantwell::core::realm::{PublicUrl, Realm};
use grantwell::core::realms::RealmDefaults;
use grantwell::core::source::ClientSource;
use grantwell::core::trust::aws::AwsCaller;
use grantwell::core::trust::caller::{CallerByAws, CallerFacts, CallerProblem};
use grantwell::core::trust::rule::TrustRules;
use grantwell::embedded::adapters::EmbeddedAdapters;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::http::routes;
use grantwell::system::{SystemClock, SystemRandom};

const ALPHA: &str = "/oauth2/realms/root/realms/alpha";
const GRANT: &str = "grant_type=client_credentials";
const SECRET: &str = "a-secret-of-the-same-client-0123456789";

/// A realm with clients, behind whatever stands in front.
struct World {
    registry: Arc<SqliteRegistry>,
    realm: Realm,
    router: Router,
}

impl World {
    async fn new() -> Self {
        let realm = Realm { revision: 1, ..Realm::new("alpha".parse().expect("a name")) };
        let adapters = EmbeddedAdapters::in_memory().expect("a registry");
        let registry = Arc::clone(adapters.sqlite_registry());
        registry.put_realm(&realm).await.expect("a realm");
        let realm_defaults = RealmDefaults { root_default_scope: None, access_token_lifetime: TokenLifetime::DEFAULT };
        let attempt_limits = Some(AttemptLimits { failures: 5, ..AttemptLimits::DEFAULT });
        let app = App::new(adapters, Settings { realm_defaults, attempt_limits, caches: LOCAL_CACHES });
        let Ok(routes) = app.client_routes();
        Self { registry, realm, router: routes::finish(routes) }
    }

    /// With a client that is each role of `rules`.
    async fn with(id: &str, rules: Value) -> Self {
        let world = Self::new().await;
        world.register(id, &[AuthMethod::AwsIam], rules).await;
        world
    }

    async fn register(&self, id: &str, methods: &[AuthMethod], rules: Value) {
        let trust: TrustRules = serde_json::from_value(rules).expect("rules");
        let metadata = ClientMetadata {
            scope: "read".parse().expect("a scope"),
            default_scope: Some("read".parse().expect("a scope")),
            token_endpoint_auth_methods: methods.iter().copied().collect(),
            trust,
            ..ClientMetadata::new()
        };
        let registration = RegistrationId::generate(&SystemRandom).expect("random bytes");
        let id = id.parse().expect("an id");
        let client = Client::register(id, &self.realm, metadata, registration, SystemClock.now()).expect("valid");
        let secret = ClientSecret::given(SECRET, false).expect("long enough");
        let secret = methods.contains(&AuthMethod::ClientSecretPost).then_some(&secret);
        self.registry.register(&client, secret).await.expect("registered");
    }

    /// A request for a token in the name of `client_id`, by whom AWS says it is.
    async fn token(&self, caller: Option<CallerByAws>, client_id: &str) -> String {
        self.send("access_token", caller, &[], &format!("{GRANT}&client_id={client_id}")).await
    }

    /// The status and the error, or the status alone.
    async fn send(&self, path: &str, caller: Option<CallerByAws>, headers: &[(&str, &str)], form: &str) -> String {
        let (status, body) = self.answer(path, caller, headers, form).await;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        match body["error"].as_str() {
            Some(error) => format!("{} {error}", status.as_u16()),
            None => status.as_u16().to_string(),
        }
    }

    async fn answer(
        &self,
        path: &str,
        caller: Option<CallerByAws>,
        headers: &[(&str, &str)],
        form: &str,
    ) -> (StatusCode, Vec<u8>) {
        let request = Request::post(format!("{ALPHA}/{path}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let mut request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .extension("https://auth.example.com".parse::<PublicUrl>().expect("a URL"))
            .extension(ClientSource::of([192, 0, 2, 1].into()))
            .body(Body::from(form.to_owned()))
            .expect("a request");
        caller.map(|caller| request.extensions_mut().insert(caller));
        let answer = self.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = answer.into_parts();
        (parts.status, to_bytes(body, usize::MAX).await.expect("a body").to_vec())
    }
}

/// The caller that AWS says this of, as a request has it.
#[expect(clippy::unnecessary_wraps, reason = "a request may have none")]
fn caller_of(arn: &str, id: &str, organization: Option<&str>) -> Option<CallerByAws> {
    let account = arn.split(':').nth(4).expect("an ARN");
    Some(CallerByAws(AwsCaller::of_session(&CallerFacts { arn, account, ids: [id, id], organization })))
}

/// A session of a role, whose name is the session's.
fn role(partition: &str, account: &str, role: &str, id: &str, session: &str) -> Option<CallerByAws> {
    let arn = format!("arn:{partition}:sts::{account}:assumed-role/{role}/{session}");
    caller_of(&arn, &format!("{id}:{session}"), Some("o-a1b2c3d4e5"))
}

fn orders() -> Option<CallerByAws> {
    role("aws", "111122223333", "OrdersRole", "AROAEXAMPLE000000001", "session")
}

fn rule() -> Value {
    json!([{"name": "orders", "aws": {"account": "111122223333", "role": "OrdersRole"}}])
}

#[tokio::test]
async fn aw_01_aw_02_a_role_is_the_client_that_trusts_it_whatever_its_session_is_called() {
    let world = World::with("orders", rule()).await;
    for session in ["session", "AdminRole", "i-0123456789abcdef0"] {
        let caller = role("aws", "111122223333", "OrdersRole", "AROAEXAMPLE000000001", session);
        assert_eq!(world.token(caller, "orders").await, "200", "{session}");
    }
    for (caller, why) in [
        (role("aws", "111122223333", "AnotherRole", "AROAEXAMPLE000000001", "OrdersRole"), "a session of that name"),
        (role("aws", "444455556666", "OrdersRole", "AROAEXAMPLE000000001", "session"), "another account"),
        (role("aws-cn", "111122223333", "OrdersRole", "AROAEXAMPLE000000001", "session"), "another partition"),
        (role("aws", "111122223333", "ordersrole", "AROAEXAMPLE000000001", "session"), "another spelling"),
    ] {
        let world = World::with("orders", rule()).await;
        assert_eq!(world.token(caller, "orders").await, "401 invalid_client", "{why}");
    }
}

#[tokio::test]
async fn aw_03_a_role_that_is_made_again_is_another_by_its_id() {
    let rules = json!([{"name": "orders", "aws": {"account": "111122223333", "role": "OrdersRole", "role_id": "AROAEXAMPLE000000001"}}]);
    let world = World::with("orders", rules).await;
    assert_eq!(world.token(orders(), "orders").await, "200");
    let again = role("aws", "111122223333", "OrdersRole", "AROAEXAMPLE000000002", "session");
    assert_eq!(world.token(again, "orders").await, "401 invalid_client");
}

#[tokio::test]
async fn aw_04_an_organization_is_admitted_by_its_id_and_tags_and_units_by_this_door_never() {
    let rules = json!([{"name": "all", "aws": {"organization": "o-a1b2c3d4e5", "role": "svc-*"}}]);
    let world = World::with("all", rules).await;
    let arn = "arn:aws:sts::444455556666:assumed-role/svc-billing/session";
    let of = |organization| caller_of(arn, "AROAEXAMPLE000000001:session", organization);
    assert_eq!(world.token(of(Some("o-a1b2c3d4e5")), "all").await, "200");
    for other in [None, Some("o-zzzzzzzzzz"), Some("aws:PrincipalOrgID"), Some("o-a1b2c3d4e5/r-ab12/")] {
        let world =
            World::with("all", json!([{"name": "all", "aws": {"organization": "o-a1b2c3d4e5", "role": "svc-*"}}]))
                .await;
        assert_eq!(world.token(of(other), "all").await, "401 invalid_client", "{other:?}");
    }

    let unseen = [
        json!({"account": "111122223333", "role": "OrdersRole", "tags": {"team": "billing"}}),
        json!({"organization": "o-a1b2c3d4e5", "organization_path": "o-a1b2c3d4e5/r-ab12/", "role": "OrdersRole"}),
    ];
    for aws in unseen {
        let world = World::with("orders", json!([{"name": "orders", "aws": aws}])).await;
        assert_eq!(world.token(orders(), "orders").await, "401 invalid_client", "{aws}");
    }
}

#[tokio::test]
async fn aw_05_aw_06_whoever_is_no_role_or_a_contradiction_is_no_client() {
    let any = json!([{"name": "any", "aws": {"account": "111122223333", "role": "*"}}]);
    for caller in [
        Some(CallerByAws(Err(CallerProblem::Missing))),
        caller_of("arn:aws:iam::111122223333:user/OrdersRole", "AIDAEXAMPLE000000001", None),
        caller_of("arn:aws:iam::111122223333:root", "111122223333", None),
        caller_of("arn:aws:sts::111122223333:federated-user/OrdersRole", "111122223333:OrdersRole", None),
        caller_of("arn:aws:sts::111122223333:assumed-role/OrdersRole/session", "AROAEXAMPLE000000001:other", None),
        caller_of("arn:aws:iam::111122223333:role/OrdersRole", "AROAEXAMPLE000000001", None),
    ] {
        let world = World::with("any", any.clone()).await;
        assert_eq!(world.token(caller.clone(), "any").await, "401 invalid_client", "{caller:?}");
    }
    let world = World::with("any", any).await;
    assert_eq!(world.token(orders(), "any").await, "200");
}

#[tokio::test]
async fn aw_07_an_unknown_client_and_one_that_does_not_trust_the_role_get_one_answer() {
    let world = World::with("orders", rule()).await;
    let stranger = || role("aws", "111122223333", "AnotherRole", "AROAEXAMPLE000000001", "session");
    let form = |id: &str| format!("{GRANT}&client_id={id}");
    let known = world.answer("access_token", stranger(), &[], &form("orders")).await;
    let unknown = world.answer("access_token", stranger(), &[], &form("nobody")).await;
    assert_eq!((known.0, &known), (StatusCode::UNAUTHORIZED, &unknown));

    // A client that trusts the role, and is not registered for the method.
    world.register("other", &[AuthMethod::ClientSecretPost], rule()).await;
    assert_eq!(world.answer("access_token", orders(), &[], &form("other")).await, unknown);

    // Guesses are counted like wrong secrets.
    for _ in 0..4 {
        assert_eq!(world.token(stranger(), "orders").await, "401 invalid_client");
    }
    assert_eq!(world.token(stranger(), "orders").await, "429 temporarily_unavailable");
}

#[tokio::test]
async fn aw_08_a_second_method_beside_the_role_is_refused_and_client_id_is_required() {
    let world = World::new().await;
    world.register("orders", &[AuthMethod::AwsIam, AuthMethod::ClientSecretPost], rule()).await;
    let basic: &[(&str, &str)] =
        &[("authorization", "Basic b3JkZXJzOmEtc2VjcmV0LW9mLXRoZS1zYW1lLWNsaWVudC0wMTIzNDU2Nzg5")];
    let bearer: &[(&str, &str)] = &[("authorization", "Bearer x")];
    let assertion =
        "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=a.b.c";
    for (headers, form) in [
        (&[][..], format!("{GRANT}&client_id=orders&client_secret={SECRET}")),
        (&[], format!("{GRANT}&client_id=orders&client_secret=wrong")),
        (&[], format!("{GRANT}&client_id=orders&{assertion}")),
        (&[], format!("{GRANT}&client_id=orders&client_assertion=a.b.c")),
        (basic, format!("{GRANT}&client_id=orders")),
        (basic, GRANT.to_owned()),
        (bearer, format!("{GRANT}&client_id=orders")),
        (&[], GRANT.to_owned()),
        (&[], format!("{GRANT}&client_id=")),
        (&[], format!("{GRANT}&client_id=orders&client_id=orders")),
    ] {
        assert_eq!(
            world.send("access_token", orders(), headers, &form).await,
            "400 invalid_request",
            "{headers:?} {form}"
        );
    }
    // Where AWS says nothing of a caller the same secret is the client's proof, and no second one.
    let form = format!("{GRANT}&client_id=orders&client_secret={SECRET}");
    assert_eq!(world.send("access_token", None, &[], &form).await, "200");
}

#[tokio::test]
async fn aw_09_where_aws_verifies_nobody_the_method_does_not_exist() {
    let world = World::with("orders", rule()).await;
    for headers in [
        &[][..],
        &[("x-amzn-iam-user-arn", "arn:aws:sts::111122223333:assumed-role/OrdersRole/session")],
        &[("authorization", "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=x")],
    ] {
        let form = format!("{GRANT}&client_id=orders&aws_caller=OrdersRole&requestContext={{}}");
        assert_eq!(world.send("access_token", None, headers, &form).await, "401 invalid_client", "{headers:?}");
    }
}

#[tokio::test]
async fn aw_10_a_role_introspects_and_revokes_without_a_secret_and_its_token_has_the_apis_issuer() {
    let world = World::with("orders", rule()).await;
    let (status, body) = world.answer("access_token", orders(), &[], &format!("{GRANT}&client_id=orders")).await;
    assert_eq!(status, StatusCode::OK);
    let token: Value = serde_json::from_slice(&body).expect("JSON");
    let form = format!("client_id=orders&token={}", token["access_token"].as_str().expect("a token"));
    let introspect = async || {
        let (status, body) = world.answer("introspect", orders(), &[], &form).await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice::<Value>(&body).expect("JSON")
    };
    let active = introspect().await;
    let issuer = format!("https://auth.example.com{ALPHA}");
    assert_eq!(
        (&active["active"], &active["client_id"], &active["iss"]),
        (&json!(true), &json!("orders"), &json!(issuer))
    );

    let stranger = role("aws", "111122223333", "AnotherRole", "AROAEXAMPLE000000001", "session");
    for endpoint in ["introspect", "token/revoke"] {
        assert_eq!(world.send(endpoint, stranger.clone(), &[], &form).await, "401 invalid_client", "{endpoint}");
        assert_eq!(world.send(endpoint, None, &[], &form).await, "401 invalid_client", "{endpoint}");
    }
    assert_eq!(world.send("token/revoke", orders(), &[], &form).await, "200");
    assert_eq!(introspect().await, json!({"active": false}));
}

#[tokio::test]
async fn aw_11_a_rule_in_observe_mode_admits_nobody_and_the_first_that_is_satisfied_admits() {
    let mut rules = rule();
    rules[0]["mode"] = json!("observe");
    let world = World::with("orders", rules).await;
    assert_eq!(world.token(orders(), "orders").await, "401 invalid_client");

    let rules = json!([
        {"name": "billing", "aws": {"account": "111122223333", "role": "BillingRole"}},
        {"name": "orders", "aws": {"account": "111122223333", "role": "Orders*"}},
    ]);
    let world = World::with("orders", rules).await;
    assert_eq!(world.token(orders(), "orders").await, "200");
}
