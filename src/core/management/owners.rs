//! Owners: made, changed, deleted, and given clients.

use super::managed;
use super::operator::Management;
use super::outcome::{Changed, ManagementError, Notice, Subject, again_after_conflict};
use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::client::metadata::ClientMetadata;
use crate::core::declaration::ManagedBy;
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
        self.make_owner(Owner::new(id, details, self.clock.now())).await
    }

    pub(super) async fn make_owner(&self, owner: Owner) -> Result<Owner, ManagementError> {
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
            if owner == before {
                let subject = Subject::Owner(id.clone());
                return Ok(Changed { record: owner, notices: vec![Notice::NothingChanged(subject)] });
            }
            let record = self.replace_owner(owner).await?;
            let by_hand = managed::notice_of(Subject::Owner(id.clone()), &before, &record);
            Ok(Changed { record, notices: by_hand.into_iter().collect() })
        };
        again_after_conflict(update).await
    }

    /// Deletes an owner that owns nothing, and says where a file will make it again. It is disabled first, so that it is given no client while its clients are looked for.
    ///
    /// # Errors
    /// [`ManagementError::StillOwns`] where it owns clients, and then it stays as it was; [`ManagementError`] otherwise.
    pub async fn delete_owner(&self, id: &OwnerId) -> Result<Option<Notice>, ManagementError> {
        let owner = self.owner(id).await?;
        let file = owner.managed_by.as_ref().map(|managed_by| managed_by.name.clone());
        self.delete_as_it_is(owner).await?;
        Ok(file.map(|file| Notice::MadeAgainByFile { of: Subject::Owner(id.clone()), file }))
    }

    /// [`Self::delete_owner`], unless somebody else changes it meanwhile.
    pub(super) async fn delete_as_it_is(&self, before: Owner) -> Result<(), ManagementError> {
        let id = &before.owner.clone();
        // Most of those that still own something are found without a change.
        self.require_no_clients(id).await?;
        let disabled = match before.status {
            OwnerStatus::Disabled => before,
            OwnerStatus::Active => {
                let disabled = self.replace_owner(Owner { status: OwnerStatus::Disabled, ..before }).await?;
                if let Err(owns) = self.require_no_clients(id).await {
                    self.replace_owner(Owner { status: OwnerStatus::Active, ..disabled }).await?;
                    return Err(owns);
                }
                disabled
            }
        };
        let deleted = self.registrar.delete_owner(&disabled).await;
        deleted.map_err(|error| Subject::Owner(id.clone()).refused(error))
    }

    /// Writes what an owner of the revision that it says has become.
    pub(super) async fn replace_owner(&self, owner: Owner) -> Result<Owner, ManagementError> {
        check(&owner)?;
        let owner = Owner { revision: owner.revision.saturating_add(1), ..owner };
        let written = self.registrar.put_owner(&owner).await;
        written.map_err(|error| Subject::Owner(owner.owner.clone()).refused(error))?;
        Ok(owner)
    }

    /// The owners that `metadata` names and `before` does not have to be there, and active, unless the file that declares the client
    /// declares them as well.
    pub(super) async fn require_owners(
        &self,
        before: Option<&ClientMetadata>,
        metadata: &ClientMetadata,
        declared_by: Option<&ManagedBy>,
    ) -> Result<(), ManagementError> {
        let file_of = |managed_by: Option<&ManagedBy>| managed_by.map(|managed_by| managed_by.name.clone());
        let is_declared =
            |owner: &Owner| declared_by.is_some() && file_of(owner.managed_by.as_ref()) == file_of(declared_by);
        let may_own = |owner: &Owner| owner.status == OwnerStatus::Active || is_declared(owner);
        for id in metadata.owners.iter().filter(|id| before.is_none_or(|before| !before.owners.contains(id))) {
            let owner = self.find_owner(id).await?;
            match owner {
                None => return Err(ManagementError::NoSuchOwner(id.clone())),
                Some(owner) if !may_own(&owner) => return Err(ManagementError::DisabledOwner(id.clone())),
                Some(_) => {}
            }
        }
        Ok(())
    }

    pub(super) async fn find_owner(&self, id: &OwnerId) -> Result<Option<Owner>, ManagementError> {
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
