//! Token quotas from outside: whose count, what is refused and with which words, and what costs none.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::cli::{Registered, Store};
use crate::support::http::{Answer, Request};
use crate::support::server::{Server, Start};
use crate::support::shared::{STATELESS_JWT, STORED_JWT, shared};
use crate::support::{NOTICED_WITHIN, poll};

const SCOPE: [&str; 4] = ["--scope", "a", "--default-scope", "a"];
const DAY: u64 = 86_400;

/// A client with further settings in a realm of its own.
fn register(id: &str, realm: &[&str], client: &[&str]) -> Registered {
    let store = &shared().store;
    let name = format!("quota-{id}");
    store.set_realm(&name, realm);
    store.register(&name, &name, &[&SCOPE[..], client].concat())
}

fn ask(client: &Registered) -> Answer {
    shared().server.token_request(client, "")
}

/// Seconds of a day, of which enough are left for a test: it would count anew at midnight.
#[expect(clippy::disallowed_methods, reason = "a test outside the server has no clock but the system's")]
fn time_of_day() -> u64 {
    poll("the day has minutes left", Duration::from_mins(3), || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() % DAY;
        (now < DAY - 120).then_some(now)
    })
}

/// The number and the time that a `RateLimit` header has.
#[track_caller]
fn left(answer: &Answer) -> (u64, u64) {
    let header = answer.header("ratelimit").unwrap_or_else(|| panic!("no RateLimit in {answer:?}"));
    let fields = header.strip_prefix(r#""day";r="#).and_then(|rest| rest.split_once(";t=")).expect(header);
    (fields.0.parse().expect(header), fields.1.parse().expect(header))
}

/// Asserts the refusal of a client that has used up `policy`, as the header has it.
#[track_caller]
fn assert_exhausted(answer: &Answer, policy: &str) {
    let seconds = answer.assert_429();
    assert_eq!(answer.header("ratelimit-policy"), Some(policy), "{answer:?}");
    assert_eq!(left(answer), (0, seconds), "{answer:?}");
    assert!((1..=DAY).contains(&seconds), "{answer:?}");
    let description = "the client has been issued as many tokens as its quota allows, try again later";
    assert_eq!(answer.json()["error_description"], description);
}

#[track_caller]
fn assert_says_nothing_of_quotas(answer: &Answer) {
    assert!(
        !answer.headers.iter().any(|(name, _)| name.starts_with("ratelimit") || name == "retry-after"),
        "{answer:?}"
    );
}

#[test]
fn a_client_gets_as_many_tokens_as_its_quota_says_and_is_told_how_many_are_left() {
    let client = register("enforced", &[], &["--token-quota", "3/day"]);
    let now = time_of_day();
    for remaining in [2, 1, 0] {
        let answer = ask(&client);
        answer.assert_token("a");
        assert_eq!(answer.header("ratelimit-policy"), Some(r#""day";q=3;w=86400"#), "{answer:?}");
        let (left, seconds) = left(&answer);
        assert_eq!(left, remaining);
        assert!((DAY - now - 60..=DAY - now).contains(&seconds), "{seconds} at {now}");
        assert_eq!(answer.header("retry-after"), None);
    }
    for _ in 0..3 {
        assert_exhausted(&ask(&client), r#""day";q=3;w=86400"#);
    }
    // Only new tokens are refused.
    let other = register("beside", &[], &[]);
    shared().server.introspect(&client, "none").assert_inactive();
    ask(&other).assert_token("a");
}

#[test]
fn every_form_of_token_counts() {
    for (id, form) in [("stored", STORED_JWT), ("stateless", STATELESS_JWT)] {
        let client = register(id, &[], &[&form[..], &["--token-quota", "1/day"]].concat());
        time_of_day();
        ask(&client).assert_granted("a");
        assert_exhausted(&ask(&client), r#""day";q=1;w=86400"#);
    }
}

#[test]
fn without_a_quota_no_answer_says_anything_of_one() {
    for (id, realm, client) in [
        ("absent", &[][..], &[][..]),
        ("exempt", &["--token-quota", "1/day"], &["--token-quota", "none"]),
        ("mode-only", &["--token-quota-mode", "enforce"], &["--token-quota-mode", "enforce"]),
        ("none-by-default", &["--token-quota", "none"], &[]),
    ] {
        let client = register(id, realm, client);
        for _ in 0..3 {
            let answer = ask(&client);
            answer.assert_token("a");
            assert_says_nothing_of_quotas(&answer);
        }
    }
}

#[test]
fn a_quota_that_is_only_observed_changes_no_answer() {
    let client = register("observed", &[], &["--token-quota", "2/day", "--token-quota-mode", "observe"]);
    let free = register("observed-beside", &[], &[]);
    let bare = |answer: Answer| {
        let mut body = answer.json();
        let token = body["access_token"].take().as_str().map(str::len);
        let (status, headers, _) = answer.comparable();
        (status, headers, body, token)
    };
    for _ in 0..5 {
        assert_eq!(bare(ask(&client)), bare(ask(&free)));
    }
}

#[test]
fn a_realms_quota_is_each_clients_own_and_a_clients_setting_goes_before_it() {
    let store = &shared().store;
    let own = |id: &str, settings: &[&str]| {
        store.register("quota-realm", &format!("quota-realm-{id}"), &[&SCOPE[..], settings].concat())
    };
    store.set_realm("quota-realm", &["--token-quota", "2/day"]);
    let (one, other) = (own("one", &[]), own("other", &[]));
    let (more, watched) =
        (own("more", &["--token-quota", "3/day"]), own("watched", &["--token-quota-mode", "observe"]));
    time_of_day();
    for (client, most) in [(&one, 2), (&other, 2), (&more, 3)] {
        for _ in 0..most {
            ask(client).assert_token("a");
        }
        assert_exhausted(&ask(client), &format!(r#""day";q={most};w=86400"#));
    }
    for _ in 0..4 {
        ask(&watched).assert_token("a");
    }
}

#[test]
fn a_request_that_is_refused_costs_no_token() {
    let client = register("refused", &[], &["--token-quota", "1/day", "--resource", "https://api.example.com/"]);
    let server = &shared().server;
    time_of_day();
    for _ in 0..3 {
        server.token_request(&client.with_secret("wrong"), "").assert_401(&client.realm);
        server.token_request(&client, "scope=other").assert_400("invalid_scope");
        server.token_request(&client, "resource=https://other.example/").assert_400("invalid_target");
        server.token_request(&client, "scope=a&scope=a").assert_400("invalid_request");
        let path = format!("{}/access_token", client.base());
        Request::form(&path, "grant_type=password").by(&client).send(server).assert_400("unsupported_grant_type");
    }
    ask(&client).assert_token("a");
    assert_exhausted(&ask(&client), r#""day";q=1;w=86400"#);
    // What is wrong with a request is still told, and whose it is still proven.
    server.token_request(&client.with_secret("wrong"), "").assert_401(&client.realm);
    server.token_request(&client, "scope=other").assert_400("invalid_scope");
}

#[test]
fn of_requests_that_come_at_once_exactly_as_many_succeed_as_the_quota_says() {
    const QUOTA: usize = 20;
    for (id, form) in [("race", &[][..]), ("race-stateless", &STATELESS_JWT)] {
        let client = register(id, &[], &[form, &["--token-quota", "20/day"]].concat());
        time_of_day();
        let statuses: Vec<u16> = thread::scope(|scope| {
            let one_thread = || (0..8).map(|_| ask(&client).status).collect::<Vec<_>>();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(one_thread)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("every request is answered")).collect()
        });
        let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
        assert_eq!((count(200), count(429)), (QUOTA, 64 - QUOTA), "{statuses:?}");
    }
}

#[test]
fn a_running_server_follows_a_change_of_the_quota_and_keeps_the_count() {
    let client = register("changed", &[], &["--token-quota", "2/day"]);
    let store = &shared().store;
    time_of_day();
    for _ in 0..2 {
        ask(&client).assert_token("a");
    }
    assert_exhausted(&ask(&client), r#""day";q=2;w=86400"#);

    store.client("update", &client, &["--token-quota", "4/day"]);
    let answer = shared().server.wait_until_granted("a larger quota counts", &client, "");
    assert_eq!(left(&answer).0, 1, "three of four");
    store.client("update", &client, &["--token-quota-mode", "observe"]);
    let quiet = poll("it is only observed", NOTICED_WITHIN, || {
        Some(ask(&client)).filter(|answer| answer.status == 200 && answer.header("ratelimit").is_none())
    });
    assert_says_nothing_of_quotas(&quiet);
    // What was observed counts when it is enforced again.
    store.client("update", &client, &["--token-quota-mode", ""]);
    let refused = poll("it is enforced", NOTICED_WITHIN, || Some(ask(&client)).filter(|answer| answer.status == 429));
    assert_exhausted(&refused, r#""day";q=4;w=86400"#);
}

#[test]
fn a_client_that_takes_a_deleted_ones_place_begins_with_nothing() {
    let client = register("successor", &[], &["--token-quota", "1/day"]);
    let store = &shared().store;
    time_of_day();
    ask(&client).assert_token("a");
    assert_exhausted(&ask(&client), r#""day";q=1;w=86400"#);
    store.client("delete", &client, &[]);
    let successor =
        store.register(&client.realm, &client.client_id, &[&SCOPE[..], &["--token-quota", "1/day"]].concat());
    shared().server.wait_until_granted("the new client is known", &successor, "").assert_token("a");
    assert_exhausted(&ask(&successor), r#""day";q=1;w=86400"#);
}

#[test]
fn counts_survive_a_server_that_is_killed() {
    let store = Store::new();
    let client = store.register("root", "killed", &[&SCOPE[..], &["--token-quota", "3/day"]].concat());
    let ask = |server: &Server| server.token_request(&client, "");
    time_of_day();
    for sync in ["os", "always"] {
        let mut server = Start::on(&store.argument()).arguments(&["--sync", sync]).spawn();
        let answer = ask(&server);
        answer.assert_token("a");
        assert_eq!(left(&answer).0, if sync == "os" { 2 } else { 1 });
        server.kill();
    }
    let server = Start::on(&store.argument()).spawn();
    assert_eq!(left(&ask(&server)).0, 0);
    assert_exhausted(&ask(&server), r#""day";q=3;w=86400"#);
}

#[test]
fn the_log_says_who_was_refused_and_who_would_have_been() {
    let store = Store::new();
    let settings = [&SCOPE[..], &["--token-quota", "1/day"]].concat();
    let enforced = store.register("root", "enforced-client", &settings);
    let observed =
        store.register("root", "observed-client", &[&settings[..], &["--token-quota-mode", "observe"]].concat());
    let mut server = Start::on(&store.argument()).spawn();
    time_of_day();
    for client in [&enforced, &observed] {
        for _ in 0..3 {
            server.token_request(client, "");
        }
    }
    server.signal("TERM");
    server.wait();
    let (_, log) = server.into_output();
    let lines = |words: &[&str]| log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    assert_eq!(lines(&["token issued", "enforced-client"]), 1, "{log}");
    assert_eq!(lines(&["request refused", "enforced-client", "quota=\"1/day\"", "token_quota_exceeded"]), 2, "{log}");
    assert_eq!(lines(&["token issued", "observed-client"]), 3, "{log}");
    for counted in ["counted=2", "counted=3"] {
        let words = ["only observed", "observed-client", "quota=\"1/day\"", counted, "audit_tracking_id="];
        assert_eq!(lines(&words), 1, "{log}");
    }
    assert_eq!(lines(&["only observed"]), 2, "{log}");
}
