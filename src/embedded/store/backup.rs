//! An online copy of the registry: whole, of one moment, while a server and commands go on with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::data_dir::DataDir;
use super::fault::StoreError;
use super::private_copy::PrivateCopy;
use super::registry::contents::{Contents, NotARegistry, require_registry};

/// A copy of a registry as it was read after it had been written.
pub struct WrittenBackup {
    /// Where it is.
    pub path: PathBuf,
    /// How large it is.
    pub bytes: u64,
    /// What it has.
    pub contents: Contents,
}

/// Why no backup was made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is a file of this name already.
    #[error("{} exists and is left as it is", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The copy would be in the data directory, and lost with it.
    #[error("{} is in the data directory itself, where a backup is lost with the original", path.display())]
    InDataDirectory {
        /// The file.
        path: PathBuf,
    },
    /// What is to be replaced is not a file.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What there is.
        path: PathBuf,
    },
    /// The copy could not be written.
    #[error("{} could not be written: {error}", path.display())]
    NotWritten {
        /// The copy.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The copy is not one that could be restored, because its original is not.
    #[error("the registry could not be backed up, because {0}")]
    NotWhole(NotARegistry),
    /// The registry could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Copies the registry of a data directory to the file `to`, which nobody else can read, and which is not there before it has been read and
/// found whole.
///
/// # Errors
/// [`BackupError`]; then there is no copy, and what was at `to` is as it was.
pub fn back_up(data: &DataDir, to: &Path, replaces: bool) -> Result<WrittenBackup, BackupError> {
    // 1. Where it goes.
    let not_written = |error: io::Error| BackupError::NotWritten { path: to.to_owned(), error };
    let name = to.file_name().ok_or_else(|| BackupError::NotAFile { path: to.to_owned() })?;
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = fs::canonicalize(directory).map_err(not_written)?;
    let target = directory.join(name);
    if directory.starts_with(data.path()) {
        return Err(BackupError::InDataDirectory { path: target });
    }
    match fs::symlink_metadata(&target) {
        Ok(_) if !replaces => return Err(BackupError::Exists { path: to.to_owned() }),
        Ok(found) if !found.is_file() => return Err(BackupError::NotAFile { path: to.to_owned() }),
        _ => {}
    }

    // 2. The copy, under a name of its own.
    let copy = PrivateCopy::create(&directory, UNFINISHED, LEFTOVER_AFTER).map_err(not_written)?;
    copy_database(&data.registry_path(), copy.path())?;

    // 3. What was written is read, from the file alone.
    let written = open(copy.path(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    require_registry(&written).map_err(BackupError::NotWhole)?;
    let contents = Contents::read(&written).map_err(BackupError::NotWhole)?;
    drop(written);

    // 4. Now it may be found.
    let bytes = fs::metadata(copy.path()).map_err(not_written)?.len();
    copy.place(&target, replaces).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists { path: to.to_owned() },
        _ => not_written(error),
    })?;
    Ok(WrittenBackup { path: target, bytes, contents })
}

/// Copies the database at `from` as it is at one moment into the empty file at `to`, which is one file afterwards.
pub(super) fn copy_database(from: &Path, to: &Path) -> Result<(), StoreError> {
    let (of_source, of_copy) =
        (|error| StoreError::of_sqlite(from, &error), |error: rusqlite::Error| StoreError::of_sqlite(to, &error));
    let source = open(from, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    source.execute_batch("PRAGMA query_only = ON").map_err(of_source)?;
    let mut copy = open(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let begun = Instant::now();
    // All of it in one step: what is written meanwhile would begin it anew.
    let backup = Backup::new(&source, &mut copy).map_err(of_copy)?;
    loop {
        let busy = match backup.step(-1) {
            Ok(StepResult::Done) => break,
            Ok(_) => ffi::SQLITE_BUSY,
            // Which of the two it was SQLite does not say.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => return Err(of_copy(error)),
            Err(error) => return Err(of_source(error)),
        };
        if begun.elapsed() > PATIENCE {
            return Err(of_source(rusqlite::Error::SqliteFailure(ffi::Error::new(busy), None)));
        }
        thread::sleep(PAUSE);
    }
    drop(backup);
    // The copy says of itself that it has a log beside it, as its original has.
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_row| Ok(())).map_err(of_copy)
}

/// A connection to a file that is there, and that is not reached through a link.
pub(super) fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(PATIENCE)?;
        connection.execute_batch("PRAGMA temp_store = MEMORY")?;
        Ok(connection)
    });
    opened.map_err(|error| StoreError::of_sqlite(path, &error))
}

/// How the name of a copy begins that has not been found whole yet.
const UNFINISHED: &str = ".grantwell-backup-";
/// No copy takes as long as a day, and one that another process is writing must not be taken for what a killed one has left.
const LEFTOVER_AFTER: Duration = Duration::from_hours(24);
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
