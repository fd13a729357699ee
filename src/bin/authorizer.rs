//! The `authorizer` Lambda function: tells API Gateway whether a bearer token lets a request pass (RFC 6750).

use grantwell::aws::lambda::function::Function;
use grantwell::config::ConfigError;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    Function::start().await?.authorize().await
}
