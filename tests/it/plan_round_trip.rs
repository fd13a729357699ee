//! What is registered, exported and applied elsewhere is what was registered, whichever member says it.

use std::collections::BTreeSet;

use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::management::plan::{Action, PlanOptions, declaration};
use grantwell::core::management::{ClientChange, RealmChange, TokensValidAfter};
use grantwell::core::members::names_of;
use serde_json::{Value, json};

use crate::plan::{House, described, id, name};

#[tokio::test]
async fn an_export_makes_the_same_registry_elsewhere_with_every_member_there_is() {
    let file = everything();
    let house = House::new().with_scheduled_rotation();
    house.apply_file(&file).await;
    let exported = text(&house).await;

    // 1. No member is forgotten here, one that is added later neither.
    for (list, members) in [
        ("realms", declaration::realm::members()),
        ("owners", declaration::owner::members()),
        ("issuers", declaration::issuer::members()),
        ("clients", declaration::client::members()),
    ] {
        let written: Value = serde_json::from_str(&exported).expect("JSON");
        let entries = written[list].as_array().expect("a list");
        let said: BTreeSet<&str> =
            entries.iter().flat_map(|entry| entry.as_object().expect("an object").keys()).map(String::as_str).collect();
        let unsaid: Vec<&str> =
            members.into_iter().filter(|name| !said.contains(name) && *name != "generate").collect();
        assert_eq!(unsaid, [""; 0], "{list}");
    }
    assert!(names_of::<ClientMetadata>().len() > 20, "the members are those of the record");

    // 2. Elsewhere it makes the same.
    let elsewhere = House::new().with_scheduled_rotation();
    elsewhere.apply_file(&serde_json::from_str(&exported).expect("JSON")).await;
    assert_eq!(text(&elsewhere).await, exported);

    // 3. Here it changes nothing but whose the records are.
    let mut renamed: Value = serde_json::from_str(&exported).expect("JSON");
    renamed["name"] = json!("adopted");
    let adopt = PlanOptions { adopt: true, prune: true };
    let plan = house.plan(&[renamed], adopt).await.expect("a plan");
    assert!(
        plan.steps.iter().all(|step| step.action == Action::Change && step.changes.is_empty()),
        "{:?}",
        described(&plan)
    );
    house.apply(&plan).await.expect("carried out");
    assert_eq!(text(&house).await, exported);
}

#[tokio::test]
async fn what_a_file_does_not_say_is_not_in_an_export_and_is_not_lost_by_one() {
    let house = House::new();
    house.register("root", "one").await;
    let valid_after = TokensValidAfter::RevokeAll;
    let change = ClientChange { tokens_valid_after: valid_after, ..ClientChange::NOTHING };
    house.management.update(&name("root"), &id("one"), &change).await.expect("revoked");
    let change = RealmChange { tokens_valid_after: valid_after, ..RealmChange::NOTHING };
    house.management.set_realm(&name("root"), &change).await.expect("revoked");
    let (client, realm) =
        (house.client("root", "one").await, house.management.realm(&name("root")).await.expect("there"));
    let exported = house.exported("export").await;
    assert!(!exported.to_string().contains("tokens_valid_after"), "{exported}");
    let plan = house.plan(&[exported], PlanOptions { adopt: true, prune: false }).await.expect("a plan");
    house.apply(&plan).await.expect("carried out");
    assert_eq!(house.client("root", "one").await.tokens_valid_after, client.tokens_valid_after);
    let after = house.management.realm(&name("root")).await.expect("there");
    assert_eq!(after.settings, realm.settings);
}

async fn text(house: &House) -> String {
    serde_json::to_string_pretty(&house.exported("everything").await).expect("JSON")
}

/// Each member of each record at least once, with a value that is not its default.
fn everything() -> Value {
    let jwks: Value = serde_json::from_str(include_str!("support/jwks.json")).expect("JSON");
    let address = json!({ "uri": "https://keys.example/jwks", "allow_private_network": true, "ca": CA });
    let github = "https://token.actions.githubusercontent.com";
    json!({
        "name": "everything",
        "realms": [
            { "realm": "alpha", "default_scope": "read", "allowed_scope": "read write", "access_token_lifetime": 600,
              "grant_types": ["client_credentials"], "access_token_format": "jwt", "access_token_persistence": "stateless",
              "access_token_signing_alg": "ES256", "token_quota": "100/day", "token_quota_mode": "observe",
              "assertion_audience": "compatible", "assertion_max_lifetime": 60, "client_secret_storage": "digest",
              "client_use_recorded_since": 1_700_000_000 },
            { "realm": "root" }
        ],
        "owners": [
            { "owner": "alice", "name": "Alice Example", "email": "alice@example.com",
              "aws_principals": ["arn:aws:iam::111122223333:role/Orders", "arn:aws:iam::111122223333:user/alice"] },
            { "owner": "stopped", "status": "disabled" }
        ],
        "issuers": [
            { "realm": "alpha", "name": "github", "issuer": github, "max_age": "until exp", "single_use": false },
            { "realm": "alpha", "name": "ci", "issuer": "https://ci.example", "kind": "gitlab", "keys": { "jwks_uri": address },
              "algs": ["ES256"], "max_age": 60, "single_use": true },
            { "realm": "root", "name": "sts", "issuer": "https://a1d2b0fd-1177-4468-9351-2f0a9b7c7230.tokens.sts.global.api.aws",
              "algs": [] },
            { "realm": "root", "name": "pinned", "issuer": "https://pinned.example", "jwks": jwks },
            { "realm": "root", "name": "inside", "issuer": "https://inside.example",
              "keys": { "discovery": { "allow_private_network": true, "ca": CA } } },
            { "realm": "root", "name": "mesh", "issuer": "spiffe://example.org", "jwks_uri": "https://spire.example/bundle" }
        ],
        "clients": [
            { "realm": "alpha", "client_id": "one", "client_name": "One", "owners": ["alice", "stopped"],
              "contacts": ["ops@example.com"], "scope": "read write", "default_scope": "read",
              "grant_types": ["authorization_code", "client_credentials"],
              "token_endpoint_auth_methods": ["client_secret_basic"], "redirect_uris": ["https://www.example.com/callback"],
              "client_secret_expires_at": 4_000_000_000_u64, "client_secret_rotation_days": 30,
              "client_secret_storage": "secrets-manager", "access_token_lifetime": 60, "access_token_format": "opaque",
              "access_token_persistence": "stored", "access_token_signing_alg": "PS256", "token_quota": "none",
              "token_quota_mode": "enforce", "resources": ["https://api.example.com"],
              "access_token_claims": { "tier": "gold", "n": 1.5 }, "status": "disabled" },
            { "client_id": "keys", "token_endpoint_auth_methods": ["private_key_jwt"],
              "token_endpoint_auth_signing_algs": ["ES256"], "jwks": jwks },
            { "client_id": "fetched", "token_endpoint_auth_methods": ["private_key_jwt"], "jwks_uri": address },
            { "client_id": "simple", "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.example.com/jwks" },
            { "realm": "alpha", "client_id": "trusted", "generate": false, "token_endpoint_auth_methods": ["workload_identity", "aws_iam"],
              "trust": [
                  { "name": "main", "issuer": github, "claims": [
                      { "path": ["repository_id"], "equals": 74 }, { "path": ["ref"], "glob": "refs*" },
                      { "path": ["environment"], "in": ["prod", true] }, { "path": ["actor"], "present": true } ],
                    "max_age": 120, "single_use": true, "mode": "observe" },
                  { "name": "role", "aws": { "organization": "o-a1b2c3d4e5", "account": "111122223333", "role": "Orders*",
                      "tags": { "team": "orders" } } }
              ] }
        ]
    })
}

const CA: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
