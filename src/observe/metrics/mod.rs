//! What a process counts and measures, and how that is written: in CloudWatch's embedded metric format ([`emf`]), one line of the log
//! for each invocation, or for Prometheus to fetch. Nothing is sent, so no metric can fail a request or hold it up.

mod counter;
mod emf;
mod invocation;
#[cfg(feature = "embedded")]
mod prometheus;
mod table;

use std::fmt;
use std::io::{self, Write as _};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

pub use self::counter::{Counter, Label};
use self::emf::{Line, level_of_lines};
use self::invocation::Pending;
#[cfg(feature = "embedded")]
pub use self::prometheus::Prometheus;
pub use self::table::{Metric, Place, Row, Split, Unit};
use super::log::LogLevel;
use super::request::InvocationIds;
use crate::core::ports::Clock;

/// Whether a process writes metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsFormat {
    /// It writes none.
    #[default]
    Off,
    /// In the embedded metric format, into the log.
    Emf,
}

/// The text is not a format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metrics are off or emf")]
pub struct UnknownMetricsFormat;

/// What the process has done since its last line.
pub struct Metrics {
    /// The dimension of every metric.
    function_name: String,
    level: LogLevel,
    clock: Arc<dyn Clock>,
    pending: Mutex<Pending>,
}

impl FromStr for MetricsFormat {
    type Err = UnknownMetricsFormat;

    fn from_str(text: &str) -> Result<Self, UnknownMetricsFormat> {
        match text {
            "off" => Ok(Self::Off),
            "emf" => Ok(Self::Emf),
            _ => Err(UnknownMetricsFormat),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").field("function_name", &self.function_name).finish_non_exhaustive()
    }
}

impl Metrics {
    /// The metrics of a function that has just started. `level` is the least severe that is logged: Lambda drops what is below.
    pub fn of_function(function_name: String, level: LogLevel, clock: Arc<dyn Clock>) -> Self {
        let metrics = Self { function_name, level, clock, pending: Mutex::default() };
        metrics.add(Metric::ColdStarts, 1, Label::Nothing);
        metrics
    }

    /// Writes the line of the invocation that has just ended, and begins anew.
    pub(super) fn write_line(&self, ids: &InvocationIds, latency: Duration) {
        if let Some(mut line) = self.take_line(ids, latency) {
            line.push('\n');
            // One write, so that no other line comes between. Where nobody reads stdout there is nobody to tell.
            let _lost = io::stdout().lock().write_all(line.as_bytes());
        }
    }

    /// The line of the invocation that has just ended. Begins anew.
    pub fn take_line(&self, ids: &InvocationIds, latency: Duration) -> Option<String> {
        let mut pending = std::mem::take(&mut *self.pending());
        pending.latency = latency;
        if let Some(value) = pending.values.get_mut(Metric::Latency as usize) {
            *value = Some(1);
        }
        let mut written_at = String::new();
        let _infallible = SystemTime.format_time(&mut Writer::new(&mut written_at));
        let line = Line {
            function_name: &self.function_name,
            level: level_of_lines(self.level),
            ids,
            now: self.clock.now(),
            written_at: &written_at,
            pending: &pending,
        };
        serde_json::to_string(&line).ok()
    }

    /// Counts are whole whatever panicked while it held the lock.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counter for Metrics {
    fn add(&self, metric: Metric, number: usize, label: Label<'_>) {
        let mut pending = self.pending();
        match label {
            Label::Nothing | Label::Answer { .. } => {}
            Label::Realm(realm) => pending.realm = Some(realm.clone()),
            Label::Reason(reason) => pending.reason = Some(reason),
        }
        if let Some(value) = pending.values.get_mut(metric as usize) {
            *value = Some(value.unwrap_or_default().saturating_add(number.try_into().unwrap_or(u64::MAX)));
        }
    }
}

#[cfg(test)]
impl Metrics {
    /// Those of a function in tests.
    pub(crate) fn in_tests() -> Self {
        Self::of_function("stack-token".into(), LogLevel::Info, Arc::new(crate::system::SystemClock))
    }

    /// The line of an invocation in tests.
    pub(super) fn line(&self) -> serde_json::Value {
        let trace_id = Some("1-5759e988-bd862e3fe1be46a994272793".into());
        let ids = InvocationIds { request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd".into(), trace_id };
        let line = self.take_line(&ids, Duration::from_nanos(1_234_567)).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }
}
