//! What the log never holds: rows Z-01 and Z-02 of docs/protocol-cases.md, at the most talkative level there is. And what the log
//! never does: hold up a request, or the end.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use grantwell::core::reason::Reason;
use serde_json::{Map, Value, json};

use crate::support::cli::{Registered, Store, basic, percent_encode_all};
use crate::support::http::{Connection, GRANT, Request, form_endpoints};
use crate::support::poll;
use crate::support::server::{Server, Start};
use crate::support::shared::{STATELESS_JWT, STORED_JWT};

const ENDPOINTS: [&str; 3] = ["/oauth2/access_token", "/oauth2/introspect", "/oauth2/token/revoke"];

fn start(store: &Store) -> Server {
    Start::on(&store.argument())
        .environment("GRANTWELL_LOG_LEVEL", "trace")
        .environment("RUST_LOG", "trace")
        .environment("RUST_BACKTRACE", "full")
        .spawn()
}

#[test]
fn z_01_no_credential_token_body_or_query_reaches_the_log() {
    let store = Store::new();
    let methods = ["--auth-method", "client_secret_basic", "--auth-method", "client_secret_post"];
    let settings = [&["--scope", "a", "--default-scope", "a"][..], &methods].concat();
    let client = store.register_with_secret("root", "logged", "canary-of-the-real-secret", &settings);
    let disabled = store.register_with_secret("root", "disabled", "canary-of-a-disabled-client", &settings);
    store.client("disable", &disabled, &[]);
    let mut server = start(&store);

    let token = server.token(&client, "a");
    server.introspect(&client, &token).assert_active();
    assert_eq!(server.revoke(&client, &token).status, 200);
    server.introspect(&client, &token).assert_inactive();
    let rotated = store.rotate_secret(&client, &[]);
    let second_token = server.wait_until_granted("the new secret works", &rotated, "").assert_token("a");

    let wrong = client.with_secret("canary-of-a-wrong-secret");
    let stranger = Registered { client_id: "canary-client".into(), ..wrong.clone() };
    for (endpoint, _) in form_endpoints() {
        let form = |body: &str| Request::form(&format!("/oauth2/{endpoint}"), body);
        let own = format!("client_id=logged&client_secret={}", client.client_secret);
        for request in [
            form("token=canary-token&scope=canary-scope&grant_type=canary-grant").by(&client),
            form(&format!("{GRANT}&token={second_token}&{own}")),
            form(&format!("{GRANT}&token=canary-token&client_id=logged&client_secret=canary-of-a-wrong-secret")),
            form(GRANT).by(&wrong),
            form(GRANT).by(&stranger),
            form(GRANT).by(&disabled),
            form(GRANT).header("Authorization", "Bearer canary-bearer"),
            form(GRANT).header("Authorization", "canary-of-no-scheme"),
            form(GRANT).header("Authorization", "Basic canary!"),
            form(GRANT).header("Authorization", basic("canary%zz", "canary")),
            form(GRANT).by(&client).header("Authorization", client.basic()),
            form(&format!("{own}&{own}")),
            form(&format!("{own}&canary=%zz")),
            form(&format!("{own}&pad={}", "canary".repeat(20_000))),
            form(&"canary=1&".repeat(200)).by(&client),
            form("canary").by(&client).header("Cookie", "session=canary").header("User-Agent", "canary/1.0"),
            form(&format!("client_assertion_type=canary&client_assertion=canary.canary.canary&{GRANT}")),
            Request::new("POST", endpoint)
                .header("Content-Type", "application/json")
                .body(r#"{"client_secret":"canary"}"#),
            Request::new("POST", endpoint)
                .header("Content-Type", "canary/canary")
                .header("Content-Encoding", "canary")
                .body("canary"),
            Request::new("GET", &format!("{endpoint}?{GRANT}&token=canary&{own}")),
            Request::form(&format!("{endpoint}?token=canary&{own}"), ""),
            Request::form(&format!("/canary/{}?{own}", percent_encode_all("canary")), own.as_str()).by(&client),
            Request::new("GET", &format!("/oauth2/.well-known/oauth-authorization-server?{own}")).by(&client),
            Request::form(&format!("/oauth2/realms/root/realms/nowhere{}", &endpoint[7..]), own.as_str()).by(&client),
        ] {
            request.send_raw(&server);
        }
    }
    // A connection that dies in the middle of a secret, and one that never was HTTP.
    let mut broken = Connection::open(&server);
    let wire = Request::form(ENDPOINTS[0], format!("{GRANT}&client_secret=canary")).header("Content-Length", "500");
    broken.send(&wire.to_bytes(&server));
    drop(broken);
    Connection::open(&server).send(b"canary canary canary\r\nAuthorization: canary\r\n\r\n");
    server.token(&rotated, "a");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));

    let (stdout, stderr) = server.into_output();
    let log = format!("{stdout}{stderr}");
    for event in ["token issued", "token introspected", "request refused"] {
        assert!(log.contains(event), "the log says what happened: no '{event}' in\n{log}");
    }
    assert!(log.contains("logged"), "and which client did it\n{log}");
    let secrets = [&client, &rotated, &wrong, &disabled, &stranger].map(|client| client.client_secret.clone());
    let pairs = [&client, &rotated, &wrong, &disabled, &stranger]
        .map(|client| STANDARD.encode(format!("{}:{}", client.client_id, client.client_secret)));
    let encoded = STANDARD.encode("canary%zz:canary");
    for text in secrets.iter().chain(&pairs).chain([&token, &second_token, &encoded]) {
        assert!(!log.contains(text.as_str()), "{text} is in\n{log}");
        // Nor the greater part of it, as a truncated header would show.
        assert!(!log.contains(&text[..text.len() / 2]), "half of {text} is in\n{log}");
    }
    assert!(!log.to_lowercase().contains("canary"), "something that a caller sent is in\n{log}");
}

#[test]
fn z_02_nobody_can_write_lines_of_the_log() {
    let store = Store::new();
    let client = store.register("root", "logged", &["--scope", "a", "--default-scope", "a"]);
    let mut server = start(&store);
    let line = "2026-01-01T00:00:00.000000Z  INFO grantwell: forged\u{1b}[2J";
    for breaker in ["\r\n", "\n", "\r", "\u{1b}[31m", "\u{2028}", "\u{85}", "\"}\n{\"", &"A".repeat(4096)] {
        let forged = percent_encode_all(&format!("{breaker}{line}"));
        for request in [
            Request::form(ENDPOINTS[0], format!("{GRANT}&scope={forged}")).by(&client),
            Request::form(ENDPOINTS[0], format!("grant_type={forged}")).by(&client),
            Request::form(ENDPOINTS[0], format!("{GRANT}&client_id={forged}&client_secret={forged}")),
            Request::form(ENDPOINTS[0], format!("{GRANT}&{forged}={forged}")).by(&client),
            Request::form(ENDPOINTS[0], GRANT).header("Authorization", basic(&forged, &forged)),
            Request::form(ENDPOINTS[1], format!("token={forged}&token_type_hint={forged}")).by(&client),
            Request::form(ENDPOINTS[2], format!("token={forged}")).by(&client),
            Request::form(&format!("/oauth2/realms/root/realms/{forged}/access_token"), GRANT).by(&client),
            Request::new("GET", &format!("/{forged}?{forged}")),
            Request::new("GET", "/oauth2").header("User-Agent", format!("x\ty {line}").replace('\u{1b}', "")),
            Request::new("GET", "/oauth2").header("User-Agent", line),
        ] {
            request.send_raw(&server);
        }
    }
    server.token(&client, "a");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));

    let (stdout, stderr) = server.into_output();
    let log = format!("{stdout}{stderr}");
    // Of what was sent the log has a refused scope alone, as a text.
    let forged = |line: &&str| line.contains("forged") && !line.contains(" requested_scope=\"");
    assert_eq!(log.lines().find(forged), None, "{log}");
    assert!(!log.chars().any(|c| c.is_control() && c != '\n'), "{log:?}");
    for line in stderr.lines() {
        let bytes = line.as_bytes();
        assert!(bytes.len() > 20 && bytes[4] == b'-' && bytes[10] == b'T', "a line of its own making: {line:?}");
        assert!(bytes.len() < 1024, "{line}");
    }
}

#[test]
fn every_decision_is_one_line_and_what_is_none_is_no_line() {
    let store = Store::new();
    let scope = ["--scope", "a", "--default-scope", "a"];
    let client = store.register("root", "counted", &scope);
    let jwt = store.register("root", "counted-jwt", &[&scope[..], &STATELESS_JWT].concat());
    let mut server = start(&store);
    let opaque = server.token(&client, "a");
    let signed = server.jwt(&jwt, "a", "");
    let introspect = |token: &str| Request::form(ENDPOINTS[1], format!("token={token}")).by(&client);
    let decided = [
        Request::form(ENDPOINTS[0], GRANT).by(&client),
        Request::form(ENDPOINTS[0], GRANT).by(&jwt),
        Request::form(ENDPOINTS[0], GRANT).by(&client.with_secret("wrong")),
        Request::form(ENDPOINTS[0], format!("{GRANT}&scope=b")).by(&client),
        Request::form(ENDPOINTS[0], "grant_type=password").by(&client),
        Request::form(ENDPOINTS[0], GRANT),
        Request::new("POST", ENDPOINTS[0]).header("Content-Type", "application/json").body("{}"),
        Request::form("/oauth2/realms/root/realms/nowhere/access_token", GRANT).by(&client),
        introspect(&opaque),
        introspect(&signed),
        introspect("gwt_unknown"),
        introspect(&opaque).header("Accept", "application/token-introspection+jwt"),
        introspect(&opaque).header("Content-Encoding", "gzip"),
        Request::form(ENDPOINTS[1], "").by(&client),
        Request::form(ENDPOINTS[2], format!("token={opaque}")).by(&jwt),
        Request::form(ENDPOINTS[2], format!("token={opaque}")).by(&client),
        Request::form(ENDPOINTS[2], format!("token={opaque}")).by(&client),
        Request::form(ENDPOINTS[2], format!("token={signed}")).by(&jwt),
        Request::new("GET", "/oauth2/realms/root/realms/nowhere/connect/jwk_uri"),
    ];
    for request in &decided {
        request.send_raw(&server);
    }
    // Public documents, and what no endpoint was asked for.
    for path in ["/oauth2/connect/jwk_uri", "/oauth2/.well-known/openid-configuration", "/nowhere", ENDPOINTS[0]] {
        Request::new("GET", path).send_raw(&server);
    }
    server.signal("TERM");
    server.wait();
    let (_, log) = server.into_output();

    let names = ["token issued", "token introspected", "revocation answered", "request refused", "request failed"];
    let lines = log.lines().filter(|line| names.iter().any(|name| line.contains(name))).count();
    // Besides the two tokens that were made first.
    assert_eq!(lines, decided.len() + 2, "{log}");
    assert!(log.contains("format=\"opaque\"") && log.contains("format=\"jwt\""), "{log}");
}

#[test]
fn a_tokens_lines_share_its_audit_id_and_a_guess_names_the_client_it_is_aimed_at() {
    let store = Store::new();
    let client = store.register("root", "traced", &["--scope", "a", "--default-scope", "a"]);
    let mut server = start(&store);
    let token = server.token(&client, "a");
    let audit_id =
        server.introspect(&client, &token).assert_active()["auditTrackingId"].as_str().expect("text").to_owned();
    assert_eq!(server.revoke(&client, &token).status, 200);
    server.token_request(&client.with_secret("wrong"), "").assert_401("root");
    server.token_request(&Registered { client_id: "stranger".into(), ..client.clone() }, "").assert_401("root");
    server.signal("TERM");
    server.wait();
    let (_, log) = server.into_output();

    for decision in ["token issued", "token introspected", "revocation answered"] {
        let told =
            log.lines().any(|line| line.contains(decision) && line.contains(&audit_id) && line.contains("traced"));
        assert!(told, "{decision}\n{log}");
    }
    let refusals: Vec<&str> = log.lines().filter(|line| line.contains("request refused")).collect();
    assert_eq!(refusals.len(), 2, "{log}");
    assert!(refusals[0].contains("wrong_secret") && refusals[0].contains("traced"), "{log}");
    assert!(refusals[1].contains("unknown_client") && !log.contains("stranger"), "{log}");
}

/// What a line of either form says, by name. Fails where a text is not in quotes, or something else is.
fn members_of(line: &str, format: &str) -> Map<String, Value> {
    if format == "json" {
        return serde_json::from_str(line).expect(line);
    }
    let (_, rest) = line.split_once(": ").expect(line);
    let start = rest.find('=').map_or(rest.len(), |equals| rest[..equals].rfind(' ').unwrap_or_default());
    let (message, mut rest) = rest.split_at(start);
    let mut members = Map::from_iter([("message".to_owned(), Value::from(message))]);
    while !rest.is_empty() {
        let (name, value) = rest.strip_prefix(' ').and_then(|rest| rest.split_once('=')).expect(line);
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}: {line}");
        // A JSON value, whatever follows it: a text in quotes, a number, true or false.
        let mut values = serde_json::Deserializer::from_str(value).into_iter::<Value>();
        let found = values.next().expect(line).expect(line);
        rest = &value[values.byte_offset()..];
        assert_eq!(members.insert(name.to_owned(), found), None, "{name} twice: {line}");
    }
    members
}

#[test]
fn every_decision_says_whence_it_came_how_it_was_answered_and_by_which_id_its_caller_can_ask_for_it() {
    let store = Store::new();
    let client = store.register("root", "told", &["--scope", "a", "--default-scope", "a", "--token-quota", "3/day"]);
    for format in ["text", "json"] {
        let arguments = ["--log-format", format, "--trust-forwarded-for"];
        let mut server = Start::on(&store.argument()).arguments(&arguments).spawn();
        let wrong = client.with_secret("wrong");
        let stranger = Registered { client_id: "stranger".into(), ..wrong.clone() };
        let token = server.token(&client, "a");
        let mut answers = BTreeMap::new();
        for (number, request) in [
            Request::form(ENDPOINTS[0], GRANT).by(&client),
            Request::form(ENDPOINTS[0], GRANT).by(&wrong),
            Request::form(ENDPOINTS[0], GRANT).by(&stranger),
            Request::form(ENDPOINTS[0], GRANT),
            Request::form(ENDPOINTS[0], format!("{GRANT}&scope=b")).by(&client),
            Request::form(ENDPOINTS[0], "grant_type=password").by(&client),
            Request::form("/oauth2/realms/root/realms/nowhere/access_token", GRANT).by(&client),
            Request::new("POST", ENDPOINTS[0]).header("Content-Type", "application/json").body("{}"),
            Request::form(ENDPOINTS[0], "").header("Content-Encoding", "gzip"),
            Request::form(ENDPOINTS[0], format!("a={}", "b".repeat(70_000))),
            Request::form(ENDPOINTS[1], format!("token={token}")).by(&client),
            Request::form(ENDPOINTS[1], "token=x").by(&client),
            Request::form(ENDPOINTS[1], "token=x").by(&stranger),
            Request::form(ENDPOINTS[2], format!("token={token}")).by(&client),
            Request::new("GET", "/oauth2/realms/root/realms/nowhere/connect/jwk_uri"),
        ]
        .into_iter()
        .enumerate()
        {
            let source = format!("203.0.113.{number}");
            let own = "2b1c7f52-0000-4000-8000-00000000cafe";
            let request = request.header("X-Forwarded-For", format!("198.51.100.1, {source}"));
            let answer = request.header("X-Request-Id", own).send_raw(&server);
            let id = answer.header("x-request-id").expect("every answer has one").to_owned();
            assert_ne!(id, own, "a caller's own is not taken");
            assert_eq!(answers.insert(id, (source, answer.status)), None, "no id comes twice");
        }
        server.signal("TERM");
        server.wait();
        let (_, log) = server.into_output();
        let mut told = 0;
        for line in log.lines() {
            let line = members_of(line, format);
            let Some((source, status)) = line.get("request_id").and_then(|id| answers.get(id.as_str()?)) else {
                continue;
            };
            told += 1;
            assert_eq!((&line["source"], &line["status"]), (&json!(source), &json!(status)), "{line:?}");
            assert!(line["duration_ms"].as_f64().is_some_and(|time| (0.0..60_000.0).contains(&time)), "{line:?}");
            if let Some(reason) = line.get("reason") {
                let reason = reason.as_str().expect("text");
                assert!(Reason::ALL.iter().any(|known| known.as_str() == reason), "{reason} is no reason: {line:?}");
            }
            assert_eq!(line.get("requested_scope").is_some(), line.get("reason") == Some(&json!("invalid_scope")));
        }
        assert_eq!(told, answers.len(), "{log}");
    }
}

#[test]
fn what_is_refused_before_it_is_routed_is_in_the_log_by_its_id_too() {
    let mut server = Start::on("memory").arguments(&["--log-format", "json", "--trust-forwarded-for"]).spawn();
    let requests = [
        ("invalid_host", 400, "token", "POST /oauth2/access_token HTTP/1.1\r\nHost: canary host"),
        ("invalid_host", 400, "other", "GET /canary?canary HTTP/1.1\r\nX: canary"),
        (
            "unsupported_transfer_coding",
            501,
            "revocation",
            "POST /oauth2/token/revoke HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: canary, chunked",
        ),
    ];
    let asked = requests.map(|(reason, status, endpoint, head)| {
        let mut connection = Connection::open(&server);
        connection.send(format!("{head}\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n").as_bytes());
        let answer = connection.answer(true);
        assert_eq!(answer.status, status, "{head}");
        (answer.header("x-request-id").expect("an id").to_owned(), reason, status, endpoint)
    });
    server.signal("TERM");
    server.wait();
    let (_, log) = server.into_output();
    for (id, reason, status, endpoint) in asked {
        let line = log.lines().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("no line of {reason}: {log}"));
        let line = members_of(line, "json");
        let said = ["message", "reason", "status", "endpoint", "source"].map(|member| &line[member]);
        let expected = [json!("request refused"), json!(reason), json!(status), json!(endpoint), json!("203.0.113.7")];
        assert_eq!(said, expected.each_ref(), "{line:?}");
    }
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn without_a_proxy_to_trust_the_source_is_the_peer_whatever_it_says() {
    let store = Store::new();
    let mut server = Start::on(&store.argument()).spawn();
    Request::form(ENDPOINTS[0], GRANT).header("X-Forwarded-For", "203.0.113.9").send_raw(&server);
    Request::form(ENDPOINTS[0], GRANT).send_raw(&server);
    server.signal("TERM");
    server.wait();
    let (_, log) = server.into_output();
    let refused: Vec<&str> = log.lines().filter(|line| line.contains("no_credentials")).collect();
    assert_eq!(refused.len(), 2, "{log}");
    assert!(refused.iter().all(|line| line.contains("source=\"127.0.0.1\"")), "{log}");
    assert!(!log.contains("203.0.113.9"), "{log}");
}

#[test]
fn why_a_token_is_not_active_is_in_the_log_and_never_in_the_answer() {
    let store = Store::new();
    let scope = ["--scope", "a", "--default-scope", "a"];
    let own = |id: &str, settings: &[&str]| store.register("root", id, &[&scope[..], settings].concat());
    let opaque = own("opaque", &[]);
    let short = own("short", &["--token-lifetime", "1"]);
    let short_jwt = own("short-jwt", &[&["--token-lifetime", "1"][..], &STATELESS_JWT].concat());
    let stored = own("stored", &STORED_JWT);
    let stateless = own("stateless", &STATELESS_JWT);
    let disabled = own("disabled", &[]);
    let deleted = own("deleted", &[]);
    let again = own("again", &[]);
    let emptied = own("emptied", &[]);
    let withdrawn = own("withdrawn", &["--resource", "https://a.example"]);
    store.set_realm("alpha", &[]);
    let elsewhere = store.register("alpha", "elsewhere", &scope);
    let resource_server = own("resource-server", &["--scope", "am-introspect-all-tokens"]);
    let mut server = Start::on(&store.argument()).arguments(&["--log-format", "json"]).spawn();

    let token = server.token(&opaque, "a");
    let expired = [server.token(&short, "a"), server.jwt(&short_jwt, "a", "")];
    let revoked = [server.token(&opaque, "a"), server.jwt(&stored, "a", ""), server.jwt(&stateless, "a", "")];
    for (client, token) in [&opaque, &stored, &stateless].into_iter().zip(&revoked) {
        assert_eq!(server.revoke(client, token).status, 200);
    }
    let of_others: Vec<String> =
        [&disabled, &deleted, &again, &emptied, &withdrawn].map(|client| server.token(client, "a")).into();
    let of_alpha = server.token(&elsewhere, "a");
    store.client("disable", &disabled, &[]);
    store.client("delete", &deleted, &[]);
    store.client("delete", &again, &[]);
    own("again", &[]);
    store.client("update", &emptied, &["--scope", "b", "--default-scope", "b"]);
    store.client("update", &withdrawn, &["--resource", "https://b.example"]);
    std::thread::sleep(Duration::from_secs(6));

    let jwt = server.jwt(&stored, "a", "");
    let (message, _) = jwt.rsplit_once('.').expect("a JWS");
    let forged = format!("{message}.{}", "A".repeat(86));
    let asked = [
        (&resource_server, "x", "unknown_token"),
        (&resource_server, forged.as_str(), "unknown_token"),
        (&resource_server, &expired[0], "expired"),
        (&resource_server, &expired[1], "expired"),
        (&resource_server, "gwt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "no_record"),
        (&resource_server, &revoked[0], "revoked"),
        (&resource_server, &revoked[1], "revoked"),
        (&resource_server, &revoked[2], "revoked"),
        (&resource_server, &of_others[0], "client_disabled"),
        (&resource_server, &of_others[1], "unknown_client"),
        (&resource_server, &of_others[2], "other_registration"),
        (&resource_server, &of_others[3], "scope_withdrawn"),
        (&resource_server, &of_others[4], "resource_withdrawn"),
        (&resource_server, &of_alpha, "other_realm"),
        (&stored, &token, "caller_may_not_introspect"),
    ];
    let mut reasons = BTreeMap::new();
    for (caller, token, reason) in asked {
        let answer = Request::form(ENDPOINTS[1], format!("token={token}")).by(caller).send_raw(&server);
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"active":false}"#), "{reason}");
        reasons.insert(answer.header("x-request-id").expect("an id").to_owned(), reason);
    }
    // All of a client's, or of a realm's.
    let first = server.token(&opaque, "a");
    store.client("update", &opaque, &["--revoke-tokens"]);
    let mut wait_for = |token: &str, reason: &'static str| {
        poll("its tokens have ended", Duration::from_secs(30), || {
            let answer = Request::form(ENDPOINTS[1], format!("token={token}")).by(&resource_server).send_raw(&server);
            let id = answer.header("x-request-id").expect("an id").to_owned();
            (answer.json()["active"] == false).then(|| reasons.insert(id, reason))
        });
    };
    wait_for(&first, "client_tokens_revoked");
    let second = server.token(&opaque, "a");
    store.set_realm("root", &["--revoke-tokens"]);
    wait_for(&second, "realm_tokens_revoked");
    server.introspect(&resource_server, &server.token(&opaque, "a")).assert_active();
    server.signal("TERM");
    server.wait();

    let (_, log) = server.into_output();
    let lines = log.lines().map(|line| members_of(line, "json"));
    let introspected: Vec<_> = lines.filter(|line| line["message"] == "token introspected").collect();
    let mut told = 0;
    for line in &introspected {
        assert_eq!(line["active"] == true, line.get("reason").is_none(), "{line:?}");
        let Some(reason) = line["request_id"].as_str().and_then(|id| reasons.get(id)) else { continue };
        told += 1;
        let logged = line["reason"].as_str().expect("text");
        assert_eq!(logged, *reason, "{line:?}");
        // What there is a record of, or a signature for, is found by its other lines.
        let is_known = !["unknown_token", "no_record"].contains(&logged);
        assert_eq!(line.get("audit_tracking_id").is_some(), is_known, "{line:?}");
    }
    assert_eq!(told, reasons.len(), "{log}");
}

#[test]
fn a_scope_that_was_refused_is_in_the_log_without_what_could_do_harm_there() {
    let store = Store::new();
    let client = store.register("root", "asking", &["--scope", "a", "--default-scope", "a"]);
    let mut server = Start::on(&store.argument()).spawn();
    let secret = format!("b {}", client.client_secret);
    let long = "c".repeat(60_000);
    let basic = client.basic();
    let (_, credentials) = basic.split_once(' ').expect("a scheme");
    let shown_first = r#"requested_scope="[redacted] read" "#;
    for (scope, shown) in [
        (&format!("{credentials} read"), shown_first),
        (&format!("{} read", credentials.trim_end_matches('=')), shown_first),
        (&"read write".to_owned(), r#"requested_scope="read write" "#),
        (&"\"read\"".to_owned(), r#"requested_scope="\"read\"" "#),
        (&basic, r#"requested_scope="Basic [redacted]" "#),
        (&secret, r#"requested_scope="b [redacted]" "#),
        (&long, "c...\""),
        (&"d\r\n2026-01-01T00:00:00.000000Z  INFO grantwell: forged\u{1b}[2J".to_owned(), r"\\u{d}\\u{a}2026-01-01"),
    ] {
        let body = format!("{GRANT}&scope={}", percent_encode_all(scope));
        let body = if scope.len() > 10_000 { format!("{GRANT}&scope={scope}") } else { body };
        Request::form(ENDPOINTS[0], body).by(&client).send_raw(&server).assert_400("invalid_scope");
        let log = server.stderr();
        let line = log.lines().last().expect("a line");
        assert!(line.contains(shown) && line.contains("invalid_scope"), "{line}");
        assert!(line.len() < 1024, "{line}");
    }
    server.signal("TERM");
    server.wait();
    let (_, log) = server.into_output();
    assert!(!log.contains(&client.client_secret), "{log}");
    assert!(!log.contains(credentials.trim_end_matches('=')), "{log}");
    assert!(log.lines().all(|line| members_of(line, "text").contains_key("message")), "{log}");
    // Who has not proved who they are writes nothing.
    assert_eq!(log.matches("requested_scope").count(), 8, "{log}");
}

#[test]
fn a_request_that_cannot_be_read_is_logged_with_the_realm_that_its_path_names() {
    const GZIPPED: &str = "a form in gzip";
    let store = Store::new();
    store.set_realm("alpha", &[]);
    let mut server = Start::on(&store.argument()).arguments(&["--log-format", "json"]).spawn();
    let form = "application/x-www-form-urlencoded";
    let large = "a".repeat(70_000);
    let mut expected = Vec::new();
    for (base, realm) in [
        ("/oauth2", Some("root")),
        ("/am/oauth2/realms/root", Some("root")),
        ("/oauth2/realms/root/realms/alpha", Some("alpha")),
        ("/am/oauth2/realms/root/realms/alpha", Some("alpha")),
        // As for any refusal, the realm is what the path says, whether or not there is one.
        ("/oauth2/realms/root/realms/nowhere", Some("nowhere")),
        ("/oauth2/realms/root/realms/Not%20a%20realm", None),
    ] {
        for endpoint in ["access_token", "introspect", "token/revoke"] {
            let path = format!("{base}/{endpoint}");
            for (path, media_type, body, status) in [
                (path.clone(), "application/json", "{}", 400),
                (path.clone(), GZIPPED, "token=x", 415),
                (path.clone(), form, large.as_str(), 413),
                (path.clone(), form, "token=%zz", 400),
                (format!("{path}?client_id=x"), form, "", 400),
                (format!("{path}?realm=/beta"), form, "", 400),
            ] {
                let request = Request::new("POST", &path).body(body);
                let request = match media_type {
                    GZIPPED => request.header("Content-Type", form).header("Content-Encoding", "gzip"),
                    media_type => request.header("Content-Type", media_type),
                };
                let answer = request.send_raw(&server);
                assert_eq!(answer.status, if realm.is_some() { status } else { 404 }, "{path}: {answer:?}");
                expected.push((answer.header("x-request-id").expect("an id").to_owned(), realm));
            }
        }
        for document in [".well-known/oauth-authorization-server", "connect/jwk_uri"] {
            let answer = Request::new("GET", &format!("{base}/{document}?realm=/beta")).send_raw(&server);
            assert_eq!(answer.status, if realm.is_some() { 400 } else { 404 }, "{document}: {answer:?}");
            expected.push((answer.header("x-request-id").expect("an id").to_owned(), realm));
        }
    }
    server.signal("TERM");
    server.wait();
    let (_, log) = server.into_output();
    let lines: Vec<_> = log.lines().map(|line| members_of(line, "json")).collect();
    let mut told = 0;
    for (id, realm) in &expected {
        // Of refusals that are alike only the first are logged.
        let Some(line) = lines.iter().find(|line| line.get("request_id").is_some_and(|found| found == id)) else {
            continue;
        };
        told += 1;
        assert_eq!(line["message"], "request refused", "{line:?}");
        assert_eq!(line.get("realm").and_then(|realm| realm.as_str()), *realm, "{line:?}");
    }
    assert!(told >= 30, "{told} of {}:\n{log}", expected.len());
}

#[test]
fn z_01_no_jwt_and_no_private_key_reaches_the_log() {
    let store = Store::new();
    let scope = ["--scope", "a", "--default-scope", "a"];
    let claims = ["--claims", r#"{"note":"canary-of-a-claim"}"#];
    let clients = [STORED_JWT, STATELESS_JWT].map(|form| {
        let settings = [&scope[..], &form, &claims].concat();
        store.register("root", &format!("logged-{}", form[3]), &settings)
    });
    // A key of each type in one realm, and a realm whose keys the server makes itself.
    for alg in ["ES256", "EdDSA", "RS256"] {
        store.set_realm("root", &["--signing-alg", alg]);
    }
    store.set_realm("alpha", &["--access-token-format", "jwt"]);
    let in_alpha = store.register("alpha", "logged-alpha", &[&scope[..], &claims].concat());
    store.forget_keys("alpha");
    let mut server = start(&store);

    let mut written: Vec<String> = Vec::new();
    for client in clients.iter().chain([&in_alpha]) {
        let token = server.jwt(client, "a", "");
        let (message, _) = token.rsplit_once('.').expect("a JWS");
        let forged = format!("{message}.{}", "A".repeat(86));
        for presented in [&token, &forged, &token[1..], &token.replacen('.', "..", 1)] {
            let introspect = Request::form(&format!("{}/introspect", client.base()), format!("token={presented}"));
            introspect.clone().by(client).send(&server);
            introspect.clone().by(client).header("Accept", "application/token-introspection+jwt").send(&server);
            introspect.header("Authorization", format!("Bearer {presented}")).send(&server).assert_401(&client.realm);
            server.revoke(client, presented);
        }
        let signed = Request::form(&format!("{}/introspect", client.base()), "token=x").by(client);
        let signed = signed.header("Accept", "application/token-introspection+jwt").send(&server).text();
        server.jwks(&client.base());
        written.extend([token, signed]);
    }
    let private: Vec<String> = {
        let registry = rusqlite::Connection::open(store.directory().join("registry.db")).expect("the registry");
        let mut statement = registry.prepare("SELECT private_keys FROM signing_keys").expect("a statement");
        let sets = statement.query_map([], |row| row.get(0)).expect("rows");
        sets.collect::<Result<_, _>>().expect("text")
    };
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));

    let (stdout, stderr) = server.into_output();
    let log = format!("{stdout}{stderr}");
    for event in ["signing keys created", "token issued", "token introspected", "revocation answered"] {
        assert!(log.contains(event), "the log says what happened: no '{event}' in\n{log}");
    }
    for jwt in &written {
        // Neither the token nor a part of it: not even its claims, which name people's resources.
        for part in jwt.split('.') {
            assert!(!log.contains(&part[part.len() / 2..]), "half of {part} is in\n{log}");
        }
    }
    assert!(!log.contains("canary") && !log.contains("eyJ"), "{log}");
    assert_eq!(private.len(), 2, "of root and of alpha");
    let mut secrets = 0;
    for set in &private {
        let set: Value = serde_json::from_str(set).expect("JSON");
        for key in set["keys"].as_array().expect("a list") {
            let secret = key["pkcs8"].as_str().expect("text");
            // What every key of its algorithm begins with is no secret.
            assert!(!log.contains(&secret[secret.len() / 2..]), "half of a private key is in\n{log}");
            secrets += 1;
        }
    }
    // Two keys of each of three algorithms; and two of alpha's.
    assert_eq!(secrets, 6 + 2, "every private key was looked for");
}

/// A client whose tokens make lines of some 4 KB.
fn register_with_long_lines(store: &Store) -> Registered {
    let scope = (0..60).map(|number| format!("{}-{number}", "s".repeat(60))).collect::<Vec<_>>().join(" ");
    store.register("root", "long-lines", &["--scope", &scope, "--default-scope", &scope])
}

/// More tokens than there is room for lines.
const TOO_MANY: usize = 2_500;

fn fetch_too_many(server: &Server, client: &Registered) {
    let started = Instant::now();
    for _ in 0..TOO_MANY {
        assert_eq!(server.token_request(client, "").status, 200);
    }
    assert!(started.elapsed() < Duration::from_mins(2), "{:?}", started.elapsed());
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_request_and_not_the_end() {
    let store = Store::new();
    let client = register_with_long_lines(&store);
    let (unread, stderr) = io::pipe().expect("a pipe");
    let mut server = Start::on(&store.argument()).stderr_to(stderr).spawn();
    fetch_too_many(&server, &client);
    server.introspect(&client, "none").assert_inactive();
    assert_eq!(server.revoke(&client, "none").status, 200);
    let told = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    drop(unread);
}

#[test]
fn lines_that_were_dropped_are_counted_and_their_number_is_logged_when_somebody_reads() {
    let store = Store::new();
    let client = register_with_long_lines(&store);
    for format in ["text", "json"] {
        let (read, stderr) = io::pipe().expect("a pipe");
        let mut server = Start::on(&store.argument()).arguments(&["--log-format", format]).stderr_to(stderr).spawn();
        fetch_too_many(&server, &client);

        let reader = std::thread::spawn(move || BufReader::new(read).lines().map_while(Result::ok).collect::<Vec<_>>());
        // Whoever reads again gets what is logged from then on.
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(server.token_request(&client, "").status, 200);
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
        drop(server);
        let lines = reader.join().expect("no panic");
        let issued = lines.iter().filter(|line| line.contains("token issued")).count();
        let dropped: Vec<&String> = lines.iter().filter(|line| line.contains("log lines were dropped")).collect();
        assert_eq!(dropped.len(), 1, "{dropped:?}");
        let sentence =
            dropped[0].split_once(" log lines were dropped because nobody read stderr").expect("the sentence").0;
        let number = sentence.rsplit(|character: char| !character.is_ascii_digit()).next().expect("a number");
        let number: usize = number.parse().expect(sentence);
        assert!(number > 500, "{number}");
        assert_eq!(issued + number, TOO_MANY + 1, "{format}: every line was written or counted");
        assert!(lines.last().is_some_and(|line| line.contains("stopped")), "{:?}", lines.last());
    }
}

#[test]
fn a_log_that_is_read_has_every_line_whole() {
    let store = Store::new();
    let client = register_with_long_lines(&store);
    let mut server = Start::on(&store.argument()).arguments(&["--log-format", "json"]).spawn();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..200).for_each(|_| assert_eq!(server.token_request(&client, "").status, 200)));
        }
    });
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let (_, log) = server.into_output();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines.iter().filter(|line| line["message"] == "token issued").count(), 800);
}

#[test]
fn a_server_whose_output_is_closed_serves_and_ends_as_any_other() {
    let store = Store::new();
    let client = store.register("root", "closed", &["--scope", "a", "--default-scope", "a"]);
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let (closed, stderr) = io::pipe().expect("a pipe");
    let (closed_too, stdout) = io::pipe().expect("a pipe");
    drop((closed, closed_too));
    let mut server = Start::on(&store.argument()).stderr_to(stderr).spawn_with_stdout_to(stdout, free);
    for _ in 0..100 {
        server.token(&client, "a");
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_server_whose_stdout_is_full_serves_and_ends_as_any_other() {
    let store = Store::new();
    let client = store.register("root", "full", &["--scope", "a", "--default-scope", "a"]);
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let (unread, stdout) = io::pipe().expect("a pipe");
    let full = stdout.try_clone().expect("a pipe");
    std::thread::spawn(move || {
        let mut full = full;
        // For as long as this process lives: a pipe that is full is waited for.
        while io::Write::write_all(&mut full, &[b'x'; 4096]).is_ok() {}
    });
    std::thread::sleep(Duration::from_millis(200));
    let mut server = Start::on(&store.argument()).spawn_with_stdout_to(stdout, free);
    server.token(&client, "a");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    drop(unread);
}

#[test]
fn of_refusals_that_are_alike_the_first_are_logged_and_the_others_counted() {
    let store = Store::new();
    let client = store.register("root", "known", &["--scope", "a", "--default-scope", "a", "--token-quota", "1/day"]);
    let mut server = Start::on(&store.argument()).arguments(&["--trust-forwarded-for"]).spawn();
    let from = |address: &str, request: Request| request.header("X-Forwarded-For", address).send_raw(&server).status;
    let token = || Request::form(ENDPOINTS[0], GRANT);
    for _ in 0..300 {
        assert_eq!(from("203.0.113.5", token()), 401);
        assert_eq!(from("203.0.113.5", token().header("Content-Type", "text/plain")), 400);
    }
    for address in ["203.0.113.6", "203.0.113.7"] {
        for _ in 0..5 {
            assert_eq!(from(address, token()), 401);
        }
    }
    for _ in 0..40 {
        assert_eq!(from("203.0.113.5", token().by(&client.with_secret("wrong"))), 401);
    }
    assert_eq!(from("203.0.113.5", token().by(&client)), 200);
    for _ in 0..40 {
        assert_eq!(from("203.0.113.5", token().by(&client)), 429);
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let (_, log) = server.into_output();

    let lines = |reason: &str| -> (usize, u64) {
        let (mut whole, mut repeated) = (0, 0);
        for line in log.lines().filter(|line| line.contains(reason)) {
            if line.contains("refusals like those before were left out") {
                let (_, number) = line.split_once("repeated=").expect(line);
                repeated += number.split(' ').next().and_then(|number| number.parse::<u64>().ok()).expect(line);
                assert!(line.contains("source=\"203.0.113.5\""), "{line}");
            } else {
                assert!(line.contains("request refused"), "{line}");
                whole += 1;
            }
        }
        (whole, repeated)
    };
    assert_eq!(lines("no_credentials"), (20, 290), "{log}");
    assert_eq!(lines("reason=\"invalid_request\""), (10, 290), "{log}");
    assert_eq!(lines("client_id=\"known\" reason=\"wrong_secret\""), (10, 0), "{log}");
    assert_eq!(lines("reason=\"wrong_secret\""), (10, 30), "{log}");
    assert_eq!(lines("token_quota_exceeded"), (10, 30), "{log}");
    assert!(log.lines().any(|line| line.contains("repeated=30") && line.contains("client_id=\"known\"")), "{log}");
}
