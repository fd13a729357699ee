//! Signals that end the local server.

use std::fs;
use std::future::pending;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;
use crate::service_manager;

/// Resolves at the first signal that asks for an end.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
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
        tracing::info!("stopping: answering the requests in flight");
    })
}

/// Whether `nohup` or a supervisor has said that this process survives the end of its terminal. Linux tells; elsewhere SIGHUP ends it.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // SIGHUP is signal 1, the lowest bit.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
