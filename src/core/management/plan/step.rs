//! What happens to one record.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::client::id::{ClientId, RegistrationId};
use crate::core::declaration::{DeclarationName, ManagedBy};
use crate::core::realm::RealmName;

/// What happens to one record. Whoever reads it again can carry it out, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The record.
    pub target: Target,
    /// What happens to it.
    pub action: Action,
    /// What there was of it when this was planned; absent where there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// What becomes of its members, in the order in which they are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<MemberChange>,
    /// What it says afterwards of the file that declares it; absent where it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<ManagedBy>,
    /// Whether it is taken over, and from which file; null from nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_from: Option<AdoptedFrom>,
}

/// Whose a record was that is taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdoptedFrom {
    /// Another file's.
    File(DeclarationName),
    /// No file's: a person has made it.
    Nobody,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Target {
    /// A realm.
    Realm {
        /// Its name.
        realm: RealmName,
    },
    /// A client.
    Client {
        /// The realm that owns it.
        realm: RealmName,
        /// Its id.
        client_id: ClientId,
    },
}

/// What happens to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Change,
    /// It is disabled, and then deleted.
    Delete,
    /// It is as it is declared.
    Nothing,
}

/// What there was of a record when a plan was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// How often it had been changed.
    pub revision: u64,
    /// Which registration of a client of this id it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<RegistrationId>,
}

/// What becomes of one member; null is what is not set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberChange {
    /// Its name.
    pub member: String,
    /// What it says.
    pub before: Value,
    /// What it says afterwards.
    pub after: Value,
    /// Whether the file has set it before and does not mention it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub returns_to_default: bool,
}

impl Step {
    /// Whether it changes anything.
    pub fn is_change(&self) -> bool {
        self.action != Action::Nothing
    }
}

impl Action {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Delete => "delete",
            Self::Nothing => "nothing",
        }
    }
}

impl Target {
    /// The realm that it is, or is in.
    pub fn realm(&self) -> &RealmName {
        match self {
            Self::Realm { realm } | Self::Client { realm, .. } => realm,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Realm { realm } => write!(formatter, "realm '{realm}'"),
            Self::Client { realm, client_id } => write!(formatter, "client '{client_id}' of realm '{realm}'"),
        }
    }
}
