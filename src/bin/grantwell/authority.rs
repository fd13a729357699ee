//! The whole authorization server of one process: every endpoint over one set of adapters.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;

use grantwell::cache::{CacheSettings, CachedRegistry, CachedSecrets, CachedSigningKeys, CachedVerificationKeys};
use grantwell::core::access_token::validation::AccessTokenValidator;
use grantwell::core::audit::AuditSink;
use grantwell::core::client_auth::ClientAuthenticator;
use grantwell::core::client_auth::attempts::FailedAttempts;
use grantwell::core::introspection::IntrospectionEndpoint;
use grantwell::core::keys::keyring::Keyring;
use grantwell::core::metadata::MetadataEndpoint;
use grantwell::core::ports::{
    ClientRegistry, Clock, Denylist, QuotaCounter, SecretSource, SigningKeySource, TokenStore, VerificationKeySource,
};
use grantwell::core::random::Random;
use grantwell::core::realm::PublicUrl;
use grantwell::core::realms::{RealmDefaults, Realms};
use grantwell::core::revocation::RevocationEndpoint;
use grantwell::core::token::TokenEndpoint;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::http::routes::{self, HttpService};
use grantwell::system::{SystemClock, SystemRandom};
use grantwell::telemetry::LogRefusalsSparingly;

/// The longest a request may take, its body included.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// What the server issues and ends, one adapter in two roles, and how many of it.
#[derive(Clone)]
pub(crate) struct IssuedTokens {
    tokens: Arc<dyn TokenStore>,
    denylist: Arc<dyn Denylist>,
    quotas: Arc<dyn QuotaCounter>,
}

impl IssuedTokens {
    pub(crate) fn new(adapter: Arc<impl TokenStore + Denylist + 'static>, quotas: Arc<dyn QuotaCounter>) -> Self {
        Self { tokens: Arc::clone(&adapter) as _, denylist: adapter, quotas }
    }
}

/// Every endpoint of every realm, over `registry` and `issued`, and the routes beside them.
pub(crate) fn service(
    registry: &Arc<SqliteRegistry>,
    issued: &IssuedTokens,
    defaults: &RealmDefaults,
    public_url: PublicUrl,
    attempts: Option<&Arc<FailedAttempts>>,
    beside: Router,
) -> impl HttpService + use<> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let audit: Arc<dyn AuditSink> = sparing_log(&clock);
    let IssuedTokens { tokens, denylist, quotas } = issued;
    let secrets: Arc<dyn SecretSource> =
        Arc::new(CachedSecrets::new(Arc::clone(registry) as _, Arc::clone(&clock), CacheSettings::LOCAL));
    let public_keys: Arc<dyn VerificationKeySource> =
        Arc::new(CachedVerificationKeys::new(Arc::clone(registry) as _, Arc::clone(&clock), CacheSettings::LOCAL));
    let keyring = Keyring::new(Arc::clone(registry) as _, Arc::clone(&clock));
    let signing_keys: Arc<dyn SigningKeySource> =
        Arc::new(CachedSigningKeys::new(Arc::new(keyring), Arc::clone(&clock), CacheSettings::LOCAL));
    let registry: Arc<dyn ClientRegistry> =
        Arc::new(CachedRegistry::new(Arc::clone(registry) as _, Arc::clone(&clock), CacheSettings::LOCAL));

    let realms = || Realms::new(Arc::clone(&registry), defaults.clone());
    let clients = || {
        ClientAuthenticator::new(Arc::clone(&registry), Arc::clone(&secrets), Arc::clone(&clock))
            .limited_by(attempts.cloned())
    };
    let every_endpoint = routes::token_routes(TokenEndpoint {
        realms: realms(),
        clients: clients(),
        tokens: Arc::clone(tokens),
        denylist: Arc::clone(denylist),
        quotas: Arc::clone(quotas),
        keys: Arc::clone(&signing_keys),
        clock: Arc::clone(&clock),
        random,
        audit: Arc::clone(&audit),
    })
    .merge(routes::introspection_routes(IntrospectionEndpoint {
        clients: clients(),
        tokens: AccessTokenValidator {
            realms: realms(),
            registry: Arc::clone(&registry),
            tokens: Arc::clone(tokens),
            denylist: Arc::clone(denylist),
            keys: Arc::clone(&public_keys),
        },
        keys: signing_keys,
        clock: Arc::clone(&clock),
        audit: Arc::clone(&audit),
    }))
    .merge(routes::revocation_routes(RevocationEndpoint {
        realms: realms(),
        clients: clients(),
        tokens: Arc::clone(tokens),
        denylist: Arc::clone(denylist),
        keys: Arc::clone(&public_keys),
        clock: Arc::clone(&clock),
        audit: Arc::clone(&audit),
    }))
    .merge(routes::metadata_routes(MetadataEndpoint { realms: realms(), keys: public_keys, audit }));
    routes::service(every_endpoint.merge(beside), public_url, REQUEST_LIMIT)
}

/// Tells of what it has left out for as long as it is used, and once more at its end.
fn sparing_log(clock: &Arc<dyn Clock>) -> Arc<LogRefusalsSparingly> {
    let audit = Arc::new(LogRefusalsSparingly::new(Arc::clone(clock)));
    let used = Arc::downgrade(&audit);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LogRefusalsSparingly::INTERVAL / 2).await;
            let Some(audit) = used.upgrade() else { return };
            audit.tell_when_due();
        }
    });
    audit
}

/// The base URL of a server that listens on `address` and has no other name.
pub(crate) fn url_of(address: SocketAddr) -> String {
    format!("http://{address}")
}
