//! What is stored in DynamoDB and in Secrets Manager.

pub mod admin_log;
mod batch;
pub mod binding;
pub(in crate::aws) mod described;
pub mod keys;
pub mod new_secrets;
pub mod quotas;
pub mod registrar;
pub mod registry;
pub mod registry_id;
pub mod remote_keys;
pub mod replay_guard;
pub mod secrets;
pub mod tokens;
pub mod use_marks;
mod whole_since;
