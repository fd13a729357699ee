//! One document from the server of somebody else.
//!
//! Its owner may be an attacker, or the server may be ill. Neither costs more than two seconds, 64 KiB and one of a few
//! places, and nobody is led anywhere else: no redirect is followed and no proxy asked, which would connect in our place to
//! addresses that nobody has judged.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use std::vec;

use async_trait::async_trait;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Collected, Empty, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::Service;
use url::{Host, Url};

use super::address::Reach;
use super::freshness::believed_for;

/// Fetches documents. Makes nothing before the first one: most processes fetch none.
pub struct Fetcher {
    resolver: Arc<dyn Resolve>,
    system: OnceLock<Arc<ClientConfig>>,
    places: Semaphore,
}

/// Where a document is, and what may be done to get it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its address, of scheme `https`.
    pub url: &'a Url,
    /// Whether it may be on a private network.
    pub allow_private_network: bool,
    /// The certificate authorities that its server is trusted by, as PEM; those of the system where there are none.
    pub authorities: Option<&'a str>,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What it says.
    pub text: String,
    /// For how long that is believed.
    pub believed_for: Duration,
}

/// Finds the addresses of a name.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// All of them.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's.
pub struct SystemResolver;

/// Why there is no document. Says nothing of what the server sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Its address is not one of scheme `https` with a host.
    #[error("the address is not an https URL")]
    NotHttps,
    /// Nobody has its name.
    #[error("the name of the server cannot be resolved")]
    Unresolved,
    /// Nobody may be connected to there.
    #[error("the server is at {0}, which is not a public address; nothing was sent")]
    NotPublic(IpAddr),
    /// Nobody may be connected to there, though private networks are allowed.
    #[error("the server is at {0}, where no keys are fetched from; nothing was sent")]
    Never(IpAddr),
    /// Nobody answers there.
    #[error("no connection")]
    NoConnection,
    /// Whoever answers is not trusted, or does not know TLS.
    #[error("TLS: {0}")]
    Tls(String),
    /// The system trusts nobody.
    #[error("the system has no certificate authorities to trust")]
    NoAuthorities,
    /// What the operator registered cannot be used.
    #[error("the registered certificate authority cannot be read")]
    UnreadableAuthority,
    /// Too slow.
    #[error("no complete answer within two seconds")]
    TimedOut,
    /// Not HTTP, or cut off.
    #[error("the answer is not HTTP, or was cut off")]
    Broken,
    /// Not 200.
    #[error("the answer has status {0}")]
    Status(u16),
    /// To be looked for somewhere else.
    #[error("the answer has status {0}, and redirects are not followed")]
    Redirect(u16),
    /// Not JSON.
    #[error("the answer's Content-Type is neither application/json nor application/jwk-set+json")]
    MediaType,
    /// To be inflated.
    #[error("the answer has a Content-Encoding")]
    Encoded,
    /// Larger than anything that is expected.
    #[error("the answer is larger than 64 KiB")]
    TooLarge,
    /// Not text.
    #[error("the answer is not UTF-8")]
    NotText,
    /// Others are being fetched.
    #[error("too much is being fetched at once")]
    Busy,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self::resolving_by(Arc::new(SystemResolver))
    }
}

impl Fetcher {
    /// Finds the addresses of names by `resolver`.
    pub fn resolving_by(resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, system: OnceLock::new(), places: Semaphore::new(AT_ONCE) }
    }

    /// Fetches what is at `source` at the time `now`.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(&self, source: &Source<'_>, now: SystemTime) -> Result<Fetched, FetchError> {
        let _place = self.places.try_acquire().map_err(|_full| FetchError::Busy)?;
        let tls = self.tls(source.authorities).await?;
        let fetching = self.fetch_over(tls, source, now);
        timeout(IN_ALL, fetching).await.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn fetch_over(
        &self,
        tls: Arc<ClientConfig>,
        source: &Source<'_>,
        now: SystemTime,
    ) -> Result<Fetched, FetchError> {
        let request = request_to(source)?;
        // A request that is compared with its answer's headers later.
        let asked = request.clone();
        let answer = self.client(tls, source).request(request).await.map_err(|error| FetchError::of(&error))?;
        require_json(&answer)?;
        let believed_for = believed_for(&asked, &answer, now);
        let text = String::from_utf8(body_of(answer).await?.into()).map_err(|_| FetchError::NotText)?;
        Ok(Fetched { text, believed_for })
    }

    fn client(
        &self,
        tls: Arc<ClientConfig>,
        source: &Source<'_>,
    ) -> Client<HttpsConnector<HttpConnector<GuardedResolver>>, Empty<Bytes>> {
        let guarded = GuardedResolver {
            resolver: Arc::clone(&self.resolver),
            allow_private_network: source.allow_private_network,
        };
        let mut connector = HttpConnector::new_with_resolver(guarded);
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(TO_CONNECT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(Arc::unwrap_or_clone(tls))
            .https_only()
            .enable_http1()
            .wrap_connector(connector);
        // A connection each: the next document of the same server is minutes away.
        Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .http1_max_buf_size(HEAD_LIMIT)
            .http1_max_headers(64)
            .build(connector)
    }

    /// Whom to trust. Reading the system's store takes longer than all the rest, and is done once.
    async fn tls(&self, authorities: Option<&str>) -> Result<Arc<ClientConfig>, FetchError> {
        if let Some(pem) = authorities {
            return Ok(Arc::new(trusting(certificates(pem)?).ok_or(FetchError::UnreadableAuthority)?));
        }
        if let Some(config) = self.system.get() {
            return Ok(Arc::clone(config));
        }
        let read = || trusting(rustls_native_certs::load_native_certs().certs);
        let config = tokio::task::spawn_blocking(read).await.ok().flatten().ok_or(FetchError::NoAuthorities)?;
        Ok(Arc::clone(self.system.get_or_init(|| Arc::new(config))))
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Gives out the addresses of a name that may be connected to, and no others. What it gives out is what is connected to.
#[derive(Clone)]
struct GuardedResolver {
    resolver: Arc<dyn Resolve>,
    allow_private_network: bool,
}

impl Service<Name> for GuardedResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, FetchError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), FetchError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { resolver, allow_private_network } = self.clone();
        Box::pin(async move {
            let found = resolver.resolve(name.as_str()).await.map_err(|_| FetchError::Unresolved)?;
            let allowed = allowed(&found, allow_private_network)?;
            let sockets: Vec<SocketAddr> = allowed.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(sockets.into_iter())
        })
    }
}

impl FetchError {
    /// Whether the server has said that nothing is there, and not that it should be asked again.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Status(400..=499)) && !matches!(self, Self::Status(408 | 425 | 429))
    }

    /// What an error of the HTTP client says, by the first of its causes that is known.
    fn of(error: &(dyn Error + 'static)) -> Self {
        let mut has_no_connection = false;
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<Self>() {
                return error.clone();
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                if let Some(error) = tls_error_in(error) {
                    return Self::Tls(printable(&error.to_string()));
                }
                has_no_connection = true;
            }
            next = error.source();
        }
        if has_no_connection { Self::NoConnection } else { Self::Broken }
    }
}

/// What is inside of an error of I/O is none of its sources.
fn tls_error_in(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| tls_error_in(inner.downcast_ref()?))
}

/// Those of `found` that may be connected to.
fn allowed(found: &[IpAddr], allow_private_network: bool) -> Result<Vec<IpAddr>, FetchError> {
    let is_allowed = |address: &IpAddr| Reach::of(*address).is_allowed(allow_private_network);
    let allowed: Vec<IpAddr> = found.iter().copied().filter(is_allowed).take(ADDRESSES_TRIED).collect();
    match found.first() {
        _ if !allowed.is_empty() => Ok(allowed),
        Some(address) if allow_private_network || Reach::of(*address) == Reach::Never => {
            Err(FetchError::Never(*address))
        }
        Some(address) => Err(FetchError::NotPublic(*address)),
        None => Err(FetchError::Unresolved),
    }
}

fn request_to(source: &Source<'_>) -> Result<Request<Empty<Bytes>>, FetchError> {
    // An address in the URL itself is never resolved, and would pass by whoever judges the answers.
    let literal = match source.url.host().ok_or(FetchError::NotHttps)? {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(IpAddr::from(address)),
        Host::Ipv6(address) => Some(IpAddr::from(address)),
    };
    if let Some(address) = literal {
        allowed(&[address], source.allow_private_network)?;
    }
    let uri: Uri = source.url.as_str().parse().map_err(|_| FetchError::NotHttps)?;
    if uri.scheme_str() != Some("https") {
        return Err(FetchError::NotHttps);
    }
    Request::get(uri)
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(ACCEPT_ENCODING, "identity")
        .header(USER_AGENT, concat!("grantwell/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|_| FetchError::NotHttps)
}

fn require_json(answer: &Response<Incoming>) -> Result<(), FetchError> {
    let status = answer.status();
    if status.is_redirection() {
        return Err(FetchError::Redirect(status.as_u16()));
    }
    if status != StatusCode::OK {
        return Err(FetchError::Status(status.as_u16()));
    }
    // A body that inflates is larger than it seems, and nobody has asked for one.
    if answer.headers().get_all(CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
        return Err(FetchError::Encoded);
    }
    if is_json(answer.headers()) { Ok(()) } else { Err(FetchError::MediaType) }
}

/// A page for people, a file that somebody uploaded and a captive portal's answer are not keys, whatever is in them.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(media_type), None) = (types.next(), types.next()) else { return false };
    let essence = media_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    ["application/json", "application/jwk-set+json"].iter().any(|json| essence.eq_ignore_ascii_case(json))
}

async fn body_of(answer: Response<Incoming>) -> Result<Bytes, FetchError> {
    let read = Limited::new(answer.into_body(), BODY_LIMIT).collect().await;
    read.map(Collected::to_bytes)
        .map_err(|error| if error.is::<LengthLimitError>() { FetchError::TooLarge } else { FetchError::Broken })
}

/// Whether a server can be trusted by each certificate of a PEM text.
pub fn are_certificates(pem: &str) -> bool {
    let mut roots = RootCertStore::empty();
    certificates(pem).is_ok_and(|found| !found.is_empty() && found.into_iter().all(|found| roots.add(found).is_ok()))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, FetchError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    certificates.map_err(|_| FetchError::UnreadableAuthority)
}

/// `None` where none of `authorities` can be trusted.
fn trusting(authorities: Vec<CertificateDer<'static>>) -> Option<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(authorities);
    if trusted == 0 {
        return None;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(config.with_root_certificates(roots).with_no_client_auth())
}

/// What a certificate says must not write into the log.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).take(200).collect()
}

const TO_CONNECT: Duration = Duration::from_secs(1);
const IN_ALL: Duration = Duration::from_secs(2);
const BODY_LIMIT: usize = 64 * 1024;
const HEAD_LIMIT: usize = 32 * 1024;
/// Each of them gets its share of the time to connect.
const ADDRESSES_TRIED: usize = 4;
/// Slow servers of a few clients are not to take all connections and threads of the process.
const AT_ONCE: usize = 16;
