//! The `token` Lambda function: issues access tokens (RFC 6749 §4.4).

use std::sync::Arc;

use grantwell::aws::lambda::function::Function;
use grantwell::aws::lambda::gateway;
use grantwell::config::{self, ConfigError};
use grantwell::core::token::TokenEndpoint;
use grantwell::http::{response, routes};
use grantwell::system::{SystemClock, SystemRandom};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    let function = Function::start().await?;
    let registry = function.registry()?;
    let tokens = function.tokens_to_issue()?;
    let endpoint = TokenEndpoint {
        realms: function.realms(&registry),
        clients: function.authenticator(&registry)?,
        tokens: Arc::clone(&tokens) as _,
        denylist: tokens,
        quotas: function.quotas()?,
        keys: function.signing_keys()?,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        audit: function.audit(),
    };
    let router = routes::finish(routes::token_routes(endpoint));
    gateway::serve(router, function.public_url(), config::front()?, response::out_of_time, function.metrics()).await;
    Ok(())
}
