//! JSON Web Signatures (RFC 7515) in compact form, as this server makes them: three header members and no others. What it
//! verifies are its own, so anything else is not a token of its own.
//!
//! jsonwebtoken verifies the signatures. Its `encode` is not used: it reads the private key anew for each signature, which costs
//! about as much as the signature. Nor is its `Header`, which passes over a member that it does not know.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::keys::KeyError;
use super::keys::published::VerificationKeys;
use super::keys::set::Signer;
use super::time::UnixSeconds;

/// A text of the right form, whose signature nobody has looked at yet.
pub(crate) struct UnverifiedJws<'a> {
    header: JwsHeader<String>,
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

/// Every member is required, and there is no other: no `crit`, no `jku`, no `jwk` to be tempted by.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JwsHeader<Text> {
    typ: Text,
    alg: Text,
    kid: Text,
}

/// Signs `claims` as a JWT of media type `application/{typ}`.
///
/// # Errors
/// [`KeyError::Signing`].
pub(crate) fn sign(signer: &Signer, typ: &str, claims: &impl Serialize) -> Result<String, KeyError> {
    let header = JwsHeader { typ, alg: signer.alg.as_str(), kid: signer.kid.as_str() };
    let mut jws = String::with_capacity(USUAL_LENGTH);
    URL_SAFE_NO_PAD.encode_string(json(&header)?, &mut jws);
    jws.push('.');
    URL_SAFE_NO_PAD.encode_string(json(claims)?, &mut jws);
    let signature = signer.key.sign(jws.as_bytes())?;
    jws.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut jws);
    Ok(jws)
}

fn json(part: &impl Serialize) -> Result<Vec<u8>, KeyError> {
    serde_json::to_vec(part).map_err(|_| KeyError::Signing)
}

impl<'a> UnverifiedJws<'a> {
    /// Takes a text apart whose header says `typ`; `None` where it is not such a JWS.
    pub(crate) fn parse(text: &'a str, typ: &str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let (message, signature) = text.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let header: JwsHeader<String> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
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
/// Bytes that a usual token fits into: its buffer does not grow.
const USUAL_LENGTH: usize = 1024;

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
    use serde_json::{Value, json};

    use super::*;
    use crate::core::keys::SigningAlgorithm;
    use crate::core::keys::set::KeySet;

    const NOW: UnixSeconds = UnixSeconds(1_795_415_820);

    /// The key of `signer` as jsonwebtoken reads it.
    fn encoding_key(signer: &Signer) -> EncodingKey {
        let stored = serde_json::to_value(signer.key.to_pkcs8().expect("PKCS#8")).expect("JSON");
        let der = STANDARD.decode(stored.as_str().expect("text")).expect("base64");
        match signer.alg {
            SigningAlgorithm::Es256 => EncodingKey::from_ec_der(&der),
            SigningAlgorithm::EdDsa => EncodingKey::from_ed_der(&der),
            // What PKCS#8 wraps: a version, an algorithm and the beginning of a string of bytes are 26 bytes before it.
            SigningAlgorithm::Ps256 | SigningAlgorithm::Rs256 => EncodingKey::from_rsa_der(&der[26..]),
        }
    }

    #[test]
    fn a_token_is_the_one_that_jsonwebtoken_makes_and_takes() {
        let claims = json!({ "iss": "https://auth.example.com", "scope": "read write", "exp": 1_795_419_420_u64 });
        let set = KeySet::create(&SigningAlgorithm::ALL, NOW).expect("keys");
        let jwks = serde_json::to_value(set.published().verification_keys().expect("keys").jwks()).expect("JSON");
        let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_value(jwks).expect("a JWK Set");
        let signers = set.signers().expect("signers");
        for alg in SigningAlgorithm::ALL {
            let signer = signers.choose(alg, NOW).expect("a signer");
            let token = sign(signer, "at+jwt", &claims).expect("signed");

            let algorithm: Algorithm = alg.as_str().parse().expect("an algorithm");
            let kid = signer.kid.to_string();
            let header = Header { typ: Some("at+jwt".to_owned()), kid: Some(kid), ..Header::new(algorithm) };
            let other = jsonwebtoken::encode(&header, &claims, &encoding_key(signer)).expect("signed");
            if matches!(alg, SigningAlgorithm::EdDsa | SigningAlgorithm::Rs256) {
                assert_eq!(token, other, "{alg} signs alike each time");
            }
            let message = |jws: &str| jws.rsplit_once('.').map(|(message, _)| message.to_owned());
            assert_eq!(message(&token), message(&other), "{alg}");

            let key = DecodingKey::from_jwk(jwks.find(signer.kid.as_str()).expect("published")).expect("verifies");
            let mut validation = Validation::new(algorithm);
            validation.validate_exp = false;
            let decoded = jsonwebtoken::decode::<Value>(&token, &key, &validation);
            assert_eq!(decoded.expect("verified").claims, claims, "{alg}");
        }
    }
}
