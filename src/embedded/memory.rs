//! Issued tokens in memory, for tests and the demo: gone when the process ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::passed_time::{MARGIN_OF_CLOCKS, PassedTime};
use crate::core::access_token::TokenDigest;
use crate::core::access_token::record::AccessTokenRecord;
use crate::core::client::ClientId;
use crate::core::ports::{Clock, Denylist, PortError, Revocation, TokenStore, UnixSeconds};
use crate::core::realm::RealmName;

/// A [`TokenStore`] and a [`Denylist`] in memory. What has expired is dropped whenever the number of entries has doubled.
pub struct MemoryTokens {
    clock: Arc<dyn Clock>,
    made_at: UnixSeconds,
    state: Mutex<State>,
}

struct State {
    tokens: HashMap<TokenDigest, AccessTokenRecord>,
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
        state.tokens.insert(*digest, record.clone());
        state.sweep(self.clock.as_ref());
        Ok(())
    }

    async fn get(&self, digest: &TokenDigest) -> Result<Option<AccessTokenRecord>, PortError> {
        Ok(self.state().tokens.get(digest).cloned())
    }

    async fn revoke(
        &self,
        digest: &TokenDigest,
        realm: &RealmName,
        client_id: &ClientId,
        now: UnixSeconds,
    ) -> Result<Revocation, PortError> {
        let mut state = self.state();
        let outcome = Revocation::of(state.tokens.get(digest), realm, client_id, now);
        if matches!(outcome, Revocation::Revoked { .. }) {
            state.tokens.remove(digest);
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
        self.tokens.retain(|_, record| !record.has_expired(now));
        // A token whose end is forgotten is active again, should its time not be over after all.
        self.denied.retain(|_, expires_at| expires_at.plus(MARGIN_OF_CLOCKS) > now);
        self.sweep_at = SMALLEST_SWEEP.max((self.tokens.len() + self.denied.len()) * 2);
    }
}

const SMALLEST_SWEEP: usize = 1024;
