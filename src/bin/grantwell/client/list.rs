//! `grantwell client list`. What is listed is printed while it is read: a registry may have more clients than fit into memory.

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::Arc;
use std::vec;

use serde::Serialize;
use serde_json::{Value, json};

use grantwell::core::client::id::{ClientId, MalformedClientId};
use grantwell::core::client::information::ClientInformation;
use grantwell::core::client::{Client, ClientStatus};
use grantwell::core::management::{LastUse, Management};
use grantwell::core::owner::OwnerId;
use grantwell::core::ports::{Clock as _, UseMarks};
use grantwell::core::realm::{Realm, RealmName};
use grantwell::core::scope::Scope;
use grantwell::core::time::UnixSeconds;
use grantwell::system::SystemClock;

use super::show::{last_use_text, unset};
use crate::columns::Columns;
use crate::count;
use crate::duration;
use crate::failure::Failure;
use crate::output::{self, Format, OutputArguments, Stdout};
use crate::realm::{scope, union};
use crate::store::{Places, RealmChoice, suggest, suggest_here};
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    filter: FilterArguments,
    /// How many clients to fetch from the store at a time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = count::between(1, 1_000))]
    page_size: u32,
    /// Continues where an earlier list with --max-items stopped
    #[arg(long, value_name = "CURSOR", alias = "starting-token")]
    cursor: Option<Cursor>,
    /// Stops after this many clients and prints how to continue [default: all]
    #[arg(long, value_name = "N", value_parser = count::between(1, u32::MAX))]
    max_items: Option<u32>,
    #[command(flatten)]
    output: OutputArguments,
}

/// Which clients to list: those that all of the filters let through.
#[derive(Debug, clap::Args)]
struct FilterArguments {
    /// Lists only clients of this owner, by its id (owners)
    #[arg(long, value_name = "ID", help_heading = "Filters")]
    owner: Option<OwnerId>,
    /// Lists only clients with a contact that contains this text, in upper or lower case (contacts)
    #[arg(long, value_name = "TEXT", help_heading = "Filters")]
    contact: Option<String>,
    /// Lists only clients that are registered for this scope. Repeatable, or separated by spaces: for all of them (scope)
    #[arg(long, value_parser = scope, help_heading = "Filters")]
    scope: Vec<Scope>,
    /// Lists only clients of this status
    #[arg(long, value_name = "STATUS", value_enum, help_heading = "Filters")]
    status: Option<Status>,
    /// Lists only clients whose name contains this text, in upper or lower case (client_name)
    #[arg(long, value_name = "TEXT", help_heading = "Filters")]
    name: Option<String>,
    /// Lists only clients whose secret stops working within this time, such as 30d, or already has (client_secret_expires_at)
    #[arg(long, value_name = "DURATION", value_parser = duration::seconds, help_heading = "Filters")]
    expiring: Option<u64>,
    /// Lists only clients that were not used within this time, such as 90d. Works for realms that record the use of their clients
    /// (`realm set --record-use on`), once they have recorded it for that long
    #[arg(long, value_name = "DURATION", value_parser = duration::seconds, help_heading = "Filters")]
    unused: Option<u64>,
}

/// A client's status as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Status {
    Active,
    Disabled,
}

/// The last client of an earlier list: `ID`, or `REALM/ID` in a list of all realms.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    realm: Option<RealmName>,
    client_id: ClientId,
}

/// What a client has to be in order to be listed.
struct Filter {
    owner: Option<OwnerId>,
    contact: Option<String>,
    scope: Option<Scope>,
    status: Option<ClientStatus>,
    name: Option<String>,
    secret_ends_by: Option<UnixSeconds>,
}

/// What is asked of clients' last use.
struct Unused {
    seconds: u64,
    now: UnixSeconds,
    marks: Arc<dyn UseMarks>,
    kept_since: UnixSeconds,
}

/// A client, and its last use where that was asked for.
struct Listed {
    client: Client,
    last_use: Option<LastUse>,
}

/// A client as it is listed.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    information: ClientInformation<'a>,
    /// The beginning of the day on which it was last used, in a list of those that were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_on: Option<Value>,
}

/// The clients of one realm after the other, a page of them in memory.
struct Listing<'a> {
    management: &'a Management,
    filter: Filter,
    page_size: usize,
    realms: VecDeque<RealmName>,
    /// After which client of the first of them the next page begins.
    cursor: Option<ClientId>,
    page: vec::IntoIter<Listed>,
    unused: Option<Unused>,
    /// Since when the use of clients is recorded, of the realm whose pages are read.
    realm: Option<Realm>,
}

/// How what is listed is printed.
enum Printer {
    Json { is_first: bool },
    Table(Table),
}

/// A table whose columns are settled once there is a screenful of rows.
struct Table {
    of_all_realms: bool,
    with_ends: bool,
    with_use: bool,
    now: UnixSeconds,
    terminal: Option<usize>,
    waiting: Vec<Vec<String>>,
    columns: Option<Columns>,
}

impl List {
    pub(super) async fn run(self, places: &Places) -> Result<(), Failure> {
        let store = places.open_existing().await?;
        let now = SystemClock.now();
        let of_all_realms = matches!(places.realm, RealmChoice::All);
        let is_filtered = self.filter.is_filter();
        let mut listing = self.listing(store.management(), &places.realm, now).await?;
        if let Some(seconds) = self.filter.unused {
            let marks = store.use_marks()?;
            let kept_since = marks.kept_since().await?;
            listing.unused = Some(Unused { seconds, now, marks, kept_since });
        }
        let mut printer = match self.output.format() {
            Format::Json => Printer::Json { is_first: true },
            Format::Table => {
                let (with_ends, with_use) = (self.filter.expiring.is_some(), self.filter.unused.is_some());
                Printer::Table(Table::new(of_all_realms, with_ends, with_use, now))
            }
        };

        let (mut stdout, mut listed, mut last) = (Stdout::new(), 0, None);
        let at_most = self.max_items.map_or(usize::MAX, |most| most as usize);
        let mut next = None;
        // One client more than asked for tells whether there are more.
        while let Some(Listed { client, last_use }) = listing.next().await? {
            if listed == at_most {
                next = last;
                break;
            }
            printer.client(&client, last_use, &mut stdout)?;
            listed += 1;
            last = Some(if of_all_realms {
                format!("{}/{}", client.realm, client.client_id)
            } else {
                client.client_id.to_string()
            });
        }
        match printer {
            Printer::Json { is_first } => end_json(is_first, next.as_deref(), &mut stdout)?,
            Printer::Table(_) if listed == 0 => {
                stdout.write(&nothing_listed(&places.realm, is_filtered, self.filter.unused.is_some()))?;
            }
            Printer::Table(table) => table.end(next.as_deref(), &mut stdout)?,
        }
        stdout.end()
    }

    async fn listing<'a>(
        &self,
        management: &'a Management,
        choice: &RealmChoice,
        now: UnixSeconds,
    ) -> Result<Listing<'a>, Failure> {
        let mut realms: VecDeque<RealmName> = match choice {
            RealmChoice::One(realm) => [realm.clone()].into(),
            RealmChoice::All => management.realms().await?.into_iter().map(|realm| realm.name).collect(),
        };
        let cursor = self.cursor.as_ref();
        match (choice, cursor.and_then(|cursor| cursor.realm.as_ref())) {
            (RealmChoice::All, Some(begun)) => {
                let Some(position) = realms.iter().position(|realm| realm == begun) else {
                    return Err(Failure::new(format!(
                        "there is no realm '{begun}', so the list cannot continue in it"
                    )));
                };
                realms.drain(..position);
            }
            (RealmChoice::All, None) if cursor.is_some() => {
                return Err(Failure::new(
                    "a list of all realms continues with a cursor of the form REALM/ID, as the list before it printed it",
                ));
            }
            (RealmChoice::One(realm), Some(begun)) if realm != begun => {
                return Err(Failure::new(format!(
                    "the cursor belongs to realm '{begun}' and the list to realm '{realm}'; continue a list of all realms with --realm '*'"
                )));
            }
            _ => {}
        }
        Ok(Listing {
            management,
            filter: self.filter.filter(now),
            page_size: self.page_size as usize,
            realms,
            cursor: cursor.map(|cursor| cursor.client_id.clone()),
            page: Vec::new().into_iter(),
            unused: None,
            realm: None,
        })
    }
}

impl FromStr for Cursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, MalformedCursor> {
        let (realm, client_id) = match text.split_once('/') {
            Some((realm, client_id)) => (Some(realm.parse().map_err(|_| MalformedCursor)?), client_id),
            None => (None, text),
        };
        let client_id = client_id.parse().map_err(|_: MalformedClientId| MalformedCursor)?;
        Ok(Self { realm, client_id })
    }
}

/// The text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is what an earlier list printed: the id of its last client, or REALM/ID in a list of all realms")]
struct MalformedCursor;

impl FilterArguments {
    fn is_filter(&self) -> bool {
        let Self { owner, contact, scope, status, name, expiring, unused } = self;
        let is_any = owner.is_some() || contact.is_some() || !scope.is_empty() || status.is_some() || name.is_some();
        is_any || expiring.is_some() || unused.is_some()
    }

    fn filter(&self, now: UnixSeconds) -> Filter {
        Filter {
            owner: self.owner.clone(),
            contact: self.contact.as_deref().map(str::to_lowercase),
            scope: union(&self.scope),
            status: self.status.map(|status| match status {
                Status::Active => ClientStatus::Active,
                Status::Disabled => ClientStatus::Disabled,
            }),
            name: self.name.as_deref().map(str::to_lowercase),
            secret_ends_by: self.expiring.map(|seconds| now.plus(seconds)),
        }
    }
}

impl Filter {
    fn admits(&self, client: &Client) -> bool {
        let metadata = &client.metadata;
        let contains = |text: &String, wanted: &str| text.to_lowercase().contains(wanted);
        self.status.is_none_or(|status| client.status == status)
            && self.scope.as_ref().is_none_or(|scope| scope.is_subset(&metadata.scope))
            && self.owner.as_ref().is_none_or(|owner| metadata.owners.contains(owner))
            && self
                .contact
                .as_deref()
                .is_none_or(|wanted| metadata.contacts.iter().any(|contact| contains(contact, wanted)))
            && self.name.as_deref().is_none_or(|name| metadata.client_name.iter().any(|given| contains(given, name)))
            && self.secret_ends_by.is_none_or(|by| (UnixSeconds(1)..=by).contains(&metadata.client_secret_expires_at))
    }
}

impl Listing<'_> {
    async fn next(&mut self) -> Result<Option<Listed>, Failure> {
        loop {
            if let Some(listed) = self.page.next() {
                return Ok(Some(listed));
            }
            let Some(name) = self.realms.front().cloned() else { return Ok(None) };
            if self.unused.is_some() && !self.records_use(&name).await? {
                self.realms.pop_front();
                continue;
            }
            let size = self.page_size;
            let page = self.management.clients(&name, self.cursor.take(), size, size).await?;
            let admitted = page.clients.into_iter().filter(|client| self.filter.admits(client)).collect();
            self.page = self.unused_of(admitted).await?.into_iter();
            self.cursor = page.next;
            if self.cursor.is_none() {
                self.realms.pop_front();
                self.realm = None;
            }
        }
    }

    /// Whether it is known of clients of this realm who was not used for as long as is asked. Says so where it is not.
    async fn records_use(&mut self, name: &RealmName) -> Result<bool, Failure> {
        if self.realm.as_ref().is_none_or(|realm| realm.name != *name) {
            self.realm = Some(self.management.realm(name).await?);
        }
        let recorded_since = self.realm.as_ref().and_then(|realm| realm.settings.client_use_recorded_since);
        let Some(recorded_since) = recorded_since else {
            output::warn(&format!(
                "realm '{name}' does not record when its clients are used, so none of them is listed; record it from now on with: {}",
                suggest_here(&format!("realm set {name} --record-use on"))
            ));
            return Ok(false);
        };
        let Some(Unused { seconds, now, kept_since, .. }) = &self.unused else { return Ok(true) };
        let known_since = recorded_since.max(*kept_since);
        if known_since.plus(*seconds) <= *now {
            return Ok(true);
        }
        // Nobody has looked for so long, so not one client could be listed.
        let asked = in_words(*seconds);
        output::note(&if known_since == UnixSeconds(u64::MAX) {
            format!(
                "realm '{name}': no use of clients has been recorded yet, so nothing can be said of {asked} yet; start the server, and ask again \
                 after that time"
            )
        } else {
            format!(
                "realm '{name}': use is recorded since {}, so nothing can be said of {asked} yet; ask again after {}, or for a shorter time",
                output::utc(known_since),
                output::utc(known_since.plus(*seconds))
            )
        });
        Ok(false)
    }

    /// Those that were not used, where that was asked for.
    async fn unused_of(&self, clients: Vec<Client>) -> Result<Vec<Listed>, Failure> {
        let (Some(unused), Some(realm)) = (&self.unused, &self.realm) else {
            return Ok(clients.into_iter().map(|client| Listed { client, last_use: None }).collect());
        };
        let marks = unused.marks.last_used(&clients).await?;
        let listed = clients.into_iter().zip(marks).map(|(client, mark)| {
            let last_use = LastUse::of(&client, realm, mark, unused.kept_since);
            Listed { client, last_use: Some(last_use) }
        });
        let is_unused = |listed: &Listed| {
            listed.last_use.is_some_and(|last_use| last_use.is_unused_for(unused.seconds, unused.now))
        };
        Ok(listed.filter(is_unused).collect())
    }
}

impl Printer {
    fn client(&mut self, client: &Client, last_use: Option<LastUse>, stdout: &mut Stdout) -> Result<(), Failure> {
        match self {
            Self::Json { is_first } => {
                stdout.write(if *is_first { "{\n  \"clients\": [" } else { "," })?;
                *is_first = false;
                let last_used_on = last_use.map(|last_use| match last_use {
                    LastUse::On(day) => json!(day),
                    LastUse::NotSince(_) | LastUse::NotRecorded => Value::Null,
                });
                let shown = Shown { information: ClientInformation::of(client), last_used_on };
                stdout.write(&format!("\n    {}", output::indented(&shown, 4)?))
            }
            Self::Table(table) => table.client(client, last_use, stdout),
        }
    }
}

impl Table {
    fn new(of_all_realms: bool, with_ends: bool, with_use: bool, now: UnixSeconds) -> Self {
        let terminal = terminal::width();
        let mut table = Self { of_all_realms, with_ends, with_use, now, terminal, waiting: Vec::new(), columns: None };
        table.waiting.push(table.cells(|name| match name {
            "client_name" => "name".to_owned(),
            "access_token_lifetime" => "lifetime".to_owned(),
            "client_secret_expires_at" => "secret ends".to_owned(),
            LAST_USE => "last used".to_owned(),
            _ => name.to_owned(),
        }));
        table
    }

    fn client(&mut self, client: &Client, last_use: Option<LastUse>, stdout: &mut Stdout) -> Result<(), Failure> {
        let information = ClientInformation::of(client);
        let row = self.cells(|name| {
            if name == LAST_USE {
                return last_use.map(last_use_text).unwrap_or_default();
            }
            let text = output::member_text(name, information.members().value(name), unset(name));
            match (name, text.split_once(' ')) {
                // The day is enough to see what is to be done.
                ("client_secret_expires_at", Some((day, _))) if client.secret_has_expired(self.now) => {
                    format!("{day} (over)")
                }
                ("client_secret_expires_at", Some((day, _))) => day.to_owned(),
                _ => text.replace('\n', ", "),
            }
        });
        if let Some(columns) = &self.columns {
            return stdout.write(&columns.row(&row));
        }
        self.waiting.push(row);
        if self.waiting.len() > SCREENFUL { self.flush(stdout) } else { Ok(()) }
    }

    fn end(mut self, next: Option<&str>, stdout: &mut Stdout) -> Result<(), Failure> {
        if self.columns.is_none() {
            self.flush(stdout)?;
        }
        next.map_or(Ok(()), |cursor| stdout.write(&format!("There are more; continue with: --cursor {cursor}\n")))
    }

    /// Prints what has been waiting for the widths of its columns.
    fn flush(&mut self, stdout: &mut Stdout) -> Result<(), Failure> {
        let columns = Columns::fitting(&self.waiting, self.terminal);
        for (position, row) in self.waiting.drain(..).enumerate() {
            stdout.write(&columns.row(&row))?;
            if position == 0 {
                stdout.write(&columns.rule())?;
            }
        }
        self.columns = Some(columns);
        Ok(())
    }

    /// A cell for each column, by the name of its member.
    fn cells(&self, cell: impl Fn(&'static str) -> String) -> Vec<String> {
        let is_wide = self.terminal.is_none_or(|width| width >= WIDE);
        let columns = [
            ("client_id", true),
            ("realm", self.of_all_realms),
            ("client_name", true),
            ("owners", true),
            ("contacts", is_wide),
            ("status", true),
            ("client_secret_expires_at", self.with_ends),
            (LAST_USE, self.with_use),
            ("scope", is_wide || !(self.with_ends || self.with_use)),
            ("access_token_lifetime", is_wide),
        ];
        columns.into_iter().filter(|(_, is_shown)| *is_shown).map(|(name, _)| cell(name)).collect()
    }
}

fn end_json(is_first: bool, next: Option<&str>, stdout: &mut Stdout) -> Result<(), Failure> {
    stdout.write(if is_first { "{\n  \"clients\": []" } else { "\n  ]" })?;
    // The cursor, under the name that scripts know.
    stdout.write(&format!(",\n  \"next_page_token\": {}\n}}\n", output::indented(&next, 2)?))
}

fn nothing_listed(choice: &RealmChoice, is_filtered: bool, is_of_unused: bool) -> String {
    match choice {
        // That nobody was unused is not always known.
        RealmChoice::One(realm) if is_of_unused => {
            format!("realm {realm} has no such clients that are known to be unused\n")
        }
        RealmChoice::All if is_of_unused => "no realm has such clients that are known to be unused\n".to_owned(),
        RealmChoice::One(realm) if is_filtered => format!("realm {realm} has no such clients\n"),
        RealmChoice::One(realm) => {
            format!("realm {realm} has no clients here; register one with: {}\n", suggest("client create", realm))
        }
        RealmChoice::All if is_filtered => "no realm has such clients\n".to_owned(),
        RealmChoice::All => {
            format!("no realm has clients here; register one with: {}\n", suggest("client create", &RealmName::root()))
        }
    }
}

/// A time in the largest unit that goes into it.
fn in_words(seconds: u64) -> String {
    let units = [(24 * 60 * 60, "day"), (60 * 60, "hour"), (60, "minute")];
    let (unit, name) = units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit)).unwrap_or((1, "second"));
    let count = seconds / unit;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// The column that is not a member of the registration.
const LAST_USE: &str = "last_used_on";
/// After how many rows the widths of the columns are settled.
const SCREENFUL: usize = 100;
/// A terminal that has room for all columns.
const WIDE: usize = 100;
