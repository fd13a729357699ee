//! `grantwell realm`: creates realms and changes their settings.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use grantwell::config;
use grantwell::core::access_token::settings::{InvalidTokenLifetime, TokenLifetime};
use grantwell::core::client::grant_type::{GrantType, UnknownGrantType};
use grantwell::core::client::secret_storage::SecretStorage;
use grantwell::core::management::{EffectiveSettings, Management, Notice, RealmChange, Subject};
use grantwell::core::members::Members;
use grantwell::core::ports::Clock as _;
use grantwell::core::realm::{
    AssertionAudience, AssertionLifetime, InvalidAssertionLifetime, Realm, RealmName, RealmSettings,
};
use grantwell::core::realms::RealmDefaults;
use grantwell::core::scope::{MalformedScope, Scope};
use grantwell::system::SystemClock;

use crate::access_token::{AccessTokenArguments, Setting, apply, setting};
use crate::confirm::{ConfirmArguments, Unattended};
use crate::duration;
use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::quota::QuotaArguments;
use crate::secret_storage;
use crate::store::{IfAbsent, StoreArguments, StoreName, realm_or_of_environment};
use crate::valid_after::ValidAfterArguments;
use crate::words;

/// `grantwell realm …`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  grantwell realm set alpha --default-scope write --token-lifetime 900")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Creates a realm, or changes the settings that you name
    ///
    /// All other settings stay as they are. A list replaces the list before it. A running server follows within
    /// a minute.
    #[command(after_help = "Examples:
  grantwell realm set alpha --default-scope write \\
      --allowed-scope 'read write' --token-lifetime 15m
  grantwell realm set alpha --access-token-format jwt --signing-alg EdDSA
  grantwell realm set alpha --token-quota 1k/hour --token-quota-mode observe")]
    Set(Box<Set>),
    /// Deletes a realm without clients, or with them
    ///
    /// Its clients are disabled and then deleted with their secrets, then its signing keys, and at last the realm. All of its tokens are
    /// inactive from then on, also if you make a realm of the same name again. If the command is interrupted, run it again. The root realm
    /// stays. A running server follows within a minute.
    #[command(after_help = "Examples:
  grantwell realm delete alpha
  grantwell realm delete alpha --with-clients --yes")]
    Delete(Delete),
    /// Shows a realm's settings
    #[command(after_help = "Example:
  grantwell realm show alpha")]
    Show(Show),
    /// Lists the realms; root is always among them
    #[command(after_help = "Example:
  grantwell realm list --output json")]
    List(List),
}

#[derive(Debug, clap::Args)]
struct Set {
    #[command(flatten)]
    realm: WhichRealm,
    /// Granted if neither the request nor the client names a scope; '' removes it (default_scope). Repeatable, or separated by
    /// spaces
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    default_scope: Vec<Scope>,
    /// The only scopes that clients of the realm can have; '' removes the limit (allowed_scope). Repeatable, or separated by
    /// spaces
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    allowed_scope: Vec<Scope>,
    /// How long access tokens live if the client does not say: seconds, or with a unit such as 15m or 1h (access_token_lifetime)
    #[arg(long, value_name = "DURATION", value_parser = token_lifetime)]
    token_lifetime: Option<TokenLifetime>,
    /// Removes the realm's token lifetime, so that the server's applies again
    #[arg(long, conflicts_with = "token_lifetime")]
    inherit_token_lifetime: bool,
    /// The only grant types that clients of the realm can use; none allows no grant, '' removes the limit (grant_types).
    /// Repeatable
    #[arg(long, value_name = "GRANT_TYPE", value_parser = grant_type_or_any)]
    grant_type: Vec<GrantTypeValue>,
    #[command(flatten)]
    access_token: AccessTokenArguments,
    #[command(flatten)]
    quota: QuotaArguments,
    /// Where a deployed stack keeps the secrets of clients that you register from now on and that do not say themselves: in Secrets
    /// Manager, or as digests, at no cost; '' removes the setting (client_secret_storage)
    #[arg(long, value_name = "secrets-manager|digest", value_parser = secret_storage::of_realm)]
    secret_storage: Option<Setting<SecretStorage>>,
    /// What the assertions of clients with private_key_jwt have to be for: the issuer alone, or with compatible also the URL
    /// of the token endpoint, as some libraries send it; '' removes the setting (assertion_audience) [default: strict]
    #[arg(long, value_name = "strict|compatible", value_parser = assertion_audience)]
    assertion_audience: Option<Setting<AssertionAudience>>,
    /// How long those assertions may be valid: seconds up to 3600, or with a unit such as 5m; '' removes the setting
    /// (assertion_max_lifetime) [default: 300]
    #[arg(long, value_name = "DURATION", value_parser = assertion_lifetime)]
    assertion_max_lifetime: Option<Setting<AssertionLifetime>>,
    /// Records on which day each client was last used, for `client list --unused`: on, or off. Costs a write a client and day
    /// (client_use_recorded_since) [default: off]
    #[arg(long, value_name = "on|off", value_enum)]
    record_use: Option<Switch>,
    #[command(flatten)]
    valid_after: ValidAfterArguments,
    #[command(flatten)]
    confirm: ConfirmArguments,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    realm: WhichRealm,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// The realm's name
    #[arg(value_name = "NAME")]
    name: RealmName,
    /// Deletes its clients, too
    #[arg(long)]
    with_clients: bool,
    #[command(flatten)]
    confirm: ConfirmArguments,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct Removal<'a> {
    realm: &'a RealmName,
    deleted: bool,
    clients_deleted: usize,
    signing_keys_deleted: bool,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Lists only this realm
    #[arg(long, value_name = "NAME")]
    realm: Option<RealmName>,
    #[command(flatten)]
    output: OutputArguments,
}

/// The realm a command is about: by position, or by `--realm` as `grantwell client` takes it.
#[derive(Debug, clap::Args)]
struct WhichRealm {
    /// The realm's name, as it appears in the endpoint's path [default: root; env: GRANTWELL_REALM]
    #[arg(value_name = "NAME", conflicts_with = "named")]
    positional: Option<RealmName>,
    /// The realm's name, as an option
    #[arg(id = "named", long = "realm", value_name = "NAME")]
    named: Option<RealmName>,
}

impl WhichRealm {
    fn name(&self) -> Result<RealmName, Failure> {
        realm_or_of_environment(self.positional.clone().or_else(|| self.named.clone()))
    }
}

/// A value of `--record-use`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

/// A value of `--grant-type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GrantTypeValue {
    /// A grant type by name.
    Named(GrantType),
    /// `none`.
    NoGrant,
    /// An empty value: no limit.
    Any,
}

/// The text is not a lifetime of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}, also with a unit in lower case, such as 15m, 24h or 30d")]
pub(crate) struct NoTokenLifetime(#[from] InvalidTokenLifetime);

/// A realm with what the server decides for it.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    information: Members,
    effective: EffectiveSettings,
}

#[derive(Debug, Serialize)]
struct RealmList {
    realms: Vec<Members>,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { command, store } = arguments;
    let store = store.name()?;
    match command {
        Command::Set(set) => set.run(&store).await,
        Command::Delete(delete) => delete.run(&store).await,
        Command::Show(show) => show.run(&store).await,
        Command::List(list) => list.run(&store).await,
    }
}

/// Parses one value of an option that takes scopes; an empty value is no scope.
pub(crate) fn scope(text: &str) -> Result<Scope, MalformedScope> {
    if text.is_empty() { Ok(Scope::empty()) } else { text.parse() }
}

/// Parses the lifetime of tokens.
pub(crate) fn token_lifetime(text: &str) -> Result<TokenLifetime, NoTokenLifetime> {
    let seconds = duration::seconds(text).map_err(|_| InvalidTokenLifetime)?;
    Ok(TokenLifetime::new(seconds)?)
}

/// The text is not an audience of assertions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audience of assertions is strict or compatible; '' removes the setting")]
struct UnknownAudience;

fn assertion_audience(text: &str) -> Result<Setting<AssertionAudience>, UnknownAudience> {
    setting(text, AssertionAudience::ALL.into_iter().find(|audience| audience.as_str() == text), UnknownAudience)
}

fn assertion_lifetime(text: &str) -> Result<Setting<AssertionLifetime>, InvalidAssertionLifetime> {
    if text.is_empty() {
        return Ok(Setting(None));
    }
    let seconds = duration::seconds(text).map_err(|_| InvalidAssertionLifetime)?;
    AssertionLifetime::new(seconds).map(|lifetime| Setting(Some(lifetime)))
}

/// Parses a grant type or `none`.
pub(crate) fn grant_type(text: &str) -> Result<GrantTypeValue, UnknownGrantType> {
    if text == "none" { Ok(GrantTypeValue::NoGrant) } else { text.parse().map(GrantTypeValue::Named) }
}

/// The scopes of every occurrence of an option together; `None` where it does not occur.
pub(crate) fn union(values: &[Scope]) -> Option<Scope> {
    let (first, rest) = values.split_first()?;
    Some(rest.iter().fold(first.clone(), |all, more| all.union(more)))
}

/// The grant types that the occurrences of `--grant-type` name together.
pub(crate) fn grant_types(values: &[GrantTypeValue]) -> BTreeSet<GrantType> {
    let named = values.iter().filter_map(|value| match value {
        GrantTypeValue::Named(grant_type) => Some(grant_type.clone()),
        GrantTypeValue::NoGrant | GrantTypeValue::Any => None,
    });
    named.collect()
}

/// Refuses grant types beside the word that there are none.
pub(crate) fn refuse_mixed(values: &[GrantTypeValue]) -> Result<(), Failure> {
    let names_one = |value: &GrantTypeValue| matches!(value, GrantTypeValue::Named(_));
    if values.iter().any(names_one) && !values.iter().all(names_one) {
        return Err(Failure::new(
            "--grant-type none and --grant-type '' cannot be combined with other grant types; leave out one or the other",
        ));
    }
    Ok(())
}

impl Set {
    async fn run(self, store: &StoreName) -> Result<(), Failure> {
        refuse_mixed(&self.grant_type)?;
        let name = self.realm.name()?;
        let change = RealmChange {
            settings: &|settings| self.apply(settings),
            names_signature: self.access_token.name_signature(),
            tokens_valid_after: self.valid_after.change(),
            ..RealmChange::NOTHING
        };
        self.valid_after.confirm(&self.confirm, &format!("realm '{name}'"))?;
        let store = store.open(IfAbsent::Create).await?;
        let changed = store.management().set_realm(&name, &change).await;
        let (changed, store) = store.settle(changed).await?;
        words::tell(&changed.notices);
        self.valid_after.wait_until_over(changed.record.settings.tokens_valid_after).await;
        print(&self.output, &changed.record, store.management())
    }

    fn apply(&self, settings: &mut RealmSettings) {
        if let Some(scope) = union(&self.default_scope) {
            settings.default_scope = Some(scope).filter(|scope| !scope.is_empty());
        }
        if let Some(scope) = union(&self.allowed_scope) {
            settings.allowed_scope = Some(scope).filter(|scope| !scope.is_empty());
        }
        if self.inherit_token_lifetime || self.token_lifetime.is_some() {
            settings.access_token_lifetime = self.token_lifetime;
        }
        if !self.grant_type.is_empty() {
            let is_limited = !self.grant_type.contains(&GrantTypeValue::Any);
            settings.grant_types = is_limited.then(|| grant_types(&self.grant_type));
        }
        self.access_token.apply(
            &mut settings.access_token_format,
            &mut settings.access_token_persistence,
            &mut settings.access_token_signing_alg,
        );
        apply(self.secret_storage, &mut settings.client_secret_storage);
        self.quota.apply(&mut settings.token_quota, &mut settings.token_quota_mode);
        apply(self.assertion_audience, &mut settings.assertion_audience);
        apply(self.assertion_max_lifetime, &mut settings.assertion_max_lifetime);
        match self.record_use {
            // Whoever says so again does not begin anew.
            Some(Switch::On) => {
                settings.client_use_recorded_since.get_or_insert_with(|| SystemClock.now());
            }
            Some(Switch::Off) => settings.client_use_recorded_since = None,
            None => {}
        }
    }
}

impl Delete {
    async fn run(self, store: &StoreName) -> Result<(), Failure> {
        let Self { name, with_clients, confirm, output } = self;
        let store = store.open(IfAbsent::Refuse).await?;
        let clients = store.management().deletion_of_realm(&name, with_clients).await?;
        let with = match clients {
            0 => "its signing keys".to_owned(),
            1 => "its client, that client's secrets and its signing keys".to_owned(),
            more => format!("its {more} clients, their secrets and its signing keys"),
        };
        confirm.confirm(
            &format!("delete realm '{name}' with {with}, which ends its tokens and cannot be taken back"),
            Unattended::Ends,
        )?;
        let deleted = store.management().delete_realm(&name, with_clients).await?;
        let made_again =
            deleted.declared_by.map(|file| Notice::MadeAgainByFile { of: Subject::Realm(name.clone()), file });
        words::tell(made_again.as_slice());
        let answer = Removal {
            realm: &name,
            deleted: true,
            clients_deleted: deleted.clients,
            signing_keys_deleted: deleted.had_keys,
        };
        output.print(&answer, |Removal { realm, clients_deleted, signing_keys_deleted, .. }| {
            let clients =
                if *clients_deleted == 1 { "1 client".to_owned() } else { format!("{clients_deleted} clients") };
            let keys = if *signing_keys_deleted { "its signing keys" } else { "no signing keys, because it had none" };
            format!("deleted realm {realm}, {clients} and {keys}")
        })
    }
}

impl Show {
    async fn run(self, store: &StoreName) -> Result<(), Failure> {
        let store = store.open(IfAbsent::Refuse).await?;
        let realm = store.management().realm(&self.realm.name()?).await?;
        let effective = effective(&realm, &config::realm_defaults()?, store.management());
        let shown = Shown { information: realm.information(), effective };
        self.output.print(&shown, |Shown { information, effective }| table(information, Some(effective)))
    }
}

impl List {
    async fn run(self, store: &StoreName) -> Result<(), Failure> {
        let store = store.open(IfAbsent::Refuse).await?;
        let mut realms = store.management().realms().await?;
        realms.retain(|realm| self.realm.as_ref().is_none_or(|only| realm.name == *only));
        let list = RealmList { realms: realms.iter().map(Realm::information).collect() };
        self.output.print(&list, RealmList::table)
    }
}

impl RealmList {
    fn table(&self) -> String {
        let row = |realm: &Members| {
            let text = |name| match (name, realm.value(name)) {
                ("default_scope", Value::Null) => String::new(),
                (_, value) => output::member_text(name, value, unset(name)),
            };
            ["realm", "default_scope", "allowed_scope", "access_token_lifetime", "grant_types"].map(text).into()
        };
        let rows: Vec<_> = self.realms.iter().map(row).collect();
        output::table(&["realm", "default_scope", "allowed_scope", "lifetime", "grant_types"], 12, &rows)
    }
}

/// Prints a realm that was changed. It is changed whatever this process makes of the server's settings.
fn print(output: &OutputArguments, realm: &Realm, management: &Management) -> Result<(), Failure> {
    let effective = config::realm_defaults().ok().map(|defaults| effective(realm, &defaults, management));
    output.print(&realm.information(), |members| table(members, effective.as_ref()))
}

fn effective(realm: &Realm, defaults: &RealmDefaults, management: &Management) -> EffectiveSettings {
    EffectiveSettings::of_realm(realm, defaults, management.default_secret_storage())
}

fn table(members: &Members, effective: Option<&EffectiveSettings>) -> String {
    output::record(output::member_rows(members, effective, unset))
}

/// What to show for a setting that the realm does not have.
fn unset(member: &str) -> &'static str {
    match member {
        "default_scope" => "not set",
        "allowed_scope" | "grant_types" => "any",
        "token_quota" | "trusted_issuers" => "none",
        "client_use_recorded_since" => "not recorded",
        "token_quota_mode" => "enforce",
        _ => "the server's",
    }
}

fn grant_type_or_any(text: &str) -> Result<GrantTypeValue, UnknownGrantType> {
    if text.is_empty() { Ok(GrantTypeValue::Any) } else { grant_type(text) }
}
