//! The authorization server, as a client sees it: its metadata document (RFC 8414) and its token endpoint.

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

/// A server whose metadata document has been read.
pub(super) struct Server {
    agent: Agent,
    token_endpoint: Url,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: String,
}

/// RFC 6749 §5.2.
#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Server {
    /// Reads the metadata document of an issuer.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do.
    pub(super) fn discover(issuer: &str, ca: Option<&Path>) -> Result<Self, Failure> {
        let agent = agent(ca)?;
        let document = confidential(&format!("{issuer}/.well-known/oauth-authorization-server"))?;
        let (status, body) = read(&document, agent.get(document.as_str()).call())?;
        if status != StatusCode::OK {
            let advice = "is --issuer the issuer of a realm, such as https://auth.example.com/am/oauth2/realms/root/realms/alpha?";
            return Err(Failure::new(format!("{document} answered {status}; {advice}")));
        }
        let metadata: Metadata = serde_json::from_slice(&body)
            .map_err(|_| Failure::new(format!("{document} is not the metadata of an authorization server")))?;
        // RFC 8414 §3.3: the document of somebody else could name somebody else's endpoint.
        if metadata.issuer != issuer {
            return Err(Failure::new(format!(
                "{document} says that its issuer is {}; pass --issuer {0} if that is the server you mean",
                printable(&metadata.issuer)
            )));
        }
        Ok(Self { agent, token_endpoint: confidential(&metadata.token_endpoint)? })
    }

    /// Asks for a token: the server's answer.
    ///
    /// # Errors
    /// A [`Failure`] with what the server says.
    pub(super) fn token(&self, form: &[(&str, &str)]) -> Result<Value, Failure> {
        let url = &self.token_endpoint;
        let answer = self.agent.post(url.as_str()).send_form(form.iter().copied());
        let retry_after = answer.as_ref().ok().and_then(|answer| answer.headers().get("retry-after")).cloned();
        let (status, body) = read(url, answer)?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|_| Failure::new(format!("{url} answered what is not JSON")));
        }
        let said = serde_json::from_slice(&body).map_or_else(
            |_| String::new(),
            |ErrorAnswer { error, error_description }| {
                format!(": {} ({})", printable(&error), printable(&error_description))
            },
        );
        let again = retry_after.as_ref().and_then(|seconds| seconds.to_str().ok());
        let again = again.map_or_else(String::new, |seconds| format!("; ask again in {} s", printable(seconds)));
        let advice = if status == StatusCode::UNAUTHORIZED { REFUSED } else { "" };
        Err(Failure::new(format!("{url} answered {status}{said}{again}{advice}")))
    }
}

/// A client that believes whom the system believes, or those in a file. It asks no proxy for this machine's own address, follows no redirect,
/// which could lead an assertion elsewhere, and waits half a minute at most.
fn agent(ca: Option<&Path>) -> Result<Agent, Failure> {
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
fn confidential(text: &str) -> Result<Url, Failure> {
    let url: Url = text.parse().map_err(|error| Failure::new(format!("{}: {error}", printable(text))))?;
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        _ => Err(Failure::new(format!(
            "{url} is not https; what proves who a client is goes to no other machine without TLS"
        ))),
    }
}

fn read(url: &Url, answer: Result<Response<Body>, ureq::Error>) -> Result<(StatusCode, Vec<u8>), Failure> {
    let not_read = |error: &ureq::Error| Failure::new(format!("{url} cannot be reached: {}", reason(error)));
    let mut answer = answer.map_err(|error| not_read(&error))?;
    let body = answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec().map_err(|error| not_read(&error))?;
    Ok((answer.status(), body))
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

/// What a server says, without what would move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(500).collect()
}

const PATIENCE: Duration = Duration::from_secs(30);
const MOST_BYTES: u64 = 64 * 1024;
const REFUSED: &str = "; is the client registered there by this id, with private_key_jwt and with the public half of this key? A PEM file has neither --kid nor, of RSA, --alg, so name both. The server's log says why";
