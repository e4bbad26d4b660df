//! Words that have no place in the tree.
//!
//! A promise without a number is nobody's. Where the project is planned, and where packages happen to come from, are no
//! business of its readers, and both change.

use super::{File, Finding};

/// Words, and what to do instead. Written in two pieces, so that this file holds none of them.
const FORBIDDEN: [(&str, &str, &str); 9] = [
    ("FIX", "ME", "do it, or write `TO DO(#number)` in one word"),
    ("XX", "X:", "say what is meant"),
    ("issue ", "tracker", "the tree does not know where it is planned"),
    ("crates", ".io", "a host of packages is configuration, not documentation"),
    ("registry.npm", "js.org", "a host of packages is configuration, not documentation"),
    ("ji", "ra", "the tree does not know where it is planned"),
    ("in a ", "real implementation", "this is the real one"),
    ("for ", "now,", "say what holds, or name the gap in the notes"),
    ("todo", "!(", "do it"),
];

pub(super) fn check(file: &File) -> Vec<Finding> {
    // Lock files and generated references are written by machines.
    if !file.has_extension(&["rs", "md", "ts", "tsx", "js", "mjs", "yml", "yaml", "sh", "sql", "html"]) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (a, b, instead) in FORBIDDEN {
            let word = format!("{a}{b}");
            if contains_word(line, &word) {
                findings.push(Finding::error(file, index + 1, format!("`{}`: {instead}", word.trim())));
            }
        }
        if let Some(rest) = after_word(line, concat!("TO", "DO"))
            && !rest.trim_start_matches(['(', ' ']).starts_with(|c: char| c == '#' || c.is_ascii_digit())
        {
            findings.push(Finding::error(
                file,
                index + 1,
                concat!("TO", "DO without a number: do it, or give it one: (#12)"),
            ));
        }
    }
    findings
}

fn contains_word(line: &str, word: &str) -> bool {
    let is_upper = word.chars().any(char::is_uppercase);
    let line = if is_upper { line.to_owned() } else { line.to_lowercase() };
    after_word(&line, word).is_some()
}

/// What follows `word` where it stands as a word of its own.
fn after_word<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).find_map(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let ends_whole = !word.ends_with(is_letter) || !after.starts_with(is_letter);
        (!before.ends_with(is_letter) && ends_whole).then_some(after)
    })
}

#[cfg(test)]
mod tests {
    use super::{File, check};

    fn count(text: &str) -> usize {
        check(&File { path: "a.rs".into(), text: text.to_owned() }).len()
    }

    #[test]
    fn a_promise_needs_a_number() {
        assert_eq!(count(concat!("// TO", "DO: later")), 1);
        assert_eq!(count(concat!("// TO", "DO(#12): later")), 0);
        assert_eq!(count(concat!("// FIX", "ME")), 1);
        assert_eq!(count("fn fixture() {}"), 0);
    }
}
