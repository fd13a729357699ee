//! What each binary of a Lambda function does: it starts, and answers events until Lambda ends it.

use std::sync::Arc;

use axum::Router;

use super::authorizer::{self, Authorizer};
use super::gateway;
use super::rotation::{self, Rotation, RotationStores};
use crate::app::{Adapters as _, App, Settings};
use crate::aws::adapters::AwsAdapters;
use crate::aws::sdk;
use crate::aws::traces::Traces;
use crate::config::{self, AuthorizerConfig, ConfigError, RegistryConfig, ServerConfig};
use crate::core::realms::Realms;
use crate::http::routes;
use crate::metrics::Metrics;
use crate::system::SystemClock;
use crate::telemetry;

/// A Lambda function before anything is asked of it.
pub struct Function {
    config: ServerConfig,
    app: App<AwsAdapters>,
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
        let adapters = AwsAdapters::new(sdk, Arc::new(metrics), traces);
        Ok(Self { app: App::new(adapters, Settings::of_function(&config)), config })
    }

    /// Answers requests that come through API Gateway by these routes.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that is missing or cannot be read.
    pub async fn serve(
        self,
        routes_of: impl FnOnce(&App<AwsAdapters>) -> Result<Router, ConfigError>,
    ) -> Result<(), ConfigError> {
        gateway::serve(
            routes::finish(routes_of(&self.app)?),
            self.config.public_url,
            config::front()?,
            self.app.adapters().metrics(),
        )
        .await;
        Ok(())
    }

    /// Tells API Gateway which requests to a protected API may pass.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that is missing or cannot be read.
    pub async fn authorize(self) -> Result<(), ConfigError> {
        let AuthorizerConfig { realm, public_url, audiences, scopes, response } = AuthorizerConfig::from_env()?;
        let adapters = self.app.adapters();
        authorizer::serve(Authorizer {
            tokens: Box::new(self.app.realm_tokens(realm, &public_url, audiences)?),
            scopes,
            response,
            audit: adapters.audit(),
            metrics: adapters.metrics(),
        })
        .await;
        Ok(())
    }

    /// Replaces client secrets and signing keys. Nothing that it asks is cached: what it decides lasts.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that is missing or cannot be read.
    pub async fn rotate(self) -> Result<(), ConfigError> {
        let adapters = self.app.adapters();
        let registry = adapters.consistent_registry()?;
        let stores = RotationStores {
            secrets_manager: adapters.secrets_manager(),
            secret_prefix: RegistryConfig::from_env()?.secret_prefix,
            published: adapters.published_keys()?,
            realms: Realms::new(Arc::clone(&registry) as _, self.config.realm_defaults),
            identity: adapters.identity()?,
            registry,
        };
        let interval = self.config.signing_key_rotation_interval;
        rotation::serve(Rotation::new(stores, interval, adapters.clock(), adapters.random(), adapters.metrics())).await;
        Ok(())
    }
}
