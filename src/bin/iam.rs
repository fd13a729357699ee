//! The `iam` Lambda function: the endpoints of clients for roles of AWS, whose signatures AWS has verified (`aws_iam`).

use grantwell::app::App;
use grantwell::aws::lambda::function::Function;
use grantwell::config::ConfigError;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    Function::start().await?.serve_signed(App::client_routes).await
}
