//! `grantwell apply`, `diff` and `export`: clients as code. A reviewed file declares realms, owners, issuers and clients; a plan says
//! what has to change for the registry to be so, and is carried out as it was shown.

mod bar;
mod documents;
mod export;
mod interruption;
mod planned;
mod prune;
mod registry;
mod run;
mod secrets;
mod shown;

use std::path::PathBuf;

use grantwell::core::management::plan::{NotPermitted, Plan, PlanOptions, Problem, ProblemKind, Step};
use grantwell::core::management::{Management, ManagementError};
use serde_json::Value;

use self::documents::Documents;
use self::planned::{PlanFile, Remaining};
use self::run::Ran;
use self::secrets::SecretsArguments;
use crate::confirm::ConfirmArguments;
use crate::count;
use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::store::{IfAbsent, Store, StoreArguments, StoreName};

pub(crate) use export::Arguments as ExportArguments;
pub(crate) use export::run as export;

/// `grantwell apply`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "grantwell apply -f <FILE|DIR|->... [OPTIONS]
       grantwell apply <PLAN> [OPTIONS]",
    after_help = "Examples:
  grantwell apply -f realm.yaml --plan
  grantwell apply -f realm.yaml --secrets-dir secrets
  grantwell apply -f clients/ --plan --out plan.json
  grantwell apply plan.json
  grantwell apply -f realm.yaml --prune --prune-at-most 25

A file:
  name: team-a
  realms:
    - {realm: alpha, default_scope: read}
  owners:
    - {owner: alice, email: alice@example.com}
  issuers:
    - {realm: alpha, name: github, kind: github}
  clients:
    - {realm: alpha, client_id: billing, client_name: Billing, owners: [alice], scope: read write}

Exit status:
  0  done, or there was nothing to do
  1  it failed; the message says what was changed
  2  the command line is wrong, or lacks an answer
  3  with --plan: something would change"
)]
pub(crate) struct Arguments {
    /// A plan that --plan --out has written: that and nothing else is carried out
    ///
    /// It is refused where it belongs to another store, where somebody has changed the registry since, where it was edited or cut off, and
    /// where another version of this program has written it. A run that was interrupted can be repeated.
    #[arg(value_name = "PLAN", conflicts_with_all = ["file", "plan", "out", "prune", "adopt"])]
    planned: Option<PathBuf>,
    /// A file of declarations in YAML or JSON, a folder of them, or - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE|DIR|-")]
    file: Vec<PathBuf>,
    /// Takes over records that another file's name, or nobody, manages, and says from whom
    #[arg(long)]
    adopt: bool,
    /// Shows what would change, and changes nothing
    #[arg(long)]
    plan: bool,
    /// Writes the plan to a file, too, for `grantwell apply PLAN`
    #[arg(long, value_name = "FILE", requires = "plan")]
    out: Option<PathBuf>,
    /// Deletes the clients, issuers and owners that files of this name have declared and do not declare any more
    ///
    /// It asks before, on a terminal. All clients are disabled before the first is deleted. A YAML file has to end with a line `...`, so that
    /// one that was cut off deletes nothing.
    #[arg(long)]
    prune: bool,
    /// The most records that may be deleted at once [default: 10]
    ///
    /// Where the files declare no client at all, nothing is deleted unless this option says how many.
    #[arg(long, value_name = "N", value_parser = count::between(0, 100_000))]
    prune_at_most: Option<u32>,
    #[command(flatten)]
    confirm: ConfirmArguments,
    #[command(flatten)]
    secrets: SecretsArguments,
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    output: OutputArguments,
}

/// `grantwell diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  grantwell diff -f realm.yaml
  grantwell diff -f clients/ --prune --output json

The same as `grantwell apply --plan`.

Exit status:
  0  the registry is as the files declare it
  1  it failed
  2  the command line is wrong
  3  something differs")]
pub(crate) struct DiffArguments {
    /// A file of declarations in YAML or JSON, a folder of them, or - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE|DIR|-", required = true)]
    file: Vec<PathBuf>,
    /// Shows what --adopt would take over, and from whom
    #[arg(long)]
    adopt: bool,
    /// Shows what --prune would delete, too
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    output: OutputArguments,
}

/// Runs `grantwell apply`.
///
/// # Errors
/// A [`Failure`] that says what to do.
pub(crate) async fn apply(arguments: Arguments) -> Result<(), Failure> {
    if arguments.planned.is_none() && arguments.file.is_empty() {
        return Err(Failure::Misuse(NOTHING_NAMED.to_owned()));
    }

    // 1. The plan: one that was written down, or what the files say.
    let (name, output) = (arguments.store.name()?, &arguments.output);
    let options = PlanOptions { adopt: arguments.adopt, prune: arguments.prune };
    let Planned { remaining, store, files } = match &arguments.planned {
        Some(path) => {
            let (file, store) = (PlanFile::read(path)?, name.open(IfAbsent::TakeForEmpty).await?);
            Planned { remaining: file.remaining(&store).await?, store, files: Vec::new() }
        }
        None => made_of(&arguments.file, options, &name).await?,
    };
    let Remaining { plan, done, now, declares_clients } = remaining;

    // 2. It is shown, and that may be all.
    if arguments.plan {
        if let Some(path) = &arguments.out {
            PlanFile::new(plan.clone(), options, store.identity().await?, files).write(path)?;
        }
        return shown_only(&plan, &store, &name, output);
    }
    shown::before_apply(&plan, output)?;
    if done > 0 {
        output::note(&format!(
            "of the plan, {done} {} before",
            if done == 1 { "change was made" } else { "changes were made" }
        ));
    }
    let secrets = arguments.secrets.place(output.format());
    secrets.finish_earlier(store.management(), &now).await?;
    if !plan.has_changes() {
        return shown::ran(&plan, &Ran::nothing(), done, &secrets, output);
    }

    // 3. Whether it may be, before anything is changed.
    require_permitted(store.management(), &plan).await?;
    let changes: Vec<&Step> = plan.steps.iter().collect();
    let new_secrets = store.management().new_secrets(&changes).await?;
    secrets.check(&new_secrets)?;
    prune::allow(&plan, declares_clients, arguments.prune_at_most, &arguments.confirm, output)?;
    secrets.open(&new_secrets)?;

    // 4. It is carried out.
    let store = if store.is_absent() { name.open(IfAbsent::Create).await? } else { store };
    let mut ran = run::carry_out(store.management(), &plan, &secrets).await;
    let told = shown::ran(&plan, &ran, done, &secrets, output);
    match ran.stopped.take() {
        None if ran.is_interrupted => {
            store.settle(Ok(())).await?;
            told?;
            Err(shown::interrupted(&ran, "run the command again: what is done is not done twice"))
        }
        None => {
            store.settle(Ok(())).await?;
            told?;
            secrets.require_named()
        }
        Some((step, error)) => {
            let is_conflict = matches!(error, ManagementError::Conflict(_));
            let again = match (&arguments.planned, is_conflict) {
                (None, _) => "look at the rest with --plan and run the command again: what is done is not done twice",
                (Some(_), true) => "plan the rest again with --plan --out",
                (Some(_), false) => "run the command again: what is done is not done twice",
            };
            // Where nothing was done, no store that was made for it stays behind.
            let Err(failure) = store.settle::<()>(Err(error)).await else { return told };
            Err(shown::stopped(&ran, step, (!is_conflict).then_some(failure), again))
        }
    }
}

/// Runs `grantwell diff`.
///
/// # Errors
/// A [`Failure`] that says what to do.
pub(crate) async fn diff(arguments: DiffArguments) -> Result<(), Failure> {
    let name = arguments.store.name()?;
    let options = PlanOptions { adopt: arguments.adopt, prune: arguments.prune };
    let Planned { remaining, store, .. } = made_of(&arguments.file, options, &name).await?;
    shown_only(&remaining.plan, &store, &name, &arguments.output)
}

/// A plan, the store that it is for, and what it was made of.
struct Planned {
    remaining: Remaining,
    store: Store,
    files: Vec<(String, Value)>,
}

async fn made_of(files: &[PathBuf], options: PlanOptions, store: &StoreName) -> Result<Planned, Failure> {
    let documents = Documents::read(files)?;
    let declaration = documents.declaration()?;
    if options.prune {
        documents.require_whole()?;
    }
    let store = store.open(IfAbsent::TakeForEmpty).await?;
    let snapshot = registry::snapshot(store.management(), &declaration, options.prune).await?;
    let plan = Plan::make(&declaration, &snapshot, options).map_err(|problems| impossible(&documents, &problems))?;
    let declares_clients = !declaration.clients.is_empty();
    let remaining = Remaining { now: plan.clone(), plan, done: 0, declares_clients };
    Ok(Planned { remaining, store, files: documents.parsed() })
}

fn shown_only(plan: &Plan, store: &Store, name: &StoreName, output: &OutputArguments) -> Result<(), Failure> {
    if store.is_absent() {
        output::note(&format!("there is no store {name} yet; everything would be new"));
    }
    shown::plan(plan, output)
}

/// Everything that is wrong, so that a file is mended in one go.
fn impossible(documents: &Documents, problems: &[Problem]) -> Failure {
    let line = |Problem { target, place, kind }: &Problem| {
        let advice = match kind {
            ProblemKind::NotOurs { .. } => "; take it over with --adopt, or leave it out".to_owned(),
            ProblemKind::UnknownRealm => "; declare it under realms, or name another".to_owned(),
            ProblemKind::NeedsSecret => "; leave generate out, or name other token_endpoint_auth_methods".to_owned(),
            ProblemKind::UnknownOwner(owner) => {
                format!("; declare it under owners, or make it with `grantwell owner create {owner}`")
            }
            ProblemKind::DisabledOwner(owner) => format!(
                "; enable it with `grantwell owner update {owner} --status active`, or declare it under owners with status: active"
            ),
            ProblemKind::UnknownIssuer { issuer, .. } => format!(
                "; declare it under issuers, or add it with `grantwell issuer add NAME{} --issuer {issuer}`",
                target.realm().map(|realm| format!(" --realm {realm}")).unwrap_or_default()
            ),
            ProblemKind::StillOwns(_) => "; declare them with other owners, or leave the owner in the file".to_owned(),
            ProblemKind::OtherIssuer { .. } => {
                "; declare another issuer under another name, have the rules name that one, and then leave this one out"
                    .to_owned()
            }
            ProblemKind::IssuerIsUsed(_) => "; change their trust first, or leave the issuer in the file".to_owned(),
            _ => String::new(),
        };
        format!("{}: {target}: {kind}{advice}", documents.located(place))
    };
    let lines: Vec<String> = problems.iter().map(line).collect();
    Failure::new(format!("nothing was changed, because this cannot be done:{}", listed(&lines)))
}

/// Whoever acts for an owner is told of everything that is not its own to change, before anything is.
async fn require_permitted(management: &Management, plan: &Plan) -> Result<(), Failure> {
    let refused = management.not_permitted(plan).await?;
    if refused.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = refused.iter().map(|NotPermitted { target, why }| format!("{target}: {why}")).collect();
    Err(Failure::new(format!("nothing was changed, because you may not do this:{}", listed(&lines))))
}

/// Lines below a sentence, the first of them.
fn listed(lines: &[String]) -> String {
    let shown: Vec<&str> = lines.iter().take(PROBLEMS).map(String::as_str).collect();
    let shown = format!("\n  {}", shown.join("\n  "));
    match lines.len().saturating_sub(PROBLEMS) {
        0 => shown,
        more => format!("{shown}\n  and {more} more"),
    }
}

const NOTHING_NAMED: &str = "name a file with -f, or a plan: grantwell apply -f FILE, or grantwell apply PLAN";
/// How many problems are told at once.
const PROBLEMS: usize = 20;
