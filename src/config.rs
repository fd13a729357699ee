//! Settings of a process, read from the environment once and by name (docs/configuration.md has the table).

use std::collections::BTreeMap;
#[cfg(feature = "aws")]
use std::collections::HashMap;
use std::env::{self, VarError};
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::Value;

#[cfg(feature = "aws")]
use crate::aws::lambda::authorizer::{ResponseForm, routes::RouteScopes};
#[cfg(feature = "aws")]
use crate::aws::lambda::front::{Front, FrontKind, OriginSecret};
#[cfg(feature = "aws")]
use crate::aws::store::new_secrets::{KmsKeyArn, SecretTags};
use crate::core::access_token::settings::{InvalidTokenLifetime, TokenLifetime};
use crate::core::admin_log::LogRetention;
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

/// A setting is missing or malformed. Names the variable or the member, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The variable is not set.
    #[error("{0} is not set; the stack's ExportBlock output has it ready to paste")]
    Missing(&'static str),
    /// `GRANTWELL_PUBLIC_URL` is not set, where the gateway's own address is not the issuer's.
    #[cfg(feature = "aws")]
    #[error(
        "{0} is not set: the issuer of the tokens is the API's, which the address of this function is not; it is the stack's output BaseUrl"
    )]
    MissingIssuer(&'static str),
    /// Neither a variable nor its member of `GRANTWELL_SETTINGS` is set.
    #[cfg(feature = "aws")]
    #[error("{variable} is not set, and GRANTWELL_SETTINGS has no {member}")]
    MissingSetting {
        /// The variable.
        variable: &'static str,
        /// The member that stands for it.
        member: &'static str,
    },
    /// The value of a variable, or of a member of `GRANTWELL_SETTINGS`, cannot be read.
    #[error("{name} cannot be read: {problem}")]
    Malformed {
        /// The variable, or the member and the variable that it is in.
        name: String,
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
    /// Reads `GRANTWELL_PUBLIC_URL` and `GRANTWELL_METRICS`, and by their own variables or as members of `GRANTWELL_SETTINGS` the
    /// scope by default, the lifetime of access tokens (seconds), the days of a signing key, how many authentications may fail (0
    /// counts nothing) in how many seconds, and what is logged; all may be absent.
    ///
    /// # Errors
    /// [`ConfigError::Malformed`].
    pub fn from_env() -> Result<Self, ConfigError> {
        let settings = Settings::from_env()?;
        let failures = settings.parsed(&FAILED_AUTH_LIMIT, |text| from_range(text, 0..=10_000))?;
        let window = settings.parsed(&FAILED_AUTH_WINDOW, |text| from_range(text, 1..=86_400))?;
        let limits = AttemptLimits {
            failures: failures.unwrap_or(AttemptLimits::DEFAULT.failures),
            window_seconds: window.unwrap_or(AttemptLimits::DEFAULT.window_seconds),
        };
        Ok(Self {
            public_url: parsed("GRANTWELL_PUBLIC_URL", from_text)?,
            realm_defaults: settings.realm_defaults()?,
            signing_key_rotation_interval: settings.signing_key_rotation_interval()?,
            attempt_limits: Some(limits).filter(|limits| limits.failures > 0),
            log_level: settings.parsed(&LOG_LEVEL, from_text)?.unwrap_or_default(),
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

/// Reads a variable that stands for an option of the command; `None` where it is not set, or empty.
///
/// # Errors
/// [`ConfigError::Malformed`].
pub fn variable<T>(name: &'static str) -> Result<Option<T>, ConfigError>
where
    T: FromStr,
    T::Err: ToString,
{
    parsed(name, from_text)
}

/// Reads what a server with this environment says for realms that do not say it themselves.
///
/// # Errors
/// [`ConfigError::Malformed`].
pub fn realm_defaults() -> Result<RealmDefaults, ConfigError> {
    Settings::from_env()?.realm_defaults()
}

/// Reads how long a line of the admin log is kept (`GRANTWELL_ADMIN_LOG_RETENTION_DAYS`, or the member of `GRANTWELL_SETTINGS`).
///
/// # Errors
/// [`ConfigError::Malformed`].
pub fn admin_log_retention() -> Result<LogRetention, ConfigError> {
    Ok(Settings::from_env()?.parsed(&ADMIN_LOG_RETENTION_DAYS, from_text)?.unwrap_or_default())
}

/// Reads after how many seconds a server with this environment replaces a realm's signing keys.
///
/// # Errors
/// [`ConfigError::Malformed`].
pub fn signing_key_rotation_interval() -> Result<u64, ConfigError> {
    Settings::from_env()?.signing_key_rotation_interval()
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

/// Reads `GRANTWELL_KMS_KEY_ARN`, which may be absent.
///
/// # Errors
/// [`ConfigError::Malformed`].
#[cfg(feature = "aws")]
pub fn kms_key() -> Result<Option<KmsKeyArn>, ConfigError> {
    parsed("GRANTWELL_KMS_KEY_ARN", from_text)
}

/// Reads `GRANTWELL_SECRET_TAGS`, which may be absent.
///
/// # Errors
/// [`ConfigError::Malformed`].
#[cfg(feature = "aws")]
pub fn secret_tags() -> Result<SecretTags, ConfigError> {
    Ok(parsed("GRANTWELL_SECRET_TAGS", from_text)?.unwrap_or_default())
}

/// Reads `GRANTWELL_FRONT` (`none` where it is not set), and by their own variables or as members of `GRANTWELL_SETTINGS` the
/// digests of the secret that `CloudFront` sends and of the one before, which may be absent.
///
/// # Errors
/// [`ConfigError`]: [`ConfigError::MissingSetting`] for the digest of a secret that would have to be demanded.
#[cfg(feature = "aws")]
pub fn front() -> Result<Front, ConfigError> {
    match parsed("GRANTWELL_FRONT", from_text)?.unwrap_or_default() {
        FrontKind::None | FrontKind::CustomDomain => Ok(Front::Gateway),
        FrontKind::CloudFront => {
            let settings = Settings::from_env()?;
            let current = settings.parsed(&ORIGIN_SECRET, from_text)?.ok_or(ConfigError::MissingSetting {
                variable: ORIGIN_SECRET.variable,
                member: ORIGIN_SECRET.member,
            })?;
            let previous = settings.parsed(&ORIGIN_SECRET_PREVIOUS, from_text)?;
            Ok(Front::CloudFront(OriginSecret::new(current, previous)))
        }
    }
}

/// Reads the function's name, which Lambda sets.
#[cfg(feature = "aws")]
pub fn function_name() -> String {
    optional("AWS_LAMBDA_FUNCTION_NAME").ok().flatten().unwrap_or_else(|| "unnamed".to_owned())
}

/// What the AWS SDK reads of the environment: all of it but what is empty.
///
/// `sam local` hands on each variable that a template declares, with an empty text where the caller's shell has none. The SDK would take
/// it for the value: an endpoint without an address, a profile without a name.
#[cfg(feature = "aws")]
pub fn environment_of_the_sdk() -> HashMap<String, String> {
    let variables =
        env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    variables.filter(|(_, value)| !value.is_empty()).collect()
}

/// From whom sudo says that it has taken a command (`SUDO_USER`): the caller's word.
#[cfg(feature = "embedded")]
#[expect(clippy::disallowed_methods, reason = "the room that reads the environment")]
pub fn sudo_user() -> Option<std::ffi::OsString> {
    env::var_os("SUDO_USER")
}

/// What `GRANTWELL_SETTINGS` says, as texts by the members' names.
#[derive(Debug, Default)]
struct Settings(BTreeMap<&'static str, String>);

/// A setting that has a variable of its own, and is a member of `GRANTWELL_SETTINGS`.
struct Setting {
    variable: &'static str,
    member: &'static str,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Number,
    Text,
}

impl Settings {
    fn from_env() -> Result<Self, ConfigError> {
        optional(SETTINGS_VARIABLE)?.map_or_else(|| Ok(Self::default()), |text| text.parse())
    }

    fn realm_defaults(&self) -> Result<RealmDefaults, ConfigError> {
        let lifetime = self.parsed(&ACCESS_TOKEN_LIFETIME, |text| {
            let lifetime = text.parse().map_err(|_| InvalidTokenLifetime).and_then(TokenLifetime::new);
            lifetime.map_err(|error| error.to_string())
        })?;
        Ok(RealmDefaults {
            root_default_scope: self.parsed(&DEFAULT_SCOPE, from_text)?,
            access_token_lifetime: lifetime.unwrap_or(TokenLifetime::DEFAULT),
        })
    }

    fn signing_key_rotation_interval(&self) -> Result<u64, ConfigError> {
        Ok(self.parsed(&SIGNING_KEY_ROTATION_DAYS, rotation_days)?.unwrap_or(30) * DAY)
    }

    /// A variable of its own wins over the member.
    fn parsed<T>(
        &self,
        setting: &Setting,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let own = parsed(setting.variable, &parse)?;
        let Some(text) = self.0.get(setting.member).filter(|_| own.is_none()) else { return Ok(own) };
        parse(text).map(Some).map_err(|problem| setting.malformed(problem))
    }
}

impl FromStr for Settings {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // serde_json's own words may quote a value.
        let Ok(Value::Object(members)) = serde_json::from_str(text) else {
            return Err(malformed(SETTINGS_VARIABLE, "it is not a JSON object".to_owned()));
        };
        let mut settings = Self::default();
        for (name, value) in members {
            let Some(setting) = ALL.iter().find(|setting| setting.member == name) else {
                let known: Vec<_> = ALL.iter().map(|setting| setting.member).collect();
                let problem = format!("{name:?} is not a setting; the settings are {}", known.join(", "));
                return Err(malformed(SETTINGS_VARIABLE, problem));
            };
            let text = setting.text(value)?;
            // As a variable: what is left empty is absent.
            if !text.is_empty() {
                settings.0.insert(setting.member, text);
            }
        }
        Ok(settings)
    }
}

impl Setting {
    fn text(&self, value: Value) -> Result<String, ConfigError> {
        match (self.form, value) {
            (Form::Number, Value::Number(number)) => Ok(number.to_string()),
            (Form::Text, Value::String(text)) => Ok(text),
            (Form::Number, _) => Err(self.malformed("it is a number".to_owned())),
            (Form::Text, _) => Err(self.malformed("it is a text in quotes".to_owned())),
        }
    }

    fn malformed(&self, problem: String) -> ConfigError {
        malformed(&format!("{} in {SETTINGS_VARIABLE}", self.member), problem)
    }
}

fn malformed(name: &str, problem: String) -> ConfigError {
    ConfigError::Malformed { name: name.to_owned(), problem }
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
    optional(name)?.map(|text| parse(&text).map_err(|problem| malformed(name, problem))).transpose()
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
    optional(name)?.ok_or(ConfigError::Missing(name))
}

/// A template cannot leave a variable out, only empty: empty is absent.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn optional(name: &'static str) -> Result<Option<String>, ConfigError> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(malformed(name, "it is not UTF-8".to_owned())),
    }
}

const DAY: u64 = 24 * 60 * 60;
const SETTINGS_VARIABLE: &str = "GRANTWELL_SETTINGS";

const ACCESS_TOKEN_LIFETIME: Setting =
    Setting { variable: "GRANTWELL_ACCESS_TOKEN_LIFETIME", member: "access_token_lifetime", form: Form::Number };
const DEFAULT_SCOPE: Setting =
    Setting { variable: "GRANTWELL_DEFAULT_SCOPE", member: "default_scope", form: Form::Text };
const SIGNING_KEY_ROTATION_DAYS: Setting = Setting {
    variable: "GRANTWELL_SIGNING_KEY_ROTATION_DAYS",
    member: "signing_key_rotation_days",
    form: Form::Number,
};
const FAILED_AUTH_LIMIT: Setting =
    Setting { variable: "GRANTWELL_FAILED_AUTH_LIMIT", member: "failed_auth_limit", form: Form::Number };
const FAILED_AUTH_WINDOW: Setting =
    Setting { variable: "GRANTWELL_FAILED_AUTH_WINDOW", member: "failed_auth_window", form: Form::Number };
const ADMIN_LOG_RETENTION_DAYS: Setting =
    Setting { variable: "GRANTWELL_ADMIN_LOG_RETENTION_DAYS", member: "admin_log_retention_days", form: Form::Number };
const LOG_LEVEL: Setting = Setting { variable: "GRANTWELL_LOG_LEVEL", member: "log_level", form: Form::Text };
const ORIGIN_SECRET: Setting =
    Setting { variable: "GRANTWELL_ORIGIN_SECRET_SHA256", member: "origin_secret_sha256", form: Form::Text };
const ORIGIN_SECRET_PREVIOUS: Setting = Setting {
    variable: "GRANTWELL_ORIGIN_SECRET_PREVIOUS_SHA256",
    member: "origin_secret_previous_sha256",
    form: Form::Text,
};
const ALL: [Setting; 9] = [
    ACCESS_TOKEN_LIFETIME,
    DEFAULT_SCOPE,
    SIGNING_KEY_ROTATION_DAYS,
    FAILED_AUTH_LIMIT,
    FAILED_AUTH_WINDOW,
    ADMIN_LOG_RETENTION_DAYS,
    LOG_LEVEL,
    ORIGIN_SECRET,
    ORIGIN_SECRET_PREVIOUS,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        text.parse::<Settings>().unwrap_err().to_string()
    }

    #[test]
    fn a_member_is_read_as_its_variable_would_be() {
        let settings: Settings =
            r#"{"failed_auth_window":60,"default_scope":"read write","log_level":""}"#.parse().unwrap();
        let window = settings.parsed(&FAILED_AUTH_WINDOW, |text| from_range(text, 1..=86_400)).unwrap();
        assert_eq!(window, Some(60));
        assert_eq!(settings.parsed(&DEFAULT_SCOPE, |text| Ok(text.to_owned())).unwrap().unwrap(), "read write");
        assert_eq!(settings.parsed(&LOG_LEVEL, |text| Ok(text.to_owned())).unwrap(), None, "an empty text is absent");
        assert_eq!(settings.parsed(&FAILED_AUTH_LIMIT, |text| from_range(text, 0..=10_000)).unwrap(), None::<u32>);
    }

    #[test]
    fn what_is_not_a_setting_is_named_and_its_value_is_not() {
        let known = "access_token_lifetime, default_scope, signing_key_rotation_days, failed_auth_limit, failed_auth_window, \
                     admin_log_retention_days, log_level, origin_secret_sha256, origin_secret_previous_sha256";
        assert_eq!(
            refusal(r#"{"log_level":"info","AccessTokenLifetime":"canary"}"#),
            format!(
                "GRANTWELL_SETTINGS cannot be read: \"AccessTokenLifetime\" is not a setting; the settings are {known}"
            )
        );
        for text in ["canary", "[]", "7", "null", "\"canary\"", "{\"log_level\":\"canary\""] {
            assert_eq!(refusal(text), "GRANTWELL_SETTINGS cannot be read: it is not a JSON object", "{text}");
        }
    }

    #[test]
    fn a_member_of_another_form_and_one_out_of_range_are_named_and_their_values_are_not() {
        for text in [r#"{"access_token_lifetime":"canary"}"#, r#"{"access_token_lifetime":null}"#] {
            let said = refusal(text);
            assert_eq!(said, "access_token_lifetime in GRANTWELL_SETTINGS cannot be read: it is a number");
        }
        for text in [r#"{"log_level":7}"#, r#"{"log_level":["canary"]}"#, r#"{"log_level":true}"#] {
            let said = refusal(text);
            assert_eq!(said, "log_level in GRANTWELL_SETTINGS cannot be read: it is a text in quotes");
        }
        for text in [r#"{"failed_auth_limit":10001}"#, r#"{"failed_auth_limit":-1}"#, r#"{"failed_auth_limit":1.5}"#] {
            let settings: Settings = text.parse().unwrap();
            let refused = settings.parsed(&FAILED_AUTH_LIMIT, |text| from_range(text, 0..=10_000)).unwrap_err();
            assert_eq!(
                refused.to_string(),
                "failed_auth_limit in GRANTWELL_SETTINGS cannot be read: it is a number from 0 to 10000"
            );
        }
    }
}
