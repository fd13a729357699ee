//! What systemd is told where it has started the server (`Type=notify`): when it listens, that it lives, when it stops.

use grantwell::config;
use grantwell::embedded::server::Heartbeat;
use sd_notify::NotifyState;

/// Says that clients can connect.
pub(crate) fn is_ready() {
    tell(&[NotifyState::Ready]);
}

/// Says that the server stops because it was told to.
pub(crate) fn is_stopping() {
    tell(&[NotifyState::Stopping]);
}

/// What the unit's `WatchdogSec` asks for: half of it, so that one that comes late is no reason to kill the server.
pub(crate) fn heartbeat() -> Option<Heartbeat> {
    let every = sd_notify::watchdog_enabled()? / 2;
    (!every.is_zero()).then_some(Heartbeat { every, beat })
}

fn beat() {
    tell(&[NotifyState::Watchdog]);
}

/// Without NOTIFY_SOCKET nobody has asked. Where the socket does not take it, systemd will act as for a server that hangs.
fn tell(state: &[NotifyState<'_>]) {
    if matches!(config::variable::<String>("NOTIFY_SOCKET"), Ok(None)) {
        return;
    }
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
