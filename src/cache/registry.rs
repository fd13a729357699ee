//! Registrations and realms, remembered for seconds.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::bridged::{Bridged, Reload};
use super::settings::CacheSettings;
use super::strangers::Strangers;
use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::port_error::PortError;
use crate::core::ports::{ClientBeside, ClientRegistry, Clock, RealmAndClient};
use crate::core::realm::{Realm, RealmName};
use crate::observe::Observer;
use crate::observe::event::Remembered;

/// A [`ClientRegistry`] that remembers. Names that it has not seen registered are asked for a few at a time, so that a flood of
/// invented ones holds up nobody who is registered.
pub struct CachedRegistry {
    source: Arc<dyn ClientRegistry>,
    pub(super) clients: Bridged<(RealmName, ClientId), Option<Arc<Client>>>,
    realms: Bridged<RealmName, Option<Arc<Realm>>>,
    strangers: Strangers,
}

impl CachedRegistry {
    /// Remembers what `source` says as `settings` allow.
    pub fn new(source: Arc<dyn ClientRegistry>, clock: Arc<dyn Clock>, settings: CacheSettings) -> Self {
        Self {
            source,
            clients: Bridged::new(Remembered::Client, Arc::clone(&clock), settings, ttl_of_registration)
                .without_bridge(),
            realms: Bridged::new(Remembered::Realm, clock, settings, ttl_of_registration).without_bridge(),
            strangers: Strangers::new(settings.capacity),
        }
    }

    /// Tells `observer` of its hits and its misses.
    #[must_use]
    pub fn observed_by(self, observer: Arc<Observer>) -> Self {
        let clients = self.clients.observed_by(Arc::clone(&observer));
        Self { clients, realms: self.realms.observed_by(observer), ..self }
    }
}

#[async_trait]
impl ClientRegistry for CachedRegistry {
    async fn client(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        let key = (realm.clone(), client_id.clone());
        let load = |_| self.strangers.in_turn(realm, Some(client_id), self.source.client(realm, client_id));
        self.clients.get(key, Reload::IfStale, load).await
    }

    async fn realm(&self, name: &RealmName) -> Result<Option<Arc<Realm>>, PortError> {
        let load = |_| self.strangers.in_turn(name, None, self.source.realm(name));
        self.realms.get(name.clone(), Reload::IfStale, load).await
    }

    /// One read for both where neither is remembered; of whoever is remembered nothing is read.
    async fn realm_and_client(&self, name: &RealmName, client_id: &ClientId) -> Result<RealmAndClient, PortError> {
        let load = async |_| {
            let client = (name.clone(), client_id.clone());
            if self.clients.is_believed(&client).await {
                return self.strangers.in_turn(name, None, self.source.realm(name)).await;
            }
            let load = async {
                let asked_at = self.clients.now();
                let RealmAndClient { realm, client: beside } = self.source.realm_and_client(name, client_id).await?;
                // A realm that does not exist has no clients, and nobody will ask for this one. Root exists without a record.
                if let ClientBeside::Said(found) = beside
                    && (realm.is_some() || name.is_root())
                {
                    self.strangers.note((name.clone(), Some(client_id.clone())), found.is_some()).await;
                    self.clients.keep_loaded(client, found, asked_at).await;
                }
                Ok(realm)
            };
            self.strangers.in_turn(name, None, load).await
        };
        let realm = self.realms.get(name.clone(), Reload::IfStale, load).await?;
        Ok(RealmAndClient { realm, client: ClientBeside::NotSaid })
    }

    async fn client_anew(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        let key = (realm.clone(), client_id.clone());
        self.clients.get(key, Reload::ForNewer, |_| self.source.client_anew(realm, client_id)).await
    }
}

/// What is there and what is not are believed for different times.
#[expect(clippy::ref_option, reason = "what is remembered is an option")]
fn ttl_of_registration<V>(settings: &CacheSettings, found: &Option<V>) -> Duration {
    if found.is_some() { settings.registration_ttl } else { settings.absence_ttl }
}
