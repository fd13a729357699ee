//! What stands in front of the API, and how a function knows that a request came through it.
//!
//! CloudFront reaches the API by the address that anybody could call, too, past whatever it limits or refuses. So it sends
//! a secret in a header, which it sets over a caller's own, and without which nothing is answered. The function knows its digests
//! only.

use std::net::IpAddr;
use std::str::FromStr;

use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What stands in front of the API.
pub enum Front {
    /// Nothing that a function has to know of: the gateway says who calls.
    Gateway,
    /// CloudFront, which proves itself by this.
    CloudFront(OriginSecret),
    /// AWS's own check of the signature of each request: a function URL or an API that demands IAM. Who called is in the event.
    Iam,
}

/// SHA-256 of the secret that CloudFront sends: of the one in use, and while that is being changed of the one before.
pub struct OriginSecret {
    current: [u8; 32],
    previous: Option<[u8; 32]>,
}

/// A name of what may stand in front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrontKind {
    /// Nothing, or what the gateway knows itself.
    #[default]
    None,
    /// A custom domain of the API's own.
    CustomDomain,
    /// A CloudFront distribution, whose origin the API is.
    CloudFront,
}

/// The text names no front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is none, custom-domain or cloudfront")]
pub struct UnknownFront;

/// The text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is the SHA-256 of the secret: 64 hexadecimal digits")]
pub struct MalformedDigest;

/// A SHA-256 as it is written down.
#[derive(Clone, Copy)]
pub struct HexDigest([u8; 32]);

impl Front {
    /// Whether the request came through what stands in front. Takes the secret out of the headers: nobody behind has a use for it.
    pub(super) fn admits(&self, headers: &mut HeaderMap) -> bool {
        let secret = match self {
            Self::Gateway => return true,
            Self::CloudFront(secret) => secret,
            Self::Iam => {
                take_signature(headers);
                return true;
            }
        };
        let mut sent = headers.get_all(&ORIGIN_HEADER).iter();
        let admitted = match (sent.next(), sent.next()) {
            (Some(presented), None) => secret.is(presented.as_bytes()),
            _ => false,
        };
        headers.remove(&ORIGIN_HEADER);
        admitted
    }

    /// Whom the request comes from, where the gateway took it from `peer`. CloudFront adds its caller's address to the end of
    /// X-Forwarded-For, and the gateway that of CloudFront; what stands before is a caller's own word.
    pub(super) fn source(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        if matches!(self, Self::Gateway | Self::Iam) {
            return peer;
        }
        let lists = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let mut elements: Vec<&str> = lists.flat_map(|list| list.split(',')).map(str::trim).collect();
        if peer.is_some() && elements.last().and_then(|last| last.parse().ok()) == peer {
            elements.pop();
        }
        elements.last().and_then(|viewer| viewer.parse().ok()).or(peer)
    }

    /// The answer with the challenge of those who are admitted here (RFC 9110 §11.6.1). Where AWS verifies who calls, no secret is
    /// taken, and a client must not be asked for one.
    pub(super) fn challenging(&self, mut answer: Response) -> Response {
        if matches!(self, Self::Iam)
            && let Some(challenge) = answer.headers_mut().get_mut(WWW_AUTHENTICATE)
        {
            *challenge = HeaderValue::from_static("AWS4-HMAC-SHA256");
        }
        answer
    }
}

impl OriginSecret {
    /// The secret of these digests.
    pub fn new(current: HexDigest, previous: Option<HexDigest>) -> Self {
        Self { current: current.0, previous: previous.map(|digest| digest.0) }
    }

    /// Compared as digests, and with both in any case: time tells nothing of either.
    fn is(&self, presented: &[u8]) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        let previous = self.previous.as_ref().unwrap_or(&self.current);
        bool::from(presented.ct_eq(&self.current) | presented.ct_eq(previous))
    }
}

impl FromStr for FrontKind {
    type Err = UnknownFront;

    fn from_str(text: &str) -> Result<Self, UnknownFront> {
        match text {
            "none" => Ok(Self::None),
            "custom-domain" => Ok(Self::CustomDomain),
            "cloudfront" => Ok(Self::CloudFront),
            _ => Err(UnknownFront),
        }
    }
}

impl FromStr for HexDigest {
    type Err = MalformedDigest;

    fn from_str(text: &str) -> Result<Self, MalformedDigest> {
        let nibble = |digit: &u8| char::from(*digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
        let mut digest = [0; 32];
        let (digits, rest) = text.as_bytes().as_chunks::<2>();
        if digits.len() != digest.len() || !rest.is_empty() {
            return Err(MalformedDigest);
        }
        for (byte, [high, low]) in digest.iter_mut().zip(digits) {
            *byte = nibble(high).zip(nibble(low)).map(|(high, low)| high << 4 | low).ok_or(MalformedDigest)?;
        }
        Ok(Self(digest))
    }
}

/// Takes AWS's signature out of the headers, and the session that belongs to it: AWS has verified both, and an HTTP API passes them
/// on. What else is in an Authorization header stays: a credential of another kind is a second method of authentication.
fn take_signature(headers: &mut HeaderMap) {
    if headers.get_all(AUTHORIZATION).iter().all(|value| is_signature(value.as_bytes())) {
        headers.remove(AUTHORIZATION);
    }
    headers.remove(&SECURITY_TOKEN);
}

/// `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`, and nothing beside: the gateway joins repeated headers by a comma.
fn is_signature(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let Some((algorithm, elements)) = text.trim().split_once(' ') else { return false };
    let mut names: Vec<_> = elements.split(',').map(|each| each.trim().split_once('=').map(|(name, _)| name)).collect();
    names.sort_unstable();
    algorithm.starts_with("AWS4-") && names == [Some("Credential"), Some("Signature"), Some("SignedHeaders")]
}

/// The header in which CloudFront sends the secret.
static ORIGIN_HEADER: HeaderName = HeaderName::from_static("x-grantwell-origin");
/// The header in which a caller with temporary credentials sends the session that they belong to.
static SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const FORWARDED_FOR: &str = "x-forwarded-for";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_hexadecimal_digits_in_either_case() {
        for text in ["0123456789abcdef".repeat(4), "0123456789ABCDEF".repeat(4)] {
            let HexDigest(digest) = text.parse().expect("a digest");
            assert_eq!((digest[0], digest[1], digest[31]), (0x01, 0x23, 0xef));
        }
        for text in [String::new(), "0".repeat(63), "0".repeat(65), "0".repeat(128), "g".repeat(64), "é".repeat(32)] {
            assert_eq!(text.parse::<HexDigest>().err(), Some(MalformedDigest), "{text}");
        }
        assert_eq!(" 0".repeat(32).parse::<HexDigest>().err(), Some(MalformedDigest));
        assert_eq!("+0".repeat(32).parse::<HexDigest>().err(), Some(MalformedDigest));
    }

    #[test]
    fn aws_own_signature_is_taken_out_of_the_headers_and_nothing_else() {
        let after = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().expect("a value"));
            }
            headers.insert(&SECURITY_TOKEN, "session".parse().expect("a value"));
            assert!(Front::Iam.admits(&mut headers));
            assert!(!headers.contains_key(&SECURITY_TOKEN));
            headers.get_all(AUTHORIZATION).iter().count()
        };
        let signature = "Credential=ASIAEXAMPLE/20261128/eu-west-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=00ff";
        let [whole, regional] =
            ["AWS4-HMAC-SHA256 ", "AWS4-ECDSA-P256-SHA256 "].map(|scheme| format!("{scheme}{signature}"));
        let dense = whole.replace(", ", ",");
        let turned = "AWS4-HMAC-SHA256 Signature=00ff, Credential=ASIAEXAMPLE/x, SignedHeaders=host";
        let alone: [&[&str]; 6] = [&[], &[&whole], &[&regional], &[&dense], &[turned], &[&whole, &regional]];
        for values in alone {
            assert_eq!(after(values), 0, "{values:?}");
        }
        for others in [
            "Basic bXlDbGllbnQ6c2VjcmV0",
            "Bearer AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Basic bXlDbGllbnQ6c2VjcmV0",
            &format!("{whole},Basic bXlDbGllbnQ6c2VjcmV0"),
            &format!("{whole}, "),
            &format!("Basic bXlDbGllbnQ6c2VjcmV0,{whole}"),
            &format!("{whole}, Credential=another"),
        ] {
            assert_eq!(after(&[others]), 1, "{others}");
            assert_eq!(after(&[&whole, others]), 2, "{others}");
        }
    }

    #[test]
    fn a_front_is_one_of_three() {
        for (text, front) in [
            ("none", FrontKind::None),
            ("custom-domain", FrontKind::CustomDomain),
            ("cloudfront", FrontKind::CloudFront),
        ] {
            assert_eq!(text.parse(), Ok(front));
        }
        for text in ["", "None", "cloud-front", "custom domain"] {
            assert_eq!(text.parse::<FrontKind>(), Err(UnknownFront), "{text}");
        }
    }
}
