//! A token by which somebody else says who a process is: AWS, GitHub, a cluster, any issuer that the realm trusts. The server verifies it.
//! Read here is what tells whose token it is, so that none goes to a server for which it was not made.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

use grantwell::core::assertion::{JWT_BEARER, JWT_SPIFFE};
use grantwell::core::ports::Clock as _;
use grantwell::core::time::UnixSeconds;
use grantwell::system::SystemClock;

use super::http::printable;
use super::server::without_slash;
use crate::failure::Failure;

/// A JWT whose audience and time have been looked at. Without `Debug`: whoever has it is the client.
pub(super) struct IdentityToken {
    text: Zeroizing<String>,
    is_svid: bool,
}

/// What it says, as far as that matters to who presents it.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    aud: Audiences,
    #[serde(default)]
    sub: String,
    exp: Option<f64>,
}

/// RFC 7519 §4.1.3: one text, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl IdentityToken {
    /// The token in `text`, if it is for `issuer`. `source` names where it is from; `advice` says how to get one with another audience.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do. Of the token it repeats the audience only.
    pub(super) fn parse(text: &str, issuer: &str, source: &str, advice: &str) -> Result<Self, Failure> {
        let failure = |what: String| Failure::new(format!("{source}: {what}"));
        let text = text.trim();
        if text.is_empty() {
            return Err(failure("it is empty, and a token is expected".to_owned()));
        }
        let claims = claims(text).ok_or_else(|| failure(NOT_A_JWT.to_owned()))?;
        if !claims.aud.is(issuer) {
            let audiences = claims.aud.shown();
            return Err(failure(format!(
                "this token is for {audiences}, and the server takes one for {issuer} alone; {advice}"
            )));
        }
        if let Some(ago) = claims.exp.and_then(|exp| expired(exp, SystemClock.now())) {
            return Err(failure(format!(
                "this token expired {ago} s ago; get a new one, and check the clock of this machine"
            )));
        }
        Ok(Self { text: Zeroizing::new(text.to_owned()), is_svid: claims.sub.starts_with("spiffe://") })
    }

    /// `client_assertion_type`.
    pub(super) fn assertion_type(&self) -> &'static str {
        if self.is_svid { JWT_SPIFFE } else { JWT_BEARER }
    }

    /// The text.
    pub(super) fn into_text(self) -> Zeroizing<String> {
        self.text
    }
}

impl Default for Audiences {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Audiences {
    /// Whether it is `issuer` and nobody else, since whoever else a token is for could present it, too. A slash at its end does not count;
    /// nor does it to the server.
    fn is(&self, issuer: &str) -> bool {
        let only = match self {
            Self::One(audience) => audience,
            Self::Many(audiences) => match audiences.as_slice() {
                [audience] => audience,
                _ => return false,
            },
        };
        without_slash(only) == without_slash(issuer)
    }

    fn shown(&self) -> String {
        let shown = match self {
            Self::One(audience) => printable(audience),
            Self::Many(audiences) => printable(&audiences.join(", ")),
        };
        if shown.is_empty() { "no audience".to_owned() } else { shown }
    }
}

fn claims(text: &str) -> Option<Claims> {
    let parts: Vec<_> = text.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { return None };
    if header.is_empty() || signature.is_empty() {
        return None;
    }
    serde_json::from_slice(&Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?)).ok()
}

/// For how many seconds, where clocks that differ by a minute do not explain it.
fn expired(exp: f64, now: UnixSeconds) -> Option<u64> {
    let ago = now.0.saturating_sub(whole_seconds(exp));
    (ago > SKEW).then_some(ago)
}

/// A NumericDate may have a fraction (RFC 7519 §2).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates at both ends, which is what is wanted"
)]
fn whole_seconds(date: f64) -> u64 {
    date as u64
}

const NOT_A_JWT: &str =
    "this is not a signed JWT; give the token as it was issued, three parts that are separated by dots";
/// Seconds.
const SKEW: u64 = 60;
