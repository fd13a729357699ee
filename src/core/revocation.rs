//! Token revocation (RFC 7009).

use std::sync::Arc;

use super::access_token::opaque;
use super::audit::{self, AuditEvent};
use super::client::Client;
use super::client_auth::{ClientAuthenticator, ClientRequest, Credentials};
use super::error::OAuthError;
use super::introspection::require_token;
use super::ports::{AuditSink, Clock, Revocation, TokenStore};
use super::realm::Realms;

pub use super::introspection::PARAMETERS;

/// The revocation endpoint of every realm.
pub struct RevocationEndpoint {
    /// Finds the realm.
    pub realms: Realms,
    /// Authenticates the client.
    pub clients: ClientAuthenticator,
    /// Knows the tokens.
    pub tokens: Arc<dyn TokenStore>,
    /// Tells whether a token has expired.
    pub clock: Arc<dyn Clock>,
    /// Records the decision.
    pub audit: Arc<dyn AuditSink>,
}

impl RevocationEndpoint {
    /// Ends a token of the calling client. A token that does not exist is a success (RFC 7009 §2.2).
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] for another client's token, which stays valid; otherwise any of [`OAuthError`].
    pub async fn revoke(&self, request: &ClientRequest<'_>) -> Result<(), OAuthError> {
        let mut known = None;
        let result = self.revoke_for(request, &mut known).await;
        audit::refusal(self.audit.as_ref(), "revocation", request.realm, known.as_deref(), &result);
        result
    }

    async fn revoke_for(&self, request: &ClientRequest<'_>, known: &mut Option<Arc<Client>>) -> Result<(), OAuthError> {
        // 1. The realm, and the request's own form (§2.1).
        let realm = self.realms.find(request.realm).await?;
        let token = request.params.single("token")?;
        // A hint only helps a server to search (§2.1); this one needs no help.
        request.params.single("token_type_hint")?;
        let credentials = Credentials::from_request(request)?;

        // 2. The client (§2.1).
        let client = self.clients.authenticate(&realm, &credentials, known).await?;

        // 3. The token, ended in one step with the check that it is the client's.
        let revocation = match opaque::digest_of_presented(require_token(token)?) {
            Some(digest) => self.tokens.revoke(&digest, &realm.name, &client.client_id, self.clock.now()).await?,
            None => Revocation::NotFound,
        };
        let audit_tracking_id = match &revocation {
            Revocation::Revoked { audit_tracking_id } => Some(audit_tracking_id.as_str()),
            Revocation::NotFound => None,
            Revocation::NotOwner => return Err(OAuthError::InvalidRequest("the token was not issued to this client")),
        };

        // 4. The answer (§2.2): 200 whether or not there was anything to end.
        self.audit.record(&AuditEvent::TokenRevoked {
            realm: &realm.name,
            caller: &client.client_id,
            audit_tracking_id,
        });
        Ok(())
    }
}
