//! Copies of fetched keys: what was fetched last is kept, and of those who would look one may.

use std::sync::Arc;

use grantwell::core::keys::copy::{KeptKeys, KeyCopy};
use grantwell::core::keys::remote::JwksUri;
use grantwell::core::ports::KeyCopies;
use grantwell::core::source::ClientSource;
use grantwell::core::time::UnixSeconds;
use grantwell::core::trust::issuer::IssuerUrl;
use grantwell::core::trust::key_address::KeyAddress;
use grantwell::core::trust::lookups::Lookups;
use tokio::task::JoinSet;

use super::NOW;

/// A test for each case of the suite, on what `$open` evaluates to: an adapter on a store of its own.
macro_rules! key_copies_suite {
    ($open:expr $(; #[$attribute:meta])*) => {
        $crate::conformance::tests_of_cases! { $(#[$attribute])*, $open; key_copies:
            nothing_is_kept_at_first,
            what_was_fetched_comes_back_to_the_letter,
            a_copy_is_of_one_address_and_what_is_allowed_of_it,
            an_older_copy_takes_no_newer_ones_place,
            a_copy_from_the_future_is_written_over,
            one_looks_in_an_interval,
            a_look_of_the_future_holds_up_nobody,
            of_those_who_would_look_at_once_one_does,
            a_look_leaves_the_copy_and_a_copy_the_look,
            an_issuer_is_confirmed_where_something_is_kept_of_it,
            look_ups_are_replaced_by_those_who_have_read_the_last,
            of_those_who_count_at_once_one_does,
        }
    };
}
pub(crate) use key_copies_suite;

type Copies = Arc<dyn KeyCopies>;

pub(crate) async fn nothing_is_kept_at_first(copies: &Copies) {
    assert_eq!(copies.kept_keys((&address()).into()).await, Ok(KeptKeys::default()));
}

pub(crate) async fn what_was_fetched_comes_back_to_the_letter(copies: &Copies) {
    for jwks in ["{\"keys\": [ {\"kty\":\"EC\", \"x\":\"\u{e4}\\u00e4\"} ]}\n".to_owned(), "a".repeat(64 * 1024)] {
        let copy = KeyCopy { jwks, ..copy(NOW) };
        assert_eq!(copies.keep((&address()).into(), &copy).await, Ok(()));
        assert_eq!(
            copies.kept_keys((&address()).into()).await,
            Ok(KeptKeys { copy: Some(copy), ..KeptKeys::default() })
        );
    }
}

pub(crate) async fn a_copy_is_of_one_address_and_what_is_allowed_of_it(copies: &Copies) {
    copies.keep((&address()).into(), &copy(NOW)).await.expect("kept");
    assert_eq!(copies.begin_look((&address()).into(), NOW, 60).await, Ok(true));
    for other in [
        JwksUri { allow_private_network: true, ..address() },
        JwksUri { ca: Some(CA.parse().expect("a certificate")), ..address() },
        JwksUri::public("https://app.example/jwks?".parse().expect("a URL")),
    ] {
        assert_eq!(copies.kept_keys((&other).into()).await, Ok(KeptKeys::default()), "{other:?}");
        assert_eq!(copies.begin_look((&other).into(), NOW, 60).await, Ok(true), "{other:?}");
    }
}

pub(crate) async fn an_older_copy_takes_no_newer_ones_place(copies: &Copies) {
    for (fetched_at, kept) in [(NOW, NOW), (before(1), NOW), (NOW.plus(60), NOW.plus(60)), (NOW, NOW.plus(60))] {
        assert_eq!(copies.keep((&address()).into(), &copy(fetched_at)).await, Ok(()));
        assert_eq!(copies.kept_keys((&address()).into()).await.expect("read").copy, Some(copy(kept)));
    }
}

pub(crate) async fn a_copy_from_the_future_is_written_over(copies: &Copies) {
    for fetched_at in [NOW.plus(10_000_000), NOW] {
        assert_eq!(copies.keep((&address()).into(), &copy(fetched_at)).await, Ok(()));
        assert_eq!(copies.kept_keys((&address()).into()).await.expect("read").copy, Some(copy(fetched_at)));
    }
}

pub(crate) async fn one_looks_in_an_interval(copies: &Copies) {
    for (passed, may_look) in [(0, true), (0, false), (59, false), (60, true), (61, false), (119, false), (120, true)] {
        assert_eq!(
            copies.begin_look((&address()).into(), NOW.plus(passed), 60).await,
            Ok(may_look),
            "after {passed} s"
        );
    }
    assert_eq!(copies.begin_look((&address()).into(), NOW.plus(130), 10).await, Ok(true), "a shorter interval");
    assert_eq!(copies.kept_keys((&address()).into()).await.expect("read").looked_at, Some(NOW.plus(130)));
}

pub(crate) async fn a_look_of_the_future_holds_up_nobody(copies: &Copies) {
    assert_eq!(copies.begin_look((&address()).into(), NOW.plus(100_000), 60).await, Ok(true));
    assert_eq!(copies.begin_look((&address()).into(), NOW, 60).await, Ok(true));
    assert_eq!(copies.begin_look((&address()).into(), NOW, 60).await, Ok(false));
    // That of a process whose clock is a little ahead does.
    assert_eq!(copies.begin_look((&address()).into(), NOW.plus(200), 60).await, Ok(true));
    assert_eq!(copies.begin_look((&address()).into(), NOW, 60).await, Ok(false));
}

pub(crate) async fn of_those_who_would_look_at_once_one_does(copies: &Copies) {
    for round in 0..3 {
        let mut looks = JoinSet::new();
        for _ in 0..20 {
            let copies = Arc::clone(copies);
            looks.spawn(async move {
                copies.begin_look((&address()).into(), NOW.plus(round * 60), 60).await.expect("a store")
            });
        }
        let looked = looks.join_all().await.into_iter().filter(|may_look| *may_look).count();
        assert_eq!(looked, 1, "round {round}");
    }
}

pub(crate) async fn a_look_leaves_the_copy_and_a_copy_the_look(copies: &Copies) {
    assert_eq!(copies.begin_look((&address()).into(), NOW, 60).await, Ok(true));
    copies.keep((&address()).into(), &copy(NOW)).await.expect("kept");
    let kept = |looked_at| Ok(KeptKeys { copy: Some(copy(NOW)), looked_at: Some(looked_at), is_confirmed: false });
    assert_eq!(copies.kept_keys((&address()).into()).await, kept(NOW));
    assert_eq!(copies.begin_look((&address()).into(), NOW.plus(60), 60).await, Ok(true));
    assert_eq!(copies.kept_keys((&address()).into()).await, kept(NOW.plus(60)));
}

pub(crate) async fn an_issuer_is_confirmed_where_something_is_kept_of_it(copies: &Copies) {
    let issuer: IssuerUrl = "https://accounts.example".parse().expect("an issuer");
    let address = KeyAddress::Discovery { issuer: &issuer, allow_private_network: false, ca: None };
    assert_eq!(copies.confirm(address).await, Ok(()));
    assert_eq!(copies.kept_keys(address).await, Ok(KeptKeys::default()));
    assert_eq!(copies.begin_look(address, NOW, 60).await, Ok(true));
    assert_eq!(copies.confirm(address).await, Ok(()));
    // It stays so, whatever is fetched, and is nobody else.
    copies.keep(address, &copy(NOW)).await.expect("kept");
    assert_eq!(copies.begin_look(address, NOW.plus(60), 60).await, Ok(true));
    let kept = KeptKeys { copy: Some(copy(NOW)), looked_at: Some(NOW.plus(60)), is_confirmed: true };
    assert_eq!(copies.kept_keys(address).await, Ok(kept));
    let other = KeyAddress::Discovery { issuer: &issuer, allow_private_network: true, ca: None };
    assert_eq!(copies.begin_look(other, NOW, 60).await, Ok(true));
    assert!(!copies.kept_keys(other).await.expect("read").is_confirmed);
}

pub(crate) async fn look_ups_are_replaced_by_those_who_have_read_the_last(copies: &Copies) {
    let source = Some(ClientSource::of([192, 0, 2, 1].into()));
    let mut lookups = copies.lookups().await.expect("read");
    assert_eq!(lookups, Lookups::default());
    for second in 0..12 {
        let now = NOW.plus(10 * second);
        let next = lookups.with(now, source.filter(|_| second % 2 == 0)).expect("room");
        assert_eq!(copies.replace_lookups(&next, now).await, Ok(true), "{second}");
        assert_eq!(copies.replace_lookups(&next, now).await, Ok(false), "{second}");
        let skipped = Lookups { revision: next.revision + 2, ..next.clone() };
        assert_eq!(copies.replace_lookups(&skipped, now).await, Ok(false), "{second}");
        lookups = copies.lookups().await.expect("read");
        assert_eq!(lookups, next);
    }
}

pub(crate) async fn of_those_who_count_at_once_one_does(copies: &Copies) {
    for round in 0..3 {
        let next = copies.lookups().await.expect("read").with(NOW.plus(round), None).expect("room");
        let mut counting = JoinSet::new();
        for _ in 0..10 {
            let (copies, next) = (Arc::clone(copies), next.clone());
            counting.spawn(async move { copies.replace_lookups(&next, NOW).await.expect("a store") });
        }
        let counted = counting.join_all().await.into_iter().filter(|is_counted| *is_counted).count();
        assert_eq!(counted, 1, "round {round}");
    }
}

pub(crate) fn address() -> JwksUri {
    JwksUri::public("https://app.example/jwks".parse().expect("a URL"))
}

pub(crate) fn copy(fetched_at: UnixSeconds) -> KeyCopy {
    KeyCopy { jwks: format!("{{\"keys\":[],\"of\":{fetched_at}}}"), fetched_at, believed_until: fetched_at.plus(300) }
}

fn before(seconds: u64) -> UnixSeconds {
    UnixSeconds(NOW.0 - seconds)
}

const CA: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
