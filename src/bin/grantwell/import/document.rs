//! The file that is written: realms and clients as `grantwell apply` reads them, and nothing that it would refuse.

use std::collections::{BTreeMap, BTreeSet};

use grantwell::core::client::id::ClientId;
use grantwell::core::declaration::DeclarationName;
use grantwell::core::management::plan::{Declaration, Plan, PlanOptions, Snapshot, Target};
use grantwell::core::members::Members;
use grantwell::core::realm::RealmName;
use serde::Serialize;
use serde_json::json;

use super::client::Client;
use super::export::Export;
use super::product::Product;
use super::report::{Report, clients};
use super::source::Malformed;
use crate::schema;

/// What is written.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    name: DeclarationName,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    realms: Vec<Members>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clients: Vec<Members>,
}

impl Document {
    /// The document of what can be declared. A client that `apply` would refuse is left out, and the export says so then.
    ///
    /// # Errors
    /// Two records under one name, and what is wrong with a realm.
    pub(super) fn of(export: &mut Export, name: &DeclarationName) -> Result<Self, Malformed> {
        distinct(export)?;
        loop {
            let document = Self::with(export, name);
            let malformed = |why: String| Malformed::new("the file that was made", why);
            let value = serde_json::to_value(&document).map_err(|error| malformed(error.to_string()))?;
            let declaration =
                Declaration::of(&[(String::new(), value)]).map_err(|error| malformed(error.to_string()))?;
            let Err(problems) = Plan::make(&declaration, &Snapshot::default(), PlanOptions::default()) else {
                return Ok(document);
            };
            for problem in problems {
                let Target::Client { realm, client_id } = problem.target else {
                    return Err(malformed(format!("{}: {}", problem.target, problem.kind)));
                };
                let refused =
                    |client: &&mut Client| client.realm == realm && client.client_id.as_ref() == Some(&client_id);
                for client in export.clients.iter_mut().filter(refused) {
                    client.leave_out(format!("this server would refuse it: {}", problem.kind));
                }
            }
        }
    }

    /// The file as it is written.
    ///
    /// # Errors
    /// What the library says.
    pub(super) fn yaml(&self, product: Product, report: &Report) -> Result<String, serde_saphyr::ser::Error> {
        let yaml = serde_saphyr::to_string(self)?;
        let all = report.taken + report.left_out;
        let of_all = if report.left_out == 0 { String::new() } else { format!(" of {all}") };
        Ok(format!(
            "# yaml-language-server: $schema={}\n\
             # Made by grantwell import from an export of {}: {}{of_all}.\n\
             # It has no secrets: where a client needs one, apply makes a new one, and you give it to the application.\n\
             # Review it, and what the import has said of it; then see what it would do: grantwell apply -f FILE --plan\n\
             {}\n...\n",
            schema::DECLARATION,
            product.title(),
            clients(report.taken),
            yaml.trim_end()
        ))
    }

    fn with(export: &Export, name: &DeclarationName) -> Self {
        let declared: Vec<(&Client, Members)> =
            export.clients.iter().filter_map(|client| client.declared().map(|members| (client, members))).collect();
        // Root exists, and a realm without clients is not what was asked for.
        let mut realms: BTreeMap<&RealmName, Members> = declared
            .iter()
            .filter(|(client, _)| !client.realm.is_root())
            .map(|(client, _)| (&client.realm, [("realm", json!(client.realm))].into_iter().collect()))
            .collect();
        for (name, members) in &export.realms {
            if let Some(declared) = realms.get_mut(name) {
                *declared = members.clone();
            }
        }
        let realms = realms.into_values().collect();
        Self { name: name.clone(), realms, clients: declared.into_iter().map(|(_, members)| members).collect() }
    }
}

/// Refuses what would be one record: which of the two is meant nobody but their owner can say.
fn distinct(export: &Export) -> Result<(), Malformed> {
    let mut realms: BTreeSet<&RealmName> = BTreeSet::new();
    for (name, _) in &export.realms {
        if !realms.insert(name) {
            return Err(Malformed::new(
                "the export",
                format!("two of its realms would be realm '{name}'; leave out --realm, or import them one at a time"),
            ));
        }
    }
    let mut places: BTreeMap<(&RealmName, &ClientId), &str> = BTreeMap::new();
    for client in &export.clients {
        let Some(client_id) = &client.client_id else { continue };
        if let Some(first) = places.insert((&client.realm, client_id), &client.place) {
            return Err(Malformed::new(
                &client.place,
                format!(
                    "client '{client_id}' of realm '{}' is there twice, the first time at {first}; leave one out",
                    client.realm
                ),
            ));
        }
    }
    Ok(())
}
