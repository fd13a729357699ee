//! Token introspection (RFC 7662): an answer starts inactive and is upgraded only after every check.

use std::sync::Arc;

use serde::Serialize;

use super::access_token::opaque;
use super::access_token::record::AccessTokenRecord;
use super::audit::{self, AuditEvent};
use super::client::{Client, ClientId};
use super::client_auth::{ClientAuthenticator, ClientRequest, Credentials};
use super::error::OAuthError;
use super::params::is_vschar;
use super::ports::{AuditSink, ClientRegistry, Clock, TokenStore, UnixSeconds};
use super::realm::{Issuer, Realm, Realms};
use super::scope::{INTROSPECT_ALL_TOKENS, INTROSPECT_ALL_TOKENS_ANY_REALM, Scope};

/// Parameters of the endpoint, besides those of client authentication, that must not be repeated.
pub const PARAMETERS: [&str; 2] = ["token", "token_type_hint"];

/// The introspection endpoint of every realm.
pub struct IntrospectionEndpoint {
    /// Finds the realm.
    pub realms: Realms,
    /// Authenticates the caller.
    pub clients: ClientAuthenticator,
    /// Says what became of the client that a token was issued to.
    pub registry: Arc<dyn ClientRegistry>,
    /// Knows the tokens.
    pub tokens: Arc<dyn TokenStore>,
    /// Tells whether a token has expired.
    pub clock: Arc<dyn Clock>,
    /// Records the decision.
    pub audit: Arc<dyn AuditSink>,
}

/// An introspection answer (RFC 7662 §2.2).
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Introspection {
    /// Exactly `{"active":false}`: whatever the reason, the caller learns nothing else.
    Inactive {
        /// Always false.
        active: bool,
    },
    /// The facts of an active token. Boxed: most of the enum's life is the other variant.
    Active(Box<ActiveToken>),
}

/// The facts of an active token, under the names of RFC 7662 §2.2 and, for the last three, of ForgeRock's AM.
#[derive(Debug, Serialize)]
pub struct ActiveToken {
    active: bool,
    scope: Scope,
    client_id: ClientId,
    token_type: &'static str,
    exp: UnixSeconds,
    iat: UnixSeconds,
    sub: ClientId,
    iss: Issuer,
    jti: String,
    realm: String,
    expires_in: u64,
    #[serde(rename = "auditTrackingId")]
    audit_tracking_id: String,
}

impl IntrospectionEndpoint {
    /// Tells the caller about a token.
    ///
    /// # Errors
    /// Any of [`OAuthError`]. A store that cannot be asked is an error, never an inactive token: that would lock every
    /// client out of every resource server.
    pub async fn introspect(&self, request: &ClientRequest<'_>) -> Result<Introspection, OAuthError> {
        let mut known = None;
        let result = self.introspect_for(request, &mut known).await;
        audit::refusal(self.audit.as_ref(), "introspection", request.realm, known.as_deref(), &result);
        result
    }

    async fn introspect_for(
        &self,
        request: &ClientRequest<'_>,
        known: &mut Option<Arc<Client>>,
    ) -> Result<Introspection, OAuthError> {
        // 1. The realm, and the request's own form (§2.1).
        let realm = self.realms.find(request.realm).await?;
        let token = request.params.single("token")?;
        // A hint only helps a server to search (§2.1); this one needs no help.
        request.params.single("token_type_hint")?;
        let credentials = Credentials::from_request(request)?;

        // 2. The caller (§2.1), before any look-up of a token.
        let caller = self.clients.authenticate(&realm, &credentials, known).await?;

        // 3. The token, and what the caller is told of it.
        let introspection = self.token_as_seen_by(&caller, &realm, require_token(token)?).await?;
        self.audit.record(&AuditEvent::TokenIntrospected {
            realm: &realm.name,
            caller: &caller.client_id,
            active: introspection.is_active(),
            audit_tracking_id: introspection.audit_tracking_id(),
        });
        Ok(introspection)
    }

    async fn token_as_seen_by(
        &self,
        caller: &Client,
        realm: &Arc<Realm>,
        unverified_token: &str,
    ) -> Result<Introspection, OAuthError> {
        // 1. Whether there is such a token, and its time is not over.
        let now = self.clock.now();
        let Some(record) = self.unexpired_record(unverified_token, now).await? else {
            return Ok(Introspection::inactive());
        };

        // 2. Whether this caller may know about it (§2.2, §4).
        if !may_introspect(caller, realm, &record) {
            return Ok(Introspection::inactive());
        }

        // 3. Whether the client and the realm it was issued to still stand behind it.
        if !self.is_honoured(&record, realm).await? {
            return Ok(Introspection::inactive());
        }

        // 4. Only now: active.
        Ok(Introspection::active(record, now))
    }

    async fn unexpired_record(&self, token: &str, now: UnixSeconds) -> Result<Option<AccessTokenRecord>, OAuthError> {
        let Some(digest) = opaque::digest_of_presented(token) else { return Ok(None) };
        Ok(self.tokens.get(&digest).await?.filter(|record| !record.has_expired(now)))
    }

    async fn is_honoured(&self, record: &AccessTokenRecord, endpoint_realm: &Arc<Realm>) -> Result<bool, OAuthError> {
        let realm = if record.realm == endpoint_realm.name {
            Arc::clone(endpoint_realm)
        } else {
            match self.realms.find(&record.realm).await {
                Ok(realm) => realm,
                Err(OAuthError::UnknownRealm) => return Ok(false),
                Err(error) => return Err(error),
            }
        };
        let client = self.registry.client(&record.realm, &record.client_id).await?;
        Ok(client.is_some_and(|client| record.is_honoured_by(&client, &realm)))
    }
}

impl Introspection {
    fn inactive() -> Self {
        Self::Inactive { active: false }
    }

    fn active(record: AccessTokenRecord, now: UnixSeconds) -> Self {
        Self::Active(Box::new(ActiveToken {
            active: true,
            scope: record.scope,
            sub: record.client_id.clone(),
            client_id: record.client_id,
            token_type: "Bearer",
            exp: record.expires_at,
            iat: record.iat,
            iss: record.iss,
            jti: record.jti,
            realm: record.realm.path(),
            expires_in: record.expires_at.since(now),
            audit_tracking_id: record.audit_tracking_id,
        }))
    }

    /// Whether the caller is told that the token is active.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Active(_))
    }

    fn audit_tracking_id(&self) -> Option<&str> {
        match self {
            Self::Active(token) => Some(&token.audit_tracking_id),
            Self::Inactive { .. } => None,
        }
    }
}

/// The `token` parameter of introspection and revocation: present, and 1*VSCHAR (RFC 6749 Appendix A.12).
///
/// # Errors
/// [`OAuthError::InvalidRequest`].
pub(super) fn require_token(token: Option<&str>) -> Result<&str, OAuthError> {
    let token = token.ok_or(OAuthError::InvalidRequest("token is missing"))?;
    if is_vschar(token) { Ok(token) } else { Err(OAuthError::InvalidRequest("token has characters that no token has")) }
}

/// A client may look at its own tokens; a resource server at all of its realm, or of every realm, where its registration
/// has the scope for that and its realm (still) allows it.
fn may_introspect(caller: &Client, realm: &Realm, record: &AccessTokenRecord) -> bool {
    let scope = caller.grantable_scope(realm);
    if scope.contains(INTROSPECT_ALL_TOKENS_ANY_REALM) {
        return true;
    }
    caller.realm == record.realm && (caller.client_id == record.client_id || scope.contains(INTROSPECT_ALL_TOKENS))
}
