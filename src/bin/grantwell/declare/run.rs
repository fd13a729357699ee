//! A plan, carried out: several clients at a time, and as far as possible.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream;
use grantwell::core::management::plan::{Action, CarriedOut, Plan, Step, Target};
use grantwell::core::management::{Management, ManagementError, Notice};
use serde::Serialize;

use super::secrets::Secrets;
use crate::words;

/// What became of a plan.
pub(super) struct Ran<'a> {
    /// Each change, in the order of the plan.
    pub(super) changes: Vec<(&'a Step, Outcome)>,
    /// The change at which it stopped, and why.
    pub(super) stopped: Option<(&'a Step, ManagementError)>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It was made.
    Done,
    /// Somebody, perhaps an earlier run that was interrupted, had made it already.
    DoneBefore,
    /// It was tried. The record is as it was, unless the store failed while it answered.
    Failed,
    /// Its client is disabled, and was to be deleted.
    Disabled,
    /// It was not begun.
    NotDone,
}

/// Carries out every change. Realms and what else clients answer to come first, one after the
/// other; then clients; then those that are deleted are disabled, and once
/// all of them are, deleted. After the first failure nothing is begun, and what has begun is ended.
pub(super) async fn carry_out<'a>(management: &Management, plan: &'a Plan, secrets: &Secrets) -> Ran<'a> {
    let steps: Vec<&Step> = plan.steps.iter().filter(|step| step.is_change()).collect();
    let bar = Bar { done: AtomicUsize::new(0), all: steps.len(), is_seen: io::stderr().is_terminal() };
    let is_stopped = AtomicBool::new(false);
    let mut ran = Ran { changes: steps.iter().map(|step| (*step, Outcome::NotDone)).collect(), stopped: None };
    for phase in [Phase::BeforeClients, Phase::Clients, Phase::Disabling, Phase::Deleting] {
        let begun = steps.iter().enumerate().filter(|(_, step)| phase.has(step)).map(async |(position, step)| {
            if is_stopped.load(Ordering::Relaxed) {
                return (position, None);
            }
            let ended = phase.carry_out(management, step, secrets).await;
            if ended.is_err() {
                is_stopped.store(true, Ordering::Relaxed);
            }
            if phase != Phase::Disabling {
                bar.advance();
            }
            (position, Some(ended))
        });
        let mut running = stream::iter(begun).buffer_unordered(phase.at_once());
        while let Some((position, ended)) = running.next().await {
            let (Some(ended), Some((step, outcome))) = (ended, ran.changes.get_mut(position)) else { continue };
            bar.clear();
            match ended {
                Ok(carried_out) => {
                    *outcome = match (phase, carried_out.was_done) {
                        (Phase::Disabling, _) => Outcome::Disabled,
                        (_, true) => Outcome::DoneBefore,
                        (_, false) => Outcome::Done,
                    };
                    let is_news = |notice: &Notice| !matches!(notice, Notice::NothingChanged(_));
                    words::tell(&carried_out.notices.into_iter().filter(is_news).collect::<Vec<_>>());
                }
                Err(error) => {
                    *outcome = if phase == Phase::Deleting { Outcome::Disabled } else { Outcome::Failed };
                    ran.stopped.get_or_insert((*step, error));
                }
            }
        }
    }
    bar.clear();
    ran
}

impl Ran<'_> {
    /// What becomes of a plan without changes.
    pub(super) fn nothing() -> Self {
        Self { changes: Vec::new(), stopped: None }
    }

    /// How many changes ended so.
    pub(super) fn count(&self, wanted: Outcome) -> usize {
        self.changes.iter().filter(|(_, outcome)| *outcome == wanted).count()
    }

    /// How many of these were made now.
    pub(super) fn made(&self, action: Action) -> usize {
        self.changes.iter().filter(|(step, outcome)| *outcome == Outcome::Done && step.action == action).count()
    }
}

/// What is carried out side by side.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// What clients answer to, such as their realms.
    BeforeClients,
    Clients,
    Disabling,
    Deleting,
}

impl Phase {
    fn has(self, step: &Step) -> bool {
        match self {
            Self::Disabling | Self::Deleting => step.action == Action::Delete,
            Self::Clients => step.action != Action::Delete && matches!(step.target, Target::Client { .. }),
            Self::BeforeClients => step.action != Action::Delete && !matches!(step.target, Target::Client { .. }),
        }
    }

    fn at_once(self) -> usize {
        if self == Self::BeforeClients { 1 } else { AT_ONCE }
    }

    async fn carry_out(
        self,
        management: &Management,
        step: &Step,
        secrets: &Secrets,
    ) -> Result<CarriedOut, ManagementError> {
        if self == Self::Disabling {
            return management.disable_ahead(step).await.map(|()| CarriedOut::default());
        }
        let carried_out = management.carry_out(step, secrets).await;
        if let (Target::Client { realm, client_id }, Action::Create) = (&step.target, step.action) {
            match &carried_out {
                Ok(_) => secrets.registered(realm, client_id),
                Err(ManagementError::Conflict(_)) => secrets.refused(realm, client_id),
                Err(_) => {}
            }
        }
        carried_out
    }
}

/// One line on a terminal that says how far it is.
struct Bar {
    done: AtomicUsize,
    all: usize,
    is_seen: bool,
}

impl Bar {
    fn advance(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_seen && self.all > FEW {
            let _nobody_to_tell = write!(io::stderr(), "\r{done} of {} changes", self.all);
        }
    }

    fn clear(&self) {
        if self.is_seen && self.all > FEW {
            let _nobody_to_tell = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Enough that 1,000 clients take seconds, and few enough that DynamoDB and Secrets Manager do not throttle.
const AT_ONCE: usize = 8;
/// So many changes are over before anybody reads how far they are.
const FEW: usize = 20;
