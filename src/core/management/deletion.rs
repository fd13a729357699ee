//! Realms: removed, with all that belongs to them.
//!
//! The record of the realm goes last, so that a deletion which was interrupted is found, and ends when it is run again. Nothing of the realm
//! comes back with another one of its name: its tokens name registrations that are gone, and a realm that is made has no keys from before.

use super::operator::Management;
use super::outcome::{ManagementError, Subject, again_after_conflict};
use crate::core::client::id::ClientId;
use crate::core::client::{Client, ClientStatus};
use crate::core::declaration::DeclarationName;
use crate::core::port_error::PortError;
use crate::core::ports::RegistrarError;
use crate::core::realm::RealmName;

/// What a deletion has removed beside the realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedRealm {
    /// How many clients.
    pub clients: usize,
    /// Whether there were signing keys.
    pub had_keys: bool,
    /// The file that declared it, which makes it again when it is applied.
    pub declared_by: Option<DeclarationName>,
}

impl Management {
    /// What [`Self::delete_realm`] would remove: how many clients the realm has.
    ///
    /// # Errors
    /// As [`Self::delete_realm`].
    pub async fn deletion_of_realm(&self, name: &RealmName, with_clients: bool) -> Result<usize, ManagementError> {
        if name.is_root() {
            return Err(ManagementError::RootStays);
        }
        let (count, first) = self.count_clients(name, |_| true).await?;
        let is_known = self.find_realm(name).await?.is_some();
        // What an earlier deletion has left, or another process has made while it went on.
        if !is_known && count == 0 && self.keyring.read(name).await?.is_none() {
            return Err(ManagementError::Unknown(Subject::Realm(name.clone())));
        }
        if count > 0 && !with_clients {
            return Err(ManagementError::RealmHasClients { realm: name.clone(), count, first });
        }
        Ok(count)
    }

    /// Removes a realm: its clients first, if they may go, then its keys, then its record. Run again after an interruption it ends in the same
    /// state.
    ///
    /// # Errors
    /// [`ManagementError::RootStays`]; [`ManagementError::RealmHasClients`] where there are clients that may not go;
    /// [`ManagementError::Unknown`] where there is nothing of this name; [`ManagementError`].
    pub async fn delete_realm(&self, name: &RealmName, with_clients: bool) -> Result<DeletedRealm, ManagementError> {
        self.require_operator(name).await?;
        self.deletion_of_realm(name, with_clients).await?;
        let managed_by = self.find_realm(name).await?.and_then(|realm| realm.managed_by);
        // 1. All of them stop before the first one goes: a deletion that ends halfway leaves none that works.
        let mut clients = 0;
        if with_clients {
            self.disable_all(name).await?;
            clients += self.delete_all(name).await?;
        }
        // 2. Nobody is left who has something signed.
        let had_keys = self.delete_own_keys(name).await?;
        // 3. The realm itself. Where somebody has registered a client since, it has one that may not go.
        let delete = async || {
            self.deletion_of_record(name, with_clients).await?;
            let Some(realm) = self.find_realm(name).await? else { return Ok(()) };
            let deleted = self.registrar.delete_realm(&realm).await;
            deleted.map_err(|error| Subject::Realm(name.clone()).refused(error))
        };
        again_after_conflict(delete).await?;
        // 4. What was made in the last moment belongs to a realm that is gone. Without leave to delete clients, whoever registers one looks
        //    for its realm afterwards, and takes it back.
        if self.find_realm(name).await?.is_none() {
            if with_clients {
                clients += self.delete_all(name).await?;
            }
            self.delete_own_keys(name).await?;
        }
        Ok(DeletedRealm { clients, had_keys, declared_by: managed_by.map(|managed_by| managed_by.name) })
    }

    async fn deletion_of_record(&self, name: &RealmName, with_clients: bool) -> Result<(), ManagementError> {
        if with_clients {
            return self.delete_all(name).await.map(drop);
        }
        match self.count_clients(name, |_| true).await? {
            (0, _) => Ok(()),
            (count, first) => Err(ManagementError::RealmHasClients { realm: name.clone(), count, first }),
        }
    }

    async fn disable_all(&self, realm: &RealmName) -> Result<(), ManagementError> {
        let mut after: Option<ClientId> = None;
        loop {
            let page = self.registrar.list(realm, after.as_ref(), PAGE).await;
            let page = page.map_err(|error| Subject::Realm(realm.clone()).refused(error))?;
            for client in page.clients.into_iter().filter(|client| client.status == ClientStatus::Active) {
                self.stop(client).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn stop(&self, client: Client) -> Result<(), ManagementError> {
        let set = async || {
            let before = self.registrar.read(&client.realm, &client.client_id).await;
            let before = before.map_err(|error| Subject::client(&client.realm, &client.client_id).refused(error))?;
            self.replace(&before, Client { status: ClientStatus::Disabled, ..before.clone() }).await.map(drop)
        };
        match again_after_conflict(set).await {
            Err(ManagementError::Unknown(_)) => Ok(()),
            ended => ended,
        }
    }

    /// How many there were.
    async fn delete_all(&self, realm: &RealmName) -> Result<usize, ManagementError> {
        let mut deleted = 0;
        loop {
            let page = self.registrar.list(realm, None, PAGE).await;
            let page = page.map_err(|error| Subject::Realm(realm.clone()).refused(error))?;
            if page.clients.is_empty() {
                return Ok(deleted);
            }
            for client in page.clients {
                match self.registrar.delete(realm, &client.client_id).await {
                    Ok(()) => deleted += 1,
                    Err(RegistrarError::NotFound) => {}
                    Err(error) => return Err(Subject::client(realm, &client.client_id).refused(error)),
                }
            }
        }
    }

    /// A server that had not heard of the deletion may have made keys after it. The realm that is about to be made must not publish them.
    pub(super) async fn remove_keys_left_behind(&self, realm: &RealmName) -> Result<(), ManagementError> {
        self.delete_own_keys(realm).await.map(drop)
    }

    /// Whether there were any. Those of another registry under the same prefix are not this realm's, whatever becomes of it.
    async fn delete_own_keys(&self, realm: &RealmName) -> Result<bool, ManagementError> {
        match self.keyring.delete(realm).await {
            Ok(were_there) => Ok(were_there),
            Err(PortError::Foreign { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a client back that was registered while its realm was deleted: it would belong to the next realm of that name.
    pub(super) async fn withdraw_where_realm_is_gone(&self, client: &Client) -> Result<(), ManagementError> {
        if self.find_realm(&client.realm).await?.is_some() {
            return Ok(());
        }
        match self.registrar.delete(&client.realm, &client.client_id).await {
            Ok(()) | Err(RegistrarError::NotFound) => {
                Err(ManagementError::Unknown(Subject::Realm(client.realm.clone())))
            }
            Err(error) => Err(Subject::client(&client.realm, &client.client_id).refused(error)),
        }
    }
}

/// How many clients are read at a time.
const PAGE: usize = 500;
