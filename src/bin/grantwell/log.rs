//! `grantwell log`: who has changed what.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use textwrap::{Options, WordSplitter};

use grantwell::core::admin_log::{Actor, AdminLogLine, LineId, MemberChange, Outcome};
use grantwell::core::client::id::ClientId;
use grantwell::core::management::{Effect, LogFilter, LoggedChanges};
use grantwell::core::owner::OwnerId;
use grantwell::core::ports::Clock as _;
use grantwell::core::realm::RealmName;
use grantwell::core::time::UnixMillis;
use grantwell::system::SystemClock;

use crate::columns::Columns;
use crate::count;
use crate::duration;
use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::store::{IfAbsent, StoreArguments};
use crate::terminal;

/// `grantwell log`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  grantwell log --since 7d
  grantwell log --client myClient --realm alpha
  grantwell log --owner alice --output json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Only what was done in this realm, or to it [default: all realms]
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    realm: Option<RealmName>,
    /// Only what was done to this client
    #[arg(long, value_name = "ID", help_heading = "Filters")]
    client: Option<ClientId>,
    /// Only what was done to this owner or its clients, or by its AWS principals
    #[arg(long, value_name = "ID", help_heading = "Filters")]
    owner: Option<OwnerId>,
    /// Only what was done within this time, such as 7d [default: all that is kept]
    #[arg(long, value_name = "DURATION", value_parser = duration::seconds, help_heading = "Filters")]
    since: Option<u64>,
    /// Continues where an earlier list stopped
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<LineId>,
    /// Stops after this many lines and prints how to continue
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = count::between(1, 10_000))]
    max_items: u32,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct Listed {
    lines: Vec<Shown>,
    unreadable: Vec<LineId>,
    next_page_token: Option<LineId>,
}

/// A line, with what can be found out about how it ended.
#[derive(Debug, Serialize)]
struct Shown {
    time: String,
    #[serde(flatten)]
    line: AdminLogLine,
    effect: Option<&'static str>,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { store, realm, client, owner, since, cursor, max_items, output } = arguments;
    let since = since.map_or(0, |seconds| SystemClock.now_in_millis().0.saturating_sub(seconds.saturating_mul(1_000)));
    let filter = LogFilter { realm, client_id: client, owner, since: UnixMillis(since), before: cursor };
    let store = store.name()?.open(IfAbsent::Refuse).await?;
    let LoggedChanges { lines, unreadable, next } = store.management().log(&filter, max_items as usize).await?;
    for id in &unreadable {
        output::warn(&format!("the line {id} cannot be read by this version of grantwell"));
    }
    let shown = |(line, effect): (AdminLogLine, Option<Effect>)| Shown {
        time: line.at.to_string(),
        line,
        effect: effect.map(|effect| match effect {
            Effect::CarriedOut => "carried_out",
            Effect::NotCarriedOut => "not_carried_out",
        }),
    };
    let listed = Listed { lines: lines.into_iter().map(shown).collect(), unreadable, next_page_token: next };
    output.print(&listed, |listed| table(listed, terminal::width()))
}

/// On a terminal a few lines for each change, because names of callers are long; elsewhere one, for grep.
fn table(listed: &Listed, terminal: Option<usize>) -> String {
    if listed.lines.is_empty() {
        return "there are no such lines".to_owned();
    }
    let mut text = match terminal {
        Some(width) => listed.lines.iter().map(|line| told(line, width)).collect::<Vec<_>>().join("\n"),
        None => in_columns(&listed.lines),
    };
    if let Some(next) = &listed.next_page_token {
        text.push_str("There are more; continue with: --cursor ");
        text.push_str(next.as_str());
    }
    text.trim_end().to_owned()
}

fn told(shown: &Shown, width: usize) -> String {
    let line = &shown.line;
    let mut text = String::new();
    let mut tell = |indent: &str, words: &str| {
        let deeper = format!("{indent}  ");
        let options = Options::new(width).initial_indent(indent).subsequent_indent(&deeper);
        let options = options.word_splitter(WordSplitter::NoHyphenation);
        for line in textwrap::wrap(&plain(words), options) {
            text.push_str(&line);
            text.push('\n');
        }
    };
    let time = output::utc(line.at.seconds());
    tell("", &format!("{time}  {}  {}  {}", line.action.as_str(), target(line), outcome(line.outcome, shown.effect)));
    tell("    ", &format!("by {}", who(line)));
    for change in changed(line) {
        tell("    ", &change);
    }
    text
}

fn in_columns(lines: &[Shown]) -> String {
    let heading = ["time", "who", "what", "of", "changed", "outcome"].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = [heading].into_iter().chain(lines.iter().map(row)).collect();
    let columns = Columns::fitting(&rows, None);
    let mut text = String::new();
    for (position, row) in rows.iter().enumerate() {
        text.push_str(&columns.row(row));
        if position == 0 {
            text.push_str(&columns.rule());
        }
    }
    text
}

fn row(shown: &Shown) -> Vec<String> {
    let line = &shown.line;
    vec![
        output::utc(line.at.seconds()),
        who(line),
        line.action.as_str().to_owned(),
        target(line),
        changed(line).join("; "),
        outcome(line.outcome, shown.effect),
    ]
}

fn changed(line: &AdminLogLine) -> Vec<String> {
    match line.action.as_str().rsplit('.').next() {
        // All members that it has, which its own record shows better.
        Some("create" | "delete") => Vec::new(),
        // Which key was what before is a long story, which JSON tells.
        _ => line.members.iter().filter(|change| change.name != "keys").map(member).collect(),
    }
}

fn who(line: &AdminLogLine) -> String {
    let who = match &line.actor {
        // All but the account is the same for everybody.
        Actor::AwsCaller { arn } => match arn.splitn(6, ':').collect::<Vec<_>>().as_slice() {
            [_, _, _, _, account, resource] => format!("{resource} (account {account})"),
            _ => arn.clone(),
        },
        Actor::OsUser { uid, name, sudo_user } => {
            let name = name.as_ref().map_or_else(|| format!("uid {uid}"), Clone::clone);
            sudo_user.as_ref().map_or(name.clone(), |user| format!("{name} (sudo says: by {user})"))
        }
        Actor::Schedule => "schedule".to_owned(),
        Actor::Unknown => "unknown".to_owned(),
    };
    let acts_for: Vec<&str> = line.acts_for.iter().map(OwnerId::as_str).collect();
    if acts_for.is_empty() { who } else { format!("{who} for owner {}", acts_for.join(", ")) }
}

fn target(line: &AdminLogLine) -> String {
    let target = &line.target;
    match (&target.client_id, &target.owner, &target.realm) {
        (Some(client_id), _, Some(realm)) if !realm.is_root() => format!("{client_id} in {realm}"),
        (Some(client_id), _, _) => client_id.to_string(),
        (None, Some(owner), _) => owner.to_string(),
        (None, None, Some(realm)) => realm.to_string(),
        (None, None, None) => String::new(),
    }
}

fn member(change: &MemberChange) -> String {
    if change.name == "trusted_issuers" {
        return plain(&format!("{}: {}", change.name, issuers(change)));
    }
    format!("{}: {} -> {}", change.name, value(&change.name, &change.before), value(&change.name, &change.after))
}

/// What became of which issuer, by the name that people know; JSON has the rest.
fn issuers(change: &MemberChange) -> String {
    let by_name = |value: &Value| -> BTreeMap<String, Value> {
        let issuers = value.as_array().into_iter().flatten();
        let named = issuers.filter_map(|issuer| Some((issuer.get("name")?.as_str()?.to_owned(), issuer.clone())));
        named.collect()
    };
    let (before, after) = (by_name(&change.before), by_name(&change.after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let told = names.into_iter().filter_map(|name| match (before.get(name), after.get(name)) {
        (None, Some(_)) => Some(format!("added {name}")),
        (Some(_), None) => Some(format!("removed {name}")),
        (before, after) => (before != after).then(|| format!("changed {name}")),
    });
    told.collect::<Vec<_>>().join(", ")
}

fn value(name: &str, value: &Value) -> String {
    let text = match value {
        Value::Object(_) => value.to_string(),
        Value::Array(values) if values.iter().any(Value::is_object) => value.to_string(),
        value => output::member_text(name, value, "not set").replace('\n', ", "),
    };
    let text = plain(&text);
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None if text.is_empty() => "none".to_owned(),
        None => text,
    }
}

/// What may be written to a terminal, whoever has written it into the store.
fn plain(text: &str) -> String {
    terminal::printable_line(text)
}

fn outcome(outcome: Outcome, effect: Option<&'static str>) -> String {
    let ended = match (outcome, effect) {
        (Outcome::Done | Outcome::Refused, _) => "",
        (_, Some("carried_out")) => ": the record has the change",
        (_, Some(_)) => ": the record does not have the change",
        (Outcome::Started, None) => ": it is not known whether it was carried out",
        (Outcome::Failed, None) => ": part of it may have been carried out",
    };
    format!("{}{ended}", outcome.as_str())
}

/// A longer value is cut in a table.
const LONGEST_VALUE: usize = 40;
