//! What the YAML parser could not read, in words that help.
//!
//! The parser says where and which rule; people need to hear what they most likely did. The common mistakes have an answer
//! of their own here; for the rest the parser's words stand.

use serde_saphyr::granit_parser::{ErrorKind, ScanError};

use super::parse::Report;

/// Reports a syntax error at its place.
pub(super) fn report(error: &ScanError, text: &str, report: &mut Report<'_>) {
    let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    let (code, message, fix) = describe(error.kind());
    // The parser stops behind the tab; the tab is what has to go.
    let blank = text[..at].len() - text[..at].trim_end_matches([' ', '\t']).len();
    let tab = text[at - blank..at].find('\t').filter(|_| message.contains("tab"));
    report.add(tab.map_or(at, |tab| at - blank + tab), code, message, fix);
}

/// Code, cause and fix of a syntax error.
fn describe(kind: &ErrorKind) -> (&'static str, String, String) {
    let (message, fix): (&str, &str) = match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => {
            ("a tab is used as indentation here", "indent with spaces: YAML does not allow tabs")
        }
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => {
            ("a quote is opened and never closed", "close the quote")
        }
        ErrorKind::InvalidQuotedScalarIndent => {
            ("a quote opened above is not closed before this line", "close the quote at the end of its value")
        }
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofImplicitFlowMapping => (
            "a `{` or `[` is opened and never closed",
            "close it with `}` or `]`, or put quotes around text that contains it",
        ),
        ErrorKind::MisplacedFlowCollectionEnd | ErrorKind::MismatchedFlowCollectionEnd { .. } => (
            "a bracket is closed that was not opened",
            "match every `}` and `]` with the `{` or `[` it closes, or quote the text",
        ),
        ErrorKind::ExpectedFlowMappingSeparator => {
            ("`,` or `}` is missing", "separate the entries of `{ … }` with commas and close it with `}`")
        }
        ErrorKind::ExpectedFlowSequenceSeparator => {
            ("`,` or `]` is missing", "separate the entries of `[ … ]` with commas and close it with `]`")
        }
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => (
            "a `:` stands where no key can be",
            "put quotes around text that contains `: `, or check the indentation of this line",
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => (
            "this line is neither `key: value` nor part of the value above",
            "add the `:`, or indent the line under the key it belongs to",
        ),
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation | ErrorKind::ExpectedBlockSequenceEntry => (
            "the indentation of this line fits no line above",
            "give keys that belong together the same number of leading spaces",
        ),
        ErrorKind::BlockSequenceEntryNotAllowed | ErrorKind::BlockEntryInFlowCollection => (
            "a `-` entry stands where no list can be",
            "start the list on the line after its key, or put quotes around the text",
        ),
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            ("there is text after a closing quote", "put the whole value inside the quotes")
        }
        ErrorKind::UnknownQuotedScalarEscape => (
            "`\\` is followed by a letter that has no meaning",
            "use single quotes to keep `\\` as it is, or write `\\\\`",
        ),
        ErrorKind::MissingAnchorOrAliasName => (
            "`*` or `&` starts an alias or anchor, and its name is missing",
            "put quotes around text that starts with `*` or `&`",
        ),
        ErrorKind::UnexpectedCharacter { character } => {
            let shown = character.escape_default();
            return (
                "manifest.syntax",
                format!("`{shown}` can't start a value"),
                format!("put quotes around text that starts with `{shown}`"),
            );
        }
        ErrorKind::RecursionLimitExceeded => {
            return (
                "manifest.too_deep",
                "values are nested too deep".to_owned(),
                "the format needs five levels: look for brackets that are not closed".to_owned(),
            );
        }
        other => {
            let fix = "put quotes around text with special characters, and check the indentation of this line";
            return ("manifest.syntax", format!("this is not YAML: {other}"), fix.to_owned());
        }
    };
    ("manifest.syntax", message.to_owned(), fix.to_owned())
}
