//! A migration adds or takes away, and says which in its first line.
//!
//! Servers of two versions work on one database while an installation is upgraded, so what takes something away comes in a
//! later release than what stopped using it. The first line is what `envforged migrate --plan` shows and what the database
//! remembers.

use super::{File, Finding};

const FOLDER: &str = "crates/envforge-server/migrations";
/// Released before the rule; a migration that was released is never changed.
const BEFORE: [&str; 2] = ["0001_foundation.sql", "0005_sleep_cause.sql"];
/// Statements that take something away from programs that run. A function may be made anew to answer with more; a test of
/// the server compares what each step offers with what was offered before.
const TAKES: [&str; 6] = ["DROP TABLE", "DROP COLUMN", "DROP VIEW", "RENAME TO", "RENAME COLUMN", "ALTER COLUMN"];

pub(super) fn check(file: &File) -> Vec<Finding> {
    let Some(name) = file.inside(FOLDER) else { return Vec::new() };
    if !file.has_extension(&["sql"]) || name.contains(".down.") || BEFORE.contains(&name) {
        return Vec::new();
    }
    let first = file.text.lines().next().unwrap_or_default();
    match (first.contains("(expand)"), first.contains("(contract)")) {
        (true, false) => {
            let code = file.text.lines().map(|line| line.split("--").next().unwrap_or_default()).enumerate();
            let takes = code.filter(|(_, line)| TAKES.iter().any(|word| line.to_uppercase().contains(word)));
            takes
                .map(|(index, line)| {
                    let message = format!("an expand takes nothing away: `{}` belongs into a contract", line.trim());
                    Finding::error(file, index + 1, message)
                })
                .collect()
        }
        (false, true) => Vec::new(),
        _ => vec![Finding::error(file, 1, "the first line says `(expand)` or `(contract)`, and one of them only")],
    }
}

#[cfg(test)]
mod tests {
    use super::{FOLDER, File, check};

    fn messages(name: &str, text: &str) -> Vec<String> {
        let file = File { path: format!("{FOLDER}/{name}").into(), text: text.to_owned() };
        check(&file).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_migration_adds_or_takes_away() {
        assert!(messages("0006_a.sql", "-- More (expand).\nCREATE TABLE a ();").is_empty());
        assert!(messages("0006_a.sql", "-- Less (contract).\nDROP TABLE a;").is_empty());
        assert!(messages("0006_a.down.sql", "DROP TABLE a;").is_empty());
        assert!(messages("0001_foundation.sql", "-- Foundation.").is_empty());
        assert!(messages("0006_a.sql", "-- More.\n")[0].starts_with("the first line says"));
        assert!(messages("0006_a.sql", "-- Both (expand) (contract).\n")[0].starts_with("the first line says"));
        let taken = messages("0006_a.sql", "-- More (expand).\n-- no DROP TABLE here\nalter table a drop column b;");
        assert_eq!(taken, ["an expand takes nothing away: `alter table a drop column b;` belongs into a contract"]);
    }
}
