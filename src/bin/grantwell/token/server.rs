//! The authorization server, as a client sees it: its metadata document (RFC 8414), and the endpoints that the document names.

use std::path::Path;

use serde::Deserialize;
use ureq::Agent;
use ureq::http::StatusCode;
use url::Url;

use grantwell::core::introspection::IntrospectionEndpoint;
use grantwell::core::revocation::RevocationEndpoint;
use grantwell::core::token::TokenEndpoint;

use super::http::{self, Confidential, agent, confidential, printable, read};
use crate::failure::Failure;

/// What a client asks a server for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A token (RFC 6749 §3.2).
    Token,
    /// What a token is (RFC 7662).
    Introspection,
    /// The end of a token (RFC 7009).
    Revocation,
}

/// A server whose metadata document has been read.
pub(super) struct Server {
    agent: Agent,
    metadata: Metadata,
}

/// A server's answer, of status 200.
pub(super) struct Answer {
    pub(super) url: Url,
    pub(super) body: Vec<u8>,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: Option<String>,
    introspection_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
}

impl Endpoint {
    /// Its path below a realm's, on servers of this program.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Token => TokenEndpoint::ENDPOINT.path,
            Self::Introspection => IntrospectionEndpoint::ENDPOINT.path,
            Self::Revocation => RevocationEndpoint::ENDPOINT.path,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Token => "token endpoint",
            Self::Introspection => "introspection endpoint",
            Self::Revocation => "revocation endpoint",
        }
    }
}

impl Server {
    /// Reads the metadata document of an issuer.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do.
    pub(super) fn discover(issuer: &str, ca: Option<&Path>) -> Result<Self, Failure> {
        let agent = agent(ca)?;
        let documents = documents_of(issuer)?;
        let mut first_refusal = None;
        for document in &documents {
            let (status, body) = read(document, agent.get(document.as_str()).call())?;
            if status == StatusCode::OK {
                return Ok(Self { agent, metadata: Metadata::parse(document, &body, issuer)? });
            }
            first_refusal.get_or_insert((document, status));
            if status != StatusCode::NOT_FOUND {
                break;
            }
        }
        let advice =
            "is --issuer the issuer of a realm, such as https://auth.example.com/am/oauth2/realms/root/realms/alpha?";
        let refusal = first_refusal.map_or_else(String::new, |(url, status)| format!("{url} answered {status}; "));
        Err(Failure::new(format!("{refusal}{advice}")))
    }

    /// The issuer, as the server itself writes it.
    pub(super) fn issuer(&self) -> &str {
        &self.metadata.issuer
    }

    /// Sends a form to an endpoint; `advice` says what to do about a status, if there is anything to say.
    ///
    /// # Errors
    /// A [`Failure`] with what the server says.
    pub(super) fn post(
        &self,
        endpoint: Endpoint,
        form: &[(&str, &str)],
        authorization: Option<&str>,
        sent: &Confidential<'_>,
        advice: impl FnOnce(StatusCode) -> Option<&'static str>,
    ) -> Result<Answer, Failure> {
        let url = self.metadata.url_of(endpoint)?;
        // Not a signed answer (RFC 9701), which some servers give to whoever does not say so.
        let request = self.agent.post(url.as_str()).header("accept", "application/json");
        let request = authorization.into_iter().fold(request, |request, value| request.header("authorization", value));
        let answer = request.send_form(form.iter().copied());
        let body = http::accepted(&url, answer, sent, advice)?;
        Ok(Answer { url, body })
    }
}

impl Metadata {
    fn parse(document: &Url, body: &[u8], issuer: &str) -> Result<Self, Failure> {
        let metadata: Self = serde_json::from_slice(body)
            .map_err(|_| Failure::new(format!("{document} is not the metadata of an authorization server")))?;
        // RFC 8414 §3.3: the document of somebody else could name somebody else's endpoint.
        if without_slash(&metadata.issuer) != issuer {
            return Err(Failure::new(format!(
                "{document} says that its issuer is {}; pass --issuer {0} if that is the server you mean",
                printable(&metadata.issuer)
            )));
        }
        Ok(metadata)
    }

    fn url_of(&self, endpoint: Endpoint) -> Result<Url, Failure> {
        let named = match endpoint {
            Endpoint::Token => &self.token_endpoint,
            Endpoint::Introspection => &self.introspection_endpoint,
            Endpoint::Revocation => &self.revocation_endpoint,
        };
        let url = named.as_deref().ok_or_else(|| {
            let (issuer, name) = (printable(&self.issuer), endpoint.name());
            Failure::new(format!("the metadata of {issuer} does not name a {name}, so this server has none to ask"))
        })?;
        confidential(url)
    }
}

/// A text without a slash at its end, which some issuers have and nobody types.
pub(super) fn without_slash(issuer: &str) -> &str {
    issuer.strip_suffix('/').unwrap_or(issuer)
}

/// Where an issuer's document may be: where servers of this program and of AM have it, where RFC 8414 §3.1 puts it, and where OpenID Connect does.
fn documents_of(issuer: &str) -> Result<Vec<Url>, Failure> {
    let below = confidential(&format!("{issuer}/.well-known/oauth-authorization-server"))?;
    let issuer_url = confidential(issuer)?;
    let path = without_slash(issuer_url.path());
    let mut documents = vec![below];
    if !path.is_empty() {
        let mut before = issuer_url.clone();
        before.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
        documents.push(before);
    }
    documents.push(confidential(&format!("{issuer}/.well-known/openid-configuration"))?);
    Ok(documents)
}
