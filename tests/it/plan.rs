//! Clients as code: what a file declares becomes a plan, and the plan is carried out as it was shown.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantwell::core::admin_log::Actor;
use grantwell::core::client::id::ClientId;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::client::{Client, ClientStatus};
use grantwell::core::declaration::ManagedBy;
use grantwell::core::management::plan::{
    Action, AdoptedFrom, CarriedOut, Declaration, Exported, KeepSecret, Plan, PlanOptions, Problem, ProblemKind,
    Snapshot, Step, Target,
};
use grantwell::core::management::{ClientChange, Management, ManagementError, Notice, RealmChange, Registration};
use grantwell::core::owner::Owner;
use grantwell::core::port_error::PortError;
use grantwell::core::realm::{Realm, RealmName};
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::system::{SystemClock, SystemRandom};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::logging::{logging_as, operator};

#[tokio::test]
async fn what_is_declared_is_created_and_planned_again_changes_nothing() {
    let house = House::new();
    let plan = house.plan(&[team_a()], PlanOptions::default()).await.expect("a plan");
    assert_eq!(
        described(&plan),
        [
            "create realm 'alpha': default_scope",
            "create client 'one' of realm 'alpha': client_name scope default_scope",
            "create client 'two' of realm 'alpha': scope access_token_lifetime"
        ]
    );
    house.apply(&plan).await.expect("carried out");
    assert_eq!(house.secrets(), ["one", "two"]);

    let again = house.plan(&[team_a()], PlanOptions::default()).await.expect("a plan");
    assert!(!again.has_changes(), "{:?}", described(&again));
    let one = house.client("alpha", "one").await;
    assert_eq!((one.revision, one.metadata.client_name.as_deref()), (1, Some("One")));
    house.apply(&plan).await.expect("an interrupted run, repeated, finds it done");
    assert_eq!(house.client("alpha", "one").await.revision, 1);
    assert_eq!(house.secrets(), ["one", "two"], "no second secret");
}

#[tokio::test]
async fn only_what_is_mentioned_is_set_and_what_is_mentioned_no_more_returns_to_its_default() {
    let house = House::new();
    house.apply_file(&team_a()).await;
    house.update("alpha", "two", &|metadata| metadata.client_name = Some("By hand".to_owned())).await;

    let mut file = team_a();
    file["clients"][1] = json!({ "realm": "alpha", "client_id": "two", "scope": "read write" });
    let plan = house.plan(std::slice::from_ref(&file), PlanOptions::default()).await.expect("a plan");
    let changed: Vec<&Step> = plan.steps.iter().filter(|step| step.is_change()).collect();
    let [step] = changed.as_slice() else { panic!("{:?}", described(&plan)) };
    let told: Vec<(&str, &Value, &Value, bool)> = step
        .changes
        .iter()
        .map(|change| (change.member.as_str(), &change.before, &change.after, change.returns_to_default))
        .collect();
    let (read, both) = (json!("read"), json!("read write"));
    assert_eq!(told, [("scope", &read, &both, false), ("access_token_lifetime", &json!(900), &Value::Null, true)]);
    house.apply(&plan).await.expect("carried out");
    let two = house.client("alpha", "two").await;
    assert_eq!(two.metadata.client_name.as_deref(), Some("By hand"), "nobody has mentioned it");
    assert_eq!(two.metadata.access_token_lifetime, None);
    assert!(!house.plan(&[file], PlanOptions::default()).await.expect("a plan").has_changes());
}

#[tokio::test]
async fn somebody_elses_change_in_between_stops_the_step() {
    let house = House::new();
    house.apply_file(&team_a()).await;
    let mut file = team_a();
    file["clients"][0]["client_name"] = json!("Uno");
    file["realms"][0]["default_scope"] = json!("write");
    let plan = house.plan(&[file], PlanOptions::default()).await.expect("a plan");

    house.update("alpha", "one", &|metadata| metadata.contacts = vec!["somebody".to_owned()]).await;
    let change = RealmChange { settings: &|settings| settings.allowed_scope = None, ..RealmChange::NOTHING };
    house.management.set_realm(&name("alpha"), &change).await.expect("nothing changed");
    let stopped = house.apply(&plan).await.expect_err("a conflict");
    assert!(matches!(stopped, ManagementError::Conflict(_)), "{stopped}");
    let one = house.client("alpha", "one").await;
    assert_eq!((one.metadata.client_name.as_deref(), one.metadata.contacts.len()), (Some("One"), 1));

    // A client that was registered meanwhile under an id that was free is not the one that was planned either.
    let create = json!({ "name": "team-a", "clients": [{ "client_id": "new", "scope": "read" }] });
    let plan = house.plan(&[create], PlanOptions::default()).await.expect("a plan");
    house.register("root", "new").await;
    assert!(matches!(house.apply(&plan).await, Err(ManagementError::Conflict(_))));
}

#[tokio::test]
async fn nothing_is_deleted_but_by_pruning_and_only_what_is_of_this_name() {
    let house = House::new();
    house.apply_file(&team_a()).await;
    house.apply_file(&json!({ "name": "team-b", "clients": [{ "client_id": "theirs", "scope": "read" }] })).await;
    house.register("root", "by-hand").await;

    let fewer = json!({ "name": "team-a", "clients": [{ "realm": "alpha", "client_id": "one" }] });
    let kept = house.plan(std::slice::from_ref(&fewer), PlanOptions::default()).await.expect("a plan");
    assert_eq!(kept.count(Action::Delete), 0);
    assert_eq!(kept.left, [target("alpha", "two")]);

    let prune = PlanOptions { prune: true, adopt: true };
    let plan = house.plan(std::slice::from_ref(&fewer), prune).await.expect("a plan");
    let deleted: Vec<&Target> =
        plan.steps.iter().filter(|step| step.action == Action::Delete).map(|step| &step.target).collect();
    assert_eq!(deleted, [&target("alpha", "two")]);
    house.apply(&plan).await.expect("carried out");
    assert_eq!(house.ids().await, ["alpha/one", "root/by-hand", "root/theirs"]);
    house.apply(&plan).await.expect("repeated");
}

#[tokio::test]
async fn a_deletion_that_was_interrupted_after_disabling_is_finished_and_another_change_stops_it() {
    let house = House::new();
    house.apply_file(&team_a()).await;
    let nothing = json!({ "name": "team-a" });
    let prune = PlanOptions { prune: true, adopt: false };
    let plan = house.plan(std::slice::from_ref(&nothing), prune).await.expect("a plan");
    house.management.set_status(&name("alpha"), &id("one"), ClientStatus::Disabled).await.expect("disabled");
    house.update("alpha", "two", &|metadata| metadata.contacts = vec!["needs it".to_owned()]).await;
    assert!(matches!(house.apply(&plan).await, Err(ManagementError::Conflict(_))));
    assert_eq!(house.ids().await, ["alpha/two"], "the first was disabled as planned, the second is needed");
}

#[tokio::test]
async fn a_registration_that_an_earlier_run_has_begun_and_not_ended_is_made_anew() {
    let house = House::new();
    house.apply_file(&team_a()).await;
    let whole = house.snapshot().await;
    let begun = |managed_by: &dyn Fn(&Client) -> Option<ManagedBy>| {
        let clients = whole.clients().map(|client| match client.client_id.as_str() {
            "one" => Client { managed_by: managed_by(client), ..client.begun() },
            _ => client.clone(),
        });
        Snapshot::new(whole.realms().cloned(), clients)
    };
    let declaration = Declaration::of(&[("a.yaml".to_owned(), team_a())]).expect("a declaration");
    let ours = begun(&|client| client.managed_by.clone());
    let plan = Plan::make(&declaration, &ours, PlanOptions::default()).expect("a plan");
    let step = plan.steps.iter().find(|step| step.target == target("alpha", "one")).expect("a step");
    assert_eq!((step.action, &step.base), (Action::Create, &None));
    assert!(step.changes.iter().any(|change| change.member == "client_name"), "{step:?}");

    let nobodys = begun(&|_| None);
    let refused = Plan::make(&declaration, &nobodys, PlanOptions::default()).expect_err("perhaps it is being made");
    assert!(matches!(refused.as_slice(), [Problem { kind: ProblemKind::NotOurs { of: None }, .. }]), "{refused:?}");
}

#[tokio::test]
async fn a_plan_says_in_which_realms_it_has_not_searched_for_what_is_no_longer_declared() {
    let house = House::new();
    house.apply_file(&team_a()).await;
    let declaration = Declaration::of(&[("a.yaml".to_owned(), team_a())]).expect("a declaration");
    let stored = house.snapshot().await.in_part([name("alpha")].into());
    let plan = Plan::make(&declaration, &stored, PlanOptions::default()).expect("a plan");
    assert_eq!((plan.has_changes(), plan.not_searched), (false, vec![name("alpha")]));
}

#[tokio::test]
async fn a_record_of_somebody_else_is_taken_over_only_when_that_is_said_and_it_is_said_from_whom() {
    let house = House::new();
    house.apply_file(&json!({ "name": "team-b", "clients": [{ "client_id": "theirs", "scope": "read" }] })).await;
    house.register("root", "by-hand").await;
    let file = json!({
        "name": "team-a",
        "clients": [{ "client_id": "theirs", "client_name": "Ours" }, { "client_id": "by-hand" }]
    });
    let problems = house.plan(std::slice::from_ref(&file), PlanOptions::default()).await.expect_err("not ours");
    let kinds: Vec<ProblemKind> = problems.into_iter().map(|problem| problem.kind).collect();
    let team_b = "team-b".parse().expect("a name");
    assert_eq!(kinds, [ProblemKind::NotOurs { of: None }, ProblemKind::NotOurs { of: Some(team_b) }]);

    let adopt = PlanOptions { adopt: true, prune: false };
    let plan = house.plan(std::slice::from_ref(&file), adopt).await.expect("a plan");
    let from: Vec<Option<&AdoptedFrom>> = plan.steps.iter().map(|step| step.adopted_from.as_ref()).collect();
    let team_b = AdoptedFrom::File("team-b".parse().expect("a name"));
    assert_eq!(from, [Some(&AdoptedFrom::Nobody), Some(&team_b)]);
    house.apply(&plan).await.expect("carried out");
    assert!(!house.plan(&[file], PlanOptions::default()).await.expect("ours now").has_changes());
    let theirs = house.client("root", "theirs").await;
    assert_eq!(theirs.metadata.scope.to_string(), "read", "what the other file has set stays");
}

#[tokio::test]
async fn an_export_that_is_applied_changes_nothing_but_whose_the_records_are() {
    let house = House::new();
    house.apply_file(&team_a()).await;
    house.register("root", "by-hand").await;
    house
        .update("root", "by-hand", &|metadata| {
            metadata.access_token_claims = r#"{"tier":"gold","n":1.50}"#.parse().expect("claims");
            metadata.redirect_uris = vec!["https://www.example.com:443/callback".parse().expect("a URL")];
        })
        .await;
    house.management.set_status(&name("root"), &id("by-hand"), ClientStatus::Disabled).await.expect("disabled");
    let file = house.exported("team-c").await;
    let adopt = PlanOptions { adopt: true, prune: true };
    let plan = house.plan(std::slice::from_ref(&file), adopt).await.expect("a plan");
    assert_eq!(plan.steps.iter().map(|step| step.changes.len()).sum::<usize>(), 0, "{:?}", described(&plan));
    house.apply(&plan).await.expect("carried out");
    assert_eq!(house.exported("team-c").await, file);
}

#[tokio::test]
async fn a_plan_that_was_written_down_and_read_again_is_the_same() {
    let house = House::new();
    let plan = house.plan(&[team_a()], PlanOptions::default()).await.expect("a plan");
    let text = serde_json::to_string(&plan).expect("JSON");
    assert_eq!(serde_json::from_str::<Plan>(&text).expect("a plan"), plan);
    assert!(!text.contains("secret_digests"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_is_said_of_every_record_before_anything_is_done() {
    let house = House::new();
    let file = json!({
        "name": "team-a",
        "realms": [{ "realm": "narrow", "allowed_scope": "read", "default_scope": "write" }],
        "clients": [
            { "realm": "nowhere", "client_id": "a" },
            { "client_id": "b", "scope": "read", "default_scope": "write" },
            { "client_id": "c", "generate": false }
        ]
    });
    let problems = house.plan(&[file], PlanOptions::default()).await.expect_err("problems");
    let told: Vec<String> =
        problems.iter().map(|Problem { target, place, kind }| format!("{place}: {target}: {kind}")).collect();
    assert_eq!(
        told,
        [
            "a.yaml: realms[0]: realm 'narrow': the default scope 'write' is not among the realm's allowed scopes 'read'",
            "a.yaml: clients[0]: client 'a' of realm 'nowhere': its realm does not exist, and the file does not declare it",
            "a.yaml: clients[1]: client 'b' of realm 'root': the default scope 'write' is not among the client's scopes",
            "a.yaml: clients[2]: client 'c' of realm 'root': it says generate: false, and one of its authentication methods uses a secret",
        ]
    );
    assert_eq!(house.ids().await, [""; 0]);
}

#[tokio::test]
async fn what_is_wrong_below_a_record_that_is_refused_is_said_in_the_same_run() {
    let house = House::new();
    house
        .apply_file(&json!({
            "name": "team-b",
            "realms": [{ "realm": "alpha", "allowed_scope": "read" }],
            "owners": [{ "owner": "bob" }],
            "issuers": [{ "realm": "alpha", "name": "ci", "issuer": "https://ci.example" }]
        }))
        .await;
    let told = async |allowed: &str| {
        let rule =
            json!({ "name": "r", "issuer": "https://ci.example", "claims": [{ "path": ["sub"], "equals": "a" }] });
        let file = json!({
            "name": "team-a",
            "realms": [{ "realm": "alpha", "allowed_scope": allowed }],
            "owners": [{ "owner": "bob" }],
            "issuers": [{ "realm": "alpha", "name": "ci", "issuer": "https://other.example" }],
            "clients": [
                { "realm": "alpha", "client_id": "fine", "scope": "read", "trust": [rule], "owners": ["bob"],
                  "token_endpoint_auth_methods": ["workload_identity"] },
                { "realm": "alpha", "client_id": "lost", "scope": "read", "owners": ["nobody"] },
                { "realm": "alpha", "client_id": "wide", "scope": "read write", "owners": ["bob"] }
            ]
        });
        let problems = house.plan(&[file], PlanOptions::default()).await.expect_err("problems");
        problems.iter().map(|problem| problem.target.to_string()).collect::<Vec<_>>()
    };
    let refused = ["realm 'alpha'", "owner 'bob'", "issuer 'ci' of realm 'alpha'", "client 'lost' of realm 'alpha'"];
    assert_eq!(told("read").await, [&refused[..], &["client 'wide' of realm 'alpha'"]].concat());
    // As the file would have the realm, not as it is.
    assert_eq!(told("read write").await, refused);
}

#[test]
fn a_file_that_is_not_of_its_form_is_refused_with_the_place() {
    for (document, expected) in [
        (Value::Null, "a.yaml is empty: it has to say at least its name"),
        (json!([]), "a.yaml: it has to be an object with the members name, realms, owners, issuers, clients"),
        (json!({}), "a.yaml: it has to say its name, such as \"name\": \"team-a\""),
        (json!({ "name": "team a" }), "a.yaml: name: a name has 1 to 64 characters of A-Z, a-z, 0-9, _, . and -"),
        (json!({ "name": "a", "client": [] }), "a.yaml: there is no member 'client'; did you mean 'clients'?"),
        (json!({ "name": "a", "clients": {} }), "a.yaml: clients: has to be a list"),
        (
            json!({ "name": "a", "clients": ["one"] }),
            "a.yaml: clients[0]: has to be an object with the members of the record",
        ),
        (json!({ "name": "a", "clients": [{}] }), "a.yaml: clients[0]: it has to say its client_id"),
        (json!({ "name": "a", "realms": [{}] }), "a.yaml: realms[0]: it has to say its realm"),
        (
            json!({ "name": "a", "clients": [{ "client_id": "x", "client_secret": "0123456789abcdef" }] }),
            "a.yaml: clients[0]: client_secret: a file never has a secret: one is made when the client is registered; take it out, and replace the secret if others have seen the file",
        ),
        (
            json!({ "name": "a", "clients": [{ "client_id": "x" }, { "realm": "root", "client_id": "x" }] }),
            "client 'x' of realm 'root' is declared twice: a.yaml: clients[0] and a.yaml: clients[1]",
        ),
    ] {
        let error = Declaration::of(&[("a.yaml".to_owned(), document.clone())]).expect_err("refused");
        assert_eq!(error.to_string(), expected, "{document}");
    }
    for (member, value) in [("scop", json!("read")), ("access_token_lifetime", json!("soon")), ("scope", json!(7))] {
        let document = json!({ "name": "a", "clients": [{ "client_id": "x", member: value }] });
        let error = Declaration::of(&[("a.yaml".to_owned(), document)]).expect_err("refused").to_string();
        assert!(error.starts_with("a.yaml: clients[0]") && error.contains(member), "{error}");
    }
    let two = [json!({ "name": "a" }), json!({ "name": "b" })].map(|document| (document["name"].to_string(), document));
    assert!(Declaration::of(&two).is_err(), "two names");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn applied_twice_is_applied_once_in_whatever_order(first in files(), second in files(), reversed in any::<bool>()) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let house = House::new();
            house.register("root", "stranger").await;
            house.apply_file(&first).await;
            let prune = PlanOptions { prune: true, adopt: false };
            let plan = house.plan(std::slice::from_ref(&second), prune).await.expect("a plan");
            let mut other = second.clone();
            if reversed && let Some(clients) = other["clients"].as_array_mut() {
                clients.reverse();
            }
            let other = house.plan(&[other], prune).await.expect("a plan");
            assert_eq!(described(&plan), described(&other), "the order of entries says nothing");
            let ours: BTreeSet<String> = house.ids().await.into_iter().filter(|id| id != "root/stranger").collect();
            for step in plan.steps.iter().filter(|step| step.action == Action::Delete) {
                let Target::Client { realm, client_id } = &step.target else { panic!("a client") };
                assert!(ours.contains(&format!("{realm}/{client_id}")), "pruning never leaves its name");
            }
            house.apply(&plan).await.expect("carried out");
            let after = house.snapshot().await;
            assert!(!house.plan(std::slice::from_ref(&second), prune).await.expect("a plan").has_changes());
            house.apply(&plan).await.expect("carried out again");
            assert!(house.snapshot().await.clients().eq(after.clients()), "twice is once");
        });
    }
}

/// Files of one name that declare some of a few clients, with some of a few members.
fn files() -> impl Strategy<Value = Value> {
    let member = prop_oneof![
        Just(("scope", json!("read write"))),
        Just(("scope", json!("read"))),
        Just(("client_name", json!("A name"))),
        Just(("client_name", Value::Null)),
        Just(("access_token_lifetime", json!(60))),
        Just(("contacts", json!(["alice"]))),
        Just(("status", json!("disabled"))),
        Just(("access_token_claims", json!({ "tier": "gold" }))),
        Just(("token_quota", json!("5/hour"))),
    ];
    let client = (prop::sample::select(vec!["a", "b", "c", "d"]), prop::collection::vec(member, 0..5));
    prop::collection::vec(client, 0..5).prop_map(|clients| {
        let mut declared = std::collections::BTreeMap::new();
        for (id, members) in clients {
            let mut entry = json!({ "client_id": id });
            for (name, value) in members {
                entry[name] = value;
            }
            declared.insert(id, entry);
        }
        json!({ "name": "team-a", "clients": declared.into_values().collect::<Vec<Value>>() })
    })
}

/// A registry of its own, and who keeps secrets.
pub(crate) struct House {
    pub(crate) management: Management,
    store: Arc<SqliteRegistry>,
    kept: Kept,
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeSet<String>>>);

#[async_trait]
impl KeepSecret for Kept {
    async fn keep(&self, _realm: &RealmName, client_id: &ClientId, _secret: &ClientSecret) -> Result<(), PortError> {
        self.0.lock().expect("not poisoned").insert(client_id.to_string());
        Ok(())
    }
}

impl House {
    pub(crate) fn new() -> Self {
        let store = Arc::new(SqliteRegistry::in_memory().expect("a store"));
        Self { management: management_of(&store, operator()), store, kept: Kept::default() }
    }

    /// The same registry, in the hands of somebody else.
    pub(crate) fn as_of(&self, actor: Actor) -> Self {
        let store = Arc::clone(&self.store);
        Self { management: management_of(&store, actor), store, kept: Kept::default() }
    }

    /// The same, where secrets are rotated by schedule.
    pub(crate) fn with_scheduled_rotation(self) -> Self {
        Self { management: self.management.with_scheduled_rotation(), ..self }
    }

    pub(crate) async fn snapshot(&self) -> Snapshot {
        let realms: Vec<Realm> = self.management.realms().await.expect("realms");
        let mut clients = Vec::new();
        for realm in &realms {
            clients.extend(self.management.clients(&realm.name, None, 1000, 100).await.expect("clients").clients);
        }
        let owners = self.management.owners().await.expect("owners");
        Snapshot::new(realms, clients).with_owners(owners)
    }

    pub(crate) async fn exported(&self, name: &str) -> Value {
        let name = name.parse().expect("a name");
        serde_json::to_value(Exported::new(&name, &self.snapshot().await)).expect("JSON")
    }

    pub(crate) async fn plan(&self, documents: &[Value], options: PlanOptions) -> Result<Plan, Vec<Problem>> {
        let documents: Vec<(String, Value)> =
            documents.iter().map(|document| ("a.yaml".to_owned(), document.clone())).collect();
        let declaration = Declaration::of(&documents).expect("a declaration");
        Plan::make(&declaration, &self.snapshot().await, options)
    }

    pub(crate) async fn apply(&self, plan: &Plan) -> Result<(), ManagementError> {
        for step in &plan.steps {
            self.management.carry_out(step, &self.kept).await?;
        }
        Ok(())
    }

    pub(crate) async fn carry_out(&self, step: &Step) -> Result<CarriedOut, ManagementError> {
        self.management.carry_out(step, &self.kept).await
    }

    /// All that is registered.
    pub(crate) async fn state(&self) -> (Vec<Realm>, Vec<Owner>, Vec<Client>) {
        let snapshot = self.snapshot().await;
        (
            snapshot.realms().cloned().collect(),
            snapshot.owners().cloned().collect(),
            snapshot.clients().cloned().collect(),
        )
    }

    pub(crate) async fn apply_file(&self, file: &Value) {
        let plan = self.plan(std::slice::from_ref(file), PlanOptions::default()).await.expect("a plan");
        self.apply(&plan).await.expect("carried out");
    }

    pub(crate) async fn client(&self, realm: &str, client_id: &str) -> Client {
        self.management.client(&name(realm), &id(client_id)).await.expect("registered")
    }

    pub(crate) async fn update(
        &self,
        realm: &str,
        client_id: &str,
        metadata: &(dyn Fn(&mut ClientMetadata) + Sync),
    ) -> Vec<Notice> {
        let change = ClientChange { metadata, ..ClientChange::NOTHING };
        self.management.update(&name(realm), &id(client_id), &change).await.expect("changed").notices
    }

    pub(crate) async fn register(&self, realm: &str, client_id: &str) {
        let registration = Registration {
            client_id: Some(id(client_id)),
            metadata: ClientMetadata::new(),
            secret_lifetime: None,
            secret: None,
            status: ClientStatus::Active,
            managed_by: None,
        };
        self.management.register(&name(realm), registration).await.expect("registered");
    }

    pub(crate) async fn ids(&self) -> Vec<String> {
        self.snapshot().await.clients().map(|client| format!("{}/{}", client.realm, client.client_id)).collect()
    }

    pub(crate) fn secrets(&self) -> Vec<String> {
        self.kept.0.lock().expect("not poisoned").iter().cloned().collect()
    }
}

fn management_of(store: &Arc<SqliteRegistry>, actor: Actor) -> Management {
    let logging = logging_as(Arc::clone(store) as _, actor);
    let (registry, keys) = (Arc::clone(store) as _, Arc::clone(store) as _);
    Management::new(registry, keys, logging, Arc::new(SystemClock), Arc::new(SystemRandom))
}

fn team_a() -> Value {
    json!({
        "name": "team-a",
        "realms": [{ "realm": "alpha", "default_scope": "read" }],
        "clients": [
            { "realm": "alpha", "client_id": "one", "client_name": "One", "scope": "read write", "default_scope": "read" },
            { "realm": "alpha", "client_id": "two", "scope": "read", "access_token_lifetime": 900 },
        ]
    })
}

pub(crate) fn described(plan: &Plan) -> Vec<String> {
    let describe = |step: &Step| {
        let members: Vec<&str> = step.changes.iter().map(|change| change.member.as_str()).collect();
        format!("{} {}: {}", step.action.as_str(), step.target, members.join(" "))
    };
    plan.steps.iter().map(describe).collect()
}

fn target(realm: &str, client_id: &str) -> Target {
    Target::Client { realm: name(realm), client_id: id(client_id) }
}

pub(crate) fn name(realm: &str) -> RealmName {
    realm.parse().expect("a realm's name")
}

pub(crate) fn id(client_id: &str) -> ClientId {
    client_id.parse().expect("a client's id")
}
