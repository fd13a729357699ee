//! The tables of the registry's file.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::embedded::store::cause::StorageCause;
use crate::embedded::store::fault::StoreError;

/// Brings the schema up to this version's. Takes no lock where it is.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| StoreError::of_sqlite(path, &error);
    let missing = |version: i64| {
        let missing = usize::try_from(version).ok().and_then(|version| SCHEMAS.get(version..));
        missing.ok_or_else(|| StoreError::Newer { path: path.to_owned() })
    };
    let found = version_of(connection).map_err(failed)?;
    if missing(found)?.is_empty() {
        return Ok(());
    }
    if found != 0 {
        // Builds before did not overwrite what they removed. Written anew, the file has nothing but what it holds.
        connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);").map_err(failed)?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    // Another process may have been quicker.
    for schema in missing(version_of(&transaction).map_err(failed)?)? {
        transaction.execute_batch(schema).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

/// Whether a file that took the place of another is a whole registry. One that is still being written is none, and nothing is made of it.
pub(super) fn is_of_this_version(connection: &Connection) -> Result<(), StorageCause> {
    let version = version_of(connection).map_err(|error| StorageCause::of_sqlite(&error))?;
    if version == versions() { Ok(()) } else { Err(StorageCause::Replaced) }
}

/// The version of the tables in a file; 0 where nobody has made any.
pub(super) fn version_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// The version that this build writes.
pub(super) fn versions() -> i64 {
    i64::try_from(SCHEMAS.len()).unwrap_or(i64::MAX)
}

/// Makes the tables of an earlier version in an empty database, to compare others with.
pub(super) fn make(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    let version = usize::try_from(version).unwrap_or_default();
    SCHEMAS.iter().take(version).try_for_each(|schema| connection.execute_batch(schema))
}

/// What each version adds to the one before it; the first to an empty file.
const SCHEMAS: [&str; 6] = [SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5, SCHEMA_6];

const SCHEMA_1: &str = "
    CREATE TABLE realms (
        name     TEXT PRIMARY KEY,
        settings TEXT NOT NULL,
        revision INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE clients (
        realm        TEXT NOT NULL,
        client_id    TEXT NOT NULL,
        registration TEXT NOT NULL,
        revision     INTEGER NOT NULL,
        PRIMARY KEY (realm, client_id)
    ) STRICT;
    CREATE TABLE client_secrets (
        realm           TEXT NOT NULL,
        client_id       TEXT NOT NULL,
        current_sha256  BLOB NOT NULL,
        previous_sha256 BLOB,
        PRIMARY KEY (realm, client_id),
        FOREIGN KEY (realm, client_id) REFERENCES clients (realm, client_id) ON DELETE CASCADE
    ) STRICT;
";

const SCHEMA_2: &str = "
    CREATE TABLE signing_keys (
        realm        TEXT PRIMARY KEY,
        private_jwks TEXT NOT NULL,
        public_jwks  TEXT NOT NULL,
        revision     INTEGER NOT NULL
    ) STRICT;
    PRAGMA user_version = 2;
";

/// Whose each secret is, which is compared: the registration, and the revision of it that the secret was made for. All that there
/// are belong to the registration beside them.
const SCHEMA_3: &str = "
    ALTER TABLE client_secrets ADD COLUMN registration_id TEXT NOT NULL DEFAULT '';
    ALTER TABLE client_secrets ADD COLUMN current_revision INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE client_secrets ADD COLUMN previous_revision INTEGER;
    UPDATE client_secrets SET
        registration_id = coalesce((
            SELECT registration ->> '$.registration_id' FROM clients
            WHERE clients.realm = client_secrets.realm AND clients.client_id = client_secrets.client_id
                AND json_valid(registration)
        ), ''),
        previous_revision = iif(previous_sha256 IS NULL, NULL, 0);
    PRAGMA user_version = 3;
";

/// Private keys are no longer JWKs. A set that is one still is read, and written anew with its next change.
const SCHEMA_4: &str = "
    ALTER TABLE signing_keys RENAME COLUMN private_jwks TO private_keys;
    PRAGMA user_version = 4;
";

/// When each secret was made, which of those that there are nobody knows, and when the previous one ends; 0 where it has no end of its own.
const SCHEMA_5: &str = "
    ALTER TABLE client_secrets ADD COLUMN current_made_at INTEGER;
    ALTER TABLE client_secrets ADD COLUMN previous_made_at INTEGER;
    ALTER TABLE client_secrets ADD COLUMN previous_expires_at INTEGER NOT NULL DEFAULT 0;
    PRAGMA user_version = 5;
";

/// Who owns clients, and who has changed what. A line's id begins with its time, so that its order is that of time.
const SCHEMA_6: &str = "
    CREATE TABLE owners (
        owner    TEXT PRIMARY KEY,
        record   TEXT NOT NULL,
        revision INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE admin_log (
        id         TEXT PRIMARY KEY,
        line       TEXT NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX admin_log_expires_at ON admin_log (expires_at);
    PRAGMA user_version = 6;
";
