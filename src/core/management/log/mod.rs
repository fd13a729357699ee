//! The admin log ahead of every change (docs/decisions/0038-the-admin-log-is-written-ahead.md): whoever works with a registry or with
//! keys through these works with a line for each change, and only as far as it may.

pub(super) mod book;
mod effect;
mod key_store;
mod members;
mod reading;
mod registrar;

pub use self::book::{ChangeError, ChangeToLog, Logbook, Logging};
pub use self::effect::Effect;
pub use self::reading::{LogFilter, LoggedChanges};
