//! What every Lambda function starts with: its settings, one SDK configuration, and the cached adapters it asks for.

use std::sync::{Arc, OnceLock};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_secretsmanager::Client as SecretsManager;

use super::rotation::{Rotation, RotationStores};
use crate::aws::sdk::{self, CountedCalls};
use crate::aws::store::keys::{DynamoPublishedKeys, SecretsManagerKeys};
use crate::aws::store::quotas::DynamoQuotas;
use crate::aws::store::registry::DynamoRegistry;
use crate::aws::store::registry_id::RegistryIdentity;
use crate::aws::store::secrets::SecretsManagerSecrets;
use crate::aws::store::tokens::DynamoTokens;
use crate::aws::traces::{TracedCalls, Traces};
use crate::cache::{CacheSettings, CachedRegistry, CachedSecrets, CachedSigningKeys, CachedVerificationKeys};
use crate::config::{self, ConfigError, RegistryConfig, ServerConfig};
use crate::core::access_token::validation::AccessTokenValidator;
use crate::core::audit::AuditSink;
use crate::core::client_auth::ClientAuthenticator;
use crate::core::client_auth::attempts::FailedAttempts;
use crate::core::keys::keyring::Keyring;
use crate::core::ports::{ClientRegistry, SecretSource, SigningKeySource, VerificationKeySource};
use crate::core::realm::PublicUrl;
use crate::core::realms::Realms;
use crate::metrics::{CountedAudit, CountedHits, CountedLoads, Metrics};
use crate::system::{SystemClock, SystemRandom};
use crate::telemetry::{self, TracingAudit};

/// A Lambda function before it has an endpoint. Builds only the adapters that are asked for, so that each function needs
/// the settings and the permissions of what it does and no others.
pub struct Function {
    config: ServerConfig,
    sdk: SdkConfig,
    dynamodb: OnceLock<DynamoDb>,
    secrets_manager: OnceLock<SecretsManager>,
    metrics: Arc<Metrics>,
    traces: Option<Arc<Traces>>,
}

impl Function {
    /// Reads the settings, starts the log, and prepares the SDK.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that cannot be read.
    pub async fn start() -> Result<Self, ConfigError> {
        let config = ServerConfig::from_env()?;
        telemetry::init_lambda(config.log_level);
        let metrics = Metrics::new(config.metrics, config::function_name(), config.log_level, Arc::new(SystemClock));
        let sdk = sdk::for_functions().await;
        let region = sdk.region().map(ToString::to_string);
        let traces = config::xray_daemon().and_then(|addresses| Traces::to(&addresses, region)).map(Arc::new);
        let (dynamodb, secrets_manager) = (OnceLock::new(), OnceLock::new());
        Ok(Self { config, sdk, dynamodb, secrets_manager, metrics: Arc::new(metrics), traces })
    }

    /// Counts what each invocation does.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Logs each decision, and counts it.
    pub fn audit(&self) -> Arc<dyn AuditSink> {
        if self.metrics.is_on() { Arc::new(CountedAudit(self.metrics())) } else { Arc::new(TracingAudit) }
    }

    /// Realms and registrations.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn registry(&self) -> Result<Arc<dyn ClientRegistry>, ConfigError> {
        let mut source: Arc<dyn ClientRegistry> =
            Arc::new(DynamoRegistry::new(self.dynamodb(), config::registry_table()?));
        if self.metrics.is_on() {
            source = Arc::new(CountedLoads { source, metrics: self.metrics() });
        }
        let cache: Arc<dyn ClientRegistry> =
            Arc::new(CachedRegistry::new(source, Arc::new(SystemClock), CacheSettings::FUNCTION));
        Ok(if self.metrics.is_on() { Arc::new(CountedHits { cache, metrics: self.metrics() }) } else { cache })
    }

    /// Finds realms in `registry`.
    pub fn realms(&self, registry: &Arc<dyn ClientRegistry>) -> Realms {
        Realms::new(Arc::clone(registry), self.config.realm_defaults.clone())
    }

    /// Authenticates the clients of `registry` with the secrets of Secrets Manager.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn authenticator(&self, registry: &Arc<dyn ClientRegistry>) -> Result<ClientAuthenticator, ConfigError> {
        let prefix = RegistryConfig::from_env()?.secret_prefix;
        let mut source: Arc<dyn SecretSource> = Arc::new(SecretsManagerSecrets::new(self.secrets_manager(), prefix));
        if self.metrics.is_on() {
            source = Arc::new(CountedLoads { source, metrics: self.metrics() });
        }
        let mut secrets: Arc<dyn SecretSource> =
            Arc::new(CachedSecrets::new(source, Arc::new(SystemClock), CacheSettings::FUNCTION));
        if self.metrics.is_on() {
            secrets = Arc::new(CountedHits { cache: secrets, metrics: self.metrics() });
        }
        let attempts = self.config.attempt_limits.map(|limits| Arc::new(FailedAttempts::new(limits)));
        let authenticator = ClientAuthenticator::new(Arc::clone(registry), secrets, Arc::new(SystemClock));
        Ok(authenticator.limited_by(attempts))
    }

    /// Issued tokens, and those that have ended. Never cached: a revoked one is gone at once.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn tokens(&self) -> Result<Arc<DynamoTokens>, ConfigError> {
        Ok(Arc::new(DynamoTokens::new(self.dynamodb(), config::token_table()?, Arc::new(SystemClock))))
    }

    /// The same for the function that issues them.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn tokens_to_issue(&self) -> Result<Arc<DynamoTokens>, ConfigError> {
        let tokens = DynamoTokens::new(self.dynamodb(), config::token_table()?, Arc::new(SystemClock));
        Ok(Arc::new(tokens.keeping_whole_since()))
    }

    /// How many tokens clients with a quota have been issued. Never cached: all sandboxes count together.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn quotas(&self) -> Result<Arc<DynamoQuotas>, ConfigError> {
        Ok(Arc::new(DynamoQuotas::new(self.dynamodb(), config::token_table()?)))
    }

    /// What the realms publish to verify their tokens with.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn verification_keys(&self) -> Result<Arc<dyn VerificationKeySource>, ConfigError> {
        let mut source: Arc<dyn VerificationKeySource> = Arc::new(self.published_keys()?);
        if self.metrics.is_on() {
            source = Arc::new(CountedLoads { source, metrics: self.metrics() });
        }
        let cache: Arc<dyn VerificationKeySource> =
            Arc::new(CachedVerificationKeys::new(source, Arc::new(SystemClock), CacheSettings::FUNCTION));
        Ok(if self.metrics.is_on() { Arc::new(CountedHits { cache, metrics: self.metrics() }) } else { cache })
    }

    /// What the realms sign their tokens with.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn signing_keys(&self) -> Result<Arc<dyn SigningKeySource>, ConfigError> {
        let prefix = RegistryConfig::from_env()?.secret_prefix;
        let secrets_manager = self.secrets_manager();
        let store = SecretsManagerKeys::new(secrets_manager, prefix, self.published_keys()?, self.identity()?);
        let mut source: Arc<dyn SigningKeySource> = Arc::new(Keyring::new(Arc::new(store), Arc::new(SystemClock)));
        if self.metrics.is_on() {
            source = Arc::new(CountedLoads { source, metrics: self.metrics() });
        }
        let cache: Arc<dyn SigningKeySource> =
            Arc::new(CachedSigningKeys::new(source, Arc::new(SystemClock), CacheSettings::FUNCTION));
        Ok(if self.metrics.is_on() { Arc::new(CountedHits { cache, metrics: self.metrics() }) } else { cache })
    }

    /// Says of presented tokens whether they count.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn token_validator(&self, registry: &Arc<dyn ClientRegistry>) -> Result<AccessTokenValidator, ConfigError> {
        let tokens = self.tokens()?;
        Ok(AccessTokenValidator {
            realms: self.realms(registry),
            registry: Arc::clone(registry),
            tokens: Arc::clone(&tokens) as _,
            denylist: tokens,
            keys: self.verification_keys()?,
        })
    }

    /// Rotates client secrets and signing keys. Nothing it asks is cached: what it decides lasts.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn rotation(&self) -> Result<Rotation, ConfigError> {
        let RegistryConfig { registry_table, secret_prefix } = RegistryConfig::from_env()?;
        let dynamodb = self.dynamodb();
        let registry = Arc::new(DynamoRegistry::new(dynamodb, registry_table).strongly_consistent());
        let stores = RotationStores {
            secrets_manager: self.secrets_manager(),
            secret_prefix,
            published: self.published_keys()?,
            realms: Realms::new(Arc::clone(&registry) as _, self.config.realm_defaults.clone()),
            identity: self.identity()?,
            registry,
        };
        let interval = self.config.signing_key_rotation_interval;
        Ok(Rotation::new(stores, interval, Arc::new(SystemClock), Arc::new(SystemRandom), self.metrics()))
    }

    /// One client of a service serves all its adapters, and a function that asks for no secret makes none for them.
    fn dynamodb(&self) -> DynamoDb {
        let make = || {
            let mut config = aws_sdk_dynamodb::config::Builder::from(&self.sdk);
            if self.metrics.is_on() {
                config = config.interceptor(CountedCalls::to_dynamodb(self.metrics()));
            }
            if let Some(traces) = &self.traces {
                config = config.interceptor(TracedCalls::to_dynamodb(Arc::clone(traces)));
            }
            DynamoDb::from_conf(config.build())
        };
        self.dynamodb.get_or_init(make).clone()
    }

    fn secrets_manager(&self) -> SecretsManager {
        let make = || {
            let mut config = aws_sdk_secretsmanager::config::Builder::from(&self.sdk);
            if self.metrics.is_on() {
                config = config.interceptor(CountedCalls::to_secrets_manager(self.metrics()));
            }
            if let Some(traces) = &self.traces {
                config = config.interceptor(TracedCalls::to_secrets_manager(Arc::clone(traces)));
            }
            SecretsManager::from_conf(config.build())
        };
        self.secrets_manager.get_or_init(make).clone()
    }

    fn identity(&self) -> Result<Arc<RegistryIdentity>, ConfigError> {
        Ok(Arc::new(RegistryIdentity::new(self.dynamodb(), config::registry_table()?)))
    }

    fn published_keys(&self) -> Result<DynamoPublishedKeys, ConfigError> {
        Ok(DynamoPublishedKeys::new(self.dynamodb(), config::registry_table()?))
    }

    /// The configured public URL; the gateway's own word counts where there is none.
    pub fn public_url(&self) -> Option<PublicUrl> {
        self.config.public_url.clone()
    }
}
