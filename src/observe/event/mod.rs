//! What happens, and what an operator sees of it: this match and the one of [`audit`] are all there is between an event and its line
//! of the log and its metrics. An event has an arm in one of them. A line that counts for nothing and that one place alone can
//! say is written there.

pub(super) mod audit;
mod sinks;
mod untrusted;

use std::fmt::Display;
use std::time::Duration;

use self::sinks::line;
pub(super) use self::sinks::{LINES, Sinks};
use super::metrics::{Label, Metric};
use super::request::duration_ms;
use crate::core::client::id::ClientId;
use crate::core::port_error::PortError;
use crate::core::realm::RealmName;
use crate::core::reason::Reason;

/// Something that happened besides the decisions of the endpoints.
#[derive(Clone, Copy)]
pub enum Event<'a> {
    /// A request was not decided while there was time for it.
    OutOfTime {
        /// The route of a protected resource: a path may hold a credential.
        route: Option<&'a str>,
        /// How much time there was.
        limit: Duration,
    },
    /// An invocation was refused before there was a request.
    RefusedBeforeRouting {
        /// One of few.
        reason: RefusedBeforeRouting,
        /// What its caller is told.
        detail: &'a str,
        /// The status of the answer.
        status: u16,
    },
    /// An invocation of an authorizer has nothing to decide.
    NotAnAuthorizerRequest,
    /// A request has its answer.
    Answered {
        /// The HTTP status, or that of which an authorizer's answer is the equivalent.
        status: u16,
        /// Which endpoint was asked, where its time is to be measured.
        endpoint: Option<&'static str>,
    },
    /// One attempt of a call to AWS has ended; the next one of the same call is paid for again.
    CallAttempted {
        /// To which service.
        service: Service,
        /// How it ended.
        outcome: Attempt,
    },
    /// A look into a cache ended without a load of its own.
    CacheHit(Remembered),
    /// A cache asks its source.
    CacheMiss(Remembered),
    /// What a cache remembers is served though it is stale.
    ServedStale {
        /// What it is of.
        what: Remembered,
        /// How old it is.
        age: Duration,
        /// Why its source cannot be asked.
        error: &'a PortError,
    },
    /// The keys at the address of a client could not be fetched, or have none that verifies.
    KeysNotFetched {
        /// Why.
        error: &'a PortError,
    },
    /// The rotation was invoked with an event that it does not know.
    NotARotationEvent,
    /// The secret to rotate could not be described.
    SecretNotDescribed {
        /// Why.
        error: &'a PortError,
    },
    /// The secret to rotate is not one of this stack.
    ForeignSecret,
    /// A step of a rotation has ended.
    RotationStep(Step<'a>),
    /// The schedule has looked at a secret and failed, or has begun its rotation. Counted with the others of its run.
    ScheduledRotation(Step<'a>),
    /// The schedule has looked at every realm.
    SigningKeysLookedAt {
        /// How many have keys that could not be looked at or replaced.
        overdue: usize,
    },
}

/// Why an invocation never became a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedBeforeRouting {
    /// It is not one.
    Malformed,
    /// It did not come through what stands in front of the API.
    PastTheFront,
}

/// A service of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// DynamoDB.
    DynamoDb,
    /// Secrets Manager.
    SecretsManager,
}

/// How an attempt of a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// With an answer, be it a refusal.
    Answered,
    /// It was throttled.
    Throttled,
    /// Without an answer, or with a fault of the service.
    Failed,
}

/// What a cache remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// A registration.
    Client,
    /// A realm.
    Realm,
    /// A client's secrets.
    Secret,
    /// A realm's public keys.
    VerificationKeys,
    /// A realm's private keys.
    SigningKeys,
    /// The keys of a client's `jwks_uri`.
    RemoteKeys,
}

/// A step of a rotation.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    /// What is rotated.
    pub secret: Rotated<'a>,
    /// The step's name, as Secrets Manager has it.
    pub name: &'a str,
    /// How it ended.
    pub outcome: Result<Progress, &'a dyn Display>,
}

/// What is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated<'a> {
    /// A client's secret.
    ClientSecret(&'a RealmName, &'a ClientId),
    /// A realm's signing keys.
    SigningKeys(&'a RealmName),
}

/// How a step of a rotation that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is done.
    Done,
    /// It is done, and was the last.
    Finished,
    /// There was nothing to do.
    NothingToDo,
}

/// What comes of an event.
pub(super) fn tell(event: Event<'_>, sinks: Sinks<'_>) {
    match event {
        Event::OutOfTime { route, limit } => {
            line!(
                sinks,
                WARN,
                route,
                reason = Reason::OutOfTime.as_str(),
                status = 503,
                duration_ms = duration_ms(),
                time_limit_ms = u64::try_from(limit.as_millis()).ok(),
                "a request ran out of time"
            );
            sinks.count_by_reason(Metric::RequestsRefused, Reason::OutOfTime);
        }
        Event::RefusedBeforeRouting { reason, detail, status } => {
            line!(
                sinks,
                WARN,
                reason = reason.reason().as_str(),
                detail,
                status,
                duration_ms = duration_ms(),
                "an event was refused before it reached a router"
            );
            sinks.count_by_reason(Metric::RequestsRefused, reason.reason());
        }
        Event::NotAnAuthorizerRequest => {
            line!(
                sinks,
                WARN,
                reason = Reason::MalformedRequest.as_str(),
                "an event was not a request to an authorizer"
            );
            sinks.count_by_reason(Metric::RequestsRefused, Reason::MalformedRequest);
        }
        Event::Answered { status, endpoint } => {
            if let Some(endpoint) = endpoint {
                sinks.time(Metric::Latency, Label::Answer { endpoint, status });
            }
            match status {
                503 => sinks.count(Metric::AnswersUnavailable),
                500.. => sinks.count(Metric::AnswersFailed),
                _ => {}
            }
        }
        Event::CallAttempted { service, outcome } => {
            let (calls, throttles, failures) = service.metrics();
            sinks.count(calls);
            match outcome {
                Attempt::Answered => {}
                Attempt::Throttled => sinks.count(throttles),
                Attempt::Failed => sinks.count(failures),
            }
        }
        Event::CacheHit(what) => sinks.count(what.metrics().0),
        Event::CacheMiss(what) => sinks.count(what.metrics().1),
        Event::ServedStale { what, age, error } => {
            let (what, age_seconds) = (what.as_str(), age.as_secs());
            line!(sinks, WARN, age_seconds, %error, "serving {what} because its source cannot be asked");
        }
        Event::KeysNotFetched { error } => {
            line!(sinks, WARN, %error, "public keys could not be fetched");
            sinks.count(Metric::RemoteKeyFetchesFailed);
        }
        Event::NotARotationEvent => {
            line!(sinks, ERROR, "refused an event that is neither a rotation step nor a scheduled event");
            sinks.count(Metric::RotationsFailed);
        }
        Event::SecretNotDescribed { error } => {
            line!(sinks, ERROR, %error, "a secret could not be described");
            sinks.count(Metric::RotationsFailed);
        }
        Event::ForeignSecret => {
            line!(sinks, ERROR, "refused a step for a secret that is not this stack's");
            sinks.count(Metric::RotationsFailed);
        }
        Event::RotationStep(step) => {
            log_step(step, sinks);
            match step.outcome {
                Ok(Progress::Finished) => sinks.count(step.secret.metric()),
                Ok(Progress::Done | Progress::NothingToDo) => {}
                Err(_) => sinks.count(Metric::RotationsFailed),
            }
        }
        Event::ScheduledRotation(step) => log_step(step, sinks),
        Event::SigningKeysLookedAt { overdue } => sinks.add(Metric::SigningKeysOverdue, overdue),
    }
}

fn log_step(Step { secret, name: step, outcome }: Step<'_>, sinks: Sinks<'_>) {
    let (secret, realm, client_id) = match secret {
        Rotated::ClientSecret(realm, client_id) => ("client secret", realm, Some(client_id.as_str())),
        Rotated::SigningKeys(realm) => ("signing keys", realm, None),
    };
    match outcome {
        Ok(progress) => {
            let outcome = progress.as_str();
            line!(sinks, INFO, secret, %realm, client_id, step, outcome, "rotation step");
        }
        Err(error) => {
            line!(sinks, ERROR, secret, %realm, client_id, step, outcome = "failed", %error, "rotation step");
        }
    }
}

impl RefusedBeforeRouting {
    fn reason(self) -> Reason {
        match self {
            Self::Malformed => Reason::MalformedRequest,
            Self::PastTheFront => Reason::PastTheFront,
        }
    }
}

impl Service {
    /// Its calls, those that were throttled and those that failed.
    fn metrics(self) -> (Metric, Metric, Metric) {
        match self {
            Self::DynamoDb => (Metric::DynamoDbCalls, Metric::DynamoDbThrottles, Metric::DynamoDbFailures),
            Self::SecretsManager => {
                (Metric::SecretsManagerCalls, Metric::SecretsManagerThrottles, Metric::SecretsManagerFailures)
            }
        }
    }
}

impl Remembered {
    /// Its hits and its misses.
    fn metrics(self) -> (Metric, Metric) {
        match self {
            Self::Client => (Metric::ClientCacheHits, Metric::ClientCacheMisses),
            Self::Realm => (Metric::RealmCacheHits, Metric::RealmCacheMisses),
            Self::Secret => (Metric::SecretCacheHits, Metric::SecretCacheMisses),
            Self::VerificationKeys => (Metric::VerificationKeyCacheHits, Metric::VerificationKeyCacheMisses),
            Self::SigningKeys => (Metric::SigningKeyCacheHits, Metric::SigningKeyCacheMisses),
            Self::RemoteKeys => (Metric::RemoteKeyCacheHits, Metric::RemoteKeyCacheMisses),
        }
    }

    /// What the log calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "a remembered registration",
            Self::Realm => "a remembered realm",
            Self::Secret => "a remembered client secret",
            Self::VerificationKeys => "a realm's remembered public keys",
            Self::SigningKeys => "a realm's remembered signing keys",
            Self::RemoteKeys => "the remembered keys of a client or an issuer",
        }
    }
}

impl Rotated<'_> {
    /// What counts the rotations that were finished.
    fn metric(self) -> Metric {
        match self {
            Self::ClientSecret(..) => Metric::ClientSecretsRotated,
            Self::SigningKeys(_) => Metric::SigningKeysRotated,
        }
    }
}

impl Progress {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done | Self::Finished => "done",
            Self::NothingToDo => "nothing_to_do",
        }
    }
}
