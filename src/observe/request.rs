//! The request that is being answered: each line that is written meanwhile has its id, and where it came from.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use uuid::Builder;

use crate::core::source::ClientSource;

/// By which a line is found from other lines and from a trace. Nothing in it is a caller's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvocationIds {
    /// Lambda's own id of the invocation.
    pub request_id: String,
    /// X-Ray's id of the trace, where there is one.
    pub trace_id: Option<String>,
}

/// By what the lines of a request are found, when it began and where it came from.
#[derive(Debug)]
pub struct RequestContext {
    ids: InvocationIds,
    source: Cell<Option<ClientSource>>,
    began: Instant,
}

impl RequestContext {
    /// A request that has just come from `source`, with an id of our own.
    pub fn begin(source: ClientSource) -> Self {
        let ids = InvocationIds { request_id: new_id(), trace_id: None };
        Self { ids, source: Cell::new(Some(source)), began: Instant::now() }
    }

    /// A request that is known by these ids already. Where it came from has to be read first ([`came_from`]).
    pub fn of_invocation(ids: InvocationIds) -> Self {
        Self { ids, source: Cell::new(None), began: Instant::now() }
    }

    /// Its id, for the answer.
    pub fn id(&self) -> &str {
        &self.ids.request_id
    }

    pub(super) fn trace_id(&self) -> Option<&str> {
        self.ids.trace_id.as_deref()
    }

    pub(super) fn source(&self) -> Option<ClientSource> {
        self.source.get()
    }
}

/// Does the `work` of a request.
pub async fn during<T>(request: RequestContext, work: impl Future<Output = T>) -> T {
    CURRENT.scope(Some(request), work).await
}

/// Notes where the current request came from.
pub fn came_from(source: ClientSource) {
    with(|request| request.source.set(Some(source)));
}

/// The id of the current request, where there is one.
pub fn current_id() -> Option<String> {
    with(|request| request.id().to_owned())
}

/// How long the current request has taken so far.
pub(super) fn elapsed() -> Option<Duration> {
    with(|request| request.began.elapsed())
}

/// The same for the log, to a microsecond: a warm answer takes less than a millisecond.
pub(super) fn duration_ms() -> Option<f64> {
    elapsed().map(milliseconds)
}

/// One division of a whole number, so that the digits end where the microseconds do. Longer than an hour is not measured.
fn milliseconds(time: Duration) -> f64 {
    f64::from(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}

/// What is told meanwhile is not about the current request.
pub(super) fn outside(tell: impl FnOnce()) {
    CURRENT.sync_scope(None, tell);
}

pub(super) fn with<T>(read: impl FnOnce(&RequestContext) -> T) -> Option<T> {
    CURRENT.try_with(|request| request.as_ref().map(read)).ok().flatten()
}

tokio::task_local! {
    static CURRENT: Option<RequestContext>;
}

/// Unique, and no count: whoever sees two could tell how many requests there were between them. Random bits from the system would be a
/// system call for each request, for what is no secret.
fn new_id() -> String {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [high, low] = [0_u8, 1].map(|half| u128::from(KEY.hash_one((number, half))));
    Builder::from_random_bytes((high << 64 | low).to_be_bytes()).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_uuids_of_which_none_comes_twice_or_follows_from_another() {
        let ids: Vec<String> = (0..1000).map(|_| new_id()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        assert!(ids.iter().all(|id| id.len() == 36 && id.as_bytes()[14] == b'4'), "{ids:?}");
        let beginnings: BTreeSet<&str> = ids.iter().map(|id| &id[..4]).collect();
        assert!(beginnings.len() > 900, "{}", beginnings.len());
    }

    #[test]
    fn a_duration_ends_with_its_microseconds() {
        for microseconds in 0..200_000_u64 {
            let text = milliseconds(Duration::from_micros(microseconds)).to_string();
            let (_, decimals) = text.split_once('.').unwrap_or((&text, ""));
            assert!(decimals.len() <= 3, "{text}");
        }
    }

    #[tokio::test]
    async fn a_request_is_known_while_it_is_answered_and_no_longer() {
        let source = ClientSource::of([192, 0, 2, 1].into());
        let request = RequestContext::begin(source);
        let id = request.id().to_owned();
        during(request, async {
            assert_eq!(current_id(), Some(id));
            assert_eq!(with(RequestContext::source), Some(Some(source)));
            outside(|| assert_eq!(current_id(), None));
            assert!(duration_ms().is_some());
        })
        .await;
        assert_eq!((current_id(), duration_ms()), (None, None));
    }
}
