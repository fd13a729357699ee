//! `grantwell client list`.

use serde::{Serialize, Serializer};

use grantwell::core::client::Client;
use grantwell::core::client::id::ClientId;
use grantwell::core::client::information::ClientInformation;
use grantwell::core::realm::RealmName;

use super::show::unset;
use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::store::{Place, suggest};

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// How many clients to fetch from the store at a time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    page_size: u32,
    /// Continues where an earlier list with --max-items stopped
    #[arg(long, value_name = "CURSOR", alias = "starting-token")]
    cursor: Option<ClientId>,
    /// Stops after this many clients and prints how to continue [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_items: Option<u32>,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Serialize)]
struct ClientList<'a> {
    #[serde(serialize_with = "as_shown")]
    clients: &'a [Client],
    /// The cursor, under the name that scripts know.
    #[serde(rename = "next_page_token")]
    next: Option<&'a ClientId>,
}

impl List {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let at_most = self.max_items.map_or(usize::MAX, |most| most as usize);
        let page = store.management().clients(&place.realm, self.cursor, at_most, self.page_size as usize).await?;
        let list = ClientList { clients: &page.clients, next: page.next.as_ref() };
        self.output.print(&list, |list| list.table(&place.realm))
    }
}

impl ClientList<'_> {
    fn table(&self, realm: &RealmName) -> String {
        if self.clients.is_empty() {
            return format!(
                "realm {realm} has no clients here; register one with: {}",
                suggest("client create", realm)
            );
        }
        let row = |client: &Client| {
            let information = ClientInformation::of(client);
            let columns = ["client_id", "client_name", "status", "scope", "access_token_lifetime"];
            columns.map(|name| output::member_text(name, information.members().value(name), unset(name))).into()
        };
        let rows: Vec<_> = self.clients.iter().map(row).collect();
        // A generated id has 22 characters.
        let table = output::table(&["client_id", "name", "status", "scope", "lifetime"], 22, &rows);
        match self.next {
            Some(cursor) => format!("{table}\nThere are more; continue with: --cursor {cursor}"),
            None => table,
        }
    }
}

/// One after the other: all of them as they are shown would be several times as large as they are.
fn as_shown<S: Serializer>(clients: &[Client], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(clients.iter().map(ClientInformation::of))
}
