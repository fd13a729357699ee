//! Audit events: one per decision, with what an auditor asks for and never a credential.
//!
//! A client id appears only once the registry has named it: what an unknown caller sends as an id may be a secret in the
//! wrong field.

use super::access_token::facts::TokenFacts;
use super::access_token::settings::AccessTokenFormat;
use super::client::id::ClientId;
use super::error::OAuthError;
use super::quota::TokenLimit;
use super::realm::RealmName;
use super::reason::Reason;
use super::scope::Scope;
use super::source::ClientSource;
use super::trust::admission::Admission;

/// Takes one event per decision. Never fails: a decision is not undone because its log line was lost.
pub trait AuditSink: Send + Sync {
    /// Records one decision.
    fn record(&self, event: &AuditEvent<'_>);
}

/// One decision of an endpoint.
#[derive(Debug)]
pub enum AuditEvent<'a> {
    /// A token was issued.
    TokenIssued {
        /// The issuing realm.
        realm: &'a RealmName,
        /// The client that got it.
        client_id: &'a ClientId,
        /// What was granted.
        scope: &'a Scope,
        /// Seconds until it expires.
        expires_in: u64,
        /// What the client carries.
        format: AccessTokenFormat,
        /// By what others have said of the caller, where that was its proof.
        admission: Option<&'a Admission>,
        /// Ties the log lines of this token together.
        audit_tracking_id: &'a str,
    },
    /// The token just issued was beyond a quota that is only observed.
    QuotaExceededObserved {
        /// The issuing realm.
        realm: &'a RealmName,
        /// The client that got it.
        client_id: &'a ClientId,
        /// What would have been the most.
        limit: TokenLimit,
        /// How many it has been issued in this window, with this one.
        counted: u64,
        /// Of the token.
        audit_tracking_id: &'a str,
    },
    /// A token was looked at.
    TokenIntrospected {
        /// The realm of the endpoint.
        realm: &'a RealmName,
        /// The client that asked.
        caller: &'a ClientId,
        /// Why it was told that the token is not active; `None` where it is. The caller is never told why.
        inactive: Option<Reason>,
        /// Of the token, where there is one.
        audit_tracking_id: Option<&'a str>,
    },
    /// A revocation was carried out or had nothing to do.
    TokenRevoked {
        /// The realm of the endpoint.
        realm: &'a RealmName,
        /// The client that asked.
        caller: &'a ClientId,
        /// Of the token that ended by it; `None` where there was none to end.
        audit_tracking_id: Option<&'a str>,
    },
    /// A request was refused.
    Refused {
        /// The endpoint, such as `token`.
        endpoint: &'static str,
        /// The realm that was addressed.
        realm: &'a RealmName,
        /// The client that was named, where the registry knows it; it need not have been the one that asked.
        client_id: Option<&'a ClientId>,
        /// Where the request came from, where somebody can say.
        source: Option<ClientSource>,
        /// The scope that was asked for, as it was sent, where it was refused.
        unverified_scope: Option<&'a str>,
        /// Why.
        error: &'a OAuthError,
    },
    /// What was sent never became a request of the protocol.
    Malformed {
        /// The endpoint, such as `token`.
        endpoint: &'static str,
        /// As in [`AuditEvent::Refused`].
        source: Option<ClientSource>,
        /// The realm that its path names, if it names one. Whether there is such a realm nobody has looked.
        realm: Option<&'a RealmName>,
        /// Why.
        reason: Reason,
        /// What the caller is told, without anything that was sent.
        detail: &'static str,
        /// The status of the answer.
        status: u16,
    },
    /// A protected resource let a request pass.
    AccessAllowed {
        /// As the gateway or the configuration names it: a path may hold a credential.
        route: Option<&'a str>,
        /// What the token says.
        token: &'a TokenFacts,
    },
    /// A protected resource turned a request away.
    AccessDenied {
        /// As in [`AuditEvent::AccessAllowed`].
        route: Option<&'a str>,
        /// Whether the configuration names the route; an operator has to know of one that it does not.
        route_is_named: bool,
        /// What the token says, where it is active and did not suffice.
        token: Option<&'a TokenFacts>,
        /// Why.
        reason: Reason,
        /// Why the token is not active, where that is the reason.
        inactive: Option<Reason>,
        /// What the gateway answers.
        status: u16,
    },
    /// Nobody could say whether a request may pass. It did not.
    AccessUndecided {
        /// As in [`AuditEvent::AccessAllowed`].
        route: Option<&'a str>,
        /// Why.
        error: &'a OAuthError,
    },
}

/// Records why a public document was refused, if it was.
pub(super) fn refusal_of_document<T>(
    sink: &dyn AuditSink,
    endpoint: &'static str,
    realm: &RealmName,
    result: &Result<T, OAuthError>,
) {
    if let Err(error) = result {
        sink.record(&AuditEvent::Refused {
            endpoint,
            realm,
            client_id: None,
            source: None,
            unverified_scope: None,
            error,
        });
    }
}
