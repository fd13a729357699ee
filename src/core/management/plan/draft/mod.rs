//! The plan: what has to happen for the registry to be as a file declares it.

mod client;
mod issuer;
mod owner;
mod realm;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::declaration::{Declaration, Entry, declared_form};
use super::problem::{Problem, ProblemKind};
use super::snapshot::Snapshot;
use super::step::{Action, AdoptedFrom, Base, MemberChange, Step, Target};
use crate::core::client::id::ClientId;
use crate::core::client::metadata::{ClientMetadata, InvalidRegistration};
use crate::core::client::{Client, ClientStatus};
use crate::core::declaration::{DeclarationName, ManagedBy};
use crate::core::members::Members;
use crate::core::realm::{Realm, RealmName};
use crate::core::trust::issuer::IssuerUrl;
use crate::core::trust::rule::InvalidTrust;

/// What has to happen, in the order in which it is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The name of the file.
    pub name: DeclarationName,
    /// What happens to each record that is declared, or was.
    pub steps: Vec<Step>,
    /// Records that the file has declared and does not any more, and that stay.
    #[serde(default)]
    pub left: Vec<Target>,
    /// Realms with so many clients that nobody has looked which of them the file has declared and does not any more.
    #[serde(default)]
    pub not_searched: Vec<RealmName>,
}

/// What a plan may do besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanOptions {
    /// Whether records are taken over that are another file's, or nobody's.
    pub adopt: bool,
    /// Whether clients, issuers and owners are deleted that the file has declared and does not any more.
    pub prune: bool,
}

/// Steps that are carried out after those of the phase before.
#[derive(Debug)]
pub struct Phase<'a> {
    /// Whether clients are only disabled here ([`Management::disable_ahead`](crate::core::management::Management::disable_ahead)), which the
    /// next phase deletes.
    pub disables: bool,
    /// The steps that change something.
    pub steps: Vec<&'a Step>,
    /// Whether they are of records that know nothing of each other.
    pub side_by_side: bool,
}

impl Plan {
    /// What has to happen for what is registered to be as it is declared.
    ///
    /// # Errors
    /// Everything that is wrong with the declaration.
    pub fn make(declaration: &Declaration, stored: &Snapshot, options: PlanOptions) -> Result<Self, Vec<Problem>> {
        let mut draft = Draft {
            declaration,
            stored,
            options,
            realms: BTreeMap::new(),
            refused_issuers: BTreeSet::new(),
            clients: stored.clients().map(|client| (key_of(client), client.metadata.clone())).collect(),
            steps: Vec::new(),
            left: Vec::new(),
            problems: Vec::new(),
        };

        // 1. What is declared: what clients answer to before the clients.
        draft.realms();
        draft.owners();
        draft.issuers();
        draft.clients();

        // 2. What was, the other way round. An issuer or an owner goes only where no client needs it any more.
        draft.former_clients();
        draft.former_issuers();
        draft.former_owners();
        if !draft.problems.is_empty() {
            return Err(draft.problems);
        }
        let not_searched = stored.realms_in_part().cloned().collect();
        Ok(Self { name: declaration.name.clone(), steps: draft.steps, left: draft.left, not_searched })
    }

    /// Whether anything has to happen.
    pub fn has_changes(&self) -> bool {
        self.steps.iter().any(Step::is_change)
    }

    /// How many steps there are of this action.
    pub fn count(&self, action: Action) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }

    /// What changes something, in the order in which it is carried out. What stands in one record is changed one after the other.
    pub fn phases(&self) -> Vec<Phase<'_>> {
        let phase_of = |step: &Step| match (step.action == Action::Delete, &step.target) {
            (false, Target::Realm { .. }) => 0,
            (false, Target::Owner { .. }) => 1,
            (false, Target::Issuer { .. }) => 2,
            (false, Target::Client { .. }) => 3,
            (true, Target::Client { .. }) => DELETED_CLIENTS,
            (true, Target::Issuer { .. }) => 6,
            (true, Target::Owner { .. }) => 7,
            (true, Target::Realm { .. }) => 8,
        };
        let mut phases: BTreeMap<u8, Phase<'_>> = BTreeMap::new();
        for step in self.steps.iter().filter(|step| step.is_change()) {
            let side_by_side = matches!(step.target, Target::Client { .. });
            let empty = |disables| Phase { disables, steps: Vec::new(), side_by_side };
            if phase_of(step) == DELETED_CLIENTS {
                phases.entry(DELETED_CLIENTS - 1).or_insert_with(|| empty(true)).steps.push(step);
            }
            phases.entry(phase_of(step)).or_insert_with(|| empty(false)).steps.push(step);
        }
        phases.into_values().collect()
    }
}

/// A plan as far as it has been made.
struct Draft<'a> {
    declaration: &'a Declaration,
    stored: &'a Snapshot,
    options: PlanOptions,
    /// Realms as they are declared, also where that is refused, and with the issuers that are.
    realms: BTreeMap<RealmName, Realm>,
    /// Declared issuers of which something is wrong, by realm and URL.
    refused_issuers: BTreeSet<(RealmName, IssuerUrl)>,
    /// Clients as they will be.
    clients: BTreeMap<(RealmName, ClientId), ClientMetadata>,
    steps: Vec<Step>,
    left: Vec<Target>,
    problems: Vec<Problem>,
}

impl Draft<'_> {
    /// The realm as it will be, as far as that is known by now. `None` where it will not be.
    fn realm_to_be(&self, name: &RealmName) -> Option<Realm> {
        self.realms.get(name).cloned().or_else(|| self.stored.realm(name))
    }

    /// Whether nothing is known of a declared realm, so that nothing can be said of what is in it.
    fn is_unknown(&self, realm: &RealmName) -> bool {
        self.declaration.realms.contains_key(realm) && !self.realms.contains_key(realm)
    }

    /// Whose the stored record was, where it is taken over. A record of nobody's file is somebody's, too.
    fn adopted(&self, stored: Option<&ManagedBy>) -> Result<Option<AdoptedFrom>, ProblemKind> {
        let of = stored.map(|managed_by| managed_by.name.clone());
        if of.as_ref() == Some(&self.declaration.name) {
            return Ok(None);
        }
        if self.options.adopt {
            Ok(Some(of.map_or(AdoptedFrom::Nobody, AdoptedFrom::File)))
        } else {
            Err(ProblemKind::NotOurs { of })
        }
    }

    /// What this file has set before, and does not mention any more. What another has set stays.
    fn forgotten(&self, entry: &Entry, stored: Option<&ManagedBy>) -> BTreeSet<String> {
        let ours = stored.filter(|managed_by| managed_by.name == self.declaration.name);
        let mentioned = mentioned(entry);
        ours.map(|ours| ours.members.difference(&mentioned).cloned().collect()).unwrap_or_default()
    }

    fn managed_by(&self, entry: &Entry) -> ManagedBy {
        ManagedBy { name: self.declaration.name.clone(), members: mentioned(entry) }
    }

    fn is_ours(&self, managed_by: Option<&ManagedBy>) -> bool {
        managed_by.is_some_and(|managed_by| managed_by.name == self.declaration.name)
    }

    /// What is declared no more is deleted where that is asked for, `changes` before. Whether it is.
    fn delete_or_leave(&mut self, target: Target, base: Base, changes: Vec<MemberChange>) -> bool {
        if !self.options.prune {
            self.left.push(target);
            return false;
        }
        self.steps.push(Step {
            target,
            action: Action::Delete,
            base: Some(base),
            changes,
            managed_by: None,
            adopted_from: None,
        });
        true
    }

    /// The clients, as they will be, that are such.
    fn clients_that(&self, is_such: impl Fn(&RealmName, &ClientMetadata) -> bool) -> Vec<(RealmName, ClientId)> {
        let such = self.clients.iter().filter(|((realm, _), metadata)| is_such(realm, metadata));
        such.map(|(id, _)| id.clone()).collect()
    }

    fn refuse(&mut self, target: Target, entry: &Entry, kind: ProblemKind) {
        self.problems.push(Problem { target, place: place_of(entry, &kind), kind });
    }

    /// Of a record that is declared no more there is nothing to point at but the name of the file.
    fn refuse_deletion(&mut self, target: Target, kind: ProblemKind) {
        self.problems.push(Problem { target, place: self.declaration.name.to_string(), kind });
    }
}

/// Where in the entry something is wrong: at which rule, where it is of one.
fn place_of(entry: &Entry, kind: &ProblemKind) -> String {
    let index = match kind {
        ProblemKind::Registration(InvalidRegistration::Trust(InvalidTrust::Rule { rule, .. }))
        | ProblemKind::UnknownIssuer { rule, .. } => {
            let rules = entry.members.get("trust").and_then(Value::as_array);
            let is_it = |written: &Value| written.get("name").and_then(Value::as_str) == Some(rule.as_str());
            rules.and_then(|rules| rules.iter().position(is_it))
        }
        _ => None,
    };
    match index {
        Some(index) => format!("{}: trust[{index}]", entry.place),
        None => entry.place.clone(),
    }
}

/// The names of what an entry mentions.
fn mentioned(entry: &Entry) -> BTreeSet<String> {
    entry.members.keys().cloned().chain(entry.status.map(|_| STATUS.to_owned())).collect()
}

/// `before` with what the entry mentions, and with the default of what it mentions no more.
fn merged<T: Serialize + DeserializeOwned>(
    before: &T,
    defaults: &T,
    entry: &Entry,
    forgotten: &BTreeSet<String>,
) -> Result<T, ProblemKind> {
    let defaults = Members::of(defaults);
    let mut record = Map::new();
    for (name, stored) in Members::of(before) {
        let value = match entry.members.get(name) {
            Some(Value::Null) => defaults.value(name),
            Some(declared) => declared,
            None if forgotten.contains(name) => defaults.value(name),
            None => &stored,
        };
        if !value.is_null() {
            record.insert(name.to_owned(), value.clone());
        }
    }
    serde_json::from_value(Value::Object(record))
        .map_err(|error| ProblemKind::Member { name: entry.place.clone(), why: error.to_string() })
}

fn changes(before: &Members, after: &Members, forgotten: &BTreeSet<String>) -> Vec<MemberChange> {
    let change = |(member, after): (&'static str, &Value)| {
        let before = before.value(member);
        (before != after).then(|| MemberChange {
            member: member.to_owned(),
            before: declared_form(member, before),
            after: declared_form(member, after),
            returns_to_default: forgotten.contains(member),
        })
    };
    after.iter().filter_map(change).collect()
}

fn action(exists: bool, changes: &[MemberChange], will_be: &ManagedBy, is: Option<&Option<ManagedBy>>) -> Action {
    match is {
        _ if !exists => Action::Create,
        Some(Some(is)) if changes.is_empty() && is == will_be => Action::Nothing,
        _ => Action::Change,
    }
}

/// A client or an owner is disabled before it is deleted, where it is not yet.
fn disabled_first(is_active: bool) -> Vec<MemberChange> {
    let (before, after) = (json!(ClientStatus::Active), json!(ClientStatus::Disabled));
    let disabled = MemberChange { member: STATUS.to_owned(), before, after, returns_to_default: false };
    is_active.then_some(disabled).into_iter().collect()
}

fn key_of(client: &Client) -> (RealmName, ClientId) {
    (client.realm.clone(), client.client_id.clone())
}

const STATUS: &str = "status";
/// The place of the phase in which clients are deleted. The one before is theirs, too.
const DELETED_CLIENTS: u8 = 5;
