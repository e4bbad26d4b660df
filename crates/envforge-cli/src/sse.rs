//! Server-sent events: bytes in, `data` payloads out.
//!
//! Only what the product's own streams use: `data` lines, joined by newlines, ended by an empty line. Comments
//! (the server's sign of life), names and ids are skipped. Chunks may end anywhere, also inside a character or
//! between `\r` and `\n`.

/// An event larger than this is not ours.
const EVENT_MAX: usize = 8 * 1024 * 1024;

/// The stream was not one of events.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Cuts a stream into events.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    data: Option<String>,
    after_cr: bool,
}

impl Parser {
    /// Takes bytes in and returns the events they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, TooLarge> {
        let mut events = Vec::new();
        for &byte in bytes {
            let is_second_half = std::mem::take(&mut self.after_cr) && byte == b'\n';
            match byte {
                _ if is_second_half => {}
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    events.extend(self.end_line());
                }
                _ => self.line.push(byte),
            }
        }
        if self.line.len() + self.data.as_ref().map_or(0, String::len) > EVENT_MAX { Err(TooLarge) } else { Ok(events) }
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.data.take();
        }
        let value = line.strip_prefix(b"data:")?;
        let value = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value));
        match &mut self.data {
            Some(data) => {
                data.push('\n');
                data.push_str(&value);
            }
            None => self.data = Some(value.into_owned()),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Parser;

    fn events(chunks: &[&[u8]]) -> Vec<String> {
        let mut parser = Parser::default();
        chunks.iter().flat_map(|chunk| parser.push(chunk).expect("small")).collect()
    }

    #[test]
    fn data_lines_become_one_event() {
        let stream = b": alive\n\nevent: change\ndata: {\"a\":\ndata: 1}\nid: 7\n\ndata:x\n\n";
        assert_eq!(events(&[stream]), ["{\"a\":\n1}", "x"]);
    }

    #[test]
    fn a_chunk_may_end_anywhere() {
        let stream = "data: grün\r\n\r\ndata: b\r\rdata: c\n\n".as_bytes();
        let whole = events(&[stream]);
        assert_eq!(whole, ["grün", "b", "c"]);
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(events(&bytes), whole);
    }

    #[test]
    fn an_unfinished_event_is_none() {
        assert!(events(&[b"data: half\n"]).is_empty());
    }
}
