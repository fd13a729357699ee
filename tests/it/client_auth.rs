//! Client authentication: rows CA-* of docs/protocol-cases.md (RFC 6749 §2.3, §2.3.1, RFC 7617).

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cli::{Registered, Store, basic, basic_of, percent_encode_all};
use crate::support::http::{Answer, GRANT, Request, form_endpoints};
use crate::support::server::{Server, Start};
use crate::support::shared::{ALPHA, ALPHA_CHALLENGE, shared};
use crate::support::{NOTICED_WITHIN, each_row, poll};

fn request() -> Request {
    Request::form(&format!("{ALPHA}/access_token"), GRANT)
}

fn with_authorization(value: impl AsRef<[u8]>) -> Answer {
    request().header("Authorization", value).send_raw(&shared().server)
}

fn with_form(form: &str) -> Request {
    Request::form(&format!("{ALPHA}/access_token"), format!("{GRANT}&{form}"))
}

fn post(client: &Registered) -> Answer {
    let form = format!("client_id={}&client_secret={}", client.client_id, percent_encode_all(&client.client_secret));
    with_form(&form).send(&shared().server)
}

#[test]
fn ca_01_i_04_v_08_a_request_without_credentials_is_401_with_a_challenge() {
    for (endpoint, form) in form_endpoints() {
        for (base, realm) in [(ALPHA, "alpha"), ("/oauth2", "root"), ("/am/oauth2/realms/root", "root")] {
            let answer = Request::form(&format!("{base}/{endpoint}"), form).send(&shared().server);
            answer.assert_401(realm);
        }
        let wrong = shared().app.with_secret("canary-of-a-wrong-secret");
        let answer = Request::form(&format!("{ALPHA}/{endpoint}"), form).by(&wrong).send(&shared().server);
        answer.assert_401("alpha");
        assert_eq!(answer.header("www-authenticate"), Some(ALPHA_CHALLENGE));
    }
}

#[test]
fn ca_02_ca_03_ca_32_basic_is_accepted_in_any_case() {
    let credentials = shared().app.basic().replacen("Basic ", "", 1);
    for scheme in ["Basic", "basic", "BASIC", "bAsIc"] {
        with_authorization(format!("{scheme} {credentials}")).assert_token("write");
    }
    for name in ["AUTHORIZATION", "authorization", "aUtHoRiZaTiOn"] {
        request().header(name, shared().app.basic()).send_raw(&shared().server).assert_token("write");
    }
    // HTTP itself takes white space off the ends of a value (RFC 9110 §5.5).
    with_authorization(format!(" \t{} \t", shared().app.basic())).assert_token("write");
    with_authorization("Basic  ").assert_401("alpha");
}

#[test]
fn ca_04_ca_05_an_encoded_and_a_plain_credential_are_the_same() {
    let client = shared().store.register("alpha", "ca04_dotted.id-1@host", &["--scope", "a", "--default-scope", "a"]);
    let (id, secret) = (&client.client_id, &client.client_secret);
    each_row(
        [
            ("CA-05 raw", basic(id, secret)),
            ("CA-04 every byte encoded", basic(&percent_encode_all(id), &percent_encode_all(secret))),
            ("CA-04 id encoded", basic(&percent_encode_all(id), secret)),
            ("CA-04 secret encoded", basic(id, &percent_encode_all(secret))),
            ("CA-04 as oauth4webapi encodes", basic("ca04%5Fdotted%2Eid%2D1%40host", &secret.replace('-', "%2D"))),
        ],
        |authorization| drop(with_authorization(authorization).assert_token("a")),
    );
}

#[test]
fn ca_04_a_secret_with_reserved_characters_works_encoded() {
    let secret = "a:b c%d&e+f=g/h?\"i\\j~!*'()";
    let settings = [
        "--scope",
        "a",
        "--default-scope",
        "a",
        "--auth-method",
        "client_secret_basic",
        "--auth-method",
        "client_secret_post",
    ];
    let client = shared().store.register_with_secret("alpha", "ca04-reserved", secret, &settings);
    let encoded = percent_encode_all(secret);
    with_authorization(basic(&client.client_id, &encoded)).assert_token("a");
    with_authorization(basic(&client.client_id, &encoded.replace("%20", "+"))).assert_token("a");
    post(&client).assert_token("a");
    // Unencoded, `%d&` is no escape: the credential does not decode.
    with_authorization(client.basic()).assert_401("alpha");
}

#[test]
fn ca_06_to_ca_14_a_credential_that_does_not_decode_is_401() {
    let (id, secret) = (&shared().app.client_id, &shared().app.client_secret);
    let good = shared().app.basic();
    // Pairs whose base64 uses the two characters in which the alphabets differ.
    let url_safe = basic_of(b"\xfb\xff:secret").replace('+', "-").replace('/', "_");
    each_row(
        [
            ("CA-06 %zz in the id", basic("foo%zz", "bar").into_bytes()),
            ("CA-06 %zz in the secret", basic(id, "%zz").into_bytes()),
            ("CA-06 a lone % after the secret", basic(id, &format!("{secret}%")).into_bytes()),
            ("CA-07 not base64", b"Basic !!!".to_vec()),
            ("CA-07 trailing garbage", format!("{good}!").into_bytes()),
            ("CA-07 trailing garbage after padding", b"Basic Zm9vOmJhcg==!".to_vec()),
            ("CA-07 url-safe alphabet", url_safe.into_bytes()),
            ("CA-07 inner =", b"Basic Zm9v=OmJhcg==".to_vec()),
            ("CA-07 missing padding", b"Basic Zm9vOmJhcg".to_vec()),
            ("CA-07 too much padding", b"Basic Zm9vOmJhcg===".to_vec()),
            ("CA-07 stray bits", b"Basic Zm9vOmJhch==".to_vec()),
            ("CA-08 no colon", b"Basic Zm9v".to_vec()),
            ("CA-08 an encoded colon", basic_of(b"foo%3Abar").into_bytes()),
            ("CA-09 the scheme alone", b"Basic".to_vec()),
            ("CA-09 the scheme and spaces", b"Basic   ".to_vec()),
            ("CA-09 a space and a tab", good.replacen(' ', " \t", 1).into_bytes()),
            ("CA-09 a tab", good.replacen(' ', "\t", 1).into_bytes()),
            ("CA-09 a second word", format!("{good} x").into_bytes()),
            ("CA-09 a parameter", format!("{good}, charset=UTF-8").into_bytes()),
            ("CA-09 two credentials in one header", format!("{good}, {good}").into_bytes()),
            ("CA-10 empty id", basic("", secret).into_bytes()),
            ("CA-10 empty secret", basic(id, "").into_bytes()),
            ("CA-10 both empty", basic("", "").into_bytes()),
            ("CA-12 not UTF-8", basic_of(b"shared-app:\xff\xfe").into_bytes()),
            ("CA-12 escapes that are not UTF-8", basic(id, "%ff").into_bytes()),
            ("CA-12 a header that is not ASCII", b"Basic \xff\xfe".to_vec()),
            ("CA-13 a line feed in the secret", basic(id, &format!("{secret}\n")).into_bytes()),
            ("CA-13 an escaped line feed", basic(id, &format!("{secret}%0A")).into_bytes()),
            ("CA-13 a control character in the id", basic("shared\u{1}app", secret).into_bytes()),
            ("CA-13 DEL", basic(id, &format!("{secret}\u{7f}")).into_bytes()),
            ("CA-13 unicode in the id", basic("sh\u{e4}red-app", secret).into_bytes()),
            ("CA-13 a space after the secret", basic(id, &format!("{secret} ")).into_bytes()),
            ("CA-14 Bearer", b"Bearer canary".to_vec()),
            ("CA-14 Digest", b"Digest username=\"shared-app\", realm=\"alpha\"".to_vec()),
            ("CA-14 DPoP", b"DPoP canary".to_vec()),
            ("CA-14 a scheme of nobody's", b"Canary canary".to_vec()),
            ("CA-14 a longer scheme", good.replacen("Basic", "Basically", 1).into_bytes()),
            ("CA-14 no scheme", good.replacen("Basic ", "", 1).into_bytes()),
            ("CA-14 empty, and nothing else", b"".to_vec()),
        ],
        |value| with_authorization(value).assert_401("alpha"),
    );
}

#[test]
fn ca_09_several_spaces_may_follow_the_scheme_and_ca_33_an_empty_header_is_none() {
    let server = &shared().server;
    let (app, post_app) = (&shared().app, &shared().post_app);
    for (endpoint, form) in form_endpoints() {
        let ask = |form: &str, authorization: &[&str]| {
            let request = Request::form(&format!("{ALPHA}/{endpoint}"), form);
            authorization.iter().fold(request, |request, value| request.header("Authorization", value)).send_raw(server)
        };
        for spaces in ["  ", "     "] {
            let answer = ask(form, &[&app.basic().replacen(' ', spaces, 1)]);
            assert_eq!(answer.status, 200, "{endpoint} {answer:?}");
            ask(form, &[&format!("Bearer{spaces}canary")]).assert_401("alpha");
        }
        // In the body a secret is the only method; without one there is none.
        let credentials = format!("{form}&client_id={}&client_secret={}", post_app.client_id, post_app.client_secret);
        for empty in [&[""][..], &["  "], &["", ""]] {
            assert_eq!(ask(&credentials, empty).status, 200, "{endpoint}");
            ask(form, empty).assert_401("alpha");
        }
        for beside in [["", &app.basic()], [&app.basic(), ""]] {
            assert_eq!(ask(form, &beside).status, 200, "{endpoint}");
        }
    }
}

#[test]
fn ca_07_two_authorization_headers_are_refused() {
    let good = shared().app.basic();
    let twice = request().header("Authorization", &good).header("Authorization", &good);
    twice.send_raw(&shared().server).assert_401("alpha");
    let wrong = shared().app.with_secret("canary-of-a-wrong-secret").basic();
    for (first, second) in [(&good, &wrong), (&wrong, &good)] {
        let answer =
            request().header("Authorization", first).header("Authorization", second).send_raw(&shared().server);
        answer.assert_401("alpha");
    }
}

#[test]
fn ca_15_ca_24_a_client_authenticates_only_by_the_methods_it_registered() {
    let store = &shared().store;
    let post_only = store.register(
        "alpha",
        "ca15-post-only",
        &["--scope", "a", "--default-scope", "a", "--auth-method", "client_secret_post"],
    );
    // Whoever named no method has both; ForgeRock's own curl lines send the secret in the body.
    let created = store.run(&[
        "client",
        "create",
        "--realm",
        "alpha",
        "--id",
        "ca15-default",
        "--scope",
        "a",
        "--default-scope",
        "a",
    ]);
    let created: Value = serde_json::from_str(&created).expect("JSON");
    assert_eq!(created["token_endpoint_auth_methods"], json!(["client_secret_basic", "client_secret_post"]));
    let client_secret = created["client_secret"].as_str().expect("a secret").to_owned();
    let default = Registered { realm: "alpha".into(), client_id: "ca15-default".into(), client_secret };
    let form = format!("{GRANT}&client_id={}&client_secret={}", default.client_id, default.client_secret);
    for base in [ALPHA.to_owned(), format!("/am{ALPHA}")] {
        let path = format!("{base}/access_token");
        Request::form(&path, &form).send(&shared().server).assert_token("a");
        Request::form(&path, GRANT).by(&default).send(&shared().server).assert_token("a");
        // And not both at once.
        Request::form(&path, &form).by(&default).send(&shared().server).assert_400("invalid_request");
    }
    // Registered for both, either works.
    post(&shared().post_app).assert_token("write");
    request().by(&shared().post_app).send(&shared().server).assert_token("write");
    // Registered for one, only that.
    post(&post_only).assert_token("a");
    request().by(&post_only).send(&shared().server).assert_401("alpha");
    post(&shared().app).assert_401("alpha");
    // And the same at the other endpoints.
    for endpoint in ["introspect", "token/revoke"] {
        let path = format!("{ALPHA}/{endpoint}");
        let body = |client: &Registered| {
            let form = format!("token=x&client_id={}&client_secret={}", client.client_id, client.client_secret);
            Request::form(&path, form).send(&shared().server)
        };
        assert_eq!(body(&post_only).status, 200);
        body(&shared().app).assert_401("alpha");
        Request::form(&path, "token=x").by(&post_only).send(&shared().server).assert_401("alpha");
    }
}

#[test]
fn ca_10_post_with_an_empty_or_missing_half_is_401() {
    let app = &shared().post_app;
    each_row(
        [
            ("CA-10 empty secret", format!("client_id={}&client_secret=", app.client_id)),
            ("CA-10 empty id", format!("client_id=&client_secret={}", app.client_secret)),
            ("CA-10 secret only", format!("client_secret={}", app.client_secret)),
            ("CA-25 id only", format!("client_id={}", app.client_id)),
            ("CA-10 id encoded twice", format!("client_id=shared%252Dpost&client_secret={}", app.client_secret)),
            ("CA-13 not VSCHAR", format!("client_id={}&client_secret=%C3%A9", app.client_id)),
        ],
        |form| with_form(&form).send(&shared().server).assert_401("alpha"),
    );
}

#[test]
fn ca_16_ca_17_two_methods_at_once_are_refused() {
    let app = &shared().post_app;
    let secret = format!("client_secret={}", app.client_secret);
    let id = format!("client_id={}", app.client_id);
    let assertion_type = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    each_row(
        [
            ("CA-16 Basic and the same secret", format!("{id}&{secret}")),
            ("CA-16 Basic and a secret without id", secret.clone()),
            ("CA-17 Basic and an assertion", format!("{assertion_type}&client_assertion=a.b.c")),
            ("CA-17 Basic and an assertion's type", assertion_type.to_owned()),
            ("CA-17 Basic and an assertion without type", "client_assertion=a.b.c".to_owned()),
        ],
        |form| with_form(&form).by(app).send(&shared().server).assert_400("invalid_request"),
    );
    let both = format!("{id}&{secret}&{assertion_type}&client_assertion=a.b.c");
    with_form(&both).send(&shared().server).assert_400("invalid_request");
    // A header of another scheme is a method, too.
    let bearer = with_form(&format!("{id}&{secret}")).header("Authorization", "Bearer canary");
    bearer.send(&shared().server).assert_400("invalid_request");
    // An assertion alone is a method that is not built.
    with_form(&format!("{assertion_type}&client_assertion=a.b.c")).send(&shared().server).assert_401("alpha");
}

#[test]
fn ca_18_ca_19_a_client_id_beside_basic_must_be_the_same() {
    let app = &shared().app;
    with_form(&format!("client_id={}", app.client_id)).by(app).send(&shared().server).assert_token("write");
    for other in ["shared-other", "Shared-App", "shared-app%20", "canary"] {
        with_form(&format!("client_id={other}")).by(app).send(&shared().server).assert_400("invalid_request");
    }
    // Encoded in the header and plain in the body, it is the same id.
    let encoded = basic(&percent_encode_all(&app.client_id), &app.client_secret);
    let request = with_form(&format!("client_id={}", app.client_id)).header("Authorization", encoded);
    request.send(&shared().server).assert_token("write");
}

#[test]
fn ca_21_ca_22_ca_23_ca_24_every_failure_is_the_same_answer() {
    let store = &shared().store;
    let settings = ["--scope", "a", "--default-scope", "a"];
    let disabled = store.register("alpha", "ca23-disabled", &settings);
    store.client("disable", &disabled, &[]);
    let post_only =
        store.register("alpha", "ca24-post-only", &[&settings[..], &["--auth-method", "client_secret_post"]].concat());
    let deleted = store.register("alpha", "ca22-deleted", &settings);
    store.client("delete", &deleted, &[]);
    let app = &shared().app;

    let first = request().by(&app.with_secret("wrong")).send_raw(&shared().server);
    first.assert_401("alpha");
    each_row(
        [
            ("CA-21 another wrong secret", app.with_secret("gws_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").basic()),
            ("CA-22 unknown client", basic("ca22-unknown", "wrong")),
            ("CA-22 an id that cannot be registered", basic("arn:aws:secretsmanager:x", "wrong")),
            ("CA-22 an id longer than any", basic(&"a".repeat(4096), "wrong")),
            ("CA-22 a client of another realm", shared().root_app.basic()),
            ("CA-22 the same id in another realm", shared().beta_app.basic()),
            ("CA-22 deleted client, right secret", deleted.basic()),
            ("CA-23 disabled client, right secret", disabled.basic()),
            ("CA-23 disabled client, wrong secret", disabled.with_secret("wrong").basic()),
            ("CA-24 method not registered, right secret", post_only.basic()),
            ("CA-07 malformed", "Basic !!!".to_owned()),
        ],
        |authorization| {
            // Twice: the second answer may come from a cache.
            for _ in 0..2 {
                assert_eq!(with_authorization(&authorization).comparable(), first.comparable());
            }
        },
    );
}

#[test]
fn ca_23_i_13_a_client_that_is_disabled_loses_access_and_its_tokens_until_it_is_enabled() {
    let (store, server) = (&shared().store, &shared().server);
    let client = store.register("alpha", "ca23-toggled", &["--scope", "a", "--default-scope", "a"]);
    let token = server.token(&client, "a");
    server.introspect(&shared().resource_server, &token).assert_active();

    store.client("disable", &client, &[]);
    server.wait_until_refused("a disabled client is refused", &client);
    server.wait_until_inactive("its token is inactive", &shared().resource_server, &token);
    server.introspect(&client, &token).assert_401("alpha");
    server.revoke(&client, &token).assert_401("alpha");

    store.client("enable", &client, &[]);
    server.wait_until_granted("an enabled client is let in", &client, "").assert_token("a");
    poll("its token is active again", NOTICED_WITHIN, || {
        (server.introspect(&shared().resource_server, &token).json()["active"] == true).then_some(())
    });
}

#[test]
fn ca_26_after_a_rotation_both_secrets_work_until_the_previous_one_is_revoked() {
    let (store, server) = (&shared().store, &shared().server);
    let first = store.register("alpha", "ca26-rotated", &["--scope", "a", "--default-scope", "a"]);
    server.token(&first, "a");

    let second = store.rotate_secret(&first, &[]);
    assert_ne!(first.client_secret, second.client_secret);
    // A mismatch may look again at once: no waiting for a cache.
    server.wait_until_granted("the new secret works", &second, "").assert_token("a");
    server.token_request(&first, "").assert_token("a");

    let third = store.rotate_secret(&second, &[]);
    server.wait_until_granted("the third secret works", &third, "").assert_token("a");
    server.token_request(&second, "").assert_token("a");
    server.wait_until_refused("the first secret ends with the second rotation", &first);

    store.client("rotate-secret", &third, &["--revoke-previous"]);
    server.wait_until_refused("the previous secret was ended", &second);
    server.token_request(&third, "").assert_token("a");
}

#[test]
fn ca_28_a_secret_stops_working_at_its_time() {
    let settings = ["--scope", "a", "--default-scope", "a", "--secret-lifetime", "3"];
    let client = shared().store.register("alpha", "ca28-expiring", &settings);
    shared().server.token_request(&client, "").assert_token("a");
    poll("the secret expires", Duration::from_secs(10), || {
        (shared().server.token_request(&client, "").status != 200).then_some(())
    });
    shared().server.token_request(&client, "").assert_401("alpha");
}

/// A server of its own, which counts failures as `settings` say.
fn counting(store: &Store, settings: &[(&str, &str)], arguments: &[&str]) -> Server {
    let start = Start::on(&store.argument()).arguments(arguments).environment("GRANTWELL_FAILED_AUTH_LIMIT", "");
    settings.iter().fold(start, |start, (name, value)| start.environment(name, value)).spawn()
}

fn ca_30_store() -> (Store, Registered, Registered) {
    let store = Store::new();
    store.set_realm("alpha", &[]);
    let settings = ["--scope", "a", "--default-scope", "a"];
    let (client, other) =
        (store.register("alpha", "ca30", &settings), store.register("alpha", "ca30-other", &settings));
    (store, client, other)
}

#[test]
fn ca_30_the_eleventh_guess_of_a_source_is_not_looked_at_and_no_other_client_notices() {
    let (store, client, other) = ca_30_store();
    let server = counting(&store, &[], &[]);
    let disabled = store.register("alpha", "ca30-disabled", &["--scope", "a"]);
    store.client("disable", &disabled, &[]);
    let unknown = Registered { client_id: "ca30-unknown".into(), ..client.clone() };
    // Known, disabled and unknown alike, down to the last byte.
    let [known_answers, disabled_answers, unknown_answers] = [&client, &disabled, &unknown].map(|guessed| {
        let mut answers = Vec::new();
        for attempt in 0..10 {
            let answer = request().by(&guessed.with_secret(&format!("canary-{attempt}"))).send(&server);
            answer.assert_401("alpha");
            answers.push(answer.comparable());
        }
        // The right secret or another guess: it is not looked at. Whatever a caller says of where it comes from.
        for secret in [&client.client_secret, "canary", "canary"] {
            for header in ["Forwarded", "X-Real-IP"] {
                let refused = request().by(&guessed.with_secret(secret)).header(header, "198.51.100.1");
                let refused = refused.send(&server);
                let seconds = refused.assert_429();
                assert!((1..=300).contains(&seconds), "{seconds}");
                let mut comparable = refused.comparable();
                comparable.1.retain(|(name, _)| name != "retry-after");
                answers.push(comparable);
            }
        }
        // At every endpoint.
        server.introspect(guessed, "x").assert_429();
        server.revoke(guessed, "x").assert_429();
        answers
    });
    assert_eq!(known_answers, disabled_answers);
    assert_eq!(known_answers, unknown_answers);
    request().by(&other).send(&server).assert_token("a");

    // In the log the refusal names the client where there is one, the source, and no guess.
    let log = server.stderr();
    let refused = |line: &&str| line.contains("too_many_failed_attempts") && line.contains("source=\"127.0.0.1\"");
    assert_eq!(log.lines().filter(refused).count(), 3 * 8, "{log}");
    assert_eq!(log.lines().filter(refused).filter(|line| line.contains("client_id=\"ca30\"")).count(), 8, "{log}");
    assert!(!log.contains("ca30-unknown") && !log.contains("canary"), "{log}");
}

#[test]
fn ca_30_nine_failures_and_a_success_begin_anew() {
    let (store, client, _) = ca_30_store();
    let server = counting(&store, &[], &[]);
    for _ in 0..3 {
        for _ in 0..9 {
            request().by(&client.with_secret("wrong")).send(&server).assert_401("alpha");
        }
        request().by(&client).send(&server).assert_token("a");
    }
    for _ in 0..10 {
        request().by(&client.with_secret("wrong")).send(&server).assert_401("alpha");
    }
    request().by(&client).send(&server).assert_429();
}

#[test]
fn ca_30_the_rightful_client_is_not_locked_out_from_where_it_is() {
    let (store, client, other) = ca_30_store();
    let server = counting(&store, &[], &["--trust-forwarded-for"]);
    let from = |client: &Registered, address: &str| {
        request().by(client).header("X-Forwarded-For", format!("192.0.2.77, {address}")).send(&server)
    };
    for address in ["203.0.113.5", "2001:db8:0:1::5"] {
        for _ in 0..10 {
            from(&client.with_secret("wrong"), address).assert_401("alpha");
        }
        from(&client, address).assert_429();
        from(&other, address).assert_token("a");
    }
    from(&client, "2001:db8:0:1:ffff::6").assert_429();
    from(&client, "2001:db8:0:2::5").assert_token("a");
    // That it works elsewhere helps the guesser nothing.
    from(&client, "203.0.113.6").assert_token("a");
    from(&client, "203.0.113.5").assert_429();
    // The proxy did not say: nobody to count for.
    for _ in 0..11 {
        from(&client.with_secret("wrong"), "unknown").assert_401("alpha");
    }
}

#[test]
fn ca_30_one_guess_at_each_of_many_clients_ends_for_their_source_only() {
    let (store, client, _) = ca_30_store();
    let settings = [("GRANTWELL_FAILED_AUTH_LIMIT", "2")];
    let server = counting(&store, &settings, &["--trust-forwarded-for"]);
    let guess = |number: u32, address: &str| {
        let guessed = Registered { client_id: format!("ca30-{number}"), ..client.with_secret("wrong") };
        request().by(&guessed).header("X-Forwarded-For", address).send(&server)
    };
    for number in 0..40 {
        guess(number, "203.0.113.5").assert_401("alpha");
    }
    guess(40, "203.0.113.5").assert_429();
    guess(40, "203.0.113.6").assert_401("alpha");
    request().by(&client).header("X-Forwarded-For", "203.0.113.6").send(&server).assert_token("a");
}

#[test]
fn ca_30_a_client_with_an_old_secret_in_one_process_has_no_other_client_refused() {
    let (store, client, other) = ca_30_store();
    let server = counting(&store, &[("GRANTWELL_FAILED_AUTH_LIMIT", "2")], &[]);
    // More failures than the source is let have as twenty clients.
    for _ in 0..50 {
        request().by(&client.with_secret("old")).send(&server).assert_401("alpha");
        request().by(&client).send(&server).assert_token("a");
    }
    request().by(&other).send(&server).assert_token("a");
}

#[test]
fn ca_30_the_right_secret_by_another_method_is_no_guess() {
    let (store, _, _) = ca_30_store();
    let settings = ["--scope", "a", "--default-scope", "a", "--auth-method", "client_secret_post"];
    let client = store.register("alpha", "ca30-post", &settings);
    let server = counting(&store, &[], &[]);
    let post = |client: &Registered| {
        let form = format!("client_id={}&client_secret={}", client.client_id, client.client_secret);
        with_form(&form).send(&server)
    };
    // As a library does that tries Basic first, in more processes than the limit has failures.
    for _ in 0..12 {
        request().by(&client).send(&server).assert_401("alpha");
    }
    post(&client).assert_token("a");
    // A wrong one is a guess by any method, and the right one by another forgets none.
    for attempt in 0..10 {
        if attempt % 2 == 0 {
            request().by(&client.with_secret("wrong")).send(&server).assert_401("alpha");
        } else {
            post(&client.with_secret("wrong")).assert_401("alpha");
        }
        if attempt < 9 {
            request().by(&client).send(&server).assert_401("alpha");
        }
    }
    post(&client).assert_429();
    let log = server.stderr();
    let lines = |reason: &str| log.lines().filter(|line| line.contains(reason)).count();
    // The log has the first ten of them.
    assert!(lines("auth_method_not_registered") >= 10, "{log}");
    assert_eq!(lines("wrong_secret"), 10, "{log}");
}

#[test]
fn ca_30_who_is_on_this_machine_and_speaks_for_another_is_not_counted_unless_it_is_trusted() {
    let (store, client, _) = ca_30_store();
    let server = counting(&store, &[], &[]);
    for number in 0..15 {
        let guess =
            request().by(&client.with_secret("wrong")).header("X-Forwarded-For", format!("198.51.100.{number}"));
        guess.send(&server).assert_401("alpha");
    }
    request().by(&client).send(&server).assert_token("a");
    let log = server.stderr();
    let warnings = log.lines().filter(|line| line.contains("WARN") && line.contains("--trust-forwarded-for")).count();
    assert_eq!(warnings, 1, "{log}");
}

#[test]
fn ca_30_an_ipv4_address_is_one_source_in_every_form_and_a_site_has_the_tries_of_ten() {
    let (store, client, _) = ca_30_store();
    let server = counting(&store, &[("GRANTWELL_FAILED_AUTH_LIMIT", "4")], &["--trust-forwarded-for"]);
    let from =
        |client: &Registered, address: &str| request().by(client).header("X-Forwarded-For", address).send(&server);
    let wrong = client.with_secret("wrong");
    for address in ["203.0.113.5", "::ffff:203.0.113.5", "64:ff9b::203.0.113.5", "2002:cb00:7105::1"] {
        from(&wrong, address).assert_401("alpha");
    }
    for address in ["203.0.113.5", "2002:cb00:7105:1::1"] {
        from(&client, address).assert_429();
    }
    from(&client, "203.0.113.6").assert_token("a");
    for address in ["127.0.0.1", "127.9.9.9", "::1", "[::1]:4711"] {
        from(&wrong, address).assert_401("alpha");
    }
    from(&client, "127.0.0.2").assert_429();

    for network in 0..10 {
        for _ in 0..4 {
            from(&wrong, &format!("2001:db8:7:{network}::1")).assert_401("alpha");
        }
    }
    from(&client, "2001:db8:7:ffff::1").assert_429();
    from(&client, "2001:db8:8::1").assert_token("a");
}

#[test]
fn ca_30_guesses_made_at_once_are_no_more_than_one_after_another() {
    let (store, client, _) = ca_30_store();
    let server = counting(&store, &[], &[]);
    let statuses = thread::scope(|scope| {
        let guessers: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    (0..10).map(|_| request().by(&client.with_secret("wrong")).send(&server).status).collect::<Vec<_>>()
                })
            })
            .collect();
        guessers.into_iter().flat_map(|guesser| guesser.join().expect("no panic")).collect::<Vec<u16>>()
    });
    let count = |status| statuses.iter().filter(|other| **other == status).count();
    assert_eq!((count(401), count(429)), (10, 150), "{statuses:?}");
}

#[test]
fn ca_30_the_limit_ends_with_its_window_and_can_be_changed_or_left_out() {
    let (store, client, _) = ca_30_store();
    let short = [("GRANTWELL_FAILED_AUTH_LIMIT", "3"), ("GRANTWELL_FAILED_AUTH_WINDOW", "2")];
    let server = counting(&store, &short, &[]);
    // However slow the machine is: some window has three failures in it.
    let seconds = poll("a fourth attempt is refused", NOTICED_WITHIN, || {
        let answers = [(); 4].map(|()| request().by(&client.with_secret("wrong")).send(&server));
        answers.iter().find(|answer| answer.status == 429).map(Answer::assert_429)
    });
    assert!((1..=2).contains(&seconds), "{seconds}");
    server.wait_until_granted("the window ends", &client, "").assert_token("a");
    drop(server);

    let proxied = ["--behind-tls-proxy", "--issuer-base", "https://auth.example.com"];
    for (settings, arguments) in [(&[("GRANTWELL_FAILED_AUTH_LIMIT", "0")][..], &[][..]), (&[], &proxied)] {
        let server = counting(&store, settings, arguments);
        for _ in 0..50 {
            request().by(&client.with_secret("wrong")).send(&server).assert_401("alpha");
        }
        request().by(&client).send(&server).assert_token("a");
        let warned = server.stderr().contains("failed authentications are not limited");
        assert_eq!(warned, !arguments.is_empty(), "{}", server.stderr());
    }

    for (name, value) in [("LIMIT", "-1"), ("LIMIT", "10001"), ("WINDOW", "0"), ("WINDOW", "1h"), ("WINDOW", "86401")] {
        let name = format!("GRANTWELL_FAILED_AUTH_{name}");
        let output = Start::on(&store.argument()).environment(&name, value).expect_refusal();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && stderr.contains(&name), "{stderr}");
    }
}

#[test]
fn ca_31_a_secret_is_right_to_the_last_byte() {
    let secret = "0123456789abcdef0123456789abcdef";
    let client =
        shared().store.register_with_secret("alpha", "ca31-bytes", secret, &["--scope", "a", "--default-scope", "a"]);
    request().by(&client).send(&shared().server).assert_token("a");
    each_row(
        [
            ("CA-31 first byte", "X123456789abcdef0123456789abcdef"),
            ("CA-31 last byte", "0123456789abcdef0123456789abcdeX"),
            ("CA-31 shorter", "0123456789abcdef0123456789abcde"),
            ("CA-31 longer", "0123456789abcdef0123456789abcdef0"),
            ("CA-31 a prefix", "0"),
            ("CA-31 another case", "0123456789ABCDEF0123456789ABCDEF"),
        ],
        |secret| request().by(&client.with_secret(secret)).send(&shared().server).assert_401("alpha"),
    );
}

#[test]
fn ca_22_a_client_registered_after_it_was_refused_works_within_a_minute() {
    let (store, server) = (&shared().store, &shared().server);
    let early = Registered { realm: "alpha".into(), client_id: "ca22-late".into(), client_secret: "wrong".into() };
    for _ in 0..5 {
        request().by(&early).send(server).assert_401("alpha");
    }
    let client = store.register("alpha", "ca22-late", &["--scope", "a", "--default-scope", "a"]);
    server.wait_until_granted("a client newly registered is let in", &client, "").assert_token("a");
}

#[test]
fn a_deleted_clients_secret_never_gets_what_its_successor_may() {
    let shared = shared();
    let before = shared.store.register("alpha", "ca-successor", &["--scope", "a", "--default-scope", "a"]);
    shared.server.token(&before, "a");
    shared.store.client("delete", &before, &[]);
    let successor = shared.store.register("alpha", "ca-successor", &["--scope", "a admin", "--default-scope", "a"]);
    // Until the successor is let in, and once more after that, the old secret is tried.
    let deadline = std::time::Instant::now() + NOTICED_WITHIN;
    loop {
        assert!(std::time::Instant::now() < deadline, "the successor is let in");
        let noticed = shared.server.token_request(&successor, "scope=admin").status == 200;
        let answer = shared.server.token_request(&before, "scope=admin");
        assert_ne!(answer.status, 200, "{answer:?}");
        if noticed {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    shared.server.token_request(&before, "").assert_401("alpha");
}
