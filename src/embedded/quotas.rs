//! Counts of token quotas on one machine: on disk in a keyspace of the token database, or in memory.
//!
//! Keyspace `token_quotas`: the registration, the window's name and its first second, divided by `#`; and when it ends and the count,
//! eight big-endian bytes each. Compaction reads the former as it does a token's.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::keyspace::Keyspace;
use super::tokens::fault;
use crate::core::client::{Client, RegistrationId};
use crate::core::ports::{PortError, QuotaCounter};
use crate::core::quota::QuotaPeriod;

/// A [`QuotaCounter`] on disk. A count has reached the operating system before the token that it counts, so that it survives
/// `kill -9`; a power cut can lose those of the last moments.
pub struct FjallQuotas {
    counts: Keyspace,
    /// Held between reading a count and writing the next: microseconds, and only for clients with a quota.
    one_at_a_time: Mutex<()>,
}

/// A [`QuotaCounter`] in memory, for tests and the demo: gone when the process ends.
#[derive(Default)]
pub struct MemoryQuotas {
    counts: Mutex<HashMap<(RegistrationId, QuotaPeriod), u64>>,
}

impl FjallQuotas {
    /// Counts in this keyspace. There may be no other that does: the lock is its own.
    pub(super) fn new(counts: Keyspace) -> Self {
        Self { counts, one_at_a_time: Mutex::default() }
    }

    fn read(&self, key: &str) -> Result<u64, PortError> {
        let Some(value) = self.counts.get(key.as_bytes()).map_err(|error| fault(&error))? else { return Ok(0) };
        let count = value.split_first_chunk::<8>().and_then(|(_ends_at, count)| count.try_into().ok());
        count.map(u64::from_be_bytes).ok_or_else(|| PortError::Corrupt {
            service: SERVICE,
            detail: "a count of tokens that is no number".to_owned(),
        })
    }
}

#[async_trait]
impl QuotaCounter for FjallQuotas {
    async fn count(
        &self,
        client: &Client,
        period: QuotaPeriod,
        at_most: Option<u32>,
    ) -> Result<Option<u64>, PortError> {
        let key = format!("{}#{period}", client.registration_id.as_str());
        // A panic while it was held leaves the last count, or the one before it.
        let _held = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = next(self.read(&key)?, at_most) else { return Ok(None) };
        let value = [period.ends_at().0.to_be_bytes(), count.to_be_bytes()].concat();
        self.counts.write(key.into(), Some(value.into())).map_err(|error| fault(&error))?;
        Ok(Some(count))
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
            // A new window: those before it are over.
            counts.retain(|(_, counted), _| counted.ends_at() > period.starts_at());
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

const SERVICE: &str = "the quota keyspace";
