//! Owners, issuers and trust rules as entries of a file.

use grantwell::core::admin_log::Actor;
use grantwell::core::client::ClientStatus;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::declaration::DeclarationName;
use grantwell::core::management::plan::{
    Action, AdoptedFrom, Declaration, Plan, PlanOptions, Problem, ProblemKind, Step, Target,
};
use grantwell::core::management::{
    ClientChange, IssuerChange, ManagementError, Notice, OwnerChange, RealmChange, Subject,
};
use grantwell::core::owner::{Owner, OwnerDetails, OwnerId, OwnerStatus};
use grantwell::core::realm::RealmName;
use grantwell::core::trust::issuer::{IssuerKeys, IssuerKind, IssuerName, TrustedIssuer};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::plan::{House, described, id, name};

#[tokio::test]
async fn an_owner_is_made_changed_and_deleted_by_pruning_alone() {
    let house = House::new();
    let file = json!({
        "name": "team-a",
        "owners": [{ "owner": "alice", "name": "Alice", "aws_principals": [ROLE] }],
        "clients": [{ "client_id": "one", "owners": ["alice"] }]
    });
    let plan = house.plan(std::slice::from_ref(&file), PlanOptions::default()).await.expect("a plan");
    assert_eq!(
        described(&plan),
        ["create owner 'alice': name aws_principals", "create client 'one' of realm 'root': owners"]
    );
    house.apply(&plan).await.expect("carried out");
    let alice = owner(&house, "alice").await;
    assert_eq!((alice.revision, alice.details.aws_principals.len()), (1, 1));
    house.apply(&plan).await.expect("an interrupted run, repeated, finds it done");
    assert_eq!(owner(&house, "alice").await, alice);

    let mut changed = file.clone();
    changed["owners"] = json!([{ "owner": "alice", "email": "alice@example.com", "status": "disabled" }]);
    let plan = house.plan(std::slice::from_ref(&changed), PlanOptions::default()).await.expect("a plan");
    let told: Vec<_> = members(&plan, "owner 'alice'");
    assert_eq!(
        told,
        [
            ("name", json!("Alice"), Value::Null, true),
            ("email", Value::Null, json!("alice@example.com"), false),
            ("status", json!("active"), json!("disabled"), false),
            ("aws_principals", json!([ROLE]), json!([]), true),
        ]
    );
    house.apply(&plan).await.expect("carried out");
    assert_eq!(owner(&house, "alice").await.status, OwnerStatus::Disabled);

    let gone = json!({ "name": "team-a" });
    let kept = house.plan(std::slice::from_ref(&gone), PlanOptions::default()).await.expect("a plan");
    assert!(!kept.has_changes() && kept.left.len() == 2, "{kept:?}");
    let plan = house.plan(&[gone], PRUNE).await.expect("a plan");
    assert_eq!(described(&plan), ["delete client 'one' of realm 'root': status", "delete owner 'alice': "]);
    house.apply(&plan).await.expect("carried out");
    assert!(house.management.owners().await.expect("owners").is_empty());
}

#[tokio::test]
async fn an_owner_stays_that_owns_clients_which_the_plan_does_not_delete() {
    let house = House::new();
    let file = json!({
        "name": "team-a",
        "owners": [{ "owner": "alice" }, { "owner": "bob" }],
        "clients": [{ "client_id": "one", "owners": ["alice"] }, { "client_id": "two", "owners": ["bob"] }]
    });
    house.apply_file(&file).await;
    house.register("root", "by-hand").await;
    house.update("root", "by-hand", &|metadata| metadata.owners = [owner_id("alice")].into()).await;

    let nothing = json!({ "name": "team-a" });
    let problems = house.plan(&[nothing], PRUNE).await.expect_err("still owns");
    assert_eq!(
        told(&problems),
        ["team-a: owner 'alice': it would be deleted, and still owns client 'by-hand' of realm 'root'"]
    );
    // Also where the client is the file's own and says so still.
    let left_out = json!({ "name": "team-a", "owners": [{ "owner": "alice" }], "clients": file["clients"] });
    let problems = house.plan(&[left_out], PRUNE).await.expect_err("still owns");
    assert!(matches!(problems.as_slice(), [Problem { kind: ProblemKind::StillOwns(_), .. }]), "{problems:?}");
    // One that is given to somebody else first stops nothing.
    let given = json!({
        "name": "team-a",
        "owners": [{ "owner": "alice" }],
        "clients": [{ "client_id": "one", "owners": ["alice"] }, { "client_id": "two", "owners": ["alice"] }]
    });
    let plan = house.plan(&[given], PRUNE).await.expect("a plan");
    house.apply(&plan).await.expect("carried out");
    assert_eq!(house.management.owners().await.expect("owners").len(), 1);
}

#[tokio::test]
async fn a_client_is_given_only_to_owners_that_there_will_be() {
    let house = House::new();
    house.management.create_owner(owner_id("gone"), OwnerDetails::default()).await.expect("made");
    set_status(&house, "gone", OwnerStatus::Disabled).await;
    house.management.create_owner(owner_id("here"), OwnerDetails::default()).await.expect("made");
    let file = |owner: &str| json!({ "name": "team-a", "clients": [{ "client_id": "one", "owners": [owner] }] });
    let problems = house.plan(&[file("nobody")], PlanOptions::default()).await.expect_err("unknown");
    assert_eq!(
        told(&problems),
        [
            "a.yaml: clients[0]: client 'one' of realm 'root': its owner 'nobody' does not exist, and the file does not declare it"
        ]
    );
    let problems = house.plan(&[file("gone")], PlanOptions::default()).await.expect_err("disabled");
    assert!(matches!(problems.as_slice(), [Problem { kind: ProblemKind::DisabledOwner(_), .. }]), "{problems:?}");
    house.apply_file(&file("here")).await;

    // Declared beside the client, it may be disabled from the beginning: a registry is restored so.
    let both = json!({
        "name": "team-b",
        "owners": [{ "owner": "stopped", "status": "disabled" }],
        "clients": [{ "client_id": "two", "owners": ["stopped"] }]
    });
    house.apply_file(&both).await;
    assert_eq!(owner(&house, "stopped").await.status, OwnerStatus::Disabled);
    assert_eq!(house.client("root", "two").await.metadata.owners, [owner_id("stopped")].into());
    // By hand it is given none, and no other file gives it one.
    house.register("root", "other").await;
    let give = |metadata: &mut ClientMetadata| metadata.owners = [owner_id("stopped")].into();
    let change = ClientChange { metadata: &give, ..ClientChange::NOTHING };
    let refused = house.management.update(&name("root"), &id("other"), &change).await;
    assert_eq!(refused.err(), Some(ManagementError::DisabledOwner(owner_id("stopped"))));

    // What is refused of an owner says nothing of its clients.
    let refused = json!({
        "name": "team-c",
        "owners": [{ "owner": "here" }],
        "clients": [{ "client_id": "three", "owners": ["here"] }]
    });
    let problems = house.plan(&[refused], PlanOptions::default()).await.expect_err("not ours");
    assert_eq!(told(&problems), ["a.yaml: owners[0]: owner 'here': it exists, and no file has declared it"]);
}

#[tokio::test]
async fn an_issuer_is_registered_with_what_its_kind_says_and_rules_of_the_same_file_name_it() {
    let house = House::new();
    let file = with_rules();
    let plan = house.plan(std::slice::from_ref(&file), PlanOptions::default()).await.expect("a plan");
    assert_eq!(
        described(&plan),
        [
            "create realm 'alpha': ",
            "create issuer 'github' of realm 'alpha': issuer kind",
            "create client 'deploy' of realm 'alpha': scope token_endpoint_auth_methods trust",
        ]
    );
    house.apply(&plan).await.expect("carried out");
    let github = issuer(&house, "alpha", "github").await;
    assert_eq!(
        (github.kind, github.max_age, github.single_use, &github.keys),
        (IssuerKind::Github, Some(600), true, &IssuerKeys::DISCOVERY)
    );
    house.apply(&plan).await.expect("an interrupted run, repeated, finds it done");
    assert!(!house.plan(std::slice::from_ref(&file), PlanOptions::default()).await.expect("a plan").has_changes());

    // The rule's issuer is needed: it goes with the client, and not before.
    let mut without = file.clone();
    without["issuers"] = json!([]);
    let problems = house.plan(&[without], PRUNE).await.expect_err("needed");
    assert_eq!(
        told(&problems),
        [
            "team-a: issuer 'github' of realm 'alpha': it would be removed, and rules need it of client 'deploy' of realm 'alpha'"
        ]
    );
    let plan = house.plan(&[json!({ "name": "team-a", "realms": file["realms"] })], PRUNE).await.expect("a plan");
    let deletes = plan.phases().into_iter().filter(|phase| !phase.disables).flat_map(|phase| phase.steps);
    let deletions: Vec<String> = deletes.map(|step| step.target.to_string()).collect();
    assert_eq!(deletions, ["client 'deploy' of realm 'alpha'", "issuer 'github' of realm 'alpha'"]);
    house.apply(&plan).await.expect("carried out");
    assert!(house.management.realm(&name("alpha")).await.expect("there").settings.trusted_issuers.is_empty());
}

#[tokio::test]
async fn an_issuer_of_somebody_else_is_neither_dropped_nor_taken_over_without_a_word() {
    let house = House::new();
    house
        .apply_file(&json!({ "name": "team-b", "issuers": [{ "name": "theirs", "issuer": "https://b.example" }] }))
        .await;
    let by_hand = TrustedIssuer::new(
        issuer_name("by-hand"),
        "https://c.example".parse().expect("an issuer"),
        IssuerKind::Oidc,
        IssuerKeys::DISCOVERY,
    );
    house.management.add_issuer(&name("root"), &by_hand).await.expect("added");

    // A realm's entry says nothing of its issuers, also where it is taken over and pruned.
    let realm = json!({ "name": "team-a", "realms": [{ "realm": "root", "default_scope": "read" }] });
    let adopt = PlanOptions { adopt: true, prune: true };
    let plan = house.plan(&[realm], adopt).await.expect("a plan");
    house.apply(&plan).await.expect("carried out");
    assert_eq!(house.management.realm(&name("root")).await.expect("there").settings.trusted_issuers.len(), 2);

    let theirs = json!({
        "name": "team-a",
        "issuers": [
            { "name": "by-hand", "issuer": "https://c.example", "max_age": 60 },
            { "name": "theirs", "issuer": "https://b.example" }
        ]
    });
    let problems = house.plan(std::slice::from_ref(&theirs), PRUNE).await.expect_err("not ours");
    let kinds: Vec<ProblemKind> = problems.into_iter().map(|problem| problem.kind).collect();
    let team_b: DeclarationName = "team-b".parse().expect("a name");
    assert_eq!(kinds, [ProblemKind::NotOurs { of: None }, ProblemKind::NotOurs { of: Some(team_b.clone()) }]);
    let plan = house.plan(std::slice::from_ref(&theirs), adopt).await.expect("a plan");
    let from = |target: &str| {
        let step = plan.steps.iter().find(|step| step.target.to_string() == target).expect("a step");
        step.adopted_from.clone()
    };
    assert_eq!(from("issuer 'by-hand' of realm 'root'"), Some(AdoptedFrom::Nobody));
    assert_eq!(from("issuer 'theirs' of realm 'root'"), Some(AdoptedFrom::File(team_b)));
    house.apply(&plan).await.expect("carried out");
    assert_eq!(issuer(&house, "root", "by-hand").await.max_age, Some(60));
    assert!(!house.plan(&[theirs], PlanOptions::default()).await.expect("ours now").steps.iter().any(Step::is_change));
}

#[tokio::test]
async fn what_cannot_be_of_an_issuer_is_said_before_anything_is_done() {
    let house = House::new();
    house
        .apply_file(&json!({ "name": "team-a", "issuers": [{ "name": "one", "issuer": "https://one.example" }] }))
        .await;
    let file = |issuers: Value| json!({ "name": "team-a", "issuers": issuers });
    for (issuers, expected) in [
        (
            json!([{ "name": "one", "issuer": "https://other.example" }]),
            "a.yaml: issuers[0]: issuer 'one' of realm 'root': it is https://one.example, which rules may name, and does not become \
             https://other.example",
        ),
        (
            json!([{ "name": "two", "issuer": "https://one.example" }]),
            "a.yaml: issuers[0]: issuer 'two' of realm 'root': the realm trusts this issuer already, under the name 'one'; two of one \
             issuer could not be told apart",
        ),
        (
            json!([{ "name": "two", "issuer": "https://token.actions.githubusercontent.com", "kind": "gitlab" }]),
            "a.yaml: issuers[0]: issuer 'two' of realm 'root': 'https://token.actions.githubusercontent.com' is an issuer of kind \
             github, and not of kind gitlab",
        ),
        (
            json!([{ "realm": "nowhere", "name": "two", "kind": "github" }]),
            "a.yaml: issuers[0]: issuer 'two' of realm 'nowhere': its realm does not exist, and the file does not declare it",
        ),
    ] {
        let problems = house.plan(&[file(issuers)], PlanOptions::default()).await.expect_err("impossible");
        assert_eq!(told(&problems), [expected]);
    }
    // A rule that names no issuer is pointed at.
    let mut rules = with_rules();
    rules["issuers"] = json!([]);
    rules["clients"][0]["trust"] =
        json!([{ "name": "role", "aws": { "account": "111122223333" } }, rules["clients"][0]["trust"][0]]);
    let problems = house.plan(&[rules], PlanOptions::default()).await.expect_err("no issuer");
    let [problem] = told(&problems).try_into().expect("one");
    assert!(
        problem.starts_with("a.yaml: clients[0]: trust[1]: client 'deploy' of realm 'alpha': rule 'main': "),
        "{problem}"
    );
    // Of an issuer that is declared and refused, the refusal says enough.
    let mut refused = with_rules();
    refused["issuers"][0]["issuer"] = json!("https://token.actions.githubusercontent.com");
    refused["issuers"][0]["preset"] = json!("gitlab");
    let problems = house.plan(&[refused], PlanOptions::default()).await.expect_err("no issuer of that kind");
    assert!(
        matches!(problems.as_slice(), [Problem { target: Target::Issuer { .. }, kind: ProblemKind::Issuer(_), .. }]),
        "{problems:?}"
    );
}

#[tokio::test]
async fn somebody_elses_change_of_an_owner_or_an_issuer_in_between_stops_its_step() {
    let house = House::new();
    let file = |age: u64, email: &str| {
        json!({
            "name": "team-a",
            "owners": [{ "owner": "alice", "email": email }],
            "issuers": [{ "name": "github", "kind": "github", "max_age": age }]
        })
    };
    house.apply_file(&file(60, "a@example.com")).await;
    let plan = house.plan(&[file(120, "b@example.com")], PlanOptions::default()).await.expect("a plan");
    let prune = house.plan(&[json!({ "name": "team-a" })], PRUNE).await.expect("a plan");

    // 1. Another member, by hand.
    let single = IssuerChange { settings: &|issuer| issuer.single_use = false };
    house.management.update_issuer(&name("root"), &issuer_name("github"), &single).await.expect("changed");
    let named = OwnerChange { details: &|details| details.name = "A".parse().ok(), status: None };
    house.management.update_owner(&owner_id("alice"), &named).await.expect("changed");
    for step in plan.steps.iter().chain(&prune.steps) {
        let stopped = house.carry_out(step).await;
        assert!(matches!(stopped, Err(ManagementError::Conflict(_))), "{} {:?}", step.target, step.action);
    }
    // 2. Removed, and made again with as many changes.
    house.management.remove_issuer(&name("root"), &issuer_name("github"), false).await.expect("removed");
    let again = TrustedIssuer::new(
        issuer_name("github"),
        IssuerKind::Github.issuer().expect("one for all"),
        IssuerKind::Github,
        IssuerKeys::DISCOVERY,
    );
    house.management.add_issuer(&name("root"), &again).await.expect("added");
    house.management.delete_owner(&owner_id("alice")).await.expect("deleted");
    house.management.create_owner(owner_id("alice"), OwnerDetails::default()).await.expect("made");
    for step in plan.steps.iter().chain(&prune.steps) {
        let stopped = house.carry_out(step).await;
        assert!(matches!(stopped, Err(ManagementError::Conflict(_))), "{} {:?}", step.target, step.action);
    }
    // 3. What was to be made is there by now.
    let other = House::new();
    let plan = other.plan(&[file(120, "b@example.com")], PlanOptions::default()).await.expect("a plan");
    other.management.add_issuer(&name("root"), &again).await.expect("added");
    other.management.create_owner(owner_id("alice"), OwnerDetails::default()).await.expect("made");
    for step in &plan.steps {
        assert!(matches!(other.carry_out(step).await, Err(ManagementError::Conflict(_))), "{}", step.target);
    }
}

#[tokio::test]
async fn an_owners_deletion_that_was_interrupted_after_disabling_is_finished() {
    let house = House::new();
    house.apply_file(&json!({ "name": "team-a", "owners": [{ "owner": "alice" }] })).await;
    let plan = house.plan(&[json!({ "name": "team-a" })], PRUNE).await.expect("a plan");
    set_status(&house, "alice", OwnerStatus::Disabled).await;
    house.apply(&plan).await.expect("finished");
    house.apply(&plan).await.expect("and done");
    assert!(house.management.owners().await.expect("owners").is_empty());
}

#[tokio::test]
async fn whoever_acts_for_an_owner_is_told_of_all_that_it_may_not_change_before_anything_is() {
    let house = House::new();
    let owners = json!([{ "owner": "orders", "aws_principals": [ROLE] }, { "owner": "alice" }]);
    house.apply_file(&json!({ "name": "platform", "owners": owners })).await;
    house
        .apply_file(&json!({
            "name": "team-a",
            "clients": [{ "client_id": "own", "owners": ["orders"] }, { "client_id": "hers", "owners": ["alice"] }]
        }))
        .await;
    let session = Actor::AwsCaller { arn: "arn:aws:sts::111122223333:assumed-role/Orders/ci".to_owned() };
    let of_orders = house.as_of(session);
    let file = json!({
        "name": "team-a",
        "realms": [{ "realm": "beta" }],
        "owners": [{ "owner": "new" }],
        "issuers": [{ "name": "github", "kind": "github" }],
        "clients": [
            { "client_id": "own", "owners": ["orders"], "scope": "read" },
            { "client_id": "hers", "owners": ["alice"], "scope": "read" },
            { "client_id": "nobodys" },
            { "client_id": "quota", "owners": ["orders"], "token_quota": "5/hour" },
            { "client_id": "fine", "owners": ["orders"] }
        ]
    });
    let plan = of_orders.plan(&[file], PlanOptions::default()).await.expect("a plan");
    let refused = of_orders.management.not_permitted(&plan).await.expect("asked");
    let targets: Vec<String> = refused.iter().map(|refused| refused.target.to_string()).collect();
    assert_eq!(
        targets,
        [
            "realm 'beta'",
            "owner 'new'",
            "issuer 'github' of realm 'root'",
            "client 'hers' of realm 'root'",
            "client 'nobodys' of realm 'root'",
            "client 'quota' of realm 'root'",
        ]
    );
    assert_eq!(house.management.not_permitted(&plan).await, Ok(Vec::new()), "an operator may");
    let prune = of_orders.plan(&[json!({ "name": "team-a" })], PRUNE).await.expect("a plan");
    let refused = of_orders.management.not_permitted(&prune).await.expect("asked");
    let [refused] = refused.as_slice() else { panic!("{refused:?}") };
    assert_eq!(refused.target.to_string(), "client 'hers' of realm 'root'");
}

#[tokio::test]
async fn a_change_by_hand_says_what_the_next_apply_sets_back() {
    let house = House::new();
    let file = json!({
        "name": "team-a",
        "realms": [{ "realm": "root", "default_scope": "read" }],
        "owners": [{ "owner": "alice", "email": "a@example.com" }],
        "issuers": [{ "name": "github", "kind": "github", "max_age": 60 }],
        "clients": [{ "client_id": "one", "scope": "read", "status": "active" }]
    });
    house.apply_file(&file).await;
    let set_back = |of: Subject, members: &[&'static str]| Notice::SetBackByFile {
        of,
        file: "team-a".parse().expect("a name"),
        members: members.to_vec(),
    };
    let one = || Subject::Client { realm: name("root"), client_id: id("one") };

    let notices = house.update("root", "one", &|metadata| metadata.scope = "read write".parse().expect("scopes")).await;
    assert!(notices.contains(&set_back(one(), &["scope"])), "{notices:?}");
    let notices = house.update("root", "one", &|metadata| metadata.client_name = Some("One".to_owned())).await;
    assert!(
        !notices.iter().any(|notice| matches!(notice, Notice::SetBackByFile { .. })),
        "not the file's: {notices:?}"
    );
    let stopped =
        house.management.set_status(&name("root"), &id("one"), ClientStatus::Disabled).await.expect("stopped");
    assert_eq!(stopped.notices, [set_back(one(), &["status"])]);

    let owner = OwnerChange { details: &|details| details.email = None, status: None };
    let changed = house.management.update_owner(&owner_id("alice"), &owner).await.expect("changed");
    assert_eq!(changed.notices, [set_back(Subject::Owner(owner_id("alice")), &["email"])]);
    let issuer = IssuerChange { settings: &|issuer| issuer.max_age = Some(90) };
    let github = Subject::Issuer { realm: name("root"), name: issuer_name("github") };
    let changed =
        house.management.update_issuer(&name("root"), &issuer_name("github"), &issuer).await.expect("changed");
    assert_eq!(changed.notices, [set_back(github.clone(), &["max_age"])]);
    let realm = RealmChange { settings: &|settings| settings.default_scope = None, ..RealmChange::NOTHING };
    let changed = house.management.set_realm(&name("root"), &realm).await.expect("changed");
    assert_eq!(changed.notices, [set_back(Subject::Realm(name("root")), &["default_scope"])]);

    // The file itself is told of nothing, and does set it back.
    let plan = house.plan(&[file], PlanOptions::default()).await.expect("a plan");
    assert_eq!(plan.count(Action::Change), 4, "{:?}", described(&plan));
    for step in &plan.steps {
        let notices = house.carry_out(step).await.expect("carried out").notices;
        assert!(!notices.iter().any(|notice| matches!(notice, Notice::SetBackByFile { .. })), "{notices:?}");
    }
    let removed = house.management.remove_issuer(&name("root"), &issuer_name("github"), false).await.expect("removed");
    assert_eq!(removed.notices, [Notice::MadeAgainByFile { of: github, file: "team-a".parse().expect("a name") }]);
}

#[test]
fn an_entry_that_is_not_of_its_form_is_refused_with_the_place() {
    let jwk =
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "AAAA" });
    for (list, entry, expected) in [
        ("owners", json!({}), ": it has to say its owner"),
        ("owners", json!({ "owner": "a b" }), ": owner: an owner's id has"),
        ("owners", json!({ "owner": "a", "mail": "x" }), ": there is no member 'mail'; did you mean 'email'?"),
        ("owners", json!({ "owner": "a", "status": "gone" }), ": status: "),
        ("owners", json!({ "owner": "a", "aws_principals": ["me"] }), ": aws_principals[0]: "),
        ("owners", json!({ "owner": "a", "managed_by": { "name": "x" } }), ": there is no member 'managed_by'"),
        ("issuers", json!({ "name": "a" }), ": it has to say its issuer"),
        ("issuers", json!({ "issuer": "https://a.example" }), ": it has to say its name"),
        ("issuers", json!({ "name": "a", "issuer": "http://a.example" }), ": issuer: an issuer is an https URL"),
        ("issuers", json!({ "name": "a", "kind": "okta", "issuer": "https://a.example" }), ": kind: "),
        (
            "issuers",
            json!({ "name": "a", "preset": "github", "kind": "github" }),
            ": kind is there twice, once under its other name, preset",
        ),
        (
            "issuers",
            json!({ "name": "a", "kind": "github", "max_age": "10m" }),
            ": max_age: it is 1 to 86400 seconds, or \"until exp\"",
        ),
        (
            "issuers",
            json!({ "name": "a", "kind": "github", "max_age": 0 }),
            ": max_age: it is 1 to 86400 seconds, or \"until exp\"",
        ),
        ("issuers", json!({ "name": "a", "kind": "github", "algs": ["HS256"] }), ": algs[0]: "),
        ("issuers", json!({ "name": "a", "kind": "github", "single_use": "yes" }), ": single_use: "),
        (
            "issuers",
            json!({ "name": "a", "kind": "github", "jwks_uri": "https://a.example/k", "keys": "discovery" }),
            ": an issuer has its keys in one place",
        ),
        (
            "issuers",
            json!({ "name": "a", "kind": "github", "jwks_uri": "http://a.example/k" }),
            ": jwks_uri: keys are fetched from an https URL",
        ),
        (
            "issuers",
            json!({ "name": "a", "kind": "github", "jwks_uri": { "uri": "https://a.example/k", "cas": "x" } }),
            ": jwks_uri: there is no member 'cas'",
        ),
        (
            "issuers",
            json!({ "name": "a", "kind": "github", "keys": { "discovery": { "private": true } } }),
            ": keys: there is no member 'private'",
        ),
        ("issuers", json!({ "name": "a", "kind": "github", "keys": { "file": "x" } }), ": keys: an issuer's keys are "),
        (
            "issuers",
            json!({ "name": "a", "kind": "github", "jwks": { "keys": [jwk] } }),
            ": jwks: the JWK Set has a private or a symmetric key",
        ),
        ("clients", json!({ "client_id": "a", "jwks": { "keys": [jwk] } }), ": jwks: key 1 of the JWK Set "),
        (
            "clients",
            json!({ "client_id": "a", "jwks_uri": { "uri": "https://a.example/k", "cas": "x" } }),
            ": jwks_uri: there is no member 'cas'",
        ),
        ("clients", json!({ "client_id": "a", "trust": {} }), ": trust: "),
        (
            "clients",
            json!({ "client_id": "a", "trust": [{ "name": "r", "issuer": "https://a.example", "claims": [{ "path": ["sub"], "equals": ["x"] }] }] }),
            ": trust[0]: claims[0].equals: ",
        ),
        (
            "clients",
            json!({ "client_id": "a", "trust": [{ "name": "r", "aws": { "account": "111122223333" } }, { "name": "s", "aws": {} }] }),
            ": trust[1]: \"aws\" needs an account or an organization",
        ),
        (
            "clients",
            json!({ "client_id": "a", "trust": [{ "name": "r", "aws": { "account": "111122223333" } }, { "name": "r", "aws": { "account": "111122223333" } }] }),
            ": trust: two rules are named 'r'",
        ),
    ] {
        let error = Declaration::of(&[("a.yaml".to_owned(), json!({ "name": "a", list: [entry] }))]);
        let error = error.expect_err(&entry.to_string()).to_string();
        assert!(error.starts_with(&format!("a.yaml: {list}[0]{expected}")), "{entry}\n{error}");
        assert!(!error.contains("AAAA"), "{error}");
    }
    for (list, entry, what) in [
        ("owners", json!({ "owner": "a" }), "owner 'a'"),
        ("issuers", json!({ "name": "a", "kind": "github" }), "issuer 'a' of realm 'root'"),
    ] {
        let error = Declaration::of(&[("a.yaml".to_owned(), json!({ "name": "a", list: [entry, entry] }))]);
        let expected = format!("{what} is declared twice: a.yaml: {list}[0] and a.yaml: {list}[1]");
        assert_eq!(error.expect_err("twice").to_string(), expected);
    }
}

#[test]
fn what_is_wrong_is_said_of_the_member_as_it_is_written() {
    for (list, entry, expected) in [
        (
            "issuers",
            json!({ "name": "a", "kind": "github", "keys": { "jwks_uri": "http://a.example/k" } }),
            ": keys: jwks_uri: keys are fetched from an https URL",
        ),
        (
            "issuers",
            json!({ "name": "a", "kind": "github", "jwks_uri": { "uri": "http://a.example/k" } }),
            ": jwks_uri: uri: keys are fetched from an https URL",
        ),
        (
            "clients",
            json!({ "client_id": "a", "jwks_uri": "http://a.example/k" }),
            ": jwks_uri: keys are fetched from an https URL",
        ),
        (
            "clients",
            json!({ "client_id": "a", "jwks_uri": { "uri": "http://a.example/k" } }),
            ": jwks_uri: uri: keys are fetched from an https URL",
        ),
        (
            "clients",
            json!({ "client_id": "a", "token_endpoint_auth_method": "password" }),
            ": token_endpoint_auth_method: ",
        ),
        ("clients", json!({ "client_id": null }), ": client_id: has to be text, not null"),
        ("clients", json!({ "client_id": "a", "realm": null }), ": realm: has to be text, not null"),
        (
            "clients",
            json!({ "client_id": "a", "token_quota": 5 }),
            ": token_quota: has to be text such as \"100/hour\"",
        ),
    ] {
        let error = Declaration::of(&[("a.yaml".to_owned(), json!({ "name": "a", list: [entry] }))]);
        let error = error.expect_err(&entry.to_string()).to_string();
        assert!(error.starts_with(&format!("a.yaml: {list}[0]{expected}")), "{entry}\n{error}");
    }
}

#[tokio::test]
async fn what_is_said_of_keys_in_other_words_is_the_same() {
    let set: Value = serde_json::from_str(include_str!("support/jwks.json")).expect("JSON");
    for (one, other) in [
        (
            json!({ "preset": "github" }),
            json!({ "kind": "github", "issuer": "https://token.actions.githubusercontent.com", "keys": "discovery" }),
        ),
        (json!({ "issuer": "https://gitlab.com" }), json!({ "kind": "gitlab", "keys": { "discovery": {} } })),
        (
            json!({ "issuer": "https://a.example", "jwks": set }),
            json!({ "issuer": "https://a.example", "keys": { "jwks": set } }),
        ),
        (
            json!({ "issuer": "https://a.example", "jwks_uri": "https://a.example/k" }),
            json!({ "issuer": "https://a.example", "keys": { "jwks_uri": { "uri": "https://a.example/k" } } }),
        ),
        (
            json!({ "issuer": "https://a.example", "jwks_uri": { "uri": "https://a.example/k", "allow_private_network": true } }),
            json!({ "issuer": "https://a.example", "keys": { "jwks_uri": { "uri": "https://a.example/k", "allow_private_network": true } } }),
        ),
    ] {
        let registered = async |mut entry: Value| {
            let house = House::new();
            entry["name"] = json!("its");
            house.apply_file(&json!({ "name": "team-a", "issuers": [entry] })).await;
            let issuer = issuer(&house, "root", "its").await;
            TrustedIssuer { managed_by: None, ..issuer }
        };
        assert_eq!(registered(one.clone()).await, registered(other).await, "{one}");
    }
}

#[tokio::test]
async fn what_is_as_its_kind_has_it_follows_a_change_of_its_kind_and_a_limit_can_be_lifted() {
    let house = House::new();
    let file = |members: Value| {
        let mut entry = json!({ "name": "ci", "issuer": "https://ci.example" });
        entry.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        json!({ "name": "team-a", "issuers": [entry] })
    };
    house.apply_file(&file(json!({ "kind": "gitlab" }))).await;
    let ci = issuer(&house, "root", "ci").await;
    assert_eq!((ci.max_age, ci.single_use), (None, false));
    house.apply_file(&file(json!({}))).await;
    let ci = issuer(&house, "root", "ci").await;
    assert_eq!((ci.kind, ci.max_age, ci.single_use), (IssuerKind::Oidc, Some(600), true), "no looser than a new one");
    house.apply_file(&file(json!({ "max_age": "until exp", "single_use": false }))).await;
    let ci = issuer(&house, "root", "ci").await;
    assert_eq!((ci.max_age, ci.single_use), (None, false));
    house.apply_file(&file(json!({ "max_age": null }))).await;
    let ci = issuer(&house, "root", "ci").await;
    assert_eq!((ci.max_age, ci.single_use), (Some(600), true));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn applied_twice_is_applied_once_in_whatever_order_and_however_it_is_split(
        first in files(),
        second in files(),
        prune in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let house = House::new();
            let others = json!({
                "name": "others",
                "owners": [{ "owner": "stranger" }],
                "issuers": [{ "name": "strange", "issuer": "https://strange.example" }],
                "clients": [{ "client_id": "stranger", "owners": ["stranger"] }]
            });
            house.apply_file(&others).await;
            house.apply_file(&first).await;
            let options = PlanOptions { prune, adopt: false };
            let plan = house.plan(std::slice::from_ref(&second), options).await.expect("a plan");
            let split = house.plan(&split_and_reversed(&second), options).await.expect("a plan");
            assert_eq!(plan, split, "neither the order of entries nor their file says anything");
            let before = house.snapshot().await;
            for step in plan.steps.iter().filter(|step| step.action == Action::Delete) {
                let managed_by = match &step.target {
                    Target::Owner { owner } => before.owner(owner).and_then(|owner| owner.managed_by.clone()),
                    Target::Client { realm, client_id } => {
                        before.client(realm, client_id).and_then(|client| client.managed_by.clone())
                    }
                    Target::Issuer { realm, name } => before
                        .realm(realm)
                        .and_then(|realm| realm.trusted_issuer_named(name).cloned())
                        .and_then(|issuer| issuer.managed_by),
                    Target::Realm { .. } => None,
                };
                assert_eq!(managed_by.expect("declared").name.as_str(), "team-a", "pruning never leaves its name");
                assert!(prune, "nothing is deleted that nobody asked to");
            }
            house.apply(&plan).await.expect("carried out");
            let after = house.state().await;
            let again = house.plan(std::slice::from_ref(&second), options).await.expect("a plan");
            assert!(!again.has_changes(), "{:?}", described(&again));
            house.apply(&plan).await.expect("carried out again");
            assert_eq!(house.state().await, after, "twice is once");

            // Exported and taken over, nothing changes but whose it is.
            let exported = house.exported("exported").await;
            let adopt = PlanOptions { adopt: true, prune: true };
            let plan = house.plan(std::slice::from_ref(&exported), adopt).await.expect("a plan");
            assert!(plan.steps.iter().all(|step| step.changes.is_empty() && step.action != Action::Create), "{:?}", described(&plan));
            house.apply(&plan).await.expect("carried out");
            assert_eq!(house.exported("exported").await, exported);
        });
    }
}

/// Files of one name that declare some owners, issuers and clients with rules, which fit together.
fn files() -> impl Strategy<Value = Value> {
    let owner = (
        prop::sample::select(vec!["alice", "bob", "carol"]),
        prop::option::of(prop::sample::select(vec!["a@example.com", "b@example.com"])),
        any::<bool>(),
        prop::option::of(any::<bool>()),
    );
    let issuer = (
        prop::sample::select(vec!["github", "ci", "cluster"]),
        prop::option::of(prop::sample::select(vec![json!(60), json!("until exp"), Value::Null])),
        prop::option::of(any::<bool>()),
    );
    let client = (
        prop::sample::select(vec!["a", "b", "c"]),
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        any::<bool>(),
    );
    let lists =
        (prop::collection::vec(owner, 0..4), prop::collection::vec(issuer, 0..4), prop::collection::vec(client, 0..4));
    lists.prop_map(|(owners, issuers, clients)| {
        let mut declared_owners = std::collections::BTreeMap::new();
        for (id, email, has_role, is_disabled) in owners {
            let mut entry = json!({ "owner": id });
            if let Some(email) = email {
                entry["email"] = json!(email);
            }
            if has_role {
                entry["aws_principals"] = json!([ROLE]);
            }
            if let Some(is_disabled) = is_disabled {
                entry["status"] = json!(if is_disabled { "disabled" } else { "active" });
            }
            declared_owners.insert(id, entry);
        }
        let mut declared_issuers = std::collections::BTreeMap::new();
        for (issuer, max_age, single_use) in issuers {
            let mut entry = match issuer {
                "github" => json!({ "name": issuer, "preset": "github" }),
                "ci" => json!({ "name": issuer, "issuer": "https://ci.example" }),
                _ => json!({ "name": issuer, "kind": "kubernetes", "issuer": "https://cluster.example",
                    "jwks_uri": "https://cluster.example/keys" }),
            };
            if let Some(max_age) = max_age {
                entry["max_age"] = max_age;
            }
            if let Some(single_use) = single_use {
                entry["single_use"] = json!(single_use);
            }
            declared_issuers.insert(issuer, entry);
        }
        let rules: Vec<Value> = declared_issuers.keys().map(|issuer| rule_for(issuer)).collect();
        let mut declared_clients = std::collections::BTreeMap::new();
        for (client, owner, rule, is_disabled) in clients {
            let mut entry = json!({ "client_id": client, "scope": "read" });
            if !declared_owners.is_empty() {
                let owners: Vec<_> = declared_owners.keys().collect();
                entry["owners"] = json!([owner.get(&owners)]);
            }
            if !rules.is_empty() {
                entry["token_endpoint_auth_methods"] = json!(["workload_identity"]);
                entry["trust"] = json!([rule.get(&rules)]);
            }
            if is_disabled {
                entry["status"] = json!("disabled");
            }
            declared_clients.insert(client, entry);
        }
        json!({
            "name": "team-a",
            "realms": [{ "realm": "root", "default_scope": "read" }],
            "owners": declared_owners.into_values().collect::<Vec<Value>>(),
            "issuers": declared_issuers.into_values().collect::<Vec<Value>>(),
            "clients": declared_clients.into_values().collect::<Vec<Value>>()
        })
    })
}

fn rule_for(issuer: &str) -> Value {
    match issuer {
        "github" => json!({ "name": "r", "issuer": "https://token.actions.githubusercontent.com",
            "claims": [{ "path": ["repository_id"], "equals": "74" }] }),
        "ci" => {
            json!({ "name": "r", "issuer": "https://ci.example", "claims": [{ "path": ["sub"], "equals": "job" }] })
        }
        _ => json!({ "name": "r", "issuer": "https://cluster.example",
            "claims": [{ "path": ["sub"], "equals": "system:serviceaccount:orders:worker" }] }),
    }
}

/// The same entries in two files, each list the other way round.
fn split_and_reversed(file: &Value) -> Vec<Value> {
    let mut halves = [json!({ "name": file["name"] }), json!({ "name": file["name"] })];
    for list in ["realms", "owners", "issuers", "clients"] {
        let mut entries = file[list].as_array().expect("a list").clone();
        entries.reverse();
        let rest = entries.split_off(entries.len() / 2);
        halves[1][list] = json!(entries);
        halves[0][list] = json!(rest);
    }
    halves.to_vec()
}

fn with_rules() -> Value {
    json!({
        "name": "team-a",
        "realms": [{ "realm": "alpha" }],
        "issuers": [{ "realm": "alpha", "name": "github", "preset": "github" }],
        "clients": [{
            "realm": "alpha", "client_id": "deploy", "scope": "read", "generate": false,
            "token_endpoint_auth_methods": ["workload_identity"],
            "trust": [{ "name": "main", "issuer": "https://token.actions.githubusercontent.com",
                "claims": [{ "path": ["repository_id"], "equals": 74 }] }]
        }]
    })
}

fn members<'a>(plan: &'a Plan, target: &str) -> Vec<(&'a str, Value, Value, bool)> {
    let step = plan.steps.iter().find(|step| step.target.to_string() == target).expect("a step");
    let member = step
        .changes
        .iter()
        .map(|change| (change.member.as_str(), change.before.clone(), change.after.clone(), change.returns_to_default));
    member.collect()
}

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|Problem { target, place, kind }| format!("{place}: {target}: {kind}")).collect()
}

async fn owner(house: &House, id: &str) -> Owner {
    house.management.owner(&owner_id(id)).await.expect("there")
}

async fn set_status(house: &House, id: &str, status: OwnerStatus) {
    let change = OwnerChange { details: &|_| (), status: Some(status) };
    house.management.update_owner(&owner_id(id), &change).await.expect("changed");
}

async fn issuer(house: &House, realm: &str, name: &str) -> TrustedIssuer {
    let realm: RealmName = realm.parse().expect("a realm's name");
    house.management.issuer(&realm, &issuer_name(name)).await.expect("there")
}

fn owner_id(id: &str) -> OwnerId {
    id.parse().expect("an owner's id")
}

fn issuer_name(name: &str) -> IssuerName {
    name.parse().expect("an issuer's name")
}

const ROLE: &str = "arn:aws:iam::111122223333:role/Orders";
const PRUNE: PlanOptions = PlanOptions { prune: true, adopt: false };
