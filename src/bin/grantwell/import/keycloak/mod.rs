//! Keycloak: realms as `kc.sh export` writes them, partial exports, and clients as the Admin REST API answers.

mod attributes;
mod client;
mod mappers;
mod realm;

use grantwell::core::realm::RealmName;
use serde_json::Value;

use super::export::{Export, placed};
use super::source::{Malformed, Source};
use realm::Realm;

/// The clients of an export: realms, a list of clients, or one client. They go into the realm of their own name, or into `wanted`.
pub(super) fn export(value: Value, wanted: Option<&RealmName>) -> Result<Export, Malformed> {
    let sources = match value {
        Value::Array(values) => placed("the export", values).collect::<Result<Vec<_>, _>>()?,
        value => vec![Source::of("the export", value)?],
    };
    let mut export = Export::default();
    let mut loose = Vec::new();
    for source in sources {
        if source.has("clientId") { loose.push(source) } else { realm(source, wanted, &mut export)? }
    }
    let none = Realm::none(wanted);
    none.say(&mut export, !loose.is_empty());
    for source in loose {
        export.clients.push(client::client(source, &none)?);
    }
    Ok(export)
}

fn realm(mut source: Source, wanted: Option<&RealmName>, export: &mut Export) -> Result<(), Malformed> {
    let mut clients = Vec::new();
    // A partial export that was made by hand may have clients alone.
    let place = if source.place() == "the export" { String::new() } else { format!("{}.", source.place()) };
    for client in placed(&format!("{place}clients"), source.list("clients")?) {
        clients.push(client?);
    }
    let realm = Realm::of(&mut source, wanted, export)?;
    realm.say(export, !clients.is_empty());
    for source in clients {
        export.clients.push(client::client(source, &realm)?);
    }
    export.beside(&mut source);
    Ok(())
}
