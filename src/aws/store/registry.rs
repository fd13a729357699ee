//! Client registry on the registry table: partition key `realm`, sort key `item`, other attributes named as RFC 7591 names
//! them.
//!
//! A client of realm alpha is `alpha` / `client#myClient`. A realm is a child of root, so alpha itself is
//! `root` / `realm#alpha`, and root's own record `root` / `realm#root`. Its public keys are `keys#alpha` / `jwks`. Owners belong to no
//! realm and are beside them: `root` / `owner#alice`. Which registry it is, is `root` / `registry`.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};

use crate::aws::sdk::{DYNAMODB, corrupt, from_item, unavailable};
use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::keys::retention::Retention;
use crate::core::owner::OwnerId;
use crate::core::port_error::PortError;
use crate::core::ports::{ClientBeside, ClientRegistry, RealmAndClient};
use crate::core::realm::{Realm, RealmName};

/// Reads registrations and realms for the functions.
pub struct DynamoRegistry {
    dynamodb: DynamoDb,
    table: String,
    consistency: Consistency,
}

impl DynamoRegistry {
    /// Reads the table of this name, eventually consistent: half the price, and the answer is cached for seconds anyway.
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>) -> Self {
        Self { dynamodb, table: table.into(), consistency: Consistency::Eventual }
    }

    /// The same registry, whose reads see every finished write: for decisions that outlast a cache.
    #[must_use]
    pub fn strongly_consistent(self) -> Self {
        Self { consistency: Consistency::Strong, ..self }
    }

    /// The name of every realm that has a record, as its key has it.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn realm_names(&self) -> Result<Vec<String>, PortError> {
        let items =
            query(&self.dynamodb, &self.table, &RealmName::root(), REALM_PREFIX, None, None, usize::MAX).await?;
        let name = |item: &HashMap<String, AttributeValue>| {
            item.get(ITEM)?.as_s().ok()?.strip_prefix(REALM_PREFIX).map(str::to_owned)
        };
        Ok(items.iter().filter_map(name).collect())
    }

    /// The realm's clients whose secrets are rotated by schedule. One that cannot be read hides no other.
    ///
    /// # Errors
    /// [`PortError`] where the realm cannot be listed.
    pub async fn clients_with_secret_rotation(
        &self,
        realm: &RealmName,
    ) -> Result<Vec<Result<Client, PortError>>, PortError> {
        let (prefix, filter) = (CLIENT_PREFIX, Some(HAS_SECRET_ROTATION));
        let items = query(&self.dynamodb, &self.table, realm, prefix, filter, None, usize::MAX).await?;
        Ok(items.into_iter().map(|item| read_listed_client(item, realm)).collect())
    }

    /// What the tokens of the realm and of all its clients ask of its keys. One registration that cannot be read is an error: its
    /// tokens may be those that live longest.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn retention(&self, name: &RealmName) -> Result<Retention, PortError> {
        let realm = self.realm(name).await?.unwrap_or_else(|| Arc::new(Realm::new(name.clone())));
        let items = query(&self.dynamodb, &self.table, name, CLIENT_PREFIX, None, None, usize::MAX).await?;
        items.into_iter().try_fold(Retention::of_realm(&realm), |retention, item| {
            Ok(retention.and(&read_listed_client(item, name)?))
        })
    }
}

#[async_trait]
impl ClientRegistry for DynamoRegistry {
    async fn client(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        let key = client_key(realm, client_id);
        let item = fetch(&self.dynamodb, &self.table, key, self.consistency).await?;
        item.map(|item| read_client(item, realm, client_id).map(Arc::new)).transpose()
    }

    async fn realm(&self, name: &RealmName) -> Result<Option<Arc<Realm>>, PortError> {
        let item = fetch(&self.dynamodb, &self.table, realm_key(name), self.consistency).await?;
        item.map(|item| read_realm(item, name).map(Arc::new)).transpose()
    }

    /// In one round trip instead of two, at the price of both.
    async fn realm_and_client(&self, name: &RealmName, client_id: &ClientId) -> Result<RealmAndClient, PortError> {
        let keys = [realm_key(name), client_key(name, client_id)];
        let Some(mut found) = fetch_both(&self.dynamodb, &self.table, keys, self.consistency).await? else {
            return Ok(RealmAndClient { realm: self.realm(name).await?, client: ClientBeside::NotSaid });
        };
        let mut take = |item: String| found.items.remove(&item);
        let realm = match take(format!("{REALM_PREFIX}{name}")) {
            Some(item) => Some(Arc::new(read_realm(item, name)?)),
            None if found.is_whole => None,
            None => self.realm(name).await?,
        };
        let client = match take(format!("{CLIENT_PREFIX}{client_id}")) {
            // One that cannot be read is whoever's trouble who needs it.
            Some(item) => read_client(item, name, client_id)
                .map_or(ClientBeside::NotSaid, |client| ClientBeside::Said(Some(Arc::new(client)))),
            None if found.is_whole => ClientBeside::Said(None),
            None => ClientBeside::NotSaid,
        };
        Ok(RealmAndClient { realm, client })
    }

    /// Consistent, whatever else is: a registration that was changed before a secret was made is read as it was changed.
    async fn client_anew(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        let item = fetch(&self.dynamodb, &self.table, client_key(realm, client_id), Consistency::Strong).await?;
        item.map(|item| read_client(item, realm, client_id).map(Arc::new)).transpose()
    }
}

/// Whether a read waits for every finished write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Consistency {
    Strong,
    Eventual,
}

/// One item of the registry table.
pub(super) async fn fetch(
    dynamodb: &DynamoDb,
    table: &str,
    key: HashMap<String, AttributeValue>,
    consistency: Consistency,
) -> Result<Option<HashMap<String, AttributeValue>>, PortError> {
    let answer = dynamodb
        .get_item()
        .table_name(table)
        .set_key(Some(key))
        .consistent_read(consistency == Consistency::Strong)
        .send()
        .await
        .map_err(|error| unavailable(DYNAMODB, "GetItem", &error))?;
    Ok(answer.item)
}

/// What one read of several items brought.
struct Fetched {
    /// By their sort keys.
    items: HashMap<String, HashMap<String, AttributeValue>>,
    /// Whether what is not among them is not in the table, either: DynamoDB may leave out what it could not read in time.
    is_whole: bool,
}

/// Two items of the registry table that have different sort keys. `None` where that may not be read so: a role of an earlier
/// version, which a deployment that is rolled back has for some seconds, reads items one by one.
async fn fetch_both(
    dynamodb: &DynamoDb,
    table: &str,
    keys: [HashMap<String, AttributeValue>; 2],
    consistency: Consistency,
) -> Result<Option<Fetched>, PortError> {
    let keys = KeysAndAttributes::builder()
        .set_keys(Some(keys.into()))
        .consistent_read(consistency == Consistency::Strong)
        .build()
        .map_err(|_| corrupt(DYNAMODB, "a read of no keys"))?;
    let answer = match dynamodb.batch_get_item().request_items(table, keys).send().await {
        Ok(answer) => answer,
        Err(error) if error.code() == Some(NOT_PERMITTED) => return Ok(None),
        Err(error) => return Err(unavailable(DYNAMODB, "BatchGetItem", &error)),
    };
    let items = answer.responses.unwrap_or_default().into_values().flatten();
    let by_sort_key = |item: HashMap<String, AttributeValue>| Some((item.get(ITEM)?.as_s().ok()?.to_owned(), item));
    Ok(Some(Fetched {
        items: items.filter_map(by_sort_key).collect(),
        is_whole: answer.unprocessed_keys.is_none_or(|left| left.is_empty()),
    }))
}

/// At most `limit` items of a realm whose sort key starts with `prefix` and that `filter` lets through, in ascending order,
/// those after `start`.
pub(super) async fn query(
    dynamodb: &DynamoDb,
    table: &str,
    realm: &RealmName,
    prefix: &str,
    filter: Option<&str>,
    mut start: Option<HashMap<String, AttributeValue>>,
    limit: usize,
) -> Result<Vec<HashMap<String, AttributeValue>>, PortError> {
    let mut items = Vec::new();
    // An answer ends at 1 MB, whatever its limit.
    loop {
        let missing = limit - items.len();
        let answer = dynamodb
            .query()
            .table_name(table)
            .consistent_read(true)
            .key_condition_expression("#realm = :realm AND begins_with(#item, :prefix)")
            .expression_attribute_names("#realm", REALM)
            .expression_attribute_names("#item", ITEM)
            .expression_attribute_values(":realm", AttributeValue::S(realm.as_str().to_owned()))
            .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
            .set_filter_expression(filter.map(str::to_owned))
            .set_exclusive_start_key(start)
            .set_limit(i32::try_from(missing).ok())
            .send()
            .await
            .map_err(|error| unavailable(DYNAMODB, "Query", &error))?;
        items.extend(answer.items.unwrap_or_default().into_iter().take(missing));
        start = answer.last_evaluated_key.filter(|key| !key.is_empty());
        if start.is_none() || items.len() >= limit {
            return Ok(items);
        }
    }
}

/// # Errors
/// [`PortError::Corrupt`], also where the item says that it is another client: a row copied by hand must not give one
/// client's rights to another.
pub(super) fn read_client(
    item: HashMap<String, AttributeValue>,
    realm: &RealmName,
    client_id: &ClientId,
) -> Result<Client, PortError> {
    let client: Client = from_item(item, "a client registration")?;
    if client.realm != *realm || client.client_id != *client_id {
        return Err(corrupt(DYNAMODB, "a client registration whose client_id is not the one of its key"));
    }
    Ok(client)
}

/// A client of a listing. An operator has to find the one that cannot be read, so the error names its key.
fn read_listed_client(item: HashMap<String, AttributeValue>, realm: &RealmName) -> Result<Client, PortError> {
    let key = item.get(ITEM).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    let client: Client = from_item(item, &key)?;
    if client.realm != *realm || key.strip_prefix(CLIENT_PREFIX) != Some(client.client_id.as_str()) {
        return Err(corrupt(DYNAMODB, &format!("{key} with the name of another")));
    }
    Ok(client)
}

/// # Errors
/// [`PortError::Corrupt`], also where the item says that it is another realm.
pub(super) fn read_realm(item: HashMap<String, AttributeValue>, name: &RealmName) -> Result<Realm, PortError> {
    let realm: Realm = from_item(item, "a realm record")?;
    if realm.name != *name {
        return Err(corrupt(DYNAMODB, "a realm record whose name is not the one of its key"));
    }
    Ok(realm)
}

/// What the registry makes of an item of these attributes, for the fuzz targets.
#[cfg(fuzzing)]
pub fn read_registration(attributes: &serde_json::Value, realm: &RealmName, client_id: &ClientId) -> Option<Client> {
    read_client(crate::aws::sdk::to_item(attributes, ITEM).ok()?, realm, client_id).ok()
}

/// [`read_registration`] of a realm.
#[cfg(fuzzing)]
pub fn read_settings(attributes: &serde_json::Value, name: &RealmName) -> Option<Realm> {
    read_realm(crate::aws::sdk::to_item(attributes, ITEM).ok()?, name).ok()
}

pub(super) fn client_key(realm: &RealmName, client_id: &ClientId) -> HashMap<String, AttributeValue> {
    key(realm, format!("{CLIENT_PREFIX}{client_id}"))
}

pub(super) fn owner_key(id: &OwnerId) -> HashMap<String, AttributeValue> {
    key(&RealmName::root(), format!("{OWNER_PREFIX}{id}"))
}

pub(super) fn realm_key(name: &RealmName) -> HashMap<String, AttributeValue> {
    key(&RealmName::root(), format!("{REALM_PREFIX}{name}"))
}

/// Where the registry says which one it is. No realm and no client has this key: theirs have a kind before the `#`.
pub(super) fn registry_key() -> HashMap<String, AttributeValue> {
    key(&RealmName::root(), REGISTRY.to_owned())
}

/// Where a realm's public keys are. A partition of their own, which no realm has as its name: so IAM can let a function publish
/// keys and write no registration.
pub(super) fn published_keys_key(realm: &RealmName) -> HashMap<String, AttributeValue> {
    [
        (REALM.to_owned(), AttributeValue::S(format!("{KEYS_PREFIX}{realm}"))),
        (ITEM.to_owned(), AttributeValue::S(JWKS.to_owned())),
    ]
    .into()
}

fn key(realm: &RealmName, item: String) -> HashMap<String, AttributeValue> {
    [(REALM.to_owned(), AttributeValue::S(realm.as_str().to_owned())), (ITEM.to_owned(), AttributeValue::S(item))]
        .into()
}

/// The table's partition key: the realm that owns the item.
pub(super) const REALM: &str = "realm";
/// The table's sort key: the kind and the name of the item.
pub(super) const ITEM: &str = "item";
/// Start of a client's sort key.
pub(super) const CLIENT_PREFIX: &str = "client#";
/// What AWS answers where no statement of the role allows a call.
const NOT_PERMITTED: &str = "AccessDeniedException";
/// Lets only those clients through whose registration says how often their secrets are rotated.
const HAS_SECRET_ROTATION: &str = "attribute_exists(client_secret_rotation_days)";
/// Start of the partition key of a realm's public keys.
const KEYS_PREFIX: &str = "keys#";
/// The sort key of a realm's public keys.
const JWKS: &str = "jwks";
/// The sort key of the registry's own item.
const REGISTRY: &str = "registry";
/// Start of an owner's sort key.
pub(super) const OWNER_PREFIX: &str = "owner#";
/// Start of a realm's sort key.
pub(super) const REALM_PREFIX: &str = "realm#";

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::aws::sdk::to_item;
    use crate::core::access_token::settings::{AccessTokenFormat, AccessTokenPersistence, TokenLifetime};
    use crate::core::client::grant_type::GrantType;
    use crate::core::client::id::RegistrationId;
    use crate::core::keys::SigningAlgorithm;
    use crate::core::quota::QuotaMode;
    use crate::core::scope::Scope;
    use crate::core::time::UnixSeconds;
    use crate::system::SystemRandom;

    /// A registration that sets every member.
    const EVERY_MEMBER: &str = include_str!("../../../tests/it/support/registration.json");

    fn client() -> Client {
        let members: Vec<Value> = serde_json::from_str(EVERY_MEMBER).expect("a list of members");
        let members = members
            .iter()
            .map(|member| (member["member"].as_str().expect("a name").to_owned(), member["stored"].clone()));
        let metadata = serde_json::from_value(Value::Object(members.collect())).expect("a registration");
        let realm = Realm::new("alpha".parse().expect("a name"));
        let registration_id = RegistrationId::generate(&SystemRandom).expect("random bytes");
        Client::register("myClient".parse().expect("an id"), &realm, metadata, registration_id, UnixSeconds(7))
            .expect("valid")
    }

    fn stored(client: &Client) -> HashMap<String, AttributeValue> {
        let mut item = to_item(client, "a client registration").expect("an item");
        item.extend(client_key(&client.realm, &client.client_id));
        item
    }

    #[test]
    fn a_registration_is_stored_under_the_names_of_rfc_7591() {
        let client = client();
        let item = stored(&client);
        let text = |name: &str| item[name].as_s().expect("a string").as_str();
        assert_eq!((text("realm"), text("item")), ("alpha", "client#myClient"));
        assert_eq!((text("client_id"), text("scope"), text("status")), ("myClient", "read write", "active"));
        assert_eq!(item["client_id_issued_at"], AttributeValue::N("7".into()));
        assert_eq!(item["client_secret_rotation_days"], AttributeValue::N("30".into()));
        assert_eq!((text("token_quota"), text("token_quota_mode")), ("1000/hour", "observe"));
        assert_eq!(item["grant_types"], AttributeValue::L(vec![AttributeValue::S("client_credentials".into())]));
        assert_eq!(read_client(item, &client.realm, &client.client_id), Ok(client));
    }

    #[test]
    fn attributes_of_a_later_version_are_left_alone() {
        let client = client();
        let mut item = stored(&client);
        item.insert("of_a_later_version".into(), AttributeValue::Bool(true));
        assert_eq!(read_client(item, &client.realm, &client.client_id), Ok(client));
    }

    #[test]
    fn an_unreadable_registration_is_corrupt_and_repeats_nothing_of_it() {
        let client = client();
        for (attribute, value, detail) in [
            ("status", None, "a client registration without attribute status"),
            (
                "token_endpoint_auth_methods",
                None,
                "a client registration without attribute token_endpoint_auth_methods",
            ),
            // What it had may have ended tokens, or its secret.
            ("tokens_valid_after", None, "a client registration without attribute tokens_valid_after"),
            ("client_secret_expires_at", None, "a client registration without attribute client_secret_expires_at"),
            (
                "status",
                Some(AttributeValue::S("canary".into())),
                "a client registration with an attribute of the wrong form",
            ),
            (
                "scope",
                Some(AttributeValue::S("canary  \"".into())),
                "a client registration with an attribute of the wrong form",
            ),
            (
                "revision",
                Some(AttributeValue::N("canary".into())),
                "a client registration with an attribute of the wrong form",
            ),
            (
                "redirect_uris",
                Some(AttributeValue::S("canary".into())),
                "a client registration with an attribute of the wrong form",
            ),
            (
                "client_id",
                Some(AttributeValue::S("canary".into())),
                "a client registration whose client_id is not the one of its key",
            ),
            (
                "realm",
                Some(AttributeValue::S("canary".into())),
                "a client registration whose client_id is not the one of its key",
            ),
        ] {
            let mut item = stored(&client);
            match value {
                Some(value) => item.insert(attribute.into(), value),
                None => item.remove(attribute),
            };
            let error = read_client(item, &client.realm, &client.client_id).expect_err(attribute);
            assert_eq!(error, PortError::Corrupt { service: "DynamoDB", detail: detail.into() });
        }
    }

    #[test]
    fn a_listed_client_is_the_one_of_its_key() {
        let client = client();
        assert_eq!(read_listed_client(stored(&client), &client.realm), Ok(client.clone()));
        let mut item = stored(&client);
        item.insert("item".into(), AttributeValue::S("client#other".into()));
        let another = Err(corrupt(DYNAMODB, "client#other with the name of another"));
        assert_eq!(read_listed_client(item, &client.realm), another);
        let another = Err(corrupt(DYNAMODB, "client#myClient with the name of another"));
        assert_eq!(read_listed_client(stored(&client), &RealmName::root()), another);
    }

    #[test]
    fn a_realm_is_a_child_of_root_and_every_setting_survives() {
        let mut realm = Realm::new("alpha".parse().expect("a name"));
        realm.revision = 3;
        realm.settings.default_scope = Some("write".parse().expect("well formed"));
        realm.settings.allowed_scope = Some(Scope::empty());
        realm.settings.access_token_lifetime = Some(TokenLifetime::DEFAULT);
        realm.settings.grant_types = Some([GrantType::client_credentials()].into());
        realm.settings.access_token_format = Some(AccessTokenFormat::Jwt);
        realm.settings.access_token_persistence = Some(AccessTokenPersistence::Stored);
        realm.settings.access_token_signing_alg = Some(SigningAlgorithm::Ps256);
        realm.settings.token_quota = Some("5/day".parse().expect("a quota"));
        realm.settings.token_quota_mode = Some(QuotaMode::Enforce);
        realm.settings.tokens_valid_after = UnixSeconds(9);
        let mut item = to_item(&realm, "a realm record").expect("an item");
        item.extend(realm_key(&realm.name));
        assert_eq!(item["realm"], AttributeValue::S("root".into()));
        assert_eq!(item["item"], AttributeValue::S("realm#alpha".into()));
        assert_eq!(read_realm(item, &realm.name), Ok(realm));
    }
}
