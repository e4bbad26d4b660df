//! Which lines of a log somebody wants.
//!
//! A pattern is a stranger's: it is compiled within a limit and matched in time linear in the text, whatever it is. So what
//! it costs is what is searched times what was compiled, and both are bounded: the second here, the first by who searches.

use envforge_api::uplink::LogFilter;
use envforge_core::refusal::Refusal;
use regex::bytes::{Regex, RegexBuilder};

/// What a compiled pattern may take, in bytes.
const COMPILED_MAX: usize = 256 * 1024;
/// What it may take to remember where it was while it matches, in bytes.
const CACHE_MAX: usize = 1024 * 1024;
/// How many levels of groups and repetitions a pattern may have.
const NESTED_MAX: u32 = 50;

/// What is made of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is wanted.
    Wanted,
    /// It is not.
    Unwanted,
    /// It was written before what is wanted, and so was what is before it.
    TooOld,
}

/// Which lines are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pattern: Option<Regex>,
    /// As lines begin.
    since: Option<String>,
}

impl Filter {
    /// Compiles what somebody asks for; all lines are wanted if that is nothing.
    pub(crate) fn new(wanted: &LogFilter) -> Result<Option<Self>, Refusal> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let pattern = wanted.grep.as_deref().map(compile).transpose()?;
        Ok(Some(Self { pattern, since: wanted.since.map(|since| format!("{since:.3}")) }))
    }

    /// What is made of a line, `<time> <stream> <text>`. What has another shape is text as a whole, and never too old:
    /// losing a line would be worse.
    pub(crate) fn judge(&self, line: &[u8]) -> Verdict {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let (time, text) = parts(line).unwrap_or((b"", line));
        // Times have one form and so sort as text.
        if self.since.as_ref().is_some_and(|since| !time.is_empty() && time < since.as_bytes()) {
            return Verdict::TooOld;
        }
        match &self.pattern {
            Some(pattern) if !pattern.is_match(text) => Verdict::Unwanted,
            _ => Verdict::Wanted,
        }
    }
}

/// Time and text of a line.
fn parts(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (time, stream, text) = (parts.next()?, parts.next()?, parts.next()?);
    let is_time = time.len() == "2026-01-01T00:00:00.000Z".len() && time[0].is_ascii_digit() && time.ends_with(b"Z");
    (is_time && matches!(stream, b"stdout" | b"stderr")).then_some((time, text))
}

fn compile(pattern: &str) -> Result<Regex, Refusal> {
    let built =
        RegexBuilder::new(pattern).size_limit(COMPILED_MAX).dfa_size_limit(CACHE_MAX).nest_limit(NESTED_MAX).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Refusal::invalid(
            "logs.pattern_too_big",
            format!("the pattern takes more than {COMPILED_MAX} bytes to match"),
        )
        .hint("repeat less of it, or use `[0-9]` and `[a-z]` for `\\d` and `\\w`"),
        _ => Refusal::invalid("logs.pattern_invalid", mistake(pattern)).hint(
            "mend it there, or put `\\` before a character that stands for itself; the syntax is \
             https://docs.rs/regex/latest/regex/#syntax, without look-around and backreferences",
        ),
    })
}

/// What is wrong with a pattern, and at which character.
fn mistake(pattern: &str) -> String {
    let parsed = regex_syntax::ParserBuilder::new().utf8(false).nest_limit(NESTED_MAX).build().parse(pattern);
    let (what, span) = match parsed {
        Err(regex_syntax::Error::Parse(error)) => (error.kind().to_string(), Some(*error.span())),
        Err(regex_syntax::Error::Translate(error)) => (error.kind().to_string(), Some(*error.span())),
        _ => ("it can't be compiled".to_owned(), None),
    };
    let place = span.and_then(|span| pattern.get(..span.start.offset)).map(|before| before.chars().count() + 1);
    match place {
        Some(place) => format!("the pattern is wrong at character {place}: {what}"),
        None => format!("the pattern is wrong: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grep(pattern: &str) -> Result<Filter, Refusal> {
        let wanted = LogFilter { grep: Some(pattern.to_owned()), since: None };
        Filter::new(&wanted).map(|filter| filter.expect("something is asked for"))
    }

    #[test]
    fn a_pattern_is_looked_for_in_what_was_written() {
        let line = |text: &str| format!("2026-01-01T00:00:00.000Z stdout {text}\n");
        let found = |pattern: &str, text: &str| grep(pattern).expect("compiles").judge(line(text).as_bytes());
        assert_eq!(found("^GET /a+$", "GET /aaa"), Verdict::Wanted);
        assert_eq!(found("(?i)ERROR", "an error"), Verdict::Wanted);
        assert_eq!(found("2026|stdout", "up"), Verdict::Unwanted, "time and stream are not what it wrote");
        assert_eq!(found("^$", ""), Verdict::Wanted);
        assert_eq!(grep("whole line").expect("compiles").judge(b"a whole line \xff"), Verdict::Wanted);
    }

    #[test]
    fn what_is_older_is_told_apart() {
        let since = "2026-01-01T00:00:01Z".parse().expect("a time");
        let filter = Filter::new(&LogFilter { grep: None, since: Some(since) }).expect("fine").expect("a filter");
        assert_eq!(filter.judge(b"2026-01-01T00:00:00.999Z stdout a\n"), Verdict::TooOld);
        assert_eq!(filter.judge(b"2026-01-01T00:00:01.000Z stdout a\n"), Verdict::Wanted);
        assert_eq!(filter.judge(b"of another shape\n"), Verdict::Wanted);
        assert!(Filter::new(&LogFilter::default()).expect("fine").is_none());
    }

    #[test]
    fn a_bad_pattern_is_refused_with_its_place() {
        for (pattern, code, said) in [
            ("äb(c", "logs.pattern_invalid", "at character 3: unclosed group"),
            ("a**{2", "logs.pattern_invalid", "at character 4: "),
            (r"(?<=a)b", "logs.pattern_invalid", "look-around"),
            (r"\p{Nonsense}", "logs.pattern_invalid", "at character 1: Unicode property not found"),
            (r"(?:\w{100}){100}", "logs.pattern_too_big", "262144 bytes"),
        ] {
            let refusal = grep(pattern).expect_err(pattern);
            assert_eq!(refusal.code, code, "{pattern}");
            assert!(refusal.message.contains(said) && refusal.hint.is_some(), "{pattern}: {}", refusal.message);
        }
        let deep = format!("{}a{}", "(".repeat(60), ")".repeat(60));
        assert!(grep(&deep).expect_err("too deep").message.contains("nest"), "a stack is not to be used up");
        for usual in [r"\berror\b.*\d+ms", r"(?i)\w+@\w+", "^GET .* 50[0-9]$"] {
            assert!(grep(usual).is_ok(), "{usual}");
        }
    }
}
