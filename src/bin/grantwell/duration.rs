//! Durations of the command line: a number with a unit, or a bare number in the unit that the option's help names.

use std::time::Duration;

/// The text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MalformedDuration {
    /// Where a bare number is seconds.
    #[error("a duration is a whole number of seconds, or a number with a unit such as 45m, 24h or 90d")]
    Seconds,
    /// Where a bare number is days.
    #[error("a number of days is a whole number, with or without a unit, such as 90, 90d or 12weeks")]
    Days,
    /// Where a bare number is milliseconds.
    #[error(
        "a time is a whole number of milliseconds, or a number with a unit such as 10ms or 1s, and not more than 49 days"
    )]
    Milliseconds,
}

/// Parses a duration into seconds; a bare number is seconds.
pub(crate) fn seconds(text: &str) -> Result<u64, MalformedDuration> {
    whole(text, 1).ok_or(MalformedDuration::Seconds)
}

/// Parses a duration into days; a bare number is days.
pub(crate) fn days(text: &str) -> Result<u64, MalformedDuration> {
    whole(text, DAY).ok_or(MalformedDuration::Days)
}

/// Parses a duration into milliseconds; a bare number is milliseconds.
pub(crate) fn milliseconds(text: &str) -> Result<u64, MalformedDuration> {
    if let Ok(number) = text.parse() {
        return Some(number).filter(|_| !text.starts_with('+')).ok_or(MalformedDuration::Milliseconds);
    }
    let duration = humantime::parse_duration(text).map_err(|_| MalformedDuration::Milliseconds)?;
    let milliseconds = u64::try_from(duration.as_millis()).map_err(|_| MalformedDuration::Milliseconds)?;
    let is_whole = duration == Duration::from_millis(milliseconds);
    is_whole.then_some(milliseconds).ok_or(MalformedDuration::Milliseconds)
}

/// How often `unit` goes into what the text says, where nothing is left over.
fn whole(text: &str, unit: u64) -> Option<u64> {
    if let Ok(number) = text.parse() {
        return Some(number).filter(|_| !text.starts_with('+'));
    }
    let duration = humantime::parse_duration(text).ok()?;
    let seconds = duration.as_secs();
    (duration == Duration::from_secs(seconds) && seconds.is_multiple_of(unit)).then_some(seconds / unit)
}

const DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_in_the_unit_of_the_option_and_one_with_a_unit_is_converted() {
        for (text, expected) in [
            ("0", 0),
            ("3600", 3600),
            ("18446744073709551615", u64::MAX),
            ("45s", 45),
            ("45m", 2700),
            ("1h", 3600),
            ("1h 30m", 5400),
            ("1h30min", 5400),
            ("1.5h", 5400),
            ("24hours", 86_400),
            ("90d", 7_776_000),
            ("90 days", 7_776_000),
            ("2w", 1_209_600),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for (text, expected) in [("0", 0), ("90", 90), ("90d", 90), ("48h", 2), ("12weeks", 84)] {
            assert_eq!(days(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_bare_number_of_milliseconds_may_have_another_unit() {
        for (text, expected) in [("10", 10), ("10ms", 10), ("1s", 1_000), ("1.5s", 1_500), ("0", 0)] {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
        for text in ["", "-1", "+1", "10us", "ms", "99999999999999999d"] {
            assert_eq!(milliseconds(text), Err(MalformedDuration::Milliseconds), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_whole_or_not_a_duration_is_refused() {
        for text in [
            "",
            " ",
            "d",
            "-1",
            "+1",
            "1.5",
            "1x",
            "500ms",
            "soon",
            "1h-",
            "99999999999999999999",
            "99999999999999999d",
        ] {
            assert_eq!(seconds(text), Err(MalformedDuration::Seconds), "{text:?}");
            assert_eq!(days(text), Err(MalformedDuration::Days), "{text:?}");
        }
        for text in ["12h", "1d 1s", "1M"] {
            assert_eq!(days(text), Err(MalformedDuration::Days), "{text:?}");
        }
    }
}
