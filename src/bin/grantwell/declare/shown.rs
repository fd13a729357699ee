//! A plan for people: what is made, changed and deleted, with members before and after.

use std::env;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use grantwell::core::management::plan::{Action, AdoptedFrom, MemberChange, Plan, Step};
use serde_json::{Value, json};

use super::run::Progress;
use crate::failure::Failure;
use crate::output::{self, Format, OutputArguments};

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

/// Prints what was done.
pub(super) fn done(plan: &Plan, progress: &Progress, output: &OutputArguments) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output::json(&json!({
            "name": plan.name,
            "created": plan.count(Action::Create),
            "changed": plan.count(Action::Change),
            "deleted": plan.count(Action::Delete),
            "unchanged": plan.count(Action::Nothing),
            "done_before": progress.were_done,
        })),
        Format::Table if !plan.has_changes() => Ok(()),
        Format::Table => {
            let before = match progress.were_done {
                0 => String::new(),
                were_done => format!("; {were_done} had been made before"),
            };
            let made = if progress.done == 1 { "1 change was" } else { &format!("{} changes were", progress.done) };
            output::text(&format!("Done: {made} made{before}."))
        }
    }
}

/// Whether somebody says yes to deleting.
pub(super) fn confirmed(count: usize) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(format!(
            "nothing was changed, because {} would be deleted and nobody is there to be asked; repeat the command with --yes",
            clients(count)
        )));
    }
    let mut stderr = io::stderr();
    let asked = write!(stderr, "Delete {}? Type yes: ", clients(count)).and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
    read.map_err(|error| Failure::new(format!("the answer could not be read: {error}")))?;
    Ok(answer.trim() == "yes")
}

fn clients(count: usize) -> String {
    match count {
        1 => "1 client with its secrets".to_owned(),
        count => format!("{count} clients with their secrets"),
    }
}

fn text(plan: &Plan) -> String {
    let colours = Colours::of_stdout();
    let mut text = String::new();
    for step in plan.steps.iter().filter(|step| step.is_change()) {
        text.push_str(&of_step(step, &colours));
    }
    match plan.count(Action::Nothing) {
        0 => {}
        1 => text.push_str("1 record is as it is declared\n"),
        count => writeln!(text, "{count} records are as they are declared").unwrap_or_default(),
    }
    if let Some(first) = plan.left.first() {
        let more = match plan.left.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        writeln!(text, "declared no longer, and left as it is: {first}{more} (--prune deletes)").unwrap_or_default();
    }
    for realm in &plan.not_searched {
        writeln!(
            text,
            "realm {realm} has many clients: which of them are declared no longer was not looked for (--prune looks)"
        )
        .unwrap_or_default();
    }
    let [create, change, delete] = [Action::Create, Action::Change, Action::Delete].map(|action| plan.count(action));
    let summary = if plan.has_changes() {
        format!("Plan of {}: {create} to create, {change} to change, {delete} to delete.", plan.name)
    } else {
        format!("Nothing to do: everything is as {} declares it.", plan.name)
    };
    text + &summary
}

fn of_step(step: &Step, colours: &Colours) -> String {
    let (sign, colour) = match step.action {
        Action::Create => ("+", colours.green),
        Action::Change => ("~", colours.yellow),
        Action::Delete => ("-", colours.red),
        Action::Nothing => ("=", ""),
    };
    let remark = match (&step.adopted_from, step.action) {
        (Some(AdoptedFrom::File(name)), _) => format!(" (taken over from {name})"),
        (Some(AdoptedFrom::Nobody), _) => " (taken over; no file has declared it)".to_owned(),
        (None, Action::Delete) => " (disabled, then deleted with its secrets)".to_owned(),
        (None, Action::Change) if step.changes.is_empty() => " (only which members the file declares)".to_owned(),
        _ => String::new(),
    };
    let mut text = format!("{colour}{sign} {}{}{remark}\n", step.target, colours.reset);
    let width = step.changes.iter().map(|change| change.member.len()).max().unwrap_or_default();
    for MemberChange { member, before, after, returns_to_default } in &step.changes {
        let change = match step.action {
            Action::Create => value(after),
            _ => format!("{} -> {}", value(before), value(after)),
        };
        let why = if *returns_to_default { " (the file does not mention it any more)" } else { "" };
        writeln!(text, "    {member:width$}  {change}{why}").unwrap_or_default();
    }
    text
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "not set".to_owned(),
        value => value.to_string(),
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
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if unwanted || !io::stdout().is_terminal() {
            return Self { green: "", yellow: "", red: "", reset: "" };
        }
        Self { green: "\x1b[32m", yellow: "\x1b[33m", red: "\x1b[31m", reset: "\x1b[0m" }
    }
}

/// The exit status of a plan that would change something.
const DRIFT: u8 = 3;
