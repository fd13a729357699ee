//! The keys of the algorithms this server signs with: a public one as a JWK (RFC 7517), named by its thumbprint (RFC 7638), a
//! private one as PKCS#8 (RFC 5958).

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, Curve25519SeedBin, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::{KeyError, SigningAlgorithm};

/// A key's identifier, the `kid` of tokens: its RFC 7638 thumbprint with SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

/// A public key as resource servers get it. What is read is refused where it is of another type than its algorithm, is not the
/// key that its `kid` names, or has a member that this server does not write.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Jwk")]
pub struct PublicJwk {
    jwk: Jwk,
    /// The one algorithm it verifies.
    pub alg: SigningAlgorithm,
    /// Its name.
    pub kid: KeyId,
}

/// A private key in the form that signs, read once (jsonwebtoken's `EncodingKey` is read for each signature), with the one algorithm it signs with. Without `Debug`; the library wipes what is
/// private on drop, because its allocator cleanses whatever it frees.
pub struct SigningKeyPair {
    alg: SigningAlgorithm,
    key: PrivateKey,
}

/// A private key in the form that is kept: PKCS#8, in JSON as base64. Redacted in `Debug`, wiped on drop.
#[derive(Clone)]
pub struct Pkcs8(Zeroizing<Vec<u8>>);

pub(super) enum PrivateKey {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
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
    fn new(alg: SigningAlgorithm, algorithm: AlgorithmParameters) -> Result<Self, KeyError> {
        match (&algorithm, alg) {
            (AlgorithmParameters::EllipticCurve(point), SigningAlgorithm::Es256)
                if point.curve == EllipticCurve::P256 => {}
            (AlgorithmParameters::OctetKeyPair(_), SigningAlgorithm::EdDsa)
            | (AlgorithmParameters::RSA(_), SigningAlgorithm::Ps256 | SigningAlgorithm::Rs256) => {}
            _ => return Err(KeyError::Malformed),
        }
        let common = CommonParameters {
            public_key_use: Some(PublicKeyUse::Signature),
            key_algorithm: Some(alg.for_jws().into()),
            ..CommonParameters::default()
        };
        let mut jwk = Jwk { common, algorithm };
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| KeyError::Malformed)?;
        jwk.common.key_id = Some(kid.clone());
        Ok(Self { jwk, alg, kid: KeyId(kid) })
    }

    /// The key in the form that verifies.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn decoding_key(&self) -> Result<DecodingKey, KeyError> {
        DecodingKey::from_jwk(&self.jwk).map_err(|_| KeyError::Malformed)
    }
}

impl TryFrom<Jwk> for PublicJwk {
    type Error = KeyError;

    fn try_from(jwk: Jwk) -> Result<Self, KeyError> {
        let named = |alg: &SigningAlgorithm| Some(KeyAlgorithm::from(alg.for_jws())) == jwk.common.key_algorithm;
        let alg = SigningAlgorithm::ALL.into_iter().find(named).ok_or(KeyError::Malformed)?;
        let known = Self::new(alg, jwk.algorithm)?;
        if known.jwk.common == jwk.common { Ok(known) } else { Err(KeyError::Malformed) }
    }
}

impl Serialize for PublicJwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.jwk.serialize(serializer)
    }
}

impl SigningKeyPair {
    /// A new key, by the cryptographic library's own random source.
    ///
    /// # Errors
    /// [`KeyError::Generation`].
    pub fn generate(alg: SigningAlgorithm) -> Result<Self, KeyError> {
        let key = match alg {
            SigningAlgorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(PrivateKey::Ecdsa),
            SigningAlgorithm::EdDsa => Ed25519KeyPair::generate().map(PrivateKey::Ed25519),
            SigningAlgorithm::Ps256 | SigningAlgorithm::Rs256 => {
                RsaKeyPair::generate(KeySize::Rsa2048).map(PrivateKey::Rsa)
            }
        };
        Ok(Self { alg, key: key.map_err(|_| KeyError::Generation)? })
    }

    /// The key that `der` has. The library checks that its private and its public half belong together.
    ///
    /// # Errors
    /// [`KeyError::Malformed`], also where the key is of another type than `alg` or its RSA modulus is shorter than 2048 bits
    /// (RFC 7518 §3.3, §3.5).
    pub fn from_pkcs8(alg: SigningAlgorithm, Pkcs8(der): &Pkcs8) -> Result<Self, KeyError> {
        let key = match alg {
            SigningAlgorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(PrivateKey::Ecdsa)
            }
            SigningAlgorithm::EdDsa => Ed25519KeyPair::from_pkcs8(der).map(PrivateKey::Ed25519),
            SigningAlgorithm::Ps256 | SigningAlgorithm::Rs256 => RsaKeyPair::from_pkcs8(der).map(PrivateKey::Rsa),
        };
        Self::of(alg, key)
    }

    pub(super) fn of(alg: SigningAlgorithm, key: Result<PrivateKey, KeyRejected>) -> Result<Self, KeyError> {
        Ok(Self { alg, key: key.map_err(|_| KeyError::Malformed)? })
    }

    /// The key as PKCS#8 of version 1: a key of Ed25519 in version 2, which has the public key too, is one that jsonwebtoken,
    /// for one, does not read.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn to_pkcs8(&self) -> Result<Pkcs8, KeyError> {
        let der = match &self.key {
            PrivateKey::Ecdsa(pair) => pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
            PrivateKey::Ed25519(pair) => pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
            PrivateKey::Rsa(pair) => pair.as_der().map(|der: Pkcs8V1Der<'_>| der.as_ref().to_vec()),
        };
        der.map(|der| Pkcs8(Zeroizing::new(der))).map_err(|_| KeyError::Malformed)
    }

    /// The private number of a key of a curve (RFC 7518 §6.2.2.1, RFC 8037 §2); `None` for RSA.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub(super) fn private_number(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
        let octets = match &self.key {
            PrivateKey::Ecdsa(pair) => {
                let number: Result<EcPrivateKeyBin<'_>, Unspecified> = pair.private_key().as_be_bytes();
                number.map(|number| number.as_ref().to_vec())
            }
            PrivateKey::Ed25519(pair) => pair.seed().and_then(|seed| {
                let seed: Curve25519SeedBin<'_> = seed.as_be_bytes()?;
                Ok(seed.as_ref().to_vec())
            }),
            PrivateKey::Rsa(_) => return Ok(None),
        };
        octets.map(|octets| Some(Zeroizing::new(octets))).map_err(|_| KeyError::Malformed)
    }

    /// The public half.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn public_jwk(&self) -> Result<PublicJwk, KeyError> {
        let key = match &self.key {
            PrivateKey::Ecdsa(pair) => DecodingKey::from_ec_der(pair.public_key().as_ref()),
            PrivateKey::Ed25519(pair) => DecodingKey::from_ed_der(pair.public_key().as_ref()),
            PrivateKey::Rsa(pair) => DecodingKey::from_rsa_der(pair.public_key().as_ref()),
        };
        let jwk = Jwk::from_decoding_key(&key, None).map_err(|_| KeyError::Malformed)?;
        PublicJwk::new(self.alg, jwk.algorithm)
    }

    /// The signature of `message` in the form of a JWS (RFC 7518 §3.3 to §3.5, RFC 8037 §3.1), not encoded.
    ///
    /// # Errors
    /// [`KeyError::Signing`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        // The library asks for a random source and does not use it: it has its own.
        let random = SystemRandom::new();
        let signature: Result<_, Unspecified> = match &self.key {
            PrivateKey::Ecdsa(pair) => pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            PrivateKey::Ed25519(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()),
            PrivateKey::Rsa(pair) => {
                let encoding = if self.alg == SigningAlgorithm::Ps256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).map(|()| signature)
            }
        };
        signature.map_err(|_| KeyError::Signing)
    }
}

impl Pkcs8 {
    /// The bytes.
    pub(super) fn as_der(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Pkcs8 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&self.0)))
    }
}

impl<'de> Deserialize<'de> for Pkcs8 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        STANDARD.decode(&*text).map(|der| Self(Zeroizing::new(der))).map_err(|_| D::Error::custom("no base64"))
    }
}

impl fmt::Debug for Pkcs8 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pkcs8([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;

    fn stored(pair: &SigningKeyPair) -> Value {
        serde_json::to_value(pair.to_pkcs8().expect("PKCS#8")).expect("JSON")
    }

    fn read(alg: SigningAlgorithm, stored: &Value) -> Result<SigningKeyPair, KeyError> {
        let pkcs8 = serde_json::from_value(stored.clone()).expect("base64");
        SigningKeyPair::from_pkcs8(alg, &pkcs8)
    }

    #[test]
    fn a_key_is_named_by_the_thumbprint_of_rfc_7638() {
        for (alg, parameters, kid) in [
            // RFC 7638 §3.1.
            (
                SigningAlgorithm::Rs256,
                json!({
                    "kty": "RSA",
                    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
                    "e": "AQAB",
                }),
                "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            ),
            // RFC 9449 §4.1.
            (
                SigningAlgorithm::Es256,
                json!({
                    "kty": "EC", "crv": "P-256",
                    "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
                    "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
                }),
                "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
            ),
            // RFC 8037 Appendix A.3.
            (
                SigningAlgorithm::EdDsa,
                json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
                "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            ),
        ] {
            let key = PublicJwk::new(alg, serde_json::from_value(parameters).expect("a key")).expect("of its type");
            assert_eq!(key.kid.as_str(), kid);
        }
    }

    #[test]
    fn a_key_of_every_algorithm_survives_storage_and_signs_what_its_public_half_verifies() {
        for alg in SigningAlgorithm::ALL {
            let pair = SigningKeyPair::generate(alg).expect("a key");
            let again = read(alg, &stored(&pair)).expect("reads back");
            let jwk = again.public_jwk().expect("a JWK");
            assert_eq!(jwk, pair.public_jwk().expect("a JWK"));
            let public: PublicJwk =
                serde_json::from_value(serde_json::to_value(&jwk).expect("JSON")).expect("reads back");
            assert_eq!(public, jwk);

            let signature = URL_SAFE_NO_PAD.encode(again.sign(b"message").expect("a signature"));
            let verify = |message: &[u8]| {
                let key = public.decoding_key().expect("verifies");
                jsonwebtoken::crypto::verify(&signature, message, &key, alg.for_jws()).expect("decodes")
            };
            assert!(verify(b"message") && !verify(b"massage"), "{alg}");
        }
    }

    /// A program that reads the store may not know RFC 5958's version 2.
    #[test]
    fn a_private_key_is_pkcs_8_of_version_1_whatever_its_algorithm() {
        for alg in SigningAlgorithm::ALL {
            let der = stored(&SigningKeyPair::generate(alg).expect("a key"));
            let der = STANDARD.decode(der.as_str().expect("text")).expect("base64");
            // INTEGER 0 right after the header of the sequence, which is 2 to 4 bytes.
            assert!((2..=4).any(|start| der[start..].starts_with(&[2, 1, 0])), "{alg}");
        }
    }

    #[test]
    fn nothing_private_is_in_the_public_half_or_in_debug() {
        for alg in SigningAlgorithm::ALL {
            let pair = SigningKeyPair::generate(alg).expect("a key");
            let jwk = serde_json::to_value(pair.public_jwk().expect("a JWK")).expect("JSON");
            let members: Vec<&str> = jwk.as_object().expect("an object").keys().map(String::as_str).collect();
            let numbers: &[&str] = match alg {
                SigningAlgorithm::Es256 => &["alg", "crv", "kid", "kty", "use", "x", "y"],
                SigningAlgorithm::EdDsa => &["alg", "crv", "kid", "kty", "use", "x"],
                SigningAlgorithm::Ps256 | SigningAlgorithm::Rs256 => &["alg", "e", "kid", "kty", "n", "use"],
            };
            assert_eq!(members, numbers, "{alg}");
            assert_eq!(format!("{:?}", pair.to_pkcs8().expect("PKCS#8")), "Pkcs8([REDACTED])");
        }
    }

    #[test]
    fn a_public_key_that_is_not_what_it_says_is_refused() {
        let jwk = |alg| {
            let pair = SigningKeyPair::generate(alg).expect("a key");
            serde_json::to_value(pair.public_jwk().expect("a JWK")).expect("JSON")
        };
        let (ec, other, okp) =
            (jwk(SigningAlgorithm::Es256), jwk(SigningAlgorithm::Es256), jwk(SigningAlgorithm::EdDsa));
        for (member, value) in [
            ("alg", json!("RS256")),
            ("alg", json!("ES384")),
            ("alg", json!("HS256")),
            ("alg", json!("RSA-OAEP")),
            ("alg", Value::Null),
            ("kid", other["kid"].clone()),
            ("kid", Value::Null),
            ("x", other["x"].clone()),
            ("y", other["y"].clone()),
            ("y", Value::Null),
            ("crv", json!("P-384")),
            ("crv", json!("Ed25519")),
            ("kty", json!("OKP")),
            ("kty", json!("oct")),
            ("kty", json!("AKP")),
            ("use", json!("enc")),
            ("use", Value::Null),
            ("key_ops", json!(["verify"])),
            ("x5u", json!("https://evil.example/key")),
            ("x5c", json!(["MIIB"])),
        ] {
            let mut changed = ec.clone();
            changed[member] = value;
            assert!(serde_json::from_value::<PublicJwk>(changed.clone()).is_err(), "{changed}");
        }
        assert!(serde_json::from_value::<PublicJwk>(ec).is_ok(), "the rows above differ in one thing");
        let mut changed = okp;
        changed["crv"] = json!("P-256");
        assert!(serde_json::from_value::<PublicJwk>(changed).is_err());
    }

    #[test]
    fn a_private_key_of_another_type_curve_or_size_is_malformed() {
        // RFC 7518 §3.3 and §3.5 ask for 2048 bits of an RSA key.
        let rsa_of_1024_bits = "MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAOoHbDvJRyEPflXVrOnIWPb17bkdtXq+IzsssqcJxElDFWxdDxD+QNOBD8y0t88MU+tsfBQMsqUjsu1IiR81b9MhmC38Ph/TK9br1mgqDdvh+iu6KdoNKrvlvlEL7UPNoeOXyScwBPvWNOH0WqwNpVqAXonRN8kO3k1ZiuA8J17NAgMBAAECgYBT0/LV+4QJ+JXFQzObzhLn6zGK1HR0EfVmtd0MbjgsEeZzmWXTLW+lEx7IsZcBiCXrN0G+oMnA02e9DPVpA2gZJh1QaPvMwiU0656eUU0ouuTzQ2h0NBubaGFKNMzhi5r3J7A0zW1GUQ4TetMzlxv5B6sooU6Tw7BxjN1+psWqAQJBAPZvkFHCoKV4fi803bd2cuaLseMFKpZQFUqgj/TKd061ZB9b6T6NoAKvph7Ab+kk8j/1/TyiVn8XyWMzVfcEGk0CQQDzHJe1XRAp+3ZNgwojQDNh5oTUNn90EH7CJjih5JpC1JtyMibyuDFpigxJ6PzmW4Y2TuAAEDe5ndNTu9c24ZaBAkEAzrs0dIIzRdzY7j0JKljhduoFpo609TflRJ+BZDdc8thUT8JI3sLsUpSLZQzGVO07k9CGShFdQmzv8pokKX51mQJAFyXBzCLwRw8KVJcFgBW8zrWEMDCAMizf5Nx+x+tcRMC5jEX6L2IaUlIymVb1vXk5bjJUYa0poSLF3FMmSrNwAQJAdPjeANNOqAsdOFw+Fv+A1XYGZ74xc2kj7lASrLWuoJe7bt7FLp1+bfsJIVqgeEpHtZaZEiNdZvQ9jAUQKjOokA==";
        let ec_p_384 = "MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDAK1HzKCkL85HThwbgCPTi3hBoQxNCXR2B13ee9TwJNzU7g9fd/qmt0Elc5td1PBSyhZANiAAQ8RNo/WL1MgziJQhU7ttDzkfUZRl/Ti2pYmXdv1KoTZDESiJJ+ZM1Qj/HBdluSstlH2OHsoVmgiMinlsbUmnPhm9KAKT+6SEobYs1kRz/cervNrcMzoKLWxwLbxYJV25o=";
        for text in ["", "AAAA", rsa_of_1024_bits, ec_p_384] {
            for alg in SigningAlgorithm::ALL {
                assert_eq!(read(alg, &json!(text)).err(), Some(KeyError::Malformed), "{alg} {text}");
            }
        }
        for (alg, other) in
            [(SigningAlgorithm::Es256, SigningAlgorithm::EdDsa), (SigningAlgorithm::EdDsa, SigningAlgorithm::Rs256)]
        {
            let key = stored(&SigningKeyPair::generate(alg).expect("a key"));
            assert_eq!(read(other, &key).err(), Some(KeyError::Malformed), "{alg} as {other}");
        }
    }
}
