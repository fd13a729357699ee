//! What a file declares: records by their names, and of each the members that it mentions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::core::client::ClientStatus;
use crate::core::client::id::ClientId;
use crate::core::client::metadata::ClientMetadata;
use crate::core::declaration::DeclarationName;
use crate::core::members::{Members, names_of};
use crate::core::realm::{RealmName, RealmSettings};

/// Realms and clients as one file declares them, or several of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// What keeps its records from those of another.
    pub name: DeclarationName,
    /// The realms.
    pub realms: BTreeMap<RealmName, Entry>,
    /// The clients.
    pub clients: BTreeMap<(RealmName, ClientId), Entry>,
}

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
struct Written {
    /// Where: the file, and where in it.
    place: String,
    members: Map<String, Value>,
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

impl Declaration {
    /// What these documents declare together: each with the name of its file.
    ///
    /// # Errors
    /// [`InvalidDeclaration`] for the first thing that is not of its form.
    pub fn of(documents: &[(String, Value)]) -> Result<Self, InvalidDeclaration> {
        let mut whole: Option<(String, Self)> = None;
        for (file, document) in documents {
            let part = Self::of_document(file, document)?;
            whole = Some(match whole {
                None => (file.clone(), part),
                Some((first, so_far)) if so_far.name == part.name => (first, so_far.with(part)?),
                Some((first, _)) => return Err(InvalidDeclaration::Names { first, second: file.clone() }),
            });
        }
        whole.map(|(_, whole)| whole).ok_or_else(|| InvalidDeclaration::Empty { place: "the list of files".to_owned() })
    }

    fn of_document(file: &str, document: &Value) -> Result<Self, InvalidDeclaration> {
        let form = |place: &str, why: String| InvalidDeclaration::Form { place: place.to_owned(), why };
        let Value::Object(members) = document else {
            return Err(match document {
                Value::Null => InvalidDeclaration::Empty { place: file.to_owned() },
                _ => form(file, format!("it is an object with the members {}", MEMBERS.join(", "))),
            });
        };
        if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str()) && *name != SCHEMA) {
            return Err(form(file, format!("there is no member '{unknown}'; there are {}", MEMBERS.join(", "))));
        }
        let name = members.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| form(file, "it has to say its name, such as \"name\": \"team-a\"".to_owned()))?;
        let name = name.parse().map_err(|error| form(&format!("{file}: name"), format!("{error}")))?;
        let mut declared = Self { name, realms: BTreeMap::new(), clients: BTreeMap::new() };
        for Written { place, members: mut entry } in entries(file, members, "realms")? {
            let realm: RealmName = take(&mut entry, "realm", &place)?.ok_or_else(|| missing(&place, "realm"))?;
            let what = format!("realm '{realm}'");
            let entry = Entry::of_realm(place, entry)?;
            insert(&mut declared.realms, realm, entry, what)?;
        }
        for Written { place, members: mut entry } in entries(file, members, "clients")? {
            let realm: Option<RealmName> = take(&mut entry, "realm", &place)?;
            let client_id: ClientId =
                take(&mut entry, "client_id", &place)?.ok_or_else(|| missing(&place, "client_id"))?;
            let realm = realm.unwrap_or_else(RealmName::root);
            let what = format!("client '{client_id}' of realm '{realm}'");
            let entry = Entry::of_client(place, entry)?;
            insert(&mut declared.clients, (realm, client_id), entry, what)?;
        }
        Ok(declared)
    }

    fn with(mut self, other: Self) -> Result<Self, InvalidDeclaration> {
        for (realm, entry) in other.realms {
            let what = format!("realm '{realm}'");
            insert(&mut self.realms, realm, entry, what)?;
        }
        for (id, entry) in other.clients {
            let what = format!("client '{}' of realm '{}'", id.1, id.0);
            insert(&mut self.clients, id, entry, what)?;
        }
        Ok(self)
    }

    /// The realms that it speaks of.
    pub fn realm_names(&self) -> BTreeSet<&RealmName> {
        self.realms.keys().chain(self.clients.keys().map(|(realm, _)| realm)).collect()
    }
}

impl Entry {
    fn of_realm(place: String, members: Map<String, Value>) -> Result<Self, InvalidDeclaration> {
        let names = names_of::<RealmSettings>().iter().filter(|name| !NOT_OF_REALMS.contains(name));
        let members = stored_members(&place, members, &names.copied().collect::<Vec<_>>())?;
        for (name, value) in &members {
            check_member::<RealmSettings>(&place, name, value, &RealmSettings::default())?;
        }
        Ok(Self { place, members, status: None, generate: true })
    }

    fn of_client(place: String, mut members: Map<String, Value>) -> Result<Self, InvalidDeclaration> {
        let status = take(&mut members, "status", &place)?;
        let generate = take(&mut members, "generate", &place)?.unwrap_or(true);
        if members.contains_key("client_secret") {
            let why = "a file never has a secret: one is made when the client is registered";
            return Err(InvalidDeclaration::Form { place: format!("{place}: client_secret"), why: why.to_owned() });
        }
        let members = stored_members(&place, as_registered(&place, members)?, names_of::<ClientMetadata>())?;
        for (name, value) in &members {
            check_member::<ClientMetadata>(&place, name, value, &ClientMetadata::new())?;
        }
        Ok(Self { place, members, status, generate })
    }
}

/// A member as a file declares it that is stored as `value`: the same, but for what is stored as text to the letter.
pub fn declared_form(name: &str, value: &Value) -> Value {
    match (name, value) {
        ("access_token_claims", Value::String(text)) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        ("jwks_uri", Value::Object(address)) if address.len() == 1 => address.get("uri").unwrap_or(value).clone(),
        _ => value.clone(),
    }
}

/// [`declared_form`] the other way round.
pub(super) fn as_stored(name: &str, value: Value) -> Value {
    match (name, value) {
        ("jwks_uri", Value::String(uri)) => json!({ "uri": uri }),
        ("access_token_claims", claims @ Value::Object(_)) => Value::String(claims.to_string()),
        (_, value) => value,
    }
}

/// What is written as people write it, as it is stored.
fn as_registered(place: &str, members: Map<String, Value>) -> Result<Map<String, Value>, InvalidDeclaration> {
    let mut registered = Map::new();
    for (name, value) in members {
        // RFC 7591 knows one of each.
        let (stored, value) = match (name.as_str(), value) {
            ("token_endpoint_auth_method", one @ Value::String(_)) => ("token_endpoint_auth_methods", json!([one])),
            ("token_endpoint_auth_signing_alg", one @ Value::String(_)) => {
                ("token_endpoint_auth_signing_algs", json!([one]))
            }
            (name, value) => (name, as_stored(name, value)),
        };
        if registered.insert(stored.to_owned(), value).is_some() {
            let why = format!("{stored} is there twice, once under its other name");
            return Err(InvalidDeclaration::Form { place: place.to_owned(), why });
        }
    }
    Ok(registered)
}

fn stored_members(
    place: &str,
    members: Map<String, Value>,
    names: &[&str],
) -> Result<BTreeMap<String, Value>, InvalidDeclaration> {
    if let Some(unknown) = members.keys().find(|name| !names.contains(&name.as_str())) {
        let why = format!("there is no member '{unknown}'; there are {}", names.join(", "));
        return Err(InvalidDeclaration::Form { place: place.to_owned(), why });
    }
    Ok(members.into_iter().collect())
}

/// Each by itself, so that what is wrong is said of the member that it is wrong of.
fn check_member<T: DeserializeOwned + serde::Serialize>(
    place: &str,
    name: &str,
    value: &Value,
    defaults: &T,
) -> Result<(), InvalidDeclaration> {
    let mut record: Map<String, Value> = Members::of(defaults)
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    if value.is_null() {
        return Ok(());
    }
    record.insert(name.to_owned(), value.clone());
    match serde_json::from_value::<T>(Value::Object(record)) {
        Ok(_) => Ok(()),
        Err(error) => Err(InvalidDeclaration::Form { place: format!("{place}: {name}"), why: error.to_string() }),
    }
}

/// The entries of a list, each with where it is.
fn entries(file: &str, members: &Map<String, Value>, list: &str) -> Result<Vec<Written>, InvalidDeclaration> {
    let form = |place: String, why: &str| InvalidDeclaration::Form { place, why: why.to_owned() };
    let entries = match members.get(list) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(form(format!("{file}: {list}"), "it is a list")),
    };
    let entry = |(index, entry): (usize, &Value)| {
        let place = format!("{file}: {list}[{index}]");
        match entry {
            Value::Object(entry) => Ok(Written { place, members: entry.clone() }),
            _ => Err(form(place, "it is an object with the record's members")),
        }
    };
    entries.iter().enumerate().map(entry).collect()
}

fn take<T: for<'de> Deserialize<'de>>(
    members: &mut Map<String, Value>,
    name: &str,
    place: &str,
) -> Result<Option<T>, InvalidDeclaration> {
    let Some(value) = members.remove(name) else { return Ok(None) };
    match serde_json::from_value(value) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(InvalidDeclaration::Form { place: format!("{place}: {name}"), why: error.to_string() }),
    }
}

fn missing(place: &str, member: &str) -> InvalidDeclaration {
    InvalidDeclaration::Form { place: place.to_owned(), why: format!("it has to say its {member}") }
}

fn insert<K: Ord>(
    entries: &mut BTreeMap<K, Entry>,
    key: K,
    entry: Entry,
    what: impl fmt::Display,
) -> Result<(), InvalidDeclaration> {
    if let Some(first) = entries.get(&key) {
        return Err(InvalidDeclaration::Twice {
            what: what.to_string(),
            first: first.place.clone(),
            second: entry.place,
        });
    }
    entries.insert(key, entry);
    Ok(())
}

/// The members of a file, in the order in which they are written.
const MEMBERS: [&str; 3] = ["name", "realms", "clients"];
/// Which editors complete a file by.
const SCHEMA: &str = "$schema";
/// Members of a realm's record that are no settings.
pub(super) const NOT_OF_REALMS: [&str; 3] = ["tokens_valid_after", "longer_tokens_until", "trusted_issuers"];
