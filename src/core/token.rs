//! The token endpoint: the client credentials grant (RFC 6749 §3.2, §4.4, §5.1) and that of a token of another issuer (RFC 7523 §2.1),
//! with resource indicators (RFC 8707) and access tokens that are opaque or JWTs (RFC 9068).

use std::sync::Arc;

use uuid::Builder;
use zeroize::Zeroizing;

use super::access_token::record::AccessTokenRecord;
use super::access_token::settings::{AccessTokenFormat, AccessTokenPersistence, AccessTokenSettings};
use super::access_token::{AccessToken, jwt, opaque};
use super::audience::requested_audience;
use super::audit::{AuditEvent, AuditSink};
use super::client::Client;
use super::client::grant_type::GrantType;
use super::client_auth::{AuthenticatedClient, ClientAuthenticator, ClientRequest, Credentials};
use super::encoding::base64url;
use super::endpoint::{Endpoint, Method, TOKEN_PATH};
use super::error::{OAuthError, Refused};
use super::params::Params;
use super::port_error::PortError;
use super::ports::{Clock, Denylist, QuotaCounter, SigningKeySource, TokenStore};
use super::quota::{QuotaMode, QuotaState, TokenQuota};
use super::random::Random;
use super::realm::{Issuer, Realm};
use super::realms::Realms;
use super::scope::Scope;
use super::time::UnixSeconds;
use super::trust::admission::Admission;

/// The token endpoint of every realm.
pub struct TokenEndpoint {
    /// Finds the realm.
    pub realms: Realms,
    /// Authenticates the client.
    pub clients: ClientAuthenticator,
    /// Keeps what was issued.
    pub tokens: Arc<dyn TokenStore>,
    /// Remembers the end of what is not kept.
    pub denylist: Arc<dyn Denylist>,
    /// Counts it, where the client has a quota.
    pub quotas: Arc<dyn QuotaCounter>,
    /// Signs it, where it is a JWT.
    pub keys: Arc<dyn SigningKeySource>,
    /// Dates it.
    pub clock: Arc<dyn Clock>,
    /// Makes it unguessable.
    pub random: Arc<dyn Random>,
    /// Records the decision.
    pub audit: Arc<dyn AuditSink>,
}

/// A successful answer (RFC 6749 §5.1). `token_type` is always `Bearer`.
#[derive(Debug)]
pub struct TokenResponse {
    /// The token, stored before this exists if it is one that is stored.
    pub access_token: AccessToken,
    /// What was granted.
    pub scope: Scope,
    /// Seconds until it expires.
    pub expires_in: u64,
    /// What is left of the client's quota, where it has one that is enforced.
    pub quota: Option<QuotaState>,
}

/// What a request asks for, each of it once.
struct Asked<'a> {
    grant_type: Option<&'a str>,
    scope: Option<&'a str>,
    /// Resources may be several.
    params: &'a Params,
    issuer: &'a Issuer,
}

/// What is random about one token, drawn at once: each draw is a call of the operating system.
struct RandomBits(Zeroizing<[[u8; 16]; 4]>);

/// A token that was counted.
struct Counted {
    quota: TokenQuota,
    /// How many there are in this window, with this one.
    number: u64,
}

impl TokenEndpoint {
    /// What it says of itself.
    pub const ENDPOINT: Endpoint = Endpoint {
        name: "token",
        path: TOKEN_PATH,
        method: Method::Post,
        parameters: &["grant_type", "assertion", "scope", "resource", "audience", "authorization_details"],
    };

    /// Issues an access token.
    ///
    /// # Errors
    /// Any of [`OAuthError`]; nothing is stored in that case, or at worst a token that nobody knows.
    pub async fn issue(&self, request: &ClientRequest<'_>) -> Result<TokenResponse, OAuthError> {
        let result = self.authenticate_and_issue(request).await;
        request.record_refusal(self.audit.as_ref(), Self::ENDPOINT.name, result)
    }

    async fn authenticate_and_issue(&self, request: &ClientRequest<'_>) -> Result<TokenResponse, Refused> {
        // 1. The realm, and the request's own form (§3.2). Where the credentials are in order, the realm is read with the client.
        let credentials = credentials_of(request);
        let named = Credentials::named_in(&credentials);
        let realm = self.realms.find_with(request.realm, named.as_ref()).await?;
        let asked = Asked {
            grant_type: request.params.single("grant_type")?,
            scope: request.params.single("scope")?,
            params: request.params,
            issuer: request.issuer,
        };
        // Unlike a resource, an audience is one parameter, whatever it names.
        request.params.single("audience")?;
        let credentials = credentials?;

        // 2. The client (§2.3, §3.2.1). Before the grant, so that a stranger learns nothing about grants.
        let authenticated = self.clients.authenticate(&realm, &credentials).await;
        let authenticated = authenticated.map_err(|Refused { named, error }| {
            let error = if asked.grant_type == Some(GrantType::JWT_BEARER) { invalid_grant(error) } else { error };
            Refused { named, error }
        })?;
        let issued = self.issue_to(&authenticated, &realm, &asked).await;
        issued.map_err(|error| Refused::of(&authenticated.client, error))
    }

    async fn issue_to(
        &self,
        authenticated: &AuthenticatedClient,
        realm: &Realm,
        asked: &Asked<'_>,
    ) -> Result<TokenResponse, OAuthError> {
        let AuthenticatedClient { client, admission, .. } = authenticated;

        // 3. The grant (§4.4.2).
        require_grant(asked.grant_type, client, realm)?;

        // 4. The scope (§3.3).
        let scope = grant_scope(asked.scope, client, realm)?;

        // 5. What it is for, and for whom (RFC 9396 §5, RFC 8707 §2).
        refuse_unsupported(asked.params)?;
        let aud = requested_audience(asked.params, client, asked.issuer)?;

        // 6. How many tokens the client may have. After what a request can get wrong, which costs none of them, but for a JWT that is too long.
        let now = self.clock.now();
        require_valid_from(now, client, realm)?;
        let counted = self.count(client, realm, now).await?;

        // 7. What it says, and the token that says so.
        let settings = self.settings(client, realm, now).await;
        let lifetime =
            client.metadata.access_token_lifetime(&realm.settings, self.realms.defaults().access_token_lifetime);
        let random = RandomBits::draw(self.random.as_ref())?;
        let record = AccessTokenRecord {
            realm: realm.name.clone(),
            client_id: client.client_id.clone(),
            registration_id: client.registration_id.clone(),
            scope,
            iss: asked.issuer.clone(),
            aud,
            iat: now,
            expires_at: now.plus(lifetime.seconds()),
            jti: random.jti(settings, client),
            audit_tracking_id: random.audit_tracking_id(),
            claims: client.metadata.access_token_claims.of_token(admission.as_ref().map(|admission| &admission.claims)),
            trust_rule: admission.as_ref().map(|admission| admission.rule.clone()),
        };
        let access_token = self.mint(&record, settings, &random).await?;

        // 8. Stored first, answered second: nobody holds a token that the server does not know.
        if settings.is_stored() {
            self.tokens.put(&access_token.digest(), &record).await?;
        }

        // 9. The answer (§5.1).
        self.record_issuance(&record, settings.format, admission.as_ref(), counted.as_ref());
        let quota = counted.and_then(|counted| counted.told(now));
        Ok(TokenResponse { access_token, scope: record.scope, expires_in: lifetime.seconds(), quota })
    }

    /// What is made for the client. A stateless token from before the denylist is whole would be inactive for its whole
    /// life, so in a new store's first second it is one with a record.
    async fn settings(&self, client: &Client, realm: &Realm, now: UnixSeconds) -> AccessTokenSettings {
        let settings = client.access_token_settings(realm);
        if settings.is_stored() {
            return settings;
        }
        match self.denylist.whole_since().await {
            Ok(whole_since) if now <= whole_since => {
                AccessTokenSettings { persistence: AccessTokenPersistence::Stored, ..settings }
            }
            Ok(_) => settings,
            // Those who validate it by themselves need no store, and introspection asks again.
            Err(error) => {
                let (realm, client_id) = (&client.realm, &client.client_id);
                tracing::warn!(%realm, %client_id, %error, "a token was issued that introspection may find inactive");
                settings
            }
        }
    }

    /// Counts the token that is about to be made. Asks nobody where the client has no quota.
    async fn count(&self, client: &Client, realm: &Realm, now: UnixSeconds) -> Result<Option<Counted>, OAuthError> {
        let Some(quota) = client.token_quota(realm) else { return Ok(None) };
        let period = quota.limit.window().period_at(now);
        let at_most = (quota.mode == QuotaMode::Enforce).then_some(quota.limit.tokens());
        match self.quotas.count(client, period, at_most).await {
            Ok(Some(number)) => Ok(Some(Counted { quota, number })),
            Ok(None) => Err(OAuthError::QuotaExceeded(quota.state(u64::from(quota.limit.tokens()), now))),
            // Who only watches must not be in the way.
            Err(error) if quota.mode == QuotaMode::Observe => {
                let (realm, client_id) = (&client.realm, &client.client_id);
                tracing::warn!(%realm, %client_id, %error, "a token was not counted for a quota that is only observed");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn record_issuance(
        &self,
        record: &AccessTokenRecord,
        format: AccessTokenFormat,
        admission: Option<&Admission>,
        counted: Option<&Counted>,
    ) {
        let AccessTokenRecord { realm, client_id, scope, audit_tracking_id, .. } = record;
        let expires_in = record.expires_at.since(record.iat);
        self.audit.record(&AuditEvent::TokenIssued {
            realm,
            client_id,
            scope,
            expires_in,
            format,
            admission,
            audit_tracking_id,
        });
        if let Some(excess) = counted.filter(|counted| counted.is_excess()) {
            let (limit, counted) = (excess.quota.limit, excess.number);
            self.audit.record(&AuditEvent::QuotaExceededObserved {
                realm,
                client_id,
                limit,
                counted,
                audit_tracking_id,
            });
        }
    }

    async fn mint(
        &self,
        record: &AccessTokenRecord,
        settings: AccessTokenSettings,
        random: &RandomBits,
    ) -> Result<AccessToken, OAuthError> {
        if settings.format == AccessTokenFormat::Opaque {
            return Ok(opaque::of_random_bits(random.of_token()));
        }
        let signers = self.keys.signers(&record.realm, settings.signing_alg).await?;
        let token = jwt::sign(record, signers.choose(settings.signing_alg, record.iat)?)?;
        if token.expose_token().len() > jwt::MAX_LENGTH {
            return Err(OAuthError::InvalidRequest(
                "the access token would be too long for an Authorization header; ask for fewer scopes or resources",
            ));
        }
        Ok(token)
    }
}

impl RandomBits {
    fn draw(random: &dyn Random) -> Result<Self, PortError> {
        let mut bits = Zeroizing::new([[0; 16]; 4]);
        random.fill(bits.as_flattened_mut())?;
        Ok(Self(bits))
    }

    fn of_token(&self) -> &[[u8; 16]; 2] {
        let [token @ .., _, _] = &*self.0;
        token
    }

    fn jti(&self, settings: AccessTokenSettings, client: &Client) -> String {
        let [.., bits, _] = &*self.0;
        match settings.format {
            AccessTokenFormat::Opaque => base64url(bits),
            AccessTokenFormat::Jwt => jwt::new_jti(settings.persistence, &client.registration_id, bits),
        }
    }

    fn audit_tracking_id(&self) -> String {
        let [.., bits] = &*self.0;
        Builder::from_random_bytes(*bits).into_uuid().to_string()
    }
}

impl Counted {
    /// Whether it would have been refused.
    fn is_excess(&self) -> bool {
        self.quota.mode == QuotaMode::Observe && self.number > u64::from(self.quota.limit.tokens())
    }

    /// What its client is told.
    fn told(&self, now: UnixSeconds) -> Option<QuotaState> {
        (self.quota.mode == QuotaMode::Enforce).then(|| self.quota.state(self.number, now))
    }
}

impl AccessTokenSettings {
    /// Whether the server keeps a record of the token.
    fn is_stored(self) -> bool {
        self.format == AccessTokenFormat::Opaque || self.persistence == AccessTokenPersistence::Stored
    }
}

/// What the client authenticates with, which may be its grant. Of a grant that is said twice there is nothing to find out.
fn credentials_of(request: &ClientRequest<'_>) -> Result<Credentials, OAuthError> {
    match request.params.single("grant_type") {
        Ok(Some(GrantType::JWT_BEARER)) => Credentials::from_grant(request).map_err(invalid_grant),
        _ => Credentials::from_request(request),
    }
}

/// A client that asks for a narrower token than this server can make must not get a wider one without a word.
fn refuse_unsupported(params: &Params) -> Result<(), OAuthError> {
    if params.contains("authorization_details") {
        return Err(OAuthError::InvalidAuthorizationDetails);
    }
    Ok(())
}

/// Tokens revoked all at once are revoked up to a time of the operator's clock. Where that is ahead of this one, a token
/// issued now would be inactive for its whole life.
fn require_valid_from(now: UnixSeconds, client: &Client, realm: &Realm) -> Result<(), OAuthError> {
    let [of_client, of_realm] = [client.tokens_valid_after, realm.settings.tokens_valid_after];
    let (whose, valid_after) = if of_client > of_realm { ("client", of_client) } else { ("realm", of_realm) };
    if now >= valid_after {
        return Ok(());
    }
    let seconds = valid_after.since(now);
    Err(OAuthError::Unavailable(format!(
        "tokens_valid_after of the {whose} is {seconds} s ahead of this server's clock; where that is right, lower that \
         time"
    )))
}

/// What is wrong with an assertion that is the grant (RFC 7521 §4.1.1).
fn invalid_grant(error: OAuthError) -> OAuthError {
    match error {
        OAuthError::InvalidClient(failure) => OAuthError::InvalidGrant(failure),
        other => other,
    }
}

/// RFC 6749 §4.4.2 and the three errors of §5.2 that concern the grant.
fn require_grant(grant_type: Option<&str>, client: &Client, realm: &Realm) -> Result<(), OAuthError> {
    let sufficient = match grant_type {
        None => return Err(OAuthError::InvalidRequest("grant_type is missing")),
        Some(GrantType::CLIENT_CREDENTIALS) => vec![GrantType::client_credentials()],
        // It proves nothing that the same token could not prove beside the other grant, so whoever may use that may use this.
        Some(GrantType::JWT_BEARER) => vec![GrantType::jwt_bearer(), GrantType::client_credentials()],
        Some(_) => return Err(OAuthError::UnsupportedGrantType),
    };
    if sufficient.iter().any(|grant| client.allows_grant(grant, realm)) {
        Ok(())
    } else {
        Err(OAuthError::UnauthorizedClient)
    }
}

/// RFC 6749 §3.3: what was asked for where the client may have all of it, else an error; what the client or else the
/// realm has as default where nothing was asked for. Never more than the client registered, never silently less than it
/// asked for.
fn grant_scope(requested: Option<&str>, client: &Client, realm: &Realm) -> Result<Scope, OAuthError> {
    let grantable = client.grantable_scope(realm);
    if let Some(requested) = requested {
        let requested: Scope =
            requested.parse().map_err(|_| OAuthError::InvalidScope("the scope is malformed (RFC 6749 section 3.3)"))?;
        return if requested.is_subset(&grantable) {
            Ok(requested)
        } else {
            Err(OAuthError::InvalidScope("the scope is unknown or the client is not registered for it"))
        };
    }
    // A realm's default applies to each client as far as the client is registered for it.
    client
        .default_grant(realm)
        .ok_or(OAuthError::InvalidScope("no scope was requested and the client has no default scope"))
}
