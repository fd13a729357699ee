//! What X-Ray shows of an invocation besides Lambda's own segments: each call of AWS, as a subsegment that is sent by itself, in
//! one datagram, to the daemon that Lambda runs beside a function (AWS X-Ray Developer Guide, "AWS X-Ray segment documents").
//!
//! A document says which operation, on which table, and how it ended: never a key, an id of a client or of a secret, or a
//! service's words. Only sampled invocations are told of, and nobody waits for the daemon: a document that does not go out at
//! once is lost.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Not;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::operation::delete_item::DeleteItemInput;
use aws_sdk_dynamodb::operation::get_item::GetItemInput;
use aws_sdk_dynamodb::operation::put_item::PutItemInput;
use aws_sdk_dynamodb::operation::query::QueryInput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemInput;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, FinalizerInterceptorContextRef, Input,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use serde::Serialize;

use super::sdk::is_throttled;
use crate::core::random::Random as _;
use crate::system::SystemRandom;

/// Does the `work` of an invocation. Where it is sampled, its calls of AWS become parts of this segment.
pub(super) fn within<T>(segment: Option<Segment>, work: impl Future<Output = T>) -> impl Future<Output = T> {
    SEGMENT.scope(segment, work)
}

/// The function's own segment in a sampled trace, which Lambda sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    begun: u32,
    unique: u128,
    id: u64,
}

impl Segment {
    /// That of a tracing header, `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`. `None` where it is
    /// not sampled, or the header is anything else: a caller may send one.
    pub(super) fn sampled(header: &str) -> Option<Self> {
        let field = |name| field(header, name);
        if field("Sampled=") != Some("1") {
            return None;
        }
        let (begun, unique) = field("Root=")?.strip_prefix("1-")?.split_once('-')?;
        Some(Self {
            begun: u32::try_from(hexadecimal(begun, 8)?).ok()?,
            unique: hexadecimal(unique, 24)?,
            id: u64::try_from(hexadecimal(field("Parent=")?, 16)?).ok()?,
        })
    }
}

/// The way to X-Ray's daemon.
#[derive(Debug)]
pub(super) struct Traces {
    socket: UdpSocket,
    region: Option<String>,
}

impl Traces {
    /// To the daemon at `addresses`, which is `IP:PORT` or `tcp:IP:PORT udp:IP:PORT`, of calls to `region`. `None` where that is
    /// no address that can be sent to. A host's name is none: looking it up would hold up the start of the function.
    pub(super) fn to(addresses: &str, region: Option<String>) -> Option<Self> {
        let udp = addresses.split_whitespace().find_map(|each| each.strip_prefix("udp:")).unwrap_or(addresses);
        let daemon: SocketAddr = udp.parse().ok()?;
        let any: IpAddr = if daemon.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.set_nonblocking(true).ok()?;
        socket.connect(daemon).ok()?;
        Some(Self { socket, region })
    }

    fn send(&self, call: &TracedCall) {
        let mut id = [0; 8];
        if SystemRandom.fill(&mut id).is_err() {
            return;
        }
        let Segment { begun, unique, id: parent_id } = call.segment;
        let outcome = call.outcome.unwrap_or(Outcome::Failed);
        let document = Subsegment {
            name: call.service,
            id: format!("{:016x}", u64::from_be_bytes(id)),
            trace_id: format!("1-{begun:08x}-{unique:024x}"),
            parent_id: format!("{parent_id:016x}"),
            kind: "subsegment",
            start_time: call.since_epoch.as_secs_f64(),
            end_time: (call.since_epoch + call.begun.elapsed()).as_secs_f64(),
            namespace: "aws",
            error: matches!(outcome, Outcome::Refused | Outcome::Throttled),
            throttle: outcome == Outcome::Throttled,
            fault: outcome == Outcome::Failed,
            aws: AwsCall {
                operation: &call.operation,
                region: self.region.as_deref(),
                table_name: call.table.as_deref(),
                request_id: call.request_id.as_deref(),
                retries: call.retries,
            },
        };
        let mut datagram = HEADER.to_vec();
        if serde_json::to_writer(&mut datagram, &document).is_ok() {
            // Whether it arrives is nothing to the request.
            let _sent = self.socket.send(&datagram);
        }
    }
}

/// Tells the daemon of every call that is made for a sampled invocation: one for an operation, however often the SDK tries.
#[derive(Debug)]
pub(super) struct TracedCalls {
    traces: Arc<Traces>,
    service: &'static str,
}

impl TracedCalls {
    /// Tells of those to DynamoDB.
    pub(super) fn to_dynamodb(traces: Arc<Traces>) -> Self {
        Self { traces, service: "DynamoDB" }
    }

    /// Tells of those to Secrets Manager.
    pub(super) fn to_secrets_manager(traces: Arc<Traces>) -> Self {
        Self { traces, service: "SecretsManager" }
    }
}

#[dyn_dispatch_hint]
impl Intercept for TracedCalls {
    fn name(&self) -> &'static str {
        "TracedCalls"
    }

    // The first hook at which the SDK says which operation it is.
    fn read_before_serialization(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Ok(Some(segment)) = SEGMENT.try_with(|segment| *segment) else { return Ok(()) };
        let call = TracedCall {
            traces: Arc::clone(&self.traces),
            segment,
            service: self.service,
            operation: config.load::<Metadata>().map(|operation| operation.name().to_owned()).unwrap_or_default(),
            table: table_name(context.input()).map(str::to_owned),
            since_epoch: since_epoch(),
            begun: Instant::now(),
            outcome: None,
            request_id: None,
            retries: None,
        };
        config.interceptor_state().store_put(call);
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let attempts = config.load::<RequestAttempts>().map(RequestAttempts::attempts);
        let Some(call) = config.get_mut_from_interceptor_state::<TracedCall>() else { return Ok(()) };
        call.outcome = Some(Outcome::of(context));
        call.request_id = request_id(context);
        call.retries = attempts.map(|attempts| attempts.saturating_sub(1));
        // Ended here, not whenever the SDK lets go of its bag.
        config.interceptor_state().unset::<TracedCall>();
        Ok(())
    }
}

/// A call for a sampled invocation. It is told of when it is dropped, so that one that is given up half-way, because the request
/// ran out of time, is too: that is the one that somebody will look for.
#[derive(Debug)]
struct TracedCall {
    traces: Arc<Traces>,
    segment: Segment,
    service: &'static str,
    operation: String,
    table: Option<String>,
    since_epoch: Duration,
    begun: Instant,
    /// `None` until the SDK is done with it.
    outcome: Option<Outcome>,
    request_id: Option<String>,
    retries: Option<u32>,
}

impl Storable for TracedCall {
    type Storer = StoreReplace<Self>;
}

impl Drop for TracedCall {
    fn drop(&mut self) {
        self.traces.send(self);
    }
}

/// How a call ended, by the classes that X-Ray knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Succeeded,
    /// A 4xx, which may be an answer like any other: a condition did not hold, a secret has no previous version.
    Refused,
    Throttled,
    /// A 5xx, an answer that cannot be read, or none.
    Failed,
}

impl Outcome {
    fn of(context: &FinalizerInterceptorContextRef<'_>) -> Self {
        if matches!(context.output_or_error(), Some(Ok(_))) {
            return Self::Succeeded;
        }
        match context.response() {
            Some(answer) if answer.status().is_client_error() => {
                let is_throttled = is_throttled(answer.body().bytes().unwrap_or_default());
                if is_throttled { Self::Throttled } else { Self::Refused }
            }
            Some(_) | None => Self::Failed,
        }
    }
}

/// A segment document of a part that is sent by itself.
#[derive(Serialize)]
struct Subsegment<'a> {
    name: &'static str,
    id: String,
    trace_id: String,
    parent_id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    start_time: f64,
    end_time: f64,
    namespace: &'static str,
    #[serde(skip_serializing_if = "Not::not")]
    error: bool,
    #[serde(skip_serializing_if = "Not::not")]
    throttle: bool,
    #[serde(skip_serializing_if = "Not::not")]
    fault: bool,
    aws: AwsCall<'a>,
}

#[derive(Serialize)]
struct AwsCall<'a> {
    operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<u32>,
}

/// What follows `name`, such as `Root=`, in a tracing header.
pub(super) fn field<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').find_map(|part| part.trim().strip_prefix(name))
}

/// What `length` hexadecimal digits say, which X-Ray writes small.
fn hexadecimal(digits: &str, length: usize) -> Option<u128> {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_number = digits.len() == length && digits.bytes().all(is_digit);
    if is_number { u128::from_str_radix(digits, 16).ok() } else { None }
}

/// The table of an operation on one, where it is one that this server uses.
fn table_name(input: &Input) -> Option<&str> {
    if let Some(input) = input.downcast_ref::<GetItemInput>() {
        input.table_name()
    } else if let Some(input) = input.downcast_ref::<PutItemInput>() {
        input.table_name()
    } else if let Some(input) = input.downcast_ref::<UpdateItemInput>() {
        input.table_name()
    } else if let Some(input) = input.downcast_ref::<DeleteItemInput>() {
        input.table_name()
    } else {
        input.downcast_ref::<QueryInput>()?.table_name()
    }
}

/// AWS's own id of the call, by which its support finds it. Whatever else answers on the endpoint cannot write into a trace.
fn request_id(context: &FinalizerInterceptorContextRef<'_>) -> Option<String> {
    let id = context.response()?.headers().get("x-amzn-requestid")?;
    let is_id = id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_id.then(|| id.to_owned())
}

#[expect(clippy::disallowed_methods, reason = "X-Ray asks for the system's time, finer than a second")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

tokio::task_local! {
    /// Of the invocation that a call is made for. A sandbox has one at a time, but makes calls for it side by side.
    static SEGMENT: Option<Segment>;
}

const HEADER: &[u8] = b"{\"format\": \"json\", \"version\": 1}\n";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ROOT: &str = "Root=1-5759e988-bd862e3fe1be46a994272793";
    const SEGMENT: Segment =
        Segment { begun: 0x5759_e988, unique: 0x0000_bd86_2e3f_e1be_46a9_9427_2793, id: 0x5399_5c3f_42cd_8ad8 };

    fn daemon() -> (UdpSocket, Arc<Traces>) {
        let daemon = UdpSocket::bind(("127.0.0.1", 0)).expect("a port");
        daemon.set_nonblocking(true).expect("a socket");
        let address = daemon.local_addr().expect("an address").to_string();
        let traces = Traces::to(&address, Some("eu-central-1".to_owned())).expect("an address");
        (daemon, Arc::new(traces))
    }

    fn call(traces: &Arc<Traces>, outcome: Option<Outcome>) -> TracedCall {
        TracedCall {
            traces: Arc::clone(traces),
            segment: SEGMENT,
            service: "DynamoDB",
            operation: "GetItem".to_owned(),
            table: Some("tokens".to_owned()),
            since_epoch: Duration::from_millis(1_700_000_000_250),
            begun: Instant::now(),
            outcome,
            request_id: Some("0123ABCD".to_owned()),
            retries: Some(2),
        }
    }

    /// The document that the daemon was sent, without the two members that differ from one to the next.
    fn received(daemon: &UdpSocket) -> Value {
        let mut datagram = [0; 2048];
        let length = daemon.recv(&mut datagram).expect("a datagram");
        let mut lines = datagram[..length].split(|byte| *byte == b'\n');
        assert_eq!(lines.next(), Some(br#"{"format": "json", "version": 1}"#.as_slice()));
        let mut document: Value = serde_json::from_slice(lines.next().expect("a document")).expect("JSON");
        assert_eq!(lines.next(), None);
        let members = document.as_object_mut().expect("an object");
        let id = members.remove("id").expect("an id");
        assert!(hexadecimal(id.as_str().expect("a text"), 16).is_some(), "{id}");
        let ended = members.remove("end_time").and_then(|time| time.as_f64()).expect("a time");
        assert!((1_700_000_000.25..1_700_000_060.0).contains(&ended), "{ended}");
        document
    }

    #[test]
    fn a_segment_is_one_that_lambda_samples_and_nothing_else_that_a_caller_may_send() {
        for header in [
            format!("{ROOT};Parent=53995c3f42cd8ad8;Sampled=1"),
            format!("{ROOT};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:1"),
            format!("Self=1-67891234-12456789abcdef012345678; Sampled=1; Parent=53995c3f42cd8ad8; {ROOT}"),
        ] {
            assert_eq!(Segment::sampled(&header), Some(SEGMENT), "{header}");
        }
        for header in [
            String::new(),
            ROOT.to_owned(),
            format!("{ROOT};Parent=53995c3f42cd8ad8"),
            format!("{ROOT};Parent=53995c3f42cd8ad8;Sampled=0"),
            format!("{ROOT};Parent=53995c3f42cd8ad8;Sampled=?"),
            format!("{ROOT};Parent=53995c3f42cd8ad8;Sampled=10"),
            format!("{ROOT};Parent=53995c3f42cd8ad8;Sampled=0;Sampled=1"),
            format!("{ROOT};Sampled=1"),
            format!("{ROOT};Parent=;Sampled=1"),
            format!("{ROOT};Parent=53995c3f42cd8ad;Sampled=1"),
            format!("{ROOT};Parent=+3995c3f42cd8ad8;Sampled=1"),
            format!("{ROOT};Parent=53995C3F42CD8AD8;Sampled=1"),
            format!("{ROOT};Parent=53995c3f42cd8ad8\n;Sampled=1 1"),
            format!("{ROOT}\";Parent=53995c3f42cd8ad8;Sampled=1"),
            "Parent=53995c3f42cd8ad8;Sampled=1".to_owned(),
            "Root=1-5759e988-bd862e3fe1be46a99427279;Parent=53995c3f42cd8ad8;Sampled=1".to_owned(),
            "Root=1-5759e988-bd862e3fe1be46a99427279g;Parent=53995c3f42cd8ad8;Sampled=1".to_owned(),
            "Root=1-+759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1".to_owned(),
            "Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1".to_owned(),
            "Root=gws_canary;Parent=53995c3f42cd8ad8;Sampled=1".to_owned(),
        ] {
            assert_eq!(Segment::sampled(&header), None, "{header:?}");
        }
    }

    #[test]
    fn a_call_is_one_datagram_in_the_daemons_form() {
        let (daemon, traces) = daemon();
        drop(call(&traces, Some(Outcome::Succeeded)));
        let expected = json!({
            "name": "DynamoDB",
            "trace_id": "1-5759e988-bd862e3fe1be46a994272793",
            "parent_id": "53995c3f42cd8ad8",
            "type": "subsegment",
            "start_time": 1_700_000_000.25,
            "namespace": "aws",
            "aws": {
                "operation": "GetItem",
                "region": "eu-central-1",
                "table_name": "tokens",
                "request_id": "0123ABCD",
                "retries": 2,
            },
        });
        assert_eq!(received(&daemon), expected);
        assert!(daemon.recv(&mut [0; 8]).is_err(), "a second datagram");
    }

    #[test]
    fn a_call_that_ended_badly_or_never_is_marked_as_x_ray_marks_it() {
        let (daemon, traces) = daemon();
        for (outcome, expected) in [
            (Some(Outcome::Succeeded), json!([null, null, null])),
            (Some(Outcome::Refused), json!([true, null, null])),
            (Some(Outcome::Throttled), json!([true, true, null])),
            (Some(Outcome::Failed), json!([null, null, true])),
            (None, json!([null, null, true])),
        ] {
            drop(call(&traces, outcome));
            let document = received(&daemon);
            let marks = json!([document["error"], document["throttle"], document["fault"]]);
            assert_eq!(marks, expected, "{outcome:?}");
        }
    }

    #[test]
    fn leading_zeros_of_an_id_belong_to_it() {
        let (daemon, traces) = daemon();
        let header = "Root=1-00000001-000000000000000000000002;Parent=0000000000000003;Sampled=1";
        let mut call = call(&traces, None);
        call.segment = Segment::sampled(header).expect("a segment");
        drop(call);
        let document = received(&daemon);
        assert_eq!(document["trace_id"], "1-00000001-000000000000000000000002");
        assert_eq!(document["parent_id"], "0000000000000003");
    }

    #[test]
    fn the_daemons_address_is_lambdas_or_that_of_x_rays_sdks_and_nothing_is_looked_up() {
        for (addresses, daemon) in [
            ("169.254.79.129:2000", "169.254.79.129:2000"),
            ("tcp:127.0.0.1:2000 udp:127.0.0.2:2001", "127.0.0.2:2001"),
            ("udp:127.0.0.2:2001 tcp:127.0.0.1:2000", "127.0.0.2:2001"),
            ("udp:127.0.0.2:2001", "127.0.0.2:2001"),
        ] {
            let traces = Traces::to(addresses, None).expect(addresses);
            assert_eq!(traces.socket.peer_addr().expect("a peer").to_string(), daemon, "{addresses}");
        }
        for addresses in ["", "localhost:2000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "tcp:127.0.0.1:2000"] {
            assert!(Traces::to(addresses, None).is_none(), "{addresses}");
        }
    }

    #[test]
    fn a_daemon_that_has_gone_is_no_error() {
        let (daemon, traces) = daemon();
        drop(daemon);
        for _ in 0..3 {
            drop(call(&traces, None));
        }
    }
}
