//! API Gateway in front of the routers: its events become requests, and answers what it takes for one. Payload 2.0 (HTTP
//! API, function URL) and payload 1.0 (REST API) are both understood.
//!
//! `lambda_http` runs the function, but the event is read here and not by its conversion, which (1.3) panics on a query
//! string, Host or X-Forwarded-Proto header that makes no URI, all three the caller's, and keeps only the last of a REST
//! API's repeated headers, so that a second Authorization header would go unseen.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::service_fn;
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;
use url::form_urlencoded;

use crate::core::error::OAuthError;
use crate::core::realm::PublicUrl;

/// Answers invocations with `router` until Lambda ends the process. Each request carries the [`PublicUrl`] it came in by as
/// an extension: `public_url`, or else what API Gateway says.
///
/// A request that is not answered 500 ms before the invocation's deadline gets the answer of `out_of_time`.
///
/// # Errors
/// Where Lambda's runtime interface cannot be used.
///
/// # Panics
/// Outside of Lambda, where the variables of its runtime interface are missing.
pub async fn serve(
    router: Router,
    public_url: Option<PublicUrl>,
    out_of_time: fn() -> Response,
) -> Result<(), lambda_http::Error> {
    let gateway = &Gateway { router, public_url, out_of_time };
    let handler = service_fn(async |invocation: LambdaEvent<serde_json::Value>| {
        let time_left = time_left(invocation.context.deadline());
        Ok::<_, Infallible>(gateway.answer(invocation.payload, time_left).await)
    });
    lambda_runtime::run(handler).await
}

struct Gateway {
    router: Router,
    public_url: Option<PublicUrl>,
    out_of_time: fn() -> Response,
}

impl Gateway {
    async fn answer(&self, event: serde_json::Value, time_left: Duration) -> Answer {
        // A payload that is nothing like an event, such as the console's test event, has no member in common with one.
        let event = Event::deserialize(event).unwrap_or_default();
        let payload = event.payload();
        match event.into_request(self.public_url.as_ref()) {
            Ok(request) => {
                let response = self.route(request, time_left).await;
                Answer::new(response, payload).await.unwrap_or_else(|| {
                    let error = OAuthError::Server("a response is no text".to_owned());
                    Answer::without_router(StatusCode::INTERNAL_SERVER_ERROR, &error, payload)
                })
            }
            Err(reason) => {
                tracing::warn!(reason, "an event was refused before it reached a router");
                Answer::without_router(StatusCode::BAD_REQUEST, &OAuthError::InvalidRequest(reason), payload)
            }
        }
    }

    async fn route(&self, request: Request<Body>, time_left: Duration) -> Response {
        match tokio::time::timeout(time_left, self.router.clone().oneshot(request)).await {
            Ok(Ok(response)) => response,
            // Rather our own 503 than the API's, which is no OAuth answer and does not say when to try again.
            Err(_) => {
                tracing::warn!(time_limit_milliseconds = time_left.as_millis(), "a request ran out of time");
                (self.out_of_time)()
            }
        }
    }
}

/// Time until the answer must be on its way.
#[expect(clippy::disallowed_methods, reason = "the deadline is given in the system's time, in milliseconds")]
fn time_left(deadline: SystemTime) -> Duration {
    deadline.duration_since(SystemTime::now()).unwrap_or_default().saturating_sub(RESERVE)
}

/// What matters of an event. Every member may be missing or null, so that no event fails to be read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Event {
    // Payload 2.0.
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    // Payload 1.0.
    http_method: Option<String>,
    path: Option<String>,
    multi_value_headers: Option<BTreeMap<String, Option<Vec<String>>>>,
    query_string_parameters: Option<BTreeMap<String, Option<String>>>,
    multi_value_query_string_parameters: Option<BTreeMap<String, Option<Vec<String>>>>,
    // Both.
    headers: Option<BTreeMap<String, Option<String>>>,
    request_context: Option<RequestContext>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

/// What the gateway itself says about the request; a caller has no hand in it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RequestContext {
    domain_name: Option<String>,
    http: Option<HttpContext>,
    path: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HttpContext {
    method: Option<String>,
}

/// The version of the event, and so of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    V1,
    V2,
}

impl Event {
    fn payload(&self) -> Payload {
        if self.http_method.is_some() { Payload::V1 } else { Payload::V2 }
    }

    /// # Errors
    /// A description for the caller, where the event is no HTTP request.
    fn into_request(mut self, public_url: Option<&PublicUrl>) -> Result<Request<Body>, &'static str> {
        let context = self.request_context.take().unwrap_or_default();
        let query = self.query();

        let method = self.http_method.or(context.http.and_then(|http| http.method));
        let method = method.ok_or("the event is no HTTP request")?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| "the method is malformed")?;

        // A REST API's own path has no stage, its context's has.
        let path = self.raw_path.or(context.path).or(self.path).unwrap_or_default();
        let (prefix, path) = split_prefix(&path);
        let public_base = match public_url {
            Some(configured) => configured.clone(),
            None => public_base(context.domain_name.as_deref(), prefix)?,
        };

        let target = format!("{}{}", escaped(path, PATH), query);
        let target: PathAndQuery = target.parse().map_err(|_| "the path or the query string is malformed")?;
        let body = match self.body {
            Some(text) if self.is_base64_encoded == Some(true) => {
                STANDARD.decode(text).map_err(|_| "the body is malformed")?
            }
            Some(text) => text.into_bytes(),
            None => Vec::new(),
        };

        let mut request = Request::new(Body::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = target.into();
        *request.headers_mut() = headers(self.headers, self.multi_value_headers)?;
        request.extensions_mut().insert(public_base);
        Ok(request)
    }

    /// The query string with its question mark, or nothing.
    fn query(&mut self) -> String {
        if let Some(raw) = self.raw_query_string.take().filter(|raw| !raw.is_empty()) {
            return format!("?{}", escaped(&raw, QUERY));
        }
        // A REST API has decoded the parameters already. Encoded again they mean the same.
        let mut query = form_urlencoded::Serializer::new(String::new());
        match self.multi_value_query_string_parameters.take() {
            Some(parameters) => {
                for (name, values) in parameters {
                    for value in values.unwrap_or_default() {
                        query.append_pair(&name, &value);
                    }
                }
            }
            None => {
                for (name, value) in self.query_string_parameters.take().unwrap_or_default() {
                    query.append_pair(&name, &value.unwrap_or_default());
                }
            }
        }
        let query = query.finish();
        if query.is_empty() { query } else { format!("?{query}") }
    }
}

/// Splits off what stands before an endpoint's path: the stage, or the path that a custom domain maps to the API. The part
/// that remains is routed; the part before it belongs to the issuer.
///
/// Nothing is split off that a stage or a mapping cannot be: such a path is then no endpoint's.
fn split_prefix(path: &str) -> (&str, &str) {
    let starts_endpoint = |rest: &str| {
        ["/am/oauth2", "/oauth2", "/.well-known"]
            .iter()
            .any(|base| rest.strip_prefix(base).is_some_and(|tail| tail.is_empty() || tail.starts_with('/')))
    };
    let is_mapping = |prefix: &str| {
        prefix.split('/').skip(1).all(|segment| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~$".contains(&byte))
        })
    };
    path.match_indices('/')
        .map(|(position, _)| path.split_at(position))
        .find(|(_, rest)| starts_endpoint(rest))
        .filter(|(prefix, _)| is_mapping(prefix))
        .unwrap_or(("", path))
}

/// The base of the issuer, from the gateway's own word for the host: callers choose the Host and X-Forwarded headers, and
/// with them would choose the issuer of their tokens.
fn public_base(domain_name: Option<&str>, prefix: &str) -> Result<PublicUrl, &'static str> {
    // The name is reserved (RFC 2606), so an issuer under it is nobody's. Only emulators leave the domain out.
    let domain_name = domain_name.filter(|name| !name.is_empty()).unwrap_or("grantwell.invalid");
    format!("https://{domain_name}{prefix}").parse().map_err(|_| "the event's domain name is malformed")
}

/// A REST API lists every header twice; the list of values is the one that shows a repeated header.
fn headers(
    single: Option<BTreeMap<String, Option<String>>>,
    multiple: Option<BTreeMap<String, Option<Vec<String>>>>,
) -> Result<HeaderMap, &'static str> {
    const MALFORMED: &str = "a header is malformed";

    let mut headers = HeaderMap::new();
    for (name, values) in multiple.unwrap_or_default() {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| MALFORMED)?;
        for value in values.unwrap_or_default() {
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).map_err(|_| MALFORMED)?);
        }
    }
    let listed: Vec<HeaderName> = headers.keys().cloned().collect();
    for (name, value) in single.unwrap_or_default() {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| MALFORMED)?;
        if let Some(value) = value
            && !listed.contains(&name)
        {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| MALFORMED)?);
        }
    }
    Ok(headers)
}

/// Percent-encodes what may not stand in a URI, and leaves everything else, percent signs too, as it came.
fn escaped(text: &str, allowed: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || allowed.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.extend(['%', hex_digit(byte >> 4), hex_digit(byte & 0x0f)]);
        }
    }
    escaped
}

fn hex_digit(value: u8) -> char {
    char::from_digit(value.into(), 16).unwrap_or('0').to_ascii_uppercase()
}

/// An answer as API Gateway takes it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    /// Payload 2.0, which has no other place for them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    /// Payload 1.0, which merges both members and would repeat what is in both.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    multi_value_headers: BTreeMap<String, Vec<String>>,
    body: String,
    is_base64_encoded: bool,
}

impl Answer {
    /// `None` where a part of the response is no text, which no response of this server is.
    async fn new(response: Response, payload: Payload) -> Option<Self> {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.ok()?;
        let mut headers = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in &parts.headers {
            headers.entry(name.to_string()).or_default().push(value.to_str().ok()?.to_owned());
        }
        Some(Self::with(parts.status, headers, String::from_utf8(body.into()).ok()?, payload))
    }

    /// For what never reached a router, or came back from it unfit to send: an error like any other, made here.
    fn without_router(status: StatusCode, error: &OAuthError, payload: Payload) -> Self {
        let headers = [("content-type", "application/json"), ("cache-control", "no-store"), ("pragma", "no-cache")];
        let headers = headers.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into();
        let body = serde_json::json!({"error": error.code(), "error_description": error.description()});
        Self::with(status, headers, body.to_string(), payload)
    }

    fn with(status: StatusCode, headers: BTreeMap<String, Vec<String>>, body: String, payload: Payload) -> Self {
        let (headers, multi_value_headers) = match payload {
            Payload::V1 => (BTreeMap::new(), headers),
            Payload::V2 => {
                (headers.into_iter().map(|(name, values)| (name, values.join(", "))).collect(), BTreeMap::new())
            }
        };
        Self { status_code: status.as_u16(), headers, multi_value_headers, body, is_base64_encoded: false }
    }
}

/// Time kept back from the invocation's deadline, in which the answer travels.
const RESERVE: Duration = Duration::from_millis(500);

/// What a path may hold besides letters and digits (RFC 3986 §3.3), and the percent sign of what is encoded already.
const PATH: &[u8] = b"-._~!$&'()*+,;=:@/%";
/// The same for a query string (RFC 3986 §3.4).
const QUERY: &[u8] = b"-._~!$&'()*+,;=:@/%?";

#[cfg(test)]
mod tests {
    use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
    use axum::response::IntoResponse as _;
    use serde_json::json;

    use super::*;

    fn request(event: serde_json::Value) -> Request<Body> {
        Event::deserialize(event).expect("an event").into_request(None).expect("a request")
    }

    fn base_of(request: &Request<Body>) -> &str {
        request.extensions().get::<PublicUrl>().expect("a public URL").as_str()
    }

    async fn body_of(request: Request<Body>) -> Vec<u8> {
        to_bytes(request.into_body(), usize::MAX).await.expect("a body").into()
    }

    fn v2(raw_path: &str, stage: &str) -> serde_json::Value {
        json!({
            "version": "2.0", "rawPath": raw_path, "rawQueryString": "",
            "headers": {"host": "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-proto": "http"},
            "requestContext": {
                "domainName": "id.execute-api.us-east-1.amazonaws.com", "stage": stage,
                "http": {"method": "POST", "path": raw_path},
            },
        })
    }

    fn v1(path: &str, context_path: Option<&str>) -> serde_json::Value {
        json!({
            "path": path, "httpMethod": "POST", "headers": null, "multiValueHeaders": {"Host": ["evil.example"]},
            "queryStringParameters": null, "multiValueQueryStringParameters": null,
            "requestContext": {
                "domainName": "id.execute-api.us-east-1.amazonaws.com", "stage": "prod", "path": context_path,
                "httpMethod": "POST",
            },
        })
    }

    #[test]
    fn the_prefix_ends_where_an_endpoint_begins() {
        for (path, prefix, rest) in [
            ("/oauth2/access_token", "", "/oauth2/access_token"),
            ("/am/oauth2/access_token", "", "/am/oauth2/access_token"),
            ("/prod/oauth2/access_token", "/prod", "/oauth2/access_token"),
            ("/prod/am/oauth2/realms/root/introspect", "/prod", "/am/oauth2/realms/root/introspect"),
            ("/auth/v1/oauth2/access_token", "/auth/v1", "/oauth2/access_token"),
            (
                "/prod/.well-known/oauth-authorization-server/am/oauth2",
                "/prod",
                "/.well-known/oauth-authorization-server/am/oauth2",
            ),
            ("/oauth2/realms/root/realms/oauth2/access_token", "", "/oauth2/realms/root/realms/oauth2/access_token"),
            ("/oauth2/.well-known/openid-configuration", "", "/oauth2/.well-known/openid-configuration"),
            ("/oauth2x/access_token", "", "/oauth2x/access_token"),
            ("/something", "", "/something"),
            ("//oauth2/access_token", "", "//oauth2/access_token"),
            ("/../oauth2/access_token", "", "/../oauth2/access_token"),
            ("/a%2fb/oauth2/access_token", "", "/a%2fb/oauth2/access_token"),
            ("/@evil/oauth2/access_token", "", "/@evil/oauth2/access_token"),
            ("", "", ""),
        ] {
            assert_eq!(split_prefix(path), (prefix, rest), "{path}");
        }
    }

    #[test]
    fn the_public_base_is_the_gateways_word_in_both_payloads() {
        let domain = "https://id.execute-api.us-east-1.amazonaws.com";
        for (event, base, path) in [
            (v2("/oauth2/access_token", "$default"), domain.to_owned(), "/oauth2/access_token"),
            (v2("/prod/oauth2/access_token", "prod"), format!("{domain}/prod"), "/oauth2/access_token"),
            (
                v1("/oauth2/access_token", Some("/prod/oauth2/access_token")),
                format!("{domain}/prod"),
                "/oauth2/access_token",
            ),
            (v1("/am/oauth2/access_token", None), domain.to_owned(), "/am/oauth2/access_token"),
        ] {
            let request = request(event);
            assert_eq!((base_of(&request), request.uri().to_string().as_str()), (base.as_str(), path));
        }
    }

    #[test]
    fn a_configured_public_url_wins() {
        let configured: PublicUrl = "https://auth.example.com/tenant".parse().expect("a URL");
        let event = Event::deserialize(v2("/prod/oauth2/access_token", "prod")).expect("an event");
        assert_eq!(base_of(&event.into_request(Some(&configured)).expect("a request")), configured.as_str());
    }

    #[test]
    fn without_a_domain_the_base_is_nobodys_name() {
        for domain_name in [json!(null), json!("")] {
            let mut event = v2("/prod/oauth2/access_token", "prod");
            event["requestContext"]["domainName"] = domain_name;
            assert_eq!(base_of(&request(event)), "https://grantwell.invalid/prod");
        }
    }

    #[tokio::test]
    async fn bodies_arrive_as_bytes() {
        for (body, is_base64, expected) in [
            (json!("a=b"), json!(false), &b"a=b"[..]),
            (json!("a=b"), json!(null), b"a=b"),
            (json!("YT1i"), json!(true), b"a=b"),
            (json!("//4="), json!(true), b"\xff\xfe"),
            (json!(null), json!(true), b""),
        ] {
            for mut event in [v1("/oauth2/access_token", None), v2("/oauth2/access_token", "$default")] {
                event["body"] = body.clone();
                event["isBase64Encoded"] = is_base64.clone();
                assert_eq!(body_of(request(event)).await, expected);
            }
        }
    }

    #[test]
    fn a_repeated_header_of_a_rest_api_stays_repeated() {
        let mut event = v1("/oauth2/access_token", None);
        event["headers"] = json!({"Authorization": "Basic b", "accept": "*/*", "X-Empty": null});
        event["multiValueHeaders"] = json!({"AUTHORIZATION": ["Basic a", "Basic b"], "X-Null": null});
        let request = request(event);
        let values: Vec<_> = request.headers().get_all(AUTHORIZATION).iter().collect();
        assert_eq!(values, ["Basic a", "Basic b"]);
        assert_eq!(request.headers()["accept"], "*/*");
    }

    #[test]
    fn a_header_outside_ascii_arrives() {
        let mut event = v2("/oauth2/access_token", "$default");
        event["headers"]["x-name"] = json!("Zoë");
        assert_eq!(request(event).headers()["x-name"].as_bytes(), "Zoë".as_bytes());
    }

    #[test]
    fn the_query_string_arrives_in_both_payloads() {
        let mut event = v2("/oauth2/access_token", "$default");
        event["rawQueryString"] = json!("a=%20b&c=<d>|{e}\"é;f?");
        assert_eq!(request(event).uri().query(), Some("a=%20b&c=%3Cd%3E%7C%7Be%7D%22%C3%A9;f?"));

        let mut event = v1("/oauth2/access_token", None);
        event["queryStringParameters"] = json!({"a": "c"});
        assert_eq!(request(event.clone()).uri().query(), Some("a=c"));
        event["multiValueQueryStringParameters"] = json!({"a": ["b&", "c"], "n": null});
        assert_eq!(request(event).uri().query(), Some("a=b%26&a=c"));
    }

    #[test]
    fn a_path_that_is_no_uri_is_escaped_and_not_dropped() {
        let path = "/oauth2/realms/root/realms/a b<é>/access_token";
        assert_eq!(
            request(v2(path, "$default")).uri().path(),
            "/oauth2/realms/root/realms/a%20b%3C%C3%A9%3E/access_token"
        );
    }

    fn gateway(router: Router) -> Gateway {
        let out_of_time = || (StatusCode::SERVICE_UNAVAILABLE, "out of time").into_response();
        Gateway { router, public_url: None, out_of_time }
    }

    #[tokio::test]
    async fn whatever_is_no_http_request_is_refused_without_a_panic() {
        let mut bad_body = v2("/oauth2/access_token", "$default");
        bad_body["body"] = json!("!");
        bad_body["isBase64Encoded"] = json!(true);
        let mut bad_header = v2("/oauth2/access_token", "$default");
        bad_header["headers"]["x-line"] = json!("a\nb");
        let mut bad_name = v2("/oauth2/access_token", "$default");
        bad_name["headers"]["x line"] = json!("a");
        let mut bad_method = v2("/oauth2/access_token", "$default");
        bad_method["requestContext"]["http"]["method"] = json!("a b");
        for event in [
            json!({"key1": "value1"}),
            json!({"requestContext": null}),
            json!({"requestContext": {"http": null}}),
            json!({"httpMethod": 7}),
            json!({"headers": "none"}),
            json!(null),
            json!([]),
            json!("text"),
            bad_body,
            bad_header,
            bad_name,
            bad_method,
        ] {
            let answer = gateway(Router::new()).answer(event.clone(), Duration::from_secs(1)).await;
            assert_eq!(answer.status_code, 400, "{event}");
            assert!(answer.body.starts_with(r#"{"error":"invalid_request","error_description":""#), "{}", answer.body);
            assert_eq!(answer.headers["content-type"], "application/json");
            assert_eq!(answer.headers["cache-control"], "no-store");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_out_of_time_is_answered_before_lambda_ends_it() {
        let router = Router::new().fallback(async || std::future::pending::<()>().await);
        let answer = gateway(router).answer(v2("/oauth2/access_token", "$default"), Duration::from_secs(7)).await;
        assert_eq!((answer.status_code, answer.body.as_str()), (503, "out of time"));
    }

    #[expect(clippy::disallowed_methods, reason = "deadlines are in the system's time")]
    #[test]
    fn half_a_second_is_kept_for_the_answer() {
        let left = time_left(SystemTime::now() + Duration::from_secs(8));
        assert!(left <= Duration::from_millis(7500) && left > Duration::from_secs(6), "{left:?}");
        assert_eq!(time_left(SystemTime::UNIX_EPOCH), Duration::ZERO);
    }

    #[tokio::test]
    async fn an_answer_has_the_form_of_its_payload() {
        let router = Router::new().fallback(async || (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic")], "{}"));
        let gateway = gateway(router);
        let shown = async |event| {
            let answer = gateway.answer(event, Duration::from_secs(1)).await;
            let mut shown = serde_json::to_value(answer).expect("JSON");
            for headers in ["headers", "multiValueHeaders"] {
                if let Some(headers) = shown.get_mut(headers).and_then(serde_json::Value::as_object_mut) {
                    headers.retain(|name, _| name == "www-authenticate");
                }
            }
            shown
        };
        assert_eq!(
            shown(v2("/oauth2/access_token", "$default")).await,
            json!({
                "statusCode": 401, "headers": {"www-authenticate": "Basic"}, "body": "{}", "isBase64Encoded": false
            })
        );
        assert_eq!(
            shown(v1("/oauth2/access_token", None)).await,
            json!({
                "statusCode": 401, "multiValueHeaders": {"www-authenticate": ["Basic"]}, "body": "{}",
                "isBase64Encoded": false
            })
        );
    }
}
