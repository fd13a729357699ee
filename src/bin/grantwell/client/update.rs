//! `grantwell client update`.

use clap::{ArgMatches, Args, Command, FromArgMatches, Id};

use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::management::ClientChange;

use super::options::Settings;
use super::show;
use super::which::WhichClient;
use crate::confirm::ConfirmArguments;
use crate::failure::Failure;
use crate::output::OutputArguments;
use crate::store::Place;
use crate::valid_after::ValidAfterArguments;
use crate::words;

#[derive(Debug, clap::Args)]
pub(super) struct Update {
    #[command(flatten)]
    client: WhichClient,
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    settings: Settings,
    /// Removes the client's own token lifetime, so that the realm's applies again
    #[arg(long, conflicts_with = "token_lifetime")]
    inherit_token_lifetime: bool,
    #[command(flatten)]
    valid_after: ValidAfterArguments,
    #[command(flatten)]
    confirm: ConfirmArguments,
    #[command(flatten)]
    output: OutputArguments,
}

/// Whether one of the options was given that change something.
#[derive(Debug)]
struct Named(bool);

impl Update {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        if !self.named.0 {
            return Err(Failure::Misuse(format!(
                "client update was told nothing to change of client '{}'; name a setting, such as --name or --scope (all of them: \
                 grantwell client update --help)",
                self.client.id()?
            )));
        }
        self.settings.check()?;
        let change = ClientChange {
            metadata: &|metadata| self.apply(metadata),
            names_signature: self.settings.name_signature(),
            names_secret_storage: self.settings.name_secret_storage(),
            secret_lifetime: self.settings.secret_lifetime,
            tokens_valid_after: self.valid_after.change(),
            ..ClientChange::NOTHING
        };
        let store = place.open_existing().await?;
        let whose = format!("client '{}' of realm '{}'", self.client.id()?, place.realm);
        self.valid_after.confirm(&self.confirm, &whose)?;
        let changed = store.management().update(&place.realm, self.client.id()?, &change).await?;
        words::tell(&changed.notices);
        self.settings.jwks_uri.warn_unless_fetched(&changed.record.metadata).await;
        self.valid_after.wait_until_over(changed.record.tokens_valid_after).await;
        show::print(&self.output, &changed.record, store.management()).await
    }

    fn apply(&self, metadata: &mut ClientMetadata) {
        self.settings.apply(metadata);
        if self.inherit_token_lifetime {
            metadata.access_token_lifetime = None;
        }
    }
}

impl FromArgMatches for Named {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(matches.contains_id(CHANGES)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Named {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

/// The options that change something.
pub(super) fn changes() -> Vec<Id> {
    let options = ValidAfterArguments::augment_args(Settings::augment_args(Command::new("update")));
    let named = options.get_arguments().map(|option| option.get_id().clone());
    named.chain(["inherit_token_lifetime".into()]).collect()
}

/// The name of their group.
pub(super) const CHANGES: &str = "changes";
