//! One line on a terminal that says how far it is.

use std::io::{self, IsTerminal as _, Write as _};

/// The line. It goes when this is dropped; where standard error is no terminal there is none.
pub(super) struct Bar {
    is_seen: bool,
}

impl Bar {
    pub(super) fn of_stderr() -> Self {
        Self { is_seen: io::stderr().is_terminal() }
    }

    /// Says `text`, which is shorter than any terminal is wide.
    pub(super) fn show(&self, text: &str) {
        if self.is_seen {
            let _nobody_to_tell = write!(io::stderr(), "\r\x1b[K{text}");
        }
    }
}

impl Bar {
    /// Takes the line away, so that something else can be said.
    pub(super) fn clear(&self) {
        self.show("");
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
