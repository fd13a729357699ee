//! The lines of one process: who makes a change, whether they may, and what is written of it, ahead of it and afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::members;
use crate::core::admin_log::{Action, Actor, AdminLogLine, Face, LineId, LogRetention, MemberChange, Outcome, Target};
use crate::core::client::Client;
use crate::core::client::information::ClientInformation;
use crate::core::keys::published::PublishedKeys;
use crate::core::management::access::{Access, Operation};
use crate::core::owner::OwnerId;
use crate::core::port_error::PortError;
use crate::core::ports::{AccessDenied, ActorSource, AdminLog, Clock, KeyStoreError, Registrar, RegistrarError};
use crate::core::random::Random;
use crate::core::realm::{Realm, RealmName};
use crate::core::time::UnixMillis;

/// Where changes are logged, and what of them is the same for all.
#[derive(Clone)]
pub struct Logging {
    /// The log.
    pub log: Arc<dyn AdminLog>,
    /// Who makes the changes.
    pub actors: Arc<dyn ActorSource>,
    /// Through which face.
    pub face: Face,
    /// How long a line is kept.
    pub retention: LogRetention,
}

/// Writes the lines of one process.
pub struct Logbook {
    logging: Logging,
    /// As it is without a log, to read what is about to change.
    pub(super) registrar: Arc<dyn Registrar>,
    pub(super) clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// The time of the last line: two changes of a process are never at the same time, so that their lines keep their order.
    last: AtomicU64,
}

/// A change that is about to be made.
pub struct ChangeToLog {
    pub(super) action: Action,
    pub(super) target: Target,
    pub(super) members: Vec<MemberChange>,
    pub(super) revision: Option<u64>,
}

/// Who makes a change, and what they may do.
pub(super) struct Caller {
    actor: Actor,
    access: Access,
}

/// What an error says of whether the change was made.
pub trait ChangeError: From<PortError> {
    /// How the change ended.
    fn outcome(&self) -> Outcome;
}

impl Logbook {
    /// Writes into the log of `logging`; `registrar` is read for what a change replaces, and for the owners.
    pub fn new(
        logging: Logging,
        registrar: Arc<dyn Registrar>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Arc<Self> {
        Arc::new(Self { logging, registrar, clock, random, last: AtomicU64::new(0) })
    }

    /// Makes a change of which nobody but its caller knows the stores, its line ahead of it.
    ///
    /// # Errors
    /// Those of the change; [`PortError`] where the line could not be written, and then nothing is changed.
    pub async fn carry_out<T, E: ChangeError>(
        &self,
        change: ChangeToLog,
        carry_out: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        let caller = self.caller().await?;
        self.carry_out_as(&caller, change, carry_out).await
    }

    /// [`Self::carry_out`] of what only operators may do.
    ///
    /// # Errors
    /// Those of the change; [`RegistrarError::Denied`].
    pub async fn carry_out_as_operator<T>(
        &self,
        change: ChangeToLog,
        carry_out: impl Future<Output = Result<T, RegistrarError>> + Send,
    ) -> Result<T, RegistrarError> {
        let caller = self.caller().await?;
        self.carry_out_if(&caller, Operation::Operate, change, carry_out).await
    }

    /// The lines of a realm and its first clients, for a store that writes both in one step.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn lines_of_new(&self, realm: &Realm, clients: &[&Client]) -> Result<Vec<AdminLogLine>, PortError> {
        let caller = self.caller().await?;
        let changes = [ChangeToLog::of_new_realm(realm)].into_iter();
        let changes = changes
            .chain(clients.iter().map(|client| ChangeToLog::of_client(Action::CREATE_CLIENT, None, Some(client))));
        changes.map(|change| self.line(&caller, change, Outcome::Done)).collect()
    }

    /// The line of a registry whose place a backup takes, for a store that does both in one step.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn line_of_restore(&self) -> Result<AdminLogLine, PortError> {
        let change =
            ChangeToLog { action: Action::RESTORE, target: Target::default(), members: Vec::new(), revision: None };
        self.line(&self.caller().await?, change, Outcome::Done)
    }

    /// Whether whoever works here may do what only operators may.
    ///
    /// # Errors
    /// [`RegistrarError::Denied`]; [`RegistrarError::Port`] where nobody can say who works here.
    pub async fn require_operator(&self) -> Result<(), RegistrarError> {
        Ok(self.caller().await?.access.check(Operation::Operate)?)
    }

    /// What whoever works here may do.
    ///
    /// # Errors
    /// [`PortError`] where nobody can say who works here.
    pub async fn access(&self) -> Result<Access, PortError> {
        Ok(self.caller().await?.access)
    }

    /// Who works here, asked anew for each change: an owner may have been disabled meanwhile. Only a caller of AWS may act for an owner.
    pub(super) async fn caller(&self) -> Result<Caller, PortError> {
        let actor = self.logging.actors.actor().await?;
        let owners = match &actor {
            Actor::AwsCaller { .. } => self.registrar.list_owners().await.map_err(port_error)?,
            Actor::OsUser { .. } | Actor::Schedule | Actor::Unknown => Vec::new(),
        };
        Ok(Caller { access: Access::of(&actor, &owners), actor })
    }

    /// A change that `caller` may make; one that it may not make leaves a line, too.
    pub(super) async fn carry_out_if<T, E: ChangeError + From<AccessDenied>>(
        &self,
        caller: &Caller,
        operation: Operation<'_>,
        change: ChangeToLog,
        carry_out: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        if let Err(denied) = caller.access.check(operation) {
            let line = self.line(caller, change, Outcome::Refused)?;
            self.logging.log.begin(&line).await?;
            return Err(denied.into());
        }
        self.carry_out_as(caller, change, carry_out).await
    }

    async fn carry_out_as<T, E: ChangeError>(
        &self,
        caller: &Caller,
        change: ChangeToLog,
        carry_out: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        // 1. The line, without which nothing is changed.
        let line = self.line(caller, change, Outcome::Started)?;
        self.logging.log.begin(&line).await?;

        // 2. The change.
        let ended = carry_out.await;

        // 3. What became of it. Where that cannot be written, the line goes on saying that nobody knows, and the change stands: its
        //    answer may be the only copy of a secret.
        let outcome = ended.as_ref().err().map_or(Outcome::Done, ChangeError::outcome);
        if let Err(error) = self.logging.log.finish(&line, outcome).await {
            tracing::warn!(line = %line.id, %error, "the log does not say how a change ended");
        }
        ended
    }

    fn line(&self, caller: &Caller, change: ChangeToLog, outcome: Outcome) -> Result<AdminLogLine, PortError> {
        let at = self.next_time();
        let ChangeToLog { action, target, members, revision } = change;
        Ok(AdminLogLine {
            id: LineId::generate(at, self.random.as_ref())?,
            at,
            actor: caller.actor.clone(),
            acts_for: caller.access.acts_for(),
            face: self.logging.face.clone(),
            action,
            target,
            members,
            revision,
            outcome,
            expires_at: self.logging.retention.ends_at(at.seconds()),
        })
    }

    fn next_time(&self) -> UnixMillis {
        let now = self.clock.now_in_millis().0;
        let next = |last: u64| Some(now.max(last.saturating_add(1)));
        let last = self.last.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        UnixMillis(now.max(last.unwrap_or_default().saturating_add(1)))
    }
}

impl ChangeToLog {
    /// `action` on a client that is as `before` and becomes as `after`.
    pub(super) fn of_client(action: Action, before: Option<&Client>, after: Option<&Client>) -> Self {
        let shown = |client: &Client| ClientInformation::of(client).members().clone();
        let (shown_before, shown_after) = (before.map(shown), after.map(shown));
        Self {
            action,
            target: target_of(before.into_iter().chain(after)),
            members: members::changes(shown_before.as_ref(), shown_after.as_ref()),
            revision: after.map(|client| client.revision),
        }
    }

    fn of_new_realm(realm: &Realm) -> Self {
        Self::of_realm(Action::CREATE_REALM, None, realm)
    }

    pub(super) fn of_realm(action: Action, before: Option<&Realm>, realm: &Realm) -> Self {
        let (before, after) = (before.map(Realm::information), realm.information());
        Self {
            action,
            target: Target { realm: Some(realm.name.clone()), ..Target::default() },
            members: members::changes(before.as_ref(), Some(&after)),
            revision: Some(realm.revision),
        }
    }

    pub(super) fn of_deleted_realm(realm: &Realm) -> Self {
        Self {
            action: Action::DELETE_REALM,
            target: Target { realm: Some(realm.name.clone()), ..Target::default() },
            members: members::changes(Some(&realm.information()), None),
            revision: None,
        }
    }

    /// Secrets of a stack that are marked as its own.
    pub fn of_bound_secrets() -> Self {
        Self { action: Action::BIND_SECRETS, target: Target::default(), members: Vec::new(), revision: None }
    }

    /// A new secret of `client`.
    pub fn of_new_secret(client: &Client) -> Self {
        Self::on_client(Action::ROTATE_SECRET, client)
    }

    pub(super) fn on_client(action: Action, client: &Client) -> Self {
        Self { action, target: target_of([client]), members: Vec::new(), revision: None }
    }

    /// `action` on the keys of `realm`.
    pub fn of_keys(
        action: Action,
        realm: &RealmName,
        before: Option<&PublishedKeys>,
        after: Option<&PublishedKeys>,
    ) -> Self {
        Self {
            action,
            target: Target { realm: Some(realm.clone()), ..Target::default() },
            members: members::key_changes(before, after),
            revision: after.map(|keys| keys.revision),
        }
    }
}

impl ChangeError for RegistrarError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::AlreadyExists
            | Self::NotFound
            | Self::NoSecret
            | Self::SuppliedSecret
            | Self::Conflict
            | Self::Denied(_) => Outcome::Refused,
            Self::Port(_) => Outcome::Failed,
        }
    }
}

impl ChangeError for KeyStoreError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Conflict => Outcome::Refused,
            Self::Port(_) => Outcome::Failed,
        }
    }
}

impl ChangeError for PortError {
    fn outcome(&self) -> Outcome {
        Outcome::Failed
    }
}

/// A client, by what is known of it before and after a change.
pub(super) fn target_of<'a>(clients: impl IntoIterator<Item = &'a Client>) -> Target {
    let mut target = Target::default();
    for client in clients {
        target.realm = Some(client.realm.clone());
        target.client_id = Some(client.client_id.clone());
        target.registration_id = Some(client.registration_id.clone());
        let more = client.metadata.owners.iter().filter(|owner| !target.owners.contains(owner)).cloned();
        let more: Vec<OwnerId> = more.collect();
        target.owners.extend(more);
    }
    target
}

/// Reading asks for nothing that could be refused, so whatever it says is a store's failure.
fn port_error(error: RegistrarError) -> PortError {
    match error {
        RegistrarError::Port(error) => error,
        other => PortError::Unavailable { service: "the registry", detail: other.to_string() },
    }
}
