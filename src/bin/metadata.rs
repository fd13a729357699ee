//! The `metadata` Lambda function: says what each realm offers and where (RFC 8414).

use grantwell::app::App;
use grantwell::aws::lambda::function::Function;
use grantwell::config::ConfigError;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    Function::start().await?.serve(App::metadata_routes).await
}
