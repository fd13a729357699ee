//! The whole authorization server of one process: every endpoint over one set of adapters.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};

use grantwell::cache::{CacheSettings, CachedRegistry, CachedSecrets};
use grantwell::core::client_auth::ClientAuthenticator;
use grantwell::core::introspection::IntrospectionEndpoint;
use grantwell::core::metadata::MetadataEndpoint;
use grantwell::core::ports::{AuditSink, ClientRegistry, Clock, Random, SecretSource, TokenStore};
use grantwell::core::realm::{PublicUrl, RealmDefaults, Realms};
use grantwell::core::revocation::RevocationEndpoint;
use grantwell::core::token::TokenEndpoint;
use grantwell::embedded::registry::SqliteRegistry;
use grantwell::http::routes;
use grantwell::telemetry::{SystemClock, SystemRandom, TracingAudit};

/// The longest a request may take, its body included.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Every endpoint of every realm, over `registry` and `tokens`.
pub(crate) fn router(
    registry: &Arc<SqliteRegistry>,
    tokens: &Arc<dyn TokenStore>,
    defaults: &RealmDefaults,
    public_url: PublicUrl,
) -> Router {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let audit: Arc<dyn AuditSink> = Arc::new(TracingAudit);
    let secrets: Arc<dyn SecretSource> =
        Arc::new(CachedSecrets::new(Arc::clone(registry) as _, Arc::clone(&clock), CacheSettings::LOCAL));
    let registry: Arc<dyn ClientRegistry> =
        Arc::new(CachedRegistry::new(Arc::clone(registry) as _, CacheSettings::LOCAL));

    let realms = || Realms::new(Arc::clone(&registry), defaults.clone());
    let clients = || ClientAuthenticator::new(Arc::clone(&registry), Arc::clone(&secrets), Arc::clone(&clock));
    let every_endpoint = routes::token_routes(TokenEndpoint {
        realms: realms(),
        clients: clients(),
        tokens: Arc::clone(tokens),
        clock: Arc::clone(&clock),
        random,
        audit: Arc::clone(&audit),
    })
    .merge(routes::introspection_routes(IntrospectionEndpoint {
        realms: realms(),
        clients: clients(),
        registry: Arc::clone(&registry),
        tokens: Arc::clone(tokens),
        clock: Arc::clone(&clock),
        audit: Arc::clone(&audit),
    }))
    .merge(routes::revocation_routes(RevocationEndpoint {
        realms: realms(),
        clients: clients(),
        tokens: Arc::clone(tokens),
        clock: Arc::clone(&clock),
        audit: Arc::clone(&audit),
    }))
    .merge(routes::metadata_routes(MetadataEndpoint { realms: realms(), audit }));
    routes::finish_within(every_endpoint, REQUEST_LIMIT).layer(Extension(public_url))
}

/// The base URL of a server that listens on `address` and has no other name.
pub(crate) fn url_of(address: SocketAddr) -> String {
    format!("http://{address}")
}
