//! The assertion by which a client proves who it is (RFC 7523 §2.2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use zeroize::Zeroizing;

use grantwell::core::client::id::ClientId;
use grantwell::core::ports::Clock as _;
use grantwell::core::random::Random as _;
use grantwell::system::{SystemClock, SystemRandom};

use super::key_file::KeyFile;
use crate::failure::Failure;

/// `client_assertion_type` (RFC 7523 §2.2).
pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An assertion for the server of this issuer, good for a minute.
///
/// # Errors
/// A [`Failure`] where the key cannot sign, or the system has no randomness.
pub(super) fn sign(
    key: &KeyFile,
    kid: Option<&str>,
    client_id: &ClientId,
    issuer: &str,
) -> Result<Zeroizing<String>, Failure> {
    let now = SystemClock.now();
    let mut jti = [0; 16];
    SystemRandom.fill(&mut jti).map_err(|error| Failure::new(error.to_string()))?;
    let mut header = json!({ "typ": "client-authentication+jwt", "alg": key.alg.as_str() });
    if let (Some(kid), Some(header)) = (kid, header.as_object_mut()) {
        header.insert("kid".to_owned(), kid.into());
    }
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "jti": URL_SAFE_NO_PAD.encode(jti),
        "iat": now,
        "exp": now.plus(LIFETIME),
    });
    let mut assertion = Zeroizing::new(String::with_capacity(2048));
    assertion.push_str(&URL_SAFE_NO_PAD.encode(header.to_string()));
    assertion.push('.');
    assertion.push_str(&URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = key.sign(assertion.as_bytes())?;
    assertion.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut assertion);
    Ok(assertion)
}

/// Seconds. Enough for clocks that differ a little, and for nobody who finds it later.
const LIFETIME: u64 = 60;
