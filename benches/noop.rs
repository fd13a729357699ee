//! A Lambda function that does nothing: the floor that `make bench-lambda` compares the others with.

use lambda_http::{Body, Error, Request, Response, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(async |_request: Request| Ok::<_, Error>(Response::new(Body::Empty)))).await
}
