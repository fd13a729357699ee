//! The token database: one SQLite file that one server owns, one thread that writes to it and connections that only read.
//!
//! What comes while the writer is busy is its next transaction, so that a transaction's price is shared by all who wait for it. Everything
//! that SQLite needs is opened at the start: a server without a file descriptor left reads and writes on. After a fault the next transaction
//! simply tries again, and where nobody asks for one, the writer does once a second.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::oneshot;

use super::StoreError;
use super::cause::StorageCause;
use crate::core::ports::{PortError, UnixSeconds};

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
    /// Unbounded, and yet no longer than the server has connections: each waits for its own write.
    queue: Option<Sender<Box<dyn Job>>>,
    writer: Option<JoinHandle<()>>,
    readers: Vec<Mutex<Connection>>,
    /// After everything else that has it open: closing any descriptor of a file lets go SQLite's locks on it.
    _file: Arc<File>,
    /// Of the directory, for as long as the database is open.
    _lock: File,
}

/// What the writer does beside what it is asked to, with the connection between two transactions.
pub(super) trait Upkeep: Send + 'static {
    /// After a transaction in which `writes` were asked for, and with 0 about once a second.
    ///
    /// # Errors
    /// SQLite's.
    fn after(&mut self, connection: &mut Connection, writes: usize) -> rusqlite::Result<()>;
}

/// A piece of work for the writer.
trait Job: Send {
    /// Does it within a transaction, which an error ends for all who share it.
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Says how it went, once it is known whether the transaction has been committed.
    fn answer(self: Box<Self>, committed: Result<(), StorageCause>);
}

struct Work<T, F, A> {
    work: Option<F>,
    outcome: Option<T>,
    answer: A,
}

impl Database {
    /// Opens the file, creating it where it does not exist, and brings it to the form of this build with `prepare`.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another server has it open; else why it cannot be opened.
    pub(super) fn open<U: Upkeep>(
        path: &Path,
        durability: Durability,
        prepare: impl FnOnce(&mut Connection) -> Result<U, StoreError>,
    ) -> Result<Self, StoreError> {
        let of_sqlite = |error: rusqlite::Error| StoreError::of_sqlite(path, &error);
        let of_io = |error| StoreError::of_io(path, &error);
        // 1. One server. It locks the directory, and leaves the file's locks to SQLite.
        let directory = path.parent().unwrap_or(Path::new("."));
        let lock = File::open(directory).map_err(|error| StoreError::of_io(directory, &error))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::InUse { path: directory.to_owned() },
            TryLockError::Error(error) => StoreError::of_io(directory, &error),
        })?;

        // 2. The file. SQLite gives its journals the file's mode: readable by nobody else, even where a copy leaves the directory.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(of_io)?;
        let file = Arc::new(file);

        // 3. Every connection there will be.
        let mut connection = connect(path).map_err(of_sqlite)?;
        let settings = match durability {
            Durability::OperatingSystem => SETTINGS_OF_WRITER,
            Durability::Disk => SETTINGS_OF_CAREFUL_WRITER,
        };
        #[allow(clippy::all)]
        let settings = settings.replace("1024", &std::env::var("GW_PAGE").unwrap_or("1024".into()));
        connection.execute_batch(&settings).map_err(of_sqlite)?;
        let upkeep = prepare(&mut connection)?;
        let checkpoints = connect(path).map_err(of_sqlite)?;
        let readers = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_READERS);
        let readers = (0..readers).map(|_| {
            let reader = connect(path)?;
            reader.execute_batch(SETTINGS_OF_READERS)?;
            Ok(Mutex::new(reader))
        });
        let readers = readers.collect::<rusqlite::Result<_>>().map_err(of_sqlite)?;

        // 4. The writer.
        let (queue, jobs) = mpsc::channel();
        let checkpoints = Checkpoints::start(checkpoints, Arc::clone(&file)).map_err(of_io)?;
        let writer = Writer {
            path: path.to_owned(),
            connection,
            upkeep,
            checkpoints,
            writes_in_log: 0,
            outage: Outage::of("tokens cannot be written", "tokens are written again"),
        };
        let writer = thread::Builder::new().name("token-writer".to_owned()).spawn(move || writer.run(&jobs));
        Ok(Self { queue: Some(queue), writer: Some(writer.map_err(of_io)?), readers, _file: file, _lock: lock })
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
        // A client that has gone away waits for nothing.
        self.enqueue(work, |outcome| {
            let _gone = done.send(outcome);
        });
        answered.await.unwrap_or(Err(StorageCause::Failed)).map_err(fault)
    }

    /// Reads what every finished write has left. Takes microseconds, less than handing it to another thread would.
    ///
    /// # Errors
    /// [`PortError`].
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, PortError> {
        self.look(read).map_err(fault)
    }

    fn look<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StorageCause> {
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

    /// Carries the log over into the file and has the disk confirm both; for a shutdown.
    ///
    /// # Errors
    /// Why that was not possible. Nothing is lost by it: the log is read at the next start.
    pub(super) fn sync(&self) -> Result<(), StorageCause> {
        let reader = self.readers.first().ok_or(StorageCause::Failed)?;
        let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
        checkpoint(&reader, "TRUNCATE").map(drop).map_err(|error| StorageCause::of_sqlite(&error))
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
        self.look(|connection| connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_row| Ok(())))
    }

    /// Where the writer has ended, `answer` is dropped.
    fn enqueue<T, F, A>(&self, work: F, answer: A)
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        A: FnOnce(Result<T, StorageCause>) + Send + 'static,
    {
        let job = Box::new(Work { work: Some(work), outcome: None, answer });
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

impl<T, F, A> Job for Work<T, F, A>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    A: FnOnce(Result<T, StorageCause>) + Send,
{
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.outcome = Some(work(connection)?);
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
    /// Since the log was last begun anew.
    writes_in_log: usize,
    outage: Outage,
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
            group.extend(jobs.try_iter().take(GROUP_LIMIT - 1));
            // A panic rolls its transaction back, and lets go of those who wait. It must not end the thread for everybody after them.
            let _panicked = panic::catch_unwind(AssertUnwindSafe(|| {
                let writes = group.len();
                self.commit(&mut group);
                self.keep_up(writes);
            }));
            group.clear();
        }
    }

    /// Does all of the group or nothing, and empties it.
    fn commit(&mut self, group: &mut Vec<Box<dyn Job>>) {
        let is_on_trial = group.is_empty() && self.outage.cause().is_some();
        if group.is_empty() && !is_on_trial {
            return;
        }
        let committed = in_transaction(&mut self.connection, |transaction| {
            if is_on_trial {
                // Nobody writes, and somebody has to find out whether the cause has gone.
                write_a_little(transaction)?;
            }
            group.iter_mut().try_for_each(|job| job.run(transaction))
        });
        let committed = committed.map_err(|error| self.cause(&error));
        self.outage.note(committed.err());
        for job in group.drain(..) {
            job.answer(committed);
        }
    }

    /// Nobody waits for this, except for the next group.
    fn keep_up(&mut self, writes: usize) {
        let kept_up = self.upkeep.after(&mut self.connection, writes);
        if let Err(error) = kept_up {
            let cause = self.cause(&error);
            self.outage.note(Some(cause));
        }
        self.writes_in_log += writes;
        let after: usize = std::env::var("GW_CKPT").ok().and_then(|t| t.parse().ok()).unwrap_or(CHECKPOINT_AFTER);
        if self.writes_in_log >= after {
            self.begin_log_anew();
        }
    }

    /// Once an outage has a cause, those who ask during it are not worth another question.
    fn cause(&self, error: &rusqlite::Error) -> StorageCause {
        match self.outage.cause() {
            Some(cause) => cause,
            None => StorageCause::of_sqlite_at(&self.path, error),
        }
    }

    /// In two steps, of which only the second holds up who writes.
    fn begin_log_anew(&mut self) {
        let t = Instant::now();
        if !self.checkpoints.have_caught_up() {
            // Unless the disk is too slow for those who write: then they wait here.
            if self.writes_in_log < MOST_WRITES_IN_LOG { return; }
        }
        let a = t.elapsed();
        if checkpoint(&self.connection, "RESTART").is_ok_and(|left| left == 0) {
            self.writes_in_log = 0;
        }
        if std::env::var("GW_TRACE").is_ok() {
            println!("restart {:?} {:?} {}", a, t.elapsed(), self.writes_in_log);
        }
    }
}

/// The thread that carries the log over into the database, while others go on writing to the log.
struct Checkpoints {
    requests: Option<SyncSender<SyncSender<()>>>,
    /// That the log has been carried over but for a little.
    caught_up: Option<Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    fn start(connection: Connection, file: Arc<File>) -> io::Result<Self> {
        let (requests, requested) = mpsc::sync_channel::<SyncSender<()>>(1);
        let thread = thread::Builder::new().name("token-checkpoint".to_owned()).spawn(move || {
            let mut outage = Outage::of(
                "tokens are kept in the log of the database, which grows",
                "the log of the token database is emptied again",
            );
            for done in requested {
                carry_over(&connection, &file, &mut outage);
                let _ended = done.send(());
            }
        })?;
        Ok(Self { requests: Some(requests), caught_up: None, thread: Some(thread) })
    }

    /// Asks the thread where it has not been asked, and whether it is done where it has.
    fn have_caught_up(&mut self) -> bool {
        let Some(caught_up) = &self.caught_up else {
            let (done, caught_up) = mpsc::sync_channel(1);
            let asked = self.requests.as_ref().is_some_and(|requests| requests.try_send(done).is_ok());
            self.caught_up = asked.then_some(caught_up);
            return false;
        };
        if matches!(caught_up.try_recv(), Err(mpsc::TryRecvError::Empty)) {
            return false;
        }
        // Where it has failed, too: the next request begins anew.
        self.caught_up = None;
        true
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// In several rounds, of which each has less left to do, so that little is left for the one that the writer waits for. SQLite has the
/// disk confirm the file only in a round that leaves nothing, which would be that one.
fn carry_over(connection: &Connection, file: &File, outage: &mut Outage) {
    for _ in 0..CHECKPOINT_ROUNDS {
        let begun = Instant::now();
        let carried_over = checkpoint(connection, "PASSIVE").map_err(|error| StorageCause::of_sqlite(&error));
        let t = begun.elapsed();
        let confirmed = carried_over.and_then(|_| file.sync_data().map_err(|error| StorageCause::of_io(&error)));
        if std::env::var("GW_TRACE").is_ok() { println!("passive {:?} {:?}", t, begun.elapsed()); }
        outage.note(confirmed.err());
        if confirmed.is_err() {
            thread::sleep(LOOKS_EVERY);
        }
        if confirmed.is_err() || begun.elapsed() < SHORT_ROUND {
            return;
        }
    }
}

/// How many pages of the log could not be carried over yet.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let (busy, pages, done): (bool, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(if busy { i64::MAX } else { pages - done })
    })
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

/// Writes what is there already: a page all the same.
fn write_a_little(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "application_id", APPLICATION_ID)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Says once that something fails, and once that it no longer does.
struct Outage {
    begins: &'static str,
    ends: &'static str,
    /// What began it, and when that, or another, was last seen.
    current: Option<(StorageCause, Instant)>,
}

impl Outage {
    fn of(begins: &'static str, ends: &'static str) -> Self {
        Self { begins, ends, current: None }
    }

    fn cause(&self) -> Option<StorageCause> {
        self.current.map(|(cause, _last)| cause)
    }

    fn note(&mut self, failure: Option<StorageCause>) {
        match (failure, self.current) {
            (Some(cause), None) => {
                tracing::error!(cause = cause.as_str(), "{}: {cause}", self.begins);
                self.current = Some((cause, Instant::now()));
            }
            (Some(_noted), Some((cause, _last))) => self.current = Some((cause, Instant::now())),
            // A disk that is full for one write and not for the next is still full.
            (None, Some((cause, last))) if last.elapsed() >= LOOKS_EVERY => {
                tracing::warn!(cause = cause.as_str(), "{}", self.ends);
                self.current = None;
            }
            (None, _) => {}
        }
    }
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

/// As SQLite stores a time; the end of time where that does not fit.
pub(super) fn seconds(time: UnixSeconds) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

const SERVICE: &str = "the token database";
/// "gwtk", so that `file` and a person can tell what it is.
const APPLICATION_ID: i32 = 0x6777_746B;
const LOOKS_EVERY: Duration = Duration::from_secs(1);
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The most writes of one transaction.
const GROUP_LIMIT: usize = 1024;
const MOST_READERS: usize = 8;
const CHECKPOINT_AFTER: usize = 40_000;
const MOST_WRITES_IN_LOG: usize = 8 * CHECKPOINT_AFTER;
const CHECKPOINT_ROUNDS: usize = 8;
const SHORT_ROUND: Duration = Duration::from_millis(4);
const SETTINGS_OF_WRITER: &str = "
    PRAGMA page_size = 1024;
    PRAGMA journal_mode = WAL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA synchronous = NORMAL;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -8192;
";
const SETTINGS_OF_CAREFUL_WRITER: &str = "
    PRAGMA page_size = 1024;
    PRAGMA journal_mode = WAL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA synchronous = FULL;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -8192;
";
const SETTINGS_OF_READERS: &str = "
    PRAGMA query_only = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -256;
";
