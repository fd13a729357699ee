//! What is known of a caller that others vouch for, after that has been verified.

use serde_json::{Map, Value};

use super::aws::AwsCaller;
use super::issuer::TrustedIssuer;
use super::sts::STS_CLAIMS;
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

impl Identity<'_> {
    /// What is verified of the caller at the end of a path of names, which never goes through a list. What AWS has said before our code
    /// ran is where its tokens have it, as far as it is known: the role without its path is not the token's `principal_id`.
    pub fn fact(&self, path: &[&str]) -> Option<Value> {
        match self {
            Self::AwsCaller(caller) => {
                let [STS_CLAIMS, name] = path else { return None };
                let fact = match *name {
                    "aws_account" => Some(&caller.account),
                    "org_id" => caller.organization.as_ref(),
                    "role" => Some(&caller.role),
                    "role_id" => caller.role_id.as_ref(),
                    _ => None,
                };
                fact.cloned().map(Value::String)
            }
            Self::Token(token) => {
                let (first, rest) = path.split_first()?;
                // Only AWS speaks for AWS, and of what it says the tags of the request are the caller's own words.
                if *first == STS_CLAIMS && (!token.issuer.issuer.is_sts() || rest.first() == Some(&"request_tags")) {
                    return None;
                }
                rest.iter().try_fold(token.claims.get(*first)?, |value, name| value.as_object()?.get(*name)).cloned()
            }
        }
    }
}

impl IssuerToken<'_> {
    /// How old a token is at `now` that was made at `iat`.
    pub fn age_at(iat: Option<UnixSeconds>, now: UnixSeconds) -> Option<u64> {
        iat.map(|iat| now.since(iat))
    }
}
