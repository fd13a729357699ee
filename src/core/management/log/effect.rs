//! Whether a change was made of which its line does not say how it ended, as far as the record says so that it was made to.

use crate::core::admin_log::{Action, AdminLogLine, LogRange, Outcome};
use crate::core::ports::{AdminLog, Registrar, RegistrarError};
use crate::core::time::{UnixMillis, UnixSeconds};

/// What a record says of a change whose end nobody has written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The record has the change.
    CarriedOut,
    /// The record is as it was before.
    NotCarriedOut,
}

/// What the record says; `None` where the line says it itself, or the record does not count such changes. A record counts those changes,
/// and each begins with a line; so of the lines of a revision one is of the change that has made it.
pub(super) async fn effect(
    line: &AdminLogLine,
    log: &dyn AdminLog,
    registrar: &dyn Registrar,
    now: UnixSeconds,
) -> Result<Option<Effect>, RegistrarError> {
    if !matches!(line.outcome, Outcome::Started | Outcome::Failed) {
        return Ok(None);
    }
    let deletions = [Action::DELETE_CLIENT, Action::DELETE_OWNER, Action::DELETE_REALM];
    let is_deletion = deletions.contains(&line.action);
    let Some(revision) = line.revision.or(is_deletion.then_some(u64::MAX)) else { return Ok(None) };
    let Some(stored) = stored_revision(line, registrar).await? else { return Ok(None) };
    // A realm or an owner that is there may be another one of the same name.
    if line.action != Action::DELETE_CLIENT && is_deletion && stored.is_some() {
        return Ok(None);
    }
    if is_deletion {
        return Ok(Some(if stored.is_none() { Effect::CarriedOut } else { Effect::NotCarriedOut }));
    }
    let Some(stored) = stored else {
        // What was to be made is not there; what was to be changed may have been, before it was deleted.
        return Ok((revision == 1).then_some(Effect::NotCarriedOut));
    };
    if stored < revision {
        return Ok(Some(Effect::NotCarriedOut));
    }
    let around = LogRange {
        since: UnixMillis(line.at.0.saturating_sub(AROUND)),
        // Of a change that was not carried out, the rival is whoever changes the record next, whenever that is.
        before: None,
        now,
        limit: RIVALS,
    };
    let page = log.read_log(&around).await?;
    let mut is_alone = page.next.is_none();
    for other in page.lines {
        // Nobody knows what one says that cannot be read.
        let Ok(other) = other else { return Ok(None) };
        if other.id == line.id || !is_of_same_revision(&other, line) {
            continue;
        }
        match other.outcome {
            Outcome::Done => return Ok(Some(Effect::NotCarriedOut)),
            Outcome::Started | Outcome::Failed => is_alone = false,
            Outcome::Refused => {}
        }
    }
    Ok(is_alone.then_some(Effect::CarriedOut))
}

/// The revision of the record that the line is about, of this registration; the outer `None` where nobody can tell.
async fn stored_revision(
    line: &AdminLogLine,
    registrar: &dyn Registrar,
) -> Result<Option<Option<u64>>, RegistrarError> {
    let target = &line.target;
    if let (Some(realm), Some(client_id)) = (&target.realm, &target.client_id) {
        return match registrar.read(realm, client_id).await {
            Ok(client) if Some(&client.registration_id) == target.registration_id.as_ref() => {
                Ok(Some(Some(client.revision)))
            }
            // Another registration of the id: this one is gone.
            Ok(_) | Err(RegistrarError::NotFound) => Ok(Some(None)),
            Err(error) => Err(error),
        };
    }
    if let Some(owner) = &target.owner {
        return Ok(Some(registrar.read_owner(owner).await?.map(|owner| owner.revision)));
    }
    match &target.realm {
        Some(realm) if line.action.as_str().starts_with("realm.") => {
            Ok(Some(registrar.read_realm(realm).await?.map(|realm| realm.revision)))
        }
        _ => Ok(None),
    }
}

fn is_of_same_revision(other: &AdminLogLine, line: &AdminLogLine) -> bool {
    let subject = |line: &AdminLogLine| {
        let kind = line.action.as_str().split('.').next().unwrap_or_default().to_owned();
        let target = &line.target;
        (kind, target.realm.clone(), target.client_id.clone(), target.registration_id.clone(), target.owner.clone())
    };
    other.revision == line.revision && subject(other) == subject(line)
}

/// For how many milliseconds before a line others are looked at that may be of the same revision: a change is begun and ended by one
/// command.
const AROUND: u64 = 60 * 60 * 1_000;
/// How many of them.
const RIVALS: usize = 1_000;
