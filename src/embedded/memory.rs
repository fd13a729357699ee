//! Issued tokens in memory, for tests and the demo: gone when the process ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::core::access_token::TokenDigest;
use crate::core::access_token::record::AccessTokenRecord;
use crate::core::client::ClientId;
use crate::core::ports::{Clock, PortError, Revocation, TokenStore, UnixSeconds};
use crate::core::realm::RealmName;

/// A [`TokenStore`] in memory. Expired tokens are dropped whenever the number of tokens has doubled.
pub struct MemoryTokens {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    tokens: HashMap<TokenDigest, AccessTokenRecord>,
    sweep_at: usize,
}

impl MemoryTokens {
    /// An empty store that drops tokens which have expired by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::new(State { tokens: HashMap::new(), sweep_at: SMALLEST_SWEEP }) }
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
        if state.tokens.len() >= state.sweep_at {
            let now = self.clock.now();
            state.tokens.retain(|_, record| !record.has_expired(now));
            state.sweep_at = SMALLEST_SWEEP.max(state.tokens.len() * 2);
        }
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

const SMALLEST_SWEEP: usize = 1024;
