//! Keys of nobody. An assertion that no key of a client can have signed is verified with one of these, so that its answer takes as
//! long as that to a wrong signature, whether or not there is such a client and whatever keys it has. Nobody has their private halves,
//! and what they say is not looked at.

use std::sync::LazyLock;

use crate::core::keys::jwk_set::{JwkSet, KeyChoice, PreparedKey};
use crate::core::keys::jws_algorithm::JwsAlgorithm;
use crate::core::time::UnixSeconds;

/// The key of this algorithm that makes signatures of this length, or for RSA of the next of the usual ones.
pub(super) fn key(alg: JwsAlgorithm, signature_len: usize) -> Option<&'static PreparedKey> {
    let name = match signature_len {
        0..=256 => "2048",
        257..=384 => "3072",
        _ => "4096",
    };
    let name = match alg {
        JwsAlgorithm::Ps256 | JwsAlgorithm::Rs256 => Some(name),
        JwsAlgorithm::Es256 | JwsAlgorithm::Es384 | JwsAlgorithm::EdDsa => None,
    };
    match KEYS.as_ref()?.choose(alg, name, UnixSeconds(0)) {
        KeyChoice::One(key) => Some(key),
        KeyChoice::Unknown | KeyChoice::OfOtherAlgorithm | KeyChoice::Several => None,
    }
}

static KEYS: LazyLock<Option<JwkSet>> = LazyLock::new(|| JwkSet::parse(KEYS_OF_NOBODY.as_bytes()).ok());

const KEYS_OF_NOBODY: &str = include_str!("nobody.json");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_key_for_every_algorithm_and_every_length_of_a_signature() {
        for alg in JwsAlgorithm::ALL {
            let lengths = alg.signature_len().map_or(vec![256, 257, 384, 385, 512], |len| vec![len]);
            for len in lengths {
                let key = key(alg, len).expect("a key");
                assert_eq!(key.alg, alg);
                assert!(key.signature_len() >= len, "{alg} {len}");
            }
        }
    }
}
