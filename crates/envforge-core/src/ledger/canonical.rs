//! The one text of an event, and the hash over it.
//!
//! Written straight into a buffer that callers reuse: sealing and verifying spend their time here. Other programs
//! recompute it in a few lines: JSON with keys sorted by their bytes, no white space, the time in whole microseconds
//! since 1970, escapes only where JSON demands them; SHA-256 of the previous hash in hexadecimal, a newline, that text.

use super::Event;
use crate::id::Id;
use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::io::Write as _;
use std::str::FromStr;

/// A hash in a chain: 32 bytes, as text 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash before the first seal.
    pub const GENESIS: Self = Self([0; 32]);

    /// The hash that links a canonical event after this one.
    #[must_use]
    pub fn link(&self, canonical: &[u8]) -> Self {
        let mut previous = [b'\n'; 65];
        hex::encode_to_slice(self.0, &mut previous[..64]).expect("two digits a byte");
        let mut context = Context::new(&SHA256);
        context.update(&previous);
        context.update(canonical);
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }

    /// SHA-256 of a text that is in no chain.
    pub fn of(text: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text).as_ref());
        Self(hash)
    }

    /// From its text; other spellings of the same number are refused, so that a hash has one text.
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        if text.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).ok()?;
        Some(Self(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a hash has 64 lower-case hexadecimal digits")]
pub struct NotAHash;

impl FromStr for Hash {
    type Err = NotAHash;
    fn from_str(text: &str) -> Result<Self, NotAHash> {
        Self::from_hex(text.as_bytes()).ok_or(NotAHash)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = NotAHash;
    fn try_from(text: String) -> Result<Self, NotAHash> {
        text.parse()
    }
}

/// Appends the canonical text of an event.
pub fn write_canonical(event: &Event, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"actor\":");
    json(&event.actor, out);
    put(out, format_args!(",\"at\":{},\"cause\":", event.at.as_microsecond()));
    json(&event.cause, out);
    out.extend_from_slice(b",\"details\":");
    sorted(&event.details, out);
    out.extend_from_slice(b",\"id\":");
    id(event.id, out);
    out.extend_from_slice(b",\"org\":");
    match event.org {
        Some(org) => id(org, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"subject\":");
    json(&event.subject, out);
    out.extend_from_slice(b",\"verb\":");
    json(&event.verb, out);
    out.push(b'}');
}

/// Appends the canonical text of a JSON document, by the same rules.
pub fn write_canonical_json(document: &Value, out: &mut Vec<u8>) {
    sorted(document, out);
}

fn json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("plain data fits a buffer");
}

fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a buffer takes everything");
}

fn id<T: Id>(id: T, out: &mut Vec<u8>) {
    let mut digits = [0; 32];
    hex::encode_to_slice(id.uuid().as_bytes(), &mut digits).expect("two digits a byte");
    out.push(b'"');
    out.extend_from_slice(T::PREFIX.as_bytes());
    out.push(b'_');
    out.extend_from_slice(&digits);
    out.push(b'"');
}

fn sorted(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (number, (key, value)) in fields.into_iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                json(key, out);
                out.push(b':');
                sorted(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                sorted(item, out);
            }
            out.push(b']');
        }
        plain => json(plain, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use serde_json::json;

    /// Texts and hashes that chains out there were made of, computed by a program in another language.
    // proves ORG-6
    #[test]
    fn texts_and_hashes_never_change() {
        let event = |id: &str, org: Option<&str>, at: i64, who: [&str; 3], cause: &str, details: Value| Event {
            id: id.parse().expect("an id"),
            org: org.map(|org| org.parse().expect("an id")),
            at: Timestamp::from_microsecond(at).expect("in range"),
            actor: who[0].to_owned(),
            verb: who[1].to_owned(),
            subject: who[2].to_owned(),
            cause: cause.to_owned(),
            details,
        };
        let org = Some("org_00000000000000000000000000000007");
        let chain = [
            (
                event(
                    "evt_00000000000000000000000000000001",
                    None,
                    0,
                    ["system:bootstrap", "installation.started", "org_00000000000000000000000000000007"],
                    "first start",
                    json!({}),
                ),
                r#"{"actor":"system:bootstrap","at":0,"cause":"first start","details":{},"id":"evt_00000000000000000000000000000001","org":null,"subject":"org_00000000000000000000000000000007","verb":"installation.started"}"#,
                "d3faa39de97311173ce0b43e3dee207b9d9f5570dfd6440427c3b0a7300b90ae",
            ),
            (
                event(
                    "evt_01998c2a5bf07d4d8a3e0123456789ab",
                    org,
                    1_760_000_000_123_456,
                    [
                        "user:user_00000000000000000000000000000003",
                        "run.started",
                        "ws_00000000000000000000000000000009",
                    ],
                    "a \"quoted\" \\ line\n\ttab \u{8}\u{c}\r \u{1}\u{1f}\u{7f} ünï€ 🦀 </script>",
                    json!({
                        "z": 1,
                        "a": { "b": [1, -2, u64::MAX, true, null, "x\u{2028}"], "A": false, "": "empty" },
                        "é": i64::MIN,
                    }),
                ),
                "{\"actor\":\"user:user_00000000000000000000000000000003\",\"at\":1760000000123456,\"cause\":\"a \\\"quoted\\\" \\\\ line\\n\\ttab \\b\\f\\r \\u0001\\u001f\u{7f} ünï€ 🦀 </script>\",\"details\":{\"a\":{\"\":\"empty\",\"A\":false,\"b\":[1,-2,18446744073709551615,true,null,\"x\u{2028}\"]},\"z\":1,\"é\":-9223372036854775808},\"id\":\"evt_01998c2a5bf07d4d8a3e0123456789ab\",\"org\":\"org_00000000000000000000000000000007\",\"subject\":\"ws_00000000000000000000000000000009\",\"verb\":\"run.started\"}",
                "59dbf30b929e6dde2b655fdd32f5dbc7860387c376654f689ffbd87d2fd155fe",
            ),
            (
                event(
                    "evt_ffffffffffffffffffffffffffffffff",
                    org,
                    -1,
                    ["", "a.b", ""],
                    "",
                    json!([{ "k": 2, "j": [[], {}] }]),
                ),
                r#"{"actor":"","at":-1,"cause":"","details":[{"j":[[],{}],"k":2}],"id":"evt_ffffffffffffffffffffffffffffffff","org":"org_00000000000000000000000000000007","subject":"","verb":"a.b"}"#,
                "06abc10415ce1fff2c698be00f563b996154f6937542ea48e4b04938421d13dd",
            ),
        ];
        let (mut hash, mut text) = (Hash::GENESIS, Vec::new());
        for (event, canonical, expected) in chain {
            text.clear();
            write_canonical(&event, &mut text);
            assert_eq!(String::from_utf8_lossy(&text), canonical);
            hash = hash.link(&text);
            assert_eq!(hash.to_string(), expected);
        }
    }

    #[test]
    fn a_hash_has_one_text() {
        let text = "d3faa39de97311173ce0b43e3dee207b9d9f5570dfd6440427c3b0a7300b90ae";
        assert_eq!(text.parse::<Hash>().expect("a hash").to_string(), text);
        assert!(text.to_uppercase().parse::<Hash>().is_err() && text[1..].parse::<Hash>().is_err());
    }
}
