//! What API Gateway asks its authorizer: the event of an HTTP API (payload 2.0 and 1.0) and those of a REST API (REQUEST and
//! TOKEN).
//!
//! Read are the Authorization headers, the ARN and the route: what the gateway itself says. A token in the query string, the
//! body or a cookie is none (RFC 6750 §2.2, §2.3 are not implemented), and no header of a caller stands for anything else.

use serde_json::Value;

use super::routes::{NamedRoute, RouteScopes};
use crate::core::source::ClientSource;

/// One request that API Gateway asks about.
pub(super) struct AuthorizerEvent<'a> {
    /// The values of every Authorization header.
    pub(super) authorization: Vec<&'a [u8]>,
    /// Names the request in policies.
    pub(super) arn: RequestArn<'a>,
    /// Who asks, and so understands which answers.
    pub(super) gateway: Gateway,
    /// Where the request came from, which only some events say.
    pub(super) source: Option<ClientSource>,
    asked: Asked,
}

/// The kinds of API, by what they take for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gateway {
    /// An HTTP API with payload 2.0: yes or no, or a policy.
    HttpApi2,
    /// An HTTP API with payload 1.0: a policy.
    HttpApi1,
    /// A REST API: a policy, or the error `Unauthorized`.
    Rest,
}

/// `arn:PARTITION:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestArn<'a> {
    /// All of it.
    pub(super) text: &'a str,
    /// As far as the stage.
    pub(super) stage: &'a str,
    /// The API's id.
    pub(super) api: &'a str,
    /// The method, and the path from its slash on.
    request: Option<(&'a str, &'a str)>,
}

/// How an event says which route was asked for.
enum Asked {
    /// By the route itself: one of these names is its own.
    Route(Vec<String>),
    /// By the request alone, the route of which has to be found.
    Request,
}

impl<'a> AuthorizerEvent<'a> {
    /// `None` where the event is something else.
    pub(super) fn read(event: &'a Value) -> Option<Self> {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        let peer = text("/requestContext/http/sourceIp").or_else(|| text("/requestContext/identity/sourceIp"));
        let source = peer.and_then(|peer| peer.parse().ok()).map(ClientSource::of);
        match (text("/version"), text("/type")) {
            (Some("2.0"), Some("REQUEST")) => Some(Self {
                authorization: authorization_headers(event)?,
                arn: RequestArn::parse(text("/routeArn")?)?,
                gateway: Gateway::HttpApi2,
                source,
                asked: Asked::Route(vec![text("/routeKey")?.to_owned()]),
            }),
            (version @ (None | Some("1.0")), Some("REQUEST")) => {
                // The event names the method of the request, and not whether the route has it or takes any.
                let (method, resource) = (text("/httpMethod")?, text("/resource")?);
                Some(Self {
                    authorization: authorization_headers(event)?,
                    arn: RequestArn::parse(text("/methodArn")?)?,
                    // A REST API's event has no version.
                    gateway: if version.is_some() { Gateway::HttpApi1 } else { Gateway::Rest },
                    source,
                    asked: Asked::Route(vec![format!("{method} {resource}"), format!("ANY {resource}")]),
                })
            }
            (None, Some("TOKEN")) => {
                let header = event.get("authorizationToken").filter(|header| !header.is_null());
                Some(Self {
                    authorization: header
                        .map(|header| header.as_str().map(str::as_bytes))
                        .into_iter()
                        .collect::<Option<_>>()?,
                    arn: RequestArn::parse(text("/methodArn")?)?,
                    gateway: Gateway::Rest,
                    source,
                    asked: Asked::Request,
                })
            }
            _ => None,
        }
    }

    /// What the configuration says of the route; `None` where it says nothing.
    pub(super) fn route(&self, scopes: &RouteScopes) -> Option<NamedRoute> {
        match (&self.asked, self.arn.request) {
            (Asked::Route(names), _) => scopes.named(self.arn.api, names),
            (Asked::Request, Some((method, path))) => scopes.taking(self.arn.api, method, path),
            (Asked::Request, None) => None,
        }
    }

    /// Whether the route would have to be found by a path that can be written in another way. Which of them the gateway and the
    /// function behind it compare, nobody says: of `/orders/` the first may make its route `/orders`, and of `/orders;x` the second.
    /// Here they would fall to whichever laxer route takes anything.
    pub(super) fn is_ambiguous(&self) -> bool {
        match (&self.asked, self.arn.request) {
            (Asked::Route(_), _) | (Asked::Request, None) => false,
            (Asked::Request, Some((_, path))) => !is_plain(path),
        }
    }

    /// The gateway's name for the route, where it gives one.
    pub(super) fn route_name(&self) -> Option<&str> {
        match &self.asked {
            Asked::Route(names) => names.first().map(String::as_str),
            Asked::Request => None,
        }
    }
}

impl<'a> RequestArn<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let (Some("arn"), Some(_partition), Some("execute-api")) = (parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        let resource = parts.nth(2)?;
        let (api, rest) = resource.split_once('/')?;
        let (stage, request) = rest.split_once('/').map_or((rest, None), |(stage, request)| (stage, Some(request)));
        let end = text.len() - resource.len() + api.len() + 1 + stage.len();
        let request = request.and_then(|request| {
            let (method, _) = request.split_once('/')?;
            Some((method, request.get(method.len()..)?))
        });
        Some(Self { text, stage: text.get(..end)?, api, request })
    }

    /// Whether a policy would take it for a pattern: the caller writes the path, and IAM's `*` spans slashes.
    pub(super) fn is_pattern(&self) -> bool {
        self.text.contains(['*', '?']) || self.text.contains("${")
    }

    /// The ARN of another request to the same API.
    pub(super) fn of(&self, method: &str, path: &str) -> String {
        format!("{}/{method}{path}", self.stage)
    }
}

/// Whether every segment of the path is there and means itself: no empty one, no dots alone (RFC 3986 §5.2.4), nothing encoded (§2.1),
/// no parameter (§3.3), and nothing that no path has, such as a backslash.
fn is_plain(path: &str) -> bool {
    let is_own_character = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte);
    let is_own_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_own_character);
    path == "/" || path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_own_segment))
}

/// A REST API gives headers twice: by name the list of all values, and the last value. A repeated header has to stay
/// repeated, whichever way its name is written: which of two tokens counts is not for this server to guess.
fn authorization_headers(event: &Value) -> Option<Vec<&[u8]>> {
    let mut listed = Vec::new();
    for values in authorization_members(event, "multiValueHeaders")? {
        for value in values.as_array()? {
            listed.push(value.as_str()?);
        }
    }
    let single = authorization_members(event, "headers")?.into_iter().map(Value::as_str).collect::<Option<Vec<_>>>()?;
    let unlisted = single.into_iter().filter(|value| !listed.contains(value));
    Some(listed.iter().copied().chain(unlisted).map(str::as_bytes).collect())
}

/// What is under the header's name in an object of the event. What is null is missing.
fn authorization_members<'a>(event: &'a Value, object: &str) -> Option<Vec<&'a Value>> {
    let Some(fields) = event.get(object).filter(|fields| !fields.is_null()) else { return Some(Vec::new()) };
    let named = fields.as_object()?.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    Some(named.map(|(_, value)| value).filter(|value| !value.is_null()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_repeated_header_stays_repeated() {
        for (event, expected) in [
            (json!({}), &[][..]),
            (json!({"headers": null, "multiValueHeaders": null}), &[]),
            (json!({"headers": {"authorization": "a", "host": "x"}}), &["a"]),
            (json!({"headers": {"AUTHORIZATION": "a"}, "multiValueHeaders": {"Authorization": ["a"]}}), &["a"]),
            (json!({"headers": null, "multiValueHeaders": {"Authorization": ["a"]}}), &["a"]),
            (json!({"headers": {"Authorization": null}, "multiValueHeaders": {"authorization": null}}), &[]),
            (
                json!({"headers": {"Authorization": "b"}, "multiValueHeaders": {"Authorization": ["a", "b"]}}),
                &["a", "b"],
            ),
            (
                json!({"headers": {"Authorization": "a"}, "multiValueHeaders": {"Authorization": ["a", "a"]}}),
                &["a", "a"],
            ),
            (json!({"headers": {"Authorization": "b"}, "multiValueHeaders": {"authorization": ["a"]}}), &["a", "b"]),
            (json!({"headers": {"Authorization": "a", "authorization": "a"}}), &["a", "a"]),
            (json!({"headers": {"x": 7}, "multiValueHeaders": {"x": 7}}), &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(authorization_headers(&event), Some(expected), "{event}");
        }
    }

    #[test]
    fn a_header_that_is_no_text_is_no_request() {
        for event in [
            json!({"headers": {"authorization": 7}}),
            json!({"headers": {"authorization": ["a"]}}),
            json!({"headers": "authorization"}),
            json!({"multiValueHeaders": {"authorization": "a"}}),
            json!({"multiValueHeaders": {"authorization": ["a", null]}}),
        ] {
            assert_eq!(authorization_headers(&event), None, "{event}");
        }
    }

    #[test]
    fn a_path_is_plain_where_it_has_no_other_spelling() {
        for path in ["/", "/orders", "/orders/7", "/a.b/~c/..d/...", "/a:b@c/d,e=f", "/files/*"] {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "",
            "orders",
            "//",
            "//orders",
            "/orders/",
            "/orders//7",
            "/.",
            "/orders/.",
            "/orders/../health",
            "/orders/..",
            "/%6Frders",
            "/orders%2f7",
            "/orders%2F7",
            "/orders/%",
            "/orders;v=1",
            "/orders/;",
            "/orders\\7",
            "/orders/é",
            "/orders /7",
            "/orders\t",
            "/orders?x",
            "/orders#x",
            "/orders/\u{ff0f}",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn an_arn_is_taken_apart() {
        let api = "arn:aws:execute-api:us-east-1:123456789012:a1b2c3";
        for (tail, stage, request) in [
            ("/prod/GET/orders/7", "/prod", Some(("GET", "/orders/7"))),
            ("/prod/GET/", "/prod", Some(("GET", "/"))),
            ("/$default/POST/a:b//c", "/$default", Some(("POST", "/a:b//c"))),
            ("/prod/GET", "/prod", None),
            ("/prod", "/prod", None),
        ] {
            let text = format!("{api}{tail}");
            let arn = RequestArn::parse(&text).expect("an ARN");
            assert_eq!(
                arn,
                RequestArn { text: &text, stage: &format!("{api}{stage}"), api: "a1b2c3", request },
                "{tail}"
            );
            assert_eq!(arn.of("PUT", "/x"), format!("{api}{stage}/PUT/x"));
        }
        for text in ["", "arn", api, "arn:aws:lambda:us-east-1:123456789012:a/b/c", "arn:aws:execute-api:a/b/GET/c"] {
            assert_eq!(RequestArn::parse(text), None, "{text}");
        }
    }
}
