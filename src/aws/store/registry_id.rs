//! The id of a registry, by which its secrets are told from another stack's: made once, and kept in the registry table itself
//! (`root` / `registry`), so that a table restored under another name is still the same registry.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use tokio::sync::OnceCell;

use super::registry::{Consistency, ITEM, fetch, registry_key};
use crate::aws::sdk::{DYNAMODB, corrupt, foreign, unavailable};
use crate::core::port_error::PortError;
use crate::core::random::{Random, random_name};

/// 128 random bits that name one registry for ever. No secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryId(String);

/// Finds out which registry a table is, and remembers it: the id never changes.
pub struct RegistryIdentity {
    dynamodb: DynamoDb,
    table: String,
    random: Option<Arc<dyn Random>>,
    known: OnceCell<RegistryId>,
}

impl RegistryIdentity {
    /// The registry in the table of this name. One that has no id yet is given none: functions may not write registrations, nor
    /// what stands beside them.
    pub fn new(dynamodb: DynamoDb, table: impl Into<String>) -> Self {
        Self { dynamodb, table: table.into(), random: None, known: OnceCell::new() }
    }

    /// The same registry, which is given an id when one is required and it has none: for an operator's command line.
    #[must_use]
    pub fn made_of(self, random: Arc<dyn Random>) -> Self {
        Self { random: Some(random), ..self }
    }

    /// The registry's id; `None` before there is one.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn find(&self) -> Result<Option<RegistryId>, PortError> {
        if let Some(known) = self.known.get() {
            return Ok(Some(known.clone()));
        }
        match self.read().await? {
            Some(id) => Ok(Some(self.known.get_or_init(async || id).await.clone())),
            None => Ok(None),
        }
    }

    /// The registry's id, made where it may be.
    ///
    /// # Errors
    /// [`PortError::Foreign`] where there is none and this process may not make it; [`PortError`] otherwise.
    pub async fn require(&self) -> Result<RegistryId, PortError> {
        let id = self.known.get_or_try_init(async || match (self.read().await?, &self.random) {
            (Some(id), _) => Ok(id),
            (None, Some(random)) => self.make(random.as_ref()).await,
            (None, None) => Err(foreign(
                DYNAMODB,
                format!("the registry has no id yet, so no secret can be its own; it gets one with: {BIND}"),
            )),
        });
        id.await.cloned()
    }

    async fn read(&self) -> Result<Option<RegistryId>, PortError> {
        // Consistent: whoever has just made it is about to use it.
        let item = fetch(&self.dynamodb, &self.table, registry_key(), Consistency::Strong).await?;
        item.map(|item| RegistryId::of(&item)).transpose()
    }

    /// Of two who make it at once, one wins.
    async fn make(&self, random: &dyn Random) -> Result<RegistryId, PortError> {
        let id = RegistryId(random_name(random)?);
        let mut item = registry_key();
        item.insert(REGISTRY_ID.to_owned(), AttributeValue::S(id.0.clone()));
        let written = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#item)")
            .expression_attribute_names("#item", ITEM)
            .send()
            .await;
        let Err(error) = written else { return Ok(id) };
        if !matches!(error.as_service_error(), Some(PutItemError::ConditionalCheckFailedException(_))) {
            return Err(unavailable(DYNAMODB, "PutItem", &error));
        }
        self.read().await?.ok_or_else(|| corrupt(DYNAMODB, "a registry whose id was deleted while it was made"))
    }
}

impl RegistryId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(item: &HashMap<String, AttributeValue>) -> Result<Self, PortError> {
        let text = item.get(REGISTRY_ID).and_then(|value| value.as_s().ok());
        // It stands in tags and in JSON: nothing but what `random_name` makes.
        let text = text.filter(|text| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        });
        text.cloned().map(Self).ok_or_else(|| corrupt(DYNAMODB, "a registry whose id cannot be read"))
    }
}

impl fmt::Display for RegistryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What an operator does about secrets that nothing says the owner of.
pub(super) const BIND: &str = "grantwell secrets bind --store aws";
/// The attribute of the registry's own item, and the member of what is stored of a realm's keys.
pub(super) const REGISTRY_ID: &str = "registry_id";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_this_program_makes_and_nothing_else() {
        let of = |value: Option<AttributeValue>| {
            RegistryId::of(&value.into_iter().map(|value| (REGISTRY_ID.to_owned(), value)).collect())
        };
        let text = |text: &str| Some(AttributeValue::S(text.to_owned()));
        assert_eq!(of(text("q0-_Zz09")), Ok(RegistryId("q0-_Zz09".to_owned())));
        for value in
            [None, text(""), text("a b"), text("a\"b"), text(&"a".repeat(65)), Some(AttributeValue::N("1".into()))]
        {
            assert_eq!(of(value), Err(corrupt(DYNAMODB, "a registry whose id cannot be read")));
        }
    }
}
