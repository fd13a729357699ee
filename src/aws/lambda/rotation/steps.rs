//! The four steps, whatever the secret holds: whose it is, whether its version still waits for the step, and then the step.

use std::sync::Arc;

use aws_sdk_secretsmanager::Client as SecretsManager;

use super::client_secret::ClientSecretRotation;
use super::error::RotationError;
use super::event::{Held, Outcome, Step};
use super::signing_keys::SigningKeyRotation;
use super::versions::Versions;
use crate::aws::store::described::{Secret, Standing};
use crate::aws::store::keys::{DynamoPublishedKeys, SecretsManagerKeys};
use crate::aws::store::registry::DynamoRegistry;
use crate::aws::store::registry_id::RegistryIdentity;
use crate::aws::store::secrets::PENDING;
use crate::core::client::Client;
use crate::core::client::secret_storage::SecretStorage;
use crate::core::keys::keyring::Keyring;
use crate::core::management::Logbook;
use crate::core::port_error::PortError;
use crate::core::ports::{ClientRegistry as _, Clock};
use crate::core::random::Random;
use crate::core::realm::RealmName;
use crate::core::realms::Realms;
use crate::observe::{Event, Observer};

/// Rotates the secrets of one stack.
pub struct Rotation {
    pub(super) versions: Versions,
    pub(super) prefix: String,
    pub(super) registry: Arc<DynamoRegistry>,
    pub(super) identity: Arc<RegistryIdentity>,
    pub(super) client_secrets: ClientSecretRotation,
    pub(super) signing_keys: SigningKeyRotation,
    pub(super) keyring: Keyring,
    pub(super) key_interval: u64,
    pub(super) random: Arc<dyn Random>,
    pub(super) observer: Arc<Observer>,
}

/// Where a stack keeps what is rotated, and what a new version is tested against.
pub struct RotationStores {
    /// The secrets.
    pub secrets_manager: SecretsManager,
    /// The first part of their names, with no slash at its end.
    pub secret_prefix: String,
    /// The public halves of signing keys.
    pub published: DynamoPublishedKeys,
    /// The registrations, uncached and strongly consistent.
    pub registry: Arc<DynamoRegistry>,
    /// Which registry that is: only its own secrets are rotated.
    pub identity: Arc<RegistryIdentity>,
    /// The realms of that registry.
    pub realms: Realms,
    /// Where it is written down what was rotated.
    pub book: Arc<Logbook>,
}

/// What a secret holds, once its tags have said that it is this registry's.
pub(super) enum Claimed {
    ClientSecret(Arc<Client>),
    SigningKeys(RealmName),
}

impl Rotation {
    /// Rotates what is in `stores`; by schedule the keys that have been signing for `key_interval` seconds.
    pub fn new(
        stores: RotationStores,
        key_interval: u64,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        observer: Arc<Observer>,
    ) -> Self {
        let RotationStores { secrets_manager, secret_prefix, published, registry, identity, realms, book } = stores;
        let store = SecretsManagerKeys::new(
            secrets_manager.clone(),
            secret_prefix.clone(),
            published.clone(),
            Arc::clone(&identity),
        );
        let keyring = Keyring::new(book.key_store(Arc::new(store)), Arc::clone(&clock));
        let versions = Versions::new(secrets_manager);
        Self {
            keyring,
            client_secrets: ClientSecretRotation {
                versions: versions.clone(),
                registry: Arc::clone(&registry) as _,
                realms,
                clock: Arc::clone(&clock),
                random: Arc::clone(&random),
                book: Arc::clone(&book),
            },
            signing_keys: SigningKeyRotation {
                versions: versions.clone(),
                published,
                identity: Arc::clone(&identity),
                clock,
                book,
            },
            versions,
            prefix: secret_prefix,
            registry,
            identity,
            key_interval,
            random,
            observer,
        }
    }

    pub(super) async fn step(&self, step: Step, secret_id: &str, version_id: &str) -> Result<(), RotationError> {
        // 1. Which secret it is: by the name it has, not by the one in the event, which may be an ARN. That one suffices to see that it is
        //    not of this stack, whose role may not ask for any other.
        if !Held::may_be_of(&self.prefix, secret_id) {
            self.observer.tell(Event::ForeignSecret);
            return Err(RotationError::ForeignSecret);
        }
        let described = self.versions.describe(secret_id).await;
        let secret = described.inspect_err(|error| self.observer.tell(Event::SecretNotDescribed { error }))?;
        let held = secret.as_ref().and_then(|secret| Held::by(&self.prefix, secret.name()));
        let (Some(secret), Some(held)) = (secret, held) else {
            self.observer.tell(Event::ForeignSecret);
            return Err(RotationError::ForeignSecret);
        };

        // 2. Whose it is, 3. whether the version still waits for the step, and 4. the step.
        let outcome = match self.claim(&secret, held.clone()).await {
            Ok(claimed) => self.step_of(step, &secret, &claimed, version_id).await,
            Err(error) => Err(error),
        };
        self.observer.tell(Event::RotationStep(held.after(step, &outcome)));
        outcome.map(drop)
    }

    /// What the secret holds, if its tags say that it is this registry's, and the registration's of today.
    pub(super) async fn claim(&self, secret: &Secret, held: Held) -> Result<Claimed, RotationError> {
        let registry = self.identity.require().await?;
        match held {
            Held::ClientSecret { realm, client_id } => {
                secret.require_registry(&registry)?;
                let client = self.registry.client(&realm, &client_id).await?;
                let client = client.ok_or(RotationError::UnregisteredClient)?;
                secret.require_registration(&registry, &client.registration_id)?;
                // What a move to the registration has left behind: nobody reads it.
                if client.secret_storage() == SecretStorage::Digest {
                    return Err(RotationError::KeptAsDigest);
                }
                Ok(Claimed::ClientSecret(client))
            }
            Held::SigningKeys { realm } => {
                secret.require_registry(&registry)?;
                Ok(Claimed::SigningKeys(realm))
            }
        }
    }

    async fn step_of(
        &self,
        step: Step,
        secret: &Secret,
        claimed: &Claimed,
        version_id: &str,
    ) -> Result<Outcome, RotationError> {
        match secret.standing(version_id) {
            Some(Standing::Current) => {
                // A run that did not come to its end has left the label.
                if secret.versions_at(PENDING).any(|version| version == version_id) {
                    self.versions.discard_pending(secret, version_id).await?;
                }
                Ok(Outcome::NothingToDo)
            }
            Some(Standing::Pending) => match self.run(step, secret, claimed, version_id).await {
                // A run beside this one has finished meanwhile, which takes the label.
                Err(RotationError::NotPending) if self.is_current(secret, version_id).await? => {
                    Ok(Outcome::NothingToDo)
                }
                other => other.map(|()| Outcome::Done),
            },
            None => Err(RotationError::NotPending),
        }
    }

    async fn is_current(&self, secret: &Secret, version_id: &str) -> Result<bool, PortError> {
        let now = self.versions.describe(secret.id()).await?;
        Ok(now.and_then(|now| now.standing(version_id)) == Some(Standing::Current))
    }

    pub(super) async fn run(
        &self,
        step: Step,
        secret: &Secret,
        claimed: &Claimed,
        version_id: &str,
    ) -> Result<(), RotationError> {
        let (clients, keys) = (&self.client_secrets, &self.signing_keys);
        match claimed {
            Claimed::ClientSecret(client) => match step {
                Step::Create => clients.create(secret, client, version_id).await,
                // There is nothing to set: the functions read Secrets Manager.
                Step::Set => Ok(()),
                Step::Test => clients.test(secret, client, version_id).await,
                Step::Finish => clients.finish(secret, client, version_id).await,
            },
            Claimed::SigningKeys(realm) => match step {
                Step::Create => keys.create(secret, realm, version_id).await,
                Step::Set => keys.set(secret, realm, version_id).await,
                Step::Test => keys.test(secret, realm, version_id).await,
                Step::Finish => keys.finish(secret, realm, version_id).await,
            },
        }
    }
}
