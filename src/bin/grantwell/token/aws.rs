//! The AWS role of this process, as far as the command was built with AWS.

#[cfg(feature = "aws")]
use secrecy::ExposeSecret as _;
#[cfg(feature = "aws")]
use tokio::runtime::Handle;
use ureq::Agent;
use ureq::http::StatusCode;
#[cfg(feature = "aws")]
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

#[cfg(feature = "aws")]
use grantwell::aws::caller::{Caller, Unsigned};
#[cfg(feature = "aws")]
use grantwell::core::ports::Clock as _;
#[cfg(feature = "aws")]
use grantwell::system::SystemClock;

use super::door::Door;
#[cfg(feature = "aws")]
use super::http;
use super::http::Confidential;
use super::server::{Answer, Endpoint};
use crate::failure::Failure;

/// The role of this process. Without `Debug`. To be used where a thread may wait.
#[cfg(feature = "aws")]
pub(super) struct Aws(Caller);

/// There is none in a build without AWS.
#[cfg(not(feature = "aws"))]
pub(super) enum Aws {}

#[cfg(feature = "aws")]
impl Aws {
    /// This process; `region` in place of what its environment says.
    ///
    /// # Errors
    /// In a build without AWS, which says so.
    #[expect(clippy::unnecessary_wraps, reason = "the build without AWS fails here")]
    pub(super) fn of_this_process(region: Option<String>) -> Result<Self, Failure> {
        Ok(Self(Handle::current().block_on(Caller::of_this_process(region))))
    }

    /// A token of STS for one audience.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do.
    pub(super) fn identity_token(&self, audience: &str) -> Result<Zeroizing<String>, Failure> {
        let token = Handle::current().block_on(self.0.identity_token(audience));
        let token = token.map_err(|error| Failure::new(error.to_string()))?;
        Ok(Zeroizing::new(token.expose_secret().to_owned()))
    }

    /// Sends a form to an endpoint of a door, with a signature as the proof; `advice` says what to do about a status that is neither 401 nor
    /// 403, if there is anything to say.
    ///
    /// # Errors
    /// A [`Failure`] with what AWS or the server behind it says.
    pub(super) fn post(
        &self,
        (door, endpoint, base_path): (&Door, Endpoint, &str),
        form: &[(&str, &str)],
        sent: &Confidential<'_>,
        agent: &Agent,
        advice: impl FnOnce(StatusCode) -> Option<&'static str>,
    ) -> Result<Answer, Failure> {
        let url = http::confidential(&door.url_of(endpoint, base_path))?;
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let unsigned = Unsigned {
            url: url.as_str(),
            content_type: FORM,
            body: body.as_bytes(),
            service: door.service.signing_name(),
            region: door.region.as_deref(),
            now: SystemClock.now(),
        };
        let signature = Handle::current().block_on(self.0.signature(&unsigned));
        let signature = signature.map_err(|error| Failure::new(error.to_string()))?;
        let request =
            signature.iter().fold(agent.post(url.as_str()).header("content-type", FORM), |request, header| {
                request.header(&header.name, header.value.expose_secret())
            });
        let body = http::accepted(&url, request.send(body.as_bytes()), sent, |status| match status {
            StatusCode::UNAUTHORIZED => Some(UNKNOWN),
            StatusCode::FORBIDDEN => Some(NOT_LET_IN),
            status => advice(status),
        })?;
        Ok(Answer { url, body })
    }
}

#[cfg(not(feature = "aws"))]
impl Aws {
    pub(super) fn of_this_process(_region: Option<String>) -> Result<Self, Failure> {
        Err(crate::store::no_aws())
    }

    pub(super) fn identity_token(&self, _audience: &str) -> Result<Zeroizing<String>, Failure> {
        match *self {}
    }

    pub(super) fn post(
        &self,
        (_door, _endpoint, _base_path): (&Door, Endpoint, &str),
        _form: &[(&str, &str)],
        _sent: &Confidential<'_>,
        _agent: &Agent,
        _advice: impl FnOnce(StatusCode) -> Option<&'static str>,
    ) -> Result<Answer, Failure> {
        match *self {}
    }
}

#[cfg(feature = "aws")]
const FORM: &str = "application/x-www-form-urlencoded";
#[cfg(feature = "aws")]
const UNKNOWN: &str = "is the client registered there by this id, with aws_iam and a trust rule that this role satisfies? The server's log says which rule failed on what";
#[cfg(feature = "aws")]
const NOT_LET_IN: &str = "this is AWS's own refusal: may this role call the door (lambda:InvokeFunctionUrl and lambda:InvokeFunction, or execute-api:Invoke), and are --service and --region those of its URL?";
