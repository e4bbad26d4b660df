//! Rust text without what is not code: comments, strings and characters become blanks.
//!
//! Enough to count braces and find words, in linear time; lines and columns stay where they were.

/// The text with comments, strings and character literals blanked.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(bytes, at);
        if end > at {
            out.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            at = end;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    // Only whole characters were blanked: each began and ended at an ASCII byte.
    String::from_utf8_lossy(&out).into_owned()
}

/// The end of what begins here and is no code; here, if it is code.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let is_word_before = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + block_comment(rest),
        [b'"', ..] => at + string(rest),
        [b'r' | b'b' | b'c', ..] if !is_word_before => at + prefixed_string(rest),
        [b'\'', ..] => at + character(rest),
        _ => at,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `c"…"`, `b'…'`; 0 for a word that only begins so.
fn prefixed_string(rest: &[u8]) -> usize {
    let letters = rest.iter().take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
    let is_raw = rest[..letters].contains(&b'r');
    let hashes = rest[letters..].iter().take_while(|byte| **byte == b'#').count();
    let quote = letters + hashes;
    if letters > 2 {
        return 0;
    }
    match rest.get(quote) {
        Some(b'"') if is_raw => {
            let mut end = vec![b'"'];
            end.resize(hashes + 1, b'#');
            let body = &rest[quote + 1..];
            let length = body.windows(end.len()).position(|window| window == end);
            length.map_or(rest.len(), |length| quote + 1 + length + end.len())
        }
        Some(b'"') if hashes == 0 => letters + string(&rest[letters..]),
        Some(b'\'') if hashes == 0 && rest[..letters] == *b"b" => letters + character(&rest[letters..]),
        _ => 0,
    }
}

/// `'x'`, `'\n'`, `'\u{1f600}'`; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        return rest.iter().skip(3).position(|byte| *byte == b'\'').map_or(rest.len(), |length| length + 4);
    }
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(8)]);
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), Some('\'')) => c.len_utf8() + 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::code_only;

    #[test]
    fn only_code_stays() {
        for (text, wanted) in [
            ("a // {\nb", "a     \nb"),
            ("a /* { /* { */ } */ b", "a                   b"),
            (r#"f("{\"", x)"#, "f(     , x)"),
            (r##"f(r#"{"{"#, x)"##, "f(        , x)"),
            ("f('{', '\\'', 'é')", "f(   ,     ,     )"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("b\"{\" br\"{\" b'{' rb", "                rb"),
            ("let r = bar{};", "let r = bar{};"),
        ] {
            assert_eq!(code_only(text).trim_end(), wanted.trim_end(), "{text}");
        }
    }
}
