//! Connections: how many there are, from whom, and that no peer holds one for ever, whatever it does or leaves undone.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::cli::{Registered, Store};
use crate::support::http::{Connection, Request};
use crate::support::poll;
use crate::support::server::{Server, Start};
use crate::support::shared::{ALPHA, shared};

const CLIENT: [&str; 4] = ["--scope", "a", "--default-scope", "a"];
const DOCUMENT: &str = "/oauth2/.well-known/oauth-authorization-server";
/// What a connection is given to do something, and what a busy machine may add.
const ENDS_WITHIN: Duration = Duration::from_secs(25);

/// A server that may have `descriptors` and a client of it.
fn server_with(descriptors: usize) -> (Store, Registered, Server) {
    let store = Store::new();
    let client = store.register("root", "one-of-many", &CLIENT);
    let server = Start::on(&store.argument()).after(&format!("ulimit -n {descriptors}")).spawn();
    (store, client, server)
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("the kernel accepts");
    stream.set_nonblocking(true).expect("a socket option");
    stream
}

/// Whether the server has closed it.
fn is_closed(mut stream: &TcpStream) -> bool {
    loop {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// A peer that sends requests, one after the other, and reads no answer.
struct NeverReads {
    stream: TcpStream,
    sent: usize,
}

impl NeverReads {
    fn new(server: &Server) -> Self {
        Self { stream: connect(server), sent: 0 }
    }

    /// Has sent requests until the server took no more for a second.
    fn connect(server: &Server) -> Self {
        let mut peer = Self::new(server);
        let mut taken = Instant::now();
        while taken.elapsed() < Duration::from_secs(1) {
            match peer.ask() {
                Ok(0) => thread::sleep(Duration::from_millis(20)),
                Ok(_) => taken = Instant::now(),
                Err(error) => panic!("the server ended it at once: {error}"),
            }
        }
        peer
    }

    /// Sends on, as far as the server takes it now; how many bytes.
    fn ask(&mut self) -> io::Result<usize> {
        let request = format!("GET {DOCUMENT} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let rest = self.sent % request.len();
        match self.stream.write(&request.repeat(100).as_bytes()[rest..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            outcome => outcome.inspect(|sent| self.sent += sent),
        }
    }
}

/// A number in the line that the server writes when it starts.
fn at_start(server: &Server, name: &str) -> usize {
    let line = poll("the line at start", Duration::from_secs(5), || {
        server.stderr().lines().find(|line| line.contains(&format!("{name}="))).map(str::to_owned)
    });
    let (_, value) = line.split_once(&format!("{name}=")).expect("found above");
    value.split(' ').next().and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}: {line}"))
}

#[test]
#[cfg(target_os = "linux")]
fn it_serves_with_256_descriptors_however_many_connect_and_leaves_a_tenth_to_others() {
    let (_store, client, mut server) = server_with(256);
    assert_eq!(at_start(&server, "descriptors"), 256);
    let most = at_start(&server, "connections");
    assert!((64..256).contains(&most), "{most}");

    let connections: Vec<TcpStream> = (0..600).map(|_| connect(&server)).collect();
    let open = || connections.iter().filter(|stream| !is_closed(stream)).count();
    // Loopback has nine tenths, and who has no place is not kept waiting for one.
    poll("what is too much is closed at once", Duration::from_secs(5), || {
        (open() == most - most.div_ceil(10)).then_some(())
    });
    assert!(server.descriptors() < 256, "{}", server.descriptors());
    for _ in 0..20 {
        server.token(&client, "a");
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let (_, log) = server.into_output();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("connections were closed")).collect();
    assert!((1..=3).contains(&told.len()), "said, and not for each of them: {told:#?}");
    assert!(!log.contains("could not be accepted"), "{log}");
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let store = Store::new();
    let server = Start::on(&store.argument()).after("ulimit -S -n 100 && ulimit -H -n 600").spawn();
    assert_eq!(at_start(&server, "descriptors"), 600);
}

#[test]
fn a_limit_that_leaves_no_room_for_connections_is_refused() {
    let store = Store::new();
    let refused = Start::on(&store.argument()).after("ulimit -n 64").expect_refusal();
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.lines().count() == 1, "{stderr}");
    for part in ["64 file descriptors", "ulimit -n", "LimitNOFILE="] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert!(!store.directory().exists(), "and nothing was touched");
}

#[test]
fn those_who_never_read_or_stop_half_way_shut_nobody_out_and_lose_their_connections() {
    let (_store, client, server) = server_with(128);
    let most = at_start(&server, "connections");
    let form = Request::form("/oauth2/access_token", "grant_type=client_credentials").by(&client).to_bytes(&server);
    let (head, body) = (&form[..40], &form[..form.len() - 1]);
    // As many as loopback may have, all of them in the middle of something.
    let (third, rest) = ((most - most.div_ceil(10)) / 3, (most - most.div_ceil(10)) % 3);
    let mut never_read: Vec<NeverReads> = thread::scope(|scope| {
        let several: Vec<_> = (0..third + rest).map(|_| scope.spawn(|| NeverReads::connect(&server))).collect();
        several.into_iter().map(|each| each.join().expect("no panic")).collect()
    });
    let stop_at = |part: &[u8]| {
        let mut stream = connect(&server);
        stream.write_all(part).expect("sent");
        stream
    };
    let mut stopped: Vec<TcpStream> = (0..third).flat_map(|_| [stop_at(head), stop_at(body)]).collect();
    thread::sleep(Duration::from_secs(1));
    let asked = Instant::now();
    server.token(&client, "a");
    // Before the limit of 10 s would have ended them by itself.
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    poll("the server ends them", ENDS_WITHIN, || {
        // To read would be to let it go on. A server that is slow may take more after a second of nothing.
        never_read.retain_mut(|peer| peer.ask().is_ok());
        stopped.retain(|stream| !is_closed(stream));
        (never_read.is_empty() && stopped.is_empty()).then_some(())
    });
    server.token(&client, "a");
}

/// More of them than may connect, so that some of them always stand at the door.
#[test]
fn those_who_never_read_and_come_back_at_once_shut_nobody_out() {
    let (_store, _client, server) = server_with(200);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut peers: Vec<NeverReads> = (0..180).map(|_| NeverReads::new(&server)).collect();
            while !is_over.load(Ordering::Relaxed) {
                for peer in &mut peers {
                    if peer.ask().is_err() {
                        *peer = NeverReads::new(&server);
                    }
                }
            }
        });
        thread::sleep(Duration::from_secs(1));
        let unanswered: Vec<_> = (0..40).filter_map(|_| is_answered(&server, Duration::from_secs(10)).err()).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(unanswered.is_empty(), "{} of 40: {:?}", unanswered.len(), unanswered[0]);
    });
}

/// Whether somebody who comes anew gets an answer in time.
fn is_answered(server: &Server, within: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(within))?;
    stream.write_all(format!("GET {DOCUMENT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    assert_eq!(&status, b"HTTP/1.1 200");
    Ok(())
}

#[test]
fn a_head_that_stops_half_way_and_one_that_never_begins_end() {
    let server = &shared().server;
    let mut half = connect(server);
    half.write_all(format!("GET {DOCUMENT} HTTP/1.1\r\nHost:").as_bytes()).expect("sent");
    let nothing = connect(server);
    // After an answer a connection is kept for longer, but not with half a head.
    let mut later = connect(server);
    later.write_all(format!("GET {DOCUMENT} HTTP/1.1\r\nHost: x\r\n\r\nGET ").as_bytes()).expect("sent");
    let mut kept = Connection::open(server);
    kept.send(format!("GET {DOCUMENT} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    assert_eq!(kept.answer(true).status, 200);
    let mut trickling = connect(server);
    let mut drops =
        b"POST /oauth2/access_token HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".chunks(1);
    poll("they end", ENDS_WITHIN, || {
        if let Some(drop) = drops.next() {
            let _either_way = trickling.write(drop);
            thread::sleep(Duration::from_millis(250));
        }
        [&half, &nothing, &trickling].into_iter().all(is_closed).then_some(())
    });
    kept.send(format!("GET {DOCUMENT} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    assert_eq!(kept.answer(true).status, 200);
}

#[test]
fn a_body_that_stops_half_way_is_408_and_the_end_of_its_connection() {
    let server = &shared().server;
    let request = Request::form(&format!("{ALPHA}/access_token"), "grant_type=client_credentials").by(&shared().app);
    let wire = String::from_utf8(request.to_bytes(server)).expect("text").replace("Connection: close\r\n", "");
    let mut connection = Connection::open(server);
    connection.send(&wire.as_bytes()[..wire.len() - 5]);
    let answer = connection.answer(true);
    answer.assert_refused(408, "invalid_request");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(connection.is_at_its_end());
}

#[test]
fn what_is_answered_without_its_body_keeps_its_connection_or_says_that_it_ends() {
    let server = &shared().server;
    let (token, form) = (format!("{ALPHA}/access_token"), "grant_type=client_credentials");
    let on_one_connection = |request: &Request| {
        let wire = String::from_utf8(request.to_bytes(server)).expect("text").replace("Connection: close\r\n", "");
        let (head, body) = wire.split_once("\r\n\r\n").expect("a head");
        let mut connection = Connection::open(server);
        connection.send(format!("{head}\r\n\r\n").as_bytes());
        (connection, body.to_owned())
    };
    let next = format!("GET {DOCUMENT} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let refused = [
        (400, Request::form(&format!("{token}?realm=/beta"), form)),
        (400, Request::form(&format!("{token}?client_id=a"), form)),
        (400, Request::new("POST", &token).header("Content-Type", "text/plain").body(form)),
        (404, Request::form("/nowhere", form)),
        (405, Request::new("PUT", &token).body(form)),
        (415, Request::form(&token, form).header("Content-Encoding", "gzip")),
    ];
    for (status, request) in &refused {
        // Many clients send head and body apart.
        let (mut connection, body) = on_one_connection(request);
        thread::sleep(Duration::from_millis(100));
        connection.send(body.as_bytes());
        let answer = connection.answer(true);
        assert_eq!((answer.status, answer.header("connection")), (*status, None), "{answer:?}");
        connection.send(next.as_bytes());
        assert_eq!(connection.answer(true).status, 200, "after {status}");

        // A body that does not come is not waited for.
        let (mut connection, _never_sent) = on_one_connection(request);
        let answer = connection.answer(true);
        assert_eq!((answer.status, answer.header("connection")), (*status, Some("close")), "{answer:?}");
        assert!(connection.is_at_its_end());
    }
    // Nor is one that its sender holds back asked for.
    let (_, request) = refused.into_iter().next().expect("one of them");
    let (mut connection, _held_back) = on_one_connection(&request.header("Expect", "100-continue"));
    assert_eq!(connection.interim(), 400);
}

#[test]
fn a_connection_has_a_most_of_requests_and_says_which_is_the_last() {
    let server = &shared().server;
    let mut connection = Connection::open(server);
    let requests = format!("GET {DOCUMENT} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut answered = 0;
    'asking: while answered < 20_000 {
        connection.send(requests.repeat(50).as_bytes());
        for _ in 0..50 {
            let answer = connection.answer(true);
            assert_eq!(answer.status, 200);
            answered += 1;
            if answer.header("connection") == Some("close") {
                break 'asking;
            }
        }
    }
    assert_eq!(answered, 10_000);
    assert!(connection.is_at_its_end());
}

#[test]
fn no_peer_keeps_a_server_from_stopping() {
    for signal in ["TERM", "HUP"] {
        let store = Store::new();
        let client = store.register("root", "holding", &CLIENT);
        let mut server = Start::on(&store.argument()).spawn();
        let _idle = connect(&server);
        let mut half = connect(&server);
        half.write_all(b"POST /oauth2/access").expect("sent");
        let mut slow = Connection::open(&server);
        let form = Request::form("/oauth2/access_token", "grant_type=client_credentials").by(&client);
        let wire = form.header("Expect", "100-continue").to_bytes(&server);
        slow.send(&wire[..wire.len() - 20]);
        assert_eq!(slow.interim(), 100);
        let _never_reading = NeverReads::connect(&server);
        server.signal(signal);
        let told = Instant::now();
        assert_eq!(server.wait().code(), Some(0), "SIG{signal}");
        assert!(told.elapsed() < Duration::from_secs(25), "SIG{signal}: {:?}", told.elapsed());
        let (_, log) = server.into_output();
        assert!(log.contains("stopped"), "{log}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn without_a_descriptor_for_another_connection_it_says_so_and_goes_on_when_there_is_one() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    let store = Store::new();
    let client = store.register("root", "waiting", &CLIENT);
    let mut server = Start::on(&store.argument()).spawn();
    server.token(&client, "a");
    let process = Pid::from_raw(server.id().try_into().expect("an id"));
    let allow = |most: usize| {
        let most = Some(most as u64);
        prlimit(process, Resource::Nofile, Rlimit { current: most, maximum: Some(4096) }).expect("ours")
    };
    let before = allow(server.descriptors());
    let waiting: Vec<TcpStream> = (0..5).map(|_| connect(&server)).collect();
    poll("it says so", Duration::from_secs(5), || server.stderr().contains("could not be accepted").then_some(()));
    thread::sleep(Duration::from_secs(2));
    let lines = server.stderr().lines().filter(|line| line.contains("could not be accepted")).count();
    assert!(lines <= 2, "{lines} lines in two seconds");
    assert!(before.current.is_some_and(|limit| limit > 200), "{before:?}");
    allow(1024);
    server.token(&client, "a");
    drop(waiting);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_signal_that_whoever_started_it_ignores_stops_nothing() {
    let store = Store::new();
    let client = store.register("root", "nohup", &CLIENT);
    // As nohup does.
    let server = Start::on(&store.argument()).after("trap '' HUP").spawn();
    server.signal("HUP");
    thread::sleep(Duration::from_millis(300));
    server.token(&client, "a");
}
