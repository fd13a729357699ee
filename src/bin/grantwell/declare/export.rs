//! `grantwell export`.

use grantwell::core::declaration::DeclarationName;
use grantwell::core::management::plan::Exported;
use grantwell::core::realm::RealmName;

use super::registry;
use crate::failure::Failure;
use crate::output;
use crate::schema;
use crate::store::{IfAbsent, StoreArguments};

/// `grantwell export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  grantwell export --name team-a > realm.yaml
  grantwell apply -f realm.yaml --adopt
  grantwell schema > declaration.schema.json

The file has no secrets. To apply it changes nothing but to whose file the records belong. With the schema beside it, editors complete and
check it.")]
pub(crate) struct Arguments {
    /// The name that the file has
    #[arg(long, value_name = "NAME", default_value = "exported")]
    name: DeclarationName,
    /// Only this realm with its issuers, its clients and their owners; may be repeated [default: every realm]
    #[arg(long, value_name = "NAME")]
    realm: Vec<RealmName>,
    /// How to print it
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "yaml")]
    output: Language,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    Yaml,
    Json,
}

/// Runs the command.
///
/// # Errors
/// A [`Failure`] that says what to do.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let store = arguments.store.name()?.open(IfAbsent::Refuse).await?;
    let wanted = &arguments.realm;
    let stored = registry::of_realms(store.management(), |realm| wanted.is_empty() || wanted.contains(realm)).await?;
    if let Some(unknown) = wanted.iter().find(|name| stored.realm(name).is_none()) {
        return Err(Failure::new(format!("realm '{unknown}' does not exist; list them with: grantwell realm list")));
    }
    let stored = if wanted.is_empty() { stored } else { stored.without_idle_owners() };
    let document = Exported::new(&arguments.name, &stored);
    match arguments.output {
        Language::Json => output::json(&WithSchema { schema: schema::DECLARATION, document }),
        Language::Yaml => {
            let yaml = serde_saphyr::to_string(&document)
                .map_err(|error| Failure::new(format!("it could not be written as YAML: {error}")))?;
            let schema = schema::DECLARATION;
            output::text(&format!("# yaml-language-server: $schema={schema}\n{}\n...", yaml.trim_end()))
        }
    }
}

/// A file that says by which schema editors complete it.
#[derive(serde::Serialize)]
struct WithSchema<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    #[serde(flatten)]
    document: Exported<'a>,
}
