//! The threads that serve connections, each with a runtime of its own. A runtime that all of them share moves work between them, which
//! costs as much as the request when the requests are this small.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// All of them.
pub(super) struct Workers(Vec<Worker>);

struct Worker {
    runtime: Handle,
    /// Each of its connections holds a copy.
    connections: Arc<()>,
    /// The thread ends when this is dropped.
    ends: oneshot::Sender<()>,
    /// Resolves when it has, and nothing of a request runs any more.
    ended: oneshot::Receiver<()>,
}

impl Workers {
    /// # Errors
    /// What the system says where a thread cannot be started.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        (0..count).map(|_| Worker::start()).collect::<io::Result<_>>().map(Self)
    }

    /// Ends the threads, with what they have not finished.
    pub(super) async fn end(self) {
        let (ends, ended): (Vec<_>, Vec<_>) = self.0.into_iter().map(|worker| (worker.ends, worker.ended)).unzip();
        drop(ends);
        for ended in ended {
            let _either_way = ended.await;
        }
    }

    /// Where each thread takes its work.
    pub(super) fn runtimes(&self) -> Vec<Handle> {
        self.0.iter().map(|worker| worker.runtime.clone()).collect()
    }

    /// Runs a connection on the thread that has the fewest.
    pub(super) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let Some(worker) = self.0.iter().min_by_key(|worker| Arc::strong_count(&worker.connections)) else { return };
        let counted = Arc::clone(&worker.connections);
        worker.runtime.spawn(async move {
            connection.await;
            drop(counted);
        });
    }
}

impl Worker {
    fn start() -> io::Result<Self> {
        let (ends, told_to_end) = oneshot::channel::<()>();
        let (has_ended, ended) = oneshot::channel();
        let (started, starts) = mpsc::sync_channel(1);
        // Made on its thread: one that is dropped on a thread of another runtime panics.
        let run = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _nobody = started.send(Err(error));
                    return;
                }
            };
            let _nobody = started.send(Ok(runtime.handle().clone()));
            let _dropped = runtime.block_on(told_to_end);
            drop(runtime);
            let _nobody = has_ended.send(());
        };
        thread::Builder::new().name("http".to_owned()).spawn(run)?;
        let runtime = starts.recv().map_err(io::Error::other)??;
        Ok(Self { runtime, connections: Arc::default(), ends, ended })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_spread_over_the_threads_and_end_with_them() {
        let workers = Workers::start(3).expect("threads");
        let dropped = Arc::new(());
        for _ in 0..6 {
            let held = Arc::clone(&dropped);
            workers.spawn(async move {
                std::future::pending::<()>().await;
                drop(held);
            });
        }
        let counts: Vec<_> = workers.0.iter().map(|worker| Arc::strong_count(&worker.connections) - 1).collect();
        assert_eq!(counts, [2, 2, 2]);
        workers.end().await;
        assert_eq!(Arc::strong_count(&dropped), 1);
    }
}
