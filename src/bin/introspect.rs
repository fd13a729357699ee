//! The `introspect` Lambda function: tells resource servers about tokens (RFC 7662).

use grantwell::app::App;
use grantwell::aws::lambda::function::Function;
use grantwell::config::ConfigError;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    Function::start().await?.serve(App::introspection_routes).await
}
