//! Client authentication: rows CA-* of the protocol's cases (RFC 6749 §2.3, §2.3.1, RFC 7617).

use std::time::Duration;

use crate::support::cli::{Registered, basic, basic_of, percent_encode_all};
use crate::support::http::{Answer, Request};
use crate::support::shared::{ALPHA, ALPHA_CHALLENGE, shared};
use crate::support::{NOTICED_WITHIN, each_row, poll};

const GRANT: &str = "grant_type=client_credentials";

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
    for (endpoint, form) in [("access_token", GRANT), ("introspect", "token=x"), ("token/revoke", "token=x")] {
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
            ("CA-09 two spaces", good.replacen(' ', "  ", 1).into_bytes()),
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
            ("CA-14 empty", b"".to_vec()),
        ],
        |value| with_authorization(value).assert_401("alpha"),
    );
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

#[test]
fn ca_30_failures_lock_nobody_out() {
    let client = shared().store.register("alpha", "ca30-guessed", &["--scope", "a", "--default-scope", "a"]);
    for attempt in 0..50 {
        let guess = client.with_secret(&format!("canary-{attempt}"));
        request().by(&guess).send(&shared().server).assert_401("alpha");
    }
    request().by(&client).send(&shared().server).assert_token("a");
    request().by(&shared().app).send(&shared().server).assert_token("write");
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
