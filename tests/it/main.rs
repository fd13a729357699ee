//! The integration tests: black-box HTTP against the real local server, a module per endpoint or concern; the same suite
//! for every adapter of a port; the command line.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers state expectations as bluntly as the tests that call them; clippy.toml lets only test functions"
)]

mod access_token;
mod admin_log;
mod architecture;
mod aws_iam;
mod client_auth;
#[cfg(target_os = "linux")] // elsewhere no clock is shifted by preloading
mod clocks;
mod command_line;
mod conformance;
mod connections;
mod cost;
mod demo;
mod described;
mod documents;
mod durability;
mod envelope;
#[cfg(target_os = "linux")] // elsewhere no disk fails by preloading
mod faults;
mod health;
mod introspection;
mod introspection_signed;
mod issuer_keys;
mod issuers;
mod jwks_uri;
mod jwt_forms;
mod keys;
mod logging;
mod management;
mod memory;
mod metadata;
mod metrics;
mod parameters;
mod persistence;
mod plan;
mod plan_faults;
mod private_key_jwt;
mod quota;
mod registry;
mod remote_fetch;
mod remote_keys;
mod report;
mod resource;
mod revocation;
mod rights;
mod scope;
mod support;
mod timing;
mod token;
mod trust;
mod workload_identity;
