//! The scheduled look for keys and client secrets that are due.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Builder;

use super::error::RotationError;
use super::event::{Held, Outcome, Step};
use super::steps::{Claimed, Rotation};
use crate::aws::sdk::{DYNAMODB, corrupt};
use crate::aws::store::described::Secret;
use crate::aws::store::secrets::{secret_name, signing_keys_name};
use crate::core::client::Client;
use crate::core::keys::keyring::KeyChangeError;
use crate::core::keys::set::KeySet;
use crate::core::port_error::PortError;
use crate::core::realm::RealmName;
use crate::observe::Event;
use crate::observe::event::Step as ObservedStep;

impl Rotation {
    /// Rotates the keys and the client secrets of every realm that are due. One failure does not stop the others; it ends the
    /// invocation in an error, so that Lambda tries again and an alarm can see it.
    pub(super) async fn rotate_what_is_due(&self) -> Result<(), RotationError> {
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
        let Some((secret, claimed, version_id)) = due else {
            return Ok(());
        };
        // All with the secret as it was found due: AWSCURRENT then moves from that version or not at all, and two runs at once
        // never come to two rotations, the second of which would end the secret that the application still has.
        for step in Step::ALL {
            let outcome = self.run(step, &secret, &claimed, &version_id).await.map(|()| Outcome::Done);
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
        let Some((secret, version_id)) = due else {
            return Ok(());
        };
        // Secrets Manager stages the version before it calls the first step; here nobody has.
        let created = self.signing_keys.create(&secret, realm, &version_id).await.map(|()| Outcome::Done);
        self.observer.tell(Event::ScheduledRotation(held.after(Step::Create, &created)));
        created?;
        for step in [Step::Set, Step::Test, Step::Finish] {
            self.step(step, secret.id(), &version_id).await?;
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

/// Where a step would stand in the log, as long as there is none.
const SCHEDULE: &str = "schedule";
