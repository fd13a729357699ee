//! The signing keys of realms.

use grantwell::core::client::Client;
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::keyring::{KeyChangeError, Keyring};
use grantwell::core::keys::set::{KeySet, KeyStatus, PUBLISHED_BEFORE_SIGNING};
use grantwell::core::realm::{Realm, RealmName, Realms};

use crate::failure::Failure;
use crate::output;
use crate::store::Store;

/// Sees to it that the realm has keys of the algorithm just set, for `client` or for itself, so that they are published
/// before a token is signed with them. Says so where that takes its time.
pub(crate) async fn publish_in_advance(store: &Store, realm: &Realm, client: Option<&Client>) -> Result<(), Failure> {
    let keyring = store.keyring();
    let realms_own = Realms::signing_alg(realm);
    let alg = client.map_or(realms_own, |client| client.access_token_settings(realm).signing_alg);
    let before = keyring.read(&realm.name).await?;
    let not_added = |error| not_added(&error, realm, client);
    add_algorithm(&keyring, &realm.name, alg).await.map_err(not_added)?;
    // The first keys of a realm would be the client's alone, and would sign for those that leave the algorithm to the realm.
    if before.is_none() && alg != realms_own {
        add_algorithm(&keyring, &realm.name, realms_own).await.map_err(not_added)?;
    }
    if before.is_some_and(|keys| !has_algorithm(&keys, alg)) {
        output::note(&format!(
            "tokens are signed with {alg} once its key has been published for {} minutes, so that every resource server \
             knows it; until then the key before it signs",
            PUBLISHED_BEFORE_SIGNING / 60
        ));
    }
    Ok(())
}

/// Adding what is there already changes nothing, so it is simply tried again where somebody else was quicker.
async fn add_algorithm(keyring: &Keyring, realm: &RealmName, alg: SigningAlgorithm) -> Result<(), KeyChangeError> {
    const ATTEMPTS: usize = 5;
    let mut outcome = Err(KeyChangeError::Conflict);
    for _ in 0..ATTEMPTS {
        outcome = keyring.add_algorithm(realm, alg).await.map(|_keys| ());
        if outcome != Err(KeyChangeError::Conflict) {
            break;
        }
    }
    outcome
}

/// The setting is stored by now: what is missing is the keys.
fn not_added(error: &KeyChangeError, realm: &Realm, client: Option<&Client>) -> Failure {
    let name = &realm.name;
    let option =
        |alg: Option<SigningAlgorithm>| format!("--signing-alg {}", alg.map_or("''", SigningAlgorithm::as_str));
    let command = match client {
        None => format!("grantwell realm set {name} {}", option(realm.settings.access_token_signing_alg)),
        Some(client) => {
            let option = option(client.metadata.access_token_signing_alg);
            format!("grantwell client update {} {option} --realm {name}", client.client_id)
        }
    };
    Failure::new(format!(
        "the setting is stored, but realm '{name}' has no key of that algorithm yet: {error}; repeat it with: {command}"
    ))
}

fn has_algorithm(keys: &KeySet, alg: SigningAlgorithm) -> bool {
    keys.published().keys.iter().any(|key| key.jwk.alg == alg && key.status != KeyStatus::Previous)
}
