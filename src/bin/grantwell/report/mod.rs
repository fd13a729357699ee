//! `grantwell report`: what a server's log says about its clients.

mod line;
mod log;
mod tally;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;

use serde::Serialize;

use grantwell::core::time::UnixSeconds;

use self::log::{Lines, read};
use self::tally::{ClientUsage, Tally};
use crate::failure::Failure;
use crate::output::{self, OutputArguments};

/// `grantwell report …`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  grantwell report tokens server.log")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists the clients that fetch far more tokens than they need, the worst first
    ///
    /// Reads the lines of a log and asks no server: those of `grantwell serve --log-format json`, or those of the functions as
    /// `aws logs tail --format short` prints them, of all log groups together. What stands before and after the JSON of a line does
    /// not matter, nor whether a collector has put it into an object of its own; other lines are skipped, and counted. It remembers some 100 bytes for each token.
    ///
    /// issued: tokens that the client got. used: those that an introspection found active or the Lambda authorizer let pass. A JWT that
    /// a resource server validates by itself is never asked about: a token that is not among the used ones need not be unused.
    /// early: those that the client got while it could have had another one of the same scope with more than a tenth of its
    /// life left. ratio: tokens issued for each that a client which keeps its tokens would have fetched; 1 is a client that does.
    /// A client of many processes that do not share their tokens has as high a ratio as there are processes.
    #[command(after_help = "Examples:
  grantwell report tokens server.log --min-ratio 2
  for function in token introspect authorizer; do
    aws logs tail /aws/lambda/grantwell-$function --since 1d --format short
  done | grantwell report tokens --output json -")]
    Tokens(Tokens),
}

#[derive(Debug, clap::Args)]
struct Tokens {
    /// The log; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,
    /// Lists only clients with at least this ratio
    #[arg(long, value_name = "RATIO", default_value_t = 1.0, value_parser = ratio)]
    min_ratio: f64,
    #[command(flatten)]
    output: OutputArguments,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Report {
    clients: Vec<ClientUsage>,
    /// When the first and the last of the tokens were issued.
    first_issued_at: Option<UnixSeconds>,
    last_issued_at: Option<UnixSeconds>,
    lines: Lines,
    notes: Vec<&'static str>,
}

/// The text is no ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ratio is a number of 1 or more")]
struct MalformedRatio;

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Tokens(tokens) => tokens.run(),
    }
}

impl Tokens {
    fn run(self) -> Result<(), Failure> {
        let (mut tally, mut lines) = (Tally::default(), Lines::default());
        for file in &self.files {
            let failed = |error: io::Error| Failure::new(format!("{} cannot be read: {error}", file.display()));
            if file.as_os_str() == "-" {
                read(&mut io::stdin().lock(), &mut tally, &mut lines).map_err(failed)?;
            } else {
                let opened = File::open(file).map_err(failed)?;
                read(&mut BufReader::new(opened), &mut tally, &mut lines).map_err(failed)?;
            }
        }
        let issued = tally.issued_between();
        let mut clients = tally.finish();
        clients.retain(|client| client.ratio >= self.min_ratio);
        let report = Report {
            clients,
            first_issued_at: issued.map(|(first, _)| first),
            last_issued_at: issued.map(|(_, last)| last),
            lines,
            notes: NOTES.into_iter().chain((lines.text > 0).then_some(TEXT_LOG)).collect(),
        };
        self.output.print(&report, Report::table)
    }
}

impl Report {
    fn table(&self) -> String {
        let Lines { read, skipped, dropped, text } = self.lines;
        let dropped = match dropped {
            0 => String::new(),
            _ => format!("; the server had dropped {dropped} more, and what they said is not counted"),
        };
        let (about_none, for_people) = match text {
            0 => (skipped, String::new()),
            _ => (skipped.saturating_sub(text), format!(", and {text} are in the form for people")),
        };
        let skipped = format!(
            "{read} lines read, of which {about_none} are about no token{for_people} and were skipped{dropped}"
        );
        let (Some(first), Some(last)) = (self.first_issued_at, self.last_issued_at) else {
            let advice = if text > 0 { TEXT_LOG } else { OTHER_LOG };
            return format!(
                "no line says that a token was issued; the log must be JSON and of level info\n\n- {skipped}\n- {advice}"
            );
        };
        let row = |client: &ClientUsage| {
            vec![
                client.client_id.to_string(),
                client.realm.to_string(),
                client.issued.to_string(),
                client.used.to_string(),
                client.early.to_string(),
                format!("{:.2}", client.ratio),
            ]
        };
        let rows: Vec<_> = self.clients.iter().map(row).collect();
        // A generated id has 22 characters.
        let table = output::table(&["client_id", "realm", "issued", "used", "early", "ratio"], 22, &rows);
        let span = format!("issued from {} to {}", output::utc(first), output::utc(last));
        let notes = self.notes.iter().map(|note| format!("\n- {note}"));
        format!("{table}\n\n- {span}\n- {skipped}{}", notes.collect::<String>())
    }
}

fn ratio(text: &str) -> Result<f64, MalformedRatio> {
    text.parse().ok().filter(|ratio: &f64| ratio.is_finite() && *ratio >= 1.0).ok_or(MalformedRatio)
}

/// What to do about a log for people.
const TEXT_LOG: &str = "lines about tokens were found in the form for people, which cannot be counted: start the server with \
                        `grantwell serve --log-format json`, and report on what it logs from then on";
/// What to do about a log in which there is nothing.
const OTHER_LOG: &str = "`grantwell serve --log-format json` writes such lines, unless GRANTWELL_LOG_LEVEL is warn or error; the functions \
                         of a stack write them to CloudWatch, as the examples of --help show";
const NOTES: [&str; 2] = [
    "used: an introspection found it active, or the authorizer let it pass; a JWT that a resource server validates by itself is \
     never asked about, so not seen is not unused",
    "early: while the token of the same scope that a client which keeps its tokens would have held had more than a tenth of its \
     life left; ratio: tokens issued for each that such a client would have fetched",
];
