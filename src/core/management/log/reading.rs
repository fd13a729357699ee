//! The log, read by whoever wants to know who has changed what.

use super::effect::{Effect, effect};
use crate::core::admin_log::{AdminLogLine, LineId, LogRange};
use crate::core::client::id::ClientId;
use crate::core::management::operator::Management;
use crate::core::management::outcome::ManagementError;
use crate::core::owner::OwnerId;
use crate::core::port_error::PortError;
use crate::core::ports::RegistrarError;
use crate::core::realm::RealmName;
use crate::core::time::UnixMillis;

/// Which lines are wanted: those that all of it lets through.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// What is done in this realm, or to it.
    pub realm: Option<RealmName>,
    /// What is done to this client.
    pub client_id: Option<ClientId>,
    /// What is done to this owner or its clients, or by whoever acts for it.
    pub owner: Option<OwnerId>,
    /// What was done at this time or later.
    pub since: UnixMillis,
    /// Where an earlier list stopped.
    pub before: Option<LineId>,
}

/// Lines that were wanted.
#[derive(Clone, Debug, Default)]
pub struct LoggedChanges {
    /// The newest first.
    pub lines: Vec<(AdminLogLine, Option<Effect>)>,
    /// Those that this version cannot read.
    pub unreadable: Vec<LineId>,
    /// After which line the list goes on; `None` after the last.
    pub next: Option<LineId>,
}

impl Management {
    /// At most `at_most` lines of the admin log.
    ///
    /// # Errors
    /// [`ManagementError::Port`].
    pub async fn log(&self, filter: &LogFilter, at_most: usize) -> Result<LoggedChanges, ManagementError> {
        let (mut lines, mut unreadable) = (Vec::<AdminLogLine>::new(), Vec::new());
        let mut range =
            LogRange { since: filter.since, before: filter.before.clone(), now: self.clock.now(), limit: PAGE };
        let next = 'pages: loop {
            let page = self.log.read_log(&range).await?;
            for line in page.lines {
                match line {
                    Err(id) => unreadable.push(id),
                    Ok(line) if !filter.admits(&line) => {}
                    // One line more than asked for tells whether there are more.
                    Ok(_) if lines.len() == at_most => break 'pages lines.last().map(|last| last.id.clone()),
                    Ok(line) => lines.push(line),
                }
            }
            match page.next {
                Some(next) => range.before = Some(next),
                None => break None,
            }
        };
        let mut told = Vec::with_capacity(lines.len());
        for line in &lines {
            let effect = effect(line, self.log.as_ref(), self.registrar.as_ref(), self.clock.now()).await;
            let effect = effect.or_else(unless_unreadable)?;
            told.push((line.clone(), effect));
        }
        Ok(LoggedChanges { lines: told, unreadable, next })
    }
}

impl LogFilter {
    fn admits(&self, line: &AdminLogLine) -> bool {
        let target = &line.target;
        let concerns = |owner: &OwnerId| {
            target.owner.as_ref() == Some(owner) || target.owners.contains(owner) || line.acts_for.contains(owner)
        };
        self.realm.as_ref().is_none_or(|realm| target.realm.as_ref() == Some(realm))
            && self.client_id.as_ref().is_none_or(|client_id| target.client_id.as_ref() == Some(client_id))
            && self.owner.as_ref().is_none_or(concerns)
    }
}

/// A record that cannot be read says nothing of a change, and hides no line.
fn unless_unreadable(error: RegistrarError) -> Result<Option<Effect>, ManagementError> {
    match error {
        RegistrarError::Port(PortError::Corrupt { .. }) => Ok(None),
        RegistrarError::Port(error) => Err(error.into()),
        _ => Ok(None),
    }
}

/// How many lines are read at a time.
const PAGE: usize = 200;
