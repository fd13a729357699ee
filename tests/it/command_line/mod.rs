//! `grantwell client`, `grantwell realm` and `grantwell key` from outside: what they print, what they refuse, what they leave
//! on disk; and the rotation of keys by `grantwell serve` itself.

mod apply;
mod backup;
mod client_keys;
mod completion;
mod create;
mod declared;
mod help;
mod import;
mod inspect;
mod introspect;
mod issuers;
mod keys;
mod list;
mod log;
mod operator;
mod realms;
mod schema;
mod secret_files;
mod secrets;
mod stores;
mod terminal;
mod token;
mod traps;
mod unused;
mod update;
mod variables;
