//! The protocol and its ports: no AWS, no HTTP server, no environment, no clock, no file.
//!
//! Endpoints ([`token`], [`introspection`], [`revocation`], [`metadata`]) read as the numbered phases of their RFC.
//! What they need from outside is in [`ports`]; who implements it is no concern of this module.

pub mod access_token;
pub mod admin_log;
pub mod assertion;
pub mod audience;
pub mod audit;
mod authorization;
pub mod aws_principal;
pub mod bearer;
pub mod client;
pub mod client_auth;
mod conversions;
pub mod declaration;
mod encoding;
pub mod endpoint;
pub mod error;
pub mod form;
pub mod introspection;
pub mod jose;
pub mod json;
pub mod keys;
pub mod management;
pub mod members;
pub mod metadata;
pub mod owner;
pub mod params;
pub mod port_error;
pub mod ports;
pub mod quota;
pub mod random;
pub mod realm;
pub mod realms;
pub mod reason;
pub mod replay;
pub mod resource;
pub mod revocation;
pub mod scope;
pub mod source;
pub mod time;
pub mod token;
pub mod trust;
