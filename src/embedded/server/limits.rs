//! What connections may take of a server: how many there are, how long each may do nothing, how long it lives.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What connections may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Threads that serve them.
    pub threads: usize,
    /// How long a head may take from its first byte, and the first byte of a connection from its start.
    pub head: Duration,
    /// How long a peer may read nothing of what is to be written to it.
    pub stall: Duration,
    /// How long a peer may take for what is to be written to it, reading or not: some kilobytes, of which the kernel keeps more than that.
    pub taken: Duration,
    /// How long a connection is kept after an answer without another request. Longer than the minute for which the usual proxies keep
    /// theirs: the end that closes first must be the one that sends requests, or one is lost now and then.
    pub idle: Duration,
    /// The age at which a connection ends with its next answer.
    pub life: Duration,
    /// What is under way at that age has this long.
    pub last_answer: Duration,
    /// The request with which a connection ends.
    pub requests: u32,
}

impl Default for Limits {
    /// Those of a server that lacks nothing.
    fn default() -> Self {
        Self::within(usize::MAX).unwrap_or(Self::DEFAULT)
    }
}

/// The limit of descriptors leaves no room for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the limit of {limit} file descriptors leaves no room for connections; raise it: ulimit -n {ADVISED}, or \
     LimitNOFILE={ADVISED} in the unit of systemd"
)]
pub struct TooFewDescriptors {
    /// The limit.
    pub limit: usize,
}

impl Limits {
    const DEFAULT: Self = Self {
        connections: 2048,
        threads: MOST_THREADS,
        head: Duration::from_secs(10),
        stall: Duration::from_secs(10),
        taken: Duration::from_secs(30),
        idle: Duration::from_secs(75),
        life: Duration::from_mins(15),
        last_answer: Duration::from_secs(40),
        requests: 10_000,
    };

    /// Those of a server that may have `descriptors`: one for each connection, besides what the stores and the process need. Without that
    /// a store could write nothing, for the sake of a peer who may be a stranger.
    ///
    /// # Errors
    /// [`TooFewDescriptors`].
    pub fn within(descriptors: usize) -> Result<Self, TooFewDescriptors> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = cores.min(descriptors / DESCRIPTORS_FOR_A_THREAD).clamp(1, MOST_THREADS);
        let reserved = RESERVED_DESCRIPTORS + MOST_ENDING + threads * DESCRIPTORS_OF_A_THREAD;
        let connections = descriptors.saturating_sub(reserved).min(Self::DEFAULT.connections);
        if connections < LEAST_CONNECTIONS {
            return Err(TooFewDescriptors { limit: descriptors });
        }
        Ok(Self { connections, threads, ..Self::DEFAULT })
    }

    /// The soonest that anything which has not begun yet can be too long.
    pub(super) fn shortest(&self) -> Duration {
        self.head.min(self.stall).min(self.taken).min(self.idle).min(self.last_answer)
    }
}

/// Raises this process's limit of open descriptors as far as it may, and returns what it is then. The usual soft limit of 1024 is for
/// programs that use `select`; the hard one is what the administrator allows.
pub fn raise_descriptor_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Refused where the hard limit is more than the system has (macOS). The soft one will do.
        let _refused = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Databases with their journals (a dozen), the main runtime, the streams, the listener, requests of our own to others, and half as much
/// again for what nobody has thought of.
const RESERVED_DESCRIPTORS: usize = 64;
/// epoll twice, what wakes it, and the pipe of signals.
const DESCRIPTORS_OF_A_THREAD: usize = 4;
/// A thread has to have some connections to serve.
const DESCRIPTORS_FOR_A_THREAD: usize = 32;
/// More would wait for each other at the store.
const MOST_THREADS: usize = 64;
/// With fewer, a handful of idle clients would be all.
const LEAST_CONNECTIONS: usize = 32;
const ADVISED: usize = 4096;
/// Connections that have been told to end and have not yet: the budget of descriptors has room for them beside those that have places.
pub(super) const MOST_ENDING: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_accepts_what_its_descriptors_allow_and_no_more_than_it_should() {
        let of = |descriptors| Limits::within(descriptors).map(|limits| limits.connections);
        assert_eq!(of(96), Err(TooFewDescriptors { limit: 96 }));
        for (descriptors, least) in [(128, 32), (256, 128), (1024, 700)] {
            let connections = of(descriptors).expect("room");
            assert!((least..descriptors - 64).contains(&connections), "{descriptors}: {connections}");
        }
        for plenty in [4096, 1 << 20, usize::MAX] {
            assert_eq!(of(plenty), Ok(2048));
        }
    }
}
