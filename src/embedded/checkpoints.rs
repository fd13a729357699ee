//! When the log of the token database (SQLite's WAL) is carried over into its file and begun anew, so that it does not grow without end.
//!
//! A thread of its own does nearly all of it while others go on writing to the log. Only the writer can begin the log anew, between two
//! transactions, when nothing is left in it: it carries over the little that has come meanwhile.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::cause::StorageCause;
use super::database::{BUSY_TIMEOUT, LOOKS_EVERY, Outage};

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
}

impl Checkpoints {
    /// Starts the thread, with a connection of its own, to the database in `file`.
    ///
    /// # Errors
    /// What the system says where it cannot be started.
    pub(super) fn start(connection: Connection, file: Arc<File>) -> io::Result<Self> {
        let (requests, requested) = mpsc::sync_channel::<SyncSender<bool>>(1);
        let thread = thread::Builder::new().name("token-log".to_owned()).spawn(move || {
            let mut outage = Outage::of_checkpoints();
            for done in requested {
                let _ended = done.send(carry_over(&connection, &file, &mut outage));
            }
        })?;
        let (requests, thread) = (Some(requests), Some(thread));
        Ok(Self { requests, asked: None, thread, writes_in_log: 0, due_at: DUE_AFTER, looked: Instant::now() })
    }

    /// Follows a transaction of the writer, whose connection this is, and which `writes` shared.
    pub(super) fn follow(&mut self, connection: &Connection, writes: u32) {
        self.writes_in_log = self.writes_in_log.saturating_add(writes);
        let is_old = self.writes_in_log > 0 && self.looked.elapsed() >= DUE_AFTER_TIME;
        if !(is_old || self.writes_in_log >= self.due_at) || !self.has_caught_up() {
            return;
        }
        // A failure the thread finds too, and says. Where somebody else is reading what is in the log, which an operator's own SQLite
        // may do for long, nobody waits for that.
        let _sets_nothing_else = connection.busy_timeout(PATIENCE_WITH_READERS);
        if matches!(checkpoint(connection, "RESTART"), Ok(Finished::All)) {
            self.writes_in_log = 0;
        }
        let _sets_nothing_else = connection.busy_timeout(BUSY_TIMEOUT);
        self.due_at = self.writes_in_log.saturating_add(DUE_AFTER);
        self.looked = Instant::now();
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
    connection.query_row(&format!("PRAGMA wal_checkpoint({way})"), [], |row| {
        let (is_blocked, pages, done): (bool, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(if is_blocked || done < pages { Finished::Some } else { Finished::All })
    })
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
