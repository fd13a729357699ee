//! Whom a token is to be for (RFC 8707 §2): what a client asks for, as far as it is registered for it.

use super::client::Client;
use super::error::OAuthError;
use super::params::Params;
use super::realm::Issuer;
use super::resource::{Audience, ResourceUri};

/// What a request may have as audience (RFC 8707 §2.2): the resources it names, where the client is registered for each of
/// them; else the client's default resource, which is its first; else the issuer. They are named by `resource`, or by `audience`,
/// as clients written for Auth0 (one) and for Hydra (several, separated by spaces) do.
///
/// # Errors
/// [`OAuthError::InvalidTarget`] for a resource that is malformed or not the client's, and where the two parameters differ;
/// [`OAuthError::InvalidRequest`] for a repeated `audience`.
pub(super) fn requested_audience(params: &Params, client: &Client, issuer: &Issuer) -> Result<Audience, OAuthError> {
    let registered = &client.metadata.resources;
    let named = match (params.contains("resource"), params.single("audience")?) {
        (false, None) => registered.get(..1).unwrap_or_default().to_vec(),
        (true, None) => registered_among(params.all("resource"), registered)?,
        (false, Some(audience)) => registered_among(names(audience), registered)?,
        (true, Some(audience)) => {
            let resources = registered_among(params.all("resource"), registered)?;
            let audience = registered_among(names(audience), registered)?;
            // In whatever order.
            if audience.len() != resources.len() || !audience.iter().all(|name| resources.contains(name)) {
                return Err(OAuthError::InvalidTarget(
                    "resource and audience name different targets; send one of the two",
                ));
            }
            resources
        }
    };
    // A resource that is the issuer itself is no other audience than none.
    let is_issuer = |resource: &ResourceUri| resource.as_str() == issuer.as_str();
    Ok(if named.len() == 1 && named.iter().all(is_issuer) { Audience::Issuer } else { Audience::of(&named) })
}

/// What these texts name, each once, in their order.
fn registered_among<'a>(
    texts: impl Iterator<Item = &'a str>,
    registered: &[ResourceUri],
) -> Result<Vec<ResourceUri>, OAuthError> {
    let mut named: Vec<ResourceUri> = Vec::new();
    for text in texts {
        let resource: ResourceUri = text.parse().map_err(|_| MALFORMED)?;
        if !registered.contains(&resource) {
            return Err(OAuthError::InvalidTarget("the client is not registered for the resource"));
        }
        if !named.contains(&resource) {
            named.push(resource);
        }
    }
    if named.is_empty() { Err(MALFORMED) } else { Ok(named) }
}

/// The values of `audience`.
fn names(audience: &str) -> impl Iterator<Item = &str> {
    audience.split(' ').filter(|name| !name.is_empty())
}

const MALFORMED: OAuthError =
    OAuthError::InvalidTarget("a resource must be an absolute URI without a fragment (RFC 8707 section 2)");
