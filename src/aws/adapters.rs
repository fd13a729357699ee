//! The adapters of a Lambda function, on one SDK configuration.

use std::sync::{Arc, OnceLock};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_secretsmanager::Client as SecretsManager;

use super::sdk::{LazySecretsManager, ObservedCalls};
use super::store::admin_log::DynamoAdminLog;
use super::store::keys::{DynamoPublishedKeys, SecretsManagerKeys};
use super::store::new_secrets::{NewSecrets, SecretTags};
use super::store::quotas::DynamoQuotas;
use super::store::registrar::AwsRegistrar;
use super::store::registry::DynamoRegistry;
use super::store::registry_id::RegistryIdentity;
use super::store::remote_keys::DynamoKeyCopies;
use super::store::replay_guard::DynamoReplayGuard;
use super::store::secrets::AwsSecrets;
use super::store::tokens::DynamoTokens;
use super::store::use_marks::DynamoUseMarks;
use crate::app::Adapters;
use crate::config::{self, ConfigError, RegistryConfig};
use crate::core::audit::AuditSink;
use crate::core::keys::keyring::Keyring;
use crate::core::ports::{
    ClientRegistry, Denylist, KeyCopies, QuotaCounter, ReplayGuard, SecretSource, SigningKeySource, TokenStore,
    UseMarks, VerificationKeySource,
};
use crate::observe::Observer;
use crate::observe::event::Service;

/// DynamoDB and Secrets Manager. The names of tables and secrets are read when something of them is asked for.
pub struct AwsAdapters {
    sdk: SdkConfig,
    dynamodb: OnceLock<DynamoDb>,
    secrets_manager: LazySecretsManager,
    observer: Arc<Observer>,
}

impl AwsAdapters {
    /// Calls AWS as `sdk` says, and tells `observer` of it.
    pub(super) fn new(sdk: SdkConfig, observer: Arc<Observer>) -> Self {
        let secrets_manager = LazySecretsManager::new({
            let (sdk, observer) = (sdk.clone(), Arc::clone(&observer));
            move || {
                let mut config = aws_sdk_secretsmanager::config::Builder::from(&sdk);
                if observer.counts() {
                    config = config.interceptor(ObservedCalls::to(Service::SecretsManager, observer));
                }
                SecretsManager::from_conf(config.build())
            }
        });
        Self { sdk, dynamodb: OnceLock::new(), secrets_manager, observer }
    }

    /// The registry for who changes what it says: it is never behind.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub(super) fn consistent_registry(&self) -> Result<Arc<DynamoRegistry>, ConfigError> {
        Ok(Arc::new(self.dynamo_registry()?.strongly_consistent()))
    }

    /// Which registry's the secrets of this stack are.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub(super) fn identity(&self) -> Result<Arc<RegistryIdentity>, ConfigError> {
        Ok(Arc::new(RegistryIdentity::new(self.dynamodb(), config::registry_table()?)))
    }

    /// What the realms publish to verify their tokens with.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub(super) fn published_keys(&self) -> Result<DynamoPublishedKeys, ConfigError> {
        Ok(DynamoPublishedKeys::new(self.dynamodb(), config::registry_table()?))
    }

    /// Where it is written down what a function changes by itself.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub(super) fn admin_log(&self) -> Result<Arc<DynamoAdminLog>, ConfigError> {
        Ok(Arc::new(DynamoAdminLog::new(self.dynamodb(), config::registry_table()?)))
    }

    /// The registry for who would change it, with the secrets under `secret_prefix`.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub(super) fn registrar(&self, secret_prefix: &str) -> Result<Arc<AwsRegistrar>, ConfigError> {
        let (dynamodb, secrets_manager, table) = (self.dynamodb(), self.secrets_manager(), config::registry_table()?);
        Ok(Arc::new(AwsRegistrar::new(
            dynamodb,
            SecretsManager::clone(&secrets_manager),
            table,
            secret_prefix,
            self.random(),
        )))
    }

    /// One client of a service serves all its adapters, and a function that asks for no secret makes none for them.
    pub(super) fn secrets_manager(&self) -> LazySecretsManager {
        self.secrets_manager.clone()
    }

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

    fn dynamo_registry(&self) -> Result<DynamoRegistry, ConfigError> {
        Ok(DynamoRegistry::new(self.dynamodb(), config::registry_table()?))
    }

    fn dynamo_tokens(&self) -> Result<DynamoTokens, ConfigError> {
        Ok(DynamoTokens::new(self.dynamodb(), config::token_table()?, self.clock()))
    }
}

impl Adapters for AwsAdapters {
    type Error = ConfigError;

    fn registry(&self) -> Result<Arc<dyn ClientRegistry>, ConfigError> {
        Ok(Arc::new(self.dynamo_registry()?))
    }

    fn secrets(&self) -> Result<Arc<dyn SecretSource>, ConfigError> {
        let prefix = RegistryConfig::from_env()?.secret_prefix;
        Ok(Arc::new(AwsSecrets::new(self.secrets_manager(), prefix, self.registry()?)))
    }

    fn tokens(&self) -> Result<Arc<dyn TokenStore>, ConfigError> {
        Ok(Arc::new(self.dynamo_tokens()?))
    }

    fn denylist(&self) -> Result<Arc<dyn Denylist>, ConfigError> {
        Ok(Arc::new(self.dynamo_tokens()?))
    }

    fn denylist_of_issuer(&self) -> Result<Arc<dyn Denylist>, ConfigError> {
        Ok(Arc::new(self.dynamo_tokens()?.keeping_whole_since()))
    }

    fn quotas(&self) -> Result<Arc<dyn QuotaCounter>, ConfigError> {
        Ok(Arc::new(DynamoQuotas::new(self.dynamodb(), config::token_table()?)))
    }

    fn replay_guard(&self) -> Result<Arc<dyn ReplayGuard>, ConfigError> {
        Ok(Arc::new(DynamoReplayGuard::new(self.dynamodb(), config::token_table()?, self.random())))
    }

    fn use_marks(&self) -> Result<Arc<dyn UseMarks>, ConfigError> {
        Ok(Arc::new(DynamoUseMarks::new(self.dynamodb(), config::token_table()?)))
    }

    fn signing_keys(&self) -> Result<Arc<dyn SigningKeySource>, ConfigError> {
        let prefix = RegistryConfig::from_env()?.secret_prefix;
        let store = SecretsManagerKeys::new(self.secrets_manager(), prefix, self.published_keys()?, self.identity()?)
            .making(NewSecrets { kms_key: config::kms_key()?, tags: SecretTags::default() });
        Ok(Arc::new(Keyring::new(Arc::new(store), self.clock())))
    }

    fn verification_keys(&self) -> Result<Arc<dyn VerificationKeySource>, ConfigError> {
        Ok(Arc::new(self.published_keys()?))
    }

    fn key_copies(&self) -> Result<Arc<dyn KeyCopies>, ConfigError> {
        Ok(Arc::new(DynamoKeyCopies::new(self.dynamodb(), config::token_table()?)))
    }

    fn audit(&self) -> Arc<dyn AuditSink> {
        self.observer()
    }

    fn observer(&self) -> Arc<Observer> {
        Arc::clone(&self.observer)
    }
}
