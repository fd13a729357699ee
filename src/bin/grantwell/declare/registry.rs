//! What is registered, as far as a plan has to know it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use grantwell::core::client::Client;
use grantwell::core::client::id::ClientId;
use grantwell::core::management::plan::{Declaration, Snapshot};
use grantwell::core::management::{Management, ManagementError};
use grantwell::core::realm::{Realm, RealmName};

use super::bar::Bar;
use crate::failure::Failure;

/// The realms that a declaration speaks of, with their clients; where it deletes, every realm with every client. Of a realm that has more
/// clients than [`WHOLE`], nothing is read beyond but the clients that are declared: a partition of 100,000 is not read
/// through, past which the functions would have to wait, to find that one of them is no longer declared.
pub(super) async fn snapshot(
    management: &Management,
    declaration: &Declaration,
    every_realm: bool,
) -> Result<Snapshot, Failure> {
    if every_realm {
        return of_realms(management, |_| true).await;
    }
    let named = declaration.realm_names();
    let read = async {
        let realms = realms(management, |realm| named.contains(realm)).await?;
        let reading = Reading::new();
        let read = realms.iter().map(|realm| read_clients(management, &realm.name, WHOLE, &reading));
        let read: Vec<ReadClients> = stream::iter(read).buffered(AT_ONCE).try_collect().await?;

        let (mut clients, mut beyond, mut in_part) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (ReadClients { clients: read, last }, Realm { name, .. }) in read.into_iter().zip(&realms) {
            clients.extend(read);
            if let Some(last) = last {
                let declared = declaration.clients.keys();
                beyond.extend(declared.filter(|(realm, client_id)| realm == name && *client_id > last).cloned());
                in_part.insert(name.clone());
            }
        }
        for some in beyond.chunks(TOLD) {
            clients.extend(management.clients_of_ids(some).await?);
            reading.has_read(some.len());
        }
        Ok(Snapshot::new(realms, clients).in_part(in_part).with_owners(management.owners().await?))
    };
    read.await.map_err(unread)
}

/// Every realm that is wanted, with all its clients, and every owner.
pub(super) async fn of_realms(
    management: &Management,
    is_wanted: impl Fn(&RealmName) -> bool,
) -> Result<Snapshot, Failure> {
    let read = async {
        let realms = realms(management, is_wanted).await?;
        let reading = Reading::new();
        let clients = realms.iter().map(|realm| read_clients(management, &realm.name, usize::MAX, &reading));
        let clients: Vec<ReadClients> = stream::iter(clients).buffered(AT_ONCE).try_collect().await?;
        let clients = clients.into_iter().flat_map(|read| read.clients);
        Ok(Snapshot::new(realms, clients).with_owners(management.owners().await?))
    };
    read.await.map_err(unread)
}

async fn realms(
    management: &Management,
    is_wanted: impl Fn(&RealmName) -> bool,
) -> Result<Vec<Realm>, ManagementError> {
    Ok(management.realms().await?.into_iter().filter(|realm| is_wanted(&realm.name)).collect())
}

/// Clients of one realm.
struct ReadClients {
    /// In ascending order of id.
    clients: Vec<Client>,
    /// The last of them, where there are more.
    last: Option<ClientId>,
}

/// The clients of a realm, as far as `at_most` of them go, and to the end of a page.
async fn read_clients(
    management: &Management,
    realm: &RealmName,
    at_most: usize,
    reading: &Reading,
) -> Result<ReadClients, ManagementError> {
    let mut read = ReadClients { clients: Vec::new(), last: None };
    loop {
        let page = management.page_of_clients(realm, read.last.as_ref(), PAGE).await?;
        reading.has_read(page.clients.len());
        read.clients.extend(page.clients);
        read.last = page.next;
        if read.last.is_none() || read.clients.len() >= at_most {
            return Ok(read);
        }
    }
}

/// What is not known is not planned.
fn unread(error: ManagementError) -> Failure {
    match Failure::from(error) {
        Failure::Sentence(sentence) => {
            Failure::new(format!("nothing was changed, because what is registered could not be read: {sentence}"))
        }
        other => other,
    }
}

/// How many clients have been read, for whoever waits.
struct Reading {
    clients: AtomicUsize,
    bar: Bar,
}

impl Reading {
    fn new() -> Self {
        Self { clients: AtomicUsize::new(0), bar: Bar::of_stderr() }
    }

    fn has_read(&self, more: usize) {
        let so_far = self.clients.fetch_add(more, Ordering::Relaxed) + more;
        self.bar.show(&format!("{so_far} clients read"));
    }
}

/// How many clients are read at a time: half of what DynamoDB answers with in one call.
const PAGE: usize = 500;
/// The most clients of a realm that is read through: four calls.
const WHOLE: usize = 2_000;
/// How many clients are read by their ids until it is told how far that is.
const TOLD: usize = 1_000;
/// How many realms are read at once. One partition answers with 3,000 reads a second, of which a page of clients takes a hundred.
const AT_ONCE: usize = 4;
