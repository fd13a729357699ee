//! Puts a backup of the registry back.
//!
//! Nobody serves from the directory meanwhile. The order is what keeps an interruption harmless. First the backup is copied into the
//! directory, brought to this build's form and read. Then the tokens go: with an older registry beside them, what a client or a realm has
//! had revoked since would be active again. At last one rename puts the copy in the place of the registry, which has another name by then.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::iter;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, ffi};

use super::backup::{copy_database, open};
use super::cause::StorageCause;
use super::data_dir::{DataDir, DirectoryLock, beside};
use super::fault::StoreError;
use super::private_copy::{PrivateCopy, sync_directory_of};
use super::registry::SqliteRegistry;
use super::registry::admin_log::continue_log;
use super::registry::contents::{Contents, NotARegistry, begins_as_a_database, require_registry};
use crate::core::admin_log::AdminLogLine;
use crate::core::time::{UnixSeconds, UtcTime};

/// A backup that can be put back, and what there is in its place.
pub struct PreparedRestore {
    data: DataDir,
    copy: PrivateCopy,
    /// What the backup has.
    pub backup: Contents,
    /// What there is now.
    pub present: Present,
    _lock: DirectoryLock,
}

/// What a data directory has where a backup is to be put.
pub enum Present {
    /// No registry.
    Nothing,
    /// A registry.
    Registry(Box<Contents>),
    /// Something that cannot be read, and why.
    Unusable(String),
}

/// What became of a restore.
pub struct Restored {
    /// The registry.
    pub path: PathBuf,
    /// Where the one is that was there before.
    pub kept: Option<PathBuf>,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is no file to restore.
    #[error("{} cannot be read: {error}", path.display())]
    NoBackup {
        /// What was named.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is a directory or something else.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// It is the registry itself.
    #[error("{} is the registry itself, not a backup of it", path.display())]
    Itself {
        /// What was named.
        path: PathBuf,
    },
    /// It is not a backup that can be put back.
    #[error("{} is not a backup that can be restored: {why}", path.display())]
    Unfit {
        /// The backup.
        path: PathBuf,
        /// Why.
        why: NotARegistry,
    },
    /// It has no realm and no client.
    #[error("{} has no realm and no client", path.display())]
    NothingInIt {
        /// The backup.
        path: PathBuf,
    },
    /// Another process has the registry open.
    #[error("another process is using {}", path.display())]
    Busy {
        /// The registry.
        path: PathBuf,
    },
    /// The system refuses a step. The registry is as it was.
    #[error("{} could not be put in its place: {error}", path.display())]
    NotPlaced {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PreparedRestore {
    /// Copies the backup in `from` into the data directory and reads it. Changes nothing that is there.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn of(data: DataDir, from: &Path) -> Result<Self, RestoreError> {
        let lock = DirectoryLock::take(data.path())?;
        let registry = data.registry_path();
        let resolved = require_backup(from, &registry)?;
        let copy = PrivateCopy::create(data.path(), UNFINISHED, Duration::ZERO)
            .map_err(|error| StoreError::of_io(data.path(), &error))?;
        let unfit = |why: NotARegistry| RestoreError::Unfit { path: from.to_owned(), why };

        // 1. The file, and its log, if somebody has copied both.
        if beside(&resolved, "-shm").exists() {
            // Somebody may have it open.
            copy_database(&resolved, copy.path()).map_err(|error| unfit(damaged(error)))?;
        } else {
            copy_file(&resolved, copy.path())?;
            let log = beside(&resolved, "-wal");
            if log.exists() {
                copy_file(&log, &beside(copy.path(), "-wal"))?;
            }
        }

        // 2. Read as it came, and then as a registry of this build.
        let as_it_came = open(copy.path(), OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|error| unfit(damaged(error)))?;
        require_registry(&as_it_came).map_err(unfit)?;
        drop(as_it_came);
        drop(SqliteRegistry::open(copy.path())?);
        let connection = open(copy.path(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        in_one_file(&connection).map_err(|error| StoreError::of_sqlite(copy.path(), &error))?;
        let backup = Contents::read(&connection).map_err(unfit)?;
        drop(connection);
        if backup.is_empty() {
            return Err(RestoreError::NothingInIt { path: from.to_owned() });
        }
        let present = Present::at(&registry);
        Ok(Self { data, copy, backup, present, _lock: lock })
    }

    /// Puts the backup in the place of what there is, and ends all tokens. The admin log goes on: it has what was changed since the backup,
    /// and `line`, which is about this.
    ///
    /// # Errors
    /// [`RestoreError`]; then the registry is as it was.
    pub fn put_back(self, line: &AdminLogLine, now: UnixSeconds) -> Result<Restored, RestoreError> {
        let Self { data, copy, present, _lock, .. } = self;
        let registry = data.registry_path();
        let not_placed = |error: io::Error| RestoreError::NotPlaced { path: registry.clone(), error };

        // 1. All of what there is in one file, which nobody uses until the end of this.
        let held = match present {
            Present::Registry(_) | Present::Unusable(_) => hold(&registry)?,
            Present::Nothing => None,
        };

        // 2. What is known of who has changed what.
        let continued = open(copy.path(), OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(|mut to| {
            continue_log(held.as_ref(), line, &mut to).map_err(|error| StoreError::of_sqlite(copy.path(), &error))
        });
        continued?;

        // 3. The tokens, the log first: beside a new file it would be taken for that one's.
        for suffix in ["-wal", "-shm", "-journal", "", "-ends"] {
            remove(&beside(&data.tokens_path(), suffix)).map_err(not_placed)?;
        }
        sync_directory_of(&registry).map_err(not_placed)?;

        // 4. What there is gets a second name. A log that could not be put into its file goes with it.
        let kept = kept_name(&registry, now);
        let is_there = fs::symlink_metadata(&registry).is_ok();
        if is_there {
            keep(&registry, &kept).map_err(not_placed)?;
        }
        for suffix in ["-wal", "-journal"] {
            match fs::rename(beside(&registry, suffix), beside(&kept, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(not_placed(error)),
                _ => {}
            }
        }
        remove(&beside(&registry, "-shm")).map_err(not_placed)?;

        // 5. One step.
        copy.place(&registry, true).map_err(not_placed)?;
        drop(held);
        Ok(Restored { path: registry, kept: is_there.then_some(kept) })
    }
}

impl Present {
    fn at(registry: &Path) -> Self {
        match fs::symlink_metadata(registry) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::Nothing,
            Err(error) => return Self::Unusable(error.to_string()),
            Ok(_) => {}
        }
        let read = open(registry, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(damaged).and_then(|connection| {
            connection.execute_batch("PRAGMA query_only = ON")?;
            require_registry(&connection)?;
            Contents::read(&connection)
        });
        match read {
            Ok(contents) => Self::Registry(Box::new(contents)),
            Err(why) => Self::Unusable(why.to_string()),
        }
    }
}

/// Reads what the backup in `from` has, where it is. Writes nothing.
///
/// # Errors
/// [`RestoreError`].
pub fn read_backup(from: &Path) -> Result<Contents, RestoreError> {
    let resolved = require_backup(from, Path::new(""))?;
    let unfit = |why: NotARegistry| RestoreError::Unfit { path: from.to_owned(), why };
    if fs::metadata(beside(&resolved, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Err(unfit(NotARegistry::Unavailable("a log is beside it (-wal), so it may be in use".to_owned())));
    }
    let connection = open_in_place(&resolved).map_err(unfit)?;
    require_registry(&connection).map_err(unfit)?;
    Contents::read(&connection).map_err(unfit)
}

/// A connection to a file that nobody writes, which makes no file beside it.
fn open_in_place(path: &Path) -> Result<Connection, NotARegistry> {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        let _infallible = write!(uri, "%{byte:02X}");
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Ok(Connection::open_with_flags(uri, flags)?)
}

/// The registry without a log, held so that no process reads or writes it. `None` where it is too damaged for that.
fn hold(registry: &Path) -> Result<Option<Connection>, RestoreError> {
    let Ok(connection) = open(registry, OpenFlags::SQLITE_OPEN_READ_WRITE) else { return Ok(None) };
    let held = in_one_file(&connection).and_then(|()| connection.execute_batch("BEGIN EXCLUSIVE"));
    match held.map_err(|error| StorageCause::of_sqlite(&error)) {
        Ok(()) => Ok(Some(connection)),
        Err(StorageCause::Busy) => Err(RestoreError::Busy { path: registry.to_owned() }),
        Err(_damaged) => Ok(None),
    }
}

/// Puts what the log has into the file, and has the file say that it has none. Only where nobody else has it open.
fn in_one_file(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    if mode == "delete" { Ok(()) } else { Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)) }
}

/// The file itself, where it may be a backup.
fn require_backup(from: &Path, registry: &Path) -> Result<PathBuf, RestoreError> {
    let no_backup = |error: io::Error| RestoreError::NoBackup { path: from.to_owned(), error };
    let resolved = fs::canonicalize(from).map_err(no_backup)?;
    if !fs::metadata(&resolved).map_err(no_backup)?.is_file() {
        return Err(RestoreError::NotAFile { path: from.to_owned() });
    }
    if resolved == registry {
        return Err(RestoreError::Itself { path: from.to_owned() });
    }
    let begins = begins_as_a_database(&mut File::open(&resolved).map_err(no_backup)?).map_err(no_backup)?;
    begins.map_err(|why| RestoreError::Unfit { path: from.to_owned(), why })?;
    Ok(resolved)
}

/// Into a file that is there already, or into a new one that nobody else can read.
fn copy_file(from: &Path, to: &Path) -> Result<(), RestoreError> {
    let mut source = File::open(from).map_err(|error| RestoreError::NoBackup { path: from.to_owned(), error })?;
    let mut options = OpenOptions::new();
    let copied = options.write(true).create(true).truncate(true).mode(0o600).open(to);
    let copied = copied.and_then(|mut file| io::copy(&mut source, &mut file));
    copied.map(drop).map_err(|error| StoreError::of_io(to, &error).into())
}

/// A second name of a file, or a copy where the file system has no second names.
fn keep(registry: &Path, kept: &Path) -> io::Result<()> {
    match fs::hard_link(registry, kept) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(kept)?;
            io::copy(&mut File::open(registry)?, &mut copy)?;
            copy.sync_all()
        }
        linked => linked,
    }
}

fn kept_name(registry: &Path, now: UnixSeconds) -> PathBuf {
    let name = beside(registry, &format!(".before-restore-{}", stamp(now)));
    let number = (2..).map(|number| beside(&name, &format!("-{number}")));
    let mut names = iter::once(name.clone()).chain(number);
    names.find(|name| fs::symlink_metadata(name).is_err()).unwrap_or(name)
}

/// A time as a part of a file's name that sorts by it.
pub fn stamp(now: UnixSeconds) -> String {
    let UtcTime { year, month, day, hour, minute, second } = now.into();
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn damaged(error: StoreError) -> NotARegistry {
    match error {
        StoreError::Unusable { detail, .. } => NotARegistry::Damaged(detail),
        error => NotARegistry::Unavailable(error.to_string()),
    }
}

/// How the name of a copy begins that is not the registry yet.
const UNFINISHED: &str = "registry.db.restoring-";
