//! Why a plan cannot be made.

use std::fmt;

use super::step::Target;
use crate::core::client::metadata::InvalidRegistration;
use crate::core::declaration::DeclarationName;
use crate::core::scope::Scope;

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
    /// A realm's default scope is not among the scopes that it allows.
    DefaultScope {
        /// The first scope token outside.
        scope: String,
        /// What the realm allows.
        allowed: Scope,
    },
    /// A client that authenticates by its secret was declared without one.
    NeedsSecret,
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs { of: Some(name) } => write!(formatter, "it is declared by '{name}'"),
            Self::NotOurs { of: None } => formatter.write_str("it exists, and no file has declared it"),
            Self::UnknownRealm => formatter.write_str("its realm does not exist, and the file does not declare it"),
            Self::Member { name, why } => write!(formatter, "{name}: {why}"),
            Self::Registration(error) => error.fmt(formatter),
            Self::DefaultScope { scope, allowed } => {
                write!(formatter, "the default scope '{scope}' is not among the realm's allowed scopes '{allowed}'")
            }
            Self::NeedsSecret => {
                formatter.write_str("it says generate: false, and one of its authentication methods uses a secret")
            }
        }
    }
}
