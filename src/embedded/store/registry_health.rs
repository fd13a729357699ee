//! Whether the registry's file answers and can be written.

use std::sync::Arc;

use rusqlite::TransactionBehavior;

use super::cause::{StorageCause, StoreHealth};
use super::connections::Opened;

/// A connection to the registry's file that does nothing but see whether it can. It has one of its own, so that it waits for no request and
/// no request for it.
pub struct RegistryHealth(Arc<Opened>);

impl RegistryHealth {
    /// On the file of these connections.
    pub(super) fn of(opened: &Arc<Opened>) -> Self {
        Self(Arc::clone(opened))
    }
}

impl StoreHealth for RegistryHealth {
    /// Reads the version of the schema and writes it again, which puts a page into the journal and waits for the disk.
    fn check(&self) -> Result<(), StorageCause> {
        self.0.look(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.query_row("SELECT count(*) FROM (SELECT 1 FROM clients LIMIT 1)", [], |_row| Ok(()))?;
            let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()
        })
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::embedded::store::registry::SqliteRegistry;

    #[test]
    fn a_look_writes_to_the_file_and_changes_nothing_in_it() {
        let directory = tempfile::TempDir::new().expect("a temporary directory");
        let path = directory.path().join("registry.db");
        let registry = SqliteRegistry::open(&path).expect("a registry");
        let health = registry.health().expect("a file");
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
