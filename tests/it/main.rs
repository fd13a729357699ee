//! The integration tests: black-box HTTP against the real local server, a module per endpoint or concern; the same suite
//! for every adapter of a port; the command line.

#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod access_token;
mod client_auth;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
#[cfg(target_os = "linux")] // elsewhere no clock is shifted by preloading
mod clocks;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod command_line;
#[cfg(test)] // for clippy: its suites state expectations as bluntly as tests do
mod conformance;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod connections;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod cost;
mod demo;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod documents;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod durability;
mod envelope;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
#[cfg(target_os = "linux")] // elsewhere no disk fails by preloading
mod faults;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod health;
mod introspection;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod introspection_signed;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod jwt_forms;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod keys;
mod logging;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod memory;
mod metadata;
mod parameters;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod persistence;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod quota;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod registry;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod report;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod resource;
mod revocation;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod rights;
mod scope;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod support;
#[cfg(test)] // for clippy: its helpers may state expectations as bluntly as tests do
mod timing;
mod token;
