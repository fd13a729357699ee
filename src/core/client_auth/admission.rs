//! Whether what others say of a caller makes it the client. The same whoever has said it, and however that was verified.

use super::method::Proven;
use crate::core::client::Client;
use crate::core::error::{ClientAuthFailure, OAuthError};
use crate::core::trust::identity::Identity;
use crate::core::trust::rule::TrustRule;
use crate::core::trust::shortfalls::{NotAdmitted, ObservedRule, Shortfalls};

/// The rule of the client that admits a caller, and what those would do that are only observed.
///
/// # Errors
/// [`ClientAuthFailure::NoTrustRule`].
pub(super) fn admitting<'a>(
    client: &'a Client,
    identity: Identity<'_>,
) -> Result<(&'a TrustRule, Vec<ObservedRule>), ClientAuthFailure> {
    let trust = &client.metadata.trust;
    let observed = trust.verdicts_of_observed(identity).iter().map(ObservedRule::of).collect();
    if let Some(rule) = trust.admitting(identity) {
        return Ok((rule, observed));
    }
    let shortfalls = Shortfalls::of(&trust.verdicts(identity));
    Err(ClientAuthFailure::NoTrustRule(NotAdmitted { shortfalls, observed }))
}

/// Writes to the log what rules would have done that are only observed: of a request once, when nothing about it is looked at again.
pub(super) fn tell_of_observed(client: &Client, verified: &Result<Proven, OAuthError>) {
    let observed = match verified {
        Ok(Proven::Identity { observed, .. }) => observed.as_slice(),
        Err(OAuthError::InvalidClient(ClientAuthFailure::NoTrustRule(not_admitted))) => &not_admitted.observed,
        Ok(Proven::Registration | Proven::Secrets(_)) | Err(_) => &[],
    };
    let (realm, client_id) = (&client.realm, &client.client_id);
    for ObservedRule { name, would_admit, lacks } in observed {
        tracing::info!(%realm, %client_id, trust_rule = name.as_str(), would_admit, detail = %lacks, "a trust rule is only observed");
    }
}
