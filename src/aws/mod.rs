//! AWS's adapters: DynamoDB for what an operator registers and what the server issues, Secrets Manager for the clients'
//! secrets, and API Gateway's events in place of a socket.
//!
//! Nothing here decides anything about OAuth. [`sdk`] holds the time limits and the one translation of the SDK's errors.

pub mod function;
pub mod gateway;
pub mod keys;
pub mod registrar;
pub mod registry;
pub mod sdk;
pub mod secrets;
pub mod tokens;
