//! Replay guard: whatever is used is used once, by whoever comes first, until its time is over.

use std::sync::Arc;

use grantwell::core::client::id::RegistrationId;
use grantwell::core::ports::ReplayGuard;
use grantwell::core::realm::RealmName;
use grantwell::core::replay::ReplayKey;
use grantwell::system::SystemRandom;
use tokio::task::JoinSet;

use super::NOW;

/// A test for each case of the suite, on what `$open` evaluates to: an adapter on a store of its own.
macro_rules! replay_guard_suite {
    ($open:expr $(; #[$attribute:meta])*) => {
        $crate::conformance::tests_of_cases! { $(#[$attribute])*, $open; replay_guard:
            what_is_used_is_used_once,
            what_is_over_may_be_used_again_though_nobody_has_erased_it,
            a_second_use_does_not_lengthen_the_first,
            each_name_is_used_by_itself,
            of_many_uses_at_once_one_is_the_first,
        }
    };
}
pub(crate) use replay_guard_suite;

type Guard = Arc<dyn ReplayGuard>;

pub(crate) async fn what_is_used_is_used_once(guard: &Guard) {
    let key = key("a");
    assert_eq!(guard.first_use(&key, NOW, NOW.plus(60)).await, Ok(true));
    for seconds in [0, 0, 1, 59] {
        assert_eq!(guard.first_use(&key, NOW.plus(seconds), NOW.plus(60)).await, Ok(false), "{seconds}");
    }
}

pub(crate) async fn what_is_over_may_be_used_again_though_nobody_has_erased_it(guard: &Guard) {
    let key = key("a");
    assert_eq!(guard.first_use(&key, NOW, NOW.plus(60)).await, Ok(true));
    assert_eq!(guard.first_use(&key, NOW.plus(60), NOW.plus(120)).await, Ok(true));
    assert_eq!(guard.first_use(&key, NOW.plus(61), NOW.plus(121)).await, Ok(false));
    assert_eq!(guard.first_use(&key, NOW.plus(119), NOW.plus(179)).await, Ok(false));
    assert_eq!(guard.first_use(&key, NOW.plus(120), NOW.plus(180)).await, Ok(true));
}

/// Or whoever repeats an assertion would keep its `jti` from its client.
pub(crate) async fn a_second_use_does_not_lengthen_the_first(guard: &Guard) {
    let key = key("a");
    assert_eq!(guard.first_use(&key, NOW, NOW.plus(60)).await, Ok(true));
    assert_eq!(guard.first_use(&key, NOW.plus(59), NOW.plus(600)).await, Ok(false));
    assert_eq!(guard.first_use(&key, NOW.plus(60), NOW.plus(600)).await, Ok(true));
}

pub(crate) async fn each_name_is_used_by_itself(guard: &Guard) {
    for key in ["a", "b", "A", "", "a\0"].map(key) {
        assert_eq!(guard.first_use(&key, NOW, NOW.plus(60)).await, Ok(true));
        assert_eq!(guard.first_use(&key, NOW, NOW.plus(60)).await, Ok(false));
    }
}

pub(crate) async fn of_many_uses_at_once_one_is_the_first(guard: &Guard) {
    first_of(60, guard).await;
}

/// As many as this are too much work for an emulator of AWS.
pub(crate) async fn of_a_thousand_uses_at_once_one_is_the_first(guard: &Guard) {
    first_of(1000, guard).await;
}

async fn first_of(number: usize, guard: &Guard) {
    // Once where nothing was before, and once where what was before is over.
    for round in 0..2 {
        let now = NOW.plus(round * 60);
        let mut uses = JoinSet::new();
        for _ in 0..number {
            let guard = Arc::clone(guard);
            uses.spawn(async move { guard.first_use(&key("a"), now, now.plus(60)).await.expect("asked") });
        }
        let first = uses.join_all().await.into_iter().filter(|first| *first).count();
        assert_eq!(first, 1, "round {round}");
    }
}

pub(crate) fn key(jti: &str) -> ReplayKey {
    ReplayKey::of_client(&RealmName::root(), &registration_id(), jti)
}

/// Of all keys of this process.
fn registration_id() -> RegistrationId {
    static REGISTRATION: std::sync::LazyLock<RegistrationId> =
        std::sync::LazyLock::new(|| RegistrationId::generate(&SystemRandom).expect("random bytes"));
    REGISTRATION.clone()
}
