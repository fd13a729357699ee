//! Public keys of others (RFC 7517): those that clients are registered with, and those that are fetched. Each is checked and
//! prepared once, so that a signature costs its verification and nothing more.
//!
//! A set that somebody registers is refused with what is wrong. One that is fetched is its issuer's, who may have keys in it for
//! other readers: what cannot be used is passed over (RFC 7517 §5), but a set that has a private key is nobody's to trust.

mod public_key;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use public_key::JwkProblem;

use super::jws_algorithm::JwsAlgorithm;
use crate::core::json::unambiguous_object;
use crate::core::time::UnixSeconds;
pub(crate) use public_key::PreparedKey;
use public_key::PublicMembers;

/// A JWK Set of public keys that verify signatures; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredJwkSet", into = "StoredJwkSet")]
pub struct JwkSet {
    keys: Vec<VerifyingKey>,
}

/// A public key, ready to verify.
#[derive(Clone)]
pub struct VerifyingKey {
    jwk: PublicMembers,
    thumbprint: String,
    /// One for each algorithm that it may be used with.
    prepared: Arc<[PreparedKey]>,
}

/// Which key of a set verifies a signature.
pub(crate) enum KeyChoice<'a> {
    /// This one and no other.
    One(&'a PreparedKey),
    /// No key has this name, or none is for this algorithm where the signature names none.
    Unknown,
    /// The key of this name is for other algorithms.
    OfOtherAlgorithm,
    /// The signature does not say which of several.
    Several,
}

/// Why a set was refused that somebody registers. The texts say what to do, and repeat nothing of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJwks {
    /// Too long to be looked at.
    #[error("the JWK Set has more than {max} bytes; give only the keys that the client signs with", max = JwkSet::MAX_BYTES)]
    TooLarge,
    /// Not the JSON of RFC 7517 §5.
    #[error(
        "this is not a JWK Set: give a JSON object with a member \"keys\" that lists public keys (RFC 7517 section 5), or \
         one such key, and write no member twice"
    )]
    NotASet,
    /// No key at all.
    #[error("the JWK Set has no key; give at least one")]
    Empty,
    /// More keys than a rotation needs.
    #[error("a client has at most {max} keys; remove those that it does not sign with any more", max = JwkSet::MAX_KEYS)]
    TooManyKeys,
    /// Two keys of one name.
    #[error("two keys of the JWK Set have the same kid; give each key a kid of its own")]
    SameKid,
    /// The same key twice.
    #[error("the JWK Set has the same key twice; give it once")]
    SameKey,
    /// A key that cannot be used.
    #[error("key {number} of the JWK Set {problem}")]
    Key {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        problem: JwkProblem,
    },
}

/// Why a set was refused that was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedJwks {
    /// Not the JSON of RFC 7517 §5.
    #[error("the document is not a JWK Set (RFC 7517 section 5)")]
    NotASet,
    /// Whoever can read it can sign.
    #[error("the JWK Set has a private or a symmetric key, which everybody can read there")]
    NotPublic,
    /// Nothing that verifies.
    #[error("the JWK Set has no key that this server can verify with")]
    NoUsableKey,
    /// More than are looked at.
    #[error("the JWK Set has more than {max} keys", max = JwkSet::MAX_FETCHED_KEYS)]
    TooManyKeys,
}

/// As it is stored: keys are checked again when they are read.
#[derive(Serialize, Deserialize)]
struct StoredJwkSet {
    keys: Vec<PublicMembers>,
}

impl JwkSet {
    /// The most bytes of a set that is registered: 16 RSA keys of 4096 bits, with certificates left out.
    pub const MAX_BYTES: usize = 32 * 1024;
    /// The most keys of a set that is registered.
    pub const MAX_KEYS: usize = 16;
    /// The most keys of a set that is fetched, usable or not.
    pub const MAX_FETCHED_KEYS: usize = 100;

    /// Reads a set, or one key, that somebody registers.
    ///
    /// # Errors
    /// [`InvalidJwks`], with the first thing that is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidJwks> {
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidJwks::TooLarge);
        }
        let members = unambiguous_object(text).ok_or(InvalidJwks::NotASet)?;
        let jwks = match members.get("keys") {
            Some(Value::Array(jwks)) => jwks.iter().map(Value::as_object).collect(),
            None if members.contains_key("kty") => Some(vec![&members]),
            _ => None,
        };
        let jwks: Vec<&Map<String, Value>> = jwks.ok_or(InvalidJwks::NotASet)?;
        if jwks.is_empty() {
            return Err(InvalidJwks::Empty);
        }
        if jwks.len() > Self::MAX_KEYS {
            return Err(InvalidJwks::TooManyKeys);
        }
        let keys = jwks.into_iter().enumerate().map(|(index, jwk)| {
            VerifyingKey::read(jwk, SIGNATURES).map_err(|problem| InvalidJwks::Key { number: index + 1, problem })
        });
        Self::of_distinct(keys.collect::<Result<_, _>>()?)
    }

    /// Reads a set that was fetched. Keys that cannot be used are passed over (RFC 7517 §5).
    ///
    /// # Errors
    /// [`RefusedJwks`].
    pub fn parse_fetched(text: &[u8]) -> Result<Self, RefusedJwks> {
        Self::read_fetched(text, |_jwks| SIGNATURES)
    }

    /// Reads the bundle of a trust domain of SPIFFE. Its keys for `jwt-svid` are taken (Trust Domain and Bundle §4.2.2), never those
    /// that vouch for certificates. A set that has neither is one as OpenID Connect has it, which SPIRE publishes, too.
    ///
    /// # Errors
    /// [`RefusedJwks`].
    pub fn parse_spiffe_bundle(text: &[u8]) -> Result<Self, RefusedJwks> {
        let is_of_spiffe =
            |jwk: &Map<String, Value>| matches!(jwk.get("use").and_then(Value::as_str), Some(JWT_SVIDS | "x509-svid"));
        Self::read_fetched(text, |jwks| if jwks.iter().any(|jwk| is_of_spiffe(jwk)) { JWT_SVIDS } else { SIGNATURES })
    }

    fn read_fetched(
        text: &[u8],
        purpose: impl FnOnce(&[&Map<String, Value>]) -> &'static str,
    ) -> Result<Self, RefusedJwks> {
        let members = unambiguous_object(text).ok_or(RefusedJwks::NotASet)?;
        let Some(Value::Array(jwks)) = members.get("keys") else { return Err(RefusedJwks::NotASet) };
        if jwks.len() > Self::MAX_FETCHED_KEYS {
            return Err(RefusedJwks::TooManyKeys);
        }
        let jwks: Vec<&Map<String, Value>> = jwks.iter().filter_map(Value::as_object).collect();
        let purpose = purpose(&jwks);
        let mut keys = Vec::new();
        for jwk in jwks {
            match VerifyingKey::read(jwk, purpose) {
                // A key that is there twice is one key.
                Ok(key) if keys.iter().any(|other: &VerifyingKey| other.is_as(&key)) => {}
                Ok(key) => keys.push(key),
                Err(JwkProblem::Private | JwkProblem::Symmetric) => return Err(RefusedJwks::NotPublic),
                Err(_) => {}
            }
        }
        if keys.is_empty() { Err(RefusedJwks::NoUsableKey) } else { Ok(Self { keys }) }
    }

    /// What its owner publishes who vouches for no key.
    pub fn empty() -> Self {
        Self { keys: Vec::new() }
    }

    /// This set with the keys of another besides.
    ///
    /// # Errors
    /// [`InvalidJwks`] where there would be too many, or one twice.
    pub fn with(&self, other: &Self) -> Result<Self, InvalidJwks> {
        let keys: Vec<VerifyingKey> = self.keys.iter().chain(&other.keys).cloned().collect();
        if keys.len() > Self::MAX_KEYS { Err(InvalidJwks::TooManyKeys) } else { Self::of_distinct(keys) }
    }

    /// This set without the key of a name; `None` where no key has it.
    pub fn without(&self, name: &str) -> Option<Self> {
        let keys: Vec<VerifyingKey> = self.keys.iter().filter(|key| key.name() != name).cloned().collect();
        (keys.len() < self.keys.len()).then_some(Self { keys })
    }

    /// The keys, in the order of the set.
    pub fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.iter()
    }

    /// The one key that verifies what was signed by `alg` with the key of this name, or with a key that it does not name.
    ///
    /// Never one after the other: whoever signs with one of several keys of an algorithm has to say which (OpenID Connect Core
    /// §10.1), or a forgery would cost as many verifications as there are keys, and its time would say how many.
    pub(crate) fn choose(&self, alg: JwsAlgorithm, kid: Option<&str>, now: UnixSeconds) -> KeyChoice<'_> {
        let named: Vec<&VerifyingKey> =
            self.keys.iter().filter(|key| kid.is_none_or(|kid| key.name() == kid) && key.is_valid_at(now)).collect();
        let mut fit = named.iter().filter_map(|key| key.prepared.iter().find(|prepared| prepared.alg == alg));
        match (fit.next(), fit.next()) {
            (Some(one), None) => KeyChoice::One(one),
            (Some(_), Some(_)) => KeyChoice::Several,
            (None, _) if kid.is_some() && !named.is_empty() => KeyChoice::OfOtherAlgorithm,
            (None, _) => KeyChoice::Unknown,
        }
    }

    fn of_distinct(keys: Vec<VerifyingKey>) -> Result<Self, InvalidJwks> {
        let (mut thumbprints, mut kids) = (BTreeSet::new(), BTreeSet::new());
        for key in &keys {
            if !thumbprints.insert(key.thumbprint.as_str()) {
                return Err(InvalidJwks::SameKey);
            }
            if !kids.insert(key.name()) {
                return Err(InvalidJwks::SameKid);
            }
        }
        Ok(Self { keys })
    }
}

impl VerifyingKey {
    /// The key's `kid`, if it has one.
    pub fn kid(&self) -> Option<&str> {
        self.jwk.kid.as_deref()
    }

    /// Its RFC 7638 thumbprint with SHA-256.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The name by which a signature refers to it: its `kid`, else its thumbprint.
    pub fn name(&self) -> &str {
        self.kid().unwrap_or(&self.thumbprint)
    }

    /// The algorithms that it may be used with: its own `alg`, else those of its type.
    pub fn algorithms(&self) -> impl Iterator<Item = JwsAlgorithm> {
        self.prepared.iter().map(|prepared| prepared.alg)
    }

    fn is_as(&self, other: &Self) -> bool {
        self.thumbprint == other.thumbprint && self.name() == other.name() && self.algorithms().eq(other.algorithms())
    }

    /// Whether its owner lets it be used at `now` (`nbf` and `exp` of the key itself).
    fn is_valid_at(&self, now: UnixSeconds) -> bool {
        self.jwk.nbf.is_none_or(|nbf| nbf <= now) && self.jwk.exp.is_none_or(|exp| now < exp)
    }

    /// Reads a key whose `use` is `purpose`. Where that is signatures, it need not be written.
    fn read(jwk: &Map<String, Value>, purpose: &str) -> Result<Self, JwkProblem> {
        // 1. What must not be here at all, whatever else it is.
        if jwk.get("kty").and_then(Value::as_str) == Some("oct") || jwk.contains_key("k") {
            return Err(JwkProblem::Symmetric);
        }
        if PRIVATE_MEMBERS.iter().any(|member| jwk.contains_key(*member)) {
            return Err(JwkProblem::Private);
        }

        // 2. What it is for.
        let text = |name: &'static str| match jwk.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(JwkProblem::Member(name)),
        };
        if text("use")?.unwrap_or(SIGNATURES) != purpose {
            return Err(JwkProblem::Use);
        }
        match jwk.get("key_ops") {
            None => {}
            Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => {}
            Some(_) => return Err(JwkProblem::Use),
        }
        let alg = match text("alg")? {
            None => None,
            Some(name) => Some(name.parse().map_err(|_| JwkProblem::Algorithm)?),
        };
        let time = |name: &'static str| match jwk.get(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(|seconds| Some(UnixSeconds(seconds))).ok_or(JwkProblem::Member(name)),
        };

        // 3. What it is.
        let kty = text("kty")?.ok_or(JwkProblem::Member("kty"))?;
        let names: &[&'static str] = match kty {
            "EC" => &["crv", "x", "y"],
            "OKP" => &["crv", "x"],
            "RSA" => &["n", "e"],
            _ => return Err(JwkProblem::Type),
        };
        let mut numbers = BTreeMap::new();
        for name in names {
            let number = text(name)?.ok_or(JwkProblem::Member(name))?;
            numbers.insert((*name).to_owned(), number.to_owned());
        }
        let kid = text("kid")?.map(str::to_owned);
        Self::prepare(PublicMembers { kty: kty.to_owned(), kid, alg, numbers, nbf: time("nbf")?, exp: time("exp")? })
    }

    fn prepare(jwk: PublicMembers) -> Result<Self, JwkProblem> {
        if jwk.kid.as_ref().is_some_and(|kid| !(1..=256).contains(&kid.len()) || kid.chars().any(char::is_control)) {
            return Err(JwkProblem::Member("kid"));
        }
        let public = jwk.public_key()?;
        let by_type = public.algorithms();
        let algorithms = match &jwk.alg {
            None => by_type,
            Some(own) if by_type.contains(own) => std::slice::from_ref(own),
            Some(_) => return Err(JwkProblem::Algorithm),
        };
        let prepared = algorithms.iter().map(|alg| public.prepared_for(*alg)).collect::<Option<_>>();
        let prepared = prepared.ok_or(JwkProblem::Invalid)?;
        let thumbprint = jwk.thumbprint().ok_or(JwkProblem::Invalid)?;
        Ok(Self { jwk, thumbprint, prepared })
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("VerifyingKey").field(&self.jwk).finish()
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.jwk == other.jwk
    }
}

impl Eq for VerifyingKey {}

impl TryFrom<StoredJwkSet> for JwkSet {
    type Error = JwkProblem;

    fn try_from(stored: StoredJwkSet) -> Result<Self, JwkProblem> {
        stored.keys.into_iter().map(VerifyingKey::prepare).collect::<Result<_, _>>().map(|keys| Self { keys })
    }
}

impl From<JwkSet> for StoredJwkSet {
    fn from(set: JwkSet) -> Self {
        Self { keys: set.keys.into_iter().map(|key| key.jwk).collect() }
    }
}

/// The `use` of keys that verify signatures (RFC 7517 §4.2).
const SIGNATURES: &str = "sig";
/// The `use` of keys that verify SPIFFE's tokens.
const JWT_SVIDS: &str = "jwt-svid";
/// What only a private key has (RFC 7518 §6.2.2, §6.3.2, RFC 8037 §2), and `priv`, which newer types have.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

#[cfg(test)]
mod tests;
