//! Token store on the token table: partition key `id`, the TTL attribute `expires_at`. An issued token is `token#` and its digest, also
//! where it was revoked; a self-contained one that has ended is `revoked#` and its `jti`. `store#whole-since` says since when none of these was lost.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::whole_since::WholeSince;
use crate::aws::sdk::{DYNAMODB, corrupt, from_item, to_item, unavailable};
use crate::core::access_token::TokenDigest;
use crate::core::access_token::record::{AccessTokenRecord, Revocation, RevokedToken, StoredToken};
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

    async fn get(&self, digest: &TokenDigest) -> Result<StoredToken, PortError> {
        self.item(key(digest)).await?.map_or(Ok(StoredToken::Absent), token_of)
    }

    async fn revoke(
        &self,
        digest: &TokenDigest,
        realm: &RealmName,
        client_id: &ClientId,
        now: UnixSeconds,
    ) -> Result<Revocation, PortError> {
        // What is not named stays: when the token expires and its audit id are the mark. A mark names no client, so nobody owns it.
        let forgotten: Vec<_> = FORGOTTEN.iter().map(|name| (format!("#{name}"), (*name).to_owned())).collect();
        let removed: Vec<_> = forgotten.iter().map(|(placeholder, _)| placeholder.as_str()).collect();
        let marked = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(digest)))
            .condition_expression("#client_id = :client_id AND #realm = :realm")
            .update_expression(format!("SET #version = :version REMOVE {}", removed.join(", ")))
            .set_expression_attribute_names(Some(forgotten.iter().cloned().collect()))
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":version", AttributeValue::N(RevokedToken::VERSION.to_string()))
            .expression_attribute_values(":client_id", AttributeValue::S(client_id.as_str().to_owned()))
            .expression_attribute_values(":realm", AttributeValue::S(realm.as_str().to_owned()))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let found = match marked {
            Ok(answer) => answer.attributes,
            Err(error) => match error.as_service_error() {
                // What is there is a mark, or belongs to somebody else. The mark may be what the SDK's first attempt, whose answer was
                // lost, has left; the client gets the same 200.
                Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => refusal.item().cloned(),
                _ => return Err(unavailable(DYNAMODB, "UpdateItem", &error)),
            },
        };
        let token = found.map_or(Ok(StoredToken::Absent), token_of)?;
        Ok(Revocation::of(&token, realm, client_id, now))
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
fn token_of(mut item: HashMap<String, AttributeValue>) -> Result<StoredToken, PortError> {
    let version = match item.remove(VERSION) {
        None => Some(AccessTokenRecord::VERSION),
        Some(AttributeValue::N(version)) => version.parse().ok(),
        Some(_other) => None,
    };
    match version {
        Some(AccessTokenRecord::VERSION) => Ok(StoredToken::Live(Box::new(from_item(item, RECORD)?))),
        Some(RevokedToken::VERSION) => Ok(StoredToken::Revoked(from_item(item, "the mark of a revoked token")?)),
        _ => Err(corrupt(DYNAMODB, "a token record of an unknown version")),
    }
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
pub fn read_token(attributes: &serde_json::Value) -> Option<StoredToken> {
    token_of(to_item(attributes, RECORD).ok()?).ok()
}

/// What a mark has no more of. The role of the function that revokes may touch these attributes, the key and the version, and no other: so it
/// cannot make a token, nor give one more time.
const FORGOTTEN: [&str; 10] =
    ["realm", "client_id", "registration_id", "scope", "iss", "aud", "iat", "jti", "claims", "trust_rule"];
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
            trust_rule: Some("orders".parse().expect("a name")),
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
        assert_eq!(item["trust_rule"], AttributeValue::S("orders".into()));
        assert_eq!(item.len(), 11);
        assert_eq!(token_of(item), Ok(live(&record)));

        let resources = ["https://a.example", "https://b.example"].map(|text| text.parse().expect("a resource"));
        for aud in [Audience::of(&resources[..1]), Audience::of(&resources)] {
            let claims = r#"{"tier":"gold","ratio":1.0}"#.parse().expect("claims");
            let record = AccessTokenRecord { aud, claims, ..record.clone() };
            assert_eq!(token_of(stored(&record).expect("an item")), Ok(live(&record)));
        }
    }

    #[test]
    fn an_item_of_another_build_is_read_where_that_is_no_guess() {
        let record = record();
        let item = stored(&record).expect("an item");
        let with = |name: &str, value| {
            let mut item = item.clone();
            item.insert(name.to_owned(), value);
            token_of(item)
        };
        let mut before_there_were_versions = item.clone();
        before_there_were_versions.remove("version");
        assert_eq!(token_of(before_there_were_versions), Ok(live(&record)));
        assert_eq!(
            with("cnf", AttributeValue::M([("jkt".to_owned(), AttributeValue::S("a".into()))].into())),
            Ok(live(&record))
        );

        let text = |text: &str| AttributeValue::S(text.into());
        let number = |text: &str| AttributeValue::N(text.into());
        for version in
            ["0", "3", "01.5", "-1", "256"].map(number).into_iter().chain([text("1"), AttributeValue::Bool(true)])
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
        let mut of_no_rule = item.clone();
        of_no_rule.remove("trust_rule");
        let record = AccessTokenRecord { trust_rule: None, ..record };
        assert_eq!(token_of(of_no_rule), Ok(live(&record)));
        for name in item.keys().filter(|name| !["version", "trust_rule"].contains(&name.as_str())) {
            let mut less = item.clone();
            less.remove(name);
            assert!(matches!(token_of(less), Err(PortError::Corrupt { .. })), "without {name}");
        }
    }

    #[test]
    fn a_mark_is_what_is_left_of_a_record_and_is_none_to_an_earlier_build() {
        let resource = "https://a.example".parse().expect("a resource");
        let claims = r#"{"tier":"gold"}"#.parse().expect("claims");
        let record = AccessTokenRecord { aud: Audience::of(&[resource]), claims, ..record() };
        let mut item = stored(&record).expect("an item");
        let mark = RevokedToken::of(&record);
        // With everything that a later build may have added, it is a mark all the same.
        item.insert(VERSION.to_owned(), AttributeValue::N("2".into()));
        assert_eq!(token_of(item.clone()), Ok(StoredToken::Revoked(mark.clone())));

        item.retain(|name, _| !FORGOTTEN.contains(&name.as_str()));
        let mut left: Vec<_> = item.keys().map(String::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["audit_tracking_id", "expires_at", "version"], "every other attribute of a record is named");
        assert_eq!(token_of(item.clone()), Ok(StoredToken::Revoked(mark)));

        // Earlier builds know version 1 or, before there were any, look at no version.
        for version in [Some("1"), None] {
            let mut as_read = item.clone();
            as_read.remove(VERSION);
            as_read.extend(version.map(|version| (VERSION.to_owned(), AttributeValue::N(version.into()))));
            assert!(matches!(token_of(as_read), Err(PortError::Corrupt { .. })), "{version:?}");
        }
        for name in ["audit_tracking_id", "expires_at"] {
            let mut less = item.clone();
            less.remove(name);
            assert!(matches!(token_of(less), Err(PortError::Corrupt { .. })), "without {name}");
        }
    }

    fn live(record: &AccessTokenRecord) -> StoredToken {
        StoredToken::Live(Box::new(record.clone()))
    }
}
