//! By which rule a caller is the client.

use serde_json::{Map, Value};

use super::identity::Identity;
use super::issuer::IssuerKind;
use super::rule::{RuleName, TrustRule};
use super::sts::STS_CLAIMS;
use crate::core::access_token::claims::CustomClaims;

/// Why a caller is the client, and what of that its tokens and the log say.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// The rule that it satisfies.
    pub rule: RuleName,
    /// What the client's registration has its tokens say of its caller: claims by their names.
    pub claims: Map<String, Value>,
    /// What names the caller for good, for the log: the name of each fact, and the fact.
    pub subject: Vec<(&'static str, String)>,
}

impl Admission {
    /// The admission of a caller by a rule that it satisfies. Its tokens say of it what is `registered` for them.
    pub fn of(rule: &TrustRule, identity: Identity<'_>, registered: &CustomClaims) -> Self {
        let claim = |(name, path): (&str, Vec<&str>)| Some((name.to_owned(), told(identity.fact(&path)?)?));
        let fact = |(name, path): &(&'static str, &[&str])| Some((*name, text(&told(identity.fact(path)?)?)));
        Self {
            rule: rule.name.clone(),
            claims: registered.facts().filter_map(claim).collect(),
            subject: subject_of(identity).iter().filter_map(fact).collect(),
        }
    }
}

/// A fact that a token may carry: not a list, not an object, and not long.
fn told(fact: Value) -> Option<Value> {
    match &fact {
        Value::String(text) => (text.len() <= MOST_BYTES).then_some(fact),
        Value::Number(_) | Value::Bool(_) => Some(fact),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text(fact: &Value) -> String {
    fact.as_str().map_or_else(|| fact.to_string(), str::to_owned)
}

/// What stays the same of a caller, however often it is started, and names nobody else, even where something is made again under
/// the same name.
fn subject_of(identity: Identity<'_>) -> &'static [(&'static str, &'static [&'static str])] {
    let kind = match identity {
        Identity::AwsCaller(_) => IssuerKind::Aws,
        Identity::Token(token) if token.issuer.issuer.is_sts() => IssuerKind::Aws,
        Identity::Token(token) => token.issuer.kind,
    };
    match kind {
        IssuerKind::Aws => &[
            ("aws_account", &[STS_CLAIMS, "aws_account"]),
            ("org_id", &[STS_CLAIMS, "org_id"]),
            ("principal_id", &[STS_CLAIMS, "principal_id"]),
            ("aws_role", &[STS_CLAIMS, "role"]),
            ("aws_role_id", &[STS_CLAIMS, "role_id"]),
        ],
        IssuerKind::Github => &[
            ("repository_id", &["repository_id"]),
            ("repository_owner_id", &["repository_owner_id"]),
            ("environment", &["environment"]),
            ("sub", &["sub"]),
        ],
        IssuerKind::Gitlab => {
            &[("project_id", &["project_id"]), ("namespace_id", &["namespace_id"]), ("sub", &["sub"])]
        }
        IssuerKind::Eks | IssuerKind::Kubernetes => {
            &[("sub", &["sub"]), ("serviceaccount_uid", &["kubernetes.io", "serviceaccount", "uid"])]
        }
        IssuerKind::Spiffe | IssuerKind::Oidc => &[("sub", &["sub"])],
    }
}

/// Of a fact; a role's ARN with its path has up to 600.
const MOST_BYTES: usize = 640;
