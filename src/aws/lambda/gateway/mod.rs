//! API Gateway in front of the routers: its events become requests, and answers what it takes for one. Payload 2.0 (HTTP
//! API, function URL) and payload 1.0 (REST API) are both understood.
//!
//! `lambda_http`'s runtime hands over the events. Both ways are written here: `lambda_http`'s own trust an event more than a
//! caller deserves, and cost more than all else that a warm answer does (docs/decisions/0009-events-are-read-here.md).

mod answer;
mod caller;
mod event;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request};
use axum::response::{IntoResponse as _, Response};
use lambda_http::{LambdaEvent, lambda_runtime, service_fn};
use serde_json::value::RawValue;
use tower::ServiceExt as _;

use self::answer::Answer;
use self::event::{Event, NO_REQUEST, Payload, Refused, payload_of_unread};
use super::front::Front;
use super::invocation::{self, Panicked};
use crate::core::error::OAuthError;
use crate::core::realm::PublicUrl;
use crate::core::source::ClientSource;
use crate::http::response::{self, Refusal};
use crate::observe::event::RefusedBeforeRouting;
use crate::observe::{self, Observer};

/// Answers invocations with `router` until Lambda ends the process. Each request carries the [`PublicUrl`] it came in by as
/// an extension: `public_url`, or else what API Gateway says.
///
/// Nothing is answered that did not come through `front`. A request that is not answered 500 ms before the invocation's deadline gets a 503.
///
/// # Panics
/// Outside of Lambda, where the variables of its runtime interface are missing.
pub async fn serve(router: Router, public_url: Option<PublicUrl>, front: Front, observer: Arc<Observer>) {
    let gateway = &Gateway { router, public_url, front, observer };
    // As text: what the runtime cannot read is a function error, and this server answers whatever comes.
    let ended = lambda_runtime::run(service_fn(async |invocation: LambdaEvent<Box<RawValue>>| {
        let LambdaEvent { payload, context } = invocation;
        let answer = async {
            match invocation::caught(gateway.answer(payload.get(), time_left(context.deadline()))).await {
                Ok(answer) => answer,
                Err(Panicked) => gateway.failed(payload.get()).await,
            }
        };
        Ok::<_, Infallible>(invocation::observed(&gateway.observer, invocation::ids(&context), answer).await)
    }))
    .await;
    invocation::ended(ended);
}

/// What [`serve`] answers to one event, for the fuzz targets.
#[cfg(fuzzing)]
pub async fn answer(router: Router, event: &str, time_left: Duration) -> serde_json::Value {
    let gateway = Gateway { router, public_url: None, front: Front::Gateway, observer: Arc::default() };
    serde_json::to_value(gateway.answer(event, time_left).await).unwrap_or_default()
}

/// Whom each payload's event says that the request comes from, for the fuzz targets.
#[cfg(fuzzing)]
pub fn callers(event: &str) -> [crate::core::trust::caller::CallerByAws; 2] {
    [Payload::V1, Payload::V2].map(|payload| caller::of_event(event, payload))
}

struct Gateway {
    router: Router,
    public_url: Option<PublicUrl>,
    front: Front,
    observer: Arc<Observer>,
}

impl Gateway {
    async fn answer(&self, text: &str, time_left: Duration) -> Answer {
        let (payload, request) = match serde_json::from_str::<Event<'_>>(text) {
            Ok(event) => {
                if let Some(peer) = event.peer() {
                    observe::request::came_from(ClientSource::of(peer));
                }
                let payload = event.payload();
                let mut request = event.into_request(&self.front, self.public_url.as_ref());
                if let (Front::Iam, Ok(request)) = (&self.front, &mut request) {
                    request.extensions_mut().insert(caller::of_event(text, payload));
                }
                (payload, request)
            }
            Err(_) => (payload_of_unread(text), Err(NO_REQUEST.into())),
        };
        let response = match request {
            Ok(request) => self.route(request, time_left).await,
            Err(reason) => self.refused(reason),
        };
        let response = self.front.challenging(response);
        self.finish(payload, response).await
    }

    async fn route(&self, request: Request<Body>, time_left: Duration) -> Response {
        if let Some(source) = request.extensions().get() {
            observe::request::came_from(*source);
        }
        match tokio::time::timeout(time_left, self.router.clone().oneshot(request)).await {
            Ok(Ok(response)) => response,
            // Rather our own 503 than the API's, which is no OAuth answer and does not say when to try again.
            Err(_) => {
                self.observer.tell(observe::Event::OutOfTime { route: None, limit: time_left });
                response::out_of_time()
            }
        }
    }

    /// After a panic outside of the router, which has its own way to answer one.
    async fn failed(&self, event: &str) -> Answer {
        self.finish(payload_of_unread(event), response::after_panic()).await
    }

    /// What every answer has, and is counted by.
    async fn finish(&self, payload: Payload, mut response: Response) -> Answer {
        if let Some(id) = observe::request::current_id().and_then(|id| HeaderValue::try_from(id).ok()) {
            response.headers_mut().insert(response::REQUEST_ID, id);
        }
        self.observer.tell(observe::Event::Answered { status: response.status().as_u16(), endpoint: None });
        Answer::new(payload, response).await
    }

    /// For what never reaches a router: an error like any other.
    fn refused(&self, refused: Refused) -> Response {
        let (reason, refusal) = match refused {
            Refused::Malformed(reason) => {
                (RefusedBeforeRouting::Malformed, Refusal::OAuth(OAuthError::InvalidRequest(reason)))
            }
            Refused::PastTheFront => (RefusedBeforeRouting::PastTheFront, Refusal::PastTheFront),
        };
        let (detail, status) = (refusal.description(), refusal.status().as_u16());
        self.observer.tell(observe::Event::RefusedBeforeRouting { reason, detail, status });
        refusal.into_response()
    }
}

/// Time until the answer must be on its way.
#[expect(clippy::disallowed_methods, reason = "the deadline is given in the system's time, in milliseconds")]
pub(super) fn time_left(deadline: SystemTime) -> Duration {
    deadline.duration_since(SystemTime::now()).unwrap_or_default().saturating_sub(RESERVE)
}

/// Time kept back from the invocation's deadline, in which the answer travels.
const RESERVE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
