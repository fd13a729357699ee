//! Roles of AWS by their ARN.

use std::str::FromStr;

/// A role, as an ARN names it: `arn:aws:iam::ACCOUNT:role/PATH/NAME`, or one of its sessions,
/// `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`. Of a session, its name is forgotten: whoever assumes the role chooses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleArn {
    /// `aws`, `aws-cn`, `aws-us-gov`, ….
    pub partition: String,
    /// The account's twelve digits.
    pub account: String,
    /// The role's name, without its path.
    pub role: String,
}

/// The text is not the ARN of a role, nor of a session of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the ARN of a role")]
pub struct NotARole;

impl FromStr for RoleArn {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Self, NotARole> {
        let mut parts = text.splitn(6, ':');
        let mut part = || parts.next().ok_or(NotARole);
        let (arn, partition, service, region, account, resource) =
            (part()?, part()?, part()?, part()?, part()?, part()?);
        if arn != "arn" || !is_partition(partition) || !region.is_empty() || !is_account(account) {
            return Err(NotARole);
        }
        let mut names = resource.split('/');
        let role = match (service, names.next()) {
            // A path is between the word and the name (IAM's identifiers). The name is the last of them.
            ("iam", Some("role")) => names.next_back(),
            ("sts", Some("assumed-role")) => {
                let (role, session) = (names.next(), names.next());
                role.filter(|_role| session.is_some_and(is_session_name) && names.next().is_none())
            }
            _ => None,
        };
        let role = role.filter(|role| is_role_name(role)).ok_or(NotARole)?;
        Ok(Self { partition: partition.to_owned(), account: account.to_owned(), role: role.to_owned() })
    }
}

/// The twelve digits of an account.
pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The name of a partition.
pub(super) fn is_partition(text: &str) -> bool {
    let rest = text.strip_prefix("aws");
    rest.is_some_and(|rest| {
        rest.is_empty()
            || (rest.starts_with('-')
                && rest.len() <= 32
                && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
    })
}

fn is_role_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(is_of_role_name)
}

fn is_session_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(is_of_role_name)
}

/// IAM's alphabet for names: `[\w+=,.@-]`.
pub(super) fn is_of_role_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b'-')
}
