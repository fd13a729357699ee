//! Where the secret of a new client goes that no store gives out again.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use async_trait::async_trait;
use grantwell::core::client::id::ClientId;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::management::plan::KeepSecret;
use grantwell::core::port_error::PortError;
use grantwell::core::realm::RealmName;
use serde_json::json;

use crate::failure::Failure;
use crate::output;

/// `--secrets-dir`.
#[derive(Debug, clap::Args)]
pub(super) struct SecretsArguments {
    /// Writes the secrets of new clients to files DIR/REALM/CLIENT_ID that only you can read [default: they are printed, once]. Secrets
    /// in Secrets Manager stay there and are not written
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
}

/// Where they go.
pub(super) enum Secrets {
    Printed,
    Files(PathBuf),
}

impl SecretsArguments {
    /// Makes the directory, before anything is registered.
    pub(super) fn open(self) -> Result<Secrets, Failure> {
        let Some(directory) = self.secrets_dir else { return Ok(Secrets::Printed) };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|error| Failure::new(format!("{} could not be made: {error}", directory.display())))?;
        Ok(Secrets::Files(directory))
    }
}

#[async_trait]
impl KeepSecret for Secrets {
    async fn keep(&self, realm: &RealmName, client_id: &ClientId, secret: &ClientSecret) -> Result<(), PortError> {
        let kept = match self {
            Self::Printed => {
                let answer = json!({
                    "realm": realm, "client_id": client_id, "client_secret": secret.expose_client_secret()
                });
                output::json(&answer).map_err(|_failure| io::Error::other("standard output cannot be written to"))
            }
            Self::Files(directory) => {
                let directory = directory.join(realm.as_str());
                let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
                made.and_then(|()| write(directory.join(client_id.as_str()), secret))
            }
        };
        kept.map_err(|error| PortError::Unavailable {
            service: "the place for secrets",
            detail: format!("the secret of client '{client_id}' could not be kept, so it was not registered: {error}"),
        })
    }
}

/// Over what an interrupted run has left: its client was never registered.
fn write(path: PathBuf, secret: &ClientSecret) -> io::Result<()> {
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.expose_client_secret().as_bytes())?;
    file.sync_all()
}
