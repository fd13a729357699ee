//! One connection: answers its requests for as long as its peer does something, and not for ever.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, EXPECT, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};

use super::activity::{Noting, Told, Verdict, Watched};
use super::host;
use super::limits::Limits;
use super::places::Place;
use super::sources::Sources;
use crate::core::audit::AuditSink;
use crate::core::source::ClientSource;
use crate::http::request::MAX_BODY_BYTES;
use crate::http::response::{REQUEST_ID, Refusal};
use crate::http::routes::{HttpService, name_of_endpoint, realm_of_path, refused};
use crate::observe::request::{RequestContext, during};

/// Answers the requests of one connection, on the runtime that it is awaited on.
///
/// hyper knows no limit but one for heads. So the timer here looks at what the connection has noted, and whatever is too long ends it.
pub(super) async fn answer(
    stream: std::net::TcpStream,
    peer: SocketAddr,
    service: impl HttpService,
    audit: Arc<dyn AuditSink>,
    sources: Sources,
    limits: &Limits,
    place: Place,
) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    // The runtime learns what has come already when it next asks the system. Looked for before that, nothing would have.
    tokio::task::yield_now().await;
    let activity = place.activity();
    let answer = service_fn(move |mut request: Request<Incoming>| {
        let is_last = activity.request_begins(!request.body().is_end_stream(), limits);
        let refusal = unreadable(&request);
        let source = sources.source(peer.ip(), request.headers());
        if let Some(source) = source {
            request.extensions_mut().insert(source);
        }
        // A proxy that says nothing stands for its callers in the log, though it is counted as nobody.
        let context = RequestContext::begin(source.unwrap_or_else(|| ClientSource::of(peer.ip())));
        let id = HeaderValue::from_str(context.id()).ok();
        let request = request
            .map(|body| if body.is_end_stream() { Body::empty() } else { Body::new(Noting::new(body, activity)) });
        let is_readable = refusal.is_none();
        let is_held_back = request.headers().contains_key(EXPECT);
        let answer = match refusal {
            Some(refusal) => Err(during(context, {
                let path = request.uri().path();
                let (audit, endpoint, realm) = (Arc::clone(&audit), name_of_endpoint(path), realm_of_path(path));
                async move { refused(audit.as_ref(), endpoint, source, realm.as_ref(), refusal) }
            })),
            None => Ok(during(context, service.clone().call(request))),
        };
        async move {
            let mut answer = match answer {
                Ok(answer) => answer.await?,
                Err(refused) => refused.await,
            };
            // Of these the rest of the body may still be coming, for long.
            let is_cut_off = matches!(answer.status(), StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE);
            let ends = is_last || is_cut_off || !is_readable;
            let is_read = match activity.take_unread() {
                // Who waits for 100 Continue (RFC 9110 §10.1.1) is not asked for a body that nobody wants.
                Some(unread) if !ends && !is_held_back => is_read_away(unread).await,
                unread => unread.is_none(),
            };
            activity.is_answered();
            if let Some(id) = id {
                answer.headers_mut().insert(REQUEST_ID, id);
            }
            if ends || !is_read {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(HEAD_BUFFER_BYTES)
            .serve_connection(TokioIo::new(Watched { stream, activity }), answer)
    );
    let mut look = pin!(sleep_until((activity.born() + limits.shortest()).into()));
    loop {
        tokio::select! {
            biased;
            // A peer that goes away or sends no HTTP is its own affair.
            _peer_fault = connection.as_mut() => return,
            told = activity.is_told() => match told {
                Told::Finish => connection.as_mut().graceful_shutdown(),
                Told::End => return,
            },
            () = look.as_mut() => match activity.verdict(limits) {
                Verdict::GoesOn(next) => look.as_mut().reset(next.into()),
                Verdict::Finishes(next) => {
                    connection.as_mut().graceful_shutdown();
                    look.as_mut().reset(next.into());
                }
                Verdict::Ends => return,
            },
        }
    }
}

/// Reads the rest of a body that nobody needed for the answer, if it is here soon. Many clients send it in a packet of its own: hyper, which
/// looks only once, would close the connection under whoever sends the next request, and the answer would not have said so.
async fn is_read_away(unread: Incoming) -> bool {
    timeout(UNREAD_LIMIT, Limited::new(unread, MAX_BODY_BYTES).collect()).await.is_ok_and(|read| read.is_ok())
}

/// What hyper lets pass of what a proxy in front may read in another way. The connection ends with the refusal: what follows may be a part
/// of the same request.
fn unreadable(request: &Request<Incoming>) -> Option<Refusal> {
    if !host::is_named(request.version(), request.headers()) {
        return Some(Refusal::InvalidHost);
    }
    (!has_known_transfer_coding(request.headers())).then_some(Refusal::UnsupportedTransferCoding)
}

/// hyper undoes chunks, looks at no coding before them, and refuses what does not end in them. A body in another coding is none that this
/// server would read as its sender means it (RFC 9112 §6.1).
fn has_known_transfer_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

const HEAD_BUFFER_BYTES: usize = 32 * 1024;
/// How long the rest of a body may take that nobody needs.
const UNREAD_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use axum::Router;
    use axum::routing::get;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::embedded::server::places::{Peers, Places};
    use crate::observe::Observer;

    const REQUEST: &str = "GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n";

    /// Nothing ends before an hour has passed.
    fn patient() -> Limits {
        let hour = Duration::from_hours(1);
        Limits { head: hour, stall: hour, taken: hour, idle: hour, life: hour, last_answer: hour, ..Limits::default() }
    }

    /// A connection to a server with these limits, and whether its other end has gone.
    fn connect(limits: Limits) -> (TcpStream, JoinHandle<()>) {
        let place = Places::new(1).take(Peers::of([192, 0, 2, 1].into(), Sources::Peers)).expect("a place");
        connect_at(place, limits)
    }

    fn connect_at(place: Place, limits: Limits) -> (TcpStream, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (accepted, peer) = listener.accept().expect("a connection");
        accepted.set_nonblocking(true).expect("a socket option");
        let routes = Router::new()
            .route("/quick", get(async || "quick"))
            .route("/large", get(async || vec![b'a'; 128 << 20]))
            .route("/hangs", get(std::future::pending::<&str>));
        let audit = Arc::<Observer>::default();
        let end =
            tokio::spawn(async move { answer(accepted, peer, routes, audit, Sources::Peers, &limits, place).await });
        (stream, end)
    }

    fn ask(stream: &mut TcpStream, request: &str) -> String {
        stream.write_all(request.as_bytes()).expect("sent");
        let mut text = vec![0; 4096];
        let length = stream.read(&mut text).expect("an answer");
        String::from_utf8(text[..length].to_vec()).expect("text")
    }

    /// Asserts that it ends after about this time.
    async fn ends(end: JoinHandle<()>, after: Duration) {
        let began = Instant::now();
        tokio::time::timeout(after + Duration::from_secs(5), end).await.expect("it ends").expect("no panic");
        assert!(began.elapsed() + Duration::from_millis(50) >= after, "{:?}", began.elapsed());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_is_not_used_any_more_is_kept_for_a_while() {
        let idle = Duration::from_millis(300);
        let (mut stream, end) = connect(Limits { idle, ..patient() });
        for _ in 0..3 {
            tokio::time::sleep(idle / 2).await;
            assert!(ask(&mut stream, REQUEST).starts_with("HTTP/1.1 200"));
        }
        ends(end, idle).await;
        assert_eq!(stream.read(&mut [0]).expect("an orderly end"), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_whose_peer_reads_on_lives_and_one_whose_peer_stops_ends() {
        let stall = Duration::from_millis(300);
        let (mut stream, end) = connect(Limits { stall, ..patient() });
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
        for _ in 0..4 {
            tokio::time::sleep(stall * 2 / 3).await;
            // More than the kernel keeps for both ends.
            stream.read_exact(&mut vec![0; 12 << 20]).expect("it goes on");
        }
        ends(end, stall).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_whose_peer_reads_on_but_takes_an_answer_too_slowly_ends() {
        let taken = Duration::from_millis(600);
        let (mut stream, end) = connect(Limits { taken, ..patient() });
        // What the kernel takes at once is no matter of the peer's.
        for _ in 0..4 {
            assert!(ask(&mut stream, REQUEST).starts_with("HTTP/1.1 200"));
            tokio::time::sleep(taken / 3).await;
        }
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
        let began = Instant::now();
        while !end.is_finished() && began.elapsed() < taken * 5 {
            tokio::time::sleep(taken / 6).await;
            let _ended = stream.read(&mut vec![0; 1 << 20]);
        }
        ends(end, Duration::ZERO).await;
        assert!((taken..taken * 5).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_old_one_ends_with_its_next_answer_and_at_last_without() {
        let (life, last_answer) = (Duration::from_millis(300), Duration::from_millis(300));
        let limits = Limits { life, last_answer, ..patient() };
        let (mut stream, end) = connect(limits);
        assert!(!ask(&mut stream, REQUEST).contains("connection: close"));
        // Nobody asks: it is not needed any more.
        ends(end, life * 3 / 4).await;

        let (mut stream, end) = connect(limits);
        stream.write_all(b"GET /hangs HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
        ends(end, life + last_answer).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_came_when_there_was_no_room_is_answered_once_however_much_it_asks() {
        let place = Places::new(10).take(Peers::Loopback).expect("a place");
        place.activity().be_brief();
        let (mut stream, end) = connect_at(place, patient());
        stream.write_all(REQUEST.repeat(100).as_bytes()).expect("sent");
        ends(end, Duration::ZERO).await;
        let mut answers = Vec::new();
        // What was not read of its requests makes the end a reset.
        let _reset = stream.read_to_end(&mut answers);
        let answers = String::from_utf8(answers).expect("text");
        assert!(answers.matches("HTTP/1.1").count() <= 1, "{answers}");

        let place = Places::new(10).take(Peers::Loopback).expect("a place");
        place.activity().be_brief();
        let (mut stream, end) = connect_at(place, patient());
        let answer = ask(&mut stream, REQUEST);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close\r\n"), "{answer}");
        ends(end, Duration::ZERO).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_last_of_its_requests_says_so() {
        let (mut stream, end) = connect(Limits { requests: 3, ..patient() });
        for is_last in [false, false, true] {
            assert_eq!(ask(&mut stream, REQUEST).contains("connection: close\r\n"), is_last);
        }
        ends(end, Duration::ZERO).await;
    }
}
