//! What Prometheus fetches: `serve --metrics-listen`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use crate::support::cli::{Registered, Store, grantwell};
use crate::support::http::{Connection, GRANT, Request};
use crate::support::poll;
use crate::support::server::{Server, Start};

const CLIENT: [&str; 4] = ["--scope", "a", "--default-scope", "a"];

/// One metric, as a scraper reads it.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    /// By name and labels.
    samples: BTreeMap<String, f64>,
}

/// Where a server says that its metrics are.
fn metrics_of(server: &Server) -> SocketAddr {
    poll("the log says where metrics are", Duration::from_secs(10), || {
        let log = server.stderr();
        let line = log.lines().find(|line| line.contains("metrics are at /metrics"))?;
        line.split_once("address=\"")?.1.split_once('"')?.0.parse().ok()
    })
}

fn fetch(address: SocketAddr, path: &str) -> (u16, String, String) {
    let mut answer = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .new_agent()
        .get(format!("http://{address}{path}"))
        .call()
        .expect("an answer");
    let media_type = answer.headers().get("content-type").expect("a type").to_str().expect("text").to_owned();
    assert!(answer.headers().contains_key("x-request-id"));
    (answer.status().as_u16(), media_type, answer.body_mut().read_to_string().expect("text"))
}

/// Reads the text format as its grammar has it, and fails where it is another text
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
fn scrape(address: SocketAddr) -> BTreeMap<String, Family> {
    let (status, media_type, text) = fetch(address, "/metrics");
    assert_eq!((status, media_type.as_str()), (200, "text/plain; version=0.0.4"));
    assert!(text.ends_with('\n'));
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a sentence");
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.help.is_empty() && !help.is_empty(), "{line}");
            help.clone_into(&mut family.help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            let family = families.get_mut(name).expect("its help comes first");
            assert!(family.samples.is_empty() && family.kind.is_empty(), "{line}");
            kind.clone_into(&mut family.kind);
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            let name = series.split('{').next().expect("a name");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
                "{line}"
            );
            assert_labels(series.strip_prefix(name).expect("it begins so"));
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let family = [Some(name), base].into_iter().flatten().find(|name| families.contains_key(*name));
            let family = families.get_mut(family.expect(line)).expect("found");
            assert!(!family.kind.is_empty(), "its type comes first: {line}");
            let value: f64 = value.parse().expect(line);
            assert_eq!(family.samples.insert(series.to_owned(), value), None, "once: {line}");
        }
    }
    families
}

/// `{name="value",name="value"}` or nothing.
fn assert_labels(labels: &str) {
    if labels.is_empty() {
        return;
    }
    let inner = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).expect(labels);
    for label in inner.split(',') {
        let (name, value) = label.split_once('=').expect(labels);
        assert!(["endpoint", "le", "realm", "reason", "status", "store", "version"].contains(&name), "{labels}");
        assert!(value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{labels}");
    }
}

fn value(families: &BTreeMap<String, Family>, series: &str) -> Option<f64> {
    families.values().find_map(|family| family.samples.get(series)).copied()
}

#[test]
fn what_a_server_does_is_counted_under_the_names_of_the_table() {
    let store = Store::new();
    store.set_realm("alpha", &[]);
    let client = store.register("alpha", "counted", &CLIENT);
    let observed = [&CLIENT[..], &["--token-quota", "1/day", "--token-quota-mode", "observe"]].concat();
    let greedy = store.register("alpha", "greedy", &observed);
    let arguments = ["--metrics-listen", "127.0.0.1:0"];
    let server = Start::on(&store.argument()).arguments(&arguments).spawn();
    let address = metrics_of(&server);
    let before = scrape(address);
    assert_eq!(value(&before, "grantwell_requests_refused_total{reason=\"wrong_secret\"}"), Some(0.0));
    assert_eq!(value(&before, "grantwell_introspections_active_total"), Some(0.0));

    let token = server.token(&client, "a");
    for _ in 0..3 {
        server.token(&greedy, "a");
    }
    server.introspect(&client, &token).assert_active();
    server.introspect(&client, "gwt_unknown").assert_inactive();
    assert_eq!(server.revoke(&client, &token).status, 200);
    for _ in 0..3 {
        server.token_request(&client.with_secret("wrong"), "").assert_401("alpha");
    }
    let stranger = Registered { client_id: "canary-client".into(), ..client.clone() };
    server.token_request(&stranger, "").assert_401("alpha");
    Request::new("GET", "/canary?canary").send_raw(&server);

    let mut connection = Connection::open(&server);
    connection.send(b"GET /oauth2/connect/jwk_uri HTTP/1.1\r\n\r\n");
    connection.answer(true).assert_400("invalid_request");

    let after = scrape(address);
    for (series, expected) in [
        ("grantwell_tokens_issued_total{realm=\"alpha\"}", 4.0),
        ("grantwell_tokens_beyond_quota_total{realm=\"alpha\"}", 2.0),
        ("grantwell_introspections_active_total", 1.0),
        ("grantwell_introspections_inactive_total", 1.0),
        ("grantwell_tokens_revoked_total", 1.0),
        ("grantwell_requests_refused_total{reason=\"wrong_secret\"}", 3.0),
        ("grantwell_requests_refused_total{reason=\"unknown_client\"}", 1.0),
        ("grantwell_requests_refused_total{reason=\"invalid_host\"}", 1.0),
        ("grantwell_latency_seconds_count{endpoint=\"token\",status=\"200\"}", 4.0),
        ("grantwell_latency_seconds_count{endpoint=\"token\",status=\"401\"}", 4.0),
        ("grantwell_latency_seconds_count{endpoint=\"introspection\",status=\"200\"}", 2.0),
        ("grantwell_latency_seconds_count{endpoint=\"revocation\",status=\"200\"}", 1.0),
        ("grantwell_latency_seconds_count{endpoint=\"other\",status=\"404\"}", 1.0),
        ("grantwell_store_up{store=\"registry\"}", 1.0),
        ("grantwell_store_up{store=\"tokens\"}", 1.0),
        ("grantwell_store_up{store=\"data_directory\"}", 1.0),
        (concat!("grantwell_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(value(&after, series), Some(expected), "{series}: {after:#?}");
    }
    assert!(value(&after, "process_start_time_seconds").is_some_and(|start| start > 1.7e9), "{after:#?}");
    assert!(!format!("{after:?}").contains("canary") && !format!("{after:?}").contains("greedy"), "{after:#?}");
    // The names and the types are those of the table that CloudWatch's metrics are in, too.
    let described = grantwell().arg("describe").output().expect("grantwell runs").stdout;
    let described: serde_json::Value = serde_json::from_slice(&described).expect("JSON");
    let rows = described["metrics"].as_array().expect("a list");
    let named: BTreeSet<&str> = rows.iter().filter_map(|row| row["prometheus"].as_str()).collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        let kind = if name.ends_with("_seconds") { "histogram" } else { "counter" };
        assert_eq!(after.get(name).map(|family| family.kind.as_str()), Some(kind), "{name}");
    }
}

#[test]
fn metrics_are_for_this_machine_unless_an_option_says_otherwise() {
    let listen = |arguments: &[&str]| Start::on("memory").arguments(arguments).expect_refusal();
    let refused = listen(&["--metrics-listen", "0.0.0.0:0"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("--metrics-allow-remote"), "{said}");
    for wrong in ["nowhere", "127.0.0.1", "127.0.0.1:x"] {
        let refused = listen(&["--metrics-listen", wrong]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("--metrics-listen"), "{wrong}: {said}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let refused = listen(&["--metrics-listen", &taken.local_addr().expect("bound").to_string()]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--metrics-listen"));

    let everywhere = ["--metrics-listen", "0.0.0.0:0", "--metrics-allow-remote"];
    let server = Start::on("memory").arguments(&everywhere).spawn();
    let port = metrics_of(&server).port();
    assert!(scrape(SocketAddr::from(([127, 0, 0, 1], port))).contains_key("grantwell_tokens_revoked_total"));
}

#[test]
fn a_variable_says_where_metrics_are_and_an_empty_one_says_nothing() {
    let mut server = Start::on("memory").environment("GRANTWELL_METRICS_LISTEN", "127.0.0.1:0").spawn();
    let address = metrics_of(&server);
    // Neither what the server is for, nor anything else.
    for path in ["/", "/metrics/", "/health/live", "/oauth2/access_token", "/oauth2/connect/jwk_uri"] {
        assert_eq!(fetch(address, path).0, 404, "{path}");
    }
    assert_eq!(Request::new("GET", "/metrics").send_raw(&server).status, 404, "nor here");
    let posted = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let posted = posted.post(format!("http://{address}/metrics")).send(GRANT).expect("an answer");
    assert_eq!(posted.status().as_u16(), 405);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(ureq::get(format!("http://{address}/metrics")).call().is_err(), "it ends with the server");

    for wrong in ["nowhere", "0.0.0.0:0"] {
        let refused = Start::on("memory").environment("GRANTWELL_METRICS_LISTEN", wrong).expect_refusal();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(&format!("GRANTWELL_METRICS_LISTEN {wrong} is not")), "{said}");
    }

    let server = Start::on("memory").environment("GRANTWELL_METRICS_LISTEN", "").spawn();
    assert!(!server.stderr().contains("/metrics"), "{}", server.stderr());
}
