//! What becomes of an issuer by what is declared of it: what its kind says is the default of what is not.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::declaration::{Entry, as_stored, issuer};
use super::problem::ProblemKind;
use super::step::MemberChange;
use crate::core::members::Members;
use crate::core::trust::issuer::{IssuerKeys, IssuerKind, IssuerName, IssuerUrl, TrustedIssuer};

/// An issuer of which nothing is said but who it is, and perhaps its kind.
pub(super) fn of_nothing_said(name: &IssuerName, url: IssuerUrl, kind: Option<IssuerKind>) -> TrustedIssuer {
    let kind = kind.or_else(|| url.known_kind()).unwrap_or_default();
    TrustedIssuer::new(name.clone(), url, kind, IssuerKeys::DISCOVERY)
}

/// The issuer as it is declared: what is mentioned, the default of what is mentioned no more, and everything else as it is stored. What is
/// as its kind has it follows a change of its kind.
pub(super) fn merged(
    name: &IssuerName,
    stored: Option<&TrustedIssuer>,
    entry: &Entry,
    forgotten: &BTreeSet<String>,
) -> Result<TrustedIssuer, ProblemKind> {
    let failed = |member: &str, why: String| ProblemKind::Member { name: member.to_owned(), why };
    let declared = |member: &str| entry.members.get(member).filter(|value| !value.is_null()).cloned();
    let url = declared("issuer").ok_or_else(|| failed("issuer", "it has to be said".to_owned()))?;
    let url: IssuerUrl = serde_json::from_value(url).map_err(|error| failed("issuer", error.to_string()))?;
    let kind = match declared("kind") {
        Some(kind) => Some(serde_json::from_value(kind).map_err(|error| failed("kind", error.to_string()))?),
        None if entry.members.contains_key("kind") || forgotten.contains("kind") => None,
        None => stored.map(|stored| stored.kind),
    };
    let defaults = of_nothing_said(name, url, kind);
    let of_stored = stored.map(|stored| (Members::of(stored), of_stored_kind(stored)));
    let defaults = Members::of(&defaults);
    let value_of = |member: &str| match (entry.members.get(member), &of_stored) {
        (Some(Value::Null), _) => defaults.value(member).clone(),
        (Some(declared), _) => as_stored(member, declared.clone()),
        (None, Some((stored, by_kind)))
            if !forgotten.contains(member) && stored.value(member) != by_kind.value(member) =>
        {
            stored.value(member).clone()
        }
        (None, _) => defaults.value(member).clone(),
    };
    let mut record = Map::from_iter([("name".to_owned(), json!(name))]);
    record.extend(issuer::settings().map(|member| (member.to_owned(), value_of(member))));
    let merged = read(record).map_err(|why| failed(&entry.place, why))?;
    Ok(TrustedIssuer { managed_by: stored.and_then(|stored| stored.managed_by.clone()), ..merged })
}

/// The issuer with each change made. `None` where the changes make none.
pub(super) fn changed(
    name: &IssuerName,
    stored: Option<&TrustedIssuer>,
    changes: &[MemberChange],
) -> Option<TrustedIssuer> {
    let change_of = |member: &str| changes.iter().find(|change| change.member == member).map(|change| &change.after);
    let before = if let Some(stored) = stored {
        stored.clone()
    } else {
        let url = serde_json::from_value(change_of("issuer")?.clone()).ok()?;
        of_nothing_said(name, url, serde_json::from_value(change_of("kind")?.clone()).ok())
    };
    let mut record: Map<String, Value> =
        Members::of(&before).into_iter().map(|(member, value)| (member.to_owned(), value)).collect();
    for member in issuer::settings() {
        if let Some(after) = change_of(member) {
            record.insert(member.to_owned(), as_stored(member, after.clone()));
        }
    }
    read(record).ok()
}

/// What an issuer is like of which nothing is said but what `stored` is, and its kind.
fn of_stored_kind(stored: &TrustedIssuer) -> Members {
    let by_kind = of_nothing_said(&stored.name, stored.issuer.clone(), Some(stored.kind));
    Members::of(&by_kind)
}

fn read(mut record: Map<String, Value>) -> Result<TrustedIssuer, String> {
    record.retain(|_, value| !value.is_null());
    serde_json::from_value(Value::Object(record)).map_err(|error| error.to_string())
}
