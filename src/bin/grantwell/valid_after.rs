//! `--revoke-tokens` and `--tokens-valid-after`: from when on the tokens of a client or a realm count
//! (docs/decisions/0006-one-second-grain-of-tokens-valid-after.md).

use std::time::Duration;

use grantwell::core::management::TokensValidAfter;
use grantwell::core::ports::Clock as _;
use grantwell::core::time::UnixSeconds;
use grantwell::system::SystemClock;

use crate::confirm::{ConfirmArguments, Unattended};
use crate::failure::Failure;

/// Which tokens count.
#[derive(Debug, clap::Args)]
pub(crate) struct ValidAfterArguments {
    /// Ends every access token issued so far (tokens_valid_after)
    #[arg(long)]
    revoke_tokens: bool,
    /// Ends every access token issued before this time, in Unix seconds; an earlier time than before takes that back
    /// (tokens_valid_after)
    ///
    /// A time in the future is refused, because no token could be issued before it. Use this option to lower a time that a wrong
    /// clock has set. Tokens that were revoked one by one stay revoked.
    #[arg(long, value_name = "SECONDS", conflicts_with = "revoke_tokens")]
    tokens_valid_after: Option<u64>,
}

impl ValidAfterArguments {
    /// What becomes of the tokens.
    pub(crate) fn change(&self) -> TokensValidAfter {
        match self.tokens_valid_after {
            Some(seconds) => TokensValidAfter::From(UnixSeconds(seconds)),
            None if self.revoke_tokens => TokensValidAfter::RevokeAll,
            None => TokensValidAfter::Unchanged,
        }
    }

    /// Asks whether every token of `whose` is to end.
    pub(crate) fn confirm(&self, confirm: &ConfirmArguments, whose: &str) -> Result<(), Failure> {
        if !self.revoke_tokens {
            return Ok(());
        }
        let what = format!("end every token of {whose} that was issued so far");
        confirm.confirm(&what, Unattended::GoesOn)
    }

    /// Returns once tokens can be issued again, which is within a second of having revoked those before. A token issued earlier
    /// would be dead on arrival, and whoever revoked everything may ask for a new token at once.
    pub(crate) async fn wait_until_over(&self, stored: UnixSeconds) {
        const STEP: Duration = Duration::from_millis(20);
        if !self.revoke_tokens {
            return;
        }
        // Two seconds at most: a clock that is set back meanwhile must not hold the command.
        for _ in 0..100 {
            if SystemClock.now() >= stored {
                return;
            }
            tokio::time::sleep(STEP).await;
        }
    }
}
