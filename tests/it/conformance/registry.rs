//! Client registry and registrar: what one writes the other reads, and of two writers one wins.

use std::sync::Arc;

use grantwell::core::access_token::settings::TokenLifetime;
use grantwell::core::client::grant_type::GrantType;
use grantwell::core::client::{Client, ClientStatus};
use grantwell::core::owner::{Owner, OwnerDetails, OwnerStatus};
use grantwell::core::ports::{ClientBeside, RegistrarError};
use grantwell::core::quota::QuotaMode;
use grantwell::core::realm::Realm;
use grantwell::core::scope::Scope;
use grantwell::core::time::UnixSeconds;

use super::{NOW, RegistryPorts, assert_accepted, beside_current, client, client_id, generated, realm, realm_name};

/// A test for each case of the suite, on what `$open` evaluates to: an adapter on a store of its own.
macro_rules! registry_suite {
    ($open:expr $(; #[$attribute:meta])*) => {
        $crate::conformance::tests_of_cases! { $(#[$attribute])*, $open; registry:
            a_registration_reads_back_whole,
            a_registration_of_the_least_reads_back_whole,
            an_unknown_client_is_not_found,
            an_id_is_registered_once,
            of_two_registrations_at_once_one_wins,
            a_change_names_the_revision_it_changes,
            a_deleted_client_is_gone,
            an_id_starts_a_new_life_after_its_deletion,
            the_same_id_in_two_realms_is_two_clients,
            a_listing_pages_in_order_of_id,
            a_listing_is_of_one_realm,
            many_are_read_as_each_is_alone_and_nobody_else,
            a_realm_is_created_and_changed,
            a_realm_is_deleted_at_its_revision,
            a_client_is_deleted_as_it_was_seen_or_not_at_all,
            a_client_that_is_stopped_is_deleted_like_any_other,
            realms_are_listed_in_order_of_name,
            a_realm_and_a_client_of_it_are_read_together_as_they_are_alone,
            an_owner_is_created_changed_and_deleted,
            owners_are_listed_in_order_of_id_and_are_neither_realms_nor_clients,
        }
    };
}
pub(crate) use registry_suite;

pub(crate) async fn a_registration_reads_back_whole(ports: &RegistryPorts) {
    let (client, _) = ports.registered(&realm("alpha"), "myClient").await;
    assert_stored(ports, &client).await;
}

pub(crate) async fn a_registration_of_the_least_reads_back_whole(ports: &RegistryPorts) {
    let mut client = client(&realm("alpha"), "myClient");
    let least = &mut client.metadata;
    least.client_name = None;
    least.contacts.clear();
    least.redirect_uris.clear();
    least.scope = Scope::empty();
    least.default_scope = None;
    least.grant_types.clear();
    least.access_token_lifetime = None;
    least.client_secret_expires_at = UnixSeconds(0);
    least.client_secret_rotation_days = None;
    client.status = ClientStatus::Disabled;
    ports.registrar.register(&client, Some(&generated())).await.expect("registered");
    assert_stored(ports, &client).await;
}

pub(crate) async fn an_unknown_client_is_not_found(ports: &RegistryPorts) {
    ports.registered(&realm("alpha"), "myClient").await;
    // Ids are compared by case.
    for id in ["unknown", "MyClient", "myClient2", "myClien"] {
        let mut unknown = client(&realm("alpha"), id);
        unknown.revision = 2;
        assert_gone(ports, &unknown).await;
        assert_eq!(ports.registrar.replace(&unknown).await, Err(RegistrarError::NotFound));
        let deleted = ports.registrar.delete(&unknown.realm, &unknown.client_id).await;
        assert_eq!(deleted, Err(RegistrarError::NotFound));
        assert_gone(ports, &unknown).await;
    }
}

pub(crate) async fn an_id_is_registered_once(ports: &RegistryPorts) {
    let (first, secret) = ports.registered(&realm("alpha"), "myClient").await;
    let mut second = first.clone();
    second.metadata.client_name = Some("Another".to_owned());
    for _ in 0..2 {
        let registered = ports.registrar.register(&second, Some(&generated())).await;
        assert_eq!(registered, Err(RegistrarError::AlreadyExists));
    }
    // Not even the very same registration is a success: its caller would show a secret that is not stored.
    assert_eq!(ports.registrar.register(&first, Some(&generated())).await, Err(RegistrarError::AlreadyExists));
    assert_stored(ports, &first).await;
    let secrets = ports.secrets.secrets(&first).await.expect("read");
    assert_accepted(secrets.as_ref(), &secret, None);
}

pub(crate) async fn of_two_registrations_at_once_one_wins(ports: &RegistryPorts) {
    let client = client(&realm("alpha"), "myClient");
    let (left, right) = (generated(), generated());
    let (left_result, right_result) =
        tokio::join!(ports.registrar.register(&client, Some(&left)), ports.registrar.register(&client, Some(&right)));
    let winner = match (left_result, right_result) {
        (Ok(()), Err(RegistrarError::AlreadyExists)) => left,
        (Err(RegistrarError::AlreadyExists), Ok(())) => right,
        other => panic!("{other:?}"),
    };
    assert_stored(ports, &client).await;
    let secrets = ports.secrets.secrets(&client).await.expect("read");
    assert_accepted(secrets.as_ref(), &winner, None);
}

pub(crate) async fn a_change_names_the_revision_it_changes(ports: &RegistryPorts) {
    let (original, secret) = ports.registered(&realm("alpha"), "myClient").await;
    let mut changed = original.clone();
    changed.metadata.scope = "write".parse().expect("well formed");
    changed.metadata.access_token_lifetime = None;
    changed.status = ClientStatus::Disabled;
    changed.revision = 2;
    ports.registrar.replace(&changed).await.expect("replaced");
    assert_stored(ports, &changed).await;

    // The same change again, one that has not seen the last, and one from nowhere.
    for revision in [2, 1, 0, 4] {
        let late = Client { revision, ..original.clone() };
        assert_eq!(ports.registrar.replace(&late).await, Err(RegistrarError::Conflict), "revision {revision}");
    }
    assert_stored(ports, &changed).await;
    let secrets = ports.secrets.secrets(&original).await.expect("read");
    assert_accepted(secrets.as_ref(), &secret, None);
}

pub(crate) async fn a_deleted_client_is_gone(ports: &RegistryPorts) {
    let (client, _) = ports.registered(&realm("alpha"), "myClient").await;
    let (neighbour, neighbours_secret) = ports.registered(&realm("alpha"), "myClient2").await;
    ports.registrar.delete(&client.realm, &client.client_id).await.expect("deleted");
    assert_gone(ports, &client).await;
    let again = ports.registrar.delete(&client.realm, &client.client_id).await;
    assert_eq!(again, Err(RegistrarError::NotFound));

    assert_stored(ports, &neighbour).await;
    let secrets = ports.secrets.secrets(&neighbour).await.expect("read");
    assert_accepted(secrets.as_ref(), &neighbours_secret, None);
}

pub(crate) async fn an_id_starts_a_new_life_after_its_deletion(ports: &RegistryPorts) {
    let (first_life, _) = ports.registered(&realm("alpha"), "myClient").await;
    let (realm_name, id) = (&first_life.realm, &first_life.client_id);
    ports.registrar.rotate_secret(realm_name, id, &beside_current(&generated())).await.expect("rotated");
    ports.registrar.delete(realm_name, id).await.expect("deleted");

    let (second_life, secret) = ports.registered(&realm("alpha"), "myClient").await;
    assert_stored(ports, &second_life).await;
    // A change that was prepared in the first life, at the revision that the second happens to have.
    let late = Client { revision: 2, ..first_life.clone() };
    assert_eq!(ports.registrar.replace(&late).await, Err(RegistrarError::Conflict));
    assert_stored(ports, &second_life).await;
    assert_accepted(ports.secrets.secrets(&second_life).await.expect("read").as_ref(), &secret, None);
}

pub(crate) async fn the_same_id_in_two_realms_is_two_clients(ports: &RegistryPorts) {
    let (in_root, _) = ports.registered(&realm("root"), "myClient").await;
    let (in_alpha, _) = ports.registered(&realm("alpha"), "myClient").await;
    let changed = Client { revision: 2, status: ClientStatus::Disabled, ..in_alpha.clone() };
    ports.registrar.replace(&changed).await.expect("replaced");
    assert_stored(ports, &in_root).await;
    assert_stored(ports, &changed).await;

    ports.registrar.delete(&in_root.realm, &in_root.client_id).await.expect("deleted");
    assert_gone(ports, &in_root).await;
    assert_stored(ports, &changed).await;
}

pub(crate) async fn a_listing_pages_in_order_of_id(ports: &RegistryPorts) {
    let alpha = realm("alpha");
    // Ascending by byte, which is what a script that goes on after the last id relies on.
    let ids = [".a", "0", "A", "B", "_", "a", "a-b", "ab", "b"];
    for id in ids.iter().rev() {
        ports.registered(&alpha, id).await;
    }
    for limit in [1, 2, 3, 8, 9, 10, 1000] {
        let mut listed = Vec::new();
        let mut after = None;
        loop {
            let page = ports.registrar.list(&alpha.name, after.as_ref(), limit).await.expect("listed");
            assert!(page.clients.len() <= limit, "{limit}");
            listed.extend(page.clients.into_iter().map(|client| client.client_id.to_string()));
            let Some(next) = page.next else { break };
            assert!(listed.len() < ids.len(), "a page of {limit} says that there are more, and there are none");
            after = Some(next);
        }
        assert_eq!(listed, ids, "in pages of {limit}");
    }

    let after_a_stranger = ports.registrar.list(&alpha.name, Some(&client_id("a0")), 2).await.expect("listed");
    let listed: Vec<_> = after_a_stranger.clients.iter().map(|client| client.client_id.as_str()).collect();
    assert_eq!((listed, after_a_stranger.next), (vec!["ab", "b"], None));
    let after_the_last = ports.registrar.list(&alpha.name, Some(&client_id("b")), 2).await.expect("listed");
    assert!(after_the_last.clients.is_empty() && after_the_last.next.is_none());
}

pub(crate) async fn a_listing_is_of_one_realm(ports: &RegistryPorts) {
    let (in_root, _) = ports.registered(&realm("root"), "myClient").await;
    let (in_alpha, _) = ports.registered(&realm("alpha"), "myClient").await;
    ports.registrar.put_realm(&Realm { revision: 1, ..realm("alpha") }).await.expect("created");

    for (name, expected) in [("root", vec![in_root]), ("alpha", vec![in_alpha]), ("alph", vec![]), ("Alpha", vec![])] {
        let page = ports.registrar.list(&realm_name(name), None, 10).await.expect("listed");
        assert_eq!(page.clients, expected, "{name}");
        assert_eq!(page.next, None, "{name}");
    }
}

/// More than DynamoDB reads at a time.
pub(crate) async fn many_are_read_as_each_is_alone_and_nobody_else(ports: &RegistryPorts) {
    let mut registered = Vec::new();
    for (realm_name, id) in [("alpha", "c001"), ("alpha", "c150"), ("beta", "c001"), ("beta", "c260"), ("root", "c001")]
    {
        registered.push(ports.registered(&realm(realm_name), id).await.0);
    }
    ports.registered(&realm("gamma"), "c001").await;
    assert_eq!(ports.registrar.read_many(&[]).await, Ok(vec![]));

    let asked = (0..270).flat_map(|number| ["alpha", "beta", "root"].map(|realm| (realm, format!("c{number:03}"))));
    let mut asked: Vec<_> = asked.map(|(realm, id)| (realm_name(realm), client_id(&id))).collect();
    // Some twice, and one in another case.
    asked.extend_from_within(..10);
    asked.push((realm_name("alpha"), client_id("C001")));
    let mut read = ports.registrar.read_many(&asked).await.expect("read");
    read.sort_by_key(|client| (client.realm.clone(), client.client_id.clone()));
    for (read, registered) in read.iter().zip(&registered) {
        let alone = ports.registrar.read(&registered.realm, &registered.client_id).await;
        assert_eq!(alone.as_ref(), Ok(read));
    }
    assert_eq!(read.len(), registered.len());
}

pub(crate) async fn a_realm_is_created_and_changed(ports: &RegistryPorts) {
    let mut alpha = realm("alpha");
    assert_eq!(ports.registrar.read_realm(&alpha.name).await, Ok(None));
    assert_eq!(ports.registry.realm(&alpha.name).await, Ok(None));

    // A change of what is not there.
    alpha.revision = 2;
    assert_eq!(ports.registrar.put_realm(&alpha).await, Err(RegistrarError::Conflict));
    assert_eq!(ports.registrar.read_realm(&alpha.name).await, Ok(None));

    alpha.revision = 1;
    ports.registrar.put_realm(&alpha).await.expect("created");
    assert_eq!(ports.registrar.read_realm(&alpha.name).await, Ok(Some(alpha.clone())));
    assert_eq!(ports.registrar.put_realm(&alpha).await, Err(RegistrarError::Conflict), "it exists by now");

    let mut changed = alpha.clone();
    changed.settings.default_scope = Some("write".parse().expect("well formed"));
    changed.settings.allowed_scope = Some("read write".parse().expect("well formed"));
    changed.settings.access_token_lifetime = Some(TokenLifetime::new(60).expect("in range"));
    changed.settings.grant_types = Some([GrantType::client_credentials()].into());
    changed.settings.token_quota = Some("5/day".parse().expect("a quota"));
    changed.settings.token_quota_mode = Some(QuotaMode::Observe);
    changed.settings.tokens_valid_after = NOW;
    changed.revision = 2;
    ports.registrar.put_realm(&changed).await.expect("changed");
    for revision in [1, 2, 4] {
        let late = Realm { revision, ..alpha.clone() };
        assert_eq!(ports.registrar.put_realm(&late).await, Err(RegistrarError::Conflict), "revision {revision}");
    }
    assert_eq!(ports.registrar.read_realm(&alpha.name).await, Ok(Some(changed.clone())));
    assert_eq!(ports.registry.realm(&alpha.name).await, Ok(Some(Arc::new(changed))));
}

/// A store may leave the client out, and must not say of it what is not so.
pub(crate) async fn a_realm_and_a_client_of_it_are_read_together_as_they_are_alone(ports: &RegistryPorts) {
    let alpha = Realm { revision: 1, ..realm("alpha") };
    ports.registrar.put_realm(&alpha).await.expect("created");
    for owner in ["alpha", "beta"] {
        ports.registered(&realm(owner), "myClient").await;
    }
    for (name, id) in
        [("alpha", "myClient"), ("alpha", "nobody"), ("beta", "myClient"), ("gamma", "myClient"), ("root", "alpha")]
    {
        let (name, id) = (realm_name(name), client_id(id));
        let alone = (ports.registry.realm(&name).await, ports.registry.client(&name, &id).await);
        let together = ports.registry.realm_and_client(&name, &id).await.expect("read");
        assert_eq!(Ok(together.realm), alone.0, "{name}");
        if let ClientBeside::Said(client) = together.client {
            assert_eq!(Ok(client), alone.1, "{name} {id}");
        }
    }
    assert!(ports.registry.realm(&alpha.name).await.expect("read").is_some(), "one of them is there");
}

pub(crate) async fn a_client_is_deleted_as_it_was_seen_or_not_at_all(ports: &RegistryPorts) {
    let (client, _) = ports.registered(&realm("alpha"), "myClient").await;
    let stopped = Client { status: ClientStatus::Disabled, revision: client.revision + 1, ..client };
    ports.registrar.replace(&stopped).await.expect("stopped");
    let adopted = Client { status: ClientStatus::Active, revision: stopped.revision + 1, ..stopped.clone() };
    ports.registrar.replace(&adopted).await.expect("somebody else's");
    assert_eq!(ports.registrar.delete_unchanged(&stopped).await, Err(RegistrarError::Conflict));
    assert_eq!(ports.registrar.read(&adopted.realm, &adopted.client_id).await, Ok(adopted.clone()));
    let again = Client { status: ClientStatus::Disabled, revision: adopted.revision + 1, ..adopted };
    ports.registrar.replace(&again).await.expect("stopped");
    assert_eq!(ports.registrar.delete_unchanged(&again).await, Ok(()));
    assert_gone(ports, &again).await;
    assert_eq!(ports.registrar.delete_unchanged(&again).await, Err(RegistrarError::NotFound));
}

pub(crate) async fn a_realm_is_deleted_at_its_revision(ports: &RegistryPorts) {
    let first = Realm { revision: 1, ..realm("alpha") };
    ports.registrar.put_realm(&first).await.expect("created");
    let second = Realm { revision: 2, ..realm("alpha") };
    ports.registrar.put_realm(&second).await.expect("changed");
    ports.registrar.put_realm(&Realm { revision: 1, ..realm("beta") }).await.expect("created");
    let late = ports.registrar.delete_realm(&first).await;
    assert_eq!(late, Err(RegistrarError::Conflict), "somebody has changed it since");
    assert_eq!(ports.registrar.read_realm(&first.name).await, Ok(Some(second.clone())));

    // Run again it ends in the same state.
    for _ in 0..2 {
        assert_eq!(ports.registrar.delete_realm(&second).await, Ok(()));
        assert_eq!(ports.registrar.read_realm(&first.name).await, Ok(None));
        assert_eq!(ports.registry.realm(&first.name).await, Ok(None));
    }
    let left = ports.registrar.list_realms().await.expect("listed");
    assert_eq!(left.iter().map(|realm| realm.name.as_str()).collect::<Vec<_>>(), ["beta"]);
    ports.registrar.put_realm(&first).await.expect("a new life");
    assert_eq!(ports.registrar.read_realm(&first.name).await, Ok(Some(first)));
}

pub(crate) async fn a_client_that_is_stopped_is_deleted_like_any_other(ports: &RegistryPorts) {
    let (client, _) = ports.registered(&realm("alpha"), "myClient").await;
    let stopped = Client { status: ClientStatus::Disabled, revision: client.revision + 1, ..client };
    ports.registrar.replace(&stopped).await.expect("stopped");
    ports.registrar.delete(&stopped.realm, &stopped.client_id).await.expect("deleted");
    assert_gone(ports, &stopped).await;
    let again = ports.registrar.delete(&stopped.realm, &stopped.client_id).await;
    assert_eq!(again, Err(RegistrarError::NotFound));
}

pub(crate) async fn realms_are_listed_in_order_of_name(ports: &RegistryPorts) {
    assert_eq!(ports.registrar.list_realms().await, Ok(vec![]));
    let names = ["Beta", "alpha", "beta", "root"];
    for name in names.iter().rev() {
        ports.registrar.put_realm(&Realm { revision: 1, ..realm(name) }).await.expect("created");
    }
    ports.registered(&realm("root"), "myClient").await;
    let realms = ports.registrar.list_realms().await.expect("listed");
    assert_eq!(realms.iter().map(|realm| realm.name.as_str()).collect::<Vec<_>>(), names);
}

pub(crate) async fn an_owner_is_created_changed_and_deleted(ports: &RegistryPorts) {
    let alice = owner("alice");
    assert_eq!(ports.registrar.read_owner(&alice.owner).await, Ok(None));
    let changed = Owner { revision: 2, status: OwnerStatus::Disabled, ..alice.clone() };
    assert_eq!(
        ports.registrar.put_owner(&changed).await,
        Err(RegistrarError::Conflict),
        "a change of what is not there"
    );
    assert_eq!(ports.registrar.delete_owner(&alice).await, Err(RegistrarError::NotFound));

    ports.registrar.put_owner(&alice).await.expect("created");
    assert_eq!(ports.registrar.read_owner(&alice.owner).await, Ok(Some(alice.clone())));
    assert_eq!(ports.registrar.put_owner(&alice).await, Err(RegistrarError::Conflict), "it exists by now");
    ports.registrar.put_owner(&changed).await.expect("changed");
    for revision in [0, 1, 2, 4] {
        let late = Owner { revision, ..alice.clone() };
        assert_eq!(ports.registrar.put_owner(&late).await, Err(RegistrarError::Conflict), "revision {revision}");
    }
    assert_eq!(ports.registrar.read_owner(&alice.owner).await, Ok(Some(changed.clone())));

    // Somebody has changed it since it was read.
    assert_eq!(ports.registrar.delete_owner(&alice).await, Err(RegistrarError::Conflict));
    ports.registrar.delete_owner(&changed).await.expect("deleted");
    assert_eq!(ports.registrar.read_owner(&alice.owner).await, Ok(None));
    assert_eq!(ports.registrar.delete_owner(&changed).await, Err(RegistrarError::NotFound));
}

pub(crate) async fn owners_are_listed_in_order_of_id_and_are_neither_realms_nor_clients(ports: &RegistryPorts) {
    assert_eq!(ports.registrar.list_owners().await, Ok(vec![]));
    ports.registered(&realm("root"), "alice").await;
    ports.registrar.put_realm(&Realm { revision: 1, ..realm("alice") }).await.expect("created");
    let ids = ["Bob", "alice", "alice@example.com", "bob"];
    for id in ids.iter().rev() {
        ports.registrar.put_owner(&owner(id)).await.expect("created");
    }
    let owners = ports.registrar.list_owners().await.expect("listed");
    assert_eq!(owners.iter().map(|owner| owner.owner.as_str()).collect::<Vec<_>>(), ids);
    assert_eq!(ports.registrar.list_realms().await.expect("listed").len(), 1);
    assert_eq!(ports.registrar.list(&realm("root").name, None, 10).await.expect("listed").clients.len(), 1);
}

fn owner(id: &str) -> Owner {
    let details = OwnerDetails {
        name: Some("Alice, \"quoted\" and Zoë".parse().expect("a name")),
        email: Some("alice@example.com".parse().expect("an address")),
        aws_principals: ["arn:aws:iam::111122223333:role/teams/Orders".parse().expect("an ARN")].into(),
    };
    Owner::new(id.parse().expect("an id"), details, NOW)
}

async fn assert_stored(ports: &RegistryPorts, client: &Client) {
    assert_eq!(ports.registrar.read(&client.realm, &client.client_id).await, Ok(client.clone()));
    let read = ports.registry.client(&client.realm, &client.client_id).await;
    assert_eq!(read, Ok(Some(Arc::new(client.clone()))));
}

async fn assert_gone(ports: &RegistryPorts, client: &Client) {
    assert_eq!(ports.registrar.read(&client.realm, &client.client_id).await, Err(RegistrarError::NotFound));
    assert_eq!(ports.registry.client(&client.realm, &client.client_id).await, Ok(None));
    assert!(ports.secrets.secrets(client).await.expect("read").is_none());
}
