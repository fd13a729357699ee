//! Token revocation (RFC 7009).

use std::sync::Arc;

use super::access_token::opaque::TokenDigest;
use super::audit::AuditEvent;
use super::client::Client;
use super::client_auth::{ClientAuthenticator, Credentials};
use super::error::OAuthError;
use super::introspection::require_token;
use super::params::Params;
use super::ports::{AuditSink, Clock, Revocation, TokenStore};
use super::realm::{RealmName, Realms};

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

/// A revocation request as HTTP delivered it.
pub struct RevocationRequest<'a> {
    /// The realm in the path.
    pub realm: &'a RealmName,
    /// The values of every Authorization header.
    pub authorization: &'a [&'a [u8]],
    /// The body's parameters.
    pub params: &'a Params,
}

impl RevocationEndpoint {
    /// Ends a token of the calling client. A token that does not exist is a success (RFC 7009 §2.2).
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] for another client's token, which stays valid; otherwise any of [`OAuthError`].
    pub async fn revoke(&self, request: RevocationRequest<'_>) -> Result<(), OAuthError> {
        let mut authenticated = None;
        let result = self.revoke_for(&request, &mut authenticated).await;
        let caller = authenticated.as_ref().map(|client| &client.client_id);
        match (&result, caller) {
            (Ok(revoked), Some(caller)) => {
                self.audit.record(&AuditEvent::TokenRevoked { realm: request.realm, caller, revoked: *revoked });
            }
            (Err(error), client_id) => {
                self.audit.record(&AuditEvent::Refused {
                    endpoint: "revocation",
                    realm: request.realm,
                    client_id,
                    error,
                });
            }
            (Ok(_), None) => {}
        }
        result.map(|_revoked| ())
    }

    async fn revoke_for(
        &self,
        request: &RevocationRequest<'_>,
        authenticated: &mut Option<Arc<Client>>,
    ) -> Result<bool, OAuthError> {
        // 1. The realm, and the request's own form (§2.1).
        let realm = self.realms.find(request.realm).await?;
        let token = request.params.single("token")?;
        // A hint only helps a server to search (§2.1); this one needs no help.
        request.params.single("token_type_hint")?;
        let credentials = Credentials::from_request(request.authorization, request.params)?;

        // 2. The client (§2.1).
        let client = self.clients.authenticate(&realm, &credentials).await?;
        let client: &Client = authenticated.insert(client);

        // 3. The token, ended in one step with the check that it is the client's.
        let Some(digest) = TokenDigest::of_presented(require_token(token)?) else { return Ok(false) };
        match self.tokens.revoke(&digest, &realm.name, &client.client_id, self.clock.now()).await? {
            Revocation::Revoked => Ok(true),
            Revocation::NotFound => Ok(false),
            Revocation::NotOwner => Err(OAuthError::InvalidRequest("the token was not issued to this client")),
        }
    }
}
