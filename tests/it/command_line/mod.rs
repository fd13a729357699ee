//! `grantwell client`, `grantwell realm` and `grantwell key` from outside: what they print, what they refuse, what they leave
//! on disk; and the rotation of keys by `grantwell serve` itself.

mod client_keys;
mod completion;
mod create;
mod help;
mod import;
mod keys;
mod list;
mod operator;
mod realms;
mod secrets;
mod stores;
mod terminal;
mod traps;
mod update;
mod variables;
