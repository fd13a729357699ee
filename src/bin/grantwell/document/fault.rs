//! What is wrong with a file, and where.

use std::fmt;

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// What is wrong with it as a whole, as the end of a sentence about it.
    Whole(String),
    /// What is wrong at one place.
    At(Position, String),
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Counted from 1.
    pub(crate) line: u64,
    /// Counted from 1.
    pub(crate) column: u64,
}

impl Fault {
    /// The sentence about the file of this name.
    pub(crate) fn of(&self, name: &str) -> String {
        match self {
            Self::Whole(what) => format!("{name} {what}"),
            Self::At(position, what) => format!("{name}:{position}: {what}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(what) => write!(formatter, "it {what}"),
            Self::At(Position { line, column }, what) => write!(formatter, "line {line}, column {column}: {what}"),
        }
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Position {
    /// As compilers write it, and editors follow it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

pub(super) const ENDS_EARLY: &str = "the file ends before something that was begun: it may have been cut off";
