//! Token store on the token table: partition key `id`, the TTL attribute `expires_at`. An issued token is `token#` and its digest,
//! a self-contained one that has ended `revoked#` and its `jti`. `store#whole-since` says since when none of these was lost.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::whole_since::WholeSince;
use crate::aws::sdk::{DYNAMODB, corrupt, from_item, to_item, unavailable};
use crate::core::access_token::TokenDigest;
use crate::core::access_token::record::{AccessTokenRecord, Revocation};
use crate::core::client::id::ClientId;
use crate::core::port_error::PortError;
use crate::core::ports::{Clock, Denylist, TokenStore};
use crate::core::realm::RealmName;
use crate::core::time::UnixSeconds;

/// Keeps access tokens for the functions.
pub struct DynamoTokens {
    dynamodb: DynamoDb,
    table: String,
    whole_since: WholeSince,
}

impl DynamoTokens {
    /// Keeps them in the table of this name.
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self { dynamodb, table: table.into(), whole_since: WholeSince::read(clock) }
    }

    /// Writes down, too, since when the table is whole, where nobody has done so: for who issues tokens.
    #[must_use]
    pub fn keeping_whole_since(self) -> Self {
        Self { whole_since: self.whole_since.kept(), ..self }
    }
}

#[async_trait]
impl TokenStore for DynamoTokens {
    async fn put(&self, digest: &TokenDigest, record: &AccessTokenRecord) -> Result<(), PortError> {
        let mut item = stored(record)?;
        item.extend(key(digest));
        // Without a condition. 256 random bits meet no other token, and with a condition the SDK's own second attempt, after
        // a first whose answer was lost, would look like a collision.
        self.dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .send()
            .await
            .map_err(|error| unavailable(DYNAMODB, "PutItem", &error))?;
        Ok(())
    }

    async fn get(&self, digest: &TokenDigest) -> Result<Option<AccessTokenRecord>, PortError> {
        self.item(key(digest)).await?.map(record_of).transpose()
    }

    async fn revoke(
        &self,
        digest: &TokenDigest,
        realm: &RealmName,
        client_id: &ClientId,
        now: UnixSeconds,
    ) -> Result<Revocation, PortError> {
        let deleted = self
            .dynamodb
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(digest)))
            .condition_expression("#client_id = :client_id AND #realm = :realm")
            .expression_attribute_names("#client_id", "client_id")
            .expression_attribute_names("#realm", "realm")
            .expression_attribute_values(":client_id", AttributeValue::S(client_id.as_str().to_owned()))
            .expression_attribute_values(":realm", AttributeValue::S(realm.as_str().to_owned()))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let found = match deleted {
            Ok(answer) => answer.attributes,
            Err(error) => match error.as_service_error() {
                // What is still there belongs to somebody else. Nothing may be there because the SDK's first attempt, whose
                // answer was lost, has ended the token already; the client gets the same 200.
                Some(DeleteItemError::ConditionalCheckFailedException(refusal)) => refusal.item().cloned(),
                _ => return Err(unavailable(DYNAMODB, "DeleteItem", &error)),
            },
        };
        let record: Option<AccessTokenRecord> = found.map(record_of).transpose()?;
        Ok(Revocation::of(record.as_ref(), realm, client_id, now))
    }
}

#[async_trait]
impl Denylist for DynamoTokens {
    async fn deny(&self, jti: &str, expires_at: UnixSeconds) -> Result<(), PortError> {
        // Without a condition: whoever ends the token again writes the same.
        self.dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(denial_key(jti)))
            .item("expires_at", AttributeValue::N(expires_at.to_string()))
            .send()
            .await
            .map_err(|error| unavailable(DYNAMODB, "PutItem", &error))?;
        Ok(())
    }

    async fn is_denied(&self, jti: &str) -> Result<bool, PortError> {
        Ok(self.item(denial_key(jti)).await?.is_some())
    }

    async fn whole_since(&self) -> Result<UnixSeconds, PortError> {
        self.whole_since.of(&self.dynamodb, &self.table).await
    }
}

impl DynamoTokens {
    async fn item(
        &self,
        key: HashMap<String, AttributeValue>,
    ) -> Result<Option<HashMap<String, AttributeValue>>, PortError> {
        let answer = self
            .dynamodb
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key))
            // A token is used right after it was issued, and a revoked one must be gone at once.
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| unavailable(DYNAMODB, "GetItem", &error))?;
        Ok(answer.item)
    }
}

/// The attributes of an item that holds `record`.
fn stored(record: &AccessTokenRecord) -> Result<HashMap<String, AttributeValue>, PortError> {
    let mut item = to_item(record, RECORD)?;
    item.insert(VERSION.to_owned(), AttributeValue::N(AccessTokenRecord::VERSION.to_string()));
    Ok(item)
}

/// What an item holds. One without a version is of a build before there were any, and has the form of the first.
fn record_of(mut item: HashMap<String, AttributeValue>) -> Result<AccessTokenRecord, PortError> {
    let is_known = match item.remove(VERSION) {
        None => true,
        Some(AttributeValue::N(version)) => version.parse() == Ok(AccessTokenRecord::VERSION),
        Some(_other) => false,
    };
    if is_known { from_item(item, RECORD) } else { Err(corrupt(DYNAMODB, "a token record of an unknown version")) }
}

/// A `jti` that gets here was signed by this server, which makes none of more than 64 characters.
fn denial_key(jti: &str) -> HashMap<String, AttributeValue> {
    [("id".to_owned(), AttributeValue::S(format!("revoked#{jti}")))].into()
}

fn key(digest: &TokenDigest) -> HashMap<String, AttributeValue> {
    [("id".to_owned(), AttributeValue::S(format!("token#{}", digest.to_base64url())))].into()
}

/// What [`DynamoTokens::get`] makes of an item of these attributes, for the fuzz targets.
#[cfg(fuzzing)]
pub fn read_record(attributes: &serde_json::Value) -> Option<AccessTokenRecord> {
    record_of(to_item(attributes, RECORD).ok()?).ok()
}

const RECORD: &str = "a token record";
const VERSION: &str = "version";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access_token::claims::CustomClaims;
    use crate::core::client::id::RegistrationId;
    use crate::core::realm::PublicUrl;
    use crate::core::resource::Audience;
    use crate::system::SystemRandom;

    fn record() -> AccessTokenRecord {
        let public: PublicUrl = "https://auth.example.com".parse().expect("a URL");
        AccessTokenRecord {
            realm: "alpha".parse().expect("a name"),
            client_id: "myClient".parse().expect("an id"),
            registration_id: RegistrationId::generate(&SystemRandom).expect("random bytes"),
            scope: "read write".parse().expect("well formed"),
            iss: public.issuer("/oauth2"),
            aud: Audience::default(),
            iat: UnixSeconds(1_795_415_820),
            expires_at: UnixSeconds(1_795_419_420),
            jti: "identifier".into(),
            audit_tracking_id: "tracking".into(),
            claims: CustomClaims::default(),
        }
    }

    #[test]
    fn a_record_is_flat_and_its_times_are_numbers() {
        let record = record();
        let item = stored(&record).expect("an item");
        assert_eq!(item["version"], AttributeValue::N("1".into()));
        assert_eq!(item["expires_at"], AttributeValue::N("1795419420".into()));
        assert_eq!(item["scope"], AttributeValue::S("read write".into()));
        assert_eq!(item["iss"], AttributeValue::S("https://auth.example.com/oauth2".into()));
        assert_eq!(item.len(), 10);
        assert_eq!(record_of(item), Ok(record.clone()));

        let resources = ["https://a.example", "https://b.example"].map(|text| text.parse().expect("a resource"));
        for aud in [Audience::of(&resources[..1]), Audience::of(&resources)] {
            let claims = r#"{"tier":"gold","ratio":1.0}"#.parse().expect("claims");
            let record = AccessTokenRecord { aud, claims, ..record.clone() };
            assert_eq!(record_of(stored(&record).expect("an item")), Ok(record));
        }
    }

    #[test]
    fn an_item_of_another_build_is_read_where_that_is_no_guess() {
        let record = record();
        let item = stored(&record).expect("an item");
        let with = |name: &str, value| {
            let mut item = item.clone();
            item.insert(name.to_owned(), value);
            record_of(item)
        };
        let mut before_there_were_versions = item.clone();
        before_there_were_versions.remove("version");
        assert_eq!(record_of(before_there_were_versions), Ok(record.clone()));
        assert_eq!(
            with("cnf", AttributeValue::M([("jkt".to_owned(), AttributeValue::S("a".into()))].into())),
            Ok(record)
        );

        let text = |text: &str| AttributeValue::S(text.into());
        let number = |text: &str| AttributeValue::N(text.into());
        for version in
            ["0", "2", "01.5", "-1", "256"].map(number).into_iter().chain([text("1"), AttributeValue::Bool(true)])
        {
            assert!(matches!(with("version", version.clone()), Err(PortError::Corrupt { .. })), "{version:?}");
        }
        for (name, value) in [
            ("expires_at", text("1795419420")),
            ("expires_at", number("-1")),
            ("iat", text("1795415820")),
            ("client_id", number("1")),
            ("realm", AttributeValue::L(Vec::new())),
            ("registration_id", AttributeValue::Null(true)),
            ("scope", AttributeValue::Ss(vec!["read".into()])),
            ("aud", number("1")),
            ("claims", AttributeValue::M(HashMap::new())),
        ] {
            assert!(matches!(with(name, value.clone()), Err(PortError::Corrupt { .. })), "{name}: {value:?}");
        }
        for name in item.keys().filter(|name| *name != "version") {
            let mut less = item.clone();
            less.remove(name);
            assert!(matches!(record_of(less), Err(PortError::Corrupt { .. })), "without {name}");
        }
    }
}
