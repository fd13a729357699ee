//! The composition: what a process stores and is told becomes its endpoints, and these its routes. Functions, the local server,
//! fuzz targets and benchmarks are all made here, and differ in their [`Adapters`] and [`Settings`] only.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;

use crate::cache::{
    CacheSettings, CachedRegistry, CachedRemoteKeys, CachedSecrets, CachedSigningKeys, CachedVerificationKeys,
    ClientUses,
};
use crate::config::ServerConfig;
use crate::core::access_token::validation::AccessTokenValidator;
use crate::core::audit::AuditSink;
use crate::core::bearer::RealmTokens;
use crate::core::client_auth::ClientAuthenticator;
use crate::core::client_auth::attempts::{AttemptLimits, FailedAttempts};
use crate::core::introspection::IntrospectionEndpoint;
use crate::core::metadata::MetadataEndpoint;
use crate::core::ports::{
    ClientRegistry, Clock, Denylist, KeyCopies, QuotaCounter, RemoteKeys, ReplayGuard, SecretSource, SigningKeySource,
    TokenStore, UseMarks, VerificationKeySource,
};
use crate::core::random::Random;
use crate::core::realm::{PublicUrl, RealmName};
use crate::core::realms::{RealmDefaults, Realms};
use crate::core::revocation::RevocationEndpoint;
use crate::core::token::TokenEndpoint;
use crate::http::routes::{self, HttpService};
use crate::observe::Observer;
use crate::remote::fetcher::Fetcher;
use crate::remote::keys::{Fetch, SharedKeys};
use crate::system::{SystemClock, SystemRandom};

/// Where a process stores things and whom it tells: a method a port. Each is made when it is asked for, so that a process
/// needs the settings and the permissions of what it does, and no others. Nothing here is cached: [`App`] does that.
pub trait Adapters {
    /// Why an adapter cannot be made.
    type Error;

    /// Realms and registrations.
    fn registry(&self) -> Result<Arc<dyn ClientRegistry>, Self::Error>;

    /// What clients authenticate with.
    fn secrets(&self) -> Result<Arc<dyn SecretSource>, Self::Error>;

    /// Tokens that are stored.
    fn tokens(&self) -> Result<Arc<dyn TokenStore>, Self::Error>;

    /// The end of those that are not.
    fn denylist(&self) -> Result<Arc<dyn Denylist>, Self::Error>;

    /// The same for the endpoint that issues tokens. It keeps, too, since when the list is whole, where somebody has to.
    fn denylist_of_issuer(&self) -> Result<Arc<dyn Denylist>, Self::Error> {
        self.denylist()
    }

    /// How many tokens clients with a quota have been issued.
    fn quotas(&self) -> Result<Arc<dyn QuotaCounter>, Self::Error>;

    /// What clients have used once to authenticate.
    fn replay_guard(&self) -> Result<Arc<dyn ReplayGuard>, Self::Error>;

    /// On which day clients were last used.
    fn use_marks(&self) -> Result<Arc<dyn UseMarks>, Self::Error>;

    /// What the realms sign with.
    fn signing_keys(&self) -> Result<Arc<dyn SigningKeySource>, Self::Error>;

    /// What the realms publish to verify their tokens with.
    fn verification_keys(&self) -> Result<Arc<dyn VerificationKeySource>, Self::Error>;

    /// What was fetched from addresses of clients' keys.
    fn key_copies(&self) -> Result<Arc<dyn KeyCopies>, Self::Error>;

    /// Fetches from there.
    fn fetch(&self) -> Arc<dyn Fetch> {
        Arc::new(Fetcher::default())
    }

    /// Records each decision.
    fn audit(&self) -> Arc<dyn AuditSink>;

    /// Is told of what the caches do.
    fn observer(&self) -> Arc<Observer> {
        Arc::default()
    }

    /// Tells the time.
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    /// Makes what nobody can guess.
    fn random(&self) -> Arc<dyn Random> {
        Arc::new(SystemRandom)
    }
}

/// What an operator may choose, whatever the adapters.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings of realms that do not say themselves.
    pub realm_defaults: RealmDefaults,
    /// How many failed authentications are let happen; `None` where they are not counted.
    pub attempt_limits: Option<AttemptLimits>,
    /// How long what was read is believed.
    pub caches: CacheSettings,
}

/// One process: the endpoints over one set of adapters, with caches and a count of failed attempts that they share.
pub struct App<A> {
    adapters: A,
    settings: Settings,
    attempts: Option<Arc<FailedAttempts>>,
    registry: OnceLock<Arc<dyn ClientRegistry>>,
    secrets: OnceLock<Arc<dyn SecretSource>>,
    signing_keys: OnceLock<Arc<dyn SigningKeySource>>,
    verification_keys: OnceLock<Arc<dyn VerificationKeySource>>,
    remote_keys: OnceLock<Arc<dyn RemoteKeys>>,
    uses: OnceLock<Arc<ClientUses>>,
}

impl Settings {
    /// Those of a Lambda function.
    pub fn of_function(config: &ServerConfig) -> Self {
        Self::new(config, FUNCTION_CACHES)
    }

    /// Those of the local server.
    pub fn of_local_server(config: &ServerConfig) -> Self {
        Self::new(config, LOCAL_CACHES)
    }

    fn new(config: &ServerConfig, caches: CacheSettings) -> Self {
        Self { realm_defaults: config.realm_defaults.clone(), attempt_limits: config.attempt_limits, caches }
    }
}

impl<A: Adapters> App<A> {
    /// Makes nothing yet.
    pub fn new(adapters: A, settings: Settings) -> Self {
        Self {
            adapters,
            attempts: settings.attempt_limits.map(|limits| Arc::new(FailedAttempts::new(limits))),
            settings,
            registry: OnceLock::new(),
            secrets: OnceLock::new(),
            signing_keys: OnceLock::new(),
            verification_keys: OnceLock::new(),
            remote_keys: OnceLock::new(),
            uses: OnceLock::new(),
        }
    }

    /// What it is made of.
    pub fn adapters(&self) -> &A {
        &self.adapters
    }

    /// Every endpoint of every realm and the routes `beside` them, reached by `public_url`: the whole of one process.
    ///
    /// # Errors
    /// That of the adapters.
    pub fn service(&self, public_url: PublicUrl, beside: Router) -> Result<impl HttpService + use<A>, A::Error> {
        let observer = self.adapters.observer();
        Ok(routes::service(self.every_route()?.merge(beside), public_url, REQUEST_LIMIT, observer))
    }

    /// The routes of every endpoint.
    ///
    /// # Errors
    /// That of the adapters.
    pub fn every_route(&self) -> Result<Router, A::Error> {
        Ok(self.client_routes()?.merge(self.metadata_routes()?))
    }

    /// The routes of every endpoint where a client authenticates.
    ///
    /// # Errors
    /// That of the adapters.
    pub fn client_routes(&self) -> Result<Router, A::Error> {
        Ok(self.token_routes()?.merge(self.introspection_routes()?).merge(self.revocation_routes()?))
    }

    /// The routes of the token endpoint.
    ///
    /// # Errors
    /// That of the adapters.
    pub fn token_routes(&self) -> Result<Router, A::Error> {
        Ok(routes::token_routes(self.token_endpoint()?))
    }

    /// The routes of introspection.
    ///
    /// # Errors
    /// That of the adapters.
    pub fn introspection_routes(&self) -> Result<Router, A::Error> {
        Ok(routes::introspection_routes(self.introspection_endpoint()?))
    }

    /// The routes of revocation.
    ///
    /// # Errors
    /// That of the adapters.
    pub fn revocation_routes(&self) -> Result<Router, A::Error> {
        let endpoint = RevocationEndpoint {
            realms: self.realms()?,
            clients: self.authenticator()?,
            tokens: self.adapters.tokens()?,
            denylist: self.adapters.denylist()?,
            keys: self.verification_keys()?,
            clock: self.adapters.clock(),
            audit: self.adapters.audit(),
        };
        Ok(routes::revocation_routes(endpoint))
    }

    /// The routes of the metadata documents and of the realms' keys.
    ///
    /// # Errors
    /// That of the adapters.
    pub fn metadata_routes(&self) -> Result<Router, A::Error> {
        let endpoint =
            MetadataEndpoint { realms: self.realms()?, keys: self.verification_keys()?, audit: self.adapters.audit() };
        Ok(routes::metadata_routes(endpoint))
    }

    /// The token endpoint.
    ///
    /// # Errors
    /// That of the adapters.
    pub fn token_endpoint(&self) -> Result<TokenEndpoint, A::Error> {
        Ok(TokenEndpoint {
            realms: self.realms()?,
            clients: self.authenticator()?,
            tokens: self.adapters.tokens()?,
            denylist: self.adapters.denylist_of_issuer()?,
            quotas: self.adapters.quotas()?,
            keys: self.signing_keys()?,
            clock: self.adapters.clock(),
            random: self.adapters.random(),
            audit: self.adapters.audit(),
        })
    }

    /// The introspection endpoint.
    ///
    /// # Errors
    /// That of the adapters.
    pub fn introspection_endpoint(&self) -> Result<IntrospectionEndpoint, A::Error> {
        Ok(IntrospectionEndpoint {
            clients: self.authenticator()?,
            tokens: self.token_validator()?,
            keys: self.signing_keys()?,
            clock: self.adapters.clock(),
            audit: self.adapters.audit(),
        })
    }

    /// The tokens of one realm, for a resource that has the names in `audiences` and is asked about by nobody else.
    ///
    /// # Errors
    /// That of the adapters.
    pub fn realm_tokens(
        &self,
        realm: RealmName,
        public_url: &PublicUrl,
        audiences: Vec<String>,
    ) -> Result<RealmTokens, A::Error> {
        Ok(RealmTokens {
            tokens: self.token_validator()?,
            clock: self.adapters.clock(),
            issuers: routes::base_paths(&realm).map(|path| public_url.issuer(&path)).collect(),
            realm,
            audiences,
        })
    }

    /// Authenticates clients.
    ///
    /// # Errors
    /// That of the adapters.
    pub fn authenticator(&self) -> Result<ClientAuthenticator, A::Error> {
        let authenticator = ClientAuthenticator::new(self.registry()?, self.secrets()?, self.adapters.clock());
        let authenticator = authenticator.guarded_by(self.adapters.replay_guard()?).fetching(self.remote_keys()?);
        let uses = once(&self.uses, || {
            let (marks, clock) = (self.adapters.use_marks()?, self.adapters.clock());
            Ok(Arc::new(ClientUses::new(marks, clock, self.settings.caches)))
        })?;
        Ok(authenticator.limited_by(self.attempts.clone()).noting(uses))
    }

    /// What marks clients as used, where an endpoint of this process authenticates any.
    pub fn client_uses(&self) -> Option<&Arc<ClientUses>> {
        self.uses.get()
    }

    /// The keys that the realms publish, as they are remembered.
    ///
    /// # Errors
    /// That of the adapters.
    pub fn verification_keys(&self) -> Result<Arc<dyn VerificationKeySource>, A::Error> {
        once(&self.verification_keys, || {
            let (source, clock) = (self.adapters.verification_keys()?, self.adapters.clock());
            let cache = CachedVerificationKeys::new(source, clock, self.settings.caches);
            Ok(Arc::new(cache.observed_by(self.adapters.observer())))
        })
    }

    fn signing_keys(&self) -> Result<Arc<dyn SigningKeySource>, A::Error> {
        once(&self.signing_keys, || {
            let cache =
                CachedSigningKeys::new(self.adapters.signing_keys()?, self.adapters.clock(), self.settings.caches);
            Ok(Arc::new(cache.observed_by(self.adapters.observer())))
        })
    }

    /// The keys of clients that publish them, as they are remembered.
    ///
    /// # Errors
    /// That of the adapters.
    pub fn remote_keys(&self) -> Result<Arc<dyn RemoteKeys>, A::Error> {
        once(&self.remote_keys, || {
            let (copies, clock) = (self.adapters.key_copies()?, self.adapters.clock());
            let shared = SharedKeys::new(copies, self.adapters.fetch(), Arc::clone(&clock));
            let cache = CachedRemoteKeys::new(shared, clock, self.settings.caches);
            Ok(Arc::new(cache.observed_by(self.adapters.observer())))
        })
    }

    fn secrets(&self) -> Result<Arc<dyn SecretSource>, A::Error> {
        once(&self.secrets, || {
            let cache = CachedSecrets::new(self.adapters.secrets()?, self.adapters.clock(), self.settings.caches);
            Ok(Arc::new(cache.observed_by(self.adapters.observer())))
        })
    }

    fn registry(&self) -> Result<Arc<dyn ClientRegistry>, A::Error> {
        once(&self.registry, || {
            let cache = CachedRegistry::new(self.adapters.registry()?, self.adapters.clock(), self.settings.caches);
            Ok(Arc::new(cache.observed_by(self.adapters.observer())))
        })
    }

    fn realms(&self) -> Result<Realms, A::Error> {
        Ok(Realms::new(self.registry()?, self.settings.realm_defaults.clone()))
    }

    fn token_validator(&self) -> Result<AccessTokenValidator, A::Error> {
        Ok(AccessTokenValidator {
            realms: self.realms()?,
            registry: self.registry()?,
            tokens: self.adapters.tokens()?,
            denylist: self.adapters.denylist()?,
            keys: self.verification_keys()?,
        })
    }
}

/// What is in `cell`, made where nothing is: all endpoints of a process share it.
fn once<P: ?Sized, E>(cell: &OnceLock<Arc<P>>, make: impl FnOnce() -> Result<Arc<P>, E>) -> Result<Arc<P>, E> {
    if let Some(made) = cell.get() {
        return Ok(Arc::clone(made));
    }
    let made = make()?;
    Ok(Arc::clone(cell.get_or_init(|| made)))
}

/// For a function: every miss is billed and takes milliseconds.
pub const FUNCTION_CACHES: CacheSettings = CacheSettings {
    capacity: 10_000,
    registration_ttl: Duration::from_mins(1),
    absence_ttl: Duration::from_secs(20),
    secret_ttl: Duration::from_mins(5),
    secret_stale_limit: Duration::from_hours(1),
    secret_retry_interval: Duration::from_secs(30),
    mismatch_interval: Duration::from_secs(30),
    key_ttl: Duration::from_mins(5),
    unknown_key_interval: Duration::from_secs(5),
};

/// For the local server: a miss is a read of a local file.
pub const LOCAL_CACHES: CacheSettings = CacheSettings {
    registration_ttl: Duration::from_secs(5),
    absence_ttl: Duration::from_secs(5),
    secret_ttl: Duration::from_secs(5),
    secret_retry_interval: Duration::from_secs(5),
    key_ttl: Duration::from_secs(5),
    unknown_key_interval: Duration::from_secs(1),
    ..FUNCTION_CACHES
};

/// The longest that a request to the local server may take, its body included.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
