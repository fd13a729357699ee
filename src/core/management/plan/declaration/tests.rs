//! What the published schema says of a file and what the reader says of it are one: the table of both is filed beside the schema, and
//! `tests/aws/test_schemas.py` reads it too.

mod schema;
mod values;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Declaration, MEMBERS, client, issuer, owner, realm};
use crate::core::management::plan::{Plan, PlanOptions, Snapshot};

#[test]
fn each_member_is_read_as_the_table_says() {
    let table = table();
    let (names, lists): (Vec<&str>, Vec<&Value>) =
        table["members"].as_object().expect("lists").iter().map(|(list, members)| (list.as_str(), members)).unzip();
    let (names, all): (BTreeSet<&str>, BTreeSet<&str>) =
        (names.into_iter().collect(), MEMBERS.into_iter().skip(1).collect());
    assert_eq!(names, all);
    let mut wrong = Vec::new();
    for (list, members) in MEMBERS.iter().filter_map(|list| Some((*list, table["members"].get(list)?))) {
        let members = members.as_object().expect("members");
        let named: BTreeSet<&str> = members.keys().map(String::as_str).collect();
        assert_eq!(named, members_of(list), "{list}");
        for (member, row) in members {
            for (kind, is_valid) in [("valid", true), ("invalid", false), ("refused", false)] {
                let values = row.get(kind).and_then(Value::as_array);
                assert!(
                    kind == "refused" || values.is_some_and(|values| !values.is_empty()),
                    "{list}: {member}: {kind}"
                );
                for value in values.into_iter().flatten() {
                    let document = document(&table, list, member, row, value);
                    let read = read(&document);
                    if read.is_ok() != is_valid {
                        wrong.push(format!("{list}: {member}: {value}: {read:?}"));
                    }
                }
            }
        }
    }
    assert_eq!(lists.len(), MEMBERS.len() - 1);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_file_is_read_as_the_table_says() {
    let table = table();
    for (kind, is_valid) in [("valid", true), ("invalid", false), ("refused", false)] {
        let documents = table["documents"][kind].as_array().expect("documents");
        assert!(!documents.is_empty());
        for document in documents {
            let read = read(document);
            assert_eq!(read.is_ok(), is_valid, "{document}: {read:?}");
        }
    }
}

#[test]
fn nothing_that_is_refused_is_repeated_and_nothing_is_told_in_the_words_of_the_library() {
    let table = table();
    // Of no form that a name has: names are told.
    let secret = "s3cr3t é 0123456789abcdef";
    for (list, member) in
        MEMBERS.iter().skip(1).flat_map(|list| members_of(list).into_iter().map(move |member| (*list, member)))
    {
        for value in [
            json!(secret),
            json!([secret]),
            json!({ secret: secret }),
            json!({ "keys": [{ "kty": "oct", "k": secret }] }),
        ] {
            let row = &table["members"][list][member];
            let Err(error) = read(&document(&table, list, member, row, &value)) else { continue };
            let may_be_shown = ["grant_types", "redirect_uris"].contains(&member);
            assert!(may_be_shown || !error.contains("s3cr3t"), "{error}");
            for words in ["invalid type", "expected", "variant", "sequence", "a map", "struct", "u64"] {
                assert!(!error.contains(words), "{list}: {member}: {error}");
            }
        }
    }
    for member in [
        "client_secret",
        "client_secrets",
        "secret",
        "password",
        "registration_access_token",
        "client_secret:s3cr3t-0123456789abcdef",
    ] {
        for list in MEMBERS.iter().skip(1) {
            let error = read(&document(&table, list, member, &Value::Null, &json!(secret))).expect_err(member);
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }
}

/// What apply does with a file before it changes anything, where nothing is registered yet.
fn read(document: &Value) -> Result<(), String> {
    let declaration = Declaration::of(&[("file".to_owned(), document.clone())]).map_err(|error| error.to_string())?;
    match Plan::make(&declaration, &Snapshot::default(), PlanOptions::default()) {
        Ok(_) => Ok(()),
        Err(problems) => {
            Err(problems.into_iter().map(|problem| problem.kind.to_string()).collect::<Vec<_>>().join("; "))
        }
    }
}

/// A file whose one entry of the list says this of the member.
fn document(table: &Value, list: &str, member: &str, row: &Value, value: &Value) -> Value {
    let mut document = table["around"].clone();
    let mut entry: Map<String, Value> = table["entries"][list].as_object().expect("an entry").clone();
    entry.extend(
        row.get("with")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    entry.insert(member.to_owned(), value.clone());
    document[list] = json!([entry]);
    document
}

fn members_of(list: &str) -> BTreeSet<&'static str> {
    let others = |others: &[(&'static str, &'static str)]| others.iter().map(|(other, _)| *other).collect::<Vec<_>>();
    match list {
        "realms" => realm::members().into_iter().collect(),
        "owners" => owner::members().into_iter().collect(),
        "issuers" => issuer::members().into_iter().chain(others(&issuer::OTHER_NAMES)).collect(),
        "clients" => client::members().into_iter().chain(others(&client::OTHER_NAMES)).collect(),
        _ => panic!("{list}"),
    }
}

fn table() -> Value {
    serde_json::from_str(include_str!("../../../../../docs/schemas/declaration.examples.json")).expect("JSON")
}
