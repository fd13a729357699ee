//! Authorization server metadata (RFC 8414) and the realm's keys (RFC 7517): what is built, and no more.

use std::sync::Arc;

use serde::Serialize;

use super::audit::{self, AuditSink};
use super::client::grant_type::GrantType;
use super::client_auth;
use super::endpoint::{Endpoint, Method};
use super::error::OAuthError;
use super::introspection::IntrospectionEndpoint;
use super::keys::SigningAlgorithm;
use super::keys::jws_algorithm::JwsAlgorithm;
use super::keys::published::Jwks;
use super::ports::VerificationKeySource;
use super::realm::{Issuer, Realm, RealmName};
use super::realms::Realms;
use super::revocation::RevocationEndpoint;
use super::token::TokenEndpoint;

/// The metadata endpoint of every realm.
pub struct MetadataEndpoint {
    /// Finds the realm.
    pub realms: Realms,
    /// Knows what it signs with.
    pub keys: Arc<dyn VerificationKeySource>,
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
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    token_endpoint_auth_signing_alg_values_supported: [&'static str; JwsAlgorithm::NAMES.len()],
    jwks_uri: String,
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; JwsAlgorithm::NAMES.len()],
    /// RFC 9701 §7.
    introspection_signing_alg_values_supported: [&'static str; 4],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; JwsAlgorithm::NAMES.len()],
    grant_types_supported: [&'static str; 2],
}

impl MetadataEndpoint {
    /// What the document says of itself. It has two more paths: [`Self::OPENID_PATH`], and this one before that of the realm.
    pub const DOCUMENT: Endpoint = Endpoint {
        name: "metadata",
        path: ".well-known/oauth-authorization-server",
        method: Method::Get,
        parameters: &[],
    };

    /// Where clients of OpenID Connect look for the same.
    pub const OPENID_PATH: &str = ".well-known/openid-configuration";

    /// What the keys say of themselves.
    pub const JWKS: Endpoint = Endpoint { name: "jwks", path: "connect/jwk_uri", method: Method::Get, parameters: &[] };

    /// The document of the realm that `issuer` names.
    ///
    /// # Errors
    /// [`OAuthError::UnknownRealm`], or [`OAuthError::Unavailable`] where the registry cannot be asked.
    pub async fn document(&self, realm: &RealmName, issuer: Issuer) -> Result<Metadata, OAuthError> {
        let realm = self.require(realm, Self::DOCUMENT).await?;
        let url_of = |endpoint: Endpoint| format!("{issuer}/{}", endpoint.path);
        let methods: Vec<_> = client_auth::methods_listed_in(&realm).collect();
        Ok(Metadata {
            token_endpoint: url_of(TokenEndpoint::ENDPOINT),
            token_endpoint_auth_methods_supported: methods.clone(),
            token_endpoint_auth_signing_alg_values_supported: JwsAlgorithm::NAMES,
            jwks_uri: url_of(Self::JWKS),
            introspection_endpoint: url_of(IntrospectionEndpoint::ENDPOINT),
            introspection_endpoint_auth_methods_supported: methods.clone(),
            introspection_endpoint_auth_signing_alg_values_supported: JwsAlgorithm::NAMES,
            introspection_signing_alg_values_supported: SigningAlgorithm::ALL.map(SigningAlgorithm::as_str),
            revocation_endpoint: url_of(RevocationEndpoint::ENDPOINT),
            revocation_endpoint_auth_methods_supported: methods,
            revocation_endpoint_auth_signing_alg_values_supported: JwsAlgorithm::NAMES,
            grant_types_supported: [GrantType::CLIENT_CREDENTIALS, GrantType::JWT_BEARER],
            issuer,
        })
    }

    /// The public keys of a realm; none where it has never signed anything.
    ///
    /// # Errors
    /// [`OAuthError::UnknownRealm`], or [`OAuthError::Unavailable`] where a store cannot be asked.
    pub async fn jwks(&self, realm: &RealmName) -> Result<Jwks, OAuthError> {
        self.require(realm, Self::JWKS).await?;
        let keys = self.keys.verification_keys(realm).await.map_err(OAuthError::from);
        audit::refusal_of_document(self.audit.as_ref(), Self::JWKS.name, realm, &keys);
        Ok(keys?.jwks().clone())
    }

    async fn require(&self, realm: &RealmName, endpoint: Endpoint) -> Result<Arc<Realm>, OAuthError> {
        let found = self.realms.find(realm).await;
        audit::refusal_of_document(self.audit.as_ref(), endpoint.name, realm, &found);
        found
    }
}
