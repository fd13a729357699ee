//! A registry as a file would declare it.

use serde_json::{Map, Value, json};

use super::declaration::{NOT_OF_REALMS, declared_form};
use super::snapshot::Snapshot;
use crate::core::client::metadata::ClientMetadata;
use crate::core::client::{Client, ClientStatus};
use crate::core::declaration::DeclarationName;
use crate::core::members::Members;
use crate::core::realm::{Realm, RealmSettings};

/// The document that declares what is in `stored`: of each record what is not its default. Applied to the same registry it changes
/// nothing but whose the records are.
pub fn exported(name: &DeclarationName, stored: &Snapshot) -> Value {
    let realms: Vec<Value> = stored.realms().map(realm).collect();
    let clients: Vec<Value> = stored.clients().map(client).collect();
    let lists = [("realms", realms), ("clients", clients)];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    let named = [("name".to_owned(), json!(name))].into_iter();
    Value::Object(named.chain(lists.map(|(list, entries)| (list.to_owned(), Value::Array(entries)))).collect())
}

fn realm(realm: &Realm) -> Value {
    let mut entry = Map::from_iter([("realm".to_owned(), json!(realm.name))]);
    let members = Members::of(&realm.settings);
    entry.extend(
        not_default(&members, &Members::of(&RealmSettings::default()))
            .filter(|(name, _)| !NOT_OF_REALMS.contains(&name.as_str())),
    );
    Value::Object(entry)
}

fn client(client: &Client) -> Value {
    let mut entry =
        Map::from_iter([("realm".to_owned(), json!(client.realm)), ("client_id".to_owned(), json!(client.client_id))]);
    entry.extend(not_default(&Members::of(&client.metadata), &Members::of(&ClientMetadata::new())));
    if client.status != ClientStatus::Active {
        entry.insert("status".to_owned(), json!(client.status));
    }
    Value::Object(entry)
}

fn not_default<'a>(members: &'a Members, defaults: &'a Members) -> impl Iterator<Item = (String, Value)> + 'a {
    let differs = |(name, value): &(&'static str, &Value)| *value != defaults.value(name);
    members.iter().filter(differs).map(|(name, value)| (name.to_owned(), declared_form(name, value)))
}
