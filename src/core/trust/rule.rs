//! One rule, and the rules of a client.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::aws::AwsRule;
use super::claim_test::ClaimTest;
use super::identity::Identity;
use super::issuer::{IssuerUrl, TrustedIssuer};
use crate::core::conversions::text_conversions;

/// The rules of a client: whoever satisfies one of them is the client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrustRules(Vec<TrustRule>);

/// What somebody has to be, as others vouch for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustRule {
    /// Its name among the client's rules.
    pub name: RuleName,
    /// A role of AWS. Exactly one of this and `issuer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsRule>,
    /// The issuer of its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<IssuerUrl>,
    /// What that token has to say: all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimTest>,
    /// How many seconds may have passed since the token was made, where that is less than the issuer allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
    /// Whether each token is good once, also where the issuer's are not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single_use: bool,
    /// Whether it admits anybody.
    #[serde(default, skip_serializing_if = "RuleMode::is_enforce")]
    pub mode: RuleMode,
}

/// What comes of a rule that is satisfied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleMode {
    /// The caller is the client.
    #[default]
    Enforce,
    /// A line in the log.
    Observe,
}

/// A rule's name among those of its client: 1 to 64 characters of `[A-Za-z0-9_.-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuleName(String);

/// The text is not a rule's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rule's name has 1 to 64 characters of A-Z, a-z, 0-9, _, . and -")]
pub struct MalformedRuleName;

/// Why rules are refused. The sentence says what is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTrust {
    /// A rule has neither or both of its two heads.
    #[error("rule '{0}' needs exactly one of \"aws\" and \"issuer\"")]
    Head(RuleName),
}

/// What one rule says of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The rule.
    pub rule: &'a TrustRule,
    /// What the caller lacks, in the rule's order; nothing where the rule is satisfied.
    pub shortfalls: Vec<Shortfall>,
}

/// Something that a rule demands and a caller lacks. Without its values: it is written to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// What the rule demands it of: `issuer`, `aws.role`, `claims.environment`, `max_age`, ….
    pub of: String,
    /// What is wrong there.
    pub why: ShortfallReason,
}

/// What is wrong with a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShortfallReason {
    /// It is not there, or not where a rule can see it.
    Absent,
    /// It is there, and is a list or an object, which no rule compares.
    NotText,
    /// It is something else.
    Different,
}

impl TrustRules {
    /// These rules, in this order.
    pub fn new(rules: Vec<TrustRule>) -> Self {
        Self(rules)
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, TrustRule> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks what they say against each other and against the issuers that the realm trusts.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self, _trusted: &[TrustedIssuer]) -> Result<(), InvalidTrust> {
        let has_one_head = |rule: &&TrustRule| rule.aws.is_some() != rule.issuer.is_some();
        match self.0.iter().find(|rule| !has_one_head(rule)) {
            Some(rule) => Err(InvalidTrust::Head(rule.name.clone())),
            None => Ok(()),
        }
    }

    /// What each says of a caller.
    pub fn verdicts(&self, _identity: Identity<'_>) -> Vec<Verdict<'_>> {
        let absent = || Shortfall { of: "rule".to_owned(), why: ShortfallReason::Absent };
        self.0.iter().map(|rule| Verdict { rule, shortfalls: vec![absent()] }).collect()
    }

    /// The first rule that is enforced and satisfied by a caller.
    pub fn admitting(&self, identity: Identity<'_>) -> Option<&TrustRule> {
        let admits = |verdict: &Verdict<'_>| verdict.shortfalls.is_empty() && verdict.rule.mode == RuleMode::Enforce;
        self.verdicts(identity).into_iter().find(admits).map(|verdict| verdict.rule)
    }

    /// Whether a rule may admit tokens of an issuer of AWS STS that nobody has registered: one that demands an organization.
    pub fn admit_any_sts_issuer(&self) -> bool {
        self.0.iter().filter_map(|rule| rule.aws.as_ref()).any(|aws| aws.organization.is_some())
    }
}

impl RuleMode {
    fn is_enforce(&self) -> bool {
        *self == Self::Enforce
    }
}

impl RuleName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RuleName {
    type Err = MalformedRuleName;

    fn from_str(text: &str) -> Result<Self, MalformedRuleName> {
        let well_formed = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(MalformedRuleName) }
    }
}

text_conversions!(RuleName);
