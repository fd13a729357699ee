//! The admin log as rows of the registry's file.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::SqliteRegistry;
use super::fault::SERVICE;
use super::rows::{insert_line, time, to_json};
use crate::core::admin_log::{AdminLogLine, LineId, LogPage, LogRange, Outcome};
use crate::core::port_error::PortError;
use crate::core::ports::{AdminLog, RegistrarError};

#[async_trait]
impl AdminLog for SqliteRegistry {
    /// Takes the opportunity to remove lines that nobody needs any more: a few for each that is written, so that a clock which runs
    /// ahead for a moment does not cost the whole log.
    async fn begin(&self, line: &AdminLogLine) -> Result<(), PortError> {
        let line = line.clone();
        let written = self.write_with(move |transaction| {
            transaction.execute(
                "DELETE FROM admin_log WHERE id IN (
                     SELECT id FROM admin_log WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2
                 )",
                params![time(line.at.seconds())?, REMOVED_WITH_EACH],
            )?;
            insert_line(transaction, &line)
        });
        written.await.map_err(not_logged)
    }

    async fn finish(&self, line: &AdminLogLine, outcome: Outcome) -> Result<(), PortError> {
        let line = AdminLogLine { outcome, ..line.clone() };
        let written = self.write_with(move |transaction| {
            let text = to_json(&line)?;
            transaction.execute("UPDATE admin_log SET line = ?2 WHERE id = ?1", params![line.id.as_str(), text])?;
            Ok(())
        });
        written.await.map_err(not_logged)
    }

    async fn read_log(&self, range: &LogRange) -> Result<LogPage, PortError> {
        let (range, limit) = (range.clone(), range.limit);
        let found = self.read_with(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, line FROM admin_log WHERE id >= ?1 AND (?2 IS NULL OR id < ?2) AND expires_at > ?3
                 ORDER BY id DESC LIMIT ?4",
            )?;
            let since = LineId::first_of(range.since);
            let before = range.before.as_ref().map(LineId::as_str);
            // One more than asked for tells whether there is a next page.
            let one_more = i64::try_from(limit).unwrap_or(i64::MAX - 1).saturating_add(1);
            let values = params![since.as_str(), before, time(range.now)?, one_more];
            let rows = statement.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<Vec<(String, String)>, _>>()?)
        });
        let mut found = found.await?;
        let has_next = found.len() > limit;
        found.truncate(limit);
        let mut page = LogPage::default();
        for (id, text) in found {
            let id: LineId = id.parse().map_err(|_| corrupt())?;
            page.next = Some(id.clone());
            page.lines.push(serde_json::from_str(&text).map_err(|_| id));
        }
        page.next = page.next.filter(|_| has_next);
        Ok(page)
    }
}

/// Has the log of `to` go on where that of `from` ends, a registry whose place it takes, and writes `line`. What was changed stays written
/// down, whatever became of the change. A log that cannot be read is lost but for what is left of it in its file.
pub(in crate::embedded::store) fn continue_log(
    from: Option<&Connection>,
    line: &AdminLogLine,
    to: &mut Connection,
) -> rusqlite::Result<()> {
    let text = serde_json::to_string(line).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let expires_at = i64::try_from(line.expires_at.0).unwrap_or(i64::MAX);
    let transaction = to.transaction()?;
    if let Some(Err(error)) = from.map(|from| copy_lines(from, &transaction)) {
        tracing::warn!(%error, "the log of who has changed what could not be read to its end");
    }
    transaction.execute(INSERT, params![line.id.as_str(), text, expires_at])?;
    transaction.commit()
}

/// Where both have a line, that of `from` says how the change ended.
fn copy_lines(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    if !from.table_exists(None, "admin_log")? {
        return Ok(());
    }
    let mut found = from.prepare("SELECT id, line, expires_at FROM admin_log")?;
    let mut write = to.prepare(INSERT)?;
    let mut rows = found.query([])?;
    while let Some(row) = rows.next()? {
        write.execute(params![row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?])?;
    }
    Ok(())
}

fn corrupt() -> PortError {
    PortError::Corrupt { service: SERVICE, detail: "a line of the admin log whose id is malformed".to_owned() }
}

/// Writing a line asks for nothing that the registry could refuse.
fn not_logged(error: RegistrarError) -> PortError {
    match error {
        RegistrarError::Port(error) => error,
        other => PortError::Unavailable { service: SERVICE, detail: other.to_string() },
    }
}

/// How many lines are removed with each that is written.
const REMOVED_WITH_EACH: i64 = 20;
/// Writes a line over one that is there.
const INSERT: &str = "INSERT OR REPLACE INTO admin_log (id, line, expires_at) VALUES (?1, ?2, ?3)";
