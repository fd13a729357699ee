//! JSON Web Keys (RFC 7517) of the algorithms this server signs with, public and private, and their thumbprints (RFC 7638).

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian, AsDer as _, Curve25519SeedBin, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair, RsaSignatureEncoding,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use pkcs1::der::asn1::UintRef;
use pkcs1::der::{Decode as _, Encode as _};
use pkcs8::PrivateKeyInfo;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{KeyError, SigningAlgorithm};
use crate::core::access_token::opaque::base64url;

/// A key's identifier, the `kid` of tokens: its RFC 7638 thumbprint with SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

/// A public key as resource servers get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicJwk {
    #[serde(flatten)]
    parameters: PublicParameters,
    #[serde(rename = "use")]
    public_key_use: SignatureUse,
    /// The one algorithm it verifies.
    pub alg: SigningAlgorithm,
    /// Its name.
    pub kid: KeyId,
}

/// A private key: the public members and the private ones. Redacted in `Debug`, wiped on drop.
#[derive(Clone, Serialize, Deserialize)]
pub struct PrivateJwk {
    /// The half that is published.
    #[serde(flatten)]
    pub public: PublicJwk,
    /// Absent of a key that signs no more.
    #[serde(flatten)]
    private: Option<PrivateParameters>,
}

/// A private key in the form that signs, with the one algorithm it signs with. Without `Debug`; the library wipes what is
/// private on drop, because its allocator cleanses whatever it frees.
pub enum SigningKeyPair {
    /// ES256.
    Ecdsa(EcdsaKeyPair),
    /// EdDSA.
    Ed25519(Ed25519KeyPair),
    /// PS256 or RS256: the encoding says which.
    Rsa(RsaKeyPair, &'static RsaSignatureEncoding),
}

/// The members of RFC 7518 §6 and RFC 8037 §2, each a base64url number or point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
enum PublicParameters {
    #[serde(rename = "EC")]
    Ec { crv: P256, x: String, y: String },
    #[serde(rename = "OKP")]
    Okp { crv: Ed25519, x: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
}

#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct PrivateParameters {
    d: String,
    #[serde(flatten)]
    rsa: Option<RsaParameters>,
}

#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct RsaParameters {
    p: String,
    q: String,
    dp: String,
    dq: String,
    qi: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum P256 {
    #[serde(rename = "P-256")]
    P256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Ed25519 {
    Ed25519,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum SignatureUse {
    #[serde(rename = "sig")]
    Signature,
}

impl KeyId {
    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for KeyId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl PublicJwk {
    fn new(alg: SigningAlgorithm, parameters: PublicParameters) -> Self {
        let kid = parameters.thumbprint();
        Self { parameters, public_key_use: SignatureUse::Signature, alg, kid }
    }

    /// The key in the form that verifies.
    ///
    /// # Errors
    /// [`KeyError::Malformed`], also where the key is of another type than its algorithm or not the one its `kid` names.
    pub fn decoding_key(&self) -> Result<DecodingKey, KeyError> {
        if self.kid != self.parameters.thumbprint() {
            return Err(KeyError::Malformed);
        }
        let key = match (&self.parameters, self.alg) {
            (PublicParameters::Ec { x, y, .. }, SigningAlgorithm::Es256) => DecodingKey::from_ec_components(x, y),
            (PublicParameters::Okp { x, .. }, SigningAlgorithm::EdDsa) => DecodingKey::from_ed_components(x),
            (PublicParameters::Rsa { n, e }, SigningAlgorithm::Ps256 | SigningAlgorithm::Rs256) => {
                DecodingKey::from_rsa_components(n, e)
            }
            _ => return Err(KeyError::Malformed),
        };
        key.map_err(|_| KeyError::Malformed)
    }
}

impl PublicParameters {
    /// RFC 7638 §3: SHA-256 of the required members in lexicographic order, without white space. None of the values has a
    /// character that JSON would escape.
    fn thumbprint(&self) -> KeyId {
        let canonical = match self {
            Self::Ec { x, y, .. } => format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
            Self::Okp { x, .. } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        KeyId(base64url(&Sha256::digest(canonical)))
    }
}

impl PrivateJwk {
    /// A new key, by the cryptographic library's own random source.
    ///
    /// # Errors
    /// [`KeyError::Generation`].
    pub fn generate(alg: SigningAlgorithm) -> Result<Self, KeyError> {
        match alg {
            SigningAlgorithm::Es256 => Self::generate_ec(alg),
            SigningAlgorithm::EdDsa => Self::generate_okp(alg),
            SigningAlgorithm::Ps256 | SigningAlgorithm::Rs256 => Self::generate_rsa(alg),
        }
        .ok_or(KeyError::Generation)
    }

    fn generate_ec(alg: SigningAlgorithm) -> Option<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
        let d: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().ok()?;
        // Uncompressed: a byte 4, then both coordinates.
        let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
        let parameters = PublicParameters::Ec { crv: P256::P256, x: base64url(x), y: base64url(y) };
        Some(Self::new(alg, parameters, d.as_ref(), None))
    }

    fn generate_okp(alg: SigningAlgorithm) -> Option<Self> {
        let pair = Ed25519KeyPair::generate().ok()?;
        let seed = pair.seed().ok()?;
        let d: Curve25519SeedBin<'_> = seed.as_be_bytes().ok()?;
        let parameters = PublicParameters::Okp { crv: Ed25519::Ed25519, x: base64url(pair.public_key().as_ref()) };
        Some(Self::new(alg, parameters, d.as_ref(), None))
    }

    fn generate_rsa(alg: SigningAlgorithm) -> Option<Self> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
        let der: Pkcs8V1Der<'_> = pair.as_der().ok()?;
        let inner = PrivateKeyInfo::from_der(der.as_ref()).ok()?.private_key;
        let key = pkcs1::RsaPrivateKey::from_der(inner).ok()?;
        let text = |number: UintRef<'_>| base64url(number.as_bytes());
        let parameters = PublicParameters::Rsa { n: text(key.modulus), e: text(key.public_exponent) };
        let rsa = RsaParameters {
            p: text(key.prime1),
            q: text(key.prime2),
            dp: text(key.exponent1),
            dq: text(key.exponent2),
            qi: text(key.coefficient),
        };
        Some(Self::new(alg, parameters, key.private_exponent.as_bytes(), Some(rsa)))
    }

    fn new(alg: SigningAlgorithm, parameters: PublicParameters, d: &[u8], rsa: Option<RsaParameters>) -> Self {
        Self { public: PublicJwk::new(alg, parameters), private: Some(PrivateParameters { d: base64url(d), rsa }) }
    }

    /// The key without its private half: it verifies, and signs nothing.
    #[must_use]
    pub fn public_only(&self) -> Self {
        Self { public: self.public.clone(), private: None }
    }

    /// The key in the form that signs. The library checks that its private and its public half belong together.
    ///
    /// # Errors
    /// [`KeyError::Malformed`], also where the key is of another type than its algorithm or its RSA modulus is shorter than
    /// 2048 bits (RFC 7518 §3.3, §3.5).
    pub fn key_pair(&self) -> Result<SigningKeyPair, KeyError> {
        let private = self.private.as_ref().ok_or(KeyError::Malformed)?;
        let d = number(&private.d)?;
        let key_pair = match (&self.public.parameters, self.public.alg, &private.rsa) {
            (PublicParameters::Ec { x, y, .. }, SigningAlgorithm::Es256, None) => {
                let point = [&[4], number(x)?.as_slice(), number(y)?.as_slice()].concat();
                let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
                EcdsaKeyPair::from_private_key_and_public_key(signing, &d, &point).map(SigningKeyPair::Ecdsa)
            }
            (PublicParameters::Okp { x, .. }, SigningAlgorithm::EdDsa, None) => {
                Ed25519KeyPair::from_seed_and_public_key(&d, &number(x)?).map(SigningKeyPair::Ed25519)
            }
            (PublicParameters::Rsa { n, e }, SigningAlgorithm::Ps256, Some(rsa)) => {
                RsaKeyPair::from_der(&rsa_der(n, e, &d, rsa)?).map(|pair| SigningKeyPair::Rsa(pair, &RSA_PSS_SHA256))
            }
            (PublicParameters::Rsa { n, e }, SigningAlgorithm::Rs256, Some(rsa)) => {
                RsaKeyPair::from_der(&rsa_der(n, e, &d, rsa)?).map(|pair| SigningKeyPair::Rsa(pair, &RSA_PKCS1_SHA256))
            }
            _ => return Err(KeyError::Malformed),
        };
        key_pair.map_err(|_| KeyError::Malformed)
    }
}

impl SigningKeyPair {
    /// The signature of `message` in the form of a JWS (RFC 7518 §3.3 to §3.5, RFC 8037 §3.1), not encoded.
    ///
    /// # Errors
    /// [`KeyError::Signing`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        // The library asks for a random source and does not use it: it has its own.
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(pair) => pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            Self::Ed25519(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()),
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).map(|()| signature)
            }
        }
        .map_err(|_| KeyError::Signing)
    }
}

impl fmt::Debug for PrivateJwk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PrivateJwk").field("kid", &self.public.kid).finish_non_exhaustive()
    }
}

#[expect(clippy::many_single_char_names, reason = "the members' names in RFC 7518 section 6.3")]
fn rsa_der(n: &str, e: &str, d: &[u8], rsa: &RsaParameters) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let [n, e, p, q, dp, dq, qi] = [n, e, &rsa.p, &rsa.q, &rsa.dp, &rsa.dq, &rsa.qi].map(number);
    let (n, e, p, q, dp, dq, qi) = (n?, e?, p?, q?, dp?, dq?, qi?);
    let uint = |bytes| UintRef::new(bytes).map_err(|_| KeyError::Malformed);
    let key = pkcs1::RsaPrivateKey {
        modulus: uint(&n)?,
        public_exponent: uint(&e)?,
        private_exponent: uint(d)?,
        prime1: uint(&p)?,
        prime2: uint(&q)?,
        exponent1: uint(&dp)?,
        exponent2: uint(&dq)?,
        coefficient: uint(&qi)?,
        other_prime_infos: None,
    };
    key.to_der().map(Zeroizing::new).map_err(|_| KeyError::Malformed)
}

fn number(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| KeyError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_the_one_of_rfc_7638() {
        let rsa: PublicParameters = serde_json::from_value(serde_json::json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB",
        }))
        .expect("a key");
        // RFC 7638 §3.1.
        assert_eq!(rsa.thumbprint().as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let ec: PublicParameters = serde_json::from_value(serde_json::json!({
            "kty": "EC", "crv": "P-256",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        }))
        .expect("a key");
        // RFC 9449 §4.1.
        assert_eq!(ec.thumbprint().as_str(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        let okp: PublicParameters = serde_json::from_value(serde_json::json!({
            "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }))
        .expect("a key");
        // RFC 8037 Appendix A.3.
        assert_eq!(okp.thumbprint().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_key_of_every_algorithm_survives_storage_and_signs_what_its_public_half_verifies() {
        for alg in SigningAlgorithm::ALL {
            let key = PrivateJwk::generate(alg).expect("a key");
            let stored = serde_json::to_string(&key).expect("JSON");
            let read: PrivateJwk = serde_json::from_str(&stored).expect("reads back");
            assert_eq!(read.public, key.public);
            let public: PublicJwk =
                serde_json::from_str(&serde_json::to_string(&key.public).expect("JSON")).expect("reads back");
            let signature = read.key_pair().expect("signs").sign(b"message").expect("a signature");
            let signature = base64url(&signature);
            let verify = |message: &[u8]| {
                let key = public.decoding_key().expect("verifies");
                jsonwebtoken::crypto::verify(&signature, message, &key, alg.for_jws()).expect("decodes")
            };
            assert!(verify(b"message") && !verify(b"massage"), "{alg}");
        }
    }

    #[test]
    fn nothing_private_is_in_the_public_half_or_in_debug() {
        for alg in SigningAlgorithm::ALL {
            let key = PrivateJwk::generate(alg).expect("a key");
            let private = serde_json::to_value(&key).expect("JSON");
            let public = serde_json::to_value(&key.public).expect("JSON");
            for member in ["d", "p", "q", "dp", "dq", "qi"] {
                assert!(public.get(member).is_none(), "{alg} {member}");
                if let Some(secret) = private.get(member).and_then(|value| value.as_str()) {
                    assert!(!format!("{key:?}").contains(secret) && !public.to_string().contains(secret));
                }
            }
        }
    }

    #[test]
    fn a_key_that_is_not_what_it_says_is_malformed() {
        let key = |alg| serde_json::to_value(PrivateJwk::generate(alg).expect("a key")).expect("JSON");
        let (ec, other) = (key(SigningAlgorithm::Es256), key(SigningAlgorithm::Es256));
        for (member, value) in
            [("d", other["d"].clone()), ("x", other["x"].clone()), ("d", "!".into()), ("alg", "RS256".into())]
        {
            let mut changed = ec.clone();
            changed[member] = value;
            let changed: PrivateJwk = serde_json::from_value(changed).expect("the members of a key");
            assert_eq!(changed.key_pair().err(), Some(KeyError::Malformed), "{member}");
        }
        for (member, value) in [("alg", "RS256".into()), ("kid", other["kid"].clone()), ("y", other["y"].clone())] {
            let mut changed = ec.clone();
            changed[member] = value;
            let changed: PublicJwk = serde_json::from_value(changed).expect("the members of a key");
            assert_eq!(changed.decoding_key().err(), Some(KeyError::Malformed), "{member}");
        }
    }

    /// RFC 7518 §3.3 and §3.5.
    #[test]
    fn an_rsa_key_of_fewer_than_2048_bits_is_malformed() {
        let weak = serde_json::json!({
            "kty": "RSA", "use": "sig", "kid": "1024 bits",
            "n": "u7WXiDDJTO8DaJvlJbeJkpXXt_vDrEK6gS-TMYpv7EmUuJUB-oPbfeaynP66kWQDR7l3ILCLpJWtROrgFSHC5-zmaXOIQuu5dDc9F8HskZjl-5hv_oyRoOpwLHWZnOT3VpUNTr1U3mYghBUZtoSGMovAxGyUhKmj_U7HlWw7tbs",
            "e": "AQAB",
            "d": "H6S1LthKlxWT1YayUnFmV7e67eEbU2bMWgrTHX7g70xYLeWwt7KSxd6mLaEjgm8Bvo2db31TjSNOWlfd_rH6USQq1zstzVBHuVYAw14smCPxZHOsWr2j6OR47MF15lEyx3p9-McIPd93Ekq_oTNVFBBN7dFOgH6jaqW8SzU2TAE",
            "p": "-fEmZFjr_baskHHHXnXPKQ0aHEbq9LuVekhY_BpmzxcvRKLAc_tee63CbLtRoRQcDgWQENnbi_8Hq6H5nbZIwQ",
            "q": "wEJMX7ScfS_5MuMyAxIkHbEEN70560kCiAbNHdx1gP7o6BxAr0f2AVHnnfF9GoqSMg2NucxqJ7_PDZNT2N4Bew",
            "dp": "MPzX5oEbN-4O4ny6c8QpZ0VfIb2wnWkKwh3d-wN9tQc5R32StOjGuvzyh3crZ6PWX9UtSHA6vLSunzAvCX9JwQ",
            "dq": "fY-O834wKW4YUMyiT_EcFywRdhml5uzCs3XFpffh4cIY9-XjtNXJaylDnBonuxq-yeOiKLLArX8OSW5rdxneWw",
            "qi": "9_rUw1TijnsWStOyzwrhsEr87JxniITbxtWMyL4WEvQG0MsZMNOnqDKZLecfLdIqEPCfEo6ZahJw6xwowUOKow",
        });
        for alg in ["PS256", "RS256"] {
            let mut weak = weak.clone();
            weak["alg"] = alg.into();
            let weak: PrivateJwk = serde_json::from_value(weak).expect("the members of a key");
            assert_eq!(weak.key_pair().err(), Some(KeyError::Malformed), "{alg}");
        }
    }
}
