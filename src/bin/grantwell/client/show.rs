//! `grantwell client show`, and the commands that show what became of a client: `disable`, `enable` and `delete`.

use serde::Serialize;

use grantwell::config;
use grantwell::core::client::id::ClientId;
use grantwell::core::client::information::ClientInformation;
use grantwell::core::client::secret::SecretDates;
use grantwell::core::client::{Client, ClientStatus};
use grantwell::core::client_auth;
use grantwell::core::management::{EffectiveSettings, LastUse, Management, Notice, Subject};
use grantwell::core::members;
use grantwell::core::ports::Clock as _;
use grantwell::core::realm::{Realm, RealmName, RealmSettings};
use grantwell::core::time::UnixSeconds;
use grantwell::system::SystemClock;

use super::which::WhichClient;
use crate::confirm::{ConfirmArguments, Unattended};
use crate::failure::Failure;
use crate::output::{self, Format, OutputArguments};
use crate::store::{Place, Store};
use crate::words;

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    client: WhichClient,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    #[command(flatten)]
    client: WhichClient,
    #[command(flatten)]
    confirm: ConfirmArguments,
    #[command(flatten)]
    output: OutputArguments,
}

/// A client with what is known of its secrets, and with what its realm and the server decide.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    information: ClientInformation<'a>,
    #[serde(flatten)]
    secrets: Secrets,
    /// The beginning of that day. Null where it was not seen, or the realm does not record it.
    last_used_on: Option<UnixSeconds>,
    #[serde(skip)]
    last_use: LastUse,
    effective: EffectiveSettings,
    #[serde(skip)]
    has_secret: bool,
}

/// What is known of a client's secrets. Null where nothing is.
#[derive(Serialize)]
struct Secrets {
    client_secret_issued_at: Option<UnixSeconds>,
    previous_secret_valid: bool,
    previous_secret_issued_at: Option<UnixSeconds>,
    /// 0 where it has no end.
    previous_secret_expires_at: Option<UnixSeconds>,
}

#[derive(Serialize)]
struct Removal<'a> {
    client_id: &'a ClientId,
    realm: &'a RealmName,
    deleted: bool,
}

impl Show {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let (management, client_id) = (store.management(), self.client.id()?);
        let client = management.client(&place.realm, client_id).await?;
        let realm = management.realm(&client.realm).await?;
        let effective = effective_in(&realm, &client, management)?;
        // A secret that is somebody else's does not hide the registration.
        let dates = management.secret_dates(&place.realm, client_id).await.unwrap_or_else(|error| {
            if let Failure::Sentence(sentence) = Failure::from(error) {
                output::warn(&format!("nothing can be said of the client's secrets: {sentence}"));
            }
            None
        });
        words::tell(&management.never_gets_token(&client, &realm, dates.as_ref()));
        let last_use = last_use(&store, &client, &realm).await.unwrap_or_else(|failure| {
            if let Failure::Sentence(sentence) = failure {
                output::warn(&format!("nothing can be said of the client's last use: {sentence}"));
            }
            LastUse::NotRecorded
        });
        let shown = Shown {
            information: ClientInformation::of(&client),
            secrets: Secrets::of(&client, dates.as_ref()),
            last_used_on: match last_use {
                LastUse::On(day) => Some(day),
                LastUse::NotSince(_) | LastUse::NotRecorded => None,
            },
            last_use,
            effective,
            has_secret: dates.is_some() || client_auth::uses_secret(&client.metadata),
        };
        self.output.print(&shown, Shown::table)
    }

    pub(super) async fn set_status(self, place: &Place, status: ClientStatus) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let changed = store.management().set_status(&place.realm, self.client.id()?, status).await?;
        words::tell(&changed.notices);
        print(&self.output, &changed.record, store.management()).await
    }
}

impl Delete {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        let (store, client_id) = (place.open_existing().await?, self.client.id()?);
        // One that is not there may have left a secret, which goes without a question.
        let found = store.management().client(&place.realm, client_id).await.ok();
        if found.is_some() {
            let what = format!(
                "delete client '{client_id}' of realm '{}' with its secrets, which ends its tokens and cannot be taken back",
                place.realm
            );
            self.confirm.confirm(&what, Unattended::GoesOn)?;
        }
        store.management().delete(&place.realm, client_id).await?;
        if let Some(file) = found.and_then(|client| client.managed_by).map(|managed_by| managed_by.name) {
            let of = Subject::Client { realm: place.realm.clone(), client_id: client_id.clone() };
            words::tell(&[Notice::MadeAgainByFile { of, file }]);
        }
        let removal = Removal { client_id, realm: &place.realm, deleted: true };
        self.output.print(&removal, |removal| {
            format!("deleted client {} of realm {} and its secrets", removal.client_id, removal.realm)
        })
    }
}

impl Secrets {
    fn of(client: &Client, dates: Option<&SecretDates>) -> Self {
        let expires_at = client.metadata.client_secret_expires_at;
        let until = dates.and_then(|dates| dates.previous_valid_until(expires_at, SystemClock.now()));
        let previous = dates.and_then(|dates| dates.previous.as_ref()).filter(|_| until.is_some());
        Self {
            client_secret_issued_at: dates.and_then(|dates| dates.made_at),
            previous_secret_valid: until.is_some(),
            previous_secret_issued_at: previous.and_then(|previous| previous.made_at),
            previous_secret_expires_at: until,
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let date = |time: Option<UnixSeconds>| time.map_or_else(|| "not recorded".to_owned(), output::utc);
        let until = match self.previous_secret_expires_at {
            None => "no".to_owned(),
            Some(UnixSeconds(0)) => "yes, until the next rotation".to_owned(),
            Some(end) => format!("yes, until {}", output::utc(end)),
        };
        let mut rows = vec![("client_secret_issued_at", date(self.client_secret_issued_at))];
        rows.push(("previous_secret_valid", until));
        if self.previous_secret_valid {
            rows.push(("previous_secret_issued_at", date(self.previous_secret_issued_at)));
        }
        rows
    }
}

impl Shown<'_> {
    /// Of a client that has no secret, and whose methods use none, nothing of secrets is shown to people.
    fn concerns(&self, name: &str) -> bool {
        self.has_secret || !(name.starts_with("client_secret_") || name.starts_with("previous_secret_"))
    }

    fn table(&self) -> String {
        let members = self.information.members();
        let own = output::member_rows(members, Some(&self.effective), unset).filter(|(name, _)| self.concerns(name));
        let secrets = self.secrets.rows().into_iter().filter(|(name, _)| self.concerns(name));
        let last_used = match self.last_use {
            LastUse::NotRecorded => None,
            LastUse::On(_) | LastUse::NotSince(_) => Some(("last_used_on", last_use_text(self.last_use))),
        };
        output::record(own.chain(secrets).chain(last_used))
    }
}

/// Prints a registration that was changed. It is changed whatever becomes of what is asked for besides.
pub(super) async fn print(output: &OutputArguments, client: &Client, management: &Management) -> Result<(), Failure> {
    let effective = if output.format() == Format::Table { effective(management, client).await.ok() } else { None };
    output.print(&ClientInformation::of(client), |information| {
        output::record(output::member_rows(information.members(), effective.as_ref(), unset))
    })
}

/// What is known of it. Nobody is asked where the realm does not record it.
async fn last_use(store: &Store, client: &Client, realm: &Realm) -> Result<LastUse, Failure> {
    if realm.settings.client_use_recorded_since.is_none() {
        return Ok(LastUse::NotRecorded);
    }
    let marks = store.use_marks()?;
    let mark = marks.last_used(std::slice::from_ref(client)).await?.pop().flatten();
    Ok(LastUse::of(client, realm, mark, marks.kept_since().await?))
}

/// A last use for people: a day.
pub(super) fn last_use_text(last_use: LastUse) -> String {
    let day = |time: UnixSeconds| {
        let text = output::utc(time);
        text.split_once(' ').map_or_else(|| text.clone(), |(day, _time)| day.to_owned())
    };
    match last_use {
        LastUse::NotRecorded => "not recorded".to_owned(),
        LastUse::On(time) => day(time),
        LastUse::NotSince(UnixSeconds(u64::MAX)) => "not known".to_owned(),
        LastUse::NotSince(time) => format!("never (recorded since {})", day(time)),
    }
}

async fn effective(management: &Management, client: &Client) -> Result<EffectiveSettings, Failure> {
    let realm = management.realm(&client.realm).await?;
    effective_in(&realm, client, management)
}

fn effective_in(realm: &Realm, client: &Client, management: &Management) -> Result<EffectiveSettings, Failure> {
    let (defaults, storage) = (config::realm_defaults()?, management.default_secret_storage());
    Ok(EffectiveSettings::of_client(client, realm, &defaults, storage))
}

/// What to show for a member that is not set.
pub(super) fn unset(member: &str) -> &'static str {
    if member == "client_secret_storage" {
        "not set"
    } else if members::names_of::<RealmSettings>().contains(&member) {
        "the realm's"
    } else if member.ends_with("_days") {
        "never"
    } else {
        ""
    }
}
