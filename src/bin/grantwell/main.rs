//! The `grantwell` command: the local server, its demonstration, the registry of clients, realms and their keys, who has changed it, what its log says
//! of its clients, and what a month on AWS costs.

mod access_token;
mod backup;
mod ca_file;
mod check;
mod client;
mod columns;
mod completion;
mod confirm;
mod cost;
mod count;
mod declare;
mod demo;
mod describe;
mod document;
mod duration;
mod failure;
mod import;
mod issuer;
mod key;
mod log;
mod output;
mod owner;
mod quota;
mod realm;
mod report;
mod restore;
mod sample;
mod schema;
mod secret_storage;
mod secrets;
mod serve;
mod service_manager;
mod store;
mod store_identity;
mod terminal;
mod token;
mod trust;
mod valid_after;
mod words;

use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use mimalloc::MiMalloc;
use tokio::runtime::{Builder, Runtime};

use grantwell::embedded::store::cause::StorageCause;

use crate::failure::Failure;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A machine-to-machine OAuth 2.0 authorization server: the client credentials grant.
#[derive(Debug, clap::Parser)]
#[command(
    version,
    arg_required_else_help = true,
    term_width = terminal::width().map_or(PIPED_HELP, |columns| columns.min(WIDEST_HELP)),
    after_help = "Examples:
  grantwell demo
  grantwell serve --listen 127.0.0.1:8080
  grantwell client create --id myClient --scope write --default-scope write
  grantwell key list

Every command says more with --help."
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Runs the authorization server on this machine
    Serve(serve::Arguments),
    /// Starts a server and walks the whole flow against it
    Demo(demo::Arguments),
    /// Registers clients, changes them, and rotates their secrets
    Client(client::Arguments),
    /// Creates realms and changes their settings
    Realm(realm::Arguments),
    /// Manages the issuers that a realm trusts: their tokens can stand for clients
    Issuer(issuer::Arguments),
    /// Makes owners of clients, and changes them
    Owner(owner::Arguments),
    /// Shows the keys that sign JWTs, and replaces them
    Key(key::Arguments),
    /// Marks the secrets of an existing stack as its own
    Secrets(secrets::Arguments),
    /// Lists who has changed what of clients, realms, owners and keys, the newest first
    ///
    /// Each change has a line, which is written before the change and says afterwards how it ended: done, refused or failed. A line
    /// that still says started belongs to a command that did not come to its end.
    Log(log::Arguments),
    /// Makes the registry as a reviewed file declares it
    ///
    /// Only what the file mentions is set, and nothing is deleted without --prune. The file never has a secret.
    Apply(declare::Arguments),
    /// Shows what differs between the registry and a file
    Diff(declare::DiffArguments),
    /// Writes the registry as a file that declares it
    Export(declare::ExportArguments),
    /// Writes the JSON Schema by which editors complete and check a file
    ///
    /// A file of `grantwell export` names it as declaration.schema.json, beside itself.
    #[command(after_help = "Examples:
  grantwell schema > declaration.schema.json
  grantwell schema trust-rules > trust-rules.schema.json")]
    Schema(schema::Arguments),
    /// Makes a file for `grantwell apply` from another product's export
    ///
    /// It reads the export and changes nothing. For each member of a client that is set, it says whether the member is taken, changed or left
    /// out, and why. `grantwell apply` then registers the clients. No secret is taken over: apply makes a new one for each client that needs
    /// one, and you give it to the application.
    Import(import::Arguments),
    /// Gets access tokens as a client does, and asks what a token is
    Token(token::Arguments),
    /// Says why a caller is a client or is not, by the client's trust rules
    Trust(trust::Arguments),
    /// Copies the registry of a data directory to a file, while its server runs
    ///
    /// The copy has realms, clients, digests of secrets and signing keys, so keep it as safe as the original; nobody else can read the file.
    /// It is read again before it gets its name, and the answer says what it has. It does not have tokens: an old copy of them would not know
    /// which were revoked since.
    #[command(after_help = "Examples:
  grantwell backup --store file:/var/lib/grantwell --to /var/backups/grantwell
  grantwell backup --to registry.db --overwrite")]
    Backup(backup::Arguments),
    /// Puts a backup back into a data directory whose server is stopped
    ///
    /// The registry that is there stays beside it under another name. Every token ends, so that none comes back that was revoked after the
    /// backup was made. What else was changed since is listed, because it has to be done again. A backup that is damaged, empty or of another
    /// program is refused, and a command that was interrupted can be run again.
    #[command(after_help = "Example:
  grantwell restore /var/backups/grantwell/registry.db \\
      --store file:/var/lib/grantwell")]
    Restore(restore::Arguments),
    /// Looks at a data directory, while its server runs or not, and changes nothing
    ///
    /// Whose its files are and who can read them, whether both databases are whole, which records cannot be read, how much space is left,
    /// whether a server runs, how old signing keys are, and which clients can never get a token.
    ///
    /// The exit status is 0 where all is well, 3 where there are only warnings, and 1 where something is broken or cannot be looked at.
    #[command(after_help = "Examples:
  grantwell check --store file:/var/lib/grantwell
  grantwell check --output json
  grantwell check --backup /var/backups/grantwell/registry.db")]
    Check(check::Arguments),
    /// Lists what a server's log says about its clients
    Report(report::Arguments),
    /// Computes what a month on AWS costs
    Cost(cost::Arguments),
    /// Writes a script with which a shell completes commands, options and their values
    ///
    /// Save the script where the shell looks for it, as the examples do, and start a new shell. zsh looks in the directories of its
    /// $fpath, among which ~/.zfunc has to be; bash needs the package bash-completion.
    #[command(after_help = "Examples:
  cd ~/.local/share/bash-completion/completions
  grantwell completion bash > grantwell

  grantwell completion zsh > ~/.zfunc/_grantwell

  grantwell completion fish > ~/.config/fish/completions/grantwell.fish")]
    Completion(completion::Arguments),
    /// Writes what this program knows as tables, as JSON: for tests of what is deployed, and no promise to anybody
    #[command(hide = true)]
    Describe,
}

fn main() -> ExitCode {
    failure::report_panics();
    let command = CommandLine::read().command;
    let ended = match runtime() {
        // The hook has said what there is to say of a panic.
        Ok(runtime) => match panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(command)))) {
            Ok(ended) => ended,
            Err(_message) => return ExitCode::FAILURE,
        },
        Err(error) => Err(no_runtime(&error)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

impl CommandLine {
    /// What was typed; ends the process where it is wrong or asks for help.
    fn read() -> Self {
        let mut command = taking_negative_numbers(Self::command());
        let matches = command.get_matches_mut();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
    }
}

/// Has `--tokens -5` and `--expiring -1d` refused for their values. Clap takes a value that begins with a hyphen for an option, and
/// advises to write `-- -5`, which works nowhere. A text may not begin so: a forgotten value must not swallow the option after it.
fn taking_negative_numbers(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|option| {
        let mut names = option.get_value_names().into_iter().flatten();
        let is_number = names.any(|name| NUMBERS.contains(&name.as_str()));
        if is_number { option.allow_hyphen_values(true) } else { option }
    });
    command.mut_subcommands(taking_negative_numbers)
}

/// Tokio panics where it lacks a descriptor for some of what it opens, so whether there are enough is seen before.
fn runtime() -> io::Result<Runtime> {
    (0..DESCRIPTORS).map(|_| File::open("/")).collect::<io::Result<Vec<_>>>()?;
    Builder::new_multi_thread().enable_all().build()
}

/// The system gives the process no threads, or not the few descriptors that they wait with.
fn no_runtime(error: &io::Error) -> Failure {
    match StorageCause::of_io(error) {
        StorageCause::Failed => Failure::new(format!("the process cannot start its threads: {error}")),
        cause => Failure::new(format!("the process cannot start its threads: {cause}; {}", cause.way_out())),
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(arguments) => Box::pin(serve::run(arguments)).await,
        Command::Demo(arguments) => Box::pin(demo::run(arguments)).await,
        Command::Client(arguments) => Box::pin(client::run(arguments)).await,
        Command::Realm(arguments) => Box::pin(realm::run(arguments)).await,
        Command::Issuer(arguments) => Box::pin(issuer::run(arguments)).await,
        Command::Owner(arguments) => Box::pin(owner::run(arguments)).await,
        Command::Log(arguments) => Box::pin(log::run(arguments)).await,
        Command::Key(arguments) => Box::pin(key::run(arguments)).await,
        Command::Apply(arguments) => Box::pin(declare::apply(arguments)).await,
        Command::Diff(arguments) => Box::pin(declare::diff(arguments)).await,
        Command::Export(arguments) => Box::pin(declare::export(arguments)).await,
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Secrets(arguments) => Box::pin(secrets::run(arguments)).await,
        Command::Token(arguments) => token::run(arguments).await,
        Command::Trust(arguments) => trust::run(arguments).await,
        Command::Backup(arguments) => backup::run(arguments),
        Command::Restore(arguments) => Box::pin(restore::run(arguments)).await,
        Command::Check(arguments) => check::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Cost(arguments) => cost::run(arguments),
        Command::Completion(arguments) => completion::run(&arguments, CommandLine::command()),
        Command::Describe => describe::run(),
    }
}

/// The queue of events and what wakes it, and the pair of sockets for signals with copies.
const DESCRIPTORS: usize = 8;
/// How help names the values of options that take nothing but a number.
const NUMBERS: [&str; 8] = ["DURATION", "MB", "MS", "N", "NUMBER", "NUMBER/hour|NUMBER/day|none", "RATIO", "SECONDS"];
/// The width of help that is not shown on a terminal.
const PIPED_HELP: usize = 100;
/// A line that is longer is not read easily, however wide the terminal is.
const WIDEST_HELP: usize = 120;
