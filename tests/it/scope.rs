//! Which scope is granted: rows S-* of docs/protocol-cases.md (RFC 6749 §3.3).

use crate::support::cli::Registered;
use crate::support::http::{Answer, Request};
use crate::support::shared::{ALPHA, shared};
use crate::support::{NOTICED_WITHIN, each_row, poll};

fn ask(client: &Registered, scope: &str) -> Answer {
    shared().server.token_request(client, &format!("scope={scope}"))
}

#[test]
fn s_01_without_a_scope_the_clients_default_is_granted_else_the_realms_else_none() {
    let (store, server) = (&shared().store, &shared().server);
    server.token_request(&shared().app, "").assert_token("write");

    // A client without a default, in a realm without one.
    let bare = store.register("alpha", "s01-bare", &["--scope", "read write"]);
    server.token_request(&bare, "").assert_400("invalid_scope");
    server.token_request(&bare, "scope=").assert_400("invalid_scope");
    ask(&bare, "read").assert_token("read");

    // In a realm with a default, clients have of it what they are registered for.
    store.set_realm("s01-realm", &["--default-scope", "read write"]);
    let settings = |id, arguments: &[&str]| store.register("s01-realm", id, arguments);
    server.token_request(&settings("both", &["--scope", "read write admin"]), "").assert_token("read write");
    server.token_request(&settings("one", &["--scope", "read admin"]), "").assert_token("read");
    server.token_request(&settings("none", &["--scope", "admin"]), "").assert_400("invalid_scope");
    let own = settings("own", &["--scope", "read admin", "--default-scope", "admin"]);
    server.token_request(&own, "").assert_token("admin");

    // A client without any scope gets no token.
    let scopeless = store.register("alpha", "s01-scopeless", &[]);
    server.token_request(&scopeless, "").assert_400("invalid_scope");
    ask(&scopeless, "read").assert_400("invalid_scope");
}

#[test]
fn s_02_s_05_s_06_s_07_what_is_asked_for_is_granted_exactly() {
    each_row(
        [
            ("S-02 one of several", ("read", "read")),
            ("S-02 several", ("read+write", "read write")),
            ("S-02 a colon", ("api%3Aread", "api:read")),
            ("S-02 all", ("A+a+a%2Bb+api:read+b+read+write", "A a a+b api:read b read write")),
            ("S-05 upper case", ("A", "A")),
            ("S-05 lower case", ("a", "a")),
            ("S-06 another order", ("write+read", "read write")),
            ("S-07 repeated", ("a+a", "a")),
            ("S-07 repeated among others", ("a+b+a+b", "a b")),
        ],
        |(asked, granted)| {
            let server = &shared().server;
            let token = ask(&shared().app, asked).assert_token(granted);
            assert_eq!(server.introspect(&shared().app, &token).assert_active()["scope"], granted);
        },
    );
}

#[test]
fn s_03_more_than_is_registered_is_refused_never_narrowed() {
    each_row(
        [
            ("S-03 unknown", "admin"),
            ("S-03 one known, one not", "read+admin"),
            ("S-03 a prefix", "wri"),
            ("S-03 an extension", "write2"),
            ("S-03 a wildcard", "*"),
            ("S-05 another case", "WRITE"),
            ("S-03 the scope of resource servers", "am-introspect-all-tokens"),
            ("S-03 openid, which is not built", "openid"),
        ],
        |scope| ask(&shared().app, scope).assert_400("invalid_scope"),
    );
}

#[test]
fn s_04_a_scope_outside_the_grammar_is_refused() {
    each_row(
        [
            ("S-04 two spaces", "a++b"),
            ("S-04 leading space", "+a"),
            ("S-04 trailing space", "a+"),
            ("S-04 only a space", "+"),
            ("S-04 tab", "a%09b"),
            ("S-04 line feed", "a%0Ab"),
            ("S-04 a line injected", "api:read%0Ainjected"),
            ("S-04 carriage return", "a%0D"),
            ("S-04 quote", "a%22"),
            ("S-04 backslash", "a%5C"),
            ("S-04 DEL", "a%7F"),
            ("S-04 NUL", "a%00"),
            ("S-04 unicode", "a+%E2%82%AC"),
            ("S-04 a space that is not U+0020", "a%C2%A0b"),
            ("S-04 a comma joins nothing", "a,b"),
        ],
        |scope| ask(&shared().app, scope).assert_400("invalid_scope"),
    );
    // The longest that fits a body.
    ask(&shared().app, &"a+".repeat(30_000)).assert_400("invalid_scope");
    ask(&shared().app, &"a".repeat(60_000)).assert_400("invalid_scope");
}

#[test]
fn s_08_a_realm_limits_what_its_clients_can_be_granted() {
    let (store, server) = (&shared().store, &shared().server);
    store.set_realm("s08-realm", &[]);
    let client = store.register("s08-realm", "limited", &["--scope", "read write", "--default-scope", "read write"]);
    server.token_request(&client, "").assert_token("read write");
    store.set_realm("s08-realm", &["--allowed-scope", "read"]);
    poll("the realm's limit is seen", NOTICED_WITHIN, || (ask(&client, "write").status == 400).then_some(()));
    ask(&client, "write").assert_400("invalid_scope");
    ask(&client, "read").assert_token("read");
    // A default is the operator's word, not the client's: it is narrowed, and the answer says so (RFC 6749 §5.1).
    server.token_request(&client, "").assert_token("read");
}

#[test]
fn s_10_a_token_has_of_its_scope_what_its_client_may_have_now() {
    let (store, server) = (&shared().store, &shared().server);
    let client = store.register("alpha", "s10-changed", &["--scope", "read write", "--default-scope", "read"]);
    let token = server.token(&client, "read write");
    store.client("update", &client, &["--scope", "read"]);
    poll("the change is seen", NOTICED_WITHIN, || (ask(&client, "write").status == 400).then_some(()));
    ask(&client, "write").assert_400("invalid_scope");
    assert_eq!(server.introspect(&client, &token).assert_active()["scope"], "read");
}

#[test]
fn s_03_scope_in_a_header_or_twice_has_no_effect() {
    let request = Request::form(&format!("{ALPHA}/access_token"), "grant_type=client_credentials")
        .header("X-Scope", "read")
        .header("Scope", "admin")
        .by(&shared().app);
    request.send(&shared().server).assert_token("write");
}

#[test]
fn x_04_x_08_a_request_for_a_narrower_token_is_refused_rather_than_widened() {
    each_row(
        [
            ("X-04 resource", ("resource=https%3A%2F%2Fapi.example%2F", "invalid_target")),
            ("X-03 one of two resources empty", ("resource=&resource=https%3A%2F%2Fa", "invalid_target")),
            ("X-02 two resources", ("resource=https%3A%2F%2Fa&resource=https%3A%2F%2Fb", "invalid_target")),
            ("X-08 details", ("authorization_details=%5B%5D", "invalid_authorization_details")),
        ],
        |(parameters, error)| {
            shared().server.token_request(&shared().app, parameters).assert_400(error);
        },
    );
}
