//! The least that an answer over HTTP costs here: Grantwell's own server loop and axum, and behind them nothing but the bytes of
//! an answer that Grantwell once gave. What `make bench-peers` compares the others with.
//!
//!     floor HOST:PORT PATH=ANSWER...
#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has no figures to give")]

use std::future::pending;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use axum::routing::post;

use grantwell::embedded::server::{self, Sources};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().and_then(|text| text.parse().ok()).expect("HOST:PORT");
    let router = arguments.fold(Router::new(), |router, argument| {
        let (path, answer) = argument.split_once('=').expect("PATH=ANSWER");
        let answer = Bytes::copy_from_slice(answer.as_bytes());
        // The form is read, as every server must, and not looked at.
        router.route(path, post(async move |_form: Bytes| (headers(), answer)))
    });
    let listener = server::listen(address).await.expect("a free port");
    server::serve(listener, router, Sources::Peers, pending()).await;
}

fn headers() -> [(axum::http::HeaderName, HeaderValue); 3] {
    [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (PRAGMA, HeaderValue::from_static("no-cache")),
    ]
}
