//! Why an authorizer turns a request away.

use crate::core::access_token::facts::TokenFacts;
use crate::core::bearer::Denial;
use crate::core::reason::Reason;

/// Why a request may not pass.
#[derive(Debug)]
pub(super) enum Denied {
    /// For its token.
    Bearer(Denial),
    /// Its route is not configured, so nobody said what it needs.
    NoSuchRoute(TokenFacts),
    /// Its route can only be guessed from its path, and the path can be written in another way.
    OtherSpelling(TokenFacts),
    /// Its path would be a pattern in the policy that lets it pass, and let others pass with it.
    Pattern(TokenFacts),
}

impl Denied {
    /// What the log and the API's access log call it.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Bearer(denial) => denial.reason(),
            Self::NoSuchRoute(_) => Reason::NoSuchRoute,
            Self::OtherSpelling(_) => Reason::PathHasOtherSpellings,
            Self::Pattern(_) => Reason::PathIsAPattern,
        }
    }

    /// Why the token is not active, where that is the reason. For the log only.
    pub(super) fn inactive(&self) -> Option<Reason> {
        match self {
            Self::Bearer(Denial::InvalidToken(reason)) => Some(*reason),
            _ => None,
        }
    }

    /// The active token that did not suffice; `None` where there was none.
    pub(super) fn token(&self) -> Option<&TokenFacts> {
        match self {
            Self::NoSuchRoute(token)
            | Self::OtherSpelling(token)
            | Self::Pattern(token)
            | Self::Bearer(Denial::InsufficientScope { token, .. }) => Some(token),
            Self::Bearer(Denial::NoCredentials | Denial::InvalidToken(_)) => None,
        }
    }
}
