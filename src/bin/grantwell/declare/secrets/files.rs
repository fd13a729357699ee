//! Secrets in files: `DIR/REALM/CLIENT_ID`, each of them its owner's alone.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use grantwell::core::client::id::ClientId;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::realm::RealmName;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// A directory of secrets.
pub(crate) struct Files {
    directory: PathBuf,
}

impl Files {
    pub(super) fn in_directory(directory: PathBuf) -> Self {
        Self { directory }
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

    /// Makes the directories, and sees that files can be made in them.
    pub(super) fn open(&self, new: &[(&RealmName, &ClientId)]) -> Result<(), Failure> {
        for (realm, _) in new {
            let directory = self.of_realm(realm);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            let probe = directory.join(PROBE);
            let tried = made.and_then(|()| write_new(&probe, b"")).and_then(|()| fs::remove_file(&probe));
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
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = write_new(&path, secret.expose_client_secret().as_bytes());
        if written.is_err() {
            // A part of a secret is of no use to anybody.
            self.discard(realm, client_id);
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
        rename_to_new(&unnamed, &path).map(|()| true).map_err(|error| {
            format!(
                "the secret of client '{client_id}' of realm '{realm}' stays in {}, because {} could not be made: {error}",
                unnamed.display(),
                path.display()
            )
        })
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
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // Not every file system has links.
        Err(_) if to.symlink_metadata().is_ok() => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to)?,
    }
    let directory = to.parent().unwrap_or(to);
    File::open(directory)?.sync_all()
}

const PROBE: &str = ".grantwell-tries-to-write";
/// The bits of group and others.
const WRITABLE_BY_OTHERS: u32 = 0o022;
