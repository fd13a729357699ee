//! How parameters are read: rows P-* of docs/protocol-cases.md (RFC 6749 §3.2, Appendices A and B).

use grantwell::core::client_auth;
use grantwell::core::endpoint::Method;
use grantwell::http::routes::ENDPOINTS;

use crate::support::cli::basic;
use crate::support::each_row;
use crate::support::http::{Answer, Request};
use crate::support::shared::{ALPHA, shared};

const GRANT: &str = "grant_type=client_credentials";

fn token(form: impl AsRef<[u8]>) -> Answer {
    Request::form(&format!("{ALPHA}/access_token"), form).by(&shared().app).send(&shared().server)
}

#[test]
fn p_01_p_02_p_03_a_parameter_that_is_repeated_is_refused() {
    each_row(
        [
            ("P-01 grant_type twice", "grant_type=client_credentials&grant_type=client_credentials"),
            ("P-02 two grant types", "grant_type=client_credentials&grant_type=password"),
            ("P-03 scope", "grant_type=client_credentials&scope=write&scope=write"),
            ("P-03 client_id", "grant_type=client_credentials&client_id=shared-app&client_id=shared-app"),
            ("P-03 client_secret", "grant_type=client_credentials&client_secret=x&client_secret=x"),
            ("P-03 client_assertion", "grant_type=client_credentials&client_assertion=x&client_assertion=x"),
            (
                "P-03 client_assertion_type",
                "grant_type=client_credentials&client_assertion_type=x&client_assertion_type=x",
            ),
            ("P-03 repeated under an encoded name", "grant_type=client_credentials&scope=write&%73cope=write"),
            ("P-03 audience", "grant_type=client_credentials&audience=urn:a&audience=urn:a"),
            ("P-03 repeated, and once empty", "grant_type=client_credentials&scope=write&scope=&scope=write"),
        ],
        |form| token(form).assert_400("invalid_request"),
    );
}

#[test]
fn p_03_a_repeated_parameter_is_refused_without_basic_too() {
    let app = &shared().post_app;
    let credentials = format!("client_id={}&client_secret={}", app.client_id, app.client_secret);
    for repeated in [format!("client_id={}", app.client_id), format!("client_secret={}", app.client_secret)] {
        let form = format!("{GRANT}&{credentials}&{repeated}");
        let answer = Request::form(&format!("{ALPHA}/access_token"), form).send(&shared().server);
        answer.assert_400("invalid_request");
    }
}

#[test]
fn p_04_p_05_p_08_p_18_a_parameter_without_a_value_is_an_absent_one() {
    token(format!("{GRANT}&scope=")).assert_token("write");
    token(format!("{GRANT}&scope")).assert_token("write");
    token(format!("{GRANT}&client_secret=")).assert_token("write");
    token(format!("{GRANT}&client_assertion=&client_assertion_type=&client_id=")).assert_token("write");
    // Every parameter that an endpoint knows, with and without its equals sign, once and twice, in the body and in the query.
    for endpoint in ENDPOINTS.into_iter().filter(|endpoint| endpoint.method == Method::Post) {
        let form = if endpoint.parameters.contains(&"grant_type") { GRANT } else { "token=none" };
        let names = endpoint.parameters.iter().copied().chain(client_auth::parameters());
        for name in names.chain(["realm"]) {
            for empty in [format!("{name}="), name.to_owned(), format!("{name}=&{name}=")] {
                for (query, body) in
                    [("", format!("{empty}&{form}")), ("", format!("{form}&{empty}")), (&*empty, form.to_owned())]
                {
                    let request = Request::form(&format!("{ALPHA}/{}?{query}", endpoint.path), body).by(&shared().app);
                    let answer = request.send(&shared().server);
                    assert_eq!(answer.status, 200, "{} {empty} {query}: {answer:?}", endpoint.path);
                }
            }
        }
    }
    each_row(
        [
            ("P-05 empty grant type", "grant_type="),
            ("P-18 grant type without =", "grant_type"),
            ("P-08 names are case-sensitive", "GRANT_TYPE=client_credentials"),
            ("P-08 and not trimmed", "grant_type+=client_credentials"),
            ("P-16 JavaScript's array notation is another name", "grant_type[]=client_credentials"),
        ],
        |form| token(form).assert_400("invalid_request"),
    );
}

#[test]
fn p_06_an_empty_value_counts_for_nothing_beside_another() {
    token(format!("{GRANT}&scope=&scope=a")).assert_token("a");
    token(format!("{GRANT}&scope=a&scope&scope=")).assert_token("a");
    token(format!("grant_type&{GRANT}")).assert_token("write");
    let app = &shared().post_app;
    let credentials =
        format!("client_id=&client_id={}&client_secret={}&client_secret=", app.client_id, app.client_secret);
    let request = Request::form(&format!("{ALPHA}/access_token"), format!("{GRANT}&{credentials}"));
    request.send(&shared().server).assert_token("write");
    let issued = token(GRANT).assert_token("write");
    for (endpoint, more) in
        [("introspect", "token_type_hint=&token_type_hint=access_token"), ("token/revoke", "token=")]
    {
        let form = format!("token=&token={issued}&{more}");
        let answer = Request::form(&format!("{ALPHA}/{endpoint}"), form).by(&shared().app).send(&shared().server);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(endpoint != "introspect" || answer.json()["active"] == true, "{answer:?}");
    }
    shared().server.introspect(&shared().app, &issued).assert_inactive();
}

#[test]
fn p_07_p_09_p_10_p_11_p_12_p_17_forms_that_mean_the_same_are_read_the_same() {
    each_row(
        [
            ("P-07 unknown parameter", ("grant_type=client_credentials&foo=bar", "write")),
            ("P-07 unknown parameter twice", ("grant_type=client_credentials&foo=1&foo=2", "write")),
            ("P-09 encoded name", ("%67rant_type=client_credentials", "write")),
            ("P-10 encoded value", ("grant_type=client%5Fcredentials", "write")),
            ("P-10 lower-case hex", ("grant_type=client%5fcredentials", "write")),
            ("P-11 + is a space", ("grant_type=client_credentials&scope=a+b", "a b")),
            ("P-11 %20 is a space", ("grant_type=client_credentials&scope=a%20b", "a b")),
            ("P-12 %2B is a plus", ("grant_type=client_credentials&scope=a%2Bb", "a+b")),
            ("P-17 no name", ("=x&grant_type=client_credentials", "write")),
            ("P-17 empty pairs", ("&&grant_type=client_credentials&&", "write")),
            ("P-17 a lone =", ("=&grant_type=client_credentials&=", "write")),
        ],
        |(form, scope)| drop(token(form).assert_token(scope)),
    );
}

#[test]
fn p_13_p_19_what_does_not_decode_is_refused() {
    each_row(
        [
            ("P-13 %zz", &b"grant_type=client_credentials&scope=%zz"[..]),
            ("P-13 a lone %", b"grant_type=client_credentials&scope=%"),
            ("P-13 half an escape", b"grant_type=client_credentials&scope=a%f"),
            ("P-13 half an escape before &", b"grant_type=client_credentials&scope=a%f&x=1"),
            ("P-13 %u0041", b"grant_type=client_credentials&scope=%u0041"),
            ("P-13 a sign in an escape", b"grant_type=client_credentials&scope=%+1"),
            ("P-13 in a parameter that is not known", b"grant_type=client_credentials&foo=%zz"),
            ("P-13 in a name", b"grant_type=client_credentials&%zz=1"),
            ("P-19 byte order mark", b"\xef\xbb\xbfgrant_type=client_credentials"),
        ],
        |form| token(form).assert_400("invalid_request"),
    );
    // An encoded byte order mark makes another name, and grant_type is missing.
    token("%EF%BB%BFgrant_type=client_credentials").assert_400("invalid_request");
}

#[test]
fn p_15_nul_never_ends_a_value() {
    let app = &shared().app;
    token(format!("{GRANT}&scope=write%00")).assert_400("invalid_scope");
    token(format!("{GRANT}%00")).assert_400("unsupported_grant_type");
    token("grant_type%00=client_credentials").assert_400("invalid_request");
    let nul = format!("{ALPHA}/access_token");
    for authorization in [
        basic(&format!("{}%00", app.client_id), &app.client_secret),
        basic(&format!("{}\0", app.client_id), &app.client_secret),
        basic(&app.client_id, &format!("{}%00", app.client_secret)),
        basic(&app.client_id, &format!("{}\0x", app.client_secret)),
    ] {
        let request = Request::form(&nul, GRANT).header("Authorization", authorization);
        request.send(&shared().server).assert_401("alpha");
    }
    let post = &shared().post_app;
    for (id, secret) in [("%00", ""), ("", "%00")] {
        let form = format!("{GRANT}&client_id={}{id}&client_secret={}{secret}", post.client_id, post.client_secret);
        Request::form(&nul, form).send(&shared().server).assert_401("alpha");
    }
    let token = shared().server.token(app, "write");
    shared().server.introspect(app, &format!("{token}%00")).assert_400("invalid_request");
    shared().server.revoke(app, &format!("{token}%00")).assert_400("invalid_request");
    shared().server.introspect(app, &token).assert_active();
}

#[test]
fn p_16_a_semicolon_does_not_separate() {
    token("grant_type=client_credentials;scope=a").assert_400("unsupported_grant_type");
    token("scope=a;grant_type=client_credentials").assert_400("invalid_request");
}

#[test]
fn p_24_a_list_in_brackets_is_refused_with_what_to_send() {
    let server = &shared().server;
    for endpoint in ENDPOINTS.into_iter().filter(|endpoint| endpoint.method == Method::Post) {
        let form = if endpoint.parameters.contains(&"grant_type") { GRANT } else { "token=none" };
        let path = format!("{ALPHA}/{}", endpoint.path);
        for name in endpoint.parameters.iter().copied().chain(client_auth::parameters()) {
            for list in [
                format!("{name}[]=x"),
                format!("{name}%5B%5D=x"),
                format!("{name}[0]=x"),
                format!("{name}[]="),
                format!("{name}[a]"),
            ] {
                let answer = Request::form(&path, format!("{form}&{list}")).by(&shared().app).send(server);
                answer.assert_400("invalid_request");
                let description = answer.json()["error_description"].to_string();
                assert!(description.contains(" send "), "{list}: {description}");
                // What is meant is said by name where it is a list.
                let is_list = ["scope", "resource", "audience"].contains(&name);
                assert_eq!(description.contains(&format!("send {name} once")), is_list, "{list}: {description}");
                Request::form(&format!("{path}?{list}"), form)
                    .by(&shared().app)
                    .send_raw(server)
                    .assert_400("invalid_request");
            }
        }
        let ignored = format!("{form}&foo[]=x&x[scope]=read&[]=x&scope.0=read");
        assert_eq!(Request::form(&path, ignored).by(&shared().app).send(server).status, 200);
    }
}

#[test]
fn p_25_a_realm_beside_the_path_is_the_paths_or_refused() {
    let server = &shared().server;
    let bases = [
        ("/oauth2", &shared().root_app, "/", "/alpha"),
        ("/am/oauth2", &shared().root_app, "/root", "alpha"),
        ("/oauth2/realms/root", &shared().root_app, "", "%2Falpha"),
        (ALPHA, &shared().app, "/alpha", "/beta"),
        (ALPHA, &shared().app, "alpha", "/"),
    ];
    let documents = [".well-known/oauth-authorization-server", ".well-known/openid-configuration", "connect/jwk_uri"];
    for (base, client, own, other) in bases {
        for endpoint in ENDPOINTS.into_iter().filter(|endpoint| endpoint.method == Method::Post) {
            let form = if endpoint.parameters.contains(&"grant_type") { GRANT } else { "token=none" };
            let path = format!("{base}/{}", endpoint.path);
            let by_query = |realm: &str| Request::form(&format!("{path}?realm={realm}"), form).by(client).send(server);
            assert_eq!(by_query(own).status, 200, "{path} {own}");
            // In the body it is a parameter of nobody's.
            let in_body = Request::form(&path, format!("{form}&realm={other}")).by(client).send(server);
            assert_eq!(in_body.status, 200, "{path}");
            for answer in [by_query(other), by_query("/nowhere"), by_query("/alpha/beta")] {
                answer.assert_400("invalid_request");
                assert!(answer.text().contains("name the realm in the path"), "{answer:?}");
            }
            // Credentials are not looked at before.
            Request::form(&format!("{path}?realm={other}"), form).send(server).assert_400("invalid_request");
        }
        let below = documents.map(|document| format!("{base}/{document}"));
        for path in below.into_iter().chain([format!("/.well-known/oauth-authorization-server{base}")]) {
            let ask = |realm: &str| Request::new("GET", &format!("{path}?realm={realm}")).send(server);
            assert_eq!(ask(own).status, 200, "{path} {own}");
            ask(other).assert_400("invalid_request");
            ask("/nowhere").assert_400("invalid_request");
        }
    }
}

#[test]
fn p_21_values_are_not_trimmed() {
    each_row(
        [
            ("P-21 line feed", "grant_type=client_credentials%0A"),
            ("P-21 trailing space", "grant_type=client_credentials+"),
            ("P-21 leading space", "grant_type=%20client_credentials"),
            ("P-21 tab", "grant_type=client_credentials%09"),
            ("P-21 raw line feed", "grant_type=client_credentials\n"),
            ("P-21 quotes", "grant_type=%22client_credentials%22"),
        ],
        |form| token(form).assert_400("unsupported_grant_type"),
    );
}

#[test]
fn p_22_p_23_characters_are_compared_byte_for_byte() {
    token(format!("{GRANT}&scope=%E2%82%AC")).assert_400("invalid_scope");
    token(format!("{GRANT}&scope=wri%CC%87te")).assert_400("invalid_scope");
    let secret = &shared().app.client_secret;
    each_row(
        [
            ("P-23 full-width letters", "\u{ff53}hared-app"),
            ("P-23 a homoglyph", "sh\u{430}red-app"),
            ("P-23 decomposed", "share\u{301}d-app"),
            ("P-23 composed", "shar\u{e9}d-app"),
            ("P-23 another case", "Shared-App"),
            ("P-23 another hyphen", "shared\u{2010}app"),
            ("P-23 trailing space", "shared-app "),
        ],
        |id| {
            let request = Request::form(&format!("{ALPHA}/access_token"), GRANT);
            let raw = request.clone().header("Authorization", basic(id, secret));
            let encoded = request.header("Authorization", basic(&crate::support::cli::percent_encode_all(id), secret));
            raw.send(&shared().server).assert_401("alpha");
            encoded.send(&shared().server).assert_401("alpha");
        },
    );
}

#[test]
fn i_06_v_04_the_token_parameter_is_read_by_the_same_rules() {
    let app = &shared().app;
    for endpoint in ["introspect", "token/revoke"] {
        each_row(
            [
                ("I-06 V-04 missing", "token_type_hint=access_token"),
                ("I-06 V-04 empty", "token="),
                ("I-06 V-04 no value", "token"),
                ("I-06 V-04 twice", "token=a&token=a"),
                ("I-06 V-04 another case", "Token=a"),
                ("I-06 V-04 not ASCII", "token=%C3%A9"),
                ("I-06 V-04 a line feed", "token=a%0A"),
                ("I-06 V-04 undecodable", "token=%zz"),
                ("I-07 V-05 hint twice", "token=a&token_type_hint=access_token&token_type_hint=access_token"),
            ],
            |form| {
                let request = Request::form(&format!("{ALPHA}/{endpoint}"), form).by(app);
                request.send(&shared().server).assert_400("invalid_request");
            },
        );
    }
}
