//! Issuers whose tokens a realm trusts: an operator's to set.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::core::conversions::text_conversions;
use crate::core::keys::jwk_set::JwkSet;
use crate::core::keys::jws_algorithm::JwsAlgorithm;
use crate::core::keys::remote::{CaCertificates, JwksUri};

/// An issuer that a realm trusts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedIssuer {
    /// What operators call it.
    pub name: IssuerName,
    /// What its tokens say in `iss`; for SPIFFE the trust domain, `spiffe://example.org`.
    pub issuer: IssuerUrl,
    /// What is known of its tokens.
    #[serde(default)]
    pub kind: IssuerKind,
    /// Where its keys are.
    pub keys: IssuerKeys,
    /// What its tokens may be signed with; as each key allows where there are none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub algs: BTreeSet<JwsAlgorithm>,
    /// How many seconds may have passed since a token was made; until its `exp` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
    /// Whether each token is good once.
    #[serde(default)]
    pub single_use: bool,
}

/// What is known of an issuer's tokens: what a rule has to pin, and how they are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssuerKind {
    /// AWS STS (outbound identity federation).
    Aws,
    /// GitHub Actions.
    Github,
    /// GitLab CI/CD.
    Gitlab,
    /// A cluster of Amazon EKS.
    Eks,
    /// A cluster of Kubernetes.
    Kubernetes,
    /// A trust domain of SPIFFE.
    Spiffe,
    /// Any other issuer of OpenID Connect.
    #[default]
    Oidc,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssuerKeys {
    /// In the record: nothing is fetched.
    Jwks(JwkSet),
    /// At an address.
    JwksUri(JwksUri),
    /// Where its metadata document says (OpenID Connect Discovery 1.0 §4).
    Discovery {
        /// Whether it may be an address of a private network.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        allow_private_network: bool,
        /// The authorities that its certificate is checked by; those that everybody trusts where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca: Option<CaCertificates>,
    },
}

/// An issuer's name in a realm: 1 to 64 characters of `[A-Za-z0-9_.-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IssuerName(String);

/// An issuer identifier of somebody else, as it was written, and compared character by character (RFC 7519 §4.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IssuerUrl(String);

/// The text is not a name of an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an issuer's name has 1 to 64 characters of A-Z, a-z, 0-9, _, . and -")]
pub struct MalformedIssuerName;

/// The text is not an issuer identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an issuer is an https URL of at most 2048 characters without a user name, a password, a query or a fragment, such as \
     https://token.actions.githubusercontent.com, or the trust domain of SPIFFE, such as spiffe://example.org"
)]
pub struct MalformedIssuerUrl;

impl IssuerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl IssuerUrl {
    /// The identifier as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IssuerName {
    type Err = MalformedIssuerName;

    fn from_str(text: &str) -> Result<Self, MalformedIssuerName> {
        let well_formed = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(MalformedIssuerName) }
    }
}

impl FromStr for IssuerUrl {
    type Err = MalformedIssuerUrl;

    fn from_str(text: &str) -> Result<Self, MalformedIssuerUrl> {
        // What the URL standard would silently leave out or change is refused: what is shown is what is compared.
        if text.len() > 2048 || text.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'\\' | b'?' | b'#'))
        {
            return Err(MalformedIssuerUrl);
        }
        let authority = text.split_once("://").and_then(|(scheme, rest)| match scheme {
            "https" => rest.split('/').next(),
            "spiffe" => (!rest.contains('/')).then_some(rest),
            _ => None,
        });
        let fit = authority.is_some_and(|authority| !authority.is_empty() && !authority.contains('@'))
            && Url::parse(text).is_ok();
        if fit { Ok(Self(text.to_owned())) } else { Err(MalformedIssuerUrl) }
    }
}

text_conversions!(IssuerName, IssuerUrl);

impl fmt::Display for IssuerKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Aws => "aws",
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Eks => "eks",
            Self::Kubernetes => "kubernetes",
            Self::Spiffe => "spiffe",
            Self::Oidc => "oidc",
        })
    }
}
