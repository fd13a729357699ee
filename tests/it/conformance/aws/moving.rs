//! Secrets on their way between Secrets Manager and the registration.

use std::sync::Arc;

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretError;
use grantwell::core::client::Client;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::secret::{Beside, ClientSecret, NewSecret};
use grantwell::core::client::secret_storage::SecretStorage;
use grantwell::core::ports::{ClientRegistry as _, MovedSecrets, Registrar as _, RegistrarError, SecretSource as _};
use grantwell::core::time::UnixSeconds;

use super::Stack;
use crate::conformance::{NOW, assert_accepted, client, generated, realm};
use crate::support::beside_current;

impl Stack {
    async fn registered(&self, storage: SecretStorage, secret: &ClientSecret) -> Client {
        let mut client = client(&realm("alpha"), "myClient");
        client.metadata.client_secret_rotation_days = None;
        client.metadata.client_secret_storage = Some(storage);
        self.registrar().register(&client, Some(secret)).await.expect("registered");
        self.read(&client).await
    }

    async fn read(&self, client: &Client) -> Client {
        self.registrar().read(&client.realm, &client.client_id).await.expect("read")
    }

    async fn rotate(&self, client: &Client, secret: &ClientSecret) -> Result<(), RegistrarError> {
        self.registrar().rotate_secret(&client.realm, &client.client_id, &beside_current(secret)).await
    }

    /// Moves the secrets of a client as it is registered, and reads it as it is then.
    async fn moved(
        &self,
        to: SecretStorage,
        before: &Client,
        fresh: &ClientSecret,
    ) -> Result<(Client, MovedSecrets), RegistrarError> {
        let mut client = Client { revision: before.revision + 1, ..before.clone() };
        client.metadata.client_secret_storage = Some(to);
        let fresh = NewSecret { secret: fresh, made_at: NOW, beside: Beside::Current(UnixSeconds(0)) };
        let moved = self.registrar().move_secrets(before, &client, &fresh).await?;
        Ok((self.read(&client).await, moved))
    }

    /// The value that an application reads in Secrets Manager; `None` where there is no secret.
    async fn secret_of(&self, client: &Client) -> Option<String> {
        let name = format!("{}/{}/clients/{}", self.name, client.realm, client.client_id);
        match self.secrets_manager.describe_secret().secret_id(&name).send().await {
            Ok(_) => self.secrets_manager.get_secret_value().secret_id(&name).send().await.expect("read").secret_string,
            Err(error) => {
                let error = error.into_service_error();
                assert!(matches!(error, DescribeSecretError::ResourceNotFoundException(_)), "{error}");
                None
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn both_secrets_move_to_the_registration_and_whoever_remembers_the_one_before_still_finds_them() {
    let stack = Stack::create().await;
    let (first, second) = (generated(), generated());
    let before = stack.registered(SecretStorage::SecretsManager, &first).await;
    let until = NewSecret { beside: Beside::Current(NOW.plus(500_000_000)), ..beside_current(&second) };
    stack.registrar().rotate_secret(&before.realm, &before.client_id, &until).await.expect("rotated");
    let dates = stack.registrar().secret_dates(&before.realm, &before.client_id).await.expect("read");

    let (after, moved) = stack.moved(SecretStorage::Digest, &before, &generated()).await.expect("moved");
    assert!(!moved.fresh_is_current && moved.left_behind.is_none(), "{moved:?}");
    assert_eq!(stack.secret_of(&before).await, None, "what nobody reads any more is not billed");
    assert_eq!(stack.registrar().secret_dates(&before.realm, &before.client_id).await.expect("read"), dates);

    // A function that has read it again asks nobody else.
    let secrets = stack.secrets_without_secrets_manager().secrets(&after).await.expect("read");
    assert_accepted(secrets.as_ref(), &second, Some(&first));
    let secrets = secrets.expect("secrets");
    assert_eq!((secrets.previous_expires_at, secrets.may_be_newer), (NOW.plus(500_000_000), false));
    // One that remembers it as it was, and not the secrets, reads it once more before it opens anything.
    let secrets = stack.secrets().secrets(&before).await.expect("read");
    assert_accepted(secrets.as_ref(), &second, Some(&first));
    assert!(secrets.is_some_and(|secrets| secrets.may_be_newer));
    // Of another registration of the id they are not.
    let other = Client { registration_id: crate::conformance::registration_id(), ..before };
    assert!(stack.secrets().secrets(&other).await.expect("read").is_none());
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_secret_that_was_not_generated_stays_where_it_is() {
    let stack = Stack::create().await;
    let supplied = ClientSecret::given("correct horse battery staple", false).expect("a secret");
    let client = stack.registered(SecretStorage::SecretsManager, &supplied).await;
    for _ in ["while it is current", "while it is the previous one"] {
        let moved = stack.moved(SecretStorage::Digest, &client, &generated()).await;
        assert_eq!(moved.err(), Some(RegistrarError::SuppliedSecret));
        assert_eq!(stack.read(&client).await, client, "nothing was changed");
        assert!(stack.secret_of(&client).await.is_some());
        stack.rotate(&client, &generated()).await.expect("rotated");
        // The emulators list versions to the second.
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    }
    // Twice rotated, both are generated.
    stack.moved(SecretStorage::Digest, &client, &generated()).await.expect("moved");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_client_that_moves_back_has_a_new_secret_to_read_and_keeps_the_one_before() {
    let stack = Stack::create().await;
    let (handed_out, fresh, next) = (generated(), generated(), generated());
    let before = stack.registered(SecretStorage::Digest, &handed_out).await;
    assert_eq!(stack.secret_of(&before).await, None);

    let (after, moved) = stack.moved(SecretStorage::SecretsManager, &before, &fresh).await.expect("moved");
    assert!(moved.fresh_is_current && moved.left_behind.is_none(), "{moved:?}");
    assert_eq!(after.secret_digests, None, "in one place only");
    let read = stack.secret_of(&after).await.expect("a secret to read");
    assert!(read.contains(fresh.expose_client_secret()), "the application reads the new one");
    assert_accepted(stack.secrets().secrets(&after).await.expect("read").as_ref(), &fresh, Some(&handed_out));
    // Whoever remembers it as it was has the one that was handed out.
    assert_accepted(stack.secrets().secrets(&before).await.expect("read").as_ref(), &handed_out, None);

    // It ends as every previous secret does.
    stack.rotate(&after, &next).await.expect("rotated");
    assert_accepted(stack.secrets().secrets(&after).await.expect("read").as_ref(), &next, Some(&fresh));
    stack.registrar().revoke_previous_secret(&after.realm, &after.client_id).await.expect("revoked");
    assert_accepted(stack.secrets().secrets(&after).await.expect("read").as_ref(), &next, None);

    // And there again: what is known as a digest only was generated, so it is taken along.
    let (after, _) = stack.moved(SecretStorage::Digest, &after, &generated()).await.expect("moved");
    let (after, _) = stack.moved(SecretStorage::SecretsManager, &after, &fresh).await.expect("moved");
    let (after, _) = stack.moved(SecretStorage::Digest, &after, &generated()).await.expect("moved");
    assert_accepted(stack.secrets().secrets(&after).await.expect("read").as_ref(), &fresh, Some(&next));
}

/// Else the digests that it had would be those of a secret that nobody could end any more.
#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_client_that_moves_back_while_it_uses_no_secret_leaves_no_digest_behind() {
    let stack = Stack::create().await;
    let (old, new) = (generated(), generated());
    let before = stack.registered(SecretStorage::Digest, &old).await;
    let mut by_key = Client { revision: before.revision + 1, ..before.clone() };
    by_key.metadata.token_endpoint_auth_methods = [AuthMethod::PrivateKeyJwt].into();
    by_key.metadata.client_secret_storage = Some(SecretStorage::SecretsManager);
    let fresh = generated();
    stack.registrar().move_secrets(&before, &by_key, &beside_current(&fresh)).await.expect("moved");
    let after = stack.read(&by_key).await;
    assert_eq!(after.secret_digests, None);

    let mut again = Client { revision: after.revision + 1, ..after };
    again.metadata.token_endpoint_auth_methods = [AuthMethod::ClientSecretBasic].into();
    stack.registrar().replace(&again).await.expect("replaced");
    stack.rotate(&again, &new).await.expect("rotated");
    let read = stack.read(&again).await;
    assert_accepted(stack.secrets().secrets(&read).await.expect("read").as_ref(), &new, None);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_move_that_ended_halfway_is_completed_by_the_next() {
    let stack = Stack::create().await;
    let secret = generated();
    let before = stack.registered(SecretStorage::SecretsManager, &secret).await;
    let kept_aside = stack.secret_of(&before).await.expect("a secret");
    let (after, _) = stack.moved(SecretStorage::Digest, &before, &generated()).await.expect("moved");
    // As if the command had ended before it deleted the secret.
    let name = format!("{}/alpha/clients/myClient", stack.name);
    let registry = stack.identity().require().await.expect("an id");
    let tag = |key: &str, value: &str| aws_sdk_secretsmanager::types::Tag::builder().key(key).value(value).build();
    let left = stack.secrets_manager.create_secret().name(&name).secret_string(kept_aside);
    let left = left.tags(tag("grantwell:registry", registry.as_str()));
    let left = left.tags(tag("grantwell:registration", after.registration_id.as_str()));
    left.send().await.expect("left behind");

    let fresh = generated();
    let fresh = beside_current(&fresh);
    let moved = stack.registrar().move_secrets(&after, &after, &fresh).await.expect("nothing to move");
    assert!(!moved.fresh_is_current && moved.left_behind.is_none());
    assert_eq!(stack.secret_of(&after).await, None);
    assert_eq!(stack.read(&after).await, after, "nothing was written");

    // Where Secrets Manager cannot be asked, the command says so.
    let moved = stack.registrar_without_secrets_manager().move_secrets(&after, &after, &fresh).await;
    assert!(moved.is_err());
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_digest_is_registered_and_rotated_while_secrets_manager_is_away() {
    let stack = Stack::create().await;
    let (first, second) = (generated(), generated());
    let mut client = client(&realm("alpha"), "myClient");
    client.metadata.client_secret_rotation_days = None;
    client.metadata.client_secret_storage = Some(SecretStorage::Digest);
    let registrar = stack.registrar_without_secrets_manager();
    registrar.register(&client, Some(&first)).await.expect("registered");
    assert_eq!(registrar.register(&client, Some(&second)).await, Err(RegistrarError::AlreadyExists));
    registrar.rotate_secret(&client.realm, &client.client_id, &beside_current(&second)).await.expect("rotated");
    let read = stack.registry().client(&client.realm, &client.client_id).await.expect("read").expect("registered");
    let secrets = stack.secrets_without_secrets_manager().secrets(&read).await.expect("read");
    assert_accepted(secrets.as_ref(), &second, Some(&first));
    registrar.revoke_previous_secret(&client.realm, &client.client_id).await.expect("revoked");
    let read = stack.read(&client).await;
    assert_accepted(stack.secrets().secrets(&read).await.expect("read").as_ref(), &second, None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the AWS emulator: make test"]
async fn of_a_rotation_and_a_move_at_once_neither_loses_the_secret_of_the_other() {
    for round in 0..6_u64 {
        let stack = Arc::new(Stack::create().await);
        let (first, second) = (generated(), Arc::new(generated()));
        let before = stack.registered(SecretStorage::SecretsManager, &first).await;
        let rotation = tokio::spawn({
            let (stack, before, second) = (Arc::clone(&stack), before.clone(), Arc::clone(&second));
            async move {
                tokio::time::sleep(std::time::Duration::from_millis(round * 6)).await;
                stack.rotate(&before, &second).await
            }
        });
        let moved = stack.moved(SecretStorage::Digest, &before, &generated()).await;
        let rotated = rotation.await.expect("ended");
        let now = stack.read(&before).await;
        let secrets = stack.secrets().secrets(&now).await.expect("read").expect("secrets");
        let accepts = |secret: &ClientSecret| {
            let digest = secret.digest();
            [Some(&secrets.current), secrets.previous.as_ref()]
                .into_iter()
                .flatten()
                .any(|kept| kept.as_bytes() == digest.as_bytes())
        };
        assert!(accepts(&first), "{round}: {moved:?} {rotated:?}");
        assert!(rotated.is_err() || accepts(&second), "{round}: a secret that was handed out works, {moved:?}");
    }
}
