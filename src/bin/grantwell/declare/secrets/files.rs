//! Secrets in files: `DIR/REALM/CLIENT_ID`, each of them its owner's alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use grantwell::core::client::id::ClientId;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::realm::RealmName;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// A directory of secrets.
pub(crate) struct Files {
    directory: PathBuf,
    /// Held from the first change in the directory on: the file of a secret that is nobody's yet has the same name for every run.
    lock: OnceLock<File>,
    /// The files that are written and have no name yet.
    kept: Mutex<BTreeSet<PathBuf>>,
    /// The files that have got their names.
    named: Mutex<BTreeSet<PathBuf>>,
    /// What became of secrets that have no file of their name, though their clients are registered.
    lost: Mutex<Vec<String>>,
}

impl Files {
    pub(super) fn in_directory(directory: PathBuf) -> Self {
        Self {
            directory,
            lock: OnceLock::new(),
            kept: Mutex::default(),
            named: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file of a client's secret. An id can begin with a dot and be `..`; no file's name does.
    pub(super) fn path(&self, realm: &RealmName, client_id: &ClientId) -> PathBuf {
        self.of_realm(realm).join(file_name(client_id))
    }

    /// Whether each of these has a file to itself. Changes nothing.
    pub(super) fn check(&self, new: &[(&RealmName, &ClientId)]) -> Result<(), Failure> {
        let refused = |why: String| Failure::new(format!("nothing was changed, because {why}"));
        require_safe(&self.directory, &fs::metadata(&self.directory)).map_err(refused)?;
        // Some file systems take names for the same that differ in upper and lower case.
        let mut taken: BTreeMap<PathBuf, String> = BTreeMap::new();
        let realms: BTreeMap<&str, &RealmName> = new.iter().map(|(realm, _)| (realm.as_str(), *realm)).collect();
        for realm in realms.into_values() {
            let directory = self.of_realm(realm);
            // Not through a link: it may lead anywhere.
            require_safe(&directory, &fs::symlink_metadata(&directory)).map_err(refused)?;
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                taken.insert(in_lower_case(&path), format!("{} exists already", path.display()));
            }
        }
        for (realm, client_id) in new {
            let path = self.path(realm, client_id);
            if let Some(by) = taken.get(&in_lower_case(&path)) {
                return Err(refused(format!(
                    "{by}, and the secret of client '{client_id}' of realm '{realm}' must not be written over it; move that file away, \
                     or name another directory with --secrets-dir"
                )));
            }
            let by = format!(
                "client '{client_id}' of realm '{realm}' has a file of the same name but for upper and lower case"
            );
            taken.insert(in_lower_case(&path), by);
        }
        Ok(())
    }

    /// Has the directory to itself until the end of this process.
    pub(super) fn lock(&self) -> Result<(), Failure> {
        if self.lock.get().is_some() {
            return Ok(());
        }
        let path = self.directory.join(LOCK);
        let refused = |why: String| Failure::new(format!("nothing was changed, because {why}"));
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|error| refused(format!("{} could not be opened: {error}", path.display())))?;
        match file.try_lock() {
            Ok(()) => {
                self.lock.get_or_init(|| file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => Err(refused(format!(
                "another `grantwell apply` is writing secrets to {}; wait until it has ended, and run this again",
                self.directory.display()
            ))),
            Err(TryLockError::Error(error)) => Err(refused(format!("{} could not be locked: {error}", path.display()))),
        }
    }

    /// Makes the directories, and sees that files can be made in them. What was checked before may have changed while another run ended.
    pub(super) fn open(&self, new: &[(&RealmName, &ClientId)]) -> Result<(), Failure> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.map_err(|error| {
            Failure::new(format!(
                "nothing was changed, because {} could not be made: {error}",
                self.directory.display()
            ))
        })?;
        self.lock()?;
        self.check(new)?;
        for (realm, _) in new {
            let directory = self.of_realm(realm);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            let probe = directory.join(PROBE);
            // An interrupted run may have left one.
            let tried = made.and_then(|()| remove(&probe)).and_then(|()| write_new(&probe, b""));
            let tried = tried.and_then(|()| fs::remove_file(&probe));
            tried.map_err(|error| {
                Failure::new(format!(
                    "nothing was changed, because no file can be made in {}: {error}",
                    directory.display()
                ))
            })?;
        }
        Ok(())
    }

    /// Writes the secret of a client that is about to be registered. What an earlier run has left is the secret of nobody.
    pub(super) fn keep(&self, realm: &RealmName, client_id: &ClientId, secret: &ClientSecret) -> io::Result<()> {
        let path = self.unnamed(realm, client_id);
        remove(&path)?;
        let written = write_new(&path, secret.expose_client_secret().as_bytes());
        match written {
            Ok(()) => drop(self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(path)),
            // A part of a secret is of no use to anybody.
            Err(_) => self.discard(realm, client_id),
        }
        written
    }

    /// Gives the file its name, now that the client is registered. Whether there was one.
    ///
    /// # Errors
    /// Where the secret is, and why.
    pub(super) fn finish(&self, realm: &RealmName, client_id: &ClientId) -> Result<bool, String> {
        let (unnamed, path) = (self.unnamed(realm, client_id), self.path(realm, client_id));
        if !unnamed.exists() {
            return Ok(false);
        }
        let renamed = rename_to_new(&unnamed, &path);
        if renamed.is_ok() {
            self.named.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        }
        renamed.map(|()| true).map_err(|error| {
            format!(
                "the secret of client '{client_id}' of realm '{realm}' stays in {}, because {} could not be made: {error}",
                unnamed.display(),
                path.display()
            )
        })
    }

    /// The client is registered, and if it is with a secret that was written, its file gets its name.
    pub(super) fn registered(&self, realm: &RealmName, client_id: &ClientId) {
        let unnamed = self.unnamed(realm, client_id);
        if !self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&unnamed) {
            return;
        }
        let why = match self.finish(realm, client_id) {
            Ok(true) => return,
            Ok(false) => format!(
                "the secret of client '{client_id}' of realm '{realm}' is gone from {}; make another with `grantwell client rotate-secret`",
                unnamed.display()
            ),
            Err(why) => why,
        };
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).push(why);
    }

    /// Whether a client's file has got its name.
    pub(super) fn is_named(&self, path: &Path) -> bool {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    }

    /// What became of secrets that have no file of their name.
    pub(super) fn lost(&self) -> Vec<String> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes what was written of a client that is not registered.
    pub(super) fn discard(&self, realm: &RealmName, client_id: &ClientId) {
        let _none_either_way = fs::remove_file(self.unnamed(realm, client_id));
    }

    /// What was written of a client whose registration nobody has seen the end of.
    pub(super) fn unfinished(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<ClientSecret>, Failure> {
        let path = self.unnamed(realm, client_id);
        let failed = |error: io::Error| Failure::new(format!("{} could not be read: {error}", path.display()));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(ClientSecret::MAX_LENGTH + 1));
        let most = u64::try_from(ClientSecret::MAX_LENGTH).unwrap_or(u64::MAX);
        file.take(most).read_to_end(&mut bytes).map_err(failed)?;
        let text = std::str::from_utf8(&bytes).ok();
        Ok(text.and_then(|text| ClientSecret::given(text, true).ok()))
    }

    fn of_realm(&self, realm: &RealmName) -> PathBuf {
        self.directory.join(realm.as_str())
    }

    /// Where a secret is before it is a client's.
    fn unnamed(&self, realm: &RealmName, client_id: &ClientId) -> PathBuf {
        self.of_realm(realm).join(format!(".{}.new", file_name(client_id)))
    }
}

/// Of an id whose file would be hidden, or be the directory above, the first dot is written as a URL would. No id has a percent sign.
fn file_name(client_id: &ClientId) -> String {
    match client_id.as_str().strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => client_id.to_string(),
    }
}

/// Refuses what others could put files into, or take them out of.
fn require_safe(directory: &Path, found: &io::Result<fs::Metadata>) -> Result<(), String> {
    let path = directory.display();
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{path} cannot be looked at: {error}")),
        Ok(found) if !found.is_dir() => Err(format!("{path} is not a directory; name another one with --secrets-dir")),
        Ok(found) if found.permissions().mode() & WRITABLE_BY_OTHERS != 0 => {
            Err(format!("others can write to {path}; name a directory with --secrets-dir that is yours alone"))
        }
        Ok(_) => Ok(()),
    }
}

fn in_lower_case(path: &Path) -> PathBuf {
    path.to_string_lossy().to_lowercase().into()
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Never over another file.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from)?,
        // An interrupted run has come as far as giving it the name.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_same(from, to) => fs::remove_file(from)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // Not every file system has links.
        Err(_) if to.symlink_metadata().is_ok() => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to)?,
    }
    let directory = to.parent().unwrap_or(to);
    File::open(directory)?.sync_all()
}

/// Whether these are two names of one file.
fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::symlink_metadata(one), fs::symlink_metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

const LOCK: &str = ".grantwell-apply.lock";
const PROBE: &str = ".grantwell-tries-to-write";
/// The bits of group and others.
const WRITABLE_BY_OTHERS: u32 = 0o022;
