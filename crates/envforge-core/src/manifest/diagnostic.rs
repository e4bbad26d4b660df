//! One mistake in the file, told so that a person or an agent can fix it without asking.
//!
//! The message is the cause, the fix is what to write instead. Both may quote the file, and the file may have been
//! written to harm whoever reads the message: quoted text is made printable and short before it gets here ([`quoted`]).

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One mistake in an `envforge.yml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Diagnostic {
    /// Stable name of the kind of mistake, such as `manifest.unknown_key`.
    #[schema(value_type = String)]
    pub code: Cow<'static, str>,
    /// The file, as it was named to the parser.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The cause.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

/// Characters of a line shown around the place.
const SNIPPET_WIDTH: usize = 100;
/// Characters of a name or value quoted in a message.
const QUOTE_WIDTH: usize = 60;

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, fix, .. } = self;
        write!(formatter, "{file}:{line}:{column}: {message}\n  hint: {fix}")
    }
}

impl std::error::Error for Diagnostic {}

impl Diagnostic {
    /// The same as `Display`, with the line of the source and a mark under the place.
    pub fn render_snippet(&self, source: &[u8]) -> String {
        let Self { file, line, column, message, fix, .. } = self;
        let mut out = format!("{file}:{line}:{column}: {message}\n");
        let text = String::from_utf8_lossy(source);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        if let Some(shown) = lines(text).nth(*line as usize - 1).filter(|shown| !shown.is_empty()) {
            let characters: Vec<char> = shown.chars().collect();
            let at = (*column as usize - 1).min(characters.len());
            let fits = characters.len() <= SNIPPET_WIDTH;
            let from = if fits { 0 } else { at.saturating_sub(SNIPPET_WIDTH / 2) };
            let to = characters.len().min(from + SNIPPET_WIDTH);
            let number = line.to_string();
            let gutter = " ".repeat(number.len());
            let window: String = characters[from..to].iter().copied().map(one_cell).collect();
            let width = mark_width(&characters[at..to]);
            let before: String = if from > 0 { "…".into() } else { String::new() };
            let after = if to < characters.len() { "…" } else { "" };
            let indent = " ".repeat(before.chars().count() + at - from);
            let mark = "^".repeat(width);
            let _ = writeln!(out, "{gutter} |\n{number} | {before}{window}{after}\n{gutter} | {indent}{mark}");
        }
        let _ = write!(out, "  hint: {fix}");
        out
    }
}

/// The lines of a text as YAML counts them: ended by LF, CR LF or CR.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let current = rest?;
        let Some(end) = current.find(['\n', '\r']) else {
            rest = None;
            return Some(current);
        };
        let skip = if current[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&current[end + skip..]);
        Some(&current[..end])
    })
}

/// How many marks go under the word that starts here.
fn mark_width(rest: &[char]) -> usize {
    let quote = rest.first().copied().filter(|first| matches!(first, '"' | '\''));
    if let Some(quote) = quote {
        return rest.iter().skip(1).position(|next| *next == quote).map_or(1, |end| end + 2);
    }
    rest.iter()
        .position(|next| next.is_whitespace() || matches!(next, ':' | ',' | '}' | ']' | '{' | '['))
        .unwrap_or(rest.len())
        .max(1)
}

/// A character of the source as one printable cell, so that the mark stays under its place.
fn one_cell(character: char) -> char {
    match character {
        '\t' => ' ',
        hidden if is_hidden(hidden) => '·',
        shown => shown,
    }
}

/// Characters that would move the cursor, colour the terminal or reverse the text instead of being seen.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Text of the file, in backticks, safe to print and not longer than a line.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("`");
    for (count, character) in text.chars().enumerate() {
        if count == QUOTE_WIDTH {
            out.push('…');
            break;
        }
        if is_hidden(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out.push('`');
    out
}
