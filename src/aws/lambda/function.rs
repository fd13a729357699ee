//! What each binary of a Lambda function does: it starts, and answers events until Lambda ends it.

use std::sync::Arc;

use aws_sdk_secretsmanager::Client as SecretsManager;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};

use super::authorizer::{self, Authorizer};
use super::front::Front;
use super::gateway;
use super::rotation::{self, Rotation, RotationStores};
use crate::app::{Adapters as _, App, Settings};
use crate::aws::adapters::AwsAdapters;
use crate::aws::sdk;
use crate::config::{self, AuthorizerConfig, ConfigError, RegistryConfig, ServerConfig};
use crate::core::admin_log::{Actor, Face};
use crate::core::management::{Logbook, Logging};
use crate::core::realms::Realms;
use crate::http::routes;
use crate::observe::metrics::{Metrics, MetricsFormat};
use crate::observe::{Observer, log};
use crate::system::SystemClock;

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
        log::init_lambda(config.log_level);
        let observer = match config.metrics {
            MetricsFormat::Off => Observer::default(),
            MetricsFormat::Emf => {
                let (name, level) = (config::function_name(), config.log_level);
                Observer::counting(Metrics::of_function(name, level, Arc::new(SystemClock)))
            }
        };
        let adapters = AwsAdapters::new(sdk::for_functions().await, Arc::new(observer));
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
        let routes = routes_of(&self.app)?;
        // A sandbox is frozen after its answer: what was begun beside it has to be at its end.
        let routes = match self.app.client_uses().cloned() {
            Some(uses) => routes.layer(middleware::from_fn(move |request: Request, next: Next| {
                let uses = Arc::clone(&uses);
                async move {
                    let response = next.run(request).await;
                    uses.settle().await;
                    response
                }
            })),
            None => routes,
        };
        gateway::serve(
            routes::finish(routes),
            self.config.public_url,
            config::front()?,
            self.app.adapters().observer(),
        )
        .await;
        Ok(())
    }

    /// Answers requests whose signature AWS has verified before they come here, by these routes. Its own address is not an issuer: the
    /// tokens are those of the API at `GRANTWELL_PUBLIC_URL`.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that is missing or cannot be read, [`ConfigError::MissingIssuer`] for that one.
    pub async fn serve_signed(
        self,
        routes_of: impl FnOnce(&App<AwsAdapters>) -> Result<Router, ConfigError>,
    ) -> Result<(), ConfigError> {
        let Some(public_url) = self.config.public_url else {
            let error = ConfigError::MissingIssuer("GRANTWELL_PUBLIC_URL");
            tracing::error!(%error, "the function does not start");
            return Err(error);
        };
        let routes = routes::finish(routes_of(&self.app)?);
        gateway::serve(routes, Some(public_url), Front::Iam, self.app.adapters().observer()).await;
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
            observer: adapters.observer(),
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
        let secret_prefix = RegistryConfig::from_env()?.secret_prefix;
        let logging = Logging {
            log: adapters.admin_log()?,
            actors: Arc::new(Actor::Schedule),
            face: Face::ROTATION,
            retention: config::admin_log_retention()?,
        };
        let registrar = adapters.registrar(&secret_prefix)?;
        let stores = RotationStores {
            secrets_manager: SecretsManager::clone(&adapters.secrets_manager()),
            secret_prefix,
            book: Logbook::new(logging, registrar, adapters.clock(), adapters.random()),
            published: adapters.published_keys()?,
            realms: Realms::new(Arc::clone(&registry) as _, self.config.realm_defaults),
            identity: adapters.identity()?,
            registry,
        };
        let interval = self.config.signing_key_rotation_interval;
        rotation::serve(Rotation::new(stores, interval, adapters.clock(), adapters.random(), adapters.observer()))
            .await;
        Ok(())
    }
}
