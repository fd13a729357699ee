//! What an operator does: registers clients and changes them, rotates their secrets, sets realms and whom they trust, and cares for signing keys.
//!
//! Every face calls one use case for one request, and decides nothing itself: what a changed registration must answer to, who was
//! quicker, when a secret ends and when a key may sign is decided here. What an operator should know besides comes back as a
//! [`Notice`], and why nothing was done as a [`ManagementError`]; a face puts them into its own words. Each change leaves a line in the
//! admin log, ahead of it, and is made only by who may make it ([`Access`]): both hold of whatever goes through the ports here.

mod access;
mod clients;
mod deletion;
mod effective;
mod hindrance;
mod issuer_rules;
mod issuers;
mod keys;
mod last_use;
mod log;
mod operator;
mod outcome;
mod owners;
pub mod plan;
mod realms;
mod secrets;
mod valid_after;

pub use access::{Access, Operation};
pub use clients::{ClientChange, Registered, Registration};
pub use deletion::DeletedRealm;
pub use effective::{EffectiveSetting, EffectiveSettings, SettingOrigin};
pub use hindrance::Hindrance;
pub use issuer_rules::InvalidIssuer;
pub use issuers::IssuerChange;
pub use last_use::LastUse;
pub use log::{ChangeError, ChangeToLog, Effect, LogFilter, Logbook, LoggedChanges, Logging};
pub use operator::Management;
pub use outcome::{Changed, ManagementError, Notice, Subject};
pub use owners::OwnerChange;
pub use realms::RealmChange;
pub use secrets::{PreviousLifetime, RotatedSecret, Rotation, SecretLifetime};
pub use valid_after::TokensValidAfter;
