//! What the operating system lends to the core: its clock and its random source.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::core::port_error::PortError;
use crate::core::ports::Clock;
use crate::core::random::Random;
use crate::core::time::{Moment, UnixMillis, UnixSeconds};

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Clock for SystemClock {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(since_1970().as_secs())
    }

    fn now_in_millis(&self) -> UnixMillis {
        UnixMillis(u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX))
    }

    fn moment(&self) -> Moment {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Moment::new(since_1970(), START.elapsed())
    }
}

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), PortError> {
        getrandom::fill(bytes)
            .map_err(|error| PortError::Unavailable { service: "the random source", detail: error.to_string() })
    }
}

/// A clock before 1970 is broken. Closed: at the end of time every token and every secret has expired.
#[expect(clippy::disallowed_methods, reason = "the one place where the Clock port meets the system")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::MAX)
}
