//! Time: points of it as calendars and tokens have them ([`UnixSeconds`]), and as a process needs them to say how long ago
//! something was ([`Moment`]).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whole seconds since 1970-01-01T00:00:00Z (RFC 7519's NumericDate without fractions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixSeconds(pub u64);

/// A point in time by both clocks of a machine, for durations within one process. A wall clock alone does not measure them:
/// set back, it keeps all that is remembered for as long again. Nor does a monotonic one: it may stand still while a Lambda
/// sandbox is frozen. No order and no equality: of two moments only what has passed between them means anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// Since 1970.
    wall: Duration,
    /// Since some point in the life of the machine.
    monotonic: Duration,
}

impl UnixSeconds {
    /// The time `seconds` later; the end of time where that does not fit.
    #[must_use]
    pub fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to `self`; 0 where `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UnixSeconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Moment {
    /// What the two clocks say: the time since 1970, and the time since any point that stays the same.
    pub fn new(wall: Duration, monotonic: Duration) -> Self {
        Self { wall, monotonic }
    }

    /// The moment of a clock that nobody sets.
    pub fn of(now: UnixSeconds) -> Self {
        let since_1970 = Duration::from_secs(now.0);
        Self::new(since_1970, since_1970)
    }

    /// How long ago `earlier` was: the larger of what the two clocks say, and never less than nothing. A clock that is set
    /// forward makes old too soon what is remembered, which is looked at again.
    pub fn since(self, earlier: Self) -> Duration {
        let by_wall = self.wall.saturating_sub(earlier.wall);
        by_wall.max(self.monotonic.saturating_sub(earlier.monotonic))
    }

    /// Whether it came after `other`, whatever was set in between.
    pub fn is_after(self, other: Self) -> bool {
        self.monotonic > other.monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall: u64, monotonic: u64) -> Moment {
        Moment::new(Duration::from_secs(wall), Duration::from_secs(monotonic))
    }

    #[test]
    fn an_age_is_what_the_clock_says_that_has_gone_further_and_never_negative() {
        let then = moment(1_000_000, 500);
        for (what, wall, monotonic, seconds) in [
            ("both go on", 1_000_007, 507, 7),
            ("the wall clock was set back", 999_407, 507, 7),
            ("and forward", 1_003_607, 507, 3_607),
            ("the sandbox was frozen", 1_000_600, 501, 600),
            ("frozen, and set back by more", 999_000, 501, 1),
            ("nothing has passed", 1_000_000, 500, 0),
            ("an earlier moment", 999_999, 499, 0),
        ] {
            assert_eq!(moment(wall, monotonic).since(then), Duration::from_secs(seconds), "{what}");
        }
        assert_eq!(Moment::of(UnixSeconds(9)).since(Moment::of(UnixSeconds(2))), Duration::from_secs(7));
        assert_eq!(Moment::of(UnixSeconds(u64::MAX)).since(Moment::of(UnixSeconds(u64::MAX))), Duration::ZERO);
    }

    #[test]
    fn what_came_later_is_said_by_the_clock_that_nobody_sets() {
        let then = moment(1_000_000, 500);
        assert!(moment(999_000, 501).is_after(then));
        assert!(!moment(1_000_600, 500).is_after(then), "and of the same moment nobody knows");
        assert!(!moment(1_000_600, 499).is_after(then));
    }
}
