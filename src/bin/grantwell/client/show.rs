//! `grantwell client show`, and the commands that show what became of a client: `disable`, `enable` and `delete`.

use serde::Serialize;

use grantwell::core::client::id::ClientId;
use grantwell::core::client::information::ClientInformation;
use grantwell::core::client::{Client, ClientStatus};
use grantwell::core::members;
use grantwell::core::realm::{RealmName, RealmSettings};

use super::which::WhichClient;
use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::store::Place;

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    client: WhichClient,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Serialize)]
struct Removal<'a> {
    client_id: &'a ClientId,
    realm: &'a RealmName,
    deleted: bool,
}

impl Show {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        print(&self.output, &store.management().client(&place.realm, self.client.id()?).await?)
    }

    pub(super) async fn set_status(self, place: &Place, status: ClientStatus) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        print(&self.output, &store.management().set_status(&place.realm, self.client.id()?, status).await?)
    }

    pub(super) async fn delete(self, place: &Place) -> Result<(), Failure> {
        let (store, client_id) = (place.open_existing().await?, self.client.id()?);
        store.management().delete(&place.realm, client_id).await?;
        let removal = Removal { client_id, realm: &place.realm, deleted: true };
        self.output.print(&removal, |removal| {
            format!("deleted client {} of realm {} and its secrets", removal.client_id, removal.realm)
        })
    }
}

/// Prints a registration.
pub(super) fn print(output: &OutputArguments, client: &Client) -> Result<(), Failure> {
    output.print(&ClientInformation::of(client), |information| output::members(information.members(), unset))
}

/// What to show for a member that is not set.
pub(super) fn unset(member: &str) -> &'static str {
    if members::names_of::<RealmSettings>().contains(&member) {
        "the realm's"
    } else if member.ends_with("_days") {
        "never"
    } else {
        ""
    }
}
