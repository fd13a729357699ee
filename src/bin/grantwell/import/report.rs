//! What became of an export, member by member: as tables for people, and as JSON.

use serde::Serialize;

use crate::columns::Columns;

/// What became of everything in an export.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The product.
    pub(super) from: &'static str,
    /// The name that the file has.
    pub(super) name: String,
    /// How many clients the file declares.
    pub(super) taken: usize,
    /// How many it does not.
    pub(super) left_out: usize,
    /// How many of those it declares get a new secret.
    pub(super) new_secrets: usize,
    /// What is no client's.
    pub(super) members: Vec<Line>,
    /// Each client.
    pub(super) clients: Vec<ClientReport>,
}

/// What became of one client.
#[derive(Debug, Serialize)]
pub(super) struct ClientReport {
    pub(super) realm: String,
    /// As it is in the export, with what a terminal would not show escaped.
    pub(super) client_id: String,
    pub(super) becomes: Fate,
    /// Why it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// Whether a secret is made for it when the file is applied.
    pub(super) new_secret: bool,
    pub(super) members: Vec<Line>,
}

/// What became of one member. Never has its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    pub(super) member: String,
    /// What kind of value it has.
    pub(super) value: String,
    pub(super) becomes: Fate,
    /// What it is taken as, or why not.
    pub(super) what: String,
}

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fate {
    /// It means the same here.
    Taken,
    /// It is there, and means something else.
    Changed,
    /// It is not there.
    LeftOut,
}

impl Report {
    /// For people: on a terminal as wide as it is, elsewhere with each member in one line.
    pub(super) fn text(&self, terminal: Option<usize>) -> String {
        let mut text = String::new();
        if !self.members.is_empty() {
            text.push_str("Of the export itself:\n");
            text.push_str(&table(&self.members, terminal));
            text.push('\n');
        }
        for client in &self.clients {
            let ClientReport { realm, client_id, why, members, .. } = client;
            let fate = why.as_ref().map_or_else(|| "taken".to_owned(), |why| format!("left out: {why}"));
            text.push_str(&wrapped(&format!("client '{client_id}' of realm '{realm}': {fate}"), terminal));
            text.push_str(&table(members, terminal));
            text.push('\n');
        }
        text + &wrapped(&self.summary(), terminal)
    }

    fn summary(&self) -> String {
        let secrets = match self.new_secrets {
            0 => String::new(),
            1 => " 1 client needs a new secret: apply makes it, and you give it to the application.".to_owned(),
            count => {
                format!(" {count} clients need new secrets: apply makes them, and you give them to the applications.")
            }
        };
        format!("{} taken, {} left out.{secrets}", clients(self.taken), self.left_out)
    }
}

/// A number of clients, for a sentence.
pub(super) fn clients(count: usize) -> String {
    if count == 1 { "1 client".to_owned() } else { format!("{count} clients") }
}

fn table(lines: &[Line], terminal: Option<usize>) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let row = |Line { member, value, becomes, what }: &Line| {
        let becomes = match becomes {
            Fate::Taken => "taken",
            Fate::Changed => "changed",
            Fate::LeftOut => "left out",
        };
        vec![member.clone(), value.clone(), format!("{becomes}: {what}")]
    };
    let heading = ["member", "value", "what becomes of it"].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = [heading].into_iter().chain(lines.iter().map(row)).collect();
    let columns = Columns::fitting(&rows, terminal);
    let mut lines = rows.iter().map(|row| columns.row(row));
    let heading: String = lines.next().into_iter().chain([columns.rule()]).collect();
    heading + &lines.collect::<String>()
}

/// A sentence in lines that fit.
fn wrapped(text: &str, terminal: Option<usize>) -> String {
    terminal.map_or_else(|| text.to_owned(), |columns| textwrap::fill(text, columns)) + "\n"
}
