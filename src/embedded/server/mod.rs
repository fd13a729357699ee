//! The local server: accepts connections and hands their requests to one service, until it is told to stop.
//!
//! It sets what `axum::serve` cannot: a time limit on request heads and a limit on connections, without which one slow
//! peer could hold the server. And it keeps each connection on one thread.

mod workers;

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::workers::Workers;
use crate::core::client_auth::attempts::ClientSource;
use crate::http::routes::HttpService;

/// How long requests in flight may take to finish once the server is told to stop.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Who says where a request comes from, so that failed authentications can be counted by source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// The connection: clients connect to this server themselves.
    Peers,
    /// The last element of X-Forwarded-For, which the proxy in front has appended; the others a caller may have written.
    ForwardedFor,
    /// Nobody: a proxy is in front and says nothing. Its address stands for everybody, so that a guesser would lock out all.
    Unknown,
}

/// Serves with `service`, on a thread for each core, until `stop` resolves. Then answers what is in flight for at most
/// [`DRAIN_LIMIT`].
///
/// # Errors
/// What the system says where a thread cannot be started.
pub async fn serve(
    listener: TcpListener,
    service: impl HttpService,
    sources: Sources,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let workers = Workers::start(Workers::usual_count())?;
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let connection = connection(stream, peer, service.clone(), sources, graceful.watcher());
                workers.spawn(async move {
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
    // The caller may close the stores behind this.
    let _stuck = tokio::time::timeout(CUT_OFF_LIMIT, workers.end()).await;
    Ok(())
}

/// Listens on `address`; port 0 picks a free one.
///
/// # Errors
/// Whatever the system says, such as that the address is in use.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

impl Sources {
    fn source(self, peer: IpAddr, headers: &HeaderMap) -> Option<ClientSource> {
        match self {
            Self::Peers => Some(ClientSource::of(peer)),
            Self::ForwardedFor => forwarded_for(headers).map(ClientSource::of),
            Self::Unknown => None,
        }
    }
}

/// Some proxies append the port, too.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all(FORWARDED_FOR).iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
    last.parse().ok().or_else(|| last.parse().ok().map(|address: SocketAddr| address.ip()))
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> io::Result<(std::net::TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // An answer is one small write: waiting to fill a packet would only delay it.
    let _best_effort = stream.set_nodelay(true);
    Ok((stream.into_std()?, peer, permit))
}

/// Answers the requests of one connection, on the runtime that it is awaited on.
async fn connection(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    service: impl HttpService,
    sources: Sources,
    watcher: Watcher,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::from_std(stream)?;
    let answer = service_fn(move |mut request: Request<Incoming>| {
        if let Some(source) = sources.source(peer.ip(), request.headers()) {
            request.extensions_mut().insert(source);
        }
        service.clone().call(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), answer);
    Ok(watcher.watch(connection).await?)
}

const FORWARDED_FOR: &str = "x-forwarded-for";
const MAX_CONNECTIONS: usize = 2048;
const HEAD_BUFFER_BYTES: usize = 32 * 1024;
/// How long a thread may take to drop what was cut off.
const CUT_OFF_LIMIT: Duration = Duration::from_secs(2);
const HEAD_LIMIT: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn source_of(sources: Sources, values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED_FOR, value.parse().expect("a header value"));
        }
        sources.source([192, 0, 2, 7].into(), &headers).map(|source| source.to_string())
    }

    #[test]
    fn a_source_is_the_peer_or_what_the_proxy_has_appended_and_nothing_that_a_caller_wrote() {
        let forwarded = |values: &[&str]| source_of(Sources::ForwardedFor, values);
        assert_eq!(forwarded(&["198.51.100.1"]).as_deref(), Some("198.51.100.1"));
        assert_eq!(forwarded(&["203.0.113.9, 198.51.100.1"]).as_deref(), Some("198.51.100.1"));
        assert_eq!(forwarded(&["198.51.100.1", "203.0.113.9,198.51.100.2"]).as_deref(), Some("198.51.100.2"));
        assert_eq!(forwarded(&["198.51.100.1:4711"]).as_deref(), Some("198.51.100.1"));
        assert_eq!(forwarded(&["[2001:db8:1:2:3::4]:4711"]).as_deref(), Some("2001:db8:1:2::/64"));
        assert_eq!(forwarded(&["198.51.100.1, unknown"]), None);
        assert_eq!(forwarded(&["198.51.100.1,"]), None);
        assert_eq!(forwarded(&[]), None);
        assert_eq!(source_of(Sources::Peers, &["198.51.100.1"]).as_deref(), Some("192.0.2.7"));
        assert_eq!(source_of(Sources::Unknown, &["198.51.100.1"]), None);
    }
}
