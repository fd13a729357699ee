//! Signing keys: the private keys of a realm in Secrets Manager under `<prefix>/<realm>/signing-keys`, their public halves in
//! the registry table, so that a function which only verifies has no way to a private key. The secret says which registry it
//! belongs to, so that no stack signs with the keys of another one that has its prefix.
//!
//! The secret comes first and counts: of two that create it, Secrets Manager lets one win. Whoever is about to sign sees to it
//! that its public halves are published, so a crash between the two steps heals with the next signature.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use aws_sdk_secretsmanager::operation::create_secret::CreateSecretError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::described::{delete, describe, tags, take_label};
use super::new_secrets::NewSecrets;
use super::registry::{Consistency, ITEM, fetch, published_keys_key};
use super::registry_id::{BIND, REGISTRY_ID, RegistryId, RegistryIdentity};
use super::secrets::{CURRENT, PENDING, label_has_moved, signing_keys_name};
use crate::aws::sdk::{
    DYNAMODB, LazySecretsManager, SECRETS_MANAGER, corrupt, foreign, from_item, to_item, unavailable,
};
use crate::core::keys::published::{PublishedKeys, VerificationKeys};
use crate::core::keys::set::KeySet;
use crate::core::port_error::PortError;
use crate::core::ports::{KeyStore, KeyStoreError, VerificationKeySource};
use crate::core::realm::RealmName;

/// The public keys of every realm, in the registry table.
#[derive(Clone)]
pub struct DynamoPublishedKeys {
    dynamodb: DynamoDb,
    table: String,
}

/// The private keys of every realm, in Secrets Manager.
pub struct SecretsManagerKeys {
    secrets_manager: LazySecretsManager,
    prefix: String,
    published: DynamoPublishedKeys,
    identity: Arc<RegistryIdentity>,
    new_secrets: NewSecrets,
}

/// The attributes of a realm's public keys, besides the key of the item.
#[derive(Serialize, Deserialize)]
struct PublishedItem {
    revision: u64,
    /// JSON text, so that what comes back is what was published to the letter.
    jwks: String,
}

/// A version of a realm's private keys, and its name in Secrets Manager.
struct Version {
    id: String,
    text: Zeroizing<String>,
}

impl DynamoPublishedKeys {
    /// Publishes in the table of this name.
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>) -> Self {
        Self { dynamodb, table: table.into() }
    }

    /// What a realm publishes now; nothing where it has never had a key.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn read(&self, realm: &RealmName) -> Result<PublishedKeys, PortError> {
        let item = fetch(&self.dynamodb, &self.table, published_keys_key(realm), Consistency::Strong).await?;
        let Some(item) = item else { return Ok(PublishedKeys::default()) };
        let item: PublishedItem = from_item(item, PUBLISHED)?;
        let keys: PublishedKeys = serde_json::from_str(&item.jwks)
            .map_err(|_| corrupt(DYNAMODB, &format!("{PUBLISHED} of the wrong form")))?;
        if keys.revision == item.revision {
            Ok(keys)
        } else {
            Err(corrupt(DYNAMODB, &format!("{PUBLISHED} of two revisions")))
        }
    }

    /// Publishes the public halves of `keys`, unless those of a later revision are published already.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn publish(&self, realm: &RealmName, keys: &KeySet) -> Result<(), PortError> {
        let published = keys.published();
        let jwks = serde_json::to_string(&published).map_err(|_| corrupt(DYNAMODB, PUBLISHED))?;
        let mut item = to_item(&PublishedItem { revision: published.revision, jwks }, PUBLISHED)?;
        item.extend(published_keys_key(realm));
        let written = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#item) OR #revision <= :revision")
            .expression_attribute_names("#item", ITEM)
            .expression_attribute_names("#revision", "revision")
            .expression_attribute_values(":revision", AttributeValue::N(published.revision.to_string()))
            .send()
            .await;
        match written {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(unavailable(DYNAMODB, "PutItem", &error)),
            },
        }
    }

    /// Withdraws what a realm publishes; whether there was anything.
    ///
    /// # Errors
    /// [`PortError`].
    async fn withdraw(&self, realm: &RealmName) -> Result<bool, PortError> {
        let request = self.dynamodb.delete_item().table_name(&self.table).set_key(Some(published_keys_key(realm)));
        let answer = request.return_values(ReturnValue::AllOld).send().await;
        let answer = answer.map_err(|error| unavailable(DYNAMODB, "DeleteItem", &error))?;
        Ok(answer.attributes.is_some_and(|item| !item.is_empty()))
    }

    /// Returns once every key that signs in `keys` is published.
    pub(in crate::aws) async fn ensure(&self, realm: &RealmName, keys: &KeySet) -> Result<(), PortError> {
        let published = self.read(realm).await?;
        // A later revision is a rotation that has published its keys and does not sign with them yet.
        if published == keys.published() || (published.revision > keys.revision && published.include_signers_of(keys)) {
            return Ok(());
        }
        self.publish(realm, keys).await?;
        if self.read(realm).await?.include_signers_of(keys) {
            return Ok(());
        }
        // A leaked key is being taken back, or was and the command did not come to its end; or somebody restored an older secret
        // or a newer table. Nobody could verify what is signed now, so nothing bridges this.
        Err(corrupt(SECRETS_MANAGER, "signing keys that are not among the ones published"))
    }
}

#[async_trait]
impl VerificationKeySource for DynamoPublishedKeys {
    async fn verification_keys(&self, realm: &RealmName) -> Result<Arc<VerificationKeys>, PortError> {
        Ok(Arc::new(self.read(realm).await?.verification_keys()?))
    }
}

impl SecretsManagerKeys {
    /// Keeps the keys in secrets whose names start with `prefix`, which has no slash at its end, as those of the registry that
    /// `identity` names, and publishes them in `published`.
    pub fn new(
        secrets_manager: impl Into<LazySecretsManager>,
        prefix: impl Into<String>,
        published: DynamoPublishedKeys,
        identity: Arc<RegistryIdentity>,
    ) -> Self {
        Self {
            secrets_manager: secrets_manager.into(),
            prefix: prefix.into(),
            published,
            identity,
            new_secrets: NewSecrets::default(),
        }
    }

    /// Has the secrets that it makes be made so.
    #[must_use]
    pub fn making(self, new_secrets: NewSecrets) -> Self {
        Self { new_secrets, ..self }
    }

    /// The keys in use and the name of their version; `None` where the realm has none.
    async fn current(&self, name: &str) -> Result<Option<(String, KeySet)>, PortError> {
        let Some(Version { id, text }) = self.current_version(name).await? else { return Ok(None) };
        let registry = self.identity.require().await?;
        Ok(Some((id, read_key_set(&text, &registry)?)))
    }

    async fn current_version(&self, name: &str) -> Result<Option<Version>, PortError> {
        let answer = self.secrets_manager.get_secret_value().secret_id(name).version_stage(CURRENT).send().await;
        match answer {
            Ok(mut answer) => {
                let text = Zeroizing::new(answer.secret_string.take().unwrap_or_default());
                Ok(Some(Version { id: answer.version_id.unwrap_or_default(), text }))
            }
            Err(error) => match error.as_service_error() {
                Some(GetSecretValueError::ResourceNotFoundException(_)) => Ok(None),
                _ => Err(unavailable(SECRETS_MANAGER, "GetSecretValue", &error)),
            },
        }
    }
}

#[async_trait]
impl KeyStore for SecretsManagerKeys {
    async fn read_keys(&self, realm: &RealmName) -> Result<Option<KeySet>, PortError> {
        Ok(self.current(&signing_keys_name(&self.prefix, realm)).await?.map(|(_, keys)| keys))
    }

    async fn ensure_published(&self, realm: &RealmName, keys: &KeySet) -> Result<(), PortError> {
        self.published.ensure(realm, keys).await
    }

    async fn create_keys(&self, realm: &RealmName, keys: &KeySet) -> Result<(), KeyStoreError> {
        let registry = self.identity.require().await?;
        let (name, text) = (signing_keys_name(&self.prefix, realm), key_set_text(keys, &registry)?);
        let mut pauses = DELETION_PAUSES.iter();
        loop {
            let created = self
                .secrets_manager
                .create_secret()
                .name(&name)
                .description("The signing keys of an OAuth 2.0 realm, managed by grantwell")
                .set_tags(Some(self.new_secrets.with_tags(tags(&registry, None))))
                .set_kms_key_id(self.new_secrets.kms_key_id())
                .secret_string(text.as_str())
                .send()
                .await;
            let Err(error) = created else { return Ok(self.published.publish(realm, keys).await?) };
            // A deleted secret keeps its name occupied for a while, even if its deletion was forced.
            let is_being_deleted = match error.as_service_error() {
                Some(CreateSecretError::ResourceExistsException(_)) => self.current_version(&name).await?.is_none(),
                Some(CreateSecretError::InvalidRequestException(_)) => true,
                _ => return Err(unavailable(SECRETS_MANAGER, "CreateSecret", &error).into()),
            };
            if !is_being_deleted {
                return Err(KeyStoreError::Conflict);
            }
            let Some(pause) = pauses.next() else {
                return Err(unavailable(SECRETS_MANAGER, "CreateSecret", &error).into());
            };
            tokio::time::sleep(*pause).await;
        }
    }

    async fn delete_keys(&self, realm: &RealmName) -> Result<bool, PortError> {
        let secret = describe(&self.secrets_manager, &signing_keys_name(&self.prefix, realm)).await?;
        if let Some(secret) = &secret {
            secret.require_registry(&self.identity.require().await?)?;
            // By its ARN: keys that are made anew under this name are another secret.
            delete(&self.secrets_manager, secret.id()).await?;
        }
        let were_published = self.published.withdraw(realm).await?;
        Ok(secret.is_some() || were_published)
    }

    async fn replace_keys(&self, realm: &RealmName, keys: &KeySet) -> Result<(), KeyStoreError> {
        // 1. What is to be replaced, and whose it is.
        let name = signing_keys_name(&self.prefix, realm);
        let registry = self.identity.require().await?;
        let described = describe(&self.secrets_manager, &name).await?.ok_or(KeyStoreError::Conflict)?;
        described.require_registry(&registry)?;
        let (current_id, current) = self.current(&name).await?.ok_or(KeyStoreError::Conflict)?;
        if current.revision.checked_add(1) != Some(keys.revision) {
            return Err(KeyStoreError::Conflict);
        }

        // 2. What waits to become current was made from keys that are about to be replaced. Secrets Manager would begin no
        //    rotation as long as it has the label.
        for pending in described.versions_at(PENDING) {
            take_label(&self.secrets_manager, &name, PENDING, pending).await?;
        }

        // 3. The new version, which nobody reads yet.
        let stored = self
            .secrets_manager
            .put_secret_value()
            .secret_id(&name)
            .secret_string(key_set_text(keys, &registry)?.as_str())
            .version_stages(REPLACEMENT)
            .send()
            .await
            .map_err(|error| unavailable(SECRETS_MANAGER, "PutSecretValue", &error))?;

        // 4. Published before it signs.
        self.published.publish(realm, keys).await?;

        // 5. It signs, if what was current in step 1 still is: Secrets Manager refuses to take a label off another version.
        let moved = self
            .secrets_manager
            .update_secret_version_stage()
            .secret_id(&name)
            .version_stage(CURRENT)
            .set_move_to_version_id(stored.version_id.clone())
            .remove_from_version_id(current_id)
            .send()
            .await;
        match moved {
            // 6. What is published are the keys of whoever won, though the others may have published theirs after it.
            Ok(_) => Ok(self.published.ensure(realm, keys).await?),
            Err(error) if label_has_moved(error.as_service_error()) => {
                let (winner_id, winner) = self.current(&name).await?.ok_or(KeyStoreError::Conflict)?;
                self.published.ensure(realm, &winner).await?;
                // Refused, too, is the SDK's second attempt after a first whose answer was lost.
                if winner_id == stored.version_id.unwrap_or_default() { Ok(()) } else { Err(KeyStoreError::Conflict) }
            }
            Err(error) => Err(unavailable(SECRETS_MANAGER, "UpdateSecretVersionStage", &error).into()),
        }
    }
}

/// What is stored of a realm's keys, which says whose they are.
pub(in crate::aws) fn key_set_text(keys: &KeySet, registry: &RegistryId) -> Result<Zeroizing<String>, PortError> {
    let jwks = keys.to_json()?;
    let members =
        jwks.strip_prefix('{').ok_or_else(|| corrupt(SECRETS_MANAGER, "signing keys that are not a JSON object"))?;
    // In a buffer that does not grow: one that grows leaves copies of itself behind. The id needs no escapes.
    let mut text = Zeroizing::new(String::with_capacity(jwks.len() + 128));
    for part in ["{\"", REGISTRY_ID, "\":\"", registry.as_str(), "\",", members] {
        text.push_str(part);
    }
    Ok(text)
}

/// What a stored text says.
///
/// # Errors
/// [`PortError::Foreign`] where it is another registry's or does not say; [`PortError::Corrupt`] where it is no set of keys.
pub(in crate::aws) fn read_key_set(text: &str, registry: &RegistryId) -> Result<KeySet, PortError> {
    let keys = read_unclaimed_key_set(text)?;
    match registry_of(text)? {
        Some(id) if id == registry.as_str() => Ok(keys),
        Some(_) => Err(foreign(
            SECRETS_MANAGER,
            "signing keys of another registry, which this stack does not use; give this stack a SecretPrefix of its own"
                .to_owned(),
        )),
        None => Err(foreign(
            SECRETS_MANAGER,
            format!("signing keys without a {REGISTRY_ID}, so nothing says whose they are; if they are this registry's: {BIND}"),
        )),
    }
}

/// The keys in a stored text, whosever they are.
pub(super) fn read_unclaimed_key_set(text: &str) -> Result<KeySet, PortError> {
    KeySet::from_json(text).map_err(|error| corrupt(SECRETS_MANAGER, &error.to_string()))
}

/// The registry that a stored text names.
pub(super) fn registry_of(text: &str) -> Result<Option<String>, PortError> {
    #[derive(Deserialize)]
    struct Claimed {
        registry_id: Option<String>,
    }

    let claimed: Claimed = serde_json::from_str(text).map_err(|_| corrupt(SECRETS_MANAGER, NO_KEYS))?;
    Ok(claimed.registry_id)
}

/// How long to wait for Secrets Manager to let go of a name. A request for a token waits, too.
const DELETION_PAUSES: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];
const PUBLISHED: &str = "a realm's public keys";
const NO_KEYS: &str = "what is not a set of signing keys of this server";
/// The label of a version between steps 3 and 5 of a replacement.
pub(super) const REPLACEMENT: &str = "GRANTWELLREPLACEMENT";
