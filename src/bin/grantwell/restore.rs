//! `grantwell restore`: puts a backup of the registry back into a data directory whose server is stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use grantwell::core::admin_log::AdminLogLine;
use grantwell::core::management::Logbook;
use grantwell::core::ports::Clock as _;
use grantwell::core::realm::RealmName;
use grantwell::embedded::store::data_dir::DataDir;
use grantwell::embedded::store::fault::StoreError;
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::embedded::store::registry::contents::{NotARegistry, Since, Subject};
use grantwell::embedded::store::restore::{PreparedRestore, Present, RestoreError};
use grantwell::system::{SystemClock, SystemRandom};

use crate::backup::{Holds, no_file, subject_text};
use crate::confirm::{ConfirmArguments, Unattended};
use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::store::{StoreArguments, StoreName, logging_of_user, suggest, suggest_here};

/// `grantwell restore`
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The backup, as `grantwell backup` has written it, or a copy of registry.db
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    confirm: ConfirmArguments,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    store: StoreArguments,
}

/// A registry that was put back.
#[derive(Serialize)]
struct Answer {
    registry: String,
    /// Null where there was none.
    kept: Option<String>,
    #[serde(flatten)]
    holds: Holds,
    tokens: &'static str,
    /// What was done after the backup was made. Null where nobody can say, because what was there could not be read.
    undone: Option<Vec<Value>>,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { file, confirm, output, store } = arguments;
    let directory = match store.name()? {
        StoreName::File(directory) => directory,
        other => return Err(no_file(&other, "restore")),
    };
    // A machine of its own may have no directory yet. One that was made for nothing goes again.
    let made: Vec<&Path> =
        directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    let restored = put_back(&directory, &file, &confirm, &output).await;
    if restored.is_err() {
        for directory in made {
            let _ = fs::remove_dir(directory);
        }
    }
    restored
}

async fn put_back(
    directory: &Path,
    file: &Path,
    confirm: &ConfirmArguments,
    output: &OutputArguments,
) -> Result<(), Failure> {
    let prepared = PreparedRestore::of(DataDir::open(directory)?, file)?;
    let holds = Holds::of(&prepared.backup);
    if !holds.unreadable_records.is_empty() {
        return Err(Failure::new(format!(
            "{} is damaged: these records cannot be read: {}; restore another backup",
            file.display(),
            holds.unreadable_records.join(", ")
        )));
    }
    let place = directory.display();
    let (there, undone) = match &prepared.present {
        Present::Nothing => (format!("into {place}, which has no registry"), Some(Vec::new())),
        Present::Registry(now) => {
            let Holds { realms, clients, .. } = Holds::of(now);
            let there = format!("in the place of the registry in {place}, which has {}", counted(realms, clients));
            (format!("{there}, and end every token"), Some(prepared.backup.done_until(now)))
        }
        Present::Unusable(why) => (
            format!("in the place of the registry in {place}, which cannot be used ({why}), and end every token"),
            None,
        ),
    };
    tell(undone.as_deref());
    let backup = counted(holds.realms, holds.clients);
    confirm.confirm(&format!("put a backup of {backup} {there}"), Unattended::Ends)?;
    let line = line_of_restore().await?;
    let restored = prepared.put_back(&line, SystemClock.now())?;
    if let Some(kept) = &restored.kept {
        output::note(&format!(
            "what was there before is kept as {}; it holds digests of secrets and signing keys, so remove it when you do not need it",
            kept.display()
        ));
    }
    let answer = Answer {
        registry: restored.path.display().to_string(),
        kept: restored.kept.map(|kept| kept.display().to_string()),
        holds,
        tokens: "ended",
        undone: undone.map(|undone| undone.iter().map(as_json).collect()),
    };
    output.print(&answer, Answer::table)
}

/// Of the registry only who runs this is asked, and that is not in it.
async fn line_of_restore() -> Result<AdminLogLine, Failure> {
    let nowhere = Arc::new(SqliteRegistry::in_memory()?);
    let logging = logging_of_user(&nowhere)?;
    let book = Logbook::new(logging, nowhere, Arc::new(SystemClock), Arc::new(SystemRandom));
    Ok(book.line_of_restore().await?)
}

impl Answer {
    fn table(&self) -> String {
        let head = [("registry", self.registry.clone())];
        let kept = self.kept.clone().unwrap_or_else(|| "there was none before".to_owned());
        let undone = match &self.undone {
            None => "not known: the registry from before could not be read".to_owned(),
            Some(undone) if undone.is_empty() => "nothing".to_owned(),
            Some(undone) => format!(
                "{}, listed above",
                if undone.len() == 1 { "1 change".into() } else { format!("{} changes", undone.len()) }
            ),
        };
        let rest = [("kept", kept), ("tokens", "all ended; clients fetch new ones".to_owned()), ("undone", undone)];
        output::record(head.into_iter().chain(self.holds.rows()).chain(rest))
    }
}

/// Says what has to be done again.
fn tell(undone: Option<&[Since]>) {
    let Some(undone) = undone else {
        output::warn(
            "what was changed after the backup was made is not known; after the restore, disable again the clients that were disabled since, \
             rotate again the secrets that were rotated, and revoke again the keys that were revoked",
        );
        return;
    };
    for since in undone.iter().take(MOST_TOLD) {
        output::warn(&sentence(since));
    }
    if undone.len() > MOST_TOLD {
        let more = undone.len() - MOST_TOLD;
        let changes = if more == 1 { "change" } else { "changes" };
        output::warn(&format!("the restore undoes {more} more {changes}; --output json lists all of them"));
    }
}

fn sentence(since: &Since) -> String {
    match since {
        Since::Disabled(of) => {
            format!(
                "{} was disabled after the backup, and the restore makes it active again; disable it then with: {}",
                subject_text(of),
                command("disable", of, "")
            )
        }
        Since::Deleted(of) => {
            format!(
                "{} was deleted after the backup, and the restore brings it back; delete it then with: {}",
                subject_text(of),
                command("delete", of, "")
            )
        }
        Since::SecretChanged(of) => format!(
            "the secrets of {} were changed after the backup; with the restore the earlier ones work again, and the newer ones stop working; make \
             a new one then with `{}`, give it to the application, and end the earlier one with `{}`",
            subject_text(of),
            command("rotate-secret", of, ""),
            command("rotate-secret", of, " --revoke-previous")
        ),
        Since::KeyEnded { realm, kid } => format!(
            "the signing key {kid} of realm '{realm}' was revoked or replaced after the backup, and the restore lets it verify tokens again; if it \
             has leaked, revoke it then with: {}",
            in_realm(&format!("key revoke {kid}"), realm)
        ),
        Since::Made(of) => {
            format!(
                "{} was made after the backup, and the restore removes it; make it again then if you need it",
                subject_text(of)
            )
        }
        Since::Changed(of) => format!(
            "{} was changed after the backup, and the restore takes the change back; make it again then if you need it",
            subject_text(of)
        ),
    }
}

fn as_json(since: &Since) -> Value {
    let (change, subject) = match since {
        Since::Disabled(of) => ("disabled", of),
        Since::Deleted(of) => ("deleted", of),
        Since::SecretChanged(of) => ("secret_changed", of),
        Since::Made(of) => ("made", of),
        Since::Changed(of) => ("changed", of),
        Since::KeyEnded { realm, kid } => return json!({"change": "key_ended", "realm": realm, "kid": kid}),
    };
    match subject {
        Subject::Realm(realm) | Subject::Keys(realm) => json!({"change": change, "realm": realm}),
        Subject::Client { realm, client_id } => json!({"change": change, "realm": realm, "client_id": client_id}),
        Subject::Owner(owner) => json!({"change": change, "owner": owner}),
    }
}

fn command(command: &str, of: &Subject, options: &str) -> String {
    match of {
        Subject::Client { realm, client_id } => in_realm(&format!("client {command} {client_id}{options}"), realm),
        Subject::Realm(name) | Subject::Keys(name) => suggest_here(&format!("realm {command} {name}{options}")),
        Subject::Owner(id) => suggest_here(&format!("owner {command} {id}{options}")),
    }
}

fn in_realm(command: &str, realm: &str) -> String {
    match realm.parse::<RealmName>() {
        Ok(realm) => suggest(command, &realm),
        Err(_) => suggest_here(command),
    }
}

fn counted(realms: usize, clients: usize) -> String {
    let of = |number: usize, one: &str| if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") };
    format!("{} and {}", of(realms, "realm"), of(clients, "client"))
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        let advice = match &error {
            RestoreError::Store(StoreError::InUse { path }) => {
                return Self::new(format!(
                    "a server is running on {}; stop it, repeat the command, and start it again",
                    path.display()
                ));
            }
            RestoreError::Store(_) => return Self::new(error.to_string()),
            RestoreError::NoBackup { .. } => "name the file that grantwell backup has written",
            RestoreError::NotAFile { .. } => {
                "name the file in it that grantwell backup has written, or its registry.db"
            }
            RestoreError::Itself { .. } => "name a file that grantwell backup has written",
            RestoreError::Unfit { why: NotARegistry::Newer, .. } => "nothing was changed",
            RestoreError::Unfit { .. } | RestoreError::NothingInIt { .. } => {
                "nothing was changed; restore another backup"
            }
            RestoreError::Busy { .. } => "nothing was changed; try again when that command has ended",
            RestoreError::NotPlaced { .. } => "the registry is as it was; run the command again when that is mended",
        };
        Self::new(format!("{error}; {advice}"))
    }
}

/// How many changes are told one by one.
const MOST_TOLD: usize = 20;
