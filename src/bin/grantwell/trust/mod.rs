//! `grantwell trust`: which of a client's trust rules a caller satisfies, and what a rule for it could look like.

pub(crate) mod file;

mod caller;
mod explain;
mod suggest;

use crate::failure::Failure;
use crate::store::PlaceArguments;

/// `grantwell trust …`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  grantwell trust explain --client deploy --token token.txt")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Says, rule by rule and claim by claim, why a caller is a client or is not
    ///
    /// The token is verified on this machine, as the server would: it is neither sent nor logged, and does not count as used. Where the
    /// keys of its issuer are not in the realm, they are fetched from where the realm says. What is printed has claims of the token
    /// in it.
    ///
    /// The exit status is 0 where the caller is admitted, also where something could not be checked, 3 where it is not, and 1 where that
    /// cannot be told.
    #[command(after_help = "Examples:
  grantwell trust explain --client deploy --token token.txt \\
      --audience https://auth.example.com/oauth2
  grantwell trust explain --client orders --context event.json --output json")]
    Explain(explain::Explain),
    /// Prints a trust rule for a caller, for `client update --trust`
    ///
    /// The rule is as narrow as what stays the same from one request of the caller to the next. Read it before you use it.
    #[command(after_help = "Example:
  grantwell trust suggest --token token.txt > rule.json
  grantwell client update deploy --trust rule.json")]
    Suggest(suggest::Suggest),
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { command, place } = arguments;
    let place = place.place()?;
    match command {
        Command::Explain(explain) => explain.run(&place).await,
        Command::Suggest(suggest) => suggest.run(&place).await,
    }
}
