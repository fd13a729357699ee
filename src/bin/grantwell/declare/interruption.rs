//! Ctrl-C while a plan is carried out: what has begun is ended, and nothing more is begun.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::output;

/// Notices signals that ask the process to end, for as long as this lives. A second one ends it at once.
pub(super) struct Interruption {
    is_asked_for: Arc<AtomicBool>,
    /// None where the system does not tell of signals: then they end the process as they end any other.
    watch: Option<JoinHandle<()>>,
}

impl Interruption {
    pub(super) fn watch() -> Self {
        let is_asked_for = Arc::new(AtomicBool::new(false));
        let watch = signals().map(|signals| tokio::spawn(notice(signals, Arc::clone(&is_asked_for)))).ok();
        Self { is_asked_for, watch }
    }

    /// Whether the process was asked to end.
    pub(super) fn is_asked_for(&self) -> bool {
        self.is_asked_for.load(Ordering::Relaxed)
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

/// That of Ctrl-C, and that of whoever stops a job.
fn signals() -> io::Result<[(SignalKind, Signal); 2]> {
    let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()];
    Ok([(interrupt, signal(interrupt)?), (terminate, signal(terminate)?)])
}

async fn notice(signals: [(SignalKind, Signal); 2], is_asked_for: Arc<AtomicBool>) {
    let [(interrupt, mut interrupted), (terminate, mut terminated)] = signals;
    loop {
        let number = tokio::select! {
            _ = interrupted.recv() => interrupt.as_raw_value(),
            _ = terminated.recv() => terminate.as_raw_value(),
        };
        if is_asked_for.swap(true, Ordering::Relaxed) {
            process::exit(ENDED_BY_SIGNAL + number);
        }
        output::note("stopping: the changes that have begun are ended first; interrupt again to stop at once");
    }
}

/// What shells add to the number of the signal that ended a process.
const ENDED_BY_SIGNAL: i32 = 128;
