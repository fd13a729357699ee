//! Since when the token table is whole: item `store#whole-since`, attribute `since`, without an end. The token function writes it
//! before it issues the first token that is stored nowhere.
//!
//! A table that was brought back from a backup has that item too. But it was made when it was brought back, which is later than the
//! item says, so an item counts only in a table that is no younger than it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::aws::sdk::{DYNAMODB, corrupt, from_item, unavailable};
use crate::core::port_error::PortError;
use crate::core::ports::Clock;
use crate::core::time::{Moment, UnixSeconds};

/// What a process knows of one table.
pub(super) struct WholeSince {
    clock: Arc<dyn Clock>,
    /// Whether the item is written where there is none. Who only reads does not have to: a token that is missed by this was
    /// issued by nobody who writes it.
    is_kept: bool,
    known: Mutex<Known>,
}

#[derive(Clone, Copy, Default)]
struct Known {
    since: Option<Remembered>,
    table_made_at: Option<Remembered>,
}

/// A time that the table has said, and when.
#[derive(Clone, Copy)]
struct Remembered {
    time: UnixSeconds,
    learned_at: Moment,
}

#[derive(Deserialize)]
struct Item {
    since: UnixSeconds,
}

impl WholeSince {
    /// Reads the item, by this clock.
    pub(super) fn read(clock: Arc<dyn Clock>) -> Self {
        Self { clock, is_kept: false, known: Mutex::default() }
    }

    /// Writes it too, where there is none that counts.
    pub(super) fn kept(self) -> Self {
        Self { is_kept: true, ..self }
    }

    /// Since when the table is whole; now, where nobody has said so. Asks the table once a minute at most, unless nobody has.
    pub(super) async fn of(&self, dynamodb: &DynamoDb, table: &str) -> Result<UnixSeconds, PortError> {
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        if let Some(since) = known.since.filter(|since| self.age(*since) < BELIEVED_FOR) {
            return Ok(since.time);
        }
        known.since = None;

        // 1. What the table says, and whether it says it of itself.
        let made_at = self.made_at(&mut known, dynamodb, table).await?;
        let said = read(dynamodb, table).await?.filter(|since| *since >= made_at);

        // 2. What is said now, for those who come later.
        let said = match said {
            None if self.is_kept => Some(write(dynamodb, table, now, made_at).await?),
            said => said,
        };
        known.since = said.map(|since| self.remembered(since));
        Ok(said.unwrap_or(now))
    }

    /// When the table was made. What was learned within the hour bridges a time in which DynamoDB does not say, in which it makes
    /// and deletes no tables either.
    async fn made_at(&self, known: &mut Known, dynamodb: &DynamoDb, table: &str) -> Result<UnixSeconds, PortError> {
        let described = dynamodb.describe_table().table_name(table).send().await;
        let description = match described {
            Ok(answer) => answer.table,
            Err(error) => {
                let is_gone = error.as_service_error().is_some_and(DescribeTableError::is_resource_not_found_exception);
                let error = unavailable(DYNAMODB, "DescribeTable", &error);
                let bridge = known.table_made_at.filter(|made_at| self.age(*made_at) < BRIDGED_FOR);
                return match bridge {
                    Some(made_at) if !is_gone => {
                        tracing::warn!(%error, "using the remembered age of the token table because DynamoDB cannot be asked");
                        Ok(made_at.time)
                    }
                    _ => Err(error),
                };
            }
        };
        let made_at = description.and_then(|table| table.creation_date_time?.secs().try_into().ok()).map(UnixSeconds);
        let made_at = made_at.ok_or_else(|| corrupt(DYNAMODB, "a table without a time of creation"))?;
        known.table_made_at = Some(self.remembered(made_at));
        Ok(made_at)
    }

    fn remembered(&self, time: UnixSeconds) -> Remembered {
        Remembered { time, learned_at: self.clock.moment() }
    }

    fn age(&self, remembered: Remembered) -> Duration {
        self.clock.moment().since(remembered.learned_at)
    }
}

async fn read(dynamodb: &DynamoDb, table: &str) -> Result<Option<UnixSeconds>, PortError> {
    let answer = dynamodb
        .get_item()
        .table_name(table)
        .set_key(Some(key()))
        .consistent_read(true)
        .send()
        .await
        .map_err(|error| unavailable(DYNAMODB, "GetItem", &error))?;
    answer.item.map(since).transpose()
}

/// Of several who write at once, and of one who writes twice because an answer was lost, the first counts.
async fn write(
    dynamodb: &DynamoDb,
    table: &str,
    now: UnixSeconds,
    made_at: UnixSeconds,
) -> Result<UnixSeconds, PortError> {
    let written = dynamodb
        .put_item()
        .table_name(table)
        .set_item(Some(key()))
        .item(SINCE, AttributeValue::N(now.to_string()))
        .condition_expression("attribute_not_exists(#since) OR #since < :made_at")
        .expression_attribute_names("#since", SINCE)
        .expression_attribute_values(":made_at", AttributeValue::N(made_at.to_string()))
        .send()
        .await;
    match written {
        Ok(_) => Ok(now),
        Err(error) => match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(_)) => {
                let since = read(dynamodb, table).await?;
                since.ok_or_else(|| corrupt(DYNAMODB, "a token table that is being emptied"))
            }
            _ => Err(unavailable(DYNAMODB, "PutItem", &error)),
        },
    }
}

fn since(item: HashMap<String, AttributeValue>) -> Result<UnixSeconds, PortError> {
    from_item::<Item>(item, "the item that says since when the table is whole").map(|item| item.since)
}

fn key() -> HashMap<String, AttributeValue> {
    [("id".to_owned(), AttributeValue::S("store#whole-since".to_owned()))].into()
}

const SINCE: &str = "since";
/// A minute: DynamoDB takes longer to delete a table and to bring it back.
const BELIEVED_FOR: Duration = Duration::from_mins(1);
/// As long as a function believes what it remembers of a source that cannot be asked.
const BRIDGED_FOR: Duration = Duration::from_hours(1);
