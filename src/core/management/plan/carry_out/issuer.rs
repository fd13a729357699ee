//! Issuers, registered, changed and removed as that was planned. No keys are fetched: whoever carries out a plan may not reach what the
//! server reaches.

use super::CarriedOut;
use crate::core::management::operator::Management;
use crate::core::management::outcome::{ManagementError, Subject};
use crate::core::management::plan::issuer;
use crate::core::management::plan::step::{Base, Fingerprint, Step};
use crate::core::realm::{Realm, RealmName};
use crate::core::trust::issuer::{IssuerName, TrustedIssuer};

impl Management {
    pub(super) async fn carry_out_for_issuer(
        &self,
        realm: &RealmName,
        name: &IssuerName,
        step: &Step,
    ) -> Result<CarriedOut, ManagementError> {
        let conflict = || ManagementError::Conflict(Subject::issuer(realm, name));
        let change = |stored: &mut Realm| {
            let is = stored.trusted_issuer_named(name);
            let wanted = issuer::changed(name, is, &step.changes).ok_or_else(conflict)?;
            let wanted = TrustedIssuer { managed_by: step.managed_by.clone(), ..wanted };
            if is == Some(&wanted) {
                return Ok(());
            }
            match (is, &step.base) {
                (None, None) => {}
                (Some(is), Some(base)) if is_as_planned(is, base) => {}
                _ => return Err(conflict()),
            }
            // Two of one issuer could not be told apart; where there is one by now, somebody else has added it.
            if stored.trusted_issuer(&wanted.issuer).is_some_and(|other| other.name != *name) {
                return Err(conflict());
            }
            stored.settings.trusted_issuers.retain(|issuer| issuer.name != *name);
            stored.settings.trusted_issuers.push(wanted);
            Ok(())
        };
        let is_written = self.change_issuers(realm, change).await?;
        Ok(CarriedOut { was_done: !is_written, ..CarriedOut::default() })
    }

    pub(super) async fn carry_out_removal(
        &self,
        realm: &RealmName,
        name: &IssuerName,
        step: &Step,
    ) -> Result<CarriedOut, ManagementError> {
        let conflict = || ManagementError::Conflict(Subject::issuer(realm, name));
        let is = match self.issuer(realm, name).await {
            Ok(issuer) => issuer,
            Err(ManagementError::Unknown(_)) => return Ok(CarriedOut::before()),
            Err(error) => return Err(error),
        };
        let base = step.base.as_ref().ok_or_else(conflict)?;
        self.require_unused(realm, &is).await?;
        let remove = |stored: &mut Realm| match stored.trusted_issuer_named(name) {
            Some(is) if !is_as_planned(is, base) => Err(conflict()),
            _ => {
                stored.settings.trusted_issuers.retain(|issuer| issuer.name != *name);
                Ok(())
            }
        };
        let is_written = self.change_issuers(realm, remove).await?;
        Ok(CarriedOut { was_done: !is_written, ..CarriedOut::default() })
    }
}

fn is_as_planned(issuer: &TrustedIssuer, base: &Base) -> bool {
    base.fingerprint == Some(Fingerprint::of(issuer))
}
