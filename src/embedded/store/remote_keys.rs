//! Copies of keys that were fetched, for one process: in memory. A start fetches them anew, as the first process of a deployment
//! does. On the disk they would come back with a backup, and with them keys that their owner has withdrawn since. A data directory
//! has one server, so what is counted here is counted for all.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::core::keys::copy::{CopyId, KeptKeys, KeyCopy, MARGIN_OF_CLOCKS};
use crate::core::port_error::PortError;
use crate::core::ports::KeyCopies;
use crate::core::time::UnixSeconds;
use crate::core::trust::key_address::KeyAddress;
use crate::core::trust::lookups::Lookups;

/// [`KeyCopies`] in memory: gone when the process ends. There is one for each address that an operator has registered, and for the few
/// issuers that callers are let name.
#[derive(Default)]
pub struct MemoryKeyCopies {
    kept: Mutex<HashMap<CopyId, KeptKeys>>,
    lookups: Mutex<Lookups>,
}

impl MemoryKeyCopies {
    /// A panic elsewhere leaves the map whole: every change is a single assignment.
    fn kept(&self) -> MutexGuard<'_, HashMap<CopyId, KeptKeys>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self) -> MutexGuard<'_, Lookups> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeyCopies for MemoryKeyCopies {
    async fn kept_keys(&self, address: KeyAddress<'_>) -> Result<KeptKeys, PortError> {
        Ok(self.kept().get(&CopyId::of(address)).cloned().unwrap_or_default())
    }

    async fn begin_look(&self, address: KeyAddress<'_>, now: UnixSeconds, interval: u64) -> Result<bool, PortError> {
        let mut kept = self.kept();
        // Addresses that no registration has any more.
        let is_in_use = |looked_at: UnixSeconds| now.since(looked_at) < 2 * KeyCopy::STALE_LIMIT;
        kept.retain(|_, kept| kept.looked_at.is_some_and(is_in_use));
        let kept = kept.entry(CopyId::of(address)).or_default();
        let may_look = kept
            .looked_at
            .is_none_or(|looked_at| looked_at.plus(interval) <= now || looked_at > now.plus(MARGIN_OF_CLOCKS));
        if may_look {
            kept.looked_at = Some(now);
        }
        Ok(may_look)
    }

    async fn keep(&self, address: KeyAddress<'_>, copy: &KeyCopy) -> Result<(), PortError> {
        let mut kept = self.kept();
        let kept = kept.entry(CopyId::of(address)).or_default();
        if kept.copy.as_ref().is_none_or(|kept| copy.replaces(kept.fetched_at)) {
            kept.copy = Some(copy.clone());
        }
        Ok(())
    }

    async fn confirm(&self, address: KeyAddress<'_>) -> Result<(), PortError> {
        if let Some(kept) = self.kept().get_mut(&CopyId::of(address)) {
            kept.is_confirmed = true;
        }
        Ok(())
    }

    async fn lookups(&self) -> Result<Lookups, PortError> {
        Ok(self.counted().clone())
    }

    async fn replace_lookups(&self, lookups: &Lookups, _now: UnixSeconds) -> Result<bool, PortError> {
        let mut stored = self.counted();
        let is_next = stored.revision.checked_add(1) == Some(lookups.revision);
        if is_next {
            *stored = lookups.clone();
        }
        Ok(is_next)
    }
}
