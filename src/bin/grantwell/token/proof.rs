//! What a request carries by which its client proves who it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use grantwell::core::client::id::ClientId;

/// A proof. Without `Debug`.
pub(super) enum Proof {
    Assertion {
        text: Zeroizing<String>,
        form: &'static str,
        /// The server cannot read the client off the assertion: somebody else made it, who does not know the client.
        says_no_client_id: bool,
    },
    /// The value of an Authorization header, and the secret in it.
    Basic { authorization: Zeroizing<String>, secret: Zeroizing<String> },
    /// A secret in the form.
    Post(Zeroizing<String>),
}

impl Proof {
    /// A secret in a header, as RFC 6749 §2.3.1 encodes it.
    pub(super) fn basic(client_id: &ClientId, secret: &Zeroizing<String>) -> Self {
        let mut pair = Zeroizing::new(String::with_capacity(4 * 1024));
        pair.extend(byte_serialize(client_id.as_str().as_bytes()));
        pair.push(':');
        pair.extend(byte_serialize(secret.as_bytes()));
        let mut authorization = Zeroizing::new(String::with_capacity(8 * 1024));
        authorization.push_str(BASIC);
        STANDARD.encode_string(pair.as_bytes(), &mut authorization);
        Self::Basic { authorization, secret: secret.clone() }
    }

    /// The parameters of a form that are the proof, and name the client.
    pub(super) fn parameters<'a>(&'a self, client_id: &'a ClientId) -> Vec<(&'a str, &'a str)> {
        match self {
            Self::Assertion { text, form, says_no_client_id } => {
                let client_id = says_no_client_id.then_some(("client_id", client_id.as_str()));
                let assertion = [("client_assertion_type", *form), ("client_assertion", text.as_str())];
                client_id.into_iter().chain(assertion).collect()
            }
            Self::Basic { .. } => Vec::new(),
            Self::Post(secret) => vec![("client_id", client_id.as_str()), ("client_secret", secret.as_str())],
        }
    }

    /// The value of the Authorization header, where the proof is there.
    pub(super) fn authorization(&self) -> Option<&str> {
        match self {
            Self::Basic { authorization, .. } => Some(authorization),
            Self::Assertion { .. } | Self::Post(_) => None,
        }
    }

    /// What of it is not to be repeated, whoever says it.
    pub(super) fn confidential(&self) -> Vec<&str> {
        match self {
            Self::Assertion { text, .. } | Self::Post(text) => vec![text],
            Self::Basic { authorization, secret } => {
                vec![authorization.strip_prefix(BASIC).unwrap_or(authorization), secret]
            }
        }
    }
}

/// How the value of such a header begins.
const BASIC: &str = "Basic ";
