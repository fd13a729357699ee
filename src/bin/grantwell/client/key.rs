//! `grantwell client key`: makes the key pairs that clients sign with.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use grantwell::core::client::Client;
use grantwell::core::client::id::ClientId;
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::client_key::{ClientKeyPair, PrivateKeyFormat};
use grantwell::core::keys::jwk_set::{JwkSet, VerifyingKey};
use grantwell::core::keys::jws_algorithm::JwsAlgorithm;
use grantwell::core::realm::RealmName;

use super::which::WhichClient;
use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::store::Place;
use crate::words;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Key {
    /// Makes a key pair: the private key goes to a file, the public one to the registration
    ///
    /// The new key is registered beside those that the client has, so that it can change over without an interruption. The
    /// private key is written once, to a file that only you can read, and is stored nowhere else. A file that exists is left as it
    /// is, and then no key is made.
    #[command(after_help = "Examples:
  grantwell client key generate myClient --realm alpha
  grantwell client key generate myClient --alg EdDSA \\
      --format pem --out myClient.pem")]
    Generate(Generate),
    /// Lists the public keys of a client
    #[command(after_help = "Example:
  grantwell client key list myClient --realm alpha")]
    List(List),
    /// Removes a public key: assertions that are signed with it are refused within a minute
    #[command(after_help = "Example:
  grantwell client key remove myClient \\
      43MfwvvUeVhWuLXwnhs7-aO63YQrumOoTM6U9FI9sHQ")]
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    client: WhichClient,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// The client's id
    #[arg(value_name = "ID")]
    client_id: ClientId,
    /// The key's kid, as `client key list` shows it; the thumbprint of a key without one
    // A thumbprint may begin with a dash.
    #[arg(value_name = "KID", allow_hyphen_values = true)]
    kid: String,
    #[command(flatten)]
    output: OutputArguments,
}

/// A public key of a client.
#[derive(Serialize)]
struct Listed {
    kid: String,
    algs: Vec<&'static str>,
    thumbprint: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Generate {
    #[command(flatten)]
    client: WhichClient,
    /// What the key signs with: ES256, EdDSA, PS256 or RS256
    #[arg(long, value_name = "ALG", default_value = "ES256")]
    alg: SigningAlgorithm,
    /// Where the private key goes [default: ID-KID.jwk or ID-KID.pem, in this directory]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How the private key is written: as a JWK, which has the kid, or as PEM [default: jwk; pem for PS256 and RS256]
    #[arg(long, value_name = "jwk|pem")]
    format: Option<PrivateKeyFormat>,
    #[command(flatten)]
    output: OutputArguments,
}

/// A key as it was made.
#[derive(Serialize)]
struct Generated<'a> {
    client_id: &'a ClientId,
    realm: &'a RealmName,
    kid: &'a str,
    alg: SigningAlgorithm,
    private_key_file: String,
}

impl Key {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        match self {
            Self::Generate(generate) => generate.run(place).await,
            Self::List(list) => list.run(place).await,
            Self::Remove(remove) => remove.run(place).await,
        }
    }
}

impl List {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let client = store.management().client(&place.realm, self.client.id()?).await?;
        if let Some(address) = &client.metadata.jwks_uri {
            output::note(&format!("the keys of client '{}' are fetched from {address}", client.client_id));
        }
        print_keys(&client, &self.output)
    }
}

impl Remove {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let changed = store.management().remove_key(&place.realm, &self.client_id, &self.kid).await?;
        words::tell(&changed.notices);
        print_keys(&changed.record, &self.output)
    }
}

/// The keys that a client has.
fn print_keys(client: &Client, output: &OutputArguments) -> Result<(), Failure> {
    let keys: Vec<Listed> = client.metadata.jwks.iter().flat_map(JwkSet::keys).map(Listed::of).collect();
    output.print(&keys, |keys| {
        let rows: Vec<Vec<String>> = keys.iter().map(|key| vec![key.kid.clone(), key.algs.join(" ")]).collect();
        output::table(&["kid", "algs"], usize::MAX, &rows)
    })
}

impl Listed {
    fn of(key: &VerifyingKey) -> Self {
        Self {
            kid: key.name().to_owned(),
            algs: key.algorithms().map(JwsAlgorithm::as_str).collect(),
            thumbprint: key.thumbprint().to_owned(),
        }
    }
}

impl Generate {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let client_id = self.client.id()?;
        let store = place.open_existing().await?;
        // Whoever names no client is told before there is a file.
        store.management().client(&place.realm, client_id).await?;

        // 1. The private key is safe before anybody trusts the public one.
        let format = self.format.unwrap_or_else(|| PrivateKeyFormat::usual_for(self.alg));
        let pair = ClientKeyPair::generate(self.alg).map_err(|error| Failure::new(error.to_string()))?;
        let private = pair.private_key(format).map_err(|error| {
            Failure::new(format!("{error}; a private key for PS256 or RS256 is written with --format pem"))
        })?;
        let path = self.out.unwrap_or_else(|| {
            PathBuf::from(format!("{client_id}-{}.{}", pair.kid().get(..8).unwrap_or_default(), format.as_str()))
        });
        write_new(&path, private.as_bytes()).map_err(|error| not_written(&path, &error))?;

        // 2. Nobody has the key where it was not registered.
        let changed = match store.management().add_key(&place.realm, client_id, pair.public_keys()).await {
            Ok(changed) => changed,
            Err(error) => {
                if let Err(left) = fs::remove_file(&path) {
                    output::warn(&format!("{} could not be removed, and its key is of no use: {left}", path.display()));
                }
                return Err(error.into());
            }
        };
        words::tell(&changed.notices);
        let (kid, private_key_file) = (pair.kid(), path.display().to_string());
        // PEM says neither which key it is nor, of RSA, what it signs with.
        let is_pem = format == PrivateKeyFormat::Pem;
        let needed = if is_pem { format!(" --alg {} --kid {kid}", self.alg) } else { String::new() };
        let client = format!("token get --client-id {client_id} --key {private_key_file}{needed}");
        output::note(&format!(
            "once the client may use private_key_jwt, it gets a token from a server on this machine with `grantwell {client} --realm {}`, \
             and from another one with --issuer URL in place of --realm",
            place.realm
        ));
        let generated = Generated { client_id, realm: &place.realm, kid, alg: self.alg, private_key_file };
        self.output.print(&generated, |generated| {
            output::record([
                ("client_id", generated.client_id.to_string()),
                ("realm", generated.realm.to_string()),
                ("kid", generated.kid.to_owned()),
                ("alg", generated.alg.to_string()),
                ("private_key_file", generated.private_key_file.clone()),
            ])
        })
    }
}

/// Writes a file that does not exist yet, and that nobody else can read. It is on the disk when this returns, or is not there.
fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key is of no use. Whether or not it can be removed, the error is that it was not written.
        let _removed = fs::remove_file(path);
    }
    written
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::new(if error.kind() == io::ErrorKind::AlreadyExists {
        format!("{path} exists and is left as it is, so no key was made; name another file with --out")
    } else {
        format!("the private key could not be written to {path}, so no key was registered: {error}")
    })
}
