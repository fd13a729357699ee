//! Token store: what is put is there, until its owner ends it.

use grantwell::core::access_token::record::{AccessTokenRecord, Revocation};
use grantwell::core::access_token::{TokenDigest, opaque};
use grantwell::core::random::Random as _;
use grantwell::core::realm::PublicUrl;
use grantwell::core::resource::Audience;
use grantwell::core::time::UnixSeconds;
use grantwell::system::SystemRandom;
use tokio::task::JoinSet;

use super::{NOW, TokenPorts, client_id, realm_name, registration_id};

/// A test for each case of the suite, on what `$open` evaluates to: an adapter on a store of its own.
macro_rules! token_store_suite {
    ($open:expr $(; #[$attribute:meta])*) => {
        $crate::conformance::tests_of_cases! { $(#[$attribute])*, $open; token_store:
            a_stored_token_reads_back_whole,
            an_unknown_token_is_not_there,
            a_client_ends_its_own_token,
            another_clients_token_stays,
            an_expired_token_leaves_nothing_to_revoke,
            tokens_stored_at_once_are_all_there,
        }
    };
}
pub(crate) use token_store_suite;

pub(crate) async fn a_stored_token_reads_back_whole(ports: &TokenPorts) {
    let (digest, record) = (digest(), record("myClient"));
    ports.tokens.put(&digest, &record).await.expect("stored");
    assert_eq!(ports.tokens.get(&digest).await, Ok(Some(record)));
}

pub(crate) async fn an_unknown_token_is_not_there(ports: &TokenPorts) {
    let unknown = digest();
    assert_eq!(ports.tokens.get(&unknown).await, Ok(None));
    let revoked = ports.tokens.revoke(&unknown, &realm_name("alpha"), &client_id("myClient"), NOW).await;
    assert_eq!(revoked, Ok(Revocation::NotFound));
    assert_eq!(ports.tokens.get(&unknown).await, Ok(None), "looking for a token does not make it");
}

pub(crate) async fn a_client_ends_its_own_token(ports: &TokenPorts) {
    let (ended, other, record) = (digest(), digest(), record("myClient"));
    for digest in [&ended, &other] {
        ports.tokens.put(digest, &record).await.expect("stored");
    }
    let revoke = async || ports.tokens.revoke(&ended, &realm_name("alpha"), &client_id("myClient"), NOW).await;
    assert_eq!(revoke().await, Ok(Revocation::Revoked { audit_tracking_id: record.audit_tracking_id.clone() }));
    assert_eq!(ports.tokens.get(&ended).await, Ok(None));
    assert_eq!(revoke().await, Ok(Revocation::NotFound));
    assert_eq!(ports.tokens.get(&other).await, Ok(Some(record)), "the client's other token");
}

pub(crate) async fn another_clients_token_stays(ports: &TokenPorts) {
    let (digest, record) = (digest(), record("myClient"));
    ports.tokens.put(&digest, &record).await.expect("stored");
    // A client is its realm and its id; ids are compared by case.
    for (realm, client) in [("alpha", "other"), ("beta", "myClient"), ("alpha", "MyClient"), ("root", "myClient")] {
        let revoked = ports.tokens.revoke(&digest, &realm_name(realm), &client_id(client), NOW).await;
        assert_eq!(revoked, Ok(Revocation::NotOwner), "{client} of {realm}");
    }
    assert_eq!(ports.tokens.get(&digest).await, Ok(Some(record)));
}

pub(crate) async fn an_expired_token_leaves_nothing_to_revoke(ports: &TokenPorts) {
    for (expires_at, owner) in
        [(NOW, "myClient"), (UnixSeconds(NOW.0 - 3600), "myClient"), (UnixSeconds(NOW.0 - 1), "other")]
    {
        let digest = digest();
        let record = AccessTokenRecord { expires_at, ..record(owner) };
        ports.tokens.put(&digest, &record).await.expect("stored");
        let read = ports.tokens.get(&digest).await.expect("read");
        assert!(read.is_none_or(|read| read == record), "what is left of it still says when it expired");
        let revoked = ports.tokens.revoke(&digest, &realm_name("alpha"), &client_id("myClient"), NOW).await;
        assert_eq!(revoked, Ok(Revocation::NotFound), "expired at {expires_at}, of {owner}");
    }
}

pub(crate) async fn tokens_stored_at_once_are_all_there(ports: &TokenPorts) {
    let mut writers = JoinSet::new();
    for writer in 0..24 {
        let tokens = ports.tokens.clone();
        writers.spawn(async move {
            let (digest, record) = (digest(), record(&format!("client-{writer}")));
            tokens.put(&digest, &record).await.expect("stored");
            (digest, record)
        });
    }
    for (digest, record) in writers.join_all().await {
        assert_eq!(ports.tokens.get(&digest).await, Ok(Some(record)));
    }
}

pub(crate) fn digest() -> TokenDigest {
    let mut bits = [[0; 16]; 2];
    SystemRandom.fill(bits.as_flattened_mut()).expect("random bytes");
    opaque::of_random_bits(&bits).digest()
}

/// A token of realm alpha.
pub(crate) fn record(client: &str) -> AccessTokenRecord {
    let public: PublicUrl = "https://auth.example.com".parse().expect("a URL");
    AccessTokenRecord {
        realm: realm_name("alpha"),
        client_id: client_id(client),
        registration_id: registration_id(),
        scope: "read write".parse().expect("well formed"),
        iss: public.issuer("/am/oauth2/realms/root/realms/alpha"),
        aud: Audience::One("https://api.example.com/orders".parse().expect("absolute")),
        iat: NOW,
        expires_at: NOW.plus(3600),
        jti: "AAECAwQFBgcICQoLDA0ODw".to_owned(),
        audit_tracking_id: "00010203-0405-4607-8809-0a0b0c0d0e0f".to_owned(),
        claims: r#"{"tier":"gold","limits":{"rate":1.0}}"#.parse().expect("claims"),
    }
}
