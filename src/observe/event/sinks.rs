//! Where the two matches write.

use crate::core::realm::RealmName;
use crate::core::reason::Reason;
use crate::observe::metrics::{Counter, Label, Metric};
use crate::observe::request;

/// The log, unless the line is left out, and the metrics, where there are any.
#[derive(Clone, Copy)]
pub(in crate::observe) struct Sinks<'a> {
    pub(in crate::observe) is_logged: bool,
    pub(in crate::observe) metrics: Option<&'a dyn Counter>,
}

impl Sinks<'_> {
    pub(super) fn count(self, metric: Metric) {
        self.add(metric, 1);
    }

    pub(super) fn add(self, metric: Metric, number: usize) {
        self.add_by(metric, number, Label::Nothing);
    }

    pub(super) fn count_by_realm(self, metric: Metric, realm: &RealmName) {
        self.add_by(metric, 1, Label::Realm(realm));
    }

    pub(super) fn count_by_reason(self, metric: Metric, reason: Reason) {
        self.add_by(metric, 1, Label::Reason(reason));
    }

    /// Counts what took as long as the current request has.
    pub(super) fn time(self, metric: Metric, label: Label<'_>) {
        if let (Some(metrics), Some(took)) = (self.metrics, request::elapsed()) {
            metrics.time(metric, took, label);
        }
    }

    fn add_by(self, metric: Metric, number: usize, label: Label<'_>) {
        if let Some(metrics) = self.metrics {
            metrics.add(metric, number, label);
        }
    }
}

/// Writes a line of the log, as `tracing::event!` does, where the sinks have one.
macro_rules! line {
    ($sinks:expr, $level:ident, $($line:tt)+) => {
        if $sinks.is_logged {
            tracing::event!(target: $crate::observe::event::sinks::LINES, tracing::Level::$level, $($line)+);
        }
    };
}
pub(super) use line;

/// The `target` of every line of an event. It stays the same wherever the code moves.
pub(in crate::observe) const LINES: &str = "grantwell";
