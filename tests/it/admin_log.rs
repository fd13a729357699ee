//! The admin log: no change is without its line, whoever makes it and however it ends, and no line has a secret. Owners, and what those
//! who act for them may do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use grantwell::core::admin_log::{Action, Actor, AdminLogLine, LogPage, LogRange, Outcome};
use grantwell::core::client::ClientStatus;
use grantwell::core::client::id::ClientId;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::keys::set::PUBLISHED_BEFORE_SIGNING;
use grantwell::core::management::{
    ClientChange, Effect, LogFilter, Management, ManagementError, OwnerChange, RealmChange, Registration, Rotation,
    Subject, TokensValidAfter,
};
use grantwell::core::owner::{OwnerDetails, OwnerId, OwnerStatus};
use grantwell::core::port_error::PortError;
use grantwell::core::ports::{AccessDenied, AdminLog, Clock, Registrar as _};
use grantwell::core::realm::{RealmName, RealmSettings};
use grantwell::core::time::UnixSeconds;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::system::SystemRandom;

use crate::support::logging::{logging, logging_as, operator};

/// A registry in memory with a log that can be made to fail.
struct House {
    registry: Arc<SqliteRegistry>,
    clock: Arc<SetClock>,
    log: Arc<BreakableLog>,
    management: Management,
}

struct SetClock(AtomicU64);

/// The registry's own log, until it breaks.
struct BreakableLog {
    log: Arc<SqliteRegistry>,
    refuses_to_begin: AtomicBool,
    refuses_to_finish: AtomicBool,
}

#[tokio::test]
async fn every_change_leaves_one_line_that_says_who_and_what() {
    let house = House::new();
    let (client, realm) = (id("c"), name("alpha"));
    let management = &house.management;

    management.create_owner(owner("alice"), OwnerDetails::default()).await.expect("created");
    house.expect(&["owner.create"]).await;
    let details = |details: &mut OwnerDetails| details.email = Some("a@example.com".parse().expect("an address"));
    let change = OwnerChange { details: &details, status: None };
    management.update_owner(&owner("alice"), &change).await.expect("changed");
    house.expect(&["owner.update"]).await;
    management.set_realm(&realm, &RealmChange::NOTHING).await.expect("made");
    house.expect(&["realm.create"]).await;
    let settings = |settings: &mut RealmSettings| settings.default_scope = Some("read".parse().expect("a scope"));
    let change = RealmChange { settings: &settings, ..RealmChange::NOTHING };
    management.set_realm(&realm, &change).await.expect("changed");
    house.expect(&["realm.update"]).await;
    let change = RealmChange { tokens_valid_after: TokensValidAfter::RevokeAll, ..RealmChange::NOTHING };
    management.set_realm(&realm, &change).await.expect("changed");
    house.expect(&["realm.revoke_tokens"]).await;

    management.register(&realm, registration("c", owned_by(&["alice"]))).await.expect("registered");
    house.expect(&["client.create"]).await;
    house.update(&realm, "c", &|metadata| metadata.scope = "write".parse().expect("a scope")).await.expect("changed");
    let line = &house.expect(&["client.update"]).await[0];
    assert_eq!(line.actor, operator());
    assert_eq!((line.face.as_str(), line.outcome, line.revision), ("command_line", Outcome::Done, Some(2)));
    assert_eq!((&line.target.client_id, &line.target.realm), (&Some(client.clone()), &Some(realm.clone())));
    assert_eq!(line.target.owners, [owner("alice")]);
    let members = serde_json::to_value(&line.members).expect("JSON");
    assert_eq!(members, serde_json::json!([{"name": "scope", "before": "", "after": "write"}]));
    assert_eq!(line.expires_at, line.at.seconds().plus(400 * 24 * 3_600));

    let change = ClientChange { tokens_valid_after: TokensValidAfter::RevokeAll, ..ClientChange::NOTHING };
    management.update(&realm, &client, &change).await.expect("changed");
    house.expect(&["client.revoke_tokens"]).await;
    management.set_status(&realm, &client, ClientStatus::Disabled).await.expect("stopped");
    house.expect(&["client.disable"]).await;
    management.set_status(&realm, &client, ClientStatus::Active).await.expect("started");
    house.expect(&["client.enable"]).await;
    management.rotate_secret(&realm, &client, Rotation::default()).await.expect("rotated");
    house.expect(&["client.rotate_secret"]).await;
    management.revoke_previous_secret(&realm, &client).await.expect("ended");
    house.expect(&["client.revoke_previous_secret"]).await;
    management.rotate_keys(&realm).await.expect("made");
    house.expect(&["keys.create"]).await;
    house.clock.pass(PUBLISHED_BEFORE_SIGNING);
    management.rotate_keys(&realm).await.expect("rotated");
    house.expect(&["keys.rotate"]).await;
    let keys = management.keys(&realm).await.expect("readable");
    management.revoke_key(&realm, &keys.keys[0].jwk.kid).await.expect("revoked");
    house.expect(&["keys.revoke"]).await;
    management.delete(&realm, &client).await.expect("deleted");
    house.expect(&["client.delete"]).await;
    management.delete_owner(&owner("alice")).await.expect("deleted");
    house.expect(&["owner.delete", "owner.update"]).await;

    // What changes nothing, or is refused before it is tried, leaves none.
    management.set_realm(&realm, &RealmChange::NOTHING).await.expect("nothing to do");
    assert!(management.register(&realm, registration("d", owned_by(&["nobody"]))).await.is_err());
    house.expect(&[]).await;
}

#[tokio::test]
async fn lines_of_one_process_keep_their_order_within_a_millisecond() {
    let house = House::new();
    for number in 0..20 {
        house.management.create_owner(owner(&format!("o{number}")), OwnerDetails::default()).await.expect("created");
    }
    let listed = house.log(&LogFilter::default()).await;
    let owners: Vec<String> =
        listed.iter().rev().filter_map(|line| line.target.owner.clone()).map(String::from).collect();
    assert_eq!(owners, (0..20).map(|number| format!("o{number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn nothing_is_changed_without_a_line() {
    let house = House::new();
    house.management.register(&root(), registration("c", ClientMetadata::new())).await.expect("registered");
    let before = house.management.client(&root(), &id("c")).await.expect("there");
    let secret = house.registry.stored_secrets(&before).await.expect("readable").expect("a secret");
    house.log.refuses_to_begin.store(true, Ordering::SeqCst);
    let closed = || ManagementError::Port(broken());
    let (root, c) = (root(), id("c"));
    assert_eq!(house.management.register(&root, registration("d", ClientMetadata::new())).await.err(), Some(closed()));
    assert_eq!(house.update(&root, "c", &|metadata| metadata.client_name = Some("n".to_owned())).await, Err(closed()));
    assert_eq!(house.management.set_status(&root, &c, ClientStatus::Disabled).await.err(), Some(closed()));
    assert_eq!(house.management.rotate_secret(&root, &c, Rotation::default()).await.err(), Some(closed()));
    assert_eq!(house.management.revoke_previous_secret(&root, &c).await.err(), Some(closed()));
    assert_eq!(house.management.delete(&root, &c).await.err(), Some(closed()));
    assert_eq!(house.management.set_realm(&name("alpha"), &RealmChange::NOTHING).await.err(), Some(closed()));
    assert_eq!(house.management.rotate_keys(&root).await.err(), Some(closed()));
    assert_eq!(house.management.create_owner(owner("alice"), OwnerDetails::default()).await.err(), Some(closed()));

    assert_eq!(house.management.client(&root, &c).await, Ok(before.clone()));
    let now = house.registry.stored_secrets(&before).await.expect("readable").expect("a secret");
    assert!(now.current_is(&secret.current), "the same secret");
    assert!(house.management.client(&root, &id("d")).await.is_err());
    assert!(house.management.keys(&root).await.expect("readable").keys.is_empty());
    assert_eq!(house.management.owners().await, Ok(vec![]));
    assert_eq!(house.management.realms().await.expect("listed").len(), 1);
}

#[tokio::test]
async fn a_change_whose_end_nobody_wrote_down_stands_and_its_record_says_so() {
    let house = House::new();
    house.management.register(&root(), registration("c", ClientMetadata::new())).await.expect("registered");
    house.log.refuses_to_finish.store(true, Ordering::SeqCst);
    // Its answer may be the only copy of a secret.
    house.management.rotate_secret(&root(), &id("c"), Rotation::default()).await.expect("rotated");
    house.update(&root(), "c", &|metadata| metadata.client_name = Some("n".to_owned())).await.expect("changed");
    let effects = house.effects().await;
    assert_eq!(
        effects,
        [
            ("client.update".to_owned(), Outcome::Started, Some(Effect::CarriedOut)),
            // Nothing counts the rotations of a secret.
            ("client.rotate_secret".to_owned(), Outcome::Started, None),
            ("client.create".to_owned(), Outcome::Done, None),
        ]
    );
}

#[tokio::test]
async fn a_process_that_dies_before_the_change_leaves_a_line_that_the_record_denies() {
    let house = House::new();
    house.management.register(&root(), registration("c", ClientMetadata::new())).await.expect("registered");
    house.update(&root(), "c", &|metadata| metadata.client_name = Some("n".to_owned())).await.expect("changed");
    // As the process leaves it: the line of a change that would make revision 3, and no more.
    let last = house.log(&LogFilter::default()).await.remove(0);
    let line = |revision| AdminLogLine {
        id: grantwell::core::admin_log::LineId::generate(last.at, &SystemRandom).expect("random bytes"),
        revision: Some(revision),
        outcome: Outcome::Started,
        ..last.clone()
    };
    let (next, rival) = (line(3), line(2));
    for line in [&next, &rival] {
        AdminLog::begin(house.registry.as_ref(), line).await.expect("begun");
    }
    let effect = async |of: &AdminLogLine| {
        let listed = house.management.log(&LogFilter::default(), 10).await.expect("listed").lines;
        listed.into_iter().find(|(line, _)| line.id == of.id).expect("there").1
    };
    assert_eq!(effect(&next).await, Some(Effect::NotCarriedOut), "the record is at revision 2");
    assert_eq!(effect(&rival).await, Some(Effect::NotCarriedOut), "another line has made it");
    house.management.set_status(&root(), &id("c"), ClientStatus::Disabled).await.expect("stopped");
    assert_eq!(effect(&next).await, Some(Effect::NotCarriedOut), "another one has made revision 3");

    // Two that might both have: nobody can say which. A later registration of the id is another one.
    house.log.refuses_to_finish.store(true, Ordering::SeqCst);
    house.management.set_status(&root(), &id("c"), ClientStatus::Active).await.expect("started");
    let fourth =
        house.log(&LogFilter::default()).await.into_iter().find(|line| line.revision == Some(4)).expect("there");
    assert_eq!(effect(&fourth).await, Some(Effect::CarriedOut));
    let twin = AdminLogLine { outcome: Outcome::Failed, ..line(4) };
    AdminLog::begin(house.registry.as_ref(), &twin).await.expect("begun");
    assert_eq!(effect(&fourth).await, None);
    house.management.delete(&root(), &id("c")).await.expect("deleted");
    let deletion = house.log(&LogFilter::default()).await.remove(0);
    assert_eq!((deletion.action.as_str(), effect(&deletion).await), ("client.delete", Some(Effect::CarriedOut)));
    house.management.register(&root(), registration("c", ClientMetadata::new())).await.expect("registered");
    assert_eq!(effect(&deletion).await, Some(Effect::CarriedOut));
}

#[tokio::test]
async fn a_conflict_leaves_no_line_that_says_done() {
    let house = House::new();
    house.management.register(&root(), registration("c", ClientMetadata::new())).await.expect("registered");
    let stale = house.management.client(&root(), &id("c")).await.expect("there");
    let again = house.management.register(&root(), registration("c", ClientMetadata::new())).await;
    assert_eq!(again.err(), Some(ManagementError::Exists(Subject::Client { realm: root(), client_id: id("c") })));
    let refused = house.log(&LogFilter::default()).await.remove(0);
    assert_eq!((refused.action, refused.outcome), (Action::CREATE_CLIENT, Outcome::Refused));
    assert_eq!(house.management.client(&root(), &id("c")).await, Ok(stale));
}

#[tokio::test]
async fn no_line_has_a_secret_or_anything_made_of_one() {
    let house = House::new();
    let (realm, client) = (root(), id("c"));
    let text = "canary.canary.canary.canary.canary.canary";
    let given = || ClientSecret::given(text, false).expect("strong enough");
    let new = Registration { secret: Some(given()), ..registration("c", ClientMetadata::new()) };
    house.management.register(&realm, new).await.expect("registered");
    let rotated = house.management.rotate_secret(&realm, &client, Rotation::default()).await.expect("rotated").secret;
    house.management.rotate_keys(&realm).await.expect("made");
    house.clock.pass(PUBLISHED_BEFORE_SIGNING);
    house.management.rotate_keys(&realm).await.expect("rotated");
    house.management.delete(&realm, &client).await.expect("deleted");
    let lines = serde_json::to_string(&house.log(&LogFilter::default()).await).expect("JSON");
    let digests = [given().digest(), rotated.digest()].map(|digest| *digest.as_bytes());
    let forms = digests.iter().flat_map(|digest| [base64url(digest), hex(digest)]);
    for taboo in forms.chain([text.to_owned(), rotated.expose_client_secret().to_owned()]) {
        assert!(!lines.contains(&taboo), "{lines}");
    }
    for member in ["pkcs8", "\"d\"", "sha256", "client_secret\""] {
        assert!(!lines.contains(member), "{member}: {lines}");
    }
    assert!(lines.contains("\"kid\""), "which keys is said: {lines}");
}

#[tokio::test]
async fn lines_are_found_by_realm_client_and_owner() {
    let house = House::new();
    let management = &house.management;
    for id in ["alice", "bob"] {
        management.create_owner(owner(id), OwnerDetails::default()).await.expect("created");
    }
    management.set_realm(&name("alpha"), &RealmChange::NOTHING).await.expect("made");
    management.register(&root(), registration("c", owned_by(&["alice"]))).await.expect("registered");
    management.register(&name("alpha"), registration("c", owned_by(&["bob"]))).await.expect("registered");
    let give = |metadata: &mut ClientMetadata| metadata.owners = [owner("bob")].into();
    house.update(&root(), "c", &give).await.expect("changed");
    house.clock.pass(60);
    house.update(&root(), "c", &|metadata| metadata.client_name = Some("n".to_owned())).await.expect("changed");
    let found = async |filter: LogFilter| -> Vec<String> {
        let listed = house.log(&filter).await;
        listed.iter().map(|line| format!("{} {:?}", line.action.as_str(), line.revision.unwrap_or(0))).collect()
    };
    let filter = LogFilter { client_id: Some(id("c")), realm: Some(name("alpha")), ..LogFilter::default() };
    assert_eq!(found(filter).await, ["client.create 1"]);
    let filter = LogFilter { realm: Some(name("alpha")), ..LogFilter::default() };
    assert_eq!(found(filter).await, ["client.create 1", "realm.create 1"]);
    // Of a client that has changed hands both have the line that says so.
    let filter = |id| LogFilter { owner: Some(owner(id)), ..LogFilter::default() };
    assert_eq!(found(filter("alice")).await, ["client.update 2", "client.create 1", "owner.create 1"]);
    let of_bob = ["client.update 3", "client.update 2", "client.create 1", "owner.create 1"];
    assert_eq!(found(filter("bob")).await, of_bob);
    let since = LogFilter { since: START.plus(60).into(), ..LogFilter::default() };
    assert_eq!(found(since).await, ["client.update 3"]);

    // In pages, with a filter.
    let (mut cursor, mut listed) = (None, Vec::new());
    loop {
        let page = management.log(&LogFilter { before: cursor, ..filter("bob") }, 1).await.expect("listed");
        listed.extend(page.lines.into_iter().map(|(line, _)| line.action.as_str().to_owned()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, ["client.update", "client.update", "client.create", "owner.create"]);
}

#[tokio::test]
async fn an_owner_that_still_owns_is_not_deleted_and_a_client_has_owners_that_there_are() {
    let house = House::new();
    let management = &house.management;
    management.create_owner(owner("alice"), OwnerDetails::default()).await.expect("created");
    let again = management.create_owner(owner("alice"), OwnerDetails::default()).await;
    assert_eq!(again.err(), Some(ManagementError::Exists(Subject::Owner(owner("alice")))));
    let missing = |id| Some(ManagementError::NoSuchOwner(owner(id)));
    let refused = management.register(&root(), registration("c", owned_by(&["alice", "nobody"]))).await;
    assert_eq!(refused.err(), missing("nobody"));

    management.register(&root(), registration("c", owned_by(&["alice"]))).await.expect("registered");
    let still_owns = ManagementError::StillOwns { owner: owner("alice"), count: 1, first: vec![(root(), id("c"))] };
    assert_eq!(management.delete_owner(&owner("alice")).await, Err(still_owns));
    assert_eq!(management.owner(&owner("alice")).await.expect("there").status, OwnerStatus::Active);

    // A disabled one keeps what it has and is given nothing more.
    let disable = OwnerChange { details: &|_| (), status: Some(OwnerStatus::Disabled) };
    management.update_owner(&owner("alice"), &disable).await.expect("disabled");
    house.update(&root(), "c", &|metadata| metadata.client_name = Some("n".to_owned())).await.expect("changed");
    let refused = management.register(&root(), registration("d", owned_by(&["alice"]))).await;
    let disabled = Some(ManagementError::DisabledOwner(owner("alice")));
    assert_eq!(refused.err(), disabled);
    house.update(&root(), "c", &|metadata| metadata.owners.clear()).await.expect("changed");
    let give_back = |metadata: &mut ClientMetadata| metadata.owners = [owner("alice")].into();
    assert_eq!(house.update(&root(), "c", &give_back).await.err(), disabled);
    management.delete_owner(&owner("alice")).await.expect("deleted");
    let gone = management.delete_owner(&owner("alice")).await;
    assert_eq!(gone, Err(ManagementError::Unknown(Subject::Owner(owner("alice")))));
}

#[tokio::test]
async fn whoever_acts_for_an_owner_changes_its_clients_alone_and_a_refusal_leaves_a_line() {
    let house = House::new();
    let role = |details: &mut OwnerDetails| {
        let role = "arn:aws:iam::111122223333:role/Orders".parse().expect("an ARN");
        details.aws_principals = [role].into();
    };
    let mut details = OwnerDetails::default();
    role(&mut details);
    house.management.create_owner(owner("orders"), details).await.expect("created");
    house.management.create_owner(owner("alice"), OwnerDetails::default()).await.expect("created");
    house.management.register(&root(), registration("own", owned_by(&["orders"]))).await.expect("registered");
    house.management.register(&root(), registration("hers", owned_by(&["alice"]))).await.expect("registered");
    house.clock.pass(1);

    let session = Actor::AwsCaller { arn: "arn:aws:sts::111122223333:assumed-role/Orders/someone".to_owned() };
    let management = house.management_of(session.clone());
    management.rotate_secret(&root(), &id("own"), Rotation::default()).await.expect("rotated");
    management.register(&root(), registration("new", owned_by(&["orders"]))).await.expect("registered");
    let line = house.log(&LogFilter::default()).await.remove(0);
    assert_eq!(line.action, Action::CREATE_CLIENT);
    assert_eq!((&line.actor, &line.acts_for), (&session, &vec![owner("orders")]));

    let denied = |why| Some(ManagementError::Denied(why));
    let anothers = || denied(AccessDenied::AnothersClient);
    assert_eq!(management.rotate_secret(&root(), &id("hers"), Rotation::default()).await.err(), anothers());
    assert_eq!(management.delete(&root(), &id("hers")).await.err(), anothers());
    assert_eq!(management.set_status(&root(), &id("hers"), ClientStatus::Disabled).await.err(), anothers());
    assert_eq!(management.revoke_previous_secret(&root(), &id("hers")).await.err(), anothers());
    let take = |metadata: &mut ClientMetadata| metadata.owners = [owner("orders")].into();
    let change = ClientChange { metadata: &take, names_secret_storage: true, ..ClientChange::NOTHING };
    assert_eq!(management.update(&root(), &id("hers"), &change).await.err(), anothers());
    let refused = management.register(&root(), registration("x", owned_by(&["alice"]))).await;
    assert_eq!(refused.err(), denied(AccessDenied::NotOwnersOwn));
    let operators = || denied(AccessDenied::OperatorsOnly);
    assert_eq!(management.set_realm(&name("alpha"), &RealmChange::NOTHING).await.err(), operators());
    assert_eq!(management.create_owner(owner("more"), OwnerDetails::default()).await.err(), operators());
    let disable = OwnerChange { details: &|_| (), status: Some(OwnerStatus::Disabled) };
    assert_eq!(management.update_owner(&owner("alice"), &disable).await.err(), operators());
    assert_eq!(management.rotate_keys(&root()).await.err(), operators());
    let refused = house.log(&LogFilter::default()).await.remove(0);
    assert_eq!((refused.action.as_str(), refused.outcome), ("owner.update", Outcome::Refused));
    assert_eq!(refused.actor, session);

    // Who is disabled is no operator for it.
    house.management.update_owner(&owner("orders"), &disable).await.expect("disabled");
    assert_eq!(management.rotate_secret(&root(), &id("own"), Rotation::default()).await.err(), anothers());
    assert_eq!(management.set_realm(&name("alpha"), &RealmChange::NOTHING).await.err(), operators());
}

#[async_trait]
impl AdminLog for BreakableLog {
    async fn begin(&self, line: &AdminLogLine) -> Result<(), PortError> {
        if self.refuses_to_begin.load(Ordering::SeqCst) { Err(broken()) } else { self.log.begin(line).await }
    }

    async fn finish(&self, line: &AdminLogLine, outcome: Outcome) -> Result<(), PortError> {
        if self.refuses_to_finish.load(Ordering::SeqCst) { Err(broken()) } else { self.log.finish(line, outcome).await }
    }

    async fn read_log(&self, range: &LogRange) -> Result<LogPage, PortError> {
        self.log.read_log(range).await
    }
}

impl House {
    fn new() -> Self {
        let registry = Arc::new(SqliteRegistry::in_memory().expect("a store"));
        let clock = Arc::new(SetClock(AtomicU64::new(START.0)));
        let log = BreakableLog {
            log: Arc::clone(&registry),
            refuses_to_begin: AtomicBool::new(false),
            refuses_to_finish: AtomicBool::new(false),
        };
        let log = Arc::new(log);
        let (registrar, keys) = (Arc::clone(&registry) as _, Arc::clone(&registry) as _);
        let management = Management::new(
            registrar,
            keys,
            logging(Arc::clone(&log) as _),
            Arc::clone(&clock) as _,
            Arc::new(SystemRandom),
        );
        Self { registry, clock, log, management }
    }

    fn management_of(&self, actor: Actor) -> Management {
        let (registrar, keys) = (Arc::clone(&self.registry) as _, Arc::clone(&self.registry) as _);
        let logging = logging_as(Arc::clone(&self.log) as _, actor);
        Management::new(registrar, keys, logging, Arc::clone(&self.clock) as _, Arc::new(SystemRandom))
    }

    /// The lines since the last look, the newest first, are these, and all are done.
    async fn expect(&self, actions: &[&str]) -> Vec<AdminLogLine> {
        let filter = LogFilter { since: self.clock.now().into(), ..LogFilter::default() };
        let lines = self.log(&filter).await;
        let found: Vec<&str> = lines.iter().map(|line| line.action.as_str()).collect();
        assert_eq!(found, actions);
        assert!(lines.iter().all(|line| line.outcome == Outcome::Done), "{lines:?}");
        self.clock.pass(1);
        lines
    }

    async fn log(&self, filter: &LogFilter) -> Vec<AdminLogLine> {
        let listed = self.management.log(filter, 1_000).await.expect("listed");
        assert_eq!((&listed.unreadable, &listed.next), (&vec![], &None));
        listed.lines.into_iter().map(|(line, _)| line).collect()
    }

    async fn effects(&self) -> Vec<(String, Outcome, Option<Effect>)> {
        let listed = self.management.log(&LogFilter::default(), 1_000).await.expect("listed").lines;
        let told = listed.into_iter().map(|(line, effect)| (line.action.as_str().to_owned(), line.outcome, effect));
        told.collect()
    }

    async fn update(
        &self,
        realm: &RealmName,
        client: &str,
        metadata: &(dyn Fn(&mut ClientMetadata) + Sync),
    ) -> Result<(), ManagementError> {
        let change = ClientChange { metadata, ..ClientChange::NOTHING };
        self.management.update(realm, &id(client), &change).await.map(drop)
    }
}

impl SetClock {
    fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.0.load(Ordering::SeqCst))
    }
}

fn broken() -> PortError {
    PortError::Unavailable { service: "the log", detail: "broken by the test".to_owned() }
}

fn registration(client: &str, metadata: ClientMetadata) -> Registration {
    Registration {
        client_id: Some(id(client)),
        metadata,
        secret_lifetime: None,
        secret: None,
        status: ClientStatus::Active,
        managed_by: None,
    }
}

fn owned_by(owners: &[&str]) -> ClientMetadata {
    ClientMetadata { owners: owners.iter().map(|id| owner(id)).collect(), ..ClientMetadata::new() }
}

fn owner(text: &str) -> OwnerId {
    text.parse().expect("an id")
}

fn id(text: &str) -> ClientId {
    text.parse().expect("an id")
}

fn name(text: &str) -> RealmName {
    text.parse().expect("a name")
}

fn root() -> RealmName {
    RealmName::root()
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// 23 November 2026.
const START: UnixSeconds = UnixSeconds(1_795_415_820);
