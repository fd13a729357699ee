//! The log: one line a decision, and how lines are written.
//!
//! Only this crate's events pass the filter below `warn`, whatever `RUST_LOG` says: libraries log bodies and headers at
//! their lower levels.

mod background;
mod refusals;

use std::fmt;
use std::io;
use std::panic;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer as _};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{self, FormatTime as _};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::background::Background;
pub use self::background::LogGuard;
pub use self::refusals::LogRefusalsSparingly;
use crate::core::access_token::facts::TokenFacts;
use crate::core::audit::{AuditEvent, AuditSink};
use crate::core::error::OAuthError;

/// Writes one log line per decision.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingAudit;

/// What the local server's log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line, as the functions write it.
    Json,
}

/// How much this crate logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// What an operator must act on.
    Error,
    /// What an operator should know.
    Warn,
    /// One line per decision, too.
    #[default]
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// The text is no log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a log level is error, warn, info, debug or trace")]
pub struct UnknownLogLevel;

impl AuditSink for TracingAudit {
    fn record(&self, event: &AuditEvent<'_>) {
        match event {
            AuditEvent::TokenIssued { realm, client_id, scope, expires_in, format, audit_tracking_id } => {
                let format = format.as_str();
                tracing::info!(
                    %realm, %client_id, %scope, expires_in_seconds = expires_in, format, audit_tracking_id, "token issued"
                );
            }
            AuditEvent::QuotaExceededObserved { realm, client_id, limit, counted, audit_tracking_id } => {
                tracing::info!(
                    %realm, %client_id, quota = %limit, counted, audit_tracking_id,
                    "token quota exceeded, which is only observed"
                );
            }
            AuditEvent::TokenIntrospected { realm, caller, active, audit_tracking_id } => {
                tracing::info!(%realm, client_id = %caller, active, audit_tracking_id, "token introspected");
            }
            AuditEvent::TokenRevoked { realm, caller, audit_tracking_id } => {
                let revoked = audit_tracking_id.is_some();
                tracing::info!(%realm, client_id = %caller, revoked, audit_tracking_id, "revocation answered");
            }
            AuditEvent::Refused { endpoint, realm, client_id, error, .. } => {
                let client_id = client_id.map(ToString::to_string);
                let reason = error.reason();
                match error {
                    OAuthError::Server(_) => {
                        tracing::error!(endpoint, %realm, client_id, reason, detail = %error, "request failed");
                    }
                    OAuthError::Unavailable(_) => {
                        tracing::warn!(endpoint, %realm, client_id, reason, detail = %error, "request failed");
                    }
                    OAuthError::TooManyAttempts { from: source, .. } => {
                        tracing::warn!(endpoint, %realm, client_id, %source, reason, "request refused");
                    }
                    OAuthError::QuotaExceeded(quota) => {
                        tracing::info!(endpoint, %realm, client_id, quota = %quota.limit, reason, "request refused");
                    }
                    _ => tracing::info!(endpoint, %realm, client_id, reason, "request refused"),
                }
            }
            AuditEvent::Malformed { endpoint, reason, .. } => tracing::info!(endpoint, reason, "request refused"),
            AuditEvent::AccessAllowed { route, token } => {
                let (client_id, audit_tracking_id) = facts(Some(token));
                tracing::info!(client_id, route, audit_tracking_id, "access allowed");
            }
            AuditEvent::AccessDenied { route, route_is_named: true, token, reason } => {
                let (client_id, audit_tracking_id) = facts(*token);
                tracing::info!(client_id, route, reason, audit_tracking_id, "access denied");
            }
            AuditEvent::AccessDenied { route, route_is_named: false, token, reason } => {
                let (client_id, audit_tracking_id) = facts(*token);
                tracing::warn!(
                    client_id,
                    route,
                    reason,
                    audit_tracking_id,
                    "access denied to a route that GRANTWELL_AUTHORIZER_SCOPES does not name"
                );
            }
            AuditEvent::AccessUndecided { route, error } => {
                let reason = error.reason();
                if matches!(error, OAuthError::Unavailable(_)) {
                    tracing::warn!(route, reason, detail = %error, "request failed");
                } else {
                    tracing::error!(route, reason, detail = %error, "request failed");
                }
            }
        }
    }
}

/// The client and the audit id of a token, for the log.
fn facts(token: Option<&TokenFacts>) -> (Option<&str>, Option<&str>) {
    (token.map(|token| token.client_id.as_str()), token.and_then(|token| token.audit_tracking_id.as_deref()))
}

impl FromStr for LogLevel {
    type Err = UnknownLogLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLogLevel> {
        match text {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err(UnknownLogLevel),
        }
    }
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}

/// Logs to stderr, from a thread of its own. Where the process logs already, nothing is logged anew.
///
/// # Errors
/// What the system says where that thread cannot be started.
pub fn init_local(level: LogLevel, format: LogFormat) -> io::Result<LogGuard> {
    log_panics_without_their_message();
    let log = Background::start(io::stderr())?;
    let (writer, registry) = (Arc::clone(&log), tracing_subscriber::registry().with(filter(level)));
    let _already_set = match format {
        LogFormat::Text => {
            registry.with(tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false)).try_init()
        }
        LogFormat::Json => registry.with(json_lines(writer)).try_init(),
    };
    Ok(LogGuard::of(&log))
}

/// Logs one JSON object per line to stdout, where Lambda takes it, with the ids of the invocation that it is about. Does
/// nothing where the process logs already.
pub fn init_lambda(level: LogLevel) {
    log_panics_without_their_message();
    let _already_set = tracing_subscriber::registry().with(filter(level)).with(json_lines(io::stdout)).try_init();
}

fn json_lines<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    tracing_subscriber::fmt::layer().fmt_fields(JsonFields::new()).event_format(JsonLine).with_writer(writer)
}

/// One JSON object: the time, the level, the fields of the event, its target, and the span it is in with its fields. The format
/// of `tracing_subscriber` reads a span's fields back from their text for every line, which each warm invocation would pay for.
struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut timestamp = String::new();
        time::SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut line = Vec::with_capacity(512);
        let mut serializer = serde_json::Serializer::new(&mut line);
        let members = serializer.serialize_map(None).map_err(|_| fmt::Error)?;
        let mut members = Members { map: members, outcome: Ok(()) };
        members.put("timestamp", &timestamp);
        members.put("level", event.metadata().level().as_str());
        event.record(&mut members);
        members.put("target", event.metadata().target());
        let Members { map, outcome } = members;
        outcome.and_then(|()| map.end()).map_err(|_| fmt::Error)?;
        let line = std::str::from_utf8(&line).map_err(|_| fmt::Error)?;
        let Some(span) = context.lookup_current() else { return writeln!(writer, "{line}") };

        // The span's own text is an object, too: its members follow the name.
        let extensions = span.extensions();
        let fields = extensions.get::<FormattedFields<N>>().map_or("{}", |fields| fields.fields.as_str());
        let (Some(line), Some(fields)) = (line.strip_suffix('}'), fields.strip_prefix('{')) else {
            return Err(fmt::Error);
        };
        let separator = if fields == "}" { "" } else { "," };
        writeln!(writer, r#"{line},"span":{{"name":"{}"{separator}{fields}}}"#, span.name())
    }
}

/// The members of an object that is being written.
struct Members<M: SerializeMap> {
    map: M,
    outcome: Result<(), M::Error>,
}

impl<M: SerializeMap> Members<M> {
    fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if self.outcome.is_ok() {
            self.outcome = self.map.serialize_entry(name, value);
        }
    }
}

impl<M: SerializeMap> Visit for Members<M> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), &format_args!("{value:?}"));
    }
}

/// A panic's message may quote what it choked on, such as a token. Where it happened is what helps.
fn log_panics_without_their_message() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "a request handler panicked");
    }));
}

/// `lambda_runtime` logs as ERROR what a handler returns as one, an authorizer's every `Unauthorized` too, and panics, of
/// which the hook above has written all that is fit to be written.
fn filter(level: LogLevel) -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF)
        .with_target("grantwell", LevelFilter::from(level))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines_of(work: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let writer = written.clone();
        let lines = json_lines(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), work);
        let text = String::from_utf8(written.0.lock().expect("no panic").clone()).expect("text");
        let line = |line: &str| {
            let mut line: Value = serde_json::from_str(line).expect("JSON");
            let timestamp = line.as_object_mut().expect("an object").remove("timestamp").expect("a timestamp");
            assert!(timestamp.as_str().expect("text").ends_with('Z'), "{timestamp}");
            line
        };
        text.lines().map(line).collect()
    }

    #[test]
    fn a_line_has_the_fields_of_its_event_and_of_the_span_it_is_in() {
        let lines = lines_of(|| {
            tracing::warn!(text = "a \"b\"\n{}", number = 7, is_so = true, share = 0.5, nothing = None::<&str>, "said");
            let span = tracing::error_span!("invocation", request_id = "}\"{", trace_id = "1-2-3");
            span.in_scope(|| tracing::info!(shown = %"x}", "said inside"));
            tracing::error_span!("bare").in_scope(|| tracing::error!(debugged = ?Some("x"), wide = 7_u128));
        });
        let target = module_path!();
        assert_eq!(
            lines,
            [
                json!({
                    "level": "WARN", "message": "said", "text": "a \"b\"\n{}", "number": 7, "is_so": true, "share": 0.5,
                    "target": target,
                }),
                json!({
                    "level": "INFO", "message": "said inside", "shown": "x}", "target": target,
                    "span": {"name": "invocation", "request_id": "}\"{", "trace_id": "1-2-3"},
                }),
                json!({
                    "level": "ERROR", "debugged": "Some(\"x\")", "wide": "7", "target": target, "span": {"name": "bare"},
                }),
            ]
        );
    }
}
