//! Two clients to try the server with, and what is said to whoever has a server that nobody can use.

use std::sync::Arc;

use grantwell::core::client::secret::ClientSecret;
use grantwell::core::ports::ClientRegistry as _;
use grantwell::core::scope::INTROSPECT_ALL_TOKENS;
use grantwell::embedded::store::registry::SqliteRegistry;

use super::logbook;
use super::stores::store_path;
use crate::failure::Failure;
use crate::sample::{self, SampleClient};
use crate::store::StoreName;

/// Says how to go on to whoever has started a server that nobody can use, or has asked for demo clients in vain.
pub(super) async fn advise_on_clients(
    registry: &SqliteRegistry,
    store: &StoreName,
    demo_asked: bool,
) -> Result<(), Failure> {
    if demo_asked {
        let (realm, demo) = (sample::realm()?.name, DEMO_CLIENT.client_id);
        if registry.client(&realm, &demo.parse()?).await?.is_some() {
            tracing::warn!(
                "--demo registered no clients, because the registry is not empty; make a new secret for the demo client of an earlier \
                 start with `grantwell client rotate-secret {demo} --replace-current --realm {realm} --store '{}'`",
                store_path(store)
            );
        } else {
            tracing::warn!("--demo registered no clients, because the registry is not empty");
        }
    } else if registry.is_empty().await? {
        if *store == StoreName::Memory {
            tracing::warn!(
                "no client is registered, and the command line cannot reach a store in memory; pass --demo to try the server"
            );
        } else {
            tracing::warn!(
                "no client is registered; register one with: grantwell client create --store '{}' --id myClient \
                 --scope write --default-scope write",
                store_path(store)
            );
        }
    }
    Ok(())
}

/// Their secrets are on somebody's terminal.
pub(super) async fn warn_of_demo_clients(registry: &SqliteRegistry, store: &StoreName) -> Result<(), Failure> {
    let realm = sample::realm()?;
    for demo in [DEMO_CLIENT, DEMO_RESOURCE_SERVER] {
        let client_id = demo.client_id.parse()?;
        if registry.client(&realm.name, &client_id).await?.is_some_and(|client| client.is_active()) {
            tracing::warn!(
                "a demo client is registered; delete it with: grantwell client delete {client_id} --realm {} --store '{}'",
                realm.name,
                store_path(store)
            );
        }
    }
    Ok(())
}

/// What a first visitor needs to try the server.
pub(super) struct DemoSecrets {
    client: ClientSecret,
    resource_server: ClientSecret,
}

pub(super) async fn register_demo_clients(registry: &Arc<SqliteRegistry>) -> Result<Option<DemoSecrets>, Failure> {
    if !registry.is_empty().await? {
        return Ok(None);
    }
    let realm = sample::realm()?;
    let clients = [DEMO_CLIENT.create(&realm)?, DEMO_RESOURCE_SERVER.create(&realm)?];
    let [(client, _), (resource_server, _)] = &clients;
    let lines = logbook::of_start(registry)?.lines_of_new(&realm, &[client, resource_server]).await?;
    registry.seed(&realm, &clients, &lines).await.map_err(|error| Failure::new(error.to_string()))?;
    let [(_, client), (_, resource_server)] = clients;
    Ok(Some(DemoSecrets { client, resource_server }))
}

pub(super) fn first_steps(base_url: &str, demo: &DemoSecrets) -> String {
    let realm_url = format!("{base_url}{}", sample::REALM_PATH);
    let token = format!(
        "curl -s -u '{}:{}' -d grant_type=client_credentials -d scope=read {realm_url}/access_token",
        DEMO_CLIENT.client_id,
        demo.client.expose_client_secret()
    );
    let introspect = format!(
        r#"curl -s -u '{}:{}' -d token="$({token} | cut -d '"' -f 4)" {realm_url}/introspect"#,
        DEMO_RESOURCE_SERVER.client_id,
        demo.resource_server.expose_client_secret()
    );
    format!(
        "
A demo client and a demo resource server were registered in realm {}.
Their secrets are shown this once.

Get an access token:
{token}

Get one and have it introspected:
{introspect}

",
        sample::REALM
    )
}

const DEMO_CLIENT: SampleClient = SampleClient {
    client_id: "demo-client",
    name: "Demo client",
    owner: None,
    redirect_uri: None,
    scope: "read write",
    default_scope: Some("read"),
    access_token_format: None,
    resource: None,
};

const DEMO_RESOURCE_SERVER: SampleClient = SampleClient {
    client_id: "demo-resource-server",
    name: "Demo resource server",
    owner: None,
    redirect_uri: None,
    scope: INTROSPECT_ALL_TOKENS,
    default_scope: None,
    access_token_format: None,
    resource: None,
};
