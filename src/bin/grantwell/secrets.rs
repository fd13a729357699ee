//! `grantwell secrets`: what a deployed stack keeps in Secrets Manager.

#[cfg(feature = "aws")]
use grantwell::aws::store::binding::{BoundSecret, Outcome};
#[cfg(feature = "aws")]
use grantwell::core::management::ChangeToLog;
#[cfg(feature = "aws")]
use grantwell::core::ports::RegistrarError;
#[cfg(feature = "aws")]
use serde::Serialize;

use crate::failure::Failure;
use crate::output::OutputArguments;
#[cfg(feature = "aws")]
use crate::output::{self};
use crate::store::StoreArguments;

/// `grantwell secrets …`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  grantwell secrets bind --store aws --dry-run")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Marks the secrets of an existing stack as its own
    ///
    /// Each secret carries the tags grantwell:registry and grantwell:registration, and its value names the registration, so that
    /// another stack or a later client with the same id cannot use, change or delete it. Secrets made by an earlier version or by
    /// hand lack these marks, and are refused until this command has bound them. The command goes through every realm, its
    /// signing keys and its clients, leaves other stacks' secrets alone, and may be repeated. The secrets themselves do not change,
    /// so applications are not affected.
    #[command(after_help = "Examples:
  grantwell secrets bind --store aws --dry-run
  grantwell secrets bind --store aws")]
    Bind(Bind),
}

#[derive(Debug, clap::Args)]
struct Bind {
    /// Only prints what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArguments,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { command: Command::Bind(bind), store } = arguments;
    if !store.name()?.is_deployed() {
        return Err(Failure::new(
            "only a deployed stack keeps secrets outside its registry, so there is nothing to bind in this store; name the stack with: \
             --store aws",
        ));
    }
    bind.run().await
}

#[cfg(feature = "aws")]
#[derive(Serialize)]
struct Answer<'a> {
    registry_id: Option<&'a str>,
    dry_run: bool,
    secrets: &'a [BoundSecret],
}

#[cfg(feature = "aws")]
impl Bind {
    async fn run(self) -> Result<(), Failure> {
        let (binding, book) = crate::store::open_binding().await?;
        let bound = if self.dry_run {
            binding.bind(true).await
        } else {
            book.carry_out_as_operator(ChangeToLog::of_bound_secrets(), Box::pin(binding.bind(false))).await
        };
        let secrets = bound.map_err(|error| match error {
            RegistrarError::Port(error) => error.into(),
            RegistrarError::Denied(denied) => denied.into(),
            other => Failure::new(other.to_string()),
        })?;
        let registry_id = binding.registry_id().await?;
        let registry_id = registry_id.as_ref().map(grantwell::aws::store::registry_id::RegistryId::as_str);
        self.output.print(&Answer { registry_id, dry_run: self.dry_run, secrets: &secrets }, Answer::table)?;
        match secrets.iter().filter(|secret| secret.outcome == Outcome::LeftAlone).count() {
            0 => Ok(()),
            count => Err(Failure::new(format!(
                "{count} of {} secrets were left alone, for the reasons above; give this stack a SecretPrefix of its own, or delete \
                 the secrets that are no longer used, and repeat the command",
                secrets.len()
            ))),
        }
    }
}

#[cfg(not(feature = "aws"))]
impl Bind {
    #[expect(clippy::unused_async, reason = "the build with AWS awaits here")]
    async fn run(self) -> Result<(), Failure> {
        Err(crate::store::no_aws())
    }
}

#[cfg(feature = "aws")]
impl Answer<'_> {
    fn table(&self) -> String {
        if self.secrets.is_empty() {
            return "there are no secrets of this registry's realms and clients".to_owned();
        }
        let outcome = |secret: &BoundSecret| match (secret.outcome, secret.reason) {
            (Outcome::Bound, _) if self.dry_run => "would be bound".to_owned(),
            (outcome, Some(reason)) => format!("{}: {reason}", outcome.as_str()),
            (outcome, None) => outcome.as_str().to_owned(),
        };
        let rows: Vec<_> = self.secrets.iter().map(|secret| vec![secret.secret.clone(), outcome(secret)]).collect();
        output::table(&["secret", "outcome"], 48, &rows)
    }
}
