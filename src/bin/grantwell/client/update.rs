//! `grantwell client update`.

use grantwell::core::client::ClientMetadata;
use grantwell::core::management::ClientChange;

use super::WhichClient;
use super::options::Settings;
use super::show;
use crate::access_token::AccessTokenArguments;
use crate::failure::Failure;
use crate::output::OutputArguments;
use crate::quota::QuotaArguments;
use crate::store::Place;
use crate::valid_after::ValidAfterArguments;
use crate::words;

/// The groups of options that change something, one of which is required.
pub(super) const CHANGES: [&str; 5] =
    [Settings::ID, AccessTokenArguments::ID, QuotaArguments::ID, ValidAfterArguments::ID, "inherit_token_lifetime"];

#[derive(Debug, clap::Args)]
pub(super) struct Update {
    #[command(flatten)]
    client: WhichClient,
    #[command(flatten)]
    settings: Settings,
    /// Removes the client's own token lifetime, so that the realm's applies again
    #[arg(long, conflicts_with = "token_lifetime")]
    inherit_token_lifetime: bool,
    #[command(flatten)]
    valid_after: ValidAfterArguments,
    #[command(flatten)]
    output: OutputArguments,
}

impl Update {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        self.settings.check()?;
        let change = ClientChange {
            metadata: &|metadata| self.apply(metadata),
            names_signing_alg: self.settings.name_signing_alg(),
            secret_lifetime: self.settings.secret_lifetime,
            tokens_valid_after: self.valid_after.change(),
        };
        let store = place.open_existing().await?;
        let changed = store.management().update(&place.realm, self.client.id()?, &change).await?;
        words::tell(&changed.notices);
        self.valid_after.wait_until_over(changed.record.tokens_valid_after).await;
        show::print(&self.output, &changed.record)
    }

    fn apply(&self, metadata: &mut ClientMetadata) {
        self.settings.apply(metadata);
        if self.inherit_token_lifetime {
            metadata.access_token_lifetime = None;
        }
    }
}
