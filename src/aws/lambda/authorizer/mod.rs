//! API Gateway's Lambda authorizer: whether a bearer token lets a request pass (RFC 6750), said in the gateway's own words.
//!
//! What a caller is told is the gateway's to say, and it does not know everything that RFC 6750 §3.1 can
//! (docs/decisions/0011-what-an-authorizer-can-say.md):
//!
//! | | HTTP API | REST API |
//! |---|---|---|
//! | no Authorization header | 401, by the gateway itself, which lacks its identity source | 401, by the gateway itself |
//! | no active token | 403, a denial | 401, the function error `Unauthorized` |
//! | too little scope, or no such route | 403, a denial | 403, a denial |
//! | nobody can say | 500, a function error, which the gateway does not remember | the same |

mod answer;
mod denied;
mod event;
pub mod routes;

use std::str::FromStr;
use std::sync::Arc;

use lambda_http::lambda_runtime::{self, Diagnostic};
use lambda_http::{LambdaEvent, service_fn};
use serde_json::Value;
use serde_json::value::RawValue;

use self::denied::Denied;
use self::event::{AuthorizerEvent, Gateway};
use self::routes::RouteScopes;
use super::gateway::time_left;
use super::invocation::{self, Panicked};
use crate::core::access_token::facts::TokenFacts;
use crate::core::audit::{AuditEvent, AuditSink};
use crate::core::bearer::{self, Decision, TokenIntrospection};
use crate::core::error::OAuthError;
use crate::core::scope::Scope;
use crate::observe::{Event, Observer, request};

/// Decides about the requests of any number of APIs.
pub struct Authorizer {
    /// Says whose a token is and what it allows.
    pub tokens: Box<dyn TokenIntrospection>,
    /// What each route asks of a token. A route that is not among them lets nobody pass.
    pub scopes: RouteScopes,
    /// What the HTTP APIs with payload 2.0 expect for an answer.
    pub response: ResponseForm,
    /// Is told of each decision, and of what is none.
    pub observer: Arc<Observer>,
}

/// The two answers that an HTTP API with payload 2.0 can be set to expect. Its events do not say which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseForm {
    /// Yes or no.
    #[default]
    Simple,
    /// An IAM policy.
    Policy,
}

/// The text is no response form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an authorizer's response is simple or policy")]
pub struct UnknownResponseForm;

impl FromStr for ResponseForm {
    type Err = UnknownResponseForm;

    fn from_str(text: &str) -> Result<Self, UnknownResponseForm> {
        match text {
            "simple" => Ok(Self::Simple),
            "policy" => Ok(Self::Policy),
            _ => Err(UnknownResponseForm),
        }
    }
}

/// A function error. None of them lets a request pass, and the gateway remembers none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Failure {
    /// A REST API makes a 401 of this very text.
    #[error("Unauthorized")]
    Unauthorized,
    /// Nobody could say whether the token is active.
    #[error("{0}")]
    Undecided(&'static str),
    /// The function was called by something else.
    #[error("the event is not a request to an authorizer")]
    NoRequest,
}

/// Answers invocations until Lambda ends the process. One that is not decided 500 ms before its deadline fails.
///
/// # Panics
/// Outside of Lambda, where the variables of its runtime interface are missing.
pub async fn serve(authorizer: Authorizer) {
    let authorizer = &authorizer;
    let ended = lambda_runtime::run(service_fn(async |invocation: LambdaEvent<Box<RawValue>>| {
        let LambdaEvent { payload, context } = invocation;
        let ids = invocation::ids(&context);
        // The runtime would keep the path to each member that it reads, for an error that nobody reads.
        let event = serde_json::from_str(payload.get()).unwrap_or_default();
        let answer = async {
            let answered = invocation::caught(authorizer.answer(LambdaEvent::new(event, context))).await;
            answered.unwrap_or_else(|Panicked| Err(authorizer.failed()))
        };
        invocation::observed(&authorizer.observer, ids, answer).await
    }))
    .await;
    invocation::ended(ended);
}

/// What [`serve`] answers to one event, or the text of the function error, for the fuzz targets.
#[cfg(fuzzing)]
pub async fn answer(authorizer: &Authorizer, event: Value, context: lambda_http::Context) -> Result<Value, String> {
    authorizer.answer(LambdaEvent::new(event, context)).await.map_err(|failure| failure.to_string())
}

impl Authorizer {
    async fn answer(&self, LambdaEvent { payload, context }: LambdaEvent<Value>) -> Result<Value, Failure> {
        let time_left = time_left(context.deadline());

        // 1. What is asked for, and what that needs. For a route that nobody named any active token is looked up all the
        //    same: who has none is told so first.
        let event = AuthorizerEvent::read(&payload).ok_or_else(|| self.no_request())?;
        if let Some(source) = event.source {
            request::came_from(source);
        }
        let named = event.route(&self.scopes).filter(|_| !event.is_ambiguous());
        let route = named.as_ref().map(|named| named.name.as_str()).or(event.route_name());
        let nothing = Scope::empty();
        let required = named.as_ref().map_or(&nothing, |named| &named.scope);

        // 2. The decision.
        let decided = bearer::decide(&event.authorization, required, self.tokens.as_ref());
        let decision = match tokio::time::timeout(time_left, decided).await {
            Ok(Ok(decision)) => decision,
            Ok(Err(error)) => return Err(self.undecided(route, &error)),
            Err(_) => {
                self.observer.tell(Event::OutOfTime { route, limit: time_left });
                self.observer.tell(Event::Answered { status: 503, endpoint: None });
                return Err(Failure::Undecided("temporarily_unavailable"));
            }
        };
        let is_policy = (event.gateway, self.response) != (Gateway::HttpApi2, ResponseForm::Simple);
        let decision = match decision {
            Decision::Allow(token) if is_policy && event.arn.is_pattern() => Err(Denied::Pattern(token)),
            Decision::Allow(token) if event.is_ambiguous() => Err(Denied::OtherSpelling(token)),
            Decision::Allow(token) if named.is_none() => Err(Denied::NoSuchRoute(token)),
            Decision::Allow(token) => Ok(token),
            Decision::Deny(denial) => Err(Denied::Bearer(denial)),
        };
        let is_401 = event.gateway == Gateway::Rest && decision.as_ref().is_err_and(|denied| denied.token().is_none());
        self.record(route, named.is_some(), if is_401 { 401 } else { 403 }, &decision);

        // 3. The answer, in the form that this gateway understands.
        if is_401 {
            return Err(Failure::Unauthorized);
        }
        Ok(if is_policy { answer::policy(&decision, &event.arn, &self.scopes) } else { answer::simple(&decision) })
    }

    fn no_request(&self) -> Failure {
        self.observer.tell(Event::NotAnAuthorizerRequest);
        Failure::NoRequest
    }

    /// Never a denial: a cache would keep it beyond the fault.
    fn undecided(&self, route: Option<&str>, error: &OAuthError) -> Failure {
        self.observer.record(&AuditEvent::AccessUndecided { route, error });
        let is_transient = matches!(error, OAuthError::Unavailable(_));
        self.observer.tell(Event::Answered { status: if is_transient { 503 } else { 500 }, endpoint: None });
        Failure::Undecided(error.code())
    }

    /// After a panic.
    fn failed(&self) -> Failure {
        self.observer.tell(Event::Answered { status: 500, endpoint: None });
        Failure::Undecided("server_error")
    }

    /// One event. A path is in none: clumsy clients put credentials there. The route stands for it, as the gateway or the
    /// configuration names it. `status` is what the gateway answers to a denial.
    fn record(&self, route: Option<&str>, route_is_named: bool, status: u16, decision: &Result<TokenFacts, Denied>) {
        self.observer.record(&match decision {
            Ok(token) => AuditEvent::AccessAllowed { route, token },
            Err(denied) => AuditEvent::AccessDenied {
                route,
                route_is_named,
                token: denied.token(),
                reason: denied.reason(),
                inactive: denied.inactive(),
                status,
            },
        });
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        let error_type = match failure {
            Failure::Unauthorized => "Unauthorized",
            Failure::Undecided(_) => "Undecided",
            Failure::NoRequest => "NoRequest",
        };
        Self { error_type: error_type.to_owned(), error_message: failure.to_string() }
    }
}

#[cfg(test)]
mod tests;
