//! Key store and verification keys: a realm's keys are made once, changed by one writer at a time, and what is published is
//! what verifies.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantwell::core::access_token::settings::TokenLifetime;
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::jwk::{Pkcs8, SigningKeyPair};
use grantwell::core::keys::keyring::Keyring;
use grantwell::core::keys::retention::{Retention, SIGNERS_MAX_AGE};
use grantwell::core::keys::set::{KeySet, PUBLISHED_BEFORE_SIGNING};
use grantwell::core::ports::{KeyStoreError, SigningKeySource as _};
use grantwell::core::realm::{Realm, RealmName};
use grantwell::core::time::UnixSeconds;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{FixedClock, KeyPorts, NOW, realm_name};

/// A test for each case of the suite, on what `$open` evaluates to: an adapter on a store of its own.
macro_rules! key_store_suite {
    ($open:expr $(; #[$attribute:meta])*) => {
        $crate::conformance::tests_of_cases! { $(#[$attribute])*, $open; key_store:
            a_realm_without_keys_publishes_none,
            keys_read_back_sign_and_the_published_ones_verify,
            keys_are_created_once,
            of_many_who_create_at_once_all_get_the_same_keys,
            realms_do_not_share_keys,
            a_replacement_names_the_revision_it_replaces,
            a_key_that_signs_no_more_is_published_until_the_last_of_its_tokens_has_expired,
            of_two_replacements_at_once_one_wins,
            deleted_keys_are_gone_and_others_may_follow,
            nothing_private_is_published,
        }
    };
}
pub(crate) use key_store_suite;

/// The member that this server keeps a private key in, and those of a private JWK (RFC 7518 §6.2.2, §6.3.2).
pub(crate) const PRIVATE_MEMBERS: [&str; 9] = ["pkcs8", "d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Keys of every algorithm as they were stored before their form had a version; one of them has retired.
pub(crate) const OLDER_KEYS: &str = include_str!("../support/older-keys.json");

/// The first second in which the keys of [`key_set`] may rotate.
pub(crate) const ROTATED_AT: UnixSeconds = UnixSeconds(NOW.0 + PUBLISHED_BEFORE_SIGNING);

/// The first keys of a realm.
pub(crate) fn key_set() -> KeySet {
    KeySet::create(&[SigningAlgorithm::Es256], NOW).expect("keys")
}

pub(crate) async fn a_realm_without_keys_publishes_none(ports: &KeyPorts) {
    let opened = ports.open();
    let alpha = realm_name("alpha");
    assert!(opened.store.read_keys(&alpha).await.expect("read").is_none());
    assert_eq!(published(ports, &alpha).await, json!({"keys": []}));
    assert!(opened.store.read_keys(&alpha).await.expect("read").is_none(), "looking for keys does not make them");
    let replaced = opened.store.replace_keys(&alpha, &key_set().rotated(ROTATED_AT).expect("rotated")).await;
    assert_eq!(replaced, Err(KeyStoreError::Conflict), "there is nothing to replace");
    assert_eq!(published(ports, &alpha).await, json!({"keys": []}));
}

pub(crate) async fn keys_read_back_sign_and_the_published_ones_verify(ports: &KeyPorts) {
    for (name, alg) in
        [("es", SigningAlgorithm::Es256), ("ed", SigningAlgorithm::EdDsa), ("ps", SigningAlgorithm::Ps256)]
    {
        let (realm, created) = (realm_name(name), KeySet::create(&[alg], NOW).expect("keys"));
        ports.open().store.create_keys(&realm, &created).await.expect("created");
        let read = ports.open().store.read_keys(&realm).await.expect("read").expect("keys");
        assert_eq!(read.published(), created.published());
        assert!(read.signers().is_ok() && read.revision == 1);

        let jwks: JwkSet = serde_json::from_value(published(ports, &realm).await).expect("a JWK Set");
        let stored: Value = serde_json::from_str(&read.to_json().expect("JSON")).expect("JSON");
        let keys = stored["keys"].as_array().expect("a list");
        assert_eq!((keys.len(), jwks.keys.len()), (2, 2));
        for key in keys {
            let pkcs8: Pkcs8 = serde_json::from_value(key["pkcs8"].clone()).expect("a key");
            let pair = SigningKeyPair::from_pkcs8(alg, &pkcs8).expect("signs");
            verify(&sign(&pair, &key["jwk"]), &jwks);
        }
    }
}

pub(crate) async fn deleted_keys_are_gone_and_others_may_follow(ports: &KeyPorts) {
    let (alpha, beta, first) = (realm_name("alpha"), realm_name("beta"), key_set());
    assert_eq!(ports.open().store.delete_keys(&alpha).await, Ok(false), "there are none");
    for realm in [&alpha, &beta] {
        ports.open().store.create_keys(realm, &first).await.expect("created");
    }
    for were_there in [true, false] {
        assert_eq!(ports.open().store.delete_keys(&alpha).await, Ok(were_there));
        assert!(ports.open().store.read_keys(&alpha).await.expect("read").is_none());
        assert_eq!(published(ports, &alpha).await, json!({"keys": []}));
    }
    assert_eq!(kids(&published(ports, &beta).await), kids_of(&first), "another realm's stay");

    let second = key_set();
    ports.open().store.create_keys(&alpha, &second).await.expect("created");
    assert_eq!(kids(&published(ports, &alpha).await), kids_of(&second));
}

pub(crate) async fn keys_are_created_once(ports: &KeyPorts) {
    let (alpha, first) = (realm_name("alpha"), key_set());
    ports.open().store.create_keys(&alpha, &first).await.expect("created");
    for late in [&key_set(), &first] {
        assert_eq!(ports.open().store.create_keys(&alpha, late).await, Err(KeyStoreError::Conflict));
    }
    let read = ports.open().store.read_keys(&alpha).await.expect("read").expect("keys");
    assert_eq!(read.published(), first.published());
    assert_eq!(kids(&published(ports, &alpha).await), kids_of(&first));
}

pub(crate) async fn of_many_who_create_at_once_all_get_the_same_keys(ports: &KeyPorts) {
    let alpha = realm_name("alpha");
    let mut firsts = JoinSet::new();
    for _ in 0..24 {
        let (store, alpha) = (ports.open().store, alpha.clone());
        firsts.spawn(async move {
            let keyring = Keyring::new(store, Arc::new(FixedClock));
            let signers = keyring.signers(&alpha, SigningAlgorithm::Es256).await.expect("signers");
            signers.choose(SigningAlgorithm::Es256, NOW).expect("a signer").kid.clone()
        });
    }
    let signing = firsts.join_all().await;
    let read = ports.open().store.read_keys(&alpha).await.expect("read").expect("keys");
    let current = read.signers().expect("signers");
    let current = &current.choose(SigningAlgorithm::Es256, NOW).expect("a signer").kid;
    assert!(signing.iter().all(|kid| kid == current), "{signing:?}");
    assert_eq!((read.revision, kids(&published(ports, &alpha).await)), (1, kids_of(&read)));
}

pub(crate) async fn realms_do_not_share_keys(ports: &KeyPorts) {
    let names = ["root", "alpha", "Alpha"].map(realm_name);
    let sets = names.each_ref().map(|_| key_set());
    for (name, keys) in names.iter().zip(&sets) {
        ports.open().store.create_keys(name, keys).await.expect("created");
    }
    let rotated = sets[1].rotated(ROTATED_AT).expect("rotated");
    ports.open().store.replace_keys(&names[1], &rotated).await.expect("replaced");
    for (name, expected) in names.iter().zip([&sets[0], &rotated, &sets[2]]) {
        let read = ports.open().store.read_keys(name).await.expect("read").expect("keys");
        assert_eq!(read.published(), expected.published(), "{name}");
        assert_eq!(kids(&published(ports, name).await), kids_of(expected), "{name}");
    }
}

pub(crate) async fn a_replacement_names_the_revision_it_replaces(ports: &KeyPorts) {
    let (alpha, first) = (realm_name("alpha"), key_set());
    let opened = ports.open();
    opened.store.create_keys(&alpha, &first).await.expect("created");
    let second = first.rotated(ROTATED_AT).expect("rotated");
    opened.store.replace_keys(&alpha, &second).await.expect("replaced");
    assert_eq!(kids(&published(ports, &alpha).await), kids_of(&second));

    // The same change again, one that has not seen the last, and one from nowhere.
    for revision in [2, 1, 0, 4, u64::MAX] {
        let mut late = first.rotated(ROTATED_AT).expect("rotated");
        late.revision = revision;
        let replaced = ports.open().store.replace_keys(&alpha, &late).await;
        assert!(replaced.is_err(), "revision {revision}: {replaced:?}");
    }
    let read = ports.open().store.read_keys(&alpha).await.expect("read").expect("keys");
    assert_eq!(read.published(), second.published());
    assert_eq!(kids(&published(ports, &alpha).await), kids_of(&second));
}

pub(crate) async fn a_key_that_signs_no_more_is_published_until_the_last_of_its_tokens_has_expired(ports: &KeyPorts) {
    let (alpha, first) = (realm_name("alpha"), key_set());
    let opened = ports.open();
    opened.store.create_keys(&alpha, &first).await.expect("created");
    let rotated = first.rotated(ROTATED_AT).expect("rotated");
    opened.store.replace_keys(&alpha, &rotated).await.expect("replaced");
    let mut realm = Realm { revision: 1, ..Realm::new(alpha.clone()) };
    realm.settings.access_token_lifetime = Some(TokenLifetime::new(60).expect("in range"));
    let look = async |now| {
        let opened = ports.open();
        let keys = opened.store.read_keys(&alpha).await.expect("read").expect("keys");
        let keyring = Keyring::new(opened.store, Arc::new(FixedClock));
        keyring.retire(&alpha, &keys, Retention::of_realm(&realm), now).await.expect("looked");
        ports.open().store.read_keys(&alpha).await.expect("read").expect("keys").published()
    };

    // Found, which what is stored has to say; then shortened; then dropped.
    let found_at = ROTATED_AT.plus(1);
    assert_eq!(look(found_at).await.keys, rotated.published().keys);
    let ends_at = found_at.plus(SIGNERS_MAX_AGE + 60);
    let shortened = look(found_at.plus(SIGNERS_MAX_AGE)).await.keys;
    assert_eq!(shortened.iter().filter_map(|key| key.expires_at).collect::<Vec<_>>(), [ends_at]);
    assert_eq!(look(UnixSeconds(ends_at.0 - 1)).await.keys, shortened);
    assert_eq!(kids(&published(ports, &alpha).await), kids_of(&rotated));
    look(ends_at).await;
    let retired = kids_of(&first).swap_remove(0);
    let rest: Vec<_> = kids_of(&rotated).into_iter().filter(|kid| *kid != retired).collect();
    assert_eq!((rest.len(), kids(&published(ports, &alpha).await)), (2, rest));
}

pub(crate) async fn of_two_replacements_at_once_one_wins(ports: &KeyPorts) {
    let (alpha, first) = (realm_name("alpha"), key_set());
    ports.open().store.create_keys(&alpha, &first).await.expect("created");
    let (left, right) = (first.rotated(ROTATED_AT).expect("rotated"), first.rotated(ROTATED_AT).expect("rotated"));
    let (one, other) = (ports.open().store, ports.open().store);
    let (left_result, right_result) = tokio::join!(one.replace_keys(&alpha, &left), other.replace_keys(&alpha, &right));
    let winner = match (left_result, right_result) {
        (Ok(()), Err(KeyStoreError::Conflict)) => left,
        (Err(KeyStoreError::Conflict), Ok(())) => right,
        other => panic!("{other:?}"),
    };
    let read = ports.open().store.read_keys(&alpha).await.expect("read").expect("keys");
    assert_eq!(read.published(), winner.published());
    // Whoever reads sees to it that the winner's keys are the ones that are published.
    assert_eq!(kids(&published(ports, &alpha).await), kids_of(&winner));
}

pub(crate) async fn nothing_private_is_published(ports: &KeyPorts) {
    for (name, alg) in
        [("es", SigningAlgorithm::Es256), ("ed", SigningAlgorithm::EdDsa), ("rs", SigningAlgorithm::Rs256)]
    {
        let (realm, keys) = (realm_name(name), KeySet::create(&[alg], NOW).expect("keys"));
        ports.open().store.create_keys(&realm, &keys).await.expect("created");
        let jwks = published(ports, &realm).await;
        for key in jwks["keys"].as_array().expect("a list") {
            for member in PRIVATE_MEMBERS {
                assert!(key.get(member).is_none(), "{alg}: {member}");
            }
            assert_eq!((&key["use"], &key["alg"]), (&json!("sig"), &json!(alg.as_str())));
        }
    }
}

/// The JWKS document as another process would answer it.
async fn published(ports: &KeyPorts, realm: &RealmName) -> Value {
    let keys = ports.open().published.verification_keys(realm).await.expect("read");
    serde_json::to_value(keys.jwks()).expect("JSON")
}

fn kids(jwks: &Value) -> Vec<String> {
    let keys = jwks["keys"].as_array().expect("a list");
    keys.iter().map(|key| key["kid"].as_str().expect("text").to_owned()).collect()
}

/// The kids of every key in a set, in its order.
fn kids_of(keys: &KeySet) -> Vec<String> {
    keys.published().keys.into_iter().map(|key| key.jwk.kid.to_string()).collect()
}

fn sign(pair: &SigningKeyPair, jwk: &Value) -> String {
    let header = json!({"alg": jwk["alg"], "kid": jwk["kid"]});
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", part(header.to_string().as_bytes()), part(br#"{"sub":"somebody"}"#));
    let signature = pair.sign(message.as_bytes()).expect("signed");
    format!("{message}.{}", part(&signature))
}

#[track_caller]
fn verify(jwt: &str, jwks: &JwkSet) {
    let header = jsonwebtoken::decode_header(jwt).expect("a header");
    let key = jwks.find(&header.kid.expect("a kid")).expect("published");
    let mut validation = Validation::new(header.alg);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    let key = DecodingKey::from_jwk(key).expect("verifies");
    jsonwebtoken::decode::<Value>(jwt, &key, &validation).expect("signed by the published key");
}
