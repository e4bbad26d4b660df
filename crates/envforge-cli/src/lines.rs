//! Captured log lines as the server streams them: `2026-11-21T06:00:00.123Z stdout text`.

/// Which stream of the process wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl Stream {
    /// The word in the line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A line taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// When it was written; absent for a line of another shape.
    pub(crate) at: Option<&'a str>,
    /// Who wrote it.
    pub(crate) stream: Stream,
    /// What the process wrote, byte for byte.
    pub(crate) text: &'a [u8],
}

/// Takes a line apart. What has another shape is passed on whole, as output: losing a line would be worse.
pub(crate) fn parse(line: &[u8]) -> Line<'_> {
    let taken_apart = || {
        let mut fields = line.splitn(3, |byte| *byte == b' ');
        let at = std::str::from_utf8(fields.next()?).ok()?;
        let is_time = at.len() >= 20 && at.ends_with('Z') && at.as_bytes()[0].is_ascii_digit();
        let stream = match fields.next()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        is_time.then(|| Line { at: Some(at), stream, text: fields.next().unwrap_or_default() })
    };
    taken_apart().unwrap_or(Line { at: None, stream: Stream::Stdout, text: line })
}

/// Cuts bytes into lines, keeping what is not yet ended.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    rest: Vec<u8>,
}

impl Splitter {
    /// Takes bytes in and returns the lines they complete, without their newline.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if self.rest.last() == Some(&b'\n') {
                self.rest.pop();
                lines.push(std::mem::take(&mut self.rest));
            }
        }
        lines
    }

    /// What remains when the stream ended well: a last line without a newline.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        (!self.rest.is_empty()).then_some(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_goes_and_the_text_stays_as_it_was() {
        let line = parse(b"2026-11-21T06:00:00.123Z stderr  two  spaces ");
        assert_eq!(line, Line { at: Some("2026-11-21T06:00:00.123Z"), stream: Stream::Stderr, text: b" two  spaces " });
        assert_eq!(parse(b"2026-11-21T06:00:00.123Z stdout").text, b"");
        assert_eq!(parse(b"plain words here").text, b"plain words here");
        assert_eq!(parse(b"").text, b"");
    }

    #[test]
    fn lines_arrive_in_pieces() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.push(b"a\nb"), [b"a".to_vec()]);
        assert_eq!(splitter.push(b"c\n\n"), [b"bc".to_vec(), b"".to_vec()]);
        assert_eq!(splitter.push(b"tail"), Vec::<Vec<u8>>::new());
        assert_eq!(splitter.finish(), Some(b"tail".to_vec()));
    }
}
