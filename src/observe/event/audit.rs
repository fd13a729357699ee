//! The decisions of the endpoints. Each line says how it was answered, and in what time; the id of its request and where that came from
//! are added to every line ([`crate::observe::request`]).

use std::fmt;

use tracing::field::{DisplayValue, display};

use super::sinks::{Sinks, line};
use super::untrusted::Untrusted;
use crate::core::access_token::facts::TokenFacts;
use crate::core::audit::AuditEvent;
use crate::core::client::id::ClientId;
use crate::core::error::{ClientAuthFailure, OAuthError};
use crate::core::realm::RealmName;
use crate::core::reason::Reason;
use crate::observe::metrics::Metric;
use crate::observe::request::duration_ms;

/// What comes of a decision.
pub(in crate::observe) fn tell(event: &AuditEvent<'_>, sinks: Sinks<'_>) {
    match event {
        AuditEvent::TokenIssued { realm, client_id, scope, expires_in, format, admission, audit_tracking_id } => {
            let format = format.as_str();
            let trust_rule = admission.map(|admission| admission.rule.as_str());
            let subject = admission.map(|admission| display(Subject(&admission.subject)));
            line!(
                sinks, INFO, %realm, %client_id, %scope, expires_in_seconds = expires_in, format, trust_rule, subject,
                audit_tracking_id, status = 200, duration_ms = duration_ms(), "token issued"
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
        AuditEvent::TokenIntrospected { realm, caller, inactive, audit_tracking_id } => {
            let (active, reason) = (inactive.is_none(), inactive.map(Reason::as_str));
            line!(
                sinks, INFO, %realm, client_id = %caller, active, reason, audit_tracking_id, status = 200,
                duration_ms = duration_ms(), "token introspected"
            );
            sinks.count(if active { Metric::IntrospectionsActive } else { Metric::IntrospectionsInactive });
        }
        AuditEvent::TokenRevoked { realm, caller, audit_tracking_id } => {
            let revoked = audit_tracking_id.is_some();
            line!(
                sinks, INFO, %realm, client_id = %caller, revoked, audit_tracking_id, status = 200,
                duration_ms = duration_ms(), "revocation answered"
            );
            sinks.add(Metric::TokensRevoked, usize::from(revoked));
        }
        AuditEvent::Refused { endpoint, realm, client_id, unverified_scope, error, .. } => {
            let request = (*endpoint, *realm, client_id.map(display));
            tell_refusal(request, *unverified_scope, error, sinks);
            // Not by its realm: callers may invent one.
            sinks.count_by_reason(Metric::RequestsRefused, error.reason());
        }
        AuditEvent::Malformed { endpoint, realm, reason, detail, status, .. } => {
            line!(
                sinks,
                INFO,
                endpoint,
                realm = realm.map(display),
                reason = reason.as_str(),
                detail,
                status,
                duration_ms = duration_ms(),
                "request refused"
            );
            sinks.count_by_reason(Metric::RequestsRefused, *reason);
        }
        AuditEvent::AccessAllowed { .. } | AuditEvent::AccessDenied { .. } | AuditEvent::AccessUndecided { .. } => {
            tell_access(event, sinks);
        }
    }
}

/// The line of a request that an endpoint refused: where it went, in which realm, and in whose name.
fn tell_refusal(
    (endpoint, realm, client_id): (&str, &RealmName, Option<DisplayValue<&ClientId>>),
    unverified_scope: Option<&str>,
    error: &OAuthError,
    sinks: Sinks<'_>,
) {
    let (reason, status) = (error.reason().as_str(), error.status());
    match error {
        OAuthError::Server(_) => line!(
            sinks, ERROR, endpoint, %realm, client_id, reason, detail = %error, status, duration_ms = duration_ms(),
            "request failed"
        ),
        OAuthError::Unavailable(_) => line!(
            sinks, WARN, endpoint, %realm, client_id, reason, detail = %error, status, duration_ms = duration_ms(),
            "request failed"
        ),
        OAuthError::TooManyAttempts { .. } => line!(
            sinks, WARN, endpoint, %realm, client_id, reason, status, duration_ms = duration_ms(),
            "request refused"
        ),
        OAuthError::QuotaExceeded(quota) => line!(
            sinks, INFO, endpoint, %realm, client_id, quota = %quota.limit, reason, status,
            duration_ms = duration_ms(), "request refused"
        ),
        _ => line!(
            sinks, INFO, endpoint, %realm, client_id, reason, detail = detail(error).map(display),
            requested_scope = unverified_scope.map(|scope| display(Untrusted(scope))), status,
            duration_ms = duration_ms(), "request refused"
        ),
    }
}

/// What comes of a decision about a protected resource.
fn tell_access(event: &AuditEvent<'_>, sinks: Sinks<'_>) {
    match event {
        AuditEvent::AccessAllowed { route, token } => {
            let (client_id, audit_tracking_id) = facts(Some(token));
            line!(
                sinks,
                INFO,
                client_id,
                route,
                audit_tracking_id,
                status = 200,
                duration_ms = duration_ms(),
                "access allowed"
            );
            sinks.count(Metric::AccessAllowed);
        }
        AuditEvent::AccessDenied { route, route_is_named, token, reason, inactive, status } => {
            let (client_id, audit_tracking_id) = facts(*token);
            let (text, detail) = (reason.as_str(), inactive.map(Reason::as_str));
            if *route_is_named {
                line!(
                    sinks,
                    INFO,
                    client_id,
                    route,
                    reason = text,
                    detail,
                    audit_tracking_id,
                    status,
                    duration_ms = duration_ms(),
                    "access denied"
                );
            } else {
                line!(
                    sinks,
                    WARN,
                    client_id,
                    route,
                    reason = text,
                    detail,
                    audit_tracking_id,
                    status,
                    duration_ms = duration_ms(),
                    "access denied to a route that GRANTWELL_AUTHORIZER_SCOPES does not name"
                );
            }
            sinks.count_by_reason(Metric::AccessDenied, *reason);
        }
        AuditEvent::AccessUndecided { route, error } => {
            // What API Gateway makes of any error of an authorizer's.
            let (reason, status) = (error.reason().as_str(), 500);
            if matches!(error, OAuthError::Unavailable(_)) {
                line!(
                    sinks, WARN, route, reason, detail = %error, status, duration_ms = duration_ms(), "request failed"
                );
            } else {
                line!(
                    sinks, ERROR, route, reason, detail = %error, status, duration_ms = duration_ms(), "request failed"
                );
            }
            sinks.count_by_reason(Metric::RequestsRefused, error.reason());
        }
        _ => {}
    }
}

/// Which of the things that a reason stands for it was, in the words that the caller is told or, of rules, without the values of the
/// claims. Nothing of the request is in it.
fn detail(error: &OAuthError) -> Option<&dyn fmt::Display> {
    match error {
        OAuthError::InvalidRequest(detail) | OAuthError::InvalidScope(detail) | OAuthError::InvalidTarget(detail) => {
            Some(detail)
        }
        OAuthError::InvalidClient(ClientAuthFailure::NoTrustRule(not_admitted))
        | OAuthError::InvalidGrant(ClientAuthFailure::NoTrustRule(not_admitted)) => Some(&not_admitted.shortfalls),
        _ => None,
    }
}

/// Whom an issuer has named, as `name=fact` and so on. What the issuer says is shown like anybody's words, in quotes where it could be
/// taken for several facts: whoever names a branch or an environment chooses some of it.
struct Subject<'a>(&'a [(&'static str, String)]);

impl fmt::Display for Subject<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, fact)) in self.0.iter().enumerate() {
            let between = if index == 0 { "" } else { " " };
            let fact = Untrusted(fact).to_string();
            if fact.contains([' ', '=', '"', '\\']) {
                write!(formatter, "{between}{name}={}", serde_json::Value::String(fact))?;
            } else {
                write!(formatter, "{between}{name}={fact}")?;
            }
        }
        Ok(())
    }
}

/// The client and the audit id of a token, for the log.
fn facts(token: Option<&TokenFacts>) -> (Option<&str>, Option<&str>) {
    (token.map(|token| token.client_id.as_str()), token.and_then(|token| token.audit_tracking_id.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_that_looks_like_several_is_one_in_quotes() {
        let facts = [
            ("repository_id", "5".to_owned()),
            ("environment", "prod sub=repo:octo/secret repository_id=1".to_owned()),
            ("ref", r#"a"b"#.to_owned()),
            ("sub", "repo:octo/app:environment:prod".to_owned()),
        ];
        let expected = r#"repository_id=5 environment="prod sub=repo:octo/secret repository_id=1" ref="a\"b" sub=repo:octo/app:environment:prod"#;
        assert_eq!(Subject(&facts).to_string(), expected);
        assert_eq!(Subject(&[]).to_string(), "");
    }
}
