//! `aws_iam`: the client is the role of AWS whose credentials have signed the request. AWS has verified the signature before our code
//! runs, and says who the caller is; one of the client's trust rules says that this is the client.
//!
//! Nothing in the request is a proof here, so nothing in it is looked at but `client_id`. Where AWS does not verify who calls,
//! the method does not exist.

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::admission;
use super::method::{Carrier, Circumstances, Look, Method, Presented, Proof, Proven, Stores};
use super::request::ClientRequest;
use crate::core::client::Client;
use crate::core::client::auth_method::AuthMethod;
use crate::core::error::{ClientAuthFailure, OAuthError};
use crate::core::time::UnixSeconds;
use crate::core::trust::admission::Admission;
use crate::core::trust::aws::AwsCaller;
use crate::core::trust::caller::{CallerByAws, CallerProblem};
use crate::core::trust::identity::Identity;

pub(super) const METHOD: Method = Method {
    name: AuthMethod::AwsIam,
    carrier: Carrier::AwsCaller,
    needs: &["trust"],
    // The endpoints that metadata documents name are at an address where it does not exist.
    is_listed: false,
    find,
};

struct PresentedCaller(Result<AwsCaller, CallerProblem>);

fn find(request: &ClientRequest<'_>) -> Result<Option<Presented>, OAuthError> {
    let Some(CallerByAws(caller)) = request.aws_caller else { return Ok(None) };
    // Many clients may trust one role, so the role alone does not say which of them is meant.
    let client_id = request.params.single("client_id")?;
    let client_id =
        client_id.ok_or(OAuthError::InvalidRequest("client_id is missing: the role alone names no client"))?;
    let unverified_client_id = Zeroizing::new(client_id.to_owned());
    Ok(Some(Presented { unverified_client_id, proof: Box::new(PresentedCaller(caller.clone())) }))
}

#[async_trait]
impl Proof for PresentedCaller {
    fn can_prove(&self, _client: &Client, _now: UnixSeconds) -> Result<(), ClientAuthFailure> {
        // A client without a rule for the caller may have been given one since it was remembered, which another look finds out.
        Ok(())
    }

    async fn verify(
        &self,
        client: Option<&Client>,
        _look: Look,
        stores: &Stores,
        _circumstances: Circumstances<'_>,
    ) -> Result<Proven, OAuthError> {
        let caller = self.0.as_ref().map_err(|problem| failure(ClientAuthFailure::AwsCaller(*problem)))?;
        let Some(client) = client else {
            stores.secrets.no_secrets().await;
            return Err(failure(ClientAuthFailure::UnknownClient));
        };
        let identity = Identity::AwsCaller(caller);
        let (rule, observed) = admission::admitting(client, identity).map_err(failure)?;
        let admission = Admission::of(rule, identity, &client.metadata.access_token_claims);
        Ok(Proven::Identity { admission, observed })
    }

    async fn admits_another_look(&self, client: &Client, failure: &ClientAuthFailure, stores: &Stores) -> bool {
        // A rule that was registered a moment ago. Whoever is not a role satisfies none.
        matches!(failure, ClientAuthFailure::NoTrustRule(_)) && stores.secrets.admits_another_look(client).await
    }
}

fn failure(failure: ClientAuthFailure) -> OAuthError {
    OAuthError::InvalidClient(failure)
}
