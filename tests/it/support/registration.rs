//! Every member of a registration, each with the options that set it and the values that it takes: the one place where tests name
//! them all. `registration.json` has the members as they are stored.

use grantwell::core::client::metadata::ClientMetadata;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A member of the registration.
#[derive(Deserialize)]
pub(crate) struct Member {
    #[serde(rename = "member")]
    pub(crate) name: String,
    /// A value that says something, as it is stored.
    pub(crate) stored: Value,
    /// What a client has that was registered without it.
    pub(crate) unset: Value,
    /// The options of `client create` that set it to `stored`.
    pub(crate) create: Vec<String>,
    /// Options of `client update`, and what they change it to.
    pub(crate) changes: Vec<(Vec<String>, Value)>,
}

/// Every member.
pub(crate) fn members() -> Vec<Member> {
    // The command runs in a directory of its own.
    let text = include_str!("registration.json");
    let text = text.replace("tests/it/support/", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/"));
    serde_json::from_str(&text).expect("a list of members")
}

/// Those that a client of a local store can have: nothing rotates its secret.
pub(crate) fn members_of_local_clients() -> impl Iterator<Item = Member> {
    members().into_iter().filter(|member| member.name != "client_secret_rotation_days")
}

/// A registration that sets every member.
pub(crate) fn every_member() -> ClientMetadata {
    let set: Map<String, Value> = members().into_iter().map(|member| (member.name, member.stored)).collect();
    serde_json::from_value(set.into()).expect("a registration")
}

/// Writes a member as the command line shows it over what `shown` has of it.
pub(crate) fn show(shown: &mut Value, member: &str, stored: &Value) {
    match (member, stored) {
        // RFC 7591 knows one method a client: the first, and all of them where there are several.
        ("token_endpoint_auth_methods", Value::Array(methods)) => {
            shown["token_endpoint_auth_method"] = methods[0].clone();
            let shown = shown.as_object_mut().expect("an object");
            shown.remove(member);
            if methods.len() > 1 {
                shown.insert(member.to_owned(), stored.clone());
            }
        }
        ("token_endpoint_auth_signing_algs", Value::Array(algorithms)) => {
            shown["token_endpoint_auth_signing_alg"] = json!(algorithms.first());
            let shown = shown.as_object_mut().expect("an object");
            shown.remove(member);
            if algorithms.len() > 1 {
                shown.insert(member.to_owned(), stored.clone());
            }
        }
        ("access_token_claims", Value::String(text)) => {
            let text = if text.is_empty() { "{}" } else { text };
            shown[member] = serde_json::from_str(text).expect("claims");
        }
        _ => shown[member] = json!(stored),
    }
}
