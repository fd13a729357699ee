//! JSON that has one reading: of two members of one name every reader takes the one it likes (RFC 7519 §4), so that a text with
//! such two is refused, however deep they are.

use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A JSON value in which no object has two members of one name. What is nested too deeply is refused by the library, which stops
/// at 128 levels.
pub struct Unambiguous(
    /// The value.
    pub Value,
);

/// The one object that the text is; `None` where it is not one, or says anything twice.
pub(crate) fn unambiguous_object(text: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(text) {
        Ok(Unambiguous(Value::Object(members))) => Some(members),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfOneReading).map(Self)
    }
}

struct OfOneReading;

impl<'de> Visitor<'de> for OfOneReading {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Unambiguous(value))) = map.next_entry()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member twice"));
            }
        }
        Ok(Value::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unambiguous(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_twice_at_any_depth_is_refused_and_the_rest_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,0.5,true,null,{"b":"c"}],"d":{"a":{}}}"#;
        let expected = json!({ "a": [1, -2, 0.5, true, null, { "b": "c" }], "d": { "a": {} } });
        assert_eq!(unambiguous_object(text.as_bytes()).map(Value::Object), Some(expected));
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":[{"c":1,"c":1}]}]}"#,
            "[]",
            "1",
            "",
            "{",
            "{}x",
            "\u{feff}{}",
        ] {
            assert_eq!(unambiguous_object(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_nested_without_end_is_refused() {
        let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!(unambiguous_object(deep(100).as_bytes()).is_some());
        assert!(unambiguous_object(deep(10_000).as_bytes()).is_none());
        assert!(unambiguous_object(format!("{{\"a\":{}", "[".repeat(10_000)).as_bytes()).is_none());
    }
}
