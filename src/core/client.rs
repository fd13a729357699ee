//! Client: a registration and its invariants (RFC 6749 §2, member names of RFC 7591 §2).

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use super::access_token::claims::{CustomClaims, InvalidClaims};
use super::access_token::opaque::base64url;
use super::access_token::{AccessTokenFormat, AccessTokenPersistence};
use super::conversions::{number_conversions, text_conversions};
use super::keys::SigningAlgorithm;
use super::ports::{PortError, Random, UnixSeconds};
use super::quota::{QuotaMode, QuotaSetting, TokenQuota};
use super::realm::{Realm, RealmName};
use super::resource::{MalformedResource, ResourceUri};
use super::scope::Scope;

/// A client identifier (RFC 6749 §2.2): 1 to 128 characters of `[A-Za-z0-9._@-]`, compared byte for byte.
///
/// The alphabet is what Basic carries unchanged whether or not a client form-encodes it, and what a Secrets Manager name
/// may contain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

/// A grant type's registered name (RFC 7591 §2), such as `client_credentials`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GrantType(String);

/// How a client may authenticate at the token, introspection and revocation endpoints (RFC 7591 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// HTTP Basic (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// `client_id` and `client_secret` in the request body (RFC 6749 §2.3.1).
    ClientSecretPost,
}

/// 128 random bits that name one registration for ever. No secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RegistrationId(String);

/// Whether a client may do anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientStatus {
    /// Authenticates, gets tokens, and its tokens are active.
    Active,
    /// Fails to authenticate like an unknown client; its tokens are inactive.
    Disabled,
}

/// Seconds an access token lives: 1 to [`TokenLifetime::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct TokenLifetime(u64);

/// Days after which a deployed stack replaces a client's secret by itself: 1 to [`SecretRotationDays::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct SecretRotationDays(u64);

/// What an operator decides about a client; everything else about a [`Client`] follows or is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMetadata {
    /// Human-readable name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// Owners: people responsible for the application.
    #[serde(default)]
    pub contacts: Vec<String>,
    /// Sign-in URLs.
    #[serde(default)]
    pub redirect_uris: Vec<RedirectUri>,
    /// Every scope the client can be granted.
    #[serde(default)]
    pub scope: Scope,
    /// Granted where a request names no scope; always a subset of `scope`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scope: Option<Scope>,
    /// Grant types the client may use.
    #[serde(default)]
    pub grant_types: BTreeSet<GrantType>,
    /// Authentication methods the client may use; never empty.
    pub token_endpoint_auth_methods: BTreeSet<AuthMethod>,
    /// Seconds the client's access tokens live; the realm's setting where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_lifetime: Option<TokenLifetime>,
    /// When the secret stops working (RFC 7591 §3.2.1); 0 means never, which a record has to say.
    pub client_secret_expires_at: UnixSeconds,
    /// How long a secret is in use before a schedule replaces it; never where absent. A client that was handed its secret once
    /// must not have it: the second rotation would lock it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_rotation_days: Option<SecretRotationDays>,
    /// The form of the client's access tokens; the realm's setting where absent, as for the two below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_format: Option<AccessTokenFormat>,
    /// What is kept of those that are JWTs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_persistence: Option<AccessTokenPersistence>,
    /// What those are signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_signing_alg: Option<SigningAlgorithm>,
    /// How many tokens the client may be issued; the realm's setting where absent, as for the one below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_quota: Option<QuotaSetting>,
    /// What becomes of requests beyond it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_quota_mode: Option<QuotaMode>,
    /// The protected resources that the client may ask for tokens for (RFC 8707); the first is the default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceUri>,
    /// What every token of the client says besides.
    #[serde(default, skip_serializing_if = "CustomClaims::is_empty")]
    pub access_token_claims: CustomClaims,
}

/// How the access tokens of a client are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessTokenSettings {
    /// What the client gets.
    pub format: AccessTokenFormat,
    /// What is kept of a JWT.
    pub persistence: AccessTokenPersistence,
    /// What a JWT is signed with.
    pub signing_alg: SigningAlgorithm,
}

/// A confidential client's registration. Never holds the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Unique in its realm.
    pub client_id: ClientId,
    /// The realm that owns it.
    pub realm: RealmName,
    /// What its operator decided.
    #[serde(flatten)]
    pub metadata: ClientMetadata,
    /// Whether it may do anything at all.
    pub status: ClientStatus,
    /// Tells this registration from an earlier one of the same id. A token carries it, so that the tokens of a deleted
    /// client do not come back to life with its successor, however fast the one follows the other.
    pub registration_id: RegistrationId,
    /// When it was registered.
    pub client_id_issued_at: UnixSeconds,
    /// Its tokens issued before this time are inactive. A record that has lost it cannot be read: 0 would bring them back.
    pub tokens_valid_after: UnixSeconds,
    /// Until when tokens may live that it was issued while its own lifetime was longer. Absent: it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longer_tokens_until: Option<UnixSeconds>,
    /// Counts the changes; a write that names an older one is refused.
    pub revision: u64,
}

/// Why a registration was refused. The texts say what to do and never repeat a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRegistration {
    /// The client id is outside its alphabet or length.
    #[error(
        "a client id has 1 to 128 characters of A-Z, a-z, 0-9, '.', '_', '@' and '-', the first of them no '-', and does not \
         begin with signing-keys"
    )]
    ClientId,
    /// The grant type is no name that RFC 7591 knows.
    #[error("'{0}' is no grant type; name client_credentials, another of RFC 7591 section 2, or none")]
    GrantType(String),
    /// The lifetime is out of range.
    #[error("a token lifetime is 1 to {max} seconds", max = TokenLifetime::MAX)]
    TokenLifetime,
    /// The days between two rotations of the secret are out of range.
    #[error("a secret is rotated by schedule every 1 to {max} days", max = SecretRotationDays::MAX)]
    SecretRotationDays,
    /// The redirect URI is not absolute or has a fragment.
    #[error(
        "'{0}' is no sign-in URL; give an absolute http(s) URL, or one with an application's own scheme such as \
         com.example.app:/callback, without a fragment (RFC 6749 section 3.1.2, RFC 8252 section 7.1)"
    )]
    RedirectUri(String),
    /// A default scope is not among the client's scopes.
    #[error("the default scope '{0}' is not among the client's scopes; add it with --scope or drop it")]
    DefaultScope(String),
    /// The realm does not allow a scope of the client.
    #[error("realm {realm} does not allow the scope '{scope}'; its allowed scopes are '{allowed}'")]
    ScopeOutsideRealm {
        /// The realm.
        realm: RealmName,
        /// The first scope token that the realm does not allow.
        scope: String,
        /// What it allows.
        allowed: Scope,
    },
    /// A protected resource is no resource indicator.
    #[error(transparent)]
    Resource(#[from] MalformedResource),
    /// The claims are no claims, or not the operator's to set.
    #[error(transparent)]
    Claims(#[from] InvalidClaims),
    /// No authentication method is left.
    #[error("a client needs at least one authentication method: client_secret_basic or client_secret_post")]
    NoAuthMethod,
    /// A name or owner is empty, too long or has control characters.
    #[error("the {0} is empty, longer than 256 characters, or has control characters")]
    Text(&'static str),
    /// Values that are too long together.
    #[error("the client's {what} have more than {max} characters together")]
    TooLarge {
        /// What is too long.
        what: &'static str,
        /// The most it may have.
        max: usize,
    },
    /// More protected resources than a token could name.
    #[error("a client has at most {max} resources", max = ClientMetadata::MAX_RESOURCES)]
    TooManyResources,
    /// More values of one kind than a registration may hold.
    #[error("a client has at most {max} {what}", max = ClientMetadata::MAX_VALUES)]
    TooMany {
        /// What there are too many of.
        what: &'static str,
    },
}

/// An absolute URI without a fragment (RFC 6749 §3.1.2), kept as it was written: comparison is by character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(String);

impl Client {
    /// A new, active registration (revision 1) in `realm`.
    ///
    /// # Errors
    /// [`InvalidRegistration`] as [`ClientMetadata::check`] says.
    pub fn register(
        client_id: ClientId,
        realm: &Realm,
        metadata: ClientMetadata,
        registration_id: RegistrationId,
        now: UnixSeconds,
    ) -> Result<Self, InvalidRegistration> {
        metadata.check(realm)?;
        Ok(Self {
            client_id,
            realm: realm.name.clone(),
            metadata,
            status: ClientStatus::Active,
            registration_id,
            client_id_issued_at: now,
            tokens_valid_after: UnixSeconds(0),
            longer_tokens_until: None,
            revision: 1,
        })
    }

    /// Whether the client is active.
    pub fn is_active(&self) -> bool {
        self.status == ClientStatus::Active
    }

    /// Whether the client is registered for `method`.
    pub fn allows_method(&self, method: AuthMethod) -> bool {
        self.metadata.token_endpoint_auth_methods.contains(&method)
    }

    /// Whether both the client and its realm allow `grant_type`.
    pub fn allows_grant(&self, grant_type: &GrantType, realm: &Realm) -> bool {
        self.metadata.grant_types.contains(grant_type)
            && realm.settings.grant_types.as_ref().is_none_or(|allowed| allowed.contains(grant_type))
    }

    /// The form, the persistence and the signature of the client's access tokens: its own settings, else the realm's, else
    /// the defaults.
    pub fn access_token_settings(&self, realm: &Realm) -> AccessTokenSettings {
        let (own, realm) = (&self.metadata, &realm.settings);
        AccessTokenSettings {
            format: own.access_token_format.or(realm.access_token_format).unwrap_or_default(),
            persistence: own.access_token_persistence.or(realm.access_token_persistence).unwrap_or_default(),
            signing_alg: own.access_token_signing_alg.or(realm.access_token_signing_alg).unwrap_or_default(),
        }
    }

    /// How many tokens the client may be issued, its own settings before the realm's; `None` for any number.
    pub fn token_quota(&self, realm: &Realm) -> Option<TokenQuota> {
        let (own, realm) = (&self.metadata, &realm.settings);
        match own.token_quota.or(realm.token_quota)? {
            QuotaSetting::Unlimited => None,
            QuotaSetting::Limited(limit) => {
                Some(TokenQuota { limit, mode: own.token_quota_mode.or(realm.token_quota_mode).unwrap_or_default() })
            }
        }
    }

    /// Whether the client can be granted this scope token now: it is its own, and the realm (still) allows it.
    pub fn can_be_granted(&self, scope_token: &str, realm: &Realm) -> bool {
        let allowed = realm.settings.allowed_scope.as_ref();
        self.metadata.scope.contains(scope_token) && allowed.is_none_or(|allowed| allowed.contains(scope_token))
    }

    /// Every scope token the client can be granted now: its own, as far as the realm (still) allows them.
    pub fn grantable_scope(&self, realm: &Realm) -> Scope {
        match &realm.settings.allowed_scope {
            Some(allowed) => self.metadata.scope.intersection(allowed),
            None => self.metadata.scope.clone(),
        }
    }

    /// Whether the secret has expired.
    pub fn secret_has_expired(&self, now: UnixSeconds) -> bool {
        let expires_at = self.metadata.client_secret_expires_at;
        expires_at != UnixSeconds(0) && expires_at <= now
    }

    /// Whether a schedule has to replace a secret that was made at `made_at`: the operator wants it, and the client could use
    /// another one.
    pub fn secret_rotation_is_due(&self, made_at: UnixSeconds, now: UnixSeconds) -> bool {
        self.is_active()
            && !self.secret_has_expired(now)
            && self.metadata.client_secret_rotation_days.is_some_and(|days| now.since(made_at) >= days.seconds())
    }
}

impl ClientMetadata {
    /// A client of the client credentials grant that authenticates by HTTP Basic, and nothing more yet.
    pub fn new() -> Self {
        Self {
            client_name: None,
            contacts: Vec::new(),
            redirect_uris: Vec::new(),
            scope: Scope::empty(),
            default_scope: None,
            grant_types: [GrantType::client_credentials()].into(),
            token_endpoint_auth_methods: [AuthMethod::ClientSecretBasic].into(),
            access_token_lifetime: None,
            client_secret_expires_at: UnixSeconds(0),
            client_secret_rotation_days: None,
            access_token_format: None,
            access_token_persistence: None,
            access_token_signing_alg: None,
            token_quota: None,
            token_quota_mode: None,
            resources: Vec::new(),
            access_token_claims: CustomClaims::default(),
        }
    }

    /// The most owners, sign-in URLs, scope tokens or grant types of one client.
    pub const MAX_VALUES: usize = 200;
    /// The most bytes of all of them together; DynamoDB's items end at 400 KB.
    pub const MAX_BYTES: usize = 64 * 1024;
    /// The most bytes of all scopes together: every token's record has them, and is billed by the kilobyte.
    pub const MAX_SCOPE_BYTES: usize = 8 * 1024;

    /// The most resources of one client: a token may be for all of them.
    pub const MAX_RESOURCES: usize = 16;

    /// Checks what one member says against the others and against the realm.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self, realm: &Realm) -> Result<(), InvalidRegistration> {
        for (what, count) in [
            ("owners", self.contacts.len()),
            ("sign-in URLs", self.redirect_uris.len()),
            ("scopes", self.scope.tokens().count()),
            ("grant types", self.grant_types.len()),
        ] {
            if count > Self::MAX_VALUES {
                return Err(InvalidRegistration::TooMany { what });
            }
        }
        if self.resources.len() > Self::MAX_RESOURCES {
            return Err(InvalidRegistration::TooManyResources);
        }
        if self.scope.to_string().len() > Self::MAX_SCOPE_BYTES {
            return Err(InvalidRegistration::TooLarge { what: "scopes", max: Self::MAX_SCOPE_BYTES });
        }
        if serde_json::to_vec(self).is_ok_and(|json| json.len() > Self::MAX_BYTES) {
            return Err(InvalidRegistration::TooLarge { what: "values", max: Self::MAX_BYTES });
        }
        if let Some(name) = &self.client_name {
            check_text("name", name)?;
        }
        for owner in &self.contacts {
            check_text("owner", owner)?;
        }
        if self.token_endpoint_auth_methods.is_empty() {
            return Err(InvalidRegistration::NoAuthMethod);
        }
        if let Some(outside) =
            self.default_scope.iter().flat_map(Scope::tokens).find(|token| !self.scope.contains(token))
        {
            return Err(InvalidRegistration::DefaultScope(outside.to_owned()));
        }
        if let Some(allowed) = &realm.settings.allowed_scope
            && let Some(outside) = self.scope.tokens().find(|token| !allowed.contains(token))
        {
            return Err(InvalidRegistration::ScopeOutsideRealm {
                realm: realm.name.clone(),
                scope: outside.to_owned(),
                allowed: allowed.clone(),
            });
        }
        Ok(())
    }
}

impl ClientId {
    /// A random identifier of 128 bits, less those that would start with a hyphen.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where the random source fails.
    pub fn generate(random: &dyn Random) -> Result<Self, PortError> {
        loop {
            let name = random_name(random)?;
            if !name.starts_with('-') {
                return Ok(Self(name));
            }
        }
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ClientMetadata {
    fn default() -> Self {
        Self::new()
    }
}

impl RegistrationId {
    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identifier that a token of this server names.
    pub(crate) fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// A new identifier.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where the random source fails.
    pub fn generate(random: &dyn Random) -> Result<Self, PortError> {
        random_name(random).map(Self)
    }
}

impl FromStr for ClientId {
    type Err = InvalidRegistration;

    fn from_str(text: &str) -> Result<Self, InvalidRegistration> {
        // A leading hyphen would make the id an option on the command line.
        let well_formed = (1..=128).contains(&text.len())
            && !text.starts_with('-')
            // IAM's `*` spans slashes: the pattern of the realms' signing keys would take in such a client's secret.
            && !text.starts_with("signing-keys")
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'-'));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(InvalidRegistration::ClientId) }
    }
}

impl GrantType {
    /// The grant this server implements (RFC 6749 §4.4).
    pub const CLIENT_CREDENTIALS: &str = "client_credentials";

    /// The grant this server implements.
    pub fn client_credentials() -> Self {
        Self(Self::CLIENT_CREDENTIALS.to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GrantType {
    type Err = InvalidRegistration;

    fn from_str(text: &str) -> Result<Self, InvalidRegistration> {
        let registered = ["authorization_code", "implicit", "password", Self::CLIENT_CREDENTIALS, "refresh_token"]
            .contains(&text)
            || text.strip_prefix("urn:ietf:params:oauth:grant-type:").is_some_and(|rest| {
                !rest.is_empty() && rest.len() <= 64 && rest.bytes().all(|byte| byte.is_ascii_graphic())
            });
        if registered {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidRegistration::GrantType(text.escape_default().take(64).collect()))
        }
    }
}

impl AuthMethod {
    /// Every method this server implements, as metadata documents list them.
    pub const ALL: [Self; 2] = [Self::ClientSecretBasic, Self::ClientSecretPost];

    /// The registered name (RFC 7591 §2).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
        }
    }
}

impl ClientStatus {
    /// The name as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

impl TokenLifetime {
    /// Thirty days. A machine can ask again; a token that outlives its reason cannot be taken back by forgetting it.
    pub const MAX: u64 = 30 * 24 * 3600;
    /// An hour.
    pub const DEFAULT: Self = Self(3600);

    /// A lifetime of `seconds`.
    ///
    /// # Errors
    /// [`InvalidRegistration::TokenLifetime`] outside 1 to [`Self::MAX`].
    pub fn new(seconds: u64) -> Result<Self, InvalidRegistration> {
        if (1..=Self::MAX).contains(&seconds) { Ok(Self(seconds)) } else { Err(InvalidRegistration::TokenLifetime) }
    }

    /// The lifetime in seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }
}

impl SecretRotationDays {
    /// A year.
    pub const MAX: u64 = 365;

    /// A rotation every `days`.
    ///
    /// # Errors
    /// [`InvalidRegistration::SecretRotationDays`] outside 1 to [`Self::MAX`].
    pub fn new(days: u64) -> Result<Self, InvalidRegistration> {
        if (1..=Self::MAX).contains(&days) { Ok(Self(days)) } else { Err(InvalidRegistration::SecretRotationDays) }
    }

    /// The days.
    pub fn days(self) -> u64 {
        self.0
    }

    /// The same time in seconds.
    pub fn seconds(self) -> u64 {
        self.0 * 24 * 3600
    }
}

impl FromStr for RedirectUri {
    type Err = InvalidRegistration;

    fn from_str(text: &str) -> Result<Self, InvalidRegistration> {
        let refused = || InvalidRegistration::RedirectUri(text.escape_default().take(256).collect());
        if text.len() > 2048 || text.contains('#') || text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(refused());
        }
        let url = Url::parse(text).map_err(|_| refused())?;
        // An application's own scheme is a domain name in reverse (RFC 8252 §7.1), which javascript: and data: are not.
        let fit = matches!(url.scheme(), "http" | "https") || url.scheme().contains('.');
        if fit { Ok(Self(text.to_owned())) } else { Err(refused()) }
    }
}

impl RedirectUri {
    /// The URI as it was registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_conversions!(ClientId, GrantType, RedirectUri);
number_conversions!(TokenLifetime: InvalidRegistration, SecretRotationDays: InvalidRegistration);

/// 128 random bits in base64url.
pub(crate) fn random_name(random: &dyn Random) -> Result<String, PortError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes)?;
    Ok(base64url(&bytes))
}

fn check_text(what: &'static str, text: &str) -> Result<(), InvalidRegistration> {
    let length = text.chars().count();
    // A control character would let a registration forge lines of a terminal or a log.
    if length == 0 || length > 256 || text.chars().any(char::is_control) {
        return Err(InvalidRegistration::Text(what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> ClientMetadata {
        ClientMetadata {
            client_name: Some("My client".into()),
            contacts: vec!["owner@example.com".into()],
            redirect_uris: vec!["https://www.example.com:443/callback".parse().expect("absolute")],
            scope: "read write".parse().expect("well formed"),
            default_scope: Some("write".parse().expect("well formed")),
            grant_types: [GrantType::client_credentials()].into(),
            token_endpoint_auth_methods: [AuthMethod::ClientSecretBasic].into(),
            ..ClientMetadata::new()
        }
    }

    fn registration_id() -> RegistrationId {
        RegistrationId("registration".into())
    }

    fn realm() -> Realm {
        Realm::new(RealmName::root())
    }

    #[test]
    fn a_registration_survives_storage() {
        let client = Client::register(
            "myClient".parse().expect("an id"),
            &realm(),
            metadata(),
            registration_id(),
            UnixSeconds(7),
        )
        .expect("valid");
        let stored = serde_json::to_string(&client).expect("serializes");
        assert!(stored.contains(r#""scope":"read write""#) && stored.contains(r#""client_id":"myClient""#), "{stored}");
        assert_eq!(serde_json::from_str::<Client>(&stored).expect("reads back"), client);
    }

    #[test]
    fn a_default_scope_is_one_of_the_clients_scopes() {
        let mut wrong = metadata();
        wrong.default_scope = Some("admin".parse().expect("well formed"));
        assert_eq!(wrong.check(&realm()), Err(InvalidRegistration::DefaultScope("admin".into())));
    }

    #[test]
    fn a_realm_can_limit_scopes_and_takes_them_back_later() {
        let mut narrow = realm();
        narrow.settings.allowed_scope = Some("write".parse().expect("well formed"));
        assert!(matches!(metadata().check(&narrow), Err(InvalidRegistration::ScopeOutsideRealm { .. })));

        let client =
            Client::register("c".parse().expect("an id"), &realm(), metadata(), registration_id(), UnixSeconds(7))
                .expect("valid");
        assert_eq!(client.grantable_scope(&narrow).to_string(), "write");
    }

    #[test]
    fn a_clients_quota_is_its_own_before_its_realms_and_either_part_of_it() {
        let quota = |own: Option<&str>, own_mode, realms: Option<&str>, realm_mode| {
            let (mut client, mut realm) = (metadata(), realm());
            let parsed = |text: &str| text.parse().expect("a quota");
            (client.token_quota, client.token_quota_mode) = (own.map(parsed), own_mode);
            (realm.settings.token_quota, realm.settings.token_quota_mode) = (realms.map(parsed), realm_mode);
            let id = "c".parse().expect("an id");
            let client = Client::register(id, &realm, client, registration_id(), UnixSeconds(7)).expect("valid");
            client.token_quota(&realm).map(|quota| (quota.limit.to_string(), quota.mode))
        };
        let (enforce, observe) = (QuotaMode::Enforce, QuotaMode::Observe);
        let of = |limit: &str, mode| Some((limit.to_owned(), mode));
        assert_eq!(quota(None, None, None, None), None);
        assert_eq!(quota(None, Some(observe), None, Some(enforce)), None, "a mode alone is no quota");
        assert_eq!(quota(None, None, Some("9/day"), None), of("9/day", enforce));
        assert_eq!(quota(None, None, Some("9/day"), Some(observe)), of("9/day", observe));
        assert_eq!(quota(Some("5/hour"), None, Some("9/day"), Some(observe)), of("5/hour", observe));
        assert_eq!(quota(Some("5/hour"), Some(enforce), Some("9/day"), Some(observe)), of("5/hour", enforce));
        assert_eq!(quota(None, Some(observe), Some("9/day"), None), of("9/day", observe));
        assert_eq!(quota(Some("none"), None, Some("9/day"), None), None, "exempt");
        assert_eq!(quota(Some("5/hour"), None, Some("none"), None), of("5/hour", enforce));
    }

    #[test]
    fn ids_that_basic_or_secrets_manager_would_change_are_refused() {
        for id in [
            "",
            "-a",
            "a b",
            "a+b",
            "a%b",
            "a:b",
            "a/b",
            "é",
            "signing-keys",
            "signing-keys-1",
            "arn:aws:secretsmanager:x",
            &"a".repeat(129),
        ] {
            assert_eq!(id.parse::<ClientId>(), Err(InvalidRegistration::ClientId), "{id}");
        }
        assert!("6f1c.My_client@host-1".parse::<ClientId>().is_ok());
    }

    #[test]
    fn a_redirect_uri_is_absolute_and_has_no_fragment() {
        for uri in
            ["javascript:alert(1)", "data:text/html,x", "callback", "/callback", "https://a/#f", "https://a/\n", ""]
        {
            assert!(uri.parse::<RedirectUri>().is_err(), "{uri:?}");
        }
    }

    #[test]
    fn names_cannot_forge_terminal_output() {
        let mut forged = metadata();
        forged.client_name = Some("a\u{1b}[2J".into());
        assert_eq!(forged.check(&realm()), Err(InvalidRegistration::Text("name")));
    }

    #[test]
    fn a_secret_expires_at_its_second() {
        let mut client =
            Client::register("c".parse().expect("an id"), &realm(), metadata(), registration_id(), UnixSeconds(7))
                .expect("valid");
        assert!(!client.secret_has_expired(UnixSeconds(u64::MAX)));
        client.metadata.client_secret_expires_at = UnixSeconds(10);
        assert!(!client.secret_has_expired(UnixSeconds(9)) && client.secret_has_expired(UnixSeconds(10)));
    }

    #[test]
    fn a_secret_is_rotated_by_schedule_every_1_to_365_days() {
        for days in [0, 366, u64::MAX] {
            assert_eq!(SecretRotationDays::new(days), Err(InvalidRegistration::SecretRotationDays), "{days}");
            assert!(serde_json::from_value::<SecretRotationDays>(days.into()).is_err(), "{days}");
        }
        for days in [1, 365] {
            let every = SecretRotationDays::new(days).expect("in range");
            assert_eq!((every.days(), every.seconds()), (days, days * 86_400));
            assert_eq!(serde_json::to_value(every).expect("serializes"), days);
        }
    }

    #[test]
    fn a_secret_is_due_from_its_second_on_where_its_client_wants_it_and_can_use_another() {
        let mut client =
            Client::register("c".parse().expect("an id"), &realm(), metadata(), registration_id(), UnixSeconds(7))
                .expect("valid");
        let (made_at, due_at) = (UnixSeconds(100), UnixSeconds(100 + 86_400));
        let is_due = |client: &Client, now| client.secret_rotation_is_due(made_at, now);
        assert!(!is_due(&client, UnixSeconds(u64::MAX)), "nobody has asked for it");
        client.metadata.client_secret_rotation_days = SecretRotationDays::new(1).ok();
        assert!(is_due(&client, due_at) && !is_due(&client, UnixSeconds(due_at.0 - 1)));
        assert!(!is_due(&client, UnixSeconds(0)), "a clock that was set back");
        client.metadata.client_secret_expires_at = due_at;
        assert!(!is_due(&client, due_at), "another secret would not work either");
        client.metadata.client_secret_expires_at = due_at.plus(1);
        assert!(is_due(&client, due_at));
        client.status = ClientStatus::Disabled;
        assert!(!is_due(&client, due_at));
    }
}
