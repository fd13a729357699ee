//! Where the secret of a new client goes that no store gives out again: to standard output, once, or to a file of its own.
//!
//! It is kept before the client is registered, so that no client has a secret that nobody knows. What is kept then is the secret of
//! nobody yet, so a file gets its name only afterwards.

mod files;
mod printed;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use grantwell::config;
use grantwell::core::client::id::ClientId;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::management::Management;
use grantwell::core::management::plan::{KeepSecret, Plan, Target};
use grantwell::core::port_error::PortError;
use grantwell::core::realm::RealmName;
use serde::Serialize;

use self::files::Files;
use self::printed::Printed;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::terminal;

/// `--secrets-dir`.
#[derive(Debug, clap::Args)]
pub(super) struct SecretsArguments {
    /// Writes the secret of each new client to a file DIR/REALM/CLIENT_ID that only you can read [default: it is printed, once]
    ///
    /// A file that exists is never written over. A secret that is in Secrets Manager stays there and is not written.
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// Prints secrets in a CI job, too, whose log keeps them
    ///
    /// A secret is printed once, in the answer. In a CI job the command stops before it changes anything that would print one.
    #[arg(long, conflicts_with = "secrets_dir")]
    print_secrets: bool,
}

/// Where they go.
pub(super) enum Secrets {
    Printed { on: Printed, in_ci_too: bool },
    Files(Files),
}

impl SecretsArguments {
    pub(super) fn place(self, format: Format) -> Secrets {
        match self.secrets_dir {
            Some(directory) => Secrets::Files(Files::in_directory(directory)),
            None => Secrets::Printed { on: Printed::new(format), in_ci_too: self.print_secrets },
        }
    }
}

impl Secrets {
    /// Whether the secrets of these new clients can be kept, before anything is changed.
    pub(super) fn check(&self, new: &[(&RealmName, &ClientId)]) -> Result<(), Failure> {
        if new.is_empty() {
            return Ok(());
        }
        match self {
            Self::Files(files) => files.check(new),
            Self::Printed { .. } if terminal::is_stand_in(io::stdout()) => Err(Failure::new(format!(
                "nothing was changed, because {} would be shown once and standard output is closed; write to files with --secrets-dir DIR",
                secrets_of(new.len())
            ))),
            Self::Printed { in_ci_too: false, .. } if !io::stdout().is_terminal() && config::is_ci() => {
                Err(Failure::Misuse(format!(
                    "nothing was changed, because this is a CI job and {} would be in its log; write to files with --secrets-dir DIR, \
                     or repeat the command with --print-secrets if the answer does not go to the log",
                    secrets_of(new.len())
                )))
            }
            Self::Printed { .. } => Ok(()),
        }
    }

    /// Makes what they are written to, before anything is registered.
    pub(super) fn open(&self, new: &[(&RealmName, &ClientId)]) -> Result<(), Failure> {
        match self {
            Self::Files(files) if !new.is_empty() => files.open(new),
            _ => Ok(()),
        }
    }

    /// The client is registered with the secret that was kept last.
    pub(super) fn registered(&self, realm: &RealmName, client_id: &ClientId) {
        if let Self::Files(files) = self {
            files.registered(realm, client_id);
        }
    }

    /// The client is not registered, and never was with the secret that was kept last.
    pub(super) fn refused(&self, realm: &RealmName, client_id: &ClientId) {
        if let Self::Files(files) = self {
            files.discard(realm, client_id);
        }
    }

    /// The file that has a client's secret.
    pub(super) fn file_of(&self, realm: &RealmName, client_id: &ClientId) -> Option<PathBuf> {
        match self {
            Self::Files(files) => Some(files.path(realm, client_id)).filter(|path| files.is_named(path)),
            Self::Printed { .. } => None,
        }
    }

    /// Fails where a client is registered and its secret is not in the file of its name.
    pub(super) fn require_named(&self) -> Result<(), Failure> {
        let lost = match self {
            Self::Files(files) => files.lost(),
            Self::Printed { .. } => Vec::new(),
        };
        if lost.is_empty() { Ok(()) } else { Err(Failure::new(lost.join("; "))) }
    }

    /// Names the files of clients whose registration an earlier run did not see the end of.
    pub(super) async fn finish_earlier(&self, management: &Management, plan: &Plan) -> Result<(), Failure> {
        let Self::Files(files) = self else { return Ok(()) };
        for step in plan.steps.iter().filter(|step| step.base.is_some()) {
            let Target::Client { realm, client_id } = &step.target else { continue };
            if files.unfinished(realm, client_id)?.is_none() {
                continue;
            }
            // Another run may be about to name it.
            files.lock()?;
            let Some(secret) = files.unfinished(realm, client_id)? else { continue };
            let client = management.client(realm, client_id).await?;
            if management.is_secret_of(&client, &secret).await?
                && files.finish(realm, client_id).map_err(Failure::new)?
            {
                output::note(&format!(
                    "{}: its secret, which an earlier run has made, is in {}",
                    step.target,
                    files.path(realm, client_id).display()
                ));
            }
        }
        Ok(())
    }

    /// Prints the rest of an answer in JSON, an object: after the secrets that are printed already, or a list of none.
    pub(super) fn end<T: Serialize>(&self, answer: &T) -> Result<(), Failure> {
        match self {
            Self::Printed { on, .. } => on.end(answer),
            Self::Files(_) => Printed::new(Format::Json).end(answer),
        }
    }

    /// Where files are written.
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Files(files) => Some(files.directory()),
            Self::Printed { .. } => None,
        }
    }
}

#[async_trait]
impl KeepSecret for Secrets {
    async fn keep(&self, realm: &RealmName, client_id: &ClientId, secret: &ClientSecret) -> Result<(), PortError> {
        let kept = match self {
            Self::Printed { on, .. } => on.keep(realm, client_id, secret),
            Self::Files(files) => files.keep(realm, client_id, secret).map_err(|error| error.to_string()),
        };
        kept.map_err(|why| PortError::Unavailable {
            service: "the place for secrets",
            detail: format!(
                "the secret of client '{client_id}' could not be kept, so the client was not registered: {why}"
            ),
        })
    }
}

fn secrets_of(count: usize) -> String {
    match count {
        1 => "the secret of 1 new client".to_owned(),
        count => format!("the secrets of {count} new clients"),
    }
}
