//! `--store` and `--realm`: where the commands find the registry of clients and realms, and how they open it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

#[cfg(feature = "aws")]
use grantwell::aws::store::use_marks::DynamoUseMarks;
use grantwell::config;
use grantwell::core::admin_log::Face;
use grantwell::core::management::{Logging, Management, ManagementError};
use grantwell::core::ports::{KeyStore, Registrar, UseMarks};
use grantwell::core::realm::{MalformedRealmName, RealmName};
use grantwell::embedded::os_user::OsUser;
use grantwell::embedded::store::data_dir::DataDir;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::embedded::store::use_marks::UseMarksOnDisk;
use grantwell::system::{SystemClock, SystemRandom};

use crate::failure::Failure;
use crate::output;
use crate::store_identity::StoreIdentity;

/// `--store` of the commands that manage a registry.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArguments {
    /// Where the registry is: `file:DIR` as for `grantwell serve`, or `aws` for the deployed stack [default:
    /// file:grantwell-data; env: GRANTWELL_STORE]
    // Not read by clap, to which an empty variable is a value, and which names the option where the variable is wrong.
    #[arg(long, global = true, value_name = "file:DIR|aws", help_heading = "Where")]
    store: Option<StoreName>,
}

/// Which store, and which realm in it, as the command line and the environment name them.
#[derive(Debug, clap::Args)]
pub(crate) struct PlaceArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The realm that owns the clients and the keys [default: root; env: GRANTWELL_REALM]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Where")]
    realm: Option<RealmName>,
}

/// Which store, and which realm in it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) store: StoreName,
    pub(crate) realm: RealmName,
}

/// [`PlaceArguments`] of commands of which one goes through all realms.
#[derive(Debug, clap::Args)]
pub(crate) struct PlacesArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The realm that owns the clients; `client list` takes '*' for all realms [default: root; env: GRANTWELL_REALM]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Where")]
    realm: Option<RealmChoice>,
}

/// Which store, and which realm in it, or all of them.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) store: StoreName,
    pub(crate) realm: RealmChoice,
    /// What says so, the option or the variable.
    realm_named_by: &'static str,
}

/// One realm, or each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RealmChoice {
    /// The one of this name.
    One(RealmName),
    /// `*`.
    All,
}

/// A store as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreName {
    /// `file:DIR`: a local server's data directory.
    File(PathBuf),
    /// `memory`: ends with its process.
    Memory,
    /// `aws`: DynamoDB and Secrets Manager.
    Aws,
}

/// The text names no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnknownStore {
    /// Neither of the names.
    #[error("a store is file:DIR, memory or aws")]
    Name,
    /// `file:` and nothing.
    #[error("file: needs a directory, such as file:grantwell-data")]
    NoDirectory,
    /// The shell replaces `~` at the beginning of a word only, and the word begins with `file:`.
    #[error("the shell does not expand '~' after file:; write file:$HOME/...")]
    Tilde,
}

/// What to do where the data directory does not exist yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfAbsent {
    /// Create it: the command is about to write the first record.
    Create,
    /// Say so: there is nothing to read, and a mistyped directory should not come into being.
    Refuse,
    /// Look at it as if there were one without a record: the command says what it would write.
    TakeForEmpty,
}

/// An open registry, with the signing keys of its realms, and what can be done with it.
pub(crate) struct Store {
    management: Management,
    /// The registry and its path where it is a file.
    file: Option<(Arc<SqliteRegistry>, PathBuf)>,
    /// What this command has made to have a registry.
    made: Option<Made>,
    marks: Marks,
    whose: Whose,
}

/// What says which store it is.
enum Whose {
    Directory(PathBuf),
    #[cfg(feature = "aws")]
    Table(String, grantwell::aws::store::registry_id::RegistryIdentity),
}

/// Where it is kept on which day clients were last used.
enum Marks {
    /// In the token database of a local server.
    OnDisk(PathBuf),
    /// In the token table of a stack, whose name is asked for when it is needed.
    #[cfg(feature = "aws")]
    InDynamoDb(aws_sdk_dynamodb::Client),
}

/// What was not there before: the registry, and the directories on the way to it, the outermost first.
struct Made {
    directories: Vec<PathBuf>,
}

impl StoreName {
    /// The store that is named: by the option, else by the variable, else where `grantwell serve` keeps its data unless told otherwise.
    pub(crate) fn or_of_environment(named: Option<Self>) -> Result<Self, Failure> {
        match named {
            Some(name) => Ok(NAMED.get_or_init(|| name).clone()),
            None => Ok(config::variable("GRANTWELL_STORE")?.unwrap_or_else(|| Self::File("grantwell-data".into()))),
        }
    }

    /// Whether it is a deployed stack, which has a schedule.
    pub(crate) fn is_deployed(&self) -> bool {
        *self == Self::Aws
    }

    /// Opens the store.
    pub(crate) async fn open(&self, if_absent: IfAbsent) -> Result<Store, Failure> {
        match self {
            Self::File(directory) => open_file(directory, if_absent),
            Self::Memory => Err(Failure::new(
                "the memory store exists only inside the server's process, so this command cannot manage it; use \
                 --store file:DIR, and run the server with the same directory",
            )),
            Self::Aws => open_aws().await,
        }
    }
}

/// As a shell reads it.
impl fmt::Display for StoreName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = match self {
            Self::File(directory) => directory.display().to_string(),
            Self::Memory => return formatter.write_str("memory"),
            Self::Aws => return formatter.write_str("aws"),
        };
        let is_plain = |character: char| character.is_alphanumeric() || matches!(character, '/' | '.' | '_' | '-');
        if directory.chars().all(is_plain) {
            write!(formatter, "file:{directory}")
        } else {
            write!(formatter, "'file:{}'", directory.replace('\'', "'\\''"))
        }
    }
}

impl FromStr for StoreName {
    type Err = UnknownStore;

    fn from_str(text: &str) -> Result<Self, UnknownStore> {
        match (text, text.strip_prefix("file:")) {
            ("memory", _) => Ok(Self::Memory),
            ("aws", _) => Ok(Self::Aws),
            (_, Some("")) => Err(UnknownStore::NoDirectory),
            (_, Some(directory)) if directory == "~" || directory.starts_with("~/") => Err(UnknownStore::Tilde),
            (_, Some(directory)) => Ok(Self::File(directory.into())),
            (_, None) => Err(UnknownStore::Name),
        }
    }
}

impl StoreArguments {
    /// The store that is named.
    pub(crate) fn name(self) -> Result<StoreName, Failure> {
        StoreName::or_of_environment(self.store)
    }
}

impl PlaceArguments {
    /// The place that is named.
    pub(crate) fn place(self) -> Result<Place, Failure> {
        Ok(Place { store: self.store.name()?, realm: realm_or_of_environment(self.realm)? })
    }
}

impl Place {
    /// The store of a command that reads first.
    pub(crate) async fn open_existing(&self) -> Result<Store, Failure> {
        self.store.open(IfAbsent::Refuse).await
    }
}

impl PlacesArguments {
    /// The places that are named.
    pub(crate) fn places(self) -> Result<Places, Failure> {
        let (realm_named_by, realm) = match self.realm {
            Some(choice) => ("--realm", choice),
            None => (
                "GRANTWELL_REALM",
                config::variable("GRANTWELL_REALM")?.unwrap_or_else(|| RealmChoice::One(RealmName::root())),
            ),
        };
        Ok(Places { store: self.store.name()?, realm, realm_named_by })
    }
}

impl Places {
    /// The store of a command that reads first.
    pub(crate) async fn open_existing(&self) -> Result<Store, Failure> {
        self.store.open(IfAbsent::Refuse).await
    }

    /// The place of a command that works in one realm.
    pub(crate) fn one(self) -> Result<Place, Failure> {
        let Self { store, realm, realm_named_by } = self;
        match realm {
            RealmChoice::One(realm) => Ok(Place { store, realm }),
            RealmChoice::All => Err(Failure::new(format!(
                "{realm_named_by} is '*', and only client list goes through all realms; name the realm of the client with --realm NAME",
            ))),
        }
    }
}

impl FromStr for RealmChoice {
    type Err = MalformedRealmName;

    fn from_str(text: &str) -> Result<Self, MalformedRealmName> {
        if text == "*" { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

impl Store {
    /// Which store it is.
    #[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "the build with AWS awaits here"))]
    pub(crate) async fn identity(&self) -> Result<StoreIdentity, Failure> {
        match &self.whose {
            Whose::Directory(directory) => StoreIdentity::of_directory(directory),
            #[cfg(feature = "aws")]
            Whose::Table(table, identity) => {
                let registry = identity.find().await?.map(|id| id.as_str().to_owned());
                Ok(StoreIdentity::Aws { table: table.clone(), registry })
            }
        }
    }

    /// The use cases over the registry.
    pub(crate) fn management(&self) -> &Management {
        &self.management
    }

    /// Whether there is none, and this is taken for it ([`IfAbsent::TakeForEmpty`]).
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self.whose, Whose::Directory(_)) && self.file.is_none()
    }

    /// On which day clients were last used.
    #[cfg_attr(
        not(feature = "aws"),
        expect(clippy::unnecessary_wraps, reason = "the build with AWS needs the name of a table")
    )]
    pub(crate) fn use_marks(&self) -> Result<Arc<dyn UseMarks>, Failure> {
        match &self.marks {
            Marks::OnDisk(path) => Ok(Arc::new(UseMarksOnDisk::at(path))),
            #[cfg(feature = "aws")]
            Marks::InDynamoDb(dynamodb) => Ok(Arc::new(DynamoUseMarks::new(dynamodb.clone(), config::token_table()?))),
        }
    }

    /// Passes on what became of the first change. A registry that was made for it is spoken of, because its place may be a mistyped one;
    /// where the change failed, nothing stays behind.
    pub(crate) async fn settle<T>(self, changed: Result<T, ManagementError>) -> Result<(T, Self), Failure> {
        let (Some(made), Some((registry, path))) = (&self.made, &self.file) else {
            return Ok((changed?, self));
        };
        match changed {
            Ok(changed) => {
                let directory = path.parent().unwrap_or(path);
                output::note(&format!("there was no store in {}, so a new one was made there", directory.display()));
                Ok((changed, self))
            }
            // Some of it may be stored, or somebody else has come.
            Err(error) if registry.is_empty().await != Ok(true) => Err(error.into()),
            Err(error) => {
                let (directories, path) = (made.directories.clone(), path.clone());
                drop(self);
                let _ = fs::remove_file(path);
                for directory in directories.iter().rev() {
                    let _ = fs::remove_dir(directory);
                }
                Err(error.into())
            }
        }
    }
}

/// Whoever has removed a secret or a key has to know that it can still be read.
impl Drop for Store {
    fn drop(&mut self) {
        if let Some((_, path)) = self.file.as_ref().filter(|(registry, _)| registry.holds_removed()) {
            output::warn(&format!(
                "what was removed can still be read in {0} or {0}-wal, because another process is reading the file; when that process ends, \
                 a running server erases it within seconds, and without a server the next grantwell command does",
                path.display()
            ));
        }
    }
}

/// The realm that is named: by the option, else by the variable, else root.
pub(crate) fn realm_or_of_environment(named: Option<RealmName>) -> Result<RealmName, Failure> {
    match named {
        Some(name) => Ok(name),
        None => Ok(config::variable("GRANTWELL_REALM")?.unwrap_or_else(RealmName::root)),
    }
}

/// A command to suggest, for the store of this command line and for `realm`, which it names where the default is another.
pub(crate) fn suggest(command: &str, realm: &RealmName) -> String {
    let is_default = realm.is_root() && matches!(config::variable::<RealmName>("GRANTWELL_REALM"), Ok(None));
    if is_default { suggest_here(command) } else { suggest_here(&format!("{command} --realm {realm}")) }
}

/// A command to suggest, for the store of this command line.
pub(crate) fn suggest_here(command: &str) -> String {
    match NAMED.get() {
        Some(store) => format!("grantwell {command} --store {store}"),
        None => format!("grantwell {command}"),
    }
}

/// The data directory with a registry that a command reads first.
pub(crate) fn find_registry(directory: &Path) -> Result<DataDir, Failure> {
    let nothing_there = |what: &str| {
        Failure::new(format!(
            "{what} {}; name the directory of your server with --store file:DIR, or register a first client with: {}",
            directory.display(),
            suggest_here("client create")
        ))
    };
    let found = DataDir::find(directory)?.ok_or_else(|| nothing_there("there is no data directory"))?;
    if found.has_registry()? { Ok(found) } else { Err(nothing_there("there is no registry in")) }
}

/// Opens `registry.db` only: the tokens belong to the server, which may be running.
fn open_file(directory: &Path, if_absent: IfAbsent) -> Result<Store, Failure> {
    let mut made = None;
    let data = match if_absent {
        IfAbsent::Create => {
            let absent = directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
            let directories: Vec<PathBuf> = absent.map(Path::to_owned).collect();
            let data = DataDir::open(directory)?;
            if !data.has_registry()? {
                made = Some(Made { directories: directories.into_iter().rev().collect() });
            }
            data
        }
        IfAbsent::TakeForEmpty if !DataDir::find(directory)?.map_or(Ok(false), |found| found.has_registry())? => {
            let management = management_over(Arc::new(SqliteRegistry::in_memory()?))?;
            let (marks, whose) = (Marks::OnDisk(directory.join("tokens.db")), Whose::Directory(directory.to_owned()));
            return Ok(Store { management, file: None, made: None, marks, whose });
        }
        IfAbsent::Refuse | IfAbsent::TakeForEmpty => find_registry(directory)?,
    };
    let path = data.registry_path();
    let registry = Arc::new(SqliteRegistry::open(&path)?);
    let management = management_over(Arc::clone(&registry))?;
    let (marks, whose) = (Marks::OnDisk(data.tokens_path()), Whose::Directory(directory.to_owned()));
    Ok(Store { management, file: Some((registry, path)), made, marks, whose })
}

fn management_over(registry: Arc<SqliteRegistry>) -> Result<Management, Failure> {
    let logging = logging_of_user(&registry)?;
    let (registrar, keys): (Arc<dyn Registrar>, Arc<dyn KeyStore>) = (Arc::clone(&registry) as _, registry);
    Ok(Management::new(registrar, keys, logging, Arc::new(SystemClock), Arc::new(SystemRandom)))
}

/// Where it is written down what whoever runs this changes in a registry of this machine.
pub(crate) fn logging_of_user(registry: &Arc<SqliteRegistry>) -> Result<Logging, Failure> {
    Ok(Logging {
        log: Arc::clone(registry) as _,
        actors: Arc::new(OsUser::current(config::sudo_user())),
        face: Face::COMMAND_LINE,
        retention: config::admin_log_retention()?,
    })
}

#[cfg(feature = "aws")]
async fn open_aws() -> Result<Store, Failure> {
    use grantwell::aws::sdk;
    use grantwell::aws::store::keys::{DynamoPublishedKeys, SecretsManagerKeys};
    use grantwell::aws::store::new_secrets::NewSecrets;
    use grantwell::aws::store::registrar::AwsRegistrar;
    use grantwell::aws::store::registry_id::RegistryIdentity;
    use grantwell::config::RegistryConfig;

    let config = RegistryConfig::from_env()?;
    let new_secrets = NewSecrets { kms_key: config::kms_key()?, tags: config::secret_tags()? };
    let sdk_config = sdk::for_operators().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk_config);
    let secrets_manager = aws_sdk_secretsmanager::Client::new(&sdk_config);
    let published = DynamoPublishedKeys::new(dynamodb.clone(), config.registry_table.clone());
    let identity = RegistryIdentity::new(dynamodb.clone(), config.registry_table.clone());
    let identity = Arc::new(identity.made_of(Arc::new(SystemRandom)));
    let keys = SecretsManagerKeys::new(secrets_manager.clone(), config.secret_prefix.clone(), published, identity);
    let keys = keys.making(new_secrets.clone());
    let logging = aws_logging(&sdk_config, &config.registry_table)?;
    let marks = Marks::InDynamoDb(dynamodb.clone());
    let table = config.registry_table.clone();
    let whose = Whose::Table(table.clone(), RegistryIdentity::new(dynamodb.clone(), table));
    let registrar = AwsRegistrar::new(
        dynamodb,
        secrets_manager,
        config.registry_table,
        config.secret_prefix,
        Arc::new(SystemRandom),
    )
    .making(new_secrets);
    let management =
        Management::new(Arc::new(registrar), Arc::new(keys), logging, Arc::new(SystemClock), Arc::new(SystemRandom));
    Ok(Store { management: management.with_scheduled_rotation(), file: None, made: None, marks, whose })
}

#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "the build with AWS awaits here")]
async fn open_aws() -> Result<Store, Failure> {
    Err(no_aws())
}

/// What the local command says where it would have to call AWS.
#[cfg(not(feature = "aws"))]
pub(crate) fn no_aws() -> Failure {
    Failure::new(
        "this build of grantwell does not support AWS; install the full one with `cargo install --path . --bin grantwell` and \
         run that",
    )
}

/// Where changes of the deployed stack are logged, and whom AWS says that they are of.
#[cfg(feature = "aws")]
fn aws_logging(sdk_config: &aws_config::SdkConfig, registry_table: &str) -> Result<Logging, Failure> {
    use grantwell::aws::actor::AwsActor;
    use grantwell::aws::store::admin_log::DynamoAdminLog;

    let dynamodb = aws_sdk_dynamodb::Client::new(sdk_config);
    Ok(Logging {
        log: Arc::new(DynamoAdminLog::new(dynamodb, registry_table)),
        actors: Arc::new(AwsActor::of(sdk_config)),
        face: Face::COMMAND_LINE,
        retention: config::admin_log_retention()?,
    })
}

/// What binds the secrets of the deployed stack, and where that is logged.
#[cfg(feature = "aws")]
pub(crate) async fn open_binding()
-> Result<(grantwell::aws::store::binding::SecretBinding, Arc<grantwell::core::management::Logbook>), Failure> {
    use grantwell::aws::sdk;
    use grantwell::aws::store::binding::SecretBinding;
    use grantwell::aws::store::registrar::AwsRegistrar;
    use grantwell::config::RegistryConfig;
    use grantwell::core::management::Logbook;
    use grantwell::core::random::Random;

    let config = RegistryConfig::from_env()?;
    let sdk_config = sdk::for_operators().await;
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk_config);
    let secrets_manager = aws_sdk_secretsmanager::Client::new(&sdk_config);
    let (table, prefix) = (config.registry_table, config.secret_prefix);
    let registrar =
        AwsRegistrar::new(dynamodb.clone(), secrets_manager.clone(), &table, prefix.clone(), Arc::clone(&random));
    let logging = aws_logging(&sdk_config, &table)?;
    let book = Logbook::new(logging, Arc::new(registrar), Arc::new(SystemClock), Arc::clone(&random));
    Ok((SecretBinding::new(&dynamodb, secrets_manager, &table, prefix, &random), book))
}

/// The store that the command line names. A process has one command line, and every sentence that suggests a command needs this, in
/// conversions of errors too: a suggestion without it would work on another registry.
static NAMED: OnceLock<StoreName> = OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_by_its_kind() {
        assert_eq!("file:a b".parse(), Ok(StoreName::File("a b".into())));
        assert_eq!("memory".parse(), Ok(StoreName::Memory));
        assert_eq!("aws".parse(), Ok(StoreName::Aws));
        for (text, expected) in [
            ("", UnknownStore::Name),
            ("grantwell-data", UnknownStore::Name),
            ("AWS", UnknownStore::Name),
            ("file:", UnknownStore::NoDirectory),
            ("file:~/data", UnknownStore::Tilde),
        ] {
            assert_eq!(text.parse::<StoreName>(), Err(expected), "{text}");
        }
    }
}
