//! Issuers that a realm trusts: registered, changed, removed. They stand in the realm's record, which every request reads.

use super::issuer_rules::{InvalidIssuer, check};
use super::operator::Management;
use super::outcome::{Changed, ManagementError, Notice, Subject, again_after_conflict};
use crate::core::client::auth_method::AuthMethod;
use crate::core::client::metadata::ClientMetadata;
use crate::core::realm::{Realm, RealmName};
use crate::core::trust::issuer::{IssuerName, TrustedIssuer};

/// A change of an issuer. What it is called and who it is stay as they are.
pub struct IssuerChange<'a> {
    /// What becomes of it.
    pub settings: &'a (dyn Fn(&mut TrustedIssuer) + Sync),
}

impl Management {
    /// The issuer of this name.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn issuer(&self, realm: &RealmName, name: &IssuerName) -> Result<TrustedIssuer, ManagementError> {
        let found = self.realm(realm).await?.trusted_issuer_named(name).cloned();
        found.ok_or_else(|| ManagementError::Unknown(Subject::issuer(realm, name)))
    }

    /// Has a realm trust an issuer.
    ///
    /// # Errors
    /// [`ManagementError`]; nothing is changed then.
    pub async fn add_issuer(
        &self,
        realm: &RealmName,
        issuer: &TrustedIssuer,
    ) -> Result<Changed<TrustedIssuer>, ManagementError> {
        let add = |stored: &mut Realm| {
            if stored.trusted_issuer_named(&issuer.name).is_some() {
                return Err(ManagementError::Exists(Subject::issuer(realm, &issuer.name)));
            }
            if let Some(other) = stored.trusted_issuer(&issuer.issuer) {
                return Err(InvalidIssuer::UrlTaken(other.name.clone()).into());
            }
            stored.settings.trusted_issuers.push(issuer.clone());
            Ok(())
        };
        self.change_issuers(realm, add).await?;
        Ok(Changed { record: issuer.clone(), notices: Vec::new() })
    }

    /// Changes an issuer.
    ///
    /// # Errors
    /// [`ManagementError`]; nothing is changed then.
    pub async fn update_issuer(
        &self,
        realm: &RealmName,
        name: &IssuerName,
        change: &IssuerChange<'_>,
    ) -> Result<Changed<TrustedIssuer>, ManagementError> {
        let update = |stored: &mut Realm| {
            let found = stored.settings.trusted_issuers.iter_mut().find(|issuer| issuer.name == *name);
            let issuer = found.ok_or_else(|| ManagementError::Unknown(Subject::issuer(realm, name)))?;
            (change.settings)(issuer);
            Ok(())
        };
        let is_written = self.change_issuers(realm, update).await?;
        let notices = if is_written { vec![] } else { vec![Notice::NothingChanged(Subject::issuer(realm, name))] };
        Ok(Changed { record: self.issuer(realm, name).await?, notices })
    }

    /// Has a realm trust an issuer no more. Refused where rules of clients need it, unless they `may_be_left` without: they admit nobody
    /// then by its tokens. So it is with a rule that is registered at the same moment.
    ///
    /// # Errors
    /// [`ManagementError`]; nothing is changed then.
    pub async fn remove_issuer(
        &self,
        realm: &RealmName,
        name: &IssuerName,
        may_be_left: bool,
    ) -> Result<Changed<TrustedIssuer>, ManagementError> {
        let issuer = self.issuer(realm, name).await?;
        if !may_be_left {
            self.require_unused(realm, &issuer).await?;
        }
        let remove = |stored: &mut Realm| {
            let is_another = |trusted: &TrustedIssuer| trusted.name != *name;
            stored.settings.trusted_issuers.retain(is_another);
            Ok(())
        };
        self.change_issuers(realm, remove).await?;
        Ok(Changed { record: issuer, notices: Vec::new() })
    }

    /// That no rule of a client needs the issuer.
    pub(super) async fn require_unused(
        &self,
        realm: &RealmName,
        issuer: &TrustedIssuer,
    ) -> Result<(), ManagementError> {
        let (count, first) = self.count_clients(realm, |client| needs(&client.metadata, issuer)).await?;
        if count == 0 {
            return Ok(());
        }
        Err(ManagementError::IssuerIsUsed { realm: realm.clone(), issuer: issuer.name.clone(), count, first })
    }

    /// Applies `change` to the realm as it is stored. Whether anything was written.
    pub(super) async fn change_issuers(
        &self,
        name: &RealmName,
        change: impl Fn(&mut Realm) -> Result<(), ManagementError>,
    ) -> Result<bool, ManagementError> {
        again_after_conflict(async || {
            let before = self.realm(name).await?;
            let mut realm = before.clone();
            change(&mut realm)?;
            realm.settings.trusted_issuers.sort_by(|one, other| one.name.cmp(&other.name));
            check(&realm)?;
            if realm == before {
                return Ok(false);
            }
            realm.revision = before.revision.saturating_add(1);
            let written = self.registrar.put_realm(&realm).await;
            written.map_err(|error| match Subject::Realm(name.clone()).refused(error) {
                // Whoever has made the root realm's record meanwhile was quicker.
                ManagementError::Exists(realm) => ManagementError::Conflict(realm),
                other => other,
            })?;
            Ok(true)
        })
        .await
    }
}

/// Whether a rule of the client needs the issuer. One of a client that comes by the IAM door alone needs nobody's token.
pub(super) fn needs(metadata: &ClientMetadata, issuer: &TrustedIssuer) -> bool {
    metadata.token_endpoint_auth_methods.contains(&AuthMethod::WorkloadIdentity) && metadata.trust.need(&issuer.issuer)
}
