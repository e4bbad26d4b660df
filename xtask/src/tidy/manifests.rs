//! Manifests: one licence, one set of lints, and the walls between crates.

use super::{File, Finding, Severity};
use std::path::Path;

/// Crates that never depend on one another; they share core and api only.
const APART: [&str; 4] = ["envforge-server", "envforge-gateway", "envforge-host", "envforge-cli"];

pub(super) fn check(root: &Path, files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut missing = |path: &str, why: &str| {
        if !root.join(path).exists() {
            findings.push(Finding {
                severity: Severity::Error,
                path: path.into(),
                line: 1,
                message: format!("missing: {why}"),
            });
        }
    };
    missing("clippy.toml", "the fence around ambient time, randomness and programs");
    missing("Cargo.lock", "builds are the same everywhere");
    for file in files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        if file.path == Path::new("Cargo.toml") {
            if !file.text.contains("\nlicense = \"") {
                findings.push(Finding::error(file, 1, "the workspace names its licence"));
            }
            continue;
        }
        for line in ["license.workspace = true", "[lints]\nworkspace = true", "publish.workspace = true"] {
            if !file.text.contains(line) {
                findings.push(Finding::error(file, 1, format!("`{}` is missing", line.replace('\n', " "))));
            }
        }
        findings.extend(check_walls(file));
    }
    findings
}

fn check_walls(file: &File) -> Vec<Finding> {
    let name = file.path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    let forbidden: Vec<&str> = match name {
        "envforge-core" => APART.into_iter().chain(["envforge-api", "tokio", "reqwest", "sqlx"]).collect(),
        // Joined by `envforged` alone: what runs inside a workspace knows of no role, and no role waits for its libraries.
        "envforge-api" | "envforge-resources" => APART.to_vec(),
        _ if APART.contains(&name) => {
            APART.into_iter().chain(["envforge-resources"]).filter(|other| *other != name).collect()
        }
        _ => Vec::new(),
    };
    let mut is_development = false;
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if line.starts_with('[') {
            is_development = line.contains("dev-dependencies");
        }
        let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if !is_development && forbidden.contains(&dependency) {
            findings.push(Finding::error(file, index + 1, format!("`{name}` may not depend on `{dependency}`")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{File, check_walls};

    #[test]
    fn roles_do_not_depend_on_one_another() {
        let text = "[dependencies]\nenvforge-core.workspace = true\nenvforge-host.workspace = true\n[dev-dependencies]\nenvforge-server.workspace = true\n";
        let findings = check_walls(&File { path: "crates/envforge-gateway/Cargo.toml".into(), text: text.to_owned() });
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].message, "`envforge-gateway` may not depend on `envforge-host`");
    }
}
