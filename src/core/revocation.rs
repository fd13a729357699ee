//! Token revocation (RFC 7009).

use std::sync::Arc;

use super::access_token::record::{PresentedToken, Revocation};
use super::access_token::validation;
use super::audit::{AuditEvent, AuditSink};
use super::client::Client;
use super::client_auth::{AuthenticatedClient, ClientAuthenticator, ClientRequest, Credentials};
use super::endpoint::{Endpoint, Method};
use super::error::{OAuthError, Refused};
use super::introspection::require_token;
use super::ports::{Clock, Denylist, TokenStore, VerificationKeySource};
use super::realm::Realm;
use super::realms::Realms;
use super::time::UnixSeconds;

/// The revocation endpoint of every realm.
pub struct RevocationEndpoint {
    /// Finds the realm.
    pub realms: Realms,
    /// Authenticates the client.
    pub clients: ClientAuthenticator,
    /// Knows the tokens that are stored.
    pub tokens: Arc<dyn TokenStore>,
    /// Remembers the end of those that are not.
    pub denylist: Arc<dyn Denylist>,
    /// Knows what the realms sign with.
    pub keys: Arc<dyn VerificationKeySource>,
    /// Tells whether a token has expired.
    pub clock: Arc<dyn Clock>,
    /// Records the decision.
    pub audit: Arc<dyn AuditSink>,
}

impl RevocationEndpoint {
    /// What it says of itself.
    pub const ENDPOINT: Endpoint = Endpoint {
        name: "revocation",
        path: "token/revoke",
        method: Method::Post,
        parameters: &["token", "token_type_hint"],
    };

    /// Ends a token of the calling client. A token that does not exist is a success (RFC 7009 §2.2).
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] for another client's token, which stays valid; otherwise any of [`OAuthError`].
    pub async fn revoke(&self, request: &ClientRequest<'_>) -> Result<(), OAuthError> {
        let result = self.authenticate_and_revoke(request).await;
        request.record_refusal(self.audit.as_ref(), Self::ENDPOINT.name, result)
    }

    async fn authenticate_and_revoke(&self, request: &ClientRequest<'_>) -> Result<(), Refused> {
        // 1. The realm, and the request's own form (§2.1). Where the credentials are in order, the realm is read with the client.
        let credentials = Credentials::from_request(request);
        let named = Credentials::named_in(&credentials);
        let realm = self.realms.find_with(request.realm, named.as_ref()).await?;
        let token = request.params.single("token")?;
        // A hint only helps a server to search (§2.1); this one needs no help.
        request.params.single("token_type_hint")?;
        let credentials = credentials?;

        // 2. The client (§2.1).
        let AuthenticatedClient { client, .. } = self.clients.authenticate(&realm, &credentials).await?;
        self.revoke_for(&client, &realm, token).await.map_err(|error| Refused::of(&client, error))
    }

    async fn revoke_for(&self, client: &Client, realm: &Realm, token: Option<&str>) -> Result<(), OAuthError> {
        // 3. The token, ended in one step with the check that it is the client's.
        let revocation = self.end(require_token(token)?, realm, client, self.clock.now()).await?;
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

    async fn end(
        &self,
        unverified_token: &str,
        realm: &Realm,
        client: &Client,
        now: UnixSeconds,
    ) -> Result<Revocation, OAuthError> {
        Ok(match validation::presented(self.keys.as_ref(), unverified_token, &realm.name, now).await? {
            Err(_inactive) => Revocation::NotFound,
            Ok(PresentedToken::Stored(digest)) => {
                self.tokens.revoke(&digest, &realm.name, &client.client_id, now).await?
            }
            // There is no record to mark: its end is what is stored, for as long as it would have lived.
            Ok(PresentedToken::Stateless(record)) => {
                let revocation = Revocation::of_live(&record, &realm.name, &client.client_id, now);
                if matches!(revocation, Revocation::Revoked { .. }) {
                    self.denylist.deny(&record.jti, record.expires_at.plus(CLOCK_SKEW)).await?;
                }
                revocation
            }
        })
    }
}

/// Seconds for which the end of a token is remembered beyond its time: a clock that is set back must not revive it.
const CLOCK_SKEW: u64 = 300;
