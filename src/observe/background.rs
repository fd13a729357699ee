//! The local server's log: lines are kept in memory and written by a thread of their own. A request that waited for stderr would
//! wait for whoever reads it, for ever if nobody does: a pipe has room for 64 KiB and no more.
//!
//! `tracing-appender` does the same and was not taken (docs/decisions/0018-the-log-of-the-local-server.md).

use std::cell::Cell;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines that wait to be written. What does not fit is dropped, and counted.
#[derive(Default)]
pub(super) struct Background {
    state: Mutex<State>,
    has_lines: Condvar,
    has_written: Condvar,
}

/// Waits, when it is dropped, for what was logged to be written: not for long, since there may be nobody who reads it.
#[must_use = "what was logged last is written while it is dropped"]
pub struct LogGuard(Arc<Background>);

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines that nobody has been told of.
    dropped: u64,
    writer: Writer,
}

/// What the thread does.
#[derive(Default, PartialEq, Eq)]
enum Writer {
    /// It writes, or will look by itself.
    #[default]
    Busy,
    /// It has written everything, and is to be woken.
    Asleep,
}

impl Background {
    /// Begins to write what is logged to `stderr`.
    ///
    /// # Errors
    /// What the system says where a thread cannot be started.
    pub(super) fn start(stderr: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let log = Arc::new(Self::default());
        let written = Arc::clone(&log);
        thread::Builder::new().name("log".to_owned()).spawn(move || written.write_to(stderr))?;
        Ok(log)
    }

    /// Writes for as long as the process lives. Whatever becomes of stderr: a server whose log is lost is still a server.
    fn write_to(&self, mut stderr: impl Write) {
        IS_WRITER.set(true);
        let mut lines = Vec::new();
        let mut is_torn = false;
        loop {
            self.wait_for(&mut lines);
            // The rest of a line that could not be written is lost, and the next is not to be taken for it.
            if is_torn && stderr.write_all(b"\n").is_ok() {
                is_torn = false;
            }
            let written = write_patiently(&mut stderr, &lines);
            let (whole, lost) = lines.split_at_checked(written).unwrap_or((&lines, &[]));
            is_torn = whole.last().map_or(is_torn, |last| *last != b'\n');
            let dropped = self.written(lost.split_inclusive(|byte| *byte == b'\n').count());
            if dropped > 0 {
                tracing::error!(
                    dropped,
                    "{dropped} log lines were dropped because nobody read stderr, or it could not be written"
                );
            }
            lines.clear();
            lines.shrink_to(KEPT_BYTES);
            // Lines that come meanwhile are written together, and wake nobody.
            thread::sleep(PAUSE);
        }
    }

    /// Sleeps until there are lines, and takes them.
    fn wait_for(&self, lines: &mut Vec<u8>) {
        let mut state = self.state();
        if state.waiting.is_empty() {
            state.writer = Writer::Asleep;
            self.has_written.notify_all();
            let woken = self.has_lines.wait_while(state, |state| state.waiting.is_empty());
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.writer = Writer::Busy;
        mem::swap(&mut state.waiting, lines);
    }

    /// Counts the lines that were lost in writing. How many there are to tell of, now that there is somebody who reads.
    fn written(&self, lost: usize) -> u64 {
        let mut state = self.state();
        if lost == 0 {
            return mem::take(&mut state.dropped);
        }
        state.dropped = state.dropped.saturating_add(lost.try_into().unwrap_or(u64::MAX));
        0
    }

    /// Waits for everything to be written, for `limit` at most.
    fn flush(&self, limit: Duration) {
        let is_unwritten = |state: &mut State| !state.waiting.is_empty() || state.writer == Writer::Busy;
        let _either_way = self.has_written.wait_timeout_while(self.state(), limit, is_unwritten);
    }

    /// Whole whatever panicked while it held the lock: every change is a single call.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line each time, as `tracing_subscriber` writes them.
impl Write for &Background {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        // Of what was dropped there is one line each time, for which there is room.
        if state.waiting.len() + line.len() > MOST_BYTES && !IS_WRITER.get() {
            state.dropped = state.dropped.saturating_add(1);
            return Ok(line.len());
        }
        state.waiting.extend_from_slice(line);
        if state.writer == Writer::Asleep {
            // Once: until it has woken it is as good as busy.
            state.writer = Writer::Busy;
            drop(state);
            self.has_lines.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogGuard {
    pub(super) fn of(log: &Arc<Background>) -> Self {
        Self(Arc::clone(log))
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.flush(FLUSH_LIMIT);
    }
}

/// Writes `lines`, or as many bytes of them as can be written. A descriptor that another process has made non-blocking is waited for
/// like any other.
fn write_patiently(stderr: &mut impl Write, lines: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
        match stderr.write(rest) {
            Ok(0) => break,
            Ok(length) => written += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PATIENCE),
            Err(_) => break,
        }
    }
    written
}

thread_local! {
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// A third of a second at 50,000 decisions a second.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Of what was taken at once, so much memory is kept for the next time.
const KEPT_BYTES: usize = 64 * 1024;
/// So often the thread writes while there is much to write. More often would take more from the threads that answer.
const PAUSE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_millis(10);
/// How long the end of the process waits for whoever reads the log.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Instant;

    use super::*;

    /// A stderr that writes when it is told to, and what it is told.
    struct Reluctant {
        answers: Receiver<io::Result<usize>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = self.answers.recv().expect("an answer")?;
            let length = most.min(bytes.len());
            self.written.lock().expect("not poisoned").extend_from_slice(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A log, and what its stderr is told and writes.
    struct Subject {
        log: Arc<Background>,
        tell: SyncSender<io::Result<usize>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Subject {
        fn new() -> Self {
            let (tell, answers) = sync_channel(1000);
            let written = Arc::default();
            let log = Background::start(Reluctant { answers, written: Arc::clone(&written) }).expect("a thread");
            Self { log, tell, written }
        }
    }

    fn log_line(log: &Background, line: &str) {
        let mut log = log;
        log.write_all(format!("{line}\n").as_bytes()).expect("a log never fails");
    }

    fn text(written: &Mutex<Vec<u8>>) -> String {
        String::from_utf8(written.lock().expect("not poisoned").clone()).expect("text")
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn every_line_is_written_whole_and_in_the_order_of_its_thread() {
        let Subject { log, tell, written } = Subject::new();
        thread::spawn(move || while tell.send(Ok(usize::MAX)).is_ok() {});
        thread::scope(|scope| {
            for number in 0..4 {
                let log = &log;
                scope.spawn(move || (0..2000).for_each(|line| log_line(log, &format!("{number} {line}"))));
            }
        });
        drop(LogGuard::of(&log));
        let text = text(&written);
        let mut next = [0; 4];
        for line in text.lines() {
            let (thread, line) = line.split_once(' ').expect("two numbers");
            let next = &mut next[thread.parse::<usize>().expect("a number")];
            assert_eq!(line.parse::<usize>().expect("a number"), *next);
            *next += 1;
        }
        assert_eq!(next, [2000; 4]);
    }

    #[test]
    fn nobody_waits_for_a_stderr_that_nobody_reads_and_what_does_not_fit_is_counted() {
        let Subject { log, tell, written } = Subject::new();
        let started = Instant::now();
        let line = "x".repeat(1023);
        for _ in 0..3 * MOST_BYTES / 1024 {
            log_line(&log, &line);
        }
        assert!(started.elapsed() < LONG);
        let dropped = log.state().dropped;
        assert!((4096..=8192).contains(&dropped), "{dropped}");
        assert!(log.state().waiting.len() <= MOST_BYTES);
        let before = Instant::now();
        drop(LogGuard::of(&log));
        assert!(before.elapsed() >= FLUSH_LIMIT && before.elapsed() < LONG, "the end waits, and not for ever");

        for _ in 0..100 {
            tell.send(Ok(usize::MAX)).expect("it listens");
        }
        log.flush(LONG);
        let lines = text(&written).lines().count();
        assert_eq!(lines as u64 + dropped, 3 * MOST_BYTES as u64 / 1024, "all others are written");
        assert_eq!(log.state().dropped, 0, "and of these somebody was told");
    }

    #[test]
    fn a_stderr_that_fails_loses_lines_and_nothing_else() {
        let Subject { log, tell, written } = Subject::new();
        tell.send(Err(io::ErrorKind::WouldBlock.into())).expect("it listens");
        tell.send(Err(io::ErrorKind::Interrupted.into())).expect("it listens");
        tell.send(Ok(3)).expect("it listens");
        tell.send(Err(io::ErrorKind::StorageFull.into())).expect("it listens");
        log_line(&log, "torn in two");
        log.flush(LONG);
        assert_eq!((text(&written).as_str(), log.state().dropped), ("tor", 1));

        tell.send(Err(io::ErrorKind::BrokenPipe.into())).expect("it listens");
        tell.send(Err(io::ErrorKind::BrokenPipe.into())).expect("it listens");
        log_line(&log, "lost");
        log.flush(LONG);
        assert_eq!((text(&written).as_str(), log.state().dropped), ("tor", 2));

        for _ in 0..2 {
            tell.send(Ok(usize::MAX)).expect("it listens");
        }
        log_line(&log, "whole");
        log.flush(LONG);
        assert_eq!((text(&written).as_str(), log.state().dropped), ("tor\nwhole\n", 0));
    }
}
