//! Realms, registrations, digests of secrets and signing keys in one SQLite file, which the server reads and the command line
//! writes at the same time. A client's secret itself is stored nowhere; a signing key has to be.

pub(super) mod admin_log;
pub mod contents;
mod fault;
mod rows;
mod schema;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use zeroize::Zeroizing;

use self::fault::{Fault, SERVICE, not_done};
use self::rows::{
    delete_owner, found, from_json, insert_client, insert_line, revision, select_client, select_keys, select_owner,
    select_owners, select_realm, select_secret_dates, select_secrets, to_json, write_owner, write_realm, write_secret,
};
use self::schema::{is_of_this_version, migrate};
use crate::core::admin_log::AdminLogLine;
use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::client::secret::{ClientSecret, ClientSecrets, NewSecret, SecretDates};
use crate::core::client_auth;
use crate::core::keys::KeyError;
use crate::core::keys::published::{PublishedKeys, VerificationKeys};
use crate::core::keys::set::KeySet;
use crate::core::owner::{Owner, OwnerId};
use crate::core::port_error::PortError;
use crate::core::ports::{
    ClientPage, ClientRegistry, KeyStore, KeyStoreError, Registrar, RegistrarError, SecretSource, VerificationKeySource,
};
use crate::core::realm::{Realm, RealmName};
use crate::embedded::store::cause::StorageCause;
use crate::embedded::store::connections::Connections;
use crate::embedded::store::data_dir::{LOG, beside, create_private_file, require_not_moved_away};
use crate::embedded::store::fault::StoreError;
use crate::embedded::store::registry_health::RegistryHealth;

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

    /// Whether nobody has registered anything: no realm, no client and no owner.
    ///
    /// # Errors
    /// [`PortError::Unavailable`].
    pub async fn is_empty(&self) -> Result<bool, PortError> {
        self.read_with(|connection| {
            let found: Option<i64> = connection
                .query_row(
                    "SELECT 1 FROM realms UNION ALL SELECT 1 FROM clients UNION ALL SELECT 1 FROM owners LIMIT 1",
                    [],
                    |row| row.get(0),
                )
                .optional()?;
            Ok(found.is_none())
        })
        .await
    }

    /// Writes a realm, its first clients and the lines of the admin log about them in one transaction: after a crash there are all of
    /// them or none.
    ///
    /// # Errors
    /// [`RegistrarError`] where one of them exists already, or the file cannot be written.
    pub async fn seed(
        &self,
        realm: &Realm,
        clients: &[(Client, ClientSecret)],
        lines: &[AdminLogLine],
    ) -> Result<(), RegistrarError> {
        let (realm, lines) = (realm.clone(), lines.to_vec());
        let clients: Vec<_> = clients.iter().map(|(client, secret)| (client.clone(), secret.digest())).collect();
        self.write_with(move |transaction| {
            lines.iter().try_for_each(|line| insert_line(transaction, line))?;
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

    async fn delete_unchanged(&self, client: &Client) -> Result<(), RegistrarError> {
        let client = client.clone();
        self.remove_with(move |transaction| {
            let stored =
                select_client(transaction, &client.realm, &client.client_id)?.ok_or(RegistrarError::NotFound)?;
            if stored.revision != client.revision || stored.registration_id != client.registration_id {
                return Err(RegistrarError::Conflict.into());
            }
            found(transaction.execute(
                "DELETE FROM clients WHERE realm = ?1 AND client_id = ?2",
                params![client.realm.as_str(), client.client_id.as_str()],
            )?)
        })
        .await
    }

    async fn rotate_secret(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        secret: &NewSecret<'_>,
    ) -> Result<(), RegistrarError> {
        let (realm, client_id, digest) = (realm.clone(), client_id.clone(), secret.secret.digest());
        let (made_at, beside) = (secret.made_at, secret.beside);
        self.remove_with(move |transaction| {
            let client = select_client(transaction, &realm, &client_id)?.ok_or(RegistrarError::NotFound)?;
            if !client_auth::uses_secret(&client.metadata) {
                return Err(RegistrarError::NoSecret.into());
            }
            write_secret(transaction, &client, &digest, made_at, beside)
        })
        .await
    }

    async fn secret_dates(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
    ) -> Result<Option<SecretDates>, RegistrarError> {
        let client = self.read(realm, client_id).await?;
        Ok(self.read_with(move |connection| select_secret_dates(connection, &client)).await?)
    }

    async fn stored_secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, RegistrarError> {
        Ok(SecretSource::secrets(self, client).await?)
    }

    async fn revoke_previous_secret(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), RegistrarError> {
        let (realm, client_id) = (realm.clone(), client_id.clone());
        self.remove_with(move |transaction| {
            select_client(transaction, &realm, &client_id)?.ok_or(RegistrarError::NotFound)?;
            transaction.execute(
                "UPDATE client_secrets SET
                     previous_sha256 = NULL, previous_revision = NULL, previous_made_at = NULL, previous_expires_at = 0
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

    async fn read_many(&self, clients: &[(RealmName, ClientId)]) -> Result<Vec<Client>, RegistrarError> {
        let clients: BTreeSet<_> = clients.iter().cloned().collect();
        let found = self.read_with(move |connection| {
            let found = clients.iter().map(|(realm, client_id)| select_client(connection, realm, client_id));
            found.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()
        });
        Ok(found.await?)
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

    async fn delete_realm(&self, realm: &Realm) -> Result<(), RegistrarError> {
        let realm = realm.clone();
        self.remove_with(move |transaction| {
            let deleted = transaction.execute(
                "DELETE FROM realms WHERE name = ?1 AND revision = ?2
                     AND NOT EXISTS (SELECT 1 FROM clients WHERE clients.realm = ?1)",
                params![realm.name.as_str(), revision(realm.revision)?],
            )?;
            if deleted == 0 && select_realm(transaction, &realm.name)?.is_some() {
                return Err(RegistrarError::Conflict.into());
            }
            Ok(())
        })
        .await
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

    async fn put_owner(&self, owner: &Owner) -> Result<(), RegistrarError> {
        let owner = owner.clone();
        self.write_with(move |transaction| write_owner(transaction, &owner)).await
    }

    async fn delete_owner(&self, owner: &Owner) -> Result<(), RegistrarError> {
        let owner = owner.clone();
        self.write_with(move |transaction| delete_owner(transaction, &owner)).await
    }

    async fn read_owner(&self, id: &OwnerId) -> Result<Option<Owner>, RegistrarError> {
        let id = id.clone();
        Ok(self.read_with(move |connection| select_owner(connection, &id)).await?)
    }

    async fn list_owners(&self) -> Result<Vec<Owner>, RegistrarError> {
        Ok(self.read_with(select_owners).await?)
    }
}

/// The public halves are a part of the private keys, so whoever stores the latter has published them.
#[async_trait]
impl KeyStore for SqliteRegistry {
    async fn read_keys(&self, realm: &RealmName) -> Result<Option<KeySet>, PortError> {
        let keys = self.read_keys_text(realm).await?;
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

    async fn delete_keys(&self, realm: &RealmName) -> Result<bool, PortError> {
        if self.read_keys_text(realm).await?.is_none() {
            return Ok(false);
        }
        let realm = realm.clone();
        let deleted = self.remove_with(move |transaction| {
            transaction.execute("DELETE FROM signing_keys WHERE realm = ?1", [realm.as_str()])?;
            Ok(())
        });
        deleted.await.map(|()| true).map_err(|error| match error {
            RegistrarError::Port(error) => error,
            other => PortError::Unavailable { service: SERVICE, detail: other.to_string() },
        })
    }
}

impl SqliteRegistry {
    async fn read_keys_text(&self, realm: &RealmName) -> Result<Option<Zeroizing<String>>, PortError> {
        let realm = realm.clone();
        self.read_with(move |connection| select_keys(connection, &realm, "private_keys")).await
    }

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

/// That of the connection that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
