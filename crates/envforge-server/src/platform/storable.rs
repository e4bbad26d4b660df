//! Makes what others say storable: its texts quote what tenants' programs print.
//!
//! PostgreSQL takes no U+0000, pages and terminals no other control characters, and nobody reads a cause of a megabyte.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Longest text of a message, in bytes; the rest is cut off.
const TEXT_MAX: usize = 16 * 1024;
/// What stands for what was cut off.
const CUT: &str = " […]";

/// Reads a message, its texts made storable.
pub fn read<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    let mut value: Value = serde_json::from_str(text)?;
    clean(&mut value);
    serde_json::from_value(value)
}

fn clean(value: &mut Value) {
    match value {
        Value::String(text) => clean_text(text),
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(fields) => fields.values_mut().for_each(clean),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn clean_text(text: &mut String) {
    clean_to(text, TEXT_MAX);
}

fn clean_to(text: &mut String, max: usize) {
    text.retain(|c| matches!(c, '\n' | '\t') || !c.is_control());
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max - CUT.len()));
        text.push_str(CUT);
    }
}

/// A text made storable, of at most `max` bytes.
pub fn text(text: &str, max: usize) -> String {
    let mut text = text.to_owned();
    clean_to(&mut text, max);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_their_lines_and_lose_what_cant_be_stored() {
        let mut text = "one\n\ttwo\0\u{1b}[31m\u{9b}three".to_owned();
        clean_text(&mut text);
        assert_eq!(text, "one\n\ttwo[31mthree");
        let mut long = "é".repeat(TEXT_MAX);
        clean_text(&mut long);
        assert!(long.len() <= TEXT_MAX && long.ends_with(CUT));
    }
}
