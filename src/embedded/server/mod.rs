//! The local server: accepts connections and hands their requests to one service, until it is told to stop.
//!
//! It sets what `axum::serve` cannot: limits of how many connections there are and of what each may leave undone, without which a few
//! slow peers could hold the server. And it keeps each connection on one thread.

mod activity;
mod connection;
pub mod health;
mod host;
pub mod limits;
pub mod metrics;
mod places;
pub mod sources;
mod workers;

use std::future::pending;
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::http::HeaderMap;
use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use self::limits::Limits;
use self::places::{Peers, Places};
use self::sources::Sources;
use self::workers::Workers;
use crate::core::audit::AuditSink;
use crate::core::ports::Clock as _;
use crate::core::source::ClientSource;
use crate::core::time::UnixSeconds;
use crate::embedded::store::cause::StorageCause;
use crate::http::routes::HttpService;
use crate::system::SystemClock;

/// How long requests in flight may take to finish once the server is told to stop.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// How a server serves.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Who says where a request comes from.
    pub sources: Sources,
    /// What connections may take.
    pub limits: Limits,
    /// Who wants to be told that it lives.
    pub heartbeat: Option<Heartbeat>,
}

/// Whoever restarts a server that hangs, and is told again and again that this one does not.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// How often.
    pub every: Duration,
    /// Tells it.
    pub beat: fn(),
}

/// The clock is set to a time that no answer can carry, and would end no token in anybody's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this machine's clock is before the year 1970 or after 9999; set it right")]
pub struct UndatedAnswers;

/// Something that may happen often and is said seldom, with how often it was.
#[derive(Default)]
struct Tally {
    count: u64,
    said: Option<Instant>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { sources: Sources::Peers, limits: Limits::default(), heartbeat: None }
    }
}

/// The base URL of a server that listens on `address` and has no other name.
pub fn url_of(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Serves with `service`, on a thread for each core, until `stop` resolves. Then answers what is in flight for at most
/// [`DRAIN_LIMIT`]. What is refused before `service` sees it goes to `audit`.
///
/// # Errors
/// What the system says where a thread cannot be started.
pub async fn serve(
    listener: TcpListener,
    service: impl HttpService,
    audit: Arc<dyn AuditSink>,
    settings: Settings,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let Settings { sources, limits, heartbeat } = settings;
    let workers = Workers::start(limits.threads)?;
    let heartbeat = heartbeat.map(|heartbeat| tokio::spawn(beat_while_alive(heartbeat, workers.runtimes())));
    let places = Places::new(limits.connections);
    let (mut too_many, mut not_accepted) = (Tally::default(), Tally::default());
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
            () = too_many.is_due() => {
                let (closed, most) = (too_many.take(), limits.connections);
                tracing::warn!(closed, most, "connections were closed: there were too many of them, or of their peers");
                continue;
            }
        };
        match accepted.and_then(|(stream, peer)| Ok((prepared(stream)?, peer))) {
            Ok((stream, peer)) => {
                let peers = Peers::of(peer.ip(), sources);
                let mut place = places.take(peers);
                if place.is_none() {
                    // One has to go, this or another.
                    too_many.count();
                    place = places.take_over(peers).await;
                }
                let Some(place) = place else { continue };
                let (service, audit) = (service.clone(), Arc::clone(&audit));
                workers.spawn(async move {
                    connection::answer(stream, peer, service, audit, sources, &limits, place).await;
                });
            }
            Err(error) => {
                not_accepted.count();
                if not_accepted.is_due().now_or_never().is_some() {
                    let times = not_accepted.take();
                    tracing::warn!(%error, times, "a connection could not be accepted");
                }
                // Out of descriptors, most likely, of which an idle connection has one to spare.
                if StorageCause::of_io(&error) == StorageCause::NoFileDescriptors {
                    places.end_one(None);
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(DRAIN_LIMIT, places.finish()).await.is_err() {
        tracing::warn!(limit_seconds = DRAIN_LIMIT.as_secs(), "some requests did not finish in time and were cut off");
    }
    // The caller may close the stores behind this.
    let _stuck = timeout(CUT_OFF_LIMIT, workers.end()).await;
    if let Some(heartbeat) = heartbeat {
        heartbeat.abort();
    }
    Ok(())
}

/// Whether answers can be dated. Their Date header has a year of four digits (RFC 9110 §5.6.7), and hyper panics where it has more.
///
/// # Errors
/// [`UndatedAnswers`].
pub fn check_clock() -> Result<(), UndatedAnswers> {
    if SystemClock.now() < YEAR_10000 { Ok(()) } else { Err(UndatedAnswers) }
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
            // Its address stands for everybody, as below.
            Self::Peers if peer.to_canonical().is_loopback() && headers.contains_key(FORWARDED_FOR) => {
                static WARNING: Once = Once::new();
                WARNING.call_once(|| {
                    tracing::warn!(
                        "a request from this machine carries X-Forwarded-For: failed authentications of such requests are \
                         not limited, as all would be one proxy's; pass --trust-forwarded-for if a proxy is in front"
                    );
                });
                None
            }
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

impl Tally {
    fn count(&mut self) {
        self.count = self.count.saturating_add(1);
    }

    /// Resolves when it is to be said.
    async fn is_due(&self) {
        match self.said {
            _ if self.count == 0 => pending().await,
            None => {}
            Some(said) => sleep_until(said + SAID_EVERY).await,
        }
    }

    /// How often it has been since it was last said, which it is now.
    fn take(&mut self) -> u64 {
        self.said = Some(Instant::now());
        mem::take(&mut self.count)
    }
}

/// Tells it for as long as every thread comes round to what it is given.
async fn beat_while_alive(heartbeat: Heartbeat, threads: Vec<Handle>) {
    let mut beats = interval(heartbeat.every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let turns: Vec<_> = threads.iter().map(|thread| thread.spawn(async {})).collect();
        for turn in turns {
            if turn.await.is_err() {
                return;
            }
        }
        (heartbeat.beat)();
    }
}

/// The stream, to be used on another runtime.
fn prepared(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    check_clock().map_err(io::Error::other)?;
    // An answer is one small write: waiting to fill a packet would only delay it.
    let _best_effort = stream.set_nodelay(true);
    stream.into_std()
}

const YEAR_10000: UnixSeconds = UnixSeconds(253_402_300_800);
const FORWARDED_FOR: &str = "x-forwarded-for";
/// How long a thread may take to drop what was cut off.
const CUT_OFF_LIMIT: Duration = Duration::from_secs(2);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const SAID_EVERY: Duration = Duration::from_secs(10);

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

    #[test]
    fn a_peer_on_this_machine_that_speaks_for_another_is_nobody() {
        let mut headers = HeaderMap::new();
        for peer in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            let peer: IpAddr = peer.parse().expect("an address");
            headers.clear();
            assert_eq!(
                Sources::Peers.source(peer, &headers),
                Some(ClientSource::of(IpAddr::V4([127, 0, 0, 1].into())))
            );
            for value in ["198.51.100.1", "unknown", ""] {
                headers.insert(FORWARDED_FOR, value.parse().expect("a header value"));
                assert_eq!(Sources::Peers.source(peer, &headers), None, "{peer} {value}");
            }
        }
    }
}
