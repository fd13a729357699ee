//! Where public keys of others are fetched, and how they are found there.

use crate::core::keys::jwk_set::{JwkSet, RefusedJwks};
use crate::core::keys::remote::{CaCertificates, JwksUri};
use crate::core::trust::issuer::{IssuerKeys, IssuerUrl, TrustedIssuer};

/// Where keys are fetched. Never an address that a caller or a token names, but for the issuers of AWS STS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAddress<'a> {
    /// A JWK Set.
    JwksUri(&'a JwksUri),
    /// The bundle of a trust domain of SPIFFE.
    SpiffeBundle(&'a JwksUri),
    /// The JWK Set that the metadata document of an issuer names. Whoever runs the issuer says on which host that is.
    Discovery {
        /// The issuer.
        issuer: &'a IssuerUrl,
        /// Whether both documents may be on a private network.
        allow_private_network: bool,
        /// The authorities that the certificates of both servers are checked by.
        ca: Option<&'a CaCertificates>,
    },
}

impl<'a> KeyAddress<'a> {
    /// Where the keys of an issuer are fetched; `None` where they are in its record.
    pub fn of_issuer(trusted: &'a TrustedIssuer) -> Option<Self> {
        let issuer = &trusted.issuer;
        match &trusted.keys {
            IssuerKeys::Jwks(_) => None,
            IssuerKeys::JwksUri(address) if issuer.is_spiffe() => Some(Self::SpiffeBundle(address)),
            IssuerKeys::JwksUri(address) => Some(Self::JwksUri(address)),
            IssuerKeys::Discovery { allow_private_network, ca } => {
                Some(Self::Discovery { issuer, allow_private_network: *allow_private_network, ca: ca.as_ref() })
            }
            IssuerKeys::Unregistered { .. } => Some(Self::Discovery { issuer, allow_private_network: false, ca: None }),
        }
    }

    /// What names the place: the address of the keys, or the issuer.
    pub fn url(self) -> &'a str {
        match self {
            Self::JwksUri(address) | Self::SpiffeBundle(address) => address.uri.as_str(),
            Self::Discovery { issuer, .. } => issuer.as_str(),
        }
    }

    /// The host alone: what follows it may be a secret of whoever runs it.
    pub fn host(self) -> &'a str {
        let after_scheme = self.url().split_once("://").map_or("", |(_scheme, rest)| rest);
        after_scheme.split(['/', '?']).next().unwrap_or_default()
    }

    /// Reads what was fetched there.
    ///
    /// # Errors
    /// [`RefusedJwks`].
    pub fn read(self, text: &str) -> Result<JwkSet, RefusedJwks> {
        match self {
            Self::SpiffeBundle(_) => JwkSet::parse_spiffe_bundle(text.as_bytes()),
            Self::JwksUri(_) | Self::Discovery { .. } => JwkSet::parse_fetched(text.as_bytes()),
        }
    }

    /// Whether it may be on a private network.
    pub fn allow_private_network(self) -> bool {
        match self {
            Self::JwksUri(address) | Self::SpiffeBundle(address) => address.allow_private_network,
            Self::Discovery { allow_private_network, .. } => allow_private_network,
        }
    }

    /// The authorities that certificates are checked by; those that everybody trusts where absent.
    pub fn ca(self) -> Option<&'a CaCertificates> {
        match self {
            Self::JwksUri(address) | Self::SpiffeBundle(address) => address.ca.as_ref(),
            Self::Discovery { ca, .. } => ca,
        }
    }
}

impl<'a> From<&'a JwksUri> for KeyAddress<'a> {
    fn from(address: &'a JwksUri) -> Self {
        Self::JwksUri(address)
    }
}
