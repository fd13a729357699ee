//! The data directory of a local server: `registry.db` and `tokens.db`, of the user who runs it and readable by nobody else.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::geteuid;

use super::fault::StoreError;

/// A data directory that exists, belongs to the user of this process, and that nobody else can read.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// That no other process serves from a directory, or puts another registry there, for as long as this is kept.
#[derive(Debug)]
pub struct DirectoryLock(#[expect(dead_code, reason = "the lock is there while the file is open")] File);

impl DirectoryLock {
    /// Takes it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process has it; [`StoreError::Refused`].
    pub fn take(directory: &Path) -> Result<Self, StoreError> {
        let of_io = |error| StoreError::of_io(directory, &error);
        let lock = File::open(directory).map_err(of_io)?;
        // Whoever only looks whether somebody has it holds it for a moment.
        for attempt in 0.. {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path: directory.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(of_io(error)),
            }
        }
        Ok(Self(lock))
    }

    /// Whether another process has it, which is a server as a rule.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub fn is_taken(directory: &Path) -> Result<bool, StoreError> {
        let of_io = |error| StoreError::of_io(directory, &error);
        match File::open(directory).map_err(of_io)?.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(of_io(error)),
        }
    }
}

impl DataDir {
    /// Opens the directory, creating it (mode 0700) where it does not exist. It may be named by a symbolic link; its files may be
    /// none. What others could read of them they can no more.
    ///
    /// # Errors
    /// [`StoreError::OpenToOthers`]: it holds digests of secrets, signing keys and who may do what. [`StoreError::NoDirectory`],
    /// [`StoreError::NotOwned`], [`StoreError::FileNotOwned`], [`StoreError::NoFile`], [`StoreError::Refused`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                StoreError::NoDirectory { path: path.to_owned() }
            }
            _ => StoreError::of_io(path, &error),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        Self::of_directory(path, &fs::metadata(path).map_err(failed)?)
    }

    /// The directory as [`DataDir::open`] opens it; `None` where there is none.
    ///
    /// # Errors
    /// As [`DataDir::open`]: a directory that may not be looked at is not one that does not exist.
    pub fn find(path: &Path) -> Result<Option<Self>, StoreError> {
        match fs::metadata(path) {
            Ok(directory) => Self::of_directory(path, &directory).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                Err(StoreError::NoDirectory { path: path.to_owned() })
            }
            Err(error) => Err(StoreError::of_io(path, &error)),
        }
    }

    fn of_directory(path: &Path, directory: &Metadata) -> Result<Self, StoreError> {
        let failed = |error| StoreError::of_io(path, &error);
        if !directory.is_dir() {
            return Err(StoreError::NoDirectory { path: path.to_owned() });
        }
        let (owner, user) = (directory.uid(), geteuid().as_raw());
        if owner != user {
            return Err(StoreError::NotOwned { path: path.to_owned(), owner, user });
        }
        if directory.mode() & OTHERS != 0 {
            return Err(StoreError::OpenToOthers { path: path.to_owned() });
        }
        // Resolved once: from here on no part of a path is a link.
        let resolved = fs::canonicalize(path).map_err(failed)?;
        close_to_others(&resolved, false)?;
        Ok(Self(resolved))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where realms, clients, digests of secrets and signing keys are.
    pub fn registry_path(&self) -> PathBuf {
        self.0.join("registry.db")
    }

    /// Whether there is a registry.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where that cannot be seen, [`StoreError::MovedAway`].
    pub fn has_registry(&self) -> Result<bool, StoreError> {
        let path = self.registry_path();
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => require_not_moved_away(&path).map(|()| false),
            Err(error) => Err(StoreError::of_io(&path, &error)),
        }
    }

    /// Takes some space that [`DataDir::give_up_reserve`] gives back: on a full disk no database can be opened, not even to be read,
    /// because the index of its log is a file.
    ///
    /// # Errors
    /// [`StoreError::Refused`].
    pub fn keep_reserve(&self) -> Result<(), StoreError> {
        let path = self.0.join(RESERVE);
        if fs::symlink_metadata(&path).is_ok_and(|found| found.len() == RESERVE_BYTES) {
            return Ok(());
        }
        self.give_up_reserve();
        let kept = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|file| io::copy(&mut io::repeat(1).take(RESERVE_BYTES), &mut &file));
        kept.map(drop).map_err(|error| StoreError::of_io(&path, &error))
    }

    /// Gives back what [`DataDir::keep_reserve`] has taken; whether there was something.
    pub fn give_up_reserve(&self) -> bool {
        fs::remove_file(self.0.join(RESERVE)).is_ok()
    }

    /// Where issued tokens are.
    pub fn tokens_path(&self) -> PathBuf {
        self.0.join("tokens.db")
    }
}

/// Sees to it that where there is no file at `path` there is no log of one either.
///
/// # Errors
/// [`StoreError::MovedAway`], [`StoreError::Refused`].
pub(super) fn require_not_moved_away(path: &Path) -> Result<(), StoreError> {
    let is_there = |path: &Path| match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::of_io(path, &error)),
    };
    // The file is looked at last: another process that makes both makes it first.
    if is_there(&beside(path, LOG))? && !is_there(path)? {
        return Err(StoreError::MovedAway { path: path.to_owned() });
    }
    Ok(())
}

/// One of the files that SQLite has beside a database.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Sees to it that there is a file at `path`, empty where there was none, which belongs to the user of this process and which
/// nobody else can read. Never follows a symbolic link. One that exists is not opened: SQLite's locks on it would end with the
/// closing (POSIX), those of other connections of this process too.
///
/// # Errors
/// [`StoreError::FileNotOwned`], [`StoreError::NoFile`], [`StoreError::Refused`].
pub(super) fn create_private_file(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path).map_err(|error| StoreError::of_io(path, &error))?;
            if !found.is_file() {
                return Err(StoreError::NoFile { path: path.to_owned() });
            }
            require_owned(path, &found)?;
            restrict(path, &found, 0o600)
        }
        Err(error) => Err(StoreError::of_io(path, &error)),
    }
}

/// What is in a data directory, and below what is ours in it. Another process may be at work there: what is gone meanwhile is no
/// fault.
fn close_to_others(directory: &Path, is_ours: bool) -> Result<(), StoreError> {
    let failed = |error| StoreError::of_io(directory, &error);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let found = match entry.metadata() {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::of_io(&path, &error)),
        };
        let is_ours = is_ours || OURS.iter().any(|ours| entry.file_name().as_encoded_bytes().starts_with(ours));
        if is_ours {
            require_owned(&path, &found)?;
            if found.is_dir() {
                restrict(&path, &found, 0o700)?;
                close_to_others(&path, true)?;
            } else if found.is_file() {
                restrict(&path, &found, 0o600)?;
            } else {
                return Err(StoreError::NoFile { path });
            }
        } else if found.is_file() && found.uid() == geteuid().as_raw() {
            // An operator's copy, perhaps: it holds the same.
            restrict(&path, &found, 0o600)?;
        }
    }
    Ok(())
}

/// Of a file in a directory that is ours.
fn require_owned(path: &Path, found: &Metadata) -> Result<(), StoreError> {
    let (owner, user) = (found.uid(), geteuid().as_raw());
    if owner == user { Ok(()) } else { Err(StoreError::FileNotOwned { path: path.to_owned(), owner, user }) }
}

/// Takes away what others may do with it, if they may do anything.
fn restrict(path: &Path, found: &Metadata, mode: u32) -> Result<(), StoreError> {
    if found.mode() & OTHERS == 0 {
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::of_io(path, &error)),
        _ => Ok(()),
    }
}

/// How often a lock is tried to be taken again, and after how long.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);
const RESERVE: &str = "reserve";
/// An index of 32 KiB for each of two databases, and what is written to see whether a disk is full.
const RESERVE_BYTES: u64 = 192 * 1024;
/// The end of the name of a write-ahead log.
pub(super) const LOG: &str = "-wal";
/// What a group and everybody else may do.
const OTHERS: u32 = 0o077;
/// How the names of our files begin.
const OURS: [&[u8]; 2] = [b"registry.db", b"tokens"];
