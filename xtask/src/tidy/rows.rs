//! Every requirement that is implemented is proven: some test says `// proves LINK-4`.

use super::{File, Finding, Severity};

/// The requirements implemented; a row joins when its first test does.
pub(crate) const ROWS: [&str; 22] = [
    "UP-1", "UP-2", "UP-3", "UP-5", "UP-7", "REPO-3", "REPO-4", "RUN-1", "RUN-3", "RUN-6", "RUN-7", "RUN-8", "LINK-1",
    "LINK-2", "LINK-3", "LINK-4", "LINK-9", "COST-1", "COST-2", "OPS-1", "OPS-2", "OPS-4",
];
const MARK: &str = concat!("// ", "proves ");

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let proofs =
        files.iter().filter(|file| file.has_extension(&["rs", "ts", "tsx"])).flat_map(|file| file.text.lines());
    let proven: Vec<&str> = proofs
        .filter_map(|line| line.trim().strip_prefix(MARK))
        .flat_map(|rows| rows.split([',', ' ', ':']))
        .filter(|row| !row.is_empty())
        .collect();
    let unproven = ROWS.iter().filter(|row| !proven.contains(row));
    let finding = |row: &&str| Finding {
        severity: Severity::Error,
        path: "xtask/src/tidy/rows.rs".into(),
        line: 1,
        message: format!("no test proves {row}: write `{MARK}{row}` above the one that does"),
    };
    unproven.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::{File, MARK, ROWS, check};

    #[test]
    fn each_row_wants_a_test() {
        let text = format!("    {MARK}{}\n", ROWS[1..].join(", "));
        let findings = check(&[File { path: "a.rs".into(), text }]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.starts_with("no test proves UP-1:"));
    }
}
