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
        match line::decision(&line).filter(|_| is_whole) {
            Some(decision) => tally.count(decision),
            None => lines.skipped += 1,
        }
        if !is_whole {
            log.skip_until(b'\n')?;
        }
    }
}

/// A log event of CloudWatch has at most 1 MiB.
const LONGEST_LINE: u64 = 2 * 1024 * 1024;
