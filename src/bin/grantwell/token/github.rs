//! The token by which GitHub says which workflow a job belongs to. A job asks for it at an address that the runner gives it.

use serde::Deserialize;
use ureq::http::StatusCode;
use url::Url;
use zeroize::{Zeroize as _, Zeroizing};

use grantwell::config;

use super::http::{agent, confidential, read};
use crate::failure::Failure;

/// Where a job asks, and what lets it. Without `Debug`.
pub(super) struct Job {
    url: Url,
    token: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Answer {
    value: String,
}

impl Job {
    /// The job that this process is a step of.
    ///
    /// # Errors
    /// A [`Failure`] that says what the workflow lacks.
    pub(super) fn of_environment() -> Result<Self, Failure> {
        let url: Option<String> = config::variable(URL)?;
        let token: Option<String> = config::variable(TOKEN)?;
        let (Some(url), Some(token)) = (url, token.map(Zeroizing::new)) else {
            return Err(Failure::new(NO_PERMISSION));
        };
        let is_sendable = token.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_sendable {
            return Err(Failure::new(format!("{TOKEN} is not what a runner sets; pass it on to this step as it is")));
        }
        Ok(Self { url: confidential(&url)?, token })
    }

    /// The token of this job for one audience.
    ///
    /// # Errors
    /// A [`Failure`] with GitHub's status.
    pub(super) fn identity_token(&self, audience: &str) -> Result<Zeroizing<String>, Failure> {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("audience", audience);
        // The bearer token is good for more than this one question, so nobody else's authorities are asked about that server.
        let request = agent(None)?.get(url.as_str()).header("Accept", "application/json; api-version=2.0");
        let authorization = Zeroizing::new(format!("Bearer {}", self.token.as_str()));
        let (status, body) = read(&self.url, request.header("Authorization", authorization.as_str()).call())?;
        let mut body = Zeroizing::new(body);
        if status != StatusCode::OK {
            return Err(Failure::new(format!(
                "GitHub answered {status} to the question for an identity token; {ASK_AGAIN}"
            )));
        }
        let answer: Result<Answer, _> = serde_json::from_slice(&body);
        body.zeroize();
        answer
            .map(|answer| Zeroizing::new(answer.value))
            .map_err(|_| Failure::new(format!("GitHub gave no identity token; {ASK_AGAIN}")))
    }
}

const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
const NO_PERMISSION: &str = "this process is not a step of a GitHub workflow that may have an identity token; give the job `permissions: \
                             {id-token: write, contents: read}` (a pull request from a fork never has it), and in a container pass on \
                             ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN";
const ASK_AGAIN: &str = "it gives one while the job runs, to jobs with `permissions: {id-token: write}`";
