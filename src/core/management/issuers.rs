//! Issuers that a realm trusts: registered, changed, removed. They stand in the realm's record, which every request reads.

use super::operator::Management;
use super::outcome::{Changed, ManagementError, Notice, Subject, again_after_conflict};
use crate::core::realm::{Realm, RealmName};
use crate::core::trust::issuer::{IssuerKeys, IssuerKind, IssuerName, IssuerUrl, TrustedIssuer};

/// Why an issuer cannot be trusted so. The texts say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIssuer {
    /// The realm has it under another name.
    #[error("the realm trusts this issuer already, under the name '{0}'; two of one issuer could not be told apart")]
    UrlTaken(IssuerName),
    /// Its name says that it is of another kind.
    #[error("'{issuer}' is an issuer of kind {known}, and not of kind {kind}")]
    OtherKind {
        /// The issuer.
        issuer: IssuerUrl,
        /// What was asked for.
        kind: IssuerKind,
        /// What it is.
        known: IssuerKind,
    },
    /// It is not AWS.
    #[error(
        "an issuer of kind aws is https://UUID.tokens.sts.global.api.aws to the letter, with a UUID in lower case; \
         `aws iam get-outbound-web-identity-federation-info` shows that of an account"
    )]
    NotSts,
    /// It is not a trust domain.
    #[error("an issuer of kind spiffe is a trust domain in lower case, such as spiffe://example.org")]
    NotTrustDomain,
    /// A trust domain has no metadata document.
    #[error(
        "the keys of a trust domain of SPIFFE are in its bundle, and nothing says where that is: give the address of its bundle \
         endpoint, or the bundle itself"
    )]
    NoBundle,
    /// It would be trusted on a caller's word.
    #[error("an issuer is registered with its keys, or with where they are")]
    Unregistered,
    /// Its tokens would all be too old, or of any age.
    #[error("the age of a token is 1 to {max} seconds", max = TrustedIssuer::LONGEST_AGE)]
    MaxAge,
    /// Nothing could be verified.
    #[error("the issuer has no key, so nothing that it signs could be verified")]
    NoKey,
    /// The realm's record has no room for it.
    #[error("a realm trusts at most {max} issuers", max = Realm::MAX_ISSUERS)]
    TooMany,
    /// The same, by their keys and certificates.
    #[error(
        "the issuers of the realm have more than {max} bytes together, with their keys and certificates, which every request would read; \
         have keys fetched in place of pinning them, or use another realm",
        max = Realm::MAX_ISSUERS_BYTES
    )]
    TooLarge,
}

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
            let (count, first) = self.count_clients(realm, |client| client.metadata.trust.need(&issuer.issuer)).await?;
            if count > 0 {
                return Err(ManagementError::IssuerIsUsed { realm: realm.clone(), issuer: name.clone(), count, first });
            }
        }
        let remove = |stored: &mut Realm| {
            let is_another = |trusted: &TrustedIssuer| trusted.name != *name;
            stored.settings.trusted_issuers.retain(is_another);
            Ok(())
        };
        self.change_issuers(realm, remove).await?;
        Ok(Changed { record: issuer, notices: Vec::new() })
    }

    /// Applies `change` to the realm as it is stored. Whether anything was written.
    async fn change_issuers(
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

fn check(realm: &Realm) -> Result<(), InvalidIssuer> {
    let issuers = &realm.settings.trusted_issuers;
    if issuers.len() > Realm::MAX_ISSUERS {
        return Err(InvalidIssuer::TooMany);
    }
    for (position, issuer) in issuers.iter().enumerate() {
        check_one(issuer)?;
        let others = issuers.iter().take(position);
        if let Some(other) = others.into_iter().find(|other| other.issuer == issuer.issuer) {
            return Err(InvalidIssuer::UrlTaken(other.name.clone()));
        }
    }
    let bytes = serde_json::to_vec(issuers).map_or(usize::MAX, |record| record.len());
    if bytes > Realm::MAX_ISSUERS_BYTES { Err(InvalidIssuer::TooLarge) } else { Ok(()) }
}

fn check_one(trusted: &TrustedIssuer) -> Result<(), InvalidIssuer> {
    let TrustedIssuer { issuer, kind, keys, max_age, .. } = trusted;
    match issuer.known_kind() {
        Some(known) if known != *kind => {
            return Err(InvalidIssuer::OtherKind { issuer: issuer.clone(), kind: *kind, known });
        }
        None if *kind == IssuerKind::Aws => return Err(InvalidIssuer::NotSts),
        None if *kind == IssuerKind::Spiffe => return Err(InvalidIssuer::NotTrustDomain),
        _ => {}
    }
    if max_age.is_some_and(|age| !(1..=TrustedIssuer::LONGEST_AGE).contains(&age)) {
        return Err(InvalidIssuer::MaxAge);
    }
    match keys {
        IssuerKeys::Discovery { .. } if issuer.is_spiffe() => Err(InvalidIssuer::NoBundle),
        IssuerKeys::Jwks(pinned) if pinned.keys().next().is_none() => Err(InvalidIssuer::NoKey),
        IssuerKeys::Unregistered { .. } => Err(InvalidIssuer::Unregistered),
        IssuerKeys::Jwks(_) | IssuerKeys::JwksUri(_) | IssuerKeys::Discovery { .. } => Ok(()),
    }
}
