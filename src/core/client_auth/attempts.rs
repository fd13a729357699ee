//! Failed authentications, counted so that secrets cannot be guessed one after another (RFC 6749 §2.3.1: "MUST protect any
//! endpoint utilizing it against brute force attacks").
//!
//! What is counted is a client as one source names it, known or not. So a guesser is refused before the secret is looked at,
//! while the rightful client, elsewhere, is not, and nobody learns which ids exist. What is remembered is of this process,
//! of a bounded size, and no store is asked (docs/decisions/0012-failed-authentications.md).

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::mem;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::client::Client;
use crate::core::error::OAuthError;
use crate::core::ports::UnixSeconds;
use crate::core::realm::RealmName;

/// Where a request comes from: an IPv4 address, or the first 64 bits of an IPv6 address, since whoever has one of those has
/// all the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientSource(IpAddr);

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
    recent: Mutex<Generations>,
}

/// Failures by the hash of what they are counted for: an id of 64 KiB takes no more memory than another. A generation ends
/// when it is full or a window old, and is forgotten with the end of the next: no flood makes a search for what to forget.
#[derive(Default)]
struct Generations {
    current: HashMap<u64, Failures>,
    previous: HashMap<u64, Failures>,
    current_since: UnixSeconds,
}

#[derive(Clone, Default)]
struct Failures {
    count: u32,
    first: UnixSeconds,
    /// The client, where the registry knew it, for the log.
    client: Option<Arc<Client>>,
}

/// What an attempt is counted for.
pub(super) struct Attempt<'a> {
    pub(super) realm: &'a RealmName,
    pub(super) unverified_client_id: &'a str,
    pub(super) source: ClientSource,
}

impl ClientSource {
    /// The source that an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
            address @ IpAddr::V4(_) => address,
        })
    }
}

impl fmt::Display for ClientSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(formatter),
            IpAddr::V6(network) => write!(formatter, "{network}/64"),
        }
    }
}

impl AttemptLimits {
    /// Ten failures in five minutes: enough for a deployment with an old secret, too few to find any.
    pub const DEFAULT: Self = Self { failures: 10, window_seconds: 300 };
    /// How many clients' worth of failures a source is let have in all.
    pub const CLIENTS_OF_A_SOURCE: u32 = 20;

    /// Failures of one source within a window, whichever clients it names: one guess at each of many.
    fn failures_of_a_source(self) -> u32 {
        self.failures.saturating_mul(Self::CLIENTS_OF_A_SOURCE)
    }
}

impl FailedAttempts {
    /// The most counts that are remembered, those of clients and those of sources.
    pub const CAPACITY: usize = 10_000;

    /// Counts as `limits` say.
    pub fn new(limits: AttemptLimits) -> Self {
        Self { limits, keys: RandomState::new(), any: AtomicBool::new(false), recent: Mutex::default() }
    }

    /// Whether the attempt may be made at all. `known` becomes the client that it names, where an earlier one found it.
    ///
    /// # Errors
    /// [`OAuthError::TooManyAttempts`].
    pub(super) fn admit(
        &self,
        attempt: &Attempt<'_>,
        now: UnixSeconds,
        known: &mut Option<Arc<Client>>,
    ) -> Result<(), OAuthError> {
        if !self.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        let recent = self.recent(now);
        for (key, limit) in self.counted(attempt) {
            if let Some(failures) = recent.of(key, now, self.limits)
                && failures.count >= limit
            {
                known.clone_from(&failures.client);
                return Err(self.refusal(attempt, failures, now));
            }
        }
        Ok(())
    }

    /// Counts a failure.
    ///
    /// # Errors
    /// [`OAuthError::TooManyAttempts`] where others of the same kind failed while this one was looked at: of any number of
    /// guesses made at once, no more are answered than of as many made one after another.
    pub(super) fn failed(
        &self,
        attempt: &Attempt<'_>,
        now: UnixSeconds,
        client: Option<&Arc<Client>>,
    ) -> Result<(), OAuthError> {
        let mut recent = self.recent(now);
        self.any.store(true, Ordering::Relaxed);
        for (key, limit) in self.counted(attempt) {
            let failures = recent.entry(key, now, self.limits);
            if failures.count >= limit {
                return Err(self.refusal(attempt, failures, now));
            }
            failures.count += 1;
            // A source has no client of its own.
            if key != self.source_key(attempt) {
                failures.client = client.cloned();
            }
        }
        Ok(())
    }

    /// Forgets the failures of this client from this source. Those of the source stay, or a guesser with a client of its own
    /// could wipe them.
    pub(super) fn succeeded(&self, attempt: &Attempt<'_>, now: UnixSeconds) {
        if self.any.load(Ordering::Relaxed) {
            let key = self.client_key(attempt);
            let mut recent = self.recent(now);
            recent.current.remove(&key);
            recent.previous.remove(&key);
        }
    }

    fn counted(&self, attempt: &Attempt<'_>) -> [(u64, u32); 2] {
        [
            (self.client_key(attempt), self.limits.failures),
            (self.source_key(attempt), self.limits.failures_of_a_source()),
        ]
    }

    fn client_key(&self, attempt: &Attempt<'_>) -> u64 {
        self.keys.hash_one((attempt.realm, attempt.unverified_client_id, attempt.source))
    }

    fn source_key(&self, attempt: &Attempt<'_>) -> u64 {
        self.keys.hash_one(attempt.source)
    }

    fn recent(&self, now: UnixSeconds) -> MutexGuard<'_, Generations> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.forget_old(now, self.limits);
        if recent.current.is_empty() && recent.previous.is_empty() {
            self.any.store(false, Ordering::Relaxed);
        }
        recent
    }

    fn refusal(&self, attempt: &Attempt<'_>, failures: &Failures, now: UnixSeconds) -> OAuthError {
        let ends = failures.first.plus(self.limits.window_seconds);
        OAuthError::TooManyAttempts { from: attempt.source, retry_after_seconds: ends.since(now).max(1) }
    }
}

impl Generations {
    /// The failures that still count.
    fn of(&self, key: u64, now: UnixSeconds, limits: AttemptLimits) -> Option<&Failures> {
        let failures = self.current.get(&key).or_else(|| self.previous.get(&key));
        failures.filter(|failures| failures.still_count(now, limits))
    }

    /// The failures to add one to.
    fn entry(&mut self, key: u64, now: UnixSeconds, limits: AttemptLimits) -> &mut Failures {
        if self.current.len() >= FailedAttempts::CAPACITY / 2 && !self.current.contains_key(&key) {
            self.end_current(now);
        }
        let previous = self.previous.remove(&key);
        let failures = self.current.entry(key).or_insert_with(|| previous.unwrap_or_default());
        if failures.count == 0 || !failures.still_count(now, limits) {
            *failures = Failures { count: 0, first: now, client: None };
        }
        failures
    }

    fn forget_old(&mut self, now: UnixSeconds, limits: AttemptLimits) {
        let age = now.since(self.current_since);
        if age >= limits.window_seconds {
            self.end_current(now);
        }
        // Nothing was counted for a window.
        if age >= limits.window_seconds.saturating_mul(2) {
            self.end_current(now);
        }
    }

    fn end_current(&mut self, now: UnixSeconds) {
        self.previous = mem::take(&mut self.current);
        self.current_since = now;
    }
}

impl Failures {
    fn still_count(&self, now: UnixSeconds, limits: AttemptLimits) -> bool {
        now.since(self.first) < limits.window_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AttemptLimits = AttemptLimits { failures: 3, window_seconds: 60 };

    fn source(address: &str) -> ClientSource {
        ClientSource::of(address.parse().expect("an address"))
    }

    /// A table and the time it is looked at.
    struct Table {
        attempts: FailedAttempts,
        realm: RealmName,
        now: u64,
    }

    impl Table {
        fn new(limits: AttemptLimits) -> Self {
            Self { attempts: FailedAttempts::new(limits), realm: RealmName::root(), now: 1_000_000 }
        }

        fn attempt<'a>(&'a self, id: &'a str, address: &str) -> Attempt<'a> {
            Attempt { realm: &self.realm, unverified_client_id: id, source: source(address) }
        }

        /// Seconds to wait, where the attempt is not let happen.
        fn admit(&self, id: &str, address: &str) -> Result<(), u64> {
            wait(self.attempts.admit(&self.attempt(id, address), UnixSeconds(self.now), &mut None))
        }

        fn fail(&self, id: &str, address: &str) -> Result<(), u64> {
            wait(self.attempts.failed(&self.attempt(id, address), UnixSeconds(self.now), None))
        }

        fn succeed(&self, id: &str, address: &str) {
            self.attempts.succeeded(&self.attempt(id, address), UnixSeconds(self.now));
        }

        fn remembered(&self) -> usize {
            let recent = self.attempts.recent.lock().expect("not poisoned");
            recent.current.len() + recent.previous.len()
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
        assert_eq!(table.admit("its-own", "2001:db8::2"), Err(60));
        assert_eq!(table.admit("client-60", "2001:db8:0:1::1"), Ok(()));
    }

    #[test]
    fn an_ipv6_source_is_a_network_and_a_mapped_address_the_ipv4_one() {
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), source("2001:db8:1:2::"));
        assert_ne!(source("2001:db8:1:2::"), source("2001:db8:1:3::"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8:1:2:3::").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_flood_of_ids_and_sources_stays_bounded_and_is_forgotten_after_two_windows() {
        let mut table = Table::new(LIMITS);
        for number in 0_u32..50_000 {
            let address = std::net::Ipv4Addr::from_bits(number).to_string();
            table.fail(&format!("{number}{}", "x".repeat(100)), &address).expect("counted");
            assert!(table.remembered() <= FailedAttempts::CAPACITY, "{}", table.remembered());
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
