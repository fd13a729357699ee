//! JSON Web Signatures (RFC 7515) in compact form, as this server makes them: three header members and no others. What it
//! verifies are its own, so anything else is no token of its own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Header;
use serde::{Deserialize, Serialize};

use super::keys::KeyError;
use super::keys::set::{Signer, VerificationKeys};
use super::ports::UnixSeconds;

/// A text of the right form, whose signature nobody has looked at yet.
pub(crate) struct UnverifiedJws<'a> {
    header: JwsHeader,
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

/// Every member is required, and there is no other: no `crit`, no `jku`, no `jwk` to be tempted by.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JwsHeader {
    typ: String,
    alg: String,
    kid: String,
}

/// Signs `claims` as a JWT of media type `application/{typ}`.
///
/// # Errors
/// [`KeyError::Signing`].
pub(crate) fn sign(signer: &Signer, typ: &str, claims: &impl Serialize) -> Result<String, KeyError> {
    let header = Header {
        typ: Some(typ.to_owned()),
        kid: Some(signer.kid.as_str().to_owned()),
        ..Header::new(signer.alg.for_jws())
    };
    jsonwebtoken::encode(&header, claims, &signer.key).map_err(|_| KeyError::Signing)
}

impl<'a> UnverifiedJws<'a> {
    /// Takes a text apart whose header says `typ`; `None` where it is no such JWS.
    pub(crate) fn parse(text: &'a str, typ: &str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let (message, signature) = text.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let header: JwsHeader = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        (header.typ == typ && !payload.contains('.')).then_some(Self { header, message, payload, signature })
    }

    /// The name of the key it claims to be signed with.
    pub(crate) fn kid(&self) -> &str {
        &self.header.kid
    }

    /// The payload that a key of `keys` signed; `None` where none did. The algorithm is the key's own; a header that says
    /// another is a forgery.
    pub(crate) fn verify(&self, keys: &VerificationKeys, now: UnixSeconds) -> Option<Vec<u8>> {
        let verifier = keys.find(self.kid(), now).filter(|verifier| verifier.alg.as_str() == self.header.alg)?;
        let verified = jsonwebtoken::crypto::verify(
            self.signature,
            self.message.as_bytes(),
            &verifier.key,
            verifier.alg.for_jws(),
        );
        verified.ok().filter(|verified| *verified)?;
        self.unverified_payload()
    }

    /// The payload, whoever signed it.
    pub(crate) fn unverified_payload(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.payload).ok()
    }
}

/// Longer than any token this server makes; what is longer is not looked at.
const MAX_LENGTH: usize = 16 * 1024;
