//! The published JSON Schema of trust rules is what the types say, and its examples are what the code says.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::core::trust::rule::TrustRules;
use crate::core::trust::written::{WrittenRule, WrittenText};

/// One rule, a list of rules, or an object with the list as its member `trust`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "trust rules")]
#[expect(dead_code, clippy::large_enum_variant, reason = "its form is all that is wanted")]
enum TrustFile {
    Rule(WrittenRule),
    Rules(#[schemars(length(min = 1, max = 50))] Vec<WrittenRule>),
    Registration(Registration),
}

/// Rules as a registration has them.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "registration")]
#[expect(dead_code, reason = "its form is all that is wanted")]
struct Registration {
    /// The rules of one client.
    #[schemars(length(min = 1, max = 50))]
    trust: Vec<WrittenRule>,
}

impl JsonSchema for WrittenText {
    fn schema_name() -> Cow<'static, str> {
        "text".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A text, or what has exactly one: a whole number, true or false.",
            "type": ["string", "integer", "boolean"],
            "maxLength": 1024
        })
    }
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<TrustFile>();
    let written = format!("{:#}\n", schema.as_value());
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas/trust-rules.schema.json");
    if fs::read_to_string(&published).unwrap_or_default() != written {
        let new = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/trust-rules.schema.json");
        fs::write(&new, written).expect("target can be written");
        panic!("{} is outdated: copy {} over it", published.display(), new.display());
    }
}

#[test]
fn the_examples_of_the_schema_are_read_as_they_are_filed() {
    let examples: Value =
        serde_json::from_str(include_str!("../../../../docs/schemas/trust-rules.examples.json")).expect("JSON");
    for (name, is_valid) in [("valid", true), ("invalid", false)] {
        let examples = examples[name].as_array().expect("a list");
        assert!(!examples.is_empty());
        for example in examples {
            let read = TrustRules::parse(vec![example.clone()]);
            assert_eq!(read.is_ok(), is_valid, "{example}: {read:?}");
        }
    }
}
