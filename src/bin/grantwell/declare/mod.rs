//! `grantwell apply`, `diff` and `export`: clients as code. A reviewed file declares realms and clients; a plan says what has to change
//! for the registry to be so, and is carried out as it was shown.

mod documents;
mod export;
mod registry;
mod run;
mod secrets;
mod shown;

use std::fs;
use std::path::PathBuf;

use grantwell::core::management::plan::{Action, Declaration, Plan, PlanOptions, Problem, ProblemKind};

use crate::count;
use crate::failure::Failure;
use crate::input;
use crate::output::{self, OutputArguments};
use crate::store::{IfAbsent, Store, StoreArguments, StoreName};
use documents::Documents;
use secrets::SecretsArguments;

pub(crate) use export::Arguments as ExportArguments;
pub(crate) use export::run as export;

/// `grantwell apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  grantwell apply -f realm.yaml --plan
  grantwell apply -f realm.yaml
  grantwell apply -f clients/ --plan --out plan.json
  grantwell apply plan.json
  grantwell apply -f realm.yaml --prune --prune-at-most 25

A file:
  name: team-a
  realms:
    - {realm: alpha, default_scope: read}
  clients:
    - {realm: alpha, client_id: billing, client_name: Billing, scope: read write}

Exit status: 0 done, or nothing to do; 3 with --plan, if something would change; 1 it failed; 2 the command line is wrong.")]
pub(crate) struct Arguments {
    /// A plan that --plan --out has written: it is carried out exactly
    #[arg(value_name = "PLAN", conflicts_with_all = ["file", "plan", "out", "prune", "adopt"], required_unless_present = "file")]
    planned: Option<PathBuf>,
    /// A file of declarations in YAML or JSON, a folder of them, or - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE|DIR|-")]
    file: Vec<PathBuf>,
    /// Takes over records that another name or nobody's file has declared, and says from whom
    #[arg(long)]
    adopt: bool,
    /// Shows what would change, and changes nothing
    #[arg(long)]
    plan: bool,
    /// Writes the plan to a file besides, for `grantwell apply PLAN`
    #[arg(long, value_name = "FILE", requires = "plan")]
    out: Option<PathBuf>,
    /// Deletes the clients that files of this name have declared and do not any more. A YAML file then has to end with a line `...`, so
    /// that one that was cut off deletes nothing
    #[arg(long)]
    prune: bool,
    /// The most clients that may be deleted at once
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = count::between(0, 100_000))]
    prune_at_most: u32,
    /// Deletes without asking
    #[arg(long)]
    yes: bool,
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

The same as `grantwell apply --plan`, and the same exit status: 3 if something differs.")]
pub(crate) struct DiffArguments {
    /// A file of declarations in YAML or JSON, a folder of them, or - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE|DIR|-", required = true)]
    file: Vec<PathBuf>,
    /// Takes over records that another name or nobody's file has declared, and says from whom
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
    // 1. The plan: one that was written down, or what the files say.
    let name = arguments.store.name()?;
    let (plan, store) = match &arguments.planned {
        Some(path) => (written_down(path)?, name.open(IfAbsent::Create).await?),
        None => {
            let options = PlanOptions { adopt: arguments.adopt, prune: arguments.prune };
            made_of(&arguments.file, options, arguments.plan, &name).await?
        }
    };

    // 2. It is shown, and that may be all.
    if arguments.plan {
        if let Some(path) = &arguments.out {
            write_down(&plan, path)?;
        }
        return shown::plan(&plan, &arguments.output);
    }
    shown::before_apply(&plan, &arguments.output)?;
    if !plan.has_changes() {
        return shown::done(&plan, &run::Progress::default(), &arguments.output);
    }
    may_delete(&plan, arguments.prune_at_most, arguments.yes)?;

    // 3. It is carried out.
    let secrets = arguments.secrets.open()?;
    let progress = run::carry_out(store.management(), &plan, &secrets).await?;
    shown::done(&plan, &progress, &arguments.output)
}

/// Runs `grantwell diff`.
///
/// # Errors
/// A [`Failure`] that says what to do.
pub(crate) async fn diff(arguments: DiffArguments) -> Result<(), Failure> {
    let name = arguments.store.name()?;
    let options = PlanOptions { adopt: arguments.adopt, prune: arguments.prune };
    let (plan, _store) = made_of(&arguments.file, options, true, &name).await?;
    shown::plan(&plan, &arguments.output)
}

async fn made_of(
    files: &[PathBuf],
    options: PlanOptions,
    only_looks: bool,
    store: &StoreName,
) -> Result<(Plan, Store), Failure> {
    let documents = Documents::read(files)?;
    if options.prune {
        documents.require_whole()?;
    }
    let declaration = Declaration::of(documents.as_slice()).map_err(|error| Failure::new(error.to_string()))?;
    let store = store.open(if only_looks { IfAbsent::TakeForEmpty } else { IfAbsent::Create }).await?;
    let snapshot = registry::snapshot(store.management(), &declaration, options.prune).await?;
    let plan = Plan::make(&declaration, &snapshot, options).map_err(|problems| impossible(&problems))?;
    Ok((plan, store))
}

/// Everything that is wrong, so that a file is mended in one go.
fn impossible(problems: &[Problem]) -> Failure {
    let line = |Problem { target, place, kind }: &Problem| {
        let advice = match kind {
            ProblemKind::NotOurs { .. } => "; take it over with --adopt, or leave it out",
            ProblemKind::UnknownRealm => "; declare it under realms, or name another",
            ProblemKind::NeedsSecret => "; leave generate out, or name other token_endpoint_auth_methods",
            _ => "",
        };
        format!("\n  {place}: {target}: {kind}{advice}")
    };
    let shown: String = problems.iter().take(PROBLEMS).map(line).collect();
    let more = match problems.len().saturating_sub(PROBLEMS) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    Failure::new(format!("nothing was changed, because this cannot be done:{shown}{more}"))
}

/// Whoever deletes by mistake has lost the secrets of the clients, so it is asked for.
fn may_delete(plan: &Plan, at_most: u32, yes: bool) -> Result<(), Failure> {
    let count = plan.count(Action::Delete);
    if count == 0 {
        return Ok(());
    }
    if count > usize::try_from(at_most).unwrap_or(usize::MAX) {
        return Err(Failure::new(format!(
            "nothing was changed, because {count} clients would be deleted, and no more than {at_most} are deleted at once; if that is \
             meant, repeat the command with --prune-at-most {count}"
        )));
    }
    if yes || shown::confirmed(count)? { Ok(()) } else { Err(Failure::new("nothing was changed")) }
}

fn written_down(path: &PathBuf) -> Result<Plan, Failure> {
    let text = input::text(path)?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::new(format!(
            "{} is not a plan that --plan --out has written: {error}; apply a file of declarations with -f",
            path.display()
        ))
    })
}

fn write_down(plan: &Plan, path: &PathBuf) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::new(format!("{} could not be written: {error}", path.display()));
    let json = serde_json::to_string_pretty(plan).map_err(|error| failed(&error))?;
    fs::write(path, json + "\n").map_err(|error| failed(&error))?;
    output::note(&format!("the plan was written to {}; carry it out with: grantwell apply {0}", path.display()));
    Ok(())
}

/// How many problems are told at once.
const PROBLEMS: usize = 20;
