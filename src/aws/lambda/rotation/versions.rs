//! The versions of one secret as a rotation reads, fills and labels them.

use aws_sdk_secretsmanager::Client as SecretsManager;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use aws_sdk_secretsmanager::operation::put_secret_value::PutSecretValueError;
use aws_smithy_types::DateTime;
use zeroize::Zeroizing;

use super::error::RotationError;
use crate::aws::sdk::{SECRETS_MANAGER, corrupt, unavailable};
use crate::aws::store::described::{Secret, Standing, describe, take_label};
use crate::aws::store::secrets::{CURRENT, PENDING, label_has_moved};
use crate::core::port_error::PortError;
use crate::core::time::UnixSeconds;

/// Reads and labels versions.
#[derive(Clone)]
pub(super) struct Versions {
    secrets_manager: SecretsManager,
}

/// The version in use, and what it holds.
pub(super) struct CurrentVersion {
    pub(super) id: String,
    pub(super) created_at: DateTime,
    pub(super) text: Zeroizing<String>,
}

/// The version that waits to become the current one, and what it holds.
pub(super) struct PendingVersion {
    created_at: Option<DateTime>,
    pub(super) text: Zeroizing<String>,
}

impl CurrentVersion {
    /// When it was made, to the second.
    pub(super) fn made_at(&self) -> UnixSeconds {
        UnixSeconds(u64::try_from(self.created_at.secs()).unwrap_or_default())
    }
}

impl PendingVersion {
    /// Whether it was made before the version in use, or cannot say when: then it is what somebody has replaced, and not what
    /// is to take the place of anything.
    pub(super) fn is_older_than(&self, current: &CurrentVersion) -> bool {
        self.created_at.is_none_or(|created_at| created_at < current.created_at)
    }
}

impl Versions {
    pub(super) fn new(secrets_manager: SecretsManager) -> Self {
        Self { secrets_manager }
    }

    /// `None` where there is no such secret.
    pub(super) async fn describe(&self, id: &str) -> Result<Option<Secret>, PortError> {
        describe(&self.secrets_manager, id).await
    }

    pub(super) async fn current(&self, secret: &Secret) -> Result<CurrentVersion, PortError> {
        let request = self.secrets_manager.get_secret_value().secret_id(secret.id()).version_stage(CURRENT);
        let mut answer =
            request.send().await.map_err(|error| unavailable(SECRETS_MANAGER, "GetSecretValue", &error))?;
        let text = Zeroizing::new(answer.secret_string.take().unwrap_or_default());
        let id = answer.version_id.ok_or_else(|| corrupt(SECRETS_MANAGER, "a version without an id"))?;
        let created_at = answer.created_date;
        let created_at =
            created_at.ok_or_else(|| corrupt(SECRETS_MANAGER, "a version without the time of its creation"))?;
        Ok(CurrentVersion { id, created_at, text })
    }

    /// What the pending version of this id holds; `None` before createSecret. Secrets Manager makes it without a value.
    pub(super) async fn pending(
        &self,
        secret: &Secret,
        version: &str,
    ) -> Result<Option<PendingVersion>, RotationError> {
        let request =
            self.secrets_manager.get_secret_value().secret_id(secret.id()).version_id(version).version_stage(PENDING);
        match request.send().await {
            Ok(mut answer) => {
                let created_at = answer.created_date;
                let text = answer.secret_string.take().map(Zeroizing::new);
                Ok(text.map(|text| PendingVersion { created_at, text }))
            }
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
        take_label(&self.secrets_manager, secret.id(), PENDING, version).await
    }

    /// Takes AWSPENDING off whatever has it but the version that is about to get a value. Secrets Manager moves the label; here
    /// nothing depends on that.
    pub(super) async fn discard_others(&self, secret: &Secret, version: &str) -> Result<(), PortError> {
        for other in secret.versions_at(PENDING).filter(|other| *other != version) {
            self.discard_pending(secret, other).await?;
        }
        Ok(())
    }

    /// Makes a pending version the current one, and ends its being pending, also where somebody else was first. A version that
    /// kept AWSPENDING would be taken up again after somebody has replaced it: what was taken back would become current once
    /// more.
    pub(super) async fn make_current(&self, secret: &Secret, version: &str, from: &str) -> Result<(), RotationError> {
        let moved = self.move_current(secret, version, from).await;
        if matches!(moved, Ok(()) | Err(RotationError::Conflict)) {
            self.discard_pending(secret, version).await?;
        }
        moved
    }

    /// Moves AWSCURRENT from the version that the step knows as current; Secrets Manager labels that one AWSPREVIOUS and
    /// refuses to move anything where it is not current any more.
    async fn move_current(&self, secret: &Secret, version: &str, from: &str) -> Result<(), RotationError> {
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
