//! The documents and the code agree: what a document names is there, and what the code cites is in a document.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_case_has_one_row_and_every_case_that_is_cited_has_a_row() {
    let mut rows = BTreeSet::new();
    for line in read("docs/protocol-cases.md").lines() {
        let id = line.strip_prefix("| ").and_then(|line| line.split(" |").next());
        if let Some(id) = id.filter(|id| is_case(id)) {
            assert!(rows.insert(id.to_owned()), "docs/protocol-cases.md has two rows {id}");
        }
    }
    assert!(rows.len() > 250, "{} rows", rows.len());
    let families: BTreeSet<_> = rows.iter().filter_map(|id| id.split('-').next()).collect();
    let mut missing = BTreeSet::new();
    for (path, text) in texts(&["src", "tests", "benches", "fuzz", "docs"]) {
        let cited = words(&text).filter(|word| is_case(word)).map(str::to_owned);
        let cited = cited.chain(functions(&text).flat_map(|name| cases_of_a_name(name, &families)));
        missing.extend(cited.filter(|id| !rows.contains(id)).map(|id| format!("{id} in {path}")));
    }
    assert!(missing.is_empty(), "docs/protocol-cases.md has no row for {missing:#?}");
}

#[test]
fn rfc_coverage_names_items_and_tests_that_exist() {
    let page = read("docs/rfc-coverage.md");
    let (mut items, mut tests, mut missing) = (0, 0, BTreeSet::new());
    for line in page.lines().filter(|line| line.starts_with("| ") && line.matches(" |").count() == 6) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        for item in code_spans(cells[4]) {
            items += 1;
            if !item_exists(item) {
                missing.insert(item.to_owned());
            }
        }
        for test in code_spans(cells[5]) {
            tests += 1;
            if !test_exists(test) {
                missing.insert(test.to_owned());
            }
        }
    }
    assert!(items > 200 && tests > 200, "{items} items and {tests} tests");
    assert!(missing.is_empty(), "docs/rfc-coverage.md names what is not there: {missing:#?}");
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let documents: Vec<_> = documents().into_iter().chain(decisions()).collect();
    let anchors: BTreeMap<_, _> = documents.iter().map(|(path, text)| (path.clone(), anchors(text))).collect();
    let (mut links, mut broken) = (0, BTreeSet::new());
    for (path, text) in &documents {
        for target in link_targets(text).filter(|target| !target.contains("://")) {
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let there = if file.is_empty() { PathBuf::from(path) } else { beside(path, file) };
            let leads = root().join(&there).exists()
                && (anchor.is_empty()
                    || anchors.get(&there.display().to_string()).is_some_and(|them| them.contains(anchor)));
            if !leads {
                broken.insert(format!("{path}: {target}"));
            }
        }
    }
    assert!(links > 80, "{links} links");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_path_and_make_target_that_a_document_names_exists() {
    let makefile = read("Makefile");
    let (mut paths, mut targets, mut missing) = (0, 0, BTreeSet::new());
    for (document, text) in documents() {
        for span in code(&text) {
            if let Some(path) = path_of(span) {
                paths += 1;
                if !root().join(path).exists() {
                    missing.insert(format!("{document}: {span}"));
                }
            }
            for target in make_targets(span) {
                targets += 1;
                if !makefile.lines().any(|line| line.starts_with(&format!("{target}:"))) {
                    missing.insert(format!("{document}: make {target}"));
                }
            }
        }
    }
    assert!(paths > 20 && targets > 5, "{paths} paths and {targets} targets");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_variable_that_the_code_reads_has_a_row() {
    let page = read("docs/configuration.md");
    let mut read = BTreeSet::new();
    for (_, text) in texts(&["src"]) {
        read.extend(words(&text).filter(|word| word.starts_with("GRANTWELL_")).map(str::to_owned));
    }
    assert!(read.len() > 15, "{read:?}");
    read.retain(|name| !page.contains(&format!("\n| `{name}` |")));
    assert!(read.is_empty(), "docs/configuration.md has no row for {read:#?}");
}

#[test]
fn every_member_of_a_registration_has_a_row() {
    let page = read("docs/configuration.md");
    let members: Vec<serde_json::Value> =
        serde_json::from_str(&read("tests/it/support/registration.json")).expect("a list");
    assert!(members.len() > 10, "{members:?}");
    let names = members.iter().map(|member| member["member"].as_str().expect("a name"));
    let missing: Vec<_> = names.filter(|name| !page.contains(&format!(" | `{name}` | "))).collect();
    assert!(missing.is_empty(), "docs/configuration.md has no row for {missing:?}");
}

#[test]
fn every_parameter_of_the_template_has_a_row() {
    let (page, template) = (read("docs/configuration.md"), read("template.yaml"));
    let (_, section) = template.split_once("\nParameters:\n").expect("the template has parameters");
    let section = section.lines().take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    let named = section.filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    let parameters: Vec<_> = named.filter(|name| name.starts_with(char::is_uppercase)).collect();
    assert!(parameters.len() > 10, "{parameters:?}");
    let missing: Vec<_> = parameters.iter().filter(|name| !page.contains(&format!("\n| `{name}` |"))).collect();
    assert!(missing.is_empty(), "docs/configuration.md has no row for {missing:?}");
}

#[test]
fn nothing_speaks_of_an_issue_by_its_number() {
    let mut numbered = BTreeSet::new();
    for (path, text) in texts(&["src", "tests", "benches", "fuzz", "docs", "examples"]) {
        let words: Vec<_> = text.split_whitespace().collect();
        for pair in words.windows(2) {
            let noun = pair[0].trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            let number = pair[1].trim_matches(|c: char| c.is_ascii_punctuation());
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            if ["issue", "issues"].contains(&noun.as_str()) && is_number {
                numbered.insert(format!("{path}: {} {}", pair[0], pair[1]));
            }
        }
    }
    assert!(numbered.is_empty(), "{numbered:#?}");
}

/// Whether this is an id of docs/protocol-cases.md: one or two capitals, a hyphen, two digits.
fn is_case(word: &str) -> bool {
    word.split_once('-').is_some_and(|(family, number)| {
        (1..=2).contains(&family.len())
            && family.bytes().all(|byte| byte.is_ascii_uppercase())
            && number.len() == 2
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The cases in a test's name: `i_04_v_08_…` are I-04 and V-08.
fn cases_of_a_name(name: &str, families: &BTreeSet<&str>) -> Vec<String> {
    let parts: Vec<_> = name.split('_').collect();
    let ids = parts.windows(2).map(|pair| format!("{}-{}", pair[0].to_uppercase(), pair[1]));
    ids.filter(|id| is_case(id) && id.split('-').next().is_some_and(|family| families.contains(family))).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
}

/// The names that follow `fn` and `def`.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("fn ").skip(1).chain(text.split("def ").skip(1));
    after.filter_map(|rest| words(rest).next())
}

/// `file::item`, the file below src/ or the root, the item defined in it. Without an item the file is enough.
fn item_exists(item: &str) -> bool {
    let (file, name) = item.split_once("::").unwrap_or((item, ""));
    let Some(text) = [format!("src/{file}"), file.to_owned()].iter().find_map(|path| try_read(path)) else {
        return false;
    };
    let kinds = ["fn", "struct", "enum", "trait", "const", "static", "type", "mod"];
    name.is_empty() || kinds.iter().any(|kind| defines(&text, kind, name))
}

/// `test_module::test_name` in tests/aws, `core::module::name` in src, and `module::name` in tests/it.
fn test_exists(test: &str) -> bool {
    let Some((module, name)) = test.rsplit_once("::") else { return false };
    if module.starts_with("test_") {
        return try_read(&format!("tests/aws/{module}.py")).is_some_and(|text| defines(&text, "def", name));
    }
    let module = module.replace("::", "/");
    let layers = ["core/", "http/", "aws/", "cache/", "remote/", "embedded/", "observe/"];
    let folder = if layers.iter().any(|layer| format!("{module}/").starts_with(layer)) { "src" } else { "tests/it" };
    ["", "/mod", "/tests"]
        .iter()
        .any(|end| try_read(&format!("{folder}/{module}{end}.rs")).is_some_and(|text| defines(&text, "fn", name)))
}

fn defines(text: &str, keyword: &str, name: &str) -> bool {
    let start = format!("{keyword} {name}");
    text.match_indices(&start).any(|(at, _)| {
        let rest = &text[at + start.len()..];
        !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

/// The targets of `[text](target)` outside of code.
fn link_targets(text: &str) -> impl Iterator<Item = &str> {
    prose(text).flat_map(|line| {
        let pieces: Vec<_> = line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        pieces
    })
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut anchors, mut times) = (BTreeSet::new(), BTreeMap::new());
    for heading in prose(text).filter_map(|line| line.strip_prefix('#')) {
        let kept = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        let anchor: String = kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
        let before = times.entry(anchor.clone()).or_insert(0);
        anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    anchors
}

/// The lines outside of fences.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").step_by(2).flat_map(str::lines)
}

/// What is set as code: the lines of fences, and spans.
fn code(text: &str) -> Vec<&str> {
    let fenced = text.split("```").skip(1).step_by(2).flat_map(str::lines);
    fenced.chain(prose(text).flat_map(code_spans)).collect()
}

fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The path that a span of code is, up to an item or a pattern in it.
fn path_of(span: &str) -> Option<&str> {
    let folders =
        ["src/", "tests/", "docs/", "benches/", "fuzz/", "events/", "examples/", ".cargo/", ".ci/", ".github/"];
    let is_path = folders.iter().any(|folder| span.starts_with(folder)) && !span.contains(char::is_whitespace);
    let end = span.find(['*', '{', '<']).and_then(|at| span[..at].rfind('/'));
    let path = end.map_or(span, |at| &span[..at]);
    is_path.then(|| path.split("::").next().unwrap_or(path))
}

/// The targets of the `make` commands in a line of code.
fn make_targets(line: &str) -> Vec<&str> {
    let command = line.split(" #").next().unwrap_or(line);
    let words: Vec<_> = command.split_whitespace().collect();
    let targets = words.iter().skip_while(|word| **word != "make").skip(1);
    targets.copied().filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')).collect()
}

/// Every document but the ones that tell of a past state: decisions and the changelog.
fn documents() -> Vec<(String, String)> {
    let named = ["README.md", "SECURITY.md", "CONTRIBUTING.md"].map(|name| (name.to_owned(), read(name)));
    let found = texts(&["docs", "examples", "events", "src"])
        .into_iter()
        .filter(|(path, _)| has_extension(path, &["md"]) && !path.contains(DECISIONS));
    named.into_iter().chain(found).collect()
}

/// They name files that are gone by now, but link to none.
fn decisions() -> Vec<(String, String)> {
    texts(&[DECISIONS])
}

/// The texts below folders of the repository, by their paths in it.
fn texts(folders: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Vec<_> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(path) = open.pop() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !["target", "corpus", "artifacts", "node_modules"].contains(&name) {
            open.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if has_extension(name, &["rs", "py", "md", "yaml", "toml", "mjs"]) {
            let within = path.strip_prefix(root()).expect("below the root").display().to_string();
            let text = fs::read_to_string(&path).expect("UTF-8");
            found.push((within, text));
        }
    }
    found.sort();
    found
}

fn has_extension(path: &str, extensions: &[&str]) -> bool {
    Path::new(path).extension().and_then(|extension| extension.to_str()).is_some_and(|it| extensions.contains(&it))
}

/// The path of `target`, which a document at `path` names relative to itself.
fn beside(path: &str, target: &str) -> PathBuf {
    let mut there = PathBuf::from(path);
    there.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(there.pop()),
            "." | "" => {}
            part => there.push(part),
        }
    }
    there
}

fn read(path: &str) -> String {
    try_read(path).unwrap_or_else(|| panic!("{path} can be read"))
}

fn try_read(path: &str) -> Option<String> {
    fs::read_to_string(root().join(path)).ok()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const DECISIONS: &str = "docs/decisions";
