//! Counts of token quotas on one machine: on disk in a table of the token database, or in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, params};

use super::database::{Database, corrupt, seconds};
use super::passed_time::MARGIN_OF_CLOCKS;
use crate::core::client::Client;
use crate::core::client::id::RegistrationId;
use crate::core::port_error::PortError;
use crate::core::ports::QuotaCounter;
use crate::core::quota::QuotaPeriod;

/// A [`QuotaCounter`] on disk. A count is stored as a token is, and before the token that it counts.
pub struct SqliteQuotas {
    database: Arc<Database>,
}

/// A [`QuotaCounter`] in memory, for tests and the demo: gone when the process ends.
#[derive(Default)]
pub struct MemoryQuotas {
    counts: Mutex<HashMap<(RegistrationId, QuotaPeriod), u64>>,
}

impl SqliteQuotas {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl QuotaCounter for SqliteQuotas {
    async fn count(
        &self,
        client: &Client,
        period: QuotaPeriod,
        at_most: Option<u32>,
    ) -> Result<Option<u64>, PortError> {
        let (registration_id, period) = (client.registration_id.clone(), period);
        // One transaction of the one writer: nobody comes between the reading and the writing.
        self.database
            .write(move |connection| {
                let name = period.to_string();
                let stored: Option<i64> = connection
                    .prepare_cached("SELECT tokens FROM token_quotas WHERE registration_id = ?1 AND period = ?2")?
                    .query_row(params![registration_id.as_str(), name], |row| row.get(0))
                    .optional()?;
                let Ok(counted) = u64::try_from(stored.unwrap_or_default()) else {
                    return Ok(Err(corrupt("a count of tokens that is not a number")));
                };
                let Some(count) = next(counted, at_most) else { return Ok(Ok(None)) };
                connection
                    .prepare_cached(
                        "INSERT INTO token_quotas (registration_id, period, ends_at, tokens) VALUES (?1, ?2, ?3, ?4)
                         ON CONFLICT DO UPDATE SET tokens = excluded.tokens",
                    )?
                    .execute(params![registration_id.as_str(), name, seconds(period.ends_at()), number(count)])?;
                Ok(Ok(Some(count)))
            })
            .await?
    }
}

impl MemoryQuotas {
    /// A panic elsewhere leaves the map whole: every change is a single call.
    fn counts(&self) -> MutexGuard<'_, HashMap<(RegistrationId, QuotaPeriod), u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl QuotaCounter for MemoryQuotas {
    async fn count(
        &self,
        client: &Client,
        period: QuotaPeriod,
        at_most: Option<u32>,
    ) -> Result<Option<u64>, PortError> {
        let mut counts = self.counts();
        let key = (client.registration_id.clone(), period);
        let Some(count) = next(counts.get(&key).copied().unwrap_or_default(), at_most) else { return Ok(None) };
        if count == 1 {
            // A new window: those long before it are over, even where the clock is ahead.
            counts.retain(|(_, counted), _| counted.ends_at().plus(MARGIN_OF_CLOCKS) > period.starts_at());
        }
        counts.insert(key, count);
        Ok(Some(count))
    }
}

/// The count with one more, where there may be one.
fn next(count: u64, at_most: Option<u32>) -> Option<u64> {
    let is_exhausted = at_most.is_some_and(|at_most| count >= u64::from(at_most));
    (!is_exhausted).then(|| count.saturating_add(1))
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
