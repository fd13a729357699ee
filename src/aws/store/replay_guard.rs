//! What has been used once, in the token table: item `used#<digest>`, which expires after the time in which it must not be used again.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};

use crate::aws::sdk::{DYNAMODB, unavailable};
use crate::core::port_error::PortError;
use crate::core::ports::ReplayGuard;
use crate::core::random::{Random, random_name};
use crate::core::replay::ReplayKey;
use crate::core::time::UnixSeconds;

/// Remembers for all sandboxes together.
pub struct DynamoReplayGuard {
    dynamodb: DynamoDb,
    table: String,
    random: Arc<dyn Random>,
}

impl DynamoReplayGuard {
    /// Remembers in the table of this name.
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>, random: Arc<dyn Random>) -> Self {
        Self { dynamodb, table: table.into(), random }
    }
}

#[async_trait]
impl ReplayGuard for DynamoReplayGuard {
    async fn first_use(&self, key: &ReplayKey, now: UnixSeconds, until: UnixSeconds) -> Result<bool, PortError> {
        // The SDK repeats an attempt whose answer was lost, and finds what the first has written: by this it knows it for its own.
        let nonce = random_name(self.random.as_ref())?;
        let written = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .item("id", AttributeValue::S(format!("used#{}", key.to_text())))
            .item(NONCE, AttributeValue::S(nonce.clone()))
            .item(USED_UNTIL, AttributeValue::N(until.to_string()))
            .item("expires_at", AttributeValue::N(until.plus(SLACK).to_string()))
            // DynamoDB deletes late, so that what is there may be over. What is no number is not, and nobody's to use again.
            .condition_expression("attribute_not_exists(#id) OR #used_until <= :now")
            .expression_attribute_names("#id", "id")
            .expression_attribute_names("#used_until", USED_UNTIL)
            .expression_attribute_values(":now", AttributeValue::N(now.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = written else { return Ok(true) };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(refusal)) => {
                let stored = refusal.item().and_then(|item| item.get(NONCE)?.as_s().ok());
                Ok(stored == Some(&nonce))
            }
            _ => Err(unavailable(DYNAMODB, "PutItem", &error)),
        }
    }
}

const NONCE: &str = "nonce";
const USED_UNTIL: &str = "used_until";
/// Seconds that an item outlives its time: for a sandbox whose clock is behind that of DynamoDB.
const SLACK: u64 = 3_600;
