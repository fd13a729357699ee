//! Fetching from the servers of other people: what is not taken, and whom nobody is led to.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use grantwell::remote::fetcher::{FetchError, Fetched, Fetcher, Resolve, Source};

use crate::support::https::{Authority, HttpsServer, Sent, json, ok};

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_fetched_with_a_name_of_ours_and_nothing_that_inflates() {
    let site = Site::start(|| json("cache-control: max-age=3600\r\n", KEYS)).await;
    let fetched = site.fetch().await.expect("a document");
    assert_eq!(fetched, Fetched { text: KEYS.into(), believed_for: Duration::from_hours(1) });
    let [head] = &site.server.heads()[..] else { panic!("one request") };
    assert!(head.starts_with("get /keys?a=b http/1.1\r\n"), "{head}");
    for line in [
        "user-agent: grantwell/",
        "accept: application/jwk-set+json, application/json\r\n",
        "accept-encoding: identity\r\n",
        &format!("host: keys.example:{}\r\n", site.server.address.port()),
    ] {
        assert!(head.contains(&format!("\r\n{line}")), "{line}: {head}");
    }
    for absent in ["authorization", "cookie", "referer"] {
        assert!(!head.contains(absent), "{absent}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn j_42_only_an_answer_of_status_200_with_json_is_taken() {
    let type_is = |media_type: &str| ok(&format!("content-type: {media_type}\r\n"), KEYS);
    for media_type in [
        "application/json",
        "application/jwk-set+json",
        "Application/JSON; charset=utf-8",
        "application/jwk-set+json;charset=utf-8",
    ] {
        assert_eq!(
            Site::answer(type_is(media_type)).await.map(|fetched| fetched.text),
            Ok(KEYS.into()),
            "{media_type}"
        );
    }
    let status = |line: &str| {
        bytes(&format!("HTTP/1.1 {line}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"))
    };
    let moved = |line: &str| {
        bytes(&format!("HTTP/1.1 {line}\r\nlocation: https://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"))
    };
    for (answer, refused) in [
        (type_is("text/html"), FetchError::MediaType),
        (type_is("text/plain"), FetchError::MediaType),
        (type_is("application/jsonp"), FetchError::MediaType),
        (type_is("application/octet-stream"), FetchError::MediaType),
        (type_is("application/jwt"), FetchError::MediaType),
        (type_is("application/json\r\ncontent-type: text/html"), FetchError::MediaType),
        (ok("", KEYS), FetchError::MediaType),
        (json("content-encoding: gzip\r\n", KEYS), FetchError::Encoded),
        (json("content-encoding: br\r\n", KEYS), FetchError::Encoded),
        (json("content-encoding: identity\r\ncontent-encoding: gzip\r\n", KEYS), FetchError::Encoded),
        (status("201 Created"), FetchError::Status(201)),
        (status("206 Partial Content"), FetchError::Status(206)),
        (status("404 Not Found"), FetchError::Status(404)),
        (status("500 Internal Server Error"), FetchError::Status(500)),
        (moved("301 Moved Permanently"), FetchError::Redirect(301)),
        (moved("302 Found"), FetchError::Redirect(302)),
        (moved("307 Temporary Redirect"), FetchError::Redirect(307)),
        (moved("308 Permanent Redirect"), FetchError::Redirect(308)),
        (bytes("SSH-2.0-OpenSSH_9.9\r\n"), FetchError::Broken),
        (bytes(""), FetchError::Broken),
        (
            bytes("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"),
            FetchError::Broken,
        ),
        (
            vec![Sent::Bytes(
                [&b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n"[..], &[0xff, 0xfe]]
                    .concat(),
            )],
            FetchError::NotText,
        ),
    ] {
        assert_eq!(Site::answer(answer).await, Err(refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn j_42_what_is_larger_than_64_kib_is_not_read() {
    let longest = format!("\"{}\"", "a".repeat(64 * 1024 - 2));
    let fetched = Site::answer(json("", &longest)).await.map(|fetched| fetched.text);
    assert_eq!(fetched, Ok(longest.clone()));

    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    for answer in [
        json("", &format!("{longest} ")),
        json("", &"a".repeat(5_000_000)),
        vec![
            Sent::Bytes(format!("{head}transfer-encoding: chunked\r\n\r\n").into()),
            Sent::Endless(b"4\r\naaaa\r\n".into()),
        ],
        vec![Sent::Bytes(format!("{head}\r\n").into()), Sent::Endless(vec![b'a'; 4096])],
    ] {
        assert_eq!(Site::answer(answer).await, Err(FetchError::TooLarge));
    }
    // A head without an end is none.
    let endless =
        vec![Sent::Bytes(b"HTTP/1.1 200 OK\r\n".into()), Sent::Endless(b"a: aaaaaaaaaaaaaaaaaaaaaaaaa\r\n".into())];
    assert_eq!(Site::answer(endless).await, Err(FetchError::Broken));
}

#[tokio::test(flavor = "multi_thread")]
async fn j_42_who_is_slow_costs_two_seconds() {
    let drops = |head: &str, rest: &str| {
        let drop = |byte: u8| [Sent::Pause(Duration::from_millis(400)), Sent::Bytes(vec![byte])];
        let head = [Sent::Bytes(head.into())];
        head.into_iter().chain(rest.bytes().flat_map(drop)).collect::<Vec<_>>()
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n";
    for answer in [
        vec![Sent::Pause(Duration::from_secs(20))],
        drops("HTTP/1.1 200 OK\r\n", "content-type: application/json"),
        drops(&format!("{head}\r\n"), "{\"keys\":[          ]}"),
    ] {
        let begun = Instant::now();
        assert_eq!(Site::answer(answer).await, Err(FetchError::TimedOut));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    // Nor does a name that takes its time, or one that leads to nobody who answers.
    let site = Site::start(|| json("", KEYS)).await;
    let slow = Fetcher::resolving_by(Arc::new(Names::default().slow()));
    assert_eq!(site.fetch_by(&slow, "keys.example", true).await, Err(FetchError::TimedOut));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_shows_a_certificate_of_its_name_by_an_authority_that_is_trusted() {
    let authority = Authority::new();
    for (config, pem, said) in [
        (authority.server(&["keys.example"]), Authority::new().pem(), "UnknownIssuer"),
        (authority.server(&["other.example"]), authority.pem(), "not valid for name"),
        (authority.server(&["*.keys.example"]), authority.pem(), "not valid for name"),
        (authority.server_of_yesterday(&["keys.example"]), authority.pem(), "expired"),
    ] {
        let server = HttpsServer::start(config, || json("", KEYS)).await;
        let site = Site { server, authorities: Some(pem) };
        let refused = site.fetch().await;
        assert!(matches!(&refused, Err(FetchError::Tls(why)) if why.contains(said)), "{said}: {refused:?}");
        assert_eq!(site.server.heads(), Vec::<String>::new());
    }
    // The system trusts no authority of a test, and a registered one is trusted beside no other.
    let site = Site { authorities: None, ..Site::start(|| json("", KEYS)).await };
    let refused = site.fetch().await;
    assert!(matches!(refused, Err(FetchError::Tls(_) | FetchError::NoAuthorities)), "{refused:?}");
    for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let site = Site { authorities: Some(pem.into()), ..Site::start(|| json("", KEYS)).await };
        assert_eq!(site.fetch().await, Err(FetchError::UnreadableAuthority), "{pem}");
        assert_eq!(site.server.connections(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn j_42_a_name_is_judged_by_the_address_that_is_connected_to() {
    let site = Site::start(|| json("", KEYS)).await;
    for (addresses, refused) in [
        (&["127.0.0.1"][..], FetchError::NotPublic(ip("127.0.0.1"))),
        (&["::1"], FetchError::NotPublic(ip("::1"))),
        (&["10.0.0.7", "192.168.1.1"], FetchError::NotPublic(ip("10.0.0.7"))),
        (&["::ffff:127.0.0.1"], FetchError::NotPublic(ip("::ffff:127.0.0.1"))),
        (&["64:ff9b::7f00:1"], FetchError::NotPublic(ip("64:ff9b::7f00:1"))),
        (&["fd12::1"], FetchError::NotPublic(ip("fd12::1"))),
        (&["100.64.0.1"], FetchError::NotPublic(ip("100.64.0.1"))),
        (&["169.254.169.254"], FetchError::Never(ip("169.254.169.254"))),
        (&["fd00:ec2::254"], FetchError::Never(ip("fd00:ec2::254"))),
        (&["0.0.0.0"], FetchError::Never(ip("0.0.0.0"))),
        (&["::"], FetchError::Never(ip("::"))),
        (&[], FetchError::Unresolved),
    ] {
        let names = Arc::new(Names::default().with("keys.example", addresses));
        let refusal = site.fetch_by(&Fetcher::resolving_by(names), "keys.example", false).await;
        assert_eq!(refusal, Err(refused), "{addresses:?}");
    }
    // Private networks that an operator has opened do not open what is nobody's.
    for address in ["169.254.169.254", "fd00:ec2::254", "0.0.0.0", "::", "224.0.0.1", "::ffff:169.254.169.254"] {
        let names = Arc::new(Names::default().with("keys.example", &[address]));
        let refusal = site.fetch_by(&Fetcher::resolving_by(names), "keys.example", true).await;
        assert_eq!(refusal, Err(FetchError::Never(ip(address))));
    }
    // Of several addresses those that are allowed are tried. Here only that of the server would answer.
    let names = Arc::new(Names::default().with("keys.example", &["169.254.169.254", "127.0.0.1"]));
    let fetched = site.fetch_by(&Fetcher::resolving_by(names), "keys.example", true).await;
    assert_eq!(fetched.map(|fetched| fetched.text), Ok(KEYS.into()));
    assert_eq!(site.server.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_looked_up_once_so_that_it_cannot_mean_two_things() {
    let site = Site::start(|| json("", KEYS)).await;
    let names = Arc::new(Names::default().with("keys.example", &["127.0.0.1"]));
    let fetcher = Fetcher::resolving_by(Arc::clone(&names) as _);
    site.fetch_by(&fetcher, "keys.example", true).await.expect("a document");
    assert_eq!(names.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_the_url_is_judged_too() {
    let site = Site::start(|| json("", KEYS)).await;
    for (host, address) in [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f.0.0.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
        ("[64:ff9b::127.0.0.1]", "64:ff9b::7f00:1"),
        ("10.0.0.1", "10.0.0.1"),
    ] {
        let refusal = site.fetch_by(&Fetcher::default(), host, false).await;
        assert_eq!(refusal, Err(FetchError::NotPublic(ip(address))), "{host}");
    }
    for host in ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "[::]", "0", "[::ffff:a9fe:a9fe]", "255.255.255.255"]
    {
        for allow_private_network in [false, true] {
            let refusal = site.fetch_by(&Fetcher::default(), host, allow_private_network).await;
            assert!(matches!(refusal, Err(FetchError::Never(_))), "{host}: {refusal:?}");
        }
    }
    assert_eq!(site.server.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_takes_no_more_than_its_places() {
    let site = Arc::new(Site::start(|| vec![Sent::Pause(Duration::from_secs(20))]).await);
    let fetcher = Arc::new(Fetcher::resolving_by(Arc::new(Names::default().with("keys.example", &["127.0.0.1"]))));
    let fetches: Vec<_> = (0..40)
        .map(|_| {
            let (site, fetcher) = (Arc::clone(&site), Arc::clone(&fetcher));
            tokio::spawn(async move { site.fetch_by(&fetcher, "keys.example", true).await })
        })
        .collect();
    let mut busy = 0;
    for fetch in fetches {
        busy += usize::from(fetch.await.expect("no panic") == Err(FetchError::Busy));
    }
    assert_eq!(busy, 40 - 16);
    assert!(site.server.connections() <= 16);
}

/// A server that names lead to.
struct Site {
    server: HttpsServer,
    authorities: Option<String>,
}

impl Site {
    async fn start(answer: impl Fn() -> Vec<Sent> + Send + Sync + 'static) -> Self {
        let authority = Authority::new();
        let config = authority.server(&["keys.example", "127.0.0.1"]);
        Self { server: HttpsServer::start(config, answer).await, authorities: Some(authority.pem()) }
    }

    /// What is made of one answer.
    async fn answer(answer: Vec<Sent>) -> Result<Fetched, FetchError> {
        Self::start(move || answer.clone()).await.fetch().await
    }

    async fn fetch(&self) -> Result<Fetched, FetchError> {
        let names = Arc::new(Names::default().with("keys.example", &["127.0.0.1"]));
        self.fetch_by(&Fetcher::resolving_by(names), "keys.example", true).await
    }

    async fn fetch_by(
        &self,
        fetcher: &Fetcher,
        host: &str,
        allow_private_network: bool,
    ) -> Result<Fetched, FetchError> {
        let url = self.server.url(host, "/keys?a=b").parse().expect("a URL");
        let source = Source { url: &url, allow_private_network, authorities: self.authorities.as_deref() };
        fetcher.fetch(&source, SystemTime::UNIX_EPOCH).await
    }
}

/// What names mean here.
#[derive(Default)]
struct Names {
    addresses: HashMap<String, Vec<IpAddr>>,
    asked: AtomicUsize,
    is_slow: bool,
}

impl Names {
    fn with(mut self, name: &str, addresses: &[&str]) -> Self {
        self.addresses.insert(name.to_owned(), addresses.iter().map(|address| ip(address)).collect());
        self
    }

    fn slow(self) -> Self {
        Self { is_slow: true, ..self }
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_slow {
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        self.addresses.get(host).cloned().ok_or_else(|| io::Error::other("nobody has this name"))
    }
}

fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

fn bytes(text: &str) -> Vec<Sent> {
    vec![Sent::Bytes(text.into())]
}

const KEYS: &str = r#"{"keys":[]}"#;
