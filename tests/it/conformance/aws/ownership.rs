//! Whose a secret is: two stacks with one prefix, a client that is deleted and registered again, a table that was restored, and
//! the secrets of a stack from before the tags.

use aws_sdk_secretsmanager::types::Tag;
use grantwell::aws::store::binding::{BoundSecret, Outcome, SecretBinding};
use grantwell::core::random::Random;
use serde_json::{Value, json};

use super::*;

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_client_registered_again_has_nothing_of_its_predecessor_nor_the_other_way_round() {
    let stack = Stack::create().await;
    let (first, second) = (client(&realm("alpha"), "myClient"), client(&realm("alpha"), "myClient"));
    let (old, new) = (generated(), generated());
    stack.registrar().register(&first, Some(&old)).await.expect("registered");
    stack.registrar().delete(&first.realm, &first.client_id).await.expect("deleted");
    assert!(stack.secrets().secrets(&first).await.expect("read").is_none());
    stack.registrar().register(&second, Some(&new)).await.expect("registered again");
    // A function may remember the first registration for a minute, and reads the second one's secret meanwhile.
    assert!(stack.secrets().secrets(&first).await.expect("read").is_none(), "the new secret, the old registration");
    assert_accepted(stack.secrets().secrets(&second).await.expect("read").as_ref(), &new, None);

    // The same of the secret before the current one.
    let latest = generated();
    stack.registrar().rotate_secret(&second.realm, &second.client_id, &beside_current(&latest)).await.expect("rotated");
    assert_accepted(stack.secrets().secrets(&second).await.expect("read").as_ref(), &latest, Some(&new));
    let text =
        json!({"client_id": "myClient", "client_secret": "a".repeat(40), "registration_id": first.registration_id});
    let name = stack.client_secret("alpha", "myClient");
    for text in [text, json!({"client_id": "myClient", "client_secret": "a".repeat(40)})] {
        let current = stack.value(&name, "AWSCURRENT").await;
        stack.put(&name, &text.to_string()).await;
        stack.put(&name, &current.to_string()).await;
        assert_accepted(stack.secrets().secrets(&second).await.expect("read").as_ref(), &latest, None);
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_secret_that_names_no_registration_is_refused_with_a_line_that_says_so() {
    let stack = Stack::create().await;
    let client = client(&realm("alpha"), "myClient");
    let name = stack.client_secret("alpha", "myClient");
    let text = json!({"client_id": "myClient", "client_secret": "canary-canary-canary"}).to_string();
    stack.secrets_manager.create_secret().name(&name).secret_string(text).send().await.expect("created");
    let error = stack.secrets().secrets(&client).await.expect_err("nobody's");
    assert!(matches!(error, PortError::Foreign { service: "Secrets Manager", .. }), "{error}");
    assert!(error.to_string().contains("grantwell secrets bind --store aws"), "{error}");
    assert!(!error.to_string().contains("canary"), "{error}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn two_stacks_with_one_prefix_leave_each_others_secrets_alone() {
    let one = Stack::create().await;
    let two = one.neighbour().await;
    let (ours, secret) = (client(&realm("alpha"), "myClient"), generated());
    one.registrar().register(&ours, Some(&secret)).await.expect("registered");
    let (name, keys) = (one.client_secret("alpha", "myClient"), format!("{}/alpha/signing-keys", one.name));
    let alpha = realm_name("alpha");
    let signing = keyring(&one).signers(&alpha, SigningAlgorithm::Es256).await;
    signing.expect("signers");
    let before = (one.state(&name).await, one.state(&keys).await);

    // 1. `client create` does not take it over, and leaves no registration behind.
    let theirs = client(&realm("alpha"), "myClient");
    let error = two.registrar().register(&theirs, Some(&generated())).await.expect_err("another registry's");
    assert_says(&error, "tag grantwell:registry of another registry");
    assert_eq!(two.registrar().read(&alpha, &theirs.client_id).await, Err(RegistrarError::NotFound));

    // 2. Nor does any other command of a client that the other stack has had since before.
    let mut item = one.item("alpha", "client#myClient").await;
    item.insert("registration_id".to_owned(), AttributeValue::S(theirs.registration_id.as_str().to_owned()));
    let put = two.dynamodb.put_item().table_name(&two.registry_table).set_item(Some(item));
    put.send().await.expect("put");
    assert!(two.secrets().secrets(&theirs).await.expect("read").is_none());
    let registrar = two.registrar();
    for refused in [
        registrar.rotate_secret(&alpha, &theirs.client_id, &beside_current(&generated())).await,
        registrar.revoke_previous_secret(&alpha, &theirs.client_id).await,
        registrar.delete(&alpha, &theirs.client_id).await,
    ] {
        assert_says(&refused.expect_err("another registry's"), "tag grantwell:registry of another registry");
    }
    // The registration was its own to delete. Without one there is nothing to say of the other stack's.
    assert_eq!(registrar.delete(&alpha, &theirs.client_id).await, Err(RegistrarError::NotFound));

    // 3. Nobody signs with the other's keys, publishes or replaces them.
    let error = keyring(&two).signers(&alpha, SigningAlgorithm::Es256).await.err().expect("another registry's");
    assert!(matches!(error, PortError::Foreign { .. }), "{error}");
    assert!(keyring(&two).rotate(&alpha, SigningAlgorithm::Es256).await.is_err());
    assert!(two.published_keys().verification_keys(&alpha).await.expect("read").jwks().is_empty());
    let created = two.keys().create_keys(&alpha, &key_set()).await;
    assert_eq!(created, Err(KeyStoreError::Conflict));

    assert_eq!((one.state(&name).await, one.state(&keys).await), before);
    assert_accepted(one.secrets().secrets(&ours).await.expect("read").as_ref(), &secret, None);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_secret_with_other_tags_or_none_is_neither_changed_nor_deleted() {
    let stack = Stack::create().await;
    let (client, secret) = (client(&realm("alpha"), "myClient"), generated());
    stack.registrar().register(&client, Some(&secret)).await.expect("registered");
    let registry = stack.identity().require().await.expect("an id");
    let (own, registration) = (registry.as_str(), client.registration_id.as_str());
    let name = stack.client_secret("alpha", "myClient");
    for (registry, registration, says) in [
        (Some("another"), Some(registration), "tag grantwell:registry of another registry"),
        (None, Some(registration), "no tag grantwell:registry"),
        (None, None, "no tag grantwell:registry"),
        (Some(own), Some("another"), "tag grantwell:registration of another registration"),
        (Some(own), None, "no tag grantwell:registration"),
    ] {
        stack.tag(&name, registry, registration).await;
        let (before, item) = (stack.state(&name).await, stack.item("alpha", "client#myClient").await);
        let registrar = stack.registrar();
        for refused in [
            registrar.rotate_secret(&client.realm, &client.client_id, &beside_current(&generated())).await,
            registrar.revoke_previous_secret(&client.realm, &client.client_id).await,
        ] {
            assert_says(&refused.expect_err(says), says);
        }
        // A deletion ends the registration, which is this registry's; and says what it leaves.
        let error = registrar.delete(&client.realm, &client.client_id).await.expect_err(says);
        assert_says(&error, says);
        assert_says(&error, "the registration is deleted, the secret of its name is not");
        assert_eq!(registrar.read(&client.realm, &client.client_id).await, Err(RegistrarError::NotFound));
        assert_eq!(stack.state(&name).await, before, "{says}");
        let put = stack.dynamodb.put_item().table_name(&stack.registry_table).set_item(Some(item));
        put.send().await.expect("put back");
    }
    stack.tag(&name, Some(own), Some(registration)).await;
    stack.registrar().delete(&client.realm, &client.client_id).await.expect("its own");
    assert!(stack.secrets().secrets(&client).await.expect("read").is_none());
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_secret_put_by_hand_is_not_taken_over() {
    let stack = Stack::create().await;
    let client = client(&realm("alpha"), "myClient");
    let name = stack.client_secret("alpha", "myClient");
    stack.secrets_manager.create_secret().name(&name).secret_string("theirs").send().await.expect("created");
    let before = stack.state(&name).await;
    let error = stack.registrar().register(&client, Some(&generated())).await.expect_err("nobody's");
    assert_says(&error, "no tag grantwell:registry");
    assert_says(&error, "grantwell secrets bind --store aws");
    assert_eq!(stack.registrar().read(&client.realm, &client.client_id).await, Err(RegistrarError::NotFound));
    assert_eq!(stack.state(&name).await, before);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn the_tags_say_which_registry_and_which_registration() {
    let stack = Stack::create().await;
    let client = client(&realm("alpha"), "myClient");
    stack.registrar().register(&client, Some(&generated())).await.expect("registered");
    stack.keys().create_keys(&client.realm, &key_set()).await.expect("created");
    let item = stack.item("root", "registry").await;
    let id = item["registry_id"].as_s().expect("text").clone();
    assert_eq!(id.len(), 22);
    let registration = client.registration_id.as_str().to_owned();
    let (registry_tag, registration_tag) = ("grantwell:registry".to_owned(), "grantwell:registration".to_owned());
    let name = stack.client_secret("alpha", "myClient");
    assert_eq!(stack.tags(&name).await, [(registry_tag.clone(), id.clone()), (registration_tag, registration)].into());
    assert_eq!(stack.value(&name, "AWSCURRENT").await["registration_id"], json!(client.registration_id));
    let keys = format!("{}/alpha/signing-keys", stack.name);
    assert_eq!(stack.tags(&keys).await, [(registry_tag, id.clone())].into());
    assert_eq!(stack.value(&keys, "AWSCURRENT").await["registry_id"], json!(id));
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_registry_restored_into_another_table_is_the_same_registry() {
    let stack = Stack::create().await;
    let (client, secret) = (client(&realm("alpha"), "myClient"), generated());
    stack.registrar().register(&client, Some(&secret)).await.expect("registered");
    keyring(&stack).signers(&client.realm, SigningAlgorithm::Es256).await.expect("signers");
    let restored = stack.neighbour().await;
    let items =
        stack.dynamodb.scan().table_name(&stack.registry_table).send().await.expect("read").items.expect("items");
    for item in items {
        let put = restored.dynamodb.put_item().table_name(&restored.registry_table).set_item(Some(item));
        put.send().await.expect("put");
    }
    let (next, registrar) = (generated(), restored.registrar());
    registrar.rotate_secret(&client.realm, &client.client_id, &beside_current(&next)).await.expect("rotated");
    assert_accepted(restored.secrets().secrets(&client).await.expect("read").as_ref(), &next, Some(&secret));
    keyring(&restored).signers(&client.realm, SigningAlgorithm::Es256).await.expect("the same keys");
    registrar.delete(&client.realm, &client.client_id).await.expect("deleted");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn of_many_who_make_the_id_of_a_registry_all_get_the_same() {
    let stack = Stack::create().await;
    let mut makers = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let identity = stack.identity();
        makers.spawn(async move { identity.require().await.expect("an id") });
    }
    let ids = makers.join_all().await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    // A function makes none.
    let other = Stack::create().await;
    let identity = Arc::new(RegistryIdentity::new(other.dynamodb.clone(), &other.registry_table));
    assert_eq!(identity.find().await, Ok(None));
    let store = SecretsManagerKeys::new(other.secrets_manager.clone(), &other.name, other.published_keys(), identity);
    let error = store.create_keys(&realm_name("alpha"), &key_set()).await.expect_err("no id");
    assert!(error.to_string().contains("grantwell secrets bind --store aws"), "{error}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn the_secrets_of_a_stack_from_before_the_tags_are_bound_by_a_command_and_nobody_notices() {
    let stack = Stack::create().await;
    let alpha = realm("alpha");
    stack.registrar().put_realm(&Realm { revision: 1, ..alpha.clone() }).await.expect("a realm");
    let ids = ["bound", "myClient", "once", "theirs", "unreadable"];
    let mut clients = Vec::new();
    for id in ids {
        let (client, first, second) = (client(&alpha, id), generated(), generated());
        stack.registrar().register(&client, Some(&first)).await.expect("registered");
        if id != "once" {
            stack
                .registrar()
                .rotate_secret(&client.realm, &client.client_id, &beside_current(&second))
                .await
                .expect("rotated");
        }
        clients.push((client, first, second));
    }
    keyring(&stack).signers(&alpha.name, SigningAlgorithm::Es256).await.expect("signers");
    let keys = format!("{}/alpha/signing-keys", stack.name);
    // As an earlier build has made them, AWSPENDING on a version that was replaced included.
    for id in ["myClient", "once"] {
        stack.age(&stack.client_secret("alpha", id), "registration_id").await;
    }
    stack.age(&keys, "registry_id").await;
    stack.tag(&stack.client_secret("alpha", "theirs"), Some("another"), None).await;
    let unreadable = stack.client_secret("alpha", "unreadable");
    stack.tag(&unreadable, None, None).await;
    stack.put(&unreadable, "canary").await;
    let myself = stack.client_secret("alpha", "myClient");
    let leaked = stack.version(&myself, "AWSPREVIOUS").await;
    let staged = stack.secrets_manager.update_secret_version_stage().secret_id(&myself).version_stage("AWSPENDING");
    staged.move_to_version_id(leaked).send().await.expect("staged");
    assert!(stack.secrets().secrets(&clients[1].0).await.is_err(), "refused until it is bound");
    assert!(keyring(&stack).signers(&alpha.name, SigningAlgorithm::Es256).await.is_err());

    let binding = stack.binding();
    let names: Vec<_> = ids.iter().map(|id| stack.client_secret("alpha", id)).chain([keys.clone()]).collect();
    let before = stack.states(&names).await;
    let outcomes = |bound: &[BoundSecret]| {
        let of = |name: &String| bound.iter().find(|secret| secret.secret == *name).map(|secret| secret.outcome);
        names.iter().map(|name| of(name).expect("listed")).collect::<Vec<_>>()
    };
    let expected =
        |ours: Outcome| [Outcome::BoundAlready, ours, ours, Outcome::LeftAlone, Outcome::LeftAlone, ours].to_vec();
    let planned = binding.bind(true).await.expect("a plan");
    assert_eq!(outcomes(&planned), expected(Outcome::Bound));
    assert_eq!(stack.states(&names).await, before, "a plan changes nothing");

    let bound = binding.bind(false).await.expect("bound");
    assert_eq!(bound, planned, "what was planned is what was done");
    for (client, first, second) in &clients[..3] {
        let (current, previous) =
            if client.client_id.as_str() == "once" { (first, None) } else { (second, Some(first)) };
        let secrets = stack.secrets().secrets(client).await.expect("read");
        assert_accepted(secrets.as_ref(), current, previous);
    }
    let labels = stack.state(&myself).await.0;
    assert!(labels.values().flatten().all(|label| label == "AWSCURRENT" || label == "AWSPREVIOUS"), "{labels:?}");
    keyring(&stack).signers(&alpha.name, SigningAlgorithm::Es256).await.expect("the same keys sign");
    for (name, reason) in [
        (stack.client_secret("alpha", "theirs"), "it has the tag of another registry"),
        (unreadable.clone(), "its value is not a secret of this client"),
    ] {
        let secret = bound.iter().find(|secret| secret.secret == name).expect("listed");
        assert_eq!(secret.reason, Some(reason));
    }

    // Once more, and nothing is left to do.
    let after = stack.states(&names).await;
    assert_eq!(outcomes(&binding.bind(false).await.expect("again")), expected(Outcome::BoundAlready));
    assert_eq!(stack.states(&names).await, after);
    stack.registrar().delete(&alpha.name, &clients[1].0.client_id).await.expect("its own");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn a_binding_that_ended_halfway_is_completed_by_the_next() {
    let stack = Stack::create().await;
    let (client, first, second) = (client(&realm("root"), "myClient"), generated(), generated());
    stack.registrar().register(&client, Some(&first)).await.expect("registered");
    stack.registrar().rotate_secret(&client.realm, &client.client_id, &beside_current(&second)).await.expect("rotated");
    let name = stack.client_secret("root", "myClient");
    let (current, previous) = (stack.value(&name, "AWSCURRENT").await, stack.value(&name, "AWSPREVIOUS").await);
    stack.age(&name, "registration_id").await;
    // As the command leaves it that has stored both versions and moved no label yet.
    let put = stack.secrets_manager.put_secret_value().secret_id(&name).secret_string(previous.to_string());
    put.version_stages("GRANTWELLREPLACEMENT").send().await.expect("put");
    stack.put(&name, &current.to_string()).await;
    let bound = stack.binding().bind(false).await.expect("bound");
    assert_eq!(bound.iter().map(|secret| secret.outcome).collect::<Vec<_>>(), [Outcome::Bound]);
    assert_accepted(stack.secrets().secrets(&client).await.expect("read").as_ref(), &second, Some(&first));
    assert_eq!(stack.binding().bind(false).await.expect("again")[0].outcome, Outcome::BoundAlready);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: make test"]
async fn keys_that_the_registry_does_not_publish_are_not_bound() {
    let one = Stack::create().await;
    let two = one.neighbour().await;
    let alpha = realm("alpha");
    two.registrar().put_realm(&Realm { revision: 1, ..alpha.clone() }).await.expect("a realm");
    keyring(&one).signers(&alpha.name, SigningAlgorithm::Es256).await.expect("signers");
    let keys = format!("{}/alpha/signing-keys", one.name);
    one.age(&keys, "registry_id").await;
    let before = one.state(&keys).await;
    let bound = two.binding().bind(false).await.expect("bound");
    let reasons: Vec<_> = bound.iter().map(|secret| secret.reason).collect();
    assert_eq!(reasons, [Some("the registry does not publish its keys, so they are somebody else's")]);
    assert_eq!(one.state(&keys).await, before);
}

fn keyring(stack: &Stack) -> Keyring {
    Keyring::new(Arc::new(stack.keys()), Arc::new(FixedClock))
}

#[track_caller]
fn assert_says(error: &RegistrarError, what: &str) {
    assert!(matches!(error, RegistrarError::Port(PortError::Foreign { .. })), "{error:?}");
    assert!(error.to_string().contains(what), "{error}");
}

impl Stack {
    /// Another stack, with tables of its own and the same prefix.
    async fn neighbour(&self) -> Stack {
        let mut other = Stack::create().await;
        other.name.clone_from(&self.name);
        other
    }

    pub(super) fn binding(&self) -> SecretBinding {
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let manager = self.secrets_manager.clone();
        SecretBinding::new(&self.dynamodb, manager, &self.registry_table, &self.name, &random)
    }

    fn client_secret(&self, realm: &str, id: &str) -> String {
        format!("{}/{realm}/clients/{id}", self.name)
    }

    async fn put(&self, name: &str, text: &str) {
        let put = self.secrets_manager.put_secret_value().secret_id(name).secret_string(text);
        put.send().await.expect("put");
    }

    async fn value(&self, name: &str, stage: &str) -> Value {
        serde_json::from_str(&self.text(name, stage).await).expect("JSON")
    }

    pub(super) async fn text(&self, name: &str, stage: &str) -> String {
        let read = self.secrets_manager.get_secret_value().secret_id(name).version_stage(stage);
        read.send().await.expect("read").secret_string.expect("a text")
    }

    async fn version(&self, name: &str, stage: &str) -> String {
        let labels = self.state(name).await.0.into_iter();
        labels.into_iter().find(|(_, labels)| labels.iter().any(|label| label == stage)).expect("a version").0
    }

    async fn tags(&self, name: &str) -> HashMap<String, String> {
        let described = self.secrets_manager.describe_secret().secret_id(name).send().await.expect("described");
        let tags = described.tags.unwrap_or_default().into_iter();
        tags.map(|tag| (tag.key.expect("a key"), tag.value.expect("a value"))).collect()
    }

    /// All that a secret is: its labels, its tags, and what its current version holds.
    async fn state(&self, name: &str) -> (HashMap<String, Vec<String>>, HashMap<String, String>, String) {
        let described = self.secrets_manager.describe_secret().secret_id(name).send().await.expect("described");
        let labels = described.version_ids_to_stages.expect("versions");
        let labels = labels.into_iter().filter(|(_, labels)| !labels.is_empty()).collect();
        (labels, self.tags(name).await, self.text(name, "AWSCURRENT").await)
    }

    async fn states(&self, names: &[String]) -> Vec<(HashMap<String, Vec<String>>, HashMap<String, String>, String)> {
        let mut states = Vec::new();
        for name in names {
            states.push(self.state(name).await);
        }
        states
    }

    /// Gives the secret these tags and no others.
    pub(super) async fn tag(&self, name: &str, registry: Option<&str>, registration: Option<&str>) {
        for (key, value) in [("grantwell:registry", registry), ("grantwell:registration", registration)] {
            let manager = &self.secrets_manager;
            manager.untag_resource().secret_id(name).tag_keys(key).send().await.expect("untagged");
            if let Some(value) = value {
                let tag = Tag::builder().key(key).value(value).build();
                manager.tag_resource().secret_id(name).tags(tag).send().await.expect("tagged");
            }
        }
    }

    /// The secret as a build from before the tags has left it: without `member` in its values, and without tags.
    async fn age(&self, name: &str, member: &str) {
        self.tag(name, None, None).await;
        let without = |mut value: Value| {
            value.as_object_mut().expect("an object").remove(member);
            value.to_string()
        };
        let current = without(self.value(name, "AWSCURRENT").await);
        if self.state(name).await.0.values().flatten().any(|label| label == "AWSPREVIOUS") {
            let previous = without(self.value(name, "AWSPREVIOUS").await);
            self.put(name, &previous).await;
            self.put(name, &current).await;
        } else {
            self.put(name, &current).await;
            let version = self.version(name, "AWSPREVIOUS").await;
            let unstaged = self.secrets_manager.update_secret_version_stage().secret_id(name);
            unstaged.version_stage("AWSPREVIOUS").remove_from_version_id(version).send().await.expect("unstaged");
        }
    }
}
