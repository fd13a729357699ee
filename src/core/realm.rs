//! Realms: tenants with their own clients and provider settings, and the issuer that names one to the world.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use url::{Host, Url};

use super::access_token::settings::{AccessTokenFormat, AccessTokenPersistence, TokenLifetime};
use super::client::grant_type::GrantType;
use super::client::secret_storage::SecretStorage;
use super::conversions::{number_conversions, text_conversions};
use super::declaration::ManagedBy;
use super::keys::SigningAlgorithm;
use super::members::Members;
use super::quota::{QuotaMode, QuotaSetting};
use super::scope::Scope;
use super::time::UnixSeconds;
use super::trust::issuer::{IssuerName, IssuerUrl, TrustedIssuer};

/// A realm's name: 1 to 64 characters of `[A-Za-z0-9_-]`, case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RealmName(String);

/// The text is no realm name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a realm name has 1 to 64 characters of A-Z, a-z, 0-9, _ and -")]
pub struct MalformedRealmName;

/// Provider settings of a realm. What is not set falls back to the server's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealmSettings {
    /// Granted where a request names no scope and the client has no default of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scope: Option<Scope>,
    /// The only scopes that clients of this realm can be granted; absent means whatever each client registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_scope: Option<Scope>,
    /// Seconds an access token lives where the client sets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_lifetime: Option<TokenLifetime>,
    /// The only grant types that clients of this realm can use; absent means whatever each client registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_types: Option<BTreeSet<GrantType>>,
    /// The form of access tokens where the client sets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_format: Option<AccessTokenFormat>,
    /// What is kept of JWTs where the client does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_persistence: Option<AccessTokenPersistence>,
    /// What JWTs are signed with where the client does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_signing_alg: Option<SigningAlgorithm>,
    /// How many tokens each client may be issued where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_quota: Option<QuotaSetting>,
    /// What becomes of requests beyond a quota where the client does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_quota_mode: Option<QuotaMode>,
    /// What the assertions of clients have to be for; strict where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion_audience: Option<AssertionAudience>,
    /// How long they may be valid; 300 seconds where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion_max_lifetime: Option<AssertionLifetime>,
    /// Where a deployed stack keeps the secrets of clients that are registered from now on, where they do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_storage: Option<SecretStorage>,
    /// Since when it is recorded on which day each client was last used. Absent: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_use_recorded_since: Option<UnixSeconds>,
    /// Issuers whose tokens rules of its clients may name, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_issuers: Vec<TrustedIssuer>,
    /// Tokens of this realm issued before this time are inactive. A record that has lost it cannot be read: 0 would bring them back.
    pub tokens_valid_after: UnixSeconds,
    /// Until when tokens may live that were issued while the lifetime was longer. Absent: it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longer_tokens_until: Option<UnixSeconds>,
}

/// What an assertion by which a client authenticates has to be for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssertionAudience {
    /// The issuer, as rfc7523bis says.
    #[default]
    Strict,
    /// The issuer, or the URL of the token endpoint, as RFC 7523 has it and some libraries still do.
    Compatible,
}

/// The most seconds that an assertion is valid for: 1 to [`AssertionLifetime::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct AssertionLifetime(u64);

/// The seconds are out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an assertion is valid for at most 1 to {max} seconds", max = AssertionLifetime::MAX)]
pub struct InvalidAssertionLifetime;

/// A realm: its name, its settings, and the revision that a change must name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Realm {
    /// The name in the endpoint's path.
    pub name: RealmName,
    /// Provider settings.
    #[serde(flatten)]
    pub settings: RealmSettings,
    /// The file that declares it, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<ManagedBy>,
    /// Counts the changes; a write that names an older one is refused, so that two operators cannot undo each other.
    #[serde(default)]
    pub revision: u64,
}

/// The base URL under which the world reaches this server: scheme, host and an optional path prefix, without a slash at
/// the end. Comes from configuration or from the gateway's own word, never from the Host header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(Arc<str>);

/// The text is no usable public URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a public URL is http(s)://HOST[:PORT][/PATH], without credentials, query or fragment")]
pub struct MalformedPublicUrl;

/// An issuer identifier (RFC 8414 §2): the public URL followed by the realm's path, as the caller used it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Issuer(String);

impl RealmName {
    /// The name of the realm that always exists.
    pub const ROOT: &str = "root";

    /// The realm that always exists.
    pub fn root() -> Self {
        Self(Self::ROOT.to_owned())
    }

    /// Whether this is the root realm.
    pub fn is_root(&self) -> bool {
        self.0 == Self::ROOT
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path form that introspection answers carry: `/` for root, `/alpha` for its child alpha.
    pub fn path(&self) -> String {
        if self.is_root() { "/".to_owned() } else { format!("/{}", self.0) }
    }

    /// The realm that a path form names.
    pub fn from_path(path: &str) -> Option<Self> {
        match path.strip_prefix('/')? {
            "" => Some(Self::root()),
            name => name.parse().ok().filter(|realm: &Self| !realm.is_root()),
        }
    }
}

impl FromStr for RealmName {
    type Err = MalformedRealmName;

    fn from_str(text: &str) -> Result<Self, MalformedRealmName> {
        let well_formed = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(MalformedRealmName) }
    }
}

text_conversions!(RealmName);

impl Realm {
    /// The most issuers that a realm trusts.
    pub const MAX_ISSUERS: usize = 50;
    /// The most bytes that they have in its record, which is read for many a request.
    pub const MAX_ISSUERS_BYTES: usize = 64 * 1024;

    /// A realm that sets nothing itself.
    pub fn new(name: RealmName) -> Self {
        Self { name, settings: RealmSettings::default(), managed_by: None, revision: 0 }
    }

    /// The issuer that it trusts under exactly this identifier.
    pub fn trusted_issuer(&self, issuer: &IssuerUrl) -> Option<&TrustedIssuer> {
        self.settings.trusted_issuers.iter().find(|trusted| trusted.issuer == *issuer)
    }

    /// The issuer that its operators call so.
    pub fn trusted_issuer_named(&self, name: &IssuerName) -> Option<&TrustedIssuer> {
        self.settings.trusted_issuers.iter().find(|trusted| trusted.name == *name)
    }

    /// The realm as it is shown, under the members' own names. Null is what the realm leaves to the server, or to each client.
    pub fn information(&self) -> Members {
        let settings = Members::of(&self.settings).into_iter().filter(|(name, _)| *name != "longer_tokens_until");
        [("realm", json!(self.name))].into_iter().chain(settings).collect()
    }
}

impl AssertionAudience {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Strict, Self::Compatible];

    /// Its name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Compatible => "compatible",
        }
    }
}

impl fmt::Display for AssertionAudience {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl AssertionLifetime {
    /// An hour, which Authlib makes its assertions valid for.
    pub const MAX: u64 = 3600;

    /// A lifetime of `seconds`.
    ///
    /// # Errors
    /// [`InvalidAssertionLifetime`] outside 1 to [`Self::MAX`].
    pub fn new(seconds: u64) -> Result<Self, InvalidAssertionLifetime> {
        if (1..=Self::MAX).contains(&seconds) { Ok(Self(seconds)) } else { Err(InvalidAssertionLifetime) }
    }

    /// The seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }
}

impl Default for AssertionLifetime {
    /// Five minutes.
    fn default() -> Self {
        Self(300)
    }
}

number_conversions!(AssertionLifetime: InvalidAssertionLifetime);

impl PublicUrl {
    /// The issuer of the realm under `base_path`, such as `/am/oauth2/realms/root/realms/alpha`.
    pub fn issuer(&self, base_path: &str) -> Issuer {
        Issuer(format!("{}{base_path}", self.0))
    }

    /// The URL without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PublicUrl {
    type Err = MalformedPublicUrl;

    fn from_str(text: &str) -> Result<Self, MalformedPublicUrl> {
        let url = Url::parse(text).map_err(|_| MalformedPublicUrl)?;
        let usable = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if usable { Ok(Self(url.as_str().trim_end_matches('/').into())) } else { Err(MalformedPublicUrl) }
    }
}

impl PublicUrl {
    /// Whether its host is this machine and nothing else.
    pub fn is_loopback(&self) -> bool {
        match Url::parse(&self.0).ok().as_ref().and_then(Url::host) {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }
}

impl Issuer {
    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_not_cleaned() {
        assert!("alpha".parse::<RealmName>().is_ok());
        for text in ["", "a b", "a/b", "é", "..", "%61", &"a".repeat(65)] {
            assert_eq!(text.parse::<RealmName>(), Err(MalformedRealmName), "{text:?}");
        }
    }

    #[test]
    fn the_issuer_is_the_public_url_and_the_path() {
        let public: PublicUrl = "https://auth.example.com/".parse().expect("a URL");
        assert_eq!(public.issuer("/oauth2").as_str(), "https://auth.example.com/oauth2");
    }

    #[test]
    fn a_public_url_has_no_credentials_query_or_fragment() {
        for text in ["auth.example.com", "ftp://a", "https://u:p@a", "https://a/?q", "https://a/#f", "https://"] {
            assert_eq!(text.parse::<PublicUrl>(), Err(MalformedPublicUrl), "{text}");
        }
    }
}
