//! The report as a page of the documentation: the command, the machine, who stood beside us, and every number.

use super::load::WRK;
use super::peers::{KINDS, version_of};
use super::report::{Record, number};
use anyhow::Context as _;
use std::fmt::Write as _;

/// Where the page is, in the repository.
pub(super) const PATH: &str = "docs/reference/benchmarks.md";

/// What the numbers were measured on.
#[derive(Debug)]
pub(super) struct Machine {
    /// Name and value of each line.
    facts: Vec<(&'static str, String)>,
}

impl Machine {
    pub(super) fn here() -> anyhow::Result<Self> {
        let read = |path: &str| fs_err::read_to_string(path);
        let (cpus, memory, system) = (read("/proc/cpuinfo")?, read("/proc/meminfo")?, read("/etc/os-release")?);
        let field = |text: &str, name: &str, separator: char| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(separator));
            value.map(|value| value.trim().trim_matches('"').to_owned())
        };
        let model = field(&cpus, "model name", ':').unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
        let total = field(&memory, "MemTotal", ':').context("the machine's memory")?;
        let kilobytes: f64 = total.trim_end_matches(" kB").parse().context("the machine's memory")?;
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut facts = vec![
            ("processor", format!("{model}, {cores} cores")),
            ("memory", format!("{:.1} GiB", kilobytes / 1_048_576.0)),
            ("kernel", format!("Linux {kernel}")),
            ("distribution", field(&system, "PRETTY_NAME", '=').unwrap_or_else(|| "unknown".to_owned())),
        ];
        let missing = || "not installed".to_owned();
        facts.extend(KINDS.iter().map(|kind| (kind.name, kind.version().unwrap_or_else(missing))));
        facts.push(("wrk", version_of(WRK, "-v").unwrap_or_else(missing)));
        Ok(Self { facts })
    }
}

/// The page: of the names asked for, and of all that was measured with its meaning.
pub(super) fn page(records: &[Record], names: &[String], meanings: &[(&str, &str)], machine: &Machine) -> String {
    let command =
        ["./dev bench --markdown"].into_iter().chain(names.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let mut text = format!(
        "# Benchmarks\n\nWritten by `{command}`, all of it in one run on one machine, by \
         [`xtask/src/bench`](../../xtask/src/bench/mod.rs).\n\n| | |\n|---|---|\n"
    );
    for (name, value) in &machine.facts {
        let _ = writeln!(text, "| {name} | {} |", cell(value));
    }
    text.push_str(
        "\nOf all samples half are at least as good as p50, and 99 in 100 as good as p99: the slowest, or the lowest rate. A \
         ratio above 1 is ahead of the peer; what stands beside ours without a ratio is no peer.\n",
    );
    text.push_str("\n| name | p50 | p99 | unit | to reach | peer | p50 | p99 | ratio | |\n|---|--:|--:|---|---|---|--:|--:|--:|---|\n");
    for record in records {
        let verdict = match &record.not_run {
            Some(why) => format!("not run: {}", short(why)),
            None if record.missed => "**missed**".to_owned(),
            None => String::new(),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            record.name,
            number(Some(record.p50), 2),
            number(Some(record.p99), 2),
            record.unit,
            cell(record.target),
            cell(record.peer.as_deref().unwrap_or("-")),
            number(record.peer_p50, 2),
            number(record.peer_p99, 2),
            number(record.ratio, 2),
            cell(&verdict),
        );
    }
    text.push_str("\n## What each name measures\n\n");
    for (name, meaning) in meanings {
        let _ = writeln!(text, "- `{name}`: {meaning}.");
    }
    text
}

/// The beginning of a reason, in one line; the command says all of it.
fn short(why: &str) -> String {
    const MAX: usize = 300;
    let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// As it may stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::super::report::{Better, Record, Target};
    use super::{Machine, page};

    #[test]
    fn the_page_tells_the_machine_misses_and_what_was_not_run() {
        let machine = Machine::here().unwrap();
        let target = Target { p50: Some(1.0), p99: None, text: "< 1" };
        let missed =
            Record::of("a", "ms", Better::Less, &[2.0], target).beside("nginx, no session", Better::Less, &[1.0]);
        let text = page(
            &[missed, Record::not_run("b", "KB", target, "too\nfew |")],
            &["a".to_owned()],
            &[("a", "how long")],
            &machine,
        );
        assert!(text.contains("`./dev bench --markdown a`") && text.contains("| kernel | Linux "), "{text}");
        assert!(
            text.contains("| `a` | 2.00 | 2.00 | ms | < 1 | nginx, no session | 1.00 | 1.00 | 0.50 | **missed** |"),
            "{text}"
        );
        assert!(text.contains("| `b` | - | - | KB | < 1 | - | - | - | - | not run: too few \\| |"), "{text}");
        assert!(text.ends_with("\n- `a`: how long.\n"), "{text}");
    }
}
