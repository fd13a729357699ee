//! What the black-box tests share: a server of their own ([`server`]), the real command line ([`cli`]), HTTP as a
//! well-behaved client speaks it and as nobody should ([`http`]), JWTs as a resource server reads them ([`jwt`]), every member
//! of a registration ([`registration`]), where changes are logged ([`logging`]), and one server that most tests share ([`shared`]).

pub(crate) mod cli;
#[cfg(target_os = "linux")]
pub(crate) mod disk;
pub(crate) mod http;
pub(crate) mod https;
pub(crate) mod jws;
pub(crate) mod jwt;
pub(crate) mod logging;
pub(crate) mod registration;
pub(crate) mod server;
pub(crate) mod shared;

use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::{Duration, Instant};

use grantwell::core::client::secret::{Beside, ClientSecret, NewSecret};
use grantwell::core::time::UnixSeconds;

/// The secret of a rotation that keeps the one before it until the next one.
pub(crate) fn beside_current(secret: &ClientSecret) -> NewSecret<'_> {
    NewSecret { secret, made_at: UnixSeconds(1_795_415_820), beside: Beside::Current(UnixSeconds(0)) }
}

/// How long a server may take to notice what the command line changed (a function within a minute).
pub(crate) const NOTICED_WITHIN: Duration = Duration::from_mins(1);

/// Checks every row of a table and names all those that failed, so that one run shows every mismatch.
pub(crate) fn each_row<T>(rows: impl IntoIterator<Item = (&'static str, T)>, check: impl Fn(T)) {
    let mut failed = Vec::new();
    for (row, input) in rows {
        if panic::catch_unwind(AssertUnwindSafe(|| check(input))).is_err() {
            failed.push(row);
            eprintln!("^^^ in row: {row}");
        }
    }
    assert!(failed.is_empty(), "rows that failed (each with its reason above): {failed:#?}");
}

/// Repeats `attempt` until it gives something, and panics naming `what` after `deadline`.
pub(crate) fn poll<T>(what: &str, deadline: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(started.elapsed() < deadline, "{what}: not within {deadline:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
