//! Clients, registered, changed and deleted as that was planned.

use super::{CarriedOut, KeepSecret, NAMES_SIGNATURE, names_any, with_changes};
use crate::core::client::id::ClientId;
use crate::core::client::metadata::ClientMetadata;
use crate::core::client::secret::ClientSecret;
use crate::core::client::secret_storage::SecretStorage;
use crate::core::client::{Client, ClientStatus};
use crate::core::client_auth::uses_secret;
use crate::core::declaration::ManagedBy;
use crate::core::management::clients::{ClientChange, Registration};
use crate::core::management::operator::Management;
use crate::core::management::outcome::{Changed, ManagementError, Notice, Subject};
use crate::core::management::plan::step::{Action, Base, MemberChange, Step, Target};
use crate::core::realm::RealmName;

impl Management {
    pub(super) async fn carry_out_for_client(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        step: &Step,
        secrets: &dyn KeepSecret,
    ) -> Result<CarriedOut, ManagementError> {
        let subject = Subject::client(realm, client_id);
        let is = match self.client(realm, client_id).await {
            // Begun by an earlier run, and not ended: its secret, if it has come to have one, was told to nobody.
            Ok(client) if client.is_incomplete() && may_replace(&client, step) => {
                self.delete(realm, client_id).await?;
                None
            }
            Ok(client) => Some(client),
            Err(ManagementError::Unknown(Subject::Client { .. })) => None,
            Err(error) => return Err(error),
        };
        let before = is.as_ref().map_or_else(ClientMetadata::new, |client| client.metadata.clone());
        let metadata = with_changes(&before, &ClientMetadata::new(), &step.changes, &subject)?;
        let status = status_among(&step.changes);
        match (is, &step.base) {
            (Some(is), _) if is_done(&is, &metadata, status, step.managed_by.as_ref()) => Ok(CarriedOut::before()),
            (None, None) => self.create_declared(realm, client_id, metadata, status, step, secrets).await,
            (Some(is), Some(base)) if is_based_on(&is, base) => {
                let change = ClientChange {
                    metadata: &|is| is.clone_from(&metadata),
                    names_signature: names_any(&step.changes, &NAMES_SIGNATURE),
                    names_secret_storage: names_any(&step.changes, &["client_secret_storage"]),
                    only_revision: Some(base.revision),
                    status,
                    managed_by: step.managed_by.clone(),
                    ..ClientChange::NOTHING
                };
                let Changed { notices, .. } = self.update(realm, client_id, &change).await?;
                Ok(CarriedOut { notices, was_done: false })
            }
            _ => Err(ManagementError::Conflict(subject)),
        }
    }

    async fn create_declared(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        metadata: ClientMetadata,
        status: Option<ClientStatus>,
        step: &Step,
        secrets: &dyn KeepSecret,
    ) -> Result<CarriedOut, ManagementError> {
        let secret = if uses_secret(&metadata) { Some(ClientSecret::generate(self.random.as_ref())?) } else { None };
        let storage = match metadata.client_secret_storage {
            Some(storage) => Some(storage),
            None => self.realm(realm).await?.settings.client_secret_storage,
        };
        if let Some(secret) = secret.as_ref().filter(|_| !self.is_given_out(storage)) {
            secrets.keep(realm, client_id, secret).await?;
        }
        let registration = Registration {
            client_id: Some(client_id.clone()),
            metadata,
            secret_lifetime: None,
            secret,
            status: status.unwrap_or(ClientStatus::Active),
            managed_by: step.managed_by.clone(),
        };
        let registered = self.register(realm, registration).await;
        let registered = registered.map_err(|error| match error {
            // Whoever has registered it meanwhile was quicker.
            ManagementError::Exists(subject) => ManagementError::Conflict(subject),
            other => other,
        })?;
        let is_news = |notice: &Notice| !matches!(notice, Notice::NoSecretMade(_));
        Ok(CarriedOut { notices: registered.notices.into_iter().filter(is_news).collect(), was_done: false })
    }

    /// The clients that these steps create whose secrets have to be kept ([`KeepSecret`]): those that have one, where no store gives it
    /// out again.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn new_secrets<'a>(
        &self,
        steps: &[&'a Step],
    ) -> Result<Vec<(&'a RealmName, &'a ClientId)>, ManagementError> {
        let mut kept = Vec::new();
        for step in steps.iter().filter(|step| step.action == Action::Create) {
            let Target::Client { realm, client_id } = &step.target else { continue };
            let subject = Subject::client(realm, client_id);
            let metadata = with_changes(&ClientMetadata::new(), &ClientMetadata::new(), &step.changes, &subject)?;
            if uses_secret(&metadata) {
                let storage = match metadata.client_secret_storage {
                    Some(storage) => Some(storage),
                    None => self.storage_of_realm(realm, steps).await?,
                };
                if !self.is_given_out(storage) {
                    kept.push((realm, client_id));
                }
            }
        }
        Ok(kept)
    }

    /// Where a realm says that secrets are kept, once these steps are carried out.
    async fn storage_of_realm(
        &self,
        name: &RealmName,
        steps: &[&Step],
    ) -> Result<Option<SecretStorage>, ManagementError> {
        let of_realm = |step: &&&Step| matches!(&step.target, Target::Realm { realm } if realm == name);
        let mut changes = steps.iter().filter(of_realm).flat_map(|step| &step.changes);
        if let Some(change) = changes.find(|change| change.member == "client_secret_storage") {
            return Ok(serde_json::from_value(change.after.clone()).ok());
        }
        match self.realm(name).await {
            Ok(realm) => Ok(realm.settings.client_secret_storage),
            Err(ManagementError::Unknown(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_given_out(&self, storage: Option<SecretStorage>) -> bool {
        self.rotates_secrets
            && storage.unwrap_or_else(|| self.default_secret_storage()) == SecretStorage::SecretsManager
    }

    /// Disables a client that is about to be deleted. Where several are, all of them before the first is deleted: from then on none gets a
    /// token, and whoever has made a mistake can still enable them. Does nothing for any other step.
    ///
    /// # Errors
    /// [`ManagementError::Conflict`] where the client is not as it was when this was planned.
    pub async fn disable_ahead(&self, step: &Step) -> Result<(), ManagementError> {
        let Target::Client { realm, client_id } = &step.target else { return Ok(()) };
        if step.action != Action::Delete {
            return Ok(());
        }
        match self.to_delete(realm, client_id, step).await? {
            Some(client) if client.is_active() => self.disable(&client).await.map(drop),
            _ => Ok(()),
        }
    }

    pub(super) async fn carry_out_deletion(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        step: &Step,
    ) -> Result<CarriedOut, ManagementError> {
        let Some(client) = self.to_delete(realm, client_id, step).await? else {
            return Ok(CarriedOut::before());
        };
        let client = if client.is_active() { self.disable(&client).await? } else { client };
        self.delete_unchanged(&client).await?;
        Ok(CarriedOut::default())
    }

    /// The client, unless it is gone, as it was when this was planned or as an earlier run has left it.
    async fn to_delete(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        step: &Step,
    ) -> Result<Option<Client>, ManagementError> {
        let client = match self.client(realm, client_id).await {
            Ok(client) => client,
            Err(ManagementError::Unknown(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let subject = || Subject::client(realm, client_id);
        let base = step.base.as_ref().ok_or_else(|| ManagementError::Conflict(subject()))?;
        // Of one that was disabled when this was planned, the next revision is somebody else's.
        let disabled_by_us = status_among(&step.changes) == Some(ClientStatus::Disabled)
            && !client.is_active()
            && client.revision == base.revision.saturating_add(1)
            && base.registration_id.as_ref() == Some(&client.registration_id);
        if is_based_on(&client, base) || disabled_by_us {
            Ok(Some(client))
        } else {
            Err(ManagementError::Conflict(subject()))
        }
    }

    async fn disable(&self, client: &Client) -> Result<Client, ManagementError> {
        let change = ClientChange {
            only_revision: Some(client.revision),
            status: Some(ClientStatus::Disabled),
            ..ClientChange::NOTHING
        };
        Ok(self.update(&client.realm, &client.client_id, &change).await?.record)
    }
}

/// The client with what a step changes.
pub(in super::super) fn client_after(is: &Client, step: &Step) -> Result<Client, ManagementError> {
    let subject = Subject::client(&is.realm, &is.client_id);
    let metadata = with_changes(&is.metadata, &ClientMetadata::new(), &step.changes, &subject)?;
    Ok(Client { metadata, status: status_among(&step.changes).unwrap_or(is.status), ..is.clone() })
}

fn is_based_on(client: &Client, base: &Base) -> bool {
    client.revision == base.revision && base.registration_id.as_ref() == Some(&client.registration_id)
}

/// Whether the client is of the file that is applied, or taken over by it.
fn may_replace(client: &Client, step: &Step) -> bool {
    let of = |managed_by: &Option<ManagedBy>| managed_by.as_ref().map(|managed_by| managed_by.name.clone());
    of(&client.managed_by) == of(&step.managed_by) || step.adopted_from.is_some()
}

fn is_done(
    client: &Client,
    metadata: &ClientMetadata,
    status: Option<ClientStatus>,
    managed_by: Option<&ManagedBy>,
) -> bool {
    client.metadata == *metadata
        && status.is_none_or(|status| client.status == status)
        && client.managed_by.as_ref() == managed_by
}

fn status_among(changes: &[MemberChange]) -> Option<ClientStatus> {
    let change = changes.iter().find(|change| change.member == "status")?;
    serde_json::from_value(change.after.clone()).ok()
}
