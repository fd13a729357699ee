//! Which room of the sources may know which: read from every path in them, so that no import goes the wrong way unseen.
//!
//! Code of tests is left out. A file of `src/core` that [`CORE`] does not name is an endpoint. A row that names nothing fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};

#[test]
fn a_file_of_core_knows_only_its_own_layer_and_those_below() {
    let sources = Sources::read();
    let mut wrong = Vec::new();
    for (file, uses) in sources.of("core") {
        let from = layer(file);
        for target in uses.files.iter().filter(|target| target.starts_with("core/")) {
            let to = layer(target);
            if to > from {
                wrong.push(format!("{file} ({from:?}) uses {target} ({to:?})"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_row_of_the_table_of_core_names_a_file() {
    let sources = Sources::read();
    for (name, _) in CORE {
        assert!(sources.of("core").any(|(file, _)| is_in(file, &format!("core/{name}"))), "{name} is not in src/core");
    }
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let sources = Sources::read();
    let mut circles = Vec::new();
    for room in WITHOUT_CIRCLES {
        assert!(sources.of(room).next().is_some(), "src/{room} is not there");
        circles.extend(sources.circle_in(room));
    }
    assert_eq!(circles, Vec::<String>::new());
}

#[test]
fn core_touches_nothing_but_itself() {
    let sources = Sources::read();
    let mut wrong = Vec::new();
    for (file, uses) in sources.of("core") {
        let outside = uses.files.iter().filter(|target| !target.starts_with("core/"));
        wrong.extend(outside.map(|target| format!("{file} uses {target}")));
        let machine = uses.foreign.iter().filter(|path| OF_THE_MACHINE.iter().any(|taboo| reaches(path, taboo)));
        wrong.extend(machine.map(|path| format!("{file} uses {path}")));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn stores_know_neither_http_nor_each_other_nor_what_serves_them() {
    let sources = Sources::read();
    let mut wrong = Vec::new();
    for (room, strangers) in STRANGERS {
        assert!(sources.of(room).next().is_some(), "src/{room} is not there");
        for (file, uses) in sources.of(room) {
            let known = uses.files.iter().filter(|target| strangers.iter().any(|stranger| is_in(target, stranger)));
            wrong.extend(known.map(|target| format!("{file} uses {target}")));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn paths_are_found_wherever_they_stand_but_for_tests() {
    let text = r#"
        use std::{env::{self, var as read}, fmt};
        use super::{b::{self, B}, mod_rs_item};
        use self::child::Deep;
        pub(in crate::core) fn f(a: &crate::core::c::C) -> Option<super::d::D> {
            log!("{}", crate::core::e::e(), super::super::http::f);
            child::inner()
        }
        mod inline { use super::super::g::G; }
        #[cfg(test)]
        use crate::core::never::Never;
        #[cfg(test)]
        mod tests { use crate::core::never::Never; }
        #[cfg(all(test, unix))]
        fn helper() { crate::core::never::never() }
    "#;
    let names =
        ["core/mod", "core/a/mod", "core/a/child", "core/b", "core/c", "core/d", "core/e", "core/g", "http/mod"];
    let mut files: BTreeSet<String> = names.into_iter().map(|name| format!("{name}.rs")).collect();
    files.insert("core/never.rs".into());
    let uses = Uses::of("core/a/mod.rs", text, &files);
    let found: Vec<&str> = uses.files.iter().map(String::as_str).collect();
    let expected = ["core/a/child", "core/b", "core/c", "core/d", "core/e", "core/g", "core/mod", "http/mod"];
    assert_eq!(found, expected.map(|name| format!("{name}.rs")));
    for path in ["std::env", "std::env::var", "std::fmt"] {
        assert!(uses.foreign.contains(path), "{path}");
    }
}

#[test]
fn a_circle_is_named_in_its_order() {
    let files = [("r/a", vec!["r/b"]), ("r/b", vec!["r/c", "r/a/leaf"]), ("r/c", vec!["r/b"]), ("r/a/leaf", vec![])];
    let sources = files.map(|(file, targets)| {
        let files = targets.into_iter().map(str::to_owned).collect();
        (file.to_owned(), Uses { files, ..Uses::default() })
    });
    assert_eq!(Sources(sources.into()).circle_in("r").as_deref(), Some("r/b -> r/c -> r/b"));
}

/// The layers of core, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    /// Nouns: what they are made of, and what holds of them by themselves.
    Values,
    /// What the protocol needs from outside, what it tells, and how it fails.
    Ports,
    /// What is decided with the help of ports, for more than one endpoint.
    Rules,
    /// What is asked from outside.
    Endpoints,
}

/// Files of `src/core` below its endpoints, or the folder that they are in. Of two that hold a file the longer one counts. A file that
/// is not here counts as an endpoint, which no other layer may use.
const CORE: [(&str, Layer); 38] = [
    ("access_token", Layer::Values),
    ("access_token/validation", Layer::Rules),
    ("admin_log.rs", Layer::Values),
    ("assertion.rs", Layer::Values),
    ("audience.rs", Layer::Rules),
    ("audit.rs", Layer::Ports),
    ("authorization.rs", Layer::Values),
    ("aws_principal.rs", Layer::Values),
    ("client", Layer::Values),
    ("client_auth", Layer::Rules),
    ("conversions.rs", Layer::Values),
    ("declaration.rs", Layer::Values),
    ("encoding.rs", Layer::Values),
    ("endpoint.rs", Layer::Values),
    ("error.rs", Layer::Ports),
    ("form.rs", Layer::Values),
    ("jose.rs", Layer::Values),
    ("json.rs", Layer::Values),
    ("keys", Layer::Values),
    ("keys/keyring.rs", Layer::Rules),
    ("management", Layer::Rules),
    ("members.rs", Layer::Values),
    ("mod.rs", Layer::Values),
    ("owner.rs", Layer::Values),
    ("params.rs", Layer::Rules),
    ("port_error.rs", Layer::Values),
    ("ports.rs", Layer::Ports),
    ("quota.rs", Layer::Values),
    ("random.rs", Layer::Values),
    ("realm.rs", Layer::Values),
    ("realms.rs", Layer::Rules),
    ("reason.rs", Layer::Values),
    ("replay.rs", Layer::Values),
    ("resource.rs", Layer::Values),
    ("scope.rs", Layer::Values),
    ("source.rs", Layer::Values),
    ("time.rs", Layer::Values),
    ("trust", Layer::Values),
];

/// Rooms whose files use each other in one direction.
const WITHOUT_CIRCLES: [&str; 8] = ["core", "http", "cache", "observe", "remote", "aws", "embedded", "bin/grantwell"];

/// What a machine is asked: for core there are ports.
const OF_THE_MACHINE: [&str; 8] = [
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "getrandom",
    "tokio",
];

/// Rooms, and whom they do not know.
const STRANGERS: [(&str, &[&str]); 5] = [
    ("aws/store", &["http", "remote", "embedded", "aws/lambda", "app.rs"]),
    ("embedded/store", &["http", "remote", "aws", "embedded/server", "app.rs"]),
    ("http", &["aws", "embedded", "app.rs"]),
    ("cache", &["aws", "embedded", "app.rs"]),
    ("remote", &["http", "cache", "aws", "embedded", "app.rs"]),
];

/// The files of `src` and what each of them uses.
struct Sources(BTreeMap<String, Uses>);

/// What a file uses.
#[derive(Default)]
struct Uses {
    /// Files of the same crate, by their path under `src`.
    files: BTreeSet<String>,
    /// Paths into other crates.
    foreign: BTreeSet<String>,
}

impl Sources {
    fn read() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut texts = BTreeMap::new();
        read_folder(&src, "", &mut texts);
        let files: BTreeSet<String> = texts.keys().cloned().collect();
        Self(texts.iter().map(|(file, text)| (file.clone(), Uses::of(file, text, &files))).collect())
    }

    /// The files in a room.
    fn of(&self, room: &str) -> impl Iterator<Item = (&String, &Uses)> {
        self.0.iter().filter(move |(file, _)| is_in(file, room))
    }

    /// Files of `room` each of which uses the next, the last one the first; `None` where there are none.
    fn circle_in(&self, room: &str) -> Option<String> {
        let mut seen = BTreeSet::new();
        self.of(room).find_map(|(file, _)| self.circle_from(file, room, &mut Vec::new(), &mut seen))
    }

    fn circle_from<'a>(
        &'a self,
        file: &'a str,
        room: &str,
        path: &mut Vec<&'a str>,
        seen: &mut BTreeSet<&'a str>,
    ) -> Option<String> {
        if let Some(start) = path.iter().position(|before| *before == file) {
            return Some([&path[start..], &[file]].concat().join(" -> "));
        }
        if !seen.insert(file) {
            return None;
        }
        path.push(file);
        let mut targets = self.0[file].files.iter().filter(|target| is_in(target, room));
        let circle = targets.find_map(|target| self.circle_from(target, room, path, seen));
        path.pop();
        circle
    }
}

impl Uses {
    fn of(file: &str, text: &str, files: &BTreeSet<String>) -> Self {
        let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("src/{file}: {error}"));
        let mut reader = Reader { file, files, module: module_of(file), uses: Self::default() };
        reader.visit_file(&syntax);
        reader.uses
    }
}

/// Reads the paths of one file.
struct Reader<'a> {
    file: &'a str,
    files: &'a BTreeSet<String>,
    /// The module that is being read.
    module: Vec<String>,
    uses: Uses,
}

impl Reader<'_> {
    fn found(&mut self, path: &[String]) {
        match self.resolved(path) {
            Some(path) => {
                let target = (0..=path.len()).rev().find_map(|length| self.file_of(&path[..length]));
                self.uses.files.extend(target.filter(|target| target != self.file));
            }
            None => drop(self.uses.foreign.insert(path.join("::"))),
        }
    }

    /// The path from the root of `src`, where it leads into this crate.
    fn resolved(&self, path: &[String]) -> Option<Vec<String>> {
        let mut base = match path.first()?.as_str() {
            "crate" => root_of(self.file),
            "self" | "super" => self.module.clone(),
            child => {
                let base = [self.module.as_slice(), &[child.to_owned()]].concat();
                self.file_of(&base)?;
                self.module.clone()
            }
        };
        let mut rest = path;
        while let [first, more @ ..] = rest
            && matches!(first.as_str(), "crate" | "self" | "super")
        {
            if first == "super" {
                base.pop();
            }
            rest = more;
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    fn file_of(&self, module: &[String]) -> Option<String> {
        let path = module.join("/");
        let root = if path.is_empty() { "lib.rs".to_owned() } else { format!("{path}/main.rs") };
        [format!("{path}.rs"), format!("{path}/mod.rs"), root].into_iter().find(|file| self.files.contains(file))
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let and = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&and(&path.ident), &path.tree),
            syn::UseTree::Name(name) if name.ident == "self" => self.found(before),
            syn::UseTree::Name(name) => self.found(&and(&name.ident)),
            syn::UseTree::Rename(name) => self.found(&and(&name.ident)),
            syn::UseTree::Glob(_) => self.found(&[before, &["*".to_owned()]].concat()),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.tree(&[], &item.tree);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            self.module.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.found(&segments);
        }
        visit::visit_path(self, path);
    }

    /// What a macro is given may be no Rust: the paths are looked for in its text.
    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.visit_path(&item.path);
        let text = item.tokens.to_string().replace(":: ", "::").replace(" ::", "::");
        for word in text.split(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '_' | ':'))) {
            let path: Vec<String> = word.split("::").map(str::to_owned).collect();
            if path.len() > 1 && path.iter().all(|segment| syn::parse_str::<syn::PathSegment>(segment).is_ok()) {
                self.found(&path);
            }
        }
    }

    /// `pub(in path)` says who may look in, not what is used.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

fn read_folder(folder: &Path, name: &str, texts: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder of the sources") {
        let path = entry.expect("an entry").path();
        let file = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let name = if name.is_empty() { file.to_owned() } else { format!("{name}/{file}") };
        if path.is_dir() {
            read_folder(&path, &name, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && file != "tests.rs"
            && !path.components().any(|part| part.as_os_str() == "tests")
        {
            texts.insert(name, fs::read_to_string(&path).expect("text"));
        }
    }
}

/// The module that a file is.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|name| matches!(name.as_str(), "mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// The module that `crate` is in a file.
fn root_of(file: &str) -> Vec<String> {
    match file.split('/').collect::<Vec<_>>().as_slice() {
        ["bin", command, _, ..] => vec!["bin".to_owned(), (*command).to_owned()],
        _ => Vec::new(),
    }
}

/// Whether `file` is `room` or in it.
fn is_in(file: &str, room: &str) -> bool {
    file.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn layer(file: &str) -> Layer {
    let holds = |row: &&(&str, Layer)| is_in(file, &format!("core/{}", row.0));
    CORE.iter().filter(holds).max_by_key(|(name, _)| name.len()).map_or(Layer::Endpoints, |(_, layer)| *layer)
}

/// Whether a path is `taboo`, leads into it, or takes in all that is around it.
fn reaches(path: &str, taboo: &str) -> bool {
    let around = path.strip_suffix('*').is_some_and(|around| taboo.starts_with(around));
    around || path.strip_prefix(taboo).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all") && condition.contains("test")
        }
        _ => false,
    })
}
