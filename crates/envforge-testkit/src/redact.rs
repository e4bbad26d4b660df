//! Ids, tokens and times out of snapshots.
//!
//! Snapshots compare whole answers; what differs from run to run is replaced by its kind: `ws_0190…` becomes
//! `[ws]`, a signed token `[efl1]`, an RFC 3339 time `[time]`, a UUID `[uuid]`, other long hexadecimal runs
//! `[hex]`. Words are cut at everything that can't be part of one of these, so punctuation around them stays.

/// Replaces ids, tokens, UUIDs, long hexadecimal runs and times by their kind.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.' | '+') {
            word.push(c);
        } else {
            out.push_str(&redact_word(&word));
            word.clear();
            out.push(c);
        }
    }
    out.push_str(&redact_word(&word));
    out
}

fn redact_word(word: &str) -> String {
    let core = word.trim_end_matches(['.', ':', '-', '+']);
    let tail = &word[core.len()..];
    let redacted = if is_time(core) {
        "[time]".to_owned()
    } else if let Some(prefix) = signed_prefix(core) {
        format!("[{prefix}]")
    } else {
        core.split_inclusive(['.', ':']).map(redact_piece).collect()
    };
    redacted + tail
}

/// A piece between dots and colons: an id, a UUID or hexadecimal digits, maybe with the separator behind it.
fn redact_piece(piece: &str) -> String {
    let core = piece.trim_end_matches(['.', ':']);
    let tail = &piece[core.len()..];
    let redacted = match core.rsplit_once('_') {
        Some((prefix, digits)) if is_hex(digits, 32) && is_name(prefix) => format!("[{prefix}]"),
        _ if is_uuid(core) => "[uuid]".to_owned(),
        _ if is_hex(core, 32) => "[hex]".to_owned(),
        _ => core.to_owned(),
    };
    redacted + tail
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_hex(text: &str, at_least: usize) -> bool {
    text.len() >= at_least && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.len() == 5
        && groups.iter().zip([8, 4, 4, 4, 12]).all(|(group, length)| group.len() == length && is_hex(group, length))
}

/// `efl1.<claims>.<signature>` and its sisters.
fn signed_prefix(text: &str) -> Option<&str> {
    let mut parts = text.split('.');
    let (prefix, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let looks_signed = prefix.starts_with("ef")
        && prefix.ends_with(|c: char| c.is_ascii_digit())
        && claims.len() > 20
        && signature.len() > 20
        && parts.next().is_none();
    looks_signed.then_some(prefix)
}

/// `2026-01-31T12:00:00Z`, with or without a fraction, with `Z` or a numeric zone.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 20
        && bytes[..19].iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => *byte == b'T',
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        })
        && text[19..].chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'Z' | '+' | '-' | ':'))
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn what_differs_from_run_to_run_goes() {
        for (text, wanted) in [
            (r#"{"id":"ws_01923aa0b1c27ddd8eee000011112222"}"#, r#"{"id":"[ws]"}"#),
            ("at 2026-01-31T12:00:00.123456Z.", "at [time]."),
            ("at 2026-01-31T12:00:00+02:00,", "at [time],"),
            ("key efk_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", "key [efk]"),
            ("/share/efl1.eyJrIjoiYWJjIiwiY2xhaW1z.c2lnbmF0dXJlc2lnbmF0dXJl?", "/share/[efl1]?"),
            ("01923aa0-b1c2-7ddd-8eee-000011112222", "[uuid]"),
            ("web--fix-login--acme.localhost:7081", "web--fix-login--acme.localhost:7081"),
            ("refused: workspace.not_found", "refused: workspace.not_found"),
            ("/v1/orgs/acme/workspaces/ws_01923aa0b1c27ddd8eee000011112222/wake", "/v1/orgs/acme/workspaces/[ws]/wake"),
        ] {
            assert_eq!(redact(text), wanted);
        }
    }
}
