//! On which day clients were last used, in the token table: item `use#<registration_id>`, which expires 400 days after that day.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};

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

    async fn read(&self, clients: &[Client], days: &mut HashMap<String, UnixSeconds>) -> Result<(), PortError> {
        let key = |client: &Client| HashMap::from([("id".to_owned(), AttributeValue::S(id_of(client)))]);
        let mut wanted: Vec<_> = clients.iter().map(key).collect();
        for pause in PAUSES {
            let request = KeysAndAttributes::builder().set_keys(Some(wanted)).build();
            let request = request.map_err(|error| corrupt(DYNAMODB, &error.to_string()))?;
            let answer = self.dynamodb.batch_get_item().request_items(&self.table, request).send().await;
            let answer = answer.map_err(|error| unavailable(DYNAMODB, "BatchGetItem", &error))?;
            for item in answer.responses.unwrap_or_default().into_values().flatten() {
                let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
                let number = item.get(DAY).and_then(|day| day.as_n().ok()).and_then(|day| day.parse().ok());
                let (Some(id), Some(day)) = (text("id"), number) else {
                    return Err(corrupt(DYNAMODB, "a mark of a client's use without a day"));
                };
                days.insert(id, UnixSeconds(day));
            }
            let left = answer.unprocessed_keys.unwrap_or_default().remove(&self.table);
            wanted = left.map(|left| left.keys).unwrap_or_default();
            if wanted.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
        }
        Err(PortError::Unavailable {
            service: DYNAMODB,
            detail: "BatchGetItem answers too little at a time".to_owned(),
        })
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
        let mut days = HashMap::new();
        for some in clients.chunks(MOST_KEYS) {
            self.read(some, &mut days).await?;
        }
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
/// What DynamoDB takes at a time.
const MOST_KEYS: usize = 100;
/// How long to leave a table alone that answers a part only.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
];
