//! Access tokens as a resource server reads them: rows AT-* of docs/protocol-cases.md (RFC 9068).

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::support::cli::{Registered, Store};
use crate::support::http::Request;
use crate::support::jwt::{parts, verify};
use crate::support::server::Start;
use crate::support::shared::{STATELESS_JWT, STORED_JWT, shared};
use crate::support::{NOTICED_WITHIN, each_row, poll};

const RESOURCE: &str = "https://api.example.com/orders";
const CLAIMS: &str = r#"{"tier":"gold","limits":{"rate":1.0,"regions":["eu","us"]}}"#;

/// A client of a realm of its own that signs with `alg`.
fn client_of_realm(name: &str, alg: &str, settings: &[&str]) -> Registered {
    let store = &shared().store;
    store.set_realm(name, &["--signing-alg", alg]);
    let scope = ["--scope", "read write", "--default-scope", "write"];
    store.register(name, &format!("{name}-client"), &[&scope[..], settings].concat())
}

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn at_01_at_02_at_03_at_04_every_algorithm_makes_tokens_that_a_stranger_verifies_by_the_published_keys() {
    let server = &shared().server;
    each_row(
        [
            ("ES256 stored", ("at-es256-stored", "ES256", STORED_JWT)),
            ("ES256 stateless", ("at-es256-stateless", "ES256", STATELESS_JWT)),
            ("EdDSA stored", ("at-eddsa-stored", "EdDSA", STORED_JWT)),
            ("EdDSA stateless", ("at-eddsa-stateless", "EdDSA", STATELESS_JWT)),
            ("PS256 stored", ("at-ps256-stored", "PS256", STORED_JWT)),
            ("RS256 stateless", ("at-rs256-stateless", "RS256", STATELESS_JWT)),
        ],
        |(realm, alg, form): (&str, &str, [&str; 4])| {
            let settings = [&form[..], &["--resource", RESOURCE, "--claims", CLAIMS]].concat();
            let client = client_of_realm(realm, alg, &settings);
            let token = server.jwt(&client, "read write", "");
            let issuer = client.issuer(server);

            let (header, _) = parts(&token);
            let jwks = server.jwks(&client.base());
            assert_eq!(header, json!({"typ": "at+jwt", "alg": alg, "kid": jwks["keys"][0]["kid"]}), "AT-01");

            let claims = verify(&token, &jwks, &issuer, RESOURCE);
            let (iat, jti, tracking) = (&claims["iat"], &claims["jti"], &claims["auditTrackingId"]);
            assert_eq!(
                claims,
                json!({
                    "iss": issuer,
                    "sub": client.client_id,
                    "aud": RESOURCE,
                    "client_id": client.client_id,
                    "iat": iat,
                    "exp": iat.as_u64().expect("seconds") + 3600,
                    "jti": jti,
                    "scope": "read write",
                    "realm": format!("/{realm}"),
                    "auditTrackingId": tracking,
                    "tier": "gold",
                    "limits": {"rate": 1.0, "regions": ["eu", "us"]},
                }),
                "AT-02, AT-04: these claims and no nbf"
            );
            let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
            assert!(iat.as_u64().expect("seconds").abs_diff(now) <= 5, "{claims}");
            assert!(jti.as_str().is_some_and(|jti| jti.len() >= 22), "{claims}");
            assert!(tracking.as_str().is_some_and(|id| id.len() == 36 && *jti != id), "{claims}");

            // Introspection says the same, and what RFC 7662 adds.
            let mut facts = server.introspect(&client, &token).assert_active();
            for (member, value) in [("active", json!(true)), ("token_type", json!("Bearer"))] {
                assert_eq!(facts.as_object_mut().expect("an object").remove(member), Some(value), "{facts}");
            }
            let left = facts.as_object_mut().expect("an object").remove("expires_in");
            assert!(left.and_then(|left| left.as_u64()).is_some_and(|left| (3590..=3600).contains(&left)), "{facts}");
            assert_eq!(facts, claims);

            let again = parts(&server.jwt(&client, "read write", "")).1;
            assert!(again["jti"] != *jti && again["auditTrackingId"] != *tracking, "{again}");
        },
    );
}

#[test]
fn opaque_tokens_have_the_same_facts_in_introspection() {
    let shared = shared();
    let settings = ["--scope", "read write", "--resource", RESOURCE, "--claims", CLAIMS];
    let opaque = shared.store.register("alpha", "at-opaque", &settings);
    let jwt = shared.store.register("alpha", "at-jwt", &[&settings[..], &STORED_JWT].concat());
    let facts = |client: &Registered, token: &str| {
        let mut facts = shared.server.introspect(&shared.resource_server, token).assert_active();
        for own in ["auditTrackingId", "exp", "expires_in", "iat", "jti"] {
            assert!(facts.as_object_mut().expect("an object").remove(own).is_some(), "{own}: {facts}");
        }
        assert_eq!((&facts["sub"], &facts["client_id"]), (&json!(client.client_id), &json!(client.client_id)));
        facts.to_string().replace(&client.client_id, "the client")
    };
    let of_opaque = facts(&opaque, &shared.server.token(&opaque, "read"));
    assert_eq!(of_opaque, facts(&jwt, &shared.server.jwt(&jwt, "read", "")));
    assert!(of_opaque.contains(RESOURCE) && of_opaque.contains("gold"), "{of_opaque}");
}

#[test]
fn at_05_nothing_that_a_request_says_becomes_a_claim() {
    let shared = shared();
    let asked = "sub=admin&iss=https%3A%2F%2Fevil.example&aud=everyone&exp=9999999999&nbf=0&jti=mine&realm=%2Froot\
                 &client_id=shared-stateless&claims=%7B%22admin%22%3Atrue%7D&admin=true&tier=gold&username=alice&canary=1";
    for client in [&shared.stored_app, &shared.stateless_app] {
        let asked = asked.replace("shared-stateless", &client.client_id);
        let (_, plain) = parts(&shared.server.jwt(client, "read", ""));
        let (_, claims) = parts(&shared.server.jwt(client, "read", &asked));
        assert_eq!(names(&claims), names(&plain));
        for member in ["iss", "sub", "aud", "client_id", "scope", "realm"] {
            assert_eq!(claims[member], plain[member], "{member}");
        }
        assert!(claims["exp"].as_u64() == claims["iat"].as_u64().map(|iat| iat + 3600), "{claims}");
        assert!(!claims.to_string().contains("admin") && claims["jti"] != "mine", "{claims}");
    }
    // A client cannot be registered under a name of the server's claims either; its id is its own in both.
    let (_, claims) = parts(&shared.server.jwt(&shared.stateless_app, "read", ""));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("shared-stateless"), &json!("shared-stateless")));
}

#[test]
fn at_06_i_02_a_token_that_differs_in_anything_is_inactive() {
    let shared = shared();
    for client in [&shared.stored_app, &shared.stateless_app] {
        let token = shared.server.jwt(client, "read", "");
        let (header, payload, signature) = three(&token);
        let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let (header_json, claims) = parts(&token);
        let with_header = |name: &str, value: Value| {
            let mut changed = header_json.clone();
            changed[name] = value;
            format!("{}.{payload}.{signature}", encode(&changed))
        };
        let with_claim = |name: &str, value: Value| {
            let mut changed = claims.clone();
            changed[name] = value;
            format!("{header}.{}.{signature}", encode(&changed))
        };
        let last = if signature.ends_with('A') { 'Q' } else { 'A' };
        each_row(
            [
                ("AT-06 typ JWT", with_header("typ", json!("JWT"))),
                ("AT-07 alg none", with_header("alg", json!("none"))),
                (
                    "AT-07 alg none, no signature",
                    format!("{}.{payload}.", encode(&json!({"alg": "none", "typ": "at+jwt"}))),
                ),
                ("AT-07 alg HS256", with_header("alg", json!("HS256"))),
                ("AT-07 another kid", with_header("kid", json!("another"))),
                ("J-34 jku", with_header("jku", json!("https://evil.example"))),
                ("AT-07 scope", with_claim("scope", json!("read write"))),
                ("AT-07 exp", with_claim("exp", json!(4_102_444_800_u64))),
                ("AT-07 aud", with_claim("aud", json!("https://evil.example"))),
                ("AT-07 client_id", with_claim("client_id", json!("shared-app"))),
                ("I-18 the signature's last character", format!("{}{last}", &token[..token.len() - 1])),
                ("I-18 no signature", format!("{header}.{payload}.")),
                ("I-18 zeros", format!("{header}.{payload}.{}", "A".repeat(86))),
                ("I-02 truncated", token[..token.len() - 1].to_owned()),
                ("I-02 extended", format!("{token}A")),
                ("I-02 padded", format!("{token}%3D%3D")),
                ("I-02 five parts", format!("{token}.a.b")),
                ("I-02 two parts", format!("{header}.{payload}")),
                ("I-02 a space after it", format!("{token}+")),
                ("I-02 in lower case", token.to_ascii_lowercase()),
                ("AT-09 as long as a body may be", format!("{header}.{}.{signature}", "A".repeat(50_000))),
            ],
            |text| {
                assert_ne!(text, token);
                shared.server.introspect(client, &text).assert_inactive();
                shared.server.introspect(&shared.resource_server, &text).assert_inactive();
                shared.server.introspect(&shared.any_realm_server, &text).assert_inactive();
                // Nor does it end the token that it was made of.
                assert_eq!(shared.server.revoke(client, &text).status, 200);
            },
        );
        shared.server.introspect(client, &token).assert_active();
    }
}

fn three(token: &str) -> (&str, &str, &str) {
    let mut parts = token.split('.');
    let mut next = || parts.next().expect("a part");
    (next(), next(), next())
}

#[test]
fn at_09_a_token_fits_into_a_request_or_is_not_issued() {
    let shared = shared();
    let claims = format!(r#"{{"note":"{}"}}"#, "x".repeat(1900));
    let resources: Vec<String> = (0..16).map(|n| format!("https://api.example.com/{n}/{}", "y".repeat(400))).collect();
    let mut settings = vec!["--scope", "a", "--default-scope", "a", "--claims", &claims];
    for resource in &resources {
        settings.extend(["--resource", resource]);
    }
    for (id, form) in [("at09-stored", STORED_JWT), ("at09-stateless", STATELESS_JWT)] {
        let client = shared.store.register("alpha", id, &[&settings[..], &form].concat());
        let ask = |count: usize| {
            let named: Vec<String> = resources[..count].iter().map(|resource| format!("resource={resource}")).collect();
            shared.server.token_request(&client, &named.join("&"))
        };
        let token = ask(4).assert_granted("a");
        assert!((4000..=7168).contains(&token.len()), "{}", token.len());
        shared.server.introspect(&client, &token).assert_active();
        ask(16).assert_400("invalid_request");
    }
    // A random reference is as long as ever.
    let opaque = shared.store.register("alpha", "at09-opaque", &settings);
    let named: Vec<String> = resources.iter().map(|resource| format!("resource={resource}")).collect();
    let token = shared.server.token_request(&opaque, &named.join("&")).assert_token("a");
    let facts = shared.server.introspect(&opaque, &token).assert_active();
    assert_eq!(facts["aud"].as_array().map(Vec::len), Some(16));
}

#[test]
fn a_client_without_settings_follows_its_realm_and_one_with_settings_does_not() {
    let shared = shared();
    let scope = ["--scope", "a", "--default-scope", "a"];
    shared.store.set_realm("at-defaults", &["--access-token-format", "jwt", "--access-token-persistence", "stateless"]);
    let follows = shared.store.register("at-defaults", "follows", &scope);
    let opaque = ["--access-token-format", "opaque"];
    let own = shared.store.register("at-defaults", "own", &[&scope[..], &opaque].concat());
    let stored = ["--access-token-persistence", "stored"];
    let own_persistence = shared.store.register("at-defaults", "own-persistence", &[&scope[..], &stored].concat());

    shared.server.token(&own, "a");
    let is_stateless = |client: &Registered| {
        let (_, claims) = parts(&shared.server.jwt(client, "a", ""));
        claims["jti"].as_str().expect("text").starts_with("stateless.")
    };
    assert!(is_stateless(&follows) && !is_stateless(&own_persistence));

    shared.store.set_realm("at-defaults", &["--access-token-format", "opaque"]);
    poll("the realm's new format is noticed", NOTICED_WITHIN, || {
        let token = shared.server.token_request(&follows, "").assert_granted("a");
        token.starts_with("gwt_").then_some(())
    });
}

#[test]
fn what_a_setting_was_when_a_token_was_issued_stays_true_of_the_token() {
    let shared = shared();
    let forms: [(&str, &[&str]); 3] =
        [("opaque", &["--access-token-format", "opaque"]), ("stored", &STORED_JWT), ("stateless", &STATELESS_JWT)];
    let changes = forms.into_iter().flat_map(|from| forms.map(|to| (from, to))).filter(|(from, to)| from.0 != to.0);
    let issue = |client: &Registered| shared.server.token_request(client, "").assert_granted("a");
    let changed: Vec<_> = changes
        .map(|((from, issued_as), (to, changed_to))| {
            let settings = [&["--scope", "a", "--default-scope", "a"][..], issued_as].concat();
            let client = shared.store.register("alpha", &format!("at-{from}-{to}"), &settings);
            let (kept, ended) = (issue(&client), issue(&client));
            assert_eq!(form_of(&kept), from);
            shared.store.client("update", &client, changed_to);
            (client, to, kept, ended)
        })
        .collect();
    for (client, to, kept, ended) in &changed {
        poll("the new form is noticed", NOTICED_WITHIN, || (form_of(&issue(client)) == *to).then_some(()));
        shared.server.introspect(client, kept).assert_active();
        assert_eq!(shared.server.revoke(client, ended).status, 200);
        shared.server.introspect(client, ended).assert_inactive();
        shared.server.introspect(client, kept).assert_active();
    }
}

fn form_of(token: &str) -> &'static str {
    if token.starts_with("gwt_") {
        return "opaque";
    }
    let (_, claims) = parts(token);
    if claims["jti"].as_str().expect("text").starts_with("stateless.") { "stateless" } else { "stored" }
}

#[test]
fn a_token_expires_at_its_second_in_every_form() {
    let shared = shared();
    let settings = ["--scope", "a", "--default-scope", "a", "--token-lifetime", "2"];
    for (id, form) in [("at-expires-stored", STORED_JWT), ("at-expires-stateless", STATELESS_JWT)] {
        let client = shared.store.register("alpha", id, &[&settings[..], &form].concat());
        let (token, revoked) = (shared.server.jwt(&client, "a", ""), shared.server.jwt(&client, "a", ""));
        assert_eq!(shared.server.revoke(&client, &revoked).status, 200);
        let exp = parts(&token).1["exp"].as_u64().expect("seconds");
        poll("the token expires", Duration::from_secs(20), || {
            let before = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
            let answer = shared.server.introspect(&client, &token);
            let after = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
            shared.server.introspect(&client, &revoked).assert_inactive();
            if before >= exp {
                answer.assert_inactive();
                return Some(());
            }
            assert!(after >= exp || answer.assert_active()["expires_in"].as_u64() <= Some(2));
            None
        });
        assert_eq!(shared.server.revoke(&client, &token).status, 200, "V-02: an expired token is a success");
    }
}

#[test]
fn a_token_of_one_server_is_nothing_to_another() {
    let (store, other_store) = (Store::new(), Store::new());
    let settings = [&["--scope", "a", "--default-scope", "a"][..], &STATELESS_JWT].concat();
    let client = store.register_with_secret("root", "same", "the-same-secret-0123456789", &settings);
    let twin = other_store.register_with_secret("root", "same", "the-same-secret-0123456789", &settings);
    let (server, other) = (Start::on(&store.argument()).spawn(), Start::on(&other_store.argument()).spawn());
    let token = server.jwt(&client, "a", "");
    other.jwt(&twin, "a", "");
    server.introspect(&client, &token).assert_active();
    other.introspect(&twin, &token).assert_inactive();
    assert_eq!(Request::form("/oauth2/token/revoke", format!("token={token}")).by(&twin).send(&other).status, 200);
    server.introspect(&client, &token).assert_active();
}
