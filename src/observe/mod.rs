//! What an operator sees of a process. Where something happens nobody knows of logs or metrics: an endpoint records its decision
//! ([`AuditEvent`], through the port), and whatever else there is to tell is an [`Event`]. Both come to the [`Observer`], whose
//! two matches make a line of the log and metrics of them.
//!
//! A new metric is its row in the table of [`metrics`], its line in the arm of its event, and its place on the dashboard.

mod background;
pub mod event;
mod format;
pub mod log;
pub mod metrics;
mod observer;
mod refusals;
pub mod request;

pub use self::background::LogGuard;
pub use self::event::Event;
pub use self::observer::Observer;
pub use self::refusals::LogRefusalsSparingly;
