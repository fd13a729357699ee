//! YAML 1.2, strictly: only `true` and `false` are booleans, nothing is said twice, and aliases unfold to a bounded size.

use grantwell::core::form::harmless_name;
use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::granit_parser::ErrorKind;
use serde_saphyr::{Error, ExternalMessageSource, Location, Options};

use super::fault::{ENDS_EARLY, Fault, Position};

pub(super) fn parse(text: &str) -> Result<Value, Fault> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| fault(text, &error))
}

pub(super) fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            // Enough for the largest file that is read, of short members.
            max_events: 20_000_000,
            max_nodes: 10_000_000,
            max_depth: DEEPEST,
            flow_nesting_limit: DEEPEST,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 200_000, max_replay_stack_depth: 16 },
        // YAML 1.1 took words such as `on` and `no` for booleans.
        strict_booleans: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

pub(super) fn position(location: Location) -> Option<Position> {
    (location.line() > 0).then(|| Position { line: location.line(), column: location.column() })
}

fn fault(text: &str, error: &Error) -> Fault {
    let error = error.without_snippet();
    let what = in_plain_words(error);
    match error.location().and_then(position) {
        // The library names the text that the tab may be a part of.
        Some(position) if what == TAB => Fault::At(tab_after(text, position).unwrap_or(position), what),
        Some(position) => Fault::At(position, what),
        None => Fault::Whole(format!("cannot be read as YAML: {what}")),
    }
}

fn tab_after(text: &str, begin: Position) -> Option<Position> {
    let lines = (1..).zip(text.lines()).skip_while(|(line, _)| *line < begin.line);
    lines.into_iter().find_map(|(line, text)| {
        let indent = text.chars().take_while(|character| character.is_whitespace());
        let column = (1..).zip(indent).find_map(|(column, character)| (character == '\t').then_some(column))?;
        Some(Position { line, column })
    })
}

fn in_plain_words(error: &Error) -> String {
    let what = match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => return in_plain_words(error),
        Error::DuplicateMappingKey { key, .. } => {
            return match key.as_deref().and_then(harmless_name) {
                Some(name) => format!("the member '{name}' is there twice"),
                None => "a member is there twice".to_owned(),
            };
        }
        Error::ExternalMessage { source, .. } => match source.as_ref() {
            ExternalMessageSource::Parser(error) => of_syntax(error.kind()),
            _ => NOT_YAML,
        },
        Error::MultipleDocuments { .. } => {
            "a second document begins, after a line `---` or `...`: write each into a file of its own"
        }
        Error::UnknownAnchor { .. } => {
            "an alias (*) of an anchor (&) that is not there before it; a text that begins with * has to be in quotes"
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => TOO_DEEP,
        Error::Budget { .. } => "the file has more lists, objects and values than are read: write it in several files",
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "aliases (*) unfold to more than is read: write out what they stand for"
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => "an alias (*) stands for what it is part of",
        Error::MergeValueNotMapOrSeqOfMaps { .. } => {
            "<< has to be followed by an alias (*) of an object, or by a list of those"
        }
        Error::UnsupportedTag { .. } => {
            "a tag (!) that means nothing here; a text that begins with ! has to be in quotes"
        }
        Error::NonFiniteFloat { .. } => "a number that is not finite: write it in quotes if it is text",
        Error::NullIntoString { .. } => "a member without a name",
        Error::Eof { .. } => ENDS_EARLY,
        Error::Unexpected { .. } => "the name of a member is not a text",
        _ => NOT_YAML,
    };
    what.to_owned()
}

fn of_syntax(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::UnexpectedEof
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::UnexpectedEofBlockSequence
        | ErrorKind::UnexpectedEofBlockMapping
        | ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnclosedQuotedScalar => ENDS_EARLY,
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar => TAB,
        ErrorKind::MappingValueNotAllowed | ErrorKind::MappingKeyNotAllowed | ErrorKind::InvalidColonPlacement => {
            "a colon where no member can begin: indent the line as the members around it, and put a text that has a colon into quotes"
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey | ErrorKind::InvalidMappingValueWhitespace => {
            "the name of a member needs a colon and a space after it"
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::InvalidIndentation
        | ErrorKind::InvalidBlockScalarIndent
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::InvalidFlowScalarIndent
        | ErrorKind::InvalidBlockEntryWhitespace => "the line is not indented as those around it",
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            "a comma is missing, or a bracket that closes"
        }
        ErrorKind::MismatchedFlowCollectionEnd { .. } | ErrorKind::MisplacedFlowCollectionEnd => {
            "a bracket that closes what was not opened"
        }
        ErrorKind::RecursionLimitExceeded => TOO_DEEP,
        ErrorKind::UnexpectedCharacter { .. } => "a character that begins no text: put the text into quotes",
        ErrorKind::UnknownQuotedScalarEscape
        | ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidUnicodeEscape => {
            "an escape (\\) that YAML does not have: write \\\\ for a backslash, or use single quotes"
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            "something follows after a text in quotes"
        }
        ErrorKind::BomInsideDocument => "a byte order mark inside of the file",
        _ => NOT_YAML,
    }
}

/// The most levels of lists and objects in each other.
const DEEPEST: usize = 64;
const TOO_DEEP: &str = "lists and objects are nested too deeply";
const TAB: &str = "a tab: YAML indents with spaces only";
const NOT_YAML: &str = "this is not YAML";
