//! What happens to one record.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::core::client::Client;
use crate::core::client::id::{ClientId, RegistrationId};
use crate::core::declaration::{DeclarationName, ManagedBy};
use crate::core::owner::{Owner, OwnerId};
use crate::core::realm::{Realm, RealmName};
use crate::core::trust::issuer::{IssuerName, TrustedIssuer};

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
    #[serde(default)]
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
    /// An owner.
    Owner {
        /// Its id.
        owner: OwnerId,
    },
    /// An issuer that a realm trusts.
    Issuer {
        /// The realm.
        realm: RealmName,
        /// Its name there.
        name: IssuerName,
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
    /// It is deleted; a client or an owner is disabled before.
    Delete,
    /// It is as it is declared.
    Nothing,
}

/// What there was of a record when a plan was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// How often it had been changed; 0 of an issuer, which has no count of its own, and whose realm's other issuers raise.
    pub revision: u64,
    /// What it was to the letter, of an owner or an issuer: one may be removed and made again with the same revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// Which registration of a client of this id it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<RegistrationId>,
}

/// The SHA-256 of a record, which has no secret in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

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

impl Target {
    /// The realm that it is or is in; an owner is in none.
    pub fn realm(&self) -> Option<&RealmName> {
        match self {
            Self::Realm { realm } | Self::Issuer { realm, .. } | Self::Client { realm, .. } => Some(realm),
            Self::Owner { .. } => None,
        }
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

impl Base {
    /// What there is of a realm.
    pub(super) fn of_realm(realm: &Realm) -> Self {
        Self { revision: realm.revision, fingerprint: None, registration_id: None }
    }

    /// What there is of an owner.
    pub(super) fn of_owner(owner: &Owner) -> Self {
        Self { revision: owner.revision, fingerprint: Some(Fingerprint::of(owner)), registration_id: None }
    }

    /// What there is of an issuer in its realm.
    pub(super) fn of_issuer(issuer: &TrustedIssuer) -> Self {
        Self { revision: 0, fingerprint: Some(Fingerprint::of(issuer)), registration_id: None }
    }

    /// What there is of a client.
    pub(super) fn of_client(client: &Client) -> Self {
        let registration_id = Some(client.registration_id.clone());
        Self { revision: client.revision, fingerprint: None, registration_id }
    }
}

impl Fingerprint {
    pub(super) fn of<T: Serialize>(record: &T) -> Self {
        // What cannot be written is like nothing that is stored.
        let json = serde_json::to_vec(record).unwrap_or_default();
        Self(URL_SAFE_NO_PAD.encode(Sha256::digest(json)))
    }
}

impl From<&RealmName> for Target {
    fn from(realm: &RealmName) -> Self {
        Self::Realm { realm: realm.clone() }
    }
}

impl From<&OwnerId> for Target {
    fn from(owner: &OwnerId) -> Self {
        Self::Owner { owner: owner.clone() }
    }
}

impl From<&(RealmName, IssuerName)> for Target {
    fn from((realm, name): &(RealmName, IssuerName)) -> Self {
        Self::Issuer { realm: realm.clone(), name: name.clone() }
    }
}

impl From<&(RealmName, ClientId)> for Target {
    fn from((realm, client_id): &(RealmName, ClientId)) -> Self {
        Self::Client { realm: realm.clone(), client_id: client_id.clone() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Realm { realm } => write!(formatter, "realm '{realm}'"),
            Self::Owner { owner } => write!(formatter, "owner '{owner}'"),
            Self::Issuer { realm, name } => write!(formatter, "issuer '{name}' of realm '{realm}'"),
            Self::Client { realm, client_id } => write!(formatter, "client '{client_id}' of realm '{realm}'"),
        }
    }
}
