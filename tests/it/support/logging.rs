//! Where the changes of tests are logged, and who makes them.

use std::sync::Arc;

use grantwell::core::admin_log::{Actor, Face, LogRetention};
use grantwell::core::management::Logging;
use grantwell::core::ports::AdminLog;

/// Logs changes of an operator into `log`.
pub(crate) fn logging(log: Arc<dyn AdminLog>) -> Logging {
    logging_as(log, operator())
}

/// The same for changes of `actor`.
pub(crate) fn logging_as(log: Arc<dyn AdminLog>, actor: Actor) -> Logging {
    Logging { log, actors: Arc::new(actor), face: Face::COMMAND_LINE, retention: LogRetention::default() }
}

/// Whoever runs a test.
pub(crate) fn operator() -> Actor {
    Actor::OsUser { uid: 1000, name: Some("tester".to_owned()), sudo_user: None }
}
