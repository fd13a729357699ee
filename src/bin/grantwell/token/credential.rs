//! What a caller proves by who it is: one of the options of `token get`, `introspect` and `revoke`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use grantwell::core::assertion::JWT_BEARER;
use grantwell::core::client::id::ClientId;
use grantwell::core::keys::jws_algorithm::JwsAlgorithm;

use super::assertion::{self, SignedWith};
use super::aws::Aws;
use super::github::Job;
use super::identity_token::IdentityToken;
use super::key_file::KeyFile;
use super::proof::Proof;
use super::secret_file::{SecretFile, SecretMethod, read_all};
use crate::failure::Failure;

/// The options, of which exactly one is given.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct CredentialArguments {
    /// By the client's private key: a JWK, or PEM
    #[arg(long, value_name = "FILE", help_heading = PROOF)]
    key: Option<PathBuf>,
    /// By the client's secret: the file has it in its first line, or is the answer of `client create`; - reads standard input
    // Never the secret itself: arguments are in the process list and in the shell's history.
    #[arg(long, value_name = "FILE|-", help_heading = PROOF)]
    secret_file: Option<PathBuf>,
    /// By the AWS role of this process: with an identity token of STS, or at --door with a signature
    #[arg(long, help_heading = PROOF)]
    aws: bool,
    /// By the GitHub workflow that this is a step of; its job needs `permissions: {id-token: write}`
    #[arg(long, help_heading = PROOF)]
    github: bool,
    /// By the service account of this pod, whose token for this audience is in a projected volume [default file: /var/run/secrets/grantwell/token]
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = PROJECTED, help_heading = PROOF)]
    kubernetes: Option<PathBuf>,
    /// By a token of any other issuer that the realm trusts, such as a SPIFFE JWT-SVID; - reads it from standard input
    #[arg(long, value_name = "FILE|-", help_heading = PROOF)]
    assertion: Option<PathBuf>,
}

/// What the other options say of it.
pub(super) struct HowToProve<'a> {
    pub(super) client_id: &'a ClientId,
    pub(super) alg: Option<JwsAlgorithm>,
    pub(super) kid: Option<&'a str>,
    pub(super) secret_method: Option<SecretMethod>,
    pub(super) region: Option<&'a str>,
}

/// What is known before anybody is asked. Without `Debug`.
pub(super) enum Credential {
    Key(KeyFile),
    Secret(SecretFile),
    Aws(Box<Aws>),
    Github(Job),
    Kubernetes(FileToken),
    Assertion(FileToken),
}

/// A token as a file has it, and how errors name the file.
pub(super) struct FileToken {
    text: Zeroizing<String>,
    named: String,
}

impl CredentialArguments {
    /// Whether it is read from standard input, which then has nothing else.
    pub(super) fn are_standard_input(&self) -> bool {
        let files = [&self.secret_file, &self.assertion, &self.kubernetes];
        files.into_iter().flatten().any(|path| path == Path::new("-"))
    }

    /// Reads what there is to read.
    ///
    /// # Errors
    /// A [`Failure`] that says what is missing.
    pub(super) fn read(&self, how: &HowToProve<'_>) -> Result<Credential, Failure> {
        if self.aws {
            Aws::of_this_process(how.region.map(str::to_owned)).map(|aws| Credential::Aws(Box::new(aws)))
        } else if self.github {
            Job::of_environment().map(Credential::Github)
        } else if let Some(path) = &self.kubernetes {
            FileToken::read("--kubernetes", path, NOT_MOUNTED).map(Credential::Kubernetes)
        } else if let Some(path) = &self.secret_file {
            SecretFile::read(path, how.secret_method, how.client_id).map(Credential::Secret)
        } else if let Some(path) = &self.assertion {
            FileToken::read("--assertion", path, "").map(Credential::Assertion)
        } else {
            let path = self.key.as_deref().unwrap_or(Path::new("")); // the group has clap refuse a line with none of them
            let mut key = KeyFile::read(path, how.alg)?;
            key.kid = how.kid.map(str::to_owned).or(key.kid);
            Ok(Credential::Key(key))
        }
    }
}

impl Credential {
    /// The proof for a server, asked for where it has to be.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do.
    pub(super) fn proof(&self, client_id: &ClientId, issuer: &str) -> Result<Proof, Failure> {
        let token = match self {
            Self::Key(key) => {
                let signed_with = SignedWith { alg: key.alg.as_str(), kid: key.kid.as_deref() };
                let assertion = assertion::sign(&signed_with, |message| key.sign(message), client_id, issuer)?;
                return Ok(Proof::Assertion { text: assertion, form: JWT_BEARER, says_no_client_id: false });
            }
            Self::Secret(file) => return Ok(file.proof(client_id)),
            Self::Aws(aws) => IdentityToken::parse(&aws.identity_token(issuer)?, issuer, "STS", NOT_AS_ASKED),
            Self::Github(job) => IdentityToken::parse(&job.identity_token(issuer)?, issuer, "GitHub", NOT_AS_ASKED),
            Self::Kubernetes(file) => {
                let advice =
                    format!("write `audience: {issuer}` into the projected volume of the pod, and give its path");
                IdentityToken::parse(&file.text, issuer, &file.named, &advice)
            }
            Self::Assertion(file) => IdentityToken::parse(&file.text, issuer, &file.named, ASK_FOR_IT),
        }?;
        Ok(Proof::Assertion { form: token.assertion_type(), text: token.into_text(), says_no_client_id: true })
    }

    /// What to do where the server does not take the proof.
    pub(super) fn refused(&self) -> &'static str {
        match self {
            Self::Key(_) => REFUSED_KEY,
            Self::Secret(file) => file.refused(),
            Self::Aws(_) | Self::Github(_) | Self::Kubernetes(_) | Self::Assertion(_) => REFUSED_IDENTITY,
        }
    }
}

impl FileToken {
    fn read(option: &str, path: &Path, if_absent: &str) -> Result<Self, Failure> {
        // Whoever gives the token itself must not find it in a log.
        let is_token = path.as_os_str().as_encoded_bytes().starts_with(b"eyJ");
        let named = if is_token {
            format!("{option} takes a file, or - for standard input, and what was given is a token")
        } else {
            format!("{option} {}", path.display())
        };
        let text = if path == Path::new("-") { read_all(io::stdin()) } else { File::open(path).and_then(read_all) };
        let text = text.map_err(|error| {
            let advice = if error.kind() == io::ErrorKind::NotFound { if_absent } else { "" };
            Failure::new(format!("{named}: {error}{advice}"))
        })?;
        Ok(Self { text, named })
    }
}

/// The heading of the options in the help.
const PROOF: &str = "Who the client is, by one of";
/// Where the pod of examples/snippets has it. Kubernetes itself has no place for a token with an audience of one's own.
const PROJECTED: &str = "/var/run/secrets/grantwell/token";
const NOT_MOUNTED: &str = "; mount a projected volume with a serviceAccountToken there, or name its file";
const NOT_AS_ASKED: &str = "it answered something else than it was asked for";
const ASK_FOR_IT: &str = "ask its issuer for one with this audience and no other";
const REFUSED_KEY: &str = "is the client registered there by this id, with private_key_jwt and with the public half of this key? A PEM file has neither --kid nor, of RSA, --alg, so name both. The server's log says why";
const REFUSED_IDENTITY: &str = "is the client registered there by this id, with workload_identity and a trust rule that this caller satisfies? `grantwell trust explain` and the server's log say which rule failed on what";
