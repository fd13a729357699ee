//! `grantwell check`: what there is to see of a data directory, or of a backup, from outside.

use std::io;
use std::path::{self, Path, PathBuf};

use serde::Serialize;

use grantwell::config;
use grantwell::core::client::{Client, ClientStatus};
use grantwell::core::keys::published::{KeyStatus, PublishedKey};
use grantwell::core::management::{Hindrance, Notice, Subject};
use grantwell::core::ports::Clock as _;
use grantwell::core::realm::{Realm, RealmName};
use grantwell::core::time::UnixSeconds;
use grantwell::embedded::store::data_dir::DirectoryLock;
use grantwell::embedded::store::inspection::{Oddity, free_bytes, oddities, require_whole_tokens, whole_registry};
use grantwell::embedded::store::registry::contents::{Contents, NotARegistry};
use grantwell::embedded::store::restore::read_backup;
use grantwell::system::SystemClock;

use crate::backup::{Holds, no_file, subject_text};
use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::store::{StoreArguments, StoreName, suggest_here};
use crate::words;

/// `grantwell check`
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Looks at a backup instead: whether it is whole, and what it has
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    backup: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    store: StoreArguments,
}

/// What a look has found.
#[derive(Serialize)]
struct Report {
    /// The data directory or the backup.
    path: String,
    status: Status,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    check: &'static str,
    status: Status,
    detail: String,
}

/// How well something is, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Warning,
    Failed,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { backup, output, store } = arguments;
    let report = match backup {
        Some(file) => Report::of(&file, of_backup(&file)),
        None => match store.name()? {
            StoreName::File(directory) => {
                let findings = of_directory(&directory, SystemClock.now(), config::signing_key_rotation_interval()?)?;
                Report::of(&directory, findings)
            }
            other => return Err(no_file(&other, "check")),
        },
    };
    output.print(&report, Report::table)?;
    match report.status {
        Status::Ok => Ok(()),
        Status::Warning => Err(Failure::Told(WARNINGS)),
        Status::Failed => Err(Failure::Told(FAILED)),
    }
}

impl Report {
    fn of(path: &Path, findings: Vec<Finding>) -> Self {
        let status = findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok);
        Self { path: path.display().to_string(), status, findings }
    }

    fn table(&self) -> String {
        let row = |finding: &Finding| {
            let status = match finding.status {
                Status::Ok => "ok",
                Status::Warning => "warning",
                Status::Failed => "FAILED",
            };
            vec![finding.check.to_owned(), status.to_owned(), finding.detail.clone()]
        };
        output::table(&["check", "status", "found"], usize::MAX, &self.findings.iter().map(row).collect::<Vec<_>>())
    }
}

impl Finding {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, detail: detail.into() }
    }

    fn warning(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, status: Status::Warning, detail: detail.into() }
    }

    fn failed(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, status: Status::Failed, detail: detail.into() }
    }
}

fn of_backup(file: &Path) -> Vec<Finding> {
    match read_backup(file) {
        Ok(contents) if contents.is_empty() => vec![Finding::failed("backup", "it has no realm and no client")],
        Ok(contents) => vec![Finding::ok("backup", held(&contents)), of_records(&contents)],
        Err(error) => vec![Finding::failed("backup", error.to_string())],
    }
}

fn of_directory(directory: &Path, now: UnixSeconds, rotation: u64) -> Result<Vec<Finding>, Failure> {
    let failed = |error: io::Error| Failure::new(format!("{} cannot be looked at: {error}", directory.display()));
    let odd = oddities(directory).map_err(failed)?;
    let mut findings: Vec<Finding> = odd.iter().map(|odd| of_oddity(odd, directory)).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("files", "they are yours, and nobody else can read them"));
    }
    // What SQLite has beside a database would be this user's, and the server could not open it.
    if odd.iter().any(|odd| matches!(odd, Oddity::NotOwned { .. })) {
        findings.push(Finding::failed(
            "registry",
            "the databases were not looked at, because they are another user's; run this as their owner",
        ));
        return Ok(findings);
    }
    let is_running = DirectoryLock::is_taken(directory)?;
    findings.push(Finding::ok("server", if is_running { "it is running" } else { "it is not running" }));
    findings.push(of_space(free_bytes(directory).map_err(failed)?));
    let tokens = directory.join("tokens.db");
    findings.push(if !tokens.exists() {
        Finding::ok("tokens", "there is no tokens.db; the next start of the server makes it")
    } else if let Err(why) = require_whole_tokens(&tokens) {
        Finding::failed(
            "tokens",
            format!(
                "tokens.db: {why}; stop the server, move away the files whose names begin with tokens.db, and start it: every token ends"
            ),
        )
    } else {
        Finding::ok("tokens", "tokens.db is whole")
    });
    findings.extend(of_registry(&directory.join("registry.db"), now, rotation));
    Ok(findings)
}

fn of_registry(path: &Path, now: UnixSeconds, rotation: u64) -> Vec<Finding> {
    if !path.exists() {
        return vec![Finding::failed(
            "registry",
            format!("there is no registry.db; restore it with: {}", suggest_here("restore FILE")),
        )];
    }
    let look = || -> Result<_, NotARegistry> {
        let registry = whole_registry(path)?;
        let contents = Contents::read(&registry)?;
        let mut without_token = Vec::new();
        Contents::read_with(&registry, &mut |client, dates| {
            let root = client.realm.is_root().then(|| Realm::new(RealmName::root()));
            let Some(realm) = contents.realms.get(client.realm.as_str()).or(root.as_ref()) else { return };
            let why = Hindrance::of(client, realm, dates, now);
            if client.status == ClientStatus::Active && !why.is_empty() {
                without_token.push(never_gets_token(client, why));
            }
        })?;
        Ok((contents, without_token))
    };
    let (contents, without_token) = match look() {
        Ok(looked) => looked,
        Err(why) => {
            return vec![Finding::failed(
                "registry",
                format!("registry.db: {why}; restore a backup with: {}", suggest_here("restore FILE")),
            )];
        }
    };
    let clients = if without_token.is_empty() {
        Finding::ok("clients", "every active client can get a token")
    } else {
        let more = without_token.len().saturating_sub(MOST_TOLD);
        let more = if more == 0 { String::new() } else { format!("; and {more} more clients") };
        let told: Vec<_> = without_token.iter().take(MOST_TOLD).map(String::as_str).collect();
        Finding::warning("clients", format!("{}{more}", told.join("; ")))
    };
    vec![
        Finding::ok("registry", format!("registry.db is whole: {}", held(&contents))),
        of_records(&contents),
        of_keys(&contents, now, rotation),
        clients,
    ]
}

fn of_oddity(odd: &Oddity, directory: &Path) -> Finding {
    match odd {
        Oddity::NotOwned { name, owner } => Finding::failed(
            "files",
            format!("{name} belongs to the user with the id {owner}; only the owner of all of them can run the server"),
        ),
        Oddity::OpenToOthers { name, mode } => Finding::failed(
            "files",
            format!(
                "{name} is open to other users (mode {mode:04o}); close it with: chmod go= {}",
                whole_path(name, directory)
            ),
        ),
        Oddity::NotAFile { name } => Finding::failed(
            "files",
            format!("{name} is not a regular file, and a symbolic link is not followed; put the file itself there"),
        ),
        Oddity::LogAlone { name } => Finding::failed(
            "files",
            format!("{name} is there without its database, which was moved away or removed; put that back"),
        ),
        Oddity::OlderTokens => Finding::failed(
            "files",
            "tokens/ is of a build before tokens.db, and a server does not start beside it; remove it, which ends the tokens in it",
        ),
    }
}

/// Where it is from the root on, as a shell takes it: an oddity of the directory itself has its path as its name.
fn whole_path(name: &str, directory: &Path) -> String {
    let path = if name == directory.display().to_string() { directory.to_owned() } else { directory.join(name) };
    let path = path::absolute(&path).unwrap_or(path).display().to_string();
    let is_plain = path.chars().all(|character| character.is_ascii_alphanumeric() || "/._-+@:,=".contains(character));
    if is_plain { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

fn of_space(bytes: u64) -> Finding {
    const MIB: u64 = 1024 * 1024;
    let left = format!("{} MiB are free", bytes / MIB);
    match bytes / MIB {
        0 => Finding::failed(
            "free_space",
            format!("{left}, and a server with less than 1 MiB issues no tokens; make room"),
        ),
        1..FEW_MIB => Finding::warning("free_space", format!("{left}; make room")),
        _ => Finding::ok("free_space", left),
    }
}

fn of_records(contents: &Contents) -> Finding {
    if contents.unreadable.is_empty() {
        return Finding::ok("records", "each can be read");
    }
    let names: Vec<String> = contents.unreadable.iter().take(MOST_TOLD).map(subject_text).collect();
    let more = contents.unreadable.len().saturating_sub(names.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Finding::failed(
        "records",
        format!(
            "these cannot be read: {}{more}; restore a backup, or delete them and register them again",
            names.join(", ")
        ),
    )
}

/// A server replaces keys by itself; one that was not for long has not been running, or cannot.
fn of_keys(contents: &Contents, now: UnixSeconds, rotation: u64) -> Finding {
    let mut oldest: Option<(u64, &str)> = None;
    for (realm, keys) in &contents.keys {
        let current = |key: &&PublishedKey| key.status == KeyStatus::Current;
        for key in keys.keys.iter().filter(current) {
            let days = now.0.saturating_sub(key.current_since.unwrap_or(key.published_at).0) / DAY;
            oldest = oldest.max(Some((days, realm)));
        }
    }
    let Some((days, realm)) = oldest else { return Finding::ok("signing_keys", "no realm has any") };
    let age = format!("the oldest signing key has been in use for {} (realm '{realm}')", in_days(days));
    if days > rotation / DAY + GRACE_DAYS {
        let every = in_days(rotation / DAY);
        return Finding::warning(
            "signing_keys",
            format!(
                "{age}, and a running server replaces it every {every}; look in the server's log for why it could not"
            ),
        );
    }
    Finding::ok("signing_keys", age)
}

fn never_gets_token(client: &Client, why: Vec<Hindrance>) -> String {
    let of = Subject::Client { realm: client.realm.clone(), client_id: client.client_id.clone() };
    words::sentence(&Notice::NeverGetsToken { of, why })
}

fn held(contents: &Contents) -> String {
    let rows = Holds::of(contents).rows().map(|(name, value)| format!("{} {value}", name.replace('_', " ")));
    rows.join(", ")
}

fn in_days(days: u64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

/// The exit status where there is nothing worse than a warning.
const WARNINGS: u8 = 3;
/// The one where something is broken.
const FAILED: u8 = 1;
/// How many clients or records are named.
const MOST_TOLD: usize = 5;
/// Less free space than this is a warning.
const FEW_MIB: u64 = 64;
/// How long a server may be stopped before its keys are called old.
const GRACE_DAYS: u64 = 7;
const DAY: u64 = 24 * 60 * 60;
