//! What surrounds every invocation: its ids on each of its log lines, and its metrics once it has ended.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt as _;
use lambda_http::{Context, Error};

use crate::observe::request::{InvocationIds, RequestContext};
use crate::observe::{Observer, request};

/// Does the `work` of an invocation. Its log lines carry the ids, by which they are found from a trace, and the trace from them.
pub(super) async fn observed<T>(observer: &Observer, ids: InvocationIds, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let result = request::during(RequestContext::of_invocation(ids.clone()), work).await;
    observer.end_invocation(&ids, begun.elapsed());
    result
}

/// What was done panicked. The hook of `observe::log` has written where.
#[derive(Debug)]
pub(super) struct Panicked;

/// Does `work`, and keeps the message of a panic, which may quote what it choked on: the runtime would send it to Lambda as the error.
pub(super) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_message| Panicked)
}

/// What is said when the runtime's loop comes back: Lambda freezes a function, but emulators end the interface before it.
pub(super) fn ended(result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the Lambda runtime interface went away, and the function ends with it");
    }
}

/// The ids that Lambda gives an invocation.
pub(super) fn ids(context: &Context) -> InvocationIds {
    let trace_id = context.xray_trace_id.as_deref().and_then(trace_id);
    InvocationIds { request_id: context.request_id.clone(), trace_id }
}

/// The trace of a tracing header, `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=...;Sampled=1`. A caller may send one, and
/// with it a text for the log: only what has the form of an id is one. Of an invocation that is not sampled there is no trace, and its id
/// would only be paid for, in every line.
fn trace_id(header: &str) -> Option<String> {
    if !header.split(';').any(|part| part.trim() == "Sampled=1") {
        return None;
    }
    let root = header.split(';').find_map(|part| part.trim().strip_prefix("Root="))?;
    let is_hex = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (time, unique) = root.strip_prefix("1-")?.split_once('-')?;
    (is_hex(time, 8) && is_hex(unique, 24)).then(|| root.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_an_id_and_nothing_else_that_a_caller_may_send() {
        let id = "1-5759e988-bd862e3fe1be46a994272793";
        for header in [
            format!("Root={id};Parent=53995c3f42cd8ad8;Sampled=1"),
            format!("Root={id};Sampled=1"),
            format!("Sampled=1; Root={id}"),
            format!("Self=1-67891234-12456789abcdef012345678;Root={id};CalledFrom=app;Sampled=1"),
        ] {
            assert_eq!(trace_id(&header).as_deref(), Some(id), "{header}");
        }
        for header in [
            "",
            "Root=",
            "Root=gws_canary",
            "Root=1-5759e988-bd862e3fe1be46a99427279",
            "Root=1-5759e988-bd862e3fe1be46a99427279g",
            "Root=2-5759e988-bd862e3fe1be46a994272793",
            "1-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759e988-bd862e3fe1be46a994272793\nforged",
        ] {
            assert_eq!(trace_id(&format!("{header};Sampled=1")), None, "{header:?}");
        }
        for header in [format!("Root={id}"), format!("Root={id};Sampled=0"), format!("Root={id};Sampled=?")] {
            assert_eq!(trace_id(&header), None, "nobody keeps it: {header}");
        }
    }
}
