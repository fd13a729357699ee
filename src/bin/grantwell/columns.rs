//! Rows in columns, printed while they are read: on a terminal they fit its width, elsewhere each row is one line, for grep. Their texts are
//! anybody's, and are escaped.

use std::iter;

use textwrap::core::display_width;
use textwrap::{Options, WordSplitter};

use crate::terminal::printable_line;

/// Columns whose widths are settled by the first rows, so that the others need not be known.
#[derive(Debug)]
pub(crate) struct Columns {
    widths: Vec<usize>,
    /// None where nothing needs to fit.
    terminal: Option<usize>,
}

impl Columns {
    /// Columns for `rows`, the headings among them, and for those that follow.
    pub(crate) fn fitting<'a>(rows: impl IntoIterator<Item = &'a Vec<String>> + Copy, terminal: Option<usize>) -> Self {
        let Some(terminal) = terminal else {
            return Self { widths: widest(rows, |cell| Some(display_width(cell))), terminal };
        };
        let most_of_names = (terminal * NAMES_SHARE / 100).max(NARROWEST);
        let mut widths = widest(rows, |cell| Some(display_width(cell)));
        let names = widest(rows, |cell| Some(display_width(cell)).filter(|width| *width <= most_of_names));
        if let (Some(width), Some(name)) = (widths.first_mut(), names.first()) {
            *width = *name;
        }
        let words = widest(rows, |cell| cell.split_whitespace().map(display_width).max());
        shrink(&mut widths, &words, terminal.saturating_sub(GAP.len() * words.len().saturating_sub(1)));
        Self { widths, terminal: Some(terminal) }
    }

    /// The lines of one row. Its name, the first cell, is never broken, because it is there to be copied: where it is longer than its
    /// column it has a line of its own.
    pub(crate) fn row(&self, cells: &[String]) -> String {
        let cells: Vec<String> = cells.iter().map(|cell| printable_line(cell)).collect();
        let mut text = String::new();
        let mut columns: Vec<Vec<String>> =
            self.widths.iter().zip(&cells).map(|(width, cell)| self.wrapped(cell, *width)).collect();
        if let (Some(width), Some(name), Some(cell)) = (self.widths.first(), columns.first_mut(), cells.first()) {
            *name = vec![cell.clone()];
            if self.terminal.is_some() && display_width(cell) > *width {
                text = format!("{cell}\n");
                name.clear();
            }
        }
        let height = columns.iter().map(Vec::len).max().unwrap_or_default();
        for line in 0..height {
            let cells = columns.iter().zip(&self.widths).map(|(lines, width)| {
                let cell = lines.get(line).map_or("", String::as_str);
                let padding = width.saturating_sub(display_width(cell));
                cell.chars().chain(iter::repeat_n(' ', padding)).collect::<String>()
            });
            text.push_str(cells.collect::<Vec<_>>().join(GAP).trim_end());
            text.push('\n');
        }
        text
    }

    /// A line under each heading.
    pub(crate) fn rule(&self) -> String {
        self.row(&self.widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>())
    }

    fn wrapped(&self, cell: &str, width: usize) -> Vec<String> {
        if self.terminal.is_none() {
            return vec![cell.to_owned()];
        }
        let at_spaces = Options::new(width).word_splitter(WordSplitter::NoHyphenation);
        textwrap::wrap(cell, at_spaces).into_iter().map(String::from).collect()
    }
}

/// The largest of what `width` says of the cells of each column.
fn widest<'a>(rows: impl IntoIterator<Item = &'a Vec<String>>, width: impl Fn(&str) -> Option<usize>) -> Vec<usize> {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(&printable_line(cell)).unwrap_or_default().max(*widest);
        }
    }
    widths
}

/// Takes from the widest column until all fit, without breaking a word of any but the first, which has the names; then from that,
/// whose names may have lines of their own; and only then where it breaks words.
fn shrink(widths: &mut [usize], words: &[usize], available: usize) {
    let excess = |widths: &[usize]| widths.iter().sum::<usize>().saturating_sub(available);
    for breaks_words in [false, true] {
        while excess(widths) > 0 {
            let columns = widths.iter_mut().zip(words).skip(1);
            let may_be_narrower =
                columns.filter(|(width, word)| **width > if breaks_words { NARROWEST } else { NARROWEST.max(**word) });
            let Some((widest, _)) = may_be_narrower.max_by_key(|(width, _)| **width) else { break };
            *widest -= 1;
        }
        let left = excess(widths);
        if let Some(names) = widths.first_mut() {
            *names = (*names).min(names.saturating_sub(left).max(NARROWEST));
        }
    }
}

const GAP: &str = "  ";
/// No column becomes narrower than this: it holds a status, a number of seconds and most headings.
const NARROWEST: usize = 9;
/// How many hundredths of a terminal the names may take, a generated id of 22 characters at 80. Longer ones have lines of their own.
const NAMES_SHARE: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn rows_fit_the_terminal_and_names_are_never_broken() {
        let long = "n".repeat(70);
        let rows = [
            cells(&["client_id", "name", "owners", "status", "scope"]),
            cells(&["c", "A client with a long name", "alice@example.com", "active", &"scope:read ".repeat(9)]),
            cells(&[&long, "漢字".repeat(30).as_str(), &"o".repeat(256), "disabled", ""]),
        ];
        for terminal in [80, 100, 120, 300] {
            let columns = Columns::fitting(&rows, Some(terminal));
            let printed: String = rows.iter().map(|row| columns.row(row)).chain([columns.rule()]).collect();
            assert!(printed.lines().all(|line| display_width(line) <= terminal), "{terminal}\n{printed}");
            assert!(printed.contains(&long), "{terminal}\n{printed}");
            assert!(printed.contains("disabled"), "{terminal}\n{printed}");
        }
    }

    #[test]
    fn elsewhere_a_row_is_a_line_whatever_the_first_ones_were() {
        let columns = Columns::fitting(&[cells(&["id", "name"])], None);
        let long = "n".repeat(300);
        assert_eq!(columns.row(&cells(&[&long, "a b"])), format!("{long}  a b\n"));
        assert_eq!(columns.row(&cells(&["c", ""])), "c\n");
    }

    #[test]
    fn a_row_that_follows_keeps_to_the_columns_of_the_first() {
        let columns = Columns::fitting(&[cells(&["id", "scope"]), cells(&["c", "read"])], Some(80));
        assert_eq!(columns.row(&cells(&["long", "read write"])), "long\n    read\n    write\n");
    }
}
