//! One rule, and the rules of a client.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::aws::AwsRule;
use super::claim_test::ClaimTest;
use super::demand::Demand;
use super::identity::{Identity, IssuerToken};
use super::issuer::{IssuerUrl, TrustedIssuer};
use super::limits;
use super::owner;
use super::sts::StsRole;
use super::written::WrittenRule;
use crate::core::form::{self, Malformed};

pub use super::demand::{Shortfall, ShortfallReason};
pub use super::name::{MalformedRuleName, RuleName};
pub use super::problem::{InvalidTrust, RuleProblem};
pub use super::written::RuleMode;

/// The rules of a client: whoever satisfies one of them is the client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Value>")]
#[serde(into = "Vec<WrittenRule>")]
pub struct TrustRules(Vec<TrustRule>);

/// What somebody has to be, as others vouch for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRule {
    /// Its name among the client's rules.
    pub name: RuleName,
    /// How many seconds may have passed since the token was made, where that is less than the issuer allows.
    pub max_age: Option<u64>,
    /// Whether each token is good once, also where the issuer's are not.
    pub single_use: bool,
    /// Whether it admits anybody.
    pub mode: RuleMode,
    head: Head,
    claims: Vec<ClaimTest>,
}

/// What one rule says of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The rule.
    pub rule: &'a TrustRule,
    /// What the caller lacks, in the rule's order; nothing where the rule is satisfied.
    pub shortfalls: Vec<Shortfall>,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Head {
    /// A role of AWS.
    Aws(AwsRule),
    /// Whoever has a token of this issuer.
    Issuer(IssuerUrl),
}

impl TrustRules {
    /// These rules, in this order.
    ///
    /// # Errors
    /// Where there are too many, or two have one name.
    pub fn new(rules: Vec<TrustRule>) -> Result<Self, InvalidTrust> {
        if rules.len() > limits::RULES {
            return Err(InvalidTrust::TooMany);
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = rules.iter().find(|rule| !names.insert(&rule.name)) {
            return Err(InvalidTrust::SameName(twice.name.clone()));
        }
        let rules = Self(rules);
        match serde_json::to_vec(&rules) {
            Ok(json) if json.len() <= limits::BYTES => Ok(rules),
            _ => Err(InvalidTrust::TooLarge),
        }
    }

    /// Reads rules, each an object of the published format.
    ///
    /// # Errors
    /// The first thing that is wrong, and in which rule.
    pub fn parse(written: Vec<Value>) -> Result<Self, InvalidTrust> {
        if written.len() > limits::RULES {
            return Err(InvalidTrust::TooMany);
        }
        let rules = written.into_iter().enumerate().map(|(index, written)| {
            let name = written.get("name").and_then(Value::as_str).and_then(|name| name.parse().ok());
            TrustRule::parse(&written).map_err(|problem| match name {
                Some(rule) => InvalidTrust::Rule { rule, problem },
                None => InvalidTrust::Numbered { number: index + 1, problem },
            })
        });
        Self::new(rules.collect::<Result<_, _>>()?)
    }

    /// Each of them, in their order.
    pub fn as_slice(&self) -> &[TrustRule] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks them against the issuers that the realm trusts: whether each names one, and whom of it.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self, trusted: &[TrustedIssuer]) -> Result<(), InvalidTrust> {
        self.0.iter().try_for_each(|rule| {
            rule.check(trusted).map_err(|problem| InvalidTrust::Rule { rule: rule.name.clone(), problem })
        })
    }

    /// What each says of a caller.
    pub fn verdicts(&self, identity: Identity<'_>) -> Vec<Verdict<'_>> {
        self.0.iter().map(|rule| rule.verdict(identity)).collect()
    }

    /// What those say of a caller that are only observed.
    pub fn verdicts_of_observed(&self, identity: Identity<'_>) -> Vec<Verdict<'_>> {
        let observed = self.0.iter().filter(|rule| rule.mode == RuleMode::Observe);
        observed.map(|rule| rule.verdict(identity)).collect()
    }

    /// The first rule that is enforced and satisfied by a caller.
    pub fn admitting(&self, identity: Identity<'_>) -> Option<&TrustRule> {
        let enforced = self.0.iter().filter(|rule| rule.mode == RuleMode::Enforce);
        enforced.into_iter().find(|rule| rule.is_satisfied_by(identity))
    }

    /// Whether a rule may admit tokens of an issuer of AWS STS that nobody has registered: one that demands an organization.
    pub fn admit_any_sts_issuer(&self) -> bool {
        self.0.iter().any(TrustRule::demands_organization)
    }

    /// Whether a rule is about tokens of this issuer. Where none is, nobody looks for its keys.
    pub fn name(&self, issuer: &IssuerUrl) -> bool {
        self.0.iter().any(|rule| match &rule.head {
            Head::Aws(_) => issuer.is_sts(),
            Head::Issuer(named) => named == issuer,
        })
    }

    /// Those that tokens satisfy only of issuers of AWS that the realm has registered: they name an account and no organization.
    pub fn of_registered_issuers_of_aws(&self) -> impl Iterator<Item = &TrustRule> {
        self.0.iter().filter(|rule| matches!(&rule.head, Head::Aws(aws) if !aws.pins_organization()))
    }

    /// Whether a rule may be satisfied by nobody without this issuer in the realm. Of AWS an account's rule needs one, and which account is
    /// whose only its tokens say; a rule for an organization has all of them.
    pub fn need(&self, issuer: &IssuerUrl) -> bool {
        self.0.iter().any(|rule| match &rule.head {
            Head::Aws(aws) => issuer.is_sts() && !aws.pins_organization(),
            Head::Issuer(named) => named == issuer,
        })
    }

    /// Those that any administrator of any account of an organization can satisfy: they name neither an account nor an
    /// organizational unit, and such a person makes roles and tags as they like.
    pub fn of_whole_organizations(&self) -> impl Iterator<Item = &TrustRule> {
        self.0.iter().filter(|rule| match &rule.head {
            Head::Aws(aws) => !aws.pins_owner(),
            Head::Issuer(_) => false,
        })
    }

    /// Those that every role of an account or of an organizational unit satisfies.
    pub fn of_every_role(&self) -> impl Iterator<Item = &TrustRule> {
        self.0.iter().filter(|rule| match &rule.head {
            Head::Aws(aws) => aws.pins_owner() && aws.names_every_role() && rule.claims.is_empty(),
            Head::Issuer(_) => false,
        })
    }

    /// Those that nobody satisfies whose request AWS has verified: they demand what only a token says.
    pub fn of_tokens_only(&self) -> impl Iterator<Item = &TrustRule> {
        self.0.iter().filter(|rule| match &rule.head {
            Head::Aws(aws) => aws.demands_what_tokens_say() || !rule.claims.is_empty(),
            Head::Issuer(_) => true,
        })
    }

    /// Those that no token satisfies: they demand a role's id, which none has.
    pub fn of_the_door_only(&self) -> impl Iterator<Item = &TrustRule> {
        self.0.iter().filter(|rule| matches!(&rule.head, Head::Aws(aws) if aws.pins_role_id()))
    }
}

impl TrustRule {
    /// Reads an object of the published format.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(written: &Value) -> Result<Self, RuleProblem> {
        let written: WrittenRule =
            form::read(written).map_err(|Malformed { place, why }| RuleProblem::Form { path: place, problem: why })?;
        let WrittenRule { name, aws, issuer, claims, max_age, single_use, mode } = written;
        let name = name.parse()?;
        if claims.len() > limits::CLAIMS {
            return Err(RuleProblem::TooManyClaims);
        }
        let claims = claims.into_iter().map(ClaimTest::parse).collect::<Result<Vec<_>, _>>()?;
        let head = match (aws, issuer) {
            (Some(aws), None) => Head::Aws(AwsRule::parse(aws)?),
            (None, Some(issuer)) => Head::Issuer(issuer.parse().map_err(RuleProblem::Issuer)?),
            _ => return Err(RuleProblem::Head),
        };
        match &head {
            Head::Aws(aws) if aws.pins_role_id() && !claims.is_empty() => {
                return Err(RuleProblem::NeverTogether("claims"));
            }
            Head::Issuer(issuer) if !issuer.is_sts() => {
                if let Some(claim) = claims.iter().find(|claim| claim.is_of_sts()) {
                    return Err(RuleProblem::NotOfSts(claim.name()));
                }
            }
            _ => {}
        }
        if max_age.is_some_and(|seconds| !(1..=limits::MAX_AGE).contains(&seconds)) {
            return Err(RuleProblem::MaxAge);
        }
        Ok(Self { name, max_age, single_use, mode, head, claims })
    }

    /// Whether a caller lacks nothing that it demands.
    pub fn is_satisfied_by(&self, identity: Identity<'_>) -> bool {
        self.demands(identity).iter().all(|demand| demand.why.is_none())
    }

    /// All that it demands, and what a caller has of it, with the values.
    pub fn demands(&self, identity: Identity<'_>) -> Vec<Demand> {
        let mut demands = match (&self.head, identity) {
            (Head::Aws(rule), Identity::AwsCaller(caller)) => rule.demands_of_caller(caller),
            (Head::Aws(rule), Identity::Token(token)) => demands_of_sts_token(rule, token),
            (Head::Issuer(issuer), Identity::AwsCaller(_)) => {
                vec![Demand::new("issuer", issuer.as_str(), None, Some(ShortfallReason::Absent))]
            }
            (Head::Issuer(issuer), Identity::Token(token)) => demands_of_issuers_token(issuer, token),
        };
        let (claims, age): (Option<&Map<String, Value>>, _) = match identity {
            Identity::AwsCaller(_) => (None, None),
            Identity::Token(token) => (Some(token.claims), Some(token.age)),
        };
        demands.extend(self.claims.iter().map(|claim| claim.demand(claims)));
        // A request that AWS has verified was signed for this moment: it has no age of its own.
        if let Some((max_age, age)) = self.max_age.zip(age) {
            let wanted = format!("at most {max_age} seconds");
            let found = age.map(|age| age.to_string());
            let found = found.as_deref().ok_or(ShortfallReason::Absent);
            demands.push(Demand::of_text("max_age", wanted, found, |_text| age.is_some_and(|age| age <= max_age)));
        }
        demands
    }

    fn verdict(&self, identity: Identity<'_>) -> Verdict<'_> {
        let shortfalls = self.demands(identity).into_iter().filter_map(Demand::shortfall).collect();
        Verdict { rule: self, shortfalls }
    }

    fn check(&self, trusted: &[TrustedIssuer]) -> Result<(), RuleProblem> {
        // A role comes in through the IAM door without any issuer, and an organization's issuers are known by their form.
        let Head::Issuer(issuer) = &self.head else { return Ok(()) };
        let Some(trusted) = trusted.iter().find(|trusted| trusted.issuer == *issuer) else {
            return Err(RuleProblem::UnknownIssuer(issuer.clone()));
        };
        if let Some((max_age, allowed)) = self.max_age.zip(trusted.max_age)
            && max_age > allowed
        {
            return Err(RuleProblem::LooserAge { max_age, allowed });
        }
        owner::check(trusted, &self.claims)
    }

    fn demands_organization(&self) -> bool {
        matches!(&self.head, Head::Aws(aws) if aws.pins_organization())
    }

    fn written(&self) -> WrittenRule {
        let (aws, issuer) = match &self.head {
            Head::Aws(aws) => (Some(aws.written()), None),
            Head::Issuer(issuer) => (None, Some(issuer.as_str().to_owned())),
        };
        WrittenRule {
            name: self.name.as_str().to_owned(),
            aws,
            issuer,
            claims: self.claims.iter().map(ClaimTest::written).collect(),
            max_age: self.max_age,
            single_use: self.single_use,
            mode: self.mode,
        }
    }
}

impl TryFrom<Vec<Value>> for TrustRules {
    type Error = InvalidTrust;

    fn try_from(written: Vec<Value>) -> Result<Self, InvalidTrust> {
        Self::parse(written)
    }
}

impl From<TrustRules> for Vec<WrittenRule> {
    fn from(rules: TrustRules) -> Self {
        rules.0.iter().map(TrustRule::written).collect()
    }
}

/// Of a token, a rule about a role of AWS believes AWS STS and nobody else, whatever another issuer writes where AWS does. Every account
/// has such an issuer: one that nobody has registered is looked at for a rule that demands an organization, and for no other.
fn demands_of_sts_token(rule: &AwsRule, token: IssuerToken<'_>) -> Vec<Demand> {
    let any = rule.pins_organization();
    let wanted = if any { "AWS STS" } else { "AWS STS, registered in the realm" };
    let of_sts = Demand::of_text("issuer", wanted, Ok(token.issuer.issuer.as_str()), |_text| {
        token.issuer.issuer.is_sts() && (any || token.issuer.is_registered())
    });
    if of_sts.why.is_some() {
        return vec![of_sts];
    }
    match StsRole::of(token.claims) {
        Ok(role) => [vec![of_sts], rule.demands_of_token(&role)].concat(),
        Err(shortfall) => vec![of_sts, no_role(shortfall)],
    }
}

fn demands_of_issuers_token(issuer: &IssuerUrl, token: IssuerToken<'_>) -> Vec<Demand> {
    let found = token.issuer.issuer.as_str();
    // An issuer of AWS that nobody has registered, or nobody any more, may be let in for a rule of an organization: not for this one.
    let is_it = |text: &str| text == issuer.as_str() && token.issuer.is_registered();
    let mut demands = vec![Demand::of_text("issuer", issuer.as_str(), Ok(found), is_it)];
    // Also where a rule names the issuer itself: an origin identity that is spelled like a role is not that role.
    if issuer.is_sts()
        && token.issuer.issuer.is_sts()
        && let Err(shortfall) = StsRole::of(token.claims)
    {
        demands.push(no_role(shortfall));
    }
    demands
}

fn no_role(Shortfall { of, why }: Shortfall) -> Demand {
    Demand::new(of, "a role of AWS", None, Some(why))
}
