//! What the local server keeps, and where.

use std::fs;
use std::path;
use std::sync::Arc;

use grantwell::embedded::adapters::EmbeddedAdapters;
use grantwell::embedded::server::health::DiskSpace;
use grantwell::embedded::store::cause::{StorageCause, StoreHealth};
use grantwell::embedded::store::data_dir::DataDir;
use grantwell::embedded::store::fault::StoreError;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::embedded::store::tokens::{Durability, SqliteTokens};
use grantwell::system::SystemClock;

use crate::failure::Failure;
use crate::store::StoreName;

/// `--sync`: when a write counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SyncWrites {
    /// Once the operating system has it.
    Os,
    /// Once the disk has confirmed it.
    Always,
}

impl From<SyncWrites> for Durability {
    fn from(sync: SyncWrites) -> Self {
        match sync {
            SyncWrites::Os => Self::OperatingSystem,
            SyncWrites::Always => Self::Disk,
        }
    }
}

/// What a server keeps, and how to make it safe before the process ends.
pub(super) struct Stores {
    pub(super) adapters: EmbeddedAdapters,
    pub(super) on_disk: Option<Arc<SqliteTokens>>,
    /// What has to answer and to be writable for the server to be ready, by the names that an answer has for it.
    pub(super) health: Vec<(&'static str, Arc<dyn StoreHealth>)>,
}

/// Opens what `--store` names.
///
/// # Errors
/// A [`Failure`] that says what to do.
pub(super) fn open(store: &StoreName, sync: SyncWrites) -> Result<Stores, Failure> {
    match store {
        StoreName::Aws => Err(Failure::new(
            "a local server cannot run on the store of a stack, whose functions are its server; use --store file:DIR or memory",
        )),
        StoreName::Memory if sync == SyncWrites::Always => {
            Err(Failure::new("the memory store does not use a disk; leave out --sync always, or use --store file:DIR"))
        }
        StoreName::Memory => Ok(Stores { adapters: EmbeddedAdapters::in_memory()?, on_disk: None, health: Vec::new() }),
        StoreName::File(path) => {
            let directory = DataDir::open(path)?;
            let stores = match open_files(&directory, sync) {
                Err(StoreError::Refused { cause: StorageCause::DiskFull, .. }) if directory.give_up_reserve() => {
                    tracing::warn!(
                        "no space is left on the disk; the reserve in the data directory is given up to start"
                    );
                    open_files(&directory, sync)?
                }
                opened => {
                    let stores = opened?;
                    if let Err(error) = directory.keep_reserve() {
                        tracing::warn!(%error, "no space is kept for the next start");
                    }
                    stores
                }
            };
            Ok(stores)
        }
    }
}

/// The store with its absolute path: a relative one says nothing to who does not know where the server was started.
pub(super) fn store_path(store: &StoreName) -> String {
    match store {
        StoreName::File(path) => {
            let absolute = fs::canonicalize(path).or_else(|_| path::absolute(path));
            format!("file:{}", absolute.as_ref().unwrap_or(path).display())
        }
        StoreName::Memory => "memory".to_owned(),
        StoreName::Aws => "aws".to_owned(),
    }
}

fn open_files(directory: &DataDir, sync: SyncWrites) -> Result<Stores, StoreError> {
    let tokens = SqliteTokens::open(&directory.tokens_path(), sync.into(), Arc::new(SystemClock))?;
    let tokens = Arc::new(tokens);
    let registry = Arc::new(SqliteRegistry::open(&directory.registry_path())?);
    let health = registry.health()?;
    Ok(Stores {
        adapters: EmbeddedAdapters::on_disk(registry, &tokens),
        on_disk: Some(Arc::clone(&tokens)),
        health: vec![
            ("data_directory", Arc::new(DiskSpace::of(directory.path().to_owned()))),
            ("registry", Arc::new(health)),
            ("tokens", tokens),
        ],
    })
}
