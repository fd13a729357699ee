//! What a registry's file holds, read record by record: whether it is a registry at all, what a backup of it has, and in what two of them
//! differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::Backup;
use zeroize::Zeroizing;

use super::fault::Fault;
use super::rows::select_secret_dates;
use super::schema::{make, migrate, version_of, versions};
use crate::core::client::secret::SecretDates;
use crate::core::client::{Client, ClientStatus};
use crate::core::keys::published::PublishedKeys;
use crate::core::keys::set::KeySet;
use crate::core::owner::Owner;
use crate::core::realm::Realm;
use crate::embedded::store::cause::StorageCause;

/// The records of a registry, as far as they can be read.
#[derive(Default)]
pub struct Contents {
    /// The realms that have a record, by name.
    pub realms: BTreeMap<String, Realm>,
    /// The owners, by id.
    pub owners: BTreeMap<String, Owner>,
    /// The public halves of signing keys, by realm.
    pub keys: BTreeMap<String, PublishedKeys>,
    /// What is there and is not what a server has written.
    pub unreadable: Vec<Subject>,
    clients: BTreeMap<(String, String), ClientMark>,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A realm.
    Realm(String),
    /// A client.
    Client {
        /// The realm that owns it.
        realm: String,
        /// Its id.
        client_id: String,
    },
    /// The signing keys of a realm.
    Keys(String),
    /// An owner.
    Owner(String),
}

/// What has become of something since a backup was made, and is undone by restoring it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// A client was disabled. It is active again.
    Disabled(Subject),
    /// A client, a realm or an owner was deleted. It is there again.
    Deleted(Subject),
    /// A client's secrets were replaced or ended. Those from before are valid again.
    SecretChanged(Subject),
    /// A key was revoked, or its time was over. It verifies again.
    KeyEnded {
        /// The realm.
        realm: String,
        /// The key.
        kid: String,
    },
    /// A client, a realm or an owner was made, which is gone.
    Made(Subject),
    /// Any other change of a client, a realm or an owner, which is undone.
    Changed(Subject),
}

/// Why a file is not a registry that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARegistry {
    /// It has no bytes.
    #[error("it is an empty file")]
    Empty,
    /// It is not a database.
    #[error("it is not an SQLite database")]
    NotADatabase,
    /// It is the other database of a data directory.
    #[error("it is a token database; a backup is made of registry.db")]
    Tokens,
    /// It is a database, and has other tables than a registry.
    #[error("it is a database of another program")]
    Foreign,
    /// A later version has written it.
    #[error("it was written by a later version of grantwell; use that version")]
    Newer,
    /// It cannot be read as it was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It cannot be read at all at this moment.
    #[error("it cannot be read: {0}")]
    Unavailable(String),
}

/// What tells one registration of a client, and its secrets, from another. Two digests that are stored are compared; none is shown.
#[derive(PartialEq, Eq)]
struct ClientMark {
    registration_id: String,
    is_active: bool,
    revision: u64,
    current: Option<Vec<u8>>,
    previous: Option<Vec<u8>>,
}

impl Contents {
    /// Reads every record of a registry of this version or an earlier one.
    ///
    /// # Errors
    /// [`NotARegistry`].
    pub fn read(connection: &Connection) -> Result<Self, NotARegistry> {
        Self::read_with(connection, &mut |_, _| ())
    }

    /// The same, and shows each client that can be read, with what is known of its secrets.
    ///
    /// # Errors
    /// [`NotARegistry`].
    pub fn read_with(
        connection: &Connection,
        visit: &mut dyn FnMut(&Client, Option<&SecretDates>),
    ) -> Result<Self, NotARegistry> {
        if version_of(connection)? == versions() {
            return Self::of_this_version(connection, visit);
        }
        // A file of an earlier build stays as it is: its build can read it, too.
        let mut copy = Connection::open_in_memory()?;
        Backup::new(connection, &mut copy)?.step(-1)?;
        migrate(&mut copy, Path::new(":memory:")).map_err(|error| NotARegistry::Damaged(error.to_string()))?;
        Self::of_this_version(&copy, visit)
    }

    fn of_this_version(
        connection: &Connection,
        visit: &mut dyn FnMut(&Client, Option<&SecretDates>),
    ) -> Result<Self, NotARegistry> {
        let mut contents = Self::default();
        contents.read_realms(connection)?;
        contents.read_owners(connection)?;
        contents.read_clients(connection, visit)?;
        contents.read_keys(connection)?;
        Ok(contents)
    }

    /// Whether nothing has ever been registered.
    pub fn is_empty(&self) -> bool {
        self.realms.is_empty() && self.owners.is_empty() && self.clients.is_empty() && self.unreadable.is_empty()
    }

    /// How many clients there are that can be read.
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// How many of them are disabled.
    pub fn disabled_count(&self) -> usize {
        self.clients.values().filter(|client| !client.is_active).count()
    }

    /// How many signing keys there are, in all realms together.
    pub fn key_count(&self) -> usize {
        self.keys.values().map(|keys| keys.keys.len()).sum()
    }

    /// What was done between this, of a backup, and `now`: the gravest first.
    pub fn done_until(&self, now: &Self) -> Vec<Since> {
        let (mut grave, mut other) = (Vec::new(), Vec::new());
        for ((realm, client_id), before) in &self.clients {
            let subject = || Subject::Client { realm: realm.clone(), client_id: client_id.clone() };
            let Some(after) = now.clients.get(&(realm.clone(), client_id.clone())) else {
                grave.push(Since::Deleted(subject()));
                continue;
            };
            if after.registration_id != before.registration_id {
                grave.push(Since::Deleted(subject()));
                continue;
            }
            let was_stopped = before.is_active && !after.is_active;
            if was_stopped {
                grave.push(Since::Disabled(subject()));
            }
            if before.current != after.current || before.previous != after.previous {
                grave.push(Since::SecretChanged(subject()));
            }
            let is_all = was_stopped && after.revision == before.revision.saturating_add(1);
            if before.revision != after.revision && !is_all {
                other.push(Since::Changed(subject()));
            }
        }
        let is_new =
            |(realm, client_id): &&(String, String)| !self.clients.contains_key(&(realm.clone(), client_id.clone()));
        other.extend(now.clients.keys().filter(is_new).map(|(realm, client_id)| {
            Since::Made(Subject::Client { realm: realm.clone(), client_id: client_id.clone() })
        }));
        for (name, realm) in &self.realms {
            match now.realms.get(name) {
                None => grave.push(Since::Deleted(Subject::Realm(name.clone()))),
                Some(after) if after.revision != realm.revision => {
                    other.push(Since::Changed(Subject::Realm(name.clone())));
                }
                Some(_) => {}
            }
        }
        let new_realms = now.realms.keys().filter(|name| !self.realms.contains_key(*name));
        other.extend(new_realms.map(|name| Since::Made(Subject::Realm(name.clone()))));
        for (id, owner) in &self.owners {
            match now.owners.get(id) {
                None => grave.push(Since::Deleted(Subject::Owner(id.clone()))),
                Some(after) if after.revision != owner.revision => {
                    other.push(Since::Changed(Subject::Owner(id.clone())));
                }
                Some(_) => {}
            }
        }
        let new_owners = now.owners.keys().filter(|id| !self.owners.contains_key(*id));
        other.extend(new_owners.map(|id| Since::Made(Subject::Owner(id.clone()))));
        let known = now.kids();
        let ended = self.kids().into_iter().filter(|key| !known.contains(key));
        grave.extend(ended.map(|(realm, kid)| Since::KeyEnded { realm: realm.to_owned(), kid: kid.to_owned() }));
        grave.extend(other);
        grave
    }

    fn kids<'a>(&'a self) -> BTreeSet<(&'a str, &'a str)> {
        let of_realm = |(realm, keys): (&'a String, &'a PublishedKeys)| {
            keys.keys.iter().map(move |key| (realm.as_str(), key.jwk.kid.as_str()))
        };
        self.keys.iter().flat_map(of_realm).collect()
    }

    fn read_realms(&mut self, connection: &Connection) -> Result<(), NotARegistry> {
        let mut statement = connection.prepare("SELECT name, settings FROM realms")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for row in rows {
            let (name, settings): (String, String) = row?;
            match serde_json::from_str::<Realm>(&settings) {
                Ok(realm) if realm.name.as_str() == name => drop(self.realms.insert(name, realm)),
                _ => self.unreadable.push(Subject::Realm(name)),
            }
        }
        Ok(())
    }

    fn read_owners(&mut self, connection: &Connection) -> Result<(), NotARegistry> {
        let mut statement = connection.prepare("SELECT owner, record FROM owners")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for row in rows {
            let (id, record): (String, String) = row?;
            match serde_json::from_str::<Owner>(&record) {
                Ok(owner) if owner.owner.as_str() == id => drop(self.owners.insert(id, owner)),
                _ => self.unreadable.push(Subject::Owner(id)),
            }
        }
        Ok(())
    }

    fn read_clients(
        &mut self,
        connection: &Connection,
        visit: &mut dyn FnMut(&Client, Option<&SecretDates>),
    ) -> Result<(), NotARegistry> {
        let mut statement = connection.prepare(
            "SELECT clients.realm, clients.client_id, registration, current_sha256, previous_sha256
             FROM clients LEFT JOIN client_secrets USING (realm, client_id)",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (realm, client_id, registration): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (current, previous): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(3)?, row.get(4)?);
            let are_digests = [&current, &previous].into_iter().flatten().all(|digest| digest.len() == DIGEST_BYTES);
            let client = serde_json::from_str::<Client>(&registration).ok();
            let client =
                client.filter(|client| client.realm.as_str() == realm && client.client_id.as_str() == client_id);
            let read = client.filter(|_| are_digests).and_then(|client| {
                let dates = match select_secret_dates(connection, &client) {
                    Err(Fault::Sqlite(error)) if error.sqlite_error_code().is_some() => return Some(Err(error)),
                    Err(_) => return None,
                    Ok(dates) => dates,
                };
                Some(Ok((client, dates)))
            });
            let Some(read) = read else {
                self.unreadable.push(Subject::Client { realm, client_id });
                continue;
            };
            let (client, dates) = read?;
            visit(&client, dates.as_ref());
            let mark = ClientMark {
                registration_id: client.registration_id.as_str().to_owned(),
                is_active: client.status == ClientStatus::Active,
                revision: client.revision,
                current,
                previous,
            };
            self.clients.insert((realm, client_id), mark);
        }
        Ok(())
    }

    fn read_keys(&mut self, connection: &Connection) -> Result<(), NotARegistry> {
        let mut statement = connection.prepare("SELECT realm, private_keys, public_jwks FROM signing_keys")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let realm: String = row.get(0)?;
            let private = Zeroizing::new(row.get::<_, String>(1)?);
            let public = serde_json::from_str::<PublishedKeys>(&row.get::<_, String>(2)?);
            match (KeySet::from_json(&private), public) {
                (Ok(_), Ok(published)) => drop(self.keys.insert(realm, published)),
                _ => self.unreadable.push(Subject::Keys(realm)),
            }
        }
        Ok(())
    }
}

/// Whether a file begins as a database does.
///
/// # Errors
/// What the system says.
pub fn begins_as_a_database(file: &mut File) -> io::Result<Result<(), NotARegistry>> {
    let mut header = Vec::with_capacity(HEADER.len());
    file.take(HEADER.len() as u64).read_to_end(&mut header)?;
    Ok(match header.as_slice() {
        [] => Err(NotARegistry::Empty),
        header if header == HEADER => Ok(()),
        _ => Err(NotARegistry::NotADatabase),
    })
}

/// Sees to it that a database is a whole registry of this version or an earlier one, and nothing besides: a trigger that somebody has put
/// into a copy would act for the server.
///
/// # Errors
/// [`NotARegistry`].
pub fn require_registry(connection: &Connection) -> Result<(), NotARegistry> {
    connection.execute_batch("PRAGMA trusted_schema = OFF")?;
    // 1. Every page is what was written.
    let said: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        return Err(NotARegistry::Damaged(said.replace('\n', "; ")));
    }
    if connection.prepare("PRAGMA foreign_key_check")?.exists([])? {
        return Err(NotARegistry::Damaged("secrets of a client that is not there".to_owned()));
    }
    // 2. The tables are those of its version.
    let tables = columns(connection)?;
    if tables.iter().any(|column| column.0 == "access_tokens") {
        return Err(NotARegistry::Tokens);
    }
    if !["realms", "clients", "client_secrets"].iter().all(|table| tables.iter().any(|column| column.0 == *table)) {
        return Err(NotARegistry::Foreign);
    }
    let version = version_of(connection)?;
    if version > versions() {
        return Err(NotARegistry::Newer);
    }
    let expected = Connection::open_in_memory()?;
    make(&expected, version)?;
    if version == 0 || tables != columns(&expected)? || beside_tables(connection)? != beside_tables(&expected)? {
        return Err(NotARegistry::Foreign);
    }
    Ok(())
}

/// What there is beside tables, to the letter: indexes that this program has made, and whatever somebody has added.
fn beside_tables(connection: &Connection) -> rusqlite::Result<BTreeSet<(String, String, String)>> {
    let mut statement =
        connection.prepare("SELECT type, name, sql FROM sqlite_schema WHERE type <> 'table' AND sql IS NOT NULL")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

/// Every column of every table: its table and name, its type, whether it may be null, its default, its place in the key.
fn columns(connection: &Connection) -> rusqlite::Result<BTreeSet<(String, String, String)>> {
    let mut statement = connection.prepare(
        "SELECT tables.name, columns.name,
             columns.type || '/' || columns.\"notnull\" || '/' || coalesce(columns.dflt_value, '') || '/' || columns.pk || '/' || columns.hidden
         FROM sqlite_schema AS tables JOIN pragma_table_xinfo(tables.name) AS columns
         WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%'",
    )?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

impl From<rusqlite::Error> for NotARegistry {
    fn from(error: rusqlite::Error) -> Self {
        match StorageCause::of_sqlite(&error) {
            StorageCause::Damaged => Self::Damaged(error.to_string()),
            StorageCause::Failed => Self::Unavailable(error.to_string()),
            cause => Self::Unavailable(cause.to_string()),
        }
    }
}

/// How every SQLite database begins.
const HEADER: &[u8] = b"SQLite format 3\0";
/// The length of a SHA-256 digest.
const DIGEST_BYTES: usize = 32;
