//! The lines of a log.

use std::io::{self, BufRead, Read as _};

use serde::Serialize;

use super::line;
use super::tally::Tally;

/// What became of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Lines {
    pub(super) read: u64,
    pub(super) skipped: u64,
    /// By the server, which could not write them: what they said is not counted.
    #[serde(skip_serializing_if = "is_none")]
    pub(super) dropped: u64,
    /// Lines about tokens in the form for people, which are skipped.
    #[serde(skip_serializing_if = "is_none")]
    pub(super) text: u64,
}

/// Counts what the lines of a log say. A line that is longer than any of ours is skipped without being held.
pub(super) fn read(log: &mut impl BufRead, tally: &mut Tally, lines: &mut Lines) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = log.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(());
        }
        lines.read += 1;
        let is_whole = line.ends_with(b"\n") || (length as u64) < LONGEST_LINE;
        if let Some(decision) = line::decision(&line).filter(|_| is_whole) {
            tally.count(decision);
        } else {
            lines.skipped += 1;
            lines.dropped = lines.dropped.saturating_add(line::dropped(&line));
            lines.text += u64::from(line::is_text(&line));
        }
        if !is_whole {
            log.skip_until(b'\n')?;
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_none(lines: &u64) -> bool {
    *lines == 0
}

/// A log event of CloudWatch has at most 1 MiB.
const LONGEST_LINE: u64 = 2 * 1024 * 1024;
