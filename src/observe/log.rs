//! The log: its levels and forms, and where lines go.
//!
//! Only this crate's events pass the filter below `warn`, whatever `RUST_LOG` says: libraries log bodies and headers at
//! their lower levels.

use std::fmt;
use std::io;
use std::panic;
use std::str::FromStr;
use std::sync::Arc;

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::background::{Background, LogGuard};

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

/// The text is not a log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a log level is error, warn, info, debug or trace")]
pub struct UnknownLogLevel;

impl FromStr for LogLevel {
    type Err = UnknownLogLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLogLevel> {
        match text.to_ascii_lowercase().as_str() {
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

/// One JSON object: the time, the level, the fields of the event, its target, and the span it is in with its fields.
fn json_lines<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(writer)
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
    fn a_log_level_is_read_in_any_case() {
        for (text, level) in [("info", LogLevel::Info), ("INFO", LogLevel::Info), ("Debug", LogLevel::Debug)] {
            assert_eq!(text.parse(), Ok(level), "{text}");
        }
        for text in ["", "loud", " info", "warning"] {
            assert_eq!(text.parse::<LogLevel>(), Err(UnknownLogLevel), "{text:?}");
        }
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
