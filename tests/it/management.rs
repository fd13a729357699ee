//! What an operator does, whatever face he does it through: the use cases over the store in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use grantwell::core::access_token::settings::TokenLifetime;
use grantwell::core::client::id::ClientId;
use grantwell::core::client::metadata::{ClientMetadata, InvalidRegistration, SecretRotationDays};
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::client::secret_storage::SecretStorage;
use grantwell::core::client::{Client, ClientStatus};
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::jwk::KeyId;
use grantwell::core::keys::keyring::KeyChangeError;
use grantwell::core::keys::published::PublishedKeys;
use grantwell::core::keys::set::{KeySet, PUBLISHED_BEFORE_SIGNING, RotationRefused};
use grantwell::core::management::DeletedRealm;
use grantwell::core::management::Hindrance;
use grantwell::core::management::RealmChange;
use grantwell::core::management::TokensValidAfter;
use grantwell::core::management::{ClientChange, Registered, Registration};
use grantwell::core::management::{Management, ManagementError, Notice, Subject};
use grantwell::core::management::{PreviousLifetime, Rotation, SecretLifetime};
use grantwell::core::ports::{Clock, KeyStore as _, Registrar as _, SecretSource as _};
use grantwell::core::realm::{RealmName, RealmSettings};
use grantwell::core::scope::Scope;
use grantwell::core::time::UnixSeconds;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::system::SystemRandom;
use tokio::runtime::Handle;

use crate::support::logging::logging;

/// A registry in memory, what is done with it, and the time.
struct House {
    registry: Arc<SqliteRegistry>,
    clock: Arc<SetClock>,
    management: Management,
}

/// A clock that a test sets.
struct SetClock(AtomicU64);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_registered_once_in_a_realm_that_exists() {
    let house = House::new();
    let registered = house.register("c", ClientMetadata::new()).await;
    let (client, secret) = (registered.client, registered.secret.expect("it authenticates with one"));
    assert_eq!((client.revision, client.client_id_issued_at), (1, START));
    assert_eq!(house.management.client(&root(), &id("c")).await.as_ref(), Ok(&client));
    let stored = house.registry.secrets(&client).await.expect("readable").expect("a secret");
    assert_eq!(stored.current.as_bytes(), secret.digest().as_bytes());

    let again = house.management.register(&root(), registration(Some("c"), named("Second"))).await;
    assert_eq!(again.err(), Some(ManagementError::Exists(subject("c"))));
    assert_eq!(house.management.client(&root(), &id("c")).await, Ok(client), "the first stays as it is");

    let nowhere: RealmName = "beta".parse().expect("a name");
    let refused = house.management.register(&nowhere, registration(None, ClientMetadata::new())).await;
    assert_eq!(refused.err(), Some(ManagementError::Unknown(Subject::Realm(nowhere))));
    let broken = ClientMetadata { default_scope: Some("a".parse().expect("a scope")), ..ClientMetadata::new() };
    let refused = house.management.register(&root(), registration(Some("d"), broken)).await;
    assert_eq!(refused.err(), Some(InvalidRegistration::DefaultScope("a".to_owned()).into()));
    assert_eq!(house.management.client(&root(), &id("d")).await, Err(ManagementError::Unknown(subject("d"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_registration_brings_and_nobody_carries_out_is_told_once() {
    let house = House::new();
    let refresh = "refresh_token".parse().expect("a grant type");
    let metadata = ClientMetadata { grant_types: [refresh].into(), ..ClientMetadata::new() };
    let given = ClientSecret::given("with+plus/and/slash", false).expect("strong enough");
    let registration = Registration { secret: Some(given), ..registration(Some("c"), metadata) };
    let registered = house.management.register(&root(), registration).await.expect("registered");
    let refresh = || Notice::GrantTypeNotImplemented("refresh_token".parse().expect("a grant type"));
    let hindered = |why: &[Hindrance]| Notice::NeverGetsToken { of: subject("c"), why: why.to_vec() };
    assert_eq!(
        registered.notices,
        [refresh(), hindered(&[Hindrance::NoScope, Hindrance::NoGrant]), Notice::SecretNeedsFormEncoding]
    );

    // Of a change only what it changes.
    let scoped = house.update("c", &|metadata| metadata.scope = "a".parse().expect("a scope"));
    assert_eq!(scoped.await.expect("changed").1, [hindered(&[Hindrance::NoGrant])]);
    let renamed = house.update("c", &|metadata| metadata.client_name = Some("n".to_owned()));
    assert_eq!(renamed.await.expect("changed").1, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_by_schedule_is_refused_where_there_is_none_and_one_that_is_registered_stays() {
    let house = House::new();
    let days = |days| {
        move |metadata: &mut ClientMetadata| {
            metadata.client_secret_rotation_days = SecretRotationDays::new(days).ok();
        }
    };
    let metadata =
        ClientMetadata { client_secret_rotation_days: SecretRotationDays::new(30).ok(), ..ClientMetadata::new() };
    let refusal = Some(ManagementError::NothingRotatesSecrets(subject("c")));
    let refused = house.management.register(&root(), registration(Some("c"), metadata.clone())).await;
    assert_eq!(refused.err(), refusal);
    assert_eq!(house.management.client(&root(), &id("c")).await, Err(ManagementError::Unknown(subject("c"))));
    house.register("c", ClientMetadata::new()).await;
    assert_eq!(house.update("c", &days(31)).await.err(), refusal);

    let stack = House::new();
    let management = stack.management.with_scheduled_rotation();
    management.register(&root(), registration(Some("c"), metadata)).await.expect("registered");
    // As an earlier build has let it in: everything else can be changed, and the days taken back.
    let stack = House {
        management: Management::new(
            Arc::clone(&stack.registry) as _,
            Arc::clone(&stack.registry) as _,
            logging(Arc::clone(&stack.registry) as _),
            Arc::clone(&stack.clock) as _,
            Arc::new(SystemRandom),
        ),
        ..stack
    };
    stack.update("c", &|metadata| metadata.client_name = Some("n".to_owned())).await.expect("changed");
    assert_eq!(stack.update("c", &days(31)).await.err(), refusal);
    stack.update("c", &|metadata| metadata.client_secret_rotation_days = None).await.expect("taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_is_kept_of_generated_secrets_only_and_rotated_by_no_schedule() {
    let house = House::new();
    let stack = house.management.with_scheduled_rotation();
    let digest = ClientMetadata { client_secret_storage: Some(SecretStorage::Digest), ..ClientMetadata::new() };
    let bring = |text: &str| ClientSecret::given(text, false).expect("long enough");
    let supplied = "correct horse battery staple";
    let generated = format!("gws_{}", "A".repeat(43));

    // What somebody has thought up is refused, to begin with and later.
    let given = |text: &str| Registration { secret: Some(bring(text)), ..registration(Some("c"), digest.clone()) };
    let refused = stack.register(&root(), given(supplied)).await;
    assert_eq!(refused.err(), Some(ManagementError::SuppliedSecret(subject("c"))));
    let registered = stack.register(&root(), given(&generated)).await.expect("it has the form of a generated one");
    assert_eq!(registered.client.secret_storage(), SecretStorage::Digest);
    let rotation = Rotation { given: Some(bring(supplied)), ..Rotation::default() };
    let refused = stack.rotate_secret(&root(), &id("c"), rotation).await;
    assert_eq!(refused.err(), Some(ManagementError::SuppliedSecret(subject("c"))));
    stack.rotate_secret(&root(), &id("c"), Rotation::default()).await.expect("rotated");

    // A schedule, in whatever order.
    let refusal = Some(ManagementError::from(InvalidRegistration::RotatedDigest));
    let days = SecretRotationDays::new(30).ok();
    let both = ClientMetadata { client_secret_rotation_days: days, ..digest.clone() };
    assert_eq!(stack.register(&root(), registration(Some("d"), both)).await.err(), refusal);
    let update = async |of: &str, metadata: &(dyn Fn(&mut ClientMetadata) + Sync)| {
        let change = ClientChange { metadata, names_secret_storage: true, ..ClientChange::NOTHING };
        stack.update(&root(), &id(of), &change).await.map(|changed| changed.notices)
    };
    assert_eq!(update("c", &|metadata| metadata.client_secret_rotation_days = days).await.err(), refusal);
    let rotated = ClientMetadata { client_secret_rotation_days: days, ..ClientMetadata::new() };
    stack.register(&root(), registration(Some("d"), rotated)).await.expect("registered");
    let keep_digest = |metadata: &mut ClientMetadata| metadata.client_secret_storage = Some(SecretStorage::Digest);
    assert_eq!(update("d", &keep_digest).await.err(), refusal);
    let neither = |metadata: &mut ClientMetadata| {
        keep_digest(metadata);
        metadata.client_secret_rotation_days = None;
    };
    assert_eq!(update("d", &neither).await, Ok(vec![]));
    assert_eq!(update("d", &keep_digest).await, Ok(vec![Notice::NothingChanged(subject("d"))]));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_realm_keeps_secrets_is_for_clients_to_come() {
    let house = House::new();
    let stack = house.management.with_scheduled_rotation();
    let set = async |storage: Option<SecretStorage>| {
        let settings = |settings: &mut RealmSettings| settings.client_secret_storage = storage;
        let change = RealmChange { settings: &settings, ..RealmChange::NOTHING };
        stack.set_realm(&root(), &change).await.map(|changed| changed.notices)
    };
    let register = async |name: &str, metadata: ClientMetadata| {
        let registered = stack.register(&root(), registration(Some(name), metadata)).await.expect("registered");
        registered.client.secret_storage()
    };
    let stay = |storage, count, names: &[&str]| {
        let first = names.iter().map(|name| id(name)).collect();
        Notice::SecretsStay { realm: root(), storage, count, first }
    };
    let (digest, secrets_manager) = (SecretStorage::Digest, SecretStorage::SecretsManager);
    let rotated =
        ClientMetadata { client_secret_rotation_days: SecretRotationDays::new(30).ok(), ..ClientMetadata::new() };
    assert_eq!(register("rotated", rotated.clone()).await, secrets_manager);
    assert_eq!(register("there", ClientMetadata::new()).await, secrets_manager);

    // A client that would never follow, until it says that it does not.
    let first = vec![id("rotated")];
    assert_eq!(set(Some(digest)).await, Err(ManagementError::SecretsAreRotated { realm: root(), count: 1, first }));
    let own = |metadata: &mut ClientMetadata| metadata.client_secret_storage = Some(secrets_manager);
    let change = ClientChange { metadata: &own, names_secret_storage: true, ..ClientChange::NOTHING };
    stack.update(&root(), &id("rotated"), &change).await.expect("changed");
    assert_eq!(set(Some(digest)).await, Ok(vec![stay(digest, 2, &["rotated", "there"])]));
    assert_eq!(set(Some(digest)).await, Ok(vec![Notice::NothingChanged(Subject::Realm(root()))]));

    assert_eq!(register("new", ClientMetadata::new()).await, digest);
    let own = ClientMetadata { client_secret_storage: Some(secrets_manager), ..rotated };
    assert_eq!(register("own", own).await, secrets_manager, "a client's goes before its realm's");
    let there = stack.client(&root(), &id("there")).await.expect("registered");
    assert_eq!(there.secret_storage(), secrets_manager, "what there was stays where it is");
    assert_eq!(set(None).await, Ok(vec![stay(secrets_manager, 1, &["new"])]));
    assert_eq!(stack.client(&root(), &id("new")).await.expect("registered").secret_storage(), digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_written_where_it_changes_something_and_undoes_nobody_elses() {
    let house = House::new();
    house.register("c", ClientMetadata::new()).await;
    let nothing = house.update("c", &|_| ()).await.expect("nothing to do").0;
    assert_eq!(nothing.revision, 1, "nothing was written");
    let renamed = house.update("c", &|metadata| metadata.client_name = Some("n".to_owned())).await.expect("changed").0;
    assert_eq!(renamed.revision, 2);

    // Somebody else stops it between reading and writing: both is done.
    let realm = root();
    let meddle = |metadata: &mut ClientMetadata| {
        let other = house.management.set_status(&realm, &renamed.client_id, ClientStatus::Disabled);
        tokio::task::block_in_place(|| Handle::current().block_on(other).expect("changed"));
        metadata.client_name = Some("m".to_owned());
    };
    let both = house.update("c", &meddle).await.expect("made again").0;
    assert_eq!((both.revision, both.status), (4, ClientStatus::Disabled));
    assert_eq!(both.metadata.client_name.as_deref(), Some("m"));
    assert_eq!(house.management.client(&root(), &id("c")).await, Ok(both));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_changed_registration_answers_to_its_realm() {
    let house = House::new();
    let scope = |text: &str| text.parse().expect("a scope");
    house.register("c", ClientMetadata { scope: scope("write"), ..ClientMetadata::new() }).await;
    house
        .set_realm(&|settings| settings.allowed_scope = Some("read".parse().expect("a scope")))
        .await
        .expect("changed");
    let other = |metadata: &mut ClientMetadata| metadata.scope = "write other".parse().expect("a scope");
    let refused = house.update("c", &other).await.err();
    assert!(matches!(refused, Some(ManagementError::Invalid(InvalidRegistration::ScopeOutsideRealm { .. }))));
    house.valid_after("c", TokensValidAfter::RevokeAll).await.expect("an emergency is not held up");
    let disabled = house.management.set_status(&root(), &id("c"), ClientStatus::Disabled).await.expect("stopped");
    assert_eq!(disabled.record.status, ClientStatus::Disabled);
    house.management.delete(&root(), &id("c")).await.expect("removed");
    let gone = house.management.delete(&root(), &id("c")).await;
    assert_eq!(gone, Err(ManagementError::Unknown(subject("c"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_keeps_its_end_and_an_expired_one_stays_dead() {
    let house = House::new();
    let lifetime = Some(SecretLifetime::of_seconds(100));
    let registration = Registration { secret_lifetime: lifetime, ..registration(Some("c"), ClientMetadata::new()) };
    let registered = house.management.register(&root(), registration).await.expect("registered");
    let ends_at = START.plus(100);
    assert_eq!(registered.client.metadata.client_secret_expires_at, ends_at);

    let kept = house.management.rotate_secret(&root(), &id("c"), Rotation::default()).await.expect("rotated");
    assert_eq!((kept.previous_is_valid, &kept.notices[..]), (true, &[Notice::NewSecretEndsAt(ends_at)][..]));
    assert_eq!(kept.client.metadata.client_secret_expires_at, ends_at);

    house.clock.set(ends_at);
    let refused = house.management.rotate_secret(&root(), &id("c"), Rotation::default()).await.err();
    assert_eq!(refused, Some(ManagementError::SecretsExpired { of: subject("c"), at: ends_at }));
    let stored = house.registry.secrets(&kept.client).await.expect("readable").expect("secrets");
    assert_eq!(stored.current.as_bytes(), kept.secret.digest().as_bytes(), "nothing was rotated");

    let never = Some(SecretLifetime::of_seconds(0));
    let renewed = house
        .management
        .rotate_secret(&root(), &id("c"), Rotation { lifetime: never, ..Rotation::default() })
        .await
        .expect("rotated");
    assert_eq!((renewed.previous_is_valid, renewed.client.metadata.client_secret_expires_at), (false, UnixSeconds(0)));
    let stored = house.registry.secrets(&renewed.client).await.expect("readable").expect("secrets");
    assert_eq!(stored.current.as_bytes(), renewed.secret.digest().as_bytes());
    assert!(stored.previous.is_none(), "whoever found the expired one does not see it come back");

    let another = house.management.rotate_secret(&root(), &id("c"), Rotation::default()).await.expect("rotated");
    assert_eq!((another.previous_is_valid, another.notices), (true, vec![]));
    house.management.revoke_previous_secret(&root(), &id("c")).await.expect("ended");
    let stored = house.registry.secrets(&another.client).await.expect("readable").expect("secrets");
    assert!(stored.previous.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_secret_is_replaced_and_a_second_plain_rotation_warns_within_an_hour() {
    let house = House::new();
    let first = house.register("c", ClientMetadata::new()).await.secret.expect("a secret");
    let rotate = async |rotation| house.management.rotate_secret(&root(), &id("c"), rotation).await.expect("rotated");
    let plain = Rotation::default;
    let replacing = || Rotation { replaces_current: true, ..Rotation::default() };
    let previous = async || {
        let client = house.management.client(&root(), &id("c")).await.expect("there");
        let secrets = house.registry.secrets(&client).await.expect("readable").expect("secrets");
        secrets.valid_previous(house.clock.now()).map(|digest| *digest.as_bytes())
    };
    let digest = |secret: &ClientSecret| Some(*secret.digest().as_bytes());

    assert_eq!(rotate(plain()).await.notices, vec![], "the first rotation ends nothing");
    house.clock.set(START.plus(60));
    for _ in 0..2 {
        let replaced = rotate(replacing()).await;
        assert_eq!((replaced.notices, replaced.previous_is_valid), (vec![], true));
        assert_eq!(previous().await, digest(&first), "the application's own");
    }
    house.clock.set(START.plus(60 + 3_599));
    let again = rotate(plain()).await;
    assert_eq!(again.notices, [Notice::RotatedTwice { of: subject("c"), seconds: 3_599 }]);
    house.clock.set(START.plus(60 + 3_599 + 3_600));
    assert_eq!(rotate(plain()).await.notices, vec![], "an hour later");

    // Where nothing is to be kept, nothing is ended either.
    house.management.revoke_previous_secret(&root(), &id("c")).await.expect("ended");
    let only = rotate(plain()).await.secret;
    house.management.revoke_previous_secret(&root(), &id("c")).await.expect("ended");
    let beside = rotate(replacing()).await;
    assert_eq!(beside.notices, [Notice::NoPreviousSecretToKeep(subject("c"))]);
    assert_eq!(previous().await, digest(&only));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_previous_secret_ends_when_its_rotation_says() {
    let house = House::new();
    let first = house.register("c", ClientMetadata::new()).await.secret.expect("a secret");
    let lifetime = PreviousLifetime::of_seconds(100);
    let rotation = Rotation { previous_lifetime: lifetime, ..Rotation::default() };
    let rotated = house.management.rotate_secret(&root(), &id("c"), rotation).await.expect("rotated");
    assert_eq!((rotated.previous_is_valid, rotated.previous_expires_at), (true, START.plus(100)));
    assert_eq!(rotated.client.metadata.client_secret_expires_at, UnixSeconds(0), "the new one has no end");
    let dates = house.management.secret_dates(&root(), &id("c")).await.expect("readable").expect("secrets");
    assert_eq!(dates.made_at, Some(START));
    assert_eq!(dates.valid_previous(START.plus(99)).map(|previous| previous.expires_at), Some(START.plus(100)));
    assert_eq!(dates.valid_previous(START.plus(100)), None);

    // One that has ended is not kept, and its end is not that of the next one.
    house.clock.set(START.plus(100));
    let replacing = Rotation { replaces_current: true, ..Rotation::default() };
    let replaced = house.management.rotate_secret(&root(), &id("c"), replacing).await.expect("rotated");
    assert_eq!(replaced.notices, [Notice::NoPreviousSecretToKeep(subject("c"))]);
    let secrets = house.registry.secrets(&replaced.client).await.expect("readable").expect("secrets");
    let previous = secrets.valid_previous(START.plus(1_000)).expect("valid");
    assert_eq!(previous.as_bytes(), rotated.secret.digest().as_bytes());
    assert_ne!(previous.as_bytes(), first.digest().as_bytes());
    assert_eq!((PreviousLifetime::of_seconds(0), PreviousLifetime::of_seconds(SecretLifetime::MAX + 1)), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_revoked_with_this_second_and_given_back_with_a_notice() {
    let house = House::new();
    house.register("c", ClientMetadata::new()).await;
    let (revoked, notices) = house.valid_after("c", TokensValidAfter::RevokeAll).await.expect("revoked");
    assert_eq!((revoked, notices), (START.plus(1), vec![]), "one issued in this very second carries this second");
    let (back, notices) = house.valid_after("c", TokensValidAfter::From(UnixSeconds(7))).await.expect("lowered");
    assert_eq!((back, notices), (UnixSeconds(7), vec![Notice::TokensCountAgain { of: subject("c"), from: back }]));

    let wanted = START.plus(3600);
    let ahead = house.valid_after("c", TokensValidAfter::From(wanted)).await.err();
    assert_eq!(ahead, Some(ManagementError::ValidAfterIsAhead { wanted, seconds: 3600, now: START }));
    // The clock that set it was wrong, and revoking all once more would leave it so.
    house.clock.set(wanted);
    house.valid_after("c", TokensValidAfter::From(wanted)).await.expect("set");
    house.clock.set(START);
    let ahead = house.valid_after("c", TokensValidAfter::RevokeAll).await.err();
    let expected =
        ManagementError::StoredValidAfterIsAhead { of: subject("c"), stored: wanted, seconds: 3600, now: START };
    assert_eq!(ahead, Some(expected));
    assert_eq!(house.management.client(&root(), &id("c")).await.expect("there").tokens_valid_after, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_lifetime_is_remembered_by_who_has_it() {
    let house = House::new();
    let lifetime = |seconds| TokenLifetime::new(seconds).ok();
    house.register("c", ClientMetadata { access_token_lifetime: lifetime(600), ..ClientMetadata::new() }).await;
    let shorter =
        house.update("c", &|metadata| metadata.access_token_lifetime = lifetime(60)).await.expect("changed").0;
    assert!(shorter.longer_tokens_until.is_some_and(|until| until >= START.plus(600)), "{shorter:?}");
    let longer =
        house.update("c", &|metadata| metadata.access_token_lifetime = lifetime(900)).await.expect("changed").0;
    assert_eq!(longer.longer_tokens_until, shorter.longer_tokens_until, "and not forgotten by the next change");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_is_made_by_setting_nothing_and_does_not_contradict_itself() {
    let house = House::new();
    assert_eq!(house.names().await, ["root"], "it needs no record");
    for name in ["zeta", "alpha", "alpha"] {
        let name: RealmName = name.parse().expect("a name");
        let set = house.management.set_realm(&name, &RealmChange::NOTHING).await.expect("made");
        assert_eq!(set.record.revision, 1, "the second time nothing is written");
    }
    assert_eq!(house.names().await, ["root", "alpha", "zeta"]);

    let scope = |text: &str| Some(text.parse().expect("a scope"));
    let contradict = |settings: &mut RealmSettings| {
        settings.allowed_scope = scope("read");
        settings.default_scope = scope("read write");
    };
    let allowed = "read".parse().expect("a scope");
    let expected = ManagementError::DefaultScopeOutsideRealm { scope: "write".to_owned(), allowed };
    assert_eq!(house.set_realm(&contradict).await.err(), Some(expected));
    let grants = house.set_realm(&|settings| settings.grant_types = Some(["password".parse().expect("a type")].into()));
    let unimplemented = Notice::GrantTypeNotImplemented("password".parse().expect("a type"));
    assert_eq!(grants.await.expect("changed"), [unimplemented]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_published_before_it_signs_whoever_asks_for_its_algorithm() {
    let house = House::new();
    let scope = || "a".parse().expect("a scope");
    let with_alg =
        |alg| ClientMetadata { access_token_signing_alg: Some(alg), scope: scope(), ..ClientMetadata::new() };
    let first = house.register("c", with_alg(SigningAlgorithm::EdDsa)).await;
    let opaque = |id: &str| Notice::SigningAlgOfOpaqueTokens(subject(id));
    assert_eq!(first.notices, [opaque("c")], "the first keys sign at once");
    let both = ["ES256 current", "ES256 next", "EdDSA current", "EdDSA next"];
    assert_eq!(house.keys().await, both, "the client does not decide for its realm");

    let second = house.register("d", with_alg(SigningAlgorithm::Ps256)).await;
    assert_eq!(second.notices, [opaque("d"), Notice::SignsOncePublished(SigningAlgorithm::Ps256)]);
    let change = RealmChange {
        settings: &|settings| settings.access_token_signing_alg = Some(SigningAlgorithm::Ps256),
        names_signature: true,
        ..RealmChange::NOTHING
    };
    let realm = house.management.set_realm(&root(), &change).await.expect("changed");
    assert_eq!(realm.notices, [], "there is one already");

    // Not to be rotated before everybody knows the next one; and one that has leaked is out whenever that is.
    let soon = house.management.rotate_keys(&root()).await.err();
    let refused = |error| Some(ManagementError::Keys { realm: root(), error: KeyChangeError::Refused(error) });
    assert_eq!(soon, refused(RotationRefused::TooSoon { ready_at: START.plus(PUBLISHED_BEFORE_SIGNING) }));
    let unknown = house.management.revoke_key(&root(), &KeyId::from("unknown")).await.err();
    assert_eq!(unknown, refused(RotationRefused::UnknownKey));
    let keys = house.management.keys(&root()).await.expect("keys");
    let leaked = keys.keys[0].jwk.kid.clone();
    let left = house.management.revoke_key(&root(), &leaked).await.expect("revoked");
    assert!(left.keys.iter().all(|key| key.jwk.kid != leaked));

    let empty = House::new();
    let made = empty.management.rotate_keys(&root()).await.expect("made");
    assert_eq!(made.notices, [Notice::FirstKeysMade(root())]);
    assert_eq!(roles(&made.record), ["ES256 current", "ES256 next"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_goes_on_where_it_stopped_whatever_the_size_of_its_pages() {
    let house = House::new();
    for id in ["c", "a", "e", "b", "d"] {
        house.register(id, ClientMetadata::new()).await;
    }
    for page_size in [1, 2, 5, 100] {
        let (mut cursor, mut seen) = (None, Vec::new());
        loop {
            let page = house.management.clients(&root(), cursor, 2, page_size).await.expect("listed");
            assert!(page.clients.len() <= 2, "{page_size}");
            seen.extend(page.clients.into_iter().map(|client| client.client_id.as_str().to_owned()));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"], "{page_size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_made_again_once_on_what_somebody_quicker_has_stored() {
    let house = House::new();
    house.register("c", ClientMetadata::new()).await;
    for rivals in [1, 2] {
        let rival = Rival::coming(rivals);
        let mine = format!("mine {rivals}");
        let change = |metadata: &mut ClientMetadata| {
            rival.acts(house.update("c", &|metadata| metadata.contacts.push("rival".to_owned())));
            metadata.client_name = Some(mine.clone());
        };
        let changed = house.update("c", &change).await;
        if rivals == 1 {
            let (client, _) = changed.expect("made on the second attempt");
            assert_eq!((client.metadata.client_name, client.metadata.contacts), (Some(mine), vec!["rival".to_owned()]));
        } else {
            assert_eq!(changed.err(), Some(ManagementError::Conflict(subject("c"))));
            let client = house.management.client(&root(), &id("c")).await.expect("registered");
            assert_eq!((client.metadata.client_name.as_deref(), client.metadata.contacts.len()), (Some("mine 1"), 3));
        }
    }

    for rivals in [1, 2] {
        let rival = Rival::coming(rivals);
        let lifetime = |seconds| TokenLifetime::new(seconds).ok();
        let change = |settings: &mut RealmSettings| {
            let count = settings.access_token_lifetime.map_or(60, TokenLifetime::seconds);
            rival.acts(house.set_realm(&|settings| settings.access_token_lifetime = lifetime(count + 1)));
            settings.default_scope = format!("mine-{rivals}").parse().ok();
        };
        let expected = (rivals == 2).then_some(ManagementError::Conflict(Subject::Realm(root())));
        assert_eq!(house.set_realm(&change).await.err(), expected);
        let settings = house.management.realm(&root()).await.expect("root").settings;
        assert_eq!(settings.default_scope, "mine-1".parse().ok(), "the first change was made, and stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_keeps_what_its_realm_has_withdrawn_and_gets_no_more_of_it() {
    let house = House::new();
    let scope = |text: &str| text.parse::<Scope>().expect("a scope");
    house.register("c", ClientMetadata { scope: scope("read write"), ..ClientMetadata::new() }).await;
    house.set_realm(&|settings| settings.allowed_scope = "read admin".parse().ok()).await.expect("set");
    let set = |text: &'static str| {
        house.update("c", Box::leak(Box::new(move |metadata: &mut ClientMetadata| metadata.scope = scope(text))))
    };

    let (client, _) =
        house.update("c", &|metadata| metadata.client_name = Some("n".to_owned())).await.expect("another member");
    assert_eq!(client.metadata.scope, scope("read write"));
    assert!(set("write").await.is_ok(), "fewer");
    assert!(set("write admin").await.is_ok(), "what the realm allows");
    let refused = |token: &str| {
        let (realm, allowed) = (root(), scope("read admin"));
        Some(ManagementError::Invalid(InvalidRegistration::ScopeOutsideRealm {
            realm,
            scope: token.to_owned(),
            allowed,
        }))
    };
    assert_eq!(set("write other").await.err(), refused("other"));
    assert!(set("read").await.is_ok(), "without what was withdrawn");
    assert_eq!(set("write").await.err(), refused("write"), "which does not come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_changes_nothing_says_so() {
    let house = House::new();
    house.register("c", named("n")).await;
    let name = |name: &'static str| {
        house.update(
            "c",
            Box::leak(Box::new(move |metadata: &mut ClientMetadata| metadata.client_name = Some(name.into()))),
        )
    };
    let (before, notices) = name("m").await.expect("changed");
    assert_eq!(notices, []);
    let (after, notices) = name("m").await.expect("nothing to change");
    assert_eq!((after, notices), (before, vec![Notice::NothingChanged(subject("c"))]));

    let lifetime = |settings: &mut RealmSettings| settings.access_token_lifetime = TokenLifetime::new(60).ok();
    assert_eq!(house.set_realm(&lifetime).await, Ok(vec![]));
    assert_eq!(house.set_realm(&lifetime).await, Ok(vec![Notice::NothingChanged(Subject::Realm(root()))]));
}

/// Somebody who changes what another one has read and not yet written.
struct Rival(AtomicU64);

impl Rival {
    fn coming(times: u64) -> Self {
        Self(AtomicU64::new(times))
    }

    fn acts<T>(&self, change: impl Future<Output = Result<T, ManagementError>>) {
        let left = self.0.load(Ordering::SeqCst);
        if left > 0 {
            self.0.store(left - 1, Ordering::SeqCst);
            let changed = tokio::task::block_in_place(|| Handle::current().block_on(change));
            assert!(changed.is_ok(), "the rival was quicker");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_goes_with_its_clients_only_where_they_may_go_too() {
    let house = House::new();
    let (alpha, beta) = (realm_of("alpha"), realm_of("beta"));
    for realm in [&alpha, &beta] {
        house.management.set_realm(realm, &RealmChange::NOTHING).await.expect("made");
        house.management.rotate_keys(realm).await.expect("keys");
        for number in 0..3 {
            let registration = registration(Some(&format!("c{number}")), ClientMetadata::new());
            house.management.register(realm, registration).await.expect("registered");
        }
    }
    let delete = async |realm: &RealmName, with_clients| house.management.delete_realm(realm, with_clients).await;
    assert_eq!(delete(&root(), true).await, Err(ManagementError::RootStays));
    let gamma = realm_of("gamma");
    assert_eq!(delete(&gamma, true).await, Err(ManagementError::Unknown(Subject::Realm(gamma))));
    let first = [id("c0"), id("c1"), id("c2")].to_vec();
    assert_eq!(
        delete(&alpha, false).await,
        Err(ManagementError::RealmHasClients { realm: alpha.clone(), count: 3, first }),
    );
    let still = house.management.client(&alpha, &id("c0")).await.expect("nothing was changed");
    assert_eq!(still.status, ClientStatus::Active);
    assert_eq!(house.management.deletion_of_realm(&alpha, true).await, Ok(3));

    assert_eq!(delete(&alpha, true).await, Ok(DeletedRealm { clients: 3, had_keys: true, declared_by: None }));
    assert_eq!(house.names().await, ["root", "beta"]);
    assert_eq!(delete(&alpha, true).await, Err(ManagementError::Unknown(Subject::Realm(alpha.clone()))));
    assert!(house.registry.read_keys(&alpha).await.expect("read").is_none());
    assert!(house.registry.list(&alpha, None, 10).await.expect("listed").clients.is_empty());
    assert_eq!(house.registry.list(&beta, None, 10).await.expect("listed").clients.len(), 3, "another realm's stay");
    assert!(!house.management.keys(&beta).await.expect("read").keys.is_empty());

    // Another one of the name is a new one: a token names the registration that it was issued to.
    house.management.set_realm(&alpha, &RealmChange::NOTHING).await.expect("made");
    let registered = house.management.register(&alpha, registration(Some("c0"), ClientMetadata::new())).await;
    assert_ne!(registered.expect("registered").client.registration_id, still.registration_id);
    assert!(house.management.keys(&alpha).await.expect("read").keys.is_empty());
    house.management.delete(&alpha, &id("c0")).await.expect("deleted");
    assert_eq!(
        delete(&alpha, false).await,
        Ok(DeletedRealm { clients: 0, had_keys: false, declared_by: None }),
        "without clients"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deletion_of_a_realm_has_left_goes_with_the_next_one_and_never_comes_back() {
    let house = House::new();
    let alpha = realm_of("alpha");
    house.management.set_realm(&alpha, &RealmChange::NOTHING).await.expect("made");
    let registration = |id| registration(Some(id), ClientMetadata::new());
    house.management.register(&alpha, registration("c")).await.expect("registered");

    // As an interruption leaves it: all disabled, one deleted, the keys gone, the record there.
    house.management.register(&alpha, registration("d")).await.expect("registered");
    house.management.set_status(&alpha, &id("c"), ClientStatus::Disabled).await.expect("disabled");
    house.management.delete(&alpha, &id("d")).await.expect("deleted");
    let deleted = house.management.delete_realm(&alpha, true).await;
    assert_eq!(deleted, Ok(DeletedRealm { clients: 1, had_keys: false, declared_by: None }));

    // A server that had not heard of it makes keys, and the realm that is made next has none of them.
    let stray = KeySet::create(&[SigningAlgorithm::Es256], START).expect("keys");
    house.registry.create_keys(&alpha, &stray).await.expect("stored");
    house.management.set_realm(&alpha, &RealmChange::NOTHING).await.expect("made");
    assert!(house.management.keys(&alpha).await.expect("read").keys.is_empty());
    // That is of a realm that is made, not of one that is changed.
    house.management.rotate_keys(&alpha).await.expect("keys");
    house.management.set_realm(&alpha, &RealmChange::NOTHING).await.expect("changed");
    assert!(!house.management.keys(&alpha).await.expect("read").keys.is_empty());

    // Keys alone can be deleted, too.
    house.management.delete_realm(&alpha, false).await.expect("deleted");
    house.registry.create_keys(&alpha, &stray).await.expect("stored");
    assert_eq!(
        house.management.delete_realm(&alpha, false).await,
        Ok(DeletedRealm { clients: 0, had_keys: true, declared_by: None })
    );
    // Keys of the root realm, which has no record, are nobody's leftover.
    house.management.rotate_keys(&root()).await.expect("keys");
    house.set_realm(&|settings| settings.default_scope = "a".parse().ok()).await.expect("its first record");
    assert!(!house.keys().await.is_empty());
}

impl House {
    fn new() -> Self {
        let registry = Arc::new(SqliteRegistry::in_memory().expect("a store"));
        let clock = Arc::new(SetClock(AtomicU64::new(START.0)));
        let management = Management::new(
            Arc::clone(&registry) as _,
            Arc::clone(&registry) as _,
            logging(Arc::clone(&registry) as _),
            Arc::clone(&clock) as _,
            Arc::new(SystemRandom),
        );
        Self { registry, clock, management }
    }

    async fn register(&self, id: &str, metadata: ClientMetadata) -> Registered {
        self.management.register(&root(), registration(Some(id), metadata)).await.expect("registered")
    }

    async fn update(
        &self,
        id: &str,
        metadata: &(dyn Fn(&mut ClientMetadata) + Sync),
    ) -> Result<(Client, Vec<Notice>), ManagementError> {
        let change = ClientChange { metadata, ..ClientChange::NOTHING };
        let changed = self.management.update(&root(), &self::id(id), &change).await?;
        Ok((changed.record, changed.notices))
    }

    async fn valid_after(
        &self,
        id: &str,
        tokens_valid_after: TokensValidAfter,
    ) -> Result<(UnixSeconds, Vec<Notice>), ManagementError> {
        let change = ClientChange { tokens_valid_after, ..ClientChange::NOTHING };
        let changed = self.management.update(&root(), &self::id(id), &change).await?;
        Ok((changed.record.tokens_valid_after, changed.notices))
    }

    async fn set_realm(&self, settings: &(dyn Fn(&mut RealmSettings) + Sync)) -> Result<Vec<Notice>, ManagementError> {
        let change = RealmChange { settings, ..RealmChange::NOTHING };
        Ok(self.management.set_realm(&root(), &change).await?.notices)
    }

    async fn names(&self) -> Vec<String> {
        let realms = self.management.realms().await.expect("listed");
        realms.into_iter().map(|realm| realm.name.as_str().to_owned()).collect()
    }

    async fn keys(&self) -> Vec<String> {
        roles(&self.management.keys(&root()).await.expect("readable"))
    }
}

impl SetClock {
    fn set(&self, time: UnixSeconds) {
        self.0.store(time.0, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.0.load(Ordering::SeqCst))
    }
}

fn registration(id: Option<&str>, metadata: ClientMetadata) -> Registration {
    Registration {
        client_id: id.map(self::id),
        metadata,
        secret_lifetime: None,
        secret: None,
        status: ClientStatus::Active,
        managed_by: None,
    }
}

fn named(name: &str) -> ClientMetadata {
    ClientMetadata { client_name: Some(name.to_owned()), ..ClientMetadata::new() }
}

fn realm_of(name: &str) -> RealmName {
    name.parse().expect("a name")
}

fn id(text: &str) -> ClientId {
    text.parse().expect("an id")
}

fn root() -> RealmName {
    RealmName::root()
}

fn subject(client_id: &str) -> Subject {
    Subject::Client { realm: root(), client_id: id(client_id) }
}

fn roles(keys: &PublishedKeys) -> Vec<String> {
    let role = |status| serde_json::to_value(status).expect("JSON").as_str().expect("text").to_owned();
    keys.keys.iter().map(|key| format!("{} {}", key.jwk.alg, role(key.status))).collect()
}

/// 23 November 2026.
const START: UnixSeconds = UnixSeconds(1_795_415_820);
