//! Owners as they are declared, and those that are no more.

use super::{Draft, action, changes, disabled_first, merged};
use crate::core::client::metadata::ClientMetadata;
use crate::core::management::plan::declaration::Entry;
use crate::core::management::plan::declaration::owner::DeclaredOwner;
use crate::core::management::plan::problem::ProblemKind;
use crate::core::management::plan::step::{Base, MemberChange, Step, Target};
use crate::core::members::Members;
use crate::core::owner::{Owner, OwnerId, OwnerStatus};

impl Draft<'_> {
    pub(super) fn owners(&mut self) {
        for (id, entry) in &self.declaration.owners {
            match self.owner(id, entry) {
                Ok(step) => self.steps.push(step),
                Err(kind) => self.refuse(Target::from(id), entry, kind),
            }
        }
    }

    pub(super) fn former_owners(&mut self) {
        let is_former = |owner: &&Owner| {
            self.is_ours(owner.managed_by.as_ref()) && !self.declaration.owners.contains_key(&owner.owner)
        };
        let former: Vec<&Owner> = self.stored.owners().filter(is_former).collect();
        for owner in former {
            let target = Target::from(&owner.owner);
            if self.delete_or_leave(
                target.clone(),
                Base::of_owner(owner),
                disabled_first(owner.status == OwnerStatus::Active),
            ) {
                let owned = self.clients_that(|_, metadata| metadata.owners.contains(&owner.owner));
                if !owned.is_empty() {
                    self.refuse_deletion(target, ProblemKind::StillOwns(owned));
                }
            }
        }
    }

    /// Whether there will be the owners that a client comes to have. One that is declared beside the client is there, and may be
    /// disabled: whoever reviews the file sees both. Where its entry is refused, that has been said.
    pub(super) fn check_owners(&self, before: &ClientMetadata, metadata: &ClientMetadata) -> Result<(), ProblemKind> {
        for id in metadata.owners.difference(&before.owners) {
            if self.declaration.owners.contains_key(id) {
                continue;
            }
            match self.stored.owner(id) {
                None => return Err(ProblemKind::UnknownOwner(id.clone())),
                Some(owner) if owner.status == OwnerStatus::Disabled => {
                    return Err(ProblemKind::DisabledOwner(id.clone()));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn owner(&self, id: &OwnerId, entry: &Entry) -> Result<Step, ProblemKind> {
        let stored = self.stored.owner(id);
        let adopted_from = match stored {
            Some(owner) => self.adopted(owner.managed_by.as_ref())?,
            None => None,
        };
        let forgotten = self.forgotten(entry, stored.and_then(|owner| owner.managed_by.as_ref()));
        let before = stored.map_or_else(DeclaredOwner::new, DeclaredOwner::of);
        let after: DeclaredOwner = merged(&before, &DeclaredOwner::new(), entry, &forgotten)?;
        if after.aws_principals.len() > Owner::MAX_PRINCIPALS {
            return Err(ProblemKind::TooManyPrincipals);
        }
        let is_shown = |change: &MemberChange| stored.is_some() || entry.members.contains_key(&change.member);
        let mut changes = changes(&Members::of(&before), &Members::of(&after), &forgotten);
        changes.retain(is_shown);
        let managed_by = self.managed_by(entry);
        Ok(Step {
            target: Target::from(id),
            action: action(stored.is_some(), &changes, &managed_by, stored.map(|owner| &owner.managed_by)),
            base: stored.map(Base::of_owner),
            changes,
            managed_by: Some(managed_by),
            adopted_from,
        })
    }
}
