//! Why a plan cannot be made.

use std::fmt;

use super::step::Target;
use crate::core::client::id::ClientId;
use crate::core::client::metadata::InvalidRegistration;
use crate::core::declaration::DeclarationName;
use crate::core::management::issuer_rules::InvalidIssuer;
use crate::core::owner::{Owner, OwnerId};
use crate::core::realm::RealmName;
use crate::core::scope::Scope;
use crate::core::trust::issuer::IssuerUrl;
use crate::core::trust::rule::{InvalidTrust, RuleName, RuleProblem};

/// What is wrong with the declaration of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The record.
    pub target: Target,
    /// Where it is declared: the file, and where in it.
    pub place: String,
    /// What is wrong.
    pub kind: ProblemKind,
}

/// What is wrong with a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// There is such a record, and it is not this file's.
    NotOurs {
        /// Whose it is; nobody's where a person has made it.
        of: Option<DeclarationName>,
    },
    /// The realm of a client neither exists nor is declared.
    UnknownRealm,
    /// A value is not one that the member can have.
    Member {
        /// The member.
        name: String,
        /// Why.
        why: String,
    },
    /// The members do not fit together.
    Registration(InvalidRegistration),
    /// A rule of a client is for an issuer that its realm does not trust, and that the file does not declare.
    UnknownIssuer {
        /// The rule.
        rule: RuleName,
        /// The issuer.
        issuer: IssuerUrl,
    },
    /// A realm's default scope is not among the scopes that it allows.
    DefaultScope {
        /// The first scope token outside.
        scope: String,
        /// What the realm allows.
        allowed: Scope,
    },
    /// A client that authenticates by its secret was declared without one.
    NeedsSecret,
    /// A client was to have an owner that there is not.
    UnknownOwner(OwnerId),
    /// A client was to have an owner that is disabled, and that the file does not declare.
    DisabledOwner(OwnerId),
    /// More principals act for an owner than may.
    TooManyPrincipals,
    /// An owner was to be deleted that still has clients.
    StillOwns(Vec<(RealmName, ClientId)>),
    /// An issuer cannot be trusted so.
    Issuer(InvalidIssuer),
    /// Who an issuer is does not change: rules name it.
    OtherIssuer {
        /// Who it is.
        is: IssuerUrl,
        /// Who it was to be.
        declared: IssuerUrl,
    },
    /// An issuer was to be deleted that rules of clients need.
    IssuerIsUsed(Vec<(RealmName, ClientId)>),
}

impl ProblemKind {
    /// Why a client cannot be registered so.
    pub(super) fn of_registration(error: InvalidRegistration) -> Self {
        match error {
            InvalidRegistration::Trust(InvalidTrust::Rule { rule, problem: RuleProblem::UnknownIssuer(issuer) }) => {
                Self::UnknownIssuer { rule, issuer }
            }
            error => Self::Registration(error),
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs { of: Some(name) } => write!(formatter, "it is declared by '{name}'"),
            Self::NotOurs { of: None } => formatter.write_str("it exists, and no file has declared it"),
            Self::UnknownRealm => formatter.write_str("its realm does not exist, and the file does not declare it"),
            Self::Member { name, why } => write!(formatter, "{name}: {why}"),
            Self::Registration(error) => error.fmt(formatter),
            Self::UnknownIssuer { rule, issuer } => {
                write!(formatter, "rule '{rule}': the realm does not trust the issuer {issuer}")
            }
            Self::DefaultScope { scope, allowed } => {
                write!(formatter, "the default scope '{scope}' is not among the realm's allowed scopes '{allowed}'")
            }
            Self::NeedsSecret => {
                formatter.write_str("it says generate: false, and one of its authentication methods uses a secret")
            }
            Self::UnknownOwner(owner) => {
                write!(formatter, "its owner '{owner}' does not exist, and the file does not declare it")
            }
            Self::DisabledOwner(owner) => {
                write!(formatter, "its owner '{owner}' is disabled, so it is given no client")
            }
            Self::TooManyPrincipals => {
                write!(formatter, "an owner has at most {} AWS principals", Owner::MAX_PRINCIPALS)
            }
            Self::StillOwns(clients) => {
                write!(formatter, "it would be deleted, and still owns {}", Named(clients))
            }
            Self::Issuer(error) => error.fmt(formatter),
            Self::OtherIssuer { is, declared } => {
                write!(formatter, "it is {is}, which rules may name, and does not become {declared}")
            }
            Self::IssuerIsUsed(clients) => {
                write!(formatter, "it would be removed, and rules need it of {}", Named(clients))
            }
        }
    }
}

/// Clients in a sentence: the first of them, and how many more there are.
struct Named<'a>(&'a [(RealmName, ClientId)]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |id: &(RealmName, ClientId)| Target::from(id).to_string();
        let first: Vec<String> = self.0.iter().take(NAMED).map(name).collect();
        formatter.write_str(&first.join(", "))?;
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

/// How many clients are named.
const NAMED: usize = 3;
