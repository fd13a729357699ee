//! `client_secret_post` (RFC 6749 §2.3.1): `client_id` and `client_secret` in the request body.

use super::ClientRequest;
use super::method::{Carrier, Method, Needs, Presented};
use super::secret::presented;
use crate::core::client::auth_method::AuthMethod;
use crate::core::error::{ClientAuthFailure, OAuthError};

pub(super) const METHOD: Method = Method {
    name: AuthMethod::ClientSecretPost,
    carrier: Carrier::Parameters(&["client_secret"]),
    needs: Needs::Secret,
    is_listed: true,
    find,
};

fn find(request: &ClientRequest<'_>) -> Result<Option<Presented>, OAuthError> {
    let Some(secret) = request.params.single("client_secret")? else { return Ok(None) };
    let client_id = request.params.single("client_id")?;
    presented(client_id.ok_or(OAuthError::InvalidClient(ClientAuthFailure::NoCredentials))?, secret).map(Some)
}
