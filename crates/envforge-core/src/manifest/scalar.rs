//! What a scalar is by YAML 1.2's core schema, and the few texts that are quantities here.
//!
//! Nothing guesses: `yes` is text, `010` is ten, and a number keeps the digits it was written with until someone asks for it.

use super::tree::{Node, Value};

/// What a node is, to whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nothing,
    Bool,
    Number,
    Text,
    List,
    Map,
    /// Something that has been reported already.
    Broken,
}

impl Kind {
    /// With its article.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "text",
            Self::List => "a list",
            Self::Map => "a mapping",
            Self::Broken => "unreadable",
        }
    }
}

/// What a node is.
pub(super) fn kind(node: &Node) -> Kind {
    match &node.value {
        Value::List(_) => Kind::List,
        Value::Map(_) => Kind::Map,
        Value::Broken => Kind::Broken,
        Value::Scalar { plain: false, .. } => Kind::Text,
        Value::Scalar { text, plain: true } => match text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Kind::Nothing,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Kind::Bool,
            text if is_number(text) => Kind::Number,
            _ => Kind::Text,
        },
    }
}

/// The text of a scalar, as written.
pub(super) fn written(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        Value::List(_) | Value::Map(_) | Value::Broken => None,
    }
}

/// Numbers of the core schema: `12`, `-1.5e3`, `0x1f`, `0o17`, `.inf`, `.nan`.
fn is_number(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(body, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return !digits.is_empty() && digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    }
    let starts = body.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    starts && body.bytes().any(|byte| byte.is_ascii_digit()) && body.parse::<f64>().is_ok()
}

/// Seconds of a duration such as `90s`, `10m`, `1h30m`; `None` when it is none.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|next: char| !next.is_ascii_digit())?;
        let amount: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let unit_seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        if unit_seconds >= last_unit {
            return None;
        }
        last_unit = unit_seconds;
        total = total.checked_add(amount.checked_mul(unit_seconds)?)?;
        rest = &rest[digits + 1..];
    }
    (last_unit != u64::MAX).then_some(total)
}

/// Seconds as people write them, also in `envforge.yml`: `90` is `1m30s`.
pub fn duration(seconds: u64) -> String {
    if seconds == 0 {
        return "0s".to_owned();
    }
    if seconds > 86_400 && seconds.is_multiple_of(86_400) {
        return format!("{}d", seconds / 86_400);
    }
    let mut rest = seconds;
    let mut out = String::new();
    for (unit, name) in [(3600, 'h'), (60, 'm'), (1, 's')] {
        if rest >= unit {
            out.push_str(&(rest / unit).to_string());
            out.push(name);
            rest %= unit;
        }
    }
    out
}
