//! Whether a server lives and whether it can do its work, for whoever restarts it or sends it callers: `GET /health/live` and
//! `GET /health/ready`.
//!
//! Ready means that every store answers and can write. They are looked at when somebody asks, on threads of their own and once a second
//! at most: neither a flood of questions nor a disk that hangs makes more work than that.

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use rustix::fs::{StatVfsMountFlags, statvfs};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::embedded::store::cause::{StorageCause, StoreHealth};
use crate::http::response::{self, Refusal};

/// The health of a server's stores, as it was found last.
pub struct Health(Vec<Arc<Part>>);

/// The file system of a data directory, as a part of a server's health: a database may still find room in its own file where nothing else
/// does, and fail at the next page.
pub struct DiskSpace(PathBuf);

/// A store, and the last look at it.
struct Part {
    name: &'static str,
    store: Arc<dyn StoreHealth>,
    look: Mutex<Look>,
    /// Notified when a look ends.
    looked: Notify,
}

#[derive(Default)]
struct Look {
    /// When the one that is not over yet began.
    began: Option<Instant>,
    /// When the last one ended, and what it found.
    found: Option<(Instant, Result<(), StorageCause>)>,
    /// What the log has been told.
    told: Option<StorageCause>,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause>,
}

/// A store that cannot do its work. No path, and no text of a library: strangers may ask.
#[derive(Serialize)]
struct Cause {
    store: &'static str,
    cause: &'static str,
}

impl Health {
    /// Of these stores, by the names that an answer has for them. Of none: always ready.
    pub fn of(stores: Vec<(&'static str, Arc<dyn StoreHealth>)>) -> Arc<Self> {
        let part = |(name, store)| Arc::new(Part { name, store, look: Mutex::default(), looked: Notify::new() });
        Arc::new(Self(stores.into_iter().map(part).collect()))
    }

    /// The two paths, for any server of this process.
    pub fn routes(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/health/live", only_get(async || report("live", Vec::new())))
            .route("/health/ready", only_get(ready))
            .with_state(Arc::clone(self))
    }

    /// The name of each store, and whether it works.
    pub(super) async fn verdicts(&self) -> Vec<(&'static str, bool)> {
        let mut verdicts = Vec::new();
        for part in &self.0 {
            verdicts.push((part.name, part.verdict().await.is_ok()));
        }
        verdicts
    }

    async fn causes(&self) -> Vec<Cause> {
        let mut causes = Vec::new();
        for part in &self.0 {
            if let Err(cause) = part.verdict().await {
                causes.push(Cause { store: part.name, cause: cause.as_str() });
            }
        }
        causes
    }
}

impl DiskSpace {
    /// Of the file system that has this directory.
    pub fn of(directory: PathBuf) -> Self {
        Self(directory)
    }
}

impl StoreHealth for DiskSpace {
    fn check(&self) -> Result<(), StorageCause> {
        let disk = statvfs(&self.0).map_err(|error| StorageCause::of_io(&error.into()))?;
        if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(StorageCause::ReadOnlyFileSystem);
        }
        // What is kept for the superuser is not ours.
        let is_enough = disk.f_bavail.saturating_mul(disk.f_frsize) >= LEAST_SPACE_BYTES;
        if is_enough { Ok(()) } else { Err(StorageCause::DiskFull) }
    }
}

impl Part {
    /// What a look at the store finds that is not older than [`FRESH_FOR`].
    async fn verdict(self: &Arc<Self>) -> Result<(), StorageCause> {
        loop {
            let looked = self.looked.notified();
            let began = {
                let mut look = self.look();
                match (look.began, look.found) {
                    (Some(began), _) => began,
                    (None, Some((ended, found))) if ended.elapsed() < FRESH_FOR => {
                        look.tell(self.name, found);
                        return found;
                    }
                    (None, _) => self.begin(&mut look),
                }
            };
            if timeout_at(began + LOOK_LIMIT, looked).await.is_err() {
                let hangs = Err(StorageCause::NoAnswer);
                self.look().tell(self.name, hangs);
                return hangs;
            }
        }
    }

    /// Has a thread look, which nobody waits for longer than they want to: not even the runtime when it ends.
    fn begin(self: &Arc<Self>, look: &mut Look) -> Instant {
        let began = Instant::now();
        look.began = Some(began);
        let part = Arc::clone(self);
        let thread = thread::Builder::new().name("health".to_owned()).spawn(move || {
            let found = panic::catch_unwind(AssertUnwindSafe(|| part.store.check()));
            part.end(&mut part.look(), found.unwrap_or(Err(StorageCause::Failed)));
        });
        if thread.is_err() {
            self.end(look, Err(StorageCause::Failed));
        }
        began
    }

    fn end(&self, look: &mut Look, found: Result<(), StorageCause>) {
        look.began = None;
        look.found = Some((Instant::now(), found));
        self.looked.notify_waiters();
    }

    fn look(&self) -> MutexGuard<'_, Look> {
        self.look.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Look {
    /// Logs what has changed.
    fn tell(&mut self, store: &'static str, found: Result<(), StorageCause>) {
        match (self.told, found) {
            (None, Err(cause)) => tracing::error!(store, cause = cause.as_str(), "not ready: {cause}"),
            (Some(before), Err(cause)) if before != cause => {
                tracing::error!(store, cause = cause.as_str(), "still not ready: {cause}");
            }
            (Some(_), Ok(())) => tracing::info!(store, "ready again"),
            (None, Ok(())) | (Some(_), Err(_)) => return,
        }
        self.told = found.err();
    }
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let causes = health.causes().await;
    if causes.is_empty() {
        return report("ready", causes);
    }
    let mut answer = report("not_ready", causes);
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer.headers_mut().insert(RETRY_AFTER, response::RETRY_AFTER_SECONDS.into());
    answer
}

fn report(status: &'static str, causes: Vec<Cause>) -> Response {
    response::ok(&Report { status, causes })
}

pub(super) fn only_get<H, T, S>(handler: H) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    get(handler).fallback(async || Refusal::MethodNotAllowed { allow: "GET, HEAD" })
}

const FRESH_FOR: Duration = Duration::from_secs(1);
/// Less than what asks usually waits for an answer.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// What a second of tokens may take, about.
const LEAST_SPACE_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Counts the looks; each waits until it is let go on.
    struct Slow {
        looks: AtomicUsize,
        go_on: Mutex<Receiver<Result<(), StorageCause>>>,
    }

    impl StoreHealth for Slow {
        fn check(&self) -> Result<(), StorageCause> {
            self.looks.fetch_add(1, Ordering::SeqCst);
            self.go_on.lock().expect("no panic").recv().expect("a verdict")
        }
    }

    async fn causes(health: &Health) -> Vec<&'static str> {
        health.causes().await.iter().map(|cause| cause.cause).collect()
    }

    #[tokio::test]
    async fn a_store_that_hangs_is_not_ready_and_has_one_look_however_many_ask() {
        let (verdict, go_on) = channel();
        let slow = Arc::new(Slow { looks: AtomicUsize::new(0), go_on: Mutex::new(go_on) });
        let health = Health::of(vec![("slow", Arc::clone(&slow) as _)]);
        for _ in 0..2 {
            let asked = Instant::now();
            let several = (0..50).map(|_| {
                let health = Arc::clone(&health);
                tokio::spawn(async move { causes(&health).await })
            });
            for each in several.collect::<Vec<_>>() {
                assert_eq!(each.await.expect("no panic"), ["no_answer"]);
            }
            assert!(asked.elapsed() < LOOK_LIMIT + Duration::from_secs(1), "{:?}", asked.elapsed());
        }
        assert_eq!(slow.looks.load(Ordering::SeqCst), 1);

        verdict.send(Err(StorageCause::DiskFull)).expect("it waits");
        while causes(&health).await != ["disk_full"] {}
        for _ in 0..100 {
            assert_eq!(causes(&health).await, ["disk_full"]);
        }
        assert_eq!(slow.looks.load(Ordering::SeqCst), 1, "once a second");
        tokio::time::sleep(FRESH_FOR).await;
        verdict.send(Ok(())).expect("it will look");
        assert!(causes(&health).await.is_empty());
        assert_eq!(slow.looks.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_look_that_panics_has_found_something() {
        struct Panics;
        impl StoreHealth for Panics {
            fn check(&self) -> Result<(), StorageCause> {
                panic!("of a library");
            }
        }
        assert_eq!(causes(&Health::of(vec![("a", Arc::new(Panics))])).await, ["failed"]);
        assert!(causes(&Health::of(Vec::new())).await.is_empty());
    }

    #[test]
    fn a_directory_that_is_gone_has_no_space() {
        assert_eq!(DiskSpace::of(std::env::temp_dir()).check(), Ok(()));
        assert_eq!(DiskSpace::of("/nowhere/at/all".into()).check(), Err(StorageCause::Failed));
    }
}
