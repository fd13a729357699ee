//! `grantwell client rotate-secret`, and the secrets that an operator brings along.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;

use serde::Serialize;
use zeroize::Zeroizing;

use grantwell::core::client::Client;
use grantwell::core::client::id::ClientId;
use grantwell::core::client::secret::{ClientSecret, WeakSecret};
use grantwell::core::management::{PreviousLifetime, Rotation, SecretLifetime};
use grantwell::core::realm::RealmName;
use grantwell::core::time::UnixSeconds;

use super::options::secret_lifetime;
use super::which::WhichClient;
use crate::confirm::{ConfirmArguments, Unattended};
use crate::duration::{self, MalformedDuration};
use crate::failure::Failure;
use crate::output::{self, JsonOutputArguments};
use crate::store::{Place, suggest};
use crate::terminal;
use crate::words;

#[derive(Debug, clap::Args)]
pub(super) struct RotateSecret {
    #[command(flatten)]
    client: WhichClient,
    #[command(flatten)]
    secret: SecretArguments,
    /// How long the secrets work from now on: seconds, or with a unit such as 90d; 0 for ever (client_secret_expires_at) [default:
    /// until the time set before]
    #[arg(long, value_name = "DURATION", value_parser = secret_lifetime)]
    secret_lifetime: Option<SecretLifetime>,
    /// How long the previous secret stays valid beside the new one, such as 24h; a bare number is seconds [default: until the next
    /// rotation]
    ///
    /// --secret-lifetime ends both secrets; this option ends the previous one alone, if it is still valid then.
    #[arg(long, value_name = "DURATION", value_parser = previous_lifetime)]
    previous_lifetime: Option<PreviousLifetime>,
    /// Replaces the current secret, which ends, and keeps the previous one valid: for a new secret that got lost before the
    /// application had it
    ///
    /// Without a valid previous secret there is nothing to keep: then the current one stays valid beside the new one.
    #[arg(long)]
    replace_current: bool,
    /// Makes no new secret: ends the previous one, so that only the current one is valid
    #[arg(
        long,
        conflicts_with_all = ["secret_stdin", "allow_weak_secret", "secret_lifetime", "previous_lifetime", "replace_current"]
    )]
    revoke_previous: bool,
    #[command(flatten)]
    confirm: ConfirmArguments,
    #[command(flatten)]
    output: JsonOutputArguments,
}

/// Where a secret comes from. Never from an argument: those are in the process list and the shell's history.
#[derive(Debug, clap::Args)]
pub(super) struct SecretArguments {
    /// Takes the secret from the first line of standard input instead of generating one; a terminal does not show it
    #[arg(long)]
    secret_stdin: bool,
    /// Accepts a secret of fewer than 16 characters
    #[arg(long, requires = "secret_stdin")]
    allow_weak_secret: bool,
}

#[derive(Serialize)]
struct Rotated<'a> {
    client_id: &'a ClientId,
    client_secret: &'a str,
    client_secret_expires_at: UnixSeconds,
    realm: &'a RealmName,
    previous_secret_valid: bool,
    /// Null where none is valid, 0 where it has no end.
    previous_secret_expires_at: Option<UnixSeconds>,
}

/// The text is not a lifetime of a previous secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidPreviousLifetime {
    #[error(transparent)]
    Malformed(#[from] MalformedDuration),
    #[error("a previous secret stays valid for 1 second to 100 years; to end it at once, use --revoke-previous")]
    OutOfRange,
}

#[derive(Serialize)]
struct PreviousSecretEnded<'a> {
    client_id: &'a ClientId,
    realm: &'a RealmName,
    previous_secret_valid: bool,
}

impl RotateSecret {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        if self.revoke_previous { self.revoke_previous(place).await } else { self.rotate(place).await }
    }

    async fn rotate(self, place: &Place) -> Result<(), Failure> {
        let client_id = self.client.id()?;
        let rotation = Rotation {
            given: self.secret.given().await?,
            lifetime: self.secret_lifetime,
            previous_lifetime: self.previous_lifetime,
            replaces_current: self.replace_current,
        };
        let is_only_copy = self.secret.is_only_copy(place);
        let store = place.open_existing().await?;
        let rotated = store.management().rotate_secret(&place.realm, client_id, rotation).await?;

        // The secret is current whatever came after it, so it is shown in every case.
        let answer = Rotated {
            client_id,
            client_secret: rotated.secret.expose_client_secret(),
            client_secret_expires_at: rotated.client.metadata.client_secret_expires_at,
            realm: &place.realm,
            previous_secret_valid: rotated.previous_is_valid,
            previous_secret_expires_at: rotated.previous_is_valid.then_some(rotated.previous_expires_at),
        };
        hand_out(&answer, is_only_copy).map_err(|failure| secret_not_delivered(failure, &rotated.client))?;
        words::tell(&rotated.notices);
        rotated.unfinished.map_or(Ok(()), |error| Err(error.into()))
    }

    async fn revoke_previous(self, place: &Place) -> Result<(), Failure> {
        let (client_id, store) = (self.client.id()?, place.open_existing().await?);
        let what = format!("end the previous secret of client '{client_id}', which an application may still use");
        self.confirm.confirm(&what, Unattended::GoesOn)?;
        store.management().revoke_previous_secret(&place.realm, client_id).await?;
        output::note(&format!(
            "NO NEW SECRET WAS MADE: the current secret of client '{client_id}' stays valid, and the previous one no longer works (a \
             local server follows within seconds, a deployed stack within 5 minutes)"
        ));
        output::json(&PreviousSecretEnded { client_id, realm: &place.realm, previous_secret_valid: false })
    }
}

impl SecretArguments {
    /// Whether the answer is the only place that will have the secret.
    pub(super) fn is_only_copy(&self, place: &Place) -> bool {
        !self.secret_stdin && !place.store.is_deployed()
    }

    /// The secret that the operator brings along, if there is one.
    pub(super) async fn given(&self) -> Result<Option<ClientSecret>, Failure> {
        if !self.secret_stdin {
            return Ok(None);
        }
        let line = read_secret().await?;
        let secret = std::str::from_utf8(&line).map_err(|_| WeakSecret::NotVschar)?;
        Ok(Some(ClientSecret::given(secret, self.allow_weak_secret)?))
    }
}

fn previous_lifetime(text: &str) -> Result<PreviousLifetime, InvalidPreviousLifetime> {
    PreviousLifetime::of_seconds(duration::seconds(text)?).ok_or(InvalidPreviousLifetime::OutOfRange)
}

/// Prints an answer with a secret in it.
pub(super) fn hand_out<T: Serialize>(answer: &T, is_only_copy: bool) -> Result<(), Failure> {
    output::json(answer)?;
    // Where the shell closed it (`>&-`), the runtime has put the null device in its place, to which everything can be written.
    if is_only_copy && terminal::is_stand_in(io::stdout()) { Err(Failure::OutputClosed) } else { Ok(()) }
}

/// The registration is stored, and nobody has its secret.
pub(super) fn secret_not_delivered(failure: Failure, client: &Client) -> Failure {
    let reason = match failure {
        Failure::Sentence(sentence) | Failure::Misuse(sentence) => sentence,
        Failure::OutputClosed | Failure::Told(_) => "standard output was closed".into(),
    };
    let id = &client.client_id;
    Failure::new(format!(
        "client '{id}' has a new secret, but it could not be shown to you: {reason}; make another one, which keeps the previous \
         one valid, with `{}`",
        suggest(&format!("client rotate-secret {id} --replace-current"), &client.realm)
    ))
}

/// The first line of standard input. A terminal does not show it.
async fn read_secret() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: io::Error| Failure::new(format!("the secret could not be read from standard input: {error}"));
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    if !stdin.is_terminal() {
        return first_line(File::from(stdin)).map_err(failed);
    }
    output::note("type the secret and press Enter; it is not shown while you type");
    terminal::read_unseen(stdin, first_line).await.map_err(failed)
}

/// The first line without its end. Reads from the descriptor itself, because nothing wipes the buffer of [`io::stdin`].
fn first_line(mut input: File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(ClientSecret::MAX_LENGTH + 2));
    let mut byte = Zeroizing::new([0]);
    // Longer than any secret is as far as reading goes: what is too long is refused below, whatever comes after it.
    while line.len() <= ClientSecret::MAX_LENGTH + 1 {
        match input.read(&mut *byte) {
            Ok(0) => break,
            Ok(_) if *byte == [b'\n'] => {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                break;
            }
            Ok(_) => line.extend_from_slice(&*byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(line)
}
