//! What a rule is called.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::core::conversions::text_conversions;

/// A rule's name among those of its client: 1 to 64 characters of `[A-Za-z0-9_.-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuleName(String);

/// The text is not a rule's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rule's name has 1 to 64 characters of A-Z, a-z, 0-9, _, . and -")]
pub struct MalformedRuleName;

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
