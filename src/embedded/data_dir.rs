//! The data directory of a local server: `registry.db` and `tokens.db`, readable by its owner only.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::StoreError;

/// A data directory that exists and that nobody else can read.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Opens the directory, creating it (mode 0700) where it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Directory`], or [`StoreError::OpenToOthers`]: it holds digests of secrets and who may do what.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Directory { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(StoreError::OpenToOthers { path: path.to_owned() });
        }
        Ok(Self(path.to_owned()))
    }

    /// Where realms, clients and digests of secrets are.
    pub fn registry_path(&self) -> PathBuf {
        self.0.join("registry.db")
    }

    /// Where issued tokens are.
    pub fn tokens_path(&self) -> PathBuf {
        self.0.join("tokens.db")
    }
}
