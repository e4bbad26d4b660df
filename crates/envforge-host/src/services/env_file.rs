//! A service's environment as files for people: one to be sourced, one for programs that read `.env` files.
//!
//! Readers of `.env` files agree on less than they seem to. None has an escape that all others know, and several change what they
//! read: Node's drop carriage returns, python-dotenv replaces `${…}` even between single quotes and halves `\\`, shells replace
//! `$` and `` ` `` between double quotes. What all of them (POSIX shells, Node's `--env-file`, dotenv for Node and for Ruby,
//! python-dotenv, Compose) read as the same value is:
//!
//! - `'…'` around what holds no `'`, no `\\`, no `\` at its end, no `${` and no carriage return;
//! - `"…"` around what holds no `"`, `\`, `$`, `` ` `` and no carriage return.
//!
//! A value that fits neither form is left out of the `.env` file, and named there: a missing value is noticed, a changed one
//! is not. The file to be sourced has all of them; a shell's single quotes can say anything.

use crate::script::quote;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// For `. NAME.sh`, with every value.
pub(crate) fn to_source(environment: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in environment {
        let _ = writeln!(text, "export {name}={}", quote(value));
    }
    text
}

/// For whatever reads `.env` files; `beside` is the name of the file to be sourced.
pub(crate) fn dotenv(environment: &BTreeMap<String, String>, beside: &str) -> String {
    let mut text = String::new();
    for (name, value) in environment {
        let _ = match quoted(value) {
            Some(value) => writeln!(text, "{name}={value}"),
            None => {
                writeln!(text, "# {name} is in {beside} only: no form of it is read alike by all that read such files")
            }
        };
    }
    text
}

/// A value in the form that every reader reads alike, if there is one.
fn quoted(value: &str) -> Option<String> {
    if value.contains('\r') {
        None
    } else if !value.contains(['\'']) && !value.contains("\\\\") && !value.ends_with('\\') && !value.contains("${") {
        Some(format!("'{value}'"))
    } else if !value.contains(['"', '\\', '$', '`']) {
        Some(format!("\"{value}\""))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::command::std_command;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    use std::path::Path;

    /// Values in one file, read by one process.
    const VALUES: usize = 4_000;

    /// What trips readers, often beside one another; and anything else but NUL, which no environment can hold.
    fn value() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            8 => proptest::sample::select(vec![
                "'", "\"", "`", "\\", "\\\\", "$", "${", "}", "${HOME}", "$HOME", "$(id)", "#", " #", " ", "\t", "\n",
                "\r", "=", "export ", "A=b", "!", "%", "&", ";", "|", "\\n", "\\'", "\\\"", ":-", "~", "*", "é", "\u{2028}",
                "\u{feff}", "🐘",
            ])
            .prop_map(str::to_owned),
            3 => "[a-z]{1,4}",
            1 => "[^\\x00]{0,4}",
        ];
        let hard = prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat());
        let plain = "[ -~&&[^'`\"$\\\\]]{0,12}";
        prop_oneof![6 => hard, 1 => plain.prop_map(|text: String| text)]
    }

    fn environment() -> BTreeMap<String, String> {
        let mut runner = TestRunner::default();
        let mut value = || value().new_tree(&mut runner).expect("a value").current();
        (0..VALUES).map(|number| (format!("V{number:04}"), value())).collect()
    }

    /// What a program made of it: `NAME=value`, each ended by NUL. `None` where there is no such program.
    fn read_by(program: &str, arguments: &[&str], file: &Path) -> Option<BTreeMap<String, String>> {
        let mut command = std_command(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let output = command.args(arguments).arg(file).env("PATH", path).output().ok()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // A reader that is a library may not be installed.
            let missing = ["No module named", "Cannot find module", "cannot load such file"];
            assert!(missing.iter().any(|words| said.contains(words)), "{program}: {said}");
            return None;
        }
        let text = String::from_utf8(output.stdout).expect("text");
        let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
        Some(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    const SOURCED: &[&str] = &["-c", ". \"$1\"; exec env -0", "sh"];
    const SET: &[&str] = &["-c", "set -a; . \"$1\"; exec env -0", "sh"];
    const NODE: &str = "for (const [k, v] of Object.entries(process.env)) process.stdout.write(`${k}=${v}\\0`)";
    const NODE_DOTENV: &str = "for (const [k, v] of Object.entries(require('dotenv').parse(require('fs').readFileSync(process.argv[1])))) \
        process.stdout.write(`${k}=${v}\\0`)";
    const PYTHON: &str = "import sys, dotenv\nfor k, v in dotenv.dotenv_values(sys.argv[1]).items(): sys.stdout.buffer.write(f'{k}={v}\\0'.encode())";
    const RUBY: &str = "require 'dotenv'; Dotenv.parse(ARGV[0]).each { |k, v| print k, '=', v, \"\\0\" }";

    fn same(reader: &str, found: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) {
        for (name, value) in wanted {
            assert_eq!(found.get(name), Some(value), "{reader}");
        }
    }

    // proves RUN-1
    #[test]
    fn every_reader_reads_every_value_alike() {
        let environment = environment();
        let dir = tempfile::tempdir().expect("a directory");
        let (sourced, dotenv_file) = (dir.path().join("web.sh"), dir.path().join("web.env"));
        fs_err::write(&sourced, to_source(&environment)).expect("written");
        let text = dotenv(&environment, "web.sh");
        fs_err::write(&dotenv_file, &text).expect("written");
        let fit: BTreeMap<String, String> = environment
            .iter()
            .filter(|(_, value)| quoted(value).is_some())
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        assert!(fit.len() > VALUES / 4, "most of what people write fits: {}", fit.len());
        let mut readers = Vec::new();
        for shell in ["sh", "dash", "bash", "zsh", "busybox"] {
            let applet = if shell == "busybox" { &["sh"][..] } else { &[] };
            if let Some(found) = read_by(shell, &[applet, SOURCED].concat(), &sourced) {
                same(shell, &found, &environment);
            }
            if let Some(found) = read_by(shell, &[applet, SET].concat(), &dotenv_file) {
                same(shell, &found, &fit);
                readers.push(shell);
            }
        }
        let flag = format!("--env-file={}", dotenv_file.display());
        for (reader, program, arguments) in [
            ("node --env-file", "node", vec![flag.as_str(), "-e", NODE, "--"]),
            ("dotenv", "node", vec!["-e", NODE_DOTENV, "--"]),
            ("python-dotenv", "python3", vec!["-c", PYTHON]),
            ("dotenv of Ruby", "ruby", vec!["-e", RUBY]),
        ] {
            if let Some(found) = read_by(program, &arguments, &dotenv_file) {
                same(reader, &found, &fit);
                readers.push(reader);
            }
        }
        assert!(readers.contains(&"sh"), "{readers:?}");
        for name in environment.keys().filter(|name| !fit.contains_key(*name)) {
            assert!(text.contains(&format!("# {name} is in web.sh only")), "{name}");
        }
    }

    #[test]
    fn what_people_write_fits() {
        for (value, line) in [
            ("", "''"),
            ("postgres://u:p%40$s@h:5432/db?a=b#c", "'postgres://u:p%40$s@h:5432/db?a=b#c'"),
            ("it's", "\"it's\""),
            ("{\"a\": \"b\\n\"}", "'{\"a\": \"b\\n\"}'"),
            ("-----BEGIN-----\nx\n-----END-----\n", "'-----BEGIN-----\nx\n-----END-----\n'"),
        ] {
            assert_eq!(quoted(value).as_deref(), Some(line));
        }
        for value in ["it's \"both\"", "it's \\", "C:\\\\x", "C:\\", "${HOME}", "a\r\nb"] {
            assert_eq!(quoted(value), None, "{value:?}");
        }
    }
}
