//! One machine's adapters: a registry in SQLite, and issued tokens on the disk or in memory.

use std::convert::Infallible;
use std::sync::Arc;

use super::store::fault::StoreError;
use super::store::memory::MemoryTokens;
use super::store::quotas::MemoryQuotas;
use super::store::registry::SqliteRegistry;
use super::store::remote_keys::MemoryKeyCopies;
use super::store::replay_guard::MemoryReplayGuard;
use super::store::tokens::SqliteTokens;
use super::store::use_marks::MemoryUseMarks;
use crate::app::Adapters;
use crate::core::audit::AuditSink;
use crate::core::keys::keyring::Keyring;
use crate::core::ports::{
    ClientRegistry, Clock as _, Denylist, KeyCopies, QuotaCounter, ReplayGuard, SecretSource, SigningKeySource,
    TokenStore, UseMarks, VerificationKeySource,
};
use crate::observe::metrics::Counter;
use crate::observe::{LogRefusalsSparingly, Observer};
use crate::system::SystemClock;

/// What one process keeps on its machine. Clones share it.
#[derive(Clone)]
pub struct EmbeddedAdapters {
    registry: Arc<SqliteRegistry>,
    tokens: Arc<dyn TokenStore>,
    denylist: Arc<dyn Denylist>,
    quotas: Arc<dyn QuotaCounter>,
    key_copies: Arc<dyn KeyCopies>,
    replay_guard: Arc<dyn ReplayGuard>,
    use_marks: Arc<dyn UseMarks>,
    audit: Arc<dyn AuditSink>,
    observer: Arc<Observer>,
}

impl EmbeddedAdapters {
    /// Everything in memory: gone when the process ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn in_memory() -> Result<Self, StoreError> {
        let tokens = Arc::new(MemoryTokens::new(Arc::new(SystemClock)));
        Ok(Self::over(Arc::new(SqliteRegistry::in_memory()?), tokens, Arc::new(MemoryQuotas::default())))
    }

    /// Everything in the files of `registry` and `tokens`.
    pub fn on_disk(registry: Arc<SqliteRegistry>, tokens: &Arc<SqliteTokens>) -> Self {
        let (replay_guard, use_marks) = (tokens.replay_guard(), tokens.use_marks());
        Self { replay_guard, use_marks, ..Self::over(registry, Arc::clone(tokens), tokens.quotas()) }
    }

    /// Over any store of tokens, which remembers their ends too. What has been used once, and who was last used when, is remembered in memory.
    pub fn over(
        registry: Arc<SqliteRegistry>,
        tokens: Arc<impl TokenStore + Denylist + 'static>,
        quotas: Arc<dyn QuotaCounter>,
    ) -> Self {
        let replay_guard = Arc::new(MemoryReplayGuard::default());
        let use_marks = Arc::new(MemoryUseMarks::new(SystemClock.now()));
        let observer: Arc<Observer> = Arc::default();
        let audit = Arc::clone(&observer) as _;
        Self {
            registry,
            tokens: Arc::clone(&tokens) as _,
            denylist: tokens,
            quotas,
            replay_guard,
            use_marks,
            key_copies: Arc::new(MemoryKeyCopies::default()),
            audit,
            observer,
        }
    }

    /// Counts in `counter` what endpoints and caches do.
    #[must_use]
    pub fn counting_in(self, counter: Arc<dyn Counter>) -> Self {
        let observer = Arc::new(Observer::counting_in(counter));
        Self { audit: Arc::clone(&observer) as _, observer, ..self }
    }

    /// Logs refusals of one kind once in a while, however many there are. What was left out is logged for as long as this is used,
    /// and once more at its end.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[must_use]
    pub fn logging_refusals_sparingly(self) -> Self {
        let audit = Arc::new(LogRefusalsSparingly::new(self.observer(), self.clock()));
        let used = Arc::downgrade(&audit);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LogRefusalsSparingly::INTERVAL / 2).await;
                let Some(audit) = used.upgrade() else { return };
                audit.tell_when_due();
            }
        });
        Self { audit, ..self }
    }

    /// The registry as who registers clients sees it.
    pub fn sqlite_registry(&self) -> &Arc<SqliteRegistry> {
        &self.registry
    }
}

impl Adapters for EmbeddedAdapters {
    type Error = Infallible;

    fn registry(&self) -> Result<Arc<dyn ClientRegistry>, Infallible> {
        Ok(Arc::clone(&self.registry) as _)
    }

    fn secrets(&self) -> Result<Arc<dyn SecretSource>, Infallible> {
        Ok(Arc::clone(&self.registry) as _)
    }

    fn tokens(&self) -> Result<Arc<dyn TokenStore>, Infallible> {
        Ok(Arc::clone(&self.tokens))
    }

    fn denylist(&self) -> Result<Arc<dyn Denylist>, Infallible> {
        Ok(Arc::clone(&self.denylist))
    }

    fn quotas(&self) -> Result<Arc<dyn QuotaCounter>, Infallible> {
        Ok(Arc::clone(&self.quotas))
    }

    fn replay_guard(&self) -> Result<Arc<dyn ReplayGuard>, Infallible> {
        Ok(Arc::clone(&self.replay_guard))
    }

    fn use_marks(&self) -> Result<Arc<dyn UseMarks>, Infallible> {
        Ok(Arc::clone(&self.use_marks))
    }

    fn signing_keys(&self) -> Result<Arc<dyn SigningKeySource>, Infallible> {
        Ok(Arc::new(Keyring::new(Arc::clone(&self.registry) as _, self.clock())))
    }

    fn verification_keys(&self) -> Result<Arc<dyn VerificationKeySource>, Infallible> {
        Ok(Arc::clone(&self.registry) as _)
    }

    fn key_copies(&self) -> Result<Arc<dyn KeyCopies>, Infallible> {
        Ok(Arc::clone(&self.key_copies))
    }

    fn audit(&self) -> Arc<dyn AuditSink> {
        Arc::clone(&self.audit)
    }

    fn observer(&self) -> Arc<Observer> {
        Arc::clone(&self.observer)
    }
}
