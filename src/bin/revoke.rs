//! The `revoke` Lambda function: ends tokens (RFC 7009).

use grantwell::app::App;
use grantwell::aws::lambda::function::Function;
use grantwell::config::ConfigError;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    Function::start().await?.serve(App::revocation_routes).await
}
