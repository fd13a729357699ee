//! A plan in a file, between `--plan --out` and `apply`: what was reviewed is what is carried out, or nothing is.
//!
//! The file has the plan, what it was made of, and where. To apply it, the plan is made again of the same declarations: what then
//! has to happen must be what the file says, but for what an earlier run of the same plan has done.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use grantwell::core::admin_log::{Action as LogAction, AdminLogLine, MemberChange as LoggedChange, Outcome};
use grantwell::core::management::plan::{Action, Declaration, Plan, PlanOptions, Snapshot, Step, Target};
use grantwell::core::management::{Effect, LogFilter, Management};
use grantwell::core::owner::OwnerStatus;
use grantwell::core::ports::Clock as _;
use grantwell::core::realm::RealmName;
use grantwell::core::time::UnixMillis;
use grantwell::core::trust::issuer::IssuerName;
use grantwell::system::SystemClock;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{documents, registry};
use crate::document;
use crate::failure::Failure;
use crate::output;
use crate::store::Store;
use crate::store_identity::StoreIdentity;

/// A plan, and what it was made of.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanFile {
    /// The version of the program that has written it.
    grantwell_plan: String,
    made_at: UnixMillis,
    store: StoreIdentity,
    adopt: bool,
    prune: bool,
    /// The files, as they were read.
    files: Vec<(String, Value)>,
    plan: Plan,
}

/// What is left to do of a plan that was written down.
pub(super) struct Remaining {
    /// The plan without what was done before.
    pub(super) plan: Plan,
    /// What was planned and is done.
    pub(super) done: usize,
    /// The plan that would be made now.
    pub(super) now: Plan,
    /// Whether the files declare any client.
    pub(super) declares_clients: bool,
}

impl PlanFile {
    pub(super) fn new(plan: Plan, options: PlanOptions, store: StoreIdentity, files: Vec<(String, Value)>) -> Self {
        Self {
            grantwell_plan: VERSION.to_owned(),
            made_at: SystemClock.now_in_millis(),
            store,
            adopt: options.adopt,
            prune: options.prune,
            files,
            plan,
        }
    }

    /// Writes it, with a digest of it as its last line.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::new(format!("{} could not be written: {error}", path.display()));
        let json = serde_json::to_string_pretty(self).map_err(|error| failed(&error))?;
        let body = json.strip_suffix("\n}").unwrap_or(&json);
        let text = format!("{body}{SEAL}{}\"\n}}\n", digest(body));
        require_plan_or_nothing(path)?;
        // Whatever mode the plan before had, this one is its owner's alone; and no link is followed.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&error)),
            _ => {}
        }
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| failed(&error))?;
        output::note(&format!(
            "the plan is in {0}, which has no secret; carry it out with: grantwell apply {0}",
            path.display()
        ));
        Ok(())
    }

    /// Reads one that [`PlanFile::write`] has written, to the letter.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let text = document::read(path, documents::MAX_BYTES)
            .map_err(|fault| Failure::new(fault.of(&document::name_of(path))))?;
        let plan_again = "make it again with --plan --out";
        if !text.trim_start().starts_with('{') || !text.contains("\"grantwell_plan\"") {
            return Err(Failure::new(format!(
                "{name} is not a plan that --plan --out has written; apply a file of declarations with -f {name}"
            )));
        }
        let sealed = text.trim_end().strip_suffix("\"\n}").and_then(|text| text.rsplit_once(SEAL));
        let body = sealed.filter(|(body, seal)| digest(body) == *seal).map(|(body, _)| body);
        let body = body.ok_or_else(|| {
            Failure::new(format!(
                "nothing was changed, because {name} was cut off or edited after it was written; {plan_again}"
            ))
        })?;
        // Its version first: another one may have other members.
        let value: Value = serde_json::from_str(&format!("{body}}}")).map_err(|error| not_readable(path, &error))?;
        let version = value.get("grantwell_plan").and_then(Value::as_str).unwrap_or_default();
        if version != VERSION {
            return Err(Failure::new(format!(
                "nothing was changed, because {name} was written by grantwell {version} and this is {VERSION}; {plan_again}"
            )));
        }
        serde_json::from_value(value).map_err(|error| not_readable(path, &error))
    }

    /// What is left to do of it, where nobody has changed the registry meanwhile.
    pub(super) async fn remaining(&self, store: &Store) -> Result<Remaining, Failure> {
        // 1. The same store.
        let is = store.identity().await?;
        if !self.store.may_be(&is) {
            return Err(Failure::new(format!(
                "nothing was changed, because the plan was made for {} and this is {is}; name its store with --store, or plan again",
                self.store
            )));
        }

        // 2. What would be planned now.
        let declaration = Declaration::of(&self.files).map_err(|error| Failure::new(error.to_string()))?;
        let snapshot = registry::snapshot(store.management(), &declaration, self.prune).await?;
        let options = PlanOptions { adopt: self.adopt, prune: self.prune };
        let now = Plan::make(&declaration, &snapshot, options).map_err(|problems| {
            let changed: Vec<String> = problems.iter().map(|problem| problem.target.to_string()).collect();
            stale(&changed)
        })?;

        // 3. It is a part of this plan.
        let planned = |step: &Step| self.plan.steps.iter().find(|planned| is_left_of(planned, step, &snapshot));
        let foreign: Vec<String> = now
            .steps
            .iter()
            .filter(|step| step.is_change() && planned(step).is_none())
            .map(|step| step.target.to_string())
            .collect();
        if !foreign.is_empty() {
            return Err(stale(&foreign));
        }
        let left: BTreeSet<&Target> =
            now.steps.iter().filter(|step| step.is_change()).map(|step| &step.target).collect();
        let steps: Vec<Step> =
            self.plan.steps.iter().filter(|step| !step.is_change() || left.contains(&step.target)).cloned().collect();
        self.refuse_deleted_since(store.management(), &steps).await?;
        let plan = Plan { steps, ..self.plan.clone() };
        Ok(Remaining {
            done: changes(&self.plan) - changes(&plan),
            declares_clients: !declaration.clients.is_empty(),
            plan,
            now,
        })
    }

    /// What is to be created and is not there may have been created by this plan and deleted by somebody since: it must not come back.
    async fn refuse_deleted_since(&self, management: &Management, steps: &[Step]) -> Result<(), Failure> {
        let created: Vec<&Target> =
            steps.iter().filter(|step| step.action == Action::Create).map(|step| &step.target).collect();
        if created.is_empty() {
            return Ok(());
        }
        let filter = LogFilter { since: self.made_at, ..LogFilter::default() };
        let log = management.log(&filter, usize::MAX).await?;
        let is_done = |outcome, effect| outcome == Outcome::Done || effect == Some(Effect::CarriedOut);
        let since: Vec<String> = log
            .lines
            .into_iter()
            .filter(|(line, effect)| is_done(line.outcome, *effect))
            .flat_map(|(line, _)| deleted(line))
            .filter(|deleted| created.contains(&deleted))
            .map(|deleted| deleted.to_string())
            .collect();
        if since.is_empty() { Ok(()) } else { Err(stale(&since)) }
    }
}

/// A plan takes the place of an earlier one, and of no other file: a declaration is easily named by mistake.
fn require_plan_or_nothing(path: &Path) -> Result<(), Failure> {
    let mut begins = Vec::new();
    let read = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(_) => File::open(path).and_then(|file| file.take(64).read_to_end(&mut begins)),
    };
    let is_plan = read.is_ok() && String::from_utf8_lossy(&begins).contains("\"grantwell_plan\"");
    if is_plan || (read.is_ok() && begins.is_empty()) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} is there and is not a plan, so it was not overwritten; name another file with --out",
        path.display()
    )))
}

/// What a line of the log says was deleted.
fn deleted(line: AdminLogLine) -> Vec<Target> {
    let AdminLogLine { action, target, members, .. } = line;
    let (realm, client_id, owner) = (target.realm, target.client_id, target.owner);
    if action == LogAction::UPDATE_ISSUERS {
        return realm.map_or_else(Vec::new, |realm| removed_issuers(&realm, &members));
    }
    let deleted = if action == LogAction::DELETE_CLIENT {
        realm.zip(client_id).map(|(realm, client_id)| Target::Client { realm, client_id })
    } else if action == LogAction::DELETE_REALM {
        realm.map(|realm| Target::Realm { realm })
    } else if action == LogAction::DELETE_OWNER {
        owner.map(|owner| Target::Owner { owner })
    } else {
        None
    };
    deleted.into_iter().collect()
}

/// The issuers that a realm had before a change and not after it.
fn removed_issuers(realm: &RealmName, members: &[LoggedChange]) -> Vec<Target> {
    let names = |value: &Value| -> BTreeSet<IssuerName> {
        let issuers = value.as_array().into_iter().flatten();
        issuers.filter_map(|issuer| issuer.get("name")?.as_str()?.parse().ok()).collect()
    };
    let of_issuers = members.iter().filter(|change| change.name == "trusted_issuers");
    let removed = of_issuers.flat_map(|change| {
        let after = names(&change.after);
        names(&change.before).into_iter().filter(move |name| !after.contains(name))
    });
    removed.map(|name| Target::Issuer { realm: realm.clone(), name }).collect()
}

/// Whether `step`, as it is planned now, is what is left of `planned`.
fn is_left_of(planned: &Step, step: &Step, stored: &Snapshot) -> bool {
    if planned == step || step.action != Action::Delete {
        return planned == step;
    }
    // It was disabled, and then the run was interrupted.
    let is_disabled = match (&step.target, &planned.base, &step.base) {
        (Target::Client { .. }, Some(before), Some(now)) => {
            !planned.changes.is_empty()
                && step.changes.is_empty()
                && before.registration_id == now.registration_id
                && before.revision.saturating_add(1) == now.revision
        }
        // What else of it has changed is found out before it is deleted.
        (Target::Owner { owner }, ..) => stored.owner(owner).is_some_and(|owner| owner.status == OwnerStatus::Disabled),
        _ => false,
    };
    planned.action == Action::Delete && planned.target == step.target && is_disabled
}

fn stale(changed: &[String]) -> Failure {
    let more = match changed.len().saturating_sub(FEW) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let first: Vec<&str> = changed.iter().take(FEW).map(String::as_str).collect();
    Failure::new(format!(
        "nothing was changed, because somebody has changed the registry since the plan was made: {}{more}; plan again with --plan --out",
        first.join(", ")
    ))
}

fn changes(plan: &Plan) -> usize {
    plan.steps.iter().filter(|step| step.is_change()).count()
}

fn not_readable(path: &Path, error: &serde_json::Error) -> Failure {
    Failure::new(format!("{} is not a plan that this version can read: {error}", path.display()))
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap_or_default();
        hex
    })
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
const SEAL: &str = ",\n  \"sha256\": \"";
/// How many changed records are told.
const FEW: usize = 5;
