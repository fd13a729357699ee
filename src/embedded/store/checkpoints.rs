//! When the log of the token database (SQLite's WAL) is carried over into its file and begun anew, so that it does not grow without end.
//!
//! A thread of its own does nearly all of it while others go on writing to the log. Only the writer can begin the log anew, between two
//! transactions, when nothing is left in it: it carries over the little that has come meanwhile.
//!
//! What is in the log needs room in the file, too, before the log gives any back. So nothing more is written where there would not be room to
//! carry it over: a log that has taken the last of a disk could never be emptied again.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::fs::fstatvfs;

use super::cause::StorageCause;
use super::outage::{LOOKS_EVERY, Outage};

/// The thread, and how much is in the log. Dropped, it ends the thread.
pub(super) struct Checkpoints {
    requests: Option<SyncSender<SyncSender<bool>>>,
    /// Has something when the thread has done what it was asked for, or could not.
    asked: Option<Receiver<bool>>,
    thread: Option<JoinHandle<()>>,
    writes_in_log: u32,
    /// How many there have to be before the log is begun anew, unless there are any for a minute.
    due_at: u32,
    looked: Instant,
    file: Arc<File>,
    room: Room,
    /// Bytes that somebody kept in the log when it was last begun anew.
    left_in_log: u64,
    emptied: Option<Instant>,
    must_be_emptied: bool,
}

/// What a look at the disk has found, in bytes.
struct Room {
    free: u64,
    /// What the log has in it. The file it is in may be larger.
    log: u64,
    looked: Option<Instant>,
    writes_since: u32,
}

impl Checkpoints {
    /// Starts the thread, with a connection of its own, to the database in `file`.
    ///
    /// # Errors
    /// What the system says where it cannot be started.
    pub(super) fn start(connection: Connection, file: Arc<File>) -> io::Result<Self> {
        let written = Arc::clone(&file);
        let (requests, requested) = mpsc::sync_channel::<SyncSender<bool>>(1);
        let thread = thread::Builder::new().name("token-log".to_owned()).spawn(move || {
            let mut outage = Outage::of_checkpoints();
            for done in requested {
                let _ended = done.send(carry_over(&connection, &written, &mut outage));
            }
        })?;
        let (requests, thread) = (Some(requests), Some(thread));
        let room = Room { free: 0, log: 0, looked: None, writes_since: 0 };
        let looked = Instant::now();
        let (asked, due_at) = (None, DUE_AFTER);
        Ok(Self {
            requests,
            asked,
            thread,
            writes_in_log: 0,
            due_at,
            looked,
            file,
            room,
            left_in_log: 0,
            emptied: None,
            must_be_emptied: false,
        })
    }

    /// The most writes of one transaction, for which there is room until the next look.
    pub(super) fn most_writes(&self) -> usize {
        if self.room.is_ample() { GROUP_LIMIT } else { SMALL_GROUP }
    }

    /// A write has failed on a full disk. Before the next the log is emptied, whatever the system says of its room: it does not know of
    /// a user's quota, for one.
    pub(super) fn is_full(&mut self) {
        self.must_be_emptied = true;
    }

    /// Sees to it that there is room for another transaction, for `connection`, which is the writer's.
    ///
    /// # Errors
    /// Why nothing more is to be written. What has been written can still be carried over.
    pub(super) fn make_room(&mut self, connection: &Connection) -> Result<(), StorageCause> {
        if !self.must_be_emptied && (!self.room.is_old() || self.has_room(connection, Purpose::Tokens)?) {
            return Ok(());
        }
        // Those who ask meanwhile are not worth another trial, which would bring little.
        let is_recent = self.emptied.is_some_and(|emptied| emptied.elapsed() < EMPTIED_AT_MOST_EVERY);
        if is_recent && (self.must_be_emptied || self.room.log < SMALLEST_LOG) {
            return Err(StorageCause::DiskFull);
        }
        self.empty(connection)?;
        self.must_be_emptied = false;
        if self.has_room(connection, Purpose::Tokens)? { Ok(()) } else { Err(StorageCause::DiskFull) }
    }

    /// Whether there is room to delete some of what has expired, which makes room in the file for what comes.
    pub(super) fn has_room_to_delete(&mut self, connection: &Connection) -> bool {
        !self.room.is_old() || self.has_room(connection, Purpose::Deletion) == Ok(true)
    }

    /// Looks at the disk.
    fn has_room(&mut self, connection: &Connection, purpose: Purpose) -> Result<bool, StorageCause> {
        let of_sqlite = |error: rusqlite::Error| StorageCause::of_sqlite(&error);
        // 1. What is free, and what is in the log.
        let disk = fstatvfs(&*self.file).map_err(|error| StorageCause::of_io(&error.into()))?;
        let (_, pages, _) = look_at_log(connection, "NOOP").map_err(of_sqlite)?;
        self.room = Room {
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            log: u64::try_from(pages).unwrap_or_default().saturating_mul(FRAME_BYTES),
            looked: Some(Instant::now()),
            writes_since: 0,
        };
        if self.room.is_ample() {
            return Ok(true);
        }

        // 2. What the file has to grow by when the log is carried over, and what is free within it.
        let number = |pragma: &str| {
            let number = connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).map_err(of_sqlite)?;
            Ok(u64::try_from(number).unwrap_or_default())
        };
        let (pages, free_pages) = (number("PRAGMA page_count")?, number("PRAGMA freelist_count")?);
        let length = self.file.metadata().map_err(|error| StorageCause::of_io(&error))?.len();
        let growth = pages.saturating_mul(PAGE_BYTES).saturating_sub(length);
        let left = self.room.free.saturating_sub(growth);
        Ok(match purpose {
            // Pages that are used again need no room but in the log, so that a disk on which tokens expire is never full for ever.
            Purpose::Tokens if free_pages < PAGES_OF_A_GROUP => {
                left >= ROOM_FOR_LOG && left.saturating_add(self.room.log) >= ROOM_TO_GROW
            }
            Purpose::Tokens | Purpose::Deletion => left >= ROOM_FOR_LOG,
        })
    }

    /// Gives back the room of the log.
    fn empty(&mut self, connection: &Connection) -> Result<(), StorageCause> {
        self.emptied = Some(Instant::now());
        // One carries over at a time.
        if let Some(asked) = self.asked.take() {
            let _ended = asked.recv_timeout(EMPTIED_AT_MOST_EVERY);
        }
        self.begin_anew(connection, "TRUNCATE").map_err(|error| StorageCause::of_sqlite(&error))
    }

    /// Where somebody else is reading what is in the log, which an operator's own SQLite may do for long, nobody waits for that.
    fn begin_anew(&mut self, connection: &Connection, way: &str) -> rusqlite::Result<()> {
        let _sets_nothing_else = connection.busy_timeout(PATIENCE_WITH_READERS);
        let finished = checkpoint(connection, way);
        let _sets_nothing_else = connection.busy_timeout(BUSY_TIMEOUT);
        if matches!(finished, Ok(Finished::All)) {
            self.writes_in_log = 0;
            self.room.log = 0;
        }
        self.left_in_log = self.room.log;
        self.due_at = self.writes_in_log.saturating_add(DUE_AFTER);
        self.looked = Instant::now();
        finished.map(drop)
    }

    /// Follows a transaction of the writer, whose connection this is, and which `writes` shared.
    pub(super) fn follow(&mut self, connection: &Connection, writes: u32) {
        self.writes_in_log = self.writes_in_log.saturating_add(writes);
        self.room.writes_since = self.room.writes_since.saturating_add(writes);
        let is_old = self.writes_in_log > 0 && self.looked.elapsed() >= DUE_AFTER_TIME;
        let is_large = self.room.log >= self.room.largest_log().saturating_add(self.left_in_log);
        if !(is_old || is_large || self.writes_in_log >= self.due_at) || !self.has_caught_up() {
            return;
        }
        // On a large disk the log keeps what it has: to write there again costs less. A failure the thread finds too, and says.
        let way = if self.room.free >= AMPLE_BYTES { "RESTART" } else { "TRUNCATE" };
        let _said_elsewhere = self.begin_anew(connection, way);
    }

    /// Asks the thread where it has not been asked, and whether it is done where it has.
    fn has_caught_up(&mut self) -> bool {
        if self.asked.is_none() {
            let (done, asked) = mpsc::sync_channel(1);
            let is_asked = self.requests.as_ref().is_some_and(|requests| requests.try_send(done).is_ok());
            self.asked = is_asked.then_some(asked);
        }
        let Some(asked) = &self.asked else { return false };
        let done = if self.writes_in_log < MOST_WRITES_IN_LOG {
            asked.try_recv()
        } else {
            // The disk is too slow for those who write: they wait here, or the log would grow without end.
            asked.recv().map_err(|_ended| TryRecvError::Disconnected)
        };
        if done != Err(TryRecvError::Empty) {
            self.asked = None;
        }
        done == Ok(true)
    }
}

impl Room {
    fn is_old(&self) -> bool {
        let is_recent = self.looked.is_some_and(|looked| looked.elapsed() < LOOKS_EVERY);
        !is_recent || !self.is_ample() || self.writes_since >= LOOKS_AFTER
    }

    /// Whatever is written until the next look, there is room for it.
    fn is_ample(&self) -> bool {
        self.free >= self.log.saturating_mul(2).saturating_add(MOST_UNTIL_NEXT_LOOK)
    }

    /// Bytes in the log from which on it is to be begun anew.
    fn largest_log(&self) -> u64 {
        (self.free / SHARE_OF_FREE_SPACE).clamp(SMALLEST_LOG, LARGEST_LOG)
    }
}

/// What there is to be room for.
#[derive(Clone, Copy)]
enum Purpose {
    Tokens,
    Deletion,
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Whether a checkpoint has left something in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finished {
    /// Nothing.
    All,
    /// Something that somebody else is reading, or has written meanwhile.
    Some,
}

/// Carries the log over in one of SQLite's ways.
///
/// # Errors
/// SQLite's.
pub(super) fn checkpoint(connection: &Connection, way: &str) -> rusqlite::Result<Finished> {
    let (is_blocked, pages, done) = look_at_log(connection, way)?;
    Ok(if is_blocked || done < pages { Finished::Some } else { Finished::All })
}

/// Whether that was not possible, the pages in the log, and how many of them are in the file.
fn look_at_log(connection: &Connection, way: &str) -> rusqlite::Result<(bool, i64, i64)> {
    connection
        .prepare_cached(&format!("PRAGMA wal_checkpoint({way})"))?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

/// In rounds, of which each has less to do, so that little is left for the one that the writer waits for. SQLite has the disk confirm
/// the file only where nothing is left in the log, which would be in that one. Whether it could.
fn carry_over(connection: &Connection, file: &File, outage: &mut Outage) -> bool {
    for _ in 0..MOST_ROUNDS {
        let begun = Instant::now();
        let carried_over = checkpoint(connection, "PASSIVE").map_err(|error| StorageCause::of_sqlite(&error));
        let confirmed = carried_over.and_then(|_| file.sync_data().map_err(|error| StorageCause::of_io(&error)));
        outage.note(confirmed.err());
        if confirmed.is_err() {
            // It is asked again at once.
            thread::sleep(LOOKS_EVERY);
            return false;
        }
        if begun.elapsed() < SHORT_ROUND {
            break;
        }
    }
    true
}

/// Writes, each of some pages: 60 to 170 MB of log. More often, the disk would do little else under load.
const DUE_AFTER: u32 = 20_000;
const DUE_AFTER_TIME: Duration = Duration::from_mins(1);
const MOST_WRITES_IN_LOG: u32 = 16 * DUE_AFTER;
const MOST_ROUNDS: usize = 8;
const SHORT_ROUND: Duration = Duration::from_millis(4);
const PATIENCE_WITH_READERS: Duration = Duration::from_millis(20);
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The most writes of one transaction.
const GROUP_LIMIT: usize = 1024;
const PAGE_BYTES: u64 = 2048;
/// A page, and what the log says of it.
const FRAME_BYTES: u64 = PAGE_BYTES + 24;
/// Bytes of log from which on it is begun anew, besides what is due by the number of writes: as long as there is eight times as much room.
const LARGEST_LOG: u64 = 128 * 1024 * 1024;
const SMALLEST_LOG: u64 = 256 * 1024;
const SHARE_OF_FREE_SPACE: u64 = 8;
const AMPLE_BYTES: u64 = 8 * LARGEST_LOG;
/// Writes. A look costs some microseconds.
const LOOKS_AFTER: u32 = 64;
/// More than the largest transaction, and than what is in the log by then.
const MOST_UNTIL_NEXT_LOOK: u64 = 32 * 1024 * 1024;
/// Writes of one transaction where room is short.
const SMALL_GROUP: usize = 16;
/// Bytes of log that such a transaction may take, or the deletion of what has expired, with the largest records.
const ROOM_FOR_LOG: u64 = 512 * 1024;
const ROOM_TO_GROW: u64 = 2 * ROOM_FOR_LOG;
/// What such a transaction may need of the file.
const PAGES_OF_A_GROUP: u64 = 64;
const EMPTIED_AT_MOST_EVERY: Duration = Duration::from_millis(100);
