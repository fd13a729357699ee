//! What a line says of the members of a record before and after a change.

use serde_json::{Value, json};

use crate::core::admin_log::MemberChange;
use crate::core::keys::jwk_set::{JwkSet, VerifyingKey};
use crate::core::keys::jws_algorithm::JwsAlgorithm;
use crate::core::keys::published::{PublishedKey, PublishedKeys};
use crate::core::members::Members;

/// The members that differ, in the order in which they are shown. What may be shown may be logged: a record's own view of itself has
/// no secret, no digest of one, and no private key. Of public keys there is what names them.
pub(super) fn changes(before: Option<&Members>, after: Option<&Members>) -> Vec<MemberChange> {
    let names: Vec<&str> = after.or(before).into_iter().flat_map(Members::iter).map(|(name, _)| name).collect();
    // A member that is shown only where it is set may be among those before alone.
    let gone = before.into_iter().flat_map(Members::iter).map(|(name, _)| name).filter(|name| !names.contains(name));
    let value =
        |members: Option<&Members>, name: &str| members.map_or(Value::Null, |members| members.value(name).clone());
    let change = |name: &str| {
        let (before, after) = (value(before, name), value(after, name));
        let differ = before != after && !(is_nothing(&before) && is_nothing(&after));
        differ.then(|| MemberChange { name: name.to_owned(), before: told(before, name), after: told(after, name) })
    };
    names.iter().copied().chain(gone).filter_map(change).collect()
}

/// The keys of a realm, by what is published of them.
pub(super) fn key_changes(before: Option<&PublishedKeys>, after: Option<&PublishedKeys>) -> Vec<MemberChange> {
    let told = |keys: Option<&PublishedKeys>| {
        let keys = keys.into_iter().flat_map(|keys| &keys.keys);
        let key = |PublishedKey { jwk, status, expires_at, .. }: &PublishedKey| -> Value {
            json!({"kid": jwk.kid, "alg": jwk.alg, "status": status, "expires_at": expires_at})
        };
        Value::Array(keys.map(key).collect())
    };
    let (before, after) = (told(before), told(after));
    if before == after { Vec::new() } else { vec![MemberChange { name: "keys".to_owned(), before, after }] }
}

/// A member that is not set, or has nothing in it: a new record does not say of each that it lacks it.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A value as a line has it.
fn told(value: Value, name: &str) -> Value {
    let value = keys_by_name(value, name);
    let size = value.to_string().len();
    if size <= LARGEST { value } else { json!({"bytes": size}) }
}

/// `value` with each set of public keys in it, however deep, replaced by what names the keys.
fn keys_by_name(value: Value, name: &str) -> Value {
    match value {
        Value::Object(_) if name == "jwks" => match serde_json::from_value::<JwkSet>(value) {
            Ok(keys) => Value::Array(keys.keys().map(named_key).collect()),
            // It is no set of public keys, so nobody knows what it is.
            Err(_) => Value::Null,
        },
        Value::Object(members) => {
            let named = members.into_iter().map(|(name, value)| {
                let value = keys_by_name(value, &name);
                (name, value)
            });
            Value::Object(named.collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(|value| keys_by_name(value, "")).collect()),
        other => other,
    }
}

fn named_key(key: &VerifyingKey) -> Value {
    let algorithms: Vec<&str> = key.algorithms().map(JwsAlgorithm::as_str).collect();
    json!({"kid": key.kid(), "thumbprint": key.thumbprint(), "algs": algorithms})
}

/// The most bytes of a value that a line repeats: a line has to fit into an item of 400 KB, whatever is registered.
const LARGEST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn members(list: &[(&'static str, Value)]) -> Members {
        list.iter().cloned().collect()
    }

    fn shown(changes: &[MemberChange]) -> Value {
        serde_json::to_value(changes).expect("JSON")
    }

    #[test]
    fn a_change_is_told_by_the_members_that_differ() {
        let before = members(&[("a", json!(1)), ("b", json!("x")), ("gone", json!(true)), ("c", Value::Null)]);
        let after = members(&[("a", json!(1)), ("b", json!("y")), ("c", json!([])), ("new", json!(2))]);
        assert_eq!(
            shown(&changes(Some(&before), Some(&after))),
            json!([
                {"name": "b", "before": "x", "after": "y"}, {"name": "new", "before": null, "after": 2},
                {"name": "gone", "before": true, "after": null},
            ])
        );
        assert_eq!(
            shown(&changes(None, Some(&members(&[("a", json!([])), ("b", json!(0))])))),
            json!([{"name": "b", "before": null, "after": 0}])
        );
        assert_eq!(
            shown(&changes(Some(&members(&[("a", json!("x"))])), None)),
            json!([{"name": "a", "before": "x", "after": null}])
        );
    }

    #[test]
    fn public_keys_are_told_by_their_names_wherever_they_are() {
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "alg": "EdDSA",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
        let named =
            json!([{"kid": "k", "thumbprint": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "algs": ["EdDSA"]}]);
        let after =
            members(&[("jwks", set.clone()), ("trusted_issuers", json!([{"name": "i", "keys": {"jwks": set}}]))]);
        let told = shown(&changes(None, Some(&after)));
        assert_eq!(told[0]["after"], named);
        assert_eq!(told[1]["after"], json!([{"name": "i", "keys": {"jwks": named}}]));
        // What cannot be read as public keys is not repeated: it may be private ones.
        let private =
            members(&[("jwks", json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "d": "canary", "x": "canary"}]}))]);
        assert!(!shown(&changes(None, Some(&private))).to_string().contains("canary"));
    }

    #[test]
    fn a_line_stays_small_whatever_is_registered() {
        let after = members(&[("contacts", json!(["x".repeat(LARGEST)]))]);
        assert_eq!(shown(&changes(None, Some(&after)))[0]["after"], json!({"bytes": LARGEST + 4}));
    }
}
