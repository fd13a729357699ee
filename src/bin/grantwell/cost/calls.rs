//! What a request makes of AWS calls, as `tests/aws/test_aws_calls.py` counts them, and how often what is remembered is loaded.

use std::time::Duration;

use serde::Serialize;

use grantwell::app::FUNCTION_CACHES;
use grantwell::core::access_token::settings::{AccessTokenFormat, AccessTokenPersistence};

use super::usage::KeptSecrets;

/// Calls, as AWS bills them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Calls {
    /// DynamoDB's, of an item of up to 1 KB.
    writes: u32,
    /// DynamoDB's that see every finished write, of an item of up to 4 KB.
    consistent_reads: u32,
    /// DynamoDB's that need not; AWS bills half as much.
    eventual_reads: u32,
    /// Secrets Manager's.
    secrets_manager: u32,
}

/// What a process loads and then remembers for a time.
#[derive(Debug, Serialize)]
pub(super) struct Loads {
    pub(super) realm: Calls,
    pub(super) client: Calls,
    /// The current secret and the previous one.
    pub(super) client_secret: Calls,
    /// The registration once more, after a secret that the process did not know.
    pub(super) new_secret: Calls,
    /// And a look whether they are published.
    pub(super) signing_keys: Calls,
    pub(super) public_keys: Calls,
    /// Which registry it is, which the keys that sign have to name.
    pub(super) registry: Calls,
    /// Since when the token table is whole, for tokens that are not in it. What says when it was made is free.
    pub(super) whole_since: Calls,
    /// The mark of a client's use, which each process writes once a day.
    pub(super) use_mark: Calls,
}

/// The calls of every request in a process that remembers all it needs, and those of each thing that it does not.
#[derive(Debug, Serialize)]
pub(super) struct CountedCalls {
    pub(super) token: Calls,
    pub(super) introspection: Calls,
    pub(super) load: Loads,
}

/// How often the processes of a function forget, in a month.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forgetting {
    /// Processes that run at a time.
    pub(super) sandboxes: u32,
    /// Processes that start, each with nothing remembered.
    pub(super) cold_starts: u32,
}

/// A month of AWS's price lists: 730 hours.
const MONTH: Duration = Duration::from_hours(730);

const NONE: Calls = Calls { writes: 0, consistent_reads: 0, eventual_reads: 0, secrets_manager: 0 };
const LOADS: Loads = Loads {
    realm: Calls { eventual_reads: 1, ..NONE },
    client: Calls { eventual_reads: 1, ..NONE },
    client_secret: Calls { secrets_manager: 2, ..NONE },
    new_secret: Calls { consistent_reads: 1, ..NONE },
    signing_keys: Calls { secrets_manager: 1, consistent_reads: 1, ..NONE },
    public_keys: Calls { consistent_reads: 1, ..NONE },
    registry: Calls { consistent_reads: 1, ..NONE },
    whole_since: Calls { consistent_reads: 1, ..NONE },
    use_mark: Calls { writes: 1, ..NONE },
};

impl CountedCalls {
    /// Those of tokens of this kind, of clients with a quota or without, that authenticate with secrets or with keys.
    pub(super) fn of(
        format: AccessTokenFormat,
        persistence: AccessTokenPersistence,
        has_quota: bool,
        secrets: KeptSecrets,
    ) -> Self {
        let is_stored = format == AccessTokenFormat::Opaque || persistence == AccessTokenPersistence::Stored;
        let assertion = u32::from(secrets == KeptSecrets::None);
        Self {
            // The token's, the count's, and the assertion's.
            token: Calls { writes: u32::from(is_stored) + u32::from(has_quota) + assertion, ..NONE },
            // Of the token, or of the denylist.
            introspection: Calls { consistent_reads: 1, writes: assertion, ..NONE },
            load: match secrets {
                KeptSecrets::SecretsManager => LOADS,
                // A digest comes with the registration, and is as new as that.
                KeptSecrets::Digest | KeptSecrets::None | KeptSecrets::Iam => {
                    Loads { client_secret: NONE, new_secret: NONE, ..LOADS }
                }
            },
        }
    }
}

impl Calls {
    /// Write units of DynamoDB.
    pub(super) fn write_units(self) -> f64 {
        f64::from(self.writes)
    }

    /// Read units of DynamoDB.
    pub(super) fn read_units(self) -> f64 {
        f64::from(self.consistent_reads) + f64::from(self.eventual_reads) / 2.0
    }

    /// Calls of Secrets Manager.
    pub(super) fn secrets_manager_calls(self) -> f64 {
        f64::from(self.secrets_manager)
    }
}

impl Forgetting {
    /// The most loads in a month of `things`, each believed for `ttl`, by `requests` that need one of them each.
    pub(super) fn loads(self, requests: f64, things: u32, ttl: Duration) -> f64 {
        let times = f64::from(self.sandboxes) * MONTH.as_secs_f64() / ttl.as_secs_f64() + f64::from(self.cold_starts);
        (f64::from(things) * times).min(requests)
    }
}

/// How long a function believes a registration or a realm.
pub(super) const REGISTRATION_TTL: Duration = FUNCTION_CACHES.registration_ttl;
/// How long a function knows a client's secret again that nobody has asked for.
pub(super) const KNOWN_SECRET_TTL: Duration = FUNCTION_CACHES.secret_stale_limit;
/// How long a function believes a client's secret.
pub(super) const SECRET_TTL: Duration = FUNCTION_CACHES.secret_ttl;
/// How long a function believes keys.
pub(super) const KEY_TTL: Duration = FUNCTION_CACHES.key_ttl;
/// For how long a process does not mark a client again.
pub(super) const USE_MARK_TTL: Duration = Duration::from_hours(24);
/// How long a function believes which registry it is: for as long as it lives.
pub(super) const REGISTRY_TTL: Duration = MONTH;
