//! `grantwell backup`: a copy of the registry of a data directory, made while its server runs.

use std::path::{Path, PathBuf};

use serde::Serialize;

use grantwell::core::ports::Clock as _;
use grantwell::core::time::UnixSeconds;
use grantwell::embedded::store::backup::{BackupError, back_up};
use grantwell::embedded::store::registry::contents::{Contents, Subject};
use grantwell::embedded::store::restore::stamp;
use grantwell::system::SystemClock;

use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::store::{StoreArguments, StoreName, suggest_here};

/// `grantwell backup`
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the copy goes: a file that does not exist yet, or a directory, in which it is named by the time [default: this directory]
    #[arg(long, value_name = "FILE|DIR")]
    to: Option<PathBuf>,
    /// Replaces the file if it exists, once the new copy has been written and read
    #[arg(long, requires = "to")]
    overwrite: bool,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    store: StoreArguments,
}

/// A backup that was made.
#[derive(Serialize)]
struct Answer {
    file: String,
    bytes: u64,
    made_at: UnixSeconds,
    #[serde(flatten)]
    holds: Holds,
    left_out: [&'static str; 3],
}

/// What a registry holds.
#[derive(Debug, Serialize)]
pub(crate) struct Holds {
    pub(crate) realms: usize,
    pub(crate) owners: usize,
    pub(crate) clients: usize,
    pub(crate) disabled_clients: usize,
    pub(crate) signing_keys: usize,
    pub(crate) unreadable_records: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { to, overwrite, output, store } = arguments;
    let now = SystemClock.now();
    let data = match store.name()? {
        StoreName::File(directory) => crate::store::find_registry(&directory)?,
        other => return Err(no_file(&other, "backup")),
    };
    let to = match to {
        Some(file) if file.as_os_str() == "-" => {
            return Err(Failure::Misuse(
                "a backup is a file that is read again after it was written, so it cannot go to standard output; name a file with --to"
                    .to_owned(),
            ));
        }
        Some(place) if place.is_dir() => place.join(name_at(now)),
        Some(file) => file,
        None => Path::new(".").join(name_at(now)),
    };
    let written = back_up(&data, &to, overwrite)?;
    let holds = Holds::of(&written.contents);
    holds.warn("the backup has them as they are, and cannot be restored before that is mended");
    if written.contents.is_empty() {
        output::warn("the registry has no realm and no client, so there is nothing to restore from this backup");
    }
    let answer = Answer {
        file: written.path.display().to_string(),
        bytes: written.bytes,
        made_at: now,
        holds,
        left_out: ["tokens", "revocations", "quota_counts"],
    };
    output.print(&answer, Answer::table)
}

/// What a command says that works on a data directory only.
pub(crate) fn no_file(store: &StoreName, command: &str) -> Failure {
    Failure::new(match store {
        StoreName::Aws => format!(
            "{command} works on the data directory of a local server; a deployed stack has point-in-time recovery, as docs/operations.md \
             describes"
        ),
        _ => format!(
            "{command} works on a data directory, and the memory store has none; name one with --store file:DIR"
        ),
    })
}

/// What a record is about, in words.
pub(crate) fn subject_text(subject: &Subject) -> String {
    match subject {
        Subject::Realm(name) => format!("realm '{name}'"),
        Subject::Client { realm, client_id } => format!("client '{client_id}' of realm '{realm}'"),
        Subject::Keys(realm) => format!("the signing keys of realm '{realm}'"),
        Subject::Owner(id) => format!("owner '{id}'"),
    }
}

impl Holds {
    pub(crate) fn of(contents: &Contents) -> Self {
        Self {
            realms: contents.realms.len(),
            owners: contents.owners.len(),
            clients: contents.client_count(),
            disabled_clients: contents.disabled_count(),
            signing_keys: contents.key_count(),
            unreadable_records: contents.unreadable.iter().map(subject_text).collect(),
        }
    }

    /// Says which records cannot be read, and what of it.
    fn warn(&self, consequence: &str) {
        if !self.unreadable_records.is_empty() {
            output::warn(&format!(
                "these records cannot be read: {}; {consequence}",
                self.unreadable_records.join(", ")
            ));
        }
    }

    pub(crate) fn rows(&self) -> [(&'static str, String); 4] {
        let disabled =
            if self.disabled_clients == 0 { String::new() } else { format!(" ({} disabled)", self.disabled_clients) };
        [
            ("realms", self.realms.to_string()),
            ("owners", self.owners.to_string()),
            ("clients", format!("{}{disabled}", self.clients)),
            ("signing_keys", self.signing_keys.to_string()),
        ]
    }
}

impl Answer {
    fn table(&self) -> String {
        let head =
            [("file", self.file.clone()), ("bytes", self.bytes.to_string()), ("made_at", output::utc(self.made_at))];
        let left_out = "tokens, revocations and quota counts; clients fetch new tokens after a restore";
        output::record(head.into_iter().chain(self.holds.rows()).chain([("left_out", left_out.to_owned())]))
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let advice = match &error {
            BackupError::Exists { .. } => "name another file with --to, or replace it with --overwrite",
            BackupError::InDataDirectory { .. } => "name a file elsewhere with --to, best on another disk",
            BackupError::NotAFile { .. } => "name a file with --to",
            BackupError::NotWritten { .. } => "name a file with --to that you may write",
            BackupError::NotWhole(_) => {
                let check = suggest_here("check");
                return Self::new(format!("{error}; keep the backups that you have, and look at it with: {check}"));
            }
            BackupError::Store(_) => return Self::new(error.to_string()),
        };
        Self::new(format!("{error}; {advice}"))
    }
}

fn name_at(now: UnixSeconds) -> String {
    format!("grantwell-registry-{}.db", stamp(now))
}
