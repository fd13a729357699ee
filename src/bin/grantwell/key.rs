//! `grantwell key`: shows the keys that sign for a realm, and replaces them.

use serde::Serialize;

use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::jwk::KeyId;
use grantwell::core::keys::published::{KeyStatus, PublishedKey, PublishedKeys};
use grantwell::core::keys::set::JWKS_MAX_AGE;
use grantwell::core::realm::RealmName;
use grantwell::core::time::UnixSeconds;

use crate::confirm::{ConfirmArguments, Unattended};
use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::store::{Place, PlaceArguments};
use crate::words;

/// `grantwell key …`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  grantwell key list --realm alpha")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists the realm's signing keys, without their private halves
    ///
    /// Each algorithm has one current key, which signs, one next key, which is published in advance, and possibly previous keys,
    /// which verify until the last token they signed has expired.
    #[command(after_help = "Example:
  grantwell key list --output json")]
    List(List),
    /// Makes the next key the one that signs
    ///
    /// Servers do this by themselves every 30 days, or as often as GRANTWELL_SIGNING_KEY_ROTATION_DAYS says. Tokens that the
    /// previous key signed stay valid until they expire. If a key has leaked, use: grantwell key revoke
    #[command(after_help = "Example:
  grantwell key rotate --realm alpha")]
    Rotate(Rotate),
    /// Takes a leaked key out at once: tokens that it signed are no longer valid
    ///
    /// The next key takes its place at once, even if a resource server may not know it yet. If the realm has keys of another
    /// algorithm, those sign until the next key has been published for 15 minutes. If the command is interrupted, run it again.
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
    confirm: ConfirmArguments,
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
    let place = place.place()?;
    match command {
        Command::List(list) => list.run(&place).await,
        Command::Rotate(rotate) => rotate.run(&place).await,
        Command::Revoke(revoke) => revoke.run(&place).await,
    }
}

impl List {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        print(&self.output, &place.realm, &store.management().keys(&place.realm).await?)
    }
}

impl Rotate {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let changed = store.management().rotate_keys(&place.realm).await?;
        words::tell(&changed.notices);
        print(&self.output, &place.realm, &changed.record)
    }
}

impl Revoke {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let (store, kid) = (place.open_existing().await?, KeyId::from(self.kid.as_str()));
        // Whoever has mistyped it is told so, and not asked.
        if store.management().keys(&place.realm).await?.keys.iter().any(|key| key.jwk.kid == kid) {
            let what =
                format!("take out key {kid} of realm '{}', which ends every token that it has signed", place.realm);
            self.confirm.confirm(&what, Unattended::GoesOn)?;
        }
        let keys = store.management().revoke_key(&place.realm, &kid).await?;
        output::warn(&format!(
            "tokens signed with this key are inactive at introspection from now on. A local server follows within seconds; a deployed \
             stack follows within 5 minutes and signs with the key until then, so that some clients have to ask for a new token. \
             Resource servers that validate tokens themselves follow when they next fetch the JWKS, within {} minutes. If the whole \
             key set has leaked, and not just this key, revoke the next key too",
            2 * JWKS_MAX_AGE / 60
        ));
        print(&self.output, &place.realm, &keys)
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
        output::record([
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
            return format!("realm {} has no keys yet; they are made when it first signs a token", self.realm);
        }
        self.keys.iter().map(KeyView::table).collect::<Vec<_>>().join("\n")
    }
}

fn print(output: &OutputArguments, realm: &RealmName, published: &PublishedKeys) -> Result<(), Failure> {
    let list = KeyList { realm, keys: published.keys.iter().map(KeyView::of).collect() };
    output.print(&list, KeyList::table)
}
