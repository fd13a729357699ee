//! A few turns for the many who are unknown.

use std::time::Duration;

use moka::future::Cache;
use tokio::sync::Semaphore;

use crate::core::client::id::ClientId;
use crate::core::port_error::PortError;
use crate::core::realm::RealmName;

/// Names that are asked for and that nobody is known to have registered.
pub(super) struct Strangers {
    /// Names that were registered when they were last asked for, a realm's without a client: no strangers.
    known: Cache<(RealmName, Option<ClientId>), ()>,
    /// Those that wait or are asked for.
    places: Semaphore,
    /// Those that are asked for.
    turns: Semaphore,
}

impl Strangers {
    pub(super) fn new(capacity: u64) -> Self {
        let known = Cache::builder().max_capacity(capacity).time_to_live(KNOWN_FOR).build();
        Self { known, places: Semaphore::new(STRANGERS_WAITING), turns: Semaphore::new(STRANGERS_AT_ONCE) }
    }

    /// What `load` brings of this name, when it is its turn: at once where it is known.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where too many others wait; `load`'s.
    pub(super) async fn in_turn<T>(
        &self,
        realm: &RealmName,
        client_id: Option<&ClientId>,
        load: impl Future<Output = Result<Option<T>, PortError>>,
    ) -> Result<Option<T>, PortError> {
        let name = (realm.clone(), client_id.cloned());
        let _place_and_turn = if self.known.contains_key(&name) {
            None
        } else {
            let place = self.places.try_acquire().map_err(|_full| too_many_strangers())?;
            Some((place, self.turns.acquire().await.map_err(|_closed| too_many_strangers())?))
        };
        let found = load.await?;
        self.note(name, found.is_some()).await;
        Ok(found)
    }

    /// Takes note of whether a name is registered, who has just been asked for.
    pub(super) async fn note(&self, name: (RealmName, Option<ClientId>), is_registered: bool) {
        if is_registered {
            self.known.insert(name, ()).await;
        } else {
            self.known.invalidate(&name).await;
        }
    }
}

pub(super) fn too_many_strangers() -> PortError {
    let detail = "too many unregistered names are asked for at once".to_owned();
    PortError::Unavailable { service: "the registry", detail }
}

/// How long a name that is not asked for is remembered as one that is registered.
const KNOWN_FOR: Duration = Duration::from_hours(1);
/// Few enough that who is known waits behind none of them for long.
const STRANGERS_AT_ONCE: usize = 8;
const STRANGERS_WAITING: usize = 256;
