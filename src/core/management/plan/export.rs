//! A registry as a file would declare it.

use serde::Serialize;
use serde_json::{Value, json};

use super::declaration::owner::DeclaredOwner;
use super::declaration::{self, declared_form};
use super::issuer::of_nothing_said;
use super::snapshot::Snapshot;
use crate::core::client::metadata::ClientMetadata;
use crate::core::client::{Client, ClientStatus};
use crate::core::declaration::DeclarationName;
use crate::core::members::Members;
use crate::core::owner::Owner;
use crate::core::realm::{Realm, RealmSettings};

/// The document that declares what is in a registry: of each record what is not its default. Applied to the same registry it changes
/// nothing but whose the records are.
#[derive(Debug, Serialize)]
pub struct Exported<'a> {
    name: &'a DeclarationName,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    realms: Vec<Members>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    owners: Vec<Members>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    issuers: Vec<Members>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clients: Vec<Members>,
}

impl<'a> Exported<'a> {
    /// Everything in `stored`, in a file of this name.
    pub fn new(name: &'a DeclarationName, stored: &Snapshot) -> Self {
        // Without a record a realm says nothing.
        let realms = stored.realms().filter(|realm| realm.revision > 0).map(realm).collect();
        Self {
            name,
            realms,
            owners: stored.owners().map(owner).collect(),
            issuers: stored.realms().flat_map(issuers).collect(),
            clients: stored.clients().map(client).collect(),
        }
    }
}

fn realm(realm: &Realm) -> Members {
    let (settings, defaults) = (Members::of(&realm.settings), Members::of(&RealmSettings::default()));
    let set = not_default(declaration::realm::settings(), &settings, &defaults);
    [("realm", json!(realm.name))].into_iter().chain(set).collect()
}

fn owner(owner: &Owner) -> Members {
    let (details, defaults) = (Members::of(&DeclaredOwner::of(owner)), Members::of(&DeclaredOwner::new()));
    let set = not_default(details.iter().map(|(name, _)| name), &details, &defaults);
    [("owner", json!(owner.owner))].into_iter().chain(set).collect()
}

/// Who an issuer is is always said; its kind where its URL does not tell.
fn issuers(realm: &Realm) -> impl Iterator<Item = Members> + '_ {
    realm.settings.trusted_issuers.iter().map(|issuer| {
        let of_kind = |kind| Members::of(&of_nothing_said(&issuer.name, issuer.issuer.clone(), kind));
        let (members, by_kind, by_url) = (Members::of(issuer), of_kind(Some(issuer.kind)), of_kind(None));
        let is_said = |name: &'static str| match name {
            "issuer" => true,
            "kind" => members.value(name) != by_url.value(name),
            _ => members.value(name) != by_kind.value(name),
        };
        let said = declaration::issuer::settings().filter(|name| is_said(name)).map(|name| {
            let value = match (name, members.value(name)) {
                // Left out, it would be what its kind has.
                ("algs", Value::Null) => json!([]),
                (_, value) => declared_form(name, value),
            };
            (name, value)
        });
        [("realm", json!(realm.name)), ("name", json!(issuer.name))].into_iter().chain(said).collect()
    })
}

fn client(client: &Client) -> Members {
    let (metadata, defaults) = (Members::of(&client.metadata), Members::of(&ClientMetadata::new()));
    let set = not_default(metadata.iter().map(|(name, _)| name), &metadata, &defaults);
    let status = (client.status != ClientStatus::Active).then(|| ("status", json!(client.status)));
    [("realm", json!(client.realm)), ("client_id", json!(client.client_id))]
        .into_iter()
        .chain(set)
        .chain(status)
        .collect()
}

fn not_default<'a>(
    names: impl Iterator<Item = &'static str> + 'a,
    members: &'a Members,
    defaults: &'a Members,
) -> impl Iterator<Item = (&'static str, Value)> + 'a {
    let differs = |name: &&'static str| members.value(name) != defaults.value(name);
    names.filter(differs).map(|name| (name, declared_form(name, members.value(name))))
}
