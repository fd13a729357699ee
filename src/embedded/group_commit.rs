//! Writes in groups, of which each costs one call of the operating system and one turn at fjall's journal.
//!
//! [`SharedWrites`] takes together what is ready on a thread at the same moment, and waits for nothing. [`GroupCommit`] has the disk
//! itself confirm each group: whoever comes while it is busy is written with the next, so that the wait is one or two of the
//! disk's and not one for each request.

use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use fjall::{Database, OwnedWriteBatch, PersistMode, UserKey, UserValue};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::keyspace::Keyspace;
use super::tokens::fault;
use crate::core::ports::PortError;

/// A thread that writes in groups. Dropped, it finishes what it has been given.
pub(super) struct GroupCommit {
    /// Unbounded, and yet no longer than the server has connections: each waits for its own write.
    queue: Option<UnboundedSender<Waiting>>,
    thread: Option<JoinHandle<()>>,
}

/// Writes what the requests of a thread have ready in one group, so that no thread has to wake another.
pub(super) struct SharedWrites {
    database: Database,
    groups: [Mutex<Vec<Waiting>>; GROUPS],
}

/// A change to one key.
pub(super) struct Change {
    /// Where.
    pub(super) keyspace: Arc<Keyspace>,
    /// Of what.
    pub(super) key: UserKey,
    /// To what; `None` removes it.
    pub(super) value: Option<UserValue>,
}

struct Waiting {
    change: Change,
    done: oneshot::Sender<Result<(), PortError>>,
}

impl GroupCommit {
    /// Starts the thread.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn start(database: Database) -> io::Result<Self> {
        let (sender, receiver) = unbounded_channel();
        let thread =
            thread::Builder::new().name("group-commit".to_owned()).spawn(move || commit_groups(&database, receiver))?;
        Ok(Self { queue: Some(sender), thread: Some(thread) })
    }

    /// Returns once the disk has the change.
    ///
    /// # Errors
    /// [`PortError`] where it could not be written, or the disk did not confirm it.
    pub(super) async fn commit(&self, change: Change) -> Result<(), PortError> {
        let (done, confirmed) = oneshot::channel();
        let queued = self.queue.as_ref().is_some_and(|queue| queue.send(Waiting { change, done }).is_ok());
        if !queued {
            return Err(ended());
        }
        confirmed.await.unwrap_or_else(|_ended| Err(ended()))
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        // The end of the queue ends the thread, which holds the directory until then.
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl SharedWrites {
    /// Into the keyspaces of `database`.
    pub(super) fn new(database: Database) -> Self {
        Self { database, groups: [const { Mutex::new(Vec::new()) }; GROUPS] }
    }

    /// Returns once the operating system has the change.
    ///
    /// # Errors
    /// [`PortError`] where it could not be written.
    pub(super) async fn commit(&self, change: Change) -> Result<(), PortError> {
        let (done, written) = oneshot::channel();
        let group = self.group_of_this_thread();
        let is_first = {
            let mut group = held(group);
            group.push(Waiting { change, done });
            group.len() == 1
        };
        if is_first {
            let closes_group = CommitOnDrop { database: &self.database, group };
            // Every request that is ready on this thread gets as far as this.
            yield_now().await;
            drop(closes_group);
        }
        written.await.unwrap_or_else(|_ended| Err(ended()))
    }

    fn group_of_this_thread(&self) -> &Mutex<Vec<Waiting>> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        let [first, ..] = &self.groups;
        self.groups.get(THREAD.with(|number| number % GROUPS)).unwrap_or(first)
    }
}

/// The first of a group writes the others' changes too, even where its own client goes away before.
struct CommitOnDrop<'a> {
    database: &'a Database,
    group: &'a Mutex<Vec<Waiting>>,
}

impl Drop for CommitOnDrop<'_> {
    fn drop(&mut self) {
        let mut group = mem::take(&mut *held(self.group));
        // A panic while another unwinds would end the process. Those who wait are told that their writer has ended.
        let _panicked = panic::catch_unwind(AssertUnwindSafe(|| {
            commit_group(self.database, &mut group, PersistMode::Buffer);
        }));
    }
}

/// A panic while it was held leaves the vector whole: every change is a single call.
fn held(group: &Mutex<Vec<Waiting>>) -> MutexGuard<'_, Vec<Waiting>> {
    group.lock().unwrap_or_else(PoisonError::into_inner)
}

fn commit_groups(database: &Database, mut queue: UnboundedReceiver<Waiting>) {
    let mut group = Vec::new();
    while queue.blocking_recv_many(&mut group, GROUP_LIMIT) > 0 {
        commit_group(database, &mut group, PersistMode::SyncData);
    }
}

/// Writes the changes of a group, and empties it. No two of them say different things of one key, which fjall would give no order: who
/// revokes a token has been given it.
fn commit_group(database: &Database, group: &mut Vec<Waiting>, durability: PersistMode) {
    let mut batch = OwnedWriteBatch::with_capacity(database.clone(), group.len()).durability(Some(durability));
    let mut written = Vec::with_capacity(group.len());
    let mut confirmations = Vec::with_capacity(group.len());
    for Waiting { change: Change { keyspace, key, value }, done } in group.drain(..) {
        let bytes = keyspace.write_in(&mut batch, key, value);
        written.push((keyspace, bytes));
        confirmations.push(done);
    }
    let outcome = batch.commit().map_err(|error| fault(&error));
    if outcome.is_ok() {
        for (keyspace, bytes) in written {
            keyspace.wrote(bytes);
        }
    }
    for done in confirmations {
        // A client that has gone away waits for nothing.
        let _gone = done.send(outcome.clone());
    }
}

fn ended() -> PortError {
    PortError::Unavailable { service: "the token keyspace", detail: "its writer has ended".to_owned() }
}

/// The most writes of one group.
const GROUP_LIMIT: usize = 1024;
/// Threads beyond that share them.
const GROUPS: usize = 64;
