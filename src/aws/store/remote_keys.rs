//! Copies of keys that were fetched, in the token table: item `fetched-jwks#<id>`, where the id is the SHA-256 of the address and of what an
//! operator has allowed on the way there. It expires when nobody may use it any more.
//!
//! Every write is an update with a condition: of all sandboxes together one looks at a time, and who was slow to store what it
//! fetched does not write over what is newer.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Deserialize;

use crate::aws::sdk::{DYNAMODB, from_item, unavailable};
use crate::core::keys::copy::{CopyId, KeptKeys, KeyCopy, MARGIN_OF_CLOCKS};
use crate::core::keys::remote::JwksUri;
use crate::core::port_error::PortError;
use crate::core::ports::KeyCopies;
use crate::core::time::UnixSeconds;

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
}

impl DynamoKeyCopies {
    /// Keeps them in the table of this name.
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>) -> Self {
        Self { dynamodb, table: table.into() }
    }
}

#[async_trait]
impl KeyCopies for DynamoKeyCopies {
    async fn kept_keys(&self, address: &JwksUri) -> Result<KeptKeys, PortError> {
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

    async fn begin_look(&self, address: &JwksUri, now: UnixSeconds, interval: u64) -> Result<bool, PortError> {
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
            .expression_attribute_values(":jwks_uri", AttributeValue::S(address.uri.as_str().to_owned()))
            .expression_attribute_values(":expires_at", seconds(now.plus(KeyCopy::STALE_LIMIT)))
            .expression_attribute_values(":before", seconds(UnixSeconds(now.0.saturating_sub(interval))))
            .expression_attribute_values(":future", seconds(now.plus(MARGIN_OF_CLOCKS)))
            .expression_attribute_values(":number", AttributeValue::S("N".to_owned()))
            .send()
            .await;
        match updated {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                // Perhaps by the SDK's own first attempt, whose answer was lost. Then nobody looks for one interval.
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(unavailable(DYNAMODB, "UpdateItem", &error)),
            },
        }
    }

    async fn keep(&self, address: &JwksUri, copy: &KeyCopy) -> Result<(), PortError> {
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
            .expression_attribute_values(":jwks_uri", AttributeValue::S(address.uri.as_str().to_owned()))
            .expression_attribute_values(":jwks", AttributeValue::S(copy.jwks.clone()))
            .expression_attribute_values(":fetched_at", seconds(copy.fetched_at))
            .expression_attribute_values(":believed_until", seconds(copy.believed_until))
            .expression_attribute_values(":expires_at", seconds(copy.usable_until()))
            .expression_attribute_values(":future", seconds(copy.fetched_at.plus(MARGIN_OF_CLOCKS)))
            .expression_attribute_values(":number", AttributeValue::S("N".to_owned()))
            .send()
            .await;
        match updated {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(unavailable(DYNAMODB, "UpdateItem", &error)),
            },
        }
    }
}

/// What an item says of `address`. One of another address is nothing: it has got there by no way of ours.
fn kept(stored: StoredCopy, address: &JwksUri) -> KeptKeys {
    if stored.jwks_uri.as_deref() != Some(address.uri.as_str()) {
        return KeptKeys::default();
    }
    let copy = match (stored.jwks, stored.fetched_at, stored.believed_until) {
        (Some(jwks), Some(fetched_at), Some(believed_until)) => Some(KeyCopy { jwks, fetched_at, believed_until }),
        _ => None,
    };
    KeptKeys { copy, looked_at: stored.looked_at }
}

fn key(address: &JwksUri) -> HashMap<String, AttributeValue> {
    [("id".to_owned(), AttributeValue::S(format!("fetched-jwks#{}", CopyId::of(address))))].into()
}

fn seconds(time: UnixSeconds) -> AttributeValue {
    AttributeValue::N(time.to_string())
}

const COPY: &str = "a copy of fetched keys";
