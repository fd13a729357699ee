//! What is registered, as far as a plan has to know it.

use std::collections::BTreeSet;

use grantwell::core::management::Management;
use grantwell::core::management::plan::{Declaration, Snapshot};
use grantwell::core::realm::RealmName;

use crate::failure::Failure;

/// The realms that a declaration speaks of with all their clients; where it deletes, those of every realm.
pub(super) async fn snapshot(
    management: &Management,
    declaration: &Declaration,
    every_realm: bool,
) -> Result<Snapshot, Failure> {
    let named = declaration.realm_names();
    of_realms(management, |realm| every_realm || named.contains(realm)).await
}

/// Every realm, or one, with its clients, and every owner.
pub(super) async fn of_realms(
    management: &Management,
    is_wanted: impl Fn(&RealmName) -> bool,
) -> Result<Snapshot, Failure> {
    let realms: Vec<_> = management.realms().await?.into_iter().filter(|realm| is_wanted(&realm.name)).collect();
    let mut clients = Vec::new();
    for realm in realms.iter().map(|realm| &realm.name).collect::<BTreeSet<_>>() {
        clients.extend(management.clients(realm, None, usize::MAX, PAGE).await?.clients);
    }
    Ok(Snapshot::new(realms, clients).with_owners(management.owners().await?))
}

/// How many clients are read at a time.
const PAGE: usize = 500;
