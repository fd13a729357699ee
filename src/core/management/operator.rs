//! What an operator works with: one registry, and the keys of its realms.

use std::sync::Arc;

use super::log::book::{Logbook, Logging};
use crate::core::client::secret_storage::SecretStorage;
use crate::core::keys::keyring::Keyring;
use crate::core::ports::{AdminLog, Clock, KeyStore, Registrar};
use crate::core::random::Random;

/// The use cases over one registry and the keys of its realms.
pub struct Management {
    pub(super) book: Arc<Logbook>,
    pub(super) log: Arc<dyn AdminLog>,
    pub(super) registrar: Arc<dyn Registrar>,
    pub(super) keyring: Keyring,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) rotates_secrets: bool,
}

impl Management {
    /// The use cases over `registrar`, whose realms sign with the keys in `keys`. Each change leaves a line in the log of `logging`.
    pub fn new(
        registrar: Arc<dyn Registrar>,
        keys: Arc<dyn KeyStore>,
        logging: Logging,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let log = Arc::clone(&logging.log);
        let book = Logbook::new(logging, registrar, Arc::clone(&clock), Arc::clone(&random));
        let keyring = Keyring::new(book.key_store(keys), Arc::clone(&clock));
        Self { registrar: book.registrar(), keyring, book, log, clock, random, rotates_secrets: false }
    }

    /// Where the secrets of a client are kept that does not say, and was registered when its realm did not.
    pub fn default_secret_storage(&self) -> SecretStorage {
        if self.rotates_secrets { SecretStorage::SecretsManager } else { SecretStorage::Digest }
    }

    /// The same over a registry whose secrets are rotated by schedule.
    #[must_use]
    pub fn with_scheduled_rotation(self) -> Self {
        Self { rotates_secrets: true, ..self }
    }
}
