//! Receipts as comma-separated values (RFC 4180), a line for each window; safe to open in a spreadsheet.

use super::SessionReceipt;
use super::price::amount;
use std::fmt::Write as _;

const HEAD: &str = "session,final,project,workspace,branch,window,opened_at,closed_at,size,seconds,unproven_seconds,wake_cause,\
    end_cause,price_versions,cost_micros,cost,currency,sha256";

/// Receipts with their hashes, if they are kept.
pub fn receipts_csv<'a>(receipts: impl IntoIterator<Item = (&'a SessionReceipt, Option<String>)>) -> String {
    let mut text = format!("{HEAD}\r\n");
    for (receipt, sha256) in receipts {
        let sha256 = sha256.unwrap_or_default();
        for window in &receipt.windows {
            let versions: Vec<_> = window.parts.iter().map(|part| part.price_version.to_string()).collect();
            let line = [
                receipt.session.to_string(),
                receipt.is_final.to_string(),
                receipt.project.to_string(),
                receipt.workspace_slug.to_string(),
                cell(&receipt.branch),
                window.window.to_string(),
                window.opened_at.to_string(),
                window.closed_at.map(|at| at.to_string()).unwrap_or_default(),
                window.size.to_string(),
                window.seconds.to_string(),
                window.unproven_seconds.to_string(),
                cell(&window.wake_cause),
                cell(window.end_cause.as_deref().unwrap_or_default()),
                versions.join(" "),
                window.cost_micros.to_string(),
                amount(window.cost_micros),
                cell(&receipt.currency),
                sha256.clone(),
            ];
            let _ = write!(text, "{}\r\n", line.join(","));
        }
    }
    text
}

/// A text as one cell. What a spreadsheet would take for a formula stands behind an apostrophe, which makes it a text.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !is_formula && !text.contains([',', '"', '\n', '\r']) {
        return text.to_owned();
    }
    let mark = if is_formula { "'" } else { "" };
    format!("\"{mark}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::cell;

    // proves COST-5
    #[test]
    fn no_cell_is_a_formula_or_breaks_its_line() {
        for (text, told) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\tx", "\"'\tx\""),
            ("\rx", "\"'\rx\""),
            ("=\"a\",1", "\"'=\"\"a\"\",1\""),
            ("a=1", "a=1"),
        ] {
            assert_eq!(cell(text), told, "{text:?}");
        }
    }
}
