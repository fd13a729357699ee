//! The `authorizer` Lambda function: tells API Gateway whether a bearer token lets a request pass (RFC 6750).

use std::sync::Arc;

use grantwell::aws::lambda::authorizer::{self, Authorizer};
use grantwell::aws::lambda::function::Function;
use grantwell::config::{AuthorizerConfig, ConfigError};
use grantwell::core::bearer::RealmTokens;
use grantwell::http::routes;
use grantwell::system::SystemClock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    let function = Function::start().await?;
    let config = AuthorizerConfig::from_env()?;
    let registry = function.registry()?;
    let tokens = RealmTokens {
        tokens: function.token_validator(&registry)?,
        clock: Arc::new(SystemClock),
        issuers: routes::base_paths(&config.realm).map(|path| config.public_url.issuer(&path)).collect(),
        realm: config.realm,
        audiences: config.audiences,
    };
    authorizer::serve(Authorizer {
        tokens: Box::new(tokens),
        scopes: config.scopes,
        response: config.response,
        audit: function.audit(),
        metrics: function.metrics(),
    })
    .await;
    Ok(())
}
