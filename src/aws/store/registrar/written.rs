//! What became of what the registrar wrote.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

/// What became of a conditional write.
pub(super) enum Written {
    Stored,
    /// The condition did not hold; with what is stored, if anything is.
    Refused(Option<HashMap<String, AttributeValue>>),
}

/// What became of a new version of a secret.
pub(super) enum SecretWritten {
    Stored,
    /// There is no secret of this name, or it is scheduled for deletion.
    Gone,
}

/// Whose leftover a first secret may take the place of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftBehindBy {
    /// That of an earlier registration of the client's id.
    AnyRegistration,
    /// Its own, that somebody has scheduled for deletion.
    ThisRegistration,
}
