//! One machine's adapters: what is stored on it, and the local server that accepts connections for it.

pub mod adapters;
pub mod os_user;
pub mod server;
pub mod store;
