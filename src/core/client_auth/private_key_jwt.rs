//! `private_key_jwt` (RFC 7523 §2.2, with the rules of rfc7523bis and RFC 8725): an assertion that the client has signed with its private
//! key, for us, for minutes, and for one use.

use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::method::{Carrier, Circumstances, Look, Method, Presented, Proof, Proven, Stores};
use super::request::ClientRequest;
use super::{signature, workload_identity};
use crate::core::assertion::{AssertionProblem, JWT_BEARER, Lifetime, UnverifiedAssertion};
use crate::core::client::Client;
use crate::core::client::auth_method::AuthMethod;
use crate::core::endpoint::TOKEN_PATH;
use crate::core::error::{ClientAuthFailure, OAuthError};
use crate::core::keys::jwk_set::JwkSet;
use crate::core::port_error::PortError;
use crate::core::realm::{AssertionAudience, Issuer};
use crate::core::replay::ReplayKey;
use crate::core::time::UnixSeconds;

pub(super) const METHOD: Method = Method {
    name: AuthMethod::PrivateKeyJwt,
    carrier: Carrier::ASSERTION,
    needs: &["jwks", "jwks_uri"],
    is_listed: true,
    find,
};

/// An assertion, and by which issuer the request addressed us.
struct PresentedAssertion {
    assertion: UnverifiedAssertion,
    issuer: Issuer,
}

fn find(request: &ClientRequest<'_>) -> Result<Option<Presented>, OAuthError> {
    if workload_identity::is_carried_by(request)? {
        return Ok(None);
    }
    let text = request.params.single("client_assertion")?;
    let kind = request.params.single("client_assertion_type")?;
    let Some(kind) = kind else {
        return Err(OAuthError::InvalidRequest("client_assertion_type is missing beside client_assertion"));
    };
    if kind != JWT_BEARER {
        return Err(OAuthError::InvalidRequest("this server does not support the client_assertion_type"));
    }
    let text = text.ok_or(OAuthError::InvalidRequest("client_assertion is missing beside client_assertion_type"))?;

    // Who it says it is: nobody has signed anything yet.
    let assertion = UnverifiedAssertion::parse(text, &TYPES, MAX_BYTES).map_err(failure)?;
    let unverified_client_id = Zeroizing::new(assertion.text("sub").map_err(failure)?.to_owned());
    let proof = Box::new(PresentedAssertion { assertion, issuer: request.issuer.clone() });
    Ok(Some(Presented { unverified_client_id, proof }))
}

#[async_trait]
impl Proof for PresentedAssertion {
    fn can_prove(&self, _client: &Client, _now: UnixSeconds) -> Result<(), ClientAuthFailure> {
        // A client without keys may have been given some since it was remembered, which another look finds out.
        Ok(())
    }

    async fn verify(
        &self,
        client: Option<&Client>,
        look: Look,
        stores: &Stores,
        circumstances: Circumstances<'_>,
    ) -> Result<Proven, OAuthError> {
        // 1. What anybody can check, with or without a client: it costs no verification.
        let over_at = self.check_claims(circumstances).map_err(failure)?;

        // 2. The signature: one verification, whoever the client is and whatever is wrong with the key.
        let keys = if let Some(client) = client {
            Keys::of(client, look, stores).await?
        } else {
            stores.secrets.no_secrets().await;
            Keys::None
        };
        self.check_signature(client, keys.set(), circumstances.now).map_err(failure)?;
        let Some(client) = client else { return Err(failure(AssertionProblem::UnknownKey)) };

        // 3. Once, and only now: a jti that anybody could spend would let anybody refuse the client.
        let jti = self.assertion.jti().map_err(failure)?;
        let key = ReplayKey::of_client(&client.realm, &client.registration_id, jti);
        let guard = stores.replay_guard.as_ref().ok_or_else(|| PortError::Unavailable {
            service: "the guard against replays",
            detail: "this process takes no assertions".to_owned(),
        })?;
        if guard.first_use(&key, circumstances.now, over_at).await? {
            Ok(Proven::Registration)
        } else {
            Err(failure(AssertionProblem::Replayed))
        }
    }

    async fn admits_another_look(&self, client: &Client, failure: &ClientAuthFailure, stores: &Stores) -> bool {
        // The registration, or what is at its jwks_uri, may have another key since: under another name, or the same.
        let may_be_newer = matches!(failure, ClientAuthFailure::Assertion(problem) if problem.is_of_keys());
        may_be_newer && stores.secrets.admits_another_look(client).await
    }
}

impl PresentedAssertion {
    /// Until when it has to be remembered.
    fn check_claims(&self, circumstances: Circumstances<'_>) -> Result<UnixSeconds, AssertionProblem> {
        let settings = &circumstances.realm.settings;
        let (issuer, subject) = (self.assertion.text("iss")?, self.assertion.text("sub")?);
        self.assertion.jti()?;
        let audience = self.assertion.audience()?;
        let lifetime = Lifetime { max: settings.assertion_max_lifetime.unwrap_or_default().seconds() };
        let validity = self.assertion.validity(lifetime, circumstances.now)?;
        if issuer != subject {
            return Err(AssertionProblem::Issuer);
        }
        if !self.is_for_us(audience, settings.assertion_audience.unwrap_or_default()) {
            return Err(AssertionProblem::Audience);
        }
        Ok(validity.over_at)
    }

    /// The issuer that the request addressed, with or without a slash at its end. Another address of ours is another audience
    /// (rfc7523bis): an assertion for one endpoint of one server could be shown at another (CVE-2025-27370).
    fn is_for_us(&self, audience: &str, accepted: AssertionAudience) -> bool {
        let rest = audience.strip_prefix(self.issuer.as_str());
        match (rest, accepted) {
            (Some("" | "/"), _) => true,
            (Some(rest), AssertionAudience::Compatible) => rest.strip_prefix('/') == Some(TOKEN_PATH),
            (Some(_), AssertionAudience::Strict) | (None, _) => false,
        }
    }

    fn check_signature(
        &self,
        client: Option<&Client>,
        keys: Option<&JwkSet>,
        now: UnixSeconds,
    ) -> Result<(), AssertionProblem> {
        let by = client
            .zip(keys)
            .map(|(client, keys)| signature::By { keys, algs: &client.metadata.token_endpoint_auth_signing_algs });
        signature::check(&self.assertion, by, now)
    }
}

/// The keys of a client, which are in its registration or at an address.
enum Keys<'a> {
    None,
    Registered(&'a JwkSet),
    Fetched(Arc<JwkSet>),
}

impl<'a> Keys<'a> {
    async fn of(client: &'a Client, look: Look, stores: &Stores) -> Result<Self, OAuthError> {
        // Nothing is fetched for whoever may not authenticate by it anyway.
        if !client.allows_method(AuthMethod::PrivateKeyJwt) {
            return Ok(Self::None);
        }
        let metadata = &client.metadata;
        let Some(address) = &metadata.jwks_uri else {
            return Ok(metadata.jwks.as_ref().map_or(Self::None, Self::Registered));
        };
        let remote = stores.remote_keys.as_ref().ok_or_else(|| PortError::Unavailable {
            service: "the client's jwks_uri",
            detail: "this server fetches no keys".to_owned(),
        })?;
        let newer = match look {
            Look::Remembered => None,
            Look::Anew => remote.remote_keys_after_mismatch(address).await?,
        };
        let fetched = match newer {
            Some(newer) => newer,
            None => remote.remote_keys(address).await?,
        };
        Ok(Self::Fetched(fetched))
    }

    fn set(&self) -> Option<&JwkSet> {
        match self {
            Self::None => None,
            Self::Registered(keys) => Some(keys),
            Self::Fetched(keys) => Some(keys),
        }
    }
}

fn failure(problem: AssertionProblem) -> OAuthError {
    OAuthError::InvalidClient(ClientAuthFailure::Assertion(problem))
}

/// The most bytes of an assertion.
const MAX_BYTES: usize = 8 * 1024;
/// What an assertion may say that it is (rfc7523bis §4).
const TYPES: [&str; 2] = ["JWT", "client-authentication+jwt"];
