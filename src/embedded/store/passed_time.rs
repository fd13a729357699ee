//! How much time has passed, for those who delete for good by a clock that may be wrong.

use std::time::{Duration, Instant};

use crate::core::time::UnixSeconds;

/// The wall clock, held back: it never runs faster than twice the time that this process has lived through, and is never ahead of
/// the wall clock. So a clock that is hours ahead for some seconds ages nothing by more than those seconds; and a server that was down for
/// a week has caught up a week later.
pub(super) struct PassedTime {
    /// Since 1970-01-01T00:00:00Z.
    at: Duration,
    looked: Instant,
}

impl PassedTime {
    /// Goes on from `at`: what was [`PassedTime::seconds`] when somebody last looked, or the wall clock where nobody has.
    pub(super) fn from(at: UnixSeconds) -> Self {
        Self { at: Duration::from_secs(at.0), looked: Instant::now() }
    }

    /// What may be taken for the time, given the wall clock.
    pub(super) fn look(&mut self, wall: UnixSeconds) -> UnixSeconds {
        let lived_through = self.looked.elapsed();
        self.looked += lived_through;
        self.advance(wall, lived_through)
    }

    fn advance(&mut self, wall: UnixSeconds, lived_through: Duration) -> UnixSeconds {
        let at_most = self.at.saturating_add(lived_through.saturating_mul(CATCHES_UP_BY));
        // The wall clock says whole seconds, of which this one may be almost over.
        self.at = at_most.min(Duration::from_secs(wall.0).saturating_add(Duration::from_millis(999)));
        self.seconds()
    }

    fn seconds(&self) -> UnixSeconds {
        UnixSeconds(self.at.as_secs())
    }
}

/// Seconds. What is deleted for good and opens something by its absence is kept for so much longer.
pub(super) const MARGIN_OF_CLOCKS: u64 = 86_400;
const CATCHES_UP_BY: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_415_820;

    fn advanced(at: u64, wall: u64, lived_through: u64) -> u64 {
        PassedTime::from(UnixSeconds(at)).advance(UnixSeconds(wall), Duration::from_secs(lived_through)).0
    }

    #[test]
    fn a_clock_that_is_right_is_followed() {
        let mut passed = PassedTime::from(UnixSeconds(NOW));
        for second in 1..=100 {
            assert_eq!(passed.advance(UnixSeconds(NOW + second), Duration::from_secs(1)).0, NOW + second);
        }
        // Of looks that come many times a second none is lost.
        let mut passed = PassedTime::from(UnixSeconds(NOW));
        for tenth in 1..=100 {
            passed.advance(UnixSeconds(NOW + tenth / 10), Duration::from_millis(100));
        }
        assert_eq!(passed.seconds().0, NOW + 10);
    }

    #[test]
    fn a_clock_that_is_hours_ahead_for_seconds_ages_nothing_by_hours() {
        assert_eq!(advanced(NOW, NOW + 7_200, 5), NOW + 10);
        assert_eq!(advanced(NOW, u64::MAX, 5), NOW + 10);
        assert_eq!(advanced(NOW, NOW - 7_200, 5), NOW - 7_200, "and one that is set back is believed");
    }

    #[test]
    fn a_server_that_was_down_catches_up() {
        const WEEK: u64 = 7 * 86_400;
        assert_eq!(advanced(NOW, NOW + WEEK + 60, 60), NOW + 120);
        assert_eq!(advanced(NOW, NOW + WEEK + WEEK, WEEK), NOW + WEEK + WEEK);
    }
}
