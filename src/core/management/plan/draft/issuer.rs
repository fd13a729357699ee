//! Issuers as they are declared, and those that are no more. They stand in their realm's record, and are not what a realm's entry
//! speaks of.

use std::collections::BTreeSet;

use super::{Draft, action};
use crate::core::management::issuer_rules::{self, InvalidIssuer};
use crate::core::management::issuers::needs;
use crate::core::management::plan::declaration::{self, Entry, declared_form};
use crate::core::management::plan::issuer;
use crate::core::management::plan::problem::ProblemKind;
use crate::core::management::plan::step::{Base, MemberChange, Step, Target};
use crate::core::members::Members;
use crate::core::realm::{Realm, RealmName};
use crate::core::trust::issuer::{IssuerName, TrustedIssuer};

impl Draft<'_> {
    pub(super) fn issuers(&mut self) {
        for (id, entry) in &self.declaration.issuers {
            let (realm, name) = id;
            if self.is_unknown(realm) {
                continue;
            }
            let planned = match self.realm_to_be(realm) {
                Some(realm) => self.issuer(realm, name, entry),
                None => Err(ProblemKind::UnknownRealm),
            };
            match planned {
                Ok((realm, step)) => {
                    self.realms.insert(realm.name.clone(), realm);
                    self.steps.push(step);
                }
                Err(kind) => {
                    let url = entry.members.get("issuer").and_then(|url| serde_json::from_value(url.clone()).ok());
                    self.refused_issuers.extend(url.map(|url| (realm.clone(), url)));
                    self.refuse(Target::from(id), entry, kind);
                }
            }
        }
    }

    pub(super) fn former_issuers(&mut self) {
        for (realm, issuer) in self.undeclared_issuers() {
            let target = Target::from(&(realm.name.clone(), issuer.name.clone()));
            if self.delete_or_leave(target.clone(), Base::of_issuer(issuer), Vec::new()) {
                let needed = self.clients_that(|of, metadata| *of == realm.name && needs(metadata, issuer));
                if !needed.is_empty() {
                    self.refuse_deletion(target, ProblemKind::IssuerIsUsed(needed));
                }
            }
        }
    }

    /// The realm with the issuer as it is declared.
    fn issuer(&self, mut realm: Realm, name: &IssuerName, entry: &Entry) -> Result<(Realm, Step), ProblemKind> {
        let stored_realm = self.stored.realm(&realm.name);
        let stored = stored_realm.as_ref().and_then(|realm| realm.trusted_issuer_named(name));
        let adopted_from = match stored {
            Some(issuer) => self.adopted(issuer.managed_by.as_ref())?,
            None => None,
        };
        let forgotten = self.forgotten(entry, stored.and_then(|issuer| issuer.managed_by.as_ref()));
        let after = issuer::merged(name, stored, entry, &forgotten)?;
        if let Some(stored) = stored.filter(|stored| stored.issuer != after.issuer) {
            return Err(ProblemKind::OtherIssuer { is: stored.issuer.clone(), declared: after.issuer });
        }
        if let Some(other) = realm.trusted_issuer(&after.issuer).filter(|other| other.name != *name) {
            return Err(ProblemKind::Issuer(InvalidIssuer::UrlTaken(other.name.clone())));
        }
        let changes = changes(stored, &after, entry, &forgotten);
        let managed_by = self.managed_by(entry);
        let step = Step {
            target: Target::Issuer { realm: realm.name.clone(), name: name.clone() },
            action: action(stored.is_some(), &changes, &managed_by, stored.map(|issuer| &issuer.managed_by)),
            base: stored.map(Base::of_issuer),
            changes,
            managed_by: Some(managed_by.clone()),
            adopted_from,
        };
        let issuers = &mut realm.settings.trusted_issuers;
        issuers.retain(|issuer| issuer.name != *name);
        issuers.push(TrustedIssuer { managed_by: Some(managed_by), ..after });
        issuers.sort_by(|one, other| one.name.cmp(&other.name));
        issuer_rules::check(&realm).map_err(ProblemKind::Issuer)?;
        Ok((realm, step))
    }
}

impl<'a> Draft<'a> {
    /// The issuers that this file has declared and does not any more, with their realms as they are stored.
    fn undeclared_issuers(&self) -> Vec<(&'a Realm, &'a TrustedIssuer)> {
        let is_former = |realm: &RealmName, issuer: &TrustedIssuer| {
            let id = (realm.clone(), issuer.name.clone());
            self.is_ours(issuer.managed_by.as_ref()) && !self.declaration.issuers.contains_key(&id)
        };
        let all = self
            .stored
            .realms()
            .flat_map(|realm| realm.settings.trusted_issuers.iter().map(move |issuer| (realm, issuer)));
        all.filter(|(realm, issuer)| is_former(&realm.name, issuer)).collect()
    }
}

/// Of a new issuer its URL and its kind are always shown, and what the file says; of another what differs.
fn changes(
    stored: Option<&TrustedIssuer>,
    after: &TrustedIssuer,
    entry: &Entry,
    forgotten: &BTreeSet<String>,
) -> Vec<MemberChange> {
    let (before, after) = (stored.map(Members::of), Members::of(after));
    let change = |member: &'static str| {
        let value = after.value(member);
        let is_shown = match &before {
            Some(before) => before.value(member) != value,
            None => entry.members.contains_key(member) || matches!(member, "issuer" | "kind"),
        };
        is_shown.then(|| MemberChange {
            member: member.to_owned(),
            before: before.as_ref().map_or_else(Default::default, |before| declared_form(member, before.value(member))),
            after: declared_form(member, value),
            returns_to_default: forgotten.contains(member),
        })
    };
    declaration::issuer::settings().filter_map(change).collect()
}
