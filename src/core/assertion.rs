//! JWTs by which others say who they are (RFC 7521, RFC 7523, RFC 8725): their form, what they claim, and for how long. Who may
//! sign one, and what it is good for, is decided by who accepts it.
//!
//! What is read here is a stranger's text. It is short, has one reading, and nothing in it says where to look for a key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::json::unambiguous_object;
use super::keys::jwk_set::PreparedKey;
use super::keys::jws_algorithm::JwsAlgorithm;
use super::reason::Reason;
use super::time::UnixSeconds;

/// A JWT of the right form, whose signature nobody has looked at yet. Without `Debug`: until it has been used, whoever has it is
/// the client.
pub(crate) struct UnverifiedAssertion {
    pub(crate) alg: JwsAlgorithm,
    pub(crate) kid: Option<String>,
    message: Zeroizing<String>,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

/// For how long assertions are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// The most seconds that one may have left, and that may have passed since it was made.
    pub(crate) max: u64,
}

/// When an assertion is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    /// From this time on nobody takes it any more: its `exp`, and the difference of clocks that is let pass.
    pub(crate) over_at: UnixSeconds,
}

/// Why an assertion proves nothing. For the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssertionProblem {
    /// Not a compact JWS of a type that is accepted, or with a header that asks for what nobody does.
    Malformed,
    /// A claim is missing or of another type than it has to be.
    Claims,
    /// `iss` and `sub` are not both the client.
    Issuer,
    /// It is for somebody else.
    Audience,
    /// Its time is over.
    Expired,
    /// `nbf` or `iat` is in the future.
    NotYetValid,
    /// It would be good for too long, or was made too long ago.
    Lifetime,
    /// It was made longer ago than its issuer's tokens may have been.
    TooOld,
    /// The algorithm is not among those that the client is registered for, or not one of the key's.
    Algorithm,
    /// The client has no such key.
    UnknownKey,
    /// The client has several keys of this algorithm, and the assertion does not say which.
    UnnamedKey,
    /// Nobody with the key has signed this.
    Signature,
    /// It has been used before.
    Replayed,
}

impl Lifetime {
    /// As long as its issuer says.
    pub(crate) const OF_ITS_ISSUER: Self = Self { max: u64::MAX };
}

impl UnverifiedAssertion {
    /// Takes a text of at most `max_bytes` apart that is of one of `types`, by media type without `application/`, or says none.
    ///
    /// # Errors
    /// [`AssertionProblem::Malformed`], and [`AssertionProblem::Algorithm`] where it says one that nobody verifies.
    pub(crate) fn parse(text: &str, types: &[&str], max_bytes: usize) -> Result<Self, AssertionProblem> {
        if text.len() > max_bytes {
            return Err(AssertionProblem::Malformed);
        }
        let mut segments = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(AssertionProblem::Malformed);
        };
        let header = object(header)?;
        if REFUSED_HEADERS.iter().any(|name| header.contains_key(*name)) {
            return Err(AssertionProblem::Malformed);
        }
        let member = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(AssertionProblem::Malformed),
        };
        if member("typ")?.is_some_and(|typ| !is_one_of(typ, types)) {
            return Err(AssertionProblem::Malformed);
        }
        let kid = member("kid")?.map(str::to_owned);
        let alg = member("alg")?.ok_or(AssertionProblem::Malformed)?;
        let alg: JwsAlgorithm = alg.parse().map_err(|_| AssertionProblem::Algorithm)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| AssertionProblem::Malformed)?;
        let is_of_its_length = match alg.signature_len() {
            Some(len) => signature.len() == len,
            None => RSA_SIGNATURE_LENGTHS.contains(&signature.len()),
        };
        if !is_of_its_length {
            return Err(AssertionProblem::Signature);
        }
        let claims = object(payload)?;
        let (message, _signature) = text.rsplit_once('.').ok_or(AssertionProblem::Malformed)?;
        Ok(Self { alg, kid, message: Zeroizing::new(message.to_owned()), signature, claims })
    }

    /// All that it claims.
    pub(crate) fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// A claim that is a text and has to be there.
    ///
    /// # Errors
    /// [`AssertionProblem::Claims`].
    pub(crate) fn text(&self, claim: &str) -> Result<&str, AssertionProblem> {
        self.claims.get(claim).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or(AssertionProblem::Claims)
    }

    /// `jti`: 1 to 512 bytes.
    ///
    /// # Errors
    /// [`AssertionProblem::Claims`].
    pub(crate) fn jti(&self) -> Result<&str, AssertionProblem> {
        self.text("jti").and_then(|jti| if jti.len() <= 512 { Ok(jti) } else { Err(AssertionProblem::Claims) })
    }

    /// The one audience: a text, or the only member of a list. Of one that is for several, any of them could make use elsewhere.
    ///
    /// # Errors
    /// [`AssertionProblem::Claims`] where there is none; [`AssertionProblem::Audience`] where there are several.
    pub(crate) fn audience(&self) -> Result<&str, AssertionProblem> {
        match self.claims.get("aud") {
            Some(Value::String(audience)) => Ok(audience),
            Some(Value::Array(audiences)) => match audiences.as_slice() {
                [Value::String(audience)] => Ok(audience),
                several if several.len() > 1 && several.iter().all(Value::is_string) => Err(AssertionProblem::Audience),
                _ => Err(AssertionProblem::Claims),
            },
            _ => Err(AssertionProblem::Claims),
        }
    }

    /// Whether it is good now: `exp` is required, `nbf` and `iat` count where they are there (RFC 7523 §3).
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn validity(&self, lifetime: Lifetime, now: UnixSeconds) -> Result<Validity, AssertionProblem> {
        let (exp, nbf, iat) =
            (self.time("exp")?.ok_or(AssertionProblem::Claims)?, self.time("nbf")?, self.time("iat")?);
        let (earliest, latest) = (UnixSeconds(now.0.saturating_sub(SKEW)), now.plus(SKEW));
        if exp <= earliest {
            return Err(AssertionProblem::Expired);
        }
        if nbf.into_iter().chain(iat).any(|time| time > latest) {
            return Err(AssertionProblem::NotYetValid);
        }
        let is_old = |iat: UnixSeconds| iat.plus(lifetime.max) < earliest;
        if exp > latest.plus(lifetime.max) || iat.is_some_and(is_old) {
            return Err(AssertionProblem::Lifetime);
        }
        Ok(Validity { over_at: exp.plus(SKEW) })
    }

    /// When it was made, where it says so.
    ///
    /// # Errors
    /// [`AssertionProblem::Claims`] where that is not a time.
    pub(crate) fn issued_at(&self) -> Result<Option<UnixSeconds>, AssertionProblem> {
        self.time("iat")
    }

    /// How many bytes its signature has.
    pub(crate) fn signature_len(&self) -> usize {
        self.signature.len()
    }

    /// Whether the key could have made its signature, by its length and its size alone.
    pub(crate) fn may_be_signed_by(&self, key: &PreparedKey) -> bool {
        key.may_have_made(&self.signature)
    }

    /// Whether the key has signed it.
    pub(crate) fn is_signed_by(&self, key: &PreparedKey) -> bool {
        key.verifies(self.message.as_bytes(), &self.signature)
    }

    /// As much work as [`Self::is_signed_by`] is with a key that could have made the signature, and no answer.
    pub(crate) fn is_signed_by_nobody(&self, key: &PreparedKey) {
        if key.may_have_made(&self.signature) {
            key.verifies(self.message.as_bytes(), &self.signature);
        } else {
            // A number that every modulus of this size is greater than.
            let small: Vec<u8> = (0..key.signature_len()).map(|index| u8::from(index > 0)).collect();
            key.verifies(self.message.as_bytes(), &small);
        }
    }

    /// Whole seconds since 1970 and nothing else: what is before then, or has a fraction, no library makes.
    fn time(&self, claim: &str) -> Result<Option<UnixSeconds>, AssertionProblem> {
        match self.claims.get(claim) {
            None => Ok(None),
            Some(value) => value.as_u64().map(|seconds| Some(UnixSeconds(seconds))).ok_or(AssertionProblem::Claims),
        }
    }
}

impl AssertionProblem {
    /// Whether other keys than those it was verified with could make it right.
    pub(crate) fn is_of_keys(self) -> bool {
        match self {
            Self::UnknownKey | Self::UnnamedKey | Self::Algorithm | Self::Signature => true,
            Self::Malformed
            | Self::Claims
            | Self::Issuer
            | Self::Audience
            | Self::Expired
            | Self::NotYetValid
            | Self::Lifetime
            | Self::TooOld
            | Self::Replayed => false,
        }
    }

    /// What the log and the metrics call it.
    pub fn reason(self) -> Reason {
        match self {
            Self::Malformed => Reason::MalformedAssertion,
            Self::Claims => Reason::AssertionClaimsMalformed,
            Self::Issuer => Reason::AssertionIssuerMismatch,
            Self::Audience => Reason::AssertionAudienceMismatch,
            Self::Expired => Reason::AssertionExpired,
            Self::NotYetValid => Reason::AssertionNotYetValid,
            Self::Lifetime => Reason::AssertionLifetimeTooLong,
            Self::TooOld => Reason::AssertionTooOld,
            Self::Algorithm => Reason::AssertionAlgorithmNotAllowed,
            Self::UnknownKey => Reason::AssertionKeyUnknown,
            Self::UnnamedKey => Reason::AssertionKeyNotNamed,
            Self::Signature => Reason::AssertionSignatureInvalid,
            Self::Replayed => Reason::AssertionReplayed,
        }
    }
}

impl fmt::Display for AssertionProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason().fmt(formatter)
    }
}

/// What a text claims that may be an assertion. For a look at who should read it, and for nothing else.
pub(crate) fn unverified_claims(text: &str, max_bytes: usize) -> Option<Map<String, Value>> {
    let mut segments = text.split('.').skip(1);
    let payload = segments.next().filter(|_| text.len() <= max_bytes)?;
    object(payload).ok()
}

fn object(segment: &str) -> Result<Map<String, Value>, AssertionProblem> {
    let json = URL_SAFE_NO_PAD.decode(segment).map_err(|_| AssertionProblem::Malformed)?;
    unambiguous_object(&Zeroizing::new(json)).ok_or(AssertionProblem::Malformed)
}

/// By RFC 7515 §4.1.9: case does not count, nor whether `application/` is said.
fn is_one_of(typ: &str, types: &[&str]) -> bool {
    let prefix = typ.get(..APPLICATION.len()).filter(|prefix| prefix.eq_ignore_ascii_case(APPLICATION));
    let name = prefix.and_then(|_| typ.get(APPLICATION.len()..)).unwrap_or(typ);
    types.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// `client_assertion_type` of a JWT (RFC 7523 §2.2).
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// `client_assertion_type` of a SPIFFE JWT-SVID (draft-ietf-oauth-spiffe-client-auth).
pub const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// Seconds that clocks may differ by. FAPI 2.0 has 10 s ahead accepted, and more than 60 s refused.
pub(crate) const SKEW: u64 = 10;

const APPLICATION: &str = "application/";

/// Header members that name a key or where to find one (RFC 8725 §3.10), that must be understood (RFC 7515 §4.1.11), and those of what is
/// nested, compressed, encrypted or not encoded.
const REFUSED_HEADERS: [&str; 9] = ["jku", "jwk", "x5u", "x5c", "crit", "cty", "enc", "zip", "b64"];

/// From 2048 to 4096 bits.
const RSA_SIGNATURE_LENGTHS: std::ops::RangeInclusive<usize> = 256..=512;
