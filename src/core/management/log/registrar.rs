//! A registry whose changes are logged.

use std::sync::Arc;

use async_trait::async_trait;

use super::book::{ChangeToLog, Logbook, target_of};
use super::members;
use crate::core::admin_log::{Action, Target};
use crate::core::client::id::ClientId;
use crate::core::client::secret::{ClientSecret, ClientSecrets, NewSecret, SecretDates};
use crate::core::client::{Client, ClientStatus};
use crate::core::management::access::Operation;
use crate::core::owner::{Owner, OwnerId};
use crate::core::port_error::PortError;
use crate::core::ports::{ClientPage, MovedSecrets, Registrar, RegistrarError};
use crate::core::realm::{Realm, RealmName, RealmSettings};

/// [`Registrar`] with a line ahead of each change. What is about to change is read once more: the line says what is replaced, because
/// a change that finds anything else is refused as a conflict.
struct LoggedRegistrar {
    registrar: Arc<dyn Registrar>,
    book: Arc<Logbook>,
}

impl Logbook {
    /// The registry, with a line ahead of each change.
    pub fn registrar(self: &Arc<Self>) -> Arc<dyn Registrar> {
        Arc::new(LoggedRegistrar { registrar: Arc::clone(&self.registrar), book: Arc::clone(self) })
    }
}

#[async_trait]
impl Registrar for LoggedRegistrar {
    async fn register(&self, client: &Client, secret: Option<&ClientSecret>) -> Result<(), RegistrarError> {
        let caller = self.book.caller().await?;
        let change = ChangeToLog::of_client(Action::CREATE_CLIENT, None, Some(client));
        let carried_out = self.registrar.register(client, secret);
        self.book.carry_out_if(&caller, Operation::Register(client), change, carried_out).await
    }

    async fn replace(&self, client: &Client) -> Result<(), RegistrarError> {
        let before = self.replaced_by(client).await?;
        let change = ChangeToLog::of_client(action_on(&before, client), Some(&before), Some(client));
        self.change(&before, client, change, self.registrar.replace(client)).await
    }

    async fn move_secrets(
        &self,
        before: &Client,
        client: &Client,
        fresh: &NewSecret<'_>,
    ) -> Result<MovedSecrets, RegistrarError> {
        let mut change = ChangeToLog::of_client(Action::MOVE_SECRETS, Some(before), Some(client));
        change.revision = (client != before).then_some(client.revision);
        self.change(before, client, change, self.registrar.move_secrets(before, client, fresh)).await
    }

    async fn delete(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), RegistrarError> {
        let caller = self.book.caller().await?;
        let found = self.found(realm, client_id).await?;
        let mut change = ChangeToLog::of_client(Action::DELETE_CLIENT, found.as_ref(), None);
        change.target.realm = Some(realm.clone());
        change.target.client_id = Some(client_id.clone());
        let carried_out = self.registrar.delete(realm, client_id);
        self.book.carry_out_if(&caller, operation_on(found.as_ref()), change, carried_out).await
    }

    async fn delete_unchanged(&self, client: &Client) -> Result<(), RegistrarError> {
        let caller = self.book.caller().await?;
        let change = ChangeToLog::of_client(Action::DELETE_CLIENT, Some(client), None);
        let carried_out = self.registrar.delete_unchanged(client);
        self.book.carry_out_if(&caller, Operation::Use(client), change, carried_out).await
    }

    async fn rotate_secret(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        secret: &NewSecret<'_>,
    ) -> Result<(), RegistrarError> {
        let carried_out = self.registrar.rotate_secret(realm, client_id, secret);
        self.change_secrets(Action::ROTATE_SECRET, realm, client_id, carried_out).await
    }

    async fn secret_dates(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
    ) -> Result<Option<SecretDates>, RegistrarError> {
        self.registrar.secret_dates(realm, client_id).await
    }

    async fn stored_secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, RegistrarError> {
        self.registrar.stored_secrets(client).await
    }

    async fn revoke_previous_secret(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), RegistrarError> {
        let carried_out = self.registrar.revoke_previous_secret(realm, client_id);
        self.change_secrets(Action::REVOKE_PREVIOUS_SECRET, realm, client_id, carried_out).await
    }

    async fn read(&self, realm: &RealmName, client_id: &ClientId) -> Result<Client, RegistrarError> {
        self.registrar.read(realm, client_id).await
    }

    async fn read_many(&self, clients: &[(RealmName, ClientId)]) -> Result<Vec<Client>, RegistrarError> {
        self.registrar.read_many(clients).await
    }

    async fn list(
        &self,
        realm: &RealmName,
        after: Option<&ClientId>,
        limit: usize,
    ) -> Result<ClientPage, RegistrarError> {
        self.registrar.list(realm, after, limit).await
    }

    async fn put_realm(&self, realm: &Realm) -> Result<(), RegistrarError> {
        let before = self.registrar.read_realm(&realm.name).await?;
        let change = ChangeToLog::of_realm(action_on_realm(before.as_ref(), realm), before.as_ref(), realm);
        self.operate(change, self.registrar.put_realm(realm)).await
    }

    async fn read_realm(&self, name: &RealmName) -> Result<Option<Realm>, RegistrarError> {
        self.registrar.read_realm(name).await
    }

    async fn delete_realm(&self, realm: &Realm) -> Result<(), RegistrarError> {
        self.operate(ChangeToLog::of_deleted_realm(realm), self.registrar.delete_realm(realm)).await
    }

    async fn list_realms(&self) -> Result<Vec<Realm>, RegistrarError> {
        self.registrar.list_realms().await
    }

    async fn put_owner(&self, owner: &Owner) -> Result<(), RegistrarError> {
        let before = self.registrar.read_owner(&owner.owner).await?;
        let action = if before.is_none() { Action::CREATE_OWNER } else { Action::UPDATE_OWNER };
        let change = change_of_owner(action, before.as_ref(), Some(owner), owner);
        self.operate(change, self.registrar.put_owner(owner)).await
    }

    async fn delete_owner(&self, owner: &Owner) -> Result<(), RegistrarError> {
        let change = change_of_owner(Action::DELETE_OWNER, Some(owner), None, owner);
        self.operate(change, self.registrar.delete_owner(owner)).await
    }

    async fn read_owner(&self, id: &OwnerId) -> Result<Option<Owner>, RegistrarError> {
        self.registrar.read_owner(id).await
    }

    async fn list_owners(&self) -> Result<Vec<Owner>, RegistrarError> {
        self.registrar.list_owners().await
    }
}

impl LoggedRegistrar {
    /// What `client` is about to replace.
    async fn replaced_by(&self, client: &Client) -> Result<Client, RegistrarError> {
        let before = self.registrar.read(&client.realm, &client.client_id).await?;
        let is_next = before.revision.checked_add(1) == Some(client.revision);
        if is_next && before.registration_id == client.registration_id {
            Ok(before)
        } else {
            Err(RegistrarError::Conflict)
        }
    }

    /// A registration, where it can be read: one that cannot must be deletable.
    async fn found(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Client>, RegistrarError> {
        match self.registrar.read(realm, client_id).await {
            Ok(client) => Ok(Some(client)),
            Err(RegistrarError::NotFound | RegistrarError::Port(PortError::Corrupt { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn change<T>(
        &self,
        before: &Client,
        after: &Client,
        change: ChangeToLog,
        carried_out: impl Future<Output = Result<T, RegistrarError>> + Send,
    ) -> Result<T, RegistrarError> {
        let caller = self.book.caller().await?;
        self.book.carry_out_if(&caller, Operation::Change { before, after }, change, carried_out).await
    }

    async fn change_secrets(
        &self,
        action: Action,
        realm: &RealmName,
        client_id: &ClientId,
        carried_out: impl Future<Output = Result<(), RegistrarError>> + Send,
    ) -> Result<(), RegistrarError> {
        let client = self.registrar.read(realm, client_id).await?;
        let caller = self.book.caller().await?;
        let change = ChangeToLog::on_client(action, &client);
        self.book.carry_out_if(&caller, Operation::Use(&client), change, carried_out).await
    }

    /// What only operators do.
    async fn operate(
        &self,
        change: ChangeToLog,
        carried_out: impl Future<Output = Result<(), RegistrarError>> + Send,
    ) -> Result<(), RegistrarError> {
        self.book.carry_out_as_operator(change, carried_out).await
    }
}

/// What a change of a registration is called: by what it does, where that is all that it does.
fn action_on(before: &Client, after: &Client) -> Action {
    let but_for = |other: &Client| Client { revision: before.revision, ..other.clone() };
    match after.status {
        status if status == before.status => {}
        status if but_for(after) == (Client { status, ..before.clone() }) => {
            return if status == ClientStatus::Active { Action::ENABLE_CLIENT } else { Action::DISABLE_CLIENT };
        }
        _ => {}
    }
    let tokens_valid_after = after.tokens_valid_after;
    if tokens_valid_after > before.tokens_valid_after
        && but_for(after) == (Client { tokens_valid_after, ..before.clone() })
    {
        return Action::REVOKE_CLIENT_TOKENS;
    }
    Action::UPDATE_CLIENT
}

fn action_on_realm(before: Option<&Realm>, after: &Realm) -> Action {
    let Some(before) = before else { return Action::CREATE_REALM };
    let mut revoked = before.settings.clone();
    revoked.tokens_valid_after = after.settings.tokens_valid_after;
    if revoked.tokens_valid_after > before.settings.tokens_valid_after && revoked == after.settings {
        return Action::REVOKE_REALM_TOKENS;
    }
    let with_issuers =
        RealmSettings { trusted_issuers: after.settings.trusted_issuers.clone(), ..before.settings.clone() };
    let is_about_issuers = with_issuers == after.settings && after.managed_by == before.managed_by;
    if is_about_issuers && after.settings != before.settings { Action::UPDATE_ISSUERS } else { Action::UPDATE_REALM }
}

/// A registration that cannot be read has owners that nobody knows: only an operator deletes it.
fn operation_on(client: Option<&Client>) -> Operation<'_> {
    client.map_or(Operation::Operate, Operation::Use)
}

fn change_of_owner(action: Action, before: Option<&Owner>, after: Option<&Owner>, of: &Owner) -> ChangeToLog {
    let (shown_before, shown_after) = (before.map(Owner::information), after.map(Owner::information));
    ChangeToLog {
        action,
        target: Target { owner: Some(of.owner.clone()), ..target_of([]) },
        members: members::changes(shown_before.as_ref(), shown_after.as_ref()),
        revision: after.map(|owner| owner.revision),
    }
}
