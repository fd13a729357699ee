//! `grantwell completion`: a script with which a shell completes the command's words.

use clap::Command;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output;

/// `grantwell completion …`
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell that reads the script
    #[arg(value_name = "SHELL", value_enum)]
    shell: CompletedShell,
}

/// A shell with which the script is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CompletedShell {
    Bash,
    Zsh,
    Fish,
}

/// Writes the script for `command`.
pub(crate) fn run(arguments: &Arguments, mut command: Command) -> Result<(), Failure> {
    let shell = match arguments.shell {
        CompletedShell::Bash => Shell::Bash,
        CompletedShell::Zsh => Shell::Zsh,
        CompletedShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, env!("CARGO_BIN_NAME"), &mut script);
    output::bytes(&script)
}
