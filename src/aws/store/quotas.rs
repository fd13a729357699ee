//! Counts of token quotas in the token table: item `quota#<registration_id>#<hour or day>#<its first second>`, which expires with
//! the window that it counts.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;

use crate::aws::sdk::{DYNAMODB, corrupt, unavailable};
use crate::core::client::Client;
use crate::core::port_error::PortError;
use crate::core::ports::QuotaCounter;
use crate::core::quota::QuotaPeriod;

/// Counts for all sandboxes together.
pub struct DynamoQuotas {
    dynamodb: DynamoDb,
    table: String,
}

impl DynamoQuotas {
    /// Counts in the table of this name.
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>) -> Self {
        Self { dynamodb, table: table.into() }
    }
}

#[async_trait]
impl QuotaCounter for DynamoQuotas {
    async fn count(
        &self,
        client: &Client,
        period: QuotaPeriod,
        at_most: Option<u32>,
    ) -> Result<Option<u64>, PortError> {
        // The realm and the client are for people, who do not know the registration by its name.
        let mut update = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(format!("quota#{}#{period}", client.registration_id.as_str())))
            .update_expression(
                "ADD #tokens :one SET #expires_at = :expires_at, #realm = :realm, #client_id = :client_id",
            )
            .expression_attribute_names("#tokens", TOKENS)
            .expression_attribute_names("#expires_at", "expires_at")
            .expression_attribute_names("#realm", "realm")
            .expression_attribute_names("#client_id", "client_id")
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .expression_attribute_values(":expires_at", AttributeValue::N(period.ends_at().plus(SLACK).to_string()))
            .expression_attribute_values(":realm", AttributeValue::S(client.realm.as_str().to_owned()))
            .expression_attribute_values(":client_id", AttributeValue::S(client.client_id.as_str().to_owned()))
            .return_values(ReturnValue::UpdatedNew);
        if let Some(at_most) = at_most {
            update = update
                .condition_expression(
                    "attribute_not_exists(#id) OR (attribute_type(#tokens, :number) AND #tokens < :at_most)",
                )
                .expression_attribute_names("#id", "id")
                .expression_attribute_values(":number", AttributeValue::S("N".to_owned()))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .expression_attribute_values(":at_most", AttributeValue::N(at_most.to_string()));
        }
        // The SDK repeats an attempt whose answer was lost, and the token is counted twice: a client may then get one fewer,
        // never one more.
        let updated = match update.send().await {
            Ok(answer) => answer.attributes,
            Err(error) => match error.as_service_error() {
                // What is no number is not below any most either, and no reason to refuse the client.
                Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => {
                    return count_of(refusal.item()).map(|_exhausted| None);
                }
                Some(error) if error.code() == Some(INVALID) => return Err(no_number()),
                _ => return Err(unavailable(DYNAMODB, "UpdateItem", &error)),
            },
        };
        count_of(updated.as_ref()).map(Some)
    }
}

/// A count of one token at least: there is none of fewer.
fn count_of(item: Option<&HashMap<String, AttributeValue>>) -> Result<u64, PortError> {
    let tokens = item.and_then(|item| item.get(TOKENS)?.as_n().ok()?.parse().ok()).filter(|tokens| *tokens > 0);
    tokens.ok_or_else(no_number)
}

fn no_number() -> PortError {
    corrupt(DYNAMODB, "a count of tokens that is not a number")
}

/// What [`DynamoQuotas::count`] makes of an item of these attributes, for the fuzz targets.
#[cfg(fuzzing)]
pub fn read_count(attributes: &serde_json::Value) -> Option<u64> {
    count_of(Some(&crate::aws::sdk::to_item(attributes, TOKENS).ok()?)).ok()
}

const TOKENS: &str = "tokens";
/// DynamoDB's code for an expression that does not fit what is stored: one is not added to a text. Nothing else here can be invalid.
const INVALID: &str = "ValidationException";
/// Seconds that a count outlives its window: for a sandbox whose clock is behind.
const SLACK: u64 = 3_600;
