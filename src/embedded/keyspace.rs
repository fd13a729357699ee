//! A keyspace of the token database, and when its memtable is written out.
//!
//! fjall would decide that itself. But where its workers are behind, each write sends them another message, until the queue is full and
//! the worker that would have to empty it waits for room in it (fjall-rs/fjall#323). And of two workers, the one that is kept
//! free for this spins while the other merges tables, which takes a whole core. So there is one, which only this wakes:
//! docs/decisions/0015-when-a-memtable-is-written-out.md. fjall shows what that takes, `rotate_memtable` and
//! `sealed_memtable_count`, to everybody, and documents it to nobody: look at both when it is updated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::compaction::Leveled;
use fjall::config::PartitioningPolicy;
use fjall::{Database, KeyspaceCreateOptions, OwnedWriteBatch, UserKey, UserValue};

/// A keyspace. Nothing else may write to it.
pub(super) struct Keyspace {
    inner: fjall::Keyspace,
    /// Bytes in its memtable, about.
    in_memory: AtomicU64,
}

impl Keyspace {
    /// Opens the keyspace of this name, or makes it. What the journal has brought back into memory is written out, or it would be
    /// brought back, and more each time, for as long as a server is started anew before it has filled a memtable.
    ///
    /// # Errors
    /// fjall's.
    pub(super) fn open(database: &Database, name: &str) -> fjall::Result<Self> {
        let inner = database.keyspace(name, options)?;
        inner.rotate_memtable()?;
        Ok(Self { inner, in_memory: AtomicU64::new(0) })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// fjall's.
    pub(super) fn get(&self, key: &[u8]) -> fjall::Result<Option<UserValue>> {
        self.inner.get(key)
    }

    /// Whether there is one.
    ///
    /// # Errors
    /// fjall's.
    pub(super) fn contains_key(&self, key: &[u8]) -> fjall::Result<bool> {
        self.inner.contains_key(key)
    }

    /// Sets the value of a key, or removes it for `None`. The operating system has it when this returns.
    ///
    /// # Errors
    /// fjall's.
    pub(super) fn write(&self, key: UserKey, value: Option<UserValue>) -> fjall::Result<()> {
        let bytes = bytes_of(&key, value.as_ref());
        match value {
            Some(value) => self.inner.insert(key, value),
            None => self.inner.remove(key),
        }?;
        self.wrote(bytes);
        Ok(())
    }

    /// The same as a part of `batch`; [`Keyspace::wrote`] has to follow with the bytes that this returns, once it is committed.
    pub(super) fn write_in(&self, batch: &mut OwnedWriteBatch, key: UserKey, value: Option<UserValue>) -> u64 {
        let bytes = bytes_of(&key, value.as_ref());
        match value {
            Some(value) => batch.insert(&self.inner, key, value),
            None => batch.remove(&self.inner, key),
        }
        bytes
    }

    /// Has fjall write the memtable out where it is full, unless those before it are still waiting: then it grows, up to a limit
    /// at which fjall makes its writers wait. A failure is only logged: what was written is written.
    pub(super) fn wrote(&self, bytes: u64) {
        let in_memory = self.in_memory.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if in_memory < MEMTABLE_BYTES {
            return;
        }
        let is_behind = self.inner.sealed_memtable_count() >= MOST_WAITING_MEMTABLES;
        if is_behind && in_memory < LARGEST_MEMTABLE_BYTES {
            return;
        }
        // Of several at once only the last to add to the count finds it as it left it.
        if self.in_memory.compare_exchange(in_memory, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && let Err(error) = self.inner.rotate_memtable()
        {
            tracing::error!(%error, "tokens in memory could not be given to the thread that writes them out");
        }
    }
}

fn bytes_of(key: &UserKey, value: Option<&UserValue>) -> u64 {
    let bytes = key.len() + value.map_or(0, |value| value.len()) + ENTRY_BYTES;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Neither memory nor the price of a call may grow with the number of tokens (`make bench-growth`): of the index and of the filters of
/// each table only their own index stays in memory, and the rest is read in blocks through the cache. Whole, they would be read
/// anew for each token that is looked up, a quarter of a megabyte each. Smaller tables are merged in smaller steps.
fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(u64::MAX)
        .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES)))
        .index_block_partitioning_policy(PartitioningPolicy::all(true))
        .filter_block_partitioning_policy(PartitioningPolicy::all(true))
}

/// What an entry takes beside its key and its value.
const ENTRY_BYTES: usize = 64;
const MEMTABLE_BYTES: u64 = 4 * 1024 * 1024;
/// fjall lets writers sleep for 100 ms where there is one more.
const MOST_WAITING_MEMTABLES: usize = 3;
const LARGEST_MEMTABLE_BYTES: u64 = 64 * 1024 * 1024;
const TABLE_BYTES: u64 = 8 * 1024 * 1024;
