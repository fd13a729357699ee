//! Why a store on this machine cannot do its work, from a closed list: what the log, readiness and the command line say instead of the
//! text of a library, which may carry a path.

use std::fmt;
use std::io;

use rusqlite::ErrorCode;

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

    /// What an error of SQLite means.
    pub fn of_sqlite(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::PermissionDenied) => Self::PermissionDenied,
            Some(ErrorCode::ReadOnly) => Self::ReadOnlyFileSystem,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged,
            _ => Self::Failed,
        }
    }
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
            Self::Failed => "the system refused it",
        })
    }
}

/// Linux and macOS have the same numbers.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;
