//! What every Rust file holds to: it opens with its reason, and nothing in it is long.

use super::lexer::code_only;
use super::{File, Finding, Severity};

const LINES_WARN: usize = 600;
const LINES_MAX: usize = 1_000;
const FUNCTION_MAX: usize = 100;
/// Functions that are longer for a reason; this list only gets shorter.
const LONG_FUNCTIONS: [(&str, &str); 0] = [];

pub(super) fn check(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if !file.text.trim_start().starts_with("//!") {
        findings.push(Finding::error(file, 1, "open the module with `//!`: why it exists, and what must stay true"));
    }
    let lines = file.text.lines().count();
    if lines > LINES_WARN {
        let severity = if lines > LINES_MAX { Severity::Error } else { Severity::Warning };
        let message =
            format!("{lines} lines: a file this long hides two nouns; at most {LINES_MAX}, better {LINES_WARN}");
        findings.push(Finding { severity, ..Finding::error(file, 1, message) });
    }
    for (name, line, length) in functions(&file.text) {
        let is_listed = LONG_FUNCTIONS.iter().any(|(path, listed)| file.path.ends_with(path) && *listed == name);
        if length > FUNCTION_MAX && !is_listed {
            let message = format!("function `{name}` has {length} lines, at most {FUNCTION_MAX}: give its steps names");
            findings.push(Finding::error(file, line, message));
        }
    }
    findings
}

/// Name, first line and number of lines of each function with a body.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let code = code_only(text);
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(position) = code[from..].find("fn ") {
        let start = from + position;
        from = start + 3;
        let is_word = !code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name: String = code[from..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if is_word
            && !name.is_empty()
            && let Some(end) = body_end(&code[from..])
        {
            let line = code[..start].matches('\n').count() + 1;
            found.push((name, line, code[start..from + end].matches('\n').count() + 1));
        }
    }
    found
}

/// Where the body that comes next ends; `None` when a `;` comes first.
fn body_end(code: &str) -> Option<usize> {
    let mut depth = 0_usize;
    // A `;` inside the signature is part of an array's type.
    let mut brackets = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '[' | '(' if depth == 0 => brackets += 1,
            ']' | ')' if depth == 0 => brackets = brackets.saturating_sub(1),
            ';' if depth == 0 && brackets == 0 => return None,
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::functions;

    #[test]
    fn functions_are_measured_from_their_name_to_their_brace() {
        let text = "trait T {\n    fn none(&self) -> [u8; 2];\n}\npub async fn two(x: [u8; 2]) {\n    \"}\"\n}\nconst F: fn (u8) = f;\n";
        assert_eq!(functions(text), [("two".to_owned(), 4, 3)]);
    }
}
