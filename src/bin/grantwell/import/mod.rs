//! `grantwell import`: an export of another product becomes a file of declarations, and of each member that it has is said what
//! becomes of it. Nothing is changed anywhere, and no secret is taken over.

mod auth0;
mod client;
mod document;
mod export;
mod forgerock;
mod hydra;
mod keycloak;
mod keys;
mod product;
mod report;
mod source;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use grantwell::core::declaration::DeclarationName;
use grantwell::core::realm::RealmName;
use serde_json::Value;

use crate::failure::Failure;
use crate::output::{self, Format};
use crate::terminal;
use document::Document;
use export::Export;
use product::Product;
use report::Report;
use source::Malformed;

/// `grantwell import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  grantwell import --from hydra clients.json > realm.yaml
  hydra list oauth2-clients --format json | grantwell import --from hydra -
  grantwell import --from keycloak alpha-realm.json --out realm.yaml
  grantwell import --from forgerock clients.json --realm alpha --name am
  grantwell apply -f realm.yaml --plan

The file goes to standard output. What became of each member goes to standard error.

Exit status: 0 the file was made; 1 it was not; 2 the command line is wrong.")]
pub(crate) struct Arguments {
    /// The product that the export is of
    #[arg(long, value_name = "PRODUCT", value_enum)]
    from: Product,
    /// The export, in JSON or YAML; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The name that the file has, which is what keeps its records from those of another [default: from-PRODUCT]
    #[arg(long, value_name = "NAME")]
    name: Option<DeclarationName>,
    /// The realm that the clients are declared in [default: that of the export, for Keycloak; root elsewhere]
    #[arg(long, value_name = "NAME")]
    realm: Option<RealmName>,
    /// Writes the file here instead; a file that exists is not overwritten
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How to say what became of each member
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    output: Format,
}

/// Runs the command.
///
/// # Errors
/// A [`Failure`] that says what to do. It repeats nothing of the file but names.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { from, file, name, realm, out, output } = arguments;
    let place = crate::document::name_of(file);
    let value = crate::document::read(file, MAX_BYTES).and_then(|text| crate::document::parse(&text));
    let value = value.map_err(|fault| Failure::new(fault.of(&place)))?;
    let name = match name {
        Some(name) => name.clone(),
        None => format!("from-{}", from.as_str()).parse().map_err(|error| Failure::new(format!("{error}")))?,
    };

    // 1. What the export has.
    if value.is_null() {
        return Err(Failure::new(format!("{place} is empty")));
    }
    let of_file = |error: Malformed| Failure::new(format!("{place}: {error}"));
    let (document, report) = import(value, *from, realm.as_ref(), &name).map_err(of_file)?;

    // 2. What becomes of it.
    let written = if report.taken == 0 { Ok(()) } else { write(&document, *from, &report, out.as_deref()) };
    say(&report, *output)?;
    written?;
    if let Some(path) = out.as_deref().filter(|path| report.taken > 0 && *path != Path::new("-"))
        && matches!(output, Format::Table)
    {
        output::note(&format!(
            "the file is {0}, which has no secret; see what it would do with: grantwell apply -f {0} --plan",
            path.display()
        ));
    }
    if report.taken == 0 {
        return Err(Failure::new(format!("{place} has no client that can be taken, so there is no file")));
    }
    Ok(())
}

/// The file that an export becomes, and what becomes of each of its members. Reads and writes nothing.
fn import(
    value: Value,
    from: Product,
    realm: Option<&RealmName>,
    name: &DeclarationName,
) -> Result<(Document, Report), Malformed> {
    let mut export = read(value, from, realm)?;
    let document = Document::of(&mut export, name)?;
    Ok((document, report(export, from, name)))
}

/// What an export has, as far as this server knows it.
fn read(value: Value, from: Product, realm: Option<&RealmName>) -> Result<Export, Malformed> {
    if let Some(other) = from.mistaken_for(&value) {
        let why = format!("it looks like an export of {}; import it with --from {}", other.title(), other.as_str());
        return Err(Malformed::new("the export", why));
    }
    let of_realm = realm.cloned().unwrap_or_else(RealmName::root);
    let export = match from {
        Product::Hydra => hydra::export(value, &of_realm),
        Product::Keycloak => keycloak::export(value, realm),
        Product::Forgerock => forgerock::export(value, &of_realm),
        Product::Auth0 => auth0::export(value, &of_realm),
    }?;
    if export.clients.is_empty() {
        let why = format!("it has no clients; an export of {} is {}", from.title(), from.forms());
        return Err(Malformed::new("the export", why));
    }
    Ok(export)
}

fn report(export: Export, from: Product, name: &DeclarationName) -> Report {
    let clients: Vec<_> = export.clients.into_iter().map(client::Client::report).collect();
    let left_out = clients.iter().filter(|client| client.why.is_some()).count();
    Report {
        from: from.as_str(),
        name: name.to_string(),
        taken: clients.len() - left_out,
        left_out,
        new_secrets: clients.iter().filter(|client| client.new_secret).count(),
        members: export.lines,
        clients,
    }
}

fn write(document: &Document, from: Product, report: &Report, out: Option<&Path>) -> Result<(), Failure> {
    let yaml = document
        .yaml(from, report)
        .map_err(|error| Failure::new(format!("it could not be written as YAML: {error}")))?;
    let Some(path) = out.filter(|path| *path != Path::new("-")) else { return output::bytes(yaml.as_bytes()) };
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
        Failure::new(match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{} exists, and nothing was written; name another file, or remove it first", path.display())
            }
            _ => format!("{} could not be written: {error}", path.display()),
        })
    })?;
    file.write_all(yaml.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        // Half a file would be taken for a whole one by whoever does not prune.
        let _nothing_left_either_way = fs::remove_file(path);
        Failure::new(format!("{} could not be written: {error}", path.display()))
    })
}

/// On standard error: standard output has the file.
fn say(report: &Report, format: Format) -> Result<(), Failure> {
    let text = match format {
        Format::Table => report.text(terminal::width_of(&io::stderr())),
        Format::Json => serde_json::to_string_pretty(report)
            .map(|json| json + "\n")
            .map_err(|error| Failure::new(format!("the report could not be written as JSON: {error}")))?,
    };
    // Not eprintln!, which panics where stderr is closed.
    let _nobody_to_tell = io::stderr().write_all(text.as_bytes());
    Ok(())
}

/// A realm of Keycloak with thousands of clients has less.
const MAX_BYTES: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests;
