//! The four steps for the secret of one client. Nobody has to be told of a new one: the functions read Secrets Manager.

use std::sync::Arc;

use async_trait::async_trait;

use super::error::RotationError;
use super::versions::Versions;
use crate::aws::store::described::Secret;
use crate::aws::store::secrets::{CURRENT, StoredSecret, read_stored_secret, replaced_secret_string};
use crate::core::client::Client;
use crate::core::client::secret::{ClientSecret, ClientSecrets, SecretDigest};
use crate::core::client_auth::{self, ClientAuthenticator, Credentials};
use crate::core::management::{ChangeToLog, Logbook};
use crate::core::port_error::PortError;
use crate::core::ports::{ClientRegistry, Clock, SecretSource};
use crate::core::random::Random;
use crate::core::realms::Realms;

/// Rotates the secrets of clients.
pub(super) struct ClientSecretRotation {
    pub(super) versions: Versions,
    pub(super) registry: Arc<dyn ClientRegistry>,
    pub(super) realms: Realms,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) book: Arc<Logbook>,
}

/// The pending secret as the only one that counts: what the functions will read once it is current.
struct PendingSecret(SecretDigest);

impl ClientSecretRotation {
    /// Whether the secret in use is to be replaced now. Where AWSCURRENT has moved since the secret was described, somebody
    /// has just replaced it.
    pub(super) async fn is_due(&self, secret: &Secret, client: &Client) -> Result<bool, RotationError> {
        let current = self.versions.current(secret).await?;
        let is_described = secret.version_at(CURRENT) == Some(current.id.as_str());
        Ok(is_described && client.secret_rotation_is_due(current.made_at(), self.clock.now()))
    }

    /// Makes a secret for the pending version, unless it has one.
    pub(super) async fn create(&self, secret: &Secret, client: &Client, version: &str) -> Result<(), RotationError> {
        match self.succession(secret, client, version).await {
            Err(RotationError::NoValue) => {}
            other => return other.map(drop),
        }
        let current = self.versions.current(secret).await?;
        if !read_stored_secret(&current.text, &client.client_id)?.belongs_to(client)? {
            return Err(RotationError::OtherRegistration);
        }
        let generated = ClientSecret::generate(self.random.as_ref())?;
        let text = replaced_secret_string(&current.text, client, &generated)?;
        self.versions.discard_others(secret, version).await?;
        Ok(self.versions.put_pending(secret, version, &text).await?)
    }

    /// Whether a version that somebody has left pending can be completed. What cannot be is discarded.
    pub(super) async fn can_be_completed(
        &self,
        secret: &Secret,
        client: &Client,
        version: &str,
    ) -> Result<(), RotationError> {
        self.succession(secret, client, version).await.map(drop)
    }

    /// Authenticates the client with the pending secret, by each method that carries one, as the token endpoint would.
    pub(super) async fn test(&self, secret: &Secret, client: &Client, version: &str) -> Result<(), RotationError> {
        let stored = self.succession(secret, client, version).await?;
        let realm = self.realms.find(&client.realm).await.map_err(RotationError::Authentication)?;
        let pending = Arc::new(PendingSecret(stored.digest()?));
        let authenticator = ClientAuthenticator::new(Arc::clone(&self.registry), pending, Arc::clone(&self.clock));
        for method in client_auth::methods_with_secret(&client.metadata) {
            let credentials = Credentials::of_secret(method, &client.client_id, stored.client_secret()?);
            let credentials = credentials.map_err(RotationError::Authentication)?;
            let authenticated = authenticator.authenticate(&realm, &credentials).await;
            authenticated.map_err(|refused| RotationError::Authentication(refused.error))?;
        }
        Ok(())
    }

    /// Makes the pending secret the current one. Only after the test, whoever calls the steps in whatever order.
    pub(super) async fn finish(&self, secret: &Secret, client: &Client, version: &str) -> Result<(), RotationError> {
        self.test(secret, client, version).await?;
        let current = secret.version_at(CURRENT).ok_or(RotationError::Conflict)?;
        let change = ChangeToLog::of_new_secret(client);
        self.book.carry_out(change, Box::pin(self.versions.make_current(secret, version, current))).await
    }

    /// The secret that is to become current. One that was made before the secret in use is what somebody has replaced, perhaps
    /// because it had leaked, and one of another registration is no secret of this client: both are discarded.
    async fn succession(&self, secret: &Secret, client: &Client, version: &str) -> Result<StoredSecret, RotationError> {
        let pending = self.versions.pending(secret, version).await?.ok_or(RotationError::NoValue)?;
        let stored = read_stored_secret(&pending.text, &client.client_id)?;
        if stored.registration_id.as_deref() != Some(client.registration_id.as_str()) {
            self.versions.discard_pending(secret, version).await?;
            return Err(RotationError::OtherRegistration);
        }
        if pending.is_older_than(&self.versions.current(secret).await?) {
            self.versions.discard_pending(secret, version).await?;
            return Err(RotationError::OutdatedSecret);
        }
        Ok(stored)
    }
}

#[async_trait]
impl SecretSource for PendingSecret {
    async fn secrets(&self, _client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        // It opens nothing yet: the registration is only looked at.
        Ok(Some(ClientSecrets { may_be_newer: false, ..ClientSecrets::read(self.0.clone(), None) }))
    }
}
