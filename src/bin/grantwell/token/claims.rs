//! What is said of a token, for people: one member a row, with the date of each time.

use serde_json::Value;

use grantwell::core::ports::Clock as _;
use grantwell::core::time::UnixSeconds;
use grantwell::system::SystemClock;

use crate::output;
use crate::terminal::printable_line;

/// A member and its value.
pub(super) fn row(name: &str, value: &Value) -> Vec<String> {
    vec![printable_line(name), printable_line(&text(name, value))]
}

/// Rows as a table.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    output::table(&["member", "value"], usize::MAX, rows)
}

/// How far a time is from now, by this machine's clock.
pub(super) fn distance(time: UnixSeconds) -> String {
    let now = SystemClock.now();
    if time.0 > now.0 { format!("in {}", span(time.since(now))) } else { format!("{} ago", span(now.since(time))) }
}

/// The whole seconds of a NumericDate, which may have a fraction (RFC 7519 §2).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates at both ends, which is what is wanted"
)]
pub(super) fn seconds_of(date: &Value) -> Option<UnixSeconds> {
    date.as_u64().or_else(|| date.as_f64().map(|date| date as u64)).map(UnixSeconds)
}

fn text(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if TIMES.contains(&name) => {
            let time = seconds_of(value).filter(|time| time.0 <= LAST_SECOND_OF_9999);
            let dated = |time| format!("{number} ({}, {})", output::utc(time), distance(time));
            time.map_or_else(|| number.to_string(), dated)
        }
        Value::Number(number) if name == "expires_in" => format!("{number} s"),
        Value::Array(values) if values.iter().all(Value::is_string) => {
            values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// In the largest unit of which there are two or more.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The members that are times (RFC 7662 §2.2, RFC 7519 §4.1, OpenID Connect Core §2).
const TIMES: [&str; 4] = ["exp", "iat", "nbf", "auth_time"];
const LAST_SECOND_OF_9999: u64 = 253_402_300_799;
