//! Steps, carried out as they were planned: somebody else's change in between stops them.

pub(super) mod client;
mod issuer;
mod owner;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::declaration::as_stored;
use super::step::{Action, MemberChange, Step, Target};
use crate::core::client::id::ClientId;
use crate::core::client::secret::ClientSecret;
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

impl CarriedOut {
    fn before() -> Self {
        Self { notices: Vec::new(), was_done: true }
    }
}

impl Management {
    /// Carries out one step.
    ///
    /// # Errors
    /// [`ManagementError::Conflict`] where the record is neither as it was when this was planned nor as it was to become.
    pub async fn carry_out(&self, step: &Step, secrets: &dyn KeepSecret) -> Result<CarriedOut, ManagementError> {
        if !step.is_change() {
            return Ok(CarriedOut::before());
        }
        match &step.target {
            Target::Realm { realm } => self.carry_out_for_realm(realm, step).await,
            Target::Owner { owner } => match step.action {
                Action::Delete => self.carry_out_deletion_of_owner(owner, step).await,
                _ => self.carry_out_for_owner(owner, step).await,
            },
            Target::Issuer { realm, name } => match step.action {
                Action::Delete => self.carry_out_removal(realm, name, step).await,
                _ => self.carry_out_for_issuer(realm, name, step).await,
            },
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
            return Ok(CarriedOut::before());
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
