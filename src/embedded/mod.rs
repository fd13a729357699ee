//! One machine's adapters: SQLite for what an operator registers, fjall for what the server issues, memory for tests and
//! the demo; and the local server that accepts connections for them.

pub mod cause;
pub mod data_dir;
mod group_commit;
pub mod health;
mod keyspace;
pub mod memory;
pub mod quotas;
pub mod registry;
pub mod registry_health;
pub mod server;
pub mod tokens;

use std::io;
use std::path::PathBuf;

/// Why a data directory could not be used. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory could not be created or read.
    #[error("the data directory {} cannot be used: {source}; choose another with --store file:DIR", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Other users of the machine can read it.
    #[error("the data directory {} is open to other users; run: chmod 700 {}", path.display(), path.display())]
    OpenToOthers {
        /// The directory.
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
    /// An earlier build has written it: the options that it gave its keyspaces stay theirs, and its records may have another form.
    #[error(
        "{} was written by an earlier version of grantwell; remove it, which ends the tokens in it, and if JWTs that are stored \
         nowhere were revoked take out the keys that signed them (grantwell key revoke): only that directory knows which",
        path.display()
    )]
    Older {
        /// The directory.
        path: PathBuf,
    },
    /// A file in it cannot be opened.
    #[error("{} cannot be opened: {detail}; restore it from a backup, or choose another directory with --store file:DIR", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
}
