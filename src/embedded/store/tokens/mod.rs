//! Issued tokens on disk: tables of the token database, which is owned by the one server that runs on the data directory.
//!
//! `access_tokens`: the token's digest, its first 64 bits apart, because SQLite finds a row by a whole number in the fewest pages; when it
//! expires; and the rest of its record, or the mark of its revocation. `denylist`: the `jti` of a self-contained token that has ended, and when
//! its own time is over. Beside them the counts of quotas, and what has been used once. What has expired is deleted behind the writes, so that
//! the file grows no further than its tokens do.

mod file;
mod record;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{ErrorCode, OptionalExtension as _, params};

use self::file::{WHOLE_SINCE, fact, one_more_end, prepare};
use self::record::{decode, encode, encode_mark};
use crate::core::access_token::TokenDigest;
use crate::core::access_token::record::{AccessTokenRecord, Revocation, StoredToken};
use crate::core::client::id::ClientId;
use crate::core::port_error::PortError;
use crate::core::ports::{Clock, Denylist, TokenStore};
use crate::core::realm::RealmName;
use crate::core::time::UnixSeconds;
use crate::embedded::store::cause::{StorageCause, StoreHealth};
pub use crate::embedded::store::database::Durability;
use crate::embedded::store::database::{Database, corrupt, seconds, unavailable};
use crate::embedded::store::fault::StoreError;
use crate::embedded::store::provenance::EndsSeen;
use crate::embedded::store::quotas::SqliteQuotas;
use crate::embedded::store::replay_guard::SqliteReplayGuard;
use crate::embedded::store::use_marks::SqliteUseMarks;

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

    /// What has been used once, in the same database.
    pub fn replay_guard(&self) -> Arc<SqliteReplayGuard> {
        Arc::new(SqliteReplayGuard::new(Arc::clone(&self.database)))
    }

    /// On which day clients were last used, in the same database.
    pub fn use_marks(&self) -> Arc<SqliteUseMarks> {
        Arc::new(SqliteUseMarks::new(Arc::clone(&self.database)))
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
pub fn read_token(value: &[u8]) -> Option<StoredToken> {
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

    async fn get(&self, digest: &TokenDigest) -> Result<StoredToken, PortError> {
        let (id, rest) = divided(digest);
        let stored = self.database.read(|connection| {
            connection
                .prepare_cached("SELECT expires_at, record FROM access_tokens WHERE id = ?1 AND digest = ?2")?
                .query_row(params![id, rest], |row| Ok(decode(row.get(0)?, row.get_ref(1)?.as_blob()?)))
                .optional()
        })?;
        stored.map_or(Ok(StoredToken::Absent), |token| token.ok_or_else(|| corrupt("what is not a token record")))
    }

    async fn revoke(
        &self,
        digest: &TokenDigest,
        realm: &RealmName,
        client_id: &ClientId,
        now: UnixSeconds,
    ) -> Result<Revocation, PortError> {
        // A token never changes its owner, so nothing can come between the check and the mark but another revocation, or its end.
        let outcome = Revocation::of(&self.get(digest).await?, realm, client_id, now);
        let Revocation::Revoked { audit_tracking_id } = &outcome else { return Ok(outcome) };
        let mark = encode_mark(audit_tracking_id).ok_or_else(|| corrupt("a mark that cannot be written"))?;
        let (id, rest) = divided(digest);
        let ends = self.database.write(move |connection| {
            let marked = connection
                .prepare_cached(
                    "UPDATE access_tokens SET record = ?3 WHERE id = ?1 AND digest = ?2 AND substr(record, 1, 1) = ?4",
                )?
                .execute(params![id, rest, mark, [AccessTokenRecord::VERSION]])?;
            if marked > 0 { one_more_end(connection).map(Some) } else { Ok(None) }
        });
        let ends = ends.await?;
        self.has_ended(ends)?;
        Ok(if ends.is_some() { outcome } else { Revocation::NotFound })
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

/// The first 64 bits of a digest, and the others.
fn divided(digest: &TokenDigest) -> (i64, [u8; 24]) {
    let (mut first, mut rest) = ([0; 8], [0; 24]);
    let (front, back) = digest.as_bytes().split_at(first.len());
    first.copy_from_slice(front);
    rest.copy_from_slice(back);
    (i64::from_be_bytes(first), rest)
}
