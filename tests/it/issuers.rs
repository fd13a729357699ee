//! Issuers that a realm trusts, as an operator registers them: the use cases over the store in memory.

use std::sync::Arc;

use grantwell::core::client::ClientStatus;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::keys::jwk_set::JwkSet;
use grantwell::core::keys::remote::{CaCertificates, JwksUri};
use grantwell::core::management::{
    InvalidIssuer, IssuerChange, Management, ManagementError, Notice, RealmChange, Registration, Subject,
};
use grantwell::core::ports::ClientRegistry as _;
use grantwell::core::realm::{Realm, RealmName};
use grantwell::core::trust::issuer::{IssuerKeys, IssuerKind, IssuerUrl, TrustedIssuer};
use grantwell::core::trust::rule::TrustRules;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::system::{SystemClock, SystemRandom};
use serde_json::{Value, json};

use crate::support::logging::logging;

#[tokio::test(flavor = "multi_thread")]
async fn issuers_stand_in_the_record_of_their_realm_in_the_order_of_their_names() {
    let house = House::new();
    for (name, url) in [("gitlab", IssuerUrl::GITLAB), ("github", IssuerUrl::GITHUB), ("aws", STS)] {
        house.add(&issuer(name, url)).await.expect("added");
    }
    let stored = house.registry.realm(&root()).await.expect("a store").expect("a record");
    let names: Vec<&str> = stored.settings.trusted_issuers.iter().map(|issuer| issuer.name.as_str()).collect();
    assert_eq!(names, ["aws", "github", "gitlab"]);
    assert_eq!(stored.trusted_issuer(&url(STS)).map(|issuer| issuer.kind), Some(IssuerKind::Aws));
    // Setting the realm leaves them.
    let change =
        RealmChange { settings: &|settings| settings.default_scope = "a".parse().ok(), ..RealmChange::NOTHING };
    let changed = house.management.set_realm(&root(), &change).await.expect("set").record;
    assert_eq!(changed.settings.trusted_issuers, stored.settings.trusted_issuers);
    let nowhere: RealmName = "beta".parse().expect("a name");
    let refused = house.management.add_issuer(&nowhere, &issuer("a", IssuerUrl::GITHUB)).await;
    assert_eq!(refused.err(), Some(ManagementError::Unknown(Subject::Realm(nowhere))));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_and_one_url_are_one_issuer() {
    let house = House::new();
    let github = issuer("github", IssuerUrl::GITHUB);
    house.add(&github).await.expect("added");
    assert_eq!(house.add(&issuer("github", IssuerUrl::GITLAB)).await, Err(ManagementError::Exists(subject("github"))));
    let again = house.add(&issuer("again", IssuerUrl::GITHUB)).await;
    assert_eq!(again, Err(InvalidIssuer::UrlTaken("github".parse().expect("a name")).into()));
    // By every character.
    house.add(&issuer("other", "https://token.actions.githubusercontent.com/octo")).await.expect("another issuer");
    assert_eq!(house.stored().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_of_the_kind_that_its_name_tells() {
    let house = House::new();
    let of_kind = |url: &str, kind| TrustedIssuer { kind, ..issuer("a", url) };
    for (issuer, refused) in [
        (of_kind("https://a.example", IssuerKind::Aws), InvalidIssuer::NotSts),
        (of_kind(&format!("{STS}.example.com"), IssuerKind::Aws), InvalidIssuer::NotSts),
        (of_kind("https://a.example", IssuerKind::Spiffe), InvalidIssuer::NotTrustDomain),
        (of_kind(STS, IssuerKind::Oidc), other_kind(STS, IssuerKind::Oidc, IssuerKind::Aws)),
        (of_kind(STS, IssuerKind::Kubernetes), other_kind(STS, IssuerKind::Kubernetes, IssuerKind::Aws)),
        (
            of_kind(IssuerUrl::GITHUB, IssuerKind::Oidc),
            other_kind(IssuerUrl::GITHUB, IssuerKind::Oidc, IssuerKind::Github),
        ),
        (of_kind("spiffe://example.org", IssuerKind::Spiffe), InvalidIssuer::NoBundle),
        (TrustedIssuer::of_sts(url(STS)).expect("of AWS"), InvalidIssuer::Unregistered),
        (TrustedIssuer { max_age: Some(0), ..issuer("a", STS) }, InvalidIssuer::MaxAge),
        (TrustedIssuer { max_age: Some(86_401), ..issuer("a", STS) }, InvalidIssuer::MaxAge),
        (TrustedIssuer { keys: IssuerKeys::Jwks(JwkSet::empty()), ..issuer("a", STS) }, InvalidIssuer::NoKey),
    ] {
        assert_eq!(house.add(&issuer).await, Err(refused.into()), "{issuer:?}");
    }
    // GitHub Enterprise Server, a GitLab of one's own, a cluster of EKS under another name.
    for (name, kind) in [("a", IssuerKind::Github), ("b", IssuerKind::Gitlab), ("c", IssuerKind::Eks)] {
        let issuer = TrustedIssuer { kind, ..issuer(name, &format!("https://{name}.example")) };
        house.add(&issuer).await.expect("added");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_has_room_for_so_many_issuers_and_no_more() {
    let house = House::new();
    let numbered = |number: usize| issuer(&format!("i{number}"), &format!("https://i{number}.example"));
    for number in 0..Realm::MAX_ISSUERS {
        house.add(&numbered(number)).await.expect("room");
    }
    assert_eq!(house.add(&numbered(99)).await, Err(InvalidIssuer::TooMany.into()));
    house.remove("i1", false).await.expect("removed");
    house.add(&numbered(99)).await.expect("room");

    let house = House::new();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", "A".repeat(16_000));
    let ca: CaCertificates = pem.parse().expect("certificates");
    let with_ca = |number: usize| TrustedIssuer {
        keys: IssuerKeys::Discovery { allow_private_network: true, ca: Some(ca.clone()) },
        ..numbered(number)
    };
    for number in 0..4 {
        house.add(&with_ca(number)).await.expect("room");
    }
    assert_eq!(house.add(&with_ca(4)).await, Err(InvalidIssuer::TooLarge.into()));
    house.add(&numbered(4)).await.expect("without certificates there is room");
    assert_eq!(house.stored().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_leaves_the_rest_and_a_change_of_nothing_is_not_written() {
    let house = House::new();
    let mut expected = issuer("github", IssuerUrl::GITHUB);
    house.add(&expected).await.expect("added");
    expected.max_age = Some(60);
    let shorten = IssuerChange { settings: &|issuer| issuer.max_age = Some(60) };
    let name = expected.name.clone();
    let changed = house.management.update_issuer(&root(), &name, &shorten).await.expect("changed");
    assert_eq!((changed.record, changed.notices), (expected.clone(), vec![]));
    let revision = house.revision().await;
    let changed = house.management.update_issuer(&root(), &name, &shorten).await.expect("the same");
    assert_eq!((changed.record, changed.notices), (expected, vec![Notice::NothingChanged(subject("github"))]));
    assert_eq!(house.revision().await, revision);
    let absent = "other".parse().expect("a name");
    let refused = house.management.update_issuer(&root(), &absent, &shorten).await;
    assert_eq!(refused.err(), Some(ManagementError::Unknown(subject("other"))));
    let too_old = IssuerChange { settings: &|issuer| issuer.max_age = Some(100_000) };
    let refused = house.management.update_issuer(&root(), &name, &too_old).await;
    assert_eq!(refused.err(), Some(InvalidIssuer::MaxAge.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_rules_need_is_removed_by_nobody_by_mistake() {
    let house = House::new();
    let (github, sts) = (issuer("github", IssuerUrl::GITHUB), issuer("aws", STS));
    for issuer in [&github, &sts, &issuer("gitlab", IssuerUrl::GITLAB)] {
        house.add(issuer).await.expect("added");
    }
    let deploy = json!({
        "name": "deploy", "issuer": IssuerUrl::GITHUB,
        "claims": [{ "path": ["repository_id"], "equals": "123456" }, { "path": ["environment"], "equals": "prod" }],
    });
    let of_account = json!({ "name": "orders", "aws": { "account": "111122223333", "role": "orders" } });
    let of_organization = json!({ "name": "svc", "aws": { "organization": "o-a1b2c3d4e5", "role": "svc-*" } });
    for number in 0..5 {
        house.register(&format!("deploy-{number}"), AuthMethod::WorkloadIdentity, vec![deploy.clone()]).await;
    }
    house.register("of-account", AuthMethod::WorkloadIdentity, vec![of_account.clone()]).await;
    house.register("of-organization", AuthMethod::WorkloadIdentity, vec![of_organization]).await;
    house.register("by-the-door", AuthMethod::AwsIam, vec![of_account]).await;

    let first = |ids: &[&str]| ids.iter().map(|id| id.parse().expect("an id")).collect::<Vec<_>>();
    let used = |name: &str, count, ids: &[&str]| {
        let issuer = name.parse().expect("a name");
        Err(ManagementError::IssuerIsUsed { realm: root(), issuer, count, first: first(ids) })
    };
    assert_eq!(house.remove("github", false).await, used("github", 5, &["deploy-0", "deploy-1", "deploy-2"]));
    assert_eq!(house.remove("aws", false).await, used("aws", 1, &["of-account"]));
    assert_eq!(house.stored().await.len(), 3);
    assert_eq!(house.remove("gitlab", false).await, Ok(()));
    assert_eq!(house.remove("gitlab", false).await, Err(ManagementError::Unknown(subject("gitlab"))));

    // Whoever means it may. The rules stay, and the realm knows no such issuer any more: nobody verifies its tokens.
    assert_eq!(house.remove("github", true).await, Ok(()));
    let realm = house.management.realm(&root()).await.expect("a realm");
    assert_eq!(realm.trusted_issuer(&github.issuer), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn issuers_survive_storage_with_all_that_is_said_of_them() {
    let house = House::new();
    let ca = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".parse().ok();
    let address =
        JwksUri { allow_private_network: true, ca, ..JwksUri::public("https://a.example/k".parse().expect("a URL")) };
    let pinned = r#"{"kty":"EC","crv":"P-256","kid":"a","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
    let pinned = JwkSet::parse(pinned.as_bytes()).expect("a set");
    let issuers = [
        issuer("a-discovered", IssuerUrl::GITHUB),
        TrustedIssuer {
            keys: IssuerKeys::JwksUri(address),
            single_use: true,
            ..issuer("b-mesh", "spiffe://example.org")
        },
        TrustedIssuer { keys: IssuerKeys::Jwks(pinned), max_age: None, ..issuer("c-pinned", "https://c.example") },
        issuer("d-sts", STS),
    ];
    for issuer in &issuers {
        house.add(issuer).await.expect("added");
    }
    assert_eq!(house.stored().await, issuers);
}

/// A registry in memory, and what is done with it.
struct House {
    registry: Arc<SqliteRegistry>,
    management: Management,
}

impl House {
    fn new() -> Self {
        let registry = Arc::new(SqliteRegistry::in_memory().expect("a store"));
        let keys = Arc::clone(&registry);
        let logging = logging(Arc::clone(&registry) as _);
        let clock = Arc::new(SystemClock);
        let management = Management::new(Arc::clone(&registry) as _, keys, logging, clock, Arc::new(SystemRandom));
        Self { registry, management }
    }

    async fn add(&self, issuer: &TrustedIssuer) -> Result<(), ManagementError> {
        self.management.add_issuer(&root(), issuer).await.map(|added| assert_eq!(added.record, *issuer))
    }

    async fn remove(&self, name: &str, may_be_left: bool) -> Result<(), ManagementError> {
        let removed = self.management.remove_issuer(&root(), &name.parse().expect("a name"), may_be_left).await;
        removed.map(|removed| assert_eq!(removed.record.name.as_str(), name))
    }

    async fn register(&self, id: &str, method: AuthMethod, rules: Vec<Value>) {
        let metadata = ClientMetadata {
            trust: TrustRules::parse(rules).expect("rules"),
            token_endpoint_auth_methods: [method].into(),
            ..ClientMetadata::new()
        };
        let client_id = Some(id.parse().expect("an id"));
        let registration = Registration {
            client_id,
            metadata,
            secret_lifetime: None,
            secret: None,
            status: ClientStatus::Active,
            managed_by: None,
        };
        self.management.register(&root(), registration).await.expect("registered");
    }

    async fn stored(&self) -> Vec<TrustedIssuer> {
        let realm = self.registry.realm(&root()).await.expect("a store");
        realm.map(|realm| realm.settings.trusted_issuers.clone()).unwrap_or_default()
    }

    async fn revision(&self) -> u64 {
        self.registry.realm(&root()).await.expect("a store").expect("a record").revision
    }
}

fn root() -> RealmName {
    RealmName::root()
}

fn url(text: &str) -> IssuerUrl {
    text.parse().expect("an issuer")
}

fn issuer(name: &str, text: &str) -> TrustedIssuer {
    let kind = url(text).known_kind().unwrap_or_default();
    let keys = IssuerKeys::Discovery { allow_private_network: false, ca: None };
    TrustedIssuer::new(name.parse().expect("a name"), url(text), kind, keys)
}

fn subject(name: &str) -> Subject {
    Subject::Issuer { realm: root(), name: name.parse().expect("a name") }
}

fn other_kind(issuer: &str, kind: IssuerKind, known: IssuerKind) -> InvalidIssuer {
    InvalidIssuer::OtherKind { issuer: url(issuer), kind, known }
}

const STS: &str = "https://a1d2b0fd-1177-4468-9351-2f0a9b7c7230.tokens.sts.global.api.aws";
