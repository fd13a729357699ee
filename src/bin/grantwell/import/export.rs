//! An export as it is read: its realms, its clients, and what is said of the rest.

use grantwell::core::members::Members;
use grantwell::core::realm::RealmName;
use serde_json::Value;

use super::client::Client;
use super::report::{Fate, Line};
use super::source::{Malformed, Source, Taken, shape, shown};

/// What an export has, as this server knows it.
#[derive(Debug, Default)]
pub(super) struct Export {
    /// Realms with their settings.
    pub(super) realms: Vec<(RealmName, Members)>,
    /// Clients, those among them that are left out.
    pub(super) clients: Vec<Client>,
    /// What is said of members that are no client's.
    pub(super) lines: Vec<Line>,
}

impl Export {
    /// Says that a member of the export has no place in the file.
    pub(super) fn not_taken(&mut self, taken: &Taken<Value>, what: impl Into<String>) {
        let (member, value) = (taken.member.clone(), taken.shape.clone());
        self.lines.push(Line { member, value, becomes: Fate::LeftOut, what: what.into() });
    }

    /// Says of everything that is left beside the clients that it is not about clients: one line, as there is much of it.
    pub(super) fn beside(&mut self, source: &mut Source) {
        let rest = source.rest();
        let Some((first, others)) = rest.split_first() else { return };
        let names: Vec<&str> = others.iter().take(NAMED).map(|taken| taken.member.as_str()).collect();
        let more = match others.len().saturating_sub(names.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let with = if names.is_empty() { String::new() } else { format!("; neither are {}{more}", names.join(", ")) };
        self.not_taken(first, format!("it is not about clients{with}"));
    }

    /// Says that there are more clients than the file has, as where a list is answered by the page.
    pub(super) fn incomplete(&mut self, member: &str, value: &Value) {
        self.lines.push(Line {
            member: member.to_owned(),
            value: shape(value),
            becomes: Fate::LeftOut,
            what: "the export is one page of several, and the clients of the others are not in it: export them, too"
                .to_owned(),
        });
    }
}

/// The elements of a list with where each is.
pub(super) fn placed(place: &str, values: Vec<Value>) -> impl Iterator<Item = Result<Source, Malformed>> {
    values.into_iter().enumerate().map(move |(index, value)| Source::of(format!("{place}[{index}]"), value))
}

/// The members of an object that are objects themselves, each with its name.
pub(super) fn named(place: &str, value: Value) -> Result<Vec<(String, Source)>, Malformed> {
    let Value::Object(members) = value else {
        return Err(Malformed::new(place, "it is an object that has each client under its name"));
    };
    let each = |(name, value): (String, Value)| {
        let source = Source::of(format!("{place}.{}", shown(&name)), value)?;
        Ok((name, source))
    };
    members.into_iter().map(each).collect()
}

const NAMED: usize = 6;
