//! Secret source: the current secret and, during a rotation, the one before it.

use std::collections::BTreeSet;
use std::sync::Arc;

use grantwell::core::client::Client;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::secret::{Beside, ClientSecret, NewSecret};
use grantwell::core::client_auth::{ClientAuthenticator, Credentials};
use grantwell::core::error::{ClientAuthFailure, OAuthError};
use grantwell::core::management::{Management, ManagementError, Notice, RotatedSecret, Rotation};
use grantwell::core::ports::RegistrarError;
use grantwell::core::realm::Realm;
use grantwell::core::time::UnixSeconds;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::system::SystemRandom;

use crate::support::logging::logging;

use super::{FixedClock, NOW, RegistryPorts, assert_accepted, beside_current, client, client_id, generated, realm};

/// A test for each case of the suite, on what `$open` evaluates to: an adapter on a store of its own.
macro_rules! secrets_suite {
    ($open:expr $(; #[$attribute:meta])*) => {
        $crate::conformance::tests_of_cases! { $(#[$attribute])*, $open; secrets:
            an_unknown_client_has_no_secret,
            a_new_client_has_one_secret,
            a_secret_of_any_characters_is_kept,
            a_rotation_keeps_the_secret_before_it,
            a_rotation_to_the_secret_that_is_current_changes_nothing,
            the_previous_secret_has_an_end_of_its_own_until_the_next_rotation,
            the_previous_secret_ends_on_its_own,
            the_same_id_in_two_realms_has_two_secrets,
            a_secret_belongs_to_one_registration,
            a_client_without_a_secret_is_registered_and_deleted,
            a_client_without_a_secret_is_refused_with_any,
            a_client_whose_methods_use_no_secret_gets_none_by_rotation,
            a_client_that_has_no_secret_yet_gets_its_first_by_rotation,
        }
    };
}
pub(crate) use secrets_suite;

pub(crate) async fn an_unknown_client_has_no_secret(ports: &RegistryPorts) {
    let alpha = realm("alpha");
    let (unknown, id) = (ports.client(&alpha, "unknown"), client_id("unknown"));
    assert!(ports.secrets_of(&unknown).await.expect("read").is_none());
    let rotated = ports.registrar.rotate_secret(&alpha.name, &id, &beside_current(&generated())).await;
    assert_eq!(rotated, Err(RegistrarError::NotFound));
    assert!(ports.secrets_of(&unknown).await.expect("read").is_none(), "rotating does not make a client");
    let revoked = ports.registrar.revoke_previous_secret(&alpha.name, &id).await;
    assert_eq!(revoked, Err(RegistrarError::NotFound));
}

pub(crate) async fn a_new_client_has_one_secret(ports: &RegistryPorts) {
    let (client, secret) = ports.registered(&realm("alpha"), "myClient").await;
    let secrets = ports.secrets_of(&client).await.expect("read");
    assert_accepted(secrets.as_ref(), &secret, None);
}

pub(crate) async fn a_secret_of_any_characters_is_kept(ports: &RegistryPorts) {
    // Every character that a secret may have (RFC 6749 Appendix A.2).
    let text: String = (0x20..=0x7e_u8).map(char::from).collect();
    let (client, secret) =
        (ports.client(&realm("alpha"), "myClient"), ClientSecret::given(&text, false).expect("a secret"));
    ports.registrar.register(&client, Some(&secret)).await.expect("registered");
    let secrets = ports.secrets_of(&client).await.expect("read");
    assert_accepted(secrets.as_ref(), &secret, None);
}

pub(crate) async fn a_rotation_to_the_secret_that_is_current_changes_nothing(ports: &RegistryPorts) {
    let keys = Arc::new(SqliteRegistry::in_memory().expect("opened"));
    let logging = logging(Arc::clone(&ports.log));
    let (registrar, random) = (Arc::clone(&ports.registrar), Arc::new(SystemRandom));
    let management = Management::new(registrar, keys, logging, Arc::new(FixedClock), random);
    ports.registrar.put_realm(&Realm { revision: 1, ..realm("alpha") }).await.expect("created");
    let (client, first) = ports.registered(&realm("alpha"), "myClient").await;
    let (realm, id) = (&client.realm, &client.client_id);
    // In the form of a generated one: as a digest no other is kept.
    let text = generated().expose_client_secret().to_owned();
    let given = || ClientSecret::given(&text, false).expect("a secret");
    let rotate = async |given: ClientSecret, replaces_current| {
        let rotation = Rotation { given: Some(given), replaces_current, ..Rotation::default() };
        management.rotate_secret(realm, id, rotation).await
    };
    let has_changed =
        |rotated: &RotatedSecret| !rotated.notices.iter().any(|notice| matches!(notice, Notice::SecretIsCurrent(_)));
    assert!(has_changed(&rotate(given(), false).await.expect("rotated")));
    // Until when, and not since when: an emulator says of each version that it was made just now.
    let previous_ends = async || {
        let dates = ports.registrar.secret_dates(realm, id).await.expect("read").expect("secrets");
        dates.previous.map(|previous| previous.expires_at)
    };
    let ends = previous_ends().await;

    let again = rotate(given(), false).await.expect("nothing to do");
    assert!(!has_changed(&again) && again.previous_is_valid, "{:?}", again.notices);
    assert!(matches!(rotate(given(), true).await, Err(ManagementError::SecretIsCurrent(_))));
    let first_text = first.expose_client_secret().to_owned();
    let first_again = || ClientSecret::given(&first_text, false).expect("a secret");
    assert!(matches!(rotate(first_again(), true).await, Err(ManagementError::SecretIsPrevious(_))));
    assert_accepted(ports.secrets_of(&client).await.expect("read").as_ref(), &given(), Some(&first));
    assert_eq!(previous_ends().await, ends);

    // Back to the one before is a rotation like any other.
    assert!(has_changed(&rotate(first_again(), false).await.expect("rotated")));
    assert_accepted(ports.secrets_of(&client).await.expect("read").as_ref(), &first, Some(&given()));
}

pub(crate) async fn a_rotation_keeps_the_secret_before_it(ports: &RegistryPorts) {
    let (client, first) = ports.registered(&realm("alpha"), "myClient").await;
    let (realm, id) = (&client.realm, &client.client_id);
    let (second, third) = (generated(), generated());

    ports.registrar.rotate_secret(realm, id, &beside_current(&second)).await.expect("rotated");
    assert_accepted(ports.secrets_of(&client).await.expect("read").as_ref(), &second, Some(&first));

    ports.registrar.rotate_secret(realm, id, &beside_current(&third)).await.expect("rotated");
    assert_accepted(ports.secrets_of(&client).await.expect("read").as_ref(), &third, Some(&second));

    let now = ports.registrar.read(realm, id).await.expect("read");
    let as_it_was = Client { secret_digests: now.secret_digests.clone(), revision: now.revision, ..client.clone() };
    assert_eq!(now, as_it_was, "the registration says what it said");
    assert_eq!(now.revision != client.revision, now.secret_digests.is_some(), "and was written only to keep them");
}

pub(crate) async fn the_previous_secret_has_an_end_of_its_own_until_the_next_rotation(ports: &RegistryPorts) {
    let (client, first) = ports.registered(&realm("alpha"), "myClient").await;
    let (realm, id) = (&client.realm, &client.client_id);
    let dates = async || ports.registrar.secret_dates(realm, id).await.expect("read").expect("secrets");
    let read = async || ports.secrets_of(&client).await.expect("read").expect("secrets");
    assert_eq!(dates().await.previous, None);

    let (second, ends_at) = (generated(), NOW.plus(50));
    let until = NewSecret { beside: Beside::Current(ends_at), ..beside_current(&second) };
    ports.registrar.rotate_secret(realm, id, &until).await.expect("rotated");
    assert_accepted(Some(&read().await), &second, Some(&first));
    assert!(read().await.valid_previous(NOW.plus(49)).is_some() && read().await.valid_previous(ends_at).is_none());
    let dated = dates().await;
    assert!(dated.made_at.is_some());
    assert_eq!(dated.previous.expect("a previous secret").expires_at, ends_at);

    // The end was that secret's, and nothing of the one that becomes the previous one now.
    let third = generated();
    ports.registrar.rotate_secret(realm, id, &beside_current(&third)).await.expect("rotated");
    assert_accepted(Some(&read().await), &third, Some(&second));
    assert!(read().await.valid_previous(NOW.plus(1_000)).is_some());
    assert_eq!(dates().await.previous.expect("a previous secret").expires_at, UnixSeconds(0));
}

/// Not a case of the suite: one of the emulators mistakes the labels of versions.
pub(crate) async fn a_lost_secret_is_replaced_beside_the_previous_one(ports: &RegistryPorts) {
    let (client, first) = ports.registered(&realm("alpha"), "myClient").await;
    let (realm, id) = (&client.realm, &client.client_id);
    let read = async || ports.secrets_of(&client).await.expect("read").expect("secrets");
    let ends_at = NOW.plus(50);
    let lost = generated();
    let until = NewSecret { beside: Beside::Current(ends_at), ..beside_current(&lost) };
    ports.registrar.rotate_secret(realm, id, &until).await.expect("rotated");
    for (until, expected) in [(None, ends_at), (Some(NOW.plus(70)), NOW.plus(70)), (None, NOW.plus(70))] {
        let another = generated();
        let new = NewSecret { beside: Beside::Previous(until), ..beside_current(&another) };
        ports.registrar.rotate_secret(realm, id, &new).await.expect("rotated");
        assert_accepted(Some(&read().await), &another, Some(&first));
        assert_eq!(read().await.previous_expires_at, expected);
        let dates = ports.registrar.secret_dates(realm, id).await.expect("read").expect("secrets");
        assert_eq!(dates.previous.expect("a previous secret").expires_at, expected);
    }
}

pub(crate) async fn the_previous_secret_ends_on_its_own(ports: &RegistryPorts) {
    let (client, first) = ports.registered(&realm("alpha"), "myClient").await;
    let (realm, id) = (&client.realm, &client.client_id);

    ports.registrar.revoke_previous_secret(realm, id).await.expect("there is none, which is what was asked for");
    assert_accepted(ports.secrets_of(&client).await.expect("read").as_ref(), &first, None);

    let second = generated();
    ports.registrar.rotate_secret(realm, id, &beside_current(&second)).await.expect("rotated");
    for _ in 0..2 {
        ports.registrar.revoke_previous_secret(realm, id).await.expect("revoked");
        assert_accepted(ports.secrets_of(&client).await.expect("read").as_ref(), &second, None);
    }

    let third = generated();
    ports.registrar.rotate_secret(realm, id, &beside_current(&third)).await.expect("rotated");
    assert_accepted(ports.secrets_of(&client).await.expect("read").as_ref(), &third, Some(&second));
}

pub(crate) async fn the_same_id_in_two_realms_has_two_secrets(ports: &RegistryPorts) {
    let (in_alpha, secret_in_alpha) = ports.registered(&realm("alpha"), "myClient").await;
    let (in_beta, secret_in_beta) = ports.registered(&realm("beta"), "myClient").await;
    ports
        .registrar
        .rotate_secret(&in_beta.realm, &in_beta.client_id, &beside_current(&generated()))
        .await
        .expect("rotated");

    let secrets = ports.secrets_of(&in_alpha).await.expect("read");
    assert_accepted(secrets.as_ref(), &secret_in_alpha, None);
    let secrets = ports.secrets_of(&in_beta).await.expect("read");
    let previous = secrets.expect("a client with a secret").previous.expect("a previous secret");
    assert_eq!(previous.as_bytes(), secret_in_beta.digest().as_bytes());
}

pub(crate) async fn a_secret_belongs_to_one_registration(ports: &RegistryPorts) {
    let (deleted, _) = ports.registered(&realm("alpha"), "myClient").await;
    let (realm, id) = (&deleted.realm, &deleted.client_id);
    ports.registrar.delete(realm, id).await.expect("deleted");
    assert!(ports.secrets_of(&deleted).await.expect("read").is_none());

    let (successor, first) = ports.registered(&super::realm("alpha"), "myClient").await;
    assert!(ports.secrets_of(&deleted).await.expect("read").is_none(), "its successor's secret");
    assert_accepted(ports.secrets_of(&successor).await.expect("read").as_ref(), &first, None);

    let second = generated();
    ports.registrar.rotate_secret(realm, id, &beside_current(&second)).await.expect("rotated");
    assert!(ports.secrets_of(&deleted).await.expect("read").is_none(), "its successor's secret");
    assert_accepted(ports.secrets_of(&successor).await.expect("read").as_ref(), &second, Some(&first));
}

pub(crate) async fn a_client_without_a_secret_is_registered_and_deleted(ports: &RegistryPorts) {
    let client = without_methods("keyless");
    let (realm, id) = (&client.realm, &client.client_id);
    ports.registrar.register(&client, None).await.expect("registered");
    assert_eq!(ports.registrar.read(realm, id).await, Ok(client.clone()));
    assert!(ports.secrets_of(&client).await.expect("read").is_none());
    assert_eq!(ports.registrar.register(&client, None).await, Err(RegistrarError::AlreadyExists));

    ports.registrar.delete(realm, id).await.expect("deleted");
    assert_eq!(ports.registrar.read(realm, id).await, Err(RegistrarError::NotFound));
    let (successor, secret) = ports.registered(&super::realm("alpha"), "keyless").await;
    assert_accepted(ports.secrets_of(&successor).await.expect("read").as_ref(), &secret, None);
}

pub(crate) async fn a_client_without_a_secret_is_refused_with_any(ports: &RegistryPorts) {
    let realm = realm("alpha");
    let clients = ClientAuthenticator::new(ports.registry.clone(), ports.secrets.clone(), Arc::new(FixedClock));
    for client in [without_methods("no-methods"), ports.client(&realm, "no-secret")] {
        ports.registrar.register(&client, None).await.expect("registered");
        for method in [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost] {
            let credentials =
                Credentials::of_secret(method, &client.client_id, "a-secret-0123456789").expect("a secret");
            let refused = clients.authenticate(&realm, &credentials).await.expect_err("it has none");
            assert!(
                matches!(refused.error, OAuthError::InvalidClient(ClientAuthFailure::WrongSecret)),
                "{method:?}: {refused:?}"
            );
            assert_eq!(refused.named.as_deref(), Some(&client), "who is guessed at is named");
        }
    }
}

pub(crate) async fn a_client_whose_methods_use_no_secret_gets_none_by_rotation(ports: &RegistryPorts) {
    let client = without_methods("keyless");
    let (realm, id) = (&client.realm, &client.client_id);
    ports.registrar.register(&client, None).await.expect("registered");
    let rotated = ports.registrar.rotate_secret(realm, id, &beside_current(&generated())).await;
    assert_eq!(rotated, Err(RegistrarError::NoSecret));
    assert!(ports.secrets_of(&client).await.expect("read").is_none());
    ports.registrar.revoke_previous_secret(realm, id).await.expect("there is none, which is what was asked for");
}

pub(crate) async fn a_client_that_has_no_secret_yet_gets_its_first_by_rotation(ports: &RegistryPorts) {
    let client = ports.client(&realm("alpha"), "myClient");
    ports.registrar.register(&client, None).await.expect("registered");
    assert!(ports.secrets_of(&client).await.expect("read").is_none());
    let first = generated();
    ports.registrar.rotate_secret(&client.realm, &client.client_id, &beside_current(&first)).await.expect("rotated");
    assert_accepted(ports.secrets_of(&client).await.expect("read").as_ref(), &first, None);
}

/// A client none of whose methods uses a secret: today's all do, so it has no method.
fn without_methods(id: &str) -> Client {
    let mut client = client(&realm("alpha"), id);
    client.metadata.token_endpoint_auth_methods = BTreeSet::new();
    client
}
