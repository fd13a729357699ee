//! An authority of our own, and a server of HTTPS that behaves as a test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Signs certificates of servers.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a server sends, in this order, after it has read a request.
#[derive(Clone)]
pub(crate) enum Sent {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nothing for a while.
    Pause(Duration),
    /// The same bytes again and again, until nobody reads any more.
    Endless(Vec<u8>),
}

/// A server, which ends with the test.
pub(crate) struct HttpsServer {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heads: Arc<std::sync::Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        // A name of its own: of two authorities of one name either could have signed.
        params.distinguished_name.push(DnType::CommonName, format!("authority of {:?}", key.public_key_raw()));
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// What an operator registers.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// The settings of a server of these names.
    pub(crate) fn server(&self, names: &[&str]) -> ServerConfig {
        self.certified(
            &CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names"),
        )
    }

    /// The same with a certificate that was valid once.
    pub(crate) fn server_of_yesterday(&self, names: &[&str]) -> ServerConfig {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.certified(&params)
    }

    fn certified(&self, params: &CertificateParams) -> ServerConfig {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a pair")
    }
}

impl HttpsServer {
    /// Answers every request with what `answer` makes then.
    pub(crate) async fn start(config: ServerConfig, answer: impl Fn() -> Vec<Sent> + Send + Sync + 'static) -> Self {
        Self::start_by_path(config, move |_path| answer()).await
    }

    /// Answers every request with what `answer` makes of its path.
    pub(crate) async fn start_by_path(
        config: ServerConfig,
        answer: impl Fn(&str) -> Vec<Sent> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let heads = Arc::default();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (answer, counted, noted) = (Arc::new(answer), Arc::clone(&connections), Arc::clone(&heads));
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                counted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, answer, noted) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&noted));
                tokio::spawn(async move {
                    // Whoever refuses the certificate, or has enough, goes.
                    let _gone = converse(acceptor, stream, answer.as_ref(), &noted).await;
                });
            }
        });
        Self { address, connections, heads, task }
    }

    /// How often it was connected to.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// What it was asked, in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic").clone()
    }

    /// The URL of `path` at this server by the name `host`.
    pub(crate) fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.address.port())
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Status 200 with these headers and this body.
pub(crate) fn ok(headers: &str, body: &str) -> Vec<Sent> {
    let length = body.len();
    vec![Sent::Bytes(format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\n\r\n{body}").into())]
}

/// A set of keys with these headers besides its type.
pub(crate) fn json(headers: &str, body: &str) -> Vec<Sent> {
    ok(&format!("content-type: application/json\r\n{headers}"), body)
}

async fn converse(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    answer: &(impl Fn(&str) -> Vec<Sent> + Send + Sync),
    heads: &std::sync::Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    heads.lock().expect("no panic").push(head);
    for sent in answer(&path) {
        match sent {
            Sent::Bytes(bytes) => stream.write_all(&bytes).await?,
            Sent::Pause(pause) => {
                stream.flush().await?;
                tokio::time::sleep(pause).await;
            }
            Sent::Endless(bytes) => loop {
                stream.write_all(&bytes).await?;
            },
        }
        stream.flush().await?;
    }
    stream.shutdown().await
}
