//! Which clients have been marked as used today, so that each is once a day and process, beside the request that uses it.
//!
//! A mark delays no answer and fails none: it is written by a task of its own. A sandbox is frozen after its answer, though, and what it had
//! begun might never come to its end. So a function waits for its tasks before it answers ([`ClientUses::settle`]), for a moment at most: they
//! began when the client had proved who it is, and have had the time of all that came after.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::future::Cache;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::settings::CacheSettings;
use crate::core::client::Client;
use crate::core::client::id::RegistrationId;
use crate::core::ports::{ClientUse, Clock, UseMarks};
use crate::core::time::{Moment, UnixSeconds};

/// Marks clients as used.
pub struct ClientUses {
    marks: Arc<dyn UseMarks>,
    clock: Arc<dyn Clock>,
    marked: Cache<RegistrationId, Marked>,
    writing: Mutex<JoinSet<()>>,
}

/// What has become of a client's mark.
#[derive(Clone, Copy)]
struct Marked {
    day: UnixSeconds,
    /// Since when it could not be written; `None` where it was, or is being written.
    failed: Option<Moment>,
}

impl ClientUses {
    /// Writes to `marks`.
    pub fn new(marks: Arc<dyn UseMarks>, clock: Arc<dyn Clock>, settings: CacheSettings) -> Self {
        let marked = Cache::builder().max_capacity(settings.capacity).time_to_live(LONGEST).build();
        Self { marks, clock, marked, writing: Mutex::default() }
    }

    /// Returns once every mark that is being written is written, or a moment later.
    pub async fn settle(&self) {
        let mut writing = std::mem::take(&mut *self.writing());
        let until = Instant::now() + PATIENCE;
        while let Ok(Some(_ended)) = timeout_at(until, writing.join_next()).await {}
        // What takes longer goes on when the sandbox does.
        writing.detach_all();
    }

    fn writing(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl ClientUse for ClientUses {
    async fn used(&self, client: &Arc<Client>) {
        let (now, moment) = (self.clock.now(), self.clock.moment());
        let day = day_of(now);
        let is_due = |marked: &Marked| {
            marked.day != day || marked.failed.is_some_and(|failed| moment.since(failed) >= TRIED_AGAIN_AFTER)
        };
        // Of those who come at once one writes.
        let begun = async { Marked { day, failed: None } };
        let entry = self.marked.entry_by_ref(&client.registration_id).or_insert_with_if(begun, is_due).await;
        if !entry.is_fresh() {
            return;
        }
        let (marks, marked, client) = (Arc::clone(&self.marks), self.marked.clone(), Arc::clone(client));
        let mut writing = self.writing();
        // What has ended is of no interest to anybody.
        while writing.try_join_next().is_some() {}
        writing.spawn(async move {
            if let Err(error) = marks.mark_used(&client, day).await {
                let (realm, client_id) = (&client.realm, &client.client_id);
                tracing::warn!(%realm, %client_id, %error, "a client's use could not be recorded");
                marked.insert(client.registration_id.clone(), Marked { day, failed: Some(moment) }).await;
            }
        });
    }
}

fn day_of(time: UnixSeconds) -> UnixSeconds {
    UnixSeconds(time.0 - time.0 % DAY)
}

const DAY: u64 = 24 * 60 * 60;
/// What is older is of another day.
const LONGEST: Duration = Duration::from_hours(25);
/// The longest that an answer waits for marks of its function.
const PATIENCE: Duration = Duration::from_millis(50);
/// Where a table cannot be written, each request would try.
const TRIED_AGAIN_AFTER: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::app::FUNCTION_CACHES;
    use crate::core::client::metadata::ClientMetadata;
    use crate::core::port_error::PortError;
    use crate::core::realm::{Realm, RealmName};

    #[derive(Default)]
    struct Written {
        days: Mutex<Vec<u64>>,
        fails: AtomicBool,
        hangs: AtomicBool,
    }

    #[async_trait]
    impl UseMarks for Written {
        async fn mark_used(&self, _client: &Client, day: UnixSeconds) -> Result<(), PortError> {
            if self.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            self.days.lock().expect("whole").push(day.0 / DAY);
            if self.fails.load(Ordering::SeqCst) {
                return Err(PortError::Unavailable { service: "a test", detail: "no".to_owned() });
            }
            Ok(())
        }

        async fn last_used(&self, _clients: &[Client]) -> Result<Vec<Option<UnixSeconds>>, PortError> {
            Ok(Vec::new())
        }

        async fn kept_since(&self) -> Result<UnixSeconds, PortError> {
            Ok(UnixSeconds(0))
        }
    }

    struct SetClock(AtomicU64);

    impl Clock for SetClock {
        fn now(&self) -> UnixSeconds {
            UnixSeconds(self.0.load(Ordering::SeqCst))
        }
    }

    fn client(id: &str) -> Arc<Client> {
        let (realm, registration) = (Realm::new(RealmName::root()), RegistrationId::from_text(id));
        let id = id.parse().expect("an id");
        Arc::new(Client::register(id, &realm, ClientMetadata::new(), registration, UnixSeconds(0)).expect("a client"))
    }

    fn uses(written: &Arc<Written>) -> (ClientUses, Arc<SetClock>) {
        let clock = Arc::new(SetClock(AtomicU64::new(20_000 * DAY + 3)));
        (ClientUses::new(Arc::clone(written) as _, Arc::clone(&clock) as _, FUNCTION_CACHES), clock)
    }

    #[tokio::test]
    async fn each_client_is_marked_once_a_day() {
        let written = Arc::new(Written::default());
        let (uses, clock) = uses(&written);
        let [a, b] = ["a", "b"].map(client);
        for _ in 0..5 {
            uses.used(&a).await;
            uses.used(&b).await;
        }
        uses.settle().await;
        assert_eq!(*written.days.lock().expect("whole"), [20_000, 20_000]);
        clock.0.store(20_001 * DAY - 1, Ordering::SeqCst);
        uses.used(&a).await;
        clock.0.store(20_001 * DAY, Ordering::SeqCst);
        uses.used(&a).await;
        uses.settle().await;
        assert_eq!(*written.days.lock().expect("whole"), [20_000, 20_000, 20_001]);
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_tried_again_a_minute_later_and_not_before() {
        let written = Arc::new(Written::default());
        let (uses, clock) = uses(&written);
        written.fails.store(true, Ordering::SeqCst);
        for second in [3, 4, 62] {
            clock.0.store(20_000 * DAY + second, Ordering::SeqCst);
            uses.used(&client("a")).await;
            uses.settle().await;
        }
        assert_eq!(written.days.lock().expect("whole").len(), 1);
        written.fails.store(false, Ordering::SeqCst);
        for second in [63, 64, 200] {
            clock.0.store(20_000 * DAY + second, Ordering::SeqCst);
            uses.used(&client("a")).await;
            uses.settle().await;
        }
        assert_eq!(written.days.lock().expect("whole").len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_that_hangs_holds_an_answer_for_a_moment_at_most() {
        let written = Arc::new(Written::default());
        let (uses, _clock) = uses(&written);
        written.hangs.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        uses.used(&client("a")).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        uses.settle().await;
        assert_eq!(begun.elapsed(), PATIENCE);
        uses.settle().await;
        assert_eq!(begun.elapsed(), PATIENCE, "it is not waited for again");
    }
}
