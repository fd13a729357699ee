//! `client_secret_post` (RFC 6749 §2.3.1): `client_id` and `client_secret` in the request body.

use super::method::{Carrier, Method, Presented};
use super::request::ClientRequest;
use super::secret::{CLIENT_SECRET, presented};
use crate::core::client::auth_method::AuthMethod;
use crate::core::error::{ClientAuthFailure, OAuthError};

pub(super) const METHOD: Method = Method {
    name: AuthMethod::ClientSecretPost,
    carrier: Carrier::Parameters(&[CLIENT_SECRET]),
    needs: &[CLIENT_SECRET],
    is_listed: true,
    find,
};

fn find(request: &ClientRequest<'_>) -> Result<Option<Presented>, OAuthError> {
    let Some(secret) = request.params.single(CLIENT_SECRET)? else { return Ok(None) };
    let client_id = request.params.single("client_id")?;
    presented(client_id.ok_or(OAuthError::InvalidClient(ClientAuthFailure::NoCredentials))?, secret).map(Some)
}
