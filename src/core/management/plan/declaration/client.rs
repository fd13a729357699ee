//! A client as a file declares it.

use serde_json::{Map, Value, json};

use super::entry::{
    Entry, InvalidDeclaration, Written, as_stored, check_address, check_member, check_value, form, missing,
    require_known, take,
};
use crate::core::client::id::ClientId;
use crate::core::client::metadata::ClientMetadata;
use crate::core::keys::jwk_set::JwkSet;
use crate::core::members::names_of;
use crate::core::realm::RealmName;
use crate::core::trust::rule::{InvalidTrust, TrustRule, TrustRules};

/// What an entry may say, in the order in which it is shown.
pub fn members() -> Vec<&'static str> {
    let registered = names_of::<ClientMetadata>().iter().copied();
    ["realm", "client_id"].into_iter().chain(registered).chain(["status", "generate"]).collect()
}

/// Other names of members, as RFC 7591 has them: one value where the member's own name has a list.
pub const OTHER_NAMES: [(&str, &str); 2] = [
    ("token_endpoint_auth_method", "token_endpoint_auth_methods"),
    ("token_endpoint_auth_signing_alg", "token_endpoint_auth_signing_algs"),
];

pub(super) fn read(
    Written { place, mut members }: Written,
) -> Result<((RealmName, ClientId), Entry), InvalidDeclaration> {
    let realm: Option<RealmName> = take(&mut members, "realm", &place)?;
    let client_id: ClientId = take(&mut members, "client_id", &place)?.ok_or_else(|| missing(&place, "client_id"))?;
    let status = take::<Option<_>>(&mut members, "status", &place)?.flatten();
    let generate = take::<Option<_>>(&mut members, "generate", &place)?.flatten().unwrap_or(true);
    let names: Vec<&str> = self::members().into_iter().chain(OTHER_NAMES.map(|(other, _)| other)).collect();
    require_known(&place, &members, &names)?;
    let members = as_registered(&place, members)?;
    for (name, value) in &members {
        check_member(&place, name, value, &ClientMetadata::new())?;
    }
    let id = (realm.unwrap_or_else(RealmName::root), client_id);
    Ok((id, Entry { place, members: members.into_iter().collect(), status, generate }))
}

/// What is written as people write it, as it is stored.
fn as_registered(place: &str, members: Map<String, Value>) -> Result<Map<String, Value>, InvalidDeclaration> {
    let mut registered = Map::new();
    for (name, value) in members {
        let of_member = || format!("{place}: {name}");
        let other_name = OTHER_NAMES.iter().find(|(other, _)| *other == name).map(|(_, stored)| *stored);
        let (stored, value) = match (name.as_str(), value) {
            (name, one) if other_name.is_some() => {
                let list = if one.is_null() { one } else { json!([one]) };
                let stored = other_name.unwrap_or(name);
                check_value(stored, &list, &ClientMetadata::new()).map_err(|error| form(&of_member(), error.why))?;
                (stored, list)
            }
            ("jwks", keys @ Value::Object(_)) => (name.as_str(), registered_keys(&of_member(), &keys)?),
            ("trust", Value::Array(rules)) => (name.as_str(), rules_of(&of_member(), rules)?),
            ("access_token_claims", claims) if !is_claims(&claims) => {
                return Err(form(&of_member(), "has to be an object with the claims, such as {tier: gold}"));
            }
            ("jwks_uri", address) => {
                check_address(&of_member(), &address)?;
                let is_text = address.is_string();
                let address = as_stored(&name, address);
                if is_text {
                    check_value(&name, &address, &ClientMetadata::new())
                        .map_err(|error| form(&of_member(), error.why))?;
                }
                (name.as_str(), address)
            }
            (_, value) => (name.as_str(), as_stored(&name, value)),
        };
        if registered.insert(stored.to_owned(), value).is_some() {
            return Err(form(place, format!("{stored} is there twice, once under its other name")));
        }
    }
    Ok(registered)
}

/// An object, or what it is stored as.
fn is_claims(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::String(_) | Value::Null)
}

/// Keys as a registration takes them, which refuses private ones.
fn registered_keys(place: &str, keys: &Value) -> Result<Value, InvalidDeclaration> {
    let keys = JwkSet::parse(keys.to_string().as_bytes()).map_err(|error| form(place, error))?;
    Ok(json!(keys))
}

/// Each rule by itself, so that what is wrong is said of the one that it is wrong of.
fn rules_of(place: &str, rules: Vec<Value>) -> Result<Value, InvalidDeclaration> {
    for (index, rule) in rules.iter().enumerate() {
        TrustRule::parse(rule).map_err(|problem| form(&format!("{place}[{index}]"), problem))?;
    }
    let rules = TrustRules::parse(rules).map_err(|error: InvalidTrust| form(place, error))?;
    Ok(json!(rules))
}
