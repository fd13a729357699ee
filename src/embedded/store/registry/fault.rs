//! What can go wrong with the registry's file, and what whoever asked is told.

use std::path::Path;

use crate::core::port_error::PortError;
use crate::core::ports::RegistrarError;
use crate::embedded::store::cause::StorageCause;
use crate::embedded::store::connections::{NotDone, Opened};

/// What can go wrong inside a transaction.
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Corrupt(String),
    Registrar(RegistrarError),
}

impl Fault {
    /// What whoever asked is told. On the thread that asked the disk: the reason may have to be looked for there.
    pub(super) fn explained(self, path: &Path, opened: &Opened) -> RegistrarError {
        let error = match self {
            Self::Registrar(error) => return error,
            Self::Corrupt(detail) => return corrupt(&detail),
            Self::Sqlite(error) => error,
        };
        opened.doubt_if(&error);
        match StorageCause::of_sqlite_at(path, &error) {
            // Not SQLite's word, but ours about what it gave.
            StorageCause::Damaged if error.sqlite_error_code().is_none() => {
                corrupt("a column is not what it should be")
            }
            StorageCause::Damaged => corrupt("the file is damaged"),
            StorageCause::Failed => unavailable(&error.to_string()),
            cause => unavailable(&cause.to_string()),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<RegistrarError> for Fault {
    fn from(error: RegistrarError) -> Self {
        Self::Registrar(error)
    }
}

pub(super) fn not_done(why: NotDone) -> PortError {
    let detail = match why {
        NotDone::Overloaded => "too many requests wait for it".to_owned(),
        NotDone::Ended => "the work on it ended early".to_owned(),
        NotDone::Refused(cause) => cause.to_string(),
    };
    PortError::Unavailable { service: SERVICE, detail }
}

fn unavailable(detail: &str) -> RegistrarError {
    PortError::Unavailable { service: SERVICE, detail: detail.to_owned() }.into()
}

fn corrupt(detail: &str) -> RegistrarError {
    PortError::Corrupt { service: SERVICE, detail: detail.to_owned() }.into()
}

/// What an error names as what could not be asked.
pub(super) const SERVICE: &str = "the registry";
