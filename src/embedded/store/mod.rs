//! SQLite for what an operator registers and what the server issues, memory for tests and the demo.

pub mod backup;
pub mod cause;
mod checkpoints;
mod connections;
pub mod data_dir;
mod database;
pub mod fault;
pub mod inspection;
pub mod memory;
mod outage;
mod passed_time;
mod private_copy;
mod provenance;
pub mod quotas;
pub mod registry;
pub mod registry_health;
pub mod remote_keys;
pub mod replay_guard;
pub mod restore;
pub mod tokens;
pub mod use_marks;
