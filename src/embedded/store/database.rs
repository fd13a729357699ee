//! The token database: one SQLite file that one server owns, one thread that writes to it and connections that only read.
//!
//! What comes while the writer is busy is its next transaction, so that all who wait share its price. Everything that SQLite needs is
//! opened at the start: a server that has no file descriptor left reads and writes on. After a fault the next transaction tries
//! again, and where nobody asks for one, the writer does once a second.

use std::fs::{self, File};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::oneshot;

use super::cause::StorageCause;
use super::checkpoints::{BUSY_TIMEOUT, Checkpoints, checkpoint};
use super::data_dir::{DirectoryLock, create_private_file};
use super::fault::StoreError;
use super::outage::{LOOKS_EVERY, Outage};
use crate::core::port_error::PortError;
use crate::core::time::UnixSeconds;

/// When a write counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once the operating system has it: it survives `kill -9`, and a power cut can cost the last moments.
    OperatingSystem,
    /// Once the disk has confirmed it.
    Disk,
}

/// The database of a data directory. Dropped, it finishes what it has been given.
pub(super) struct Database {
    path: PathBuf,
    /// Unbounded, and yet no longer than the server has connections: each waits for its own write.
    queue: Option<Sender<Box<dyn Job>>>,
    writer: Option<JoinHandle<()>>,
    readers: Vec<Mutex<Connection>>,
    /// Dropped after everything else that has it open: closing any descriptor of a file lets go SQLite's locks on it (POSIX).
    file: Arc<File>,
    /// Of the directory, for as long as the database is open.
    _lock: DirectoryLock,
}

/// What the writer does beside what it is asked to.
pub(super) trait Upkeep: Send + 'static {
    /// Follows a transaction that `writes` shared; with 0, where there has been none for a second.
    ///
    /// # Errors
    /// SQLite's.
    fn follow(&mut self, connection: &mut Connection, writes: u32) -> rusqlite::Result<()>;
}

impl Database {
    /// Opens the file, creating it where it does not exist, and has `prepare` bring it to the form of this build.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another server has it open; else why it cannot be opened.
    pub(super) fn open<U: Upkeep>(
        path: &Path,
        durability: Durability,
        prepare: impl FnOnce(&mut Connection) -> Result<U, StoreError>,
    ) -> Result<Self, StoreError> {
        let of_sqlite = |error: rusqlite::Error| StoreError::of_sqlite(path, &error);
        let of_io = |error: io::Error| StoreError::of_io(path, &error);
        // 1. One server. It locks the directory, and leaves the locks of the file to SQLite.
        let lock = DirectoryLock::take(path.parent().unwrap_or(Path::new(".")))?;

        // 2. The file, and every connection to it that there will be.
        create_private_file(path)?;
        let file = Arc::new(File::open(path).map_err(of_io)?);
        let mut connection = connect(path, WRITER_SETTINGS).map_err(of_sqlite)?;
        let synchronous = match durability {
            Durability::OperatingSystem => "NORMAL",
            Durability::Disk => "FULL",
        };
        connection.pragma_update(None, "synchronous", synchronous).map_err(of_sqlite)?;
        let upkeep = prepare(&mut connection)?;
        let to_carry_over = connect(path, READER_SETTINGS).map_err(of_sqlite)?;
        let readers = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_READERS);
        let readers = (0..readers).map(|_| connect(path, READER_SETTINGS).map(Mutex::new));
        let readers = readers.collect::<rusqlite::Result<_>>().map_err(of_sqlite)?;

        // 3. The threads.
        let checkpoints = Checkpoints::start(to_carry_over, Arc::clone(&file)).map_err(of_io)?;
        let (queue, jobs) = mpsc::channel();
        let (place, outage) = (Place { file: Arc::clone(&file), found: None }, Outage::of_writes());
        let writer = Writer { path: path.to_owned(), connection, upkeep, checkpoints, place, outage };
        let writer = thread::Builder::new().name("token-writer".to_owned()).spawn(move || writer.run(&jobs));
        let writer = Some(writer.map_err(of_io)?);
        Ok(Self { path: path.to_owned(), queue: Some(queue), writer, readers, file, _lock: lock })
    }

    /// Runs `work` within a transaction, and returns once that counts as stored.
    ///
    /// # Errors
    /// [`PortError`] where `work` failed, or the transaction that it shares.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, PortError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (done, answered) = oneshot::channel();
        self.enqueue(work, |outcome| {
            // A client that has gone away waits for nothing.
            let _gone = done.send(outcome);
        });
        answered.await.unwrap_or(Err(StorageCause::Failed)).map_err(fault)
    }

    /// Reads what every finished write has left. Takes microseconds, less than handing it to another thread would.
    ///
    /// # Errors
    /// [`PortError`].
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, PortError> {
        self.with_reader(read).map_err(fault)
    }

    /// Reads and writes a little. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) fn check(&self) -> Result<(), StorageCause> {
        let (done, answered) = mpsc::sync_channel(1);
        self.enqueue(write_a_little, move |outcome| {
            let _gone = done.send(outcome);
        });
        answered.recv().unwrap_or(Err(StorageCause::Failed))?;
        self.with_reader(|connection| connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_row| Ok(())))?;
        require_in_place(&self.file, &self.path)
    }

    /// Carries the log over into the file and has the disk confirm both; for a shutdown.
    ///
    /// # Errors
    /// Why that was not possible. Nothing is lost by it: the log is read at the next start.
    pub(super) fn sync(&self) -> Result<(), StorageCause> {
        self.with_reader(|connection| checkpoint(connection, "TRUNCATE")).map(drop)
    }

    fn with_reader<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StorageCause> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        let number = THREAD.with(|number| *number) % self.readers.len().max(1);
        let reader = self.readers.get(number).ok_or(StorageCause::Failed)?;
        // A panic while it was held has ended its statement, and a reader has no transaction beyond that.
        let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
        read(&reader).map_err(|error| StorageCause::of_sqlite(&error))
    }

    /// Where the writer has ended, `answer` is dropped.
    fn enqueue<T, F, A>(&self, work: F, answer: A)
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        A: FnOnce(Result<T, StorageCause>) + Send + 'static,
    {
        let job = Box::new(Work { run: Some(work), outcome: None, answer });
        let _ended = self.queue.as_ref().map(|queue| queue.send(job));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The end of the queue ends the writer, which has finished what was in it by then.
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            let _panicked = writer.join();
        }
    }
}

/// A piece of work for the writer.
trait Job: Send {
    /// Does it within a transaction, which an error ends for all who share it.
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Says how it went, once it is known whether the transaction has been committed.
    fn answer(self: Box<Self>, committed: Result<(), StorageCause>);
}

struct Work<T, F, A> {
    run: Option<F>,
    outcome: Option<T>,
    answer: A,
}

impl<T, F, A> Job for Work<T, F, A>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    A: FnOnce(Result<T, StorageCause>) + Send,
{
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(run) = self.run.take() {
            self.outcome = Some(run(connection)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StorageCause>) {
        let Self { outcome, answer, .. } = *self;
        answer(committed.and_then(|()| outcome.ok_or(StorageCause::Failed)));
    }
}

/// What the thread that writes has.
struct Writer<U> {
    path: PathBuf,
    connection: Connection,
    upkeep: U,
    checkpoints: Checkpoints,
    place: Place,
    outage: Outage,
}

/// Whether the file is where it was opened. Somebody may take it away or put another there.
struct Place {
    file: Arc<File>,
    found: Option<(Instant, Result<(), StorageCause>)>,
}

impl Place {
    /// Looks once a second.
    fn check(&mut self, path: &Path) -> Result<(), StorageCause> {
        match self.found {
            Some((looked, found)) if looked.elapsed() < LOOKS_EVERY => found,
            _ => {
                let found = require_in_place(&self.file, path);
                self.found = Some((Instant::now(), found));
                found
            }
        }
    }
}

impl<U: Upkeep> Writer<U> {
    fn run(mut self, jobs: &Receiver<Box<dyn Job>>) {
        let mut group = Vec::new();
        loop {
            match jobs.recv_timeout(LOOKS_EVERY) {
                Ok(job) => group.push(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            group.extend(jobs.try_iter().take(self.checkpoints.most_writes() - 1));
            // A panic rolls its transaction back and lets go of those who wait. It must not end the writer for all who come after them.
            let _panicked = panic::catch_unwind(AssertUnwindSafe(|| {
                let writes = u32::try_from(group.len()).unwrap_or(u32::MAX);
                self.commit(&mut group);
                self.keep_up(writes);
            }));
            group.clear();
        }
    }

    /// Does all of the group or nothing, and empties it.
    fn commit(&mut self, group: &mut Vec<Box<dyn Job>>) {
        let is_failing = self.outage.cause().is_some();
        if group.is_empty() && !is_failing {
            return;
        }
        // What is not to be written would be lost, or take the room that is needed to carry over what has been.
        let refused = self.place.check(&self.path).and_then(|()| self.checkpoints.make_room(&self.connection)).err();
        if let Some(cause) = refused {
            self.outage.note(Some(cause));
            for job in group.drain(..) {
                job.answer(Err(cause));
            }
            return;
        }
        let committed = in_transaction(&mut self.connection, |transaction| {
            if group.is_empty() {
                // Nobody writes, and somebody has to find out whether the cause has gone.
                write_a_little(transaction)?;
            }
            group.iter_mut().try_for_each(|job| job.run(transaction))
        });
        let committed = committed.map_err(|error| self.cause(&error));
        if committed == Err(StorageCause::DiskFull) {
            self.checkpoints.is_full();
        }
        self.outage.note(committed.err());
        for job in group.drain(..) {
            job.answer(committed);
        }
    }

    /// Nobody waits for this, except for the next group.
    fn keep_up(&mut self, writes: u32) {
        let (is_due, writes_before) = match self.outage.cause() {
            None => (self.checkpoints.has_room_to_delete(&self.connection), writes),
            // What has expired makes room.
            Some(StorageCause::DiskFull) => (self.checkpoints.has_room_to_delete(&self.connection), 0),
            Some(_) => (false, 0),
        };
        if is_due && let Err(error) = self.upkeep.follow(&mut self.connection, writes_before) {
            let cause = self.cause(&error);
            if cause == StorageCause::DiskFull {
                self.checkpoints.is_full();
            }
            self.outage.note(Some(cause));
        }
        // What was not written is not in the log.
        let written = if self.outage.cause().is_none() { writes } else { 0 };
        self.checkpoints.follow(&self.connection, written);
    }

    /// Looked for once for an outage: those who ask during it are not worth another trial.
    fn cause(&self, error: &rusqlite::Error) -> StorageCause {
        self.outage.cause().unwrap_or_else(|| StorageCause::of_sqlite_at(&self.path, error))
    }
}

/// What is written to a file that somebody has taken away, or put another in the place of, is gone with the process.
fn require_in_place(written: &File, path: &Path) -> Result<(), StorageCause> {
    let written = written.metadata().map_err(|error| StorageCause::of_io(&error))?;
    match fs::metadata(path) {
        Ok(named) if (written.dev(), written.ino()) == (named.dev(), named.ino()) => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageCause::of_io(&error)),
        _ => Err(StorageCause::Replaced),
    }
}

fn connect(path: &Path, settings: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch(settings)?;
    Ok(connection)
}

fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    // Rolled back where it is dropped.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcome = work(&transaction)?;
    transaction.commit()?;
    Ok(outcome)
}

/// Writes what is there already: a page of the log all the same.
fn write_a_little(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "application_id", APPLICATION_ID)
}

fn fault(cause: StorageCause) -> PortError {
    match cause {
        StorageCause::Damaged => corrupt("a damaged page"),
        cause => unavailable(cause.to_string()),
    }
}

pub(super) fn unavailable(detail: String) -> PortError {
    PortError::Unavailable { service: SERVICE, detail }
}

pub(super) fn corrupt(detail: &str) -> PortError {
    PortError::Corrupt { service: SERVICE, detail: detail.to_owned() }
}

/// A time as SQLite stores it; the end of time where that does not fit.
pub(super) fn seconds(time: UnixSeconds) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

const SERVICE: &str = "the token database";
/// "gwtk", by which a person can tell what the file is.
const APPLICATION_ID: i32 = 0x6777_746B;
/// What a reader remembers it forgets whenever somebody has written, so that more of them would bring little.
const MOST_READERS: usize = 8;
/// A token is a page that is written to the log and from there to the file: in smaller pages fewer bytes, and more of them to split. Checkpoints
/// have a thread of their own.
const WRITER_SETTINGS: &str = "
    PRAGMA page_size = 2048;
    PRAGMA journal_mode = WAL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -8192;
";
const READER_SETTINGS: &str = "
    PRAGMA query_only = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -256;
";
