//! What there is to see of a data directory from outside, while its server runs or not. Changes nothing: whose files are, who may read
//! them, and whether the databases are whole.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::statvfs;
use rustix::process::geteuid;

use super::backup::open;
use super::cause::StorageCause;
use super::fault::StoreError;
use super::registry::contents::{NotARegistry, require_registry};

/// A file of a data directory that is not as a server leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// It is another user's.
    NotOwned {
        /// The file's name; that of the directory where it is meant.
        name: String,
        /// Whose it is.
        owner: u32,
    },
    /// Others may read it, or write it.
    OpenToOthers {
        /// The file's name.
        name: String,
        /// What they may.
        mode: u32,
    },
    /// It is a symbolic link, or not a file at all.
    NotAFile {
        /// Its name.
        name: String,
    },
    /// It is the log of a database that is not there.
    LogAlone {
        /// The log's name.
        name: String,
    },
    /// It has the tokens of a build before `tokens.db`.
    OlderTokens,
}

/// Whose the directory and the server's files in it are, and who else may read them.
///
/// # Errors
/// What the system says.
pub fn oddities(directory: &Path) -> io::Result<Vec<Oddity>> {
    let found = fs::metadata(directory)?;
    let mut odd = Vec::new();
    judge(&mut odd, &directory.display().to_string(), &found);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let found = match entry.metadata() {
            Ok(found) => found,
            // A log that a command has just closed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if name == "tokens" && found.is_dir() {
            odd.push(Oddity::OlderTokens);
        } else if ["registry.db", "tokens.db", "reserve"].iter().any(|ours| name.starts_with(ours)) {
            if found.is_file() {
                judge(&mut odd, &name, &found);
            } else {
                odd.push(Oddity::NotAFile { name: name.clone() });
            }
        }
        if let Some(database) = name.strip_suffix("-wal")
            && ["registry.db", "tokens.db"].contains(&database)
            && found.len() > 0
            && !directory.join(database).exists()
        {
            odd.push(Oddity::LogAlone { name });
        }
    }
    Ok(odd)
}

/// A connection to a registry that is whole, to read it.
///
/// # Errors
/// [`NotARegistry`].
pub fn whole_registry(path: &Path) -> Result<Connection, NotARegistry> {
    let connection = to_read(path)?;
    require_registry(&connection)?;
    Ok(connection)
}

/// Sees whether every page of a token database is whole; its index is not compared with its rows, which takes minutes where there are many
/// millions.
///
/// # Errors
/// [`NotARegistry::Damaged`] and [`NotARegistry::Unavailable`].
pub fn require_whole_tokens(path: &Path) -> Result<(), NotARegistry> {
    let connection = to_read(path)?;
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if said == "ok" { Ok(()) } else { Err(NotARegistry::Damaged(said.replace('\n', "; "))) }
}

/// How many bytes a user may still write to the disk of `directory`.
///
/// # Errors
/// What the system says.
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    let disk = statvfs(directory)?;
    // What is kept for the superuser is not ours.
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn to_read(path: &Path) -> Result<Connection, NotARegistry> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|error| match error {
        StoreError::Unusable { detail, .. } => NotARegistry::Damaged(detail),
        StoreError::Refused { cause: StorageCause::Failed, detail, .. } => NotARegistry::Unavailable(detail),
        StoreError::Refused { cause, .. } => NotARegistry::Unavailable(cause.to_string()),
        error => NotARegistry::Unavailable(error.to_string()),
    })?;
    connection.execute_batch("PRAGMA query_only = ON")?;
    Ok(connection)
}

fn judge(odd: &mut Vec<Oddity>, name: &str, found: &fs::Metadata) {
    if found.uid() != geteuid().as_raw() {
        odd.push(Oddity::NotOwned { name: name.to_owned(), owner: found.uid() });
    }
    if found.mode() & OTHERS != 0 {
        odd.push(Oddity::OpenToOthers { name: name.to_owned(), mode: found.mode() & 0o777 });
    }
}

/// What a group and everybody else may do.
const OTHERS: u32 = 0o077;
