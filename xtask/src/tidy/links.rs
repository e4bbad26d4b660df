//! Links in documents lead to files that exist.

use super::{File, Finding};
use std::path::Path;

pub(super) fn check(root: &Path, file: &File) -> Vec<Finding> {
    if !file.has_extension(&["md"]) {
        return Vec::new();
    }
    let folder = file.path.parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    let mut is_code = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        for target in targets(line) {
            let path = target.split(['#', '?']).next().unwrap_or_default();
            let leads_away = target.contains("://") || target.starts_with("mailto:") || path.is_empty();
            let resolved =
                if let Some(path) = path.strip_prefix('/') { root.join(path) } else { root.join(folder).join(path) };
            if !leads_away && !resolved.exists() {
                findings.push(Finding::error(file, index + 1, format!("the link `{target}` leads nowhere")));
            }
        }
    }
    findings
}

/// What the links of a line lead to.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find("](") {
        rest = &rest[at + 2..];
        if let Some(end) = rest.find(')') {
            found.push(rest[..end].split_whitespace().next().unwrap_or_default());
            rest = &rest[end..];
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::targets;

    #[test]
    fn links_are_found() {
        assert_eq!(targets("see [a](docs/a.md#x), [b](b.md \"title\") and `[c]`"), ["docs/a.md#x", "b.md"]);
    }
}
