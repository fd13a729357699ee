//! A plan, carried out: several clients at a time, and as far as possible.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream;
use grantwell::core::management::plan::{Action, CarriedOut, Phase, Plan, Step, Target};
use grantwell::core::management::{Management, ManagementError, Notice};
use serde::Serialize;

use super::bar::Bar;
use super::interruption::Interruption;
use super::secrets::Secrets;
use crate::words;

/// What became of a plan.
pub(super) struct Ran<'a> {
    /// Each change, in the order of the plan.
    pub(super) changes: Vec<(&'a Step, Outcome)>,
    /// The change at which it stopped, and why.
    pub(super) stopped: Option<(&'a Step, ManagementError)>,
    /// Whether somebody has asked the process to end before it came to all of them.
    pub(super) is_interrupted: bool,
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

/// Carries out every change, phase by phase: what clients answer to, clients, and then deletions, before the first of which every client
/// that goes is disabled. After the first failure nothing is begun, and what has begun is ended; so after Ctrl-C.
pub(super) async fn carry_out<'a>(management: &Management, plan: &'a Plan, secrets: &Secrets) -> Ran<'a> {
    let phases = plan.phases();
    let changes = phases.iter().filter(|phase| !phase.disables).flat_map(|phase| &phase.steps);
    let changes = changes.map(|step| (*step, Outcome::NotDone)).collect();
    let mut ran = Ran { changes, stopped: None, is_interrupted: false };
    let made = Made { over: AtomicUsize::new(0), all: ran.changes.len(), bar: Bar::of_stderr() };
    let (interruption, is_stopped) = (Interruption::watch(), AtomicBool::new(false));
    let mut first = 0;
    for phase in &phases {
        let begun = phase.steps.iter().enumerate().map(async |(position, step)| {
            if is_stopped.load(Ordering::Relaxed) || interruption.is_asked_for() {
                return (position, None);
            }
            let ended = carry_out_step(management, phase, step, secrets).await;
            if ended.is_err() {
                is_stopped.store(true, Ordering::Relaxed);
            }
            if !phase.disables {
                made.one_more();
            }
            (position, Some(ended))
        });
        let mut running = stream::iter(begun).buffer_unordered(if phase.side_by_side { AT_ONCE } else { 1 });
        while let Some((position, ended)) = running.next().await {
            let (Some(ended), Some((step, outcome))) = (ended, ran.changes.get_mut(first + position)) else { continue };
            made.bar.clear();
            match ended {
                Ok(carried_out) => {
                    *outcome = match (phase.disables, carried_out.was_done) {
                        (true, _) => Outcome::Disabled,
                        (false, true) => Outcome::DoneBefore,
                        (false, false) => Outcome::Done,
                    };
                    let is_news = |notice: &Notice| !matches!(notice, Notice::NothingChanged(_));
                    words::tell(&carried_out.notices.into_iter().filter(is_news).collect::<Vec<_>>());
                }
                Err(error) => {
                    // Disabled by the phase before, which its outcome says already.
                    if *outcome == Outcome::NotDone {
                        *outcome = Outcome::Failed;
                    }
                    ran.stopped.get_or_insert((*step, error));
                }
            }
        }
        if !phase.disables {
            first += phase.steps.len();
        }
    }
    let is_over = |(_, outcome): &(&Step, Outcome)| matches!(outcome, Outcome::Done | Outcome::DoneBefore);
    ran.is_interrupted = interruption.is_asked_for() && !ran.changes.iter().all(is_over);
    ran
}

impl Ran<'_> {
    /// What becomes of a plan without changes.
    pub(super) fn nothing() -> Self {
        Self { changes: Vec::new(), stopped: None, is_interrupted: false }
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

async fn carry_out_step(
    management: &Management,
    phase: &Phase<'_>,
    step: &Step,
    secrets: &Secrets,
) -> Result<CarriedOut, ManagementError> {
    if phase.disables {
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

/// How many changes are over, for whoever waits.
struct Made {
    over: AtomicUsize,
    all: usize,
    bar: Bar,
}

impl Made {
    fn one_more(&self) {
        let over = self.over.fetch_add(1, Ordering::Relaxed) + 1;
        if self.all > FEW {
            self.bar.show(&format!("{over} of {} changes", self.all));
        }
    }
}

/// Enough that 1,000 clients take seconds, and few enough that DynamoDB and Secrets Manager do not throttle.
const AT_ONCE: usize = 8;
/// So many changes are over before anybody reads how far they are.
const FEW: usize = 20;
