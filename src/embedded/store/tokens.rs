//! Issued tokens on disk: tables of the token database, which is owned by the one server that runs on the data directory.
//!
//! `access_tokens`: the token's digest, its first 64 bits apart, because SQLite finds a row by a whole number in the fewest pages; when it
//! expires; and the rest of its record. `denylist`: the `jti` of a self-contained token that has ended, and when its own time is
//! over. What has expired is deleted behind the writes, so that the file grows no further than its tokens do.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::cause::{StorageCause, StoreHealth};
pub use super::database::Durability;
use super::database::{Database, Upkeep, corrupt, seconds, unavailable};
use super::fault::StoreError;
use super::passed_time::{MARGIN_OF_CLOCKS, PassedTime};
use super::provenance::{EndsSeen, FileMark};
use super::quotas::SqliteQuotas;
use crate::core::access_token::TokenDigest;
use crate::core::access_token::record::{AccessTokenRecord, Revocation};
use crate::core::client::id::ClientId;
use crate::core::port_error::PortError;
use crate::core::ports::{Clock, Denylist, TokenStore};
use crate::core::realm::RealmName;
use crate::core::time::UnixSeconds;

/// A [`TokenStore`] and a [`Denylist`] on disk.
pub struct SqliteTokens {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    ends: EndsSeen,
}

impl SqliteTokens {
    /// Opens the file at `path`, creating it where it does not exist. What has expired by `clock` is deleted. A file that was restored from a
    /// backup is whole since now: nobody knows what has been revoked since that was made, so no token in it is active.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another server has it open; [`StoreError::Older`] where an earlier build has written it;
    /// [`StoreError::Newer`] where a later one has; else why it cannot be opened.
    pub fn open(path: &Path, durability: Durability, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        // A new file beside it would answer for none of its tokens, and forget which JWTs have ended.
        let directory_of_older_builds = path.with_file_name("tokens");
        if directory_of_older_builds.is_dir() {
            return Err(StoreError::Older { path: directory_of_older_builds });
        }
        let (time, prepared_at) = (Arc::clone(&clock), path.to_owned());
        let mut seen = None;
        let database = Database::open(path, durability, |connection| {
            let ends = seen.insert(EndsSeen::open(&prepared_at)?);
            prepare(connection, &prepared_at, ends, time)
        })?;
        let ends = seen.map_or_else(|| EndsSeen::open(path), Ok)?;
        Ok(Self { database: Arc::new(database), clock, ends })
    }

    /// The counts of quotas, in the same database.
    pub fn quotas(&self) -> Arc<SqliteQuotas> {
        Arc::new(SqliteQuotas::new(Arc::clone(&self.database)))
    }

    /// Carries everything over into the one file and has the disk confirm it; for a shutdown.
    ///
    /// # Errors
    /// Why that is not possible. What was acknowledged is in the log beside the file all the same.
    pub fn sync(&self) -> Result<(), StorageCause> {
        self.database.sync()
    }

    /// So that an older file in the place of this one is known to have missed an end.
    fn has_ended(&self, ends: Option<i64>) -> Result<(), PortError> {
        let seen = ends.map_or(Ok(()), |ends| self.ends.raise_to(ends));
        seen.map_err(|error| unavailable(StorageCause::of_io(&error).to_string()))
    }
}

impl StoreHealth for SqliteTokens {
    fn check(&self) -> Result<(), StorageCause> {
        self.database.check()
    }
}

/// What is made of a stored record, for the fuzz targets: when it expires in eight big-endian bytes, and the rest.
#[cfg(fuzzing)]
pub fn read_record(value: &[u8]) -> Option<AccessTokenRecord> {
    let (expires_at, record) = value.split_first_chunk::<8>()?;
    decode(i64::from_be_bytes(*expires_at), record)
}

#[async_trait]
impl TokenStore for SqliteTokens {
    async fn put(&self, digest: &TokenDigest, record: &AccessTokenRecord) -> Result<(), PortError> {
        let value = encode(record).ok_or_else(|| corrupt("a token record that cannot be written"))?;
        let ((id, rest), expires_at) = (divided(digest), seconds(record.expires_at));
        self.database
            .write(move |connection| {
                let stored = connection
                    .prepare_cached(
                        "INSERT INTO access_tokens (id, digest, expires_at, record) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![id, rest, expires_at, value]);
                match stored {
                    Ok(_one) => Ok(Ok(())),
                    // Of ten million tokens two do once in a hundred thousand times.
                    Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                        Ok(Err(unavailable("another token's digest begins with the same 64 bits".to_owned())))
                    }
                    Err(error) => Err(error),
                }
            })
            .await?
    }

    async fn get(&self, digest: &TokenDigest) -> Result<Option<AccessTokenRecord>, PortError> {
        let (id, rest) = divided(digest);
        let stored = self.database.read(|connection| {
            connection
                .prepare_cached("SELECT expires_at, record FROM access_tokens WHERE id = ?1 AND digest = ?2")?
                .query_row(params![id, rest], |row| Ok(decode(row.get(0)?, row.get_ref(1)?.as_blob()?)))
                .optional()
        })?;
        stored.map(|record| record.ok_or_else(|| corrupt("what is not a token record"))).transpose()
    }

    async fn revoke(
        &self,
        digest: &TokenDigest,
        realm: &RealmName,
        client_id: &ClientId,
        now: UnixSeconds,
    ) -> Result<Revocation, PortError> {
        // A token never changes its owner, so nothing can come between the check and the removal.
        let outcome = Revocation::of(self.get(digest).await?.as_ref(), realm, client_id, now);
        if matches!(outcome, Revocation::Revoked { .. }) {
            let (id, rest) = divided(digest);
            let ends = self.database.write(move |connection| {
                let deleted = connection
                    .prepare_cached("DELETE FROM access_tokens WHERE id = ?1 AND digest = ?2")?
                    .execute(params![id, rest])?;
                if deleted > 0 { one_more_end(connection).map(Some) } else { Ok(None) }
            });
            self.has_ended(ends.await?)?;
        }
        Ok(outcome)
    }
}

#[async_trait]
impl Denylist for SqliteTokens {
    async fn deny(&self, jti: &str, expires_at: UnixSeconds) -> Result<(), PortError> {
        let jti = jti.to_owned();
        let ends = self.database.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO denylist (jti, expires_at) VALUES (?1, ?2)
                     ON CONFLICT DO UPDATE SET expires_at = max(expires_at, excluded.expires_at)",
                )?
                .execute(params![jti, seconds(expires_at)])?;
            one_more_end(connection)
        });
        self.has_ended(Some(ends.await?))
    }

    async fn is_denied(&self, jti: &str) -> Result<bool, PortError> {
        self.database
            .read(|connection| connection.prepare_cached("SELECT 1 FROM denylist WHERE jti = ?1")?.exists(params![jti]))
    }

    async fn whole_since(&self) -> Result<UnixSeconds, PortError> {
        if let Some(since) = self.database.read(|connection| fact(connection, WHOLE_SINCE))? {
            return since;
        }
        // Somebody has taken it away. What is missing besides nobody knows.
        let now = seconds(self.clock.now());
        let since = self.database.write(move |connection| {
            connection.execute(
                "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![WHOLE_SINCE, now],
            )?;
            fact(connection, WHOLE_SINCE)
        });
        since.await?.ok_or_else(|| corrupt("no time since when it is whole"))?
    }
}

/// Deletes what has expired.
struct Sweep {
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
    /// expired are never more than about a third of all. An index on when they expire would cost another page for
    /// each token, to write and to delete.
    fn follow(&mut self, connection: &mut Connection, writes: u32) -> rusqlite::Result<()> {
        let wall = self.clock.now();
        let now = self.tokens.look(wall);
        self.due += if writes == 0 { STEP } else { 2 * writes };
        while self.due >= STEP {
            self.due -= STEP;
            self.step(connection, now)?;
        }
        if self.next_minute <= Instant::now() {
            self.next_minute = Instant::now() + MINUTE;
            self.forget(connection, wall)?;
        }
        Ok(())
    }
}

impl Sweep {
    fn step(&mut self, connection: &Connection, now: UnixSeconds) -> rusqlite::Result<()> {
        let last: Option<i64> = connection
            .prepare_cached("SELECT id FROM access_tokens WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2")?
            .query_row(params![self.after, STEP], |row| row.get(0))
            .optional()?;
        connection
            .prepare_cached("DELETE FROM access_tokens WHERE id > ?1 AND id <= ?2 AND expires_at <= ?3")?
            .execute(params![self.after, last.unwrap_or(i64::MAX), seconds(now)])?;
        self.after = last.unwrap_or(i64::MIN);
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
        put_number(&transaction, PASSED, seconds(passed))?;
        transaction.commit()
    }
}

fn prepare(
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
    let ends = number(connection, ENDS)?.unwrap_or_default().max(seen.highest().unwrap_or_default());
    put_number(connection, ENDS, ends)?;
    put_mark(connection, mark)
}

fn put_mark(connection: &Connection, mark: FileMark) -> rusqlite::Result<()> {
    put_number(connection, INODE, mark.inode)?;
    put_number(connection, MADE_AT, mark.made_at)
}

/// Counts the end of a token; how many there have been.
fn one_more_end(connection: &Connection) -> rusqlite::Result<i64> {
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
fn fact(connection: &Connection, name: &str) -> rusqlite::Result<Option<Result<UnixSeconds, PortError>>> {
    Ok(number(connection, name)?
        .map(|value| u64::try_from(value).map(UnixSeconds).map_err(|_| corrupt("a time before 1970"))))
}

/// The first 64 bits of a digest, and the others.
fn divided(digest: &TokenDigest) -> (i64, [u8; 24]) {
    let (mut first, mut rest) = ([0; 8], [0; 24]);
    let (front, back) = digest.as_bytes().split_at(first.len());
    first.copy_from_slice(front);
    rest.copy_from_slice(back);
    (i64::from_be_bytes(first), rest)
}

/// Without the names of the members that every record has, which would be a third of it: what is stored is written twice, to the log and
/// from there to the file.
fn encode(record: &AccessTokenRecord) -> Option<Vec<u8>> {
    let AccessTokenRecord {
        realm,
        client_id,
        registration_id,
        scope,
        iss,
        aud,
        iat,
        expires_at: _has_its_column,
        jti,
        audit_tracking_id,
        claims,
    } = record;
    let mut value = Vec::with_capacity(USUAL_RECORD_BYTES);
    value.push(AccessTokenRecord::VERSION);
    let members =
        (realm, client_id, registration_id, scope, iss, aud, iat, jti, audit_tracking_id, claims, Optional {});
    serde_json::to_writer(&mut value, &members).ok()?;
    Some(value)
}

fn decode(expires_at: i64, value: &[u8]) -> Option<AccessTokenRecord> {
    let (&AccessTokenRecord::VERSION, members) = value.split_first()? else { return None };
    let (realm, client_id, registration_id, scope, iss, aud, iat, jti, audit_tracking_id, claims, Optional {}) =
        serde_json::from_slice(members).ok()?;
    Some(AccessTokenRecord {
        realm,
        client_id,
        registration_id,
        scope,
        iss,
        aud,
        iat,
        expires_at: UnixSeconds(u64::try_from(expires_at).ok()?),
        jti,
        audit_tracking_id,
        claims,
    })
}

/// Members by name that a record may have. Those of a later build are passed over: what must not be, has another version.
#[derive(Serialize, Deserialize)]
struct Optional {}

const WHOLE_SINCE: &str = "whole_since";
const PASSED: &str = "passed";
/// How many tokens somebody has ended.
const ENDS: &str = "ends";
/// Of the file, when it was last known to be whole.
const INODE: &str = "inode";
const MADE_AT: &str = "made_at";
const USUAL_RECORD_BYTES: usize = 256;
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
    use crate::core::access_token::claims::CustomClaims;
    use crate::core::client::id::RegistrationId;
    use crate::core::realm::PublicUrl;
    use crate::core::resource::Audience;
    use crate::system::SystemRandom;

    #[test]
    fn a_record_is_read_as_it_was_written_whatever_it_leaves_out() {
        let public_url: PublicUrl = "https://auth.example.com".parse().expect("a URL");
        let resource = |text: &str| text.parse().expect("a resource");
        let audiences = [
            Audience::Issuer,
            Audience::One(resource("https://api.example")),
            Audience::Several(vec![resource("https://api.example"), resource("urn:b")]),
        ];
        for aud in audiences {
            for claims in [CustomClaims::default(), r#"{"tier":["gold",1,null]}"#.parse().expect("claims")] {
                let record = AccessTokenRecord {
                    realm: "alpha".parse().expect("a name"),
                    client_id: "myClient".parse().expect("an id"),
                    registration_id: RegistrationId::generate(&SystemRandom).expect("random bytes"),
                    scope: "read write".parse().expect("a scope"),
                    iss: public_url.issuer("/oauth2/realms/root/realms/alpha"),
                    aud: aud.clone(),
                    iat: UnixSeconds(1_800_000_000),
                    expires_at: UnixSeconds(1_800_003_600),
                    jti: "AAECAwQFBgcICQoLDA0ODw".to_owned(),
                    audit_tracking_id: "00010203-0405-4607-8809-0a0b0c0d0e0f".to_owned(),
                    claims,
                };
                let expires_at = seconds(record.expires_at);
                assert_eq!(decode(expires_at, &encode(&record).expect("encoded")), Some(record));
            }
        }
    }

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
        put(&connection, 0..6_000, NOW);
        put(&connection, 6_000..10_000, NOW + 1);
        for _ in 0..(10_000 / 2 + STEP) / 16 {
            sweep.follow(&mut connection, 16).expect("swept");
        }
        assert_eq!(count(&connection, "access_tokens"), 4_000, "all that have expired, and no other");

        // And without any writes, from time to time.
        put(&connection, 0..1_000, NOW);
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

    /// `[realm, client_id, registration_id, scope, iss, aud, iat, jti, audit_tracking_id, claims, optional members]`
    const MEMBERS: [&str; 11] = [
        r#""alpha""#,
        r#""myClient""#,
        r#""AAECAwQFBgcICQoLDA0ODw""#,
        r#""read write""#,
        r#""https://auth.example.com/oauth2""#,
        "null",
        "1800000000",
        r#""AAECAwQFBgcICQoLDA0ODw""#,
        r#""00010203-0405-4607-8809-0a0b0c0d0e0f""#,
        r#""""#,
        "{}",
    ];

    fn stored(version: u8, members: &[&str]) -> Vec<u8> {
        [&[version], format!("[{}]", members.join(",")).as_bytes()].concat()
    }

    fn decoded(value: &[u8]) -> Option<AccessTokenRecord> {
        decode(1_800_003_600, value)
    }

    #[test]
    fn an_optional_member_of_a_later_build_is_passed_over() {
        let record = decoded(&stored(1, &MEMBERS)).expect("a record");
        assert_eq!(encode(&record).expect("encoded"), stored(1, &MEMBERS));
        for optional in [r#"{"cnf":{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}"#, r#"{"a":1,"b":[]}"#] {
            let mut members = MEMBERS;
            members[10] = optional;
            assert_eq!(decoded(&stored(1, &members)), Some(record.clone()), "{optional}");
        }
    }

    #[test]
    fn what_is_no_record_is_none() {
        for value in [&b""[..], b"\x01", b"\x01{}", b"\x01[]", b"\x01[\"alpha\"]", b"{}", b"null"] {
            assert_eq!(decoded(value), None, "{value:?}");
        }
        for version in [0, 2, 255, b'['] {
            assert_eq!(decoded(&stored(version, &MEMBERS)), None, "version {version}");
        }
        // Each member left out, and each of another type, or of the type and without the form.
        for number in 0..MEMBERS.len() {
            let mut fewer = MEMBERS.to_vec();
            fewer.remove(number);
            assert_eq!(decoded(&stored(1, &fewer)), None, "without member {number}");
            for wrong in ["true", "1.5", "-1", "[1]", r#""\u0000""#, r#"{"a":[]}"#] {
                let mut members = MEMBERS;
                members[number] = wrong;
                // Identifiers that are only compared and logged are any text, and the last member is any object.
                let is_well_formed =
                    [2, 4, 7, 8].contains(&number) && wrong.starts_with('"') || number == 10 && wrong.starts_with('{');
                assert_eq!(decoded(&stored(1, &members)).is_some(), is_well_formed, "{wrong} for member {number}");
            }
        }
        assert_eq!(decode(-1, &stored(1, &MEMBERS)), None, "expired before 1970");
        let more = [&MEMBERS[..], &["{}"]].concat();
        assert_eq!(decoded(&stored(1, &more)), None, "one more");
    }
}
