//! `grantwell owner`: who is responsible for clients.

use serde::Serialize;
use serde_json::Value;

use grantwell::core::aws_principal::{AwsPrincipal, MalformedAwsPrincipal};
use grantwell::core::management::OwnerChange;
use grantwell::core::members::Members;
use grantwell::core::owner::{
    EmailAddress, MalformedEmailAddress, MalformedOwnerName, Owner, OwnerDetails, OwnerId, OwnerName, OwnerStatus,
};

use crate::access_token::{Setting, apply};
use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::store::{IfAbsent, StoreArguments, StoreName, suggest_here};
use crate::words;

/// `grantwell owner …`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  grantwell owner create alice --name 'Alice Example'")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Makes an owner, who can be given clients of any realm
    #[command(after_help = "Examples:
  grantwell owner create alice --name 'Alice Example' \\
      --email alice@example.com
  grantwell owner create orders \\
      --aws-principal arn:aws:iam::111122223333:role/OrdersTeam
  grantwell client create --id orders --owner orders --scope read")]
    Create(Create),
    /// Lists the owners
    #[command(after_help = "Example:
  grantwell owner list --output json")]
    List(List),
    /// Shows an owner
    #[command(after_help = "Example:
  grantwell owner show alice")]
    Show(Show),
    /// Changes what you name of an owner
    ///
    /// Everything else stays as it is. A list replaces the list before it, and an empty value ('') removes what was set.
    #[command(after_help = "Examples:
  grantwell owner update alice --email alice@example.org
  grantwell owner update orders --status disabled")]
    Update(Update),
    /// Deletes an owner that no longer owns a client
    #[command(after_help = "Example:
  grantwell owner delete alice")]
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The owner's id: 1 to 128 of A-Z a-z 0-9 . _ @ -
    #[arg(value_name = "ID")]
    id: OwnerId,
    #[command(flatten)]
    details: Details,
    #[command(flatten)]
    output: OutputArguments,
}

/// What an operator decides about an owner. An empty value removes what was set.
#[derive(Debug, clap::Args)]
struct Details {
    /// A name for people (name)
    #[arg(long, value_parser = name)]
    name: Option<Setting<OwnerName>>,
    /// Where the owner can be written to; nothing is sent there (email)
    #[arg(long, value_name = "ADDRESS", value_parser = email)]
    email: Option<Setting<EmailAddress>>,
    /// A role or user of AWS that may manage the owner's clients, and only these (aws_principals). A session counts as its role.
    /// Repeatable
    #[arg(long, value_name = "ARN", value_parser = aws_principal)]
    aws_principal: Vec<Setting<AwsPrincipal>>,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The owner's id
    #[arg(value_name = "ID")]
    id: OwnerId,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
struct Update {
    /// The owner's id
    #[arg(value_name = "ID")]
    id: OwnerId,
    #[command(flatten)]
    details: Details,
    /// Whether its AWS principals may manage its clients, and whether it can be given others. Its clients go on working (status)
    #[arg(long, value_enum)]
    status: Option<Status>,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// The owner's id
    #[arg(value_name = "ID")]
    id: OwnerId,
}

/// A status as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Status {
    Active,
    Disabled,
}

#[derive(Debug, Serialize)]
struct OwnerList {
    owners: Vec<Members>,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { command, store } = arguments;
    let store = store.name()?;
    match command {
        Command::Create(create) => create.run(&store).await,
        Command::List(list) => list.run(&store).await,
        Command::Show(show) => show.run(&store).await,
        Command::Update(update) => update.run(&store).await,
        Command::Delete(delete) => delete.run(&store).await,
    }
}

impl Create {
    async fn run(self, store: &StoreName) -> Result<(), Failure> {
        let mut details = OwnerDetails::default();
        self.details.apply(&mut details);
        let store = store.open(IfAbsent::Create).await?;
        let created = store.management().create_owner(self.id, details).await;
        let (owner, _store) = store.settle(created).await?;
        print(&self.output, &owner)
    }
}

impl List {
    async fn run(self, store: &StoreName) -> Result<(), Failure> {
        let store = store.open(IfAbsent::Refuse).await?;
        let owners = store.management().owners().await?;
        let list = OwnerList { owners: owners.iter().map(Owner::information).collect() };
        self.output.print(&list, OwnerList::table)
    }
}

impl Show {
    async fn run(self, store: &StoreName) -> Result<(), Failure> {
        let store = store.open(IfAbsent::Refuse).await?;
        print(&self.output, &store.management().owner(&self.id).await?)
    }
}

impl Update {
    async fn run(self, store: &StoreName) -> Result<(), Failure> {
        if self.details.are_none() && self.status.is_none() {
            return Err(Failure::Misuse(format!(
                "owner update was told nothing to change of owner '{}'; name what to change, such as --name or --status (all of them: \
                 grantwell owner update --help)",
                self.id
            )));
        }
        let status = self.status.map(|status| match status {
            Status::Active => OwnerStatus::Active,
            Status::Disabled => OwnerStatus::Disabled,
        });
        let change = OwnerChange { details: &|details| self.details.apply(details), status };
        let store = store.open(IfAbsent::Refuse).await?;
        let changed = store.management().update_owner(&self.id, &change).await?;
        words::tell(&changed.notices);
        print(&self.output, &changed.record)
    }
}

impl Delete {
    async fn run(self, store: &StoreName) -> Result<(), Failure> {
        let store = store.open(IfAbsent::Refuse).await?;
        let made_again = store.management().delete_owner(&self.id).await?;
        words::tell(made_again.as_slice());
        output::note(&format!("owner '{}' was deleted", self.id));
        Ok(())
    }
}

impl Details {
    fn are_none(&self) -> bool {
        self.name.is_none() && self.email.is_none() && self.aws_principal.is_empty()
    }

    fn apply(&self, details: &mut OwnerDetails) {
        apply(self.name.clone(), &mut details.name);
        apply(self.email.clone(), &mut details.email);
        if !self.aws_principal.is_empty() {
            let named = self.aws_principal.iter().filter_map(|Setting(principal)| principal.clone());
            details.aws_principals = named.collect();
        }
    }
}

impl OwnerList {
    fn table(&self) -> String {
        if self.owners.is_empty() {
            return format!("there are no owners; make one with: {}", suggest_here("owner create ID"));
        }
        let row = |owner: &Members| {
            let text = |name| output::member_text(name, owner.value(name), "");
            ["owner", "name", "email", "status", "aws_principals"].map(text).into()
        };
        let rows: Vec<_> = self.owners.iter().map(row).collect();
        output::table(&["owner", "name", "email", "status", "aws_principals"], 22, &rows)
    }
}

fn print(output: &OutputArguments, owner: &Owner) -> Result<(), Failure> {
    output.print(&owner.information(), |members| {
        let unset = |value: &Value| if value.as_array().is_some_and(Vec::is_empty) { "none" } else { "not set" };
        let rows = members.iter().filter(|(name, value)| *name != output::MANAGED_BY || !value.is_null());
        output::record(rows.map(|(name, value)| {
            let text = output::member_text(name, value, unset(value));
            (name, if text.is_empty() { unset(value).to_owned() } else { text })
        }))
    })
}

fn name(text: &str) -> Result<Setting<OwnerName>, MalformedOwnerName> {
    if text.is_empty() { Ok(Setting(None)) } else { text.parse().map(|name| Setting(Some(name))) }
}

fn email(text: &str) -> Result<Setting<EmailAddress>, MalformedEmailAddress> {
    if text.is_empty() { Ok(Setting(None)) } else { text.parse().map(|email| Setting(Some(email))) }
}

fn aws_principal(text: &str) -> Result<Setting<AwsPrincipal>, MalformedAwsPrincipal> {
    if text.is_empty() { Ok(Setting(None)) } else { text.parse().map(|principal| Setting(Some(principal))) }
}
