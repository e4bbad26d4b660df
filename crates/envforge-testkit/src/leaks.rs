//! Looks for what must be nowhere: planted values, as they are and in the forms they take on their way through programs.
//!
//! `grep` does the looking: it reads whole data directories and `/proc` in a moment, and knows nothing of ours. Looked for
//! is each value as it is, in hexadecimal (as PostgreSQL prints bytes), in base64 wherever it may lie in what was encoded,
//! encoded for a URL and escaped for JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What every secret that a test plants begins with. A test of a whole box ends with a search for it ([`Planted::marked`]).
pub const MARKER: &str = "planted-secret-";
/// A shorter form would be found by chance.
const SHORTEST: usize = 12;
/// How many bytes are shown around what was found.
const AROUND: u64 = 70;

/// Values that must be nowhere.
#[derive(Debug, Default)]
pub struct Planted {
    /// Each form, with the value's name and the form's.
    forms: BTreeMap<Vec<u8>, (String, &'static str)>,
}

/// A planted value that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// What the value is.
    pub what: String,
    /// How it was written.
    pub form: &'static str,
    /// The file.
    pub place: PathBuf,
    /// Where in it, in bytes.
    pub at: u64,
    /// What stands around it.
    pub context: String,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, form, place, at, context } = self;
        write!(f, "{what} lies {form} in {} at byte {at}: …{context}…", place.display())
    }
}

impl Planted {
    /// Everything that begins with [`MARKER`].
    pub fn marked() -> Self {
        let mut it = Self::default();
        it.add("a planted secret", MARKER);
        it
    }

    /// Looks for this too: what it is, and its value. Of several lines, each long one is looked for by itself.
    pub fn add(&mut self, what: &str, value: &str) {
        assert!(value.len() >= SHORTEST, "{what} is too short to be told from anything else");
        let mut add = |form, text: Vec<u8>| {
            if text.len() >= SHORTEST && !text.contains(&b'\n') {
                self.forms.entry(text).or_insert_with(|| (what.to_owned(), form));
            }
        };
        for line in value.lines() {
            add("as it is", line.as_bytes().to_vec());
        }
        let hex = |byte: u8, digits: &[u8; 16]| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]];
        for digits in [b"0123456789abcdef", b"0123456789ABCDEF"] {
            add("in hexadecimal", value.bytes().flat_map(|byte| hex(byte, digits)).collect());
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            let percent = |byte: u8| {
                let [high, low] = hex(byte, digits);
                if is_plain(byte) { vec![byte] } else { vec![b'%', high, low] }
            };
            add("encoded for a URL", value.bytes().flat_map(percent).collect());
        }
        let json = serde_json::Value::from(value).to_string().into_bytes();
        add("escaped for JSON", json[1..json.len() - 1].to_vec());
        for last in [*b"+/", *b"-_"] {
            for before in 0..3 {
                add("in base64", base64(value.as_bytes(), before, last));
            }
        }
    }

    /// The forms of [`MARKER`], as a regular expression of PostgreSQL's.
    pub(crate) fn marks() -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric();
        let escape = |form: &Vec<u8>| -> String {
            form.iter()
                .flat_map(|byte| [if plain(*byte) { "" } else { "\\" }.to_owned(), char::from(*byte).to_string()])
                .collect()
        };
        Self::marked().forms.keys().map(escape).collect::<Vec<_>>().join("|")
    }

    /// Every place in files of these names below a folder that holds one of them. A name may have `*`.
    pub fn find_in_files_named(&self, names: &[&str], folder: &Path) -> Vec<Leak> {
        let options: Vec<String> = names.iter().map(|name| format!("--include={name}")).collect();
        self.grep(&options, &[folder])
    }

    /// Every place in these files, and in all files below these folders, that holds one of them.
    pub fn find_in<P: AsRef<Path>>(&self, places: &[P]) -> Vec<Leak> {
        self.grep(&[], places)
    }

    fn grep<P: AsRef<Path>>(&self, options: &[String], places: &[P]) -> Vec<Leak> {
        if places.is_empty() {
            return Vec::new();
        }
        #[expect(clippy::disallowed_methods, reason = "an independent program looks")]
        let mut command = Command::new("grep");
        command.args(["-r", "-s", "-a", "-b", "-o", "-H", "-Z", "-F", "-D", "skip", "-f", "-"]).args(options).arg("--");
        command.args(places.iter().map(AsRef::as_ref)).env("LC_ALL", "C");
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut grep = spawned.expect("grep is installed");
        let patterns: Vec<&[u8]> = self.forms.keys().map(Vec::as_slice).collect();
        grep.stdin.take().expect("piped").write_all(&patterns.join(&b'\n')).expect("grep reads its patterns first");
        let output = grep.wait_with_output().expect("grep ends");
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| self.leak(line)).collect()
    }

    /// A line of grep's: `place`, a zero byte, `offset:what was found`.
    fn leak(&self, line: &[u8]) -> Option<Leak> {
        let end = line.iter().position(|byte| *byte == 0)?;
        let (place, rest) = (PathBuf::from(std::ffi::OsStr::from_bytes(&line[..end])), &line[end + 1..]);
        let colon = rest.iter().position(|byte| *byte == b':')?;
        let at = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
        let found = &rest[colon + 1..];
        let (what, form) = self.forms.get(found)?;
        let context = around(&place, at, found.len() as u64).unwrap_or_else(|_| String::from_utf8_lossy(found).into());
        Some(Leak { what: what.clone(), form, place, at, context })
    }
}

fn around(place: &Path, at: u64, length: u64) -> std::io::Result<String> {
    let mut file = fs_err::File::open(place)?;
    let from = at.saturating_sub(AROUND);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(at - from + length + AROUND).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).escape_debug().to_string())
}

/// The digits of base64 that are the same whatever stands behind the value, and before it after `before` bytes of a group of
/// three (RFC 4648, section 4).
fn base64(value: &[u8], before: usize, last: [u8; 2]) -> Vec<u8> {
    let digit = |six: u8| match six {
        0..26 => b'A' + six,
        26..52 => b'a' + six - 26,
        52..62 => b'0' + six - 52,
        _ => last[usize::from(six - 62)],
    };
    let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(value.iter().copied()).collect();
    let six_at = |bit: usize| {
        let two = u16::from_be_bytes([bytes[bit / 8], bytes.get(bit / 8 + 1).copied().unwrap_or(0)]);
        (two >> (10 - bit % 8) & 63) as u8
    };
    let whole = bytes.len() * 8 / 6;
    ((before * 8).div_ceil(6)..whole).map(|place| digit(six_at(place * 6))).collect()
}

#[cfg(test)]
mod tests {
    use super::{MARKER, Planted};

    #[test]
    fn every_form_is_found_with_its_place() {
        let value = format!("{MARKER}4711+ä/\"?");
        let mut planted = Planted::default();
        planted.add("the key", &value);
        let folder = tempfile::tempdir().unwrap();
        for (text, form) in [
            (format!("x={value}."), "as it is"),
            (format!("\\\\x00{}00", "706c616e7465642d7365637265742d343731312bc3a42f223f"), "in hexadecimal"),
            ("q=planted-secret-4711%2B%C3%A4%2F%22%3F&".to_owned(), "encoded for a URL"),
            ("{\"a\":\"planted-secret-4711+ä/\\\"?\"}".to_owned(), "escaped for JSON"),
            // As `printf 'xplanted-secret-4711+ä/"?y' | base64`, with none, one and two bytes before it.
            ("cGxhbnRlZC1zZWNyZXQtNDcxMSvDpC8iP3k=".to_owned(), "in base64"),
            ("eHBsYW50ZWQtc2VjcmV0LTQ3MTErw6QvIj95".to_owned(), "in base64"),
            ("eHhwbGFudGVkLXNlY3JldC00NzExK8OkLyI/eQ==".to_owned(), "in base64"),
        ] {
            let file = folder.path().join("file");
            std::fs::write(&file, format!("a line\n\0{text}\n")).unwrap();
            let found = planted.find_in(&[folder.path()]);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!((found[0].what.as_str(), found[0].form, &found[0].place), ("the key", form, &file));
            assert!(found[0].to_string().contains("a line"), "{}", found[0]);
        }
    }

    #[test]
    fn what_is_marked_is_found_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("one"), "planted-secrecy").unwrap();
        assert_eq!(Planted::marked().find_in(&[folder.path()]), []);
        std::fs::write(folder.path().join("two"), "{\"k\":\"c28gaXQgaXM6IHBsYW50ZWQtc2VjcmV0LTE=\"}").unwrap();
        let found = Planted::marked().find_in(&[folder.path()]);
        assert_eq!(found.iter().map(|leak| leak.form).collect::<Vec<_>>(), ["in base64"]);
        assert_eq!(Planted::marked().find_in_files_named(&["t*"], folder.path()), found);
        assert_eq!(Planted::marked().find_in_files_named(&["*.log"], folder.path()), []);
    }
}
