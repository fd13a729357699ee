//! The admin log in the registry table: partition `log#admin`, a line an item, whose sort key begins with its time. One partition: DynamoDB
//! writes a thousand lines to it in a second, and reads the newest first from wherever one stopped.
//!
//! A line is removed by DynamoDB (TTL) once `log_expires_at` is over, an attribute that nothing else in the table may have.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::types::AttributeValue;

use super::registry::{ITEM, REALM};
use crate::aws::sdk::{DYNAMODB, corrupt, unavailable};
use crate::core::admin_log::{AdminLogLine, LineId, LogPage, LogRange, Outcome};
use crate::core::port_error::PortError;
use crate::core::ports::AdminLog;

/// Keeps the log of a deployed stack.
#[derive(Clone)]
pub struct DynamoAdminLog {
    dynamodb: DynamoDb,
    table: String,
}

impl DynamoAdminLog {
    /// Keeps the log in the registry table of this name.
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>) -> Self {
        Self { dynamodb, table: table.into() }
    }

    /// Writes a line, over what there is of it: a repeated attempt of the SDK writes the same.
    async fn write(&self, line: &AdminLogLine) -> Result<(), PortError> {
        let text = serde_json::to_string(line)
            .map_err(|_| corrupt(DYNAMODB, "a line of the admin log that cannot be written"))?;
        let mut item = line_key(&line.id);
        item.insert(LINE.to_owned(), AttributeValue::S(text));
        item.insert(LOG_EXPIRES_AT.to_owned(), AttributeValue::N(line.expires_at.to_string()));
        let written = self.dynamodb.put_item().table_name(&self.table).set_item(Some(item)).send().await;
        written.map(drop).map_err(|error| unavailable(DYNAMODB, "PutItem", &error))
    }
}

#[async_trait]
impl AdminLog for DynamoAdminLog {
    async fn begin(&self, line: &AdminLogLine) -> Result<(), PortError> {
        self.write(line).await
    }

    async fn finish(&self, line: &AdminLogLine, outcome: Outcome) -> Result<(), PortError> {
        self.write(&AdminLogLine { outcome, ..line.clone() }).await
    }

    async fn read_log(&self, range: &LogRange) -> Result<LogPage, PortError> {
        let since = LineId::first_of(range.since);
        let mut page = LogPage::default();
        // DynamoDB refuses to begin outside of what it is asked for.
        if range.before.as_ref().is_some_and(|before| *before <= since) {
            return Ok(page);
        }
        let mut start = range.before.as_ref().map(line_key);
        // An answer ends at 1 MB, whatever its limit.
        loop {
            let missing = range.limit.saturating_sub(page.lines.len());
            let answer = self
                .dynamodb
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .scan_index_forward(false)
                .key_condition_expression("#realm = :log AND #item >= :since")
                .expression_attribute_names("#realm", REALM)
                .expression_attribute_names("#item", ITEM)
                .expression_attribute_values(":log", AttributeValue::S(LOG.to_owned()))
                .expression_attribute_values(":since", AttributeValue::S(since.as_str().to_owned()))
                .set_exclusive_start_key(start)
                .set_limit(i32::try_from(missing).ok())
                .send()
                .await
                .map_err(|error| unavailable(DYNAMODB, "Query", &error))?;
            let has_time = |item: &HashMap<String, AttributeValue>| {
                let expires_at = item.get(LOG_EXPIRES_AT).and_then(|value| value.as_n().ok());
                // TTL deletes late, so the time is compared.
                expires_at.and_then(|time| time.parse::<u64>().ok()).is_none_or(|time| time > range.now.0)
            };
            for item in answer.items.unwrap_or_default().into_iter().filter(has_time) {
                page.lines.push(read_line(&item)?);
            }
            start = answer.last_evaluated_key.filter(|key| !key.is_empty());
            let Some(last) = &start else { return Ok(page) };
            if page.lines.len() >= range.limit {
                page.next = Some(id_of(last)?);
                return Ok(page);
            }
        }
    }
}

/// Where a line is. A partition of its own, which no realm has as its name: so IAM can let a function write lines and no registration.
fn line_key(id: &LineId) -> HashMap<String, AttributeValue> {
    [
        (REALM.to_owned(), AttributeValue::S(LOG.to_owned())),
        (ITEM.to_owned(), AttributeValue::S(id.as_str().to_owned())),
    ]
    .into()
}

/// Of one that cannot be read the name.
fn read_line(item: &HashMap<String, AttributeValue>) -> Result<Result<AdminLogLine, LineId>, PortError> {
    let text = item.get(LINE).and_then(|value| value.as_s().ok());
    match text.and_then(|text| serde_json::from_str(text).ok()) {
        Some(line) => Ok(Ok(line)),
        None => id_of(item).map(Err),
    }
}

fn id_of(item: &HashMap<String, AttributeValue>) -> Result<LineId, PortError> {
    let id = item.get(ITEM).and_then(|value| value.as_s().ok()).and_then(|id| id.parse().ok());
    id.ok_or_else(|| corrupt(DYNAMODB, "a line of the admin log whose id is malformed"))
}

/// The attribute by which DynamoDB removes an item (TTL). The template switches TTL on for it; an item of any other kind that had it
/// would vanish.
pub(super) const LOG_EXPIRES_AT: &str = "log_expires_at";
/// The partition of the log.
const LOG: &str = "log#admin";
/// The line, as JSON text.
const LINE: &str = "line";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::client::Client;
    use crate::core::client::metadata::ClientMetadata;
    use crate::core::members::names_of;
    use crate::core::owner::OwnerDetails;
    use crate::core::realm::RealmSettings;

    #[test]
    fn nothing_that_is_registered_has_the_attribute_by_which_lines_are_removed() {
        let members = [names_of::<ClientMetadata>(), names_of::<RealmSettings>(), names_of::<OwnerDetails>()];
        assert!(members.iter().all(|names| !names.is_empty()), "read off the types");
        assert!(!members.concat().contains(&LOG_EXPIRES_AT));
        // And what those are flattened into.
        let sources = [
            include_str!("../../core/client/mod.rs"),
            include_str!("../../core/realm.rs"),
            include_str!("../../core/owner.rs"),
        ];
        assert!(sources.iter().all(|source| !source.contains(LOG_EXPIRES_AT)));
        let _the_type_is_where_it_was = std::any::type_name::<Client>();
    }
}
