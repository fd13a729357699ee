//! What API Gateway takes for an answer.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Collected};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::event::Payload;

/// An answer in the form of its event's payload. It has one value a header: several, joined, mean the same (RFC 9110 §5.3), and
/// payload 2.0 has no lists.
pub(super) struct Answer {
    payload: Payload,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// Reads the body to its end.
    pub(super) async fn new(payload: Payload, response: Response) -> Self {
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
