//! The rotation contract on the emulator: each step once, twice, out of order, beside another, too late, and by schedule.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_secretsmanager::error::ProvideErrorMetadata as _;
use aws_sdk_secretsmanager::types::Tag;
use grantwell::aws::lambda::rotation::{Rotation, RotationError, RotationStores};
use grantwell::aws::store::keys::DynamoPublishedKeys;
use grantwell::aws::store::registry_id::RegistryIdentity;
use grantwell::core::access_token::settings::TokenLifetime;
use grantwell::core::client::metadata::SecretRotationDays;
use grantwell::core::client::secret::{Beside, ClientSecrets, NewSecret};
use grantwell::core::error::{ClientAuthFailure, OAuthError};
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::keyring::Keyring;
use grantwell::core::keys::published::{KeyStatus, PublishedKeys};
use grantwell::core::keys::retention::SIGNERS_MAX_AGE;
use grantwell::core::keys::set::{KeySet, PUBLISHED_BEFORE_SIGNING, RotationRefused, VERIFIES_AFTER_SIGNING};
use grantwell::core::ports::Clock;
use grantwell::core::realms::{RealmDefaults, Realms};
use grantwell::core::time::UnixSeconds;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::super::NOW;
use super::*;

const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];
const DAY: u64 = 86_400;

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_client_secret_is_rotated_however_often_each_step_comes() {
    let world = World::create().await;
    let (client, old) = world.client("myClient").await;
    let name = world.client_secret(&client);
    // What an application keeps beside its secret stays there.
    let text = json!({
        "client_id": "myClient", "client_secret": old.expose_client_secret(), "token_url": "https://a",
        "registration_id": client.registration_id,
    });
    world.put(&name, &text.to_string()).await;
    let version = world.begin(&name).await;
    for step in STEPS {
        assert_accepted(world.stack.secrets().secrets(&client).await.expect("read").as_ref(), &old, Some(&old));
        for _ in 0..2 {
            world.step(step, &name, &version).await.unwrap_or_else(|error| panic!("{step}: {error}"));
        }
    }
    let current: Value = serde_json::from_str(&world.text(&name, "AWSCURRENT").await).expect("JSON");
    assert_eq!((&current["client_id"], &current["token_url"]), (&json!("myClient"), &json!("https://a")));
    let new = current["client_secret"].as_str().expect("a secret");
    assert!(new.starts_with("gws_") && new.len() == 47, "a generated secret");
    let new = ClientSecret::given(new, false).expect("a secret");
    assert_accepted(world.stack.secrets().secrets(&client).await.expect("read").as_ref(), &new, Some(&old));

    // Late, and in any order: the version is current, so there is nothing to do.
    for step in STEPS {
        world.step(step, &name, &version).await.unwrap_or_else(|error| panic!("{step}: {error}"));
    }
    assert_accepted(world.stack.secrets().secrets(&client).await.expect("read").as_ref(), &new, Some(&old));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn steps_out_of_order_change_nothing() {
    let world = World::create().await;
    let (client, old) = world.client("myClient").await;
    let name = world.client_secret(&client);
    let version = world.begin(&name).await;
    for step in ["finishSecret", "testSecret"] {
        let error = world.step(step, &name, &version).await.expect_err("no value yet");
        assert!(matches!(error, RotationError::NoValue), "{step}: {error}");
    }
    assert_accepted(world.stack.secrets().secrets(&client).await.expect("read").as_ref(), &old, None);

    // A version that is not this rotation's.
    for version in ["00000000-0000-0000-0000-000000000000", &world.version(&name, "AWSCURRENT").await] {
        for step in STEPS {
            let outcome = world.step(step, &name, version).await;
            let is_current = version == world.version(&name, "AWSCURRENT").await;
            assert!(is_current || matches!(outcome, Err(RotationError::NotPending)), "{step}: {outcome:?}");
            assert_eq!(outcome.is_ok(), is_current, "{step}");
        }
    }
    assert_accepted(world.stack.secrets().secrets(&client).await.expect("read").as_ref(), &old, None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the AWS emulator: make test"]
async fn steps_beside_each_other_come_to_one_secret() {
    let world = World::create().await;
    let (client, old) = world.client("myClient").await;
    let name = world.client_secret(&client);
    let version = world.begin(&name).await;
    for step in STEPS {
        let (one, two) = tokio::join!(world.step(step, &name, &version), world.step(step, &name, &version));
        assert!(one.is_ok() && two.is_ok(), "{step}: {one:?} {two:?}");
    }
    let secrets = world.stack.secrets().secrets(&client).await.expect("read").expect("secrets");
    assert_eq!(secrets.previous.map(|digest| *digest.as_bytes()), Some(*old.digest().as_bytes()));
    assert_eq!(world.version(&name, "AWSCURRENT").await, version);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_secret_that_does_not_authenticate_its_client_never_becomes_current() {
    let world = World::create().await;
    let (client, old) = world.client("myClient").await;
    let name = world.client_secret(&client);
    let version = world.begin(&name).await;
    let refused = async |version: &str| {
        let mut errors = Vec::new();
        for step in ["testSecret", "finishSecret"] {
            errors.push(world.step(step, &name, version).await.expect_err("a refusal"));
        }
        assert_accepted(world.stack.secrets().secrets(&client).await.expect("read").as_ref(), &old, None);
        errors
    };

    world.step("createSecret", &name, &version).await.expect("created");
    let disabled = Client { status: ClientStatus::Disabled, revision: 2, ..client.clone() };
    world.stack.registrar().replace(&disabled).await.expect("disabled");
    for error in refused(&version).await {
        let RotationError::Authentication(OAuthError::InvalidClient(failure)) = error else { panic!("{error}") };
        assert_eq!(failure, ClientAuthFailure::Disabled);
    }
    world.stack.registrar().replace(&Client { revision: 3, ..client.clone() }).await.expect("enabled");
    world.step("testSecret", &name, &version).await.expect("the client may authenticate again");

    // Somebody else's text, or none that a request can carry.
    let registration = client.registration_id.as_str();
    for (number, text) in [
        json!({"client_id": "canary", "client_secret": "canary", "registration_id": registration}).to_string(),
        json!({"client_id": "myClient", "client_secret": "", "registration_id": registration}).to_string(),
        json!({"client_id": "myClient", "client_secret": "canary\n", "registration_id": registration}).to_string(),
        "canary".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let version = format!("00000000-0000-0000-0000-00000000000{number}");
        world.put_pending(&name, &version, &text).await;
        for error in refused(&version).await {
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }

    // A registration that is gone: no step past the first.
    let version = world.begin(&name).await;
    world.step("createSecret", &name, &version).await.expect("created");
    let key = [("realm", "alpha"), ("item", "client#myClient")];
    let key = key.map(|(attribute, value)| (attribute.to_owned(), AttributeValue::S(value.to_owned())));
    let gone = world.stack.dynamodb.delete_item().table_name(&world.stack.registry_table).set_key(Some(key.into()));
    gone.send().await.expect("deleted");
    let error = world.step("setSecret", &name, &version).await.expect_err("nobody to set it for");
    assert!(matches!(error, RotationError::UnregisteredClient), "{error}");
    for error in refused(&version).await {
        assert!(matches!(error, RotationError::UnregisteredClient), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_secret_of_another_name_is_left_alone() {
    let world = World::create().await;
    let prefix = &world.stack.name;
    for name in [
        format!("{prefix}/alpha/passwords"),
        format!("{prefix}/alpha/clients/a/b"),
        format!("{prefix}2/alpha/signing-keys"),
        format!("{prefix}/al.pha/signing-keys"),
    ] {
        world.stack.secrets_manager.create_secret().name(&name).secret_string("theirs").send().await.expect("created");
        let version = world.begin(&name).await;
        let before = world.labels(&name).await;
        for step in STEPS {
            let error = world.step(step, &name, &version).await.expect_err("a refusal");
            assert!(matches!(error, RotationError::ForeignSecret), "{name}: {error}");
        }
        assert_eq!(world.labels(&name).await, before);
        assert_eq!(world.text(&name, "AWSCURRENT").await, "theirs");
        let deleted = world.stack.secrets_manager.delete_secret().secret_id(&name).force_delete_without_recovery(true);
        deleted.send().await.expect("deleted");
    }
    let error = world.step("createSecret", "no-such-secret", &"v".repeat(32)).await.expect_err("a refusal");
    assert!(matches!(error, RotationError::ForeignSecret), "{error}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn signing_keys_are_rotated_however_often_each_step_comes() {
    let world = World::create().await;
    let before = world.keys().await;
    let name = world.signing_keys();
    let version = world.begin(&name).await;

    // Not before the next key has been published for long enough.
    world.clock.advance(PUBLISHED_BEFORE_SIGNING - 1);
    let error = world.step("createSecret", &name, &version).await.expect_err("too soon");
    assert!(matches!(error, RotationError::Refused(RotationRefused::TooSoon { .. })), "{error}");
    world.clock.advance(1);

    for step in STEPS {
        assert_eq!(world.current_keys().await.published(), before.published(), "{step}");
        for _ in 0..2 {
            world.step(step, &name, &version).await.unwrap_or_else(|error| panic!("{step}: {error}"));
        }
        if step == "setSecret" {
            let published = world.published().await;
            assert_eq!(published.revision, before.revision + 1, "published before it signs");
            assert!(published.include_signers_of(&before), "what signs until then verifies on");
        }
    }
    let after = world.current_keys().await;
    assert_eq!(after.revision, before.revision + 1);
    assert_eq!(kid(&after, KeyStatus::Current), kid(&before, KeyStatus::Next));
    assert_eq!(kid(&after, KeyStatus::Previous), kid(&before, KeyStatus::Current));
    assert_eq!(world.published().await, after.published());
    for step in STEPS {
        world.step(step, &name, &version).await.unwrap_or_else(|error| panic!("{step}: {error}"));
    }
    assert_eq!(world.current_keys().await.published(), after.published());
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn keys_that_are_not_published_never_sign() {
    let world = World::create().await;
    let before = world.keys().await;
    let name = world.signing_keys();
    world.clock.advance(PUBLISHED_BEFORE_SIGNING);
    let version = world.begin(&name).await;
    for step in ["setSecret", "testSecret", "finishSecret"] {
        let error = world.step(step, &name, &version).await.expect_err("no value yet");
        assert!(matches!(error, RotationError::NoValue), "{step}: {error}");
    }
    world.step("createSecret", &name, &version).await.expect("created");
    for step in ["testSecret", "finishSecret"] {
        let error = world.step(step, &name, &version).await.expect_err("not published");
        assert!(matches!(error, RotationError::UnpublishedKeys), "{step}: {error}");
    }
    assert_eq!(world.current_keys().await.published(), before.published());

    // A published key that is not the half of the private one.
    world.step("setSecret", &name, &version).await.expect("published");
    let mut pending: Value = serde_json::from_str(&world.text(&name, "AWSPENDING").await).expect("JSON");
    let other = KeySet::create(&[SigningAlgorithm::Es256], NOW).expect("keys");
    let other: Value = serde_json::from_str(&other.to_json().expect("JSON")).expect("JSON");
    pending["keys"][1]["pkcs8"] = other["keys"][0]["pkcs8"].clone();
    let version = "00000000-0000-0000-0000-000000000001";
    world.put_pending(&name, version, &pending.to_string()).await;
    for step in ["testSecret", "finishSecret"] {
        world.step(step, &name, version).await.expect_err("a key that verifies nothing");
    }
    assert_eq!(world.current_keys().await.published(), before.published());
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn keys_of_a_rotation_that_somebody_overtook_are_discarded() {
    let world = World::create().await;
    world.keys().await;
    let name = world.signing_keys();
    world.clock.advance(PUBLISHED_BEFORE_SIGNING);
    for done in 1..STEPS.len() {
        let version = world.begin(&name).await;
        for step in &STEPS[..done] {
            world.step(step, &name, &version).await.expect("a step");
        }
        // The key that signs has leaked: an operator takes it out while the rotation would keep it as a previous one.
        let leaked = kid(&world.current_keys().await, KeyStatus::Current).as_str().into();
        let revoked = world.keyring().revoke(&world.realm.name, &leaked).await.expect("revoked");
        let error = world.step(STEPS[done], &name, &version).await.expect_err("no longer pending");
        assert!(matches!(error, RotationError::NotPending), "{error}");
        assert_eq!(world.current_keys().await.published(), revoked.published());
        assert_eq!(world.published().await, revoked.published(), "what was taken out stays out");
        // The next rotation begins with a version of its own.
        assert!(world.labels(&name).await.values().all(|labels| !labels.contains(&"AWSPENDING".to_owned())));
        // Nor does it where the label came back, or stayed because the command did not come to its end.
        world.stage_pending(&name, &version).await;
        let error = world.step(STEPS[done], &name, &version).await.expect_err("outdated");
        assert!(matches!(error, RotationError::OutdatedKeys), "{error}");
        assert!(world.labels(&name).await.values().all(|labels| !labels.contains(&"AWSPENDING".to_owned())));
        assert_eq!(world.current_keys().await.published(), revoked.published());
        world.clock.advance(PUBLISHED_BEFORE_SIGNING);
    }
    let version = world.begin(&name).await;
    for step in STEPS {
        world.step(step, &name, &version).await.unwrap_or_else(|error| panic!("{step}: {error}"));
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn keys_that_were_made_long_before_they_are_published_are_discarded() {
    let world = World::create().await;
    let before = world.keys().await;
    let name = world.signing_keys();
    world.clock.advance(PUBLISHED_BEFORE_SIGNING);
    let version = world.begin(&name).await;
    world.step("createSecret", &name, &version).await.expect("created");
    world.clock.advance(301);
    let error = world.step("setSecret", &name, &version).await.expect_err("late");
    assert!(matches!(error, RotationError::LateKeys), "{error}");
    assert_eq!(world.published().await, before.published());

    // Once they are published, a retry may come as late as it likes.
    let version = world.begin(&name).await;
    world.step("createSecret", &name, &version).await.expect("created");
    world.step("setSecret", &name, &version).await.expect("published");
    world.clock.advance(DAY);
    for step in STEPS {
        world.step(step, &name, &version).await.unwrap_or_else(|error| panic!("{step}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the AWS emulator: make test"]
async fn two_rotations_of_signing_keys_and_an_operator_leave_one_set_that_is_published() {
    let world = World::create().await;
    world.keys().await;
    for _ in 0..8 {
        world.clock.advance(PUBLISHED_BEFORE_SIGNING);
        let before = world.current_keys().await;
        let (one, two, keyring) = (world.due_rotation(), world.due_rotation(), world.keyring());
        let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
        let (one, two, operator) = tokio::join!(
            one.handle(&schedule),
            two.handle(&schedule),
            keyring.rotate(&world.realm.name, SigningAlgorithm::Es256)
        );
        let after = world.current_keys().await;
        assert_eq!(world.published().await, after.published(), "{one:?} {two:?} {operator:?}");
        // By one step or by none; a look that shortens the time of what signs no more is a revision too.
        let steps = [KeyStatus::Current, KeyStatus::Next].map(|status| kid(&before, status));
        assert!(steps.contains(&kid(&after, KeyStatus::Current)), "{one:?} {two:?} {operator:?}");
        // What lost leaves nothing that stops the next.
        world.clock.advance(PUBLISHED_BEFORE_SIGNING);
        for _ in 0..2 {
            let _ = world.due_rotation().handle(&schedule).await;
        }
        assert_ne!(kid(&world.current_keys().await, KeyStatus::Current), kid(&before, KeyStatus::Current));
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn the_schedule_rotates_the_keys_that_are_due_in_every_realm() {
    let world = World::create().await;
    let schedule = json!({"version": "0", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
    let rotation = world.rotation(30 * DAY);
    rotation.handle(&schedule).await.expect("no realm has keys");

    let (root, beta, broken) = (realm("root"), realm("beta"), realm("broken"));
    for realm in [&beta, &broken] {
        world.stack.registrar().put_realm(&Realm { revision: 1, ..realm.clone() }).await.expect("a realm");
    }
    for name in [&world.realm.name, &root.name, &beta.name] {
        world.keyring().read_or_create(name, &[SigningAlgorithm::Es256]).await.expect("keys");
    }
    let kids = async |status| {
        let mut found = Vec::new();
        for name in [&world.realm.name, &root.name, &beta.name] {
            found.push(kid(&world.keyring().read(name).await.expect("read").expect("keys"), status));
        }
        found
    };
    let (first, second) = (kids(KeyStatus::Current).await, kids(KeyStatus::Next).await);
    world.clock.advance(30 * DAY - 1);
    rotation.handle(&schedule).await.expect("nothing is due");
    assert_eq!(kids(KeyStatus::Current).await, first);

    // One realm's keys are no JWKS; the others do not wait for it.
    let name = format!("{}/broken/signing-keys", world.stack.name);
    let registry = world.stack.identity().require().await.expect("an id");
    let own = Tag::builder().key("grantwell:registry").value(registry.as_str()).build();
    let broken = world.stack.secrets_manager.create_secret().name(&name).tags(own).secret_string("canary");
    broken.send().await.expect("created");
    world.clock.advance(1);
    let error = rotation.handle(&schedule).await.expect_err("one of them failed");
    assert!(matches!(error, RotationError::Schedule { failed: 1 }), "{error}");
    assert_eq!(kids(KeyStatus::Current).await, second);
    let error = rotation.handle(&schedule).await.expect_err("again");
    assert!(matches!(error, RotationError::Schedule { failed: 1 }), "{error}");
    assert_eq!(kids(KeyStatus::Current).await, second, "once they are rotated they are not due");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn the_schedule_has_a_key_that_signs_no_more_verify_for_as_long_as_its_tokens_may_live() {
    let world = World::create().await;
    let lifetime = |seconds| Some(TokenLifetime::new(seconds).expect("in range"));
    let mut alpha = Realm { revision: 2, ..world.realm.clone() };
    alpha.settings.access_token_lifetime = lifetime(3600);
    world.stack.registrar().put_realm(&alpha).await.expect("changed");
    let mut longest = client(&world.realm, "longest");
    longest.metadata.access_token_lifetime = lifetime(2 * DAY);
    world.stack.registrar().register(&longest, Some(&generated())).await.expect("registered");
    world.keys().await;
    world.clock.advance(PUBLISHED_BEFORE_SIGNING);
    let retired = kid(&world.current_keys().await, KeyStatus::Current);
    let expires_at = async || {
        let keys = world.published().await;
        assert_eq!(keys, world.current_keys().await.published());
        keys.keys.iter().find(|key| key.jwk.kid.as_str() == retired).and_then(|key| key.expires_at)
    };

    // 1. Rotated, and found so in the same run.
    world.due_rotation().handle(&schedule()).await.expect("rotated");
    let found_at = world.clock.now();
    assert_eq!(expires_at().await, Some(found_at.plus(VERIFIES_AFTER_SIGNING)));

    // 2. Nothing is written under a rotation that is under way, and none of what it was made from is lost.
    world.clock.advance(DAY);
    let name = world.signing_keys();
    let version = world.begin(&name).await;
    let before = world.current_keys().await;
    world.schedule().await.expect("nothing is due");
    assert_eq!(world.current_keys().await.revision, before.revision);
    assert_eq!(world.pending(&name).await, [version]);
    world.unstage(&name, "AWSPENDING").await;

    // 3. No function can remember the key any more, and the tokens of the client that lives longest count.
    world.schedule().await.expect("nothing is due");
    let ends_at = found_at.plus(SIGNERS_MAX_AGE + 2 * DAY);
    assert_eq!(expires_at().await, Some(ends_at));
    let settled = world.current_keys().await.revision;
    world.clock.set(UnixSeconds(ends_at.0 - 1));
    world.schedule().await.expect("nothing is due");
    assert_eq!(world.current_keys().await.revision, settled, "a look that finds nothing to change writes nothing");

    // 4. Its last token has expired, so it is published no more.
    world.clock.set(ends_at);
    world.schedule().await.expect("nothing is due");
    assert!(world.published().await.keys.iter().all(|key| key.jwk.kid.as_str() != retired));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_key_whose_tokens_may_live_on_is_not_dropped() {
    let world = World::create().await;
    // Of a realm that leaves the lifetime to the server nobody knows it here; of one that had a longer one, its record does.
    for (revision, until) in [(2, None), (3, Some(20 * DAY))] {
        let mut alpha = Realm { revision, ..world.realm.clone() };
        if let Some(until) = until {
            alpha.settings.access_token_lifetime = Some(TokenLifetime::new(60).expect("in range"));
            alpha.settings.longer_tokens_until = Some(world.clock.now().plus(until));
        }
        world.stack.registrar().put_realm(&alpha).await.expect("changed");
        world.keys().await;
        world.clock.advance(PUBLISHED_BEFORE_SIGNING);
        world.due_rotation().handle(&schedule()).await.expect("rotated");
        let rotated_at = world.clock.now();
        world.clock.advance(DAY);
        world.schedule().await.expect("nothing is due");
        let mut ends: Vec<_> = world.published().await.keys.iter().filter_map(|key| key.expires_at).collect();
        ends.dedup();
        let shortened = alpha.settings.longer_tokens_until.unwrap_or(rotated_at.plus(VERIFIES_AFTER_SIGNING));
        assert_eq!(ends, [shortened]);
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn the_schedule_completes_what_an_earlier_run_left_pending() {
    let world = World::create().await;
    world.keys().await;
    let name = world.signing_keys();
    let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
    world.clock.advance(PUBLISHED_BEFORE_SIGNING);
    // The same run has found the new keys in use, and noted it in a version of its own.
    let completed = async || world.version(&name, "AWSPREVIOUS").await;
    for done in 1..STEPS.len() {
        let version = world.begin(&name).await;
        for step in &STEPS[..done] {
            world.step(step, &name, &version).await.expect("a step");
        }
        // Nothing is due by its age; what has been begun is still brought to its end, under the version it has.
        world.rotation(30 * DAY).handle(&schedule).await.expect("completed");
        assert_eq!(completed().await, version);
        assert_eq!(world.published().await, world.current_keys().await.published());
        world.clock.advance(PUBLISHED_BEFORE_SIGNING);
    }
    // What cannot be completed any more is put aside, and the keys are rotated anew if they are due.
    for interval in [30 * DAY, 1] {
        let version = world.begin(&name).await;
        world.step("createSecret", &name, &version).await.expect("created");
        let before = world.current_keys().await;
        world.clock.advance(PUBLISHED_BEFORE_SIGNING);
        world.rotation(interval).handle(&schedule).await.expect("put aside");
        let signs = if interval == 1 { KeyStatus::Next } else { KeyStatus::Current };
        assert_eq!(kid(&world.current_keys().await, KeyStatus::Current), kid(&before, signs));
        assert_ne!(world.version(&name, "AWSCURRENT").await, version);
        assert_eq!(world.published().await, world.current_keys().await.published());
        world.clock.advance(PUBLISHED_BEFORE_SIGNING);
    }
    // A version that Secrets Manager has staged and not filled is its own business until the keys are due.
    let version = world.begin(&name).await;
    world.rotation(30 * DAY).handle(&schedule).await.expect("nothing to do");
    assert_ne!(world.version(&name, "AWSCURRENT").await, version);
    world.rotation(1).handle(&schedule).await.expect("rotated");
    assert_eq!(completed().await, version);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn the_schedule_rotates_the_client_secrets_that_are_due_in_every_realm() {
    let world = World::create().await;
    world.stack.registrar().put_realm(&Realm { revision: 1, ..realm("beta") }).await.expect("a realm");
    let every = |days| SecretRotationDays::new(days).ok();
    let mut opted_in = Vec::new();
    for (realm_name, id) in [("root", "rooted"), ("alpha", "myClient"), ("beta", "myClient")] {
        opted_in.push(world.rotating_client(&realm(realm_name), id, every(30)).await);
    }
    let mut left_alone = Vec::new();
    for (id, days) in [("handed-once", None), ("rarely", every(31)), ("disabled", every(30)), ("expired", every(30))] {
        left_alone.push(world.rotating_client(&world.realm, id, days).await);
    }
    let disabled = Client { status: ClientStatus::Disabled, revision: 2, ..left_alone[2].0.clone() };
    world.stack.registrar().replace(&disabled).await.expect("disabled");
    let mut expired = Client { revision: 2, ..left_alone[3].0.clone() };
    expired.metadata.client_secret_expires_at = UnixSeconds(1);
    world.stack.registrar().replace(&expired).await.expect("expired");

    // Between the first secret's last second of not being due and its first of being due.
    let name = |client: &Client| world.client_secret(client);
    world.clock.set(world.made_at(&name(&opted_in[0].0)).await.plus(30 * DAY - 1));
    world.schedule().await.expect("nothing is due");
    for (client, secret) in opted_in.iter().chain(&left_alone) {
        assert_accepted(world.accepted(client).await.as_ref(), secret, None);
    }
    let mut latest = UnixSeconds(0);
    for (client, _) in &opted_in {
        latest = latest.max(world.made_at(&name(client)).await);
    }
    world.clock.set(latest.plus(30 * DAY));
    world.schedule().await.expect("rotated");
    let mut rotated = Vec::new();
    for (client, old) in &opted_in {
        let new = world.current_secret(client).await;
        assert_ne!(new.expose_client_secret(), old.expose_client_secret());
        assert_accepted(world.accepted(client).await.as_ref(), &new, Some(old));
        rotated.push((client, new, old));
    }
    for (client, secret) in &left_alone {
        assert_accepted(world.accepted(client).await.as_ref(), secret, None);
    }

    // The age that counts is the new version's, which was made in real time, not in this test's.
    world.clock.set(world.made_at(&name(&opted_in[0].0)).await);
    for _ in 0..2 {
        world.schedule().await.expect("nothing is due any more");
    }
    for (client, new, old) in &rotated {
        assert_accepted(world.accepted(client).await.as_ref(), new, Some(old));
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_client_that_cannot_be_rotated_stops_no_other() {
    let world = World::create().await;
    let days = SecretRotationDays::new(1).ok();
    let (good, old) = world.rotating_client(&world.realm, "good", days).await;
    let (broken, _) = world.rotating_client(&world.realm, "broken", days).await;
    let (unreadable, secret) = world.rotating_client(&world.realm, "a-unreadable", days).await;
    world.put(&world.client_secret(&broken), "canary").await;
    let table = &world.stack.registry_table;
    let key = [("realm", "alpha"), ("item", "client#a-unreadable")];
    let key = key.map(|(attribute, value)| (attribute.to_owned(), AttributeValue::S(value.to_owned())));
    let update = world.stack.dynamodb.update_item().table_name(table).set_key(Some(key.into()));
    let update = update.update_expression("SET #status = :status").expression_attribute_names("#status", "status");
    let update = update.expression_attribute_values(":status", AttributeValue::S("canary".to_owned()));
    update.send().await.expect("updated");

    world.clock.set(world.made_at(&world.client_secret(&broken)).await.plus(DAY));
    let error = world.schedule().await.expect_err("two of them failed");
    assert!(matches!(error, RotationError::Schedule { failed: 2 }), "{error}");
    assert!(!error.to_string().contains("canary"));
    let new = world.current_secret(&good).await;
    assert_accepted(world.accepted(&good).await.as_ref(), &new, Some(&old));
    assert_eq!(world.text(&world.client_secret(&broken), "AWSCURRENT").await, "canary");
    assert_accepted(world.accepted(&unreadable).await.as_ref(), &secret, None);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn the_schedule_completes_a_client_secret_that_an_earlier_run_left_pending() {
    for done in 0..STEPS.len() {
        let world = World::create().await;
        let (client, old) = world.rotating_client(&world.realm, "myClient", SecretRotationDays::new(30).ok()).await;
        let name = world.client_secret(&client);
        let made_at = world.made_at(&name).await;
        world.clock.set(made_at);
        let version = world.begin(&name).await;
        for step in &STEPS[..done] {
            world.step(step, &name, &version).await.expect("a step");
        }
        // It is somebody else's business until the secret is due.
        world.clock.set(made_at.plus(30 * DAY - 1));
        world.schedule().await.expect("nothing to do");
        assert_accepted(world.accepted(&client).await.as_ref(), &old, None);
        let pending = if done == 0 { None } else { Some(world.text(&name, "AWSPENDING").await) };

        world.clock.set(made_at.plus(30 * DAY));
        world.schedule().await.expect("completed");
        assert_eq!(world.version(&name, "AWSCURRENT").await, version);
        let current = world.text(&name, "AWSCURRENT").await;
        assert_eq!(pending.unwrap_or_else(|| current.clone()), current, "{done} steps");
        let new = world.current_secret(&client).await;
        assert_accepted(world.accepted(&client).await.as_ref(), &new, Some(&old));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the AWS emulator: make test"]
async fn a_schedule_that_another_overtakes_does_not_end_the_secret_that_the_application_has() {
    let world = World::create().await;
    let (client, old) = world.rotating_client(&world.realm, "myClient", SecretRotationDays::new(30).ok()).await;
    let now = world.made_at(&world.client_secret(&client)).await.plus(30 * DAY);
    world.clock.set(now);
    let clock = Arc::new(OvertakenClock { now, other: Mutex::new(Some(world.rotation(u64::MAX))) });
    let error = world.rotation_at(clock.clone(), u64::MAX).handle(&schedule()).await.expect_err("overtaken");
    assert!(matches!(error, RotationError::Schedule { failed: 1 }), "{error}");
    assert!(clock.other.lock().expect("no panic").is_none(), "the other has run");
    let new = world.current_secret(&client).await;
    assert_ne!(new.expose_client_secret(), old.expose_client_secret());
    assert_accepted(world.accepted(&client).await.as_ref(), &new, Some(&old));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_secret_that_was_taken_back_never_becomes_current_again() {
    // moto has two current versions after the second command, and no test can say which of them is read.
    if emulator() == "moto" {
        return;
    }
    let world = World::create().await;
    let (client, first) = world.rotating_client(&world.realm, "myClient", SecretRotationDays::new(30).ok()).await;
    let (realm, id, name) = (&client.realm, &client.client_id, world.client_secret(&client));
    let registrar = world.stack.registrar();
    // 1. The schedule rotates, and 2. what it made leaks.
    world.clock.set(world.made_at(&name).await.plus(30 * DAY));
    world.schedule().await.expect("rotated");
    let leaked = world.current_secret(&client).await;
    assert_ne!(leaked.expose_client_secret(), first.expose_client_secret());
    assert_eq!(world.pending(&name).await, Vec::<String>::new(), "what has become current waits for nothing");
    // 3. The operator follows the runbook.
    let ours = generated();
    registrar.rotate_secret(realm, id, &beside_current(&ours)).await.expect("rotated");
    assert_eq!(world.pending(&name).await, Vec::<String>::new());
    registrar.revoke_previous_secret(realm, id).await.expect("revoked");
    assert_accepted(world.accepted(&client).await.as_ref(), &ours, None);
    // 4. The next due run.
    world.clock.set(world.made_at(&name).await.plus(30 * DAY));
    world.schedule().await.expect("rotated");
    let next = world.current_secret(&client).await;
    for taken_back in [&first, &leaked] {
        assert_ne!(next.expose_client_secret(), taken_back.expose_client_secret());
    }
    assert_accepted(world.accepted(&client).await.as_ref(), &next, Some(&ours));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_lost_secret_is_replaced_beside_the_previous_one_even_by_a_command_that_was_interrupted() {
    if emulator() == "moto" {
        // Its PutSecretValue leaves AWSCURRENT on two versions after UpdateSecretVersionStage. (The other emulator's takes no label
        // beside AWSCURRENT, so the end of a previous secret is a case of the suite, which runs on this one.)
        return;
    }
    let world = World::create().await;
    let (client, first) = world.client("myClient").await;
    let (realm, id, name) = (&client.realm, &client.client_id, world.client_secret(&client));
    let registrar = world.stack.registrar();
    // The dates of versions tell which is the newer one.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    registrar.rotate_secret(realm, id, &beside_current(&generated())).await.expect("rotated");
    let (lost, kept) = (world.version(&name, "AWSCURRENT").await, world.version(&name, "AWSPREVIOUS").await);
    // A command that exchanged the two and ended there.
    let manager = &world.stack.secrets_manager;
    let moved = manager.update_secret_version_stage().secret_id(&name).version_stage("AWSCURRENT");
    moved.remove_from_version_id(&lost).move_to_version_id(&kept).send().await.expect("moved");
    // It is repeated, and then once more from the beginning.
    for _ in 0..2 {
        let another = generated();
        let new = NewSecret { beside: Beside::Previous(None), ..beside_current(&another) };
        registrar.rotate_secret(realm, id, &new).await.expect("rotated");
        assert_accepted(world.accepted(&client).await.as_ref(), &another, Some(&first));
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn an_operator_takes_the_label_off_whatever_a_rotation_has_left_behind() {
    for done in 0..=2 {
        let world = World::create().await;
        let (client, old) = world.client("myClient").await;
        let (realm, id, name) = (&client.realm, &client.client_id, world.client_secret(&client));
        let registrar = world.stack.registrar();
        let current = world.version(&name, "AWSCURRENT").await;
        // An earlier build left the label on what it had made current; others leave a rotation that is not finished.
        for command in ["rotate-secret", "revoke-previous"] {
            let version = if done == 0 {
                world.stage_pending(&name, &current).await;
                current.clone()
            } else {
                let version = world.begin(&name).await;
                for step in &STEPS[..done - 1] {
                    world.step(step, &name, &version).await.expect("a step");
                }
                version
            };
            match command {
                "rotate-secret" => {
                    registrar.rotate_secret(realm, id, &beside_current(&generated())).await.expect("rotated");
                }
                _ => registrar.revoke_previous_secret(realm, id).await.expect("revoked"),
            }
            assert_eq!(world.pending(&name).await, Vec::<String>::new(), "{command}, {done}");
            let outcome = world.step("finishSecret", &name, &version).await;
            assert!(outcome.is_ok() == (version == world.version(&name, "AWSCURRENT").await), "{outcome:?}");
        }
        let secrets = world.accepted(&client).await.expect("secrets");
        assert_ne!(secrets.current.as_bytes(), old.digest().as_bytes());
        assert!(secrets.previous.is_none());
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_leftover_that_is_taken_over_leaves_no_label_to_a_rotation() {
    let world = World::create().await;
    let (earlier, _) = world.client("myClient").await;
    let name = world.client_secret(&earlier);
    let version = world.begin(&name).await;
    world.step("createSecret", &name, &version).await.expect("created");
    world.stack.delete_item("alpha", "client#myClient").await;
    let (client, secret) = world.client("myClient").await;
    assert_eq!(world.pending(&name).await, Vec::<String>::new());
    // Not even where the label comes back: what was begun is the earlier registration's.
    world.stage_pending(&name, &version).await;
    let error = world.step("finishSecret", &name, &version).await.expect_err("another registration's");
    assert!(matches!(error, RotationError::OtherRegistration), "{error}");
    assert_accepted(world.accepted(&client).await.as_ref(), &secret, None);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn the_schedule_takes_up_nothing_that_is_older_than_the_secret_in_use_or_of_another_registration() {
    let world = World::create().await;
    for (id, pending) in [("older", None), ("foreign", Some(json!("another"))), ("nobodys", Some(Value::Null))] {
        let (client, _) = world.rotating_client(&world.realm, id, SecretRotationDays::new(30).ok()).await;
        let name = world.client_secret(&client);
        let version = world.begin(&name).await;
        world.step("createSecret", &name, &version).await.expect("created");
        let stale = if let Some(registration) = pending {
            let text = json!({"client_id": id, "client_secret": "a".repeat(40), "registration_id": registration});
            let version = "00000000-0000-0000-0000-000000000007".to_owned();
            world.put_pending(&name, &version, &text.to_string()).await;
            version
        } else {
            // The emulators date by the second. And they forget a version that has no label.
            tokio::time::sleep(Duration::from_millis(1100)).await;
            world.put(&name, &world.text(&name, "AWSCURRENT").await).await;
            version
        };
        let stale_text = world.text(&name, "AWSPENDING").await;
        world.clock.set(world.made_at(&name).await.plus(30 * DAY));
        world.schedule().await.expect("rotated with a version of its own");
        assert_ne!(world.version(&name, "AWSCURRENT").await, stale, "{id}");
        assert_ne!(world.text(&name, "AWSCURRENT").await, stale_text, "{id}");
        assert_eq!(world.pending(&name).await, Vec::<String>::new(), "{id}");

        // Secrets Manager's own steps do not take it up either.
        world.put_pending(&name, "00000000-0000-0000-0000-000000000008", &stale_text).await;
        if id != "older" {
            let error = world.step("finishSecret", &name, "00000000-0000-0000-0000-000000000008").await;
            assert!(matches!(error, Err(RotationError::OtherRegistration)), "{id}: {error:?}");
            assert_eq!(world.pending(&name).await, Vec::<String>::new(), "{id}");
        }
        world.stack.registrar().delete(&client.realm, &client.client_id).await.expect("deleted");
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn what_a_client_that_keeps_digests_has_left_behind_is_rotated_by_nobody() {
    let world = World::create().await;
    let (client, _) = world.client("moved").await;
    let name = world.client_secret(&client);
    let version = world.begin(&name).await;
    // As a move leaves it that ends before the secret is deleted.
    let mut moved = Client { revision: client.revision + 1, ..client.clone() };
    moved.metadata.client_secret_rotation_days = None;
    moved.metadata.client_secret_storage = Some(SecretStorage::Digest);
    world.stack.registrar().replace(&moved).await.expect("replaced");
    let before = world.text(&name, "AWSCURRENT").await;
    for step in STEPS {
        let error = world.step(step, &name, &version).await.expect_err(step);
        assert!(matches!(error, RotationError::KeptAsDigest), "{step}: {error}");
    }
    world.schedule().await.expect("there is nothing due");
    assert_eq!(world.text(&name, "AWSCURRENT").await, before);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_secret_without_the_tags_of_its_registration_is_rotated_by_nobody() {
    let world = World::create().await;
    world.keys().await;
    let (client, secret) = world.rotating_client(&world.realm, "myClient", SecretRotationDays::new(30).ok()).await;
    let (name, keys) = (world.client_secret(&client), world.signing_keys());
    let is_due = world.made_at(&name).await.plus(31 * DAY);
    let registry = world.stack.identity().require().await.expect("an id");
    let own = Some(registry.as_str());
    for (tagged, registry, registration, says) in [
        (&name, Some("another"), Some(client.registration_id.as_str()), "tag grantwell:registry of another registry"),
        (&name, own, Some("another"), "tag grantwell:registration of another registration"),
        (&name, None, Some(client.registration_id.as_str()), "no tag grantwell:registry"),
        (&name, own, None, "no tag grantwell:registration"),
        (&keys, Some("another"), None, "tag grantwell:registry of another registry"),
        (&keys, None, None, "no tag grantwell:registry"),
    ] {
        world.stack.tag(tagged, registry, registration).await;
        // The emulator dates the secret by its own clock; the keys are of this test's time.
        world.clock.set(if tagged == &keys { NOW.plus(DAY) } else { is_due });
        let before = (world.labels(tagged).await, world.text(tagged, "AWSCURRENT").await);
        let error = world.rotation(if tagged == &keys { 1 } else { u64::MAX }).handle(&schedule()).await;
        assert!(matches!(error, Err(RotationError::Schedule { failed: 1 })), "{says}: {error:?}");
        let version = world.version(tagged, "AWSCURRENT").await;
        for step in STEPS {
            let error = world.step(step, tagged, &version).await.expect_err("a refusal");
            assert!(matches!(error, RotationError::Port(PortError::Foreign { .. })), "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
        assert_eq!((world.labels(tagged).await, world.text(tagged, "AWSCURRENT").await), before, "{says}");
        world.stack.tag(&name, own, Some(client.registration_id.as_str())).await;
        world.stack.tag(&keys, own, None).await;
    }
    assert_accepted(world.accepted(&client).await.as_ref(), &secret, None);
    world.clock.set(is_due);
    world.schedule().await.expect("its own are rotated");
    assert_ne!(world.current_secret(&client).await.expose_client_secret(), secret.expose_client_secret());
}

/// A stack with realm alpha, and a time of its own.
struct World {
    stack: Stack,
    realm: Realm,
    clock: Arc<TestClock>,
}

struct TestClock(AtomicU64);

impl TestClock {
    fn set(&self, now: UnixSeconds) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// Lets another run come first: whoever asks for the time has read which version is current, and has changed nothing yet.
struct OvertakenClock {
    now: UnixSeconds,
    other: Mutex<Option<Rotation>>,
}

impl Clock for OvertakenClock {
    fn now(&self) -> UnixSeconds {
        if let Some(other) = self.other.lock().expect("no panic").take() {
            let run = || Handle::current().block_on(other.handle(&schedule()));
            tokio::task::block_in_place(run).expect("rotated");
        }
        self.now
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.0.load(Ordering::SeqCst))
    }
}

impl World {
    async fn create() -> Self {
        let (stack, realm) = (Stack::create().await, realm("alpha"));
        stack.registrar().put_realm(&Realm { revision: 1, ..realm.clone() }).await.expect("a realm");
        Self { stack, realm, clock: Arc::new(TestClock(AtomicU64::new(NOW.0))) }
    }

    fn rotation(&self, key_interval: u64) -> Rotation {
        self.rotation_at(self.clock.clone(), key_interval)
    }

    fn rotation_at(&self, clock: Arc<dyn Clock>, key_interval: u64) -> Rotation {
        let stack = &self.stack;
        let registry = Arc::new(stack.registry().strongly_consistent());
        let defaults = RealmDefaults { root_default_scope: None, access_token_lifetime: TokenLifetime::DEFAULT };
        let stores = RotationStores {
            secrets_manager: stack.secrets_manager.clone(),
            secret_prefix: stack.name.clone(),
            published: self.published_keys(),
            realms: Realms::new(registry.clone(), defaults),
            // As the function has it, which may not make the id.
            identity: Arc::new(RegistryIdentity::new(stack.dynamodb.clone(), &stack.registry_table)),
            registry,
            book: stack.book(clock.clone()),
        };
        Rotation::new(stores, key_interval, clock, Arc::new(SystemRandom), Arc::default())
    }

    /// One that finds every key due whose successor is ready.
    fn due_rotation(&self) -> Rotation {
        self.rotation(1)
    }

    async fn step(&self, step: &str, name: &str, version: &str) -> Result<(), RotationError> {
        let event = json!({"Step": step, "SecretId": name, "ClientRequestToken": version});
        self.rotation(30 * DAY).handle(&event).await
    }

    /// The daily event, in a time when no signing key is due.
    async fn schedule(&self) -> Result<(), RotationError> {
        self.rotation(u64::MAX).handle(&schedule()).await
    }

    async fn rotating_client(
        &self,
        realm: &Realm,
        id: &str,
        days: Option<SecretRotationDays>,
    ) -> (Client, ClientSecret) {
        let (mut client, secret) = (client(realm, id), generated());
        client.metadata.client_secret_rotation_days = days;
        client.metadata.client_secret_expires_at = UnixSeconds(0);
        self.stack.registrar().register(&client, Some(&secret)).await.expect("registered");
        (client, secret)
    }

    async fn accepted(&self, client: &Client) -> Option<ClientSecrets> {
        self.stack.secrets().secrets(client).await.expect("read")
    }

    async fn current_secret(&self, client: &Client) -> ClientSecret {
        let text = self.text(&self.client_secret(client), "AWSCURRENT").await;
        let stored: Value = serde_json::from_str(&text).expect("JSON");
        ClientSecret::given(stored["client_secret"].as_str().expect("a secret"), false).expect("a secret")
    }

    /// When the version in use was made, which the emulator dates by its own clock.
    async fn made_at(&self, name: &str) -> UnixSeconds {
        let read = self.stack.secrets_manager.get_secret_value().secret_id(name).version_stage("AWSCURRENT");
        let made_at = read.send().await.expect("read").created_date.expect("a time");
        UnixSeconds(made_at.secs().try_into().expect("after 1970"))
    }

    async fn client(&self, id: &str) -> (Client, ClientSecret) {
        let (client, secret) = (client(&self.realm, id), generated());
        self.stack.registrar().register(&client, Some(&secret)).await.expect("registered");
        (client, secret)
    }

    fn client_secret(&self, client: &Client) -> String {
        format!("{}/{}/clients/{}", self.stack.name, client.realm, client.client_id)
    }

    fn signing_keys(&self) -> String {
        format!("{}/alpha/signing-keys", self.stack.name)
    }

    fn published_keys(&self) -> DynamoPublishedKeys {
        DynamoPublishedKeys::new(self.stack.dynamodb.clone(), &self.stack.registry_table)
    }

    fn keyring(&self) -> Keyring {
        Keyring::new(Arc::new(self.stack.keys()), self.clock.clone())
    }

    /// The realm's first keys.
    async fn keys(&self) -> KeySet {
        self.keyring().read_or_create(&self.realm.name, &[SigningAlgorithm::Es256]).await.expect("keys")
    }

    /// Without the repair that a reader of the functions brings about.
    async fn current_keys(&self) -> KeySet {
        KeySet::from_json(&self.text(&self.signing_keys(), "AWSCURRENT").await).expect("keys")
    }

    async fn published(&self) -> PublishedKeys {
        self.published_keys().read(&self.realm.name).await.expect("read")
    }

    /// Stages a version without a value, as Secrets Manager does before it calls the first step.
    async fn begin(&self, name: &str) -> String {
        let mut bytes = [0; 16];
        SystemRandom.fill(&mut bytes).expect("random bytes");
        let version = format!("{:032x}", u128::from_be_bytes(bytes));
        let manager = &self.stack.secrets_manager;
        if emulator() == "ministack" {
            // Its RotateSecret stages nothing, and its PutSecretValue stages a version without a value.
            self.unstage(name, "AWSPENDING").await;
            let put = manager.put_secret_value().secret_id(name).client_request_token(&version);
            put.version_stages("AWSPENDING").send().await.expect("staged");
        } else {
            // It stages the version, and then finds that it knows no such function.
            let arn = "arn:aws:lambda:us-east-1:123456789012:function:none";
            let begun = manager.rotate_secret().secret_id(name).client_request_token(&version).rotation_lambda_arn(arn);
            let error = begun.send().await.expect_err("no function");
            assert_eq!(error.code(), Some("ResourceNotFoundException"));
        }
        assert_eq!(self.version(name, "AWSPENDING").await, version);
        version
    }

    async fn put(&self, name: &str, text: &str) {
        let put = self.stack.secrets_manager.put_secret_value().secret_id(name).secret_string(text);
        put.send().await.expect("put");
    }

    async fn put_pending(&self, name: &str, version: &str, text: &str) {
        // Secrets Manager moves the label; not every emulator does.
        self.unstage(name, "AWSPENDING").await;
        let put = self.stack.secrets_manager.put_secret_value().secret_id(name).client_request_token(version);
        put.secret_string(text).version_stages("AWSPENDING").send().await.expect("put");
    }

    /// Puts AWSPENDING on a version, as an earlier build of the function left it there.
    async fn stage_pending(&self, name: &str, version: &str) {
        self.unstage(name, "AWSPENDING").await;
        let staged = self.stack.secrets_manager.update_secret_version_stage().secret_id(name);
        staged.version_stage("AWSPENDING").move_to_version_id(version).send().await.expect("staged");
    }

    async fn unstage(&self, name: &str, stage: &str) {
        for (version, labels) in self.labels(name).await {
            if labels.iter().any(|label| label == stage) {
                let unstaged = self.stack.secrets_manager.update_secret_version_stage().secret_id(name);
                unstaged.version_stage(stage).remove_from_version_id(version).send().await.expect("unstaged");
            }
        }
    }

    /// The versions that wait to become current.
    async fn pending(&self, name: &str) -> Vec<String> {
        let labels = self.labels(name).await.into_iter();
        let pending = labels.filter(|(_, labels)| labels.iter().any(|label| label == "AWSPENDING"));
        pending.map(|(version, _)| version).collect()
    }

    async fn text(&self, name: &str, stage: &str) -> String {
        let read = self.stack.secrets_manager.get_secret_value().secret_id(name).version_stage(stage);
        read.send().await.expect("read").secret_string.expect("a text")
    }

    async fn labels(&self, name: &str) -> HashMap<String, Vec<String>> {
        let described = self.stack.secrets_manager.describe_secret().secret_id(name).send().await.expect("described");
        described.version_ids_to_stages.expect("versions")
    }

    async fn version(&self, name: &str, stage: &str) -> String {
        let labels = self.labels(name).await;
        let labelled = labels.into_iter().find(|(_, labels)| labels.iter().any(|label| label == stage));
        labelled.expect("a version of this stage").0
    }
}

/// Which emulator this is: the labels of the two differ.
#[expect(clippy::disallowed_methods, reason = "tests/aws/emulator.py says it so")]
fn emulator() -> String {
    std::env::var("GRANTWELL_EMULATOR").unwrap_or_else(|_| "moto".to_owned())
}

fn schedule() -> Value {
    json!({"source": "aws.events", "detail-type": "Scheduled Event"})
}

/// The one key of this status.
#[track_caller]
fn kid(keys: &KeySet, status: KeyStatus) -> String {
    let published = keys.published().keys;
    let of_status: Vec<_> = published.iter().filter(|key| key.status == status).collect();
    let [key] = of_status.as_slice() else { panic!("{} keys are {status:?}", of_status.len()) };
    key.jwk.kid.as_str().to_owned()
}
