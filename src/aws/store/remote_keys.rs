//! Copies of keys that were fetched, in the token table: item `fetched-jwks#<id>`, where the id is the SHA-256 of the address and of what an
//! operator has allowed on the way there. It expires when nobody may use it any more.
//!
//! The look-ups of issuers that nobody has registered are item `fetched-jwks#lookups`.
//!
//! Every write is an update with a condition: of all sandboxes together one looks at a time, and who was slow to store what it
//! fetched does not write over what is newer.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Deserialize;

use crate::aws::sdk::{DYNAMODB, from_item, unavailable};
use crate::core::keys::copy::{CopyId, KeptKeys, KeyCopy, MARGIN_OF_CLOCKS};
use crate::core::port_error::PortError;
use crate::core::ports::KeyCopies;
use crate::core::time::UnixSeconds;
use crate::core::trust::key_address::KeyAddress;
use crate::core::trust::lookups::Lookups;

/// Keeps copies for all sandboxes together.
pub struct DynamoKeyCopies {
    dynamodb: DynamoDb,
    table: String,
}

/// The attributes of an item, besides its key and when it expires.
#[derive(Default, Deserialize)]
struct StoredCopy {
    jwks_uri: Option<String>,
    looked_at: Option<UnixSeconds>,
    jwks: Option<String>,
    fetched_at: Option<UnixSeconds>,
    believed_until: Option<UnixSeconds>,
    #[serde(default)]
    is_confirmed: bool,
}

/// The attributes of the look-ups, besides the key and when they expire.
#[derive(Deserialize)]
struct StoredLookups {
    revision: u64,
    lookups: String,
}

impl DynamoKeyCopies {
    /// Keeps them in the table of this name.
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>) -> Self {
        Self { dynamodb, table: table.into() }
    }
}

#[async_trait]
impl KeyCopies for DynamoKeyCopies {
    async fn kept_keys(&self, address: KeyAddress<'_>) -> Result<KeptKeys, PortError> {
        let answer = self
            .dynamodb
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(address)))
            // Who may not look itself waits for what another has just stored.
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| unavailable(DYNAMODB, "GetItem", &error))?;
        // What cannot be read is nothing: whoever issues the keys is asked again, and the conditions below let it be written over.
        let stored: Option<StoredCopy> = answer.item.and_then(|item| from_item(item, COPY).ok());
        Ok(kept(stored.unwrap_or_default(), address))
    }

    async fn begin_look(&self, address: KeyAddress<'_>, now: UnixSeconds, interval: u64) -> Result<bool, PortError> {
        let updated = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(address)))
            .update_expression(
                "SET #looked_at = :now, #jwks_uri = :jwks_uri, #expires_at = if_not_exists(#expires_at, :expires_at)",
            )
            .condition_expression(
                "attribute_not_exists(#looked_at) OR NOT attribute_type(#looked_at, :number) OR #looked_at <= :before OR #looked_at > :future",
            )
            .expression_attribute_names("#looked_at", "looked_at")
            .expression_attribute_names("#jwks_uri", "jwks_uri")
            .expression_attribute_names("#expires_at", "expires_at")
            .expression_attribute_values(":now", seconds(now))
            .expression_attribute_values(":jwks_uri", AttributeValue::S(address.url().to_owned()))
            .expression_attribute_values(":expires_at", seconds(now.plus(KeyCopy::STALE_LIMIT)))
            .expression_attribute_values(":before", seconds(UnixSeconds(now.0.saturating_sub(interval))))
            .expression_attribute_values(":future", seconds(now.plus(MARGIN_OF_CLOCKS)))
            .expression_attribute_values(":number", AttributeValue::S("N".to_owned()))
            .send()
            .await;
        // Perhaps by the SDK's own first attempt, whose answer was lost. Then nobody looks for one interval.
        met(updated)
    }

    async fn keep(&self, address: KeyAddress<'_>, copy: &KeyCopy) -> Result<(), PortError> {
        let updated = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(address)))
            .update_expression(
                "SET #jwks_uri = :jwks_uri, #jwks = :jwks, #fetched_at = :fetched_at, \
                 #believed_until = :believed_until, #expires_at = :expires_at",
            )
            .condition_expression(
                "attribute_not_exists(#fetched_at) OR NOT attribute_type(#fetched_at, :number) OR #fetched_at <= :fetched_at OR #fetched_at > :future",
            )
            .expression_attribute_names("#jwks_uri", "jwks_uri")
            .expression_attribute_names("#jwks", "jwks")
            .expression_attribute_names("#fetched_at", "fetched_at")
            .expression_attribute_names("#believed_until", "believed_until")
            .expression_attribute_names("#expires_at", "expires_at")
            .expression_attribute_values(":jwks_uri", AttributeValue::S(address.url().to_owned()))
            .expression_attribute_values(":jwks", AttributeValue::S(copy.jwks.clone()))
            .expression_attribute_values(":fetched_at", seconds(copy.fetched_at))
            .expression_attribute_values(":believed_until", seconds(copy.believed_until))
            .expression_attribute_values(":expires_at", seconds(copy.usable_until()))
            .expression_attribute_values(":future", seconds(copy.fetched_at.plus(MARGIN_OF_CLOCKS)))
            .expression_attribute_values(":number", AttributeValue::S("N".to_owned()))
            .send()
            .await;
        met(updated).map(drop)
    }

    async fn confirm(&self, address: KeyAddress<'_>) -> Result<(), PortError> {
        let updated = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(address)))
            .update_expression("SET #is_confirmed = :true")
            // What is not there would not expire either.
            .condition_expression("#jwks_uri = :jwks_uri")
            .expression_attribute_names("#is_confirmed", "is_confirmed")
            .expression_attribute_names("#jwks_uri", "jwks_uri")
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .expression_attribute_values(":jwks_uri", AttributeValue::S(address.url().to_owned()))
            .send()
            .await;
        met(updated).map(drop)
    }

    async fn lookups(&self) -> Result<Lookups, PortError> {
        let answer = self
            .dynamodb
            .get_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(LOOKUPS.to_owned()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| unavailable(DYNAMODB, "GetItem", &error))?;
        let stored: Option<StoredLookups> = answer.item.and_then(|item| from_item(item, COPY).ok());
        // What cannot be read is nothing, and is written over.
        Ok(stored.map_or_else(Lookups::default, |stored| Lookups {
            revision: stored.revision,
            recent: serde_json::from_str(&stored.lookups).unwrap_or_default(),
        }))
    }

    async fn replace_lookups(&self, lookups: &Lookups, now: UnixSeconds) -> Result<bool, PortError> {
        let text = serde_json::to_string(&lookups.recent).unwrap_or_default();
        let before = lookups.revision.saturating_sub(1);
        let unread = "attribute_not_exists(#revision) OR NOT attribute_type(#revision, :number) OR NOT attribute_type(#lookups, :text)";
        let condition = if before == 0 { unread } else { "#revision = :before" };
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(LOOKUPS.to_owned()))
            .update_expression("SET #revision = :revision, #lookups = :lookups, #expires_at = :expires_at")
            .condition_expression(condition)
            .expression_attribute_names("#revision", "revision")
            .expression_attribute_names("#lookups", "lookups")
            .expression_attribute_names("#expires_at", "expires_at")
            .expression_attribute_values(":revision", AttributeValue::N(lookups.revision.to_string()))
            .expression_attribute_values(":lookups", AttributeValue::S(text))
            .expression_attribute_values(":expires_at", seconds(now.plus(LOOKUPS_KEPT)));
        let update = if before == 0 {
            update
                .expression_attribute_values(":number", AttributeValue::S("N".to_owned()))
                .expression_attribute_values(":text", AttributeValue::S("S".to_owned()))
        } else {
            update.expression_attribute_values(":before", AttributeValue::N(before.to_string()))
        };
        met(update.send().await)
    }
}

/// Whether the condition of an update was met.
fn met<T>(updated: Result<T, SdkError<UpdateItemError>>) -> Result<bool, PortError> {
    match updated {
        Ok(_) => Ok(true),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
            _ => Err(unavailable(DYNAMODB, "UpdateItem", &error)),
        },
    }
}

/// What an item says of `address`. One of another address is nothing: it has got there by no way of ours.
fn kept(stored: StoredCopy, address: KeyAddress<'_>) -> KeptKeys {
    if stored.jwks_uri.as_deref() != Some(address.url()) {
        return KeptKeys::default();
    }
    let copy = match (stored.jwks, stored.fetched_at, stored.believed_until) {
        (Some(jwks), Some(fetched_at), Some(believed_until)) => Some(KeyCopy { jwks, fetched_at, believed_until }),
        _ => None,
    };
    KeptKeys { copy, looked_at: stored.looked_at, is_confirmed: stored.is_confirmed }
}

fn key(address: KeyAddress<'_>) -> HashMap<String, AttributeValue> {
    [("id".to_owned(), AttributeValue::S(format!("fetched-jwks#{}", CopyId::of(address))))].into()
}

fn seconds(time: UnixSeconds) -> AttributeValue {
    AttributeValue::N(time.to_string())
}

/// The item of look-ups.
const LOOKUPS: &str = "fetched-jwks#lookups";
/// Seconds that it is kept after the last of them.
const LOOKUPS_KEPT: u64 = 3_600;
const COPY: &str = "a copy of fetched keys";
