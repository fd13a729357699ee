//! `grantwell realm`: creates realms and changes their settings.

use std::collections::BTreeSet;

use serde::Serialize;

use grantwell::core::access_token::settings::{
    AccessTokenFormat, AccessTokenPersistence, InvalidTokenLifetime, TokenLifetime,
};
use grantwell::core::client::grant_type::{GrantType, UnknownGrantType};
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::ports::Clock as _;
use grantwell::core::quota::{QuotaMode, QuotaSetting};
use grantwell::core::realm::{Realm, RealmName, RealmSettings};
use grantwell::core::scope::{MalformedScope, Scope};
use grantwell::core::time::UnixSeconds;
use grantwell::system::SystemClock;

use crate::access_token::{AccessTokenArguments, text_or};
use crate::failure::Failure;
use crate::key;
use crate::output::{self, OutputArguments};
use crate::quota::QuotaArguments;
use crate::store::{IfAbsent, StoreArguments, realm_failure};
use crate::valid_after::ValidAfterArguments;

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
    /// Creates a realm, or changes the settings named
    ///
    /// Settings that are not named stay as they are. A list replaces the list before it. A running server follows within
    /// a minute.
    #[command(after_help = "Examples:
  grantwell realm set alpha --default-scope write --allowed-scope 'read write' --token-lifetime 900
  grantwell realm set alpha --access-token-format jwt --signing-alg EdDSA
  grantwell realm set alpha --token-quota 1000/hour --token-quota-mode observe")]
    Set(Box<Set>),
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
    /// Granted where neither request nor client name a scope; '' removes it. Repeatable, or separated by spaces
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    default_scope: Vec<Scope>,
    /// The only scopes that clients of the realm can have; '' removes the limit. Repeatable, or separated by spaces
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    allowed_scope: Vec<Scope>,
    /// Seconds that access tokens live where the client does not say
    #[arg(long, value_name = "SECONDS", value_parser = token_lifetime)]
    token_lifetime: Option<TokenLifetime>,
    /// Takes the token lifetime back: the server's own applies again
    #[arg(long, conflicts_with = "token_lifetime")]
    inherit_token_lifetime: bool,
    /// The only grant types that clients of the realm can use; none allows no grant, '' removes the limit. Repeatable
    #[arg(long, value_name = "GRANT_TYPE", value_parser = grant_type_or_any)]
    grant_type: Vec<GrantTypeValue>,
    #[command(flatten)]
    access_token: AccessTokenArguments,
    #[command(flatten)]
    quota: QuotaArguments,
    #[command(flatten)]
    valid_after: ValidAfterArguments,
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
struct List {
    /// Only this one
    #[arg(long, value_name = "NAME")]
    realm: Option<RealmName>,
    #[command(flatten)]
    output: OutputArguments,
}

/// The realm a command is about: by position, or by `--realm` as `grantwell client` takes it.
#[derive(Debug, clap::Args)]
struct WhichRealm {
    /// The realm's name, as it stands in the endpoint's path [default: root]
    #[arg(value_name = "NAME", conflicts_with = "named")]
    positional: Option<RealmName>,
    /// The same
    #[arg(id = "named", long = "realm", value_name = "NAME")]
    named: Option<RealmName>,
}

impl WhichRealm {
    fn name(&self) -> RealmName {
        self.positional.clone().or_else(|| self.named.clone()).unwrap_or_else(RealmName::root)
    }
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

/// A realm as it is shown. `null` is what the realm leaves to the server, or to each client.
#[derive(Debug, Serialize)]
struct RealmView<'a> {
    realm: &'a RealmName,
    default_scope: Option<&'a Scope>,
    allowed_scope: Option<&'a Scope>,
    access_token_lifetime: Option<TokenLifetime>,
    grant_types: Option<&'a BTreeSet<GrantType>>,
    access_token_format: Option<AccessTokenFormat>,
    access_token_persistence: Option<AccessTokenPersistence>,
    access_token_signing_alg: Option<SigningAlgorithm>,
    token_quota: Option<QuotaSetting>,
    token_quota_mode: Option<QuotaMode>,
    tokens_valid_after: UnixSeconds,
}

#[derive(Debug, Serialize)]
struct RealmList<'a> {
    realms: Vec<RealmView<'a>>,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { command, store } = arguments;
    match command {
        Command::Set(set) => set.run(&store).await,
        Command::Show(show) => show.run(&store).await,
        Command::List(list) => list.run(&store).await,
    }
}

/// Parses one value of an option that takes scopes; an empty value is no scope.
pub(crate) fn scope(text: &str) -> Result<Scope, MalformedScope> {
    if text.is_empty() { Ok(Scope::empty()) } else { text.parse() }
}

/// Parses a number of seconds.
pub(crate) fn token_lifetime(text: &str) -> Result<TokenLifetime, InvalidTokenLifetime> {
    text.parse().map_err(|_| InvalidTokenLifetime).and_then(TokenLifetime::new)
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

/// The grant types that the occurrences of `--grant-type` name together, with a warning for those that nobody can use.
pub(crate) fn grant_types(values: &[GrantTypeValue]) -> Result<BTreeSet<GrantType>, Failure> {
    let named: BTreeSet<GrantType> = values
        .iter()
        .filter_map(|value| match value {
            GrantTypeValue::Named(grant_type) => Some(grant_type.clone()),
            GrantTypeValue::NoGrant | GrantTypeValue::Any => None,
        })
        .collect();
    if !named.is_empty() && values.iter().any(|value| !matches!(value, GrantTypeValue::Named(_))) {
        return Err(Failure::new("--grant-type none and '' stand alone; drop them, or the grant types beside them"));
    }
    for other in named.iter().filter(|grant_type| grant_type.as_str() != GrantType::CLIENT_CREDENTIALS) {
        output::warn(&format!(
            "this server only implements client_credentials; '{other}' is recorded and gets nobody a token"
        ));
    }
    Ok(named)
}

impl Set {
    async fn run(self, store: &StoreArguments) -> Result<(), Failure> {
        let store = store.open(IfAbsent::Create).await?;
        let name = self.realm.name();
        let before = store.find_realm(&name).await?.unwrap_or_else(|| Realm::new(name));
        let mut realm = before.clone();
        self.apply(&mut realm.settings, &before.name)?;
        check(&realm.settings)?;
        realm.keep_longer_tokens_of(&before, SystemClock.now());

        // Revision 0 is a realm without a record: writing one is what creates it, even where nothing is set.
        if realm != before || before.revision == 0 {
            realm.revision = before.revision.saturating_add(1);
            store.registrar().put_realm(&realm).await.map_err(|error| realm_failure(error, &realm.name))?;
        }
        if self.access_token.name_signing_alg() {
            key::publish_in_advance(&store, &realm, None).await?;
        }
        self.valid_after.wait_until_over(realm.settings.tokens_valid_after).await;
        self.output.print(&RealmView::of(&realm), RealmView::table)
    }

    fn apply(&self, settings: &mut RealmSettings, name: &RealmName) -> Result<(), Failure> {
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
            let named = grant_types(&self.grant_type)?;
            settings.grant_types = Some(named).filter(|_| !self.grant_type.contains(&GrantTypeValue::Any));
        }
        self.access_token.apply(
            &mut settings.access_token_format,
            &mut settings.access_token_persistence,
            &mut settings.access_token_signing_alg,
        );
        self.quota.apply(&mut settings.token_quota, &mut settings.token_quota_mode);
        let (whose, command) = (format!("realm '{name}'"), format!("grantwell realm set {name}"));
        settings.tokens_valid_after = self.valid_after.apply(settings.tokens_valid_after, &whose, &command)?;
        Ok(())
    }
}

impl Show {
    async fn run(self, store: &StoreArguments) -> Result<(), Failure> {
        let realm = store.open(IfAbsent::Refuse).await?.realm(&self.realm.name()).await?;
        self.output.print(&RealmView::of(&realm), RealmView::table)
    }
}

impl List {
    async fn run(self, store: &StoreArguments) -> Result<(), Failure> {
        let store = store.open(IfAbsent::Refuse).await?;
        let root = RealmName::root();
        let mut realms = store.registrar().list_realms().await.map_err(|error| realm_failure(error, &root))?;
        if !realms.iter().any(|realm| realm.name.is_root()) {
            realms.push(Realm::new(root));
        }
        realms.retain(|realm| self.realm.as_ref().is_none_or(|only| realm.name == *only));
        // Root first, as the parent of the others.
        realms.sort_by_key(|realm| !realm.name.is_root());
        let list = RealmList { realms: realms.iter().map(RealmView::of).collect() };
        self.output.print(&list, RealmList::table)
    }
}

impl<'a> RealmView<'a> {
    fn of(realm: &'a Realm) -> Self {
        Self {
            realm: &realm.name,
            default_scope: realm.settings.default_scope.as_ref(),
            allowed_scope: realm.settings.allowed_scope.as_ref(),
            access_token_lifetime: realm.settings.access_token_lifetime,
            grant_types: realm.settings.grant_types.as_ref(),
            access_token_format: realm.settings.access_token_format,
            access_token_persistence: realm.settings.access_token_persistence,
            access_token_signing_alg: realm.settings.access_token_signing_alg,
            token_quota: realm.settings.token_quota,
            token_quota_mode: realm.settings.token_quota_mode,
            tokens_valid_after: realm.settings.tokens_valid_after,
        }
    }

    fn table(&self) -> String {
        output::members([
            ("realm", self.realm.to_string()),
            ("default_scope", self.default_scope.map_or_else(|| "not set".into(), Scope::to_string)),
            ("allowed_scope", self.allowed_scope_text()),
            ("access_token_lifetime", self.lifetime_text()),
            ("grant_types", self.grant_types_text()),
            ("access_token_format", text_or(self.access_token_format.map(AccessTokenFormat::as_str), "the server's")),
            (
                "access_token_persistence",
                text_or(self.access_token_persistence.map(AccessTokenPersistence::as_str), "the server's"),
            ),
            ("access_token_signing_alg", text_or(self.access_token_signing_alg, "the server's")),
            ("token_quota", text_or(self.token_quota, "none")),
            ("token_quota_mode", text_or(self.token_quota_mode.map(QuotaMode::as_str), "enforce")),
            ("tokens_valid_after", self.tokens_valid_after_text()),
        ])
    }

    fn allowed_scope_text(&self) -> String {
        self.allowed_scope.map_or_else(|| "any".into(), Scope::to_string)
    }

    fn lifetime_text(&self) -> String {
        self.access_token_lifetime.map_or_else(|| "the server's".into(), |lifetime| format!("{} s", lifetime.seconds()))
    }

    fn tokens_valid_after_text(&self) -> String {
        output::utc_or_not_set(self.tokens_valid_after)
    }

    fn grant_types_text(&self) -> String {
        self.grant_types.map_or_else(|| "any".into(), grant_types_text)
    }
}

impl RealmList<'_> {
    fn table(&self) -> String {
        let row = |view: &RealmView<'_>| {
            vec![
                view.realm.to_string(),
                view.default_scope.map(Scope::to_string).unwrap_or_default(),
                view.allowed_scope_text(),
                view.lifetime_text(),
                view.grant_types_text(),
            ]
        };
        let rows: Vec<_> = self.realms.iter().map(row).collect();
        output::table(&["realm", "default_scope", "allowed_scope", "lifetime", "grant_types"], 12, &rows)
    }
}

/// Grant types for people.
pub(crate) fn grant_types_text(grant_types: &BTreeSet<GrantType>) -> String {
    if grant_types.is_empty() {
        return "none".into();
    }
    grant_types.iter().map(GrantType::as_str).collect::<Vec<_>>().join("\n")
}

fn grant_type_or_any(text: &str) -> Result<GrantTypeValue, UnknownGrantType> {
    if text.is_empty() { Ok(GrantTypeValue::Any) } else { grant_type(text) }
}

/// A default that the realm itself does not allow would turn every request without a scope into `invalid_scope`.
fn check(settings: &RealmSettings) -> Result<(), Failure> {
    if let (Some(default), Some(allowed)) = (&settings.default_scope, &settings.allowed_scope)
        && let Some(outside) = default.tokens().find(|token| !allowed.contains(token))
    {
        return Err(Failure::new(format!(
            "the default scope '{outside}' is not among the realm's allowed scopes '{allowed}'; add it with \
             --allowed-scope or drop it"
        )));
    }
    Ok(())
}
