//! `grantwell serve`: the authorization server on this machine.

mod address;
mod demo_clients;
mod logbook;
mod signals;
mod stores;
mod upkeep;
mod watching;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use grantwell::app::{self, Adapters as _, App};
use grantwell::config::ServerConfig;
use grantwell::core::realm::PublicUrl;
use grantwell::embedded::server::health::Health;
use grantwell::embedded::server::limits::{self, Limits};
use grantwell::embedded::server::sources::Sources;
use grantwell::embedded::server::{self, Settings};
use grantwell::observe::log::{self, LogFormat};

use self::address::resolved;
use self::demo_clients::DemoSecrets;
use self::stores::{Stores, SyncWrites, store_path};
use self::watching::MetricsArguments;
use crate::failure::Failure;
use crate::service_manager;
use crate::store::StoreName;

/// Runs the authorization server on this machine until SIGINT, SIGTERM or SIGHUP.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  grantwell serve --listen 127.0.0.1:8080 --store file:grantwell-data
  grantwell serve --demo

With --demo and an empty registry the server registers a demo client and a demo resource server, and prints curl lines to try them. \
Their secrets are shown only then; if they got lost, make a new one with \
`grantwell client rotate-secret demo-client --replace-current --realm alpha`. --demo is refused if other machines can reach the server: behind a proxy, and with an issuer that is not on this machine.

`grantwell client` and `grantwell realm` change the registry while the server runs; it sees a change within seconds. The server \
replaces the keys that sign its JWTs by itself, every 30 days or as GRANTWELL_SIGNING_KEY_ROTATION_DAYS says.

After ten failed authentications as one client from one address, the server refuses that client from that address for five minutes \
(GRANTWELL_FAILED_AUTH_LIMIT, 0 for no limit, and GRANTWELL_FAILED_AUTH_WINDOW in seconds). If a proxy is in front, even on this \
machine, pass --trust-forwarded-for so that the server sees the caller's address. Without it, failures are not counted with \
--behind-tls-proxy, nor for requests from this machine that carry X-Forwarded-For.

GRANTWELL_LOG_LEVEL, GRANTWELL_ACCESS_TOKEN_LIFETIME and GRANTWELL_DEFAULT_SCOPE set further defaults.")]
pub(crate) struct Arguments {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Where clients and tokens are kept: file:DIR, or memory to forget them on exit [default: file:grantwell-data; env:
    /// GRANTWELL_STORE]
    #[arg(long, value_name = "file:DIR|memory")]
    store: Option<StoreName>,
    /// When a token or its revocation counts as stored: `os` survives kill -9, `always` also a power cut
    ///
    /// os: as soon as the operating system has it, which writes it to the disk within about half a minute; a power cut or a
    /// crash of the machine can undo what was issued and revoked in that time. always: once the disk has confirmed it, which takes
    /// as long as the disk does; requests that come at once share one confirmation.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = SyncWrites::Os)]
    sync: SyncWrites,
    /// The URL at which clients reach this server; issuers start with it
    #[arg(long, value_name = "URL")]
    issuer_base: Option<PublicUrl>,
    /// Listen on an address other than loopback, because a proxy in front of the server ends TLS
    #[arg(long)]
    behind_tls_proxy: bool,
    /// Take a caller's address from the last element of X-Forwarded-For, which the proxy in front appends
    #[arg(long)]
    trust_forwarded_for: bool,
    /// Register two clients to try the server with, if the registry is empty, and print their secrets
    #[arg(long, conflicts_with_all = ["behind_tls_proxy", "trust_forwarded_for"])]
    demo: bool,
    /// The form of the log on stderr: lines for people, or one JSON object per line, as `grantwell report` reads it
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LineFormat::Text)]
    log_format: LineFormat,
    #[command(flatten)]
    metrics: MetricsArguments,
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

/// Serves until a signal ends it.
///
/// # Errors
/// A [`Failure`] where a setting is wrong, the store cannot be opened or the address cannot be listened on.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    // 1. Settings.
    let config = ServerConfig::from_env()?;
    let store = StoreName::or_of_environment(arguments.store)?;
    let descriptors = limits::raise_descriptor_limit();
    let limits = Limits::within(descriptors).map_err(|error| Failure::new(error.to_string()))?;
    server::check_clock().map_err(|error| Failure::new(error.to_string()))?;
    let _written_at_the_end = log::init_local(config.log_level, arguments.log_format.into())
        .map_err(|error| Failure::new(format!("no thread could be started for the log: {error}")))?;
    let address = loopback_unless(arguments.behind_tls_proxy, &arguments.listen)?;
    let configured_url = arguments.issuer_base.or(config.public_url.clone());
    if arguments.demo
        && let Some(url) = configured_url.as_ref().filter(|url| !url.is_loopback())
    {
        return Err(Failure::new(format!(
            "--demo prints the secrets of the clients that it registers, and others can reach this server at {}; leave out --demo, or \
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
        tracing::warn!(
            "without --trust-forwarded-for failed authentications are not limited, because all requests come from the proxy"
        );
    }

    // 2. Stores. Opened before the port, so that a second server on the same directory does not answer for a moment.
    let Stores { adapters, on_disk, health } = stores::open(&store, arguments.sync)?;
    let registry = Arc::clone(adapters.sqlite_registry());

    // 3. The port, and the signals that end it.
    let listener = server::listen(address)
        .await
        .map_err(|error| Failure::new(format!("cannot listen on {address}: {error}; choose another with --listen")))?;
    let address = listener.local_addr().map_err(|error| Failure::new(error.to_string()))?;
    let watching = arguments.metrics.listen().await?;
    let stop = signals::stop_signal()?;

    // 4. The endpoints.
    let base_url = server::url_of(address);
    let public_url = match configured_url {
        Some(url) => url,
        None => base_url.parse().map_err(|error| Failure::new(format!("{base_url}: {error}")))?,
    };
    let issuer_base = public_url.as_str().to_owned();
    let adapters = match &watching {
        Some(watching) => watching.count(adapters),
        None => adapters,
    };
    let app = App::new(adapters.logging_refusals_sparingly(), app::Settings::of_local_server(&config));
    let health = Health::of(health);
    let Ok(service) = app.service(public_url, health.routes());
    let audit = app.adapters().audit();
    drop(app);

    // 5. Service, until told to stop. Whoever reads the first line can connect: the port has been listening since 3.
    let demo = if arguments.demo { demo_clients::register_demo_clients(&registry).await? } else { None };
    announce(&base_url, demo.as_ref())?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %address,
        issuer_base,
        store = store_path(&store),
        connections = limits.connections,
        descriptors,
        failed_auth_limit = config.attempt_limits.map_or(0, |limits| limits.failures),
        "started"
    );
    if sources != Sources::Peers {
        demo_clients::warn_of_demo_clients(&registry, &store).await?;
    }
    if demo.is_none() {
        demo_clients::advise_on_clients(&registry, &store, arguments.demo).await?;
    }
    service_manager::is_ready();
    let rotation = upkeep::rotate_keys_when_due(&registry, config.signing_key_rotation_interval)?;
    let erasing = tokio::spawn(upkeep::forget_removed(registry));
    let watched = watching.map(|watching| watching.start(health, Arc::clone(&audit)));
    let settings = Settings { sources, limits, heartbeat: service_manager::heartbeat() };
    server::serve(listener, service, audit, settings, stop)
        .await
        .map_err(|error| Failure::new(format!("no thread could be started: {error}")))?;
    rotation.abort();
    erasing.abort();
    if let Some(watched) = watched {
        watched.end().await;
    }
    if let Some(tokens) = on_disk {
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

/// Secrets travel in the clear over this server's plain HTTP, so it stays on the machine unless a proxy ends TLS.
fn loopback_unless(behind_tls_proxy: bool, listen: &str) -> Result<SocketAddr, Failure> {
    let address = resolved("--listen", listen)?;
    if address.ip().is_loopback() || behind_tls_proxy {
        return Ok(address);
    }
    Err(Failure::new(format!(
        "{address} is not a loopback address, so client secrets would cross the network in the clear; put a proxy that \
         ends TLS in front and pass --behind-tls-proxy"
    )))
}

/// The first line is for programs that wait for the server; what follows is for a person, once. Written by a thread of its own: a
/// server whose stdout nobody reads serves all the same, and ends when it is told to.
fn announce(base_url: &str, demo: Option<&DemoSecrets>) -> Result<(), Failure> {
    let mut text = format!("listening on {base_url}\n");
    if let Some(demo) = demo {
        text.push_str(&demo_clients::first_steps(base_url, demo));
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
