//! What a file declares: records by their names, and of each the members that it mentions.

pub mod client;
mod entry;
pub mod issuer;
pub mod owner;
pub mod realm;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

pub(super) use entry::as_stored;
pub use entry::{Entry, InvalidDeclaration, UNTIL_EXP, declared_form};

use super::step::Target;
use crate::core::client::id::ClientId;
use crate::core::declaration::DeclarationName;
use crate::core::form::read;
use crate::core::owner::OwnerId;
use crate::core::realm::RealmName;
use crate::core::trust::issuer::IssuerName;
use entry::{Written, form};

/// Realms, owners, issuers and clients as one file declares them, or several of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// What keeps its records from those of another.
    pub name: DeclarationName,
    /// The realms.
    pub realms: BTreeMap<RealmName, Entry>,
    /// The owners.
    pub owners: BTreeMap<OwnerId, Entry>,
    /// The issuers that realms trust.
    pub issuers: BTreeMap<(RealmName, IssuerName), Entry>,
    /// The clients.
    pub clients: BTreeMap<(RealmName, ClientId), Entry>,
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
        let Value::Object(members) = document else {
            return Err(match document {
                Value::Null => InvalidDeclaration::Empty { place: file.to_owned() },
                _ => form(file, format!("it has to be an object with the members {}", MEMBERS.join(", "))),
            });
        };
        if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str()) && *name != SCHEMA) {
            return Err(InvalidDeclaration::unknown(file, unknown, &MEMBERS));
        }
        if members.get(SCHEMA).is_some_and(|schema| !schema.is_string() && !schema.is_null()) {
            return Err(form(&format!("{file}: {SCHEMA}"), "has to be text: where the schema of this file is"));
        }
        let name = members.get("name").filter(|name| !name.is_null());
        let name = name.ok_or_else(|| form(file, "it has to say its name, such as \"name\": \"team-a\"".to_owned()))?;
        let name = read(name).map_err(|error| form(&format!("{file}: name"), error))?;
        let mut declared = Self {
            name,
            realms: BTreeMap::new(),
            owners: BTreeMap::new(),
            issuers: BTreeMap::new(),
            clients: BTreeMap::new(),
        };
        for written in entries(file, members, "realms")? {
            let (realm, entry) = realm::read(written)?;
            insert(&mut declared.realms, realm, entry)?;
        }
        for written in entries(file, members, "owners")? {
            let (owner, entry) = owner::read(written)?;
            insert(&mut declared.owners, owner, entry)?;
        }
        for written in entries(file, members, "issuers")? {
            let (issuer, entry) = issuer::read(written)?;
            insert(&mut declared.issuers, issuer, entry)?;
        }
        for written in entries(file, members, "clients")? {
            let (client, entry) = client::read(written)?;
            insert(&mut declared.clients, client, entry)?;
        }
        Ok(declared)
    }

    fn with(mut self, other: Self) -> Result<Self, InvalidDeclaration> {
        other.realms.into_iter().try_for_each(|(id, entry)| insert(&mut self.realms, id, entry))?;
        other.owners.into_iter().try_for_each(|(id, entry)| insert(&mut self.owners, id, entry))?;
        other.issuers.into_iter().try_for_each(|(id, entry)| insert(&mut self.issuers, id, entry))?;
        other.clients.into_iter().try_for_each(|(id, entry)| insert(&mut self.clients, id, entry))?;
        Ok(self)
    }

    /// The realms that it speaks of.
    pub fn realm_names(&self) -> BTreeSet<&RealmName> {
        let of_issuers = self.issuers.keys().map(|(realm, _)| realm);
        let of_clients = self.clients.keys().map(|(realm, _)| realm);
        self.realms.keys().chain(of_issuers).chain(of_clients).collect()
    }
}

/// The entries of a list, each with where it is.
fn entries(file: &str, members: &Map<String, Value>, list: &str) -> Result<Vec<Written>, InvalidDeclaration> {
    let entries = match members.get(list) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(form(&format!("{file}: {list}"), "has to be a list")),
    };
    let entry = |(index, entry): (usize, &Value)| {
        let place = format!("{file}: {list}[{index}]");
        match entry {
            Value::Object(entry) => match entry.keys().find(|name| SECRETS.contains(&name.as_str())) {
                Some(secret) => Err(form(&format!("{place}: {secret}"), NO_SECRETS)),
                None => Ok(Written { place, members: entry.clone() }),
            },
            _ => Err(form(&place, "has to be an object with the members of the record")),
        }
    };
    entries.iter().enumerate().map(entry).collect()
}

fn insert<K: Ord>(entries: &mut BTreeMap<K, Entry>, id: K, entry: Entry) -> Result<(), InvalidDeclaration>
where
    for<'a> Target: From<&'a K>,
{
    if let Some(first) = entries.get(&id) {
        return Err(InvalidDeclaration::Twice {
            what: Target::from(&id).to_string(),
            first: first.place.clone(),
            second: entry.place,
        });
    }
    entries.insert(id, entry);
    Ok(())
}

/// The members of a file, in the order in which they are written. Those after the name are lists of records.
pub const MEMBERS: [&str; 5] = ["name", "realms", "owners", "issuers", "clients"];
/// Members under which people and other products keep secrets. They are told of what to do instead.
const SECRETS: [&str; 5] = ["client_secret", "client_secrets", "secret", "password", "registration_access_token"];
const NO_SECRETS: &str = "a file never has a secret: one is made when the client is registered; take it out, and replace the secret if \
                          others have seen the file";
/// Which editors complete a file by.
const SCHEMA: &str = "$schema";

#[cfg(test)]
mod tests;
