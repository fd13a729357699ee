//! What one invocation has done.

use std::time::Duration;

use super::table::Metric;
use crate::core::realm::RealmName;
use crate::core::reason::Reason;

/// What it has done so far.
pub(super) struct Pending {
    pub(super) values: [Option<u64>; Metric::ALL.len()],
    pub(super) latency: Duration,
    pub(super) realm: Option<RealmName>,
    pub(super) reason: Option<Reason>,
}

// By hand: std derives it of an array of at most 32.
impl Default for Pending {
    fn default() -> Self {
        Self { values: [None; Metric::ALL.len()], latency: Duration::ZERO, realm: None, reason: None }
    }
}

impl Pending {
    pub(super) fn recorded(&self) -> impl Iterator<Item = (Metric, u64)> + Clone {
        Metric::ALL.into_iter().zip(self.values).filter_map(|(metric, value)| Some((metric, value?)))
    }
}
