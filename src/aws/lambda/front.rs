//! What stands in front of the API, and how a function knows that a request came through it.
//!
//! CloudFront reaches the API by the address that anybody could call, too, past whatever it limits or refuses. So it sends
//! a secret in a header, which it sets over a caller's own, and without which nothing is answered. The function knows its digests
//! only.

use std::net::IpAddr;
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What stands in front of the API.
pub enum Front {
    /// Nothing that a function has to know of: the gateway says who calls.
    Gateway,
    /// CloudFront, which proves itself by this.
    CloudFront(OriginSecret),
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
        let Self::CloudFront(secret) = self else { return true };
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
        if matches!(self, Self::Gateway) {
            return peer;
        }
        let lists = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let mut elements: Vec<&str> = lists.flat_map(|list| list.split(',')).map(str::trim).collect();
        if peer.is_some() && elements.last().and_then(|last| last.parse().ok()) == peer {
            elements.pop();
        }
        elements.last().and_then(|viewer| viewer.parse().ok()).or(peer)
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

/// The header in which CloudFront sends the secret.
static ORIGIN_HEADER: HeaderName = HeaderName::from_static("x-grantwell-origin");
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
