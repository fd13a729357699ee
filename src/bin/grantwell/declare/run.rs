//! A plan, carried out: several clients at a time, and as far as possible.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream;
use grantwell::core::management::plan::{Phase, Plan, Step};
use grantwell::core::management::{Management, ManagementError, Notice};

use super::secrets::Secrets;
use crate::failure::Failure;
use crate::words;

/// How far it came.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Steps that have changed something.
    pub(super) done: usize,
    /// Steps that somebody had carried out before.
    pub(super) were_done: usize,
}

/// Carries out every step, phase by phase. The first failure stops what has not begun.
pub(super) async fn carry_out(management: &Management, plan: &Plan, secrets: &Secrets) -> Result<Progress, Failure> {
    let all = plan.steps.iter().filter(|step| step.is_change()).count();
    let bar = Bar { done: AtomicUsize::new(0), all, is_seen: io::stderr().is_terminal() };
    let mut progress = Progress::default();
    for Phase { steps, side_by_side } in plan.phases() {
        let at_once = if side_by_side { AT_ONCE } else { 1 };
        let steps = stream::iter(steps).map(async |step| {
            let carried_out = management.carry_out(step, secrets).await;
            bar.advance();
            (step, carried_out)
        });
        let mut running = steps.buffer_unordered(at_once);
        while let Some((step, carried_out)) = running.next().await {
            match carried_out {
                Ok(carried_out) if carried_out.was_done => progress.were_done += 1,
                Ok(carried_out) => {
                    progress.done += 1;
                    bar.clear();
                    let is_news = |notice: &Notice| !matches!(notice, Notice::NothingChanged(_));
                    words::tell(&carried_out.notices.into_iter().filter(is_news).collect::<Vec<_>>());
                }
                Err(error) => {
                    bar.clear();
                    return Err(stopped(step, error, &progress, all));
                }
            }
        }
    }
    bar.clear();
    Ok(progress)
}

fn stopped(step: &Step, error: ManagementError, progress: &Progress, all: usize) -> Failure {
    let so_far = progress.done + progress.were_done;
    let reason = match error {
        ManagementError::Conflict(_) => {
            "somebody else has changed it since this was planned, so it was left as it is".to_owned()
        }
        error => match Failure::from(error) {
            Failure::Sentence(sentence) | Failure::Misuse(sentence) => sentence,
            closed => return closed,
        },
    };
    Failure::new(format!(
        "{}: {reason}; {so_far} of {all} changes were made before. Plan again with --plan, and repeat the command: what is done is not done twice",
        step.target
    ))
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
