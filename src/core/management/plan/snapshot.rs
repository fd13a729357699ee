//! What is registered, as far as a plan looks at it.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::owner::{Owner, OwnerId};
use crate::core::realm::{Realm, RealmName};

/// Realms with their issuers, owners and clients as they were read.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    realms: BTreeMap<RealmName, Realm>,
    owners: BTreeMap<OwnerId, Owner>,
    clients: BTreeMap<(RealmName, ClientId), Client>,
    in_part: BTreeSet<RealmName>,
}

impl Snapshot {
    /// These realms and clients.
    pub fn new(realms: impl IntoIterator<Item = Realm>, clients: impl IntoIterator<Item = Client>) -> Self {
        Self {
            realms: realms.into_iter().map(|realm| (realm.name.clone(), realm)).collect(),
            owners: BTreeMap::new(),
            clients: clients
                .into_iter()
                .map(|client| ((client.realm.clone(), client.client_id.clone()), client))
                .collect(),
            in_part: BTreeSet::new(),
        }
    }

    /// The same with these owners.
    #[must_use]
    pub fn with_owners(mut self, owners: impl IntoIterator<Item = Owner>) -> Self {
        self.owners.extend(owners.into_iter().map(|owner| (owner.owner.clone(), owner)));
        self
    }

    /// The same, of which these realms have clients that were not looked at, because nothing declares them.
    #[must_use]
    pub fn in_part(self, realms: BTreeSet<RealmName>) -> Self {
        Self { in_part: realms, ..self }
    }

    /// The realms that have clients which were not looked at.
    pub fn realms_in_part(&self) -> impl Iterator<Item = &RealmName> {
        self.in_part.iter()
    }

    /// The realm of this name. Root always exists, whether or not there is a record of it.
    pub fn realm(&self, name: &RealmName) -> Option<Realm> {
        let stored = self.realms.get(name).cloned();
        stored.or_else(|| name.is_root().then(|| Realm::new(RealmName::root())))
    }

    /// The owner of this id.
    pub fn owner(&self, id: &OwnerId) -> Option<&Owner> {
        self.owners.get(id)
    }

    /// The client of this id.
    pub fn client(&self, realm: &RealmName, client_id: &ClientId) -> Option<&Client> {
        self.clients.get(&(realm.clone(), client_id.clone()))
    }

    /// Every realm, in the order of their names.
    pub fn realms(&self) -> impl Iterator<Item = &Realm> {
        self.realms.values()
    }

    /// Every owner, in the order of their ids.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.owners.values()
    }

    /// Every client, by realm and id.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.values()
    }
}
