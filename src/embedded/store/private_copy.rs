//! A file that is made beside the place where it belongs, that nobody else can read, and that takes its place at once or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::data_dir::beside;

/// Such a file. Dropped before it took its place, it is removed.
pub(super) struct PrivateCopy {
    path: PathBuf,
    is_placed: bool,
}

impl PrivateCopy {
    /// A new, empty file in `directory`, whose name begins with `prefix`. What earlier processes have left there that were killed is
    /// removed once it is as old as `leftover_after`.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn create(directory: &Path, prefix: &str, leftover_after: Duration) -> io::Result<Self> {
        remove_leftovers(directory, prefix, leftover_after);
        // In containers every process may have the same number.
        for number in 0_u32.. {
            let path = directory.join(format!("{prefix}{}-{number}", process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(_new) => return Ok(Self { path, is_placed: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the name `target` in the same directory, once all of it is on the disk; only one that nobody has, unless `replaces`.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::AlreadyExists`] where somebody has the name. Then nothing has it that had not before.
    pub(super) fn place(mut self, target: &Path, replaces: bool) -> io::Result<()> {
        File::open(&self.path)?.sync_all()?;
        if replaces {
            fs::rename(&self.path, target)?;
        } else {
            rename_anew(&self.path, target)?;
        }
        self.is_placed = true;
        sync_directory_of(target)
    }
}

impl Drop for PrivateCopy {
    fn drop(&mut self) {
        let files = if self.is_placed { &FILES[1..] } else { &FILES[..] };
        for suffix in files {
            // There is nobody to tell, and the next one removes it.
            let _ = fs::remove_file(beside(&self.path, suffix));
        }
    }
}

/// Has the disk confirm which names there are in the directory of `path`.
///
/// # Errors
/// What the system says.
pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Not every file system can rename to a name that nobody has; most others can give a file a second name.
fn rename_anew(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        Err(error) => Err(error.into()),
    }
}

fn remove_leftovers(directory: &Path, prefix: &str, leftover_after: Duration) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let is_of_old = |found: &fs::Metadata| {
            let age = found.modified().ok().and_then(|modified| modified.elapsed().ok());
            found.uid() == geteuid().as_raw() && age.is_some_and(|age| age >= leftover_after)
        };
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes())
            && entry.metadata().is_ok_and(|found| found.is_file() && is_of_old(&found))
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// What SQLite may have beside a database, the database first.
const FILES: [&str; 4] = ["", "-wal", "-shm", "-journal"];
