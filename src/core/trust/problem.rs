//! Why rules are refused. Each sentence says what is missing, or what to write instead.

use super::glob::MalformedGlob;
use super::issuer::{IssuerUrl, MalformedIssuerUrl};
use super::limits;
use super::name::{MalformedRuleName, RuleName};

/// Why rules are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTrust {
    /// A rule that says something wrong.
    #[error("rule '{rule}': {problem}")]
    Rule {
        /// Its name.
        rule: RuleName,
        /// What is wrong.
        problem: RuleProblem,
    },
    /// A rule of which not even the name can be told.
    #[error("rule {number}: {problem}")]
    Numbered {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        problem: RuleProblem,
    },
    /// Two rules of one name.
    #[error("two rules are named '{0}'; give each a name of its own")]
    SameName(RuleName),
    /// More than are looked at in one request.
    #[error("a client has at most {max} trust rules", max = limits::RULES)]
    TooMany,
    /// Longer together than a registration should be.
    #[error("the client's trust rules have more than {max} characters together", max = limits::BYTES)]
    TooLarge,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleProblem {
    /// A member that there is not, or of another type.
    #[error("{}{problem}", .path.as_ref().map(|path| format!("{path}: ")).unwrap_or_default())]
    Form {
        /// Where.
        path: Option<String>,
        /// What is wrong there.
        problem: String,
    },
    /// Its name.
    #[error(transparent)]
    Name(#[from] MalformedRuleName),
    /// Neither or both of its two heads.
    #[error("needs exactly one of \"aws\" and \"issuer\"")]
    Head,
    /// Its age.
    #[error("max_age is 1 to {max} seconds", max = limits::MAX_AGE)]
    MaxAge,
    /// Its issuer.
    #[error("{0}")]
    Issuer(MalformedIssuerUrl),
    /// Too many claims.
    #[error("tests at most {max} claims", max = limits::CLAIMS)]
    TooManyClaims,

    /// Nobody on AWS is named.
    #[error(
        "\"aws\" needs an account or an organization: without one, roles of every AWS account in the world would satisfy it"
    )]
    AwsOwner,
    /// The account.
    #[error("aws.account is the twelve digits of an AWS account, in quotes, such as \"111122223333\"")]
    Account,
    /// The partition.
    #[error("aws.partition is the name of a partition, such as aws, aws-cn or aws-us-gov")]
    Partition,
    /// The organization.
    #[error("aws.organization is the id of an organization, such as o-a1b2c3d4e5")]
    Organization,
    /// The path of organizational units.
    #[error(
        "aws.organization_path begins with the organization and ends in /, such as o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/"
    )]
    OrganizationPath,
    /// A path of another organization than is named beside it.
    #[error("aws.organization_path begins with another organization than aws.organization names")]
    OtherOrganization,
    /// The role.
    #[error(
        "aws.role is the role's name without its path and without an ARN: 1 to 64 characters of A-Z, a-z, 0-9 and _+=,.@-, in \
         which * stands for any characters"
    )]
    Role,
    /// The role's id.
    #[error("aws.role_id is the unique id of a role, which begins with AROA: `aws iam get-role` shows it as RoleId")]
    RoleId,
    /// The tags.
    #[error("aws.tags has at most {max} tags; a key has 1 to 128 characters and a value at most 256", max = limits::TAGS)]
    Tags,
    /// A tag that looks like a pattern.
    #[error("aws.tags compares whole values: * is not a wildcard there")]
    TagPattern,
    /// What no caller can have together.
    #[error(
        "is never satisfied: a role's id is known only of callers that come through the IAM door, and {0} only of \
         those that present a token"
    )]
    NeverTogether(&'static str),

    /// A path of nothing.
    #[error("the path of a claim is a list of 1 to 8 names, such as [\"sub\"], each of 1 to 256 characters")]
    ClaimPath,
    /// Not one test.
    #[error("claim {0}: needs exactly one of \"equals\", \"in\", \"glob\" and \"present\"")]
    ClaimTests(String),
    /// A list of nothing, or of too much.
    #[error("claim {0}: \"in\" is a list of 1 to {max} texts", max = limits::TEXTS)]
    ClaimValues(String),
    /// A text that is too long.
    #[error("claim {0}: a text has at most {max} characters", max = limits::TEXT_BYTES)]
    ClaimValue(String),
    /// Not a pattern.
    #[error("claim {claim}: {problem}")]
    ClaimGlob {
        /// The claim.
        claim: String,
        /// What is wrong with its pattern.
        problem: MalformedGlob,
    },
    /// What the caller decides itself.
    #[error(
        "claim {0}: request_tags are chosen by whoever asks AWS for the token, so they prove nothing; test principal_tags"
    )]
    RequestTags(String),
    /// What only AWS can say.
    #[error(
        "claim {0}: claims under https://sts.amazonaws.com/ mean something in tokens of AWS STS only, and this rule is for \
         another issuer"
    )]
    NotOfSts(String),

    /// An issuer that the realm does not trust.
    #[error(
        "the realm does not trust the issuer {0}; register it first: grantwell issuer add --realm REALM NAME --issuer {0}"
    )]
    UnknownIssuer(IssuerUrl),
    /// It would loosen what its issuer says.
    #[error(
        "max_age is {max_age}, and tokens of its issuer may be {allowed} seconds old at most; a rule can only tighten that"
    )]
    LooserAge {
        /// What it says.
        max_age: u64,
        /// What its issuer says.
        allowed: u64,
    },
    /// Anybody of its issuer would satisfy it.
    #[error("pins no owner: {0}")]
    NoOwner(Unpinned),
    /// What is pinned is not of the form that its issuer gives it.
    #[error("is never satisfied: {0}")]
    NeverOwner(Unpinned),
}

/// What a rule has to pin so that it is about somebody, by what is known of its issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpinned {
    /// GitHub Actions.
    #[error(
        "a rule for GitHub needs a test with \"equals\" or \"in\" of repository_id or repository_owner_id, which are numbers and \
         stay the same when a name is given to somebody else"
    )]
    Github,
    /// GitLab.
    #[error(
        "a rule for GitLab needs a test with \"equals\" or \"in\" of project_id or namespace_id, which are numbers and stay the \
         same when a path is given to somebody else"
    )]
    Gitlab,
    /// Kubernetes and EKS.
    #[error(
        "a rule for Kubernetes needs a test with \"equals\" or \"in\" of the whole sub, such as \
         system:serviceaccount:orders:api: with a pattern, every pod without an account of its own (\"default\") would satisfy it"
    )]
    Kubernetes,
    /// SPIFFE.
    #[error(
        "a rule for SPIFFE needs a test of sub: \"equals\" or \"in\" with a whole id of the trust domain, such as \
         spiffe://example.org/orders/api, or \"glob\" with /* below a path, such as spiffe://example.org/orders/*"
    )]
    Spiffe,
    /// AWS STS, by its issuer.
    #[error(
        "a rule for an issuer of AWS STS needs a test with \"equals\" or \"in\" of sub, or of principal_id or aws_account under \
         https://sts.amazonaws.com/; or write it with \"aws\", which is satisfied through the IAM door, too"
    )]
    Aws,
    /// Any other.
    #[error(
        "everybody who has a token of its issuer would satisfy it; add a test with \"equals\" or \"in\" of a claim that names \
         the caller, such as sub"
    )]
    Oidc,
}
