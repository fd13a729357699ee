//! Clients as they are declared, and those that are no more.

use serde_json::json;

use super::{Draft, STATUS, action, changes, disabled_first, key_of, merged};
use crate::core::client::id::ClientId;
use crate::core::client::metadata::ClientMetadata;
use crate::core::client::{Client, ClientStatus};
use crate::core::client_auth::uses_secret;
use crate::core::management::plan::declaration::Entry;
use crate::core::management::plan::problem::ProblemKind;
use crate::core::management::plan::step::{Base, MemberChange, Step, Target};
use crate::core::members::Members;
use crate::core::realm::Realm;

impl Draft<'_> {
    pub(super) fn clients(&mut self) {
        for (id, entry) in &self.declaration.clients {
            let (realm, client_id) = id;
            if self.is_unknown(realm) {
                continue;
            }
            let planned = match self.realm_to_be(realm) {
                Some(realm) => self.client(&realm, client_id, entry),
                None => Err(ProblemKind::UnknownRealm),
            };
            match planned {
                Ok((metadata, step)) => {
                    self.clients.insert(id.clone(), metadata);
                    self.steps.push(step);
                }
                // That has been said.
                Err(ProblemKind::UnknownIssuer { issuer, .. })
                    if self.refused_issuers.contains(&(realm.clone(), issuer.clone())) => {}
                Err(kind) => self.refuse(Target::from(id), entry, kind),
            }
        }
    }

    pub(super) fn former_clients(&mut self) {
        let is_former = |client: &&Client| {
            self.is_ours(client.managed_by.as_ref()) && !self.declaration.clients.contains_key(&key_of(client))
        };
        let former: Vec<&Client> = self.stored.clients().filter(is_former).collect();
        for client in former {
            let id = key_of(client);
            if self.delete_or_leave(Target::from(&id), Base::of_client(client), disabled_first(client.is_active())) {
                self.clients.remove(&id);
            }
        }
    }

    fn client(
        &self,
        realm: &Realm,
        client_id: &ClientId,
        entry: &Entry,
    ) -> Result<(ClientMetadata, Step), ProblemKind> {
        let stored = self.stored.client(&realm.name, client_id);
        let adopted_from = match stored {
            Some(client) => self.adopted(client.managed_by.as_ref())?,
            None => None,
        };
        // What an earlier run has begun and not ended is made anew.
        let stored = stored.filter(|client| !client.is_incomplete());
        let forgotten = self.forgotten(entry, stored.and_then(|client| client.managed_by.as_ref()));
        let before = stored.map_or_else(ClientMetadata::new, |client| client.metadata.clone());
        let metadata: ClientMetadata = merged(&before, &ClientMetadata::new(), entry, &forgotten)?;
        metadata.check_change(&before, realm).map_err(ProblemKind::of_registration)?;
        self.check_owners(&before, &metadata)?;
        if !entry.generate && uses_secret(&metadata) {
            return Err(ProblemKind::NeedsSecret);
        }

        // What a new client does not say is what clients are like: only what the file says is shown.
        let is_shown = |change: &MemberChange| stored.is_some() || entry.members.contains_key(&change.member);
        let mut changes = changes(&Members::of(&before), &Members::of(&metadata), &forgotten);
        changes.retain(is_shown);
        let was = stored.map_or(ClientStatus::Active, |client| client.status);
        let default = forgotten.contains(STATUS).then_some(ClientStatus::Active);
        if let Some(status) = entry.status.or(default).filter(|status| *status != was) {
            let returns_to_default = entry.status.is_none();
            let (before, after) = (json!(was), json!(status));
            changes.push(MemberChange { member: STATUS.to_owned(), before, after, returns_to_default });
        }
        let managed_by = self.managed_by(entry);
        let step = Step {
            target: Target::Client { realm: realm.name.clone(), client_id: client_id.clone() },
            action: action(stored.is_some(), &changes, &managed_by, stored.map(|client| &client.managed_by)),
            base: stored.map(Base::of_client),
            changes,
            managed_by: Some(managed_by),
            adopted_from,
        };
        Ok((metadata, step))
    }
}
