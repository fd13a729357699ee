//! A secret as Secrets Manager describes it, without its value: whose it is, and which of its versions has which label.
//!
//! Each secret has the tag `grantwell:registry`, and that of a client `grantwell:registration` too. What carries another one,
//! or none, is not this stack's, whatever its name: it is neither taken over, changed nor deleted.
//!
//! AWSPENDING is on the version that is being made current, AWSCURRENT on the one in use, AWSPREVIOUS on the one before it. A
//! label that stays where it has no business makes a rotation take up a version that somebody has taken back, so whoever
//! replaces a secret takes it off.

use std::collections::HashMap;

use aws_sdk_secretsmanager::Client as SecretsManager;
use aws_sdk_secretsmanager::operation::delete_secret::DeleteSecretError;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretError;
use aws_sdk_secretsmanager::types::Tag;

use super::registry_id::{BIND, RegistryId};
use super::secrets::{CURRENT, PENDING, label_has_moved};
use crate::aws::sdk::{SECRETS_MANAGER, foreign, unavailable};
use crate::core::client::id::RegistrationId;
use crate::core::port_error::PortError;

/// A secret as it was when somebody looked.
pub(in crate::aws) struct Secret {
    arn: String,
    name: String,
    labels: HashMap<String, Vec<String>>,
    tags: HashMap<String, String>,
}

/// What a version is to a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::aws) enum Standing {
    Pending,
    Current,
}

/// Looks at a secret, by its name or its ARN; also at one that is scheduled for deletion. `None` where there is none.
pub(in crate::aws) async fn describe(secrets_manager: &SecretsManager, id: &str) -> Result<Option<Secret>, PortError> {
    match secrets_manager.describe_secret().secret_id(id).send().await {
        Ok(answer) => {
            let tags = answer.tags.unwrap_or_default().into_iter();
            Ok(Some(Secret {
                arn: answer.arn.unwrap_or_default(),
                name: answer.name.unwrap_or_default(),
                labels: answer.version_ids_to_stages.unwrap_or_default(),
                tags: tags.filter_map(|tag| tag.key.zip(tag.value)).collect(),
            }))
        }
        Err(error) => match error.as_service_error() {
            Some(DescribeSecretError::ResourceNotFoundException(_)) => Ok(None),
            _ => Err(unavailable(SECRETS_MANAGER, "DescribeSecret", &error)),
        },
    }
}

/// Takes a label off a version, which nobody reads by that label any more. Where it is gone already, somebody else took it.
pub(in crate::aws) async fn take_label(
    secrets_manager: &SecretsManager,
    secret_id: &str,
    label: &str,
    version: &str,
) -> Result<(), PortError> {
    let request = secrets_manager.update_secret_version_stage().secret_id(secret_id);
    match request.version_stage(label).remove_from_version_id(version).send().await {
        Ok(_) => Ok(()),
        Err(error) if label_has_moved(error.as_service_error()) => Ok(()),
        Err(error) => Err(unavailable(SECRETS_MANAGER, "UpdateSecretVersionStage", &error)),
    }
}

/// Deletes a secret, by its ARN if it must not be one that was made anew under its name.
pub(super) async fn delete(secrets_manager: &SecretsManager, id: &str) -> Result<(), PortError> {
    // Without the recovery window: whoever deletes a client or a realm does not want its secret back, and a secret that waits for its
    // deletion blocks the name for weeks.
    match secrets_manager.delete_secret().secret_id(id).force_delete_without_recovery(true).send().await {
        Ok(_) => Ok(()),
        Err(error) => match error.as_service_error() {
            Some(DeleteSecretError::ResourceNotFoundException(_)) => Ok(()),
            _ => Err(unavailable(SECRETS_MANAGER, "DeleteSecret", &error)),
        },
    }
}

/// The tags of a secret of this registry, and of this registration where it is a client's.
pub(super) fn tags(registry: &RegistryId, registration: Option<&RegistrationId>) -> Vec<Tag> {
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let registration = registration.map(|registration| tag(REGISTRATION_TAG, registration.as_str()));
    [tag(REGISTRY_TAG, registry.as_str())].into_iter().chain(registration).collect()
}

impl Secret {
    pub(in crate::aws) fn name(&self) -> &str {
        &self.name
    }

    /// The ARN: a secret that is deleted and made anew under its name has another one.
    pub(in crate::aws) fn id(&self) -> &str {
        &self.arn
    }

    /// The registry that its tag names.
    pub(super) fn registry(&self) -> Option<&str> {
        self.tags.get(REGISTRY_TAG).map(String::as_str)
    }

    /// The registration that its tag names.
    pub(super) fn registration(&self) -> Option<&str> {
        self.tags.get(REGISTRATION_TAG).map(String::as_str)
    }

    /// # Errors
    /// [`PortError::Foreign`] unless it carries the tag of this registry.
    pub(in crate::aws) fn require_registry(&self, registry: &RegistryId) -> Result<(), PortError> {
        match self.registry() {
            Some(tag) if tag == registry.as_str() => Ok(()),
            Some(_) => Err(self.foreign(&format!(
                "has the tag {REGISTRY_TAG} of another registry and is left alone; give this stack a SecretPrefix that no \
                 other has"
            ))),
            None => Err(self.untagged(REGISTRY_TAG)),
        }
    }

    /// # Errors
    /// [`PortError::Foreign`] unless it carries the tags of this registry and this registration.
    pub(in crate::aws) fn require_registration(
        &self,
        registry: &RegistryId,
        registration: &RegistrationId,
    ) -> Result<(), PortError> {
        self.require_registry(registry)?;
        match self.registration() {
            Some(tag) if tag == registration.as_str() => Ok(()),
            Some(_) => Err(self.foreign(&format!(
                "has the tag {REGISTRATION_TAG} of another registration of the client's id and is left alone; delete the \
                 client and create it again"
            ))),
            None => Err(self.untagged(REGISTRATION_TAG)),
        }
    }

    /// `None` where a rotation has no business with the version.
    pub(in crate::aws) fn standing(&self, version: &str) -> Option<Standing> {
        let labels = self.labels.get(version)?;
        let has = |label: &str| labels.iter().any(|attached| attached == label);
        // In this order: AWSPENDING may stay on the version that has become current.
        if has(CURRENT) { Some(Standing::Current) } else { has(PENDING).then_some(Standing::Pending) }
    }

    /// The version that waits to become the current one.
    pub(in crate::aws) fn pending_version(&self) -> Option<&str> {
        let mut versions = self.labels.keys().map(String::as_str);
        versions.find(|version| self.standing(version) == Some(Standing::Pending))
    }

    /// The version that has this label.
    pub(in crate::aws) fn version_at(&self, label: &str) -> Option<&str> {
        self.versions_at(label).next()
    }

    /// Every version that has this label. Secrets Manager gives it to one at most.
    pub(in crate::aws) fn versions_at(&self, label: &str) -> impl Iterator<Item = &str> {
        let labelled = move |labels: &[String]| labels.iter().any(|attached| attached == label);
        self.labels.iter().filter(move |(_, labels)| labelled(labels)).map(|(version, _)| version.as_str())
    }

    /// The labels of a version.
    pub(super) fn labels_of(&self, version: &str) -> &[String] {
        self.labels.get(version).map_or(&[], Vec::as_slice)
    }

    /// Every label, with its version.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels
            .iter()
            .flat_map(|(version, labels)| labels.iter().map(move |label| (version.as_str(), label.as_str())))
    }

    fn untagged(&self, tag: &str) -> PortError {
        self.foreign(&format!(
            "has no tag {tag}, so nothing says whose it is, and it is left alone; if it is this registry's, tag it with: \
             {BIND}; else delete it or give it another name"
        ))
    }

    fn foreign(&self, what: &str) -> PortError {
        foreign(SECRETS_MANAGER, format!("{} {what}", self.name))
    }
}

/// The tag that says which registry a secret belongs to.
pub(super) const REGISTRY_TAG: &str = "grantwell:registry";
/// The tag that says which registration a client's secret belongs to.
pub(super) const REGISTRATION_TAG: &str = "grantwell:registration";

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(labels: &[(&str, &[&str])]) -> Secret {
        let owned = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
        let labels = labels.iter().map(|(version, labels)| ((*version).to_owned(), owned(labels))).collect();
        Secret { arn: String::new(), name: String::new(), labels, tags: HashMap::new() }
    }

    #[test]
    fn a_version_is_what_its_labels_say() {
        let secret =
            secret(&[("one", &["AWSPREVIOUS"]), ("two", &["AWSPENDING", "AWSCURRENT"]), ("three", &["AWSPENDING"])]);
        for (version, standing) in
            [("one", None), ("two", Some(Standing::Current)), ("three", Some(Standing::Pending)), ("four", None)]
        {
            assert_eq!(secret.standing(version), standing, "{version}");
        }
        assert_eq!((secret.version_at("AWSCURRENT"), secret.version_at("AWSOTHER")), (Some("two"), None));
        assert_eq!(secret.pending_version(), Some("three"));
        assert_eq!(secret.versions_at("AWSPENDING").count(), 2);
    }
}
