//! `--secret-storage`, of a client and of its realm.

use grantwell::core::client::secret_storage::SecretStorage;

use crate::access_token::{Setting, setting};

/// The text names no place for secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnknownSecretStorage {
    #[error("secrets are kept in secrets-manager or as a digest")]
    OfClient,
    #[error("secrets are kept in secrets-manager or as a digest; '' removes the setting")]
    OfRealm,
}

/// Parses the option of a client, which always has one of them.
pub(crate) fn of_client(text: &str) -> Result<SecretStorage, UnknownSecretStorage> {
    named(text).ok_or(UnknownSecretStorage::OfClient)
}

/// Parses the option of a realm.
pub(crate) fn of_realm(text: &str) -> Result<Setting<SecretStorage>, UnknownSecretStorage> {
    setting(text, named(text), UnknownSecretStorage::OfRealm)
}

fn named(text: &str) -> Option<SecretStorage> {
    SecretStorage::ALL.into_iter().find(|storage| storage.as_str() == text)
}
