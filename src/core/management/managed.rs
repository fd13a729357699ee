//! What a file sets back that somebody has changed by hand.

use super::outcome::{Notice, Subject};
use crate::core::client::{Client, ClientStatus};
use crate::core::declaration::ManagedBy;
use crate::core::members::Members;
use crate::core::owner::Owner;
use crate::core::realm::Realm;
use crate::core::trust::issuer::TrustedIssuer;

/// A record that a file may declare.
pub(super) trait Declared {
    /// The file that does.
    fn managed_by(&self) -> Option<&ManagedBy>;
    /// Its members, by the names that the file knows.
    fn members(&self) -> Members;
}

/// What to know of a change that was made by hand: the members of it that the file of the record sets.
pub(super) fn notice_of<T: Declared>(of: Subject, before: &T, after: &T) -> Option<Notice> {
    let managed_by = before.managed_by()?;
    let (was, is) = (before.members(), after.members());
    let changed = is.iter().filter(|(name, value)| was.value(name) != *value).map(|(name, _)| name);
    let members: Vec<&'static str> = changed.filter(|name| managed_by.members.contains(*name)).collect();
    if members.is_empty() { None } else { Some(Notice::SetBackByFile { of, file: managed_by.name.clone(), members }) }
}

impl Declared for Client {
    fn managed_by(&self) -> Option<&ManagedBy> {
        self.managed_by.as_ref()
    }

    fn members(&self) -> Members {
        let status = match self.status {
            ClientStatus::Active => "active",
            ClientStatus::Disabled => "disabled",
        };
        Members::of(&self.metadata).into_iter().chain([("status", status.into())]).collect()
    }
}

impl Declared for Realm {
    fn managed_by(&self) -> Option<&ManagedBy> {
        self.managed_by.as_ref()
    }

    fn members(&self) -> Members {
        Members::of(&self.settings)
    }
}

impl Declared for Owner {
    fn managed_by(&self) -> Option<&ManagedBy> {
        self.managed_by.as_ref()
    }

    fn members(&self) -> Members {
        self.information()
    }
}

impl Declared for TrustedIssuer {
    fn managed_by(&self) -> Option<&ManagedBy> {
        self.managed_by.as_ref()
    }

    fn members(&self) -> Members {
        Members::of(self)
    }
}
