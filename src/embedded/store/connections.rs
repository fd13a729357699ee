//! Connections to one SQLite file, each on a thread of its own, because they wait for the disk.
//!
//! There are three, however many requests want something: one that writes, since SQLite has one writer at a time anyway, and two that
//! only read, so that nobody waits behind a writer for what is committed. What they have not come to yet waits in a short queue;
//! beyond it is nobody's turn, and the request is refused. A server has one more, which looks whether the file is well.
//!
//! A file that is open stays what it was, whatever takes its name: so once a second it is seen whether the name still has it. One that
//! is not there any more is asked nothing, another one is opened, and so is one that was damaged, whose pages SQLite remembers.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, ffi};
use tokio::sync::oneshot;

use super::cause::StorageCause;
use super::fault::StoreError;

/// The connections of one process to a file, or to a database in memory. Dropped, they finish what has been given to them.
pub(super) struct Connections {
    writer: Lane,
    /// Into memory there is one connection.
    readers: Option<Lane>,
    opened: Arc<Opened>,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotDone {
    /// Too much else is waiting.
    Overloaded,
    /// The work ended early, by a panic.
    Ended,
    /// There is no file to do it on.
    Refused(StorageCause),
}

/// The connections themselves, each used by one thread at a time, and whose file they have.
pub(super) struct Opened {
    slots: Vec<Slot>,
    /// Into memory: `None`.
    file: Option<WatchedFile>,
}

struct Slot {
    settings: &'static str,
    /// Whether there is to be a connection.
    is_used: AtomicBool,
    connection: Mutex<Option<Connection>>,
}

struct WatchedFile {
    path: PathBuf,
    /// Whether what has the name now is what this process can use, asked before anything is written to it.
    is_usable: fn(&Connection) -> Result<(), StorageCause>,
    seen: Mutex<Seen>,
    /// Whether SQLite has said something of the file that may have passed.
    is_doubted: AtomicBool,
}

struct Seen {
    looked: Instant,
    /// Device and number of the file that the connections have, where they have one.
    file: Option<(u64, u64)>,
    verdict: Result<(), StorageCause>,
}

/// Threads that take from one queue, each with a connection.
struct Lane {
    queue: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

struct Job(Box<dyn FnOnce(Usable<'_>) + Send>);

/// A connection, or why there is none.
type Usable<'a> = Result<&'a mut Connection, StorageCause>;

impl Connections {
    /// Opens the file at `path`, which has to exist, and lets `prepare` make the first connection ready before there are others. Whether
    /// a file that takes its place can be used `is_usable` says.
    ///
    /// # Errors
    /// [`StoreError`], also where a thread cannot be started.
    pub(super) fn open(
        path: &Path,
        prepare: impl FnOnce(&mut Connection) -> Result<(), StoreError>,
        is_usable: fn(&Connection) -> Result<(), StorageCause>,
    ) -> Result<Self, StoreError> {
        let failed = |error: rusqlite::Error| StoreError::of_sqlite(path, &error);
        let of_io = |error: io::Error| StoreError::of_io(path, &error);
        // Looked at before it is opened: one that takes its place meanwhile is noticed.
        let file = Some(identity(path).map_err(of_io)?);
        let mut writer = connect(path, WRITER_SETTINGS).map_err(failed)?;
        prepare(&mut writer)?;
        let mut slots = vec![Slot::of(WRITER_SETTINGS, Some(writer))];
        for _ in 0..READERS {
            slots.push(Slot::of(READER_SETTINGS, Some(connect(path, READER_SETTINGS).map_err(failed)?)));
        }
        slots.push(Slot::of(LOOK_SETTINGS, None));
        let seen = Mutex::new(Seen { looked: Instant::now(), file, verdict: Ok(()) });
        let file = WatchedFile { path: path.to_owned(), is_usable, seen, is_doubted: AtomicBool::new(false) };
        let opened = Arc::new(Opened { slots, file: Some(file) });
        let lane = |slots| Lane::start(&opened, slots).map_err(of_io);
        let (writer, readers) = (lane(WRITER..=WRITER)?, lane(WRITER + 1..=READERS)?);
        Ok(Self { writer, readers: Some(readers), opened })
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
        let opened = Arc::new(Opened { slots: vec![Slot::of(WRITER_SETTINGS, Some(connection))], file: None });
        let writer = Lane::start(&opened, WRITER..=WRITER).map_err(|error| StoreError::of_io(path, &error))?;
        Ok(Self { writer, readers: None, opened })
    }

    /// What the connections have in common, for whoever looks at the file or doubts it.
    pub(super) fn opened(&self) -> &Arc<Opened> {
        &self.opened
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
    fn start(opened: &Arc<Opened>, slots: RangeInclusive<usize>) -> io::Result<Self> {
        let (queue, jobs) = mpsc::sync_channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        // Whole before anything can fail: dropped, it ends those that have been started.
        let mut lane = Self { queue: Some(queue), threads: Vec::new() };
        for number in slots {
            let (jobs, opened) = (Arc::clone(&jobs), Arc::clone(opened));
            let run = move || work_through(&jobs, &opened, number);
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
                let _gone = answer.send(connection.map(work).map_err(NotDone::Refused));
            }
        }));
        let queue = self.queue.as_ref().ok_or(NotDone::Ended)?;
        queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => NotDone::Overloaded,
            TrySendError::Disconnected(_) => NotDone::Ended,
        })?;
        answered.await.map_err(|_ended| NotDone::Ended)?
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

fn work_through(jobs: &Mutex<Receiver<Job>>, opened: &Opened, number: usize) {
    loop {
        // Held while it waits: the others wait for the lock, which is the same.
        let next = lock(jobs).recv();
        let Ok(Job(job)) = next else { return };
        // Unwinding rolls a transaction back, and whoever waits is told that the work has ended.
        let _panicked = panic::catch_unwind(AssertUnwindSafe(|| opened.with(number, job)));
        // Where even that failed, the next must not be a part of it.
        opened.roll_back(number);
    }
}

impl Slot {
    fn of(settings: &'static str, connection: Option<Connection>) -> Self {
        Self { settings, is_used: AtomicBool::new(connection.is_some()), connection: Mutex::new(connection) }
    }
}

impl Opened {
    /// Opens the connection for [`Opened::look`].
    pub(super) fn open_look(&self) -> Result<(), rusqlite::Error> {
        if let (Some(file), Some(slot)) = (&self.file, self.slots.get(LOOK)) {
            *lock(&slot.connection) = Some(connect(&file.path, slot.settings)?);
            slot.is_used.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Runs `work`, which waits for no request, on a connection of its own.
    ///
    /// # Errors
    /// Why it cannot, or what `work` says.
    pub(super) fn look(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<(), rusqlite::Error>,
    ) -> Result<(), StorageCause> {
        self.with(LOOK, |connection| {
            work(connection?).map_err(|error| {
                self.doubt_if(&error);
                StorageCause::of_sqlite(&error)
            })
        })
    }

    /// Has the file opened anew before the next work where `error` is one that a connection may go on saying when it has passed: pages
    /// that were damaged are remembered.
    pub(super) fn doubt_if(&self, error: &rusqlite::Error) {
        let may_have_passed = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure)
        );
        if let (Some(file), true) = (&self.file, may_have_passed) {
            file.is_doubted.store(true, Ordering::Relaxed);
        }
    }

    /// Runs `work` on one of the connections, or tells it why there is none.
    fn with<T>(&self, number: usize, work: impl FnOnce(Usable<'_>) -> T) -> T {
        // No slot is held here: to open the file anew takes all of them.
        if let Some(file) = &self.file
            && let Err(cause) = self.see(file)
        {
            return work(Err(cause));
        }
        let Some(slot) = self.slots.get(number) else { return work(Err(StorageCause::Failed)) };
        let mut slot = lock(&slot.connection);
        let Some(connection) = slot.as_mut() else { return work(Err(StorageCause::Failed)) };
        work(Ok(connection))
    }

    /// Whether the connections have the file that has the name, which is looked at once a second.
    fn see(&self, file: &WatchedFile) -> Result<(), StorageCause> {
        let mut seen = lock(&file.seen);
        if seen.looked.elapsed() < LOOKS_EVERY {
            return seen.verdict;
        }
        let verdict = match identity(&file.path) {
            Ok(there) if seen.file == Some(there) => {
                if file.is_doubted.swap(false, Ordering::Relaxed) {
                    self.open_same(file);
                }
                Ok(())
            }
            Ok(there) => self.open_another(file, &mut seen, there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StorageCause::Missing),
            Err(error) => Err(StorageCause::of_io(&error)),
        };
        if let (Err(cause), true) = (verdict, seen.verdict != verdict) {
            tracing::error!(cause = cause.as_str(), "the registry cannot be used: {cause}; {}", cause.way_out());
        }
        seen.verdict = verdict;
        seen.looked = Instant::now();
        verdict
    }

    /// Opens the same file anew. The connections that there are end when the others are there: the last one that ends takes the log
    /// with it, for which there may be no room again.
    fn open_same(&self, file: &WatchedFile) {
        let mut slots = self.all();
        let Ok(others) = self.connect_all(file) else { return };
        for (slot, other) in slots.iter_mut().zip(others) {
            **slot = other;
        }
    }

    /// Opens what has taken the place of the file. The connections that there are end before: the log and its index are found by name, and
    /// two files must not share them.
    fn open_another(&self, file: &WatchedFile, seen: &mut Seen, there: (u64, u64)) -> Result<(), StorageCause> {
        let mut slots = self.all();
        if let Some(writer) = slots.first().and_then(|slot| slot.as_ref()) {
            // What is in the log belongs to the file that was there, and would be read as a part of the other.
            let _left = writer.busy_timeout(Duration::ZERO);
            let _left = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(()));
        }
        for slot in &mut slots {
            **slot = None;
        }
        seen.file = None;
        let others = self.connect_all(file).map_err(|error| StorageCause::of_sqlite_at(&file.path, &error))?;
        others.iter().flatten().take(1).try_for_each(file.is_usable)?;
        for (slot, other) in slots.iter_mut().zip(others) {
            **slot = other;
        }
        seen.file = Some(there);
        file.is_doubted.store(false, Ordering::Relaxed);
        tracing::warn!("registry.db has been replaced by another file; this server uses it from now on");
        Ok(())
    }

    /// A connection for each slot that is used.
    fn connect_all(&self, file: &WatchedFile) -> Result<Vec<Option<Connection>>, rusqlite::Error> {
        let connect =
            |slot: &Slot| slot.is_used.load(Ordering::Relaxed).then(|| connect(&file.path, slot.settings)).transpose();
        self.slots.iter().map(connect).collect()
    }

    /// Every connection, for nobody else.
    fn all(&self) -> Vec<MutexGuard<'_, Option<Connection>>> {
        self.slots.iter().map(|slot| lock(&slot.connection)).collect()
    }

    /// Ends what a work has left open that ended early.
    fn roll_back(&self, number: usize) {
        let Some(mut slot) = self.slots.get(number).map(|slot| lock(&slot.connection)) else { return };
        if let Some(connection) = slot.as_mut().filter(|connection| !connection.is_autocommit()) {
            let _failed = connection.execute_batch("ROLLBACK");
        }
    }
}

fn connect(path: &Path, settings: &str) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, FLAGS)?;
    // SQLite opens what it may only read without a word, makes a log that nobody may write, and refuses the first change.
    if connection.is_readonly(MAIN_DB)? {
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_READONLY), None));
    }
    connection.execute_batch(settings)?;
    Ok(connection)
}

/// Device and number of the file that has the name.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The slots: of the writer, of those that read, and of who looks whether the file is well.
const WRITER: usize = 0;
const LOOK: usize = READERS + 1;
const LOOKS_EVERY: Duration = Duration::from_secs(1);

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
/// It waits for less long than whoever asks. The command line holds the file for some milliseconds.
const LOOK_SETTINGS: &str = "
    PRAGMA busy_timeout = 500;
    PRAGMA synchronous = FULL;
";
