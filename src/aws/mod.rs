//! AWS's adapters: DynamoDB for what an operator registers and what the server issues, Secrets Manager for the clients'
//! secrets, and the events of API Gateway, Secrets Manager and EventBridge in place of a socket.
//!
//! Nothing here decides anything about OAuth. [`sdk`] holds the time limits and the one translation of the SDK's errors,
//! `trust` says whose certificates count.

pub mod authorizer;
pub mod binding;
mod described;
pub mod front;
pub mod function;
pub mod gateway;
mod invocation;
pub mod keys;
pub mod quotas;
pub mod registrar;
pub mod registry;
pub mod registry_id;
pub mod rotation;
pub mod sdk;
pub mod secrets;
pub mod tokens;
mod trust;
mod whole_since;
