//! Files of declarations: YAML or JSON, one, several, or a folder of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::Failure;
use crate::input::{name_of, text};

/// What was read, each with the name of its file.
pub(super) struct Documents {
    parsed: Vec<(String, Value)>,
    /// Those whose end may be missing without anybody noticing.
    open_ended: Vec<String>,
}

impl Documents {
    /// Reads every file, and those of every folder in the order of their names.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut documents = Self { parsed: Vec::new(), open_ended: Vec::new() };
        for path in paths {
            for file in files_of(path)? {
                let (name, text) = (name_of(&file), text(&file)?);
                let value = parse(&name, &text)?;
                if !has_end(&text) {
                    documents.open_ended.push(name.clone());
                }
                documents.parsed.push((name, value));
            }
        }
        Ok(documents)
    }

    pub(super) fn as_slice(&self) -> &[(String, Value)] {
        &self.parsed
    }

    /// Refuses files that may have been cut off: what is missing at the end would be deleted.
    pub(super) fn require_whole(&self) -> Result<(), Failure> {
        match self.open_ended.first() {
            None => Ok(()),
            Some(file) => Err(Failure::new(format!(
                "{file} may have been cut off: with --prune a YAML file has to end with a line `...`, the mark of YAML for the end of a \
                 document, because what is missing at its end would be deleted; add that line"
            ))),
        }
    }
}

fn parse(name: &str, text: &str) -> Result<Value, Failure> {
    if text.trim_start().starts_with('{') {
        // JSON is YAML, too, but its own reader says better what is wrong with it.
        if let Ok(value) = serde_json::from_str(text) {
            return Ok(value);
        }
    }
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(text).map_err(|error| Failure::new(format!("{name} is neither YAML nor JSON: {error}")))
}

/// Whether a text shows that nothing is missing at its end: JSON closes what it opens, and YAML has a mark for it.
fn has_end(text: &str) -> bool {
    let is_json = text.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    is_json || text.trim_end().lines().next_back() == Some("...")
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error: io::Error| Failure::new(format!("{} could not be read: {error}", path.display()));
    let entries = fs::read_dir(path).map_err(failed)?.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    let is_ours = |path: &PathBuf| {
        path.is_file()
            && path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|ours| extension == *ours))
    };
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_ours).collect();
    if files.is_empty() {
        return Err(Failure::new(format!("{} has no files whose names end in .yaml, .yml or .json", path.display())));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_are_the_same() {
        let expected =
            json!({ "name": "a", "clients": [{ "client_id": "x", "scope": "read", "access_token_lifetime": 60 }] });
        for text in [
            "name: a\nclients:\n  - client_id: x\n    scope: read\n    access_token_lifetime: 60\n",
            "---\nname: a\nclients:\n- {client_id: x, scope: read, access_token_lifetime: 60}\n...\n",
            r#"{"name":"a","clients":[{"client_id":"x","scope":"read","access_token_lifetime":60}]}"#,
        ] {
            assert_eq!(parse("a.yaml", text).expect("a document"), expected, "{text}");
        }
        for text in ["name: a\nname: b\n", "name: [a\n", "{\"name\": ", "a: *nobody\n"] {
            assert!(parse("a.yaml", text).is_err(), "{text}");
        }
        assert_eq!(parse("a.yaml", " \n").expect("nothing"), Value::Null);
    }

    #[test]
    fn an_end_is_marked_or_the_languages_own() {
        for (text, expected) in [
            ("name: a\n", false),
            ("name: a\n...", true),
            ("name: a\n...\n\n", true),
            ("name: a\n...\nname: b\n", false),
            ("{\"name\": \"a\"}\n", true),
            ("{\"name\": \"a\"", false),
        ] {
            assert_eq!(has_end(text), expected, "{text}");
        }
    }
}
