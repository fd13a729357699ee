//! What is done once in a while and no more often.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use crate::core::ports::Clock;
use crate::core::time::Moment;

/// When something was last done for each key, so that it is done once in a while and no more often.
pub(super) struct Intervals<K> {
    clock: Arc<dyn Clock>,
    interval: Duration,
    begun: Cache<K, Moment>,
}

impl<K> Intervals<K>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
{
    pub(super) fn new(clock: Arc<dyn Clock>, capacity: u64, interval: Duration) -> Self {
        Self { clock, interval, begun: Cache::builder().max_capacity(capacity).time_to_live(interval).build() }
    }

    /// Whether no interval of this key has begun that has not ended. If so, one begins.
    pub(super) async fn begin(&self, key: K) -> bool {
        let now = self.clock.moment();
        let has_ended = |begun: &Moment| now.since(*begun) >= self.interval;
        self.begun.entry(key).or_insert_with_if(async { now }, has_ended).await.is_fresh()
    }

    /// Ends the interval of this key.
    pub(super) async fn forget(&self, key: &K) {
        self.begun.invalidate(key).await;
    }
}
