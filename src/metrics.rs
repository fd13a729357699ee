//! CloudWatch metrics in the embedded metric format: what one invocation did, as one more line of its log. Nothing is sent, so
//! no metric can fail a request or hold it up.
//!
//! Each value of a dimension is a metric that somebody pays for. So there are three dimensions, none of which a caller can fill:
//! the function, the realm where it is registered, and the reason of a refusal. Never a client id.
//!
//! The format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::fmt;
use std::io::{self, Write as _};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::ser::{SerializeMap as _, SerializeStruct as _};
use serde::{Serialize, Serializer};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use crate::core::audit::{AuditEvent, AuditSink};
use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::client::secret::ClientSecrets;
use crate::core::keys::SigningAlgorithm;
use crate::core::keys::published::VerificationKeys;
use crate::core::keys::set::Signers;
use crate::core::port_error::PortError;
use crate::core::ports::{ClientRegistry, Clock, SecretSource, SigningKeySource, VerificationKeySource};
use crate::core::realm::{Realm, RealmName};
use crate::core::time::UnixSeconds;
use crate::system::SystemClock;
use crate::telemetry::{LogLevel, TracingAudit};

/// Under which all metrics are found.
pub const NAMESPACE: &str = "Grantwell";

/// Whether a process writes metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsFormat {
    /// It writes none.
    #[default]
    Off,
    /// In the embedded metric format, into the log.
    Emf,
}

/// The text is no format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metrics are off or emf")]
pub struct UnknownMetricsFormat;

/// What is counted or measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Invocations that were the first of their process.
    ColdStarts,
    /// Time from the event to the answer.
    Latency,
    /// Requests that were refused, whoever is to blame.
    RequestsRefused,
    /// Answers with status 503, or an authorizer's equivalent.
    AnswersUnavailable,
    /// Answers with status 500, or an authorizer's equivalent.
    AnswersFailed,
    /// Tokens issued.
    TokensIssued,
    /// Those beyond a quota that is only observed.
    TokensBeyondQuota,
    /// Tokens of which a caller was told that they are active.
    IntrospectionsActive,
    /// Tokens of which a caller was told that they are not.
    IntrospectionsInactive,
    /// Tokens that ended before their time.
    TokensRevoked,
    /// Requests that an authorizer let pass.
    AccessAllowed,
    /// Requests that an authorizer turned away.
    AccessDenied,
    /// Client secrets that a rotation made current.
    ClientSecretsRotated,
    /// Sets of signing keys that a rotation made current.
    SigningKeysRotated,
    /// Rotation steps that failed.
    RotationsFailed,
    /// Realms whose signing keys the schedule could not look at or replace; 0 where all is well.
    SigningKeysOverdue,
    /// Look-ups of a registration that needed no call.
    ClientCacheHits,
    /// Look-ups of a registration that needed one.
    ClientCacheMisses,
    /// Look-ups of a realm that needed no call.
    RealmCacheHits,
    /// Look-ups of a realm that needed one.
    RealmCacheMisses,
    /// Look-ups of a client's secret that needed no call.
    SecretCacheHits,
    /// Look-ups of a client's secret that needed one.
    SecretCacheMisses,
    /// Look-ups of a realm's public keys that needed no call.
    VerificationKeyCacheHits,
    /// Look-ups of a realm's public keys that needed one.
    VerificationKeyCacheMisses,
    /// Look-ups of a realm's private keys that needed no call.
    SigningKeyCacheHits,
    /// Look-ups of a realm's private keys that needed calls.
    SigningKeyCacheMisses,
    /// Attempts of calls to DynamoDB.
    DynamoDbCalls,
    /// Those that it throttled.
    DynamoDbThrottles,
    /// Those that it did not answer, or with a fault of its own.
    DynamoDbFailures,
    /// Attempts of calls to Secrets Manager.
    SecretsManagerCalls,
    /// Those that it throttled.
    SecretsManagerThrottles,
    /// Those that it did not answer, or with a fault of its own.
    SecretsManagerFailures,
}

/// Units of the format that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Count,
    Milliseconds,
}

/// By what a metric is split up, besides the function's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Split {
    Nothing,
    Realm,
    Reason,
}

/// What the process has done since its last line.
pub struct Metrics {
    /// The dimension of every metric; `None` where no metrics are written.
    function_name: Option<String>,
    level: LogLevel,
    clock: Arc<dyn Clock>,
    pending: Mutex<Pending>,
}

/// By which a line is found from other lines and from a trace. Nothing in it is a caller's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvocationIds {
    /// Lambda's own id of the invocation.
    pub request_id: String,
    /// X-Ray's id of the trace, where there is one.
    pub trace_id: Option<String>,
}

#[derive(Default)]
struct Pending {
    values: [Option<u64>; Metric::ALL.len()],
    latency: Duration,
    realm: Option<RealmName>,
    reason: Option<String>,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 32] = [
        Self::ColdStarts,
        Self::Latency,
        Self::RequestsRefused,
        Self::AnswersUnavailable,
        Self::AnswersFailed,
        Self::TokensIssued,
        Self::TokensBeyondQuota,
        Self::IntrospectionsActive,
        Self::IntrospectionsInactive,
        Self::TokensRevoked,
        Self::AccessAllowed,
        Self::AccessDenied,
        Self::ClientSecretsRotated,
        Self::SigningKeysRotated,
        Self::RotationsFailed,
        Self::SigningKeysOverdue,
        Self::ClientCacheHits,
        Self::ClientCacheMisses,
        Self::RealmCacheHits,
        Self::RealmCacheMisses,
        Self::SecretCacheHits,
        Self::SecretCacheMisses,
        Self::VerificationKeyCacheHits,
        Self::VerificationKeyCacheMisses,
        Self::SigningKeyCacheHits,
        Self::SigningKeyCacheMisses,
        Self::DynamoDbCalls,
        Self::DynamoDbThrottles,
        Self::DynamoDbFailures,
        Self::SecretsManagerCalls,
        Self::SecretsManagerThrottles,
        Self::SecretsManagerFailures,
    ];

    /// The name in CloudWatch, the unit, and by what it is split up. The template's alarms are compared with this table.
    fn row(self) -> (&'static str, Unit, Split) {
        match self {
            Self::ColdStarts => ("ColdStarts", Unit::Count, Split::Nothing),
            Self::Latency => ("Latency", Unit::Milliseconds, Split::Nothing),
            Self::RequestsRefused => ("RequestsRefused", Unit::Count, Split::Reason),
            Self::AnswersUnavailable => ("AnswersUnavailable", Unit::Count, Split::Nothing),
            Self::AnswersFailed => ("AnswersFailed", Unit::Count, Split::Nothing),
            Self::TokensIssued => ("TokensIssued", Unit::Count, Split::Realm),
            Self::TokensBeyondQuota => ("TokensBeyondQuota", Unit::Count, Split::Realm),
            Self::IntrospectionsActive => ("IntrospectionsActive", Unit::Count, Split::Nothing),
            Self::IntrospectionsInactive => ("IntrospectionsInactive", Unit::Count, Split::Nothing),
            Self::TokensRevoked => ("TokensRevoked", Unit::Count, Split::Nothing),
            Self::AccessAllowed => ("AccessAllowed", Unit::Count, Split::Nothing),
            Self::AccessDenied => ("AccessDenied", Unit::Count, Split::Reason),
            Self::ClientSecretsRotated => ("ClientSecretsRotated", Unit::Count, Split::Nothing),
            Self::SigningKeysRotated => ("SigningKeysRotated", Unit::Count, Split::Nothing),
            Self::RotationsFailed => ("RotationsFailed", Unit::Count, Split::Nothing),
            Self::SigningKeysOverdue => ("SigningKeysOverdue", Unit::Count, Split::Nothing),
            Self::ClientCacheHits => ("ClientCacheHits", Unit::Count, Split::Nothing),
            Self::ClientCacheMisses => ("ClientCacheMisses", Unit::Count, Split::Nothing),
            Self::RealmCacheHits => ("RealmCacheHits", Unit::Count, Split::Nothing),
            Self::RealmCacheMisses => ("RealmCacheMisses", Unit::Count, Split::Nothing),
            Self::SecretCacheHits => ("SecretCacheHits", Unit::Count, Split::Nothing),
            Self::SecretCacheMisses => ("SecretCacheMisses", Unit::Count, Split::Nothing),
            Self::VerificationKeyCacheHits => ("VerificationKeyCacheHits", Unit::Count, Split::Nothing),
            Self::VerificationKeyCacheMisses => ("VerificationKeyCacheMisses", Unit::Count, Split::Nothing),
            Self::SigningKeyCacheHits => ("SigningKeyCacheHits", Unit::Count, Split::Nothing),
            Self::SigningKeyCacheMisses => ("SigningKeyCacheMisses", Unit::Count, Split::Nothing),
            Self::DynamoDbCalls => ("DynamoDbCalls", Unit::Count, Split::Nothing),
            Self::DynamoDbThrottles => ("DynamoDbThrottles", Unit::Count, Split::Nothing),
            Self::DynamoDbFailures => ("DynamoDbFailures", Unit::Count, Split::Nothing),
            Self::SecretsManagerCalls => ("SecretsManagerCalls", Unit::Count, Split::Nothing),
            Self::SecretsManagerThrottles => ("SecretsManagerThrottles", Unit::Count, Split::Nothing),
            Self::SecretsManagerFailures => ("SecretsManagerFailures", Unit::Count, Split::Nothing),
        }
    }
}

impl Unit {
    fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
        }
    }
}

impl Split {
    const ALL: [Self; 3] = [Self::Nothing, Self::Realm, Self::Reason];

    /// The sets of dimensions under which the values are added up.
    fn dimensions(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Nothing => &[&[FUNCTION_NAME]],
            Self::Realm => &[&[FUNCTION_NAME], &[FUNCTION_NAME, REALM]],
            Self::Reason => &[&[FUNCTION_NAME], &[FUNCTION_NAME, REASON]],
        }
    }
}

impl FromStr for MetricsFormat {
    type Err = UnknownMetricsFormat;

    fn from_str(text: &str) -> Result<Self, UnknownMetricsFormat> {
        match text {
            "off" => Ok(Self::Off),
            "emf" => Ok(Self::Emf),
            _ => Err(UnknownMetricsFormat),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").field("is_on", &self.is_on()).finish_non_exhaustive()
    }
}

impl Metrics {
    /// The metrics of a process that has just started. `level` is the least severe that is logged: Lambda drops what is below.
    pub fn new(format: MetricsFormat, function_name: String, level: LogLevel, clock: Arc<dyn Clock>) -> Self {
        let metrics = Self {
            function_name: (format == MetricsFormat::Emf).then_some(function_name),
            level,
            clock,
            pending: Mutex::default(),
        };
        metrics.count(Metric::ColdStarts);
        metrics
    }

    /// Those of a process that writes none.
    pub fn off() -> Self {
        Self::new(MetricsFormat::Off, String::new(), LogLevel::default(), Arc::new(SystemClock))
    }

    /// Whether anything is written.
    pub fn is_on(&self) -> bool {
        self.function_name.is_some()
    }

    /// Counts one.
    pub fn count(&self, metric: Metric) {
        self.add(metric, 1);
    }

    /// Counts `number`; 0 says that there was a look, and nothing to count.
    pub fn add(&self, metric: Metric, number: usize) {
        if self.is_on()
            && let Some(value) = self.pending().values.get_mut(metric as usize)
        {
            *value = Some(value.unwrap_or_default().saturating_add(number.try_into().unwrap_or(u64::MAX)));
        }
    }

    /// Counts a refusal. `reason` is one of few that this program knows, never anything of a request.
    pub fn refused(&self, metric: Metric, reason: &str) {
        if self.is_on() {
            self.pending().reason = Some(reason.to_owned());
            self.count(metric);
        }
    }

    /// Counts an answer by its HTTP status.
    pub fn answered(&self, status: u16) {
        match status {
            503 => self.count(Metric::AnswersUnavailable),
            500.. => self.count(Metric::AnswersFailed),
            _ => {}
        }
    }

    /// Writes the line of the invocation that has just ended, and begins anew.
    pub fn finish(&self, ids: &InvocationIds, latency: Duration) {
        if let Some(mut line) = self.take_line(ids, latency) {
            line.push('\n');
            // One write, so that no other line comes between. Where nobody reads stdout there is nobody to tell.
            let _lost = io::stdout().lock().write_all(line.as_bytes());
        }
    }

    /// The line of the invocation that has just ended; `None` where metrics are off. Begins anew.
    pub fn take_line(&self, ids: &InvocationIds, latency: Duration) -> Option<String> {
        let function_name = self.function_name.as_ref()?;
        let mut pending = std::mem::take(&mut *self.pending());
        pending.latency = latency;
        if let Some(value) = pending.values.get_mut(Metric::Latency as usize) {
            *value = Some(1);
        }
        let mut written_at = String::new();
        let _infallible = SystemTime.format_time(&mut Writer::new(&mut written_at));
        let (level, now) = (level_of_lines(self.level), self.clock.now());
        let line = Line { function_name, level, ids, now, written_at: &written_at, pending: &pending };
        serde_json::to_string(&line).ok()
    }

    fn value(&self, metric: Metric) -> Option<u64> {
        self.pending().values.get(metric as usize).copied().flatten()
    }

    /// Counts are whole whatever panicked while it held the lock.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decided(&self, event: &AuditEvent<'_>) {
        match event {
            AuditEvent::TokenIssued { realm, .. } => {
                self.pending().realm = Some((*realm).clone());
                self.count(Metric::TokensIssued);
            }
            AuditEvent::QuotaExceededObserved { realm, .. } => {
                self.pending().realm = Some((*realm).clone());
                self.count(Metric::TokensBeyondQuota);
            }
            AuditEvent::TokenIntrospected { active: true, .. } => self.count(Metric::IntrospectionsActive),
            AuditEvent::TokenIntrospected { active: false, .. } => self.count(Metric::IntrospectionsInactive),
            AuditEvent::TokenRevoked { audit_tracking_id, .. } => {
                self.add(Metric::TokensRevoked, usize::from(audit_tracking_id.is_some()));
            }
            // Not its realm: callers may invent one.
            AuditEvent::Refused { error, .. } | AuditEvent::AccessUndecided { error, .. } => {
                self.refused(Metric::RequestsRefused, &error.reason());
            }
            AuditEvent::Malformed { .. } => self.refused(Metric::RequestsRefused, MALFORMED),
            AuditEvent::AccessAllowed { .. } => self.count(Metric::AccessAllowed),
            AuditEvent::AccessDenied { reason, .. } => self.refused(Metric::AccessDenied, reason),
        }
    }
}

/// What an invocation did. Written straight into its text, since it is part of what an invocation costs.
struct Line<'a> {
    function_name: &'a str,
    level: &'static str,
    ids: &'a InvocationIds,
    now: UnixSeconds,
    written_at: &'a str,
    pending: &'a Pending,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { function_name, level, ids, now, written_at, pending } = self;
        let mut line = serializer.serialize_map(None)?;

        // 1. What leads to the other lines of the invocation, and the dimensions.
        line.serialize_entry("timestamp", written_at)?;
        line.serialize_entry("level", level)?;
        line.serialize_entry("request_id", &ids.request_id)?;
        if let Some(trace_id) = &ids.trace_id {
            line.serialize_entry("trace_id", trace_id)?;
        }
        line.serialize_entry(FUNCTION_NAME, function_name)?;
        if let Some(realm) = &pending.realm {
            line.serialize_entry(REALM, realm.as_str())?;
        }
        if let Some(reason) = &pending.reason {
            line.serialize_entry(REASON, reason)?;
        }

        // 2. The values.
        for (metric, value) in pending.recorded() {
            let (name, ..) = metric.row();
            if metric == Metric::Latency {
                line.serialize_entry(name, &milliseconds(pending.latency))?;
            } else {
                line.serialize_entry(name, &value)?;
            }
        }

        // 3. What CloudWatch is to make of them.
        let timestamp = now.0.saturating_mul(1000);
        let directives = Split::ALL.into_iter().map(|split| Directive { split, pending });
        let directives = Sequence(directives.filter(|directive| directive.metrics().next().is_some()));
        line.serialize_entry("_aws", &Instructions { timestamp, directives })?;
        line.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Instructions<D> {
    timestamp: u64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: D,
}

/// The metrics that are split up alike.
#[derive(Clone, Copy)]
struct Directive<'a> {
    split: Split,
    pending: &'a Pending,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricDefinition {
    name: &'static str,
    unit: &'static str,
}

impl<'a> Directive<'a> {
    fn metrics(self) -> impl Iterator<Item = MetricDefinition> + Clone + use<'a> {
        let rows = self.pending.recorded().map(|(metric, _)| metric.row());
        let rows = rows.filter(move |(_, _, split)| *split == self.split);
        rows.map(|(name, unit, _)| MetricDefinition { name, unit: unit.as_str() })
    }
}

impl Serialize for Directive<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut directive = serializer.serialize_struct("Directive", 3)?;
        directive.serialize_field("Namespace", NAMESPACE)?;
        directive.serialize_field("Dimensions", self.split.dimensions())?;
        directive.serialize_field("Metrics", &Sequence(self.metrics()))?;
        directive.end()
    }
}

/// A JSON array of what an iterator yields.
struct Sequence<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Sequence<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

impl Pending {
    fn recorded(&self) -> impl Iterator<Item = (Metric, u64)> + Clone {
        Metric::ALL.into_iter().zip(self.values).filter_map(|(metric, value)| Some((metric, value?)))
    }
}

/// Lambda filters the lines of a function whose log format is JSON by their member `level`, and takes one without a valid
/// `level` and an RFC 3339 `timestamp` for INFO, which a stack with a `LogLevel` of warn or error never sees
/// (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>). So a line of metrics has the very
/// level that is the least to pass, whatever it is.
fn level_of_lines(least: LogLevel) -> &'static str {
    LevelFilter::from(least).into_level().map_or("ERROR", |level| level.as_str())
}

/// To a microsecond: a warm answer without a call takes less than one millisecond.
fn milliseconds(time: Duration) -> f64 {
    Duration::from_micros(time.as_micros().try_into().unwrap_or(u64::MAX)).as_secs_f64() * 1000.0
}

/// An [`AuditSink`] that logs each decision and counts it.
pub struct CountedAudit(pub Arc<Metrics>);

impl AuditSink for CountedAudit {
    fn record(&self, event: &AuditEvent<'_>) {
        TracingAudit.record(event);
        self.0.decided(event);
    }
}

/// Around a cache: counts the look-ups that cost its source nothing. They are those between whose beginning and end
/// [`CountedLoads`] counted nothing; an invocation is alone in its process.
pub struct CountedHits<P: ?Sized> {
    /// The cache.
    pub cache: Arc<P>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

/// Between a cache and its source: counts what the cache asks for.
pub struct CountedLoads<P: ?Sized> {
    /// The source.
    pub source: Arc<P>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

impl<P: ?Sized> CountedHits<P> {
    async fn counted<T>(&self, hits: Metric, misses: Metric, lookup: impl Future<Output = T> + Send) -> T {
        let before = self.metrics.value(misses);
        let found = lookup.await;
        if self.metrics.value(misses) == before {
            self.metrics.count(hits);
        }
        found
    }
}

#[async_trait]
impl ClientRegistry for CountedHits<dyn ClientRegistry> {
    async fn client(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        let lookup = self.cache.client(realm, client_id);
        self.counted(Metric::ClientCacheHits, Metric::ClientCacheMisses, lookup).await
    }

    async fn realm(&self, name: &RealmName) -> Result<Option<Arc<Realm>>, PortError> {
        self.counted(Metric::RealmCacheHits, Metric::RealmCacheMisses, self.cache.realm(name)).await
    }

    async fn client_anew(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        self.cache.client_anew(realm, client_id).await
    }
}

#[async_trait]
impl ClientRegistry for CountedLoads<dyn ClientRegistry> {
    async fn client(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        self.metrics.count(Metric::ClientCacheMisses);
        self.source.client(realm, client_id).await
    }

    async fn realm(&self, name: &RealmName) -> Result<Option<Arc<Realm>>, PortError> {
        self.metrics.count(Metric::RealmCacheMisses);
        self.source.realm(name).await
    }

    async fn client_anew(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        self.metrics.count(Metric::ClientCacheMisses);
        self.source.client_anew(realm, client_id).await
    }
}

#[async_trait]
impl SecretSource for CountedHits<dyn SecretSource> {
    async fn secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        self.counted(Metric::SecretCacheHits, Metric::SecretCacheMisses, self.cache.secrets(client)).await
    }

    async fn admits_another_look(&self, client: &Client) -> bool {
        self.cache.admits_another_look(client).await
    }

    async fn secrets_anew(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        self.cache.secrets_anew(client).await
    }

    async fn confirm(&self, client: &Client, secrets: &ClientSecrets) {
        self.cache.confirm(client, secrets).await;
    }

    async fn no_secrets(&self) {
        // Counted by nobody, and yet the work of one look: an answer's time must not say who is registered.
        self.cache.no_secrets().await;
    }
}

#[async_trait]
impl SecretSource for CountedLoads<dyn SecretSource> {
    async fn secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        self.metrics.count(Metric::SecretCacheMisses);
        self.source.secrets(client).await
    }
}

#[async_trait]
impl VerificationKeySource for CountedHits<dyn VerificationKeySource> {
    async fn verification_keys(&self, realm: &RealmName) -> Result<Arc<VerificationKeys>, PortError> {
        let (hits, misses) = (Metric::VerificationKeyCacheHits, Metric::VerificationKeyCacheMisses);
        self.counted(hits, misses, self.cache.verification_keys(realm)).await
    }

    async fn verification_keys_after_mismatch(
        &self,
        realm: &RealmName,
    ) -> Result<Option<Arc<VerificationKeys>>, PortError> {
        self.cache.verification_keys_after_mismatch(realm).await
    }
}

#[async_trait]
impl VerificationKeySource for CountedLoads<dyn VerificationKeySource> {
    async fn verification_keys(&self, realm: &RealmName) -> Result<Arc<VerificationKeys>, PortError> {
        self.metrics.count(Metric::VerificationKeyCacheMisses);
        self.source.verification_keys(realm).await
    }
}

#[async_trait]
impl SigningKeySource for CountedHits<dyn SigningKeySource> {
    async fn signers(&self, realm: &RealmName, alg: SigningAlgorithm) -> Result<Arc<Signers>, PortError> {
        let (hits, misses) = (Metric::SigningKeyCacheHits, Metric::SigningKeyCacheMisses);
        self.counted(hits, misses, self.cache.signers(realm, alg)).await
    }
}

#[async_trait]
impl SigningKeySource for CountedLoads<dyn SigningKeySource> {
    async fn signers(&self, realm: &RealmName, alg: SigningAlgorithm) -> Result<Arc<Signers>, PortError> {
        self.metrics.count(Metric::SigningKeyCacheMisses);
        self.source.signers(realm, alg).await
    }
}

/// The reason of a request that never became one of the protocol.
pub const MALFORMED: &str = "malformed_request";
/// The reason of a request that did not come through what stands in front of the API.
pub const PAST_THE_FRONT: &str = "past_the_front";
/// The reason of a request that was not decided in time.
pub const OUT_OF_TIME: &str = "out_of_time";

const FUNCTION_NAME: &str = "FunctionName";
const REALM: &str = "Realm";
const REASON: &str = "Reason";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::core::error::{ClientAuthFailure, OAuthError};

    fn metrics(format: MetricsFormat) -> Arc<Metrics> {
        Arc::new(Metrics::new(format, "stack-token".into(), LogLevel::Info, Arc::new(SystemClock)))
    }

    fn ids() -> InvocationIds {
        let trace_id = Some("1-5759e988-bd862e3fe1be46a994272793".into());
        InvocationIds { request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd".into(), trace_id }
    }

    fn line_of(metrics: &Metrics, level: LogLevel) -> Value {
        let mut pending = std::mem::take(&mut *metrics.pending());
        pending.latency = Duration::from_nanos(1_234_567);
        pending.values[Metric::Latency as usize] = Some(1);
        let line = Line {
            function_name: "stack-token",
            level: level_of_lines(level),
            ids: &ids(),
            now: UnixSeconds(1_700_000_000),
            written_at: "2023-11-14T22:13:20.000000Z",
            pending: &pending,
        };
        serde_json::to_value(line).expect("JSON")
    }

    fn issued(realm: &RealmName) -> AuditEvent<'_> {
        let (client_id, scope) = (Box::leak(Box::new("myClient".parse().expect("an id"))), "read".parse());
        AuditEvent::TokenIssued {
            realm,
            client_id,
            scope: Box::leak(Box::new(scope.expect("a scope"))),
            expires_in: 3600,
            format: crate::core::access_token::settings::AccessTokenFormat::Opaque,
            audit_tracking_id: "a9ab2e1e-6a5a-4d8f-8e0d-4c1d5e0f2a3b",
        }
    }

    #[test]
    fn an_issued_token_is_one_line_in_the_embedded_metric_format() {
        let metrics = metrics(MetricsFormat::Emf);
        CountedAudit(Arc::clone(&metrics)).record(&issued(&"alpha".parse().expect("a realm")));
        metrics.count(Metric::DynamoDbCalls);
        metrics.count(Metric::DynamoDbCalls);
        let line = line_of(&metrics, LogLevel::Info);
        assert_eq!(
            line,
            json!({
                "_aws": {"Timestamp": 1_700_000_000_000_u64, "CloudWatchMetrics": [
                    {"Namespace": "Grantwell", "Dimensions": [["FunctionName"]], "Metrics": [
                        {"Name": "ColdStarts", "Unit": "Count"},
                        {"Name": "Latency", "Unit": "Milliseconds"},
                        {"Name": "DynamoDbCalls", "Unit": "Count"},
                    ]},
                    {"Namespace": "Grantwell", "Dimensions": [["FunctionName"], ["FunctionName", "Realm"]],
                        "Metrics": [{"Name": "TokensIssued", "Unit": "Count"}]},
                ]},
                "timestamp": "2023-11-14T22:13:20.000000Z", "level": "INFO",
                "request_id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd", "trace_id": "1-5759e988-bd862e3fe1be46a994272793",
                "FunctionName": "stack-token", "Realm": "alpha",
                "ColdStarts": 1, "Latency": 1.234, "DynamoDbCalls": 2, "TokensIssued": 1,
            })
        );
        assert!(!line.to_string().contains('\n'));
    }

    #[test]
    fn a_refusal_counts_under_its_reason_and_names_neither_the_client_nor_the_realm() {
        let metrics = metrics(MetricsFormat::Emf);
        drop(line_of(&metrics, LogLevel::Info));
        let (realm, client_id) = ("invented".parse().expect("a realm"), "myClient".parse().expect("an id"));
        let error = OAuthError::InvalidClient(ClientAuthFailure::WrongSecret);
        let refused = AuditEvent::Refused {
            endpoint: "token",
            realm: &realm,
            client_id: Some(&client_id),
            source: None,
            error: &error,
        };
        metrics.decided(&refused);
        let line = line_of(&metrics, LogLevel::Error);
        assert_eq!((&line["Reason"], &line["RequestsRefused"]), (&json!("wrong secret"), &json!(1)));
        assert_eq!(
            line["_aws"]["CloudWatchMetrics"][1]["Dimensions"],
            json!([["FunctionName"], ["FunctionName", "Reason"]])
        );
        assert!(line.get("ColdStarts").is_none(), "only the first line of a process has one: {line}");
        assert_eq!(line["level"], "ERROR", "Lambda drops what is below the level that the function has");
        assert!(!line.to_string().contains("myClient") && !line.to_string().contains("invented"), "{line}");
    }

    #[test]
    fn every_metric_is_in_the_list_once_where_its_number_says() {
        for (position, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!(metric as usize, position, "{metric:?}");
            assert_eq!(metric.row().0, format!("{metric:?}"), "the name is the one of the code");
        }
        // The format allows 100 metrics a directive and 30 dimensions a set.
        assert!(Metric::ALL.len() <= 100);
    }

    #[test]
    fn a_line_declares_exactly_the_metrics_and_the_dimensions_that_it_has() {
        let metrics = metrics(MetricsFormat::Emf);
        for metric in Metric::ALL {
            metrics.count(metric);
        }
        metrics.pending().realm = Some("alpha".parse().expect("a realm"));
        metrics.pending().reason = Some("wrong secret".into());
        let line = line_of(&metrics, LogLevel::Info);
        let mut named = vec!["timestamp", "level", "request_id", "trace_id", "_aws"];
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().expect("a list") {
            for metric in directive["Metrics"].as_array().expect("a list") {
                let name = metric["Name"].as_str().expect("text");
                assert!(line[name].is_number(), "{name}");
                named.push(name);
            }
            for dimension in directive["Dimensions"]
                .as_array()
                .expect("a list")
                .iter()
                .flat_map(|set| set.as_array().expect("a set"))
            {
                let name = dimension.as_str().expect("text");
                assert!(line[name].is_string(), "{name}");
                named.push(name);
            }
        }
        for member in line.as_object().expect("an object").keys() {
            assert!(named.contains(&member.as_str()), "{member} is nowhere declared");
        }
    }

    #[test]
    fn nothing_is_kept_where_metrics_are_off() {
        let metrics = metrics(MetricsFormat::Off);
        metrics.decided(&issued(&"alpha".parse().expect("a realm")));
        metrics.count(Metric::DynamoDbCalls);
        assert!(Metric::ALL.into_iter().all(|metric| metrics.value(metric).is_none()));
    }
}
