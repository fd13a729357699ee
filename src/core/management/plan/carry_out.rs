//! Steps, carried out as they were planned: somebody else's change in between stops them.

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::declaration::as_stored;
use super::step::{Action, Base, MemberChange, Step, Target};
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
use crate::core::management::realms::RealmChange;
use crate::core::members::Members;
use crate::core::port_error::PortError;
use crate::core::realm::{Realm, RealmName, RealmSettings};

/// What became of a step.
#[derive(Debug, Default)]
pub struct CarriedOut {
    /// What it brings with it.
    pub notices: Vec<Notice>,
    /// Whether somebody, perhaps an earlier run that was interrupted, had done the same already.
    pub was_done: bool,
}

/// Keeps the secret of a client that is about to be registered, where whoever needs it will find it, and where no store gives it out
/// again. Called before the
/// registration: an interruption in between leaves a secret of nobody, and never a client whose secret nobody knows.
#[async_trait]
pub trait KeepSecret: Send + Sync {
    /// Keeps it.
    ///
    /// # Errors
    /// [`PortError`]; then the client is not registered.
    async fn keep(&self, realm: &RealmName, client_id: &ClientId, secret: &ClientSecret) -> Result<(), PortError>;
}

impl Management {
    /// Carries out one step.
    ///
    /// # Errors
    /// [`ManagementError::Conflict`] where the record is neither as it was when this was planned nor as it was to become.
    pub async fn carry_out(&self, step: &Step, secrets: &dyn KeepSecret) -> Result<CarriedOut, ManagementError> {
        if !step.is_change() {
            return Ok(CarriedOut { was_done: true, ..CarriedOut::default() });
        }
        match &step.target {
            Target::Realm { realm } => self.carry_out_for_realm(realm, step).await,
            Target::Client { realm, client_id } => match step.action {
                Action::Delete => self.carry_out_deletion(realm, client_id, step).await,
                _ => self.carry_out_for_client(realm, client_id, step, secrets).await,
            },
        }
    }

    async fn carry_out_for_realm(&self, name: &RealmName, step: &Step) -> Result<CarriedOut, ManagementError> {
        let subject = Subject::Realm(name.clone());
        let stored = self.registrar.read_realm(name).await.map_err(|error| subject.clone().refused(error))?;
        let is = stored.unwrap_or_else(|| Realm::new(name.clone()));
        let settings: RealmSettings = with_changes(&is.settings, &RealmSettings::default(), &step.changes, &subject)?;
        if is.revision > 0 && is.settings == settings && is.managed_by == step.managed_by {
            return Ok(CarriedOut { was_done: true, ..CarriedOut::default() });
        }
        let change = RealmChange {
            settings: &|is| is.clone_from(&settings),
            names_signature: names_any(&step.changes, &NAMES_SIGNATURE),
            only_revision: Some(step.base.as_ref().map_or(0, |base| base.revision)),
            managed_by: step.managed_by.clone(),
            ..RealmChange::NOTHING
        };
        let Changed { notices, .. } = self.set_realm(name, &change).await?;
        Ok(CarriedOut { notices, was_done: false })
    }

    async fn carry_out_for_client(
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
            (Some(is), _) if is_done(&is, &metadata, status, step.managed_by.as_ref()) => {
                Ok(CarriedOut { was_done: true, ..CarriedOut::default() })
            }
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
        let is_given_out = storage.unwrap_or_else(|| self.default_secret_storage()) == SecretStorage::SecretsManager
            && self.rotates_secrets;
        if let Some(secret) = secret.as_ref().filter(|_| !is_given_out) {
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

    /// Disabled first: from then on nobody gets a token, and whoever has made a mistake can still undo it.
    async fn carry_out_deletion(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        step: &Step,
    ) -> Result<CarriedOut, ManagementError> {
        let is = match self.client(realm, client_id).await {
            Ok(client) => client,
            Err(ManagementError::Unknown(_)) => return Ok(CarriedOut { was_done: true, ..CarriedOut::default() }),
            Err(error) => return Err(error),
        };
        let base = step.base.as_ref().ok_or_else(|| ManagementError::Conflict(Subject::client(realm, client_id)))?;
        // An earlier run may have come as far as disabling it.
        let disabled_by_us = !is.is_active()
            && is.revision == base.revision.saturating_add(1)
            && base.registration_id.as_ref() == Some(&is.registration_id);
        if !is_based_on(&is, base) && !disabled_by_us {
            return Err(ManagementError::Conflict(Subject::client(realm, client_id)));
        }
        if is.is_active() {
            let change = ClientChange {
                only_revision: Some(base.revision),
                status: Some(ClientStatus::Disabled),
                ..ClientChange::NOTHING
            };
            self.update(realm, client_id, &change).await?;
        }
        self.delete(realm, client_id).await?;
        Ok(CarriedOut::default())
    }
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

fn names_any(changes: &[MemberChange], members: &[&str]) -> bool {
    changes.iter().any(|change| members.contains(&change.member.as_str()))
}

/// `record` with each change made.
fn with_changes<T: Serialize + DeserializeOwned>(
    record: &T,
    defaults: &T,
    changes: &[MemberChange],
    subject: &Subject,
) -> Result<T, ManagementError> {
    let defaults = Members::of(defaults);
    let mut members: Map<String, Value> =
        Members::of(record).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for change in changes {
        if let Some(member) = members.get_mut(&change.member) {
            *member = as_stored(&change.member, change.after.clone());
        }
    }
    members.retain(|_, value| !value.is_null());
    for (name, value) in defaults.iter() {
        // What a record always says.
        if !value.is_null() {
            members.entry(name).or_insert_with(|| value.clone());
        }
    }
    serde_json::from_value(Value::Object(members)).map_err(|_| ManagementError::Conflict(subject.clone()))
}

/// What says that a client's tokens are signed, and by what.
const NAMES_SIGNATURE: [&str; 2] = ["access_token_format", "access_token_signing_alg"];
