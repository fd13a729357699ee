//! The authorization server, as a client sees it: its metadata document (RFC 8414) and its token endpoint.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use ureq::Agent;
use ureq::http::StatusCode;
use url::Url;

use super::http::{self, agent, confidential, printable, read};
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

    /// Asks for a token: the server's answer. `refused` says what to do where it does not know the client.
    ///
    /// # Errors
    /// A [`Failure`] with what the server says.
    pub(super) fn token(&self, form: &[(&str, &str)], refused: &'static str) -> Result<Value, Failure> {
        let url = &self.token_endpoint;
        let answer = self.agent.post(url.as_str()).send_form(form.iter().copied());
        http::token(url, answer, |status| (status == StatusCode::UNAUTHORIZED).then_some(refused))
    }
}
