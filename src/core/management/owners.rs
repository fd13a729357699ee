//! Owners: made, changed, deleted, and given clients.

use super::operator::Management;
use super::outcome::{Changed, ManagementError, Notice, Subject, again_after_conflict};
use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::client::metadata::ClientMetadata;
use crate::core::owner::{Owner, OwnerDetails, OwnerId, OwnerStatus};
use crate::core::realm::RealmName;

/// A change of an owner. What is not named stays as it is.
pub struct OwnerChange<'a> {
    /// What becomes of what an operator decided about it before.
    pub details: &'a (dyn Fn(&mut OwnerDetails) + Sync),
    /// Whether it may do anything from now on.
    pub status: Option<OwnerStatus>,
}

impl Management {
    /// Makes an owner.
    ///
    /// # Errors
    /// [`ManagementError`]; then there is none.
    pub async fn create_owner(&self, id: OwnerId, details: OwnerDetails) -> Result<Owner, ManagementError> {
        let owner = Owner::new(id, details, self.clock.now());
        check(&owner)?;
        let subject = || Subject::Owner(owner.owner.clone());
        if self.find_owner(&owner.owner).await?.is_some() {
            return Err(ManagementError::Exists(subject()));
        }
        let written = self.registrar.put_owner(&owner).await;
        written.map_err(|error| match subject().refused(error) {
            // Whoever was quicker has made the owner.
            ManagementError::Conflict(owner) => ManagementError::Exists(owner),
            other => other,
        })?;
        Ok(owner)
    }

    /// An owner as it is stored now.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn owner(&self, id: &OwnerId) -> Result<Owner, ManagementError> {
        self.find_owner(id).await?.ok_or_else(|| ManagementError::Unknown(Subject::Owner(id.clone())))
    }

    /// Every owner, in the order of their ids.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn owners(&self) -> Result<Vec<Owner>, ManagementError> {
        let listed = self.registrar.list_owners().await;
        listed.map_err(|error| Subject::Realm(RealmName::root()).refused(error))
    }

    /// Changes an owner. Where somebody else changes it meanwhile, the change is applied to what they have made of it.
    ///
    /// # Errors
    /// [`ManagementError`]; then nothing is changed.
    pub async fn update_owner(
        &self,
        id: &OwnerId,
        change: &OwnerChange<'_>,
    ) -> Result<Changed<Owner>, ManagementError> {
        let update = async || {
            let before = self.owner(id).await?;
            let mut owner = before.clone();
            (change.details)(&mut owner.details);
            owner.status = change.status.unwrap_or(owner.status);
            check(&owner)?;
            let subject = Subject::Owner(id.clone());
            if owner == before {
                return Ok(Changed { record: owner, notices: vec![Notice::NothingChanged(subject)] });
            }
            owner.revision = before.revision.saturating_add(1);
            self.registrar.put_owner(&owner).await.map_err(|error| subject.refused(error))?;
            Ok(Changed { record: owner, notices: Vec::new() })
        };
        again_after_conflict(update).await
    }

    /// Deletes an owner that owns nothing. It is disabled first, so that it is given no client while its clients are looked for.
    ///
    /// # Errors
    /// [`ManagementError::StillOwns`] where it owns clients, and then it stays as it was; [`ManagementError`] otherwise.
    pub async fn delete_owner(&self, id: &OwnerId) -> Result<(), ManagementError> {
        let subject = || Subject::Owner(id.clone());
        let before = self.owner(id).await?;
        // Most of those that still own something are found without a change.
        self.require_no_clients(id).await?;
        let set = async |owner: Owner| {
            let written = self.registrar.put_owner(&owner).await;
            written.map_err(|error| subject().refused(error)).map(|()| owner)
        };
        let disabled = match before.status {
            OwnerStatus::Disabled => before,
            OwnerStatus::Active => {
                let revision = before.revision.saturating_add(1);
                let disabled = set(Owner { status: OwnerStatus::Disabled, revision, ..before }).await?;
                if let Err(owns) = self.require_no_clients(id).await {
                    let revision = disabled.revision.saturating_add(1);
                    set(Owner { status: OwnerStatus::Active, revision, ..disabled }).await?;
                    return Err(owns);
                }
                disabled
            }
        };
        self.registrar.delete_owner(&disabled).await.map_err(|error| subject().refused(error))
    }

    /// The owners that `metadata` names and `before` does not have to be there, and active.
    pub(super) async fn require_owners(
        &self,
        before: Option<&ClientMetadata>,
        metadata: &ClientMetadata,
    ) -> Result<(), ManagementError> {
        for id in metadata.owners.iter().filter(|id| before.is_none_or(|before| !before.owners.contains(id))) {
            let owner = self.find_owner(id).await?;
            if owner.is_none_or(|owner| owner.status == OwnerStatus::Disabled) {
                return Err(ManagementError::NoSuchOwner(id.clone()));
            }
        }
        Ok(())
    }

    async fn find_owner(&self, id: &OwnerId) -> Result<Option<Owner>, ManagementError> {
        self.registrar.read_owner(id).await.map_err(|error| Subject::Owner(id.clone()).refused(error))
    }

    async fn require_no_clients(&self, id: &OwnerId) -> Result<(), ManagementError> {
        let (mut count, mut first): (usize, Vec<(RealmName, ClientId)>) = (0, Vec::new());
        for realm in self.realms().await? {
            let mut cursor = None;
            loop {
                let page = self.registrar.list(&realm.name, cursor.as_ref(), PAGE).await;
                let page = page.map_err(|error| Subject::Realm(realm.name.clone()).refused(error))?;
                let is_own = |client: &Client| client.metadata.owners.contains(id);
                for client in page.clients.into_iter().filter(is_own) {
                    count += 1;
                    if first.len() < NAMED {
                        first.push((client.realm, client.client_id));
                    }
                }
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        if count == 0 { Ok(()) } else { Err(ManagementError::StillOwns { owner: id.clone(), count, first }) }
    }
}

fn check(owner: &Owner) -> Result<(), ManagementError> {
    if owner.details.aws_principals.len() > Owner::MAX_PRINCIPALS {
        return Err(ManagementError::TooManyPrincipals);
    }
    Ok(())
}

/// How many clients are read at a time.
const PAGE: usize = 500;
/// How many clients are named.
const NAMED: usize = 10;
