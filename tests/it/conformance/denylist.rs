//! Denylist: a token that has ended stays ended, and no other is.

use tokio::task::JoinSet;

use super::{NOW, TokenPorts};

/// A test for each case of the suite, on what `$open` evaluates to: an adapter on a store of its own.
macro_rules! denylist_suite {
    ($open:expr $(; #[$attribute:meta])*) => {
        $crate::conformance::tests_of_cases! { $(#[$attribute])*, $open; denylist:
            what_nobody_denied_is_not_denied,
            what_is_denied_is_denied_and_nothing_else,
            denying_twice_is_denying_once,
            tokens_denied_at_once_are_all_denied,
            a_denial_and_a_stored_token_do_not_meet,
            a_new_list_is_whole_since_one_time,
        }
    };
}
pub(crate) use denylist_suite;

pub(crate) async fn what_nobody_denied_is_not_denied(ports: &TokenPorts) {
    assert_eq!(ports.denylist.is_denied("unknown").await, Ok(false));
    assert_eq!(ports.denylist.is_denied("unknown").await, Ok(false), "asking for it does not deny it");
}

pub(crate) async fn what_is_denied_is_denied_and_nothing_else(ports: &TokenPorts) {
    let ended = "stateless.AAECAwQFBgcICQoLDA0ODw.EBESExQVFhcYGRobHB0eHw";
    ports.denylist.deny(ended, NOW.plus(3600)).await.expect("denied");
    assert_eq!(ports.denylist.is_denied(ended).await, Ok(true));
    // Identifiers are compared whole and by case.
    for other in [&ended[..ended.len() - 1], &format!("{ended}A"), &ended.to_ascii_lowercase(), "stateless"] {
        assert_eq!(ports.denylist.is_denied(other).await, Ok(false), "{other}");
    }
}

pub(crate) async fn denying_twice_is_denying_once(ports: &TokenPorts) {
    for _ in 0..2 {
        ports.denylist.deny("ended", NOW.plus(3600)).await.expect("denied");
        assert_eq!(ports.denylist.is_denied("ended").await, Ok(true));
    }
}

pub(crate) async fn tokens_denied_at_once_are_all_denied(ports: &TokenPorts) {
    let mut writers = JoinSet::new();
    for writer in 0..24 {
        let denylist = ports.denylist.clone();
        writers.spawn(async move {
            // Every other one is denied by two at once.
            let jti = format!("ended-{}", writer / 2 * 2);
            denylist.deny(&jti, NOW.plus(3600)).await.expect("denied");
            jti
        });
    }
    for jti in writers.join_all().await {
        assert_eq!(ports.denylist.is_denied(&jti).await, Ok(true), "{jti}");
    }
    assert_eq!(ports.denylist.is_denied("ended-1").await, Ok(false));
}

pub(crate) async fn a_new_list_is_whole_since_one_time(ports: &TokenPorts) {
    let since = ports.denylist.whole_since().await.expect("known");
    assert!(since >= NOW, "{since}: before it was made");
    ports.denylist.deny("ended", NOW.plus(3600)).await.expect("denied");
    assert_eq!(ports.denylist.whole_since().await, Ok(since));
}

/// One table, or one directory, keeps both.
pub(crate) async fn a_denial_and_a_stored_token_do_not_meet(ports: &TokenPorts) {
    let (digest, record) = (super::token_store::digest(), super::token_store::record("myClient"));
    ports.tokens.put(&digest, &record).await.expect("stored");
    let key = digest.to_base64url();
    assert_eq!(ports.denylist.is_denied(&key).await, Ok(false));
    ports.denylist.deny(&key, NOW.plus(3600)).await.expect("denied");
    ports.denylist.deny(&record.jti, NOW.plus(3600)).await.expect("denied");
    assert_eq!(
        ports.tokens.get(&digest).await,
        Ok(super::token_store::live(&record)),
        "a denial leaves records as they are"
    );
}
