//! Trust rules at the command: registered, shown, removed, and explained for a caller.

use std::fs;
use std::path::PathBuf;

use grantwell::core::ports::Clock as _;
use grantwell::core::ports::Registrar as _;
use grantwell::core::realm::RealmName;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::system::SystemClock;
use serde_json::{Value, json};

use crate::support::cli::Store;
use crate::support::http::Request;
use crate::support::jws::{Signer, with};
use crate::support::server::Start;

const GITHUB: &str = "https://token.actions.githubusercontent.com";
const US: &str = "https://auth.example.com/oauth2";
const SECRET_TEXT: &str = "repo:octo-org/confidential:environment:prod";

/// A store whose realm root trusts GitHub, by a key that a test signs with.
struct World {
    store: Store,
    key: Signer,
}

impl World {
    fn new() -> Self {
        let store = Store::new();
        store.run(&["realm", "set", "root", "--default-scope", "read"]);
        let key = Signer::new("RS256");
        let issuer = json!({
            "name": "github", "issuer": GITHUB, "kind": "github", "max_age": 600, "single_use": true,
            "keys": {"jwks": {"keys": [with(key.named("one"), "alg", json!("RS256"))]}},
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let registry = SqliteRegistry::open(&store.directory().join("registry.db")).expect("opened");
        runtime.block_on(async {
            let mut realm = registry.read_realm(&RealmName::root()).await.expect("read").expect("a realm");
            realm.settings.trusted_issuers = vec![serde_json::from_value(issuer).expect("an issuer")];
            realm.revision += 1;
            registry.put_realm(&realm).await.expect("stored");
        });
        Self { store, key }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.store.directory().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    fn token(&self, environment: &str) -> String {
        let now = SystemClock.now().0;
        let claims = json!({
            "iss": GITHUB, "aud": US, "sub": SECRET_TEXT, "iat": now, "exp": now + 300, "jti": "a",
            "repository_id": "123456", "environment": environment,
        });
        self.key.jws(&json!({"alg": "RS256", "kid": "one", "typ": "JWT"}), &claims)
    }

    fn explained(&self, arguments: &[&str]) -> Value {
        let explain = ["trust", "explain", "--client", "deploy", "--output", "json"];
        let output = self.store.run_with_input(&[&explain[..], arguments].concat(), "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let explained: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
        let expected = if explained["admitted_by"].is_null() { 3 } else { 0 };
        assert_eq!((output.status.code(), &*stderr), (Some(expected), ""), "{explained}");
        explained
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.store.run_with_input(arguments, "");
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

const RULES: &str = "
trust:
  - name: deploy
    issuer: https://token.actions.githubusercontent.com
    claims:
      - {path: [repository_id], equals: 123456}
      - {path: [environment], equals: prod}
  - name: orders
    aws: {account: '111122223333', role: 'svc-*'}
";

#[test]
fn a_callers_token_is_explained_rule_by_rule_and_claim_by_claim() {
    let world = World::new();
    let rules = world.file("rules.yaml", RULES);
    let create = ["client", "create", "--id", "deploy", "--auth-method", "workload_identity", "--trust", &rules];
    world.store.run(&create);
    let token = world.file("token", &format!("{}\n", world.token("prod")));

    let explained = world.explained(&["--token", &token, "--audience", US]);
    assert_eq!(explained["admitted_by"], "deploy", "{explained}");
    let held: Vec<(&str, bool)> = explained["checks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|check| (check["of"].as_str().expect("a name"), check["held"] == true))
        .collect();
    let checks = ["client", "method", "issuer", "aud", "time", "signature", "max_age", "jti"];
    // Whether it was used before is the one thing that nobody but the server knows.
    assert_eq!(held, checks.map(|check| (check, check != "jti")));
    assert_eq!(explained["checks"][7]["held"], Value::Null);
    assert_eq!(explained["rules"][0]["satisfied"], true);
    assert_eq!(
        explained["rules"][1],
        json!({
            "name": "orders", "mode": "enforce", "satisfied": false,
            "demands": [{"of": "issuer", "held": false, "why": "different", "wanted": "AWS STS, registered in the realm", "found": GITHUB}],
        })
    );
    assert_eq!(explained["suggestion"], Value::Null, "it has a rule");

    // Another environment; another server; somebody else's signature.
    let staging = world.file("staging", &world.token("staging"));
    let explained = world.explained(&["--token", &staging, "--audience", US]);
    assert_eq!(explained["admitted_by"], Value::Null);
    let demand =
        json!({"of": "claims.environment", "held": false, "why": "different", "wanted": "prod", "found": "staging"});
    assert_eq!(explained["rules"][0]["demands"][2], demand);
    assert_eq!(
        explained["suggestion"],
        json!({"name": "staging", "issuer": GITHUB, "claims": [
            {"path": ["repository_id"], "equals": "123456"}, {"path": ["environment"], "equals": "staging"},
        ]})
    );
    let explained = world.explained(&["--token", &token, "--audience", "https://other.example.com"]);
    assert_eq!((&explained["admitted_by"], &explained["checks"][3]["held"]), (&Value::Null, &json!(false)));
    let forged = Signer::new("RS256");
    let parts: Vec<String> = world.token("prod").split('.').map(str::to_owned).collect();
    let forged = World { key: forged, ..world }.forged(&parts);
    assert_eq!((&forged.1["admitted_by"], &forged.1["checks"][5]["held"]), (&Value::Null, &json!(false)));
    assert_eq!(forged.1["suggestion"], Value::Null, "nobody vouches for it");
    assert_eq!(forged.1["checks"][5]["why"], "the token was not signed with a key of the issuer");

    // As people read it: no line is longer than the terminal, and nothing of the token but what its rules ask for.
    let world = forged.0;
    let explain = ["trust", "explain", "--client", "deploy", "--output", "table", "--token", &token];
    let shown = world.store.run(&explain);
    assert!(
        shown.contains("Rule deploy admits the caller as client deploy, if what was not checked holds."),
        "{shown}"
    );
    assert!(!shown.contains(SECRET_TEXT), "{shown}");
    // Nothing that a token says turns the line round.
    let reversed = world.file("reversed", &world.token("evil\u{202e}txt"));
    let explain = ["trust", "explain", "--client", "deploy", "--output", "table", "--token", &reversed];
    let shown_reversed = String::from_utf8(world.store.run_with_input(&explain, "").stdout).expect("text");
    assert!(shown_reversed.contains("evil\\u{202e}txt") && !shown_reversed.contains('\u{202e}'), "{shown_reversed}");
    for secret in world.token("prod").split('.').filter(|part| part.len() > 100) {
        assert!(!shown.contains(secret));
    }
}

impl World {
    /// What becomes of the claims of a token under another signature.
    fn forged(self, parts: &[String]) -> (Self, Value) {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let message = format!("{}.{}", parts[0], parts[1]);
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()));
        let token = self.file("forged", &format!("{message}.{signature}"));
        let explained = self.explained(&["--token", &token, "--audience", US]);
        (self, explained)
    }
}

#[test]
fn a_caller_of_the_door_is_explained_by_the_context_of_its_request() {
    let world = World::new();
    let rules = world.file("rules.yaml", RULES);
    world.store.run(&["client", "create", "--id", "deploy", "--auth-method", "aws_iam", "--trust", &rules]);
    let context = json!({"requestContext": {"authorizer": {"iam": {
        "accountId": "111122223333", "callerId": "AROAEXAMPLE000000001:session", "userId": "AROAEXAMPLE000000001:session",
        "userArn": "arn:aws:sts::111122223333:assumed-role/svc-orders/session", "principalOrgId": null,
    }}}});
    let file = world.file("event.json", &context.to_string());
    let explained = world.explained(&["--context", &file]);
    assert_eq!(explained["admitted_by"], "orders", "{explained}");
    assert_eq!(explained["rules"][0]["demands"][0]["why"], "absent");
    let suggested = world.store.run(&["trust", "suggest", "--context", &file]);
    let suggested: Value = serde_json::from_str(&suggested).expect("JSON");
    assert_eq!(suggested, json!({"name": "svc-orders", "aws": {"account": "111122223333", "role": "svc-orders"}}));

    let user =
        context.to_string().replace("assumed-role/svc-orders/session", "user/svc-orders").replace(":sts:", ":iam:");
    let user = world.file("user.json", &user);
    let said = world.refused(&["trust", "explain", "--client", "deploy", "--context", &user]);
    assert!(said.contains("is not a role of AWS"), "{said}");
    for (text, sentence) in [("{}", "names no caller"), ("x", "not JSON")] {
        let file = world.file("other", text);
        let said = world.refused(&["trust", "explain", "--client", "deploy", "--context", &file]);
        assert!(said.contains(sentence), "{said}");
    }
    let file = world.file("other", "not a token");
    let said = world.refused(&["trust", "suggest", "--token", &file]);
    assert!(said.contains("this is not a token of an issuer") && !said.contains("not a token\n"), "{said}");
}

#[test]
fn rules_are_shown_replaced_and_removed() {
    let world = World::new();
    let rules = world.file("rules.yaml", RULES);
    let output = world.store.run_with_input(&["client", "create", "--id", "deploy", "--trust", &rules], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("has trust rules that nothing looks at"), "{said}");
    let shown = world.store.run(&["client", "show", "deploy", "--output", "table"]);
    assert!(shown.contains("orders: account 111122223333, role svc-*"), "{shown}");

    let one = r#"{"name": "all", "aws": {"organization": "o-a1b2c3d4e5"}}"#;
    let update = ["client", "update", "deploy", "--auth-method", "aws_iam", "--trust", "-", "--output", "json"];
    let output = world.store.run_with_input(&update, one);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("any administrator of any account of the organization"), "{said}");
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["trust"], json!([{"name": "all", "aws": {"organization": "o-a1b2c3d4e5"}}]));

    let output = world.store.run_with_input(&["client", "update", "deploy", "--trust", "", "--output", "json"], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no trust rule says who it is"), "{said}");
    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(shown["trust"].is_null());

    let issuer = "{name: x, issuer: 'https://login.example.com', claims: [{path: [sub], equals: x}]}";
    let file = world.file("unknown.yaml", &format!("- {issuer}\n"));
    let said = world.refused(&["client", "update", "deploy", "--trust", &file]);
    assert!(said.contains("the realm does not trust the issuer https://login.example.com"), "{said}");
    let everybody = world.file("everybody.yaml", &format!("name: x\nissuer: {GITHUB}\n"));
    let said = world.refused(&["client", "update", "deploy", "--trust", &everybody]);
    assert!(said.contains("rule 'x': pins no owner: a rule for GitHub needs"), "{said}");
    let said = world.refused(&["client", "update", "deploy", "--trust", "no-such-file"]);
    assert!(said.contains("it could not be read"), "{said}");
}

#[test]
fn a_rule_that_admits_too_many_or_nobody_is_warned_of() {
    let world = World::new();
    let warned = |methods: &[&str], rule: Value| {
        let rules = world.file("warned.json", &rule.to_string());
        let methods: Vec<&str> = methods.iter().flat_map(|method| ["--auth-method", method]).collect();
        let create = [&["client", "create", "--id", "warned", "--trust", &rules], &methods[..]].concat();
        let output = world.store.run_with_input(&create, "");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        world.store.run(&["client", "delete", "warned", "--yes"]);
        stderr
    };
    let (door, token) = (&["aws_iam"][..], &["workload_identity"][..]);
    let both = &["aws_iam", "workload_identity"][..];
    let aws = |more: Value| {
        let mut aws = json!({"account": "111122223333"});
        aws.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"name": "its", "aws": aws})
    };
    let unit = "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/";
    let every = "rule 'its' of client 'warned' is satisfied by every role of the account or organizational unit";
    for rule in [
        aws(json!({})),
        aws(json!({"role": "*"})),
        json!({"name": "its", "aws": {"organization": "o-a1b2c3d4e5", "organization_path": unit}}),
    ] {
        assert!(warned(both, rule.clone()).contains(every), "{rule}");
    }
    for rule in [
        aws(json!({"role": "svc-*"})),
        aws(json!({"tags": {"team": "billing"}})),
        aws(json!({"role_id": "AROAEXAMPLEEXAMPLE1234"})),
    ] {
        assert!(!warned(both, rule.clone()).contains("is satisfied by every role"), "{rule}");
    }

    let claims = json!({"name": "its", "aws": {"account": "111122223333", "role": "a"}, "claims": [{"path": ["sub"], "present": true}]});
    let github = json!({"name": "its", "issuer": GITHUB, "claims": [{"path": ["repository_id"], "equals": "1"}]});
    for rule in [
        aws(json!({"role": "a", "tags": {"team": "billing"}})),
        aws(json!({"role": "a", "organization_path": unit})),
        claims,
        github,
    ] {
        assert!(
            warned(door, rule.clone()).contains("nobody can satisfy rule 'its' of client 'warned' by aws_iam"),
            "{rule}"
        );
        assert!(!warned(token, rule.clone()).contains("nobody can satisfy"), "{rule}");
        assert!(!warned(both, rule.clone()).contains("nobody can satisfy"), "{rule}");
    }
    let by_id = aws(json!({"role_id": "AROAEXAMPLEEXAMPLE1234"}));
    assert!(
        warned(token, by_id.clone()).contains("nobody can satisfy rule 'its' of client 'warned' by workload_identity")
    );
    assert!(!warned(door, by_id).contains("nobody can satisfy"));
}

#[test]
fn what_is_only_observed_is_told_once_of_a_request() {
    let world = World::new();
    let pin = |name: &str, id: &str, mode: &str| json!({"name": name, "issuer": GITHUB, "mode": mode, "claims": [{"path": ["repository_id"], "equals": id}]});
    let rules = json!([pin("wide", "123456", "observe"), pin("other", "1", "observe"), pin("strict", "2", "enforce")]);
    let rules = world.file("rules.json", &rules.to_string());
    world.store.run(&["client", "create", "--id", "deploy", "--auth-method", "workload_identity", "--trust", &rules]);
    let server = Start::on(&world.store.argument()).spawn();
    let now = SystemClock.now().0;
    let claims = json!({
        "iss": GITHUB, "aud": format!("{}/oauth2", server.url()), "sub": SECRET_TEXT, "iat": now, "exp": now + 300, "jti": "a",
        "repository_id": "123456",
    });
    let assertion = world.key.jws(&json!({"alg": "RS256", "kid": "one", "typ": "JWT"}), &claims);
    let form = format!(
        "grant_type=client_credentials&client_id=deploy&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={assertion}"
    );
    let answer = Request::form("/oauth2/access_token", form).send(&server);
    assert_eq!(answer.status, 401, "{answer:?}");
    // The client is looked at again, because it may have been given a rule since, and is refused again.
    let (_stdout, log) = {
        server.signal("TERM");
        server.into_output()
    };
    let told: Vec<&str> = log.lines().filter(|line| line.contains("a trust rule is only observed")).collect();
    assert_eq!(told.len(), 2, "{log}");
    assert!(told[0].contains("trust_rule=\"wide\"") && told[0].contains("would_admit=true"), "{told:?}");
    assert!(told[1].contains("trust_rule=\"other\"") && told[1].contains("would_admit=false"), "{told:?}");
    assert!(log.contains("no_trust_rule") && log.contains("rule strict (claims.repository_id: different)"), "{log}");
}
