//! One record as a file declares it, and what is wrong with one that is not of its form.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::core::client::ClientStatus;
use crate::core::form::{Malformed, read, unknown_member};
use crate::core::keys::remote::JwksUri;
use crate::core::members::{Members, names_of};

/// One record as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where: the file, and where in it.
    pub place: String,
    /// What it mentions, by the names under which it is stored. Null is the member's default.
    pub members: BTreeMap<String, Value>,
    /// Of a client: whether it is active, where that is mentioned.
    pub status: Option<ClientStatus>,
    /// Of a client: whether a secret may be made for it.
    pub generate: bool,
}

/// An entry of a list as it is written.
pub(super) struct Written {
    /// Where: the file, and where in it.
    pub(super) place: String,
    pub(super) members: Map<String, Value>,
}

/// Why a file declares nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDeclaration {
    /// There is no file, or nothing in it.
    #[error("{place} is empty: it has to say at least its name")]
    Empty {
        /// The file.
        place: String,
    },
    /// Something is not of the form that it has to be.
    #[error("{place}: {why}")]
    Form {
        /// The file, and where in it.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// There is a member of which nothing is known.
    #[error("{place}: {why}")]
    UnknownMember {
        /// The file, and of what in it this is a member.
        place: String,
        /// The member.
        member: String,
        /// What is wrong.
        why: String,
    },
    /// A record is declared twice.
    #[error("{what} is declared twice: {first} and {second}")]
    Twice {
        /// The record.
        what: String,
        /// Where it is declared first.
        first: String,
        /// Where again.
        second: String,
    },
    /// Two files that are applied together have different names.
    #[error("{first} and {second} have different names, so they are not applied together")]
    Names {
        /// A file.
        first: String,
        /// Another.
        second: String,
    },
}

impl InvalidDeclaration {
    pub(super) fn unknown(place: &str, member: &str, known: &[&str]) -> Self {
        let why = unknown_member(member, known);
        Self::UnknownMember { place: place.to_owned(), member: member.to_owned(), why }
    }
}

/// A member as a file declares it that is stored as `value`: the same, but for what is stored as text to the letter.
pub fn declared_form(name: &str, value: &Value) -> Value {
    match (name, value) {
        ("access_token_claims", Value::String(text)) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        ("jwks_uri", Value::Object(address)) if address.len() == 1 => address.get("uri").unwrap_or(value).clone(),
        // Of an issuer. Null is the default of its kind.
        ("max_age", Value::Null) => json!(UNTIL_EXP),
        _ => value.clone(),
    }
}

/// [`declared_form`] the other way round.
pub(in super::super) fn as_stored(name: &str, value: Value) -> Value {
    match (name, value) {
        ("jwks_uri", Value::String(uri)) => json!({ "uri": uri }),
        ("access_token_claims", claims @ Value::Object(_)) => Value::String(claims.to_string()),
        ("max_age", Value::String(text)) if text == UNTIL_EXP => Value::Null,
        (_, value) => value,
    }
}

/// Each by itself, so that what is wrong is said of the member that it is wrong of.
pub(super) fn check_member<T: DeserializeOwned + serde::Serialize>(
    place: &str,
    name: &str,
    value: &Value,
    defaults: &T,
) -> Result<(), InvalidDeclaration> {
    check_value(name, value, defaults).map_err(|Malformed { place: within, why }| {
        let within = within.map(|within| if within.starts_with('[') { within } else { format!(": {within}") });
        form(&format!("{place}: {name}{}", within.unwrap_or_default()), why)
    })
}

/// [`check_member`] without the place of the member: what is wrong is told with its place within it.
pub(super) fn check_value<T: DeserializeOwned + serde::Serialize>(
    name: &str,
    value: &Value,
    defaults: &T,
) -> Result<(), Malformed> {
    let mut record: Map<String, Value> = Members::of(defaults)
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    if value.is_null() {
        return Ok(());
    }
    record.insert(name.to_owned(), value.clone());
    read::<T>(&Value::Object(record)).map(|_| ()).map_err(|error| match name {
        // Whoever writes a number would not come to the form by quotes alone.
        "token_quota" if !value.is_string() => Malformed { place: None, why: QUOTA.to_owned() },
        _ => error.within(name),
    })
}

/// Refuses a member of a member that there is not: what is misspelt there would be left out in silence.
pub(super) fn require_known(
    place: &str,
    members: &Map<String, Value>,
    names: &[&str],
) -> Result<(), InvalidDeclaration> {
    match members.keys().find(|name| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(InvalidDeclaration::unknown(place, unknown, names)),
    }
}

/// An address that keys are fetched from, as text or with how it is reached.
pub(super) fn check_address(place: &str, address: &Value) -> Result<(), InvalidDeclaration> {
    match address {
        Value::Object(members) => require_known(place, members, names_of::<JwksUri>()),
        Value::String(_) | Value::Null => Ok(()),
        _ => {
            Err(form(place, "has to be an https URL, or an object with the members uri, allow_private_network and ca"))
        }
    }
}

pub(super) fn form(place: &str, why: impl fmt::Display) -> InvalidDeclaration {
    InvalidDeclaration::Form { place: place.to_owned(), why: why.to_string() }
}

pub(super) fn take<T: DeserializeOwned>(
    members: &mut Map<String, Value>,
    name: &str,
    place: &str,
) -> Result<Option<T>, InvalidDeclaration> {
    let Some(value) = members.remove(name) else { return Ok(None) };
    read(&value).map(Some).map_err(|error| form(&format!("{place}: {name}"), error))
}

pub(super) fn missing(place: &str, member: &str) -> InvalidDeclaration {
    InvalidDeclaration::Form { place: place.to_owned(), why: format!("it has to say its {member}") }
}

const QUOTA: &str = "has to be text such as \"100/hour\", \"1000/day\" or \"none\"";
/// What `max_age` of an issuer says where a token is good until its `exp`.
pub const UNTIL_EXP: &str = "until exp";
