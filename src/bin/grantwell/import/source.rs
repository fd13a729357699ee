//! The JSON of an export, taken apart member by member: what nobody has asked for is left over at the end, so that it can be said.

use std::fmt;

use serde_json::{Map, Value};

/// An object of an export with those of its members that nobody has taken yet. `Debug` shows no value: there are secrets among them.
#[derive(Clone)]
pub(super) struct Source {
    /// Where it is in the file.
    place: String,
    /// What its members' names begin with in the report.
    prefix: String,
    members: Map<String, Value>,
}

/// A member that was taken. `Debug` does not show its value.
#[derive(Clone)]
pub(super) struct Taken<T> {
    /// Its name in the report.
    pub(super) member: String,
    /// What kind of value it has, without the value.
    pub(super) shape: String,
    /// The value.
    pub(super) value: T,
    place: String,
}

/// Something is not of the form that the product's documentation gives it. Repeats no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub(super) struct Malformed {
    /// Where: the path through objects and lists.
    pub(super) place: String,
    /// What it has to be.
    pub(super) why: String,
}

impl Malformed {
    pub(super) fn new(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self { place: place.into(), why: why.into() }
    }
}

impl Source {
    /// The object at a place.
    ///
    /// # Errors
    /// Where it is not an object.
    pub(super) fn of(place: impl Into<String>, value: Value) -> Result<Self, Malformed> {
        let place = place.into();
        match value {
            Value::Object(members) => Ok(Self { place, prefix: String::new(), members }),
            other => Err(Malformed::new(place, format!("it is an object, and this is {}", with_article(&other)))),
        }
    }

    /// An object that says nothing.
    pub(super) fn nothing() -> Self {
        Self { place: String::new(), prefix: String::new(), members: Map::new() }
    }

    /// The object itself as something that the report can name.
    pub(super) fn as_member(&self, member: String, shape: String) -> Taken<()> {
        Taken { member, shape, value: (), place: self.place.clone() }
    }

    /// Adds a member that is elsewhere in the file.
    pub(super) fn insert(&mut self, name: &str, value: Value) {
        self.members.insert(name.to_owned(), value);
    }

    /// The same with this before the names of its members.
    pub(super) fn called(self, prefix: String) -> Self {
        Self { prefix, ..self }
    }

    /// A text that stays to be taken; none where it is something else.
    pub(super) fn peek(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }

    /// Whether there is a member of this name, whatever it says.
    pub(super) fn names(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Where it is in the file.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Whether there is a member of this name that says anything.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !says_nothing(value))
    }

    /// A member, whatever it is; none where it says nothing.
    pub(super) fn any(&mut self, name: &str) -> Option<Taken<Value>> {
        let value = self.members.remove(name).filter(|value| !says_nothing(value))?;
        Some(self.taken(name, shape(&value), value))
    }

    /// A text; none where it is empty.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<Taken<String>>, Malformed> {
        self.typed(name, "a text", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<Taken<bool>>, Malformed> {
        self.typed(name, "true or false", |value| value.as_bool())
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<Taken<i64>>, Malformed> {
        self.typed(name, "a whole number", |value| {
            value.as_i64().or_else(|| value.as_u64().map(|number| i64::try_from(number).unwrap_or(i64::MAX)))
        })
    }

    /// A list of texts; none where it is empty.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Taken<Vec<String>>>, Malformed> {
        self.typed(name, "a list of texts", |value| {
            let Value::Array(values) = value else { return None };
            let said = values.into_iter().filter(|value| !says_nothing(value));
            said.map(|value| if let Value::String(text) = value { Some(text) } else { None }).collect()
        })
    }

    /// The elements of a list; none of them where it is not there.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Value>, Malformed> {
        let list = self.typed(name, "a list", |value| match value {
            Value::Array(values) => Some(values),
            _ => None,
        })?;
        Ok(list.map(|list| list.value).unwrap_or_default())
    }

    /// An object, whose members are called after it.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>, Malformed> {
        let Some(Taken { member, value, place, .. }) = self.any(name) else { return Ok(None) };
        Self::of(place, value).map(|object| Some(Self { prefix: format!("{member}."), ..object }))
    }

    /// The members whose names are this pattern: a name, or the beginning of one and an asterisk.
    pub(super) fn matching(&mut self, pattern: &str) -> Vec<Taken<Value>> {
        let names: Vec<String> = match pattern.strip_suffix('*') {
            None => vec![pattern.to_owned()],
            Some(start) => self.members.keys().filter(|name| name.starts_with(start)).cloned().collect(),
        };
        names.iter().filter_map(|name| self.any(name)).collect()
    }

    /// Everything that nobody has taken and that says anything.
    pub(super) fn rest(&mut self) -> Vec<Taken<Value>> {
        self.matching("*")
    }

    /// Each value as `change` makes it of the member's name and value.
    pub(super) fn map(&mut self, mut change: impl FnMut(&str, Value) -> Value) {
        for (name, value) in &mut self.members {
            *value = change(name, value.take());
        }
    }

    /// What a member is called in the report.
    pub(super) fn name_of(&self, name: &str) -> String {
        format!("{}{}", self.prefix, shown(name))
    }

    fn typed<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<Taken<T>>, Malformed> {
        let Some(Taken { member, shape, value, place }) = self.any(name) else { return Ok(None) };
        let found = with_article(&value);
        match read(value) {
            Some(value) => Ok(Some(Taken { member, shape, value, place })),
            None => Err(Malformed::new(place, format!("it is {expected}, and this is {found}"))),
        }
    }

    fn taken<T>(&self, name: &str, shape: String, value: T) -> Taken<T> {
        Taken { member: self.name_of(name), shape, value, place: format!("{}.{}", self.place, shown(name)) }
    }
}

impl<T> Taken<T> {
    /// The same member with what was made of its value.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Taken<U> {
        let Self { member, shape, value, place } = self;
        Taken { member, shape, value: change(value), place }
    }

    /// Why it cannot be used.
    pub(super) fn malformed(&self, why: impl Into<String>) -> Malformed {
        Malformed::new(self.place.clone(), why)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Source").field("place", &self.place).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Taken<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Taken")
            .field("member", &self.member)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// Whether a value is what products write where nothing is set.
pub(super) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.iter().all(Value::is_null),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What kind of value it is. Never the value: it may be a secret.
pub(super) fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "text".to_owned(),
        Value::Array(values) => format!("list of {}", values.len()),
        Value::Object(members) => format!("object of {}", members.len()),
    }
}

/// A name out of a file as a terminal may show it.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == LONGEST_NAME {
            shown.push('…');
            break;
        }
        // Others than these may move the cursor, or pass for another name.
        if character.is_ascii_graphic() || character == ' ' {
            shown.push(character);
        } else {
            shown.extend(character.escape_unicode());
        }
    }
    shown
}

fn with_article(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// How many characters of a name are shown.
const LONGEST_NAME: usize = 80;
