//! Owners: who is responsible for clients, and which principals of AWS act for them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::aws_principal::AwsPrincipal;
use super::conversions::text_conversions;
use super::declaration::ManagedBy;
use super::members::Members;
use super::time::UnixSeconds;

/// Who is responsible for clients. Belongs to no realm: one owner may have clients in several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// By what clients name it.
    pub owner: OwnerId,
    /// What an operator decides about it.
    #[serde(flatten)]
    pub details: OwnerDetails,
    /// Whether it may do anything, and be given clients.
    pub status: OwnerStatus,
    /// When it was made.
    pub created_at: UnixSeconds,
    /// The file that declares it, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<ManagedBy>,
    /// Counts the changes; a write that names an older one is refused.
    pub revision: u64,
}

/// What an operator decides about an owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerDetails {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<OwnerName>,
    /// Where it can be written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailAddress>,
    /// Who may manage its clients.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub aws_principals: BTreeSet<AwsPrincipal>,
}

/// Whether an owner may do anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerStatus {
    /// Its principals manage its clients, and it can be given others.
    Active,
    /// Its principals may change nothing, and it is given no other client. Its clients stay as they are.
    Disabled,
}

/// An owner's id: 1 to 128 characters of `[A-Za-z0-9._@-]`, as of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OwnerId(String);

/// A name for people: 1 to 256 characters, none of which is a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OwnerName(String);

/// An e-mail address, as far as it can be told from other text: it is shown, nothing is sent to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress(String);

/// The id is outside its alphabet or length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an owner's id has 1 to 128 characters of A-Z, a-z, 0-9, '.', '_', '@' and '-', and does not begin with '-'")]
pub struct MalformedOwnerId;

/// The name is empty, too long or has control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an owner's name has 1 to 256 characters, and no control characters")]
pub struct MalformedOwnerName;

/// The text is not an e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an e-mail address has the form NAME@DOMAIN, without spaces, and 254 characters at most")]
pub struct MalformedEmailAddress;

impl Owner {
    /// The most principals that act for one owner.
    pub const MAX_PRINCIPALS: usize = 50;

    /// A new owner (revision 1).
    pub fn new(owner: OwnerId, details: OwnerDetails, now: UnixSeconds) -> Self {
        Self { owner, details, status: OwnerStatus::Active, created_at: now, managed_by: None, revision: 1 }
    }

    /// Whether `principal` acts for it.
    pub fn is_represented_by(&self, principal: &AwsPrincipal) -> bool {
        self.details.aws_principals.iter().any(|own| own.is(principal))
    }

    /// The owner as it is shown. Null is what it does not have.
    pub fn information(&self) -> Members {
        let own = |name, value| [(name, serde_json::json!(value))].into_iter();
        own("owner", serde_json::json!(self.owner))
            .chain(Members::of(&self.details))
            .map(|(name, value)| match (name, value) {
                ("aws_principals", serde_json::Value::Null) => (name, serde_json::json!([])),
                member => member,
            })
            .chain(own("status", serde_json::json!(self.status)))
            .chain(own("created_at", serde_json::json!(self.created_at)))
            .chain(own("managed_by", serde_json::json!(self.managed_by)))
            .collect()
    }
}

impl OwnerId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OwnerId {
    type Err = MalformedOwnerId;

    fn from_str(text: &str) -> Result<Self, MalformedOwnerId> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'-');
        let well_formed = (1..=128).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(is_allowed);
        if well_formed { Ok(Self(text.to_owned())) } else { Err(MalformedOwnerId) }
    }
}

impl FromStr for OwnerName {
    type Err = MalformedOwnerName;

    fn from_str(text: &str) -> Result<Self, MalformedOwnerName> {
        let length = text.chars().count();
        let well_formed = (1..=256).contains(&length) && !text.trim().is_empty() && !text.chars().any(char::is_control);
        if well_formed { Ok(Self(text.to_owned())) } else { Err(MalformedOwnerName) }
    }
}

impl FromStr for EmailAddress {
    type Err = MalformedEmailAddress;

    fn from_str(text: &str) -> Result<Self, MalformedEmailAddress> {
        let (name, domain) = text.rsplit_once('@').ok_or(MalformedEmailAddress)?;
        let is_allowed = |character: char| !character.is_whitespace() && !character.is_control();
        let well_formed = text.len() <= 254 && !name.is_empty() && !domain.is_empty() && text.chars().all(is_allowed);
        if well_formed { Ok(Self(text.to_owned())) } else { Err(MalformedEmailAddress) }
    }
}

text_conversions!(OwnerId, OwnerName, EmailAddress);

impl fmt::Display for OwnerStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_id_a_name_or_an_address_is_refused() {
        for text in ["", "-a", "a b", "a/b", "a#b", "ä", &"a".repeat(129)] {
            assert_eq!(text.parse::<OwnerId>(), Err(MalformedOwnerId), "{text:?}");
        }
        for text in ["", "  ", "a\nb", "\u{1b}[31m", &"a".repeat(257)] {
            assert_eq!(text.parse::<OwnerName>(), Err(MalformedOwnerName), "{text:?}");
        }
        for text in
            ["", "alice", "@example.com", "alice@", "alice@example.com ", "a\u{7}@b", &format!("{}@b", "a".repeat(253))]
        {
            assert_eq!(text.parse::<EmailAddress>(), Err(MalformedEmailAddress), "{text:?}");
        }
        for text in ["alice", "alice@example.com", "team-a", "A.b_c"] {
            assert!(text.parse::<OwnerId>().is_ok(), "{text}");
        }
    }

    #[test]
    fn an_owner_is_shown_with_every_member() {
        let owner = Owner::new("alice".parse().expect("an id"), OwnerDetails::default(), UnixSeconds(7));
        let shown = serde_json::to_string(&owner.information()).expect("JSON");
        assert_eq!(
            shown,
            r#"{"owner":"alice","name":null,"email":null,"aws_principals":[],"status":"active","created_at":7,"managed_by":null}"#
        );
        let stored = serde_json::to_string(&owner).expect("JSON");
        assert_eq!(stored, r#"{"owner":"alice","status":"active","created_at":7,"revision":1}"#);
        assert_eq!(serde_json::from_str::<Owner>(&stored).expect("readable"), owner);
    }
}
