//! Connections to one SQLite file, each on a thread of its own, because they wait for the disk.
//!
//! There are three, however many requests want something: one that writes, since SQLite has one writer at a time anyway, and two that
//! only read, so that nobody waits behind a writer for what is committed. What they have not come to yet waits in a short queue;
//! beyond it is nobody's turn, and the request is refused.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, MAIN_DB, OpenFlags, ffi};
use tokio::sync::oneshot;

use super::StoreError;

/// The connections of one process to a file, or to a database in memory. Dropped, they finish what has been given to them.
pub(super) struct Connections {
    writer: Lane,
    /// Into memory there is one connection.
    readers: Option<Lane>,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotDone {
    /// Too much else is waiting.
    Overloaded,
    /// The work ended early, by a panic.
    Ended,
}

/// Threads that take from one queue, each with a connection.
struct Lane {
    queue: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

struct Job(Box<dyn FnOnce(&mut Connection) + Send>);

impl Connections {
    /// Opens the file at `path`, which has to exist, and lets `prepare` make the first connection ready before there are others.
    ///
    /// # Errors
    /// [`StoreError`], also where a thread cannot be started.
    pub(super) fn open(
        path: &Path,
        prepare: impl FnOnce(&mut Connection) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let failed = |error: rusqlite::Error| StoreError::of_sqlite(path, &error);
        let connect = |settings: &str| {
            let connection = Connection::open_with_flags(path, FLAGS)?;
            // SQLite opens what it may only read without a word, makes a log that nobody may write, and refuses the first change.
            if connection.is_readonly(MAIN_DB)? {
                return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_READONLY), None));
            }
            connection.execute_batch(settings)?;
            Ok(connection)
        };
        let mut writer = connect(WRITER_SETTINGS).map_err(failed)?;
        prepare(&mut writer)?;
        let readers: Vec<_> =
            (0..READERS).map(|_| connect(READER_SETTINGS)).collect::<Result<_, _>>().map_err(failed)?;
        let lane = |connections| Lane::start(connections).map_err(|error| StoreError::of_io(path, &error));
        Ok(Self { writer: lane(vec![writer])?, readers: Some(lane(readers)?) })
    }

    /// A database that ends with the process.
    ///
    /// # Errors
    /// As [`Connections::open`].
    pub(super) fn in_memory(
        prepare: impl FnOnce(&mut Connection) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let path = Path::new(":memory:");
        let failed = |error: rusqlite::Error| StoreError::of_sqlite(path, &error);
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        connection.execute_batch(WRITER_SETTINGS).map_err(failed)?;
        prepare(&mut connection)?;
        let writer = Lane::start(vec![connection]).map_err(|error| StoreError::of_io(path, &error))?;
        Ok(Self { writer, readers: None })
    }

    /// Runs `work` on a connection that does not write.
    ///
    /// # Errors
    /// [`NotDone`].
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        self.readers.as_ref().unwrap_or(&self.writer).run(work).await
    }

    /// Runs `work` on the connection that writes.
    ///
    /// # Errors
    /// [`NotDone`].
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        self.writer.run(work).await
    }
}

impl Lane {
    fn start(connections: Vec<Connection>) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::sync_channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        // Whole before anything can fail: dropped, it ends those that have been started.
        let mut lane = Self { queue: Some(queue), threads: Vec::new() };
        for connection in connections {
            let jobs = Arc::clone(&jobs);
            let run = move || work_through(&jobs, connection);
            lane.threads.push(thread::Builder::new().name("registry".to_owned()).spawn(run)?);
        }
        Ok(lane)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let (answer, answered) = oneshot::channel();
        let job = Job(Box::new(move |connection| {
            // Whoever has gone away meanwhile wants nothing, and has been told nothing.
            if !answer.is_closed() {
                let _gone = answer.send(work(connection));
            }
        }));
        let queue = self.queue.as_ref().ok_or(NotDone::Ended)?;
        queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => NotDone::Overloaded,
            TrySendError::Disconnected(_) => NotDone::Ended,
        })?;
        answered.await.map_err(|_ended| NotDone::Ended)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // The end of the queue ends the threads, which hold the file until then.
        drop(self.queue.take());
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

fn work_through(jobs: &Mutex<Receiver<Job>>, mut connection: Connection) {
    loop {
        // Held while it waits: the others wait for the lock, which is the same.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job(job)) = next else { return };
        // Unwinding rolls a transaction back, and whoever waits is told that the work has ended.
        let _panicked = panic::catch_unwind(AssertUnwindSafe(|| job(&mut connection)));
        // Where even that failed, the next must not be a part of it.
        if !connection.is_autocommit() {
            let _failed = connection.execute_batch("ROLLBACK");
        }
    }
}

const READERS: usize = 2;
/// Milliseconds of work for a disk that is well.
const QUEUE: usize = 256;

/// No file is created by a mistake in its name, and none is reached through a link.
const FLAGS: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX).union(OpenFlags::SQLITE_OPEN_NOFOLLOW);

/// WAL lets the server read while the command line writes; FULL makes a change durable before it is reported. What is removed is
/// overwritten, and nothing is put into files for a while, which would be elsewhere and not be overwritten.
const WRITER_SETTINGS: &str = "
    PRAGMA busy_timeout = 5000;
    PRAGMA secure_delete = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
";
const READER_SETTINGS: &str = "
    PRAGMA busy_timeout = 5000;
    PRAGMA temp_store = MEMORY;
    PRAGMA query_only = ON;
";
