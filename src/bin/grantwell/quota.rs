//! The options that limit how many tokens a client is issued. A client and its realm have them in common.

use grantwell::core::quota::{MalformedQuota, QuotaMode, QuotaSetting};

use crate::access_token::{Setting, apply, setting};
use crate::count;

/// How many tokens a client is issued.
#[derive(Debug, clap::Args)]
pub(crate) struct QuotaArguments {
    /// The most tokens a client is issued in an hour or a day (UTC), such as 1000/hour or 1M/day, or none; '' removes the setting
    /// (token_quota) [default: the realm's, or none]
    #[arg(long, value_name = "NUMBER/hour|NUMBER/day|none", value_parser = quota)]
    token_quota: Option<Setting<QuotaSetting>>,
    /// Whether requests beyond the quota are refused or only recorded; '' removes the setting (token_quota_mode) [default: the
    /// realm's, or enforce]
    #[arg(long, value_name = "enforce|observe", value_parser = mode)]
    token_quota_mode: Option<Setting<QuotaMode>>,
}

/// The text is not a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token quota's mode is enforce or observe; '' removes the setting")]
struct UnknownMode;

impl QuotaArguments {
    /// Sets what is named in the two fields that a client and a realm both have.
    pub(crate) fn apply(&self, quota: &mut Option<QuotaSetting>, mode: &mut Option<QuotaMode>) {
        apply(self.token_quota, quota);
        apply(self.token_quota_mode, mode);
    }
}

fn quota(text: &str) -> Result<Setting<QuotaSetting>, MalformedQuota> {
    // With the number written out, as it is stored.
    let written_out = text.split_once('/').and_then(|(number, window)| {
        let number = count::count(number).ok()?;
        Some(format!("{number}/{window}"))
    });
    setting(text, written_out.as_deref().unwrap_or(text).parse().ok(), MalformedQuota)
}

fn mode(text: &str) -> Result<Setting<QuotaMode>, UnknownMode> {
    setting(text, QuotaMode::ALL.into_iter().find(|mode| mode.as_str() == text), UnknownMode)
}
