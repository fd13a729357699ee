//! Realms as they are declared.

use super::{Draft, action, changes, merged};
use crate::core::management::plan::declaration::Entry;
use crate::core::management::plan::problem::ProblemKind;
use crate::core::management::plan::step::{Base, Step, Target};
use crate::core::members::Members;
use crate::core::realm::{Realm, RealmName, RealmSettings};
use crate::core::scope::Scope;

impl Draft<'_> {
    pub(super) fn realms(&mut self) {
        for (name, entry) in &self.declaration.realms {
            match self.realm(name, entry) {
                Ok((realm, step)) => {
                    self.realms.insert(name.clone(), realm);
                    self.steps.push(step);
                }
                Err(kind) => {
                    self.refuse(Target::from(name), entry, kind);
                    // What is in it is looked at all the same, so that everything that is wrong is told at once.
                    if let Ok(realm) = self.realm_as_declared(name, entry) {
                        self.realms.insert(name.clone(), realm);
                    }
                }
            }
        }
    }

    /// The realm with what its entry says, whether or not that may be.
    fn realm_as_declared(&self, name: &RealmName, entry: &Entry) -> Result<Realm, ProblemKind> {
        let stored = self.stored.realm(name).filter(|realm| realm.revision > 0);
        let forgotten = self.forgotten(entry, stored.as_ref().and_then(|realm| realm.managed_by.as_ref()));
        let mut realm = stored.unwrap_or_else(|| Realm::new(name.clone()));
        realm.settings = merged(&realm.settings, &RealmSettings::default(), entry, &forgotten)?;
        Ok(realm)
    }

    fn realm(&self, name: &RealmName, entry: &Entry) -> Result<(Realm, Step), ProblemKind> {
        let stored = self.stored.realm(name).filter(|realm| realm.revision > 0);
        let adopted_from = match &stored {
            Some(realm) if !is_untouched_root(realm) => self.adopted(realm.managed_by.as_ref())?,
            _ => None,
        };
        let before = stored.as_ref().map(|realm| realm.settings.clone()).unwrap_or_default();
        let forgotten = self.forgotten(entry, stored.as_ref().and_then(|realm| realm.managed_by.as_ref()));
        let realm = self.realm_as_declared(name, entry)?;
        let settings = &realm.settings;
        if let (Some(default), Some(allowed)) = (&settings.default_scope, &settings.allowed_scope)
            && let Some(outside) = default.tokens().find(|token| !allowed.contains(token))
        {
            let (scope, allowed) = (outside.to_owned(), Scope::clone(allowed));
            return Err(ProblemKind::DefaultScope { scope, allowed });
        }
        let changes = changes(&Members::of(&before), &Members::of(settings), &forgotten);
        let managed_by = self.managed_by(entry);
        let step = Step {
            target: Target::from(name),
            action: action(stored.is_some(), &changes, &managed_by, stored.as_ref().map(|realm| &realm.managed_by)),
            base: stored.as_ref().map(Base::of_realm),
            changes,
            managed_by: Some(managed_by),
            adopted_from,
        };
        Ok((realm, step))
    }
}

/// The root realm always exists. Where its record has nothing but issuers, nobody has decided anything about the realm itself.
fn is_untouched_root(realm: &Realm) -> bool {
    let but_for_issuers = RealmSettings { trusted_issuers: Vec::new(), ..realm.settings.clone() };
    realm.name.is_root() && realm.managed_by.is_none() && but_for_issuers == RealmSettings::default()
}
