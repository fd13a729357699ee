//! The decisions of the endpoints.

use super::sinks::{Sinks, line};
use crate::core::access_token::facts::TokenFacts;
use crate::core::audit::AuditEvent;
use crate::core::error::OAuthError;
use crate::observe::metrics::Metric;

/// What comes of a decision.
pub(in crate::observe) fn tell(event: &AuditEvent<'_>, sinks: Sinks<'_>) {
    match event {
        AuditEvent::TokenIssued { realm, client_id, scope, expires_in, format, audit_tracking_id } => {
            let format = format.as_str();
            line!(
                sinks, INFO, %realm, %client_id, %scope, expires_in_seconds = expires_in, format, audit_tracking_id,
                "token issued"
            );
            sinks.count_by_realm(Metric::TokensIssued, realm);
        }
        AuditEvent::QuotaExceededObserved { realm, client_id, limit, counted, audit_tracking_id } => {
            line!(
                sinks, INFO, %realm, %client_id, quota = %limit, counted, audit_tracking_id,
                "token quota exceeded, which is only observed"
            );
            sinks.count_by_realm(Metric::TokensBeyondQuota, realm);
        }
        AuditEvent::TokenIntrospected { realm, caller, active, audit_tracking_id } => {
            line!(sinks, INFO, %realm, client_id = %caller, active, audit_tracking_id, "token introspected");
            sinks.count(if *active { Metric::IntrospectionsActive } else { Metric::IntrospectionsInactive });
        }
        AuditEvent::TokenRevoked { realm, caller, audit_tracking_id } => {
            let revoked = audit_tracking_id.is_some();
            line!(sinks, INFO, %realm, client_id = %caller, revoked, audit_tracking_id, "revocation answered");
            sinks.add(Metric::TokensRevoked, usize::from(revoked));
        }
        AuditEvent::Refused { endpoint, realm, client_id, error, .. } => {
            let (client_id, reason) = (client_id.map(ToString::to_string), error.reason());
            match error {
                OAuthError::Server(_) => {
                    line!(sinks, ERROR, endpoint, %realm, client_id, reason, detail = %error, "request failed");
                }
                OAuthError::Unavailable(_) => {
                    line!(sinks, WARN, endpoint, %realm, client_id, reason, detail = %error, "request failed");
                }
                OAuthError::TooManyAttempts { from: source, .. } => {
                    line!(sinks, WARN, endpoint, %realm, client_id, %source, reason, "request refused");
                }
                OAuthError::QuotaExceeded(quota) => {
                    line!(sinks, INFO, endpoint, %realm, client_id, quota = %quota.limit, reason, "request refused");
                }
                _ => line!(sinks, INFO, endpoint, %realm, client_id, reason, "request refused"),
            }
            // Not by its realm: callers may invent one.
            sinks.count_by_reason(Metric::RequestsRefused, &reason);
        }
        AuditEvent::Malformed { endpoint, reason, .. } => {
            line!(sinks, INFO, endpoint, reason, "request refused");
            sinks.count_by_reason(Metric::RequestsRefused, MALFORMED);
        }
        AuditEvent::AccessAllowed { route, token } => {
            let (client_id, audit_tracking_id) = facts(Some(token));
            line!(sinks, INFO, client_id, route, audit_tracking_id, "access allowed");
            sinks.count(Metric::AccessAllowed);
        }
        AuditEvent::AccessDenied { route, route_is_named, token, reason } => {
            let (client_id, audit_tracking_id) = facts(*token);
            if *route_is_named {
                line!(sinks, INFO, client_id, route, reason, audit_tracking_id, "access denied");
            } else {
                line!(
                    sinks,
                    WARN,
                    client_id,
                    route,
                    reason,
                    audit_tracking_id,
                    "access denied to a route that GRANTWELL_AUTHORIZER_SCOPES does not name"
                );
            }
            sinks.count_by_reason(Metric::AccessDenied, reason);
        }
        AuditEvent::AccessUndecided { route, error } => {
            let reason = error.reason();
            if matches!(error, OAuthError::Unavailable(_)) {
                line!(sinks, WARN, route, reason, detail = %error, "request failed");
            } else {
                line!(sinks, ERROR, route, reason, detail = %error, "request failed");
            }
            sinks.count_by_reason(Metric::RequestsRefused, &reason);
        }
    }
}

/// The client and the audit id of a token, for the log.
fn facts(token: Option<&TokenFacts>) -> (Option<&str>, Option<&str>) {
    (token.map(|token| token.client_id.as_str()), token.and_then(|token| token.audit_tracking_id.as_deref()))
}

/// The reason of a request that never became one of the protocol.
pub(super) const MALFORMED: &str = "malformed_request";
