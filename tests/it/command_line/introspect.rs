//! `grantwell token introspect` and `token revoke`: a support case without curl, at our own server and at others.

use std::fs;

use serde_json::{Value, json};

use super::operator::{Ended, Operator};
use crate::support::https::{Authority, HttpsServer, Sent, json as answers_json, ok};
use crate::support::server::Server;
use crate::support::shared::{STATELESS_JWT, STORED_JWT};

/// An operator with a server, whose clients `app` and `rs` have their secrets in files and `keyed` its key.
struct Support {
    operator: Operator,
    server: Server,
}

impl Support {
    fn with_app(settings: &[&str]) -> Self {
        let operator = Operator::new();
        for (id, settings) in [("app", settings), ("other", &[]), ("rs", &["--scope", "am-introspect-all-tokens"])] {
            let created = operator.json(&[&["client", "create", "--id", id, "--scope", "read"], settings].concat());
            fs::write(operator.home.path().join(id), created.to_string()).expect("written");
            let secret = created["client_secret"].as_str().expect("a secret");
            fs::write(operator.home.path().join(format!("{id}.secret")), format!("{secret}\n")).expect("written");
        }
        let server = operator.server(|start| start.environment("GRANTWELL_FAILED_AUTH_LIMIT", "0"));
        Self { operator, server }
    }

    fn issuer(&self) -> String {
        format!("{}/am/oauth2/realms/root", self.server.url())
    }

    /// `grantwell token COMMAND … --client-id CLIENT …`, with the secret in its file.
    fn by(&self, client: &str, command: &[&str], settings: &[&str]) -> Ended {
        let issuer = self.issuer();
        let arguments = ["--issuer", &issuer, "--client-id", client, "--secret-file", client];
        self.operator.run(&[&["token"], command, &arguments, settings].concat())
    }

    /// Leaves the answer of `token get` in the file `answer`, and gives the token.
    fn token(&self) -> String {
        let answer = self.by("app", &["get"], &["--scope", "read"]).json();
        fs::write(self.operator.home.path().join("answer"), answer.to_string()).expect("written");
        answer["access_token"].as_str().expect("a token").to_owned()
    }
}

fn is_not_active(ended: &Ended) {
    assert_eq!(ended.status, Some(3), "{}", ended.stderr);
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).expect("JSON"), json!({ "active": false }));
    assert!(ended.stderr.contains("note: the server does not say why the token is not active"), "{}", ended.stderr);
}

#[test]
fn a_token_of_any_form_is_active_until_it_is_revoked() {
    for form in [&[][..], &STORED_JWT, &STATELESS_JWT] {
        let support = Support::with_app(form);
        let token = support.token();

        let active = support.by("app", &["introspect", "answer"], &[]).json();
        assert_eq!((&active["active"], &active["client_id"]), (&json!(true), &json!("app")), "{form:?}");
        assert_eq!((&active["scope"], &active["iss"]), (&json!("read"), &json!(support.issuer())));
        let shown = support.by("rs", &["introspect", "answer"], &["--output", "table"]);
        assert_eq!(shown.status, Some(0), "{}", shown.stderr);
        let position =
            |name: &str| shown.stdout.find(&format!("│ {name} ")).unwrap_or_else(|| panic!("{}", shown.stdout));
        let standard = ["active", "scope", "client_id", "token_type", "exp", "iat", "sub", "aud", "iss", "jti"];
        assert!(standard.map(position).is_sorted(), "{}", shown.stdout);
        assert!(shown.stdout.contains("Z, in 59 min)") || shown.stdout.contains("Z, in 60 min)"), "{}", shown.stdout);

        let revoked = support.by("app", &["revoke", "answer"], &[]);
        assert_eq!(revoked.json()["outcome"], "revoked_or_unknown");
        assert_eq!(revoked.stderr.contains("takes it until it expires"), !form.is_empty(), "{}", revoked.stderr);
        is_not_active(&support.by("app", &["introspect", "answer"], &[]));
        is_not_active(&support.by("rs", &["introspect", "answer"], &[]));
        // A second time there is nothing to end, and the answer claims no more than that.
        let again = support.by("app", &["revoke", "answer"], &["--output", "table"]);
        assert_eq!(again.status, Some(0), "{}", again.stderr);
        assert!(again.stdout.starts_with("The server answers that this token is not, or no longer, active there."));
        assert!(again.stdout.lines().all(|line| line.len() <= 80), "{}", again.stdout);
        for ended in [&shown, &revoked, &again] {
            assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(&token));
        }
    }
}

#[test]
fn a_secret_is_taken_from_a_file_or_standard_input_and_sent_either_way() {
    let support = Support::with_app(&["--auth-method", "client_secret_basic", "--auth-method", "client_secret_post"]);
    let token = support.token();
    let issuer = support.issuer();
    let asked = ["token", "introspect", "answer", "--issuer", &issuer, "--client-id", "app", "--secret-file"];
    let secret = fs::read_to_string(support.operator.home.path().join("app.secret")).expect("written");
    for ended in [
        support.operator.run(&[&asked[..], &["app.secret"]].concat()),
        support.operator.run(&[&asked[..], &["app.secret", "--auth-method", "client_secret_post"]].concat()),
        support.operator.fed(&[&asked[..], &["-"]].concat(), &secret),
        support.operator.fed(&[&asked[..], &["-"]].concat(), secret.trim_end()),
    ] {
        assert_eq!(ended.json()["active"], true);
    }
    // The token by standard input, alone and as a header has it.
    let asked = ["token", "introspect", "--issuer", &issuer, "--client-id", "app", "--secret-file", "app"];
    let header = format!("authorization: bearer {token}\r\n");
    for text in [token.clone(), format!("Bearer {token}\n"), header, format!("\"{token}\"\n")] {
        assert_eq!(support.operator.fed(&asked, &text).json()["active"], true);
    }
    let both = ["token", "introspect", "--issuer", &issuer, "--client-id", "app", "--secret-file", "-"];
    support.operator.fed(&both, &token).is_refusal(2, "would both be read from standard input");
}

#[test]
fn a_client_with_a_key_asks_and_revokes_too() {
    let support = Support::with_app(&[]);
    let operator = &support.operator;
    operator.json(&["client", "create", "--id", "keyed", "--scope", "read", "--auth-method", "private_key_jwt"]);
    operator.json(&["client", "key", "generate", "keyed", "--out", "keyed.jwk"]);
    let issuer = support.issuer();
    let run = |command: &[&str]| {
        let arguments = ["--issuer", &issuer, "--client-id", "keyed", "--key", "keyed.jwk"];
        operator.run(&[&["token"], command, &arguments].concat())
    };
    let answer = run(&["get", "--scope", "read"]).json().to_string();
    fs::write(operator.home.path().join("answer"), answer).expect("written");
    assert_eq!(run(&["introspect", "answer"]).json()["client_id"], "keyed");
    assert_eq!(run(&["revoke", "answer"]).json()["client_id"], "keyed");
    is_not_active(&run(&["introspect", "answer"]));
}

#[test]
fn whose_token_it_is_decides_and_what_may_be_the_reason_is_said() {
    let support = Support::with_app(&STORED_JWT);
    support.token();
    let others = support.by("other", &["introspect", "answer"], &[]);
    is_not_active(&others);
    for said in
        ["it was issued to client app", "'other' may not be allowed", "am-introspect-all-tokens in its registration"]
    {
        assert!(others.stderr.contains(said), "{said}: {}", others.stderr);
    }
    support.by("other", &["revoke", "answer"], &[]).is_refusal(1, "Only the client that it was issued to ends it so");
    assert_eq!(support.by("app", &["introspect", "answer"], &[]).json()["active"], true);
    // Of a stranger's realm.
    let issuer = support.issuer();
    let strange = support.operator.run(&[
        "token",
        "introspect",
        "answer",
        "--issuer",
        &format!("{issuer}/realms/nowhere"),
        "--client-id",
        "app",
        "--secret-file",
        "app",
    ]);
    strange.is_refusal(1, "answered 404 Not Found; is --issuer the issuer of a realm");
}

#[test]
fn what_is_wrong_with_the_proof_or_the_token_is_said_and_never_repeated() {
    let support = Support::with_app(&[]);
    let token = support.token();
    let secret = fs::read_to_string(support.operator.home.path().join("app.secret")).expect("written");
    let secret = secret.trim_end();
    fs::write(support.operator.home.path().join("wrong"), "not-the-secret-of-app").expect("written");
    fs::write(support.operator.home.path().join("empty"), "\nsecond").expect("written");
    fs::write(support.operator.home.path().join("two"), format!("{token} {token}")).expect("written");
    let issuer = support.issuer();
    for (file, secret_file, status, why) in [
        ("answer", "wrong", 1, "answered 401 Unauthorized: invalid_client"),
        ("answer", "wrong", 1, "with this secret and with client_secret_basic"),
        ("answer", "other", 1, "the file has the secret of another client"),
        ("answer", "empty", 1, "there is no secret in the first line"),
        ("answer", secret, 1, "--secret-file: there is no file of the name that was given"),
        (&*token, "app", 1, "there is no file of the name that was given"),
        ("two", "app", 1, "give the token and nothing else"),
    ] {
        for command in ["introspect", "revoke"] {
            let arguments = ["--issuer", &issuer, "--client-id", "app", "--secret-file", secret_file];
            let ended = support.operator.run(&[&["token", command, file], &arguments[..]].concat());
            ended.is_refusal(status, why);
            assert!(!ended.stderr.contains(&token) && !ended.stderr.contains(secret), "{}", ended.stderr);
        }
    }
    let log = support.server.stderr();
    assert!(!log.contains(&token) && !log.contains(secret), "{log}");
}

/// An operator, and a server of somebody else that the test writes.
struct Elsewhere {
    operator: Operator,
    server: HttpsServer,
}

const TOKEN: &str = "opaque-token-of-somebody-else-1234";
const SECRET: &str = "correct horse battery staple";

impl Elsewhere {
    /// One that has its metadata at `document` and answers at its endpoints with `answer`.
    async fn answering(document: &'static str, answer: Vec<Sent>) -> Self {
        let (operator, authority) = (Operator::new(), Authority::new());
        let port = std::sync::Arc::new(std::sync::OnceLock::<u16>::new());
        let known = std::sync::Arc::clone(&port);
        let server = HttpsServer::start_by_path(authority.server(&["localhost"]), move |path| {
            let base = format!("https://localhost:{}", known.get().expect("set before anybody asks"));
            if path == document {
                let metadata = json!({
                    "issuer": format!("{base}/realms/one/"),
                    "introspection_endpoint": format!("{base}/introspect"),
                    "revocation_endpoint": format!("{base}/revoke"),
                });
                return answers_json("", &metadata.to_string());
            }
            if path == "/introspect" || path == "/revoke" { answer.clone() } else { status("404 Not Found", "", "") }
        })
        .await;
        port.set(server.address.port()).expect("once");
        for (name, text) in [("ca", &*authority.pem()), ("token", TOKEN), ("secret", SECRET)] {
            fs::write(operator.home.path().join(name), text).expect("written");
        }
        Self { operator, server }
    }

    fn run(&self, command: &str, settings: &[&str]) -> Ended {
        let issuer = self.server.url("localhost", "/realms/one");
        let arguments = ["--issuer", &issuer, "--client-id", "app", "--secret-file", "secret"];
        let arguments = [&["token", command, "token"], &arguments[..], settings].concat();
        let ended = tokio::task::block_in_place(|| self.operator.run(&arguments));
        for text in [TOKEN, SECRET, "YXBwOmNvcnJlY3Q"] {
            assert!(!ended.stderr.contains(text) && !ended.stdout.contains(text), "{}{}", ended.stdout, ended.stderr);
        }
        ended
    }
}

fn status(status: &str, headers: &str, body: &str) -> Vec<Sent> {
    let length = body.len();
    vec![Sent::Bytes(format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}").into())]
}

const AS_OPENID: &str = "/realms/one/.well-known/openid-configuration";

#[tokio::test(flavor = "multi_thread")]
async fn other_servers_are_asked_where_their_metadata_says() {
    let answer = json!({
        "scope": "a", "zebra": 1, "active": true, "exp": 4_102_444_800_u64, "username": "evil\u{202e}txt", "echoed": TOKEN,
        "aud": ["one", "two"], "nested": {"token": format!("x {TOKEN}"), "secret": SECRET, SECRET: 1},
    });
    for document in [
        "/realms/one/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/realms/one",
        AS_OPENID,
    ] {
        let elsewhere = Elsewhere::answering(document, answers_json("", &answer.to_string())).await;
        let ended = elsewhere.run("introspect", &["--ca", "ca"]);
        assert_eq!(ended.json()["echoed"], "[...]", "{document}");
        assert_eq!(ended.json()["nested"], json!({"token": "x [...]", "secret": "[...]", "[...]": 1}));
        assert!(!ended.stdout.contains('\u{202e}'), "a terminal would turn the line round");
        // As the standard has them, then by name.
        let names = ["active", "scope", "username", "exp", "aud", "echoed", "nested", "zebra"];
        let positions = names.map(|name| ended.stdout.find(&format!("\n  \"{name}\":")));
        assert!(positions.iter().all(Option::is_some) && positions.is_sorted(), "{}", ended.stdout);
        let heads = elsewhere.server.heads();
        let asked = heads.last().expect("a request");
        assert!(
            asked.starts_with("post /introspect ") && asked.contains("\r\naccept: application/json\r\n"),
            "{asked}"
        );
        assert!(asked.contains("\r\nauthorization: basic "), "{asked}");

        let table = elsewhere.run("introspect", &["--ca", "ca", "--output", "table"]).stdout;
        for said in ["one, two", "4102444800 (2100-01-01 00:00:00Z, in ", "evil\\u{202e}txt"] {
            assert!(table.contains(said), "{table}");
        }
        assert!(!table.contains('\u{202e}'), "{table}");
        let revoked = elsewhere.run("revoke", &["--ca", "ca"]);
        assert_eq!((revoked.status, revoked.stderr.as_str()), (Some(0), ""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_says_what_to_look_at() {
    let echo = json!({"error": "invalid_request", "error_description": format!("what is {TOKEN} or {SECRET}?")});
    let html = "<html><body>Sign in</body></html>";
    for (answer, said) in [
        (
            status("401 Unauthorized", "", r#"{"error": "invalid_client"}"#),
            "invalid_client; is the client registered there",
        ),
        (status("400 Bad Request", "", &echo.to_string()), "invalid_request (what is [...] or [...]?)"),
        (status("429 Too Many Requests", "retry-after: 7\r\n", ""), "answered 429 Too Many Requests; ask again in 7 s"),
        (
            status("503 Service Unavailable", "retry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n", html),
            "answered 503 Service Unavailable; ask again after Wed, 21 Oct 2026 07:28:00 GMT",
        ),
        (
            status("302 Found", "location: https://localhost:1/\r\n", ""),
            "answered 302 Found; it sends the request elsewhere",
        ),
        (status("403 Forbidden", "", html), "answered 403 Forbidden"),
    ] {
        let elsewhere = Elsewhere::answering(AS_OPENID, answer).await;
        for command in ["introspect", "revoke"] {
            elsewhere.run(command, &["--ca", "ca"]).is_refusal(1, said);
        }
    }
    for (answer, said) in [
        (status("403 Forbidden", "", html), "does not let this client introspect"),
        (ok("", html), "answered what is not an object in JSON"),
        (answers_json("", "[true]"), "answered what is not an object in JSON"),
        (answers_json("", r#"{"active": "true"}"#), "without a member active that is true or false"),
        (
            vec![
                Sent::Bytes("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"active\": true, \"x\": \"".into()),
                Sent::Endless(vec![b'a'; 4096]),
            ],
            "it has more than 64 KiB",
        ),
    ] {
        Elsewhere::answering(AS_OPENID, answer).await.run("introspect", &["--ca", "ca"]).is_refusal(1, said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_believed_or_reached_gets_nothing() {
    let elsewhere = Elsewhere::answering(AS_OPENID, answers_json("", "{}")).await;
    elsewhere.run("introspect", &[]).is_refusal(1, "nobody whom this system trusts vouches for its certificate");
    assert!(elsewhere.server.heads().is_empty());
    let port = elsewhere.server.address.port();
    let other = format!("https://localhost:{port}/realms/two");
    let ask = |issuer: &str| {
        let arguments = ["token", "introspect", "token", "--client-id", "app", "--secret-file", "secret", "--ca", "ca"];
        let arguments = [&arguments[..], &["--issuer", issuer]].concat();
        tokio::task::block_in_place(|| elsewhere.operator.run(&arguments))
    };
    ask(&other).is_refusal(1, "answered 404 Not Found; is --issuer the issuer of a realm");
    ask("http://auth.example.com").is_refusal(1, "goes to no other machine without TLS");
    ask("https://localhost:1").is_refusal(1, "nothing listens there");
    assert!(elsewhere.server.heads().iter().all(|head| head.starts_with("get ")));
}
