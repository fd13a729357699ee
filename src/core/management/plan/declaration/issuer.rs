//! An issuer as a file declares it.

use serde_json::{Map, Value, json};

use super::entry::{
    Entry, InvalidDeclaration, UNTIL_EXP, Written, check_address, check_member, check_value, form, missing,
    require_known, take,
};
use crate::core::form::Malformed;
use crate::core::keys::jwk_set::JwkSet;
use crate::core::members::names_of;
use crate::core::realm::RealmName;
use crate::core::trust::issuer::{IssuerKeys, IssuerKind, IssuerName, IssuerUrl, TrustedIssuer};

/// What an entry may say, in the order in which it is shown.
pub fn members() -> Vec<&'static str> {
    ["realm", "name"].into_iter().chain(settings()).collect()
}

/// Other names of members: of its kind as the command line calls it, and of where the keys are.
pub const OTHER_NAMES: [(&str, &str); 3] = [("preset", "kind"), ("jwks", "keys"), ("jwks_uri", "keys")];

/// The members of an issuer's record that a file sets.
pub(in super::super) fn settings() -> impl Iterator<Item = &'static str> {
    names_of::<TrustedIssuer>().iter().copied().filter(|name| !NO_SETTINGS.contains(name))
}

/// Of an issuer's members, each has the form that is shown but `max_age`, which is as it is declared.
pub(super) fn read(
    Written { place, mut members }: Written,
) -> Result<((RealmName, IssuerName), Entry), InvalidDeclaration> {
    let names: Vec<&str> = self::members().into_iter().chain(OTHER_NAMES.map(|(other, _)| other)).collect();
    require_known(&place, &members, &names)?;
    let realm: Option<RealmName> = take(&mut members, "realm", &place)?;
    let name: IssuerName = take(&mut members, "name", &place)?.ok_or_else(|| missing(&place, "name"))?;
    if let Some(preset) = members.remove("preset")
        && members.insert("kind".to_owned(), preset).is_some()
    {
        return Err(form(&place, "kind is there twice, once under its other name, preset"));
    }
    let kind: Option<IssuerKind> = parsed(&members, "kind", &place)?;
    let declared: Option<IssuerUrl> = parsed(&members, "issuer", &place)?;
    let issuer = declared.or_else(|| kind?.issuer()).ok_or_else(|| missing(&place, "issuer"))?;
    members.insert("issuer".to_owned(), json!(issuer));
    let keys = take_keys(&mut members, &place)?;
    let nothing_said =
        TrustedIssuer::new(name.clone(), issuer.clone(), kind.unwrap_or_default(), IssuerKeys::DISCOVERY);
    if let Some((written_as, keys)) = keys {
        let of_keys = format!("{place}: {written_as}");
        let is_text = keys.get("jwks_uri").is_some_and(Value::is_string);
        let keys = keys_of(&of_keys, keys, &issuer)?;
        check_value("keys", &keys, &nothing_said).map_err(|Malformed { place, why }| {
            // As it is written: under a name of its own, and an address may be text alone.
            let within = place.unwrap_or_default();
            let within = within.strip_suffix(".uri").filter(|_| is_text).unwrap_or(&within);
            let within = within.strip_prefix(written_as).unwrap_or(within).trim_start_matches('.');
            let within = if within.is_empty() { String::new() } else { format!(": {within}") };
            form(&format!("{of_keys}{within}"), why)
        })?;
        members.insert("keys".to_owned(), keys);
    }
    for (member, value) in &members {
        match member.as_str() {
            "max_age" => check_age(&format!("{place}: {member}"), value)?,
            _ => check_member(&place, member, value, &nothing_said)?,
        }
    }
    let id = (realm.unwrap_or_else(RealmName::root), name);
    Ok((id, Entry { place, members: members.into_iter().collect(), status: None, generate: true }))
}

fn parsed<T: for<'de> serde::Deserialize<'de>>(
    members: &Map<String, Value>,
    name: &str,
    place: &str,
) -> Result<Option<T>, InvalidDeclaration> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => take(&mut members.clone(), name, place),
    }
}

/// What is said of the keys, in the form of `keys`, with the name under which it is said.
fn take_keys(
    members: &mut Map<String, Value>,
    place: &str,
) -> Result<Option<(&'static str, Value)>, InvalidDeclaration> {
    let mut said = ["keys", "jwks", "jwks_uri"].into_iter().filter_map(|name| Some((name, members.remove(name)?)));
    let first = said.next();
    if said.next().is_some() {
        return Err(form(place, "an issuer has its keys in one place: of keys, jwks and jwks_uri give one"));
    }
    Ok(first.map(|(name, value)| match (name, value) {
        ("keys", value) | (_, value @ Value::Null) => (name, value),
        (name, value) => (name, json!({ name: value })),
    }))
}

fn keys_of(place: &str, keys: Value, issuer: &IssuerUrl) -> Result<Value, InvalidDeclaration> {
    let (kind, value) = match keys {
        Value::Null => return Ok(Value::Null),
        Value::String(text) if text == "discovery" => return Ok(json!(IssuerKeys::DISCOVERY)),
        Value::Object(members) if members.len() == 1 => match members.into_iter().next() {
            Some(only) => only,
            None => return Err(form(place, KEYS)),
        },
        _ => return Err(form(place, KEYS)),
    };
    match (kind.as_str(), value) {
        ("jwks", keys @ Value::Object(_)) => {
            let text = keys.to_string();
            if text.len() > JwkSet::MAX_BYTES {
                return Err(form(place, format!("it has more than {} bytes", JwkSet::MAX_BYTES)));
            }
            // As `issuer add --jwks` does: what its issuer publishes may have keys for other readers.
            let parse = if issuer.is_spiffe() { JwkSet::parse_spiffe_bundle } else { JwkSet::parse_fetched };
            let keys = parse(text.as_bytes()).map_err(|error| form(place, error))?;
            Ok(json!({ kind: keys }))
        }
        ("jwks_uri", Value::String(uri)) => Ok(json!({ kind: { "uri": uri } })),
        ("jwks_uri", address @ Value::Object(_)) => {
            check_address(place, &address)?;
            Ok(json!({ kind: address }))
        }
        ("discovery", Value::Null) => Ok(json!(IssuerKeys::DISCOVERY)),
        ("discovery", Value::Object(way)) => {
            require_known(place, &way, &["allow_private_network", "ca"])?;
            Ok(json!({ kind: way }))
        }
        _ => Err(form(place, KEYS)),
    }
}

fn check_age(place: &str, age: &Value) -> Result<(), InvalidDeclaration> {
    let is_fit = match age {
        Value::Null => true,
        Value::String(text) => text == UNTIL_EXP,
        age => age.as_u64().is_some_and(|age| (1..=TrustedIssuer::LONGEST_AGE).contains(&age)),
    };
    let why = || format!("it is 1 to {} seconds, or \"{UNTIL_EXP}\"", TrustedIssuer::LONGEST_AGE);
    if is_fit { Ok(()) } else { Err(form(place, why())) }
}

const KEYS: &str = "an issuer's keys are \"discovery\", a jwks (a JWK Set), or a jwks_uri (an address, or {uri, allow_private_network, ca})";
/// Members of an issuer's record that no file sets: its name is how it is found.
const NO_SETTINGS: [&str; 2] = ["name", "managed_by"];
