//! A presented text that is not an active token.

use crate::core::reason::Reason;

/// Why a presented text is not an active token: for the log only. Whoever asks is told no more than that it is not active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inactive {
    /// Why.
    pub reason: Reason,
    /// Ties it to the other lines of the token, where there is such a token.
    pub audit_tracking_id: Option<String>,
}

impl From<Reason> for Inactive {
    fn from(reason: Reason) -> Self {
        Self { reason, audit_tracking_id: None }
    }
}
