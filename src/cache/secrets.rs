//! Digests of client secrets, remembered for minutes. Those that a registration keeps itself are remembered with it.

use std::sync::Arc;

use async_trait::async_trait;

use super::bridged::{Bridged, Reload};
use super::intervals::Intervals;
use super::settings::CacheSettings;
use crate::core::client::Client;
use crate::core::client::id::{ClientId, RegistrationId};
use crate::core::client::secret::ClientSecrets;
use crate::core::port_error::PortError;
use crate::core::ports::{Clock, SecretSource};
use crate::core::realm::RealmName;
use crate::observe::Observer;
use crate::observe::event::Remembered;

/// A [`SecretSource`] that remembers digests, serves them for a bounded time while its source is away, and lets look again
/// when a secret does not match, so that a rotation is seen at once.
pub struct CachedSecrets {
    source: Arc<dyn SecretSource>,
    secrets: Bridged<ClientKey, RememberedSecrets>,
    mismatches: Intervals<ClientKey>,
    nobody: Option<ClientKey>,
}

impl CachedSecrets {
    /// Remembers what `source` says as `settings` allow.
    pub fn new(source: Arc<dyn SecretSource>, clock: Arc<dyn Clock>, settings: CacheSettings) -> Self {
        Self {
            source,
            secrets: Bridged::new(
                Remembered::Secret,
                Arc::clone(&clock),
                settings,
                |settings, remembered: &RememberedSecrets| {
                    if remembered.secrets.is_some() { settings.secret_ttl } else { settings.absence_ttl }
                },
            ),
            mismatches: Intervals::new(clock, settings.capacity, settings.mismatch_interval),
            nobody: ClientKey::of_nobody(),
        }
    }

    /// Tells `observer` of its hits and its misses.
    #[must_use]
    pub fn observed_by(self, observer: Arc<Observer>) -> Self {
        Self { secrets: self.secrets.observed_by(observer), ..self }
    }

    /// A look at what is remembered of secrets.
    async fn look_at_nobody(&self) {
        let Some(nobody) = &self.nobody else { return };
        let nothing = RememberedSecrets { secrets: None, revision: 0 };
        self.secrets.keep_fresh(nobody, &nothing, self.secrets.settings.secret_ttl).await;
    }

    async fn remembered(&self, client: &Client, reload: Reload) -> Result<RememberedSecrets, PortError> {
        // To an earlier revision the source may have denied what it says to this one.
        let suffices = |found: &RememberedSecrets| found.secrets.is_some() || found.revision >= client.revision;
        let load = |before: Option<RememberedSecrets>| async move {
            let secrets = self.source.secrets(client).await?;
            Ok(RememberedSecrets { secrets, revision: client.revision }.known_from(before.as_ref()))
        };
        self.secrets.get_if(ClientKey::of(client), reload, suffices, load).await
    }
}

#[async_trait]
impl SecretSource for CachedSecrets {
    async fn secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        // As new as the registration, so there is nothing to remember. As much work as for one whose secrets are.
        if let Some(digests) = client.kept_digests() {
            self.look_at_nobody().await;
            return Ok(Some(digests.accepted()));
        }
        Ok(self.remembered(client, Reload::IfStale).await?.of(client))
    }

    async fn admits_another_look(&self, client: &Client) -> bool {
        // One for each registration and interval: guessing secrets must not cost calls. What has just been loaded is no
        // exception, or the new secret of a rotation that ends at this moment would be refused.
        self.mismatches.begin(ClientKey::of(client)).await
    }

    async fn secrets_anew(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        if let Some(digests) = client.kept_digests() {
            return Ok(Some(digests.accepted()));
        }
        Ok(self.remembered(client, Reload::Now).await?.of(client))
    }

    async fn confirm(&self, client: &Client, secrets: &ClientSecrets) {
        let confirmed = |remembered: &RememberedSecrets| remembered.confirmed(client, secrets);
        self.secrets.amend(ClientKey::of(client), confirmed).await;
    }

    async fn no_secrets(&self) {
        // The same two looks, at entries that are always there.
        self.look_at_nobody().await;
        if let Some(nobody) = &self.nobody {
            self.mismatches.begin(nobody.clone()).await;
        }
    }
}

/// What the source said of a registration's secrets.
#[derive(Clone)]
struct RememberedSecrets {
    secrets: Option<ClientSecrets>,
    /// The revision of the registration that it was asked for, or that was read after the secrets had first been there.
    revision: u64,
}

impl RememberedSecrets {
    /// Just loaded, after `before` was. A secret that was not there may be newer than any registration that somebody remembers,
    /// until one that has been read since is confirmed.
    fn known_from(self, before: Option<&Self>) -> Self {
        let Self { secrets: Some(secrets), revision } = self else { return self };
        let confirmed = before.and_then(|before| Some((before.secrets.as_ref()?, before.revision)));
        let (may_be_newer, revision) = match confirmed {
            Some((known, confirmed)) if !known.may_be_newer && secrets.are_among(known) => (false, confirmed),
            _ => (true, revision),
        };
        Self { secrets: Some(ClientSecrets { may_be_newer, ..secrets }), revision }
    }

    /// With a registration that was read after `secrets` were loaded; `None` where others have been loaded meanwhile. The
    /// revision may be an earlier one than that which they were asked for, where a backup of the registry was restored.
    fn confirmed(&self, client: &Client, secrets: &ClientSecrets) -> Option<Self> {
        let remembered = self.secrets.as_ref().filter(|remembered| remembered.are_among(secrets))?;
        let secrets = ClientSecrets { may_be_newer: false, ..remembered.clone() };
        Some(Self { secrets: Some(secrets), revision: client.revision })
    }

    /// For a registration as somebody remembers it. A right may have been withdrawn between an earlier revision and one of
    /// these secrets.
    fn of(self, client: &Client) -> Option<ClientSecrets> {
        let is_earlier = client.revision < self.revision;
        self.secrets.map(|secrets| ClientSecrets { may_be_newer: secrets.may_be_newer || is_earlier, ..secrets })
    }
}

/// A registration, not only its id: what is remembered of a deleted client must not serve its successor.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    realm: RealmName,
    client_id: ClientId,
    registration_id: RegistrationId,
}

impl ClientKey {
    fn of(client: &Client) -> Self {
        Self {
            realm: client.realm.clone(),
            client_id: client.client_id.clone(),
            registration_id: client.registration_id.clone(),
        }
    }

    /// No client's: a registration's identifier is random.
    fn of_nobody() -> Option<Self> {
        let client_id = "nobody".parse().ok()?;
        Some(Self { realm: RealmName::root(), client_id, registration_id: RegistrationId::from_text("nobody") })
    }
}
