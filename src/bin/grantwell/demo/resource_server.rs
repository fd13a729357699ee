//! The resource server of the demo, which knows nothing of the authorization server but its URL.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Value, json};

use grantwell::core::access_token::facts::TokenFacts;
use grantwell::core::bearer::{self, Decision, TokenIntrospection};
use grantwell::core::error::OAuthError;
use grantwell::core::reason::Reason;
use grantwell::core::resource::Audience;
use grantwell::core::scope::Scope;

use super::exchange::{Credentials, Exchange, agent};
use crate::failure::Failure;

/// The name of the resource server, by which a token says that it is for it.
pub(super) const ORDERS: &str = "https://api.example.com/orders";

/// A protected resource that believes only the authorization server.
pub(super) struct ResourceServer {
    pub(super) required: Scope,
    pub(super) introspection: Introspection,
}

/// The authorization server's word on a token, by its introspection endpoint (RFC 7662).
pub(super) struct Introspection(pub(super) Arc<IntrospectionClient>);

/// Asks the endpoint, and keeps the last answer for the transcript.
pub(super) struct IntrospectionClient {
    pub(super) url: String,
    pub(super) credentials: Credentials,
    pub(super) last: Mutex<Option<Exchange>>,
}

/// What a resource server needs of an introspection answer (RFC 7662 §2.2). An inactive token has nothing but `active`.
#[derive(Deserialize)]
pub(super) struct IntrospectionAnswer {
    active: bool,
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    scope: Scope,
    #[serde(default)]
    aud: Audience,
}

impl IntrospectionClient {
    pub(super) fn take_last(&self) -> Option<Exchange> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn ask(&self, token: &str) -> Result<IntrospectionAnswer, Failure> {
        let exchange = self.credentials.post(&agent(), &self.url, &[("token", token)])?;
        let answer = exchange.expect(200).and_then(|()| exchange.json());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(exchange);
        serde_json::from_value(answer?).map_err(|error| Failure::new(error.to_string()))
    }
}

#[async_trait]
impl TokenIntrospection for Introspection {
    async fn introspect(&self, unverified_token: &str) -> Result<Result<TokenFacts, Reason>, OAuthError> {
        let (client, token) = (Arc::clone(&self.0), unverified_token.to_owned());
        let answer = tokio::task::spawn_blocking(move || client.ask(&token)).await;
        let Ok(Ok(IntrospectionAnswer { active, client_id, sub, scope, aud })) = answer else {
            return Err(OAuthError::Unavailable("introspection did not answer".into()));
        };
        // A token for another resource is none for this one (RFC 8707 §2).
        let is_meant_for_here = aud.resources().iter().any(|resource| resource.as_str() == ORDERS);
        // Nobody outside is told why.
        let facts = TokenFacts { client_id, sub, scope, audit_tracking_id: None };
        Ok(if active && is_meant_for_here { Ok(facts) } else { Err(Reason::InvalidToken) })
    }
}

pub(super) async fn orders(State(server): State<Arc<ResourceServer>>, headers: HeaderMap) -> Response {
    let authorization: Vec<&[u8]> = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes).collect();
    match bearer::decide(&authorization, &server.required, &server.introspection).await {
        Ok(Decision::Allow(_)) => Json(json!({"orders": ["one", "two"]})).into_response(),
        Ok(Decision::Deny(denial)) => {
            let status = StatusCode::from_u16(denial.status()).unwrap_or(StatusCode::UNAUTHORIZED);
            (status, [(WWW_AUTHENTICATE, denial.challenge())]).into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// A part of a JWT as JSON for people.
pub(super) fn decoded(part: &str) -> Result<String, Failure> {
    let json = URL_SAFE_NO_PAD.decode(part).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let json = json.and_then(|json| serde_json::to_string_pretty(&json).ok());
    json.ok_or_else(|| Failure::new("the access token should have been a JWT"))
}

/// What a resource server does that validates a token by itself (RFC 9068 §4).
pub(super) fn verify(token: &str, jwks: &str, issuer: &str) -> Result<(), Failure> {
    let refused = |problem: &str| Failure::new(format!("the access token should have been good, but {problem}"));
    let header = jsonwebtoken::decode_header(token).map_err(|error| refused(&error.to_string()))?;
    if header.typ.as_deref() != Some("at+jwt") {
        return Err(refused("its type is not at+jwt"));
    }
    let keys: JwkSet = serde_json::from_str(jwks).map_err(|error| refused(&error.to_string()))?;
    let key = header.kid.and_then(|kid| keys.find(&kid)).ok_or_else(|| refused("no published key has its kid"))?;
    let key = DecodingKey::from_jwk(key).map_err(|error| refused(&error.to_string()))?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[ORDERS]);
    jsonwebtoken::decode::<Value>(token, &key, &validation).map_err(|error| refused(&error.to_string()))?;
    Ok(())
}
