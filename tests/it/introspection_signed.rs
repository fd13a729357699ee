//! Signed introspection answers: rows IJ-* of docs/protocol-cases.md (RFC 9701).

use serde_json::{Value, json};

use crate::support::cli::Registered;
use crate::support::each_row;
use crate::support::http::{Answer, Request};
use crate::support::jwt::{parts, verify};
use crate::support::shared::{ALPHA, STATELESS_JWT, issuer, shared};

const SIGNED: &str = "application/token-introspection+jwt";

fn ask(caller: &Registered, token: &str) -> Answer {
    let request = Request::form(&format!("{}/introspect", caller.base()), format!("token={token}"));
    request.by(caller).header("Accept", SIGNED).send(&shared().server)
}

/// Asserts a signed answer and gives its claims, verified by the realm's published keys.
#[track_caller]
fn assert_signed(caller: &Registered, answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some(SIGNED), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    assert_eq!(answer.header("pragma"), Some("no-cache"), "{answer:?}");
    let (jwt, server) = (answer.text(), &shared().server);
    verify(&jwt, &server.jwks(&caller.base()), &caller.issuer(server), &caller.client_id)
}

#[test]
fn ij_01_an_answer_is_signed_for_its_caller_and_says_what_the_plain_one_says() {
    let shared = shared();
    for app in [&shared.app, &shared.stored_app, &shared.stateless_app] {
        let token = shared.server.token_request(app, "scope=read").assert_granted("read");
        for caller in [app, &shared.resource_server, &shared.any_realm_server] {
            let answer = ask(caller, &token);
            let mut claims = assert_signed(caller, &answer);
            let (header, _) = parts(&answer.text());
            assert_eq!(header["typ"], "token-introspection+jwt");
            assert_eq!(header.as_object().map(serde_json::Map::len), Some(3), "typ, alg and kid: {header}");

            let mut plain = shared.server.introspect(caller, &token).assert_active();
            for facts in [&mut plain, &mut claims["token_introspection"]] {
                let left =
                    facts.as_object_mut().expect("an object").remove("expires_in").and_then(|left| left.as_u64());
                assert!(left.is_some_and(|left| (3590..=3600).contains(&left)), "{facts}");
            }
            let iat = claims["iat"].clone();
            let expected = json!({
                "iss": caller.issuer(&shared.server),
                "aud": caller.client_id,
                "iat": iat,
                "token_introspection": plain,
            });
            assert_eq!(claims, expected, "these members and neither sub nor exp");
            let age = std::time::SystemTime::UNIX_EPOCH
                .elapsed()
                .expect("after 1970")
                .as_secs()
                .abs_diff(iat.as_u64().expect("seconds"));
            assert!(age <= 5, "{claims}");
        }
    }
}

#[test]
fn ij_01_every_algorithm_signs_answers_and_the_first_one_makes_a_realms_keys() {
    let shared = shared();
    each_row([("ES256", "ES256"), ("EdDSA", "EdDSA"), ("PS256", "PS256"), ("RS256", "RS256")], |alg| {
        let realm = format!("ij-{}", alg.to_lowercase());
        shared.store.set_realm(&realm, &["--signing-alg", alg]);
        let client = shared.store.register(&realm, &format!("{realm}-client"), &["--scope", "a"]);
        let token = shared.server.token(&client, "a");
        let answer = ask(&client, &token);
        assert_eq!(assert_signed(&client, &answer)["token_introspection"]["active"], true);
        assert_eq!(parts(&answer.text()).0["alg"], alg);
    });
    shared.store.set_realm("ij-first", &[]);
    let client = shared.store.register("ij-first", "ij-first-client", &["--scope", "a"]);
    assert_eq!(shared.server.jwks(&client.base()), json!({"keys": []}));
    assert_signed(&client, &ask(&client, "unknown"));
}

#[test]
fn ij_02_an_inactive_token_is_exactly_that() {
    let shared = shared();
    let revoked = shared.server.jwt(&shared.stateless_app, "read", "");
    assert_eq!(shared.server.revoke(&shared.stateless_app, &revoked).status, 200);
    let anothers = shared.server.token(&shared.other, "read");
    for token in [revoked.as_str(), &anothers, "unknown", "eyJhbGciOiJub25lIn0.e30."] {
        let caller = &shared.app;
        let claims = assert_signed(caller, &ask(caller, token));
        let expected = json!({
            "iss": issuer(ALPHA),
            "aud": caller.client_id,
            "iat": claims["iat"],
            "token_introspection": {"active": false},
        });
        assert_eq!(claims, expected, "{token}");
    }
}

#[test]
fn ij_03_a_caller_who_is_refused_gets_the_json_of_every_error() {
    let shared = shared();
    let token = shared.server.jwt(&shared.stateless_app, "read", "");
    let request = |form: &str| Request::form(&format!("{ALPHA}/introspect"), form).header("Accept", SIGNED);
    let form = format!("token={token}");
    request(&form).send(&shared.server).assert_401("alpha");
    request(&form).by(&shared.stateless_app.with_secret("wrong")).send(&shared.server).assert_401("alpha");
    request(&form).header("Authorization", format!("Bearer {token}")).send(&shared.server).assert_401("alpha");
    request("").by(&shared.app).send(&shared.server).assert_400("invalid_request");
    request(&format!("{form}&{form}")).by(&shared.app).send(&shared.server).assert_400("invalid_request");
    Request::form("/oauth2/realms/root/realms/nowhere/introspect", form)
        .by(&shared.app)
        .header("Accept", SIGNED)
        .send(&shared.server)
        .assert_refused(404, "not_found");
}

#[test]
fn ij_04_at_08_a_signed_answer_is_no_token() {
    let shared = shared();
    let app = &shared.stateless_app;
    let token = shared.server.jwt(app, "read", "");
    for (caller, about) in [(app, token.as_str()), (&shared.resource_server, &token), (app, "unknown")] {
        let answer = ask(caller, about).text();
        for asking in [app, &shared.resource_server, &shared.any_realm_server] {
            shared.server.introspect(asking, &answer).assert_inactive();
        }
        assert_eq!(shared.server.revoke(app, &answer).status, 200);
        shared.server.introspect(app, &token).assert_active();
        // Nor does it authenticate anybody.
        let assertion = format!(
            "token=x&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion={answer}"
        );
        Request::form(&format!("{ALPHA}/introspect"), assertion).send(&shared.server).assert_401("alpha");
    }
    // And an access token is no answer: its type is another.
    assert_eq!(parts(&token).0["typ"], "at+jwt");
}

#[test]
fn ij_05_an_answer_is_signed_for_those_who_prefer_it() {
    let shared = shared();
    let (caller, token) = (&shared.app, shared.server.token(&shared.app, "read"));
    let ask = |accept: &[&str]| {
        let request = Request::form(&format!("{ALPHA}/introspect"), format!("token={token}")).by(caller);
        let request = accept.iter().fold(request, |request, value| request.header("Accept", value));
        request.send_raw(&shared.server)
    };
    each_row(
        [
            ("alone", vec![SIGNED]),
            ("in capitals", vec!["Application/Token-Introspection+JWT"]),
            ("with a weight", vec!["application/token-introspection+jwt;q=0.5"]),
            ("with a weight and spaces", vec!["application/token-introspection+jwt ; q=0.1"]),
            ("with a small weight", vec!["application/token-introspection+jwt;q=0.001"]),
            ("with another parameter", vec!["application/token-introspection+jwt;charset=utf-8"]),
            ("after another", vec!["application/json, application/token-introspection+jwt"]),
            ("before another", vec!["application/token-introspection+jwt,*/*;q=0.1"]),
            ("in a second header", vec!["application/json", SIGNED]),
            ("of the same weight", vec!["application/json;q=0.5, application/token-introspection+jwt;q=0.5"]),
            ("of the greater weight", vec!["application/json;q=0.4, application/token-introspection+jwt;q=0.5"]),
            ("of the greater weight, in two headers", vec!["application/json;q=0.999", SIGNED]),
            ("more than anything else", vec!["*/*;q=0.1, application/token-introspection+jwt;q=0.2"]),
            ("no JSON, and anything else", vec!["application/json;q=0, */*"]),
            ("with a quoted parameter", vec!["application/token-introspection+jwt;a=\"b,c;q=0\";q=1"]),
        ],
        |accept| {
            assert_eq!(assert_signed(caller, &ask(&accept))["token_introspection"]["active"], true);
        },
    );
    each_row(
        [
            ("nothing", vec![]),
            ("everything", vec!["*/*"]),
            ("every application", vec!["application/*"]),
            ("JSON", vec!["application/json"]),
            ("another JWT", vec!["application/jwt"]),
            ("a part of the name", vec!["application/token-introspection"]),
            ("without the type", vec!["token-introspection+jwt"]),
            ("more than the name", vec!["application/token-introspection+jwt2"]),
            ("a weight of zero", vec!["application/token-introspection+jwt;q=0"]),
            ("a weight of zero, written out", vec!["application/token-introspection+jwt; Q=0.000"]),
            ("refused, and everything else", vec!["application/token-introspection+jwt;q=0, */*"]),
            ("a parameter of another", vec!["application/json;profile=\"application/token-introspection+jwt\""]),
            ("JSON of the greater weight", vec!["application/token-introspection+jwt;q=0.4, application/json;q=0.5"]),
            ("JSON before it", vec!["application/json, application/token-introspection+jwt;q=0.999"]),
            ("anything of the greater weight", vec!["application/token-introspection+jwt;q=0.5, */*"]),
            (
                "JSON of the greater weight, in two headers",
                vec!["application/token-introspection+jwt;q=0.1", "application/json"],
            ),
            (
                "a range of its kind of the greater weight",
                vec!["application/token-introspection+jwt;q=0.5, application/*;q=0.6"],
            ),
            ("quoted", vec!["text/plain;a=\"x, application/token-introspection+jwt\""]),
            ("a weight that is none", vec!["application/token-introspection+jwt;q=2"]),
            ("empty", vec![""]),
            ("no media type", vec![",;,"]),
            ("not ASCII", vec!["application/token-introspection+jwt\u{e9}"]),
        ],
        |accept| {
            ask(&accept).assert_active();
        },
    );
}

#[test]
fn an_answer_about_a_token_for_several_resources_says_so() {
    let shared = shared();
    let settings = ["--scope", "a", "--default-scope", "a", "--resource", "https://a.example", "--resource", "urn:b"];
    let client = shared.store.register("alpha", "ij-several", &[&settings[..], &STATELESS_JWT].concat());
    let token = shared.server.jwt(&client, "a", "resource=urn:b&resource=https://a.example");
    let facts = &assert_signed(&client, &ask(&client, &token))["token_introspection"];
    assert_eq!(facts["aud"], json!(["urn:b", "https://a.example"]));
}
