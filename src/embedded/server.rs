//! The local server: accepts connections and hands their requests to one router, until it is told to stop.
//!
//! It sets what `axum::serve` cannot: a time limit on request heads and a limit on connections, without which one slow
//! peer could hold the server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

/// How long requests in flight may take to finish once the server is told to stop.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Serves `router` until `stop` resolves, then answers what is in flight for at most [`DRAIN_LIMIT`].
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                // An answer is one small write: waiting to fill a packet would only delay it.
                let _best_effort = stream.set_nodelay(true);
                let service = TowerToHyperService::new(
                    router.clone().map_request(|request: Request<Incoming>| request.map(Body::new)),
                );
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_LIMIT)
                    .max_buf_size(HEAD_BUFFER_BYTES)
                    .serve_connection(TokioIo::new(stream), service);
                let connection = graceful.watch(connection);
                tokio::spawn(async move {
                    // A peer that goes away or sends no HTTP is its own affair.
                    let _peer_fault = connection.await;
                    drop(permit);
                });
            }
            // Out of file descriptors, most likely: closing connections will free some.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_LIMIT, graceful.shutdown()).await.is_err() {
        tracing::warn!(limit_seconds = DRAIN_LIMIT.as_secs(), "some requests did not finish in time and were cut off");
    }
}

/// Listens on `address`; port 0 picks a free one.
///
/// # Errors
/// Whatever the system says, such as that the address is in use.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _peer) = listener.accept().await?;
    Ok((stream, permit))
}

const MAX_CONNECTIONS: usize = 2048;
const HEAD_BUFFER_BYTES: usize = 32 * 1024;
const HEAD_LIMIT: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
