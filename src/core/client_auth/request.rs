//! What a client sends to an endpoint where it has to authenticate.

use crate::core::audit::{AuditEvent, AuditSink};
use crate::core::error::{OAuthError, Refused};
use crate::core::params::Params;
use crate::core::realm::{Issuer, RealmName};
use crate::core::source::ClientSource;
use crate::core::trust::caller::CallerByAws;

/// A request of a client as HTTP delivered it.
#[derive(Clone, Copy)]
pub struct ClientRequest<'a> {
    /// The realm in the path.
    pub realm: &'a RealmName,
    /// By which the caller addressed that realm.
    pub issuer: &'a Issuer,
    /// The values of every Authorization header.
    pub authorization: &'a [&'a [u8]],
    /// The body's parameters.
    pub params: &'a Params,
    /// Where it came from, as whoever took the connection says; `None` where nobody can say.
    pub source: Option<ClientSource>,
    /// Whom AWS says it comes from; `None` wherever AWS does not verify who calls.
    pub aws_caller: Option<&'a CallerByAws>,
}

impl<'a> ClientRequest<'a> {
    /// A request that says nothing of who sends it.
    pub fn new(realm: &'a RealmName, issuer: &'a Issuer, params: &'a Params) -> Self {
        Self { realm, issuer, authorization: &[], params, source: None, aws_caller: None }
    }

    /// Records why `endpoint` refused the request, if it did, and in whose name it came.
    pub(in crate::core) fn record_refusal<T>(
        &self,
        sink: &dyn AuditSink,
        endpoint: &'static str,
        result: Result<T, Refused>,
    ) -> Result<T, OAuthError> {
        result.map_err(|Refused { named, error }| {
            let (realm, source, client_id) = (self.realm, self.source, named.as_ref().map(|client| &client.client_id));
            let refuses_scope = matches!(error, OAuthError::InvalidScope(_));
            let unverified_scope = self.params.single("scope").ok().flatten().filter(|_| refuses_scope);
            sink.record(&AuditEvent::Refused { endpoint, realm, client_id, source, unverified_scope, error: &error });
            error
        })
    }
}
