//! Time: points of it as tokens have them ([`UnixSeconds`]) and as people write them ([`UtcTime`]), and as a process needs them
//! to say how long ago something was ([`Moment`]).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whole seconds since 1970-01-01T00:00:00Z (RFC 7519's NumericDate without fractions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixSeconds(pub u64);

/// Whole milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

/// A date of the Gregorian calendar with its time of day, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UtcTime {
    /// The year.
    pub year: u64,
    /// The month, from 1.
    pub month: u64,
    /// The day of the month, from 1.
    pub day: u64,
    /// The hour, from 0.
    pub hour: u64,
    /// The minute, from 0.
    pub minute: u64,
    /// The second, from 0. It is 60 in a leap second, which is the first second of the next minute.
    pub second: u64,
}

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

impl UnixMillis {
    /// The second that it is in.
    pub fn seconds(self) -> UnixSeconds {
        UnixSeconds(self.0 / 1_000)
    }
}

impl From<UnixSeconds> for UnixMillis {
    fn from(UnixSeconds(time): UnixSeconds) -> Self {
        Self(time.saturating_mul(1_000))
    }
}

impl fmt::Display for UnixSeconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl From<UnixSeconds> for UtcTime {
    fn from(UnixSeconds(time): UnixSeconds) -> Self {
        let (days, second) = (time / DAY, time % DAY);
        let days = days + DAYS_BEFORE_1970;
        // An era is 400 years, after which the calendar repeats itself.
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - days_of_years(year_of_era);
        let month = (5 * day_of_year + 2) / 153;
        Self {
            year: era * 400 + year_of_era + u64::from(month >= 10),
            month: if month < 10 { month + 3 } else { month - 9 },
            day: day_of_year - days_of_months(month) + 1,
            hour: second / 3_600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }
}

impl UtcTime {
    /// The time that these numbers are. `None` where one of them is out of its range, or the year is not one from 1970 to 9999.
    pub fn unix_seconds(self) -> Option<UnixSeconds> {
        let Self { year, month, day, hour, minute, second } = self;
        let is_date = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        if !is_date || hour >= 24 || minute >= 60 || second > 60 {
            return None;
        }
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = days_of_years(year) + days_of_months(month) + day - 1 - DAYS_BEFORE_1970;
        Some(UnixSeconds(days * DAY + hour * 3_600 + minute * 60 + second))
    }
}

/// Of so many years that begin in March, so that a leap day is the last of its year.
fn days_of_years(years: u64) -> u64 {
    years * 365 + years / 4 - years / 100 + years / 400
}

/// Of so many months from March on.
fn days_of_months(months: u64) -> u64 {
    (153 * months + 2) / 5
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

const DAY: u64 = 86_400;
/// From 0000-03-01.
const DAYS_BEFORE_1970: u64 = 719_468;

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

    fn utc(year: u64, month: u64, day: u64, hour: u64, minute: u64, second: u64) -> UtcTime {
        UtcTime { year, month, day, hour, minute, second }
    }

    #[test]
    fn a_time_is_one_of_the_calendar_and_back() {
        for (seconds, expected) in [
            (0, utc(1970, 1, 1, 0, 0, 0)),
            (951_782_399, utc(2000, 2, 28, 23, 59, 59)),
            (951_782_400, utc(2000, 2, 29, 0, 0, 0)),
            (951_868_800, utc(2000, 3, 1, 0, 0, 0)),
            (1_767_225_599, utc(2025, 12, 31, 23, 59, 59)),
            (1_767_225_600, utc(2026, 1, 1, 0, 0, 0)),
            (4_107_542_400, utc(2100, 3, 1, 0, 0, 0)),
            (253_402_300_799, utc(9999, 12, 31, 23, 59, 59)),
        ] {
            assert_eq!(UtcTime::from(UnixSeconds(seconds)), expected);
            assert_eq!(expected.unix_seconds(), Some(UnixSeconds(seconds)));
        }
        for day in 0..8030 * 365 {
            let noon = UnixSeconds(day * DAY + DAY / 2);
            assert_eq!(UtcTime::from(noon).unix_seconds(), Some(noon));
        }
        assert_eq!(UtcTime::from(UnixSeconds(u64::MAX)).year, 584_554_051_223, "no time is beyond the calendar");
    }

    #[test]
    fn numbers_that_are_no_time_are_none() {
        for time in [
            utc(1969, 12, 31, 23, 59, 59),
            utc(10_000, 1, 1, 0, 0, 0),
            utc(2026, 0, 1, 0, 0, 0),
            utc(2026, 13, 1, 0, 0, 0),
            utc(2026, 1, 0, 0, 0, 0),
            utc(2026, 1, 32, 0, 0, 0),
            utc(2026, 1, 1, 24, 0, 0),
            utc(2026, 1, 1, 0, 60, 0),
            utc(2026, 1, 1, 0, 0, 61),
            utc(u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX),
        ] {
            assert_eq!(time.unix_seconds(), None, "{time:?}");
        }
        let leap = utc(2016, 12, 31, 23, 59, 60).unix_seconds();
        assert_eq!(leap, utc(2017, 1, 1, 0, 0, 0).unix_seconds());
    }
}
