//! Signing keys of realms: published before they sign, replaced, taken out.

use super::operator::Management;
use super::outcome::{Changed, ManagementError, Notice, Subject};
use crate::core::access_token::settings::AccessTokenFormat;
use crate::core::client::Client;
use crate::core::keys::SigningAlgorithm;
use crate::core::keys::jwk::KeyId;
use crate::core::keys::keyring::KeyChangeError;
use crate::core::keys::published::{KeyStatus, PublishedKeys};
use crate::core::keys::set::KeySet;
use crate::core::realm::{Realm, RealmName};
use crate::core::realms::Realms;

impl Management {
    /// The public halves of the realm's keys; none where it has signed nothing yet.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn keys(&self, realm: &RealmName) -> Result<PublishedKeys, ManagementError> {
        self.realm(realm).await?;
        Ok(self.keyring.read(realm).await?.map(|keys| keys.published()).unwrap_or_default())
    }

    /// Has the next keys of the realm sign from now on.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn rotate_keys(&self, realm: &RealmName) -> Result<Changed<PublishedKeys>, ManagementError> {
        let realm = self.realm(realm).await?;
        self.require_operator(&realm.name).await?;
        let alg = Realms::signing_alg(&realm);
        if self.keyring.read(&realm.name).await?.is_none() {
            let first = self.keyring.read_or_create(&realm.name, &[alg]).await?;
            return Ok(Changed { record: first.published(), notices: vec![Notice::FirstKeysMade(realm.name)] });
        }
        let rotated = self.keyring.rotate(&realm.name, alg).await;
        let rotated = rotated.map_err(|error| not_changed(error, &realm.name))?;
        Ok(Changed { record: rotated.published(), notices: Vec::new() })
    }

    /// Takes a leaked key out at once.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn revoke_key(&self, realm: &RealmName, kid: &KeyId) -> Result<PublishedKeys, ManagementError> {
        self.realm(realm).await?;
        self.require_operator(realm).await?;
        let mut revoked = self.keyring.revoke(realm, kid).await;
        // The key is to be gone whatever else has become of the set. A rotation is not repeated: somebody else's may be the one
        // that was wanted.
        if matches!(revoked, Err(KeyChangeError::Conflict)) {
            revoked = self.keyring.revoke(realm, kid).await;
        }
        Ok(revoked.map_err(|error| not_changed(error, realm))?.published())
    }

    /// Sees to it that the realm has keys for the tokens that are about to be set, those of `client` or its own, so that they are
    /// published before a token is signed with them: a resource server that starts first would find none. Does nothing where nothing is
    /// said of signatures. Says so where it takes its time until a key signs.
    ///
    /// # Errors
    /// [`ManagementError::KeysNotMade`]. Called before the setting is stored, so that there is none without its keys.
    pub(super) async fn publish_in_advance(
        &self,
        realm: &Realm,
        client: Option<&Client>,
    ) -> Result<Option<Notice>, ManagementError> {
        let (own, realms_own) = (&realm.settings, Realms::signing_alg(realm));
        let (format, named_alg, alg) = match client {
            None => (own.access_token_format.unwrap_or_default(), own.access_token_signing_alg, realms_own),
            Some(client) => {
                let settings = client.access_token_settings(realm);
                (settings.format, client.metadata.access_token_signing_alg, settings.signing_alg)
            }
        };
        if format != AccessTokenFormat::Jwt && named_alg.is_none() {
            return Ok(None);
        }
        let not_made = |error: KeyChangeError| ManagementError::KeysNotMade { realm: realm.name.clone(), error };
        let before = self.keyring.read(&realm.name).await.map_err(|error| not_made(error.into()))?;
        // The first keys of a realm would be the client's alone, and would sign for those that leave the algorithm to the realm.
        let algs: &[SigningAlgorithm] = if before.is_none() { &[realms_own, alg] } else { &[alg] };
        self.add_algorithms(&realm.name, algs).await.map_err(not_made)?;
        let has_to_wait = before.is_some_and(|keys| !has_algorithm(&keys, alg));
        Ok(has_to_wait.then_some(Notice::SignsOncePublished(alg)))
    }

    /// Whoever acts for owners has keys made for the tokens of their clients, and does nothing else to them.
    pub(super) async fn require_operator(&self, realm: &RealmName) -> Result<(), ManagementError> {
        self.book.require_operator().await.map_err(|error| Subject::Realm(realm.clone()).refused(error))
    }

    /// Adding what is there already changes nothing, so it is simply tried again where somebody else was quicker.
    async fn add_algorithms(&self, realm: &RealmName, algs: &[SigningAlgorithm]) -> Result<(), KeyChangeError> {
        const ATTEMPTS: usize = 5;
        let mut outcome = Err(KeyChangeError::Conflict);
        for _ in 0..ATTEMPTS {
            outcome = self.keyring.add_algorithms(realm, algs).await.map(|_keys| ());
            if outcome != Err(KeyChangeError::Conflict) {
                break;
            }
        }
        outcome
    }
}

fn has_algorithm(keys: &KeySet, alg: SigningAlgorithm) -> bool {
    keys.published().keys.iter().any(|key| key.jwk.alg == alg && key.status != KeyStatus::Previous)
}

fn not_changed(error: KeyChangeError, realm: &RealmName) -> ManagementError {
    match error {
        KeyChangeError::Port(error) => ManagementError::Port(error),
        error => ManagementError::Keys { realm: realm.clone(), error },
    }
}
