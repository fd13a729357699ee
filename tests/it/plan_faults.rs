//! A plan that is interrupted at any write, and what comes of it when it is run again: the same as if nothing had happened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantwell::core::admin_log::{AdminLogLine, LogPage, LogRange, Outcome};
use grantwell::core::client::Client;
use grantwell::core::client::id::ClientId;
use grantwell::core::client::secret::{ClientSecret, ClientSecrets, NewSecret, SecretDates};
use grantwell::core::keys::set::KeySet;
use grantwell::core::management::plan::{Action, Declaration, KeepSecret, Plan, PlanOptions, Snapshot};
use grantwell::core::management::{Management, ManagementError};
use grantwell::core::owner::{Owner, OwnerId};
use grantwell::core::port_error::PortError;
use grantwell::core::ports::{AdminLog, ClientPage, KeyStore, KeyStoreError, MovedSecrets, Registrar, RegistrarError};
use grantwell::core::realm::{Realm, RealmName};
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::system::SystemRandom;
use serde_json::{Value, json};

use crate::support::jws::ClockAt;
use crate::support::logging::logging;

/// What happens to the write at which a run is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interrupted {
    /// It is not made.
    Before,
    /// It is made, and nobody hears of it.
    After,
}

/// How the run is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// `apply -f`: planned anew.
    FromFiles,
    /// `apply plan.json`: the same steps.
    SamePlan,
}

#[tokio::test]
async fn interrupted_at_any_write_and_run_again_it_ends_in_the_same_state() {
    let undisturbed = World::with_everything().await;
    let plan = undisturbed.plan().await;
    let actions = |action| plan.steps.iter().filter(|step| step.action == action).count();
    assert_eq!(
        [Action::Create, Action::Change, Action::Delete].map(actions),
        [7, 7, 5],
        "every kind of change, of every kind of record"
    );
    let run = undisturbed.process(None);
    run.carry_out(&plan).await.expect("carried out");
    let (writes, expected) = (run.writes.made(), undisturbed.state().await);
    assert!(writes > 30, "{writes}");
    undisturbed.has_the_secrets_of_its_clients("undisturbed").await;

    for interrupted in [Interrupted::Before, Interrupted::After] {
        for number in 0..writes {
            // In turn, and of each write one way for each interruption: all of them take minutes.
            let again = if (number % 2 == 0) == (interrupted == Interrupted::Before) {
                Again::FromFiles
            } else {
                Again::SamePlan
            };
            let case = format!("{interrupted:?} write {number}, then {again:?}");
            let world = World::with_everything().await;
            let plan = world.plan().await;
            let broken = world.process(Some((number, interrupted)));
            let _failed_or_the_last_write_was_not_needed = broken.carry_out(&plan).await;
            drop(broken);

            let plan = if again == Again::SamePlan { plan } else { world.plan().await };
            let carried_out = world.process(None).carry_out(&plan).await;
            carried_out.unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(world.state().await, expected, "{case}");
            world.has_the_secrets_of_its_clients(&case).await;
            assert!(!world.plan().await.has_changes(), "{case}");
        }
    }
}

#[tokio::test]
async fn nothing_is_deleted_before_all_that_is_deleted_is_disabled() {
    let undisturbed = World::with_everything().await;
    let run = undisturbed.process(None);
    run.carry_out(&undisturbed.plan().await).await.expect("carried out");
    for number in 0..run.writes.made() {
        let world = World::with_everything().await;
        let plan = world.plan().await;
        let _interrupted = world.process(Some((number, Interrupted::Before))).carry_out(&plan).await;
        let stored = world.snapshot().await;
        let left: Vec<&Client> =
            stored.clients().filter(|client| client.client_id.as_str().starts_with("gone")).collect();
        assert!(left.len() == 3 || left.iter().all(|client| !client.is_active()), "write {number}");
    }
}

#[tokio::test]
async fn a_client_that_was_disabled_already_and_is_changed_by_somebody_else_is_not_deleted() {
    let world = World::with_everything().await;
    let plan = world.plan().await;
    let realm = "root".parse().expect("a name");
    let id = "gone-disabled".parse().expect("an id");
    let management = world.management();
    let metadata = |metadata: &mut grantwell::core::client::metadata::ClientMetadata| {
        metadata.contacts = vec!["still needs it".to_owned()];
    };
    let change = grantwell::core::management::ClientChange {
        metadata: &metadata,
        ..grantwell::core::management::ClientChange::NOTHING
    };
    management.update(&realm, &id, &change).await.expect("changed");
    let stopped = world.process(None).carry_out(&plan).await;
    assert!(matches!(stopped, Err(ManagementError::Conflict(_))), "{stopped:?}");
    management.client(&realm, &id).await.expect("it is still there");
}

/// What outlives a process: the registry, and where secrets are kept.
struct World {
    registry: Arc<SqliteRegistry>,
    kept: Arc<Mutex<BTreeMap<String, String>>>,
}

/// A run of the command.
struct Process {
    management: Management,
    writes: Arc<Writes>,
    kept: Kept,
}

/// The writes of a process, of which one is its last.
struct Writes {
    made: AtomicUsize,
    ends_at: Option<(usize, Interrupted)>,
}

/// A store as a process reaches it until it ends.
struct Reached {
    registry: Arc<SqliteRegistry>,
    writes: Arc<Writes>,
}

struct Kept {
    place: Arc<Mutex<BTreeMap<String, String>>>,
    writes: Arc<Writes>,
}

impl World {
    /// A registry in which there is something to create, to change, to take over, to disable and to delete.
    async fn with_everything() -> Self {
        let registry = Arc::new(SqliteRegistry::in_memory().expect("a store"));
        let world = Self { registry, kept: Arc::default() };
        world
            .apply(json!({ "name": "team-b", "clients": [
            { "client_id": "theirs", "scope": "read" },
            { "client_id": "theirs-too", "scope": "read" },
        ] }))
            .await;
        world
            .apply(json!({
                "name": "team-a",
                "realms": [{ "realm": "alpha", "default_scope": "read" }],
                "owners": [{ "owner": "bob", "email": "bob@example.com" }, { "owner": "carol" }],
                "issuers": [
                    { "realm": "alpha", "name": "ci", "issuer": "https://ci.example" },
                    { "realm": "alpha", "name": "old", "issuer": "https://old.example" },
                ],
                "clients": [
                    { "realm": "alpha", "client_id": "changed", "scope": "read", "client_name": "Before" },
                    { "realm": "alpha", "client_id": "stopped", "scope": "read" },
                    { "realm": "alpha", "client_id": "same", "scope": "read" },
                    { "realm": "alpha", "client_id": "gone-one", "scope": "read" },
                    { "client_id": "gone-two", "scope": "read" },
                    { "client_id": "gone-disabled", "scope": "read", "status": "disabled" },
                ]
            }))
            .await;
        world.kept.lock().expect("not poisoned").clear();
        world
    }

    /// What is declared, and planned against what is registered now.
    async fn plan(&self) -> Plan {
        self.plan_of(&json!({
            "name": "team-a",
            "realms": [
                { "realm": "alpha", "default_scope": "write" },
                { "realm": "beta", "access_token_format": "jwt" },
            ],
            "owners": [{ "owner": "alice" }, { "owner": "bob", "email": "bob@example.org" }],
            "issuers": [
                { "realm": "alpha", "name": "ci", "issuer": "https://ci.example", "max_age": 600 },
                { "realm": "beta", "name": "fresh", "issuer": "https://fresh.example" },
            ],
            "clients": [
                { "realm": "alpha", "client_id": "changed", "scope": "read write", "owners": ["alice"] },
                { "realm": "alpha", "client_id": "stopped", "scope": "read", "status": "disabled" },
                { "realm": "alpha", "client_id": "same", "scope": "read" },
                { "realm": "beta", "client_id": "new", "scope": "read" },
                { "realm": "beta", "client_id": "new-too", "scope": "read" },
                { "client_id": "new-disabled", "scope": "read", "status": "disabled" },
                {
                    "client_id": "new-by-key", "scope": "read", "generate": false,
                    "token_endpoint_auth_methods": ["private_key_jwt"],
                    "jwks": { "keys": [{
                        "kid": "k", "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
                    }] },
                },
                { "client_id": "theirs", "client_name": "Ours" },
                { "client_id": "theirs-too" },
            ]
        }))
        .await
    }

    async fn plan_of(&self, document: &Value) -> Plan {
        let declaration = Declaration::of(&[("a.yaml".to_owned(), document.clone())]).expect("a declaration");
        let options =
            PlanOptions { adopt: true, prune: document["clients"].as_array().is_some_and(|all| all.len() == 9) };
        Plan::make(&declaration, &self.snapshot().await, options).expect("a plan")
    }

    async fn apply(&self, document: Value) {
        let plan = self.plan_of(&document).await;
        self.process(None).carry_out(&plan).await.expect("carried out");
    }

    fn management(&self) -> Management {
        self.process(None).management
    }

    fn process(&self, ends_at: Option<(usize, Interrupted)>) -> Process {
        let writes = Arc::new(Writes { made: AtomicUsize::new(0), ends_at });
        let reached = || Arc::new(Reached { registry: Arc::clone(&self.registry), writes: Arc::clone(&writes) });
        let clock = Arc::new(ClockAt::new(1_800_000_000));
        let management = Management::new(reached(), reached(), logging(reached()), clock, Arc::new(SystemRandom));
        let kept = Kept { place: Arc::clone(&self.kept), writes: Arc::clone(&writes) };
        Process { management, writes, kept }
    }

    async fn snapshot(&self) -> Snapshot {
        let management = self.management();
        let realms: Vec<Realm> = management.realms().await.expect("realms");
        let mut clients = Vec::new();
        for realm in &realms {
            clients.extend(management.clients(&realm.name, None, 1000, 100).await.expect("clients").clients);
        }
        Snapshot::new(realms, clients).with_owners(management.owners().await.expect("owners"))
    }

    /// Everything that matters of what is registered.
    async fn state(&self) -> Vec<Value> {
        let stored = self.snapshot().await;
        let realms = stored.realms().map(|realm| json!([realm.name, realm.settings, realm.managed_by]));
        let clients = stored
            .clients()
            .map(|client| json!([client.realm, client.client_id, client.metadata, client.status, client.managed_by]));
        let owners = stored.owners().map(|owner| json!([owner.owner, owner.details, owner.status, owner.managed_by]));
        let mut state: Vec<Value> = realms.chain(clients).chain(owners).collect();
        for realm in stored.realms() {
            let keys = self.registry.read_keys(&realm.name).await.expect("readable");
            state.push(json!([realm.name, keys.is_some()]));
        }
        state
    }

    /// Each client that was created authenticates by the secret that was kept last.
    async fn has_the_secrets_of_its_clients(&self, case: &str) {
        let kept = self.kept.lock().expect("not poisoned").clone();
        let stored = self.snapshot().await;
        for (realm, id) in [("beta", "new"), ("beta", "new-too"), ("root", "new-disabled")] {
            let (realm, id) = (realm.parse().expect("a name"), id.parse().expect("an id"));
            let client = stored.client(&realm, &id).expect("registered");
            let secret = kept.get(&format!("{realm}/{id}")).unwrap_or_else(|| panic!("{case}: a secret of {id}"));
            let secret = ClientSecret::given(secret, false).expect("a secret");
            assert!(self.management().is_secret_of(client, &secret).await.expect("read"), "{case}: {id}");
        }
        assert!(!kept.contains_key("root/new-by-key"), "{case}: it has no secret");
    }
}

impl Process {
    /// As the command does it.
    async fn carry_out(&self, plan: &Plan) -> Result<(), ManagementError> {
        for phase in plan.phases() {
            for step in phase.steps {
                if phase.disables {
                    self.management.disable_ahead(step).await?;
                } else {
                    self.management.carry_out(step, &self.kept).await?;
                }
            }
        }
        Ok(())
    }
}

impl Writes {
    fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// Makes a write, unless the process has ended.
    async fn make<T, E: From<PortError>>(&self, write: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        match self.ends_at {
            Some((last, Interrupted::After)) if number == last => {
                write.await?;
                Err(ended().into())
            }
            Some((last, _)) if number >= last => Err(ended().into()),
            _ => write.await,
        }
    }
}

fn ended() -> PortError {
    PortError::Unavailable { service: "the store", detail: "the process has ended".to_owned() }
}

#[async_trait]
impl KeepSecret for Kept {
    async fn keep(&self, realm: &RealmName, client_id: &ClientId, secret: &ClientSecret) -> Result<(), PortError> {
        self.writes
            .make(async {
                let secret = secret.expose_client_secret().to_owned();
                self.place.lock().expect("not poisoned").insert(format!("{realm}/{client_id}"), secret);
                Ok(())
            })
            .await
    }
}

#[async_trait]
impl Registrar for Reached {
    async fn register(&self, client: &Client, secret: Option<&ClientSecret>) -> Result<(), RegistrarError> {
        self.writes.make(self.registry.register(client, secret)).await
    }

    async fn replace(&self, client: &Client) -> Result<(), RegistrarError> {
        self.writes.make(self.registry.replace(client)).await
    }

    async fn move_secrets(
        &self,
        before: &Client,
        client: &Client,
        fresh: &NewSecret<'_>,
    ) -> Result<MovedSecrets, RegistrarError> {
        self.writes.make(self.registry.move_secrets(before, client, fresh)).await
    }

    async fn delete(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), RegistrarError> {
        self.writes.make(self.registry.delete(realm, client_id)).await
    }

    async fn delete_unchanged(&self, client: &Client) -> Result<(), RegistrarError> {
        self.writes.make(self.registry.delete_unchanged(client)).await
    }

    async fn rotate_secret(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        secret: &NewSecret<'_>,
    ) -> Result<(), RegistrarError> {
        self.writes.make(self.registry.rotate_secret(realm, client_id, secret)).await
    }

    async fn secret_dates(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
    ) -> Result<Option<SecretDates>, RegistrarError> {
        self.registry.secret_dates(realm, client_id).await
    }

    async fn stored_secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, RegistrarError> {
        self.registry.stored_secrets(client).await
    }

    async fn revoke_previous_secret(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), RegistrarError> {
        self.writes.make(self.registry.revoke_previous_secret(realm, client_id)).await
    }

    async fn read(&self, realm: &RealmName, client_id: &ClientId) -> Result<Client, RegistrarError> {
        self.registry.read(realm, client_id).await
    }

    async fn read_many(&self, ids: &[(RealmName, ClientId)]) -> Result<Vec<Client>, RegistrarError> {
        self.registry.read_many(ids).await
    }

    async fn list(
        &self,
        realm: &RealmName,
        after: Option<&ClientId>,
        limit: usize,
    ) -> Result<ClientPage, RegistrarError> {
        self.registry.list(realm, after, limit).await
    }

    async fn put_realm(&self, realm: &Realm) -> Result<(), RegistrarError> {
        self.writes.make(self.registry.put_realm(realm)).await
    }

    async fn read_realm(&self, name: &RealmName) -> Result<Option<Realm>, RegistrarError> {
        self.registry.read_realm(name).await
    }

    async fn delete_realm(&self, realm: &Realm) -> Result<(), RegistrarError> {
        self.writes.make(self.registry.delete_realm(realm)).await
    }

    async fn list_realms(&self) -> Result<Vec<Realm>, RegistrarError> {
        self.registry.list_realms().await
    }

    async fn put_owner(&self, owner: &Owner) -> Result<(), RegistrarError> {
        self.writes.make(self.registry.put_owner(owner)).await
    }

    async fn delete_owner(&self, owner: &Owner) -> Result<(), RegistrarError> {
        self.writes.make(self.registry.delete_owner(owner)).await
    }

    async fn read_owner(&self, id: &OwnerId) -> Result<Option<Owner>, RegistrarError> {
        self.registry.read_owner(id).await
    }

    async fn list_owners(&self) -> Result<Vec<Owner>, RegistrarError> {
        self.registry.list_owners().await
    }
}

#[async_trait]
impl KeyStore for Reached {
    async fn read_keys(&self, realm: &RealmName) -> Result<Option<KeySet>, PortError> {
        self.registry.read_keys(realm).await
    }

    async fn create_keys(&self, realm: &RealmName, keys: &KeySet) -> Result<(), KeyStoreError> {
        self.writes.make(self.registry.create_keys(realm, keys)).await
    }

    async fn replace_keys(&self, realm: &RealmName, keys: &KeySet) -> Result<(), KeyStoreError> {
        self.writes.make(self.registry.replace_keys(realm, keys)).await
    }

    async fn delete_keys(&self, realm: &RealmName) -> Result<bool, PortError> {
        self.writes.make(self.registry.delete_keys(realm)).await
    }
}

#[async_trait]
impl AdminLog for Reached {
    async fn begin(&self, line: &AdminLogLine) -> Result<(), PortError> {
        self.writes.make(self.registry.begin(line)).await
    }

    async fn finish(&self, line: &AdminLogLine, outcome: Outcome) -> Result<(), PortError> {
        self.writes.make(self.registry.finish(line, outcome)).await
    }

    async fn read_log(&self, range: &LogRange) -> Result<LogPage, PortError> {
        self.registry.read_log(range).await
    }
}
