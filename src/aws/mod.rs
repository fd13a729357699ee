//! AWS's adapters: DynamoDB for what an operator registers and what the server issues, Secrets Manager for the clients'
//! secrets, and the events of API Gateway, Secrets Manager and EventBridge in place of a socket.
//!
//! Nothing here decides anything about OAuth. [`sdk`] holds the time limits and the one translation of the SDK's errors,
//! `trust` says whose certificates count. [`caller`] is the other side: a process that proves its role to a server. [`actor`] is
//! whom an operator's credentials belong to, as STS says.

pub mod actor;
pub mod adapters;
pub mod caller;
pub mod lambda;
pub mod sdk;
pub mod store;
mod trust;
