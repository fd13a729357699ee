//! What bounds the caches.

use std::time::Duration;

/// How long and how much a process remembers.
#[derive(Clone, Copy, Debug)]
pub struct CacheSettings {
    /// The most entries of each cache.
    pub capacity: u64,
    /// How long a registration or a realm is believed. A change by an operator is seen after this time.
    pub registration_ttl: Duration,
    /// How long the absence of a client, a realm or a secret is believed. A new client works after this time.
    pub absence_ttl: Duration,
    /// How long a secret is believed before the source is asked again.
    pub secret_ttl: Duration,
    /// How long a secret is believed while the source cannot be asked.
    pub secret_stale_limit: Duration,
    /// How long to leave a source alone that could not be asked.
    pub secret_retry_interval: Duration,
    /// The shortest time between two reloads of a client and its secret because a presented one did not match.
    pub mismatch_interval: Duration,
    /// How long the keys of a realm are believed before the source is asked again: the public ones, and those that sign.
    pub key_ttl: Duration,
    /// The shortest time between two reloads of a realm's public keys because a token named another.
    pub unknown_key_interval: Duration,
}
