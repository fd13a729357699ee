//! The least that an answer over HTTP costs here: axum, and behind it nothing but the bytes of an answer that Grantwell once gave.
//! What `make bench-peers` compares the others with.
//!
//!     floor axum|grantwell HOST:PORT PATH=ANSWER...
//!
//! `axum`: as axum serves by itself. `grantwell`: the same routes in the server loop of Grantwell.
#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has no figures to give")]

use std::future::pending;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use axum::routing::post;

use grantwell::embedded::server::{self, Settings};
use grantwell::observe::Observer;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let server_loop = arguments.next().expect("axum or grantwell");
    let address = arguments.next().and_then(|text| text.parse().ok()).expect("HOST:PORT");
    let router = arguments.fold(Router::new(), |router, argument| {
        let (path, answer) = argument.split_once('=').expect("PATH=ANSWER");
        let answer = Bytes::copy_from_slice(answer.as_bytes());
        // The form is read, as every server must, and not looked at.
        router.route(path, post(async move |_form: Bytes| (headers(), answer)))
    });
    let listener = server::listen(address).await.expect("a free port");
    match server_loop.as_str() {
        "axum" => axum::serve(listener, router).await,
        _ => server::serve(listener, router, Arc::<Observer>::default(), Settings::default(), pending()).await,
    }
    .expect("it serves");
}

fn headers() -> [(axum::http::HeaderName, HeaderValue); 3] {
    [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (PRAGMA, HeaderValue::from_static("no-cache")),
    ]
}
