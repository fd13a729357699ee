//! The `rotate` Lambda function: replaces client secrets and signing keys, step by step as Secrets Manager calls it, and by a
//! schedule those that are due.

use grantwell::aws::lambda::function::Function;
use grantwell::config::ConfigError;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    Function::start().await?.rotate().await
}
