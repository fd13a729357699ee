//! API Gateway in front of the routers: its events become requests, and answers what it takes for one. Payload 2.0 (HTTP
//! API, function URL) and payload 1.0 (REST API) are both understood.
//!
//! `lambda_http`'s runtime hands over the events. Both ways are written here: `lambda_http`'s own trust an event more than a
//! caller deserves, and cost more than all else that a warm answer does (docs/decisions/0009-events-are-read-here.md).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Collected};
use lambda_http::{LambdaEvent, lambda_runtime, service_fn};
use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use url::form_urlencoded;

use super::front::Front;
use super::invocation;
use crate::core::error::OAuthError;
use crate::core::realm::PublicUrl;
use crate::core::source::ClientSource;
use crate::metrics::{MALFORMED, Metric, Metrics, OUT_OF_TIME, PAST_THE_FRONT};

/// Answers invocations with `router` until Lambda ends the process. Each request carries the [`PublicUrl`] it came in by as
/// an extension: `public_url`, or else what API Gateway says.
///
/// Nothing is answered that did not come through `front`. A request that is not answered 500 ms before the invocation's deadline gets the answer of `out_of_time`.
///
/// # Panics
/// Outside of Lambda, where the variables of its runtime interface are missing.
pub async fn serve(
    router: Router,
    public_url: Option<PublicUrl>,
    front: Front,
    out_of_time: fn() -> Response,
    metrics: Arc<Metrics>,
) {
    let gateway = &Gateway { router, public_url, front, out_of_time, metrics };
    // As text: what the runtime cannot read is a function error, and this server answers whatever comes.
    let ended = lambda_runtime::run(service_fn(async |invocation: LambdaEvent<Box<RawValue>>| {
        let LambdaEvent { payload, context } = invocation;
        let answer = gateway.answer(payload.get(), time_left(context.deadline()));
        Ok::<_, Infallible>(invocation::observed(&gateway.metrics, invocation::ids(&context), answer).await)
    }))
    .await;
    invocation::ended(ended);
}

/// What [`serve`] answers to one event, for the fuzz targets.
#[cfg(fuzzing)]
pub async fn answer(router: Router, event: &str, time_left: Duration) -> Value {
    let out_of_time = || StatusCode::SERVICE_UNAVAILABLE.into_response();
    let metrics = Arc::new(Metrics::off());
    let gateway = Gateway { router, public_url: None, front: Front::Gateway, out_of_time, metrics };
    serde_json::to_value(gateway.answer(event, time_left).await).unwrap_or_default()
}

struct Gateway {
    router: Router,
    public_url: Option<PublicUrl>,
    front: Front,
    out_of_time: fn() -> Response,
    metrics: Arc<Metrics>,
}

/// Why an event never reaches the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// It is no HTTP request. The text is the public description.
    Malformed(&'static str),
    /// It came past what stands in front.
    PastTheFront,
}

/// The form of an event, and of what answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    /// A REST API's.
    V1,
    /// An HTTP API's, or a function URL's.
    V2,
}

/// What is read of an event. An emulator may leave a member null.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    http_method: Option<String>,
    raw_path: Option<String>,
    path: Option<String>,
    raw_query_string: Option<String>,
    headers: Option<BTreeMap<String, Values>>,
    multi_value_headers: Option<BTreeMap<String, Values>>,
    query_string_parameters: Option<BTreeMap<String, Values>>,
    multi_value_query_string_parameters: Option<BTreeMap<String, Values>>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
    #[serde(borrow)]
    request_context: Option<RequestContext<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    path: Option<String>,
    domain_name: Option<String>,
    http: Option<HttpDescription>,
    #[serde(borrow)]
    identity: Option<&'a RawValue>,
}

/// A part of payload 2.0.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpDescription {
    method: Option<String>,
    source_ip: Option<Value>,
}

/// A part of payload 1.0, where other kinds of events have other things.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    source_ip: Option<String>,
}

/// Of a header or a parameter. Payload 2.0 has one value a name. A REST API gives both twice: by name the list of all values, and
/// the last value.
struct Values(Vec<String>);

/// An answer in the form of its event's payload. It has one value a header: several, joined, mean the same (RFC 9110 §5.3), and
/// payload 2.0 has no lists.
struct Answer {
    payload: Payload,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Gateway {
    async fn answer(&self, event: &str, time_left: Duration) -> Answer {
        let (payload, request) = match serde_json::from_str::<Event<'_>>(event) {
            Ok(event) => (event.payload(), self.request(event)),
            Err(_) => (payload_of_unread(event), Err(NO_REQUEST.into())),
        };
        let response = match request {
            Ok(request) => self.route(request, time_left).await,
            Err(reason) => self.refused(reason),
        };
        self.metrics.answered(response.status().as_u16());
        Answer::new(payload, response).await
    }

    /// # Errors
    /// [`Refusal`].
    fn request(&self, event: Event<'_>) -> Result<Request<Body>, Refusal> {
        let payload = event.payload();
        let context = event.request_context.unwrap_or_default();

        // 1. Whether it came the way that requests come.
        let mut headers = headers(lists(event.multi_value_headers, event.headers)?)?;
        if !self.front.admits(&mut headers) {
            return Err(Refusal::PastTheFront);
        }

        // 2. What is asked for. A REST API's own path has no stage, its context's has.
        let path = event.raw_path.or(context.path).or(event.path).unwrap_or_default();
        let (prefix, path) = split_prefix(&path);
        let query = match payload {
            Payload::V1 => form(&lists(event.multi_value_query_string_parameters, event.query_string_parameters)?),
            Payload::V2 => short_enough(event.raw_query_string.unwrap_or_default())?,
        };
        let target = target(path, &query)?;

        // 3. How, and from whom by the gateway's own word.
        let (method, peer) = match payload {
            Payload::V1 => (event.http_method, context.identity.and_then(rest_source)),
            Payload::V2 => {
                let http = context.http.ok_or(NO_REQUEST)?;
                (http.method, http.source_ip.as_ref().and_then(Value::as_str).and_then(address))
            }
        };
        let method = method.filter(|method| !method.is_empty()).ok_or(NO_REQUEST)?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| MALFORMED_HEAD)?;
        let source = self.front.source(peer, &headers).map(ClientSource::of);

        // 4. The body.
        let body = event.body.unwrap_or_default();
        let body: Body = if event.is_base64_encoded.unwrap_or_default() {
            STANDARD.decode(body).map_err(|_| "the body is malformed")?.into()
        } else {
            body.into()
        };

        // 5. Where it came in, in the gateway's own word.
        let public_url = match &self.public_url {
            Some(configured) => configured.clone(),
            None => public_base(context.domain_name.as_deref(), prefix)?,
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target.into();
        *request.headers_mut() = headers;
        request.extensions_mut().insert(public_url);
        source.map(|source| request.extensions_mut().insert(source));
        Ok(request)
    }

    async fn route(&self, request: Request<Body>, time_left: Duration) -> Response {
        match tokio::time::timeout(time_left, self.router.clone().oneshot(request)).await {
            Ok(Ok(response)) => response,
            // Rather our own 503 than the API's, which is no OAuth answer and does not say when to try again.
            Err(_) => {
                tracing::warn!(time_limit_milliseconds = time_left.as_millis(), "a request ran out of time");
                self.metrics.refused(Metric::RequestsRefused, OUT_OF_TIME);
                (self.out_of_time)()
            }
        }
    }

    /// For what never reaches a router: an error like any other, made here.
    fn refused(&self, refusal: Refusal) -> Response {
        let (status, metric, error, description) = match refusal {
            Refusal::Malformed(reason) => {
                let error = OAuthError::InvalidRequest(reason);
                (StatusCode::BAD_REQUEST, MALFORMED, error.code(), error.description())
            }
            Refusal::PastTheFront => (StatusCode::FORBIDDEN, PAST_THE_FRONT, "access_denied", NOT_HERE),
        };
        tracing::warn!(reason = description, "an event was refused before it reached a router");
        self.metrics.refused(Metric::RequestsRefused, metric);
        let body = json!({"error": error, "error_description": description}).to_string();
        let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];
        (status, headers, body).into_response()
    }
}

impl From<&'static str> for Refusal {
    fn from(description: &'static str) -> Self {
        Self::Malformed(description)
    }
}

/// Time until the answer must be on its way.
#[expect(clippy::disallowed_methods, reason = "the deadline is given in the system's time, in milliseconds")]
pub(super) fn time_left(deadline: SystemTime) -> Duration {
    deadline.duration_since(SystemTime::now()).unwrap_or_default().saturating_sub(RESERVE)
}

impl Event<'_> {
    /// Only payload 1.0 has the method outside of its context.
    fn payload(&self) -> Payload {
        if self.http_method.is_some() { Payload::V1 } else { Payload::V2 }
    }
}

/// The form of the refusal of an event that could not be read.
fn payload_of_unread(event: &str) -> Payload {
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    if event.get("httpMethod").is_some_and(Value::is_string) { Payload::V1 } else { Payload::V2 }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor).map(Self)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("one value, a list of values, or null")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Vec<String>, E> {
        Ok(vec![value.to_owned()])
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Vec<String>, E> {
        Ok(vec![value])
    }

    fn visit_unit<E: de::Error>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(values)
    }
}

/// The lists of both, where a repeated header stays repeated whichever way its name is written.
fn lists(
    multiple: Option<BTreeMap<String, Values>>,
    single: Option<BTreeMap<String, Values>>,
) -> Result<Vec<(String, Values)>, &'static str> {
    let mut lists: Vec<_> =
        multiple.unwrap_or_default().into_iter().filter(|(_, values)| !values.0.is_empty()).collect();
    let listed = lists.len();
    for (name, values) in single.unwrap_or_default() {
        if !lists.iter().take(listed).any(|(listed, _)| listed.eq_ignore_ascii_case(&name)) {
            lists.push((name, values));
        }
    }
    let length_of =
        |(name, values): &(String, Values)| values.0.iter().map(|value| name.len() + value.len() + 1).sum::<usize>();
    if lists.iter().map(length_of).sum::<usize>() > MAX_LENGTH { Err(TOO_LONG) } else { Ok(lists) }
}

/// A query string of these parameters.
fn form(parameters: &[(String, Values)]) -> String {
    let pairs = parameters.iter().flat_map(|(name, values)| values.0.iter().map(move |value| (name, value)));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn short_enough(query: String) -> Result<String, &'static str> {
    if query.len() > MAX_LENGTH { Err(TOO_LONG) } else { Ok(query) }
}

fn target(path: &str, query: &str) -> Result<PathAndQuery, &'static str> {
    let mut target = escaped(path, PATH).into_owned();
    if !query.is_empty() {
        target.push('?');
        target.push_str(&escaped(query, QUERY));
    }
    target.parse().map_err(|_| "the path or the query string is malformed")
}

fn headers(lists: Vec<(String, Values)>) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::new();
    for (name, values) in lists {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| MALFORMED_HEAD)?;
        for value in values.0 {
            let value = HeaderValue::try_from(value).map_err(|_| MALFORMED_HEAD)?;
            headers.try_append(name.clone(), value).map_err(|_| TOO_LONG)?;
        }
    }
    Ok(headers)
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

/// Whom a REST API has taken the request from: callers write the X-Forwarded-For header.
fn rest_source(identity: &RawValue) -> Option<IpAddr> {
    let identity: Identity = serde_json::from_str(identity.get()).ok()?;
    address(&identity.source_ip?)
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Percent-encodes what may not stand in a URI, and leaves everything else, percent signs too, as it came.
fn escaped<'a>(text: &'a str, allowed: &[u8]) -> Cow<'a, str> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || allowed.contains(&byte);
    if text.bytes().all(is_allowed) {
        return text.into();
    }
    text.bytes().map(|byte| if is_allowed(byte) { char::from(byte).into() } else { format!("%{byte:02X}") }).collect()
}

impl Answer {
    async fn new(payload: Payload, response: Response) -> Self {
        let (head, body) = response.into_parts();
        // No body of this server is a stream that could break; one that did would not pass for an answer.
        let body = body.collect().await.map(Collected::to_bytes);
        let status = if body.is_ok() { head.status } else { StatusCode::INTERNAL_SERVER_ERROR };
        Self { payload, status, headers: head.headers, body: body.unwrap_or_default() }
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = serializer.serialize_struct("Answer", 4)?;
        answer.serialize_field("statusCode", &self.status.as_u16())?;
        match self.payload {
            Payload::V1 => answer.serialize_field("multiValueHeaders", &Lists(&self.headers))?,
            Payload::V2 => answer.serialize_field("headers", &Joined(&self.headers))?,
        }
        let text = std::str::from_utf8(&self.body);
        let body = text.map_or_else(|_| Cow::from(STANDARD.encode(&self.body)), Cow::from);
        answer.serialize_field("body", &body)?;
        answer.serialize_field("isBase64Encoded", &text.is_err())?;
        answer.end()
    }
}

struct Joined<'a>(&'a HeaderMap);
struct Lists<'a>(&'a HeaderMap);

impl Serialize for Joined<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(joined(self.0))
    }
}

impl Serialize for Lists<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(joined(self.0).map(|(name, value)| (name, [value])))
    }
}

/// One value a header. A value that is no text would be no JSON; no response of this server has one.
fn joined(headers: &HeaderMap) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    headers.keys().map(|name| {
        let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let first = values.next().unwrap_or_default();
        let all = values.fold(Cow::Borrowed(first), |all, value| format!("{all}, {value}").into());
        (name.as_str(), all)
    })
}

/// Time kept back from the invocation's deadline, in which the answer travels.
const RESERVE: Duration = Duration::from_millis(500);
/// Bytes of a query string or of all headers. API Gateway takes 10,240 of both; `http` refuses 65,535 bytes of a URI, with three
/// for one that is escaped, and 24,577 headers.
const MAX_LENGTH: usize = 20_000;

const NO_REQUEST: &str = "the event is no HTTP request";
const MALFORMED_HEAD: &str = "a method or header is malformed";
const TOO_LONG: &str = "the query string or the headers are too long";
const NOT_HERE: &str = "requests come by the public address of this server";

/// What a path may hold besides letters and digits (RFC 3986 §3.3), and the percent sign of what is encoded already.
const PATH: &[u8] = b"-._~!$&'()*+,;=:@/%";
/// The same for a query string (RFC 3986 §3.4).
const QUERY: &[u8] = b"-._~!$&'()*+,;=:@/%?";

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::path::Path;

    use axum::body::to_bytes;
    use axum::http::Uri;
    use axum::http::header::{AUTHORIZATION, COOKIE, WWW_AUTHENTICATE};
    use axum::response::AppendHeaders;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;
    use crate::aws::lambda::front::OriginSecret;

    fn gateway(router: Router) -> Gateway {
        let out_of_time = || (StatusCode::SERVICE_UNAVAILABLE, "out of time").into_response();
        let metrics = Arc::new(Metrics::off());
        Gateway { router, public_url: None, front: Front::Gateway, out_of_time, metrics }
    }

    fn request_to(gateway: &Gateway, event: &Value) -> Request<Body> {
        let event = event.to_string();
        gateway.request(serde_json::from_str(&event).expect("an event")).expect("a request")
    }

    fn request(event: &Value) -> Request<Body> {
        request_to(&gateway(Router::new()), event)
    }

    async fn answer_to(gateway: &Gateway, event: Value) -> Value {
        let answer = gateway.answer(&event.to_string(), Duration::from_secs(8)).await;
        serde_json::to_value(answer).expect("JSON")
    }

    fn base_of(request: &Request<Body>) -> &str {
        request.extensions().get::<PublicUrl>().expect("a public URL").as_str()
    }

    async fn body_of(request: Request<Body>) -> Vec<u8> {
        to_bytes(request.into_body(), usize::MAX).await.expect("a body").into()
    }

    fn v2(raw_path: &str, stage: &str) -> Value {
        json!({
            "version": "2.0", "rawPath": raw_path, "rawQueryString": "",
            "headers": {"host": "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-proto": "http"},
            "requestContext": {
                "domainName": "id.execute-api.us-east-1.amazonaws.com", "stage": stage,
                "http": {"method": "POST", "path": raw_path},
            },
        })
    }

    fn v1(path: &str, context_path: Option<&str>) -> Value {
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
            let request = request(&event);
            assert_eq!((base_of(&request), request.uri().to_string().as_str()), (base.as_str(), path));
        }
    }

    #[test]
    fn the_source_is_the_gateways_word_in_both_payloads_and_never_a_header() {
        let source = |event: &Value| request(event).extensions().get::<ClientSource>().map(ToString::to_string);
        let mut http = v2("/oauth2/access_token", "$default");
        http["headers"]["x-forwarded-for"] = json!("198.51.100.1, 203.0.113.9");
        let mut rest = v1("/oauth2/access_token", None);
        rest["multiValueHeaders"]["X-Forwarded-For"] = json!(["198.51.100.1", "203.0.113.9"]);
        assert_eq!((source(&http), source(&rest)), (None, None));

        // The other version's member is not this one's.
        rest["requestContext"]["http"] = json!({"sourceIp": "198.51.100.1"});
        http["requestContext"]["identity"] = json!({"sourceIp": "198.51.100.1"});
        assert_eq!((source(&http), source(&rest)), (None, None));

        for (address, expected) in [
            (json!("192.0.2.7"), Some("192.0.2.7")),
            (json!("2001:db8:1:2:3:4:5:6"), Some("2001:db8:1:2::/64")),
            (json!("198.51.100.1, 203.0.113.9"), None),
            (json!(""), None),
            (json!(7), None),
            (json!(null), None),
        ] {
            http["requestContext"]["http"]["sourceIp"] = address.clone();
            rest["requestContext"]["identity"] = json!({"sourceIp": address});
            assert_eq!((source(&http).as_deref(), source(&rest).as_deref()), (expected, expected), "{address}");
        }
    }

    /// Its secret is `secret`, and was `before`.
    fn behind_cloudfront() -> Gateway {
        let digest = |text: &str| text.parse().expect("a digest");
        let secret = OriginSecret::new(
            digest("2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"),
            Some(digest("6DB7D803E74F1FFA7D8F5ADC0BF95B3E15BF4C8373FFFADF546227CC6C6742CB")),
        );
        let router = Router::new().fallback(async |headers: HeaderMap| format!("{headers:?}"));
        Gateway { front: Front::CloudFront(secret), ..gateway(router) }
    }

    #[tokio::test]
    async fn behind_cloudfront_nothing_is_answered_without_its_secret() {
        let gateway = behind_cloudfront();
        let with = |name: &str, values: &[&str]| {
            let (mut http, mut rest) = (v2("/oauth2/access_token", "$default"), v1("/oauth2/access_token", None));
            http["headers"][name] = json!(values.join(","));
            rest["multiValueHeaders"][name] = json!(values);
            [http, rest]
        };
        for event in [with("x-grantwell-origin", &["secret"]), with("X-Grantwell-Origin", &["before"])].concat() {
            let answer = answer_to(&gateway, event).await;
            assert_eq!(answer["statusCode"], 200);
            assert!(
                !answer.to_string().to_ascii_lowercase().contains("grantwell-origin"),
                "it goes no further: {answer}"
            );
        }
        let refused = [
            with("x-other", &["secret"]),
            with("x-grantwell-origin", &[""]),
            with("x-grantwell-origin", &["Secret"]),
            with("x-grantwell-origin", &["secret "]),
            with("x-grantwell-origin", &["2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"]),
            with("x-grantwell-origin", &["secret", "secret"]),
            with("x-grantwell-origin", &["other", "secret"]),
        ];
        for event in refused.concat() {
            let answer = answer_to(&gateway, event.clone()).await;
            assert_eq!(answer["statusCode"], 403, "{event}");
            assert_eq!(
                answer["body"],
                r#"{"error":"access_denied","error_description":"requests come by the public address of this server"}"#
            );
        }
        // Whatever else would be wrong with it.
        let mut malformed = v2("/oauth2/access_token", "$default");
        malformed["requestContext"]["http"]["method"] = json!("a b");
        assert_eq!(answer_to(&gateway, malformed).await["statusCode"], 403);
    }

    #[test]
    fn behind_cloudfront_the_source_is_whom_cloudfront_has_taken_the_request_from() {
        let (edge, viewer, forged) = ("192.0.2.7", "198.51.100.1", "203.0.113.9");
        for (forwarded, expected) in [
            (format!("{viewer}, {edge}"), viewer),
            (format!("{forged}, {viewer}, {edge}"), viewer),
            (format!("{edge}, {viewer}, {edge}"), viewer),
            // A gateway that adds nothing.
            (viewer.to_owned(), viewer),
            (format!("{forged},{viewer}"), viewer),
            ("2001:db8:1:2:3:4:5:6, 192.0.2.7".to_owned(), "2001:db8:1:2::/64"),
            // Who cannot be told apart counts as one.
            (String::new(), edge),
            (edge.to_owned(), edge),
            (format!("{viewer}, unknown, {edge}"), edge),
        ] {
            let mut http = v2("/oauth2/access_token", "$default");
            http["headers"]["x-forwarded-for"] = json!(forwarded);
            http["headers"]["x-grantwell-origin"] = json!("secret");
            http["requestContext"]["http"]["sourceIp"] = json!(edge);
            let mut rest = v1("/oauth2/access_token", None);
            rest["multiValueHeaders"] = json!({"X-Forwarded-For": [forwarded], "X-Grantwell-Origin": ["secret"]});
            rest["requestContext"]["identity"] = json!({"sourceIp": edge});
            for event in [http, rest] {
                let request = request_to(&behind_cloudfront(), &event);
                let source = request.extensions().get::<ClientSource>().map(ToString::to_string);
                assert_eq!(source.as_deref(), Some(expected), "{forwarded}");
            }
        }
    }

    #[test]
    fn a_configured_public_url_wins() {
        let configured: PublicUrl = "https://auth.example.com/tenant".parse().expect("a URL");
        let gateway = Gateway { public_url: Some(configured.clone()), ..gateway(Router::new()) };
        assert_eq!(base_of(&request_to(&gateway, &v2("/prod/oauth2/access_token", "prod"))), configured.as_str());
    }

    #[test]
    fn without_a_domain_the_base_is_nobodys_name() {
        for domain_name in [json!(null), json!("")] {
            let mut event = v2("/prod/oauth2/access_token", "prod");
            event["requestContext"]["domainName"] = domain_name;
            assert_eq!(base_of(&request(&event)), "https://grantwell.invalid/prod");
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
                assert_eq!(body_of(request(&event)).await, expected);
            }
        }
    }

    #[test]
    fn a_repeated_header_of_a_rest_api_stays_repeated() {
        let mut event = v1("/oauth2/access_token", None);
        event["headers"] = json!({"Authorization": "Basic b", "accept": "*/*", "X-Empty": null});
        event["multiValueHeaders"] = json!({"AUTHORIZATION": ["Basic a", "Basic b"], "X-Null": null});
        let request = request(&event);
        let values: Vec<_> = request.headers().get_all(AUTHORIZATION).iter().collect();
        assert_eq!(values, ["Basic a", "Basic b"]);
        assert_eq!(request.headers()["accept"], "*/*");
    }

    #[test]
    fn a_header_outside_ascii_arrives() {
        let mut event = v2("/oauth2/access_token", "$default");
        event["headers"]["x-name"] = json!("Zoë");
        assert_eq!(request(&event).headers()["x-name"].as_bytes(), "Zoë".as_bytes());
    }

    #[test]
    fn the_query_string_arrives_in_both_payloads() {
        let mut event = v2("/oauth2/access_token", "$default");
        event["rawQueryString"] = json!("a=%20b&c=<d>|{e}\"é;f?");
        assert_eq!(request(&event).uri().query(), Some("a=%20b&c=%3Cd%3E%7C%7Be%7D%22%C3%A9;f?"));

        let mut event = v1("/oauth2/access_token", None);
        event["queryStringParameters"] = json!({"a": "c"});
        assert_eq!(request(&event).uri().query(), Some("a=c"));
        event["multiValueQueryStringParameters"] = json!({"a": ["b&", "c"], "n": null});
        assert_eq!(request(&event).uri().query(), Some("a=b%26&a=c"));
    }

    /// The events of API Gateway that this repository has, and each once more with a query string.
    fn sample_events() -> Vec<(String, Value)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
        let mut events = Vec::new();
        for function in ["token", "introspect", "revoke", "metadata"] {
            for file in fs::read_dir(directory.join(function)).expect("events of each function") {
                let path = file.expect("a file").path();
                let event: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
                let mut with_query = event.clone();
                if event.get("httpMethod").is_some() {
                    with_query["queryStringParameters"] = json!({"a": "2 é"});
                    with_query["multiValueQueryStringParameters"] = json!({"a": ["1&", "2 é"]});
                } else {
                    with_query["rawQueryString"] = json!("a=1%26&b=&a=2+%C3%A9");
                }
                events.push((format!("{} with a query string", path.display()), with_query));
                events.push((path.display().to_string(), event));
            }
        }
        events
    }

    fn read_by_lambda_http(event: &Value) -> lambda_http::Request {
        lambda_http::request::from_str(&event.to_string()).expect("a request")
    }

    fn pairs(uri: &Uri) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect()
    }

    /// The stage is on the path that `lambda_http` reads, and on the base that this server reads. What else differs, and in which
    /// events, is the next test's.
    #[tokio::test]
    async fn each_sample_event_is_the_request_that_lambda_http_reads_in_it() {
        let events = sample_events();
        let is_v1 = |(_, event): &&(String, Value)| event.get("httpMethod").is_some();
        let of_rest_apis = events.iter().filter(is_v1).count();
        assert!(of_rest_apis >= 4 && events.len() - of_rest_apis >= 60, "{of_rest_apis} of {}", events.len());
        for (name, event) in events {
            let (ours, theirs) = (request(&event), read_by_lambda_http(&event));
            assert_eq!(ours.method(), theirs.method(), "{name}");
            let with_base: Uri = format!("{}{}", base_of(&ours), ours.uri()).parse().expect("a URI");
            assert_eq!(with_base.path(), theirs.uri().path(), "{name}");
            assert_eq!(pairs(ours.uri()), pairs(theirs.uri()), "{name}");
            assert_eq!(ours.headers(), theirs.headers(), "{name}");
            assert_eq!(body_of(ours).await, theirs.body().as_ref(), "{name}");
        }
    }

    #[test]
    fn what_lambda_http_reads_otherwise() {
        // The last of a REST API's repeated headers, where a second Authorization header is one too many.
        let mut repeated = v1("/oauth2/access_token", None);
        repeated["headers"] = json!({"Authorization": "Basic b"});
        repeated["multiValueHeaders"] = json!({"Authorization": ["Basic a", "Basic b"]});
        let (ours, theirs) = (request(&repeated), read_by_lambda_http(&repeated));
        assert_eq!(ours.headers().get_all(AUTHORIZATION).iter().collect::<Vec<_>>(), ["Basic a", "Basic b"]);
        assert_eq!(theirs.headers().get_all(AUTHORIZATION).iter().collect::<Vec<_>>(), ["Basic b"]);

        // A stage that was not on the path: a custom domain has its own mapping there.
        let mapped = v1("/auth/oauth2/access_token", Some("/auth/oauth2/access_token"));
        let (ours, theirs) = (request(&mapped), read_by_lambda_http(&mapped));
        assert_eq!(base_of(&ours), "https://id.execute-api.us-east-1.amazonaws.com/auth");
        assert_eq!(ours.uri().path(), "/oauth2/access_token");
        assert_eq!(theirs.uri().path(), "/prod/auth/oauth2/access_token");

        // The path that `..` leads to.
        let dotted = v2("/oauth2/../access_token", "$default");
        let (ours, theirs) = (request(&dotted), read_by_lambda_http(&dotted));
        assert_eq!((ours.uri().path(), theirs.uri().path()), ("/oauth2/../access_token", "/access_token"));

        // Host, and the scheme with it, by the caller's word.
        let event = v2("/oauth2/access_token", "$default");
        let (ours, theirs) = (request(&event), read_by_lambda_http(&event));
        assert_eq!(base_of(&ours), "https://id.execute-api.us-east-1.amazonaws.com");
        assert_eq!(theirs.uri().to_string(), "http://evil.example/oauth2/access_token");

        // Cookies, which an HTTP API takes out of the headers and no endpoint reads.
        let mut cookies = v2("/oauth2/access_token", "$default");
        cookies["cookies"] = json!(["a=b", "c=d"]);
        let (ours, theirs) = (request(&cookies), read_by_lambda_http(&cookies));
        assert_eq!(
            (ours.headers().get(COOKIE), &theirs.headers()[COOKIE]),
            (None, &HeaderValue::from_static("a=b; c=d"))
        );
    }

    #[test]
    fn a_path_that_is_no_uri_is_escaped_and_not_dropped() {
        let path = "/oauth2/realms/root/realms/a b<é>/access_token";
        assert_eq!(
            request(&v2(path, "$default")).uri().path(),
            "/oauth2/realms/root/realms/a%20b%3C%C3%A9%3E/access_token"
        );
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
        let mut empty_method = v1("/oauth2/access_token", None);
        empty_method["httpMethod"] = json!("");
        let mut bad_domain = v1("/oauth2/access_token", None);
        bad_domain["requestContext"]["domainName"] = json!("a b");
        let mut bad_parameter = v1("/oauth2/access_token", None);
        bad_parameter["multiValueQueryStringParameters"] = json!({"a": [7]});
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
            empty_method,
            bad_domain,
            bad_parameter,
        ] {
            let answer = answer_to(&gateway(Router::new()), event.clone()).await;
            assert_eq!(answer["statusCode"], 400, "{event}");
            let body = answer["body"].as_str().expect("a body");
            assert!(body.starts_with(r#"{"error":"invalid_request","error_description":""#), "{body}");
            let is_v1 = event.get("httpMethod").is_some_and(Value::is_string);
            for (name, value) in [("content-type", "application/json"), ("cache-control", "no-store")] {
                if is_v1 {
                    assert_eq!(answer["multiValueHeaders"][name], json!([value]), "{event}");
                } else {
                    assert_eq!(answer["headers"][name], value, "{event}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_out_of_time_is_answered_before_lambda_ends_it() {
        let router = Router::new().fallback(async || std::future::pending::<()>().await);
        let answer = answer_to(&gateway(router), v2("/oauth2/access_token", "$default")).await;
        assert_eq!((&answer["statusCode"], &answer["body"]), (&json!(503), &json!("out of time")));
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
        let headers = [(WWW_AUTHENTICATE, "Basic"), (WWW_AUTHENTICATE, "DPoP")];
        let router = Router::new().fallback(async move || (StatusCode::UNAUTHORIZED, AppendHeaders(headers), "{}"));
        let gateway = gateway(router);
        let shown = async |event| {
            let mut shown = answer_to(&gateway, event).await;
            for headers in ["headers", "multiValueHeaders"] {
                if let Some(headers) = shown.get_mut(headers).and_then(Value::as_object_mut) {
                    headers.retain(|name, _| name == "www-authenticate");
                }
            }
            shown
        };
        assert_eq!(
            shown(v2("/oauth2/access_token", "$default")).await,
            json!({
                "statusCode": 401, "headers": {"www-authenticate": "Basic, DPoP"},
                "body": "{}", "isBase64Encoded": false,
            })
        );
        assert_eq!(
            shown(v1("/oauth2/access_token", None)).await,
            json!({
                "statusCode": 401, "multiValueHeaders": {"www-authenticate": ["Basic, DPoP"]},
                "body": "{}", "isBase64Encoded": false,
            })
        );
    }

    #[tokio::test]
    async fn a_body_is_text_whatever_its_type_and_base64_only_where_it_is_none() {
        for (body, shown, is_base64) in [
            (&b"ey.\xc3\xa9"[..], json!("ey.\u{e9}"), false),
            (b"", json!(""), false),
            (b"\xff\xfe", json!("//4="), true),
        ] {
            let router = Router::new().fallback(async move || ([(CONTENT_TYPE, "application/jwt")], body));
            for event in [v1("/", None), v2("/", "$default")] {
                let answer = answer_to(&gateway(router.clone()), event).await;
                assert_eq!((&answer["body"], &answer["isBase64Encoded"]), (&shown, &json!(is_base64)));
            }
        }
    }

    #[tokio::test]
    async fn what_http_would_panic_on_is_too_long() {
        let long = "<".repeat(MAX_LENGTH + 1);
        let mut long_query = v2("/oauth2/access_token", "$default");
        long_query["rawQueryString"] = json!(long);
        let mut long_path = v2("/oauth2/access_token", "$default");
        long_path["rawPath"] = json!(format!("/{long}{long}"));
        let mut long_parameter = v1("/oauth2/access_token", None);
        long_parameter["queryStringParameters"] = json!({"a": long});
        let mut many_parameters = v1("/oauth2/access_token", None);
        many_parameters["multiValueQueryStringParameters"] = json!({&long[..1000]: vec!["<"; 100]});
        let mut many_headers = v2("/oauth2/access_token", "$default");
        many_headers["headers"] =
            (0..40_000).map(|number| (format!("a{number}"), json!(""))).collect::<serde_json::Map<_, _>>().into();
        let mut many_values = v1("/oauth2/access_token", None);
        many_values["multiValueHeaders"] = json!({"a": vec![""; 40_000]});
        for event in [long_query, long_path, long_parameter, many_parameters, many_headers, many_values] {
            assert_eq!(answer_to(&gateway(Router::new()), event).await["statusCode"], 400);
        }
        // Nor is anything shorter a reason to panic.
        for (name, value) in [("<", MAX_LENGTH - 2), ("", MAX_LENGTH - 1)] {
            let mut event = v1("/", None);
            event["queryStringParameters"] = json!({name: "<".repeat(value)});
            assert_eq!(answer_to(&gateway(Router::new()), event).await["statusCode"], 404);
        }
        let mut event = v1("/", None);
        event["multiValueQueryStringParameters"] = json!({"": vec![""; MAX_LENGTH], "none": []});
        assert_eq!(answer_to(&gateway(Router::new()), event).await["statusCode"], 404);
        let mut event = v2("/", "$default");
        event["rawQueryString"] = json!("<".repeat(MAX_LENGTH));
        assert_eq!(answer_to(&gateway(Router::new()), event).await["statusCode"], 404);
    }

    /// Mostly `good`, so that events do not all end at the same check.
    fn text_like(good: &'static [&'static str], bad: &'static [&'static str]) -> impl Strategy<Value = Value> {
        prop_oneof![
            40 => prop::sample::select(good).prop_map(Value::from),
            2 => prop::sample::select(bad).prop_map(Value::from),
            1 => any::<String>().prop_map(Value::from),
            1 => "[ -~]{0,12}".prop_map(Value::from),
            1 => prop::sample::select(vec![json!(null), json!(7), json!([]), json!({}), json!([""]), json!([null])]),
        ]
    }

    fn fields() -> impl Strategy<Value = Value> {
        const NAMES: &[&str] = &["Host", "X-Forwarded-Proto", "host", "Authorization", "authorization", "x-a", "<x>"];
        const GOOD: &[&str] = &["evil.example", "<x>", "http", ":", "", "a b", "é", "[::1", "a:b@c"];
        let name = prop_oneof![40 => prop::sample::select(NAMES).prop_map(str::to_owned), 1 => any::<String>()];
        let value = prop_oneof![
            text_like(GOOD, &["a\nb"]),
            prop::collection::vec(text_like(GOOD, &["a\nb"]), 0..3).prop_map(Value::from),
        ];
        prop_oneof![
            40 => prop::collection::vec((name, value), 0..4).prop_map(|fields| fields.into_iter().collect::<Value>()),
            1 => text_like(&["none"], &[""]),
        ]
    }

    fn event() -> impl Strategy<Value = Value> {
        const PATHS: &[&str] =
            &["/oauth2/access_token", "/prod/oauth2/access_token", "/../<x>", "//x/..", "/a?b#c", "/%"];
        const METHODS: &[&str] = &["POST", "GET", "post"];
        let path = || text_like(PATHS, &["", "x", "*", ":1", "\\"]);
        let query = text_like(&["", "a=b", "<x>", "#", "??", "%", "a=é&;", "\\", "{|}^`"], &["\n", "\0"]);
        let body = text_like(&["YT1i", "//4="], &["a=b", "!", "YT1"]);
        let flag =
            prop_oneof![9 => any::<bool>().prop_map(Value::from), 1 => Just(json!(null)), 1 => Just(json!("true"))];
        let domain_name = text_like(&["id.example", ""], &["<x>", ":", "a b", "[", "a:99999", "@", "a/../b"]);
        let stage = text_like(&["$default", "prod", "<x>", "a/../b", "", ":1", "@x"], &["\n"]);
        let method = text_like(METHODS, &["a b", ""]);
        let all_fields = prop::collection::vec(fields(), 4);
        (any::<bool>(), path(), path(), query, (body, flag), (domain_name, stage, method), all_fields).prop_map(
            |(is_v1, path, context_path, query, (body, flag), (domain_name, stage, method), fields)| {
                let mut event = json!({
                    "headers": fields[0], "multiValueHeaders": fields[1], "body": body, "isBase64Encoded": flag,
                    "cookies": [query], "stageVariables": query, "pathParameters": path,
                    "requestContext": {"domainName": domain_name, "stage": stage, "identity": path, "authorizer": query},
                });
                if is_v1 {
                    event["httpMethod"] = method;
                    event["path"] = path;
                    event["requestContext"]["path"] = context_path;
                    event["queryStringParameters"] = fields[2].clone();
                    event["multiValueQueryStringParameters"] = fields[3].clone();
                } else {
                    event["requestContext"]["http"] = json!({"method": method, "path": context_path});
                    event["rawPath"] = path;
                    event["rawQueryString"] = query;
                }
                event
            },
        )
    }

    #[test]
    fn no_event_makes_a_panic() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let gateway = gateway(Router::new().fallback(async || "routed"));
        let mut runner = TestRunner::new(Config { cases: 10_000, failure_persistence: None, ..Config::default() });
        let (routed, refused) = (Cell::new(0), Cell::new(0));
        let outcome = runner.run(&event(), |event| {
            let answer = runtime.block_on(answer_to(&gateway, event));
            match answer["statusCode"].as_u64() {
                Some(200) => routed.set(routed.get() + 1),
                Some(400) => refused.set(refused.get() + 1),
                _ => prop_assert!(false, "{}", answer),
            }
            Ok(())
        });
        outcome.expect("an answer to every event");
        assert!(routed.get() > 500 && refused.get() > 500, "{} routed, {} refused", routed.get(), refused.get());
    }
}
