//! One invocation: by what its lines are found, and what it has done.

use std::time::Duration;

use super::table::Metric;
use crate::core::realm::RealmName;

/// By which a line is found from other lines and from a trace. Nothing in it is a caller's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvocationIds {
    /// Lambda's own id of the invocation.
    pub request_id: String,
    /// X-Ray's id of the trace, where there is one.
    pub trace_id: Option<String>,
}

/// What it has done so far.
pub(super) struct Pending {
    pub(super) values: [Option<u64>; Metric::ALL.len()],
    pub(super) latency: Duration,
    pub(super) realm: Option<RealmName>,
    pub(super) reason: Option<String>,
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
