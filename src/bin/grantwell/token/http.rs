//! How the servers that a caller asks are asked: whose certificates count, where what proves who it is may go, and what is repeated of an
//! answer.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::CertificateError;
use serde::Deserialize;
use serde_json::{Map, Value};
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body};
use url::{Host, Url};

use crate::failure::Failure;
use crate::terminal;

/// What a request has in it that proves something to whoever reads it: a server could send it back. Without `Debug`.
pub(super) struct Confidential<'a>(Vec<&'a str>);

/// RFC 6749 §5.2.
#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// A client that believes whom the system believes, or those in a file. It asks no proxy for this machine's own address, follows no redirect,
/// which could lead an assertion elsewhere, and waits half a minute at most.
pub(super) fn agent(ca: Option<&Path>) -> Result<Agent, Failure> {
    let roots: Vec<_> = if let Some(path) = ca {
        let pem = std::fs::read(path).map_err(|error| Failure::new(format!("--ca {}: {error}", path.display())))?;
        let certificates = ureq::tls::parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        });
        certificates.collect()
    } else {
        let found = rustls_native_certs::load_native_certs().certs;
        found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
    };
    if let (Some(path), true) = (ca, roots.is_empty()) {
        return Err(Failure::new(format!("--ca {}: there is no certificate in it; give PEM", path.display())));
    }
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        // A server may close a connection after an answer without a word, and a request that has been sent is not sent again.
        .max_idle_connections(0)
        .timeout_global(Some(PATIENCE))
        .user_agent(concat!("grantwell/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls);
    Ok(config.build().into())
}

/// A URL to which an assertion may go: https, or this machine.
pub(super) fn confidential(text: &str) -> Result<Url, Failure> {
    let url: Url = text.parse().map_err(|error| Failure::new(format!("{}: {error}", printable(text))))?;
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    // It is repeated in errors from here on.
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::new("a URL with a user or a password in it is not used here; give it without them"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        _ => Err(Failure::new(format!(
            "{url} is not https; what proves who a client is goes to no other machine without TLS"
        ))),
    }
}

/// Status and body of an answer.
///
/// # Errors
/// A [`Failure`] that says why there is none.
pub(super) fn read(url: &Url, answer: Result<Response<Body>, ureq::Error>) -> Result<(StatusCode, Vec<u8>), Failure> {
    let mut answer = answer.map_err(|error| Failure::new(format!("{url} cannot be reached: {}", reason(&error))))?;
    let body = answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec();
    let body = body.map_err(|error| {
        Failure::new(format!("{url} has answered, and its answer cannot be read: {}", reason(&error)))
    })?;
    Ok((answer.status(), body))
}

/// The body of an answer with which a server has done what it was asked for; `advice` says what to do about another status, if there is
/// anything to say, and `sent` is not repeated, whatever the server says.
///
/// # Errors
/// A [`Failure`] with what the server says.
pub(super) fn accepted(
    url: &Url,
    answer: Result<Response<Body>, ureq::Error>,
    sent: &Confidential<'_>,
    advice: impl FnOnce(StatusCode) -> Option<&'static str>,
) -> Result<Vec<u8>, Failure> {
    let shown = |text: &str| printable(&sent.removed_from(text));
    let header = |name| answer.as_ref().ok().and_then(|answer| answer.headers().get(name)?.to_str().ok().map(shown));
    let (retry_after, aws_error) = (header("retry-after"), header("x-amzn-errortype"));
    let (status, body) = read(url, answer)?;
    if status == StatusCode::OK {
        return Ok(body);
    }
    let said = match serde_json::from_slice(&body) {
        Ok(ErrorAnswer { error, error_description }) if error_description.is_empty() => format!(": {}", shown(&error)),
        Ok(ErrorAnswer { error, error_description }) => {
            format!(": {} ({})", shown(&error), shown(&error_description))
        }
        // Nothing more of what AWS says: it repeats the signed request, with the session's token.
        Err(_) => aws_error.map_or_else(String::new, |error| format!(": {error}")),
    };
    let again = retry_after.map_or_else(String::new, |when| {
        // RFC 9110 §10.2.3: seconds, or a date.
        let is_number = when.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { format!("; ask again in {when} s") } else { format!("; ask again after {when}") }
    });
    let advice = advice(status).or_else(|| status.is_redirection().then_some(NOT_FOLLOWED));
    let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
    Err(Failure::new(format!("{url} answered {status}{said}{again}{advice}")))
}

/// An answer that is an object in JSON.
///
/// # Errors
/// A [`Failure`] where it is not.
pub(super) fn object(url: &Url, body: &[u8]) -> Result<Map<String, Value>, Failure> {
    serde_json::from_slice(body).map_err(|_| Failure::new(format!("{url} answered what is not an object in JSON")))
}

impl<'a> Confidential<'a> {
    /// These texts.
    pub(super) fn new(texts: impl IntoIterator<Item = &'a str>) -> Self {
        // What is shorter is in any sentence.
        Self(texts.into_iter().filter(|text| text.len() >= SHORTEST_SECRET).collect())
    }

    /// A text without them.
    pub(super) fn removed_from(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[...]"))
    }
}

/// What a server says, without what would move a terminal's cursor, and without long words: a server could send back the proof that it got.
pub(super) fn printable(text: &str) -> String {
    let words = text.split(|character: char| character.is_whitespace() || character.is_control());
    let words = words.filter(|word| !word.is_empty());
    let words = words.map(|word| if word.chars().nth(LONGEST_WORD).is_some() { "[...]" } else { word });
    terminal::printable(&words.collect::<Vec<_>>().join(" ")).chars().take(500).collect()
}

/// What the library says, without its own prefix, and with what to do where that is known.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "nothing listens there; start the server, or name it by --issuer".to_owned()
        }
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(tls) => reason_of_tls(tls),
            None => error.to_string(),
        },
        ureq::Error::Rustls(error) => reason_of_tls(error),
        ureq::Error::BodyExceedsLimit(_) => "it has more than 64 KiB".to_owned(),
        ureq::Error::Timeout(_) => format!("there was no answer within {} s", PATIENCE.as_secs()),
        other => other.to_string(),
    }
}

fn reason_of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "nobody whom this system trusts vouches for its certificate; name a file with its authority by --ca"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(error) => format!("its certificate is not accepted: {error}"),
        rustls::Error::InvalidMessage(_) => "it does not speak TLS, so it is not https".to_owned(),
        other => format!("there is no TLS connection: {other}"),
    }
}

/// What a server that answers nothing is given.
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_BYTES: u64 = 64 * 1024;
/// Characters. A secret of the caller's own choosing could be a word.
const SHORTEST_SECRET: usize = 8;
const NOT_FOLLOWED: &str = "it sends the request elsewhere, which is not followed: what proves who the client is would go along. If you trust the other address, name it by --issuer";
/// Characters. Scopes, ids and most URLs are shorter, each token and each signature is longer.
const LONGEST_WORD: usize = 120;
