//! Many items of a table at a time, as far as DynamoDB answers at once, and the rest again.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::registry::Consistency;
use crate::aws::sdk::{DYNAMODB, corrupt, unavailable};
use crate::core::port_error::PortError;

/// The items of these keys, of which no two are the same. What is not in the table is not among them, and nothing says which item is whose.
pub(super) async fn fetch_all(
    dynamodb: &DynamoDb,
    table: &str,
    keys: Vec<HashMap<String, AttributeValue>>,
    consistency: Consistency,
) -> Result<Vec<HashMap<String, AttributeValue>>, PortError> {
    let batches = keys.chunks(MOST_KEYS).map(<[_]>::to_vec).collect::<Vec<_>>();
    let batches = batches.into_iter().map(|keys| fetch_batch(dynamodb, table, keys, consistency));
    let answers: Vec<Vec<_>> = stream::iter(batches).buffered(AT_ONCE).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

async fn fetch_batch(
    dynamodb: &DynamoDb,
    table: &str,
    mut keys: Vec<HashMap<String, AttributeValue>>,
    consistency: Consistency,
) -> Result<Vec<HashMap<String, AttributeValue>>, PortError> {
    let (mut items, mut pauses) = (Vec::new(), PAUSES.iter());
    loop {
        let request = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .consistent_read(consistency == Consistency::Strong)
            .build()
            .map_err(|_| corrupt(DYNAMODB, "a read of no keys"))?;
        let answer = dynamodb.batch_get_item().request_items(table, request).send().await;
        let answer = answer.map_err(|error| unavailable(DYNAMODB, "BatchGetItem", &error))?;
        let before = items.len();
        items.extend(answer.responses.unwrap_or_default().into_values().flatten());

        // Left out is what would make the answer larger than 16 MB, and what the table had no capacity for.
        let left = answer.unprocessed_keys.unwrap_or_default().into_values().flat_map(|left| left.keys);
        keys = left.collect();
        if keys.is_empty() {
            return Ok(items);
        }
        if items.len() > before {
            pauses = PAUSES.iter();
        }
        let Some(pause) = pauses.next() else {
            let detail = "BatchGetItem answers too little at a time".to_owned();
            return Err(PortError::Unavailable { service: DYNAMODB, detail });
        };
        tokio::time::sleep(*pause).await;
    }
}

/// What DynamoDB takes at a time.
const MOST_KEYS: usize = 100;
/// How many batches are read at once. Each takes some 10 ms, so thousands of items take less than a second; and 400 items at once leave
/// the functions, which read the same partition, most of the 3,000 reads a second that it answers.
const AT_ONCE: usize = 4;
/// How long to leave a table alone that answers with nothing.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1600),
];
