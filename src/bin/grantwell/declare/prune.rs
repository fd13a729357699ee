//! Whether a plan may delete what it deletes. Whoever deletes by mistake has lost the secrets of the clients.

use std::io::{self, IsTerminal as _};

use grantwell::core::management::plan::{Action, Plan, Step, Target};

use super::shown;
use crate::confirm::{ConfirmArguments, Unattended};
use crate::failure::Failure;
use crate::output::{self, Format, OutputArguments};

/// Refuses to delete too many, or all because of a list that is empty by mistake, and asks.
///
/// # Errors
/// A [`Failure`]; then nothing may be changed.
pub(super) fn allow(
    plan: &Plan,
    declares_clients: bool,
    at_most: Option<u32>,
    confirm: &ConfirmArguments,
    output: &OutputArguments,
) -> Result<(), Failure> {
    let deleted: Vec<&Step> = plan.steps.iter().filter(|step| step.action == Action::Delete).collect();
    let (count, of) = (deleted.len(), &plan.name);
    if count == 0 {
        return Ok(());
    }
    let deletes_clients = deleted.iter().any(|step| matches!(step.target, Target::Client { .. }));
    let (what, names) = (shown::counted(&deleted), shown::names(&deleted));
    if !declares_clients && deletes_clients && at_most.is_none() {
        return Err(Failure::new(format!(
            "nothing was changed, because no client is declared, so --prune would delete every client of {of}:{names}\nIf that is meant, \
             repeat the command with --prune-at-most {count}"
        )));
    }
    let at_most = at_most.unwrap_or(AT_MOST);
    if count > usize::try_from(at_most).unwrap_or(usize::MAX) {
        return Err(Failure::new(format!(
            "nothing was changed, because {what} would be deleted, and no more than {at_most} are deleted at once:{names}\nIf that is meant, \
             repeat the command with --prune-at-most {count}"
        )));
    }
    // Whoever is asked has seen them in the plan, unless that went elsewhere.
    let is_seen = io::stdout().is_terminal() || !io::stdin().is_terminal();
    if output.format() == Format::Json || !is_seen {
        output::note(&format!("{of} no longer declares these records:{names}"));
    }
    let consequence =
        if deletes_clients { "which ends their tokens and cannot be taken back" } else { "which cannot be taken back" };
    confirm.confirm(&format!("delete {what}, {consequence}"), Unattended::Ends)
}

/// More than a change that somebody has looked at deletes.
const AT_MOST: u32 = 10;
