//! Authorization server metadata (RFC 8414): what is built, and no more.

use std::sync::Arc;

use serde::Serialize;

use super::audit;
use super::client::{AuthMethod, GrantType};
use super::error::OAuthError;
use super::ports::AuditSink;
use super::realm::{Issuer, RealmName, Realms};

/// The metadata endpoint of every realm.
pub struct MetadataEndpoint {
    /// Finds the realm.
    pub realms: Realms,
    /// Records why there is no document.
    pub audit: Arc<dyn AuditSink>,
}

/// A metadata document (RFC 8414 §2).
///
/// `response_types_supported` is absent: there is no authorization endpoint, and a member without elements MUST be
/// omitted (RFC 8414 §3.2).
#[derive(Debug, Serialize)]
pub struct Metadata {
    issuer: Issuer,
    token_endpoint: String,
    token_endpoint_auth_methods_supported: [&'static str; 2],
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 2],
    grant_types_supported: [&'static str; 1],
}

impl MetadataEndpoint {
    /// The document of the realm that `issuer` names.
    ///
    /// # Errors
    /// [`OAuthError::UnknownRealm`], or [`OAuthError::Unavailable`] where the registry cannot be asked.
    pub async fn document(&self, realm: &RealmName, issuer: Issuer) -> Result<Metadata, OAuthError> {
        let found = self.realms.find(realm).await;
        audit::refusal(self.audit.as_ref(), "metadata", realm, None, &found);
        found?;
        let methods = AuthMethod::ALL.map(AuthMethod::as_str);
        Ok(Metadata {
            token_endpoint: format!("{issuer}/access_token"),
            token_endpoint_auth_methods_supported: methods,
            introspection_endpoint: format!("{issuer}/introspect"),
            introspection_endpoint_auth_methods_supported: methods,
            revocation_endpoint: format!("{issuer}/token/revoke"),
            revocation_endpoint_auth_methods_supported: methods,
            grant_types_supported: [GrantType::CLIENT_CREDENTIALS],
            issuer,
        })
    }
}
