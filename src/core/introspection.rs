//! Token introspection (RFC 7662): an answer starts inactive and is upgraded only after every check. Signed, where the caller
//! asks for that (RFC 9701).

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::access_token::claims::CustomClaims;
use super::access_token::inactive::Inactive;
use super::access_token::jwt::{AudienceClaim, UnverifiedJwt};
use super::access_token::record::AccessTokenRecord;
use super::access_token::validation::AccessTokenValidator;
use super::audit::{AuditEvent, AuditSink};
use super::client::Client;
use super::client::id::ClientId;
use super::client_auth::{AuthenticatedClient, ClientAuthenticator, ClientRequest, Credentials};
use super::encoding::is_vschar;
use super::endpoint::{Endpoint, Method};
use super::error::{OAuthError, Refused};
use super::jose;
use super::ports::{Clock, SigningKeySource};
use super::realm::{Issuer, Realm, RealmName};
use super::reason::Reason;
use super::resource::Audience;
use super::scope::{INTROSPECT_ALL_TOKENS, INTROSPECT_ALL_TOKENS_ANY_REALM, Scope};
use super::time::UnixSeconds;
use super::trust::rule::RuleName;

/// The media type by which a caller asks for a signed answer (RFC 9701 §4), without `application/`.
pub const SIGNED_TYP: &str = "token-introspection+jwt";
/// The same in full.
pub const SIGNED_MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// The introspection endpoint of every realm.
pub struct IntrospectionEndpoint {
    /// Authenticates the caller.
    pub clients: ClientAuthenticator,
    /// Knows the tokens, and the realms.
    pub tokens: AccessTokenValidator,
    /// Signs answers.
    pub keys: Arc<dyn SigningKeySource>,
    /// Tells whether a token has expired.
    pub clock: Arc<dyn Clock>,
    /// Records the decision.
    pub audit: Arc<dyn AuditSink>,
}

/// An answer and who it is for.
struct Answer {
    introspection: Introspection,
    /// Why the token is not active, for the log only.
    inactive: Option<Inactive>,
    caller: Arc<Client>,
    realm: Arc<Realm>,
}

/// The claims of a signed answer (RFC 9701 §5). Neither `sub` nor `exp`: with them it could be taken for an access token.
#[derive(Serialize)]
struct SignedAnswer<'a> {
    iss: &'a Issuer,
    aud: &'a ClientId,
    iat: UnixSeconds,
    token_introspection: &'a Introspection,
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
    aud: AudienceMember,
    iss: Issuer,
    jti: String,
    realm: String,
    expires_in: u64,
    #[serde(rename = "auditTrackingId")]
    audit_tracking_id: String,
    /// The rule by which the caller was the client, where others have vouched for the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    trust_rule: Option<RuleName>,
    /// What the client's registration adds; none of it has a name of the members above.
    #[serde(flatten)]
    claims: CustomClaimMembers,
}

/// `aud` as a token in JWT form has it.
#[derive(Debug)]
struct AudienceMember {
    audience: Audience,
    issuer: Issuer,
}

/// The claims as members instead of text.
#[derive(Debug)]
struct CustomClaimMembers(CustomClaims);

impl Serialize for AudienceMember {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        AudienceClaim::of(&self.audience, &self.issuer).serialize(serializer)
    }
}

impl Serialize for CustomClaimMembers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_object().serialize(serializer)
    }
}

impl IntrospectionEndpoint {
    /// What it says of itself.
    pub const ENDPOINT: Endpoint = Endpoint {
        name: "introspection",
        path: "introspect",
        method: Method::Post,
        parameters: &["token", "token_type_hint"],
    };

    /// Tells the caller about a token.
    ///
    /// # Errors
    /// Any of [`OAuthError`]. A store that cannot be asked is an error, never an inactive token: that would lock every
    /// client out of every resource server.
    pub async fn introspect(&self, request: &ClientRequest<'_>) -> Result<Introspection, OAuthError> {
        let answer = self.authenticate_and_introspect(request).await;
        let result = answer.inspect(|answer| self.record(answer)).map(|answer| answer.introspection);
        request.record_refusal(self.audit.as_ref(), Self::ENDPOINT.name, result)
    }

    /// Tells the caller about a token, in a JWT that the issuer signs for this caller (RFC 9701 §5).
    ///
    /// # Errors
    /// As [`IntrospectionEndpoint::introspect`].
    pub async fn introspect_signed(&self, request: &ClientRequest<'_>) -> Result<String, OAuthError> {
        let result = match self.authenticate_and_introspect(request).await {
            // Told only once it is signed: a request has one event.
            Ok(answer) => {
                let signed = self.signed(&answer, request.issuer).await.inspect(|_| self.record(&answer));
                signed.map_err(|error| Refused::of(&answer.caller, error))
            }
            Err(refused) => Err(refused),
        };
        request.record_refusal(self.audit.as_ref(), Self::ENDPOINT.name, result)
    }

    async fn authenticate_and_introspect(&self, request: &ClientRequest<'_>) -> Result<Answer, Refused> {
        // 1. The realm, and the request's own form (§2.1). Where the credentials are in order, the realm is read with the client.
        let credentials = Credentials::from_request(request);
        let named = Credentials::named_in(&credentials);
        let realm = self.tokens.realms.find_with(request.realm, named.as_ref()).await?;
        let token = request.params.single("token")?;
        // A hint only helps a server to search (§2.1); this one needs no help.
        request.params.single("token_type_hint")?;
        let credentials = credentials?;

        // 2. The caller (§2.1), before any look-up of a token.
        let AuthenticatedClient { client: caller, .. } = self.clients.authenticate(&realm, &credentials).await?;

        // 3. The token, and what the caller is told of it.
        let seen = self.token_as_seen_by(&caller, &realm, token).await;
        let (introspection, inactive) = match seen.map_err(|error| Refused::of(&caller, error))? {
            Ok(token) => (Introspection::Active(token), None),
            Err(inactive) => (Introspection::Inactive { active: false }, Some(inactive)),
        };
        Ok(Answer { introspection, inactive, caller, realm })
    }

    async fn token_as_seen_by(
        &self,
        caller: &Client,
        realm: &Arc<Realm>,
        unverified_token: Option<&str>,
    ) -> Result<Result<Box<ActiveToken>, Inactive>, OAuthError> {
        let unverified_token = require_token(unverified_token)?;

        // 1. Whether there is such a token, and its time is not over.
        let now = self.clock.now();
        let signed_in = realm_to_search(caller, realm, unverified_token);
        let record = match self.tokens.find(unverified_token, &signed_in, now).await? {
            Ok(record) => record,
            Err(inactive) => return Ok(Err(inactive)),
        };

        // 2. Whether this caller may know about it (§2.2, §4).
        if let Some(reason) = why_not_introspected_by(caller, realm, &record) {
            return Ok(Err(record.inactive(reason)));
        }

        // 3. As far as the client and the realm it was issued to still stand behind it.
        let record = match self.tokens.honoured(record, realm).await? {
            Ok(record) => record,
            Err(inactive) => return Ok(Err(inactive)),
        };

        // 4. Only now: active.
        Ok(Ok(Box::new(ActiveToken::of(record, now))))
    }

    /// RFC 9701 §5. Signed as the caller's own tokens would be, else as the realm's.
    async fn signed(&self, answer: &Answer, issuer: &Issuer) -> Result<String, OAuthError> {
        let alg = answer.caller.access_token_settings(&answer.realm).signing_alg;
        let (signers, now) = (self.keys.signers(&answer.realm.name, alg).await?, self.clock.now());
        let claims = SignedAnswer {
            iss: issuer,
            aud: &answer.caller.client_id,
            iat: now,
            token_introspection: &answer.introspection,
        };
        Ok(jose::sign(signers.choose(alg, now)?, SIGNED_TYP, &claims)?)
    }

    fn record(&self, answer: &Answer) {
        let audit_tracking_id = match (&answer.introspection, &answer.inactive) {
            (Introspection::Active(token), _) => Some(token.audit_tracking_id.as_str()),
            (Introspection::Inactive { .. }, Some(inactive)) => inactive.audit_tracking_id.as_deref(),
            (Introspection::Inactive { .. }, None) => None,
        };
        self.audit.record(&AuditEvent::TokenIntrospected {
            realm: &answer.realm.name,
            caller: &answer.caller.client_id,
            inactive: answer.inactive.as_ref().map(|inactive| inactive.reason),
            audit_tracking_id,
        });
    }
}

impl ActiveToken {
    fn of(record: AccessTokenRecord, now: UnixSeconds) -> Self {
        Self {
            active: true,
            scope: record.scope,
            sub: record.client_id.clone(),
            client_id: record.client_id,
            token_type: "Bearer",
            exp: record.expires_at,
            iat: record.iat,
            aud: AudienceMember { audience: record.aud, issuer: record.iss.clone() },
            iss: record.iss,
            jti: record.jti,
            realm: record.realm.path(),
            expires_in: record.expires_at.since(now),
            audit_tracking_id: record.audit_tracking_id,
            trust_rule: record.trust_rule,
            claims: CustomClaimMembers(record.claims),
        }
    }
}

impl Introspection {
    /// Whether the caller is told that the token is active.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Active(_))
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

/// The realm whose keys a JWT must be signed with: the endpoint's, except for a resource server of every realm, to which the
/// token may say itself which it is of.
fn realm_to_search(caller: &Client, realm: &Realm, unverified_token: &str) -> RealmName {
    let named = if caller.grantable_scope(realm).contains(INTROSPECT_ALL_TOKENS_ANY_REALM) {
        UnverifiedJwt::parse(unverified_token).and_then(|jwt| jwt.unverified_realm())
    } else {
        None
    };
    named.unwrap_or_else(|| realm.name.clone())
}

/// A client may look at its own tokens; a resource server at all of its realm, or of every realm, where its registration
/// has the scope for that and its realm (still) allows it.
fn why_not_introspected_by(caller: &Client, realm: &Realm, record: &AccessTokenRecord) -> Option<Reason> {
    let scope = caller.grantable_scope(realm);
    if scope.contains(INTROSPECT_ALL_TOKENS_ANY_REALM) {
        None
    } else if caller.realm != record.realm {
        Some(Reason::OtherRealm)
    } else if caller.client_id == record.client_id || scope.contains(INTROSPECT_ALL_TOKENS) {
        None
    } else {
        Some(Reason::CallerMayNotIntrospect)
    }
}
