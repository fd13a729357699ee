//! What of a token of another issuer holds, check by check, for whoever has the token and wants to know why it is refused. The checks are
//! those of [`super::workload_identity`]. None is skipped because one before it has failed, nothing is spent, and nothing is logged.

use serde_json::{Map, Value};

use super::signature;
use super::workload_identity::{MAX_BYTES, Spiffe, TYPES, unverified_issuer};
use crate::core::assertion::{AssertionProblem, Lifetime, SKEW, UnverifiedAssertion};
use crate::core::keys::jwk_set::JwkSet;
use crate::core::realm::Realm;
use crate::core::time::UnixSeconds;
use crate::core::trust::identity::{Identity, IssuerToken};
use crate::core::trust::issuer::{IssuerKeys, IssuerKind, IssuerUrl, TrustedIssuer};

/// A token, and the issuer that it names. Its `Debug` has neither.
pub struct ExaminedToken {
    token: UnverifiedAssertion,
    issuer: TrustedIssuer,
    is_trusted: bool,
    age: Option<u64>,
}

/// One thing that a server looks at before any rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// What: `issuer`, `signature`, `aud`, `time` or `max_age`.
    pub of: &'static str,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Held,
    /// It does not.
    Failed(AssertionProblem),
    /// There is no such issuer in the realm.
    NotTrusted,
    /// Nobody has said against what.
    NotChecked,
}

/// The text is not a token that names an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a token of an issuer: it has to be a signed JWT with sub and iss, or one of SPIFFE")]
pub struct NotAToken;

impl ExaminedToken {
    /// The longest token that is read.
    pub const MAX_BYTES: usize = MAX_BYTES;

    /// Reads a token, and finds its issuer among those of the realm. One of AWS STS need not be registered.
    ///
    /// # Errors
    /// [`NotAToken`].
    pub fn read(text: &str, realm: &Realm, now: UnixSeconds) -> Result<Self, NotAToken> {
        let token = UnverifiedAssertion::parse(text, &TYPES, MAX_BYTES).map_err(|_problem| NotAToken)?;
        let issuer = unverified_issuer(&token, Spiffe::WhereThereIsNoIssuer).map_err(|_problem| NotAToken)?;
        let age = token.issued_at().ok().flatten().map(|made_at| now.since(made_at));
        let trusted = realm.trusted_issuer(&issuer).cloned();
        let is_trusted = trusted.is_some();
        let issuer = match trusted {
            Some(issuer) => issuer,
            None => TrustedIssuer::of_sts(issuer.clone()).or_else(|| untrusted(issuer)).ok_or(NotAToken)?,
        };
        Ok(Self { token, issuer, is_trusted, age })
    }

    /// Its issuer: as the realm has it, or as it would be registered.
    pub fn issuer(&self) -> &TrustedIssuer {
        &self.issuer
    }

    /// Whether its keys may be looked for: nobody asks an address that only the token names, but for issuers of AWS STS.
    pub fn may_be_verified(&self) -> bool {
        self.is_trusted || self.issuer.issuer.is_sts()
    }

    /// What it says.
    pub fn claims(&self) -> &Map<String, Value> {
        self.token.claims()
    }

    /// What it says, to the rules.
    pub fn identity(&self) -> Identity<'_> {
        Identity::Token(IssuerToken { issuer: &self.issuer, claims: self.token.claims(), age: self.age })
    }

    /// Every check, in the order in which a server makes them. `us` is the issuer that the request would address.
    pub fn checks(&self, us: Option<&str>, keys: Option<&JwkSet>, now: UnixSeconds) -> Vec<Check> {
        let of = |of, outcome| Check { of, outcome };
        let result = |result: Result<(), AssertionProblem>| result.map_or_else(Outcome::Failed, |()| Outcome::Held);
        let issuer = if self.may_be_verified() { Outcome::Held } else { Outcome::NotTrusted };
        let audience = us.map(|us| self.check_audience(us));
        let time = self.token.validity(Lifetime::OF_ITS_ISSUER, now).map(|_validity| ());
        let age = self.issuer.max_age.map(|max_age| match self.age {
            None => Err(AssertionProblem::Claims),
            Some(age) if age >= max_age.saturating_add(SKEW) => Err(AssertionProblem::TooOld),
            Some(_age) => Ok(()),
        });
        let signed = keys.map(|keys| {
            let by = signature::By { keys, algs: &self.issuer.algs };
            signature::check(&self.token, Some(by), now)
        });
        let jti = self.issuer.single_use.then(|| self.token.jti().map(|_jti| ()));
        let mut checks = vec![
            of("issuer", issuer),
            of("aud", audience.map_or(Outcome::NotChecked, result)),
            of("time", result(time)),
            of("signature", signed.map_or(Outcome::NotChecked, result)),
        ];
        checks.extend(age.map(|age| of("max_age", result(age))));
        // Whether it was used before only the server knows.
        checks.extend(jti.map(|jti| of("jti", jti.map_or_else(Outcome::Failed, |()| Outcome::NotChecked))));
        checks
    }

    fn check_audience(&self, us: &str) -> Result<(), AssertionProblem> {
        let audience = self.token.audience()?;
        let is_us = matches!(audience.strip_prefix(us), Some("" | "/"));
        if is_us { Ok(()) } else { Err(AssertionProblem::Audience) }
    }
}

impl std::fmt::Debug for ExaminedToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ExaminedToken(..)")
    }
}

impl Outcome {
    /// Whether a server would refuse the token for it.
    pub fn is_refused(self) -> bool {
        matches!(self, Self::Failed(_) | Self::NotTrusted)
    }
}

/// An issuer that nobody has registered, as its own name tells.
fn untrusted(issuer: IssuerUrl) -> Option<TrustedIssuer> {
    let kind = issuer.known_kind().unwrap_or(IssuerKind::Oidc);
    let keys = IssuerKeys::Discovery { allow_private_network: false, ca: None };
    Some(TrustedIssuer::new("unregistered".parse().ok()?, issuer, kind, keys))
}
