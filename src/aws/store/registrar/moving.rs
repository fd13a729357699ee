//! Secrets on their way between Secrets Manager and the registration.
//!
//! The functions remember registrations and secrets for a while, and two services share no transaction. So a secret is where it
//! is going before the registration says so, and leaves where it was only after. A function that remembers the registration as it
//! was, and finds nothing in Secrets Manager any more, reads it again.

use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use zeroize::Zeroizing;

use super::written::LeftBehindBy;
use super::{AwsRegistrar, SecretWritten};
use crate::aws::sdk::{SECRETS_MANAGER, unavailable};
use crate::aws::store::described::{Secret, describe};
use crate::aws::store::registry_id::RegistryId;
use crate::aws::store::secrets::{
    CURRENT, PREVIOUS, StoredSecret, digest_string, read_stored_secret, secret_name, secret_string,
};
use crate::core::client::Client;
use crate::core::client::registered_secrets::{PreviousSecret, RegisteredSecret, RegisteredSecrets};
use crate::core::client::secret::NewSecret;
use crate::core::client::secret_storage::SecretStorage;
use crate::core::port_error::PortError;
use crate::core::ports::{MovedSecrets, Registrar as _, RegistrarError};
use crate::core::time::UnixSeconds;

impl AwsRegistrar {
    /// Takes the secrets that are valid along to the registration, and deletes them in Secrets Manager.
    pub(super) async fn move_to_registration(
        &self,
        client: &Client,
        now: UnixSeconds,
    ) -> Result<MovedSecrets, RegistrarError> {
        let name = secret_name(&self.secret_prefix, &client.realm, &client.client_id);
        let Some(mut described) = describe(&self.secrets_manager, &name).await? else {
            self.replace(&Client { secret_digests: None, ..client.clone() }).await?;
            return Ok(MovedSecrets::default());
        };
        let registry = self.identity.require().await?;
        let mut client = client.clone();
        // Somebody may replace a secret while it is taken along: the one after it is not left behind.
        for attempt in 0..ATTEMPTS {
            described.require_registration(&registry, &client.registration_id)?;
            self.cancel_rotation(&described).await?;
            client.secret_digests = match self.digests_of(&described, &client, now).await {
                // Whoever came too late with another has deleted it again. What has been taken along is all there was.
                Err(RegistrarError::Conflict) if attempt > 0 => return Ok(MovedSecrets::default()),
                digests => digests?,
            };
            self.replace(&client).await?;
            match describe(&self.secrets_manager, described.id()).await {
                Ok(Some(found)) if !has_versions_of(&found, &described) => described = found,
                Ok(_) => return Ok(self.without_leftover(&described).await),
                Err(error) => return Ok(MovedSecrets { fresh_is_current: false, left_behind: Some(error) }),
            }
            client.revision = client.revision.saturating_add(1);
        }
        Err(RegistrarError::Conflict)
    }

    /// Deletes what a move to the registration has left behind that ended halfway.
    pub(super) async fn remove_leftover(&self, client: &Client) -> Result<MovedSecrets, RegistrarError> {
        let name = secret_name(&self.secret_prefix, &client.realm, &client.client_id);
        let Some(described) = describe(&self.secrets_manager, &name).await? else { return Ok(MovedSecrets::default()) };
        described.require_registration(&self.identity.require().await?, &client.registration_id)?;
        Ok(self.without_leftover(&described).await)
    }

    /// Stores a fresh secret, and the digest of the current one as the version before it.
    pub(super) async fn move_to_secrets_manager(
        &self,
        before: &Client,
        client: &Client,
        fresh: &NewSecret<'_>,
    ) -> Result<MovedSecrets, RegistrarError> {
        let registry = self.identity.require().await?;
        let moved = match self.store_fresh(&registry, before, fresh).await {
            Ok(()) => self.replace(&Client { secret_digests: None, ..client.clone() }).await,
            Err(error) => Err(error),
        };
        if let Err(error) = moved {
            // Nobody reads it while the registration says that it keeps its secrets itself. It may say otherwise by now: somebody else has
            // moved the client at the same time, or the write was done and its answer lost.
            if !self.may_be_read(before).await {
                self.withdraw_secret(&registry, before).await;
            }
            return Err(error);
        }
        Ok(MovedSecrets { fresh_is_current: true, left_behind: None })
    }

    /// Whether the functions may look for the client's secret in Secrets Manager. Also where nobody can say.
    async fn may_be_read(&self, client: &Client) -> bool {
        match self.read(&client.realm, &client.client_id).await {
            Ok(now) => {
                now.registration_id == client.registration_id && now.secret_storage() == SecretStorage::SecretsManager
            }
            Err(RegistrarError::NotFound) => false,
            Err(_) => true,
        }
    }

    async fn store_fresh(
        &self,
        registry: &RegistryId,
        client: &Client,
        fresh: &NewSecret<'_>,
    ) -> Result<(), RegistrarError> {
        let text = secret_string(client, fresh.secret)?;
        let Some(digests) = &client.secret_digests else {
            return Ok(self.store_first_secret(registry, client, &text, LeftBehindBy::ThisRegistration).await?);
        };
        let current = digest_string(client, &digests.current().sha256)?;
        self.store_first_secret(registry, client, &current, LeftBehindBy::ThisRegistration).await?;
        let name = secret_name(&self.secret_prefix, &client.realm, &client.client_id);
        match self.put_secret(&name, &text, None).await? {
            SecretWritten::Stored => Ok(()),
            // Somebody deletes it while it is made.
            SecretWritten::Gone => Err(RegistrarError::Conflict),
        }
    }

    async fn without_leftover(&self, described: &Secret) -> MovedSecrets {
        MovedSecrets { fresh_is_current: false, left_behind: self.delete_secret(described.id()).await.err() }
    }

    /// What is accepted of a secret at `now`, as a registration keeps it. `None` where nothing is.
    async fn digests_of(
        &self,
        described: &Secret,
        client: &Client,
        now: UnixSeconds,
    ) -> Result<Option<RegisteredSecrets>, RegistrarError> {
        let Some(current) = self.stored_version(described, CURRENT, client).await? else { return Ok(None) };
        let dates = self.dates_of(described).await;
        let current_made_at = dates.as_ref().and_then(|dates| dates.made_at);
        let current = registered(&current, current_made_at)?;
        let Some(dates) = dates.as_ref().and_then(|dates| dates.valid_previous(now)) else {
            return Ok(Some(RegisteredSecrets::taken_along(current, None)));
        };
        let previous = match self.stored_version(described, PREVIOUS, client).await {
            // The functions do not accept it either.
            Err(RegistrarError::Port(PortError::Corrupt { .. } | PortError::Foreign { .. })) | Ok(None) => None,
            Ok(Some(previous)) => {
                let secret = registered(&previous, dates.made_at)?;
                Some(PreviousSecret { secret, expires_at: dates.expires_at })
            }
            Err(error) => return Err(error),
        };
        Ok(Some(RegisteredSecrets::taken_along(current, previous)))
    }

    /// What a version holds; `None` where there is none, it is another registration's, or the secret is scheduled for deletion. A
    /// conflict where it has gone since it was described.
    async fn stored_version(
        &self,
        described: &Secret,
        stage: &str,
        client: &Client,
    ) -> Result<Option<StoredSecret>, RegistrarError> {
        let Some(version) = described.version_at(stage) else { return Ok(None) };
        let request = self.secrets_manager.get_secret_value().secret_id(described.id()).version_id(version);
        match request.send().await {
            Ok(mut answer) => {
                let text = Zeroizing::new(answer.secret_string.take().unwrap_or_default());
                let stored = read_stored_secret(&text, &client.client_id)?;
                Ok(if stored.belongs_to(client)? { Some(stored) } else { None })
            }
            Err(error) => match error.as_service_error() {
                Some(GetSecretValueError::ResourceNotFoundException(_)) => Err(RegistrarError::Conflict),
                Some(GetSecretValueError::InvalidRequestException(_)) => Ok(None),
                _ => Err(unavailable(SECRETS_MANAGER, "GetSecretValue", &error).into()),
            },
        }
    }
}

/// A secret as a registration keeps it.
fn registered(stored: &StoredSecret, made_at: Option<UnixSeconds>) -> Result<RegisteredSecret, RegistrarError> {
    if stored.is_generated() {
        Ok(RegisteredSecret { sha256: stored.digest()?, made_at })
    } else {
        Err(RegistrarError::SuppliedSecret)
    }
}

fn has_versions_of(found: &Secret, described: &Secret) -> bool {
    [CURRENT, PREVIOUS].into_iter().all(|stage| found.version_at(stage) == described.version_at(stage))
}

/// How often a secret is read that others replace meanwhile.
const ATTEMPTS: usize = 4;
