//! The `token` Lambda function: issues access tokens (RFC 6749 §4.4).

use grantwell::app::App;
use grantwell::aws::lambda::function::Function;
use grantwell::config::ConfigError;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    Function::start().await?.serve(App::token_routes).await
}
