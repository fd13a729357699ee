//! By which rule a caller is the client.

use serde_json::{Map, Value};

use super::rule::RuleName;

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
