//! Where the public keys of others are fetched: an address that an operator has set, and how it may be reached. Never an address
//! that a caller or a token names.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::core::conversions::text_conversions;

/// Where a JWK Set is fetched, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JwksUri {
    /// The address (RFC 7591 §2, `jwks_uri`).
    pub uri: JwksUrl,
    /// Whether it may be an address of a private network: then only the link-local and the other special ones are refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_private_network: bool,
    /// The authorities that its certificate is checked by; those that everybody trusts where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaCertificates>,
}

/// An https URL without credentials and without a fragment, of at most 2048 characters, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JwksUrl(String);

/// The certificates of private authorities, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CaCertificates(String);

/// The text is no address to fetch keys from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "keys are fetched from an https URL of at most 2048 characters, without a user name, a password or a fragment, such as \
     https://app.example.com/jwks.json"
)]
pub struct InvalidJwksUrl;

/// The text has no certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give the certificates of the authority in PEM (-----BEGIN CERTIFICATE-----), at most {max} bytes, and nothing private", max = CaCertificates::MAX_BYTES)]
pub struct InvalidCaCertificates;

impl JwksUri {
    /// An address that everybody can reach.
    pub fn public(uri: JwksUrl) -> Self {
        Self { uri, allow_private_network: false, ca: None }
    }
}

impl JwksUrl {
    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JwksUrl {
    type Err = InvalidJwksUrl;

    fn from_str(text: &str) -> Result<Self, InvalidJwksUrl> {
        // What the URL standard would silently leave out or change is refused instead: what is shown is what is fetched.
        if text.len() > 2048 || text.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'\\') {
            return Err(InvalidJwksUrl);
        }
        let authority = text.strip_prefix("https://").and_then(|rest| rest.split(['/', '?']).next());
        let fit = authority.is_some_and(|authority| !authority.is_empty() && !authority.contains('@'))
            && !text.contains('#')
            && Url::parse(text).is_ok();
        if fit { Ok(Self(text.to_owned())) } else { Err(InvalidJwksUrl) }
    }
}

text_conversions!(JwksUrl, CaCertificates);

impl CaCertificates {
    /// The most bytes of all of them together; a registration has to have room for them.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// The PEM text: certificates and nothing else.
    pub fn as_pem(&self) -> &str {
        &self.0
    }
}

impl FromStr for CaCertificates {
    type Err = InvalidCaCertificates;

    /// Keeps the certificates and leaves out what stands around them. A private key among them is refused: it would be stored, and
    /// shown to whoever may read registrations.
    fn from_str(text: &str) -> Result<Self, InvalidCaCertificates> {
        const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
        const END: &str = "-----END CERTIFICATE-----";
        if text.len() > Self::MAX_BYTES || text.contains("PRIVATE KEY") {
            return Err(InvalidCaCertificates);
        }
        let mut pem = String::new();
        for part in text.split(BEGIN).skip(1) {
            let (body, _) = part.split_once(END).ok_or(InvalidCaCertificates)?;
            let base64: String = body.split_ascii_whitespace().collect();
            if base64.is_empty() || STANDARD.decode(&base64).is_err() {
                return Err(InvalidCaCertificates);
            }
            pem.extend([BEGIN, "\n", body.trim(), "\n", END, "\n"]);
        }
        if pem.is_empty() { Err(InvalidCaCertificates) } else { Ok(Self(pem)) }
    }
}

impl fmt::Display for JwksUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_from_an_https_url_that_says_what_it_is() {
        for url in ["https://app.example.com/jwks.json", "https://[2001:db8::1]:8443/k?a=b", "https://10.0.0.1"] {
            assert_eq!(url.parse::<JwksUrl>().map(String::from), Ok(url.to_owned()));
        }
        for url in [
            "",
            "http://app.example.com/",
            "HTTPS://app.example.com/",
            "ftp://a/",
            "https:app.example.com",
            "https:///jwks",
            "https://user@a.example/",
            "https://user:pass@a.example/",
            "https://@a.example/",
            "https://a.example/#f",
            "https://a.example/\\b",
            "https://a.example/ b",
            "https://a.exam\nple/",
            "https://a.example/\u{e9}",
            &format!("https://a.example/{}", "x".repeat(2048)),
        ] {
            assert_eq!(url.parse::<JwksUrl>(), Err(InvalidJwksUrl), "{url:?}");
        }
    }

    #[test]
    fn certificates_are_kept_and_nothing_private_with_them() {
        let one = "-----BEGIN CERTIFICATE-----\nMIIB\nAAAA\n-----END CERTIFICATE-----\n";
        let around = format!("Subject: my CA\n{one}\r\n{one}trailing");
        assert_eq!(around.parse::<CaCertificates>().map(String::from), Ok(format!("{one}{one}")));
        let private = format!("{one}-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n");
        let cut_off = one.replace("-----END", "-----");
        let no_base64 = one.replace("MIIB", "M*IB");
        let too_long = one.repeat(400);
        for text in ["", "MIIB", &private, &cut_off, &no_base64, &too_long] {
            assert_eq!(text.parse::<CaCertificates>(), Err(InvalidCaCertificates), "{text}");
        }
    }

    #[test]
    fn an_address_is_stored_with_what_an_operator_has_allowed_of_it() {
        let public = JwksUri::public("https://a.example/k".parse().expect("a URL"));
        let stored = serde_json::to_value(&public).expect("JSON");
        assert_eq!(stored, serde_json::json!({ "uri": "https://a.example/k" }));
        let ca = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".parse().expect("a certificate");
        let private = JwksUri { allow_private_network: true, ca: Some(ca), ..public.clone() };
        let stored = serde_json::to_value(&private).expect("JSON");
        assert_eq!(serde_json::from_value::<JwksUri>(stored).expect("reads back"), private);
    }
}
