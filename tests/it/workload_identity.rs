//! Tokens of other issuers by which clients authenticate: rows W-* of docs/protocol-cases.md (RFC 7521, RFC 7523).

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantwell::core::access_token::claims::CustomClaims;
use grantwell::core::client::Client;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::id::RegistrationId;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client::secret::ClientSecrets;
use grantwell::core::client_auth::attempts::{AttemptLimits, FailedAttempts};
use grantwell::core::client_auth::{AuthenticatedClient, ClientAuthenticator, ClientRequest, Credentials};
use grantwell::core::error::{ClientAuthFailure, OAuthError};
use grantwell::core::keys::jwk_set::JwkSet;
use grantwell::core::params::Params;
use grantwell::core::port_error::PortError;
use grantwell::core::ports::{Clock as _, Registrar as _, RemoteKeys, ReplayGuard, SecretSource};
use grantwell::core::realm::{PublicUrl, Realm};
use grantwell::core::replay::ReplayKey;
use grantwell::core::source::ClientSource;
use grantwell::core::time::UnixSeconds;
use grantwell::core::trust::issuer::{IssuerKeys, IssuerKind, TrustedIssuer};
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::embedded::store::replay_guard::MemoryReplayGuard;
use grantwell::system::{SystemClock, SystemRandom};
use serde_json::{Value, json};

use crate::support::cli::{Registered, Store};
use crate::support::http::{Answer, Request, form_endpoints};
use crate::support::jws::{ClockAt, Signer, with, without};
use crate::support::server::{Server, Start};
use crate::support::shared::ALPHA;
use crate::support::{NOTICED_WITHIN, poll};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const SPIFFE_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const NOW: u64 = 1_795_415_820;
const ISSUER: &str = "https://auth.example.com/oauth2/realms/root/realms/alpha";

const STS: &str = "https://8c0a1b2c-1111-4222-8333-444455556666.tokens.sts.global.api.aws";
const OTHER_STS: &str = "https://0d9e8f7a-5555-4666-8777-888899990000.tokens.sts.global.api.aws";
const GITHUB: &str = "https://token.actions.githubusercontent.com";
const GITLAB: &str = "https://gitlab.com";
const EKS: &str = "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE";
const KUBERNETES: &str = "https://kubernetes.default.svc.cluster.local";
const SPIFFE: &str = "spiffe://example.org";
const OIDC: &str = "https://idp.example.com";

const AWS: &str = "https://sts.amazonaws.com/";
const ACCOUNT: &str = "111122223333";
const ORGANIZATION: &str = "o-a1b2c3d4e5";

/// An issuer of tokens, as it is in reality: what it signs with, what its header has.
struct TestIssuer {
    url: &'static str,
    signer: Signer,
    header: Value,
}

impl TestIssuer {
    fn new(url: &'static str, alg: &'static str, header: Value) -> Self {
        Self { url, signer: Signer::new(alg), header: with(header, "alg", json!(alg)) }
    }

    fn aws(url: &'static str, alg: &'static str) -> Self {
        // As AWS names its keys: in every account alike.
        let kid = if alg == "ES384" { "EC384_0" } else { "RSA_0" };
        Self::new(url, alg, json!({ "kid": kid, "typ": "JWT" }))
    }

    fn github() -> Self {
        Self::new(
            GITHUB,
            "RS256",
            json!({ "typ": "JWT", "kid": "38826b17-6a30-5f9b-b169-8beb8202f723", "x5t": "ykNaY4qM_ta4k2TgZOCEYLkcYlA" }),
        )
    }

    fn kid(&self) -> &str {
        self.header["kid"].as_str().expect("a kid")
    }

    fn jwks(&self) -> JwkSet {
        jwks(&[self.signer.named(self.kid())])
    }

    fn token(&self, claims: &Value) -> String {
        self.signer.jws(&self.header, claims)
    }
}

fn jwks(keys: &[Value]) -> JwkSet {
    JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("keys")
}

fn number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// What `sts:GetWebIdentityToken` has for a Lambda function of an organization.
fn aws_claims(issuer: &str) -> Value {
    let role = format!("arn:aws:iam::{ACCOUNT}:role/service-role/svc-orders");
    json!({
        "aud": ISSUER,
        "sub": role,
        AWS: {
            "aws_account": ACCOUNT,
            "source_region": "eu-west-1",
            "org_id": ORGANIZATION,
            "ou_path": [format!("{ORGANIZATION}/r-ab12/ou-ab12-11111111/ou-ab12-22222222/")],
            "principal_id": role,
            "principal_tags": { "team": "billing", "stage": "prod" },
            "request_tags": { "team": "forged" },
            "lambda_source_function_arn": format!("arn:aws:lambda:eu-west-1:{ACCOUNT}:function:orders"),
        },
        "iss": issuer,
        "exp": NOW + 300,
        "iat": NOW,
        "jti": format!("5c9b6f4e-aaaa-4bbb-8ccc-{:012}", number()),
    })
}

/// What a job of GitHub Actions gets that runs in an environment.
fn github_claims() -> Value {
    json!({
        "jti": format!("example-id-{}", number()),
        "sub": "repo:octo-org/octo-repo:environment:prod",
        "environment": "prod",
        "aud": ISSUER,
        "ref": "refs/heads/main",
        "sha": "0123456789abcdef0123456789abcdef01234567",
        "repository": "octo-org/octo-repo",
        "repository_owner": "octo-org",
        "actor_id": "12",
        "repository_visibility": "private",
        "repository_id": "123456",
        "repository_owner_id": "65",
        "run_id": "9876543210",
        "run_number": "10",
        "run_attempt": "2",
        "runner_environment": "github-hosted",
        "actor": "octocat",
        "workflow": "deploy",
        "head_ref": "",
        "base_ref": "",
        "event_name": "workflow_dispatch",
        "ref_type": "branch",
        "ref_protected": "true",
        "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
        "iss": GITHUB,
        "nbf": NOW - 600,
        "exp": NOW + 300,
        "iat": NOW,
    })
}

fn gitlab_claims() -> Value {
    json!({
        "namespace_id": "72",
        "namespace_path": "my-group",
        "project_id": "20",
        "project_path": "my-group/my-project",
        "user_id": "1",
        "user_login": "sample-user",
        "pipeline_id": "574",
        "pipeline_source": "push",
        "job_id": "302",
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "environment": "prod",
        "environment_protected": "false",
        "runner_id": 1,
        "runner_environment": "self-hosted",
        "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "project_visibility": "public",
        "jti": format!("235b3a54-b797-45c7-ae9a-{:012}", number()),
        "iat": NOW,
        "nbf": NOW - 5,
        "exp": NOW + 3600,
        "iss": GITLAB,
        "sub": "project_path:my-group/my-project:ref_type:branch:ref:main",
        "aud": ISSUER,
    })
}

/// A projected token of a pod: a list of one audience, and no `jti` before version 1.32.
fn kubernetes_claims(issuer: &str) -> Value {
    json!({
        "aud": [ISSUER],
        "exp": NOW + 3600,
        "iat": NOW - 3000,
        "iss": issuer,
        "kubernetes.io": {
            "namespace": "orders",
            "node": { "name": "ip-10-0-0-1", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1" },
            "pod": { "name": "api-7d9f8", "uid": "5fb7f3a4-6c2b-4f5a-8a3f-0a1b2c3d4e5f" },
            "serviceaccount": { "name": "api", "uid": "49bc5f00-f6bd-4d4b-a0cc-1f2f35d0f6e7" },
        },
        "nbf": NOW - 3000,
        "sub": "system:serviceaccount:orders:api",
    })
}

/// A JWT-SVID.
fn spiffe_claims() -> Value {
    json!({ "aud": [ISSUER], "exp": NOW + 300, "iat": NOW, "sub": "spiffe://example.org/ns/orders/sa/api" })
}

fn oidc_claims() -> Value {
    json!({
        "iss": OIDC, "sub": "service-1", "aud": ISSUER, "exp": NOW + 300, "iat": NOW, "jti": format!("{}", number()),
        "team": "billing", "level": 3, "admin": true, "groups": ["a", "b"], "nested": { "a": [{ "b": "c" }] },
    })
}

/// Keys of issuers that a test publishes, and how often they were asked for.
#[derive(Default)]
struct Published {
    keys: Mutex<HashMap<String, Arc<JwkSet>>>,
    newer: Mutex<HashMap<String, Arc<JwkSet>>>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl RemoteKeys for Published {
    async fn remote_keys(&self, _: &grantwell::core::keys::remote::JwksUri) -> Result<Arc<JwkSet>, PortError> {
        Err(PortError::Unavailable { service: "keys", detail: "none".to_owned() })
    }

    async fn remote_keys_after_mismatch(
        &self,
        _: &grantwell::core::keys::remote::JwksUri,
    ) -> Result<Option<Arc<JwkSet>>, PortError> {
        Ok(None)
    }

    async fn issuer_keys(&self, issuer: &TrustedIssuer) -> Result<Arc<JwkSet>, PortError> {
        let url = issuer.issuer.as_str();
        self.asked.lock().expect("no test panics").push(url.to_owned());
        let keys = self.keys.lock().expect("no test panics").get(url).cloned();
        keys.ok_or_else(|| PortError::Unavailable { service: "keys", detail: "away".to_owned() })
    }

    async fn issuer_keys_after_mismatch(&self, issuer: &TrustedIssuer) -> Result<Option<Arc<JwkSet>>, PortError> {
        let url = issuer.issuer.as_str();
        self.asked.lock().expect("no test panics").push(format!("anew {url}"));
        Ok(self.newer.lock().expect("no test panics").get(url).cloned())
    }
}

impl Published {
    fn publish(&self, issuer: &TestIssuer) {
        self.keys.lock().expect("no test panics").insert(issuer.url.to_owned(), Arc::new(issuer.jwks()));
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("no test panics"))
    }
}

/// Secrets that let everybody look again: what another look costs is another test's.
struct Looking(Arc<SqliteRegistry>);

#[async_trait]
impl SecretSource for Looking {
    async fn secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        self.0.secrets(client).await
    }

    async fn admits_another_look(&self, _: &Client) -> bool {
        true
    }
}

/// Authentication as the endpoints do it, at a time that a test sets.
struct World {
    registry: Arc<SqliteRegistry>,
    realm: Realm,
    authenticator: ClientAuthenticator,
    clock: Arc<ClockAt>,
    published: Arc<Published>,
}

impl World {
    fn new() -> Self {
        Self::guarded_by(Arc::new(MemoryReplayGuard::default()))
    }

    fn guarded_by(guard: Arc<dyn ReplayGuard>) -> Self {
        let registry = Arc::new(SqliteRegistry::in_memory().expect("opened"));
        let (clock, published) = (Arc::new(ClockAt::new(NOW)), Arc::new(Published::default()));
        let looking = Arc::new(Looking(Arc::clone(&registry)));
        let authenticator = ClientAuthenticator::new(Arc::clone(&registry) as _, looking, Arc::clone(&clock) as _)
            .guarded_by(guard)
            .fetching(Arc::clone(&published) as _);
        let realm = Realm::new("alpha".parse().expect("a name"));
        Self { registry, realm, authenticator, clock, published }
    }

    /// With this issuer's keys in the realm.
    fn trusting(mut self, issuer: &TestIssuer, kind: IssuerKind) -> Self {
        self.trust(issuer, kind, |_| {});
        self
    }

    fn trust(&mut self, issuer: &TestIssuer, kind: IssuerKind, change: impl FnOnce(&mut TrustedIssuer)) {
        let name = format!("issuer-{}", self.realm.settings.trusted_issuers.len()).parse().expect("a name");
        let url = issuer.url.parse().expect("an issuer");
        let mut trusted = TrustedIssuer::new(name, url, kind, IssuerKeys::Jwks(issuer.jwks()));
        change(&mut trusted);
        self.realm.settings.trusted_issuers.push(trusted);
    }

    /// One whose keys are fetched.
    fn trusting_at_a_distance(mut self, issuer: &TestIssuer, kind: IssuerKind) -> Self {
        self.trust(issuer, kind, |trusted| {
            trusted.keys = IssuerKeys::Discovery { allow_private_network: false, ca: None };
        });
        self.published.publish(issuer);
        self
    }

    async fn with_client(self, id: &str, trust: Value) -> Self {
        self.register(id, trust, |_| {}).await;
        self
    }

    async fn register(&self, id: &str, trust: Value, change: impl FnOnce(&mut ClientMetadata)) {
        let mut metadata = ClientMetadata {
            token_endpoint_auth_methods: [AuthMethod::WorkloadIdentity].into(),
            trust: serde_json::from_value(trust).expect("rules"),
            ..ClientMetadata::new()
        };
        change(&mut metadata);
        let registration = RegistrationId::generate(&SystemRandom).expect("random bytes");
        let id = id.parse().expect("an id");
        let client = Client::register(id, &self.realm, metadata, registration, UnixSeconds(NOW)).expect("valid");
        self.registry.register(&client, None).await.expect("registered");
    }

    async fn authenticate(&self, client_id: &str, token: &str) -> String {
        self.send(&assertion(client_id, token)).await
    }

    /// `ok`, the client and the rule, or the status and the private reason of the refusal.
    async fn send(&self, parameters: &[(&str, &str)]) -> String {
        match self.try_send(parameters, Credentials::from_request).await {
            Ok(authenticated) => {
                let rule = authenticated.admission.map(|admission| admission.rule.to_string());
                format!("ok {} {}", authenticated.client.client_id, rule.unwrap_or_default())
            }
            Err(error) => format!("{} {}", error.status(), error.reason()),
        }
    }

    async fn admitted(&self, client_id: &str, token: &str) -> AuthenticatedClient {
        self.try_send(&assertion(client_id, token), Credentials::from_request).await.expect("admitted")
    }

    async fn refused(&self, client_id: &str, token: &str) -> OAuthError {
        self.try_send(&assertion(client_id, token), Credentials::from_request).await.expect_err("refused")
    }

    async fn try_send(
        &self,
        parameters: &[(&str, &str)],
        read: impl Fn(&ClientRequest<'_>) -> Result<Credentials, OAuthError>,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let params = Params::parse(form.as_bytes()).expect("a form");
        let issuer = "https://auth.example.com".parse::<PublicUrl>().expect("a URL");
        let issuer = issuer.issuer("/oauth2/realms/root/realms/alpha");
        let request = ClientRequest {
            source: Some(ClientSource::of([192, 0, 2, 1].into())),
            ..ClientRequest::new(&self.realm.name, &issuer, &params)
        };
        let credentials = read(&request)?;
        self.authenticator.authenticate(&self.realm, &credentials).await.map_err(|refused| refused.error)
    }
}

fn assertion<'a>(client_id: &'a str, token: &'a str) -> [(&'a str, &'a str); 3] {
    [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", token), ("client_id", client_id)]
}

fn path(names: &[&str], test: &str, value: Value) -> Value {
    with(json!({ "path": names }), test, value)
}

/// One rule for a role of one account.
fn of_role() -> Value {
    json!([{ "name": "orders", "aws": { "account": ACCOUNT, "role": "svc-orders" } }])
}

/// One rule for roles of all accounts of an organization.
fn of_organization() -> Value {
    json!([{ "name": "org", "aws": {
        "organization": ORGANIZATION, "organization_path": format!("{ORGANIZATION}/r-ab12/ou-ab12-11111111/"),
        "role": "svc-*", "tags": { "team": "billing" },
    } }])
}

fn of_github() -> Value {
    let claims = [path(&["repository_id"], "equals", json!("123456")), path(&["environment"], "equals", json!("prod"))];
    json!([{ "name": "deploy", "issuer": GITHUB, "claims": claims }])
}

fn of_oidc() -> Value {
    json!([{ "name": "service", "issuer": OIDC, "claims": [path(&["sub"], "equals", json!("service-1"))] }])
}

fn of_pod(issuer: &str) -> Value {
    let sub = path(&["sub"], "equals", json!("system:serviceaccount:orders:api"));
    json!([{ "name": "pod", "issuer": issuer, "claims": [sub] }])
}

fn of_svid() -> Value {
    let sub = path(&["sub"], "equals", json!("spiffe://example.org/ns/orders/sa/api"));
    json!([{ "name": "svid", "issuer": SPIFFE, "claims": [sub] }])
}

fn oidc() -> TestIssuer {
    TestIssuer::new(OIDC, "ES256", json!({ "kid": "k1" }))
}

async fn oidc_world(issuer: &TestIssuer) -> World {
    World::new().trusting(issuer, IssuerKind::Oidc).with_client("app", of_oidc()).await
}

fn within(mut claims: Value, member: &str, value: Value) -> Value {
    claims[AWS][member] = value;
    claims
}

fn lacking(mut claims: Value, member: &str) -> Value {
    claims[AWS].as_object_mut().expect("an object").remove(member);
    claims
}

#[tokio::test]
async fn w_01_a_role_of_aws_is_the_client_by_the_token_that_aws_makes_of_it() {
    for alg in ["ES384", "RS256"] {
        let sts = TestIssuer::aws(STS, alg);
        let world = World::new().trusting(&sts, IssuerKind::Aws).with_client("app", of_role()).await;
        world.register("billing", of_organization(), |_| {}).await;
        assert_eq!(world.authenticate("app", &sts.token(&aws_claims(STS))).await, "ok app orders", "{alg}");
        assert_eq!(world.authenticate("billing", &sts.token(&aws_claims(STS))).await, "ok billing org", "{alg}");
    }
}

#[tokio::test]
async fn w_02_an_organizations_accounts_need_not_be_registered_and_others_do() {
    let sts = TestIssuer::aws(STS, "ES384");
    let world = World::new().trusting(&oidc(), IssuerKind::Oidc).with_client("billing", of_organization()).await;
    world
        .register(
            "app",
            json!([{ "name": "pod", "issuer": OIDC, "claims": [path(&["sub"], "equals", json!("x"))] }]),
            |_| {},
        )
        .await;
    world.published.publish(&sts);
    assert_eq!(world.authenticate("billing", &sts.token(&aws_claims(STS))).await, "ok billing org");
    assert_eq!(world.published.asked(), [STS]);
    // A client whose rules say nothing of an organization makes nobody look anything up.
    assert_eq!(world.authenticate("app", &sts.token(&aws_claims(STS))).await, "401 issuer_not_trusted");
    assert_eq!(world.authenticate("nobody", &sts.token(&aws_claims(STS))).await, "401 unknown_client");
    assert_eq!(world.published.asked(), [""; 0]);
}

#[tokio::test]
async fn w_03_a_rule_without_an_organization_takes_no_issuer_that_nobody_has_registered() {
    let sts = TestIssuer::aws(STS, "ES384");
    let both = json!([
        { "name": "role", "aws": { "account": ACCOUNT, "role": "svc-orders" } },
        { "name": "elsewhere", "aws": { "organization": "o-zzzzzzzzzz", "account": ACCOUNT, "role": "svc-orders" } },
    ]);
    let world = World::new().with_client("app", both).await;
    world.published.publish(&sts);
    assert_eq!(world.authenticate("app", &sts.token(&aws_claims(STS))).await, "401 no_trust_rule");
    let lacks = lacks(&world.refused("app", &sts.token(&aws_claims(STS))).await);
    assert!(lacks.starts_with("rule role (issuer: different); rule elsewhere (aws.organization: different"), "{lacks}");
}

#[tokio::test]
async fn w_04_a_job_of_github_is_the_client_by_its_repository_and_environment_whatever_its_sub_is() {
    let github = TestIssuer::github();
    let world = World::new().trusting(&github, IssuerKind::Github).with_client("deploy", of_github()).await;
    for sub in [
        "repo:octo-org/octo-repo:environment:prod",
        "repo:octo-org@65/octo-repo@123456:environment:prod",
        "repository_owner_id:65:repository_visibility:private",
    ] {
        let token = github.token(&with(github_claims(), "sub", json!(sub)));
        assert_eq!(world.authenticate("deploy", &token).await, "ok deploy deploy", "{sub}");
    }
    // A repository of the same name that somebody has made since, and a pull request of a fork.
    for (claim, value) in [("repository_id", json!("999")), ("environment", json!("dev"))] {
        let token = github.token(&with(github_claims(), claim, value));
        assert_eq!(world.authenticate("deploy", &token).await, "401 no_trust_rule", "{claim}");
    }
    let token = github.token(&without(github_claims(), "environment"));
    assert_eq!(world.authenticate("deploy", &token).await, "401 no_trust_rule");
}

#[tokio::test]
async fn w_05_jobs_of_gitlab_pods_and_workloads_of_spiffe_are_clients() {
    let gitlab =
        TestIssuer::new(GITLAB, "RS256", json!({ "kid": "4i3sFE7sxqNPOT7FdvcGA1ZVGGI_r-tsDXnEuYT4ZqE", "typ": "JWT" }));
    let eks = TestIssuer::new(EKS, "RS256", json!({ "kid": "7b3f9a" }));
    let cluster = TestIssuer::new(KUBERNETES, "RS256", json!({ "kid": "cl" }));
    let spire = TestIssuer::new(SPIFFE, "ES256", json!({ "kid": "sp", "typ": "JOSE" }));
    let mut world = World::new()
        .trusting(&gitlab, IssuerKind::Gitlab)
        .trusting(&eks, IssuerKind::Eks)
        .trusting(&cluster, IssuerKind::Kubernetes);
    world.trust(&spire, IssuerKind::Spiffe, |_| {});
    let project = [path(&["project_id"], "equals", json!("20")), path(&["ref_protected"], "equals", json!("true"))];
    world.register("gitlab", json!([{ "name": "main", "issuer": GITLAB, "claims": project }]), |_| {}).await;
    world.register("eks", of_pod(EKS), |_| {}).await;
    world.register("pod", of_pod(KUBERNETES), |_| {}).await;
    world.register("svid", of_svid(), |_| {}).await;

    assert_eq!(world.authenticate("gitlab", &gitlab.token(&gitlab_claims())).await, "ok gitlab main");
    for _ in 0..2 {
        // A file that is read again.
        let (one, other) = (eks.token(&kubernetes_claims(EKS)), cluster.token(&kubernetes_claims(KUBERNETES)));
        for _ in 0..2 {
            assert_eq!(world.authenticate("eks", &one).await, "ok eks pod");
            assert_eq!(world.authenticate("pod", &other).await, "ok pod pod");
        }
    }
    // One cluster's token is not another's, though all that it says but iss is the same.
    let foreign = eks.token(&kubernetes_claims(EKS));
    assert_eq!(world.authenticate("pod", &foreign).await, "401 issuer_not_trusted");
    let forged = eks.token(&kubernetes_claims(KUBERNETES));
    assert_eq!(world.authenticate("pod", &forged).await, "401 assertion_key_unknown");

    let svid = spire.token(&spiffe_claims());
    let of = |kind| [("client_assertion_type", kind), ("client_assertion", svid.as_str()), ("client_id", "svid")];
    assert_eq!(world.send(&of(SPIFFE_TYPE)).await, "ok svid svid");
    assert_eq!(world.send(&of(ASSERTION_TYPE)).await, "ok svid svid", "for libraries that send no other type");
    // Whatever a SPIRE server puts there for those who ask by OpenID Connect.
    let svid = spire.token(&with(spiffe_claims(), "iss", json!("https://spire.example.org")));
    let of = |kind| [("client_assertion_type", kind), ("client_assertion", svid.as_str()), ("client_id", "svid")];
    assert_eq!(world.send(&of(SPIFFE_TYPE)).await, "ok svid svid");
    assert_eq!(world.send(&of(ASSERTION_TYPE)).await, "401 issuer_not_trusted");
    // Whoever names the trust domain as iss speaks of its own workloads alone.
    let of_domain = |sub: &str| {
        let claims = with(with(spiffe_claims(), "iss", json!(SPIFFE)), "sub", json!(sub));
        spire.token(&claims)
    };
    let own = of_domain("spiffe://example.org/ns/orders/sa/api");
    assert_eq!(world.authenticate("svid", &own).await, "ok svid svid");
    let other = of_domain("spiffe://other.org/ns/orders/sa/api");
    assert_eq!(world.authenticate("svid", &other).await, "401 assertion_claims_malformed");
    for sub in [
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe://other.org/ns/orders/sa/api",
        "api",
        "https://example.org/x",
    ] {
        let svid = spire.token(&with(spiffe_claims(), "sub", json!(sub)));
        let answer = world
            .send(&[("client_assertion_type", SPIFFE_TYPE), ("client_assertion", &svid), ("client_id", "svid")])
            .await;
        let expected = if sub.contains("other") { "401 issuer_not_trusted" } else { "401 assertion_claims_malformed" };
        assert_eq!(answer, expected, "{sub}");
    }
}

#[tokio::test]
async fn w_06_w_07_the_audience_is_the_issuer_that_the_request_addressed_and_nobody_else() {
    let issuer = oidc();
    let world = oidc_world(&issuer).await;
    let of = |audience: Value| issuer.token(&with(oidc_claims(), "aud", audience));
    for accepted in [json!(ISSUER), json!([ISSUER]), json!(format!("{ISSUER}/")), json!([format!("{ISSUER}/")])] {
        assert_eq!(world.authenticate("app", &of(accepted.clone())).await, "ok app service", "{accepted}");
    }
    for audience in [
        json!("sts.amazonaws.com"),
        json!("https://auth.example.com"),
        json!("https://auth.example.com/oauth2"),
        json!(format!("{ISSUER}/access_token")),
        json!(format!("{ISSUER}//")),
        json!(ISSUER.replace("alpha", "beta")),
        json!(ISSUER.replace("https:", "http:")),
        json!(ISSUER.to_uppercase()),
        json!([ISSUER, "https://other.example.com"]),
        json!([ISSUER, ISSUER]),
        json!(""),
        json!("app"),
    ] {
        assert_eq!(
            world.authenticate("app", &of(audience.clone())).await,
            "401 assertion_audience_mismatch",
            "{audience}"
        );
    }
    for audience in [json!([]), json!(null), json!(1), json!({}), json!([[ISSUER]]), json!([1])] {
        assert_eq!(
            world.authenticate("app", &of(audience.clone())).await,
            "401 assertion_claims_malformed",
            "{audience}"
        );
    }
}

#[tokio::test]
async fn w_08_w_09_w_10_a_token_is_good_within_its_time_and_the_age_that_its_issuer_and_the_rule_allow() {
    let issuer = oidc();
    let world = oidc_world(&issuer).await;
    let of = |claim: &str, value: Value| issuer.token(&with(oidc_claims(), claim, value));
    for (claim, time, expected) in [
        ("exp", NOW - 9, "ok app service"),
        ("exp", NOW - 10, "401 assertion_expired"),
        ("exp", 0, "401 assertion_expired"),
        ("exp", NOW + 86_400, "ok app service"),
        ("exp", u64::MAX, "ok app service"),
        ("nbf", NOW + 10, "ok app service"),
        ("nbf", NOW + 11, "401 assertion_not_yet_valid"),
        ("iat", NOW + 11, "401 assertion_not_yet_valid"),
        ("iat", NOW - 600, "ok app service"),
        ("iat", NOW - 609, "ok app service"),
        ("iat", NOW - 610, "401 assertion_too_old"),
        ("iat", 0, "401 assertion_too_old"),
    ] {
        assert_eq!(world.authenticate("app", &of(claim, json!(time))).await, expected, "{claim} {time}");
    }
    for (claim, value) in
        [("exp", json!("soon")), ("exp", json!(1.5)), ("iat", json!(-1)), ("nbf", json!(null)), ("iat", json!([]))]
    {
        assert_eq!(
            world.authenticate("app", &of(claim, value.clone())).await,
            "401 assertion_claims_malformed",
            "{claim} {value}"
        );
    }
    for claim in ["exp", "iat", "sub", "jti"] {
        let token = issuer.token(&without(oidc_claims(), claim));
        assert_eq!(world.authenticate("app", &token).await, "401 assertion_claims_malformed", "{claim}");
    }
    // A rule may be stricter, never laxer.
    let rules = |max_age: u64| with(of_oidc()[0].clone(), "max_age", json!(max_age));
    world.register("strict", json!([rules(60)]), |_| {}).await;
    assert_eq!(world.authenticate("strict", &of("iat", json!(NOW - 50))).await, "ok strict service");
    assert_eq!(world.authenticate("strict", &of("iat", json!(NOW - 120))).await, "401 no_trust_rule");
}

#[tokio::test]
async fn w_11_w_12_a_token_that_is_good_once_is_good_once_for_all_clients_and_after_all_else_is_right() {
    let issuer = oidc();
    let world = oidc_world(&issuer).await;
    world.register("other", of_oidc(), |_| {}).await;
    let elsewhere = json!([{ "name": "no", "issuer": OIDC, "claims": [path(&["sub"], "equals", json!("service-2"))] }]);
    world.register("elsewhere", elsewhere, |_| {}).await;
    let claims = oidc_claims();
    let stranger = TestIssuer { signer: Signer::new("ES256"), ..oidc() };
    assert_eq!(world.authenticate("app", &stranger.token(&claims)).await, "401 assertion_signature_invalid");
    assert_eq!(world.authenticate("elsewhere", &issuer.token(&claims)).await, "401 no_trust_rule");
    assert_eq!(world.authenticate("app", &issuer.token(&claims)).await, "ok app service", "nobody had spent it");
    assert_eq!(world.authenticate("app", &issuer.token(&claims)).await, "401 assertion_replayed");
    assert_eq!(world.authenticate("other", &issuer.token(&claims)).await, "401 assertion_replayed");
    // Within the difference of clocks after its time, too.
    let brief = with(oidc_claims(), "exp", json!(NOW + 5));
    assert_eq!(world.authenticate("app", &issuer.token(&brief)).await, "ok app service");
    world.clock.set(NOW + 14);
    assert_eq!(world.authenticate("app", &issuer.token(&brief)).await, "401 assertion_replayed");
    world.clock.set(NOW);

    // As long as it is taken, whatever the clocks: in every second until the issuer's longest time is over.
    for ahead in [0, 9] {
        let world = oidc_world(&issuer).await;
        let claims = with(with(oidc_claims(), "iat", json!(NOW + ahead)), "exp", json!(NOW + 86_400));
        assert_eq!(world.authenticate("app", &issuer.token(&claims)).await, "ok app service");
        for second in NOW + 590..NOW + 640 {
            world.clock.set(second);
            let answer = world.authenticate("app", &issuer.token(&claims)).await;
            assert!(answer.starts_with("401 "), "{ahead} s ahead, {} s later: {answer}", second - NOW);
        }
    }

    // One that is a file may be used again, unless the rule says otherwise.
    let mut lax = World::new();
    lax.trust(&issuer, IssuerKind::Oidc, |issuer| (issuer.single_use, issuer.max_age) = (false, None));
    let once = with(of_oidc()[0].clone(), "single_use", json!(true));
    lax.register("app", of_oidc(), |_| {}).await;
    lax.register("once", json!([once]), |_| {}).await;
    let token = issuer.token(&oidc_claims());
    for expected in ["ok app service", "ok app service"] {
        assert_eq!(lax.authenticate("app", &token).await, expected);
    }
    assert_eq!(lax.authenticate("once", &token).await, "ok once service");
    assert_eq!(lax.authenticate("once", &token).await, "401 assertion_replayed");
    assert_eq!(
        lax.authenticate("once", &issuer.token(&without(oidc_claims(), "jti"))).await,
        "401 assertion_claims_malformed"
    );
    assert_eq!(lax.authenticate("app", &issuer.token(&without(oidc_claims(), "jti"))).await, "ok app service");
}

#[tokio::test(flavor = "multi_thread")]
async fn w_12_of_fifty_that_come_at_once_with_one_token_one_is_let_in() {
    let issuer = oidc();
    let world = Arc::new(oidc_world(&issuer).await);
    let token = Arc::new(issuer.token(&oidc_claims()));
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (world, token) = (Arc::clone(&world), Arc::clone(&token));
        requests.spawn(async move { world.authenticate("app", &token).await });
    }
    let answers = requests.join_all().await;
    assert_eq!(answers.iter().filter(|answer| *answer == "ok app service").count(), 1);
    assert_eq!(answers.iter().filter(|answer| *answer == "401 assertion_replayed").count(), 49);
}

/// Rows W-13 to W-24: each is a token that AWS, or somebody who would like to be AWS, has made.
#[tokio::test]
async fn w_13_to_w_24_nobody_else_is_a_role_of_aws() {
    let sts = TestIssuer::aws(STS, "ES384");
    let world = World::new().trusting(&sts, IssuerKind::Aws).with_client("app", of_role()).await;
    world.register("billing", of_organization(), |_| {}).await;
    let arn = |partition: &str, account: &str, rest: &str| json!(format!("arn:{partition}:iam::{account}:{rest}"));
    let both = |value: Value| within(with(aws_claims(STS), "sub", value.clone()), "principal_id", value);
    let other_account = "999988887777";
    let foreign = |claims: Value| within(claims, "aws_account", json!(other_account));
    for (what, claims) in [
        ("a role of the same name in another account", foreign(both(arn("aws", other_account, "role/svc-orders")))),
        ("an account that is not the role's", foreign(aws_claims(STS))),
        ("a role whose account is not the token's", both(arn("aws", other_account, "role/svc-orders"))),
        ("a role of the same name in another partition", both(arn("aws-cn", ACCOUNT, "role/svc-orders"))),
        ("principal_id and sub that differ", with(aws_claims(STS), "sub", arn("aws", ACCOUNT, "role/svc-other"))),
        ("the same the other way", within(aws_claims(STS), "principal_id", arn("aws", ACCOUNT, "role/svc-other"))),
        ("an origin identity", with(aws_claims(STS), "sub", json!("repo:octo-org/octo-repo:environment:prod"))),
        (
            "an origin identity that looks like a role",
            with(aws_claims(STS), "sub", arn("aws", ACCOUNT, "role/admin/svc-orders/x")),
        ),
        (
            "a session that looks like a role",
            both(json!(format!("arn:aws:sts::{ACCOUNT}:assumed-role/other/svc-orders"))),
        ),
        (
            "a session's name with a path",
            both(json!(format!("arn:aws:sts::{ACCOUNT}:assumed-role/other/role/svc-orders"))),
        ),
        ("a user", both(arn("aws", ACCOUNT, "user/svc-orders"))),
        ("the root", both(arn("aws", ACCOUNT, "root"))),
        ("a federated user", both(json!(format!("arn:aws:sts::{ACCOUNT}:federated-user/svc-orders")))),
        ("a glob character", both(arn("aws", ACCOUNT, "role/*"))),
        ("a role that ends like it", both(arn("aws", ACCOUNT, "role/xsvc-orders"))),
        ("a role that begins like it", both(arn("aws", ACCOUNT, "role/svc-orders-2"))),
        ("another case", both(arn("aws", ACCOUNT, "role/SVC-orders"))),
        ("nothing after the path", both(arn("aws", ACCOUNT, "role/svc-orders/"))),
        ("no account", lacking(aws_claims(STS), "aws_account")),
        (
            "no principal_id, and a sub of another mode",
            with(lacking(aws_claims(STS), "principal_id"), "sub", json!("svc-orders")),
        ),
        ("an account of another type", within(aws_claims(STS), "aws_account", json!([ACCOUNT]))),
        ("an account in an object", within(aws_claims(STS), "aws_account", json!({ "0": ACCOUNT }))),
        ("the claims in a list", with(aws_claims(STS), AWS, json!([aws_claims(STS)[AWS]]))),
        ("no claims of AWS", without(aws_claims(STS), AWS)),
        (
            "claims of AWS elsewhere",
            with(without(aws_claims(STS), AWS), "https://sts.amazonaws.com", aws_claims(STS)[AWS].clone()),
        ),
    ] {
        let answer = world.authenticate("app", &sts.token(&claims)).await;
        assert_eq!(answer, "401 no_trust_rule", "{what}");
    }
    for (what, claims) in [
        ("no organization", lacking(aws_claims(STS), "org_id")),
        ("another organization", within(aws_claims(STS), "org_id", json!("o-zzzzzzzzzz"))),
        ("an organization in a list", within(aws_claims(STS), "org_id", json!([ORGANIZATION]))),
        ("a longer organization", within(aws_claims(STS), "org_id", json!(format!("{ORGANIZATION}x")))),
        ("an organization of its own making", with(lacking(aws_claims(STS), "org_id"), "org_id", json!(ORGANIZATION))),
        ("no tags", lacking(aws_claims(STS), "principal_tags")),
        ("a tag of the request", within(aws_claims(STS), "principal_tags", json!({}))),
        ("another tag", within(aws_claims(STS), "principal_tags", json!({ "team": "Billing" }))),
        ("a tag in a list", within(aws_claims(STS), "principal_tags", json!({ "team": ["billing"] }))),
        ("no unit", lacking(aws_claims(STS), "ou_path")),
        (
            "another unit",
            within(aws_claims(STS), "ou_path", json!([format!("{ORGANIZATION}/r-ab12/ou-ab12-111111112/")])),
        ),
    ] {
        let answer = world.authenticate("billing", &sts.token(&claims)).await;
        assert_eq!(answer, "401 no_trust_rule", "{what}");
    }
    assert_eq!(world.authenticate("app", &sts.token(&aws_claims(STS))).await, "ok app orders");
}

#[tokio::test]
async fn w_17_another_accounts_issuer_is_admitted_by_what_it_says_of_the_organization_alone() {
    let (sts, other) = (TestIssuer::aws(STS, "ES384"), TestIssuer::aws(OTHER_STS, "ES384"));
    let world = World::new().with_client("billing", of_organization()).await;
    world.published.publish(&sts);
    world.published.publish(&other);
    assert_eq!(world.authenticate("billing", &other.token(&aws_claims(OTHER_STS))).await, "ok billing org");
    let without_organization = lacking(aws_claims(OTHER_STS), "org_id");
    assert_eq!(world.authenticate("billing", &other.token(&without_organization)).await, "401 no_trust_rule");
    // Kids repeat across accounts: the same name, another key.
    let forged = other.token(&aws_claims(STS));
    assert_eq!(world.authenticate("billing", &forged).await, "401 assertion_signature_invalid");
}

#[tokio::test]
async fn w_18_an_issuer_that_is_not_aws_says_nothing_of_roles() {
    let evil = TestIssuer { signer: Signer::new("ES384"), ..TestIssuer::aws(OIDC, "ES384") };
    for kind in [IssuerKind::Oidc, IssuerKind::Aws] {
        let world = World::new().trusting(&evil, kind).with_client("app", of_role()).await;
        world.register("billing", of_organization(), |_| {}).await;
        for client in ["app", "billing"] {
            assert_eq!(
                world.authenticate(client, &evil.token(&aws_claims(OIDC))).await,
                "401 issuer_not_trusted",
                "{kind}"
            );
        }
    }
}

#[tokio::test]
async fn w_19_issuers_that_look_like_one_are_others() {
    let sts = TestIssuer::aws(STS, "ES384");
    let world = World::new().trusting(&sts, IssuerKind::Aws).with_client("app", of_role()).await;
    world.register("billing", of_organization(), |_| {}).await;
    let host = STS.strip_prefix("https://").expect("https");
    for issuer in [
        format!("{STS}/"),
        format!("{STS}."),
        format!("{STS}:443"),
        format!("{STS}:8443"),
        format!("{STS}/x"),
        format!("{STS}?x"),
        format!("{STS}#x"),
        format!("{STS}.evil.example"),
        format!("https://evil.example/{host}"),
        format!("https://evil.example@{host}"),
        format!("https://{host}@evil.example"),
        format!("https://x.{host}"),
        format!("https://evil-{host}"),
        STS.to_uppercase(),
        STS.replace("aws", "AWS"),
        STS.replace("https:", "http:"),
        STS.replace("tokens.sts", "tokens-sts"),
        STS.replace(".aws", ".xn--as-yia"),
        STS.replace("api.aws", "api.\u{430}ws"),
        STS.replace("global", "eu-west-1"),
        format!("{STS}\0"),
        format!(" {STS}"),
        format!("{STS} "),
        STS.replace("8c0a1b2c", "8c0a1b2g"),
        STS.replace("8c0a1b2c-1111-4222-8333-444455556666", "x"),
    ] {
        for client in ["app", "billing"] {
            let answer = world.authenticate(client, &sts.token(&aws_claims(&issuer))).await;
            assert_eq!(answer, "401 issuer_not_trusted", "{client} {issuer:?}");
        }
    }
    assert_eq!(world.published.asked(), [""; 0], "nobody is asked for keys of those");
}

#[tokio::test]
async fn w_20_a_key_is_its_issuers_alone() {
    let (one, two) = (oidc(), TestIssuer::new("https://idp.example.org", "ES256", json!({ "kid": "k1" })));
    let mut world = World::new().trusting(&one, IssuerKind::Oidc).trusting(&two, IssuerKind::Oidc);
    world.trust(&TestIssuer::new("https://idp.example.net", "ES256", json!({ "kid": "k3" })), IssuerKind::Oidc, |_| {});
    world.register("app", of_oidc(), |_| {}).await;
    assert_eq!(world.authenticate("app", &two.token(&oidc_claims())).await, "401 assertion_signature_invalid");
    let by_kid = one.signer.jws(&json!({ "alg": "ES256", "kid": "k3" }), &oidc_claims());
    assert_eq!(world.authenticate("app", &by_kid).await, "401 assertion_key_unknown");
    // Trusted by the realm, and not by this client.
    let other = with(oidc_claims(), "iss", json!("https://idp.example.org"));
    assert_eq!(world.authenticate("app", &two.token(&other)).await, "401 issuer_not_trusted");
    assert_eq!(world.authenticate("app", &one.token(&oidc_claims())).await, "ok app service");
}

#[tokio::test]
async fn w_21_w_22_a_claim_counts_where_it_is_and_as_what_it_is() {
    let issuer = oidc();
    let world = World::new().trusting(&issuer, IssuerKind::Oidc);
    for (id, tests) in [
        ("through-list", json!([path(&["nested", "a", "0", "b"], "equals", json!("c"))])),
        ("list", json!([path(&["groups"], "equals", json!("a"))])),
        ("listed", json!([path(&["groups", "0"], "equals", json!("a"))])),
        ("object", json!([path(&["nested"], "equals", json!("{}"))])),
        ("wildcard", json!([path(&["sub"], "equals", json!("service-*"))])),
    ] {
        world.register(id, json!([{ "name": "r", "issuer": OIDC, "claims": tests }]), |_| {}).await;
        assert_eq!(world.authenticate(id, &issuer.token(&oidc_claims())).await, "401 no_trust_rule", "{id}");
    }
    for (id, tests) in [
        ("number", json!([path(&["level"], "equals", json!("3"))])),
        ("boolean", json!([path(&["admin"], "in", json!(["true"]))])),
        ("glob", json!([path(&["sub"], "equals", json!("service-1")), path(&["team"], "glob", json!("bill*"))])),
    ] {
        world.register(id, json!([{ "name": "r", "issuer": OIDC, "claims": tests }]), |_| {}).await;
        assert_eq!(world.authenticate(id, &issuer.token(&oidc_claims())).await, format!("ok {id} r"));
    }
    // A sub with a glob character is compared as the text that it is.
    world.register("app", of_oidc(), |_| {}).await;
    for sub in ["service-*", "*", "service-?", "service-1*", "service-1\n", "service-1 ", "SERVICE-1"] {
        let token = issuer.token(&with(oidc_claims(), "sub", json!(sub)));
        assert_eq!(world.authenticate("app", &token).await, "401 no_trust_rule", "{sub:?}");
    }
    for value in [json!(["service-1"]), json!(1), json!(null), json!({}), json!(true), json!("")] {
        let token = issuer.token(&with(oidc_claims(), "sub", value.clone()));
        assert_eq!(world.authenticate("app", &token).await, "401 assertion_claims_malformed", "{value}");
    }
}

#[tokio::test]
async fn w_25_what_is_not_one_jws_of_one_reading_that_an_issuer_makes_is_refused() {
    let issuer = oidc();
    let world = oidc_world(&issuer).await;
    let of = |header: Value| issuer.signer.jws(&header, &oidc_claims());
    for typ in ["JWT", "jwt", "JOSE", "application/jwt"] {
        assert_eq!(
            world.authenticate("app", &of(json!({ "alg": "ES256", "typ": typ }))).await,
            "ok app service",
            "{typ}"
        );
    }
    for typ in ["at+jwt", "client-authentication+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt", ""] {
        assert_eq!(
            world.authenticate("app", &of(json!({ "alg": "ES256", "typ": typ }))).await,
            "401 malformed_assertion",
            "{typ}"
        );
    }
    for (member, value) in [
        ("jku", json!("https://evil.example/jwks.json")),
        ("jwk", Signer::new("ES256").jwk()),
        ("x5c", json!(["MIIB"])),
        ("x5u", json!("https://evil.example")),
        ("crit", json!(["exp"])),
        ("zip", json!("DEF")),
    ] {
        let token = of(with(json!({ "alg": "ES256" }), member, value));
        assert_eq!(world.authenticate("app", &token).await, "401 malformed_assertion", "{member}");
    }
    for alg in ["none", "HS256", "ES256K"] {
        assert_eq!(
            world.authenticate("app", &of(json!({ "alg": alg }))).await,
            "401 assertion_algorithm_not_allowed",
            "{alg}"
        );
    }
    let twice = oidc_claims().to_string().replacen('{', r#"{"sub":"service-1","#, 1);
    assert_eq!(
        world.authenticate("app", &issuer.signer.jws_of_texts(r#"{"alg":"ES256"}"#, &twice)).await,
        "401 malformed_assertion"
    );
    // With fifty tags as long as they may be.
    let tags: serde_json::Map<String, Value> =
        (0..30).map(|tag| (format!("{tag:0>128}"), json!("v".repeat(256)))).collect();
    let long = issuer.token(&with(oidc_claims(), "tags", json!(tags)));
    assert!(long.len() > 12 * 1024, "{}", long.len());
    assert_eq!(world.authenticate("app", &long).await, "ok app service");
    let longer = issuer.token(&with(oidc_claims(), "tags", json!("x".repeat(32 * 1024))));
    assert_eq!(world.authenticate("app", &longer).await, "401 malformed_assertion");
}

#[tokio::test]
async fn w_26_an_issuers_algorithms_are_those_that_it_is_registered_with() {
    let issuer = oidc();
    let mut world = World::new();
    world.trust(&issuer, IssuerKind::Oidc, |trusted| trusted.algs = ["RS256".parse().expect("known")].into());
    world.register("app", of_oidc(), |_| {}).await;
    assert_eq!(world.authenticate("app", &issuer.token(&oidc_claims())).await, "401 assertion_algorithm_not_allowed");
    world.realm.settings.trusted_issuers[0].algs = ["ES256".parse().expect("known")].into();
    assert_eq!(world.authenticate("app", &issuer.token(&oidc_claims())).await, "ok app service");
}

#[tokio::test]
async fn w_27_the_registration_decides_which_method_a_client_may_use_and_never_the_token() {
    let (issuer, own) = (oidc(), Signer::new("ES256"));
    let world = World::new().trusting(&issuer, IssuerKind::Oidc);
    let keyed = |metadata: &mut ClientMetadata, methods: &[AuthMethod]| {
        metadata.token_endpoint_auth_methods = methods.iter().copied().collect();
        metadata.jwks = Some(jwks(&[own.jwk()]));
    };
    let (key, identity) = (AuthMethod::PrivateKeyJwt, AuthMethod::WorkloadIdentity);
    world.register("both", of_oidc(), |metadata| keyed(metadata, &[key, identity])).await;
    world.register("key", of_oidc(), |metadata| keyed(metadata, &[key])).await;
    world.register("identity", of_oidc(), |metadata| keyed(metadata, &[identity])).await;

    let by_key = |id: &str| with(with(oidc_claims(), "iss", json!(id)), "sub", json!(id));
    let signed = |claims: &Value| own.jws(&json!({ "alg": "ES256" }), claims);
    for (id, claims, signer, expected) in [
        ("both", by_key("both"), &own, "ok both "),
        ("both", oidc_claims(), &issuer.signer, "ok both service"),
        // Its own key makes nobody its issuer, and its issuer's key is not its own.
        ("both", oidc_claims(), &own, "401 assertion_signature_invalid"),
        ("both", by_key("both"), &issuer.signer, "401 assertion_signature_invalid"),
        ("key", by_key("key"), &own, "ok key "),
        ("key", oidc_claims(), &issuer.signer, "401 auth_method_not_registered"),
        ("identity", oidc_claims(), &issuer.signer, "ok identity service"),
        ("identity", by_key("identity"), &own, "401 assertion_key_unknown"),
        // No client's id is the address of an issuer.
        (OIDC, by_key(OIDC), &issuer.signer, "401 unknown_client"),
        (OIDC, oidc_claims(), &issuer.signer, "401 unknown_client"),
    ] {
        let token = signer.jws(&json!({ "alg": "ES256" }), &claims);
        assert_eq!(world.authenticate(id, &token).await, expected, "{id} {claims}");
    }
    // iss and sub are one address, and the client is another's: that is a client's own assertion, of another client.
    assert_eq!(world.authenticate("both", &signed(&by_key(OIDC))).await, "400 invalid_request");
}

#[tokio::test]
async fn w_28_client_id_is_sent_beside_the_token_and_need_not_be_its_sub() {
    let issuer = oidc();
    let world = oidc_world(&issuer).await;
    world.register("service-1", of_oidc(), |_| {}).await;
    let token = issuer.token(&oidc_claims());
    let (kind, proof) = ("client_assertion_type", "client_assertion");
    for (parameters, expected) in [
        (vec![(kind, ASSERTION_TYPE), (proof, token.as_str())], "400 invalid_request"),
        (vec![(kind, ASSERTION_TYPE), (proof, &token), ("client_id", "")], "400 invalid_request"),
        (
            vec![(kind, ASSERTION_TYPE), (proof, &token), ("client_id", "app"), ("client_id", "app")],
            "400 invalid_request",
        ),
        (
            vec![(kind, ASSERTION_TYPE), (proof, &token), ("client_id", "app"), ("client_secret", "s")],
            "400 invalid_request",
        ),
        (vec![(kind, SPIFFE_TYPE), ("client_id", "app")], "400 invalid_request"),
        (vec![(kind, SPIFFE_TYPE), (proof, &token), ("client_id", "app")], "401 assertion_claims_malformed"),
        (vec![(kind, ASSERTION_TYPE), (proof, &token), ("client_id", "nobody")], "401 unknown_client"),
        (vec![(kind, ASSERTION_TYPE), (proof, &token), ("client_id", "no client id")], "401 unknown_client"),
        (vec![(kind, ASSERTION_TYPE), (proof, &token), ("client_id", "app")], "ok app service"),
    ] {
        assert_eq!(world.send(&parameters).await, expected, "{parameters:?}");
    }
    assert_eq!(world.authenticate("service-1", &issuer.token(&oidc_claims())).await, "ok service-1 service");
}

#[tokio::test]
async fn w_29_keys_are_fetched_for_who_may_use_them_and_again_only_where_they_are_what_is_wrong() {
    let issuer = oidc();
    let world = World::new().trusting_at_a_distance(&issuer, IssuerKind::Oidc).with_client("app", of_oidc()).await;
    world
        .register("secret", of_oidc(), |metadata| {
            metadata.token_endpoint_auth_methods = [AuthMethod::PrivateKeyJwt].into();
        })
        .await;
    world.register("elsewhere", of_role(), |_| {}).await;
    for client in ["nobody", "secret", "elsewhere"] {
        world.authenticate(client, &issuer.token(&oidc_claims())).await;
        assert_eq!(world.published.asked(), [""; 0], "{client}");
    }
    assert_eq!(world.authenticate("app", &issuer.token(&oidc_claims())).await, "ok app service");
    assert_eq!(world.published.asked(), [OIDC]);
    let expired = issuer.token(&with(oidc_claims(), "exp", json!(NOW - 60)));
    assert_eq!(world.authenticate("app", &expired).await, "401 assertion_expired");
    assert_eq!(world.published.asked(), [""; 0], "nor for what anybody can see is worth nothing");
    let wrong = issuer.token(&with(oidc_claims(), "sub", json!("service-2")));
    assert_eq!(world.authenticate("app", &wrong).await, "401 no_trust_rule");
    assert!(!world.published.asked().contains(&format!("anew {OIDC}")), "another look at the rules");

    // The issuer has a new key, which another look finds.
    let rotated = TestIssuer { signer: Signer::new("ES256"), ..oidc() };
    world.published.newer.lock().expect("no test panics").insert(OIDC.to_owned(), Arc::new(rotated.jwks()));
    assert_eq!(world.authenticate("app", &rotated.token(&oidc_claims())).await, "ok app service");
    assert!(world.published.asked().contains(&format!("anew {OIDC}")));

    // And while nobody can say what its keys are, nobody is refused for it.
    world.published.keys.lock().expect("no test panics").clear();
    assert_eq!(world.authenticate("app", &issuer.token(&oidc_claims())).await, "503 temporarily_unavailable");
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
async fn w_30_while_nobody_remembers_what_was_used_what_is_good_once_is_not_accepted_and_the_rest_is() {
    let (issuer, cluster) = (oidc(), TestIssuer::new(KUBERNETES, "RS256", json!({ "kid": "cl" })));
    let world = World::guarded_by(Arc::new(Down)).trusting(&issuer, IssuerKind::Oidc);
    let world = world.trusting(&cluster, IssuerKind::Kubernetes).with_client("app", of_oidc()).await;
    world.register("pod", of_pod(KUBERNETES), |_| {}).await;
    assert_eq!(world.authenticate("app", &issuer.token(&oidc_claims())).await, "503 temporarily_unavailable");
    assert_eq!(world.authenticate("pod", &cluster.token(&kubernetes_claims(KUBERNETES))).await, "ok pod pod");
    let wrong = issuer.token(&with(oidc_claims(), "sub", json!("service-2")));
    assert_eq!(world.authenticate("app", &wrong).await, "401 no_trust_rule");
}

#[tokio::test]
async fn w_31_failures_count_as_failed_attempts_whoever_is_named_and_replays_do_not() {
    let issuer = oidc();
    let limits = AttemptLimits { failures: 3, window_seconds: 60 };
    for (client, token, counts) in [
        ("app", issuer.token(&with(oidc_claims(), "sub", json!("service-2"))), true),
        ("nobody", issuer.token(&oidc_claims()), true),
        ("key", issuer.token(&oidc_claims()), true),
        ("elsewhere", issuer.token(&oidc_claims()), true),
        ("app", TestIssuer { signer: Signer::new("ES256"), ..oidc() }.token(&oidc_claims()), true),
        ("app", issuer.token(&with(oidc_claims(), "aud", json!("x"))), true),
        ("app", issuer.token(&oidc_claims()), false),
    ] {
        let mut world = oidc_world(&issuer).await;
        world.register("elsewhere", of_role(), |_| {}).await;
        world
            .register("key", json!([]), |metadata| {
                metadata.token_endpoint_auth_methods = [AuthMethod::PrivateKeyJwt].into();
            })
            .await;
        let attempts = Arc::new(FailedAttempts::new(limits));
        world.authenticator = world.authenticator.limited_by(Some(attempts));
        let mut last = String::new();
        for _ in 0..6 {
            last = world.authenticate(client, &token).await;
        }
        let expected = if counts { "429 too_many_failed_attempts" } else { "401 assertion_replayed" };
        assert_eq!(last, expected, "{client}");
    }
}

/// What each rule lacks, as the log has it.
fn lacks(error: &OAuthError) -> String {
    match error {
        OAuthError::InvalidClient(ClientAuthFailure::NoTrustRule(not_admitted)) => not_admitted.shortfalls.to_string(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn w_32_a_refusal_says_in_the_log_which_rule_lacks_which_claim_and_never_what_it_is() {
    let github = TestIssuer::github();
    let world = World::new().trusting(&github, IssuerKind::Github).with_client("deploy", of_github()).await;
    let token = github.token(&with(without(github_claims(), "environment"), "repository_id", json!("424242")));
    let line = lacks(&world.refused("deploy", &token).await);
    assert!(line.contains("rule deploy") && line.contains("environment") && line.contains("repository_id"), "{line}");
    assert!(!line.contains("424242") && !line.contains("123456") && !line.contains("prod"), "{line}");
}

#[tokio::test]
async fn a_rule_that_is_only_observed_admits_nobody() {
    let issuer = oidc();
    let world = World::new().trusting(&issuer, IssuerKind::Oidc);
    let observed = with(with(of_oidc()[0].clone(), "mode", json!("observe")), "name", json!("observed"));
    world.register("watched", json!([observed]), |_| {}).await;
    world.register("both", json!([observed, of_oidc()[0]]), |_| {}).await;
    assert_eq!(world.authenticate("watched", &issuer.token(&oidc_claims())).await, "401 no_trust_rule");
    assert_eq!(world.authenticate("both", &issuer.token(&oidc_claims())).await, "ok both service");
}

#[tokio::test]
async fn w_33_verified_facts_become_claims_and_absent_ones_do_not() {
    let (sts, issuer) = (TestIssuer::aws(STS, "ES384"), oidc());
    let world = World::new().trusting(&sts, IssuerKind::Aws).trusting(&issuer, IssuerKind::Oidc);
    let claims: CustomClaims = json!({
        "tier": "gold",
        "team": { "from": [AWS, "principal_tags", "team"] },
        "account": { "from": [AWS, "aws_account"] },
        "missing": { "from": [AWS, "nothing"] },
        "units": { "from": [AWS, "ou_path"] },
        "tags": { "from": [AWS, "principal_tags"] },
        "unit": { "from": [AWS, "ou_path", "0"] },
        "window": { "from": 1, "to": 2 },
    })
    .to_string()
    .parse()
    .expect("claims");
    world.register("app", of_role(), |metadata| metadata.access_token_claims = claims.clone()).await;
    let admission = world.admitted("app", &sts.token(&aws_claims(STS))).await.admission.expect("an admission");
    assert_eq!(Value::Object(admission.claims.clone()), json!({ "team": "billing", "account": ACCOUNT }));
    let of_token = claims.of_token(Some(&admission.claims));
    let expected = json!({ "tier": "gold", "window": { "from": 1, "to": 2 }, "team": "billing", "account": ACCOUNT });
    assert_eq!(Value::Object(of_token.as_object().clone()), expected);
    // A client that has shown a secret has no facts.
    let expected = json!({ "tier": "gold", "window": { "from": 1, "to": 2 } });
    assert_eq!(Value::Object(claims.of_token(None).as_object().clone()), expected);

    // Numbers and booleans as they are, and nothing that is long.
    let claims: CustomClaims =
        r#"{"level":{"from":["level"]},"admin":{"from":["admin"]},"long":{"from":["long"]}}"#.parse().expect("claims");
    world.register("oidc", of_oidc(), |metadata| metadata.access_token_claims = claims).await;
    let token = issuer.token(&with(oidc_claims(), "long", json!("x".repeat(641))));
    let admission = world.admitted("oidc", &token).await.admission.expect("an admission");
    assert_eq!(Value::Object(admission.claims), json!({ "level": 3, "admin": true }));
}

#[tokio::test]
async fn w_34_who_was_admitted_is_named_for_good() {
    let (sts, github) = (TestIssuer::aws(STS, "ES384"), TestIssuer::github());
    let world = World::new().trusting(&sts, IssuerKind::Aws).trusting(&github, IssuerKind::Github);
    world.register("app", of_role(), |_| {}).await;
    world.register("deploy", of_github(), |_| {}).await;
    let role = format!("arn:aws:iam::{ACCOUNT}:role/service-role/svc-orders");
    let subject = world.admitted("app", &sts.token(&aws_claims(STS))).await.admission.expect("an admission").subject;
    let expected = [("aws_account", ACCOUNT), ("org_id", ORGANIZATION), ("principal_id", role.as_str())];
    assert_eq!(subject, expected.map(|(name, fact)| (name, fact.to_owned())));
    let subject = world.admitted("deploy", &github.token(&github_claims())).await.admission.expect("one").subject;
    assert_eq!(subject[0], ("repository_id", "123456".to_owned()));
}

#[tokio::test]
async fn w_35_the_grant_is_the_token_and_nothing_else_authenticates_beside_it() {
    let issuer = oidc();
    let world = oidc_world(&issuer).await;
    let token = issuer.token(&oidc_claims());
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let answer = async |parameters: &[(&str, &str)]| match world.try_send(parameters, Credentials::from_grant).await {
        Ok(authenticated) => format!("ok {}", authenticated.client.client_id),
        Err(error) => format!("{} {}", error.status(), error.reason()),
    };
    for beside in [("client_secret", "s"), ("client_assertion", "a.b.c"), ("client_assertion_type", ASSERTION_TYPE)] {
        let parameters = [grant, ("assertion", token.as_str()), ("client_id", "app"), beside];
        assert_eq!(answer(&parameters).await, "400 invalid_request", "{beside:?}");
    }
    assert_eq!(answer(&[grant, ("client_id", "app")]).await, "400 invalid_request");
    assert_eq!(answer(&[grant, ("assertion", &token)]).await, "400 invalid_request");
    assert_eq!(
        answer(&[grant, ("assertion", &token), ("assertion", &token), ("client_id", "app")]).await,
        "400 invalid_request"
    );
    assert_eq!(answer(&[grant, ("assertion", &token), ("client_id", "app")]).await, "ok app");
    // As its own issuer: there is no other method that this could be.
    let oneself = with(oidc_claims(), "sub", json!(OIDC));
    world
        .register(
            "self",
            json!([{ "name": "self", "issuer": OIDC, "claims": [path(&["sub"], "equals", json!(OIDC))] }]),
            |_| {},
        )
        .await;
    assert_eq!(answer(&[grant, ("assertion", &issuer.token(&oneself)), ("client_id", "self")]).await, "ok self");
}

/// A server with a client of each form of access token, and one with a secret, in a realm that trusts an issuer.
struct Deployment {
    server: Server,
    rs: Registered,
    issuer: TestIssuer,
    _store: Store,
}

impl Deployment {
    fn new() -> Self {
        let store = Store::new();
        store.set_realm("alpha", &[]);
        let rs = store.register("alpha", "rs", &["--scope", "am-introspect-all-tokens"]);
        let issuer = oidc();
        let registry = SqliteRegistry::open(&store.directory().join("registry.db")).expect("opened");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let name = "alpha".parse().expect("a name");
            let mut realm = registry.read_realm(&name).await.expect("read").expect("a realm");
            let keys = IssuerKeys::Jwks(issuer.jwks());
            let url = OIDC.parse().expect("an issuer");
            let trusted = TrustedIssuer::new("idp".parse().expect("a name"), url, IssuerKind::Oidc, keys);
            realm.settings.trusted_issuers.push(trusted);
            realm.revision += 1;
            registry.put_realm(&realm).await.expect("stored");
            for (id, settings) in [
                ("opaque", json!({})),
                ("jwt", json!({ "access_token_format": "jwt" })),
                ("stateless", json!({ "access_token_format": "jwt", "access_token_persistence": "stateless" })),
                ("no-grant", json!({ "grant_types": [] })),
                ("by-secret", json!({ "token_endpoint_auth_methods": ["client_secret_basic"] })),
            ] {
                let mut metadata = serde_json::to_value(ClientMetadata::new()).expect("JSON");
                metadata["scope"] = json!("read write");
                metadata["default_scope"] = json!("read");
                metadata["token_endpoint_auth_methods"] = json!(["workload_identity"]);
                metadata["trust"] = of_oidc();
                metadata["access_token_claims"] =
                    json!(r#"{"tier":"gold","team":{"from":["team"]},"gone":{"from":["gone"]}}"#);
                for (member, value) in settings.as_object().expect("an object") {
                    metadata[member] = value.clone();
                }
                let metadata: ClientMetadata = serde_json::from_value(metadata).expect("a registration");
                let registration = RegistrationId::generate(&SystemRandom).expect("random bytes");
                let client =
                    Client::register(id.parse().expect("an id"), &realm, metadata, registration, SystemClock.now());
                registry.register(&client.expect("valid"), None).await.expect("registered");
            }
        });
        drop(registry);
        let server = Start::on(&store.argument()).spawn();
        Self { server, rs, issuer, _store: store }
    }

    /// A token of the issuer for the realm, as of now.
    fn token(&self, change: impl Fn(&mut Value)) -> String {
        let now = SystemClock.now().0;
        let mut claims = oidc_claims();
        claims["aud"] = json!(format!("{}{ALPHA}", self.server.url()));
        claims["iat"] = json!(now);
        claims["exp"] = json!(now + 300);
        change(&mut claims);
        self.issuer.token(&claims)
    }

    fn post(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Answer {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        Request::form(&format!("{ALPHA}/{endpoint}"), form).send(&self.server)
    }

    fn grant(&self, client_id: &str, token: &str) -> Answer {
        self.post("access_token", &[("grant_type", JWT_BEARER), ("assertion", token), ("client_id", client_id)])
    }
}

fn deployment() -> &'static Deployment {
    static DEPLOYMENT: LazyLock<Deployment> = LazyLock::new(Deployment::new);
    &DEPLOYMENT
}

#[test]
fn w_35_w_36_the_grant_is_answered_like_client_credentials_or_as_an_invalid_grant() {
    let deployment = deployment();
    let answer = deployment.grant("opaque", &deployment.token(|_| {}));
    answer.assert_token("read");
    let token = deployment.token(|_| {});
    let wider = [("grant_type", JWT_BEARER), ("assertion", &token), ("client_id", "opaque"), ("scope", "read write")];
    deployment.post("access_token", &wider).assert_token("read write");
    let token = deployment.token(|_| {});
    let beyond = [("grant_type", JWT_BEARER), ("assertion", &token), ("client_id", "opaque"), ("scope", "admin")];
    deployment.post("access_token", &beyond).assert_400("invalid_scope");

    // Whatever is wrong, in the same words.
    let stranger = TestIssuer { signer: Signer::new("ES256"), ..oidc() };
    let wrong = |change: fn(&mut Value)| deployment.token(change);
    let mut answers = BTreeSet::new();
    for (client_id, token) in [
        ("nobody", wrong(|_| {})),
        ("no client id", wrong(|_| {})),
        ("by-secret", wrong(|_| {})),
        ("opaque", wrong(|claims| claims["sub"] = json!("service-2"))),
        ("opaque", wrong(|claims| claims["aud"] = json!("x"))),
        ("opaque", wrong(|claims| claims["exp"] = json!(1))),
        ("opaque", wrong(|claims| claims["iat"] = json!(1))),
        ("opaque", wrong(|claims| claims["iss"] = json!("https://idp.example.org"))),
        ("opaque", wrong(|claims| claims["iss"] = json!("idp"))),
        ("opaque", wrong(|claims| claims["sub"] = json!(["service-1"]))),
        ("opaque", stranger.token(&oidc_claims())),
        ("opaque", "a.b.c".to_owned()),
        ("opaque", "canary".to_owned()),
    ] {
        let answer = deployment.grant(client_id, &token);
        answer.assert_400("invalid_grant");
        assert_eq!(answer.header("www-authenticate"), None);
        answers.insert(answer.text());
    }
    let token = deployment.token(|_| {});
    deployment.grant("opaque", &token).assert_token("read");
    let answer = deployment.grant("opaque", &token);
    answer.assert_400("invalid_grant");
    answers.insert(answer.text());
    assert_eq!(answers.len(), 1, "{answers:?}");

    // Not the grant's fault.
    deployment.grant("no-grant", &deployment.token(|_| {})).assert_400("unauthorized_client");
    deployment.post("access_token", &[("grant_type", JWT_BEARER)]).assert_400("invalid_request");
    let parameters = [("grant_type", JWT_BEARER), ("assertion", &deployment.token(|_| {})), ("client_id", "opaque")];
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let path = format!("{ALPHA}/access_token");
    Request::form(&path, &form).by(&deployment.rs).send(&deployment.server).assert_400("invalid_request");
    Request::form(&format!("{path}?assertion=x"), &form).send(&deployment.server).assert_400("invalid_request");
}

#[test]
fn w_37_the_assertion_works_at_each_endpoint_and_the_grants_parameters_count_at_one() {
    let deployment = deployment();
    let issued = deployment.grant("opaque", &deployment.token(|_| {})).assert_token("read");
    for (endpoint, form) in form_endpoints() {
        let token = deployment.token(|_| {});
        let (name, value) = form.split_once('=').expect("a parameter");
        let value = if value == "none" { issued.as_str() } else { value };
        let presented = [(name, value), ("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &token)];
        let with_client_id = |id| presented.into_iter().chain([("client_id", id)]).collect::<Vec<_>>();
        assert_eq!(deployment.post(endpoint, &with_client_id("opaque")).status, 200, "{endpoint}");
        deployment.post(endpoint, &with_client_id("opaque")).assert_401("alpha");
        deployment.post(endpoint, &presented).assert_400("invalid_request");
        let token = deployment.token(|_| {});
        let grant = [(name, value), ("assertion", &token), ("client_id", "opaque")];
        deployment.post(endpoint, &grant).assert_401("alpha");
    }
}

#[test]
fn w_33_w_38_a_token_says_by_which_rule_it_was_issued_and_what_it_was_told_of_the_caller() {
    let deployment = deployment();
    let logged = |tracking: &Value| {
        let tracking = tracking.as_str().expect("a text").to_owned();
        poll("a line", NOTICED_WITHIN, || {
            let lines = deployment.server.stderr() + &deployment.server.stdout();
            lines.lines().find(|line| line.contains("token issued") && line.contains(&tracking)).map(str::to_owned)
        })
    };
    for client in ["opaque", "jwt", "stateless"] {
        let presented = deployment.token(|_| {});
        let token = deployment.grant(client, &presented).json()["access_token"].as_str().expect("a token").to_owned();
        let answer = deployment.server.introspect(&deployment.rs, &token).json();
        assert_eq!((&answer["active"], &answer["client_id"]), (&json!(true), &json!(client)), "{answer}");
        assert_eq!((&answer["trust_rule"], &answer["team"]), (&json!("service"), &json!("billing")), "{answer}");
        assert_eq!((&answer["tier"], answer.get("gone")), (&json!("gold"), None), "{answer}");
        if let Some(payload) = token.split('.').nth(1) {
            let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
            let claims: Value = serde_json::from_slice(&payload).expect("JSON");
            assert_eq!((&claims["trust_rule"], &claims["team"]), (&json!("service"), &json!("billing")), "{claims}");
            assert_eq!((&claims["tier"], claims.get("gone")), (&json!("gold"), None), "{claims}");
        }
        let line = logged(&answer["auditTrackingId"]);
        assert!(line.contains("service-1") && line.contains("trust_rule"), "{line}");
        assert!(!line.contains(&presented), "{line}");
    }
    // Who has shown a secret was admitted by no rule.
    let token = deployment
        .server
        .token_request(&deployment.rs, "scope=am-introspect-all-tokens")
        .assert_token("am-introspect-all-tokens");
    assert_eq!(deployment.server.introspect(&deployment.rs, &token).json().get("trust_rule"), None);
}
