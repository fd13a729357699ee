//! The events of API Gateway, and the requests that they are. Nothing that a caller chooses is believed about who it is or where it came in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use url::form_urlencoded;

use crate::aws::lambda::front::Front;
use crate::core::realm::PublicUrl;
use crate::core::source::ClientSource;

/// What is read of an event. An emulator may leave a member null.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
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

/// The form of an event, and of what answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// A REST API's.
    V1,
    /// An HTTP API's, or a function URL's.
    V2,
}

/// Why an event never reaches the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is not an HTTP request. The text is the public description.
    Malformed(&'static str),
    /// It came past what stands in front.
    PastTheFront,
}

impl Event<'_> {
    /// Only payload 1.0 has the method outside of its context.
    pub(super) fn payload(&self) -> Payload {
        if self.http_method.is_some() { Payload::V1 } else { Payload::V2 }
    }

    /// Whom the gateway took it from.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        let context = self.request_context.as_ref()?;
        match self.payload() {
            Payload::V1 => context.identity.and_then(rest_source),
            Payload::V2 => context.http.as_ref()?.source_ip.as_ref().and_then(Value::as_str).and_then(address),
        }
    }

    /// The request that it is, by what it came through. The request carries as extensions the [`PublicUrl`] it came in by, which is
    /// `public_url` or else the gateway's word, and the [`ClientSource`] it came from where that is known.
    ///
    /// # Errors
    /// [`Refused`].
    pub(super) fn into_request(self, front: &Front, public_url: Option<&PublicUrl>) -> Result<Request<Body>, Refused> {
        let (payload, peer) = (self.payload(), self.peer());
        let context = self.request_context.unwrap_or_default();

        // 1. Whether it came the way that requests come.
        let mut headers = headers(lists(self.multi_value_headers, self.headers)?)?;
        if !front.admits(&mut headers) {
            return Err(Refused::PastTheFront);
        }

        // 2. What is asked for. A REST API's own path has no stage, its context's has.
        let path = self.raw_path.or(context.path).or(self.path).unwrap_or_default();
        let (prefix, path) = split_prefix(&path);
        let query = match payload {
            Payload::V1 => form(&lists(self.multi_value_query_string_parameters, self.query_string_parameters)?),
            Payload::V2 => short_enough(self.raw_query_string.unwrap_or_default())?,
        };
        let target = target(path, &query)?;

        // 3. How, and from whom by the gateway's own word.
        let method = match payload {
            Payload::V1 => self.http_method,
            Payload::V2 => context.http.ok_or(NO_REQUEST)?.method,
        };
        let method = method.filter(|method| !method.is_empty()).ok_or(NO_REQUEST)?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| MALFORMED_HEAD)?;
        let source = front.source(peer, &headers).map(ClientSource::of);

        // 4. The body.
        let body = self.body.unwrap_or_default();
        let body: Body = if self.is_base64_encoded.unwrap_or_default() {
            STANDARD.decode(body).map_err(|_| "the body is malformed")?.into()
        } else {
            body.into()
        };

        // 5. Where it came in, in the gateway's own word.
        let public_url = match public_url {
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
}

impl From<&'static str> for Refused {
    fn from(description: &'static str) -> Self {
        Self::Malformed(description)
    }
}

/// The form of the refusal of an event that could not be read.
pub(super) fn payload_of_unread(event: &str) -> Payload {
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
pub(super) fn split_prefix(path: &str) -> (&str, &str) {
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

/// Bytes of a query string or of all headers. API Gateway takes 10,240 of both; `http` refuses 65,535 bytes of a URI, with three
/// for one that is escaped, and 24,577 headers.
pub(super) const MAX_LENGTH: usize = 20_000;

pub(super) const NO_REQUEST: &str = "the event is not an HTTP request";
const MALFORMED_HEAD: &str = "a method or header is malformed";
const TOO_LONG: &str = "the query string or the headers are too long";

/// What a path may hold besides letters and digits (RFC 3986 §3.3), and the percent sign of what is encoded already.
const PATH: &[u8] = b"-._~!$&'()*+,;=:@/%";
/// The same for a query string (RFC 3986 §3.4).
const QUERY: &[u8] = b"-._~!$&'()*+,;=:@/%?";
