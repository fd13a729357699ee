//! Owners: the registry table alone.

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};

use super::written::Written;
use super::{AwsRegistrar, Condition};
use crate::aws::sdk::{DYNAMODB, corrupt, from_item, to_item, unavailable};
use crate::aws::store::registry::{Consistency, fetch, owner_key};
use crate::core::owner::{Owner, OwnerId};
use crate::core::port_error::PortError;
use crate::core::ports::RegistrarError;

impl AwsRegistrar {
    pub(super) async fn write_owner(&self, owner: &Owner) -> Result<(), RegistrarError> {
        let condition = Condition::after(owner.revision).ok_or(RegistrarError::Conflict)?;
        let mut item = to_item(owner, "an owner")?;
        item.extend(owner_key(&owner.owner));
        match self.put(item, &self.write_id()?, &condition).await? {
            Written::Stored => Ok(()),
            Written::Refused(_) => Err(RegistrarError::Conflict),
        }
    }

    /// A repeated attempt of the SDK finds nothing any more: then it is deleted, by whomever.
    pub(super) async fn remove_owner(&self, owner: &Owner) -> Result<(), RegistrarError> {
        let deleted = self
            .dynamodb
            .delete_item()
            .table_name(&self.registry_table)
            .set_key(Some(owner_key(&owner.owner)))
            .condition_expression("#revision = :revision")
            .expression_attribute_names("#revision", "revision")
            .expression_attribute_values(":revision", AttributeValue::N(owner.revision.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = deleted else { return Ok(()) };
        match error.as_service_error() {
            Some(DeleteItemError::ConditionalCheckFailedException(refusal)) => Err(match refusal.item() {
                Some(item) if !item.is_empty() => RegistrarError::Conflict,
                _ => RegistrarError::NotFound,
            }),
            _ => Err(unavailable(DYNAMODB, "DeleteItem", &error).into()),
        }
    }

    pub(super) async fn fetch_owner(&self, id: &OwnerId) -> Result<Option<Owner>, PortError> {
        let item = fetch(&self.dynamodb, &self.registry_table, owner_key(id), Consistency::Strong).await?;
        let Some(item) = item else { return Ok(None) };
        let owner: Owner = from_item(item, "an owner")?;
        if owner.owner == *id {
            Ok(Some(owner))
        } else {
            Err(corrupt(DYNAMODB, "an owner whose id is not the one of its key"))
        }
    }
}
