//! A role or a user of AWS, by its ARN: who acts for an owner, and who calls.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A role or a user of AWS. A session of a role is its role: which session it is, the session's caller has chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AwsPrincipal {
    partition: String,
    account: String,
    kind: Kind,
    /// Between the kind and the name, without slashes around it.
    path: String,
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Role,
    User,
}

/// The text is not the ARN of a role or a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an AWS principal is the ARN of a role or a user, such as arn:aws:iam::111122223333:role/OrdersTeam; patterns and an account's \
     root are not accepted"
)]
pub struct MalformedAwsPrincipal;

impl AwsPrincipal {
    /// Whether both are one: the same account's role, or user, of this name. Paths are not compared, because a session's ARN lacks
    /// that of its role; a name is unique in its account without it.
    pub fn is(&self, other: &Self) -> bool {
        let identity = |of: &Self| (of.partition.clone(), of.account.clone(), of.kind, of.name.clone());
        identity(self) == identity(other)
    }
}

impl FromStr for AwsPrincipal {
    type Err = MalformedAwsPrincipal;

    fn from_str(text: &str) -> Result<Self, MalformedAwsPrincipal> {
        let mut parts = text.splitn(6, ':');
        let mut part = || parts.next().ok_or(MalformedAwsPrincipal);
        let (arn, partition, service, region, account, resource) =
            (part()?, part()?, part()?, part()?, part()?, part()?);
        let is_partition =
            partition.starts_with("aws") && partition.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        if arn != "arn" || !is_partition || !region.is_empty() || !is_account {
            return Err(MalformedAwsPrincipal);
        }
        let (kind, rest) = resource.split_once('/').ok_or(MalformedAwsPrincipal)?;
        let (kind, path, name) = match (service, kind) {
            ("sts", "assumed-role") => {
                let (role, session) = rest.split_once('/').ok_or(MalformedAwsPrincipal)?;
                if !is_name(session) {
                    return Err(MalformedAwsPrincipal);
                }
                (Kind::Role, "", role)
            }
            ("iam", "role" | "user") => {
                let (path, name) = rest.rsplit_once('/').unwrap_or(("", rest));
                (if kind == "role" { Kind::Role } else { Kind::User }, path, name)
            }
            _ => return Err(MalformedAwsPrincipal),
        };
        // IAM's paths have any printable ASCII; of that, nothing here has a meaning but the slash.
        let is_path =
            path.len() <= 510 && path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'?'));
        if !is_path || !is_name(name) {
            return Err(MalformedAwsPrincipal);
        }
        let owned = str::to_owned;
        Ok(Self { partition: owned(partition), account: owned(account), kind, path: owned(path), name: owned(name) })
    }
}

impl fmt::Display for AwsPrincipal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, account, kind, path, name } = self;
        let kind = match kind {
            Kind::Role => "role",
            Kind::User => "user",
        };
        let slash = if path.is_empty() { "" } else { "/" };
        write!(formatter, "arn:{partition}:iam::{account}:{kind}/{path}{slash}{name}")
    }
}

impl TryFrom<String> for AwsPrincipal {
    type Error = MalformedAwsPrincipal;

    fn try_from(text: String) -> Result<Self, MalformedAwsPrincipal> {
        text.parse()
    }
}

impl From<AwsPrincipal> for String {
    fn from(principal: AwsPrincipal) -> Self {
        principal.to_string()
    }
}

/// The characters of names of roles and users, and of sessions.
fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(text: &str) -> AwsPrincipal {
        text.parse().expect(text)
    }

    #[test]
    fn a_session_is_its_role_whatever_its_name_and_the_roles_path() {
        let role = principal("arn:aws:iam::111122223333:role/teams/orders/Deploy");
        for session in ["alice@example.com", "i-0123456789abcdef0", "a"] {
            let caller = principal(&format!("arn:aws:sts::111122223333:assumed-role/Deploy/{session}"));
            assert!(role.is(&caller) && caller.is(&role), "{session}");
            assert_eq!(caller.to_string(), "arn:aws:iam::111122223333:role/Deploy");
        }
        assert_eq!(role.to_string(), "arn:aws:iam::111122223333:role/teams/orders/Deploy");
    }

    #[test]
    fn another_account_partition_kind_name_or_case_is_somebody_else() {
        let role = principal("arn:aws:iam::111122223333:role/Deploy");
        for other in [
            "arn:aws:sts::111122223334:assumed-role/Deploy/alice",
            "arn:aws-cn:sts::111122223333:assumed-role/Deploy/alice",
            "arn:aws:iam::111122223333:user/Deploy",
            "arn:aws:sts::111122223333:assumed-role/Deploy2/alice",
            "arn:aws:sts::111122223333:assumed-role/deploy/alice",
            "arn:aws:sts::111122223333:assumed-role/alice/Deploy",
        ] {
            assert!(!role.is(&principal(other)), "{other}");
        }
    }

    #[test]
    fn what_is_not_one_role_or_user_is_refused() {
        for text in [
            "",
            "Deploy",
            "arn:aws:iam::111122223333:root",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam::111122223333:role/*",
            "arn:aws:iam::111122223333:role/a*/Deploy",
            "arn:aws:iam::111122223333:role/De?loy",
            "arn:aws:iam::11112222333:role/Deploy",
            "arn:aws:iam::*:role/Deploy",
            "arn:aws:iam:eu-west-1:111122223333:role/Deploy",
            "arn:aws:sts::111122223333:assumed-role/Deploy",
            "arn:aws:sts::111122223333:assumed-role/Deploy/a/b",
            "arn:aws:sts::111122223333:federated-user/alice",
            "arn:aws:iam::111122223333:group/Deploy",
            "arn:aws:iam::111122223333:role/Deploy ",
            "arn:aws:iam::111122223333:role/Deploy\n",
            "urn:aws:iam::111122223333:role/Deploy",
            "arn:AWS:iam::111122223333:role/Deploy",
        ] {
            assert_eq!(text.parse::<AwsPrincipal>(), Err(MalformedAwsPrincipal), "{text:?}");
        }
    }
}
