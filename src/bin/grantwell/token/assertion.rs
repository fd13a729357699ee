//! The assertion by which a client proves who it is (RFC 7523 §2.2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use grantwell::core::client::id::ClientId;
use grantwell::core::ports::Clock as _;
use grantwell::core::random::Random as _;
use grantwell::system::{SystemClock, SystemRandom};

use crate::failure::Failure;

/// What an assertion is signed with: the names of the algorithm and of the key.
pub(crate) struct SignedWith<'a> {
    pub(crate) alg: &'a str,
    pub(crate) kid: Option<&'a str>,
}

/// An assertion for the server of this issuer, good for a minute.
///
/// # Errors
/// A [`Failure`] where the key cannot sign, or the system has no randomness.
pub(crate) fn sign(
    signed_with: &SignedWith<'_>,
    signature: impl FnOnce(&[u8]) -> Result<Vec<u8>, Failure>,
    client_id: &ClientId,
    issuer: &str,
) -> Result<Zeroizing<String>, Failure> {
    let now = SystemClock.now();
    let mut jti = [0; 16];
    SystemRandom.fill(&mut jti).map_err(|error| Failure::new(error.to_string()))?;
    let header = Header { typ: "client-authentication+jwt", alg: signed_with.alg, kid: signed_with.kid };
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "jti": URL_SAFE_NO_PAD.encode(jti),
        "iat": now,
        "exp": now.plus(LIFETIME),
    });
    let header = serde_json::to_string(&header).map_err(|error| Failure::new(error.to_string()))?;
    let mut assertion = Zeroizing::new(String::with_capacity(2048));
    URL_SAFE_NO_PAD.encode_string(header, &mut assertion);
    assertion.push('.');
    URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut assertion);
    let signature = signature(assertion.as_bytes())?;
    assertion.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut assertion);
    Ok(assertion)
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

/// Seconds. Enough for clocks that differ a little, and for nobody who finds it later.
const LIFETIME: u64 = 60;
