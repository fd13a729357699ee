//! The functions: what Lambda calls with an event, and what answers it.

pub mod authorizer;
pub mod front;
pub mod function;
pub mod gateway;
mod invocation;
pub mod rotation;
