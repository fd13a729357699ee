//! What has been used once, on one machine: on disk in a table of the token database, or in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::params;

use super::database::{Database, seconds};
use super::passed_time::PassedTime;
use crate::core::port_error::PortError;
use crate::core::ports::ReplayGuard;
use crate::core::realm::AssertionLifetime;
use crate::core::replay::ReplayKey;
use crate::core::time::UnixSeconds;

/// A [`ReplayGuard`] on disk. A use is stored as a token is.
pub struct SqliteReplayGuard {
    database: Arc<Database>,
}

/// A [`ReplayGuard`] in memory, for tests and the demo: gone when the process ends. What is over is dropped whenever the number of
/// entries has doubled.
#[derive(Default)]
pub struct MemoryReplayGuard {
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    until: HashMap<ReplayKey, UnixSeconds>,
    passed: Option<PassedTime>,
    sweep_at: usize,
}

impl SqliteReplayGuard {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl ReplayGuard for SqliteReplayGuard {
    async fn first_use(&self, key: &ReplayKey, now: UnixSeconds, until: UnixSeconds) -> Result<bool, PortError> {
        let (key, now, until) = (*key.as_bytes(), seconds(now), seconds(until));
        // One statement of the one writer: nobody comes between the reading and the writing.
        self.database
            .write(move |connection| {
                let changed = connection
                    .prepare_cached(
                        "INSERT INTO used_once (id, until) VALUES (?1, ?2)
                         ON CONFLICT DO UPDATE SET until = excluded.until WHERE until <= ?3",
                    )?
                    .execute(params![key, until, now])?;
                Ok(changed == 1)
            })
            .await
    }
}

#[async_trait]
impl ReplayGuard for MemoryReplayGuard {
    async fn first_use(&self, key: &ReplayKey, now: UnixSeconds, until: UnixSeconds) -> Result<bool, PortError> {
        // A panic elsewhere leaves the map whole: every change is a single call.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.until.get(key).is_some_and(|until| *until > now) {
            return Ok(false);
        }
        // From the first use on: a clock that is set ahead before anything has been swept must not age it either.
        used.passed.get_or_insert_with(|| PassedTime::from(now));
        used.until.insert(key.clone(), until);
        used.sweep(now);
        Ok(true)
    }
}

impl Used {
    fn sweep(&mut self, now: UnixSeconds) {
        if self.until.len() < self.sweep_at.max(SMALLEST_SWEEP) {
            return;
        }
        let passed = self.passed.get_or_insert_with(|| PassedTime::from(now)).look(now);
        self.until.retain(|_, until| until.plus(MARGIN) > passed);
        self.sweep_at = self.until.len() * 2;
    }
}

/// Seconds that a use is kept for after its time. What is forgotten could be used again, should the clock be set back: as long as an
/// assertion may live, since time may seem to pass twice as fast as it does.
pub(super) const MARGIN: u64 = AssertionLifetime::MAX + 600;
const SMALLEST_SWEEP: usize = 1024;
/// The table of the token database. It came later than the others, so that an older file may be without it.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS used_once (
        id    BLOB PRIMARY KEY,
        until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS used_once_until ON used_once (until);
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::client::id::RegistrationId;
    use crate::core::realm::RealmName;

    #[tokio::test]
    async fn memory_forgets_what_is_over_and_nothing_before() {
        let guard = MemoryReplayGuard::default();
        let key = |number: u64| {
            ReplayKey::of_client(&RealmName::root(), &RegistrationId::from_text("r"), &number.to_string())
        };
        let start = 1_795_415_820;
        for number in 0..10_000 {
            let now = UnixSeconds(start + number);
            assert_eq!(guard.first_use(&key(number), now, now.plus(60)).await, Ok(true));
        }
        // The clock of this test runs faster than the process lives: nothing may be forgotten by it.
        let first_is_over = UnixSeconds(start + 59);
        assert_eq!(guard.first_use(&key(0), first_is_over, first_is_over.plus(60)).await, Ok(false));

        let mut used = guard.used.lock().expect("not poisoned");
        used.passed = Some(PassedTime::from(UnixSeconds(start + 9_999)));
        used.sweep_at = 0;
        used.sweep(UnixSeconds(start + 9_999));
        let kept = usize::try_from(60 + MARGIN).expect("few");
        assert_eq!(used.until.len(), kept);
    }
}
