use std::cell::Cell;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lambda_http::Context;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::*;
use crate::core::reason::Reason;

const SCOPES: &str = r#"{"GET /orders":"orders:read","POST /orders":"orders:write","GET /orders/{id}":"orders:read",
    "GET /health":"","ANY /files/{path+}":"","$default":"orders:read"}"#;
const STAGE: &str = "arn:aws:execute-api:us-east-1:123456789012:a1b2c3/prod";

/// Knows one token, and fails for another.
struct Known;

#[async_trait]
impl TokenIntrospection for Known {
    async fn introspect(&self, unverified_token: &str) -> Result<Result<TokenFacts, Reason>, OAuthError> {
        match unverified_token {
            "reader" => Ok(Ok(TokenFacts {
                client_id: "myClient".into(),
                sub: "myClient".into(),
                scope: "orders:read other".parse().expect("a scope"),
                audit_tracking_id: None,
            })),
            "away" => Err(OAuthError::Unavailable("DynamoDB".into())),
            "corrupt" => Err(OAuthError::Server("DynamoDB".into())),
            "slow" => std::future::pending().await,
            _ => Ok(Err(Reason::UnknownToken)),
        }
    }
}

fn authorizer(response: ResponseForm) -> Authorizer {
    Authorizer { tokens: Box::new(Known), scopes: SCOPES.parse().expect("routes"), response, observer: Arc::default() }
}

#[expect(clippy::disallowed_methods, reason = "deadlines are in the system's time")]
fn in_time() -> Context {
    let mut context = Context::default();
    let deadline = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time") + Duration::from_secs(8);
    context.deadline = deadline.as_millis().try_into().expect("a near time");
    context
}

async fn answer(response: ResponseForm, event: Value) -> Result<Value, Failure> {
    authorizer(response).answer(LambdaEvent::new(event, in_time())).await
}

fn http_api(route: &str, path: &str, authorization: &str) -> Value {
    json!({
        "version": "2.0", "type": "REQUEST", "routeKey": route, "routeArn": format!("{STAGE}/{path}"),
        "rawPath": "/prod", "rawQueryString": "access_token=reader", "headers": {"authorization": authorization},
    })
}

fn http_api_1(method: &str, resource: &str, path: &str, authorization: &str) -> Value {
    let mut event = rest(method, resource, path, authorization);
    event["version"] = json!("1.0");
    event
}

fn rest(method: &str, resource: &str, path: &str, authorization: &str) -> Value {
    json!({
        "type": "REQUEST", "methodArn": format!("{STAGE}/{method}{path}"), "httpMethod": method,
        "resource": resource, "path": path, "headers": {"Authorization": authorization},
        "multiValueHeaders": {"Authorization": [authorization]},
    })
}

fn token(method: &str, path: &str, authorization: &str) -> Value {
    json!({"type": "TOKEN", "methodArn": format!("{STAGE}/{method}{path}"), "authorizationToken": authorization})
}

fn allow_statement(requests: &[&str]) -> Value {
    let resources: Vec<_> = requests.iter().map(|request| format!("{STAGE}/{request}")).collect();
    json!({"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": resources})
}

fn allowed(requests: &[&str]) -> Value {
    json!({
        "principalId": "myClient",
        "policyDocument": {"Version": "2012-10-17", "Statement": [allow_statement(requests)]},
        "context": {"client_id": "myClient", "sub": "myClient", "scope": "orders:read other"},
    })
}

fn denied(request: &str, others: &[&str], reason: &str) -> Value {
    json!({
        "principalId": "myClient",
        "policyDocument": {"Version": "2012-10-17", "Statement": [
            {"Effect": "Deny", "Action": "execute-api:Invoke", "Resource": [format!("{STAGE}/{request}")]},
            allow_statement(others),
        ]},
        "context": {"reason": reason},
    })
}

#[tokio::test]
async fn an_http_api_gets_a_yes_with_who_is_calling_or_a_no_with_why_not() {
    let yes = json!({
        "isAuthorized": true,
        "context": {"client_id": "myClient", "sub": "myClient", "scope": "orders:read other"},
    });
    for (route, path) in [
        ("GET /orders", "GET/orders"),
        ("GET /orders/{id}", "GET/orders/7"),
        ("ANY /files/{path+}", "PUT/files/a*"),
        ("$default", "$default"),
    ] {
        assert_eq!(answer(ResponseForm::Simple, http_api(route, path, "Bearer reader")).await, Ok(yes.clone()));
    }
    for (route, authorization, reason) in [
        ("GET /orders", "Basic reader", "no_credentials"),
        ("GET /orders", "Bearer unknown", "invalid_token"),
        ("GET /orders", "Bearer reader,Bearer reader", "invalid_token"),
        ("POST /orders", "Bearer reader", "insufficient_scope"),
        ("PUT /orders", "Bearer reader", "no_such_route"),
        ("ANY /orders", "Bearer reader", "no_such_route"),
        ("PUT /orders", "Bearer unknown", "invalid_token"),
    ] {
        let no = json!({"isAuthorized": false, "context": {"reason": reason}});
        assert_eq!(answer(ResponseForm::Simple, http_api(route, "GET/orders", authorization)).await, Ok(no), "{route}");
    }
}

#[tokio::test]
async fn a_policy_lists_this_request_and_what_else_the_token_allows() {
    let orders = allowed(&["GET/orders", "GET/health"]);
    let order = allowed(&["GET/orders/7", "GET/orders", "GET/health"]);
    for event in [
        http_api("GET /orders", "GET/orders", "Bearer reader"),
        http_api_1("GET", "/orders", "/orders", "Bearer reader"),
        rest("GET", "/orders", "/orders", "bearer reader"),
        token("GET", "/orders", "BEARER reader"),
    ] {
        assert_eq!(answer(ResponseForm::Policy, event).await, Ok(orders.clone()));
    }
    for event in [
        http_api("GET /orders/{id}", "GET/orders/7", "Bearer reader"),
        rest("GET", "/orders/{id}", "/orders/7", "Bearer reader"),
        token("GET", "/orders/7", "Bearer reader"),
    ] {
        assert_eq!(answer(ResponseForm::Policy, event).await, Ok(order.clone()));
    }
    // A REST API's event does not say that its method is ANY.
    for event in
        [rest("PUT", "/files/{path+}", "/files/a/b", "Bearer reader"), token("PUT", "/files/a/b", "Bearer reader")]
    {
        let files = allowed(&["PUT/files/a/b", "GET/orders", "GET/health"]);
        assert_eq!(answer(ResponseForm::Simple, event).await, Ok(files));
    }
}

#[tokio::test]
async fn a_policy_that_denies_this_request_leaves_the_token_what_it_is_good_for() {
    let others = ["GET/orders", "GET/health"];
    for event in [
        http_api("POST /orders", "POST/orders", "Bearer reader"),
        rest("POST", "/orders", "/orders", "Bearer reader"),
        token("POST", "/orders", "Bearer reader"),
    ] {
        let expected = denied("POST/orders", &others, "insufficient_scope");
        assert_eq!(answer(ResponseForm::Policy, event).await, Ok(expected));
    }
    for event in [
        http_api("PUT /orders", "PUT/orders", "Bearer reader"),
        rest("PUT", "/orders", "/orders", "Bearer reader"),
        token("PUT", "/orders", "Bearer reader"),
    ] {
        assert_eq!(answer(ResponseForm::Policy, event).await, Ok(denied("PUT/orders", &others, "no_such_route")));
    }
}

#[tokio::test]
async fn no_path_becomes_a_pattern_that_lets_others_pass() {
    for path in ["/files/*", "/files/a?", "/files/${aws:username}"] {
        for event in [
            http_api("ANY /files/{path+}", &format!("GET{path}"), "Bearer reader"),
            rest("GET", "/files/{path+}", path, "Bearer reader"),
            token("GET", path, "Bearer reader"),
        ] {
            let expected = denied(&format!("GET{path}"), &["GET/orders", "GET/health"], "path_is_a_pattern");
            assert_eq!(answer(ResponseForm::Policy, event).await, Ok(expected));
        }
    }
}

#[tokio::test]
async fn a_route_is_not_guessed_from_a_path_that_has_another_spelling() {
    // Each of them falls to `ANY /{path+}`, which needs nothing, while `POST /orders` needs more than the token has.
    let scopes = r#"{"POST /orders":"orders:write","ANY /{path+}":"","ANY /":""}"#;
    let authorizer = Authorizer { scopes: scopes.parse().expect("routes"), ..authorizer(ResponseForm::Policy) };
    let ask = async |event: Value| authorizer.answer(LambdaEvent::new(event, in_time())).await.expect("a policy");
    for path in ["/", "/health", "/files/a"] {
        let answer = ask(token("POST", path, "Bearer reader")).await;
        assert_eq!(answer["policyDocument"]["Statement"][0]["Effect"], "Allow", "{path}");
    }
    for path in
        ["/orders/", "//orders", "/x/../orders", "/./orders", "/%6frders", "/orders%2F", "/orders;v=1", "/\\orders"]
    {
        assert_eq!(
            ask(token("POST", path, "Bearer reader")).await,
            json!({
                "principalId": "myClient",
                "policyDocument": {"Version": "2012-10-17", "Statement": [
                    {"Effect": "Deny", "Action": "execute-api:Invoke", "Resource": [format!("{STAGE}/POST{path}")]},
                ]},
                "context": {"reason": "path_has_other_spellings"},
            }),
            "{path}"
        );
        // Where the gateway names the route itself, the path decides nothing.
        let answer = ask(rest("POST", "/{path+}", path, "Bearer reader")).await;
        assert_eq!(answer["policyDocument"]["Statement"][0]["Effect"], "Allow", "{path}");
    }
}

#[tokio::test]
async fn without_an_active_token_a_rest_api_gets_its_401_and_an_http_api_a_policy_of_nothing() {
    for authorization in ["Basic reader", "Bearer unknown", "Bearer ", "Bearer reader,Bearer reader"] {
        for event in [
            rest("GET", "/orders", "/orders", authorization),
            rest("PUT", "/orders", "/orders", authorization),
            token("GET", "/orders", authorization),
        ] {
            assert_eq!(answer(ResponseForm::Simple, event).await, Err(Failure::Unauthorized), "{authorization}");
        }
    }
    for event in [
        http_api("GET /orders", "GET/orders", "Bearer unknown"),
        http_api_1("GET", "/orders", "/orders", "Bearer unknown"),
    ] {
        let expected = json!({
            "principalId": "unauthenticated",
            "policyDocument": {"Version": "2012-10-17", "Statement": [
                {"Effect": "Deny", "Action": "execute-api:Invoke", "Resource": [format!("{STAGE}/GET/orders")]},
            ]},
            "context": {"reason": "invalid_token"},
        });
        assert_eq!(answer(ResponseForm::Policy, event).await, Ok(expected));
    }
    let diagnostic = Diagnostic::from(Failure::Unauthorized);
    assert_eq!(diagnostic.error_message, "Unauthorized");
}

#[tokio::test]
async fn two_authorization_headers_are_no_token() {
    let mut event = rest("GET", "/orders", "/orders", "Bearer reader");
    event["multiValueHeaders"]["Authorization"] = json!(["Bearer reader", "Bearer reader"]);
    assert_eq!(answer(ResponseForm::Simple, event).await, Err(Failure::Unauthorized));
    let mut event = http_api("GET /orders", "GET/orders", "Bearer reader");
    event["headers"]["Authorization"] = json!("Bearer reader");
    assert_eq!(answer(ResponseForm::Simple, event).await.expect("a no")["isAuthorized"], false);
}

#[tokio::test]
async fn a_token_elsewhere_is_none_and_a_callers_word_is_no_context() {
    let mut event = http_api("GET /orders", "GET/orders", "");
    event["headers"] = json!({"x-authorizer-client_id": "myClient", "cookie": "access_token=reader"});
    event["body"] = json!("access_token=reader");
    event["cookies"] = json!(["access_token=reader"]);
    event["queryStringParameters"] = json!({"access_token": "reader"});
    event["requestContext"] = json!({"authorizer": {"client_id": "myClient", "scope": "orders:read"}});
    event["identitySource"] = json!(["Bearer reader"]);
    event["authorizationToken"] = json!("Bearer reader");
    let no = json!({"isAuthorized": false, "context": {"reason": "no_credentials"}});
    assert_eq!(answer(ResponseForm::Simple, event).await, Ok(no));
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_say_the_function_fails() {
    for (token_sent, reason) in
        [("away", "temporarily_unavailable"), ("slow", "temporarily_unavailable"), ("corrupt", "server_error")]
    {
        let authorization = format!("Bearer {token_sent}");
        for event in [
            http_api("GET /orders", "GET/orders", &authorization),
            rest("GET", "/orders", "/orders", &authorization),
            token("PUT", "/orders", &authorization),
        ] {
            let failed = answer(ResponseForm::Simple, event).await;
            assert_eq!(failed, Err(Failure::Undecided(reason)), "{token_sent}");
        }
    }
}

#[tokio::test]
async fn what_is_no_request_to_an_authorizer_fails_without_a_panic() {
    let mut two_versions = rest("GET", "/orders", "/orders", "Bearer reader");
    two_versions["version"] = json!("2.0");
    let mut other_version = http_api("GET /orders", "GET/orders", "Bearer reader");
    other_version["version"] = json!("3.0");
    let mut no_arn = http_api("GET /orders", "GET/orders", "Bearer reader");
    no_arn["routeArn"] = json!("GET/orders");
    let mut no_route = http_api("GET /orders", "GET/orders", "Bearer reader");
    no_route["routeKey"] = json!(null);
    let mut web_socket = rest("GET", "/orders", "/orders", "Bearer reader");
    web_socket["httpMethod"] = json!(null);
    let mut no_text = token("GET", "/orders", "Bearer reader");
    no_text["authorizationToken"] = json!(["Bearer reader"]);
    for event in [
        json!(null),
        json!([]),
        json!({}),
        json!({"key1": "value1"}),
        json!({"type": "TOKEN"}),
        json!({"type": "REQUEST", "version": "2.0"}),
        two_versions,
        other_version,
        no_arn,
        no_route,
        web_socket,
        no_text,
    ] {
        assert_eq!(answer(ResponseForm::Simple, event.clone()).await, Err(Failure::NoRequest), "{event}");
    }
}

/// Mostly `good`, so that events do not all end at the same check.
fn text_like(good: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop_oneof![
        40 => prop::sample::select(good).prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => prop::sample::select(vec![json!(null), json!(7), json!([]), json!({}), json!([null]), json!("é")]),
    ]
}

fn event() -> impl Strategy<Value = Value> {
    const ARNS: &[&str] = &[
        "arn:aws:execute-api:us-east-1:123456789012:a1b2c3/prod/GET/orders",
        "arn:aws:execute-api:us-east-1:123456789012:a1b2c3/$default/GET/orders/*",
        "arn:aws:execute-api:us-east-1:123456789012:a1b2c3/prod/POST/orders",
        "arn:aws:execute-api:é:::/",
        "arn:aws:execute-api::::",
        "arn:aws:execute-api:::a/",
        "arn:aws:execute-api:::a//",
    ];
    const HEADERS: &[&str] = &["Bearer reader", "Bearer reader", "Bearer é", "Bearer", "bearer  x", "Basic eDp5"];
    const RESOURCES: &[&str] = &["/orders", "/orders/{id}", "/files/{path+}", "", "{", "*"];
    let versions = prop::sample::select(vec![json!("2.0"), json!("1.0"), json!(null), json!(2.0)]);
    let kinds = text_like(&["REQUEST", "REQUEST", "TOKEN"]);
    let names = (
        text_like(ARNS),
        text_like(&["GET /orders", "$default", "POST /orders", "", " "]),
        text_like(&["GET", "POST", ""]),
        text_like(RESOURCES),
    );
    let header = || {
        let names = prop::sample::select(vec!["Authorization", "authorization", "AUTHORIZATION", "host"]);
        let value =
            prop_oneof![text_like(HEADERS), prop::collection::vec(text_like(HEADERS), 0..3).prop_map(Value::from),];
        let fields = prop::collection::vec((names, value), 0..3);
        prop_oneof![
            9 => fields.prop_map(|fields| fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect::<Value>()),
            1 => text_like(&["none"]),
        ]
    };
    let authorization = (header(), header(), text_like(HEADERS));
    (versions, kinds, names, authorization).prop_map(
        |(version, kind, (arn, route, method, resource), (headers, multi_value_headers, token))| {
            let mut event = json!({
                "type": kind, "routeArn": arn, "methodArn": arn, "routeKey": route, "httpMethod": method,
                "resource": resource, "headers": headers, "multiValueHeaders": multi_value_headers,
                "authorizationToken": token,
            });
            if !version.is_null() {
                event["version"] = version;
            }
            event
        },
    )
}

#[test]
fn no_event_makes_a_panic_and_none_without_the_token_passes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases: 10_000, failure_persistence: None, ..Config::default() });
    let counts: [Cell<u32>; 4] = Default::default();
    let outcome = runner.run(&(event(), any::<bool>()), |(event, is_simple)| {
        let form = if is_simple { ResponseForm::Simple } else { ResponseForm::Policy };
        let outcome = runtime.block_on(answer(form, event.clone()));
        let passes = outcome.as_ref().is_ok_and(|answer| answer["context"].get("client_id").is_some());
        prop_assert!(!passes || event.to_string().contains("Bearer reader"), "{}", event);
        let kind = match outcome {
            Ok(_) if passes => 0,
            Ok(_) => 1,
            Err(Failure::Unauthorized) => 2,
            Err(_) => 3,
        };
        counts[kind].set(counts[kind].get() + 1);
        Ok(())
    });
    outcome.expect("an answer to every event");
    assert!(counts.iter().all(|count| count.get() > 100), "{counts:?}");
}

#[test]
fn arbitrary_json_makes_no_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let json = leaf.prop_recursive(4, 32, 6, |inner| {
        let names = prop_oneof![
            prop::sample::select(vec!["version", "type", "headers", "methodArn", "routeArn"]).prop_map(str::to_owned),
            any::<String>(),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..6).prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    });
    let mut runner = TestRunner::new(Config { cases: 2_000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&json, |event| {
        prop_assert!(runtime.block_on(answer(ResponseForm::Policy, event)).is_err());
        Ok(())
    });
    outcome.expect("a failure for every event");
}
