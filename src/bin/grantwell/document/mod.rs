//! Files that people write in YAML or JSON: one reader for all of them. What is wrong is said with the line and the column, in plain
//! words, and without a value: a secret may stand where it does not belong.

mod fault;
mod outline;
mod yaml;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use grantwell::core::json::Unambiguous;
use serde_json::Value;
use serde_json::error::Category;

use fault::ENDS_EARLY;

pub(crate) use fault::{Fault, Position};
pub(crate) use outline::Outline;

/// Reads the text of a file, or of standard input where it is called `-`.
///
/// # Errors
/// A [`Fault`] where it cannot be read, is not text, or has more than so many bytes.
pub(crate) fn read(path: &Path, at_most: usize) -> Result<String, Fault> {
    let unreadable = |error: io::Error| Fault::Whole(format!("could not be read: {error}"));
    let mut bytes = Vec::new();
    // A little more than there may be, so that what is too large is known for it, and a device has no end.
    let limit = u64::try_from(at_most).unwrap_or(u64::MAX).saturating_add(1);
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(unreadable)?;
    }
    if bytes.len() > at_most {
        return Err(Fault::Whole(format!("has more than {at_most} bytes: write it in several files")));
    }
    text(bytes)
}

/// What files are called in messages.
pub(crate) fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// Reads one value, in YAML or JSON. Neither may say anything twice. Null is a text of nothing but comments.
///
/// # Errors
/// A [`Fault`] for the first thing that is wrong.
pub(crate) fn parse(text: &str) -> Result<Value, Fault> {
    // JSON is read as JSON, because YAML reads some of its escapes in another way.
    let begins_as_json = text.trim_start().starts_with(['{', '[']);
    let of_json = begins_as_json.then(|| serde_json::from_str::<Unambiguous>(text));
    match of_json {
        Some(Ok(Unambiguous(value))) => Ok(value),
        Some(Err(not_json)) => parse_yaml(text)
            .map_err(|not_yaml| if is_meant_as_json(text) { of_json_error(&not_json) } else { not_yaml }),
        None => parse_yaml(text),
    }
}

/// YAML reads 007 as 7, and whoever wrote it may mean text.
fn parse_yaml(text: &str) -> Result<Value, Fault> {
    let value = yaml::parse(text)?;
    match outline::leading_zero(text) {
        Some(position) => Err(Fault::At(position, LEADING_ZERO.to_owned())),
        None => Ok(value),
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Fault> {
    // Some shells of Windows redirect output in UTF-16. No text in UTF-8 has such a start.
    if matches!(bytes.as_slice(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..]) {
        return Err(Fault::Whole("is in UTF-16, or is not a text: save it as UTF-8".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = valid.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let position = Position {
            line: count(valid.split(|byte| *byte == b'\n').count()),
            column: 1 + count(String::from_utf8_lossy(line).chars().count()),
        };
        Fault::At(position, "a byte that is not UTF-8: save the file as UTF-8".to_owned())
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Whether a text that is neither is JSON with a mistake, by how it begins.
fn is_meant_as_json(text: &str) -> bool {
    let mut inside = text.trim_start().chars().skip(1).filter(|character| !character.is_whitespace());
    matches!(inside.next(), None | Some('"' | '{' | '['))
}

fn of_json_error(error: &serde_json::Error) -> Fault {
    let said = error.to_string();
    let begins = |words: &str| said.starts_with(words);
    let what = match error.classify() {
        Category::Eof => ENDS_EARLY,
        Category::Data => "a member is there twice",
        _ if begins("recursion limit") => "lists and objects are nested too deeply",
        _ if begins("trailing comma") => "a comma with nothing after it",
        _ if begins("trailing characters") => "something follows after the end of the JSON",
        _ if begins("key must be a string") => "the name of a member has to be in double quotes",
        _ if begins("expected `:`") => "a colon is missing after the name of a member",
        _ if begins("expected `,`") => "a comma is missing, or a bracket that closes",
        _ if begins("control character") => "a line break or a tab in a text: write it as \\n or \\t",
        _ if begins("invalid escape") || begins("lone leading surrogate") || begins("unexpected end of hex") => {
            "an escape (\\) that JSON does not have"
        }
        _ if begins("invalid number") || begins("number out of range") => "a number that JSON does not have",
        _ => "a value is missing, or a text is not in double quotes",
    };
    Fault::At(Position { line: count(error.line()).max(1), column: count(error.column()).max(1) }, what.to_owned())
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

const LEADING_ZERO: &str = "a number with a leading zero, which readers of YAML take for different numbers: write it in quotes if it is text, or without the zero";

#[cfg(test)]
mod tests;
