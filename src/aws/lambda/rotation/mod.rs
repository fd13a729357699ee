//! The rotation contract of Secrets Manager, for client secrets ([`client_secret`]) and signing keys ([`signing_keys`]), and
//! a scheduled look for those that are due.
//!
//! Secrets Manager calls four steps for one new version: createSecret makes its value, setSecret tells those who have to know,
//! testSecret uses it, finishSecret makes it the current one. It repeats what failed, and may repeat what did not. So every
//! step looks at the stores anew, finds out whether it is still wanted, and leaves them as one run would, however often it
//! comes, in whatever order, and whoever else rotates at the same time.

mod client_secret;
mod signing_keys;
mod versions;

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use aws_sdk_secretsmanager::Client as SecretsManager;
use lambda_http::lambda_runtime::{self, Diagnostic};
use lambda_http::{LambdaEvent, service_fn};
use serde_json::Value;
use uuid::Builder;

use self::client_secret::ClientSecretRotation;
use self::signing_keys::SigningKeyRotation;
use self::versions::Versions;
use super::invocation;
use crate::aws::sdk::{DYNAMODB, corrupt};
use crate::aws::store::described::{Secret, Standing};
use crate::aws::store::keys::{DynamoPublishedKeys, SecretsManagerKeys};
use crate::aws::store::registry::DynamoRegistry;
use crate::aws::store::registry_id::RegistryIdentity;
use crate::aws::store::secrets::{PENDING, secret_name, signing_keys_name};
use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::error::OAuthError;
use crate::core::keys::KeyError;
use crate::core::keys::keyring::{KeyChangeError, Keyring};
use crate::core::keys::set::{KeySet, RotationRefused};
use crate::core::port_error::PortError;
use crate::core::ports::{ClientRegistry as _, Clock};
use crate::core::random::Random;
use crate::core::realm::RealmName;
use crate::core::realms::Realms;
use crate::observe::event::{Progress, Rotated, Step as ObservedStep};
use crate::observe::{Event, Observer};

/// Answers events until Lambda ends the process.
pub async fn serve(rotation: Rotation) {
    let rotation = &rotation;
    let ended = lambda_runtime::run(service_fn(async |LambdaEvent { payload, context }: LambdaEvent<Value>| {
        let work = Box::pin(rotation.handle(&payload));
        invocation::observed(&rotation.observer, invocation::ids(&context), work)
            .await
            .map_err(|error| Diagnostic { error_type: "RotationError".to_owned(), error_message: error.to_string() })
    }))
    .await;
    invocation::ended(ended);
}

/// The name of the secret that an event is about, where it is one that the function would look at, for the fuzz targets.
#[cfg(fuzzing)]
pub fn secret_of(event: &Value, prefix: &str) -> Option<(String, String)> {
    let RotationEvent::Step { secret_id, .. } = RotationEvent::parse(event)? else { return None };
    let held = Held::by(prefix, secret_id)?;
    Some((secret_id.to_owned(), format!("{held:?}")))
}

/// Rotates the secrets of one stack.
pub struct Rotation {
    versions: Versions,
    prefix: String,
    registry: Arc<DynamoRegistry>,
    identity: Arc<RegistryIdentity>,
    client_secrets: ClientSecretRotation,
    signing_keys: SigningKeyRotation,
    keyring: Keyring,
    key_interval: u64,
    random: Arc<dyn Random>,
    observer: Arc<Observer>,
}

/// Where a stack keeps what is rotated, and what a new version is tested against.
pub struct RotationStores {
    /// The secrets.
    pub secrets_manager: SecretsManager,
    /// The first part of their names, with no slash at its end.
    pub secret_prefix: String,
    /// The public halves of signing keys.
    pub published: DynamoPublishedKeys,
    /// The registrations, uncached and strongly consistent.
    pub registry: Arc<DynamoRegistry>,
    /// Which registry that is: only its own secrets are rotated.
    pub identity: Arc<RegistryIdentity>,
    /// The realms of that registry.
    pub realms: Realms,
}

/// Why an event was refused or a step failed. Says nothing of what the secrets hold, nor of the event.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// Nothing this function knows.
    #[error("the event is neither a rotation step of Secrets Manager nor a scheduled event of EventBridge")]
    UnknownEvent,
    /// It has another name, or there is none.
    #[error("the secret is neither a client's secret nor a realm's signing keys of this stack")]
    ForeignSecret,
    /// AWSPENDING is not on the version of the step.
    #[error("the version is not the one that is pending; start the rotation again")]
    NotPending,
    /// createSecret comes first.
    #[error("the pending version has no value; createSecret comes first")]
    NoValue,
    /// AWSCURRENT moved to another version while the step ran.
    #[error("somebody else made another version current meanwhile; start the rotation again")]
    Conflict,
    /// There is nobody to rotate the secret for.
    #[error("no client is registered for the secret")]
    UnregisteredClient,
    /// The pending version, or the current one, is not this client's.
    #[error(
        "the secret belongs to another registration of the client's id; make one of this registration with: grantwell client rotate-secret"
    )]
    OtherRegistration,
    /// Somebody has stored another secret since the pending one was made.
    #[error("the pending secret is older than the one in use and stays out of use; start the rotation again")]
    OutdatedSecret,
    /// What the token endpoint would answer.
    #[error("the pending secret does not authenticate its client: {0}")]
    Authentication(OAuthError),
    /// The keys that are current are not the ones that the pending version was made from.
    #[error("the pending keys were made from keys that have been replaced meanwhile; start the rotation again")]
    OutdatedKeys,
    /// The pending keys say of themselves that they were published, long before they were.
    #[error("the pending keys were made too long ago to be published now; start the rotation again")]
    LateKeys,
    /// A key that signs has been taken out of what is published: the command that did so did not come to its end.
    #[error("a key that signs is not published; repeat `grantwell key revoke`")]
    WithdrawnKeys,
    /// The registry has other public keys than those of the pending version.
    #[error("the pending keys are not the ones that are published; setSecret comes first")]
    UnpublishedKeys,
    /// A key signed what the published key of its name does not verify.
    #[error("a pending key signs what its published half does not verify")]
    UnverifiedKeys,
    /// The keys do not allow a rotation now.
    #[error(transparent)]
    Refused(#[from] RotationRefused),
    /// A store could not do its work.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The schedule found secrets due that could not be rotated, or something that it could not look at.
    #[error("{failed} failures while the schedule looked for what is due; the log says where and why")]
    Schedule {
        /// How many.
        failed: usize,
    },
}

/// The steps, by the names that Secrets Manager gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Set,
    Test,
    Finish,
}

/// What this function is invoked with.
#[derive(Debug, PartialEq, Eq)]
enum RotationEvent<'a> {
    Step { step: Step, secret_id: &'a str, token: &'a str },
    Schedule,
}

/// What a secret holds, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    ClientSecret { realm: RealmName, client_id: ClientId },
    SigningKeys { realm: RealmName },
}

/// What a secret holds, once its tags have said that it is this registry's.
enum Claimed {
    ClientSecret(Arc<Client>),
    SigningKeys(RealmName),
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// The version is current already.
    NothingToDo,
}

impl Rotation {
    /// Rotates what is in `stores`; by schedule the keys that have been signing for `key_interval` seconds.
    pub fn new(
        stores: RotationStores,
        key_interval: u64,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        observer: Arc<Observer>,
    ) -> Self {
        let RotationStores { secrets_manager, secret_prefix, published, registry, identity, realms } = stores;
        let store = SecretsManagerKeys::new(
            secrets_manager.clone(),
            secret_prefix.clone(),
            published.clone(),
            Arc::clone(&identity),
        );
        let keyring = Keyring::new(Arc::new(store), Arc::clone(&clock));
        let versions = Versions::new(secrets_manager);
        Self {
            keyring,
            client_secrets: ClientSecretRotation {
                versions: versions.clone(),
                registry: Arc::clone(&registry) as _,
                realms,
                clock: Arc::clone(&clock),
                random: Arc::clone(&random),
            },
            signing_keys: SigningKeyRotation {
                versions: versions.clone(),
                published,
                identity: Arc::clone(&identity),
                clock,
            },
            versions,
            prefix: secret_prefix,
            registry,
            identity,
            key_interval,
            random,
            observer,
        }
    }

    /// Does what an event asks for.
    ///
    /// # Errors
    /// [`RotationError`].
    pub async fn handle(&self, event: &Value) -> Result<(), RotationError> {
        match RotationEvent::parse(event) {
            Some(RotationEvent::Step { step, secret_id, token }) => self.step(step, secret_id, token).await,
            Some(RotationEvent::Schedule) => self.rotate_what_is_due().await,
            None => {
                self.observer.tell(Event::NotARotationEvent);
                Err(RotationError::UnknownEvent)
            }
        }
    }

    async fn step(&self, step: Step, secret_id: &str, token: &str) -> Result<(), RotationError> {
        // 1. Which secret it is: by the name it has, not by the one in the event, which may be an ARN.
        let described = self.versions.describe(secret_id).await;
        let secret = described.inspect_err(|error| self.observer.tell(Event::SecretNotDescribed { error }))?;
        let held = secret.as_ref().and_then(|secret| Held::by(&self.prefix, secret.name()));
        let (Some(secret), Some(held)) = (secret, held) else {
            self.observer.tell(Event::ForeignSecret);
            return Err(RotationError::ForeignSecret);
        };

        // 2. Whose it is, 3. whether the version still waits for the step, and 4. the step.
        let outcome = match self.claim(&secret, held.clone()).await {
            Ok(claimed) => self.step_of(step, &secret, &claimed, token).await,
            Err(error) => Err(error),
        };
        self.observer.tell(Event::RotationStep(held.after(step, &outcome)));
        outcome.map(drop)
    }

    /// What the secret holds, if its tags say that it is this registry's, and the registration's of today.
    async fn claim(&self, secret: &Secret, held: Held) -> Result<Claimed, RotationError> {
        let registry = self.identity.require().await?;
        match held {
            Held::ClientSecret { realm, client_id } => {
                secret.require_registry(&registry)?;
                let client = self.registry.client(&realm, &client_id).await?;
                let client = client.ok_or(RotationError::UnregisteredClient)?;
                secret.require_registration(&registry, &client.registration_id)?;
                Ok(Claimed::ClientSecret(client))
            }
            Held::SigningKeys { realm } => {
                secret.require_registry(&registry)?;
                Ok(Claimed::SigningKeys(realm))
            }
        }
    }

    async fn step_of(
        &self,
        step: Step,
        secret: &Secret,
        claimed: &Claimed,
        token: &str,
    ) -> Result<Outcome, RotationError> {
        match secret.standing(token) {
            Some(Standing::Current) => {
                // A run that did not come to its end has left the label.
                if secret.versions_at(PENDING).any(|version| version == token) {
                    self.versions.discard_pending(secret, token).await?;
                }
                Ok(Outcome::NothingToDo)
            }
            Some(Standing::Pending) => match self.run(step, secret, claimed, token).await {
                // A run beside this one has finished meanwhile, which takes the label.
                Err(RotationError::NotPending) if self.is_current(secret, token).await? => Ok(Outcome::NothingToDo),
                other => other.map(|()| Outcome::Done),
            },
            None => Err(RotationError::NotPending),
        }
    }

    async fn is_current(&self, secret: &Secret, version: &str) -> Result<bool, PortError> {
        let now = self.versions.describe(secret.id()).await?;
        Ok(now.and_then(|now| now.standing(version)) == Some(Standing::Current))
    }

    async fn run(&self, step: Step, secret: &Secret, claimed: &Claimed, token: &str) -> Result<(), RotationError> {
        let (clients, keys) = (&self.client_secrets, &self.signing_keys);
        match claimed {
            Claimed::ClientSecret(client) => match step {
                Step::Create => clients.create(secret, client, token).await,
                // There is nothing to set: the functions read Secrets Manager.
                Step::Set => Ok(()),
                Step::Test => clients.test(secret, client, token).await,
                Step::Finish => clients.finish(secret, client, token).await,
            },
            Claimed::SigningKeys(realm) => match step {
                Step::Create => keys.create(secret, realm, token).await,
                Step::Set => keys.set(secret, realm, token).await,
                Step::Test => keys.test(secret, realm, token).await,
                Step::Finish => keys.finish(secret, realm, token).await,
            },
        }
    }

    /// Rotates the keys and the client secrets of every realm that are due. One failure does not stop the others; it ends the
    /// invocation in an error, so that Lambda tries again and an alarm can see it.
    async fn rotate_what_is_due(&self) -> Result<(), RotationError> {
        let listed = self.registry.realm_names().await;
        let registered = listed.inspect_err(|error| tracing::error!(%error, "the realms could not be listed"))?;
        let names: BTreeSet<String> = registered.into_iter().chain([RealmName::ROOT.to_owned()]).collect();
        let (mut failed, mut overdue) = (0, 0);
        for name in names {
            let Ok(realm) = name.parse() else {
                let error = corrupt(DYNAMODB, "a realm record whose name is malformed");
                tracing::error!(%error, "a realm was left out");
                overdue += 1;
                continue;
            };
            match self.rotate_keys_if_due(&realm).await {
                // No failure of the run: what verifies for longer than it has to is looked at again tomorrow.
                Ok(()) => {
                    let retired = self.retire_keys(&realm).await;
                    let _ = retired.inspect_err(|error| {
                        tracing::warn!(%realm, %error, "signing keys verify for longer than they need to");
                    });
                }
                Err(_) => overdue += 1,
            }
            failed += self.rotate_due_client_secrets(&realm).await;
        }
        self.observer.tell(Event::SigningKeysLookedAt { overdue });
        failed += overdue;
        if failed == 0 { Ok(()) } else { Err(RotationError::Schedule { failed }) }
    }

    /// Has the keys that sign no more verify for only as long as their tokens ask. Not while a rotation is under way: its keys were made
    /// from those in use, so it would have to begin anew.
    async fn retire_keys(&self, realm: &RealmName) -> Result<(), RotationError> {
        // 1. Whether there is such a key, and no rotation.
        let Some(keys) = self.keyring.read(realm).await?.filter(KeySet::has_previous) else { return Ok(()) };
        let secret = self.versions.describe(&signing_keys_name(&self.prefix, realm)).await?;
        let is_staged = secret.is_none_or(|secret| secret.pending_version().is_some());
        if is_staged || self.signing_keys.published.read(realm).await?.revision != keys.revision {
            return Ok(());
        }

        // 2. How long the tokens may live that were issued until now.
        let now = self.signing_keys.clock.now();
        let retention = self.registry.retention(realm).await?;
        match self.keyring.retire(realm, &keys, retention, now).await {
            Ok(()) => Ok(()),
            Err(KeyChangeError::Port(error)) => Err(error.into()),
            Err(KeyChangeError::Refused(refused)) => Err(refused.into()),
            Err(KeyChangeError::Conflict) => Err(RotationError::Conflict),
        }
    }

    /// How many could not be looked at or rotated.
    async fn rotate_due_client_secrets(&self, realm: &RealmName) -> usize {
        let listed = match self.registry.clients_with_secret_rotation(realm).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::error!(%realm, %error, "the clients of a realm could not be listed");
                return 1;
            }
        };
        let mut failed = 0;
        for client in listed {
            let rotated = match client {
                Ok(client) => self.rotate_client_secret_if_due(&client).await,
                Err(error) => {
                    tracing::error!(%realm, %error, "a client was left out");
                    Err(error.into())
                }
            };
            failed += usize::from(rotated.is_err());
        }
        failed
    }

    async fn rotate_client_secret_if_due(&self, client: &Client) -> Result<(), RotationError> {
        let held = Held::ClientSecret { realm: client.realm.clone(), client_id: client.client_id.clone() };
        let due = self.due_secret(client).await;
        let due = due.inspect_err(|error| self.tell_of_failed_look(&held, error))?;
        let Some((secret, claimed, token)) = due else {
            return Ok(());
        };
        // All with the secret as it was found due: AWSCURRENT then moves from that version or not at all, and two runs at once
        // never come to two rotations, the second of which would end the secret that the application still has.
        for step in Step::ALL {
            let outcome = self.run(step, &secret, &claimed, &token).await.map(|()| Outcome::Done);
            self.observer.tell(Event::RotationStep(held.after(step, &outcome)));
            outcome?;
        }
        Ok(())
    }

    /// The version under which the client's secret is to be rotated now, if it is due: the one that somebody has left pending,
    /// or a new one.
    async fn due_secret(&self, client: &Client) -> Result<Option<(Secret, Claimed, String)>, RotationError> {
        if !client.is_active() {
            return Ok(None);
        }
        let name = secret_name(&self.prefix, &client.realm, &client.client_id);
        let Some(secret) = self.versions.describe(&name).await? else { return Ok(None) };
        // The listing has read the registration a moment ago.
        secret.require_registration(&self.identity.require().await?, &client.registration_id)?;
        if !self.client_secrets.is_due(&secret, client).await? {
            return Ok(None);
        }
        let mut staged = secret.pending_version().map(str::to_owned);
        if let Some(version) = &staged {
            match self.client_secrets.can_be_completed(&secret, client, version).await {
                // Secrets Manager has begun a rotation, and may be about to call the first step.
                Ok(()) | Err(RotationError::NoValue) => {}
                // Discarded.
                Err(RotationError::OutdatedSecret | RotationError::OtherRegistration) => staged = None,
                Err(error) => return Err(error),
            }
        }
        let version = match staged {
            Some(version) => version,
            None => self.new_version()?,
        };
        Ok(Some((secret, Claimed::ClientSecret(Arc::new(client.clone())), version)))
    }

    fn tell_of_failed_look(&self, held: &Held, error: &RotationError) {
        let step = ObservedStep { secret: held.rotated(), name: SCHEDULE, outcome: Err(error) };
        self.observer.tell(Event::ScheduledRotation(step));
    }

    async fn rotate_keys_if_due(&self, realm: &RealmName) -> Result<(), RotationError> {
        let held = Held::SigningKeys { realm: realm.clone() };
        let due = self.due_version(realm).await;
        let due = due.inspect_err(|error| self.tell_of_failed_look(&held, error))?;
        let Some((secret, token)) = due else {
            return Ok(());
        };
        // Secrets Manager stages the version before it calls the first step; here nobody has.
        let created = self.signing_keys.create(&secret, realm, &token).await.map(|()| Outcome::Done);
        self.observer.tell(Event::ScheduledRotation(held.after(Step::Create, &created)));
        created?;
        for step in [Step::Set, Step::Test, Step::Finish] {
            self.step(step, secret.id(), &token).await?;
        }
        Ok(())
    }

    /// The version under which the realm's keys are to be rotated now, if they are: the one that an earlier run has left
    /// pending, or a new one where they are due.
    async fn due_version(&self, realm: &RealmName) -> Result<Option<(Secret, String)>, RotationError> {
        let Some(secret) = self.versions.describe(&signing_keys_name(&self.prefix, realm)).await? else {
            return Ok(None);
        };
        self.claim(&secret, Held::SigningKeys { realm: realm.clone() }).await?;
        let mut staged = secret.pending_version();
        if let Some(version) = staged {
            match self.signing_keys.can_be_completed(&secret, realm, version).await {
                Ok(()) => {
                    let version = version.to_owned();
                    return Ok(Some((secret, version)));
                }
                // Secrets Manager has begun a rotation, and may be about to call the first step.
                Err(RotationError::NoValue) => {}
                // Discarded.
                Err(RotationError::OutdatedKeys | RotationError::LateKeys) => staged = None,
                Err(error) => return Err(error),
            }
        }
        if !self.signing_keys.are_due(&secret, realm, self.key_interval).await? {
            return Ok(None);
        }
        let version = match staged {
            Some(version) => version.to_owned(),
            None => self.new_version()?,
        };
        Ok(Some((secret, version)))
    }

    fn new_version(&self) -> Result<String, PortError> {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes)?;
        Ok(Builder::from_random_bytes(bytes).into_uuid().to_string())
    }
}

impl Step {
    const ALL: [Self; 4] = [Self::Create, Self::Set, Self::Test, Self::Finish];

    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "createSecret",
            Self::Set => "setSecret",
            Self::Test => "testSecret",
            Self::Finish => "finishSecret",
        }
    }
}

impl<'a> RotationEvent<'a> {
    /// `None` for everything but the two. Members that it does not know, such as `RotationToken`, are left alone.
    fn parse(event: &'a Value) -> Option<Self> {
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        if let (Some(step), Some(secret_id), Some(token)) = (text("Step"), text("SecretId"), text("ClientRequestToken"))
        {
            let step = Step::ALL.into_iter().find(|known| known.as_str() == step)?;
            let well_formed = (1..=2048).contains(&secret_id.len()) && (32..=64).contains(&token.len());
            let printable = [secret_id, token].iter().all(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
            return (well_formed && printable).then_some(Self::Step { step, secret_id, token });
        }
        let is_schedule = text("source") == Some("aws.events") && text("detail-type") == Some("Scheduled Event");
        is_schedule.then_some(Self::Schedule)
    }
}

impl Held {
    /// What a secret of this name holds; `None` where it is not of this stack.
    fn by(prefix: &str, name: &str) -> Option<Self> {
        let path = name.strip_prefix(prefix)?.strip_prefix('/')?;
        let parts: Vec<&str> = path.split('/').collect();
        match *parts {
            [realm, "clients", client_id] => {
                Some(Self::ClientSecret { realm: well_formed(realm)?, client_id: well_formed(client_id)? })
            }
            [realm, "signing-keys"] => Some(Self::SigningKeys { realm: well_formed(realm)? }),
            _ => None,
        }
    }

    fn rotated(&self) -> Rotated<'_> {
        match self {
            Self::ClientSecret { realm, client_id } => Rotated::ClientSecret(realm, client_id),
            Self::SigningKeys { realm } => Rotated::SigningKeys(realm),
        }
    }

    /// What there is to tell of a step with it.
    fn after<'a>(&'a self, step: Step, outcome: &'a Result<Outcome, RotationError>) -> ObservedStep<'a> {
        let outcome = match outcome {
            Ok(Outcome::Done) if step == Step::Finish => Ok(Progress::Finished),
            Ok(Outcome::Done) => Ok(Progress::Done),
            Ok(Outcome::NothingToDo) => Ok(Progress::NothingToDo),
            Err(error) => Err(error as _),
        };
        ObservedStep { secret: self.rotated(), name: step.as_str(), outcome }
    }
}

fn well_formed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

impl From<KeyError> for RotationError {
    fn from(error: KeyError) -> Self {
        Self::Port(error.into())
    }
}

/// Where a step would stand in the log, as long as there is none.
const SCHEDULE: &str = "schedule";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "51f72378-6a5d-5dc7-8fd8-29e4319f482a";

    #[test]
    fn a_step_and_a_schedule_are_known_whatever_else_the_event_has() {
        for step in Step::ALL {
            let event = json!({
                "Step": step.as_str(), "SecretId": "arn:aws:secretsmanager:us-east-1:123456789012:secret:s-AbCdEf",
                "ClientRequestToken": TOKEN, "RotationToken": "another", "source": "aws.events",
            });
            let Some(RotationEvent::Step { step: read, token, .. }) = RotationEvent::parse(&event) else {
                panic!("{event}")
            };
            assert_eq!((read, token), (step, TOKEN));
        }
        let event = json!({"version": "0", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
        assert_eq!(RotationEvent::parse(&event), Some(RotationEvent::Schedule));
    }

    #[test]
    fn anything_else_is_unknown() {
        let step =
            |step: Value, id: Value, token: Value| json!({"Step": step, "SecretId": id, "ClientRequestToken": token});
        for event in [
            json!(null),
            json!([]),
            json!({}),
            json!("createSecret"),
            step("create_secret".into(), "s".into(), TOKEN.into()),
            step("CreateSecret".into(), "s".into(), TOKEN.into()),
            step(1.into(), "s".into(), TOKEN.into()),
            step("createSecret".into(), "".into(), TOKEN.into()),
            step("createSecret".into(), "s s".into(), TOKEN.into()),
            step("createSecret".into(), "s".repeat(2049).into(), TOKEN.into()),
            step("createSecret".into(), "s".into(), "short".into()),
            step("createSecret".into(), "s".into(), "t".repeat(65).into()),
            step("createSecret".into(), "s".into(), Value::Null),
            json!({"source": "aws.s3", "detail-type": "Scheduled Event"}),
            json!({"source": "aws.events", "detail-type": "Scheduled event"}),
            json!({"version": "2.0", "rawPath": "/oauth2/access_token", "requestContext": {}}),
        ] {
            assert_eq!(RotationEvent::parse(&event), None, "{event}");
        }
    }

    #[test]
    fn only_names_of_this_stack_are_rotated() {
        let (realm, client_id) = ("alpha".parse::<RealmName>().expect("a name"), "myClient".parse().expect("an id"));
        let client = Held::ClientSecret { realm: realm.clone(), client_id };
        assert_eq!(Held::by("grantwell", "grantwell/alpha/clients/myClient"), Some(client));
        assert_eq!(Held::by("grantwell", "grantwell/alpha/signing-keys"), Some(Held::SigningKeys { realm }));
        for name in [
            "",
            "grantwell",
            "grantwell/alpha",
            "grantwell/alpha/signing-keys/",
            "grantwell/alpha/signing-keys-2",
            "grantwell//signing-keys",
            "/alpha/signing-keys",
            "grantwell2/alpha/signing-keys",
            "other/grantwell/alpha/signing-keys",
            "grantwell/alpha/beta/signing-keys",
            "grantwell/alpha/clients/",
            "grantwell/alpha/clients/-option",
            "grantwell/alpha/clients/a/b",
            "grantwell/alpha.beta/clients/myClient",
            "grantwell/alpha/Clients/myClient",
        ] {
            assert_eq!(Held::by("grantwell", name), None, "{name}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let name = prop_oneof!["Step|SecretId|ClientRequestToken|source|detail-type", ".{0,8}"];
        let text = prop_oneof!["createSecret|finishSecret|aws.events|Scheduled Event", "[ -~]{32,64}", ".{0,70}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name.clone(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_json_panics_and_no_name_is_taken_for_two(event in any_json(), name in ".{0,40}") {
            if let Some(RotationEvent::Step { secret_id, token, .. }) = RotationEvent::parse(&event) {
                prop_assert!(!secret_id.is_empty() && token.len() >= 32);
            }
            let _ = Held::by("grantwell", &name);
            let _ = Held::by("grantwell", &format!("grantwell/{name}"));
        }
    }
}
