//! The `introspect` Lambda function: tells resource servers about tokens (RFC 7662).

use std::sync::Arc;

use grantwell::aws::lambda::function::Function;
use grantwell::aws::lambda::gateway;
use grantwell::config::{self, ConfigError};
use grantwell::core::introspection::IntrospectionEndpoint;
use grantwell::http::{response, routes};
use grantwell::system::SystemClock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    let function = Function::start().await?;
    let registry = function.registry()?;
    let endpoint = IntrospectionEndpoint {
        clients: function.authenticator(&registry)?,
        tokens: function.token_validator(&registry)?,
        keys: function.signing_keys()?,
        clock: Arc::new(SystemClock),
        audit: function.audit(),
    };
    let router = routes::finish(routes::introspection_routes(endpoint));
    gateway::serve(router, function.public_url(), config::front()?, response::out_of_time, function.metrics()).await;
    Ok(())
}
