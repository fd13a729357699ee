//! DynamoDB and Secrets Manager, on an emulator that `AWS_ENDPOINT_URL` names: the suites, and what only these two
//! services can do wrong.
#![cfg(feature = "aws")]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_secretsmanager::Client as SecretsManager;
use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType};
use grantwell::aws::sdk;
use grantwell::aws::store::admin_log::DynamoAdminLog;
use grantwell::aws::store::keys::{DynamoPublishedKeys, SecretsManagerKeys};
use grantwell::aws::store::quotas::DynamoQuotas;
use grantwell::aws::store::registrar::AwsRegistrar;
use grantwell::aws::store::registry::DynamoRegistry;
use grantwell::aws::store::registry_id::RegistryIdentity;
use grantwell::aws::store::remote_keys::DynamoKeyCopies;
use grantwell::aws::store::replay_guard::DynamoReplayGuard;
use grantwell::aws::store::secrets::AwsSecrets;
use grantwell::aws::store::tokens::DynamoTokens;
use grantwell::aws::store::use_marks::DynamoUseMarks;
use grantwell::core::access_token::record::{Revocation, StoredToken};
use grantwell::core::admin_log::{Actor, Face};
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::client::secret_storage::SecretStorage;
use grantwell::core::client::{Client, ClientStatus};
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::copy::{CopyId, KeptKeys};
use grantwell::core::keys::keyring::Keyring;
use grantwell::core::keys::set::KeySet;
use grantwell::core::management::{Logbook, Logging};
use grantwell::core::port_error::PortError;
use grantwell::core::ports::{
    ClientRegistry as _, Clock, Denylist as _, KeyCopies, KeyStore as _, KeyStoreError, QuotaCounter, Registrar as _,
    RegistrarError, ReplayGuard, SecretSource as _, SigningKeySource as _, TokenStore as _, UseMarks,
    VerificationKeySource as _,
};
use grantwell::core::quota::QuotaWindow;
use grantwell::core::random::Random as _;
use grantwell::core::realm::Realm;
use grantwell::core::time::UnixSeconds;
use grantwell::core::trust::lookups::Lookups;
use grantwell::system::{SystemClock, SystemRandom};

use crate::support::logging::logging_as;

use super::key_copies;
use super::key_store::{OLDER_KEYS, PRIVATE_MEMBERS, ROTATED_AT, key_set};
use super::{
    FixedClock, KeyPorts, NOW, Opened, OpenedKeys, RegistryPorts, TokenPorts, assert_accepted, beside_current, client,
    client_id, generated, realm, realm_name,
};

mod moving;
mod ownership;
mod rotation;

mod tokens {
    use super::super::denylist::denylist_suite;
    use super::super::token_store::token_store_suite;

    token_store_suite!(super::dynamo_tokens().await; #[ignore = "needs the AWS emulator: make test"]);
    denylist_suite!(super::dynamo_tokens().await; #[ignore = "needs the AWS emulator: make test"]);
}

mod quotas {
    use super::super::quota_counter::quota_counter_suite;

    quota_counter_suite!(super::quotas().await; #[ignore = "needs the AWS emulator: make test"]);
}

mod use_marks {
    use super::super::use_marks::use_marks_suite;

    use_marks_suite!(super::use_marks().await; #[ignore = "needs the AWS emulator: make test"]);
}

mod dynamo_key_copies {
    use super::super::key_copies::key_copies_suite;

    key_copies_suite!(super::dynamo_key_copies().await; #[ignore = "needs the AWS emulator: make test"]);
}

mod replay_guard {
    use super::super::replay_guard::replay_guard_suite;

    replay_guard_suite!(super::replay_guard().await; #[ignore = "needs the AWS emulator: make test"]);
}

mod registry {
    use super::super::admin_log::admin_log_suite;
    use super::super::registry::registry_suite;
    use super::super::secrets::secrets_suite;

    admin_log_suite!(super::registry_ports().await; #[ignore = "needs the AWS emulator: make test"]);
    registry_suite!(super::registry_ports().await; #[ignore = "needs the AWS emulator: make test"]);
    secrets_suite!(super::registry_ports().await; #[ignore = "needs the AWS emulator: make test"]);
}

mod digests {
    use super::super::secrets::secrets_suite;

    secrets_suite!(super::digest_ports().await; #[ignore = "needs the AWS emulator: make test"]);

    /// Here there are no labels to mistake.
    #[tokio::test]
    #[ignore = "needs the AWS emulator: make test"]
    async fn a_lost_secret_is_replaced_beside_the_previous_one() {
        let opened = super::digest_ports().await;
        super::super::secrets::a_lost_secret_is_replaced_beside_the_previous_one(&opened.ports).await;
    }
}

mod keys {
    use super::super::key_store::key_store_suite;

    key_store_suite!(super::key_ports().await; #[ignore = "needs the AWS emulator: make test"]);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_secret_left_over_from_an_earlier_client_is_not_accepted() {
    let stack = Stack::create().await;
    for (id, is_scheduled_for_deletion) in [("kept", false), ("deleted", true)] {
        let (earlier, name) = (client(&realm("alpha"), id), format!("{}/alpha/clients/{id}", stack.name));
        stack.registrar().register(&earlier, Some(&generated())).await.expect("registered");
        let rotated =
            stack.registrar().rotate_secret(&earlier.realm, &earlier.client_id, &beside_current(&generated())).await;
        rotated.expect("rotated");
        // As a deletion leaves it that fails halfway.
        stack.delete_item("alpha", &format!("client#{id}")).await;
        if is_scheduled_for_deletion {
            stack.secrets_manager.delete_secret().secret_id(&name).send().await.expect("scheduled");
            let secrets = stack.secrets().secrets(&earlier).await;
            assert!(secrets.expect("read").is_none(), "a secret scheduled for deletion is gone");
        }

        let (client, secret) = (client(&realm("alpha"), id), generated());
        stack.registrar().register(&client, Some(&secret)).await.expect("registered");
        let secrets = stack.secrets().secrets(&client).await.expect("read");
        assert_accepted(secrets.as_ref(), &secret, None);
        assert!(stack.secrets().secrets(&earlier).await.expect("read").is_none(), "nothing is the earlier client's");
        assert_eq!(stack.registrar().read(&client.realm, &client.client_id).await, Ok(client));
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_registration_whose_secret_cannot_be_stored_is_taken_back() {
    let stack = Stack::create().await;
    let client = client(&realm("alpha"), "myClient");
    let registered = stack.registrar_without_secrets_manager().register(&client, Some(&generated())).await;
    let detail = "CreateSecret: no connection".to_owned();
    let expected = RegistrarError::Port(PortError::Unavailable { service: "Secrets Manager", detail });
    assert_eq!(registered, Err(expected));
    assert_eq!(stack.registrar().read(&client.realm, &client.client_id).await, Err(RegistrarError::NotFound));
    stack.registrar().register(&client, Some(&generated())).await.expect("registered when Secrets Manager is back");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the AWS emulator: make test"]
async fn a_client_is_disabled_until_its_secret_is_stored() {
    let stack = Stack::create().await;
    let client = client(&realm("alpha"), "myClient");
    // Accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let registrar = stack.registrar_with(stack.secrets_manager_at(&silent));
    let registration = client.clone();
    let waiting = tokio::spawn(async move { registrar.register(&registration, Some(&generated())).await });
    let deadline = Instant::now() + Duration::from_secs(30);
    let stored = loop {
        assert!(Instant::now() < deadline, "the registration is stored before the secret");
        match stack.registrar().read(&client.realm, &client.client_id).await {
            Ok(stored) => break stored,
            Err(RegistrarError::NotFound) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(stored, client.begun());
    assert!(stored.is_incomplete());
    // As if the operator's machine went down: nothing takes the registration back, and nothing accepts the client.
    waiting.abort();
}

/// More than the 16 MB of an answer, so that DynamoDB leaves some of the clients out.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the AWS emulator: make test"]
async fn what_dynamodb_leaves_out_of_a_batch_is_asked_for_again() {
    let stack = Stack::create().await;
    let mut asked = Vec::new();
    for number in 0..60 {
        let mut client = client(&realm("alpha"), &format!("c{number:02}"));
        client.metadata.client_secret_storage = Some(SecretStorage::Digest);
        client.metadata.client_secret_rotation_days = None;
        stack.registrar().register(&client, Some(&generated())).await.expect("registered");
        let request = stack.dynamodb.update_item().table_name(&stack.registry_table);
        let request = request.key("realm", AttributeValue::S("alpha".to_owned()));
        let request = request.key("item", AttributeValue::S(format!("client#c{number:02}")));
        let request = request.update_expression("SET #ballast = :ballast");
        let request = request.expression_attribute_names("#ballast", "of_a_later_version");
        let ballast = AttributeValue::S("x".repeat(350_000));
        request.expression_attribute_values(":ballast", ballast).send().await.expect("made large");
        asked.push((client.realm.clone(), client.client_id.clone()));
    }
    let mut read = stack.registrar().read_many(&asked).await.expect("read");
    read.sort_by_key(|client| client.client_id.clone());
    let read: Vec<_> = read.into_iter().map(|client| (client.realm, client.client_id)).collect();
    assert_eq!(read, asked);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_deletion_that_failed_halfway_is_completed_by_the_next() {
    let stack = Stack::create().await;
    let (client, secret) = (client(&realm("alpha"), "myClient"), generated());
    stack.registrar().register(&client, Some(&secret)).await.expect("registered");
    let (realm, id) = (&client.realm, &client.client_id);

    let deleted = stack.registrar_without_secrets_manager().delete(realm, id).await;
    assert!(matches!(deleted, Err(RegistrarError::Port(PortError::Unavailable { .. }))), "{deleted:?}");
    assert_eq!(stack.registrar().read(realm, id).await, Err(RegistrarError::NotFound), "the registration goes first");
    assert!(stack.secrets().secrets(&client).await.expect("read").is_some());

    assert_eq!(stack.registrar().delete(realm, id).await, Err(RegistrarError::NotFound));
    assert!(stack.secrets().secrets(&client).await.expect("read").is_none());
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_lost_secret_is_repaired_by_a_rotation() {
    let stack = Stack::create().await;
    let (client, secret) = (client(&realm("alpha"), "myClient"), generated());
    stack.registrar().register(&client, Some(&generated())).await.expect("registered");
    let name = format!("{}/alpha/clients/myClient", stack.name);
    let lost = stack.secrets_manager.delete_secret().secret_id(name).force_delete_without_recovery(true);
    lost.send().await.expect("deleted");
    assert!(stack.secrets().secrets(&client).await.expect("read").is_none());
    stack.registrar().rotate_secret(&client.realm, &client.client_id, &beside_current(&secret)).await.expect("rotated");
    let secrets = stack.secrets().secrets(&client).await.expect("read");
    assert_accepted(secrets.as_ref(), &secret, None);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_secret_of_another_form_is_corrupt_and_reaches_no_error() {
    let stack = Stack::create().await;
    let client = client(&realm("alpha"), "myClient");
    let name = format!("{}/alpha/clients/myClient", stack.name);
    let text = serde_json::json!({
        "client_id": "myClient", "client_secret": "good-good-good-good", "registration_id": client.registration_id,
    })
    .to_string();
    stack.secrets_manager.create_secret().name(&name).secret_string(&text).send().await.expect("created");
    let good = ClientSecret::given("good-good-good-good", false).expect("a secret");
    for broken in ["canary", r#"{"client_id":"canary","client_secret":"canary"}"#] {
        let put = stack.secrets_manager.put_secret_value().secret_id(&name).secret_string(broken);
        put.send().await.expect("put");
        let error = stack.secrets().secrets(&client).await.expect_err("corrupt");
        assert!(matches!(error, PortError::Corrupt { service: "Secrets Manager", .. }), "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");

        // Once corrected, the broken version is the previous one. It is not accepted, and locks nobody out.
        let put = stack.secrets_manager.put_secret_value().secret_id(&name).secret_string(&text);
        put.send().await.expect("put");
        assert_accepted(stack.secrets().secrets(&client).await.expect("read").as_ref(), &good, None);
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn an_item_of_another_form_is_corrupt_and_reaches_no_error() {
    let stack = Stack::create().await;
    let client = client(&realm("alpha"), "myClient");
    stack.registrar().register(&client, Some(&generated())).await.expect("registered");
    stack.overwrite("alpha", "client#myClient", "status", AttributeValue::S("canary".to_owned())).await;

    let detail = "a client registration with an attribute of the wrong form".to_owned();
    let expected = PortError::Corrupt { service: "DynamoDB", detail };
    let registry = stack.registry();
    assert_eq!(registry.client(&client.realm, &client.client_id).await, Err(expected.clone()));
    let read = stack.registrar().read(&client.realm, &client.client_id).await;
    assert_eq!(read, Err(RegistrarError::Port(expected)));
    let listed = stack.registrar().list(&client.realm, None, 10).await.expect_err("corrupt");
    let expected = "DynamoDB holds an item that cannot be read: client#myClient with an attribute of the wrong form";
    assert_eq!(listed.to_string(), expected, "an operator has to find it");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_row_copied_by_hand_gives_nobody_anothers_rights() {
    let stack = Stack::create().await;
    let client = client(&realm("alpha"), "myClient");
    stack.registrar().register(&client, Some(&generated())).await.expect("registered");
    let mut item = stack.item("alpha", "client#myClient").await;
    item.insert("item".to_owned(), AttributeValue::S("client#other".to_owned()));
    let put = stack.dynamodb.put_item().table_name(&stack.registry_table).set_item(Some(item));
    put.send().await.expect("put");

    let error = stack.registry().client(&client.realm, &client_id("other")).await.expect_err("corrupt");
    assert!(matches!(error, PortError::Corrupt { service: "DynamoDB", .. }), "{error}");
    let listed = stack.registrar().list(&client.realm, None, 10).await.expect_err("corrupt");
    assert!(listed.to_string().ends_with("client#other with the name of another"), "{listed}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn the_tables_hold_no_credential() {
    let stack = Stack::create().await;
    let (client, secret) = (client(&realm("alpha"), "myClient"), generated());
    stack.registrar().register(&client, Some(&secret)).await.expect("registered");
    let item = format!("{:?}", stack.item("alpha", "client#myClient").await);
    assert!(item.contains("myClient") && !item.contains(secret.expose_client_secret()), "{item}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_long_realm_is_listed_across_answers_of_a_megabyte() {
    let stack = Stack::create().await;
    // Registrations as large as they get, put in directly: a hundred secrets would take a while.
    let template = Client {
        metadata: ClientMetadata {
            contacts: vec!["o".repeat(200); 100],
            ..client(&realm("alpha"), "template").metadata
        },
        ..client(&realm("alpha"), "template")
    };
    stack.registrar().register(&template, Some(&generated())).await.expect("registered");
    let item = stack.item("alpha", "client#template").await;
    for number in 0..100 {
        let mut item = item.clone();
        item.insert("item".to_owned(), AttributeValue::S(format!("client#{number:03}")));
        item.insert("client_id".to_owned(), AttributeValue::S(format!("{number:03}")));
        let put = stack.dynamodb.put_item().table_name(&stack.registry_table).set_item(Some(item));
        put.send().await.expect("put");
    }
    let page = stack.registrar().list(&template.realm, None, 1000).await.expect("listed");
    assert_eq!((page.clients.len(), page.next), (101, None));
    let page = stack.registrar().list(&template.realm, None, 100).await.expect("listed");
    assert_eq!((page.clients.len(), page.next), (100, Some(client_id("099"))));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn what_aws_refuses_is_unavailable_and_says_what_to_do() {
    let stack = Stack::create().await;
    let detail = "GetItem: ResourceNotFoundException (the table does not exist in this account and region)".to_owned();
    let expected = PortError::Unavailable { service: "DynamoDB", detail };
    let registry = DynamoRegistry::new(stack.dynamodb.clone(), "no-such-table");
    assert_eq!(registry.realm(&realm_name("alpha")).await, Err(expected.clone()));
    let registrar = AwsRegistrar::new(
        stack.dynamodb.clone(),
        stack.secrets_manager.clone(),
        "no-such-table",
        &stack.name,
        Arc::new(SystemRandom),
    );
    let read = registrar.read(&realm_name("alpha"), &client_id("myClient")).await;
    assert_eq!(read, Err(RegistrarError::Port(expected)));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_table_is_whole_since_somebody_issued_from_it_and_until_then_since_now() {
    let stack = Stack::create().await;
    let (clock, reader_clock) = (SettableClock::at(SystemClock.now()), SettableClock::at(SystemClock.now()));
    let reader = stack.tokens(reader_clock.clone());
    for _ in 0..2 {
        let now = reader_clock.pass(1);
        assert_eq!(reader.whole_since().await, Ok(now), "who reads writes nothing down");
    }
    clock.pass(10);
    let since = clock.now();
    let issuer = stack.tokens(clock.clone()).keeping_whole_since();
    assert_eq!(issuer.whole_since().await, Ok(since));
    assert_eq!(reader.whole_since().await, Ok(since));
    clock.pass(5);
    let other = stack.tokens(clock.clone()).keeping_whole_since();
    assert_eq!(other.whole_since().await, Ok(since), "it is written down once");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_table_that_lost_its_items_is_whole_since_then_and_a_process_learns_it_within_a_minute() {
    let stack = Stack::create().await;
    let clock = SettableClock::at(SystemClock.now());
    let issuer = stack.tokens(clock.clone()).keeping_whole_since();
    let reader = stack.tokens(clock.clone());
    let since = issuer.whole_since().await.expect("written");
    assert_eq!(reader.whole_since().await, Ok(since));
    stack.delete_token_item("store#whole-since").await;
    clock.pass(59);
    assert_eq!((issuer.whole_since().await, reader.whole_since().await), (Ok(since), Ok(since)), "remembered");
    let lost = clock.pass(1);
    assert_eq!(reader.whole_since().await, Ok(lost), "since now, where nobody says since when");
    assert_eq!(issuer.whole_since().await, Ok(lost));
    clock.pass(3600);
    assert_eq!((issuer.whole_since().await, reader.whole_since().await), (Ok(lost), Ok(lost)));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_table_that_a_backup_brought_back_is_not_whole_since_before() {
    let stack = Stack::create().await;
    let before = stack.tokens(SystemClock).keeping_whole_since().whole_since().await.expect("written");
    let backup = stack.dynamodb.create_backup().table_name(&stack.token_table).backup_name("tokens").send().await;
    let backup = backup.expect("a backup").backup_details.expect("details").backup_arn;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    // Under its own name, as a stack needs it, and with all its items.
    stack.dynamodb.delete_table().table_name(&stack.token_table).send().await.expect("deleted");
    let restore = stack.dynamodb.restore_table_from_backup().target_table_name(&stack.token_table).backup_arn(backup);
    restore.send().await.expect("restored");

    let now = SystemClock.now();
    assert!(now > before);
    assert!(stack.tokens(SystemClock).whole_since().await.expect("known") >= now);
    let since = stack.tokens(SystemClock).keeping_whole_since().whole_since().await.expect("written");
    assert!(since >= now, "{since}: {before} is what the backup says");
    assert_eq!(stack.tokens(SystemClock).whole_since().await, Ok(since));
}

/// One of each type that an attribute can have.
fn of_each_type() -> Vec<AttributeValue> {
    vec![
        AttributeValue::S("text".to_owned()),
        AttributeValue::S(String::new()),
        AttributeValue::N("1".to_owned()),
        AttributeValue::N("-1".to_owned()),
        AttributeValue::N("1.5".to_owned()),
        AttributeValue::Bool(true),
        AttributeValue::Null(true),
        AttributeValue::L(vec![]),
        AttributeValue::L(vec![AttributeValue::N("1".to_owned())]),
        AttributeValue::M(HashMap::new()),
        AttributeValue::Ss(vec!["text".to_owned()]),
        AttributeValue::B(b"text".to_vec().into()),
    ]
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_stored_token_with_an_attribute_of_another_type_or_without_one_is_not_guessed_at() {
    let stack = Stack::create().await;
    let tokens = stack.tokens(SystemClock);
    let (digest, record) = (super::token_store::digest(), super::token_store::record("myClient"));
    tokens.put(&digest, &record).await.expect("stored");
    let id = format!("token#{}", digest.to_base64url());
    let stored = stack.token_item(&id).await;
    let assert_corrupt = async |what: &str, item: HashMap<String, AttributeValue>| {
        stack.put_token_item(item).await;
        let read = tokens.get(&digest).await;
        assert!(matches!(read, Err(PortError::Corrupt { .. })), "{what}: {read:?}");
    };

    let (texts, times): (Vec<_>, Vec<_>) =
        stored.keys().filter(|name| *name != "id").partition(|name| stored[*name].is_s());
    assert!(texts.len() >= 6 && times.len() >= 2, "{stored:?}");
    for name in texts.iter().chain(&times) {
        for wrong in of_each_type() {
            // Any text is a `jti`, and some are no other thing.
            let may_be_right =
                if stored[*name].is_s() { wrong.is_s() } else { wrong == AttributeValue::N("1".to_owned()) };
            // Null is no rule, as its absence is.
            let may_be_right = may_be_right || (*name == "trust_rule" && wrong.is_null());
            if !may_be_right {
                let item =
                    stored.iter().map(|(key, value)| (key.clone(), if key == *name { &wrong } else { value }.clone()));
                assert_corrupt(&format!("{name}: {wrong:?}"), item.collect()).await;
            }
        }
        // Those may be left out, and nothing else.
        if !["aud", "claims", "trust_rule", "version"].contains(&name.as_str()) {
            let item = stored.clone().into_iter().filter(|(key, _)| key != *name).collect();
            assert_corrupt(&format!("without {name}"), item).await;
        }
    }
    for (name, wrong) in [
        ("aud", AttributeValue::L(vec![])),
        ("aud", AttributeValue::Bool(true)),
        ("aud", AttributeValue::N("1".to_owned())),
        ("aud", AttributeValue::S("no-uri".to_owned())),
        ("claims", AttributeValue::S("[]".to_owned())),
        ("claims", AttributeValue::S("{".to_owned())),
        ("claims", AttributeValue::Bool(true)),
        ("claims", AttributeValue::Null(true)),
    ] {
        let mut item = stored.clone();
        item.insert(name.to_owned(), wrong.clone());
        assert_corrupt(&format!("{name}: {wrong:?}"), item).await;
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_revocation_leaves_of_an_item_what_says_so_and_a_mark_of_another_form_is_no_token() {
    let stack = Stack::create().await;
    let tokens = stack.tokens(SystemClock);
    let (digest, record) = (super::token_store::digest(), super::token_store::record("myClient"));
    let id = format!("token#{}", digest.to_base64url());
    // Nothing to revoke leaves nothing.
    tokens.revoke(&digest, &record.realm, &record.client_id, super::NOW).await.expect("decided");
    assert_eq!(stack.token_items().await, Vec::<HashMap<_, _>>::new());

    tokens.put(&digest, &record).await.expect("stored");
    tokens.revoke(&digest, &record.realm, &record.client_id, super::NOW).await.expect("revoked");
    let mark = stack.token_item(&id).await;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let expected: HashMap<_, _> = [
        ("id".to_owned(), text(&id)),
        ("version".to_owned(), AttributeValue::N("2".to_owned())),
        // The attribute of the table's TTL: it goes when the token would have.
        ("expires_at".to_owned(), AttributeValue::N(record.expires_at.to_string())),
        ("audit_tracking_id".to_owned(), text(&record.audit_tracking_id)),
    ]
    .into();
    assert_eq!(mark, expected);

    for name in ["expires_at", "audit_tracking_id", "version"] {
        for wrong in of_each_type().into_iter().map(Some).chain([None]) {
            let mut item = mark.clone();
            item.remove(name);
            item.extend(wrong.clone().map(|value| (name.to_owned(), value)));
            stack.put_token_item(item).await;
            let read = tokens.get(&digest).await;
            let is_no_token = matches!(read, Ok(StoredToken::Revoked(_)) | Err(PortError::Corrupt { .. }));
            assert!(is_no_token, "{name}: {wrong:?}: {read:?}");
            let again = tokens.revoke(&digest, &record.realm, &record.client_id, super::NOW).await;
            assert!(matches!(again, Ok(Revocation::NotFound) | Err(PortError::Corrupt { .. })), "{name}: {wrong:?}");
        }
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn an_item_that_ends_a_token_ends_it_whatever_is_in_it() {
    let stack = Stack::create().await;
    let tokens = stack.tokens(SystemClock);
    for (number, expires_at) in of_each_type().into_iter().map(Some).chain([None]).enumerate() {
        let jti = format!("stateless.{number}");
        let id = AttributeValue::S(format!("revoked#{jti}"));
        let expires_at = expires_at.map(|value| ("expires_at".to_owned(), value));
        stack.put_token_item([("id".to_owned(), id)].into_iter().chain(expires_at).collect()).await;
        assert_eq!(tokens.is_denied(&jti).await, Ok(true), "{number}");
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_count_that_is_no_number_is_neither_exhausted_nor_begun_anew() {
    let stack = Stack::create().await;
    let quotas = DynamoQuotas::new(stack.dynamodb.clone(), &stack.token_table);
    let (client, period) = (client(&realm("alpha"), "myClient"), QuotaWindow::Hour.period_at(NOW));
    let id = || AttributeValue::S(format!("quota#{}#{period}", client.registration_id.as_str()));
    for tokens in of_each_type().into_iter().map(Some).chain([None, Some(AttributeValue::N("-1000000".to_owned()))]) {
        if tokens == Some(AttributeValue::N("1".to_owned())) {
            continue;
        }
        for at_most in [Some(10), None] {
            let stored = tokens.clone().map(|tokens| ("tokens".to_owned(), tokens));
            stack.put_token_item([("id".to_owned(), id())].into_iter().chain(stored).collect()).await;
            let counted = quotas.count(&client, period, at_most).await;
            // One that is observed only is counted from nothing where there is nothing.
            if tokens.is_none() && at_most.is_none() {
                assert_eq!(counted, Ok(Some(1)));
            } else {
                assert!(matches!(counted, Err(PortError::Corrupt { .. })), "{tokens:?}, {at_most:?}: {counted:?}");
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn what_does_not_say_since_when_is_not_guessed_at() {
    let stack = Stack::create().await;
    let wrong = [
        None,
        Some(AttributeValue::S("1795415820".to_owned())),
        Some(AttributeValue::N("-1".to_owned())),
        Some(AttributeValue::N("1.5".to_owned())),
        Some(AttributeValue::Bool(true)),
        Some(AttributeValue::Null(true)),
    ];
    for since in wrong {
        let id = AttributeValue::S("store#whole-since".to_owned());
        let item = since.map(|since| ("since".to_owned(), since)).into_iter().chain([("id".to_owned(), id)]).collect();
        stack.put_token_item(item).await;
        for tokens in [stack.tokens(SystemClock), stack.tokens(SystemClock).keeping_whole_since()] {
            let error = tokens.whole_since().await.expect_err("no guess");
            assert!(matches!(error, PortError::Corrupt { .. }), "{error}");
        }
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_store_that_does_not_answer_is_unavailable_in_time() {
    let stack = Stack::create().await;
    // Accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", silent.local_addr().expect("bound"));
    let config = aws_sdk_dynamodb::config::Builder::from(&stack.sdk).endpoint_url(endpoint).build();
    let tokens = DynamoTokens::new(DynamoDb::from_conf(config), &stack.token_table, Arc::new(SystemClock));
    let digest = super::token_store::digest();

    let started = Instant::now();
    let error = tokens.get(&digest).await.expect_err("no answer");
    assert_eq!(error, PortError::Unavailable { service: "DynamoDB", detail: "GetItem: timeout".to_owned() });
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the AWS emulator: make test"]
async fn a_write_whose_answer_was_lost_is_not_taken_for_somebody_elses() {
    let stack = Stack::create().await;
    let lossy = aws_sdk_dynamodb::config::Builder::from(&stack.sdk).endpoint_url(lossy_endpoint());
    let lossy = DynamoDb::from_conf(lossy.build());
    let registrar = AwsRegistrar::new(
        lossy.clone(),
        stack.secrets_manager.clone(),
        &stack.registry_table,
        &stack.name,
        Arc::new(SystemRandom),
    );
    let (client, secret) = (client(&realm("alpha"), "myClient"), generated());
    registrar.register(&client, Some(&secret)).await.expect("registered");
    let changed = Client { revision: 2, status: ClientStatus::Disabled, ..client.clone() };
    registrar.replace(&changed).await.expect("replaced");
    registrar.put_realm(&Realm { revision: 1, ..realm("alpha") }).await.expect("created");
    registrar.put_realm(&Realm { revision: 2, ..realm("alpha") }).await.expect("changed");
    assert_eq!(stack.registrar().read(&client.realm, &client.client_id).await, Ok(changed));
    assert_eq!(registrar.register(&client, Some(&secret)).await, Err(RegistrarError::AlreadyExists));

    let tokens = DynamoTokens::new(lossy, &stack.token_table, Arc::new(SystemClock));
    let digest = super::token_store::digest();
    let record = super::token_store::record("myClient");
    tokens.put(&digest, &record).await.expect("stored");
    assert_eq!(tokens.get(&digest).await, Ok(super::token_store::live(&record)));
    tokens.revoke(&digest, &record.realm, &record.client_id, super::NOW).await.expect("ended");
    assert_eq!(tokens.get(&digest).await, Ok(super::token_store::revoked(&record)));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_crash_between_a_realms_first_secret_and_its_publication_heals_with_the_next_signature() {
    let stack = Stack::create().await;
    let (alpha, keys) = (realm_name("alpha"), key_set());
    stack.keys().create_keys(&alpha, &keys).await.expect("created");
    // As the crash would have left it.
    stack.delete_item("keys#alpha", "jwks").await;
    assert!(stack.published_keys().verification_keys(&alpha).await.expect("read").jwks().is_empty());

    let keyring = Keyring::new(Arc::new(stack.keys()), Arc::new(FixedClock));
    keyring.read(&alpha).await.expect("read").expect("keys");
    assert!(
        stack.published_keys().verification_keys(&alpha).await.expect("read").jwks().is_empty(),
        "to look is no change"
    );
    keyring.signers(&alpha, SigningAlgorithm::Es256).await.expect("signers");
    assert_eq!(stack.published_keys().read(&alpha).await, Ok(keys.published()));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_rotation_that_published_and_died_signs_with_the_old_key_and_is_repeated() {
    let stack = Stack::create().await;
    let (alpha, first) = (realm_name("alpha"), key_set());
    stack.keys().create_keys(&alpha, &first).await.expect("created");
    let lost = first.rotated(ROTATED_AT).expect("rotated");
    stack.published_keys().publish(&alpha, &lost).await.expect("published");

    // What signs is still the first set's, and everybody who looks knows its key.
    let read = stack.keys().read_keys(&alpha).await.expect("read").expect("keys");
    assert_eq!(read.published(), first.published());
    assert!(stack.published_keys().read(&alpha).await.expect("read").include_signers_of(&first));

    // The next rotation makes keys of its own, which take the place of those nobody signed with.
    let second = first.rotated(ROTATED_AT).expect("rotated");
    stack.keys().replace_keys(&alpha, &second).await.expect("replaced");
    let read = stack.keys().read_keys(&alpha).await.expect("read").expect("keys");
    assert_eq!(read.published(), second.published());
    assert_eq!(stack.published_keys().read(&alpha).await, Ok(second.published()));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn keys_that_are_older_than_the_published_ones_sign_nothing() {
    let stack = Stack::create().await;
    let (alpha, first) = (realm_name("alpha"), key_set());
    stack.keys().create_keys(&alpha, &first).await.expect("created");
    // A table restored from another account, or a secret from long ago: nobody could verify what it signs.
    let mut stranger = key_set();
    stranger.revision = 7;
    stack.published_keys().publish(&alpha, &stranger).await.expect("published");
    let keyring = Keyring::new(Arc::new(stack.keys()), Arc::new(FixedClock));
    let signers = keyring.signers(&alpha, SigningAlgorithm::Es256).await;
    let error = signers.map(drop).expect_err("a function cannot say which is right");
    assert!(matches!(error, PortError::Corrupt { service: "Secrets Manager", .. }), "{error}");
    assert_eq!(stack.published_keys().read(&alpha).await, Ok(stranger.published()), "and changes nothing");

    // The same where the secret is gone and the first keys of a new one meet what an earlier one has published.
    let beta = realm_name("beta");
    stack.published_keys().publish(&beta, &stranger).await.expect("published");
    let signers = keyring.signers(&beta, SigningAlgorithm::Es256).await;
    assert!(matches!(signers.map(drop), Err(PortError::Corrupt { service: "Secrets Manager", .. })));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_revocation_that_published_and_died_signs_nothing_until_it_is_repeated() {
    let stack = Stack::create().await;
    let (alpha, first) = (realm_name("alpha"), key_set());
    stack.keys().create_keys(&alpha, &first).await.expect("created");
    let leaked = first.published().keys[0].jwk.kid.clone();
    let lost = first.without(&leaked, NOW).expect("changed");
    stack.published_keys().publish(&alpha, &lost).await.expect("published");

    let keyring = Keyring::new(Arc::new(stack.keys()), Arc::new(FixedClock));
    let signers = keyring.signers(&alpha, SigningAlgorithm::Es256).await;
    assert!(matches!(signers.map(drop), Err(PortError::Corrupt { .. })), "nobody could verify it");
    assert!(keyring.read(&alpha).await.expect("read").is_some(), "an operator can look");

    let repeated = keyring.revoke(&alpha, &leaked).await.expect("revoked");
    assert_eq!(stack.published_keys().read(&alpha).await, Ok(repeated.published()));
    assert!(repeated.published().keys.iter().all(|key| key.jwk.kid != leaked));
    keyring.signers(&alpha, SigningAlgorithm::Es256).await.expect("signers");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_secret_of_private_jwks_is_written_anew_when_it_is_bound_and_signs() {
    let stack = Stack::create().await;
    let (alpha, name) = (realm_name("alpha"), format!("{}/alpha/signing-keys", stack.name));
    stack.secrets_manager.create_secret().name(&name).secret_string(OLDER_KEYS).send().await.expect("created");
    stack.registrar().put_realm(&Realm { revision: 1, ..realm("alpha") }).await.expect("a realm");
    let keys = KeySet::from_json(OLDER_KEYS).expect("keys");
    stack.published_keys().publish(&alpha, &keys).await.expect("published");
    let keyring = Keyring::new(Arc::new(stack.keys()), Arc::new(FixedClock));
    let error = keyring.signers(&alpha, SigningAlgorithm::Es256).await.map(drop).expect_err("nobody's");
    assert!(matches!(error, PortError::Foreign { .. }), "{error}");
    stack.binding().bind(false).await.expect("bound");
    let stored = stack.text(&name, "AWSCURRENT").await;
    assert!(stored.contains(r#""version":1,"revision":4,"#) && !stored.contains(r#""d":"#));
    for alg in SigningAlgorithm::ALL {
        let signers = keyring.signers(&alpha, alg).await.expect("signers");
        assert_eq!(signers.choose(alg, NOW).expect("a signer").alg, alg);
    }
    let older = keyring.read(&alpha).await.expect("read").expect("keys");
    assert_eq!(stack.published_keys().read(&alpha).await, Ok(older.published()));

    let rotated = older.rotated(ROTATED_AT).expect("rotated");
    stack.keys().replace_keys(&alpha, &rotated).await.expect("replaced");
    let stored = stack.text(&name, "AWSCURRENT").await;
    assert!(stored.contains(r#""version":1,"revision":5,"#) && !stored.contains(r#""d":"#));
    assert_eq!(stack.keys().read_keys(&alpha).await.expect("read").expect("keys").published(), rotated.published());
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn the_registry_table_holds_no_private_member_of_a_key() {
    let stack = Stack::create().await;
    let (alpha, keys) = (realm_name("alpha"), key_set());
    stack.keys().create_keys(&alpha, &keys).await.expect("created");
    let item = stack.item("keys#alpha", "jwks").await;
    let jwks = item["jwks"].as_s().expect("text");
    let jwks: serde_json::Value = serde_json::from_str(jwks).expect("JSON");
    for key in jwks["keys"].as_array().expect("a list") {
        for member in PRIVATE_MEMBERS {
            assert!(key.get(member).is_none(), "{member}");
        }
    }
    let private: serde_json::Value = serde_json::from_str(&keys.to_json().expect("JSON")).expect("JSON");
    for key in private["keys"].as_array().expect("a list") {
        let pkcs8 = key["pkcs8"].as_str().expect("the private member");
        assert!(!format!("{item:?}").contains(pkcs8));
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_count_is_a_small_item_that_names_its_client_and_expires_after_its_window() {
    let stack = Stack::create().await;
    let (client, day) = (client(&realm("alpha"), "myClient"), QuotaWindow::Day.period_at(NOW));
    let quotas = DynamoQuotas::new(stack.dynamodb.clone(), &stack.token_table);
    for number in 1..=3 {
        assert_eq!(quotas.count(&client, day, Some(2)).await, Ok((number < 3).then_some(number)));
    }
    let id = format!("quota#{}#day#1795392000", client.registration_id.as_str());
    let scanned = stack.dynamodb.scan().table_name(&stack.token_table).send().await.expect("read");
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: u64| AttributeValue::N(number.to_string());
    let expected = [
        ("id", text(&id)),
        ("tokens", number(2)),
        ("expires_at", number(1_795_478_400 + 3_600)),
        ("realm", text("alpha")),
        ("client_id", text("myClient")),
    ];
    assert_eq!(scanned.items(), [expected.map(|(name, value)| (name.to_owned(), value)).into()]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the AWS emulator: make test"]
async fn a_count_whose_answer_is_lost_never_gives_a_client_more_than_its_quota() {
    let stack = Stack::create().await;
    let client = client(&realm("alpha"), "myClient");
    let hour = QuotaWindow::Hour.period_at(NOW);
    let config = aws_sdk_dynamodb::config::Builder::from(&stack.sdk).endpoint_url(lossy_endpoint()).build();
    let quotas = DynamoQuotas::new(DynamoDb::from_conf(config), &stack.token_table);
    // Each attempt that is repeated counts twice.
    for expected in [Some(2), Some(4), None, None] {
        assert_eq!(quotas.count(&client, hour, Some(4)).await, Ok(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the AWS emulator: make test"]
async fn a_use_whose_answer_is_lost_is_one_use_and_the_next_is_a_replay() {
    let stack = Stack::create().await;
    let config = aws_sdk_dynamodb::config::Builder::from(&stack.sdk).endpoint_url(lossy_endpoint()).build();
    let guard = DynamoReplayGuard::new(DynamoDb::from_conf(config), &stack.token_table, Arc::new(SystemRandom));
    let key = super::replay_guard::key("lost");
    for expected in [true, false, false] {
        assert_eq!(guard.first_use(&key, NOW, NOW.plus(60)).await, Ok(expected));
    }
    assert_eq!(guard.first_use(&key, NOW.plus(60), NOW.plus(120)).await, Ok(true), "though the item is still there");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn keys_of_another_form_are_corrupt_and_reach_no_error() {
    let stack = Stack::create().await;
    let (alpha, name) = (realm_name("alpha"), format!("{}/alpha/signing-keys", stack.name));
    stack.secrets_manager.create_secret().name(&name).secret_string(r#"{"canary":1}"#).send().await.expect("created");
    let error = stack.keys().read_keys(&alpha).await.expect_err("corrupt");
    assert!(matches!(error, PortError::Corrupt { service: "Secrets Manager", .. }), "{error}");
    assert!(!error.to_string().contains("canary"), "{error}");
    // What is there is not written over.
    assert_eq!(stack.keys().create_keys(&alpha, &key_set()).await, Err(KeyStoreError::Conflict));

    stack.published_keys().publish(&alpha, &key_set()).await.expect("published");
    stack.overwrite("keys#alpha", "jwks", "jwks", AttributeValue::S("canary".to_owned())).await;
    let error = stack.published_keys().verification_keys(&alpha).await.err().expect("corrupt");
    assert!(matches!(error, PortError::Corrupt { service: "DynamoDB", .. }), "{error}");
    assert!(!error.to_string().contains("canary"), "{error}");
}

async fn dynamo_tokens() -> Opened<TokenPorts> {
    let stack = Stack::create().await;
    let tokens = stack.tokens(SystemClock).keeping_whole_since();
    Opened::new(TokenPorts::of(tokens), stack)
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_copy_of_fetched_keys_says_of_what_it_is_and_expires_when_nobody_may_use_it() {
    let stack = Stack::create().await;
    let copies = DynamoKeyCopies::new(stack.dynamodb.clone(), &stack.token_table);
    let (address, fetched) = (key_copies::address(), key_copies::copy(NOW));
    assert_eq!(copies.begin_look((&address).into(), NOW, 60).await, Ok(true));
    copies.keep((&address).into(), &fetched).await.expect("kept");
    let id = format!("fetched-jwks#{}", CopyId::of((&address).into()));
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: UnixSeconds| AttributeValue::N(number.to_string());
    let expected: HashMap<_, _> = [
        ("id", text(&id)),
        ("jwks_uri", text("https://app.example/jwks")),
        ("jwks", text(&fetched.jwks)),
        ("looked_at", number(NOW)),
        ("fetched_at", number(NOW)),
        ("believed_until", number(NOW.plus(300))),
        ("expires_at", number(NOW.plus(300 + 86_400))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    assert_eq!(stack.token_item(&id).await, expected);

    // What has got there by another way is nothing, and is written over.
    for (name, value) in [
        ("jwks_uri", text("https://app.example/other")),
        ("jwks", number(NOW)),
        ("fetched_at", text("soon")),
        ("looked_at", text("soon")),
        ("believed_until", AttributeValue::Bool(true)),
    ] {
        let mut item = expected.clone();
        item.insert(name.to_owned(), value);
        stack.put_token_item(item).await;
        assert_eq!(copies.kept_keys((&address).into()).await, Ok(KeptKeys::default()), "{name}");
        assert_eq!(copies.begin_look((&address).into(), NOW.plus(60), 60).await, Ok(true), "{name}");
        let newer = key_copies::copy(NOW.plus(60));
        copies.keep((&address).into(), &newer).await.expect("kept");
        let kept = copies.kept_keys((&address).into()).await;
        assert_eq!(
            kept,
            Ok(KeptKeys { copy: Some(newer), looked_at: Some(NOW.plus(60)), is_confirmed: false }),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the AWS emulator: make test"]
async fn sandboxes_that_are_sent_unknown_keys_fetch_once_a_minute_together() {
    let opened = dynamo_key_copies().await;
    crate::remote_keys::an_unknown_name_costs_one_fetch_a_minute(Arc::clone(&opened.ports)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the AWS emulator: make test"]
async fn sandboxes_look_up_ten_issuers_a_minute_together_that_nobody_registered() {
    let opened = dynamo_key_copies().await;
    crate::issuer_keys::ten_new_issuers_are_looked_up_a_minute(Arc::clone(&opened.ports)).await;
    let opened = dynamo_key_copies().await;
    crate::issuer_keys::an_unknown_key_of_an_issuer_is_one_look_a_minute(Arc::clone(&opened.ports)).await;
    let opened = dynamo_key_copies().await;
    crate::issuer_keys::confirmed_issuers_keep_their_place(Arc::clone(&opened.ports)).await;
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn look_ups_that_cannot_be_read_are_written_over() {
    let stack = Stack::create().await;
    let copies = DynamoKeyCopies::new(stack.dynamodb.clone(), &stack.token_table);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    for (revision, lookups, read) in [
        (AttributeValue::N("7".to_owned()), text("[{"), 7),
        (AttributeValue::N("7".to_owned()), AttributeValue::Bool(true), 0),
        (text("seven"), text("[]"), 0),
    ] {
        let item = [("id", text("fetched-jwks#lookups")), ("revision", revision), ("lookups", lookups)];
        stack.put_token_item(item.map(|(name, value)| (name.to_owned(), value)).into()).await;
        let found = copies.lookups().await.expect("read");
        assert_eq!(found, Lookups { revision: read, recent: Vec::new() });
        let next = found.with(NOW, None).expect("room");
        assert_eq!(copies.replace_lookups(&next, NOW).await, Ok(true), "{read}");
        assert_eq!(copies.lookups().await, Ok(next));
    }
    let item = stack.token_item("fetched-jwks#lookups").await;
    assert_eq!(item.get("expires_at"), Some(&AttributeValue::N(NOW.plus(3_600).to_string())));
}

async fn dynamo_key_copies() -> Opened<Arc<dyn KeyCopies>> {
    let stack = Stack::create().await;
    Opened::new(Arc::new(DynamoKeyCopies::new(stack.dynamodb.clone(), &stack.token_table)), stack)
}

async fn quotas() -> Opened<Arc<dyn QuotaCounter>> {
    let stack = Stack::create().await;
    Opened::new(Arc::new(DynamoQuotas::new(stack.dynamodb.clone(), &stack.token_table)), stack)
}

async fn use_marks() -> Opened<Arc<dyn UseMarks>> {
    let stack = Stack::create().await;
    Opened::new(Arc::new(DynamoUseMarks::new(stack.dynamodb.clone(), &stack.token_table)), stack)
}

async fn replay_guard() -> Opened<Arc<dyn ReplayGuard>> {
    let stack = Stack::create().await;
    let guard = DynamoReplayGuard::new(stack.dynamodb.clone(), &stack.token_table, Arc::new(SystemRandom));
    Opened::new(Arc::new(guard), stack)
}

async fn key_ports() -> Opened<KeyPorts> {
    let stack = Stack::create().await;
    let (sdk, name, table) = (stack.sdk.clone(), stack.name.clone(), stack.registry_table.clone());
    let open = move || {
        let published = DynamoPublishedKeys::new(DynamoDb::new(&sdk), &table);
        let identity = Arc::new(identity(DynamoDb::new(&sdk), &table));
        let store = SecretsManagerKeys::new(SecretsManager::new(&sdk), &name, published.clone(), identity);
        OpenedKeys { store: Arc::new(store), published: Arc::new(published) }
    };
    Opened::new(KeyPorts::opened_by(open), stack)
}

async fn registry_ports() -> Opened<RegistryPorts> {
    let stack = Stack::create().await;
    let ports = RegistryPorts {
        registry: Arc::new(stack.registry()),
        registrar: Arc::new(stack.registrar()),
        secrets: Arc::new(stack.secrets()),
        log: Arc::new(stack.admin_log()),
        storage: None,
    };
    Opened::new(ports, stack)
}

/// Of clients whose registrations keep their secrets. Whoever reads them cannot reach Secrets Manager.
async fn digest_ports() -> Opened<RegistryPorts> {
    let stack = Stack::create().await;
    let ports = RegistryPorts {
        registry: Arc::new(stack.registry()),
        registrar: Arc::new(stack.registrar()),
        secrets: Arc::new(stack.secrets_without_secrets_manager()),
        log: Arc::new(stack.admin_log()),
        storage: Some(SecretStorage::Digest),
    };
    Opened::new(ports, stack)
}

/// As the command line has it, which may make the id of the registry.
fn identity(dynamodb: DynamoDb, table: &str) -> RegistryIdentity {
    RegistryIdentity::new(dynamodb, table).made_of(Arc::new(SystemRandom))
}

/// Tables and secrets under a name that no other test has.
struct Stack {
    name: String,
    registry_table: String,
    token_table: String,
    sdk: SdkConfig,
    dynamodb: DynamoDb,
    secrets_manager: SecretsManager,
}

impl Stack {
    async fn create() -> Self {
        require_emulator();
        // As the functions call AWS.
        let sdk = sdk::for_functions().await;
        let mut bytes = [0; 8];
        SystemRandom.fill(&mut bytes).expect("random bytes");
        let name = format!("grantwell-test-{:016x}", u64::from_be_bytes(bytes));
        let stack = Self {
            registry_table: format!("{name}-registry"),
            token_table: format!("{name}-tokens"),
            dynamodb: DynamoDb::new(&sdk),
            secrets_manager: SecretsManager::new(&sdk),
            sdk,
            name,
        };
        stack.create_table(&stack.registry_table, &[("realm", KeyType::Hash), ("item", KeyType::Range)]).await;
        stack.create_table(&stack.token_table, &[("id", KeyType::Hash)]).await;
        stack
    }

    async fn create_table(&self, name: &str, key: &[(&str, KeyType)]) {
        let mut request = self.dynamodb.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        for (attribute, key_type) in key {
            let definition = AttributeDefinition::builder()
                .attribute_name(*attribute)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .expect("complete");
            let element = KeySchemaElement::builder()
                .attribute_name(*attribute)
                .key_type(key_type.clone())
                .build()
                .expect("complete");
            request = request.attribute_definitions(definition).key_schema(element);
        }
        request.send().await.expect("the emulator creates a table");
    }

    fn tokens(&self, clock: impl Clock + 'static) -> DynamoTokens {
        DynamoTokens::new(self.dynamodb.clone(), &self.token_table, Arc::new(clock))
    }

    fn registry(&self) -> DynamoRegistry {
        DynamoRegistry::new(self.dynamodb.clone(), &self.registry_table)
    }

    fn admin_log(&self) -> DynamoAdminLog {
        DynamoAdminLog::new(self.dynamodb.clone(), &self.registry_table)
    }

    /// Where the rotation function writes down what it changes.
    fn book(&self, clock: Arc<dyn Clock>) -> Arc<Logbook> {
        let logging = Logging { face: Face::ROTATION, ..logging_as(Arc::new(self.admin_log()), Actor::Schedule) };
        Logbook::new(logging, Arc::new(self.registrar()), clock, Arc::new(SystemRandom))
    }

    fn secrets(&self) -> AwsSecrets {
        AwsSecrets::new(self.secrets_manager.clone(), &self.name, Arc::new(self.registry()))
    }

    fn secrets_without_secrets_manager(&self) -> AwsSecrets {
        let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
        AwsSecrets::new(self.secrets_manager_at(&closed), &self.name, Arc::new(self.registry()))
    }

    fn published_keys(&self) -> DynamoPublishedKeys {
        DynamoPublishedKeys::new(self.dynamodb.clone(), &self.registry_table)
    }

    fn keys(&self) -> SecretsManagerKeys {
        let identity = Arc::new(self.identity());
        SecretsManagerKeys::new(self.secrets_manager.clone(), &self.name, self.published_keys(), identity)
    }

    fn identity(&self) -> RegistryIdentity {
        identity(self.dynamodb.clone(), &self.registry_table)
    }

    fn registrar(&self) -> AwsRegistrar {
        self.registrar_with(self.secrets_manager.clone())
    }

    fn registrar_without_secrets_manager(&self) -> AwsRegistrar {
        // A port that is closed by the time it is called.
        let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
        self.registrar_with(self.secrets_manager_at(&closed))
    }

    fn secrets_manager_at(&self, listener: &TcpListener) -> SecretsManager {
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let config = aws_sdk_secretsmanager::config::Builder::from(&self.sdk).endpoint_url(endpoint);
        SecretsManager::from_conf(config.build())
    }

    fn registrar_with(&self, secrets_manager: SecretsManager) -> AwsRegistrar {
        AwsRegistrar::new(
            self.dynamodb.clone(),
            secrets_manager,
            &self.registry_table,
            &self.name,
            Arc::new(SystemRandom),
        )
    }

    async fn item(&self, realm: &str, item: &str) -> HashMap<String, AttributeValue> {
        let read = self
            .dynamodb
            .get_item()
            .table_name(&self.registry_table)
            .key("realm", AttributeValue::S(realm.to_owned()))
            .key("item", AttributeValue::S(item.to_owned()));
        read.send().await.expect("read").item.expect("an item")
    }

    async fn delete_item(&self, realm: &str, item: &str) {
        let delete = self.dynamodb.delete_item().table_name(&self.registry_table);
        let delete = delete.key("realm", AttributeValue::S(realm.to_owned()));
        delete.key("item", AttributeValue::S(item.to_owned())).send().await.expect("deleted");
    }

    async fn put_token_item(&self, item: HashMap<String, AttributeValue>) {
        let put = self.dynamodb.put_item().table_name(&self.token_table).set_item(Some(item));
        put.send().await.expect("put");
    }

    async fn token_item(&self, id: &str) -> HashMap<String, AttributeValue> {
        let get = self.dynamodb.get_item().table_name(&self.token_table).key("id", AttributeValue::S(id.to_owned()));
        get.send().await.expect("read").item.expect("an item")
    }

    async fn token_items(&self) -> Vec<HashMap<String, AttributeValue>> {
        let scan = self.dynamodb.scan().table_name(&self.token_table);
        scan.send().await.expect("read").items.expect("a list")
    }

    async fn delete_token_item(&self, id: &str) {
        let delete = self.dynamodb.delete_item().table_name(&self.token_table);
        delete.key("id", AttributeValue::S(id.to_owned())).send().await.expect("deleted");
    }

    async fn overwrite(&self, realm: &str, item: &str, attribute: &str, value: AttributeValue) {
        let mut stored = self.item(realm, item).await;
        stored.insert(attribute.to_owned(), value);
        let put = self.dynamodb.put_item().table_name(&self.registry_table).set_item(Some(stored));
        put.send().await.expect("put");
    }
}

/// Time goes on as a test says.
#[derive(Clone)]
struct SettableClock(Arc<AtomicU64>);

impl SettableClock {
    fn at(now: UnixSeconds) -> Self {
        Self(Arc::new(AtomicU64::new(now.0)))
    }

    /// What the time is then.
    fn pass(&self, seconds: u64) -> UnixSeconds {
        UnixSeconds(self.0.fetch_add(seconds, Ordering::SeqCst) + seconds)
    }
}

impl Clock for SettableClock {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.0.load(Ordering::SeqCst))
    }
}

/// A test that fails leaves as little behind as one that passes.
impl Drop for Stack {
    fn drop(&mut self) {
        let (name, tables) = (self.name.clone(), [self.registry_table.clone(), self.token_table.clone()]);
        // On a runtime of its own, because the test's may be the one that is unwinding; what it cannot delete stays.
        let deletion = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let sdk = sdk::for_functions().await;
                let (dynamodb, secrets_manager) = (DynamoDb::new(&sdk), SecretsManager::new(&sdk));
                for table in tables {
                    let _ = dynamodb.delete_table().table_name(table).send().await;
                }
                let own = Filter::builder().key(FilterNameStringType::Name).values(name).build();
                let listed = secrets_manager.list_secrets().filters(own).send().await;
                for secret in listed.ok().and_then(|listed| listed.secret_list).unwrap_or_default() {
                    let delete = secrets_manager.delete_secret().force_delete_without_recovery(true);
                    let _ = delete.set_secret_id(secret.name).send().await;
                }
            });
        });
        let _ = deletion.join();
    }
}

/// The address of a proxy that carries every request to the emulator and loses every other answer on the way back.
fn lossy_endpoint() -> String {
    let emulator = require_emulator();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for (number, connection) in listener.incoming().enumerate() {
            let mut connection = connection.expect("a connection");
            let request = read_message(&connection);
            let mut upstream = TcpStream::connect(&emulator).expect("the emulator");
            upstream.write_all(&request).expect("sent");
            // Once its length has arrived the emulator's answer is whole, whether or not it closes the connection.
            let answer = read_message(&upstream);
            if number % 2 == 1 {
                connection.write_all(&answer).expect("answered");
            }
        }
    });
    endpoint
}

/// Headers and body of one HTTP message.
fn read_message(stream: &TcpStream) -> Vec<u8> {
    let mut reader = BufReader::new(stream);
    let (mut message, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        message.extend_from_slice(line.as_bytes());
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    message.extend(body);
    message
}

/// The emulator's address. These tests create and delete tables and secrets, and must never do that in somebody's account.
#[expect(clippy::disallowed_methods, reason = "the SDK reads this variable and says nothing where it is missing")]
fn require_emulator() -> String {
    let endpoint = std::env::var("AWS_ENDPOINT_URL").unwrap_or_default();
    let address = endpoint.strip_prefix("http://").map(|address| address.trim_end_matches('/'));
    address
        .filter(|address| address.starts_with("127.0.0.1:") || address.starts_with("localhost:"))
        .expect("AWS_ENDPOINT_URL must name an emulator on this machine, as `make test` has it")
        .to_owned()
}
