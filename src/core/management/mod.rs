//! What an operator does: registers clients and changes them, rotates their secrets, sets realms, and cares for signing keys.
//!
//! Every face calls one use case for one request, and decides nothing itself: what a changed registration must answer to, who was
//! quicker, when a secret ends and when a key may sign is decided here. What an operator should know besides comes back as a
//! [`Notice`], and why nothing was done as a [`ManagementError`]; a face puts them into its own words.

mod clients;
mod effective;
mod hindrance;
mod keys;
mod operator;
mod outcome;
pub mod plan;
mod realms;
mod secrets;
mod valid_after;

pub use clients::{ClientChange, Registered, Registration};
pub use effective::{EffectiveSetting, EffectiveSettings, SettingOrigin};
pub use hindrance::Hindrance;
pub use operator::Management;
pub use outcome::{Changed, ManagementError, Notice, Subject};
pub use realms::RealmChange;
pub use secrets::{PreviousLifetime, RotatedSecret, Rotation, SecretLifetime};
pub use valid_after::TokensValidAfter;
