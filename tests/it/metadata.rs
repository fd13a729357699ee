//! Metadata: rows MD-* of docs/protocol-cases.md (RFC 8414).

use serde_json::{Value, json};

use crate::support::cli::{Registered, Store};
use crate::support::http::{Answer, Request};
use crate::support::server::Start;
use crate::support::shared::{ALPHA, issuer, shared};

const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";
const BASES: [&str; 6] = [
    "/oauth2",
    "/oauth2/realms/root",
    "/oauth2/realms/root/realms/alpha",
    "/am/oauth2",
    "/am/oauth2/realms/root",
    "/am/oauth2/realms/root/realms/alpha",
];

fn get(path: &str) -> Answer {
    Request::new("GET", path).send(&shared().server)
}

fn document(path: &str) -> Value {
    let answer = get(path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.assert_kept_for(300);
    answer.json()
}

/// The whole document, member by member: what is built and no more.
fn expected(issuer: &str) -> Value {
    let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
    let algorithms = json!(["ES256", "ES384", "PS256", "EdDSA", "Ed25519", "RS256"]);
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/access_token"),
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "jwks_uri": format!("{issuer}/connect/jwk_uri"),
        "introspection_endpoint": format!("{issuer}/introspect"),
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_signing_alg_values_supported": ["ES256", "EdDSA", "PS256", "RS256"],
        "revocation_endpoint": format!("{issuer}/token/revoke"),
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "grant_types_supported": ["client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
    })
}

#[test]
fn md_01_md_02_md_03_md_06_md_07_md_08_every_base_has_its_document_in_three_places() {
    for base in BASES {
        for path in [format!("{base}{WELL_KNOWN}"), format!("{base}{OPENID}"), format!("{WELL_KNOWN}{base}")] {
            assert_eq!(document(&path), expected(&issuer(base)), "{path}");
        }
    }
}

#[test]
fn md_02_the_issuer_is_the_one_in_tokens() {
    for (base, client) in [(ALPHA, &shared().app), ("/am/oauth2/realms/root", &shared().root_app)] {
        let issuer = document(&format!("{base}{WELL_KNOWN}"))["issuer"].clone();
        let grant = Request::form(&format!("{base}/access_token"), "grant_type=client_credentials").by(client);
        let token = grant.send(&shared().server).assert_token("write");
        assert_eq!(shared().server.introspect(client, &token).assert_active()["iss"], issuer);
    }
}

#[test]
fn md_04_md_05_every_endpoint_named_works_with_every_method_named_and_no_other() {
    let server = &shared().server;
    let document = document(&format!("{ALPHA}{WELL_KNOWN}"));
    let client = &shared().post_app;
    let post = format!("client_id={}&client_secret={}", client.client_id, client.client_secret);
    for (endpoint, form) in
        [("token", "grant_type=client_credentials"), ("introspection", "token=x"), ("revocation", "token=x")]
    {
        let url = document[format!("{endpoint}_endpoint")].as_str().expect("a URL").to_owned();
        let path = url.strip_prefix(&server.url()).expect("on this server");
        for method in document[format!("{endpoint}_endpoint_auth_methods_supported")].as_array().expect("a list") {
            let answer = match method.as_str() {
                Some("client_secret_basic") => Request::form(path, form).by(client).send(server),
                Some("client_secret_post") => Request::form(path, format!("{form}&{post}")).send(server),
                Some("private_key_jwt") => {
                    let (kind, assertion) = crate::private_key_jwt::assertion_of_a_client(endpoint);
                    Request::form(path, format!("{form}&client_assertion_type={kind}&client_assertion={assertion}"))
                        .send(server)
                }
                other => panic!("{other:?} is not built"),
            };
            assert_eq!(answer.status, 200, "{method} at {url}: {answer:?}");
        }
        // none and Bearer are not named, and an assertion of nobody is none; they do not work.
        for unnamed in [
            Request::form(path, format!("{form}&client_id={}", client.client_id)),
            Request::form(
                path,
                format!(
                    "{form}&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=a.b.c"
                ),
            ),
            Request::form(path, form).header("Authorization", format!("Bearer {}", client.client_secret)),
        ] {
            unnamed.send(server).assert_401("alpha");
        }
    }
}

#[test]
fn md_09_other_methods_are_405() {
    for path in [format!("{ALPHA}{WELL_KNOWN}"), format!("{ALPHA}{OPENID}"), format!("{WELL_KNOWN}{ALPHA}")] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = Request::new(method, &path).send_raw(&shared().server);
            answer.assert_refused(405, "invalid_request");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        }
        let head = Request::new("HEAD", &path).send_raw(&shared().server);
        assert_eq!((head.status, head.body.len()), (200, 0), "{head:?}");
        head.assert_kept_for(300);
    }
}

#[test]
fn md_10_a_forged_host_changes_nothing() {
    let path = format!("{ALPHA}{WELL_KNOWN}");
    let plain = get(&path).body;
    for request in [
        Request::new("GET", &path).header("Host", "evil.example"),
        Request::new("GET", &path).header("Host", "evil.example:443"),
        Request::new("GET", &path).header("X-Forwarded-Host", "evil.example").header("X-Forwarded-Proto", "https"),
        Request::new("GET", &path).header("Forwarded", "host=evil.example;proto=https"),
        Request::new("GET", &path).header("X-Forwarded-Prefix", "/evil").header("X-Original-URL", "/evil"),
        Request::new("GET", &format!("http://evil.example{path}")).header("Host", "evil.example"),
    ] {
        let answer = request.send_raw(&shared().server);
        assert_eq!((answer.status, &answer.body), (200, &plain), "{answer:?}");
    }
    let forged = Request::form(&format!("{ALPHA}/access_token"), "grant_type=client_credentials").by(&shared().app);
    let token = forged.header("Host", "evil.example").send_raw(&shared().server).assert_token("write");
    assert_eq!(shared().server.introspect(&shared().app, &token).assert_active()["iss"], issuer(ALPHA));
}

#[test]
fn md_10_the_configured_base_is_what_the_world_is_told() {
    let store = Store::new();
    let client: Registered = store.register("root", "behind-a-proxy", &["--scope", "a", "--default-scope", "a"]);
    for base in ["https://auth.example.com", "https://auth.example.com/prefix/"] {
        let by_argument = Start::on(&store.argument()).arguments(&["--issuer-base", base]);
        let by_environment = Start::on(&store.argument()).environment("GRANTWELL_PUBLIC_URL", base);
        for start in [by_argument, by_environment] {
            let server = start.spawn();
            let base = base.trim_end_matches('/');
            let path = format!("/oauth2{WELL_KNOWN}");
            let answer = Request::new("GET", &path).header("Host", "evil.example").send_raw(&server);
            assert_eq!(answer.json(), expected(&format!("{base}/oauth2")));
            let token = server.token(&client, "a");
            assert_eq!(server.introspect(&client, &token).assert_active()["iss"], format!("{base}/oauth2"));
        }
    }
}

#[test]
fn md_11_other_paths_and_unknown_realms_are_404() {
    for path in [
        format!("{ALPHA}{WELL_KNOWN}/"),
        format!("{ALPHA}{OPENID}/"),
        format!("{WELL_KNOWN}{ALPHA}/"),
        format!("{OPENID}{ALPHA}"),
        WELL_KNOWN.to_owned(),
        format!("{WELL_KNOWN}/"),
        format!("/oauth2/realms/root/realms/nowhere{WELL_KNOWN}"),
        format!("/oauth2/realms/root/realms/nowhere{OPENID}"),
        format!("{WELL_KNOWN}/oauth2/realms/root/realms/nowhere"),
        format!("/oauth2/realms/root/realms/%61lpha{WELL_KNOWN}"),
        format!("{ALPHA}/connect/jwk_uri/"),
        "/oauth2/realms/root/realms/nowhere/connect/jwk_uri".to_owned(),
        // Not built: the document names no such endpoint.
        format!("{ALPHA}/authorize"),
        format!("{ALPHA}/register"),
        format!("{ALPHA}/userinfo"),
    ] {
        get(&path).assert_refused(404, "not_found");
    }
}
