//! Realms, registrations, digests of secrets and signing keys in one SQLite file, which the server reads and the command line
//! writes at the same time. A client's secret itself is stored nowhere; a signing key has to be.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::StoreError;
use crate::core::client::{Client, ClientId};
use crate::core::client_auth::secret::{ClientSecret, ClientSecrets, SecretDigest};
use crate::core::keys::KeyError;
use crate::core::keys::set::{KeySet, PublishedKeys, VerificationKeys};
use crate::core::ports::{
    ClientPage, ClientRegistry, KeyStore, KeyStoreError, PortError, Registrar, RegistrarError, SecretSource,
    VerificationKeySource,
};
use crate::core::realm::{Realm, RealmName};

/// The registry of a local server: [`ClientRegistry`], [`SecretSource`], [`Registrar`], [`KeyStore`] and
/// [`VerificationKeySource`] in one.
pub struct SqliteRegistry {
    /// One connection: the server's reads come from caches, and SQLite has one writer at a time anyway.
    connection: Arc<Mutex<Connection>>,
}

impl SqliteRegistry {
    /// Opens the file, creating it where it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Unusable`], or [`StoreError::Newer`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let unusable =
            |error: rusqlite::Error| StoreError::Unusable { path: path.to_owned(), detail: error.to_string() };
        // SQLite gives its journals the mode of the file: readable by nobody else, even where a copy leaves the directory.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| StoreError::Unusable { path: path.to_owned(), detail: error.to_string() })?;
        Self::prepare(Connection::open(path).map_err(unusable)?, path)
    }

    /// A registry that ends with the process.
    ///
    /// # Errors
    /// [`StoreError::Unusable`].
    pub fn in_memory() -> Result<Self, StoreError> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory()
            .map_err(|error| StoreError::Unusable { path: path.clone(), detail: error.to_string() })?;
        Self::prepare(connection, &path)
    }

    fn prepare(mut connection: Connection, path: &Path) -> Result<Self, StoreError> {
        let unusable =
            |error: rusqlite::Error| StoreError::Unusable { path: path.to_owned(), detail: error.to_string() };
        connection.busy_timeout(BUSY_TIMEOUT).map_err(unusable)?;
        connection.execute_batch(CONNECTION_SETTINGS).map_err(unusable)?;

        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unusable)?;
        let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(unusable)?;
        let version = usize::try_from(version).ok().filter(|version| *version <= SCHEMA.len());
        let version = version.ok_or_else(|| StoreError::Newer { path: path.to_owned() })?;
        for step in SCHEMA.iter().skip(version) {
            transaction.execute_batch(step).map_err(unusable)?;
        }
        transaction.commit().map_err(unusable)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// Whether nobody has registered anything: no realm and no client.
    ///
    /// # Errors
    /// [`PortError::Unavailable`].
    pub async fn is_empty(&self) -> Result<bool, PortError> {
        self.read_with(|connection| {
            let found: Option<i64> = connection
                .query_row("SELECT 1 FROM realms UNION ALL SELECT 1 FROM clients LIMIT 1", [], |row| row.get(0))
                .optional()?;
            Ok(found.is_none())
        })
        .await
    }

    /// Writes a realm and its first clients in one transaction: after a crash there are all of them or none.
    ///
    /// # Errors
    /// [`RegistrarError`] where one of them exists already, or the file cannot be written.
    pub async fn seed(&self, realm: &Realm, clients: &[(Client, ClientSecret)]) -> Result<(), RegistrarError> {
        let realm = realm.clone();
        let clients: Vec<_> = clients.iter().map(|(client, secret)| (client.clone(), secret.digest())).collect();
        self.write_with(move |transaction| {
            write_realm(transaction, &realm)?;
            clients.iter().try_for_each(|(client, digest)| insert_client(transaction, client, digest))
        })
        .await
    }

    /// Runs `read` on a thread that may wait for the disk.
    async fn read_with<T, F>(&self, read: F) -> Result<T, PortError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.with_connection(move |connection| read(connection)).await.map_err(|fault| match fault {
            Fault::Port(error) => error,
            Fault::Registrar(error) => PortError::Unavailable { service: SERVICE, detail: error.to_string() },
        })
    }

    /// Runs `write` in one transaction, which is durable when this returns.
    async fn write_with<F>(&self, write: F) -> Result<(), RegistrarError>
    where
        F: FnOnce(&Transaction<'_>) -> Result<(), Fault> + Send + 'static,
    {
        let written = self.with_connection(move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            write(&transaction)?;
            transaction.commit()?;
            Ok(())
        });
        written.await.map_err(RegistrarError::from)
    }

    async fn with_connection<T, F>(&self, work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    {
        let connection = Arc::clone(&self.connection);
        tokio::task::spawn_blocking(move || {
            // A panic while the lock was held rolled its transaction back, so the connection is whole.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection)
        })
        .await
        // Not the error's own text: it may carry the message of a panic.
        .unwrap_or_else(|_panic| Err(unavailable("the work on it ended early")))
    }
}

#[async_trait]
impl ClientRegistry for SqliteRegistry {
    async fn client(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        let (realm, client_id) = (realm.clone(), client_id.clone());
        let client = self.read_with(move |connection| select_client(connection, &realm, &client_id)).await?;
        Ok(client.map(Arc::new))
    }

    async fn realm(&self, name: &RealmName) -> Result<Option<Arc<Realm>>, PortError> {
        let name = name.clone();
        let realm = self.read_with(move |connection| select_realm(connection, &name)).await?;
        Ok(realm.map(Arc::new))
    }
}

#[async_trait]
impl SecretSource for SqliteRegistry {
    async fn secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        let (realm, client_id) = (client.realm.clone(), client.client_id.clone());
        self.read_with(move |connection| {
            let digests = connection
                .prepare_cached(
                    "SELECT current_sha256, previous_sha256 FROM client_secrets WHERE realm = ?1 AND client_id = ?2",
                )?
                .query_row(params![realm.as_str(), client_id.as_str()], |row| {
                    Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, Option<[u8; 32]>>(1)?))
                })
                .optional()?;
            Ok(digests.map(|(current, previous)| ClientSecrets {
                current: SecretDigest::from_bytes(current),
                previous: previous.map(SecretDigest::from_bytes),
            }))
        })
        .await
    }
}

#[async_trait]
impl Registrar for SqliteRegistry {
    async fn register(&self, client: &Client, secret: &ClientSecret) -> Result<(), RegistrarError> {
        let (client, digest) = (client.clone(), secret.digest());
        self.write_with(move |transaction| insert_client(transaction, &client, &digest)).await
    }

    async fn replace(&self, client: &Client) -> Result<(), RegistrarError> {
        let client = client.clone();
        self.write_with(move |transaction| {
            let updated = transaction.execute(
                "UPDATE clients SET registration = ?3, revision = ?4
                 WHERE realm = ?1 AND client_id = ?2 AND revision = ?4 - 1
                   AND registration ->> '$.registration_id' = ?5",
                params![
                    client.realm.as_str(),
                    client.client_id.as_str(),
                    to_json(&client)?,
                    revision(client.revision)?,
                    client.registration_id.as_str(),
                ],
            )?;
            if updated == 1 {
                return Ok(());
            }
            Err(match select_client(transaction, &client.realm, &client.client_id)? {
                Some(_) => RegistrarError::Conflict.into(),
                None => RegistrarError::NotFound.into(),
            })
        })
        .await
    }

    async fn delete(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), RegistrarError> {
        let (realm, client_id) = (realm.clone(), client_id.clone());
        self.write_with(move |transaction| {
            // The secrets go with it (ON DELETE CASCADE).
            found(transaction.execute(
                "DELETE FROM clients WHERE realm = ?1 AND client_id = ?2",
                params![realm.as_str(), client_id.as_str()],
            )?)
        })
        .await
    }

    async fn rotate_secret(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        secret: &ClientSecret,
    ) -> Result<(), RegistrarError> {
        let (realm, client_id, digest) = (realm.clone(), client_id.clone(), secret.digest());
        self.write_with(move |transaction| {
            found(transaction.execute(
                "UPDATE client_secrets SET previous_sha256 = current_sha256, current_sha256 = ?3
                 WHERE realm = ?1 AND client_id = ?2",
                params![realm.as_str(), client_id.as_str(), digest.as_bytes()],
            )?)
        })
        .await
    }

    async fn revoke_previous_secret(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), RegistrarError> {
        let (realm, client_id) = (realm.clone(), client_id.clone());
        self.write_with(move |transaction| {
            found(transaction.execute(
                "UPDATE client_secrets SET previous_sha256 = NULL WHERE realm = ?1 AND client_id = ?2",
                params![realm.as_str(), client_id.as_str()],
            )?)
        })
        .await
    }

    async fn read(&self, realm: &RealmName, client_id: &ClientId) -> Result<Client, RegistrarError> {
        let (realm, client_id) = (realm.clone(), client_id.clone());
        let client = self.read_with(move |connection| select_client(connection, &realm, &client_id)).await?;
        client.ok_or(RegistrarError::NotFound)
    }

    async fn list(
        &self,
        realm: &RealmName,
        after: Option<&ClientId>,
        limit: usize,
    ) -> Result<ClientPage, RegistrarError> {
        let (realm, after) = (realm.clone(), after.map_or_else(String::new, |after| after.as_str().to_owned()));
        let page = self.read_with(move |connection| {
            // One more than asked for tells whether there is a next page. An id is never empty, so all are after ''.
            let mut statement = connection.prepare_cached(
                "SELECT registration FROM clients WHERE realm = ?1 AND client_id > ?2 ORDER BY client_id LIMIT ?3",
            )?;
            let one_more = i64::try_from(limit).unwrap_or(i64::MAX - 1).saturating_add(1);
            let mut clients = Vec::new();
            for json in statement.query_map(params![realm.as_str(), after, one_more], |row| row.get::<_, String>(0))? {
                clients.push(from_json::<Client>(&json?, "a registration")?);
            }
            let more = clients.len() > limit;
            clients.truncate(limit);
            let next = clients.last().filter(|_| more).map(|client| client.client_id.clone());
            Ok(ClientPage { clients, next })
        });
        Ok(page.await?)
    }

    async fn put_realm(&self, realm: &Realm) -> Result<(), RegistrarError> {
        let realm = realm.clone();
        self.write_with(move |transaction| write_realm(transaction, &realm)).await
    }

    async fn read_realm(&self, name: &RealmName) -> Result<Option<Realm>, RegistrarError> {
        let name = name.clone();
        Ok(self.read_with(move |connection| select_realm(connection, &name)).await?)
    }

    async fn list_realms(&self) -> Result<Vec<Realm>, RegistrarError> {
        let realms = self.read_with(|connection| {
            let mut statement = connection.prepare_cached("SELECT settings FROM realms ORDER BY name")?;
            let mut realms = Vec::new();
            for json in statement.query_map([], |row| row.get::<_, String>(0))? {
                realms.push(from_json::<Realm>(&json?, "a realm")?);
            }
            Ok(realms)
        });
        Ok(realms.await?)
    }
}

/// The public halves are a part of the private keys, so whoever stores the latter has published them.
#[async_trait]
impl KeyStore for SqliteRegistry {
    async fn read_keys(&self, realm: &RealmName) -> Result<Option<KeySet>, PortError> {
        let realm = realm.clone();
        let keys = self.read_with(move |connection| select_keys(connection, &realm, "private_keys")).await?;
        let corrupt = |error: KeyError| PortError::Corrupt { service: SERVICE, detail: error.to_string() };
        keys.map(|keys| KeySet::from_json(&keys).map_err(corrupt)).transpose()
    }

    async fn create_keys(&self, realm: &RealmName, keys: &KeySet) -> Result<(), KeyStoreError> {
        self.write_keys(
            realm,
            keys,
            "INSERT INTO signing_keys (realm, private_keys, public_jwks, revision) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
        )
        .await
    }

    async fn replace_keys(&self, realm: &RealmName, keys: &KeySet) -> Result<(), KeyStoreError> {
        self.write_keys(
            realm,
            keys,
            "UPDATE signing_keys SET private_keys = ?2, public_jwks = ?3, revision = ?4
             WHERE realm = ?1 AND revision = ?4 - 1",
        )
        .await
    }
}

impl SqliteRegistry {
    async fn write_keys(&self, realm: &RealmName, keys: &KeySet, statement: &'static str) -> Result<(), KeyStoreError> {
        let (realm, keys) = (realm.clone(), keys.clone());
        let written = self.write_with(move |transaction| {
            let (private, public) = (keys.to_json().map_err(|_| corrupt("signing keys"))?, to_json(&keys.published())?);
            let values = params![realm.as_str(), private.as_str(), public, revision(keys.revision)?];
            if transaction.execute(statement, values)? == 1 { Ok(()) } else { Err(RegistrarError::Conflict.into()) }
        });
        written.await.map_err(|error| match error {
            RegistrarError::Port(error) => KeyStoreError::Port(error),
            _ => KeyStoreError::Conflict,
        })
    }
}

#[async_trait]
impl VerificationKeySource for SqliteRegistry {
    async fn verification_keys(&self, realm: &RealmName) -> Result<Arc<VerificationKeys>, PortError> {
        let realm = realm.clone();
        let published = self.read_with(move |connection| {
            let jwks = select_keys(connection, &realm, "public_jwks")?;
            jwks.map(|jwks| from_json::<PublishedKeys>(&jwks, "a realm's public keys")).transpose()
        });
        Ok(Arc::new(published.await?.unwrap_or_default().verification_keys()?))
    }
}

/// What can go wrong inside a transaction.
enum Fault {
    Port(PortError),
    Registrar(RegistrarError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match (&error, error.sqlite_error_code()) {
            (_, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            | (rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..), _) => {
                corrupt("a column is not what it should be")
            }
            (_, Some(ErrorCode::DatabaseBusy)) => unavailable("busy with another writer"),
            _ => unavailable(&error.to_string()),
        }
    }
}

impl From<RegistrarError> for Fault {
    fn from(error: RegistrarError) -> Self {
        Self::Registrar(error)
    }
}

impl From<Fault> for RegistrarError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Port(error) => Self::Port(error),
            Fault::Registrar(error) => error,
        }
    }
}

fn insert_client(transaction: &Transaction<'_>, client: &Client, digest: &SecretDigest) -> Result<(), Fault> {
    let inserted = transaction.execute(
        "INSERT INTO clients (realm, client_id, registration, revision) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![client.realm.as_str(), client.client_id.as_str(), to_json(client)?, revision(client.revision)?],
    )?;
    if inserted == 0 {
        return Err(RegistrarError::AlreadyExists.into());
    }
    transaction.execute(
        "INSERT INTO client_secrets (realm, client_id, current_sha256) VALUES (?1, ?2, ?3)",
        params![client.realm.as_str(), client.client_id.as_str(), digest.as_bytes()],
    )?;
    Ok(())
}

fn write_realm(transaction: &Transaction<'_>, realm: &Realm) -> Result<(), Fault> {
    let json = to_json(realm)?;
    let written = if realm.revision == 1 {
        transaction.execute(
            "INSERT INTO realms (name, settings, revision) VALUES (?1, ?2, 1) ON CONFLICT DO NOTHING",
            params![realm.name.as_str(), json],
        )?
    } else {
        transaction.execute(
            "UPDATE realms SET settings = ?2, revision = ?3 WHERE name = ?1 AND revision = ?3 - 1",
            params![realm.name.as_str(), json, revision(realm.revision)?],
        )?
    };
    if written == 1 { Ok(()) } else { Err(RegistrarError::Conflict.into()) }
}

fn select_client(connection: &Connection, realm: &RealmName, client_id: &ClientId) -> Result<Option<Client>, Fault> {
    connection
        .prepare_cached("SELECT registration FROM clients WHERE realm = ?1 AND client_id = ?2")?
        .query_row(params![realm.as_str(), client_id.as_str()], |row| row.get::<_, String>(0))
        .optional()?
        .map(|json| from_json(&json, "a registration"))
        .transpose()
}

fn select_realm(connection: &Connection, name: &RealmName) -> Result<Option<Realm>, Fault> {
    connection
        .prepare_cached("SELECT settings FROM realms WHERE name = ?1")?
        .query_row(params![name.as_str()], |row| row.get::<_, String>(0))
        .optional()?
        .map(|json| from_json(&json, "a realm"))
        .transpose()
}

/// One of the two texts in which a realm's keys are stored. Wiped on drop, because one of them is private.
fn select_keys(
    connection: &Connection,
    realm: &RealmName,
    column: &'static str,
) -> Result<Option<Zeroizing<String>>, Fault> {
    let keys = connection
        .prepare_cached(&format!("SELECT {column} FROM signing_keys WHERE realm = ?1"))?
        .query_row([realm.as_str()], |row| row.get::<_, String>(0))
        .optional()?;
    Ok(keys.map(Zeroizing::new))
}

fn found(rows: usize) -> Result<(), Fault> {
    if rows == 0 { Err(RegistrarError::NotFound.into()) } else { Ok(()) }
}

fn to_json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| corrupt(&error.to_string()))
}

fn from_json<T: DeserializeOwned>(json: &str, what: &str) -> Result<T, Fault> {
    serde_json::from_str(json).map_err(|_| corrupt(what))
}

fn revision(revision: u64) -> Result<i64, Fault> {
    i64::try_from(revision).map_err(|_| corrupt("a revision"))
}

fn unavailable(detail: &str) -> Fault {
    Fault::Port(PortError::Unavailable { service: SERVICE, detail: detail.to_owned() })
}

fn corrupt(detail: &str) -> Fault {
    Fault::Port(PortError::Corrupt { service: SERVICE, detail: detail.to_owned() })
}

const SERVICE: &str = "the registry";
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// WAL lets the server read while the command line writes; FULL makes a change durable before it is reported.
const CONNECTION_SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
";

/// What each version of the file adds to the one before it, the first to an empty one.
const SCHEMA: [&str; 3] = [
    "
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
    PRAGMA user_version = 1;
    ",
    "
    CREATE TABLE signing_keys (
        realm        TEXT PRIMARY KEY,
        private_jwks TEXT NOT NULL,
        public_jwks  TEXT NOT NULL,
        revision     INTEGER NOT NULL
    ) STRICT;
    PRAGMA user_version = 2;
    ",
    // Private keys are no JWKs any more. A set that is one still is read, and written anew with its next change.
    "
    ALTER TABLE signing_keys RENAME COLUMN private_jwks TO private_keys;
    PRAGMA user_version = 3;
    ",
];
