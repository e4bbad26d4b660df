//! The walls inside crates: who may name what.
//!
//! Walls between crates are held by their manifests ([`super::manifests`]); these are the ones inside.

use super::lexer::code_only;
use super::{File, Finding};

const SERVER: &str = "crates/envforge-server/src";
const SLICE_FILES: [&str; 6] = ["mod.rs", "ops.rs", "store.rs", "http.rs", "jobs.rs", "tests.rs"];
/// Folders of the server that are no slices.
const NOT_SLICES: [&str; 2] = ["platform", "providers"];
/// Further files slices may have: path inside the server, and why.
const SLICE_EXCEPTIONS: [(&str, &str); 0] = [];
/// Where SQL may be besides `store.rs`: path inside the server, and why.
const SQL: [(&str, &str); 4] = [
    ("platform/db.rs", "makes the pool and the transaction"),
    ("platform/schema.rs", "migrates"),
    ("platform/bus.rs", "LISTEN needs a connection of its own"),
    ("platform/fault.rs", "turns a database's error into a fault"),
];
/// Where axum may be besides `http.rs` and `platform/http/`.
const AXUM: [(&str, &str); 2] =
    [("start.rs", "serves the routers"), ("lib.rs", "names the file in which axum is allowed, in words")];
/// Where unsafe code may be: the system calls, and the test that tries forbidden ones from inside a sandbox.
const UNSAFE: [&str; 3] = [
    "crates/envforge-host/src/sys/",
    "crates/envforge-host/tests/it/entry.rs",
    "crates/envforge-host/tests/it/escape/probes.rs",
];
/// What the pure crate never does.
const IMPURE: [&str; 9] = [
    "tokio::",
    "std::fs",
    "fs_err",
    "std::net",
    "std::process",
    "std::env",
    "async fn",
    "SystemTime::now",
    "Instant::now",
];

pub(super) fn check(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let code = code_only(&file.text);
    let mut findings = Vec::new();
    if let Some(path) = file.inside(SERVER) {
        findings.extend(check_server(file, path, &code));
    }
    if file.path.starts_with("crates/envforge-core/src") {
        for word in IMPURE {
            findings.extend(lines_with(&code, word).map(|line| {
                Finding::error(file, line, format!("`{word}` in core: it does no IO, is not async and reads no clock"))
            }));
        }
    }
    if !UNSAFE.iter().any(|folder| file.path.starts_with(folder)) {
        findings.extend(
            lines_with(&code, "unsafe {")
                .map(|line| Finding::error(file, line, format!("unsafe code lives in {} only", UNSAFE.join(", ")))),
        );
    }
    findings
}

fn check_server(file: &File, path: &str, code: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_test = name == "tests.rs" || path.contains("/tests/");
    let is_listed = |list: &[(&str, &str)]| list.iter().any(|(listed, _)| *listed == path);
    if name != "store.rs" && !is_test && !is_listed(&SQL) {
        findings
            .extend(lines_with(code, "sqlx").map(|line| Finding::error(file, line, "SQL lives in `store.rs` only")));
    }
    if name != "http.rs" && !is_test && !path.starts_with("platform/http/") && !is_listed(&AXUM) {
        findings
            .extend(lines_with(code, "axum").map(|line| Finding::error(file, line, "axum lives in `http.rs` only")));
    }
    if let Some((slice, inside)) = path.split_once('/')
        && !NOT_SLICES.contains(&slice)
        && !SLICE_FILES.contains(&inside)
        && !inside.starts_with("http/")
        && !inside.starts_with("tests/")
        && !is_listed(&SLICE_EXCEPTIONS)
    {
        let message = format!("a slice has {} and nothing else", SLICE_FILES.join(", "));
        findings.push(Finding::error(file, 1, message));
    }
    findings
}

/// A slice calls only slices that `lib.rs` names before it.
pub(super) fn check_order(files: &[File]) -> Vec<Finding> {
    let Some(lib) = files.iter().find(|file| file.inside(SERVER) == Some("lib.rs")) else { return Vec::new() };
    let order: Vec<&str> = lib
        .text
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    let place = |slice: &str| order.iter().position(|listed| *listed == slice);
    let slices: Vec<&&str> = order.iter().filter(|name| is_slice(files, name)).collect();
    let mut findings = Vec::new();
    for file in files {
        let Some((slice, _)) = file.inside(SERVER).and_then(|path| path.split_once('/')) else { continue };
        if NOT_SLICES.contains(&slice) || !file.is_rust() || file.path.ends_with("tests.rs") {
            continue;
        }
        let code = code_only(&file.text);
        for other in slices.iter().filter(|other| place(other) > place(slice)) {
            let line = lines_with(&code, &format!("crate::{other}::")).next();
            findings.extend(line.map(|line| {
                let message = format!(
                    "`{slice}` comes before `{other}` in lib.rs and may not call it; it tells it through the bus"
                );
                Finding::error(file, line, message)
            }));
        }
    }
    findings
}

fn is_slice(files: &[File], name: &str) -> bool {
    !NOT_SLICES.contains(&name) && files.iter().any(|file| file.inside(SERVER) == Some(&format!("{name}/mod.rs")))
}

/// Numbers of the lines in which `word` stands as code.
fn lines_with<'a>(code: &'a str, word: &str) -> impl Iterator<Item = usize> + use<'a> {
    let word = word.to_owned();
    code.lines().enumerate().filter(move |(_, line)| stands_alone(line, &word)).map(|(index, _)| index + 1)
}

fn stands_alone(line: &str, word: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let ends_whole = !word.ends_with(is_letter) || !line[at + word.len()..].starts_with(is_letter);
        !line[..at].ends_with(is_letter) && ends_whole
    })
}

#[cfg(test)]
mod tests {
    use super::{File, check, check_order};

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.to_owned() }
    }

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&file(path, text)).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn sql_and_axum_have_their_files() {
        let server = "crates/envforge-server/src";
        assert_eq!(messages(&format!("{server}/orgs/ops.rs"), "use sqlx::query;\n"), ["SQL lives in `store.rs` only"]);
        assert_eq!(messages(&format!("{server}/orgs/ops.rs"), "// sqlx is not here\n"), [""; 0]);
        assert_eq!(messages(&format!("{server}/orgs/store.rs"), "use sqlx::query;\n"), [""; 0]);
        assert_eq!(messages(&format!("{server}/orgs/jobs.rs"), "use axum::Json;\n"), ["axum lives in `http.rs` only"]);
        assert_eq!(messages(&format!("{server}/orgs/helpers.rs"), "").len(), 1);
        assert_eq!(messages("crates/envforge-core/src/a.rs", "let x = std::fs::read(p);").len(), 1);
    }

    #[test]
    fn a_slice_calls_only_earlier_ones() {
        let files = [
            file("crates/envforge-server/src/lib.rs", "pub mod ledger;\npub mod links;\n"),
            file("crates/envforge-server/src/ledger/mod.rs", "use crate::links::ops;\n"),
            file("crates/envforge-server/src/links/mod.rs", "use crate::ledger::ops;\n"),
        ];
        let findings = check_order(&files);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path.to_str(), Some("crates/envforge-server/src/ledger/mod.rs"));
    }
}
