//! What a line of the log looks like: text for people, or one JSON object. Either ends with what is known of the request that it is
//! about ([`super::request`]).

use std::fmt::{self, Debug, Write as _};
use std::io;

use serde::Serializer as _;
use serde::ser::SerializeMap as _;
use serde_json::Serializer;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_serde::SerdeMapVisitor;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::request;

/// `TIME LEVEL TARGET: MESSAGE name="text" name=7`: every text is in quotes, with what is not printable escaped; numbers and booleans
/// are not.
pub(super) struct TextLines;

/// The same members as one JSON object. The target is among them where a library speaks.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'fields> FormatFields<'fields> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        SystemTime.format_time(&mut line)?;
        write!(line, " {:>5} {}: ", metadata.level(), metadata.target())?;
        event.record(&mut TextMessage(&mut line));
        let mut fields = TextFields { line: &mut line, result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        of_request(|name, value| write_text(&mut line, name, value)).transpose()?;
        line.write_char('\n')
    }
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'fields> FormatFields<'fields> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write_json(&mut line, event).map_err(|_| fmt::Error)?;
        line.write_char('\n')
    }
}

fn write_json(line: &mut Writer<'_>, event: &Event<'_>) -> Result<(), serde_json::Error> {
    let metadata = event.metadata();
    let mut serializer = Serializer::new(Utf8(line));
    let mut members = serializer.serialize_map(None)?;
    let mut time = String::with_capacity(TIME_LENGTH);
    let _infallible = SystemTime.format_time(&mut Writer::new(&mut time));
    members.serialize_entry("timestamp", &time)?;
    members.serialize_entry("level", metadata.level().as_str())?;
    let mut fields = SerdeMapVisitor::new(members);
    event.record(&mut fields);
    let mut members = fields.take_serializer()?;
    of_request(|name, value| members.serialize_entry(name, &format_args!("{value}"))).transpose()?;
    if !is_ours(metadata.target()) {
        members.serialize_entry("target", metadata.target())?;
    }
    members.end()
}

/// Gives `write` each thing that is known of the request, until one fails.
fn of_request<E>(mut write: impl FnMut(&'static str, &dyn fmt::Display) -> Result<(), E>) -> Option<Result<(), E>> {
    request::with(|request| {
        write("request_id", &request.id())?;
        if let Some(trace_id) = request.trace_id() {
            write("trace_id", &trace_id)?;
        }
        if let Some(source) = request.source() {
            write("source", &source)?;
        }
        Ok(())
    })
}

fn is_ours(target: &str) -> bool {
    target.split("::").next() == Some(env!("CARGO_CRATE_NAME"))
}

/// Writes the message alone: fields are recorded in the order of their declaration, of which it is the last.
struct TextMessage<'line, 'writer>(&'line mut Writer<'writer>);

impl Visit for TextMessage<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == MESSAGE {
            let _told_by_the_next = write!(Escaped { line: self.0, is_quoted: false }, "{value:?}");
        }
    }
}

/// Writes all fields but the message.
struct TextFields<'line, 'writer> {
    line: &'line mut Writer<'writer>,
    result: fmt::Result,
}

impl TextFields<'_, '_> {
    fn write(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'_>, &'static str) -> fmt::Result) {
        if field.name() != MESSAGE && self.result.is_ok() {
            self.result = write(self.line, field.name());
        }
    }

    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.write(field, |line, name| write!(line, " {name}={value}"));
    }
}

impl Visit for TextFields<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.bare(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.bare(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, |line, name| write_text(line, name, &value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.write(field, |line, name| write_text(line, name, &format_args!("{value:?}")));
    }
}

fn write_text(line: &mut Writer<'_>, name: &str, value: &dyn fmt::Display) -> fmt::Result {
    write!(line, " {name}=\"")?;
    write!(Escaped { line, is_quoted: true }, "{value}")?;
    line.write_char('"')
}

/// Escapes what would end the text, the line or the terminal's patience.
struct Escaped<'line, 'writer> {
    line: &'line mut Writer<'writer>,
    is_quoted: bool,
}

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_plain = |byte: u8| matches!(byte, 0x20..=0x7e) && !(self.is_quoted && matches!(byte, b'"' | b'\\'));
        if text.bytes().all(is_plain) {
            return self.line.write_str(text);
        }
        for character in text.chars() {
            match character {
                '\'' => self.line.write_char('\'')?,
                '"' | '\\' if !self.is_quoted => self.line.write_char(character)?,
                _ => write!(self.line, "{}", character.escape_debug())?,
            }
        }
        Ok(())
    }
}

/// serde_json writes whole characters, and a line of the log is text.
struct Utf8<'line, 'writer>(&'line mut Writer<'writer>);

impl io::Write for Utf8<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The field of an event's message.
const MESSAGE: &str = "message";
/// Of RFC 3339 with microseconds.
const TIME_LENGTH: usize = 27;
