//! What the local server does besides answering, for as long as it runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use grantwell::core::keys::keyring::Keyring;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::system::SystemClock;

use super::logbook;
use crate::failure::Failure;

/// Replaces every realm's keys in time. A rotation that fails is tried again: the keys sign until another
/// takes their place.
pub(super) fn rotate_keys_when_due(
    registry: &Arc<SqliteRegistry>,
    after_seconds: u64,
) -> Result<JoinHandle<()>, Failure> {
    const LOOKS_EVERY: Duration = Duration::from_hours(1);
    let (registry, book) = (Arc::clone(registry), logbook::of_schedule(registry)?);
    let keyring = Keyring::new(book.key_store(Arc::clone(&registry) as _), Arc::new(SystemClock));
    Ok(tokio::spawn(async move {
        let mut looks = interval(LOOKS_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Err(error) = keyring.rotate_all_due(registry.as_ref(), after_seconds).await {
                tracing::warn!(%error, "the realms whose signing keys may be due could not be listed");
            }
        }
    }))
}

/// Erases what this process or another has removed while somebody read the registry. What stays is said once, and so is that it is gone.
pub(super) async fn forget_removed(registry: Arc<SqliteRegistry>) {
    const LOOKS_EVERY: Duration = Duration::from_secs(5);
    /// A command that is at work holds it for less long.
    const TOLD_AFTER: u32 = 3;
    let mut looks = interval(LOOKS_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut in_vain = 0_u32;
    loop {
        looks.tick().await;
        let why = match registry.forget_removed().await {
            Ok(true) => {
                if in_vain >= TOLD_AFTER {
                    tracing::info!("what was removed from the registry is erased");
                }
                in_vain = 0;
                continue;
            }
            Ok(false) => "another process reads registry.db".to_owned(),
            Err(error) => error.to_string(),
        };
        in_vain = in_vain.saturating_add(1);
        if in_vain == TOLD_AFTER {
            tracing::warn!(
                "what was removed from the registry may still be in its files: {why}; the server keeps trying until it is erased"
            );
        }
    }
}
