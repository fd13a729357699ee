//! Secrets of clients: made, replaced, ended.

use super::operator::Management;
use super::outcome::{ManagementError, Notice, Subject, again_after_conflict};
use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::client::metadata::ClientMetadata;
use crate::core::client::secret::{Beside, ClientSecret, NewSecret, SecretDates, earlier_end};
use crate::core::client::secret_storage::SecretStorage;
use crate::core::client_auth::uses_secret;
use crate::core::port_error::PortError;
use crate::core::ports::RegistrarError;
use crate::core::realm::RealmName;
use crate::core::time::UnixSeconds;

/// How long a client's secrets work, from the request that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretLifetime(u64);

/// For how long the secret before a new one still works, from the rotation that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviousLifetime(u64);

/// A rotation of a client's secret.
#[derive(Debug, Default)]
pub struct Rotation {
    /// A secret that the operator brings along; one is generated where absent.
    pub given: Option<ClientSecret>,
    /// How long all of the client's secrets work from now on.
    pub lifetime: Option<SecretLifetime>,
    /// For how long the one before still works, where that is less. Until the next rotation where absent.
    pub previous_lifetime: Option<PreviousLifetime>,
    /// Whether the new one takes the place of the current one, which ends, so that the previous one stays valid.
    pub replaces_current: bool,
}

/// A new secret, and the one answer that has it.
#[derive(Debug)]
pub struct RotatedSecret {
    /// The client as it is registered now.
    pub client: Client,
    /// The secret that is current now, which is known to nobody else.
    pub secret: ClientSecret,
    /// Whether one before it works beside it.
    pub previous_is_valid: bool,
    /// From when on that one is not accepted any more; 0 where it has no end.
    pub previous_expires_at: UnixSeconds,
    /// What to know about it.
    pub notices: Vec<Notice>,
    /// What was to be done besides and could not be. The secret is current, and must be handed over first.
    pub unfinished: Option<ManagementError>,
}

/// What a secret is to a client.
enum Standing {
    Current,
    Previous,
    New,
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

impl PreviousLifetime {
    /// A lifetime of `seconds`; `None` where that is no time, or more than secrets live.
    pub fn of_seconds(seconds: u64) -> Option<Self> {
        (1..=SecretLifetime::MAX).contains(&seconds).then_some(Self(seconds))
    }
}

impl Management {
    /// Gives a client a new secret. The one before it stays valid until the next rotation, or the one before that where the current one
    /// is replaced. All of them end together, after the lifetime that the rotation names or when they would have before.
    ///
    /// # Errors
    /// [`ManagementError`]; then the secrets are as they were.
    pub async fn rotate_secret(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        rotation: Rotation,
    ) -> Result<RotatedSecret, ManagementError> {
        let Rotation { given, lifetime, previous_lifetime, replaces_current } = rotation;
        let is_given = given.is_some();
        let before = self.client(realm, client_id).await?;
        let (subject, now) = (Subject::client(realm, client_id), self.clock.now());
        let secret = self.secret_for(before.secret_storage(), given, &subject)?;
        let ended_at = before.metadata.client_secret_expires_at;
        let had_expired = before.secret_has_expired(now);
        let mut notices: Vec<Notice> = notice_of(&secret).into_iter().collect();
        match lifetime {
            None if had_expired => return Err(ManagementError::SecretsExpired { of: subject, at: ended_at }),
            None if ended_at != UnixSeconds(0) => notices.push(Notice::NewSecretEndsAt(ended_at)),
            None | Some(_) => {}
        }

        let dates = self.secret_dates(realm, client_id).await?;
        let kept = dates.as_ref().and_then(|dates| dates.valid_previous(now)).filter(|_| !had_expired);
        // One that is made current again would become the previous one as well, and end the one that is.
        if is_given {
            match self.standing_of(&secret, &before).await? {
                Standing::Current
                    if had_expired || lifetime.is_some() || previous_lifetime.is_some() || replaces_current =>
                {
                    return Err(ManagementError::SecretIsCurrent(subject));
                }
                Standing::Current => {
                    let until = dates.as_ref().and_then(|dates| dates.previous_valid_until(ended_at, now));
                    return Ok(RotatedSecret {
                        client: before,
                        secret,
                        previous_is_valid: until.is_some(),
                        previous_expires_at: until.unwrap_or(UnixSeconds(0)),
                        notices: vec![Notice::SecretIsCurrent(subject)],
                        unfinished: None,
                    });
                }
                Standing::Previous if replaces_current && kept.is_some() => {
                    return Err(ManagementError::SecretIsPrevious(subject));
                }
                Standing::Previous | Standing::New => {}
            }
        }
        let ends_at = previous_lifetime.map(|lifetime| now.plus(lifetime.0));
        let (beside, previous_expires_at) = match kept {
            Some(kept) if replaces_current => (Beside::Previous(ends_at), ends_at.unwrap_or(kept.expires_at)),
            _ => (Beside::Current(ends_at.unwrap_or(UnixSeconds(0))), ends_at.unwrap_or(UnixSeconds(0))),
        };
        let has_current = dates.is_some() && !had_expired;
        if replaces_current && kept.is_none() && has_current {
            notices.push(Notice::NoPreviousSecretToKeep(subject.clone()));
        }
        // Two in a row end a secret that the application may still use.
        let made_at = dates.as_ref().and_then(|dates| dates.made_at);
        if let (Some(_), Some(made_at), false) = (kept, made_at, replaces_current) {
            let seconds = now.0.saturating_sub(made_at.0);
            if seconds < SOON {
                notices.push(Notice::RotatedTwice { of: subject.clone(), seconds });
            }
        }

        let new = NewSecret { secret: &secret, made_at: now, beside };
        let rotated = self.registrar.rotate_secret(realm, client_id, &new).await;
        rotated.map_err(|error| subject.clone().refused(error))?;
        let (client, unfinished) = match self.extend(&before, lifetime, had_expired, now).await {
            Ok(client) => (client, None),
            Err(error) => (before, Some(ManagementError::LifetimeNotSet { of: subject, error: Box::new(error) })),
        };
        let previous_expires_at = earlier_end(previous_expires_at, client.metadata.client_secret_expires_at);
        Ok(RotatedSecret { client, secret, previous_is_valid: has_current, previous_expires_at, notices, unfinished })
    }

    /// When a client's secrets were made, and until when the previous one is valid. `None` where it has none.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn secret_dates(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
    ) -> Result<Option<SecretDates>, ManagementError> {
        let dates = self.registrar.secret_dates(realm, client_id).await;
        dates.map_err(|error| Subject::client(realm, client_id).refused(error))
    }

    /// Ends the validity of the secret before the current one, if there is one. The current one stays as it is.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn revoke_previous_secret(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), ManagementError> {
        self.realm(realm).await?;
        if !uses_secret(&self.client(realm, client_id).await?.metadata) {
            return Err(Subject::client(realm, client_id).refused(RegistrarError::NoSecret));
        }
        self.end_previous(realm, client_id).await
    }

    /// The secret that was brought along, or a generated one. A digest can be stolen and tried against guesses without end, which is
    /// no danger to 256 random bits; of a secret that somebody has chosen nobody can say what it withstands.
    pub(super) fn secret_for(
        &self,
        storage: SecretStorage,
        given: Option<ClientSecret>,
        subject: &Subject,
    ) -> Result<ClientSecret, ManagementError> {
        match given {
            Some(given) if storage == SecretStorage::Digest && !given.is_generated() => {
                Err(ManagementError::SuppliedSecret(subject.clone()))
            }
            Some(given) => Ok(given),
            None => Ok(ClientSecret::generate(self.random.as_ref())?),
        }
    }

    /// Whether this is the secret that a client has now.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn is_secret_of(&self, client: &Client, secret: &ClientSecret) -> Result<bool, ManagementError> {
        Ok(matches!(self.standing_of(secret, client).await?, Standing::Current))
    }

    /// What a secret is to the client already. What is stored and cannot be read is nothing that was given: a good one corrects it.
    async fn standing_of(&self, secret: &ClientSecret, client: &Client) -> Result<Standing, ManagementError> {
        let stored = match self.registrar.stored_secrets(client).await {
            Ok(stored) => stored,
            Err(RegistrarError::Port(PortError::Corrupt { .. } | PortError::Foreign { .. })) => None,
            Err(error) => return Err(Subject::client(&client.realm, &client.client_id).refused(error)),
        };
        let digest = secret.digest();
        Ok(match stored {
            Some(stored) if stored.current_is(&digest) => Standing::Current,
            Some(stored) if stored.previous_is(&digest) => Standing::Previous,
            _ => Standing::New,
        })
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
        if lifetime.is_none() {
            return Ok(before.clone());
        }
        let set = async || {
            let stored = self.client(&before.realm, &before.client_id).await?;
            let mut client = stored.clone();
            SecretLifetime::apply(lifetime, &mut client.metadata, now);
            self.replace(&stored, client).await
        };
        again_after_conflict(set).await
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

/// An application takes up a new secret within hours, so whoever rotates twice in an hour probably lost the first answer.
const SOON: u64 = 60 * 60;
