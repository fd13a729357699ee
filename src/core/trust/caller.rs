//! Who a caller of AWS is, by what AWS says of it in the context of a request whose signature it has verified.

use super::aws::{AwsCaller, is_organization, is_role_id};
use super::role_arn::{is_account, is_of_role_name};
use crate::core::reason::Reason;

/// Whom AWS says a request comes from. There is one where AWS verifies the signature of each request, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerByAws(pub Result<AwsCaller, CallerProblem>);

/// What AWS says of a caller, text by text.
#[derive(Clone, Copy, Debug)]
pub struct CallerFacts<'a> {
    /// `userArn`.
    pub arn: &'a str,
    /// `accountId`.
    pub account: &'a str,
    /// `userId` and `callerId`, or `user` and `caller`: for a role `AROA…:SESSION`, twice.
    pub ids: [&'a str; 2],
    /// `principalOrgId`, which is another text where the account belongs to no organization.
    pub organization: Option<&'a str>,
}

/// Why a caller is not a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerProblem {
    /// AWS says nothing of a caller, or somebody tries a method out in the console.
    Missing,
    /// It is something else: a user, an account's root, a federated user, an identity of Cognito.
    NotARole,
    /// What is said of it has another form, or contradicts itself.
    Malformed,
}

impl AwsCaller {
    /// The role of which a caller has a session, where everything that is said of the caller agrees. The session's name, which its
    /// caller chooses, is compared with itself and then forgotten.
    ///
    /// # Errors
    /// [`CallerProblem`].
    pub fn of_session(facts: &CallerFacts<'_>) -> Result<Self, CallerProblem> {
        // 1. What it is, by its ARN.
        let arn = Arn::parse(facts.arn).ok_or(CallerProblem::Malformed)?;
        let (role, session) = arn.assumed_role()?;

        // 2. Which of those, by everything else.
        let (role_id, session_of_id) = facts.ids[0].split_once(':').ok_or(CallerProblem::Malformed)?;
        let agrees = facts.account == arn.account && facts.ids[0] == facts.ids[1] && session_of_id == session;
        if !agrees || !is_role_id(role_id) {
            return Err(CallerProblem::Malformed);
        }
        Ok(Self {
            partition: arn.partition.to_owned(),
            account: arn.account.to_owned(),
            role: role.to_owned(),
            role_id: Some(role_id.to_owned()),
            // An HTTP API writes `aws:PrincipalOrgID` for an account that belongs to none, a function URL null.
            organization: facts.organization.filter(|id| is_organization(id)).map(str::to_owned),
        })
    }
}

impl CallerProblem {
    /// What the log and the metrics call it.
    pub fn reason(self) -> Reason {
        match self {
            Self::Missing => Reason::AwsCallerMissing,
            Self::NotARole => Reason::AwsCallerNotARole,
            Self::Malformed => Reason::AwsCallerMalformed,
        }
    }
}

/// `arn:PARTITION:SERVICE::ACCOUNT:RESOURCE`, of something that belongs to no region.
struct Arn<'a> {
    partition: &'a str,
    service: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> Arn<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, service, "", account, resource] = parts[..] else { return None };
        let well_formed = PARTITIONS.contains(&partition) && is_account(account);
        well_formed.then_some(Self { partition, service, account, resource })
    }

    /// The role and the session, of an assumed role.
    fn assumed_role(&self) -> Result<(&'a str, &'a str), CallerProblem> {
        let (kind, name) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        match (self.service, kind) {
            ("sts", "assumed-role") => {
                let (role, session) = name.split_once('/').ok_or(CallerProblem::Malformed)?;
                let well_formed = is_name(role) && is_name(session);
                if well_formed { Ok((role, session)) } else { Err(CallerProblem::Malformed) }
            }
            ("sts", "federated-user") | ("iam", "user" | "root") => Err(CallerProblem::NotARole),
            _ => Err(CallerProblem::Malformed),
        }
    }
}

/// Of a role or a session: neither has a slash, a colon or a character of a pattern.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(is_of_role_name)
}

/// The partitions of AWS. A role of one is nothing in another.
const PARTITIONS: [&str; 8] =
    ["aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"];

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: CallerFacts<'_> = CallerFacts {
        arn: "arn:aws:sts::111122223333:assumed-role/OrdersRole/session",
        account: "111122223333",
        ids: ["AROAEXAMPLE000000001:session"; 2],
        organization: Some("o-a1b2c3d4e5"),
    };

    fn role() -> AwsCaller {
        AwsCaller {
            partition: "aws".to_owned(),
            account: "111122223333".to_owned(),
            role: "OrdersRole".to_owned(),
            role_id: Some("AROAEXAMPLE000000001".to_owned()),
            organization: Some("o-a1b2c3d4e5".to_owned()),
        }
    }

    /// What becomes of a caller with this ARN, whose ids have its session.
    fn of_arn(arn: &str) -> Result<AwsCaller, CallerProblem> {
        let id = format!("AROAEXAMPLE000000001:{}", arn.rsplit('/').next().unwrap_or_default());
        AwsCaller::of_session(&CallerFacts { arn, ids: [&id, &id], ..ROLE })
    }

    #[test]
    fn an_assumed_role_is_its_account_and_its_role() {
        assert_eq!(AwsCaller::of_session(&ROLE), Ok(role()));
        for partition in PARTITIONS {
            let arn = format!("arn:{partition}:sts::111122223333:assumed-role/OrdersRole/session");
            assert_eq!(of_arn(&arn), Ok(AwsCaller { partition: partition.to_owned(), ..role() }));
        }
    }

    #[test]
    fn the_name_of_the_session_is_never_the_role() {
        for session in
            ["AdminRole", "i-0123456789abcdef0", "someone@example.com", "role=AdminRole", "a", "assumed-role"]
        {
            let arn = format!("arn:aws:sts::111122223333:assumed-role/OrdersRole/{session}");
            assert_eq!(of_arn(&arn), Ok(role()), "{session}");
        }
        for arn in [
            "arn:aws:sts::111122223333:assumed-role/OrdersRole",
            "arn:aws:sts::111122223333:assumed-role/OrdersRole/",
            "arn:aws:sts::111122223333:assumed-role//session",
            "arn:aws:sts::111122223333:assumed-role/OrdersRole/session/AdminRole",
            "arn:aws:sts::111122223333:assumed-role/path/OrdersRole/session",
            "arn:aws:sts::111122223333:assumed-role/OrdersRole/a:assumed-role",
            "arn:aws:sts::111122223333:assumed-role/*/session",
            "arn:aws:sts::111122223333:assumed-role/Orders?ole/session",
            "arn:aws:sts::111122223333:assumed-role/OrdersRole/ session",
            "arn:aws:sts::111122223333:assumed-role/OrdersR\u{f6}le/session",
            "arn:aws:sts::111122223333:assumed-role/OrdersRole/session\n",
        ] {
            assert_eq!(of_arn(arn), Err(CallerProblem::Malformed), "{arn}");
        }
        for length in [64, 65] {
            let expected = if length == 64 { Ok(()) } else { Err(CallerProblem::Malformed) };
            let name = "r".repeat(length);
            for arn in [format!("{name}/session"), format!("OrdersRole/{name}")] {
                let arn = format!("arn:aws:sts::111122223333:assumed-role/{arn}");
                assert_eq!(of_arn(&arn).map(drop), expected, "{arn}");
            }
        }
    }

    #[test]
    fn whoever_is_not_a_role_is_refused_as_that() {
        for arn in [
            "arn:aws:iam::111122223333:user/OrdersRole",
            "arn:aws:iam::111122223333:user/path/OrdersRole",
            "arn:aws:iam::111122223333:root",
            "arn:aws:sts::111122223333:federated-user/OrdersRole",
            "arn:aws:sts::111122223333:federated-user/assumed-role/OrdersRole/session",
        ] {
            let facts = CallerFacts { arn, ids: ["AIDAEXAMPLE000000001"; 2], ..ROLE };
            assert_eq!(AwsCaller::of_session(&facts), Err(CallerProblem::NotARole), "{arn}");
        }
        // A role's own ARN is nobody who could sign, and the rest is nothing that AWS says.
        for arn in [
            "arn:aws:iam::111122223333:role/OrdersRole",
            "arn:aws:iam::111122223333:assumed-role/OrdersRole/session",
            "arn:aws:sts::111122223333:role/OrdersRole/session",
            "arn:aws:sts::111122223333:Assumed-Role/OrdersRole/session",
            "arn:aws:sts:us-east-1:111122223333:assumed-role/OrdersRole/session",
            "arn:aws-example:sts::111122223333:assumed-role/OrdersRole/session",
            "arn:AWS:sts::111122223333:assumed-role/OrdersRole/session",
            "arn::sts::111122223333:assumed-role/OrdersRole/session",
            "arn:aws:sts::anonymous:assumed-role/OrdersRole/session",
            "arn:aws:sts::11112222333:assumed-role/OrdersRole/session",
            "ARN:aws:sts::111122223333:assumed-role/OrdersRole/session",
            " arn:aws:sts::111122223333:assumed-role/OrdersRole/session",
            "anonymous",
            "",
        ] {
            assert_eq!(of_arn(arn), Err(CallerProblem::Malformed), "{arn}");
        }
    }

    #[test]
    fn everything_that_is_said_of_a_caller_has_to_agree() {
        let id = ROLE.ids[0];
        for facts in [
            CallerFacts { account: "444455556666", ..ROLE },
            CallerFacts { account: "", ..ROLE },
            CallerFacts { arn: "arn:aws:sts::444455556666:assumed-role/OrdersRole/session", ..ROLE },
            CallerFacts { arn: "arn:aws:sts::111122223333:assumed-role/OrdersRole/another", ..ROLE },
            CallerFacts { ids: [id, "AROAEXAMPLE000000002:session"], ..ROLE },
            CallerFacts { ids: ["AROAEXAMPLE000000001:another", id], ..ROLE },
            CallerFacts { ids: ["AROAEXAMPLE000000001"; 2], ..ROLE },
            CallerFacts { ids: ["AROAEXAMPLE000000001:session:session"; 2], ..ROLE },
            CallerFacts { ids: ["AIDAEXAMPLE000000001:session"; 2], ..ROLE },
            CallerFacts { ids: ["111122223333:session"; 2], ..ROLE },
            CallerFacts { ids: ["aroaexample000000001:session"; 2], ..ROLE },
            CallerFacts { ids: ["AROA:session"; 2], ..ROLE },
            CallerFacts { ids: [""; 2], ..ROLE },
        ] {
            assert_eq!(AwsCaller::of_session(&facts), Err(CallerProblem::Malformed), "{facts:?}");
        }
    }

    #[test]
    fn an_organization_is_one_only_by_its_id() {
        let organization = |text| AwsCaller::of_session(&CallerFacts { organization: text, ..ROLE });
        for text in [
            None,
            Some(""),
            Some("aws:PrincipalOrgID"),
            Some("o-"),
            Some("o-a1b2c3d4e"),
            Some("o-A1B2C3D4E5"),
            Some("o-a1b2c3d4e5/r-ab12"),
            Some("r-a1b2c3d4e5"),
        ] {
            assert_eq!(organization(text), Ok(AwsCaller { organization: None, ..role() }), "{text:?}");
        }
    }
}
