//! Refusals and failures that are like others are not all logged: whoever has no credential would fill a disk with them, for nothing, and so
//! would every request while a store is away.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::field::display;

use super::event::LINES;
use super::observer::Observer;
use super::request;
use crate::core::audit::{AuditEvent, AuditSink};
use crate::core::client::id::ClientId;
use crate::core::error::OAuthError;
use crate::core::ports::Clock;
use crate::core::realm::RealmName;
use crate::core::reason::Reason;
use crate::core::source::ClientSource;
use crate::core::time::Moment;

/// An [`AuditSink`] that logs each decision, but of refusals that are alike only the first [`LogRefusalsSparingly::WHOLE`] of an
/// interval, and how many there were beside them. While there are more, only how many, once an interval.
///
/// For the local server. A function logs each: its caller pays for more than the line, and a frozen sandbox tells of nothing.
///
/// Whether or not its line is left out, a refusal counts.
pub struct LogRefusalsSparingly {
    observer: Arc<Observer>,
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    began: Moment,
    refusals: HashMap<Refusal, Repeats>,
}

/// How much somebody has to do with what was left out.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Level {
    Info,
    Warning,
    Error,
}

/// What makes refusals and failures alike. Nothing in it is a stranger's word.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Refusal {
    endpoint: &'static str,
    reason: Reason,
    source: Option<ClientSource>,
    /// Where the registry knows it.
    client: Option<(RealmName, ClientId)>,
    /// What failed, where it is no refusal: whoever asked had no part in it.
    detail: Option<String>,
    level: Level,
}

#[derive(Clone, Copy, Default)]
struct Repeats {
    logged: u32,
    left_out: u64,
    /// Some were left out in the interval before.
    goes_on: bool,
}

impl LogRefusalsSparingly {
    /// How long an interval is.
    pub const INTERVAL: Duration = Duration::from_secs(10);
    /// How many refusals that are alike are logged in one.
    pub const WHOLE: u32 = 10;

    /// Begins with nothing left out of what `observer` is told.
    pub fn new(observer: Arc<Observer>, clock: Arc<dyn Clock>) -> Self {
        Self { observer, clock, table: Mutex::default() }
    }

    /// Logs how many were left out, once the interval has ended. To be called now and then, since the last refusal of a flood has
    /// none after it that would.
    pub fn tell_when_due(&self) {
        let now = self.clock.moment();
        let mut table = self.table();
        let told = if table.is_due(now) { table.end_interval(now) } else { Vec::new() };
        drop(table);
        tell(&told);
    }

    /// Whether this one is to be logged.
    fn lets_through(&self, refusal: Refusal) -> bool {
        let now = self.clock.moment();
        let mut table = self.table();
        let told = if table.is_due(now) { table.end_interval(now) } else { Vec::new() };
        let is_let_through = table.count(refusal, now);
        drop(table);
        tell(&told);
        is_let_through
    }

    /// A panic while it was held leaves a count that is one too low.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditSink for LogRefusalsSparingly {
    fn record(&self, event: &AuditEvent<'_>) {
        if Refusal::of(event).is_none_or(|refusal| self.lets_through(refusal)) {
            self.observer.record(event);
        } else {
            self.observer.count(event);
        }
    }
}

/// What was left out last is told at the end.
impl Drop for LogRefusalsSparingly {
    fn drop(&mut self) {
        let now = self.clock.moment();
        let told = self.table().end_interval(now);
        tell(&told);
    }
}

impl Table {
    fn is_due(&self, now: Moment) -> bool {
        !self.refusals.is_empty() && now.since(self.began) >= LogRefusalsSparingly::INTERVAL
    }

    /// Counts one; whether it is to be logged. Where there are too many kinds, those of all further clients and sources are alike.
    fn count(&mut self, refusal: Refusal, now: Moment) -> bool {
        if self.refusals.is_empty() {
            self.began = now;
        }
        let refusal = if self.refusals.len() < MOST_KINDS || self.refusals.contains_key(&refusal) {
            refusal
        } else {
            Refusal { source: None, client: None, detail: None, ..refusal }
        };
        let repeats = self.refusals.entry(refusal).or_default();
        if !repeats.goes_on && repeats.logged < LogRefusalsSparingly::WHOLE {
            repeats.logged += 1;
            return true;
        }
        repeats.left_out = repeats.left_out.saturating_add(1);
        false
    }

    /// What was left out in the interval. The next begins, and what was quiet is forgotten.
    fn end_interval(&mut self, now: Moment) -> Vec<(Refusal, u64)> {
        self.began = now;
        let told: Vec<(Refusal, u64)> = mem::take(&mut self.refusals)
            .into_iter()
            .filter(|(_, repeats)| repeats.left_out > 0)
            .map(|(refusal, repeats)| (refusal, repeats.left_out))
            .collect();
        let goes_on = Repeats { goes_on: true, ..Repeats::default() };
        self.refusals = told.iter().map(|(refusal, _)| (refusal.clone(), goes_on)).collect();
        told
    }
}

impl Refusal {
    /// Which refusal or failure the event is.
    fn of(event: &AuditEvent<'_>) -> Option<Self> {
        match event {
            AuditEvent::Refused {
                endpoint,
                error: error @ (OAuthError::Server(_) | OAuthError::Unavailable(_)),
                ..
            } => Some(Self {
                endpoint,
                reason: error.reason(),
                source: None,
                client: None,
                detail: Some(error.to_string()),
                level: if matches!(error, OAuthError::Server(_)) { Level::Error } else { Level::Warning },
            }),
            AuditEvent::Refused { endpoint, realm, client_id, source, error, .. } => Some(Self {
                endpoint,
                reason: error.reason(),
                source: *source,
                client: client_id.map(|client_id| ((*realm).clone(), client_id.clone())),
                detail: None,
                level: if matches!(error, OAuthError::TooManyAttempts { .. }) { Level::Warning } else { Level::Info },
            }),
            AuditEvent::Malformed { endpoint, source, reason, .. } => Some(Self {
                endpoint,
                reason: *reason,
                source: *source,
                client: None,
                detail: None,
                level: Level::Info,
            }),
            _ => None,
        }
    }
}

fn tell(left_out: &[(Refusal, u64)]) {
    if !left_out.is_empty() {
        // Whoever asks now need not be one of them.
        request::outside(|| tell_each(left_out));
    }
}

fn tell_each(left_out: &[(Refusal, u64)]) {
    for (Refusal { endpoint, reason, source, client, detail, level }, repeated) in left_out {
        let (reason, source) = (reason.as_str(), source.map(display));
        let (realm, client_id) = client.as_ref().map(|(realm, id)| (realm.as_str(), id.as_str())).unzip();
        match (level, detail) {
            (Level::Error, _) => {
                tracing::error!(target: LINES, endpoint, reason, detail, repeated, "{FAILURES_LEFT_OUT}");
            }
            (_, Some(detail)) => {
                tracing::warn!(target: LINES, endpoint, reason, detail, repeated, "{FAILURES_LEFT_OUT}");
            }
            (Level::Warning, None) => {
                tracing::warn!(target: LINES, endpoint, realm, client_id, source, reason, repeated, "{LEFT_OUT}");
            }
            (Level::Info, None) => {
                tracing::info!(target: LINES, endpoint, realm, client_id, source, reason, repeated, "{LEFT_OUT}");
            }
        }
    }
}

const FAILURES_LEFT_OUT: &str = "failures like those before were left out";
const LEFT_OUT: &str = "refusals like those before were left out";
/// Beyond them a flood from many sources is told of together.
const MOST_KINDS: usize = 2_000;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::core::error::ClientAuthFailure;
    use crate::core::time::UnixSeconds;
    use crate::observe::metrics::Metrics;

    #[derive(Default)]
    struct Seconds(AtomicU64);

    impl Clock for Seconds {
        fn now(&self) -> UnixSeconds {
            UnixSeconds(1_000_000 + self.0.load(Ordering::SeqCst))
        }
    }

    struct Subject {
        sparing: LogRefusalsSparingly,
        clock: Arc<Seconds>,
    }

    impl Subject {
        fn new() -> Self {
            let clock = Arc::new(Seconds::default());
            Self { sparing: LogRefusalsSparingly::new(Arc::default(), Arc::clone(&clock) as _), clock }
        }

        /// How many of `times` refusals are logged.
        fn refuse(&self, times: usize, client: Option<&str>, source: u8, error: &OAuthError) -> usize {
            let realm = RealmName::root();
            let client_id = client.map(|id| id.parse().expect("an id"));
            let source = Some(ClientSource::of([192, 0, 2, source].into()));
            let event = AuditEvent::Refused {
                endpoint: "token",
                realm: &realm,
                client_id: client_id.as_ref(),
                source,
                unverified_scope: None,
                error,
            };
            let let_through = |_: &usize| Refusal::of(&event).is_none_or(|refusal| self.sparing.lets_through(refusal));
            (0..times).filter(let_through).count()
        }

        fn after(&self, seconds: u64) -> Vec<u64> {
            self.clock.0.fetch_add(seconds, Ordering::SeqCst);
            let now = self.clock.moment();
            let mut table = self.sparing.table();
            let told = if table.is_due(now) { table.end_interval(now) } else { Vec::new() };
            told.into_iter().map(|(_, left_out)| left_out).collect()
        }
    }

    const WRONG: OAuthError = OAuthError::InvalidClient(ClientAuthFailure::WrongSecret);
    const NONE: OAuthError = OAuthError::InvalidClient(ClientAuthFailure::NoCredentials);

    #[test]
    fn the_first_are_logged_whole_and_of_the_others_their_number_once_an_interval() {
        let subject = Subject::new();
        assert_eq!(subject.refuse(1000, None, 1, &NONE), 10);
        assert!(subject.after(9).is_empty());
        assert_eq!(subject.after(1), [990]);
        assert_eq!(subject.refuse(7, None, 1, &NONE), 0, "it goes on");
        assert_eq!(subject.after(10), [7]);
        assert!(subject.after(10).is_empty(), "and has ended");
        assert_eq!(subject.refuse(11, None, 1, &NONE), 10);
    }

    #[test]
    fn what_is_left_out_counts_like_the_others() {
        let observer = Arc::new(Observer::counting(Metrics::in_tests()));
        let sparing = LogRefusalsSparingly::new(Arc::clone(&observer), Arc::new(Seconds::default()));
        let realm = RealmName::root();
        let refused = AuditEvent::Refused {
            endpoint: "token",
            realm: &realm,
            client_id: None,
            source: None,
            unverified_scope: None,
            error: &NONE,
        };
        for _ in 0..1000 {
            sparing.record(&refused);
        }
        assert_eq!(sparing.table().refusals.values().map(|repeats| repeats.left_out).sum::<u64>(), 990);
        assert_eq!(observer.metrics_line()["RequestsRefused"], 1000);
    }

    #[test]
    fn another_source_client_or_reason_is_not_alike() {
        let subject = Subject::new();
        for (client, source, error) in
            [(None, 1, &NONE), (None, 2, &NONE), (None, 1, &WRONG), (Some("a"), 1, &WRONG), (Some("b"), 1, &WRONG)]
        {
            assert_eq!(subject.refuse(12, client, source, error), 10);
        }
        assert_eq!(subject.after(10), [2; 5]);
    }

    #[test]
    fn failures_are_alike_whoever_asks_and_not_where_another_thing_fails() {
        let subject = Subject::new();
        let (away, full) = (OAuthError::Unavailable("away".into()), OAuthError::Unavailable("full".into()));
        assert_eq!(subject.refuse(100, Some("a"), 1, &away), 10);
        assert_eq!(subject.refuse(100, Some("b"), 2, &away), 0);
        for other in [full, OAuthError::Server("away".into())] {
            assert_eq!(subject.refuse(12, Some("a"), 1, &other), 10);
        }
        let mut told = subject.after(10);
        told.sort_unstable();
        assert_eq!(told, [2, 2, 190]);
        assert_eq!(subject.refuse(5, Some("a"), 1, &away), 0, "it goes on");
        assert_eq!(subject.after(10), [5]);
    }

    #[test]
    fn every_refusal_is_logged_or_counted_and_a_flood_of_kinds_stays_bounded() {
        let subject = Subject::new();
        let (mut logged, mut told) = (0, 0);
        for round in 0..3 {
            for client in 0..5000 {
                logged += subject.refuse(20, Some(&format!("client-{client}")), 1, &WRONG) as u64;
                assert!(subject.sparing.table().refusals.len() <= MOST_KINDS + 1);
            }
            told += subject.after(10).iter().sum::<u64>();
            assert_eq!(logged + told, (round + 1) * 100_000);
        }
        assert!(logged <= 3 * 10 * (MOST_KINDS as u64 + 1), "{logged}");
    }

    #[test]
    fn an_interval_ends_though_the_clock_is_set_back() {
        let mut table = Table::default();
        let refusal = Refusal {
            endpoint: "token",
            reason: Reason::NoCredentials,
            source: None,
            client: None,
            detail: None,
            level: Level::Info,
        };
        let moment = |wall, monotonic| Moment::new(Duration::from_millis(wall), Duration::from_millis(monotonic));
        assert!(table.count(refusal, moment(1_000_000, 500)));
        assert!(!table.is_due(moment(700_000, 10_499)));
        assert!(table.is_due(moment(700_000, 10_500)));
    }
}
