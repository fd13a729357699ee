//! Values that people have written, read into their types. What is wrong is said in plain words, with the place, and a value is never
//! repeated: it may be a secret that stands where it does not belong.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, Error, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};
use serde_json::Value;
use serde_path_to_error::Segment;

/// Why a value is not one of its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", .place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default())]
pub struct Malformed {
    /// Where in the value, where that is not the value as a whole.
    pub place: Option<String>,
    /// What is wrong there, as the end of a sentence.
    pub why: String,
}

/// Reads a value.
///
/// # Errors
/// The first thing that is wrong.
pub fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Malformed> {
    serde_path_to_error::deserialize(Written(value)).map_err(|error| {
        let path: Vec<&Segment> = error.path().iter().collect();
        // A member that is unknown is named by the sentence, and is wrong of what it is a member of.
        let within = if error.inner().is_of_name { path.len().saturating_sub(1) } else { path.len() };
        let place = place(path.into_iter().take(within));
        Malformed { place: Some(place).filter(|place| !place.is_empty()), why: error.into_inner().text }
    })
}

/// That there is no member of this name, and which one may be meant.
pub fn unknown_member(name: &str, known: &[&str]) -> String {
    let Some(name) = harmless_name(name) else {
        return format!("there is a member whose name means nothing here; there are {}", known.join(", "));
    };
    let plain = name.to_ascii_lowercase().replace(['-', ' '], "_");
    let likeness = |known: &&&str| strsim::jaro(&plain, known);
    let nearest = known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|nearest| likeness(nearest) > SIMILAR) {
        Some(nearest) => format!("there is no member '{name}'; did you mean '{nearest}'?"),
        None => format!("there is no member '{name}'; there are {}", known.join(", ")),
    }
}

/// A member's name where it can be shown. A colon without a space after it makes a name out of a value, and that may be a secret.
pub fn harmless_name(name: &str) -> Option<&str> {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'$' | b' ');
    (1..=40).contains(&name.len()).then_some(name).filter(|name| name.bytes().all(is_letter))
}

impl Malformed {
    /// The same, of a record that was read for this member alone: the place is within the member.
    #[must_use]
    pub fn within(self, member: &str) -> Self {
        let within = self.place.as_deref().map(|place| place.strip_prefix(member).unwrap_or(place));
        let within = within.map(|place| place.trim_start_matches('.').to_owned());
        Self { place: within.filter(|place| !place.is_empty()), why: self.why }
    }
}

/// A value that is being read.
#[derive(Clone, Copy)]
struct Written<'a>(&'a Value);

/// What is wrong with it, as the end of a sentence.
#[derive(Debug)]
struct Why {
    text: String,
    /// Whether the name of a member is what is wrong.
    is_of_name: bool,
}

impl<'de> Deserializer<'de> for Written<'de> {
    type Error = Why;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Written))),
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| (name.as_str(), Written(value)));
                visitor.visit_map(MapDeserializer::new(members))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Why> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Why> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(StrDeserializer::new(name)),
            Value::Object(members) if members.len() == 1 => {
                let members = members.iter().map(|(name, value)| (name.as_str(), Written(value)));
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(members)))
            }
            _ => Err(Why::custom(one_of(variants))),
        }
    }

    /// Of a list the library would take the members in their order, without their names.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _members: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Why> {
        match self.0 {
            Value::Array(_) => Err(Why::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct
        map identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Why> for Written<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Error for Why {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { text: message.to_string(), is_of_name: false }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(not_of_type(found, &expected.to_string()))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(not_of_type(found, &expected.to_string()))
    }

    fn invalid_length(_length: usize, expected: &dyn Expected) -> Self {
        Self::custom(format!("has to be {}", in_plain_words(&expected.to_string())))
    }

    fn unknown_variant(_name: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(one_of(expected))
    }

    fn unknown_field(name: &str, expected: &'static [&'static str]) -> Self {
        Self { text: unknown_member(name, expected), is_of_name: true }
    }

    fn missing_field(name: &'static str) -> Self {
        Self::custom(format!("has to say its {name}"))
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::custom(format!("says its {name} twice"))
    }
}

impl std::error::Error for Why {}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn not_of_type(found: Unexpected<'_>, expected: &str) -> String {
    let wanted = in_plain_words(expected);
    let advice = match (wanted, &found) {
        (TEXT, Unexpected::Bool(_) | Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_)) => {
            ": write it in quotes"
        }
        (WHOLE_NUMBER, Unexpected::Str(_)) => ", without quotes and without a unit",
        (WHOLE_NUMBER, Unexpected::Signed(_)) => " of at least 0",
        (BOOLEAN, Unexpected::Str(_)) => ", without quotes; other words, such as yes and no, are text",
        (_, Unexpected::Unit | Unexpected::Option) => ", not null",
        (_, Unexpected::Seq) => ", not a list",
        (_, Unexpected::Map) => ", not an object",
        _ => "",
    };
    format!("has to be {wanted}{advice}")
}

/// What a type expects, which it says in the language's words.
fn in_plain_words(expected: &str) -> &str {
    match expected {
        "a string" | "a borrowed string" | "a character" => TEXT,
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => WHOLE_NUMBER,
        "f32" | "f64" => "a number",
        "a boolean" => BOOLEAN,
        "a sequence" => "a list",
        "a map" => "an object with members",
        _ if expected.starts_with("struct ") => "an object with members",
        _ if expected.starts_with("a tuple") || expected.starts_with("tuple ") => "a list",
        _ => expected,
    }
}

fn one_of(names: &[&str]) -> String {
    match names {
        [one] => format!("has to be {one}"),
        [first @ .., last] => format!("has to be {} or {last}", first.join(", ")),
        [] => "is not known here".to_owned(),
    }
}

/// The way to what is wrong, as far as its names are those of members.
fn place<'a>(path: impl Iterator<Item = &'a Segment>) -> String {
    let mut place = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => place.extend(["[", &index.to_string(), "]"]),
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                let Some(name) = harmless_name(name) else { break };
                if !place.is_empty() {
                    place.push('.');
                }
                place.push_str(name);
            }
            Segment::Unknown => break,
        }
    }
    place
}

const TEXT: &str = "text";
const WHOLE_NUMBER: &str = "a whole number";
const BOOLEAN: &str = "true or false";
/// How alike two names are, up to 1, before one is taken for the other misspelled.
const SIMILAR: f64 = 0.8;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Record {
        text: String,
        number: Option<u64>,
        flag: bool,
        list: BTreeSet<String>,
        inner: Option<Box<Record>>,
        by_name: BTreeMap<String, u8>,
        kind: Kind,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        #[default]
        Small,
        Large,
        Named {
            name: String,
        },
    }

    #[test]
    fn what_is_well_written_is_read_as_the_library_reads_it() {
        for value in [
            json!({}),
            json!({ "text": "a", "number": 7, "flag": true, "list": ["b", "a"], "kind": "large" }),
            json!({ "number": null, "inner": { "by_name": { "a": 1 }, "kind": { "named": { "name": "n" } } } }),
        ] {
            let expected: Record = serde_json::from_value(value.clone()).expect("a record");
            assert_eq!(read::<Record>(&value), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_plain_words_with_its_place_and_without_the_value() {
        for (value, expected) in [
            (json!(["s3cret"]), "has to be an object with members, not a list"),
            (json!({ "text": 7 }), "text: has to be text: write it in quotes"),
            (json!({ "text": 7.5 }), "text: has to be text: write it in quotes"),
            (json!({ "text": true }), "text: has to be text: write it in quotes"),
            (json!({ "text": null }), "text: has to be text, not null"),
            (json!({ "text": ["s3cret"] }), "text: has to be text, not a list"),
            (json!({ "number": "s3cret" }), "number: has to be a whole number, without quotes and without a unit"),
            (json!({ "number": -1 }), "number: has to be a whole number of at least 0"),
            (json!({ "number": 1.5 }), "number: has to be a whole number"),
            (
                json!({ "flag": "no" }),
                "flag: has to be true or false, without quotes; other words, such as yes and no, are text",
            ),
            (json!({ "list": "s3cret" }), "list: has to be a list"),
            (json!({ "list": {} }), "list: has to be a list, not an object"),
            (json!({ "list": ["a", 7] }), "list[1]: has to be text: write it in quotes"),
            (json!({ "inner": { "inner": { "text": 7 } } }), "inner.inner.text: has to be text: write it in quotes"),
            (
                json!({ "by_name": { "a": "b" } }),
                "by_name.a: has to be a whole number, without quotes and without a unit",
            ),
            (
                json!({ "by_name": { "s3cret": "b" } }),
                "by_name: has to be a whole number, without quotes and without a unit",
            ),
            (json!({ "kind": "s3cret" }), "kind: has to be small, large or named"),
            (json!({ "kind": 7 }), "kind: has to be small, large or named"),
            (json!({ "kind": { "named": {} } }), "kind.named: has to say its name"),
            (json!({ "texts": "a" }), "there is no member 'texts'; did you mean 'text'?"),
            (
                json!({ "s3cret": 1 }),
                "there is a member whose name means nothing here; there are text, number, flag, list, inner, by_name, kind",
            ),
        ] {
            let error = read::<Record>(&value).expect_err("malformed").to_string();
            assert_eq!(error, expected, "{value}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_name_that_is_nearly_one_is_told_from_one_that_is_not() {
        let known = ["client_id", "client_name", "scope", "default_scope", "owners"];
        for (name, expected) in [
            ("scopes", "there is no member 'scopes'; did you mean 'scope'?"),
            ("clientId", "there is no member 'clientId'; did you mean 'client_id'?"),
            ("owner", "there is no member 'owner'; did you mean 'owners'?"),
            ("name", "there is no member 'name'; there are client_id, client_name, scope, default_scope, owners"),
            ("zzz", "there is no member 'zzz'; there are client_id, client_name, scope, default_scope, owners"),
        ] {
            assert_eq!(unknown_member(name, &known), expected);
        }
        assert!(!unknown_member("client_secret:abc", &known).contains("abc"));
    }
}
