//! A registry as a file would declare it.

use serde::Serialize;
use serde_json::{Value, json};

use super::declaration::{NOT_OF_REALMS, declared_form};
use super::snapshot::Snapshot;
use crate::core::client::metadata::ClientMetadata;
use crate::core::client::{Client, ClientStatus};
use crate::core::declaration::DeclarationName;
use crate::core::members::Members;
use crate::core::realm::{Realm, RealmSettings};

/// The document that declares what is in a registry: of each record what is not its default. Applied to the same registry it changes
/// nothing but whose the records are.
#[derive(Debug, Serialize)]
pub struct Exported<'a> {
    name: &'a DeclarationName,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    realms: Vec<Members>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clients: Vec<Members>,
}

impl<'a> Exported<'a> {
    /// Everything in `stored`, in a file of this name.
    pub fn new(name: &'a DeclarationName, stored: &Snapshot) -> Self {
        // Without a record a realm says nothing.
        let realms = stored.realms().filter(|realm| realm.revision > 0).map(realm).collect();
        Self { name, realms, clients: stored.clients().map(client).collect() }
    }
}

fn realm(realm: &Realm) -> Members {
    let settings = not_default(Members::of(&realm.settings), Members::of(&RealmSettings::default()));
    let settings = settings.filter(|(name, _)| !NOT_OF_REALMS.contains(name));
    [("realm", json!(realm.name))].into_iter().chain(settings).collect()
}

fn client(client: &Client) -> Members {
    let metadata = not_default(Members::of(&client.metadata), Members::of(&ClientMetadata::new()));
    let status = (client.status != ClientStatus::Active).then(|| ("status", json!(client.status)));
    [("realm", json!(client.realm)), ("client_id", json!(client.client_id))]
        .into_iter()
        .chain(metadata)
        .chain(status)
        .collect()
}

fn not_default(members: Members, defaults: Members) -> impl Iterator<Item = (&'static str, Value)> {
    let differs = move |(name, value): &(&'static str, Value)| value != defaults.value(name);
    members.into_iter().filter(differs).map(|(name, value)| (name, declared_form(name, &value)))
}
