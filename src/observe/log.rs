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
use super::format::{JsonLines, TextLines};

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
        LogFormat::Text => registry.with(text_lines(writer)).try_init(),
        LogFormat::Json => registry.with(json_lines(writer)).try_init(),
    };
    Ok(LogGuard::of(&log))
}

/// Logs one JSON object per line to stdout, where Lambda takes it. Does nothing where the process logs already.
pub fn init_lambda(level: LogLevel) {
    log_panics_without_their_message();
    let _already_set = tracing_subscriber::registry().with(filter(level)).with(json_lines(io::stdout)).try_init();
}

/// The time, the level, who speaks, the message, the fields of the event, and what is known of the request that it is about.
fn text_lines<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    tracing_subscriber::fmt::layer().event_format(TextLines).with_writer(writer)
}

/// One JSON object: the time, the level, the fields of the event, and what is known of the request that it is about.
fn json_lines<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    tracing_subscriber::fmt::layer().event_format(JsonLines).with_writer(writer)
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

    use futures_util::FutureExt as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::core::source::ClientSource;
    use crate::observe::request::{InvocationIds, RequestContext, came_from, during};

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

    fn lines_of(format: LogFormat, work: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let writer = written.clone();
        let (writer, registry) = (move || writer.clone(), tracing_subscriber::registry());
        match format {
            LogFormat::Text => tracing::subscriber::with_default(registry.with(text_lines(writer)), work),
            LogFormat::Json => tracing::subscriber::with_default(registry.with(json_lines(writer)), work),
        }
        let text = String::from_utf8(written.0.lock().expect("no panic").clone()).expect("text");
        text.lines().map(str::to_owned).collect()
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
    fn a_json_line_has_the_fields_of_its_event_and_of_the_request_it_is_about() {
        let lines = lines_of(LogFormat::Json, || {
            tracing::warn!(text = "a \"b\"\n{}", number = 7, is_so = true, share = 0.5, nothing = None::<&str>, "said");
            in_a_request(|| tracing::info!(shown = %"x}", "said inside"));
            tracing::error!(target: "hyper", debugged = ?Some("x"), wide = 7_u128);
        });
        let lines: Vec<Value> = lines.iter().map(|line| without_time(line)).collect();
        assert_eq!(
            lines,
            [
                json!({
                    "level": "WARN", "message": "said", "text": "a \"b\"\n{}", "number": 7, "is_so": true, "share": 0.5,
                }),
                json!({
                    "level": "INFO", "message": "said inside", "shown": "x}", "request_id": "}\"{", "trace_id": "1-2-3",
                    "source": "192.0.2.1",
                }),
                json!({"level": "ERROR", "debugged": "Some(\"x\")", "wide": "7", "target": "hyper"}),
            ]
        );
    }

    #[test]
    fn a_text_line_has_every_text_in_quotes_and_nothing_that_is_not_printable() {
        let lines = lines_of(LogFormat::Text, || {
            tracing::warn!(target: "grantwell", text = "a \"b\"\n\u{1b}[2J\\", shown = %"it's a/b", "said \"so\"\n");
            in_a_request(|| {
                let nothing = None::<&str>;
                tracing::info!(target: "hyper", number = 7, is_so = true, share = 0.5, nothing, debugged = ?Some("x"), "said");
            });
        });
        let lines: Vec<&str> = lines.iter().map(|line| line.split_once('Z').expect("a time").1).collect();
        assert_eq!(
            lines,
            [
                r#"  WARN grantwell: said "so"\n text="a \"b\"\n\u{1b}[2J\\" shown="it's a/b""#,
                r#"  INFO hyper: said number=7 is_so=true share=0.5 debugged="Some(\"x\")" request_id="}\"{" trace_id="1-2-3" source="192.0.2.1""#
            ]
        );
    }

    fn in_a_request(tell: impl FnOnce()) {
        let ids = InvocationIds { request_id: "}\"{".into(), trace_id: Some("1-2-3".into()) };
        let request = during(RequestContext::of_invocation(ids), async {
            came_from(ClientSource::of([192, 0, 2, 1].into()));
            tell();
        });
        request.now_or_never().expect("it waits for nothing");
    }

    fn without_time(line: &str) -> Value {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        let timestamp = line.as_object_mut().expect("an object").remove("timestamp").expect("a timestamp");
        assert!(timestamp.as_str().expect("text").ends_with('Z'), "{timestamp}");
        line
    }
}
