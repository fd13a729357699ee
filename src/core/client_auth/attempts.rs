//! Failed authentications, counted so that secrets cannot be guessed one after another (RFC 6749 §2.3.1: "MUST protect any
//! endpoint utilizing it against brute force attacks").
//!
//! What is counted is a client as one source names it, known or not. So a guesser is refused before the secret is looked at,
//! while the rightful client, elsewhere, is not, and nobody learns which ids exist. What is remembered is of this process,
//! of a bounded size, and no store is asked (docs/decisions/0012-failed-authentications.md).

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::client::Client;
use crate::core::error::{OAuthError, Refused};
use crate::core::ports::Clock;
use crate::core::realm::RealmName;
use crate::core::source::ClientSource;
use crate::core::time::Moment;

/// How many failures are let happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Failures of one client from one source within a window. After the last one the source is refused for this client.
    pub failures: u32,
    /// Seconds from the first failure until all of them are forgotten.
    pub window_seconds: u64,
}

/// The failures of all clients and sources that this process remembers.
pub struct FailedAttempts {
    limits: AttemptLimits,
    keys: RandomState,
    /// False while nothing has failed, so that a request of a healthy client takes no lock.
    any: AtomicBool,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    clients: Generations,
    wide: WideCounts,
}

/// The failures of each client from each source, by the hash of both: an id of 64 KiB takes no more memory than another. A
/// generation ends when it is full or a window old, and is forgotten with the end of the next: no flood makes a search for
/// what to forget.
#[derive(Default)]
struct Generations {
    current: HashMap<u64, Failures>,
    previous: HashMap<u64, Failures>,
    current_since: Moment,
}

/// Failures of one client from one source.
#[derive(Clone, Default)]
struct Failures {
    /// Since the window began, or the last success in it.
    count: u32,
    first: Moment,
    /// The client, where the registry knew it, for the log.
    client: Option<Arc<Client>>,
    /// How many of them are in the wide counts of `round`, which no success takes back.
    in_wide_counts: u32,
    round: u32,
}

/// What is counted for more than one client or source, by hash as well. All of it is forgotten at once, when the round is a
/// window old or there is no room.
#[derive(Default)]
struct WideCounts {
    counts: HashMap<u64, u32>,
    round: u32,
    /// At the first failure of the round.
    began: Moment,
}

/// What an attempt is counted for.
pub(super) struct Attempt<'a> {
    pub(super) realm: &'a RealmName,
    pub(super) unverified_client_id: &'a str,
    pub(super) source: ClientSource,
}

impl AttemptLimits {
    /// Ten failures in five minutes: enough for a deployment with an old secret, too few to find any.
    pub const DEFAULT: Self = Self { failures: 10, window_seconds: 300 };
    /// How many clients' worth of failures a source is let have in all.
    pub const CLIENTS_OF_A_SOURCE: u32 = 20;
    /// How many sources' worth of failures the IPv6 /48 around them is let have, which has 65,536 of them.
    pub const SOURCES_OF_A_SITE: u32 = 10;

    fn window(self) -> Duration {
        Duration::from_secs(self.window_seconds)
    }

    /// Failures of one source within a window, whichever clients it names: one guess at each of many.
    fn failures_of_a_source(self) -> u32 {
        self.failures.saturating_mul(Self::CLIENTS_OF_A_SOURCE)
    }
}

impl FailedAttempts {
    /// The most counts of clients that are remembered. Of wide counts there are no more.
    pub const CAPACITY: usize = 10_000;

    /// Counts as `limits` say.
    pub fn new(limits: AttemptLimits) -> Self {
        Self { limits, keys: RandomState::new(), any: AtomicBool::new(false), recent: Mutex::default() }
    }

    /// Whether the attempt may be made at all.
    ///
    /// # Errors
    /// [`OAuthError::TooManyAttempts`], with the client that the attempt names, where an earlier one found it.
    pub(super) fn admit(&self, attempt: &Attempt<'_>, clock: &dyn Clock) -> Result<(), Refused> {
        if !self.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        let now = clock.moment();
        let recent = self.recent(now);
        self.within_limits(attempt, &recent, now).map_err(|error| {
            let failures = recent.clients.of(self.client_key(attempt), now, self.limits);
            Refused { named: failures.and_then(|failures| failures.client.clone()), error }
        })
    }

    /// Counts a failure.
    ///
    /// # Errors
    /// [`OAuthError::TooManyAttempts`] where others of the same kind failed while this one was looked at: of any number of
    /// guesses made at once, no more are answered than of as many made one after another.
    pub(super) fn failed(
        &self,
        attempt: &Attempt<'_>,
        clock: &dyn Clock,
        client: Option<&Arc<Client>>,
    ) -> Result<(), OAuthError> {
        let now = clock.moment();
        let mut recent = self.recent(now);
        self.any.store(true, Ordering::Relaxed);
        self.within_limits(attempt, &recent, now)?;

        // 1. For the client and the source.
        let Recent { clients, wide } = &mut *recent;
        let failures = clients.entry(self.client_key(attempt), now, self.limits);
        failures.count += 1;
        failures.client = client.cloned();

        // 2. For all clients of the source, and for the sources around it. Of each client no more than it is let fail, or one
        // that fails between successes would have all the others refused.
        let round = wide.round_at(now);
        if failures.round != round {
            (failures.round, failures.in_wide_counts) = (round, 0);
        }
        if failures.in_wide_counts < self.limits.failures {
            failures.in_wide_counts += 1;
            for (key, _) in self.wide_keys(attempt) {
                *wide.counts.entry(key).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Forgets the failures of this client from this source. What of them is in the wide counts stays there, or a guesser
    /// with a client of its own could wipe them.
    pub(super) fn succeeded(&self, attempt: &Attempt<'_>, clock: &dyn Clock) {
        if self.any.load(Ordering::Relaxed) {
            let mut recent = self.recent(clock.moment());
            if let Some(failures) = recent.clients.remembered(self.client_key(attempt)) {
                failures.count = 0;
            }
        }
    }

    fn within_limits(&self, attempt: &Attempt<'_>, recent: &Recent, now: Moment) -> Result<(), OAuthError> {
        let refusal = |since: Moment| {
            let left = self.limits.window().saturating_sub(now.since(since));
            // Rounded up: who comes after so many seconds is let in.
            let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
            Err(OAuthError::TooManyAttempts { from: attempt.source, retry_after_seconds: seconds.max(1) })
        };
        if let Some(failures) = recent.clients.of(self.client_key(attempt), now, self.limits)
            && failures.count >= self.limits.failures
        {
            return refusal(failures.first);
        }
        if self.wide_keys(attempt).any(|(key, limit)| recent.wide.of(key) >= limit) {
            return refusal(recent.wide.began);
        }
        Ok(())
    }

    fn client_key(&self, attempt: &Attempt<'_>) -> u64 {
        self.keys.hash_one((attempt.realm, attempt.unverified_client_id, attempt.source))
    }

    /// What a failure is counted for besides its client and source, and how many there may be: the source, whichever clients
    /// it names; the site, for this client and for whichever it names.
    fn wide_keys(&self, attempt: &Attempt<'_>) -> impl Iterator<Item = (u64, u32)> + use<> {
        let of_source = self.limits.failures_of_a_source();
        let source = (self.keys.hash_one(attempt.source), of_source);
        let around = attempt.source.site().map(|site| {
            let of_client = self.limits.failures.saturating_mul(AttemptLimits::SOURCES_OF_A_SITE);
            let of_site = of_source.saturating_mul(AttemptLimits::SOURCES_OF_A_SITE);
            let client = self.keys.hash_one((attempt.realm, attempt.unverified_client_id, "site", site));
            [(client, of_client), (self.keys.hash_one(("site", site)), of_site)]
        });
        std::iter::once(source).chain(around.into_iter().flatten())
    }

    fn recent(&self, now: Moment) -> MutexGuard<'_, Recent> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.forget_old(now, self.limits.window());
        if recent.is_empty() {
            self.any.store(false, Ordering::Relaxed);
        }
        recent
    }
}

impl Recent {
    fn forget_old(&mut self, now: Moment, window: Duration) {
        self.clients.forget_old(now, window);
        if now.since(self.wide.began) >= window {
            self.wide.counts.clear();
        }
    }

    fn is_empty(&self) -> bool {
        self.clients.current.is_empty() && self.clients.previous.is_empty() && self.wide.counts.is_empty()
    }
}

impl Generations {
    /// The failures that still count.
    fn of(&self, key: u64, now: Moment, limits: AttemptLimits) -> Option<&Failures> {
        let failures = self.current.get(&key).or_else(|| self.previous.get(&key));
        failures.filter(|failures| failures.still_count(now, limits))
    }

    fn remembered(&mut self, key: u64) -> Option<&mut Failures> {
        self.current.get_mut(&key).or_else(|| self.previous.get_mut(&key))
    }

    /// The failures to add one to.
    fn entry(&mut self, key: u64, now: Moment, limits: AttemptLimits) -> &mut Failures {
        if self.current.len() >= FailedAttempts::CAPACITY / 2 && !self.current.contains_key(&key) {
            self.end_current(now);
        }
        let previous = self.previous.remove(&key);
        let failures = self.current.entry(key).or_insert_with(|| previous.unwrap_or_default());
        if failures.count == 0 || !failures.still_count(now, limits) {
            (failures.count, failures.first) = (0, now);
        }
        failures
    }

    fn forget_old(&mut self, now: Moment, window: Duration) {
        let age = now.since(self.current_since);
        if age >= window {
            self.end_current(now);
        }
        // Nothing was counted for a window.
        if age >= window.saturating_mul(2) {
            self.end_current(now);
        }
    }

    fn end_current(&mut self, now: Moment) {
        self.previous = mem::take(&mut self.current);
        self.current_since = now;
    }
}

impl WideCounts {
    fn of(&self, key: u64) -> u32 {
        self.counts.get(&key).copied().unwrap_or_default()
    }

    /// The number of the round in which a failure is counted, which begins with it if there is none, or no room in it.
    fn round_at(&mut self, now: Moment) -> u32 {
        /// A failure is counted for three at most.
        const ROOM: usize = 3;
        if self.counts.len() + ROOM > FailedAttempts::CAPACITY {
            self.counts.clear();
        }
        if self.counts.is_empty() {
            self.round = self.round.wrapping_add(1);
            self.began = now;
        }
        self.round
    }
}

impl Failures {
    fn still_count(&self, now: Moment, limits: AttemptLimits) -> bool {
        now.since(self.first) < limits.window()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::core::time::UnixSeconds;

    const LIMITS: AttemptLimits = AttemptLimits { failures: 3, window_seconds: 60 };

    fn source(address: &str) -> ClientSource {
        ClientSource::of(address.parse().expect("an address"))
    }

    /// A table and the time it is looked at, by both clocks of a machine.
    struct Table {
        attempts: FailedAttempts,
        realm: RealmName,
        now: u64,
        wall_clock_ahead: i64,
    }

    impl Clock for Table {
        fn now(&self) -> UnixSeconds {
            UnixSeconds(1_000_000_u64.saturating_add(self.now).saturating_add_signed(self.wall_clock_ahead))
        }

        fn moment(&self) -> Moment {
            Moment::new(Duration::from_secs(self.now().0), Duration::from_secs(self.now))
        }
    }

    impl Table {
        fn new(limits: AttemptLimits) -> Self {
            Self { attempts: FailedAttempts::new(limits), realm: RealmName::root(), now: 0, wall_clock_ahead: 0 }
        }

        fn attempt<'a>(&'a self, id: &'a str, address: &str) -> Attempt<'a> {
            Attempt { realm: &self.realm, unverified_client_id: id, source: source(address) }
        }

        /// Seconds to wait, where the attempt is not let happen.
        fn admit(&self, id: &str, address: &str) -> Result<(), u64> {
            wait(self.attempts.admit(&self.attempt(id, address), self).map_err(|refused| refused.error))
        }

        fn fail(&self, id: &str, address: &str) -> Result<(), u64> {
            wait(self.attempts.failed(&self.attempt(id, address), self, None))
        }

        fn succeed(&self, id: &str, address: &str) {
            self.attempts.succeeded(&self.attempt(id, address), self);
        }

        fn remembered(&self) -> usize {
            let recent = self.attempts.recent.lock().expect("not poisoned");
            recent.clients.current.len() + recent.clients.previous.len() + recent.wide.counts.len()
        }
    }

    fn wait(result: Result<(), OAuthError>) -> Result<(), u64> {
        result.map_err(|error| match error {
            OAuthError::TooManyAttempts { retry_after_seconds, .. } => retry_after_seconds,
            other => panic!("{other}"),
        })
    }

    #[test]
    fn the_last_failure_of_a_window_is_counted_and_the_next_attempt_refused_until_the_window_ends() {
        let mut table = Table::new(LIMITS);
        for _ in 0..3 {
            assert_eq!(table.admit("a", "192.0.2.1"), Ok(()));
            assert_eq!(table.fail("a", "192.0.2.1"), Ok(()));
            table.now += 1;
        }
        assert_eq!(table.admit("a", "192.0.2.1"), Err(57));
        assert_eq!(table.fail("a", "192.0.2.1"), Err(57), "of guesses made at once no more are answered");
        table.now += 56;
        assert_eq!(table.admit("a", "192.0.2.1"), Err(1));
        table.now += 1;
        assert_eq!(table.admit("a", "192.0.2.1"), Ok(()));
        assert_eq!(table.fail("a", "192.0.2.1"), Ok(()), "and a window begins anew");
        assert_eq!(table.admit("a", "192.0.2.1"), Ok(()));
    }

    #[test]
    fn another_client_another_realm_and_another_source_are_counted_apart() {
        let mut table = Table::new(LIMITS);
        for _ in 0..3 {
            table.fail("a", "192.0.2.1").expect("counted");
        }
        assert_eq!(table.admit("a", "192.0.2.1"), Err(60));
        assert_eq!(table.admit("b", "192.0.2.1"), Ok(()));
        assert_eq!(table.admit("a", "192.0.2.2"), Ok(()));
        table.realm = "alpha".parse().expect("a name");
        assert_eq!(table.admit("a", "192.0.2.1"), Ok(()));
    }

    #[test]
    fn a_success_forgets_the_failures_of_its_client_and_source_only() {
        let table = Table::new(LIMITS);
        for id in ["a", "b"] {
            for _ in 0..2 {
                table.fail(id, "192.0.2.1").expect("counted");
            }
        }
        table.succeed("a", "192.0.2.1");
        for id in ["a", "b"] {
            table.fail(id, "192.0.2.1").expect("counted");
        }
        assert_eq!(table.admit("a", "192.0.2.1"), Ok(()));
        assert_eq!(table.admit("b", "192.0.2.1"), Err(60));
    }

    #[test]
    fn a_source_that_fails_as_many_clients_is_refused_for_all_of_them_whatever_succeeds() {
        let table = Table::new(LIMITS);
        for number in 0..60 {
            assert_eq!(table.fail(&format!("client-{number}"), "2001:db8::1"), Ok(()));
            table.succeed("its-own", "2001:db8::2");
        }
        assert_eq!(table.admit("client-60", "2001:db8::ffff"), Err(60));
        assert_eq!(table.fail("client-60", "2001:db8::ffff"), Err(60));
        assert_eq!(table.admit("its-own", "2001:db8::2"), Err(60));
        assert_eq!(table.admit("client-60", "2001:db8:0:1::1"), Ok(()));
    }

    #[test]
    fn a_client_that_fails_between_successes_has_no_other_client_of_its_source_refused() {
        let mut table = Table::new(LIMITS);
        for round in 0..500 {
            for _ in 0..2 {
                assert_eq!(table.fail("old-secret", "192.0.2.1"), Ok(()), "{round}");
            }
            table.succeed("old-secret", "192.0.2.1");
            table.now += u64::from(round % 7 == 0);
            assert_eq!(table.admit("other", "192.0.2.1"), Ok(()), "{round}");
        }
    }

    #[test]
    fn a_source_is_refused_for_all_only_once_it_has_failed_as_twenty_clients() {
        let table = Table::new(LIMITS);
        for number in 0..19 {
            let id = format!("client-{number}");
            for _ in 0..10 {
                for _ in 0..2 {
                    table.fail(&id, "192.0.2.1").expect("counted");
                }
                table.succeed(&id, "192.0.2.1");
            }
            for _ in 0..3 {
                table.fail(&id, "192.0.2.1").expect("counted");
            }
        }
        assert_eq!(table.admit("other", "192.0.2.1"), Ok(()));
        for _ in 0..3 {
            table.fail("the-twentieth", "192.0.2.1").expect("counted");
        }
        assert_eq!(table.admit("other", "192.0.2.1"), Err(60));
        assert_eq!(table.admit("other", "192.0.2.2"), Ok(()));
    }

    #[test]
    fn the_sources_of_one_site_have_the_tries_of_ten() {
        let address = |source: u32| format!("2001:db8:1:{source:x}::1");
        let mut table = Table::new(LIMITS);
        for source in 0..10 {
            for _ in 0..3 {
                assert_eq!(table.fail("a", &address(source)), Ok(()));
            }
            assert_eq!(table.fail("a", &address(source)), Err(60));
        }
        assert_eq!(table.admit("a", &address(10)), Err(60), "as this client");
        assert_eq!(table.admit("b", &address(10)), Ok(()));
        assert_eq!(table.admit("a", "2001:db8:2::1"), Ok(()));
        // Its own client wipes nothing.
        table.succeed("a", &address(11));
        assert_eq!(table.admit("a", &address(10)), Err(60));

        for client in 0..190 {
            for _ in 0..3 {
                assert_eq!(table.fail(&format!("client-{client}"), &address(100 + client % 10)), Ok(()), "{client}");
            }
        }
        assert_eq!(table.admit("b", &address(10)), Err(60), "and as any");
        assert_eq!(table.admit("b", "2001:db8:2::1"), Ok(()));
        table.now += 60;
        assert_eq!(table.admit("a", &address(10)), Ok(()));
    }

    #[test]
    fn failures_are_forgotten_after_their_window_whatever_becomes_of_the_clock() {
        for (what, ahead) in [("back by half a minute", -30), ("back by an hour", -3600), ("not at all", 0)] {
            let mut table = Table::new(LIMITS);
            for _ in 0..3 {
                table.fail("a", "192.0.2.1").expect("counted");
            }
            for number in 0..57 {
                table.fail(&format!("client-{number}"), "192.0.2.1").expect("counted");
            }
            table.wall_clock_ahead = ahead;
            table.now += 59;
            for id in ["a", "other"] {
                assert_eq!(table.admit(id, "192.0.2.1"), Err(1), "{what}");
            }
            table.now += 1;
            for id in ["a", "other"] {
                assert_eq!(table.admit(id, "192.0.2.1"), Ok(()), "{what}");
                assert_eq!(table.fail(id, "192.0.2.1"), Ok(()), "{what}: and a window begins anew");
            }
            table.now += 120;
            table.admit("a", "192.0.2.1").expect("admitted");
            assert_eq!(table.remembered(), 0, "{what}");
        }
        // A sandbox that is frozen may have a monotonic clock that stands still.
        let mut table = Table::new(LIMITS);
        for _ in 0..3 {
            table.fail("a", "192.0.2.1").expect("counted");
        }
        table.wall_clock_ahead = 60;
        assert_eq!(table.admit("a", "192.0.2.1"), Ok(()));
    }

    #[test]
    fn a_flood_of_ids_and_sources_stays_bounded_and_is_forgotten_after_two_windows() {
        let mut table = Table::new(LIMITS);
        for number in 0_u32..50_000 {
            let address = std::net::Ipv4Addr::from_bits(number).to_string();
            table.fail(&format!("{number}{}", "x".repeat(100)), &address).expect("counted");
            assert!(table.remembered() <= 2 * FailedAttempts::CAPACITY, "{}", table.remembered());
        }
        for number in 0_u64..50_000 {
            let address = Ipv6Addr::from_bits(u128::from(number) << 80 | 0x2620 << 112).to_string();
            table.fail(&format!("{number}{}", "x".repeat(100)), &address).expect("counted");
            assert!(table.remembered() <= 2 * FailedAttempts::CAPACITY, "{}", table.remembered());
        }
        assert!(table.remembered() >= FailedAttempts::CAPACITY / 2);
        table.now += 120;
        table.admit("a", "192.0.2.1").expect("admitted");
        assert_eq!(table.remembered(), 0);
        assert!(!table.attempts.any.load(Ordering::Relaxed));
    }

    #[test]
    fn failures_survive_the_end_of_a_generation_for_as_long_as_their_window() {
        let mut table = Table::new(LIMITS);
        table.fail("other", "192.0.2.9").expect("counted");
        table.now += 59;
        for _ in 0..3 {
            table.fail("a", "192.0.2.1").expect("counted");
        }
        for seconds in (1..=60).rev() {
            assert_eq!(table.admit("a", "192.0.2.1"), Err(seconds));
            table.now += 1;
        }
        assert_eq!(table.admit("a", "192.0.2.1"), Ok(()));
    }
}
