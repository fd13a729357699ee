//! `--yes`: what cannot be undone is asked for once more, where there is somebody to ask.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Write};

use crate::failure::Failure;

/// Whether a command asks.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfirmArguments {
    /// Does not ask whether to go on
    #[arg(long, short = 'y')]
    yes: bool,
}

/// What a command does where standard input is not a terminal, so that nobody can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unattended {
    /// It goes on: there are scripts from before it asked.
    GoesOn,
    /// It ends, unless it has `--yes`.
    Ends,
}

impl ConfirmArguments {
    /// Asks whether to do `what`: "delete it, which cannot be taken back".
    ///
    /// # Errors
    /// A [`Failure`] where the answer is not yes. Then the command must not have changed anything.
    pub(crate) fn confirm(&self, what: &str, unattended: Unattended) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return match unattended {
                Unattended::GoesOn => Ok(()),
                Unattended::Ends => Err(Failure::Misuse(format!(
                    "nothing was changed, because standard input is not a terminal, so you could not be asked; to {what}, repeat the command \
                     with --yes"
                ))),
            };
        }
        ask(&format!("You are about to {what}.\nGo on? Type yes: "))
            .map_err(|error| {
                Failure::new(format!("the terminal cannot be used to ask, so nothing was changed: {error}"))
            })?
            .then_some(())
            .ok_or_else(|| Failure::new("nothing was changed, because the answer was not yes"))
    }
}

/// Whether the answer is yes.
fn ask(question: &str) -> io::Result<bool> {
    if io::stderr().is_terminal() {
        put(&mut io::stderr(), question)?;
    } else {
        // Whoever keeps the remarks in a file sits at the terminal all the same.
        put(&mut OpenOptions::new().write(true).open("/dev/tty")?, question)?;
    }
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

fn put(terminal: &mut impl Write, question: &str) -> io::Result<()> {
    terminal.write_all(question.as_bytes())?;
    terminal.flush()
}
