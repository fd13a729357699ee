//! Issued tokens in memory, for tests and the demo: gone when the process ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::passed_time::{MARGIN_OF_CLOCKS, PassedTime};
use crate::core::access_token::TokenDigest;
use crate::core::access_token::record::{AccessTokenRecord, Revocation, RevokedToken, StoredToken};
use crate::core::client::id::ClientId;
use crate::core::port_error::PortError;
use crate::core::ports::{Clock, Denylist, TokenStore};
use crate::core::realm::RealmName;
use crate::core::time::UnixSeconds;

/// A [`TokenStore`] and a [`Denylist`] in memory. What has expired is dropped whenever the number of entries has doubled.
pub struct MemoryTokens {
    clock: Arc<dyn Clock>,
    made_at: UnixSeconds,
    state: Mutex<State>,
}

struct State {
    tokens: HashMap<TokenDigest, StoredToken>,
    /// By `jti`, until when.
    denied: HashMap<String, UnixSeconds>,
    passed: PassedTime,
    sweep_at: usize,
}

impl MemoryTokens {
    /// An empty store that drops tokens which have expired by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        let state = State {
            tokens: HashMap::new(),
            denied: HashMap::new(),
            passed: PassedTime::from(now),
            sweep_at: SMALLEST_SWEEP,
        };
        Self { made_at: now, clock, state: Mutex::new(state) }
    }

    /// A panic elsewhere leaves the map whole: every change is a single call.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TokenStore for MemoryTokens {
    async fn put(&self, digest: &TokenDigest, record: &AccessTokenRecord) -> Result<(), PortError> {
        let mut state = self.state();
        state.tokens.insert(*digest, StoredToken::Live(Box::new(record.clone())));
        state.sweep(self.clock.as_ref());
        Ok(())
    }

    async fn get(&self, digest: &TokenDigest) -> Result<StoredToken, PortError> {
        Ok(self.state().tokens.get(digest).cloned().unwrap_or(StoredToken::Absent))
    }

    async fn revoke(
        &self,
        digest: &TokenDigest,
        realm: &RealmName,
        client_id: &ClientId,
        now: UnixSeconds,
    ) -> Result<Revocation, PortError> {
        let mut state = self.state();
        let Some(StoredToken::Live(record)) = state.tokens.get(digest) else { return Ok(Revocation::NotFound) };
        let outcome = Revocation::of_live(record, realm, client_id, now);
        if matches!(outcome, Revocation::Revoked { .. }) {
            let mark = RevokedToken::of(record);
            state.tokens.insert(*digest, StoredToken::Revoked(mark));
        }
        Ok(outcome)
    }
}

#[async_trait]
impl Denylist for MemoryTokens {
    async fn deny(&self, jti: &str, expires_at: UnixSeconds) -> Result<(), PortError> {
        let mut state = self.state();
        state.denied.insert(jti.to_owned(), expires_at);
        state.sweep(self.clock.as_ref());
        Ok(())
    }

    async fn is_denied(&self, jti: &str) -> Result<bool, PortError> {
        Ok(self.state().denied.contains_key(jti))
    }

    async fn whole_since(&self) -> Result<UnixSeconds, PortError> {
        Ok(self.made_at)
    }
}

impl State {
    fn sweep(&mut self, clock: &dyn Clock) {
        if self.tokens.len() + self.denied.len() < self.sweep_at {
            return;
        }
        let now = self.passed.look(clock.now());
        self.tokens.retain(|_, token| match token {
            StoredToken::Live(record) => !record.has_expired(now),
            StoredToken::Revoked(mark) => !mark.has_expired(now),
            StoredToken::Absent => false,
        });
        // A token whose end is forgotten is active again, should its time not be over after all.
        self.denied.retain(|_, expires_at| expires_at.plus(MARGIN_OF_CLOCKS) > now);
        self.sweep_at = SMALLEST_SWEEP.max((self.tokens.len() + self.denied.len()) * 2);
    }
}

const SMALLEST_SWEEP: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_415_820;

    struct ClockAt(u64);

    impl Clock for ClockAt {
        fn now(&self) -> UnixSeconds {
            UnixSeconds(self.0)
        }
    }

    fn state(passed: u64) -> State {
        let denied = [("live", NOW + 3_600), ("just over", NOW - 1), ("over", NOW - 86_400)];
        State {
            tokens: HashMap::new(),
            denied: denied.map(|(jti, expires_at)| (jti.to_owned(), UnixSeconds(expires_at))).into(),
            passed: PassedTime::from(UnixSeconds(passed)),
            sweep_at: 0,
        }
    }

    #[test]
    fn what_has_ended_is_remembered_for_a_day_more_and_no_clock_that_runs_ahead_changes_that() {
        for ahead in [0, 7_200, 100 * 365 * 86_400] {
            let mut state = state(NOW);
            state.sweep(&ClockAt(NOW + ahead));
            let mut left: Vec<_> = state.denied.keys().map(String::as_str).collect();
            left.sort_unstable();
            assert_eq!(left, ["just over", "live"], "{ahead} s ahead");
        }
        let mut state = state(NOW + 3_600 + 86_400);
        state.sweep(&ClockAt(NOW + 3_600 + 86_400));
        assert!(state.denied.is_empty(), "{:?}", state.denied);
    }
}
