//! Token store: what is put is there, until its owner ends it.

use grantwell::core::access_token::record::{AccessTokenRecord, Revocation, RevokedToken, StoredToken};
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
            a_revoked_token_is_nobodys,
            of_many_who_revoke_at_once_one_has_done_it,
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
    assert_eq!(ports.tokens.get(&digest).await, Ok(live(&record)));
}

pub(crate) async fn an_unknown_token_is_not_there(ports: &TokenPorts) {
    let unknown = digest();
    assert_eq!(ports.tokens.get(&unknown).await, Ok(StoredToken::Absent));
    let revoked = ports.tokens.revoke(&unknown, &realm_name("alpha"), &client_id("myClient"), NOW).await;
    assert_eq!(revoked, Ok(Revocation::NotFound));
    assert_eq!(ports.tokens.get(&unknown).await, Ok(StoredToken::Absent), "looking for a token does not make it");
}

pub(crate) async fn a_client_ends_its_own_token(ports: &TokenPorts) {
    let (ended, other, record) = (digest(), digest(), record("myClient"));
    for digest in [&ended, &other] {
        ports.tokens.put(digest, &record).await.expect("stored");
    }
    let revoke = async || ports.tokens.revoke(&ended, &realm_name("alpha"), &client_id("myClient"), NOW).await;
    assert_eq!(revoke().await, Ok(Revocation::Revoked { audit_tracking_id: record.audit_tracking_id.clone() }));
    assert_eq!(ports.tokens.get(&ended).await, Ok(revoked(&record)));
    assert_eq!(revoke().await, Ok(Revocation::NotFound));
    assert_eq!(ports.tokens.get(&ended).await, Ok(revoked(&record)), "and stays so");
    assert_eq!(ports.tokens.get(&other).await, Ok(live(&record)), "the client's other token");
}

pub(crate) async fn a_revoked_token_is_nobodys(ports: &TokenPorts) {
    let (digest, record) = (digest(), record("myClient"));
    ports.tokens.put(&digest, &record).await.expect("stored");
    ports.tokens.revoke(&digest, &record.realm, &record.client_id, NOW).await.expect("revoked");
    // Another client's attempt, one of another realm, one after its time: nothing to revoke, and nothing of the mark changes.
    for (realm, client, now) in [
        ("alpha", "other", NOW),
        ("beta", "myClient", NOW),
        ("alpha", "myClient", record.expires_at),
        ("alpha", "other", record.expires_at),
    ] {
        let again = ports.tokens.revoke(&digest, &realm_name(realm), &client_id(client), now).await;
        assert_eq!(again, Ok(Revocation::NotFound), "{client} of {realm} at {now}");
        assert_eq!(ports.tokens.get(&digest).await, Ok(revoked(&record)), "{client} of {realm} at {now}");
    }
}

pub(crate) async fn of_many_who_revoke_at_once_one_has_done_it(ports: &TokenPorts) {
    let (digest, record) = (digest(), record("myClient"));
    ports.tokens.put(&digest, &record).await.expect("stored");
    let mut callers = JoinSet::new();
    for number in 0..24 {
        // Among its own attempts are those of a client that must never be told that it has revoked it.
        let (tokens, is_own) = (ports.tokens.clone(), number % 3 != 0);
        let caller = client_id(if is_own { "myClient" } else { "other" });
        callers.spawn(async move {
            (is_own, tokens.revoke(&digest, &realm_name("alpha"), &caller, NOW).await.expect("decided"))
        });
    }
    let outcomes = callers.join_all().await;
    let has_revoked = |outcome: &Revocation| matches!(outcome, Revocation::Revoked { .. });
    assert_eq!(outcomes.iter().filter(|(_, outcome)| has_revoked(outcome)).count(), 1, "{outcomes:?}");
    for (is_own, outcome) in &outcomes {
        let is_possible = if *is_own { *outcome != Revocation::NotOwner } else { !has_revoked(outcome) };
        assert!(is_possible, "{is_own}: {outcome:?}");
    }
    assert_eq!(ports.tokens.get(&digest).await, Ok(revoked(&record)));
}

pub(crate) async fn another_clients_token_stays(ports: &TokenPorts) {
    let (digest, record) = (digest(), record("myClient"));
    ports.tokens.put(&digest, &record).await.expect("stored");
    // A client is its realm and its id; ids are compared by case.
    for (realm, client) in [("alpha", "other"), ("beta", "myClient"), ("alpha", "MyClient"), ("root", "myClient")] {
        let revoked = ports.tokens.revoke(&digest, &realm_name(realm), &client_id(client), NOW).await;
        assert_eq!(revoked, Ok(Revocation::NotOwner), "{client} of {realm}");
    }
    assert_eq!(ports.tokens.get(&digest).await, Ok(live(&record)));
}

pub(crate) async fn an_expired_token_leaves_nothing_to_revoke(ports: &TokenPorts) {
    for (expires_at, owner) in
        [(NOW, "myClient"), (UnixSeconds(NOW.0 - 3600), "myClient"), (UnixSeconds(NOW.0 - 1), "other")]
    {
        let digest = digest();
        let record = AccessTokenRecord { expires_at, ..record(owner) };
        ports.tokens.put(&digest, &record).await.expect("stored");
        let read = ports.tokens.get(&digest).await.expect("read");
        assert!(
            [live(&record), StoredToken::Absent].contains(&read),
            "what is left of it still says when it expired: {read:?}"
        );
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
        assert_eq!(ports.tokens.get(&digest).await, Ok(live(&record)));
    }
}

pub(crate) fn digest() -> TokenDigest {
    let mut bits = [[0; 16]; 2];
    SystemRandom.fill(bits.as_flattened_mut()).expect("random bytes");
    opaque::of_random_bits(&bits).digest()
}

pub(crate) fn live(record: &AccessTokenRecord) -> StoredToken {
    StoredToken::Live(Box::new(record.clone()))
}

pub(crate) fn revoked(record: &AccessTokenRecord) -> StoredToken {
    let audit_tracking_id = record.audit_tracking_id.clone();
    StoredToken::Revoked(RevokedToken { expires_at: record.expires_at, audit_tracking_id })
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
        trust_rule: Some("orders".parse().expect("a name")),
    }
}
