use std::borrow::Cow;
use std::cell::Cell;
use std::fs;
use std::path::Path;

use axum::body::to_bytes;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::AppendHeaders;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::event::{MAX_LENGTH, split_prefix};
use super::*;
use crate::aws::lambda::front::OriginSecret;
use crate::core::source::ClientSource;
use crate::core::trust::caller::CallerByAws;

fn gateway(router: Router) -> Gateway {
    Gateway { router, public_url: None, front: Front::Gateway, observer: Arc::default() }
}

/// One before which AWS has verified who calls.
fn signed_gateway(router: Router) -> Gateway {
    let public_url = Some("https://auth.example.com".parse().expect("a URL"));
    Gateway { router, public_url, front: Front::Iam, observer: Arc::default() }
}

fn request_to(gateway: &Gateway, event: &Value) -> Request<Body> {
    let event = event.to_string();
    let event: Event<'_> = serde_json::from_str(&event).expect("an event");
    event.into_request(&gateway.front, gateway.public_url.as_ref()).expect("a request")
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
        assert!(!answer.to_string().to_ascii_lowercase().contains("grantwell-origin"), "it goes no further: {answer}");
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
            r#"{"error":"access_denied","error_description":"requests must come through the public address of this server"}"#
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
    for function in fs::read_dir(directory).expect("the events") {
        let function = function.expect("a directory or a file");
        if ["authorizer", "rotate", "README.md"].iter().any(|other| function.file_name() == *other) {
            continue;
        }
        for file in fs::read_dir(function.path()).expect("events of each function") {
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
    assert_eq!((ours.headers().get(COOKIE), &theirs.headers()[COOKIE]), (None, &HeaderValue::from_static("a=b; c=d")));
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

/// A request of a role, as a function URL hands it over: with the session, and without the Authorization header.
fn of_a_role() -> Value {
    let mut event = v2("/oauth2/access_token", "$default");
    event["headers"]["x-amz-security-token"] = json!("session");
    event["requestContext"]["domainName"] = json!("id.lambda-url.eu-west-1.on.aws");
    event["requestContext"]["authorizer"] = json!({"iam": {
        "accountId": "111122223333", "callerId": "AROAEXAMPLE000000001:session", "userId": "AROAEXAMPLE000000001:session",
        "userArn": "arn:aws:sts::111122223333:assumed-role/OrdersRole/session",
    }});
    event
}

/// Answers with whom AWS says a request comes from, its issuer's base and its headers.
fn echo() -> Router {
    Router::new().fallback(async |request: axum::extract::Request| {
        let caller = request.extensions().get::<CallerByAws>().map(|CallerByAws(caller)| caller.clone());
        let names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        format!("{caller:?} {} {names:?}", base_of(&request))
    })
}

#[tokio::test]
async fn a_caller_is_read_where_aws_has_verified_it_and_nowhere_else() {
    let signed = answer_to(&signed_gateway(echo()), of_a_role()).await;
    let body = signed["body"].as_str().expect("a body");
    assert!(
        body.starts_with(r#"Some(Ok(AwsCaller { partition: "aws", account: "111122223333", role: "OrdersRole""#),
        "{body}"
    );
    assert!(body.contains(" https://auth.example.com ") && !body.contains("x-amz-security-token"), "{body}");

    // The function itself still says that there is none, so that no other method stands in its place.
    let unsigned = answer_to(&signed_gateway(echo()), v2("/oauth2/access_token", "$default")).await;
    assert!(unsigned["body"].as_str().expect("a body").starts_with("Some(Err(Missing)) "), "{unsigned}");

    let elsewhere = answer_to(&gateway(echo()), of_a_role()).await;
    assert!(elsewhere["body"].as_str().expect("a body").starts_with("None https://id.lambda-url"), "{elsewhere}");
}

#[tokio::test]
async fn a_challenge_asks_nobody_for_a_secret_where_aws_verifies_who_calls() {
    let refuses = || Router::new().fallback(async || (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic realm=x")]));
    let challenge =
        async |gateway: Gateway| answer_to(&gateway, of_a_role()).await["headers"]["www-authenticate"].clone();
    assert_eq!(challenge(signed_gateway(refuses())).await, "AWS4-HMAC-SHA256");
    assert_eq!(challenge(gateway(refuses())).await, "Basic realm=x");
    assert_eq!(challenge(signed_gateway(Router::new())).await, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_request_out_of_time_is_answered_before_lambda_ends_it() {
    let router = Router::new().fallback(async || std::future::pending::<()>().await);
    let answer = answer_to(&gateway(router), v2("/oauth2/access_token", "$default")).await;
    let body = answer["body"].as_str().expect("a body");
    assert!(answer["statusCode"] == 503 && body.contains("temporarily_unavailable"), "{answer}");
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
    for (body, shown, is_base64) in
        [(&b"ey.\xc3\xa9"[..], json!("ey.\u{e9}"), false), (b"", json!(""), false), (b"\xff\xfe", json!("//4="), true)]
    {
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
    const PATHS: &[&str] = &["/oauth2/access_token", "/prod/oauth2/access_token", "/../<x>", "//x/..", "/a?b#c", "/%"];
    const METHODS: &[&str] = &["POST", "GET", "post"];
    let path = || text_like(PATHS, &["", "x", "*", ":1", "\\"]);
    let query = text_like(&["", "a=b", "<x>", "#", "??", "%", "a=é&;", "\\", "{|}^`"], &["\n", "\0"]);
    let body = text_like(&["YT1i", "//4="], &["a=b", "!", "YT1"]);
    let flag = prop_oneof![9 => any::<bool>().prop_map(Value::from), 1 => Just(json!(null)), 1 => Just(json!("true"))];
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
