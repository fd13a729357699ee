//! The versions of one secret, and the labels that say what each of them is: AWSPENDING is being made current, AWSCURRENT is
//! in use, AWSPREVIOUS was before.

use std::collections::HashMap;

use aws_sdk_secretsmanager::Client as SecretsManager;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use aws_sdk_secretsmanager::operation::put_secret_value::PutSecretValueError;
use zeroize::Zeroizing;

use super::RotationError;
use crate::aws::sdk::{SECRETS_MANAGER, corrupt, unavailable};
use crate::aws::secrets::{CURRENT, PENDING, label_has_moved};
use crate::core::ports::{PortError, UnixSeconds};

/// Reads and labels versions.
#[derive(Clone)]
pub(super) struct Versions {
    secrets_manager: SecretsManager,
}

/// A secret as it was described at the beginning of a step.
pub(super) struct Secret {
    arn: String,
    name: String,
    labels: HashMap<String, Vec<String>>,
}

/// What a version is to a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Pending,
    Current,
}

/// The version in use, and what it holds.
pub(super) struct CurrentVersion {
    pub(super) id: String,
    pub(super) created_at: UnixSeconds,
    pub(super) text: Zeroizing<String>,
}

impl Secret {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The ARN: a secret that is deleted and made anew under its name has another one.
    pub(super) fn id(&self) -> &str {
        &self.arn
    }

    /// `None` where a rotation has no business with the version.
    pub(super) fn standing(&self, version: &str) -> Option<Standing> {
        let labels = self.labels.get(version)?;
        let has = |label: &str| labels.iter().any(|attached| attached == label);
        // In this order: AWSPENDING may stay on the version that has become current.
        if has(CURRENT) { Some(Standing::Current) } else { has(PENDING).then_some(Standing::Pending) }
    }

    /// The version that waits to become the current one.
    pub(super) fn pending_version(&self) -> Option<&str> {
        let mut versions = self.labels.keys().map(String::as_str);
        versions.find(|version| self.standing(version) == Some(Standing::Pending))
    }

    /// The version that has this label.
    pub(super) fn version_at(&self, label: &str) -> Option<&str> {
        let labelled = self.labels.iter().find(|(_, labels)| labels.iter().any(|attached| attached == label));
        labelled.map(|(version, _)| version.as_str())
    }
}

impl Versions {
    pub(super) fn new(secrets_manager: SecretsManager) -> Self {
        Self { secrets_manager }
    }

    /// `None` where there is no such secret.
    pub(super) async fn describe(&self, id: &str) -> Result<Option<Secret>, PortError> {
        match self.secrets_manager.describe_secret().secret_id(id).send().await {
            Ok(answer) => Ok(Some(Secret {
                arn: answer.arn.unwrap_or_default(),
                name: answer.name.unwrap_or_default(),
                labels: answer.version_ids_to_stages.unwrap_or_default(),
            })),
            Err(error) => match error.as_service_error() {
                Some(DescribeSecretError::ResourceNotFoundException(_)) => Ok(None),
                _ => Err(unavailable(SECRETS_MANAGER, "DescribeSecret", &error)),
            },
        }
    }

    pub(super) async fn current(&self, secret: &Secret) -> Result<CurrentVersion, PortError> {
        let request = self.secrets_manager.get_secret_value().secret_id(secret.id()).version_stage(CURRENT);
        let mut answer =
            request.send().await.map_err(|error| unavailable(SECRETS_MANAGER, "GetSecretValue", &error))?;
        let text = Zeroizing::new(answer.secret_string.take().unwrap_or_default());
        let id = answer.version_id.ok_or_else(|| corrupt(SECRETS_MANAGER, "a version without an id"))?;
        let created_at = answer.created_date.and_then(|date| u64::try_from(date.secs()).ok()).map(UnixSeconds);
        let created_at =
            created_at.ok_or_else(|| corrupt(SECRETS_MANAGER, "a version without the time of its creation"))?;
        Ok(CurrentVersion { id, created_at, text })
    }

    /// What the pending version of this id holds; `None` before createSecret. Secrets Manager makes it without a value.
    pub(super) async fn pending(
        &self,
        secret: &Secret,
        version: &str,
    ) -> Result<Option<Zeroizing<String>>, RotationError> {
        let request =
            self.secrets_manager.get_secret_value().secret_id(secret.id()).version_id(version).version_stage(PENDING);
        match request.send().await {
            Ok(mut answer) => Ok(Some(Zeroizing::new(answer.secret_string.take().unwrap_or_default()))),
            Err(error) => match error.as_service_error() {
                Some(GetSecretValueError::ResourceNotFoundException(_)) => Ok(None),
                // The label has moved to another version since the secret was described, or has gone.
                Some(GetSecretValueError::InvalidRequestException(_)) => Err(RotationError::NotPending),
                _ => Err(unavailable(SECRETS_MANAGER, "GetSecretValue", &error).into()),
            },
        }
    }

    /// Gives the pending version its value. Where it has another by now, that one stays: a run beside this one was first, and
    /// a version never changes.
    pub(super) async fn put_pending(&self, secret: &Secret, version: &str, text: &str) -> Result<(), PortError> {
        let stored = self
            .secrets_manager
            .put_secret_value()
            .secret_id(secret.id())
            .client_request_token(version)
            .secret_string(text)
            .version_stages(PENDING)
            .send()
            .await;
        match stored {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(PutSecretValueError::ResourceExistsException(_)) => Ok(()),
                _ => Err(unavailable(SECRETS_MANAGER, "PutSecretValue", &error)),
            },
        }
    }

    /// Takes AWSPENDING off a version that must not become current, so that the next rotation begins with one of its own:
    /// Secrets Manager starts none while another version is pending.
    pub(super) async fn discard_pending(&self, secret: &Secret, version: &str) -> Result<(), PortError> {
        let taken = self
            .secrets_manager
            .update_secret_version_stage()
            .secret_id(secret.id())
            .version_stage(PENDING)
            .remove_from_version_id(version)
            .send()
            .await;
        match taken {
            Ok(_) => Ok(()),
            Err(error) if label_has_moved(error.as_service_error()) => Ok(()),
            Err(error) => Err(unavailable(SECRETS_MANAGER, "UpdateSecretVersionStage", &error)),
        }
    }

    /// Moves AWSCURRENT from the version that the step knows as current; Secrets Manager labels that one AWSPREVIOUS and
    /// refuses to move anything where it is not current any more.
    pub(super) async fn make_current(&self, secret: &Secret, version: &str, from: &str) -> Result<(), RotationError> {
        let moved = self
            .secrets_manager
            .update_secret_version_stage()
            .secret_id(secret.id())
            .version_stage(CURRENT)
            .move_to_version_id(version)
            .remove_from_version_id(from)
            .send()
            .await;
        let Err(error) = moved else { return Ok(()) };
        if !label_has_moved(error.as_service_error()) {
            return Err(unavailable(SECRETS_MANAGER, "UpdateSecretVersionStage", &error).into());
        }
        // A run beside this one was first, or the answer to an earlier attempt of the SDK was lost.
        let now = self.describe(secret.id()).await?;
        match now.and_then(|secret| secret.standing(version)) {
            Some(Standing::Current) => Ok(()),
            _ => Err(RotationError::Conflict),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_what_its_labels_say() {
        let labels =
            [("one", vec!["AWSPREVIOUS"]), ("two", vec!["AWSPENDING", "AWSCURRENT"]), ("three", vec!["AWSPENDING"])];
        let labels =
            labels.map(|(version, labels)| (version.to_owned(), labels.into_iter().map(str::to_owned).collect()));
        let secret = Secret { arn: String::new(), name: String::new(), labels: labels.into() };
        for (version, standing) in
            [("one", None), ("two", Some(Standing::Current)), ("three", Some(Standing::Pending)), ("four", None)]
        {
            assert_eq!(secret.standing(version), standing, "{version}");
        }
        assert_eq!((secret.version_at("AWSCURRENT"), secret.version_at("AWSOTHER")), (Some("two"), None));
        assert_eq!(secret.pending_version(), Some("three"));
    }
}
