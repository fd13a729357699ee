//! Writes that the disk itself has confirmed: whoever comes while it is busy is written with the next group, so that the wait
//! is one or two of the disk's and not one for each request.

use std::io;
use std::thread::{self, JoinHandle};

use fjall::{Database, Keyspace, PersistMode, UserKey, UserValue};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::tokens::fault;
use crate::core::ports::PortError;

/// A thread that writes in groups. Dropped, it finishes what it has been given.
pub(super) struct GroupCommit {
    /// Unbounded, and yet no longer than the server has connections: each waits for its own write.
    queue: Option<UnboundedSender<Waiting>>,
    thread: Option<JoinHandle<()>>,
}

/// A change to one key.
pub(super) struct Change {
    /// Where.
    pub(super) keyspace: Keyspace,
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

fn commit_groups(database: &Database, mut queue: UnboundedReceiver<Waiting>) {
    let mut group = Vec::new();
    while queue.blocking_recv_many(&mut group, GROUP_LIMIT) > 0 {
        let mut batch = database.batch().durability(Some(PersistMode::SyncData));
        let mut confirmations = Vec::with_capacity(group.len());
        for Waiting { change: Change { keyspace, key, value }, done } in group.drain(..) {
            match value {
                Some(value) => batch.insert(&keyspace, key, value),
                None => batch.remove(&keyspace, key),
            }
            confirmations.push(done);
        }
        let outcome = batch.commit().map_err(|error| fault(&error));
        for done in confirmations {
            // A client that has gone away waits for nothing.
            let _gone = done.send(outcome.clone());
        }
    }
}

fn ended() -> PortError {
    PortError::Unavailable { service: "the token keyspace", detail: "its writer has ended".to_owned() }
}

/// The most writes of one group.
const GROUP_LIMIT: usize = 1024;
