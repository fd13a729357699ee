//! `--revoke-tokens` and `--tokens-valid-after`: from when on the tokens of a client or a realm count
//! (docs/decisions/0006-one-second-grain-of-tokens-valid-after.md).

use std::time::Duration;

use grantwell::core::access_token::{ValidAfterIsAhead, tokens_valid_after};
use grantwell::core::ports::Clock as _;
use grantwell::core::time::UnixSeconds;
use grantwell::system::SystemClock;

use crate::failure::Failure;
use crate::output;

/// Which tokens count.
#[derive(Debug, clap::Args)]
pub(crate) struct ValidAfterArguments {
    /// Ends every access token issued so far
    #[arg(long)]
    revoke_tokens: bool,
    /// Ends every access token issued before this time, in Unix seconds; an earlier one than before takes that back
    ///
    /// A time that has not come yet is refused: no token could be issued before it. What a wrong clock has set is lowered with
    /// this. Tokens that were revoked one by one stay so.
    #[arg(long, value_name = "SECONDS", conflicts_with = "revoke_tokens")]
    tokens_valid_after: Option<u64>,
}

impl ValidAfterArguments {
    /// What is to be stored in the place of `stored`. `whose` is a client or a realm for people, and `command` the one that changes
    /// it.
    pub(crate) fn apply(&self, stored: UnixSeconds, whose: &str, command: &str) -> Result<UnixSeconds, Failure> {
        let now = SystemClock.now();
        if let Some(seconds) = self.tokens_valid_after {
            let wanted = UnixSeconds(seconds);
            let set = tokens_valid_after(wanted, now).map_err(|ValidAfterIsAhead { seconds }| {
                Failure::new(format!(
                    "--tokens-valid-after {wanted} is {}, {seconds} s ahead of this machine's clock; name a time that has come, \
                     such as {now}",
                    output::utc(wanted)
                ))
            })?;
            if set < stored {
                let which = if set == UnixSeconds(0) {
                    format!("all tokens of {whose}")
                } else {
                    format!("tokens of {whose} that are dated from {} on", output::utc(set))
                };
                output::warn(&format!("{which} count again, unless they have expired or were revoked one by one"));
            }
            return Ok(set);
        }
        if !self.revoke_tokens {
            return Ok(stored);
        }
        tokens_valid_after(stored.max(next_second(now)), now).map_err(|ValidAfterIsAhead { seconds }| {
            Failure::new(format!(
                "tokens_valid_after of {whose} is {} already, {seconds} s ahead of this machine's clock, and no token can be issued \
                 before; set the clock right if it is wrong, or else lower what is stored with: {command} --tokens-valid-after {now}",
                output::utc(stored)
            ))
        })
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

/// The first second of which no token has been issued yet: what `tokens_valid_after` must be so that every token issued
/// before now is dead. Tokens are dated in whole seconds, so one issued earlier in this very second carries this second.
fn next_second(now: UnixSeconds) -> UnixSeconds {
    now.plus(1)
}
