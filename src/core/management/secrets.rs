//! Secrets of clients: made, replaced, ended.

use super::operator::Management;
use super::outcome::{ManagementError, Notice, Subject};
use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::client::metadata::ClientMetadata;
use crate::core::client::secret::ClientSecret;
use crate::core::realm::RealmName;
use crate::core::time::UnixSeconds;

/// How long a client's secrets work, from the request that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretLifetime(u64);

/// A new secret, and the one answer that has it.
#[derive(Debug)]
pub struct RotatedSecret {
    /// The client as it is registered now.
    pub client: Client,
    /// The secret that is current now, which is known to nobody else.
    pub secret: ClientSecret,
    /// Whether the one before it works beside it.
    pub previous_is_valid: bool,
    /// What to know about it.
    pub notices: Vec<Notice>,
    /// What was to be done besides and could not be. The secret is current, and must be handed over first.
    pub unfinished: Option<ManagementError>,
}

impl SecretLifetime {
    /// A hundred years, in seconds.
    pub const MAX: u64 = 100 * 365 * 24 * 3600;

    /// A lifetime of `seconds`; 0 is for ever.
    pub fn of_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// When secrets end that are given this lifetime at `now` (RFC 7591 §3.2.1: 0 is never).
    pub fn ends_at(self, now: UnixSeconds) -> UnixSeconds {
        if self.0 == 0 { UnixSeconds(0) } else { now.plus(self.0) }
    }

    pub(super) fn apply(lifetime: Option<Self>, metadata: &mut ClientMetadata, now: UnixSeconds) {
        if let Some(lifetime) = lifetime {
            metadata.client_secret_expires_at = lifetime.ends_at(now);
        }
    }
}

impl Management {
    /// Gives a client a new secret, `given` or generated; the one before it stays valid until the next rotation. All of them end
    /// together, after `lifetime` or when they would have before.
    ///
    /// # Errors
    /// [`ManagementError`]; then the secrets are as they were.
    pub async fn rotate_secret(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        given: Option<ClientSecret>,
        lifetime: Option<SecretLifetime>,
    ) -> Result<RotatedSecret, ManagementError> {
        let secret = self.secret_or_generated(given)?;
        let before = self.client(realm, client_id).await?;
        let (subject, now) = (Subject::client(realm, client_id), self.clock.now());
        let ended_at = before.metadata.client_secret_expires_at;
        let had_expired = before.secret_has_expired(now);
        let mut notices: Vec<Notice> = notice_of(&secret).into_iter().collect();
        match lifetime {
            None if had_expired => return Err(ManagementError::SecretsExpired { of: subject, at: ended_at }),
            None if ended_at != UnixSeconds(0) => notices.push(Notice::NewSecretEndsAt(ended_at)),
            None | Some(_) => {}
        }

        let rotated = self.registrar.rotate_secret(realm, client_id, &secret).await;
        rotated.map_err(|error| subject.clone().refused(error))?;
        let (client, unfinished) = match self.extend(&before, lifetime, had_expired, now).await {
            Ok(client) => (client, None),
            Err(error) => (before, Some(ManagementError::LifetimeNotSet { of: subject, error: Box::new(error) })),
        };
        Ok(RotatedSecret { client, secret, previous_is_valid: !had_expired, notices, unfinished })
    }

    /// Ends the validity of the secret before the current one, if there is one. The current one stays as it is.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn revoke_previous_secret(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), ManagementError> {
        self.realm(realm).await?;
        self.end_previous(realm, client_id).await
    }

    pub(super) fn secret_or_generated(&self, given: Option<ClientSecret>) -> Result<ClientSecret, ManagementError> {
        Ok(given.map_or_else(|| ClientSecret::generate(self.random.as_ref()), Ok)?)
    }

    /// Gives the secrets the lifetime asked for. One that had expired is ended first: whoever found it must not see it
    /// come back to life with the new one.
    async fn extend(
        &self,
        before: &Client,
        lifetime: Option<SecretLifetime>,
        had_expired: bool,
        now: UnixSeconds,
    ) -> Result<Client, ManagementError> {
        if had_expired {
            self.end_previous(&before.realm, &before.client_id).await?;
        }
        let mut client = before.clone();
        SecretLifetime::apply(lifetime, &mut client.metadata, now);
        self.replace(before, client).await
    }

    async fn end_previous(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), ManagementError> {
        let ended = self.registrar.revoke_previous_secret(realm, client_id).await;
        ended.map_err(|error| Subject::client(realm, client_id).refused(error))
    }
}

/// What to know about a secret that somebody brought along. A generated one works with every client.
pub(super) fn notice_of(secret: &ClientSecret) -> Option<Notice> {
    (!secret.survives_form_encoding()).then_some(Notice::SecretNeedsFormEncoding)
}
