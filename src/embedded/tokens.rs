//! Issued tokens on disk: a fjall database, owned by the one server that runs on the data directory.
//!
//! Keyspace `access_tokens`: the token's digest, and `expires_at` as eight big-endian bytes, then the rest of the record as a JSON array.
//! Keyspace `denylist`: the `jti` of a self-contained token that has ended, and its `expires_at` alone. That number is what
//! compaction reads to drop what has expired without parsing the rest.

use std::io;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use fjall::compaction::filter::{CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict};
use fjall::{Database, PersistMode, UserKey};

use super::StoreError;
use super::group_commit::{Change, GroupCommit, SharedWrites};
use super::keyspace::Keyspace;
use super::quotas::FjallQuotas;
use crate::core::access_token::TokenDigest;
use crate::core::access_token::record::AccessTokenRecord;
use crate::core::client::ClientId;
use crate::core::ports::{Clock, Denylist, PortError, Revocation, TokenStore, UnixSeconds};
use crate::core::realm::RealmName;

/// A [`TokenStore`] and a [`Denylist`] on disk. A write has reached the operating system when it returns, so that it survives `kill -9`;
/// only a power cut or a crash of the machine can lose the last moments, unless [`FjallTokens::confirmed_by_disk`].
pub struct FjallTokens {
    /// Before the database, so that it ends first.
    group_commit: Option<GroupCommit>,
    writes: SharedWrites,
    database: Database,
    tokens: Arc<Keyspace>,
    denied: Arc<Keyspace>,
    quotas: Arc<FjallQuotas>,
}

impl FjallTokens {
    /// Opens the database under `path`. Compaction drops what has expired by `clock`.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process has it open; [`StoreError::Older`] where an earlier build has written it;
    /// [`StoreError::Unusable`] otherwise.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let failed = |error: fjall::Error| match error {
            fjall::Error::Locked => StoreError::InUse { path: path.parent().unwrap_or(path).to_owned() },
            other => StoreError::Unusable { path: path.to_owned(), detail: other.to_string() },
        };
        let filter: Arc<dyn Factory> = Arc::new(DropExpired { clock: AssertUnwindSafe(clock) });
        let database = Database::builder(path)
            .cache_size(BLOCK_CACHE_BYTES)
            .worker_threads(WORKER_THREADS)
            .with_compaction_filter_factories(Arc::new(move |_keyspace| Some(Arc::clone(&filter))))
            .open()
            .map_err(failed)?;
        // Opened all the same, it would answer for none of its tokens, and forget which JWTs have ended.
        if database.keyspace_exists(KEYSPACE_OF_OLDER_BUILDS) {
            return Err(StoreError::Older { path: path.to_owned() });
        }
        let keyspace = |name| Keyspace::open(&database, name).map_err(failed);
        let (tokens, denied) = (Arc::new(keyspace("access_tokens")?), Arc::new(keyspace("denylist")?));
        let quotas = Arc::new(FjallQuotas::new(keyspace("token_quotas")?));
        Ok(Self { group_commit: None, writes: SharedWrites::new(database.clone()), database, tokens, denied, quotas })
    }

    /// From here on a write returns only once the disk has confirmed it (fdatasync), so that it survives a power cut too.
    /// Writes that come at once share one confirmation.
    ///
    /// # Errors
    /// What the system says where the thread that writes cannot be started.
    pub fn confirmed_by_disk(self) -> io::Result<Self> {
        let group_commit = GroupCommit::start(self.database.clone())?;
        Ok(Self { group_commit: Some(group_commit), ..self })
    }

    /// The counts of quotas, in the same database.
    pub fn quotas(&self) -> Arc<FjallQuotas> {
        Arc::clone(&self.quotas)
    }

    /// Has the disk itself confirm everything written so far; for a shutdown.
    ///
    /// # Errors
    /// [`PortError::Unavailable`].
    pub fn sync(&self) -> Result<(), PortError> {
        self.database.persist(PersistMode::SyncAll).map_err(|error| fault(&error))
    }

    /// Writes `value`, or removes what is there for `None`.
    async fn write(&self, keyspace: &Arc<Keyspace>, key: UserKey, value: Option<Vec<u8>>) -> Result<(), PortError> {
        let change = Change { keyspace: Arc::clone(keyspace), key, value: value.map(Into::into) };
        match &self.group_commit {
            Some(group_commit) => group_commit.commit(change).await,
            None => self.writes.commit(change).await,
        }
    }

    fn record(&self, digest: &TokenDigest) -> Result<Option<AccessTokenRecord>, PortError> {
        self.tokens
            .get(digest.as_bytes())
            .map_err(|error| fault(&error))?
            .map(|value| decode(&value).ok_or_else(|| corrupt("not a token record")))
            .transpose()
    }
}

/// Without names, which would be a third of it: what is stored is written again and again while tables are merged.
fn encode(record: &AccessTokenRecord) -> Option<Vec<u8>> {
    let AccessTokenRecord {
        realm,
        client_id,
        registration_id,
        scope,
        iss,
        aud,
        iat,
        expires_at,
        jti,
        audit_tracking_id,
        claims,
    } = record;
    let mut value = Vec::with_capacity(USUAL_RECORD_BYTES);
    value.extend(expires_at.0.to_be_bytes());
    let members = (realm, client_id, registration_id, scope, iss, aud, iat, jti, audit_tracking_id, claims);
    serde_json::to_writer(&mut value, &members).ok()?;
    Some(value)
}

fn decode(value: &[u8]) -> Option<AccessTokenRecord> {
    let (expires_at, members) = value.split_first_chunk::<8>()?;
    let (realm, client_id, registration_id, scope, iss, aud, iat, jti, audit_tracking_id, claims) =
        serde_json::from_slice(members).ok()?;
    Some(AccessTokenRecord {
        realm,
        client_id,
        registration_id,
        scope,
        iss,
        aud,
        iat,
        expires_at: UnixSeconds(u64::from_be_bytes(*expires_at)),
        jti,
        audit_tracking_id,
        claims,
    })
}

/// What is made of a stored record, for the fuzz targets: when it expires in eight big-endian bytes, and the rest.
#[cfg(fuzzing)]
pub fn read_record(value: &[u8]) -> Option<AccessTokenRecord> {
    decode(value)
}

/// The calls below block for microseconds (a write into the page cache), less than handing them to another thread would; for longer while
/// fjall's own thread has the disk confirm its journal, or has fallen far behind. Those that wait for the disk are handed to one.
#[async_trait]
impl TokenStore for FjallTokens {
    async fn put(&self, digest: &TokenDigest, record: &AccessTokenRecord) -> Result<(), PortError> {
        let value = encode(record).ok_or_else(|| corrupt("does not serialize"))?;
        self.write(&self.tokens, UserKey::from(*digest.as_bytes()), Some(value)).await
    }

    async fn get(&self, digest: &TokenDigest) -> Result<Option<AccessTokenRecord>, PortError> {
        self.record(digest)
    }

    async fn revoke(
        &self,
        digest: &TokenDigest,
        realm: &RealmName,
        client_id: &ClientId,
        now: UnixSeconds,
    ) -> Result<Revocation, PortError> {
        // A token never changes its owner, so nothing can come between the check and the removal.
        let outcome = Revocation::of(self.record(digest)?.as_ref(), realm, client_id, now);
        if matches!(outcome, Revocation::Revoked { .. }) {
            self.write(&self.tokens, UserKey::from(*digest.as_bytes()), None).await?;
        }
        Ok(outcome)
    }
}

#[async_trait]
impl Denylist for FjallTokens {
    async fn deny(&self, jti: &str, expires_at: UnixSeconds) -> Result<(), PortError> {
        self.write(&self.denied, UserKey::from(jti), Some(expires_at.0.to_be_bytes().to_vec())).await
    }

    async fn is_denied(&self, jti: &str) -> Result<bool, PortError> {
        self.denied.contains_key(jti.as_bytes()).map_err(|error| fault(&error))
    }
}

/// Drops expired tokens while tables are merged, which costs no scan of their own.
struct DropExpired {
    clock: AssertUnwindSafe<Arc<dyn Clock>>,
}

struct DropExpiredAt(UnixSeconds);

impl Factory for DropExpired {
    fn name(&self) -> &'static str {
        "drop-expired-tokens"
    }

    fn make_filter(&self, _context: &Context) -> Box<dyn CompactionFilter> {
        Box::new(DropExpiredAt(self.clock.now()))
    }
}

impl CompactionFilter for DropExpiredAt {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _context: &Context) -> CompactionFilterResult {
        let value = item.value()?;
        let expired = value
            .split_first_chunk::<8>()
            .is_some_and(|(expires_at, _record)| UnixSeconds(u64::from_be_bytes(*expires_at)) <= self.0);
        // Without a tombstone: should an older version of an expired token come back, it is as expired.
        Ok(if expired { Verdict::Destroy } else { Verdict::Keep })
    }
}

pub(super) fn fault(error: &fjall::Error) -> PortError {
    match error {
        fjall::Error::Decompress(_) | fjall::Error::InvalidTrailer | fjall::Error::InvalidTag(_) => {
            corrupt("a damaged block")
        }
        other => PortError::Unavailable { service: SERVICE, detail: other.to_string() },
    }
}

fn corrupt(detail: &str) -> PortError {
    PortError::Corrupt { service: SERVICE, detail: detail.to_owned() }
}

const SERVICE: &str = "the token keyspace";
const USUAL_RECORD_BYTES: usize = 256;
const BLOCK_CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// Its options stay its own, and its records may have another form.
const KEYSPACE_OF_OLDER_BUILDS: &str = "tokens";
/// See [`Keyspace`].
const WORKER_THREADS: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access_token::claims::CustomClaims;
    use crate::core::client::RegistrationId;
    use crate::core::realm::PublicUrl;
    use crate::core::resource::Audience;
    use crate::telemetry::SystemRandom;

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
                assert_eq!(decode(&encode(&record).expect("encoded")), Some(record));
            }
        }
    }

    #[test]
    fn what_is_no_record_is_none() {
        for value in [&b""[..], &[0; 7], &[0; 8], b"12345678{}", b"12345678[]", b"12345678[\"alpha\"]"] {
            assert_eq!(decode(value), None);
        }
    }
}
