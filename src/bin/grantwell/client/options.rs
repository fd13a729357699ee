//! The options that say what is registered of a client: each is one member of the registration, which its help names.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use grantwell::core::access_token::claims::CustomClaims;
use grantwell::core::access_token::settings::TokenLifetime;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::metadata::{
    ClientMetadata, InvalidRegistration, InvalidSecretRotationDays, SecretRotationDays,
};
use grantwell::core::client::redirect_uri::{InvalidRedirectUri, RedirectUri};
use grantwell::core::client::secret_storage::SecretStorage;
use grantwell::core::management::SecretLifetime;
use grantwell::core::owner::{MalformedOwnerId, OwnerId};
use grantwell::core::resource::{MalformedResource, ResourceUri};
use grantwell::core::scope::Scope;

use super::jwks_uri::JwksUriArguments;
use super::keys::KeyArguments;
use super::trust::TrustArguments;
use crate::access_token::{AccessTokenArguments, Setting, apply};
use crate::duration::{self, MalformedDuration};
use crate::failure::Failure;
use crate::quota::QuotaArguments;
use crate::realm::{GrantTypeValue, grant_type, grant_types, refuse_mixed, scope, token_lifetime, union};
use crate::secret_storage;

/// What an operator decides about a client. An empty value removes what was set.
#[derive(Debug, clap::Args)]
pub(super) struct Settings {
    /// A name for people (client_name)
    #[arg(long)]
    name: Option<String>,
    /// Who owns the client, by the id of `grantwell owner` (owners). Repeatable
    #[arg(long, value_name = "ID", value_parser = owner)]
    owner: Vec<Setting<OwnerId>>,
    /// A person responsible for the client, as free text (contacts). Repeatable
    #[arg(long, value_name = "TEXT")]
    contact: Vec<String>,
    /// What the client can be granted (scope). Repeatable, or separated by spaces
    #[arg(long, value_parser = scope)]
    scope: Vec<Scope>,
    /// What it is granted if a request names no scope (default_scope). Repeatable, or separated by spaces
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    default_scope: Vec<Scope>,
    /// A sign-in URL (redirect_uris). Repeatable
    #[arg(long, value_name = "URL", value_parser = redirect_uri)]
    redirect_uri: Vec<Setting<RedirectUri>>,
    /// A grant type the client may use, or none (grant_types). Repeatable [new clients: `client_credentials`]
    #[arg(long, value_parser = grant_type)]
    grant_type: Vec<GrantTypeValue>,
    /// How long the client's access tokens live: seconds, or with a unit such as 15m or 1h (access_token_lifetime) [new clients: as
    /// the realm says]
    #[arg(long, value_name = "DURATION", value_parser = token_lifetime)]
    token_lifetime: Option<TokenLifetime>,
    /// How the client may authenticate (token_endpoint_auth_methods). Repeatable
    /// [new clients: `client_secret_basic` and `client_secret_post`]
    #[arg(long, value_name = "METHOD", value_parser = auth_method())]
    auth_method: Vec<AuthMethod>,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    pub(super) jwks_uri: JwksUriArguments,
    #[command(flatten)]
    trust: TrustArguments,
    /// How long the client's secrets work from now on: seconds, or with a unit such as 90d; 0 for ever (client_secret_expires_at) [new
    /// clients: 0]
    #[arg(long, value_name = "DURATION", value_parser = secret_lifetime)]
    pub(super) secret_lifetime: Option<SecretLifetime>,
    /// After how long a deployed stack replaces the client's secret by itself: days, or with a unit such as 90d; 0 for never
    /// (client_secret_rotation_days) [new clients: 0]
    ///
    /// The application must read its secret from Secrets Manager, before each use or after a 401. An application that was given
    /// its secret only once is locked out at the second rotation.
    #[arg(long, value_name = "DURATION", value_parser = secret_rotation_days)]
    secret_rotation_days: Option<Setting<SecretRotationDays>>,
    /// Where a deployed stack keeps the client's secrets: in Secrets Manager, at $0.40 a month, or as a digest on the registration, at no
    /// cost (client_secret_storage) [new clients: as the realm says]
    ///
    /// A digest is kept only of generated secrets. The application cannot read its secret anywhere, so you hand it out, and no
    /// schedule rotates it. A client keeps its secret when it moves to a digest. When it moves back, it gets a new one, to be read
    /// from Secrets Manager, and the one before it stays valid until the next rotation. A local server keeps digests, whatever this says.
    #[arg(long, value_name = "secrets-manager|digest", value_parser = secret_storage::of_client)]
    secret_storage: Option<SecretStorage>,
    /// A resource server the client may ask for tokens for (RFC 8707); the first is the default (resources). Repeatable
    #[arg(long, value_name = "URI", value_parser = resource)]
    resource: Vec<Setting<ResourceUri>>,
    /// Claims added to every token of the client: one JSON object, such as '{"tier":"gold"}' (access_token_claims)
    #[arg(long, value_name = "JSON")]
    claims: Option<CustomClaims>,
    #[command(flatten)]
    access_token: AccessTokenArguments,
    #[command(flatten)]
    quota: QuotaArguments,
}

impl Settings {
    /// Refuses what each option allows and all together do not.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.jwks_uri.check()?;
        refuse_mixed(&self.grant_type)
    }

    /// Whether signatures are among what is to be set.
    pub(super) fn name_signature(&self) -> bool {
        self.access_token.name_signature()
    }

    /// Whether the place of secrets is.
    pub(super) fn name_secret_storage(&self) -> bool {
        self.secret_storage.is_some()
    }

    /// Sets what is named, but for the end of secrets, which depends on when it is set.
    pub(super) fn apply(&self, metadata: &mut ClientMetadata) {
        if let Some(name) = &self.name {
            metadata.client_name = Some(name.clone()).filter(|name| !name.is_empty());
        }
        if !self.owner.is_empty() {
            metadata.owners = named(&self.owner).into_iter().collect();
        }
        if !self.contact.is_empty() {
            metadata.contacts = if self.contact == [""] { Vec::new() } else { self.contact.clone() };
        }
        if let Some(scope) = union(&self.scope) {
            metadata.scope = scope;
        }
        if let Some(scope) = union(&self.default_scope) {
            metadata.default_scope = Some(scope).filter(|scope| !scope.is_empty());
        }
        if !self.redirect_uri.is_empty() {
            metadata.redirect_uris = named(&self.redirect_uri);
        }
        if !self.grant_type.is_empty() {
            metadata.grant_types = grant_types(&self.grant_type);
        }
        if self.token_lifetime.is_some() {
            metadata.access_token_lifetime = self.token_lifetime;
        }
        if !self.auth_method.is_empty() {
            metadata.token_endpoint_auth_methods = self.auth_method.iter().copied().collect();
        }
        metadata.client_secret_storage = self.secret_storage.or(metadata.client_secret_storage);
        self.keys.apply(metadata);
        self.jwks_uri.apply(metadata);
        self.trust.apply(metadata);
        apply(self.secret_rotation_days, &mut metadata.client_secret_rotation_days);
        if !self.resource.is_empty() {
            metadata.resources = named(&self.resource);
        }
        if let Some(claims) = &self.claims {
            metadata.access_token_claims = claims.clone();
        }
        self.access_token.apply(
            &mut metadata.access_token_format,
            &mut metadata.access_token_persistence,
            &mut metadata.access_token_signing_alg,
        );
        self.quota.apply(&mut metadata.token_quota, &mut metadata.token_quota_mode);
    }
}

/// The text is not a lifetime of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidSecretLifetime {
    #[error(transparent)]
    Malformed(#[from] MalformedDuration),
    #[error("a secret lives 100 years at most; 0 is for ever")]
    TooLong,
}

/// Parses `--secret-lifetime`.
pub(super) fn secret_lifetime(text: &str) -> Result<SecretLifetime, InvalidSecretLifetime> {
    let seconds = duration::seconds(text)?;
    if seconds > SecretLifetime::MAX {
        return Err(InvalidSecretLifetime::TooLong);
    }
    Ok(SecretLifetime::of_seconds(seconds))
}

/// The values of a list; an empty one is none.
fn named<T: Clone>(values: &[Setting<T>]) -> Vec<T> {
    values.iter().filter_map(|Setting(value)| value.clone()).collect()
}

fn owner(text: &str) -> Result<Setting<OwnerId>, MalformedOwnerId> {
    if text.is_empty() { Ok(Setting(None)) } else { text.parse().map(|id| Setting(Some(id))) }
}

fn redirect_uri(text: &str) -> Result<Setting<RedirectUri>, InvalidRedirectUri> {
    if text.is_empty() { Ok(Setting(None)) } else { text.parse().map(|uri| Setting(Some(uri))) }
}

fn resource(text: &str) -> Result<Setting<ResourceUri>, MalformedResource> {
    if text.is_empty() { Ok(Setting(None)) } else { text.parse().map(|uri| Setting(Some(uri))) }
}

fn secret_rotation_days(text: &str) -> Result<Setting<SecretRotationDays>, InvalidSecretRotationDays> {
    if matches!(text, "" | "0") {
        return Ok(Setting(None));
    }
    let days = duration::days(text).map_err(|_| InvalidSecretRotationDays)?;
    SecretRotationDays::new(days).map(|days| Setting(Some(days)))
}

fn auth_method() -> impl TypedValueParser<Value = AuthMethod> {
    PossibleValuesParser::new(AuthMethod::ALL.map(AuthMethod::as_str)).try_map(|name| {
        AuthMethod::ALL.into_iter().find(|method| method.as_str() == name).ok_or(InvalidRegistration::NoAuthMethod)
    })
}
