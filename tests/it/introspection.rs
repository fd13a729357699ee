//! Introspection: rows I-* of docs/protocol-cases.md (RFC 7662).

use std::thread;
use std::time::{Duration, SystemTime};

use crate::support::cli::Registered;
use crate::support::http::Request;
use crate::support::shared::{ALPHA, issuer, shared};
use crate::support::{NOTICED_WITHIN, each_row, poll};

/// A text of the right form that was never issued.
const NEVER_ISSUED: &str = "gwt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[test]
fn i_01_an_active_token_is_told_with_all_its_facts() {
    let shared = shared();
    let token = shared.server.token(&shared.app, "read write");
    let facts = shared.server.introspect(&shared.resource_server, &token).assert_active();
    let mut members: Vec<_> = facts.as_object().expect("an object").keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(
        members,
        [
            "active",
            "aud",
            "auditTrackingId",
            "client_id",
            "exp",
            "expires_in",
            "iat",
            "iss",
            "jti",
            "realm",
            "scope",
            "sub",
            "token_type"
        ],
        "{facts}"
    );
    for (member, value) in [
        ("scope", "read write"),
        ("client_id", "shared-app"),
        ("sub", "shared-app"),
        ("token_type", "Bearer"),
        ("realm", "/alpha"),
        ("iss", issuer(ALPHA).as_str()),
        ("aud", issuer(ALPHA).as_str()),
    ] {
        assert_eq!(facts[member], value, "{facts}");
    }
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let (iat, exp) = (facts["iat"].as_u64().expect("seconds"), facts["exp"].as_u64().expect("seconds"));
    assert!(iat.abs_diff(now) <= 5 && exp == iat + 3600, "{facts}");
    assert!(facts["expires_in"].as_u64().is_some_and(|left| (3590..=3600).contains(&left)), "{facts}");
    // Identifiers of their own, neither of them a part of the token.
    let (jti, tracking) = (facts["jti"].as_str().expect("text"), facts["auditTrackingId"].as_str().expect("text"));
    assert!(jti.len() >= 22 && tracking.len() == 36 && jti != tracking && !token.contains(jti), "{facts}");
    assert!(!facts.to_string().contains(&token));

    let again = shared.server.token(&shared.app, "read write");
    let other = shared.server.introspect(&shared.resource_server, &again).assert_active();
    assert!(other["jti"] != facts["jti"] && other["auditTrackingId"] != facts["auditTrackingId"]);
}

#[test]
fn i_01_the_root_realm_is_a_slash() {
    let shared = shared();
    let token = shared.server.token(&shared.root_app, "read");
    let facts = shared.server.introspect(&shared.root_app, &token).assert_active();
    assert_eq!((facts["realm"].as_str(), facts["iss"].as_str()), (Some("/"), Some(issuer("/oauth2").as_str())));
}

#[test]
fn i_02_whatever_is_no_active_token_is_inactive_and_nothing_else() {
    let shared = shared();
    let token = shared.server.token(&shared.app, "read");
    // The last character carries two unused bits: set, they make another text of the same bytes.
    let mut unused_bits = token.clone().into_bytes();
    unused_bits[46] += 1;
    let unused_bits = String::from_utf8(unused_bits).expect("ASCII");
    let flipped = if token.ends_with('A') { format!("{}E", &token[..46]) } else { format!("{}A", &token[..46]) };
    let revoked = shared.server.token(&shared.app, "read");
    assert_eq!(shared.server.revoke(&shared.app, &revoked).status, 200);
    each_row(
        [
            ("I-02 never issued", NEVER_ISSUED.to_owned()),
            ("I-02 revoked", revoked),
            ("I-02 truncated by one", token[..46].to_owned()),
            ("I-02 truncated by many", token[..20].to_owned()),
            ("I-02 the prefix alone", "gwt_".to_owned()),
            ("I-02 without the prefix", token[4..].to_owned()),
            ("I-02 extended", format!("{token}A")),
            ("I-02 the last character changed", flipped),
            ("I-02 unused bits set", unused_bits),
            ("I-02 another case", token.to_ascii_lowercase()),
            ("I-02 upper-case prefix", token.replacen("gwt", "GWT", 1)),
            ("I-02 a secret's prefix", token.replacen("gwt", "gws", 1)),
            ("I-02 white space before", format!("+{token}")),
            ("I-02 white space after", format!("{token}+")),
            ("I-02 padded", format!("{token}%3D")),
            ("I-02 a JWT", "eyJhbGciOiJub25lIn0.e30.".to_owned()),
            ("I-02 one character", "x".to_owned()),
            ("I-02 as long as a body may be", "x".repeat(60_000)),
            ("I-02 a client's secret", shared.app.client_secret.clone()),
        ],
        |text| {
            shared.server.introspect(&shared.resource_server, &text).assert_inactive();
            shared.server.introspect(&shared.app, &text).assert_inactive();
        },
    );
    shared.server.introspect(&shared.app, &token).assert_active();
}

#[test]
fn i_02_the_stores_key_of_a_token_is_no_token() {
    // SHA-256 of the token, which is what a dump of the store shows.
    use base64::Engine as _;
    use sha2::Digest as _;
    let shared = shared();
    let token = shared.server.token(&shared.app, "read");
    let digest = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(&token));
    for text in [digest.clone(), format!("gwt_{digest}"), format!("token%23{digest}")] {
        shared.server.introspect(&shared.resource_server, &text).assert_inactive();
    }
}

#[test]
fn i_05_who_may_introspect_what() {
    let shared = shared();
    let beta_server = shared.store.register("beta", "i05-rs", &["--scope", "am-introspect-all-tokens read"]);
    let everywhere = ["--scope", "am-introspect-all-tokens-any-realm"];
    let beta_any_realm = shared.store.register("beta", "i05-any-realm", &everywhere);
    let tokens = [
        ("alpha", shared.server.token(&shared.app, "read")),
        ("beta", shared.server.token(&shared.beta_app, "read")),
        ("root", shared.server.token(&shared.root_app, "read")),
    ];
    each_row(
        [
            ("I-05 the client itself", (&shared.app, ["alpha"].as_slice())),
            ("I-05 another client of the realm", (&shared.other, &[])),
            ("I-05 the same client id in another realm", (&shared.beta_app, &["beta"])),
            ("I-05 the realm's resource server", (&shared.resource_server, &["alpha"])),
            ("I-05 another realm's resource server", (&beta_server, &["beta"])),
            ("I-05 a resource server of every realm", (&shared.any_realm_server, &["alpha", "beta", "root"])),
            ("I-05 one that is not of root", (&beta_any_realm, &["alpha", "beta", "root"])),
            ("I-05 another client of root", (&shared.root_app, &["root"])),
        ],
        |(caller, visible): (&Registered, &[&str])| {
            for (realm, token) in &tokens {
                let answer = shared.server.introspect(caller, token);
                if visible.contains(realm) {
                    assert_eq!(
                        answer.assert_active()["realm"],
                        if *realm == "root" { "/".into() } else { format!("/{realm}") }
                    );
                } else {
                    answer.assert_inactive();
                }
            }
        },
    );
    // A resource server's own tokens are its own, and what it may introspect is not its scope's name in a token.
    let own = shared.server.token(&beta_server, "read");
    shared.server.introspect(&beta_server, &own).assert_active();
    shared.server.introspect(&shared.resource_server, &own).assert_inactive();
}

#[test]
fn i_05_a_scope_that_only_resembles_the_right_gives_none() {
    let shared = shared();
    let token = shared.server.token(&shared.app, "read");
    for (id, scope) in [
        ("i05-longer", "am-introspect-all-tokens2"),
        ("i05-case", "AM-INTROSPECT-ALL-TOKENS"),
        ("i05-shorter", "am-introspect-all"),
        ("i05-any", "am-introspect-all-tokens-any"),
    ] {
        let caller = shared.store.register("alpha", id, &["--scope", scope]);
        shared.server.introspect(&caller, &token).assert_inactive();
    }
}

#[test]
fn i_04_i_10_only_client_credentials_open_the_endpoint() {
    let shared = shared();
    let token = shared.server.token(&shared.app, "read");
    let request = Request::form(&format!("{ALPHA}/introspect"), format!("token={token}"));
    request.send(&shared.server).assert_401("alpha");
    request.clone().by(&shared.app.with_secret("wrong")).send(&shared.server).assert_401("alpha");
    // A token does not authorize its own introspection, nor another's.
    let bearer = request.clone().header("Authorization", format!("Bearer {token}"));
    bearer.send(&shared.server).assert_401("alpha");
    let resource_server_token = shared.server.token(&shared.resource_server, "am-introspect-all-tokens");
    let bearer = request.header("Authorization", format!("Bearer {resource_server_token}"));
    bearer.send(&shared.server).assert_401("alpha");
}

#[test]
fn i_07_a_hint_changes_nothing() {
    let shared = shared();
    let token = shared.server.token(&shared.app, "read");
    let path = format!("{ALPHA}/introspect");
    let ask = |hint: &str| {
        let mut facts =
            Request::form(&path, format!("token={token}{hint}")).by(&shared.app).send(&shared.server).assert_active();
        facts.as_object_mut().expect("an object").remove("expires_in");
        facts
    };
    for hint in [
        "&token_type_hint=access_token",
        "&token_type_hint=refresh_token",
        "&token_type_hint=%E2%82%AC",
        "&token_type_hint=",
    ] {
        assert_eq!(ask(hint), ask(""), "{hint}");
    }
}

#[test]
fn i_09_parameters_of_other_endpoints_are_ignored() {
    let shared = shared();
    let token = shared.server.token(&shared.app, "read");
    let elsewhere = "/oauth2/realms/root/realms/nowhere/introspect";
    Request::form(elsewhere, format!("token={token}"))
        .by(&shared.app)
        .send(&shared.server)
        .assert_refused(404, "not_found");
    let more = format!("token={token}&grant_type=password&scope=admin&resource=x");
    Request::form(&format!("{ALPHA}/introspect"), more).by(&shared.app).send(&shared.server).assert_active();
}

#[test]
fn i_11_revoking_all_tokens_of_a_client_ends_those_issued_before() {
    let shared = shared();
    let settings = ["--scope", "a", "--default-scope", "a"];
    let client = shared.store.register("alpha", "i11-revoked", &settings);
    let bystander = shared.store.register("alpha", "i11-bystander", &settings);
    let (token, kept) = (shared.server.token(&client, "a"), shared.server.token(&bystander, "a"));
    shared.server.introspect(&shared.resource_server, &token).assert_active();
    // At once, within the second of issue: an operator who ends a leak must not leave one token behind.
    shared.store.client("update", &client, &["--revoke-tokens"]);
    shared.server.wait_until_inactive("the client's tokens are inactive", &shared.resource_server, &token);
    shared.server.introspect(&client, &token).assert_inactive();
    shared.server.introspect(&bystander, &kept).assert_active();
    // The client itself goes on.
    poll("a token issued afterwards is active", NOTICED_WITHIN, || {
        let token = shared.server.token(&client, "a");
        (shared.server.introspect(&client, &token).json()["active"] == true).then_some(())
    });
    shared.server.introspect(&client, &token).assert_inactive();
}

#[test]
fn i_11_revoking_all_tokens_of_a_realm_ends_those_issued_before() {
    let shared = shared();
    shared.store.set_realm("i11-realm", &[]);
    let client = shared.store.register("i11-realm", "i11-client", &["--scope", "a", "--default-scope", "a"]);
    let (token, kept) = (shared.server.token(&client, "a"), shared.server.token(&shared.app, "a"));
    shared.server.introspect(&client, &token).assert_active();
    shared.store.set_realm("i11-realm", &["--revoke-tokens"]);
    shared.server.wait_until_inactive("the realm's tokens are inactive", &client, &token);
    shared.server.introspect(&shared.app, &kept).assert_active();
    poll("a token issued afterwards is active", NOTICED_WITHIN, || {
        let token = shared.server.token(&client, "a");
        (shared.server.introspect(&client, &token).json()["active"] == true).then_some(())
    });
}

#[test]
fn i_12_a_revoked_token_is_inactive_in_the_next_answer() {
    let shared = shared();
    for _ in 0..50 {
        let token = shared.server.token(&shared.app, "read");
        // Asked before, so that a cache of positive answers would show.
        shared.server.introspect(&shared.resource_server, &token).assert_active();
        assert_eq!(shared.server.revoke(&shared.app, &token).status, 200);
        shared.server.introspect(&shared.resource_server, &token).assert_inactive();
    }
}

#[test]
fn i_13_tokens_of_a_deleted_client_are_inactive_and_stay_so_for_its_successor() {
    let shared = shared();
    let settings = ["--scope", "a", "--default-scope", "a"];
    let client = shared.store.register("alpha", "i13-deleted", &settings);
    let token = shared.server.token(&client, "a");
    shared.server.introspect(&shared.resource_server, &token).assert_active();
    shared.store.client("delete", &client, &[]);
    shared.server.wait_until_refused("a deleted client is refused", &client);
    shared.server.wait_until_inactive("its tokens are inactive", &shared.resource_server, &token);

    let successor = shared.store.register("alpha", "i13-deleted", &settings);
    shared.server.wait_until_granted("its successor is let in", &successor, "");
    shared.server.introspect(&successor, &token).assert_inactive();
    shared.server.introspect(&shared.resource_server, &token).assert_inactive();
    shared.server.wait_until_refused("the old secret does not come back", &client);
}

#[test]
fn i_13_tokens_of_a_client_replaced_within_a_second_are_inactive() {
    let shared = shared();
    let settings = ["--scope", "a", "--default-scope", "a"];
    // From the start of a second, so that all three steps fall into it.
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    thread::sleep(Duration::from_secs(now.as_secs() + 1).saturating_sub(now));
    let client = shared.store.register("alpha", "i13-replaced", &settings);
    let token = shared.server.token(&client, "a");
    shared.store.client("delete", &client, &[]);
    let successor = shared.store.register("alpha", "i13-replaced", &settings);
    shared.server.wait_until_granted("the successor is let in", &successor, "");
    shared.server.wait_until_inactive("the predecessor's token is inactive", &shared.resource_server, &token);
}

#[test]
fn i_13_a_token_got_with_a_deleted_clients_secret_is_not_its_successors() {
    let shared = shared();
    let settings = ["--scope", "a", "--default-scope", "a"];
    let client = shared.store.register("alpha", "i13-unnoticed", &settings);
    shared.server.token(&client, "a");
    shared.store.client("delete", &client, &[]);
    let successor = shared.store.register("alpha", "i13-unnoticed", &settings);
    // For some seconds the server may not have noticed.
    let answer = shared.server.token_request(&client, "");
    shared.server.wait_until_refused("the old secret is refused", &client);
    shared.server.wait_until_granted("the successor is let in", &successor, "");
    if answer.status == 200 {
        let token = answer.assert_token("a");
        shared.server.wait_until_inactive("a token got with the old secret", &shared.resource_server, &token);
    }
}
