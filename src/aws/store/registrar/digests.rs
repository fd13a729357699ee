//! The secrets that a registration keeps itself, as digests: they change with it, in one write.

use super::{AwsRegistrar, Condition, Written};
use crate::core::client::Client;
use crate::core::client::registered_secrets::RegisteredSecrets;
use crate::core::client::secret::ClientSecret;
use crate::core::client::secret_storage::SecretStorage;
use crate::core::ports::{Registrar as _, RegistrarError};

impl AwsRegistrar {
    /// One write, with the digest of the secret where there is one. What an earlier client of this id may have left in Secrets Manager
    /// is another registration's, and nobody asks for it.
    pub(super) async fn register_alone(
        &self,
        client: &Client,
        secret: Option<&ClientSecret>,
    ) -> Result<(), RegistrarError> {
        let first = |secret: &ClientSecret| RegisteredSecrets::first(secret.digest(), client.client_id_issued_at);
        let client = Client { secret_digests: secret.map(first), ..client.clone() };
        match self.put_client(&client, &self.write_id()?, &Condition::Absent).await? {
            Written::Stored => Ok(()),
            Written::Refused(_) => Err(RegistrarError::AlreadyExists),
        }
    }

    /// Changes the digests of a registration as `change` says. Where somebody else changes it meanwhile, of what they have made of it.
    pub(super) async fn change_digests(
        &self,
        stored: Client,
        change: impl Fn(Option<RegisteredSecrets>) -> Option<RegisteredSecrets>,
    ) -> Result<(), RegistrarError> {
        let mut stored = stored;
        for _ in 0..ATTEMPTS {
            let secret_digests = change(stored.secret_digests.clone());
            if secret_digests == stored.secret_digests {
                return Ok(());
            }
            let changed = Client { secret_digests, revision: stored.revision.saturating_add(1), ..stored.clone() };
            match self.replace(&changed).await {
                Err(RegistrarError::Conflict) => {}
                ended => return ended,
            }
            let now = self.read(&stored.realm, &stored.client_id).await?;
            if now.registration_id != stored.registration_id || now.secret_storage() != SecretStorage::Digest {
                break;
            }
            stored = now;
        }
        Err(RegistrarError::Conflict)
    }
}

/// How often a change is made again on what others have stored meanwhile.
const ATTEMPTS: usize = 4;
