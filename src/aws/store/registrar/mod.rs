//! Registrar on the registry table and Secrets Manager, for an operator's command line. Where a registration keeps the secrets itself,
//! as digests, Secrets Manager has nothing of it.
//!
//! Two services share no transaction, so the order of the steps is what keeps a crash harmless: a client is registered
//! disabled and with revision 0 until its secret is written, and loses its registration before its secret.
//!
//! Names of secrets are no proof: another stack may have the same prefix. Nothing is written to a secret, or deleted, that does
//! not carry the tags of this registry and of the very registration.
//!
//! Every item written carries a `write_id` of its own. The SDK repeats a write whose answer was lost, and a condition that held
//! the first time does not hold the second: the id in the stored item tells one's own write from somebody else's.

mod digests;
mod moving;
mod owners;
mod secret;
mod written;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use aws_sdk_secretsmanager::Client as SecretsManager;

use self::written::{LeftBehindBy, SecretWritten, Written};
use crate::aws::sdk::{DYNAMODB, corrupt, foreign, from_item, to_item, unavailable};
use crate::aws::store::admin_log::LOG_EXPIRES_AT;
use crate::aws::store::batch::fetch_all;
use crate::aws::store::described::describe;
use crate::aws::store::new_secrets::NewSecrets;
use crate::aws::store::registry::{
    CLIENT_PREFIX, Consistency, DynamoRegistry, ITEM, OWNER_PREFIX, REALM_PREFIX, client_key, fetch, query,
    read_client, read_realm, realm_key,
};
use crate::aws::store::registry_id::RegistryIdentity;
use crate::aws::store::secrets::{AwsSecrets, PREVIOUS, secret_name, secret_string};
use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::client::registered_secrets::RegisteredSecrets;
use crate::core::client::secret::{ClientSecret, ClientSecrets, NewSecret, SecretDates};
use crate::core::client::secret_storage::SecretStorage;
use crate::core::client_auth;
use crate::core::owner::{Owner, OwnerId};
use crate::core::port_error::PortError;
use crate::core::ports::{ClientPage, MovedSecrets, Registrar, RegistrarError, SecretSource as _};
use crate::core::random::{Random, random_name};
use crate::core::realm::{Realm, RealmName};

/// Manages the registrations and secrets of a deployed stack with the operator's own credentials.
pub struct AwsRegistrar {
    dynamodb: DynamoDb,
    secrets_manager: SecretsManager,
    registry_table: String,
    secret_prefix: String,
    identity: RegistryIdentity,
    random: Arc<dyn Random>,
    new_secrets: NewSecrets,
}

impl AwsRegistrar {
    /// Manages the table of this name, and the secrets whose names start with `secret_prefix`, which has no slash at its
    /// end.
    pub fn new(
        dynamodb: DynamoDb,
        secrets_manager: SecretsManager,
        registry_table: impl Into<String>,
        secret_prefix: impl Into<String>,
        random: Arc<dyn Random>,
    ) -> Self {
        let registry_table = registry_table.into();
        let identity = RegistryIdentity::new(dynamodb.clone(), registry_table.clone()).made_of(Arc::clone(&random));
        let secret_prefix = secret_prefix.into();
        Self {
            dynamodb,
            secrets_manager,
            registry_table,
            secret_prefix,
            identity,
            random,
            new_secrets: NewSecrets::default(),
        }
    }

    /// Has the secrets that it makes be made so.
    #[must_use]
    pub fn making(self, new_secrets: NewSecrets) -> Self {
        Self { new_secrets, ..self }
    }
}

#[async_trait]
impl Registrar for AwsRegistrar {
    async fn register(&self, client: &Client, secret: Option<&ClientSecret>) -> Result<(), RegistrarError> {
        let Some(secret) = secret.filter(|_| client.secret_storage() == SecretStorage::SecretsManager) else {
            return self.register_alone(client, secret).await;
        };

        // 1. The registration: of two operators, the condition lets one win. Disabled, because a secret left over from an
        //    earlier client of this id would otherwise authenticate as the new one until step 2 has replaced it.
        let registry = self.identity.require().await?;
        let write_id = self.write_id()?;
        if let Written::Refused(_) = self.put_client(&client.begun(), &write_id, &Condition::Absent).await? {
            return Err(RegistrarError::AlreadyExists);
        }

        // 2. The secret, and 3. the registration as it was asked for. What an earlier registration has left behind belongs to
        //    nobody any more: there was none a moment ago.
        let stored = match secret_string(client, secret) {
            Ok(text) => self.store_first_secret(&registry, client, &text, LeftBehindBy::AnyRegistration).await,
            Err(error) => Err(error),
        };
        let completed = match stored {
            Ok(()) => self.put_client(client, &write_id, &Condition::WrittenBy(&write_id)).await,
            Err(error) => Err(error),
        };
        match completed {
            Ok(Written::Stored) => Ok(()),
            Ok(Written::Refused(_)) => {
                self.withdraw_secret(&registry, client).await;
                Err(RegistrarError::Conflict)
            }
            Err(error) => {
                self.withdraw(client, &write_id).await;
                self.withdraw_secret(&registry, client).await;
                Err(error.into())
            }
        }
    }

    async fn replace(&self, client: &Client) -> Result<(), RegistrarError> {
        let Some(previous) = client.revision.checked_sub(1) else { return Err(RegistrarError::Conflict) };
        let write_id = self.write_id()?;
        match self.put_client(client, &write_id, &Condition::Successor { of: previous, client }).await? {
            Written::Stored => Ok(()),
            Written::Refused(Some(_)) => Err(RegistrarError::Conflict),
            Written::Refused(None) => Err(RegistrarError::NotFound),
        }
    }

    async fn move_secrets(
        &self,
        before: &Client,
        client: &Client,
        fresh: &NewSecret<'_>,
    ) -> Result<MovedSecrets, RegistrarError> {
        let (from, to) = (before.secret_storage(), client.secret_storage());
        if from != to && client_auth::uses_secret(&client.metadata) {
            return match to {
                SecretStorage::Digest => self.move_to_registration(client, fresh.made_at).await,
                SecretStorage::SecretsManager => self.move_to_secrets_manager(before, client, fresh).await,
            };
        }
        if client != before {
            // A client that has no secret now may get one again, which is kept where it says: earlier digests are nothing to it.
            let digests = client.secret_digests.clone().filter(|_| to == SecretStorage::Digest);
            self.replace(&Client { secret_digests: digests, ..client.clone() }).await?;
        }
        match to {
            SecretStorage::Digest => self.remove_leftover(client).await,
            SecretStorage::SecretsManager => Ok(MovedSecrets::default()),
        }
    }

    async fn delete(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), RegistrarError> {
        // 1. The secret of a client that is stopped already, with which nobody authenticates. Whoever ends halfway then still finds the
        //    client, and with it what is left.
        let stored =
            fetch(&self.dynamodb, &self.registry_table, client_key(realm, client_id), Consistency::Strong).await?;
        let is_stopped = |item: &HashMap<_, AttributeValue>| {
            item.get("status").and_then(|status| status.as_s().ok()).is_some_and(|status| status == "disabled")
        };
        if stored.as_ref().is_some_and(is_stopped) {
            match self.delete_secret_of(realm, client_id, stored.as_ref()).await {
                // Step 3 says so, once the registration is gone.
                Ok(()) | Err(PortError::Foreign { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }

        // 2. The registration: from here on nobody authenticates as this client.
        let answer = self
            .dynamodb
            .delete_item()
            .table_name(&self.registry_table)
            .set_key(Some(client_key(realm, client_id)))
            .return_values(ReturnValue::AllOld)
            .send()
            .await
            .map_err(|error| unavailable(DYNAMODB, "DeleteItem", &error))?;

        // 3. The secret even where there was no registration: it may be what a deletion that failed halfway left behind.
        let deleted = answer.attributes;
        self.delete_secret_of(realm, client_id, deleted.as_ref()).await.map_err(|error| match error {
            PortError::Foreign { service, detail } if deleted.is_some() => {
                foreign(service, format!("the registration is deleted, the secret of its name is not: {detail}"))
            }
            other => other,
        })?;
        if deleted.is_some() { Ok(()) } else { Err(RegistrarError::NotFound) }
    }

    async fn delete_unchanged(&self, client: &Client) -> Result<(), RegistrarError> {
        // 1. The secret first, as in `delete`; of a registration that somebody has changed, nothing is touched.
        let key = client_key(&client.realm, &client.client_id);
        let stored = fetch(&self.dynamodb, &self.registry_table, key.clone(), Consistency::Strong).await?;
        let stored = stored.ok_or(RegistrarError::NotFound)?;
        let is = read_client(stored.clone(), &client.realm, &client.client_id)?;
        if is.revision != client.revision || is.registration_id != client.registration_id {
            return Err(RegistrarError::Conflict);
        }
        let secret = self.delete_secret_of(&client.realm, &client.client_id, Some(&stored)).await;
        let foreign_secret = match secret {
            Err(error @ PortError::Foreign { .. }) => Some(error),
            other => other.map(|()| None)?,
        };

        // 2. The registration, unless somebody has changed it in between.
        let deleted = self
            .dynamodb
            .delete_item()
            .table_name(&self.registry_table)
            .set_key(Some(key))
            .condition_expression("#revision = :revision AND #registration_id = :registration_id")
            .expression_attribute_names("#revision", "revision")
            .expression_attribute_names("#registration_id", "registration_id")
            .expression_attribute_values(":revision", AttributeValue::N(client.revision.to_string()))
            .expression_attribute_values(
                ":registration_id",
                AttributeValue::S(client.registration_id.as_str().to_owned()),
            )
            .send()
            .await;
        match deleted {
            Ok(_) => foreign_secret.map_or(Ok(()), |error| Err(error.into())),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => Err(RegistrarError::Conflict),
                _ => Err(unavailable(DYNAMODB, "DeleteItem", &error).into()),
            },
        }
    }

    async fn rotate_secret(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        secret: &NewSecret<'_>,
    ) -> Result<(), RegistrarError> {
        let client = self.read(realm, client_id).await?;
        if !client_auth::uses_secret(&client.metadata) {
            return Err(RegistrarError::NoSecret);
        }
        if client.secret_storage() == SecretStorage::Digest {
            return self.change_digests(client, |before| Some(RegisteredSecrets::rotated(before, secret))).await;
        }
        let registry = self.identity.require().await?;
        self.rotate_stored_secret(&registry, &client, secret).await?;

        // Somebody may have moved the secrets to the registration meanwhile, this one or only those before it. Once it is withdrawn,
        // nobody takes it along any more.
        let digest = secret.secret.digest();
        let is_read = |now: &Client| match now.secret_storage() {
            SecretStorage::SecretsManager => true,
            SecretStorage::Digest => now.secret_digests.as_ref().is_some_and(|digests| digests.include(&digest)),
        };
        if is_read(&self.read(realm, client_id).await?) {
            return Ok(());
        }
        self.withdraw_secret(&registry, &client).await;
        if is_read(&self.read(realm, client_id).await?) { Ok(()) } else { Err(RegistrarError::Conflict) }
    }

    async fn secret_dates(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
    ) -> Result<Option<SecretDates>, RegistrarError> {
        let client = self.read(realm, client_id).await?;
        if !client_auth::uses_secret(&client.metadata) {
            return Ok(None);
        }
        if client.secret_storage() == SecretStorage::Digest {
            return Ok(client.secret_digests.as_ref().map(RegisteredSecrets::dates));
        }
        let name = secret_name(&self.secret_prefix, realm, client_id);
        let Some(described) = describe(&self.secrets_manager, &name).await? else { return Ok(None) };
        described.require_registration(&self.identity.require().await?, &client.registration_id)?;
        Ok(self.dates_of(&described).await)
    }

    async fn stored_secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, RegistrarError> {
        let registry = Arc::new(DynamoRegistry::new(self.dynamodb.clone(), self.registry_table.clone()));
        let source = AwsSecrets::new(self.secrets_manager.clone(), self.secret_prefix.clone(), registry);
        Ok(source.secrets(client).await?)
    }

    async fn revoke_previous_secret(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), RegistrarError> {
        let client = self.read(realm, client_id).await?;
        if client.secret_storage() == SecretStorage::Digest {
            return self.change_digests(client, |before| before.map(RegisteredSecrets::without_previous)).await;
        }
        let name = secret_name(&self.secret_prefix, realm, client_id);
        let Some(described) = describe(&self.secrets_manager, &name).await? else { return Ok(()) };
        described.require_registration(&self.identity.require().await?, &client.registration_id)?;
        // First what would bring it back.
        self.cancel_rotation(&described).await?;
        Ok(self.take_labels(&described, PREVIOUS).await?)
    }

    async fn read(&self, realm: &RealmName, client_id: &ClientId) -> Result<Client, RegistrarError> {
        let key = client_key(realm, client_id);
        let item = fetch(&self.dynamodb, &self.registry_table, key, Consistency::Strong).await?;
        Ok(read_client(item.ok_or(RegistrarError::NotFound)?, realm, client_id)?)
    }

    async fn read_many(&self, clients: &[(RealmName, ClientId)]) -> Result<Vec<Client>, RegistrarError> {
        // DynamoDB refuses a batch that has a key twice.
        let clients: BTreeSet<_> = clients.iter().collect();
        let keys = clients.iter().map(|(realm, client_id)| client_key(realm, client_id)).collect();
        let items = fetch_all(&self.dynamodb, &self.registry_table, keys, Consistency::Strong).await?;
        Ok(items.into_iter().map(|item| read_listed(item, CLIENT_PREFIX)).collect::<Result<_, _>>()?)
    }

    async fn list(
        &self,
        realm: &RealmName,
        after: Option<&ClientId>,
        limit: usize,
    ) -> Result<ClientPage, RegistrarError> {
        let start = after.map(|client_id| client_key(realm, client_id));
        // One more than asked for tells whether there is a next page.
        let items = self.query(realm, CLIENT_PREFIX, start, limit.saturating_add(1)).await?;
        let has_next = items.len() > limit;
        let clients: Vec<Client> =
            items.into_iter().take(limit).map(|item| read_listed(item, CLIENT_PREFIX)).collect::<Result<_, _>>()?;
        let next = clients.last().filter(|_| has_next).map(|client| client.client_id.clone());
        Ok(ClientPage { clients, next })
    }

    async fn put_realm(&self, realm: &Realm) -> Result<(), RegistrarError> {
        let condition = Condition::after(realm.revision).ok_or(RegistrarError::Conflict)?;
        let write_id = self.write_id()?;
        let mut item = to_item(realm, "a realm record")?;
        item.extend(realm_key(&realm.name));
        match self.put(item, &write_id, &condition).await? {
            Written::Stored => Ok(()),
            Written::Refused(_) => Err(RegistrarError::Conflict),
        }
    }

    async fn read_realm(&self, name: &RealmName) -> Result<Option<Realm>, RegistrarError> {
        let item = fetch(&self.dynamodb, &self.registry_table, realm_key(name), Consistency::Strong).await?;
        Ok(item.map(|item| read_realm(item, name)).transpose()?)
    }

    async fn delete_realm(&self, realm: &Realm) -> Result<(), RegistrarError> {
        let deleted = self
            .dynamodb
            .delete_item()
            .table_name(&self.registry_table)
            .set_key(Some(realm_key(&realm.name)))
            .condition_expression("attribute_not_exists(#item) OR #revision = :revision")
            .expression_attribute_names("#item", ITEM)
            .expression_attribute_names("#revision", "revision")
            .expression_attribute_values(":revision", AttributeValue::N(realm.revision.to_string()))
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => Err(RegistrarError::Conflict),
                _ => Err(unavailable(DYNAMODB, "DeleteItem", &error).into()),
            },
        }
    }

    async fn list_realms(&self) -> Result<Vec<Realm>, RegistrarError> {
        let items = self.query(&RealmName::root(), REALM_PREFIX, None, usize::MAX).await?;
        Ok(items.into_iter().map(|item| read_listed(item, REALM_PREFIX)).collect::<Result<_, _>>()?)
    }

    async fn put_owner(&self, owner: &Owner) -> Result<(), RegistrarError> {
        self.write_owner(owner).await
    }

    async fn delete_owner(&self, owner: &Owner) -> Result<(), RegistrarError> {
        self.remove_owner(owner).await
    }

    async fn read_owner(&self, id: &OwnerId) -> Result<Option<Owner>, RegistrarError> {
        Ok(self.fetch_owner(id).await?)
    }

    async fn list_owners(&self) -> Result<Vec<Owner>, RegistrarError> {
        let items = self.query(&RealmName::root(), OWNER_PREFIX, None, usize::MAX).await?;
        Ok(items.into_iter().map(|item| read_listed(item, OWNER_PREFIX)).collect::<Result<_, _>>()?)
    }
}

/// When a write may happen.
enum Condition<'a> {
    /// Nothing has this key.
    Absent,
    /// The stored item is this revision of this very registration, not of a later one with its id.
    Successor { of: u64, client: &'a Client },
    /// The stored item has this revision.
    Revision(u64),
    /// The stored item comes from this write.
    WrittenBy(&'a str),
}

impl Condition<'_> {
    /// That of a record whose revisions are counted, and of which this one is to be the next.
    fn after(revision: u64) -> Option<Self> {
        match revision {
            0 => None,
            1 => Some(Self::Absent),
            revision => Some(Self::Revision(revision - 1)),
        }
    }
}

/// The registry table.
impl AwsRegistrar {
    async fn put_client(
        &self,
        client: &Client,
        write_id: &str,
        condition: &Condition<'_>,
    ) -> Result<Written, PortError> {
        let mut item = to_item(client, "a client registration")?;
        item.extend(client_key(&client.realm, &client.client_id));
        self.put(item, write_id, condition).await
    }

    async fn put(
        &self,
        mut item: HashMap<String, AttributeValue>,
        write_id: &str,
        condition: &Condition<'_>,
    ) -> Result<Written, PortError> {
        // DynamoDB would remove it at that time.
        if item.contains_key(LOG_EXPIRES_AT) {
            return Err(corrupt(DYNAMODB, "a record that has an attribute of the admin log's lines"));
        }
        let write_id = AttributeValue::S(write_id.to_owned());
        item.insert(WRITE_ID.to_owned(), write_id.clone());
        let request = self
            .dynamodb
            .put_item()
            .table_name(&self.registry_table)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match condition {
            Condition::Absent => {
                request.condition_expression("attribute_not_exists(#item)").expression_attribute_names("#item", ITEM)
            }
            Condition::Revision(revision) => request
                .condition_expression("#revision = :revision")
                .expression_attribute_names("#revision", "revision")
                .expression_attribute_values(":revision", AttributeValue::N(revision.to_string())),
            Condition::Successor { of: revision, client } => request
                .condition_expression("#revision = :revision AND #registration_id = :registration_id")
                .expression_attribute_names("#revision", "revision")
                .expression_attribute_names("#registration_id", "registration_id")
                .expression_attribute_values(":revision", AttributeValue::N(revision.to_string()))
                .expression_attribute_values(
                    ":registration_id",
                    AttributeValue::S(client.registration_id.as_str().to_owned()),
                ),
            Condition::WrittenBy(other) => request
                .condition_expression("#write_id = :write_id")
                .expression_attribute_names("#write_id", WRITE_ID)
                .expression_attribute_values(":write_id", AttributeValue::S((*other).to_owned())),
        };
        match request.send().await {
            Ok(_) => Ok(Written::Stored),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refusal)) => {
                    let stored = refusal.item().cloned();
                    let is_own = stored.as_ref().and_then(|item| item.get(WRITE_ID)) == Some(&write_id);
                    Ok(if is_own { Written::Stored } else { Written::Refused(stored) })
                }
                _ => Err(unavailable(DYNAMODB, "PutItem", &error)),
            },
        }
    }

    /// Takes back a registration that could not be completed. Where that fails too, the client stays behind, disabled or
    /// with a secret that nobody has seen: it can be deleted, and until then nobody can use it.
    async fn withdraw(&self, client: &Client, write_id: &str) {
        let deleted = self
            .dynamodb
            .delete_item()
            .table_name(&self.registry_table)
            .set_key(Some(client_key(&client.realm, &client.client_id)))
            .condition_expression("#write_id = :write_id")
            .expression_attribute_names("#write_id", WRITE_ID)
            .expression_attribute_values(":write_id", AttributeValue::S(write_id.to_owned()))
            .send()
            .await;
        if let Err(error) = deleted
            && !matches!(error.as_service_error(), Some(DeleteItemError::ConditionalCheckFailedException(_)))
        {
            let error = unavailable(DYNAMODB, "DeleteItem", &error);
            let (realm, client_id) = (&client.realm, &client.client_id);
            tracing::warn!(%realm, %client_id, %error, "a registration without a usable secret stays behind; delete it");
        }
    }

    async fn query(
        &self,
        realm: &RealmName,
        prefix: &str,
        start: Option<HashMap<String, AttributeValue>>,
        limit: usize,
    ) -> Result<Vec<HashMap<String, AttributeValue>>, PortError> {
        query(&self.dynamodb, &self.registry_table, realm, prefix, None, start, limit).await
    }

    fn write_id(&self) -> Result<String, PortError> {
        random_name(self.random.as_ref())
    }
}

/// An item of a listing. An operator has to find the one that cannot be read, so the error names its key.
fn read_listed<T: Listed>(item: HashMap<String, AttributeValue>, prefix: &str) -> Result<T, PortError> {
    let key = item.get(ITEM).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    let listed: T = from_item(item, &key)?;
    if key.strip_prefix(prefix) == Some(listed.name()) {
        Ok(listed)
    } else {
        Err(corrupt(DYNAMODB, &format!("{key} with the name of another")))
    }
}

/// What a listing lists.
trait Listed: serde::de::DeserializeOwned {
    /// What stands in its sort key.
    fn name(&self) -> &str;
}

impl Listed for Client {
    fn name(&self) -> &str {
        self.client_id.as_str()
    }
}

impl Listed for Owner {
    fn name(&self) -> &str {
        self.owner.as_str()
    }
}

impl Listed for Realm {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// The attribute that tells one's own write from somebody else's.
const WRITE_ID: &str = "write_id";
