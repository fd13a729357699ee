//! What an answer looks like: JSON that nobody stores (RFC 6749 §5.1, §5.2), but for public keys, which may be kept for a while,
//! and signed introspection answers, which are JWTs.

use axum::http::header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::core::error::OAuthError;
use crate::core::introspection::SIGNED_MEDIA_TYPE;
use crate::core::keys::published::Jwks;
use crate::core::keys::set::JWKS_MAX_AGE;
use crate::core::quota::QuotaState;
use crate::core::realm::RealmName;
use crate::core::reason::Reason;
use crate::core::token::TokenResponse;

/// Seconds a client is asked to wait before it tries again after a 503.
pub const RETRY_AFTER_SECONDS: u64 = 2;

/// Seconds for which anybody may keep the metadata.
const METADATA_MAX_AGE: u64 = 300;

/// The header of every answer that has the id by which the log names its request. A caller's own is not taken.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// A request that is not answered with what it asked for: a protocol error, or something HTTP itself objects to.
#[derive(Debug)]
pub enum Refusal {
    /// An error of the protocol (RFC 6749 §5.2).
    OAuth(OAuthError),
    /// The path exists, the method does not (RFC 9110 §15.5.6).
    MethodNotAllowed {
        /// The methods that do.
        allow: &'static str,
    },
    /// The path does not exist.
    NotFound,
    /// The request did not come by the public address of the server.
    PastTheFront,
    /// The request does not name one host (RFC 9112 §3.2).
    InvalidHost,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The body is larger than this server reads.
    PayloadTooLarge,
    /// The body is compressed.
    UnsupportedContentEncoding,
    /// The body is in another transfer coding than `chunked` (RFC 9112 §6.1).
    UnsupportedTransferCoding,
}

/// A token answer's body (RFC 6749 §5.1): the one place where a token is written.
#[derive(Serialize)]
struct TokenBody<'a> {
    access_token: &'a str,
    scope: String,
    token_type: &'static str,
    expires_in: u64,
}

#[derive(Serialize)]
struct ErrorBody {
    error: &'static str,
    error_description: &'static str,
}

impl From<OAuthError> for Refusal {
    fn from(error: OAuthError) -> Self {
        Self::OAuth(error)
    }
}

impl Refusal {
    /// The answer. `realm` names the protection space of a 401 (RFC 9110 §11.5).
    pub fn into_response_for(self, realm: Option<&RealmName>) -> Response {
        let body = ErrorBody { error: self.code(), error_description: self.description() };
        let mut response = json(self.status(), &body);
        if let Some((name, value)) = self.header(realm) {
            response.headers_mut().insert(name, value);
        }
        if let Self::OAuth(OAuthError::QuotaExceeded(quota)) = &self {
            tell_quota(response.headers_mut(), quota);
        }
        response
    }

    /// The `error` member of the answer.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OAuth(error) => error.code(),
            Self::NotFound => "not_found",
            Self::PastTheFront => "access_denied",
            _ => "invalid_request",
        }
    }

    /// What the caller is told, without anything from the request.
    pub fn description(&self) -> &'static str {
        match self {
            Self::OAuth(error) => error.description(),
            Self::MethodNotAllowed { .. } => "this path does not support this method",
            Self::NotFound => "no endpoint has this path",
            Self::PastTheFront => "requests must come through the public address of this server",
            Self::InvalidHost => "an HTTP/1.1 request needs exactly one Host header, with a host and perhaps a port",
            Self::RequestTimeout => "the body did not arrive in time",
            Self::PayloadTooLarge => "the body is larger than 64 KiB",
            Self::UnsupportedContentEncoding => "the body must not have a Content-Encoding",
            Self::UnsupportedTransferCoding => "the body must not have a Transfer-Encoding other than chunked",
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            // Every status of that table is one.
            Self::OAuth(error) => StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::PastTheFront => StatusCode::FORBIDDEN,
            Self::InvalidHost => StatusCode::BAD_REQUEST,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnsupportedTransferCoding => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// What the log and the metrics call it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::OAuth(error) => error.reason(),
            Self::MethodNotAllowed { .. } => Reason::MethodNotAllowed,
            Self::NotFound => Reason::NotFound,
            Self::PastTheFront => Reason::PastTheFront,
            Self::InvalidHost => Reason::InvalidHost,
            Self::RequestTimeout => Reason::RequestTimeout,
            Self::PayloadTooLarge => Reason::PayloadTooLarge,
            Self::UnsupportedContentEncoding => Reason::UnsupportedContentEncoding,
            Self::UnsupportedTransferCoding => Reason::UnsupportedTransferCoding,
        }
    }

    fn header(&self, realm: Option<&RealmName>) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::OAuth(OAuthError::InvalidClient(_)) => {
                let challenge =
                    format!(r#"Basic realm="{}", charset="UTF-8""#, realm.map_or("grantwell", RealmName::as_str));
                Some((WWW_AUTHENTICATE, HeaderValue::from_str(&challenge).ok()?))
            }
            Self::OAuth(OAuthError::TooManyAttempts { retry_after_seconds, .. }) => {
                Some((RETRY_AFTER, (*retry_after_seconds).into()))
            }
            Self::OAuth(OAuthError::QuotaExceeded(quota)) => Some((RETRY_AFTER, quota.resets_in_seconds.into())),
            Self::OAuth(OAuthError::Unavailable(_)) => Some((RETRY_AFTER, RETRY_AFTER_SECONDS.into())),
            // RFC 9110 §12.5.3: what would have been understood.
            Self::UnsupportedContentEncoding => Some((ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
            Self::MethodNotAllowed { allow } => Some((ALLOW, HeaderValue::from_static(allow))),
            _ => None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.into_response_for(None)
    }
}

/// A token answer (RFC 6749 §5.1).
pub fn token(issued: &TokenResponse) -> Response {
    let mut response = json(
        StatusCode::OK,
        &TokenBody {
            access_token: issued.access_token.expose_token(),
            scope: issued.scope.to_string(),
            token_type: "Bearer",
            expires_in: issued.expires_in,
        },
    );
    if let Some(quota) = &issued.quota {
        tell_quota(response.headers_mut(), quota);
    }
    response
}

/// A successful answer with a JSON body.
pub fn ok(body: &impl Serialize) -> Response {
    json(StatusCode::OK, body)
}

/// A signed introspection answer (RFC 9701 §5).
pub fn signed_introspection(jwt: String) -> Response {
    let mut response = with_headers(StatusCode::OK, jwt.into_bytes());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(SIGNED_MEDIA_TYPE));
    response
}

/// A realm's metadata (RFC 8414). It says nothing of anybody, and changes with the version of the server.
pub fn metadata(document: &impl Serialize) -> Response {
    kept(ok(document), METADATA_MAX_AGE)
}

/// A realm's public keys, which others may keep for less time than a key is published before it signs. While there are none, the
/// first may come, and sign, at any moment.
pub fn jwks(jwks: &Jwks) -> Response {
    let response = ok(jwks);
    if jwks.is_empty() { response } else { kept(response, JWKS_MAX_AGE) }
}

/// A successful answer without a body (RFC 7009 §2.2).
pub fn empty() -> Response {
    with_headers(StatusCode::OK, Vec::new())
}

/// The answer to a request whose handler panicked: no detail leaves the process.
pub fn after_panic() -> Response {
    Refusal::OAuth(OAuthError::Server("a handler panicked".to_owned())).into_response()
}

/// The answer to a request that could not be finished within the time it had.
pub fn out_of_time() -> Response {
    Refusal::OAuth(OAuthError::Unavailable("the request ran out of time".to_owned())).into_response()
}

/// How many tokens a client may have, and how many are left until when (draft-ietf-httpapi-ratelimit-headers-11 §3, §4). Names,
/// parameters and form are those of the drafts from 08 on; earlier ones and most of what is deployed have three other headers.
fn tell_quota(headers: &mut HeaderMap, quota: &QuotaState) {
    let QuotaState { limit, remaining, resets_in_seconds } = quota;
    let window = limit.window();
    let policy = format!(r#""{}";q={};w={}"#, window.as_str(), limit.tokens(), window.seconds());
    let left = format!(r#""{}";r={remaining};t={resets_in_seconds}"#, window.as_str());
    for (name, value) in [(RATELIMIT_POLICY, policy), (RATELIMIT, left)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

/// An answer that anybody may keep for so many seconds.
fn kept(mut response: Response, max_age: u64) -> Response {
    if let Ok(policy) = HeaderValue::from_str(&format!("public, max-age={max_age}")) {
        response.headers_mut().insert(CACHE_CONTROL, policy);
        response.headers_mut().remove(PRAGMA);
    }
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => with_headers(status, bytes),
        Err(_) => with_headers(StatusCode::INTERNAL_SERVER_ERROR, br#"{"error":"server_error"}"#.to_vec()),
    }
}

fn with_headers(status: StatusCode, body: Vec<u8>) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (PRAGMA, HeaderValue::from_static("no-cache")),
    ];
    (status, headers, body).into_response()
}
