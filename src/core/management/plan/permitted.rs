//! Whether whoever carries out a plan may make each of its changes, asked before the first of them.

use super::carry_out::client::client_after;
use super::draft::Plan;
use super::step::{Action, Step, Target};
use crate::core::client::Client;
use crate::core::client::id::{ClientId, RegistrationId};
use crate::core::client::metadata::ClientMetadata;
use crate::core::management::access::{Access, Operation};
use crate::core::management::operator::Management;
use crate::core::management::outcome::ManagementError;
use crate::core::ports::AccessDenied;
use crate::core::realm::{Realm, RealmName};
use crate::core::time::UnixSeconds;

/// A change that whoever asks may not make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotPermitted {
    /// What was to be changed.
    pub target: Target,
    /// Why not.
    pub why: AccessDenied,
}

impl Management {
    /// The changes of `plan` that whoever works here may not make. Of an operator nothing is read.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn not_permitted(&self, plan: &Plan) -> Result<Vec<NotPermitted>, ManagementError> {
        let access = self.book.access().await?;
        if access == Access::Operator {
            return Ok(Vec::new());
        }
        let mut refused = Vec::new();
        for step in plan.steps.iter().filter(|step| step.is_change()) {
            if let Some(why) = self.refusal_of(step, &access).await? {
                refused.push(NotPermitted { target: step.target.clone(), why });
            }
        }
        Ok(refused)
    }

    async fn refusal_of(&self, step: &Step, access: &Access) -> Result<Option<AccessDenied>, ManagementError> {
        let Target::Client { realm, client_id } = &step.target else {
            return Ok(access.check(Operation::Operate).err());
        };
        let is = match self.client(realm, client_id).await {
            Ok(client) => Some(client),
            Err(ManagementError::Unknown(_)) => None,
            Err(error) => return Err(error),
        };
        let checked = match (&is, step.action) {
            (None, Action::Delete) => return Ok(None),
            (Some(is), Action::Delete) => access.check(Operation::Use(is)),
            (Some(is), _) => access.check(Operation::Change { before: is, after: &client_after(is, step)? }),
            (None, _) => access.check(Operation::Register(&client_after(&unregistered(realm, client_id)?, step)?)),
        };
        Ok(checked.err())
    }
}

/// A client of which nothing is said.
fn unregistered(realm: &RealmName, client_id: &ClientId) -> Result<Client, ManagementError> {
    let nobody = RegistrationId::from_text("");
    let realm = Realm::new(realm.clone());
    Ok(Client::register(client_id.clone(), &realm, ClientMetadata::new(), nobody, UnixSeconds(0))?)
}
