//! Grantwell: a machine-to-machine OAuth 2.0 authorization server.
//!
//! It runs the client credentials grant (RFC 6749 §4.4) with introspection (RFC 7662), revocation (RFC 7009) and metadata
//! (RFC 8414), as AWS Lambda functions behind API Gateway and as one local process on an embedded store.
//!
//! # Layers, one direction
//! ```text
//! src/bin/*      a file a function, and the command
//!    |
//! src/app        the one composition: adapters become endpoints, endpoints become routes
//!    |
//! src/http       axum routers and extractors; the only module that knows both HTTP and OAuth
//! src/cache      bounded caches around any adapter
//! src/remote     what is fetched from servers of other people
//! src/aws        DynamoDB and Secrets Manager (store), the functions (lambda)    (aws and embedded never import each
//! src/embedded   SQLite and memory (store), the local server (server)             other, and a store never imports http)
//! src/system     the system's clock and random source
//!    |
//! src/core       the protocol and its ports: no AWS, no HTTP server, no environment, no clock, no file
//! ```
//!
//! # Where does my line go?
//! - A rule of a specification: the file of `core` that carries the noun's name.
//! - A header, status or media type: `http`.
//! - How a fact is stored: `aws` or `embedded`, and its description in `docs/storage.md`.
//! - A setting: `config`, and the table in `docs/configuration.md`.
//! - Which adapter a port has: `aws/adapters` and `embedded/adapters`. What is made of them: `app`.

#[cfg(feature = "http")]
pub mod app;
#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "http")]
pub mod cache;
#[cfg(feature = "http")]
pub mod config;
pub mod core;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http")]
pub mod observe;
#[cfg(feature = "http")]
pub mod remote;
#[cfg(feature = "http")]
pub mod system;
