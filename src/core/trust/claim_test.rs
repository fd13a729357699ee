//! What a rule demands of one claim.

use serde::{Deserialize, Serialize};

/// A claim, by the names on the way to it, and what it has to be: exactly one of the four.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimTest {
    /// The names on the way: claims contain dots and slashes. Never through a list.
    pub path: Vec<String>,
    /// Its text is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// Its text is one of these.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<String>>,
    /// Its text is this, in which `*` stands for any characters but `/` and `:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glob: Option<String>,
    /// Whether it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
}
