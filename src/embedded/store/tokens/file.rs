//! The tables of the token database, what the file says of itself, and how what has expired leaves it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::core::port_error::PortError;
use crate::core::ports::Clock;
use crate::core::time::UnixSeconds;
use crate::embedded::store::database::{Upkeep, corrupt, seconds};
use crate::embedded::store::fault::StoreError;
use crate::embedded::store::passed_time::{MARGIN_OF_CLOCKS, PassedTime};
use crate::embedded::store::provenance::{EndsSeen, FileMark};
use crate::embedded::store::replay_guard;
use crate::embedded::store::use_marks;

/// Deletes what has expired.
pub(super) struct Sweep {
    clock: Arc<dyn Clock>,
    /// Of tokens, which end with their record: what this process has seen pass.
    tokens: PassedTime,
    /// Of ends and counts, whose loss would open something: what all processes on this file have.
    denials: PassedTime,
    /// The row that the next step begins after.
    after: i64,
    /// Rows that may be looked at, for the writes there have been.
    due: u32,
    next_minute: Instant,
}

impl Upkeep for Sweep {
    /// Looks at two tokens for each write, wherever they are: once round in half as many writes as there are tokens, so that those which have
    /// expired are never more than about a third of all, besides those of the last minute. An index on when they expire would cost another
    /// page for each token, to write and to delete. A token and the mark of its revocation go alike.
    fn follow(&mut self, connection: &mut Connection, writes: u32) -> rusqlite::Result<()> {
        let wall = self.clock.now();
        let now = self.tokens.look(wall);
        let over = UnixSeconds(self.denials.look(wall).0.saturating_sub(replay_guard::MARGIN));
        self.due += if writes == 0 { STEP } else { 2 * writes };
        while self.due >= STEP {
            self.due -= STEP;
            self.step(connection, now, over)?;
        }
        if self.next_minute <= Instant::now() {
            self.next_minute = Instant::now() + MINUTE;
            self.forget(connection, wall)?;
        }
        Ok(())
    }
}

impl Sweep {
    /// Of what has been used once as many rows as there are writes are deleted at most, half of which made them.
    fn step(&mut self, connection: &Connection, now: UnixSeconds, over: UnixSeconds) -> rusqlite::Result<()> {
        let last: Option<i64> = connection
            .prepare_cached("SELECT id FROM access_tokens WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2")?
            .query_row(params![self.after, STEP], |row| row.get(0))
            .optional()?;
        let expired = seconds(UnixSeconds(now.0.saturating_sub(SAID_TO_HAVE_EXPIRED)));
        connection
            .prepare_cached("DELETE FROM access_tokens WHERE id > ?1 AND id <= ?2 AND expires_at <= ?3")?
            .execute(params![self.after, last.unwrap_or(i64::MAX), expired])?;
        self.after = last.unwrap_or(i64::MIN);
        connection
            .prepare_cached("DELETE FROM used_once WHERE id IN (SELECT id FROM used_once WHERE until <= ?1 LIMIT ?2)")?
            .execute(params![seconds(over), STEP])?;
        Ok(())
    }

    /// Deletes ends and counts a day after their time: a wrong clock does not bring them back.
    fn forget(&mut self, connection: &mut Connection, wall: UnixSeconds) -> rusqlite::Result<()> {
        let passed = self.denials.look(wall);
        let over = seconds(UnixSeconds(passed.0.saturating_sub(MARGIN_OF_CLOCKS)));
        let transaction = connection.transaction()?;
        for statement in [
            "DELETE FROM denylist WHERE jti IN (SELECT jti FROM denylist WHERE expires_at <= ?1 LIMIT ?2)",
            "DELETE FROM token_quotas WHERE (registration_id, period) IN
                 (SELECT registration_id, period FROM token_quotas WHERE ends_at <= ?1 LIMIT ?2)",
        ] {
            transaction.prepare_cached(statement)?.execute(params![over, MOST_FORGOTTEN])?;
        }
        transaction
            .prepare_cached(
                "DELETE FROM client_uses WHERE registration_id IN
                     (SELECT registration_id FROM client_uses WHERE day <= ?1 LIMIT ?2)",
            )?
            .execute(params![seconds(UnixSeconds(passed.0.saturating_sub(use_marks::KEPT))), MOST_FORGOTTEN])?;
        put_number(&transaction, PASSED, seconds(passed))?;
        transaction.commit()
    }
}

pub(super) fn prepare(
    connection: &mut Connection,
    path: &Path,
    seen: &EndsSeen,
    clock: Arc<dyn Clock>,
) -> Result<Sweep, StoreError> {
    let of_sqlite = |error: rusqlite::Error| StoreError::of_sqlite(path, &error);
    let (now, mark) = (clock.now(), FileMark::of(path)?);
    let transaction = connection.transaction().map_err(of_sqlite)?;
    // 1. The tables, and since when they are whole.
    match transaction.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).map_err(of_sqlite)? {
        0 => {
            begin(&transaction, now, mark).map_err(of_sqlite)?;
            // What another file has missed is nothing to this one.
            seen.begin(0)?;
        }
        SCHEMA_VERSION if is_restored(&transaction, mark, seen).map_err(of_sqlite)? => {
            end_all(&transaction, now, mark, seen).map_err(of_sqlite)?;
            tracing::warn!(
                "tokens.db is not as the last server on this directory left it: it was restored from a backup, or copied from elsewhere. \
                 No token that was issued before now is active, since it is not known which of them were revoked; clients fetch new ones"
            );
        }
        SCHEMA_VERSION => {}
        _ => return Err(StoreError::Newer { path: path.to_owned() }),
    }
    transaction.execute_batch(replay_guard::SCHEMA).map_err(of_sqlite)?;
    transaction.execute_batch(use_marks::SCHEMA).map_err(of_sqlite)?;
    // A file that does not say what it has seen pass has seen nothing.
    let passed = fact(&transaction, PASSED).map_err(of_sqlite)?.and_then(Result::ok).unwrap_or_default();
    let ends = number(&transaction, ENDS).map_err(of_sqlite)?.unwrap_or_default();
    transaction.commit().map_err(of_sqlite)?;

    // 2. What has ended in it, which a server that was killed may not have written down.
    seen.raise_to(ends).map_err(|error| StoreError::of_io(path, &error))?;
    Ok(Sweep {
        clock,
        tokens: PassedTime::from(now),
        denials: PassedTime::from(passed),
        after: i64::MIN,
        due: 0,
        next_minute: Instant::now() + MINUTE,
    })
}

fn begin(connection: &Connection, now: UnixSeconds, mark: FileMark) -> rusqlite::Result<()> {
    connection.execute_batch(SCHEMA)?;
    for name in [WHOLE_SINCE, PASSED] {
        put_number(connection, name, seconds(now))?;
    }
    put_mark(connection, mark)
}

/// Whether the file is another than the one that has last been opened, or has missed an end.
fn is_restored(connection: &Connection, mark: FileMark, seen: &EndsSeen) -> rusqlite::Result<bool> {
    let is_another =
        number(connection, INODE)? != Some(mark.inode) || number(connection, MADE_AT)? != Some(mark.made_at);
    let ends = number(connection, ENDS)?.unwrap_or_default();
    Ok(is_another || seen.highest().is_none_or(|seen| ends < seen))
}

/// A token of which nobody knows whether it has ended has.
fn end_all(connection: &Connection, now: UnixSeconds, mark: FileMark, seen: &EndsSeen) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM access_tokens", [])?;
    let since = number(connection, WHOLE_SINCE)?.unwrap_or_default().max(seconds(now));
    put_number(connection, WHOLE_SINCE, since)?;
    // Who was used since the copy was made nobody knows either.
    if connection.table_exists(None, "client_uses")? {
        connection.execute("DELETE FROM client_uses", [])?;
    }
    let ends = number(connection, ENDS)?.unwrap_or_default().max(seen.highest().unwrap_or_default());
    put_number(connection, ENDS, ends)?;
    put_mark(connection, mark)
}

fn put_mark(connection: &Connection, mark: FileMark) -> rusqlite::Result<()> {
    put_number(connection, INODE, mark.inode)?;
    put_number(connection, MADE_AT, mark.made_at)
}

/// Counts the end of a token; how many there have been.
pub(super) fn one_more_end(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO facts (name, value) VALUES (?1, 1) ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value",
        )?
        .query_row(params![ENDS], |row| row.get(0))
}

fn number(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT value FROM facts WHERE name = ?1", params![name], |row| row.get(0)).optional()
}

fn put_number(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .execute(
            "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
            params![name, value],
        )
        .map(drop)
}

/// A time that the database keeps of itself.
pub(super) fn fact(connection: &Connection, name: &str) -> rusqlite::Result<Option<Result<UnixSeconds, PortError>>> {
    Ok(number(connection, name)?
        .map(|value| u64::try_from(value).map(UnixSeconds).map_err(|_| corrupt("a time before 1970"))))
}

pub(super) const WHOLE_SINCE: &str = "whole_since";
const PASSED: &str = "passed";
/// How many tokens somebody has ended.
const ENDS: &str = "ends";
/// Of the file, when it was last known to be whole.
const INODE: &str = "inode";
const MADE_AT: &str = "made_at";
/// Seconds for which a token is kept beyond its time, so that the log says of it that it has expired: most who still use it do so then.
const SAID_TO_HAVE_EXPIRED: u64 = 60;
/// Tokens looked at in one transaction.
const STEP: u32 = 512;
const MINUTE: Duration = Duration::from_mins(1);
const MOST_FORGOTTEN: i64 = 10_000;
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE access_tokens (
        id         INTEGER PRIMARY KEY,
        digest     BLOB NOT NULL,
        expires_at INTEGER NOT NULL,
        record     BLOB NOT NULL
    ) STRICT;
    CREATE TABLE denylist (
        jti        TEXT PRIMARY KEY,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX denylist_expires_at ON denylist (expires_at);
    CREATE TABLE token_quotas (
        registration_id TEXT NOT NULL,
        period          TEXT NOT NULL,
        ends_at         INTEGER NOT NULL,
        tokens          INTEGER NOT NULL,
        PRIMARY KEY (registration_id, period)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX token_quotas_ends_at ON token_quotas (ends_at);
    CREATE TABLE facts (
        name  TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct ClockAt(AtomicU64);

    impl Clock for ClockAt {
        fn now(&self) -> UnixSeconds {
            UnixSeconds(self.0.load(Ordering::Relaxed))
        }
    }

    const NOW: u64 = 1_795_415_820;
    const DAY: u64 = 86_400;

    /// A database and what sweeps it, as a server has them that has just been started.
    fn swept(path: &Path, clock: &Arc<ClockAt>) -> (Connection, Sweep) {
        let mut connection = Connection::open(path).expect("opened");
        connection.pragma_update(None, "synchronous", "OFF").expect("no disk is waited for");
        let sweep = prepare(&mut connection, path, &EndsSeen::open(path).expect("opened"), Arc::clone(clock) as _)
            .expect("prepared");
        (connection, sweep)
    }

    fn count(connection: &Connection, what: &str) -> i64 {
        connection.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).expect("a number")
    }

    fn put(connection: &Connection, ids: std::ops::Range<i64>, expires_at: u64) {
        connection.execute_batch("BEGIN").expect("begun");
        let mut put = connection.prepare("INSERT INTO access_tokens VALUES (?1 * 1000003, x'', ?2, x'')").expect("SQL");
        for id in ids {
            put.execute(params![id - 5_000, seconds(UnixSeconds(expires_at))]).expect("stored");
        }
        connection.execute_batch("COMMIT").expect("committed");
    }

    #[test]
    fn tokens_that_have_expired_are_deleted_behind_half_as_many_writes_as_there_are_tokens() {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(ClockAt(AtomicU64::new(NOW)));
        let (mut connection, mut sweep) = swept(&directory.path().join("tokens.db"), &clock);
        put(&connection, 0..6_000, NOW - SAID_TO_HAVE_EXPIRED);
        put(&connection, 6_000..8_000, NOW + 1);
        put(&connection, 8_000..10_000, NOW - SAID_TO_HAVE_EXPIRED + 1);
        // Marks among them, which are rows like others.
        let mark = "UPDATE access_tokens SET record = x'02' WHERE id % 2 = 0";
        assert_eq!(connection.execute(mark, []).expect("marked"), 5_000);
        for _ in 0..(10_000 / 2 + STEP) / 16 {
            sweep.follow(&mut connection, 16).expect("swept");
        }
        assert_eq!(count(&connection, "access_tokens"), 4_000, "all that have expired a minute ago, and no other");

        // And without any writes, from time to time.
        put(&connection, 0..1_000, NOW - SAID_TO_HAVE_EXPIRED);
        for _ in 0..(5_000 / STEP + 2) {
            sweep.follow(&mut connection, 0).expect("swept");
        }
        assert_eq!(count(&connection, "access_tokens"), 4_000);
    }

    #[test]
    fn what_has_ended_stays_so_whatever_a_clock_said_for_a_while() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens.db");
        let clock = Arc::new(ClockAt(AtomicU64::new(NOW)));
        let (mut connection, mut sweep) = swept(&path, &clock);
        let end = |connection: &Connection, jti: &str, expires_at: u64| {
            let end = "INSERT INTO denylist VALUES (?1, ?2)";
            connection.execute(end, params![jti, seconds(UnixSeconds(expires_at))]).expect("ended");
        };
        end(&connection, "live", NOW + 3_600);
        end(&connection, "over", NOW - DAY - 1);
        end(&connection, "just over", NOW - 1);
        connection
            .execute("INSERT INTO token_quotas VALUES ('a', 'hour#1', ?1, 7)", params![seconds(UnixSeconds(NOW + 60))])
            .expect("counted");
        put(&connection, 0..1_000, NOW + 3_600);

        // Two hours ahead, and a century, under load; and a server that is started meanwhile.
        for ahead in [7_200, 100 * 365 * DAY] {
            clock.0.store(NOW + ahead, Ordering::Relaxed);
            for started_anew in [false, true] {
                if started_anew {
                    (connection, sweep) = swept(&path, &clock);
                    // Tokens end by their absence: who starts with a wrong clock may lose them.
                    sweep.tokens = PassedTime::from(UnixSeconds(NOW));
                }
                for _ in 0..1_000 {
                    sweep.next_minute = Instant::now();
                    sweep.follow(&mut connection, 16).expect("swept");
                }
            }
        }
        assert_eq!(count(&connection, "access_tokens"), 1_000);
        assert_eq!(count(&connection, "denylist"), 2, "what was over for a day is gone");
        assert_eq!(count(&connection, "token_quotas"), 1);

        // With the right time, a day after theirs they go.
        clock.0.store(NOW + DAY + 3_600, Ordering::Relaxed);
        sweep.denials = PassedTime::from(UnixSeconds(NOW + DAY + 3_600));
        sweep.next_minute = Instant::now();
        sweep.follow(&mut connection, 0).expect("swept");
        assert_eq!((count(&connection, "denylist"), count(&connection, "token_quotas")), (0, 0));
    }

    #[test]
    fn what_a_file_has_seen_pass_goes_on_with_the_next_server() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens.db");
        let clock = Arc::new(ClockAt(AtomicU64::new(NOW)));
        let (connection, _) = swept(&path, &clock);
        drop(connection);
        clock.0.store(NOW + 30 * DAY, Ordering::Relaxed);
        let (mut connection, mut sweep) = swept(&path, &clock);
        sweep.next_minute = Instant::now();
        sweep.follow(&mut connection, 0).expect("swept");
        let passed = fact(&connection, PASSED).expect("read").expect("there").expect("a time").0;
        assert!((NOW..NOW + 60).contains(&passed), "{passed}");
    }
}
