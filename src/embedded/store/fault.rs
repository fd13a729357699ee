//! What is wrong with a data directory, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::cause::StorageCause;

/// Why a data directory could not be used. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system does not let the directory or a file in it be used; what is in it is well, as far as anybody knows.
    #[error("{} cannot be used: {}; {}", path.display(), Reason(*cause, detail), cause.way_out())]
    Refused {
        /// The directory or the file.
        path: PathBuf,
        /// Why.
        cause: StorageCause,
        /// What the system or the library says.
        detail: String,
    },
    /// A file in it is not what was written.
    #[error("{} is damaged: {detail}; {}", path.display(), StorageCause::Damaged.way_out_at(path))]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// Other users of the machine can read it.
    #[error("the data directory {} is open to other users; run: chmod 700 {}", path.display(), path.display())]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
    },
    /// It is another user's. What this process made in it that user's server could not open.
    #[error(
        "{} belongs to the user with the id {owner}, and this process runs as {user}; run grantwell as its owner (sudo -u \
         '#{owner}' grantwell ...), or choose another directory with --store file:DIR",
        path.display()
    )]
    NotOwned {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// A file in a directory of the user of this process is another user's. That user cannot use the directory.
    #[error(
        "{} belongs to the user with the id {owner}, but its directory to {user}, the user of this process; run: sudo chown {user} \
         '{}'",
        path.display(), path.display()
    )]
    FileNotOwned {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// What is to be the data directory is something else, or below something else.
    #[error("{} is not a directory; name one with --store file:DIR", path.display())]
    NoDirectory {
        /// What was named.
        path: PathBuf,
    },
    /// There is the log of a database, and no database.
    #[error(
        "{0} was moved away or removed, and {0}-wal is its log; put it back, or stop the server on that directory and remove {0}-wal and \
         {0}-shm to start over",
        path.display()
    )]
    MovedAway {
        /// The file that is missing.
        path: PathBuf,
    },
    /// A file of it is a symbolic link, or no file at all: what is written there would be somewhere else.
    #[error("{} is not a regular file, and a symbolic link in a data directory is not followed; put the file itself there", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// Another server owns the tokens in it.
    #[error("another server is running on {}; stop it, or choose another directory with --store file:DIR", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A later version has written it.
    #[error("{} was written by a later version of grantwell; use that version", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// An earlier build has written it, with another engine.
    #[error(
        "{} was written by an earlier version of grantwell; remove it, which ends the tokens in it. If stateless JWTs were \
         revoked, also revoke the keys that signed them (grantwell key revoke): only that directory has the revocations",
        path.display()
    )]
    Older {
        /// The directory.
        path: PathBuf,
    },
}

impl StoreError {
    /// What SQLite says of the database at `path`.
    pub(crate) fn of_sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, detail) = (path.to_owned(), error.to_string());
        match StorageCause::of_sqlite_at(&path, error) {
            StorageCause::Damaged => Self::Unusable { path, detail },
            cause => Self::Refused { path, cause, detail },
        }
    }

    /// What the system says of the file or the directory at `path`.
    pub(crate) fn of_io(path: &Path, error: &io::Error) -> Self {
        Self::Refused { path: path.to_owned(), cause: StorageCause::of_io(error), detail: error.to_string() }
    }
}

/// The cause, or what there is in its place where it has no name.
struct Reason<'a>(StorageCause, &'a str);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(StorageCause::Failed, detail) => formatter.write_str(detail),
            Self(cause, _) => cause.fmt(formatter),
        }
    }
}
