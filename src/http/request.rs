//! What an HTTP request says, parsed before any endpoint sees it: the realm in its path, the issuer by which the world
//! knows that realm, and the parameters of its form.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderValue};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use zeroize::Zeroizing;

use super::media_type::{MediaType, Preference};
use super::response::Refusal;
use crate::core::client_auth::{self, ClientRequest};
use crate::core::endpoint::Endpoint;
use crate::core::error::OAuthError;
use crate::core::params::Params;
use crate::core::realm::{Issuer, PublicUrl, RealmName};
use crate::core::source::ClientSource;
use crate::core::trust::caller::CallerByAws;

/// The largest body that is read: 64 KiB. A larger one is refused before it is kept.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The realm that a path names, and the issuer as the caller addressed it.
pub struct Addressed {
    /// The realm.
    pub realm: RealmName,
    /// The public base URL and the realm's path.
    pub issuer: Issuer,
}

/// A form request of a client: where it went, who it says it is, what it asks.
pub struct FormRequest {
    /// The realm and its issuer.
    pub addressed: Addressed,
    /// The values of every Authorization header, wiped on drop.
    authorization: Vec<Zeroizing<Vec<u8>>>,
    params: Params,
    accept: Vec<HeaderValue>,
    source: Option<ClientSource>,
    aws_caller: Option<CallerByAws>,
}

impl Addressed {
    /// Reads the realm out of `base_path`, such as `/am/oauth2/realms/root/realms/alpha`.
    ///
    /// # Errors
    /// [`OAuthError::UnknownRealm`] where the path names no well-formed realm; [`OAuthError::InvalidRequest`] where the query
    /// string names another one; [`OAuthError::Server`] where the server was built without a public URL.
    pub fn by_path(parts: &Parts, base_path: &str) -> Result<Self, OAuthError> {
        let public = parts
            .extensions
            .get::<PublicUrl>()
            .ok_or_else(|| OAuthError::Server("the request carries no public URL".to_owned()))?;
        let realm = realm_of(base_path).ok_or(OAuthError::UnknownRealm)?;
        if let Some(query) = parts.uri.query() {
            refuse_another_realm(&Params::parse(query.as_bytes())?, &realm)?;
        }
        Ok(Self { realm, issuer: public.issuer(base_path) })
    }
}

impl FormRequest {
    /// Reads a form that was sent to this endpoint of some realm.
    ///
    /// # Errors
    /// A [`Refusal`] for another media type, an encoded, oversized or undecodable body, or parameters in the query string.
    pub async fn read(request: Request, endpoint: Endpoint) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();

        // 1. Where it went.
        let addressed = Addressed::by_path(&parts, base_path(parts.uri.path(), endpoint.path).unwrap_or_default())?;

        // 2. Credentials and parameters MUST NOT be in the request URI (RFC 6749 §2.3.1): URIs end up in logs.
        refuse_parameters_in_query(&parts, endpoint)?;

        // 3. The body (RFC 6749 §3.2, Appendix B).
        require_form(&parts)?;
        let body = read_body(body).await?;
        let params = Params::parse(&body)?;
        params.refuse_lists(|name| known_parameters(endpoint).any(|known| known == name))?;

        let authorization = parts
            .headers
            .get_all(AUTHORIZATION)
            .iter()
            .map(|value| Zeroizing::new(value.as_bytes().to_vec()))
            .collect();
        let accept = parts.headers.get_all(ACCEPT).iter().cloned().collect();
        let source = source(&parts.extensions);
        let aws_caller = parts.extensions.get().cloned();
        Ok(Self { addressed, authorization, params, accept, source, aws_caller })
    }

    /// Whether the caller would rather have this media type than JSON: by the weights of Accept, and where both weigh the same by its
    /// name. A wildcard alone does not ask for it.
    pub fn prefers(&self, media_type: &str) -> bool {
        let preference =
            |media_type| Preference::of(self.accept.iter().filter_map(|value| value.to_str().ok()), media_type);
        preference(media_type).is_over(preference("application/json"))
    }

    /// Hands the request to an endpoint.
    pub async fn answer_by<T>(&self, endpoint: impl AsyncFnOnce(&ClientRequest<'_>) -> T) -> T {
        let authorization: Vec<&[u8]> = self.authorization.iter().map(|value| value.as_slice()).collect();
        let request = ClientRequest {
            authorization: &authorization,
            source: self.source,
            aws_caller: self.aws_caller.as_ref(),
            ..ClientRequest::new(&self.addressed.realm, &self.addressed.issuer, &self.params)
        };
        endpoint(&request).await
    }
}

/// Where a request came from, as whoever took the connection has said.
pub(super) fn source(extensions: &Extensions) -> Option<ClientSource> {
    extensions.get().copied()
}

/// The realm that a base path names; `None` where that is not a realm's name.
pub(super) fn realm_of(base_path: &str) -> Option<RealmName> {
    let below = base_path.strip_prefix("/am").unwrap_or(base_path);
    match below {
        "/oauth2" | "/oauth2/realms/root" => Some(RealmName::root()),
        _ => below
            .strip_prefix("/oauth2/realms/root/realms/")
            .and_then(|name| name.parse().ok())
            // root is no child of itself: a third name would be a third issuer of one realm.
            .filter(|realm: &RealmName| !realm.is_root()),
    }
}

/// What stands before an endpoint's own path: where the router has matched that, the base path of a realm.
pub(super) fn base_path<'a>(path: &'a str, endpoint_path: &str) -> Option<&'a str> {
    path.strip_suffix(endpoint_path)?.strip_suffix('/')
}

/// The endpoint's own parameters and those of client authentication.
fn known_parameters(endpoint: Endpoint) -> impl Iterator<Item = &'static str> {
    endpoint.parameters.iter().copied().chain(client_auth::parameters())
}

fn refuse_parameters_in_query(parts: &Parts, endpoint: Endpoint) -> Result<(), OAuthError> {
    let query = Params::parse(parts.uri.query().unwrap_or_default().as_bytes())?;
    if known_parameters(endpoint).any(|name| query.contains(name)) {
        return Err(OAuthError::InvalidRequest("parameters belong in the request body, not in the query string"));
    }
    query.refuse_lists(|name| known_parameters(endpoint).any(|known| known == name))
}

/// ForgeRock's AM has a second way to name a realm, `?realm=/alpha` (`/` for root). Here the path alone does: who names another realm by the
/// query string would get the path's tokens, keys and endpoints.
fn refuse_another_realm(query: &Params, realm: &RealmName) -> Result<(), OAuthError> {
    let is_same = |value: &str| match value.trim_matches('/') {
        "" => realm.is_root(),
        name => name == realm.as_str(),
    };
    if query.all("realm").all(is_same) {
        return Ok(());
    }
    Err(OAuthError::InvalidRequest(
        "the parameter realm names another realm than the path; name the realm in the path: /oauth2/realms/root/realms/NAME",
    ))
}

/// Media types are case-insensitive, and the only charset a form can have here is UTF-8.
fn require_form(parts: &Parts) -> Result<(), Refusal> {
    const NOT_A_FORM: OAuthError = OAuthError::InvalidRequest(
        "the body must be application/x-www-form-urlencoded in UTF-8, named so by one Content-Type header",
    );
    // Never inflated: a small body could become a large one.
    let mut codings =
        parts.headers.get_all(CONTENT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    if !codings
        .all(|coding| matches!(coding.trim_ascii(), b"") || coding.trim_ascii().eq_ignore_ascii_case(b"identity"))
    {
        return Err(Refusal::UnsupportedContentEncoding);
    }
    let mut values = parts.headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(NOT_A_FORM.into()) };
    let text = value.to_str().map_err(|_| NOT_A_FORM)?;
    let media_type = MediaType::parse(text).filter(|media_type| media_type.is("application/x-www-form-urlencoded"));
    // The second is no registered name, and what several libraries send.
    let is_utf8 = |charset: &str| ["utf-8", "utf8"].iter().any(|name| charset.eq_ignore_ascii_case(name));
    match media_type {
        Some(form) if form.parameter("charset").all(is_utf8) => Ok(()),
        _ => Err(NOT_A_FORM.into()),
    }
}

async fn read_body(body: Body) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    // Said to be too large by its Content-Length: refused before the client is asked for it (100 Continue) or sends it.
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(Refusal::PayloadTooLarge);
    }
    match tokio::time::timeout(BODY_LIMIT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(collected)) => Ok(Zeroizing::new(collected.to_bytes().into())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::PayloadTooLarge),
        Ok(Err(_)) => Err(OAuthError::InvalidRequest("the body ended early").into()),
        Err(_elapsed) => Err(Refusal::RequestTimeout),
    }
}

/// How long a body may take to arrive.
const BODY_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(content_type: Option<&str>) -> Parts {
        let mut request = axum::http::Request::new(());
        if let Some(value) = content_type {
            request.headers_mut().insert(CONTENT_TYPE, value.parse().expect("a header value"));
        }
        request.extensions_mut().insert("https://auth.example.com".parse::<PublicUrl>().expect("a URL"));
        request.into_parts().0
    }

    #[test]
    fn a_form_is_a_form_in_any_case_and_only_in_utf8() {
        for value in [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-URLEncoded",
            "application/x-www-form-urlencoded; charset=UTF-8",
            "application/x-www-form-urlencoded;charset=\"utf-8\"",
            "application/x-www-form-urlencoded; charset=utf-8 ",
            "application/x-www-form-urlencoded; charset=utf8",
            "application/x-www-form-urlencoded; CHARSET=\"UTF8\"",
            "application/x-www-form-urlencoded; charset=\"ut\\f-8\"",
            "application/x-www-form-urlencoded; note=\"a;charset=latin1\"; charset=utf-8",
            "application/x-www-form-urlencoded;;",
        ] {
            assert!(require_form(&parts(Some(value))).is_ok(), "{value}");
        }
        for value in [
            "application/json",
            "application/x-www-form-urlencodedX",
            "application/x-www-form-urlencoded; charset=iso-8859-1",
            "application/x-www-form-urlencoded; charset=utf-16",
            "application/x-www-form-urlencoded; charset=\"utf-8",
            "application/x-www-form-urlencoded; charset=utf-8; charset=utf-16",
            "application/x-www-form-urlencoded; note=\"a\\\";charset=utf-8\"; charset=utf-16",
            "application/x-www-form-urlencoded; charset=",
            "multipart/form-data; boundary=x",
            "",
        ] {
            assert!(require_form(&parts(Some(value))).is_err(), "{value}");
        }
        assert!(require_form(&parts(None)).is_err());
    }

    #[test]
    fn a_realm_that_is_named_beside_the_path_is_the_same() {
        let addressed = |path: &str, query: &str| {
            let mut parts = parts(None);
            parts.uri = format!("{path}/access_token?{query}").parse().expect("a URI");
            Addressed::by_path(&parts, path).map(|addressed| addressed.realm.to_string())
        };
        let (root, alpha) = ("/am/oauth2", "/oauth2/realms/root/realms/alpha");
        for (path, query) in [
            (root, "realm=/"),
            (root, "realm=%2F"),
            (root, "realm=root"),
            (root, "realm=/root"),
            (root, "realm="),
            (root, "x=/alpha"),
            (alpha, "realm=/alpha"),
            (alpha, "realm=alpha"),
            (alpha, "realm=%2Falpha&realm=/alpha/"),
        ] {
            let expected = if path == root { "root" } else { "alpha" };
            assert_eq!(addressed(path, query).expect(query), expected, "{query}");
        }
        for (path, query) in [
            (root, "realm=/alpha"),
            (root, "realm=alpha"),
            (root, "realm=%2Falpha"),
            (root, "realm=/&realm=/alpha"),
            (root, "realm=/alpha/beta"),
            (alpha, "realm=/"),
            (alpha, "realm=/beta"),
            (alpha, "realm=/ALPHA"),
            (alpha, "realm=/root/alpha"),
        ] {
            assert!(matches!(addressed(path, query), Err(OAuthError::InvalidRequest(_))), "{query}");
        }
    }

    #[test]
    fn every_base_path_names_its_realm_and_its_issuer() {
        for (path, realm) in [
            ("/oauth2", "root"),
            ("/am/oauth2", "root"),
            ("/oauth2/realms/root", "root"),
            ("/am/oauth2/realms/root", "root"),
            ("/oauth2/realms/root/realms/alpha", "alpha"),
            ("/am/oauth2/realms/root/realms/alpha", "alpha"),
        ] {
            let addressed = Addressed::by_path(&parts(None), path).expect(path);
            assert_eq!(addressed.realm.as_str(), realm);
            assert_eq!(addressed.issuer.as_str(), format!("https://auth.example.com{path}"));
        }
        for path in [
            "",
            "/am",
            "/oauth2/realms/alpha",
            "/oauth2/realms/root/realms/%61lpha",
            "/oauth2/realms/root/realms/root",
            "/am/am/oauth2",
        ] {
            assert!(matches!(Addressed::by_path(&parts(None), path), Err(OAuthError::UnknownRealm)), "{path}");
        }
    }
}
