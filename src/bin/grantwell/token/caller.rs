//! The client that a command speaks for, and the server that it asks: what `token get`, `introspect` and `revoke` have in common.

use std::path::PathBuf;

use tokio::task;
use ureq::http::StatusCode;

use grantwell::core::client::id::ClientId;
use grantwell::core::keys::jws_algorithm::JwsAlgorithm;
use grantwell::core::realm::RealmName;

use super::credential::{Credential, CredentialArguments, HowToProve};
use super::door::{Door, Service, base_path_of};
use super::http::{self, Confidential};
use super::presented::TokenArguments;
use super::secret_file::SecretMethod;
use super::server::{Answer, Endpoint, Server};
use crate::failure::Failure;
use crate::store;

/// Who asks, how it proves that, and whom it asks.
#[derive(Debug, clap::Args)]
pub(super) struct CallerArguments {
    /// The client's id
    #[arg(long, value_name = "ID")]
    pub(super) client_id: ClientId,
    #[command(flatten)]
    credential: CredentialArguments,
    /// What the key signs with: ES256, ES384, PS256, EdDSA or RS256 [default: what the file says, or the type of key allows]
    #[arg(long, value_name = "ALG", conflicts_with_all = NOT_BY_KEY, help_heading = WITH_KEY)]
    alg: Option<JwsAlgorithm>,
    /// The name of the key in the client's registration [default: what the file says, or none]
    #[arg(long, value_name = "KID", conflicts_with_all = NOT_BY_KEY, help_heading = WITH_KEY)]
    kid: Option<String>,
    /// How the secret is sent: in a header, or in the form [default: client_secret_basic]
    #[arg(long, value_enum, conflicts_with_all = NOT_BY_SECRET, help_heading = WITH_SECRET, hide_possible_values = true, value_name = "client_secret_basic|client_secret_post")]
    auth_method: Option<SecretMethod>,
    /// Where AWS verifies callers for the server, in place of STS: the URL of its IAM door, without the realm's path
    #[arg(long, value_name = "URL", conflicts_with_all = NOT_BY_ROLE, help_heading = WITH_ROLE)]
    door: Option<String>,
    /// The service that verifies the signature there [default: by the host, else execute-api]
    #[arg(long, value_enum, requires = "door", conflicts_with_all = NOT_BY_ROLE, help_heading = WITH_ROLE, hide_possible_values = true, value_name = "lambda|execute-api")]
    service: Option<Service>,
    /// The AWS region of the door, or of STS [default: by the door's host, else this process's own]
    #[arg(long, value_name = "REGION", conflicts_with_all = NOT_BY_ROLE, help_heading = WITH_ROLE)]
    region: Option<String>,
    /// The realm's issuer, as its metadata document says it [default: that of a server on this machine, by --realm]
    #[arg(long, value_name = "URL", conflicts_with = "realm")]
    issuer: Option<String>,
    /// The realm, at --door or on the server that `grantwell serve` starts at http://127.0.0.1:8080 [default: root; env: GRANTWELL_REALM]
    #[arg(long, value_name = "NAME")]
    realm: Option<RealmName>,
    /// A file with the certificates (PEM) of those who may vouch for the server [default: whom this system trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl CallerArguments {
    /// Refuses a line by which this token and the proof would both be read from standard input, so that one would get the other's text.
    ///
    /// # Errors
    /// [`Failure::Misuse`].
    pub(super) fn check_beside(&self, token: &TokenArguments) -> Result<(), Failure> {
        if token.are_standard_input() && self.credential.are_standard_input() {
            return Err(Failure::Misuse(
                "the token and the proof would both be read from standard input; give one of them as a file".to_owned(),
            ));
        }
        Ok(())
    }

    /// The issuer that is asked.
    ///
    /// # Errors
    /// A [`Failure`] where the environment names a realm that there cannot be.
    pub(super) fn issuer(&self) -> Result<String, Failure> {
        match &self.issuer {
            Some(issuer) => Ok(issuer.trim_end_matches('/').to_owned()),
            None => Ok(local_issuer(&store::realm_or_of_environment(self.realm.clone())?)),
        }
    }

    /// Sends a form to an endpoint as the client. `confidential` is what of it is never repeated. To be used where a thread may wait.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do.
    pub(super) fn post(
        &self,
        endpoint: Endpoint,
        form: &[(&str, &str)],
        confidential: &[&str],
        advice: impl Fn(StatusCode) -> Option<&'static str>,
    ) -> Result<Answer, Failure> {
        // 1. What proves who the client is, before anybody is asked.
        let (client_id, issuer) = (&self.client_id, self.issuer()?);
        let door = self.door.as_deref().map(|url| Door::parse(url, self.service, self.region.clone())).transpose()?;
        let credential = self.credential.read(&HowToProve {
            client_id,
            alg: self.alg,
            kid: self.kid.as_deref(),
            secret_method: self.auth_method,
            region: self.region.as_deref(),
        })?;

        // 2. The door, where AWS verifies who it is.
        let mut form = form.to_vec();
        if let (Some(door), Credential::Aws(aws)) = (&door, &credential) {
            form.push(("client_id", client_id.as_str()));
            let agent = http::agent(self.ca.as_deref())?;
            let sent = Confidential::new(confidential.iter().copied());
            let answer = aws.post((door, endpoint, &base_path_of(&issuer)?), &form, &sent, &agent, advice)?;
            return Ok(without(&sent, answer));
        }

        // 3. The server, which verifies it itself.
        let server = Server::discover(&issuer, self.ca.as_deref())?;
        let proof = credential.proof(client_id, server.issuer())?;
        form.extend(proof.parameters(client_id));
        let sent = Confidential::new(confidential.iter().copied().chain(proof.confidential()));
        let answer = server.post(endpoint, &form, proof.authorization(), &sent, |status| match status {
            StatusCode::UNAUTHORIZED => Some(credential.refused()),
            status => advice(status),
        })?;
        Ok(without(&sent, answer))
    }
}

/// A server could send back what it got, as a value or as a name.
fn without(sent: &Confidential<'_>, answer: Answer) -> Answer {
    let text = String::from_utf8(answer.body);
    let body = text.map_or_else(std::string::FromUtf8Error::into_bytes, |text| sent.removed_from(&text).into_bytes());
    Answer { body, ..answer }
}

/// Runs what waits for a server: the client of HTTP is a blocking one.
pub(super) async fn waiting<T: Send + 'static>(
    request: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    task::spawn_blocking(request).await.unwrap_or_else(|_panic| Err(Failure::new("the request ended early")))
}

/// Where `grantwell serve` listens if it is told nothing else.
fn local_issuer(realm: &RealmName) -> String {
    let path = if realm.is_root() { String::new() } else { format!("/realms/{realm}") };
    format!("http://127.0.0.1:8080/am/oauth2/realms/root{path}")
}

/// The ways that have no key to name. Clap does not insist on `requires` where what is required conflicts with something else that is given.
const NOT_BY_KEY: [&str; 5] = ["secret_file", "aws", "github", "kubernetes", "assertion"];
/// The ways that have no secret to send.
const NOT_BY_SECRET: [&str; 5] = ["key", "aws", "github", "kubernetes", "assertion"];
/// The ways that have nothing to do with AWS.
const NOT_BY_ROLE: [&str; 5] = ["key", "secret_file", "github", "kubernetes", "assertion"];
const WITH_KEY: &str = "With --key";
const WITH_SECRET: &str = "With --secret-file";
const WITH_ROLE: &str = "With --aws";
