//! Realms, registrations, digests of secrets and signing keys in one SQLite file, which the server reads and the command line
//! writes at the same time. A client's secret itself is stored nowhere; a signing key has to be.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::cause::StorageCause;
use super::connections::{Connections, NotDone, Opened};
use super::data_dir::{LOG, beside, create_private_file, require_not_moved_away};
use super::fault::StoreError;
use super::registry_health::RegistryHealth;
use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::client::secret::{ClientSecret, ClientSecrets, SecretDigest};
use crate::core::client_auth;
use crate::core::keys::KeyError;
use crate::core::keys::published::{PublishedKeys, VerificationKeys};
use crate::core::keys::set::KeySet;
use crate::core::port_error::PortError;
use crate::core::ports::{
    ClientPage, ClientRegistry, KeyStore, KeyStoreError, Registrar, RegistrarError, SecretSource, VerificationKeySource,
};
use crate::core::realm::{Realm, RealmName};

/// The registry of a local server: [`ClientRegistry`], [`SecretSource`], [`Registrar`], [`KeyStore`] and
/// [`VerificationKeySource`] in one.
pub struct SqliteRegistry {
    connections: Connections,
    /// Whose file it is, for the reasons of what fails.
    path: Arc<Path>,
    /// Whether something that was removed is still to be read in the write-ahead log, which somebody else was reading.
    log_holds_removed: Arc<AtomicBool>,
}

impl SqliteRegistry {
    /// Opens the file, creating it where it does not exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // A new file would be read with the log of the one that was moved away, and by a server that still has that one.
        require_not_moved_away(path)?;
        // SQLite gives its journals the mode of the file: readable by nobody else, even where a copy leaves the directory.
        create_private_file(path)?;
        let connections = Connections::open(path, |connection| migrate(connection, path), is_of_this_version)?;
        Ok(Self::on(connections, path))
    }

    /// A registry that ends with the process.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn in_memory() -> Result<Self, StoreError> {
        let path = Path::new(":memory:");
        let connections = Connections::in_memory(|connection| migrate(connection, path))?;
        Ok(Self::on(connections, path))
    }

    fn on(connections: Connections, path: &Path) -> Self {
        Self { connections, path: path.into(), log_holds_removed: Arc::default() }
    }

    /// Whether the file answers and can be written, seen by a connection of its own.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn health(&self) -> Result<RegistryHealth, StoreError> {
        let opened = self.connections.opened();
        opened.open_look().map_err(|error| StoreError::of_sqlite(&self.path, &error))?;
        Ok(RegistryHealth::of(opened))
    }

    /// Whether a change of this process has removed something that could not be erased yet, because somebody else reads the file.
    pub fn holds_removed(&self) -> bool {
        self.log_holds_removed.load(Ordering::Relaxed)
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
            clients.iter().try_for_each(|(client, digest)| insert_client(transaction, client, Some(digest)))
        })
        .await
    }

    /// Empties the write-ahead log where there is something in it, and says whether nothing is left: a server does that every few seconds,
    /// because another process may have removed something while somebody read it. Waits for nobody.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn forget_removed(&self) -> Result<bool, PortError> {
        let (path, is_left) = (Arc::clone(&self.path), Arc::clone(&self.log_holds_removed));
        let opened = Arc::clone(self.connections.opened());
        let emptied = self.connections.write(move |connection| {
            if fs::metadata(beside(&path, LOG)).map_or(0, |log| log.len()) == 0 {
                return Ok(true);
            }
            connection.busy_timeout(Duration::ZERO)?;
            let emptied = empty_log(connection);
            connection.busy_timeout(BUSY_TIMEOUT)?;
            let is_empty = emptied.inspect_err(|error| opened.doubt_if(error))?;
            is_left.fetch_and(!is_empty, Ordering::Relaxed);
            Ok(is_empty)
        });
        let emptied: Result<bool, rusqlite::Error> = emptied.await.map_err(not_done)?;
        emptied.map_err(|error| PortError::Unavailable {
            service: SERVICE,
            detail: StorageCause::of_sqlite(&error).to_string(),
        })
    }

    /// Runs `read` on a thread that may wait for the disk.
    async fn read_with<T, F>(&self, read: F) -> Result<T, PortError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (path, opened) = (Arc::clone(&self.path), Arc::clone(self.connections.opened()));
        let read =
            self.connections.read(move |connection| read(connection).map_err(|fault| fault.explained(&path, &opened)));
        read.await.map_err(not_done)?.map_err(|error| match error {
            RegistrarError::Port(error) => error,
            other => PortError::Unavailable { service: SERVICE, detail: other.to_string() },
        })
    }

    /// Runs `write` in one transaction, which is durable when this returns.
    async fn write_with<F>(&self, write: F) -> Result<(), RegistrarError>
    where
        F: FnOnce(&Transaction<'_>) -> Result<(), Fault> + Send + 'static,
    {
        let (path, opened) = (Arc::clone(&self.path), Arc::clone(self.connections.opened()));
        let written = self
            .connections
            .write(move |connection| transact(connection, write).map_err(|fault| fault.explained(&path, &opened)));
        written.await.map_err(not_done)?
    }

    /// The same for a change that removes a secret or a key: it can be read in no file any more when this returns, unless
    /// somebody else is reading at this moment ([`SqliteRegistry::holds_removed`]).
    async fn remove_with<F>(&self, write: F) -> Result<(), RegistrarError>
    where
        F: FnOnce(&Transaction<'_>) -> Result<(), Fault> + Send + 'static,
    {
        let (path, is_left) = (Arc::clone(&self.path), Arc::clone(&self.log_holds_removed));
        let opened = Arc::clone(self.connections.opened());
        let removed = self.connections.write(move |connection| {
            transact(connection, write).map_err(|fault| fault.explained(&path, &opened))?;
            // The change is durable, whatever becomes of this.
            let emptied = empty_log(connection).inspect_err(|error| opened.doubt_if(error));
            is_left.store(!emptied.is_ok_and(|is_empty| is_empty), Ordering::Relaxed);
            Ok(())
        });
        removed.await.map_err(not_done)?
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
        let client = client.clone();
        self.read_with(move |connection| select_secrets(connection, &client)).await
    }
}

#[async_trait]
impl Registrar for SqliteRegistry {
    async fn register(&self, client: &Client, secret: Option<&ClientSecret>) -> Result<(), RegistrarError> {
        let (client, digest) = (client.clone(), secret.map(ClientSecret::digest));
        self.write_with(move |transaction| insert_client(transaction, &client, digest.as_ref())).await
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
        self.remove_with(move |transaction| {
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
        self.remove_with(move |transaction| {
            let client = select_client(transaction, &realm, &client_id)?.ok_or(RegistrarError::NotFound)?;
            if !client_auth::uses_secret(&client.metadata) {
                return Err(RegistrarError::NoSecret.into());
            }
            write_secret(transaction, &client, &digest)
        })
        .await
    }

    async fn revoke_previous_secret(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), RegistrarError> {
        let (realm, client_id) = (realm.clone(), client_id.clone());
        self.remove_with(move |transaction| {
            select_client(transaction, &realm, &client_id)?.ok_or(RegistrarError::NotFound)?;
            transaction.execute(
                "UPDATE client_secrets SET previous_sha256 = NULL, previous_revision = NULL
                 WHERE realm = ?1 AND client_id = ?2",
                params![realm.as_str(), client_id.as_str()],
            )?;
            Ok(())
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
        let written = self.remove_with(move |transaction| {
            let (private, public) =
                (keys.to_json().map_err(|_| Fault::Corrupt("signing keys".to_owned()))?, to_json(&keys.published())?);
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
    Sqlite(rusqlite::Error),
    Corrupt(String),
    Registrar(RegistrarError),
}

impl Fault {
    /// What whoever asked is told. On the thread that asked the disk: the reason may have to be looked for there.
    fn explained(self, path: &Path, opened: &Opened) -> RegistrarError {
        let error = match self {
            Self::Registrar(error) => return error,
            Self::Corrupt(detail) => return corrupt(&detail),
            Self::Sqlite(error) => error,
        };
        opened.doubt_if(&error);
        match StorageCause::of_sqlite_at(path, &error) {
            // Not SQLite's word, but ours about what it gave.
            StorageCause::Damaged if error.sqlite_error_code().is_none() => {
                corrupt("a column is not what it should be")
            }
            StorageCause::Damaged => corrupt("the file is damaged"),
            StorageCause::Failed => unavailable(&error.to_string()),
            cause => unavailable(&cause.to_string()),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<RegistrarError> for Fault {
    fn from(error: RegistrarError) -> Self {
        Self::Registrar(error)
    }
}

/// Brings the schema up to this version's. Takes no lock where it is.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| StoreError::of_sqlite(path, &error);
    let version = |connection: &Connection| connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    let missing = |version: i64| {
        let missing = usize::try_from(version).ok().and_then(|version| SCHEMAS.get(version..));
        missing.ok_or_else(|| StoreError::Newer { path: path.to_owned() })
    };
    let found = version(connection).map_err(failed)?;
    if missing(found)?.is_empty() {
        return Ok(());
    }
    if found != 0 {
        // Builds before did not overwrite what they removed. Written anew, the file has nothing but what it holds.
        connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);").map_err(failed)?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    // Another process may have been quicker.
    for schema in missing(version(&transaction).map_err(failed)?)? {
        transaction.execute_batch(schema).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

/// Whether a file that took the place of another is a whole registry. One that is still being written is none, and nothing is made of it.
fn is_of_this_version(connection: &Connection) -> Result<(), StorageCause> {
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    let version = version.map_err(|error| StorageCause::of_sqlite(&error))?;
    if usize::try_from(version) == Ok(SCHEMAS.len()) {
        return Ok(());
    }
    Err(StorageCause::Replaced)
}

fn transact(
    connection: &mut Connection,
    write: impl FnOnce(&Transaction<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    write(&transaction)?;
    Ok(transaction.commit()?)
}

/// Puts what the write-ahead log holds into the file, and the log to nothing; whether that could be done, because nobody reads it.
fn empty_log(connection: &Connection) -> Result<bool, rusqlite::Error> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

fn insert_client(transaction: &Transaction<'_>, client: &Client, digest: Option<&SecretDigest>) -> Result<(), Fault> {
    let inserted = transaction.execute(
        "INSERT INTO clients (realm, client_id, registration, revision) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![client.realm.as_str(), client.client_id.as_str(), to_json(client)?, revision(client.revision)?],
    )?;
    if inserted == 0 {
        return Err(RegistrarError::AlreadyExists.into());
    }
    digest.map_or(Ok(()), |digest| write_secret(transaction, client, digest))
}

/// Makes this the client's secret, and the one that it had the previous one.
fn write_secret(transaction: &Transaction<'_>, client: &Client, digest: &SecretDigest) -> Result<(), Fault> {
    transaction.execute(
        "INSERT INTO client_secrets (realm, client_id, registration_id, current_revision, current_sha256)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (realm, client_id) DO UPDATE SET
             previous_sha256 = current_sha256, previous_revision = current_revision,
             current_sha256 = excluded.current_sha256, current_revision = excluded.current_revision",
        params![
            client.realm.as_str(),
            client.client_id.as_str(),
            client.registration_id.as_str(),
            revision(client.revision)?,
            digest.as_bytes(),
        ],
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

/// The secrets of this registration that were made for it as it is in `client`, or before: a right may have been withdrawn
/// from it before another was made, and whoever has that one must not get what went before.
fn select_secrets(connection: &Connection, client: &Client) -> Result<Option<ClientSecrets>, Fault> {
    let row = connection
        .prepare_cached(
            "SELECT current_sha256, current_revision, previous_sha256, previous_revision FROM client_secrets
             WHERE realm = ?1 AND client_id = ?2 AND registration_id = ?3",
        )?
        .query_row(params![client.realm.as_str(), client.client_id.as_str(), client.registration_id.as_str()], |row| {
            let current: ([u8; 32], i64) = (row.get(0)?, row.get(1)?);
            let previous: Option<[u8; 32]> = row.get(2)?;
            Ok((current, previous.zip(row.get::<_, Option<i64>>(3)?)))
        })
        .optional()?;
    let Some((current, previous)) = row else { return Ok(None) };
    let known = revision(client.revision)?;
    let digest = |(digest, revision)| (revision <= known).then(|| SecretDigest::from_bytes(digest));
    Ok(match (digest(current), previous.and_then(digest)) {
        (Some(current), previous) => Some(ClientSecrets::read(current, previous)),
        (None, Some(previous)) => Some(ClientSecrets::read(previous, None)),
        (None, None) => None,
    })
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
    serde_json::to_string(value).map_err(|error| Fault::Corrupt(error.to_string()))
}

fn from_json<T: DeserializeOwned>(json: &str, what: &str) -> Result<T, Fault> {
    serde_json::from_str(json).map_err(|_| Fault::Corrupt(what.to_owned()))
}

fn revision(revision: u64) -> Result<i64, Fault> {
    i64::try_from(revision).map_err(|_| Fault::Corrupt("a revision".to_owned()))
}

fn not_done(why: NotDone) -> PortError {
    let detail = match why {
        NotDone::Overloaded => "too many requests wait for it".to_owned(),
        NotDone::Ended => "the work on it ended early".to_owned(),
        NotDone::Refused(cause) => cause.to_string(),
    };
    PortError::Unavailable { service: SERVICE, detail }
}

fn unavailable(detail: &str) -> RegistrarError {
    PortError::Unavailable { service: SERVICE, detail: detail.to_owned() }.into()
}

fn corrupt(detail: &str) -> RegistrarError {
    PortError::Corrupt { service: SERVICE, detail: detail.to_owned() }.into()
}

const SERVICE: &str = "the registry";
/// That of the connection that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What each version adds to the one before it; the first to an empty file.
const SCHEMAS: [&str; 4] = [SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4];

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
