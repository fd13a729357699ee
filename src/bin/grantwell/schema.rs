//! `grantwell schema`: the JSON Schemas by which editors complete and check files that people write.

use crate::failure::Failure;
use crate::output;

/// `grantwell schema`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Of which files
    #[arg(value_enum, default_value = "declaration")]
    of: Files,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Files {
    /// What `grantwell apply` reads and `grantwell export` writes
    Declaration,
    /// What --trust reads
    TrustRules,
}

/// Runs the command.
///
/// # Errors
/// A [`Failure`] where it could not be printed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let schema = match arguments.of {
        Files::Declaration => include_str!("../../../docs/schemas/declaration.schema.json"),
        Files::TrustRules => include_str!("../../../docs/schemas/trust-rules.schema.json"),
    };
    output::bytes(schema.as_bytes())
}

/// Where files look for the schema of declarations: beside them. It is as old as the program that wrote both, it needs no network, and
/// nobody else can change it.
pub(crate) const DECLARATION: &str = "declaration.schema.json";
