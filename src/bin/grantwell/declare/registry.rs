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
/// clients than are read at a time, nothing is read beyond but the clients that are declared: a partition of 100,000 is not read
/// through, past which the functions would have to wait, to find that one of them is declared no longer.
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
        let pages = realms.iter().map(|realm| {
            let (name, reading) = (&realm.name, &reading);
            async move {
                let page = management.page_of_clients(name, None, PAGE).await?;
                reading.has_read(page.clients.len());
                Ok::<_, ManagementError>((name, page))
            }
        });
        let pages: Vec<_> = stream::iter(pages).buffer_unordered(AT_ONCE).try_collect().await?;

        let (mut clients, mut beyond, mut in_part) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (name, page) in pages {
            clients.extend(page.clients);
            if let Some(last) = page.next {
                let declared = declaration.clients.keys();
                beyond.extend(declared.filter(|(realm, client_id)| realm == name && *client_id > last).cloned());
                in_part.insert(name.clone());
            }
        }
        for some in beyond.chunks(TOLD) {
            clients.extend(management.clients_of_ids(some).await?);
            reading.has_read(some.len());
        }
        Ok(Snapshot::new(realms, clients).in_part(in_part))
    };
    read.await.map_err(unread)
}

/// Every realm that is wanted, with all its clients.
pub(super) async fn of_realms(
    management: &Management,
    is_wanted: impl Fn(&RealmName) -> bool,
) -> Result<Snapshot, Failure> {
    let read = async {
        let realms = realms(management, is_wanted).await?;
        let reading = Reading::new();
        let clients = realms.iter().map(|realm| every_client(management, &realm.name, &reading));
        let clients: Vec<Vec<_>> = stream::iter(clients).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(Snapshot::new(realms, clients.into_iter().flatten()))
    };
    read.await.map_err(unread)
}

async fn realms(
    management: &Management,
    is_wanted: impl Fn(&RealmName) -> bool,
) -> Result<Vec<Realm>, ManagementError> {
    Ok(management.realms().await?.into_iter().filter(|realm| is_wanted(&realm.name)).collect())
}

async fn every_client(
    management: &Management,
    realm: &RealmName,
    reading: &Reading,
) -> Result<Vec<Client>, ManagementError> {
    let (mut clients, mut cursor): (_, Option<ClientId>) = (Vec::new(), None);
    loop {
        let page = management.page_of_clients(realm, cursor.as_ref(), PAGE).await?;
        reading.has_read(page.clients.len());
        clients.extend(page.clients);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(clients);
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

/// How many clients are read at a time, and so the most of a realm that is read through. DynamoDB answers with some thousand in one call.
const PAGE: usize = 2_000;
/// How many clients are read by their ids until it is told how far that is.
const TOLD: usize = 1_000;
/// How many realms are read at once. Each is one partition, which answers a hundred calls a second of this size.
const AT_ONCE: usize = 8;
