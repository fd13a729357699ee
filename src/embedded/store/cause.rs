//! Why a store on this machine cannot do its work, from a closed list: what the log, readiness and the command line say instead of the
//! text of a library, which may carry a path.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::ErrorCode;
use rustix::fs::{Access, access};

/// Why a store cannot do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageCause {
    /// No space is left on the device, or the quota of the user is used up.
    DiskFull,
    /// The process may not read or write the file or its directory.
    PermissionDenied,
    /// The file system is mounted read-only.
    ReadOnlyFileSystem,
    /// The process or the machine has no file descriptor left.
    NoFileDescriptors,
    /// Another process has held the file for too long.
    Busy,
    /// The disk has not answered in the time that whoever asks can wait.
    NoAnswer,
    /// What is stored is not what was written.
    Damaged,
    /// The file was moved away or removed while it was in use.
    Missing,
    /// The file has been moved, removed or replaced under the server that has it open.
    Replaced,
    /// Anything else that the system said.
    Failed,
}

/// A store that can say whether it answers and can write.
pub trait StoreHealth: Send + Sync {
    /// Reads and writes a little. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// Why it cannot.
    fn check(&self) -> Result<(), StorageCause>;
}

impl StorageCause {
    /// The name in the log and in the answer of readiness.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::PermissionDenied => "permission_denied",
            Self::ReadOnlyFileSystem => "read_only_file_system",
            Self::NoFileDescriptors => "no_file_descriptors",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Replaced => "replaced",
            Self::Failed => "failed",
        }
    }

    /// What an error of the system means.
    pub fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnlyFileSystem,
            io::ErrorKind::ResourceBusy => Self::Busy,
            io::ErrorKind::InvalidData => Self::Damaged,
            _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => Self::NoFileDescriptors,
            _ => Self::Failed,
        }
    }

    /// What an error of SQLite means, as far as its code says that.
    pub fn of_sqlite(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::PermissionDenied) => Self::PermissionDenied,
            Some(ErrorCode::ReadOnly) => Self::ReadOnlyFileSystem,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                Self::Busy
            }
            // Without a code it is not SQLite that says it, but what is in a row.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => Self::Damaged,
            Some(_) => Self::Failed,
        }
    }

    /// What an error of SQLite means on the database at `path`. Where a file cannot be opened, written or locked SQLite says no
    /// more than that, so the reason is looked for: this asks the system, and writes a little beside the database.
    pub fn of_sqlite_at(path: &Path, error: &rusqlite::Error) -> Self {
        let said = Self::of_sqlite(error);
        let says_little = matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::CannotOpen | ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::PermissionDenied
            )
        );
        if says_little { found_by_trying(path).unwrap_or(said) } else { said }
    }

    /// What to do, for a person.
    pub fn way_out(self) -> &'static str {
        match self {
            Self::DiskFull => "free some space and try again",
            Self::PermissionDenied => {
                "run grantwell as the owner of the directory, or choose another with --store file:DIR"
            }
            Self::ReadOnlyFileSystem => "mount it for writing, or choose another directory with --store file:DIR",
            Self::NoFileDescriptors => "raise the limit (ulimit -n), or end what holds so many, and try again",
            Self::Busy => "try again when that has ended",
            Self::NoAnswer => "see what keeps the disk busy, and try again",
            Self::Replaced => "put the file back that the server has open, or restart the server on what is there now",
            Self::Damaged => "restore it from a backup, or choose another directory with --store file:DIR",
            Self::Missing => "put it back: the server uses it again by itself",
            Self::Failed => {
                "look for the reason in the system's log, or choose another directory with --store file:DIR"
            }
        }
    }

    /// What to do about the file at `path`, for a person. A token database is not restored: a backup of it does not know what has been
    /// revoked since.
    pub fn way_out_at(self, path: &Path) -> &'static str {
        let is_of_tokens = path.file_name().is_some_and(|name| name == "tokens.db");
        match self {
            Self::Damaged if is_of_tokens => {
                "stop the server, move away tokens.db and the files beside it whose names begin with tokens.db, and start it: it \
                 makes a new one, and every token ends"
            }
            cause => cause.way_out(),
        }
    }

    /// The cause whose words these are.
    pub fn of_words(words: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.to_string() == words)
    }

    /// Every cause.
    pub const ALL: [Self; 10] = [
        Self::DiskFull,
        Self::PermissionDenied,
        Self::ReadOnlyFileSystem,
        Self::NoFileDescriptors,
        Self::Busy,
        Self::NoAnswer,
        Self::Damaged,
        Self::Missing,
        Self::Replaced,
        Self::Failed,
    ];
}

/// Names each probe apart from those of other threads.
static TRIES: AtomicU64 = AtomicU64::new(0);

/// No file of a database is opened for this: closing it would end the locks that this process has on it (POSIX).
fn found_by_trying(database: &Path) -> Option<StorageCause> {
    let refused = |error: io::Error| Some(StorageCause::of_io(&error)).filter(|cause| *cause != StorageCause::Failed);

    // 1. What is there may be read and written.
    let files = ["", "-wal", "-shm", "-journal"].map(|suffix| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        name
    });
    for file in files {
        match access(Path::new(&file), Access::READ_OK | Access::WRITE_OK).map_err(io::Error::from) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return refused(error),
            _ => {}
        }
    }

    // 2. There are descriptors for what SQLite opens: those that it had are free again by now.
    let directory = database.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = (0..DESCRIPTORS).map(|_| File::open(directory)).collect::<io::Result<Vec<_>>>() {
        return refused(error);
    }

    // 3. There may be a new file, and room for it.
    let number = TRIES.fetch_add(1, Ordering::Relaxed);
    let probe = database.with_file_name(format!(".grantwell-probe-{}-{number}", process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&probe)
        .and_then(|mut file| file.write_all(&vec![1; PROBE_BYTES]).and_then(|()| file.sync_all()));
    let _not_there = fs::remove_file(&probe);
    written.err().and_then(refused)
}

/// What a person reads.
impl fmt::Display for StorageCause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::DiskFull => "no space is left on the disk",
            Self::PermissionDenied => "permission denied",
            Self::ReadOnlyFileSystem => "the file system is read-only",
            Self::NoFileDescriptors => "no file descriptor is left",
            Self::Busy => "another process holds it",
            Self::NoAnswer => "it does not answer in time",
            Self::Damaged => "it is damaged",
            Self::Missing => "the file was moved away or removed",
            Self::Replaced => "its file has been moved, removed or replaced while the server was running",
            Self::Failed => "the system refused it",
        })
    }
}

/// Linux and macOS have the same numbers.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;
/// The file, its log and the log's index, for each connection.
const DESCRIPTORS: usize = 8;
/// As much as SQLite wants at once, the index of its write-ahead log, and more.
const PROBE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_found_by_its_words_and_has_a_name_and_a_way_out_of_its_own() {
        for cause in StorageCause::ALL {
            assert_eq!(StorageCause::of_words(&cause.to_string()), Some(cause));
            let others = StorageCause::ALL.into_iter().filter(|other| *other != cause);
            assert!(others.clone().all(|other| other.as_str() != cause.as_str()), "{cause:?}");
            assert!(others.clone().all(|other| other.way_out() != cause.way_out()), "{cause:?}");
        }
        assert_eq!(StorageCause::of_words("busy"), None);
    }

    #[test]
    fn an_error_of_the_system_is_named_by_its_number() {
        for (number, cause) in [
            (2, StorageCause::Failed),
            (5, StorageCause::Failed),
            (13, StorageCause::PermissionDenied),
            (ENFILE, StorageCause::NoFileDescriptors),
            (EMFILE, StorageCause::NoFileDescriptors),
            (28, StorageCause::DiskFull),
            (30, StorageCause::ReadOnlyFileSystem),
        ] {
            assert_eq!(StorageCause::of_io(&io::Error::from_raw_os_error(number)), cause, "{number}");
        }
    }
}
