//! `grantwell import`: exports of other products become files that `grantwell apply` takes.
//!
//! The exports in `fixtures/import` are made for these tests, in the shapes that the products document:
//! - Ory Hydra: `OAuth2Client` of its admin API (<https://www.ory.sh/docs/hydra/reference/api>), `hydra list oauth2-clients --format json`;
//! - Keycloak: `RealmRepresentation` and `ClientRepresentation` (<https://www.keycloak.org/docs-api/latest/rest-api/index.html>),
//!   `kc.sh export` (<https://www.keycloak.org/server/importExport>);
//! - ForgeRock and PingAM: `realm-config/agents/OAuth2Client` (<https://docs.pingidentity.com/pingam/latest/am-oauth2/oauth2-register-client.html>),
//!   frodo's `OAuth2ClientExportInterface` (<https://github.com/rockcarver/frodo-lib>), Amster's `OAuth2Clients`;
//! - Auth0: `GET /api/v2/clients`, `client-grants`, `resource-servers` (<https://auth0.com/docs/api/management/v2>), the Deploy CLI
//!   (<https://github.com/auth0/auth0-deploy-cli>).

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::operator::{Ended, Operator};

#[test]
fn an_export_becomes_a_file_that_is_applied_as_it_is() {
    for product in PRODUCTS {
        let operator = Operator::new();
        let imported = import(&operator, product, &[]);
        assert_eq!(imported.status, Some(0), "{}", imported.stderr);
        let expected = fs::read_to_string(fixture(&format!("{product}.yaml"))).expect("the file as it has to be");
        assert_eq!(imported.stdout, expected, "{product}");

        fs::write(operator.home.path().join("realm.yaml"), &imported.stdout).expect("written");
        let planned = operator.run(&["apply", "-f", "realm.yaml", "--plan", "--output", "json"]);
        assert_eq!(planned.status, Some(3), "{product}: {}", planned.stderr);
        assert!(!planned.stderr.contains("error"), "{}", planned.stderr);
        let applied = operator.run(&["apply", "-f", "realm.yaml", "--secrets-dir", "secrets"]);
        assert_eq!(applied.status, Some(0), "{product}: {}", applied.stderr);
        let again = operator.run(&["apply", "-f", "realm.yaml", "--prune", "--plan"]);
        assert_eq!(again.status, Some(0), "{product}: {}{}", again.stdout, again.stderr);
    }
}

#[test]
fn no_secret_is_in_the_file_or_in_what_is_said() {
    for product in PRODUCTS {
        let operator = Operator::new();
        let export = fs::read_to_string(fixture(&format!("{product}.json"))).expect("an export");
        assert!(export.matches(SECRET).count() > 2, "{product}");
        for output in ["table", "json"] {
            let Ended { stdout, stderr, .. } = import(&operator, product, &["--output", output]);
            assert!(!format!("{stdout}{stderr}").contains(SECRET), "{product}: {stdout}{stderr}");
        }
        // Broken in the middle of a secret, and where a secret has another type.
        let half = export.find(SECRET).expect("a secret") + SECRET.len();
        for broken in
            [export[..half].to_owned(), export.replacen(r#""clientId""#, r#""planted-secret""#, 1).replace('[', "[7,")]
        {
            let Ended { status, stdout, stderr } = operator.fed(&["import", "--from", product, "-"], &broken);
            assert_eq!((status, stdout.as_str()), (Some(1), ""), "{product}");
            assert!(!stderr.contains(SECRET), "{stderr}");
        }
    }
}

#[test]
fn what_becomes_of_each_member_is_said() {
    for (product, expected) in [
        (
            "hydra",
            json!({
                "client_id": "taken", "client_name": "taken", "owner": "taken", "contacts": "taken", "scope": "taken",
                "grant_types": "taken", "token_endpoint_auth_method": "taken", "client_secret": "left_out",
                "registration_access_token": "left_out", "audience": "changed",
                "client_credentials_grant_access_token_lifespan": "taken", "access_token_strategy": "taken",
                "jwt_bearer_grant_access_token_lifespan": "left_out", "client_uri": "left_out", "created_at": "left_out",
                "updated_at": "left_out", "metadata": "left_out", "x_future": "left_out", "x_token": "left_out"
            }),
        ),
        (
            "keycloak",
            json!({
                "clientId": "taken", "serviceAccountsEnabled": "taken", "enabled": "taken", "name": "taken",
                "defaultClientScopes": "changed", "optionalClientScopes": "taken",
                "clientScopes.orders.read.protocolMappers[0]": "taken", "redirectUris": "left_out",
                "clientAuthenticatorType": "taken", "secret": "left_out", "attributes.client.secret.rotated": "left_out",
                "attributes.access.token.lifespan": "taken", "attributes.access.token.signed.response.alg": "taken",
                "protocolMappers[0]": "taken", "protocolMappers[1]": "left_out", "standardFlowEnabled": "left_out",
                "attributes.oidc.ciba.grant.enabled": "left_out", "roles of its service account": "left_out",
                "webOrigins": "left_out", "description": "left_out", "id": "left_out",
                "attributes.client.secret.creation.time": "left_out", "attributes.acme.tier": "left_out"
            }),
        ),
        (
            "forgerock",
            json!({
                "_id": "taken", "coreOAuth2ClientConfig.status": "taken", "coreOAuth2ClientConfig.clientName": "taken",
                "advancedOAuth2ClientConfig.contacts": "taken", "coreOAuth2ClientConfig.scopes": "taken",
                "coreOAuth2ClientConfig.defaultScopes": "taken", "advancedOAuth2ClientConfig.grantTypes": "changed",
                "advancedOAuth2ClientConfig.tokenEndpointAuthMethod": "taken",
                "coreOAuth2ClientConfig.userpassword-encrypted": "left_out",
                "coreOAuth2ClientConfig.accessTokenLifetime": "taken",
                "overrideOAuth2ClientConfig.statelessTokensEnabled": "taken", "_rev": "left_out",
                "coreOAuth2ClientConfig.authorizationCodeLifetime": "left_out",
                "advancedOAuth2ClientConfig.customProperties": "left_out",
                "advancedOAuth2ClientConfig.isConsentImplied": "left_out",
                "overrideOAuth2ClientConfig.issueRefreshToken": "left_out",
                "overrideOAuth2ClientConfig.accessTokenModificationScript": "left_out",
                "advancedOAuth2ClientConfig.esoteric": "left_out", "coreOpenIDClientConfig.jwtTokenLifetime": "left_out"
            }),
        ),
        (
            "auth0",
            json!({
                "client_id": "taken", "app_type": "left_out", "name": "taken", "grant_types": "taken",
                "clientGrants[0].audience": "taken", "clientGrants[0].scope": "taken",
                "token_endpoint_auth_method": "taken", "client_secret": "left_out", "signing_keys": "left_out",
                "resourceServers[0].token_lifetime": "taken", "jwt_configuration.lifetime_in_seconds": "left_out",
                "resourceServers[0].signing_alg": "taken", "jwt_configuration.alg": "left_out", "refresh_token": "left_out",
                "description": "left_out", "client_metadata": "left_out", "tenant": "left_out", "x_future": "left_out", "x_token": "left_out"
            }),
        ),
    ] {
        let report = report(&Operator::new(), product, &[]);
        let of_first =
            report["clients"].as_array().expect("clients").iter().find(|client| client["becomes"] == "taken");
        let lines = of_first.expect("a client")["members"].as_array().expect("members");
        let said: Value = lines
            .iter()
            .map(|line| (line["member"].as_str().expect("a name").to_owned(), line["becomes"].clone()))
            .collect();
        assert_eq!(said, expected, "{product}");
        assert!(lines.iter().all(|line| line["what"].as_str().is_some_and(|what| what.len() > 4)), "{product}");
    }
}

#[test]
fn clients_that_never_use_client_credentials_are_left_out_and_it_is_said_why() {
    for (product, expected) in [
        (
            "hydra",
            json!({ "web": "client_credentials", "mobile": "public client", "urn:example:legacy": "its id cannot be one here" }),
        ),
        (
            "keycloak",
            json!({
                "account": "built into Keycloak", "spa": "public client", "api": "bearerOnly",
                "https://saml.example.com/sp": "not a client of OpenID Connect"
            }),
        ),
        ("forgerock", json!({ "end-user-ui": "public client", "web": "client_credentials" })),
        (
            "auth0",
            json!({ "AAAAexampleWebClientAAAAAAAAAAA1": "public client", "AAAAexampleGlobalClientAAAAAAAA1": "built into Auth0" }),
        ),
    ] {
        let report = report(&Operator::new(), product, &[]);
        let left_out: Vec<&Value> = report["clients"]
            .as_array()
            .expect("clients")
            .iter()
            .filter(|client| client["becomes"] == "left_out")
            .collect();
        assert_eq!(left_out.len(), expected.as_object().expect("an object").len(), "{product}");
        for client in left_out {
            let id = client["client_id"].as_str().expect("an id");
            let (why, expected) = (client["why"].as_str().expect("a reason"), expected[id].as_str().expect(id));
            assert!(why.contains(expected), "{product} {id}: {why}");
        }
    }
}

#[test]
fn each_form_of_an_export_is_read() {
    let operator = Operator::new();
    let hydra = json!({ "client_id": "a", "grant_types": ["client_credentials"], "scope": "read" });
    let keycloak = json!({ "clientId": "a", "serviceAccountsEnabled": true, "defaultClientScopes": ["read"] });
    let core = json!({ "clientType": "Confidential", "scopes": ["read"] });
    let forgerock = json!({ "_id": "a", "coreOAuth2ClientConfig": core, "advancedOAuth2ClientConfig": { "grantTypes": ["client_credentials"] } });
    let mut nameless = forgerock.clone();
    nameless.as_object_mut().expect("an object").remove("_id");
    let auth0 = json!({ "client_id": "a", "app_type": "non_interactive", "grant_types": ["client_credentials"] });
    for (product, export) in [
        ("hydra", json!([hydra])),
        ("hydra", json!({ "items": [hydra], "next_page_token": "", "is_last_page": true })),
        ("hydra", hydra),
        ("keycloak", json!([keycloak])),
        ("keycloak", json!({ "clients": [keycloak] })),
        ("keycloak", json!([{ "realm": "root", "clients": [keycloak] }])),
        ("keycloak", keycloak),
        ("forgerock", json!([forgerock])),
        ("forgerock", json!({ "result": [forgerock] })),
        ("forgerock", json!({ "application": { "a": nameless } })),
        ("forgerock", json!({ "client": { "a": nameless } })),
        (
            "forgerock",
            json!({ "metadata": { "realm": "/", "entityType": "OAuth2Clients", "entityId": "a" }, "data": forgerock }),
        ),
        ("forgerock", json!({ "metadata": { "entityId": "a" }, "data": nameless })),
        ("forgerock", forgerock),
        ("auth0", json!([auth0])),
        ("auth0", json!({ "clients": [auth0], "start": 0, "limit": 50, "total": 1 })),
        (
            "auth0",
            json!({ "clients": [auth0], "client_grants": [{ "client_id": "a", "audience": "https://a/", "scope": ["read"] }] }),
        ),
        ("auth0", auth0),
    ] {
        let ended = operator.fed(&["import", "--from", product, "-"], &export.to_string());
        assert_eq!(ended.status, Some(0), "{product} {export}: {}", ended.stderr);
        assert!(ended.stdout.contains("\n  client_id: a\n"), "{product} {export}: {}", ended.stdout);
    }
}

#[test]
fn a_page_of_several_is_said_to_be_one() {
    let operator = Operator::new();
    for (product, export) in [
        (
            "hydra",
            json!({ "items": [{ "client_id": "a", "grant_types": ["client_credentials"] }], "next_page_token": "t", "is_last_page": false }),
        ),
        (
            "auth0",
            json!({ "clients": [{ "client_id": "a", "grant_types": ["client_credentials"] }], "start": 0, "limit": 1, "total": 2 }),
        ),
        (
            "forgerock",
            json!({
                "result": [{
                    "_id": "a",
                    "coreOAuth2ClientConfig": {},
                    "advancedOAuth2ClientConfig": { "grantTypes": ["client_credentials"] }
                }],
                "remainingPagedResults": 3
            }),
        ),
    ] {
        let ended = operator.fed(&["import", "--from", product, "-"], &export.to_string());
        assert!(ended.status == Some(0) && ended.stderr.contains("one page of several"), "{product}: {}", ended.stderr);
    }
}

#[test]
fn the_realm_is_that_of_the_export_or_the_one_that_is_named() {
    let operator = Operator::new();
    let named = import(&operator, "keycloak", &["--realm", "beta", "--name", "team-a"]);
    assert!(named.stdout.contains("name: team-a\nrealms:\n- realm: beta\n"), "{}", named.stdout);
    // Root exists: what the realm says each of its clients says.
    let root = import(&operator, "keycloak", &["--realm", "root"]).stdout;
    assert!(!root.contains("realms:"), "{root}");
    assert_eq!(root.matches("access_token_format: jwt").count(), 4, "{root}");
    assert_eq!(root.matches("access_token_lifetime: 300").count(), 3, "the fourth has its own: {root}");
    let other = import(&operator, "hydra", &["--realm", "beta"]).stdout;
    assert!(other.contains("realms:\n- realm: beta\nclients:\n- realm: beta\n"), "{other}");

    let unnameable =
        json!({ "realm": "My Realm", "clients": [{ "clientId": "a", "serviceAccountsEnabled": true }] }).to_string();
    let refused = operator.fed(&["import", "--from", "keycloak", "-"], &unnameable);
    assert!(refused.stderr.contains("'My Realm' is not one; name another with --realm"), "{}", refused.stderr);
    assert_eq!(operator.fed(&["import", "--from", "keycloak", "-", "--realm", "mine"], &unnameable).status, Some(0));

    let off =
        json!({ "realm": "off", "enabled": false, "clients": [{ "clientId": "a", "serviceAccountsEnabled": true }] });
    let off = operator.fed(&["import", "--from", "keycloak", "-"], &off.to_string());
    assert!(off.stdout.contains("status: disabled"), "{}", off.stdout);
}

#[test]
fn what_does_not_fit_here_is_never_lost_without_a_word() {
    let operator = Operator::new();
    let scopes = |count: usize| (0..count).map(|number| format!("scope-{number}")).collect::<Vec<_>>().join(" ");
    for (export, in_file, said) in [
        (
            json!({ "scope": "read naïve \"write\"" }),
            "scope: read\n",
            "2 of 3 that cannot be scopes here: 'na\\u{ef}ve', '\"write\"'",
        ),
        (
            json!({ "client_credentials_grant_access_token_lifespan": "0s" }),
            "access_token_lifetime: 1\n",
            "lives 1 to 2592000 seconds",
        ),
        (
            json!({ "client_credentials_grant_access_token_lifespan": "9000h" }),
            "access_token_lifetime: 2592000\n",
            "lives 1 to 2592000 seconds",
        ),
        (
            json!({ "client_name": "n".repeat(257) }),
            "client_id: a\n",
            "client_name.*left out: the name is empty, longer than 256",
        ),
        (
            json!({ "contacts": ["a@example.com", "\u{1b}[31m"] }),
            "- a@example.com\n",
            "without 1 of 2: a contact has 1 to 256",
        ),
        (
            json!({ "audience": (0..20).map(|number| format!("https://a{number}.example.com")).collect::<Vec<_>>() }),
            "- https://a15.example.com\n",
            "without 4 of 20: an audience",
        ),
        (
            json!({ "token_endpoint_auth_method": "tls_client_auth" }),
            "- client_secret_post\n",
            "so the client gets a secret",
        ),
        (
            json!({ "jwks_uri": "http://keys.example.com", "token_endpoint_auth_method": "private_key_jwt" }),
            "private_key_jwt\n",
            "keys are fetched from an https URL",
        ),
        (json!({ "access_token_strategy": "paseto" }), "client_id: a\n", "neither jwt nor opaque"),
        (json!({ "ünknown\u{1b}[31m": 1 }), "client_id: a\n", "\\u{fc}nknown\\u{1b}[31m.*it is not known here"),
    ] {
        let mut client = json!({ "client_id": "a", "grant_types": ["client_credentials"] });
        client.as_object_mut().expect("an object").extend(export.as_object().cloned().expect("an object"));
        let Ended { status, stdout, stderr } =
            operator.fed(&["import", "--from", "hydra", "-"], &json!([client]).to_string());
        assert_eq!(status, Some(0), "{export}: {stderr}");
        assert!(stdout.contains(in_file), "{export}: {stdout}");
        let mut parts = said.split(".*");
        let (start, end) = (parts.next().expect("a part"), parts.next().unwrap_or_default());
        assert!(stderr.lines().any(|line| line.contains(start) && line.contains(end)), "{export}: {stderr}");
        assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
    }
    // What apply would refuse is left out, and the others are taken.
    let ours = json!({ "client_id": "ours", "grant_types": ["client_credentials"] });
    let many = json!([ours, { "client_id": "many", "grant_types": ["client_credentials"], "scope": scopes(201) }]);
    let Ended { status, stdout, stderr } = operator.fed(&["import", "--from", "hydra", "-"], &many.to_string());
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.contains("client_id: ours") && !stdout.contains("client_id: many"), "{stdout}");
    assert!(
        stderr.contains(
            "client 'many' of realm 'root': left out: this server would refuse it: a client has at most 200 scopes"
        ),
        "{stderr}"
    );
}

#[test]
fn a_file_that_cannot_be_imported_is_refused_in_one_sentence_with_its_place() {
    let operator = Operator::new();
    let client = r#"{"client_id":"a","grant_types":["client_credentials"]}"#;
    let hydra = fs::read_to_string(fixture("hydra.json")).expect("an export");
    for (product, export, expected) in [
        ("hydra", "", "standard input is empty"),
        ("hydra", " \n", "standard input is empty"),
        ("hydra", "\u{feff}", "standard input is empty"),
        ("hydra", "clients: []", "standard input: the export: it has no clients"),
        ("hydra", "[{}] x", "standard input:1:6: something follows after the end of the JSON"),
        (
            "hydra",
            "[{\"client_id\": \"a\",\n  \"scope\": \"re",
            "standard input:2:14: the file ends before something that was begun: it may have been cut off",
        ),
        ("hydra", &"[".repeat(100_000), "standard input:1:128: lists and objects are nested too deeply"),
        ("hydra", r#"[{"client_id":"a","client_id":"b"}]"#, "standard input:1:34: a member is there twice"),
        ("hydra", "[]", "standard input: the export: it has no clients; an export of Ory Hydra is an array of clients"),
        ("hydra", "{}", "standard input: the export: it has no clients"),
        ("hydra", "7", "standard input: the export: it is an object, and this is a number"),
        ("hydra", "[7]", "standard input: clients[0]: it is an object, and this is a number"),
        ("hydra", r#"[{"client_id":7}]"#, "standard input: clients[0].client_id: it is a text, and this is a number"),
        (
            "hydra",
            r#"[{"client_id":"a","grant_types":"client_credentials"}]"#,
            "standard input: clients[0].grant_types: it is a list of texts, and this is a text",
        ),
        (
            "hydra",
            r#"[{"client_id":"a","grant_types":["client_credentials"],"scope":["a"]}]"#,
            "standard input: clients[0].scope: it is a text, and this is a list",
        ),
        (
            "hydra",
            r#"[{"client_id":"a","grant_types":["client_credentials"],"client_credentials_grant_access_token_lifespan":"soon"}]"#,
            "standard input: clients[0].client_credentials_grant_access_token_lifespan: it is a duration such as 1h0m0s",
        ),
        (
            "hydra",
            &format!("[{client},{client}]"),
            "standard input: clients[1]: client 'a' of realm 'root' is there twice, the first time at clients[0]; leave one out",
        ),
        (
            "hydra",
            r#"[{"client_id":"a","grant_types":["implicit"]}]"#,
            "standard input has no client that can be taken, so there is no file",
        ),
        (
            "keycloak",
            r#"{"realm":"r","clients":[{"clientId":"a","enabled":"yes","serviceAccountsEnabled":true}]}"#,
            "standard input: clients[0].enabled: it is true or false, and this is a text",
        ),
        ("keycloak", r#"{"realm":"r","clients":{}, "a": 1}"#, "standard input: the export: it has no clients"),
        (
            "keycloak",
            r#"{"realm":"r","clients":"x"}"#,
            "standard input: the export.clients: it is a list, and this is a text",
        ),
        (
            "keycloak",
            r#"{"clients":[{"clientId":"a","serviceAccountsEnabled":true,"attributes":{"access.token.lifespan":"soon"}}]}"#,
            "standard input: clients[0].attributes.access.token.lifespan: it is a number of seconds as text, such as \"300\"",
        ),
        (
            "forgerock",
            r#"{"result":[{"_id":"a","coreOAuth2ClientConfig":[1]}]}"#,
            "standard input: result[0].coreOAuth2ClientConfig: it is an object, and this is a list",
        ),
        (
            "auth0",
            r#"{"clients":[{"client_id":"a","app_type":"non_interactive","grant_types":["client_credentials"],"jwt_configuration":{"lifetime_in_seconds":"3600"}}]}"#,
            "standard input: clients[0].jwt_configuration.lifetime_in_seconds: it is a whole number, and this is a text",
        ),
        (
            "keycloak",
            &hydra,
            "standard input: the export: it looks like an export of Ory Hydra; import it with --from hydra",
        ),
    ] {
        let Ended { status, stdout, stderr } = operator.fed(&["import", "--from", product, "-"], export);
        let last = stderr.lines().last().unwrap_or_default();
        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{product} {expected}: {stderr}");
        assert!(last.starts_with(&format!("error: {expected}")), "{product}: {stderr}\nexpected {expected}");
        assert!(stderr.len() < 1000, "{stderr}");
    }
    let missing = operator.run(&["import", "--from", "hydra", "nowhere.json"]);
    assert!(missing.stderr.starts_with("error: nowhere.json could not be read: "), "{}", missing.stderr);
    fs::write(operator.home.path().join("utf-16.json"), [0xff, 0xfe, b'[', 0]).expect("written");
    let utf_16 = operator.run(&["import", "--from", "hydra", "utf-16.json"]);
    assert_eq!(utf_16.stderr, "error: utf-16.json is in UTF-16, or is not a text: save it as UTF-8\n");
}

#[test]
fn the_export_of_another_product_is_recognised() {
    let operator = Operator::new();
    for is in PRODUCTS {
        for said in PRODUCTS.into_iter().filter(|said| *said != is) {
            let path = fixture(&format!("{is}.json")).display().to_string();
            let ended = operator.run(&["import", "--from", said, &path]);
            assert_eq!(ended.status, Some(1), "{is} as {said}");
            assert!(ended.stderr.ends_with(&format!("import it with --from {is}\n")), "{}", ended.stderr);
        }
    }
}

#[test]
fn grants_of_auth0_alone_are_not_taken_for_clients_of_hydra() {
    let grants = json!([{ "client_id": "a", "audience": "https://api/", "scope": ["read"] }]).to_string();
    let ended = Operator::new().fed(&["import", "--from", "auth0", "-"], &grants);
    assert!(
        ended.stderr.ends_with("error: standard input has no client that can be taken, so there is no file\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_file_that_exists_is_not_overwritten() {
    let operator = Operator::new();
    let out = operator.home.path().join("realm.yaml");
    let made = import(&operator, "hydra", &["--out", "realm.yaml"]);
    assert_eq!((made.status, made.stdout.as_str()), (Some(0), ""), "{}", made.stderr);
    let next = "see what it would do with: grantwell apply -f realm.yaml --plan\n";
    assert!(made.stderr.contains("note: the file is realm.yaml,") && made.stderr.ends_with(next), "{}", made.stderr);
    let written = fs::read_to_string(&out).expect("written");
    assert_eq!(written, fs::read_to_string(fixture("hydra.yaml")).expect("the file as it has to be"));
    let again = import(&operator, "auth0", &["--out", "realm.yaml"]);
    assert_eq!(again.status, Some(1));
    assert!(
        again
            .stderr
            .ends_with("error: realm.yaml exists, and nothing was written; name another file, or remove it first\n"),
        "{}",
        again.stderr
    );
    assert_eq!(fs::read_to_string(&out).expect("there"), written);
    // A file that is refused leaves none behind.
    operator.fed(&["import", "--from", "hydra", "-", "--out", "none.yaml"], "[]");
    assert!(!operator.home.path().join("none.yaml").exists());
}

#[test]
fn ten_megabytes_are_imported() {
    let operator = Operator::new();
    let client = |number: usize| json!({ "client_id": format!("client-{number}"), "grant_types": ["client_credentials"], "metadata": { "note": "x".repeat(1000) } });
    let export: Value = (0..10_000).map(client).collect();
    let ended = operator.fed(&["import", "--from", "hydra", "-", "--output", "json"], &export.to_string());
    assert_eq!(ended.status, Some(0));
    assert_eq!(ended.stdout.matches("client_id:").count(), 10_000);
}

#[test]
fn auth0_names_clients_by_id_or_by_name_and_their_apis_say_the_rest() {
    let operator = Operator::new();
    let client = |id: &str, name: &str| json!({ "client_id": id, "name": name, "app_type": "non_interactive", "grant_types": ["client_credentials"] });
    let export = json!({
        "clients": [client("a", "Same"), client("b", "Same"), client("c", "Own"), { "name": "Nameless", "app_type": "non_interactive" }],
        "clientGrants": [
            { "client_id": "Same", "audience": "https://api/", "scope": ["nobody"] },
            { "client_id": "Own", "audience": "https://api/", "scope": ["own"] },
            { "client_id": "c", "audience": "https://people/", "scope": ["people"], "subject_type": "user" }
        ],
        "resourceServers": [{ "identifier": "https://api/", "token_lifetime": 120, "signing_alg": "PS256" }]
    });
    let Ended { status, stdout, stderr } = operator.fed(&["import", "--from", "auth0", "-"], &export.to_string());
    assert_eq!(status, Some(0), "{stderr}");
    assert!(!stdout.contains("nobody") && !stdout.contains("people"), "{stdout}");
    let (_, own) = stdout.split_once("client_id: c\n").expect("the third");
    for member in
        ["scope: own\n", "- https://api/\n", "access_token_lifetime: 120\n", "access_token_signing_alg: PS256\n"]
    {
        assert!(own.contains(member), "{own}");
    }
    assert!(
        stderr.contains("client 'Nameless' of realm 'root': left out: the export does not say its client_id"),
        "{stderr}"
    );
    assert!(stderr.contains("clientGrants[0]") && stderr.contains("acts for itself"), "{stderr}");
}

fn import(operator: &Operator, product: &str, more: &[&str]) -> Ended {
    let path = fixture(&format!("{product}.json")).display().to_string();
    operator.run(&[&["import", "--from", product, &path], more].concat())
}

fn report(operator: &Operator, product: &str, more: &[&str]) -> Value {
    let ended = import(operator, product, &[more, &["--output", "json"]].concat());
    serde_json::from_str(&ended.stderr).unwrap_or_else(|error| panic!("{error}: {}", ended.stderr))
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(format!("{}/tests/it/fixtures/import/{name}", env!("CARGO_MANIFEST_DIR")))
}

const PRODUCTS: [&str; 4] = ["hydra", "keycloak", "forgerock", "auth0"];
const SECRET: &str = "planted-secret";
