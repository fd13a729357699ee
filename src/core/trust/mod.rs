//! Trust rules: which of those that others vouch for is the client. One format for every issuer: what is written about AWS holds
//! whether AWS has verified the caller's request itself, or has signed a token about it.

pub mod admission;
pub mod aws;
pub mod caller;
pub mod claim_test;
pub mod demand;
pub mod discovery;
mod glob;
pub mod identity;
pub mod issuer;
pub mod key_address;
pub mod limits;
pub mod lookups;
pub mod name;
mod owner;
pub mod problem;
pub mod role_arn;
pub mod rule;
pub mod shortfalls;
pub mod sts;
pub mod suggestion;
pub mod written;

#[cfg(test)]
mod tests;
