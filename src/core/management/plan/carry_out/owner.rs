//! Owners, made, changed and deleted as that was planned.

use super::{CarriedOut, with_changes};
use crate::core::management::operator::Management;
use crate::core::management::outcome::{ManagementError, Subject};
use crate::core::management::plan::declaration::owner::DeclaredOwner;
use crate::core::management::plan::step::{Base, Fingerprint, Step};
use crate::core::owner::{Owner, OwnerId, OwnerStatus};

impl Management {
    pub(super) async fn carry_out_for_owner(&self, id: &OwnerId, step: &Step) -> Result<CarriedOut, ManagementError> {
        let subject = Subject::Owner(id.clone());
        let is = self.find_owner(id).await?;
        let before = is.as_ref().map_or_else(DeclaredOwner::new, DeclaredOwner::of);
        let after = with_changes(&before, &DeclaredOwner::new(), &step.changes, &subject)?;
        let is_done = before == after && is.as_ref().is_some_and(|is| is.managed_by == step.managed_by);
        let (details, status) = after.into_parts();
        match (is, &step.base) {
            _ if is_done => Ok(CarriedOut::before()),
            (None, None) => {
                let new = Owner::new(id.clone(), details, self.clock.now());
                let made = self.make_owner(Owner { status, managed_by: step.managed_by.clone(), ..new }).await;
                made.map_err(|error| match error {
                    // Whoever has made it meanwhile was quicker.
                    ManagementError::Exists(subject) => ManagementError::Conflict(subject),
                    other => other,
                })?;
                Ok(CarriedOut::default())
            }
            (Some(is), Some(base)) if is_as_planned(&is, base) => {
                let managed_by = step.managed_by.clone();
                self.replace_owner(Owner { details, status, managed_by, ..is }).await?;
                Ok(CarriedOut::default())
            }
            _ => Err(ManagementError::Conflict(subject)),
        }
    }

    pub(super) async fn carry_out_deletion_of_owner(
        &self,
        id: &OwnerId,
        step: &Step,
    ) -> Result<CarriedOut, ManagementError> {
        let Some(is) = self.find_owner(id).await? else { return Ok(CarriedOut::before()) };
        let base = step.base.as_ref().ok_or_else(|| ManagementError::Conflict(Subject::Owner(id.clone())))?;
        // An earlier run may have come as far as disabling it.
        let enabled = Owner { status: OwnerStatus::Active, revision: is.revision.saturating_sub(1), ..is.clone() };
        let disabled_by_us =
            !step.changes.is_empty() && is.status == OwnerStatus::Disabled && is_as_planned(&enabled, base);
        if !is_as_planned(&is, base) && !disabled_by_us {
            return Err(ManagementError::Conflict(Subject::Owner(id.clone())));
        }
        self.delete_as_it_is(is).await?;
        Ok(CarriedOut::default())
    }
}

fn is_as_planned(owner: &Owner, base: &Base) -> bool {
    base.fingerprint == Some(Fingerprint::of(owner))
}
