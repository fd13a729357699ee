//! Whom a token is to be for (RFC 8707 §2): what a client asks for, as far as it is registered for it.

use super::client::Client;
use super::error::OAuthError;
use super::params::Params;
use super::realm::Issuer;
use super::resource::{Audience, ResourceUri};

/// What a request may have as audience (RFC 8707 §2.2): the resources it names, where the client is registered for each of
/// them; else the client's default resource, which is its first; else the issuer.
///
/// # Errors
/// [`OAuthError::InvalidTarget`] for a resource that is malformed or not the client's.
pub(super) fn requested_audience(params: &Params, client: &Client, issuer: &Issuer) -> Result<Audience, OAuthError> {
    let registered = &client.metadata.resources;
    let mut named: Vec<ResourceUri> = Vec::new();
    // The one parameter that may be repeated.
    for value in params.all("resource") {
        let resource: ResourceUri = value.parse().map_err(|_| MALFORMED)?;
        if !registered.contains(&resource) {
            return Err(OAuthError::InvalidTarget("the client is not registered for the resource"));
        }
        if !named.contains(&resource) {
            named.push(resource);
        }
    }
    let resources = if named.is_empty() { registered.get(..1).unwrap_or_default() } else { &named };
    // A resource that is the issuer itself is no other audience than none.
    let is_issuer = |resource: &ResourceUri| resource.as_str() == issuer.as_str();
    Ok(if resources.len() == 1 && resources.iter().all(is_issuer) { Audience::Issuer } else { Audience::of(resources) })
}

const MALFORMED: OAuthError =
    OAuthError::InvalidTarget("a resource must be an absolute URI without a fragment (RFC 8707 section 2)");
