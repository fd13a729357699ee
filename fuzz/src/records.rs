//! What is read from the stores: records, registrations, keys, counts. A store that somebody has written into by hand, or whose disk
//! lies, is an error of one request and nothing worse.

use grantwell::core::access_token::record::{AccessTokenRecord, RevokedToken, StoredToken};
use grantwell::core::client::Client;
use grantwell::core::keys::published::PublishedKeys;
use grantwell::core::keys::set::KeySet;
use grantwell::core::realm::Realm;
use grantwell::core::time::UnixSeconds;
use grantwell::{aws, embedded};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A line that names what is stored, and then that: what is read can be written, and means the same.
pub fn records(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (kind, stored) = (&input[..end], &input[end + 1..]);
    match kind {
        b"record" => {
            if let Some(token) = embedded::store::tokens::read_token(stored) {
                token_reads_back(&token);
                // What a record is has its byte, and what a mark is has another.
                assert_eq!(matches!(token, StoredToken::Live(_)), stored[8] == AccessTokenRecord::VERSION);
            }
        }
        b"keys" => keys(stored),
        b"published" => {
            if let Some(published) = json::<PublishedKeys>(stored) {
                reads_back(&published);
                let _ = published.verification_keys();
            }
        }
        b"item" => item(stored),
        b"registration" => drop(json::<Client>(stored).inspect(reads_back)),
        b"realm" => drop(json::<Realm>(stored).inspect(reads_back)),
        b"token" => drop(json::<AccessTokenRecord>(stored).inspect(reads_back)),
        _ => {}
    }
}

/// The attributes of a DynamoDB item, as JSON has them, read as each thing that items are.
fn item(stored: &[u8]) {
    let Some(attributes) = json::<Value>(stored) else { return };
    if let Some(token) = aws::store::tokens::read_token(&attributes) {
        // Nothing that is missing or of another type makes a token that lives for ever.
        let expires_at = token_reads_back(&token);
        assert_eq!(attributes["expires_at"].as_u64(), Some(expires_at.0), "{attributes}");
        if let StoredToken::Live(_) = token {
            assert_ne!(attributes["version"].as_u64(), Some(RevokedToken::VERSION.into()), "{attributes}");
        }
    }
    if let Some(count) = aws::store::quotas::read_count(&attributes) {
        assert_eq!(attributes["tokens"].as_u64(), Some(count), "{attributes}");
    }
    let (realm, client_id) = ("alpha".parse().expect("a name"), "myClient".parse().expect("an id"));
    if let Some(client) = aws::store::registry::read_registration(&attributes, &realm, &client_id) {
        reads_back(&client);
        assert!(client.realm == realm && client.client_id == client_id, "{attributes}");
    }
    if let Some(settings) = aws::store::registry::read_settings(&attributes, &realm) {
        reads_back(&settings);
        assert_eq!(settings.name, realm, "{attributes}");
    }
}

/// When it expires.
fn token_reads_back(token: &StoredToken) -> UnixSeconds {
    match token {
        StoredToken::Live(record) => {
            reads_back(record.as_ref());
            record.expires_at
        }
        StoredToken::Revoked(mark) => {
            reads_back(mark);
            mark.expires_at
        }
        StoredToken::Absent => unreachable!("what is stored is not absent"),
    }
}

/// A set of keys: whatever signs is verified by what is published of it.
fn keys(stored: &[u8]) {
    let Ok(text) = std::str::from_utf8(stored) else { return };
    let Ok(set) = KeySet::from_json(text) else { return };
    let written = set.to_json().expect("a set that was read");
    let again = KeySet::from_json(&written).expect("a set that was written");
    assert_eq!(again.published(), set.published());
    let public = serde_json::to_string(&set.published()).expect("JSON");
    assert!(!public.contains("pkcs8"));
    let _ = (set.rotated(UnixSeconds(1_800_000_000)), set.published().verification_keys());
    let Ok(signers) = set.present_and_future_signers() else { return };
    let verifiers = set.published().verification_keys().expect("the public half of a key that signs");
    assert!(signers.iter().all(|signer| verifiers.know(signer.kid.as_str())));
}

fn json<T: DeserializeOwned>(stored: &[u8]) -> Option<T> {
    serde_json::from_slice(stored).ok()
}

fn reads_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let written = serde_json::to_string(value).expect("what was read");
    assert_eq!(&serde_json::from_str::<T>(&written).expect("what was written"), value);
}
