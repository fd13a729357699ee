//! Files of declarations: YAML or JSON, one, several, or a folder of them.

use std::cell::OnceCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use grantwell::core::management::plan::{Declaration, InvalidDeclaration};
use serde_json::Value;

use crate::document::{self, Outline, Position};
use crate::failure::Failure;

/// What was read, each with the name of its file.
pub(super) struct Documents {
    parsed: Vec<(String, Value)>,
    sources: Vec<Source>,
}

/// A file as it is written.
struct Source {
    name: String,
    text: String,
    /// Where in it everything is, once somebody asks.
    outline: OnceCell<Option<Outline>>,
}

impl Documents {
    /// Reads every file, and those of every folder in the order of their names.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        if paths.iter().filter(|path| path.as_path() == Path::new("-")).count() > 1 {
            return Err(Failure::new("standard input can be read only once: give - once"));
        }
        let mut documents = Self { parsed: Vec::new(), sources: Vec::new() };
        for path in paths {
            for file in files_of(path)? {
                let name = document::name_of(&file);
                let read = document::read(&file, MAX_BYTES).and_then(|text| Ok((document::parse(&text)?, text)));
                let (value, text) = read.map_err(|fault| Failure::new(fault.of(&name)))?;
                documents.parsed.push((name.clone(), value));
                documents.sources.push(Source { name, text, outline: OnceCell::new() });
            }
        }
        Ok(documents)
    }

    /// Each as it was read, with the name of its file.
    pub(super) fn parsed(&self) -> Vec<(String, Value)> {
        self.parsed.clone()
    }

    /// What they declare together.
    pub(super) fn declaration(&self) -> Result<Declaration, Failure> {
        Declaration::of(&self.parsed).map_err(|error| {
            let error = match error {
                InvalidDeclaration::Form { place, why } => {
                    InvalidDeclaration::Form { place: self.located(&place), why }
                }
                InvalidDeclaration::UnknownMember { place, member, why } => {
                    let place = self.placed(&place, |outline, inside| outline.position_of_member(inside, &member));
                    InvalidDeclaration::Form { place, why }
                }
                InvalidDeclaration::Twice { what, first, second } => {
                    InvalidDeclaration::Twice { what, first: self.located(&first), second: self.located(&second) }
                }
                error => error,
            };
            Failure::new(error.to_string())
        })
    }

    /// A place such as `realm.yaml: clients[0]`, with its line and column where they are known: `realm.yaml:12:5: clients[0]`.
    pub(super) fn located(&self, place: &str) -> String {
        self.placed(place, Outline::position)
    }

    /// The same, with the position that is found in the outline of the file.
    fn placed(&self, place: &str, position: impl Fn(&Outline, &str) -> Option<Position>) -> String {
        let source = self.sources.iter().find_map(|source| {
            let rest = place.strip_prefix(&source.name)?;
            let inside = rest.strip_prefix(": ").or_else(|| rest.is_empty().then_some(""))?;
            let outline = source.outline.get_or_init(|| Outline::of(&source.text)).as_ref()?;
            let position = position(outline, inside)?;
            Some(format!("{}:{position}{rest}", source.name))
        });
        source.unwrap_or_else(|| place.to_owned())
    }

    /// Refuses files that may have been cut off: what is missing at the end would be deleted.
    pub(super) fn require_whole(&self) -> Result<(), Failure> {
        match self.sources.iter().find(|source| !has_end(&source.text)) {
            None => Ok(()),
            Some(Source { name: file, .. }) => Err(Failure::new(format!(
                "{file} may have been cut off: with --prune a YAML file has to end with a line `...`, the mark of YAML for the end of a \
                 document, because what is missing at its end would be deleted; add that line"
            ))),
        }
    }
}

/// Whether a text shows that nothing is missing at its end: JSON closes what it opens, and YAML has a mark for it.
fn has_end(text: &str) -> bool {
    let is_json = text.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    is_json || text.trim_end().lines().next_back() == Some("...")
}

/// The files of a folder, and not those of folders in it. What is hidden is left out, which editors and other tools keep beside
/// files, and so is a JSON Schema.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error: io::Error| Failure::new(format!("{} could not be read: {error}", path.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if !has_our_name(&file) {
            continue;
        }
        // A link that leads nowhere is not left out: what it declared would be missing.
        let metadata = fs::metadata(&file)
            .map_err(|error| Failure::new(format!("{} could not be read: {error}", file.display())))?;
        if metadata.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Failure::new(format!("{} has no files whose names end in .yaml, .yml or .json", path.display())));
    }
    files.sort();
    Ok(files)
}

fn has_our_name(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    let is_left_out = name.starts_with(b".") || name.ends_with(b".schema.json");
    let extension = file.extension().unwrap_or_default();
    !is_left_out && ["yaml", "yml", "json"].iter().any(|ours| extension.eq_ignore_ascii_case(ours))
}

/// Far more than thousands of clients need.
pub(super) const MAX_BYTES: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_folder_is_its_files_in_order_without_what_is_hidden_and_without_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "b.yaml",
            "a.yml",
            "c.JSON",
            ".hidden.yaml",
            ".#b.yaml",
            "b.yaml~",
            "b.yaml.bak",
            "#b.yaml#",
            "declaration.schema.json",
            "README.md",
        ] {
            fs::write(folder.path().join(name), "name: a\n").expect("written");
        }
        fs::create_dir(folder.path().join("d.yaml")).expect("a folder");
        fs::write(folder.path().join("d.yaml").join("e.yaml"), "name: a\n").expect("written");
        let names = |files: Vec<PathBuf>| -> Vec<String> {
            files.iter().filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned())).collect()
        };
        assert_eq!(
            files_of(folder.path()).map(names).ok(),
            Some(["a.yml", "b.yaml", "c.JSON"].map(str::to_owned).to_vec())
        );

        let outside = tempfile::NamedTempFile::new().expect("a file");
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link.yaml")).expect("a link");
        assert_eq!(files_of(folder.path()).map(|files| files.len()).ok(), Some(4));
        drop(outside);
        let Err(Failure::Sentence(sentence)) = files_of(folder.path()) else { panic!("a link that leads nowhere") };
        assert!(sentence.contains("link.yaml could not be read: "), "{sentence}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let told = |text: &str| {
            let path = folder.path().join("realm.yaml");
            fs::write(&path, text).expect("written");
            match Documents::read(&[path]).and_then(|documents| documents.declaration()) {
                Err(Failure::Sentence(sentence)) => sentence.replace(&format!("{}/", folder.path().display()), ""),
                _ => panic!("{text}"),
            }
        };
        for (text, expected) in [
            ("", "realm.yaml is empty: it has to say at least its name"),
            (
                "name: a\nclients:\n  - client_id: 123\n",
                "realm.yaml:3:16: clients[0]: client_id: has to be text: write it in quotes",
            ),
            (
                "name: a\nclients:\n  - client_id: x\n    scope: true\n",
                "realm.yaml:4:12: clients[0]: scope: has to be text: write it in quotes",
            ),
            (
                "name: a\nclients:\n  - client_id: x\n    scopes: read\n",
                "realm.yaml:4:5: clients[0]: there is no member 'scopes'; did you mean 'scope'?",
            ),
            (
                "name: a\n\nclient:\n  - client_id: x\n",
                "realm.yaml:3:1: there is no member 'client'; did you mean 'clients'?",
            ),
            (
                "name: a\nclients:\n  - client_id: x\n    token_endpoint_auth_method: password\n",
                "realm.yaml:4:33: clients[0]: token_endpoint_auth_method: has to be client_secret_basic, client_secret_post, \
                 private_key_jwt, workload_identity or aws_iam",
            ),
            (
                "name: a\nclients:\n  - client_id: x\n    jwks_uri: http://x.example/keys\n",
                "realm.yaml:4:15: clients[0]: jwks_uri: keys are fetched from an https URL of at most 2048 characters, without a user name, a \
                 password or a fragment, such as https://app.example.com/jwks.json",
            ),
            (
                "name: a\nclients:\n  - client_id: null\n",
                "realm.yaml:3:16: clients[0]: client_id: has to be text, not null",
            ),
            (
                "name: a\nclients:\n  - client_id: x\n    token_quota: 5\n",
                "realm.yaml:4:18: clients[0]: token_quota: has to be text such as \"100/hour\", \"1000/day\" or \"none\"",
            ),
            (
                "{\"name\": \"a\", \"clients\": [\n{\"client_id\": \"x\", \"access_token_lifetime\": \"1h\"}]}",
                "realm.yaml:2:45: clients[0]: access_token_lifetime: has to be a whole number, without quotes and without a unit",
            ),
            (
                "name: a\nclients:\n- client_id: x\n  client_secret: s3cr3t-0123456789abcdef\n",
                "realm.yaml:4:18: clients[0]: client_secret: a file never has a secret: one is made when the client is registered; \
                 take it out, and replace the secret if others have seen the file",
            ),
            (
                "name: a\nclients:\n- client_id: x\n- client_id: x\n",
                "client 'x' of realm 'root' is declared twice: realm.yaml:3:3: clients[0] and realm.yaml:4:3: clients[1]",
            ),
            ("name: a\nclients:\n\t- client_id: x\n", "realm.yaml:3:1: a tab: YAML indents with spaces only"),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }
}
