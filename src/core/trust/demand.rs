//! What a rule demands of a caller, piece by piece, and what came of it.

use std::fmt;

/// One thing that a rule demands, with its values: for whoever has the caller's token anyway. Never for a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// What it is demanded of: `issuer`, `aws.role`, `claims.environment`, `max_age`, ….
    pub of: String,
    /// What it has to be.
    pub wanted: String,
    /// What it is, where it is text.
    pub found: Option<String>,
    /// What is wrong with that; nothing where the demand is met.
    pub why: Option<ShortfallReason>,
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
    /// It is there, and is a list, an object or a number that has no exact text, none of which a rule compares.
    NotText,
    /// It is something else.
    Different,
    /// It names somebody on AWS who is not a role: a user, an account's root, a federated user, ….
    NotARole,
}

impl Demand {
    /// One that is met where `why` is nothing.
    pub(super) fn new(
        of: impl Into<String>,
        wanted: impl Into<String>,
        found: Option<&str>,
        why: Option<ShortfallReason>,
    ) -> Self {
        Self { of: of.into(), wanted: wanted.into(), found: found.map(str::to_owned), why }
    }

    /// Of a text that may not be there.
    pub(super) fn of_text(
        of: impl Into<String>,
        wanted: impl Into<String>,
        found: Result<&str, ShortfallReason>,
        holds: impl FnOnce(&str) -> bool,
    ) -> Self {
        let why = match found {
            Ok(text) => (!holds(text)).then_some(ShortfallReason::Different),
            Err(why) => Some(why),
        };
        Self::new(of, wanted, found.ok(), why)
    }

    /// What of it may be logged.
    pub(super) fn shortfall(self) -> Option<Shortfall> {
        let Self { of, why, .. } = self;
        why.map(|why| Shortfall { of, why })
    }
}

impl ShortfallReason {
    /// Its name in a log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::NotText => "not_text",
            Self::Different => "different",
            Self::NotARole => "not_a_role",
        }
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.of, self.why.as_str())
    }
}
