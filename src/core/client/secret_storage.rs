//! Where the secrets of a client are kept.

use serde::{Deserialize, Serialize};

/// Where a deployed stack keeps the secrets of a client. A local server keeps digests, whatever is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretStorage {
    /// In the clear in Secrets Manager, where the application can read its own and a schedule can replace it.
    #[default]
    SecretsManager,
    /// As SHA-256 digests on the registration, which are read with it and cost nothing more.
    Digest,
}

impl SecretStorage {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::SecretsManager, Self::Digest];

    /// The name as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecretsManager => "secrets-manager",
            Self::Digest => "digest",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_what_is_stored() {
        for storage in SecretStorage::ALL {
            assert_eq!(serde_json::to_value(storage).expect("serializes"), storage.as_str());
        }
    }
}
