//! `workload_identity` (RFC 7521, RFC 7523; draft-ietf-oauth-spiffe-client-auth): a token in which an issuer that the realm trusts says
//! who the caller is. A rule of the client's registration says who may be the client, so the token need not name it: `client_id` does.
//!
//! The token is the client's assertion, or its grant. What it says of itself decides only which method reads it: its issuer is looked up
//! in the realm, its keys with that issuer, and whether the client may authenticate so at all in the registration.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::method::{Carrier, Circumstances, Look, Method, Presented, Proof, Proven, Stores};
use super::request::ClientRequest;
use super::{admission, signature};
use crate::core::assertion::{
    AssertionProblem, JWT_BEARER, JWT_SPIFFE, Lifetime, SKEW, UnverifiedAssertion, unverified_claims,
};
use crate::core::client::Client;
use crate::core::client::auth_method::AuthMethod;
use crate::core::error::{ClientAuthFailure, OAuthError};
use crate::core::keys::jwk_set::JwkSet;
use crate::core::port_error::PortError;
use crate::core::ports::RemoteKeys;
use crate::core::realm::{Issuer, Realm};
use crate::core::replay::ReplayKey;
use crate::core::source::ClientSource;
use crate::core::time::UnixSeconds;
use crate::core::trust::admission::Admission;
use crate::core::trust::identity::{Identity, IssuerToken};
use crate::core::trust::issuer::{IssuerKeys, IssuerUrl, TrustedIssuer};

pub(super) const METHOD: Method = Method {
    name: AuthMethod::WorkloadIdentity,
    carrier: Carrier::ASSERTION,
    needs: &["trust"],
    is_listed: false,
    find,
};

/// A token, who says that it made it, and by which issuer the request addressed us.
struct PresentedToken {
    token: UnverifiedAssertion,
    unverified_issuer: IssuerUrl,
    us: Issuer,
    source: Option<ClientSource>,
}

/// Until when a token is good, and when it was made.
struct Times {
    now: UnixSeconds,
    over_at: UnixSeconds,
    issued_at: Option<UnixSeconds>,
}

/// Whether the client assertion of a request is a token of another issuer: one of SPIFFE, or one whose `iss` is an address and not its
/// `sub`. A client's own assertion has its `client_id` as both.
pub(super) fn is_carried_by(request: &ClientRequest<'_>) -> Result<bool, OAuthError> {
    let text = request.params.single("client_assertion")?;
    match request.params.single("client_assertion_type")? {
        Some(JWT_SPIFFE) => Ok(true),
        Some(JWT_BEARER) => Ok(text.is_some_and(is_of_another_issuer)),
        _ => Ok(false),
    }
}

/// What a request presents as its grant.
pub(super) fn presented_as_grant(request: &ClientRequest<'_>) -> Result<Presented, OAuthError> {
    let text = request.params.single("assertion")?;
    let text = text.ok_or(OAuthError::InvalidRequest("assertion is missing"))?;
    presented(request, text, Spiffe::WhereThereIsNoIssuer)
}

fn find(request: &ClientRequest<'_>) -> Result<Option<Presented>, OAuthError> {
    if !is_carried_by(request)? {
        return Ok(None);
    }
    let spiffe = match request.params.single("client_assertion_type")? {
        Some(JWT_SPIFFE) => Spiffe::Always,
        _ => Spiffe::WhereThereIsNoIssuer,
    };
    let text = request.params.single("client_assertion")?;
    let text = text.ok_or(OAuthError::InvalidRequest("client_assertion is missing beside client_assertion_type"))?;
    presented(request, text, spiffe).map(Some)
}

/// When a token is one of SPIFFE, whose issuer is the trust domain of its `sub`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spiffe {
    /// Whatever it has as `iss`, which says nothing there (JWT-SVID §3).
    Always,
    WhereThereIsNoIssuer,
}

fn presented(request: &ClientRequest<'_>, text: &str, spiffe: Spiffe) -> Result<Presented, OAuthError> {
    let token = UnverifiedAssertion::parse(text, &TYPES, MAX_BYTES).map_err(failure)?;
    let unverified_issuer = unverified_issuer(&token, spiffe)?;
    let client_id = request.params.single("client_id")?;
    let client_id =
        client_id.ok_or(OAuthError::InvalidRequest("client_id is missing beside the token of an issuer"))?;
    let proof =
        Box::new(PresentedToken { token, unverified_issuer, us: request.issuer.clone(), source: request.source });
    Ok(Presented { unverified_client_id: Zeroizing::new(client_id.to_owned()), proof })
}

pub(super) fn unverified_issuer(token: &UnverifiedAssertion, spiffe: Spiffe) -> Result<IssuerUrl, OAuthError> {
    if spiffe == Spiffe::Always || !token.claims().contains_key("iss") {
        let id = token.text("sub").map_err(failure)?;
        return IssuerUrl::of_spiffe_id(id).ok_or_else(|| failure(AssertionProblem::Claims));
    }
    // What no realm can have registered is the issuer of nobody.
    let issuer = token.text("iss").map_err(failure)?.parse::<IssuerUrl>();
    let issuer = issuer.map_err(|_| OAuthError::InvalidClient(ClientAuthFailure::IssuerNotTrusted))?;
    // A trust domain speaks of its own workloads alone.
    if issuer.is_spiffe() && IssuerUrl::of_spiffe_id(token.text("sub").map_err(failure)?).as_ref() != Some(&issuer) {
        return Err(failure(AssertionProblem::Claims));
    }
    Ok(issuer)
}

fn is_of_another_issuer(text: &str) -> bool {
    let Some(claims) = unverified_claims(text, MAX_BYTES) else { return false };
    let text = |claim: &str| claims.get(claim).and_then(|value| value.as_str());
    match text("iss") {
        Some(issuer) => issuer.contains("://") && text("sub") != Some(issuer),
        None => !claims.contains_key("iss") && text("sub").is_some_and(|id| id.starts_with(SPIFFE)),
    }
}

#[async_trait]
impl Proof for PresentedToken {
    fn can_prove(&self, _client: &Client, _now: UnixSeconds) -> Result<(), ClientAuthFailure> {
        // A client without rules may have been given some since it was remembered, which another look finds out.
        Ok(())
    }

    async fn verify(
        &self,
        client: Option<&Client>,
        _look: Look,
        stores: &Stores,
        circumstances: Circumstances<'_>,
    ) -> Result<Proven, OAuthError> {
        let Circumstances { realm, now } = circumstances;

        // 1. What anybody can check, with or without a client: it costs no verification.
        let times = self.check_claims(now).map_err(failure)?;

        // 2. Whose keys: nobody's where the client is not registered for the method, or its rules do not name the issuer.
        let issuer = match client {
            Some(client) => self.issuer_for(client, realm),
            None => Err(ClientAuthFailure::UnknownClient),
        };
        let keys = if let Ok(issuer) = &issuer {
            Some(Keys::of(issuer, stores).await?)
        } else {
            stores.secrets.no_secrets().await;
            None
        };

        // 3. The signature: one verification, whoever the client and the issuer are and whatever is wrong with the key. One more where
        //    the issuer has other keys since.
        let mut signed = self.check_signature(issuer.as_ref().ok().zip(keys.as_ref()), now);
        if let (Ok(issuer), Some(Keys::Fetched(_)), Err(problem)) = (&issuer, &keys, signed)
            && problem.is_of_keys()
            && let Some(newer) = Keys::since(issuer, stores).await?
        {
            signed = self.check_signature(Some((issuer, &newer)), now);
        }
        let (Some(client), issuer) = (client, issuer.map_err(OAuthError::InvalidClient)?) else {
            return Err(OAuthError::InvalidClient(ClientAuthFailure::UnknownClient));
        };
        signed.map_err(failure)?;

        // 4. Its age, by the issuer as it is registered, and what it says, by the client's rules.
        let over_at = times.over_at_of(&issuer).map_err(failure)?;
        let identity = Identity::Token(IssuerToken {
            issuer: &issuer,
            claims: self.token.claims(),
            age: IssuerToken::age_at(times.issued_at, now),
        });
        let (rule, observed) = admission::admitting(client, identity).map_err(OAuthError::InvalidClient)?;

        // 5. Once, where it is, and only now: a jti that anybody could spend would let anybody refuse the caller.
        if issuer.single_use || rule.single_use {
            self.spend(&issuer, stores, circumstances, over_at).await?;
        }
        if let Some(remote) = &stores.remote_keys {
            remote.confirm_issuer(&issuer).await;
        }
        let admission = Admission::of(rule, identity, &client.metadata.access_token_claims);
        Ok(Proven::Identity { admission, observed })
    }

    async fn admits_another_look(&self, client: &Client, failure: &ClientAuthFailure, stores: &Stores) -> bool {
        // The registration may have the method, or a rule, since. An issuer's keys are not in it, and have been looked for again.
        let may_be_newer = matches!(
            failure,
            ClientAuthFailure::MethodNotTried | ClientAuthFailure::IssuerNotTrusted | ClientAuthFailure::NoTrustRule(_)
        );
        may_be_newer && stores.secrets.admits_another_look(client).await
    }
}

impl PresentedToken {
    fn check_claims(&self, now: UnixSeconds) -> Result<Times, AssertionProblem> {
        self.token.text("sub")?;
        let audience = self.token.audience()?;
        let validity = self.token.validity(Lifetime::OF_ITS_ISSUER, now)?;
        // The issuer that the request addressed, with or without a slash at its end: whoever else takes tokens of this issuer could
        // show us one that is for them.
        if !matches!(audience.strip_prefix(self.us.as_str()), Some("" | "/")) {
            return Err(AssertionProblem::Audience);
        }
        Ok(Times { now, over_at: validity.over_at, issued_at: self.token.issued_at()? })
    }

    /// The issuer, where a rule of the client may admit its tokens. An issuer of AWS STS need not be registered where a rule demands an
    /// organization.
    fn issuer_for<'a>(&self, client: &Client, realm: &'a Realm) -> Result<Cow<'a, TrustedIssuer>, ClientAuthFailure> {
        if !client.allows_method(AuthMethod::WorkloadIdentity) {
            return Err(ClientAuthFailure::MethodNotTried);
        }
        let (named, trust) = (&self.unverified_issuer, &client.metadata.trust);
        match realm.trusted_issuer(named) {
            Some(issuer) if trust.name(named) => Ok(Cow::Borrowed(issuer)),
            None if named.is_sts() && trust.admit_any_sts_issuer() => {
                let issuer = TrustedIssuer::of_sts(named.clone()).ok_or(ClientAuthFailure::IssuerNotTrusted)?;
                Ok(Cow::Owned(issuer.asked_from(self.source)))
            }
            _ => Err(ClientAuthFailure::IssuerNotTrusted),
        }
    }

    fn check_signature(
        &self,
        by: Option<(&Cow<'_, TrustedIssuer>, &Keys<'_>)>,
        now: UnixSeconds,
    ) -> Result<(), AssertionProblem> {
        let by = by.map(|(issuer, keys)| signature::By { keys: keys.set(), algs: &issuer.algs });
        signature::check(&self.token, by, now)
    }

    async fn spend(
        &self,
        issuer: &TrustedIssuer,
        stores: &Stores,
        Circumstances { realm, now }: Circumstances<'_>,
        over_at: UnixSeconds,
    ) -> Result<(), OAuthError> {
        let jti = self.token.jti().map_err(failure)?;
        let key = ReplayKey::of_issuer(&realm.name, &issuer.issuer, jti);
        let guard = stores.replay_guard.as_ref().ok_or_else(|| PortError::Unavailable {
            service: "the guard against replays",
            detail: "this process takes no assertions".to_owned(),
        })?;
        if guard.first_use(&key, now, over_at).await? { Ok(()) } else { Err(failure(AssertionProblem::Replayed)) }
    }
}

impl Times {
    /// From when on nobody takes a token of this issuer any more.
    fn over_at_of(&self, issuer: &TrustedIssuer) -> Result<UnixSeconds, AssertionProblem> {
        let Some(max_age) = issuer.max_age else { return Ok(self.over_at) };
        // One that does not say when it was made may be of any age.
        let issued_at = self.issued_at.ok_or(AssertionProblem::Claims)?;
        // From when it was made and not from now: a use has to be remembered for as long as the token is taken, to the second.
        let over_at = issued_at.plus(max_age).plus(SKEW);
        if over_at <= self.now { Err(AssertionProblem::TooOld) } else { Ok(self.over_at.min(over_at)) }
    }
}

/// The keys of an issuer, which are in its registration or somewhere else.
enum Keys<'a> {
    Registered(&'a JwkSet),
    Fetched(Arc<JwkSet>),
}

impl Keys<'_> {
    async fn of<'a>(issuer: &'a TrustedIssuer, stores: &Stores) -> Result<Keys<'a>, OAuthError> {
        if let IssuerKeys::Jwks(keys) = &issuer.keys {
            return Ok(Keys::Registered(keys));
        }
        Ok(Keys::Fetched(fetched(stores)?.issuer_keys(issuer).await?))
    }

    /// Those that it has since, where they were what is wrong: another look at the registration costs no fetch, and whoever causes one
    /// keeps nobody else from it.
    async fn since<'a>(issuer: &TrustedIssuer, stores: &Stores) -> Result<Option<Keys<'a>>, OAuthError> {
        Ok(fetched(stores)?.issuer_keys_after_mismatch(issuer).await?.map(Keys::Fetched))
    }

    fn set(&self) -> &JwkSet {
        match self {
            Keys::Registered(keys) => keys,
            Keys::Fetched(keys) => keys,
        }
    }
}

fn fetched(stores: &Stores) -> Result<&dyn RemoteKeys, OAuthError> {
    let remote = stores.remote_keys.as_deref().ok_or_else(|| PortError::Unavailable {
        service: "the issuer's keys",
        detail: "this server fetches no keys".to_owned(),
    });
    Ok(remote?)
}

fn failure(problem: AssertionProblem) -> OAuthError {
    OAuthError::InvalidClient(ClientAuthFailure::Assertion(problem))
}

/// Under which draft-ietf-oauth-spiffe-client-auth has clients find that such tokens are taken.
pub(super) const SPIFFE_METHOD: &str = "spiffe_jwt";
const SPIFFE: &str = "spiffe://";
/// The most bytes of a token: AWS has up to fifty tags in one.
pub(super) const MAX_BYTES: usize = 32 * 1024;
/// What a token may say that it is; Kubernetes says nothing, and SPIFFE allows both. Not an access token (RFC 9068).
pub(super) const TYPES: [&str; 2] = ["JWT", "JOSE"];
