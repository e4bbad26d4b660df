//! Takes known secrets out of what programs write, before it is kept.
//!
//! A value is looked for as it is, and in the forms it takes on its way through programs: escaped for JSON, encoded for a
//! URL, in hexadecimal, in base64 wherever it may lie in what was encoded, and with the line ends of a terminal. In its place stands
//! `[secret NAME]`. A stream is cut anywhere, within a value too: what may be the beginning of one is held back
//! until it is known. Values shorter than [`SHORTEST`] are let through: they would be found everywhere.
//!
//! It hides what is written by mistake. Whoever runs code with a secret in hand can write it in ways nobody looks for.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// The shortest form that is looked for, in bytes.
pub(crate) const SHORTEST: usize = 8;
/// The shortest line of a value of several lines that is looked for by itself, unless it has white space: the lines of a
/// private key are alike nowhere else, those of a document may be.
const SHORTEST_LINE: usize = 24;

/// What is looked for.
#[derive(Default)]
pub(crate) struct Redactor {
    automaton: Option<AhoCorasick>,
    /// Each form, and what stands in its place.
    forms: Vec<(Zeroizing<Vec<u8>>, String)>,
}

impl Redactor {
    /// Looks for these secrets: name and value.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut forms: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        for (name, value) in secrets {
            for form in forms_of(value) {
                forms.entry(form).or_insert_with(|| format!("[secret {name}]"));
            }
        }
        let forms: Vec<_> = forms.into_iter().map(|(form, mark)| (Zeroizing::new(form), mark)).collect();
        // Not an automaton of one step a byte: a value may have 64 KiB, and that would take hundreds of megabytes.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(forms.iter().map(|(form, _)| form.as_slice()));
        Self { automaton: automaton.ok().filter(|_| !forms.is_empty()), forms }
    }

    /// Whether there is nothing to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }

    /// Where the end of `text` may be the beginning of something looked for; its length if nowhere.
    fn open_end(&self, text: &[u8]) -> usize {
        let mut first = text.len();
        for (form, _) in &self.forms {
            let mut from = text.len().saturating_sub(form.len() - 1);
            while from < first {
                let Some(at) = memchr::memchr(form[0], &text[from..first]) else { break };
                if form.starts_with(&text[from + at..]) {
                    first = from + at;
                    break;
                }
                from += at + 1;
            }
        }
        first
    }
}

/// The secrets that are somewhere in a workspace, for whoever keeps what its programs write.
#[derive(Default)]
pub(crate) struct Known {
    known: Mutex<KnownNow>,
}

#[derive(Default)]
struct KnownNow {
    /// Name and value.
    secrets: Vec<(String, Zeroizing<String>)>,
    redactor: Arc<Redactor>,
}

impl Known {
    fn now(&self) -> MutexGuard<'_, KnownNow> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Knows these too from now on: name and value. What was known stays known: an older value may still be in use.
    pub(crate) fn add<'a>(&self, new: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let mut known = self.now();
        let before = known.secrets.len();
        for (name, value) in new {
            let secret = (name.to_owned(), Zeroizing::new(value.to_owned()));
            if !known.secrets.contains(&secret) {
                known.secrets.push(secret);
            }
        }
        if known.secrets.len() > before {
            let all = known.secrets.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            known.redactor = Arc::new(Redactor::new(all));
        }
    }

    /// What looks for all that is known now.
    pub(crate) fn redactor(&self) -> Arc<Redactor> {
        Arc::clone(&self.now().redactor)
    }

    /// Knows nothing any more.
    pub(crate) fn forget(&self) {
        *self.now() = KnownNow::default();
    }
}

/// One stream on its way through.
#[derive(Default)]
pub(crate) struct Redaction {
    held: Zeroizing<Vec<u8>>,
}

impl Redaction {
    /// Takes the next bytes and gives out what is sure.
    pub(crate) fn feed(&mut self, redactor: &Redactor, bytes: &[u8], out: &mut Vec<u8>) {
        if redactor.is_empty() && self.held.is_empty() {
            return out.extend_from_slice(bytes);
        }
        self.held.extend_from_slice(bytes);
        let text = std::mem::take(&mut *self.held);
        let rest = replace(redactor, &text, out, |text| redactor.open_end(text));
        self.held.extend_from_slice(&text[rest..]);
        drop(Zeroizing::new(text));
    }

    /// The stream has ended: gives out the rest.
    pub(crate) fn finish(&mut self, redactor: &Redactor, out: &mut Vec<u8>) {
        let text = Zeroizing::new(std::mem::take(&mut *self.held));
        replace(redactor, &text, out, <[u8]>::len);
    }
}

/// Gives out `text` up to where it is sure, with marks for what was found; returns where that is.
fn replace(redactor: &Redactor, text: &[u8], out: &mut Vec<u8>, sure: impl Fn(&[u8]) -> usize) -> usize {
    let Some(automaton) = &redactor.automaton else {
        out.extend_from_slice(text);
        return text.len();
    };
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let sure = sure(rest);
        // A value that begins before what is held back is whole: were it the beginning of a longer one, it would be held.
        let Some(found) = automaton.find(rest).filter(|found| found.start() < sure) else {
            out.extend_from_slice(&rest[..sure]);
            return at + sure;
        };
        out.extend_from_slice(&rest[..found.start()]);
        out.extend_from_slice(redactor.forms[found.pattern().as_usize()].1.as_bytes());
        at += found.end();
    }
}

/// What a value looks like wherever it may be written.
fn forms_of(value: &str) -> Vec<Vec<u8>> {
    let value = value.trim_end_matches(['\r', '\n']);
    let mut forms = vec![value.as_bytes().to_vec()];
    if value.contains('\n') {
        forms.push(value.replace('\n', "\r\n").into_bytes());
        let lines = value.lines().filter(|line| line.len() >= SHORTEST_LINE && !line.contains(char::is_whitespace));
        forms.extend(lines.map(|line| line.as_bytes().to_vec()));
    }
    let json = serde_json::Value::from(value).to_string();
    forms.push(json.as_bytes()[1..json.len() - 1].to_vec());
    forms.extend([url_encoded(value, true, "%20"), url_encoded(value, false, "%20"), url_encoded(value, true, "+")]);
    forms.extend([hex::encode(value).into_bytes(), hex::encode_upper(value).into_bytes()]);
    for alphabet in [alphabet::STANDARD, alphabet::URL_SAFE] {
        let engine = GeneralPurpose::new(&alphabet, NO_PAD);
        forms.extend((0..3).map(|before| base64(value.as_bytes(), before, &engine)));
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms
}

/// RFC 3986, section 2: everything but unreserved characters as `%` and two digits.
fn url_encoded(value: &str, capitals: bool, space: &str) -> Vec<u8> {
    let mut encoded = String::with_capacity(value.len() * 3);
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            b' ' => encoded.push_str(space),
            // Writing to a String does not fail.
            _ if capitals => drop(write!(encoded, "%{byte:02X}")),
            _ => drop(write!(encoded, "%{byte:02x}")),
        }
    }
    encoded.into_bytes()
}

/// The digits of base64 that are the same whatever stands behind the value, and before it after `before` bytes of a group
/// of three (RFC 4648, section 4: three bytes are four digits of six bits).
fn base64(value: &[u8], before: usize, engine: &GeneralPurpose) -> Vec<u8> {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(value);
    let bits = bytes.len() * 8;
    let mut digits = engine.encode(bytes).into_bytes();
    digits.truncate(bits / 6);
    digits.split_off((before * 8).div_ceil(6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    fn redacted(secrets: &[(&str, &str)], chunks: &[&[u8]]) -> String {
        let redactor = Redactor::new(secrets.iter().copied());
        let (mut stream, mut out) = (Redaction::default(), Vec::new());
        for chunk in chunks {
            stream.feed(&redactor, chunk, &mut out);
        }
        stream.finish(&redactor, &mut out);
        String::from_utf8(out).unwrap()
    }

    const KEY: &str =
        "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\nAwEHBG0wawIBAQQg\n-----END PRIVATE KEY-----\n";

    // proves ORG-5
    #[test]
    fn every_form_of_a_value_is_found() {
        let value = "p\"ss wörd/1+2=3";
        let basic = BASE64_STANDARD.encode(format!("user:{value}"));
        let token = BASE64_STANDARD.encode(format!("xy{value}z"));
        let texts = [
            value.to_owned(),
            serde_json::to_string(value).unwrap(),
            "p%22ss%20w%C3%B6rd%2F1%2B2%3D3".to_owned(),
            "p%22ss+w%C3%B6rd%2F1%2B2%3D3".to_owned(),
            "p%22ss%20w%c3%b6rd%2f1%2b2%3d3".to_owned(),
            "\\x702273732077c3b672642f312b323d33".to_owned(),
            "702273732077C3B672642F312B323D33".to_owned(),
            format!("Authorization: Basic {basic}"),
            token,
        ];
        for text in texts {
            let clean = redacted(&[("PASS", value)], &[text.as_bytes()]);
            assert!(clean.contains("[secret PASS]"), "{text} became {clean}");
            assert!(!clean.contains("ss w") && !clean.contains("ss%20w"), "{clean}");
        }
    }

    // proves ORG-5
    #[test]
    fn a_key_of_several_lines_is_found_whole_and_line_by_line() {
        assert_eq!(redacted(&[("KEY", KEY)], &[format!("key: {KEY}end\n").as_bytes()]), "key: [secret KEY]\nend\n");
        assert_eq!(redacted(&[("KEY", KEY)], &[KEY.replace('\n', "\r\n").as_bytes()]), "[secret KEY]\r\n");
        let prefixed = "12:00 MIGHAgEAMBMGByqGSM49AgEGCCqGSM49 -----BEGIN PRIVATE KEY-----";
        assert_eq!(redacted(&[("KEY", KEY)], &[prefixed.as_bytes()]), "12:00 [secret KEY] -----BEGIN PRIVATE KEY-----");
    }

    #[test]
    fn the_longer_of_two_values_counts_and_short_ones_are_let_through() {
        let secrets = [("A", "password"), ("B", "password-and-more"), ("C", "short")];
        let chunks: [&[u8]; 3] = [b"pass", b"word", b"-and-more password short pass"];
        assert_eq!(redacted(&secrets, &chunks), "[secret B] [secret A] short pass");
    }

    #[test]
    fn only_what_may_be_a_beginning_is_held_back() {
        let redactor = Redactor::new([("A", "password")]);
        let (mut stream, mut out) = (Redaction::default(), Vec::new());
        stream.feed(&redactor, b"a line\nthe pas", &mut out);
        assert_eq!(out, b"a line\nthe ");
        stream.feed(&redactor, b"senger\n", &mut out);
        assert_eq!(out, b"a line\nthe passenger\n");
    }

    proptest! {
        // proves ORG-5
        #[test]
        fn wherever_the_stream_is_cut_it_says_the_same(
            parts in prop::collection::vec(prop_oneof![
                Just("abcabcabd"), Just("abcabcabdabcabcabe"), Just("abc"), Just("ab"), Just("d\n"), Just(KEY), Just("MIGHAgEA"), Just("xyz"),
            ], 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let secrets = [("A", "abcabcabd"), ("B", "abcabcabdabcabcabe"), ("KEY", KEY)];
            let text = parts.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            let whole = redacted(&secrets, &[text.as_bytes()]);
            prop_assert_eq!(redacted(&secrets, &chunks), whole.clone());
            for (_, value) in secrets {
                prop_assert!(!whole.contains(value));
            }
        }
    }

    /// Not a check but a measurement: `cargo nextest run --release -p envforge-host --run-ignored only redact -- --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn what_it_costs() {
        let values: Vec<String> = (0..20).map(|n| format!("sk_live_{n:032x}")).collect();
        let names: Vec<String> = (0..20).map(|n| format!("KEY_{n}")).collect();
        let redactor = Redactor::new(names.iter().map(String::as_str).zip(values.iter().map(String::as_str)));
        let line = b"2026-01-01T00:00:00Z INFO request served path=/api/v1/items status=200 duration_ms=12 user=alice@example.org\n";
        let chunk: Vec<u8> = line.iter().copied().cycle().take(8 * 1024).collect();
        let (mut stream, mut out) = (Redaction::default(), Vec::new());
        let start = tokio::time::Instant::now();
        for _ in 0..100 * 128 {
            stream.feed(&redactor, &chunk, &mut out);
            out.clear();
        }
        let took = start.elapsed();
        assert!(took.as_secs() < 60, "100 MiB took {took:?}");
        eprintln!("100 MiB through {} forms took {took:?}", redactor.forms.len());
    }
}
