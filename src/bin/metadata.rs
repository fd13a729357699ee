//! The `metadata` Lambda function: says what each realm offers and where (RFC 8414).

use grantwell::aws::lambda::function::Function;
use grantwell::aws::lambda::gateway;
use grantwell::config::{self, ConfigError};
use grantwell::core::metadata::MetadataEndpoint;
use grantwell::http::{response, routes};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    let function = Function::start().await?;
    let endpoint = MetadataEndpoint {
        realms: function.realms(&function.registry()?),
        keys: function.verification_keys()?,
        audit: function.audit(),
    };
    let router = routes::finish(routes::metadata_routes(endpoint));
    gateway::serve(router, function.public_url(), config::front()?, response::out_of_time, function.metrics()).await;
    Ok(())
}
