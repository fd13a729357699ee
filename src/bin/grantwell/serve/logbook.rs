//! Where a local server writes down what it changes in its registry by itself.

use std::sync::Arc;

use grantwell::config;
use grantwell::core::admin_log::{Actor, Face};
use grantwell::core::management::{Logbook, Logging};
use grantwell::core::ports::ActorSource;
use grantwell::embedded::os_user::OsUser;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::system::{SystemClock, SystemRandom};

use crate::failure::Failure;

/// For what whoever starts the server has it make.
pub(super) fn of_start(registry: &Arc<SqliteRegistry>) -> Result<Arc<Logbook>, Failure> {
    open(registry, Arc::new(OsUser::current(config::sudo_user())), Face::SERVER)
}

/// For what it does because it is time.
pub(super) fn of_schedule(registry: &Arc<SqliteRegistry>) -> Result<Arc<Logbook>, Failure> {
    open(registry, Arc::new(Actor::Schedule), Face::ROTATION)
}

fn open(registry: &Arc<SqliteRegistry>, actors: Arc<dyn ActorSource>, face: Face) -> Result<Arc<Logbook>, Failure> {
    let logging = Logging { log: Arc::clone(registry) as _, actors, face, retention: config::admin_log_retention()? };
    Ok(Logbook::new(logging, Arc::clone(registry) as _, Arc::new(SystemClock), Arc::new(SystemRandom)))
}
