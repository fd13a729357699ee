//! What commands print: JSON for scripts, tables for people, and remarks on stderr.

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use grantwell::core::keys::jwk_set::{JwkSet, VerifyingKey};
use grantwell::core::keys::jws_algorithm::JwsAlgorithm;
use grantwell::core::management::{EffectiveSetting, EffectiveSettings, SettingOrigin};
use grantwell::core::members::Members;
use grantwell::core::time::{UnixSeconds, UtcTime};

use crate::failure::Failure;
use crate::terminal;
use crate::trust::file;

/// `--output`.
#[derive(Debug, clap::Args)]
pub(crate) struct OutputArguments {
    /// How to print the answer [default: table on a terminal, json elsewhere]
    #[arg(long, value_name = "FORMAT", value_enum)]
    output: Option<Format>,
}

/// `--output` of commands that print a secret: they have one format, so that no secret ends up in a table's wrapped cell.
#[derive(Debug, clap::Args)]
pub(crate) struct JsonOutputArguments {
    /// The answer is always JSON; the option exists for scripts that pass it to every command
    #[arg(long, value_name = "FORMAT", value_parser = ["json"])]
    output: Option<String>,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For scripts
    Json,
}

/// Standard output, for an answer that is printed while it is read. It must not carry a secret, which its buffer would keep.
pub(crate) struct Stdout(BufWriter<io::Stdout>);

impl OutputArguments {
    /// The format asked for, or the one that suits who is reading.
    pub(crate) fn format(&self) -> Format {
        self.output.unwrap_or(if io::stdout().is_terminal() { Format::Table } else { Format::Json })
    }

    /// Prints `answer` as JSON, or what `human` makes of it.
    pub(crate) fn print<T: Serialize>(&self, answer: &T, human: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        match self.format() {
            Format::Json => json(answer),
            Format::Table => text(&human(answer)),
        }
    }
}

/// Prints `answer` as JSON.
pub(crate) fn json<T: Serialize>(answer: &T) -> Result<(), Failure> {
    // Wiped, because an answer may carry a secret; with room enough that growing leaves no copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    serde_json::to_writer_pretty(&mut *bytes, answer).map_err(|error| not_json(&error))?;
    bytes.push(b'\n');
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.chars().any(moves_a_terminal) => write(Zeroizing::new(escaped(text)).as_bytes()),
        _ => write(&bytes),
    }
}

/// JSON means the same with `\u` for these, which stand nowhere but in texts. A terminal is not told to do something by them then.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len() + 64);
    for character in json.chars() {
        if moves_a_terminal(character) {
            write!(escaped, "\\u{:04x}", u32::from(character)).unwrap_or_default();
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Controls beyond ASCII, which some terminals obey, and what turns the direction of a text.
fn moves_a_terminal(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Prints lines for people.
pub(crate) fn text(lines: &str) -> Result<(), Failure> {
    write(format!("{lines}\n").as_bytes())
}

/// Prints what is made already.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    write(bytes)
}

/// `value` as JSON, to stand `indent` spaces deep in an answer that is printed while it is read.
pub(crate) fn indented<T: Serialize>(value: &T, indent: usize) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(value).map_err(|error| not_json(&error))?;
    Ok(json.replace('\n', &format!("\n{:indent$}", "")))
}

impl Stdout {
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(io::stdout()))
    }

    /// Prints `text` soon.
    pub(crate) fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.0.write_all(text.as_bytes()).map_err(|error| Failure::of_output(&error))
    }

    /// Prints what has not been printed yet.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        self.0.flush().map_err(|error| Failure::of_output(&error))
    }
}

/// Says something that stops nothing, on stderr.
pub(crate) fn warn(sentence: &str) {
    remark("warning", sentence);
}

/// Says something worth knowing, on stderr.
pub(crate) fn note(sentence: &str) {
    remark("note", sentence);
}

/// A table with a header and one line per record, of texts that anybody may have written. The first column, the record's name, keeps `name_width` characters as
/// far as it needs them; the others share what is left, but no heading or short word is broken.
pub(crate) fn table(header: &[&str], name_width: usize, rows: &[Vec<String>]) -> String {
    const SHORT_WORD: usize = 10;
    const PADDING: usize = 2;

    let mut table = empty_table();
    let shown = |row: &Vec<String>| row.iter().map(|cell| terminal::printable(cell).into_owned()).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = rows.iter().map(shown).collect();
    table.set_header(header.iter().copied());
    table.add_rows(&rows);
    for (position, heading) in header.iter().enumerate() {
        let cells = rows.iter().filter_map(|row| row.get(position));
        let longest_word = cells.flat_map(|cell| cell.split_whitespace()).map(|word| word.chars().count()).max();
        let kept = longest_word.unwrap_or(0).min(if position == 0 { name_width } else { SHORT_WORD });
        let width = u16::try_from(kept.max(heading.len()) + PADDING).unwrap_or(0);
        if let Some(column) = table.column_mut(position) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
        }
    }
    table.trim_fmt()
}

/// The members of a record for people, with what applies in place of those that are left to another; `unset` says what to show for one
/// that is not set.
pub(crate) fn member_rows<'a>(
    members: &'a Members,
    effective: Option<&'a EffectiveSettings>,
    unset: impl Fn(&str) -> &'static str + 'a,
) -> impl Iterator<Item = (&'static str, String)> + 'a {
    let is_row = |(name, value): &(&'static str, &Value)| *name != MANAGED_BY || !value.is_null();
    members.iter().filter(is_row).map(move |(name, value)| {
        let unset = unset(name);
        let text = match effective {
            Some(effective) => effective_text(name, value, effective, unset),
            None => member_text(name, value, unset),
        };
        (name, text)
    })
}

/// A table of names and values.
pub(crate) fn record(rows: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut table = empty_table();
    table.add_rows(
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), terminal::printable(&value).into_owned()]),
    );
    if let Some(name) = table.column_mut(0) {
        name.set_constraint(ColumnConstraint::ContentWidth);
    }
    if let Some(value) = table.column_mut(1) {
        value.set_padding((0, 1));
    }
    table.trim_fmt()
}

/// A member of a record for people, by what its name says of its value; `unset` where it has none.
pub(crate) fn member_text(name: &str, value: &Value, unset: &str) -> String {
    match value {
        Value::Null => unset.to_owned(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), |number| number_text(name, number)),
        Value::String(pem) if name == "jwks_uri_ca" => authorities_text(pem),
        Value::String(text) => text.clone(),
        Value::Array(_) if name == "trust" => file::lines(value),
        Value::Array(issuers) if name == "trusted_issuers" => {
            let text = |issuer: &Value, member: &str| {
                issuer.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let line = |issuer: &Value| format!("{}: {}", text(issuer, "name"), text(issuer, "issuer"));
            issuers.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Value::Array(values) if values.is_empty() && name == "grant_types" => "none".to_owned(),
        Value::Array(values) => {
            values.iter().map(|value| member_text(name, value, unset)).collect::<Vec<_>>().join("\n")
        }
        Value::Object(_) if name == "jwks" => keys_text(value),
        Value::Object(file) if name == MANAGED_BY => managed_by_text(file),
        Value::Object(members) => {
            members.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
        }
    }
}

/// The name of the file that declares a record, and what of it that file sets.
fn managed_by_text(file: &Map<String, Value>) -> String {
    let name = file.get("name").and_then(Value::as_str).unwrap_or_default();
    let members = file.get("members").and_then(Value::as_array).into_iter().flatten();
    let members: Vec<&str> = members.filter_map(Value::as_str).collect();
    if members.is_empty() { name.to_owned() } else { format!("{name}: {}", members.join(" ")) }
}

/// Certificates by what tells them apart, one a line, as `openssl x509 -fingerprint -sha256` says it. JSON has them whole.
fn authorities_text(pem: &str) -> String {
    let blocks =
        pem.split("-----BEGIN CERTIFICATE-----").filter_map(|rest| rest.split_once("-----END CERTIFICATE-----"));
    let line = |(base64, _): (&str, &str)| {
        let base64: String = base64.split_whitespace().collect();
        let digest = Sha256::digest(STANDARD.decode(base64).ok()?);
        let (quarters, _) = digest.as_slice().as_chunks::<4>();
        // In words, so that a terminal breaks none of them.
        let words: Vec<String> = quarters.iter().map(|bytes| format!("{:08x}", u32::from_be_bytes(*bytes))).collect();
        Some(format!("certificate of SHA-256 {}", words.join(" ")))
    };
    blocks.filter_map(line).collect::<Vec<_>>().join("\n")
}

/// Public keys: by what name an assertion refers to it, what it may sign with, and which key it is. A long name and a thumbprint
/// have lines of their own, which eighty columns do not break.
pub(crate) fn keys_text(jwks: &Value) -> String {
    let Ok(keys) = serde_json::from_value::<JwkSet>(jwks.clone()) else { return String::new() };
    let line = |key: &VerifyingKey| {
        let algorithms: Vec<&str> = key.algorithms().map(JwsAlgorithm::as_str).collect();
        let thumbprint = key.kid().filter(|kid| *kid != key.thumbprint()).map(|_| key.thumbprint());
        let thumbprint = thumbprint.map_or_else(String::new, |text| format!(", thumbprint\n{text}"));
        let separator = if key.name().chars().count() < LONG_NAME { ": " } else { "\n  " };
        format!("{}{separator}{}{thumbprint}", key.name(), algorithms.join(" or "))
    };
    keys.keys().map(line).collect::<Vec<_>>().join("\n")
}

/// A member that can be left to another: where it is, what applies in its place and who says so.
fn effective_text(name: &str, value: &Value, effective: &EffectiveSettings, unset: &str) -> String {
    match effective.value(name).filter(|_| value.is_null()) {
        Some(EffectiveSetting { value: Value::Null, .. }) => "not set".to_owned(),
        Some(EffectiveSetting { value, from }) => {
            let from = match from {
                SettingOrigin::Client => "its own",
                SettingOrigin::Realm => "from the realm",
                SettingOrigin::Server => "from the server",
            };
            format!("{} ({from})", member_text(name, value, unset))
        }
        None => member_text(name, value, unset),
    }
}

fn number_text(name: &str, number: u64) -> String {
    match name.rsplit('_').next() {
        Some("at") if number == 0 => "never".to_owned(),
        Some("after") if number == 0 => "not set".to_owned(),
        Some("at" | "after" | "since") => utc(UnixSeconds(number)),
        Some("lifetime") => format!("{number} s"),
        Some("days") => format!("{number} days"),
        _ => number.to_string(),
    }
}

/// A time for people, in UTC. Years of more than four digits stay seconds.
pub(crate) fn utc(time: UnixSeconds) -> String {
    const LAST_SECOND_OF_9999: u64 = 253_402_300_799;
    if time.0 > LAST_SECOND_OF_9999 {
        return time.to_string();
    }
    let UtcTime { year, month, day, hour, minute, second } = time.into();
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

fn empty_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    // A longer value wraps, it is not lost.
    table.set_width(u16::try_from(terminal::width().unwrap_or(terminal::NARROW)).unwrap_or(u16::MAX));
    table
}

fn not_json(error: &serde_json::Error) -> Failure {
    Failure::new(format!("the answer could not be written as JSON: {error}"))
}

fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| Failure::of_output(&error))
}

fn remark(kind: &str, sentence: &str) {
    // Not eprintln!, which panics where stderr is closed.
    let _ = writeln!(io::stderr(), "{kind}: {}", terminal::printable(sentence));
}

/// The file that declares a record. People are told where there is one.
pub(crate) const MANAGED_BY: &str = "managed_by";
/// Characters of a key's name. One that is its thumbprint has 43.
const LONG_NAME: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        for (seconds, expected) in [
            (951_782_400, "2000-02-29 00:00:00Z"),
            (1_767_225_599, "2025-12-31 23:59:59Z"),
            (253_402_300_799, "9999-12-31 23:59:59Z"),
            (253_402_300_800, "253402300800"),
        ] {
            assert_eq!(utc(UnixSeconds(seconds)), expected);
        }
    }

    #[test]
    fn a_key_that_is_named_by_its_thumbprint_is_not_broken_at_eighty_columns() {
        let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let key: Value = serde_json::from_str(jwk).expect("JSON");
        let thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
        let shown = record([
            ("token_endpoint_auth_signing_alg", String::new()),
            ("jwks", member_text("jwks", &serde_json::json!({ "keys": [key] }), "")),
        ]);
        assert!(shown.contains(thumbprint) && shown.contains("EdDSA"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    }

    #[test]
    fn an_authority_is_shown_by_its_fingerprint() {
        let pem = "-----BEGIN CERTIFICATE-----\nYW\nJj\n-----END CERTIFICATE-----\n".repeat(2);
        let shown = member_text("jwks_uri_ca", &pem.into(), "");
        let of_abc = "certificate of SHA-256 ba7816bf 8f01cfea 414140de 5dae2223 b00361a3 96177a9c b410ff61 f20015ad";
        assert_eq!(shown, [of_abc; 2].join("\n"));
    }

    #[test]
    fn tables_stay_within_eighty_columns() {
        let long = "scope:".repeat(60);
        let row = ["x".repeat(128), "n".repeat(200), long.clone(), long.clone(), long.clone()];
        let rows = [row.into()];
        let mut listed = table(&["client_id", "name", "status", "scope", "lifetime"], 22, &rows);
        listed.push('\n');
        listed.push_str(&table(&["realm", "default_scope", "allowed_scope", "lifetime", "grant_types"], 12, &rows));
        let shown = record([("client_id", "c".repeat(128)), ("scope", long)]);
        for line in listed.lines().chain(shown.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
