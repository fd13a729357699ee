//! What is known of a caller that others vouch for, after that has been verified.

use serde_json::{Map, Value};

use super::aws::AwsCaller;
use super::issuer::TrustedIssuer;
use crate::core::time::UnixSeconds;

/// Who vouches for a caller, and what they say of it.
#[derive(Clone, Copy)]
pub enum Identity<'a> {
    /// AWS has verified the signature of its request, before our code ran.
    AwsCaller(&'a AwsCaller),
    /// A trusted issuer has signed a token about it.
    Token(IssuerToken<'a>),
}

/// A token of a trusted issuer, for us, within its time, whose signature has been verified.
#[derive(Clone, Copy)]
pub struct IssuerToken<'a> {
    /// Who has signed it.
    pub issuer: &'a TrustedIssuer,
    /// What it says.
    pub claims: &'a Map<String, Value>,
    /// How many seconds ago it was made, where it says when.
    pub age: Option<u64>,
}

impl IssuerToken<'_> {
    /// How old a token is at `now` that was made at `iat`.
    pub fn age_at(iat: Option<UnixSeconds>, now: UnixSeconds) -> Option<u64> {
        iat.map(|iat| now.since(iat))
    }
}
