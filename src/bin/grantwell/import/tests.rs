//! Whatever an export says: the import never ends in a panic, never shows a secret, and never writes what apply would refuse.

use std::collections::BTreeSet;
use std::fs;

use grantwell::core::management::plan::{Declaration, Plan, PlanOptions, Snapshot};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_json_makes_it_panic_or_show_a_secret(from in product(), value in export()) {
        imported(&value, from);
    }

    #[test]
    fn no_change_of_a_real_export_makes_it_panic_or_show_a_secret(
        from in product(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), json_value()), 1..4),
    ) {
        let mut value = fixture(from);
        for (index, change) in changes {
            let mut paths = Vec::new();
            paths_of(&value, String::new(), &mut paths);
            let path = index.get(&paths);
            if !is_of_a_secret(path) {
                *value.pointer_mut(path).expect("there") = change;
            }
        }
        imported(&value, from);
    }

    #[test]
    fn what_is_written_as_yaml_is_read_as_it_was(name in "\\PC{1,40}", claim in "\\PC{0,40}", kid in "[ -~]{1,20}") {
        let client = json!([{
            "client_id": "a", "client_name": name, "contacts": [claim, "yes", "1e3", "~", "- a", "a: b # c"],
            "grant_types": ["client_credentials"], "scope": "null true 0x1f",
            "jwks": { "keys": [key(&kid)] }, "token_endpoint_auth_method": "private_key_jwt"
        }]);
        imported(&client, Product::Hydra);
    }
}

#[test]
fn no_member_of_another_form_makes_it_panic_or_show_a_secret() {
    let others = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!("\u{1b}[31m|\u{202e}"),
        json!([null, 7]),
        json!(["a b", ""]),
        json!({ "keys": 7 }),
        json!({ "inherited": true, "value": { "inherited": "", "value": [[]] } }),
    ];
    for from in Product::ALL {
        let value = fixture(from);
        let mut paths = Vec::new();
        paths_of(&value, String::new(), &mut paths);
        for path in paths.iter().filter(|path| !is_of_a_secret(path)) {
            for other in &others {
                let mut value = value.clone();
                *value.pointer_mut(path).expect("there") = other.clone();
                let said = match read(value, from, None) {
                    Ok(export) => {
                        let declared: Vec<_> = export.clients.iter().map(client::Client::declared).collect();
                        json!([declared, report(export, from, &name())]).to_string()
                    }
                    Err(error) => error.to_string(),
                };
                assert!(!said.contains(SECRET), "{path}: {said}");
            }
        }
    }
}

#[test]
fn an_id_that_is_json_is_not_shown() {
    for (from, member) in
        [(Product::Hydra, "client_id"), (Product::Keycloak, "clientId"), (Product::Auth0, "client_id")]
    {
        let id = json!({ "keys": [{ "k": SECRET }] }).to_string();
        imported(&json!([{ member: id, "grant_types": ["client_credentials"], "serviceAccountsEnabled": true }]), from);
    }
}

#[test]
fn a_url_with_a_password_is_left_out() {
    let url = format!("https://user:{SECRET}@app.example/callback?a=b");
    let client =
        json!([{ "client_id": "a", "grant_types": ["client_credentials"], "redirect_uris": [url], "audience": [url] }]);
    imported(&client, Product::Hydra);
}

#[test]
fn debug_shows_no_value() {
    let mut source = source::Source::of("client", json!({ "secret": SECRET, "other": [SECRET] })).expect("an object");
    let taken = source.any("secret").expect("there");
    assert!(!format!("{source:?}{taken:?}").contains(SECRET));
}

#[test]
fn every_member_that_nobody_knows_is_said_wherever_it_is() {
    for from in Product::ALL {
        let before = fixture(from);
        let (_, known) = import(before.clone(), from, None, &name()).expect("an export");
        let taken: BTreeSet<String> = ids(&known);
        let mut objects = Vec::new();
        paths_of(&before, String::new(), &mut objects);
        let is_section =
            |path: &&String| before.pointer(path).is_some_and(Value::is_object) && says_of_its_own(path, from);
        let objects: Vec<&String> = objects.iter().filter(is_section).collect();
        assert!(objects.len() > 2, "{from:?}");
        for path in objects {
            let mut value = before.clone();
            let members = value.pointer_mut(path).and_then(Value::as_object_mut).expect("an object");
            members.insert("zzz_new".to_owned(), json!({ "a": 1 }));
            let (_, report) =
                import(value.clone(), from, None, &name()).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(ids(&report), taken, "{path}");
            let client = path.split('/').find_map(|part| part.parse::<usize>().ok()).expect("of a client");
            let is_taken = report.clients[client].why.is_none();
            let said = report.clients[client].members.iter().any(|line| line.member.ends_with("zzz_new"));
            assert_eq!(said, is_taken, "{path}");
        }
    }
}

#[test]
fn of_two_members_that_mean_the_same_none_is_lost() {
    // Each member of each client that is taken, other than those whose value is the product's default.
    for (from, silent) in [
        (Product::Hydra, &["response_types", "subject_type", "userinfo_signed_response_alg"][..]),
        (Product::Keycloak, &["protocol", "nodeReRegistrationTimeout"][..]),
        (Product::Forgerock, &["_type"][..]),
        (Product::Auth0, &["oidc_conformant", "is_first_party", "custom_login_page_on"][..]),
    ] {
        let value = fixture(from);
        let (_, report) = import(value.clone(), from, None, &name()).expect("an export");
        let list = ["clients", "result"].iter().find_map(|list| value.get(list)).unwrap_or(&value);
        for (client, report) in list.as_array().expect("clients").iter().zip(&report.clients) {
            if report.why.is_some() {
                continue;
            }
            for (member, value) in client.as_object().expect("a client") {
                let empty = source::says_nothing(value) || matches!(value, Value::Bool(false)) || value == &json!(0);
                let line = |line: &report::Line| {
                    line.member == *member
                        || line.member.starts_with(&format!("{member}."))
                        || line.member.starts_with(&format!("{member}["))
                };
                let is_nested = value.as_object().is_some_and(|members| {
                    members.values().all(|value| value.get("inherited").is_some() || value.is_string())
                });
                assert!(
                    empty || is_nested || silent.contains(&member.as_str()) || report.members.iter().any(line),
                    "{from:?} {} {member}",
                    report.client_id
                );
            }
        }
    }
}

/// Imports it, and checks everything that holds of every import.
fn imported(value: &Value, from: Product) {
    let (document, report) = match import(value.clone(), from, None, &name()) {
        Ok(imported) => imported,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(SECRET), "{text}");
            assert!(text.len() < 1024, "{text}");
            return;
        }
    };
    let yaml = document.yaml(from, &report).expect("YAML");
    let json = serde_json::to_string(&report).expect("JSON");
    for text in [&yaml, &json, &report.text(None), &report.text(Some(80))] {
        assert!(!text.contains(SECRET), "{text}");
        assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{text:?}");
    }
    assert_eq!(report.taken + report.left_out, report.clients.len());
    assert!(yaml.ends_with("\n...\n"), "{yaml}");
    let read: Value = serde_saphyr::from_str(&yaml).expect("YAML that can be read");
    assert_eq!(read, serde_json::to_value(&document).expect("JSON"), "{yaml}");
    let declaration = Declaration::of(&[("file".to_owned(), read)]).expect("a declaration");
    assert_eq!(declaration.clients.len(), report.taken);
    Plan::make(&declaration, &Snapshot::default(), PlanOptions::default()).expect("a plan");
}

fn fixture(product: Product) -> Value {
    let path = format!("{}/tests/it/fixtures/import/{}.json", env!("CARGO_MANIFEST_DIR"), product.as_str());
    serde_json::from_str(&fs::read_to_string(&path).expect("a fixture")).expect("JSON")
}

fn name() -> DeclarationName {
    "name".parse().expect("a name")
}

fn ids(report: &Report) -> BTreeSet<String> {
    report.clients.iter().filter(|client| client.why.is_none()).map(|client| client.client_id.clone()).collect()
}

fn key(kid: &str) -> Value {
    json!({
        "kty": "EC", "kid": kid, "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    })
}

/// Whether an object is a client, or a part of one whose members are said one by one.
fn says_of_its_own(path: &str, from: Product) -> bool {
    let mut parts = path.split('/').skip(1);
    let list = if from == Product::Hydra { Some("") } else { parts.next() };
    let is_client = matches!(list, Some("" | "clients" | "result"))
        && parts.next().is_some_and(|part| part.parse::<usize>().is_ok());
    let rest: Vec<&str> = parts.collect();
    is_client
        && match (from, rest.as_slice()) {
            (_, []) => true,
            (Product::Keycloak, [part]) => *part == "attributes",
            (Product::Auth0, [part]) => *part == "jwt_configuration",
            (Product::Forgerock, [part]) => part.ends_with("ClientConfig"),
            _ => false,
        }
}

fn paths_of(value: &Value, path: String, paths: &mut Vec<String>) {
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| paths_of(value, format!("{path}/{}", escaped(name)), paths));
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(index, value)| paths_of(value, format!("{path}/{index}"), paths));
        }
        _ => {}
    }
    paths.push(path);
}

fn is_of_a_secret(path: &str) -> bool {
    SECRETS.iter().any(|name| path.contains(name))
}

fn product() -> impl Strategy<Value = Product> {
    select(Product::ALL.to_vec())
}

/// Exports of no product, with the names that each of them uses.
fn export() -> impl Strategy<Value = Value> {
    let container = select(vec!["clients", "items", "result", "application", "client", "data"]);
    let clients = || proptest::collection::vec(client(), 0..4);
    prop_oneof![
        json_value(),
        client(),
        clients().prop_map(Value::Array),
        (container, clients(), json_value())
            .prop_map(|(name, clients, other)| json!({ name: clients, "realm": "r", "users": other })),
    ]
}

fn client() -> impl Strategy<Value = Value> {
    let members = proptest::collection::vec((select(NAMES.to_vec()), json_value()), 0..12);
    (members, select(SECRETS.to_vec()), any::<bool>()).prop_map(|(members, secret, is_machine)| {
        let mut client: Map<String, Value> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if is_machine {
            let machine = json!({
                "client_id": "a", "grant_types": ["client_credentials"], "clientId": "a", "serviceAccountsEnabled": true, "_id": "a",
                "app_type": "non_interactive", "advancedOAuth2ClientConfig": { "grantTypes": ["client_credentials"] },
            });
            client.extend(machine.as_object().cloned().unwrap_or_default());
        }
        client.insert(secret.to_owned(), json!({ "x": [SECRET] }));
        client.insert("client_secret".to_owned(), json!(SECRET));
        client.insert("secret".to_owned(), json!(SECRET));
        client.insert("coreOAuth2ClientConfig".to_owned(), json!({ "userpassword": SECRET, "scopes": { "inherited": true, "value": ["a|b"] } }));
        Value::Object(client)
    })
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select(TEXTS.to_vec()).prop_map(Value::from),
        Just(key("2026")),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            proptest::collection::vec(
                (prop_oneof![select(NAMES.to_vec()).prop_map(str::to_owned), any::<String>()], inner),
                0..5
            )
            .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

const SECRET: &str = "planted-secret";
/// Members that nobody may see, and such as an import does not know.
const SECRETS: [&str; 12] = [
    "client_secret",
    "registration_access_token",
    "metadata",
    "secret",
    "registrationAccessToken",
    "client.secret.rotated",
    "userpassword",
    "signing_keys",
    "encryption_key",
    "client_metadata",
    "addons",
    "saml.signing.private.key",
];
const TEXTS: [&str; 14] = [
    "client_credentials",
    "private_key_jwt",
    "client_secret_post",
    "none",
    "jwt",
    "1h0m0s",
    "read write",
    "ES256",
    "https://api.example.com/a",
    "{\"keys\":[{\"kty\":\"oct\",\"k\":\"planted-secret\"}]}",
    "true",
    "-1",
    "a|b|c",
    "\u{1b}[31mred\u{202e}",
];
const NAMES: [&str; 60] = [
    "client_id",
    "clientId",
    "_id",
    "name",
    "client_name",
    "owner",
    "contacts",
    "scope",
    "grant_types",
    "redirect_uris",
    "token_endpoint_auth_method",
    "token_endpoint_auth_signing_alg",
    "jwks",
    "keys",
    "jwks_uri",
    "audience",
    "access_token_strategy",
    "client_credentials_grant_access_token_lifespan",
    "response_types",
    "realm",
    "clients",
    "clientScopes",
    "users",
    "enabled",
    "accessTokenLifespan",
    "defaultSignatureAlgorithm",
    "publicClient",
    "serviceAccountsEnabled",
    "clientAuthenticatorType",
    "attributes",
    "jwks.string",
    "use.jwks.string",
    "jwks.url",
    "access.token.lifespan",
    "protocolMappers",
    "protocolMapper",
    "config",
    "defaultClientScopes",
    "optionalClientScopes",
    "redirectUris",
    "coreOAuth2ClientConfig",
    "advancedOAuth2ClientConfig",
    "signEncOAuth2ClientConfig",
    "overrideOAuth2ClientConfig",
    "inherited",
    "value",
    "scopes",
    "defaultScopes",
    "accessTokenLifetime",
    "tokenEndpointAuthMethod",
    "jwkSet",
    "app_type",
    "client_authentication_methods",
    "jwt_configuration",
    "lifetime_in_seconds",
    "clientGrants",
    "resourceServers",
    "identifier",
    "callbacks",
    "status",
];
