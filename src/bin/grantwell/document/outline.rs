//! Where in a file everything is.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::fault::Position;
use super::yaml;

/// Where a number is written with a zero before its other digits.
pub(super) fn leading_zero(text: &str) -> Option<Position> {
    if may_have_leading_zeros(text) { Outline::of(text)?.leading_zero(text) } else { None }
}

/// The places of a value and of all that is in it.
#[derive(Debug)]
pub(crate) struct Outline {
    position: Option<Position>,
    /// Where it is written: in bytes, and not where an alias stands for it.
    starts_at: Option<usize>,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    Number,
    Other,
    List(Vec<Outline>),
    Object(Vec<Member>),
}

#[derive(Debug)]
struct Member {
    name: String,
    /// Where its name is written.
    position: Option<Position>,
    outline: Outline,
}

impl Outline {
    /// That of a text, as far as it can be read. JSON is YAML, but for some escapes.
    pub(crate) fn of(text: &str) -> Option<Self> {
        serde_saphyr::from_str_with_options(text, yaml::options()).ok()
    }

    /// Where `place` is, such as `clients[0]: jwks: keys[1].kty`: as near as can be told.
    pub(crate) fn position(&self, place: &str) -> Option<Position> {
        self.nearest(place).position
    }

    /// Where the name of a member of what is at `place` is, or else that place.
    pub(crate) fn position_of_member(&self, place: &str, name: &str) -> Option<Position> {
        let whole = self.nearest(place);
        let member = match &whole.inside {
            Inside::Object(members) => members.iter().find(|member| member.name == name),
            Inside::List(_) | Inside::Number | Inside::Other => None,
        };
        member.and_then(|member| member.position).or(whole.position)
    }

    fn nearest(&self, place: &str) -> &Self {
        let mut nearest = self;
        for step in place.split(['.', ':', ' ', '[', ']']).filter(|step| !step.is_empty()) {
            let inside = match &nearest.inside {
                Inside::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                Inside::Object(members) => {
                    members.iter().find(|member| member.name == step).map(|member| &member.outline)
                }
                Inside::Number | Inside::Other => None,
            };
            let Some(inside) = inside else { break };
            nearest = inside;
        }
        nearest
    }

    /// The first number that is written with a zero before its other digits.
    fn leading_zero(&self, text: &str) -> Option<Position> {
        match &self.inside {
            Inside::Number => {
                let written = self.starts_at.and_then(|start| text.as_bytes().get(start..)).unwrap_or_default();
                let digits = written.strip_prefix(b"-").or_else(|| written.strip_prefix(b"+")).unwrap_or(written);
                matches!(digits, [b'0', b'0'..=b'9', ..]).then_some(self.position).flatten()
            }
            Inside::Other => None,
            Inside::List(items) => items.iter().find_map(|item| item.leading_zero(text)),
            Inside::Object(members) => members.iter().find_map(|member| member.outline.leading_zero(text)),
        }
    }
}

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: inside, referenced, defined, .. } = Spanned::deserialize(deserializer)?;
        let starts_at = defined.span().byte_offset().and_then(|offset| usize::try_from(offset).ok());
        Ok(Self { position: yaml::position(referenced), starts_at, inside })
    }
}

impl<'de> Deserialize<'de> for Inside {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfAnyType)
    }
}

struct OfAnyType;

impl<'de> Visitor<'de> for OfAnyType {
    type Value = Inside;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Inside, A::Error> {
        let mut members = Vec::new();
        while let Some((name, outline)) = map.next_entry::<Spanned<String>, Outline>()? {
            let Spanned { value: name, referenced, .. } = name;
            members.push(Member { name, position: yaml::position(referenced), outline });
        }
        Ok(Inside::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Inside, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Inside::List(list))
    }

    fn visit_str<E>(self, _text: &str) -> Result<Inside, E> {
        Ok(Inside::Other)
    }

    fn visit_bool<E>(self, _value: bool) -> Result<Inside, E> {
        Ok(Inside::Other)
    }

    fn visit_unit<E>(self) -> Result<Inside, E> {
        Ok(Inside::Other)
    }

    fn visit_u64<E>(self, _number: u64) -> Result<Inside, E> {
        Ok(Inside::Number)
    }

    fn visit_i64<E>(self, _number: i64) -> Result<Inside, E> {
        Ok(Inside::Number)
    }

    fn visit_f64<E>(self, _number: f64) -> Result<Inside, E> {
        Ok(Inside::Number)
    }
}

/// Whether there may be a number such as 007, of which YAML 1.2 leaves out the zeros and YAML 1.1 takes it for octal.
fn may_have_leading_zeros(text: &str) -> bool {
    let begins_number = |before: u8| !before.is_ascii_alphanumeric() && !matches!(before, b'.' | b'_');
    text.as_bytes()
        .windows(3)
        .any(|window| matches!(window, [before, b'0', digit] if begins_number(*before) && digit.is_ascii_digit()))
        || matches!(text.as_bytes(), [b'0', b'0'..=b'9', ..])
}
