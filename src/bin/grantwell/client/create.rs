//! `grantwell client create`.

use grantwell::core::client::ClientStatus;
use grantwell::core::client::id::ClientId;
use grantwell::core::client::information::ClientInformation;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::management::Registration;

use super::options::Settings;
use super::secret::{SecretArguments, hand_out, secret_not_delivered};
use crate::failure::Failure;
use crate::output::JsonOutputArguments;
use crate::store::{IfAbsent, Place};
use crate::words;

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// The client's id: 1 to 128 of A-Z a-z 0-9 . _ @ - [default: 128 random bits]
    #[arg(long, value_name = "ID")]
    id: Option<ClientId>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    secret: SecretArguments,
    #[command(flatten)]
    output: JsonOutputArguments,
}

impl Create {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        self.settings.check()?;
        let mut metadata = ClientMetadata::new();
        self.settings.apply(&mut metadata);
        let registration = Registration {
            client_id: self.id,
            metadata,
            secret_lifetime: self.settings.secret_lifetime,
            secret: self.secret.given().await?,
            status: ClientStatus::Active,
            managed_by: None,
        };

        let is_only_copy = self.secret.is_only_copy(place);
        let store = place.store.open(IfAbsent::Create).await?;
        let registered = store.management().register(&place.realm, registration).await;
        let (registered, _store) = store.settle(registered).await?;

        // Before anything else can fail: nobody else has the secret.
        hand_out(&ClientInformation::created(&registered.client, registered.secret.as_ref()), is_only_copy)
            .map_err(|failure| secret_not_delivered(failure, &registered.client))?;
        words::tell(&registered.notices);
        self.settings.jwks_uri.warn_unless_fetched(&registered.client.metadata).await;
        Ok(())
    }
}
