//! An owner as a file declares it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::entry::{Entry, InvalidDeclaration, Written, check_member, missing, require_known, take};
use crate::core::aws_principal::AwsPrincipal;
use crate::core::members::names_of;
use crate::core::owner::{EmailAddress, Owner, OwnerDetails, OwnerId, OwnerName, OwnerStatus};

/// What an entry says of an owner besides its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredOwner {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<OwnerName>,
    /// Where it can be written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailAddress>,
    /// Whether it may do anything, and be given clients.
    pub status: OwnerStatus,
    /// Who may manage its clients.
    #[serde(default)]
    pub aws_principals: BTreeSet<AwsPrincipal>,
}

impl DeclaredOwner {
    /// An owner of which nothing is said.
    pub fn new() -> Self {
        Self { name: None, email: None, status: OwnerStatus::Active, aws_principals: BTreeSet::new() }
    }

    pub(in super::super) fn of(owner: &Owner) -> Self {
        let OwnerDetails { name, email, aws_principals } = owner.details.clone();
        Self { name, email, status: owner.status, aws_principals }
    }

    pub(in super::super) fn into_parts(self) -> (OwnerDetails, OwnerStatus) {
        let Self { name, email, status, aws_principals } = self;
        (OwnerDetails { name, email, aws_principals }, status)
    }
}

impl Default for DeclaredOwner {
    fn default() -> Self {
        Self::new()
    }
}

/// What an entry may say, in the order in which it is shown.
pub fn members() -> Vec<&'static str> {
    ["owner"].into_iter().chain(names_of::<DeclaredOwner>().iter().copied()).collect()
}

pub(super) fn read(Written { place, mut members }: Written) -> Result<(OwnerId, Entry), InvalidDeclaration> {
    require_known(&place, &members, &self::members())?;
    let owner: OwnerId = take(&mut members, "owner", &place)?.ok_or_else(|| missing(&place, "owner"))?;
    for (name, value) in &members {
        check_member(&place, name, value, &DeclaredOwner::new())?;
    }
    Ok((owner, Entry { place, members: members.into_iter().collect(), status: None, generate: true }))
}
