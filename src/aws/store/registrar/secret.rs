//! The secrets of registrations, in Secrets Manager.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_secretsmanager::operation::create_secret::CreateSecretError;
use aws_sdk_secretsmanager::operation::put_secret_value::PutSecretValueError;
use aws_sdk_secretsmanager::operation::restore_secret::RestoreSecretError;
use aws_sdk_secretsmanager::operation::tag_resource::TagResourceError;
use aws_sdk_secretsmanager::types::SecretVersionsListEntry;

use super::AwsRegistrar;
use super::written::{LeftBehindBy, SecretWritten};
use crate::aws::sdk::{SECRETS_MANAGER, unavailable};
use crate::aws::store::described::{Secret, delete, describe, tags, take_label};
use crate::aws::store::registry::{Consistency, client_key, fetch};
use crate::aws::store::registry_id::RegistryId;
use crate::aws::store::secrets::{
    CURRENT, PENDING, PREVIOUS, end_label, end_of, is_end_label, secret_name, secret_string,
};
use crate::core::client::Client;
use crate::core::client::id::{ClientId, RegistrationId};
use crate::core::client::secret::{Beside, NewSecret, PreviousSecretDates, SecretDates};
use crate::core::port_error::PortError;
use crate::core::realm::RealmName;
use crate::core::time::UnixSeconds;

impl AwsRegistrar {
    /// Writes the secret of a client that has none yet, so that afterwards it is the only one accepted.
    pub(super) async fn store_first_secret(
        &self,
        registry: &RegistryId,
        client: &Client,
        text: &str,
        leftover: LeftBehindBy,
    ) -> Result<(), PortError> {
        let name = secret_name(&self.secret_prefix, &client.realm, &client.client_id);
        let registration = &client.registration_id;
        // A deleted secret keeps its name occupied for a while, even if its deletion was forced.
        let mut pauses = LEFTOVER_PAUSES.iter();
        loop {
            let created = self
                .secrets_manager
                .create_secret()
                .name(&name)
                .description("An OAuth 2.0 client secret, managed by grantwell")
                .set_tags(Some(self.new_secrets.with_tags(tags(registry, Some(registration)))))
                .set_kms_key_id(self.new_secrets.kms_key_id())
                .secret_string(text)
                .send()
                .await;
            let Err(error) = created else { return Ok(()) };
            if !matches!(
                error.as_service_error(),
                Some(CreateSecretError::ResourceExistsException(_) | CreateSecretError::InvalidRequestException(_))
            ) {
                return Err(unavailable(SECRETS_MANAGER, "CreateSecret", &error));
            }

            // A secret left over from an earlier client of this id, possibly scheduled for deletion: taken over, unless it is
            // somebody else's. What it held must not be accepted as the previous one, nor become current again.
            if let Some(described) = describe(&self.secrets_manager, &name).await? {
                match leftover {
                    LeftBehindBy::AnyRegistration => described.require_registry(registry)?,
                    LeftBehindBy::ThisRegistration => described.require_registration(registry, registration)?,
                }
                self.restore_secret(&name).await?;
                if self.take_over(&described, registry, client, text).await? {
                    return Ok(());
                }
            }
            let Some(pause) = pauses.next() else {
                return Err(unavailable(SECRETS_MANAGER, "CreateSecret", &error));
            };
            tokio::time::sleep(*pause).await;
        }
    }

    /// Makes a leftover of this registry the client's. The tag first: a command that ends halfway leaves a secret that the next
    /// one finds to be its own. `false` where it is gone meanwhile.
    async fn take_over(
        &self,
        leftover: &Secret,
        registry: &RegistryId,
        client: &Client,
        text: &str,
    ) -> Result<bool, PortError> {
        let tags = self.new_secrets.with_tags(tags(registry, Some(&client.registration_id)));
        let tagged = self.secrets_manager.tag_resource().secret_id(leftover.name()).set_tags(Some(tags)).send().await;
        if let Err(error) = tagged {
            return match error.as_service_error() {
                Some(TagResourceError::ResourceNotFoundException(_) | TagResourceError::InvalidRequestException(_)) => {
                    Ok(false)
                }
                _ => Err(unavailable(SECRETS_MANAGER, "TagResource", &error)),
            };
        }
        self.cancel_rotation(leftover).await?;
        let SecretWritten::Stored = self.put_secret(leftover.name(), text, None).await? else {
            return Ok(false);
        };
        if let Some(described) = describe(&self.secrets_manager, leftover.name()).await? {
            self.take_labels(&described, PREVIOUS).await?;
        }
        Ok(true)
    }

    /// Makes a new secret current, and makes the secret where there is none.
    pub(super) async fn rotate_stored_secret(
        &self,
        registry: &RegistryId,
        client: &Client,
        new: &NewSecret<'_>,
    ) -> Result<(), PortError> {
        let name = secret_name(&self.secret_prefix, &client.realm, &client.client_id);
        if let Some(described) = describe(&self.secrets_manager, &name).await? {
            described.require_registration(registry, &client.registration_id)?;
            // A schedule would complete what was begun before, and make current again what the operator replaces: AWSPENDING
            // may be on the very version that is current now.
            self.cancel_rotation(&described).await?;
            if let SecretWritten::Stored = self.replace_secret(&described, client, new).await? {
                return Ok(());
            }
        }
        // Somebody deleted the secret behind the registration's back; a new one repairs that.
        let text = secret_string(client, new.secret)?;
        self.store_first_secret(registry, client, &text, LeftBehindBy::ThisRegistration).await
    }

    /// Makes a new version current, beside one of those that there are.
    pub(super) async fn replace_secret(
        &self,
        described: &Secret,
        client: &Client,
        new: &NewSecret<'_>,
    ) -> Result<SecretWritten, PortError> {
        let (kept, ends_at) = match new.beside {
            Beside::Current(ends_at) => (described.version_at(CURRENT), ends_at),
            Beside::Previous(ends_at) => {
                let kept = self.make_previous_current(described).await?;
                let until_now = described.version_at(CURRENT).zip(kept);
                let until_now = until_now.map(|(current, kept)| end_of(kept, described.labels_of(current)));
                (kept, ends_at.or(until_now).unwrap_or(UnixSeconds(0)))
            }
        };
        let label = kept.filter(|_| ends_at != UnixSeconds(0)).map(|kept| end_label(kept, ends_at));
        // Secrets Manager moves AWSPREVIOUS to the version that is current until now.
        let text = secret_string(client, new.secret)?;
        let SecretWritten::Stored = self.put_secret(described.id(), &text, label.clone()).await? else {
            return Ok(SecretWritten::Gone);
        };
        // A version with a label is never removed; one that the new version has too has moved to it. The new secret is current whatever becomes of this, and must be handed over.
        let is_left = |old: &str| is_end_label(old) && Some(old) != label.as_deref();
        for (version, label) in described.labels().filter(|(_, old)| is_left(old)) {
            if let Err(error) = take_label(&self.secrets_manager, described.id(), label, version).await {
                tracing::warn!(secret = described.name(), label, %error, "a label stays behind");
            }
        }
        Ok(SecretWritten::Stored)
    }

    /// Exchanges the previous version and the current one, so that the next one that becomes current leaves the former where it is and
    /// ends the latter. Both are accepted all the while, and a command that ends here can be repeated: of the two it is the newer one
    /// that is replaced. The version that is kept.
    async fn make_previous_current<'a>(&self, described: &'a Secret) -> Result<Option<&'a str>, PortError> {
        let (Some(current), Some(previous)) = (described.version_at(CURRENT), described.version_at(PREVIOUS)) else {
            return Ok(described.version_at(CURRENT));
        };
        let dates = self.dates_of_versions(described).await?;
        if dates.get(current) < dates.get(previous) {
            return Ok(Some(current));
        }
        let request =
            self.secrets_manager.update_secret_version_stage().secret_id(described.id()).version_stage(CURRENT);
        let moved = request.remove_from_version_id(current).move_to_version_id(previous).send().await;
        moved.map_err(|error| unavailable(SECRETS_MANAGER, "UpdateSecretVersionStage", &error))?;
        Ok(Some(previous))
    }

    /// When the versions in use were made, where an operator may see that, and when the previous one ends.
    pub(super) async fn dates_of(&self, described: &Secret) -> Option<SecretDates> {
        let current = described.version_at(CURRENT)?;
        let dates = self.dates_of_versions(described).await.unwrap_or_default();
        let made_at = |version: &str| dates.get(version).copied();
        let previous = described.version_at(PREVIOUS).map(|previous| PreviousSecretDates {
            made_at: made_at(previous),
            expires_at: end_of(previous, described.labels_of(current)),
        });
        Some(SecretDates { made_at: made_at(current), previous })
    }

    /// When each version with a label was made.
    async fn dates_of_versions(&self, described: &Secret) -> Result<HashMap<String, UnixSeconds>, PortError> {
        let listed = self.secrets_manager.list_secret_version_ids().secret_id(described.id()).send().await;
        let listed = listed.map_err(|error| unavailable(SECRETS_MANAGER, "ListSecretVersionIds", &error))?;
        let date = |version: SecretVersionsListEntry| {
            let seconds = u64::try_from(version.created_date?.secs()).ok()?;
            Some((version.version_id?, UnixSeconds(seconds)))
        };
        Ok(listed.versions.unwrap_or_default().into_iter().filter_map(date).collect())
    }

    /// Adds a version, which becomes the current one, with one label more.
    pub(super) async fn put_secret(
        &self,
        name: &str,
        text: &str,
        label: Option<String>,
    ) -> Result<SecretWritten, PortError> {
        let answer = self
            .secrets_manager
            .put_secret_value()
            .secret_id(name)
            .secret_string(text)
            .set_version_stages(Some([CURRENT.to_owned()].into_iter().chain(label).collect()))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(SecretWritten::Stored),
            Err(error) => match error.as_service_error() {
                Some(
                    PutSecretValueError::ResourceNotFoundException(_) | PutSecretValueError::InvalidRequestException(_),
                ) => Ok(SecretWritten::Gone),
                _ => Err(unavailable(SECRETS_MANAGER, "PutSecretValue", &error)),
            },
        }
    }

    /// Takes AWSPENDING off whatever has it, so that no rotation makes it current any more: not what was begun and left, and not
    /// what was current and kept the label.
    pub(super) async fn cancel_rotation(&self, secret: &Secret) -> Result<(), PortError> {
        self.take_labels(secret, PENDING).await
    }

    /// Takes a label off the version that has it, if there is one: without a label nothing reads it.
    pub(super) async fn take_labels(&self, secret: &Secret, label: &str) -> Result<(), PortError> {
        for version in secret.versions_at(label) {
            take_label(&self.secrets_manager, secret.id(), label, version).await?;
        }
        Ok(())
    }

    /// Takes back a scheduled deletion, if there is one. A secret that is gone meanwhile, or past restoring, is no error:
    /// the caller tries to create it again.
    pub(super) async fn restore_secret(&self, name: &str) -> Result<(), PortError> {
        match self.secrets_manager.restore_secret().secret_id(name).send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(
                    RestoreSecretError::ResourceNotFoundException(_) | RestoreSecretError::InvalidRequestException(_),
                ) => Ok(()),
                _ => Err(unavailable(SECRETS_MANAGER, "RestoreSecret", &error)),
            },
        }
    }

    /// Deletes the secret of a registration that is gone. `deleted` is what it was; where nothing was registered, a leftover of
    /// whatever registration goes.
    pub(super) async fn delete_secret_of(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        deleted: Option<&HashMap<String, AttributeValue>>,
    ) -> Result<(), PortError> {
        let name = secret_name(&self.secret_prefix, realm, client_id);
        let Some(described) = describe(&self.secrets_manager, &name).await? else { return Ok(()) };
        let registry = self.identity.require().await?;
        match deleted.map(|item| item.get("registration_id").and_then(|value| value.as_s().ok())) {
            Some(Some(registration)) => {
                described.require_registration(&registry, &RegistrationId::from_text(registration))?;
            }
            Some(None) => described.require_registry(&registry)?,
            // No leftover, but another stack's, whose client is none of this registry's.
            None if described.require_registry(&registry).is_err() => return Ok(()),
            None => {
                // Somebody may have registered the client since the look for it.
                let key = client_key(realm, client_id);
                if fetch(&self.dynamodb, &self.registry_table, key, Consistency::Strong).await?.is_some() {
                    return Ok(());
                }
            }
        }
        // By its ARN: a secret made anew under this name has another one.
        self.delete_secret(described.id()).await
    }

    /// Takes back the secret of a registration that could not be completed, if it has come to have one: nobody has seen it, and it is
    /// billed for as long as it stays. Whatever is not this registration's is left alone.
    pub(super) async fn withdraw_secret(&self, registry: &RegistryId, client: &Client) {
        let name = secret_name(&self.secret_prefix, &client.realm, &client.client_id);
        let withdrawn = match describe(&self.secrets_manager, &name).await {
            Ok(Some(described)) if described.require_registration(registry, &client.registration_id).is_ok() => {
                self.delete_secret(described.id()).await
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = withdrawn {
            tracing::warn!(secret = name, %error, "a secret that nobody has seen stays behind; delete it");
        }
    }

    pub(super) async fn delete_secret(&self, name: &str) -> Result<(), PortError> {
        delete(&self.secrets_manager, name).await
    }
}

/// How long to wait for Secrets Manager to let go of a name.
const LEFTOVER_PAUSES: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
