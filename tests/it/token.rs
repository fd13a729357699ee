//! The token endpoint's grant and its answer: rows G-* and R-* of docs/protocol-cases.md, realms, paths and lifetimes.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use crate::support::cli::{Store, basic};
use crate::support::each_row;
use crate::support::http::{GRANT, Request, form_endpoints};
use crate::support::server::Start;
use crate::support::shared::{ALPHA, issuer, shared};

#[test]
fn g_01_g_02_g_03_what_is_no_grant_of_this_server_is_not_granted() {
    let ask =
        |form: &str| Request::form(&format!("{ALPHA}/access_token"), form).by(&shared().app).send(&shared().server);
    ask("scope=write").assert_400("invalid_request");
    each_row(
        [
            ("G-02 authorization_code", "authorization_code"),
            ("G-02 password", "password"),
            ("G-02 refresh_token", "refresh_token"),
            ("G-02 implicit", "implicit"),
            ("G-02 device code", "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code"),
            ("G-02 token exchange", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("G-02 nobody's", "canary"),
            ("G-03 another case", "CLIENT_CREDENTIALS"),
            ("G-03 a hyphen", "client-credentials"),
        ],
        |grant_type| ask(&format!("grant_type={grant_type}&scope=write")).assert_400("unsupported_grant_type"),
    );
    // Its assertion is all that its client authenticates with.
    ask("grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&scope=write").assert_400("invalid_request");
}

#[test]
fn g_04_a_client_or_a_realm_without_the_grant_is_unauthorized() {
    let (store, server) = (&shared().store, &shared().server);
    let client = store.register(
        "alpha",
        "g04-code",
        &["--scope", "a", "--default-scope", "a", "--grant-type", "authorization_code"],
    );
    server.token_request(&client, "").assert_400("unauthorized_client");
    // What the server does not implement stays unsupported, though the client is registered for it.
    let code = Request::form(&format!("{ALPHA}/access_token"), "grant_type=authorization_code").by(&client);
    code.send(server).assert_400("unsupported_grant_type");
    // It still authenticates at the other endpoints.
    server.introspect(&client, "none").assert_inactive();

    store.set_realm("g04-realm", &["--grant-type", "authorization_code"]);
    let client = store.register("g04-realm", "g04-realm-client", &["--scope", "a", "--default-scope", "a"]);
    server.token_request(&client, "").assert_400("unauthorized_client");
}

#[test]
fn g_05_the_client_is_authenticated_before_its_grant_and_scope_are_looked_at() {
    let path = format!("{ALPHA}/access_token");
    let details = format!("{GRANT}&authorization_details=%5B%5D");
    for form in ["grant_type=password", "grant_type=canary&scope=%22", "scope=canary", "grant_type=", &details] {
        for authorization in [basic("nobody", "wrong"), basic(&shared().app.client_id, "wrong")] {
            Request::form(&path, form)
                .header("Authorization", authorization)
                .send(&shared().server)
                .assert_401("alpha");
        }
        Request::form(&path, form).send(&shared().server).assert_401("alpha");
    }
}

#[test]
fn r_01_g_06_every_base_path_issues_tokens_of_its_realm() {
    let shared = shared();
    each_row(
        [
            ("/oauth2", (&shared.root_app, "/")),
            ("/oauth2/realms/root", (&shared.root_app, "/")),
            ("/am/oauth2", (&shared.root_app, "/")),
            ("/am/oauth2/realms/root", (&shared.root_app, "/")),
            ("/oauth2/realms/root/realms/alpha", (&shared.app, "/alpha")),
            ("/am/oauth2/realms/root/realms/alpha", (&shared.app, "/alpha")),
            ("/oauth2/realms/root/realms/beta", (&shared.beta_app, "/beta")),
        ]
        .map(|(base, expected)| (base, (base, expected))),
        |(base, (client, realm))| {
            let request = Request::form(&format!("{base}/access_token"), format!("{GRANT}&scope=read")).by(client);
            let token = request.send(&shared.server).assert_token("read");
            let introspect = Request::form(&format!("{base}/introspect"), format!("token={token}")).by(client);
            let facts = introspect.send(&shared.server).assert_active();
            assert_eq!((facts["iss"].as_str(), facts["realm"].as_str()), (Some(issuer(base).as_str()), Some(realm)));
            let revoke = Request::form(&format!("{base}/token/revoke"), format!("token={token}")).by(client);
            assert_eq!(revoke.send(&shared.server).status, 200);
            introspect.send(&shared.server).assert_inactive();
        },
    );
}

#[test]
fn the_same_token_is_known_under_every_name_of_its_realm() {
    let shared = shared();
    let token = shared.server.token(&shared.app, "read");
    let path = format!("/am{ALPHA}/introspect");
    let facts = Request::form(&path, format!("token={token}")).by(&shared.app).send(&shared.server).assert_active();
    // The issuer is the one under which it was issued.
    assert_eq!(facts["iss"], issuer(ALPHA));
}

#[test]
fn a_client_belongs_to_its_realm_only() {
    let shared = shared();
    for (client, base, realm) in [
        (&shared.app, "/oauth2", "root"),
        (&shared.app, "/oauth2/realms/root/realms/beta", "beta"),
        (&shared.root_app, ALPHA, "alpha"),
        (&shared.beta_app, ALPHA, "alpha"),
        (&shared.any_realm_server, ALPHA, "alpha"),
    ] {
        for (endpoint, form) in form_endpoints() {
            Request::form(&format!("{base}/{endpoint}"), form).by(client).send(&shared.server).assert_401(realm);
        }
    }
}

#[test]
fn an_unknown_realm_is_404() {
    for base in ["/oauth2/realms/root/realms/nowhere", "/am/oauth2/realms/root/realms/nowhere"] {
        for (endpoint, form) in form_endpoints() {
            let path = format!("{base}/{endpoint}");
            Request::form(&path, form).by(&shared().app).send(&shared().server).assert_refused(404, "not_found");
            Request::form(&path, form).send(&shared().server).assert_refused(404, "not_found");
        }
    }
}

#[test]
fn a_realm_created_while_the_server_runs_is_found_within_a_minute() {
    let (store, server) = (&shared().store, &shared().server);
    let path = "/oauth2/realms/root/realms/late-realm/access_token";
    Request::form(path, GRANT).send(server).assert_refused(404, "not_found");
    store.set_realm("late-realm", &[]);
    let client = store.register("late-realm", "late", &["--scope", "a", "--default-scope", "a"]);
    server.wait_until_granted("a new realm is found", &client, "").assert_token("a");
}

#[test]
fn r_02_tokens_are_256_random_bits_and_never_repeat() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    let one_thread = || {
        let shared = shared();
        (0..EACH).map(|_| shared.server.token(&shared.app, "read")).collect::<Vec<_>>()
    };
    let tokens: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one_thread)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("every request is answered")).collect()
    });
    assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), THREADS * EACH, "no duplicates");
    // 2,000 random characters of 64 show at least 60 of them in every position; the last carries 4 bits only.
    for position in 4..46 {
        let seen: HashSet<u8> = tokens.iter().map(|token| token.as_bytes()[position]).collect();
        assert!(seen.len() >= 60, "position {position} takes {} values", seen.len());
    }
    let last: HashSet<u8> = tokens.iter().map(|token| token.as_bytes()[46]).collect();
    assert_eq!(last.len(), 16, "{last:?}");
    assert!(tokens.iter().all(|token| !token.contains("shared")));
}

#[test]
fn r_03_a_token_lives_as_its_client_says_else_its_realm_else_the_server() {
    let (store, server) = (&shared().store, &shared().server);
    store.set_realm("r03-realm", &["--token-lifetime", "120"]);
    let settings = ["--scope", "a", "--default-scope", "a"];
    let with_lifetime = [&settings[..], &["--token-lifetime", "30"]].concat();
    for (client, seconds) in [
        (store.register("r03-realm", "r03-client-says", &with_lifetime), 30),
        (store.register("r03-realm", "r03-realm-says", &settings), 120),
        (store.register("alpha", "r03-alpha-client-says", &with_lifetime), 30),
        (store.register("alpha", "r03-nobody-says", &settings), 3600),
    ] {
        let answer = server.token_request(&client, "");
        assert_eq!(answer.json()["expires_in"], seconds, "{}", client.client_id);
        let facts = server.introspect(&client, &answer.assert_token("a")).assert_active();
        let (iat, exp) = (facts["iat"].as_u64().expect("a number"), facts["exp"].as_u64().expect("a number"));
        assert_eq!(exp - iat, seconds, "{facts}");
        let remaining = facts["expires_in"].as_u64().expect("a number");
        assert!((seconds - 5..=seconds).contains(&remaining), "{facts}");
    }
}

#[test]
fn the_environment_sets_the_default_lifetime_and_the_root_realms_default_scope() {
    let store = Store::new();
    let client = store.register("root", "configured", &["--scope", "a b"]);
    let server = Start::on(&store.argument())
        .environment("GRANTWELL_ACCESS_TOKEN_LIFETIME", "77")
        .environment("GRANTWELL_DEFAULT_SCOPE", "b c")
        .spawn();
    let answer = server.token_request(&client, "");
    answer.assert_token("b");
    assert_eq!(answer.json()["expires_in"], 77);
}

#[test]
fn r_03_i_03_a_token_ends_at_its_second() {
    let (store, server) = (&shared().store, &shared().server);
    let settings = ["--scope", "a", "--default-scope", "a", "--token-lifetime", "2"];
    let client = store.register("alpha", "r03-short", &settings);
    let answer = server.token_request(&client, "");
    assert_eq!(answer.json()["expires_in"], 2);
    let token = answer.assert_token("a");
    server.introspect(&client, &token).assert_active();
    // Asked until it is over: what was active once may not be remembered as such.
    crate::support::poll("a token of two seconds ends", Duration::from_secs(5), || {
        let facts = server.introspect(&client, &token).json();
        (facts["active"] == false).then_some(())
    });
    server.introspect(&client, &token).assert_inactive();
    server.introspect(&shared().resource_server, &token).assert_inactive();
    assert_eq!(server.revoke(&client, &token).status, 200);
}

#[test]
fn the_memory_store_serves_too() {
    let server = Start::on("memory").spawn();
    Request::form("/oauth2/access_token", GRANT).send(&server).assert_401("root");
    let document = Request::new("GET", "/oauth2/.well-known/oauth-authorization-server").send(&server);
    assert_eq!(document.status, 200);
}
