//! `grantwell token introspect`: what a server says of a token (RFC 7662).

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use ureq::http::StatusCode;

use grantwell::core::scope::{INTROSPECT_ALL_TOKENS, INTROSPECT_ALL_TOKENS_ANY_REALM};

use super::caller::{CallerArguments, waiting};
use super::claims;
use super::http::{self, Confidential, printable};
use super::presented::{PresentedToken, TokenArguments};
use super::server::{Answer, Endpoint, without_slash};
use crate::failure::Failure;
use crate::output::{self, OutputArguments};

/// `grantwell token introspect`
#[derive(Debug, clap::Args)]
pub(super) struct IntrospectArguments {
    #[command(flatten)]
    token: TokenArguments,
    #[command(flatten)]
    caller: CallerArguments,
    #[command(flatten)]
    output: OutputArguments,
}

/// The server's answer: its members, those of the standard first and in its order.
struct Introspected {
    members: Vec<(String, Value)>,
    is_active: bool,
}

/// Runs the command.
///
/// # Errors
/// A [`Failure`] that says what to do, and nothing of the token; [`Failure::Told`] where the token is not active.
pub(super) async fn run(arguments: IntrospectArguments) -> Result<(), Failure> {
    let IntrospectArguments { token, caller, output } = arguments;
    caller.check_beside(&token)?;
    let token = token.read().await?;
    let (introspected, remarks) = waiting(move || {
        let form = [("token", token.expose())];
        let answer = caller.post(Endpoint::Introspection, &form, &[token.expose()], advice)?;
        let introspected = Introspected::read(&answer, &token)?;
        let remarks = if introspected.is_active { Vec::new() } else { may_be_why(&token, &caller)? };
        Ok((introspected, remarks))
    })
    .await?;
    output.print(&introspected, Introspected::table)?;
    for remark in &remarks {
        output::note(remark);
    }
    if introspected.is_active { Ok(()) } else { Err(Failure::Told(NOT_ACTIVE)) }
}

impl Introspected {
    fn read(Answer { url, body }: &Answer, token: &PresentedToken) -> Result<Self, Failure> {
        let mut answer = http::object(url, body)?;
        let Some(is_active) = answer.get("active").and_then(Value::as_bool) else {
            return Err(Failure::new(format!(
                "{url} answered without a member active that is true or false, so this is not an answer of introspection (RFC 7662)"
            )));
        };
        let token = Confidential::new([token.expose()]);
        answer.values_mut().for_each(|value| remove(&token, value));
        let mut members: Vec<_> =
            STANDARD.into_iter().filter_map(|name| Some((name.to_owned(), answer.remove(name)?))).collect();
        members.extend(answer);
        Ok(Self { members, is_active })
    }

    fn table(&self) -> String {
        let row = |(name, value): &(String, Value)| match (name.as_str(), self.is_active) {
            ("active", true) => vec![name.clone(), "yes".to_owned()],
            ("active", false) => vec![name.clone(), "no".to_owned()],
            _ => claims::row(name, value),
        };
        claims::table(&self.members.iter().map(row).collect::<Vec<_>>())
    }
}

impl Serialize for Introspected {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A server could send the token back, which may then be printed by whoever only wants to know about it.
fn remove(token: &Confidential<'_>, value: &mut Value) {
    match value {
        Value::String(text) => *text = token.removed_from(text),
        Value::Array(values) => values.iter_mut().for_each(|value| remove(token, value)),
        Value::Object(members) => members.values_mut().for_each(|value| remove(token, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The protocol has no reason (RFC 7662 §2.2). What the token itself says may be one, and the rest is what there can be.
fn may_be_why(token: &PresentedToken, caller: &CallerArguments) -> Result<Vec<String>, Failure> {
    let (client_id, issuer) = (&caller.client_id, caller.issuer()?);
    let mut remarks = vec![
        "the server does not say why the token is not active; its log does".to_owned(),
        "the token may have expired or been revoked, may be of another realm or server, or may be truncated; its client or its realm may be \
         disabled, or have ended its tokens"
            .to_owned(),
    ];
    let jwt = token.unverified_jwt().ok();
    let said = jwt.as_ref().map(|jwt| said_by(&jwt.claims, client_id.as_str(), &issuer)).unwrap_or_default();
    remarks.extend(
        said.into_iter().map(|what| format!("by what the token says itself, which nobody has verified here, {what}")),
    );
    if jwt.is_none_or(|jwt| jwt.claims.get("client_id").and_then(Value::as_str) != Some(client_id.as_str())) {
        remarks.push(format!(
            "if the token was issued to another client, '{client_id}' may not be allowed to ask for it: on a server of Grantwell, that takes the \
             scope {INTROSPECT_ALL_TOKENS} in its registration, or {INTROSPECT_ALL_TOKENS_ANY_REALM} for tokens of every realm"
        ));
    }
    Ok(remarks)
}

fn said_by(claims: &Map<String, Value>, client_id: &str, issuer: &str) -> Vec<String> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let time = |name: &str| claims.get(name).and_then(claims::seconds_of).map(claims::distance);
    let mut said = Vec::new();
    said.extend(time("exp").filter(|when| when.ends_with("ago")).map(|when| format!("it expired {when}")));
    said.extend(time("nbf").filter(|when| when.starts_with("in")).map(|when| format!("it is valid from {when} on")));
    let other_issuer = text("iss").filter(|other| without_slash(other) != issuer);
    said.extend(other_issuer.map(|other| format!("it is of {}, and {issuer} was asked", printable(other))));
    let other_client = text("client_id").filter(|other| *other != client_id);
    said.extend(other_client.map(|other| format!("it was issued to client {}", printable(other))));
    said
}

fn advice(status: StatusCode) -> Option<&'static str> {
    (status == StatusCode::FORBIDDEN).then_some(FORBIDDEN)
}

/// RFC 7662 §2.2.
const STANDARD: [&str; 12] =
    ["active", "scope", "client_id", "username", "token_type", "exp", "iat", "nbf", "sub", "aud", "iss", "jti"];
/// The exit status for an answer that says so.
const NOT_ACTIVE: u8 = 3;
const FORBIDDEN: &str = "the server, or what stands before it, does not let this client introspect: look at what the client is allowed there, and at a firewall between";
