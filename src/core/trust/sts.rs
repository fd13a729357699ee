//! Tokens of AWS STS about a role (outbound identity federation, `sts:GetWebIdentityToken`): what they say, and what of it can be
//! believed. Everything that AWS says of the caller is under one claim; what the caller has chosen (`request_tags`) is not read.

use serde_json::{Map, Value};

use super::demand::{Shortfall, ShortfallReason};
use super::role_arn::{RoleArn, is_account};

/// The claim under which AWS says everything of its own.
pub const STS_CLAIMS: &str = "https://sts.amazonaws.com/";

/// A role that AWS STS has signed a token about.
#[derive(Clone, Debug)]
pub struct StsRole<'a> {
    /// Which it is.
    pub role: RoleArn,
    said: &'a Map<String, Value>,
}

impl<'a> StsRole<'a> {
    /// The role of a token whose issuer is AWS STS.
    ///
    /// # Errors
    /// What is wrong with it as a token about a role: its subject is somebody else than the role that asked for it, or nobody's role.
    pub fn of(claims: &'a Map<String, Value>) -> Result<Self, Shortfall> {
        let wrong = |of: &str, why| Err(Shortfall { of: of.to_owned(), why });
        let said = match claims.get(STS_CLAIMS) {
            Some(Value::Object(said)) => said,
            Some(_other) => return wrong(STS_CLAIMS, ShortfallReason::NotText),
            None => return wrong(STS_CLAIMS, ShortfallReason::Absent),
        };
        let subject = match claims.get("sub").map(Value::as_str) {
            Some(Some(subject)) => subject,
            Some(None) => return wrong("sub", ShortfallReason::NotText),
            None => return wrong("sub", ShortfallReason::Absent),
        };
        // The role that has asked is in `principal_id`. Where `sub` is somebody else, it is the identity on whose behalf the role
        // acts, which an identity provider of that account has spelled: it may spell it like a role.
        match said.get("principal_id") {
            None => {}
            Some(Value::String(principal)) if principal == subject => {}
            Some(Value::String(_other)) => return wrong("sub", ShortfallReason::Different),
            Some(_other) => return wrong("principal_id", ShortfallReason::NotText),
        }
        let Ok(role) = subject.parse::<RoleArn>() else { return wrong("sub", ShortfallReason::NotARole) };
        match said.get("aws_account") {
            Some(Value::String(account)) if is_account(account) && *account == role.account => Ok(Self { role, said }),
            Some(Value::String(_other)) => wrong("aws_account", ShortfallReason::Different),
            Some(_other) => wrong("aws_account", ShortfallReason::NotText),
            None => wrong("aws_account", ShortfallReason::Absent),
        }
    }

    /// The organization of the account.
    pub(super) fn organization(&self) -> Result<&'a str, ShortfallReason> {
        string(self.said.get("org_id"))
    }

    /// The organizational units that the account is in: AWS documents a text, and sends a list of one.
    pub(super) fn organization_paths(&self) -> Result<Vec<&'a str>, ShortfallReason> {
        match self.said.get("ou_path") {
            Some(Value::Array(paths)) => {
                let paths: Option<Vec<&str>> = paths.iter().map(Value::as_str).collect();
                paths.ok_or(ShortfallReason::NotText)
            }
            other => string(other).map(|path| vec![path]),
        }
    }

    /// The value of one tag of the role, or of its session.
    pub(super) fn principal_tag(&self, key: &str) -> Result<&'a str, ShortfallReason> {
        match self.said.get("principal_tags") {
            Some(Value::Object(tags)) => string(tags.get(key)),
            Some(_other) => Err(ShortfallReason::NotText),
            None => Err(ShortfallReason::Absent),
        }
    }
}

fn string(value: Option<&Value>) -> Result<&str, ShortfallReason> {
    match value {
        Some(Value::String(text)) => Ok(text),
        Some(_other) => Err(ShortfallReason::NotText),
        None => Err(ShortfallReason::Absent),
    }
}
