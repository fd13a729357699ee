//! `GET /metrics`, on a listener of its own: who watches the server is not who calls it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};

use super::health::{Health, only_get};
use crate::core::error::OAuthError;
use crate::http::response::Refusal;
use crate::observe::metrics::Prometheus;

/// What is counted, and what is looked at when somebody asks.
#[derive(Clone)]
struct Watched {
    metrics: Arc<Prometheus>,
    health: Arc<Health>,
}

/// The one path. Every other is a 404.
pub fn routes(metrics: Arc<Prometheus>, health: Arc<Health>) -> Router {
    let router = Router::new().route("/metrics", only_get(exposition)).fallback(async || Refusal::NotFound);
    router.with_state(Watched { metrics, health })
}

async fn exposition(State(Watched { metrics, health }): State<Watched>) -> Response {
    for (store, is_up) in health.verdicts().await {
        metrics.set_store(store, is_up);
    }
    match metrics.text() {
        Ok(text) => {
            let headers = [(CONTENT_TYPE, Prometheus::media_type()), (CACHE_CONTROL, "no-store".to_owned())];
            (headers, text).into_response()
        }
        Err(error) => Refusal::OAuth(OAuthError::Server(error.to_string())).into_response(),
    }
}
