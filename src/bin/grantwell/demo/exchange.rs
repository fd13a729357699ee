//! A client of the demo, and what it sends and gets: shown as curl lines with their answers.

use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ureq::Agent;

use grantwell::core::client::Client;
use grantwell::core::client::secret::ClientSecret;

use crate::failure::Failure;
use crate::sample::SampleClient;

/// A client that authenticates by HTTP Basic.
pub(super) struct Credentials {
    pub(super) sample: &'static SampleClient,
    pub(super) client: Client,
    pub(super) secret: ClientSecret,
}

impl Credentials {
    pub(super) fn new(sample: &'static SampleClient, (client, secret): (Client, ClientSecret)) -> Self {
        Self { sample, client, secret }
    }

    pub(super) fn post(&self, agent: &Agent, url: &str, form: &[(&str, &str)]) -> Result<Exchange, Failure> {
        let pair = format!("{}:{}", self.sample.client_id, self.secret.expose_client_secret());
        let mut curl = format!("curl -s -u '{pair}'");
        for (name, value) in form {
            curl.extend([" -d ", name, "=", value]);
        }
        let request = agent.post(url).header("Authorization", format!("Basic {}", STANDARD.encode(pair)));
        Exchange::of(format!("{curl} {url}"), request.send_form(form.iter().copied()))
    }
}

/// A request as curl would send it, and its answer.
pub(super) struct Exchange {
    pub(super) curl: String,
    status: u16,
    challenge: Option<String>,
    pub(super) body: String,
}

impl Exchange {
    pub(super) fn of(
        curl: String,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Self, Failure> {
        let failed = |error: ureq::Error| Failure::new(format!("a request of the demo failed: {error}"));
        let mut answer = answer.map_err(failed)?;
        let challenge = answer.headers().get("www-authenticate").and_then(|value| value.to_str().ok());
        let challenge = challenge.map(str::to_owned);
        Ok(Self {
            curl,
            status: answer.status().as_u16(),
            challenge,
            body: answer.body_mut().read_to_string().map_err(failed)?,
        })
    }

    pub(super) fn say(&self) -> Result<(), Failure> {
        say(&self.text())
    }

    pub(super) fn text(&self) -> String {
        format!("$ {}\n{}", self.curl, self.answer_text())
    }

    pub(super) fn answer_text(&self) -> String {
        let challenge = self.challenge.as_ref().map(|value| format!("WWW-Authenticate: {value}\n")).unwrap_or_default();
        let body = if self.body.is_empty() { String::new() } else { format!("{}\n", self.body) };
        format!("HTTP {}\n{challenge}{body}", self.status)
    }

    pub(super) fn expect(&self, status: u16) -> Result<(), Failure> {
        if self.status == status {
            return Ok(());
        }
        Err(Failure::new(format!("the last request should have been answered with HTTP {status}")))
    }

    pub(super) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_str(&self.body).map_err(|error| Failure::new(format!("the last answer is not JSON: {error}")))
    }

    /// The token of a complete answer for `scope` (RFC 6749 §5.1).
    pub(super) fn expect_token(&self, scope: &str) -> Result<String, Failure> {
        self.expect(200)?;
        let body = self.json()?;
        let complete = body.get("token_type") == Some(&json!("Bearer"))
            && body.get("scope") == Some(&json!(scope))
            && body.get("expires_in").is_some_and(Value::is_u64);
        match body.get("access_token").and_then(Value::as_str) {
            Some(token) if complete => Ok(token.to_owned()),
            _ => Err(Failure::new(format!("the last answer should have been a Bearer token for the scope {scope}"))),
        }
    }
}

pub(super) fn agent() -> Agent {
    // A proxy from the environment would be asked for this machine's own loopback address.
    Agent::config_builder().http_status_as_error(false).proxy(None).build().into()
}

pub(super) fn say(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(|error| Failure::of_output(&error))
}
