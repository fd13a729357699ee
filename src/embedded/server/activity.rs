//! What a connection is doing, and for how long. The connection notes it as it goes, at the price of two looks at the clock a request;
//! a timer that goes off every few seconds reads it, and so does whoever looks for the connection that is needed least.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::limits::Limits;

/// What a connection is doing.
pub(super) struct Activity {
    born: Instant,
    phase: AtomicU8,
    /// When the phase began, in milliseconds from `born`.
    since: AtomicU64,
    /// When the peer last stopped reading what is to be written to it, in the same; [`NEVER`] while it reads.
    stalled_since: AtomicU64,
    /// When a write first had to wait since the peer had last taken all that there was to write, in the same; [`NEVER`] where it has. A
    /// peer that reads a little now and then does not stall.
    untaken_since: AtomicU64,
    requests: AtomicU32,
    /// What an answer has left unread of its request's body.
    unread: Mutex<Option<Incoming>>,
    /// Whether it ends with its first answer.
    is_brief: AtomicBool,
    must_end: AtomicBool,
    told: Notify,
}

/// What a connection is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Ends after what is under way.
    Finish,
    /// Ends now.
    End,
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may go on; whether it still may is to be asked then.
    GoesOn(Instant),
    /// It is old, and ends after what is under way; whether that goes on is to be asked then.
    Finishes(Instant),
    /// It does nothing, or too slowly, or is much too old.
    Ends,
}

/// A body that notes when all of it is here, and keeps what nobody reads of it.
pub(super) struct Noting {
    /// There until it is dropped.
    body: Option<Incoming>,
    activity: Arc<Activity>,
}

/// A stream that notes what it does.
pub(super) struct Watched<'a> {
    pub(super) stream: TcpStream,
    pub(super) activity: &'a Activity,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            phase: AtomicU8::new(NEW),
            since: AtomicU64::new(0),
            stalled_since: AtomicU64::new(NEVER),
            untaken_since: AtomicU64::new(NEVER),
            requests: AtomicU32::new(0),
            unread: Mutex::new(None),
            is_brief: AtomicBool::new(false),
            must_end: AtomicBool::new(false),
            told: Notify::new(),
        }
    }

    /// When the connection began.
    pub(super) fn born(&self) -> Instant {
        self.born
    }

    /// It ends with its first answer.
    pub(super) fn be_brief(&self) {
        self.is_brief.store(true, Ordering::Relaxed);
    }

    /// A request has begun, of which the body may be still to come; whether it is the last of as many as there may be.
    pub(super) fn request_begins(&self, has_body: bool, limits: &Limits) -> bool {
        self.phase.store(if has_body { RECEIVING_BODY } else { ANSWERING }, Ordering::Relaxed);
        let number = self.requests.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        number >= limits.requests || self.is_brief.load(Ordering::Relaxed)
    }

    /// All of the request is here.
    pub(super) fn is_received(&self) {
        self.phase.store(ANSWERING, Ordering::Relaxed);
    }

    /// What is unread of the body of the request that has just been answered.
    pub(super) fn take_unread(&self) -> Option<Incoming> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Its answer is made.
    pub(super) fn is_answered(&self) {
        self.enter(WAITING);
    }

    /// Whether its peer keeps it waiting, and how little would be lost with it: the greater, the less. It is first a peer that has
    /// been in the middle of something for a while, or has never asked anything, and then one that may ask again.
    pub(super) fn dispensable(&self) -> Option<(bool, Duration)> {
        let phase = self.phase.load(Ordering::Relaxed);
        let since = match self.untaken_since.load(Ordering::Relaxed) {
            NEVER if phase == NEW || phase == ANSWERING => return None,
            NEVER => self.since.load(Ordering::Relaxed),
            untaken_since => untaken_since,
        };
        let waits_for = self.age().saturating_sub(Duration::from_millis(since));
        let is_kept = phase == WAITING && self.requests.load(Ordering::Relaxed) > 0;
        (!self.must_end()).then_some((!is_kept && waits_for >= SUSPICIOUS, waits_for))
    }

    /// Whether it has been told to end.
    pub(super) fn must_end(&self) -> bool {
        self.must_end.load(Ordering::Relaxed)
    }

    /// Tells it something.
    pub(super) fn tell(&self, what: Told) {
        self.must_end.fetch_or(what == Told::End, Ordering::Relaxed);
        self.told.notify_one();
    }

    /// What it is told next.
    pub(super) async fn is_told(&self) -> Told {
        self.told.notified().await;
        if self.must_end() { Told::End } else { Told::Finish }
    }

    /// What is to become of it now.
    pub(super) fn verdict(&self, limits: &Limits) -> Verdict {
        let age = self.age();
        let since = |began: &AtomicU64| Duration::from_millis(began.load(Ordering::Relaxed));
        let writes = [(&self.stalled_since, limits.stall), (&self.untaken_since, limits.taken)]
            .into_iter()
            .filter(|(since, _)| since.load(Ordering::Relaxed) != NEVER);
        let wait = match self.phase.load(Ordering::Relaxed) {
            NEW | WAITING if self.requests.load(Ordering::Relaxed) == 0 => Some((&self.since, limits.head)),
            WAITING => Some((&self.since, limits.idle)),
            RECEIVING_HEAD => Some((&self.since, limits.head)),
            // The service has limits of its own, and an answer for those who exceed them.
            _ => None,
        };
        let end = limits.life + limits.last_answer;
        let ends = writes.chain(wait).map(|(began, limit)| since(began) + limit).fold(end, Duration::min);
        if age >= ends {
            return Verdict::Ends;
        }
        // What begins after this look cannot be too long before `shortest` has passed.
        let next = ends.min(age + limits.shortest());
        if age < limits.life {
            Verdict::GoesOn(self.born + next.min(limits.life))
        } else {
            Verdict::Finishes(self.born + next)
        }
    }

    fn age(&self) -> Duration {
        self.born.elapsed()
    }

    fn enter(&self, phase: u8) {
        self.since.store(millis(self.age()), Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    fn has_read(&self) {
        if matches!(self.phase.load(Ordering::Relaxed), NEW | WAITING) {
            self.enter(RECEIVING_HEAD);
        }
    }

    /// Its thread has looked for a request and found nothing. Until then it is the thread that keeps it waiting.
    pub(super) fn has_found_nothing(&self) {
        if self.phase.load(Ordering::Relaxed) == NEW {
            self.phase.store(WAITING, Ordering::Relaxed);
        }
    }

    /// Notes what has become of a write of so many bytes.
    fn has_written(&self, bytes: usize, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let was_stalled = self.stalled_since.load(Ordering::Relaxed) != NEVER;
        if was_stalled && outcome.is_ready() {
            self.stalled_since.store(NEVER, Ordering::Relaxed);
        } else if !was_stalled && outcome.is_pending() {
            self.stalled_since.store(millis(self.age()), Ordering::Relaxed);
        }
        let is_taken = matches!(outcome, Poll::Ready(Ok(taken)) if taken == bytes);
        let was_untaken = self.untaken_since.load(Ordering::Relaxed) != NEVER;
        if was_untaken && is_taken {
            self.untaken_since.store(NEVER, Ordering::Relaxed);
        } else if !was_untaken && !is_taken {
            self.untaken_since.store(millis(self.age()), Ordering::Relaxed);
        }
        outcome
    }
}

impl Noting {
    pub(super) fn new(body: Incoming, activity: &Arc<Activity>) -> Self {
        Self { body: Some(body), activity: Arc::clone(activity) }
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !body.is_end_stream());
        *self.activity.unread.lock().unwrap_or_else(PoisonError::into_inner) = unread;
    }
}

impl Body for Noting {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) {
            this.activity.is_received();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl AsyncRead for Watched<'_> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut this.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            this.activity.has_read();
        } else if outcome.is_pending() {
            this.activity.has_found_nothing();
        }
        outcome
    }
}

impl AsyncWrite for Watched<'_> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.activity.has_written(bytes.len(), Pin::new(&mut this.stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        this.activity.has_written(bytes, Pin::new(&mut this.stream).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER - 1)
}

/// For a request: nothing of the next has come since the last answer.
const WAITING: u8 = 0;
/// Or what is left of an earlier body, which nobody reads any more.
const RECEIVING_HEAD: u8 = 1;
/// Since its head began.
const RECEIVING_BODY: u8 = 2;
const ANSWERING: u8 = 3;
/// Its thread has not come round to it.
const NEW: u8 = 4;
/// Longer than the network ever takes, as a rule.
const SUSPICIOUS: Duration = Duration::from_secs(1);
const NEVER: u64 = u64::MAX;
