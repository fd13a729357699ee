//! Whether what others say of a caller makes it the client. The same whoever has said it, and however that was verified.

use crate::core::client::Client;
use crate::core::error::ClientAuthFailure;
use crate::core::trust::identity::Identity;
use crate::core::trust::rule::{RuleMode, TrustRule, Verdict};
use crate::core::trust::shortfalls::Shortfalls;

/// The rule of the client that admits a caller. What the rules would do that are only observed is written to the log.
///
/// # Errors
/// [`ClientAuthFailure::NoTrustRule`].
pub(super) fn admitting<'a>(client: &'a Client, identity: Identity<'_>) -> Result<&'a TrustRule, ClientAuthFailure> {
    let verdicts = client.metadata.trust.verdicts(identity);
    for verdict in verdicts.iter().filter(|verdict| verdict.rule.mode == RuleMode::Observe) {
        tell_of_observed(client, verdict);
    }
    let admits = |verdict: &&Verdict<'_>| verdict.shortfalls.is_empty() && verdict.rule.mode == RuleMode::Enforce;
    let admitting = verdicts.iter().find(admits).map(|verdict| verdict.rule);
    admitting.ok_or_else(|| ClientAuthFailure::NoTrustRule(Shortfalls::of(&verdicts)))
}

fn tell_of_observed(client: &Client, verdict: &Verdict<'_>) {
    let (realm, client_id, trust_rule) = (&client.realm, &client.client_id, verdict.rule.name.as_str());
    let (would_admit, detail) = (verdict.shortfalls.is_empty(), Shortfalls::of_rule(verdict));
    tracing::info!(%realm, %client_id, trust_rule, would_admit, %detail, "a trust rule is only observed");
}
