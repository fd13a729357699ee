//! One line of a server's log, as far as it is about a token: the JSON that `grantwell::observe` writes, whatever stands before
//! and after it.

use std::borrow::Cow;

use grantwell::core::client::id::ClientId;
use grantwell::core::realm::RealmName;
use grantwell::core::time::{UnixSeconds, UtcTime};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use uuid::Uuid;

/// What the server decided about a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It was issued.
    Issued(Issuance),
    /// Somebody was told that it is active.
    Used(Uuid),
    /// Its client has ended it.
    Ended(Uuid, UnixMicroseconds),
}

/// Microseconds since 1970-01-01T00:00:00Z: a client may end a token and fetch the next within one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UnixMicroseconds(pub(super) u64);

/// An issued token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Issuance {
    pub(super) token: Uuid,
    pub(super) realm: RealmName,
    pub(super) client_id: ClientId,
    pub(super) scope: String,
    pub(super) issued_at: UnixMicroseconds,
    pub(super) expires_in: u32,
}

/// The members that matter. Each may be missing: most lines are of other kinds.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    audit_tracking_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    realm: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client_id: Option<Cow<'a, str>>,
    scope: Option<String>,
    expires_in_seconds: Option<u32>,
    active: Option<bool>,
    dropped: Option<u64>,
}

/// How many lines the server dropped before this one, if that is what the line says.
pub(super) fn dropped(line: &[u8]) -> u64 {
    let dropped = of_server(line, &|line| {
        let says_so = line.message.contains(" log lines were dropped because ");
        line.dropped.filter(|_| says_so)
    });
    dropped.unwrap_or_default()
}

/// What the line says; `None` where it is about no token.
pub(super) fn decision(line: &[u8]) -> Option<Decision> {
    of_server(line, &|line: &Line<'_>| line.decision())
}

/// Whether this is what a server says of a token in its log for people, which cannot be counted.
pub(super) fn is_text(line: &[u8]) -> bool {
    let says = |message: &str| line.windows(message.len()).any(|window| window == message.as_bytes());
    (says(" token issued") || says(" token introspected")) && of_server(line, &|_| Some(())).is_none()
}

impl Line<'_> {
    fn decision(&self) -> Option<Decision> {
        // Introspection of a token that is not active, and a revocation that found none, name none.
        let token = Uuid::parse_str(self.audit_tracking_id.as_deref()?).ok()?;
        let time = || self.timestamp.as_deref().and_then(unix_microseconds);
        match self.message.as_ref() {
            "token issued" => Some(Decision::Issued(Issuance {
                token,
                realm: self.realm.as_deref()?.parse().ok()?,
                client_id: self.client_id.as_deref()?.parse().ok()?,
                issued_at: time()?,
                scope: self.scope.clone()?,
                expires_in: self.expires_in_seconds?,
            })),
            "token introspected" if self.active == Some(true) => Some(Decision::Used(token)),
            "access allowed" => Some(Decision::Used(token)),
            "revocation answered" => Some(Decision::Ended(token, time()?)),
            _ => None,
        }
    }
}

/// What `look` finds in the server's JSON. Collectors put braces of their own before it, such as Loki's labels, put it into an
/// object as a member, or into a member as text.
fn of_server<T>(line: &[u8], look: &dyn Fn(&Line<'_>) -> Option<T>) -> Option<T> {
    let braces = line.iter().enumerate().filter(|(_, byte)| **byte == b'{').map(|(position, _)| position);
    for start in braces.take(MOST_BRACES) {
        let json = line.get(start..)?;
        if let Some(found) = parse(json) {
            // A collector's own member may have the name of ours.
            return if found.message.starts_with('{') { look(&parse(found.message.as_bytes())?) } else { look(&found) };
        }
        let texts = Texts::deserialize(&mut serde_json::Deserializer::from_slice(json)).unwrap_or_default();
        if let Some(found) = texts.0.iter().find_map(|text| parse(text.as_bytes())) {
            return look(&found);
        }
    }
    None
}

fn parse(json: &[u8]) -> Option<Line<'_>> {
    Line::deserialize(&mut serde_json::Deserializer::from_slice(json)).ok()
}

/// The members of an object that are text and may be an object themselves.
#[derive(Default)]
struct Texts(Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = serde_json::Map::deserialize(deserializer)?;
        let texts = members.into_iter().filter_map(|(_, value)| match value {
            Value::String(text) if text.trim_start().starts_with('{') => Some(text),
            _ => None,
        });
        Ok(Self(texts.collect()))
    }
}

/// A time in the one form in which the log has it: `2026-11-23T06:37:00.123456Z` (RFC 3339).
fn unix_microseconds(text: &str) -> Option<UnixMicroseconds> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (year, month, day) = numbers(date, '-')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let (hour, minute, second) = numbers(time, ':')?;
    let microseconds: u64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let UnixSeconds(seconds) = UtcTime { year, month, day, hour, minute, second }.unix_seconds()?;
    Some(UnixMicroseconds(seconds * 1_000_000 + microseconds))
}

fn numbers(text: &str, divider: char) -> Option<(u64, u64, u64)> {
    let mut numbers = text.split(divider).map(|number| number.parse().ok());
    let found = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(found)
}

/// So many places of a line are tried: labels have few braces, and a line without ours is not to be read a thousand times.
const MOST_BRACES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Uuid = Uuid::from_u128(0xa9ab_2e1e_6a5a_4d8f_8e0d_4c1d_5e0f_2a3b);
    const ISSUED: &str = r#"{"timestamp":"2026-11-23T06:37:00.123456Z","level":"INFO","realm":"alpha","client_id":"myClient","scope":"read write","expires_in_seconds":3600,"format":"opaque","audit_tracking_id":"a9ab2e1e-6a5a-4d8f-8e0d-4c1d5e0f2a3b","message":"token issued","target":"grantwell"}"#;

    fn wrapped(member: &str) -> String {
        let line =
            serde_json::json!({ "labels": { "app": "grantwell" }, member: format!("{ISSUED}\n"), "stream": "stderr" });
        line.to_string()
    }

    fn issued() -> Decision {
        Decision::Issued(Issuance {
            token: TOKEN,
            realm: "alpha".parse().expect("a name"),
            client_id: "myClient".parse().expect("an id"),
            scope: "read write".into(),
            issued_at: UnixMicroseconds(1_795_415_820_123_456),
            expires_in: 3_600,
        })
    }

    #[test]
    fn the_json_of_a_line_counts_whatever_stands_around_it() {
        for line in [
            ISSUED.to_owned(),
            format!("{ISSUED}\n"),
            format!("2026-11-23T06:37:00 {ISSUED}\n"),
            format!("2026-11-23T06:37:00.123000+00:00 2026/11/23/[$LATEST]0123 {ISSUED}\r\n"),
            format!("EVENTS\t3885\t1795415820123\t2026/11/23/[$LATEST]0123\t{ISSUED}\t1795415820123\n"),
            format!("grantwell[1]: {ISSUED} {{\"message\":\"token introspected\"}}"),
            // logcli, docker compose logs, kubectl logs --prefix, journalctl.
            format!("2026-11-23T06:37:00Z {{app=\"grantwell\", pod=\"{{x}}\"}} {ISSUED}"),
            format!("2026-11-23T06:37:00Z {{}} {ISSUED}"),
            format!("grantwell-1  | {ISSUED}"),
            format!("[pod/grantwell-0/server] {ISSUED}"),
            format!("Nov 23 06:37:00 host grantwell[17]: {ISSUED}"),
            // As a member, and as text: CloudWatch Insights, Docker's own files, logcli -o jsonl, journalctl -o json, Vector.
            format!(r#"{{"labels":{{"app":"grantwell"}},"jsonPayload":{ISSUED},"severity":"INFO"}}"#),
            wrapped("@message"),
            wrapped("log"),
            wrapped("line"),
            wrapped("MESSAGE"),
            wrapped("message"),
        ] {
            assert_eq!(decision(line.as_bytes()), Some(issued()), "{line}");
        }
    }

    #[test]
    fn what_is_about_no_token_says_nothing() {
        let without = |from: &str, to: &str| {
            assert!(ISSUED.contains(from), "{from}");
            ISSUED.replace(from, to)
        };
        for line in [
            String::new(),
            "START RequestId: 8476a536".into(),
            "listening on http://127.0.0.1:8080".into(),
            "{".into(),
            "{}".into(),
            "[1]".into(),
            r#"{"message":{"a":1}}"#.into(),
            without("token issued", "request refused"),
            without("token issued", "token introspected"),
            without("a9ab2e1e-6a5a-4d8f-8e0d-4c1d5e0f2a3b", "seeded"),
            without(r#""scope":"read write","#, ""),
            without("3600", "-1"),
            without("myClient", "my Client"),
            without("alpha", "al/pha"),
            without("2026-11-23T06:37:00.123456Z", "2026-13-23T06:37:00Z"),
            ISSUED[..ISSUED.len() - 1].to_owned(),
        ] {
            assert_eq!(decision(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_line_for_people_is_told_from_one_for_programs() {
        let text = r"2026-11-23T06:37:00.123456Z  INFO token issued realm=alpha client_id=myClient scope=read";
        assert!(is_text(text.as_bytes()));
        for line in
            [ISSUED, "", "listening on http://127.0.0.1:8080", r#"{"message":"no token issued"}"#, &wrapped("log")]
        {
            assert!(!is_text(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn what_a_server_has_logged_of_a_caller_is_not_read_as_a_line() {
        let forged = serde_json::json!({ "message": "request refused", "client_id": ISSUED }).to_string();
        assert_eq!(decision(forged.as_bytes()), None);
    }

    #[test]
    fn a_token_is_used_where_somebody_was_told_that_it_is_active() {
        let id = r#""audit_tracking_id":"a9ab2e1e-6a5a-4d8f-8e0d-4c1d5e0f2a3b""#;
        let time = r#""timestamp":"2026-11-23T06:37:00.123456Z""#;
        for (line, expected) in [
            (format!(r#"{{"message":"token introspected","active":true,{id}}}"#), Some(Decision::Used(TOKEN))),
            (r#"{"message":"token introspected","active":false}"#.to_owned(), None),
            (format!(r#"{{"message":"access allowed",{id}}}"#), Some(Decision::Used(TOKEN))),
            (format!(r#"{{"message":"access denied",{id}}}"#), None),
            (
                format!(r#"{{{time},"message":"revocation answered","revoked":true,{id}}}"#),
                Some(Decision::Ended(TOKEN, UnixMicroseconds(1_795_415_820_123_456))),
            ),
            (format!(r#"{{{time},"message":"revocation answered","revoked":false}}"#), None),
        ] {
            assert_eq!(decision(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_server_says_how_many_lines_it_dropped() {
        let said = r#"{"level":"ERROR","message":"7 log lines were dropped because nobody read stderr","dropped":7}"#;
        assert_eq!((dropped(said.as_bytes()), decision(said.as_bytes())), (7, None));
        for line in [ISSUED, "", r#"{"message":"token issued","dropped":7}"#, &said.replace(":7", ":-7")] {
            assert_eq!(dropped(line.as_bytes()), 0, "{line}");
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, microseconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00.000001Z", Some(951_782_400_000_001)),
            ("2000-03-01T00:00:00.9Z", Some(951_868_800_900_000)),
            ("2025-12-31T23:59:59.999999Z", Some(1_767_225_599_999_999)),
            ("2100-03-01T00:00:00.123456789Z", Some(4_107_542_400_123_456)),
            ("2026-11-23T06:37:00.Z", Some(1_795_415_820_000_000)),
            ("2026-11-23T06:37:00.-1Z", None),
            ("2026-11-23T06:37:00", None),
            ("2026-11-23 06:37:00Z", None),
            ("2026-11-23T06:37Z", None),
            ("2026-00-23T06:37:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("99999999999999999999-01-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(unix_microseconds(text), microseconds.map(UnixMicroseconds), "{text}");
        }
    }
}
