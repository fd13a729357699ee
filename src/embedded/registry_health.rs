//! Whether the registry's file answers and can be written.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::StoreError;
use super::cause::{StorageCause, StoreHealth};

/// A connection to the registry's file that does nothing but see whether it can. It has one of its own, so that it waits for no request and
/// no request for it.
pub struct RegistryHealth(Mutex<Connection>);

impl RegistryHealth {
    /// Opens the file of a registry that exists.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: rusqlite::Error| StoreError::of_sqlite(path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        Ok(Self(Mutex::new(connection)))
    }
}

impl StoreHealth for RegistryHealth {
    /// Reads the version of the schema and writes it again, which puts a page into the journal and waits for the disk.
    fn check(&self) -> Result<(), StorageCause> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let checked = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            transaction.query_row("SELECT count(*) FROM (SELECT 1 FROM clients LIMIT 1)", [], |_row| Ok(()))?;
            let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()
        });
        checked.map_err(|error| StorageCause::of_sqlite(&error))
    }
}

/// Shorter than whoever asks waits. The command line holds the file for some milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::registry::SqliteRegistry;

    #[test]
    fn a_look_writes_to_the_file_and_changes_nothing_in_it() {
        let directory = tempfile::TempDir::new().expect("a temporary directory");
        let path = directory.path().join("registry.db");
        assert!(RegistryHealth::open(&path).is_err(), "it creates none");
        let _registry = SqliteRegistry::open(&path).expect("a registry");
        let health = RegistryHealth::open(&path).expect("a registry");
        let journal = || std::fs::metadata(directory.path().join("registry.db-wal")).expect("a journal").len();
        let before = journal();
        assert_eq!(health.check(), Ok(()));
        assert!(journal() > before, "a page was written");
        SqliteRegistry::open(&path).expect("the version is what it was");

        let other = Connection::open(&path).expect("the file");
        other.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
        assert_eq!(health.check(), Err(StorageCause::Busy));
        other.execute_batch("ROLLBACK").expect("begun above");
        assert_eq!(health.check(), Ok(()));
        other.execute_batch("DROP TABLE client_secrets; DROP TABLE clients").expect("a schema");
        assert_eq!(health.check(), Err(StorageCause::Failed));
    }
}
