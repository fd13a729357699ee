//! On which day clients were last used, in the token table: item `use#<registration_id>`, which expires 400 days after that day.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;

use super::batch::fetch_all;
use super::registry::Consistency;
use crate::aws::sdk::{DYNAMODB, corrupt, unavailable};
use crate::core::client::Client;
use crate::core::port_error::PortError;
use crate::core::ports::UseMarks;
use crate::core::time::UnixSeconds;

/// Marks clients for all sandboxes together.
pub struct DynamoUseMarks {
    dynamodb: DynamoDb,
    table: String,
}

impl DynamoUseMarks {
    /// Marks in the table of this name.
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>) -> Self {
        Self { dynamodb, table: table.into() }
    }
}

#[async_trait]
impl UseMarks for DynamoUseMarks {
    async fn mark_used(&self, client: &Client, day: UnixSeconds) -> Result<(), PortError> {
        // The realm and the client are for people, who do not know the registration by its name.
        let written = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(id_of(client)))
            .update_expression("SET #day = :day, #expires_at = :expires_at, #realm = :realm, #client_id = :client_id")
            .condition_expression("attribute_not_exists(#id) OR #day < :day")
            .expression_attribute_names("#id", "id")
            .expression_attribute_names("#day", DAY)
            .expression_attribute_names("#expires_at", "expires_at")
            .expression_attribute_names("#realm", "realm")
            .expression_attribute_names("#client_id", "client_id")
            .expression_attribute_values(":day", AttributeValue::N(day.to_string()))
            .expression_attribute_values(":expires_at", AttributeValue::N(day.plus(KEPT).to_string()))
            .expression_attribute_values(":realm", AttributeValue::S(client.realm.as_str().to_owned()))
            .expression_attribute_values(":client_id", AttributeValue::S(client.client_id.as_str().to_owned()))
            .send()
            .await;
        match written {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                // Another sandbox was first today.
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(unavailable(DYNAMODB, "UpdateItem", &error)),
            },
        }
    }

    async fn last_used(&self, clients: &[Client]) -> Result<Vec<Option<UnixSeconds>>, PortError> {
        let key = |client: &Client| HashMap::from([("id".to_owned(), AttributeValue::S(id_of(client)))]);
        let keys = clients.iter().map(key).collect();
        let items = fetch_all(&self.dynamodb, &self.table, keys, Consistency::Eventual).await?;
        let mark = |item: HashMap<String, AttributeValue>| {
            let id = item.get("id")?.as_s().ok()?.clone();
            Some((id, UnixSeconds(item.get(DAY)?.as_n().ok()?.parse().ok()?)))
        };
        let days: Option<HashMap<_, _>> = items.into_iter().map(mark).collect();
        let days = days.ok_or_else(|| corrupt(DYNAMODB, "a mark of a client's use without a day"))?;
        Ok(clients.iter().map(|client| days.get(&id_of(client)).copied()).collect())
    }

    /// A table that a backup brought back is younger than the uses that it misses.
    async fn kept_since(&self) -> Result<UnixSeconds, PortError> {
        let described = self.dynamodb.describe_table().table_name(&self.table).send().await;
        let described = described.map_err(|error| unavailable(DYNAMODB, "DescribeTable", &error))?;
        let made_at = described.table.and_then(|table| table.creation_date_time?.secs().try_into().ok());
        made_at.map(UnixSeconds).ok_or_else(|| corrupt(DYNAMODB, "a table without a time of creation"))
    }
}

fn id_of(client: &Client) -> String {
    format!("use#{}", client.registration_id.as_str())
}

const DAY: &str = "last_used_on";
/// Seconds that a mark outlives its day: longer than anybody asks about.
const KEPT: u64 = 400 * 24 * 60 * 60;
