//! The signature of an assertion: one verification, whoever the client is and whatever is wrong with the key.

use std::collections::BTreeSet;

use super::nobody;
use crate::core::assertion::{AssertionProblem, UnverifiedAssertion};
use crate::core::keys::jwk_set::{JwkSet, KeyChoice, PreparedKey};
use crate::core::keys::jws_algorithm::JwsAlgorithm;
use crate::core::time::UnixSeconds;

/// Who may have signed an assertion, as somebody has registered it.
#[derive(Clone, Copy)]
pub(super) struct By<'a> {
    /// With one of these.
    pub(super) keys: &'a JwkSet,
    /// By one of these algorithms; as each key allows where there are none.
    pub(super) algs: &'a BTreeSet<JwsAlgorithm>,
}

/// Whether one of those has signed it. Where there are none, with a key of nobody.
///
/// # Errors
/// What is wrong.
pub(super) fn check(
    assertion: &UnverifiedAssertion,
    by: Option<By<'_>>,
    now: UnixSeconds,
) -> Result<(), AssertionProblem> {
    let problem = match by.map_or(Err(AssertionProblem::UnknownKey), |by| by.key(assertion, now)) {
        Ok(key) if assertion.may_be_signed_by(key) => {
            return if assertion.is_signed_by(key) { Ok(()) } else { Err(AssertionProblem::Signature) };
        }
        Ok(_of_another_size) => AssertionProblem::Signature,
        Err(problem) => problem,
    };
    if let Some(key) = nobody::key(assertion.alg, assertion.signature_len()) {
        assertion.is_signed_by_nobody(key);
    }
    Err(problem)
}

impl<'a> By<'a> {
    fn key(self, assertion: &UnverifiedAssertion, now: UnixSeconds) -> Result<&'a PreparedKey, AssertionProblem> {
        // By the registration, never by the header alone (RFC 8725 §3.1).
        if !self.algs.is_empty() && !self.algs.contains(&assertion.alg) {
            return Err(AssertionProblem::Algorithm);
        }
        match self.keys.choose(assertion.alg, assertion.kid.as_deref(), now) {
            KeyChoice::One(key) => Ok(key),
            KeyChoice::Unknown => Err(AssertionProblem::UnknownKey),
            KeyChoice::OfOtherAlgorithm => Err(AssertionProblem::Algorithm),
            KeyChoice::Several => Err(AssertionProblem::UnnamedKey),
        }
    }
}
