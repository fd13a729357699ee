//! The `revoke` Lambda function: ends tokens (RFC 7009).

use std::sync::Arc;

use grantwell::aws::lambda::function::Function;
use grantwell::aws::lambda::gateway;
use grantwell::config::{self, ConfigError};
use grantwell::core::revocation::RevocationEndpoint;
use grantwell::http::{response, routes};
use grantwell::system::SystemClock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    let function = Function::start().await?;
    let registry = function.registry()?;
    let tokens = function.tokens()?;
    let endpoint = RevocationEndpoint {
        realms: function.realms(&registry),
        clients: function.authenticator(&registry)?,
        tokens: Arc::clone(&tokens) as _,
        denylist: tokens,
        keys: function.verification_keys()?,
        clock: Arc::new(SystemClock),
        audit: function.audit(),
    };
    let router = routes::finish(routes::revocation_routes(endpoint));
    gateway::serve(router, function.public_url(), config::front()?, response::out_of_time, function.metrics()).await;
    Ok(())
}
