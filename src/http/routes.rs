//! The one route table: which path is which endpoint, for the functions and for the local server alike.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use futures_util::FutureExt as _;
use tower::{Service, service_fn};

use super::request::{self, Addressed, FormRequest};
use super::response::{self, Refusal};
use crate::core::audit::{AuditEvent, AuditSink};
use crate::core::endpoint::{Endpoint, Method};
use crate::core::error::OAuthError;
use crate::core::introspection::{self, IntrospectionEndpoint};
use crate::core::metadata::MetadataEndpoint;
use crate::core::realm::{PublicUrl, RealmName};
use crate::core::revocation::RevocationEndpoint;
use crate::core::source::ClientSource;
use crate::core::token::TokenEndpoint;
use crate::observe::{Event, Observer};

/// The paths under which a realm's endpoints are found. Those under `/am` are ForgeRock's own, so that a client written
/// for it works after a change of host.
pub const BASE_PATHS: [&str; 6] = [
    "/oauth2",
    "/oauth2/realms/root",
    "/oauth2/realms/root/realms/{realm}",
    "/am/oauth2",
    "/am/oauth2/realms/root",
    "/am/oauth2/realms/root/realms/{realm}",
];

/// Every endpoint of a realm.
pub const ENDPOINTS: [Endpoint; 5] = [
    TokenEndpoint::ENDPOINT,
    IntrospectionEndpoint::ENDPOINT,
    RevocationEndpoint::ENDPOINT,
    MetadataEndpoint::DOCUMENT,
    MetadataEndpoint::JWKS,
];

/// The paths under which the endpoints of one realm are found. Each of them, after the public URL, is one of its issuers.
pub fn base_paths(realm: &RealmName) -> impl Iterator<Item = String> {
    const NAME: &str = "{realm}";
    let own = BASE_PATHS.into_iter().filter(|path| path.contains(NAME) != realm.is_root());
    own.map(|path| path.replace(NAME, realm.as_str()))
}

/// What answers requests.
pub trait HttpService:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> HttpService for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// Every path of an endpoint: one below each base path. The metadata document has two more of each, one for clients of OpenID
/// Connect, and RFC 8414 §3.1's own form with the base after the well-known path.
pub fn paths_of(endpoint: Endpoint) -> Vec<String> {
    let below = |path: &str| BASE_PATHS.map(|base| format!("{base}/{path}"));
    let mut paths = below(endpoint.path).to_vec();
    if endpoint == MetadataEndpoint::DOCUMENT {
        paths.extend(below(MetadataEndpoint::OPENID_PATH));
        paths.extend(BASE_PATHS.map(|base| format!("/{}{base}", endpoint.path)));
    }
    paths
}

/// The routes of the token endpoint.
pub fn token_routes(endpoint: TokenEndpoint) -> Router {
    at_every_path(TokenEndpoint::ENDPOINT, &issue_token).with_state(Arc::new(endpoint))
}

/// The routes of introspection.
pub fn introspection_routes(endpoint: IntrospectionEndpoint) -> Router {
    at_every_path(IntrospectionEndpoint::ENDPOINT, &introspect).with_state(Arc::new(endpoint))
}

/// The routes of revocation.
pub fn revocation_routes(endpoint: RevocationEndpoint) -> Router {
    at_every_path(RevocationEndpoint::ENDPOINT, &revoke).with_state(Arc::new(endpoint))
}

/// The routes of the metadata document, and those of the realm's keys.
pub fn metadata_routes(endpoint: MetadataEndpoint) -> Router {
    at_every_path(MetadataEndpoint::DOCUMENT, &metadata)
        .merge(at_every_path(MetadataEndpoint::JWKS, &jwks))
        .with_state(Arc::new(endpoint))
}

/// What a function puts around its routes: a JSON 404 for other paths, and a JSON 500 in place of a panic.
pub fn finish(routes: Router) -> Router {
    with_not_found(routes)
        .layer(middleware::from_fn(async |request: Request, next: Next| caught(next.run(request)).await))
}

/// The same for the local server, which is reached by `public_url`, and a JSON 503 for a request that takes longer than `limit`, so that a
/// slow body holds no connection. It is around all routes at once: a layer of a router is boxed anew for each request. `observer` is told
/// of every answer.
pub fn service(routes: Router, public_url: PublicUrl, limit: Duration, observer: Arc<Observer>) -> impl HttpService {
    let router = with_not_found(routes);
    service_fn(move |mut request: Request| {
        let (mut router, observer) = (router.clone(), Arc::clone(&observer));
        let endpoint = name_of_endpoint(request.uri().path());
        request.extensions_mut().insert(public_url.clone());
        let answer = caught(async move { router.call(request).await.unwrap_or_else(|never| match never {}) });
        async move {
            let answer = tokio::time::timeout(limit, answer).await.unwrap_or_else(|_elapsed| {
                observer.tell(Event::OutOfTime { route: None, limit });
                response::out_of_time()
            });
            observer.tell(Event::Answered { status: answer.status().as_u16(), endpoint: Some(endpoint) });
            Ok(answer)
        }
    })
}

/// The realm that the path of an endpoint names, as far as the path alone tells it.
pub(crate) fn realm_of_path(path: &str) -> Option<RealmName> {
    ENDPOINTS.into_iter().find_map(|endpoint| realm_in(path, endpoint))
}

/// What the metrics call the endpoint of a path: one of few, whatever a caller asks for.
pub fn name_of_endpoint(path: &str) -> &'static str {
    let endpoint = ENDPOINTS.into_iter().find(|endpoint| request::base_path(path, endpoint.path).is_some());
    match endpoint {
        Some(endpoint) => endpoint.name,
        None if path.contains("/.well-known/") => MetadataEndpoint::DOCUMENT.name,
        None => OTHER,
    }
}

fn with_not_found(routes: Router) -> Router {
    routes.fallback(async || Refusal::NotFound)
}

/// The panic's message stays out of the answer, and the hook of `observe::log` keeps it out of the log.
async fn caught(answer: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_panic| response::after_panic())
}

fn at_every_path<H, T, S>(endpoint: Endpoint, handler: &H) -> Router<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    let router = Router::new();
    paths_of(endpoint).iter().fold(router, |router, path| router.route(path, method_router(endpoint, handler.clone())))
}

fn method_router<H, T, S>(endpoint: Endpoint, handler: H) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    let (router, allow) = match endpoint.method {
        Method::Get => (get(handler), "GET, HEAD"),
        Method::Post => (post(handler), "POST"),
    };
    router.fallback(async move || Refusal::MethodNotAllowed { allow })
}

async fn issue_token(State(endpoint): State<Arc<TokenEndpoint>>, request: Request) -> Response {
    let form = match read(request, TokenEndpoint::ENDPOINT, endpoint.audit.as_ref()).await {
        Ok(form) => form,
        Err(answer) => return answer,
    };
    let issued = form.answer_by(async |request| endpoint.issue(request).await).await;
    answer(&form.addressed.realm, issued.map(|issued| response::token(&issued)))
}

async fn introspect(State(endpoint): State<Arc<IntrospectionEndpoint>>, request: Request) -> Response {
    let form = match read(request, IntrospectionEndpoint::ENDPOINT, endpoint.audit.as_ref()).await {
        Ok(form) => form,
        Err(answer) => return answer,
    };
    let response = if form.prefers(introspection::SIGNED_MEDIA_TYPE) {
        let signed = form.answer_by(async |request| endpoint.introspect_signed(request).await).await;
        signed.map(response::signed_introspection)
    } else {
        let introspected = form.answer_by(async |request| endpoint.introspect(request).await).await;
        introspected.map(|introspection| response::ok(&introspection))
    };
    answer(&form.addressed.realm, response)
}

async fn revoke(State(endpoint): State<Arc<RevocationEndpoint>>, request: Request) -> Response {
    let form = match read(request, RevocationEndpoint::ENDPOINT, endpoint.audit.as_ref()).await {
        Ok(form) => form,
        Err(answer) => return answer,
    };
    let revoked = form.answer_by(async |request| endpoint.revoke(request).await).await;
    answer(&form.addressed.realm, revoked.map(|()| response::empty()))
}

async fn metadata(State(endpoint): State<Arc<MetadataEndpoint>>, request: Request) -> Response {
    let (parts, _body) = request.into_parts();
    let path = parts.uri.path();
    let (document, openid) = (MetadataEndpoint::DOCUMENT.path, MetadataEndpoint::OPENID_PATH);
    let base_path = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(document))
        .or_else(|| request::base_path(path, document))
        .or_else(|| request::base_path(path, openid))
        .unwrap_or_default();
    let Addressed { realm, issuer } = match Addressed::by_path(&parts, base_path) {
        Ok(addressed) => addressed,
        Err(error) => {
            return refused(
                endpoint.audit.as_ref(),
                MetadataEndpoint::DOCUMENT.name,
                request::source(&parts.extensions),
                request::realm_of(base_path).as_ref(),
                error.into(),
            );
        }
    };
    let document = endpoint.document(&realm, issuer).await;
    answer(&realm, document.map(|document| response::metadata(&document)))
}

async fn jwks(State(endpoint): State<Arc<MetadataEndpoint>>, request: Request) -> Response {
    let (parts, _body) = request.into_parts();
    let base_path = request::base_path(parts.uri.path(), MetadataEndpoint::JWKS.path).unwrap_or_default();
    let realm = match Addressed::by_path(&parts, base_path) {
        Ok(addressed) => addressed.realm,
        Err(error) => {
            return refused(
                endpoint.audit.as_ref(),
                MetadataEndpoint::JWKS.name,
                request::source(&parts.extensions),
                request::realm_of(base_path).as_ref(),
                error.into(),
            );
        }
    };
    let keys = endpoint.jwks(&realm).await;
    answer(&realm, keys.map(|keys| response::jwks(&keys)))
}

/// The form that was sent to this endpoint, or the answer to what is none.
async fn read(request: Request, endpoint: Endpoint, audit: &dyn AuditSink) -> Result<FormRequest, Response> {
    let source = request::source(request.extensions());
    let realm = realm_in(request.uri().path(), endpoint);
    let form = FormRequest::read(request, endpoint).await;
    form.map_err(|refusal| refused(audit, endpoint.name, source, realm.as_ref(), refusal))
}

/// The realm that a path of this endpoint names.
fn realm_in(path: &str, endpoint: Endpoint) -> Option<RealmName> {
    request::realm_of(request::base_path(path, endpoint.path)?)
}

/// The answer to a request that never became one of the protocol's. Recorded, because credentials in a URL are among them.
pub(crate) fn refused(
    audit: &dyn AuditSink,
    endpoint: &'static str,
    source: Option<ClientSource>,
    realm: Option<&RealmName>,
    refusal: Refusal,
) -> Response {
    audit.record(&AuditEvent::Malformed {
        endpoint,
        source,
        realm,
        reason: refusal.reason(),
        detail: refusal.description(),
        status: refusal.status().as_u16(),
    });
    refusal.into_response()
}

fn answer(realm: &RealmName, result: Result<Response, OAuthError>) -> Response {
    result.unwrap_or_else(|error| Refusal::OAuth(error).into_response_for(Some(realm)))
}

/// A path that is no endpoint's.
const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use http_body_util::BodyExt as _;

    use super::*;

    /// What a service says of a request to `path`.
    async fn answer_to(mut service: impl HttpService, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let Ok(answer) = service.call(request).await;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        (parts.status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn a_panic_is_a_json_500_and_a_request_that_hangs_a_json_503() {
        let routes = || {
            let panics = async || -> StatusCode { panic!("of a token") };
            let hangs = async || std::future::pending::<StatusCode>().await;
            Router::new().route("/panics", get(panics)).route("/hangs", get(hangs))
        };
        let public_url: PublicUrl = "https://auth.example.com".parse().expect("a URL");
        let local = || service(routes(), public_url.clone(), Duration::from_millis(20), Arc::default());
        for (status, body) in [answer_to(local(), "/panics").await, answer_to(finish(routes()), "/panics").await] {
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
            assert!(body.contains("server_error") && !body.contains("of a token"), "{body}");
        }
        let (status, body) = answer_to(local(), "/hangs").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("temporarily_unavailable"), "{body}");
        for (status, body) in [answer_to(local(), "/").await, answer_to(finish(routes()), "/").await] {
            assert_eq!(status, StatusCode::NOT_FOUND);
            assert!(body.starts_with('{'), "{body}");
        }
    }

    #[test]
    fn a_realms_base_paths_are_those_under_which_it_is_found() {
        for (name, count) in [("root", 4), ("alpha", 2)] {
            let realm: RealmName = name.parse().expect("a name");
            let paths: Vec<_> = base_paths(&realm).collect();
            assert_eq!(paths.len(), count, "{paths:?}");
            for path in paths {
                let public_url: PublicUrl = "https://auth.example.com".parse().expect("a URL");
                let request = axum::http::Request::builder().extension(public_url).body(()).expect("a request");
                let addressed = Addressed::by_path(&request.into_parts().0, &path).expect("a realm");
                assert_eq!(addressed.realm, realm, "{path}");
            }
        }
    }
}
