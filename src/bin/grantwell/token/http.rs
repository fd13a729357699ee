//! How the servers that a caller asks are asked: whose certificates count, where what proves who it is may go, and what is repeated of an
//! answer.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body};
use url::{Host, Url};

use crate::failure::Failure;

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
    let not_read = |error: &ureq::Error| Failure::new(format!("{url} cannot be reached: {}", reason(error)));
    let mut answer = answer.map_err(|error| not_read(&error))?;
    let body = answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec().map_err(|error| not_read(&error))?;
    Ok((answer.status(), body))
}

/// What a token endpoint answered; `advice` says what to do about a status, if there is anything to say.
///
/// # Errors
/// A [`Failure`] with what the server says.
pub(super) fn token(
    url: &Url,
    answer: Result<Response<Body>, ureq::Error>,
    advice: impl FnOnce(StatusCode) -> Option<&'static str>,
) -> Result<Value, Failure> {
    let header =
        |name| answer.as_ref().ok().and_then(|answer| answer.headers().get(name)?.to_str().ok().map(printable));
    let (retry_after, aws_error) = (header("retry-after"), header("x-amzn-errortype"));
    let (status, body) = read(url, answer)?;
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|_| Failure::new(format!("{url} answered what is not JSON")));
    }
    let said = match serde_json::from_slice(&body) {
        Ok(ErrorAnswer { error, error_description }) => {
            format!(": {} ({})", printable(&error), printable(&error_description))
        }
        // Nothing more of what AWS says: it repeats the signed request, with the session's token.
        Err(_) => aws_error.map_or_else(String::new, |error| format!(": {error}")),
    };
    let again = retry_after.map_or_else(String::new, |seconds| format!("; ask again in {seconds} s"));
    let advice = advice(status).map_or_else(String::new, |advice| format!("; {advice}"));
    Err(Failure::new(format!("{url} answered {status}{said}{again}{advice}")))
}

/// What a server says, without what would move a terminal's cursor, and without long words: a server could send back the proof that it got.
pub(super) fn printable(text: &str) -> String {
    let words = text.split(|character: char| character.is_whitespace() || character.is_control());
    let words = words.filter(|word| !word.is_empty());
    let words = words.map(|word| if word.chars().nth(LONGEST_WORD).is_some() { "[...]" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(500).collect()
}

/// What the library says, without its own prefix, and with what to do where that is known.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "nothing listens there; start the server, or name it by --issuer".to_owned()
        }
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// What a server that answers nothing is given.
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_BYTES: u64 = 64 * 1024;
/// Characters. Scopes, ids and most URLs are shorter, each token and each signature is longer.
const LONGEST_WORD: usize = 120;
