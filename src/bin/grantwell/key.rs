//! `grantwell key`: shows the keys that sign for a realm, and replaces them.

use serde::Serialize;

use grantwell::core::client::Client;
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::jwk::KeyId;
use grantwell::core::keys::keyring::{KeyChangeError, Keyring};
use grantwell::core::keys::published::{KeyStatus, PublishedKey, PublishedKeys};
use grantwell::core::keys::set::{JWKS_MAX_AGE, KeySet, PUBLISHED_BEFORE_SIGNING, RotationRefused};
use grantwell::core::realm::{Realm, RealmName};
use grantwell::core::realms::Realms;
use grantwell::core::time::UnixSeconds;

use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::store::{Place, Store, realm_option};

/// `grantwell key …`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  grantwell key list --realm alpha")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists the realm's signing keys; never what is private of them
    ///
    /// Of each algorithm one key is current and signs, one is next and published in advance, and those before them are
    /// previous and verify until the last token they signed has expired.
    #[command(after_help = "Example:
  grantwell key list --output json")]
    List(List),
    /// Has the next key sign from now on
    ///
    /// Servers do this by themselves every 30 days, or as GRANTWELL_SIGNING_KEY_ROTATION_DAYS says. Tokens that the key
    /// before it signed stay valid until they expire. A key that has leaked is a case for: grantwell key revoke
    #[command(after_help = "Example:
  grantwell key rotate --realm alpha")]
    Rotate(Rotate),
    /// Takes a leaked key out at once: what it signed is valid no more
    ///
    /// The next key takes its place without delay, even where a resource server may not know it yet; only where the realm has
    /// keys of another algorithm, they sign until the next key has been published for 15 minutes. A command that did not come
    /// to its end is simply repeated.
    #[command(after_help = "Example:
  grantwell key revoke NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")]
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
struct Rotate {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// The key's kid, as `grantwell key list` shows it
    // One in 64 begins with a hyphen.
    #[arg(value_name = "KID", allow_hyphen_values = true)]
    kid: String,
    #[command(flatten)]
    output: OutputArguments,
}

/// A key as it is shown.
#[derive(Debug, Serialize)]
struct KeyView<'a> {
    kid: &'a KeyId,
    alg: SigningAlgorithm,
    status: KeyStatus,
    published_at: UnixSeconds,
    current_since: Option<UnixSeconds>,
    expires_at: Option<UnixSeconds>,
}

#[derive(Debug, Serialize)]
struct KeyList<'a> {
    realm: &'a RealmName,
    keys: Vec<KeyView<'a>>,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { command, place } = arguments;
    match command {
        Command::List(list) => list.run(&place).await,
        Command::Rotate(rotate) => rotate.run(&place).await,
        Command::Revoke(revoke) => revoke.run(&place).await,
    }
}

/// Sees to it that the realm has keys of the algorithm just set, for `client` or for itself, so that they are published
/// before a token is signed with them. Says so where that takes its time.
pub(crate) async fn publish_in_advance(store: &Store, realm: &Realm, client: Option<&Client>) -> Result<(), Failure> {
    let keyring = store.keyring();
    let realms_own = Realms::signing_alg(realm);
    let alg = client.map_or(realms_own, |client| client.access_token_settings(realm).signing_alg);
    let not_added = |error| not_added(&error, realm, client);
    let before = keyring.read(&realm.name).await.map_err(|error| not_added(error.into()))?;
    // The first keys of a realm would be the client's alone, and would sign for those that leave the algorithm to the realm.
    let algs: &[SigningAlgorithm] = if before.is_none() { &[realms_own, alg] } else { &[alg] };
    add_algorithms(&keyring, &realm.name, algs).await.map_err(not_added)?;
    if before.is_some_and(|keys| !has_algorithm(&keys, alg)) {
        output::note(&format!(
            "tokens are signed with {alg} once its key has been published for {} minutes, so that every resource server \
             knows it; until then the key before it signs",
            PUBLISHED_BEFORE_SIGNING / 60
        ));
    }
    Ok(())
}

impl List {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let keys = place.open_existing().await?.keyring().read(&place.realm).await?;
        print(&self.output, &place.realm, &keys.map(|keys| keys.published()).unwrap_or_default())
    }
}

impl Rotate {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let (realm, keyring) = (store.realm(&place.realm).await?, store.keyring());
        let alg = Realms::signing_alg(&realm);
        let keys = if keyring.read(&realm.name).await?.is_some() {
            keyring.rotate(&realm.name, alg).await.map_err(|error| change_failure(error, &realm.name))?
        } else {
            let first = keyring.read_or_create(&realm.name, &[alg]).await?;
            output::note(&format!(
                "realm '{}' had no keys, so there was nothing to rotate; it has its first ones now",
                realm.name
            ));
            first
        };
        print(&self.output, &realm.name, &keys.published())
    }
}

impl Revoke {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let (keyring, realm) = (place.open_existing().await?.keyring(), &place.realm);
        let kid = KeyId::from(self.kid.as_str());
        let keys = keyring.revoke(realm, &kid).await.map_err(|error| match error {
            KeyChangeError::Refused(RotationRefused::UnknownKey) => Failure::new(format!(
                "realm '{realm}' has no key of this kid; see those it has with: {}",
                command("list", realm)
            )),
            other => change_failure(other, realm),
        })?;
        output::warn(&format!(
            "tokens signed with this key are inactive from now on at introspection (a local server follows within seconds, \
             a deployed stack within 5 minutes, and signs with it for as long, so that some clients have to ask again); \
             resource servers that validate by themselves follow when they fetch the JWKS again, within {} minutes. If the \
             whole set has leaked and not one key of it, revoke the next key too",
            2 * JWKS_MAX_AGE / 60
        ));
        print(&self.output, realm, &keys.published())
    }
}

impl<'a> KeyView<'a> {
    fn of(key: &'a PublishedKey) -> Self {
        Self {
            kid: &key.jwk.kid,
            alg: key.jwk.alg,
            status: key.status,
            published_at: key.published_at,
            current_since: key.current_since,
            expires_at: key.expires_at,
        }
    }

    /// A table of its own: a kid has 43 characters, and is there to be copied.
    fn table(&self) -> String {
        let status = match self.status {
            KeyStatus::Next => "next: published, signs nothing yet",
            KeyStatus::Current => "current: signs",
            KeyStatus::Previous => "previous: verifies until it expires",
        };
        output::members([
            ("kid", self.kid.to_string()),
            ("alg", self.alg.to_string()),
            ("status", status.to_owned()),
            ("published_at", output::utc(self.published_at)),
            ("current_since", self.current_since.map_or_else(|| "not yet".into(), output::utc)),
            ("expires_at", self.expires_at.map_or_else(|| "not set".into(), output::utc)),
        ])
    }
}

impl KeyList<'_> {
    fn table(&self) -> String {
        if self.keys.is_empty() {
            return format!("realm {} has no keys yet; they are made when it signs for the first time", self.realm);
        }
        self.keys.iter().map(KeyView::table).collect::<Vec<_>>().join("\n")
    }
}

fn print(output: &OutputArguments, realm: &RealmName, published: &PublishedKeys) -> Result<(), Failure> {
    let list = KeyList { realm, keys: published.keys.iter().map(KeyView::of).collect() };
    output.print(&list, KeyList::table)
}

/// Adding what is there already changes nothing, so it is simply tried again where somebody else was quicker.
async fn add_algorithms(keyring: &Keyring, realm: &RealmName, algs: &[SigningAlgorithm]) -> Result<(), KeyChangeError> {
    const ATTEMPTS: usize = 5;
    let mut outcome = Err(KeyChangeError::Conflict);
    for _ in 0..ATTEMPTS {
        outcome = keyring.add_algorithms(realm, algs).await.map(|_keys| ());
        if outcome != Err(KeyChangeError::Conflict) {
            break;
        }
    }
    outcome
}

/// The setting is stored by now: what is missing is the keys.
fn not_added(error: &KeyChangeError, realm: &Realm, client: Option<&Client>) -> Failure {
    let name = &realm.name;
    let option =
        |alg: Option<SigningAlgorithm>| format!("--signing-alg {}", alg.map_or("''", SigningAlgorithm::as_str));
    let command = match client {
        None => format!("grantwell realm set {name} {}", option(realm.settings.access_token_signing_alg)),
        Some(client) => {
            let option = option(client.metadata.access_token_signing_alg);
            format!("grantwell client update {} {option}{}", client.client_id, realm_option(name))
        }
    };
    Failure::new(format!(
        "the setting is stored, but realm '{name}' has no key of that algorithm yet: {error}; repeat it with: {command}"
    ))
}

fn has_algorithm(keys: &KeySet, alg: SigningAlgorithm) -> bool {
    keys.published().keys.iter().any(|key| key.jwk.alg == alg && key.status != KeyStatus::Previous)
}

fn change_failure(error: KeyChangeError, realm: &RealmName) -> Failure {
    match error {
        KeyChangeError::Refused(RotationRefused::TooSoon { ready_at }) => Failure::new(format!(
            "the next key of realm '{realm}' has not been published for {} minutes yet, and a resource server may not know \
             it; rotate from {} on; a key that has leaked is taken out at once with: {}",
            PUBLISHED_BEFORE_SIGNING / 60,
            output::utc(ready_at),
            command("revoke KID", realm)
        )),
        KeyChangeError::Conflict => Failure::new(format!(
            "the keys of realm '{realm}' were changed by somebody else meanwhile, and nothing was written; look at them with \
             `{}` and repeat the command",
            command("list", realm)
        )),
        KeyChangeError::Port(error) => error.into(),
        KeyChangeError::Refused(refused) => {
            Failure::new(format!("the keys of realm '{realm}' stay as they are: {refused}"))
        }
    }
}

/// A command to suggest, which names the realm where the default is another.
fn command(rest: &str, realm: &RealmName) -> String {
    format!("grantwell key {rest}{}", realm_option(realm))
}
