//! `--metrics-listen`: where Prometheus fetches the metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use grantwell::config;
use grantwell::embedded::adapters::EmbeddedAdapters;
use grantwell::embedded::server::health::Health;
use grantwell::embedded::server::limits::Limits;
use grantwell::embedded::server::{self, Settings, metrics};
use grantwell::observe::metrics::Prometheus;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::address::resolved;
use crate::failure::Failure;

/// The options, as they were parsed.
#[derive(Debug, clap::Args)]
pub(super) struct MetricsArguments {
    /// Where Prometheus fetches metrics, at /metrics, such as 127.0.0.1:9464 [default: nowhere; env: GRANTWELL_METRICS_LISTEN]
    #[arg(long, value_name = "HOST:PORT")]
    metrics_listen: Option<String>,
    /// Let --metrics-listen name an address other than loopback; whoever reaches it can read the metrics
    #[arg(long)]
    metrics_allow_remote: bool,
}

/// The listener, and what it tells of.
pub(super) struct Watching {
    listener: TcpListener,
    address: SocketAddr,
    metrics: Arc<Prometheus>,
}

/// What runs beside the server.
pub(super) struct Watched {
    ends: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl MetricsArguments {
    /// Listens, where anybody wants to know.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do.
    pub(super) async fn listen(&self) -> Result<Option<Watching>, Failure> {
        let (name, named) = match &self.metrics_listen {
            Some(named) => ("--metrics-listen", Some(named.clone())),
            None => (VARIABLE, config::variable::<String>(VARIABLE)?),
        };
        let Some(listen) = named else {
            return if self.metrics_allow_remote {
                Err(Failure::new("--metrics-allow-remote is for --metrics-listen HOST:PORT, which is missing"))
            } else {
                Ok(None)
            };
        };
        let address = resolved(name, &listen)?;
        if !address.ip().is_loopback() && !self.metrics_allow_remote {
            return Err(Failure::new(format!(
                "{name}: {address} is not a loopback address, so that others could read the metrics; pass --metrics-allow-remote if they may"
            )));
        }
        let failed = |error| Failure::new(format!("cannot listen on {address}: {error}; choose another with {name}"));
        let listener = server::listen(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let metrics = Prometheus::new().map_err(|error| Failure::new(format!("no metrics: {error}")))?;
        Ok(Some(Watching { listener, address, metrics: Arc::new(metrics) }))
    }
}

impl Watching {
    /// The adapters, with what they do counted.
    pub(super) fn count(&self, adapters: EmbeddedAdapters) -> EmbeddedAdapters {
        adapters.counting_in(Arc::clone(&self.metrics) as _)
    }

    /// Answers Prometheus, on a thread of its own.
    pub(super) fn start(self, health: Arc<Health>) -> Watched {
        let Self { listener, address, metrics } = self;
        tracing::info!(%address, "metrics are at /metrics");
        let (ends, told_to_end) = oneshot::channel::<()>();
        let limits = Limits { connections: MOST_CONNECTIONS, threads: 1, ..Limits::default() };
        let service = metrics::routes(metrics, health);
        let ended = tokio::spawn(async move {
            let stop = async { drop(told_to_end.await) };
            if let Err(error) = server::serve(listener, service, Settings { limits, ..Settings::default() }, stop).await
            {
                tracing::error!(%error, "no thread could be started for the metrics");
            }
        });
        Watched { ends, ended }
    }
}

impl Watched {
    /// Ends it.
    pub(super) async fn end(self) {
        drop(self.ends);
        let _either_way = self.ended.await;
    }
}

/// Says where, unless the option does.
const VARIABLE: &str = "GRANTWELL_METRICS_LISTEN";
/// One is enough; a few more are for people who look.
const MOST_CONNECTIONS: usize = 16;
