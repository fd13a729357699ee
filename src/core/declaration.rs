//! Which file a record is declared in: its name, and what of the record that file has set.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::conversions::text_conversions;

/// The name of a file of declarations, which is what keeps its records from those of another: 1 to 64 characters of `[A-Za-z0-9_.-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeclarationName(String);

/// The text is not a name of a file of declarations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 64 characters of A-Z, a-z, 0-9, _, . and -")]
pub struct MalformedDeclarationName;

/// By which file a record was last changed, and what of it that file has set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedBy {
    /// The name of the file.
    pub name: DeclarationName,
    /// The members that it has set: one that it leaves out later returns to its default. Every other member is somebody else's.
    #[serde(default)]
    pub members: BTreeSet<String>,
}

impl DeclarationName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeclarationName {
    type Err = MalformedDeclarationName;

    fn from_str(text: &str) -> Result<Self, MalformedDeclarationName> {
        let well_formed = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(MalformedDeclarationName) }
    }
}

text_conversions!(DeclarationName);
