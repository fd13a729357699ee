//! One public key: its numbers, what is wrong with them, and the form in which the library verifies with them.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::core::keys::jws_algorithm::JwsAlgorithm;
use crate::core::time::UnixSeconds;

/// A key prepared for one algorithm.
pub(crate) struct PreparedKey {
    pub(crate) alg: JwsAlgorithm,
    signature_len: usize,
    /// Of RSA.
    modulus: Option<Vec<u8>>,
    key: ParsedPublicKey,
}

/// What is wrong with a key, as the end of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkProblem {
    /// It has a private half.
    #[error(
        "is a private key; give the public half only, and make another key if somebody else has seen this one: whoever \
         has it can sign as the client"
    )]
    Private,
    /// It is a shared secret.
    #[error("is a symmetric key; give public keys of type EC, OKP or RSA")]
    Symmetric,
    /// Its type is none that this server verifies with.
    #[error("has a kty that is not EC, OKP or RSA")]
    Type,
    /// Its curve is none that this server verifies with.
    #[error("has a crv that is not P-256, P-384 or Ed25519")]
    Curve,
    /// Its own `alg` is none that this server verifies, or does not fit its type.
    #[error(
        "has an alg that does not fit it: P-256 is for ES256, P-384 for ES384, Ed25519 for EdDSA, RSA for PS256 and RS256"
    )]
    Algorithm,
    /// Its `use` or `key_ops` say that it is for something else.
    #[error(
        "is not for signatures: its use, if any, has to be \"sig\", and its key_ops, if any, have to include \"verify\""
    )]
    Use,
    /// A member is missing, or not written as RFC 7518 §6 says.
    #[error("has a member \"{0}\" that is missing or malformed")]
    Member(&'static str),
    /// A modulus that can be factored, or that costs too much.
    #[error("is an RSA key of less than 2048 or more than 4096 bits")]
    RsaSize,
    /// An exponent that is unsafe, or that costs too much.
    #[error("is an RSA key whose exponent is even, less than 65537, or more than 32 bits long")]
    RsaExponent,
    /// No point of its curve, or one that verifies what nobody has signed.
    #[error("is not a valid public key of its type")]
    Invalid,
}

/// The members of a public key that mean something here. Others are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PublicMembers {
    pub(super) kty: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) alg: Option<JwsAlgorithm>,
    /// Coordinates and modulus in base64url, by name.
    #[serde(flatten)]
    pub(super) numbers: BTreeMap<String, String>,
    /// Since when it may be used, and until when, where its owner says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<UnixSeconds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) exp: Option<UnixSeconds>,
}

impl PreparedKey {
    /// Whether the key has signed the message. A signature of the wrong length has nobody signed.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }

    /// How many bytes each of its signatures has.
    pub(crate) fn signature_len(&self) -> usize {
        self.signature_len
    }

    /// Whether a signature of this key can be these bytes: one of RSA is a number less than its modulus. The library sees that
    /// before it does any work, and that the answer comes sooner would tell whose key it is.
    pub(crate) fn may_have_made(&self, signature: &[u8]) -> bool {
        signature.len() == self.signature_len && self.modulus.as_deref().is_none_or(|modulus| signature < modulus)
    }
}

/// The numbers of a public key, checked.
pub(super) enum PublicKey {
    /// A point, uncompressed.
    Ec {
        algorithms: &'static [JwsAlgorithm],
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl PublicMembers {
    pub(super) fn public_key(&self) -> Result<PublicKey, JwkProblem> {
        match (self.kty.as_str(), self.text("crv")) {
            ("EC", Some("P-256")) => self.point(&[JwsAlgorithm::Es256], 32),
            ("EC", Some("P-384")) => self.point(&[JwsAlgorithm::Es384], 48),
            ("OKP", Some("Ed25519")) => {
                let x = self.octets("x", 32)?;
                if verifies_anything(&x) { Err(JwkProblem::Invalid) } else { Ok(PublicKey::Ed25519(x)) }
            }
            ("EC" | "OKP", Some(_)) => Err(JwkProblem::Curve),
            ("EC" | "OKP", None) => Err(JwkProblem::Member("crv")),
            ("RSA", _) => {
                let (n, e) = (self.number("n")?, self.number("e")?);
                check_rsa(&n, &e)?;
                Ok(PublicKey::Rsa { n, e })
            }
            _ => Err(JwkProblem::Type),
        }
    }

    fn point(&self, algorithms: &'static [JwsAlgorithm], len: usize) -> Result<PublicKey, JwkProblem> {
        /// What comes before the coordinates of a point that is written in full (SEC 1 §2.3.3).
        const UNCOMPRESSED: u8 = 4;
        let (x, y) = (self.octets("x", len)?, self.octets("y", len)?);
        Ok(PublicKey::Ec { algorithms, point: [&[UNCOMPRESSED], x.as_slice(), y.as_slice()].concat() })
    }

    /// A string of octets of a fixed length (RFC 7518 §6.2.1.2, RFC 8037 §2).
    fn octets(&self, name: &'static str, len: usize) -> Result<Vec<u8>, JwkProblem> {
        let octets = self.decoded(name)?;
        if octets.len() == len { Ok(octets) } else { Err(JwkProblem::Member(name)) }
    }

    /// A positive number in as few octets as it needs (RFC 7518 §2, Base64urlUInt).
    fn number(&self, name: &'static str) -> Result<Vec<u8>, JwkProblem> {
        let octets = self.decoded(name)?;
        if octets.first().is_some_and(|first| *first != 0) { Ok(octets) } else { Err(JwkProblem::Member(name)) }
    }

    fn decoded(&self, name: &'static str) -> Result<Vec<u8>, JwkProblem> {
        let text = self.text(name).ok_or(JwkProblem::Member(name))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| JwkProblem::Member(name))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.numbers.get(name).map(String::as_str)
    }

    pub(super) fn thumbprint(&self) -> Option<String> {
        let numbers = self.numbers.iter().map(|(name, number)| (name.clone(), json!(number)));
        let members = numbers.chain([("kty".to_owned(), json!(self.kty))]).collect();
        serde_json::from_value::<Jwk>(Value::Object(members)).ok()?.thumbprint(ThumbprintHash::SHA256).ok()
    }
}

impl PublicKey {
    pub(super) fn algorithms(&self) -> &'static [JwsAlgorithm] {
        match self {
            Self::Ec { algorithms, .. } => algorithms,
            Self::Ed25519(_) => &[JwsAlgorithm::EdDsa],
            Self::Rsa { .. } => &[JwsAlgorithm::Ps256, JwsAlgorithm::Rs256],
        }
    }

    pub(super) fn prepared_for(&self, alg: JwsAlgorithm) -> Option<PreparedKey> {
        let key = match self {
            Self::Ec { point: octets, .. } | Self::Ed25519(octets) => ParsedPublicKey::new(alg.for_library(), octets),
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.to_parsed_public_key(alg.for_rsa()?),
        };
        let (signature_len, modulus) = match self {
            Self::Rsa { n, .. } => (n.len(), Some(n.clone())),
            Self::Ec { .. } | Self::Ed25519(_) => (alg.signature_len()?, None),
        };
        Some(PreparedKey { alg, signature_len, modulus, key: key.ok()? })
    }
}

/// RFC 7518 §3.3 and §3.5 ask for 2048 bits. More than 4096 would let a registration make each forgery costly, and so would a
/// large exponent; a small one has made forgeries possible where paddings were checked carelessly.
fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), JwkProblem> {
    let leading_zeros = n.first().map_or(0, |first| first.leading_zeros() as usize);
    if !(2048..=4096).contains(&(n.len() * 8 - leading_zeros)) {
        return Err(JwkProblem::RsaSize);
    }
    if n.last().is_none_or(|last| last % 2 == 0) {
        return Err(JwkProblem::Invalid);
    }
    let exponent = (e.len() <= 4).then(|| e.iter().fold(0_u64, |number, octet| number << 8 | u64::from(*octet)));
    match exponent {
        Some(65_537..) if e.last().is_some_and(|last| last % 2 == 1) => Ok(()),
        _ => Err(JwkProblem::RsaExponent),
    }
}

/// Whether a public key of Ed25519 is a point of small order, for which there are signatures that verify for many messages, or is
/// written in another way than the one (RFC 8032 §5.1.3). The library takes both.
pub(super) fn verifies_anything(key: &[u8]) -> bool {
    let Some((last, rest)) = key.split_last() else { return true };
    // Without the sign of x: of a point of small order the other one is of small order, too.
    let top = last & 0x7f;
    let of_small_order = SMALL_ORDER.iter().any(|(y, y_top)| y.as_slice() == rest && *y_top == top);
    // 2^255 - 19 or more.
    let (first, middle) = (rest.first().copied().unwrap_or_default(), rest.get(1..).unwrap_or_default());
    let unreduced = top == 0x7f && first >= 0xed && middle.iter().all(|octet| *octet == 0xff);
    of_small_order || unreduced
}

/// The points of Ed25519 whose order divides 8: their y in little endian, the last octet apart, without the sign of x.
const SMALL_ORDER: [([u8; 31], u8); 5] = [
    ([0; 31], 0),
    ([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0),
    (
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc,
        ],
        0x05,
    ),
    (
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03,
        ],
        0x7a,
    ),
    (
        [
            0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ],
        0x7f,
    ),
];
