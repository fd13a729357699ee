//! What every Lambda function starts with: its settings, one SDK configuration, and the cached adapters it asks for.

use std::sync::{Arc, OnceLock};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_secretsmanager::Client as SecretsManager;

use super::rotation::{Rotation, RotationStores};
use crate::aws::sdk::{self, ObservedCalls};
use crate::aws::store::keys::{DynamoPublishedKeys, SecretsManagerKeys};
use crate::aws::store::quotas::DynamoQuotas;
use crate::aws::store::registry::DynamoRegistry;
use crate::aws::store::registry_id::RegistryIdentity;
use crate::aws::store::secrets::SecretsManagerSecrets;
use crate::aws::store::tokens::DynamoTokens;
use crate::cache::{CacheSettings, CachedRegistry, CachedSecrets, CachedSigningKeys, CachedVerificationKeys};
use crate::config::{self, ConfigError, RegistryConfig, ServerConfig};
use crate::core::access_token::validation::AccessTokenValidator;
use crate::core::client_auth::ClientAuthenticator;
use crate::core::client_auth::attempts::FailedAttempts;
use crate::core::keys::keyring::Keyring;
use crate::core::ports::{ClientRegistry, SecretSource, SigningKeySource, VerificationKeySource};
use crate::core::realm::PublicUrl;
use crate::core::realms::Realms;
use crate::observe::event::Service;
use crate::observe::metrics::{Metrics, MetricsFormat};
use crate::observe::{Observer, log};
use crate::system::{SystemClock, SystemRandom};

/// A Lambda function before it has an endpoint. Builds only the adapters that are asked for, so that each function needs
/// the settings and the permissions of what it does and no others.
pub struct Function {
    config: ServerConfig,
    sdk: SdkConfig,
    dynamodb: OnceLock<DynamoDb>,
    secrets_manager: OnceLock<SecretsManager>,
    observer: Arc<Observer>,
}

impl Function {
    /// Reads the settings, starts the log, and prepares the SDK.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that cannot be read.
    pub async fn start() -> Result<Self, ConfigError> {
        let config = ServerConfig::from_env()?;
        log::init_lambda(config.log_level);
        let observer = match config.metrics {
            MetricsFormat::Off => Observer::default(),
            MetricsFormat::Emf => {
                let (name, clock) = (config::function_name(), Arc::new(SystemClock));
                Observer::counting(Metrics::of_function(name, config.log_level, clock))
            }
        };
        let sdk = sdk::for_functions().await;
        let (dynamodb, secrets_manager) = (OnceLock::new(), OnceLock::new());
        Ok(Self { config, sdk, dynamodb, secrets_manager, observer: Arc::new(observer) })
    }

    /// Logs and counts what each invocation does.
    pub fn observer(&self) -> Arc<Observer> {
        Arc::clone(&self.observer)
    }

    /// Realms and registrations.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn registry(&self) -> Result<Arc<dyn ClientRegistry>, ConfigError> {
        let source: Arc<dyn ClientRegistry> = Arc::new(DynamoRegistry::new(self.dynamodb(), config::registry_table()?));
        Ok(Arc::new(CachedRegistry::new(source, Arc::new(SystemClock), CacheSettings::FUNCTION)))
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
        let source: Arc<dyn SecretSource> = Arc::new(SecretsManagerSecrets::new(self.secrets_manager(), prefix));
        let secrets: Arc<dyn SecretSource> =
            Arc::new(CachedSecrets::new(source, Arc::new(SystemClock), CacheSettings::FUNCTION));
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
        let source: Arc<dyn VerificationKeySource> = Arc::new(self.published_keys()?);
        Ok(Arc::new(CachedVerificationKeys::new(source, Arc::new(SystemClock), CacheSettings::FUNCTION)))
    }

    /// What the realms sign their tokens with.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn signing_keys(&self) -> Result<Arc<dyn SigningKeySource>, ConfigError> {
        let prefix = RegistryConfig::from_env()?.secret_prefix;
        let secrets_manager = self.secrets_manager();
        let store = SecretsManagerKeys::new(secrets_manager, prefix, self.published_keys()?, self.identity()?);
        let source: Arc<dyn SigningKeySource> = Arc::new(Keyring::new(Arc::new(store), Arc::new(SystemClock)));
        Ok(Arc::new(CachedSigningKeys::new(source, Arc::new(SystemClock), CacheSettings::FUNCTION)))
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
        Ok(Rotation::new(stores, interval, Arc::new(SystemClock), Arc::new(SystemRandom), self.observer()))
    }

    /// One client of a service serves all its adapters, and a function that asks for no secret makes none for them.
    fn dynamodb(&self) -> DynamoDb {
        let make = || {
            let mut config = aws_sdk_dynamodb::config::Builder::from(&self.sdk);
            if self.observer.counts() {
                config = config.interceptor(ObservedCalls::to(Service::DynamoDb, self.observer()));
            }
            DynamoDb::from_conf(config.build())
        };
        self.dynamodb.get_or_init(make).clone()
    }

    fn secrets_manager(&self) -> SecretsManager {
        let make = || {
            let mut config = aws_sdk_secretsmanager::config::Builder::from(&self.sdk);
            if self.observer.counts() {
                config = config.interceptor(ObservedCalls::to(Service::SecretsManager, self.observer()));
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
