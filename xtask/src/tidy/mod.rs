//! The repository polices itself: rules that no compiler knows, each with a sentence for whoever breaks one.
//!
//! Runs as `cargo xtask tidy` and as a test. A rule reads text, never the compiler's view, so all of it takes a fraction
//! of a second; what a lint can hold is held in `clippy.toml` instead. Exceptions are listed beside their rule with a
//! reason, never in the file that needs one.

mod layers;
mod lexer;
mod links;
mod manifests;
mod migrations;
mod rows;
mod source;
mod words;

use anyhow::Context as _;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 5] = ["target", "node_modules", ".git", "dist", ".data"];

/// Whether a finding fails the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Said, and nothing more.
    Warning,
    /// Fails.
    Error,
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    severity: Severity,
    path: PathBuf,
    line: usize,
    message: String,
}

impl Finding {
    fn error(file: &File, line: usize, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, path: file.path.clone(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, "{}:{}: {severity}: {}", self.path.display(), self.line, self.message)
    }
}

/// A file of the repository: its path from the root, and its text.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn has_extension(&self, extensions: &[&str]) -> bool {
        self.path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| extensions.contains(&extension))
    }

    fn is_rust(&self) -> bool {
        self.has_extension(&["rs"])
    }

    /// The path inside a crate's `src`, as text, if it is there.
    fn inside(&self, folder: &str) -> Option<&str> {
        self.path.strip_prefix(folder).ok()?.to_str()
    }
}

/// Checks the repository at `root`; fails when a rule is broken.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let findings = check(root)?;
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    anyhow::ensure!(errors == 0, "tidy: {errors} errors");
    writeln!(out, "tidy: {} warnings, no errors", findings.len())?;
    Ok(())
}

/// Every finding, by file.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut files = Vec::new();
    read(root, Path::new(""), &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut findings = Vec::new();
    for file in &files {
        findings.extend(source::check(file));
        findings.extend(words::check(file));
        findings.extend(layers::check(file));
        findings.extend(links::check(root, file));
        findings.extend(migrations::check(file));
    }
    findings.extend(layers::check_order(&files));
    findings.extend(manifests::check(root, &files));
    findings.extend(rows::check(&files));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    Ok(findings)
}

fn read(root: &Path, folder: &Path, files: &mut Vec<File>) -> anyhow::Result<()> {
    const TEXT: [&str; 14] =
        ["rs", "toml", "md", "yml", "yaml", "ts", "tsx", "js", "mjs", "css", "html", "sql", "sh", "json"];
    for entry in fs_err::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let path = folder.join(&name);
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
            read(root, &path, files)?;
        }
        let is_text = path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| TEXT.contains(&extension));
        if kind.is_file() && is_text {
            let text =
                fs_err::read_to_string(root.join(&path)).with_context(|| format!("{} is not text", path.display()))?;
            files.push(File { path, text });
        }
    }
    Ok(())
}

/// The repository this program was built from.
pub(crate) fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{Severity, check, repository};

    #[test]
    fn the_repository_is_tidy() {
        let findings = check(&repository()).unwrap();
        let errors: Vec<String> =
            findings.iter().filter(|finding| finding.severity == Severity::Error).map(ToString::to_string).collect();
        assert!(errors.is_empty(), "\n{}", errors.join("\n"));
    }
}
