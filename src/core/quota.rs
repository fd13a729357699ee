//! Token quotas: how many access tokens a client may be issued within an hour or a day, and whether more are refused or only
//! recorded (docs/decisions/0014-quotas.md).
//!
//! Windows are whole hours and days of UTC, so that two processes never disagree about where one begins. They are names that
//! processes share, and no durations: a clock that is set counts in the window that it names, where what was counted before stands.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::time::UnixSeconds;

/// What an operator sets: `none`, or a number of tokens by the hour or the day, such as `1000/hour`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum QuotaSetting {
    /// No quota: a client says so where its realm has one.
    Unlimited,
    /// At most so many.
    Limited(TokenLimit),
}

/// A number of tokens, 1 to [`TokenLimit::MAX`], within one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLimit {
    tokens: u32,
    window: QuotaWindow,
}

/// How long tokens are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuotaWindow {
    /// An hour of UTC.
    Hour,
    /// A day of UTC.
    Day,
}

/// What becomes of a request beyond the quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaMode {
    /// It is refused.
    #[default]
    Enforce,
    /// It is answered as without a quota, and recorded.
    Observe,
}

/// The quota of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenQuota {
    /// How many tokens.
    pub limit: TokenLimit,
    /// What becomes of more.
    pub mode: QuotaMode,
}

/// One window on the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuotaPeriod {
    window: QuotaWindow,
    starts_at: UnixSeconds,
}

/// What a client is told of its quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaState {
    /// What it may have.
    pub limit: TokenLimit,
    /// How many tokens are left.
    pub remaining: u32,
    /// Seconds until there are all of them again.
    pub resets_in_seconds: u64,
}

/// The text is no quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token quota is NUMBER/hour or NUMBER/day, NUMBER from 1 to {max}, or none", max = TokenLimit::MAX)]
pub struct MalformedQuota;

impl TokenLimit {
    /// More than any client fetches in a day.
    pub const MAX: u32 = 1_000_000_000;

    /// The number.
    pub fn tokens(self) -> u32 {
        self.tokens
    }

    /// Within what.
    pub fn window(self) -> QuotaWindow {
        self.window
    }
}

impl QuotaWindow {
    /// Every window.
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    /// The name as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Its length.
    pub fn seconds(self) -> u64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    /// The one that `now` is in.
    pub fn period_at(self, now: UnixSeconds) -> QuotaPeriod {
        QuotaPeriod { window: self, starts_at: UnixSeconds(now.0 - now.0 % self.seconds()) }
    }
}

impl QuotaMode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Enforce, Self::Observe];

    /// The name as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

impl TokenQuota {
    /// What a client is told at `now`, when `counted` tokens have been counted.
    pub fn state(self, counted: u64, now: UnixSeconds) -> QuotaState {
        let remaining = u64::from(self.limit.tokens).saturating_sub(counted);
        QuotaState {
            limit: self.limit,
            // No more than the limit, which fits.
            remaining: u32::try_from(remaining).unwrap_or(self.limit.tokens),
            resets_in_seconds: self.limit.window.period_at(now).ends_at().since(now).max(1),
        }
    }
}

impl QuotaPeriod {
    /// Its first second.
    pub fn starts_at(self) -> UnixSeconds {
        self.starts_at
    }

    /// The first second of the next.
    pub fn ends_at(self) -> UnixSeconds {
        self.starts_at.plus(self.window.seconds())
    }
}

/// The name of a period in a store, such as `hour#1795413600`: with its kind, since an hour and a day may begin at the same second.
impl fmt::Display for QuotaPeriod {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}#{}", self.window.as_str(), self.starts_at)
    }
}

impl FromStr for TokenLimit {
    type Err = MalformedQuota;

    fn from_str(text: &str) -> Result<Self, MalformedQuota> {
        let (number, window) = text.split_once('/').ok_or(MalformedQuota)?;
        let window = QuotaWindow::ALL.into_iter().find(|each| each.as_str() == window).ok_or(MalformedQuota)?;
        let digits_only = !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
        let tokens = number.parse().ok().filter(|tokens| digits_only && (1..=Self::MAX).contains(tokens));
        tokens.map(|tokens| Self { tokens, window }).ok_or(MalformedQuota)
    }
}

impl fmt::Display for TokenLimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.tokens, self.window.as_str())
    }
}

impl FromStr for QuotaSetting {
    type Err = MalformedQuota;

    fn from_str(text: &str) -> Result<Self, MalformedQuota> {
        if text == UNLIMITED { Ok(Self::Unlimited) } else { text.parse().map(Self::Limited) }
    }
}

impl fmt::Display for QuotaSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => formatter.write_str(UNLIMITED),
            Self::Limited(limit) => limit.fmt(formatter),
        }
    }
}

impl TryFrom<String> for QuotaSetting {
    type Error = MalformedQuota;

    fn try_from(text: String) -> Result<Self, MalformedQuota> {
        text.parse()
    }
}

impl From<QuotaSetting> for String {
    fn from(setting: QuotaSetting) -> Self {
        setting.to_string()
    }
}

const UNLIMITED: &str = "none";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quota_is_a_number_and_a_window_or_none_and_nothing_else() {
        for text in ["1/hour", "1000/hour", "1000000000/day", "none"] {
            assert_eq!(text.parse::<QuotaSetting>().expect("a quota").to_string(), text);
        }
        for text in [
            "",
            "none ",
            "None",
            "0/hour",
            "00/hour",
            "01/hour",
            "+1/hour",
            "-1/hour",
            "1.5/hour",
            "1000000001/day",
            "99999999999999999999/day",
            "1/week",
            "1/Hour",
            "1/hour/day",
            "1 /hour",
            "1/",
            "/hour",
            "hour",
            "1",
            "\u{661}/hour",
        ] {
            assert_eq!(text.parse::<QuotaSetting>(), Err(MalformedQuota), "{text:?}");
            assert!(serde_json::from_value::<QuotaSetting>(text.into()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn hours_and_days_begin_where_utc_has_them() {
        // 23 November 2026, 06:37:00Z.
        let now = UnixSeconds(1_795_415_820);
        let hour = QuotaWindow::Hour.period_at(now);
        assert_eq!((hour.starts_at(), hour.ends_at()), (UnixSeconds(1_795_413_600), UnixSeconds(1_795_417_200)));
        let day = QuotaWindow::Day.period_at(now);
        assert_eq!((day.starts_at(), day.ends_at()), (UnixSeconds(1_795_392_000), UnixSeconds(1_795_478_400)));
    }

    #[test]
    fn what_is_left_never_falls_below_nothing_and_a_window_always_has_a_second_left() {
        let quota = TokenQuota { limit: "3/hour".parse().expect("a limit"), mode: QuotaMode::Enforce };
        for (counted, remaining) in [(0, 3), (1, 2), (3, 0), (4, 0), (u64::MAX, 0)] {
            assert_eq!(quota.state(counted, UnixSeconds(3_599)).remaining, remaining);
        }
        for (now, seconds) in [(0, 3_600), (1, 3_599), (3_599, 1), (3_600, 3_600), (u64::MAX, 1)] {
            assert_eq!(quota.state(0, UnixSeconds(now)).resets_in_seconds, seconds, "at {now}");
        }
    }

    proptest! {
        #[test]
        fn every_second_is_in_one_window_of_each_kind(now in 0..u64::MAX / 2, tokens in 1..=TokenLimit::MAX) {
            for window in QuotaWindow::ALL {
                let period = window.period_at(UnixSeconds(now));
                prop_assert!(period.starts_at().0 <= now && now < period.ends_at().0);
                prop_assert_eq!(period.starts_at().0 % window.seconds(), 0);
                prop_assert_eq!(window.period_at(period.starts_at()), period);
                prop_assert_eq!(window.period_at(period.ends_at()).starts_at(), period.ends_at());
                let setting = QuotaSetting::Limited(TokenLimit { tokens, window });
                prop_assert_eq!(setting.to_string().parse(), Ok(setting));
            }
        }
    }
}
