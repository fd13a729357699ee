//! `grantwell client`: registers clients, changes them, and rotates their secrets.

mod create;
mod jwks_uri;
mod key;
mod keys;
mod list;
mod options;
mod secret;
mod show;
mod trust;
mod update;
mod which;

use clap::ArgGroup;

use grantwell::core::client::ClientStatus;

use crate::failure::Failure;
use crate::store::PlacesArguments;

/// `grantwell client …`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  grantwell client create --id myClient --scope write --default-scope write")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: PlacesArguments,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Registers a client and prints its secret, which is shown only this once
    ///
    /// Prints one JSON object with the members of RFC 7591, the secret among them. Keep the secret: afterwards the registry
    /// has only its digest (with --store aws, the secret stays in Secrets Manager). A running server knows the client within
    /// a minute.
    ///
    /// A resource server that may introspect every token of its realm has the scope am-introspect-all-tokens.
    #[command(after_help = "Examples:
  grantwell client create --id myClient --name 'My client' \\
      --contact alice@example.com --scope write --default-scope write \\
      --redirect-uri https://www.example.com:443/callback
  grantwell client create --id reports --scope read \\
      --access-token-format jwt --resource https://api.example.com/reports
  grantwell client create --id batch --scope read \\
      --auth-method private_key_jwt --jwks batch-public.json")]
    Create(Box<create::Create>),
    /// Lists the realm's clients in the order of their ids
    ///
    /// With --realm '*' it lists the clients of all realms, root's first. A client is listed if all of the filters let it through.
    #[command(after_help = "Examples:
  grantwell client list --output json --max-items 100
  grantwell client list --realm '*' --expiring 30d
  grantwell client list --realm '*' --unused 90d
  grantwell client list --owner alice --scope write --status active")]
    List(list::List),
    /// Shows a client's registration, without its secret
    #[command(after_help = "Example:
  grantwell client show myClient")]
    Show(show::Show),
    /// Changes the settings that you name in a client's registration
    ///
    /// All other settings stay as they are. A list replaces the list before it, and an empty value ('') removes what was
    /// set. A running server follows within a minute. If somebody else changes the client at the same time, the change is made again
    /// on what they have stored.
    #[command(
        override_usage = "grantwell client update [OPTIONS] <ID|--id <ID>> <WHAT TO CHANGE>...",
        after_help = "Examples:
  grantwell client update myClient --scope 'read write' --token-lifetime 900
  grantwell client update myClient --token-quota 1k/hour \\
      --token-quota-mode observe
  grantwell client update myClient --default-scope '' --revoke-tokens",
        group = ArgGroup::new(update::CHANGES).multiple(true).args(update::changes())
    )]
    Update(Box<update::Update>),
    /// Gives a client a new secret; the previous one stays valid until the next rotation
    ///
    /// Prints one JSON object with the new secret, which is shown only this once. The previous secret works beside it, so that
    /// the client can change over without an interruption. When it has, end the previous one with --revoke-previous, which
    /// makes no new secret, or let it end by itself with --previous-lifetime.
    ///
    /// If the new secret got lost before the application had it, use --replace-current: a second plain rotation would end the
    /// secret that the application still uses.
    #[command(after_help = "Examples:
  grantwell client rotate-secret myClient
  grantwell client rotate-secret myClient --previous-lifetime 24h
  grantwell client rotate-secret myClient --replace-current
  grantwell client rotate-secret myClient --revoke-previous")]
    RotateSecret(secret::RotateSecret),
    /// Makes key pairs for clients that authenticate with a key (private_key_jwt)
    #[command(subcommand)]
    Key(key::Key),
    /// Stops a client: it can no longer authenticate, and its tokens are inactive
    #[command(after_help = "Example:
  grantwell client disable myClient")]
    Disable(show::Show),
    /// Lets a disabled client work again, with the tokens it still has
    #[command(after_help = "Example:
  grantwell client enable myClient")]
    Enable(show::Show),
    /// Deletes a client and its secrets; its tokens become inactive
    ///
    /// On a terminal it asks first, unless you give --yes. A script is not asked.
    #[command(after_help = "Examples:
  grantwell client delete myClient
  grantwell client delete myClient --yes")]
    Delete(show::Delete),
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { command, place } = arguments;
    let places = place.places()?;
    match command {
        Command::Create(create) => create.run(&places.one()?).await,
        Command::List(list) => list.run(&places).await,
        Command::Show(show) => show.run(&places.one()?).await,
        Command::Update(update) => update.run(&places.one()?).await,
        Command::RotateSecret(rotate) => rotate.run(&places.one()?).await,
        Command::Key(key) => key.run(&places.one()?).await,
        Command::Disable(which) => which.set_status(&places.one()?, ClientStatus::Disabled).await,
        Command::Enable(which) => which.set_status(&places.one()?, ClientStatus::Active).await,
        Command::Delete(which) => which.run(&places.one()?).await,
    }
}
