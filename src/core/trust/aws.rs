//! Who a caller is on AWS, and what a rule says about it.

use std::collections::BTreeMap;

use super::demand::{Demand, ShortfallReason};
use super::glob::Glob;
use super::limits;
use super::problem::RuleProblem;
use super::role_arn::{is_account, is_of_role_name, is_partition};
use super::sts::StsRole;
use super::written::WrittenAws;

/// What a rule demands of a role of AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsRule {
    partition: Option<String>,
    account: Option<String>,
    organization: Option<String>,
    organization_path: Option<String>,
    role: Option<Glob>,
    role_id: Option<String>,
    tags: BTreeMap<String, String>,
}

/// A role of AWS whose request AWS has verified. Never an account's root, a user, a federated user or an identity of Cognito.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsCaller {
    /// `aws`, `aws-cn`, `aws-us-gov`, ….
    pub partition: String,
    /// The account's twelve digits.
    pub account: String,
    /// The role's name, without its path.
    pub role: String,
    /// The role's unique id, `AROA…`.
    pub role_id: Option<String>,
    /// The organization of its account, where AWS has said it.
    pub organization: Option<String>,
}

impl AwsRule {
    /// Reads what somebody has written.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn parse(written: WrittenAws) -> Result<Self, RuleProblem> {
        let WrittenAws { partition, account, organization, organization_path, role, role_id, tags } = written;
        let check = |held: bool, problem: RuleProblem| if held { Ok(()) } else { Err(problem) };
        check(account.is_some() || organization.is_some(), RuleProblem::AwsOwner)?;
        check(partition.as_deref().is_none_or(is_partition), RuleProblem::Partition)?;
        check(account.as_deref().is_none_or(is_account), RuleProblem::Account)?;
        check(organization.as_deref().is_none_or(is_organization), RuleProblem::Organization)?;
        if let Some(path) = &organization_path {
            let of = organization_of(path).ok_or(RuleProblem::OrganizationPath)?;
            check(organization.as_deref().is_none_or(|named| named == of), RuleProblem::OtherOrganization)?;
        }
        let role = role.map(|role| {
            let well_formed = role.len() <= 64 && role.bytes().all(|byte| is_of_role_name(byte) || byte == b'*');
            if well_formed { role.parse().map_err(|_malformed| RuleProblem::Role) } else { Err(RuleProblem::Role) }
        });
        check(role_id.as_deref().is_none_or(is_role_id), RuleProblem::RoleId)?;
        let fits = |key: &str, value: &str| {
            let counts = (key.chars().count(), value.chars().count());
            (1..=128).contains(&counts.0) && counts.1 <= 256 && !key.chars().chain(value.chars()).any(char::is_control)
        };
        check(tags.len() <= limits::TAGS && tags.iter().all(|(key, value)| fits(key, value)), RuleProblem::Tags)?;
        // AWS has no tags with this character, so it can only have been meant as a wildcard.
        check(!tags.iter().any(|(key, value)| key.contains('*') || value.contains('*')), RuleProblem::TagPattern)?;
        if role_id.is_some() {
            check(tags.is_empty(), RuleProblem::NeverTogether("its tags"))?;
            check(organization_path.is_none(), RuleProblem::NeverTogether("its organizational unit"))?;
        }
        // A partition that is written out where it is the usual one would be a second form of the same rule.
        let partition = partition.filter(|partition| partition != USUAL_PARTITION);
        Ok(Self { partition, account, organization, organization_path, role: role.transpose()?, role_id, tags })
    }

    /// As it is written.
    pub(super) fn written(&self) -> WrittenAws {
        WrittenAws {
            partition: self.partition.clone(),
            account: self.account.clone(),
            organization: self.organization.clone(),
            organization_path: self.organization_path.clone(),
            role: self.role.as_ref().map(|role| role.as_str().to_owned()),
            role_id: self.role_id.clone(),
            tags: self.tags.clone(),
        }
    }

    /// Whether it is for roles of one account only.
    pub(super) fn pins_account(&self) -> bool {
        self.account.is_some()
    }

    /// Whether it is for roles of one organization only.
    pub(super) fn pins_organization(&self) -> bool {
        self.organization.is_some()
    }

    /// Whether it is for roles of one organizational unit, and of those below it, only.
    pub(super) fn pins_organizational_unit(&self) -> bool {
        self.organization_path.as_ref().is_some_and(|path| path.contains("/ou-"))
    }

    /// Whether it says whose roles it is about, below an organization.
    pub(super) fn pins_owner(&self) -> bool {
        self.pins_account() || self.pins_organizational_unit()
    }

    /// Whether no role is excluded that its account or its organization has.
    pub(super) fn names_every_role(&self) -> bool {
        let is_any = |role: &Glob| role.as_str().bytes().all(|byte| byte == b'*');
        self.role.as_ref().is_none_or(is_any) && self.role_id.is_none() && self.tags.is_empty()
    }

    /// Whether it demands what AWS does not say of a caller whose request it has verified.
    pub(super) fn demands_what_tokens_say(&self) -> bool {
        !self.tags.is_empty() || self.organization_path.is_some()
    }

    /// Whether it demands a role's id.
    pub(super) fn pins_role_id(&self) -> bool {
        self.role_id.is_some()
    }

    /// What it demands, of a caller whose request AWS has verified. Of its tags and its organizational unit nothing is known there.
    pub(super) fn demands_of_caller(&self, caller: &AwsCaller) -> Vec<Demand> {
        let AwsCaller { partition, account, role, role_id, organization } = caller;
        let known = Known {
            partition,
            account,
            role,
            role_id: role_id.as_deref().ok_or(ShortfallReason::Absent),
            organization: organization.as_deref().ok_or(ShortfallReason::Absent),
            paths: Err(ShortfallReason::Absent),
        };
        self.demands(&known, |_key| Err(ShortfallReason::Absent))
    }

    /// What it demands, of a role that AWS STS has signed a token about. Such a token has no role's id.
    pub(super) fn demands_of_token(&self, token: &StsRole<'_>) -> Vec<Demand> {
        let known = Known {
            partition: &token.role.partition,
            account: &token.role.account,
            role: &token.role.role,
            role_id: Err(ShortfallReason::Absent),
            organization: token.organization(),
            paths: token.organization_paths(),
        };
        self.demands(&known, |key| token.principal_tag(key))
    }

    fn demands<'a>(&self, known: &Known<'a>, tag: impl Fn(&str) -> Result<&'a str, ShortfallReason>) -> Vec<Demand> {
        let mut demands = Vec::new();
        let partition = self.partition.as_deref().unwrap_or(USUAL_PARTITION);
        demands.push(Demand::of_text("aws.partition", partition, Ok(known.partition), |text| text == partition));
        if let Some(account) = &self.account {
            demands.push(Demand::of_text("aws.account", account, Ok(known.account), |text| text == account));
        }
        if let Some(organization) = &self.organization {
            let found = known.organization;
            demands.push(Demand::of_text("aws.organization", organization, found, |text| text == organization));
        }
        if let Some(path) = &self.organization_path {
            // An account is in one organizational unit; were it in several, AWS would vouch for each.
            let found = known.paths.as_ref().map(|paths| paths.join(" ")).map_err(|why| *why);
            let below = |paths: &[&str]| paths.iter().any(|found| found.starts_with(path.as_str()));
            let holds = known.paths.as_ref().is_ok_and(|paths| below(paths));
            let found = found.as_deref().map_err(|why| *why);
            demands.push(Demand::of_text("aws.organization_path", format!("{path}…"), found, |_paths| holds));
        }
        if let Some(role) = &self.role {
            demands.push(Demand::of_text("aws.role", role.as_str(), Ok(known.role), |text| role.matches(text)));
        }
        if let Some(role_id) = &self.role_id {
            demands.push(Demand::of_text("aws.role_id", role_id, known.role_id, |text| text == role_id));
        }
        for (key, value) in &self.tags {
            demands.push(Demand::of_text(format!("aws.tags.{key}"), value, tag(key), |text| text == value));
        }
        demands
    }
}

/// What a door knows of a caller.
struct Known<'a> {
    partition: &'a str,
    account: &'a str,
    role: &'a str,
    role_id: Result<&'a str, ShortfallReason>,
    organization: Result<&'a str, ShortfallReason>,
    paths: Result<Vec<&'a str>, ShortfallReason>,
}

pub(super) fn is_organization(text: &str) -> bool {
    let id = text.strip_prefix("o-");
    id.is_some_and(|id| (10..=32).contains(&id.len()) && id.bytes().all(is_of_id))
}

/// The organization with which a path of organizational units begins; nothing where it is not one.
fn organization_of(path: &str) -> Option<&str> {
    let mut names = path.strip_suffix('/').filter(|_path| path.len() <= 512)?.split('/');
    let organization = names.next().filter(|name| is_organization(name))?;
    let id_after = |name: &str, prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| is_of_id(byte) || byte == b'-'))
    };
    let root = names.next().is_none_or(|root| id_after(root, "r-"));
    (root && names.all(|unit| id_after(unit, "ou-"))).then_some(organization)
}

pub(super) fn is_role_id(text: &str) -> bool {
    let id = text.strip_prefix("AROA");
    id.is_some_and(|id| {
        (12..=124).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    })
}

fn is_of_id(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// The partition of a rule that names none.
const USUAL_PARTITION: &str = "aws";
