//! What an operator is told of the token database while something fails there.

use std::path::Path;
use std::time::{Duration, Instant};

use super::cause::StorageCause;

/// Says once that something fails, and once that it no longer does.
pub(super) struct Outage {
    begins: &'static str,
    ends: &'static str,
    /// What began it, and when that or another was last seen.
    current: Option<(StorageCause, Instant)>,
}

impl Outage {
    pub(super) fn of_writes() -> Self {
        Self { begins: "tokens cannot be written", ends: "tokens are written again", current: None }
    }

    pub(super) fn of_checkpoints() -> Self {
        Self {
            begins: "the log of the token database cannot be emptied, and grows",
            ends: "the log of the token database is emptied again",
            current: None,
        }
    }

    pub(super) fn cause(&self) -> Option<StorageCause> {
        self.current.map(|(cause, _last)| cause)
    }

    pub(super) fn note(&mut self, failure: Option<StorageCause>) {
        match (failure, self.current) {
            (Some(cause), None) => {
                tracing::error!(
                    cause = cause.as_str(),
                    "{}: {cause}; {}",
                    self.begins,
                    cause.way_out_at(Path::new("tokens.db"))
                );
                self.current = Some((cause, Instant::now()));
            }
            (Some(_another), Some((cause, _last))) => self.current = Some((cause, Instant::now())),
            // A disk that is full for one write and not for the next is still full.
            (None, Some((cause, last))) if last.elapsed() >= LOOKS_EVERY => {
                tracing::warn!(cause = cause.as_str(), "{}", self.ends);
                self.current = None;
            }
            (None, _) => {}
        }
    }
}

/// How often what has failed is looked at.
pub(super) const LOOKS_EVERY: Duration = Duration::from_secs(1);
