//! A plan and what became of it, for people and as JSON.

mod value;

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use grantwell::config;
use grantwell::core::declaration::DeclarationName;
use grantwell::core::management::plan::{Action, AdoptedFrom, MemberChange, Plan, Step, Target};
use grantwell::core::realm::RealmName;
use serde::Serialize;
use textwrap::{Options, WordSplitter};

use super::run::{Outcome, Ran};
use super::secrets::Secrets;
use crate::failure::Failure;
use crate::output::{self, Format, OutputArguments};
use crate::terminal;

/// Prints a plan that is not carried out.
pub(super) fn plan(plan: &Plan, output: &OutputArguments) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output::json(plan)?,
        Format::Table => output::text(&text(plan))?,
    }
    if plan.has_changes() { Err(Failure::Told(DRIFT)) } else { Ok(()) }
}

/// Prints what is about to be done. Where the answer is JSON, it comes at the end.
pub(super) fn before_apply(plan: &Plan, output: &OutputArguments) -> Result<(), Failure> {
    match output.format() {
        Format::Json => Ok(()),
        Format::Table => output::text(&text(plan)),
    }
}

/// Prints what was done, also where it was not all; `done` changes were made by an earlier run of the same plan.
pub(super) fn ran(
    plan: &Plan,
    ran: &Ran<'_>,
    done: usize,
    secrets: &Secrets,
    output: &OutputArguments,
) -> Result<(), Failure> {
    let before = done + ran.count(Outcome::DoneBefore);
    match output.format() {
        Format::Json => {
            let change = |(step, outcome): &(&Step, Outcome)| ShownChange {
                outcome: *outcome,
                secret_file: secret_file(step, secrets),
                step: (*step).clone(),
            };
            let answer = Answer {
                name: &plan.name,
                created: ran.made(Action::Create),
                changed: ran.made(Action::Change),
                deleted: ran.made(Action::Delete),
                unchanged: plan.count(Action::Nothing),
                done_before: before,
                not_done: ran.changes.len() - ran.count(Outcome::Done) - ran.count(Outcome::DoneBefore),
                changes: ran.changes.iter().map(change).collect(),
                left: &plan.left,
                not_searched: &plan.not_searched,
            };
            secrets.end(&answer)
        }
        Format::Table => {
            let files = files(ran, secrets);
            if !files.is_empty() {
                output::text(&files.join("\n"))?;
            }
            if ran.stopped.is_some() || ran.is_interrupted || !plan.has_changes() {
                return Ok(());
            }
            let before = match before {
                0 => String::new(),
                before => format!("; {before} had been made before"),
            };
            output::text(&format!("Done: {} made{before}.", changes_were(ran.count(Outcome::Done))))
        }
    }
}

/// The file that has the secret of a client that was created.
fn secret_file(step: &Step, secrets: &Secrets) -> Option<PathBuf> {
    match &step.target {
        Target::Client { realm, client_id } if step.action == Action::Create => secrets.file_of(realm, client_id),
        _ => None,
    }
}

/// A line for each file with a secret, as far as anybody reads them.
fn files(ran: &Ran<'_>, secrets: &Secrets) -> Vec<String> {
    let created = ran.changes.iter().filter_map(|(step, _)| Some((&step.target, secret_file(step, secrets)?)));
    let mut lines: Vec<String> =
        created.map(|(target, path)| format!("secret of {target}: {}", path.display())).collect();
    let more = lines.len().saturating_sub(FILES);
    lines.truncate(FILES);
    if let (1.., Some(directory)) = (more, secrets.directory()) {
        lines.push(format!("and {more} more in {}", directory.display()));
    }
    lines
}

/// Why a plan was carried out in part, what of it is done and what is not. Without a failure somebody else was quicker.
pub(super) fn stopped(ran: &Ran<'_>, step: &Step, failure: Option<Failure>, again: &str) -> Failure {
    let reason = match failure {
        None => "somebody else has changed it since this was planned, so it was left as it is".to_owned(),
        Some(Failure::Sentence(sentence) | Failure::Misuse(sentence)) => sentence,
        Some(closed) => return closed,
    };
    Failure::new(format!("{}: {reason}; {}; {again}", step.target, so_far(ran)))
}

/// That somebody has asked the process to end, what is done and what is not.
pub(super) fn interrupted(ran: &Ran<'_>, again: &str) -> Failure {
    Failure::new(format!("interrupted; {}; {again}", so_far(ran)))
}

/// What of a plan is done and what is not.
fn so_far(ran: &Ran<'_>) -> String {
    let done = ran.count(Outcome::Done) + ran.count(Outcome::DoneBefore);
    let named = |wanted: &[Outcome]| -> Vec<String> {
        let steps = ran.changes.iter().filter(|(_, outcome)| wanted.contains(outcome));
        steps.map(|(step, _)| step.target.to_string()).collect()
    };
    let list = |names: &[String]| {
        let more = match names.len().saturating_sub(FEW) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}{more}", names.iter().take(FEW).map(String::as_str).collect::<Vec<_>>().join(", "))
    };
    let mut told = format!("{} made", changes_were(done));
    let made = named(&[Outcome::Done, Outcome::DoneBefore]);
    if !made.is_empty() {
        write!(told, ": {}", list(&made)).unwrap_or_default();
    }
    let disabled = named(&[Outcome::Disabled]);
    if !disabled.is_empty() {
        write!(told, "; disabled and not deleted: {}", list(&disabled)).unwrap_or_default();
    }
    let not = named(&[Outcome::NotDone, Outcome::Failed]);
    if !not.is_empty() {
        write!(told, "; not made: {}", list(&not)).unwrap_or_default();
    }
    told
}

/// Clients by their names, as far as a question can have them.
pub(super) fn names(steps: &[&Step]) -> String {
    let first = steps.iter().take(MANY).map(|step| format!("\n  {}", step.target));
    let more = match steps.len().saturating_sub(MANY) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    format!("{}{more}", first.collect::<String>())
}

/// Records, counted by their kinds.
pub(super) fn counted(steps: &[&Step]) -> String {
    let count = |is_it: fn(&Target) -> bool| steps.iter().filter(|step| is_it(&step.target)).count();
    let kinds = [
        (
            count(|target| matches!(target, Target::Client { .. })),
            "client with its secrets",
            "clients with their secrets",
        ),
        (count(|target| matches!(target, Target::Issuer { .. })), "issuer", "issuers"),
        (count(|target| matches!(target, Target::Owner { .. })), "owner", "owners"),
        (count(|target| matches!(target, Target::Realm { .. })), "realm", "realms"),
    ];
    let told = kinds.into_iter().filter(|(count, ..)| *count > 0);
    let told: Vec<String> =
        told.map(|(count, one, several)| format!("{count} {}", if count == 1 { one } else { several })).collect();
    match told.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// The answer to `grantwell apply`. Secrets come before it.
#[derive(Serialize)]
struct Answer<'a> {
    name: &'a DeclarationName,
    created: usize,
    changed: usize,
    deleted: usize,
    unchanged: usize,
    done_before: usize,
    not_done: usize,
    changes: Vec<ShownChange>,
    left: &'a [Target],
    not_searched: &'a [RealmName],
}

#[derive(Serialize)]
struct ShownChange {
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<PathBuf>,
    #[serde(flatten)]
    step: Step,
}

fn text(plan: &Plan) -> String {
    let (colours, width) = (Colours::of_stdout(), terminal::width());
    let mut text = String::new();
    for step in plan.steps.iter().filter(|step| step.is_change()) {
        text.push_str(&of_step(step, &colours, width));
    }
    let mut tell = |sentence: String| text.push_str(&wrapped(&sentence, "", "  ", width));
    match plan.count(Action::Nothing) {
        0 => {}
        1 => tell("1 record is already as declared".to_owned()),
        count => tell(format!("{count} records are already as declared")),
    }
    match plan.left.as_slice() {
        [] => {}
        [one] => tell(format!("1 record is no longer declared and stays as it is (--prune deletes it): {one}")),
        left => tell(format!(
            "{} records are no longer declared and stay as they are (--prune deletes them): {}",
            left.len(),
            first_of(left)
        )),
    }
    for realm in &plan.not_searched {
        tell(format!(
            "realm {realm} has many clients: which of them are no longer declared was not looked for (--prune looks)"
        ));
    }
    let [create, change, delete] = [Action::Create, Action::Change, Action::Delete].map(|action| plan.count(action));
    tell(if plan.has_changes() {
        format!("Plan of {}: {create} to create, {change} to change, {delete} to delete.", plan.name)
    } else {
        format!("Nothing to do: everything is as {} declares it.", plan.name)
    });
    text.trim_end().to_owned()
}

fn of_step(step: &Step, colours: &Colours, width: Option<usize>) -> String {
    let (sign, colour) = match step.action {
        Action::Create => ("+", colours.green),
        Action::Change => ("~", colours.yellow),
        Action::Delete => ("-", colours.red),
        Action::Nothing => ("=", ""),
    };
    let remark = match (&step.adopted_from, step.action) {
        (Some(AdoptedFrom::File(name)), _) => format!(" (taken over from {name})"),
        (Some(AdoptedFrom::Nobody), _) => " (taken over; no file has declared it)".to_owned(),
        (None, Action::Delete) if matches!(step.target, Target::Client { .. }) => {
            " (disabled, then deleted with its secrets)".to_owned()
        }
        (None, Action::Change) if step.changes.is_empty() => " (only which members the file declares)".to_owned(),
        _ => String::new(),
    };
    let head = wrapped(&format!("{sign} {}{remark}", step.target), "", "    ", width);
    let mut text = format!("{colour}{}{}\n", head.trim_end(), colours.reset);
    if step.action == Action::Delete {
        return text;
    }
    let longest = step.changes.iter().map(|change| change.member.len()).max().unwrap_or_default();
    for MemberChange { member, before, after, returns_to_default } in &step.changes {
        let change = match step.action {
            Action::Create => value::text(member, after),
            _ => value::change(member, before, after),
        };
        let why = if *returns_to_default { " (its default: the file does not mention it any more)" } else { "" };
        let indent = " ".repeat(INDENT + longest.min(width.map_or(longest, |width| width / 3)) + 2);
        let first = format!("{:INDENT$}{member:longest$}  ", "");
        text.push_str(&wrapped(&format!("{change}{why}"), &first, &indent, width));
    }
    text
}

/// The first of several records, and how many more there are.
fn first_of(targets: &[Target]) -> String {
    let mut named: Vec<String> = targets.iter().take(SOME).map(Target::to_string).collect();
    match targets.len().saturating_sub(SOME) {
        0 => named.join(", "),
        more => {
            named.push(format!("and {more} more"));
            named.join(", ")
        }
    }
}

/// One or more lines, each with its end. Elsewhere than on a terminal it is one, for grep.
fn wrapped(text: &str, first: &str, others: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return format!("{first}{text}\n") };
    let options = Options::new(width).initial_indent(first).subsequent_indent(others);
    let options = options.word_splitter(WordSplitter::NoHyphenation);
    textwrap::wrap(text, options).join("\n") + "\n"
}

fn changes_were(count: usize) -> String {
    match count {
        0 => "no change was".to_owned(),
        1 => "1 change was".to_owned(),
        count => format!("{count} changes were"),
    }
}

/// How a terminal shows what is made, changed and deleted; nothing elsewhere, or where NO_COLOR is set.
struct Colours {
    green: &'static str,
    yellow: &'static str,
    red: &'static str,
    reset: &'static str,
}

impl Colours {
    fn of_stdout() -> Self {
        if !config::allows_colour() || !io::stdout().is_terminal() {
            return Self { green: "", yellow: "", red: "", reset: "" };
        }
        Self { green: "\x1b[32m", yellow: "\x1b[33m", red: "\x1b[31m", reset: "\x1b[0m" }
    }
}

/// The exit status of a plan that would change something.
const DRIFT: u8 = 3;
/// How far members stand from the edge.
const INDENT: usize = 4;
/// How many records a sentence names.
const FEW: usize = 5;
/// How many records a paragraph names.
const SOME: usize = 8;
/// How many files of secrets are named.
const FILES: usize = 20;
/// How many records a list has.
const MANY: usize = 25;
