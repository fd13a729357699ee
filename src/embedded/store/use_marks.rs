//! On which day clients were last used, on one machine: in a table of the token database, or in memory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use super::backup::open;
use super::database::{Database, corrupt, seconds, unavailable};
use super::fault::StoreError;
use crate::core::client::Client;
use crate::core::client::id::RegistrationId;
use crate::core::port_error::PortError;
use crate::core::ports::UseMarks;
use crate::core::time::UnixSeconds;

/// [`UseMarks`] of the server that owns the token database.
pub struct SqliteUseMarks {
    database: Arc<Database>,
}

/// [`UseMarks`] of a command, which reads the file beside its server.
pub struct UseMarksOnDisk {
    path: PathBuf,
}

/// [`UseMarks`] in memory, for tests and the demo: gone when the process ends.
pub struct MemoryUseMarks {
    made_at: UnixSeconds,
    days: Mutex<HashMap<RegistrationId, UnixSeconds>>,
}

impl SqliteUseMarks {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl UseMarks for SqliteUseMarks {
    async fn mark_used(&self, client: &Client, day: UnixSeconds) -> Result<(), PortError> {
        let registration_id = client.registration_id.clone();
        self.database
            .write(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO client_uses (registration_id, day) VALUES (?1, ?2)
                         ON CONFLICT DO UPDATE SET day = max(day, excluded.day)",
                    )?
                    .execute(params![registration_id.as_str(), seconds(day)])
                    .map(drop)
            })
            .await
    }

    async fn last_used(&self, clients: &[Client]) -> Result<Vec<Option<UnixSeconds>>, PortError> {
        self.database.read(|connection| read_days(connection, clients))
    }

    async fn kept_since(&self) -> Result<UnixSeconds, PortError> {
        self.database.read(read_kept_since)?.ok_or_else(unknown_age)
    }
}

impl UseMarksOnDisk {
    /// Reads the token database at `path`.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// `None` where there is no file, in which nobody has been marked.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<Option<T>, PortError> {
        if !self.path.exists() {
            return Ok(None);
        }
        let of_store = |error: StoreError| unavailable(error.to_string());
        let connection = open(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(of_store)?;
        let read = connection.execute_batch("PRAGMA query_only = ON").and_then(|()| read(&connection));
        read.map(Some).map_err(|error| of_store(StoreError::of_sqlite(&self.path, &error)))
    }
}

#[async_trait]
impl UseMarks for UseMarksOnDisk {
    async fn mark_used(&self, _client: &Client, _day: UnixSeconds) -> Result<(), PortError> {
        Err(unavailable("only the server writes to it".to_owned()))
    }

    async fn last_used(&self, clients: &[Client]) -> Result<Vec<Option<UnixSeconds>>, PortError> {
        Ok(self.read(|connection| read_days(connection, clients))?.unwrap_or_else(|| vec![None; clients.len()]))
    }

    async fn kept_since(&self) -> Result<UnixSeconds, PortError> {
        // Where there is no file nobody knows who was used before one is made.
        match self.read(read_kept_since)? {
            Some(since) => since.ok_or_else(unknown_age),
            None => Ok(UnixSeconds(u64::MAX)),
        }
    }
}

impl MemoryUseMarks {
    /// Marks from `now` on.
    pub fn new(now: UnixSeconds) -> Self {
        Self { made_at: now, days: Mutex::default() }
    }

    /// A panic elsewhere leaves the map whole: every change is a single call.
    fn days(&self) -> MutexGuard<'_, HashMap<RegistrationId, UnixSeconds>> {
        self.days.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl UseMarks for MemoryUseMarks {
    async fn mark_used(&self, client: &Client, day: UnixSeconds) -> Result<(), PortError> {
        let mut days = self.days();
        let marked = days.entry(client.registration_id.clone()).or_insert(day);
        *marked = day.max(*marked);
        Ok(())
    }

    async fn last_used(&self, clients: &[Client]) -> Result<Vec<Option<UnixSeconds>>, PortError> {
        let days = self.days();
        Ok(clients.iter().map(|client| days.get(&client.registration_id).copied()).collect())
    }

    async fn kept_since(&self) -> Result<UnixSeconds, PortError> {
        Ok(self.made_at)
    }
}

fn read_days(connection: &Connection, clients: &[Client]) -> rusqlite::Result<Vec<Option<UnixSeconds>>> {
    // A server of this build makes the table when it starts.
    if !connection.table_exists(None, "client_uses")? {
        return Ok(vec![None; clients.len()]);
    }
    let mut statement = connection.prepare_cached("SELECT day FROM client_uses WHERE registration_id = ?1")?;
    let mut day = |client: &Client| {
        let day: Option<i64> = statement.query_row([client.registration_id.as_str()], |row| row.get(0)).optional()?;
        Ok(day.and_then(|day| u64::try_from(day).ok()).map(UnixSeconds))
    };
    clients.iter().map(&mut day).collect()
}

/// Tokens and marks are lost together.
fn read_kept_since(connection: &Connection) -> rusqlite::Result<Option<UnixSeconds>> {
    let since: Option<i64> =
        connection.query_row("SELECT value FROM facts WHERE name = 'whole_since'", [], |row| row.get(0)).optional()?;
    Ok(since.and_then(|since| u64::try_from(since).ok()).map(UnixSeconds))
}

fn unknown_age() -> PortError {
    corrupt("no time since when it is whole")
}

/// Seconds that a mark outlives its day: longer than anybody asks about.
pub(super) const KEPT: u64 = 400 * 24 * 60 * 60;
/// In a file of an earlier build, too: it ignores what it does not know.
pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS client_uses (
        registration_id TEXT PRIMARY KEY,
        day             INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS client_uses_day ON client_uses (day);
";
