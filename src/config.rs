//! Settings of a process, read from the environment once and by name (docs/configuration.md has the table).

use std::env;
use std::ops::RangeInclusive;

#[cfg(feature = "aws")]
use crate::aws::lambda::authorizer::{ResponseForm, routes::RouteScopes};
#[cfg(feature = "aws")]
use crate::aws::lambda::front::{Front, FrontKind, OriginSecret};
use crate::core::access_token::settings::{InvalidTokenLifetime, TokenLifetime};
use crate::core::client_auth::attempts::AttemptLimits;
use crate::core::realm::PublicUrl;
#[cfg(feature = "aws")]
use crate::core::realm::RealmName;
use crate::core::realms::RealmDefaults;
#[cfg(feature = "aws")]
use crate::core::resource::ResourceUri;
use crate::observe::log::LogLevel;
use crate::observe::metrics::MetricsFormat;

/// Where the registry is: what `--store aws` and every function need.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// The DynamoDB table of realms and registrations.
    pub registry_table: String,
    /// The first part of every secret's name.
    pub secret_prefix: String,
}

/// What every process that answers requests may be told.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Under which URL the world reaches this server, where that is not what the gateway says.
    pub public_url: Option<PublicUrl>,
    /// Settings of realms that do not say themselves.
    pub realm_defaults: RealmDefaults,
    /// Seconds for which a key signs before the next takes its place.
    pub signing_key_rotation_interval: u64,
    /// How many failed authentications are let happen; `None` where they are not counted.
    pub attempt_limits: Option<AttemptLimits>,
    /// How much is logged.
    pub log_level: LogLevel,
    /// Whether functions write metrics.
    pub metrics: MetricsFormat,
}

/// What the authorizer has to be told.
#[cfg(feature = "aws")]
#[derive(Clone, Debug)]
pub struct AuthorizerConfig {
    /// The realm whose tokens are accepted.
    pub realm: RealmName,
    /// The base of the issuers whose tokens are accepted.
    pub public_url: PublicUrl,
    /// Names of the protected APIs, one of which a token must be for. Empty: the token must be for its issuer.
    pub audiences: Vec<String>,
    /// What each route asks of a token.
    pub scopes: RouteScopes,
    /// What HTTP APIs expect for an answer.
    pub response: ResponseForm,
}

/// A setting is missing or malformed. Names the variable, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The variable is not set.
    #[error("{0} is not set; the stack's ExportBlock output has it ready to paste")]
    Missing(&'static str),
    /// The variable's value cannot be read.
    #[error("{name} cannot be read: {problem}")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// What it should be.
        problem: String,
    },
}

impl RegistryConfig {
    /// Reads `GRANTWELL_REGISTRY_TABLE` and `GRANTWELL_SECRET_PREFIX`.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self { registry_table: registry_table()?, secret_prefix: required("GRANTWELL_SECRET_PREFIX")? })
    }
}

impl ServerConfig {
    /// Reads `GRANTWELL_PUBLIC_URL`, `GRANTWELL_DEFAULT_SCOPE`, `GRANTWELL_ACCESS_TOKEN_LIFETIME` (seconds),
    /// `GRANTWELL_SIGNING_KEY_ROTATION_DAYS`, `GRANTWELL_FAILED_AUTH_LIMIT` (0 counts nothing), `GRANTWELL_FAILED_AUTH_WINDOW`
    /// (seconds), `GRANTWELL_LOG_LEVEL` and `GRANTWELL_METRICS`; all may be absent.
    ///
    /// # Errors
    /// [`ConfigError::Malformed`].
    pub fn from_env() -> Result<Self, ConfigError> {
        let lifetime = parsed("GRANTWELL_ACCESS_TOKEN_LIFETIME", |text| {
            let lifetime = text.parse().map_err(|_| InvalidTokenLifetime).and_then(TokenLifetime::new);
            lifetime.map_err(|error| error.to_string())
        })?;
        let failures = parsed("GRANTWELL_FAILED_AUTH_LIMIT", |text| from_range(text, 0..=10_000))?;
        let window = parsed("GRANTWELL_FAILED_AUTH_WINDOW", |text| from_range(text, 1..=86_400))?;
        let limits = AttemptLimits {
            failures: failures.unwrap_or(AttemptLimits::DEFAULT.failures),
            window_seconds: window.unwrap_or(AttemptLimits::DEFAULT.window_seconds),
        };
        Ok(Self {
            public_url: parsed("GRANTWELL_PUBLIC_URL", from_text)?,
            realm_defaults: RealmDefaults {
                root_default_scope: parsed("GRANTWELL_DEFAULT_SCOPE", from_text)?,
                access_token_lifetime: lifetime.unwrap_or(TokenLifetime::DEFAULT),
            },
            signing_key_rotation_interval: parsed("GRANTWELL_SIGNING_KEY_ROTATION_DAYS", rotation_days)?.unwrap_or(30)
                * DAY,
            attempt_limits: Some(limits).filter(|limits| limits.failures > 0),
            log_level: parsed("GRANTWELL_LOG_LEVEL", from_text)?.unwrap_or_default(),
            metrics: parsed("GRANTWELL_METRICS", from_text)?.unwrap_or_default(),
        })
    }
}

#[cfg(feature = "aws")]
impl AuthorizerConfig {
    /// Reads `GRANTWELL_AUTHORIZER_REALM`, `GRANTWELL_AUTHORIZER_SCOPES` and `GRANTWELL_PUBLIC_URL`, and
    /// `GRANTWELL_AUTHORIZER_AUDIENCE` (divided by spaces) and `GRANTWELL_AUTHORIZER_RESPONSE`, which may be absent.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn from_env() -> Result<Self, ConfigError> {
        let audiences = parsed("GRANTWELL_AUTHORIZER_AUDIENCE", |text| {
            let named = text.split(' ').map(|name| from_text::<ResourceUri>(name).map(String::from));
            named.collect()
        })?;
        Ok(Self {
            realm: required_as("GRANTWELL_AUTHORIZER_REALM")?,
            public_url: required_as("GRANTWELL_PUBLIC_URL")?,
            audiences: audiences.unwrap_or_default(),
            scopes: required_as("GRANTWELL_AUTHORIZER_SCOPES")?,
            response: parsed("GRANTWELL_AUTHORIZER_RESPONSE", from_text)?.unwrap_or_default(),
        })
    }
}

/// Reads `GRANTWELL_REGISTRY_TABLE`.
///
/// # Errors
/// [`ConfigError::Missing`].
pub fn registry_table() -> Result<String, ConfigError> {
    required("GRANTWELL_REGISTRY_TABLE")
}

/// Reads `GRANTWELL_TOKEN_TABLE`.
///
/// # Errors
/// [`ConfigError::Missing`].
pub fn token_table() -> Result<String, ConfigError> {
    required("GRANTWELL_TOKEN_TABLE")
}

/// Reads `GRANTWELL_FRONT` (`none` where it is not set), `GRANTWELL_ORIGIN_SECRET_SHA256` and
/// `GRANTWELL_ORIGIN_SECRET_PREVIOUS_SHA256`, which may be absent.
///
/// # Errors
/// [`ConfigError`]: [`ConfigError::Missing`] for the digest of a secret that would have to be demanded.
#[cfg(feature = "aws")]
pub fn front() -> Result<Front, ConfigError> {
    match parsed("GRANTWELL_FRONT", from_text)?.unwrap_or_default() {
        FrontKind::None | FrontKind::CustomDomain => Ok(Front::Gateway),
        FrontKind::CloudFront => {
            let current = required_as("GRANTWELL_ORIGIN_SECRET_SHA256")?;
            let previous = parsed("GRANTWELL_ORIGIN_SECRET_PREVIOUS_SHA256", from_text)?;
            Ok(Front::CloudFront(OriginSecret::new(current, previous)))
        }
    }
}

/// Reads the function's name, which Lambda sets.
#[cfg(feature = "aws")]
pub fn function_name() -> String {
    optional("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| "unnamed".to_owned())
}

fn rotation_days(text: &str) -> Result<u64, String> {
    let days = text.parse().ok().filter(|days| (1..=365).contains(days));
    days.ok_or_else(|| "it is a number of days from 1 to 365".to_owned())
}

fn from_range<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("it is a number from {} to {}", range.start(), range.end()))
}

fn from_text<T>(text: &str) -> Result<T, String>
where
    T: std::str::FromStr,
    T::Err: ToString,
{
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn parsed<T>(name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, ConfigError> {
    optional(name).map(|text| parse(&text).map_err(|problem| ConfigError::Malformed { name, problem })).transpose()
}

#[cfg(feature = "aws")]
fn required_as<T>(name: &'static str) -> Result<T, ConfigError>
where
    T: std::str::FromStr,
    T::Err: ToString,
{
    parsed(name, from_text)?.ok_or(ConfigError::Missing(name))
}

fn required(name: &'static str) -> Result<String, ConfigError> {
    optional(name).ok_or(ConfigError::Missing(name))
}

/// A template cannot leave a variable out, only empty: empty is absent.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn optional(name: &'static str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

const DAY: u64 = 24 * 60 * 60;
