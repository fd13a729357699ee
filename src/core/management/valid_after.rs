//! From when on the tokens of a client or a realm count (docs/decisions/0006-one-second-grain-of-tokens-valid-after.md).

use super::outcome::{ManagementError, Notice, Subject};
use crate::core::access_token::{ValidAfterIsAhead, tokens_valid_after};
use crate::core::time::UnixSeconds;

/// Which of the tokens issued so far count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokensValidAfter {
    /// Those that did before.
    #[default]
    Unchanged,
    /// None.
    RevokeAll,
    /// Those issued at this time or later. An earlier time than before takes a revocation back.
    From(UnixSeconds),
}

impl TokensValidAfter {
    /// What is to be stored in the place of `stored`, of `subject`.
    pub(super) fn replaces(
        self,
        stored: UnixSeconds,
        subject: Subject,
        now: UnixSeconds,
    ) -> Result<(UnixSeconds, Option<Notice>), ManagementError> {
        match self {
            Self::Unchanged => Ok((stored, None)),
            Self::RevokeAll => {
                // Tokens are dated in whole seconds: one issued earlier in this very second carries this second.
                let next_second = now.plus(1);
                let ahead = |ValidAfterIsAhead { seconds }| ManagementError::StoredValidAfterIsAhead {
                    of: subject,
                    stored,
                    seconds,
                    now,
                };
                Ok((tokens_valid_after(stored.max(next_second), now).map_err(ahead)?, None))
            }
            Self::From(wanted) => {
                let ahead = |ValidAfterIsAhead { seconds }| ManagementError::ValidAfterIsAhead { wanted, seconds, now };
                let from = tokens_valid_after(wanted, now).map_err(ahead)?;
                Ok((from, (from < stored).then_some(Notice::TokensCountAgain { of: subject, from })))
            }
        }
    }
}
