//! Whether a token database is the one that the last server of its directory has left, or an older one that somebody has put back: what
//! has been revoked since that was made would be active again.
//!
//! A copy is another file: it has another inode, or was made at another time. One that was written into the same file has seen
//! fewer ends of tokens than a small file beside it says there were.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use super::data_dir::create_private_file;
use super::fault::StoreError;

/// The file beside a database that says how many tokens have ended in it by somebody's request.
pub(super) struct EndsSeen {
    file: File,
    path: PathBuf,
    /// `None`: it says nothing.
    highest: Mutex<Option<i64>>,
}

/// What tells a file from its copies, as far as its file system says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileMark {
    pub(super) inode: i64,
    /// Nanoseconds since 1970; 0 where that is not known.
    pub(super) made_at: i64,
}

impl EndsSeen {
    /// Opens the file beside the database at `database`, creating it where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn open(database: &Path) -> Result<Self, StoreError> {
        let mut path = database.as_os_str().to_owned();
        path.push("-ends");
        let path = PathBuf::from(path);
        create_private_file(&path)?;
        let of_io = |error: io::Error| StoreError::of_io(&path, &error);
        let no_link = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let mut file = OpenOptions::new().read(true).write(true).custom_flags(no_link).open(&path).map_err(of_io)?;
        let mut text = String::new();
        let read = (&mut file).take(LENGTH + 1).read_to_string(&mut text);
        let highest = match read {
            Ok(_) => text.trim_end().parse().ok().filter(|ends| *ends >= 0),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Err(error) => return Err(of_io(error)),
        };
        Ok(Self { file, highest: Mutex::new(highest), path })
    }

    /// What it says; `None` where it is new, or says nothing that a server has written.
    pub(super) fn highest(&self) -> Option<i64> {
        *self.highest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has it say `ends`, unless it says more. The disk is not waited for: what it loses was seen by nobody who comes later.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn raise_to(&self, ends: i64) -> io::Result<()> {
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        if highest.is_none_or(|highest| highest < ends) {
            self.file.write_all_at(format!("{ends:019}\n").as_bytes(), 0)?;
            *highest = Some(ends);
        }
        Ok(())
    }

    /// Begins anew with `ends`, for a new database.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn begin(&self, ends: i64) -> Result<(), StoreError> {
        self.file.set_len(0).map_err(|error| StoreError::of_io(&self.path, &error))?;
        *self.highest.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.raise_to(ends).map_err(|error| StoreError::of_io(&self.path, &error))
    }
}

impl FileMark {
    /// Of the file at `path`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let found = fs::symlink_metadata(path).map_err(|error| StoreError::of_io(path, &error))?;
        let made_at = found.created().ok().and_then(|made_at| made_at.duration_since(UNIX_EPOCH).ok());
        let made_at = made_at.and_then(|made_at| i64::try_from(made_at.as_nanos()).ok()).unwrap_or_default();
        Ok(Self { inode: found.ino().cast_signed(), made_at })
    }
}

/// Digits of the largest number, and the end of the line.
const LENGTH: u64 = 20;
