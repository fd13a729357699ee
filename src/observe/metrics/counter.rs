//! What is told of everything that is counted.

use std::fmt;
use std::time::Duration;

use super::table::Metric;
use crate::core::realm::RealmName;
use crate::core::reason::Reason;

/// Counts what a process does.
pub trait Counter: fmt::Debug + Send + Sync {
    /// Counts `number`; 0 says that there was a look, and nothing to count.
    fn add(&self, metric: Metric, number: usize, label: Label<'_>);

    /// Counts one thing that took this long. Who measures it otherwise has nothing to do.
    fn time(&self, _metric: Metric, _took: Duration, _label: Label<'_>) {}
}

/// The value by which one thing that is counted is split up.
#[derive(Clone, Copy, Debug)]
pub enum Label<'a> {
    /// Nothing: only the sum is of interest.
    Nothing,
    /// A registered realm.
    Realm(&'a RealmName),
    /// One of few reasons that this program knows, never anything of a request.
    Reason(Reason),
    /// How an endpoint answered.
    Answer {
        /// Its name, or `other`.
        endpoint: &'static str,
        /// The status.
        status: u16,
    },
}
