//! A file with a client's secret, and how a secret is sent (RFC 6749 §2.3.1).

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use zeroize::Zeroizing;

use grantwell::core::client::id::ClientId;

use super::proof::Proof;
use crate::failure::Failure;

/// A secret, and where it goes. Without `Debug`.
pub(super) struct SecretFile {
    secret: Zeroizing<String>,
    method: SecretMethod,
}

/// How a secret is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum SecretMethod {
    /// In an Authorization header
    #[default]
    ClientSecretBasic,
    /// In the form
    ClientSecretPost,
}

/// The answer of `client create` and `client rotate-secret`, as far as it matters here.
#[derive(Deserialize)]
struct CreatedClient {
    client_id: Option<String>,
    client_secret: String,
}

impl SecretFile {
    /// Reads the secret of a client.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do. It repeats the name of the file only if there is such a file: it might be the secret itself.
    pub(super) fn read(path: &Path, method: Option<SecretMethod>, client_id: &ClientId) -> Result<Self, Failure> {
        let failure = |what: &str| Failure::new(format!("--secret-file: {what}"));
        let text = if path == Path::new("-") {
            read_all(io::stdin())
        } else if fs::symlink_metadata(path).is_err() {
            return Err(failure(NO_FILE));
        } else {
            File::open(path).and_then(read_all)
        };
        let text = text.map_err(|error| Failure::new(format!("--secret-file {}: {error}", path.display())))?;
        let secret = match serde_json::from_str::<CreatedClient>(&text) {
            Ok(CreatedClient { client_id: Some(other), .. }) if other != client_id.as_str() => {
                return Err(failure("the file has the secret of another client; give the file of this one"));
            }
            Ok(created) => Zeroizing::new(created.client_secret),
            Err(_) => Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()),
        };
        if secret.is_empty() {
            return Err(failure("there is no secret in the first line"));
        }
        Ok(Self { secret, method: method.unwrap_or_default() })
    }

    /// The secret as a request of this client carries it.
    pub(super) fn proof(&self, client_id: &ClientId) -> Proof {
        match self.method {
            SecretMethod::ClientSecretPost => Proof::Post(self.secret.clone()),
            SecretMethod::ClientSecretBasic => Proof::basic(client_id, &self.secret),
        }
    }

    /// What to do where the server does not take it.
    pub(super) fn refused(&self) -> &'static str {
        match self.method {
            SecretMethod::ClientSecretBasic => REFUSED_BASIC,
            SecretMethod::ClientSecretPost => REFUSED_POST,
        }
    }
}

/// Text of a JWT is ASCII, so what does not fit is not one; nor is a secret as long.
pub(super) fn read_all(source: impl Read) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(8 * 1024));
    source.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// More than a request to the server may have.
const MOST_BYTES: u64 = 64 * 1024;
const NO_FILE: &str = "there is no file of the name that was given; if it is the secret itself, write it to a file of mode 0600 or give it on standard input, because arguments are in the process list and in the shell's history";
const REFUSED_BASIC: &str = "is the client registered there by this id, in this realm, with this secret and with client_secret_basic, and is it not disabled? A client of client_secret_post needs --auth-method client_secret_post. The server's log says why";
const REFUSED_POST: &str = "is the client registered there by this id, in this realm, with this secret and with client_secret_post, and is it not disabled? The server's log says why";
