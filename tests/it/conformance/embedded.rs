//! The adapters of one machine: SQLite, fjall and memory.

use std::sync::Arc;

use grantwell::core::access_token::opaque;
use grantwell::core::ports::{ClientRegistry as _, Registrar as _, RegistrarError, SecretSource as _, TokenStore as _};
use grantwell::core::realm::Realm;
use grantwell::embedded::data_dir::DataDir;
use grantwell::embedded::memory::MemoryTokens;
use grantwell::embedded::registry::SqliteRegistry;
use grantwell::embedded::tokens::FjallTokens;
use grantwell::telemetry::SystemRandom;

use super::{FixedClock, Opened, RegistryPorts, TokenPorts, assert_accepted, client, generated, realm};

mod memory_tokens {
    use super::super::token_store::token_store_suite;

    token_store_suite!(super::memory_tokens());
}

mod memory_registry {
    use super::super::registry::registry_suite;
    use super::super::secrets::secrets_suite;

    registry_suite!(super::memory_registry());
    secrets_suite!(super::memory_registry());
}

mod fjall_tokens {
    use super::super::token_store::token_store_suite;

    token_store_suite!(super::fjall_tokens());
}

mod sqlite_registry {
    use super::super::registry::registry_suite;
    use super::super::secrets::secrets_suite;

    registry_suite!(super::sqlite_registry());
    secrets_suite!(super::sqlite_registry());
}

#[tokio::test]
async fn a_registry_opened_again_has_everything_it_had() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").registry_path();
    let (client, first, second) = (client(&realm("alpha"), "myClient"), generated(), generated());
    let alpha = Realm { revision: 1, ..realm("alpha") };

    let registry = SqliteRegistry::open(&path).expect("opened");
    registry.put_realm(&alpha).await.expect("created");
    registry.register(&client, &first).await.expect("registered");
    registry.rotate_secret(&client.realm, &client.client_id, &second).await.expect("rotated");
    drop(registry);

    let registry = SqliteRegistry::open(&path).expect("opened again");
    assert_eq!(registry.realm(&alpha.name).await, Ok(Some(Arc::new(alpha))));
    assert_eq!(registry.client(&client.realm, &client.client_id).await, Ok(Some(Arc::new(client.clone()))));
    let secrets = registry.secrets(&client).await.expect("read");
    assert_accepted(secrets.as_ref(), &second, Some(&first));
}

#[tokio::test]
async fn what_one_process_registers_another_sees() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").registry_path();
    let (server, command_line) = (SqliteRegistry::open(&path), SqliteRegistry::open(&path));
    let (server, command_line) = (server.expect("opened"), command_line.expect("opened beside it"));
    let client = client(&realm("alpha"), "myClient");
    command_line.register(&client, &generated()).await.expect("registered");
    assert_eq!(server.client(&client.realm, &client.client_id).await, Ok(Some(Arc::new(client.clone()))));
    assert_eq!(server.register(&client, &generated()).await, Err(RegistrarError::AlreadyExists));
}

#[tokio::test]
async fn tokens_opened_again_are_all_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").tokens_path();
    let (kept, ended) = (opaque::generate(&SystemRandom), opaque::generate(&SystemRandom));
    let (kept, ended) = (kept.expect("random bytes").digest(), ended.expect("random bytes").digest());
    let record = super::token_store::record("myClient");

    let tokens = FjallTokens::open(&path, Arc::new(FixedClock)).expect("opened");
    tokens.put(&kept, &record).await.expect("stored");
    tokens.put(&ended, &record).await.expect("stored");
    tokens.revoke(&ended, &record.realm, &record.client_id, super::NOW).await.expect("revoked");
    drop(tokens);

    let tokens = FjallTokens::open(&path, Arc::new(FixedClock)).expect("opened again");
    assert_eq!(tokens.get(&kept).await, Ok(Some(record)));
    assert_eq!(tokens.get(&ended).await, Ok(None));
}

fn memory_tokens() -> Opened<TokenPorts> {
    Opened::new(TokenPorts { tokens: Arc::new(MemoryTokens::new(Arc::new(FixedClock))) }, ())
}

fn memory_registry() -> Opened<RegistryPorts> {
    Opened::new(RegistryPorts::of(SqliteRegistry::in_memory().expect("opened")), ())
}

fn fjall_tokens() -> Opened<TokenPorts> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").tokens_path();
    let tokens = FjallTokens::open(&path, Arc::new(FixedClock)).expect("opened");
    Opened::new(TokenPorts { tokens: Arc::new(tokens) }, directory)
}

fn sqlite_registry() -> Opened<RegistryPorts> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = DataDir::open(&directory.path().join("data")).expect("opened").registry_path();
    Opened::new(RegistryPorts::of(SqliteRegistry::open(&path).expect("opened")), directory)
}
