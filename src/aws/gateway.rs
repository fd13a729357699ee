//! API Gateway in front of the routers: its events become requests, and answers what it takes for one. Payload 2.0 (HTTP
//! API, function URL) and payload 1.0 (REST API) are both understood.
//!
//! `lambda_http` converts both ways. It trusts an event more than a caller deserves, and panics, so it sees only what
//! `harmless` makes of it (docs/decisions/0009-events-are-made-harmless-before-lambda-http.md).

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayProxyRequest, ApiGatewayV2httpRequest};
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, service_fn};
use serde::{Deserialize as _, Serialize};
use serde_json::{Map, Value, json};
use tower::ServiceExt as _;

use super::invocation;
use crate::core::client_auth::attempts::ClientSource;
use crate::core::error::OAuthError;
use crate::core::realm::PublicUrl;
use crate::metrics::{MALFORMED, Metric, Metrics, OUT_OF_TIME};

/// Answers invocations with `router` until Lambda ends the process. Each request carries the [`PublicUrl`] it came in by as
/// an extension: `public_url`, or else what API Gateway says.
///
/// A request that is not answered 500 ms before the invocation's deadline gets the answer of `out_of_time`.
///
/// # Panics
/// Outside of Lambda, where the variables of its runtime interface are missing.
pub async fn serve(
    router: Router,
    public_url: Option<PublicUrl>,
    out_of_time: fn() -> Response,
    metrics: Arc<Metrics>,
) {
    let gateway = &Gateway { router, public_url, out_of_time, metrics };
    let ended = lambda_runtime::run(service_fn(async |invocation: LambdaEvent<Value>| {
        let ids = invocation::ids(&invocation.context);
        Ok::<_, Infallible>(invocation::observed(&gateway.metrics, ids, gateway.answer(invocation)).await)
    }))
    .await;
    invocation::ended(ended);
}

/// What [`serve`] answers to one event, for the fuzz targets.
#[cfg(fuzzing)]
pub async fn answer(router: Router, event: Value, context: lambda_http::Context) -> Value {
    let out_of_time = || StatusCode::SERVICE_UNAVAILABLE.into_response();
    let gateway = Gateway { router, public_url: None, out_of_time, metrics: Arc::new(Metrics::off()) };
    serde_json::to_value(gateway.answer(LambdaEvent::new(event, context)).await).unwrap_or_default()
}

struct Gateway {
    router: Router,
    public_url: Option<PublicUrl>,
    out_of_time: fn() -> Response,
    metrics: Arc<Metrics>,
}

/// Where a request went, and came from. `lambda_http` would resolve `..` in the path, and put a REST API's stage before it.
struct Address {
    path: String,
    public_base: PublicUrl,
    source: Option<ClientSource>,
}

impl Gateway {
    async fn answer(&self, LambdaEvent { payload: event, context }: LambdaEvent<Value>) -> impl Serialize + use<> {
        let time_left = time_left(context.deadline());
        let (converted, address) = match self.read(&event) {
            Ok((converted, address)) => (converted, Ok(address)),
            // A refusal goes through the adapter too, for the form of the event's version.
            Err(reason) if event.get("httpMethod").is_some_and(Value::is_string) => {
                (LambdaRequest::ApiGatewayV1(ApiGatewayProxyRequest::default()), Err(reason))
            }
            Err(reason) => (LambdaRequest::ApiGatewayV2(ApiGatewayV2httpRequest::default()), Err(reason)),
        };
        let service = service_fn(async |request: lambda_http::Request| {
            let request = address.as_ref().map_err(|reason| *reason).and_then(|address| address.put_on(request));
            let response = match request {
                Ok(request) => self.route(request, time_left).await,
                Err(reason) => self.refused(reason),
            };
            self.metrics.answered(response.status().as_u16());
            Ok::<_, Infallible>(with_joined_headers(response))
        });
        let Ok(answer) = Adapter::from(service).oneshot(LambdaEvent::new(converted, context)).await;
        answer
    }

    /// # Errors
    /// A description for the caller, where the event is no HTTP request.
    fn read(&self, event: &Value) -> Result<(LambdaRequest, Address), &'static str> {
        let converted = LambdaRequest::deserialize(harmless(event)?).map_err(|_| "a method or header is malformed")?;

        // A REST API's own path has no stage, its context's has.
        let path = text(event, "/rawPath")?.or(text(event, "/requestContext/path")?).or(text(event, "/path")?);
        let (prefix, path) = split_prefix(path.unwrap_or_default());
        let public_base = match &self.public_url {
            Some(configured) => configured.clone(),
            None => public_base(text(event, "/requestContext/domainName")?, prefix)?,
        };
        Ok((converted, Address { path: escaped(path, PATH), public_base, source: source(event) }))
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
    fn refused(&self, reason: &'static str) -> Response {
        tracing::warn!(reason, "an event was refused before it reached a router");
        self.metrics.refused(Metric::RequestsRefused, MALFORMED);
        let error = OAuthError::InvalidRequest(reason);
        let body = json!({"error": error.code(), "error_description": error.description()}).to_string();
        let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];
        (StatusCode::BAD_REQUEST, headers, body).into_response()
    }
}

/// Time until the answer must be on its way.
#[expect(clippy::disallowed_methods, reason = "the deadline is given in the system's time, in milliseconds")]
pub(super) fn time_left(deadline: SystemTime) -> Duration {
    deadline.duration_since(SystemTime::now()).unwrap_or_default().saturating_sub(RESERVE)
}

/// Payload 2.0 has one value a header, and of several `lambda_http` (1.3) keeps the first; joined they mean the same
/// (RFC 9110 §5.3). A value that is no text would fail the whole invocation; no response of this server has one.
fn with_joined_headers(mut response: Response) -> Response {
    let joined = response.headers().keys().filter_map(|name| {
        let values: Vec<_> = response.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        Some((name.clone(), HeaderValue::from_str(&values.join(", ")).ok()?))
    });
    *response.headers_mut() = joined.collect();
    response
}

impl Address {
    fn put_on(&self, request: lambda_http::Request) -> Result<Request<Body>, &'static str> {
        let mut request = request.map(Body::new);
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let target: Result<PathAndQuery, _> = format!("{}{query}", self.path).parse();
        *request.uri_mut() = target.map_err(|_| "the path or the query string is malformed")?.into();
        request.extensions_mut().insert(self.public_base.clone());
        self.source.map(|source| request.extensions_mut().insert(source));
        Ok(request)
    }
}

/// As much of an event as `lambda_http` needs, in a form in which it panics on nothing and loses nothing.
///
/// Whatever it would make a URL of is missing, and so is what an emulator may leave null. A malformed method or header is
/// left for it to refuse.
fn harmless(event: &Value) -> Result<Value, &'static str> {
    let v1_method = text(event, "/httpMethod")?;
    // An empty method would be taken for GET.
    let method = v1_method.or(text(event, "/requestContext/http/method")?).filter(|method| !method.is_empty());
    let method = method.ok_or(NO_REQUEST)?;
    // Only its own version's: a malformed event of one version would be read as one of the other, with less in it.
    let context = if v1_method.is_some() { json!({"httpMethod": method}) } else { json!({"http": {"method": method}}) };

    let mut headers = lists(event, "multiValueHeaders", "headers")?;
    headers.retain(|name, _| !["host", "x-forwarded-proto"].iter().any(|unwanted| name.eq_ignore_ascii_case(unwanted)));

    let query = text(event, "/rawQueryString")?.unwrap_or_default();
    if query.len() > MAX_LENGTH {
        return Err(TOO_LONG);
    }

    let body = text(event, "/body")?;
    let is_base64 = event.get("isBase64Encoded").filter(|flag| !flag.is_null()).unwrap_or(&Value::Bool(false));
    if is_base64 == &Value::Bool(true) && STANDARD.decode(body.unwrap_or_default()).is_err() {
        return Err("the body is malformed");
    }

    Ok(json!({
        "httpMethod": method,
        "requestContext": context,
        "headers": headers,
        "rawQueryString": escaped(query, QUERY),
        "multiValueQueryStringParameters": lists(event, "multiValueQueryStringParameters", "queryStringParameters")?,
        "body": body,
        "isBase64Encoded": is_base64,
    }))
}

/// A member that is text, missing or null. Credentials may be in it, so an error does not show it.
fn text<'a>(event: &'a Value, pointer: &str) -> Result<Option<&'a str>, &'static str> {
    match event.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(NO_REQUEST),
    }
}

/// A REST API gives headers and parameters twice: by name the list of all values, and the last value. The lists of both,
/// where a repeated header stays repeated whichever way its name is written. No list is empty, on which `lambda_http` panics.
fn lists(event: &Value, multiple: &str, single: &str) -> Result<Map<String, Value>, &'static str> {
    let mut lists = Map::new();
    let mut length = 0;
    for member in [multiple, single] {
        let listed: Vec<String> = lists.keys().cloned().collect();
        let fields = event.get(member).filter(|fields| !fields.is_null());
        for (name, value) in fields.map_or(Ok(&Map::new()), |fields| fields.as_object().ok_or(NO_REQUEST))? {
            let values = match value {
                Value::Null => Vec::new(),
                Value::Array(values) => values.clone(),
                value => vec![value.clone()],
            };
            if !values.is_empty() && !listed.iter().any(|listed| listed.eq_ignore_ascii_case(name)) {
                length += values.iter().map(|v| name.len() + v.as_str().map_or(0, str::len) + 1).sum::<usize>();
                lists.insert(name.clone(), values.into());
            }
        }
    }
    if length > MAX_LENGTH { Err(TOO_LONG) } else { Ok(lists) }
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

/// Whom the gateway has taken the request from, in its own word: callers write the X-Forwarded-For header.
fn source(event: &Value) -> Option<ClientSource> {
    let is_v1 = event.get("httpMethod").is_some_and(Value::is_string);
    let member = if is_v1 { "/requestContext/identity/sourceIp" } else { "/requestContext/http/sourceIp" };
    let address: IpAddr = event.pointer(member)?.as_str()?.parse().ok()?;
    Some(ClientSource::of(address))
}

/// Percent-encodes what may not stand in a URI, and leaves everything else, percent signs too, as it came.
fn escaped(text: &str, allowed: &[u8]) -> String {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || allowed.contains(&byte);
    text.bytes().map(|byte| if is_allowed(byte) { char::from(byte).into() } else { format!("%{byte:02X}") }).collect()
}

/// Time kept back from the invocation's deadline, in which the answer travels.
const RESERVE: Duration = Duration::from_millis(500);
/// Bytes of a query string or of all headers. API Gateway takes 10,240 of both; `http` panics from 65,535 bytes of a URI,
/// with three for one that is escaped, and from 24,577 headers.
const MAX_LENGTH: usize = 20_000;

const NO_REQUEST: &str = "the event is no HTTP request";
const TOO_LONG: &str = "the query string or the headers are too long";

/// What a path may hold besides letters and digits (RFC 3986 §3.3), and the percent sign of what is encoded already.
const PATH: &[u8] = b"-._~!$&'()*+,;=:@/%";
/// The same for a query string (RFC 3986 §3.4).
const QUERY: &[u8] = b"-._~!$&'()*+,;=:@/%?";

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use axum::body::to_bytes;
    use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
    use axum::response::AppendHeaders;
    use lambda_http::Context;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;

    fn gateway(router: Router) -> Gateway {
        let out_of_time = || (StatusCode::SERVICE_UNAVAILABLE, "out of time").into_response();
        Gateway { router, public_url: None, out_of_time, metrics: Arc::new(Metrics::off()) }
    }

    fn request_to(gateway: &Gateway, event: &Value) -> Request<Body> {
        let (converted, address) = gateway.read(event).expect("a request");
        address.put_on(converted.into()).expect("a URI")
    }

    fn request(event: &Value) -> Request<Body> {
        request_to(&gateway(Router::new()), event)
    }

    #[expect(clippy::disallowed_methods, reason = "deadlines are in the system's time")]
    async fn answer_to(gateway: &Gateway, event: Value) -> Value {
        let mut context = Context::default();
        let deadline =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time") + Duration::from_secs(8);
        context.deadline = deadline.as_millis().try_into().expect("a near time");
        serde_json::to_value(gateway.answer(LambdaEvent::new(event, context)).await).expect("JSON")
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
                let headers = shown[headers].as_object_mut().expect("headers");
                headers.retain(|name, _| name == "www-authenticate");
            }
            shown
        };
        assert_eq!(
            shown(v2("/oauth2/access_token", "$default")).await,
            json!({
                "statusCode": 401, "headers": {"www-authenticate": "Basic, DPoP"}, "multiValueHeaders": {},
                "body": "{}", "isBase64Encoded": false, "cookies": [],
            })
        );
        assert_eq!(
            shown(v1("/oauth2/access_token", None)).await,
            json!({
                "statusCode": 401, "headers": {}, "multiValueHeaders": {"www-authenticate": ["Basic, DPoP"]},
                "body": "{}", "isBase64Encoded": false,
            })
        );
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
            (0..40_000).map(|number| (format!("a{number}"), json!(""))).collect::<Map<_, _>>().into();
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
