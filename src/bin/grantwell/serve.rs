//! `grantwell serve`: the authorization server on this machine.

use std::fs;
use std::future::pending;
use std::io::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use grantwell::config::ServerConfig;
use grantwell::core::client_auth::attempts::FailedAttempts;
use grantwell::core::client_auth::secret::ClientSecret;
use grantwell::core::keys::keyring::Keyring;
use grantwell::core::ports::{ClientRegistry as _, Clock as _};
use grantwell::core::realm::PublicUrl;
use grantwell::core::scope::INTROSPECT_ALL_TOKENS;
use grantwell::embedded::server::health::{DiskSpace, Health};
use grantwell::embedded::server::limits::{self, Limits};
use grantwell::embedded::server::{self, Settings, Sources};
use grantwell::embedded::store::cause::{StorageCause, StoreHealth};
use grantwell::embedded::store::data_dir::DataDir;
use grantwell::embedded::store::fault::StoreError;
use grantwell::embedded::store::memory::MemoryTokens;
use grantwell::embedded::store::quotas::MemoryQuotas;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::embedded::store::tokens::{Durability, SqliteTokens};
use grantwell::system::SystemClock;
use grantwell::telemetry::{self, LogFormat};

use crate::authority::{self, IssuedTokens};
use crate::failure::Failure;
use crate::sample::{self, SampleClient};
use crate::service_manager;
use crate::store::StoreName;

/// Runs the authorization server on this machine until SIGINT, SIGTERM or SIGHUP.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  grantwell serve --listen 127.0.0.1:8080 --store file:grantwell-data
  grantwell serve --demo

With --demo and an empty registry the server registers a demo client and a demo resource server, and prints curl lines to try
them. Their secrets are shown then only; for new ones: grantwell client rotate-secret demo-client --realm alpha
It is refused where others reach the server: behind a proxy, and with an issuer that is not on this machine.
`grantwell client` and `grantwell realm` change the registry while the server runs; it sees a change within seconds.
The server replaces the keys that sign its JWTs by itself, every 30 days or GRANTWELL_SIGNING_KEY_ROTATION_DAYS.
Whoever fails to authenticate as a client ten times is not listened to for five minutes, as that client and from that
address (GRANTWELL_FAILED_AUTH_LIMIT, 0 for no limit, and GRANTWELL_FAILED_AUTH_WINDOW in seconds). A proxy in front, on this
machine too, has to say whose address it is: pass --trust-forwarded-for. Without it nothing is counted with --behind-tls-proxy,
nor of requests from this machine that carry X-Forwarded-For.
GRANTWELL_LOG_LEVEL, GRANTWELL_ACCESS_TOKEN_LIFETIME and GRANTWELL_DEFAULT_SCOPE set what the README's table says.")]
pub(crate) struct Arguments {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Where clients and tokens are kept: file:DIR, or memory to forget them on exit
    #[arg(long, value_name = "file:DIR|memory", env = "GRANTWELL_STORE", default_value = StoreName::DEFAULT)]
    store: StoreName,
    /// When a token or its end counts as stored: `os` survives kill -9, `always` a power cut too
    ///
    /// os: as soon as the operating system has it, which writes it to the disk within about half a minute; a power cut or a
    /// crash of the machine can undo what was issued and revoked in that time. always: once the disk has confirmed it, which takes
    /// as long as the disk does; requests that come at once share one confirmation.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = SyncWrites::Os)]
    sync: SyncWrites,
    /// The URL by which the world reaches this server; issuers start with it
    #[arg(long, value_name = "URL")]
    issuer_base: Option<PublicUrl>,
    /// Listen on other than loopback addresses: a proxy in front of the server ends TLS
    #[arg(long)]
    behind_tls_proxy: bool,
    /// Take a caller's address from the last element of X-Forwarded-For: the proxy in front appends it
    #[arg(long)]
    trust_forwarded_for: bool,
    /// Register two clients to try the server with, where the registry is empty, and print their secrets
    #[arg(long, conflicts_with_all = ["behind_tls_proxy", "trust_forwarded_for"])]
    demo: bool,
    /// What the log on stderr looks like: lines for people, or one JSON object a line, as `grantwell report` reads it
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LineFormat::Text)]
    log_format: LineFormat,
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LineFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl From<LineFormat> for LogFormat {
    fn from(format: LineFormat) -> Self {
        match format {
            LineFormat::Text => Self::Text,
            LineFormat::Json => Self::Json,
        }
    }
}

/// `--sync`: when a write counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SyncWrites {
    /// Once the operating system has it.
    Os,
    /// Once the disk has confirmed it.
    Always,
}

impl From<SyncWrites> for Durability {
    fn from(sync: SyncWrites) -> Self {
        match sync {
            SyncWrites::Os => Self::OperatingSystem,
            SyncWrites::Always => Self::Disk,
        }
    }
}

/// What a server keeps, and how to make it safe before the process ends.
struct Stores {
    registry: Arc<SqliteRegistry>,
    issued: IssuedTokens,
    on_disk: Option<Arc<SqliteTokens>>,
    /// What has to answer and to be writable for the server to be ready, by the names that an answer has for it.
    health: Vec<(&'static str, Arc<dyn StoreHealth>)>,
}

/// Serves until a signal ends it.
///
/// # Errors
/// A [`Failure`] where a setting is wrong, the store cannot be opened or the address cannot be listened on.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    // 1. Settings.
    let config = ServerConfig::from_env()?;
    let descriptors = limits::raise_descriptor_limit();
    let limits = Limits::within(descriptors).map_err(|error| Failure::new(error.to_string()))?;
    server::check_clock(SystemClock.now()).map_err(|error| Failure::new(error.to_string()))?;
    let _written_at_the_end = telemetry::init_local(config.log_level, arguments.log_format.into())
        .map_err(|error| Failure::new(format!("no thread could be started for the log: {error}")))?;
    let address = loopback_unless(arguments.behind_tls_proxy, &arguments.listen)?;
    let configured_url = arguments.issuer_base.or(config.public_url);
    if arguments.demo
        && let Some(url) = configured_url.as_ref().filter(|url| !url.is_loopback())
    {
        return Err(Failure::new(format!(
            "--demo registers clients whose secrets are printed, and others reach this server by {}; leave out --demo, or \
             --issuer-base and GRANTWELL_PUBLIC_URL",
            url.as_str()
        )));
    }
    if arguments.behind_tls_proxy && configured_url.is_none() {
        tracing::warn!("without --issuer-base the issuer is this server's own http address, not the proxy's URL");
    }

    let sources = match (arguments.trust_forwarded_for, arguments.behind_tls_proxy) {
        (true, _) => Sources::ForwardedFor,
        (false, true) => Sources::Unknown,
        (false, false) => Sources::Peers,
    };
    if sources == Sources::Unknown {
        tracing::warn!("without --trust-forwarded-for failed authentications are not limited: all come from the proxy");
    }

    // 2. Stores. Opened before the port, so that a second server on the same directory does not answer for a moment.
    let stores = open(&arguments.store, arguments.sync)?;

    // 3. The port, and the signals that end it.
    let listener = server::listen(address)
        .await
        .map_err(|error| Failure::new(format!("cannot listen on {address}: {error}; choose another with --listen")))?;
    let address = listener.local_addr().map_err(|error| Failure::new(error.to_string()))?;
    let stop = stop_signal()?;

    // 4. The endpoints.
    let base_url = authority::url_of(address);
    let public_url = match configured_url {
        Some(url) => url,
        None => base_url.parse().map_err(|error| Failure::new(format!("{base_url}: {error}")))?,
    };
    let issuer_base = public_url.as_str().to_owned();
    let attempts = config.attempt_limits.map(|limits| Arc::new(FailedAttempts::new(limits)));
    let health = Health::of(stores.health.clone());
    let service = authority::service(
        &stores.registry,
        &stores.issued,
        &config.realm_defaults,
        public_url,
        attempts.as_ref(),
        health.routes(),
    );

    // 5. Service, until told to stop. Whoever reads the first line can connect: the port has been listening since 3.
    let demo = if arguments.demo { register_demo_clients(&stores.registry).await? } else { None };
    announce(&base_url, demo.as_ref())?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %address,
        issuer_base,
        store = store_path(&arguments.store),
        connections = limits.connections,
        descriptors,
        failed_auth_limit = config.attempt_limits.map_or(0, |limits| limits.failures),
        "started"
    );
    if sources != Sources::Peers {
        warn_of_demo_clients(&stores.registry, &arguments.store).await?;
    }
    if demo.is_none() {
        advise_on_clients(&stores.registry, &arguments.store, arguments.demo).await?;
    }
    service_manager::is_ready();
    let registry = Arc::clone(&stores.registry);
    let rotation = tokio::spawn(rotate_keys_when_due(registry, config.signing_key_rotation_interval));
    let erasing = tokio::spawn(forget_removed(Arc::clone(&stores.registry)));
    server::serve(listener, service, Settings { sources, limits, heartbeat: service_manager::heartbeat() }, stop)
        .await
        .map_err(|error| Failure::new(format!("no thread could be started: {error}")))?;
    rotation.abort();
    erasing.abort();
    if let Some(tokens) = stores.on_disk {
        tokens.sync().map_err(|cause| {
            Failure::new(format!(
                "tokens.db could not take up its log: {cause}; leave tokens.db-wal where it is: what was acknowledged is in it, which the next start \
                 reads; {}",
                cause.way_out()
            ))
        })?;
    }
    tracing::info!("stopped");
    Ok(())
}

fn open(store: &StoreName, sync: SyncWrites) -> Result<Stores, Failure> {
    match store {
        StoreName::Aws => Err(Failure::new(
            "a local server keeps no stack's store: deployed, the functions are the server; use --store file:DIR or memory",
        )),
        StoreName::Memory if sync == SyncWrites::Always => Err(Failure::new(
            "the memory store has no disk to wait for; leave out --sync always, or use --store file:DIR",
        )),
        StoreName::Memory => Ok(Stores {
            registry: Arc::new(SqliteRegistry::in_memory()?),
            issued: IssuedTokens::new(
                Arc::new(MemoryTokens::new(Arc::new(SystemClock))),
                Arc::new(MemoryQuotas::default()),
            ),
            on_disk: None,
            health: Vec::new(),
        }),
        StoreName::File(path) => {
            let directory = DataDir::open(path)?;
            let stores = match open_files(&directory, sync) {
                Err(StoreError::Refused { cause: StorageCause::DiskFull, .. }) if directory.give_up_reserve() => {
                    tracing::warn!(
                        "no space is left on the disk; the reserve in the data directory is given up to start"
                    );
                    open_files(&directory, sync)?
                }
                opened => {
                    let stores = opened?;
                    if let Err(error) = directory.keep_reserve() {
                        tracing::warn!(%error, "no space is kept for the next start");
                    }
                    stores
                }
            };
            Ok(stores)
        }
    }
}

fn open_files(directory: &DataDir, sync: SyncWrites) -> Result<Stores, StoreError> {
    let tokens = SqliteTokens::open(&directory.tokens_path(), sync.into(), Arc::new(SystemClock))?;
    let tokens = Arc::new(tokens);
    let registry = Arc::new(SqliteRegistry::open(&directory.registry_path())?);
    let health = registry.health()?;
    Ok(Stores {
        registry,
        issued: IssuedTokens::new(Arc::clone(&tokens), tokens.quotas()),
        on_disk: Some(Arc::clone(&tokens)),
        health: vec![
            ("data_directory", Arc::new(DiskSpace::of(directory.path().to_owned()))),
            ("registry", Arc::new(health)),
            ("tokens", tokens),
        ],
    })
}

/// Secrets travel in the clear over this server's plain HTTP, so it stays on the machine unless a proxy ends TLS.
fn loopback_unless(behind_tls_proxy: bool, listen: &str) -> Result<SocketAddr, Failure> {
    let resolved = listen.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    let address = resolved.ok_or_else(|| Failure::new(format!("--listen {listen} is no HOST:PORT")))?;
    if address.ip().is_loopback() || behind_tls_proxy {
        return Ok(address);
    }
    Err(Failure::new(format!(
        "{address} is not a loopback address, and client secrets would cross the network in the clear; put a proxy that \
         ends TLS in front and pass --behind-tls-proxy"
    )))
}

/// Resolves at the first signal that asks for an end.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let handler = |kind| signal(kind).map_err(|error| Failure::new(format!("signals cannot be handled: {error}")));
    let (mut interrupt, mut terminate) = (handler(SignalKind::interrupt())?, handler(SignalKind::terminate())?);
    let mut hangup = if is_hangup_ignored() { None } else { Some(handler(SignalKind::hangup())?) };
    Ok(async move {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hung_up => {}
        }
        service_manager::is_stopping();
        tracing::info!("stopping: answering what is in flight");
    })
}

/// Whether `nohup` or a supervisor has said that this process survives the end of its terminal. Linux tells; elsewhere SIGHUP ends it.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // SIGHUP is signal 1, the lowest bit.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Replaces every realm's keys in time. A rotation that fails is tried again: the keys sign until another
/// takes their place.
async fn rotate_keys_when_due(registry: Arc<SqliteRegistry>, after_seconds: u64) {
    const LOOKS_EVERY: Duration = Duration::from_hours(1);
    let keyring = Keyring::new(Arc::clone(&registry) as _, Arc::new(SystemClock));
    let mut looks = interval(LOOKS_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Err(error) = keyring.rotate_all_due(registry.as_ref(), after_seconds).await {
            tracing::warn!(%error, "the realms whose signing keys may be due could not be listed");
        }
    }
}

/// Erases what this process or another has removed while somebody read the registry. What stays is said once, and so is that it is gone.
async fn forget_removed(registry: Arc<SqliteRegistry>) {
    const LOOKS_EVERY: Duration = Duration::from_secs(5);
    /// A command that is at work holds it for less long.
    const TOLD_AFTER: u32 = 3;
    let mut looks = interval(LOOKS_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut in_vain = 0_u32;
    loop {
        looks.tick().await;
        let why = match registry.forget_removed().await {
            Ok(true) => {
                if in_vain >= TOLD_AFTER {
                    tracing::info!("what was removed from the registry is erased");
                }
                in_vain = 0;
                continue;
            }
            Ok(false) => "another process reads registry.db".to_owned(),
            Err(error) => error.to_string(),
        };
        in_vain = in_vain.saturating_add(1);
        if in_vain == TOLD_AFTER {
            tracing::warn!(
                "what was removed from the registry may still be in its files: {why}; it is tried until it is erased"
            );
        }
    }
}

/// The store with its absolute path: a relative one says nothing to who does not know where the server was started.
fn store_path(store: &StoreName) -> String {
    match store {
        StoreName::File(path) => {
            let absolute = fs::canonicalize(path).or_else(|_| path::absolute(path));
            format!("file:{}", absolute.as_ref().unwrap_or(path).display())
        }
        StoreName::Memory => "memory".to_owned(),
        StoreName::Aws => "aws".to_owned(),
    }
}

/// Says how to go on to whoever has started a server that nobody can use, or has asked for demo clients in vain.
async fn advise_on_clients(registry: &SqliteRegistry, store: &StoreName, demo_asked: bool) -> Result<(), Failure> {
    if demo_asked {
        let (realm, demo) = (sample::realm()?.name, DEMO_CLIENT.client_id);
        if registry.client(&realm, &demo.parse()?).await?.is_some() {
            tracing::warn!(
                "--demo registered nobody, because the registry is not empty; for a new secret of the demo client of an earlier \
                 start: grantwell client rotate-secret {demo} --realm {realm} --store '{}'",
                store_path(store)
            );
        } else {
            tracing::warn!("--demo registered nobody, because the registry is not empty");
        }
    } else if registry.is_empty().await? {
        if *store == StoreName::Memory {
            tracing::warn!(
                "nobody is registered, and nobody can be in a store in memory; pass --demo to try the server"
            );
        } else {
            tracing::warn!(
                "nobody is registered; register a client with: grantwell client create --store '{}' --id myClient \
                 --scope write --default-scope write",
                store_path(store)
            );
        }
    }
    Ok(())
}

/// Their secrets are on somebody's terminal.
async fn warn_of_demo_clients(registry: &SqliteRegistry, store: &StoreName) -> Result<(), Failure> {
    let realm = sample::realm()?;
    for demo in [DEMO_CLIENT, DEMO_RESOURCE_SERVER] {
        let client_id = demo.client_id.parse()?;
        if registry.client(&realm.name, &client_id).await?.is_some_and(|client| client.is_active()) {
            tracing::warn!(
                "a demo client is registered; delete it with: grantwell client delete {client_id} --realm {} --store '{}'",
                realm.name,
                store_path(store)
            );
        }
    }
    Ok(())
}

/// What a first visitor needs to try the server.
struct DemoSecrets {
    client: ClientSecret,
    resource_server: ClientSecret,
}

async fn register_demo_clients(registry: &SqliteRegistry) -> Result<Option<DemoSecrets>, Failure> {
    if !registry.is_empty().await? {
        return Ok(None);
    }
    let realm = sample::realm()?;
    let clients = [DEMO_CLIENT.create(&realm)?, DEMO_RESOURCE_SERVER.create(&realm)?];
    registry.seed(&realm, &clients).await.map_err(|error| Failure::new(error.to_string()))?;
    let [(_, client), (_, resource_server)] = clients;
    Ok(Some(DemoSecrets { client, resource_server }))
}

/// The first line is for programs that wait for the server; what follows is for a person, once. Written by a thread of its own: a
/// server whose stdout nobody reads serves all the same, and ends when it is told to.
fn announce(base_url: &str, demo: Option<&DemoSecrets>) -> Result<(), Failure> {
    let mut text = format!("listening on {base_url}\n");
    if let Some(demo) = demo {
        text.push_str(&first_steps(base_url, demo));
    }
    let write = move || {
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            tracing::warn!(%error, "the address could not be written to standard output");
        }
    };
    let started = thread::Builder::new().name("announce".to_owned()).spawn(write);
    started.map(drop).map_err(|error| Failure::new(format!("no thread could be started: {error}")))
}

fn first_steps(base_url: &str, demo: &DemoSecrets) -> String {
    let realm_url = format!("{base_url}{}", sample::REALM_PATH);
    let token = format!(
        "curl -s -u '{}:{}' -d grant_type=client_credentials -d scope=read {realm_url}/access_token",
        DEMO_CLIENT.client_id,
        demo.client.expose_client_secret()
    );
    let introspect = format!(
        r#"curl -s -u '{}:{}' -d token="$({token} | cut -d '"' -f 4)" {realm_url}/introspect"#,
        DEMO_RESOURCE_SERVER.client_id,
        demo.resource_server.expose_client_secret()
    );
    format!(
        "
A demo client and a demo resource server were registered in realm {}.
Their secrets are shown this once.

Get an access token:
{token}

Get one and have it introspected:
{introspect}

",
        sample::REALM
    )
}

const DEMO_CLIENT: SampleClient = SampleClient {
    client_id: "demo-client",
    name: "Demo client",
    owner: None,
    redirect_uri: None,
    scope: "read write",
    default_scope: Some("read"),
    access_token_format: None,
    resource: None,
};

const DEMO_RESOURCE_SERVER: SampleClient = SampleClient {
    client_id: "demo-resource-server",
    name: "Demo resource server",
    owner: None,
    redirect_uri: None,
    scope: INTROSPECT_ALL_TOKENS,
    default_scope: None,
    access_token_format: None,
    resource: None,
};
