//! The plan: what has to happen for the registry to be as a file declares it.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::declaration::{Declaration, Entry, declared_form};
use super::problem::{Problem, ProblemKind};
use super::snapshot::Snapshot;
use super::step::{Action, AdoptedFrom, Base, MemberChange, Step, Target};
use crate::core::client::id::ClientId;
use crate::core::client::metadata::ClientMetadata;
use crate::core::client::{Client, ClientStatus};
use crate::core::client_auth::uses_secret;
use crate::core::declaration::{DeclarationName, ManagedBy};
use crate::core::members::Members;
use crate::core::realm::{Realm, RealmName, RealmSettings};
use crate::core::scope::Scope;

/// What has to happen, in the order in which it is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The name of the file.
    pub name: DeclarationName,
    /// What happens to each record that is declared, or was.
    pub steps: Vec<Step>,
    /// Records that the file has declared and does not any more, and that stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Target>,
    /// Realms with so many clients that nobody has looked which of them the file has declared and does not any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_searched: Vec<RealmName>,
}

/// What a plan may do besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanOptions {
    /// Whether records are taken over that are another file's, or nobody's.
    pub adopt: bool,
    /// Whether clients are deleted that the file has declared and does not any more.
    pub prune: bool,
}

impl Plan {
    /// What has to happen for what is registered to be as it is declared.
    ///
    /// # Errors
    /// Everything that is wrong with the declaration.
    pub fn make(declaration: &Declaration, stored: &Snapshot, options: PlanOptions) -> Result<Self, Vec<Problem>> {
        let mut draft = Draft { declaration, stored, options, steps: Vec::new(), problems: Vec::new() };

        // 1. Realms, since clients answer to what they will say.
        let realms = draft.realms();

        // 2. Clients that are declared.
        draft.clients(&realms);

        // 3. Those that were.
        let mut left = Vec::new();
        for client in draft.no_longer_declared() {
            let target = target_of(&client.realm, &client.client_id);
            if options.prune {
                draft.steps.push(Step {
                    target,
                    action: Action::Delete,
                    base: Some(base_of(client)),
                    changes: Vec::new(),
                    managed_by: None,
                    adopted_from: None,
                });
            } else {
                left.push(target);
            }
        }
        if !draft.problems.is_empty() {
            return Err(draft.problems);
        }
        let not_searched = stored.realms_in_part().cloned().collect();
        Ok(Self { name: declaration.name.clone(), steps: draft.steps, left, not_searched })
    }

    /// Whether anything has to happen.
    pub fn has_changes(&self) -> bool {
        self.steps.iter().any(Step::is_change)
    }

    /// How many steps there are of this action.
    pub fn count(&self, action: Action) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }
}

/// A plan as far as it has been made.
struct Draft<'a> {
    declaration: &'a Declaration,
    stored: &'a Snapshot,
    options: PlanOptions,
    steps: Vec<Step>,
    problems: Vec<Problem>,
}

impl<'a> Draft<'a> {
    /// The declared realms as they will be.
    fn realms(&mut self) -> BTreeMap<RealmName, Realm> {
        let mut realms = BTreeMap::new();
        for (name, entry) in &self.declaration.realms {
            match self.realm(name, entry) {
                Ok((realm, step)) => {
                    realms.insert(name.clone(), realm);
                    self.steps.push(step);
                }
                Err(kind) => self.refuse(Target::Realm { realm: name.clone() }, entry, kind),
            }
        }
        realms
    }

    fn realm(&self, name: &RealmName, entry: &Entry) -> Result<(Realm, Step), ProblemKind> {
        let stored = self.stored.realm(name).filter(|realm| realm.revision > 0);
        let adopted_from = match &stored {
            Some(realm) => self.adopted(realm.managed_by.as_ref())?,
            None => None,
        };
        let before = stored.as_ref().map(|realm| realm.settings.clone()).unwrap_or_default();
        let forgotten = self.forgotten(entry, stored.as_ref().and_then(|realm| realm.managed_by.as_ref()));
        let settings: RealmSettings = merged(&before, &RealmSettings::default(), entry, &forgotten)?;
        if let (Some(default), Some(allowed)) = (&settings.default_scope, &settings.allowed_scope)
            && let Some(outside) = default.tokens().find(|token| !allowed.contains(token))
        {
            let (scope, allowed) = (outside.to_owned(), Scope::clone(allowed));
            return Err(ProblemKind::DefaultScope { scope, allowed });
        }
        let changes = changes(&Members::of(&before), &Members::of(&settings), &forgotten);
        let managed_by = self.managed_by(entry);
        let step = Step {
            target: Target::Realm { realm: name.clone() },
            action: action(stored.is_some(), &changes, &managed_by, stored.as_ref().map(|realm| &realm.managed_by)),
            base: stored.as_ref().map(|realm| Base { revision: realm.revision, registration_id: None }),
            changes,
            managed_by: Some(managed_by),
            adopted_from,
        };
        let mut realm = stored.unwrap_or_else(|| Realm::new(name.clone()));
        realm.settings = settings;
        Ok((realm, step))
    }

    fn clients(&mut self, realms: &BTreeMap<RealmName, Realm>) {
        for ((realm, client_id), entry) in &self.declaration.clients {
            // A realm that is declared and refused has had its say.
            if self.declaration.realms.contains_key(realm) && !realms.contains_key(realm) {
                continue;
            }
            let will_be = realms.get(realm).cloned().or_else(|| self.stored.realm(realm));
            let step = match &will_be {
                Some(will_be) => self.client(will_be, client_id, entry),
                None => Err(ProblemKind::UnknownRealm),
            };
            match step {
                Ok(step) => self.steps.push(step),
                Err(kind) => self.refuse(target_of(realm, client_id), entry, kind),
            }
        }
    }

    fn client(&self, realm: &Realm, client_id: &ClientId, entry: &Entry) -> Result<Step, ProblemKind> {
        let stored = self.stored.client(&realm.name, client_id);
        let adopted_from = match stored {
            Some(client) => self.adopted(client.managed_by.as_ref())?,
            None => None,
        };
        // What an earlier run has begun and not ended is made anew.
        let stored = stored.filter(|client| !client.is_incomplete());
        let forgotten = self.forgotten(entry, stored.and_then(|client| client.managed_by.as_ref()));
        let before = stored.map_or_else(ClientMetadata::new, |client| client.metadata.clone());
        let metadata: ClientMetadata = merged(&before, &ClientMetadata::new(), entry, &forgotten)?;
        metadata.check_change(&before, realm).map_err(ProblemKind::Registration)?;
        if !entry.generate && uses_secret(&metadata) {
            return Err(ProblemKind::NeedsSecret);
        }

        // What a new client does not say is what clients are like: only what the file says is shown.
        let is_shown = |change: &MemberChange| stored.is_some() || entry.members.contains_key(&change.member);
        let mut changes = changes(&Members::of(&before), &Members::of(&metadata), &forgotten);
        changes.retain(is_shown);
        let was = stored.map_or(ClientStatus::Active, |client| client.status);
        let default = forgotten.contains(STATUS).then_some(ClientStatus::Active);
        if let Some(status) = entry.status.or(default).filter(|status| *status != was) {
            let returns_to_default = entry.status.is_none();
            let (before, after) = (json!(was), json!(status));
            changes.push(MemberChange { member: STATUS.to_owned(), before, after, returns_to_default });
        }
        let managed_by = self.managed_by(entry);
        Ok(Step {
            target: target_of(&realm.name, client_id),
            action: action(stored.is_some(), &changes, &managed_by, stored.map(|client| &client.managed_by)),
            base: stored.map(base_of),
            changes,
            managed_by: Some(managed_by),
            adopted_from,
        })
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

    /// The clients of this file's name that it does not declare.
    fn no_longer_declared(&self) -> Vec<&'a Client> {
        let ours = |client: &&Client| {
            client.managed_by.as_ref().is_some_and(|managed_by| managed_by.name == self.declaration.name)
        };
        let is_declared =
            |client: &Client| self.declaration.clients.contains_key(&(client.realm.clone(), client.client_id.clone()));
        self.stored.clients().filter(ours).filter(|client| !is_declared(client)).collect()
    }

    fn refuse(&mut self, target: Target, entry: &Entry, kind: ProblemKind) {
        self.problems.push(Problem { target, place: entry.place.clone(), kind });
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

fn target_of(realm: &RealmName, client_id: &ClientId) -> Target {
    Target::Client { realm: realm.clone(), client_id: client_id.clone() }
}

fn base_of(client: &Client) -> Base {
    Base { revision: client.revision, registration_id: Some(client.registration_id.clone()) }
}

const STATUS: &str = "status";
