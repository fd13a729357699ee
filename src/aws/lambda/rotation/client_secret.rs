//! The four steps for the secret of one client. Nobody has to be told of a new one: the functions read Secrets Manager.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::RotationError;
use super::versions::Versions;
use crate::aws::store::described::Secret;
use crate::aws::store::secrets::{CURRENT, StoredSecret, read_stored_secret, replaced_secret_string};
use crate::core::client::Client;
use crate::core::client::auth_method::AuthMethod;
use crate::core::client::id::ClientId;
use crate::core::client::secret::{ClientSecret, ClientSecrets, SecretDigest};
use crate::core::client_auth::{ClientAuthenticator, ClientRequest, Credentials};
use crate::core::error::OAuthError;
use crate::core::params::Params;
use crate::core::port_error::PortError;
use crate::core::ports::{ClientRegistry, Clock, SecretSource};
use crate::core::random::Random;
use crate::core::realm::RealmName;
use crate::core::realms::Realms;

/// Rotates the secrets of clients.
pub(super) struct ClientSecretRotation {
    pub(super) versions: Versions,
    pub(super) registry: Arc<dyn ClientRegistry>,
    pub(super) realms: Realms,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
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

    /// Authenticates the client with the pending secret, by each of its methods, as the token endpoint would.
    pub(super) async fn test(&self, secret: &Secret, client: &Client, version: &str) -> Result<(), RotationError> {
        let stored = self.succession(secret, client, version).await?;
        let realm = self.realms.find(&client.realm).await.map_err(RotationError::Authentication)?;
        let pending = Arc::new(PendingSecret(SecretDigest::of(&stored.client_secret)));
        let authenticator = ClientAuthenticator::new(Arc::clone(&self.registry), pending, Arc::clone(&self.clock));
        for method in &client.metadata.token_endpoint_auth_methods {
            let credentials = presented(*method, &realm.name, &client.client_id, &stored.client_secret);
            let credentials = credentials.map_err(RotationError::Authentication)?;
            let authenticated = authenticator.authenticate(&realm, &credentials, &mut None).await;
            authenticated.map_err(RotationError::Authentication)?;
        }
        Ok(())
    }

    /// Makes the pending secret the current one. Only after the test, whoever calls the steps in whatever order.
    pub(super) async fn finish(&self, secret: &Secret, client: &Client, version: &str) -> Result<(), RotationError> {
        self.test(secret, client, version).await?;
        let current = secret.version_at(CURRENT).ok_or(RotationError::Conflict)?;
        self.versions.make_current(secret, version, current).await
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
        Ok(Some(ClientSecrets { current: self.0.clone(), previous: None, may_be_newer: false }))
    }
}

/// What a client sends to authenticate by this method (RFC 6749 §2.3.1).
fn presented(
    method: AuthMethod,
    realm: &RealmName,
    client_id: &ClientId,
    secret: &str,
) -> Result<Credentials, OAuthError> {
    let encoded = |text: &str| Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>());
    let (id, secret) = (encoded(client_id.as_str()), encoded(secret));
    let (header, body) = match method {
        AuthMethod::ClientSecretBasic => {
            let pair = Zeroizing::new(format!("{}:{}", *id, *secret));
            let pair = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
            (Some(Zeroizing::new(format!("Basic {}", *pair))), Zeroizing::default())
        }
        AuthMethod::ClientSecretPost => (None, Zeroizing::new(format!("client_id={}&client_secret={}", *id, *secret))),
    };
    let authorization: Vec<&[u8]> = header.iter().map(|header| header.as_bytes()).collect();
    let params = Params::parse(body.as_bytes())?;
    Credentials::from_request(&ClientRequest { realm, authorization: &authorization, params: &params, source: None })
}
